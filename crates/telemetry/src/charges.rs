//! What model calls cost, for the budgets that pay: told once a call is in the call log, never before.
//!
//! So whoever adds it up has charged what the log says: a process that ends without a word left a log that tells what it
//! charged and what it did not ([`CallLog::charges_between`](crate::CallLog::charges_between)). Calls that found no place in
//! the log are told apart.

use crate::journal::Kept;
use credentialflow_model::{
    UsageRecord,
    resource::budget::pico,
    usage::{self, Cost},
};
use std::{collections::HashMap, fmt, sync::Arc};

/// Sums in units of 10^-12 US dollars, by the windows of budgets as records name them.
pub type Charges = Vec<(Arc<str>, i64)>;

/// Hears what calls cost. Called on threads that must not wait.
pub trait ChargeListener: Send + Sync {
    /// These are in the call log; `place` is where it stands now.
    fn logged(&self, charges: Charges, place: String);
    /// The call log has no room for these, or cannot be written.
    fn unlogged(&self, charges: Charges);
}

/// Nobody, or somebody who hears.
#[derive(Clone, Default)]
pub(crate) struct Listener(pub Option<Arc<dyn ChargeListener>>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "a listener" } else { "nobody" })
    }
}

impl Listener {
    pub fn logged<'a>(&self, records: impl Iterator<Item = &'a UsageRecord>, place: impl FnOnce() -> Option<String>) {
        let Some(listener) = &self.0 else { return };
        let charges = sum(records);
        if !charges.is_empty()
            && let Some(place) = place()
        {
            listener.logged(charges, place);
        }
    }

    /// Of these records those that a journal keeps are marked there, so that nobody charges them again.
    pub fn unlogged<'a>(&self, records: impl Iterator<Item = &'a UsageRecord>, kept: &[Kept]) {
        kept.iter().for_each(Kept::mark_charged);
        let Some(listener) = &self.0 else { return };
        let charges = sum(records);
        if !charges.is_empty() {
            listener.unlogged(charges);
        }
    }
}

fn sum<'a>(records: impl Iterator<Item = &'a UsageRecord>) -> Charges {
    let mut sums: HashMap<&Arc<str>, i64> = HashMap::new();
    // Of calls that several providers were tried for: each window by itself.
    let mut shares: HashMap<&str, i64> = HashMap::new();
    for model in records.filter_map(|record| record.model.as_deref()) {
        if let (Some(budgets), Some(Cost::Known(usd) | Cost::Estimated(usd))) = (&model.budgets, model.cost) {
            if budgets.contains('=') {
                for (window, share) in usage::charges(budgets, pico(usd)) {
                    let sum = shares.entry(window).or_default();
                    *sum = sum.saturating_add(share);
                }
                continue;
            }
            let sum = sums.entry(budgets).or_default();
            *sum = sum.saturating_add(pico(usd));
        }
    }
    let shares = shares.into_iter().map(|(window, sum)| (window.into(), sum));
    sums.into_iter().map(|(budgets, sum)| (budgets.clone(), sum)).chain(shares).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{CallLog, Recorder, RecorderSettings, calllog::writer::Writer, testing};
    use std::sync::Mutex;

    /// What is logged, what is not, and where the log stood.
    type Told = (Vec<(String, i64)>, Vec<(String, i64)>, Option<String>);

    #[derive(Default)]
    struct Heard(Mutex<Told>);

    impl ChargeListener for Heard {
        fn logged(&self, charges: Charges, place: String) {
            let mut heard = self.0.lock().unwrap();
            heard.0.extend(charges.into_iter().map(|(budgets, sum)| (budgets.to_string(), sum)));
            heard.2 = Some(place);
        }
        fn unlogged(&self, charges: Charges) {
            self.0.lock().unwrap().1.extend(charges.into_iter().map(|(budgets, sum)| (budgets.to_string(), sum)));
        }
    }

    fn charged(n: u64, budgets: &str, cost: Cost) -> UsageRecord {
        let mut record = testing::model(n, Some(cost));
        record.model.as_mut().unwrap().budgets = Some(budgets.into());
        record
    }

    fn records() -> Vec<UsageRecord> {
        let usd = |text: &str| text.parse().unwrap();
        vec![
            charged(1, "a@1", Cost::Known(usd("0.000000001"))),
            charged(2, "a@1", Cost::Estimated(usd("0.0000000000015"))),
            charged(3, "a@1 t@1", Cost::Known(usd("2"))),
            charged(4, "a@1", Cost::UnknownPrice),
            charged(7, "s@1=0 t@1 p@1=5 q@1=7", Cost::Known(usd("0.000000000012"))),
            charged(8, "p@1=5 q@1=7", Cost::Known(usd("0.000000000012"))),
            testing::model(5, Some(Cost::Known(usd("7")))),
            testing::plain(6),
        ]
    }

    #[test]
    fn what_is_in_the_log_is_told_once_and_read_back_from_any_place() {
        let dir = tempfile::tempdir().unwrap();
        let (heard, settings) = (Arc::new(Heard::default()), RecorderSettings::new(dir.path()));
        let settings = RecorderSettings { retention_days: 100_000, ..settings };
        let log = CallLog::new(dir.path());
        let start = log.end().unwrap();
        let recorder = Recorder::start_with(settings, Some(heard.clone())).unwrap();
        recorder.sender().send(records());
        assert!(recorder.flush());
        // Each cost is rounded up by itself: 1000 and 1.5 units of 10^-12 dollars.
        let expect = [
            ("a@1", 1002),
            ("a@1 t@1", 2_000_000_000_000),
            // Providers that were tried, each with its share.
            ("p@1", 10),
            ("q@1", 14),
            ("s@1", 0),
            ("t@1", 12),
        ];
        let expect = expect.map(|(windows, sum)| (windows.to_owned(), sum));
        let (mut logged, unlogged, place) = std::mem::take(&mut *heard.0.lock().unwrap());
        logged.sort();
        assert_eq!((logged.as_slice(), unlogged.len()), (&expect[..], 0));
        let writer = recorder.telemetry().writer();
        let read = |place: &str, up_to: Option<&str>, writer| {
            let mut sums: Vec<_> = log.charges_between(place, up_to, writer).unwrap().into_iter().collect();
            sums.sort();
            sums
        };
        let place = place.unwrap();
        assert_eq!(read(&start, None, writer), expect, "the log tells what was told");
        assert_eq!(read(&start, Some(&place), writer), expect);
        assert_eq!(read(&start, Some(&start), writer), []);
        assert_eq!(read(&place, None, writer), [], "nothing follows");
        assert_eq!(read(&log.end().unwrap(), None, writer), []);
        assert_eq!(read(&start, None, writer.wrapping_add(1)), [], "another process's");
        let windows = ["a@1", "p@1", "gone@1"].map(str::to_owned).into();
        let (since, long) = (credentialflow_model::Timestamp::from_secs(0), std::time::Duration::from_secs(60));
        let (sums, complete) = log.charged_to(&windows, since, long).unwrap();
        let expect = [("a@1".to_owned(), 2_000_000_001_002), ("p@1".to_owned(), 10)];
        assert_eq!((sums, complete), (expect.into(), true), "by window, whichever others a call names");
        recorder.shutdown();
    }

    /// In a container each process has the same id.
    #[test]
    fn two_processes_of_one_id_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let log = CallLog::new(dir.path());
        let start = log.end().unwrap();
        let write = || {
            let settings = RecorderSettings { retention_days: 100_000, ..RecorderSettings::new(dir.path()) };
            let recorder = Recorder::start(settings).unwrap();
            recorder.sender().send(vec![charged(1, "a@1", Cost::Known("1".parse().unwrap()))]);
            assert!(recorder.flush());
            let writer = recorder.telemetry().writer();
            recorder.shutdown();
            writer
        };
        for writer in [write(), write()] {
            let sums = log.charges_between(&start, None, writer).unwrap();
            assert_eq!(sums.into_iter().collect::<Vec<_>>(), [("a@1".to_owned(), 1_000_000_000_000)]);
        }
    }

    #[test]
    fn what_follows_is_told_by_when_it_was_made_and_not_by_its_day() {
        let dir = tempfile::tempdir().unwrap();
        let log = CallLog::new(dir.path());
        let mut names = crate::intern::Interner::new();
        let mut places = vec![log.end().unwrap()];
        let day = 86_400_000_000;
        // A call that began yesterday ends after one of today; then the clock is set back by a month.
        for (n, time) in [(1, day), (2, 0), (3, -30 * day)] {
            let mut writer = Writer::create(dir.path(), testing::NOON + time, 7).unwrap();
            let record = charged(n, "a@1", Cost::Known(n.into()));
            writer.write([record].iter(), &[], &mut names).unwrap();
            places.push(writer.place());
        }
        let sum = |from: usize, to: Option<usize>| {
            let sums = log.charges_between(&places[from], to.map(|to| places[to].as_str()), 7).unwrap();
            sums.into_values().sum::<i64>() / 1_000_000_000_000
        };
        for from in 0..4 {
            let after = (from as i64 + 1..=3).sum::<i64>();
            assert_eq!(sum(from, None), after, "after the place {from}");
            for to in from..4 {
                assert_eq!(sum(from, Some(to)), (from as i64 + 1..=to as i64).sum::<i64>(), "from {from} to {to}");
            }
        }
        assert_eq!(log.charges_between(&log.end().unwrap(), None, 7).unwrap().len(), 0);
    }

    #[test]
    fn what_finds_no_place_in_the_log_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let heard = Arc::new(Heard::default());
        let settings = RecorderSettings { waiting_records: 2, ..RecorderSettings::new(dir.path()) };
        let recorder = Recorder::start_with(settings, Some(heard.clone())).unwrap();
        recorder.sender().send(records());
        recorder.flush();
        let (logged, unlogged, _) = std::mem::take(&mut *heard.0.lock().unwrap());
        assert_eq!((logged.len(), unlogged.len()), (0, 6), "eight do not fit where two may wait");
        let sender = recorder.sender();
        recorder.shutdown();
        sender.send(records());
        assert_eq!(heard.0.lock().unwrap().1.len(), 6, "there is nobody any more who writes");
    }
}
