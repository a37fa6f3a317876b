//! Rotations of credentials: each step is stored before it is taken, so that a crash resumes it.

use crate::row::{self, parse_word, word};
use crate::{Result, Store, StoreError, WriteTx};
use credentialflow_model::{Name, Timestamp, lifecycle::RotationStep};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

/// One rotation. At most one of a credential is unfinished; the database sees to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationRow {
    /// Its id.
    pub id: String,
    /// Which credential.
    pub credential: Name,
    /// The version that is replaced; absent when there was none.
    pub from_version: Option<u32>,
    /// The version that replaces it; absent until it is made.
    pub to_version: Option<u32>,
    /// Where it stands.
    pub step: RotationStep,
    /// When it began.
    pub started: Timestamp,
    /// When it last moved.
    pub updated: Timestamp,
    /// When the old version is retired even if it still has traffic.
    pub deadline: Option<Timestamp>,
    /// Facts for people and for resuming; never a secret.
    pub detail: serde_json::Value,
    /// Why it was taken back, or what the last attempt met.
    pub error: Option<String>,
    /// Whether only somebody outside can make it go on: by approving it, or by delivering a value.
    pub waiting: bool,
    /// Once it was taken back: before this, no rotation of the credential begins by itself.
    pub again: Option<Timestamp>,
}

const SELECT: &str =
    "SELECT id, credential, from_version, to_version, step, started, updated, deadline, detail, error, waiting, again
     FROM rotations";

impl Store {
    /// One rotation.
    pub async fn rotation(&self, id: &str) -> Result<Option<RotationRow>> {
        one(&mut *self.reader().await?, id).await
    }

    /// A credential's rotations, newest first, at most `limit`.
    pub async fn rotations(&self, credential: &str, limit: u32) -> Result<Vec<RotationRow>> {
        let sql = format!("{SELECT} WHERE credential = $1 ORDER BY started DESC, id DESC LIMIT $2");
        sqlx::query(AssertSqlSafe(sql))
            .bind(credential)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?
            .iter()
            .map(read)
            .collect()
    }

    /// The unfinished rotation of a credential, if there is one.
    pub async fn unfinished_rotation(&self, credential: &str) -> Result<Option<RotationRow>> {
        unfinished(&mut *self.reader().await?, credential).await
    }

    /// The rotations that are not finished, oldest first, at most `limit` after a place.
    pub async fn unfinished_rotations_after(
        &self,
        after: Option<(Timestamp, &str)>,
        limit: u32,
    ) -> Result<Vec<RotationRow>> {
        let (started, id) = after.map_or((i64::MIN, ""), |(started, id)| (started.micros(), id));
        let sql = format!(
            "{SELECT} WHERE finished = 0 AND (started > $1 OR (started = $1 AND id > $2)) ORDER BY started, id LIMIT $3"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(started)
            .bind(id)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?
            .iter()
            .map(read)
            .collect()
    }

    /// The rotations that can go on by themselves, oldest first. Those that wait for somebody are not
    /// among them, however many there are.
    pub async fn running_rotations(&self) -> Result<Vec<RotationRow>> {
        let sql = format!("{SELECT} WHERE finished = 0 AND waiting = 0 ORDER BY started, id");
        sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *self.reader().await?).await?.iter().map(read).collect()
    }

    /// Id and step of each rotation that can go on by itself, oldest first.
    pub async fn running_rotation_steps(&self) -> Result<Vec<(String, RotationStep)>> {
        sqlx::query("SELECT id, step FROM rotations WHERE finished = 0 AND waiting = 0 ORDER BY started, id")
            .fetch_all(&mut *self.reader().await?)
            .await?
            .iter()
            .map(|r| Ok((r.try_get(0)?, parse_word(r.try_get(1)?, "step of a rotation")?)))
            .collect()
    }

    /// How many rotations can go on by themselves, and how many wait for somebody.
    pub async fn count_unfinished_rotations(&self) -> Result<(u64, u64)> {
        let rows = sqlx::query("SELECT waiting, COUNT(*) FROM rotations WHERE finished = 0 GROUP BY waiting")
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let mut counts = (0, 0);
        for row in &rows {
            let of = if row.try_get::<i64, _>(0)? == 0 { &mut counts.0 } else { &mut counts.1 };
            *of = row::unsigned(row, 1)?;
        }
        Ok(counts)
    }
}

impl WriteTx {
    /// One rotation as this transaction sees it.
    pub async fn rotation(&mut self, id: &str) -> Result<Option<RotationRow>> {
        one(self.connection(), id).await
    }

    /// The unfinished rotation of a credential, if there is one, as this transaction sees it.
    pub async fn unfinished_rotation(&mut self, credential: &str) -> Result<Option<RotationRow>> {
        unfinished(self.connection(), credential).await
    }

    /// Adds a rotation. `Conflict` when the credential has an unfinished one.
    pub async fn insert_rotation(&mut self, r: &RotationRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO rotations (id, credential, from_version, to_version, step, finished, started, updated,
             deadline, detail, error, waiting, again)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(r.id.as_str())
        .bind(r.credential.as_str())
        .bind(r.from_version.map(i64::from))
        .bind(r.to_version.map(i64::from))
        .bind(word(&r.step)?)
        .bind(i64::from(r.step.is_finished()))
        .bind(r.started.micros())
        .bind(r.updated.micros())
        .bind(r.deadline.map(Timestamp::micros))
        .bind(r.detail.to_string())
        .bind(r.error.clone())
        .bind(i64::from(r.waiting))
        .bind(r.again.map(Timestamp::micros))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Writes everything of a rotation but its credential and start. `NotFound` when it is not there.
    pub async fn update_rotation(&mut self, r: &RotationRow) -> Result<()> {
        let done = sqlx::query(
            "UPDATE rotations SET from_version = $1, to_version = $2, step = $3, finished = $4, updated = $5,
             deadline = $6, detail = $7, error = $8, waiting = $9, again = $10 WHERE id = $11",
        )
        .bind(r.from_version.map(i64::from))
        .bind(r.to_version.map(i64::from))
        .bind(word(&r.step)?)
        .bind(i64::from(r.step.is_finished()))
        .bind(r.updated.micros())
        .bind(r.deadline.map(Timestamp::micros))
        .bind(r.detail.to_string())
        .bind(r.error.clone())
        .bind(i64::from(r.waiting))
        .bind(r.again.map(Timestamp::micros))
        .bind(r.id.as_str())
        .execute(self.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!("rotation {}", r.id)));
        }
        if r.step.is_finished() {
            self.plan_anew(r.credential.as_str());
        }
        Ok(())
    }
}

async fn unfinished(c: &mut AnyConnection, credential: &str) -> Result<Option<RotationRow>> {
    let sql = format!("{SELECT} WHERE credential = $1 AND finished = 0");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(credential).fetch_optional(c).await?;
    found.as_ref().map(read).transpose()
}

async fn one(c: &mut AnyConnection, id: &str) -> Result<Option<RotationRow>> {
    let sql = format!("{SELECT} WHERE id = $1");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id).fetch_optional(c).await?;
    found.as_ref().map(read).transpose()
}

fn read(r: &AnyRow) -> Result<RotationRow> {
    Ok(RotationRow {
        id: r.try_get(0)?,
        credential: row::name(r, 1)?,
        from_version: row::optional_version(r, 2)?,
        to_version: row::optional_version(r, 3)?,
        step: parse_word(r.try_get(4)?, "step of a rotation")?,
        started: row::time(r, 5)?,
        updated: row::time(r, 6)?,
        deadline: row::optional_time(r, 7)?,
        detail: serde_json::from_str(r.try_get(8)?).map_err(|_| StoreError::corrupt("a rotation's detail"))?,
        error: r.try_get(9)?,
        waiting: r.try_get::<i64, _>(10)? != 0,
        again: row::optional_time(r, 11)?,
    })
}
