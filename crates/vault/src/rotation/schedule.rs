//! Begins the rotations that credentials ask for by themselves: `rotate: { every: 90d }`.
//!
//! Only `generated` and `database` credentials can be rotated without anybody handing in a value. After a rotation
//! was taken back, the next one waits an hour or the credential's period, whichever is shorter.

use super::{Begun, runner::RotationRunner};
use crate::{Result, VaultError};
use credentialflow_model::{
    Actor, Period, Timestamp,
    lifecycle::VersionState,
    resource::{Credential, Engine, Kind},
};

const PAUSE: Period = Period::from_secs(3600);

impl RotationRunner {
    /// Begins every rotation that is due at `now`. A credential that cannot be rotated is logged and
    /// keeps none of the others from it.
    pub async fn start_due(&self, now: Timestamp) -> Result<Vec<Begun>> {
        let mut begun = Vec::new();
        for row in self.vault().store()?.resources(Kind::Credentials).await? {
            let Ok(credential) = serde_json::from_str::<Credential>(&row.body) else {
                return Err(VaultError::Corrupt("credential"));
            };
            if !self.is_due(&credential, now).await? {
                continue;
            }
            match self.vault().start_rotation(&Actor::system("rotation"), &credential, None, None).await {
                Ok(started) => begun.push(started),
                Err(VaultError::RotationUnfinished(_)) => {}
                Err(error) => tracing::warn!(credential = %credential.name, %error, "no rotation could be begun"),
            }
        }
        Ok(begun)
    }

    async fn is_due(&self, credential: &Credential, now: Timestamp) -> Result<bool> {
        let by_itself = matches!(credential.engine, Engine::Generated | Engine::Database);
        let Some(every) = credential.rotate.and_then(|r| r.every).filter(|_| by_itself) else { return Ok(false) };
        let (store, name) = (self.vault().store()?, credential.name.as_str());
        let versions = store.credential_versions(name).await?;
        let current = versions.iter().find(|v| v.state == VersionState::Current);
        let Some(since) = current.map(|v| v.promoted.unwrap_or(v.created)) else { return Ok(false) };
        let latest = store.rotations(name, 1).await?;
        let paused = latest.first().is_some_and(|r| r.started.plus(every.min(PAUSE)) > now);
        Ok(since.plus(every) <= now && !paused)
    }
}
