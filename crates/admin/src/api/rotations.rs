//! Rotations: where each stands, and how the drain of the old version goes.

use crate::{
    AdminState,
    api::request::{Body, Query, limited},
    auth::Administrator,
    error::ApiError,
    ports::Straggler,
    rotations,
};
use axum::{
    Json,
    extract::{Path, State},
};
use credentialflow_model::{Timestamp, lifecycle::RotationStep};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

/// One rotation of a credential.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RotationView {
    /// Identifies it.
    pub id: String,
    /// The credential.
    pub credential: String,
    /// The version it replaces; absent when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_version: Option<u32>,
    /// The version it brings; absent until it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_version: Option<u32>,
    /// Where it stands.
    pub step: RotationStep,
    /// Whether nothing is left to do.
    pub finished: bool,
    /// When it began.
    pub started: Timestamp,
    /// When it last took a step.
    pub updated: Timestamp,
    /// When the old version is retired even if requests still use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Requests that use the old version at this moment, over all workers.
    pub in_flight: u64,
    /// While it drains: whose requests those are; of a key of ours, who used the old secret lately.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stragglers: Vec<Straggler>,
    /// When the old version was last injected; of a key of ours, when a caller last showed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_version_last_used: Option<Timestamp>,
    /// What somebody has to do before it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitsFor>,
    /// Who approved it, where it had to wait for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// What is happening, in a sentence.
    pub message: String,
}

/// What a rotation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// `POST /api/v1/rotations/{id}/approve`
    Approval,
    /// `POST /api/v1/credentials/{name}/deliver`
    Value,
}

/// Rotations that are not finished.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RotationsPage {
    /// Oldest first.
    pub items: Vec<RotationView>,
    /// The next page's `cursor`; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many go on by themselves, over all pages.
    pub running: u64,
    /// How many wait for somebody, over all pages.
    pub waiting: u64,
    /// How many are due and stand in line to begin.
    pub due: u64,
}

/// Which rotations.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UnfinishedQuery {
    /// Most rotations to list, 1 to 1000. 100 unless set.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// Why a rotation is not to be.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclineRotation {
    /// For those who read the audit log; one line.
    pub reason: Option<String>,
}

/// Rotations, newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Rotations {
    /// Newest first.
    pub items: Vec<RotationView>,
}

/// How many rotations.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RotationsQuery {
    /// Most rotations to list, 1 to 1000. 100 unless set.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// List a credential's rotations
#[utoipa::path(get, path = "/api/v1/credentials/{name}/rotations", tag = "credentials",
    params(("name" = String, Path, description = "The credential's name"), RotationsQuery),
    responses((status = 200, description = "Newest first", body = Rotations)))]
async fn list_credential_rotations(
    State(state): State<AdminState>,
    _: Administrator,
    Path(name): Path<String>,
    Query(query): Query<RotationsQuery>,
) -> Result<Json<Rotations>, ApiError> {
    rotations::of_credential(&state, &name, limited(query.limit)?).await.map(Json)
}

/// Follow a rotation
#[utoipa::path(get, path = "/api/v1/rotations/{id}", tag = "credentials",
    params(("id" = String, Path, description = "The rotation")),
    responses((status = 200, description = "Where it stands now", body = RotationView)))]
async fn get_rotation(
    State(state): State<AdminState>,
    _: Administrator,
    Path(id): Path<String>,
) -> Result<Json<RotationView>, ApiError> {
    rotations::get(&state, &id).await.map(Json)
}

/// List rotations that are not finished
#[utoipa::path(get, path = "/api/v1/rotations", tag = "credentials", params(UnfinishedQuery),
    responses((status = 200, description = "Oldest first, those that wait among them", body = RotationsPage)))]
async fn list_rotations(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<UnfinishedQuery>,
) -> Result<Json<RotationsPage>, ApiError> {
    rotations::unfinished(&state, &query).await.map(Json)
}

/// Approve a rotation that waits for it
#[utoipa::path(post, path = "/api/v1/rotations/{id}/approve", tag = "credentials",
    params(("id" = String, Path, description = "The rotation")),
    responses((status = 200, description = "It goes on", body = RotationView)))]
async fn approve_rotation(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(id): Path<String>,
) -> Result<Json<RotationView>, ApiError> {
    rotations::approve(&state, &actor, &id).await.map(Json)
}

/// Decline a rotation that waits
///
/// Also one that waits for its value. The credential stays as it is; its next rotation is due a day
/// later, or after `rotate.every` where that is shorter.
#[utoipa::path(post, path = "/api/v1/rotations/{id}/decline", tag = "credentials", request_body = DeclineRotation,
    params(("id" = String, Path, description = "The rotation")),
    responses((status = 200, description = "It is over", body = RotationView)))]
async fn decline_rotation(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(id): Path<String>,
    Body(body): Body<DeclineRotation>,
) -> Result<Json<RotationView>, ApiError> {
    rotations::decline(&state, &actor, &id, body.reason.as_deref()).await.map(Json)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list_credential_rotations))
        .routes(routes!(list_rotations))
        .routes(routes!(get_rotation))
        .routes(routes!(approve_rotation))
        .routes(routes!(decline_rotation))
}
