//! From what a caller said to a target and what is sent there.

use super::{
    ModelCall,
    build::{Built, build, copies},
    spoken::Spoken,
};
use crate::{
    budget::Charge,
    conn::Caller,
    pipeline::{
        Inbound, Refused, authorize,
        cache::{self, Cached},
        fallback::{Elsewhere, Said},
        files::{self, Holder},
        guard,
        guardrail::{self, Prompt, remote::Asker},
        instead,
        prompt::Rendered,
        record::Recording,
        retry::Retrying,
        route::RouteMatch,
        select::{self, bit},
        translate::UpstreamRequest,
        wanted::{self, Wanted},
    },
    snapshot::{
        RouteKind,
        models::{ModelPlan, TargetPlan},
    },
    worker::{View, Worker},
};
use credentialflow_llm::{
    cache::Form,
    gemini::request::Frames,
    guardrail::{Masks, Routed},
    openai::responses::Kept,
    provider::Dialect,
    task::Task,
    translate::Untranslatable,
};
use credentialflow_model::OutcomeReason;
use credentialflow_policy::Principal;
use std::rc::Rc;

/// Reads a call and prepares what goes upstream.
pub(in crate::pipeline) async fn prepare<C: Caller>(
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
    let (received, call, files) = match files::resolve(asker, matched, &received, plan.names_stores).await? {
        None => (received, call, None),
        Some((changed, holder)) => {
            held.set((received.capacity() + changed.capacity()) as u64)
                .map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
            let call = Spoken::read(kind, matched, &changed)?;
            (changed, call, Some(holder))
        }
    };
    if matches!(kind, RouteKind::Responses | RouteKind::InputTokens) {
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
    // What is in a file is not compared.
    if let Some(cached) = cached.as_mut().filter(|_| record.has_findings() || files.is_some()) {
        cached.pass();
    }
    let (received, call) = match changed {
        None => (received, call),
        Some(changed) => {
            let call = Spoken::read(kind, matched, &changed)?;
            (changed, call)
        }
    };
    let found = (routed, masks, files);
    let mut request =
        chosen(worker, view, (inbound, matched, principal), model, (call, received, held), found, record)?;
    if let Some(call) = &mut request.call {
        call.cached = cached;
    }
    Ok(request)
}

/// Prepares what is asked of another model for a call: by a guardrail of one that moderates, by a cache of one that embeds.
/// Whoever may call the model that these are of may have it asked.
pub(in crate::pipeline) fn of_question(
    worker: &Worker,
    view: &View,
    (inbound, matched, principal): (&Inbound<'_>, &RouteMatch<'_>, &Principal),
    (received, held): (Vec<u8>, Charge),
    record: &mut Recording<'_>,
) -> Result<UpstreamRequest, Refused> {
    let call = Spoken::read(matched.plan(view).kind, matched, &received)?;
    let unknown = || Refused::new(OutcomeReason::ModelNotFound);
    let model = *view.snapshot.models.by_name.get(call.model()).ok_or_else(unknown)?;
    chosen(worker, view, (inbound, matched, principal), model, (call, received, held), (None, None, None), record)
}

/// Prepares what starts a session.
pub(in crate::pipeline) fn of_session(
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
    chosen(worker, view, (inbound, matched, principal), model, nothing, (None, None, None), record)
}

/// Prepares what asks for a session that its first message names, of a model that the caller may use. `at`: the place of the
/// one target that can take it up again.
pub(in crate::pipeline) fn of_live(
    worker: &Worker,
    view: &View,
    (inbound, matched, principal): (&Inbound<'_>, &RouteMatch<'_>, &Principal),
    at: Option<u64>,
    received: Vec<u8>,
    record: &mut Recording<'_>,
) -> Result<UpstreamRequest, Refused> {
    let mut call = Spoken::read(matched.plan(view).kind, matched, &received)?;
    if let Spoken::Live { at: stays, .. } = &mut call {
        *stays = at;
    }
    let unknown = || Refused::new(OutcomeReason::ModelNotFound);
    let model = *view.snapshot.models.by_name.get(call.model()).ok_or_else(unknown)?;
    let said = (call, received, worker.budget.nothing());
    let mut request = chosen(worker, view, (inbound, matched, principal), model, said, (None, None, None), record)?;
    if let Some(call) = request.call.as_mut().filter(|_| at.is_some()) {
        call.elsewhere = None;
    }
    Ok(request)
}

/// Chooses a target for a call, and writes what goes there.
fn chosen(
    worker: &Worker,
    view: &View,
    (inbound, matched, principal): (&Inbound<'_>, &RouteMatch<'_>, &Principal),
    model: u32,
    (call, received, mut held): (Spoken<'_>, Vec<u8>, Charge),
    (routed, masks, files): (Option<Routed>, Option<Masks>, Option<Holder>),
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
    let said = wanted::Kind { speaks, task, counts, streams: call.streams(), routed, files };
    let wanted = Wanted::of(worker, plan, (said, turn.get()), &received, (inbound, principal), record.time())?;
    let (mut targets, mut untranslatable) = (0, None);
    let (index, built) = loop {
        let alike = untranslatable.is_some();
        // A session is taken up again where it is kept.
        let alike = alike || task == Task::Realtime;
        let admits = |target: &TargetPlan| !alike || call.passes(speaks, target);
        let index = select::target(view, plan, &wanted, (targets, true), admits).ok_or_else(|| match wanted.files {
            Some(_) => files::nobody(),
            None => nobody((task, counts), &untranslatable),
        })?;
        let target = &plan.targets[index as usize];
        held.set(copies(&received, (speaks, counts), target)).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
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
    if plan.may_try_again() {
        key = select::key(view, target, &wanted, (0, true)).unwrap_or(0);
        select::used(view, target, key, &wanted);
        let received = if plan.targets.len() > 1 { received } else { Vec::new() };
        kept = received.capacity();
        let said = Rc::new(Said { received, wanted });
        let retrying = Retrying::default();
        elsewhere = Some(Box::new(Elsewhere { said, targets, keys: 0, hedged: false, retrying }));
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
            streams,
            dialect,
            path,
            query,
            own_query,
            usage,
            translation,
            answer,
            elsewhere,
            cached: None,
            running: None,
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
            // Forms of our own.
            (_, true) if matches!(kind, RouteKind::Prompt { .. }) => Form::Pieces,
            (_, false) if matches!(kind, RouteKind::Prompt { .. }) => Form::Other,
            (_, true) => Form::Events,
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

/// Refuses a call of Responses that would be answered later, as nobody could fetch the answer; and one that goes on from
/// an answer that is kept somewhere, where the model has providers that do not know of each other.
pub(super) fn keeps_nothing_here(plan: &ModelPlan, body: &[u8]) -> Result<(), Refused> {
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
