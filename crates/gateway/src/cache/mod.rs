//! Answers of models that are kept, to be given again: one keeper of a node, a thread of its own that workers ask by
//! message. So workers share no lock, and calls to models without a cache know nothing of it. What is to be kept is read
//! on another thread before, so that nobody who looks for an answer waits for that.
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

/// Calls that wait for the keeper, at most; whoever comes then goes on without a cache.
const MOST_WAITING: usize = 1024;
/// Of them, those that have questions compared, which takes longer.
const MOST_COMPARING: usize = 16;
/// The part of the cache that answers may take beside it while they wait to be kept, as a divisor. The last of them may
/// go beyond it.
const WAITING_PART: u64 = 4;
/// Between two looks for what is to be let go.
const EVERY: Duration = Duration::from_secs(1);

/// The cache of a node. Without room there is none: nothing is kept.
#[derive(Clone, Default)]
pub(crate) struct AnswerCache(Option<Arc<Desk>>);

struct Desk {
    asks: mpsc::Sender<What>,
    reads: mpsc::Sender<Read>,
    /// Bytes of all answers at most.
    bytes: u64,
    figures: Arc<Figures>,
}

/// Numbers that others may read at any time.
#[derive(Default)]
struct Figures {
    entries: AtomicU64,
    bytes: AtomicU64,
    /// Calls that wait for the keeper.
    waiting: AtomicUsize,
    /// Of them, those that have questions compared.
    comparing: AtomicUsize,
    /// Bytes of the answers that wait to be kept.
    unkept: AtomicU64,
}

/// An answer that is read before it is kept.
struct Read {
    key: Key,
    made: Made,
    entry: Entry,
    /// When that was done.
    done: oneshot::Sender<()>,
}

/// What the keeper is asked.
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
        let (reads, to_read) = mpsc::channel::<Read>();
        let figures = Arc::new(Figures::default());
        let desk = Arc::new(Desk { asks: asks.clone(), reads, bytes, figures: figures.clone() });
        let reading = figures.clone();
        std::thread::Builder::new().name("answer-reader".into()).spawn(move || {
            for Read { key, made, entry, done } in to_read {
                let bytes = entry.bytes();
                let is_good = may_be_kept(made.speaks, made.form, entry.body.expose());
                if !is_good || asks.send(What::Keep { key, entry }).is_err() {
                    reading.unkept.fetch_sub(bytes, Relaxed);
                }
                // Who made it may have left.
                let _ = done.send(());
            }
        })?;
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
                    Ok(what) => answer(&mut entries, what, now, &figures),
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
            let _ = desk.asks.send(What::InForce(snapshot.clone()));
        }
    }

    /// The answer to the same call, unless it is older than wanted.
    pub async fn find(&self, key: Key, youngest: Option<Duration>) -> Option<Found> {
        let (answer, found) = oneshot::channel();
        let desk = self.0.as_ref()?;
        taken(&desk.figures.waiting, MOST_WAITING)?;
        desk.asks.send(What::Find { key, youngest, answer }).ok()?;
        found.await.ok().flatten()
    }

    /// The answer to the most similar question.
    pub async fn similar(&self, similar: Similar) -> Option<Found> {
        let (answer, found) = oneshot::channel();
        let desk = self.0.as_ref()?;
        taken(&desk.figures.comparing, MOST_COMPARING)?;
        desk.asks.send(What::Similar { similar, answer }).ok()?;
        found.await.ok().flatten()
    }

    /// Keeps an answer, if it is one that may be given again and not too many others wait for that. Whoever asks after
    /// this is over finds it; it is kept too where nobody waits for the end.
    pub async fn keep(&self, key: Key, made: Made, entry: Entry) -> Option<()> {
        let desk = self.0.as_ref()?;
        let (bytes, unkept) = (entry.bytes(), &desk.figures.unkept);
        if bytes > desk.bytes {
            return None;
        }
        if unkept.fetch_add(bytes, Relaxed) > desk.bytes / WAITING_PART {
            unkept.fetch_sub(bytes, Relaxed);
            return None;
        }
        let (done, kept) = oneshot::channel();
        if desk.reads.send(Read { key, made, entry, done }).is_err() {
            unkept.fetch_sub(bytes, Relaxed);
            return None;
        }
        kept.await.ok()
    }

    /// How many answers are kept, and their bytes.
    pub fn load(&self) -> (u64, u64) {
        let figures = self.0.as_ref().map(|desk| &desk.figures);
        figures.map_or((0, 0), |figures| (figures.entries.load(Relaxed), figures.bytes.load(Relaxed)))
    }
}

/// A place among those that wait, where there is one.
fn taken(waiting: &AtomicUsize, most: usize) -> Option<()> {
    if waiting.fetch_add(1, Relaxed) >= most {
        waiting.fetch_sub(1, Relaxed);
        return None;
    }
    Some(())
}

/// What the keeper does with a question.
fn answer(entries: &mut Entries, what: What, now: u64, figures: &Figures) {
    // Who asked may have left.
    match what {
        What::InForce(snapshot) => entries.in_force(&snapshot),
        What::Find { key, youngest, answer } => {
            figures.waiting.fetch_sub(1, Relaxed);
            let _ = answer.send(entries.find(&key, youngest, now));
        }
        What::Similar { similar, answer } => {
            let _ = answer.send(entries.similar(&similar, now));
            figures.comparing.fetch_sub(1, Relaxed);
        }
        What::Keep { key, entry } => {
            let bytes = entry.bytes();
            entries.keep(key, entry, now);
            figures.unkept.fetch_sub(bytes, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_model::SecretValue;
    use std::task::{Context, Waker};

    /// A desk at which nobody sits.
    fn unattended(bytes: u64) -> (AnswerCache, mpsc::Receiver<What>, mpsc::Receiver<Read>) {
        let ((asks, asked), (reads, to_read)) = (mpsc::channel(), mpsc::channel());
        (AnswerCache(Some(Arc::new(Desk { asks, reads, bytes, figures: Arc::default() }))), asked, to_read)
    }

    fn poll<T>(asked: impl Future<Output = T>) -> bool {
        std::pin::pin!(asked).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn keep(cache: &AnswerCache, bytes: usize) -> bool {
        let entry = Entry {
            body: Arc::new(SecretValue::new(vec![b'x'; bytes])),
            content_type: Box::default(),
            owner: Owner { model: [0; 32], application: None, key: None },
            target: 0,
            tokens: None,
            ttl: Duration::from_secs(1),
            question: None,
        };
        !poll(cache.keep([0; 32], Made { speaks: Dialect::OpenAi, form: Form::Other }, entry))
    }

    #[test]
    fn answers_that_wait_to_be_kept_have_a_bound_of_bytes() {
        let (cache, _asked, to_read) = unattended(100_000);
        assert!(!keep(&cache, 100_000), "it would never fit");
        let waiting = (0..100).filter(|_| keep(&cache, 10_000)).count();
        assert_eq!((waiting, to_read.try_iter().count()), (3, 3));
        assert!(cache.0.unwrap().figures.unkept.load(Relaxed) < 100_000 / WAITING_PART + 11_000);
    }

    #[test]
    fn few_wait_for_questions_to_be_compared_while_others_look_for_theirs() {
        let (cache, asked, _to_read) = unattended(1000);
        for _ in 0..100 {
            let (bucket, vector) = ([0; 32], [1.0].into());
            poll(cache.similar(Similar { bucket, vector, threshold: 0.9, youngest: None }));
        }
        assert_eq!(asked.try_iter().count(), MOST_COMPARING);
        assert!(!poll(cache.find([0; 32], None)));
        assert_eq!(asked.try_iter().count(), 1);
    }
}
