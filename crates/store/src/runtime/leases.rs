//! Leases: what was handed out for a time, and how far its revocation is.

use super::entries::LAST;
use crate::row::{optional_time, parse_word, time, unsigned};
use crate::{Result, Store};
use credentialflow_model::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row};

/// How far a lease is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// Written before the secret is made at its target, so that a crash leaves nothing unknown there.
    Pending,
    /// Handed out.
    Active,
    /// To be revoked at its target; tried again until it succeeds.
    Revoking,
    /// Revocation failed so often that a person is asked for.
    Stuck,
}

impl LeaseState {
    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Revoking => "revoking",
            Self::Stuck => "stuck",
        }
    }
}

/// A stored lease.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// Its id: the path it was asked for at, then a part of its own.
    pub id: String,
    /// The mount that made it.
    pub mount: String,
    /// The accessor of the token it was given to.
    pub token: Option<String>,
    /// The entity it was given to.
    pub entity: Option<String>,
    /// The application it was given to.
    pub application: Option<String>,
    /// The system that its revocation waits for, in a word that only the engines understand; empty: none, or unknown.
    pub place: String,
    /// When it was given.
    pub issued: Timestamp,
    /// When it ends; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// How far it is.
    pub state: LeaseState,
    /// How often its revocation failed.
    pub attempts: u32,
    /// When something is to be done with it next; `None`: nothing by itself.
    pub next_attempt: Option<Timestamp>,
    /// Everything else, sealed.
    pub sealed: Vec<u8>,
    /// The number of the commit that wrote it.
    pub revision: i64,
}

/// Leases of one mount in one state that have failed at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingLeases {
    /// The mount that made them.
    pub mount: String,
    /// How far they are.
    pub state: LeaseState,
    /// How many.
    pub count: u64,
}

impl std::fmt::Debug for LeaseRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseRow").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

pub(super) const COLUMNS: &str =
    "id, mount, token, entity, application, place, issued, expires_at, state, attempts, next_attempt, sealed, revision";

impl Store {
    /// A lease.
    pub async fn lease(&self, id: &str) -> Result<Option<LeaseRow>> {
        Ok(self.leases("WHERE id = $1", |q| q.bind(id.to_owned())).await?.pop())
    }

    /// Leases whose id begins so and comes after an id, by id, at most `limit`.
    pub async fn leases_by_prefix(&self, prefix: &str, after: &str, limit: u32) -> Result<Vec<LeaseRow>> {
        self.leases("WHERE id >= $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4", |q| {
            q.bind(prefix.to_owned()).bind(after.to_owned()).bind(format!("{prefix}{LAST}")).bind(i64::from(limit))
        })
        .await
    }

    /// The names one level below a prefix of the ids, as [`Store::entry_children`] gives them.
    pub async fn lease_children(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>> {
        let sql = "SELECT id FROM leases WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3";
        self.children(sql, None, prefix, after, limit).await
    }

    /// The leases given to the token with this accessor.
    pub async fn leases_of_token(&self, accessor: &str) -> Result<Vec<LeaseRow>> {
        self.leases("WHERE token = $1 ORDER BY id", |q| q.bind(accessor.to_owned())).await
    }

    /// The leases given to an entity, by id after an id, at most `limit`.
    pub async fn leases_of_entity(&self, entity: &str, after: &str, limit: u32) -> Result<Vec<LeaseRow>> {
        self.leases("WHERE entity = $1 AND id > $2 ORDER BY id LIMIT $3", |q| {
            q.bind(entity.to_owned()).bind(after.to_owned()).bind(i64::from(limit))
        })
        .await
    }

    /// The leases given to an application, by id after an id, at most `limit`.
    pub async fn leases_of_application(&self, application: &str, after: &str, limit: u32) -> Result<Vec<LeaseRow>> {
        self.leases("WHERE application = $1 AND id > $2 ORDER BY id LIMIT $3", |q| {
            q.bind(application.to_owned()).bind(after.to_owned()).bind(i64::from(limit))
        })
        .await
    }

    /// The places with something to be done by a moment. Costs a look into an index for each place there is, however
    /// many leases it has.
    pub async fn lease_places_due(&self, at: Timestamp) -> Result<Vec<String>> {
        let sql = "WITH RECURSIVE places (place) AS (
                       SELECT MIN(place) FROM leases
                       UNION ALL
                       SELECT (SELECT MIN(l.place) FROM leases l WHERE l.place > p.place)
                       FROM places p WHERE p.place IS NOT NULL)
                   SELECT p.place FROM places p WHERE p.place IS NOT NULL
                   AND EXISTS (SELECT 1 FROM leases l WHERE l.place = p.place AND l.next_attempt <= $1)";
        let rows = sqlx::query(sql).bind(at.micros()).fetch_all(&mut *self.reader().await?).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// The leases at one place with something to be done by a moment, at most `limit`: first one that has failed most
    /// often, then the longest due.
    pub async fn leases_due(&self, place: &str, at: Timestamp, limit: u32) -> Result<Vec<LeaseRow>> {
        // In these words, so that the index over the few that failed is used.
        let failed = "WHERE attempts > 0 AND place = $1 AND next_attempt <= $2 ORDER BY attempts DESC, id LIMIT 1";
        let mut due = self.leases(failed, |q| q.bind(place.to_owned()).bind(at.micros())).await?;
        let first = due.first().map_or_else(String::new, |row| row.id.clone());
        let rest = "WHERE place = $1 AND next_attempt <= $2 AND id <> $3 ORDER BY next_attempt LIMIT $4";
        let left = i64::from(limit) - due.len() as i64;
        if left > 0 {
            let rest = self.leases(rest, |q| q.bind(place.to_owned()).bind(at.micros()).bind(first).bind(left));
            due.extend(rest.await?);
        }
        Ok(due)
    }

    /// When the next lease is due; `None`: none is.
    pub async fn next_lease_due(&self) -> Result<Option<Timestamp>> {
        let row = sqlx::query("SELECT MIN(next_attempt) FROM leases").fetch_one(&mut *self.reader().await?).await?;
        optional_time(&row, 0)
    }

    /// Leases whose revocation failed so often that a person is asked for, by id after an id, at most `limit`.
    pub async fn leases_stuck(&self, after: &str, limit: u32) -> Result<Vec<LeaseRow>> {
        // In these words, so that the index over the few that failed is used.
        self.leases("WHERE attempts > 0 AND state = 'stuck' AND id > $1 ORDER BY id LIMIT $2", |q| {
            q.bind(after.to_owned()).bind(i64::from(limit))
        })
        .await
    }

    /// How many leases of each mount and state have failed at least once.
    pub async fn leases_failing(&self) -> Result<Vec<FailingLeases>> {
        let sql = "SELECT mount, state, COUNT(*) FROM leases WHERE attempts > 0 GROUP BY mount, state ORDER BY 1, 2";
        let rows = sqlx::query(sql).fetch_all(&mut *self.reader().await?).await?;
        let failing = |r: &AnyRow| -> Result<FailingLeases> {
            let state = parse_word(r.try_get(1)?, "state of a lease")?;
            Ok(FailingLeases { mount: r.try_get(0)?, state, count: unsigned(r, 2)? })
        };
        rows.iter().map(failing).collect()
    }

    async fn leases<F>(&self, rest: &str, bind: F) -> Result<Vec<LeaseRow>>
    where
        F: for<'q> FnOnce(Query<'q, Any, AnyArguments>) -> Query<'q, Any, AnyArguments>,
    {
        let query = bind(sqlx::query(AssertSqlSafe(format!("SELECT {COLUMNS} FROM leases {rest}"))));
        query.fetch_all(&mut *self.reader().await?).await?.iter().map(read).collect()
    }
}

fn read(r: &AnyRow) -> Result<LeaseRow> {
    Ok(LeaseRow {
        id: r.try_get(0)?,
        mount: r.try_get(1)?,
        token: r.try_get(2)?,
        entity: r.try_get(3)?,
        application: r.try_get(4)?,
        place: r.try_get(5)?,
        issued: time(r, 6)?,
        expires_at: optional_time(r, 7)?,
        state: parse_word(r.try_get(8)?, "state of a lease")?,
        attempts: u32::try_from(unsigned(r, 9)?).unwrap_or(u32::MAX),
        next_attempt: optional_time(r, 10)?,
        sealed: r.try_get(11)?,
        revision: r.try_get(12)?,
    })
}
