//! Each answer of a rule, against a real SQLite store; twice, because reports come twice.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::tests::{credential, vault};
use credentialflow_model::{
    KeyToken, SecretValue,
    resource::{Key, Kind},
};
use credentialflow_store::{AuditFilter, Expect, Store};

const PREFIX: &str = "cfk";

fn key(name: &str) -> Key {
    serde_json::from_value(json!({ "name": name, "application": "checkout" })).unwrap()
}

fn rule(action: LeakAction, rotate: bool) -> LeakRule {
    LeakRule::new(action, rotate)
}

fn system() -> Actor {
    Actor::system(ACTOR)
}

async fn answer_key(store: &Store, vault: &Vault, version: u32, rule: LeakRule) -> Answered {
    let mut tx = store.begin(&system()).await.unwrap();
    let row = tx.key_by_name("k").await.unwrap().unwrap();
    let seen = vec!["10.0.0.7/32".parse().unwrap()];
    let leak = KeyLeak { leak: "1", version, rule, seen, prefix: PREFIX };
    let done = vault.answer_key_leak_in(&mut tx, &row, leak).await.unwrap();
    tx.audit("test.answer", "keys/k", json!({}));
    tx.commit().await.unwrap();
    done
}

async fn states(store: &Store) -> Vec<(u32, VersionState, bool)> {
    let record = store.key_record("k").await.unwrap().unwrap();
    record.secrets.iter().map(|s| (s.version, s.state, s.retire_at.is_some())).collect()
}

async fn held(store: &Store) -> Option<Quarantine> {
    let row = store.key_by_name("k").await.unwrap().unwrap();
    row.quarantine.map(|text| serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn a_quarantined_key_keeps_its_clients_and_can_be_widened_and_released() {
    let (_dir, store, vault, _token) = vault().await;
    vault.issue_key(&system(), &key("k"), PREFIX, None).await.unwrap();
    let name: Name = "k".parse().unwrap();
    assert!(matches!(vault.release_key(&system(), &name, &[]).await, Err(VaultError::NotFound { .. })));
    let done = answer_key(&store, &vault, 1, rule(LeakAction::Quarantine, false)).await;
    assert_eq!((done.steps, done.left.len()), (vec![LeakStep::Quarantined], 0));
    let first = held(&store).await.unwrap();
    assert_eq!((first.through_version, first.leak.as_str(), first.networks.len()), (1, "1", 1));
    assert_eq!(states(&store).await, [(1, VersionState::Current, false)]);
    assert!(vault.fetch_leaked_keys_secret(&system(), &name, "1").await.unwrap().is_none());

    vault.release_key(&system(), &name, &["10.1.0.0/16".parse().unwrap()]).await.unwrap();
    assert_eq!(held(&store).await.unwrap().networks.len(), 2);
    vault.release_key(&system(), &name, &[]).await.unwrap();
    assert_eq!(held(&store).await, None);
    for (action, count) in [("key.quarantine", 1), ("key.widen", 1), ("key.release", 1)] {
        let filter = AuditFilter { action: Some(action.to_owned()), subject: Some("keys/k".to_owned()) };
        assert_eq!(store.audit_events(0, 9, &filter).await.unwrap().len(), count, "{action}");
    }
}

#[tokio::test]
async fn a_replaced_key_s_new_secret_can_be_fetched_and_is_not_in_quarantine() {
    let (_dir, store, vault, _token) = vault().await;
    let old = vault.issue_key(&system(), &key("k"), PREFIX, None).await.unwrap();
    let done = answer_key(&store, &vault, 1, rule(LeakAction::Quarantine, true)).await;
    assert_eq!(done.steps, [LeakStep::Quarantined, LeakStep::Rotated]);
    assert!(done.secret_until.unwrap() > store.now());
    assert_eq!(states(&store).await, [(1, VersionState::Previous, true), (2, VersionState::Current, false)]);
    assert_eq!(held(&store).await.unwrap().through_version, 1);
    let admin = Actor { kind: credentialflow_model::ActorKind::Administrator, name: "admin".into(), source: None };
    let name: Name = "k".parse().unwrap();
    let fetched = vault.fetch_leaked_keys_secret(&admin, &name, "1").await.unwrap().unwrap();
    assert_eq!((fetched.version, KeyToken::parse(fetched.secret.expose()).unwrap().id), (2, old.id));
    assert!(vault.fetch_leaked_keys_secret(&admin, &name, "2").await.unwrap().is_none(), "another leak's");

    // The old secret leaks once more, as if the first report had been forgotten: nobody gets a third one.
    let again = answer_key(&store, &vault, 1, rule(LeakAction::Revoke, true)).await;
    assert_eq!((again.steps, again.left.len()), (vec![LeakStep::Revoked], 1));
    assert_eq!(states(&store).await, [(1, VersionState::Revoked, true), (2, VersionState::Current, false)]);
    let nothing = answer_key(&store, &vault, 1, rule(LeakAction::Revoke, true)).await;
    assert_eq!((nothing.steps, nothing.left.len()), (vec![], 1));
}

#[tokio::test]
async fn revoking_ends_the_leaked_secret_and_the_key_only_where_nothing_replaces_it() {
    let (_dir, store, vault, _token) = vault().await;
    vault.issue_key(&system(), &key("k"), PREFIX, None).await.unwrap();
    let done = answer_key(&store, &vault, 1, rule(LeakAction::Revoke, true)).await;
    assert_eq!(done.steps, [LeakStep::Rotated, LeakStep::Revoked]);
    assert_eq!(states(&store).await, [(1, VersionState::Revoked, true), (2, VersionState::Current, false)]);
    assert_eq!(answer_key(&store, &vault, 2, rule(LeakAction::NotifyOnly, false)).await, Answered::default());
    let done = answer_key(&store, &vault, 2, rule(LeakAction::Revoke, false)).await;
    assert_eq!(done.steps, [LeakStep::Revoked]);
    assert!(store.key_by_name("k").await.unwrap().unwrap().revoked_at.is_some());
    assert_eq!(answer_key(&store, &vault, 2, rule(LeakAction::Quarantine, true)).await.left.len(), 1);
}

async fn declared(store: &Store, vault: &Vault, declared: &Credential, value: Option<&str>) {
    let mut tx = store.begin(&system()).await.unwrap();
    let body = serde_json::to_string(declared).unwrap();
    tx.put_resource(Kind::Credentials, &declared.name, &body, Expect::Absent).await.unwrap();
    vault.create_credential_in(&mut tx, declared, value.map(SecretValue::from)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn answer_credential(store: &Store, vault: &Vault, of: &Credential, rule: LeakRule) -> Answered {
    let mut tx = store.begin(&system()).await.unwrap();
    let done = vault.answer_credential_leak_in(&mut tx, of, 1, rule).await.unwrap();
    tx.audit("test.answer", "credentials", json!({}));
    tx.commit().await.unwrap();
    done
}

#[tokio::test]
async fn a_credential_is_rotated_where_its_engine_makes_values_and_once() {
    let (_dir, store, vault, _token) = vault().await;
    let generated = credential("made", Engine::Generated);
    let given = credential("given", Engine::Static);
    declared(&store, &vault, &generated, None).await;
    declared(&store, &vault, &given, Some("a-value-we-were-given")).await;
    let told = rule(LeakAction::NotifyOnly, true);

    let done = answer_credential(&store, &vault, &generated, told).await;
    assert_eq!(done.steps, [LeakStep::RotationBegun]);
    let running = store.unfinished_rotation("made").await.unwrap().unwrap();
    assert_eq!(done.rotation.as_ref(), Some(&running.id));
    let again = answer_credential(&store, &vault, &generated, told).await;
    assert_eq!((again.steps, again.left), (vec![], vec!["a rotation is running already".to_owned()]));

    let left = answer_credential(&store, &vault, &given, told).await;
    assert_eq!((left.steps.len(), left.left.len()), (0, 1), "somebody has to deliver a value");
    let revoked = answer_credential(&store, &vault, &given, rule(LeakAction::Revoke, false)).await;
    assert_eq!(revoked.steps, [LeakStep::Revoked]);
    let version = store.credential_version("given", 1).await.unwrap().unwrap();
    assert_eq!(version.state, VersionState::Revoked);
    assert_eq!(answer_credential(&store, &vault, &given, told).await.left.len(), 1, "it is used no more");
}

#[tokio::test]
async fn a_revoked_value_that_we_make_ourselves_is_followed_by_another() {
    let (_dir, store, vault, _token) = vault().await;
    let generated = credential("made", Engine::Generated);
    declared(&store, &vault, &generated, None).await;
    let done = answer_credential(&store, &vault, &generated, rule(LeakAction::Revoke, true)).await;
    assert_eq!(done.steps, [LeakStep::Revoked, LeakStep::RotationBegun]);
    let versions = store.credential_versions("made").await.unwrap();
    assert_eq!((versions[0].state, versions.len()), (VersionState::Revoked, 2));
}
