//! The recorder: one thread that takes records from all workers and does everything slow with them.
//!
//! Workers never wait for it: the queue is bounded, and what does not fit is dropped and counted. The thread naps
//! a tenth of a second, so a busy gateway wakes it ten times a second and not once a batch. A call log that cannot
//! be written is retried every second; meanwhile a bounded number of records waits, the rest is dropped and counted.
//! Metrics, traffic figures and last use do not depend on the disk.

mod work;

use crate::{
    CallLog, LastUse, Metrics, Stats,
    calllog::{begin, segment, upkeep::Upkeep},
    charges::{ChargeListener, Listener},
    intern::Interner,
    journal::{self, Journal, Journals, Kept},
    rollup::Rollups,
};
use credentialflow_model::{Timestamp, UsageRecord};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
        mpsc::{self, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

/// How the recorder works.
#[derive(Clone, Debug)]
pub struct RecorderSettings {
    /// Where the call log is kept; made when missing.
    pub dir: PathBuf,
    /// Batches that wait at most; further ones are dropped and counted. Default 1,024.
    pub queue_batches: usize,
    /// Between two writes. Default 100 ms.
    pub write_every: Duration,
    /// Rows of a segment, about. Default 1,000,000.
    pub segment_rows: u64,
    /// Records that wait at most for a disk that cannot be written. Default 65,536 (about 25 MB).
    pub waiting_records: usize,
    /// Segments of days longer ago are deleted. Default 30.
    pub retention_days: u32,
}

impl RecorderSettings {
    /// The defaults, for a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            queue_batches: 1024,
            write_every: Duration::from_millis(100),
            segment_rows: 1_000_000,
            waiting_records: 65_536,
            retention_days: 30,
        }
    }
}

/// Counted while recording; also in the metrics.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub rows: AtomicU64,
    /// Of these, model calls.
    pub model_rows: AtomicU64,
    pub dropped: AtomicU64,
    pub write_errors: AtomicU64,
    /// The time of the last request of a key that the recorder never heard of, in microseconds; 0 when there is none.
    missed: AtomicI64,
    queued: AtomicU64,
    waiting: AtomicU64,
}

/// How recording goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecorderStatus {
    /// Calls written to the call log since the process began.
    pub rows: u64,
    /// Calls not written, because a queue was full.
    pub dropped: u64,
    /// Failed writes; they are retried.
    pub write_errors: u64,
    /// Batches in the queue now.
    pub queued_batches: u64,
    /// Calls taken from the queue, but not yet on disk.
    pub waiting: u64,
    /// Why the last write failed; absent when it succeeded.
    pub last_error: Option<String>,
}

enum Message {
    Batch(Vec<UsageRecord>, Vec<Kept>),
    /// Answered with whether everything sent before is on disk.
    Flush(SyncSender<bool>),
    Stop,
}

/// Hands records to the recorder; one for each worker.
#[derive(Clone, Debug)]
pub struct RecordSender {
    queue: SyncSender<Message>,
    counters: Arc<Counters>,
    thread: Thread,
    wake_at: u64,
    charges: Listener,
    journals: Journals,
}

impl RecordSender {
    /// A journal for one worker.
    pub fn journal(&self) -> io::Result<Journal> {
        self.journals.create()
    }

    /// Hands over a batch. Never blocks: when the queue is full, the batch is dropped and its records counted.
    pub fn send(&self, batch: Vec<UsageRecord>) {
        self.send_kept(batch, Vec::new());
    }

    /// As [`Self::send`], with what holds those of these records that a journal keeps until they are on disk.
    pub fn send_kept(&self, batch: Vec<UsageRecord>, kept: Vec<Kept>) {
        if batch.is_empty() {
            return;
        }
        let records = batch.len() as u64;
        let queued = self.counters.queued.fetch_add(1, Relaxed) + 1;
        if let Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) =
            self.queue.try_send(Message::Batch(batch, kept))
        {
            self.counters.queued.fetch_sub(1, Relaxed);
            self.counters.dropped.fetch_add(records, Relaxed);
            if let Message::Batch(batch, kept) = message {
                self.charges.unlogged(batch.iter(), &kept);
                let uses = batch.iter().filter(|record| record.key.is_some() && record.outcome.let_through());
                self.counters.missed.fetch_max(uses.map(|used| used.time.micros()).max().unwrap_or(0), Relaxed);
            }
        }
        if queued == self.wake_at {
            self.thread.unpark();
        }
    }
}

/// What readers use: the call log, figures, metrics, last use and the state of recording.
#[derive(Clone, Debug)]
pub struct Telemetry {
    calls: CallLog,
    metrics: Arc<Metrics>,
    last_use: Arc<LastUse>,
    rollups: Arc<Mutex<Rollups>>,
    counters: Arc<Counters>,
    last_error: Arc<Mutex<Option<String>>>,
    writer: u32,
}

impl Telemetry {
    /// The number under which this process writes the call log; drawn when the recorder starts.
    pub fn writer(&self) -> u32 {
        self.writer
    }

    /// Model calls written to the call log since the process began.
    pub fn model_calls(&self) -> u64 {
        self.counters.model_rows.load(Relaxed)
    }

    /// The call log. Its functions block.
    pub fn calls(&self) -> &CallLog {
        &self.calls
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Last use of keys and credential versions.
    pub fn last_use(&self) -> &Arc<LastUse> {
        &self.last_use
    }

    /// When a key was used last without a note of the network, since the process began: there was no room for it, or for
    /// the record of the request.
    pub fn networks_lost_at(&self) -> Option<Timestamp> {
        let missed = Some(self.counters.missed.load(Relaxed)).filter(|micros| *micros > 0);
        self.last_use.networks_lost_at().max(missed.map(Timestamp::from_micros))
    }

    /// The traffic of the `window` (a minute to a day) before `now`.
    pub fn stats(&self, window: Duration, now: Timestamp) -> Stats {
        lock(&self.rollups).stats(window, now)
    }

    /// How recording goes.
    pub fn status(&self) -> RecorderStatus {
        let c = &self.counters;
        RecorderStatus {
            rows: c.rows.load(Relaxed),
            dropped: c.dropped.load(Relaxed),
            write_errors: c.write_errors.load(Relaxed),
            queued_batches: c.queued.load(Relaxed),
            waiting: c.waiting.load(Relaxed),
            last_error: lock(&self.last_error).clone(),
        }
    }
}

/// Owns the recorder's threads; dropping it writes what was sent and ends them.
#[derive(Debug)]
pub struct Recorder {
    queue: SyncSender<Message>,
    telemetry: Telemetry,
    wake_at: u64,
    charges: Listener,
    journals: Journals,
    thread: Option<JoinHandle<()>>,
    upkeep: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts recording. A directory that cannot be written is no error here: it is retried, and shows in
    /// [`Telemetry::status`]. Fails only when no thread can be started.
    pub fn start(settings: RecorderSettings) -> io::Result<Self> {
        Self::start_with(settings, None)
    }

    /// As [`Recorder::start`], with somebody who hears what calls cost.
    pub fn start_with(settings: RecorderSettings, charges: Option<Arc<dyn ChargeListener>>) -> io::Result<Self> {
        let charges = Listener(charges);
        let (queue, messages) = mpsc::sync_channel(settings.queue_batches.max(1));
        let (ended, ended_segments) = mpsc::channel();
        let counters = Arc::<Counters>::default();
        let telemetry = Telemetry {
            calls: CallLog::new(&settings.dir),
            metrics: Arc::new(Metrics::new(Arc::clone(&counters))),
            last_use: Arc::default(),
            rollups: Arc::default(),
            counters,
            last_error: Arc::default(),
            // Keys of hash maps are random.
            writer: (RandomState::new().hash_one(()) >> 32) as u32,
        };
        if let Err(error) = begin::note(&settings.dir, std::time::SystemTime::now().into()) {
            tracing::warn!(%error, "it cannot be written down when the call log begins");
        }
        // Before anybody asks what a process that is gone has charged.
        match journal::recover(&telemetry.calls, &settings.dir) {
            Ok(0) => {}
            Ok(calls) => {
                tracing::info!(calls, "calls that a killed process had no time to log are in the call log now")
            }
            Err(error) => {
                tracing::error!(%error, "the journals of killed processes cannot be looked for")
            }
        }
        let journals = Journals::new(settings.dir.clone(), telemetry.writer);
        let upkeep = Upkeep {
            dir: settings.dir.clone(),
            retention_days: settings.retention_days,
            ended: ended_segments,
            rollups: Arc::clone(&telemetry.rollups),
            earlier: segment::list(&settings.dir).unwrap_or_default(),
        };
        let wake_at = (settings.queue_batches as u64 / 2).max(1);
        let work = work::Work {
            settings,
            telemetry: telemetry.clone(),
            messages,
            ended,
            names: Interner::new(),
            writer: None,
            waiting: VecDeque::new(),
            waiting_records: 0,
            kept: Vec::new(),
            minutes: Vec::new(),
            retry_at: None,
            charges: charges.clone(),
        };
        let upkeep = thread::Builder::new().name("call-log-upkeep".into()).spawn(|| upkeep.run())?;
        let thread = thread::Builder::new().name("recorder".into()).spawn(|| work.run())?;
        Ok(Self { queue, telemetry, wake_at, charges, journals, thread: Some(thread), upkeep: Some(upkeep) })
    }

    /// A handle for a worker to send records with.
    pub fn sender(&self) -> RecordSender {
        let thread = self.thread.as_ref().map_or_else(thread::current, |t| t.thread().clone());
        let counters = Arc::clone(&self.telemetry.counters);
        RecordSender {
            queue: self.queue.clone(),
            counters,
            thread,
            wake_at: self.wake_at,
            charges: self.charges.clone(),
            journals: self.journals.clone(),
        }
    }

    /// A handle for readers.
    pub fn telemetry(&self) -> Telemetry {
        self.telemetry.clone()
    }

    /// Waits until everything sent so far is on disk; `false` when it cannot be written now. Blocks.
    pub fn flush(&self) -> bool {
        let (reply, answer) = mpsc::sync_channel(1);
        if self.queue.send(Message::Flush(reply)).is_err() {
            return false;
        }
        self.wake();
        answer.recv().unwrap_or(false)
    }

    /// Writes what was sent so far and ends the threads. Records sent afterwards are counted as dropped. Blocks.
    pub fn shutdown(self) {
        drop(self);
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Fails only when the thread has ended already.
        let _ = self.queue.send(Message::Stop);
        self.wake();
        for thread in [self.thread.take(), self.upkeep.take()].into_iter().flatten() {
            if thread.join().is_err() {
                tracing::error!("a recorder thread ended by a defect; records may be missing from the call log");
                return;
            }
        }
        if self.telemetry.counters.waiting.load(Relaxed) == 0 {
            self.journals.remove();
        }
    }
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}
