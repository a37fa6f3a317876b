//! A segment's name, its schema and how it is opened.
//!
//! Names are `calls-YYYYMMDD-<created, µs, hexadecimal>-<process id, hexadecimal>.db`: they sort by age, tell the
//! day without opening the file, and no two writers share one.

use rusqlite::{Connection, OpenFlags};
use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// One table of rows, the names they refer to, the block summaries and the minutes.
///
/// Columns that hold a name hold its id in `strings`, or the text itself when the writer's table of names was
/// full. `cost` is null (nothing to price), an integer (10^-9 US dollars), a text (US dollars, when finer) or `?`
/// (cost unknown). Columns that are searched stand first, so that a scan decodes little.
const SCHEMA: &str = "
CREATE TABLE calls (
  row INTEGER PRIMARY KEY, time, outcome, status, total_us, application, route, upstream, credential, model,
  key, source, path, method, request_hi, request_lo, trace_hi, trace_lo, endpoint, credential_version,
  upstream_status, attempts, bytes_in, bytes_out, upstream_us, ttfb_us,
  provider, provider_model, streamed, input, cached_input, output, reasoning, cost, cache_write, cache_write_1h);
CREATE TABLE strings (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE blocks (first_row INTEGER PRIMARY KEY, last_row, min_time, max_time, max_total_us, filter BLOB);
CREATE TABLE minutes (last_row INTEGER NOT NULL, body TEXT NOT NULL);
PRAGMA user_version = 2;
";

/// Makes rows of the first form, before writes into a prompt cache were counted, look like those of today.
const FIRST_FORM: &str = "CREATE TEMP VIEW calls AS SELECT *, 0 AS cache_write, 0 AS cache_write_1h FROM main.calls;";

/// The name of a segment's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName(String);

impl SegmentName {
    /// A new name for a day (days since 1970).
    pub fn new(day: i64) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        Self(format!("{}-{created:014x}-{:x}", day_text(day), std::process::id()))
    }

    fn parse(file: &str) -> Option<Self> {
        let id = file.strip_prefix("calls-")?.strip_suffix(".db")?;
        let mut parts = id.split('-');
        let (day, created, process) = (parts.next()?, parts.next()?, parts.next()?);
        let hex = |s: &str| !s.is_empty() && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let good = day.len() == 8 && day.bytes().all(|b| b.is_ascii_digit()) && hex(created) && hex(process);
        (good && parts.next().is_none()).then(|| Self(id.to_owned()))
    }

    /// The name as used in cursors.
    pub fn id(&self) -> &str {
        &self.0
    }

    /// The day's text, `YYYYMMDD`.
    pub fn day(&self) -> &str {
        &self.0[..8]
    }

    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("calls-{}.db", self.0))
    }
}

/// A day since 1970 as `YYYYMMDD`.
pub(crate) fn day_text(day: i64) -> String {
    let time = jiff::Timestamp::from_second(day.saturating_mul(86_400)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%d").to_string()
}

/// All segments of a directory, oldest first. A missing directory has none.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<SegmentName>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut all = Vec::new();
    for entry in entries {
        all.extend(entry?.file_name().to_str().and_then(SegmentName::parse));
    }
    all.sort_unstable();
    Ok(all)
}

/// Makes a segment, ready to be written to.
pub(crate) fn create(dir: &Path, name: &SegmentName) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(name.path(dir), flags)?;
    db.busy_timeout(Duration::from_secs(1))?;
    db.execute_batch("PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
    // A checkpoint syncs; with rows arriving in order, larger ones write each page fewer times.
    db.execute_batch(
        "PRAGMA wal_autocheckpoint = 512; PRAGMA journal_size_limit = 16777216; PRAGMA cache_size = -2048;",
    )?;
    db.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT;"))?;
    Ok(db)
}

/// Opens a segment for reading; `None` when it is gone or not yet complete.
pub(crate) fn open(dir: &Path, name: &SegmentName) -> rusqlite::Result<Option<Connection>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let ready = || {
        let db = Connection::open_with_flags(name.path(dir), flags)?;
        // One that is just being made or sealed on a slow disk is waited for.
        db.busy_timeout(Duration::from_secs(5))?;
        // No memory mapping: a failing disk would then end the process instead of the query.
        db.execute_batch("PRAGMA cache_size = -8192;")?;
        let version: i64 = db.query_row("PRAGMA user_version", [], |r| r.get(0))?;
        if version == 1 {
            db.execute_batch(FIRST_FORM)?;
        }
        Ok((1..=2).contains(&version).then_some(db))
    };
    match ready() {
        // Deleted by retention, or created a moment ago.
        Err(rusqlite::Error::SqliteFailure(e, _)) if e.code == rusqlite::ErrorCode::CannotOpen => Ok(None),
        other => other,
    }
}

/// Deletes a segment and what SQLite keeps beside it.
pub(crate) fn delete(dir: &Path, name: &SegmentName) -> io::Result<()> {
    let path = name.path(dir);
    std::fs::remove_file(&path)?;
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut beside = path.clone().into_os_string();
        beside.push(suffix);
        // Usually there is none.
        let _ = std::fs::remove_file(beside);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        Recorder, RecorderSettings,
        calllog::{CallFilter, CallLog},
        testing::{model, plain},
    };
    use credentialflow_model::usage::Cost;
    use std::time::Instant;

    #[test]
    fn segments_of_the_first_form_are_read_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let recorder =
            Recorder::start(RecorderSettings { retention_days: 100_000, ..RecorderSettings::new(dir.path()) }).unwrap();
        recorder.sender().send(vec![plain(1), model(2, Some(Cost::UnknownPrice)), plain(3)]);
        assert!(recorder.flush());
        recorder.shutdown();
        let read = || {
            let until = Instant::now() + Duration::from_secs(600);
            CallLog::new(dir.path()).query_until(&CallFilter::default(), 10, None, until).unwrap().items
        };
        let mut expect = read();
        assert_eq!(expect.len(), 3);
        let tokens = expect[1].model.as_mut().unwrap().tokens.as_mut().unwrap();
        assert_eq!((tokens.cache_write, tokens.cache_write_1h), (30, 10));
        (tokens.cache_write, tokens.cache_write_1h) = (0, 0);

        let names = list(dir.path()).unwrap();
        assert_eq!(names.len(), 1);
        let db = Connection::open(names[0].path(dir.path())).unwrap();
        db.execute_batch(
            "ALTER TABLE calls DROP COLUMN cache_write; ALTER TABLE calls DROP COLUMN cache_write_1h;
             PRAGMA user_version = 1;",
        )
        .unwrap();
        drop(db);
        assert_eq!(read(), expect);
    }

    #[test]
    fn names_carry_the_day_and_sort_by_age() {
        let (a, b) = (SegmentName::new(20_000), SegmentName::new(20_001));
        assert_eq!(a.day(), "20241004");
        assert!(a < b);
        assert_eq!(SegmentName::parse(&format!("calls-{}.db", a.id())), Some(a));
        for other in ["calls-1.db", "calls-20241004-xyz-1.db", "calls-20241004-1f-1.db-wal", "store.db"] {
            assert_eq!(SegmentName::parse(other), None, "{other}");
        }
    }
}
