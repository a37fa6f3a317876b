//! Windows of budgets as people look at them, and when they are forgotten.

use super::{
    BudgetWindowRow,
    hold::{Key, length_of, slots_of},
};
use crate::{Result, Store, row};
use credentialflow_model::{Timestamp, ledger::Totals};
use sqlx::{AssertSqlSafe, Connection, Row, any::AnyRow};
use std::collections::BTreeMap;

impl BudgetWindowRow {
    fn rolls(&self) -> bool {
        length_of(&self.budget).is_some()
    }
}

impl Store {
    /// The windows that hold a moment, of every budget that was ever charged but those of end users, by name. Of those that
    /// roll, what counts at that moment.
    pub async fn budget_windows(&self, at: Timestamp) -> Result<Vec<BudgetWindowRow>> {
        // A slash is followed by a nought: between both are the names that begin so.
        let others = (String::new(), i64::MAX, "budget < $2 OR budget >= 'users0'");
        self.windows_where(at, "users/".to_owned(), others).await
    }

    /// The same of end users, of names that come after one and begin with a text, and at most so many.
    pub async fn user_budget_windows(
        &self,
        at: Timestamp,
        begins: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<BudgetWindowRow>> {
        let ends = format!("{}0", begins.strip_suffix('/').unwrap_or(begins));
        let first = if after < begins { begins } else { after };
        let these = (ends, i64::from(limit), "budget > $2 AND budget < $3");
        self.windows_where(at, first.to_owned(), these).await
    }

    /// The same of these budgets.
    pub async fn budget_windows_of(&self, at: Timestamp, budgets: &[String]) -> Result<Vec<BudgetWindowRow>> {
        let mut found = Vec::new();
        for budget in budgets {
            let this = (String::new(), i64::MAX, "budget = $2");
            found.extend(self.windows_where(at, budget.clone(), this).await?);
        }
        Ok(found)
    }

    async fn windows_where(
        &self,
        at: Timestamp,
        first: String,
        (last, limit, which): (String, i64, &str),
    ) -> Result<Vec<BudgetWindowRow>> {
        let mut connection = self.reader().await?;
        let sql = format!(
            "SELECT budget, started, ends, spent, leased, lost, unlogged FROM budget_windows
             WHERE started <= $1 AND ends > $1 AND ({which}) AND $3 = $3 ORDER BY budget, started LIMIT $4"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(at.micros())
            .bind(first)
            .bind(last)
            .bind(limit)
            .fetch_all(&mut *connection)
            .await?;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Vec::new()) };
        let (first, last): (String, String) = (first.try_get(0)?, last.try_get(0)?);
        let mut leases = BTreeMap::<Key, Vec<(String, i64)>>::new();
        for lease in sqlx::query(
            "SELECT l.budget, l.started, n.name, l.amount FROM budget_leases l
             JOIN budget_nodes n ON n.node = l.node WHERE l.budget >= $1 AND l.budget <= $2 ORDER BY n.name, n.node",
        )
        .bind(first)
        .bind(last)
        .fetch_all(&mut *connection)
        .await?
        {
            let of = leases.entry((lease.try_get(0)?, lease.try_get(1)?)).or_default();
            of.push((lease.try_get(2)?, lease.try_get(3)?));
        }
        let mut windows = rows.iter().map(|r| window(r, &mut leases)).collect::<Result<Vec<_>>>()?;
        let rolling: Vec<&str> = windows.iter().filter(|w| w.rolls()).map(|w| w.budget.as_str()).collect();
        let mut slots = slots_of(&mut connection, &rolling).await?;
        for window in windows.iter_mut().filter(|window| window.rolls()) {
            let mut slots = slots.remove(&window.budget).unwrap_or_default();
            slots.expire(at);
            let sum = slots.sum();
            window.totals = slots.totals(window.totals.leased);
            (window.unlogged, window.ends) = (sum.unlogged, sum.ends);
        }
        Ok(windows)
    }

    /// Forgets windows that ended before a moment, with what is still borrowed of them, and processes that had ended by
    /// then. Answers how many windows.
    pub async fn forget_budget_windows(&self, before: Timestamp) -> Result<u64> {
        let mut connection = self.notes().await?;
        let mut tx = connection.begin_with(self.driver().begin()).await?;
        sqlx::query(
            "DELETE FROM budget_leases WHERE EXISTS (SELECT 1 FROM budget_windows w WHERE w.budget = budget_leases.budget
             AND w.started = budget_leases.started AND w.ends < $1)",
        )
        .bind(before.micros())
        .execute(&mut *tx)
        .await?;
        let done =
            sqlx::query("DELETE FROM budget_windows WHERE ends < $1").bind(before.micros()).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM budget_slots WHERE ends < $1").bind(before.micros()).execute(&mut *tx).await?;
        // Those that roll and count nothing. Nothing is lost with a window of which nothing is borrowed.
        sqlx::query(
            "DELETE FROM budget_windows WHERE ends = $1 AND leased = 0
             AND NOT EXISTS (SELECT 1 FROM budget_slots s WHERE s.budget = budget_windows.budget)",
        )
        .bind(i64::MAX)
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM budget_nodes WHERE state <> 0 AND seen < $1")
            .bind(before.micros())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

fn window(r: &AnyRow, leases: &mut BTreeMap<Key, Vec<(String, i64)>>) -> Result<BudgetWindowRow> {
    let (budget, started): (String, i64) = (r.try_get(0)?, r.try_get(1)?);
    Ok(BudgetWindowRow {
        leases: leases.remove(&(budget.clone(), started)).unwrap_or_default(),
        budget,
        started: Timestamp::from_micros(started),
        ends: row::time(r, 2)?,
        totals: Totals { spent: r.try_get(3)?, leased: r.try_get(4)?, lost: r.try_get(5)? },
        unlogged: r.try_get(6)?,
    })
}
