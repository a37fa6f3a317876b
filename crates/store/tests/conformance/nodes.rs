//! Processes tell of themselves, of rotations, and take turns at a lease.

use crate::{Database, admin, name};
use credentialflow_model::{Timestamp, lifecycle::RotationStep};
use credentialflow_store::{NodeReport, NodeTraffic, RotationRow, Store, StoreError};
use std::time::Duration;

crate::on_both!(
    nodes_are_entered_renewed_and_forgotten,
    silence_is_measured_by_the_database,
    a_lease_has_one_holder_at_a_time,
    traffic_belongs_to_an_unfinished_rotation_and_to_its_node,
    the_chain_tells_its_hash_at_a_place,
    the_feed_tells_in_one_read_whether_a_place_is_of_its_history,
);

fn node(id: &str) -> NodeReport {
    NodeReport {
        id: id.into(),
        name: format!("host-{id}"),
        started: Timestamp::from_secs(7),
        enforced: 3,
        mark: None,
        workers: 2,
        serves: true,
        leaving: false,
    }
}

async fn nodes_are_entered_renewed_and_forgotten(on: Database) {
    let fresh = on.fresh().await;
    assert_eq!(fresh.store.is_shared(), on == Database::Postgres);
    fresh.store.report_node(&node("b")).await.unwrap();
    fresh.store.report_node(&node("a")).await.unwrap();
    let changed = NodeReport { enforced: 9, mark: Some((4, [7; 32])), leaving: true, workers: 4, ..node("a") };
    fresh.store.report_node(&changed).await.unwrap();
    let known = fresh.store.nodes().await.unwrap();
    assert_eq!(known.iter().map(|n| n.report.clone()).collect::<Vec<_>>(), [changed, node("b")]);
    assert!(known.iter().all(|n| n.silent < Duration::from_secs(30)), "{known:?}");
    fresh.store.forget_node("a").await.unwrap();
    fresh.store.forget_node("nobody").await.unwrap();
    assert_eq!(fresh.store.nodes().await.unwrap().len(), 1);
}

async fn the_feed_tells_in_one_read_whether_a_place_is_of_its_history(on: Database) {
    let fresh = on.fresh().await;
    let store = &fresh.store;
    let empty = store.follow_changes(0, 0, 10).await.unwrap();
    assert_eq!((empty.changes.len(), empty.head, empty.known), (0, (0, [0; 32]), None));
    for n in 0..3 {
        let mut tx = store.begin(&admin()).await.unwrap();
        tx.put_setting(&format!("s{n}"), b"value").await.unwrap();
        tx.audit("test", "settings", serde_json::json!({}));
        tx.commit().await.unwrap();
    }
    let head = store.audit_head().await.unwrap();
    let (last, place) = store.latest_place().await.unwrap();
    assert_eq!((last, place), (store.latest_change().await.unwrap(), head));
    let followed = store.follow_changes(1, 2, 10).await.unwrap();
    assert_eq!(followed.changes, store.changes_since(1, 10).await.unwrap());
    assert_eq!((followed.changes.len(), followed.head), (2, head));
    assert!(followed.known.is_some() && followed.known == store.audit_hash(2).await.unwrap());
    assert_eq!(store.follow_changes(0, 2, 1).await.unwrap().changes.len(), 1);
    let ahead = store.follow_changes(last, 99, 10).await.unwrap();
    assert_eq!((ahead.changes.len(), ahead.head, ahead.known), (0, head, None));
}

async fn silence_is_measured_by_the_database(on: Database) {
    let fresh = on.fresh().await;
    for id in ["a", "b", "c"] {
        fresh.store.report_node(&node(id)).await.unwrap();
    }
    fresh.raw("UPDATE nodes SET heartbeat = heartbeat - 60000000 WHERE id <> 'c'").await;
    let silent: Vec<bool> =
        fresh.store.nodes().await.unwrap().iter().map(|n| n.silent >= Duration::from_secs(60)).collect();
    assert_eq!(silent, [true, true, false]);
    let forget = Duration::from_secs(50);
    assert_eq!(fresh.store.forget_silent_nodes(Duration::from_secs(600)).await.unwrap(), 0);
    assert_eq!(fresh.store.forget_silent_nodes(forget).await.unwrap(), 2);
    assert_eq!(fresh.store.nodes().await.unwrap()[0].report, node("c"));
}

async fn a_lease_has_one_holder_at_a_time(on: Database) {
    let fresh = on.fresh().await;
    let store = &fresh.store;
    let long = Duration::from_secs(600);
    assert_eq!(store.lease_holder("jobs").await.unwrap(), None);
    assert!(store.take_lease("jobs", "a", long).await.unwrap());
    assert!(!store.take_lease("jobs", "b", long).await.unwrap(), "a has it");
    assert!(store.take_lease("jobs", "a", long).await.unwrap(), "and may prolong it");
    assert!(store.take_lease("other", "b", long).await.unwrap(), "another lease is another matter");
    store.release_lease("jobs", "b").await.unwrap();
    assert_eq!(store.lease_holder("jobs").await.unwrap().as_deref(), Some("a"), "only the holder gives it back");
    fresh.raw("UPDATE node_leases SET ends = ends - 601000000 WHERE name = 'jobs'").await;
    assert_eq!(store.lease_holder("jobs").await.unwrap(), None, "it has run out");
    assert!(store.take_lease("jobs", "b", long).await.unwrap());
    assert!(!store.take_lease("jobs", "a", long).await.unwrap());
    store.release_lease("jobs", "b").await.unwrap();
    assert!(store.take_lease("jobs", "a", long).await.unwrap());
}

async fn rotation(store: &Store, id: &str, step: RotationStep) {
    let mut tx = store.begin(&admin()).await.unwrap();
    let row = RotationRow {
        id: id.into(),
        credential: name("token"),
        from_version: Some(1),
        to_version: Some(2),
        step,
        started: tx.now(),
        updated: tx.now(),
        deadline: None,
        detail: serde_json::json!({}),
        error: None,
        waiting: false,
        again: None,
    };
    match tx.rotation(id).await.unwrap() {
        None => tx.insert_rotation(&row).await.unwrap(),
        Some(_) => tx.update_rotation(&row).await.unwrap(),
    }
    tx.audit("test", "credentials/token", serde_json::json!({}));
    tx.commit().await.unwrap();
}

async fn traffic_belongs_to_an_unfinished_rotation_and_to_its_node(on: Database) {
    let fresh = on.fresh().await;
    let store = &fresh.store;
    let seen =
        NodeTraffic { version: 1, in_force: true, in_flight: 4, refused: 1, served: 30, stragglers: "[]".to_owned() };
    let refused = store.report_traffic("a", "r1", &seen).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "nobody speaks who is not there: {refused:?}");
    store.report_node(&node("a")).await.unwrap();
    store.report_node(&node("b")).await.unwrap();
    rotation(store, "r1", RotationStep::Drain).await;
    store.report_traffic("a", "r1", &seen).await.unwrap();
    let later = NodeTraffic { in_force: false, in_flight: 0, ..seen.clone() };
    store.report_traffic("a", "r1", &later).await.unwrap();
    store.report_traffic("b", "r1", &seen).await.unwrap();
    assert_eq!(store.traffic("token").await.unwrap(), [("a".to_owned(), later), ("b".to_owned(), seen.clone())]);
    assert!(store.traffic("other").await.unwrap().is_empty());
    store.forget_node("b").await.unwrap();
    assert_eq!(store.traffic("token").await.unwrap().len(), 1);

    // What was told of one rotation says nothing about the next one.
    rotation(store, "r1", RotationStep::Done).await;
    rotation(store, "r2", RotationStep::Promote).await;
    assert!(store.traffic("token").await.unwrap().is_empty());
    store.forget_silent_nodes(Duration::from_secs(600)).await.unwrap();
    rotation(store, "r2", RotationStep::Done).await;
    rotation(store, "r1", RotationStep::Drain).await;
    assert!(store.traffic("token").await.unwrap().is_empty(), "it was forgotten with the finished rotation");
}

async fn the_chain_tells_its_hash_at_a_place(on: Database) {
    let fresh = on.fresh().await;
    crate::writes::put(&fresh.store, "first").await;
    let (seq, hash) = fresh.store.audit_head().await.unwrap();
    crate::writes::put(&fresh.store, "second").await;
    assert_eq!(fresh.store.audit_hash(seq).await.unwrap(), Some(hash));
    assert_ne!(fresh.store.audit_hash(seq + 1).await.unwrap(), Some(hash));
    assert_eq!(fresh.store.audit_hash(seq + 2).await.unwrap(), None);
}
