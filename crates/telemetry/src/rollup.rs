//! Traffic per minute for the last 24 hours: in total and per route, application and model.
//!
//! The current minutes are added to by the recorder (`Live`); a finished minute becomes a [`Minute`], is written
//! to the call log beside its rows and merged into the ring. After a restart the ring is filled from there.
//! Bounded: a live minute keeps 256 names a dimension, the ring 24; the rest counts under `other`.

use crate::{
    calllog::CallRow,
    histogram::Histogram,
    intern::{Interner, NameId},
    slots::{OTHER, Slots},
    stats::{Stats, StatsFigures, StatsPoint, StatsTop},
};
use credentialflow_model::{Fault, Timestamp, UsageRecord, usage::Cost};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// Minutes kept in memory.
pub(crate) const KEPT_MINUTES: i64 = 24 * 60;
const LIVE_MINUTES: usize = 8;
const LIVE_NAMES: usize = 256;
const RING_NAMES: usize = 24;
const TOP: usize = 10;
const MINUTE_US: i64 = 60_000_000;

/// Sums of some requests; stored, so fields are only ever added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    pub requests: u64,
    /// By [`Fault`]: none, caller, gateway, upstream.
    pub faults: [u64; 4],
    pub classes: [u64; 6],
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// Known cost in 10^-12 US dollars: exact for prices with up to six decimals a million tokens.
    pub cost_pico: i64,
    pub unpriced: u64,
}

/// What one request adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub ended_us: i64,
    pub fault: Fault,
    pub status: u16,
    pub total_us: u64,
    pub ttfb_us: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub cost_pico: i64,
    pub unpriced: bool,
}

impl Sample {
    pub fn of(record: &UsageRecord) -> Self {
        let model = record.model.as_deref();
        let tokens = model.and_then(|m| m.tokens).unwrap_or_default();
        let cost = model.and_then(|m| m.cost);
        Self {
            ended_us: ended_us(record),
            fault: fault(record.outcome.fault(), record.status),
            status: record.status,
            total_us: record.total_us,
            ttfb_us: record.ttfb_us,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            tokens_in: tokens.input,
            tokens_out: tokens.output,
            cost_pico: match cost {
                Some(Cost::Known(usd) | Cost::Estimated(usd)) => pico(usd),
                _ => 0,
            },
            unpriced: matches!(cost, Some(Cost::UnknownPrice | Cost::UnknownUsage)),
        }
    }

    /// What a stored row added.
    pub fn of_row(row: &CallRow) -> Self {
        let model = row.model.as_ref();
        let tokens = model.and_then(|m| m.tokens).unwrap_or_default();
        let usd = model.and_then(|m| m.cost_usd.as_deref()).and_then(|usd| usd.parse().ok());
        Self {
            ended_us: row.time.micros().saturating_add(i64::try_from(row.total_us).unwrap_or(0)),
            fault: fault(row.fault, row.status),
            status: row.status,
            total_us: row.total_us,
            ttfb_us: row.ttfb_us,
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
            tokens_in: tokens.input,
            tokens_out: tokens.output,
            cost_pico: usd.map_or(0, pico),
            unpriced: model.is_some_and(|m| m.cost_unknown),
        }
    }
}

/// When a call ended, in microseconds since 1970.
#[inline]
pub(crate) fn ended_us(record: &UsageRecord) -> i64 {
    record.time.micros().saturating_add(i64::try_from(record.total_us).unwrap_or(0))
}

/// Whose fault a call counts as. An upstream's 5xx that was passed on is served as it came, and still the
/// upstream's error.
#[inline]
fn fault(fault: Fault, status: u16) -> Fault {
    if fault == Fault::None && status_class(status) == 5 { Fault::Upstream } else { fault }
}

/// US dollars as 10^-12 dollars; saturates.
pub(crate) fn pico(usd: Decimal) -> i64 {
    let scaled = usd.checked_mul(Decimal::from(1_000_000_000_000u64)).map(|d| d.round());
    scaled.and_then(|d| d.to_i64()).unwrap_or(if usd.is_sign_negative() { i64::MIN } else { i64::MAX })
}

/// The class of a status: 0 for none, 1 to 5.
#[inline]
pub(crate) fn status_class(status: u16) -> usize {
    match status / 100 {
        class @ 1..=5 => usize::from(class),
        _ => 0,
    }
}

impl Counts {
    #[inline]
    fn add(&mut self, s: &Sample) {
        self.requests += 1;
        self.faults[s.fault as usize] += 1;
        self.classes[status_class(s.status)] += 1;
        self.bytes_in = self.bytes_in.saturating_add(s.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(s.bytes_out);
        self.tokens_in = self.tokens_in.saturating_add(s.tokens_in);
        self.tokens_out = self.tokens_out.saturating_add(s.tokens_out);
        self.cost_pico = self.cost_pico.saturating_add(s.cost_pico);
        self.unpriced += u64::from(s.unpriced);
    }

    fn merge(&mut self, o: &Self) {
        self.requests += o.requests;
        self.faults.iter_mut().zip(o.faults).for_each(|(a, b)| *a += b);
        self.classes.iter_mut().zip(o.classes).for_each(|(a, b)| *a += b);
        self.bytes_in = self.bytes_in.saturating_add(o.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(o.bytes_out);
        self.tokens_in = self.tokens_in.saturating_add(o.tokens_in);
        self.tokens_out = self.tokens_out.saturating_add(o.tokens_out);
        self.cost_pico = self.cost_pico.saturating_add(o.cost_pico);
        self.unpriced += o.unpriced;
    }
}

/// Counts with their durations, ready to be added to.
#[derive(Clone, Debug, Default)]
struct Figures {
    counts: Counts,
    latency: Histogram,
    ttfb: Histogram,
}

impl Figures {
    #[inline]
    fn add(&mut self, s: &Sample) {
        self.counts.add(s);
        self.latency.add(s.total_us);
        self.ttfb.add(s.ttfb_us);
    }

    fn add_block(&mut self, block: &Block) {
        self.counts.merge(&block.counts);
        self.latency.add_sparse(&block.latency);
        self.ttfb.add_sparse(&block.ttfb);
    }

    fn block(&self) -> Block {
        Block { counts: self.counts, latency: self.latency.sparse(), ttfb: self.ttfb.sparse() }
    }

    fn public(&self) -> StatsFigures {
        let c = &self.counts;
        StatsFigures {
            requests: c.requests,
            errors: c.faults[1..].iter().sum(),
            errors_caller: c.faults[Fault::Caller as usize],
            errors_gateway: c.faults[Fault::Gateway as usize],
            errors_upstream: c.faults[Fault::Upstream as usize],
            status_classes: c.classes,
            p50_us: self.latency.quantile(0.5),
            p95_us: self.latency.quantile(0.95),
            p99_us: self.latency.quantile(0.99),
            ttfb_p50_us: self.ttfb.quantile(0.5),
            ttfb_p95_us: self.ttfb.quantile(0.95),
            bytes_in: c.bytes_in,
            bytes_out: c.bytes_out,
            tokens_in: c.tokens_in,
            tokens_out: c.tokens_out,
            usd: Decimal::from_i128_with_scale(i128::from(c.cost_pico), 12).normalize().to_string(),
            unpriced: c.unpriced,
        }
    }
}

/// Counts with their durations, small: as kept in the ring and stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    #[serde(flatten)]
    counts: Counts,
    latency: Vec<(u8, u32)>,
    ttfb: Vec<(u8, u32)>,
}

impl Block {
    fn merge(&mut self, other: &Self) {
        let mut sum = Figures::default();
        sum.add_block(self);
        sum.add_block(other);
        *self = sum.block();
    }
}

/// One minute, or a part of one. Parts of the same minute add up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Minute {
    /// Minutes since 1970.
    pub minute: i64,
    total: Block,
    /// By route, application, model.
    names: [BTreeMap<String, Block>; 3],
}

impl Minute {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.total.merge(&other.total);
        for (mine, theirs) in self.names.iter_mut().zip(&other.names) {
            for (name, block) in theirs {
                mine.entry(name.clone()).or_default().merge(block);
            }
            keep_largest(mine);
        }
    }
}

/// Folds all but the [`RING_NAMES`] busiest names into [`OTHER`].
fn keep_largest(names: &mut BTreeMap<String, Block>) {
    if names.len() <= RING_NAMES {
        return;
    }
    let mut order: Vec<_> =
        names.iter().filter(|(n, _)| *n != OTHER).map(|(n, b)| (b.counts.requests, n.clone())).collect();
    order.sort_unstable_by(|a, b| b.cmp(a));
    let mut rest = Block::default();
    for (_, name) in order.into_iter().skip(RING_NAMES - 1) {
        if let Some(block) = names.remove(&name) {
            rest.merge(&block);
        }
    }
    names.entry(OTHER.to_owned()).or_default().merge(&rest);
}

/// A minute being added to.
#[derive(Debug)]
struct LiveMinute {
    minute: i64,
    total: Figures,
    names: [Slots<Figures>; 3],
}

impl LiveMinute {
    fn new(minute: i64) -> Self {
        Self {
            minute,
            total: Figures::default(),
            names: [Slots::new(LIVE_NAMES), Slots::new(LIVE_NAMES), Slots::new(LIVE_NAMES)],
        }
    }

    fn finish(&self) -> Minute {
        let names = [0, 1, 2].map(|d: usize| {
            let mut all: BTreeMap<_, _> = self.names[d].iter().map(|(name, f)| (name.to_owned(), f.block())).collect();
            keep_largest(&mut all);
            all
        });
        Minute { minute: self.minute, total: self.total.block(), names }
    }
}

/// A name of one dimension of a record: no name, a name with an id, or one for which there was no room.
pub(crate) type Dimension = Option<Option<NameId>>;

/// All minutes of the last day.
#[derive(Debug, Default)]
pub(crate) struct Rollups {
    live: Vec<LiveMinute>,
    ring: BTreeMap<i64, Minute>,
}

impl Rollups {
    /// Adds one request under its route, application and model.
    #[inline]
    pub fn add(&mut self, s: &Sample, dimensions: [Dimension; 3], names: &Interner) {
        let minute = s.ended_us.div_euclid(MINUTE_US);
        let at = match self.live.iter().rposition(|m| m.minute == minute) {
            Some(at) => at,
            // Records far apart in time (a wrong clock) share the oldest live minute instead of growing the list.
            None if self.live.len() >= LIVE_MINUTES => 0,
            None => {
                self.live.push(LiveMinute::new(minute));
                self.live.len() - 1
            }
        };
        let live = &mut self.live[at];
        live.total.add(s);
        for (slots, dimension) in live.names.iter_mut().zip(dimensions) {
            if let Some(id) = dimension {
                slots.get(id, names).add(s);
            }
        }
    }

    /// Whether the live minutes should be drained to make room for further ones.
    pub fn is_crowded(&self) -> bool {
        self.live.len() >= LIVE_MINUTES
    }

    /// Whether there is a minute before the one of `now`.
    pub fn has_finished(&self, now: Timestamp) -> bool {
        let minute = now.micros().div_euclid(MINUTE_US);
        self.live.iter().any(|m| m.minute < minute)
    }

    /// Moves all live minutes into the ring and returns them, to be stored.
    pub fn drain(&mut self) -> Vec<Minute> {
        let parts: Vec<Minute> = self.live.drain(..).map(|m| m.finish()).collect();
        parts.iter().for_each(|part| self.load(part));
        parts
    }

    /// Adds a stored part of a minute to the ring.
    pub fn load(&mut self, part: &Minute) {
        self.ring.entry(part.minute).or_insert_with(|| Minute { minute: part.minute, ..Minute::default() }).merge(part);
        while self.ring.len() as i64 > KEPT_MINUTES + 1 {
            self.ring.pop_first();
        }
    }

    /// The traffic of the `window` before `now`, in at most 120 steps of whole minutes.
    pub fn stats(&self, window: Duration, now: Timestamp) -> Stats {
        let minutes = (window.as_secs().div_ceil(60) as i64).clamp(1, KEPT_MINUTES);
        let step = [1, 2, 5, 10, 15].into_iter().find(|step| minutes <= step * 120).unwrap_or(15);
        let last = now.micros().div_euclid(MINUTE_US);
        let first = (last - minutes + 1).div_euclid(step) * step;
        let steps = (last - first) / step + 1;
        let mut total = Figures::default();
        let mut series = vec![Figures::default(); steps as usize];
        let mut names: [HashMap<String, Figures>; 3] = Default::default();
        let live: Vec<Minute> = self.live.iter().map(LiveMinute::finish).collect();
        let live = live.iter().filter(|m| (first..=last).contains(&m.minute));
        for part in self.ring.range(first..=last).map(|(_, m)| m).chain(live) {
            total.add_block(&part.total);
            series[((part.minute - first) / step) as usize].add_block(&part.total);
            for (sums, blocks) in names.iter_mut().zip(&part.names) {
                for (name, block) in blocks {
                    sums.entry(name.clone()).or_default().add_block(block);
                }
            }
        }
        let [top_routes, top_applications, top_models] = names.map(top);
        Stats {
            since: Timestamp::from_secs(first * 60),
            until: now,
            step_seconds: step as u64 * 60,
            total: total.public(),
            series: (first..)
                .step_by(step as usize)
                .zip(&series)
                .map(|(minute, f)| StatsPoint { time: Timestamp::from_secs(minute * 60), figures: f.public() })
                .collect(),
            top_routes,
            top_applications,
            top_models,
        }
    }
}

fn top(names: HashMap<String, Figures>) -> Vec<StatsTop> {
    let mut all: Vec<_> = names.into_iter().collect();
    all.sort_by(|(a, x), (b, y)| y.counts.requests.cmp(&x.counts.requests).then_with(|| a.cmp(b)));
    all.truncate(TOP);
    all.into_iter().map(|(name, f)| StatsTop { name, figures: f.public() }).collect()
}

#[cfg(test)]
mod tests;
