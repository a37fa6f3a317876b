//! Windows of budgets as a transaction holds them.

use super::BudgetState;
use crate::{
    Result,
    driver::Driver,
    row::{self, CHUNK, list, values},
};
use credentialflow_model::{
    Period, Timestamp,
    ledger::{Rolling, Slot, Totals, Turn},
    resource::{BudgetPeriod, budget::BudgetWindow},
};
use sqlx::{AnyConnection, AssertSqlSafe, Row, any::AnyRow};
use std::collections::{BTreeMap, HashMap};

/// A budget and when a window of it began, in microseconds.
pub(super) type Key = (String, i64);

/// How long a budget's windows are, if they roll.
pub(super) fn length_of(budget: &str) -> Option<Period> {
    BudgetPeriod::of_budget(budget)?.rolling()
}

/// The latest that a window can end, where nobody tells more than its name.
pub(super) fn ends_of((budget, started): &Key) -> Timestamp {
    let secs = match BudgetPeriod::of_budget(budget) {
        Some(BudgetPeriod::Rolling(_)) => return BudgetWindow::ALWAYS.end,
        Some(BudgetPeriod::Hour) => 3600,
        Some(BudgetPeriod::Day) => 26 * 3600,
        Some(BudgetPeriod::Week) => 8 * 86_400,
        _ => 32 * 86_400,
    };
    Timestamp::from_micros(*started).plus(Period::from_secs(secs))
}

/// A window that is held until the transaction ends.
pub(super) struct Window {
    pub ends: Timestamp,
    pub totals: Totals,
    pub unlogged: i64,
    pub lease: i64,
    warned: u8,
    /// As it was found.
    before: (Totals, i64, i64),
    rolls: Option<Rolls>,
}

/// What a budget that rolls counts besides what is borrowed of it.
struct Rolls {
    length: Period,
    /// By the database's clock, while the budget is held.
    now: Timestamp,
    slots: Rolling,
    /// Whether the slot of this moment changed.
    changed: bool,
}

impl Window {
    pub fn state(&self) -> BudgetState {
        let frees = self.rolls.as_ref().map_or(self.ends, |rolls| rolls.slots.sum().ends);
        BudgetState { lease: self.lease, totals: self.totals, warned: self.warned, frees }
    }

    /// Takes a process's turn. Of what it charges, `unlogged` stands in no call log.
    pub fn turn(&mut self, turn: &Turn, unlogged: i64) {
        self.lease = self.totals.turn(self.lease, turn);
        self.unlogged = self.unlogged.saturating_add(unlogged);
        self.note(|slot| {
            slot.spent = slot.spent.saturating_add(turn.charge);
            slot.unlogged = slot.unlogged.saturating_add(unlogged);
        });
    }

    /// What the process has borrowed counts as lost. Answers how much that is.
    pub fn lose(&mut self) -> i64 {
        let lost = std::mem::take(&mut self.lease);
        self.totals.lose(lost);
        self.note(|slot| slot.lost = slot.lost.saturating_add(lost.max(0)));
        lost
    }

    fn note(&mut self, change: impl FnOnce(&mut Slot)) {
        let Some(rolls) = &mut self.rolls else { return };
        let slot = rolls.slots.slot(rolls.length, rolls.now).1;
        let before = *slot;
        change(slot);
        rolls.changed |= *slot != before;
    }
}

pub(super) async fn leases(tx: &mut AnyConnection, node: &str) -> Result<BTreeMap<Key, i64>> {
    let found = sqlx::query("SELECT budget, started, amount FROM budget_leases WHERE node = $1")
        .bind(node)
        .fetch_all(tx)
        .await?;
    found.iter().map(|r| Ok(((r.try_get(0)?, r.try_get(1)?), r.try_get(2)?))).collect()
}

/// Holds windows until the transaction ends, making those that are not there; in the order of their keys, which is the
/// same for everybody.
pub(super) async fn hold(
    tx: &mut AnyConnection,
    driver: Driver,
    node: &str,
    windows: BTreeMap<Key, Timestamp>,
) -> Result<BTreeMap<Key, Window>> {
    let leases = if windows.is_empty() { BTreeMap::new() } else { leases(tx, node).await? };
    let windows: Vec<_> = windows.into_iter().collect();
    let mut held = BTreeMap::new();
    for chunk in windows.chunks(CHUNK) {
        // It writes in any case, and so holds the row. Of two ends the earlier is the one that somebody knew.
        let sql = format!(
            "INSERT INTO budget_windows (budget, started, ends, spent, leased, lost, unlogged, warned) VALUES {}
             ON CONFLICT (budget, started) DO UPDATE SET
             ends = CASE WHEN excluded.ends < budget_windows.ends THEN excluded.ends ELSE budget_windows.ends END
             RETURNING budget, started, ends, spent, leased, lost, unlogged, warned",
            values(8, chunk.len())
        );
        let mut insert = sqlx::query(AssertSqlSafe(sql));
        for (key @ (budget, started), ends) in chunk {
            // Whoever names one that rolls without knowing its end knows no earlier one.
            let ends = if length_of(budget).is_some() { ends_of(key) } else { *ends };
            insert = insert.bind(budget.as_str()).bind(*started).bind(ends.micros());
            for _ in 0..5 {
                insert = insert.bind(0i64);
            }
        }
        for r in insert.fetch_all(&mut *tx).await? {
            let key: Key = (r.try_get(0)?, r.try_get(1)?);
            let totals = Totals { spent: r.try_get(3)?, leased: r.try_get(4)?, lost: r.try_get(5)? };
            let (unlogged, lease) = (r.try_get(6)?, leases.get(&key).copied().unwrap_or(0));
            let window = Window {
                ends: row::time(&r, 2)?,
                totals,
                unlogged,
                warned: percent(&r, 7)?,
                lease,
                before: (totals, unlogged, lease),
                rolls: None,
            };
            held.insert(key, window);
        }
    }
    roll(tx, driver, &mut held).await?;
    Ok(held)
}

/// Reads what those that roll count, now that nobody else changes it, and forgets what counts no more.
async fn roll(tx: &mut AnyConnection, driver: Driver, held: &mut BTreeMap<Key, Window>) -> Result<()> {
    let lengths = held.iter_mut().filter_map(|((budget, _), window)| Some((budget, length_of(budget)?, window)));
    let mut rolling: Vec<_> = lengths.collect();
    if rolling.is_empty() {
        return Ok(());
    }
    let now = now(tx, driver).await?;
    for chunk in rolling.chunks_mut(CHUNK) {
        let names: Vec<&str> = chunk.iter().map(|(budget, ..)| budget.as_str()).collect();
        let mut all = slots_of(tx, &names).await?;
        let mut over = Vec::new();
        for (budget, length, window) in chunk.iter_mut() {
            let mut slots = all.remove(budget.as_str()).unwrap_or_default();
            if slots.expire(now) {
                over.push(budget.as_str());
            }
            let sum = slots.sum();
            window.totals = slots.totals(window.totals.leased);
            (window.unlogged, window.warned) = (sum.unlogged, sum.warned);
            window.before = (window.totals, window.unlogged, window.lease);
            window.rolls = Some(Rolls { length: *length, now, slots, changed: false });
        }
        if !over.is_empty() {
            let sql = format!("DELETE FROM budget_slots WHERE ends <= $1 AND budget IN ({})", list(2, over.len()));
            let mut delete = sqlx::query(AssertSqlSafe(sql)).bind(now.micros());
            for budget in over {
                delete = delete.bind(budget);
            }
            delete.execute(&mut *tx).await?;
        }
    }
    Ok(())
}

async fn now(tx: &mut AnyConnection, driver: Driver) -> Result<Timestamp> {
    let sql = format!("SELECT {}", driver.now());
    row::time(&sqlx::query(AssertSqlSafe(sql)).fetch_one(tx).await?, 0)
}

/// The slots of these budgets, also those that count no more.
pub(super) async fn slots_of(connection: &mut AnyConnection, budgets: &[&str]) -> Result<HashMap<String, Rolling>> {
    let mut slots = HashMap::<String, Vec<(Timestamp, Slot)>>::new();
    for chunk in budgets.chunks(CHUNK) {
        let sql = format!(
            "SELECT budget, started, ends, spent, lost, unlogged, warned FROM budget_slots WHERE budget IN ({})",
            list(1, chunk.len())
        );
        let mut select = sqlx::query(AssertSqlSafe(sql));
        for budget in chunk {
            select = select.bind(*budget);
        }
        for r in select.fetch_all(&mut *connection).await? {
            let slot = Slot {
                ends: row::time(&r, 2)?,
                spent: r.try_get(3)?,
                lost: r.try_get(4)?,
                unlogged: r.try_get(5)?,
                warned: percent(&r, 6)?,
            };
            slots.entry(r.try_get(0)?).or_default().push((row::time(&r, 1)?, slot));
        }
    }
    Ok(slots.into_iter().map(|(budget, slots)| (budget, Rolling::new(slots))).collect())
}

fn percent(r: &AnyRow, column: usize) -> Result<u8> {
    Ok(u8::try_from(r.try_get::<i64, _>(column)?).unwrap_or(u8::MAX))
}

/// Writes what changed of windows and of a process's leases.
pub(super) async fn keep(tx: &mut AnyConnection, node: &str, held: &BTreeMap<Key, Window>) -> Result<()> {
    let changed: Vec<_> = held.iter().filter(|(_, w)| w.before != (w.totals, w.unlogged, w.lease)).collect();
    for chunk in changed.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO budget_windows (budget, started, ends, spent, leased, lost, unlogged, warned) VALUES {}
             ON CONFLICT (budget, started) DO UPDATE SET spent = excluded.spent, leased = excluded.leased,
             lost = excluded.lost, unlogged = excluded.unlogged",
            values(8, chunk.len())
        );
        let mut update = sqlx::query(AssertSqlSafe(sql));
        for ((budget, started), window) in chunk {
            let Window { ends, totals, unlogged, warned, rolls, .. } = window;
            // What one that rolls counts stands in its slots.
            let counted = [totals.spent, totals.leased, totals.lost, *unlogged, i64::from(*warned)];
            let counted = if rolls.is_some() { [0, totals.leased, 0, 0, 0] } else { counted };
            update = update.bind(budget.as_str()).bind(*started).bind(ends.micros());
            for amount in counted {
                update = update.bind(amount);
            }
        }
        update.execute(&mut *tx).await?;
        let sql = format!(
            "INSERT INTO budget_leases (budget, started, node, amount) VALUES {}
             ON CONFLICT (budget, started, node) DO UPDATE SET amount = excluded.amount",
            values(4, chunk.len())
        );
        let mut update = sqlx::query(AssertSqlSafe(sql));
        for ((budget, started), window) in chunk {
            update = update.bind(budget.as_str()).bind(*started).bind(node).bind(window.lease);
        }
        update.execute(&mut *tx).await?;
    }
    let mut fresh = Vec::new();
    for ((budget, _), window) in held {
        if let Some(rolls) = window.rolls.as_ref().filter(|rolls| rolls.changed) {
            let mut slots = rolls.slots.clone();
            let (start, slot) = slots.slot(rolls.length, rolls.now);
            fresh.push((budget.as_str(), start, *slot));
        }
    }
    keep_slots(tx, &fresh).await?;
    if changed.iter().any(|(_, window)| window.lease == 0) {
        sqlx::query("DELETE FROM budget_leases WHERE node = $1 AND amount = 0").bind(node).execute(tx).await?;
    }
    Ok(())
}

async fn keep_slots(tx: &mut AnyConnection, slots: &[(&str, Timestamp, Slot)]) -> Result<()> {
    for chunk in slots.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO budget_slots (budget, started, ends, spent, lost, unlogged, warned) VALUES {}
             ON CONFLICT (budget, started) DO UPDATE SET spent = excluded.spent, lost = excluded.lost,
             unlogged = excluded.unlogged, warned = excluded.warned",
            values(7, chunk.len())
        );
        let mut update = sqlx::query(AssertSqlSafe(sql));
        for (budget, started, Slot { ends, spent, lost, unlogged, warned }) in chunk {
            update = update.bind(*budget).bind(started.micros()).bind(ends.micros());
            update = update.bind(*spent).bind(*lost).bind(*unlogged).bind(i64::from(*warned));
        }
        update.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Notes in the slot of this moment that so many percent were told of; false where that was within the length.
pub(super) async fn warn_rolling(
    tx: &mut AnyConnection,
    driver: Driver,
    (budget, length): (&str, Period),
    told: u8,
) -> Result<bool> {
    // Holds it.
    let held = sqlx::query("UPDATE budget_windows SET leased = leased WHERE budget = $1 AND started = 0")
        .bind(budget)
        .execute(&mut *tx)
        .await?;
    if held.rows_affected() == 0 {
        return Ok(false);
    }
    let now = now(tx, driver).await?;
    let mut slots = slots_of(tx, &[budget]).await?.remove(budget).unwrap_or_default();
    slots.expire(now);
    if slots.sum().warned >= told {
        return Ok(false);
    }
    let (start, slot) = slots.slot(length, now);
    slot.warned = told;
    let slot = *slot;
    keep_slots(tx, &[(budget, start, slot)]).await?;
    Ok(true)
}
