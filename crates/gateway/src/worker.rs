//! One worker: a thread, its single-threaded runtime, and everything only it touches.

mod run;

pub(crate) use run::run;

use crate::{
    budget::Budget,
    cache::AnswerCache,
    cooling::Cooling,
    dry_run::{CannotAsk, Decision, WholeCall},
    net::control::{Controls, TICK},
    pipeline::{scrub::Scanners, users::KnownUsers},
    ports::{
        CertificateListener, ChallengeSource, CredentialSlot, GuessListener, Journal, KeptRecord, Lender, ObjectKeeper,
        RecordSink, SecretListener,
    },
    preview::{AskedCall, ModelRoute},
    route::RouteIndex,
    snapshot::Snapshot,
    upstream::{Endpoint, Pools},
};
use credentialflow_llm::provider::Dialect;
use credentialflow_model::{KeyId, Timestamp, UsageRecord};
use credentialflow_policy::FailureThrottle;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::IpAddr,
    rc::{Rc, Weak},
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::oneshot;

/// Limits and times of the listener; see the process configuration for their documentation.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Limits on request heads.
    pub head: crate::http1::head::HeadLimits,
    /// A request head must be complete this long after its first byte.
    pub head_timeout: Duration,
    /// Longest pause inside a request body, and longest time a caller may refuse to read.
    pub body_timeout: Duration,
    /// An idle connection is closed after this long.
    pub keep_alive: Duration,
    /// Connections one worker holds at most.
    pub max_connections: usize,
    /// Idle connections kept for each endpoint by one worker.
    pub pool_size: usize,
    /// Bytes that HTTP/2 requests and buffered model bodies may make one worker hold.
    pub memory: u64,
    /// Bytes that answers of models may take which are kept to be given again, on this node.
    pub answer_cache: u64,
    /// How long running requests may go on after shutdown began.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            head: Default::default(),
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            max_connections: 16 * 1024,
            pool_size: 256,
            memory: 512 << 20,
            answer_cache: 64 << 20,
            drain: Duration::from_secs(30),
        }
    }
}

/// What workers share; every field is written rarely or by atomics of its own.
pub struct Shared {
    /// Limits and times.
    pub settings: Settings,
    /// Takes finished records.
    pub records: Arc<dyn RecordSink>,
    /// Counts failed authentications.
    pub throttle: Arc<FailureThrottle>,
    /// Hears of guessing.
    pub guesses: Arc<dyn GuessListener>,
    /// Hears of certificates that upstreams present.
    pub certificates: Arc<dyn CertificateListener>,
    /// Hears of secrets of ours in what callers send.
    pub secrets: Arc<dyn SecretListener>,
    /// Lends more of budgets.
    pub lender: Arc<dyn Lender>,
    /// Keeps files and batches of callers.
    pub objects: Option<Arc<dyn ObjectKeeper>>,
    /// Keeps answers of models.
    pub cache: AnswerCache,
    /// Answers challenges of an ACME server, if certificates are ordered from one.
    pub challenges: Option<Arc<dyn ChallengeSource>>,
    /// TLS of the listener, if configured.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The clock limits are counted on.
    pub started: Instant,
}

/// Numbers of one worker that others may read at any time.
#[derive(Default)]
pub struct Gauges {
    /// Open connections.
    pub connections: AtomicU64,
    /// Requests being served.
    pub in_flight: AtomicU64,
    /// Connections refused at the limit.
    pub refused_connections: AtomicU64,
    /// Bytes held of the worker's memory budget.
    pub held_bytes: AtomicU64,
    /// How often something did not fit into the budget.
    pub over_budget: AtomicU64,
}

/// What the control plane asks of a worker.
pub(crate) enum Command {
    /// Use this snapshot from now on and cut the running requests of revoked keys; then answer.
    Install { snapshot: Arc<Snapshot>, revoked: Arc<[KeyId]>, done: oneshot::Sender<()> },
    /// How many running requests were injected with this version of a credential?
    InFlight { credential: Arc<str>, version: u32, answer: oneshot::Sender<u64> },
    /// Which running requests were injected with this version of a credential?
    Stragglers { credential: Arc<str>, version: u32, answer: oneshot::Sender<Vec<Straggler>> },
    /// Which target would the next call of this kind to this model take?
    Preview { model: Arc<str>, call: AskedCall, answer: oneshot::Sender<Option<ModelRoute>> },
    /// What would be decided of this call to this model before it is sent anywhere?
    Decide { model: Arc<str>, call: WholeCall, answer: oneshot::Sender<Result<Decision, CannotAsk>> },
    /// Stop accepting, let running requests finish, then answer.
    Shutdown { done: oneshot::Sender<()> },
}

/// The running uses of a credential version, held by the requests that use it.
#[derive(Default)]
pub(crate) struct Uses {
    count: Cell<u64>,
    /// One place for each; free ones are listed in `free`.
    carriers: RefCell<Vec<Option<Carrier>>>,
    free: RefCell<Vec<u32>>,
}

/// A request that carries a credential, as little of it as tells it apart later: copied, never counted.
#[derive(Clone, Copy)]
pub(crate) struct Carrier {
    /// The snapshot that the request began with.
    pub epoch: u64,
    /// Its route there.
    pub route: RouteIndex,
    /// The key it came with.
    pub key: Option<KeyId>,
    /// Where it came from.
    pub source: IpAddr,
}

impl Uses {
    /// Takes a place.
    pub fn enter(&self, carrier: Carrier) -> u32 {
        self.count.set(self.count.get() + 1);
        let mut carriers = self.carriers.borrow_mut();
        match self.free.borrow_mut().pop() {
            Some(place) => {
                if let Some(at) = carriers.get_mut(place as usize) {
                    *at = Some(carrier);
                }
                place
            }
            None => {
                carriers.push(Some(carrier));
                (carriers.len() - 1) as u32
            }
        }
    }

    /// Gives it back.
    pub fn leave(&self, place: u32) {
        self.count.set(self.count.get().saturating_sub(1));
        if let Some(at) = self.carriers.borrow_mut().get_mut(place as usize) {
            *at = None;
        }
        self.free.borrow_mut().push(place);
    }
}

/// The uses of one version.
pub(crate) type UseCount = Rc<Uses>;

/// Running requests of one caller that still carry a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Straggler {
    /// The application, where a key was presented that is still known.
    pub application: Option<Arc<str>>,
    /// The route.
    pub route: Arc<str>,
    /// Where the requests came from.
    pub source: IpAddr,
    /// How many there are.
    pub requests: u64,
}

/// A snapshot with this worker's own state beside it.
pub(crate) struct View {
    pub snapshot: Arc<Snapshot>,
    /// Parallel to the snapshot's endpoints.
    pub endpoints: Vec<Rc<Endpoint>>,
    /// Parallel to its credentials: running uses of the current version.
    pub uses: Vec<UseCount>,
    /// Parallel to its credentials: what finds their values in answers.
    pub scanners: Scanners,
    /// Parallel to its credentials: requests so far, for those whose newer version gets a share.
    pub shares: Vec<Cell<u32>>,
    /// Parallel to its upstreams: whose turn it is.
    pub turns: Vec<Cell<u32>>,
    /// Parallel to its models.
    pub model_turns: Vec<ModelTurns>,
    /// Parallel to what failures are remembered of.
    pub coolings: Vec<Rc<Cooling>>,
    /// The end users that were met.
    pub users: KnownUsers,
}

/// Whose turn it is among a model's targets. Counted for each dialect of callers, so that none takes always the same
/// part of the turns of another.
pub(crate) struct ModelTurns {
    pub chat: Cell<u32>,
    pub responses: Cell<u32>,
    pub messages: Cell<u32>,
    pub gemini: Cell<u32>,
}

impl ModelTurns {
    /// That of callers who speak this dialect.
    pub const fn of(&self, speaks: Dialect) -> &Cell<u32> {
        match speaks {
            // Nobody calls in the last two.
            Dialect::OpenAi | Dialect::Bedrock | Dialect::Replicate => &self.chat,
            Dialect::Responses => &self.responses,
            Dialect::Anthropic => &self.messages,
            Dialect::Gemini => &self.gemini,
        }
    }
}

impl View {
    /// The slot that a request takes its credential from: a newer version's for its share of the requests.
    /// Each worker counts for itself.
    pub fn shared_slot(&self, slot: CredentialSlot) -> CredentialSlot {
        let Some((canary, percent)) = self.snapshot.credentials.canary(slot) else { return slot };
        let Some(count) = self.shares.get(slot as usize) else { return slot };
        let turn = count.get() % 100;
        count.set(turn + 1);
        if takes_canary(turn, percent) { canary } else { slot }
    }
}

/// Whether the `turn`-th of a hundred requests is one of the `percent`, which are spread evenly.
const fn takes_canary(turn: u32, percent: u8) -> bool {
    (turn + 1) * percent as u32 / 100 != turn * percent as u32 / 100
}

/// One worker.
pub(crate) struct Worker {
    pub shared: Arc<Shared>,
    pub gauges: Arc<Gauges>,
    pub budget: Rc<Budget>,
    pub controls: Controls,
    pub pools: Pools,
    pub draining: Cell<bool>,
    /// Until this tick nobody asks how budgets stand: nobody answered a moment ago.
    pub unheard_until: Cell<u64>,
    view: RefCell<Rc<View>>,
    uses: RefCell<HashMap<(Arc<str>, u32), UseCount>>,
    /// The views that running requests may still have begun with.
    views: RefCell<Vec<Weak<View>>>,
    records: RefCell<Vec<UsageRecord>>,
    /// What holds what is kept of them.
    kept: RefCell<Vec<KeptRecord>>,
    journal: RefCell<Option<Box<dyn Journal>>>,
    tick: Cell<u64>,
    ids: Cell<u64>,
    methods: RefCell<Vec<Arc<str>>>,
    scratch: RefCell<Vec<Vec<u8>>>,
    buffers: RefCell<Vec<Vec<u8>>>,
}

/// Callers that are named; more are only counted.
const MOST_STRAGGLERS: usize = 64;
/// Records handed over at once.
const BATCH: usize = 128;

impl Worker {
    fn new(shared: Arc<Shared>, gauges: Arc<Gauges>, snapshot: Arc<Snapshot>, seed: u64) -> Rc<Self> {
        let journal = shared.records.journal();
        let empty = Rc::new(View {
            snapshot: snapshot.clone(),
            endpoints: vec![],
            uses: vec![],
            scanners: vec![],
            shares: vec![],
            turns: vec![],
            model_turns: vec![],
            coolings: vec![],
            users: KnownUsers::default(),
        });
        let worker = Rc::new(Self {
            pools: Pools::new(shared.settings.pool_size),
            budget: Budget::new(gauges.clone(), shared.settings.memory),
            shared,
            gauges,
            controls: Controls::default(),
            draining: Cell::new(false),
            unheard_until: Cell::new(0),
            view: RefCell::new(empty),
            uses: RefCell::default(),
            views: RefCell::default(),
            records: RefCell::new(Vec::with_capacity(BATCH)),
            kept: RefCell::default(),
            journal: RefCell::new(journal),
            tick: Cell::new(1),
            ids: Cell::new(seed),
            methods: RefCell::default(),
            scratch: RefCell::default(),
            buffers: RefCell::default(),
        });
        worker.install(snapshot);
        worker
    }

    /// The snapshot requests that begin now are served with.
    pub fn view(&self) -> Rc<View> {
        self.view.borrow().clone()
    }

    fn install(&self, snapshot: Arc<Snapshot>) {
        let endpoints = snapshot.endpoints.iter().map(|e| self.pools.endpoint(&e.identity)).collect();
        let coolings = snapshot.models.coolings.iter().map(|identity| self.pools.cooling(identity)).collect();
        let mut known = self.uses.borrow_mut();
        known.retain(|_, count| Rc::strong_count(count) > 1);
        let uses = (0..snapshot.credentials.len() as u32)
            .map(|slot| match snapshot.credentials.describe(slot) {
                Some((name, version)) => known.entry((name.clone(), version)).or_default().clone(),
                None => UseCount::default(),
            })
            .collect();
        let old = self.view.borrow().clone();
        // A value that stays is not taken apart again; one that does not is told from it when it is used.
        let known = |name: &str| old.scanners.get(old.snapshot.credentials.slot(name)? as usize)?.borrow().clone();
        let scanners = (0..snapshot.credentials.len() as u32)
            .map(|slot| snapshot.credentials.describe(slot).and_then(|(name, _)| known(name)))
            .map(RefCell::new)
            .collect();
        // Turns go on where they were, so that frequent changes do not favour the first endpoint.
        let turn = old.turns.first().map_or(0, Cell::get);
        let view = View {
            shares: vec![Cell::new(turn % 100); snapshot.credentials.len()],
            turns: (0..snapshot.upstreams.len()).map(|_| Cell::new(turn)).collect(),
            model_turns: (0..snapshot.models.list.len())
                .map(|_| ModelTurns {
                    chat: Cell::new(turn),
                    responses: Cell::new(turn),
                    messages: Cell::new(turn),
                    gemini: Cell::new(turn),
                })
                .collect(),
            snapshot,
            endpoints,
            uses,
            scanners,
            coolings,
            users: KnownUsers::default(),
        };
        let view = Rc::new(view);
        let mut views = self.views.borrow_mut();
        views.retain(|view| view.strong_count() > 0);
        views.push(Rc::downgrade(&view));
        drop(views);
        *self.view.borrow_mut() = view;
        // Long requests keep the old view.
        old.users.clear();
        drop(old);
        self.pools.forget_unused();
    }

    /// Running requests that were sent with this version.
    fn in_flight(&self, credential: Arc<str>, version: u32) -> u64 {
        self.uses.borrow().get(&(credential, version)).map_or(0, |uses| uses.count.get())
    }

    /// Which running requests were sent with this version, by caller.
    fn stragglers(&self, credential: Arc<str>, version: u32) -> Vec<Straggler> {
        let mut found: Vec<Straggler> = Vec::new();
        let uses = self.uses.borrow();
        let Some(uses) = uses.get(&(credential, version)) else { return found };
        let views: Vec<Rc<View>> = self.views.borrow().iter().filter_map(Weak::upgrade).collect();
        for carrier in uses.carriers.borrow().iter().flatten() {
            let Some(view) = views.iter().find(|view| view.snapshot.epoch == carrier.epoch) else { continue };
            let Some(route) = view.snapshot.routes.get(carrier.route as usize) else { continue };
            let application = carrier.key.and_then(|key| view.snapshot.keys.application_of(key));
            let same = |s: &&mut Straggler| {
                s.source == carrier.source && s.route == route.name && s.application.as_ref() == application
            };
            if let Some(known) = found.iter_mut().find(same) {
                known.requests += 1;
            } else if found.len() < MOST_STRAGGLERS {
                found.push(Straggler {
                    application: application.cloned(),
                    route: route.name.clone(),
                    source: carrier.source,
                    requests: 1,
                });
            }
        }
        found
    }

    /// Takes a finished record.
    pub fn record(&self, record: UsageRecord) {
        let mut records = self.records.borrow_mut();
        records.push(record);
        if records.len() >= BATCH {
            let batch = std::mem::replace(&mut *records, Vec::with_capacity(BATCH));
            drop(records);
            self.shared.records.take(batch, self.kept.take());
        }
    }

    /// As [`Self::record`], of what a caller is going to be told: it is on record also when the process is killed.
    pub fn record_at_once(&self, record: UsageRecord) {
        self.hold(self.keep(&record));
        self.record(record);
    }

    /// Keeps a record that is not over yet, for as long as what is given back is held.
    pub fn keep(&self, record: &UsageRecord) -> Option<KeptRecord> {
        self.journal.borrow_mut().as_mut()?.keep(record)
    }

    /// Holds what is kept of a record until it is on disk; to be called before it is handed over.
    pub fn hold(&self, kept: impl IntoIterator<Item = KeptRecord>) {
        self.kept.borrow_mut().extend(kept);
    }

    fn flush_records(&self) {
        let batch = std::mem::take(&mut *self.records.borrow_mut());
        if !batch.is_empty() {
            self.shared.records.take(batch, self.kept.take());
        }
        if let Some(journal) = self.journal.borrow_mut().as_mut() {
            journal.strike();
        }
    }

    /// The tick that is `after` from now; deadlines are set to it.
    pub fn tick_in(&self, after: Duration) -> u64 {
        const PER_SECOND: u64 = 1000 / TICK.as_millis() as u64;
        // In 64 bits: a division of 128 is dear, and every wait of a request asks.
        let ticks = after.as_secs() * PER_SECOND + u64::from(after.subsec_millis()).div_ceil(1000 / PER_SECOND);
        self.tick.get() + ticks.max(1) + 1
    }

    /// Random bits for ids; unpredictable enough to be unique, not meant to be secret (SplitMix64).
    pub fn bits(&self) -> u64 {
        let state = self.ids.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.ids.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One shared text for each method seen; unusual ones beyond a few are not kept.
    pub fn method(&self, method: &str) -> Arc<str> {
        let mut known = self.methods.borrow_mut();
        if let Some(found) = known.iter().find(|m| ***m == *method) {
            return found.clone();
        }
        let shared: Arc<str> = method.into();
        if known.len() < 16 {
            known.push(shared.clone());
        }
        shared
    }

    /// A buffer that was used before, or a new one.
    pub fn take_scratch(&self) -> Vec<u8> {
        self.scratch.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a buffer back for the next request. It must hold no secret.
    pub fn give_scratch(&self, mut buffer: Vec<u8>) {
        let mut kept = self.scratch.borrow_mut();
        if kept.len() < 64 && buffer.capacity() <= 64 * 1024 {
            buffer.clear();
            kept.push(buffer);
        }
    }

    /// A read buffer for a connection that has something to read.
    pub fn take_buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives back the read buffer of an idle connection.
    pub fn give_buffer(&self, buffer: Vec<u8>) {
        let mut kept = self.buffers.borrow_mut();
        if kept.len() < 64 && buffer.len() <= 64 * 1024 {
            kept.push(buffer);
        }
    }

    /// Nanoseconds from the process's start to a moment; the clock of all limits.
    pub fn monotonic_ns(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.shared.started).as_nanos() as u64
    }

    /// The current tick of the sweep: a clock that costs nothing, accurate to a tenth of a second.
    pub fn tick(&self) -> u64 {
        self.tick.get()
    }

    /// Wall clock.
    pub fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

#[cfg(test)]
mod tests {
    use super::takes_canary;

    #[test]
    fn a_share_is_exact_over_a_hundred_requests_and_spread_evenly() {
        for percent in 1..=99u8 {
            let taken: Vec<u32> = (0..100).filter(|turn| takes_canary(*turn, percent)).collect();
            assert_eq!(taken.len(), usize::from(percent));
            let gap = 100 / u32::from(percent);
            assert!(taken.windows(2).all(|w| (gap..=gap + 1).contains(&(w[1] - w[0]))), "{percent}: {taken:?}");
        }
    }
}
