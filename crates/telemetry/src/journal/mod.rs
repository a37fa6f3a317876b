//! What model calls cost, kept through the end of the process until it is in the call log.
//!
//! The call log is written a tenth of a second behind the answers. A process that is killed in between would take with it
//! what callers had been told already, so each worker writes the record of such a call into a file of its own before the
//! last of the answer goes: one copy into the kernel's memory, without waiting for the disk. The next process on the
//! directory puts what the call log does not have into it ([`recover`]), under the number of the one that is gone, before
//! anybody settles what that one had spent. A power failure may take the last moments of both.
//!
//! A file has [`PAGES`] pages of [`PAGE`] bytes behind a table of which of them count. Whoever is handed a [`Kept`] holds its
//! page until the record is in the call log. Ten times a second pages that nobody holds are struck from the table, so that
//! what is in the log stays nowhere else, and none of it comes back once the log has let go of it. An entry is its length, a
//! checksum, the turn of its page, and the record.
//!
//! What finds no place in the log is charged without it, and its entry is marked before ([`Kept::mark_charged`]): should the
//! process be killed while its page is held for others, the next one logs the call and charges nobody for it again.

mod line;

use crate::{
    calllog::{CallLog, CallLogError, writer::Writer},
    intern::Interner,
    rollup::{Rollups, Sample, ended_us},
};
use credentialflow_model::{UsageRecord, usage::charges};
use line::Line;
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

/// Bytes of a page: about a thousand calls.
const PAGE: usize = 512 * 1024;
/// Pages of a file: more than the fastest worker fills while the call log is written.
const PAGES: usize = 8;
/// The table: of each page the turn that counts, or nought.
const TABLE: usize = PAGES * 8;
/// Length, checksum and turn of an entry.
const HEAD: usize = 16;
/// Where the mark stands in an entry: in the highest byte of its length, which is always nought else.
const MARK_AT: u64 = 3;
const CHARGED: u8 = 1;
const SUFFIX: &str = ".journal";

/// A page of a journal; it stays as it is for as long as anybody holds it.
#[derive(Debug)]
pub struct Page {
    file: Arc<File>,
    /// Where it begins.
    at: u64,
}

/// A record that is kept for as long as this is held.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its page.
    pub page: Arc<Page>,
    /// Where in the page it stands.
    pub at: u32,
}

impl Kept {
    /// Marks it as one that is charged though the call log does not tell it. To be called before it is charged.
    pub fn mark_charged(&self) {
        let at = self.page.at + u64::from(self.at) + MARK_AT;
        if let Err(error) = self.page.file.write_all_at(&[CHARGED], at) {
            tracing::error!(%error, "should the process be killed, a call that is not in the call log is charged twice");
        }
    }
}

/// One worker's.
#[derive(Debug)]
pub struct Journal {
    file: Arc<File>,
    pages: [Arc<Page>; PAGES],
    page: usize,
    /// Where the next entry of the page goes.
    at: usize,
    /// How often a page was begun.
    turn: u64,
    /// Of each page the turn that counts, or nought; as in the file.
    table: [u64; PAGES],
    entry: Vec<u8>,
}

/// Makes the journals of a process, and takes them away.
#[derive(Clone, Debug)]
pub(crate) struct Journals {
    dir: PathBuf,
    writer: u32,
    made: Arc<AtomicU32>,
}

impl Journals {
    pub fn new(dir: PathBuf, writer: u32) -> Self {
        Self { dir, writer, made: Arc::default() }
    }

    /// One more.
    pub fn create(&self) -> io::Result<Journal> {
        std::fs::create_dir_all(&self.dir)?;
        let number = self.made.fetch_add(1, Relaxed);
        let path = self.dir.join(format!("{:x}-{number}{SUFFIX}", self.writer));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        // For as long as the process lives, also one that another takes over from.
        file.try_lock()?;
        let file = Arc::new(file);
        let page = |n: usize| Arc::new(Page { file: file.clone(), at: (TABLE + n * PAGE) as u64 });
        Ok(Journal {
            pages: std::array::from_fn(page),
            file,
            page: 0,
            at: 0,
            turn: 0,
            table: [0; PAGES],
            entry: Vec::with_capacity(1024),
        })
    }

    /// Takes the files away, at an orderly end: all that they keep is in the call log.
    pub fn remove(&self) {
        for number in 0..self.made.load(Relaxed) {
            // What stays has a table in which nothing counts, or what the next process finds in the call log.
            let _ = std::fs::remove_file(self.dir.join(format!("{:x}-{number}{SUFFIX}", self.writer)));
        }
    }
}

impl Journal {
    /// Keeps a record until what is given back is let go; `None` where there is no room, or no disk.
    pub fn keep(&mut self, record: &UsageRecord) -> Option<Kept> {
        self.entry.clear();
        self.entry.resize(HEAD, 0);
        postcard::to_io(&Line::of(record), &mut self.entry).ok()?;
        let fits = self.table[self.page] != 0 && self.at + self.entry.len() <= PAGE;
        if !fits && !self.begin_page() {
            return None;
        }
        let length = self.entry.len() - HEAD;
        self.entry[..4].copy_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        self.entry[8..HEAD].copy_from_slice(&self.turn.to_le_bytes());
        let sum = crc32fast::hash(&self.entry[8..]);
        self.entry[4..8].copy_from_slice(&sum.to_le_bytes());
        let page = &self.pages[self.page];
        self.file.write_all_at(&self.entry, page.at + self.at as u64).ok()?;
        let kept = Kept { page: page.clone(), at: u32::try_from(self.at).ok()? };
        self.at += self.entry.len();
        Some(kept)
    }

    /// Strikes what nobody holds any more. To be called now and then.
    pub fn strike(&mut self) {
        let held = |page: usize| Arc::strong_count(&self.pages[page]) > 1;
        let table: [u64; PAGES] = std::array::from_fn(|page| if held(page) { self.table[page] } else { 0 });
        if table != self.table {
            self.tell(table);
        }
    }

    /// Begins a page that nobody holds, where there is one and the entry fits into it.
    fn begin_page(&mut self) -> bool {
        let free = (0..PAGES).map(|n| (self.page + n) % PAGES).find(|page| Arc::strong_count(&self.pages[*page]) == 1);
        let Some(page) = free.filter(|_| self.entry.len() <= PAGE) else { return false };
        (self.page, self.at, self.turn) = (page, 0, self.turn + 1);
        let mut table = self.table;
        table[page] = self.turn;
        self.tell(table)
    }

    /// Writes the table. What cannot be written counts for nothing here either: no entry follows.
    fn tell(&mut self, table: [u64; PAGES]) -> bool {
        let bytes: Vec<u8> = table.iter().flat_map(|turn| turn.to_le_bytes()).collect();
        let told = self.file.write_all_at(&bytes, 0).is_ok();
        if told {
            self.table = table;
        }
        told
    }
}

/// The records of the pages of a file that count, as far as they are whole, in the order in which they were kept. Those that
/// are marked as charged charge nobody.
fn records(bytes: &[u8]) -> Vec<UsageRecord> {
    let mut all = Vec::new();
    let Some((table, pages)) = bytes.split_at_checked(TABLE) else { return all };
    let turns = table.as_chunks::<8>().0.iter().map(|turn| u64::from_le_bytes(*turn));
    let mut pages: Vec<_> = turns.zip(pages.chunks(PAGE)).filter(|(turn, _)| *turn != 0).collect();
    pages.sort_unstable_by_key(|(turn, _)| *turn);
    for (turn, mut rest) in pages {
        while let Some((mark, entry, after)) = entry(rest) {
            let Some((head, body)) = entry.split_first_chunk::<8>() else { break };
            // Another turn's is what is left of an earlier one.
            if u64::from_le_bytes(*head) != turn {
                break;
            }
            let mut record = postcard::from_bytes::<Line<'_>>(body).ok().and_then(Line::record);
            if mark == CHARGED
                && let Some(model) = record.as_mut().and_then(|record| record.model.as_mut())
                && let Some(windows) = model.budgets.take()
            {
                let none: Vec<String> = charges(&windows, 0).map(|(window, _)| format!("{window}=0")).collect();
                model.budgets = Some(none.join(" ").into());
            }
            all.extend(record);
            rest = after;
        }
    }
    all
}

/// The mark of the first entry, its turn and record, and what follows.
fn entry(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([a, b, c, mark], bytes) = bytes.split_first_chunk()?;
    let (sum, bytes) = bytes.split_first_chunk()?;
    let length = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
    let end = length.checked_add(8).filter(|end| *mark <= CHARGED && (9..=bytes.len()).contains(end))?;
    let (entry, after) = bytes.split_at(end);
    (crc32fast::hash(entry) == u32::from_le_bytes(*sum)).then_some((*mark, entry, after))
}

/// Puts what processes that are gone kept into the call log, where that does not have it yet, and takes their files away.
/// How many calls that were. What one of them kept holds up nothing of the others; it is tried again with the next start.
pub(crate) fn recover(log: &CallLog, dir: &Path) -> io::Result<u64> {
    let mut recovered = 0;
    for (writer, paths) in files(dir)? {
        match recover_one(log, dir, writer, paths) {
            Ok(calls) => recovered += calls,
            Err(error) => tracing::error!(
                %error,
                writer = format!("{writer:x}"),
                "what a killed process had no time to log cannot be put into the call log"
            ),
        }
    }
    Ok(recovered)
}

/// As [`recover`], of one process: where the start of this one could not.
pub(crate) fn recover_of(log: &CallLog, dir: &Path, writer: u32) -> Result<u64, CallLogError> {
    files(dir)?.remove(&writer).map_or(Ok(0), |paths| recover_one(log, dir, writer, paths))
}

/// The files of a directory, by who wrote them.
fn files(dir: &Path) -> io::Result<BTreeMap<u32, Vec<PathBuf>>> {
    let mut files: BTreeMap<u32, Vec<PathBuf>> = BTreeMap::new();
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let writer = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.split_once('-'));
        if let Some(Ok(writer)) = writer.map(|(writer, _)| u32::from_str_radix(writer, 16)) {
            files.entry(writer).or_default().push(entry.path());
        }
    }
    Ok(files)
}

fn recover_one(log: &CallLog, dir: &Path, writer: u32, paths: Vec<PathBuf>) -> Result<u64, CallLogError> {
    let mut found: BTreeMap<u128, UsageRecord> = BTreeMap::new();
    let mut read = Vec::new();
    for path in paths {
        let file = match File::open(&path) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        // Whose process lives logs its calls itself.
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Ok(()) => {}
        }
        let mut bytes = Vec::new();
        (&file).take((TABLE + PAGES * PAGE) as u64).read_to_end(&mut bytes)?;
        // The last word on a call holds.
        found.extend(records(&bytes).into_iter().map(|record| (record.request_id.0, record)));
        read.push((path, file));
    }
    if let Some(first) = found.values().map(|record| record.time.micros()).min() {
        log.for_requests_since(writer, first, |id| {
            found.remove(&id);
        })?;
    }
    let mut missing: Vec<UsageRecord> = found.into_values().collect();
    missing.sort_by_key(ended_us);
    let recovered = write(dir, writer, &missing)?;
    for (path, _locked) in read {
        std::fs::remove_file(path)?;
    }
    Ok(recovered)
}

/// Writes records into a segment of their own, with the minutes that they are of.
fn write(dir: &Path, writer: u32, records: &[UsageRecord]) -> Result<u64, CallLogError> {
    let Some(first) = records.first() else { return Ok(0) };
    let (mut names, mut rollups) = (Interner::new(), Rollups::default());
    for record in records {
        let mut id = |name: Option<&Arc<str>>| name.map(|name| names.id(name));
        let (route, application) = (id(record.route.as_ref()), id(record.application.as_ref()));
        let model = id(record.model.as_ref().map(|model| &model.model));
        rollups.add(&Sample::of(record), [route, application, model], &names);
    }
    let mut segment = Writer::create(dir, first.time.micros(), writer)?;
    let written = segment.write(records.iter(), &rollups.drain(), &mut names)?;
    segment.seal();
    Ok(written)
}

#[cfg(test)]
mod tests;
