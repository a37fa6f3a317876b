//! Credentials we hold: their versions, from the first sealed value to the last destroyed one.
//!
//! Functions that take a [`WriteTx`] change nothing by themselves: they become part of the caller's
//! transaction, with an audit event of their own. The others are one transaction each. After any of
//! them the stored state must be published before it is enforced.

use crate::{
    Result, SealContext, Sealed, Vault, VaultError,
    engine::{self, EngineError, ProcessLookup, Revocation},
    held_key, rotation,
};
use credentialflow_model::{
    Actor, Name, SecretReference, SecretValue, Timestamp,
    lifecycle::{VersionEvent, VersionState},
    resource::{Credential, Engine, Kind},
};
use credentialflow_store::{CredentialVersionRow, WriteTx};
use serde_json::json;

/// What giving a credential a value did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It already has this value.
    Unchanged {
        /// The version that holds it.
        version: u32,
    },
    /// It had no version in use; this one is in use now.
    Created {
        /// The new version.
        version: u32,
    },
    /// A rotation to the new value has begun.
    Rotating {
        /// The rotation's id.
        rotation: String,
        /// The new version.
        version: u32,
    },
}

/// One line of the inventory: what guards a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// Which credential.
    pub credential: Name,
    /// Which version.
    pub version: u32,
    /// Where it is in its life.
    pub state: VersionState,
    /// The algorithm that seals it.
    pub algorithm: String,
    /// The number of the encryption key that sealed it.
    pub keyring_id: u32,
}

impl Vault {
    /// Makes and seals a credential's first version, current at once; of a `database` credential when a
    /// rotation has put it into its target. `received` is the value of a `static` credential. [`VaultError::Exists`] when there is a version in use or a rotation.
    pub async fn create_credential_in(
        &self,
        tx: &mut WriteTx,
        credential: &Credential,
        received: Option<SecretValue>,
    ) -> Result<u32> {
        let versions = tx.credential_versions(credential.name.as_str()).await?;
        let in_use = versions.iter().any(|v| v.state.is_live() || v.state == VersionState::Pending);
        if in_use || tx.unfinished_rotation(credential.name.as_str()).await?.is_some() {
            return Err(VaultError::Exists { kind: "credential", name: credential.name.to_string() });
        }
        if matches!(credential.engine, Engine::Database | Engine::Provider | Engine::Key) {
            return Ok(rotation::start_in(self, tx, credential, received, None).await?.to_version);
        }
        let received = self.engine_input_in(tx, credential, received).await?;
        let value = engine::engine(credential.engine).generate(credential, received)?;
        let mut row = self.sealed_row(&credential.name, next_version(&versions), &value, tx.now())?;
        change(&mut row, VersionEvent::Promote, tx.now())?;
        tx.insert_credential_version(&row).await?;
        tx.audit("credential.create", &subject(&credential.name), json!({ "version": row.version }));
        Ok(row.version)
    }

    /// What an engine works with: the value that was handed in, for a certificate its authority's, for a key its beginning.
    pub(crate) async fn engine_input_in(
        &self,
        tx: &mut WriteTx,
        credential: &Credential,
        received: Option<SecretValue>,
    ) -> Result<Option<SecretValue>> {
        if !matches!(credential.engine, Engine::Certificate | Engine::Key) {
            return Ok(received);
        }
        if received.is_some() {
            return Err(EngineError::ValueUnexpected(credential.name.clone()).into());
        }
        if credential.engine == Engine::Key {
            return Ok(Some(self.key_head_in(tx, &credential.name).await?));
        }
        let authority = credential.certificate.as_ref().and_then(|rule| rule.authority.as_ref());
        let authority = authority.ok_or_else(|| EngineError::AuthorityMissing(credential.name.clone()))?;
        let versions = tx.credential_versions(authority.as_str()).await?;
        let current = versions.iter().find(|v| v.state == VersionState::Current);
        Ok(Some(self.open_version(current.ok_or_else(|| VaultError::NoCurrentVersion(authority.clone()))?)?))
    }

    /// Gives a `static` credential a value: nothing happens when it has it already, a first value is
    /// used at once, another one begins a rotation.
    pub async fn put_value_in(&self, tx: &mut WriteTx, credential: &Credential, value: SecretValue) -> Result<Put> {
        let fingerprint = self.fingerprint(&credential.name, &value)?;
        let versions = tx.credential_versions(credential.name.as_str()).await?;
        let same = |v: &&CredentialVersionRow| v.fingerprint == fingerprint;
        if let Some(pending) =
            versions.iter().filter(|v| matches!(v.state, VersionState::Pending | VersionState::Canary)).find(same)
        {
            return Ok(Put::Unchanged { version: pending.version });
        }
        let unfinished = tx.unfinished_rotation(credential.name.as_str()).await?;
        if unfinished.is_none() {
            match versions.iter().find(|v| v.state == VersionState::Current) {
                Some(current) if same(&current) => return Ok(Put::Unchanged { version: current.version }),
                Some(_) => {}
                None => {
                    let version = self.create_credential_in(tx, credential, Some(value)).await?;
                    return Ok(Put::Created { version });
                }
            }
        } else if let Some(current) = versions.iter().filter(|v| v.state == VersionState::Current).find(same) {
            return Ok(Put::Unchanged { version: current.version });
        }
        let begun = rotation::start_in(self, tx, credential, Some(value), None).await?;
        Ok(Put::Rotating { version: begun.to_version, rotation: begun.id })
    }

    /// The value in use of a credential, opened.
    pub async fn current_value(&self, credential: &Name) -> Result<SecretValue> {
        let versions = self.store()?.credential_versions(credential.as_str()).await?;
        let current = versions.iter().find(|v| v.state == VersionState::Current);
        self.open_version(current.ok_or_else(|| VaultError::NoCurrentVersion(credential.clone()))?)
    }

    /// Opens one stored version.
    pub fn open_version(&self, row: &CredentialVersionRow) -> Result<SecretValue> {
        let bytes = row.sealed.clone().ok_or_else(|| missing(&row.credential, row.version))?;
        self.open_value(&SealContext::new(&row.credential, row.version), &Sealed::from_bytes(bytes)?)
    }

    /// Reads the value a reference points to; `${credential:NAME}` opens that credential.
    pub async fn resolve(&self, reference: &SecretReference) -> Result<SecretValue> {
        let mut lookup = ProcessLookup::default();
        if let SecretReference::Credential(name) = reference {
            match self.current_value(name).await {
                Ok(value) => drop(lookup.credentials.insert(name.clone(), value)),
                Err(VaultError::NoCurrentVersion(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(engine::resolve(reference, &lookup)?)
    }

    /// Withdraws one version, or every version, at once. Answers the versions that were live or
    /// pending before. A running rotation notices and ends by itself. What can be done where the value
    /// is accepted is [`Vault::revoke_at_target`]'s; for a `database` credential in use a rotation begins
    /// in the same transaction, which takes the revoked password away at the target; for a key's as well, which is over at once.
    pub async fn revoke_credential(&self, actor: &Actor, name: &Name, version: Option<u32>) -> Result<Vec<u32>> {
        let mut tx = self.store()?.begin(actor).await?;
        let revoked = self.revoke_credential_in(&mut tx, name, version).await?;
        tx.commit().await?;
        Ok(revoked)
    }

    /// As [`Vault::revoke_credential`], as part of the caller's transaction.
    pub async fn revoke_credential_in(&self, tx: &mut WriteTx, name: &Name, version: Option<u32>) -> Result<Vec<u32>> {
        let versions = tx.credential_versions(name.as_str()).await?;
        if let Some(wanted) = version
            && !versions.iter().any(|v| v.version == wanted)
        {
            return Err(missing(name, wanted));
        }
        if versions.is_empty() {
            return Err(VaultError::NotFound { kind: "credential", name: name.to_string() });
        }
        let declared = tx.resource(Kind::Credentials, name.as_str()).await?;
        let declared = declared.and_then(|row| serde_json::from_str::<Credential>(&row.body).ok());
        let is_key = declared.as_ref().is_some_and(|credential| credential.engine == Engine::Key);
        let mut revoked = Vec::new();
        for mut row in versions.into_iter().filter(|v| version.is_none_or(|wanted| v.version == wanted)) {
            if row.state.is_live() || row.state == VersionState::Pending {
                change(&mut row, VersionEvent::Revoke, tx.now())?;
                tx.update_credential_version(&row).await?;
                if is_key {
                    held_key::revoke_in(tx, name, row.version).await?;
                }
                revoked.push(row.version);
            }
        }
        tx.audit("credential.revoke", &subject(name), json!({ "versions": revoked }));
        if !revoked.is_empty() {
            rotation::decide::give_way_in(tx, name.as_str(), "the credential was revoked").await?;
        }
        if is_key && !revoked.is_empty() {
            // Its rotation has nothing to bring and nothing to go back to, and would keep the next one from beginning.
            rotation::decide::end_without_versions_in(tx, name, "the credential was revoked").await?;
        }
        if !revoked.is_empty() && tx.unfinished_rotation(name.as_str()).await?.is_none() {
            let is_remade = |c: &Credential| c.database.is_some() || c.provider.is_some() || is_key;
            if let Some(credential) = declared.filter(is_remade) {
                match rotation::start_in(self, tx, &credential, None, None).await {
                    // Nobody is to have another secret; what was revoked stays so.
                    Err(VaultError::KeyRevoked(_) | VaultError::NotFound { .. }) if is_key => {}
                    begun => drop(begun?),
                }
            }
        }
        Ok(revoked)
    }

    /// Revokes a version's value where it is accepted, as far as its engine can. To be called after
    /// [`Vault::revoke_credential`] when the value leaked, before it when the revocation is planned.
    pub async fn revoke_at_target(&self, credential: &Credential, version: u32) -> Result<Revocation> {
        let row = self.store()?.credential_version(credential.name.as_str(), version).await?;
        let value = self.open_version(&row.ok_or_else(|| missing(&credential.name, version))?)?;
        Ok(engine::engine(credential.engine).revoke(credential, &value).await?)
    }

    /// Destroys the sealed bytes of every version of a credential, as when its resource is removed.
    /// The versions stay as history; nothing of them can be opened again.
    pub async fn destroy_credential_in(&self, tx: &mut WriteTx, name: &Name) -> Result<()> {
        rotation::decide::give_way_in(tx, name.as_str(), "the credential was removed").await?;
        // What a provider made stays there: its own names of it are told, for whoever tidies up.
        let mut handles = Vec::new();
        let versions = tx.credential_versions(name.as_str()).await?;
        self.let_go_of_key_in(tx, name, &versions).await?;
        for mut row in versions {
            if row.state == VersionState::Destroyed {
                continue;
            }
            handles.extend(row.handle.clone());
            if row.state.is_live() || row.state == VersionState::Pending {
                change(&mut row, VersionEvent::Revoke, tx.now())?;
            }
            destroy(&mut row, tx.now())?;
            tx.update_credential_version(&row).await?;
        }
        let detail = if handles.is_empty() { json!({}) } else { json!({ "left_at_provider": handles }) };
        tx.audit("credential.destroy", &subject(name), detail);
        Ok(())
    }

    /// Ends the versions of a credential whose time is over. Answers how many.
    pub async fn expire_credential(&self, actor: &Actor, credential: &Credential, now: Timestamp) -> Result<usize> {
        if credential.expires.is_none_or(|end| end > now) {
            return Ok(0);
        }
        let mut tx = self.store()?.begin(actor).await?;
        let mut ended = 0;
        for mut row in tx.credential_versions(credential.name.as_str()).await? {
            if row.state.is_live() {
                change(&mut row, VersionEvent::Expire, tx.now())?;
                tx.update_credential_version(&row).await?;
                ended += 1;
            }
        }
        if ended > 0 {
            tx.audit("credential.expire", &subject(&credential.name), json!({ "versions": ended }));
            tx.commit().await?;
        }
        Ok(ended)
    }

    /// What guards which version, in order, at most `limit` after a place.
    pub async fn inventory(&self, after: Option<(&str, u32)>, limit: u32) -> Result<Vec<Guarded>> {
        let rows = self.store()?.credential_versions_after(after, limit).await?;
        Ok(rows
            .into_iter()
            .map(|v| Guarded {
                credential: v.credential,
                version: v.version,
                state: v.state,
                algorithm: v.algorithm,
                keyring_id: v.keyring_id,
            })
            .collect())
    }

    /// A pending version of a value, sealed for its place.
    pub(crate) fn sealed_row(
        &self,
        credential: &Name,
        version: u32,
        value: &SecretValue,
        now: Timestamp,
    ) -> Result<CredentialVersionRow> {
        let sealed = self.seal_value(&SealContext::new(credential, version), value)?;
        Ok(CredentialVersionRow {
            credential: credential.clone(),
            version,
            state: VersionState::Pending,
            algorithm: sealed.algorithm().as_str().to_owned(),
            keyring_id: sealed.key_id(),
            fingerprint: self.fingerprint(credential, value)?.to_vec(),
            sealed: Some(sealed.into_bytes()),
            created: now,
            promoted: None,
            retired: None,
            handle: None,
        })
    }
}

/// Revokes every version whose key is revoked. No rotation follows: nobody is to have another secret.
pub(crate) async fn withdraw_in(tx: &mut WriteTx, name: &Name) -> Result<()> {
    for mut row in tx.credential_versions(name.as_str()).await? {
        if row.state.is_live() || row.state == VersionState::Pending {
            change(&mut row, VersionEvent::Revoke, tx.now())?;
            tx.update_credential_version(&row).await?;
        }
    }
    rotation::decide::give_way_in(tx, name.as_str(), "the key was revoked").await
}

/// Moves a version through its life and keeps its dates.
pub(crate) fn change(row: &mut CredentialVersionRow, event: VersionEvent, now: Timestamp) -> Result<()> {
    row.state = row.state.after(event)?;
    match event {
        VersionEvent::Promote => row.promoted = Some(now),
        VersionEvent::Refuse | VersionEvent::Expire | VersionEvent::Revoke => row.retired = Some(now),
        VersionEvent::Try | VersionEvent::Supersede | VersionEvent::Restore | VersionEvent::Destroy => {}
    }
    Ok(())
}

/// Takes a retired version's bytes away for good.
pub(crate) fn destroy(row: &mut CredentialVersionRow, now: Timestamp) -> Result<()> {
    change(row, VersionEvent::Destroy, now)?;
    row.sealed = None;
    row.retired.get_or_insert(now);
    Ok(())
}

pub(crate) fn next_version(versions: &[CredentialVersionRow]) -> u32 {
    versions.iter().map(|v| v.version).max().unwrap_or(0) + 1
}

pub(crate) fn subject(name: &Name) -> String {
    format!("credentials/{name}")
}

pub(crate) fn missing(credential: &Name, version: u32) -> VaultError {
    VaultError::NotFound { kind: "version", name: format!("{credential}/{version}") }
}
