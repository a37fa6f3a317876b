//! The recorder: one thread that takes records from all workers and does everything slow with them.
//!
//! Workers never wait for it: the queue is bounded, and what does not fit is dropped and counted. The thread naps
//! a tenth of a second, so a busy gateway wakes it ten times a second and not once a batch. A call log that cannot
//! be written is retried every second; meanwhile a bounded number of records waits, the rest is dropped and counted.
//! Metrics, traffic figures and last use do not depend on the disk.

use crate::{
    CallLog, LastUse, Metrics, Stats,
    calllog::{
        segment,
        upkeep::{Upkeep, now},
        writer::Writer,
    },
    intern::Interner,
    rollup::{Minute, Rollups, Sample},
};
use credentialflow_model::{Timestamp, UsageRecord};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

const RETRY: Duration = Duration::from_secs(1);
/// Rows of one transaction, about.
const TRANSACTION_ROWS: usize = 16_384;
/// Parts of minutes that wait for the disk.
const MAX_WAITING_MINUTES: usize = 1440;

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
    pub dropped: AtomicU64,
    pub write_errors: AtomicU64,
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
    Batch(Vec<UsageRecord>),
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
}

impl RecordSender {
    /// Hands over a batch. Never blocks: when the queue is full, the batch is dropped and its records counted.
    pub fn send(&self, batch: Vec<UsageRecord>) {
        if batch.is_empty() {
            return;
        }
        let records = batch.len() as u64;
        let queued = self.counters.queued.fetch_add(1, Relaxed) + 1;
        if self.queue.try_send(Message::Batch(batch)).is_err() {
            self.counters.queued.fetch_sub(1, Relaxed);
            self.counters.dropped.fetch_add(records, Relaxed);
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
}

impl Telemetry {
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
    thread: Option<JoinHandle<()>>,
    upkeep: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts recording. A directory that cannot be written is no error here: it is retried, and shows in
    /// [`Telemetry::status`]. Fails only when no thread can be started.
    pub fn start(settings: RecorderSettings) -> io::Result<Self> {
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
        };
        let upkeep = Upkeep {
            dir: settings.dir.clone(),
            retention_days: settings.retention_days,
            ended: ended_segments,
            rollups: Arc::clone(&telemetry.rollups),
            earlier: segment::list(&settings.dir).unwrap_or_default(),
        };
        let wake_at = (settings.queue_batches as u64 / 2).max(1);
        let work = Work {
            settings,
            telemetry: telemetry.clone(),
            messages,
            ended,
            names: Interner::new(),
            writer: None,
            waiting: VecDeque::new(),
            waiting_records: 0,
            minutes: Vec::new(),
            retry_at: None,
        };
        let upkeep = thread::Builder::new().name("call-log-upkeep".into()).spawn(|| upkeep.run())?;
        let thread = thread::Builder::new().name("recorder".into()).spawn(|| work.run())?;
        Ok(Self { queue, telemetry, wake_at, thread: Some(thread), upkeep: Some(upkeep) })
    }

    /// A handle for a worker to send records with.
    pub fn sender(&self) -> RecordSender {
        let thread = self.thread.as_ref().map_or_else(thread::current, |t| t.thread().clone());
        let counters = Arc::clone(&self.telemetry.counters);
        RecordSender { queue: self.queue.clone(), counters, thread, wake_at: self.wake_at }
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
            }
        }
    }
}

/// The recorder thread's own.
struct Work {
    settings: RecorderSettings,
    telemetry: Telemetry,
    messages: Receiver<Message>,
    ended: Sender<Writer>,
    names: Interner,
    writer: Option<Writer>,
    /// Counted, but not yet on disk.
    waiting: VecDeque<Vec<UsageRecord>>,
    waiting_records: usize,
    minutes: Vec<Minute>,
    retry_at: Option<Instant>,
}

impl Work {
    fn run(mut self) {
        loop {
            thread::park_timeout(self.settings.write_every);
            while let Ok(message) = self.messages.try_recv() {
                match message {
                    Message::Batch(batch) => self.take(batch),
                    Message::Flush(reply) => {
                        self.retry_at = None;
                        self.write();
                        // The asker may have gone; that is its business.
                        let _ = reply.send(self.waiting.is_empty());
                    }
                    Message::Stop => return self.end(),
                }
            }
            if lock(&self.telemetry.rollups).has_finished(now()) {
                self.drain_minutes();
            }
            self.write();
        }
    }

    fn take(&mut self, batch: Vec<UsageRecord>) {
        self.telemetry.counters.queued.fetch_sub(1, Relaxed);
        let time = batch.first().map_or(0, |r| r.time.micros());
        if self.writer.as_ref().is_some_and(|w| w.is_past(time)) {
            self.roll();
        }
        self.count(&batch);
        if self.waiting_records + batch.len() > self.settings.waiting_records {
            self.telemetry.counters.dropped.fetch_add(batch.len() as u64, Relaxed);
            return;
        }
        self.waiting_records += batch.len();
        self.waiting.push_back(batch);
        if self.waiting_records >= TRANSACTION_ROWS.min(self.settings.waiting_records) {
            self.write();
        }
    }

    /// Adds a batch to everything in memory.
    fn count(&mut self, batch: &[UsageRecord]) {
        self.telemetry.last_use.add(batch);
        let names = &mut self.names;
        let mut metrics = self.telemetry.metrics.lock();
        let mut rollups = lock(&self.telemetry.rollups);
        for record in batch {
            let mut id = |name: Option<&Arc<str>>| name.map(|name| names.id(name));
            let (route, application) = (id(record.route.as_ref()), id(record.application.as_ref()));
            let (upstream, model) = (id(record.upstream.as_ref()), id(record.model.as_ref().map(|m| &m.model)));
            metrics.add(record, route, upstream, model, names);
            rollups.add(&Sample::of(record), [route, application, model], names);
        }
    }

    /// Writes what waits; on failure it waits on.
    fn write(&mut self) {
        let idle = self.waiting.is_empty() && self.minutes.is_empty();
        if idle || self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        match self.try_write() {
            Ok(rows) => {
                self.telemetry.counters.rows.fetch_add(rows, Relaxed);
                self.waiting.clear();
                self.waiting_records = 0;
                self.minutes.clear();
                if self.retry_at.take().is_some() {
                    tracing::info!("the call log can be written again");
                }
                *lock(&self.telemetry.last_error) = None;
            }
            Err(error) => {
                if self.retry_at.is_none() {
                    tracing::error!(%error, dir = %self.settings.dir.display(), "the call log cannot be written; trying again every second");
                }
                self.telemetry.counters.write_errors.fetch_add(1, Relaxed);
                *lock(&self.telemetry.last_error) = Some(error.to_string());
                self.retry_at = Some(Instant::now() + RETRY);
                self.abandon();
            }
        }
        self.telemetry.counters.waiting.store(self.waiting_records as u64, Relaxed);
        if self.writer.as_ref().is_some_and(|w| w.rows() as u64 >= self.settings.segment_rows) {
            self.roll();
        }
    }

    fn try_write(&mut self) -> Result<u64, WriteError> {
        let time = self.waiting.front().and_then(|batch| batch.first()).map_or_else(now, |r| r.time);
        if self.writer.as_ref().is_some_and(|w| !w.is_reachable()) {
            return Err(WriteError::Gone);
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(Writer::create(&self.settings.dir, time.micros())?),
        };
        Ok(writer.write(self.waiting.iter().flatten(), &self.minutes, &mut self.names)?)
    }

    /// Ends the segment with everything counted so far; the next write begins a new one.
    fn roll(&mut self) {
        self.drain_minutes();
        self.write_last();
        if let Some(writer) = self.writer.take() {
            // Without the upkeep thread the segment is sealed by a later process.
            let _ = self.ended.send(writer);
        }
        if self.names.is_crowded() {
            self.names = Interner::new();
            self.telemetry.metrics.lock().forget_ids();
        }
    }

    fn write_last(&mut self) {
        // Not `write`: that may ask for a new segment again.
        if (!self.waiting.is_empty() || !self.minutes.is_empty()) && self.writer.is_some() {
            if let Ok(rows) = self.try_write() {
                self.telemetry.counters.rows.fetch_add(rows, Relaxed);
                self.waiting.clear();
                self.waiting_records = 0;
                self.minutes.clear();
            } else {
                self.telemetry.counters.write_errors.fetch_add(1, Relaxed);
                self.abandon();
            }
        }
    }

    /// Gives a segment up after an error; an empty one is deleted.
    fn abandon(&mut self) {
        if let Some(writer) = self.writer.take() {
            let (name, empty) = (writer.name.clone(), writer.rows() == 0);
            drop(writer);
            if empty {
                // It may be gone, which is just as well.
                let _ = segment::delete(&self.settings.dir, &name);
            }
        }
    }

    fn drain_minutes(&mut self) {
        for part in lock(&self.telemetry.rollups).drain() {
            if let Some(known) = self.minutes.iter_mut().find(|m| m.minute == part.minute) {
                known.merge(&part);
            } else if self.minutes.len() < MAX_WAITING_MINUTES {
                self.minutes.push(part);
            }
        }
    }

    fn end(mut self) {
        self.retry_at = None;
        self.drain_minutes();
        self.write();
        if !self.waiting.is_empty() {
            tracing::error!(records = self.waiting_records, "records are lost: the call log cannot be written");
            self.telemetry.counters.dropped.fetch_add(self.waiting_records as u64, Relaxed);
        }
        if let Some(writer) = self.writer.take() {
            writer.seal();
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("the segment's file was removed")]
    Gone,
    #[error("{0}")]
    Create(#[from] crate::CallLogError),
    #[error("{0}")]
    Write(#[from] rusqlite::Error),
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}
