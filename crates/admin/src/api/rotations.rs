//! Rotations: where each stands, and how the drain of the old version goes.

use crate::{
    AdminState,
    api::request::{Query, limited},
    auth::Administrator,
    error::ApiError,
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
    /// When the old version was last injected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_version_last_used: Option<Timestamp>,
    /// What is happening, in a sentence.
    pub message: String,
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

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(list_credential_rotations)).routes(routes!(get_rotation))
}
