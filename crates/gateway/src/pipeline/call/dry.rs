//! What would be decided of a call that nobody makes, by the stages that decide it of calls.
//!
//! Nothing is sent, counted, reserved or recorded, and nobody else is asked: not the guardrails that others judge, and of
//! answers that are kept none is looked for. Nobody has proved to be the caller, so nothing here makes a permit.

use super::{
    build::{Built, build},
    prepare::keeps_nothing_here,
    spoken::Spoken,
};
use crate::{
    dry_run::{AtTarget, CannotAsk, Decision, NotServed, WholeCall},
    http1::head::{HeadLimits, Parsed, RequestHead, parse_request},
    net::control::let_others_go_first,
    pipeline::{
        Inbound, Refused, authorize, budget, files, guardrail, instead,
        prompt::{self, Rendered},
        quota,
        record::Recording,
        route::RouteMatch,
        select::bit,
        usage::UsageProbe,
        users,
        wanted::{self, Kind, Wanted},
    },
    preview::AskedCall,
    snapshot::{
        PolicyList, RouteKind,
        models::{ModelPlan, TargetPlan},
    },
    worker::{View, Worker},
};
use credentialflow_llm::{
    needs::{Fit, Needs},
    provider::Dialect,
    task::Task,
    tier::Asked,
};
use credentialflow_model::{
    OutcomeReason,
    resource::{SecretsInRequests, StickyBy},
};
use credentialflow_policy::{Principal, Short};
use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    time::{Duration, Instant},
};

/// The longest that is waited to hear how budgets stand.
const WAIT: Duration = Duration::from_secs(1);

/// Why a call goes no further.
enum Stop {
    /// It would be refused.
    Refused(Refused),
    /// Nothing can be said of it.
    Cannot(CannotAsk),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Refused> for NotServed {
    fn from(refused: Refused) -> Self {
        Self { reason: refused.reason, detail: refused.detail().map(str::to_owned) }
    }
}

/// Decides about a call to a model.
pub(crate) async fn decide(worker: &Rc<Worker>, model: &str, asked: WholeCall) -> Result<Decision, CannotAsk> {
    let view = worker.view();
    let slot = *view.snapshot.models.by_name.get(model).ok_or(CannotAsk::Model)?;
    let (kind, path) = place(&asked, model).ok_or(CannotAsk::Form)?;
    let is_it = |(_, route): &(u32, &crate::snapshot::RoutePlan)| route.kind == kind;
    let mut routes = (0..).zip(&view.snapshot.routes).filter(|(at, _)| !view.snapshot.asks.has(*at));
    let (route, _) = routes.find(is_it).ok_or(CannotAsk::Form)?;
    let bytes = head(&path, &asked.headers).ok_or(CannotAsk::Headers)?;
    let mut parsed = RequestHead::default();
    if !matches!(parse_request(&bytes, 0, &HeadLimits::default(), &mut parsed), Ok(Parsed::Complete)) {
        return Err(CannotAsk::Headers);
    }
    let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let inbound = Inbound { bytes: &bytes, head: &parsed, source, secure: true, began: Instant::now() };
    let content_type = Some(&b"application/json"[..]);
    let matched = RouteMatch { route, path: Cow::Borrowed(&path), query: None, content_type };
    let mut record = Recording::of_nothing(worker, &view, &inbound);
    record.route(matched.plan(&view));
    let principal = Principal::asked_about(&view.snapshot.keys, asked.application.as_deref(), asked.key, record.time())
        .ok_or(CannotAsk::Caller)?;
    record.principal(&principal);
    let mut decision = Decision {
        serves: view.snapshot.models.list[slot as usize].name.clone(),
        user: None,
        found: None,
        asks: Vec::new(),
        needs: Needs::default(),
        streams: asked.streams,
        internal: false,
        sticky: false,
        refused: None,
        targets: Vec::new(),
        call: None,
    };
    let caller = (&inbound, &matched, &principal);
    match look(worker, &view, caller, (slot, asked), &mut record, &mut decision).await {
        Ok(()) => {}
        Err(Stop::Refused(refused)) => decision.refused = Some(refused.into()),
        Err(Stop::Cannot(why)) => return Err(why),
    }
    decision.found = record.findings().map(str::to_owned);
    decision.user = record.end_user().cloned();
    Ok(decision)
}

/// The stages before a target is chosen, and what is found at each target.
async fn look(
    worker: &Rc<Worker>,
    view: &Rc<View>,
    (inbound, matched, principal): (&Inbound<'_>, &RouteMatch<'_>, &Principal),
    (mut model, asked): (u32, WholeCall),
    record: &mut Recording<'_>,
    decision: &mut Decision,
) -> Result<(), Stop> {
    let route = matched.plan(view);
    let kind = route.kind;
    if let PolicyList::BuiltIn(policies) = &route.policies {
        let facts = authorize::facts(worker, view, inbound, matched, None, record);
        policies.iter().try_for_each(|policy| policy.has_room(&facts, principal)).map_err(Refused::from)?;
    }
    if asked.body.len() as u64 > route.max_body {
        return Err(Refused::new(OutcomeReason::BodyTooLarge).into());
    }
    let (names_caller, user) = (asked.key.is_some(), asked.user);
    // As it came, as it is after guardrails, and as it goes to a target.
    let held = worker.budget.take(3 * asked.body.len() as u64).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
    let received = (asked.body, held);
    let Rendered { body, unseen, held: _held } = prompt::render(view, (inbound, matched, principal), received, record)?;
    match user {
        Some(user) => users::stand_in(view, principal, &user, record),
        None => users::name(view, inbound, matched, principal, &body, record),
    }
    let call = Spoken::read(kind, matched, &body)?;
    let mut plan = &view.snapshot.models.list[model as usize];
    if call.model() != &*plan.name {
        return Err(Stop::Cannot(CannotAsk::Names(call.model().to_owned())));
    }
    authorize::authorize_model(worker, view, inbound, matched, principal, (model, &plan.name), record)?;
    hear(worker, view, principal, plan, record).await;
    if call.task() == Task::Chat
        && let Some(instead) = instead::of(view, principal, plan, record)
    {
        (model, plan) = (instead, &view.snapshot.models.list[instead as usize]);
        authorize::authorize_model(worker, view, inbound, matched, principal, (model, &plan.name), record)?;
        hear(worker, view, principal, plan, record).await;
    }
    decision.serves = plan.name.clone();
    // Whoever asks is told as callers are; nobody else is, as nothing was sent.
    if plan.secrets == SecretsInRequests::Refuse && !view.snapshot.finder(record.time()).find(1, &body).is_nothing() {
        let detail = "it stands in the body".to_owned();
        return Err(Refused::new(OutcomeReason::SecretInRequest).with_detail(detail).into());
    }
    let speaks = kind.dialect().unwrap_or(Dialect::OpenAi);
    files::taken(plan.names_stores, &body, speaks)?;
    if kind == RouteKind::Responses {
        keeps_nothing_here(plan, &body)?;
    }
    if let Some(Ok(guardrails)) = &plan.guardrails {
        let others = guardrails.remotes().iter().filter(|rule| rule.on().prompts());
        decision.asks = others.map(|rule| rule.detect().as_str()).collect();
    }
    call.is_judged(plan)?;
    let judged = guardrail::prompt(plan, (&body, &unseen), call.streams(), record)?;
    let (body, call) = match judged.body {
        None => (body, call),
        Some(changed) => {
            let call = Spoken::read(kind, matched, &changed)?;
            (changed, call)
        }
    };
    let task = call.task();
    has_room(worker, view, principal, plan, quota::input_of(task, &body), record)?;
    let said = Kind { speaks, task, counts: false, streams: call.streams(), routed: judged.routed, files: None };
    let wanted = Wanted::of(worker, plan, (said, 0), &body, (inbound, principal), record.time())?;
    decision.needs = if task == Task::Chat { Needs::of(&body) } else { Needs::default() };
    let mut excluded = 0;
    for (at, target) in (0u32..).zip(&plan.targets) {
        // A call is built for one target, this for each.
        let_others_go_first().await;
        let mut found = AtTarget::default();
        if wanted.admits(target) && wanted.fit(target) != Fit::Unfit {
            let refused = match build(&call, &body, (kind, speaks), target, record) {
                Err(why) => Some(Refused::new(OutcomeReason::InvalidModelCall).with_detail(why.to_string())),
                Ok(built) => {
                    let sent = (&call, &built);
                    let afforded = afford(worker, view, principal, (plan, target), sent, &mut found.most, record);
                    // What is no lack of money ends a call that comes here.
                    match afforded {
                        Err(refused) if !is_passed_over(&refused) => {
                            found.refused = Some(refused.into());
                            None
                        }
                        afforded => afforded.err(),
                    }
                }
            };
            if let Some(refused) = refused {
                excluded |= bit(at);
                found.refused = Some(refused.into());
            }
        }
        decision.targets.push(found);
    }
    // Which key it is decides, and that is not said.
    let by_key = plan.sticky.as_ref().is_some_and(|sticky| sticky.by == StickyBy::Key);
    let sticky = wanted.sticky.filter(|_| names_caller || !by_key);
    (decision.streams, decision.internal, decision.sticky) = (call.streams(), wanted.internal, sticky.is_some());
    decision.call = Some(AskedCall {
        speaks,
        task,
        streams: call.streams(),
        needs: wanted.needs,
        internal: wanted.internal,
        sticky,
        application: principal.key().map(|key| key.application_name().clone()),
        input: wanted.input,
        expected: Some(wanted::expected(&body, speaks, Needs::of(&body))),
        excluded,
    });
    Ok(())
}

/// Whether the next target is asked for after such a refusal.
const fn is_passed_over(refused: &Refused) -> bool {
    matches!(refused.reason, OutcomeReason::BudgetExceeded | OutcomeReason::PriceUnknown)
}

/// Has the budgets that may pay for a call to a model told how they stand.
async fn hear(worker: &Worker, view: &View, principal: &Principal, plan: &ModelPlan, record: &Recording<'_>) {
    let payers = |target| budget::payers(view, principal, (plan, target), record).unwrap_or_default();
    let accounts: Vec<_> = plan.targets.iter().flat_map(payers).map(|budget| budget.account(record.time())).collect();
    if let Some(one) = accounts.first() {
        // A turn tells of all of them. Where nobody does in time, what is known here counts.
        let _ = tokio::time::timeout(WAIT, worker.shared.lender.borrow(one, 0)).await;
    }
}

/// Whether the limits of the caller, of its end user and of the model have room for the call.
fn has_room(
    worker: &Worker,
    view: &View,
    principal: &Principal,
    plan: &ModelPlan,
    input: u64,
    record: &Recording<'_>,
) -> Result<(), Refused> {
    let now = worker.monotonic_ns(Instant::now());
    let of_user = users::quota(view, principal, record, now)?;
    let key = principal.key();
    let rule = key.and_then(|key| view.snapshot.applications.get(key.application()));
    let of_caller = key.into_iter().flat_map(|key| key.quotas()).chain(rule.map_or(&[][..], |rule| rule.quotas()));
    match of_user.iter().chain(of_caller).chain(&plan.quota).find(|quota| !quota.has_room(input, now)) {
        None => Ok(()),
        Some(quota) => {
            let detail = format!("the {} has no room for another call at present", quota.owner().what);
            Err(Refused::new(OutcomeReason::RateLimited).with_detail(detail))
        }
    }
}

/// What a call may cost at a target at the most, and whether the budgets can pay for it.
fn afford(
    worker: &Worker,
    view: &View,
    principal: &Principal,
    (plan, target): (&ModelPlan, &TargetPlan),
    (call, built): (&Spoken<'_>, &Built),
    most: &mut Option<i64>,
    record: &Recording<'_>,
) -> Result<(), Refused> {
    if matches!(built.usage, UsageProbe::Free) {
        return Ok(());
    }
    let payers = budget::payers(view, principal, (plan, target), record)?;
    let hard = payers.iter().find(|budget| budget.is_hard());
    let (task, size) = (call.task(), call.size());
    let asked = if task == Task::Chat { Asked::of(&built.body) } else { Asked::Usual };
    let sent = budget::Sent { task, size: &size, dialect: built.dialect, body: &built.body };
    *most = budget::most_of(&sent, target, (asked, &target.price), hard, record.time())?;
    let amount = most.unwrap_or(0);
    for budget in payers.iter().filter(|budget| budget.is_hard()) {
        let account = budget.account(record.time());
        let exceeded = |for_good| Err(budget::exceeded(budget, &account, for_good, worker.now()));
        if amount > budget.limit() {
            return exceeded(true);
        }
        // Given back at once. What would have to be borrowed for it most likely can be: the budget has it, as it told.
        if let Err(Short::Denied { for_good }) = account.reserve(amount) {
            return exceeded(for_good);
        }
    }
    Ok(())
}

/// The built-in route on which such a call comes, and its path.
fn place(asked: &WholeCall, model: &str) -> Option<(RouteKind, String)> {
    let kind = match (asked.task, asked.speaks) {
        (Task::Chat, Dialect::OpenAi) => RouteKind::Chat,
        (Task::Chat, Dialect::Responses) => RouteKind::Responses,
        (Task::Chat, Dialect::Anthropic) => RouteKind::Messages,
        (Task::Chat | Task::Embeddings, Dialect::Gemini) => RouteKind::Gemini,
        (
            Task::Embeddings | Task::Moderations | Task::ImageGenerations | Task::Speech | Task::Rerank,
            Dialect::OpenAi,
        ) => RouteKind::Task(asked.task),
        // Forms and sessions have no body that could be handed in here.
        _ => return None,
    };
    let path = match kind {
        RouteKind::Gemini => {
            let action = match (asked.task, asked.streams) {
                (Task::Embeddings, _) => "embedContent",
                (_, true) => "streamGenerateContent",
                (_, false) => "generateContent",
            };
            format!("/v1beta/models/{model}:{action}")
        }
        RouteKind::Responses => "/v1/responses".to_owned(),
        RouteKind::Messages => "/v1/messages".to_owned(),
        RouteKind::Task(task) => format!("/v1{}", task.path()),
        _ => "/v1/chat/completions".to_owned(),
    };
    Some((kind, path))
}

/// The head of such a call.
fn head(path: &str, headers: &[(String, String)]) -> Option<Vec<u8>> {
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: dry-run\r\ncontent-type: application/json\r\n");
    for (name, value) in headers {
        let plain = |text: &str| !text.bytes().any(|b| b.is_ascii_control());
        if !plain(name) || !plain(value) {
            return None;
        }
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    Some(head.into_bytes())
}
