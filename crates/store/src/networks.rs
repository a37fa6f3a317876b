//! From which networks each key was used lately, over all nodes: the newest ones, until their time is over.
//!
//! Observations, written with the other uses (see `uses`). A key that is put in quarantine goes on working from them.

use crate::driver::Driver;
use crate::row::values;
use crate::uses::STATEMENT;
use crate::{Result, Store, row};
use credentialflow_model::{KeyId, Timestamp};
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use std::collections::BTreeMap;

/// Networks kept of each key: the newest.
pub const MOST_NETWORKS: usize = 64;
/// So many more may stay for a while: keys that are used from ever new networks are cropped now and then, not each time.
const SLACK: usize = 16;
/// Keys cropped at a time, those with the most networks; the others when they are used again.
const CROPPED: usize = 32;

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
    /// When a node last had networks, of whatever key, that it could not keep.
    pub lost: Timestamp,
}

impl Store {
    /// From where a key was used.
    pub async fn key_networks(&self, id: KeyId) -> Result<KeyNetworks> {
        let mut connection = self.reader().await?;
        let head = "SELECT networks_since, networks_lost FROM head WHERE id = 1";
        let head = sqlx::query(head).fetch_one(&mut *connection).await?;
        let rows = sqlx::query(
            "SELECT network, last_time FROM key_networks WHERE key_id = $1
             ORDER BY last_time DESC, network DESC LIMIT $2",
        )
        .bind(id.bits() as i64)
        .bind(MOST_NETWORKS as i64)
        .fetch_all(&mut *connection)
        .await?;
        let networks = rows.iter().map(|r| Ok((r.try_get(0)?, row::time(r, 1)?))).collect::<Result<_>>()?;
        Ok(KeyNetworks { networks, known_since: row::time(&head, 0)?, lost: row::time(&head, 1)? })
    }

    /// Writes down that networks were lost, the last at that time: what is known of any key's uses until then is not all.
    pub async fn note_lost_networks(&self, last: Timestamp) -> Result<()> {
        let mut connection = self.writer().await?;
        let note = sqlx::query("UPDATE head SET networks_lost = $1 WHERE id = 1 AND networks_lost < $1");
        note.bind(last.micros()).execute(&mut *connection).await?;
        Ok(())
    }

    /// Forgets networks from which no key was used since then. Answers how many there were.
    pub async fn forget_key_networks(&self, before: Timestamp) -> Result<u64> {
        let mut connection = self.writer().await?;
        let gone = sqlx::query("DELETE FROM key_networks WHERE last_time < $1").bind(before.micros());
        Ok(gone.execute(&mut *connection).await?.rows_affected())
    }
}

/// Adds what was seen. Answers the keys that have too many networks now, those with the most first: see [`crop`].
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
    let mut crowded = Vec::<(i64, i64)>::new();
    for chunk in ids.chunks(STATEMENT) {
        let sql = format!(
            "SELECT COUNT(*), key_id FROM key_networks WHERE key_id IN ({}) GROUP BY key_id HAVING COUNT(*) >= {}",
            row::list(1, chunk.len()),
            MOST_NETWORKS + SLACK
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for id in chunk {
            query = query.bind(*id);
        }
        for row in query.fetch_all(&mut *c).await? {
            crowded.push((row.try_get(0)?, row.try_get(1)?));
        }
    }
    crowded.sort_unstable_by_key(|(networks, id)| (std::cmp::Reverse(*networks), *id));
    Ok(crowded.into_iter().map(|(_, id)| id).take(CROPPED).collect())
}

/// Leaves each of these keys its newest networks, by one statement that waits for nobody. Not in the transaction that
/// adds some: two nodes that hold what they added and wait for what the other one added would wait for ever. What fails,
/// or is held by another node, is done by the next one.
pub(crate) async fn crop(c: &mut AnyConnection, driver: Driver, crowded: &[i64]) {
    if crowded.is_empty() {
        return;
    }
    let sql = format!(
        "DELETE FROM key_networks WHERE (key_id, network) IN (
             SELECT key_id, network FROM key_networks WHERE (key_id, network) IN (
                 SELECT key_id, network FROM (
                     SELECT key_id, network,
                     ROW_NUMBER() OVER (PARTITION BY key_id ORDER BY last_time DESC, network DESC) AS place
                     FROM key_networks WHERE key_id IN ({})
                 ) placed WHERE place > {MOST_NETWORKS}
             ) {})",
        row::list(1, crowded.len()),
        driver.skip_locked()
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for id in crowded {
        query = query.bind(*id);
    }
    if let Err(error) = query.execute(&mut *c).await {
        tracing::debug!(%error, "networks beyond those kept of a key stay for now");
    }
}
