//! How many leases and tokens there are: for inventories, which never list a million of them.

use super::LeaseState;
use super::entries::LAST;
use crate::row::{optional_time, parse_word, unsigned};
use crate::{Result, Store};
use credentialflow_model::Timestamp;
use sqlx::Row;

/// The leases of a mount that are in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseCount {
    /// The mount that made them.
    pub mount: String,
    /// How far they are.
    pub state: LeaseState,
    /// How many.
    pub count: u64,
    /// When the oldest was given.
    pub oldest: Option<Timestamp>,
}

impl Store {
    /// How many leases each mount has in each state, by mount.
    pub async fn lease_counts(&self) -> Result<Vec<LeaseCount>> {
        let sql = "SELECT mount, state, COUNT(*), MIN(issued) FROM leases GROUP BY mount, state ORDER BY mount, state";
        sqlx::query(sql)
            .fetch_all(&mut *self.reader().await?)
            .await?
            .iter()
            .map(|r| {
                Ok(LeaseCount {
                    mount: r.try_get(0)?,
                    state: parse_word(r.try_get(1)?, "state of a lease")?,
                    count: unsigned(r, 2)?,
                    oldest: optional_time(r, 3)?,
                })
            })
            .collect()
    }

    /// How many leases the token with this accessor was given.
    pub async fn lease_count_of_token(&self, accessor: &str) -> Result<u64> {
        let counted = sqlx::query("SELECT COUNT(*) FROM leases WHERE token = $1").bind(accessor);
        unsigned(&counted.fetch_one(&mut *self.reader().await?).await?, 0)
    }

    /// How many entries of a space have a path that begins so.
    pub async fn entry_count(&self, space: &str, prefix: &str) -> Result<u64> {
        let counted = sqlx::query("SELECT COUNT(*) FROM entries WHERE space = $1 AND path >= $2 AND path < $3")
            .bind(space)
            .bind(prefix)
            .bind(format!("{prefix}{LAST}"));
        unsigned(&counted.fetch_one(&mut *self.reader().await?).await?, 0)
    }

    /// How many tokens of the run-time API there are, and how many of them never expire.
    pub async fn token_counts(&self) -> Result<(u64, u64)> {
        let sql = "SELECT COUNT(*), COUNT(*) - COUNT(expires_at) FROM tokens";
        let found = sqlx::query(sql).fetch_one(&mut *self.reader().await?).await?;
        Ok((unsigned(&found, 0)?, unsigned(&found, 1)?))
    }
}
