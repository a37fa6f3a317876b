//! What would become of a whole call to a model that nobody makes.

use super::{
    model_routes::{CallDialect, ModelTargetView},
    request::Body,
};
use crate::{
    AdminState,
    auth::Administrator,
    error::{ApiError, Code},
    keys,
};
use axum::{
    Json,
    extract::{DefaultBodyLimit, Path, State},
};
use credentialflow_model::{
    KeyId, Name,
    resource::{Model, ModelCapability, RouteBy},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The largest question.
const MAX_BODY: usize = 16 << 20;
/// Headers of one call.
const MOST_HEADERS: usize = 64;

/// A call as it would be sent.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelDryRunRequest {
    /// Its body. Where the dialect names the model there, it must be this one, or one that asks for it by a prompt.
    #[schema(value_type = Object)]
    pub body: Box<RawValue>,
    /// The dialect of the caller, or what it asks beside a conversation; not what is sent as a form, nor sessions. `chat`
    /// unless set.
    #[serde(default)]
    pub dialect: CallDialect,
    /// Whether its answer is to be a stream, for Gemini, whose calls say that in their path.
    #[serde(default)]
    pub stream: bool,
    /// The application that calls. Where neither it nor a key is named, nobody's lists, limits and budgets are looked at
    /// but those of the model and its providers.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub application: Option<Name>,
    /// The name of the key that it calls with.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub key: Option<Name>,
    /// The end user that it is for; the one that the call names unless set.
    #[serde(default)]
    pub user: Option<String>,
    /// Its headers, where something hangs on them, as with `sticky: { by: header }`. 64 at most.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// A whole call that is asked about. No Debug: what stands in it is the caller's.
pub struct AskedWhole {
    /// Its body, as it was sent.
    pub body: Vec<u8>,
    /// The dialect of its caller.
    pub dialect: CallDialect,
    /// Whether its answer is to be a stream, where the path says so.
    pub stream: bool,
    /// The application that calls.
    pub application: Option<String>,
    /// The key that it calls with.
    pub key: Option<KeyId>,
    /// The end user that it is for.
    pub user: Option<String>,
    /// Its headers.
    pub headers: Vec<(String, String)>,
}

/// What would become of a call, as this node finds things at this moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelDryRunView {
    /// The model that is asked for.
    pub model: String,
    /// The model that serves: another one where a budget that is used up names it.
    pub serves: String,
    /// The dialect of the caller.
    pub dialect: CallDialect,
    /// Whether its answer is a stream.
    pub stream: bool,
    /// What its caller would be told; absent where it would be served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedView>,
    /// The end user that it is for, where calls of the application are told apart by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What the guardrails that are judged here found in it and did, as in the call log; never the text.
    pub guardrails: Vec<String>,
    /// The guardrails that others judge: they are not asked, so what they would find is not known.
    pub not_asked: Vec<String>,
    /// What it needs of a model beside reading and writing text.
    pub needs: Vec<ModelCapability>,
    /// How many tokens its prompt has, about.
    pub tokens: u64,
    /// Whether only internal targets may have it.
    pub internal: bool,
    /// Whether it goes where other calls go with which it has something in common.
    pub sticky: bool,
    /// The workers of this node that told. Each remembers failures of its own.
    pub workers: u32,
    /// What decides among targets of the same priority.
    #[serde(default)]
    pub route_by: RouteBy,
    /// In the order of the configuration; none where it is refused before one is chosen.
    pub targets: Vec<ModelDryRunTarget>,
}

/// What a caller is told whose call is not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RefusedView {
    /// The outcome.
    #[schema(examples("budget_exceeded"))]
    pub code: String,
    /// The status of the answer.
    pub status: u16,
    /// The sentence for this call, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A target as the call finds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelDryRunTarget {
    /// The target.
    #[serde(flatten)]
    pub target: ModelTargetView,
    /// The most that the call may cost there, in US dollars, which is what budgets hold back for it; absent where the price
    /// is not known, and where the call does not go there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_usd: Option<String>,
    /// Why the call is not served there although its model can do what is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedView>,
}

/// Why nothing can be said of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CannotAsk {
    /// This node serves no models.
    ServesNone,
    /// What is asked makes no sense, and what does.
    Invalid(String, String),
}

/// Say what would become of a call to a model
///
/// Everything is decided as for a call, and nothing is sent, counted, recorded or kept: which model serves, what guardrails
/// do, which targets can take it, what it may cost there and who can pay for it.
#[utoipa::path(post, path = "/api/v1/models/{name}/route", tag = "models", request_body = ModelDryRunRequest,
    params(("name" = String, Path, description = "The model's name")),
    responses((status = 200, description = "As this node would treat it at this moment", body = ModelDryRunView)))]
async fn dry_run_model_call(
    State(state): State<AdminState>,
    _: Administrator,
    Path(name): Path<String>,
    Body(asked): Body<ModelDryRunRequest>,
) -> Result<Json<ModelDryRunView>, ApiError> {
    crate::resources::get::<Model>(&state, &name).await?;
    let ModelDryRunRequest { body, dialect, stream, application, key, user, headers } = asked;
    if headers.len() > MOST_HEADERS {
        return Err(ApiError::new(Code::InvalidRequest, format!("a call has {MOST_HEADERS} headers here at most")));
    }
    let key = match key {
        Some(key) => Some(keys::get(&state, key.as_str()).await?.id),
        None => None,
    };
    let asked = AskedWhole {
        body: body.get().as_bytes().to_vec(),
        dialect,
        stream,
        application: application.map(|name| name.as_str().to_owned()),
        key,
        user,
        headers: headers.into_iter().collect(),
    };
    match state.dataplane.model_dry_run(&name, asked).await {
        Ok(told) => Ok(Json(told)),
        Err(CannotAsk::ServesNone) => Err(ApiError::new(Code::Conflict, "this node serves no calls to models now")
            .hint("ask a node that serves traffic")),
        Err(CannotAsk::Invalid(detail, hint)) => Err(ApiError::new(Code::InvalidRequest, detail).hint(hint)),
    }
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(dry_run_model_call)).layer(DefaultBodyLimit::max(MAX_BODY))
}
