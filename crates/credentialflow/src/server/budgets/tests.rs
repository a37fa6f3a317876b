#![allow(clippy::unwrap_used)]
use super::*;
use credentialflow_model::{
    Actor, OutcomeReason, RequestId, Timestamp, TraceId, UsageRecord,
    ledger::Totals,
    resource::{Budget, Kind},
    usage::{Cost, ModelUse},
};
use credentialflow_policy::{Reservation, Short, Standing};
use credentialflow_store::BudgetWindowRow;
use credentialflow_telemetry::{RecordSender, Recorder, RecorderSettings};
use processes::Process as Noted;
use std::path::Path;

/// A process with its call log and its turns, which are taken when they are asked for.
struct Process {
    recorder: Recorder,
    sender: RecordSender,
    budgets: Arc<Budgets>,
    budget: Arc<LiveBudget>,
    /// Of all its calls: no window ends while a test runs.
    at: Timestamp,
    notes: tempfile::TempDir,
}

const DOLLAR: i64 = 1_000_000_000_000;

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn dollars(usd: &str, hard: bool) -> Budget {
    let budget = serde_json::json!({ "usd": usd, "per": "month", "hard": hard, "warn_at": 50 });
    serde_json::from_value(budget).unwrap()
}

async fn store(dir: &Path) -> Store {
    let store = Store::connect(&format!("sqlite:{}", dir.join("state.db").display())).await.unwrap();
    store.migrate().await.unwrap();
    store
}

impl Process {
    fn start(store: &Store, calls: &Path, node: &str, earlier: &[&Process], budget: &Budget) -> Self {
        let at = earlier.first().map_or_else(now, |before| before.at);
        let earlier = earlier.iter().map(|before| before.budgets.own.clone()).collect();
        Self::start_at(at, store, calls, node, earlier, budget)
    }

    fn start_at(at: Timestamp, store: &Store, calls: &Path, node: &str, earlier: Vec<Noted>, budget: &Budget) -> Self {
        let charged = Arc::new(Charged::default());
        let recorder = Recorder::start_with(RecorderSettings::new(calls), Some(charged.clone())).unwrap();
        let telemetry = recorder.telemetry();
        let notes = tempfile::tempdir().unwrap();
        let spender = Spender {
            node: node.to_owned(),
            name: node.to_owned(),
            calls: telemetry.calls().clone(),
            writer: telemetry.writer(),
            processes: Processes::of(notes.path()),
            earlier,
        };
        let budgets = Budgets::new(store.clone(), charged, spender);
        let budget = budgets.book().live_budget(Kind::Applications, "checkout", budget);
        Self { sender: recorder.sender(), recorder, budgets, budget, at, notes }
    }

    fn account(&self) -> Arc<Account> {
        self.budget.account(self.at)
    }

    /// Reserves as a call does: borrows until the budget gives or says no.
    async fn reserve(&self, amount: i64) -> Option<Reservation> {
        // What was denied before is asked for again.
        self.account().deny(0, Duration::ZERO);
        self.account().tell_left(0, Duration::ZERO);
        loop {
            match self.account().reserve(amount) {
                Ok(held) => return Some(held),
                Err(Short::Denied { .. }) => return None,
                Err(Short::Borrow) => {
                    let asked = self.budgets.borrow(&self.account(), amount);
                    self.budgets.round().await;
                    if !asked.await {
                        return None;
                    }
                }
            }
        }
    }

    /// A call ends and cost so much; its record goes to the call log.
    fn spend(&self, held: Reservation, cost: i64) {
        let record = record(self.account().key(), cost);
        held.settle(cost);
        self.sender.send(vec![record]);
    }

    /// What the audit log tells, when all is told.
    async fn told(&self, store: &Store) -> Vec<String> {
        self.budgets.round().await;
        if let Some(telling) = self.budgets.state.lock().await.telling.take() {
            assert!(telling.await.unwrap().is_empty());
        }
        let events = store.audit_events(0, 100, &Default::default()).await.unwrap();
        events.iter().map(|event| event.action.clone()).collect()
    }

    async fn window(&self, store: &Store) -> BudgetWindowRow {
        store.budget_windows(self.at).await.unwrap().remove(0)
    }

    /// Kill -9: nothing is settled, and no turn is taken any more. What is in the call log stays.
    fn kill(self) -> (Noted, Timestamp) {
        assert!(self.recorder.flush());
        (self.budgets.own.clone(), self.at)
    }

    async fn end(self) {
        let Self { recorder, budgets, .. } = self;
        tokio::task::spawn_blocking(move || recorder.shutdown()).await.unwrap();
        budgets.finish().await;
    }
}

fn record(window: &Arc<str>, cost: i64) -> UsageRecord {
    let text: Arc<str> = "x".into();
    let model = ModelUse {
        model: text.clone(),
        provider: text.clone(),
        provider_model: text.clone(),
        streamed: false,
        tokens: None,
        cost: Some(Cost::Known(credentialflow_model::resource::budget::usd(cost))),
        budgets: Some(window.clone()),
        tried: Vec::new(),
        guardrails: None,
        user: None,
        asked: None,
        prompt: None,
        cache: None,
        saved: None,
    };
    UsageRecord {
        mcp: None,
        time: now(),
        request_id: RequestId(1),
        trace_id: TraceId(1),
        source: "192.0.2.7".parse().unwrap(),
        application: Some("checkout".into()),
        key: None,
        secret: None,
        route: None,
        method: "POST".into(),
        path: "/".into(),
        upstream: None,
        endpoint: None,
        credential: None,
        outcome: OutcomeReason::Served,
        status: 200,
        upstream_status: 200,
        attempts: 1,
        bytes_in: 0,
        bytes_out: 0,
        total_us: 1,
        upstream_us: 1,
        ttfb_us: 1,
        model: Some(Box::new(model)),
    }
}

#[tokio::test]
async fn what_calls_cost_is_charged_when_it_is_logged_and_all_is_given_back_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let one = Process::start(&store, &dir.path().join("calls"), "n1", &[], &dollars("10", true));
    let held = one.reserve(DOLLAR).await.unwrap();
    let lent = one.window(&store).await.totals;
    assert!(lent.spent == 0 && lent.leased >= DOLLAR, "{lent:?}");
    one.spend(held, 400_000_000_001);
    assert!(one.recorder.flush());
    one.budgets.round().await;
    assert_eq!(one.window(&store).await.totals.spent, 400_000_000_001, "to the last unit");
    // More than a window ever has, and more than what is left.
    assert!(one.reserve(9_700_000_000_000).await.is_none());
    let held = one.reserve(9_500_000_000_000).await.unwrap();
    one.spend(held, 9_500_000_000_000);
    let (at, processes) = (one.at, one.budgets.processes.clone());
    let notes = one.notes.path().to_owned();
    assert!(notes.join("processes/n1").exists(), "noted before it borrows");
    assert!(!processes.list()[0].settled);
    let Process { recorder, budgets, notes: _kept, .. } = one;
    tokio::task::spawn_blocking(move || recorder.shutdown()).await.unwrap();
    budgets.finish().await;
    assert!(processes.list()[0].settled);
    let at_end = store.budget_windows(at).await.unwrap().remove(0);
    assert_eq!((at_end.totals.spent, at_end.totals.leased, at_end.totals.lost), (9_900_000_000_001, 0, 0));
    assert_eq!(store.budget_node("n1").await.unwrap().unwrap().state, BudgetNodeState::Settled);
}

#[tokio::test]
async fn what_a_killed_process_left_is_charged_from_its_log_and_the_rest_is_lost_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, calls) = (store(dir.path()).await, dir.path().join("calls"));
    let killed = Process::start(&store, &calls, "n1", &[], &dollars("10", true));
    // One call is charged, one is in the log only, one only its process knows of, one runs.
    for charged in [true, false] {
        let held = killed.reserve(DOLLAR).await.unwrap();
        killed.spend(held, DOLLAR / 4);
        assert!(killed.recorder.flush());
        if charged {
            killed.budgets.round().await;
        }
    }
    let (unknown, running) = (killed.reserve(DOLLAR).await, killed.reserve(2 * DOLLAR).await.unwrap());
    // `reserve` took turns and charged what was in the log by then: bring the database back to before that.
    let charged = killed.window(&store).await.totals.spent;
    assert_eq!(charged, DOLLAR / 2);
    killed.spend(unknown.unwrap(), DOLLAR / 2);
    assert!(killed.recorder.flush());
    let lease = killed.window(&store).await.totals.leased;
    assert!(lease >= 3 * DOLLAR);
    std::mem::forget(running);
    let (noted, at) = killed.kill();
    let unknown = Noted { id: "n0".into(), log: None, ..noted.clone() };
    let next = Process::start_at(at, &store, &calls, "n2", vec![unknown, noted.clone()], &dollars("10", true));
    assert!(next.budgets.settle_earlier().await);
    let totals = next.window(&store).await.totals;
    assert_eq!((totals.spent, totals.leased), (DOLLAR, 0), "what the log tells is charged");
    assert_eq!(totals.lost, lease - DOLLAR / 2, "the rest may have been spent");
    next.budgets.earlier.lock().unwrap().push((noted, false));
    assert!(next.budgets.settle_earlier().await);
    assert_eq!(next.window(&store).await.totals, totals, "once");
    let told = next.told(&store).await;
    assert_eq!(told.iter().filter(|action| *action == "budget.lose").count(), 1, "{told:?}");
    assert!(next.reserve(10 * DOLLAR - totals.spent - totals.lost + 1).await.is_none());
    let held = next.reserve(10 * DOLLAR - totals.spent - totals.lost).await;
    next.spend(held.unwrap(), 1);
    assert!(next.recorder.flush());
    next.budgets.round().await;
    assert_eq!(next.window(&store).await.totals.spent, DOLLAR + 1, "its own log is another one");
}

#[tokio::test]
async fn what_could_not_be_logged_at_a_start_is_logged_before_its_process_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let (store, calls) = (store(dir.path()).await, dir.path().join("calls"));
    let killed = Process::start(&store, &calls, "n1", &[], &dollars("10", true));
    std::mem::forget(killed.reserve(DOLLAR).await.unwrap());
    let mut journal = killed.sender.journal().unwrap();
    let kept = journal.keep(&record(killed.account().key(), DOLLAR / 4)).unwrap();
    let (noted, at) = (killed.budgets.own.clone(), killed.at);
    std::mem::forget(killed);
    // Its lock keeps the next one off, as a full disk does.
    let next = Process::start_at(at, &store, &calls, "n2", vec![noted], &dollars("10", true));
    drop((journal, kept));
    assert!(next.budgets.settle_earlier().await);
    assert_eq!(next.window(&store).await.totals.spent, DOLLAR / 4);
}

#[tokio::test]
async fn a_window_that_rolls_is_charged_and_settled_like_any_other_and_callers_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (store, calls) = (store(dir.path()).await, dir.path().join("calls"));
    let definition: Budget =
        serde_json::from_value(serde_json::json!({ "usd": 10, "per": "30d", "hard": true, "warn_at": 50 })).unwrap();
    let one = Process::start(&store, &calls, "n1", &[], &definition);
    let held = one.reserve(6 * DOLLAR).await.unwrap();
    assert_eq!(&**one.account().key(), "applications/checkout/30d@0");
    one.spend(held, 6 * DOLLAR);
    assert!(one.recorder.flush());
    one.budgets.round().await;
    let stands = Standing { percent: 60, warns: true };
    assert_eq!((one.account().standing(), one.window(&store).await.totals.spent), (Some(stands), 6 * DOLLAR));
    let soonest = one.at.plus(Period::from_secs(30 * 86_400));
    assert!(one.account().frees() >= soonest, "{}", one.account().frees());
    assert!(one.told(&store).await.contains(&"budget.warn".to_owned()));
    assert!(one.reserve(4 * DOLLAR + 1).await.is_none());
    let held = one.reserve(DOLLAR).await.unwrap();
    one.spend(held, DOLLAR / 2);
    let running = one.reserve(DOLLAR).await.unwrap();
    std::mem::forget(running);
    let (noted, at) = one.kill();
    let next = Process::start_at(at, &store, &calls, "n2", vec![noted], &definition);
    assert!(next.budgets.settle_earlier().await);
    let totals = next.window(&store).await.totals;
    assert_eq!((totals.spent, totals.leased), (6 * DOLLAR + DOLLAR / 2, 0), "what the log tells is charged once");
    assert!(totals.lost >= DOLLAR && totals.spent + totals.lost <= 10 * DOLLAR, "{totals:?}");
    assert_eq!(next.told(&store).await.iter().filter(|action| *action == "budget.warn").count(), 1);
    // A budget that is no more leaves nothing behind once nobody uses it.
    drop(next.reserve(DOLLAR / 4).await.unwrap());
    assert_eq!(next.budgets.book().accounts().len(), 1);
    let Process { budgets, budget, .. } = next;
    drop(budget);
    budgets.book().tidy();
    for _ in 0..3 {
        budgets.round().await;
    }
    assert!(budgets.book().accounts().is_empty());
}

#[tokio::test]
async fn two_nodes_share_the_last_dollar() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let at = now();
    let node = |id: &str| Process::start_at(at, &store, &dir.path().join(id), id, vec![], &dollars("1", true));
    let nodes = [node("a"), node("b")];
    let mut served = 0;
    for turn in 0..400 {
        let process = &nodes[turn % 2];
        if let Some(held) = process.reserve(DOLLAR / 100).await {
            process.spend(held, DOLLAR / 250);
            served += 1;
        }
        let Totals { spent, leased, lost } = process.window(&store).await.totals;
        assert!(spent + leased + lost <= DOLLAR, "after {turn}");
    }
    let at = nodes[0].at;
    for process in nodes {
        process.end().await;
    }
    let at_end = store.budget_windows(at).await.unwrap().remove(0).totals;
    assert_eq!((at_end.spent, at_end.leased, at_end.lost), (served * DOLLAR / 250, 0, 0));
    assert!(served >= 200, "most of it is spent: {served} calls");
}

#[tokio::test]
async fn a_budget_that_is_only_watched_goes_on_and_tells_twice() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let one = Process::start(&store, &dir.path().join("calls"), "n1", &[], &dollars("1", false));
    let spend = async |amount| {
        let held = one.account().watch(amount);
        one.spend(held, amount);
        assert!(one.recorder.flush());
        one.budgets.round().await;
        one.told(&store).await
    };
    assert!(spend(DOLLAR / 4).await.is_empty());
    assert_eq!(spend(DOLLAR / 2).await, ["budget.warn"]);
    assert_eq!(spend(DOLLAR / 8).await.len(), 1, "once");
    assert_eq!(spend(DOLLAR).await.len(), 2);
    assert_eq!(spend(DOLLAR).await.len(), 2, "once");
    let totals = one.window(&store).await.totals;
    assert_eq!((totals.spent, totals.leased), (2 * DOLLAR + DOLLAR * 7 / 8, 0));
    assert_eq!(one.account().free(), 0, "covered");
}

#[tokio::test]
async fn a_process_that_was_given_up_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let one = Process::start(&store, &dir.path().join("calls"), "n1", &[], &dollars("10", true));
    let held = one.reserve(DOLLAR).await.unwrap();
    // What was charged before stays charged once.
    let early = one.reserve(DOLLAR).await.unwrap();
    one.spend(early, DOLLAR / 4);
    assert!(one.recorder.flush());
    one.budgets.round().await;
    let lease = one.window(&store).await.totals.leased;
    let known = ("n1", one.budgets.writer, "0.0");
    store.end_budget_node("n1", known, &[], BudgetEnd::GivenUp).await.unwrap();
    one.spend(held, DOLLAR / 2);
    assert!(one.recorder.flush());
    one.budgets.round().await;
    one.budgets.round().await;
    let totals = one.window(&store).await.totals;
    assert_eq!(
        (totals.spent, totals.lost),
        (DOLLAR * 3 / 4, lease),
        "what was lent is not free, what was spent is charged"
    );
    let held = one.reserve(DOLLAR).await.unwrap();
    let totals = one.window(&store).await.totals;
    assert_eq!(totals.leased, one.account().free() + held.amount());
}

/// A copy of the database as it is now.
async fn backup(live: &Path, to: &Path) -> Store {
    std::fs::create_dir_all(to).unwrap();
    for file in ["state.db", "state.db-wal"] {
        std::fs::copy(live.join(file), to.join(file)).unwrap();
    }
    store(to).await
}

#[tokio::test]
async fn a_database_that_was_restored_is_told_again_what_was_spent_since() {
    for before_all in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        let mut one = Process::start(&store, &dir.path().join("calls"), "n1", &[], &dollars("10", true));
        let mut copy = None;
        for n in 0..2 {
            if before_all == (n == 0) {
                copy = Some(backup(dir.path(), &dir.path().join("copy")).await);
            }
            let held = one.reserve(DOLLAR).await.unwrap();
            one.spend(held, DOLLAR / 4);
            assert!(one.recorder.flush());
            one.budgets.round().await;
        }
        assert_eq!(one.window(&store).await.totals.spent, DOLLAR / 2);
        let restored = copy.unwrap();
        Arc::get_mut(&mut one.budgets).unwrap().store = restored.clone();
        assert!(one.reserve(3 * DOLLAR).await.is_none(), "that turn finds out");
        let held = one.reserve(3 * DOLLAR).await.unwrap();
        assert_eq!(one.window(&restored).await.totals.spent, DOLLAR / 2, "what the database forgot");
        one.spend(held, DOLLAR / 4);
        assert!(one.recorder.flush());
        one.budgets.round().await;
        assert_eq!(one.window(&restored).await.totals.spent, DOLLAR * 3 / 4);
        // The next process finds nothing left to charge.
        let (noted, at) = one.kill();
        let calls = dir.path().join("calls");
        let next = Process::start_at(at, &restored, &calls, "n2", vec![noted], &dollars("10", true));
        assert!(next.budgets.settle_earlier().await);
        let totals = next.window(&restored).await.totals;
        assert_eq!((totals.spent, totals.leased), (DOLLAR * 3 / 4, 0));
    }
}

/// Its database is away all its life: what is only watched is served and logged.
#[tokio::test]
async fn what_a_process_spent_that_never_reached_the_database_is_charged_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (store, calls) = (store(dir.path()).await, dir.path().join("calls"));
    let one = Process::start(&store, &calls, "n1", &[], &dollars("1", false));
    let held = one.account().watch(DOLLAR);
    one.spend(held, DOLLAR * 3 / 4);
    let (noted, at) = one.kill();
    let next = Process::start_at(at, &store, &calls, "n2", vec![noted.clone()], &dollars("1", false));
    assert!(next.budgets.settle_earlier().await);
    let totals = next.window(&store).await.totals;
    assert_eq!((totals.spent, totals.leased, totals.lost), (DOLLAR * 3 / 4, 0, 0));
    assert_eq!(next.told(&store).await, ["budget.warn"], "the mark was crossed by what is settled");
    // Killed before it could note that: the third one charges nothing twice.
    let second = next.kill().0;
    let third = Process::start_at(at, &store, &calls, "n3", vec![noted, second], &dollars("1", false));
    assert!(third.budgets.settle_earlier().await);
    assert_eq!(third.window(&store).await.totals, totals);
}

#[tokio::test]
async fn a_process_that_cannot_be_noted_borrows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let one = Process::start(&store, &dir.path().join("calls"), "n1", &[], &dollars("10", true));
    // Where the folder of notes should be stands a file.
    let in_the_way = one.notes.path().join("processes");
    std::fs::write(&in_the_way, "").unwrap();
    assert!(one.reserve(DOLLAR).await.is_none());
    assert_eq!(store.budget_node("n1").await.unwrap(), None);
    std::fs::remove_file(in_the_way).unwrap();
    assert!(one.reserve(DOLLAR).await.is_some());
    assert!(one.notes.path().join("processes/n1").exists());
}

/// The answer of a turn is lost, and then the process is given up for its silence.
#[tokio::test]
async fn a_turn_that_was_taken_is_not_charged_again_after_its_process_was_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let one = Process::start(&store, &dir.path().join("calls"), "n1", &[], &dollars("10", true));
    for taken in [true, false] {
        let held = one.reserve(DOLLAR).await.unwrap();
        let running = one.reserve(DOLLAR).await.unwrap();
        let before = one.window(&store).await.totals;
        one.spend(held, DOLLAR / 4);
        assert!(one.recorder.flush());
        {
            let state = &mut *one.budgets.state.lock().await;
            one.budgets.prepare(state, false);
            assert!(state.open.is_some());
            if taken {
                one.budgets.ask(state).await.unwrap();
            }
        }
        let known = store.budget_node("n1").await.unwrap().unwrap();
        let ended = (known.name.as_str(), known.writer, known.place.as_str());
        store.end_budget_node("n1", ended, &[], BudgetEnd::GivenUp).await.unwrap();
        // One finds out, one charges what is left.
        for _ in 0..2 {
            one.budgets.round().await;
        }
        running.settle(0);
        drop(one.reserve(DOLLAR).await.unwrap());
        let totals = one.window(&store).await.totals;
        assert_eq!(totals.spent, before.spent + DOLLAR / 4, "once, whether taken: {taken}");
        let account = one.account();
        assert_eq!((account.free() + account.held(), totals.lost > before.lost), (totals.leased, true), "{account:?}");
    }
    let (noted, at) = one.kill();
    let next = Process::start_at(at, &store, &dir.path().join("calls"), "n2", vec![noted], &dollars("10", true));
    assert!(next.budgets.settle_earlier().await);
    assert_eq!(next.window(&store).await.totals.spent, DOLLAR / 2, "its log holds nothing that is not charged");
}

#[tokio::test]
async fn a_call_log_that_cannot_be_listed_keeps_nothing_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let (store, calls) = (store(dir.path()).await, dir.path().join("calls"));
    // Where the folder of the call log should be stands a file.
    std::fs::write(&calls, "").unwrap();
    let one = Process::start(&store, &calls, "n1", &[], &dollars("10", true));
    let held = one.reserve(DOLLAR).await.unwrap();
    std::fs::remove_file(&calls).unwrap();
    one.spend(held, DOLLAR / 4);
    // The recorder finds the folder again by itself.
    tokio::time::timeout(Duration::from_secs(60), async {
        while one.window(&store).await.totals.spent == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            one.budgets.round().await;
        }
    })
    .await
    .unwrap();
    let (noted, at) = one.kill();
    let next = Process::start_at(at, &store, &calls, "n2", vec![noted], &dollars("10", true));
    assert!(next.budgets.settle_earlier().await);
    assert_eq!(next.window(&store).await.totals.spent, DOLLAR / 4, "charged once");
}

#[tokio::test]
async fn a_log_that_cannot_be_read_holds_up_no_call() {
    let dir = tempfile::tempdir().unwrap();
    let (store, calls) = (store(dir.path()).await, dir.path().join("calls"));
    let one = Process::start(&store, &calls, "n1", &[], &dollars("10", true));
    let held = one.reserve(DOLLAR).await.unwrap();
    one.spend(held, DOLLAR / 2);
    let (noted, at) = one.kill();
    let segment = std::fs::read_dir(&calls).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|e| e == "db")).last().unwrap();
    let whole = std::fs::read(&segment).unwrap();
    let log = segment.with_extension("db-wal");
    let (rest, _) = (std::fs::read(&log).unwrap_or_default(), std::fs::remove_file(&log));
    std::fs::write(&segment, vec![7; 16_384]).unwrap();
    let next = Process::start_at(at, &store, &calls, "n2", vec![noted], &dollars("10", true));
    assert!(!next.budgets.settle_earlier().await);
    assert!(next.reserve(DOLLAR).await.is_some(), "its own turns go on");
    std::fs::write(&segment, whole).unwrap();
    std::fs::write(&log, rest).unwrap();
    assert!(next.budgets.settle_earlier().await);
    assert_eq!(next.window(&store).await.totals.spent, DOLLAR / 2);
}

#[tokio::test]
async fn budgets_of_made_up_users_drown_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let mut tx = store.begin(&Actor::system("test")).await.unwrap();
    let declared = r#"{ "name": "checkout", "team": "payments" }"#;
    tx.put_resources(&[(Kind::Applications, "checkout".parse().unwrap(), declared.to_owned())]).await.unwrap();
    tx.audit("application.create", "applications/checkout", serde_json::json!({}));
    tx.commit().await.unwrap();
    let one = Process::start(&store, &dir.path().join("calls"), "n1", &[], &dollars("1", false));
    let mine = [dollars("1", false)];
    let spend = |account: &Arc<Account>| {
        let (held, record) = (account.watch(DOLLAR), record(account.key(), DOLLAR));
        held.settle(DOLLAR);
        one.sender.send(vec![record]);
    };
    for n in 0..80 {
        let of_user = one.budgets.book().user_budgets("checkout", &format!("user {n:02}"), &mine).unwrap();
        spend(&of_user[0].account(one.at));
    }
    spend(&one.account());
    assert!(one.recorder.flush());
    one.budgets.round().await;
    one.told(&store).await;
    let events = store.audit_events(0, 1000, &Default::default()).await.unwrap();
    let subjects: Vec<_> = events.iter().filter(|e| e.action == "budget.exceed").map(|e| e.subject.clone()).collect();
    assert_eq!(subjects.len(), 51, "50 of users in an hour");
    assert!(!subjects[0].starts_with("users/"), "the application's own first: {}", subjects[0]);
    let letters = store.due_notifications(now(), 1000).await.unwrap();
    let of_users = letters.iter().filter(|letter| letter.body.contains("\"user\":")).count();
    assert_eq!((letters.len(), of_users), (2, 1), "one of an hour");
}
