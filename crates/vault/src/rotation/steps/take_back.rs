//! The way back: a new version that failed is given up, and the old one is in use again, here and at its target.

use super::{Moved, Step, held, version_in};
use crate::{Result, credentials::change, held_key, rotation::ports::VerifyOutcome};
use credentialflow_model::{
    Period,
    lifecycle::{RotationStep, VersionEvent, VersionState},
};

/// After a rotation was taken back, the next one begins by itself after this or the credential's period,
/// whichever is shorter.
const PAUSE: Period = Period::from_secs(3600);

impl Step<'_> {
    /// The new version fails, the old one is current again; stored at once, published next.
    pub(super) async fn take_back(mut self, why: String) -> Result<Moved> {
        let Some(mut tx) = self.begin().await? else { return Ok(Moved::On) };
        if self.row.to_version.is_some() {
            let mut to = version_in(&mut tx, &self.row, self.to).await?;
            if matches!(to.state, VersionState::Pending | VersionState::Canary | VersionState::Current) {
                change(&mut to, VersionEvent::Refuse, self.now)?;
                tx.update_credential_version(&to).await?;
            }
        }
        let versions = tx.credential_versions(self.row.credential.as_str()).await?;
        let none_current = versions.iter().all(|v| v.state != VersionState::Current);
        let old = versions.into_iter().find(|v| Some(v.version) == self.row.from_version);
        if let Some(mut old) = old.filter(|v| none_current && v.state == VersionState::Previous) {
            change(&mut old, VersionEvent::Restore, self.now)?;
            tx.update_credential_version(&old).await?;
        }
        if self.is_key() && self.row.to_version.is_some() {
            held_key::take_back_in(&mut tx, &self.row.credential, self.to).await?;
        }
        tracing::warn!(credential = %self.row.credential, version = self.to, reason = %why, "rotation is taken back");
        self.row.error = Some(why.clone());
        self.progress.taken_back = Some(why);
        self.store(tx, "rotation.take_back").await?;
        Ok(Moved::On)
    }

    pub(super) async fn finish_taking_back(mut self) -> Result<Moved> {
        if let Err(why) = self.publish().await {
            return self.tell(why).await;
        }
        if let Some(why) = self.restore_old().await? {
            return self.tell(why).await;
        }
        let Some(tx) = self.begin().await? else { return Ok(Moved::On) };
        self.row.step = RotationStep::RolledBack;
        self.row.again = Some(self.now.plus(self.progress.every.map_or(PAUSE, |every| every.min(PAUSE))));
        self.store(tx, "rotation.rolled_back").await?;
        Ok(Moved::Finished)
    }

    /// The credential was removed with its versions; there is nothing left to rotate.
    pub(super) async fn abandon(mut self) -> Result<Moved> {
        let Some(tx) = self.begin().await? else { return Ok(Moved::On) };
        self.row.step = RotationStep::RolledBack;
        self.row.error = Some("the credential was removed".to_owned());
        self.store(tx, "rotation.rolled_back").await?;
        Ok(Moved::Finished)
    }

    /// Makes the target accept the old version, if it is in use, and refuse the new one, or answers why
    /// it does not yet. What the target refuses is told and left: nothing more can be done there.
    async fn restore_old(&self) -> Result<Option<String>> {
        let (target, name) = (&self.inner.target, &self.row.credential);
        let old = match self.row.from_version {
            Some(from) => Some(self.version(from).await?).filter(|v| v.state.is_live()),
            None => None,
        };
        let value = old.as_ref().map(|v| self.readable(v)).transpose()?.flatten();
        let kept = old.as_ref().zip(value.as_ref()).map(|(row, value)| held(row, value));
        let mut outcomes = Vec::new();
        if let Some(kept) = kept {
            outcomes.push(self.asked(target.install(name, kept)).await);
        }
        outcomes.push(self.retire_all(Some(self.to), kept).await?);
        for outcome in outcomes {
            match outcome {
                VerifyOutcome::Unreachable(why) => {
                    return Ok(Some(format!("the target cannot be reached to take the new version back: {why}")));
                }
                VerifyOutcome::Refused(why) => {
                    tracing::warn!(credential = %name, reason = %why, "the target refuses to take a version back");
                }
                VerifyOutcome::Accepted | VerifyOutcome::NotConfigured => {}
            }
        }
        Ok(None)
    }
}
