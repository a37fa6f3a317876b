//! Brings what is stored into force: one publisher in each process, whoever asks for it, and a wait for the others.
//! What others ask of it, and what the admin API sees of it, is in `questions`.

mod dry_run;
mod history;
mod preview;
mod questions;

pub(super) use history::Mark;
pub(super) use questions::Port;

use super::{
    copy::LocalCopy,
    delta::{Delta, Since},
    nodes::Nodes,
    sandbox::Sandbox,
    state::{State, Taken},
    tokens::{self, Board, Fetched, InForce},
};
use crate::log::LogGuard;
use anyhow::Context;
use arc_swap::ArcSwapOption;
use credentialflow_admin::ports::{ImpairedResource, PublishError, Published, UnavailableCredential};
use credentialflow_certificates::Watch;
use credentialflow_gateway::{
    Gateway, Snapshot,
    snapshot::{Impaired, Trust},
};
use credentialflow_model::{KeyId, Timestamp};
use credentialflow_policy::{Book, RateTable};
use credentialflow_store::Store;
use credentialflow_telemetry::Telemetry;
use credentialflow_vault::Vault;
use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant, SystemTime},
};

/// Rate limits with this many active keys are exact.
const RATE_SLOTS: usize = 1 << 17;

/// The gateway of this process and the state it runs.
pub(super) struct Plane {
    store: Store,
    vault: Vault,
    telemetry: Telemetry,
    rates: Arc<RateTable>,
    budgets: Arc<Book>,
    trust: Arc<Trust>,
    sandbox: Sandbox,
    nodes: Arc<Nodes>,
    gateway: ArcSwapOption<Gateway>,
    inner: tokio::sync::Mutex<Inner>,
    /// Held while everything is read anew.
    anew: tokio::sync::Mutex<()>,
    copy_due: tokio::sync::Notify,
    /// How access tokens stand, and that other ones may be wanted.
    tokens: Arc<Board>,
    tokens_due: tokio::sync::Notify,
    facts: Mutex<Facts>,
    guesses_lost: Arc<AtomicU64>,
    certificates: Arc<Watch>,
    /// Keeps secrets out of the log.
    log: Arc<LogGuard>,
    /// What is in force.
    snapshot: ArcSwapOption<Snapshot>,
}

struct Inner {
    state: Option<State>,
    copy: LocalCopy,
    epoch: u64,
    /// What is applied to the state but not confirmed by every worker.
    pending: Vec<KeyId>,
    dirty: bool,
    /// Whether the vault's settings changed and could not be read yet, and when it was last asked.
    reload_due: bool,
    reloaded: Option<Instant>,
    /// When the snapshot was last compiled.
    compiled: Instant,
    /// Place of the delta that could not be taken in whole.
    failed: i64,
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
    unavailable: Vec<UnavailableCredential>,
    impaired: Vec<Impaired>,
}

/// What this process enforces.
#[derive(Clone, Copy)]
struct Enforced {
    epoch: u64,
    workers: u32,
    seq: i64,
}

/// Why nothing could be brought up to date.
enum Halt {
    /// The database tells another history than the one in force.
    OtherHistory,
    Failed(PublishError),
}

impl From<PublishError> for Halt {
    fn from(error: PublishError) -> Self {
        Self::Failed(error)
    }
}

/// How often a vault that may know more than at the last look is asked again.
const ASK_VAULT: Duration = Duration::from_secs(1);
/// How often what could not be used is looked at again, as a file may be there by now.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

impl Plane {
    /// A plane without a gateway yet.
    pub fn new(
        store: Store,
        vault: Vault,
        telemetry: Telemetry,
        copy: LocalCopy,
        nodes: Arc<Nodes>,
        (certificates, budgets, log): (Arc<Watch>, Arc<Book>, Arc<LogGuard>),
        seed: u64,
    ) -> Self {
        Self {
            nodes,
            store,
            vault,
            telemetry,
            rates: Arc::new(RateTable::new(RATE_SLOTS, seed)),
            budgets,
            trust: Arc::default(),
            sandbox: Sandbox::default(),
            gateway: ArcSwapOption::empty(),
            inner: tokio::sync::Mutex::new(Inner {
                state: None,
                copy,
                epoch: 0,
                pending: vec![],
                dirty: true,
                reload_due: false,
                reloaded: None,
                compiled: Instant::now(),
                failed: 0,
                ending: false,
            }),
            anew: tokio::sync::Mutex::default(),
            copy_due: tokio::sync::Notify::new(),
            tokens: Arc::default(),
            tokens_due: tokio::sync::Notify::new(),
            facts: Mutex::default(),
            guesses_lost: Arc::default(),
            certificates,
            log,
            snapshot: ArcSwapOption::empty(),
        }
    }

    /// How many audit events about guessing could not be written.
    pub fn guesses_lost(&self) -> &Arc<AtomicU64> {
        &self.guesses_lost
    }

    /// Where the gateway of this node listens; `None` while there is none.
    pub fn gateway_address(&self) -> Option<std::net::SocketAddr> {
        self.gateway.load_full().map(|gateway| gateway.address())
    }

    /// The certificates that pass through.
    pub fn certificates(&self) -> &Arc<Watch> {
        &self.certificates
    }

    /// What is brought into force.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// This process among the others on its database.
    pub fn nodes(&self) -> &Arc<Nodes> {
        &self.nodes
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
        // A database restored from a backup may have moved past the copy's place on another way.
        let copied = match (&latest, copied) {
            (Ok(latest), Ok(state)) if state.seq <= *latest && self.is_on_the_way_of(state.mark).await? => Ok(state),
            (Ok(_), Ok(_)) => {
                tracing::warn!("the local copy is of another history than the database; it is made anew");
                Err(anyhow::anyhow!("the local copy is of another history than the database"))
            }
            (_, copied) => copied,
        };
        let mut state = match (latest, copied) {
            (Ok(_), Ok(state)) => state,
            (Ok(_), Err(_)) => {
                let mut state = State::empty(&self.vault, &self.budgets)?;
                Delta::read_whole(&self.store, |delta| {
                    inner.copy.write(&delta, &self.vault).context("writing the local copy")?;
                    whole(state.apply(delta, &self.vault))
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
        // From here on others wait for this node; what they changed before is read below.
        self.nodes.enter(state.seq, state.mark, reachable).await;
        // While the database is away every question to it takes seconds; the follower goes on asking.
        while reachable && let Ok(Since::More(delta)) = Delta::read_since(&self.store, state.seq, state.mark).await {
            // What follows may be sealed with a newer key. Without it the follower goes on, once it can.
            if delta.settings && self.vault.reload().await.is_err() {
                break;
            }
            inner.copy.write(&delta, &self.vault).context("writing the local copy")?;
            whole(state.apply(*delta, &self.vault))?;
        }
        inner.epoch = 1;
        if self.nodes.serves() {
            let fetched = tokens::first(state.tokens()).await;
            state.put_tokens(fetched);
        }
        let sandbox = self.sandbox_for(&state).await;
        let snapshot = Arc::new(state.compile(1, &self.rates, &self.trust, sandbox));
        inner.compiled = Instant::now();
        let gateway = start(snapshot.clone())?.map(Arc::new);
        self.note(&snapshot, &state, gateway.as_ref().map_or(0, |g| g.workers() as u32));
        self.gateway.store(gateway);
        inner.state = Some(state);
        inner.dirty = false;
        Ok(())
    }

    fn copied_state(&self, copy: &mut LocalCopy) -> anyhow::Result<State> {
        let mut state = State::empty(&self.vault, &self.budgets)?;
        copy.read(&self.vault, |delta| whole(state.apply(delta, &self.vault)))?;
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
        let (mut seq, mut mark) = pieces.last().map_or((0, None), |last| (last.seq, last.mark));
        loop {
            match Delta::read_since(&self.store, seq, mark).await? {
                Since::Nothing => break,
                Since::More(delta) => {
                    (seq, mark) = (delta.seq, delta.mark);
                    pieces.push(*delta);
                }
                Since::OtherHistory => anyhow::bail!("the database went back in time while it was read"),
            }
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
        let gateway = self.gateway.swap(None);
        self.nodes.leave().await;
        gateway
    }

    /// Brings everything stored into force, and waits until every worker of every node that is there has confirmed.
    pub async fn publish(&self) -> Result<Published, PublishError> {
        let here = self.bring_up_to_date().await?;
        let confirmed = self.nodes.wait_for(here.seq).await?;
        Ok(Published {
            epoch: here.epoch,
            workers: here.workers + confirmed.workers,
            nodes: confirmed.nodes,
            lost: confirmed.lost,
        })
    }

    /// Brings everything stored into force in this process, and waits until every worker has confirmed.
    /// Where the database went back in time, everything is read anew first.
    async fn bring_up_to_date(&self) -> Result<Enforced, PublishError> {
        match self.follow_up().await {
            Err(Halt::OtherHistory) => {
                self.read_anew().await.map_err(|e| PublishError::Unreadable(format!("{e:#}")))?;
            }
            Err(Halt::Failed(error)) => return Err(error),
            Ok(enforced) => return Ok(enforced),
        }
        match self.follow_up().await {
            Err(Halt::OtherHistory) => Err(PublishError::Unreadable("the database went back in time once more".into())),
            Err(Halt::Failed(error)) => Err(error),
            Ok(enforced) => Ok(enforced),
        }
    }

    /// Takes in what followed, and waits until every worker has confirmed.
    async fn follow_up(&self) -> Result<Enforced, Halt> {
        let mut inner = self.inner.lock().await;
        let inner = &mut *inner;
        let unreadable = |e: anyhow::Error| PublishError::Unreadable(format!("{e:#}"));
        if inner.ending {
            return Err(PublishError::Unreadable("the server is shutting down".into()).into());
        }
        if inner.state.is_none() {
            return Err(PublishError::Unreadable("the gateway has not started: the vault is sealed".into()).into());
        }
        let problem = self.take_in(inner).await?;
        let enforced = self.enforce(inner).await?;
        match problem {
            None => Ok(enforced),
            Some(problem) => Err(unreadable(problem).into()),
        }
    }

    /// Compiles what was taken in, if anything was, and waits until every worker has confirmed it.
    async fn enforce(&self, inner: &mut Inner) -> Result<Enforced, PublishError> {
        let Inner { state: Some(state), dirty, pending, epoch, compiled, .. } = inner else {
            return Err(PublishError::Unreadable("the gateway has not started".into()));
        };
        let gateway = self.gateway.load_full();
        let workers = gateway.as_ref().map_or(0, |g| g.workers() as u32);
        let impaired = self.facts.lock().unwrap_or_else(PoisonError::into_inner).impaired.clone();
        let mut snapshot = None;
        if *dirty || (!impaired.is_empty() && compiled.elapsed() > LOOK_AGAIN) {
            let sandbox = self.sandbox_for(state).await;
            let fresh = state.compile(*epoch + 1, &self.rates, &self.trust, sandbox);
            *compiled = Instant::now();
            snapshot = Some(Arc::new(fresh)).filter(|fresh| *dirty || fresh.impaired != impaired);
        }
        if let Some(snapshot) = snapshot {
            *epoch += 1;
            if let Some(gateway) = &gateway {
                let installed = gateway.install(snapshot.clone(), pending.clone()).await;
                installed.map_err(|e| PublishError::NotAcknowledged { acknowledged: e.worker as u32, workers })?;
            }
            pending.clear();
            *dirty = false;
            self.note(&snapshot, state, workers);
        } else {
            self.facts.lock().unwrap_or_else(PoisonError::into_inner).seq = state.seq as u64;
            self.nodes.enforces(state.seq, state.mark, workers);
        }
        Ok(Enforced { epoch: *epoch, workers, seq: state.seq })
    }

    /// Which access tokens are in force in this process, and which are wanted.
    pub async fn tokens_in_force(&self) -> InForce {
        self.inner.lock().await.state.as_ref().map(State::tokens).unwrap_or_default()
    }

    /// Returns when other access tokens may be wanted than before.
    pub async fn tokens_due(&self) {
        self.tokens_due.notified().await;
    }

    /// How access tokens stand.
    pub fn tokens(&self) -> &Arc<Board> {
        &self.tokens
    }

    /// Brings access tokens into force in this process. The database is not asked.
    pub async fn put_tokens(&self, fetched: Vec<Fetched>) -> Result<(), PublishError> {
        let mut inner = self.inner.lock().await;
        let inner = &mut *inner;
        let Some(state) = inner.state.as_mut().filter(|_| !inner.ending) else { return Ok(()) };
        state.put_tokens(fetched);
        inner.dirty = true;
        self.enforce(inner).await.map(drop)
    }

    /// Takes what is new into the state, and answers what could not be taken in. That does not hold up the rest: what
    /// was taken in is to be enforced all the same, revocations above all.
    async fn take_in(&self, inner: &mut Inner) -> Result<Option<anyhow::Error>, Halt> {
        let unreadable = |e: anyhow::Error| PublishError::Unreadable(format!("{e:#}"));
        let Some(state) = &mut inner.state else { return Ok(None) };
        let mut fresh = false;
        let mut problem = None;
        loop {
            let since = Delta::read_since(&self.store, state.seq, state.mark).await;
            let delta = match since.map_err(|e| unreadable(e.into()))? {
                Since::Nothing => break,
                Since::More(delta) => *delta,
                Since::OtherHistory => return Err(Halt::OtherHistory),
            };
            if delta.settings {
                inner.reload_due = self.vault.reload().await.is_err();
            }
            fresh = true;
            let again = delta.seq == inner.failed;
            // Written before it is in force: a restart must not bring a revoked key back. Where that
            // fails, no copy is better than an old one, and the change is enforced all the same.
            if !again && let Err(error) = inner.copy.write(&delta, &self.vault) {
                tracing::error!(error = format!("{error:#}"), "the local copy cannot be written and is given up");
                inner.copy.give_up();
            }
            let (seq, more) = (delta.seq, delta.more);
            let taken = state.apply(delta, &self.vault);
            inner.dirty |= !again;
            inner.pending.extend(taken.revoked);
            if taken.problem.is_some() {
                inner.failed = seq;
                problem = taken.problem;
                break;
            }
            // What was committed since is brought into force by whoever committed it: nobody's revocation waits for
            // one more look.
            if !more {
                break;
            }
        }
        let asked_lately = inner.reloaded.is_some_and(|at| at.elapsed() < ASK_VAULT);
        if (state.needs_vault() || inner.reload_due) && (fresh || !asked_lately) {
            inner.reloaded = Some(Instant::now());
            // What does not open may be sealed with a key that another node has added meanwhile.
            if self.vault.reload().await.is_ok() && std::mem::take(&mut inner.reload_due) {
                state.expect_settings();
            }
            inner.dirty |= state.renew(&self.vault);
        }
        Ok(problem)
    }

    /// Follows the change feed: changes of other processes, and retries of what could not be published.
    pub async fn follow(&self) {
        tokio::join!(self.follow_feed(), self.renew_copy());
    }

    async fn follow_feed(&self) {
        let mut changes = self.store.subscribe();
        let mut away = false;
        loop {
            let _ = tokio::time::timeout(self.nodes.pause(), changes.changed()).await;
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

    /// Where the sandbox listens, started if anything needs it. Without it only what goes to it is refused.
    async fn sandbox_for(&self, state: &State) -> Option<String> {
        if !state.uses_sandbox() {
            return self.sandbox.address();
        }
        let started = self.sandbox.start().await;
        started.inspect_err(|error| tracing::error!(error = format!("{error:#}"), "the sandbox cannot start")).ok()
    }

    fn note(&self, snapshot: &Arc<Snapshot>, state: &State, workers: u32) {
        self.log.look_for(snapshot.clone());
        self.snapshot.store(Some(snapshot.clone()));
        self.tokens_due.notify_one();
        state.show_certificates(&self.certificates);
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        tell_impaired(&facts.impaired, &snapshot.impaired);
        *facts = Facts {
            epoch: snapshot.epoch,
            seq: state.seq as u64,
            routes: snapshot.route_count() as u64,
            keys: snapshot.key_count() as u64,
            workers: facts.workers.max(workers),
            published: Some(SystemTime::now().into()),
            unavailable: state.unavailable(),
            impaired: snapshot.impaired.clone(),
        };
        self.nodes.enforces(state.seq, state.mark, workers);
        self.telemetry.metrics().set_gauge(
            "credentials_unavailable",
            "Credentials whose current version does not open",
            facts.unavailable.len() as i64,
        );
        self.telemetry.metrics().set_gauge(
            "resources_impaired",
            "Resources that cannot be used as they are configured, wholly or in part",
            facts.impaired.len() as i64,
        );
        self.telemetry.metrics().set_gauge("routes", "Routes in force", facts.routes as i64);
        self.telemetry.metrics().set_gauge("keys", "Keys accepted", facts.keys as i64);
        self.telemetry.metrics().set_gauge("snapshot_epoch", "Epoch of the snapshot in force", facts.epoch as i64);
    }
}

/// Logs what cannot be used as it is configured, once, and its end.
fn tell_impaired(before: &[Impaired], now: &[Impaired]) {
    for Impaired { kind, name, reason, serves } in now.iter().filter(|one| !before.contains(one)) {
        let kind = kind.as_str();
        if *serves {
            tracing::warn!(kind, %name, reason, "a resource cannot be used as it is configured; it serves all the same");
        } else {
            tracing::error!(kind, %name, reason, "a resource cannot be used as it is configured; its requests are refused");
        }
    }
    let of = |list: &[Impaired], one: &Impaired| list.iter().any(|o| o.kind == one.kind && o.name == one.name);
    for one in before.iter().filter(|one| !of(now, one)) {
        tracing::info!(kind = one.kind.as_str(), name = %one.name, "the resource can be used as it is configured");
    }
}

/// As the admin API tells it.
fn told(impaired: Impaired) -> ImpairedResource {
    let Impaired { kind, name, reason, serves } = impaired;
    ImpairedResource { kind, name: name.to_string(), reason, serves }
}

/// A state that is read to be served first must be whole.
fn whole(taken: Taken) -> anyhow::Result<()> {
    taken.problem.map_or(Ok(()), Err)
}
