//! Begins the rotations that credentials ask for by themselves: `rotate: { every: 90d }`.
//!
//! When each begins is planned when something about its credential changes, and kept in the store under
//! an index. So a look costs what is due, not what there is, and no more are begun at a time than there
//! are free places: a hundred thousand that are due stand in line there, and not in memory. Rotations
//! that only wait, and those that are stuck at their target, take no place.

use super::{Begun, runner::RotationRunner, start};
use crate::{Result, VaultError};
use credentialflow_model::{
    Actor, Name, Period, Timestamp,
    lifecycle::RotationStep,
    resource::{CertificateRule, Credential, Engine, Kind, RotateRule},
    schedule::next_rotation,
};
use credentialflow_store::Unplanned;
use serde::Deserialize;

/// Credentials planned in one transaction; writers wait no longer than for these.
const BATCH: u32 = 8000;
/// Rotations that are begun by themselves and busy at the same time.
const BUSY: usize = 64;
/// Those that drain or are stuck count only towards this.
const MOST: usize = 10_000;
/// After one could not be begun.
const LATER: Period = Period::from_secs(3600);

impl RotationRunner {
    /// Plans every credential that is to be planned anew. Answers how many.
    pub async fn plan(&self) -> Result<usize> {
        let (store, mut planned) = (self.vault().store()?, 0);
        loop {
            match store.plan_rotations(BATCH, next).await? {
                0 => return Ok(planned),
                more => planned += more,
            }
        }
    }

    /// Plans what changed and begins rotations that are due at `now`, as many as there is room for. A
    /// credential that cannot be rotated is logged, looked at again in an hour, and keeps none of the
    /// others from it.
    pub async fn start_due(&self, now: Timestamp) -> Result<Vec<Begun>> {
        self.plan().await?;
        let room = self.room().await?;
        let mut begun = Vec::new();
        if room == 0 {
            return Ok(begun);
        }
        let due = self.vault().store()?.due_rotations(now, u32::try_from(room).unwrap_or(u32::MAX)).await?;
        for (name, _) in due {
            match self.begin(&name, now).await {
                Ok(started) => begun.extend(started),
                Err(error) => {
                    tracing::warn!(credential = %name, %error, "no rotation could be begun; it is tried again later");
                    self.vault().store()?.postpone_rotation(name.as_str(), now.plus(LATER)).await?;
                }
            }
        }
        Ok(begun)
    }

    /// How many may be begun now.
    async fn room(&self) -> Result<usize> {
        let running = self.vault().store()?.running_rotation_steps().await?;
        let busy = |(id, step): &&(String, RotationStep)| {
            !matches!(step, RotationStep::Drain | RotationStep::Destroy) && !self.is_stuck(id)
        };
        let busy = running.iter().filter(busy).count();
        Ok(BUSY.saturating_sub(busy).min(MOST.saturating_sub(running.len())))
    }

    async fn begin(&self, name: &Name, now: Timestamp) -> Result<Option<Begun>> {
        let mut tx = self.vault().store()?.begin(&Actor::system("rotation")).await?;
        let Some(row) = tx.resource(Kind::Credentials, name.as_str()).await? else { return Ok(None) };
        let credential: Credential = serde_json::from_str(&row.body).map_err(|_| VaultError::Corrupt("credential"))?;
        let begun = start::start_due_in(self.vault(), &mut tx, &credential, now).await?;
        if begun.is_some() {
            tx.commit().await?;
        }
        Ok(begun)
    }
}

/// When a credential's next rotation begins by itself. What does not read is not rotated.
fn next(found: &Unplanned) -> Option<Timestamp> {
    /// As much of a declaration as the plan depends on.
    #[derive(Deserialize)]
    struct Declared {
        engine: Engine,
        certificate: Option<CertificateRule>,
        rotate: Option<RotateRule>,
    }
    if found.unfinished {
        return None;
    }
    let declared: Declared = serde_json::from_str(found.body.as_deref()?).ok()?;
    let rule = RotateRule::of(declared.engine, declared.certificate.as_ref(), declared.rotate.as_ref())?;
    let due = next_rotation(&rule, &found.credential, found.since?)?;
    Some(found.again.map_or(due, |again| due.max(again)))
}
