//! Runs of the tests of prompts: what was tested, and how it ended.
//!
//! What exactly was tested is told by a digest, so that a run of other tests, or of another text, counts for nothing.
//! Results are JSON whose meaning is the control plane's. The newest runs of each version are kept; with a prompt its runs
//! go.

use crate::row::{time, unsigned};
use crate::{Result, Store, StoreError, WriteTx};
use credentialflow_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

/// Runs of a version that are kept.
const KEPT: i64 = 20;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptRunRow {
    /// The prompt.
    pub prompt: String,
    /// Its version.
    pub version: u32,
    /// The number of the run among those of the version, from 1. What is written gets the next one.
    pub run: u64,
    /// What was tested, as a digest.
    pub digest: String,
    /// Whether every test was passed.
    pub passed: bool,
    /// When it ended.
    pub time: Timestamp,
    /// Who had it run.
    pub actor: String,
    /// The result of each test, as JSON.
    pub body: String,
}

const COLUMNS: &str = "prompt, version, run, digest, passed, time, actor, body";

impl Store {
    /// Runs of a prompt, or of one of its versions, the newest first, at most `limit`.
    pub async fn prompt_runs(&self, prompt: &str, version: Option<u32>, limit: u32) -> Result<Vec<PromptRunRow>> {
        let (from, to) = version.map_or((0, i64::MAX), |version| (i64::from(version), i64::from(version)));
        let sql = format!(
            "SELECT {COLUMNS} FROM prompt_runs WHERE prompt = $1 AND version >= $2 AND version <= $3
             ORDER BY time DESC, version DESC, run DESC LIMIT $4"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(prompt)
            .bind(from)
            .bind(to)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await?
            .iter()
            .map(read)
            .collect()
    }
}

impl WriteTx {
    /// Writes a run and answers its number. Older runs of the version than are kept go.
    pub async fn add_prompt_run(&mut self, row: &PromptRunRow) -> Result<u64> {
        let last = sqlx::query("SELECT COALESCE(MAX(run), 0) FROM prompt_runs WHERE prompt = $1 AND version = $2")
            .bind(row.prompt.as_str())
            .bind(i64::from(row.version))
            .fetch_one(self.connection())
            .await?;
        let run = unsigned(&last, 0)? + 1;
        let number = i64::try_from(run).map_err(|_| StoreError::corrupt("a run of a prompt"))?;
        sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO prompt_runs ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
        )))
        .bind(row.prompt.as_str())
        .bind(i64::from(row.version))
        .bind(number)
        .bind(row.digest.as_str())
        .bind(i64::from(row.passed))
        .bind(row.time.micros())
        .bind(row.actor.as_str())
        .bind(row.body.as_str())
        .execute(self.connection())
        .await?;
        sqlx::query("DELETE FROM prompt_runs WHERE prompt = $1 AND version = $2 AND run <= $3")
            .bind(row.prompt.as_str())
            .bind(i64::from(row.version))
            .bind(number - KEPT)
            .execute(self.connection())
            .await?;
        Ok(run)
    }

    /// Whether the newest run of exactly this was passed; `None` where there is none.
    pub async fn prompt_passed(&mut self, prompt: &str, version: u32, digest: &str) -> Result<Option<bool>> {
        let found = sqlx::query(
            "SELECT passed FROM prompt_runs WHERE prompt = $1 AND version = $2 AND digest = $3
             ORDER BY run DESC LIMIT 1",
        )
        .bind(prompt)
        .bind(i64::from(version))
        .bind(digest)
        .fetch_optional(self.connection())
        .await?;
        found.map(|row| Ok(row.try_get::<i64, _>(0)? != 0)).transpose()
    }

    /// Forgets the runs of a prompt that goes.
    pub(crate) async fn forget_prompt_runs(&mut self, prompt: &str) -> Result<()> {
        sqlx::query("DELETE FROM prompt_runs WHERE prompt = $1").bind(prompt).execute(self.connection()).await?;
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<PromptRunRow> {
    Ok(PromptRunRow {
        prompt: row.try_get(0)?,
        version: u32::try_from(unsigned(row, 1)?).map_err(|_| StoreError::corrupt("a run of a prompt"))?,
        run: unsigned(row, 2)?,
        digest: row.try_get(3)?,
        passed: row.try_get::<i64, _>(4)? != 0,
        time: time(row, 5)?,
        actor: row.try_get(6)?,
        body: row.try_get(7)?,
    })
}
