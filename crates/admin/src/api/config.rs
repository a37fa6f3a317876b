//! The whole configuration at once: check, plan, apply, export.

use crate::{
    AdminState,
    api::{keys::IssuedKey, request::Body, rotations::RotationView},
    auth::Administrator,
    config,
    error::ApiError,
    ports::Published,
};
use axum::{
    Json,
    extract::{DefaultBodyLimit, State},
    response::{IntoResponse, Response},
};
use credentialflow_model::{Problem, resource::Kind};
use http::header;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Largest body of the operations here, in bytes.
pub(crate) const MAX_BODY: usize = 16 << 20;

/// One text of a configuration.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Its name, for telling where a problem is.
    pub file: String,
    /// YAML or JSON.
    pub text: String,
}

/// A configuration: the texts, and the values their references resolve to.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The texts; together they are one configuration.
    pub documents: Vec<Document>,
    /// Values of credentials by the credential's name, read where `${env:}` and `${file:}` can be
    /// resolved; write-only. A credential may be left out when the value stored already is meant.
    #[serde(default)]
    #[schema(write_only, value_type = BTreeMap<String, String>)]
    pub values: BTreeMap<String, crate::secret::SecretText>,
    /// Also delete what is stored but not declared.
    #[serde(default)]
    pub prune: bool,
}

/// What a check found.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Checked {
    /// Whether the configuration can be applied.
    pub valid: bool,
    /// Every problem, in the order of the texts.
    pub problems: Vec<Problem>,
    /// How many resources of each kind are declared.
    pub counts: BTreeMap<String, u64>,
}

/// What happens to one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeAction {
    /// It is new.
    Create,
    /// It is declared differently.
    Update,
    /// It is not declared any more (only with `prune`).
    Delete,
    /// Its declaration stays, its value is replaced by a rotation.
    Rotate,
}

/// One difference between what is stored and what is declared.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ChangeView {
    /// What happens.
    pub action: ChangeAction,
    /// The kind of resource.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Which fields differ; empty for everything but `update`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChangeView>,
}

/// One field that differs.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FieldChangeView {
    /// Its path inside the resource, as in `limit.per`.
    pub path: String,
    /// As stored; absent when it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<serde_json::Value>,
    /// As declared; absent when it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<serde_json::Value>,
}

/// A value in the files that the credential had before and has no more. It is left alone, so that applying the same
/// files again does not take a rotation back; `credential rotate --value-from` brings it back on purpose.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct KeptValue {
    /// The credential; the value it has now stays.
    pub credential: String,
    /// The version that the files' value is.
    pub version: u32,
    /// The same in words.
    pub detail: String,
}

/// What an apply would do.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PlanView {
    /// The differences; empty when everything is as declared.
    pub changes: Vec<ChangeView>,
    /// How many resources stay as they are.
    pub unchanged: u64,
    /// Credentials whose value in the files is an old one; their value stays.
    pub kept: Vec<KeptValue>,
}

/// What an apply did.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Applied {
    /// The differences, now made; empty when everything was as declared.
    pub changes: Vec<ChangeView>,
    /// How many resources stayed as they are.
    pub unchanged: u64,
    /// Credentials whose value in the files is an old one; their value stayed.
    pub kept: Vec<KeptValue>,
    /// Keys issued by this apply, each with its secret. The only answer that ever contains them.
    pub keys: Vec<IssuedKey>,
    /// Rotations started because a value changed.
    pub rotations: Vec<RotationView>,
    /// Who enforces it; absent when there was nothing to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
}

/// Check a configuration
///
/// Finds every problem at once; changes nothing.
#[utoipa::path(post, path = "/api/v1/config/check", tag = "config", request_body = Configuration,
    responses((status = 200, description = "What was found", body = Checked)))]
async fn check_config(
    State(state): State<AdminState>,
    _: Administrator,
    Body(body): Body<Configuration>,
) -> Result<Json<Checked>, ApiError> {
    config::check(&state, body).await.map(Json)
}

/// Plan a configuration
///
/// Says what an apply would change; changes nothing.
#[utoipa::path(post, path = "/api/v1/config/plan", tag = "config", request_body = Configuration,
    responses((status = 200, description = "The differences", body = PlanView)))]
async fn plan_config(
    State(state): State<AdminState>,
    _: Administrator,
    Body(body): Body<Configuration>,
) -> Result<Json<PlanView>, ApiError> {
    config::plan(&state, body).await.map(Json)
}

/// Apply a configuration
///
/// All of it or nothing, in one transaction; answers when every worker enforces it.
#[utoipa::path(post, path = "/api/v1/config/apply", tag = "config", request_body = Configuration,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the same answer, with the keys issued, available again for 24 hours")),
    responses((status = 200, description = "Made so, and enforced by every worker", body = Applied)))]
async fn apply_config(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    headers: http::HeaderMap,
    Body(body): Body<Configuration>,
) -> Result<Response, ApiError> {
    config::apply(&state, &actor, &headers, body).await
}

/// Export the configuration
///
/// As YAML that `apply` reads back without a difference. Contains no secret.
#[utoipa::path(get, path = "/api/v1/config/export", tag = "config",
    responses((status = 200, description = "Everything declared", body = String, content_type = "application/yaml")))]
async fn export_config(State(state): State<AdminState>, _: Administrator) -> Result<Response, ApiError> {
    let text = config::export(&state).await?;
    Ok(([(header::CONTENT_TYPE, "application/yaml")], text).into_response())
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(check_config))
        .routes(routes!(plan_config))
        .routes(routes!(apply_config))
        .routes(routes!(export_config))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}
