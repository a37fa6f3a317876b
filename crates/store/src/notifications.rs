//! What is to be told to the owners of credentials: stored with the change it tells of, kept until it has
//! arrived or is given up.
//!
//! A notification is first one row; when it is taken up it becomes one for each channel of its owner, so
//! that one channel that is away keeps no other waiting. That a try failed is an observation and not
//! audited; that one arrived or was given up is.

use crate::row::{self, parse_word, word};
use crate::{Result, Store, StoreError, WriteTx};
use credentialflow_model::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

/// How far a notification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationState {
    /// It is to be sent.
    Waiting,
    /// It has arrived, or became one for each channel.
    Done,
    /// It did not arrive in time.
    GivenUp,
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Its id; the same each time it is sent.
    pub id: String,
    /// Of several with the same text here only the first is kept.
    pub same: Option<String>,
    /// When it happened.
    pub created: Timestamp,
    /// The team that is told.
    pub owner: String,
    /// JSON; never a secret.
    pub body: String,
    /// Where it goes, as JSON; absent before it is known.
    pub channel: Option<String>,
    /// How far it is.
    pub state: NotificationState,
    /// Tries that failed.
    pub attempts: u32,
    /// When it is tried next.
    pub next_attempt: Timestamp,
    /// Why the last try failed.
    pub error: Option<String>,
}

const SELECT: &str =
    "SELECT id, same, created, owner, body, channel, state, attempts, next_attempt, error FROM notifications";

impl Store {
    /// What is to be sent now, the longest waiting first.
    pub async fn due_notifications(&self, now: Timestamp, limit: u32) -> Result<Vec<Notification>> {
        let sql = format!("{SELECT} WHERE state = 'waiting' AND next_attempt <= $1 ORDER BY next_attempt, id LIMIT $2");
        sqlx::query(AssertSqlSafe(sql))
            .bind(now.micros())
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?
            .iter()
            .map(read)
            .collect()
    }

    /// Whether something with this text was told before, or is to be.
    pub async fn is_notified(&self, same: &str) -> Result<bool> {
        let found = sqlx::query("SELECT 1 FROM notifications WHERE same = $1").bind(same);
        Ok(found.fetch_optional(&mut *self.reader().await?).await?.is_some())
    }

    /// Notes that a try failed.
    pub async fn notification_failed(&self, id: &str, next_attempt: Timestamp, error: &str) -> Result<()> {
        sqlx::query(
            "UPDATE notifications SET attempts = attempts + 1, next_attempt = $1, error = $2
             WHERE id = $3 AND state = 'waiting'",
        )
        .bind(next_attempt.micros())
        .bind(error)
        .bind(id)
        .execute(&mut *self.writer().await?)
        .await?;
        Ok(())
    }

    /// Forgets what is over and older than this. Answers how many.
    pub async fn forget_notifications(&self, before: Timestamp) -> Result<u64> {
        let gone = sqlx::query("DELETE FROM notifications WHERE state <> 'waiting' AND created < $1")
            .bind(before.micros())
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(gone.rows_affected())
    }
}

impl WriteTx {
    /// Adds a notification, unless there is one with the same `same`.
    pub async fn add_notification(&mut self, n: &Notification) -> Result<()> {
        sqlx::query(
            "INSERT INTO notifications (id, same, created, owner, body, channel, state, attempts, next_attempt, error)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (same) DO NOTHING",
        )
        .bind(n.id.as_str())
        .bind(n.same.clone())
        .bind(n.created.micros())
        .bind(n.owner.as_str())
        .bind(n.body.as_str())
        .bind(n.channel.clone())
        .bind(word(&n.state)?)
        .bind(i64::from(n.attempts))
        .bind(n.next_attempt.micros())
        .bind(n.error.clone())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Ends a notification that still waits. Answers whether it did.
    pub async fn end_notification(&mut self, id: &str, state: NotificationState) -> Result<bool> {
        let done = sqlx::query("UPDATE notifications SET state = $1 WHERE id = $2 AND state = 'waiting'")
            .bind(word(&state)?)
            .bind(id)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

fn read(r: &AnyRow) -> Result<Notification> {
    Ok(Notification {
        id: r.try_get(0)?,
        same: r.try_get(1)?,
        created: row::time(r, 2)?,
        owner: r.try_get(3)?,
        body: r.try_get(4)?,
        channel: r.try_get(5)?,
        state: parse_word(r.try_get(6)?, "state of a notification")?,
        attempts: u32::try_from(r.try_get::<i64, _>(7)?).map_err(|_| StoreError::corrupt("a count of attempts"))?,
        next_attempt: row::time(r, 8)?,
        error: r.try_get(9)?,
    })
}
