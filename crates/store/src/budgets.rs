//! What budgets have spent, and what each process has borrowed of them.
//!
//! A process takes turns: in one transaction it charges what its calls cost, moves the place in its call log up to which
//! it has charged, gives back and borrows. Turns are numbered, so one whose answer was lost is repeated without harm.
//! Windows are locked in one order on every node; two turns never wait for one another in a circle.
//!
//! Like uses these are observations of traffic and are written without an actor and an audit event; that a budget runs
//! out, and that money was lost, is told with one ([`WriteTx::warn_of_budget`]). On PostgreSQL they go over the
//! connections of what processes tell of themselves, so that a call that waits for money never stands in line behind
//! changes of the configuration. SQLite has one writer: there a turn does stand in that line, and a call that has to
//! borrow waits while a large change is written.
//!
//! A turn is a few statements however many windows it is of: all of them stand in one transaction with the place.
//!
//! A budget that rolls has one window, from 0 on, which holds what is borrowed of it and is held by whoever changes it; what
//! it counts stands in slots ([`Rolling`](credentialflow_model::ledger::Rolling)). Those go by the database's clock, which is
//! the same for every process: what is charged belongs to the slot of the moment in which it is charged.

mod hold;
mod list;

use crate::{Result, Store, StoreError, WriteTx, row};
use credentialflow_model::{
    Timestamp,
    ledger::{Totals, Turn},
};
use hold::{Key, ends_of, hold, keep, leases, length_of};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};
use std::{collections::BTreeMap, time::Duration};

/// One window of a budget in a process's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetItem {
    /// The budget, as in `applications/checkout/month`.
    pub budget: String,
    /// When the window began.
    pub started: Timestamp,
    /// When it ends.
    pub ends: Timestamp,
    /// What is charged, given back and asked for.
    pub turn: Turn,
    /// Of what is charged, what the call log does not tell of.
    pub unlogged: i64,
}

/// Where a window stands after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetState {
    /// What this process has borrowed now.
    pub lease: i64,
    /// Over all processes.
    pub totals: Totals,
    /// The highest percentage that was told of.
    pub warned: u8,
    /// When it ends; where it rolls, when the first that it counts is free again, and the end of time where nothing is.
    pub frees: Timestamp,
}

/// What became of a process that borrows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetNodeState {
    /// It takes turns.
    Borrows,
    /// It was silent for too long: what it had borrowed is lost. What its call log tells beyond its place is still to be
    /// charged, should that log come back.
    GivenUp,
    /// It has ended, and its whole call log is charged.
    Settled,
}

/// A process that borrows, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetNode {
    /// What people call it.
    pub name: String,
    /// The number under which it writes its call log, which stands in the names of the segments.
    pub writer: u32,
    /// Its place in its call log: what stands before it is charged.
    pub place: String,
    /// The number of its last turn.
    pub turn: u64,
    /// What became of it.
    pub state: BudgetNodeState,
}

/// What becomes of a process that is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetEnd {
    /// It takes no turn any more, and its whole call log is charged.
    Settled,
    /// It was silent for too long.
    GivenUp,
    /// It has nothing borrowed any more, and takes turns again, from number 1 and from its place on.
    Anew,
}

/// A window that was settled for a process that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetSettled {
    /// The budget.
    pub budget: String,
    /// When the window began.
    pub started: Timestamp,
    /// When it ends.
    pub ends: Timestamp,
    /// What the process had borrowed and did not account for.
    pub lost: i64,
    /// Where the window stands now; the process has no lease.
    pub state: BudgetState,
}

/// A window of a budget as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetWindowRow {
    /// The budget.
    pub budget: String,
    /// When the window began.
    pub started: Timestamp,
    /// When it ends; where it rolls, when the first that it counts is free again, and the end of time where nothing is.
    pub ends: Timestamp,
    /// What is spent, borrowed and lost.
    pub totals: Totals,
    /// Of what is spent, what the call log does not tell of.
    pub unlogged: i64,
    /// What is borrowed, by the names of processes.
    pub leases: Vec<(String, i64)>,
}

impl Store {
    /// Enters a process that is going to borrow; its turns begin with number 1. `Conflict` where it is entered already.
    pub async fn enter_budget_node(&self, node: &str, name: &str, writer: u32, place: &str) -> Result<()> {
        let mut connection = self.notes().await?;
        match self.insert_node(&mut connection, node, (name, writer, place)).await? {
            0 => Err(StoreError::Conflict("the process is entered already".into())),
            _ => Ok(()),
        }
    }

    async fn insert_node(
        &self,
        connection: &mut AnyConnection,
        node: &str,
        (name, writer, place): (&str, u32, &str),
    ) -> Result<u64> {
        let sql = format!(
            "INSERT INTO budget_nodes (node, name, process, place, turn, state, seen) VALUES ($1, $2, $3, $4, 0, 0, {now})
             ON CONFLICT (node) DO NOTHING",
            now = self.driver().now()
        );
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(node)
            .bind(name)
            .bind(i64::from(writer))
            .bind(place)
            .execute(connection)
            .await?;
        Ok(done.rows_affected())
    }

    /// A process that was entered.
    pub async fn budget_node(&self, node: &str) -> Result<Option<BudgetNode>> {
        find_node(&mut *self.notes().await?, node).await
    }

    /// Ids of the processes that borrow and took no turn for so long, what is borrowed for batches left out; where several share the database only those that
    /// are not among its nodes any more.
    pub async fn silent_budget_nodes(&self, silent: Duration) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT node FROM budget_nodes WHERE state = 0 AND seen < {now} - $1
             AND NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.id = budget_nodes.node)
             AND NOT EXISTS (SELECT 1 FROM model_objects WHERE model_objects.id = budget_nodes.node) ORDER BY node",
            now = self.driver().now()
        );
        let micros = i64::try_from(silent.as_micros()).unwrap_or(i64::MAX);
        let found = sqlx::query(AssertSqlSafe(sql)).bind(micros).fetch_all(&mut *self.notes().await?).await?;
        found.iter().map(|r| Ok(r.try_get(0)?)).collect()
    }

    /// One turn of a process; the states answer the items, of which no two are of one window. The same number once more
    /// changes nothing and answers how things stand. `Conflict` where the process is not known with the turn before:
    /// whoever thought that it had ended counts all it had borrowed as lost.
    pub async fn budget_turn(
        &self,
        node: &str,
        number: u64,
        place: Option<&str>,
        items: &[BudgetItem],
    ) -> Result<Vec<BudgetState>> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let mut connection = self.notes().await?;
        let mut tx = connection.begin_with(self.driver().begin()).await?;
        let sql = format!(
            "UPDATE budget_nodes SET turn = $2, seen = {now}, place = CASE WHEN $3 = '' THEN place ELSE $3 END
             WHERE node = $1 AND turn = $2 - 1 AND state = 0",
            now = self.driver().now()
        );
        let moved = sqlx::query(AssertSqlSafe(sql))
            .bind(node)
            .bind(number)
            .bind(place.unwrap_or_default())
            .execute(&mut *tx)
            .await?;
        let fresh = moved.rows_affected() > 0;
        let is_this =
            |known: BudgetNode| known.state == BudgetNodeState::Borrows && known.turn == number.unsigned_abs();
        if !fresh && !find_node(&mut tx, node).await?.is_some_and(is_this) {
            return Err(StoreError::Conflict("the process is not known with its last turn".into()));
        }
        let windows = items.iter().map(|item| (key(item), item.ends)).collect();
        let mut held = hold(&mut tx, self.driver(), node, windows).await?;
        if fresh {
            for item in items {
                if let Some(window) = held.get_mut(&key(item)) {
                    window.turn(&item.turn, item.unlogged);
                }
            }
            keep(&mut tx, node, &held).await?;
        }
        tx.commit().await?;
        let state = |item: &BudgetItem| held.get(&key(item)).map(hold::Window::state);
        items.iter().map(|item| state(item).ok_or_else(|| StoreError::corrupt("a window"))).collect()
    }

    /// Ends a process, whether it was entered or not: charges what its call log tells after its place, and counts as lost
    /// what it had borrowed beyond that. Answers the windows that it is of. A process that was settled is charged nothing
    /// any more, and nothing is given up twice.
    ///
    /// `known` is its name, its writer and its place, for one that was not entered or begins anew.
    pub async fn end_budget_node(
        &self,
        node: &str,
        known: (&str, u32, &str),
        charges: &[(String, Timestamp, i64)],
        end: BudgetEnd,
    ) -> Result<Vec<BudgetSettled>> {
        let mut connection = self.notes().await?;
        let mut tx = connection.begin_with(self.driver().begin()).await?;
        if self.insert_node(&mut tx, node, known).await? == 0 {
            // Holds the row.
            sqlx::query("UPDATE budget_nodes SET turn = turn WHERE node = $1").bind(node).execute(&mut *tx).await?;
        }
        let Some(before) = find_node(&mut tx, node).await? else { return Err(StoreError::corrupt("a process")) };
        match (before.state, end) {
            (BudgetNodeState::Settled, BudgetEnd::Settled)
            | (BudgetNodeState::Settled | BudgetNodeState::GivenUp, BudgetEnd::GivenUp) => return Ok(Vec::new()),
            _ => {}
        }
        let mut sums = BTreeMap::<Key, i64>::new();
        if before.state != BudgetNodeState::Settled {
            for (budget, started, amount) in charges {
                let sum = sums.entry((budget.clone(), started.micros())).or_default();
                *sum = sum.saturating_add(*amount);
            }
        }
        for lease in leases(&mut tx, node).await?.into_keys() {
            sums.entry(lease).or_default();
        }
        let windows = sums.keys().map(|key| (key.clone(), ends_of(key))).collect();
        let mut held = hold(&mut tx, self.driver(), node, windows).await?;
        let mut settled = Vec::with_capacity(held.len());
        for (key, window) in &mut held {
            window.turn(&Turn { charge: sums.get(key).copied().unwrap_or(0), ..Turn::default() }, 0);
            let lost = window.lose();
            let (budget, started) = (key.0.clone(), Timestamp::from_micros(key.1));
            settled.push(BudgetSettled { budget, started, ends: window.ends, lost, state: window.state() });
        }
        keep(&mut tx, node, &held).await?;
        let (name, writer, place) = known;
        let ended = match end {
            BudgetEnd::Settled => sqlx::query("UPDATE budget_nodes SET state = 2 WHERE node = $1").bind(node),
            BudgetEnd::GivenUp => sqlx::query("UPDATE budget_nodes SET state = 1 WHERE node = $1").bind(node),
            BudgetEnd::Anew => sqlx::query(
                "UPDATE budget_nodes SET state = 0, turn = 0, name = $2, place = $3, process = $4 WHERE node = $1",
            )
            .bind(node)
            .bind(name)
            .bind(place)
            .bind(i64::from(writer)),
        };
        ended.execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(settled)
    }
}

impl WriteTx {
    /// Notes that it is told that so many percent of a window are spent. False when it was told before, by any process; of
    /// one that rolls, when it was told within its length.
    pub async fn warn_of_budget(&mut self, budget: &str, started: Timestamp, percent: u8) -> Result<bool> {
        if let Some(length) = length_of(budget) {
            let driver = self.driver();
            return hold::warn_rolling(self.connection(), driver, (budget, length), percent).await;
        }
        let done =
            sqlx::query("UPDATE budget_windows SET warned = $3 WHERE budget = $1 AND started = $2 AND warned < $3")
                .bind(budget)
                .bind(started.micros())
                .bind(i64::from(percent))
                .execute(self.connection())
                .await?;
        Ok(done.rows_affected() > 0)
    }
}

fn key(item: &BudgetItem) -> Key {
    (item.budget.clone(), item.started.micros())
}

async fn find_node(connection: &mut AnyConnection, node: &str) -> Result<Option<BudgetNode>> {
    let found = sqlx::query("SELECT name, process, place, turn, state FROM budget_nodes WHERE node = $1")
        .bind(node)
        .fetch_optional(connection)
        .await?;
    let node = |r: AnyRow| {
        Ok(BudgetNode {
            name: r.try_get(0)?,
            writer: row::version(&r, 1)?,
            place: r.try_get(2)?,
            turn: row::unsigned(&r, 3)?,
            state: match r.try_get::<i64, _>(4)? {
                0 => BudgetNodeState::Borrows,
                1 => BudgetNodeState::GivenUp,
                _ => BudgetNodeState::Settled,
            },
        })
    };
    found.map(node).transpose()
}
