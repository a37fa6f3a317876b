//! How many leases and tokens there are: for inventories, which never list a million of them.

use super::LeaseState;
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

    /// How many tokens of the run-time API there are, and how many of them never expire.
    pub async fn token_counts(&self) -> Result<(u64, u64)> {
        let sql = "SELECT COUNT(*), COUNT(*) - COUNT(expires_at) FROM tokens";
        let found = sqlx::query(sql).fetch_one(&mut *self.reader().await?).await?;
        Ok((unsigned(&found, 0)?, unsigned(&found, 1)?))
    }
}
