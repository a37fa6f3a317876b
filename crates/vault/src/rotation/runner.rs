//! Runs rotations: each one in a task of its own, resumed from what is stored.

use super::{
    ports::{Publisher, Target, Traffic},
    progress::Backoff,
    steps::{Moved, Step},
    watch::WatchRules,
};
use crate::{Result, Vault, VaultError};
use credentialflow_model::{Period, Timestamp, lifecycle::RotationStep};
use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::task::JoinSet;

/// Times and thresholds of the runner.
#[derive(Clone, Copy, Debug)]
pub struct RunnerRules {
    /// When a promoted version counts as good or bad.
    pub watch: WatchRules,
    /// How often to look for rotations that credentials ask for by themselves.
    pub schedule: Period,
    /// The longest a single call to a port may take.
    pub call_timeout: Period,
    /// A target that cannot be reached for this long takes the rotation back.
    pub verify_limit: Period,
    /// How often a waiting rotation looks again.
    pub tick: Period,
}

impl Default for RunnerRules {
    fn default() -> Self {
        Self {
            watch: WatchRules::default(),
            schedule: Period::from_secs(1),
            call_timeout: Period::from_secs(30),
            verify_limit: Period::from_secs(600),
            tick: Period::from_millis(50),
        }
    }
}

/// Where a rotation stands after it was advanced.
#[derive(Debug)]
pub struct Advanced {
    /// Its id.
    pub id: String,
    /// Its step, or why it could not be advanced. It stays stored and is tried again.
    pub step: Result<RotationStep>,
}

/// Advances every unfinished rotation of a vault. Cheap to clone.
#[derive(Clone)]
pub struct RotationRunner(Arc<Inner>);

pub(super) struct Inner {
    pub(super) vault: Vault,
    pub(super) target: Arc<dyn Target>,
    pub(super) traffic: Arc<dyn Traffic>,
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) rules: RunnerRules,
    pauses: Mutex<HashMap<String, Backoff>>,
    active: Mutex<HashSet<String>>,
    /// Rotations of keys whose callers are looked at.
    looks: Mutex<HashMap<String, Looks>>,
}

/// Looks at who uses a secret that follow one another closely enough to have missed nobody.
struct Looks {
    first: Timestamp,
    last: Timestamp,
}

/// Between two looks; after a longer pause one is the first again. A runner that waits looks once a second.
const LOOKS_APART: Period = Period::from_secs(10);

impl Inner {
    /// Looks at the callers of a rotation's secrets; answers since when they have been looked at without a pause. Kept
    /// in memory only: nobody looks while the process does not run.
    pub(super) fn looked_since(&self, id: &str, now: Timestamp) -> Timestamp {
        let mut looks = lock(&self.looks);
        let looks = looks.entry(id.to_owned()).or_insert(Looks { first: now, last: now });
        if now > looks.last.plus(LOOKS_APART) || now < looks.first {
            looks.first = now;
        }
        looks.last = now;
        looks.first
    }

    /// Callers may have gone unseen until now.
    pub(super) fn forget_looks(&self, id: &str) {
        lock(&self.looks).remove(id);
    }
}

impl RotationRunner {
    /// A runner over the outside's ports.
    pub fn new(
        vault: Vault,
        target: Arc<dyn Target>,
        traffic: Arc<dyn Traffic>,
        publisher: Arc<dyn Publisher>,
        rules: RunnerRules,
    ) -> Self {
        let (pauses, active, looks) = Default::default();
        Self(Arc::new(Inner { vault, target, traffic, publisher, rules, pauses, active, looks }))
    }

    /// Advances every unfinished rotation as far as it can go at `now`, all at the same time, and
    /// answers when each of them waits, failed or finished. One that hangs in a port ends at the
    /// call's time limit and delays only the answer, not the others.
    pub async fn run_once(&self, now: Timestamp) -> Result<Vec<Advanced>> {
        let mut tasks = JoinSet::new();
        for (id, _) in self.0.vault.store()?.running_rotation_steps().await? {
            if let Some(claim) = self.claim(&id) {
                tasks.spawn(async move {
                    let step = claim.runner.advance(&claim.id, now).await;
                    Advanced { id: claim.id.clone(), step }
                });
            }
        }
        Ok(tasks.join_all().await)
    }

    /// Runs until `shutdown` resolves. Whatever is unfinished then, in any step, is resumed by the
    /// next runner.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let mut tasks = JoinSet::new();
        let mut schedule = tokio::time::interval(self.0.rules.schedule.as_duration());
        schedule.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if let Err(error) = self.spawn_new(&mut tasks).await {
                tracing::warn!(%error, "rotations cannot be read; trying again");
            }
            if !self.0.vault.is_sealed()
                && let Err(error) = self.0.vault.maintain().await
            {
                tracing::warn!(%error, "no seals could be reserved; trying again");
            }
            while tasks.try_join_next().is_some() {}
            tokio::select! {
                () = &mut shutdown => break,
                () = self.something_changed() => {}
                _ = schedule.tick(), if !self.0.vault.is_sealed() => {
                    if let Err(error) = self.start_due(SystemTime::now().into()).await {
                        tracing::warn!(%error, "due rotations cannot be begun; trying again");
                    }
                }
            }
        }
        tasks.shutdown().await;
    }

    /// Resolves when this process committed a change, or after half a second: changes of other nodes,
    /// and one made in the moment before subscribing, are found by looking.
    async fn something_changed(&self) {
        let look_again = tokio::time::sleep(Duration::from_millis(500));
        match self.0.vault.store().map(|store| store.subscribe()) {
            Ok(mut changes) => {
                tokio::select! {
                    _ = changes.changed() => {}
                    () = look_again => {}
                }
            }
            Err(_) => look_again.await,
        }
    }

    async fn spawn_new(&self, tasks: &mut JoinSet<()>) -> Result<()> {
        if self.0.vault.is_sealed() {
            return Ok(());
        }
        for (id, _) in self.0.vault.store()?.running_rotation_steps().await? {
            if let Some(claim) = self.claim(&id) {
                tasks.spawn(async move { claim.runner.drive(&claim.id).await });
            }
        }
        Ok(())
    }

    async fn is_waiting(&self, id: &str) -> bool {
        let Ok(store) = self.0.vault.store() else { return false };
        matches!(store.rotation(id).await, Ok(Some(row)) if row.waiting)
    }

    /// Whether the last tries of a rotation's present step failed.
    pub(super) fn is_stuck(&self, id: &str) -> bool {
        lock(&self.0.pauses).get(id).is_some_and(Backoff::is_stuck)
    }

    pub(super) fn vault(&self) -> &Vault {
        &self.0.vault
    }

    /// Advances one rotation until it is finished. While nothing happens it looks less and less
    /// often, down to once a second; while it watches, at every tick.
    async fn drive(&self, id: &str) {
        let tick = self.0.rules.tick.as_duration();
        let (mut pause, mut before) = (tick, None);
        loop {
            match self.advance(id, SystemTime::now().into()).await {
                Ok(step) if step.is_finished() => return,
                // Begun again when somebody has done what it waits for.
                Ok(RotationStep::Approve | RotationStep::Deliver) if self.is_waiting(id).await => return,
                Ok(step) => {
                    // A version being watched may be refused right now: every look saves failed requests.
                    let waits = before == Some(step) && !matches!(step, RotationStep::Watch | RotationStep::Canary);
                    pause = if waits { (pause * 2).min(Duration::from_secs(1)) } else { tick };
                    before = Some(step);
                    tokio::time::sleep(pause).await;
                }
                // Begun again when it is unsealed.
                Err(VaultError::Sealed) => return,
                Err(error) => {
                    tracing::warn!(rotation = id, %error, "rotation cannot go on; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if matches!(error, VaultError::UnknownKey(_))
                        && let Err(error) = self.0.vault.reload().await
                    {
                        tracing::warn!(%error, "the keyring cannot be read again");
                    }
                }
            }
        }
    }

    /// Takes steps until the rotation waits or is finished.
    pub(super) async fn advance(&self, id: &str, now: Timestamp) -> Result<RotationStep> {
        let step = self.advance_once(id, now).await;
        // Where the store fails, what callers do may not reach it either.
        if step.as_ref().map_or(true, |step| step.is_finished()) {
            self.0.forget_looks(id);
        }
        step
    }

    async fn advance_once(&self, id: &str, now: Timestamp) -> Result<RotationStep> {
        loop {
            let row = self.0.vault.store()?.rotation(id).await?;
            let Some(row) = row else { return Ok(RotationStep::Done) };
            let step = row.step;
            if step.is_finished() {
                lock(&self.0.pauses).remove(id);
                return Ok(step);
            }
            if !lock(&self.0.pauses).entry(id.to_owned()).or_default().is_due(now) {
                return Ok(step);
            }
            match Step::new(&self.0, row, now)?.take().await? {
                Moved::On => drop(lock(&self.0.pauses).remove(id)),
                Moved::Finished => {}
                Moved::Waits => return Ok(step),
                Moved::Failed => {
                    lock(&self.0.pauses).entry(id.to_owned()).or_default().failed(now);
                    return Ok(step);
                }
            }
        }
    }

    /// A rotation is advanced by one task at a time; between processes the stored step decides.
    fn claim(&self, id: &str) -> Option<Claim> {
        lock(&self.0.active).insert(id.to_owned()).then(|| Claim { runner: self.clone(), id: id.to_owned() })
    }
}

/// Held while a task advances a rotation; given back also when the task is cancelled or panics.
struct Claim {
    runner: RotationRunner,
    id: String,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.runner.0.active).remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
