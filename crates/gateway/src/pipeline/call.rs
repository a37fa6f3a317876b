//! A model call: which target serves it, what is sent there, and what is read from the answer.
//!
//! Where caller and target speak the same dialect, bytes pass and only the model's name is spliced; else the call is
//! translated, and so is its answer.

use super::{
    Inbound, Refused, authorize,
    record::Recording,
    route::RouteMatch,
    translate::{UpstreamBody, UpstreamRequest},
};
use crate::{
    budget::Charge,
    snapshot::{
        RouteKind,
        models::{ModelPlan, TargetPlan},
    },
    worker::{View, Worker},
};
use credentialflow_llm::{
    ChatCall, anthropic,
    openai::usage::{AnswerUsage, StreamUsage},
    provider::Dialect,
    translate::{self, Translation, Untranslatable},
};
use credentialflow_model::{OutcomeReason, usage::TokenUsage};
use credentialflow_policy::Principal;

/// A model call on its way.
pub(crate) struct ModelCall {
    /// The model in the snapshot.
    pub model: u32,
    /// Its target.
    pub target: u32,
    /// What the target speaks.
    pub dialect: Dialect,
    /// Where it goes below the endpoint's base.
    pub path: &'static str,
    /// Whether the caller's query goes along.
    pub query: bool,
    /// Finds usage in the answer.
    pub usage: UsageProbe,
    /// Puts the answer into the caller's dialect, where the target speaks another.
    pub translation: Option<Translation>,
    /// The memory of the body, which is kept until the answer is over.
    _held: Charge,
}

/// Tokens that a provider reported.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub tokens: TokenUsage,
    /// Whether that is all; else the output is still to be counted.
    pub all: bool,
}

impl Told {
    const fn all(tokens: TokenUsage) -> Self {
        Self { tokens, all: true }
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
            Self::Free => 0,
        }
    }

    /// What a stream told so far.
    pub fn so_far(&self) -> Option<Told> {
        match self {
            Self::Stream(usage) => usage.usage().map(Told::all),
            Self::MessageStream(usage) => {
                let begun = || usage.begun().map(|tokens| Told { tokens, all: false });
                usage.usage().map(Told::all).or_else(begun)
            }
            Self::Answer(_) | Self::Message(_) | Self::Free => None,
        }
    }

    /// What was told in all.
    pub fn total(&mut self) -> Option<Told> {
        match self {
            Self::Answer(usage) => std::mem::take(usage).finish().map(Told::all),
            Self::Message(usage) => std::mem::take(usage).finish().map(Told::all),
            _ => self.so_far(),
        }
    }
}

/// Reads a call and prepares what goes upstream.
pub(super) fn prepare(
    worker: &Worker,
    view: &View,
    inbound: &Inbound<'_>,
    matched: &RouteMatch<'_>,
    principal: &Principal,
    (received, mut held): (Vec<u8>, Charge),
    record: &mut Recording<'_>,
) -> Result<UpstreamRequest, Refused> {
    let call = ChatCall::parse(&received)
        .map_err(|e| Refused::new(OutcomeReason::InvalidModelCall).with_detail(e.to_string()))?;
    let unknown = || Refused::new(OutcomeReason::ModelNotFound);
    let model = *view.snapshot.models.by_name.get(call.model()).ok_or_else(unknown)?;
    let model_plan = &view.snapshot.models.list[model as usize];
    authorize::authorize_model(worker, view, inbound, matched, principal, (model, &model_plan.name), record)?;
    let kind = matched.plan(view).kind;
    let turns = &view.model_turns[model as usize];
    let speaks = kind.dialect().unwrap_or(Dialect::OpenAi);
    let turn = if speaks == Dialect::Anthropic { &turns.messages } else { &turns.chat };
    // Counting comes before a call and takes nobody's turn.
    if kind != RouteKind::CountTokens {
        turn.set(turn.get().wrapping_add(1));
    }
    let mut target_index = target_of(model_plan, kind, turn.get())?;
    let target = &model_plan.targets[target_index as usize];
    let foreign = target.dialect != speaks;
    // While it is rewritten there are two of it, and a third for texts that are read when it is translated.
    let copies = received.capacity() + received.len() * if foreign { 2 } else { 1 };
    held.set(copies as u64).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
    let mut translated = None;
    if foreign {
        match translate::request(&received, speaks, &recipient(target), record.time()) {
            Ok(done) => translated = Some(done),
            Err(e) => target_index = untranslated(model_plan, speaks, turn.get(), &e)?,
        }
    }
    let target = &model_plan.targets[target_index as usize];
    let (body, translation) = match translated {
        Some((body, answer)) => (body, Some(answer)),
        None => {
            let ask_usage = target.ask_usage && kind == RouteKind::Chat;
            (call.rewrite(&received, &target.provider_model, ask_usage).into_owned(), None)
        }
    };
    let usage = probe(kind, &call, target, translation.is_some());
    drop(received);
    // Hardly ever more than before; and what is there is there.
    let _ = held.set(body.capacity() as u64);
    record.upstream(&view.snapshot.upstreams[target.upstream as usize]);
    record.model(model_plan, target, call.stream());
    let path = match (kind, target.dialect) {
        (RouteKind::CountTokens, _) => "/messages/count_tokens",
        (_, Dialect::Anthropic) => "/messages",
        (_, Dialect::OpenAi) => "/chat/completions",
    };
    let query = speaks == Dialect::Anthropic && translation.is_none();
    Ok(UpstreamRequest {
        upstream: target.upstream,
        body: UpstreamBody::Buffered(body),
        attempts: 0,
        last: None,
        call: Some(ModelCall {
            model,
            target: target_index,
            dialect: target.dialect,
            path,
            query,
            usage,
            translation,
            _held: held,
        }),
        idempotent: inbound.is_idempotent(),
        fresh: false,
    })
}

/// The target of the `turn`-th call.
fn target_of(plan: &ModelPlan, kind: RouteKind, turn: u32) -> Result<u32, Refused> {
    match kind {
        RouteKind::CountTokens => plan.target_speaking(Dialect::Anthropic, turn).ok_or_else(|| {
            Refused::new(OutcomeReason::InvalidModelCall)
                .with_detail("no provider of this model counts tokens beforehand".into())
        }),
        _ => Ok(plan.target_index(turn)),
    }
}

/// Whom a call is translated for.
fn recipient(target: &TargetPlan) -> translate::To<'_> {
    let TargetPlan { dialect, provider_model, limit, ask_usage, .. } = target;
    translate::To { dialect: *dialect, model: provider_model, limit: *limit, ask_usage: *ask_usage }
}

/// The target of a call that cannot be translated: one that takes it as it is.
fn untranslated(plan: &ModelPlan, speaks: Dialect, turn: u32, why: &Untranslatable) -> Result<u32, Refused> {
    plan.target_speaking(speaks, turn)
        .ok_or_else(|| Refused::new(OutcomeReason::InvalidModelCall).with_detail(why.to_string()))
}

fn probe(kind: RouteKind, call: &ChatCall, target: &TargetPlan, translated: bool) -> UsageProbe {
    match (kind, target.dialect) {
        (RouteKind::CountTokens, _) => UsageProbe::Free,
        (_, Dialect::Anthropic) if call.stream() => UsageProbe::MessageStream(anthropic::usage::StreamUsage::new()),
        (_, Dialect::Anthropic) => UsageProbe::Message(anthropic::usage::AnswerUsage::new()),
        (_, Dialect::OpenAi) if call.stream() => {
            UsageProbe::Stream(StreamUsage::new(!translated && call.will_ask(target.ask_usage)))
        }
        (_, Dialect::OpenAi) => UsageProbe::Answer(AnswerUsage::new()),
    }
}
