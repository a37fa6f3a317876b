//! The door: what is written together, what is refused, and how writers stand in line.

use crate::{Database, admin, name, on_both};
use credentialflow_model::resource::Kind;
use credentialflow_store::{ChangeKind, Expect, Store, StoreError, audit};
use serde_json::json;

on_both!(
    migrating_twice_changes_nothing,
    an_interrupted_migration_leaves_nothing_behind,
    a_newer_database_is_refused,
    a_commit_without_audit_event_is_refused,
    a_dropped_transaction_leaves_nothing,
    revisions_guard_edits,
    many_resources_in_one_transaction,
    concurrent_writers_keep_the_chain_whole,
    readers_see_the_feed_without_gaps,
    subscribers_hear_of_commits,
);

async fn migrating_twice_changes_nothing(db: Database) {
    let f = db.empty().await;
    let (a, b) = (Store::connect(&f.url).await.unwrap(), Store::connect(&f.url).await.unwrap());
    let (first, second) = tokio::join!(a.migrate(), b.migrate());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.applied + second.applied, first.version as usize);
    assert_eq!(f.store.migrate().await.unwrap().applied, 0);
    assert_eq!(f.store.latest_change().await.unwrap(), 0);
}

async fn an_interrupted_migration_leaves_nothing_behind(db: Database) {
    let f = db.empty().await;
    // The second migration makes `resources`, `settings`, then fails at this table in its way.
    f.raw("CREATE TABLE idempotency (x BIGINT)").await;
    f.store.migrate().await.unwrap_err();
    // Half of it would now be in the way itself.
    f.raw("CREATE TABLE resources (x BIGINT); DROP TABLE resources; DROP TABLE idempotency").await;
    let report = f.store.migrate().await.unwrap();
    assert_eq!(report.applied as i64, report.version - 1, "all but the first");
    assert_eq!(f.store.migrate().await.unwrap().applied, 0);
}

async fn a_newer_database_is_refused(db: Database) {
    let f = db.fresh().await;
    f.raw("INSERT INTO migrations (number, name) VALUES (9999, 'future')").await;
    assert!(matches!(f.store.migrate().await, Err(StoreError::Other(_))));
}

async fn a_commit_without_audit_event_is_refused(db: Database) {
    let f = db.fresh().await;
    let mut tx = f.store.begin(&admin()).await.unwrap();
    tx.put_resource(Kind::Teams, &name("a"), "{}", Expect::Anything).await.unwrap();
    assert!(matches!(tx.commit().await, Err(StoreError::NotAudited)));
    assert_eq!(f.store.resource(Kind::Teams, "a").await.unwrap(), None);
    assert_eq!(f.store.latest_change().await.unwrap(), 0);
}

async fn a_dropped_transaction_leaves_nothing(db: Database) {
    let f = db.fresh().await;
    for _ in 0..10 {
        let mut tx = f.store.begin(&admin()).await.unwrap();
        tx.put_resource(Kind::Teams, &name("a"), "{}", Expect::Anything).await.unwrap();
        tx.audit("team.put", "teams/a", json!({}));
        drop(tx);
    }
    assert_eq!(f.store.resource(Kind::Teams, "a").await.unwrap(), None);
    put(&f.store, "b").await;
    let seqs: Vec<_> = f.store.changes_since(0, 10).await.unwrap().iter().map(|c| c.seq).collect();
    assert_eq!(seqs, [1], "a dropped transaction takes no number");
    assert_eq!(audit::verify(&f.store, None).await.unwrap().events, 1);
}

async fn revisions_guard_edits(db: Database) {
    let f = db.fresh().await;
    let team = name("payments");
    let mut tx = f.store.begin(&admin()).await.unwrap();
    let first = tx.put_resource(Kind::Teams, &team, r#"{"v":1}"#, Expect::Absent).await.unwrap();
    assert!(matches!(tx.put_resource(Kind::Teams, &team, "{}", Expect::Absent).await, Err(StoreError::Conflict(_))));
    assert!(matches!(
        tx.put_resource(Kind::Teams, &name("none"), "{}", Expect::Revision(1)).await,
        Err(StoreError::NotFound(_))
    ));
    let second = tx.put_resource(Kind::Teams, &team, r#"{"v":2}"#, Expect::Revision(first)).await.unwrap();
    assert!(second > first);
    assert!(matches!(
        tx.put_resource(Kind::Teams, &team, "{}", Expect::Revision(first)).await,
        Err(StoreError::Conflict(_))
    ));
    tx.audit("team.put", "teams/payments", json!({ "v": 2 }));
    tx.commit().await.unwrap();
    let row = f.store.resource(Kind::Teams, "payments").await.unwrap().unwrap();
    assert_eq!((row.body.as_str(), row.revision), (r#"{"v":2}"#, second));

    let mut tx = f.store.begin(&admin()).await.unwrap();
    assert!(matches!(
        tx.delete_resource(Kind::Teams, "payments", Expect::Revision(first)).await,
        Err(StoreError::Conflict(_))
    ));
    tx.delete_resource(Kind::Teams, "payments", Expect::Revision(second)).await.unwrap();
    assert!(matches!(
        tx.delete_resource(Kind::Teams, "payments", Expect::Anything).await,
        Err(StoreError::NotFound(_))
    ));
    let third = tx.put_resource(Kind::Teams, &team, "{}", Expect::Absent).await.unwrap();
    assert!(third > second, "a resource made again never shows an old revision");
    tx.audit("team.put", "teams/payments", json!({}));
    tx.commit().await.unwrap();
}

async fn many_resources_in_one_transaction(db: Database) {
    let f = db.fresh().await;
    let all: Vec<_> =
        (0..10_000).map(|i| (Kind::Routes, name(&format!("r{i:05}")), format!(r#"{{"name":"r{i:05}"}}"#))).collect();
    let mut tx = f.store.begin(&admin()).await.unwrap();
    tx.put_resources(&all).await.unwrap();
    tx.audit("config.apply", "config/all", json!({ "routes": all.len() }));
    assert_eq!(tx.commit().await.unwrap(), 10_000);
    let loaded = f.store.resources(Kind::Routes).await.unwrap();
    assert_eq!(loaded.len(), 10_000);
    assert_eq!(loaded[4321].body, all[4321].2);
    assert_eq!(f.store.count_resources(Kind::Routes).await.unwrap(), 10_000);
    let page = f.store.resources_page(Kind::Routes, Some("r00998"), Some("R009"), 5).await.unwrap();
    assert_eq!(page.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["r00999"]);
    assert_eq!(f.store.resources_page(Kind::Routes, None, Some("_"), 5).await.unwrap(), []);
    let mut tx = f.store.begin(&admin()).await.unwrap();
    let gone: Vec<_> = all[..9_000].iter().map(|(k, n, _)| (*k, n.to_string())).collect();
    assert_eq!(tx.delete_resources(&gone).await.unwrap(), 9_000);
    tx.audit("config.apply", "config/all", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(f.store.count_resources(Kind::Routes).await.unwrap(), 1_000);
}

async fn concurrent_writers_keep_the_chain_whole(db: Database) {
    let f = db.fresh().await;
    // Two stores as two nodes, several tasks each.
    let other = Store::connect(&f.url).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|t| {
            let store = if t % 2 == 0 { f.store.clone() } else { other.clone() };
            tokio::spawn(async move {
                for i in 0..15 {
                    put(&store, &format!("t{t}-{i}")).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let report = audit::verify(&f.store, None).await.unwrap();
    assert_eq!(report.events, 120);
    let seqs: Vec<_> = f.store.changes_since(0, 1000).await.unwrap().iter().map(|c| c.seq).collect();
    assert_eq!(seqs, (1..=120).collect::<Vec<_>>());
}

async fn readers_see_the_feed_without_gaps(db: Database) {
    let f = db.fresh().await;
    let other = Store::connect(&f.url).await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|t| {
            let store = if t % 2 == 0 { f.store.clone() } else { other.clone() };
            tokio::spawn(async move {
                for i in 0..20 {
                    put(&store, &format!("w{t}-{i}")).await;
                }
            })
        })
        .collect();
    let mut seen = 0;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(180);
    while seen < 80 {
        assert!(tokio::time::Instant::now() < deadline, "the feed stopped at {seen}");
        for change in f.store.changes_since(seen, 7).await.unwrap() {
            assert_eq!(change.seq, seen + 1, "a number appeared after a larger one");
            assert_eq!(change.kind, ChangeKind::Resource(Kind::Teams));
            seen = change.seq;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn subscribers_hear_of_commits(db: Database) {
    let f = db.fresh().await;
    let mut heard = f.store.subscribe();
    put(&f.store, "a").await;
    tokio::time::timeout(std::time::Duration::from_secs(60), heard.changed()).await.unwrap().unwrap();
    assert_eq!(*heard.borrow_and_update(), 1);
}

pub(crate) async fn put(store: &Store, team: &str) {
    let mut tx = store.begin(&admin()).await.unwrap();
    tx.put_resource(Kind::Teams, &name(team), "{}", Expect::Absent).await.unwrap();
    tx.audit("team.create", &format!("teams/{team}"), json!({ "name": team }));
    tx.commit().await.unwrap();
}
