//! Answers kept so that a lost response can be fetched again.
//!
//! A row is written in the transaction of the change it answers for, sealed by the vault, and is
//! found for 24 hours by the same actor with the same key.

use crate::{Result, Store, WriteTx, row};
use credentialflow_model::Timestamp;
use sqlx::{AnyConnection, Row};
use std::time::Duration;

/// How long an answer can be fetched again.
pub const IDEMPOTENCY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// One kept answer.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyRow {
    /// The `Idempotency-Key` of the request.
    pub key: String,
    /// The name of the actor who sent it; another actor's key is another key.
    pub actor: String,
    /// A hash of the request: the same key with another request is a mistake of the caller.
    pub request_hash: Vec<u8>,
    /// The answer, sealed.
    pub response: Vec<u8>,
    /// When it was kept.
    pub created: Timestamp,
}

impl std::fmt::Debug for IdempotencyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdempotencyRow")
            .field("actor", &self.actor)
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The kept answer, unless it is older than [`IDEMPOTENCY_LIFETIME`].
    pub async fn idempotency(&self, key: &str, actor: &str) -> Result<Option<IdempotencyRow>> {
        let now = self.now();
        get(&mut *self.reader().await?, key, actor, now).await
    }

    /// Removes the answers that have expired and tells how many. Not a change anybody decides, so it
    /// has no audit event.
    pub async fn purge_idempotency(&self) -> Result<u64> {
        let gone = sqlx::query("DELETE FROM idempotency WHERE created <= $1")
            .bind(expired_before(self.now()))
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(gone.rows_affected())
    }
}

impl WriteTx {
    /// The kept answer as this transaction sees it: two requests with one key stand in line here.
    pub async fn idempotency(&mut self, key: &str, actor: &str) -> Result<Option<IdempotencyRow>> {
        let now = self.now();
        get(self.connection(), key, actor, now).await
    }

    /// Keeps an answer. `Conflict` when an unexpired one is there.
    pub async fn put_idempotency(&mut self, row: &IdempotencyRow) -> Result<()> {
        let expired = expired_before(self.now());
        sqlx::query("DELETE FROM idempotency WHERE actor = $1 AND key = $2 AND created <= $3")
            .bind(row.actor.as_str())
            .bind(row.key.as_str())
            .bind(expired)
            .execute(self.connection())
            .await?;
        sqlx::query(
            "INSERT INTO idempotency (actor, key, request_hash, response, created) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(row.actor.as_str())
        .bind(row.key.as_str())
        .bind(row.request_hash.clone())
        .bind(row.response.clone())
        .bind(row.created.micros())
        .execute(self.connection())
        .await?;
        Ok(())
    }
}

fn expired_before(now: Timestamp) -> i64 {
    now.micros().saturating_sub(IDEMPOTENCY_LIFETIME.as_micros() as i64)
}

async fn get(c: &mut AnyConnection, key: &str, actor: &str, now: Timestamp) -> Result<Option<IdempotencyRow>> {
    let found = sqlx::query(
        "SELECT key, actor, request_hash, response, created FROM idempotency
         WHERE actor = $1 AND key = $2 AND created > $3",
    )
    .bind(actor)
    .bind(key)
    .bind(expired_before(now))
    .fetch_optional(c)
    .await?;
    found
        .map(|r| {
            Ok(IdempotencyRow {
                key: r.try_get(0)?,
                actor: r.try_get(1)?,
                request_hash: r.try_get(2)?,
                response: r.try_get(3)?,
                created: row::time(&r, 4)?,
            })
        })
        .transpose()
}
