//! What model calls cost, added up by quarter of an hour and by who called what: the call log read once, in pieces.
//!
//! A piece is of one segment, whose rows never change: whoever keeps the sums keeps with them how many rows they are of,
//! and so adds up every call exactly once, whatever crashes in between. Costs are added up as budgets are charged
//! ([`pico`]), so that both sums are one.

use super::{
    CallFilter, CallLog, CallLogError,
    query::{Reader, usd_of},
    segment, summary,
};
use credentialflow_model::{
    KeyId, OutcomeReason, Timestamp,
    resource::budget::pico,
    usage::{CacheUse, charges},
};
use rusqlite::{Row, types::ValueRef};
use rust_decimal::Decimal;
use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::{Duration, Instant},
};

/// What calls are told apart by in time: in every time zone a day begins with one of these.
pub const QUARTER: i64 = 900;
/// Model calls of one piece at most.
const PIECE: i64 = 50_000;
/// Rows of one piece at most, of which all may be other calls.
const PIECE_ROWS: i64 = 1_000_000;
/// No call has more tokens; who says so counts wrong, and sums stay far from their ends.
const MOST_TOKENS: i64 = 1_000_000_000_000;

/// Who called what, as far as calls are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpendSeries {
    /// The application that called.
    pub application: Option<Arc<str>>,
    /// The key presented.
    pub key: Option<KeyId>,
    /// The end user that the calls were for.
    pub user: Option<Arc<str>>,
    /// The public name of the model that served.
    pub model: Arc<str>,
    /// The provider.
    pub provider: Arc<str>,
    /// The provider's own model name.
    pub provider_model: Arc<str>,
    /// The credential injected.
    pub credential: Option<Arc<str>>,
    /// The route.
    pub route: Option<Arc<str>>,
    /// The prompt that the calls were made of and its version, as in `sentiment/3`.
    pub prompt: Option<Arc<str>>,
    /// How they ended, by its code.
    pub outcome: &'static str,
}

/// What calls add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpendSums {
    /// Model calls that were recorded, also those that were refused or failed.
    pub calls: i64,
    /// Of these, those whose cost is not known.
    pub unknown: i64,
    /// Of these, those whose cost is an estimate.
    pub estimated: i64,
    /// Tokens read by the models.
    pub input: i64,
    /// Of those, read from prompt caches.
    pub cached_input: i64,
    /// Of the input, written into prompt caches.
    pub cache_write: i64,
    /// Tokens written by the models.
    pub output: i64,
    /// Of those, spent on reasoning.
    pub reasoning: i64,
    /// Calls that caches of models answered.
    pub cached: i64,
    /// What the calls cost, in units of 10^-12 US dollars.
    pub cost: i128,
    /// What caches saved, in the same units.
    pub saved: i128,
}

impl SpendSums {
    /// All but the amounts, in the order of the fields.
    pub const fn counts(&self) -> [i64; 9] {
        let Self { calls, unknown, estimated, input, cached_input, cache_write, output, reasoning, cached, .. } = *self;
        [calls, unknown, estimated, input, cached_input, cache_write, output, reasoning, cached]
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        let sum = |a: &mut i64, b: i64| *a = a.saturating_add(b);
        sum(&mut self.calls, other.calls);
        sum(&mut self.unknown, other.unknown);
        sum(&mut self.estimated, other.estimated);
        sum(&mut self.input, other.input);
        sum(&mut self.cached_input, other.cached_input);
        sum(&mut self.cache_write, other.cache_write);
        sum(&mut self.output, other.output);
        sum(&mut self.reasoning, other.reasoning);
        sum(&mut self.cached, other.cached);
        self.cost = self.cost.saturating_add(other.cost);
        self.saved = self.saved.saturating_add(other.saved);
    }
}

/// The sums of some rows of a segment.
#[derive(Debug, Default)]
pub struct SpendPiece {
    /// Up to which row, that one as well.
    pub last: i64,
    /// By the beginning of a quarter of an hour, in seconds since 1970, and by who called what.
    pub sums: BTreeMap<(i64, SpendSeries), SpendSums>,
    /// Whether the segment has more rows already.
    pub more: bool,
    /// Whether it gets no further ones.
    pub sealed: bool,
}

impl CallLog {
    /// The names of the log's segments, oldest first.
    pub fn segment_names(&self) -> Result<Vec<String>, CallLogError> {
        Ok(self.segments()?.iter().map(|name| name.id().to_owned()).collect())
    }

    /// What the model calls of a segment cost that stand above a row. `None`: the segment is gone.
    pub fn spend_above(&self, segment: &str, above: i64) -> Result<Option<SpendPiece>, CallLogError> {
        let Some(name) = self.segments()?.into_iter().find(|name| name.id() == segment) else { return Ok(None) };
        // Looked at first: what is sealed while it is read may have got rows before. And once it can be read: one that is
        // being made has nothing beside it yet, and is complete by then.
        let sealed = segment::is_sealed(&self.dir, &name);
        let Some(reader) = Reader::open(&self.dir, &name)? else { return Ok(None) };
        let sealed = sealed && segment::is_sealed(&self.dir, &name);
        Ok(Some(SpendPiece { sealed, ..reader.spend_above(above)? }))
    }

    /// What all model calls cost that began in a window of time, added up call by call from the log itself, and whether
    /// that was all: it is cut short when the time is up.
    pub fn spend_between(
        &self,
        from: Timestamp,
        to: Timestamp,
        longest: Duration,
    ) -> Result<(SpendSums, bool), CallLogError> {
        let (filter, deadline) =
            (CallFilter { since: Some(from), until: Some(to), ..CallFilter::default() }, Instant::now() + longest);
        let mut sums = SpendSums::default();
        for name in self.segments()? {
            let Some(reader) = Reader::open(&self.dir, &name)? else { continue };
            for (first, last) in reader.candidates(&summary::needed(&filter), &filter, 1, reader.last_row()?)? {
                reader.each_model_call((first, last), i64::MAX, |time, _, call| {
                    if (from..to).contains(&Timestamp::from_micros(time)) {
                        sums.add(&call);
                    }
                    Ok(())
                })?;
                if Instant::now() > deadline {
                    return Ok((sums, false));
                }
            }
        }
        Ok((sums, true))
    }

    /// What the calls of all writers say that they were charged to these windows of budgets, as calls name them, in units
    /// of 10^-12 US dollars: of blocks with a call that began at this moment or later. And whether that was all: it is cut
    /// short when the time is up.
    pub fn charged_to(
        &self,
        windows: &HashSet<String>,
        since: Timestamp,
        longest: Duration,
    ) -> Result<(HashMap<String, i128>, bool), CallLogError> {
        let (filter, deadline) = (CallFilter { since: Some(since), ..CallFilter::default() }, Instant::now() + longest);
        let mut sums = HashMap::<String, i128>::new();
        for name in self.segments()? {
            let Some(reader) = Reader::open(&self.dir, &name)? else { continue };
            for (first, last) in reader.candidates(&[], &filter, 1, reader.last_row()?)? {
                let mut read = HashMap::new();
                reader.charges_in(first - 1, last, &mut read)?;
                for (named, amount) in &read {
                    for (window, share) in charges(named, *amount).filter(|(window, _)| windows.contains(*window)) {
                        match sums.get_mut(window) {
                            Some(sum) => *sum += i128::from(share),
                            None => drop(sums.insert(window.to_owned(), share.into())),
                        }
                    }
                }
                if Instant::now() > deadline {
                    return Ok((sums, false));
                }
            }
        }
        Ok((sums, true))
    }
}

const COLUMNS: &str = "row, time, application, key, end_user, model, provider, provider_model, credential, route, \
    input, cached_input, cache_write, output, reasoning, cost, cache, saved, prompt, outcome";

impl Reader {
    fn spend_above(&self, above: i64) -> Result<SpendPiece, CallLogError> {
        let end = self.last_row()?;
        let mut piece = SpendPiece { last: end.min(above.saturating_add(PIECE_ROWS)), ..SpendPiece::default() };
        let (mut calls, mut reached) = (0, above);
        // Most calls are of few series: those are told apart by the numbers in their rows before anything is made of them.
        let mut by_numbers: HashMap<(i64, [i64; NUMBERS.len()]), (SpendSeries, SpendSums)> = HashMap::new();
        self.each_model_call((above.saturating_add(1), piece.last), PIECE, |time, row, sums| {
            let quarter = time.div_euclid(QUARTER * 1_000_000) * QUARTER;
            match numbers(row)? {
                Some(numbers) => match by_numbers.entry((quarter, numbers)) {
                    Entry::Occupied(known) => known.into_mut().1.add(&sums),
                    Entry::Vacant(new) => {
                        new.insert((self.series(row)?, sums));
                    }
                },
                None => piece.sums.entry((quarter, self.series(row)?)).or_default().add(&sums),
            }
            (calls, reached) = (calls + 1, row.get(0)?);
            Ok(())
        })?;
        for ((quarter, _), (series, sums)) in by_numbers {
            piece.sums.entry((quarter, series)).or_default().add(&sums);
        }
        if calls >= PIECE {
            piece.last = reached;
        }
        piece.last = piece.last.max(above);
        piece.more = piece.last < end;
        Ok(piece)
    }

    /// The first model calls of a range of rows, each with when it began.
    fn each_model_call(
        &self,
        (first, last): (i64, i64),
        most: i64,
        mut see: impl FnMut(i64, &Row<'_>, SpendSums) -> Result<(), CallLogError>,
    ) -> Result<(), CallLogError> {
        let sql =
            format!("SELECT {COLUMNS} FROM calls WHERE row BETWEEN ? AND ? AND model IS NOT NULL ORDER BY row LIMIT ?");
        let mut stmt = self.connection().prepare_cached(&sql)?;
        let mut rows = stmt.query([first, last, most])?;
        while let Some(row) = rows.next()? {
            see(row.get(1)?, row, sums_of(row)?)?;
        }
        Ok(())
    }

    fn series(&self, row: &Row<'_>) -> Result<SpendSeries, CallLogError> {
        let name = |at: usize| -> Result<Option<Arc<str>>, CallLogError> { self.shared(row.get_ref(at)?) };
        let text = |at: usize| -> Result<Arc<str>, CallLogError> { Ok(name(at)?.unwrap_or_default()) };
        Ok(SpendSeries {
            application: name(2)?,
            key: row.get::<_, Option<i64>>(3)?.map(|bits| KeyId::from_bits(bits as u64)),
            user: name(4)?,
            model: text(5)?,
            provider: text(6)?,
            provider_model: text(7)?,
            credential: name(8)?,
            route: name(9)?,
            prompt: name(18)?,
            outcome: OutcomeReason::from_number(row.get(19)?).unwrap_or(OutcomeReason::Internal).code(),
        })
    }
}

/// The columns that tell a series apart.
const NUMBERS: [usize; 10] = [2, 3, 4, 5, 6, 7, 8, 9, 18, 19];

/// What is in them, where all are numbers or nothing, which is told by -1.
fn numbers(row: &Row<'_>) -> Result<Option<[i64; NUMBERS.len()]>, CallLogError> {
    let mut numbers = [0; NUMBERS.len()];
    for (number, at) in numbers.iter_mut().zip(NUMBERS) {
        *number = match row.get_ref(at)? {
            ValueRef::Integer(number) if number != -1 => number,
            ValueRef::Null => -1,
            _ => return Ok(None),
        };
    }
    Ok(Some(numbers))
}

fn sums_of(row: &Row<'_>) -> Result<SpendSums, CallLogError> {
    let tokens = |at: usize| -> Result<i64, CallLogError> {
        Ok(row.get::<_, Option<i64>>(at)?.unwrap_or(0).clamp(0, MOST_TOKENS))
    };
    let cost = row.get_ref(15)?;
    let is = |begin: u8| i64::from(matches!(cost, ValueRef::Text([first, ..]) if *first == begin));
    let units = |usd: ValueRef<'_>| {
        let usd = match usd {
            ValueRef::Integer(nano) => Some(Decimal::new(nano, 9)),
            other => usd_of(other).and_then(|usd| usd.parse().ok()),
        };
        usd.map_or(0, |usd| i128::from(pico(usd)))
    };
    let cache = row.get::<_, Option<i64>>(16)?.and_then(CacheUse::from_number);
    Ok(SpendSums {
        calls: 1,
        unknown: is(b'?'),
        estimated: is(b'~'),
        input: tokens(10)?,
        cached_input: tokens(11)?,
        cache_write: tokens(12)?,
        output: tokens(13)?,
        reasoning: tokens(14)?,
        cached: i64::from(cache.is_some_and(CacheUse::answered)),
        cost: units(cost),
        saved: units(row.get_ref(17)?),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        Recorder, RecorderSettings,
        testing::{NOON, model, plain, untold},
    };
    use credentialflow_model::{UsageRecord, usage::Cost};
    use proptest::prelude::*;

    fn recorded(dir: &std::path::Path, records: Vec<UsageRecord>) -> CallLog {
        let settings = RecorderSettings { retention_days: 100_000, ..RecorderSettings::new(dir) };
        let recorder = Recorder::start(settings).unwrap();
        recorder.sender().send(records);
        assert!(recorder.flush());
        let log = recorder.telemetry().calls().clone();
        recorder.shutdown();
        log
    }

    fn known(n: u64, usd: &str) -> UsageRecord {
        model(n, Some(Cost::Known(usd.parse().unwrap())))
    }

    /// All pieces of all segments.
    fn all(log: &CallLog) -> BTreeMap<(i64, SpendSeries), SpendSums> {
        let mut sums = BTreeMap::<_, SpendSums>::new();
        for segment in log.segment_names().unwrap() {
            let mut above = 0;
            loop {
                let piece = log.spend_above(&segment, above).unwrap().unwrap();
                piece.sums.into_iter().for_each(|(key, more)| sums.entry(key).or_default().add(&more));
                above = piece.last;
                if !piece.more {
                    break;
                }
            }
        }
        sums
    }

    #[test]
    fn calls_are_added_up_by_who_called_what_and_when() {
        let dir = tempfile::tempdir().unwrap();
        let quarter = QUARTER as u64 * 1_000_000;
        let mut ada = known(2, "0.5");
        ada.model.as_mut().unwrap().user = Some("ada".into());
        let mut estimated = known(3, "0");
        estimated.model.as_mut().unwrap().cost = Some(Cost::Estimated("0.0000000000015".parse().unwrap()));
        let mut hit = known(7, "0");
        let used = hit.model.as_mut().unwrap();
        (used.tokens, used.cache, used.saved) = (None, Some(CacheUse::Hit), Some("0.25".parse().unwrap()));
        let mut missed = known(quarter + 2, "0");
        missed.model.as_mut().unwrap().tokens = None;
        missed.model.as_mut().unwrap().cache = Some(CacheUse::Miss);
        let records = vec![
            hit,
            missed,
            known(1, "0.000000001"),
            ada,
            estimated,
            untold(4),
            plain(5),
            model(6, None),
            known(quarter + 1, "2"),
        ];
        let log = recorded(dir.path(), records);
        let sums = all(&log);
        let found: Vec<_> = sums.iter().map(|((at, series), sums)| (*at, series.user.as_deref(), *sums)).collect();
        let noon = NOON / 1_000_000;
        assert_eq!(noon % QUARTER, 0, "noon begins a quarter");
        let tokens = |n: i64| SpendSums {
            input: 100 * n,
            cached_input: 20 * n,
            cache_write: 30 * n,
            output: 50 * n,
            reasoning: 5 * n,
            ..SpendSums::default()
        };
        let expect = [
            // Of a nanodollar, of one and a half units which count as two, of no count, and of nothing served.
            (
                noon,
                None,
                SpendSums {
                    calls: 5,
                    unknown: 1,
                    estimated: 1,
                    cached: 1,
                    cost: 1002,
                    saved: 250_000_000_000,
                    ..tokens(2)
                },
            ),
            (noon, Some("ada"), SpendSums { calls: 1, cost: 500_000_000_000, ..tokens(1) }),
            (noon + QUARTER, None, SpendSums { calls: 2, cost: 2_000_000_000_000, ..tokens(1) }),
        ];
        assert_eq!(found, expect);
        let series = &sums.keys().next().unwrap().1;
        assert_eq!((series.application.as_deref(), series.key), (Some("checkout"), Some(KeyId::from_bits(77))));
        assert_eq!(
            (&*series.model, &*series.provider, &*series.provider_model),
            ("chat-default", "openai", "gpt-5-mini")
        );
        assert_eq!((series.credential.as_deref(), series.route.as_deref()), (Some("orders-token"), Some("orders")));

        let at = |secs: i64| Timestamp::from_secs(secs);
        let long = Duration::from_secs(60);
        let (first, complete) = log.spend_between(at(noon), at(noon + QUARTER), long).unwrap();
        assert_eq!((first.calls, first.cost, complete), (6, 500_000_001_002, true));
        assert_eq!(
            log.spend_between(at(noon + QUARTER), at(noon + 2 * QUARTER), long).unwrap().0.cost,
            2_000_000_000_000
        );
        assert_eq!(log.spend_between(at(0), at(noon), long).unwrap().0, SpendSums::default());
        assert!(log.spend_above("20200101-00-0", 0).unwrap().is_none(), "a segment that is gone");
    }

    #[test]
    fn pieces_follow_one_another_and_nothing_counts_twice() {
        let dir = tempfile::tempdir().unwrap();
        let log = recorded(dir.path(), vec![known(1, "1"), plain(2), known(3, "2"), plain(4)]);
        let segment = log.segment_names().unwrap().pop().unwrap();
        let of = |above: i64| {
            let piece = log.spend_above(&segment, above).unwrap().unwrap();
            (piece.sums.values().map(|sums| sums.cost / 1_000_000_000_000).sum::<i128>(), piece.last, piece.more)
        };
        assert_eq!(
            [of(0), of(1), of(2), of(3), of(4)],
            [(3, 4, false), (2, 4, false), (2, 4, false), (0, 4, false), (0, 4, false)]
        );
        assert_eq!(of(9), (0, 9, false), "a place beyond its end stays");
        assert!(log.spend_above(&segment, 0).unwrap().unwrap().sealed, "its writer has ended");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// However calls are grouped, the sums are those of the calls, to the last unit.
        #[test]
        fn the_sum_over_any_grouping_is_the_sum_of_the_calls(
            calls in proptest::collection::vec((0u64..4_000_000_000, 0u8..4, 0u64..10_000_000_000_000_000, 0u32..16), 1..60)
        ) {
            let dir = tempfile::tempdir().unwrap();
            let records: Vec<UsageRecord> = calls.iter().map(|(time, user, units, scale)| {
                let cost = Decimal::from_i128_with_scale(i128::from(*units), 9 + scale);
                let mut record = model(*time, Some(Cost::Known(cost)));
                record.model.as_mut().unwrap().user = (*user > 0).then(|| format!("user {user}").into());
                record
            }).collect();
            let expect: i128 = records.iter().map(|r| match r.model.as_ref().unwrap().cost {
                Some(Cost::Known(usd)) => i128::from(pico(usd)),
                _ => 0,
            }).sum();
            let log = recorded(dir.path(), records);
            let sums = all(&log);
            prop_assert_eq!(sums.values().map(|s| s.cost).sum::<i128>(), expect);
            prop_assert_eq!(sums.values().map(|s| s.calls).sum::<i64>(), calls.len() as i64);
            let (walked, complete) = log
                .spend_between(Timestamp::from_micros(0), Timestamp::from_micros(i64::MAX), Duration::from_secs(60))
                .unwrap();
            prop_assert_eq!((walked.cost, complete), (expect, true));
            let mut by_user = BTreeMap::<_, i128>::new();
            sums.iter().for_each(|((_, series), s)| *by_user.entry(series.user.clone()).or_default() += s.cost);
            prop_assert_eq!(by_user.values().sum::<i128>(), expect);
        }
    }
}
