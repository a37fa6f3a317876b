//! What recording promises through its boundary: never blocking, never losing silently, surviving disks and restarts.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../examples/support/generate.rs"]
mod generate;

use credentialflow_model::Timestamp;
use credentialflow_telemetry::{CallFilter, Recorder, RecorderSettings, Telemetry};
use generate::Generator;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

fn settings(dir: &Path) -> RecorderSettings {
    RecorderSettings { write_every: Duration::from_millis(5), ..RecorderSettings::new(dir) }
}

fn requests(t: &Telemetry) -> u64 {
    t.stats(Duration::from_secs(3600), Timestamp::from(SystemTime::now())).total.requests
}

/// How many calls there are after a cursor. A page may end early where reading takes long; the next one goes on.
fn calls(t: &Telemetry, cursor: Option<String>) -> u64 {
    let (mut sum, mut cursor) = (0, cursor);
    loop {
        let page = t.calls().query(&CallFilter::default(), 1000, cursor.as_deref()).unwrap();
        sum += page.items.len() as u64;
        cursor = page.next;
        if cursor.is_none() {
            return sum;
        }
    }
}

/// Waits until something holds, for at most a minute.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Makes calls that ended a moment ago: none in a minute that is still to come.
fn made(keys: u64, models: bool) -> Generator {
    Generator::new(keys, models, 1).starting(Timestamp::from(SystemTime::now()).micros() - 1_000_000)
}

fn the_segment(dir: &Path) -> std::path::PathBuf {
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    all.retain(|p| p.extension().is_some_and(|e| e == "db"));
    all.pop().unwrap()
}

#[test]
fn a_blocked_writer_blocks_nobody_and_every_drop_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(RecorderSettings { queue_batches: 4, ..settings(dir.path()) }).unwrap();
    let (sender, telemetry, mut make) = (recorder.sender(), recorder.telemetry(), Generator::new(5, false, 1));
    sender.send(make.batch(1, 0));
    assert!(recorder.flush());
    // Someone else holds the segment's write lock: the recorder waits for it, the senders do not.
    let other = rusqlite::Connection::open(the_segment(dir.path())).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for i in 0..100 {
        sender.send(make.batch(10, i));
        std::thread::sleep(Duration::from_millis(1));
    }
    // A sender that waited for room would drop nothing.
    let dropped = telemetry.status().dropped;
    assert!(dropped > 0 && dropped.is_multiple_of(10), "{dropped}");
    assert!(telemetry.networks_lost_at().is_some(), "from where keys were used is not all known");
    other.execute_batch("ROLLBACK").unwrap();
    eventually("written again", || recorder.flush());
    let status = telemetry.status();
    assert_eq!(status.rows + status.dropped, 1001, "{status:?}");
    assert!(telemetry.metrics().render().contains(&format!("call_log_dropped_total {}", status.dropped)));
    let counted = telemetry.last_use().take_deltas().keys.iter().map(|k| k.count).sum::<u64>();
    assert_eq!(counted, status.rows, "what was written is what was counted");
}

#[test]
fn a_removed_directory_is_noticed_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("calls");
    // Written when asked only, and in a minute that does not end meanwhile.
    let seldom = RecorderSettings { write_every: Duration::from_secs(600), ..settings(&path) };
    let recorder = Recorder::start(seldom).unwrap();
    let in_an_hour = Timestamp::from(SystemTime::now()).micros() + 3_600_000_000;
    let (telemetry, mut make) = (recorder.telemetry(), Generator::new(5, false, 1).starting(in_an_hour));
    recorder.sender().send(make.batch(3, 0));
    assert!(recorder.flush());
    fs::remove_dir_all(&path).unwrap();
    recorder.sender().send(make.batch(4, 0));
    assert!(!recorder.flush(), "rows in a removed file are not on disk");
    let status = telemetry.status();
    assert_eq!((status.write_errors, status.waiting), (1, 4));
    assert!(status.last_error.unwrap().contains("removed"));
    assert!(recorder.flush(), "a new directory and segment");
    assert_eq!(calls(&telemetry, None), 4);
    assert_eq!(telemetry.status().last_error, None);
}

#[test]
fn a_disk_that_cannot_be_written_costs_bounded_memory_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the directory should be fails for every user, root too.
    let path = dir.path().join("calls");
    fs::write(&path, "in the way").unwrap();
    let recorder = Recorder::start(RecorderSettings { waiting_records: 100, ..settings(&path) }).unwrap();
    let (telemetry, mut make) = (recorder.telemetry(), made(5, false));
    for i in 0..20 {
        recorder.sender().send(make.batch(10, i));
        assert!(!recorder.flush());
    }
    let status = telemetry.status();
    assert_eq!((status.waiting, status.dropped, status.rows), (100, 100, 0), "{status:?}");
    assert!(status.write_errors >= 10);
    assert_eq!(requests(&telemetry), 200, "figures do not depend on the disk");
    fs::remove_file(&path).unwrap();
    eventually("written again", || recorder.flush());
    assert_eq!(telemetry.status().rows, 100);
}

#[test]
fn a_restart_keeps_calls_and_figures_also_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(settings(dir.path())).unwrap();
    let mut make = made(5, true);
    recorder.sender().send(make.batch(500, 0));
    assert!(recorder.flush());
    // A crash now: the files as they are, with no minute stored yet.
    let crashed = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), crashed.path().join(entry.file_name())).unwrap();
    }
    recorder.sender().send(make.batch(300, 0));
    let before = recorder.telemetry();
    recorder.shutdown();
    let hour = |t: &Telemetry| t.stats(Duration::from_secs(3600), Timestamp::from(SystemTime::now())).total;
    assert_eq!(hour(&before).requests, 800);
    for (dir, expect) in [(dir.path(), 800), (crashed.path(), 500)] {
        let again = Recorder::start(settings(dir)).unwrap();
        let telemetry = again.telemetry();
        eventually("the figures are back", || requests(&telemetry) == expect);
        assert_eq!(calls(&telemetry, None), expect);
        again.sender().send(make.batch(7, 0));
        assert!(again.flush());
        assert_eq!(requests(&telemetry), expect + 7);
        let newest = telemetry.calls().query(&CallFilter::default(), 1, None).unwrap();
        assert_eq!(calls(&telemetry, newest.next), expect + 6);
        again.shutdown();
        // A second restart counts nothing twice.
        let third = Recorder::start(settings(dir)).unwrap();
        let telemetry = third.telemetry();
        // Its threads end when everything earlier is read, segment by segment.
        third.shutdown();
        assert_eq!(requests(&telemetry), expect + 7);
    }
    let spend = hour(&before);
    assert!(spend.tokens_in == 800 * 900 && spend.usd != "0", "{spend:?}");
}

#[test]
fn two_processes_may_share_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Recorder::start(settings(dir.path())).unwrap(), Recorder::start(settings(dir.path())).unwrap());
    let mut make = Generator::new(5, false, 1);
    for i in 0..10 {
        old.sender().send(make.batch(10, i));
        new.sender().send(make.batch(10, i));
        assert!(old.flush() && new.flush());
    }
    old.shutdown();
    new.sender().send(make.batch(10, 0));
    assert!(new.flush());
    assert_eq!(calls(&new.telemetry(), None), 210);
}
