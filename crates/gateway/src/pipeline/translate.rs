//! From the caller's request to the upstream's: what is sent, and how often it may be sent again.

use super::{Inbound, Refused, authorize, body, record::Recording, route::RouteMatch};
use crate::{
    budget::Charge,
    conn::Caller,
    net::control::Control,
    snapshot::{InjectPlan, RouteKind, UpstreamPlan},
    worker::{View, Worker},
};
use credentialflow_llm::openai::{
    request::ChatCall,
    usage::{AnswerUsage, StreamUsage},
};
use credentialflow_model::OutcomeReason;
use credentialflow_policy::Principal;

/// What goes upstream, apart from credential and endpoint.
pub(crate) struct UpstreamRequest {
    /// Which upstream.
    pub upstream: u32,
    /// The body.
    pub body: UpstreamBody,
    /// Tries so far.
    pub attempts: u8,
    /// The endpoint of the last try, which is avoided next.
    pub last: Option<u32>,
    /// Present on model calls.
    pub chat: Option<ChatRequest>,
    /// Whether the caller's method may be repeated.
    pub idempotent: bool,
    /// Whether only a new connection will do, because a kept one was found closed.
    pub fresh: bool,
}

/// A body on its way to the upstream.
pub(crate) enum UpstreamBody {
    /// None.
    Empty,
    /// Held in memory; can be sent again.
    Buffered(Vec<u8>),
    /// Passed on as it comes; can be sent again only while nothing of it was read.
    Streamed {
        /// Its length, if known beforehand.
        length: Option<u64>,
        /// Whether any of it was read.
        begun: bool,
    },
}

/// A model call.
pub(crate) struct ChatRequest {
    /// Model and target in the snapshot.
    pub model: u32,
    /// Its target.
    pub target: u32,
    /// Finds usage in the answer.
    pub usage: UsageProbe,
    /// The memory of the body, which is kept until the answer is over.
    _held: Charge,
}

/// Reads usage while the answer passes.
pub(crate) enum UsageProbe {
    /// From a stream.
    Stream(StreamUsage),
    /// From a whole answer.
    Answer(AnswerUsage),
}

impl UsageProbe {
    /// Fits it to what came: providers answer a call for a stream with a whole answer, and the other way round.
    pub fn fit(&mut self, is_stream: bool) {
        match self {
            Self::Stream(_) if !is_stream => *self = Self::Answer(AnswerUsage::new()),
            Self::Answer(_) if is_stream => *self = Self::Stream(StreamUsage::new(false)),
            _ => {}
        }
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        match self {
            Self::Stream(usage) => usage.held(),
            Self::Answer(usage) => usage.held(),
        }
    }
}

/// A try that failed, and whether another may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Why.
    pub reason: OutcomeReason,
    /// Whether the upstream cannot have acted on the request.
    pub untouched: bool,
    /// Whether a kept connection turned out to be closed; says nothing about the endpoint.
    pub stale: bool,
}

impl UpstreamRequest {
    /// The upstream's plan.
    pub fn plan<'v>(&self, view: &'v View) -> &'v UpstreamPlan {
        &view.snapshot.upstreams[self.upstream as usize]
    }

    /// How the credential is put in: the target's way before the upstream's.
    pub fn inject_plan<'v>(&self, view: &'v View) -> Option<&'v InjectPlan> {
        let target = self
            .chat
            .as_ref()
            .and_then(|c| view.snapshot.models.list[c.model as usize].targets[c.target as usize].inject.as_ref());
        target.or(self.plan(view).inject.as_ref())
    }

    /// Lets another try happen, or gives the failure up. Retried are failures before the upstream can
    /// have acted, and, for methods that may be repeated, those before it answered; never once part of
    /// the body has gone. A kept connection found closed does not use up a try, but happens only once.
    pub fn retry_after(&mut self, failure: Failure, most: u8, record: &mut Recording<'_>) -> Result<(), Refused> {
        let repeatable = failure.untouched || (self.idempotent && is_connection_failure(failure.reason));
        let body_left = !matches!(self.body, UpstreamBody::Streamed { begun: true, .. });
        let most = if self.fresh || failure.stale { most.saturating_add(1) } else { most };
        if !repeatable || !body_left || self.attempts >= most {
            return Err(Refused::new(failure.reason));
        }
        self.fresh |= failure.stale;
        record.retried();
        Ok(())
    }
}

fn is_connection_failure(reason: OutcomeReason) -> bool {
    use OutcomeReason as R;
    matches!(reason, R::UpstreamConnectFailed | R::UpstreamConnectTimeout | R::UpstreamTlsFailed | R::UpstreamReset)
}

/// Prepares the upstream's request. Model calls are read whole, everything else is streamed.
#[expect(clippy::too_many_arguments, reason = "a stage sees what the stages before it made")]
pub(super) async fn translate<C: Caller>(
    worker: &Worker,
    view: &View,
    control: &Control,
    inbound: &Inbound<'_>,
    matched: &RouteMatch<'_>,
    principal: &Principal,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<UpstreamRequest, Refused> {
    let plan = matched.plan(view);
    let length = body::announced(inbound, plan.max_body)?;
    let idempotent = inbound.is_idempotent();
    match plan.kind {
        RouteKind::Proxy { upstream } => {
            let body = match length {
                Some(0) => UpstreamBody::Empty,
                length => UpstreamBody::Streamed { length, begun: false },
            };
            record.upstream(&view.snapshot.upstreams[upstream as usize]);
            Ok(UpstreamRequest { upstream, body, attempts: 0, last: None, chat: None, idempotent, fresh: false })
        }
        RouteKind::ModelList => Err(Refused::new(OutcomeReason::Internal)),
        RouteKind::Chat => {
            let (received, mut held) = body::collect(worker, control, caller, plan.max_body, length, record).await?;
            let call = ChatCall::parse(&received)
                .map_err(|e| Refused::new(OutcomeReason::InvalidModelCall).with_detail(e.to_string()))?;
            let unknown = || Refused::new(OutcomeReason::ModelNotFound);
            let model = *view.snapshot.models.by_name.get(call.model()).ok_or_else(unknown)?;
            let model_plan = &view.snapshot.models.list[model as usize];
            authorize::authorize_model(worker, view, inbound, matched, principal, (model, &model_plan.name), record)?;
            let turn = &view.model_turns[model as usize];
            turn.set(turn.get().wrapping_add(1));
            let target_index = model_plan.target_index(turn.get());
            let target = &model_plan.targets[target_index as usize];
            // While it is rewritten there are two of it.
            held.set((received.capacity() + received.len()) as u64)
                .map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
            let body = call.rewrite(&received, &target.provider_model, target.ask_usage).into_owned();
            let usage = if call.stream() {
                UsageProbe::Stream(StreamUsage::new(call.will_ask(target.ask_usage)))
            } else {
                UsageProbe::Answer(AnswerUsage::new())
            };
            drop(received);
            // Hardly ever more than before; and what is there is there.
            let _ = held.set(body.capacity() as u64);
            record.upstream(&view.snapshot.upstreams[target.upstream as usize]);
            record.model(model_plan, target, call.stream());
            Ok(UpstreamRequest {
                upstream: target.upstream,
                body: UpstreamBody::Buffered(body),
                attempts: 0,
                last: None,
                chat: Some(ChatRequest { model, target: target_index, usage, _held: held }),
                idempotent,
                fresh: false,
            })
        }
    }
}
