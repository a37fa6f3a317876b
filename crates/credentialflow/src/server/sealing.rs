//! The seal of a running server: opened at the start by what the settings or a key service give, its
//! state in the metrics, and everything stored sealed anew after an exchange of the encryption key.

use anyhow::Context;
use credentialflow_kms::KeyServices;
use credentialflow_model::Actor;
use credentialflow_store::{
    Store,
    sealed::{ACME, ENTRIES, KeyPart, LEASES, TOKENS},
};
use credentialflow_telemetry::Telemetry;
use credentialflow_vault::{
    SealInput, Vault, VaultError,
    reseal::{CREDENTIAL_VERSIONS, Place, SealedTable},
};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::watch;

/// Every table with sealed bytes, and what binds a row's bytes to their place. Who seals into a table
/// has a place here; what is missing stays under its old key and is told as unreadable.
pub(super) const TABLES: &[SealedTable] = &[
    CREDENTIAL_VERSIONS,
    SealedTable { column: ENTRIES, places: entry },
    SealedTable { column: TOKENS, places: token },
    SealedTable { column: LEASES, places: lease },
    SealedTable { column: ACME, places: acme },
];

fn entry(key: &[KeyPart]) -> Vec<Place> {
    let [KeyPart::Text(space), KeyPart::Text(path)] = key else { return Vec::new() };
    vec![
        Place::Blob(credentialflow_secrets::entry_place(space, path)),
        Place::Blob(credentialflow_identity::entry_place(space, path)),
    ]
}

fn token(key: &[KeyPart]) -> Vec<Place> {
    let [KeyPart::Text(accessor)] = key else { return Vec::new() };
    vec![Place::Blob(credentialflow_identity::token_place(accessor))]
}

fn lease(key: &[KeyPart]) -> Vec<Place> {
    let [KeyPart::Text(id)] = key else { return Vec::new() };
    vec![Place::Blob(credentialflow_secrets::lease::lease_place(id))]
}

fn acme(key: &[KeyPart]) -> Vec<Place> {
    let [KeyPart::Text(name)] = key else { return Vec::new() };
    vec![Place::Blob(super::acme::place(name))]
}

/// First and longest wait before a key service is asked again.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Opens the vault with `given`, or through the key service it is sealed by; otherwise waits until
/// somebody opens it. A key service that is away is asked again and again.
pub(super) async fn open(given: Option<SealInput>, vault: &Vault, store: &Store) -> anyhow::Result<()> {
    let external = vault.auto_unseal()?;
    match KeyServices::from_environment() {
        Ok(services) => vault.set_key_service(Arc::new(services)),
        Err(error) if external.is_some() => return Err(error).context("the key service cannot be used"),
        Err(error) => tracing::warn!(%error, "no key service can be used"),
    }
    if let Some(input) = given {
        match vault.unseal(input).await {
            Ok(()) => record(vault, store).await,
            // As after a rekey, with the old key file still lying there.
            Err(error @ VaultError::OtherSealMethod { .. }) => {
                tracing::warn!(%error, "what the settings give to unseal with is not used");
            }
            Err(error) => return Err(error).context("unsealing"),
        }
    }
    let mut pause = PAUSE.0;
    while vault.is_sealed() && external.is_some() {
        match vault.unseal(SealInput::External).await {
            Ok(()) => record(vault, store).await,
            Err(error) => {
                tracing::warn!(%error, again_in = ?pause, "the key service did not unseal the vault; it is asked again");
                let _ = tokio::time::timeout(pause, opened(vault)).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
    if vault.is_sealed() {
        tracing::warn!("the vault is sealed: the gateway starts after `credentialflow unseal`");
        opened(vault).await;
    }
    Ok(())
}

/// Somebody unsealed it through the API.
async fn opened(vault: &Vault) {
    while vault.is_sealed() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn record(vault: &Vault, store: &Store) {
    let by = vault.seal_method().unwrap_or_default();
    let noted = async {
        let mut tx = store.begin(&Actor::system("start")).await?;
        tx.audit("vault.unseal", "settings/vault", json!({ "by": by }));
        tx.commit().await
    };
    // While the database is away the gateway starts from its copy all the same.
    match noted.await {
        Ok(_) => tracing::info!(by, "the vault is unsealed"),
        Err(error) => tracing::warn!(by, %error, "the vault is unsealed, which could not be written to the audit log"),
    }
}

/// How far sealing anew has come, for the metrics.
#[derive(Default)]
pub(super) struct Progress {
    running: AtomicI64,
    looked_at: AtomicI64,
    resealed: AtomicI64,
}

/// Tells the seal and the keys in the metrics, sealed or not.
pub(super) fn measure(vault: &Vault, telemetry: &Telemetry) -> Arc<Progress> {
    let progress = Arc::new(Progress::default());
    let metrics = telemetry.metrics();
    let gauge = |name: &str, help: &str, vault: &Vault, read: fn(&Vault) -> Option<i64>| {
        let vault = vault.clone();
        metrics.register_gauge(name, help, move || read(&vault).unwrap_or(0));
    };
    gauge("vault_sealed", "1 while the vault is sealed", vault, |v| Some(i64::from(v.is_sealed())));
    gauge("vault_unseal_progress", "Shares handed in to unseal so far", vault, |v| {
        Some(i64::from(v.seal_status().ok()?.progress))
    });
    gauge("vault_encryption_keys", "Encryption keys in the keyring; 0 while sealed", vault, |v| {
        i64::try_from(v.key_status().ok()?.len()).ok()
    });
    gauge("vault_encryptions", "Values sealed with the newest encryption key, at most; 0 while sealed", vault, |v| {
        i64::try_from(v.key_status().ok()?.last()?.encryptions).ok()
    });
    for (name, help, read) in [
        ("vault_reseal_running", "1 while everything is sealed anew", (|p| &p.running) as fn(&Progress) -> &AtomicI64),
        ("vault_reseal_looked_at", "Rows looked at by the last sealing anew", |p| &p.looked_at),
        ("vault_reseal_rows", "Rows sealed anew by the last sealing anew", |p| &p.resealed),
    ] {
        let progress = progress.clone();
        metrics.register_gauge(name, help, move || read(&progress).load(Relaxed));
    }
    progress
}

/// Seals everything stored anew after an exchange of the encryption key, while this node is the one
/// that does such work. Others' changes take their turn between two batches.
pub(super) async fn reseal(vault: Vault, progress: Arc<Progress>, mine: watch::Receiver<bool>) {
    loop {
        let pause = if vault.is_sealed() || !*mine.borrow() {
            Duration::from_secs(1)
        } else {
            match vault.reseal_step(TABLES).await {
                Ok(true) => Duration::from_millis(20),
                Ok(false) => Duration::from_secs(2),
                Err(error) => {
                    tracing::warn!(%error, "sealing anew goes on later");
                    Duration::from_secs(5)
                }
            }
        };
        if let Ok(Some(status)) = vault.reseal_status(&[]).await {
            progress.running.store(i64::from(status.finished.is_none()), Relaxed);
            progress.looked_at.store(status.looked_at as i64, Relaxed);
            progress.resealed.store(status.resealed as i64, Relaxed);
        }
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_model::SecretValue;
    use std::time::Instant;

    #[tokio::test]
    async fn what_no_longer_unseals_is_told_and_waited_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("state.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        let input = || SealInput::Environment(SecretValue::from("a passphrase of a test"));
        let made = Vault::init(&store, &Actor::operator(), input()).await.unwrap();
        drop(made);
        let vault = Vault::open_sealed(&store).await.unwrap();
        // A key file of another time does not keep the server from starting; somebody may unseal it.
        let later = vault.clone();
        let opening = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            later.unseal(input()).await.unwrap();
        });
        let begun = Instant::now();
        let stale = SealInput::KeyFile(dir.path().join("none.key"));
        open(Some(stale), &vault, &store).await.unwrap();
        opening.await.unwrap();
        assert!(!vault.is_sealed() && begun.elapsed() >= Duration::from_millis(300));

        let wrong = SealInput::Environment(SecretValue::from("another"));
        let sealed = Vault::open_sealed(&store).await.unwrap();
        assert!(open(Some(wrong), &sealed, &store).await.is_err(), "a wrong passphrase ends the start");
        assert!(open(Some(input()), &sealed, &store).await.is_ok());
        let events = store.audit_events(0, 100, &Default::default()).await.unwrap();
        assert!(events.iter().any(|e| e.action == "vault.unseal"));
    }

    #[test]
    fn every_row_of_a_table_has_a_place() {
        let text = |text: &str| KeyPart::Text(text.to_owned());
        for table in TABLES {
            let key: Vec<_> = if table.column.table == "credential_versions" {
                vec![text("orders"), KeyPart::Number(1)]
            } else {
                table.column.keys.iter().map(|_| text("a")).collect()
            };
            assert!(!(table.places)(&key).is_empty(), "{}", table.column.table);
            assert!((table.places)(&[]).is_empty());
        }
    }
}
