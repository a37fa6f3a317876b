//! Begins a rotation: the new value is sealed in the transaction that stores the plan, so that a
//! crash loses neither.

use super::progress::Progress;
use crate::{
    Result, Vault, VaultError,
    credentials::{next_version, subject},
    engine,
};
use credentialflow_model::{
    Actor, SecretValue,
    lifecycle::{RotationStep, VersionState},
    resource::{Credential, Engine, Overlap},
};
use credentialflow_store::{RotationRow, WriteTx};
use serde_json::json;

/// A rotation that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its id.
    pub id: String,
    /// The version it replaces.
    pub from_version: Option<u32>,
    /// The new version, pending.
    pub to_version: u32,
}

impl Vault {
    /// Begins a rotation in a transaction of its own. The runner takes it from there.
    pub async fn start_rotation(
        &self,
        actor: &Actor,
        credential: &Credential,
        new_value: Option<SecretValue>,
        overlap: Option<Overlap>,
    ) -> Result<Begun> {
        let mut tx = self.store()?.begin(actor).await?;
        let begun = start_in(self, &mut tx, credential, new_value, overlap).await?;
        tx.commit().await?;
        Ok(begun)
    }
}

/// Begins a rotation as part of the caller's transaction. `new_value` is the value of a `static`
/// credential; a `generated` one makes its own. [`VaultError::RotationUnfinished`] when one is running.
pub async fn start_in(
    vault: &Vault,
    tx: &mut WriteTx,
    credential: &Credential,
    new_value: Option<SecretValue>,
    overlap: Option<Overlap>,
) -> Result<Begun> {
    let name = &credential.name;
    if tx.unfinished_rotation(name.as_str()).await?.is_some() {
        return Err(VaultError::RotationUnfinished(name.clone()));
    }
    let versions = tx.credential_versions(name.as_str()).await?;
    let current = versions.iter().find(|v| v.state == VersionState::Current);
    let from_version = current.map(|v| v.version);
    let in_use = match current {
        Some(current) if credential.engine == Engine::Database => Some(vault.open_version(current)?),
        _ => None,
    };
    let value = engine::engine(credential.engine).generate_after(credential, new_value, in_use.as_ref())?;
    let to_version = next_version(&versions);
    tx.insert_credential_version(&vault.sealed_row(name, to_version, &value, tx.now())?).await?;
    let id = new_id()?;
    let progress = Progress::begin(credential.rotate, overlap);
    tx.insert_rotation(&RotationRow {
        id: id.clone(),
        credential: name.clone(),
        from_version,
        to_version: Some(to_version),
        step: RotationStep::Generate,
        started: tx.now(),
        updated: tx.now(),
        deadline: None,
        detail: serde_json::to_value(&progress).map_err(|_| VaultError::Corrupt("rotation"))?,
        error: None,
    })
    .await?;
    tx.audit("credential.rotate", &subject(name), json!({ "rotation": id, "from": from_version, "to": to_version }));
    Ok(Begun { id, from_version, to_version })
}

/// 128 random bits in hexadecimal.
fn new_id() -> Result<String> {
    let mut bits = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bits)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bits)))
}
