//! Compares what this node's call log says with what reports say of it, and with what budgets have charged.

use super::{Sum, calendar, invalid, moment, next_quarter, nodes, usd};
use crate::{
    AdminState,
    api::spend::{SpendBudgetView, SpendBudgets, SpendCheck, SpendCheckQuery, SpendNodeView},
    calls,
    error::ApiError,
    ports::SpendLog,
};
use credentialflow_model::{
    Timestamp,
    resource::{BudgetPeriod, budget::OF_USERS},
};
use credentialflow_store::{BudgetWindowRow, SpendColumn};
use credentialflow_telemetry::calllog::QUARTER;
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

/// The longest that a call log is read to compare it.
const READ_IN: Duration = Duration::from_secs(60);
/// How often that is tried while calls go on.
const TRIES: usize = 5;
/// After so long what is in the call log is charged, as a rule.
const CHARGED_IN: Duration = Duration::from_secs(1);
/// A call is in the log with the moment in which it began, which is never so long before the window that pays for it.
const BEFORE: i64 = 86_400;
/// Budgets of end users that are compared at most.
const MOST_USERS: u32 = 10_000;
/// Budgets that are told at most.
const MOST_TOLD: usize = 1_000;

/// Adds up this node's call log once more, and compares.
pub(crate) async fn check(state: &AdminState, query: &SpendCheckQuery) -> Result<SpendCheck, ApiError> {
    let log = state.settings.spend.clone().ok_or_else(|| ApiError::not_found("spend", "check"))?;
    let calendar = calendar(query.time_zone.as_deref())?;
    let begins = state.telemetry.calls().begins().unwrap_or(state.now());
    let from = query.from.as_deref().map(|text| moment(&calendar, "from", text)).transpose()?;
    let from = from.unwrap_or_else(|| match begins.secs() % QUARTER {
        0 => begins,
        // The calls of its first quarter that are there at all are in the log.
        rest => Timestamp::from_secs(begins.secs() - rest),
    });
    let to = query.to.as_deref().map(|text| moment(&calendar, "to", text)).transpose()?;
    let to = to.unwrap_or_else(|| next_quarter(state.now()));
    if from >= to {
        return Err(invalid("`from` is before `to`"));
    }
    let mut tries = 0;
    let (after, found, complete) = loop {
        tries += 1;
        let before = sums(state, &*log, (from, to)).await?;
        let (read, complete) = calls::read(state, move |log| log.spend_between(from, to, READ_IN)).await?;
        let after = sums(state, &*log, (from, to)).await?;
        // Calls that ended meanwhile are in one of both: that is no difference.
        let quiet = before == after;
        let found = Sum::of(&read);
        if (quiet && found == after) || tries == TRIES || !complete {
            break (after, found, complete);
        }
    };
    Ok(SpendCheck {
        node: log.node().to_owned(),
        from,
        to,
        difference_usd: usd(after.cost - found.cost),
        agrees: found == after,
        call_log: found.figures(),
        report: after.figures(),
        complete: complete && begins.secs() < from.secs() + QUARTER,
        budgets: budgets(state, log.node(), begins).await?,
    })
}

/// What reports say of this node.
async fn sums(state: &AdminState, log: &dyn SpendLog, window: (Timestamp, Timestamp)) -> Result<Sum, ApiError> {
    let unread = |error: String| ApiError::internal("what calls cost could not be added up", &error);
    log.catch_up().await.map_err(unread)?;
    let only = [(SpendColumn::Node, log.node().to_owned())];
    let mut sum = Sum::default();
    state.store.spend(window, &[], &only, 1).await?.iter().for_each(|row| sum.add(&row.counts, row.cost, row.saved));
    Ok(sum)
}

/// What budgets have charged in their present windows, compared with what the calls in this node's log say that they were
/// charged to them.
async fn budgets(state: &AdminState, node: &str, begins: Timestamp) -> Result<SpendBudgets, ApiError> {
    let now = state.now();
    let others: Vec<_> = nodes(state).await?.into_iter().filter(|other| other.node != node).collect();
    let mut tries = 0;
    loop {
        tries += 1;
        let before = windows(state, now).await?;
        let Some(first) = before.values().map(|window| window.started.secs()).min() else {
            return Ok(SpendBudgets::default());
        };
        let (names, since) = (before.keys().cloned().collect::<HashSet<_>>(), Timestamp::from_secs(first - BEFORE));
        let (read, complete) = calls::read(state, move |log| log.charged_to(&names, since, READ_IN)).await?;
        tokio::time::sleep(CHARGED_IN).await;
        let after = windows(state, now).await?;
        let mut found = SpendBudgets { other_nodes: among(&others, now, first), ..SpendBudgets::default() };
        let mut told = Vec::new();
        for (name, window) in &before {
            let charged = [Some(window), after.get(name)].map(|window| window.map_or(0, charged));
            let logged = read.get(name).copied().unwrap_or_default();
            let started = window.started.secs();
            let whole = complete && begins <= window.started && among(&others, now, started).is_empty();
            match compared(charged, logged, whole) {
                Compared::Agrees => found.agreeing += 1,
                differs => told.push(SpendBudgetView {
                    budget: window.budget.clone(),
                    started: window.started,
                    charged_usd: usd(charged[1]),
                    call_log_usd: usd(logged),
                    difference_usd: usd(charged[1] - logged),
                    certain: differs == Compared::Differs,
                }),
            }
        }
        found.agrees = !told.iter().any(|one| one.certain);
        if found.agrees || tries == TRIES || !complete {
            told.sort_by_key(|one| !one.certain);
            found.more = told.len() > MOST_TOLD;
            told.truncate(MOST_TOLD);
            found.items = told;
            return Ok(found);
        }
    }
}

/// The windows that a moment is in, as calls name them. Those that roll are left out: they count by when something was
/// charged, which no call log says.
async fn windows(state: &AdminState, at: Timestamp) -> Result<BTreeMap<String, BudgetWindowRow>, ApiError> {
    let mut all = state.store.budget_windows(at).await?;
    all.extend(state.store.user_budget_windows(at, &format!("{OF_USERS}/"), "", MOST_USERS).await?);
    let rolls = |row: &BudgetWindowRow| BudgetPeriod::of_budget(&row.budget).is_none_or(|per| per.rolling().is_some());
    let named = |row: BudgetWindowRow| (format!("{}@{}", row.budget, row.started.secs()), row);
    Ok(all.into_iter().filter(|row| !rolls(row)).map(named).collect())
}

/// What was charged for calls that are in a call log.
fn charged(window: &BudgetWindowRow) -> i128 {
    i128::from(window.totals.spent) - i128::from(window.unlogged)
}

/// The nodes that may have charged something since a moment.
fn among(others: &[SpendNodeView], now: Timestamp, since: i64) -> Vec<String> {
    let may = |other: &&SpendNodeView| other.live || other.told.unwrap_or(now).secs() >= since;
    others.iter().filter(may).map(|other| other.node.clone()).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    Agrees,
    Differs,
    /// What lacks may stand in a log that is not read here.
    Unknown,
}

/// What was charged before the log was read and a while after, and what the log says; whether all calls that the window
/// paid for are in that log. A call is charged once it is in the log, so while calls go on the log lies between both.
fn compared([before, after]: [i128; 2], logged: i128, whole: bool) -> Compared {
    match () {
        () if (before.min(after)..=before.max(after)).contains(&logged) => Compared::Agrees,
        () if logged > after || whole => Compared::Differs,
        () => Compared::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_charged_is_what_the_log_says() {
        for (charged, logged, whole, expect) in [
            ([7, 7], 7, true, Compared::Agrees),
            ([7, 7], 7, false, Compared::Agrees),
            // Calls go on.
            ([7, 9], 8, true, Compared::Agrees),
            ([7, 7], 6, true, Compared::Differs),
            ([7, 7], 6, false, Compared::Unknown),
            // A call that nobody paid for is one whichever other logs there are.
            ([7, 7], 8, true, Compared::Differs),
            ([7, 7], 8, false, Compared::Differs),
        ] {
            assert_eq!(compared(charged, logged, whole), expect, "{charged:?} {logged} {whole}");
        }
    }

    #[test]
    fn nodes_that_told_nothing_since_charged_nothing() {
        let at = Timestamp::from_secs;
        let node = |node: &str, told, live| SpendNodeView { node: node.to_owned(), told, live };
        let others = [node("gone", Some(at(50)), false), node("late", Some(at(150)), false), node("new", None, true)];
        assert_eq!(among(&others, at(200), 100), ["late", "new"]);
        assert_eq!(among(&others, at(200), 50), ["gone", "late", "new"]);
    }
}
