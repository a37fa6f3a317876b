//! The change feed: which rows changed, in the order of the commits.
//!
//! Numbers are given under the lock every writer holds until it has committed, so a reader that has
//! seen number n will never find a smaller one appear later.

use crate::audit::{Hash, hash_of};
use crate::row::{self, CHUNK, parse_word, values};
use crate::{Result, Store, StoreError, former};
use credentialflow_model::resource::Kind;
use sqlx::{AnyConnection, AssertSqlSafe, Row, any::AnyRow};
use std::sync::Once;

/// What kind of row changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChangeKind {
    /// A declared resource; the change's name is the resource's.
    Resource(Kind),
    /// A key's identity or its secrets; the change's name is the key's.
    KeySecrets,
    /// A version of a credential; the change's name is the credential's.
    CredentialVersions,
    /// A setting; the change's name is the setting's.
    Settings,
    /// Something that this version knows nothing of: a node of a newer version wrote it.
    Unknown,
}

impl ChangeKind {
    /// The word in the feed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resource(kind) => kind.as_str(),
            Self::KeySecrets => "key_secrets",
            Self::CredentialVersions => "credential_versions",
            Self::Settings => "settings",
            Self::Unknown => "unknown",
        }
    }

    /// A kind that is not known is passed over, and logged once: while nodes are updated, those of the former version
    /// go on beside those of the new one.
    fn parse(word: &str) -> Self {
        match word {
            "key_secrets" => Self::KeySecrets,
            "credential_versions" => Self::CredentialVersions,
            "settings" => Self::Settings,
            other => parse_word(other, "kind of change").map_or_else(
                |_| {
                    static TOLD: Once = Once::new();
                    TOLD.call_once(|| {
                        tracing::warn!(
                            kind = other,
                            "the database tells of changes that this version knows nothing of"
                        );
                    });
                    Self::Unknown
                },
                Self::Resource,
            ),
        }
    }
}

/// One row of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number, from 1, without gaps.
    pub seq: i64,
    /// What kind of row.
    pub kind: ChangeKind,
    /// Which one.
    pub name: String,
}

/// What followed a place in the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The changes, oldest first.
    pub changes: Vec<Change>,
    /// The newest event of the audit chain, by its number and hash.
    pub head: (u64, Hash),
    /// The hash of the event asked for; `None` when there is no such event.
    pub known: Option<Hash>,
}

impl Followed {
    /// Whether this is of the history that an event was read in. Otherwise the database was restored to an older
    /// state since and has perhaps gone another way, and its numbers stand for other changes.
    pub fn continues(&self, mark: Option<(u64, Hash)>) -> bool {
        self.known.is_some() && self.known == mark.map(|(_, hash)| hash)
    }
}

impl Store {
    /// The changes after a number, oldest first, at most `limit`.
    pub async fn changes_since(&self, seq: i64, limit: u32) -> Result<Vec<Change>> {
        sqlx::query("SELECT seq, kind, name FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(seq)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?
            .iter()
            .map(|row| read(row, 0))
            .collect()
    }

    /// The changes after a number, and in the same read the end of the audit chain and the chain's hash at an event:
    /// by that a database that went back in time is told apart from one that went on.
    pub async fn follow_changes(&self, seq: i64, event: u64, limit: u32) -> Result<Followed> {
        let rows = sqlx::query(
            "SELECT h.audit_seq, h.audit_hash, (SELECT hash FROM audit WHERE seq = $1), c.seq, c.kind, c.name
             FROM head h LEFT JOIN (SELECT seq, kind, name FROM changes WHERE seq > $2 ORDER BY seq LIMIT $3) c
             ON 1 = 1 WHERE h.id = 1 ORDER BY c.seq",
        )
        .bind(i64::try_from(event).unwrap_or(i64::MAX))
        .bind(seq)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        let first = rows.first().ok_or_else(|| StoreError::corrupt("the head of the audit chain is missing"))?;
        let head = (row::unsigned(first, 0)?, hash_of(first.try_get(1)?)?);
        let known = first.try_get::<Option<Vec<u8>>, _>(2)?.map(hash_of).transpose()?;
        let mut changes = Vec::new();
        for row in &rows {
            if row.try_get::<Option<i64>, _>(3)?.is_some() {
                changes.push(read(row, 3)?);
            }
        }
        Ok(Followed { changes, head, known })
    }

    /// The number of the newest change, 0 before the first, and the end of the audit chain, in one read.
    pub async fn latest_place(&self) -> Result<(i64, (u64, Hash))> {
        let head = sqlx::query("SELECT change_seq, audit_seq, audit_hash FROM head WHERE id = 1")
            .fetch_one(&mut *self.reader().await?)
            .await?;
        Ok((head.try_get(0)?, (row::unsigned(&head, 1)?, hash_of(head.try_get(2)?)?)))
    }

    /// The number of the newest change, 0 before the first.
    pub async fn latest_change(&self) -> Result<i64> {
        Ok(sqlx::query("SELECT change_seq FROM head WHERE id = 1")
            .fetch_one(&mut *self.reader().await?)
            .await?
            .try_get(0)?)
    }
}

/// A change whose columns begin at a place.
fn read(row: &AnyRow, at: usize) -> Result<Change> {
    let (kind, name) = former::as_known_here(row.try_get(at + 1)?, row.try_get(at + 2)?);
    Ok(Change { seq: row.try_get(at)?, kind: ChangeKind::parse(kind), name: name.to_owned() })
}

pub(crate) async fn insert(c: &mut AnyConnection, changes: &[(i64, &'static str, String)]) -> Result<()> {
    for chunk in changes.chunks(CHUNK) {
        let sql = format!("INSERT INTO changes (seq, kind, name) VALUES {}", values(3, chunk.len()));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (seq, kind, name) in chunk {
            query = query.bind(*seq).bind(*kind).bind(name.clone());
        }
        query.execute(&mut *c).await?;
    }
    Ok(())
}
