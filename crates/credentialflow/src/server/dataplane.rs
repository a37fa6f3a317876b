//! Brings what is stored into force: one publisher, whoever asks for it.

use super::{copy::LocalCopy, delta::Delta, sandbox::Sandbox, state::State};
use anyhow::Context;
use arc_swap::ArcSwapOption;
use credentialflow_admin::ports::{BoxFuture, Dataplane, DataplaneStatus, PublishError, Published};
use credentialflow_gateway::{Gateway, Snapshot};
use credentialflow_model::{KeyId, Name, Timestamp, resource::Upstream};
use credentialflow_policy::RateTable;
use credentialflow_store::Store;
use credentialflow_telemetry::Telemetry;
use credentialflow_vault::Vault;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Rate limits with this many active keys are exact.
const RATE_SLOTS: usize = 1 << 17;

/// The gateway of this process and the state it runs.
pub(super) struct Plane {
    store: Store,
    vault: Vault,
    telemetry: Telemetry,
    rates: Arc<RateTable>,
    sandbox: Sandbox,
    gateway: ArcSwapOption<Gateway>,
    inner: tokio::sync::Mutex<Inner>,
    facts: Mutex<Facts>,
}

struct Inner {
    state: Option<State>,
    copy: LocalCopy,
    epoch: u64,
    /// What is applied to the state but not confirmed by every worker.
    pending: Vec<KeyId>,
    dirty: bool,
    /// Whether the gateway was taken out to be shut down.
    ending: bool,
}

#[derive(Default, Clone)]
struct Facts {
    epoch: u64,
    seq: u64,
    routes: u64,
    keys: u64,
    workers: u32,
    published: Option<Timestamp>,
}

impl Plane {
    /// A plane without a gateway yet.
    pub fn new(store: Store, vault: Vault, telemetry: Telemetry, copy: LocalCopy, seed: u64) -> Self {
        Self {
            store,
            vault,
            telemetry,
            rates: Arc::new(RateTable::new(RATE_SLOTS, seed)),
            sandbox: Sandbox::default(),
            gateway: ArcSwapOption::empty(),
            inner: tokio::sync::Mutex::new(Inner {
                state: None,
                copy,
                epoch: 0,
                pending: vec![],
                dirty: true,
                ending: false,
            }),
            facts: Mutex::default(),
        }
    }

    /// Counters of limits, to be shared with what else counts.
    pub fn rates(&self) -> &Arc<RateTable> {
        &self.rates
    }

    /// Brings the state up from the local copy and what the store has had since, or from the store
    /// alone, compiles the first snapshot, and starts the gateway with it, if there is to be one.
    ///
    /// Nothing is published until the gateway is there: a change made in between would be acknowledged
    /// although the gateway begins without it.
    pub async fn begin<F>(&self, start: F) -> anyhow::Result<()>
    where
        F: FnOnce(Arc<Snapshot>) -> anyhow::Result<Option<Gateway>>,
    {
        let mut inner = self.inner.lock().await;
        let inner = &mut *inner;
        let copied = self.copied_state(&mut inner.copy);
        let latest = self.store.latest_change().await;
        let reachable = latest.is_ok();
        let mut state = match (latest, copied) {
            (Ok(latest), Ok(state)) if state.seq <= latest => state,
            (Ok(_), _) => {
                let mut state = State::empty(&self.vault)?;
                Delta::read_whole(&self.store, |delta| {
                    inner.copy.write(&delta, &self.vault).context("writing the local copy")?;
                    state.apply(delta, &self.vault).map(drop)
                })
                .await?;
                state
            }
            (Err(away), copied) if away.is_transient() => {
                tracing::warn!(error = %away, "the database is away; starting from the local copy");
                copied?
            }
            (Err(other), _) => return Err(other.into()),
        };
        // While the database is away every question to it takes seconds; the follower goes on asking.
        while reachable && let Ok(Some(delta)) = Delta::read_since(&self.store, state.seq).await {
            // What follows may be sealed with a newer key. Without it the follower goes on, once it can.
            if delta.settings && self.vault.reload().await.is_err() {
                break;
            }
            inner.copy.write(&delta, &self.vault).context("writing the local copy")?;
            state.apply(delta, &self.vault)?;
        }
        let sandbox = self.sandbox_for(&state).await?;
        inner.epoch = 1;
        let snapshot = Arc::new(state.compile(1, &self.rates, sandbox)?);
        let gateway = start(snapshot.clone())?.map(Arc::new);
        self.note(&snapshot, state.seq, gateway.as_ref().map_or(0, |g| g.workers() as u32));
        self.gateway.store(gateway);
        inner.state = Some(state);
        inner.dirty = false;
        Ok(())
    }

    fn copied_state(&self, copy: &mut LocalCopy) -> anyhow::Result<State> {
        let mut state = State::empty(&self.vault)?;
        copy.read(&self.vault, |delta| state.apply(delta, &self.vault).map(drop))?;
        anyhow::ensure!(state.seq > 0, "the local copy was not finished");
        Ok(state)
    }

    /// Writes the local copy anew once it has become long. Reads the store without holding anybody up.
    pub async fn shorten_copy(&self) -> anyhow::Result<()> {
        if !self.inner.lock().await.copy.is_long() {
            return Ok(());
        }
        let mut pieces = Vec::new();
        Delta::read_whole(&self.store, |delta| {
            pieces.push(delta);
            anyhow::Ok(())
        })
        .await?;
        let mut inner = self.inner.lock().await;
        // What was put into force since is in the store and has to follow. All of it is read before the
        // old copy is touched: a database that goes away meanwhile must not leave one without a revocation.
        let mut seq = pieces.last().map_or(0, |last| last.seq);
        while let Some(delta) = Delta::read_since(&self.store, seq).await? {
            seq = delta.seq;
            pieces.push(delta);
        }
        let written = pieces.iter().try_for_each(|piece| inner.copy.write(piece, &self.vault));
        if written.is_err() {
            inner.copy.give_up();
        }
        written
    }

    /// Takes the gateway out, for its shutdown. Its last requests are served with what is in force now, so
    /// nothing can be published any more: what is changed from here on is stored, and enforced by the next start.
    pub async fn detach(&self) -> Option<Arc<Gateway>> {
        self.inner.lock().await.ending = true;
        self.gateway.swap(None)
    }

    /// Brings everything stored into force and waits until every worker has confirmed.
    pub async fn bring_up_to_date(&self) -> Result<Published, PublishError> {
        let mut inner = self.inner.lock().await;
        let inner = &mut *inner;
        let unreadable = |e: anyhow::Error| PublishError::Unreadable(format!("{e:#}"));
        if inner.ending {
            return Err(PublishError::Unreadable("the server is shutting down".into()));
        }
        let Some(state) = &mut inner.state else {
            return Err(PublishError::Unreadable("the gateway has not started: the vault is sealed".into()));
        };
        loop {
            let delta = Delta::read_since(&self.store, state.seq).await.map_err(|e| unreadable(e.into()))?;
            let Some(delta) = delta else { break };
            if delta.settings {
                self.vault.reload().await.map_err(|e| unreadable(e.into()))?;
            }
            // Written before it is in force: a restart must not bring a revoked key back. Where that
            // fails, no copy is better than an old one, and the change is enforced all the same.
            if let Err(error) = inner.copy.write(&delta, &self.vault) {
                tracing::error!(error = format!("{error:#}"), "the local copy cannot be written and is given up");
                inner.copy.give_up();
            }
            inner.dirty = true;
            inner.pending.extend(state.apply(delta, &self.vault).map_err(unreadable)?);
        }
        let gateway = self.gateway.load_full();
        let workers = gateway.as_ref().map_or(0, |g| g.workers() as u32);
        if inner.dirty {
            let sandbox = self.sandbox_for(state).await.map_err(unreadable)?;
            let snapshot = state.compile(inner.epoch + 1, &self.rates, sandbox);
            let snapshot = Arc::new(snapshot.map_err(|e| PublishError::NotCompiled(e.to_string()))?);
            inner.epoch += 1;
            if let Some(gateway) = &gateway {
                let installed = gateway.install(snapshot.clone(), inner.pending.clone()).await;
                installed.map_err(|e| PublishError::NotAcknowledged { acknowledged: e.worker as u32, workers })?;
            }
            inner.pending.clear();
            inner.dirty = false;
            self.note(&snapshot, state.seq, workers);
        } else {
            self.facts.lock().unwrap_or_else(PoisonError::into_inner).seq = state.seq as u64;
        }
        Ok(Published { epoch: inner.epoch, workers })
    }

    /// Follows the change feed: changes of other processes, and retries of what could not be published.
    pub async fn follow(&self) {
        let mut changes = self.store.subscribe();
        let mut away = false;
        loop {
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), changes.changed()).await;
            match self.bring_up_to_date().await {
                Ok(_) if away => {
                    away = false;
                    tracing::info!("the stored state can be followed again");
                }
                Ok(_) => {}
                Err(error) if !away => {
                    away = true;
                    tracing::warn!(%error, "the stored state cannot be followed; the gateway goes on with what it has");
                }
                Err(_) => {}
            }
        }
    }

    /// Where a credential's new version is tried.
    pub async fn verify_rule(&self, credential: &Name) -> Option<(Upstream, String)> {
        self.inner.lock().await.state.as_ref()?.verify_rule(credential)
    }

    /// The sandbox's address, if it runs.
    pub fn sandbox(&self) -> Option<String> {
        self.sandbox.address()
    }

    /// Running requests that were injected with a version; `None` where this process has no gateway.
    pub async fn count_in_flight(&self, credential: &str, version: u32) -> Option<u64> {
        let gateway = self.gateway.load_full()?;
        Some(gateway.in_flight(credential, version).await)
    }

    /// Open connections and running requests.
    pub fn load(&self) -> (u64, u64) {
        self.gateway.load().as_ref().map_or((0, 0), |g| g.load())
    }

    async fn sandbox_for(&self, state: &State) -> anyhow::Result<Option<String>> {
        if state.uses_sandbox() { self.sandbox.start().await.map(Some) } else { Ok(self.sandbox.address()) }
    }

    fn note(&self, snapshot: &Snapshot, seq: i64, workers: u32) {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        *facts = Facts {
            epoch: snapshot.epoch,
            seq: seq as u64,
            routes: snapshot.route_count() as u64,
            keys: snapshot.key_count() as u64,
            workers: facts.workers.max(workers),
            published: Some(SystemTime::now().into()),
        };
        self.telemetry.metrics().set_gauge("routes", "Routes in force", facts.routes as i64);
        self.telemetry.metrics().set_gauge("keys", "Keys accepted", facts.keys as i64);
        self.telemetry.metrics().set_gauge("snapshot_epoch", "Epoch of the snapshot in force", facts.epoch as i64);
    }
}

/// The admin API's view of a plane.
pub(super) struct Port(pub Arc<Plane>);

impl Dataplane for Port {
    fn publish(&self) -> BoxFuture<'_, Result<Published, PublishError>> {
        Box::pin(self.0.bring_up_to_date())
    }

    fn status(&self) -> DataplaneStatus {
        let facts = self.0.facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (connections, in_flight) = self.0.load();
        DataplaneStatus {
            workers: facts.workers,
            connections,
            in_flight,
            routes: facts.routes,
            keys: facts.keys,
            epoch: facts.epoch,
            seq: facts.seq,
            published: facts.published,
            records_dropped: self.0.telemetry.status().dropped,
        }
    }

    fn in_flight(&self, credential: &str, version: u32) -> u64 {
        let ask = self.0.count_in_flight(credential, version);
        // The port is synchronous; the control runtime has several threads, so one may wait here.
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(ask)).unwrap_or(0)
    }
}
