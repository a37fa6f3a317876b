//! Writing the version in use to a destination: announced before, looked at again afterwards.
//!
//! Nothing is sent before the audit log and the link say so. A process that dies in between therefore leaves the place
//! and the version behind, and the write is done again. A version that went out of use while it was sent, as when it was
//! revoked, counts as outdated: the link names it as what the place holds, and the version in use is written over it.
//!
//! Fields of one secret are written one after the other: most stores know only whole secrets, so of two writings at the
//! same time each would put back what the other one has just replaced.

use super::{
    Link, Links,
    open::away,
    work::{Done, LIMIT, action, empty, late, row_of, stored},
};
use crate::{Result, Written, error::unusable};
use credentialflow_model::{Actor, Name, SecretPlace, SecretValue, lifecycle::VersionState};
use credentialflow_store::{LinkRow, WriteTx};
use serde_json::json;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

/// The longest sending may take.
const SENDING: Duration = Duration::from_secs(45);
/// What remains of an attempt for storing how the sending went, however long opening the store and waiting for a turn took.
const STORING: Duration = Duration::from_secs(10);

/// Who writes to a secret, and who waits to.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<(Name, String), Weak<Turn>>>);

type Turn = tokio::sync::Mutex<()>;

impl Turns {
    /// The turns at the secret of a place. Forgotten when nobody waits for them any more.
    fn of(&self, place: &SecretPlace) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = turns.entry((place.store.clone(), place.path.clone())).or_default();
        turn.upgrade().unwrap_or_else(|| {
            let new = Arc::default();
            *turn = Arc::downgrade(&new);
            new
        })
    }
}

impl Links {
    /// Writes the version in use to a destination.
    pub(super) async fn write(&self, actor: &Actor, link: &Link, fully: bool) -> Result<()> {
        let versions = self.0.store.credential_versions(link.credential.as_str()).await.map_err(away)?;
        if !versions.iter().any(|v| v.state == VersionState::Current) {
            return Ok(());
        }
        let begun = Instant::now();
        // Both may take their time, so what is to be sent is looked up after them.
        let (_, store) = self.0.open.get(&link.place.store).await?;
        let turn = self.0.turns.of(&link.place);
        let _turn = turn.lock().await;
        let left = LIMIT.saturating_sub(begun.elapsed()).saturating_sub(STORING);
        // Where no time is left, nothing is announced that would not be sent.
        if left.is_zero() {
            return Err(late());
        }
        let Some((version, value)) = self.announce(actor, link, fully).await? else { return Ok(()) };
        let left = LIMIT.saturating_sub(begun.elapsed()).saturating_sub(STORING);
        let sent = tokio::time::timeout(left.min(SENDING), store.write(&link.place, &value)).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_one_secret_have_one_turn_and_secrets_their_own() {
        let turns = Turns::default();
        let of = |place: &str| turns.of(&place.parse().unwrap());
        let (one, other) = (of("s/app#a"), of("s/app#b"));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &of("s/other#a")) && !Arc::ptr_eq(&one, &of("t/app#a")));
        drop((one, other));
        of("s/last");
        assert_eq!(turns.0.lock().unwrap().len(), 1, "nothing is kept of what is over");
    }
}
