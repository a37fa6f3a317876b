//! All workers of a process, as the control plane sees them.

use crate::{
    Gauges, Settings, Snapshot,
    cache::AnswerCache,
    dry_run::{CannotAsk, DryRun, WholeCall},
    net::listener,
    ports::{CertificateListener, ChallengeSource, GuessListener, Lender, ObjectKeeper, RecordSink, SecretListener},
    preview::{AskedCall, ModelRoute},
    worker::{self, Command, Shared, Straggler},
};
use credentialflow_model::KeyId;
use credentialflow_policy::FailureThrottle;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// What a gateway is started with.
pub struct Start {
    /// Where to listen; port 0 chooses one.
    pub address: SocketAddr,
    /// One thread each; usually one for each core.
    pub workers: usize,
    /// Limits and times.
    pub settings: Settings,
    /// The first snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Takes records.
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
    /// Keeps files and batches of callers; without one, there are none.
    pub objects: Option<Arc<dyn ObjectKeeper>>,
    /// Answers challenges of an ACME server, where certificates are ordered from one.
    pub challenges: Option<Arc<dyn ChallengeSource>>,
    /// TLS, if the listener has it.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Random; ids grow out of it.
    pub seed: u64,
}

/// A running data plane.
pub struct Gateway {
    address: SocketAddr,
    workers: Vec<Handle>,
    cache: AnswerCache,
}

struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    gauges: Arc<Gauges>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// A worker did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("worker {worker} of {workers} did not confirm within {seconds} s")]
pub struct NotConfirmed {
    /// Which one.
    pub worker: usize,
    /// Of how many.
    pub workers: usize,
    /// How long it was waited for.
    pub seconds: u64,
}

/// A worker that takes longer than this to install a snapshot is stuck.
const CONFIRM: Duration = Duration::from_secs(10);

impl Gateway {
    /// Binds the sockets and starts the workers.
    pub fn start(start: Start) -> io::Result<Self> {
        let sockets = listener::bind_all(start.address, start.workers.max(1))?;
        let address = sockets[0].local_addr()?;
        let cache = AnswerCache::start(start.settings.answer_cache, &start.snapshot)?;
        let shared = Arc::new(Shared {
            cache: cache.clone(),
            settings: start.settings,
            records: start.records,
            throttle: start.throttle,
            guesses: start.guesses,
            certificates: start.certificates,
            secrets: start.secrets,
            lender: start.lender,
            objects: start.objects,
            challenges: start.challenges,
            tls: start.tls,
            started: Instant::now(),
        });
        let mut workers = Vec::with_capacity(sockets.len());
        for (i, socket) in sockets.into_iter().enumerate() {
            let (commands, receiver) = mpsc::unbounded_channel();
            let gauges = Arc::new(Gauges::default());
            let (shared, counted, snapshot) = (shared.clone(), gauges.clone(), start.snapshot.clone());
            let seed = start.seed.wrapping_add((i as u64) << 56);
            let thread = std::thread::Builder::new()
                .name(format!("gateway-{i}"))
                .spawn(move || worker::run(shared, counted, snapshot, socket, receiver, seed))?;
            workers.push(Handle { commands, gauges, thread: Some(thread) });
        }
        Ok(Self { address, workers, cache })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Puts a snapshot into force and cuts the running requests of revoked keys. Returns once every
    /// worker has confirmed that requests which begin from now on are served with it.
    pub async fn install(&self, snapshot: Arc<Snapshot>, revoked: Vec<KeyId>) -> Result<(), NotConfirmed> {
        let revoked: Arc<[KeyId]> = revoked.into();
        // Before any worker asks under it.
        self.cache.in_force(&snapshot);
        let mut waiting = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (done, confirmed) = oneshot::channel();
            let _ =
                worker.commands.send(Command::Install { snapshot: snapshot.clone(), revoked: revoked.clone(), done });
            waiting.push(confirmed);
        }
        for (i, confirmed) in waiting.into_iter().enumerate() {
            if !matches!(tokio::time::timeout(CONFIRM, confirmed).await, Ok(Ok(()))) {
                return Err(NotConfirmed { worker: i, workers: self.workers.len(), seconds: CONFIRM.as_secs() });
            }
        }
        Ok(())
    }

    /// How many running requests were injected with this version of a credential. A worker that does
    /// not answer counts as one, so that nothing is retired on its silence.
    pub async fn in_flight(&self, credential: &str, version: u32) -> u64 {
        let credential: Arc<str> = credential.into();
        let mut total = 0;
        for worker in &self.workers {
            let (answer, count) = oneshot::channel();
            let _ = worker.commands.send(Command::InFlight { credential: credential.clone(), version, answer });
            total += tokio::time::timeout(CONFIRM, count).await.ok().and_then(Result::ok).unwrap_or(1);
        }
        total
    }

    /// Which running requests were injected with this version of a credential, by caller. A worker that
    /// does not answer is left out.
    pub async fn stragglers(&self, credential: &str, version: u32) -> Vec<Straggler> {
        let credential: Arc<str> = credential.into();
        let mut all: Vec<Straggler> = Vec::new();
        for worker in &self.workers {
            let (answer, found) = oneshot::channel();
            let _ = worker.commands.send(Command::Stragglers { credential: credential.clone(), version, answer });
            let found = tokio::time::timeout(CONFIRM, found).await.ok().and_then(Result::ok);
            for one in found.unwrap_or_default() {
                let same = |s: &&mut Straggler| {
                    (&s.application, &s.route, s.source) == (&one.application, &one.route, one.source)
                };
                if let Some(known) = all.iter_mut().find(same) {
                    known.requests += one.requests;
                } else {
                    all.push(one);
                }
            }
        }
        all
    }

    /// Which targets the next calls of this kind to a model would take; `None` without such a model. A worker that does
    /// not answer is left out.
    pub async fn preview(&self, model: &str, call: AskedCall) -> Option<ModelRoute> {
        let model: Arc<str> = model.into();
        let mut told = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (answer, found) = oneshot::channel();
            let _ = worker.commands.send(Command::Preview { model: model.clone(), call: call.clone(), answer });
            told.extend(tokio::time::timeout(CONFIRM, found).await.ok().and_then(Result::ok).flatten());
        }
        ModelRoute::of(told)
    }

    /// What would be decided of a whole call to a model, and which targets it would take; nothing is sent, counted or
    /// recorded. `None` where no worker answers.
    ///
    /// # Errors
    /// What was asked is no call to this model of a caller that there is.
    pub async fn dry_run(&self, model: &str, call: WholeCall) -> Result<Option<DryRun>, CannotAsk> {
        let Some(worker) = self.workers.first() else { return Ok(None) };
        let (answer, decided) = oneshot::channel();
        let _ = worker.commands.send(Command::Decide { model: model.into(), call, answer });
        let decided = tokio::time::timeout(CONFIRM, decided).await.ok().and_then(Result::ok);
        let Some(mut decision) = decided.transpose()? else { return Ok(None) };
        let route = match decision.call.take() {
            Some(call) => self.preview(&decision.serves, call).await,
            None => None,
        };
        Ok(Some(DryRun::of(decision, route)))
    }

    /// Open connections and running requests of all workers.
    pub fn load(&self) -> (u64, u64) {
        let sum = |f: fn(&Gauges) -> u64| self.workers.iter().map(|w| f(&w.gauges)).sum();
        (sum(|g| g.connections.load(Relaxed)), sum(|g| g.in_flight.load(Relaxed)))
    }

    /// Bytes held of the memory budgets of all workers, and how often something did not fit into one.
    pub fn memory(&self) -> (u64, u64) {
        let sum = |f: fn(&Gauges) -> u64| self.workers.iter().map(|w| f(&w.gauges)).sum();
        (sum(|g| g.held_bytes.load(Relaxed)), sum(|g| g.over_budget.load(Relaxed)))
    }

    /// How many answers of models are kept to be given again, and the bytes that they take.
    pub fn answers_kept(&self) -> (u64, u64) {
        self.cache.load()
    }

    /// Stops accepting, lets running requests finish, and returns when all workers have ended.
    pub async fn shutdown(mut self) {
        let mut waiting = Vec::new();
        for worker in &self.workers {
            let (done, ended) = oneshot::channel();
            let _ = worker.commands.send(Command::Shutdown { done });
            waiting.push(ended);
        }
        for ended in waiting {
            let _ = ended.await;
        }
        let threads: Vec<_> = self.workers.iter_mut().filter_map(|w| w.thread.take()).collect();
        let _ = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|t| drop(t.join()))).await;
    }
}
