//! The audit chain: who changed what, each event bound to the one before.
//!
//! An event's hash is SHA-256 over its [`canonical`] form, which holds every field and the hash of
//! the event before. Whoever changes, removes, inserts or reorders rows breaks the chain at that
//! place; whoever rewrites it from there on, or cuts its end, contradicts a signed checkpoint.
//! Writing events is `WriteTx::audit`; nothing here changes one.

mod canonical;
mod verify;

pub use canonical::Hash;
pub(crate) use canonical::{Fields, PendingEvent};
pub use verify::{AuditReport, BrokenAt, Verifier, VerifyError, verify, verify_lines};

use crate::row::{self, parse_word, values};
use crate::{Result, Store, StoreError};
use credentialflow_model::{Actor, AuditEvent, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use std::{collections::HashMap, io::Write};

/// A statement that the chain had this hash at this event, signed by the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The event.
    pub seq: u64,
    /// Its hash, hexadecimal.
    pub hash: String,
    /// Over [`Checkpoint::signed_bytes`], hexadecimal.
    pub signature: String,
}

impl Checkpoint {
    /// The bytes a checkpoint's signature is over.
    pub fn signed_bytes(seq: u64, hash: &Hash) -> Vec<u8> {
        [b"credentialflow-audit-checkpoint-1".as_slice(), &seq.to_be_bytes(), hash].concat()
    }
}

/// Which events to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only events of this action.
    pub action: Option<String>,
    /// Only events on this subject.
    pub subject: Option<String>,
}

const COLUMNS: &str = "seq, time, actor_kind, actor_name, actor_source, action, subject, detail, previous_hash, hash";

impl Store {
    /// Events after a place in the chain, oldest first, at most `limit`.
    pub async fn audit_events(&self, after: u64, limit: u32, filter: &AuditFilter) -> Result<Vec<AuditEvent>> {
        self.audit_fields(after, limit, filter).await?.into_iter().map(Fields::into_event).collect()
    }

    /// The newest events before a place in the chain (0: from the end), newest first, at most `limit`.
    pub async fn audit_events_before(&self, before: u64, limit: u32, filter: &AuditFilter) -> Result<Vec<AuditEvent>> {
        let before = if before == 0 { i64::MAX } else { place(before)? };
        let sql =
            format!("SELECT {COLUMNS} FROM audit WHERE seq < $1{} ORDER BY seq DESC LIMIT $2", conditions(filter));
        self.select_audit(&sql, before, limit, filter).await?.into_iter().map(Fields::into_event).collect()
    }

    /// When an action was last done to each of these subjects; those to which it never was are left out.
    pub async fn last_done(&self, action: &str, subjects: &[String]) -> Result<HashMap<String, Timestamp>> {
        let mut all = HashMap::new();
        for chunk in crate::runtime::chunks(subjects) {
            // The newest event of each is found over its own index, however many there are.
            let sql = format!(
                "WITH wanted (subject) AS (VALUES {})
                 SELECT wanted.subject, (SELECT a.time FROM audit a WHERE a.subject = wanted.subject
                  AND a.action || '' = ${} ORDER BY a.seq DESC LIMIT 1) FROM wanted",
                values(1, chunk.len()),
                chunk.len() + 1,
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for subject in chunk {
                query = query.bind(subject.clone());
            }
            for row in query.bind(action.to_owned()).fetch_all(&mut *self.reader().await?).await? {
                if let Some(time) = row.try_get::<Option<i64>, _>(1)? {
                    all.insert(row.try_get(0)?, Timestamp::from_micros(time));
                }
            }
        }
        Ok(all)
    }

    pub(crate) async fn audit_fields(&self, after: u64, limit: u32, filter: &AuditFilter) -> Result<Vec<Fields>> {
        let sql = format!("SELECT {COLUMNS} FROM audit WHERE seq > $1{} ORDER BY seq LIMIT $2", conditions(filter));
        self.select_audit(&sql, place(after)?, limit, filter).await
    }

    async fn select_audit(&self, sql: &str, place: i64, limit: u32, filter: &AuditFilter) -> Result<Vec<Fields>> {
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(place).bind(i64::from(limit));
        for value in [&filter.action, &filter.subject].into_iter().flatten() {
            query = query.bind(value.clone());
        }
        query.fetch_all(&mut *self.reader().await?).await?.iter().map(read).collect()
    }

    /// The end of the chain: the newest event's number and hash, `(0, zeros)` before the first.
    pub async fn audit_head(&self) -> Result<(u64, Hash)> {
        let head = sqlx::query("SELECT audit_seq, audit_hash FROM head WHERE id = 1")
            .fetch_one(&mut *self.reader().await?)
            .await?;
        Ok((row::unsigned(&head, 0)?, hash_of(head.try_get(1)?)?))
    }

    /// The hash of one event; `None` when there is no such event.
    pub async fn audit_hash(&self, seq: u64) -> Result<Option<Hash>> {
        let found = sqlx::query("SELECT hash FROM audit WHERE seq = $1")
            .bind(place(seq)?)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        found.map(|r| hash_of(r.try_get(0)?)).transpose()
    }

    /// Signs the end of the chain and keeps the statement. `None` when there is nothing new to sign.
    /// `sign` gets [`Checkpoint::signed_bytes`].
    pub async fn checkpoint(&self, sign: impl Fn(&[u8]) -> Vec<u8>) -> Result<Option<Checkpoint>> {
        let (seq, hash) = self.audit_head().await?;
        if seq == 0 {
            return Ok(None);
        }
        let signature = sign(&Checkpoint::signed_bytes(seq, &hash));
        let kept = sqlx::query(
            "INSERT INTO audit_checkpoints (seq, hash, signature) VALUES ($1, $2, $3) ON CONFLICT (seq) DO NOTHING",
        )
        .bind(place(seq)?)
        .bind(hash.to_vec())
        .bind(signature.clone())
        .execute(&mut *self.writer().await?)
        .await?;
        Ok((kept.rows_affected() > 0).then(|| Checkpoint {
            seq,
            hash: canonical::hex(&hash),
            signature: canonical::hex(&signature),
        }))
    }

    /// All checkpoints, oldest first.
    pub async fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        sqlx::query("SELECT seq, hash, signature FROM audit_checkpoints ORDER BY seq")
            .fetch_all(&mut *self.reader().await?)
            .await?
            .iter()
            .map(|r| {
                Ok(Checkpoint {
                    seq: row::unsigned(r, 0)?,
                    hash: canonical::hex(r.try_get(1)?),
                    signature: canonical::hex(r.try_get(2)?),
                })
            })
            .collect()
    }

    /// Writes the chain as JSON lines, one event a line, then its checkpoints as
    /// `{"checkpoint": …}`: what [`verify_lines`] reads. Answers the number of events.
    pub async fn export_audit(&self, to: &mut (dyn Write + Send)) -> Result<u64, VerifyError> {
        let (mut after, mut events) = (0, 0);
        // Read first: a checkpoint made meanwhile would speak of events that are not in the copy.
        let checkpoints = self.checkpoints().await?;
        loop {
            let page = self.audit_events(after, PAGE, &AuditFilter::default()).await?;
            for event in &page {
                after = event.seq;
                events += 1;
                serde_json::to_writer(&mut *to, event).map_err(std::io::Error::from)?;
                to.write_all(b"\n")?;
            }
            if page.len() < PAGE as usize {
                break;
            }
        }
        for checkpoint in checkpoints {
            serde_json::to_writer(&mut *to, &verify::CheckpointLine { checkpoint }).map_err(std::io::Error::from)?;
            to.write_all(b"\n")?;
        }
        to.flush()?;
        Ok(events)
    }
}

/// Events read at a time when the whole chain is walked.
pub(crate) const PAGE: u32 = 2000;

fn conditions(filter: &AuditFilter) -> &'static str {
    match (filter.action.is_some(), filter.subject.is_some()) {
        (false, false) => "",
        (true, false) => " AND action = $3",
        (false, true) => " AND subject = $3",
        // A subject has few events, an action may have millions (each login is one): the index over subjects is used.
        (true, true) => " AND action || '' = $3 AND subject = $4",
    }
}

fn place(seq: u64) -> Result<i64> {
    i64::try_from(seq).map_err(|_| StoreError::Other("there is no such place in the audit chain".into()))
}

pub(crate) fn hash_of(bytes: Vec<u8>) -> Result<Hash> {
    Hash::try_from(bytes).map_err(|_| StoreError::corrupt("a hash of the audit chain has not 32 bytes"))
}

pub(crate) async fn insert(c: &mut AnyConnection, events: &[PendingEvent]) -> Result<()> {
    for chunk in crate::runtime::chunks(events) {
        let sql = format!("INSERT INTO audit ({COLUMNS}) VALUES {}", values(10, chunk.len()));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for PendingEvent { fields: f, hash } in chunk {
            query = query.bind(f.seq).bind(f.time).bind(f.actor_kind.clone()).bind(f.actor_name.clone());
            query = query.bind(f.actor_source.clone()).bind(f.action.clone()).bind(f.subject.clone());
            query = query.bind(f.detail.clone()).bind(f.previous_hash.clone()).bind(hash.to_vec());
        }
        query.execute(&mut *c).await?;
    }
    Ok(())
}

fn read(r: &AnyRow) -> Result<Fields> {
    Ok(Fields {
        seq: r.try_get(0)?,
        time: r.try_get(1)?,
        actor_kind: r.try_get(2)?,
        actor_name: r.try_get(3)?,
        actor_source: r.try_get(4)?,
        action: r.try_get(5)?,
        subject: r.try_get(6)?,
        detail: r.try_get(7)?,
        previous_hash: r.try_get(8)?,
        hash: r.try_get(9)?,
    })
}

fn actor_of(fields: &Fields) -> Result<Actor> {
    Ok(Actor {
        kind: parse_word(&fields.actor_kind, "kind of actor")?,
        name: fields.actor_name.clone(),
        source: fields.actor_source.clone(),
    })
}
