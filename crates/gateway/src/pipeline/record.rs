//! The record of a request: begun with its first byte, handed over when it is over, also when the
//! request's future is dropped half-way.

use super::{
    Inbound,
    budget::Paying,
    call::{Told, UsageProbe},
    guard, guardrail,
    mcp::Rpc,
    trace,
    translate::UpstreamRequest,
};
use crate::{
    http1::tag::Tag,
    ports::{CredentialSlot, SecretPlace, SentSecrets},
    snapshot::{
        EndpointPlan, RoutePlan, UpstreamPlan,
        models::{ModelPlan, TargetPlan},
    },
    worker::{View, Worker},
};
use credentialflow_llm::{provider::Dialect, task::units::Units};
use credentialflow_mcp::Seen;
use credentialflow_model::{
    KeyId, OutcomeReason, RequestId, Timestamp, TraceId, UsageRecord,
    mask::masked,
    resource::budget::{pico, usd},
    usage::{CacheUse, Cost, CredentialUse, McpEnd, McpUse, ModelUse, TokenUsage, Tried, TriedEnd, charged_together},
};
use credentialflow_policy::{Found, LimitReport, LiveSecret, Principal};
use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Paths are cut at this length in records.
const MAX_PATH: usize = 256;

/// What budgets were charged, in units of 10^-12 US dollars, and their windows.
type Lost = (i64, Arc<str>);

/// What a model's cache did with a call, as its caller is told (RFC 9211).
#[derive(Clone, Copy)]
pub(super) struct CacheStatus {
    /// What it did.
    pub used: CacheUse,
    /// How old the answer is that it gave, and how long that one is kept still, in whole seconds.
    pub age: u64,
    pub ttl: u64,
}

impl CacheStatus {
    /// One that says nothing of an answer.
    pub const fn new(used: CacheUse) -> Self {
        Self { used, age: 0, ttl: 0 }
    }

    fn push_fields(&self, fields: &mut Vec<u8>) {
        let mut number = itoa::Buffer::new();
        fields.extend_from_slice(b"cache-status: credentialflow; ");
        let said: &[u8] = match self.used {
            CacheUse::Hit => b"hit; ttl=",
            CacheUse::Similar => b"hit; detail=similar; ttl=",
            CacheUse::Miss => b"fwd=uri-miss\r\n",
            CacheUse::Refresh => b"fwd=request\r\n",
            CacheUse::Bypass => b"fwd=bypass\r\n",
        };
        fields.extend_from_slice(said);
        if self.used.answered() {
            fields.extend_from_slice(number.format(self.ttl).as_bytes());
            fields.extend_from_slice(b"\r\nage: ");
            fields.extend_from_slice(number.format(self.age).as_bytes());
            fields.extend_from_slice(b"\r\n");
        }
    }
}

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
    /// What pays for a model call.
    paying: Option<Paying>,
    /// What budgets were charged for targets that failed, in units of 10^-12 US dollars, and their windows.
    lost: Option<Lost>,
    /// Where a second try beside this one puts what it cost when both are given up.
    beside: Option<Rc<Cell<Option<Lost>>>>,
    /// Whether it is that of such a try, and a part of another one.
    is_aside: bool,
    /// Live secrets of the body that were told of.
    told: RefCell<Found>,
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
            paying: None,
            lost: None,
            beside: None,
            is_aside: false,
            told: RefCell::default(),
            record: Some(record),
        }
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
        let used = McpUse { method: method.into(), name: name.map(cut), end: McpEnd::Result };
        self.edit(|r| r.mcp = Some(Box::new(used)));
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
    /// The call is for this end user.
    pub fn user(&mut self, user: Arc<str>) {
        self.user = Some(user);
    }
    /// The end user that the call is for.
    pub fn end_user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }
    /// Another model serves than this one, which was asked for.
    pub fn asked(&mut self, model: Arc<str>) {
        self.asked = Some(model);
    }
    /// Writes which model serves instead of the one that was asked for.
    pub fn push_instead(&self, fields: &mut Vec<u8>) {
        let served = self.record.as_ref().and_then(|r| r.model.as_ref());
        if let (Some(_), Some(served)) = (&self.asked, served) {
            fields.extend_from_slice(b"x-credentialflow-model: ");
            fields.extend_from_slice(served.model.as_bytes());
            fields.extend_from_slice(b"\r\n");
        }
    }
    /// The model's cache did this with the call.
    pub fn cache(&mut self, status: CacheStatus) {
        self.cache = Some(status);
        self.edit(|r| {
            if let Some(model) = &mut r.model {
                model.cache = Some(status.used);
            }
        });
    }
    /// The answer comes from the cache: this target of the model gave it before, and its provider counted so much. Nobody is
    /// asked now, and nothing is paid.
    pub fn answered_from_cache(&mut self, view: &View, (model, target): (u32, u32), tokens: Option<TokenUsage>) {
        let plan = &view.snapshot.models.list[model as usize];
        let time = self.time();
        self.edit(|r| {
            r.upstream = None;
            let (Some(used), Some(target)) = (&mut r.model, plan.targets.get(target as usize)) else { return };
            used.provider = target.provider.clone();
            used.provider_model = target.provider_model.clone();
            used.cost = Some(Cost::Known(Default::default()));
            used.saved = tokens.and_then(|tokens| match target.price.cost_of(time, Some(&tokens), &Units::default()) {
                Cost::Known(usd) => Some(usd),
                _ => None,
            });
        });
    }
    /// What the provider counted, where all of the answer was served and guardrails found nothing, in the call or in it.
    pub fn served_unguarded(&self) -> Option<Option<TokenUsage>> {
        let record = self.record.as_ref().filter(|record| record.outcome == OutcomeReason::Served)?;
        let used = record.model.as_ref().filter(|used| used.guardrails.is_none())?;
        Some(used.tokens)
    }
    /// Whether guardrails found anything in the call.
    pub fn has_findings(&self) -> bool {
        self.record.as_ref().and_then(|r| r.model.as_ref()).is_some_and(|model| model.guardrails.is_some())
    }
    /// Writes what the model's cache did.
    pub fn push_cache(&self, fields: &mut Vec<u8>) {
        if let Some(status) = &self.cache {
            status.push_fields(fields);
        }
    }
    /// The call was made of this prompt, told with its version.
    pub fn prompt(&mut self, tag: Arc<str>) {
        self.prompt = Some(tag);
    }
    /// The prompt that the call was made of, if it was.
    pub fn made_of(&self) -> Option<&Arc<str>> {
        self.prompt.as_ref()
    }
    /// A model and its target were chosen.
    pub fn model(&mut self, model: &ModelPlan, target: &TargetPlan, streamed: bool) {
        let (user, asked, cache) = (self.user.clone(), self.asked.clone(), self.cache.as_ref().map(|cache| cache.used));
        let prompt = self.prompt.clone();
        self.edit(|r| {
            let (tried, guardrails) =
                r.model.take().map_or_else(Default::default, |model| (model.tried, model.guardrails));
            r.model = Some(Box::new(ModelUse {
                model: model.name.clone(),
                provider: target.provider.clone(),
                provider_model: target.provider_model.clone(),
                streamed,
                tokens: None,
                cost: None,
                budgets: None,
                tried,
                guardrails,
                user,
                asked,
                prompt,
                cache,
                saved: None,
            }));
        });
    }
    /// Guardrails of a model found something in a call. Where no target is chosen yet, it is told as one for the first.
    pub fn guardrails(&mut self, model: &ModelPlan, streamed: bool, found: String) {
        if let Some(target) = model.targets.first() {
            self.model(model, target, streamed);
        }
        self.edit(|r| {
            if let Some(model) = &mut r.model {
                model.guardrails = Some(found.into());
            }
        });
    }
    /// Guardrails of a model found this in the calls of a batch, whose target is chosen.
    pub fn guardrails_of_calls(&mut self, found: String) {
        self.edit(|r| {
            if let Some(model) = &mut r.model {
                model.guardrails = Some(found.into());
            }
        });
    }
    /// Guardrails of a model found all this in what was said in a session so far.
    pub fn guardrails_of_session(&mut self, found: &[String]) {
        self.edit(|r| {
            if let Some(model) = &mut r.model {
                model.guardrails = Some(found.join(" ").into());
            }
        });
    }
    /// The record of an answer within a session, which began then and took so long: one of its own, in the same trace.
    pub fn turn(&self, time: Timestamp, took: Duration) -> Option<UsageRecord> {
        let session = self.record.as_ref()?;
        let mut model = session.model.clone()?;
        (model.streamed, model.guardrails) = (true, None);
        model.tried.clear();
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        Some(UsageRecord {
            time,
            request_id: id_of(time, self.worker.bits(), self.worker.bits()),
            outcome: OutcomeReason::Served,
            status: 200,
            upstream_status: 200,
            attempts: 1,
            bytes_in: 0,
            bytes_out: 0,
            total_us: took,
            upstream_us: took,
            ttfb_us: took,
            model: Some(model),
            ..session.clone()
        })
    }
    /// Guardrails of a model found all this in its answer so far.
    pub fn guardrails_of_answer(&mut self, found: &str) {
        self.edit(|r| {
            if let Some(model) = &mut r.model {
                let before = model.guardrails.take().unwrap_or_default();
                let of_prompt = before.split_whitespace().filter(|one| !one.starts_with(guardrail::ANSWER));
                let all: Vec<&str> = of_prompt.chain([found]).collect();
                model.guardrails = Some(all.join(" ").into());
            }
        });
    }
    /// A target failed, or the credential there, and another one is tried. Of a target what it may have cost is charged.
    pub fn tried(&mut self, end: TriedEnd, target: bool) {
        let reached = self.sent.is_some();
        let Some(record) = &mut self.record else { return };
        let reason = match end {
            TriedEnd::Outcome(reason) => Some(reason),
            // As if its caller had left it.
            TriedEnd::Overtaken => Some(OutcomeReason::CallerClosed),
            TriedEnd::Status(_) | TriedEnd::StreamError => None,
        };
        if target
            && let Some(paying) = self.paying.take()
            && let Some(reason) = reason
        {
            let stands = std::mem::replace(&mut record.outcome, reason);
            let more = paying.settle_try(record, reached);
            record.outcome = stands;
            self.lose(more);
        }
        let Some(record) = &mut self.record else { return };
        if let Some(model) = &mut record.model {
            (model.tokens, model.cost, model.budgets) = (None, None, None);
            model.tried.push(Tried {
                provider: model.provider.clone(),
                provider_model: model.provider_model.clone(),
                credential: record.credential.take(),
                end,
            });
        }
        record.endpoint = None;
        self.retried();
    }
    /// Adds to what budgets were charged for targets that did not serve.
    fn lose(&mut self, more: Option<Lost>) {
        self.lost = match (self.lost.take(), more) {
            // Providers may have budgets of their own.
            (Some((lost, of)), Some((more, windows))) => {
                let (sum, windows) = charged_together([(lost, &*of), (more, &*windows)]);
                Some((sum, windows.into()))
            }
            (before, more) => before.or(more),
        };
    }
    /// The record of a try beside the one that this is the record of. It ends with [`Self::adopt`] or [`Self::beaten`].
    pub fn aside(&mut self) -> Self {
        let beside = self.beside.get_or_insert_default().clone();
        Self {
            worker: self.worker,
            began: self.began,
            sent: None,
            span: self.span,
            limits: LimitReport::default(),
            max_body: self.max_body,
            dialect: self.dialect,
            rpc: None,
            answered: false,
            first_byte: false,
            ended: None,
            head: self.head,
            user: self.user.clone(),
            asked: self.asked.clone(),
            prompt: self.prompt.clone(),
            cache: self.cache,
            paying: None,
            lost: None,
            beside: Some(beside),
            is_aside: true,
            told: self.told.clone(),
            record: self.record.as_ref().map(|record| UsageRecord { model: None, credential: None, ..record.clone() }),
        }
    }
    /// The try beside this one goes on in its place; how this one ended was told before.
    pub fn adopt(&mut self, mut aside: Self) {
        let (Some(mine), Some(theirs)) = (&mut self.record, aside.record.take()) else { return };
        mine.upstream = theirs.upstream;
        mine.endpoint = theirs.endpoint;
        mine.credential = theirs.credential;
        mine.upstream_status = theirs.upstream_status;
        if let (Some(mine), Some(mut theirs)) = (&mut mine.model, theirs.model) {
            theirs.guardrails = mine.guardrails.take();
            theirs.tried.splice(0..0, std::mem::take(&mut mine.tried));
            *mine = theirs;
        }
        (self.sent, self.paying) = (aside.sent.take(), aside.paying.take());
        self.told = std::mem::take(&mut aside.told);
        self.lose(aside.lost.take());
    }
    /// The try beside this one ended so, and this one goes on.
    pub fn beaten(&mut self, mut aside: Self, end: TriedEnd) {
        aside.tried(end, true);
        self.lose(aside.lost.take());
        let theirs = aside.record.take().and_then(|record| record.model);
        if let (Some(mine), Some(theirs)) = (self.record.as_mut().and_then(|record| record.model.as_mut()), theirs) {
            mine.tried.extend(theirs.tried);
        }
    }
    /// Whether another version of a credential than the one in this slot was opened for the request.
    pub fn credential_differs(&self, view: &View, slot: CredentialSlot) -> bool {
        let used = self.record.as_ref().and_then(|r| r.credential.as_ref());
        let usual = view.snapshot.credentials.describe(slot);
        used.zip(usual).is_none_or(|(used, (name, version))| used.credential != *name || used.version != version)
    }
    /// A budget pays for the model call.
    pub fn pays(&mut self, paying: Paying) {
        self.paying = Some(paying);
    }
    /// Writes how far the budgets that pay are used.
    pub fn push_budgets(&self, fields: &mut Vec<u8>) {
        if let Some(paying) = &self.paying {
            paying.push_field(self.worker.now(), fields);
        }
    }
    /// These bytes of an answer came from the upstream.
    pub fn produced(&mut self, bytes: &[u8]) {
        if let Some(paying) = &mut self.paying {
            paying.produced.feed(bytes);
        }
    }
    /// An endpoint was chosen.
    pub fn endpoint(&mut self, plan: &EndpointPlan) {
        self.edit(|r| r.endpoint = Some(plan.authority.clone()));
    }
    /// A credential was opened for the request.
    pub fn credential(&mut self, view: &View, slot: CredentialSlot) {
        let used = view.snapshot.credentials.describe(slot);
        self.edit(|r| r.credential = used.map(|(name, version)| CredentialUse { credential: name.clone(), version }));
    }
    /// What of this nobody was told of yet. A body is looked at more than once, as it came and as it goes on.
    pub fn untold(&self, mut found: Found) -> Found {
        let mut told = self.told.borrow_mut();
        found.secrets.retain(|secret| !told.secrets.contains(secret));
        found.gave_up &= !told.gave_up;
        told.secrets.extend_from_slice(&found.secrets);
        told.gave_up |= found.gave_up;
        found
    }
    /// Live secrets of ours stand in the request or its answer; whoever answers leaks is told of all but the caller's own
    /// key. Whether there is any other.
    pub fn secrets_met(&self, found: Found, place: SecretPlace, refused: bool) -> bool {
        let Some(UsageRecord { application, key, route, source, upstream, .. }) = &self.record else { return false };
        let Found { mut secrets, gave_up } = found;
        secrets.retain(|secret| !matches!(secret, LiveSecret::Key { id, .. } if Some(*id) == *key));
        let others = !secrets.is_empty();
        if place == SecretPlace::Answer && !others && !gave_up {
            return false;
        }
        self.worker.shared.secrets.sent(SentSecrets {
            secrets,
            place,
            application: application.clone(),
            key: *key,
            route: route.clone(),
            source: *source,
            upstream: upstream.clone().filter(|_| place.is_answer()),
            refused,
            gave_up,
        });
        others
    }
    /// The upstream repeated the credential it was sent, which was blanked. `known`: it is one that is looked for.
    pub fn echoed(&self, known: bool) {
        let used = self.record.as_ref().and_then(|r| r.credential.as_ref()).filter(|_| known);
        let value =
            |used: &CredentialUse| LiveSecret::Value { credential: used.credential.clone(), version: used.version };
        let found = Found { secrets: used.map(value).into_iter().collect(), gave_up: false };
        self.secrets_met(found, SecretPlace::Echo, true);
    }
    /// A secret that the request may have guessed counts as a failed authentication of its caller. How long that has to
    /// wait, where there were too many.
    pub fn count_guess(&self) -> Option<Duration> {
        let UsageRecord { key, source, .. } = self.record.as_ref()?;
        let shared = &self.worker.shared;
        let counted = shared.throttle.count_failure(*source, *key, self.worker.monotonic_ns(self.began));
        if counted.source_crossed || counted.key_crossed {
            shared.guesses.guessing(*source, key.filter(|_| counted.key_crossed));
        }
        counted.wait
    }
    /// The `n`-th try begins.
    pub fn attempt(&mut self, n: u8) {
        self.edit(|r| r.attempts = n);
    }
    /// The request goes to the upstream.
    pub fn sent(&mut self, at: Instant) {
        self.sent = Some(at);
    }
    /// Whether the present try reached its upstream.
    pub const fn is_sent(&self) -> bool {
        self.sent.is_some()
    }
    /// How long the present try has waited for its answer.
    pub fn waited(&self) -> Duration {
        self.sent.map_or(Duration::ZERO, |sent| sent.elapsed())
    }
    /// The provider has the whole request, and how far it got with it is not known.
    pub fn may_be_working(&mut self) {
        if let Some(paying) = &mut self.paying {
            paying.may_be_working();
        }
    }
    /// The answer is compressed: nothing in it is counted.
    pub fn unreadable(&mut self) {
        if let Some(paying) = &mut self.paying {
            paying.unreadable();
        }
    }
    /// A try failed and another follows.
    pub fn retried(&mut self) {
        self.sent = None;
        self.edit(|r| r.upstream_status = 0);
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
    /// Reads the tokens of a model call and prices them.
    pub fn usage(&mut self, view: &View, request: &mut UpstreamRequest) {
        let Some(call) = &mut request.call else { return };
        if matches!(call.usage, UsageProbe::Free) {
            self.edit(|r| {
                let served = (200..300).contains(&r.upstream_status);
                if let Some(model) = r.model.as_mut().filter(|_| served) {
                    model.cost = Some(Cost::Known(Default::default()));
                }
            });
        } else if let Some(told) = call.usage.total() {
            self.tokens(view, (call.model, call.target), told);
        }
    }
    /// The provider counted this, for a target of a model. The last count is the one that holds, and only one that is all
    /// has a cost.
    pub fn tokens(&mut self, view: &View, (model, target): (u32, u32), told: Told) {
        let target = &view.snapshot.models.list[model as usize].targets[target as usize];
        let time = self.time();
        self.edit(|r| {
            if let Some(model) = &mut r.model {
                model.tokens = told.tokens;
                model.cost = told.all.then(|| target.price.cost_of(time, told.tokens.as_ref(), &told.units));
            }
        });
    }
}

/// An id that sorts by time.
fn id_of(time: Timestamp, a: u64, b: u64) -> RequestId {
    let millis = (time.micros() / 1000) as u128 & ((1 << 48) - 1);
    let random = (u128::from(a) << 64 | u128::from(b)) & ((1 << 80) - 1);
    RequestId(millis << 80 | random)
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
        if let Some(mut record) = self.record.take() {
            if std::thread::panicking() {
                record.outcome = OutcomeReason::Internal;
            }
            let end = self.ended.unwrap_or_else(Instant::now);
            record.total_us = micros(self.began, end);
            if let Some(sent) = self.sent {
                record.upstream_us = micros(sent, end);
            }
            if let Some(paying) = self.paying.take() {
                // A try that was sent, and whose answer is not over.
                let reached = self.sent.is_some();
                paying.settle(&mut record, reached);
            }
            if let Some(beside) = self.beside.take() {
                self.lose(beside.take());
            }
            if let Some((lost, windows)) = self.lost.take()
                && let Some(model) = &mut record.model
            {
                let served = match model.cost {
                    Some(Cost::Known(cost) | Cost::Estimated(cost)) => pico(cost),
                    _ => 0,
                };
                let of_served = model.budgets.take().unwrap_or_default();
                let (sum, windows) = charged_together([(lost, &*windows), (served, &*of_served)]);
                (model.cost, model.budgets) = (Some(Cost::Estimated(usd(sum))), Some(windows.into()));
            }
            // What a provider served costs something, also when nobody could read how much.
            if (200..300).contains(&record.upstream_status)
                && let Some(model) = &mut record.model
                && model.cost.is_none()
            {
                model.cost = Some(Cost::UnknownUsage);
            }
            self.worker.record(record);
        }
    }
}
