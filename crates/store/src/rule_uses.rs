//! Which rules of their policies callers of the run-time API used, and for what.
//!
//! Observations like those of `uses.rs`: they come in batches, cost a request no write, change nothing that anybody
//! decides and are not audited; the audit log tells of each request. A row for each rule of each holder is all that is
//! kept, and it is forgotten when the rule was not used for [`FORGOTTEN`]. What may do everything (`root`) uses no rule.

use crate::row::{self, CHUNK, values};
use crate::{Result, Store, StoreError};
use credentialflow_model::{Period, Timestamp};
use sqlx::{AssertSqlSafe, Connection, Row};
use std::collections::BTreeMap;

/// A rule that was not used for so long is forgotten.
pub const FORGOTTEN: Period = Period::from_secs(400 * 86_400);
/// Rows of one statement; see `uses.rs`.
const STATEMENT: usize = crate::uses::STATEMENT;
/// No holder: since when uses are kept, and when some of them were left out last.
const NOBODY: &str = "";
const BEGUN: &str = "begun";
const LEFT_OUT: &str = "left out";

/// How a holder used a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleUse {
    /// Whose tokens; never empty.
    pub holder: String,
    /// The rule's pattern as policies write it.
    pub rule: String,
    /// For what, one bit for each capability; what a bit means is the caller's.
    pub used: u32,
    /// When last.
    pub last_time: Timestamp,
}

impl Store {
    /// Adds a batch of observed uses of rules, in one transaction and without an audit event (see the module).
    /// `left_out`: until then some were not kept.
    pub async fn record_rule_uses(&self, uses: &[RuleUse], left_out: Option<Timestamp>) -> Result<()> {
        // One row once in a statement, and the same order on every node.
        let mut sums = BTreeMap::<(&str, &str), (i64, i64)>::new();
        for u in uses.iter().filter(|u| u.holder != NOBODY) {
            let sum = sums.entry((&u.holder, &u.rule)).or_insert((0, i64::MIN));
            *sum = (sum.0 | i64::from(u.used), sum.1.max(u.last_time.micros()));
        }
        if let Some(time) = left_out {
            sums.insert((NOBODY, LEFT_OUT), (0, time.micros()));
        }
        let sums: Vec<_> = sums.into_iter().collect();
        let mut connection = self.writer().await?;
        let mut tx = connection.begin_with(self.driver().begin()).await?;
        sqlx::query(
            "INSERT INTO rule_uses (holder, rule, used, last_time) VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING",
        )
        .bind(NOBODY)
        .bind(BEGUN)
        .bind(self.now().micros())
        .execute(&mut *tx)
        .await?;
        for chunk in sums.chunks(STATEMENT) {
            let sql = format!(
                "INSERT INTO rule_uses (holder, rule, used, last_time) VALUES {}
                 ON CONFLICT (holder, rule) DO UPDATE SET
                 used = rule_uses.used | excluded.used,
                 last_time = CASE WHEN excluded.last_time >= rule_uses.last_time
                             THEN excluded.last_time ELSE rule_uses.last_time END",
                values(4, chunk.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for ((holder, rule), (used, time)) in chunk {
                query = query.bind(*holder).bind(*rule).bind(*used).bind(*time);
            }
            query.execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Which rules these holders used, by holder and rule.
    pub async fn rule_uses(&self, holders: &[String]) -> Result<Vec<RuleUse>> {
        let mut found = Vec::new();
        let mut connection = self.reader().await?;
        let holders: Vec<_> = holders.iter().filter(|holder| *holder != NOBODY).collect();
        for chunk in holders.chunks(CHUNK) {
            let sql = format!(
                "SELECT holder, rule, used, last_time FROM rule_uses WHERE holder IN ({}) ORDER BY holder, rule",
                row::list(1, chunk.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for holder in chunk {
                query = query.bind(holder.as_str());
            }
            for r in &query.fetch_all(&mut *connection).await? {
                let used = u32::try_from(row::unsigned(r, 2)?).map_err(|_| StoreError::corrupt("a use of a rule"))?;
                found.push(RuleUse { holder: r.try_get(0)?, rule: r.try_get(1)?, used, last_time: row::time(r, 3)? });
            }
        }
        Ok(found)
    }

    /// Since when every use of a rule is kept; `None`: none is yet.
    pub async fn rule_uses_since(&self) -> Result<Option<Timestamp>> {
        let row = sqlx::query("SELECT MAX(last_time) FROM rule_uses WHERE holder = $1")
            .bind(NOBODY)
            .fetch_one(&mut *self.reader().await?)
            .await?;
        row::optional_time(&row, 0)
    }

    /// Forgets rules that were not used for [`FORGOTTEN`]. Answers how many.
    pub async fn forget_rule_uses(&self) -> Result<u64> {
        let until = i64::try_from(FORGOTTEN.as_duration().as_micros()).unwrap_or(i64::MAX);
        let gone = sqlx::query("DELETE FROM rule_uses WHERE holder <> $1 AND last_time < $2")
            .bind(NOBODY)
            .bind(self.now().micros().saturating_sub(until))
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(gone.rows_affected())
    }
}
