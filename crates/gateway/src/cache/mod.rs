//! Answers of models that are kept, to be given again: one keeper of a node, a thread of its own that workers ask by
//! message. So workers share no lock, and calls to models without a cache know nothing of it.
//!
//! What is kept is kept in memory only and wiped when it is let go. It belongs to the configuration under which it was
//! made: the keeper is told of each snapshot before any worker is, and lets go of all that is not of it.

mod entries;

pub(crate) use entries::{Entry, Found, Owner};

use crate::snapshot::Snapshot;
use credentialflow_llm::{
    cache::{Form, may_be_kept},
    provider::Dialect,
};
use entries::{Bounds, Entries};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// What tells calls apart that do not ask the same.
pub(crate) type Key = [u8; 32];

/// Answers that wait to be kept, and questions, at most; whoever comes then goes on without a cache.
const MOST_WAITING: usize = 1024;
/// Between two looks for what is to be let go.
const EVERY: Duration = Duration::from_secs(1);

/// The cache of a node. Without room there is none: nothing is kept.
#[derive(Clone, Default)]
pub(crate) struct AnswerCache(Option<Arc<Desk>>);

struct Desk {
    asks: mpsc::Sender<Ask>,
    waiting: AtomicUsize,
    figures: Arc<Figures>,
}

/// Numbers that others may read at any time.
#[derive(Default)]
struct Figures {
    entries: AtomicU64,
    bytes: AtomicU64,
}

/// A question to the keeper.
struct Ask {
    what: What,
    /// Whether it counts as waiting.
    counts: bool,
}

enum What {
    /// This is in force from now on.
    InForce(Arc<Snapshot>),
    Find {
        key: Key,
        youngest: Option<Duration>,
        answer: oneshot::Sender<Option<Found>>,
    },
    Similar {
        similar: Similar,
        answer: oneshot::Sender<Option<Found>>,
    },
    Keep {
        key: Key,
        made: Made,
        entry: Entry,
    },
}

/// Which question is looked for.
pub(crate) struct Similar {
    /// What all that it may be like have in common.
    pub bucket: Key,
    /// Its embedding, of length one.
    pub vector: Arc<[f32]>,
    /// How near one has to be.
    pub threshold: f32,
    /// Older answers are not wanted.
    pub youngest: Option<Duration>,
}

/// An answer as it was made, to be looked at before it is kept.
#[derive(Clone, Copy)]
pub(crate) struct Made {
    /// The dialect of its caller.
    pub speaks: Dialect,
    /// How it came.
    pub form: Form,
}

impl AnswerCache {
    /// A cache of so many bytes, with its thread; it ends when nobody can ask it any more.
    pub fn start(bytes: u64, snapshot: &Arc<Snapshot>) -> io::Result<Self> {
        if bytes == 0 {
            return Ok(Self::default());
        }
        let (asks, asked) = mpsc::channel();
        let figures = Arc::new(Figures::default());
        let desk = Arc::new(Desk { asks, waiting: AtomicUsize::new(0), figures: figures.clone() });
        // The thread must not keep itself alive.
        let back = Arc::downgrade(&desk);
        std::thread::Builder::new().name("answer-cache".into()).spawn(move || {
            let mut entries = Entries::new(Bounds { bytes });
            let began = Instant::now();
            loop {
                // Where nothing is kept, there is nothing to look after.
                let ask = match entries.len() {
                    0 => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
                    _ => asked.recv_timeout(EVERY),
                };
                let now = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                match ask {
                    Ok(Ask { what, counts }) => {
                        if counts && let Some(desk) = back.upgrade() {
                            desk.waiting.fetch_sub(1, Relaxed);
                        }
                        answer(&mut entries, what, now);
                    }
                    Err(RecvTimeoutError::Timeout) => entries.expire(now),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                figures.entries.store(entries.len() as u64, Relaxed);
                figures.bytes.store(entries.bytes(), Relaxed);
            }
        })?;
        let cache = Self(Some(desk));
        cache.in_force(snapshot);
        Ok(cache)
    }

    /// What is asked from now on is asked under this configuration; what was kept under another one is let go.
    pub fn in_force(&self, snapshot: &Arc<Snapshot>) {
        if let Some(desk) = &self.0 {
            let _ = desk.asks.send(Ask { what: What::InForce(snapshot.clone()), counts: false });
        }
    }

    /// The answer to the same call, unless it is older than wanted.
    pub async fn find(&self, key: Key, youngest: Option<Duration>) -> Option<Found> {
        let (answer, found) = oneshot::channel();
        self.ask(What::Find { key, youngest, answer })?;
        found.await.ok().flatten()
    }

    /// The answer to the most similar question.
    pub async fn similar(&self, similar: Similar) -> Option<Found> {
        let (answer, found) = oneshot::channel();
        self.ask(What::Similar { similar, answer })?;
        found.await.ok().flatten()
    }

    /// Keeps an answer, if it is one that may be given again.
    pub fn keep(&self, key: Key, made: Made, entry: Entry) {
        let _ = self.ask(What::Keep { key, made, entry });
    }

    /// How many answers are kept, and their bytes.
    pub fn load(&self) -> (u64, u64) {
        let figures = self.0.as_ref().map(|desk| &desk.figures);
        figures.map_or((0, 0), |figures| (figures.entries.load(Relaxed), figures.bytes.load(Relaxed)))
    }

    fn ask(&self, what: What) -> Option<()> {
        let desk = self.0.as_ref()?;
        if desk.waiting.fetch_add(1, Relaxed) >= MOST_WAITING {
            desk.waiting.fetch_sub(1, Relaxed);
            return None;
        }
        desk.asks.send(Ask { what, counts: true }).ok()
    }
}

/// What the keeper does with a question.
fn answer(entries: &mut Entries, what: What, now: u64) {
    // Who asked may have left.
    match what {
        What::InForce(snapshot) => entries.in_force(&snapshot),
        What::Find { key, youngest, answer } => {
            let _ = answer.send(entries.find(&key, youngest, now));
        }
        What::Similar { similar, answer } => {
            let _ = answer.send(entries.similar(&similar, now));
        }
        What::Keep { key, made, entry } => {
            if may_be_kept(made.speaks, made.form, entry.body.expose()) {
                entries.keep(key, entry, now);
            }
        }
    }
}
