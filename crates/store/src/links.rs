//! Links between credentials and stores that are not ours: how the last reading or writing went, and
//! when the next one is due. No secret is here, and no place in the change feed: nobody enforces them.

use crate::row::{self, parse_word, word};
use crate::{Result, Store, WriteTx};
use credentialflow_model::{Name, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

/// Which way a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkDirection {
    /// From the store into the credential.
    Read,
    /// From the credential into the store.
    Write,
}

/// How one link of a credential stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRow {
    /// Whose.
    pub credential: Name,
    /// Which way.
    pub direction: LinkDirection,
    /// The place in the store, as in `team-vault/apps/orders#token`.
    pub place: String,
    /// The credential's version that was last made from there, or sent there.
    pub version: Option<u32>,
    /// What the store calls what it held then.
    pub remote: Option<String>,
    /// Attempts that failed since the last one that did not.
    pub attempts: u32,
    /// Not before this moment; absent, at once when there is something to do.
    pub next_attempt: Option<Timestamp>,
    /// When it last went well.
    pub succeeded: Option<Timestamp>,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

const SELECT: &str = "SELECT credential, direction, place, version, remote, attempts, next_attempt, succeeded, error \
                      FROM store_links";

impl Store {
    /// Every link, in order.
    pub async fn links(&self) -> Result<Vec<LinkRow>> {
        let sql = format!("{SELECT} ORDER BY credential, direction, place");
        sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *self.reader().await?).await?.iter().map(read).collect()
    }

    /// The links of a credential, in order.
    pub async fn links_of(&self, credential: &str) -> Result<Vec<LinkRow>> {
        of(&mut *self.reader().await?, credential).await
    }

    /// The links whose last attempt failed, in order, at most `limit`.
    pub async fn failing_links(&self, limit: u32) -> Result<Vec<LinkRow>> {
        let sql = format!("{SELECT} WHERE attempts > 0 ORDER BY credential, direction, place LIMIT $1");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(i64::from(limit));
        rows.fetch_all(&mut *self.reader().await?).await?.iter().map(read).collect()
    }
}

impl Store {
    /// Notes that a link went well again and brought nothing new: when, and when it is due next. Without an audit
    /// event, as nothing was changed that anybody enforces or uses; a link that failed since, or is gone, stays so.
    pub async fn touch_link(&self, link: &LinkRow) -> Result<()> {
        sqlx::query(
            "UPDATE store_links SET next_attempt = $1, succeeded = $2
             WHERE credential = $3 AND direction = $4 AND place = $5 AND attempts = 0",
        )
        .bind(link.next_attempt.map(Timestamp::micros))
        .bind(link.succeeded.map(Timestamp::micros))
        .bind(link.credential.as_str())
        .bind(word(&link.direction)?)
        .bind(link.place.as_str())
        .execute(&mut *self.writer().await?)
        .await?;
        Ok(())
    }
}

impl WriteTx {
    /// The links of a credential as this transaction sees them.
    pub async fn links_of(&mut self, credential: &str) -> Result<Vec<LinkRow>> {
        of(self.connection(), credential).await
    }

    /// Writes how a link stands.
    pub async fn put_link(&mut self, link: &LinkRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO store_links (credential, direction, place, version, remote, attempts, next_attempt, succeeded,
             error) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (credential, direction, place) DO UPDATE SET version = excluded.version,
             remote = excluded.remote, attempts = excluded.attempts, next_attempt = excluded.next_attempt,
             succeeded = excluded.succeeded, error = excluded.error",
        )
        .bind(link.credential.as_str())
        .bind(word(&link.direction)?)
        .bind(link.place.as_str())
        .bind(link.version.map(i64::from))
        .bind(link.remote.clone())
        .bind(i64::from(link.attempts))
        .bind(link.next_attempt.map(Timestamp::micros))
        .bind(link.succeeded.map(Timestamp::micros))
        .bind(link.error.clone())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Forgets a link; one that is not there is no problem.
    pub async fn delete_link(&mut self, credential: &str, direction: LinkDirection, place: &str) -> Result<()> {
        sqlx::query("DELETE FROM store_links WHERE credential = $1 AND direction = $2 AND place = $3")
            .bind(credential)
            .bind(word(&direction)?)
            .bind(place)
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

async fn of(c: &mut AnyConnection, credential: &str) -> Result<Vec<LinkRow>> {
    let sql = format!("{SELECT} WHERE credential = $1 ORDER BY direction, place");
    sqlx::query(AssertSqlSafe(sql)).bind(credential).fetch_all(c).await?.iter().map(read).collect()
}

fn read(r: &AnyRow) -> Result<LinkRow> {
    Ok(LinkRow {
        credential: row::name(r, 0)?,
        direction: parse_word(r.try_get(1)?, "direction of a link")?,
        place: r.try_get(2)?,
        version: row::optional_version(r, 3)?,
        remote: r.try_get(4)?,
        attempts: row::version(r, 5)?,
        next_attempt: row::optional_time(r, 6)?,
        succeeded: row::optional_time(r, 7)?,
        error: r.try_get(8)?,
    })
}
