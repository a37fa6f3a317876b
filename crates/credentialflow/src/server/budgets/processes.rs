//! Which processes ran on a data directory, and where each began in the call log: a small file for each.
//!
//! They are what a process that was killed leaves behind beside its call log, so that the next one can charge what it
//! spent. A file is written whole or not at all and is there before the process borrows anything. It stays until the
//! process is settled however many follow; of settled ones the newest stay too, for a database that is restored from
//! before them. No two processes write one file.

use credentialflow_model::Timestamp;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

const FOLDER: &str = "processes";
/// Where ids stood before there were budgets, one in a line.
const BEFORE: &str = "node";
/// So many that are settled are kept.
const SETTLED_KEPT: usize = 16;

/// A process on a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Process {
    /// Its id among the nodes.
    pub id: String,
    /// When it began.
    pub began: Timestamp,
    /// The number under which it writes the call log, and where that stood when it began. Not known of processes from
    /// before there were budgets.
    pub log: Option<(u32, String)>,
    /// Whether all it spent is charged, as far as it was known.
    pub settled: bool,
}

/// The processes on a data directory.
#[derive(Clone, Debug)]
pub(in crate::server) struct Processes {
    data: PathBuf,
}

impl Processes {
    /// Those of this data directory.
    pub fn of(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    /// Those that are known, oldest first. What cannot be read is not there.
    pub fn list(&self) -> Vec<Process> {
        let mut all = self.noted();
        for id in self.before() {
            if !all.iter().any(|process| process.id == id) {
                all.push(Process { id, began: Timestamp::default(), log: None, settled: false });
            }
        }
        all.sort_by(|a, b| (a.began, &a.id).cmp(&(b.began, &b.id)));
        all
    }

    /// Notes a process for good: it is there after a power failure as well.
    pub fn note(&self, process: &Process) -> io::Result<()> {
        fs::create_dir_all(self.folder())?;
        self.write(process)?;
        // Those of an earlier version get files of their own.
        let noted = self.noted();
        for id in self.before() {
            if !noted.iter().any(|process| process.id == id) {
                self.write(&Process { id, began: Timestamp::default(), log: None, settled: false })?;
            }
        }
        let old = self.data.join(BEFORE);
        if old.exists() {
            fs::remove_file(old)?;
        }
        File::open(self.folder())?.sync_all()
    }

    /// Notes that a process is settled, and forgets the oldest of those that are.
    pub fn settled(&self, id: &str) -> io::Result<()> {
        if let Some(process) = self.noted().into_iter().find(|process| process.id == id) {
            self.write(&Process { settled: true, ..process })?;
        }
        let mut settled: Vec<_> = self.noted().into_iter().filter(|process| process.settled).collect();
        settled.sort_by_key(|process| process.began);
        settled.truncate(settled.len().saturating_sub(SETTLED_KEPT));
        settled.iter().try_for_each(|process| fs::remove_file(self.folder().join(&process.id)))
    }

    fn folder(&self) -> PathBuf {
        self.data.join(FOLDER)
    }

    fn noted(&self) -> Vec<Process> {
        let Ok(entries) = fs::read_dir(self.folder()) else { return Vec::new() };
        let ids = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        ids.filter(|id| is_id(id))
            .filter_map(|id| {
                let text = fs::read_to_string(self.folder().join(&id)).ok()?;
                parse(id, &text)
            })
            .collect()
    }

    fn before(&self) -> Vec<String> {
        let text = fs::read_to_string(self.data.join(BEFORE)).unwrap_or_default();
        text.lines().map(str::trim).filter(|id| is_id(id)).map(str::to_owned).collect()
    }

    fn write(&self, process: &Process) -> io::Result<()> {
        let Process { id, began, log, settled } = process;
        let (writer, place) =
            log.as_ref().map_or(("-".to_owned(), "-"), |(w, place)| (format!("{w:x}"), place.as_str()));
        let state = if *settled { "settled" } else { "begun" };
        let fresh = self.folder().join(format!("{id}.new"));
        let mut file = File::create(&fresh)?;
        file.write_all(format!("{} {writer} {place} {state}\n", began.micros()).as_bytes())?;
        file.sync_all()?;
        fs::rename(fresh, self.folder().join(id))
    }
}

impl Process {
    /// One that begins now.
    pub fn begins(id: &str, writer: u32, place: &str) -> Self {
        let log = Some((writer, place.to_owned()));
        Self { id: id.to_owned(), began: SystemTime::now().into(), log, settled: false }
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn parse(id: String, text: &str) -> Option<Process> {
    let mut words = text.split_ascii_whitespace();
    let began = Timestamp::from_micros(words.next()?.parse().ok()?);
    let (writer, place, state) = (words.next()?, words.next()?, words.next()?);
    let log = match place {
        "-" => None,
        place => Some((u32::from_str_radix(writer, 16).ok()?, place.to_owned())),
    };
    Some(Process { id, began, log, settled: state == "settled" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn process(n: usize) -> Process {
        let log = Some((n as u32, format!("20261122-00ab-{n:x}.7")));
        Process { id: format!("{n:016x}"), began: Timestamp::from_secs(n as i64), log, settled: false }
    }

    #[test]
    fn a_process_stays_until_it_is_settled_however_many_follow() {
        let dir = tempfile::tempdir().unwrap();
        let processes = Processes::of(dir.path());
        assert_eq!(processes.list(), []);
        let all: Vec<_> = (0..100).map(process).collect();
        all.iter().for_each(|process| processes.note(process).unwrap());
        assert_eq!(processes.list(), all, "a crash loop pushes nothing out");
        (1..90).for_each(|n| processes.settled(&process(n).id).unwrap());
        let left = processes.list();
        assert_eq!(
            left.iter().filter(|process| !process.settled).cloned().collect::<Vec<_>>()[..2],
            [process(0), process(90)]
        );
        let settled: Vec<_> = left.iter().filter(|process| process.settled).map(|process| process.id.clone()).collect();
        assert_eq!(settled, (74..90).map(|n| process(n).id).collect::<Vec<_>>(), "the newest");
        processes.settled("unknown").unwrap();
        assert_eq!(processes.list(), left);
    }

    #[test]
    fn a_write_that_was_cut_takes_nothing_away() {
        let dir = tempfile::tempdir().unwrap();
        let processes = Processes::of(dir.path());
        processes.note(&process(1)).unwrap();
        // What kill -9 and a full disk leave.
        fs::write(dir.path().join("processes").join(format!("{}.new", process(1).id)), "").unwrap();
        fs::write(dir.path().join("processes").join(process(2).id), "").unwrap();
        assert_eq!(processes.list(), [process(1)]);
        processes.note(&process(3)).unwrap();
        assert_eq!(processes.list(), [process(1), process(3)]);
    }

    #[test]
    fn ids_that_an_earlier_version_noted_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("node"), "00ab\n00cd").unwrap();
        let processes = Processes::of(dir.path());
        let ids = |processes: &Processes| processes.list().into_iter().map(|p| p.id).collect::<Vec<_>>();
        assert_eq!(ids(&processes), ["00ab", "00cd"]);
        processes.note(&process(7)).unwrap();
        assert_eq!(ids(&processes), ["00ab", "00cd", &process(7).id]);
        assert!(!dir.path().join("node").exists());
        processes.settled("00ab").unwrap();
        assert_eq!(processes.list().iter().map(|p| p.settled).collect::<Vec<_>>(), [true, false, false]);
    }
}
