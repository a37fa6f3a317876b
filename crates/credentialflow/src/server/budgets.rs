//! This node's turns at the budgets: borrows ahead of need, charges what calls cost, gives back what is idle.
//!
//! What a call cost is charged once it is in the call log, and in one transaction with the place in the log up to which
//! that was done. So the sum charged is the sum in the log; a process that was killed is settled from its log by the next
//! one on its data directory, and what it had borrowed beyond that counts as lost, never as free. One turn runs at a
//! time, and calls that wait for money wait for the next: many callers are one question.

mod charged;
pub(super) mod processes;
mod settle;
mod warn;

pub(super) use charged::Charged;

use charged::{Sum, Waiting};
use credentialflow_gateway::ports::Lender;
use credentialflow_model::{Period, ledger::Turn, resource::budget::BudgetWindow};
use credentialflow_policy::{Account, Book, LiveBudget};
use credentialflow_store::{BudgetEnd, BudgetItem, BudgetNodeState, BudgetState, Store, StoreError};
use credentialflow_telemetry::{CallLog, Metrics};
use processes::{Process, Processes};
use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use warn::{Told, Warning};

/// How often there is a turn when nobody waits.
const EVERY: Duration = Duration::from_millis(250);
/// The least time from one turn to the next, however many calls ask: those that ask meanwhile share the next.
const APART: Duration = Duration::from_millis(10);
/// The longest a turn may take; what became of it is then asked with the next, which may take twice as long, up to
/// [`LONGEST`]: one that is too large for a slow database gets through in the end.
const PATIENCE: Duration = Duration::from_secs(4);
const LONGEST: Duration = Duration::from_secs(64);
/// So often at most it is told that turns fail.
const TOLD: Duration = Duration::from_secs(30);
/// So much of what is borrowed ahead is what the calls of this time needed.
const AHEAD: Duration = Duration::from_secs(2);
/// Of a limit at most one part in so many is borrowed ahead of need: that is what a crash can lose beside running calls.
const SHARE: i64 = 50;
/// What nobody used for so long is given back.
const IDLE: Duration = Duration::from_secs(2);
/// So long nobody asks a budget for more than it had to lend, and than it has left at all.
const DENIED: Duration = Duration::from_millis(200);
const KNOWN: Duration = Duration::from_secs(1);
/// An account is forgotten so long after its window, when its last calls are over.
const KEPT: Duration = Duration::from_secs(3600);
/// That of an end user so long after its last call.
const USER_KEPT: Duration = Duration::from_secs(60);
/// How often budgets are looked through.
const TIDY: Duration = Duration::from_secs(1);
/// No window is longer.
const LONGEST_WINDOW: Period = Period::from_secs(32 * 86_400);

/// How turns go, for those who wait for one.
#[derive(Clone, Copy, Default)]
struct Rounds {
    begun: u64,
    done: u64,
    /// Whether the last one reached the database.
    reached: bool,
}

/// Who spends: this process among the nodes.
pub(super) struct Spender {
    /// The id of this process among the nodes, and what people call it.
    pub node: String,
    pub name: String,
    /// The call log, and the number under which this process writes it.
    pub calls: CallLog,
    pub writer: u32,
    /// Where it is noted that this process borrows.
    pub processes: Processes,
    /// Processes before this one on its data directory that may still have to be settled, oldest first.
    pub earlier: Vec<Process>,
}

/// This node among those that spend.
pub(super) struct Budgets {
    store: Store,
    book: Arc<Book>,
    charged: Arc<Charged>,
    calls: CallLog,
    writer: u32,
    node: String,
    name: String,
    processes: Processes,
    /// This process, as it is noted in its data directory.
    own: Process,
    /// Processes that are still to be settled, and whether it was told that one of them cannot be.
    earlier: Mutex<Vec<(Process, bool)>>,
    wake: Notify,
    rounds: watch::Sender<Rounds>,
    state: tokio::sync::Mutex<State>,
    failed: AtomicU64,
    told: Arc<Told>,
    /// Millionths of US dollars that processes which this one settled left no account of.
    lost: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Whether this process stands in its data directory.
    noted: bool,
    /// Where the call log stood at the last turn that was taken.
    place: String,
    entered: bool,
    /// Whether what the database knows of this process is to be ended before it enters.
    anew: bool,
    number: u64,
    /// A turn whose answer has not come yet.
    open: Option<OpenTurn>,
    /// What the database says that this process has borrowed, by window.
    leases: HashMap<Arc<str>, Known>,
    ended: bool,
    /// How often in a row a turn had no answer in time.
    late: u32,
    /// When it was told last that turns fail.
    told: Option<Instant>,
    /// When budgets were looked through last.
    tidied: Option<Instant>,
    /// What is to be told, who tells it, and when it could not be told.
    untold: Vec<Warning>,
    telling: Option<JoinHandle<Vec<Warning>>>,
    not_told: Option<Instant>,
}

struct OpenTurn {
    place: Option<String>,
    items: Vec<(Arc<str>, Option<Arc<Account>>, BudgetItem)>,
    sums: HashMap<Arc<str>, Sum>,
}

/// What is known of a window.
#[derive(Clone, Copy)]
struct Known {
    lease: i64,
    /// How much had been reserved ever at the last turn, and when that was.
    taken: i64,
    at: Instant,
    /// How often it was used by the last look, and when that had changed.
    uses: u64,
    used: Instant,
    /// Whether more is taken of it than it has, as after its limit was lowered.
    over: bool,
}

impl Known {
    fn new(account: &Account) -> Self {
        let now = Instant::now();
        Self { lease: 0, taken: account.taken(), at: now, uses: account.uses(), used: now, over: false }
    }

    /// Whether nobody has used it for a while.
    fn is_idle(&mut self, account: &Account) -> bool {
        if account.uses() != self.uses {
            (self.uses, self.used) = (account.uses(), Instant::now());
        }
        self.used.elapsed() >= IDLE
    }
}

impl Budgets {
    /// This node before its first turn. To be made before anything is written to the call log.
    pub fn new(store: Store, charged: Arc<Charged>, spender: Spender) -> Arc<Self> {
        let Spender { node, name, calls, writer, processes, earlier } = spender;
        let place = calls.end().unwrap_or_else(|error| {
            tracing::warn!(%error, "the call log cannot be read; calls are served and charged all the same");
            // Nobody has written under this process's number yet, so nothing is charged twice.
            CallLog::beginning()
        });
        Arc::new(Self {
            store,
            book: Arc::default(),
            charged,
            own: Process::begins(&node, writer, &place),
            state: tokio::sync::Mutex::new(State { place, ..State::default() }),
            calls,
            writer,
            node,
            name,
            processes,
            earlier: Mutex::new(earlier.into_iter().map(|process| (process, false)).collect()),
            wake: Notify::new(),
            rounds: watch::Sender::new(Rounds::default()),
            failed: AtomicU64::new(0),
            told: Arc::default(),
            lost: AtomicU64::new(0),
        })
    }

    /// Notes this process in its data directory, so that the next one there knows of it.
    pub async fn note(&self) -> std::io::Result<()> {
        self.note_in(&mut *self.state.lock().await).await
    }

    async fn note_in(&self, state: &mut State) -> std::io::Result<()> {
        if !state.noted {
            let (processes, own) = (self.processes.clone(), self.own.clone());
            tokio::task::spawn_blocking(move || processes.note(&own)).await.map_err(std::io::Error::other)??;
            state.noted = true;
        }
        Ok(())
    }

    /// The budgets and accounts of this process.
    pub fn book(&self) -> &Arc<Book> {
        &self.book
    }

    /// Registers what Prometheus sees of it.
    pub fn measure(self: &Arc<Self>, metrics: &Metrics) {
        let (failed, told, held, lost) = (self.clone(), self.clone(), self.clone(), self.clone());
        metrics.register_counter(
            "budget_turns_failed",
            "Turns at the budgets that did not reach the database",
            move || failed.failed.load(Relaxed) as i64,
        );
        metrics.register_counter("budget_warnings", "Warnings that a budget runs out or is used up", move || {
            told.told.warnings.load(Relaxed) as i64
        });
        metrics.register_gauge(
            "budget_reserved_microdollars",
            "Millionths of US dollars that running calls have reserved of budgets",
            move || held.book.accounts().iter().map(|(account, _)| account.held() / 1_000_000).sum(),
        );
        metrics.register_counter(
            "budget_lost_microdollars",
            "Millionths of US dollars that processes had borrowed of budgets and left no account of, as far as this one settled them",
            move || lost.lost.load(Relaxed) as i64,
        );
    }

    /// Takes turns until the process ends.
    pub async fn run(self: Arc<Self>) {
        // Beside the turns: reading a long call log holds up no call.
        tokio::spawn(self.clone().settle_all());
        let mut next = tokio::time::Instant::now();
        loop {
            // A turn for those who wait, or when it is time.
            let _ = tokio::time::timeout(EVERY, self.wake.notified()).await;
            tokio::time::sleep_until(next).await;
            if !self.round().await {
                return;
            }
            next = tokio::time::Instant::now() + APART;
        }
    }

    /// The last turns, when every call is in the call log: charges all, gives everything back and leaves.
    pub async fn finish(&self) {
        let mut state = self.state.lock().await;
        state.ended = true;
        if let Some(telling) = state.telling.take() {
            warn::keep(&mut state.untold, telling.await.unwrap_or_default());
        }
        warn::tell(&self.store, &self.told, std::mem::take(&mut state.untold)).await;
        for _ in 0..4 {
            // A turn that is open first, then the last one.
            if state.open.is_some() {
                if let Ok(warnings) = self.take_turn(&mut state).await {
                    warn::tell(&self.store, &self.told, warnings).await;
                }
                continue;
            }
            self.prepare(&mut state, true);
            if state.open.is_some() {
                continue;
            }
            let known = (self.name.as_str(), self.writer, state.place.as_str());
            if !state.entered || self.store.end_budget_node(&self.node, known, &[], BudgetEnd::Settled).await.is_ok() {
                let (processes, node) = (self.processes.clone(), self.node.clone());
                // Where that fails the next start asks the database, which knows.
                let _ = tokio::task::spawn_blocking(move || processes.settled(&node)).await;
                return;
            }
        }
        tracing::warn!("budgets could not be settled at the end; the next start on this data directory does it");
    }

    /// One turn, if there is anything to do. False when the process ends.
    async fn round(&self) -> bool {
        let mut state = self.state.lock().await;
        if state.ended {
            return false;
        }
        // What became of the last one comes first: until that is known nothing else can be said.
        let mut settled = true;
        if state.open.is_some() {
            let taken = self.take_turn(&mut state).await;
            settled = taken.is_ok();
            warn::keep(&mut state.untold, taken.unwrap_or_default());
        }
        self.rounds.send_modify(|rounds| rounds.begun += 1);
        let mut reached = settled;
        if settled {
            self.prepare(&mut state, false);
            if state.open.is_some() {
                let taken = self.take_turn(&mut state).await;
                reached = taken.is_ok();
                warn::keep(&mut state.untold, taken.unwrap_or_default());
            }
        }
        self.rounds.send_modify(|rounds| (rounds.done, rounds.reached) = (rounds.begun, reached));
        // Beside the turns: a warning waits in line with changes of the configuration, and calls do not wait for it.
        if state.telling.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(told) = state.telling.take()
        {
            let untold = told.await.unwrap_or_default();
            state.not_told = (!untold.is_empty()).then(Instant::now);
            warn::keep(&mut state.untold, untold);
        }
        let again = state.not_told.is_none_or(|at| at.elapsed() >= PATIENCE);
        if !state.untold.is_empty() && state.telling.is_none() && again {
            let (store, told, warnings) = (self.store.clone(), self.told.clone(), std::mem::take(&mut state.untold));
            state.telling = Some(tokio::spawn(async move { warn::tell(&store, &told, warnings).await }));
        }
        true
    }

    /// Puts together what is to be charged, given back and asked for.
    fn prepare(&self, state: &mut State, last: bool) {
        let Waiting { mut sums, place } = std::mem::take(&mut *self.charged.lock());
        let charges = sums.clone();
        let mut items = Vec::new();
        self.look_at_models(state);
        for (account, budget) in self.book.accounts() {
            let key = account.key().clone();
            let known = state.leases.entry(key.clone()).or_insert_with(|| Known::new(&account));
            let sum = sums.remove(&key).unwrap_or_default();
            let turn = turn_of(&account, budget.as_deref(), known, sum.charge, last);
            let idle = Turn { limit: None, ..turn } == Turn::default();
            // Where calls go depends on how it stands.
            let decides = budget.as_ref().is_some_and(|budget| budget.definition().when_used_up.is_some());
            let untold = decides && !last && account.is_used_up().is_none();
            if idle && sum.unlogged == 0 && !untold {
                let over = SystemTime::now() - KEPT;
                // One that rolls is over when its budget is gone. End users are many: each is forgotten after a while.
                let over = match account.window() == BudgetWindow::ALWAYS {
                    _ if account.is_of_user() => known.used.elapsed() >= USER_KEPT,
                    true => budget.is_none(),
                    false => account.window().end < over.into(),
                };
                if known.lease == 0 && account.held() == 0 && over {
                    state.leases.remove(&key);
                    self.book.forget(&account);
                }
                continue;
            }
            let item = BudgetItem {
                budget: account.budget().to_string(),
                started: account.window().start,
                ends: account.window().end,
                turn,
                unlogged: sum.unlogged,
            };
            items.push((key, Some(account), item));
        }
        // Windows of which there is no account any more.
        for (key, sum) in sums {
            if let Some((budget, started)) = settle::window(&key) {
                let turn = Turn { charge: sum.charge, ..Turn::default() };
                // Whoever knows when it ends corrects that.
                let ends = started.plus(LONGEST_WINDOW);
                items.push((key, None, BudgetItem { budget, started, ends, turn, unlogged: sum.unlogged }));
            }
        }
        if !items.is_empty() || place.is_some() {
            state.number += 1;
            state.open = Some(OpenTurn { place, items, sums: charges });
        }
    }

    /// Budgets that say where calls go when they are used up have accounts before anybody calls, so that a process knows how
    /// they stand. And from time to time what no snapshot and no worker has any more is forgotten.
    fn look_at_models(&self, state: &mut State) {
        if state.tidied.is_some_and(|at| at.elapsed() < TIDY) {
            return;
        }
        state.tidied = Some(Instant::now());
        self.book.tidy();
        let now = SystemTime::now().into();
        let named = |budget: &Arc<LiveBudget>| budget.definition().when_used_up.is_some();
        self.book.live().iter().filter(|budget| named(budget)).for_each(|budget| drop(budget.account(now)));
    }

    /// Takes the open turn, or asks what became of it.
    async fn take_turn(&self, state: &mut State) -> Result<Vec<Warning>, StoreError> {
        let patience = (PATIENCE * 2u32.pow(state.late.min(8))).min(LONGEST);
        let taken = match tokio::time::timeout(patience, self.ask(state)).await {
            Ok(taken) => {
                state.late = 0;
                taken
            }
            Err(_) => {
                state.late += 1;
                Err(StoreError::Unavailable("no answer within the time limit".into()))
            }
        };
        match taken {
            Ok(states) => {
                let Some(open) = state.open.take() else { return Ok(Vec::new()) };
                for ((key, account, item), at) in open.items.iter().zip(&states) {
                    apply(state, key, account.as_ref(), item, at);
                }
                state.place = open.place.unwrap_or_else(|| std::mem::take(&mut state.place));
                let told = open.items.iter().zip(&states).filter_map(|((_, account, item), at)| {
                    let budget = self.book.find(&item.budget)?;
                    if let Some(account) = account {
                        account.tell_standing(warn::standing(&budget, at));
                    }
                    Warning::due(&budget, item.started, at)
                });
                Ok(told.collect())
            }
            Err(error @ StoreError::Conflict(_)) => {
                tracing::error!(%error, "budgets: what this node had borrowed counts as lost; it begins anew");
                let taken = self.was_taken(state).await;
                self.begin_anew(state, taken);
                Err(error)
            }
            Err(error) => {
                self.failed.fetch_add(1, Relaxed);
                let told = state.told.is_some_and(|at| at.elapsed() < TOLD);
                match error.is_transient() || told {
                    true => tracing::debug!(%error, "a turn at the budgets did not reach the database"),
                    false => {
                        state.told = Some(Instant::now());
                        tracing::warn!(%error, "a turn at the budgets failed; it is tried again");
                    }
                }
                Err(error)
            }
        }
    }

    async fn ask(&self, state: &mut State) -> Result<Vec<BudgetState>, StoreError> {
        if state.open.is_none() {
            return Ok(Vec::new());
        }
        if !state.entered {
            // Nobody could settle a process that nobody knows of.
            let unknown =
                |error| StoreError::Other(format!("this process cannot be noted in its data directory: {error}"));
            self.note_in(state).await.map_err(unknown)?;
            match state.anew {
                true => self.enter_anew(state).await?,
                false => match self.store.enter_budget_node(&self.node, &self.name, self.writer, &state.place).await {
                    // The answer of an earlier try was lost.
                    Err(StoreError::Conflict(_)) if state.number == 1 => {}
                    entered => entered?,
                },
            }
            (state.entered, state.anew) = (true, false);
        }
        let Some(open) = &state.open else { return Ok(Vec::new()) };
        let items: Vec<BudgetItem> = open.items.iter().map(|(_, _, item)| item.clone()).collect();
        self.store.budget_turn(&self.node, state.number, open.place.as_deref(), &items).await
    }

    /// Enters again. What the database has forgotten of what this process charged, as after it was restored from a backup,
    /// is charged once more from the call log; what it had borrowed is lost.
    async fn enter_anew(&self, state: &State) -> Result<(), StoreError> {
        let known = self.store.budget_node(&self.node).await?;
        let from = match &known {
            Some(known) if known.state == BudgetNodeState::Settled => None,
            Some(known) => Some(known.place.as_str()),
            None => self.own.log.as_ref().map(|(_, place)| place.as_str()),
        };
        let charges = match from {
            Some(from) => self.charges(from, Some(&state.place), self.writer).await,
            None => Ok(Vec::new()),
        };
        let charges = charges.map_err(|error| StoreError::Other(error.to_string()))?;
        let now = (self.name.as_str(), self.writer, state.place.as_str());
        self.store.end_budget_node(&self.node, now, &charges, BudgetEnd::Anew).await?;
        Ok(())
    }

    /// Whether the open turn was taken before this process was ended, and only the answer is missing. Where nobody can
    /// tell, it was not: to charge twice is the lesser harm.
    async fn was_taken(&self, state: &State) -> bool {
        let Some(place) = state.open.as_ref().and_then(|open| open.place.as_ref()) else { return false };
        let known = tokio::time::timeout(PATIENCE, self.store.budget_node(&self.node)).await;
        let Ok(Ok(Some(known))) = known else { return false };
        known.turn == state.number && known.place == *place
    }

    /// The database does not know this process, or not as it was: another one took it for ended, or the database was
    /// restored. What was borrowed is no longer lent; what was not charged is charged by the next turn. `taken`: what the
    /// open turn brings was charged.
    fn begin_anew(&self, state: &mut State, taken: bool) {
        if let Some(open) = state.open.take_if(|_| taken) {
            for (_, account, item) in &open.items {
                if let Some(account) = account {
                    account.lend(item.turn.back.saturating_add(item.turn.charge), 0);
                }
            }
            state.place = open.place.unwrap_or_else(|| std::mem::take(&mut state.place));
        }
        if let Some(open) = state.open.take() {
            let mut waiting = self.charged.lock();
            for (key, sum) in open.sums {
                let waits = waiting.sums.entry(key).or_default();
                waits.charge = waits.charge.saturating_add(sum.charge);
                waits.unlogged = waits.unlogged.saturating_add(sum.unlogged);
            }
            if waiting.place.is_none() {
                waiting.place = open.place;
            }
            drop(waiting);
            for (_, account, item) in &open.items {
                if let Some(account) = account {
                    // Taken out for a turn that was not taken.
                    account.lend(item.turn.back, 0);
                }
            }
        }
        for (account, _) in self.book.accounts() {
            if let Some(known) = state.leases.remove(account.key()) {
                account.lend(-known.lease, 0);
            }
        }
        (state.entered, state.anew, state.number) = (false, true, 0);
    }
}

/// What one account brings and asks for.
fn turn_of(account: &Account, budget: Option<&LiveBudget>, known: &mut Known, charge: i64, last: bool) -> Turn {
    let limit = budget.filter(|budget| budget.is_hard()).map(LiveBudget::limit);
    let (need, least) = account.wanted();
    let idle = known.is_idle(account);
    let Some(limit) = limit.filter(|_| !last) else {
        return Turn { limit: None, charge, back: account.give_back(0), ..Turn::default() };
    };
    if (idle && need == 0) || known.over {
        return Turn { limit: Some(limit), charge, back: account.give_back(0), need, least, ahead: 0 };
    }
    // What calls needed lately, for as long again.
    let taken = account.taken();
    let fresh = i128::from(taken.wrapping_sub(known.taken).max(0));
    let passed = known.at.elapsed().max(EVERY).as_millis() as i128;
    let rate = fresh * AHEAD.as_millis() as i128 / passed;
    let target = i64::try_from(rate).unwrap_or(i64::MAX).saturating_add(need).min(limit / SHARE);
    if known.at.elapsed() >= EVERY {
        (known.taken, known.at) = (taken, Instant::now());
    }
    let ahead = target.saturating_sub(account.free().max(0)).max(0);
    // Small sums are not worth a turn of their own.
    let ahead = if need == 0 && ahead < target / 2 { 0 } else { ahead };
    Turn { limit: Some(limit), charge, back: 0, need, least, ahead }
}

/// Takes in how a window stands after a turn.
fn apply(state: &mut State, key: &Arc<str>, account: Option<&Arc<Account>>, item: &BudgetItem, at: &BudgetState) {
    let Some(account) = account else { return };
    let known = state.leases.entry(key.clone()).or_insert_with(|| Known::new(account));
    let lent = at.lease.saturating_sub(known.lease.saturating_sub(item.turn.charge).saturating_sub(item.turn.back));
    known.lease = at.lease;
    account.tell_frees(at.frees);
    if let Some(limit) = item.turn.limit {
        let available = at.totals.available(limit);
        account.tell_left(at.totals.left(limit), KNOWN);
        known.over = available < 0;
        if item.turn.need > 0 && lent < item.turn.need {
            account.deny(available, DENIED);
        }
    }
    account.lend(lent, item.turn.need.saturating_add(item.turn.ahead).min(at.lease) / 2);
}

impl Lender for Budgets {
    fn borrow(&self, account: &Arc<Account>, amount: i64) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        account.want(amount);
        let mut rounds = self.rounds.subscribe();
        let before = rounds.borrow().begun;
        self.wake.notify_one();
        Box::pin(async move {
            let done = rounds.wait_for(|rounds| rounds.done > before).await;
            done.is_ok_and(|rounds| rounds.reached)
        })
    }

    fn running_low(&self) {
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests;
