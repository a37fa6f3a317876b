//! `GET /v1/models` and `GET /v1/models/{id}`, and below `/v1beta` in Gemini's dialect: the models this caller may use,
//! and no others, in the caller's dialect.

use super::{Refused, answer::LocalAnswer, route::RouteMatch};
use crate::{snapshot::RouteKind, worker::View};
use credentialflow_llm::{anthropic, gemini, openai, provider::Dialect};
use credentialflow_model::{OutcomeReason, Timestamp};
use credentialflow_policy::{ModelSlot, Principal, allow};

/// The answer, if the route is one of these.
pub(super) fn list(
    view: &View,
    matched: &RouteMatch<'_>,
    principal: &Principal,
    dialect: Option<Dialect>,
) -> Option<Result<LocalAnswer, Refused>> {
    if !matches!(matched.plan(view).kind, RouteKind::ModelList | RouteKind::GeminiModelList) {
        return None;
    }
    let plans = &view.snapshot.models;
    let visible =
        plans.list.iter().enumerate().filter(|(i, m)| {
            allow::may_use_model(&view.snapshot.applications, principal, ModelSlot(*i as u32), &m.name)
        });
    let mut names = visible.map(|(_, m)| &*m.name);
    let wanted = ["/v1/models/", "/v1beta/models/"].iter().find_map(|folder| matched.path.strip_prefix(folder));
    let body = match wanted {
        None => match dialect {
            Some(Dialect::Anthropic) => anthropic::models::list(names, CREATED),
            Some(Dialect::Gemini) => gemini::models::list(names),
            Some(Dialect::OpenAi | Dialect::Responses | Dialect::Bedrock | Dialect::Replicate) | None => {
                openai::models::list(names, CREATED)
            }
        },
        Some(wanted) => match (names.find(|n| *n == wanted), dialect) {
            (Some(name), Some(Dialect::Anthropic)) => anthropic::models::one(name, CREATED),
            (Some(name), Some(Dialect::Gemini)) => gemini::models::one(name),
            (Some(name), Some(Dialect::OpenAi | Dialect::Responses | Dialect::Bedrock | Dialect::Replicate) | None) => {
                openai::models::one(name, CREATED)
            }
            (None, _) => return Some(Err(Refused::new(OutcomeReason::ModelNotFound))),
        },
    };
    Some(Ok(LocalAnswer { status: 200, content_type: "application/json", body }))
}

/// The list's `created` says nothing useful for names of our own; the epoch says so.
const CREATED: Timestamp = Timestamp::from_secs(0);
