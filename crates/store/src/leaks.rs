//! Secrets of ours that were found where they must not be: one row for each leaked secret, never the secret.
//!
//! What is known of a leak besides its place in time is JSON whose meaning is the control plane's.

use crate::row::time;
use crate::{Result, Store, WriteTx};
use credentialflow_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

/// A leaked secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeakRow {
    /// Its id.
    pub id: String,
    /// Which secret, told apart from every other one that ever had the same name: at most one row for each.
    pub subject: String,
    /// When it was first reported.
    pub first_seen: Timestamp,
    /// When something about it changed last.
    pub updated: Timestamp,
    /// Where it was found and how it was answered, as JSON.
    pub body: String,
}

const SELECT: &str = "SELECT id, subject, first_seen, updated, body FROM leaks";

impl Store {
    /// A leak by its id.
    pub async fn leak(&self, id: &str) -> Result<Option<LeakRow>> {
        one(&mut *self.reader().await?, "id", id).await
    }

    /// The leak of a secret.
    pub async fn leak_of(&self, subject: &str) -> Result<Option<LeakRow>> {
        one(&mut *self.reader().await?, "subject", subject).await
    }

    /// Leaks, the newest first, those before a place, at most `limit`.
    pub async fn leaks_before(&self, place: Option<(Timestamp, &str)>, limit: u32) -> Result<Vec<LeakRow>> {
        let (before, id) = place.map_or((i64::MAX, ""), |(time, id)| (time.micros(), id));
        let sql = format!(
            "{SELECT} WHERE first_seen < $1 OR (first_seen = $1 AND id > $2) ORDER BY first_seen DESC, id LIMIT $3"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(before)
            .bind(id)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?
            .iter()
            .map(read)
            .collect()
    }
}

impl WriteTx {
    /// A leak by its id, as this transaction sees it.
    pub async fn leak(&mut self, id: &str) -> Result<Option<LeakRow>> {
        one(self.connection(), "id", id).await
    }

    /// The leak of a secret, as this transaction sees it.
    pub async fn leak_of(&mut self, subject: &str) -> Result<Option<LeakRow>> {
        one(self.connection(), "subject", subject).await
    }

    /// The leaks whose subject begins with a text and about which something changed since then, as this transaction sees
    /// them. The text ends in a character of ASCII.
    pub async fn leaks_since(&mut self, subjects: &str, since: Timestamp) -> Result<Vec<LeakRow>> {
        // Subjects compare by their bytes, so that an index finds them.
        let mut end = subjects.to_owned();
        let next = end.pop().filter(char::is_ascii).map(|last| char::from(last as u8 + 1));
        end.extend(next);
        sqlx::query(AssertSqlSafe(format!("{SELECT} WHERE subject >= $1 AND subject < $2 AND updated >= $3")))
            .bind(subjects)
            .bind(end)
            .bind(since.micros())
            .fetch_all(self.connection())
            .await?
            .iter()
            .map(read)
            .collect()
    }

    /// Writes a leak; of one that is there already when it changed and what is known. `Conflict` when another id has
    /// its subject.
    pub async fn put_leak(&mut self, leak: &LeakRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO leaks (id, subject, first_seen, updated, body) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (id) DO UPDATE SET updated = excluded.updated, body = excluded.body",
        )
        .bind(leak.id.as_str())
        .bind(leak.subject.as_str())
        .bind(leak.first_seen.micros())
        .bind(leak.updated.micros())
        .bind(leak.body.as_str())
        .execute(self.connection())
        .await?;
        Ok(())
    }
}

async fn one(c: &mut AnyConnection, column: &'static str, value: &str) -> Result<Option<LeakRow>> {
    let sql = format!("{SELECT} WHERE {column} = $1");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(value).fetch_optional(c).await?;
    found.as_ref().map(read).transpose()
}

fn read(r: &AnyRow) -> Result<LeakRow> {
    Ok(LeakRow {
        id: r.try_get(0)?,
        subject: r.try_get(1)?,
        first_seen: time(r, 2)?,
        updated: time(r, 3)?,
        body: r.try_get(4)?,
    })
}
