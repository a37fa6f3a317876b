//! Writing the version in use to a destination: announced before, looked at again afterwards.
//!
//! Nothing is sent before the audit log and the link say so. A process that dies in between therefore leaves the place
//! and the version behind, and the write is done again. A version that went out of use while it was sent, as when it was
//! revoked, counts as outdated: the link names it as what the place holds, and the version in use is written over it.

use super::{
    Link, Links,
    open::away,
    work::{Done, action, empty, late, row_of, stored},
};
use crate::{Result, Written, error::unusable};
use credentialflow_model::{Actor, SecretValue, lifecycle::VersionState};
use credentialflow_store::{LinkRow, WriteTx};
use serde_json::json;
use std::time::Duration;

/// The longest sending may take. What remains of an attempt's minute is for storing how it went.
const SENDING: Duration = Duration::from_secs(45);

impl Links {
    /// Writes the version in use to a destination.
    pub(super) async fn write(&self, actor: &Actor, link: &Link, fully: bool) -> Result<()> {
        let versions = self.0.store.credential_versions(link.credential.as_str()).await.map_err(away)?;
        if !versions.iter().any(|v| v.state == VersionState::Current) {
            return Ok(());
        }
        // May take its time, so what is to be sent is looked up after it.
        let (_, store) = self.0.open.get(&link.place.store).await?;
        let Some((version, value)) = self.announce(actor, link, fully).await? else { return Ok(()) };
        let sent = tokio::time::timeout(SENDING, store.write(&link.place, &value)).await;
        drop(value);
        self.sent(actor, link, version, sent.unwrap_or_else(|_| Err(late()))?).await
    }

    /// Writes down what is about to be sent: the version in use. `None` where there is nothing to send.
    async fn announce(&self, actor: &Actor, link: &Link, fully: bool) -> Result<Option<(u32, SecretValue)>> {
        let mut tx = self.0.store.begin(actor).await.map_err(away)?;
        if !declares(&mut tx, link).await? {
            return Ok(None);
        }
        let versions = tx.credential_versions(link.credential.as_str()).await.map_err(away)?;
        let Some(current) = versions.iter().find(|v| v.state == VersionState::Current) else { return Ok(None) };
        let rows = tx.links_of(link.credential.as_str()).await.map_err(away)?;
        let mut row = row_of(&rows, link).cloned().unwrap_or_else(|| empty(link));
        let is_held = held(&row) == Some(current.version);
        if is_held && !fully {
            return Ok(None);
        }
        let value = self.0.vault.open_version(current);
        let value = value.map_err(|e| unusable(format!("version {} does not open: {e}", current.version)))?;
        if !is_held {
            if row.version != Some(current.version) {
                (row.version, row.remote) = (Some(current.version), None);
            }
            // Where attempts failed, their error says enough.
            if row.attempts == 0 {
                row.error = Some(format!("version {} was sent; whether it arrived is not known yet", current.version));
            }
            tx.put_link(&row).await.map_err(away)?;
        }
        let detail = json!({ "place": row.place, "version": current.version, "outcome": "begun" });
        tx.audit(action(link), &format!("credentials/{}", link.credential), detail);
        tx.commit().await.map_err(away)?;
        Ok(Some((current.version, value)))
    }

    /// Stores that a version was sent, and what that is worth by now.
    async fn sent(&self, actor: &Actor, link: &Link, version: u32, written: Written) -> Result<()> {
        let mut tx = self.0.store.begin(actor).await.map_err(away)?;
        let is_declared = declares(&mut tx, link).await?;
        let versions = tx.credential_versions(link.credential.as_str()).await.map_err(away)?;
        let current = versions.iter().find(|v| v.state == VersionState::Current).map(|v| v.version);
        let outcome = match (is_declared, current == Some(version), written.changed) {
            (false, ..) => "undeclared",
            (true, false, _) => "outdated",
            (true, true, true) => "written",
            (true, true, false) => "unchanged",
        };
        if !is_declared || current.is_none() {
            tracing::warn!(
                credential = %link.credential, place = %link.place, version, outcome,
                "a version went out of use while it was written to a store, which holds it from now on"
            );
        }
        let done = Done { version: Some(version), remote: written.version, outcome, again: None };
        if is_declared {
            return self.note(tx, link, done).await;
        }
        // The link is forgotten, or about to be.
        done.audit(&mut tx, link);
        tx.commit().await.map_err(away)?;
        Ok(())
    }
}

/// The version that a destination is known to hold. After an attempt that failed or was cut off, nobody knows what it
/// left there.
pub(super) fn held(row: &LinkRow) -> Option<u32> {
    row.version.filter(|_| row.attempts == 0 && row.error.is_none())
}

/// Whether a link is still declared.
pub(super) async fn declares(tx: &mut WriteTx, link: &Link) -> Result<bool> {
    let credential = stored(tx, &link.credential).await?;
    Ok(credential.is_some_and(|credential| super::declared(&credential).contains(link)))
}
