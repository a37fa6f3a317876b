//! Calls with a prompt: they become ordinary calls before anything else looks at them, and where a route publishes the
//! prompt, the model's answer becomes that of the route.

pub(super) mod stream;

use super::{Inbound, Refused, answer::LocalAnswer, record::Recording, route::RouteMatch, translate::UpstreamRequest};
use crate::{
    budget::Charge,
    http1::grammar,
    prompt_tests,
    snapshot::{RouteKind, prompts::Published},
    worker::View,
};
use credentialflow_llm::{
    gemini::request::{Action, Asked},
    prompt::{
        Unfit,
        call::{self, Form, Written},
        published,
        wanted::{self, Members},
    },
    provider::{Dialect, LimitField},
    task::Task,
};
use credentialflow_model::OutcomeReason;
use credentialflow_policy::{Principal, allow};

/// What a route publishes, if it does.
fn published<'v>(view: &'v View, matched: &RouteMatch<'_>) -> Option<&'v Published> {
    match matched.plan(view).kind {
        RouteKind::Prompt { published } => Some(view.snapshot.prompts.published(published)),
        _ => None,
    }
}

/// Whether a route answers in a form of its own.
pub(super) fn is_published(view: &View, matched: &RouteMatch<'_>) -> bool {
    published(view, matched).is_some()
}

/// Whether a route answers in events of its own: its caller asked for them.
pub(super) fn streams(view: &View, matched: &RouteMatch<'_>, request: &UpstreamRequest) -> bool {
    is_published(view, matched) && request.call.as_ref().is_some_and(|call| call.streams)
}

/// Whether a caller likes events better than a whole answer, which it gets where it likes both alike (RFC 9110, 12.5.1).
fn wants_events(inbound: &Inbound<'_>) -> bool {
    let (mut events, mut whole) = (0, 0);
    let accept = inbound.fields().filter(|(_, name, _)| name.eq_ignore_ascii_case(b"accept"));
    for range in accept.flat_map(|(.., value)| grammar::list(value)) {
        let mut parts = range.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let kind = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q="))).map_or(1000, weight);
        if kind.eq_ignore_ascii_case(b"text/event-stream") {
            events = weight.max(events);
        } else if kind.eq_ignore_ascii_case(b"application/json") {
            whole = weight.max(whole);
        }
    }
    events > whole
}

/// A weight in thousandths; what is none is nothing.
fn weight(text: &[u8]) -> u32 {
    let read = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f32>().ok());
    read.filter(|weight| (0.0..=1.0).contains(weight)).map_or(0, |weight| (weight * 1000.0).round() as u32)
}

fn not_there() -> Refused {
    let detail = "the prompt that is published here has no such version now".to_owned();
    Refused::new(OutcomeReason::NoHealthyEndpoint).with_detail(detail)
}

/// A call that may have been written of a prompt, and what is held for it.
pub(super) struct Rendered {
    pub body: Vec<u8>,
    pub held: Charge,
    /// What the caller handed in that stands in the application's own words.
    pub unseen: Vec<String>,
}

/// The body as an ordinary call, where it names a prompt or the route publishes one; else as it came.
pub(super) fn render(
    view: &View,
    (inbound, matched, principal): (&Inbound<'_>, &RouteMatch<'_>, &Principal),
    (body, mut held): (Vec<u8>, Charge),
    record: &mut Recording<'_>,
) -> Result<Rendered, Refused> {
    let plan = matched.plan(view);
    let Written { body: written, unseen } = match published(view, matched) {
        Some(published) => {
            let (prompt, version) = published.version().ok_or_else(not_there)?;
            record.prompt(version.tag().clone());
            let form = (limit(view, version.model()), plan.max_body);
            published::call(prompt, version, form, wants_events(inbound), &body).map_err(unfit)?
        }
        None => match named(view, (matched, principal), &body, record)? {
            Some(written) => written,
            None => return Ok(Rendered { body, held, unseen: Vec::new() }),
        },
    };
    // What is unseen has its second place in what is written.
    held.set((body.capacity() + 2 * written.capacity()) as u64).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
    drop(body);
    // Less than before is always there.
    let copies = if unseen.is_empty() { 1 } else { 2 };
    let _ = held.set((copies * written.capacity()) as u64);
    Ok(Rendered { body: written, held, unseen })
}

/// The call that one becomes which names a prompt of ours; `None` where it names none.
fn named(
    view: &View,
    (matched, principal): (&RouteMatch<'_>, &Principal),
    body: &[u8],
    record: &mut Recording<'_>,
) -> Result<Option<Written>, Refused> {
    let plan = matched.plan(view);
    let kind = plan.kind;
    let Some(dialect) = kind.dialect().filter(|_| wanted::is_likely(body)) else { return Ok(None) };
    let counts = match kind {
        RouteKind::Chat | RouteKind::Responses | RouteKind::Messages => false,
        RouteKind::CountTokens | RouteKind::InputTokens => true,
        RouteKind::Gemini => match matched.path.rsplit('/').next().and_then(Asked::parse) {
            Some(asked) if asked.action.task() == Task::Chat => asked.action == Action::CountTokens,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    // What is no JSON object is told by whoever reads it next.
    let Some(members) = Members::of(body) else { return Ok(None) };
    let Some(wanted) = members.wanted().map_err(unfit)? else { return Ok(None) };
    let is_test = wanted.test.as_deref().is_some_and(prompt_tests::is_pass);
    // One that is not for this caller is one that does not exist. Who runs tests may have any.
    let is_for = || is_test || allow::may_use_prompt(&view.snapshot.applications, principal, &wanted.id);
    let Some(prompt) = view.snapshot.prompts.get(&wanted.id).filter(|_| is_for()) else {
        // One that OpenAI keeps is its to find.
        let passes = dialect == Dialect::Responses && wanted.is_of_openai();
        let detail = || "there is no such prompt".to_owned();
        return if passes { Ok(None) } else { Err(unfit(Unfit(detail()))) };
    };
    let none = || unfit(Unfit("the prompt has no such version or label".to_owned()));
    let version = prompt.version(wanted.which()).ok_or_else(none)?;
    if !prompt.is_in_use(version) && !is_test {
        let detail = "no label stands for this version of the prompt, and it has tests";
        return Err(unfit(Unfit(detail.to_owned())));
    }
    record.prompt(version.tag().clone());
    let model = members.model();
    let limit = limit(view, model.as_deref().unwrap_or(version.model()));
    let form = Form { dialect, limit, counts, most: plan.max_body };
    call::render(form, prompt, version, wanted.variables, &members).map(Some).map_err(unfit)
}

/// The field in which the first provider of a model wants the limit of an answer.
fn limit(view: &View, model: &str) -> LimitField {
    let models = &view.snapshot.models;
    let plan = models.by_name.get(model).and_then(|model| models.list[*model as usize].targets.first());
    plan.map_or(LimitField::MaxTokens, |target| target.limit)
}

fn unfit(why: Unfit) -> Refused {
    Refused::new(OutcomeReason::InvalidModelCall).with_detail(why.0)
}

/// The answer of a published prompt, of one in Chat Completions with this status.
pub(super) fn answered(
    view: &View,
    matched: &RouteMatch<'_>,
    status: u16,
    body: Vec<u8>,
    record: &mut Recording<'_>,
) -> Result<Vec<u8>, Refused> {
    let Some(published) = published(view, matched) else { return Ok(body) };
    let failed = |why: String| Refused::new(OutcomeReason::UpstreamMalformed).with_detail(why);
    if !(200..300).contains(&status) {
        let said = published::error(&body).map_or_else(String::new, |said| format!(": {said}"));
        let detail = format!("the model's provider answered with status {status}{said}");
        let busy = matches!(status, 408 | 429 | 500..);
        let reason = if busy { OutcomeReason::NoHealthyEndpoint } else { OutcomeReason::UpstreamMalformed };
        return Err(Refused::new(reason).with_detail(detail));
    }
    // The view is that of the request: the version is still the one that was asked.
    let (prompt, version) = published.version().ok_or_else(not_there)?;
    record.prompt(version.tag().clone());
    published::answer(prompt, version, &body).map_err(|why| failed(why.0))
}

/// The description of a published prompt, if that is what is asked for.
pub(super) fn description(
    view: &View,
    matched: &RouteMatch<'_>,
    inbound: &Inbound<'_>,
) -> Option<Result<LocalAnswer, Refused>> {
    let published = published(view, matched).filter(|_| inbound.method() == "GET")?;
    let told = published.version().ok_or_else(not_there).map(|(prompt, version)| LocalAnswer {
        status: 200,
        content_type: "application/json",
        body: published::openapi(prompt, version, &published.path, published.open).to_string().into_bytes(),
    });
    Some(told)
}
