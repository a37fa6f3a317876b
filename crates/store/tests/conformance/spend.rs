//! What calls cost: every piece of a call log is added once, and read apart by what was asked for.

use crate::{Database, on_both};
use credentialflow_model::Timestamp;
use credentialflow_store::{SpendColumn, SpendRow, StoreError};

on_both!(
    a_piece_is_added_once,
    sums_are_read_apart,
    sums_stay_exact_where_they_are_large,
    old_sums_are_forgotten,
    much_is_forgotten_in_pieces_and_a_series_in_use_stays,
);

const QUARTER: i64 = 900;

/// Of an application, a user and a model.
fn row(names: [&str; 3], calls: i64, cost: i128) -> SpendRow {
    let [application, user, model] = names;
    let names =
        [application, "key", user, model, "provider", "provider-model", "", "models", "sentiment", "3", "served"];
    let saved = 2 * cost;
    SpendRow { names: names.map(str::to_owned).to_vec(), counts: [calls, 0, 1, 10, 2, 3, 20, 4, 1], cost, saved }
}

fn at(quarter: i64) -> Timestamp {
    Timestamp::from_secs(quarter * QUARTER)
}

fn told(names: &[&str], counts: [i64; 9], cost: i128) -> SpendRow {
    let saved = 2 * cost;
    SpendRow { names: names.iter().map(|name| (*name).to_owned()).collect(), counts, cost, saved }
}

async fn a_piece_is_added_once(db: Database) {
    let f = db.fresh().await;
    let first = [(at(1), row(["shop", "", "m"], 1, 7)), (at(1), row(["shop", "ada", "m"], 2, 9))];
    f.store.add_spend("a", ("20261122-1-1", 0, 10), &first).await.unwrap();
    // The answer was lost, and the node tries again; or two processes read one log.
    let again = f.store.add_spend("a", ("20261122-1-1", 0, 12), &first).await.unwrap_err();
    assert!(matches!(again, StoreError::Conflict(_)), "{again}");
    f.store.add_spend("a", ("20261122-1-1", 10, 11), &[(at(1), row(["shop", "", "m"], 1, 5))]).await.unwrap();
    f.store.add_spend("a", ("20261122-1-1", 11, 30), &[]).await.unwrap();
    let read = f.store.spend_read(&["20261122-1-1".into(), "20261122-2-2".into()]).await.unwrap();
    assert_eq!(read.into_iter().collect::<Vec<_>>(), [("20261122-1-1".to_owned(), 30)]);
    let all = f.store.spend((at(0), at(9)), &[], &[], 10).await.unwrap();
    assert_eq!(all, [told(&[], [4, 0, 3, 30, 6, 9, 60, 12, 3], 21)]);
    let wrong = SpendRow { names: vec!["a".into()], ..SpendRow::default() };
    assert!(f.store.add_spend("a", ("20261122-3-3", 0, 1), &[(at(1), wrong)]).await.is_err());
    assert_eq!(f.store.spend_read(&["20261122-3-3".into()]).await.unwrap().len(), 0, "nothing of it is kept");
    let nodes = f.store.spend_nodes().await.unwrap();
    assert_eq!(nodes.iter().map(|n| n.node.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(nodes[0].told.secs() > 1_700_000_000);
}

async fn sums_are_read_apart(db: Database) {
    use SpendColumn::{Application, Key, Model, Node, Outcome, Prompt, PromptVersion, Provider, User};
    let f = db.fresh().await;
    let users: Vec<_> = (0..300).map(|n| (at(2), row(["shop", &format!("ü {n:03}"), "m"], 1, 1))).collect();
    f.store.add_spend("a", ("s-1", 0, 300), &users).await.unwrap();
    f.store.add_spend("b", ("s-2", 0, 1), &[(at(3), row(["shop", "ü 000", "large"], 1, 50))]).await.unwrap();
    f.store.add_spend("b", ("s-2", 1, 2), &[(at(3), row(["desk", "", "m"], 1, 8))]).await.unwrap();
    let mut by = f.store.spend((at(0), at(9)), &[Application, Model], &[], 10).await.unwrap();
    by.sort_by_key(|row| row.cost);
    let cost: Vec<_> = by.iter().map(|row| (row.names.join(" "), row.cost)).collect();
    assert_eq!(cost, [("desk m".into(), 8), ("shop large".into(), 50), ("shop m".into(), 300)]);
    let only = [(User, "ü 000".to_owned()), (Application, "shop".to_owned())];
    let mut of_user = f.store.spend((at(0), at(9)), &[Node, Provider, Key], &only, 10).await.unwrap();
    of_user.sort_by_key(|row| row.cost);
    assert_eq!(of_user[0].names, ["a", "provider", "key"]);
    assert_eq!(of_user.iter().map(|row| row.cost).collect::<Vec<_>>(), [1, 50]);
    assert_eq!(f.store.spend((at(0), at(9)), &[User], &[], 7).await.unwrap().len(), 7, "no more than asked for");
    let only = [(Prompt, "sentiment".to_owned())];
    let of_prompt = f.store.spend((at(0), at(9)), &[Prompt, PromptVersion, Outcome], &only, 10).await.unwrap();
    assert_eq!(of_prompt.iter().map(|row| row.names.join(" ")).collect::<Vec<_>>(), ["sentiment 3 served"]);
    assert_eq!(f.store.spend((at(0), at(9)), &[], &[(Prompt, "other".into())], 10).await.unwrap(), []);
    let until = f.store.spend((at(0), at(3)), &[], &[], 10).await.unwrap();
    assert_eq!(until[0].cost, 300, "the end is not within");
    assert_eq!(f.store.spend((at(4), at(9)), &[], &[], 10).await.unwrap(), []);
    assert_eq!(f.store.spend((at(4), at(9)), &[User], &[], 10).await.unwrap(), []);
}

async fn sums_stay_exact_where_they_are_large(db: Database) {
    let f = db.fresh().await;
    // Four million dollars and the smallest unit, ten thousand times.
    let large = 4_000_000_000_000_000_001i128;
    for n in 0..100 {
        let rows: Vec<_> = (0..100).map(|q| (at(q), row(["shop", "", "m"], 1, large))).collect();
        f.store.add_spend("a", ("s-1", n, n + 1), &rows).await.unwrap();
    }
    let all = f.store.spend((at(0), at(100)), &[], &[], 10).await.unwrap();
    assert_eq!(all[0].cost, large * 10_000);
}

async fn old_sums_are_forgotten(db: Database) {
    let f = db.fresh().await;
    let rows = [(at(1), row(["old", "", "m"], 1, 1)), (at(5), row(["new", "", "m"], 1, 2))];
    f.store.add_spend("a", ("s-1", 0, 2), &rows).await.unwrap();
    assert_eq!(f.store.forget_spend(at(5)).await.unwrap(), 1);
    let left = f.store.spend((at(0), at(9)), &[SpendColumn::Application], &[], 10).await.unwrap();
    assert_eq!(left.iter().map(|row| row.names[0].as_str()).collect::<Vec<_>>(), ["new"]);
    assert_eq!(f.store.spend_read(&["s-1".into()]).await.unwrap().len(), 1, "it was read a moment ago");
    assert_eq!(f.store.forget_spend(Timestamp::from_micros(i64::MAX)).await.unwrap(), 1);
    assert_eq!(f.store.spend_read(&["s-1".into()]).await.unwrap().len(), 0);
}

async fn much_is_forgotten_in_pieces_and_a_series_in_use_stays(db: Database) {
    let f = db.fresh().await;
    // More than one piece of sums and one of series.
    let user = |n: i64| format!("user {n}");
    let rows: Vec<_> = (0..4_500).map(|n| (at(n % 3), row(["shop", &user(n), "m"], 1, 1))).collect();
    f.store.add_spend("a", ("s-1", 0, 1), &rows).await.unwrap();
    // One of them called again; what is older arrives later, and its newest sums stay the newest.
    f.store.add_spend("a", ("s-1", 1, 2), &[(at(9), row(["shop", &user(7), "m"], 1, 30))]).await.unwrap();
    f.store.add_spend("a", ("s-1", 2, 3), &[(at(2), row(["shop", &user(7), "m"], 1, 30))]).await.unwrap();
    assert_eq!(f.store.forget_spend(at(9)).await.unwrap(), 4_501);
    let left = f.store.spend((at(0), at(99)), &[SpendColumn::User], &[], 9).await.unwrap();
    assert_eq!(left, [told(&["user 7"], [1, 0, 1, 10, 2, 3, 20, 4, 1], 30)]);
    // A series that was forgotten is one again.
    f.store.add_spend("a", ("s-1", 3, 4), &[(at(10), row(["shop", &user(8), "m"], 1, 2))]).await.unwrap();
    assert_eq!(f.store.spend((at(10), at(99)), &[SpendColumn::User], &[], 9).await.unwrap()[0].names, ["user 8"]);
    assert_eq!(f.store.forget_spend(at(99)).await.unwrap(), 2);
}
