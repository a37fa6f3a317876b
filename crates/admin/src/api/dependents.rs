//! What names a resource, and so would be left dangling if it were deleted.

use crate::{AdminState, auth::Administrator, error::ApiError, write};
use axum::{
    Json,
    extract::{Path, State},
};
use credentialflow_model::resource::Kind;
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Everything that names a resource.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Dependents {
    /// The places. While there is one, the resource is not deleted.
    pub items: Vec<DependentView>,
    /// Whether more keys name it than are listed.
    pub more: bool,
}

/// A place where one resource names another.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DependentView {
    /// The kind of the resource that names it.
    pub kind: Kind,
    /// The name of the resource that names it.
    pub name: String,
    /// Where in that resource, as in `allow.routes[0]`.
    pub path: String,
}

/// List what names a resource
#[utoipa::path(get, path = "/api/v1/dependents/{kind}/{name}", tag = "config",
    params(("kind" = Kind, Path, description = "The kind of resource"), ("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "At this moment", body = Dependents)))]
async fn list_dependents(
    State(state): State<AdminState>,
    _: Administrator,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Json<Dependents>, ApiError> {
    let known = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
    let known = known.ok_or_else(|| ApiError::not_found(&kind, &name))?;
    write::dependents(&state, known, &name).await.map(Json)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(list_dependents))
}
