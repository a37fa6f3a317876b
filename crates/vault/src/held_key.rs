//! Keys whose secret a credential holds: what callers may show follows the versions of the credential.
//!
//! The credential has the key's name, and a version the number of the secret. Each function here belongs to the
//! transaction that changes the version, so that no crash leaves a secret that works and that nobody holds:
//!
//! | the credential's new version is | the key's secrets |
//! | --- | --- |
//! | made | the new one is accepted, the one before as well, without an end |
//! | in use, and callers have left the old one | the old one is over |
//! | taken back | it is over, the old one stays |
//! | revoked | it is over |
//!
//! Two are accepted at most: one that was still in the overlap of an earlier rotation by hand ends when a third is made.

use crate::{
    Result, Vault, VaultError,
    keys::{DEFAULT_OVERLAP, key_row, not_found},
};
use credentialflow_model::{
    KeyToken, Name, SecretValue,
    lifecycle::{VersionEvent, VersionState},
    resource::{Credential, Engine, Key, Kind},
};
use credentialflow_store::{CredentialVersionRow, KeySecretRow, WriteTx};
use serde_json::json;

impl Vault {
    /// The beginning of a key that everybody may see, as in `cfk_live_7m2k9q4x1c8v`.
    pub(crate) async fn key_head_in(&self, tx: &mut WriteTx, name: &Name) -> Result<SecretValue> {
        let row = key_row(tx, name).await?;
        if row.revoked_at.is_some() {
            return Err(VaultError::KeyRevoked(name.clone()));
        }
        let resource = tx.resource(Kind::Keys, name.as_str()).await?.ok_or_else(|| not_found(name))?;
        let key: Key = serde_json::from_str(&resource.body).map_err(|_| VaultError::Corrupt("key"))?;
        Ok(SecretValue::from(format!("{}_{}_{}", self.key_prefix(), key.environment, row.id)))
    }

    /// Has a new version of a credential accepted as a secret of its key, beside the one in use.
    pub(crate) async fn accept_key_in(
        &self,
        tx: &mut WriteTx,
        name: &Name,
        version: u32,
        value: &SecretValue,
    ) -> Result<()> {
        let id = key_row(tx, name).await?.id;
        for mut secret in live(tx, name).await? {
            match secret.state {
                VersionState::Current => {
                    secret.state = secret.state.after(VersionEvent::Supersede)?;
                    secret.retire_at = None;
                }
                _ => over(&mut secret, VersionEvent::Expire, tx)?,
            }
            tx.update_key_secret(&secret).await?;
        }
        let pepper = self.pepper()?;
        let token = KeyToken::parse(value.expose()).ok_or(VaultError::Corrupt("key"))?;
        tx.insert_key_secret(&KeySecretRow {
            key_id: id,
            version,
            state: VersionState::Pending.after(VersionEvent::Promote)?,
            hash: pepper.hash(token.expose_secret()),
            pepper_id: pepper.id,
            created: tx.now(),
            retire_at: None,
        })
        .await?;
        tx.forget_key_secret_uses(id).await?;
        tx.audit("key.rotate", &format!("keys/{name}"), json!({ "key_id": id, "version": version, "held": true }));
        Ok(())
    }

    /// The credential goes, its key stays: callers go on with the secret they have. One that nobody was told of ends, and
    /// one that a rotation was waiting for gets the overlap of a rotation by hand. Nothing happens where the credential
    /// has nothing but its name in common with a key.
    pub(crate) async fn let_go_of_key_in(
        &self,
        tx: &mut WriteTx,
        name: &Name,
        versions: &[CredentialVersionRow],
    ) -> Result<()> {
        let Some(key) = tx.key_by_name(name.as_str()).await? else { return Ok(()) };
        for unknown in versions.iter().filter(|row| row.state == VersionState::Pending && row.sealed.is_some()) {
            let Ok(value) = self.open_version(unknown) else { continue };
            if KeyToken::parse(value.expose()).is_some_and(|token| token.id == key.id) {
                take_back_in(tx, name, unknown.version).await?;
            }
        }
        for mut secret in live(tx, name).await? {
            if secret.state == VersionState::Previous && secret.retire_at.is_none() {
                secret.retire_at = Some(tx.now().plus(DEFAULT_OVERLAP));
                tx.update_key_secret(&secret).await?;
            }
        }
        Ok(())
    }
}

/// The credential that holds the secret of a key, if there is one.
pub(crate) async fn holder_in(tx: &mut WriteTx, name: &Name) -> Result<Option<Credential>> {
    let Some(row) = tx.resource(Kind::Credentials, name.as_str()).await? else { return Ok(None) };
    let credential: Credential = serde_json::from_str(&row.body).map_err(|_| VaultError::Corrupt("credential"))?;
    Ok(Some(credential).filter(|credential| credential.engine == Engine::Key))
}

/// The number of the next version: of the credential, and of a secret of its key.
pub(crate) async fn next_number_in(tx: &mut WriteTx, name: &Name) -> Result<u32> {
    let id = key_row(tx, name).await?.id;
    Ok(tx.key_secrets(id).await?.iter().map(|secret| secret.version).max().unwrap_or(0) + 1)
}

/// Ends every secret but the one that stays. Answers how many ended.
pub(crate) async fn end_others_in(tx: &mut WriteTx, name: &Name, kept: u32) -> Result<usize> {
    let mut ended = Vec::new();
    for mut secret in live(tx, name).await?.into_iter().filter(|secret| secret.version != kept) {
        over(&mut secret, VersionEvent::Expire, tx)?;
        tx.update_key_secret(&secret).await?;
        ended.push(secret.version);
        tx.forget_key_secret_uses(secret.key_id).await?;
    }
    if !ended.is_empty() {
        tx.audit("key.end", &format!("keys/{name}"), json!({ "versions": ended, "kept": kept }));
    }
    Ok(ended.len())
}

/// Takes a new secret back: the one before is the only one again.
pub(crate) async fn take_back_in(tx: &mut WriteTx, name: &Name, version: u32) -> Result<()> {
    let mut current = false;
    let mut secrets = live(tx, name).await?;
    for secret in &mut secrets {
        if secret.version == version && secret.state == VersionState::Current {
            over(secret, VersionEvent::Refuse, tx)?;
            tx.update_key_secret(secret).await?;
        }
        current |= secret.state == VersionState::Current;
    }
    let before = secrets.into_iter().filter(|secret| secret.state == VersionState::Previous).max_by_key(|s| s.version);
    if let Some(mut before) = before.filter(|_| !current) {
        before.state = before.state.after(VersionEvent::Restore)?;
        before.retire_at = None;
        tx.update_key_secret(&before).await?;
        tx.forget_key_secret_uses(before.key_id).await?;
    }
    Ok(())
}

/// Ends one secret at once.
pub(crate) async fn revoke_in(tx: &mut WriteTx, name: &Name, version: u32) -> Result<()> {
    for mut secret in live(tx, name).await?.into_iter().filter(|secret| secret.version == version) {
        over(&mut secret, VersionEvent::Revoke, tx)?;
        tx.update_key_secret(&secret).await?;
    }
    Ok(())
}

/// The secrets of a key that are accepted, oldest first; none where there is no such key.
async fn live(tx: &mut WriteTx, name: &Name) -> Result<Vec<KeySecretRow>> {
    let Some(row) = tx.key_by_name(name.as_str()).await? else { return Ok(Vec::new()) };
    let secrets = tx.key_secrets(row.id).await?;
    Ok(secrets.into_iter().filter(|secret| secret.state.is_live()).collect())
}

fn over(secret: &mut KeySecretRow, event: VersionEvent, tx: &WriteTx) -> Result<()> {
    secret.state = secret.state.after(event)?;
    secret.retire_at = Some(tx.now());
    Ok(())
}
