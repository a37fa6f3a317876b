//! What happens to segments beside being written and read: sealing, retention, and filling the minutes at start.
//!
//! Runs on a thread of its own, so that the recorder never waits for it. Safe beside other processes in the same
//! directory: a segment somebody still has open cannot be sealed, and SQLite says so.

use super::{
    begin, query,
    segment::{self, SegmentName, day_text},
    writer::Writer,
};
use crate::{
    intern::Interner,
    rollup::{KEPT_MINUTES, Minute, Rollups, Sample},
};
use credentialflow_model::Timestamp;
use rusqlite::{Connection, OpenFlags};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, SystemTime},
};

/// Between two looks for leftovers and segments past their time.
const PERIOD: Duration = Duration::from_secs(600);

/// Takes a segment out of write-ahead mode: one file, no memory shared between processes. Fails while another
/// connection has it open.
pub(crate) fn seal(db: &Connection) -> rusqlite::Result<()> {
    db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
}

/// Seals what earlier processes left behind; skips what is in use. Gives how many were sealed.
pub(crate) fn seal_leftovers(dir: &Path, segments: &[SegmentName]) -> usize {
    let left = segments.iter().filter(|name| !segment::is_sealed(dir, name));
    left.filter(|name| {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(name.path(dir), flags).and_then(|db| seal(&db)).is_ok()
    })
    .count()
}

/// Deletes the segments of days more than `days` before today. Gives how many were deleted.
pub(crate) fn delete_old(dir: &Path, days: u32, now: Timestamp) -> std::io::Result<usize> {
    let kept = now.secs().div_euclid(86_400) - i64::from(days);
    let first_kept = day_text(kept);
    let mut deleted = 0;
    for name in segment::list(dir)?.into_iter().filter(|name| name.day() < first_kept.as_str()) {
        // Told before it is gone: the log must never seem to go back further than it does.
        begin::moved(dir, kept)?;
        segment::delete(dir, &name)?;
        deleted += 1;
    }
    Ok(deleted)
}

/// Fills the minutes from what earlier processes stored: their minutes, and the rows written after the last of
/// them (a crash loses no row, so it loses no minute).
pub(crate) fn load_minutes(dir: &Path, segments: &[SegmentName], now: Timestamp, into: &Mutex<Rollups>) {
    let first_us = now.micros() - KEPT_MINUTES * 60_000_000;
    let first_day = day_text(first_us.div_euclid(86_400_000_000));
    for name in segments.iter().filter(|name| name.day() >= first_day.as_str()) {
        if let Err(error) = load_segment(dir, name, first_us, into) {
            tracing::warn!(segment = name.id(), %error, "the traffic figures of a segment cannot be read; they are left out");
        }
    }
}

fn load_segment(
    dir: &Path,
    name: &SegmentName,
    first_us: i64,
    into: &Mutex<Rollups>,
) -> Result<(), super::CallLogError> {
    let Some(reader) = query::Reader::open(dir, name)? else { return Ok(()) };
    let mut parts: Vec<Minute> = Vec::new();
    let last = reader.minutes(|body| parts.extend(serde_json::from_str::<Minute>(body)))?;
    let (mut rest, mut names) = (Rollups::default(), Interner::new());
    reader.each_above(last, |row| {
        let sample = Sample::of_row(&row);
        if sample.ended_us >= first_us {
            let model = row.model.map(|m| m.model);
            let ids = [row.route, row.application, model].map(|n| n.map(|n| names.id(&Arc::from(n))));
            rest.add(&sample, ids, &names);
        }
    })?;
    parts.extend(rest.drain());
    let mut all = into.lock().unwrap_or_else(PoisonError::into_inner);
    parts.iter().filter(|part| part.minute * 60_000_000 >= first_us).for_each(|part| all.load(part));
    Ok(())
}

/// What the upkeep thread needs.
pub(crate) struct Upkeep {
    pub dir: PathBuf,
    pub retention_days: u32,
    /// Segments to be sealed.
    pub ended: Receiver<Writer>,
    pub rollups: Arc<Mutex<Rollups>>,
    /// The segments there were before this process began.
    pub earlier: Vec<SegmentName>,
}

impl Upkeep {
    /// Works until the recorder ends.
    pub fn run(self) {
        load_minutes(&self.dir, &self.earlier, now(), &self.rollups);
        self.sweep(&self.earlier);
        loop {
            match self.ended.recv_timeout(PERIOD) {
                Ok(writer) => writer.seal(),
                // Never this process's own segment: the recorder has it open.
                Err(RecvTimeoutError::Timeout) => self.sweep(&segment::list(&self.dir).unwrap_or_default()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn sweep(&self, segments: &[SegmentName]) {
        let sealed = seal_leftovers(&self.dir, segments);
        if sealed > 0 {
            tracing::info!(sealed, "sealed call-log segments that an earlier process left behind");
        }
        match delete_old(&self.dir, self.retention_days, now()) {
            Ok(0) => {}
            Ok(deleted) => {
                tracing::info!(deleted, days = self.retention_days, "deleted call-log segments past retention")
            }
            Err(error) => tracing::warn!(%error, "old call-log segments cannot be deleted; trying again later"),
        }
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
