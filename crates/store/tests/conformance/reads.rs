//! Keys: identity, secrets, uses, and the walk over all of them.

use crate::{Database, admin, name, on_both};
use credentialflow_model::lifecycle::VersionState;
use credentialflow_model::resource::Kind;
use credentialflow_model::{KeyId, Timestamp};
use credentialflow_store::{
    Expect, KeyNetwork, KeyRow, KeySecretRow, KeySecretUse, KeyUse, MOST_NETWORKS, MOST_PLACES, Store, StoreError, Uses,
};
use serde_json::json;

on_both!(
    keys_come_back,
    uses_add_up,
    uses_of_a_keys_secrets_add_up_and_are_forgotten,
    networks_of_a_key_are_the_newest_that_any_node_told,
    a_walk_meets_every_key_once
);

fn key(n: u64) -> KeyRow {
    KeyRow {
        // Spread over the whole range, the top bit included.
        id: KeyId::from_bits(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        name: name(&format!("k{n}")),
        application: name("checkout"),
        created: Timestamp::from_secs(1_793_534_400),
        revoked_at: None,
        quarantine: None,
    }
}

fn secret(key: &KeyRow, version: u32) -> KeySecretRow {
    KeySecretRow {
        key_id: key.id,
        version,
        state: VersionState::Current,
        hash: [version as u8; 32],
        pepper_id: 3,
        created: Timestamp::from_secs(1_793_534_400),
        retire_at: None,
    }
}

async fn keys_come_back(db: Database) {
    let f = db.fresh().await;
    let mut one = key(1);
    let mut old = secret(&one, 1);
    let mut tx = f.store.begin(&admin()).await.unwrap();
    tx.insert_key(&one).await.unwrap();
    tx.insert_key_secret(&old).await.unwrap();
    tx.put_resource(Kind::Keys, &one.name, r#"{"name":"k1"}"#, Expect::Absent).await.unwrap();
    tx.audit("key.create", "keys/k1", json!({}));
    tx.commit().await.unwrap();

    let strangers = (100..600).map(|n| key(n).id);
    let asked: Vec<KeyId> = strangers.chain([one.id]).collect();
    assert_eq!(f.store.key_bodies(&asked).await.unwrap(), [(one.id, r#"{"name":"k1"}"#.to_owned())]);
    assert_eq!(f.store.key_bodies(&[]).await.unwrap(), []);

    for refused in [KeyRow { name: name("other"), ..one.clone() }, KeyRow { id: KeyId::from_bits(5), ..one.clone() }] {
        let mut tx = f.store.begin(&admin()).await.unwrap();
        assert!(matches!(tx.insert_key(&refused).await, Err(StoreError::Conflict(_))));
    }
    let mut tx = f.store.begin(&admin()).await.unwrap();
    assert!(matches!(tx.insert_key_secret(&secret(&key(77), 1)).await, Err(StoreError::Conflict(_))), "no such key");
    drop(tx);

    let record = f.store.key_record("k1").await.unwrap();
    assert_eq!(record.as_ref().map(|record| &record.key), Some(&one));
    assert_eq!(f.store.key_record_in_force("k1").await.unwrap(), record);

    let mut tx = f.store.begin(&admin()).await.unwrap();
    old.state = VersionState::Previous;
    old.retire_at = Some(Timestamp::from_secs(1_793_600_000));
    tx.update_key_secret(&old).await.unwrap();
    tx.insert_key_secret(&secret(&one, 2)).await.unwrap();
    one.revoked_at = Some(Timestamp::from_secs(1_793_534_500));
    tx.update_key(&one).await.unwrap();
    assert!(matches!(tx.update_key(&key(9)).await, Err(StoreError::NotFound(_))));
    tx.audit("key.revoke", "keys/k1", json!({}));
    tx.commit().await.unwrap();

    let record = f.store.key_record("k1").await.unwrap().unwrap();
    assert_eq!(record.key, one);
    assert_eq!(record.secrets, [old, secret(&one, 2)]);
    assert_eq!(record.body.as_deref(), Some(r#"{"name":"k1"}"#));
    let revoked = f.store.key_record_in_force("k1").await.unwrap().unwrap();
    assert_eq!((revoked.key, revoked.body, revoked.secrets), (one.clone(), None, Vec::new()), "nothing but the key");
    assert_eq!(f.store.key_record_in_force("k2").await.unwrap(), None, "there is none");
    assert_eq!(f.store.key(one.id).await.unwrap(), Some(one.clone()));
    assert!(f.store.changes_since(0, 99).await.unwrap().iter().all(|c| c.name == "k1"));

    let mut tx = f.store.begin(&admin()).await.unwrap();
    assert!(tx.delete_key(one.id).await.unwrap());
    assert!(!tx.delete_key(one.id).await.unwrap());
    tx.audit("key.delete", "keys/k1", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(f.store.key_secrets(one.id).await.unwrap(), []);
}

async fn uses_add_up(db: Database) {
    let f = db.fresh().await;
    let other = Store::connect(&f.url).await.unwrap();
    let used = |n: u64, secs: i64, source: &str, count: u64| KeyUse {
        key_id: key(n).id,
        last_time: Timestamp::from_secs(secs),
        last_source: source.into(),
        count,
    };
    let batch = |keys| Uses { keys, ..Uses::default() };
    // One key twice in a batch, and more keys than fit one statement, from two nodes at once.
    let mut large: Vec<_> = (0..500).map(|n| used(n, 50, "192.0.2.1", 2)).collect();
    large.push(used(7, 60, "192.0.2.7", 1));
    let reversed: Vec<_> = large.iter().rev().cloned().collect();
    let (large, reversed) = (batch(large), batch(reversed));
    let (a, b) = tokio::join!(f.store.record_uses(&large), other.record_uses(&reversed));
    a.unwrap();
    b.unwrap();
    f.store.record_uses(&batch(vec![used(7, 40, "192.0.2.9", 10)])).await.unwrap();
    let seven = f.store.key_use(key(7).id).await.unwrap().unwrap();
    assert_eq!(seven, used(7, 60, "192.0.2.7", 16), "an older use neither moves the time nor the source");
    let ids: Vec<_> = (0..501).map(|n| key(n).id).collect();
    assert_eq!(f.store.key_uses(&ids).await.unwrap().len(), 500);
    assert_eq!(f.store.key_use(key(999).id).await.unwrap(), None);
    f.store.record_uses(&Uses::default()).await.unwrap();
}

async fn uses_of_a_keys_secrets_add_up_and_are_forgotten(db: Database) {
    let f = db.fresh().await;
    let other = Store::connect(&f.url).await.unwrap();
    let used = |version: u32, source: &str, secs: i64, count: u64| KeySecretUse {
        key_id: key(7).id,
        version,
        route: "orders".into(),
        source: source.into(),
        last_time: Timestamp::from_secs(secs),
        count,
    };
    let batch = |secrets| Uses { secrets, ..Uses::default() };
    // One place twice in a batch, and more places than fit one statement, from two nodes at once.
    let mut large: Vec<_> = (0..100).map(|n| used(1, &format!("10.0.0.{n}/32"), 50, 2)).collect();
    large.push(used(1, "10.0.0.7/32", 60, 1));
    let reversed: Vec<_> = large.iter().rev().cloned().collect();
    let (large, reversed) = (batch(large), batch(reversed));
    let (a, b) = tokio::join!(f.store.record_uses(&large), other.record_uses(&reversed));
    a.unwrap();
    b.unwrap();
    f.store.record_uses(&batch(vec![used(1, "10.0.0.7/32", 40, 1), used(2, "", 55, 1)])).await.unwrap();
    let uses = f.store.key_secret_uses(key(7).id, 0, 200).await.unwrap();
    assert_eq!(uses.len(), 101);
    assert_eq!(uses[..2], [used(1, "10.0.0.7/32", 60, 7), used(2, "", 55, 1)], "the newest first");
    assert_eq!(f.store.key_secret_uses(key(7).id, 2, 200).await.unwrap().len(), 100, "of the others");
    assert_eq!(f.store.key_secret_uses(key(7).id, 1, 200).await.unwrap(), [used(2, "", 55, 1)]);
    assert_eq!(f.store.key_secret_uses(key(7).id, 0, 2).await.unwrap(), uses[..2]);
    assert_eq!(f.store.key_secret_uses(key(8).id, 0, 200).await.unwrap(), []);
    let last = f.store.last_key_secret_uses(key(7).id).await.unwrap();
    assert_eq!(last, [(1, Timestamp::from_secs(60)), (2, Timestamp::from_secs(55))]);
    assert_eq!(f.store.last_key_secret_uses(key(8).id).await.unwrap(), []);
    // From ever new places: those that are known are told apart, the others are counted together.
    for round in 0..2 {
        let many = (0..MOST_PLACES).map(|n| used(1, &format!("10.{}.{}.1/32", n / 250, n % 250), 70 + round, 1));
        f.store.record_uses(&batch(many.collect())).await.unwrap();
    }
    f.store.record_uses(&batch(vec![used(1, "10.0.0.7/32", 80, 1)])).await.unwrap();
    let uses = f.store.key_secret_uses(key(7).id, 0, 5000).await.unwrap();
    assert_eq!(uses[0], used(1, "10.0.0.7/32", 80, 8));
    assert_eq!(uses.len(), MOST_PLACES + 1);
    let together: Vec<_> = uses.iter().filter(|used| used.route.is_empty()).collect();
    assert_eq!(together.len(), 1);
    assert_eq!((together[0].version, together[0].source.as_str(), together[0].count), (1, "", 200));
    let mut tx = f.store.begin(&admin()).await.unwrap();
    tx.forget_key_secret_uses(key(7).id).await.unwrap();
    tx.audit("test", "test", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(f.store.key_secret_uses(key(7).id, 0, 200).await.unwrap(), []);
}

async fn networks_of_a_key_are_the_newest_that_any_node_told(db: Database) {
    let f = db.fresh().await;
    let other = Store::connect(&f.url).await.unwrap();
    let seen = |n: u64, network: &str, secs: i64| KeyNetwork {
        key_id: key(n).id,
        network: network.into(),
        last_time: Timestamp::from_secs(secs),
    };
    let batch = |networks| Uses { networks, ..Uses::default() };
    let of = async |n: u64| f.store.key_networks(key(n).id).await.unwrap().networks;
    let here = batch((0..100).map(|n| seen(n, "10.0.0.1/32", 50)).collect());
    let there = batch((0..100).rev().map(|n| seen(n, "10.0.0.1/32", 60)).collect());
    let (a, b) = tokio::join!(f.store.record_uses(&here), other.record_uses(&there));
    a.unwrap();
    b.unwrap();
    f.store.record_uses(&batch(vec![seen(7, "10.0.0.1/32", 40), seen(7, "2001:db8::/64", 30)])).await.unwrap();
    let expected =
        [("10.0.0.1/32".to_owned(), Timestamp::from_secs(60)), ("2001:db8::/64".to_owned(), Timestamp::from_secs(30))];
    assert_eq!(of(7).await, expected, "an older use does not move the time");

    let most = MOST_NETWORKS as i64;
    let crowd = |range: std::ops::Range<i64>| range.map(|n| seen(7, &format!("10.1.0.{n}/32"), 100 + n)).collect();
    let rows = async |of: &str| f.texts(&format!("SELECT network FROM key_networks {of}")).await.len();
    let seventh = format!("WHERE key_id = {}", key(7).id.bits() as i64);
    f.store.record_uses(&batch(crowd(0..most + 10))).await.unwrap();
    assert_eq!(rows(&seventh).await, MOST_NETWORKS + 12, "a few more are left for a while");
    assert_eq!(of(7).await.len(), MOST_NETWORKS, "and not told of");
    f.store.record_uses(&batch(crowd(most + 10..most + 14))).await.unwrap();
    assert_eq!(rows(&seventh).await, MOST_NETWORKS);
    let kept = of(7).await;
    assert_eq!((kept[0].0.as_str(), kept.len()), (format!("10.1.0.{}/32", most + 13).as_str(), MOST_NETWORKS));
    assert_eq!(kept[MOST_NETWORKS - 1], ("10.1.0.14/32".to_owned(), Timestamp::from_secs(114)));
    assert_eq!(of(8).await.len(), 1, "another key's are left alone");

    let mut tx = f.store.begin(&admin()).await.unwrap();
    tx.insert_key(&key(8)).await.unwrap();
    assert!(tx.delete_key(key(8).id).await.unwrap());
    tx.audit("key.delete", "keys/k8", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(of(8).await, []);

    let told = f.store.key_networks(key(9).id).await.unwrap();
    let age = Timestamp::from(std::time::SystemTime::now()).secs() - told.known_since.secs();
    assert!(age.abs() < 3600, "told since this database was made: {age}");
    assert_eq!(f.store.forget_key_networks(Timestamp::from_secs(120)).await.unwrap(), 98 + 6);
    assert_eq!((of(7).await.len(), of(9).await.len()), (MOST_NETWORKS - 6, 0));

    let many = |n: u64| (0..most + 16).map(move |at| seen(n, &format!("10.2.0.{at}/32"), 200 + at));
    f.store.record_uses(&batch((200..240).flat_map(many).collect())).await.unwrap();
    let ids: Vec<_> = (200..240).map(|n| (key(n).id.bits() as i64).to_string()).collect();
    let crowded = format!("WHERE key_id IN ({})", ids.join(", "));
    assert_eq!(rows(&crowded).await, 32 * MOST_NETWORKS + 8 * (MOST_NETWORKS + 16), "so many at a time");
    f.store.record_uses(&batch((200..240).map(|n| seen(n, "10.2.0.1/32", 900)).collect())).await.unwrap();
    assert_eq!(rows(&crowded).await, 32 * (MOST_NETWORKS + 1) + 8 * MOST_NETWORKS, "the others the next time");

    assert_eq!(told.lost, Timestamp::from_secs(0));
    for (last, expected) in [(70, 70), (60, 70), (80, 80)] {
        other.note_lost_networks(Timestamp::from_secs(last)).await.unwrap();
        assert_eq!(f.store.key_networks(key(9).id).await.unwrap().lost, Timestamp::from_secs(expected));
    }
}

async fn a_walk_meets_every_key_once(db: Database) {
    let f = db.fresh().await;
    // Every other key has all there is, every other the least.
    let keys: Vec<_> = (1..=1_000)
        .map(|n| KeyRow { revoked_at: (n % 2 == 0).then_some(Timestamp::from_secs(n as i64)), ..key(n) })
        .collect();
    let body = |k: &KeyRow| k.revoked_at.map(|_| format!(r#"{{"name":"{}","d":"ü\\u001f \\n"}}"#, k.name));
    let secret = |k: &KeyRow, version| KeySecretRow {
        state: if version == 1 { VersionState::Previous } else { VersionState::Current },
        retire_at: k.revoked_at,
        ..secret(k, version)
    };
    let mut tx = f.store.begin(&admin()).await.unwrap();
    tx.insert_keys(&keys).await.unwrap();
    let bodies: Vec<_> = keys.iter().filter_map(|k| Some((Kind::Keys, k.name.clone(), body(k)?))).collect();
    tx.put_resources(&bodies).await.unwrap();
    let secrets: Vec<_> = keys.iter().flat_map(|k| [secret(k, 1), secret(k, 2)]).collect();
    tx.insert_key_secrets(&secrets).await.unwrap();
    tx.audit("config.apply", "config/all", json!({}));
    tx.commit().await.unwrap();
    for page in [7, 250, 1_000, 5_000] {
        let mut met = Vec::new();
        f.store
            .for_each_key::<StoreError>(page, |record| {
                assert_eq!(record.secrets, [secret(&record.key, 1), secret(&record.key, 2)]);
                assert_eq!(record.body, body(&record.key));
                assert!(keys.contains(&record.key));
                met.push(record.key.id);
                Ok(())
            })
            .await
            .unwrap();
        assert!(met.is_sorted() && met.len() == 1_000, "page {page}: {}", met.len());
    }
    let page = f.store.keys_after(None, 600).await.unwrap();
    let rest = f.store.keys_after(page.last().map(|last| last.key.id), 600).await.unwrap();
    assert_eq!((page.len(), rest.len()), (600, 400));
    assert!(page.last().unwrap().key.id < rest[0].key.id);
    let stopped = f.store.for_each_key(10, |_| Err(StoreError::NotFound("enough".into()))).await;
    assert!(matches!(stopped, Err(StoreError::NotFound(_))));
}
