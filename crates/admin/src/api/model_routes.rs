//! Which target of a model a call would take, and why.

use crate::{
    AdminState,
    api::request::Query,
    auth::Administrator,
    error::{ApiError, Code},
};
use axum::{
    Json,
    extract::{Path, State},
};
use credentialflow_model::resource::{Model, ModelCapability, RouteBy};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

/// How a call would come.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ModelRouteQuery {
    /// The dialect of the caller, or what it asks beside a conversation. `chat` unless set.
    #[serde(default)]
    pub dialect: CallDialect,
    /// What it needs of a model beside reading and writing text, separated by commas, as in `vision,tools`.
    #[serde(default)]
    #[param(example = "vision,tools")]
    pub needs: Option<String>,
    /// How many tokens its prompt has, about.
    #[serde(default)]
    pub tokens: u64,
    /// Whether its answer is to be a stream.
    #[serde(default)]
    pub stream: bool,
    /// Whether a guardrail with the action `route` has found something in it.
    #[serde(default)]
    pub internal: bool,
}

/// A call that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedCall {
    /// The dialect of its caller.
    pub dialect: CallDialect,
    /// What it needs of a model.
    pub needs: Vec<ModelCapability>,
    /// About so many tokens in its prompt.
    pub tokens: u64,
    /// Whether its answer is to be a stream.
    pub stream: bool,
    /// Whether only internal targets may have it.
    pub internal: bool,
}

impl ModelRouteQuery {
    fn call(self) -> Result<AskedCall, ApiError> {
        let Self { dialect, needs, tokens, stream, internal } = self;
        let known = |word: &str| {
            ModelCapability::ALL.iter().copied().find(|one| one.as_str() == word).ok_or_else(|| {
                let all: Vec<_> = ModelCapability::ALL.iter().map(|one| one.as_str()).collect();
                ApiError::new(Code::InvalidRequest, "`needs` names something that is no capability of a model")
                    .hint(format!("any of {}", all.join(", ")))
            })
        };
        let words = needs.iter().flat_map(|needs| needs.split(',')).map(str::trim).filter(|word| !word.is_empty());
        Ok(AskedCall { dialect, needs: words.map(known).collect::<Result<_, _>>()?, tokens, stream, internal })
    }
}

/// What callers speak in a conversation, or what else they ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallDialect {
    /// OpenAI's Chat Completions.
    #[default]
    Chat,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's Messages.
    Messages,
    /// Gemini.
    Gemini,
    /// Embeddings in OpenAI's form.
    Embeddings,
    /// Embeddings in Gemini's form.
    GeminiEmbeddings,
    /// Moderation.
    Moderations,
    /// Making images.
    ImageGenerations,
    /// Editing images.
    ImageEdits,
    /// Speech.
    Speech,
    /// Transcripts of sound.
    Transcriptions,
    /// Translations of sound.
    Translations,
    /// Ranking.
    Rerank,
    /// A session of Realtime.
    Realtime,
}

/// The targets of a model as the next call finds them on the node that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelRouteView {
    /// The model.
    pub model: String,
    /// The dialect of the caller that was asked about.
    pub dialect: CallDialect,
    /// The workers of this node that told. Each remembers failures of its own.
    pub workers: u32,
    /// What decides among targets of the same priority.
    #[serde(default)]
    pub route_by: RouteBy,
    /// In the order of the configuration.
    pub targets: Vec<ModelTargetView>,
}

/// A target as the next call finds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelTargetView {
    /// Its provider.
    pub provider: String,
    /// The provider's own model name.
    pub model: String,
    /// Lower ones come first.
    pub priority: u32,
    /// Its share among the targets of its priority.
    pub weight: u32,
    /// Of a hundred calls, so many begin there now.
    pub percent: f64,
    /// Why that is so.
    pub why: String,
    /// Whether calls in the caller's dialect are translated for it.
    pub translated: bool,
    /// Whether guardrails with the action `route` let calls go there.
    #[serde(default)]
    pub internal: bool,
    /// What the call is expected to cost there, in US dollars; absent where the price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_usd: Option<String>,
    /// How soon it begins to answer lately, in milliseconds; absent before its first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// Whether workers leave it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooling: Option<CoolingView>,
    /// The credentials that it names itself.
    pub credentials: Vec<ModelCredentialView>,
}

/// One of a target's credentials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelCredentialView {
    /// The credential; absent where there is none of the name configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its share among the target's credentials.
    pub weight: u32,
    /// Whether workers leave it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooling: Option<CoolingView>,
}

/// That something is left alone after failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CoolingView {
    /// How many workers of this node do so.
    pub workers: u32,
    /// For how long at most, in milliseconds.
    pub left_ms: u64,
    /// What happened there last: the status that the provider answered with, `stream_error` for a stream that began with an
    /// error, or an outcome such as `upstream_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The application whose calls alone leave it alone, as only its own failed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
}

/// Say which target a call to a model would take
#[utoipa::path(get, path = "/api/v1/models/{name}/route", tag = "models",
    params(("name" = String, Path, description = "The model's name"), ModelRouteQuery),
    responses((status = 200, description = "As this node would route it at this moment; nothing is sent", body = ModelRouteView)))]
async fn get_model_route(
    State(state): State<AdminState>,
    _: Administrator,
    Path(name): Path<String>,
    Query(query): Query<ModelRouteQuery>,
) -> Result<Json<ModelRouteView>, ApiError> {
    crate::resources::get::<Model>(&state, &name).await?;
    let found = state.dataplane.model_route(&name, query.call()?).await;
    found.map(Json).ok_or_else(|| {
        ApiError::new(Code::Conflict, "this node serves no calls to models now").hint("ask a node that serves traffic")
    })
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(get_model_route))
}
