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
use credentialflow_model::resource::Model;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

/// How a call would come.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ModelRouteQuery {
    /// The dialect of the caller. `chat` unless set.
    #[serde(default)]
    pub dialect: CallDialect,
}

/// What callers speak.
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
    let found = state.dataplane.model_route(&name, query.dialect).await;
    found.map(Json).ok_or_else(|| {
        ApiError::new(Code::Conflict, "this node serves no calls to models now").hint("ask a node that serves traffic")
    })
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(get_model_route))
}
