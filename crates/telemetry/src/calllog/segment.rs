//! A segment's name, its schema and how it is opened.
//!
//! Names are `calls-YYYYMMDD-<made, µs, hexadecimal>-<writer, hexadecimal>.db`: they sort by the day of their first call,
//! tell it without opening the file, and no two writers share one. When a segment was made is later than of every one
//! that was there, also after the clock was set back. The writer is a number that each process draws: in a container
//! every process has the same id.

use rusqlite::{Connection, OpenFlags};
use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// One table of rows, the names they refer to, the block summaries and the minutes.
///
/// Columns that hold a name hold its id in `strings`, or the text itself when the writer's table of names was
/// full. `tried` is a text (JSON), or null where there was but one target; `guardrails` a text, or null where none found anything. `cost` is null (nothing to price), an integer (10^-9 US dollars), a text (US dollars, when finer), `~` with
/// US dollars (estimated) or `?` (cost unknown). Columns that are searched stand first, so that a scan decodes little.
const SCHEMA: &str = "
CREATE TABLE calls (
  row INTEGER PRIMARY KEY, time, outcome, status, total_us, application, route, upstream, credential, model,
  key, source, path, method, request_hi, request_lo, trace_hi, trace_lo, endpoint, credential_version,
  upstream_status, attempts, bytes_in, bytes_out, upstream_us, ttfb_us,
  provider, provider_model, streamed, input, cached_input, output, reasoning, cost, cache_write, cache_write_1h,
  budgets, tried, guardrails, end_user, asked, cache, saved, prompt);
CREATE TABLE strings (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE blocks (first_row INTEGER PRIMARY KEY, last_row, min_time, max_time, max_total_us, filter BLOB);
CREATE TABLE minutes (last_row INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE mcp (row INTEGER PRIMARY KEY, body TEXT NOT NULL);
PRAGMA user_version = 8;
";

/// The first form whose blocks tell of prompts. Rows are those of the seventh.
pub(crate) const TELLS_PROMPTS: i64 = 8;

/// Makes rows of the first form, before writes into a prompt cache were counted, look like those of today.
const FIRST_FORM: &str = "CREATE TEMP VIEW calls AS
    SELECT *, 0 AS cache_write, 0 AS cache_write_1h, NULL AS budgets, NULL AS tried, NULL AS guardrails,
        NULL AS end_user, NULL AS asked, NULL AS cache, NULL AS saved, NULL AS prompt FROM main.calls;";
/// The same for the second, before there were budgets.
const SECOND_FORM: &str =
    "CREATE TEMP VIEW calls AS SELECT *, NULL AS budgets, NULL AS tried, NULL AS guardrails, NULL AS end_user,
        NULL AS asked, NULL AS cache, NULL AS saved, NULL AS prompt FROM main.calls;";
/// The same for the third, before calls were tried at several targets.
const THIRD_FORM: &str = "CREATE TEMP VIEW calls AS SELECT *, NULL AS tried, NULL AS guardrails, NULL AS end_user,
        NULL AS asked, NULL AS cache, NULL AS saved, NULL AS prompt FROM main.calls;";
/// The same for the fourth, before calls told of end users and of models that were asked for.
const FOURTH_FORM: &str = "CREATE TEMP VIEW calls AS SELECT *, NULL AS end_user, NULL AS asked, NULL AS cache,
        NULL AS saved, NULL AS prompt FROM main.calls;";
/// The same for the fifth, before models had caches.
const FIFTH_FORM: &str =
    "CREATE TEMP VIEW calls AS SELECT *, NULL AS cache, NULL AS saved, NULL AS prompt FROM main.calls;";
/// The same for the sixth, before there were prompts.
const SIXTH_FORM: &str = "CREATE TEMP VIEW calls AS SELECT *, NULL AS prompt FROM main.calls;";

/// What stands in for the table of what was asked of MCP servers where a segment was made before there was one.
const NO_MCP: &str = "CREATE TEMP TABLE mcp (row INTEGER PRIMARY KEY, body TEXT NOT NULL);";

/// The name of a segment's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName(String);

impl SegmentName {
    /// A new name for a day (days since 1970), newer than every one in a directory.
    pub fn new(dir: &Path, day: i64, writer: u32) -> io::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let newest = list(dir)?.iter().filter_map(SegmentName::made).map(|(made, _)| made).max();
        let made = i64::try_from(now).unwrap_or(i64::MAX).max(newest.map_or(0, |made| made.saturating_add(1)));
        Ok(Self::made_at(day, made, writer))
    }

    pub(crate) fn made_at(day: i64, made: i64, writer: u32) -> Self {
        Self(format!("{}-{made:014x}-{writer:x}", day_text(day)))
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

    /// When it was made, in microseconds since 1970, and who writes it.
    pub fn made(&self) -> Option<(i64, u32)> {
        made(&self.0)
    }

    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("calls-{}.db", self.0))
    }
}

/// When the segment of an id was made, and who writes it.
pub(crate) fn made(id: &str) -> Option<(i64, u32)> {
    let mut parts = id.split('-').skip(1);
    let (made, writer) = (parts.next()?, parts.next()?);
    Some((i64::from_str_radix(made, 16).ok()?, u32::from_str_radix(writer, 16).ok()?))
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
        match version {
            1 => db.execute_batch(FIRST_FORM)?,
            2 => db.execute_batch(SECOND_FORM)?,
            3 => db.execute_batch(THIRD_FORM)?,
            4 => db.execute_batch(FOURTH_FORM)?,
            5 => db.execute_batch(FIFTH_FORM)?,
            6 => db.execute_batch(SIXTH_FORM)?,
            _ => {}
        }
        let mcp: i64 = db.query_row("SELECT count(*) FROM main.sqlite_master WHERE name = 'mcp'", [], |r| r.get(0))?;
        if mcp == 0 {
            db.execute_batch(NO_MCP)?;
        }
        Ok((1..=TELLS_PROMPTS).contains(&version).then_some(db))
    };
    match ready() {
        // Deleted by retention, or created a moment ago.
        Err(rusqlite::Error::SqliteFailure(e, _)) if e.code == rusqlite::ErrorCode::CannotOpen => Ok(None),
        // Its writer was killed while it made or sealed it: that is taken back, which a reader may not.
        Err(rusqlite::Error::SqliteFailure(e, _)) if e.code == rusqlite::ErrorCode::ReadOnly => {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let db = Connection::open_with_flags(name.path(dir), flags)?;
            db.busy_timeout(Duration::from_secs(5))?;
            db.query_row("SELECT COUNT(*) FROM sqlite_master", [], |_| Ok(()))?;
            drop(db);
            ready()
        }
        other => other,
    }
}

/// Whether nobody writes to a segment any more.
pub(crate) fn is_sealed(dir: &Path, name: &SegmentName) -> bool {
    let mut wal = name.path(dir).into_os_string();
    wal.push("-wal");
    !Path::new(&wal).exists()
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
    use credentialflow_model::usage::{CacheUse, Cost, CredentialUse, Tried, TriedEnd};
    use rust_decimal::Decimal;
    use std::time::Instant;

    #[test]
    fn segments_of_the_first_form_are_read_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let recorder =
            Recorder::start(RecorderSettings { retention_days: 100_000, ..RecorderSettings::new(dir.path()) }).unwrap();
        let mut second = model(2, Some(Cost::UnknownPrice));
        let used = second.model.as_mut().unwrap();
        (used.user, used.asked) = (Some("ada".into()), Some("chat-large".into()));
        used.prompt = Some("sentiment/3".into());
        (used.cache, used.saved) = (Some(CacheUse::Similar), Some(Decimal::new(15, 13)));
        second.model.as_mut().unwrap().tried = vec![Tried {
            provider: "first".into(),
            provider_model: "m; \"x\"".into(),
            credential: Some(CredentialUse { credential: "key-a".into(), version: 7 }),
            end: TriedEnd::Status(503),
        }];
        recorder.sender().send(vec![plain(1), second, plain(3)]);
        assert!(recorder.flush());
        recorder.shutdown();
        let read = || {
            let until = Instant::now() + Duration::from_secs(600);
            CallLog::new(dir.path()).query_until(&CallFilter::default(), 10, None, until).unwrap().items
        };
        let mut expect = read();
        assert_eq!(expect.len(), 3);
        let tried = std::mem::take(&mut expect[1].model.as_mut().unwrap().tried);
        let [tried] = &tried[..] else { panic!("{tried:?}") };
        assert_eq!((&*tried.provider, &*tried.provider_model, &*tried.end), ("first", "m; \"x\"", "503"));
        assert_eq!((tried.credential.as_deref(), tried.credential_version), (Some("key-a"), Some(7)));
        let tokens = expect[1].model.as_mut().unwrap().tokens.as_mut().unwrap();
        assert_eq!((tokens.cache_write, tokens.cache_write_1h), (30, 10));
        (tokens.cache_write, tokens.cache_write_1h) = (0, 0);
        let told = expect[1].model.as_mut().unwrap();
        assert_eq!((told.user.take().as_deref(), told.asked.take().as_deref()), (Some("ada"), Some("chat-large")));

        assert_eq!((told.prompt.take().as_deref(), told.prompt_version.take()), (Some("sentiment"), Some(3)));
        assert_eq!(
            (told.cache.take(), told.saved_usd.take().as_deref()),
            (Some(CacheUse::Similar), Some("0.0000000000015"))
        );

        let names = list(dir.path()).unwrap();
        assert_eq!(names.len(), 1);
        let db = Connection::open(names[0].path(dir.path())).unwrap();
        db.execute_batch("ALTER TABLE calls DROP COLUMN prompt; PRAGMA user_version = 6;").unwrap();
        assert_eq!(read()[1].model.as_ref().unwrap().cache, Some(CacheUse::Similar), "only prompts are new");
        db.execute_batch(
            "ALTER TABLE calls DROP COLUMN cache; ALTER TABLE calls DROP COLUMN saved; PRAGMA user_version = 5;",
        )
        .unwrap();
        assert_eq!(read()[1].model.as_ref().unwrap().user.as_deref(), Some("ada"), "only caches are new");
        db.execute_batch(
            "ALTER TABLE calls DROP COLUMN end_user; ALTER TABLE calls DROP COLUMN asked; PRAGMA user_version = 4;",
        )
        .unwrap();
        assert_eq!(read()[1].model.as_ref().unwrap().tried.len(), 1, "only users and what was asked for are new");
        db.execute_batch(
            "ALTER TABLE calls DROP COLUMN tried; ALTER TABLE calls DROP COLUMN guardrails; PRAGMA user_version = 3;",
        )
        .unwrap();
        drop(db);
        let untried = read();
        assert_eq!(untried[1].model.as_ref().unwrap().tokens.unwrap().cache_write, 30, "only `tried` is new");
        let db = Connection::open(names[0].path(dir.path())).unwrap();
        db.execute_batch("ALTER TABLE calls DROP COLUMN budgets; PRAGMA user_version = 2;").unwrap();
        drop(db);
        let counted = read();
        let of_second = counted[1].model.as_ref().unwrap();
        assert_eq!(of_second.tokens.unwrap().cache_write, 30, "the second form counted writes into caches");
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
        let dir = tempfile::tempdir().unwrap();
        let new = |day| SegmentName::new(dir.path(), day, 77).unwrap();
        let (a, b) = (new(20_000), new(20_001));
        assert_eq!(a.day(), "20241004");
        assert!(a < b);
        let (made, writer) = a.made().unwrap();
        assert!(made > 1_700_000_000_000_000 && writer == 77, "{a:?}");
        // The clock was set back since the newest one was made.
        let ahead = SegmentName::made_at(20_000, made + 86_400_000_000, 5);
        drop(create(dir.path(), &ahead).unwrap());
        assert_eq!(new(20_000).made(), Some((made + 86_400_000_001, 77)));
        assert_eq!(SegmentName::parse(&format!("calls-{}.db", a.id())), Some(a));
        for other in ["calls-1.db", "calls-20241004-xyz-1.db", "calls-20241004-1f-1.db-wal", "store.db"] {
            assert_eq!(SegmentName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_segment_whose_writer_was_killed_while_it_made_it_holds_nothing_and_hinders_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let name = SegmentName::new(dir.path(), 20_000, 7).unwrap();
        // The first page without the rest, and the journal that takes it back.
        std::fs::write(name.path(dir.path()), [0; 16_384]).unwrap();
        let mut journal = vec![0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
        journal.extend([0, 0, 0, 0, 0xb7, 0x4f, 0xf0, 0xe7, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0x40, 0]);
        journal.resize(512, 0);
        std::fs::write(name.path(dir.path()).with_extension("db-journal"), journal).unwrap();
        assert!(open(dir.path(), &name).unwrap().is_none());
        assert!(!name.path(dir.path()).with_extension("db-journal").exists());
        let log = crate::CallLog::new(dir.path());
        assert_eq!(log.charges_between(&crate::CallLog::beginning(), None, 7).unwrap().len(), 0);
    }
}
