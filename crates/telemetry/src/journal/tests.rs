#![allow(clippy::unwrap_used)]
use super::*;
use crate::{CallFilter, ChargeListener, Charges, Recorder, RecorderSettings, testing};
use credentialflow_model::{
    OutcomeReason,
    usage::{CacheUse, Cost, CredentialUse, TokenUsage, Tried, TriedEnd},
};

fn call(n: u64) -> UsageRecord {
    let mut record = testing::model(n, Some(Cost::Known("0.000125".parse().unwrap())));
    record.model.as_mut().unwrap().budgets = Some("a@1".into());
    record
}

fn journals(dir: &Path) -> Journals {
    Journals::new(dir.to_owned(), 7)
}

fn read(dir: &Path) -> Vec<UsageRecord> {
    let mut bytes = Vec::new();
    File::open(dir.join("7-0.journal")).unwrap().read_to_end(&mut bytes).unwrap();
    records(&bytes)
}

fn logged(dir: &Path) -> Vec<crate::CallRow> {
    CallLog::new(dir).query(&CallFilter::default(), 1000, None).unwrap().items
}

fn settings(dir: &Path) -> RecorderSettings {
    RecorderSettings { retention_days: 100_000, ..RecorderSettings::new(dir) }
}

#[test]
fn all_of_a_record_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut full = call(1);
    let used = |version| Some(CredentialUse { credential: "key".into(), version });
    let tried = |end| Tried { provider: "a".into(), provider_model: "b".into(), credential: used(2), end };
    let model = full.model.as_mut().unwrap();
    model.tokens =
        Some(TokenUsage { input: 1, cached_input: 2, cache_write: 3, cache_write_1h: 4, output: 5, reasoning: 6 });
    model.tried = [
        TriedEnd::Status(503),
        TriedEnd::StreamError,
        TriedEnd::Outcome(OutcomeReason::UpstreamTimeout),
        TriedEnd::Overtaken,
    ]
    .map(tried)
    .into();
    (model.guardrails, model.user, model.asked) =
        (Some("secrets/redact".into()), Some("u".into()), Some("other".into()));
    (model.prompt, model.cache, model.saved) = (Some("p/3".into()), Some(CacheUse::Hit), Some("1.5".parse().unwrap()));
    let all = [full, testing::plain(2), testing::bare(3)].into_iter().chain(
        [Cost::Estimated("7".parse().unwrap()), Cost::UnknownPrice, Cost::UnknownUsage]
            .map(|cost| testing::model(4, Some(cost))),
    );
    let all: Vec<UsageRecord> = all.collect();
    let mut journal = journals(dir.path()).create().unwrap();
    all.iter().for_each(|record| drop(journal.keep(record).unwrap()));
    assert_eq!(format!("{:?}", read(dir.path())), format!("{all:?}"));
}

#[test]
fn pages_that_are_held_stay_and_others_are_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journals(dir.path()).create().unwrap();
    let held: Vec<Kept> = std::iter::from_fn({
        let (journal, mut n) = (&mut journal, 0);
        move || {
            n += 1;
            journal.keep(&call(n))
        }
    })
    .take(1_000_000)
    .collect();
    assert!(journal.keep(&call(1)).is_none(), "all pages are held");
    assert_eq!(read(dir.path()).len(), held.len());
    assert!(std::fs::metadata(dir.path().join("7-0.journal")).unwrap().len() <= (TABLE + PAGE * PAGES) as u64);
    let first = held[0].clone();
    drop(held);
    let again: Vec<Kept> = (0..10_000_000).map_while(|n| journal.keep(&call(n))).take(20_000).collect();
    assert!(again.iter().all(|kept| !Arc::ptr_eq(&kept.page, &first.page)), "the page that is still held");
    let found = read(dir.path());
    assert!(found.iter().any(|record| record.request_id == call(1).request_id));
}

#[test]
fn a_torn_entry_ends_its_page() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journals(dir.path()).create().unwrap();
    let _held: Vec<_> = (1..=3).map(|n| journal.keep(&call(n)).unwrap()).collect();
    let path = dir.path().join("7-0.journal");
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        let found = records(&whole[..cut]);
        assert!(found.len() < 3 && found.iter().zip(1..).all(|(record, n)| record.request_id == call(n).request_id));
    }
    for at in (TABLE..whole.len()).step_by(7) {
        let mut torn = whole.clone();
        torn[at] ^= 0x10;
        let found = records(&torn);
        assert!(found.len() < 3 && found.iter().zip(1..).all(|(record, n)| record.request_id == call(n).request_id));
    }
}

#[test]
fn what_nobody_holds_any_more_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journals(dir.path()).create().unwrap();
    let ids = |dir: &Path| read(dir).iter().map(|record| record.request_id).collect::<Vec<_>>();
    let first = journal.keep(&call(1)).unwrap();
    journal.strike();
    assert_eq!(ids(dir.path()), [call(1).request_id], "it is held");
    drop(first);
    journal.strike();
    assert_eq!(ids(dir.path()), []);
    let _second = journal.keep(&call(2)).unwrap();
    assert_eq!(ids(dir.path()), [call(2).request_id], "nothing of the page's earlier turn");
}

/// The sums of what is charged without the log.
#[derive(Default)]
struct Heard(std::sync::Mutex<Vec<i64>>);

impl ChargeListener for Heard {
    fn logged(&self, _: Charges, _: String) {}
    fn unlogged(&self, charges: Charges) {
        self.0.lock().unwrap().extend(charges.into_iter().map(|(_, sum)| sum));
    }
}

/// Nothing of a process that is killed is dropped, but its locks are gone.
fn kill(recorder: Recorder, journal: Journal, kept: Vec<Kept>) {
    journal.file.unlock().unwrap();
    std::mem::forget((recorder, journal, kept));
}

fn charged(log: &CallLog, start: &str, writer: u32) -> Vec<(String, i64)> {
    log.charges_between(start, None, writer).unwrap().into_iter().filter(|(_, sum)| *sum != 0).collect()
}

#[test]
fn what_a_killed_process_kept_is_logged_once_under_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let start = CallLog::new(dir.path()).end().unwrap();
    let recorder = Recorder::start_with(settings(dir.path()), Some(Arc::<Heard>::default())).unwrap();
    let (sender, writer) = (recorder.sender(), recorder.telemetry().writer());
    let mut journal = sender.journal().unwrap();
    let kept: Vec<Kept> = (1..=3).map(|n| journal.keep(&call(n)).unwrap()).collect();
    sender.send_kept(vec![call(1), call(2)], kept[..2].to_vec());
    assert!(recorder.flush());
    assert_eq!((logged(dir.path()).len(), Arc::strong_count(&kept[0].page)), (2, 4), "what is logged is let go");
    // One that takes over while this one lives leaves its journal alone.
    assert_eq!(recover(recorder.telemetry().calls(), dir.path()).unwrap(), 0);
    journal.strike();
    kill(recorder, journal, kept);

    for _ in 0..2 {
        let next = Recorder::start(settings(dir.path())).unwrap();
        assert_eq!(logged(dir.path()).len(), 3, "the third, and no other twice");
        assert_eq!(charged(next.telemetry().calls(), &start, writer), [("a@1".to_owned(), 3 * 125_000_000)]);
        next.shutdown();
    }
    let left = std::fs::read_dir(dir.path()).unwrap().filter_map(Result::ok);
    assert_eq!(left.filter(|file| file.file_name().to_string_lossy().ends_with(SUFFIX)).count(), 0);
}

#[test]
fn files_of_others_and_broken_ones_stop_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.journal"), "x").unwrap();
    std::fs::write(dir.path().join("9-0.journal"), [0xff; 5000]).unwrap();
    let log = CallLog::new(dir.path());
    assert_eq!(recover(&log, dir.path()).unwrap(), 0);
    // One that cannot be read (a folder) holds up nothing of the others.
    std::fs::create_dir(dir.path().join("8-0.journal")).unwrap();
    let mut journal = journals(dir.path()).create().unwrap();
    std::mem::forget(journal.keep(&call(1)).unwrap());
    journal.file.unlock().unwrap();
    assert_eq!(recover(&log, dir.path()).unwrap(), 1);
    assert!(dir.path().join("notes.journal").exists() && !dir.path().join("9-0.journal").exists());
    assert_eq!(recover(&log, &dir.path().join("none")).unwrap(), 0);
}

#[test]
fn what_is_charged_without_the_log_is_logged_later_and_charged_to_nobody_again() {
    let dir = tempfile::tempdir().unwrap();
    let start = CallLog::new(dir.path()).end().unwrap();
    let heard = Arc::<Heard>::default();
    let settings = RecorderSettings { waiting_records: 1, ..settings(dir.path()) };
    let recorder = Recorder::start_with(settings.clone(), Some(heard.clone())).unwrap();
    let (sender, writer) = (recorder.sender(), recorder.telemetry().writer());
    let mut journal = sender.journal().unwrap();
    let mut kept: Vec<Kept> = (1..=3).map(|n| journal.keep(&call(n)).unwrap()).collect();
    // Two do not fit where one may wait; the third is on its way.
    sender.send_kept(vec![call(1), call(2)], kept.drain(..2).collect());
    assert!(recorder.flush());
    assert_eq!(*heard.0.lock().unwrap(), [2 * 125_000_000]);
    journal.strike();
    kill(recorder, journal, kept);

    let next = Recorder::start(settings).unwrap();
    assert_eq!(logged(dir.path()).len(), 3);
    assert_eq!(charged(next.telemetry().calls(), &start, writer), [("a@1".to_owned(), 125_000_000)], "only the third");
}

#[test]
fn what_an_orderly_end_could_not_log_is_charged_once() {
    let dir = tempfile::tempdir().unwrap();
    let calls = dir.path().join("calls");
    let log = CallLog::new(&calls);
    let heard = Arc::<Heard>::default();
    let recorder = Recorder::start_with(settings(&calls), Some(heard.clone())).unwrap();
    let (sender, writer) = (recorder.sender(), recorder.telemetry().writer());
    let start = log.end().unwrap();
    let mut journal = sender.journal().unwrap();
    let kept = journal.keep(&call(1)).unwrap();
    // Where the log is to be there is something else.
    let away = dir.path().join("away");
    std::fs::rename(&calls, &away).unwrap();
    std::fs::write(&calls, "").unwrap();
    sender.send_kept(vec![call(1)], vec![kept]);
    recorder.shutdown();
    drop(journal);
    assert_eq!(*heard.0.lock().unwrap(), [125_000_000]);
    std::fs::remove_file(&calls).unwrap();
    std::fs::rename(&away, &calls).unwrap();
    assert_eq!(recover(&log, &calls).unwrap(), 1);
    assert_eq!(charged(&log, &start, writer), []);
}

#[test]
fn the_last_word_on_a_call_holds_wherever_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journals(dir.path()).create().unwrap();
    let (mut held, mut n) = (Vec::new(), 10);
    let mut fill = |journal: &mut Journal, held: &mut Vec<Kept>, page: usize| {
        while journal.page != page {
            n += 1;
            held.push(journal.keep(&call(n)).unwrap());
        }
    };
    fill(&mut journal, &mut held, PAGES - 1);
    held.push(journal.keep(&call(1)).unwrap());
    held.retain(|kept| kept.page.at != TABLE as u64);
    fill(&mut journal, &mut held, 0);
    let mut last = call(1);
    last.model.as_mut().unwrap().cost = Some(Cost::Known("7".parse().unwrap()));
    held.push(journal.keep(&last).unwrap());
    let found = read(dir.path());
    let of_it = found.iter().filter(|record| record.request_id == last.request_id);
    let costs: Vec<_> = of_it.map(|record| record.model.as_ref().unwrap().cost).collect();
    assert_eq!(costs, [call(1).model.unwrap().cost, last.model.unwrap().cost]);
}
