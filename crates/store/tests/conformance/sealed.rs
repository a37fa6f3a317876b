//! Sealed bytes are walked in order and replaced only where nobody has written since.

use super::{Database, admin, block_on, name};
use credentialflow_model::{KeyId, Timestamp, lifecycle::VersionState};
use credentialflow_store::{
    CredentialVersionRow, KeyRow, KeySecretRow, Store,
    sealed::{CREDENTIAL_VERSIONS, ENTRIES, KeyPart, LEASES, SealedRow, TOKENS},
};
use serde_json::json;

fn version(credential: &str, version: u32, sealed: Option<&[u8]>) -> CredentialVersionRow {
    CredentialVersionRow {
        credential: name(credential),
        version,
        state: if sealed.is_some() { VersionState::Previous } else { VersionState::Destroyed },
        sealed: sealed.map(<[u8]>::to_vec),
        algorithm: "aes-256-gcm".into(),
        keyring_id: 1,
        fingerprint: vec![1],
        created: Timestamp::from_secs(1),
        promoted: None,
        retired: None,
        handle: None,
    }
}

fn key(credential: &str, version: i64) -> Vec<KeyPart> {
    vec![KeyPart::Text(credential.into()), KeyPart::Number(version)]
}

async fn walk(store: &Store, limit: u32) -> Vec<SealedRow> {
    let mut all: Vec<SealedRow> = Vec::new();
    loop {
        let after = all.last().map(|row| row.key.clone());
        let page = store.sealed_after(&CREDENTIAL_VERSIONS, after.as_deref(), limit).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn check(database: Database) {
    block_on(async {
        let fresh = database.fresh().await;
        let store = &fresh.store;
        let mut tx = store.begin(&admin()).await.unwrap();
        for row in [
            version("b", 2, Some(b"b2")),
            version("b", 10, Some(b"b10")),
            version("a", 1, Some(b"a1")),
            version("b", 3, None),
            version("c", 1, Some(b"c1")),
        ] {
            tx.insert_credential_version(&row).await.unwrap();
        }
        tx.audit("test", "test", json!({}));
        tx.commit().await.unwrap();

        let expected = [key("a", 1), key("b", 2), key("b", 10), key("c", 1)];
        for limit in [1, 2, 3, 100] {
            let keys: Vec<_> = walk(store, limit).await.into_iter().map(|row| row.key).collect();
            assert_eq!(keys, expected, "pages of {limit}");
        }
        assert_eq!(store.count_sealed(&CREDENTIAL_VERSIONS).await.unwrap(), 4);
        for empty in [&ENTRIES, &TOKENS, &LEASES] {
            assert!(store.sealed_after(empty, None, 10).await.unwrap().is_empty());
            let after = vec![KeyPart::Text("x".into()); empty.keys.len()];
            assert!(store.sealed_after(empty, Some(&after), 10).await.unwrap().is_empty());
            assert_eq!(store.count_sealed(empty).await.unwrap(), 0);
        }
        assert!(store.sealed_after(&CREDENTIAL_VERSIONS, Some(&key("a", 1)[..1]), 1).await.is_err());

        let feed = store.latest_change().await.unwrap();
        let mut rows = walk(store, 10).await;
        let mut stale = rows.remove(1);
        let mut tx = store.begin(&admin()).await.unwrap();
        assert!(tx.replace_sealed(&CREDENTIAL_VERSIONS, &stale, b"b2 anew", 7).await.unwrap());
        assert!(!tx.replace_sealed(&CREDENTIAL_VERSIONS, &stale, b"b2 again", 8).await.unwrap(), "written since");
        stale.key = key("gone", 1);
        assert!(!tx.replace_sealed(&CREDENTIAL_VERSIONS, &stale, b"x", 8).await.unwrap());
        tx.put_note("job", b"one").await.unwrap();
        tx.put_note("job", b"two").await.unwrap();
        tx.audit("test", "test", json!({}));
        tx.commit().await.unwrap();
        let row = store.credential_version("b", 2).await.unwrap().unwrap();
        assert_eq!((row.sealed.as_deref(), row.keyring_id), (Some(&b"b2 anew"[..]), 7));
        assert_eq!(store.latest_change().await.unwrap(), feed, "its meaning is the same");
        assert_eq!(store.setting("job").await.unwrap().as_deref(), Some(&b"two"[..]));

        // Keyed hashes are counted while they count.
        let mut tx = store.begin(&admin()).await.unwrap();
        let id = KeyId::from_bits(9);
        let row = KeyRow {
            id,
            name: name("k"),
            application: name("app"),
            created: Timestamp::from_secs(1),
            revoked_at: None,
            quarantine: None,
        };
        tx.insert_key(&row).await.unwrap();
        let states = [(1, VersionState::Revoked), (1, VersionState::Previous), (2, VersionState::Current)];
        for (version, (pepper_id, state)) in (1..).zip(states) {
            let (hash, created, retire_at) = ([version as u8; 32], Timestamp::from_secs(1), None);
            let secret = KeySecretRow { key_id: id, version, state, hash, pepper_id, created, retire_at };
            tx.insert_key_secret(&secret).await.unwrap();
        }
        tx.audit("test", "test", json!({}));
        tx.commit().await.unwrap();
        assert_eq!(store.hashes_under_peppers().await.unwrap().into_iter().collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    });
}

#[test]
fn sqlite_walks_and_replaces_sealed_bytes() {
    check(Database::Sqlite);
}

#[test]
fn postgres_walks_and_replaces_sealed_bytes() {
    check(Database::Postgres);
}
