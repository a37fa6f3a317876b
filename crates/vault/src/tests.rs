//! The vault against a real SQLite store: initialising, unsealing, keys, credentials, and the search
//! for secrets in everything that can be printed or is stored.
#![allow(clippy::unwrap_used)]

mod sealing;

use crate::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::{
    Actor, KeyToken, Name, Period, SecretValue,
    lifecycle::VersionState,
    resource::{Credential, Engine, Key},
};
use credentialflow_store::{AuditFilter, Checkpoint, Store};
use tempfile::TempDir;

pub(crate) fn seal_input() -> SealInput {
    SealInput::Environment(SecretValue::from(STANDARD.encode([9u8; 32])))
}

pub(crate) async fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::connect(&format!("sqlite:{}", dir.path().join("state.db").display())).await.unwrap();
    store.migrate().await.unwrap();
    (dir, store)
}

pub(crate) async fn vault() -> (TempDir, Store, Vault, SecretValue) {
    let (dir, store) = store().await;
    let made = Vault::init(&store, &Actor::operator(), seal_input()).await.unwrap();
    (dir, store, made.vault, made.admin_token)
}

pub(crate) fn credential(name: &str, engine: Engine) -> Credential {
    Credential { name: name.parse().unwrap(), ..crate::engine::credential(engine) }
}

pub(crate) fn key(name: &str) -> Key {
    let declared = serde_json::json!({ "name": name, "application": "checkout", "environment": "live" });
    serde_json::from_value(declared).unwrap()
}

async fn create(store: &Store, vault: &Vault, credential: &Credential, value: &str) -> u32 {
    let mut tx = store.begin(&Actor::operator()).await.unwrap();
    let version = vault.create_credential_in(&mut tx, credential, Some(SecretValue::from(value))).await.unwrap();
    tx.commit().await.unwrap();
    version
}

#[tokio::test]
async fn a_vault_is_initialised_once_and_unsealed_at_every_start() {
    let (_dir, store, first, token) = vault().await;
    let again = Vault::init(&store, &Actor::operator(), seal_input()).await;
    assert!(matches!(again, Err(VaultError::AlreadyInitialized)));
    let place = SealContext::new(&"a".parse().unwrap(), 1);
    let sealed = first.seal_value(&place, &SecretValue::from("canary")).unwrap();
    let fingerprint = first.fingerprint(&place.credential, &SecretValue::from("canary")).unwrap();
    let message = Checkpoint::signed_bytes(7, &[1; 32]);
    let signature = first.sign_checkpoint(&message).unwrap();

    let second = Vault::open_sealed(&store).await.unwrap();
    assert!(second.is_sealed());
    assert_eq!(second.seal_method().unwrap(), "environment");
    assert!(matches!(second.open_value(&place, &sealed), Err(VaultError::Sealed)));
    assert!(!second.verify_admin_token(token.expose()));
    let wrong = SealInput::Environment(SecretValue::from(STANDARD.encode([8u8; 32])));
    assert!(matches!(second.unseal(wrong).await, Err(VaultError::Unseal)));
    assert!(second.is_sealed());
    second.unseal(seal_input()).await.unwrap();
    assert_eq!(second.open_value(&place, &sealed).unwrap().expose(), b"canary");
    assert_eq!(second.fingerprint(&place.credential, &SecretValue::from("canary")).unwrap(), fingerprint);
    assert!(second.seal_value(&place, &SecretValue::from("new")).is_ok());
    assert!(second.verify_admin_token(token.expose()));
    assert!(!second.verify_admin_token(&token.expose()[1..]));

    let public = Vault::open_sealed(&store).await.unwrap().audit_public_key().unwrap();
    assert!(verify_checkpoint(&public, &message, &signature));
    assert!(!verify_checkpoint(&public, &Checkpoint::signed_bytes(8, &[1; 32]), &signature));
    assert!(!verify_checkpoint(&public, &message, &signature[1..]));

    assert!(second.checkpoint_audit().await.unwrap().is_some());
    let check = |message: &[u8], signature: &[u8]| verify_checkpoint(&public, message, signature);
    let report = credentialflow_store::audit::verify(&store, Some(&check)).await;
    assert!(report.is_ok(), "{report:?}");

    second.seal();
    assert!(matches!(second.pepper(), Err(VaultError::Sealed)));
}

#[tokio::test]
async fn an_uninitialised_store_has_no_vault() {
    let (_dir, store) = store().await;
    assert!(matches!(Vault::open_sealed(&store).await, Err(VaultError::NotInitialized)));
}

#[tokio::test]
async fn a_copy_opens_values_while_the_store_is_away_and_seals_when_it_is_back() {
    let (_dir, store, vault, _token) = vault().await;
    let sealed = vault.seal_blob("snapshot", b"canary").unwrap();
    let copy = vault.settings_copy().unwrap();
    let away = Vault::open_copy(&copy).unwrap();
    away.unseal(seal_input()).await.unwrap();
    assert_eq!(away.open_blob("snapshot", &sealed).unwrap().expose(), b"canary");
    assert!(away.open_blob("elsewhere", &sealed).is_err());
    assert!(matches!(away.seal_blob("snapshot", b"x"), Err(VaultError::SealsExhausted)));
    away.attach(&store).await.unwrap();
    assert!(away.seal_blob("snapshot", b"x").is_ok());
}

#[tokio::test]
async fn a_rotated_keyring_is_seen_by_another_process() {
    let (_dir, store, here, _token) = vault().await;
    let there = Vault::open_sealed(&store).await.unwrap();
    there.unseal(seal_input()).await.unwrap();
    let old = there.seal_blob("c", b"old").unwrap();
    assert_eq!(here.rotate_keyring(&Actor::operator()).await.unwrap(), 2);
    let new = here.seal_blob("c", b"new").unwrap();
    assert!(matches!(there.open_blob("c", &new), Err(VaultError::UnknownKey(2))));
    there.reload().await.unwrap();
    assert_eq!(there.open_blob("c", &new).unwrap().expose(), b"new");
    assert_eq!(here.open_blob("c", &old).unwrap().expose(), b"old");
    assert_eq!(there.seal_blob("c", b"x").unwrap().key_id(), 2);
}

#[tokio::test]
async fn the_administrators_token_can_be_replaced() {
    let (_dir, _store, vault, old) = vault().await;
    let new = vault.replace_admin_token(&Actor::operator()).await.unwrap();
    assert!(vault.verify_admin_token(new.expose()) && !vault.verify_admin_token(old.expose()));
}

#[tokio::test]
async fn a_lost_answer_is_given_again_and_a_different_request_is_refused() {
    let (_dir, store, vault, _token) = vault().await;
    let actor = Actor::operator();
    let wish = vault.idempotency("retry-1", b"POST /keys {a}").unwrap();
    let first = vault.issue_key(&actor, &key("a"), "cfk", Some(&wish)).await.unwrap();
    let again = vault.issue_key(&actor, &key("a"), "cfk", Some(&wish)).await.unwrap();
    assert_eq!(first.secret.expose(), again.secret.expose());
    assert_eq!((first.id, first.version, first.replayed, again.replayed), (again.id, 1, false, true));
    let filter = AuditFilter { action: Some("key.repeat".to_owned()), ..AuditFilter::default() };
    assert_eq!(store.audit_events(0, 10, &filter).await.unwrap().len(), 1, "showing a secret again is recorded");
    let other = vault.idempotency("retry-1", b"POST /keys {b}").unwrap();
    let refused = vault.issue_key(&actor, &key("b"), "cfk", Some(&other)).await;
    assert!(matches!(refused, Err(VaultError::IdempotencyConflict)));
    assert!(store.key_by_name("b").await.unwrap().is_none());
    let taken = vault.issue_key(&actor, &key("a"), "cfk", None).await;
    assert!(matches!(taken, Err(VaultError::Exists { .. })));
    let someone_else = Actor { name: "other".to_owned(), ..Actor::operator() };
    assert!(!vault.issue_key(&someone_else, &key("c"), "cfk", Some(&wish)).await.unwrap().replayed);
}

#[tokio::test]
async fn two_secrets_overlap_and_a_third_ends_the_oldest() {
    let (_dir, store, vault, _token) = vault().await;
    let actor = Actor::operator();
    let name: Name = "a".parse().unwrap();
    let first = vault.issue_key(&actor, &key("a"), "cfk", None).await.unwrap();
    let second = vault.rotate_key(&actor, &name, "cfk", Some(Period::from_secs(60)), None).await.unwrap();
    let third = vault.rotate_key(&actor, &name, "cfk", None, None).await.unwrap();
    assert_eq!((first.id, second.version, third.version), (third.id, 2, 3));
    let secrets = store.key_secrets(first.id).await.unwrap();
    let states: Vec<_> = secrets.iter().map(|s| s.state).collect();
    assert_eq!(states, [VersionState::Expired, VersionState::Previous, VersionState::Current]);
    assert!(secrets[1].retire_at.is_some() && secrets[2].retire_at.is_none());
    let pepper = vault.pepper().unwrap();
    for (issued, row) in [first, second, third].iter().zip(&secrets) {
        let token = KeyToken::parse(issued.secret.expose()).unwrap();
        assert_eq!((token.id, pepper.hash(token.expose_secret())), (row.key_id, row.hash));
    }
    vault.revoke_key(&actor, &name).await.unwrap();
    assert!(store.key_secrets(secrets[0].key_id).await.unwrap().iter().all(|s| !s.state.is_live()));
    let refused = vault.rotate_key(&actor, &name, "cfk", None, None).await;
    assert!(matches!(refused, Err(VaultError::KeyRevoked(_))));
    assert!(vault.revoke_key(&actor, &name).await.is_ok(), "revoking twice is no error");
}

#[tokio::test]
async fn an_unchanged_value_makes_no_version_and_a_changed_one_a_rotation() {
    let (_dir, store, vault, _token) = vault().await;
    let orders = credential("orders-token", Engine::Static);
    let put = async |value: &str| {
        let mut tx = store.begin(&Actor::operator()).await.unwrap();
        let put = vault.put_value_in(&mut tx, &orders, SecretValue::from(value)).await;
        tx.audit("test", "test", serde_json::json!({}));
        tx.commit().await.unwrap();
        put
    };
    assert_eq!(put("one").await.unwrap(), Put::Created { version: 1 });
    assert_eq!(put("one").await.unwrap(), Put::Unchanged { version: 1 });
    assert!(matches!(put("two").await.unwrap(), Put::Rotating { version: 2, .. }));
    assert_eq!(put("two").await.unwrap(), Put::Unchanged { version: 2 });
    assert_eq!(put("one").await.unwrap(), Put::Unchanged { version: 1 });
    assert!(matches!(put("three").await, Err(VaultError::RotationUnfinished(_))));
    assert_eq!(vault.current_value(&orders.name).await.unwrap().expose(), b"one");
    let reference = "${credential:orders-token}".parse().unwrap();
    assert_eq!(vault.resolve(&reference).await.unwrap().expose(), b"one");
    assert!(vault.resolve(&"${credential:none}".parse().unwrap()).await.is_err());
    let inventory = vault.inventory(None, 10).await.unwrap();
    assert_eq!((inventory.len(), inventory[0].algorithm.as_str(), inventory[0].keyring_id), (2, "aes-256-gcm", 1));
}

#[tokio::test]
async fn revoked_and_destroyed_values_are_gone() {
    let (_dir, store, vault, _token) = vault().await;
    let orders = credential("orders-token", Engine::Static);
    create(&store, &vault, &orders, "one").await;
    let actor = Actor::operator();
    assert!(matches!(
        vault.revoke_credential(&actor, &orders.name, Some(9)).await,
        Err(VaultError::NotFound { kind: "version", .. })
    ));
    assert_eq!(vault.revoke_credential(&actor, &orders.name, None).await.unwrap(), [1]);
    let done = vault.revoke_at_target(&orders, 1).await.unwrap();
    assert_eq!(done, crate::engine::Revocation::LocalOnly);
    assert!(matches!(vault.current_value(&orders.name).await, Err(VaultError::NoCurrentVersion(_))));
    assert_eq!(create(&store, &vault, &orders, "two").await, 2);
    let mut tx = store.begin(&actor).await.unwrap();
    vault.destroy_credential_in(&mut tx, &orders.name).await.unwrap();
    tx.commit().await.unwrap();
    for row in store.credential_versions("orders-token").await.unwrap() {
        assert_eq!((row.state, &row.sealed), (VersionState::Destroyed, &None));
        assert!(vault.open_version(&row).is_err());
    }
}

#[tokio::test]
async fn expired_credentials_end() {
    let (_dir, store, vault, _token) = vault().await;
    let mut orders = credential("orders-token", Engine::Static);
    create(&store, &vault, &orders, "one").await;
    let now = store.now();
    orders.expires = Some(now.plus(Period::from_secs(5)));
    assert_eq!(vault.expire_credential(&Actor::system("expiry"), &orders, now).await.unwrap(), 0);
    let later = now.plus(Period::from_secs(5));
    assert_eq!(vault.expire_credential(&Actor::system("expiry"), &orders, later).await.unwrap(), 1);
    assert_eq!(store.credential_versions("orders-token").await.unwrap()[0].state, VersionState::Expired);
}

#[tokio::test]
async fn no_secret_is_printed_or_stored() {
    let (dir, store, vault, token) = vault().await;
    let orders = credential("orders-token", Engine::Static);
    let canary = "canary-7d0b1c5e9f";
    create(&store, &vault, &orders, canary).await;
    let wish = vault.idempotency("k", b"r").unwrap();
    let issued = vault.issue_key(&Actor::operator(), &key("a"), "cfk", Some(&wish)).await.unwrap();
    let begun =
        vault.start_rotation(&Actor::operator(), &orders, Some(SecretValue::from("canary-second-value")), None).await;
    let context = SealContext::new(&orders.name, 1);
    let sealed = vault.seal_value(&context, &SecretValue::from(canary)).unwrap();
    let tampered = vault.open_value(&SealContext::new(&orders.name, 2), &sealed).unwrap_err();
    let mut printed = format!(
        "{vault:?} {token:?} {orders:?} {wish:?} {issued:?} {begun:?} {sealed:?} {context:?} {tampered:?} {tampered} \
         {:?} {:?} {:?} {:?}",
        vault.pepper(),
        seal_input(),
        store.credential_versions("orders-token").await.unwrap(),
        store.key_secrets(issued.id).await.unwrap(),
    );
    printed.push_str(&format!("{:#?}", vault.peppers()));

    let mut stored = Vec::new();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        stored.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    assert!(stored.len() > 10_000);
    let key_secret = KeyToken::parse(issued.secret.expose()).unwrap().expose_secret();
    let unseal_key = STANDARD.encode([9u8; 32]);
    let secrets = [canary.as_bytes(), b"canary-second-value", key_secret, token.expose(), unseal_key.as_bytes()];
    for secret in secrets {
        let hex: String = secret.iter().map(|b| format!("{b:02x}")).collect();
        for form in [secret.to_vec(), hex.into_bytes(), STANDARD.encode(secret).into_bytes()] {
            assert!(!contains(printed.as_bytes(), &form) && !contains(&stored, &form));
        }
    }
    assert!(contains(&stored, b"orders-token"), "the search itself works");
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}
