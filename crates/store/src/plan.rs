//! When each credential's next rotation begins by itself, so that nobody has to look at all of them.
//!
//! A credential that changes in any way is to be planned anew: the commit that changes it says so. The
//! planner takes those, a batch at a time, and writes when their rotations begin; whoever begins them
//! reads from an index what is due. All of it follows from other tables and could be made again, so
//! nothing here is audited.

use crate::row::{self, CHUNK, Packed, values};
use crate::{Result, Store, StoreError, WriteTx};
use credentialflow_model::{Name, Timestamp};
use serde::Serialize;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};
use std::collections::BTreeSet;

/// Credentials to be planned anew come before all others.
const ANEW: i64 = i64::MIN;

/// Those that are planned next.
const FIRST: &str = "SELECT credential FROM rotation_plan WHERE due = $1 ORDER BY due, credential LIMIT $2";

/// What a plan depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplanned {
    /// Which credential.
    pub credential: Name,
    /// Its declaration as JSON; absent when there is none any more.
    pub body: Option<String>,
    /// Since when its current version is in use; absent when there is none.
    pub since: Option<Timestamp>,
    /// No rotation begins by itself before this, because one was taken back.
    pub again: Option<Timestamp>,
    /// Whether a rotation is not finished.
    pub unfinished: bool,
}

impl Store {
    /// Takes up to `limit` credentials that are to be planned anew and writes when `next` says that their
    /// rotations begin; `None`: not by themselves. Answers how many it took. Between reading and writing
    /// no credential changes.
    pub async fn plan_rotations(
        &self,
        limit: u32,
        mut next: impl FnMut(&Unplanned) -> Option<Timestamp>,
    ) -> Result<usize> {
        // Nearly always there is nothing to do, which needs no turn among the writers.
        let waiting = sqlx::query("SELECT 1 FROM rotation_plan WHERE due = $1 LIMIT 1")
            .bind(ANEW)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        if waiting.is_none() {
            return Ok(0);
        }
        let mut connection = self.writer().await?;
        let mut tx = connection.begin_with(self.driver().begin()).await?;
        sqlx::query(self.driver().lock_head()).fetch_optional(&mut *tx).await?;
        if let Some(by_index) = self.driver().by_index() {
            sqlx::query(by_index).fetch_one(&mut *tx).await?;
        }
        // In these words, so that the indices over the few rows that count are used.
        let columns = self.driver().packed(
            &["p.credential", "r.body"],
            &[
                "COALESCE(v.promoted, v.created)",
                "(SELECT MAX(x.again) FROM rotations x WHERE x.credential = p.credential AND x.again IS NOT NULL)",
                "(SELECT COUNT(*) FROM rotations x WHERE x.credential = p.credential AND x.finished = 0)",
            ],
        );
        let sql = format!(
            "SELECT {columns}
             FROM ({FIRST}) p
             LEFT JOIN resources r ON r.kind = 'credentials' AND r.name = p.credential
             LEFT JOIN credential_versions v ON v.credential = p.credential AND v.state = 'current'"
        );
        let all = sqlx::query(AssertSqlSafe(sql)).bind(ANEW).bind(i64::from(limit)).fetch_one(&mut *tx).await?;
        let (mut planned, mut others) = (Vec::new(), Vec::new());
        let mut rows = Packed(all.try_get(0)?);
        while !rows.is_over() {
            let found = unplanned(&mut rows).ok_or_else(|| StoreError::corrupt("a plan"))?;
            match next(&found) {
                Some(due) => planned.push((found.credential, due.micros())),
                None => others.push(found.credential),
            }
        }
        let taken = planned.len() + others.len();
        if !planned.is_empty() {
            // Only the index by time gets a row elsewhere: neighbours there are written together.
            planned.sort_unstable_by_key(|(_, due)| *due);
            let sql = format!(
                "UPDATE rotation_plan SET due = f.number FROM ({}) f WHERE rotation_plan.credential = f.name",
                self.driver().pairs()
            );
            sqlx::query(AssertSqlSafe(sql)).bind(list(&planned)?).execute(&mut *tx).await?;
        }
        if !others.is_empty() {
            let sql = format!("DELETE FROM rotation_plan WHERE credential IN ({})", self.driver().names());
            sqlx::query(AssertSqlSafe(sql)).bind(list(&others)?).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(taken)
    }

    /// Credentials whose rotations are due, the longest due first, at most `limit`.
    pub async fn due_rotations(&self, now: Timestamp, limit: u32) -> Result<Vec<(Name, Timestamp)>> {
        sqlx::query(
            "SELECT credential, due FROM rotation_plan WHERE due > $1 AND due <= $2 ORDER BY due, credential LIMIT $3",
        )
        .bind(ANEW)
        .bind(now.micros())
        .bind(i64::from(limit))
        .fetch_all(&mut *self.reader().await?)
        .await?
        .iter()
        .map(|r| Ok((row::name(r, 0)?, row::time(r, 1)?)))
        .collect()
    }

    /// How many rotations are due and not begun.
    pub async fn count_due_rotations(&self, now: Timestamp) -> Result<u64> {
        let row = sqlx::query("SELECT COUNT(*) FROM rotation_plan WHERE due > $1 AND due <= $2")
            .bind(ANEW)
            .bind(now.micros())
            .fetch_one(&mut *self.reader().await?)
            .await?;
        row::unsigned(&row, 0)
    }

    /// When a credential's next rotation begins by itself; `None` when it does not, or is not planned yet.
    pub async fn rotation_due(&self, credential: &str) -> Result<Option<Timestamp>> {
        let found = sqlx::query("SELECT due FROM rotation_plan WHERE credential = $1 AND due > $2")
            .bind(credential)
            .bind(ANEW)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        found.map(|r| row::time(&r, 0)).transpose()
    }

    /// Looks at a credential again later, because its rotation could not be begun now.
    pub async fn postpone_rotation(&self, credential: &str, due: Timestamp) -> Result<()> {
        sqlx::query("UPDATE rotation_plan SET due = $1 WHERE credential = $2 AND due > $3")
            .bind(due.micros())
            .bind(credential)
            .bind(ANEW)
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(())
    }
}

impl WriteTx {
    /// Whether a credential's rotation is due as this transaction sees it; it is then taken out of the
    /// plan, until something changes.
    pub async fn take_due_rotation(&mut self, credential: &str, now: Timestamp) -> Result<bool> {
        let done = sqlx::query("DELETE FROM rotation_plan WHERE credential = $1 AND due > $2 AND due <= $3")
            .bind(credential)
            .bind(ANEW)
            .bind(now.micros())
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

/// Has credentials planned anew, as part of the commit that changes them.
pub(crate) async fn anew(c: &mut AnyConnection, credentials: &BTreeSet<String>) -> Result<()> {
    let all: Vec<_> = credentials.iter().collect();
    for chunk in all.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO rotation_plan (credential, due) VALUES {} ON CONFLICT (credential) DO UPDATE SET due = excluded.due",
            values(2, chunk.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for credential in chunk {
            query = query.bind(credential.as_str()).bind(ANEW);
        }
        query.execute(&mut *c).await?;
    }
    Ok(())
}

/// The next row; `None` where it does not read.
fn unplanned(rows: &mut Packed<'_>) -> Option<Unplanned> {
    Some(Unplanned {
        credential: rows.text()??.parse().ok()?,
        body: rows.text()?.map(str::to_owned),
        since: rows.number()?.map(Timestamp::from_micros),
        again: rows.number()?.map(Timestamp::from_micros),
        unfinished: rows.number()?? != 0,
    })
}

fn list(all: &impl Serialize) -> Result<String> {
    serde_json::to_string(all).map_err(|_| StoreError::Other("a list that cannot be written".into()))
}
