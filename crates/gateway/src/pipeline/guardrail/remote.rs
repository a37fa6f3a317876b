//! Guardrails that others judge by: a moderation endpoint, a webhook. They are asked in the task of the call that waits for
//! them, all at once, and each question is a call of its own: with a record, an endpoint, a credential, and for a moderation
//! endpoint with what it costs.
//!
//! Nothing of what the caller's head says goes along. What is not answered in time, or not in the form that is asked for,
//! is a refusal, unless the rule lets it pass.

use super::{ANSWER, Prompt, stopped, told, why};
use crate::{
    conn::Caller,
    http1::head::{HeadLimits, Parsed, RequestHead, parse_request},
    net::control::Control,
    pipeline::{
        Inbound, Parts, Permit, Refused, call, hedge, question,
        record::Recording,
        route::RouteMatch,
        translate::{UpstreamBody, UpstreamRequest},
    },
    snapshot::{RouteKind, models::ModelPlan},
    text::push_request_id,
    worker::{View, Worker},
};
use credentialflow_llm::guardrail::{
    answer::{Answer, Stop},
    remote::{self, About, Judgement, MOST_ANSWER, Remote, Said, To, Verdict},
};
use credentialflow_model::{Fault, OutcomeReason};
use credentialflow_policy::Principal;
use std::{borrow::Cow, future::Future, pin::Pin, rc::Rc, task::Poll, time::Instant};

/// Whose call it is that waits.
#[derive(Clone, Copy)]
pub(in crate::pipeline) struct Asker<'a> {
    pub worker: &'a Worker,
    pub view: &'a Rc<View>,
    pub control: &'a Control,
    pub inbound: &'a Inbound<'a>,
    pub principal: &'a Principal,
    pub permit: &'a Permit,
}

/// What others say of a call that passed the rules that are judged here.
pub(in crate::pipeline) async fn prompt<C: Caller>(
    asker: &Asker<'_>,
    plan: &ModelPlan,
    (judged, received, streams): (Prompt, &[u8], bool),
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<Prompt, Refused> {
    let body = judged.body.as_deref().unwrap_or(received);
    let unreadable = |why: credentialflow_llm::guardrail::text::Unreadable| {
        Refused::new(OutcomeReason::InvalidModelCall).with_detail(why.to_string())
    };
    let said = remote::said_in_call(body).map_err(unreadable)?;
    let (judgement, failed) = ask_all(asker, plan, (&said, false), caller, record).await?;
    let met = [judged.met.as_slice(), &judgement.met].concat();
    if !met.is_empty() {
        record.guardrails(plan, streams, told(&met, ""));
    }
    if let Some(refused) = failed {
        return Err(refused);
    }
    if let Some(detect) = judgement.blocked {
        return Err(Refused::new(OutcomeReason::PromptBlocked).with_detail(why(detect).into()));
    }
    let changed = match judgement.changes() {
        true => Some(judgement.replaced(body, &said, false).map_err(unreadable)?),
        false => None,
    };
    Ok(Prompt { body: changed.or(judged.body), routed: judged.routed.or(judgement.routed), met, ..judged })
}

/// What others say of an answer that came whole.
pub(in crate::pipeline) async fn whole<C: Caller>(
    asker: &Asker<'_>,
    plan: &ModelPlan,
    (judge, body): (&mut Answer, Vec<u8>),
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<Vec<u8>, Refused> {
    let (judgement, said) = of_answer(asker, plan, (judge, &body, false), caller, record).await?;
    match judgement.changes() {
        true => judgement.replaced(&body, &said, true).map_err(|why| {
            let (reason, detail) = stopped(Stop::Unreadable(why));
            Refused::new(reason).with_detail(detail)
        }),
        false => Ok(body),
    }
}

/// What others say of a stream that waits, in events or as an array. Where something in it is to be replaced it does not go:
/// what the caller would make of its events is not known any more.
pub(in crate::pipeline) async fn stream<C: Caller>(
    asker: &Asker<'_>,
    plan: &ModelPlan,
    (judge, body, events): (&mut Answer, &[u8], bool),
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    let (judgement, _) = of_answer(asker, plan, (judge, body, events), caller, record).await?;
    match judgement.changes() {
        true => {
            let detail = "something in it is to be taken out, which is not done in streams".to_owned();
            Err(Refused::new(OutcomeReason::AnswerBlocked).with_detail(detail))
        }
        false => Ok(()),
    }
}

async fn of_answer<C: Caller>(
    asker: &Asker<'_>,
    plan: &ModelPlan,
    (judge, body, events): (&mut Answer, &[u8], bool),
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<(Judgement, Vec<Said>), Refused> {
    let said = remote::said_in_answer(body, events).map_err(|why| {
        let (reason, detail) = stopped(Stop::Unreadable(why));
        Refused::new(reason).with_detail(detail)
    })?;
    let (mut judgement, failed) = ask_all(asker, plan, (&said, true), caller, record).await?;
    judge.note(std::mem::take(&mut judgement.met));
    if let Some(met) = judge.news() {
        record.guardrails_of_answer(&told(met, ANSWER));
    }
    match (failed, judgement.blocked) {
        (Some(refused), _) => Err(refused),
        (None, Some(detect)) => Err(Refused::new(OutcomeReason::AnswerBlocked).with_detail(why(detect).into())),
        (None, None) => Ok((judgement, said)),
    }
}

type Question<'q> = Pin<Box<dyn Future<Output = Result<Verdict, Refused>> + 'q>>;

/// Asks all rules at once, and waits for all of them. What came of it, and why it is refused where one that lets nothing
/// pass was not answered.
async fn ask_all<C: Caller>(
    asker: &Asker<'_>,
    plan: &ModelPlan,
    (said, answer): (&[Said], bool),
    caller: &mut C,
    record: &Recording<'_>,
) -> Result<(Judgement, Option<Refused>), Refused> {
    let rules = plan.guardrails.iter().filter_map(|built| built.as_ref().ok()).flat_map(|built| built.remotes());
    let looks = |rule: &&Remote| if answer { rule.on().answers() } else { rule.on().prompts() };
    let rules: Vec<&Remote> = rules.filter(looks).filter(|rule| rule.reads(said)).collect();
    let mut request = Vec::with_capacity(26);
    push_request_id(&mut request, record.request_id());
    let request = String::from_utf8(request).unwrap_or_default();
    let key = asker.principal.key();
    let application = key.map(|key| &**key.application_name());
    let about = About { answer, model: &plan.name, application, request: &request };
    let mut questions: Vec<Question<'_>> = Vec::with_capacity(rules.len());
    for rule in &rules {
        questions.push(Box::pin(ask(asker, rule, said, rule.question(said, &about), record)));
    }
    let mut ended: Vec<Option<Result<Verdict, Refused>>> = rules.iter().map(|_| None).collect();
    asker.control.clear_deadline();
    let waited = hedge::wait(asker.control, caller, |cx| {
        for (question, ended) in questions.iter_mut().zip(&mut ended).filter(|(_, ended)| ended.is_none()) {
            if let Poll::Ready(is) = question.as_mut().poll(cx) {
                *ended = Some(is);
            }
        }
        if ended.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await?;
    waited.ok_or(Refused::new(OutcomeReason::UpstreamTimeout))?;
    drop(questions);
    let (mut judgement, mut failed) = (Judgement::default(), None);
    for (rule, ended) in rules.iter().zip(ended) {
        match ended.unwrap_or_else(|| Err(Refused::new(OutcomeReason::Internal))) {
            Ok(verdict) => judgement.take(rule, verdict),
            Err(refused) if rule.may_fail() && is_theirs(refused.reason) => judgement.unanswered(rule),
            Err(refused) => {
                judgement.failed(rule);
                let detail = format!("a guardrail of this model ({}) could not be asked", rule.detect().as_str());
                failed.get_or_insert(Refused::new(refused.reason).with_detail(detail));
            }
        }
    }
    Ok((judgement, failed))
}

/// Whether it is the other side that is away or fails. What we refuse ourselves may be of the caller's making (a budget that
/// is used up, say), and who could bring that about could have the rule passed over.
const fn is_theirs(reason: OutcomeReason) -> bool {
    matches!(reason.fault(), Fault::Upstream)
        || matches!(reason, OutcomeReason::CredentialUnavailable | OutcomeReason::NoHealthyEndpoint)
}

/// Asks one.
async fn ask(
    asker: &Asker<'_>,
    rule: &Remote,
    said: &[Said],
    body: Vec<u8>,
    beside: &Recording<'_>,
) -> Result<Verdict, Refused> {
    let Asker { worker, view, .. } = *asker;
    let path = match rule.to() {
        To::Moderation { .. } => "/v1/moderations",
        To::Webhook { path, .. } => path,
    };
    let bytes = question::head("guardrails", path, body.len(), beside);
    let mut parsed = RequestHead::default();
    if !matches!(parse_request(&bytes, 0, &HeadLimits::default(), &mut parsed), Ok(Parsed::Complete)) {
        return Err(Refused::new(OutcomeReason::Internal));
    }
    let Inbound { source, secure, .. } = *asker.inbound;
    let inbound = Inbound { bytes: &bytes, head: &parsed, source, secure, began: Instant::now() };
    let mut record = beside.of_question(view, &inbound);
    let control = worker.controls.register();
    let exchanged = exchange(asker, rule, (&inbound, path), &control, body, &mut record);
    let verdict = match tokio::time::timeout(rule.timeout(), exchanged).await {
        Ok(answer) => answer.and_then(|body| {
            let unusable =
                |why: remote::Unusable| Refused::new(OutcomeReason::UpstreamMalformed).with_detail(why.to_string());
            rule.read(said, &body).map_err(unusable)
        }),
        Err(_) => Err(Refused::new(OutcomeReason::UpstreamTimeout)),
    };
    match &verdict {
        Ok(_) => record.served(),
        Err(refused) => record.outcome(refused.reason),
    }
    verdict
}

/// Sends the question, and gives the body of the answer.
async fn exchange(
    asker: &Asker<'_>,
    rule: &Remote,
    (inbound, path): (&Inbound<'_>, &str),
    control: &Control,
    body: Vec<u8>,
    record: &mut Recording<'_>,
) -> Result<Vec<u8>, Refused> {
    let Asker { worker, view, principal, permit, .. } = *asker;
    let asks = &view.snapshot.asks;
    let route = match rule.to() {
        To::Moderation { .. } => Some(asks.moderation),
        To::Webhook { upstream, .. } => asks.webhooks.get(upstream.as_str()).copied(),
    };
    // Said where the configuration was compiled.
    let route = route.ok_or(Refused::new(OutcomeReason::NoHealthyEndpoint))?;
    let matched = RouteMatch { route, path: Cow::Borrowed(path), query: None, content_type: Some(b"application/json") };
    let plan = matched.plan(view);
    record.route(plan);
    record.bytes_in(body.len() as u64);
    let mut held = worker.budget.nothing();
    held.set(2 * body.capacity() as u64).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
    let mut request = match plan.kind {
        RouteKind::Proxy { upstream } => {
            record.upstream(&view.snapshot.upstreams[upstream as usize]);
            UpstreamRequest { idempotent: true, ..UpstreamRequest::plain(upstream, UpstreamBody::Buffered(body)) }
        }
        _ => call::of_question(worker, view, (inbound, &matched, principal), (body, held), record)?,
    };
    let parts: Parts<'_, '_> = (&matched, principal, permit);
    question::answer_to(worker, view, (control, inbound, parts), &mut request, MOST_ANSWER, record).await
}
