//! Files and batches of callers: kept in the database, so that every node knows them and none forgets them.
//!
//! What a batch may cost is borrowed of the budgets that pay for it under its own id, as a process borrows, before its
//! provider is asked, and stays borrowed however long it runs and whoever dies meanwhile. When it is over, one numbered turn
//! charges what it cost and gives back the rest ([`settle`]), so that it is charged exactly once.

mod ask;
mod follow;
mod look;
mod settle;
mod unsure;

use super::dataplane::Plane;
use credentialflow_gateway::ports::{KeeperAway, Kept, ObjectKeeper, ObjectList, ObjectPage};
use credentialflow_model::{
    ledger::Turn,
    objects::{Hold, ModelObject, ObjectKind, ObjectState},
};
use credentialflow_store::{BudgetEnd, BudgetItem, ModelObjectPage, Store, StoreError};
use credentialflow_telemetry::{RecordSender, Telemetry};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore},
};

/// So long after its provider was asked for a batch, whoever asked knows whether it has it, or nobody.
const UNSURE: Duration = Duration::from_secs(15 * 60);
/// So soon a batch is looked after that was made.
const SOON: Duration = Duration::from_secs(5);

/// So many of callers' questions are at the database at once; more are told to come again.
const AT_ONCE: usize = 16;
/// So many stand in the database's line of writers at once, whatever callers do, so that others' changes are behind no more.
const WRITES: usize = 4;
/// How long a write waits to stand there.
const IN_LINE: Duration = Duration::from_secs(30);
/// And how long a call waits until the files that it names are looked up: as many as [`AT_ONCE`] at once.
const NAMING: Duration = Duration::from_secs(5);

/// Keeps files and batches.
#[derive(Clone)]
pub(super) struct Batches {
    store: Store,
    plane: Arc<Plane>,
    telemetry: Telemetry,
    records: RecordSender,
    wake: Arc<Notify>,
    runtime: Handle,
    asking: Arc<Semaphore>,
    writing: Arc<Semaphore>,
    naming: Arc<Semaphore>,
    /// Held while it is found out whether a provider has a batch, so that none is taken for two.
    finding: Arc<Mutex<()>>,
}

impl Batches {
    /// Of this process. To be made on the control side.
    pub fn new(store: Store, plane: Arc<Plane>, telemetry: Telemetry, records: RecordSender) -> Self {
        Self {
            store,
            plane,
            telemetry,
            records,
            wake: Arc::default(),
            runtime: Handle::current(),
            asking: Arc::new(Semaphore::new(AT_ONCE)),
            writing: Arc::new(Semaphore::new(WRITES)),
            naming: Arc::new(Semaphore::new(AT_ONCE)),
            finding: Arc::default(),
        }
    }

    /// Waits for a place in the database's line of writers.
    async fn write(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        in_line(&self.writing, IN_LINE).await
    }

    /// What callers begin with, and nothing is lost by refusing.
    fn asked<T, F>(&self, what: impl FnOnce(Self) -> F) -> Kept<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        match self.asking.clone().try_acquire_owned() {
            Ok(place) => self.kept(|this| {
                let what = what(this);
                async move {
                    let _place = place;
                    what.await
                }
            }),
            Err(_) => Box::pin(std::future::ready(Err(KeeperAway))),
        }
    }

    fn kept<T, F>(&self, what: impl FnOnce(Self) -> F) -> Kept<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        // On the control side, whose connections to the database these are, and to its end: also where the caller leaves.
        let done = self.runtime.spawn(what(self.clone()));
        Box::pin(async move {
            let error = match done.await {
                Ok(Ok(kept)) => return Ok(kept),
                Ok(Err(error)) => error,
                Err(error) => StoreError::Other(error.to_string()),
            };
            match error.is_transient() {
                true => tracing::debug!(%error, "files and batches cannot be asked for"),
                false => tracing::warn!(%error, "files and batches cannot be asked for"),
            }
            Err(KeeperAway)
        })
    }

    /// Borrows the most that a batch may cost of each budget; the first hard one that has less.
    async fn borrow(&self, batch: &ModelObject) -> Result<Option<String>, StoreError> {
        let holds = &batch.facts.holds;
        if holds.is_empty() {
            return Ok(None);
        }
        let most = batch.facts.most.unwrap_or(0);
        self.store.enter_budget_node(&batch.id, &batch.id, 0, "").await?;
        let items = items(batch, |limit| Turn { limit, need: most, least: most, ..Turn::default() });
        let states = self.store.budget_turn(&batch.id, 1, None, &items).await?;
        let short = holds.iter().zip(&states).find(|(hold, state)| hold.limit.is_some() && state.lease < most);
        Ok(short.map(|(hold, _)| hold.budget.clone()))
    }

    /// Lets a batch go that its provider does not have: it costs nothing.
    async fn let_go(&self, batch: &ModelObject) -> Result<(), StoreError> {
        self.end(batch, 0).await?;
        self.store.delete_model_object(&batch.id).await.map(drop)
    }

    /// Lets a batch go for which was held back when nobody waited for it any more: its provider was not asked.
    fn not_asked_for(self, batch: ModelObject) {
        self.runtime.clone().spawn(async move {
            let gone = async {
                let _place = self.write().await?;
                self.let_go(&batch).await
            };
            if let Err(error) = gone.await {
                // Its provider is asked after a while, and does not know it.
                tracing::debug!(%error, id = batch.id, "what was held back for a batch too late is let go later");
            }
        });
    }

    /// Ends what was borrowed for a batch: charges what it cost, and gives back the rest. Once more changes nothing.
    async fn end(&self, batch: &ModelObject, cost: i64) -> Result<(), StoreError> {
        if batch.facts.holds.is_empty() {
            return Ok(());
        }
        let most = batch.facts.most.unwrap_or(0);
        let items = items(batch, |_| Turn { charge: cost, back: most, ..Turn::default() });
        let charges = match self.store.budget_turn(&batch.id, 2, None, &items).await {
            Ok(_) => Vec::new(),
            // It ended before, or was given up; then what it cost is charged with its end.
            Err(StoreError::Conflict(_)) => {
                items.into_iter().map(|item| (item.budget, item.started, item.turn.charge)).collect()
            }
            Err(error) => return Err(error),
        };
        self.store.end_budget_node(&batch.id, (&batch.id, 0, ""), &charges, BudgetEnd::Settled).await.map(drop)
    }
}

/// Waits for a place, at most so long.
async fn in_line(places: &Arc<Semaphore>, most: Duration) -> Result<OwnedSemaphorePermit, StoreError> {
    let away = || StoreError::Unavailable("many files and batches are asked for at once".into());
    let place = tokio::time::timeout(most, places.clone().acquire_owned()).await;
    place.map_err(|_| away())?.map_err(|_| away())
}

fn items(batch: &ModelObject, turn: impl Fn(Option<i64>) -> Turn) -> Vec<BudgetItem> {
    let item = |hold: &Hold| BudgetItem {
        budget: hold.budget.clone(),
        started: hold.started,
        ends: hold.ends,
        turn: turn(hold.limit),
        unlogged: 0,
    };
    batch.facts.holds.iter().map(item).collect()
}

impl ObjectKeeper for Batches {
    fn find(&self, application: &str, id: &str) -> Kept<Option<ModelObject>> {
        let (application, id) = (application.to_owned(), id.to_owned());
        self.asked(|this| async move { this.store.model_object(&application, &id).await })
    }

    fn find_all(&self, application: &str, ids: Vec<String>) -> Kept<Vec<ModelObject>> {
        let application = application.to_owned();
        self.kept(|this| async move {
            let _place = in_line(&this.naming, NAMING).await?;
            this.store.model_objects_by_ids(&application, &ids).await
        })
    }

    fn list(&self, application: &str, kind: ObjectKind, page: ObjectPage) -> Kept<ObjectList> {
        let application = application.to_owned();
        self.asked(|this| async move {
            let page = ModelObjectPage {
                after: page.after.as_deref(),
                before: page.before.as_deref(),
                purpose: page.purpose.as_deref(),
                most: page.most,
                bytes: page.bytes,
            };
            let (objects, more) = this.store.model_objects(&application, kind, page).await?;
            Ok(ObjectList { objects, more })
        })
    }

    fn add(&self, file: ModelObject) -> Kept<()> {
        self.kept(|this| async move {
            let _place = this.write().await?;
            this.store.add_model_object(&file, Duration::ZERO).await.map(drop)
        })
    }

    fn hold(&self, batch: ModelObject) -> Kept<Option<String>> {
        let held = self.asked(|this| async move {
            let place = this.write().await?;
            let short = this.borrow(&batch).await?;
            if short.is_none() && this.store.add_model_object(&batch, UNSURE).await? {
                drop(place);
                return Ok((None, Some(Unclaimed::new(move || this.not_asked_for(batch)))));
            }
            this.end(&batch, 0).await?;
            match short {
                Some(budget) => Ok((Some(budget), None)),
                None => Err(StoreError::Conflict("there is a batch with this id".into())),
            }
        });
        Box::pin(async move {
            let (short, unclaimed) = held.await?;
            unclaimed.into_iter().for_each(Unclaimed::claim);
            Ok(short)
        })
    }

    fn began(&self, batch: ModelObject) -> Kept<()> {
        self.kept(|this| async move {
            let _place = this.write().await?;
            if this.store.change_model_object(ObjectState::Asked, &batch, SOON).await? {
                return Ok(());
            }
            // Its provider told of it before whoever asked did.
            let known = this.store.model_object(&batch.application, &batch.id).await?;
            match known.is_some_and(|known| known.upstream_id == batch.upstream_id) {
                true => Ok(()),
                false => Err(StoreError::Conflict("the batch is over already".into())),
            }
        })
    }

    fn refused(&self, batch: ModelObject) -> Kept<()> {
        self.kept(|this| async move {
            let _place = this.write().await?;
            this.let_go(&batch).await
        })
    }

    fn saw(&self, batch: ModelObject, files: Vec<ModelObject>, over: bool) -> Kept<()> {
        self.kept(|this| async move {
            let _place = this.write().await?;
            for file in &files {
                this.store.add_model_object(file, Duration::ZERO).await?;
            }
            let due = if over { Duration::ZERO } else { follow::pace(&batch) };
            this.store.tell_model_object(&batch.id, ObjectState::Runs, &batch.body, due).await?;
            if over {
                this.wake.notify_one();
            }
            Ok(())
        })
    }

    fn forget(&self, id: &str) -> Kept<()> {
        let id = id.to_owned();
        self.kept(|this| async move {
            let _place = this.write().await?;
            this.store.delete_model_object(&id).await.map(drop)
        })
    }
}

/// What is undone unless whoever asked for it takes the answer.
struct Unclaimed(Option<Box<dyn FnOnce() + Send>>);

impl Unclaimed {
    fn new(undo: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(undo)))
    }

    fn claim(mut self) {
        self.0 = None;
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(undo) = self.0.take() {
            undo();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    #[tokio::test]
    async fn what_nobody_takes_is_undone_also_where_it_comes_too_late() {
        let undone = Arc::new(AtomicU32::new(0));
        let begin = Arc::new(Semaphore::new(0));
        let hold = || {
            let (undone, begin) = (undone.clone(), begin.clone());
            tokio::spawn(async move {
                begin.acquire().await.unwrap().forget();
                Unclaimed::new(move || {
                    undone.fetch_add(1, Relaxed);
                })
            })
        };
        let (claimed, too_late) = (hold(), hold());
        // Whoever asked gives up, and what was asked for is done all the same.
        drop(too_late);
        begin.add_permits(2);
        claimed.await.unwrap().claim();
        while undone.load(Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(undone.load(Relaxed), 1);
    }
}
