//! The processes on one database, as each tells of itself: who is there, what it enforces, what of a
//! credential under rotation still runs there, and which of them holds a lease.
//!
//! Like last use these are observations and change nothing that anybody decides, so they are written
//! without an actor and an audit event. They go over connections of their own: a node must not count
//! as lost because writers stand in line. Times are judged by the database's clock alone.

use crate::audit::{Hash, hash_of};
use crate::driver::Driver;
use crate::{Result, Store, row};
use credentialflow_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};
use std::time::Duration;

/// What a process tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// Its id, new at each start.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// When it started, by its own clock.
    pub started: Timestamp,
    /// Place in the change feed up to which each of its workers enforces everything.
    pub enforced: i64,
    /// An event of the audit chain that is not before any of that, by its number and hash: it tells which history the
    /// place belongs to. `None`: nothing was taken in yet.
    pub mark: Option<(u64, Hash)>,
    /// Its worker threads.
    pub workers: u32,
    /// Whether it serves traffic, or is about to.
    pub serves: bool,
    /// Whether it finishes its last requests and takes no change in any more.
    pub leaving: bool,
}

/// A process as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// What it told last.
    pub report: NodeReport,
    /// How long ago that was.
    pub silent: Duration,
}

/// What one process sees of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTraffic {
    /// The version that is being replaced, as far as this process knows.
    pub version: u32,
    /// Whether requests that begin there still get it.
    pub in_force: bool,
    /// Running requests that carry it; counted after `in_force` was looked up.
    pub in_flight: u64,
    /// Answers 401, 402 and 403, and others that say so, to the version that replaces it.
    pub refused: u64,
    /// All other answers to that.
    pub served: u64,
    /// Who carries the version, as JSON; for people.
    pub stragglers: String,
}

impl Store {
    /// Whether several processes may work on this database. SQLite is one process's own.
    pub fn is_shared(&self) -> bool {
        self.driver() == Driver::Postgres
    }

    /// Enters a process, or renews what is known of it.
    pub async fn report_node(&self, n: &NodeReport) -> Result<()> {
        let sql = format!(
            "INSERT INTO nodes (id, name, started, heartbeat, enforced, workers, serves, leaving,
             mark_seq, mark_hash) VALUES ($1, $2, $3, {now}, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, heartbeat = excluded.heartbeat,
             enforced = excluded.enforced, workers = excluded.workers, serves = excluded.serves,
             leaving = excluded.leaving, mark_seq = excluded.mark_seq, mark_hash = excluded.mark_hash",
            now = self.driver().now()
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(n.id.as_str())
            .bind(n.name.as_str())
            .bind(n.started.micros())
            .bind(n.enforced)
            .bind(i64::from(n.workers))
            .bind(i64::from(n.serves))
            .bind(i64::from(n.leaving))
            .bind(n.mark.map_or(0, |(seq, _)| whole(seq)))
            .bind(n.mark.map(|(_, hash)| hash.to_vec()))
            .execute(&mut *self.notes().await?)
            .await?;
        Ok(())
    }

    /// Every process that was entered and not forgotten, by name, then by start.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>> {
        let sql = format!(
            "SELECT id, name, started, enforced, workers, serves, leaving, {now} - heartbeat, mark_seq, mark_hash
             FROM nodes ORDER BY name, started, id",
            now = self.driver().now()
        );
        sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *self.notes().await?).await?.iter().map(read).collect()
    }

    /// Forgets a process, and what it told of rotations.
    pub async fn forget_node(&self, id: &str) -> Result<()> {
        sqlx::query("DELETE FROM nodes WHERE id = $1").bind(id).execute(&mut *self.notes().await?).await?;
        Ok(())
    }

    /// Forgets processes that have been silent for so long, and what was told of rotations that are
    /// finished. Answers how many processes.
    pub async fn forget_silent_nodes(&self, silent: Duration) -> Result<u64> {
        let mut connection = self.notes().await?;
        let sql = format!("DELETE FROM nodes WHERE heartbeat < {now} - $1", now = self.driver().now());
        let gone = sqlx::query(AssertSqlSafe(sql)).bind(micros(silent)).execute(&mut *connection).await?;
        sqlx::query("DELETE FROM node_traffic WHERE rotation NOT IN (SELECT id FROM rotations WHERE finished = 0)")
            .execute(&mut *connection)
            .await?;
        Ok(gone.rows_affected())
    }

    /// Keeps what a process sees of a rotation. `Conflict` when the process is not entered.
    pub async fn report_traffic(&self, node: &str, rotation: &str, seen: &NodeTraffic) -> Result<()> {
        sqlx::query(
            "INSERT INTO node_traffic (node, rotation, version, in_force, in_flight, refused, served, stragglers)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (node, rotation) DO UPDATE SET version = excluded.version, in_force = excluded.in_force,
             in_flight = excluded.in_flight, refused = excluded.refused, served = excluded.served,
             stragglers = excluded.stragglers",
        )
        .bind(node)
        .bind(rotation)
        .bind(i64::from(seen.version))
        .bind(i64::from(seen.in_force))
        .bind(whole(seen.in_flight))
        .bind(whole(seen.refused))
        .bind(whole(seen.served))
        .bind(seen.stragglers.as_str())
        .execute(&mut *self.notes().await?)
        .await?;
        Ok(())
    }

    /// What processes see of a credential's unfinished rotation, by their ids.
    pub async fn traffic(&self, credential: &str) -> Result<Vec<(String, NodeTraffic)>> {
        sqlx::query(
            "SELECT t.node, t.version, t.in_force, t.in_flight, t.refused, t.served, t.stragglers FROM node_traffic t
             JOIN rotations r ON r.id = t.rotation WHERE r.credential = $1 AND r.finished = 0 ORDER BY t.node",
        )
        .bind(credential)
        .fetch_all(&mut *self.notes().await?)
        .await?
        .iter()
        .map(|r| {
            let seen = NodeTraffic {
                version: row::version(r, 1)?,
                in_force: r.try_get::<i64, _>(2)? != 0,
                in_flight: row::unsigned(r, 3)?,
                refused: row::unsigned(r, 4)?,
                served: row::unsigned(r, 5)?,
                stragglers: r.try_get(6)?,
            };
            Ok((r.try_get(0)?, seen))
        })
        .collect()
    }

    /// Takes a lease for so long from now, or prolongs it; answers whether `holder` has it. Somebody
    /// else gets it only after its end, or once it was given back.
    pub async fn take_lease(&self, name: &str, holder: &str, length: Duration) -> Result<bool> {
        let sql = format!(
            "INSERT INTO node_leases (name, holder, ends) VALUES ($1, $2, {now} + $3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends = excluded.ends
             WHERE node_leases.holder = excluded.holder OR node_leases.ends <= {now}",
            now = self.driver().now()
        );
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(name)
            .bind(holder)
            .bind(micros(length))
            .execute(&mut *self.notes().await?)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Gives a lease back, if `holder` has it.
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<()> {
        sqlx::query("DELETE FROM node_leases WHERE name = $1 AND holder = $2")
            .bind(name)
            .bind(holder)
            .execute(&mut *self.notes().await?)
            .await?;
        Ok(())
    }

    /// Who holds a lease now.
    pub async fn lease_holder(&self, name: &str) -> Result<Option<String>> {
        let sql = format!("SELECT holder FROM node_leases WHERE name = $1 AND ends > {}", self.driver().now());
        let found = sqlx::query(AssertSqlSafe(sql)).bind(name).fetch_optional(&mut *self.notes().await?).await?;
        Ok(found.map(|r| r.try_get(0)).transpose()?)
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 2)
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn read(r: &AnyRow) -> Result<NodeRow> {
    let hash = r.try_get::<Option<Vec<u8>>, _>(9)?.map(hash_of).transpose()?;
    let mark_seq = row::unsigned(r, 8)?;
    Ok(NodeRow {
        report: NodeReport {
            id: r.try_get(0)?,
            name: r.try_get(1)?,
            started: row::time(r, 2)?,
            enforced: r.try_get(3)?,
            mark: hash.map(|hash| (mark_seq, hash)),
            workers: row::version(r, 4)?,
            serves: r.try_get::<i64, _>(5)? != 0,
            leaving: r.try_get::<i64, _>(6)? != 0,
        },
        // The clock may have been set back meanwhile.
        silent: Duration::from_micros(u64::try_from(r.try_get::<i64, _>(7)?).unwrap_or(0)),
    })
}
