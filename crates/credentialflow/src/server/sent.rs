//! Live secrets of ours that callers sent: counted, and handed to whoever answers leaks, never on a gateway thread.
//!
//! The same secret sent again by the same caller on the same route is told once in ten minutes; what does not fit into
//! the queue is counted.

use credentialflow_admin::{AdminState, LiveSecret as Leaked, Sender, secret_sent};
use credentialflow_gateway::ports::{SecretListener, SentSecrets};
use credentialflow_model::KeyId;
use credentialflow_policy::LiveSecret;
use credentialflow_telemetry::Metrics;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Requests that wait to be told of.
const WAITING: usize = 256;
/// How long one that was told of is not told of again, and how many are remembered.
const QUIET: Duration = Duration::from_secs(600);
const REMEMBERED: usize = 4096;
/// Telling is tried so often, and so much later again: the database may be away for a while.
const TRIES: u32 = 60;
const AGAIN: Duration = Duration::from_secs(2);

/// How often, since the start.
#[derive(Default)]
struct Counts {
    refused: AtomicU64,
    let_pass: AtomicU64,
    lost: AtomicU64,
}

/// Hears of them.
pub(super) struct Sent {
    waiting: mpsc::Sender<SentSecrets>,
    counts: Arc<Counts>,
}

impl Sent {
    /// Starts telling.
    pub fn start(admin: AdminState, metrics: &Metrics) -> Self {
        let counts = Arc::<Counts>::default();
        let (refused, let_pass, lost) = (counts.clone(), counts.clone(), counts.clone());
        metrics.register_counter(
            "requests_with_secrets_refused",
            "Requests that were refused because a live secret of ours stood in them",
            move || refused.refused.load(Relaxed) as i64,
        );
        metrics.register_counter(
            "requests_with_secrets_served",
            "How often a live secret of ours stood in a request of a route that only reports them",
            move || let_pass.let_pass.load(Relaxed) as i64,
        );
        metrics.register_counter(
            "sent_secrets_lost",
            "Secrets in requests that no leak tells of, because too many waited or the database was away",
            move || lost.lost.load(Relaxed) as i64,
        );
        let (waiting, receiver) = mpsc::channel(WAITING);
        tokio::spawn(tell(admin, receiver, counts.clone()));
        Self { waiting, counts }
    }
}

impl SecretListener for Sent {
    fn sent(&self, sent: SentSecrets) {
        let counter = if sent.refused { &self.counts.refused } else { &self.counts.let_pass };
        counter.fetch_add(1, Relaxed);
        if self.waiting.try_send(sent).is_err() {
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }
}

/// Who sent what on which route.
type Told = (LiveSecret, Option<KeyId>, Option<Arc<str>>);

async fn tell(admin: AdminState, mut receiver: mpsc::Receiver<SentSecrets>, counts: Arc<Counts>) {
    let mut told: HashMap<Told, Instant> = HashMap::new();
    while let Some(sent) = receiver.recv().await {
        for secret in &sent.secrets {
            let same = (secret.clone(), sent.key, sent.route.clone());
            if told.get(&same).is_some_and(|at| at.elapsed() < QUIET) {
                continue;
            }
            if !told_of(&admin, secret, &sent).await {
                counts.lost.fetch_add(1, Relaxed);
                continue;
            }
            if told.len() >= REMEMBERED {
                told.retain(|_, at| at.elapsed() < QUIET);
                // So many different ones in ten minutes: some are told of twice, which changes nothing.
                if told.len() >= REMEMBERED {
                    told.clear();
                }
            }
            told.insert(same, Instant::now());
        }
    }
}

async fn told_of(admin: &AdminState, secret: &LiveSecret, sent: &SentSecrets) -> bool {
    let leaked = match secret {
        LiveSecret::Key { id, version } => Leaked::Key(*id, *version),
        LiveSecret::Value { credential, version } => match credential.parse() {
            Ok(name) => Leaked::Credential(name, *version),
            Err(_) => return false,
        },
    };
    let sender = Sender {
        application: sent.application.as_deref().map(str::to_owned),
        key: sent.key,
        route: sent.route.as_deref().map(str::to_owned),
        source: sent.source,
        place: sent.place.as_str(),
        refused: sent.refused,
    };
    for tried in 1..=TRIES {
        let done = secret_sent(admin, leaked.clone(), sender.clone()).await;
        match done {
            Ok(()) => return true,
            Err(error) if tried == TRIES => {
                tracing::error!(?error, "a secret in a request could not be recorded as a leak");
            }
            Err(error) => {
                if tried == 1 {
                    tracing::warn!(?error, "a secret in a request is recorded as soon as that is possible");
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    false
}
