#![allow(clippy::unwrap_used)]

use super::*;
use crate::tests::{key, vault};
use credentialflow_model::{
    leak::{LeakAction, LeakRule, LeakStep},
    resource::{Delegate, Engine},
};
use credentialflow_store::{AuditFilter, Store};
use proptest::prelude::*;
use std::collections::HashMap;

async fn application(store: &Store, allow: serde_json::Value) {
    let mut tx = store.begin(&Actor::operator()).await.unwrap();
    let body = json!({ "name": "checkout", "allow": allow }).to_string();
    tx.put_resource(Kind::Applications, &"checkout".parse().unwrap(), &body, Expect::Anything).await.unwrap();
    tx.audit("application.create", "applications/checkout", json!({}));
    tx.commit().await.unwrap();
}

async fn issue(vault: &Vault, key: &Key) -> Result<KeyId> {
    vault.issue_key(&Actor::operator(), key, "cfk", None).await.map(|issued| issued.id)
}

fn parent(name: &str, delegate: Option<Delegate>) -> Key {
    Key { delegate, ..key(name) }
}

async fn exchange(vault: &Vault, parent: KeyId, wanted: WantedKey) -> Result<DelegatedKey, NotDelegated> {
    exchange_with(vault, (parent, 1), wanted).await
}

/// With the secret of this version, from 127.0.0.1.
async fn exchange_with(
    vault: &Vault,
    (key, version): (KeyId, u32),
    wanted: WantedKey,
) -> Result<DelegatedKey, NotDelegated> {
    let shown = ShownKey { key, version, source: IpAddr::from([127, 0, 0, 1]) };
    vault.delegate_key(&Actor::operator(), shown, wanted, "cfk").await
}

/// Answers the leak of a key's secret; what was done, and whether anything was left for people.
async fn leaked(store: &Store, vault: &Vault, (key, version): (KeyId, u32), rule: LeakRule) -> (Vec<LeakStep>, bool) {
    let mut tx = store.begin(&Actor::operator()).await.unwrap();
    let row = tx.key(key).await.unwrap().unwrap();
    let leak = crate::leak::KeyLeak { leak: "l", version, rule, seen: vec![], prefix: "cfk" };
    let done = vault.answer_key_leak_in(&mut tx, &row, leak).await.unwrap();
    tx.audit("test.answer", "keys", json!({}));
    tx.commit().await.unwrap();
    (done.steps, !done.left.is_empty())
}

fn allow(routes: &[&str], models: &[&str]) -> Allow {
    let names = |list: &[&str]| list.iter().map(|name| name.parse().unwrap()).collect();
    Allow { routes: names(routes), models: names(models), ..Allow::default() }
}

async fn in_force(store: &Store, id: KeyId) -> bool {
    let row = store.key(id).await.unwrap().unwrap();
    let live = store.key_secrets(id).await.unwrap().iter().any(|secret| secret.state.is_live());
    assert_eq!(live, row.revoked_at.is_none());
    live
}

#[tokio::test]
async fn a_key_issues_narrower_ones_as_it_was_allowed_to() {
    let (_dir, store, vault, _) = vault().await;
    application(&store, json!({ "routes": ["orders", "stock"], "models": ["small"], "prompts": ["mood"] })).await;
    let delegate = Some(Delegate { keys: 2, ..Delegate::default() });
    let narrow = Key { allow: Some(allow(&["orders", "gone"], &["small"])), ..parent("root", delegate) };
    let root = issue(&vault, &narrow).await.unwrap();
    let plain = issue(&vault, &key("plain")).await.unwrap();

    let refused = exchange(&vault, plain, WantedKey::default()).await.unwrap_err();
    assert!(matches!(refused, NotDelegated::NotAllowed(_)), "{refused}");
    let wide = |allow| WantedKey { allow: Some(allow), ..WantedKey::default() };
    let prompts = Allow { prompts: vec!["mood".parse().unwrap()], ..Allow::default() };
    for beyond in [allow(&["stock"], &[]), allow(&["gone"], &[]), allow(&[], &["large"]), prompts] {
        let refused = exchange(&vault, root, wide(beyond)).await.unwrap_err();
        assert!(matches!(refused, NotDelegated::Wider(_)), "{refused}");
    }
    let actor = Some(KeyActor { name: "researcher".into(), purpose: None });
    let wanted = WantedKey {
        actor,
        subject: Some("alice".into()),
        lifetime: Some(Period::from_secs(999_999)),
        usd: Some("0.5".parse().unwrap()),
        ..wide(allow(&["orders"], &[]))
    };
    let first = exchange(&vault, root, wanted).await.unwrap();
    assert_eq!((first.lives, &first.granted), (Period::from_secs(3600), &allow(&["orders"], &[])));
    assert_eq!(
        first.key.budget,
        Some(serde_json::from_value(json!({ "usd": "0.5", "per": "1h", "hard": true })).unwrap())
    );
    assert_eq!((first.act.unwrap().sub.as_str(), first.subject.as_deref()), ("researcher", Some("alice")));
    let of = store.delegation(first.issued.id).await.unwrap().unwrap();
    assert_eq!((of.parent, of.root, of.anchor, of.depth, of.parent_version), (root, root, root, 1, 1));
    assert!(of.exchanged && of.actor == "researcher" && of.expires == first.key.expires);
    // What it issued may issue none itself, and it has issued as many as it may.
    let further = exchange(&vault, first.issued.id, WantedKey::default()).await.unwrap_err();
    assert!(matches!(further, NotDelegated::NotAllowed(_)), "{further}");
    let second = exchange(&vault, root, WantedKey::default()).await.unwrap();
    assert_eq!(second.granted, allow(&["orders"], &["small"]), "what its application does not allow is no part of it");
    assert!(matches!(exchange(&vault, root, WantedKey::default()).await.unwrap_err(), NotDelegated::TooMany(2)));
    vault.revoke_key(&Actor::operator(), &second.key.name).await.unwrap();
    exchange(&vault, root, WantedKey::default()).await.unwrap();
    let told = AuditFilter { action: Some("key.delegate".into()), subject: Some("keys/root".into()) };
    assert_eq!(store.audit_events(0, 9, &told).await.unwrap().len(), 3);
}

#[tokio::test]
async fn no_key_outlives_what_it_comes_from_and_none_acts_for_somebody_else() {
    let (_dir, store, vault, _) = vault().await;
    application(&store, json!({})).await;
    let now = Timestamp::from(std::time::SystemTime::now());
    let soon = now.plus(Period::from_secs(600));
    let delegate = Some(Delegate { depth: 3, lifetime: Delegate::LONGEST, keys: 9 });
    let root = Key { expires: Some(soon), subject: Some("alice".into()), ..parent("root", delegate) };
    let root = issue(&vault, &root).await.unwrap();
    let (mut above, mut depth) = (root, 0);
    let last = loop {
        match exchange(&vault, above, WantedKey::default()).await {
            Ok(issued) => {
                assert_eq!(issued.key.expires, Some(soon));
                (above, depth) = (issued.issued.id, depth + 1);
            }
            Err(refused) => break refused,
        }
    };
    assert!(matches!(last, NotDelegated::NotAllowed(_)) && depth == 3, "{last}");
    assert_eq!(store.delegation(above).await.unwrap().unwrap().anchor, root);
    let bob = WantedKey { subject: Some("bob".into()), ..WantedKey::default() };
    assert!(matches!(exchange(&vault, root, bob).await.unwrap_err(), NotDelegated::Wrong(_)));
    let declared = Key { parent: Some(store.key(above).await.unwrap().unwrap().name), ..key("declared") };
    assert!(issue(&vault, &declared).await.is_err(), "what a key issued itself is no place to stand on");
    vault.revoke_key(&Actor::operator(), &"root".parse().unwrap()).await.unwrap();
    assert!(matches!(exchange(&vault, root, WantedKey::default()).await.unwrap_err(), NotDelegated::NotValid));
    let late = Key { parent: Some("root".parse().unwrap()), ..key("late") };
    assert!(matches!(issue(&vault, &late).await, Err(VaultError::KeyRevoked(_))));
}

#[tokio::test]
async fn the_leak_of_a_secret_ends_what_was_issued_with_it_and_nothing_else() {
    let (_dir, store, vault, _) = vault().await;
    application(&store, json!({})).await;
    let delegate = Some(Delegate { depth: 2, ..Delegate::default() });
    let root = issue(&vault, &parent("root", delegate)).await.unwrap();
    let declared = issue(&vault, &Key { parent: Some("root".parse().unwrap()), ..key("declared") }).await.unwrap();
    let with_first = exchange(&vault, root, WantedKey::default()).await.unwrap().issued.id;
    let below = exchange(&vault, with_first, WantedKey::default()).await.unwrap().issued.id;
    vault.rotate_key(&Actor::operator(), &"root".parse().unwrap(), "cfk", None, None).await.unwrap();
    let with_second = exchange_with(&vault, (root, 2), WantedKey::default()).await.unwrap().issued.id;
    for id in [declared, with_first, below, with_second] {
        assert!(in_force(&store, id).await, "keys belong to the key, not to its secret");
    }
    leaked(&store, &vault, (root, 1), LeakRule::new(LeakAction::Quarantine, false)).await;
    let ended = [in_force(&store, with_first).await, in_force(&store, below).await];
    assert_eq!(ended, [false, false]);
    assert!(in_force(&store, declared).await && in_force(&store, with_second).await && in_force(&store, root).await);
}

#[tokio::test]
async fn the_leak_of_a_secret_that_is_over_ends_what_was_issued_with_it_too() {
    let (_dir, store, vault, _) = vault().await;
    application(&store, json!({})).await;
    let root = issue(&vault, &parent("root", Some(Delegate::default()))).await.unwrap();
    let with_first = exchange(&vault, root, WantedKey::default()).await.unwrap().issued.id;
    let at_once = Some(Period::from_millis(0));
    vault.rotate_key(&Actor::operator(), &"root".parse().unwrap(), "cfk", at_once, None).await.unwrap();
    let with_second = exchange_with(&vault, (root, 2), WantedKey::default()).await.unwrap().issued.id;
    // A node that has not heard of it yet still takes it for one that is accepted.
    let refused = exchange(&vault, root, WantedKey::default()).await.unwrap_err();
    assert!(matches!(refused, NotDelegated::NotValid), "{refused}");
    let told = leaked(&store, &vault, (root, 1), LeakRule::new(LeakAction::NotifyOnly, false)).await;
    assert_eq!((told, in_force(&store, with_first).await), ((vec![], true), true));
    let revoke = LeakRule::new(LeakAction::Revoke, false);
    assert_eq!(leaked(&store, &vault, (root, 1), revoke).await, (vec![LeakStep::Revoked], true));
    assert!(!in_force(&store, with_first).await && in_force(&store, with_second).await);
    assert_eq!(leaked(&store, &vault, (root, 1), revoke).await, (vec![], true), "there is nothing left to end");
}

#[tokio::test]
async fn the_leak_of_a_secret_that_a_credential_holds_ends_what_was_issued_with_it() {
    let (_dir, store, vault, _) = vault().await;
    application(&store, json!({})).await;
    let root = issue(&vault, &parent("root", Some(Delegate::default()))).await.unwrap();
    let holder = crate::tests::credential("root", Engine::Key);
    let mut tx = store.begin(&Actor::operator()).await.unwrap();
    let body = serde_json::to_string(&holder).unwrap();
    tx.put_resource(Kind::Credentials, &holder.name, &body, Expect::Absent).await.unwrap();
    assert_eq!(vault.create_credential_in(&mut tx, &holder, None).await.unwrap(), 2);
    tx.commit().await.unwrap();
    let with_held = exchange_with(&vault, (root, 2), WantedKey::default()).await.unwrap().issued.id;
    let done = leaked(&store, &vault, (root, 2), LeakRule::new(LeakAction::Revoke, false)).await;
    assert_eq!(done.0[0], LeakStep::Revoked);
    assert!(!in_force(&store, with_held).await);
}

#[tokio::test]
async fn a_secret_in_quarantine_issues_keys_only_from_where_it_is_let_in() {
    let (_dir, store, vault, _) = vault().await;
    application(&store, json!({})).await;
    let root = issue(&vault, &parent("root", Some(Delegate { depth: 2, ..Delegate::default() }))).await.unwrap();
    vault.rotate_key(&Actor::operator(), &"root".parse().unwrap(), "cfk", None, None).await.unwrap();
    let newer = exchange_with(&vault, (root, 2), WantedKey::default()).await.unwrap().issued.id;
    leaked(&store, &vault, (root, 1), LeakRule::new(LeakAction::Quarantine, false)).await;
    let refused = exchange(&vault, root, WantedKey::default()).await.unwrap_err();
    assert!(matches!(refused, NotDelegated::NotValid), "{refused}");
    for shown in [(root, 2), (newer, 1)] {
        exchange_with(&vault, shown, WantedKey::default()).await.unwrap();
    }
    let here = ["127.0.0.0/8".parse().unwrap()];
    vault.release_key(&Actor::operator(), &"root".parse().unwrap(), &here).await.unwrap();
    let let_in = exchange(&vault, root, WantedKey::default()).await.unwrap().issued.id;
    exchange(&vault, let_in, WantedKey::default()).await.unwrap();
}

#[tokio::test]
async fn a_key_ends_with_all_that_the_key_of_who_acts_comes_from() {
    let (_dir, store, vault, _) = vault().await;
    application(&store, json!({})).await;
    let root = issue(&vault, &parent("root", Some(Delegate::default()))).await.unwrap();
    let soon = Timestamp::from(std::time::SystemTime::now()).plus(Period::from_secs(600));
    issue(&vault, &Key { expires: Some(soon), ..key("person") }).await.unwrap();
    let acts = issue(&vault, &Key { parent: Some("person".parse().unwrap()), ..key("acts") }).await.unwrap();
    let wanted = WantedKey { until: Some(acts), ..WantedKey::default() };
    assert_eq!(exchange(&vault, root, wanted.clone()).await.unwrap().key.expires, Some(soon));
    vault.revoke_key(&Actor::operator(), &"person".parse().unwrap()).await.unwrap();
    assert!(matches!(exchange(&vault, root, wanted).await.unwrap_err(), NotDelegated::NotValid));
}

#[tokio::test]
async fn keys_that_ended_are_deleted_and_stay_known() {
    let (_dir, store, vault, _) = vault().await;
    application(&store, json!({})).await;
    let root = issue(&vault, &parent("root", Some(Delegate::default()))).await.unwrap();
    let gone = exchange(&vault, root, WantedKey::default()).await.unwrap();
    let stays = exchange(&vault, root, WantedKey::default()).await.unwrap();
    vault.revoke_key(&Actor::operator(), &gone.key.name).await.unwrap();
    let later = Timestamp::from(std::time::SystemTime::now()).plus(Period::from_secs(60));
    let also = exchange(&vault, root, WantedKey::default()).await.unwrap();
    vault.revoke_key(&Actor::operator(), &also.key.name).await.unwrap();
    let deleted = vault.forget_delegated_keys(&Actor::system("expiry"), later, 1).await.unwrap();
    assert_eq!(deleted, 2, "all of them, one in each transaction");
    assert_eq!(vault.forget_delegated_keys(&Actor::system("expiry"), later, 9).await.unwrap(), 0);
    assert!(store.key(gone.issued.id).await.unwrap().is_none() && in_force(&store, stays.issued.id).await);
    assert!(store.resource(Kind::Keys, gone.key.name.as_str()).await.unwrap().is_none());
    let known = store.delegation(gone.issued.id).await.unwrap().unwrap();
    assert_eq!((known.name, known.root), (gone.key.name, root));
    assert_eq!(store.exchanged_keys().await.unwrap(), [stays.key.name.to_string()]);
    assert_eq!(store.forget_delegations(later).await.unwrap(), 2);
}

#[derive(Clone, Debug)]
enum Step {
    Root,
    Declare(usize),
    Exchange(usize),
    Rotate(usize),
    Revoke(usize),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => Just(Step::Root),
        3 => any::<usize>().prop_map(Step::Declare),
        5 => any::<usize>().prop_map(Step::Exchange),
        1 => any::<usize>().prop_map(Step::Rotate),
        3 => any::<usize>().prop_map(Step::Revoke),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..40)
}

/// A key as the model has it.
struct Known {
    id: KeyId,
    name: Name,
    version: u32,
    parent: Option<usize>,
    exchanged: bool,
    ended: bool,
}

async fn trees(steps: Vec<Step>) {
    let (_dir, mut store, mut vault, _) = vault().await;
    application(&store, json!({ "routes": ["orders"] })).await;
    let delegate = Some(Delegate { depth: 2, keys: 1000, ..Delegate::default() });
    let mut known: Vec<Known> = Vec::new();
    let depth = |known: &[Known], at: usize| std::iter::successors(Some(at), |at| known[*at].parent).count();
    for (n, step) in steps.into_iter().enumerate() {
        let pick = |among: usize| if known.is_empty() { None } else { Some(among % known.len()) };
        match step {
            Step::Root => {
                let key = parent(&format!("root-{n}"), delegate.clone());
                let id = issue(&vault, &key).await.unwrap();
                known.push(Known { id, name: key.name, version: 1, parent: None, exchanged: false, ended: false });
            }
            Step::Declare(of) => {
                let Some(of) = pick(of).filter(|of| depth(&known, *of) <= Key::MOST_ANCESTORS) else { continue };
                let key =
                    Key { parent: Some(known[of].name.clone()), ..parent(&format!("child-{n}"), delegate.clone()) };
                match issue(&vault, &key).await {
                    Ok(id) => {
                        assert!(!known[of].ended && !known[of].exchanged);
                        known.push(Known {
                            id,
                            name: key.name,
                            version: 1,
                            parent: Some(of),
                            exchanged: false,
                            ended: false,
                        });
                    }
                    Err(error) => assert!(known[of].ended || known[of].exchanged, "{error}"),
                }
            }
            Step::Exchange(of) => {
                let Some(of) = pick(of) else { continue };
                let generation = std::iter::successors(Some(of), |at| known[*at].parent)
                    .take_while(|at| known[*at].exchanged)
                    .count();
                let may = !known[of].ended && generation < 2 && depth(&known, of) <= Key::MOST_ANCESTORS;
                match exchange_with(&vault, (known[of].id, known[of].version), WantedKey::default()).await {
                    Ok(made) => {
                        assert!(may);
                        let (id, name) = (made.issued.id, made.key.name);
                        known.push(Known { id, name, version: 1, parent: Some(of), exchanged: true, ended: false });
                    }
                    Err(error) => assert!(!may, "{error}"),
                }
            }
            Step::Rotate(of) => {
                let Some(of) = pick(of) else { continue };
                let done = vault.rotate_key(&Actor::operator(), &known[of].name, "cfk", None, None).await;
                assert_eq!(done.is_ok(), !known[of].ended);
                known[of].version += u32::from(done.is_ok());
            }
            Step::Revoke(of) => {
                let Some(of) = pick(of) else { continue };
                vault.revoke_key(&Actor::operator(), &known[of].name).await.unwrap();
                for at in 0..known.len() {
                    let below = std::iter::successors(Some(at), |at| known[*at].parent).any(|above| above == of);
                    known[at].ended |= below;
                }
            }
            Step::Restart => {
                store = Store::connect(&format!("sqlite:{}", _dir.path().join("state.db").display())).await.unwrap();
                vault = Vault::open_sealed(&store).await.unwrap();
                vault.unseal(crate::tests::seal_input()).await.unwrap();
            }
        }
        let ids: HashMap<KeyId, usize> = known.iter().enumerate().map(|(at, key)| (key.id, at)).collect();
        for key in &known {
            assert_eq!(in_force(&store, key.id).await, !key.ended, "{}", key.name);
            let of = store.delegation(key.id).await.unwrap();
            assert_eq!(of.as_ref().map(|of| ids[&of.parent]), key.parent);
            assert_eq!(of.is_some_and(|of| of.ended.is_some()), key.ended && key.parent.is_some());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 100, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_done_a_key_is_in_force_while_all_above_it_are(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(trees(steps));
    }
}
