//! The record of a request: begun with its first byte, handed over when it is over, also when the
//! request's future is dropped half-way.

mod cache_status;
mod model;
mod secrets;
mod tries;

pub(super) use cache_status::CacheStatus;

use super::{Inbound, budget::Paying, guard, mcp::Rpc, quota::Held, trace};
use crate::{
    http1::tag::Tag,
    ports::{CredentialSlot, KeptRecord},
    snapshot::{EndpointPlan, RoutePlan, UpstreamPlan},
    worker::{View, Worker},
};
use credentialflow_llm::{provider::Dialect, tier::Asked};
use credentialflow_mcp::Seen;
use credentialflow_model::{
    KeyId, OutcomeReason, RequestId, Timestamp, TraceId, UsageRecord,
    mask::masked,
    resource::budget::{pico, usd},
    usage::{Cost, CredentialUse, McpEnd, McpUse, charged_together},
};
use credentialflow_policy::{Found, LimitReport, Principal};
use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

/// Paths are cut at this length in records.
const MAX_PATH: usize = 256;

/// What budgets were charged, in units of 10^-12 US dollars, and their windows.
type Lost = (i64, Arc<str>);

/// A record in the making.
pub(crate) struct Recording<'w> {
    worker: &'w Rc<Worker>,
    began: Instant,
    sent: Option<Instant>,
    span: u64,
    limits: LimitReport,
    max_body: u64,
    dialect: Option<Dialect>,
    /// What a refusal answers where it takes the shape of JSON-RPC.
    rpc: Option<Box<Rpc>>,
    answered: bool,
    first_byte: bool,
    /// When the answer was served whole; spares a look at the clock.
    ended: Option<Instant>,
    head: bool,
    /// The end user of a model call, where calls are told apart by that.
    user: Option<Arc<str>>,
    /// The model that was asked for, where another one serves.
    asked: Option<Arc<str>>,
    /// The prompt that the call was made of, and its version.
    prompt: Option<Arc<str>>,
    /// What the model's cache did, where it has one.
    cache: Option<CacheStatus>,
    /// How fast or where a model call asks to be served.
    asks: Asked,
    /// What pays for a model call.
    paying: Option<Paying>,
    /// What it holds of limits.
    held: Held,
    /// What budgets were charged for targets that failed, in units of 10^-12 US dollars, and their windows.
    lost: Option<Lost>,
    /// Where a second try beside this one puts what it cost when both are given up.
    beside: Option<Rc<Cell<Option<Lost>>>>,
    /// Whether it is that of such a try, and a part of another one.
    is_aside: bool,
    /// Whether it is of a call that is only asked about, and is handed to nobody.
    is_asked: bool,
    /// Live secrets of the body that were told of.
    told: RefCell<Found>,
    /// Holds what is kept of the record until it is handed over: the last word on it, and what stands in earlier pages.
    kept: Vec<KeptRecord>,
    /// What the call cost as it was kept last.
    kept_cost: Option<Cost>,
    record: Option<UsageRecord>,
}

impl<'w> Recording<'w> {
    /// Begins with a request whose head was read.
    pub fn begin(worker: &'w Rc<Worker>, view: &View, inbound: &Inbound<'_>) -> Self {
        let mut recording = Self::unread(worker, inbound.source, inbound.began);
        let (path, _) = inbound.path_and_query();
        recording.head = inbound.method() == "HEAD";
        if let Some(record) = &mut recording.record {
            record.method = worker.method(inbound.method());
            // Keys and values of credentials that people put into a path are left out. Paths are ASCII, so any place is a
            // character boundary.
            let path = guard::recorded_path(&view.snapshot, path, record.time);
            record.path = masked(&path[..path.len().min(MAX_PATH)]).into();
            if let Some((trace, _)) = inbound.field(Tag::Traceparent).and_then(trace::incoming) {
                record.trace_id = trace;
            }
        }
        recording
    }

    /// Begins with what a guardrail asks of others for this call: in the name of the same caller, and in the same trace.
    pub fn of_question(&self, view: &View, inbound: &Inbound<'_>) -> Self {
        let mut question = Self::begin(self.worker, view, inbound);
        question.user.clone_from(&self.user);
        if let (Some(mine), Some(theirs)) = (&self.record, &mut question.record) {
            theirs.application.clone_from(&mine.application);
            (theirs.key, theirs.secret) = (mine.key, mine.secret);
        }
        question
    }

    /// Begins with a request whose head could not be read.
    pub fn unread(worker: &'w Rc<Worker>, source: IpAddr, began: Instant) -> Self {
        worker.gauges.in_flight.fetch_add(1, Relaxed);
        let time = worker.now();
        let (a, b) = (worker.bits(), worker.bits());
        let record = UsageRecord {
            mcp: None,
            time,
            request_id: id_of(time, a, b),
            trace_id: TraceId(u128::from(worker.bits()) << 64 | u128::from(a | 1)),
            source,
            application: None,
            key: None,
            secret: None,
            route: None,
            method: worker.method(""),
            path: Box::default(),
            upstream: None,
            endpoint: None,
            credential: None,
            // What it stays when the caller leaves and the request's future is dropped.
            outcome: OutcomeReason::CallerClosed,
            status: 0,
            upstream_status: 0,
            attempts: 0,
            bytes_in: 0,
            bytes_out: 0,
            total_us: 0,
            upstream_us: 0,
            ttfb_us: 0,
            model: None,
        };
        Self {
            worker,
            began,
            sent: None,
            span: b | 1,
            limits: LimitReport::default(),
            max_body: u64::MAX,
            dialect: None,
            rpc: None,
            answered: false,
            first_byte: false,
            ended: None,
            head: false,
            user: None,
            asked: None,
            prompt: None,
            cache: None,
            asks: Asked::Usual,
            paying: None,
            held: Held::default(),
            lost: None,
            beside: None,
            is_aside: false,
            is_asked: false,
            told: RefCell::default(),
            kept: Vec::new(),
            kept_cost: None,
            record: Some(record),
        }
    }

    /// Of a call that is only asked about: nothing of it is recorded.
    pub fn of_nothing(worker: &'w Rc<Worker>, view: &View, inbound: &Inbound<'_>) -> Self {
        let mut recording = Self::begin(worker, view, inbound);
        recording.is_asked = true;
        recording
    }

    fn edit(&mut self, change: impl FnOnce(&mut UsageRecord)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }

    /// When the request began.
    pub fn time(&self) -> Timestamp {
        self.record.as_ref().map_or(Timestamp::default(), |r| r.time)
    }
    /// Its id.
    pub fn request_id(&self) -> RequestId {
        self.record.as_ref().map_or(RequestId::default(), |r| r.request_id)
    }
    /// The key it was authenticated with.
    pub fn key(&self) -> Option<KeyId> {
        self.record.as_ref().and_then(|r| r.key)
    }
    /// Its trace.
    pub fn trace_id(&self) -> TraceId {
        self.record.as_ref().map_or(TraceId::default(), |r| r.trace_id)
    }
    /// Our span in the trace.
    pub fn span_id(&self) -> u64 {
        self.span
    }
    /// What the limits said.
    pub fn limit_report(&self) -> &LimitReport {
        &self.limits
    }
    /// The dialect whose shape refusals take, on the model API.
    pub fn dialect(&self) -> Option<Dialect> {
        self.dialect
    }
    /// Whether the head of an answer was begun.
    pub fn has_answered(&self) -> bool {
        self.answered
    }
    /// Whether the method is HEAD.
    pub fn method_is_head(&self) -> bool {
        self.head
    }
    /// Largest body the route takes.
    pub fn max_body(&self) -> u64 {
        self.max_body
    }

    /// A route matched.
    pub fn route(&mut self, plan: &RoutePlan) {
        self.dialect = plan.kind.dialect();
        self.max_body = plan.max_body;
        self.rpc = plan.mcp.is_some().then(Box::default);
        self.edit(|r| r.route = Some(plan.name.clone()));
    }
    /// What a refusal answers in the shape of JSON-RPC, on routes to MCP servers.
    pub fn answers_rpc(&self) -> Option<&Rpc> {
        self.rpc.as_deref()
    }
    /// These messages were posted to an MCP server.
    pub fn rpc(&mut self, rpc: Rpc) {
        self.rpc = Some(Box::new(rpc));
    }
    /// This is asked of an MCP server.
    pub fn mcp(&mut self, method: &str, name: Option<&str>) {
        let cut = |name: &str| name[..name.floor_char_boundary(MAX_PATH)].into();
        let used = McpUse { method: method.into(), name: name.map(cut), end: McpEnd::Result, guardrails: None };
        self.edit(|r| r.mcp = Some(Box::new(used)));
    }
    /// Guardrails found this in what a tool is called with, or in what the server answered.
    pub fn mcp_guardrails(&mut self, found: &str) {
        self.edit(|r| {
            if let Some(mcp) = &mut r.mcp {
                let before = mcp.guardrails.take();
                mcp.guardrails = Some(before.map_or_else(|| found.into(), |before| format!("{before} {found}").into()));
            }
        });
    }
    /// The server answered so.
    pub fn mcp_ended(&mut self, seen: Seen) {
        self.edit(|r| {
            if let Some(mcp) = &mut r.mcp {
                mcp.end = match seen.error {
                    Some(code) => McpEnd::Error(code),
                    None if seen.tool_failed => McpEnd::ToolFailed,
                    None => McpEnd::Result,
                };
            }
        });
    }
    /// The caller speaks this dialect where more than one is spoken.
    pub fn speaks(&mut self, dialect: Dialect) {
        self.dialect = Some(dialect);
    }
    /// The caller is known.
    pub fn principal(&mut self, principal: &Principal) {
        if let Some(key) = principal.key() {
            self.edit(|r| {
                r.key = Some(key.key());
                r.secret = key.shown();
                r.application = Some(key.application_name().clone());
            });
        }
    }
    /// A known key was presented with a wrong secret.
    pub fn claimed_key(&mut self, key: Option<KeyId>) {
        self.edit(|r| r.key = key);
    }
    /// The limits were counted.
    pub fn limits(&mut self, limits: LimitReport) {
        self.limits = limits;
    }
    /// An upstream was chosen.
    pub fn upstream(&mut self, plan: &UpstreamPlan) {
        self.edit(|r| r.upstream = Some(plan.name.clone()));
    }
    /// Whether another version of a credential than the one in this slot was opened for the request.
    pub fn credential_differs(&self, view: &View, slot: CredentialSlot) -> bool {
        let used = self.record.as_ref().and_then(|r| r.credential.as_ref());
        let usual = view.snapshot.credentials.describe(slot);
        used.zip(usual).is_none_or(|(used, (name, version))| used.credential != *name || used.version != version)
    }
    /// An endpoint was chosen.
    pub fn endpoint(&mut self, plan: &EndpointPlan) {
        self.edit(|r| r.endpoint = Some(plan.authority.clone()));
    }
    /// Whether a credential was opened for the request.
    pub fn has_credential(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.credential.is_some())
    }
    /// A credential was opened for the request.
    pub fn credential(&mut self, view: &View, slot: CredentialSlot) {
        let used = view.snapshot.credentials.describe(slot);
        self.edit(|r| r.credential = used.map(|(name, version)| CredentialUse { credential: name.clone(), version }));
    }
    /// The upstream answered.
    pub fn upstream_status(&mut self, status: u16) {
        self.edit(|r| r.upstream_status = status);
    }
    /// The upstream's answer is over.
    pub fn upstream_done(&mut self, sent: Instant) {
        self.sent = None;
        self.edit(|r| r.upstream_us = micros(sent, Instant::now()));
    }
    /// What it holds of limits.
    pub fn held(&mut self) -> &mut Held {
        &mut self.held
    }
    /// So many body bytes came from the caller.
    pub fn bytes_in(&mut self, n: u64) {
        self.edit(|r| r.bytes_in = n);
    }
    /// So many body bytes went to the caller.
    pub fn bytes_out(&mut self, n: u64) {
        self.edit(|r| r.bytes_out = n);
    }
    /// An answer with this status begins.
    pub fn answered(&mut self, status: u16) {
        self.answered = true;
        self.edit(|r| r.status = status);
    }
    /// The head of the answer that was to begin was held back, and nothing of it has gone.
    pub fn taken_back(&mut self) {
        self.answered = false;
        self.edit(|r| r.status = 0);
    }
    /// How it ended, as far as it is known.
    pub fn ended_as(&self) -> OutcomeReason {
        self.record.as_ref().map_or(OutcomeReason::Internal, |record| record.outcome)
    }
    /// The status of the answer that has begun.
    pub fn answered_with(&self) -> Option<u16> {
        self.record.as_ref().map(|record| record.status).filter(|_| self.answered)
    }
    /// Bytes of the answer have gone out.
    pub fn first_byte(&mut self) {
        if !self.first_byte {
            self.first_byte_at(Instant::now());
        }
    }
    fn first_byte_at(&mut self, now: Instant) {
        self.first_byte = true;
        let began = self.began;
        self.edit(|r| r.ttfb_us = micros(began, now));
    }
    /// How it ended.
    pub fn outcome(&mut self, reason: OutcomeReason) {
        self.edit(|r| r.outcome = reason);
    }
    /// It was served whole.
    pub fn served(&mut self) {
        let now = Instant::now();
        if !self.first_byte {
            self.first_byte_at(now);
        }
        self.ended = Some(now);
        self.outcome(OutcomeReason::Served);
    }
}

/// An id that sorts by time.
fn id_of(time: Timestamp, a: u64, b: u64) -> RequestId {
    let millis = (time.micros() / 1000) as u128 & ((1 << 48) - 1);
    let random = (u128::from(a) << 64 | u128::from(b)) & ((1 << 80) - 1);
    RequestId(millis << 80 | random)
}

/// Adds what was charged for targets that failed.
fn add_lost(record: &mut UsageRecord, (lost, windows): &Lost) {
    let Some(model) = &mut record.model else { return };
    let served = match model.cost {
        Some(Cost::Known(cost) | Cost::Estimated(cost)) => pico(cost),
        _ => 0,
    };
    let of_served = model.budgets.take().unwrap_or_default();
    let (sum, windows) = charged_together([(*lost, &**windows), (served, &*of_served)]);
    (model.cost, model.budgets) = (Some(Cost::Estimated(usd(sum))), Some(windows.into()));
}

/// What a provider served costs something, also when nobody could read how much.
fn tell_unread(record: &mut UsageRecord) {
    if (200..300).contains(&record.upstream_status)
        && let Some(model) = &mut record.model
        && model.cost.is_none()
    {
        model.cost = Some(Cost::UnknownUsage);
    }
}

fn cost_of(record: &UsageRecord) -> Option<Cost> {
    record.model.as_ref().and_then(|model| model.cost)
}

/// Whether it costs anything, as far as it is known.
fn is_paid(record: &UsageRecord) -> bool {
    matches!(cost_of(record), Some(Cost::Known(usd) | Cost::Estimated(usd)) if !usd.is_zero())
}

/// Keeps a record, in place of what is kept of it. Whether there was room.
fn keep_as(worker: &Worker, kept: &mut Vec<KeptRecord>, record: &UsageRecord) -> bool {
    let Some(fresh) = worker.keep(record) else { return false };
    match kept.last_mut() {
        // Of one page the last word holds.
        Some(last) if Arc::ptr_eq(&last.page, &fresh.page) => *last = fresh,
        // Held as well, so that the earlier word is never the last one that is left.
        _ => kept.push(fresh),
    }
    true
}

fn micros(from: Instant, to: Instant) -> u64 {
    to.saturating_duration_since(from).as_micros() as u64
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        if self.is_aside {
            // Given up together with the one that it is beside, which tells of it.
            if let (Some(mut record), Some(paying), Some(beside)) =
                (self.record.take(), self.paying.take(), &self.beside)
            {
                beside.set(paying.settle_try(&mut record, self.sent.is_some()));
            }
            return;
        }
        self.worker.gauges.in_flight.fetch_sub(1, Relaxed);
        if self.is_asked {
            return;
        }
        if let Some(mut record) = self.record.take() {
            if std::thread::panicking() {
                record.outcome = OutcomeReason::Internal;
            }
            let end = self.ended.unwrap_or_else(Instant::now);
            record.total_us = micros(self.began, end);
            if let Some(sent) = self.sent {
                record.upstream_us = micros(sent, end);
            }
            self.settle_held(&record, end);
            if let Some(paying) = self.paying.take() {
                // A try that was sent, and whose answer is not over.
                let reached = self.sent.is_some();
                paying.settle(&mut record, reached);
            }
            if let Some(beside) = self.beside.take() {
                self.lose(beside.take());
            }
            if let Some(lost) = self.lost.take() {
                add_lost(&mut record, &lost);
            }
            tell_unread(&mut record);
            // What nobody could keep before: the caller left, or no more of the answer came.
            if cost_of(&record) != self.kept_cost && (is_paid(&record) || !self.kept.is_empty()) {
                keep_as(self.worker, &mut self.kept, &record);
            }
            self.worker.hold(self.kept.drain(..));
            self.worker.record(record);
        }
    }
}
