//! Leaked secrets, and keys held to where they were used.

use crate::{Database, Fresh, admin, name};
use credentialflow_model::{
    KeyId, Period, Timestamp,
    leak::{LeakAction, LeakResponse},
    resource::Kind,
};
use credentialflow_store::{Change, ChangeKind, Expect, KeyRow, LeakRow, StoreError, WriteTx};
use serde_json::{Value, json};

crate::on_both!(
    leaks_are_found_by_secret_and_listed_newest_first,
    a_quarantine_stays_until_it_is_lifted,
    stored_rules_become_a_resource_that_names_what_is_there,
    a_change_of_tomorrow_is_passed_over,
);

fn leak(id: &str, subject: &str, secs: i64) -> LeakRow {
    let time = Timestamp::from_secs(secs);
    LeakRow { id: id.into(), subject: subject.into(), first_seen: time, updated: time, body: r#"{"ä":1}"#.into() }
}

async fn leaks_are_found_by_secret_and_listed_newest_first(on: Database) {
    let fresh = on.fresh().await;
    let rows = [leak("b", "key/1/1", 20), leak("c", "key/1/2", 20), leak("a", "credential/x/1", 10)];
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    for row in &rows {
        tx.put_leak(row).await.unwrap();
    }
    assert_eq!(tx.leak_of("key/1/2").await.unwrap().as_ref(), Some(&rows[1]));
    assert_eq!(tx.leak_of("key/1").await.unwrap(), None);
    assert_eq!(tx.leak("a").await.unwrap().as_ref(), Some(&rows[2]));
    let later = LeakRow { updated: Timestamp::from_secs(30), body: "{}".into(), ..rows[0].clone() };
    tx.put_leak(&later).await.unwrap();
    tx.audit("test.leak", "leaks/b", json!({}));
    tx.commit().await.unwrap();

    let all = fresh.store.leaks_before(None, 9).await.unwrap();
    assert_eq!(all, [later.clone(), rows[1].clone(), rows[2].clone()]);
    let page = fresh.store.leaks_before(Some((later.first_seen, "b")), 1).await.unwrap();
    assert_eq!(page, [rows[1].clone()]);
    assert_eq!(fresh.store.leak("b").await.unwrap(), Some(later));
    assert_eq!(fresh.store.leak("x").await.unwrap(), None);

    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    let since = async |tx: &mut WriteTx, subjects: &str, secs| {
        let found = tx.leaks_since(subjects, Timestamp::from_secs(secs)).await.unwrap();
        found.into_iter().map(|row| row.id).collect::<Vec<_>>().concat()
    };
    for (subjects, secs, expected) in
        [("key/1/", 0, 2), ("key/1/", 30, 1), ("key/1/", 31, 0), ("key/", 0, 2), ("key/1", 0, 2), ("key/2", 0, 0)]
    {
        assert_eq!(since(&mut tx, subjects, secs).await.len(), expected, "{subjects} {secs}");
    }
    assert!(matches!(tx.put_leak(&leak("d", "key/1/1", 40)).await, Err(StoreError::Conflict(_))), "one row a secret");
}

async fn a_quarantine_stays_until_it_is_lifted(on: Database) {
    let fresh = on.fresh().await;
    let key = KeyRow {
        id: KeyId::from_bits(7),
        name: name("k"),
        application: name("checkout"),
        created: Timestamp::from_secs(1),
        revoked_at: None,
        quarantine: None,
    };
    let text = r#"{"networks":["10.0.0.7/32"]}"#;
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    tx.insert_key(&key).await.unwrap();
    tx.quarantine_key(&key, Some(text)).await.unwrap();
    let stranger = KeyRow { id: KeyId::from_bits(8), ..key.clone() };
    assert!(matches!(tx.quarantine_key(&stranger, Some(text)).await, Err(StoreError::NotFound(_))));
    tx.audit("key.quarantine", "keys/k", json!({}));
    tx.commit().await.unwrap();
    let place = fresh.store.latest_change().await.unwrap();

    let held = KeyRow { quarantine: Some(text.to_owned()), ..key.clone() };
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    // Whoever changes the rest of a key leaves it alone.
    tx.update_key(&key).await.unwrap();
    assert_eq!(tx.key(key.id).await.unwrap(), Some(held.clone()));
    tx.audit("key.update", "keys/k", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(fresh.store.key_record("k").await.unwrap().unwrap().key, held);
    assert_eq!(fresh.store.keys_after(None, 5).await.unwrap()[0].key, held);

    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    tx.quarantine_key(&key, None).await.unwrap();
    tx.audit("key.release", "keys/k", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(fresh.store.key_by_name("k").await.unwrap(), Some(key));
    assert!(fresh.store.latest_change().await.unwrap() > place, "nodes are told of it");
}

/// The database as it was before the rules were a resource.
async fn back(fresh: &Fresh) {
    fresh.raw("DELETE FROM migrations WHERE number >= 17; DROP TABLE key_networks").await;
    fresh.raw("DROP TABLE key_secret_uses; DROP INDEX rotations_again").await;
    fresh.raw("DROP TABLE budget_leases; DROP TABLE budget_nodes; DROP TABLE budget_windows").await;
    fresh.raw("DROP TABLE budget_slots; DROP TABLE rule_uses; DROP TABLE model_objects").await;
    fresh.raw("DROP TABLE spend; DROP TABLE spend_series; DROP TABLE spend_logs").await;
    fresh.raw("DROP TABLE delegations").await;
    fresh.raw("DROP TABLE prompt_runs").await;
    fresh.raw("ALTER TABLE head DROP COLUMN networks_since; ALTER TABLE head DROP COLUMN networks_lost").await;
    fresh.raw("DROP INDEX leases_by_place; ALTER TABLE leases DROP COLUMN place").await;
    fresh.raw("DROP INDEX tokens_by_application; ALTER TABLE tokens DROP COLUMN application").await;
}

async fn stored_rules_become_a_resource_that_names_what_is_there(on: Database) {
    let fresh = on.fresh().await;
    let rules = r#"{"keys":{"action":"revoke","rotate":true},"credentials":{"action":"notify_only"},"seen_within":"7d",
        "by_application":{"here":{"action":"notify_only"},"gone":{"action":"revoke"}},
        "by_credential":{"gone":{"action":"revoke"}},"github_keys":"https://keys.example/ü"}"#;
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    tx.put_note("leak_response", rules.as_bytes()).await.unwrap();
    tx.put_resource(Kind::Applications, &name("here"), "{}", Expect::Absent).await.unwrap();
    tx.audit("leaks.configure", "leaks", json!({}));
    tx.commit().await.unwrap();
    back(&fresh).await;
    let place = fresh.store.latest_change().await.unwrap();
    assert!(fresh.store.migrate().await.unwrap().applied >= 2);

    let row = fresh.store.resource(Kind::LeakResponses, "default").await.unwrap().unwrap();
    let read: LeakResponse = serde_json::from_str(&row.body).unwrap();
    assert_eq!((read.keys.action, read.keys.rotate), (LeakAction::Revoke, true));
    assert_eq!((read.credentials.rotate, read.seen_within), (false, Period::from_secs(7 * 86_400)));
    assert_eq!(read.github_keys.as_deref(), Some("https://keys.example/ü"));
    assert_eq!(read.by_application.keys().map(|n| n.as_str()).collect::<Vec<_>>(), ["here"]);
    assert!(read.by_credential.is_empty());
    assert_eq!(fresh.store.setting("leak_response").await.unwrap().unwrap(), rules.as_bytes());
    let changes = fresh.store.changes_since(place, 9).await.unwrap();
    let told: Vec<_> = changes.iter().map(|change| (change.seq, change.kind, change.name.as_str())).collect();
    assert_eq!(told, [(place + 1, ChangeKind::Resource(Kind::LeakResponses), "default")]);
    assert_eq!(row.revision, place + 1);

    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    let new = r#"{"name":"default","keys":{"action":"revoke","when_sent":"notify_only"},"seen_within":"9d"}"#;
    let next = tx.put_resource(Kind::LeakResponses, &row.name, new, Expect::Revision(place + 1)).await.unwrap();
    tx.audit("leak_response.update", "leak_responses/default", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(next, place + 2, "the feed goes on behind it");
    // A node of the former version reads the setting, refuses what it does not know, and stops at changes of no kind.
    let setting: Value = serde_json::from_slice(&fresh.store.setting("leak_response").await.unwrap().unwrap()).unwrap();
    assert_eq!(setting, json!({ "keys": { "action": "revoke" }, "seen_within": "9d" }));
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    tx.delete_resource(Kind::LeakResponses, "default", Expect::Present).await.unwrap();
    tx.audit("leak_response.delete", "leak_responses/default", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(fresh.store.setting("leak_response").await.unwrap(), None);
    let feed = format!("SELECT kind FROM changes WHERE seq > {place}");
    assert_eq!(fresh.texts(&feed).await, ["settings"; 3]);
    let told: Vec<_> = fresh.store.changes_since(place, 9).await.unwrap().iter().map(|change| change.kind).collect();
    assert_eq!(told, [ChangeKind::Resource(Kind::LeakResponses); 3]);

    let without = on.fresh().await;
    back(&without).await;
    without.store.migrate().await.unwrap();
    assert_eq!(without.store.resource(Kind::LeakResponses, "default").await.unwrap(), None);
    assert_eq!(without.store.latest_change().await.unwrap(), 0);
}

async fn a_change_of_tomorrow_is_passed_over(on: Database) {
    let fresh = on.fresh().await;
    fresh
        .raw("INSERT INTO changes (seq, kind, name) VALUES (1, 'of_tomorrow', 'x'); UPDATE head SET change_seq = 1")
        .await;
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    tx.put_resource(Kind::Teams, &name("a"), "{}", Expect::Absent).await.unwrap();
    tx.audit("team.create", "teams/a", json!({}));
    tx.commit().await.unwrap();
    let expected = [
        Change { seq: 1, kind: ChangeKind::Unknown, name: "x".to_owned() },
        Change { seq: 2, kind: ChangeKind::Resource(Kind::Teams), name: "a".to_owned() },
    ];
    assert_eq!(fresh.store.changes_since(0, 9).await.unwrap(), expected);
    assert_eq!(fresh.store.follow_changes(0, 0, 9).await.unwrap().changes, expected);
}
