//! The recorder thread's work: count, write, begin a new segment, wait out a failing disk.

use super::{Message, RecorderSettings, Telemetry, lock};
use crate::{
    calllog::{segment, upkeep::now, writer::Writer},
    charges::Listener,
    intern::Interner,
    journal::Kept,
    rollup::{Minute, Sample, ended_us},
};
use credentialflow_model::UsageRecord;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

const RETRY: Duration = Duration::from_secs(1);
/// Rows of one transaction, about.
const TRANSACTION_ROWS: usize = 16_384;
/// Parts of minutes that wait for the disk.
const MAX_WAITING_MINUTES: usize = 1440;

/// The recorder thread's own.
pub(super) struct Work {
    pub(super) settings: RecorderSettings,
    pub(super) telemetry: Telemetry,
    pub(super) messages: Receiver<Message>,
    pub(super) ended: Sender<Writer>,
    pub(super) names: Interner,
    pub(super) writer: Option<Writer>,
    /// Counted, but not yet on disk.
    pub(super) waiting: VecDeque<Vec<UsageRecord>>,
    pub(super) waiting_records: usize,
    /// Holds what journals keep of them.
    pub(super) kept: Vec<Kept>,
    pub(super) minutes: Vec<Minute>,
    pub(super) retry_at: Option<Instant>,
    pub(super) charges: Listener,
}

impl Work {
    /// Works until told to stop.
    pub(super) fn run(mut self) {
        loop {
            thread::park_timeout(self.settings.write_every);
            while let Ok(message) = self.messages.try_recv() {
                match message {
                    Message::Batch(batch, kept) => self.take(batch, kept),
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

    fn take(&mut self, batch: Vec<UsageRecord>, kept: Vec<Kept>) {
        self.telemetry.counters.queued.fetch_sub(1, Relaxed);
        let time = batch.first().map_or(0, |r| r.time.micros());
        if self.writer.as_ref().is_some_and(|w| w.is_past(time)) {
            self.roll();
        }
        self.count(&batch);
        if self.waiting_records + batch.len() > self.settings.waiting_records {
            self.telemetry.counters.dropped.fetch_add(batch.len() as u64, Relaxed);
            self.charges.unlogged(batch.iter(), &kept);
            return;
        }
        self.waiting_records += batch.len();
        self.kept.extend(kept);
        self.waiting.push_back(batch);
        if lock(&self.telemetry.rollups).is_crowded() {
            self.drain_minutes();
        }
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
                self.tell_charges();
                self.waiting.clear();
                self.kept.clear();
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

    /// Tells what the calls cost that were just written.
    fn tell_charges(&self) {
        let models = self.waiting.iter().flatten().filter(|record| record.model.is_some()).count();
        self.telemetry.counters.model_rows.fetch_add(models as u64, Relaxed);
        let place = || self.writer.as_ref().map(Writer::place);
        self.charges.logged(self.waiting.iter().flatten(), place);
    }

    fn try_write(&mut self) -> Result<u64, WriteError> {
        let time = self.waiting.front().and_then(|batch| batch.first()).map_or_else(now, |r| r.time);
        if self.writer.as_ref().is_some_and(|w| !w.is_reachable()) {
            return Err(WriteError::Gone);
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(Writer::create(&self.settings.dir, time.micros(), self.telemetry.writer)?),
        };
        // Workers hand batches over one by one; what is written together stands in the order of its ends.
        let mut records: Vec<&UsageRecord> = self.waiting.iter().flatten().collect();
        records.sort_by_key(|record| ended_us(record));
        Ok(writer.write(records.into_iter(), &self.minutes, &mut self.names)?)
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
                self.tell_charges();
                self.waiting.clear();
                self.kept.clear();
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
            self.charges.unlogged(self.waiting.iter().flatten(), &self.kept);
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
