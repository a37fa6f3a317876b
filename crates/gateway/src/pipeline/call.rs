//! A model call: which target serves it, what is sent there, and what is read from the answer.
//!
//! Where caller and target speak the same dialect, bytes pass and only the model's name is spliced; else the call is
//! translated, and so is its answer.

use super::{
    Inbound, Refused, authorize,
    cache::{self, Cached},
    fallback::{Elsewhere, Said},
    guard,
    guardrail::{self, Prompt, remote::Asker},
    instead,
    prompt::Rendered,
    record::Recording,
    route::RouteMatch,
    select::{self, bit},
    translate::{UpstreamBody, UpstreamRequest},
    wanted::{self, Wanted},
};
use crate::{
    budget::Charge,
    conn::Caller,
    snapshot::{
        RouteKind,
        models::{ModelPlan, TargetPlan},
    },
    worker::{View, Worker},
};
use credentialflow_llm::{
    ChatCall, anthropic, bedrock,
    cache::Form,
    gemini::{
        self,
        request::{Action, Asked, Frames, GeminiCall},
    },
    guardrail::{Masks, answer::Answer},
    openai::{
        responses::{self, Kept},
        usage::{AnswerUsage, StreamUsage},
    },
    provider::Dialect,
    realtime,
    task::{
        Task,
        call::TaskCall,
        units::{Size, Units},
        usage::{TaskUsage, Used},
    },
    translate::{self, Translation, Untranslatable},
};
use credentialflow_model::{
    OutcomeReason,
    resource::Detect,
    usage::{TokenUsage, TriedEnd},
};
use credentialflow_policy::Principal;
use std::{borrow::Cow, rc::Rc};

/// A model call on its way.
pub(crate) struct ModelCall {
    /// The model in the snapshot.
    pub model: u32,
    /// Its target.
    pub target: u32,
    /// Which of the target's own credentials, if it has any.
    pub key: u32,
    /// What is asked.
    pub task: Task,
    /// How much of it, where it is no conversation.
    pub size: Size,
    /// What the call that goes there is in.
    pub dialect: Dialect,
    /// Where it goes below the endpoint's base.
    pub path: Cow<'static, str>,
    /// Whether the caller's query goes along.
    pub query: bool,
    /// The query that goes along else.
    pub own_query: Option<Cow<'static, str>>,
    /// Finds usage in the answer.
    pub usage: UsageProbe,
    /// Puts the answer into the caller's dialect, where the target speaks another.
    pub translation: Option<Translation>,
    /// Judges the answer, where anything is looked for in it.
    pub answer: Option<Box<Answer>>,
    /// What another target needs, where there is one.
    pub elsewhere: Option<Box<Elsewhere>>,
    /// What the model's cache has to do with it, where it has one.
    pub cached: Option<Box<Cached>>,
    /// The memory of the body, which is kept until the answer begins.
    held: Charge,
}

impl ModelCall {
    /// One about what a target keeps, which costs nothing itself, and whose answer is none of a model.
    pub fn free(
        (model, target, key): (u32, u32, u32),
        task: Task,
        dialect: Dialect,
        path: String,
        worker: &Worker,
    ) -> Self {
        Self {
            model,
            target,
            key,
            task,
            size: Size::default(),
            dialect,
            path: path.into(),
            query: false,
            own_query: None,
            usage: UsageProbe::Free,
            translation: None,
            answer: None,
            elsewhere: None,
            cached: None,
            held: worker.budget.nothing(),
        }
    }

    /// Its answer has begun: neither it nor what was kept for another target is sent again.
    pub fn answered(&mut self) {
        self.elsewhere = None;
        // Less than before is always there.
        let _ = self.held.set(0);
    }

    /// The targets that were tried, the present one among them.
    pub fn tried(&self) -> Option<u64> {
        self.elsewhere.as_ref().map(|elsewhere| elsewhere.targets | bit(self.target))
    }

    /// Its target's plan.
    pub fn plan<'v>(&self, view: &'v View) -> &'v TargetPlan {
        &view.snapshot.models.list[self.model as usize].targets[self.target as usize]
    }
}

/// What a provider reported.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// `None` when it counts no tokens.
    pub tokens: Option<TokenUsage>,
    /// What it counts beside them.
    pub units: Units,
    /// Whether that is all; else the output is still to be counted.
    pub all: bool,
}

impl Told {
    fn all(tokens: TokenUsage) -> Self {
        Self::used(Used { tokens: Some(tokens), units: Units::default() })
    }

    fn begun(tokens: TokenUsage) -> Self {
        Self { all: false, ..Self::all(tokens) }
    }

    const fn used(used: Used) -> Self {
        Self { tokens: used.tokens, units: used.units, all: true }
    }
}

/// Reads usage while the answer passes.
pub(crate) enum UsageProbe {
    /// From a stream.
    Stream(StreamUsage),
    /// From a whole answer.
    Answer(AnswerUsage),
    /// From a stream in Anthropic's dialect.
    MessageStream(anthropic::usage::StreamUsage),
    /// From a whole answer in Anthropic's dialect.
    Message(anthropic::usage::AnswerUsage),
    /// From a stream of Responses.
    ResponseStream(responses::usage::StreamUsage),
    /// From a whole answer of Responses.
    Response(responses::usage::AnswerUsage),
    /// From a stream in Gemini's dialect.
    GeminiStream(gemini::usage::StreamUsage),
    /// From a whole answer in Gemini's dialect, or from a stream that comes as an array.
    Gemini(gemini::usage::AnswerUsage),
    /// From a stream of Bedrock's, out of its frames.
    ConverseStream(bedrock::usage::StreamUsage),
    /// From a whole answer of Bedrock's.
    Converse(bedrock::usage::AnswerUsage),
    /// From any answer to what is no conversation.
    Task(TaskUsage),
    /// The call costs nothing.
    Free,
}

impl UsageProbe {
    /// Fits it to what came: providers answer a call for a stream with a whole answer, and the other way round.
    pub fn fit(&mut self, is_stream: bool) {
        match self {
            Self::Stream(_) if !is_stream => *self = Self::Answer(AnswerUsage::new()),
            Self::Answer(_) if is_stream => *self = Self::Stream(StreamUsage::new(false)),
            Self::MessageStream(_) if !is_stream => *self = Self::Message(anthropic::usage::AnswerUsage::new()),
            Self::Message(_) if is_stream => *self = Self::MessageStream(anthropic::usage::StreamUsage::new()),
            Self::ResponseStream(_) if !is_stream => *self = Self::Response(responses::usage::AnswerUsage::new()),
            Self::Response(_) if is_stream => *self = Self::ResponseStream(responses::usage::StreamUsage::new()),
            Self::GeminiStream(_) if !is_stream => *self = Self::Gemini(gemini::usage::AnswerUsage::new()),
            Self::Gemini(_) if is_stream => *self = Self::GeminiStream(gemini::usage::StreamUsage::new()),
            Self::ConverseStream(_) if !is_stream => *self = Self::Converse(bedrock::usage::AnswerUsage::new()),
            Self::Converse(_) if is_stream => *self = Self::ConverseStream(bedrock::usage::StreamUsage::new()),
            Self::Task(usage) => usage.fit(is_stream),
            _ => {}
        }
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        match self {
            Self::Stream(usage) => usage.held(),
            Self::Answer(usage) => usage.held(),
            Self::MessageStream(usage) => usage.held(),
            Self::Message(usage) => usage.held(),
            Self::ResponseStream(usage) => usage.held(),
            Self::Response(usage) => usage.held(),
            Self::GeminiStream(usage) => usage.held(),
            Self::Gemini(usage) => usage.held(),
            Self::ConverseStream(usage) => usage.held(),
            Self::Converse(usage) => usage.held(),
            Self::Task(usage) => usage.held(),
            Self::Free => 0,
        }
    }

    /// What a stream told so far.
    pub fn so_far(&self) -> Option<Told> {
        match self {
            Self::Stream(usage) => usage.usage().map(Told::all),
            Self::MessageStream(usage) => usage.usage().map(Told::all).or_else(|| usage.begun().map(Told::begun)),
            Self::ResponseStream(usage) => usage.usage().map(Told::all),
            Self::ConverseStream(usage) => usage.usage().map(Told::all),
            Self::GeminiStream(usage) => usage.usage().map(Told::all).or_else(|| usage.begun().map(Told::begun)),
            Self::Task(usage) => usage.so_far().map(Told::used),
            Self::Answer(_)
            | Self::Message(_)
            | Self::Response(_)
            | Self::Gemini(_)
            | Self::Converse(_)
            | Self::Free => None,
        }
    }

    /// What was told in all.
    pub fn total(&mut self) -> Option<Told> {
        match self {
            Self::Answer(usage) => std::mem::take(usage).finish().map(Told::all),
            Self::Message(usage) => std::mem::take(usage).finish().map(Told::all),
            Self::Response(usage) => std::mem::take(usage).finish().map(Told::all),
            Self::Gemini(usage) => std::mem::take(usage).finish().map(Told::all),
            Self::Converse(usage) => std::mem::take(usage).finish().map(Told::all),
            Self::Task(usage) => Some(Told::used(usage.total())),
            _ => self.so_far(),
        }
    }
}

/// A call as its caller said it.
enum Spoken<'p> {
    /// One that names its model in its body.
    Named(ChatCall),
    /// One that names it in its path.
    Placed { asked: Asked<'p>, frames: Frames, call: GeminiCall },
    /// One that is no conversation.
    Task { task: Task, call: TaskCall },
    /// A session, which its address names.
    Session(realtime::Asked),
}

impl<'p> Spoken<'p> {
    fn read(kind: RouteKind, matched: &'p RouteMatch<'_>, body: &[u8]) -> Result<Self, Refused> {
        let refused = |why: String| Refused::new(OutcomeReason::InvalidModelCall).with_detail(why);
        if let RouteKind::Task(task) = kind {
            let call = TaskCall::parse(task, matched.content_type, body).map_err(|e| refused(e.to_string()))?;
            return Ok(Self::Task { task, call });
        }
        if kind == RouteKind::Realtime {
            return realtime::Asked::of_query(matched.query).map(Self::Session).map_err(|e| refused(e.to_string()));
        }
        if kind != RouteKind::Gemini {
            return ChatCall::parse(body).map(Self::Named).map_err(|e| refused(e.to_string()));
        }
        let asked = matched.path.rsplit('/').next().and_then(Asked::parse).ok_or_else(|| {
            let actions =
                "`generateContent`, `streamGenerateContent`, `countTokens`, `embedContent`, `batchEmbedContents`";
            refused(format!("the path asks for none of {actions}"))
        })?;
        let call = GeminiCall::parse(body, asked.model).map_err(|e| refused(e.to_string()))?;
        Ok(Self::Placed { asked, frames: Frames::of_query(matched.query), call })
    }

    fn model(&self) -> &str {
        match self {
            Self::Named(call) => call.model(),
            Self::Placed { asked, .. } => asked.model,
            Self::Task { call, .. } => call.model(),
            Self::Session(asked) => &asked.model,
        }
    }

    const fn task(&self) -> Task {
        match self {
            Self::Named(_) => Task::Chat,
            Self::Placed { asked, .. } => asked.action.task(),
            Self::Task { task, .. } => *task,
            Self::Session(_) => Task::Realtime,
        }
    }

    fn size(&self) -> Size {
        match self {
            Self::Named(_) | Self::Placed { .. } | Self::Session(_) => Size::default(),
            Self::Task { call, .. } => call.size(),
        }
    }

    fn streams(&self) -> bool {
        match self {
            Self::Named(call) => call.stream(),
            Self::Placed { asked, .. } => asked.action == Action::Stream,
            Self::Task { call, .. } => call.streams(),
            Self::Session(_) => false,
        }
    }

    fn counts(&self, kind: RouteKind) -> bool {
        match self {
            Self::Named(_) => kind == RouteKind::CountTokens,
            Self::Placed { asked, .. } => asked.action == Action::CountTokens,
            Self::Task { .. } | Self::Session(_) => false,
        }
    }

    fn translated(
        &self,
        body: &[u8],
        speaks: Dialect,
        target: &TargetPlan,
        record: &Recording<'_>,
    ) -> Result<(Vec<u8>, Translation), Untranslatable> {
        match self {
            Self::Named(_) => translate::request(body, speaks, &recipient(target), record.time()),
            Self::Placed { frames, .. } => {
                let frames = self.streams().then_some(*frames);
                translate::gemini_request(body, frames, &recipient(target), record.time())
            }
            // A session is never translated.
            Self::Task { .. } | Self::Session(_) => translate::embeddings::request(body, &recipient(target)),
        }
    }

    /// The body for a target that speaks as the caller does.
    fn rewritten(&self, body: &[u8], kind: RouteKind, target: &TargetPlan) -> Vec<u8> {
        match self {
            Self::Named(call) => {
                let ask_usage = target.ask_usage && kind == RouteKind::Chat;
                call.rewrite(body, &target.provider_model, ask_usage).into_owned()
            }
            Self::Placed { call, .. } => call.rewrite(body, &target.provider_model).into_owned(),
            Self::Task { call, .. } => call.rewrite(body, &target.provider_model).into_owned(),
            Self::Session(_) => Vec::new(),
        }
    }

    /// Whether a usage event that the caller did not ask for is to be taken out.
    fn drops_usage(&self, target: &TargetPlan) -> bool {
        match self {
            Self::Named(call) => call.will_ask(target.ask_usage),
            Self::Placed { .. } | Self::Task { .. } | Self::Session(_) => false,
        }
    }

    /// Whether it goes to this target, which offers what it asks, as it is.
    fn passes(&self, speaks: Dialect, target: &TargetPlan) -> bool {
        match self {
            Self::Named(_) | Self::Placed { .. } => target.speaks(speaks),
            Self::Task { .. } => target.dialect != Dialect::Gemini,
            Self::Session(_) => true,
        }
    }

    /// What is sent of it.
    fn sent(&self, body: Vec<u8>) -> UpstreamBody {
        match self {
            Self::Session(_) => UpstreamBody::Empty,
            _ => UpstreamBody::Buffered(body),
        }
    }

    /// What the model's guardrails make of its texts, as [`guardrail::prompt`]; others are asked last.
    async fn judged<C: Caller>(
        &self,
        plan: &ModelPlan,
        (body, unseen): (&[u8], &[String]),
        (asker, caller): (&Asker<'_>, &mut C),
        record: &mut Recording<'_>,
    ) -> Result<Prompt, Refused> {
        let Self::Task { call, .. } = self else {
            return judged(plan, (body, unseen, self.streams()), (asker, caller), record).await;
        };
        if plan.guardrails.is_some() && call.is_of_tokens() {
            return Err(Refused::new(OutcomeReason::InvalidModelCall).with_detail(
                "this model's guardrails look at texts, not at the numbers of tokens; send texts".into(),
            ));
        }
        let Some(texts) = call.texts(body) else {
            return judged(plan, (body, unseen, call.streams()), (asker, caller), record).await;
        };
        let mut judged = judged(plan, (&texts, unseen, call.streams()), (asker, caller), record).await?;
        if let Some(changed) = judged.body {
            judged.body = Some(call.with_texts(body, &changed).ok_or(Refused::new(OutcomeReason::Internal))?);
        }
        Ok(judged)
    }
}

/// What a model's guardrails make of texts: those that are judged here, and then those that others are asked for.
async fn judged<C: Caller>(
    plan: &ModelPlan,
    (body, unseen, streams): (&[u8], &[String], bool),
    (asker, caller): (&Asker<'_>, &mut C),
    record: &mut Recording<'_>,
) -> Result<Prompt, Refused> {
    let judged = guardrail::prompt(plan, (body, unseen), streams, record)?;
    match guardrail::asks(plan) {
        // Boxed, as it would make the future of every request larger.
        true => Box::pin(guardrail::remote::prompt(asker, plan, (judged, body, streams), caller, record)).await,
        false => Ok(judged),
    }
}

/// What goes to a target.
struct Built {
    body: Vec<u8>,
    dialect: Dialect,
    path: Cow<'static, str>,
    own_query: Option<Cow<'static, str>>,
    /// Whether the caller's query goes along.
    query: bool,
    usage: UsageProbe,
    translation: Option<Translation>,
}

/// Writes the call for a target.
fn build(
    call: &Spoken<'_>,
    received: &[u8],
    (kind, speaks): (RouteKind, Dialect),
    target: &TargetPlan,
    record: &Recording<'_>,
) -> Result<Built, Untranslatable> {
    let counts = call.counts(kind);
    let (body, translation) = match call.passes(speaks, target) {
        true => (call.rewritten(received, kind, target), None),
        false => {
            let (body, answer) = call.translated(received, speaks, target, record)?;
            (body, Some(answer))
        }
    };
    let translates = translation.is_some();
    let dialect = if translates { target.dialect } else { speaks };
    let at_vertex = target.claude_at_vertex && dialect == Dialect::Anthropic;
    let body = match at_vertex.then(|| anthropic::vertex::body(&body, counts)).flatten() {
        Some(body) => body,
        None => body,
    };
    let usage = match call {
        _ if counts => UsageProbe::Free,
        // What it costs is told within it.
        Spoken::Session(_) => UsageProbe::Free,
        Spoken::Task { task, call } if !translates => UsageProbe::Task(TaskUsage::new(*task, call.size())),
        _ => probe(dialect, call.streams(), !translates && call.drops_usage(target)),
    };
    let (path, own_query) = match call {
        Spoken::Session(asked) => (Task::Realtime.path().into(), Some(asked.query(&target.provider_model).into())),
        _ => place(call, counts, (target, dialect), translates),
    };
    let query = speaks == Dialect::Anthropic && !translates && !at_vertex;
    Ok(Built { body, dialect, path, own_query, query, usage, translation })
}

/// What is held while a call of so many bytes is written: of what came, and of what is made of it. While it is rewritten
/// there are two of it, and a third for texts that are read when it is translated; schemas of Google's are written anew
/// before that.
fn copies(received: &Vec<u8>, speaks: Dialect, target: &TargetPlan) -> u64 {
    let copies = match (target.speaks(speaks), speaks) {
        (true, _) => 1,
        (false, Dialect::Gemini) => 3,
        (false, _) => 2,
    };
    (received.capacity() + received.len() * copies) as u64
}

/// Reads a call and prepares what goes upstream.
pub(super) async fn prepare<C: Caller>(
    asker: &Asker<'_>,
    matched: &RouteMatch<'_>,
    Rendered { body: received, mut held, unseen }: Rendered,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<UpstreamRequest, Refused> {
    let Asker { worker, view, inbound, principal, .. } = *asker;
    let kind = matched.plan(view).kind;
    let call = Spoken::read(kind, matched, &received)?;
    let unknown = || Refused::new(OutcomeReason::ModelNotFound);
    let mut model = *view.snapshot.models.by_name.get(call.model()).ok_or_else(unknown)?;
    let mut plan = &view.snapshot.models.list[model as usize];
    // Who may use a route may have its prompt said to whatever model it is for.
    let asks_model = !matches!(kind, RouteKind::Prompt { .. });
    if asks_model {
        authorize::authorize_model(worker, view, inbound, matched, principal, (model, &plan.name), record)?;
    }
    if call.task() == Task::Chat
        && !call.counts(kind)
        && let Some(instead) = instead::of(view, principal, plan, record)
    {
        record.asked(plan.name.clone());
        (model, plan) = (instead, &view.snapshot.models.list[instead as usize]);
        if asks_model {
            authorize::authorize_model(worker, view, inbound, matched, principal, (model, &plan.name), record)?;
        }
    }
    guard::received::body(view, plan, &received, record)?;
    if kind == RouteKind::Responses {
        keeps_nothing_here(plan, &received)?;
    }
    if plan.cache.is_some() {
        held.set(received.capacity() as u64 * 3).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
    }
    let again = cache::Said::of(kind, &call, &received);
    let mut cached = Cached::of(view, plan, &again, (inbound, matched, principal), record).map(Box::new);
    if plan.guardrails.is_some() {
        // What is looked at is read into texts of its own, and may be written anew.
        held.set(received.capacity() as u64 * 3).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
    }
    let Prompt { body: changed, routed, masks, .. } =
        call.judged(plan, (&received, &unseen), (asker, caller), record).await?;
    drop(unseen);
    if let Some(cached) = cached.as_mut().filter(|_| record.has_findings()) {
        cached.pass();
    }
    let (received, call) = match changed {
        None => (received, call),
        Some(changed) => {
            let call = Spoken::read(kind, matched, &changed)?;
            (changed, call)
        }
    };
    let found = (routed, masks);
    let mut request =
        chosen(worker, view, (inbound, matched, principal), model, (call, received, held), found, record)?;
    if let Some(call) = &mut request.call {
        call.cached = cached;
    }
    Ok(request)
}

/// Prepares what a guardrail asks of a model that moderates. Whoever may call the model that the guardrail is of may have
/// it asked.
pub(super) fn of_guardrail(
    worker: &Worker,
    view: &View,
    (inbound, matched, principal): (&Inbound<'_>, &RouteMatch<'_>, &Principal),
    (received, held): (Vec<u8>, Charge),
    record: &mut Recording<'_>,
) -> Result<UpstreamRequest, Refused> {
    let call = Spoken::read(matched.plan(view).kind, matched, &received)?;
    let unknown = || Refused::new(OutcomeReason::ModelNotFound);
    let model = *view.snapshot.models.by_name.get(call.model()).ok_or_else(unknown)?;
    chosen(worker, view, (inbound, matched, principal), model, (call, received, held), (None, None), record)
}

/// Prepares what starts a session.
pub(super) fn of_session(
    worker: &Worker,
    view: &View,
    (inbound, matched, principal): (&Inbound<'_>, &RouteMatch<'_>, &Principal),
    record: &mut Recording<'_>,
) -> Result<UpstreamRequest, Refused> {
    let call = Spoken::read(matched.plan(view).kind, matched, &[])?;
    let unknown = || Refused::new(OutcomeReason::ModelNotFound);
    let model = *view.snapshot.models.by_name.get(call.model()).ok_or_else(unknown)?;
    let name = &view.snapshot.models.list[model as usize].name;
    authorize::authorize_model(worker, view, inbound, matched, principal, (model, name), record)?;
    let nothing = (call, Vec::new(), worker.budget.nothing());
    chosen(worker, view, (inbound, matched, principal), model, nothing, (None, None), record)
}

/// Chooses a target for a call, and writes what goes there.
fn chosen(
    worker: &Worker,
    view: &View,
    (inbound, matched, principal): (&Inbound<'_>, &RouteMatch<'_>, &Principal),
    model: u32,
    (call, received, mut held): (Spoken<'_>, Vec<u8>, Charge),
    (routed, masks): (Option<Detect>, Option<Masks>),
    record: &mut Recording<'_>,
) -> Result<UpstreamRequest, Refused> {
    let kind = matched.plan(view).kind;
    let plan = &view.snapshot.models.list[model as usize];
    let speaks = kind.dialect().unwrap_or(Dialect::OpenAi);
    let task = call.task();
    let turn = view.model_turns[model as usize].of(speaks);
    // Counting comes before a call and takes nobody's turn.
    let counts = call.counts(kind);
    let answer = match (task, counts) {
        (Task::Chat, false) => guardrail::of_answer(plan, masks).map(Box::new),
        _ => None,
    };
    if !counts {
        turn.set(turn.get().wrapping_add(1));
    }
    let said = wanted::Kind { speaks, task, counts, streams: call.streams(), routed };
    let wanted = Wanted::of(worker, plan, (said, turn.get()), &received, (inbound, principal), record.time())?;
    let (mut targets, mut untranslatable) = (0, None);
    let (index, built) = loop {
        let alike = untranslatable.is_some();
        let admits = |target: &TargetPlan| !alike || call.passes(speaks, target);
        let index = select::target(view, plan, &wanted, (targets, true), admits)
            .ok_or_else(|| nobody((task, counts), &untranslatable))?;
        let target = &plan.targets[index as usize];
        held.set(copies(&received, speaks, target)).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
        match build(&call, &received, (kind, speaks), target, record) {
            Ok(built) => break (index, built),
            Err(why) => untranslatable = Some(why),
        }
        targets |= bit(index);
    };
    let target = &plan.targets[index as usize];
    let (streams, size) = (call.streams(), call.size());
    let (mut key, mut elsewhere, mut until) = (0, None, u64::MAX);
    let mut kept = 0;
    if plan.has_choice() {
        key = select::key(view, target, &wanted, (0, true)).unwrap_or(0);
        select::used(view, target, key, &wanted);
        let received = if plan.targets.len() > 1 { received } else { Vec::new() };
        kept = received.capacity();
        let said = Rc::new(Said { received, wanted });
        elsewhere = Some(Box::new(Elsewhere { said, targets, keys: 0, hedged: false }));
    } else {
        drop(received);
    }
    if let Some(deadline) = plan.deadline {
        until = worker.tick_in(deadline);
    }
    let Built { body, dialect, path, own_query, query, usage, translation } = built;
    // Hardly ever more than before; and what is there is there.
    let _ = held.set((body.capacity() + kept) as u64);
    record.upstream(&view.snapshot.upstreams[target.upstream as usize]);
    record.model(plan, target, streams);
    Ok(UpstreamRequest {
        upstream: target.upstream,
        body: call.sent(body),
        attempts: 0,
        before: 0,
        written: 0,
        until,
        last: None,
        call: Some(ModelCall {
            model,
            target: index,
            key,
            task,
            size,
            dialect,
            path,
            query,
            own_query,
            usage,
            translation,
            answer,
            elsewhere,
            cached: None,
            held,
        }),
        mcp: None,
        idempotent: inbound.is_idempotent(),
        fresh: false,
        _held: None,
    })
}

impl<'a> cache::Said<'a> {
    /// What a cache has to know of a call.
    fn of(kind: RouteKind, call: &Spoken<'_>, body: &'a [u8]) -> Self {
        let form = match (call, call.streams()) {
            (call, _) if call.task() != Task::Chat => Form::Other,
            (Spoken::Placed { frames: Frames::Array, .. }, true) => Form::Array,
            (_, true) => Form::Events,
            // A form of our own.
            (_, false) if matches!(kind, RouteKind::Prompt { .. }) => Form::Other,
            (_, false) => Form::Whole,
        };
        let speaks = kind.dialect().unwrap_or(Dialect::OpenAi);
        Self { speaks, task: call.task(), counts: call.counts(kind), form, body }
    }
}

/// Why no target takes a call.
fn nobody((task, counts): (Task, bool), untranslatable: &Option<Untranslatable>) -> Refused {
    let why = match untranslatable {
        Some(why) => why.to_string(),
        None if counts => "no provider of this model counts tokens beforehand".into(),
        None => format!("no provider of this model offers {task} in this form"),
    };
    Refused::new(OutcomeReason::InvalidModelCall).with_detail(why)
}

/// Makes a request whose target failed one for the next target, written anew from what the caller said. False: there is
/// none that could take it, and nothing has changed.
pub(super) fn move_on(
    view: &View,
    matched: &RouteMatch<'_>,
    request: &mut UpstreamRequest,
    elsewhere: &mut Elsewhere,
    end: TriedEnd,
    record: &mut Recording<'_>,
) -> bool {
    let Some(call) = &mut request.call else { return false };
    let said = elsewhere.said.clone();
    let (kind, mut targets) = (matched.plan(view).kind, elsewhere.targets | bit(call.target));
    // It was read before.
    let Ok(spoken) = Spoken::read(kind, matched, &said.received) else { return false };
    let plan = &view.snapshot.models.list[call.model as usize];
    let sent = match &request.body {
        UpstreamBody::Buffered(body) => body.capacity() as u64,
        _ => 0,
    };
    if may_be_working(end) {
        targets |= at_place_of(view, plan, plan.targets[call.target as usize].upstream);
    }
    let Some(taker) = taker(view, (kind, &spoken), plan, (&said, targets), (&mut call.held, sent), record) else {
        let _ = call.held.set(sent + said.received.capacity() as u64);
        return false;
    };
    let Taker { index, key, targets, built } = taker;
    let target = &plan.targets[index as usize];
    record.tried(end, true);
    select::used(view, target, key, &said.wanted);
    let Built { body, dialect, path, own_query, query, usage, translation } = built;
    let _ = call.held.set((body.capacity() + said.received.capacity()) as u64);
    (elsewhere.targets, elsewhere.keys) = (targets, 0);
    (call.target, call.key) = (index, key);
    (call.dialect, call.path, call.query, call.own_query) = (dialect, path, query, own_query);
    (call.usage, call.translation) = (usage, translation);
    request.body = spoken.sent(body);
    request.written = request.attempts;
    request.upstream = target.upstream;
    record.upstream(&view.snapshot.upstreams[target.upstream as usize]);
    record.model(plan, target, spoken.streams());
    true
}

/// The targets of a model that lead to the place of an upstream.
fn at_place_of(view: &View, plan: &ModelPlan, upstream: u32) -> u64 {
    let same = |target: &TargetPlan| view.snapshot.is_same_place(target.upstream, upstream);
    plan.targets.iter().zip(0..).filter(|(target, _)| same(target)).fold(0, |all, (_, i)| all | bit(i))
}

/// A target that takes a call next, and what is sent there.
struct Taker {
    index: u32,
    key: u32,
    /// Those that were tried or passed over before, and itself.
    targets: u64,
    built: Built,
}

/// The target that takes a call next, of those that are not in a set; what is sent there counts beside what is held.
fn taker(
    view: &View,
    (kind, spoken): (RouteKind, &Spoken<'_>),
    plan: &ModelPlan,
    (said, mut targets): (&Said, u64),
    (held, sent): (&mut Charge, u64),
    record: &Recording<'_>,
) -> Option<Taker> {
    let Said { received, wanted } = said;
    loop {
        let index = select::target(view, plan, wanted, (targets, false), |_| true)?;
        targets |= bit(index);
        let target = &plan.targets[index as usize];
        let Some(key) = select::key(view, target, wanted, (0, false)) else { continue };
        held.set(sent + copies(received, wanted.speaks, target)).ok()?;
        if let Ok(built) = build(spoken, received, (kind, wanted.speaks), target, record) {
            return Some(Taker { index, key, targets, built });
        }
    }
}

/// What it takes to ask another target beside the one that a request is tried at.
pub(super) struct Beside {
    model: u32,
    said: Rc<Said>,
    /// The targets that were tried.
    targets: u64,
    /// Where the other try is.
    upstream: u32,
    until: u64,
}

impl Beside {
    /// Of a request that is about to be tried. From here on it waits for the first token of a stream.
    pub fn of(request: &mut UpstreamRequest) -> Option<Self> {
        let call = request.call.as_mut()?;
        let targets = call.tried()?;
        let elsewhere = call.elsewhere.as_mut()?;
        elsewhere.hedged = true;
        let (upstream, until) = (request.upstream, request.until);
        Some(Self { model: call.model, said: elsewhere.said.clone(), targets, upstream, until })
    }

    /// The request for another target, which is at no place where the call is already; `None` where there is none.
    pub fn request(
        &self,
        worker: &Worker,
        view: &View,
        matched: &RouteMatch<'_>,
        aside: &mut Recording<'_>,
    ) -> Option<UpstreamRequest> {
        let kind = matched.plan(view).kind;
        let spoken = Spoken::read(kind, matched, &self.said.received).ok()?;
        let plan = &view.snapshot.models.list[self.model as usize];
        let targets = self.targets | at_place_of(view, plan, self.upstream);
        let mut held = worker.budget.nothing();
        let taker = taker(view, (kind, &spoken), plan, (&self.said, targets), (&mut held, 0), aside)?;
        let Taker { index, key, targets, built } = taker;
        let Built { body, dialect, path, own_query, query, usage, translation } = built;
        // When it goes on alone, it is this one that keeps what the caller said.
        let _ = held.set((body.capacity() + self.said.received.capacity()) as u64);
        let target = &plan.targets[index as usize];
        select::used(view, target, key, &self.said.wanted);
        aside.upstream(&view.snapshot.upstreams[target.upstream as usize]);
        aside.model(plan, target, spoken.streams());
        let elsewhere = Elsewhere { said: self.said.clone(), targets, keys: 0, hedged: true };
        Some(UpstreamRequest {
            upstream: target.upstream,
            body: UpstreamBody::Buffered(body),
            attempts: 0,
            before: 0,
            written: 0,
            until: self.until,
            last: None,
            call: Some(ModelCall {
                model: self.model,
                target: index,
                key,
                task: spoken.task(),
                size: spoken.size(),
                dialect,
                path,
                query,
                own_query,
                usage,
                translation,
                // That of the other one, when this one goes on in its place.
                answer: None,
                elsewhere: Some(Box::new(elsewhere)),
                cached: None,
                held,
            }),
            mcp: None,
            idempotent: false,
            fresh: false,
            _held: None,
        })
    }
}

/// Whether a provider may be at work on a call whose try ended so: it had the call, and did not answer with an error.
const fn may_be_working(end: TriedEnd) -> bool {
    matches!(
        end,
        TriedEnd::Outcome(
            OutcomeReason::UpstreamTimeout
                | OutcomeReason::UpstreamReset
                | OutcomeReason::UpstreamTruncated
                | OutcomeReason::UpstreamMalformed
        )
    )
}

/// Where a call goes below the endpoint's base, and the query it takes along unless the caller's goes.
fn place(
    call: &Spoken<'_>,
    counts: bool,
    (target, dialect): (&TargetPlan, Dialect),
    translated: bool,
) -> (Cow<'static, str>, Option<Cow<'static, str>>) {
    let path = match dialect {
        Dialect::OpenAi | Dialect::Responses | Dialect::Anthropic if call.task() != Task::Chat => call.task().path(),
        Dialect::Anthropic if target.claude_at_vertex => {
            return (anthropic::vertex::path(&target.provider_model, call.streams(), counts).into(), None);
        }
        Dialect::Anthropic if counts => "/messages/count_tokens",
        Dialect::Anthropic => "/messages",
        Dialect::OpenAi => "/chat/completions",
        Dialect::Responses => "/responses",
        Dialect::Bedrock => return (bedrock::path(&target.provider_model, call.streams()).into(), None),
        Dialect::Gemini => {
            let action = match (call, counts, call.streams()) {
                (Spoken::Placed { asked, .. }, ..) => asked.action,
                (Spoken::Task { .. } | Spoken::Session(_), ..) => Action::BatchEmbed,
                (Spoken::Named(_), true, _) => Action::CountTokens,
                (Spoken::Named(_), false, true) => Action::Stream,
                (Spoken::Named(_), false, false) => Action::Generate,
            };
            // A stream is translated from events, whatever the caller gets.
            let events = translated || matches!(call, Spoken::Placed { frames: Frames::Events, .. });
            let query = (action == Action::Stream && events).then_some("alt=sse".into());
            return (action.path(&target.provider_model).into(), query);
        }
    };
    (path.into(), None)
}

/// Refuses a call of Responses that would be answered later, as nobody could fetch the answer; and one that goes on from
/// an answer that is kept somewhere, where the model has providers that do not know of each other.
fn keeps_nothing_here(plan: &ModelPlan, body: &[u8]) -> Result<(), Refused> {
    let refused = |detail: String| Err(Refused::new(OutcomeReason::InvalidModelCall).with_detail(detail));
    let kept = Kept::of(body).map_err(|e| Refused::new(OutcomeReason::InvalidModelCall).with_detail(e.to_string()))?;
    if kept.background {
        return refused("answers are awaited here: `background` has no counterpart".into());
    }
    let masks = plan.guardrails.as_ref().and_then(|built| built.as_ref().ok()).is_some_and(|built| built.masks());
    if let Some(field) = kept.continues
        && masks
    {
        return refused(format!(
            "`{field}` goes on from a call whose masked values are not known any more; send the whole conversation"
        ));
    }
    let mut keeping = plan.targets.iter().filter(|target| target.speaks(Dialect::Responses)).map(|t| t.upstream);
    let first = keeping.next();
    match kept.continues {
        Some(field) if keeping.any(|other| Some(other) != first) => refused(format!(
            "`{field}` names what one provider keeps, and this model has several; send the whole conversation"
        )),
        _ => Ok(()),
    }
}

/// Whom a call is translated for.
fn recipient(target: &TargetPlan) -> translate::To<'_> {
    let TargetPlan { dialect, provider_model, limit, ask_usage, .. } = target;
    translate::To { dialect: *dialect, model: provider_model, limit: *limit, ask_usage: *ask_usage }
}

fn probe(dialect: Dialect, streams: bool, drops_usage: bool) -> UsageProbe {
    match (dialect, streams) {
        (Dialect::Anthropic, true) => UsageProbe::MessageStream(anthropic::usage::StreamUsage::new()),
        (Dialect::Anthropic, false) => UsageProbe::Message(anthropic::usage::AnswerUsage::new()),
        (Dialect::Responses, true) => UsageProbe::ResponseStream(responses::usage::StreamUsage::new()),
        (Dialect::Responses, false) => UsageProbe::Response(responses::usage::AnswerUsage::new()),
        (Dialect::Gemini, true) => UsageProbe::GeminiStream(gemini::usage::StreamUsage::new()),
        (Dialect::Gemini, false) => UsageProbe::Gemini(gemini::usage::AnswerUsage::new()),
        (Dialect::Bedrock, true) => UsageProbe::ConverseStream(bedrock::usage::StreamUsage::new()),
        (Dialect::Bedrock, false) => UsageProbe::Converse(bedrock::usage::AnswerUsage::new()),
        (Dialect::OpenAi, true) => UsageProbe::Stream(StreamUsage::new(drops_usage)),
        (Dialect::OpenAi, false) => UsageProbe::Answer(AnswerUsage::new()),
    }
}
