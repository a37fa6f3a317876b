//! Which batches are looked after when: those that are due, several at once, and few of each provider, so that one that
//! does not answer holds up its own alone. One node does this for all.

use super::{Batches, follow::SOONEST};
use credentialflow_model::objects::{ModelObject, ObjectState};
use credentialflow_store::StoreError;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    task::{Id, JoinSet},
};

/// How often to look which batches are due.
const LOOK: Duration = Duration::from_secs(2);
/// How often to forget files whose providers have forgotten them.
const FORGET: Duration = Duration::from_secs(60);
/// Batches that are read at once of those that are due.
const MOST_DUE: u32 = 200;
/// Batches that are looked after at once.
const AT_ONCE: usize = 32;
/// And of one provider.
const OF_EACH: usize = 4;

/// The batches that are being looked after, by their ids, with their providers.
#[derive(Default)]
struct Places(HashMap<String, String>);

/// Whether a batch can be looked after now.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// It has a place from now on.
    Given,
    /// It has one already.
    Has,
    /// There is none.
    Full,
}

impl Places {
    fn take(&mut self, batch: &ModelObject) -> Place {
        let provider = &batch.facts.provider;
        if self.0.contains_key(&batch.id) {
            return Place::Has;
        }
        if self.0.len() >= AT_ONCE || self.0.values().filter(|other| *other == provider).count() >= OF_EACH {
            return Place::Full;
        }
        self.0.insert(batch.id.clone(), provider.clone());
        Place::Given
    }

    fn give_back(&mut self, id: &str) {
        self.0.remove(id);
    }
}

/// What runs. Dropped, it ends: each step can be taken again.
#[derive(Default)]
struct Running {
    places: Places,
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
}

impl Running {
    /// Waits until one ends; for ever where there is none.
    async fn ended(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            None => return std::future::pending().await,
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
        };
        if let Some(name) = self.names.remove(&id) {
            self.places.give_back(&name);
        }
    }
}

impl Batches {
    /// Looks after batches while this node is the one that does, until the process is told to stop.
    pub async fn run(self, mut mine: watch::Receiver<bool>, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stopped.wait_for(|s| *s) => return,
                begun = mine.wait_for(|mine| *mine) => if begun.is_err() { return },
            }
            tokio::select! {
                _ = stopped.wait_for(|s| *s) => return,
                lost = mine.wait_for(|mine| !*mine) => if lost.is_err() { return },
                () = self.look() => {}
            }
        }
    }

    async fn look(&self) {
        let mut running = Running::default();
        let mut forgot: Option<Instant> = None;
        loop {
            if forgot.is_none_or(|at| at.elapsed() >= FORGET) {
                forgot = Some(Instant::now());
                if let Err(error) = self.store.forget_expired_model_objects().await {
                    tracing::debug!(%error, "files that are no more cannot be forgotten");
                }
            }
            match self.store.due_model_objects(MOST_DUE).await {
                Ok(due) => self.begin(due, &mut running).await,
                Err(error) => tracing::debug!(%error, "batches that are due cannot be looked for"),
            }
            let again = tokio::time::sleep(LOOK);
            tokio::pin!(again);
            loop {
                tokio::select! {
                    () = &mut again => break,
                    () = self.wake.notified() => break,
                    () = running.ended() => {}
                }
            }
        }
    }

    async fn begin(&self, due: Vec<ModelObject>, running: &mut Running) {
        let mut later = Vec::new();
        for batch in due {
            match running.places.take(&batch) {
                Place::Has => {}
                // Behind those of others, which may have a place.
                Place::Full => later.push(batch.id),
                Place::Given => {
                    let (this, id) = (self.clone(), batch.id.clone());
                    let task = running.tasks.spawn(async move { this.care(batch).await });
                    running.names.insert(task.id(), id);
                }
            }
        }
        if !later.is_empty() {
            let later: Vec<&str> = later.iter().map(String::as_str).collect();
            if let Err(error) = self.store.postpone_model_objects(&later, SOONEST).await {
                tracing::debug!(%error, "batches that are due cannot be put off");
            }
        }
    }

    async fn care(&self, batch: ModelObject) {
        let id = batch.id.clone();
        if let Err(error) = self.look_after(batch).await {
            tracing::debug!(%error, id, "a batch could not be looked after; it is tried again");
            let _ = self.store.postpone_model_objects(&[&id], SOONEST).await;
        }
    }

    async fn look_after(&self, batch: ModelObject) -> Result<(), StoreError> {
        match batch.state {
            ObjectState::Asked => self.find_out(batch).await,
            ObjectState::Runs => self.follow(batch).await,
            ObjectState::Billed => self.settle(batch).await,
            ObjectState::Settled | ObjectState::There => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use credentialflow_model::{
        Timestamp,
        objects::{ObjectFacts, ObjectKind},
    };

    fn batch(n: usize, provider: &str) -> ModelObject {
        ModelObject {
            id: format!("batch_{n}"),
            kind: ObjectKind::Batch,
            application: "a".into(),
            made: Timestamp::from_secs(1),
            state: ObjectState::Runs,
            purpose: String::new(),
            upstream_id: "there".into(),
            body: "{}".into(),
            facts: ObjectFacts { provider: provider.into(), ..ObjectFacts::default() },
        }
    }

    #[test]
    fn no_provider_has_all_places() {
        let mut places = Places::default();
        for n in 0..OF_EACH {
            assert_eq!(places.take(&batch(n, "silent")), Place::Given);
            assert_eq!(places.take(&batch(n, "silent")), Place::Has);
        }
        assert_eq!(places.take(&batch(90, "silent")), Place::Full);
        assert_eq!(places.take(&batch(91, "other")), Place::Given);
        places.give_back("batch_0");
        assert_eq!(places.take(&batch(90, "silent")), Place::Given);
        for n in 100..100 + AT_ONCE {
            places.take(&batch(n, &format!("provider-{n}")));
        }
        assert_eq!((places.0.len(), places.take(&batch(999, "another"))), (AT_ONCE, Place::Full));
    }

    #[tokio::test]
    async fn a_place_is_free_again_however_its_task_ends() {
        let mut running = Running::default();
        let panics = running.tasks.spawn(async { panic!("on purpose") });
        running.names.insert(panics.id(), "batch_1".into());
        running.places.take(&batch(1, "p"));
        running.ended().await;
        assert!(running.places.0.is_empty() && running.names.is_empty());
    }
}
