//! Links: the places in external stores that a credential's values come from and go to.

use crate::{AdminState, auth::Administrator, error::ApiError, links};
use axum::{
    Json,
    extract::{Path, State},
};
use credentialflow_model::Timestamp;
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Which way a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkDirection {
    /// From the store into the credential.
    Read,
    /// From the credential into the store.
    Write,
}

/// How one place stands.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LinkView {
    /// The credential.
    pub credential: String,
    /// Which way.
    pub direction: LinkDirection,
    /// The place, as in `team-vault/apps/orders#token`.
    pub place: String,
    /// The credential's version that was last made from there, or written there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// What the store calls what it held then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// When it last went well; absent before the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<Timestamp>,
    /// Attempts that failed since.
    pub attempts: u32,
    /// Not before this moment it is read again, or tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The links of a credential.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Links {
    /// The source first, then the destinations by their place.
    pub items: Vec<LinkView>,
}

/// Read and write a credential's places in external stores now
///
/// Reads its source and writes its destinations, due or not, and answers how each stands then. One that
/// failed has an `error`; the credential keeps the value it has.
#[utoipa::path(post, path = "/api/v1/credentials/{name}/refresh", tag = "credentials",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "Tried; every worker enforces what it brought", body = Links)))]
async fn refresh_credential(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(name): Path<String>,
) -> Result<Json<Links>, ApiError> {
    links::refresh(&state, &actor, &name).await.map(Json)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(refresh_credential))
}
