//! Leaked secrets, and keys held to where they were used.

use crate::{Database, admin, name};
use credentialflow_model::{KeyId, Timestamp};
use credentialflow_store::{KeyRow, LeakRow, StoreError};
use serde_json::json;

crate::on_both!(leaks_are_found_by_secret_and_listed_newest_first, a_quarantine_stays_until_it_is_lifted);

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
