//! Begins a rotation: by hand, or because it is due. The new value is sealed in the transaction that
//! stores the plan, so that a crash loses neither. One that is due may first have to wait: for an
//! approval, or for a value that only somebody else can deliver (see `decide.rs`).

use super::{decide, progress::Progress};
use crate::{
    Result, Vault, VaultError,
    credentials::{next_version, subject},
    engine, held_key, tell,
};
use credentialflow_model::{
    Actor, SecretValue, Timestamp,
    lifecycle::{RotationStep, VersionState},
    resource::{Credential, Engine, Overlap},
};
use credentialflow_store::{CredentialVersionRow, RotationRow, WriteTx};
use serde_json::json;

/// A rotation that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its id.
    pub id: String,
    /// The version it replaces.
    pub from_version: Option<u32>,
    /// The number of the new version.
    pub to_version: u32,
    /// Whether it waits for somebody.
    pub waiting: bool,
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
/// credential; a `generated` one makes its own. A value is also taken by a rotation that waits for it.
/// [`VaultError::RotationUnfinished`] when another one is running.
pub async fn start_in(
    vault: &Vault,
    tx: &mut WriteTx,
    credential: &Credential,
    new_value: Option<SecretValue>,
    overlap: Option<Overlap>,
) -> Result<Begun> {
    let name = &credential.name;
    if let Some(row) = tx.unfinished_rotation(name.as_str()).await? {
        return match new_value {
            Some(value) if row.step == RotationStep::Deliver => {
                decide::deliver_in(vault, tx, credential, row, value).await
            }
            _ => Err(VaultError::RotationUnfinished(name.clone())),
        };
    }
    let mut row = fresh(tx, credential, Progress::of(credential, overlap))?;
    let made = make_in(vault, tx, credential, new_value, &mut row).await?;
    tx.insert_rotation(&row).await?;
    let detail = json!({ "rotation": row.id, "from": row.from_version, "to": made });
    tx.audit("credential.rotate", &subject(name), detail);
    Ok(Begun { id: row.id, from_version: row.from_version, to_version: made, waiting: false })
}

/// Begins a rotation that is due at `now`, if it still is. One that needs an approval, or a value from
/// somebody, is stored as waiting.
pub(super) async fn start_due_in(
    vault: &Vault,
    tx: &mut WriteTx,
    credential: &Credential,
    now: Timestamp,
) -> Result<Option<Begun>> {
    let name = &credential.name;
    if !tx.take_due_rotation(name.as_str(), now).await? || tx.unfinished_rotation(name.as_str()).await?.is_some() {
        return Ok(None);
    }
    let versions = tx.credential_versions(name.as_str()).await?;
    let Some(current) = in_use(&versions) else { return Ok(None) };
    let mut row = fresh(tx, credential, Progress::of(credential, None))?;
    row.from_version = Some(current.version);
    let mut to_version = next_version(&versions);
    let approval = credential.rotate.as_ref().is_some_and(|rule| rule.approval);
    if approval || is_delivered(credential) {
        row.step = if approval { RotationStep::Approve } else { RotationStep::Deliver };
        row.waiting = approval || !is_asked_for(credential);
    } else {
        to_version = make_in(vault, tx, credential, None, &mut row).await?;
    }
    tx.insert_rotation(&row).await?;
    let event = if row.waiting { "rotation.waiting" } else { "rotation.due" };
    let data = json!({ "rotation": row.id, "step": row.step, "from_version": row.from_version });
    tell::owner_in(tx, name, event, None, data).await?;
    let detail = json!({ "rotation": row.id, "from": row.from_version, "step": row.step });
    tx.audit("rotation.due", &subject(name), detail);
    Ok(Some(Begun { id: row.id, from_version: row.from_version, to_version, waiting: row.waiting }))
}

/// Whether a credential's values come from somebody else.
pub(super) fn is_delivered(credential: &Credential) -> bool {
    credential.engine.is_received()
}

/// Whether somebody is asked for the next value by a webhook.
pub(super) fn is_asked_for(credential: &Credential) -> bool {
    credential.rotate.as_ref().is_some_and(|rule| rule.deliver.is_some())
}

fn in_use(versions: &[CredentialVersionRow]) -> Option<&CredentialVersionRow> {
    versions.iter().find(|v| v.state == VersionState::Current)
}

/// A rotation that has only begun.
fn fresh(tx: &WriteTx, credential: &Credential, progress: Progress) -> Result<RotationRow> {
    Ok(RotationRow {
        id: new_id()?,
        credential: credential.name.clone(),
        from_version: None,
        to_version: None,
        step: RotationStep::Generate,
        started: tx.now(),
        updated: tx.now(),
        deadline: None,
        detail: progress.stored()?,
        error: None,
        waiting: false,
        again: None,
    })
}

/// Makes and seals the new version, and notes in the rotation which one replaces which. One that a
/// provider makes is not there yet: it is made by the rotation's first step.
pub(super) async fn make_in(
    vault: &Vault,
    tx: &mut WriteTx,
    credential: &Credential,
    new_value: Option<SecretValue>,
    row: &mut RotationRow,
) -> Result<u32> {
    let name = &credential.name;
    let versions = tx.credential_versions(name.as_str()).await?;
    let current = in_use(&versions);
    row.from_version = current.map(|v| v.version);
    let mut to_version = next_version(&versions);
    if credential.engine == Engine::Provider {
        return match new_value {
            Some(_) => Err(engine::EngineError::ValueUnexpected(name.clone()).into()),
            None => Ok(to_version),
        };
    }
    let value_in_use = match current {
        Some(current) if credential.engine == Engine::Database => Some(vault.open_version(current)?),
        _ => None,
    };
    let new_value = vault.engine_input_in(tx, credential, new_value).await?;
    if credential.engine == Engine::Key {
        to_version = to_version.max(held_key::next_number_in(tx, name).await?);
    }
    let value = engine::engine(credential.engine).generate_after(credential, new_value, value_in_use.as_ref())?;
    tx.insert_credential_version(&vault.sealed_row(name, to_version, &value, tx.now())?).await?;
    if credential.engine == Engine::Key {
        vault.accept_key_in(tx, name, to_version, &value).await?;
    }
    row.to_version = Some(to_version);
    Ok(to_version)
}

/// 128 random bits in hexadecimal.
fn new_id() -> Result<String> {
    let mut bits = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bits)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bits)))
}
