//! Files and batches of callers: kept in the database, so that every node knows them and none forgets them.
//!
//! What a batch may cost is borrowed of the budgets that pay for it under its own id, as a process borrows, before its
//! provider is asked, and stays borrowed however long it runs and whoever dies meanwhile. When it is over, one numbered turn
//! charges what it cost and gives back the rest ([`settle`]), so that it is charged exactly once.

mod ask;
mod settle;

use super::dataplane::Plane;
use credentialflow_gateway::ports::{KeeperAway, Kept, ObjectKeeper, ObjectPage};
use credentialflow_model::{
    ledger::Turn,
    objects::{Hold, ModelObject, ObjectKind, ObjectState},
};
use credentialflow_store::{BudgetEnd, BudgetItem, Store, StoreError};
use credentialflow_telemetry::{RecordSender, Telemetry};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
};

/// So long after its provider was asked for a batch, nobody knows any more whether it has it.
const UNSURE: Duration = Duration::from_secs(15 * 60);
/// So soon a batch is looked after that was made.
const SOON: Duration = Duration::from_secs(5);

/// So many of callers' questions are at the database at once; more are told to come again.
const AT_ONCE: usize = 16;

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
}

impl Batches {
    /// Of this process. To be made on the control side.
    pub fn new(store: Store, plane: Arc<Plane>, telemetry: Telemetry, records: RecordSender) -> Self {
        let asking = Arc::new(Semaphore::new(AT_ONCE));
        Self { store, plane, telemetry, records, wake: Arc::default(), runtime: Handle::current(), asking }
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

    fn list(&self, application: &str, kind: ObjectKind, page: ObjectPage) -> Kept<Vec<ModelObject>> {
        let application = application.to_owned();
        self.asked(|this| async move {
            let ids = (page.after.as_deref(), page.before.as_deref());
            this.store.model_objects(&application, kind, ids, page.most).await
        })
    }

    fn add(&self, file: ModelObject) -> Kept<()> {
        self.kept(|this| async move { this.store.add_model_object(&file, Duration::ZERO).await.map(drop) })
    }

    fn hold(&self, batch: ModelObject) -> Kept<Option<String>> {
        self.asked(|this| async move {
            let short = this.borrow(&batch).await?;
            if short.is_none() && this.store.add_model_object(&batch, UNSURE).await? {
                return Ok(None);
            }
            this.end(&batch, 0).await?;
            match short {
                Some(budget) => Ok(Some(budget)),
                None => Err(StoreError::Conflict("there is a batch with this id".into())),
            }
        })
    }

    fn began(&self, batch: ModelObject) -> Kept<()> {
        self.kept(|this| async move {
            match this.store.change_model_object(ObjectState::Asked, &batch, SOON).await? {
                true => Ok(()),
                false => Err(StoreError::Conflict("the batch is charged already".into())),
            }
        })
    }

    fn refused(&self, batch: ModelObject) -> Kept<()> {
        self.kept(|this| async move {
            this.end(&batch, 0).await?;
            this.store.delete_model_object(&batch.id).await.map(drop)
        })
    }

    fn saw(&self, batch: ModelObject, files: Vec<ModelObject>, over: bool) -> Kept<()> {
        self.kept(|this| async move {
            for file in &files {
                this.store.add_model_object(file, Duration::ZERO).await?;
            }
            let due = if over { Duration::ZERO } else { settle::pace(&batch) };
            this.store.tell_model_object(&batch.id, ObjectState::Runs, &batch.body, due).await?;
            if over {
                this.wake.notify_one();
            }
            Ok(())
        })
    }

    fn forget(&self, id: &str) -> Kept<()> {
        let id = id.to_owned();
        self.kept(|this| async move { this.store.delete_model_object(&id).await.map(drop) })
    }
}
