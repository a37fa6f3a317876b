//! Prometheus metrics, names `credentialflow_<noun>_<unit>`, in the OpenMetrics text format.
//!
//! The recorder adds whole batches under one lock, into plain numbers found by name id; nothing is hashed,
//! allocated or locked per record. The number of label sets is bounded; what does not fit counts under `other`.
//! Label values are names of declared things and never secrets.

mod mcp;

use crate::{
    intern::{Interner, NameId},
    recorder::Counters,
    rollup::{pico, status_class},
    slots::Slots,
};
use credentialflow_model::{
    OutcomeReason, UsageRecord,
    usage::{CacheUse, Cost},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

/// Routes, upstreams and models that get label sets of their own.
const MAX_NAMES: usize = 1000;
/// Upper ends of the duration buckets, in microseconds.
const BOUNDS_US: [u64; 16] = [
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    30_000_000,
    120_000_000,
];
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// A number read when metrics are rendered.
pub type Reading = Box<dyn Fn() -> i64 + Send + Sync>;

/// Numbers with the values of their labels, read when metrics are rendered.
type Family = (&'static [&'static str], Box<dyn Fn() -> Vec<(Vec<String>, i64)> + Send + Sync>);

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    tables: Arc<Mutex<Tables>>,
    gauges: Arc<Mutex<Gauges>>,
}

type Gauges = BTreeMap<String, (String, Source)>;

enum Source {
    Set(i64),
    Gauge(Reading),
    Counter(Reading),
    Family(Family),
}

impl Metrics {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        let (tables, gauges) = (Arc::new(Mutex::new(Tables::new())), Arc::default());
        let mut registry = Registry::with_prefix("credentialflow");
        registry.register_collector(Box::new(Everything {
            tables: Arc::clone(&tables),
            gauges: Arc::clone(&gauges),
            counters,
        }));
        Self { registry, tables, gauges }
    }

    /// All metrics as OpenMetrics text (`application/openmetrics-text; version=1.0.0; charset=utf-8`).
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing into a String does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }

    /// Sets a gauge, such as `keys` (rendered as `credentialflow_keys`).
    pub fn set_gauge(&self, name: &str, help: &str, value: i64) {
        self.put(name, help, Source::Set(value));
    }

    /// Registers a gauge that is read on every rendering, such as `connections_open`.
    pub fn register_gauge(&self, name: &str, help: &str, reading: impl Fn() -> i64 + Send + Sync + 'static) {
        self.put(name, help, Source::Gauge(Box::new(reading)));
    }

    /// Registers a counter that is read on every rendering; the name without `_total`.
    pub fn register_counter(&self, name: &str, help: &str, reading: impl Fn() -> i64 + Send + Sync + 'static) {
        self.put(name, help, Source::Counter(Box::new(reading)));
    }

    /// Registers a gauge with labels, such as `certificate_expiry_timestamp_seconds`, that is read on every rendering:
    /// for each set of label values, in the order of `labels`, one number. The reader bounds how many there are.
    pub fn register_family(
        &self,
        name: &str,
        help: &str,
        labels: &'static [&'static str],
        reading: impl Fn() -> Vec<(Vec<String>, i64)> + Send + Sync + 'static,
    ) {
        self.put(name, help, Source::Family((labels, Box::new(reading))));
    }

    fn put(&self, name: &str, help: &str, source: Source) {
        lock(&self.gauges).insert(name.to_owned(), (help.to_owned(), source));
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Tables> {
        lock(&self.tables)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct Durations {
    counts: [u64; BOUNDS_US.len() + 1],
    count: u64,
    sum_us: u64,
}

impl Durations {
    #[inline]
    fn add(&mut self, us: u64) {
        let at = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BOUNDS_US.len());
        self.counts[at] += 1;
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    fn buckets(&self) -> Vec<(f64, u64)> {
        let ends = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        ends.zip(self.counts).collect()
    }
}

#[derive(Debug, Default)]
struct RouteFigures {
    /// Requests by outcome and status class: few pairs occur, so a list is the smallest and fastest table.
    requests: Vec<(OutcomeReason, u8, u64)>,
    durations: Durations,
    bytes_in: u64,
    bytes_out: u64,
}

/// How tokens are counted; some are part of others.
const DIRECTIONS: [&str; 5] = ["input", "cached_input", "cache_write", "output", "reasoning"];

#[derive(Debug, Default)]
struct ModelFigures {
    /// As in [`DIRECTIONS`].
    tokens: [u64; 5],
    /// In 10^-12 US dollars.
    cost_pico: i128,
    unpriced: u64,
    /// As in [`CacheUse::ALL`]: what the model's cache did.
    cache: [u64; CacheUse::ALL.len()],
    /// What it saved, in 10^-12 US dollars.
    saved_pico: i128,
}

/// The numbers behind the metrics that come from records.
#[derive(Debug)]
pub(crate) struct Tables {
    no_route: RouteFigures,
    routes: Slots<RouteFigures>,
    upstreams: Slots<Durations>,
    /// By model, then by provider; a model has few providers.
    models: Slots<Vec<(Arc<str>, ModelFigures)>>,
    mcp: mcp::McpFigures,
}

const MAX_PROVIDERS: usize = 16;

impl Tables {
    fn new() -> Self {
        Self {
            no_route: RouteFigures::default(),
            routes: Slots::new(MAX_NAMES),
            upstreams: Slots::new(MAX_NAMES),
            models: Slots::new(MAX_NAMES),
            mcp: mcp::McpFigures::default(),
        }
    }

    #[inline]
    pub fn add(
        &mut self,
        r: &UsageRecord,
        route: Option<Option<NameId>>,
        upstream: Option<Option<NameId>>,
        model: Option<Option<NameId>>,
        names: &Interner,
    ) {
        let figures = match route {
            Some(id) => self.routes.get(id, names),
            None => &mut self.no_route,
        };
        let class = status_class(r.status) as u8;
        match figures.requests.iter_mut().find(|(o, c, _)| (*o, *c) == (r.outcome, class)) {
            Some((_, _, n)) => *n += 1,
            None => figures.requests.push((r.outcome, class, 1)),
        }
        figures.durations.add(r.total_us);
        figures.bytes_in = figures.bytes_in.saturating_add(r.bytes_in);
        figures.bytes_out = figures.bytes_out.saturating_add(r.bytes_out);
        self.mcp.add(r);
        if let Some(id) = upstream {
            self.upstreams.get(id, names).add(r.upstream_us);
        }
        if let (Some(id), Some(used)) = (model, &r.model)
            && (used.tokens.is_some() || used.cost.is_some() || used.cache.is_some())
        {
            let providers = self.models.get(id, names);
            let at = match providers.iter().position(|(p, _)| *p == used.provider) {
                Some(at) => at,
                None if providers.len() >= MAX_PROVIDERS => MAX_PROVIDERS - 1,
                None => {
                    let label =
                        if providers.len() + 1 == MAX_PROVIDERS { "other".into() } else { used.provider.clone() };
                    providers.push((label, ModelFigures::default()));
                    providers.len() - 1
                }
            };
            let figures = &mut providers[at].1;
            let t = used.tokens.unwrap_or_default();
            for (sum, n) in
                figures.tokens.iter_mut().zip([t.input, t.cached_input, t.cache_write, t.output, t.reasoning])
            {
                *sum = sum.saturating_add(n);
            }
            match used.cost {
                Some(Cost::Known(usd) | Cost::Estimated(usd)) => figures.cost_pico += i128::from(pico(usd)),
                Some(Cost::UnknownPrice | Cost::UnknownUsage) => figures.unpriced += 1,
                None => {}
            }
            if let Some(n) = CacheUse::ALL.iter().position(|one| used.cache == Some(*one)) {
                figures.cache[n] += 1;
            }
            figures.saved_pico += used.saved.map_or(0, |usd| i128::from(pico(usd)));
        }
    }

    pub fn forget_ids(&mut self) {
        self.routes.forget_ids();
        self.upstreams.forget_ids();
        self.models.forget_ids();
    }

    fn routes(&self) -> impl Iterator<Item = (&str, &RouteFigures)> {
        // Requests without a route carry an empty label, which Prometheus treats as absent.
        std::iter::once(("", &self.no_route)).filter(|(_, f)| f.durations.count > 0).chain(self.routes.iter())
    }

    fn models(&self) -> impl Iterator<Item = ([(&'static str, &str); 2], &ModelFigures)> {
        self.models.iter().flat_map(|(model, providers)| {
            providers.iter().map(move |(provider, f)| ([("model", model), ("provider", &**provider)], f))
        })
    }
}

struct Everything {
    tables: Arc<Mutex<Tables>>,
    gauges: Arc<Mutex<Gauges>>,
    counters: Arc<Counters>,
}

impl fmt::Debug for Everything {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Everything")
    }
}

impl Collector for Everything {
    fn encode(&self, mut e: DescriptorEncoder) -> fmt::Result {
        encode_tables(&lock(&self.tables), &mut e)?;
        let c = &self.counters;
        for (name, help, value) in [
            ("call_log_rows", "Calls written to the call log", &c.rows),
            ("call_log_dropped", "Calls not recorded, because a queue was full", &c.dropped),
            ("call_log_write_errors", "Failed writes to the call log; they are retried", &c.write_errors),
        ] {
            counter(&mut e, name, help, value.load(Ordering::Relaxed))?;
        }
        for (name, (help, source)) in lock(&self.gauges).iter() {
            let (value, kind) = match source {
                Source::Set(value) => (*value, MetricType::Gauge),
                Source::Gauge(reading) => (reading(), MetricType::Gauge),
                Source::Counter(reading) => (reading(), MetricType::Counter),
                Source::Family((labels, reading)) => {
                    let mut family = e.encode_descriptor(name, help, None, MetricType::Gauge)?;
                    for (values, number) in reading() {
                        let labels: Vec<(&str, String)> = labels.iter().copied().zip(values).collect();
                        family.encode_family(&labels)?.encode_gauge(&number)?;
                    }
                    continue;
                }
            };
            match kind {
                MetricType::Counter => counter(&mut e, name, help, u64::try_from(value).unwrap_or(0))?,
                kind => e.encode_descriptor(name, help, None, kind)?.encode_gauge(&value)?,
            }
        }
        Ok(())
    }
}

fn counter(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    e.encode_descriptor(name, help, None, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn encode_tables(tables: &Tables, e: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut m = e.encode_descriptor(
        "requests",
        "Finished requests by route, outcome and class of the status sent",
        None,
        MetricType::Counter,
    )?;
    for (route, figures) in tables.routes() {
        for (outcome, class, n) in &figures.requests {
            let labels =
                [("route", route), ("outcome", outcome.code()), ("status_class", CLASSES[usize::from(*class)])];
            m.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(n, None)?;
        }
    }
    let help = "From the first byte read to the last byte written";
    let mut m = e.encode_descriptor("request_duration_seconds", help, None, MetricType::Histogram)?;
    for (route, figures) in tables.routes() {
        durations(&mut m.encode_family(&[("route", route)])?, &figures.durations)?;
    }
    let help = "From sending upstream to the end of its answer";
    let mut m = e.encode_descriptor("upstream_duration_seconds", help, None, MetricType::Histogram)?;
    for (upstream, figures) in tables.upstreams.iter() {
        durations(&mut m.encode_family(&[("upstream", upstream)])?, figures)?;
    }
    let help = "Body bytes received from callers";
    let mut m = e.encode_descriptor("request_bytes", help, None, MetricType::Counter)?;
    for (route, figures) in tables.routes() {
        m.encode_family(&[("route", route)])?.encode_counter::<NoLabelSet, _, u64>(&figures.bytes_in, None)?;
    }
    let help = "Body bytes sent to callers";
    let mut m = e.encode_descriptor("response_bytes", help, None, MetricType::Counter)?;
    for (route, figures) in tables.routes() {
        m.encode_family(&[("route", route)])?.encode_counter::<NoLabelSet, _, u64>(&figures.bytes_out, None)?;
    }
    let help = "Tokens of model calls; cached_input and cache_write are part of input, reasoning part of output";
    let mut m = e.encode_descriptor("llm_tokens", help, None, MetricType::Counter)?;
    for (labels, figures) in tables.models() {
        for (direction, n) in DIRECTIONS.iter().zip(&figures.tokens) {
            let labels = [labels[0], labels[1], ("direction", direction)];
            m.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(n, None)?;
        }
    }
    let help = "Known cost of model calls in US dollars; the exact sums are in the call log";
    let mut m = e.encode_descriptor("llm_cost_usd", help, None, MetricType::Counter)?;
    for (labels, figures) in tables.models() {
        let usd = figures.cost_pico as f64 / 1e12;
        m.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&usd, None)?;
    }
    let help = "Model calls whose cost is unknown, for want of a price or of the provider's count; it is not counted";
    let mut m = e.encode_descriptor("llm_unpriced_calls", help, None, MetricType::Counter)?;
    for (labels, figures) in tables.models() {
        m.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&figures.unpriced, None)?;
    }
    let help = "Calls to models that have a cache, by what it did; after hit and similar the provider was not asked";
    let mut m = e.encode_descriptor("llm_cache_calls", help, None, MetricType::Counter)?;
    for (labels, figures) in tables.models() {
        for (one, n) in CacheUse::ALL.iter().zip(&figures.cache).filter(|(_, n)| **n > 0) {
            let labels = [labels[0], labels[1], ("result", one.as_str())];
            m.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(n, None)?;
        }
    }
    let help = "What the calls that caches of models answered would have cost in US dollars, as far as it is known";
    let mut m = e.encode_descriptor("llm_saved_usd", help, None, MetricType::Counter)?;
    for (labels, figures) in tables.models().filter(|(_, figures)| figures.cache.iter().any(|n| *n > 0)) {
        let usd = figures.saved_pico as f64 / 1e12;
        m.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&usd, None)?;
    }
    tables.mcp.encode(e)
}

fn durations(m: &mut prometheus_client::encoding::MetricEncoder<'_>, d: &Durations) -> fmt::Result {
    m.encode_histogram::<NoLabelSet>(d.sum_us as f64 / 1e6, d.count, &d.buckets(), None)
}

#[cfg(test)]
mod tests;
