//! Operations done within a transaction: many rows with few statements.

use super::entries::LAST;
use super::{LeaseRow, Op, TokenRow, entry_key, lease_key, token_key};
use crate::row::values;
use crate::{Expect, Result, StoreError, WriteTx};
use credentialflow_model::Timestamp;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

/// What a transaction changed in the run-time tables, for caches to forget.
#[derive(Default)]
pub(crate) struct Touched {
    pub keys: Vec<String>,
    /// Whether so much that everything is to be forgotten.
    pub all: bool,
}

impl Touched {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.all
    }
}

/// Rows of `entry_changes` kept: a node that is further behind forgets its whole cache.
const KEPT: i64 = 20_000;

/// Names what was touched for the other nodes.
pub(crate) async fn commit_touched(c: &mut AnyConnection, seq: i64, touched: &Touched) -> Result<()> {
    let text = if touched.all { "*".to_owned() } else { serde_json::json!(touched.keys).to_string() };
    sqlx::query("INSERT INTO entry_changes (seq, touched) VALUES ($1, $2)")
        .bind(seq)
        .bind(text)
        .execute(&mut *c)
        .await?;
    if seq % 1024 == 0 {
        sqlx::query("DELETE FROM entry_changes WHERE seq <= $1").bind(seq - KEPT).execute(c).await?;
    }
    Ok(())
}

/// What was touched after a number; `None`: too long ago to say.
pub(super) async fn touched_since(c: &mut AnyConnection, seq: i64, newest: i64) -> Result<Option<Vec<String>>> {
    let rows = sqlx::query("SELECT touched FROM entry_changes WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3")
        .bind(seq)
        .bind(newest)
        .bind(KEPT)
        .fetch_all(c)
        .await?;
    if rows.len() as i64 != newest - seq {
        return Ok(None);
    }
    let mut keys = Vec::new();
    for row in &rows {
        let text: &str = row.try_get(0)?;
        if text == "*" {
            return Ok(None);
        }
        keys.extend(
            serde_json::from_str::<Vec<String>>(text).map_err(|_| StoreError::corrupt("a list of touched rows"))?,
        );
    }
    Ok(Some(keys))
}

impl Op {
    /// The row and what is expected of it; `None` for what concerns many rows.
    pub(super) fn expectation(&self) -> Option<(String, Expect)> {
        match self {
            Self::PutEntry { space, path, expect, .. }
            | Self::DeleteEntry { space, path, expect }
            | Self::CheckEntry { space, path, expect } => Some((entry_key(space, path), *expect)),
            Self::DeleteEntries { .. } | Self::EndLeases { .. } => None,
            Self::PutToken(row, expect) => Some((token_key(&row.id_hash), *expect)),
            Self::DeleteToken(id, expect) | Self::CheckToken(id, expect) => Some((token_key(id), *expect)),
            Self::PutLease(row, expect) => Some((lease_key(&row.id), *expect)),
            Self::DeleteLease(id, expect) => Some((lease_key(id), *expect)),
        }
    }

    /// Whether its row is there afterwards.
    pub(super) const fn leaves_row(&self) -> bool {
        matches!(self, Self::PutEntry { .. } | Self::PutToken(..) | Self::PutLease(..))
    }

    /// What the cache has to forget.
    pub(super) fn touches(&self) -> Option<String> {
        match self {
            Self::CheckEntry { .. } | Self::CheckToken(..) | Self::DeleteEntries { .. } => None,
            Self::EndLeases { token, .. } => Some(lease_key(&format!("\0{token}"))),
            other => other.expectation().map(|(key, _)| key),
        }
    }
}

impl WriteTx {
    /// Does operations in this transaction. `Conflict`, with nothing done, when one finds its row other
    /// than expected.
    pub async fn apply(&mut self, ops: Vec<Op>) -> Result<()> {
        let revisions = self.revisions(ops.iter()).await?;
        for (key, expect) in ops.iter().filter_map(Op::expectation) {
            check(revisions.get(&key).copied(), expect)?;
        }
        self.perform(ops).await
    }

    /// The revisions of the rows that operations have expectations of; what is not there is absent.
    pub(super) async fn revisions(&mut self, ops: impl Iterator<Item = &Op>) -> Result<HashMap<String, i64>> {
        let mut entries: Vec<(&str, &str)> = Vec::new();
        let (mut tokens, mut leases): (Vec<&[u8]>, Vec<&str>) = (Vec::new(), Vec::new());
        for op in ops.filter(|op| op.expectation().is_some_and(|(_, e)| e != Expect::Anything)) {
            match op {
                Op::PutEntry { space, path, .. }
                | Op::DeleteEntry { space, path, .. }
                | Op::CheckEntry { space, path, .. } => entries.push((space, path)),
                Op::DeleteEntries { .. } | Op::EndLeases { .. } => {}
                Op::PutToken(row, _) => tokens.push(&row.id_hash),
                Op::DeleteToken(id, _) | Op::CheckToken(id, _) => tokens.push(id),
                Op::PutLease(row, _) => leases.push(&row.id),
                Op::DeleteLease(id, _) => leases.push(id),
            }
        }
        // Many rest on the same few.
        entries.sort_unstable();
        entries.dedup();
        let mut found = HashMap::new();
        for chunk in chunks(&entries) {
            let sql = format!("SELECT space, path, revision FROM entries WHERE {}", pairs(chunk.len()));
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (space, path) in chunk {
                query = query.bind((*space).to_owned()).bind((*path).to_owned());
            }
            for row in query.fetch_all(self.connection()).await? {
                found.insert(entry_key(row.try_get(0)?, row.try_get(1)?), row.try_get(2)?);
            }
        }
        for chunk in chunks(&tokens) {
            let sql =
                format!("SELECT id_hash, revision FROM tokens WHERE id_hash IN ({})", crate::row::list(1, chunk.len()));
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for id in chunk {
                query = query.bind(id.to_vec());
            }
            for row in query.fetch_all(self.connection()).await? {
                found.insert(token_key(row.try_get::<&[u8], _>(0)?), row.try_get(1)?);
            }
        }
        for chunk in chunks(&leases) {
            let sql = format!("SELECT id, revision FROM leases WHERE id IN ({})", crate::row::list(1, chunk.len()));
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for id in chunk {
                query = query.bind((*id).to_owned());
            }
            for row in query.fetch_all(self.connection()).await? {
                found.insert(lease_key(row.try_get(0)?), row.try_get(1)?);
            }
        }
        Ok(found)
    }

    /// Does operations whose expectations hold, in their order.
    pub(super) async fn perform(&mut self, ops: Vec<Op>) -> Result<()> {
        let mut last = Last::default();
        for op in ops {
            if let Some(key) = op.touches() {
                self.touched.keys.push(key);
            }
            last.take(op);
        }
        self.touched.all |= !last.prefixes.is_empty();
        if self.touched.is_empty() {
            return Ok(());
        }
        let revision = self.entry_revision();
        last.write(self.connection(), revision).await
    }
}

/// Whether a row is as expected.
pub(super) fn check(revision: Option<i64>, expect: Expect) -> Result<()> {
    match (expect, revision) {
        (Expect::Anything, _) | (Expect::Absent, None) | (Expect::Present, Some(_)) => Ok(()),
        (Expect::Revision(expected), Some(found)) if expected == found => Ok(()),
        (Expect::Absent, Some(_)) => Err(StoreError::Conflict("it exists already".into())),
        (Expect::Revision(_), _) => Err(StoreError::Conflict("it was changed meanwhile".into())),
        (Expect::Present, None) => Err(StoreError::Conflict("it is gone".into())),
    }
}

/// How each row ends up after all operations.
#[derive(Default)]
struct Last {
    prefixes: Vec<(String, String)>,
    entries: BTreeMap<(String, String), Option<Vec<u8>>>,
    tokens: BTreeMap<Vec<u8>, Option<TokenRow>>,
    leases: BTreeMap<String, Option<LeaseRow>>,
    ended: BTreeMap<String, Timestamp>,
}

impl Last {
    fn take(&mut self, op: Op) {
        match op {
            Op::PutEntry { space, path, sealed, .. } => drop(self.entries.insert((space, path), Some(sealed))),
            Op::DeleteEntry { space, path, .. } => drop(self.entries.insert((space, path), None)),
            Op::CheckEntry { .. } | Op::CheckToken(..) => {}
            Op::DeleteEntries { space, prefix } => {
                self.entries.retain(|(s, p), _| *s != space || !p.starts_with(&prefix));
                self.prefixes.push((space, prefix));
            }
            Op::PutToken(row, _) => drop(self.tokens.insert(row.id_hash.clone(), Some(row))),
            Op::DeleteToken(id, _) => drop(self.tokens.insert(id, None)),
            Op::PutLease(row, _) => drop(self.leases.insert(row.id.clone(), Some(row))),
            Op::DeleteLease(id, _) => drop(self.leases.insert(id, None)),
            Op::EndLeases { token, at } => drop(self.ended.insert(token, at)),
        }
    }

    async fn write(self, c: &mut AnyConnection, revision: i64) -> Result<()> {
        for (space, prefix) in self.prefixes {
            sqlx::query("DELETE FROM entries WHERE space = $1 AND path >= $2 AND path < $3")
                .bind(space)
                .bind(prefix.as_str())
                .bind(format!("{prefix}{LAST}"))
                .execute(&mut *c)
                .await?;
        }
        let (mut puts, mut gone) = (Vec::new(), Vec::new());
        for (key, sealed) in self.entries {
            match sealed {
                Some(sealed) => puts.push((key, sealed)),
                None => gone.push(key),
            }
        }
        for chunk in chunks(&puts) {
            let sql = format!(
                "INSERT INTO entries (space, path, sealed, revision) VALUES {}
                 ON CONFLICT (space, path) DO UPDATE SET sealed = excluded.sealed, revision = excluded.revision",
                values(4, chunk.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for ((space, path), sealed) in chunk {
                query = query.bind(space.clone()).bind(path.clone()).bind(sealed.clone()).bind(revision);
            }
            query.execute(&mut *c).await?;
        }
        for chunk in chunks(&gone) {
            let mut query = sqlx::query(AssertSqlSafe(format!("DELETE FROM entries WHERE {}", pairs(chunk.len()))));
            for (space, path) in chunk {
                query = query.bind(space.clone()).bind(path.clone());
            }
            query.execute(&mut *c).await?;
        }
        write_tokens(c, self.tokens, revision).await?;
        write_leases(c, self.leases, revision).await?;
        // Last, so that those that were just written are ended, too.
        for (token, at) in self.ended {
            sqlx::query(
                "UPDATE leases SET state = 'revoking', next_attempt = $1, revision = $2
                 WHERE token = $3 AND state IN ('pending', 'active')",
            )
            .bind(at.micros())
            .bind(revision)
            .bind(token)
            .execute(&mut *c)
            .await?;
        }
        Ok(())
    }
}

async fn write_tokens(c: &mut AnyConnection, tokens: BTreeMap<Vec<u8>, Option<TokenRow>>, revision: i64) -> Result<()> {
    let gone: Vec<&Vec<u8>> = tokens.iter().filter(|(_, row)| row.is_none()).map(|(id, _)| id).collect();
    for chunk in chunks(&gone) {
        let sql = format!("DELETE FROM tokens WHERE id_hash IN ({})", crate::row::list(1, chunk.len()));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for id in chunk {
            query = query.bind((*id).clone());
        }
        query.execute(&mut *c).await?;
    }
    let puts: Vec<TokenRow> = tokens.into_values().flatten().collect();
    for chunk in chunks(&puts) {
        let sql = format!(
            "INSERT INTO tokens ({}) VALUES {} ON CONFLICT (id_hash) DO UPDATE SET parent = excluded.parent,
             entity = excluded.entity, application = excluded.application, expires_at = excluded.expires_at,
             sealed = excluded.sealed, revision = excluded.revision",
            super::tokens::COLUMNS,
            values(9, chunk.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in chunk {
            query = query.bind(row.id_hash.clone()).bind(row.accessor.clone()).bind(row.parent.clone());
            query = query.bind(row.path.clone()).bind(row.entity.clone()).bind(row.application.clone());
            query = query.bind(row.expires_at.map(|t| t.micros()));
            query = query.bind(row.sealed.clone()).bind(revision);
        }
        query.execute(&mut *c).await?;
    }
    Ok(())
}

async fn write_leases(c: &mut AnyConnection, leases: BTreeMap<String, Option<LeaseRow>>, revision: i64) -> Result<()> {
    let gone: Vec<&String> = leases.iter().filter(|(_, row)| row.is_none()).map(|(id, _)| id).collect();
    for chunk in chunks(&gone) {
        let sql = format!("DELETE FROM leases WHERE id IN ({})", crate::row::list(1, chunk.len()));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for id in chunk {
            query = query.bind((*id).clone());
        }
        query.execute(&mut *c).await?;
    }
    let puts: Vec<LeaseRow> = leases.into_values().flatten().collect();
    for chunk in chunks(&puts) {
        let sql = format!(
            "INSERT INTO leases ({}) VALUES {} ON CONFLICT (id) DO UPDATE SET token = excluded.token,
             entity = excluded.entity, application = excluded.application, place = excluded.place,
             expires_at = excluded.expires_at, state = excluded.state, attempts = excluded.attempts,
             next_attempt = excluded.next_attempt, sealed = excluded.sealed, revision = excluded.revision",
            super::leases::COLUMNS,
            values(13, chunk.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in chunk {
            query = query.bind(row.id.clone()).bind(row.mount.clone()).bind(row.token.clone()).bind(row.entity.clone());
            query = query.bind(row.application.clone()).bind(row.place.clone()).bind(row.issued.micros());
            query = query.bind(row.expires_at.map(|t| t.micros())).bind(row.state.as_str());
            query = query.bind(i64::from(row.attempts)).bind(row.next_attempt.map(|t| t.micros()));
            query = query.bind(row.sealed.clone()).bind(revision);
        }
        query.execute(&mut *c).await?;
    }
    Ok(())
}

/// Pieces, the greatest first, whose lengths are a power of two or one and a half times one: mostly one or two of them,
/// and few different statements, so that the database keeps them prepared.
pub(crate) fn chunks<T>(mut all: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        if all.is_empty() {
            return None;
        }
        let power = 1usize << all.len().ilog2();
        let (chunk, rest) = all.split_at((power + (all.len() & (power / 2))).min(128));
        all = rest;
        Some(chunk)
    })
}

/// `(space = $1 AND path = $2) OR …`
fn pairs(count: usize) -> String {
    (0..count).fold(String::new(), |mut out, i| {
        let _ = write!(out, "{}(space = ${} AND path = ${})", if i == 0 { "" } else { " OR " }, 2 * i + 1, 2 * i + 2);
        out
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn pieces_are_few_of_few_lengths_and_cover_everything() {
        let mut lengths = std::collections::BTreeSet::new();
        for count in 0..=300 {
            let all: Vec<u32> = (0..count).collect();
            let pieces: Vec<&[u32]> = super::chunks(&all).collect();
            assert!(pieces.len() <= 6, "{count}");
            assert_eq!(pieces.concat(), all);
            lengths.extend(pieces.iter().map(|p| p.len()));
        }
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]);
        assert_eq!(super::pairs(2), "(space = $1 AND path = $2) OR (space = $3 AND path = $4)");
    }
}
