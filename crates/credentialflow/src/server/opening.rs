//! Opens the vault when the server starts: from the database, from the local copy, or as soon as somebody makes it.

use super::copy::LocalCopy;
use crate::settings::ServerSettings;
use anyhow::{Context, bail, ensure};
use credentialflow_model::SecretValue;
use credentialflow_store::Store;
use credentialflow_vault::{SealInput, Vault, VaultError, seal};
use credentialflow_vaultapi::VaultApi;
use std::time::Duration;

/// Opens the vault: from the database, or from the local copy while the database is away.
pub(super) async fn vault(settings: &ServerSettings, store: &Store, api: &VaultApi) -> anyhow::Result<Vault> {
    match store.migrate().await {
        Ok(_) => match Vault::open_sealed(store).await {
            Err(VaultError::NotInitialized) if settings.vault.is_some() => {
                tracing::warn!("there is no vault yet: it is made by sys/init of the run-time API");
                Ok(api.vault().await)
            }
            Err(VaultError::NotInitialized) => {
                bail!("this database is not initialized; run `credentialflow init` with the same settings first")
            }
            // Somebody may be making the vault through that API at this moment; there is one for both.
            opened if settings.vault.is_some() => {
                api.attach(opened?).await?;
                Ok(api.vault().await)
            }
            opened => Ok(opened?),
        },
        Err(away) if away.is_transient() => {
            let copy = copy(settings)?;
            let bytes = copy.vault_settings().with_context(|| format!("{away}, and there is no local copy yet"))?;
            let vault = Vault::open_copy(&bytes)?;
            tokio::spawn(attach_when_back(store.clone(), vault.clone()));
            Ok(vault)
        }
        Err(other) => Err(other.into()),
    }
}

/// The local copy, which is put to disk at each change where the database can be away while this machine is well.
pub(super) fn copy(settings: &ServerSettings) -> anyhow::Result<LocalCopy> {
    LocalCopy::open(&settings.data_dir.join("copy"), settings.database.starts_with("postgres"))
}

async fn attach_when_back(store: Store, vault: Vault) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if store.migrate().await.is_ok() && vault.attach(&store).await.is_ok() {
            tracing::info!("the database is back");
            return;
        }
    }
}

/// What the settings give to unseal with, if anything.
pub(super) fn unseal_input(settings: &ServerSettings) -> anyhow::Result<Option<SealInput>> {
    if let Some(file) = &settings.passphrase_file {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let text = SecretValue::from(text);
        let line = text.expose_str().unwrap_or_default().lines().next().unwrap_or_default();
        ensure!(!line.is_empty(), "{} is empty", file.display());
        return Ok(Some(SealInput::Passphrase(SecretValue::from(line))));
    }
    if let Some(file) = &settings.key_file {
        return Ok(Some(SealInput::KeyFile(file.clone())));
    }
    Ok(seal::environment::from_process())
}
