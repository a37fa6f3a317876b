//! What people decide about a rotation that waits: approve it, decline it, deliver its value.

use super::{
    progress::Progress,
    start::{Begun, is_asked_for, is_delivered, make_in},
};
use crate::{Result, Vault, VaultError, credentials::subject, held_key, tell};
use credentialflow_model::{
    Actor, Name, Period, SecretValue, Timestamp,
    lifecycle::{RotationStep, VersionState},
    resource::{Credential, Kind},
};
use credentialflow_store::{RotationRow, WriteTx};
use serde_json::json;

/// After a rotation was declined, the next one is due after this or the credential's period, whichever
/// is shorter.
const DECLINED: Period = Period::from_secs(24 * 3600);

impl Vault {
    /// Lets a rotation that waits for an approval go on. Who approved is in its progress and in the audit log.
    pub async fn approve_rotation(&self, actor: &Actor, id: &str) -> Result<()> {
        let mut tx = self.store()?.begin(actor).await?;
        let mut row = waiting(&mut tx, id, RotationStep::Approve).await?;
        let stored = tx.resource(Kind::Credentials, row.credential.as_str()).await?;
        let gone = || VaultError::NotFound { kind: "credential", name: row.credential.to_string() };
        let credential: Credential =
            serde_json::from_str(&stored.ok_or_else(gone)?.body).map_err(|_| VaultError::Corrupt("credential"))?;
        let mut progress = Progress::read(&row)?;
        progress.approved_by = Some(actor.name.clone());
        progress.went_on = Some(tx.now());
        row.detail = progress.stored()?;
        if is_delivered(&credential) {
            row.step = RotationStep::Deliver;
            row.waiting = !is_asked_for(&credential);
            if row.waiting {
                let data = json!({ "rotation": row.id, "step": row.step, "from_version": row.from_version });
                tell::owner_in(&mut tx, &row.credential, "rotation.waiting", None, data).await?;
            }
        } else {
            make_in(self, &mut tx, &credential, None, &mut row).await?;
            row.step = RotationStep::Generate;
            row.waiting = false;
        }
        moved(&mut tx, &mut row).await?;
        tx.audit("rotation.approve", &subject(&row.credential), json!({ "rotation": row.id, "to": row.to_version }));
        tx.commit().await?;
        Ok(())
    }

    /// Ends a rotation that waits, for an approval or for a value. The credential stays as it is, and
    /// its next rotation is due a day later, or after its period where that is shorter.
    pub async fn decline_rotation(&self, actor: &Actor, id: &str, reason: Option<&str>) -> Result<()> {
        let mut tx = self.store()?.begin(actor).await?;
        let row = tx.rotation(id).await?;
        let row = row.ok_or_else(|| VaultError::NotFound { kind: "rotation", name: id.to_owned() })?;
        if !matches!(row.step, RotationStep::Approve | RotationStep::Deliver) {
            return Err(VaultError::RotationNotWaiting(row.credential));
        }
        let pause = Progress::read(&row)?.every.map_or(DECLINED, |every| every.min(DECLINED));
        let why = match reason {
            Some(reason) => format!("declined by {}: {reason}", actor.name),
            None => format!("declined by {}", actor.name),
        };
        end_in(&mut tx, row, why, Some(pause), "rotation.decline").await?;
        tx.commit().await?;
        Ok(())
    }

    /// Gives a rotation the value it waits for.
    pub async fn deliver_value(&self, actor: &Actor, credential: &Credential, value: SecretValue) -> Result<Begun> {
        let mut tx = self.store()?.begin(actor).await?;
        let row = tx.unfinished_rotation(credential.name.as_str()).await?;
        let row = row.filter(|row| row.step == RotationStep::Deliver);
        let row = row.ok_or_else(|| VaultError::RotationNotWaiting(credential.name.clone()))?;
        let begun = deliver_in(self, &mut tx, credential, row, value).await?;
        tx.commit().await?;
        Ok(begun)
    }
}

/// Gives a rotation its value, as part of the caller's transaction.
pub(super) async fn deliver_in(
    vault: &Vault,
    tx: &mut WriteTx,
    credential: &Credential,
    mut row: RotationRow,
    value: SecretValue,
) -> Result<Begun> {
    let to_version = make_in(vault, tx, credential, Some(value), &mut row).await?;
    let mut progress = Progress::read(&row)?;
    progress.went_on = Some(tx.now());
    progress.message = None;
    row.detail = progress.stored()?;
    row.step = RotationStep::Generate;
    row.waiting = false;
    moved(tx, &mut row).await?;
    let detail = json!({ "rotation": row.id, "from": row.from_version, "to": to_version });
    tx.audit("rotation.deliver", &subject(&row.credential), detail);
    Ok(Begun { id: row.id, from_version: row.from_version, to_version, waiting: false })
}

/// Ends the rotation of a credential that waits, because something else goes before it.
pub(crate) async fn give_way_in(tx: &mut WriteTx, credential: &str, why: &str) -> Result<()> {
    match tx.unfinished_rotation(credential).await? {
        Some(row) if matches!(row.step, RotationStep::Approve | RotationStep::Deliver) => {
            end_in(tx, row, why.to_owned(), None, "rotation.rolled_back").await
        }
        _ => Ok(()),
    }
}

/// Ends the rotation of a key's credential of which no version is left, neither in use nor pending. A secret of the key
/// that was given out by hand is what callers have again.
pub(crate) async fn end_without_versions_in(tx: &mut WriteTx, credential: &Name, why: &str) -> Result<()> {
    let Some(row) = tx.unfinished_rotation(credential.as_str()).await? else { return Ok(()) };
    let versions = tx.credential_versions(credential.as_str()).await?;
    if versions.iter().any(|version| version.state.is_live() || version.state == VersionState::Pending) {
        return Ok(());
    }
    if let Some(to) = row.to_version {
        held_key::take_back_in(tx, credential, to).await?;
    }
    end_in(tx, row, why.to_owned(), None, "rotation.rolled_back").await
}

async fn end_in(
    tx: &mut WriteTx,
    mut row: RotationRow,
    why: String,
    pause: Option<Period>,
    action: &str,
) -> Result<()> {
    row.step = RotationStep::RolledBack;
    row.waiting = false;
    row.again = pause.map(|pause| tx.now().plus(pause));
    tx.audit(action, &subject(&row.credential), json!({ "rotation": row.id, "error": why }));
    row.error = Some(why);
    moved(tx, &mut row).await
}

/// The rotation, if it waits at this step.
async fn waiting(tx: &mut WriteTx, id: &str, step: RotationStep) -> Result<RotationRow> {
    let row = tx.rotation(id).await?;
    let row = row.ok_or_else(|| VaultError::NotFound { kind: "rotation", name: id.to_owned() })?;
    if row.step == step { Ok(row) } else { Err(VaultError::RotationNotWaiting(row.credential)) }
}

async fn moved(tx: &mut WriteTx, row: &mut RotationRow) -> Result<()> {
    // Strictly later than before: `updated` tells two stored forms apart.
    row.updated = tx.now().max(Timestamp::from_micros(row.updated.micros() + 1));
    Ok(tx.update_rotation(row).await?)
}
