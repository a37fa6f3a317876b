//! From the caller's request to the upstream's: what is sent, and how often it may be sent again.

use super::{
    Inbound, Permit, Refused, body,
    call::{self, ModelCall},
    guardrail, instead,
    mcp::{self, McpCall},
    prompt,
    record::Recording,
    route::RouteMatch,
    sigv4, users,
};
use crate::{
    budget::Charge,
    conn::Caller,
    net::control::Control,
    snapshot::{InjectPlan, RouteKind, UpstreamPlan},
    worker::{View, Worker},
};
use credentialflow_model::OutcomeReason;
use credentialflow_policy::Principal;
use std::{rc::Rc, time::Duration};

/// What goes upstream, apart from credential and endpoint.
pub(crate) struct UpstreamRequest {
    /// Which upstream.
    pub upstream: u32,
    /// The body.
    pub body: UpstreamBody,
    /// Tries so far.
    pub attempts: u8,
    /// Those of them that were at other targets, or with another credential.
    pub before: u8,
    /// Tries when it was written, for this target.
    pub written: u8,
    /// The tick at which a model call has waited long enough for its answer to begin.
    pub until: u64,
    /// The endpoint of the last try, which is avoided next.
    pub last: Option<u32>,
    /// Present on model calls.
    pub call: Option<ModelCall>,
    /// Present where it goes to an MCP server.
    pub mcp: Option<Box<McpCall>>,
    /// Whether the caller's method may be repeated.
    pub idempotent: bool,
    /// Whether only a new connection will do, because a kept one was found closed.
    pub fresh: bool,
    /// The memory of a body that is held for its signature; that of a model call has its own.
    pub _held: Option<Charge>,
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
    /// One that is no model call.
    pub fn plain(upstream: u32, body: UpstreamBody) -> Self {
        Self {
            upstream,
            body,
            attempts: 0,
            before: 0,
            written: 0,
            until: u64::MAX,
            last: None,
            call: None,
            mcp: None,
            idempotent: false,
            fresh: false,
            _held: None,
        }
    }

    /// The upstream's plan.
    pub fn plan<'v>(&self, view: &'v View) -> &'v UpstreamPlan {
        &view.snapshot.upstreams[self.upstream as usize]
    }

    /// How the credential is put in: the target's way before the upstream's.
    pub fn inject_plan<'v>(&self, view: &'v View) -> Option<&'v InjectPlan> {
        let own = self.call.as_ref().and_then(|c| c.plan(view).keys.get(c.key as usize)).map(|key| &key.inject);
        own.or(self.plan(view).inject.as_ref())
    }

    /// The tick until which something may take so long.
    pub fn tick_in(&self, worker: &Worker, most: Duration) -> u64 {
        worker.tick_in(most).min(self.until)
    }

    /// How long the answer may take to begin.
    pub fn patience(&self, view: &View) -> Duration {
        self.call.as_ref().and_then(|c| c.plan(view).timeout).unwrap_or(self.plan(view).response)
    }

    /// What comes is a first try, with another credential or at another target.
    pub fn again(&mut self) {
        self.before = self.attempts;
        self.last = None;
        self.fresh = false;
    }

    /// The request beside this one goes on in its place, with what is known of the tries of both.
    pub fn go_on_as(&mut self, mut other: Self) {
        if let (Some(mine), Some(theirs)) = (&mut self.call, &mut other.call) {
            theirs.answer = mine.answer.take();
            theirs.cached = mine.cached.take();
            if let (Some(mine), Some(theirs)) = (&mut mine.elsewhere, &mut theirs.elsewhere) {
                theirs.retrying = std::mem::take(&mut mine.retrying);
            }
        }
        other.attempts = other.attempts.saturating_add(self.attempts);
        other.before = other.attempts;
        *self = other;
    }

    /// Another target was tried beside this one, which is not asked again.
    pub fn tried_beside(&mut self, other: &Self) {
        let tried = other.call.as_ref().and_then(ModelCall::tried);
        if let Some(elsewhere) = self.call.as_mut().and_then(|call| call.elsewhere.as_mut()) {
            elsewhere.targets |= tried.unwrap_or_default();
        }
    }

    /// No other target was asked beside this one, and may be still.
    pub fn not_hedged(&mut self) {
        if let Some(elsewhere) = self.call.as_mut().and_then(|call| call.elsewhere.as_mut()) {
            elsewhere.hedged = false;
        }
    }

    /// Its answer has begun: what only another try would need is let go while it passes.
    pub fn answered(&mut self) {
        if let Some(call) = &mut self.call {
            call.answered();
            if matches!(self.body, UpstreamBody::Buffered(_)) {
                self.body = UpstreamBody::Empty;
            }
        }
    }

    /// Lets another try happen, or gives the failure up. Retried are failures before the upstream can
    /// have acted, and, for methods that may be repeated, those before it answered; never once part of
    /// the body has gone. A kept connection found closed does not use up a try, but happens only once.
    pub fn retry_after(&mut self, failure: Failure, most: u8, record: &mut Recording<'_>) -> Result<(), Refused> {
        let repeatable = failure.untouched || (self.idempotent && is_connection_failure(failure.reason));
        let body_left = !matches!(self.body, UpstreamBody::Streamed { begun: true, .. });
        let most = if self.fresh || failure.stale { most.saturating_add(1) } else { most };
        if !repeatable || !body_left || self.attempts - self.before >= most {
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
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    matched: &RouteMatch<'_>,
    (principal, permit): (&Principal, &Permit),
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<UpstreamRequest, Refused> {
    let plan = matched.plan(view);
    let length = body::announced(inbound, plan.max_body)?;
    let idempotent = inbound.is_idempotent();
    match plan.kind {
        RouteKind::Proxy { upstream } => {
            let inject = view.snapshot.upstreams[upstream as usize].inject.as_ref();
            let (mut held, mut to_mcp) = (None, None);
            let body = match length {
                _ if let Some(mcp) = &plan.mcp => {
                    // Boxed, as it would make the future of every request larger.
                    let read = mcp::prepare(worker, view, control, inbound, (matched, mcp), principal, caller, record);
                    let (body, charge, call) = Box::pin(read).await?;
                    (held, to_mcp) = (charge, Some(call));
                    body
                }
                Some(0) => UpstreamBody::Empty,
                length if inject.is_some_and(|plan| sigv4::holds_body(&plan.way)) => {
                    let (body, charge) = body::collect(worker, control, caller, plan.max_body, length, record).await?;
                    held = Some(charge);
                    UpstreamBody::Buffered(body)
                }
                length => UpstreamBody::Streamed { length, begun: false },
            };
            let own = to_mcp.as_deref().zip(plan.mcp.as_deref()).and_then(|(call, mcp)| call.upstream(mcp));
            let upstream = own.unwrap_or(upstream);
            if !to_mcp.as_ref().is_some_and(|call| call.is_for_all()) {
                record.upstream(&view.snapshot.upstreams[upstream as usize]);
            }
            let request = UpstreamRequest::plain(upstream, body);
            Ok(UpstreamRequest { mcp: to_mcp, idempotent, _held: held, ..request })
        }
        RouteKind::ModelList | RouteKind::GeminiModelList | RouteKind::Batch(_) | RouteKind::Live(_) => {
            Err(Refused::new(OutcomeReason::Internal))
        }
        RouteKind::KeptResponse => Err(Refused::new(OutcomeReason::InvalidModelCall).with_detail(
            "answers are not kept here, and which provider may keep one is not known; send the whole conversation"
                .into(),
        )),
        RouteKind::Realtime => {
            let refused = |why: &str| Refused::new(OutcomeReason::InvalidModelCall).with_detail(why.into());
            if !inbound.asks_websocket() {
                return Err(refused("a session is a WebSocket: ask for it with `Upgrade: websocket`, over HTTP/1.1"));
            }
            if length != Some(0) {
                return Err(refused("who asks for a WebSocket sends no body"));
            }
            users::name(view, inbound, matched, principal, b"", record);
            call::of_session(worker, view, (inbound, matched, principal), record)
        }
        RouteKind::Prompt { .. }
        | RouteKind::Chat
        | RouteKind::Responses
        | RouteKind::InputTokens
        | RouteKind::Messages
        | RouteKind::CountTokens
        | RouteKind::Gemini
        | RouteKind::Task(_) => {
            let body = body::collect(worker, control, caller, plan.max_body, length, record).await?;
            let body = prompt::render(view, (inbound, matched, principal), body, record)?;
            users::name(view, inbound, matched, principal, &body.body, record);
            // Only what is a conversation is served by another model.
            if !matches!(plan.kind, RouteKind::CountTokens | RouteKind::InputTokens | RouteKind::Task(_)) {
                instead::hear(worker, view, control, principal, record).await;
            }
            let asker = guardrail::remote::Asker { worker, view, control, inbound, principal, permit };
            call::prepare(&asker, matched, body, caller, record).await
        }
    }
}
