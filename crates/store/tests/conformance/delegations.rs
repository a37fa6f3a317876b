//! Which key each key comes from: noted with it, walked downwards, known after it is gone.

use crate::{Database, Fresh, admin, name, on_both};
use credentialflow_model::{KeyId, Timestamp, lifecycle::VersionState, resource::Kind};
use credentialflow_store::{DelegationRow, Expect, KeyRow, KeySecretRow, Parent, StoreError};
use serde_json::json;

on_both!(
    keys_are_read_with_where_they_come_from,
    what_is_below_a_key_is_found_by_generations,
    what_ended_is_known_and_forgotten,
    keys_are_found_by_whose_they_are_also_when_they_have_ended,
);

const FAR: Timestamp = Timestamp::from_secs(4_000_000_000);

fn id(n: u64) -> KeyId {
    KeyId::from_bits(n << 40)
}

fn row(n: u64, parent: u64, exchanged: bool, expires: Option<Timestamp>) -> DelegationRow {
    DelegationRow {
        key: id(n),
        name: name(&format!("key-{n}")),
        parent: id(parent),
        root: id(1),
        anchor: id(1),
        depth: 1,
        parent_version: 3,
        exchanged,
        actor: "ä".into(),
        created: Timestamp::from_secs(5),
        expires,
        ended: None,
    }
}

/// Stores a key, which may come from another one.
async fn put(fresh: &Fresh, n: u64, of: Option<DelegationRow>) {
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    let (key, created) = (name(&format!("key-{n}")), Timestamp::from_secs(5));
    let body = match &of {
        Some(_) => json!({ "name": key, "application": "a", "parent": "x" }),
        None => json!({ "name": key, "application": "a" }),
    };
    tx.put_resource(Kind::Keys, &key, &body.to_string(), Expect::Absent).await.unwrap();
    let application = name("a");
    tx.insert_key(&KeyRow { id: id(n), name: key, application, created, revoked_at: None, quarantine: None })
        .await
        .unwrap();
    let (state, hash) = (VersionState::Current, [7; 32]);
    let secret = KeySecretRow { key_id: id(n), version: 1, state, hash, pepper_id: 1, created, retire_at: None };
    tx.insert_key_secret(&secret).await.unwrap();
    if let Some(of) = of {
        tx.insert_delegation(&of).await.unwrap();
        assert!(matches!(tx.delegation(id(n)).await.unwrap(), Some(found) if found == of));
    }
    tx.audit("key.create", "keys/x", json!({}));
    tx.commit().await.unwrap();
}

async fn keys_are_read_with_where_they_come_from(on: Database) {
    let fresh = on.fresh().await;
    put(&fresh, 1, None).await;
    put(&fresh, 2, Some(row(2, 1, true, Some(FAR)))).await;
    put(&fresh, 3, None).await;
    let parent = Some(Parent { key: id(1), version: 3, exchanged: true });
    let expected = [None, parent, None];
    for (n, expected) in (1..=3).zip(expected) {
        let record = fresh.store.key_record_in_force(&format!("key-{n}")).await.unwrap().unwrap();
        assert_eq!(record.parent, expected);
    }
    for page in [1, 2, 9] {
        let mut found = Vec::new();
        let each = |record: credentialflow_store::KeyRecord| {
            found.push(record.parent);
            Ok::<_, StoreError>(())
        };
        fresh.store.for_each_key(page, each).await.unwrap();
        assert_eq!(found, expected);
    }
    let rows = fresh.store.delegations(&[id(1), id(2), id(9)]).await.unwrap();
    assert_eq!(rows, [row(2, 1, true, Some(FAR))]);
    assert_eq!(fresh.store.exchanged_keys().await.unwrap(), ["key-2"]);
    put(&fresh, 4, Some(row(4, 1, false, None))).await;
    for (n, anchor) in [(1, 1), (2, 1), (4, 4), (9, 9)] {
        assert_eq!(fresh.store.anchor(id(n)).await.unwrap(), id(anchor));
    }
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    assert!(matches!(tx.insert_delegation(&row(2, 1, true, None)).await, Err(StoreError::Conflict(_))));
}

async fn what_is_below_a_key_is_found_by_generations(on: Database) {
    let fresh = on.fresh().await;
    put(&fresh, 1, None).await;
    let over = Some(Timestamp::from_secs(9));
    for (n, parent, exchanged, expires) in [
        (2, 1, false, None),
        (3, 1, true, Some(FAR)),
        (4, 3, true, Some(FAR)),
        (5, 2, true, over),
        (6, 4, true, Some(FAR)),
    ] {
        put(&fresh, n, Some(row(n, parent, exchanged, expires))).await;
    }
    let numbers = |rows: Vec<DelegationRow>| rows.iter().map(|of| of.key.bits() >> 40).collect::<Vec<_>>();
    assert_eq!(numbers(fresh.store.keys_below(id(1)).await.unwrap()), [2, 3, 4, 5, 6]);
    assert_eq!(numbers(fresh.store.keys_below(id(3)).await.unwrap()), [4, 6]);
    assert_eq!(numbers(fresh.store.keys_below(id(6)).await.unwrap()), [] as [u64; 0]);
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    assert_eq!(tx.count_exchanged(id(1)).await.unwrap(), 3, "declared ones and those that are over do not count");
    tx.end_delegation(id(4)).await.unwrap();
    tx.end_delegation(id(1)).await.unwrap();
    assert_eq!(tx.count_exchanged(id(1)).await.unwrap(), 2);
    assert_eq!(numbers(tx.keys_below(id(1)).await.unwrap()), [2, 3, 5], "what came from it ended with it");
    assert_eq!(numbers(tx.all_keys_below(id(1)).await.unwrap()), [2, 3, 4, 5, 6]);
    tx.delete_key(id(3)).await.unwrap();
    assert_eq!(numbers(tx.all_keys_below(id(1)).await.unwrap()), [2, 5]);
}

async fn what_ended_is_known_and_forgotten(on: Database) {
    let fresh = on.fresh().await;
    put(&fresh, 1, None).await;
    put(&fresh, 2, Some(row(2, 1, true, Some(Timestamp::from_secs(9))))).await;
    put(&fresh, 3, Some(row(3, 1, true, Some(FAR)))).await;
    put(&fresh, 4, Some(row(4, 1, false, Some(Timestamp::from_secs(9))))).await;
    let over = fresh.store.exchanged_keys_over(Timestamp::from_secs(10), 9).await.unwrap();
    assert_eq!(over, [name("key-2")], "declared ones stay");
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    tx.end_delegation(id(2)).await.unwrap();
    tx.delete_key(id(2)).await.unwrap();
    tx.audit("key.delete", "keys/key-2", json!({}));
    tx.commit().await.unwrap();
    let known = fresh.store.delegation(id(2)).await.unwrap().unwrap();
    assert!(known.ended.is_some() && known.name == name("key-2"));
    let long_ago = Timestamp::from_secs(10);
    assert_eq!(fresh.store.forget_delegations(long_ago).await.unwrap(), 0);
    assert_eq!(fresh.store.forget_delegations(FAR).await.unwrap(), 1);
    assert!(fresh.store.delegation(id(2)).await.unwrap().is_none());
    assert!(fresh.store.delegation(id(3)).await.unwrap().is_some());
}

async fn keys_are_found_by_whose_they_are_also_when_they_have_ended(on: Database) {
    let fresh = on.fresh().await;
    put(&fresh, 1, None).await;
    for (n, parent, actor) in [(2, 1, "planner"), (3, 2, "ä"), (4, 3, "ä"), (5, 1, "other")] {
        let of = DelegationRow {
            actor: actor.into(),
            created: Timestamp::from_secs(10 * n as i64),
            ..row(n, parent, true, None)
        };
        put(&fresh, n, Some(of)).await;
    }
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    tx.end_delegation(id(3)).await.unwrap();
    tx.delete_key(id(3)).await.unwrap();
    let ended = tx.now();
    tx.audit("key.delete", "keys/key-3", json!({}));
    tx.commit().await.unwrap();
    let numbers = |mut keys: Vec<KeyId>| {
        keys.sort_unstable();
        keys.iter().map(|key| key.bits() >> 40).collect::<Vec<_>>()
    };
    let all = (Timestamp::from_secs(0), FAR);
    let below = async |key, span, most| numbers(fresh.store.keys_ever_below(id(key), span, most).await.unwrap());
    let of = async |actor, span, most| numbers(fresh.store.keys_ever_of(actor, span, most).await.unwrap());
    assert_eq!(below(1, all, 9).await, [2, 3, 4, 5]);
    assert_eq!(below(2, all, 9).await, [3, 4]);
    assert_eq!(below(4, all, 9).await, [] as [u64; 0]);
    assert_eq!(below(1, all, 3).await.len(), 3);
    assert_eq!(of("ä", all, 9).await, [3, 4]);
    assert_eq!(of("ä", all, 1).await.len(), 1);
    assert_eq!(of("nobody", all, 9).await, [] as [u64; 0]);
    // What had not begun then, and what had ended before.
    assert_eq!(of("ä", (Timestamp::from_secs(0), Timestamp::from_secs(40)), 9).await, [3]);
    assert_eq!(of("ä", (ended, FAR), 9).await, [3, 4]);
    assert_eq!(of("ä", (Timestamp::from_micros(ended.micros() + 1), FAR), 9).await, [4]);
}
