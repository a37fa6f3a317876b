//! What budgets have spent and lent: turns are taken once, together, and past no limit.

use crate::{Database, admin};
use credentialflow_model::{
    Period, Timestamp,
    ledger::{Totals, Turn},
    resource::budget::BudgetWindow,
};
use credentialflow_store::{BudgetEnd, BudgetItem, BudgetNodeState, BudgetSettled, BudgetState, Store, StoreError};
use serde_json::json;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

crate::on_both!(
    a_turn_is_taken_once,
    many_nodes_never_borrow_more_than_the_limit,
    a_node_that_ended_is_settled_once,
    a_node_is_settled_whether_it_was_entered_or_given_up,
    a_node_begins_anew_with_nothing_borrowed,
    a_turn_of_many_windows_is_a_few_statements,
    sums_end_at_the_largest_number,
    it_is_told_once_that_a_budget_runs_out,
    windows_are_listed_and_forgotten,
    what_rolls_counts_until_it_is_a_window_ago,
    many_nodes_never_spend_more_in_a_window_that_rolls,
    of_what_rolls_a_node_that_ended_is_settled_and_it_is_told_once,
);

const START: Timestamp = Timestamp::from_secs(1_795_000_000);

fn item(budget: &str, turn: Turn) -> BudgetItem {
    BudgetItem { budget: budget.into(), started: START, ends: START.plus(Period::from_secs(3600)), turn, unlogged: 0 }
}

fn ask(need: i64) -> Turn {
    Turn { limit: Some(1000), need, least: 1, ..Turn::default() }
}

async fn turn(store: &Store, node: &str, number: u64, items: &[BudgetItem]) -> Vec<BudgetState> {
    store.budget_turn(node, number, None, items).await.unwrap()
}

async fn a_turn_is_taken_once(on: Database) {
    let store = &on.fresh().await.store;
    store.enter_budget_node("n1", "one", 17, "0.5").await.unwrap();
    let again = store.enter_budget_node("n1", "one", 17, "0.5").await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    let first = turn(store, "n1", 1, &[item("b", ask(300)), item("a", ask(100))]).await;
    assert_eq!((first[0].lease, first[1].lease), (300, 100), "answers stand in the order of the items");
    let items = [item("b", Turn { charge: 120, back: 30, ..ask(0) })];
    let second = store.budget_turn("n1", 2, Some("20261122-00ab-1f.7"), &items).await.unwrap();
    assert_eq!(second[0].totals, Totals { spent: 120, leased: 150, lost: 0 });
    assert_eq!(second[0].lease, 150);
    for _ in 0..2 {
        assert_eq!(store.budget_turn("n1", 2, Some("20261122-00ab-1f.9"), &items).await.unwrap(), second);
    }
    let node = store.budget_node("n1").await.unwrap().unwrap();
    assert_eq!((node.writer, node.place.as_str(), node.turn), (17, "20261122-00ab-1f.7", 2));
    assert_eq!((node.name.as_str(), node.state), ("one", BudgetNodeState::Borrows));
    for wrong in [1, 4] {
        let refused = store.budget_turn("n1", wrong, None, &items).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    }
    let refused = store.budget_turn("nobody", 1, None, &items).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert_eq!(turn(store, "n1", 3, &items[..0]).await, []);
    let last = BudgetItem { unlogged: 5, ..item("b", Turn { charge: 5, back: 145, ..ask(0) }) };
    let rest = turn(store, "n1", 4, &[last]).await;
    assert_eq!(rest[0].totals, Totals { spent: 125, leased: 0, lost: 0 });
    let known = store.budget_windows(START).await.unwrap();
    assert_eq!(
        known.iter().map(|w| (w.budget.as_str(), w.unlogged, w.leases.len())).collect::<Vec<_>>(),
        [("a", 0, 1), ("b", 5, 0)]
    );
}

async fn many_nodes_never_borrow_more_than_the_limit(on: Database) {
    let fresh = on.fresh().await;
    let mut borrowed = Vec::new();
    for node in 0..8 {
        let store = fresh.store.clone();
        borrowed.push(tokio::spawn(async move {
            let name = format!("n{node}");
            store.enter_budget_node(&name, &name, 1, "0.0").await.unwrap();
            let (mut lease, mut spent) = (0, 0);
            for number in 1..=20 {
                let charge = lease / 2;
                let turn = Turn { charge, ahead: 50, ..ask(7) };
                let items = [item("a", turn), item("b", Turn { charge: 0, ..turn })];
                lease = store.budget_turn(&name, number, None, &items).await.unwrap()[0].lease;
                spent += charge;
            }
            (lease, spent)
        }));
    }
    let (mut leased, mut spent) = (0, 0);
    for node in borrowed {
        let (lease, cost) = node.await.unwrap();
        leased += lease;
        spent += cost;
    }
    for window in fresh.store.budget_windows(START).await.unwrap() {
        let Totals { spent, leased, lost } = window.totals;
        assert!(spent + leased + lost <= 1000, "{window:?}");
        assert_eq!(window.leases.iter().map(|(_, amount)| amount).sum::<i64>(), leased, "{window:?}");
    }
    let of_a = &fresh.store.budget_windows(START).await.unwrap()[0];
    assert_eq!(of_a.totals, Totals { spent, leased, lost: 0 });
    assert!(spent + leased > 990, "nearly all of it was lent: {of_a:?}");
}

async fn a_node_that_ended_is_settled_once(on: Database) {
    let store = &on.fresh().await.store;
    store.enter_budget_node("n1", "one", 17, "0.5").await.unwrap();
    turn(store, "n1", 1, &[item("a", ask(300)), item("b", ask(100)), item("c", ask(50))]).await;
    // Of `a` a part is in the log, of `b` more than it had, of `d` it had nothing.
    let charges = [("a", 70), ("b", 130), ("d", 9), ("a", 10)].map(|(b, n)| (b.to_owned(), START, n));
    let lost = |settled: &[BudgetSettled]| settled.iter().map(|s| (s.budget.clone(), s.lost)).collect::<Vec<_>>();
    let settled = store.end_budget_node("n1", KNOWN, &charges, BudgetEnd::Settled).await.unwrap();
    assert_eq!(lost(&settled), [("a", 220), ("b", 0), ("c", 50), ("d", 0)].map(|(b, n)| (b.to_owned(), n)));
    assert_eq!(settled[0].state.totals, Totals { spent: 80, leased: 0, lost: 220 });
    let again = store.end_budget_node("n1", KNOWN, &charges, BudgetEnd::Settled).await.unwrap();
    assert_eq!(again, [], "once");
    let known = store.budget_windows(START).await.unwrap();
    let totals: Vec<_> = known.iter().map(|w| (w.budget.as_str(), w.totals)).collect();
    let of = |spent, lost| Totals { spent, leased: 0, lost };
    assert_eq!(totals, [("a", of(80, 220)), ("b", of(130, 0)), ("c", of(0, 50)), ("d", of(9, 0))]);
    assert!(known.iter().all(|w| w.leases.is_empty()));
    let gone = store.budget_turn("n1", 2, None, &[]).await;
    assert!(matches!(gone, Err(StoreError::Conflict(_))), "{gone:?}");
}

/// The name, the writer and the place of a process.
const KNOWN: (&str, u32, &str) = ("one", 17, "0.5");

async fn a_node_is_settled_whether_it_was_entered_or_given_up(on: Database) {
    let store = &on.fresh().await.store;
    let end = async |node: &str, charge: i64, how| {
        let charges: Vec<_> = (charge > 0).then(|| ("a".to_owned(), START, charge)).into_iter().collect();
        store.end_budget_node(node, KNOWN, &charges, how).await.unwrap();
        store.budget_windows(START).await.unwrap().first().map(|w| w.totals)
    };
    let of = |spent, lost| Some(Totals { spent, leased: 0, lost });
    // One whose database was away all its life.
    assert_eq!(end("n1", 70, BudgetEnd::Settled).await, of(70, 0));
    assert_eq!(end("n1", 70, BudgetEnd::Settled).await, of(70, 0), "once");
    assert_eq!(store.budget_node("n1").await.unwrap().unwrap().state, BudgetNodeState::Settled);
    // One that was silent for so long that it was given up, and whose log came back.
    store.enter_budget_node("n2", "two", 18, "0.5").await.unwrap();
    turn(store, "n2", 1, &[item("a", ask(300))]).await;
    assert_eq!(store.silent_budget_nodes(Duration::from_secs(3600)).await.unwrap(), Vec::<String>::new());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(store.silent_budget_nodes(Duration::ZERO).await.unwrap(), ["n2"]);
    assert_eq!(end("n2", 0, BudgetEnd::GivenUp).await, of(70, 300));
    assert_eq!(end("n2", 0, BudgetEnd::GivenUp).await, of(70, 300), "once");
    assert_eq!(store.silent_budget_nodes(Duration::ZERO).await.unwrap(), Vec::<String>::new());
    let late = store.budget_turn("n2", 2, None, &[]).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
    assert_eq!(end("n2", 40, BudgetEnd::Settled).await, of(110, 300));
    assert_eq!(end("n2", 40, BudgetEnd::Settled).await, of(110, 300), "once");
    // An hour that nobody knew the end of ends with the hour.
    let charges = [("applications/x/hour".to_owned(), START, 1)];
    let settled = store.end_budget_node("n3", KNOWN, &charges, BudgetEnd::Settled).await.unwrap();
    assert_eq!(settled[0].ends, START.plus(Period::from_secs(3600)));
}

async fn a_node_begins_anew_with_nothing_borrowed(on: Database) {
    let store = &on.fresh().await.store;
    store.enter_budget_node("n1", "one", 17, "0.5").await.unwrap();
    turn(store, "n1", 1, &[item("a", ask(300))]).await;
    // What the database forgot was charged once more; the answer was lost, and it is said again.
    for charge in [Some(50), None] {
        let charges: Vec<_> = charge.map(|n| ("a".to_owned(), START, n)).into_iter().collect();
        store.end_budget_node("n1", ("one", 17, "20261122-00ab-11.7"), &charges, BudgetEnd::Anew).await.unwrap();
        let node = store.budget_node("n1").await.unwrap().unwrap();
        assert_eq!((node.turn, node.place.as_str(), node.state), (0, "20261122-00ab-11.7", BudgetNodeState::Borrows));
        let totals = store.budget_windows(START).await.unwrap()[0].totals;
        assert_eq!(totals, Totals { spent: 50, leased: 0, lost: 250 });
    }
    assert_eq!(turn(store, "n1", 1, &[item("a", ask(30))]).await[0].lease, 30);
    // One that was settled by another is not charged again.
    store.end_budget_node("n1", KNOWN, &[], BudgetEnd::Settled).await.unwrap();
    let charges = [("a".to_owned(), START, 9)];
    store.end_budget_node("n1", KNOWN, &charges, BudgetEnd::Anew).await.unwrap();
    let totals = store.budget_windows(START).await.unwrap()[0].totals;
    assert_eq!(totals, Totals { spent: 50, leased: 0, lost: 280 });
}

/// Passes bytes on to a server, each piece from the client late.
async fn slow(to: String, by: Duration) -> std::io::Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(&to).await else { return };
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            tokio::spawn(async move {
                let mut piece = vec![0; 1 << 16];
                while let Ok(n @ 1..) = from_client.read(&mut piece).await {
                    tokio::time::sleep(by).await;
                    if to_server.write_all(&piece[..n]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

async fn a_turn_of_many_windows_is_a_few_statements(on: Database) {
    let fresh = on.fresh().await;
    let near = &fresh.store;
    near.enter_budget_node("n1", "one", 17, "0.5").await.unwrap();
    // With five questions for each window this would take 100 seconds of waiting alone.
    let far = match on {
        Database::Sqlite => near.clone(),
        Database::Postgres => {
            let (before, after) = fresh.url.split_once('@').unwrap();
            let (server, path) = after.split_once('/').unwrap();
            let address = slow(server.to_owned(), Duration::from_millis(10)).await.unwrap();
            Store::connect(&format!("{before}@{address}/{path}")).await.unwrap()
        }
    };
    let items = |turn: Turn| (0..2000).map(|n| item(&format!("b{n:04}"), turn)).rev().collect::<Vec<_>>();
    let taken = async |number, items: Vec<BudgetItem>| {
        let asked = far.budget_turn("n1", number, None, &items);
        tokio::time::timeout(Duration::from_secs(50), asked).await.expect("a few round trips").unwrap()
    };
    let lent = taken(1, items(ask(100))).await;
    assert!(lent.len() == 2000 && lent.iter().all(|state| state.lease == 100));
    let spent = taken(2, items(Turn { charge: 60, back: 40, ..ask(0) })).await;
    assert!(spent.iter().all(|state| state.totals == Totals { spent: 60, leased: 0, lost: 0 }));
    let known = near.budget_windows(START).await.unwrap();
    assert!(known.len() == 2000 && known.iter().all(|window| window.totals.spent == 60 && window.leases.is_empty()));
}

async fn sums_end_at_the_largest_number(on: Database) {
    let store = &on.fresh().await.store;
    store.enter_budget_node("n1", "one", 17, "0.5").await.unwrap();
    for number in 1..=3 {
        let absurd = BudgetItem { unlogged: i64::MAX, ..item("a", Turn { charge: i64::MAX, ..ask(0) }) };
        let state = turn(store, "n1", number, &[absurd]).await[0];
        assert_eq!(state.totals, Totals { spent: i64::MAX, leased: 0, lost: 0 });
    }
    let known = store.budget_windows(START).await.unwrap();
    assert_eq!((known[0].totals.spent, known[0].unlogged), (i64::MAX, i64::MAX));
}

async fn it_is_told_once_that_a_budget_runs_out(on: Database) {
    let store = &on.fresh().await.store;
    store.enter_budget_node("n1", "one", 1, "0.0").await.unwrap();
    turn(store, "n1", 1, &[item("a", Turn { charge: 900, ..ask(0) })]).await;
    for (percent, first) in [(80, true), (80, false), (100, true), (80, false)] {
        let mut tx = store.begin(&admin()).await.unwrap();
        assert_eq!(tx.warn_of_budget("a", START, percent).await.unwrap(), first, "{percent}");
        tx.audit("budget.warn", "applications/a", json!({}));
        tx.commit().await.unwrap();
    }
    assert_eq!(turn(store, "n1", 2, &[item("a", ask(0))]).await[0].warned, 100);
}

/// Of a budget that rolls.
fn rolls(budget: &str, turn: Turn) -> BudgetItem {
    let BudgetWindow { start: started, end: ends } = BudgetWindow::ALWAYS;
    BudgetItem { budget: budget.into(), started, ends, turn, unlogged: 0 }
}

/// This machine's clock, which is the database's.
fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

async fn what_rolls_counts_until_it_is_a_window_ago(on: Database) {
    let store = &on.fresh().await.store;
    let before = now();
    store.enter_budget_node("n1", "one", 1, "0.0").await.unwrap();
    let long = turn(store, "n1", 1, &[rolls("keys/k/30d", ask(300)), item("a", ask(5))]).await;
    assert_eq!((long[0].lease, long[0].frees), (300, BudgetWindow::ALWAYS.end), "nothing is spent");
    let charge = Turn { charge: 120, back: 30, ..ask(0) };
    let unlogged = BudgetItem { unlogged: 7, ..rolls("keys/k/30d", charge) };
    let spent = turn(store, "n1", 2, std::slice::from_ref(&unlogged)).await[0];
    assert_eq!((spent.lease, spent.totals), (150, Totals { spent: 120, leased: 150, lost: 0 }));
    let (day, month) = (Period::from_secs(86_400), Period::from_secs(30 * 86_400));
    assert!((before.plus(month)..before.plus(month).plus(day).plus(day)).contains(&spent.frees), "{}", spent.frees);
    // The same number once more changes nothing.
    assert_eq!(turn(store, "n1", 2, &[unlogged]).await[0], spent);
    let more = turn(store, "n1", 3, &[rolls("keys/k/30d", Turn { charge: 1, ..ask(0) })]).await[0];
    assert_eq!(more.totals, Totals { spent: 121, leased: 149, lost: 0 });
    // Whoever names it without knowing how long it is changes nothing of it.
    let short = BudgetItem { ends: Timestamp::from_secs(9), ..rolls("keys/k/30d", Turn { charge: 1, ..ask(0) }) };
    assert_eq!(turn(store, "n1", 4, &[short]).await[0].totals.spent, 122);
    let known = store.budget_windows(before).await.unwrap();
    assert_eq!((known[0].totals, known[0].unlogged), (Totals { spent: 122, leased: 148, lost: 0 }, 7));
    assert_eq!((known[0].ends, known[0].leases.as_slice()), (spent.frees, &[("one".to_owned(), 148)][..]));
    let then = store.budget_windows(spent.frees.plus(month)).await.unwrap();
    assert_eq!((then[0].totals.spent, then[0].totals.leased, then[0].ends), (0, 148, BudgetWindow::ALWAYS.end));
    // One of a second, until what was spent is free again, by the database's own clock.
    let brief = turn(store, "n1", 5, &[rolls("keys/k/1s", Turn { charge: 1000, ..ask(0) })]).await[0];
    assert_eq!(brief.totals.spent, 1000);
    let mut number = 5;
    loop {
        number += 1;
        let state = turn(store, "n1", number, &[rolls("keys/k/1s", ask(500))]).await[0];
        if state.totals.spent == 0 {
            assert!(now() >= brief.frees, "not before all of it is a window ago");
            assert_eq!(state.lease, 500);
            break;
        }
        assert_eq!((state.lease, state.totals.spent), (0, 1000));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What counts nothing and of which nothing is borrowed is forgotten, all else stays.
    turn(store, "n1", number + 1, &[rolls("keys/k/1s", Turn { back: 500, ..ask(0) })]).await;
    store.forget_budget_windows(START).await.unwrap();
    let names = store.budget_windows(START).await.unwrap();
    assert_eq!(names.iter().map(|w| w.budget.as_str()).collect::<Vec<_>>(), ["a", "keys/k/30d"]);
}

async fn many_nodes_never_spend_more_in_a_window_that_rolls(on: Database) {
    let fresh = on.fresh().await;
    let mut spending = Vec::new();
    for node in 0..6 {
        let store = fresh.store.clone();
        spending.push(tokio::spawn(async move {
            let name = format!("n{node}");
            store.enter_budget_node(&name, &name, 1, "0.0").await.unwrap();
            let (mut lease, mut spent) = (0, Vec::new());
            for number in 1..=40 {
                let charge = lease;
                // Paid at some moment between the two.
                let from = std::time::Instant::now();
                let turn = Turn { charge, ahead: 50, ..ask(20) };
                let items = [rolls("keys/k/1s", turn), rolls("keys/l/1d", Turn { charge: 0, ..turn })];
                let state = store.budget_turn(&name, number, None, &items).await.unwrap()[0];
                let totals = state.totals;
                assert!(totals.spent + totals.leased + totals.lost <= 1000, "{state:?}");
                lease = state.lease;
                spent.push((from, std::time::Instant::now(), charge));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            spent
        }));
    }
    let mut all = Vec::new();
    for node in spending {
        all.extend(node.await.unwrap());
    }
    assert!(all.iter().map(|(.., charge)| charge).sum::<i64>() > 900, "nearly all of one window at least");
    // In no second was more charged: what was certainly charged within it.
    for (from, ..) in &all {
        let end = *from + Duration::from_secs(1);
        let within: i64 = all.iter().filter(|(f, to, _)| f >= from && *to <= end).map(|(.., charge)| charge).sum();
        assert!(within <= 1000, "{within} in one second");
    }
}

async fn of_what_rolls_a_node_that_ended_is_settled_and_it_is_told_once(on: Database) {
    let store = &on.fresh().await.store;
    store.enter_budget_node("n1", "one", 17, "0.5").await.unwrap();
    let mut tx = store.begin(&admin()).await.unwrap();
    let always = BudgetWindow::ALWAYS.start;
    assert!(!tx.warn_of_budget("keys/k/30d", always, 80).await.unwrap(), "of nothing there is nothing to tell");
    drop(tx);
    turn(store, "n1", 1, &[rolls("keys/k/30d", ask(300))]).await;
    let charges = [("keys/k/30d".to_owned(), always, 70), ("keys/l/1d".to_owned(), always, 9)];
    let settled = store.end_budget_node("n1", KNOWN, &charges, BudgetEnd::Settled).await.unwrap();
    let lost: Vec<_> = settled.iter().map(|s| (s.budget.as_str(), s.lost, s.state.totals)).collect();
    let of = |spent, lost| Totals { spent, leased: 0, lost };
    assert_eq!(lost, [("keys/k/30d", 230, of(70, 230)), ("keys/l/1d", 0, of(9, 0))]);
    assert_eq!(store.end_budget_node("n1", KNOWN, &charges, BudgetEnd::Settled).await.unwrap(), []);
    let known = store.budget_windows(now()).await.unwrap();
    assert_eq!(known.iter().map(|w| w.totals).collect::<Vec<_>>(), [of(70, 230), of(9, 0)]);
    for (percent, first) in [(80, true), (80, false), (100, true), (80, false)] {
        let mut tx = store.begin(&admin()).await.unwrap();
        assert_eq!(tx.warn_of_budget("keys/k/30d", always, percent).await.unwrap(), first, "{percent}");
        tx.audit("budget.warn", "keys/k", json!({}));
        tx.commit().await.unwrap();
    }
    store.enter_budget_node("n2", "two", 18, "0.5").await.unwrap();
    let state = turn(store, "n2", 1, &[rolls("keys/k/30d", ask(0))]).await[0];
    assert_eq!((state.warned, state.totals), (100, of(70, 230)), "a warning charges nothing");
}

async fn windows_are_listed_and_forgotten(on: Database) {
    let store = &on.fresh().await.store;
    store.enter_budget_node("n1", "one", 1, "0.0").await.unwrap();
    turn(store, "n1", 1, &[item("a", Turn { charge: 1, ..ask(0) }), item("b", ask(5))]).await;
    let end = START.plus(Period::from_secs(3600));
    assert_eq!(store.budget_windows(end).await.unwrap(), [], "the window is over");
    assert_eq!(store.forget_budget_windows(end).await.unwrap(), 0);
    let later = end.plus(Period::from_secs(1));
    assert_eq!(store.budget_windows(START).await.unwrap()[1].leases, [("one".to_owned(), 5)]);
    assert_eq!(store.forget_budget_windows(later).await.unwrap(), 2, "with what is borrowed of them");
    assert_eq!(store.budget_windows(START).await.unwrap(), []);
    assert_eq!(turn(store, "n1", 2, &[item("b", ask(0))]).await[0].lease, 0);
    // Processes that have ended are forgotten as well, others not.
    store.end_budget_node("n2", KNOWN, &[], BudgetEnd::Settled).await.unwrap();
    store.forget_budget_windows(Timestamp::from_micros(i64::MAX)).await.unwrap();
    assert_eq!(store.budget_node("n2").await.unwrap(), None);
    assert!(store.budget_node("n1").await.unwrap().is_some());
}
