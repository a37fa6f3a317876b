//! What goes to a target: as it came but for the name of the model where both speak the same, else translated.

use super::spoken::Spoken;
use crate::{
    pipeline::{record::Recording, usage::UsageProbe},
    snapshot::{RouteKind, models::TargetPlan},
};
use credentialflow_llm::{
    anthropic, bedrock,
    gemini::request::{Action, Frames},
    provider::Dialect,
    replicate,
    task::{Task, usage::TaskUsage},
    translate::{self, Translation, Untranslatable},
};
use std::borrow::Cow;

/// What goes to a target.
pub(super) struct Built {
    pub body: Vec<u8>,
    pub dialect: Dialect,
    pub path: Cow<'static, str>,
    pub own_query: Option<Cow<'static, str>>,
    /// Whether the caller's query goes along.
    pub query: bool,
    pub usage: UsageProbe,
    pub translation: Option<Translation>,
}

/// Writes the call for a target.
pub(super) fn build(
    call: &Spoken<'_>,
    received: &[u8],
    (kind, speaks): (RouteKind, Dialect),
    target: &TargetPlan,
    record: &Recording<'_>,
) -> Result<Built, Untranslatable> {
    let counts = call.counts(kind);
    let by = target.counts.filter(|_| counts);
    let (body, translation) = match call.passes(speaks, target) {
        true => {
            let mut body = call.rewritten(received, kind, target);
            if call.task() == Task::Chat {
                translate::without_foreign(&mut body, speaks);
            }
            (body, None)
        }
        false => {
            let (body, answer) = call.translated(received, speaks, (target, by), record)?;
            (body, Some(answer))
        }
    };
    let translates = translation.is_some();
    let dialect = match by {
        _ if !translates => speaks,
        Some(by) => by.dialect(),
        None => target.dialect,
    };
    let at_vertex = target.at_vertex && dialect == Dialect::Anthropic;
    let body = match at_vertex.then(|| anthropic::vertex::body(&body, counts)).flatten() {
        Some(body) => body,
        None => body,
    };
    let usage = match call {
        _ if counts => UsageProbe::Free,
        // What it costs is told within it.
        Spoken::Session(_) | Spoken::Live { .. } => UsageProbe::Free,
        Spoken::Task { task, call } if !translates => UsageProbe::Task(TaskUsage::new(*task, call.size())),
        _ => match translation.as_ref().and_then(Translation::gathering) {
            Some(gathering) => UsageProbe::Gathered(Box::new(gathering)),
            None => UsageProbe::of(dialect, call.streams(), !translates && call.drops_usage(target)),
        },
    };
    let (path, own_query) = match call {
        Spoken::Session(asked) => (Task::Realtime.path().into(), Some(asked.query(&target.provider_model).into())),
        Spoken::Live { version, .. } => (version.path().into(), None),
        _ => match translation.as_ref().and_then(Translation::task_path) {
            Some(path) => (path.into(), None),
            None => place(call, counts, (target, dialect), translates),
        },
    };
    let query = speaks == Dialect::Anthropic && !translates && !at_vertex;
    Ok(Built { body, dialect, path, own_query, query, usage, translation })
}

/// What is held while a call of so many bytes is written: of what came, and of what is made of it. While it is rewritten
/// there are two of it, and a third for texts that are read when it is translated; schemas of Google's are written anew
/// before that, and one of which the tokens are counted is written whole before the part of it that is sent.
pub(super) fn copies(received: &Vec<u8>, (speaks, counts): (Dialect, bool), target: &TargetPlan) -> u64 {
    let copies = match (target.speaks(speaks), speaks) {
        (true, _) => 1,
        (false, Dialect::Gemini) => 3,
        (false, _) => 2,
    };
    let copies = copies + usize::from(counts);
    (received.capacity() + received.len() * copies) as u64
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
        Dialect::Anthropic if target.at_vertex => {
            return (anthropic::vertex::path(&target.provider_model, call.streams(), counts).into(), None);
        }
        Dialect::Anthropic if counts => "/messages/count_tokens",
        Dialect::Anthropic => "/messages",
        Dialect::OpenAi => "/chat/completions",
        Dialect::Responses if counts => "/responses/input_tokens",
        Dialect::Responses => "/responses",
        Dialect::Replicate => return (replicate::path(&target.provider_model).into(), None),
        Dialect::Bedrock if counts => return (bedrock::count_path(&target.provider_model).into(), None),
        Dialect::Bedrock => return (bedrock::path(&target.provider_model, call.streams()).into(), None),
        Dialect::Gemini => {
            let action = match (call, counts, call.streams()) {
                (Spoken::Placed { asked, .. }, ..) => asked.action,
                (Spoken::Task { .. } | Spoken::Session(_) | Spoken::Live { .. }, ..) => Action::BatchEmbed,
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

/// Whom a call is translated for.
pub(super) fn recipient(target: &TargetPlan) -> translate::To<'_> {
    let TargetPlan {
        dialect,
        provider_model,
        limit,
        ask_usage,
        writes,
        keeps_thinking,
        call_ids,
        at_vertex,
        place,
        ..
    } = target;
    translate::To {
        limit: *limit,
        ask_usage: *ask_usage,
        longest: *writes,
        keeps_thinking: *keeps_thinking,
        call_ids: *call_ids,
        at_vertex: *at_vertex,
        place: *place,
        ..translate::To::new(*dialect, provider_model)
    }
}
