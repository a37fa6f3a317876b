//! Processes that ended without a word: what their call log tells is charged, the rest they had borrowed is lost.
//!
//! Those of this data directory are settled from its call log, beside the turns of this process. Those of a data directory
//! that is gone are given up after a while.

use super::{Budgets, processes::Process, warn::Warning};
use anyhow::Context as _;
use credentialflow_model::Timestamp;
use credentialflow_store::{BudgetEnd, BudgetNodeState, BudgetSettled, StoreError};
use credentialflow_telemetry::CallLogError;
use std::{
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

/// Pauses between tries.
const FIRST: Duration = Duration::from_millis(250);
const LAST: Duration = Duration::from_secs(60);
/// A process that took no turn for so long, and is no node any more, is given up.
const SILENT: Duration = Duration::from_secs(3600);

impl Budgets {
    /// Settles the processes before this one until all are.
    pub(super) async fn settle_all(self: Arc<Self>) {
        let mut pause = FIRST;
        while !self.settle_earlier().await {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST);
        }
    }

    /// Settles processes that have ended without doing it themselves, the last one first. Whether all are; what cannot be
    /// done now is to be tried again.
    pub(super) async fn settle_earlier(&self) -> bool {
        loop {
            let last = self.earlier().last().cloned();
            let Some((process, told)) = last else { return true };
            let settled = match self.settle(&process).await {
                Ok(settled) => settled,
                Err(error) => {
                    let away = error.downcast_ref::<StoreError>().is_some_and(StoreError::is_transient);
                    match away || told {
                        true => tracing::debug!(%error, process.id, "an earlier process is not settled yet"),
                        false => {
                            tracing::warn!(%error, process.id, "an earlier process cannot be settled with the budgets; it is tried again");
                            self.earlier().iter_mut().for_each(|(p, told)| *told |= p.id == process.id);
                        }
                    }
                    return false;
                }
            };
            self.earlier().retain(|(p, _)| p.id != process.id);
            self.tell_settled(&settled, &self.name).await;
            let (processes, id) = (self.processes.clone(), process.id.clone());
            let noted = tokio::task::spawn_blocking(move || processes.settled(&id)).await;
            if let Ok(Err(error)) = noted {
                tracing::debug!(%error, process.id, "it could not be noted that an earlier process is settled");
            }
        }
    }

    async fn settle(&self, process: &Process) -> anyhow::Result<Vec<BudgetSettled>> {
        let known = self.store.budget_node(&process.id).await?;
        let (name, writer, place) = match (&known, &process.log) {
            (Some(known), _) if known.state == BudgetNodeState::Settled => return Ok(Vec::new()),
            (Some(known), _) => (known.name.clone(), known.writer, known.place.clone()),
            // Its database was away all its life, or was restored from before it.
            (None, Some((writer, place))) => (self.name.clone(), *writer, place.clone()),
            (None, None) => return Ok(Vec::new()),
        };
        // What cannot be logged yet would be charged to nobody, once the process is settled.
        let calls = self.calls.clone();
        tokio::task::spawn_blocking(move || calls.recover(writer))
            .await?
            .context("what it had no time to log cannot be logged")?;
        let charges = self.charges(&place, None, writer).await?;
        if known.is_none() && charges.is_empty() {
            return Ok(Vec::new());
        }
        let ended = (name.as_str(), writer, place.as_str());
        Ok(self.store.end_budget_node(&process.id, ended, &charges, BudgetEnd::Settled).await?)
    }

    /// What the call log says that a process charged between two places.
    pub(super) async fn charges(
        &self,
        after: &str,
        up_to: Option<&str>,
        writer: u32,
    ) -> Result<Vec<(String, Timestamp, i64)>, CallLogError> {
        let (calls, after, up_to) = (self.calls.clone(), after.to_owned(), up_to.map(str::to_owned));
        let read = tokio::task::spawn_blocking(move || calls.charges_between(&after, up_to.as_deref(), writer));
        let sums = read.await.map_err(std::io::Error::other)??;
        let each = sums.into_iter().flat_map(|(windows, cost)| {
            let windows: Vec<_> = windows.split_whitespace().filter_map(window).collect();
            windows.into_iter().map(move |(budget, started)| (budget, started, cost))
        });
        Ok(each.collect())
    }

    /// Gives up processes that fell silent long ago and left no data directory that anybody settles them from.
    pub(in crate::server) async fn give_up_silent(&self) -> Result<(), StoreError> {
        for node in self.store.silent_budget_nodes(SILENT).await? {
            let ours = node == self.node || self.earlier().iter().any(|(process, _)| process.id == node);
            let known = self.store.budget_node(&node).await?.filter(|_| !ours);
            let Some(known) = known else { continue };
            let ended = (known.name.as_str(), known.writer, known.place.as_str());
            let settled = self.store.end_budget_node(&node, ended, &[], BudgetEnd::GivenUp).await?;
            tracing::warn!(
                node,
                name = known.name,
                "a process that borrowed of budgets has been silent for an hour; it is given up"
            );
            self.tell_settled(&settled, &known.name).await;
        }
        Ok(())
    }

    /// Has it told what was lost, and which budgets run out by what was charged.
    async fn tell_settled(&self, settled: &[BudgetSettled], name: &str) {
        let lost: i64 = settled.iter().fold(0, |sum, window| sum.saturating_add(window.lost));
        self.lost.fetch_add(lost.unsigned_abs() / 1_000_000, Relaxed);
        let lost = settled.iter().filter(|window| window.lost > 0).map(|window| Warning::lost(window, name));
        let due = settled
            .iter()
            .filter_map(|window| Warning::due(&*self.book.find(&window.budget)?, window.started, &window.state));
        let warnings: Vec<_> = lost.chain(due).collect();
        if !warnings.is_empty() {
            super::warn::keep(&mut self.state.lock().await.untold, warnings);
            self.wake.notify_one();
        }
    }

    fn earlier(&self) -> std::sync::MutexGuard<'_, Vec<(Process, bool)>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The budget and the beginning of a window, as records name them: `applications/checkout/month@1793491200`.
pub(super) fn window(key: &str) -> Option<(String, Timestamp)> {
    let (budget, started) = key.rsplit_once('@')?;
    Some((budget.to_owned(), Timestamp::from_secs(started.parse().ok()?)))
}
