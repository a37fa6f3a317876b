//! The same call for another target: after one that failed, and beside one that is slow.

use super::{
    ModelCall,
    build::{Built, build, copies},
    spoken::Spoken,
};
use crate::{
    budget::Charge,
    pipeline::{
        fallback::{Elsewhere, Said},
        record::Recording,
        retry::Retrying,
        route::RouteMatch,
        select::{self, bit},
        translate::{UpstreamBody, UpstreamRequest},
    },
    snapshot::{
        RouteKind,
        models::{ModelPlan, TargetPlan},
    },
    worker::{View, Worker},
};
use credentialflow_llm::provider::Dialect;
use credentialflow_model::{OutcomeReason, usage::TriedEnd};
use std::rc::Rc;

/// Makes a request whose target failed one for the next target, written anew from what the caller said. False: there is
/// none that could take it, and nothing has changed.
pub(in crate::pipeline) fn move_on(
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
    let mut next = |rests| taker(view, (kind, &spoken), plan, (&said, targets, rests), (&mut call.held, sent), record);
    // One that rests is better than nobody.
    let Some(taker) = next(false).or_else(|| next(true)) else {
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
pub(in crate::pipeline) fn at_place_of(view: &View, plan: &ModelPlan, upstream: u32) -> u64 {
    those(plan, |target| view.snapshot.is_same_place(target.upstream, upstream))
}

/// The targets of a model that are of a kind.
pub(in crate::pipeline) fn those(plan: &ModelPlan, are: impl Fn(&TargetPlan) -> bool) -> u64 {
    plan.targets.iter().zip(0..).filter(|(target, _)| are(target)).fold(0, |all, (_, i)| all | bit(i))
}

/// A target that takes a call next, and what is sent there.
struct Taker {
    index: u32,
    key: u32,
    /// Those that were tried or passed over before, and itself.
    targets: u64,
    built: Built,
}

/// The target that takes a call next, of those that are not in a set; what is sent there counts beside what is held. With
/// `rests` it may be one that is left alone, whose failure is longest ago: the last one of its call.
fn taker(
    view: &View,
    (kind, spoken): (RouteKind, &Spoken<'_>),
    plan: &ModelPlan,
    (said, mut targets, rests): (&Said, u64, bool),
    (held, sent): (&mut Charge, u64),
    record: &Recording<'_>,
) -> Option<Taker> {
    let Said { received, wanted } = said;
    loop {
        let index = select::target(view, plan, wanted, (targets, rests), |_| true)?;
        targets |= bit(index);
        let target = &plan.targets[index as usize];
        let Some(key) = select::key(view, target, wanted, (0, rests)) else { continue };
        held.set(sent + copies(received, (wanted.speaks, wanted.counts), target)).ok()?;
        if let Ok(built) = build(spoken, received, (kind, wanted.speaks), target, record) {
            let targets = if rests { u64::MAX } else { targets };
            return Some(Taker { index, key, targets, built });
        }
    }
}

/// What it takes to ask another target beside the one that a request is tried at.
pub(in crate::pipeline) struct Beside {
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

    /// The request for another target, which is at no place where the call is already, makes no predictions and has a budget
    /// left; `None` where there is none.
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
        let passed = self.targets | at_place_of(view, plan, self.upstream);
        let at = self.said.wanted.at;
        let later = those(plan, |target| target.dialect == Dialect::Replicate || target.is_used_up(at)) & !passed;
        let mut held = worker.budget.nothing();
        let taker = taker(view, (kind, &spoken), plan, (&self.said, passed | later, false), (&mut held, 0), aside)?;
        let Taker { index, key, targets, built } = taker;
        // These may still be asked after it.
        let targets = targets & !later;
        let Built { body, dialect, path, own_query, query, usage, translation } = built;
        // When it goes on alone, it is this one that keeps what the caller said.
        let _ = held.set((body.capacity() + self.said.received.capacity()) as u64);
        let target = &plan.targets[index as usize];
        select::used(view, target, key, &self.said.wanted);
        aside.upstream(&view.snapshot.upstreams[target.upstream as usize]);
        aside.model(plan, target, spoken.streams());
        let retrying = Retrying::default();
        let elsewhere = Elsewhere { said: self.said.clone(), targets, keys: 0, hedged: true, retrying };
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
                streams: spoken.streams(),
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
                running: None,
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
pub(in crate::pipeline) const fn may_be_working(end: TriedEnd) -> bool {
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
