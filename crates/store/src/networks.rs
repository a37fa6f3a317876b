//! From which networks each key was used lately, over all nodes: the newest ones, until their time is over.
//!
//! Observations, written with the other uses (see `uses`). A key that is put in quarantine goes on working from them.

use crate::row::values;
use crate::uses::STATEMENT;
use crate::{Result, Store, row};
use credentialflow_model::{KeyId, Timestamp};
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use std::collections::BTreeMap;

/// Networks kept of each key: the newest.
pub const MOST_NETWORKS: usize = 64;

/// A network from which a key was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyNetwork {
    /// Which key.
    pub key_id: KeyId,
    /// The network, as in `192.0.2.7/32`.
    pub network: String,
    /// When it was used from there. Uses that follow soon are not written again.
    pub last_time: Timestamp,
}

/// From where a key was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyNetworks {
    /// Network and time, the newest first, at most [`MOST_NETWORKS`].
    pub networks: Vec<(String, Timestamp)>,
    /// Since when the database is told of them. Of earlier uses it knows nothing.
    pub known_since: Timestamp,
}

impl Store {
    /// From where a key was used.
    pub async fn key_networks(&self, id: KeyId) -> Result<KeyNetworks> {
        let mut connection = self.reader().await?;
        let since = sqlx::query("SELECT networks_since FROM head WHERE id = 1").fetch_one(&mut *connection).await?;
        let rows = sqlx::query(
            "SELECT network, last_time FROM key_networks WHERE key_id = $1
             ORDER BY last_time DESC, network DESC LIMIT $2",
        )
        .bind(id.bits() as i64)
        .bind(MOST_NETWORKS as i64)
        .fetch_all(&mut *connection)
        .await?;
        let networks = rows.iter().map(|r| Ok((r.try_get(0)?, row::time(r, 1)?))).collect::<Result<_>>()?;
        Ok(KeyNetworks { networks, known_since: row::time(&since, 0)? })
    }

    /// Forgets networks from which no key was used since then. Answers how many there were.
    pub async fn forget_key_networks(&self, before: Timestamp) -> Result<u64> {
        let mut connection = self.writer().await?;
        let gone = sqlx::query("DELETE FROM key_networks WHERE last_time < $1").bind(before.micros());
        Ok(gone.execute(&mut *connection).await?.rows_affected())
    }
}

/// Adds what was seen. Answers the keys that have more networks now than are kept: see [`crop`].
pub(crate) async fn record(c: &mut AnyConnection, seen: &[KeyNetwork]) -> Result<Vec<i64>> {
    // One row once in a statement, and the same order on every node.
    let mut newest = BTreeMap::<(u64, &str), i64>::new();
    for one in seen {
        let time = newest.entry((one.key_id.bits(), &one.network)).or_insert(i64::MIN);
        *time = (*time).max(one.last_time.micros());
    }
    let rows: Vec<_> = newest.into_iter().collect();
    for chunk in rows.chunks(STATEMENT) {
        let sql = format!(
            "INSERT INTO key_networks (key_id, network, last_time) VALUES {}
             ON CONFLICT (key_id, network) DO UPDATE SET
             last_time = CASE WHEN excluded.last_time >= key_networks.last_time
                         THEN excluded.last_time ELSE key_networks.last_time END",
            values(3, chunk.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for ((id, network), time) in chunk {
            query = query.bind(*id as i64).bind(*network).bind(*time);
        }
        query.execute(&mut *c).await?;
    }
    let mut ids: Vec<_> = rows.iter().map(|((id, _), _)| *id as i64).collect();
    ids.dedup();
    let mut crowded = Vec::new();
    for chunk in ids.chunks(STATEMENT) {
        let sql = format!(
            "SELECT key_id FROM key_networks WHERE key_id IN ({}) GROUP BY key_id HAVING COUNT(*) > {MOST_NETWORKS}",
            row::list(1, chunk.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for id in chunk {
            query = query.bind(*id);
        }
        for row in query.fetch_all(&mut *c).await? {
            crowded.push(row.try_get(0)?);
        }
    }
    Ok(crowded)
}

/// Leaves each of these keys its newest networks. Not in the transaction that adds some: two nodes that hold what they
/// added and wait for what the other one added would wait for ever. What fails is done by the next one.
pub(crate) async fn crop(c: &mut AnyConnection, crowded: &[i64]) {
    for id in crowded {
        let sql = format!(
            "DELETE FROM key_networks WHERE key_id = $1 AND (last_time, network) < (
                 SELECT kept.last_time, kept.network FROM key_networks kept WHERE kept.key_id = $1
                 ORDER BY kept.last_time DESC, kept.network DESC LIMIT 1 OFFSET {})",
            MOST_NETWORKS - 1
        );
        if let Err(error) = sqlx::query(AssertSqlSafe(sql)).bind(*id).execute(&mut *c).await {
            tracing::debug!(%error, "networks beyond those kept of a key stay for now");
            return;
        }
    }
}
