//! Opening with shares, changing what opens, and exchanging every key above the values, with the
//! process ended between any two steps.

use super::*;
use crate::{
    reseal::{CREDENTIAL_VERSIONS, SealedTable},
    rotate::BRIDGE_STANDS,
    seal::{
        external::KeyServiceError,
        shamir::Quorum,
        share::{Share, ShareError},
        tests::{FakeKms, kms_key},
    },
};
use credentialflow_model::Timestamp;
use std::sync::{Arc, atomic::Ordering::SeqCst};

const TABLES: &[SealedTable] = &[CREDENTIAL_VERSIONS];

fn actor() -> Actor {
    Actor::operator()
}

fn share(text: &SecretValue) -> Share {
    Share::parse(text.expose_str().unwrap()).unwrap()
}

fn shares(texts: &[SecretValue]) -> SealInput {
    SealInput::Shares(texts.iter().map(share).collect())
}

fn passphrase(text: &str) -> SealInput {
    SealInput::Passphrase(SecretValue::from(text))
}

async fn shared_vault() -> (TempDir, Store, Vault, Vec<SecretValue>) {
    let (dir, store) = store().await;
    let made = Vault::init(&store, &actor(), NewSeal::Shares(Quorum::default())).await.unwrap();
    (dir, store, made.vault, made.shares)
}

/// The vault as a process finds it that starts now.
async fn restarted(store: &Store, input: SealInput) -> Vault {
    let vault = Vault::open_sealed(store).await.unwrap();
    vault.unseal(input).await.unwrap();
    vault
}

async fn actions(store: &Store) -> Vec<String> {
    let events = store.audit_events(0, 5000, &AuditFilter::default()).await.unwrap();
    events.into_iter().map(|e| e.action).collect()
}

#[tokio::test]
async fn a_vault_of_shares_opens_share_by_share_in_any_order() {
    let (_dir, store, first, texts) = shared_vault().await;
    assert_eq!(texts.len(), 5);
    assert_eq!(first.seal_status().unwrap().quorum, Quorum { shares: 5, threshold: 3 });
    let name = "orders".parse().unwrap();
    let sealed = first.seal_value(&SealContext::new(&name, 1), &SecretValue::from("canary")).unwrap();

    let vault = Vault::open_sealed(&store).await.unwrap();
    let one = vault.offer_share(share(&texts[4])).await.unwrap();
    assert!(one.sealed && one.progress == 1 && one.nonce.is_some());
    let again = vault.offer_share(share(&texts[4])).await;
    assert!(matches!(again, Err(VaultError::Share(ShareError::Repeated { number: 5 }))));
    let two = vault.offer_share(share(&texts[0])).await.unwrap();
    assert_eq!((two.progress, &two.nonce), (2, &one.nonce));
    vault.reset_unseal();
    assert_eq!(vault.seal_status().unwrap().progress, 0);
    for (n, text) in [&texts[2], &texts[1], &texts[3]].into_iter().enumerate() {
        let status = vault.offer_share(share(text)).await.unwrap();
        assert_eq!(status.sealed, n < 2, "{status:?}");
    }
    assert_eq!(vault.open_value(&SealContext::new(&name, 1), &sealed).unwrap().expose(), b"canary");
    // One share more than it takes changes nothing.
    assert!(!vault.offer_share(share(&texts[0])).await.unwrap().sealed);
    assert!(matches!(
        Vault::open_sealed(&store).await.unwrap().unseal(passphrase("x")).await,
        Err(VaultError::OtherSealMethod { expected: "shamir", given: "passphrase" })
    ));
}

#[tokio::test]
async fn shares_that_do_not_open_are_forgotten_and_another_try_is_possible() {
    let (_dir, store, _, texts) = shared_vault().await;
    let vault = Vault::open_sealed(&store).await.unwrap();
    // A made-up share with a checksum that fits.
    let mut forged = share(&texts[2]).to_bytes().expose().to_vec();
    forged[10] ^= 1;
    let at = forged.len() - 4;
    let crc = crc32fast::hash(&forged[..at]);
    forged.splice(at.., crc.to_be_bytes());
    vault.offer_share(share(&texts[0])).await.unwrap();
    vault.offer_share(share(&texts[1])).await.unwrap();
    let refused = vault.offer_share(Share::from_bytes(&forged).unwrap()).await;
    assert!(matches!(refused, Err(VaultError::Unseal)));
    let status = vault.seal_status().unwrap();
    assert!(status.sealed && status.progress == 0);
    for text in &texts[2..] {
        vault.offer_share(share(text)).await.unwrap();
    }
    assert!(!vault.is_sealed());
    // Sealing forgets what was handed in as well.
    vault.seal();
    vault.offer_share(share(&texts[0])).await.unwrap();
    vault.seal();
    assert_eq!(vault.seal_status().unwrap().progress, 0);
}

#[tokio::test]
async fn a_rekey_takes_the_quorum_and_the_new_shares_before_anything_changes() {
    let (_dir, store, vault, old) = shared_vault().await;
    let wish = || Rekey { seal: Some(NewSeal::Shares(Quorum::new(3, 2).unwrap())), root: false, verify: true };
    let begun = vault.begin_rekey(&actor(), wish()).await.unwrap();
    assert_eq!((begun.stage, begun.required, begun.progress), (RekeyStage::Prove, 3, 0));
    assert!(matches!(vault.begin_rekey(&actor(), wish()).await, Err(VaultError::RekeyRunning)));
    let nonce = begun.nonce.as_str();
    let stranger = vault.prove_rekey(&actor(), "another", shares(&old[..1])).await;
    assert!(matches!(stranger, Err(VaultError::NoRekey)));
    let early = vault.verify_rekey(&actor(), nonce, shares(&old[..1])).await;
    assert!(matches!(early, Err(VaultError::RekeyStep)));
    assert!(matches!(vault.restart_verification(&actor()).await, Err(VaultError::RekeyStep)));
    for text in &old[..2] {
        let answer = vault.prove_rekey(&actor(), nonce, shares(std::slice::from_ref(text))).await.unwrap();
        assert!(answer.shares.is_empty());
    }
    assert_eq!(vault.rekey_status().await.unwrap().unwrap().progress, 2);
    let proven = vault.prove_rekey(&actor(), nonce, shares(&old[3..4])).await.unwrap();
    let new = proven.shares;
    let status = proven.status.unwrap();
    assert_eq!((status.stage, status.required, new.len()), (RekeyStage::Verify, 2, 3));

    // A restart in between: the old shares open, the rekey is where it was.
    let vault = restarted(&store, shares(&old[2..])).await;
    assert_eq!(vault.rekey_status().await.unwrap().unwrap().stage, RekeyStage::Verify);
    let wrong = vault.verify_rekey(&actor(), nonce, shares(&old[..1])).await;
    assert!(matches!(wrong, Err(VaultError::Share(ShareError::OtherSet { .. }))));
    let one = vault.verify_rekey(&actor(), nonce, shares(&new[2..])).await.unwrap();
    assert_eq!(one.status.unwrap().progress, 1);
    // The trial begins anew: nothing of what was handed in counts, and the earlier nonce names nothing.
    let again = vault.restart_verification(&actor()).await.unwrap();
    assert_eq!((again.stage, again.progress, again.required), (RekeyStage::Verify, 0, 2));
    let late = vault.verify_rekey(&actor(), nonce, shares(&new[..1])).await;
    assert!(matches!(late, Err(VaultError::NoRekey)));
    let nonce = again.nonce.as_str();
    let one = vault.verify_rekey(&actor(), nonce, shares(&new[2..])).await.unwrap();
    assert_eq!(one.status.unwrap().progress, 1);
    let done = vault.verify_rekey(&actor(), nonce, shares(&new[..1])).await.unwrap();
    assert!(done.status.is_none() && vault.rekey_status().await.unwrap().is_none());

    let sealed = Vault::open_sealed(&store).await.unwrap();
    assert_eq!(sealed.seal_status().unwrap().quorum, Quorum { shares: 3, threshold: 2 });
    let lost = sealed.offer_share(share(&old[0])).await;
    assert!(matches!(lost, Err(VaultError::Share(ShareError::OtherSet { number: 1, .. }))));
    sealed.unseal(shares(&new[..2])).await.unwrap();
    let told = actions(&store).await;
    for action in ["rekey.begin", "rekey.prove", "rekey.restart_verification", "rekey.finish"] {
        assert_eq!(told.iter().filter(|a| *a == action).count(), 1, "{told:?}");
    }
}

#[tokio::test]
async fn a_cancelled_rekey_leaves_the_old_seal_and_its_new_shares_open_nothing() {
    let (_dir, store, vault, old) = shared_vault().await;
    let wish = Rekey { seal: Some(NewSeal::Shares(Quorum::default())), root: true, verify: true };
    let nonce = vault.begin_rekey(&actor(), wish).await.unwrap().nonce;
    let new = vault.prove_rekey(&actor(), &nonce, shares(&old[..3])).await.unwrap().shares;
    assert!(vault.cancel_rekey(&actor()).await.unwrap());
    assert!(!vault.cancel_rekey(&actor()).await.unwrap());
    assert!(matches!(vault.verify_rekey(&actor(), &nonce, shares(&new)).await, Err(VaultError::NoRekey)));
    restarted(&store, shares(&old[..3])).await;
    let other = Vault::open_sealed(&store).await.unwrap();
    assert!(other.unseal(shares(&new)).await.is_err());
}

#[tokio::test]
async fn a_seal_moves_from_kind_to_kind_and_back() {
    let (_dir, store) = store().await;
    let made = Vault::init(&store, &actor(), passphrase("correct horse")).await.unwrap();
    let (vault, token) = (made.vault, made.admin_token);
    let kms = Arc::new(FakeKms::default());
    vault.set_key_service(kms.clone());
    let name = "orders".parse().unwrap();
    let place = SealContext::new(&name, 1);
    let sealed = vault.seal_value(&place, &SecretValue::from("canary")).unwrap();
    let wish = |seal| Rekey { seal: Some(seal), root: false, verify: true };

    // Passphrase to shares: a wrong passphrase proves nothing.
    let nonce = vault.begin_rekey(&actor(), wish(NewSeal::Shares(Quorum::default()))).await.unwrap().nonce;
    let wrong = vault.prove_rekey(&actor(), &nonce, passphrase("wrong")).await;
    assert!(matches!(wrong, Err(VaultError::Unseal)));
    let given = vault.prove_rekey(&actor(), &nonce, passphrase("correct horse")).await.unwrap().shares;
    vault.verify_rekey(&actor(), &nonce, shares(&given[1..4])).await.unwrap();
    assert_eq!(vault.seal_method().unwrap(), "shamir");

    // Shares to a key service, which was tried before anything else.
    kms.away.store(true, SeqCst);
    let away = vault.begin_rekey(&actor(), wish(NewSeal::External(kms_key()))).await;
    assert!(matches!(away, Err(VaultError::KeyService(KeyServiceError::Away(_)))));
    kms.away.store(false, SeqCst);
    let nonce = vault.begin_rekey(&actor(), wish(NewSeal::External(kms_key()))).await.unwrap().nonce;
    let done = vault.prove_rekey(&actor(), &nonce, shares(&given[..3])).await.unwrap();
    assert!(done.status.is_none());
    let opened = Vault::open_sealed(&store).await.unwrap();
    assert_eq!(opened.auto_unseal().unwrap(), Some(kms_key()));
    opened.set_key_service(kms.clone());
    kms.away.store(true, SeqCst);
    assert!(matches!(opened.unseal(SealInput::External).await, Err(VaultError::KeyService(_))));
    assert!(opened.is_sealed());
    kms.away.store(false, SeqCst);
    opened.unseal(SealInput::External).await.unwrap();

    // And back to a passphrase, with another root key.
    let wish = Rekey { seal: Some(NewSeal::By(passphrase("battery staple"))), root: true, verify: true };
    let nonce = opened.begin_rekey(&actor(), wish).await.unwrap().nonce;
    opened.prove_rekey(&actor(), &nonce, SealInput::External).await.unwrap();
    let wrong = opened.verify_rekey(&actor(), &nonce, passphrase("correct horse")).await;
    assert!(matches!(wrong, Err(VaultError::Unseal)));
    opened.verify_rekey(&actor(), &nonce, passphrase("battery staple")).await.unwrap();
    assert_eq!(opened.root_term().unwrap().0, 2);
    for vault in [opened, restarted(&store, passphrase("battery staple")).await] {
        assert_eq!(vault.open_value(&place, &sealed).unwrap().expose(), b"canary");
        assert!(vault.verify_admin_token(token.expose()));
        assert!(vault.seal_value(&place, &SecretValue::from("x")).is_ok());
    }
    for stale in [passphrase("correct horse"), shares(&given)] {
        assert!(Vault::open_sealed(&store).await.unwrap().unseal(stale).await.is_err());
    }
}

#[tokio::test]
async fn other_nodes_follow_a_new_root_key_for_an_hour() {
    let (_dir, store, here, _token) = vault().await;
    let (there, late) = (restarted(&store, seal_input()).await, restarted(&store, seal_input()).await);
    let wish = || Rekey { seal: None, root: true, verify: true };
    let nonce = here.begin_rekey(&actor(), wish()).await.unwrap().nonce;
    assert!(matches!(
        here.prove_rekey(&actor(), &nonce, passphrase("x")).await,
        Err(VaultError::OtherSealMethod { .. })
    ));
    assert!(here.prove_rekey(&actor(), &nonce, seal_input()).await.unwrap().status.is_none());
    there.reload().await.unwrap();
    let place = SealContext::new(&"orders".parse().unwrap(), 1);
    let sealed = here.seal_value(&place, &SecretValue::from("canary")).unwrap();
    assert_eq!(there.open_value(&place, &sealed).unwrap().expose(), b"canary");
    there.rotate_keyring(&actor()).await.unwrap();
    here.reload().await.unwrap();
    assert_eq!(here.keyring_inventory().unwrap().len(), 2);
    assert_eq!((here.root_term().unwrap().0, there.root_term().unwrap().0), (2, 2));

    // After an hour nobody with the old root key gets any further; what unseals does.
    let mut root: serde_json::Value =
        serde_json::from_slice(&store.setting("vault.root").await.unwrap().unwrap()).unwrap();
    assert!(root["bridge"].is_string());
    root["installed"] = (root["installed"].as_i64().unwrap() - BRIDGE_STANDS.as_micros() as i64).into();
    let mut tx = store.begin(&actor()).await.unwrap();
    tx.put_setting("vault.root", root.to_string().as_bytes()).await.unwrap();
    tx.audit("test.age", "settings/vault.root", serde_json::json!({}));
    tx.commit().await.unwrap();
    here.reload().await.unwrap();
    let root: serde_json::Value = serde_json::from_slice(&store.setting("vault.root").await.unwrap().unwrap()).unwrap();
    assert!(root["bridge"].is_null() && root["term"] == 2);
    assert!(matches!(late.reload().await, Err(VaultError::Tampered)));
    late.seal();
    late.reload().await.unwrap();
    late.unseal(seal_input()).await.unwrap();
}

#[tokio::test]
async fn every_value_is_sealed_anew_whenever_the_process_is_ended() {
    let (_dir, store, first, _token) = vault().await;
    const VALUES: usize = 450;
    for n in 0..VALUES {
        create(&store, &first, &credential(&format!("c{n:03}"), Engine::Static), &format!("value {n}")).await;
    }
    // A row that opens nowhere is left as it is, and told.
    let mut tx = store.begin(&actor()).await.unwrap();
    let mut row = tx.credential_version("c007", 1).await.unwrap().unwrap();
    row.sealed.as_mut().unwrap()[40] ^= 1;
    tx.update_credential_version(&row).await.unwrap();
    tx.audit("test.damage", "credentials/c007", serde_json::json!({}));
    tx.commit().await.unwrap();

    assert!(!first.reseal_step(TABLES).await.unwrap(), "nothing to do before a rotation");
    assert_eq!(first.rotate_keyring(&actor()).await.unwrap(), 2);
    let feed = store.latest_change().await.unwrap();
    // Written after the rotation: under the new key, and not to be touched again.
    create(&store, &first, &credential("new", Engine::Static), "new").await;
    drop(first);
    let mut steps = 0;
    loop {
        // Each step by a process of its own, which then ends without a word.
        let vault = restarted(&store, seal_input()).await;
        let status = vault.reseal_status(TABLES).await.unwrap().unwrap();
        assert_eq!((status.key, status.total, status.finished), (2, VALUES as u64 + 1, None));
        steps += 1;
        if !vault.reseal_step(TABLES).await.unwrap() {
            break;
        }
        // In the middle of it everything opens, whichever key it is under.
        assert_eq!(vault.current_value(&"c000".parse().unwrap()).await.unwrap().expose(), b"value 0");
        assert_eq!(vault.current_value(&"c449".parse().unwrap()).await.unwrap().expose(), b"value 449");
    }
    assert_eq!(steps, 3);
    // The one credential's change and each process's reservation of seals; no batch made nodes read anything.
    let reserved = actions(&store).await.iter().filter(|action| *action == "keyring.reserve").count() as i64;
    assert!(store.latest_change().await.unwrap() <= feed + 1 + reserved);
    let vault = restarted(&store, seal_input()).await;
    let status = vault.reseal_status(TABLES).await.unwrap().unwrap();
    assert_eq!((status.resealed, status.unreadable, status.looked_at), (VALUES as u64 - 1, 1, VALUES as u64 + 1));
    assert!(status.finished.is_some());
    for guarded in vault.inventory(None, 1000).await.unwrap() {
        let damaged = guarded.credential.as_str() == "c007";
        assert_eq!(guarded.keyring_id, if damaged { 1 } else { 2 }, "{}", guarded.credential);
        assert_eq!(vault.current_value(&guarded.credential).await.is_ok(), !damaged, "{}", guarded.credential);
    }
    assert!(!vault.reseal_step(TABLES).await.unwrap());
    let told = actions(&store).await;
    assert_eq!(told.iter().filter(|a| *a == "keyring.reseal_finish").count(), 1);
    assert!(credentialflow_store::audit::verify(&store, None).await.is_ok());
}

#[tokio::test]
async fn a_second_rotation_begins_anew_and_what_is_written_meanwhile_stays() {
    let (_dir, store, vault, _token) = vault().await;
    for n in 0..300 {
        create(&store, &vault, &credential(&format!("c{n:03}"), Engine::Static), &format!("value {n}")).await;
    }
    vault.rotate_keyring(&actor()).await.unwrap();
    assert!(vault.reseal_step(TABLES).await.unwrap());
    vault.rotate_keyring(&actor()).await.unwrap();
    // Destroyed while it runs: nothing comes back.
    let mut tx = store.begin(&actor()).await.unwrap();
    vault.destroy_credential_in(&mut tx, &"c299".parse().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    while vault.reseal_step(TABLES).await.unwrap() {}
    let inventory = vault.inventory(None, 1000).await.unwrap();
    assert!(inventory.iter().filter(|g| g.state.is_live()).all(|g| g.keyring_id == 3));
    assert!(store.credential_version("c299", 1).await.unwrap().unwrap().sealed.is_none());
    let keys = vault.key_status().unwrap();
    assert_eq!(keys.iter().map(|k| k.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(keys[2].newest && keys[2].encryptions >= 299 && keys[2].encryptions < keys[2].limit);
}

#[tokio::test]
async fn a_new_pepper_hashes_new_keys_while_old_ones_stay_valid() {
    let (_dir, store, vault, token) = vault().await;
    let old = vault.issue_key(&actor(), &key("old"), "cfk", None).await.unwrap();
    let wish = vault.idempotency("k", b"POST /keys {}").unwrap();
    let kept = vault.issue_key(&actor(), &key("kept"), "cfk", Some(&wish)).await.unwrap();
    let there = restarted(&store, seal_input()).await;
    assert_eq!(vault.rotate_pepper(&actor()).await.unwrap(), 2);
    there.reload().await.unwrap();
    let new = there.issue_key(&actor(), &key("new"), "cfk", None).await.unwrap();
    let peppers = vault.peppers().unwrap();
    for (issued, pepper) in [(&old, 1), (&new, 2)] {
        let row = store.key_secrets(issued.id).await.unwrap().remove(0);
        assert_eq!(row.pepper_id, pepper);
        let token = KeyToken::parse(issued.secret.expose()).unwrap();
        let pepper = peppers.iter().find(|p| p.id == row.pepper_id).unwrap();
        assert_eq!(pepper.hash(token.expose_secret()), row.hash);
    }
    // The same request, sent again after the rotation, is the same request.
    let again = vault.idempotency("k", b"POST /keys {}").unwrap();
    let answer = vault.issue_key(&actor(), &key("kept"), "cfk", Some(&again)).await.unwrap();
    assert!(answer.replayed && answer.id == kept.id);

    let status = vault.pepper_status().await.unwrap();
    assert_eq!(status.iter().map(|p| (p.id, p.hashes, p.newest)).collect::<Vec<_>>(), [(1, 3, false), (2, 1, true)]);
    assert!(status[1].installed.is_some_and(|at| at > Timestamp::from_secs(0)));
    assert!(vault.verify_admin_token(token.expose()));
    vault.maintain().await.unwrap();
    assert!(vault.verify_admin_token(token.expose()) && !vault.verify_admin_token(b"cfadmin_x"));
    let status = vault.pepper_status().await.unwrap();
    assert_eq!(status.iter().map(|p| p.hashes).collect::<Vec<_>>(), [2, 2]);
    assert!(restarted(&store, seal_input()).await.verify_admin_token(token.expose()));
    assert!(actions(&store).await.contains(&"admin_token.rehash".to_owned()));
}

#[tokio::test]
async fn a_cut_or_emptied_database_is_told_and_not_taken_for_a_new_one() {
    let (dir, store, _, _) = shared_vault().await;
    let mut tx = store.begin(&actor()).await.unwrap();
    tx.delete_setting("vault.keyring").await.unwrap();
    tx.audit("test.damage", "settings/vault", serde_json::json!({}));
    tx.commit().await.unwrap();
    assert!(matches!(Vault::open_sealed(&store).await, Err(VaultError::Corrupt(_))));
    let again = Vault::init(&store, &actor(), seal_input()).await;
    assert!(matches!(again, Err(VaultError::Corrupt(_))), "a second vault would bury the first");
    store.close().await;
    let path = dir.path().join("state.db");
    let length = std::fs::metadata(&path).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
    for rest in ["state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(rest));
    }
    let told = match Store::connect(&format!("sqlite:{}", path.display())).await {
        Ok(store) => Vault::open_sealed(&store).await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(told.contains("malformed") || told.contains("corrupt") || told.contains("damaged"), "{told}");
}
