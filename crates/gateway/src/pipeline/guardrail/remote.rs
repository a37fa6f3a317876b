//! Guardrails that others judge by: a moderation endpoint, a webhook, embeddings. They are asked in the task of the call that waits for
//! them, all at once, and each question is a call of its own: with a record, an endpoint, a credential, and for a moderation
//! endpoint with what it costs.
//!
//! Nothing of what the caller's head says goes along. What is not answered in time, or not in the form that is asked for,
//! is a refusal, unless the rule lets it pass.

mod topics;

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
        translated,
    },
    snapshot::{RouteKind, models::ModelPlan},
    text::push_request_id,
    worker::{View, Worker},
};
use credentialflow_llm::guardrail::{
    Routed,
    answer::{Answer, Stop},
    remote::{self, About, Judgement, MOST_ANSWER, Remote, Said, To, Unusable, Verdict},
    text::Unreadable,
};
use credentialflow_model::{Fault, OutcomeReason};
use credentialflow_policy::Principal;
use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

/// Answers with embeddings are not read beyond this, in bytes: thirty-two of some thousand numbers.
const MOST_EMBEDDINGS: usize = 4 << 20;

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

/// What others say of a call that passed the rules that are judged here. `unseen`: what its caller says where it does not
/// stand as the caller's.
pub(in crate::pipeline) async fn prompt<C: Caller>(
    asker: &Asker<'_>,
    plan: &ModelPlan,
    (judged, received, unseen, streams): (Prompt, &[u8], &[String], bool),
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<Prompt, Refused> {
    let body = judged.body.as_deref().unwrap_or(received);
    let unreadable = |why| unreadable(false, why);
    let said = remote::said_in_call(body).map_err(unreadable)?;
    let (judgement, failed) = ask_all(asker, plan, (&said, Some(unseen)), caller, record).await?;
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
    let routed = judged.routed.or(judgement.routed.map(Routed::Found));
    if !judgement.changes() {
        return Ok(Prompt { routed, met, ..judged });
    }
    let (body, masks) = judgement.masked(body, &said, judged.masks).map_err(unreadable)?;
    Ok(Prompt { body: Some(body), routed, masks, met })
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
        true => judgement.replaced(&body, &said).map_err(|why| unreadable(true, why)),
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
    let said = remote::said_in_answer(body, events).map_err(|why| unreadable(true, why))?;
    let (mut judgement, failed) = ask_all(asker, plan, (&said, None), caller, record).await?;
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

/// Questions that are asked at once.
struct Together<'q, T>(Vec<Asked<'q, T>>);

enum Asked<'q, T> {
    Running(Pin<Box<dyn Future<Output = T> + 'q>>),
    Ended(Option<T>),
}

impl<'q, T> Together<'q, T> {
    fn of(questions: impl IntoIterator<Item = impl Future<Output = T> + 'q>) -> Self {
        Self(questions.into_iter().map(|question| Asked::Running(Box::pin(question))).collect())
    }

    /// Goes on with all of them; what came of each, in their order, once all have ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Vec<T>> {
        for asked in &mut self.0 {
            if let Asked::Running(question) = asked
                && let Poll::Ready(is) = question.as_mut().poll(cx)
            {
                *asked = Asked::Ended(Some(is));
            }
        }
        if self.0.iter().any(|asked| matches!(asked, Asked::Running(_))) {
            return Poll::Pending;
        }
        let ended = |asked: &mut Asked<'_, T>| match asked {
            Asked::Ended(is) => is.take(),
            Asked::Running(_) => None,
        };
        Poll::Ready(self.0.iter_mut().filter_map(ended).collect())
    }
}

/// Asks all rules at once, and waits for all of them. What came of it, and why it is refused where one that lets nothing
/// pass was not answered. The texts are those of a call where it is known what else its caller says, else of an answer.
async fn ask_all<C: Caller>(
    asker: &Asker<'_>,
    plan: &ModelPlan,
    (said, unseen): (&[Said], Option<&[String]>),
    caller: &mut C,
    record: &Recording<'_>,
) -> Result<(Judgement, Option<Refused>), Refused> {
    let answer = unseen.is_none();
    let rules = plan.guardrails.iter().filter_map(|built| built.as_ref().ok()).flat_map(|built| built.remotes());
    let rules = rules.filter(|rule| if answer { rule.on().answers() } else { rule.on().prompts() });
    let mut request = Vec::with_capacity(26);
    push_request_id(&mut request, record.request_id());
    let request = String::from_utf8(request).unwrap_or_default();
    let key = asker.principal.key();
    let application = key.map(|key| &**key.application_name());
    let about = About { answer, model: &plan.name, application, request: &request };
    let (mut asked, mut questions): (Vec<&Remote>, Vec<Question<'_>>) = (Vec::new(), Vec::new());
    for rule in rules {
        let question: Question<'_> = match rule.to() {
            To::Topics(topics) => {
                let pieces = topics.pieces(said, unseen.unwrap_or_default(), answer);
                match pieces.map_err(|why| unreadable(answer, why))? {
                    pieces if pieces.is_empty() => continue,
                    pieces => Box::pin(topics::ask_about(asker, rule, topics, pieces, record)),
                }
            }
            To::Moderation { .. } | To::Webhook { .. } => match rule.question(said, &about) {
                None => continue,
                Some(body) => Box::pin(async move {
                    match ask(asker, rule, body, |body| rule.read(said, body), record).await {
                        Ok(verdict) => (verdict, None),
                        Err(failed) => (Verdict::default(), Some(failed)),
                    }
                }),
            },
        };
        asked.push(rule);
        questions.push(question);
    }
    let mut questions = Together::of(questions);
    asker.control.clear_deadline();
    let waited = hedge::wait(asker.control, caller, |cx| questions.poll(cx)).await?;
    let ended = waited.ok_or(Refused::new(OutcomeReason::UpstreamTimeout))?;
    drop(questions);
    let (mut judgement, mut failed) = (Judgement::default(), None);
    for (rule, (verdict, without)) in asked.into_iter().zip(ended) {
        judgement.take(rule, verdict);
        match without {
            None => {}
            Some(without) if rule.may_fail() && without.is_theirs => judgement.unanswered(rule),
            Some(without) => {
                judgement.failed(rule);
                let detail = format!("a guardrail of this model ({}) could not be asked", rule.detect().as_str());
                failed.get_or_insert(Refused::new(without.reason).with_detail(detail));
            }
        }
    }
    Ok((judgement, failed))
}

/// Why something that cannot be looked at is refused.
fn unreadable(answer: bool, why: Unreadable) -> Refused {
    let (reason, detail) = match answer {
        true => stopped(Stop::Unreadable(why)),
        false => (OutcomeReason::InvalidModelCall, why.to_string()),
    };
    Refused::new(reason).with_detail(detail)
}

/// Why a question has no answer.
struct Unanswered {
    reason: OutcomeReason,
    /// Whether it is the other side that is away or fails. What we refuse ourselves may be of the caller's making (a budget
    /// that is used up, say), and who could bring that about could have the rule passed over.
    is_theirs: bool,
}

impl From<Refused> for Unanswered {
    fn from(refused: Refused) -> Self {
        let reason = refused.reason;
        let is_theirs = matches!(reason.fault(), Fault::Upstream)
            || matches!(reason, OutcomeReason::CredentialUnavailable | OutcomeReason::NoHealthyEndpoint);
        Self { reason, is_theirs }
    }
}

/// Whether a status says that there is something wrong with what was asked, as with a text that is too long: that may be of
/// the caller's making too. The others tell of the credential, the path, or of too much to do.
const fn is_about_the_question(status: u16) -> bool {
    matches!(status, 400..500) && !matches!(status, 401 | 403 | 404 | 408 | 429)
}

/// What came of a question in parts: what was found in those that were answered, and why another one was not.
type Question<'q> = Pin<Box<dyn Future<Output = (Verdict, Option<Unanswered>)> + 'q>>;

/// Asks once, and reads the answer.
async fn ask<T>(
    asker: &Asker<'_>,
    rule: &Remote,
    body: Vec<u8>,
    read: impl FnOnce(&[u8]) -> Result<T, Unusable>,
    beside: &Recording<'_>,
) -> Result<T, Unanswered> {
    let Asker { worker, view, .. } = *asker;
    let asks = &view.snapshot.asks;
    let (route, path, most) = match rule.to() {
        To::Moderation { .. } => (Some(asks.moderation), "/v1/moderations", MOST_ANSWER),
        To::Topics(_) => (Some(asks.topics), "/v1/embeddings", MOST_EMBEDDINGS),
        To::Webhook { upstream, path } => (asks.webhooks.get(upstream.as_str()).copied(), path.as_str(), MOST_ANSWER),
    };
    // Said where the configuration was compiled.
    let route = route.ok_or(Refused::new(OutcomeReason::NoHealthyEndpoint))?;
    let bytes = question::head("guardrails", path, body.len(), beside);
    let mut parsed = RequestHead::default();
    if !matches!(parse_request(&bytes, 0, &HeadLimits::default(), &mut parsed), Ok(Parsed::Complete)) {
        return Err(Refused::new(OutcomeReason::Internal).into());
    }
    let Inbound { source, secure, .. } = *asker.inbound;
    let inbound = Inbound { bytes: &bytes, head: &parsed, source, secure, began: Instant::now() };
    let mut record = beside.of_question(view, &inbound);
    let control = worker.controls.register();
    let matched = RouteMatch { route, path: Cow::Borrowed(path), query: None, content_type: Some(b"application/json") };
    let exchanged = exchange(asker, (&inbound, &matched), &control, (body, most), &mut record);
    let read = match tokio::time::timeout(rule.timeout(), exchanged).await {
        Ok(answer) => answer.and_then(|body| {
            let unusable = |why: Unusable| Refused::new(OutcomeReason::UpstreamMalformed).with_detail(why.to_string());
            read(&body).map_err(unusable)
        }),
        Err(_) => Err(Refused::new(OutcomeReason::UpstreamTimeout)),
    };
    let about_it = record.answered_with().is_some_and(is_about_the_question);
    match &read {
        Ok(_) => record.served(),
        Err(refused) => record.outcome(refused.reason),
    }
    read.map_err(|refused| {
        let why = Unanswered::from(refused);
        Unanswered { is_theirs: why.is_theirs && !about_it, ..why }
    })
}

/// Sends the question, and gives the body of the answer, of so many bytes at the most.
async fn exchange(
    asker: &Asker<'_>,
    (inbound, matched): (&Inbound<'_>, &RouteMatch<'_>),
    control: &Control,
    (body, most): (Vec<u8>, usize),
    record: &mut Recording<'_>,
) -> Result<Vec<u8>, Refused> {
    let Asker { worker, view, principal, permit, .. } = *asker;
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
        _ => call::of_question(worker, view, (inbound, matched, principal), (body, held), record)?,
    };
    let parts: Parts<'_, '_> = (matched, principal, permit);
    let answer = question::answer_to(worker, view, (control, inbound, parts), &mut request, most, record).await?;
    match request.call.as_ref().and_then(|call| call.translation.as_ref()) {
        Some(translation) => translated::answer(translation, 200, None, &answer),
        None => Ok(answer),
    }
}
