//! Probes and metrics on the control listener; open to anyone who can reach it.

use crate::AdminState;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a probe is told. Reveals no names and no counts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    /// `ok`; `degraded` while it serves, but not everything or not with the newest state (both 200); or
    /// why it cannot serve: `sealed`, `starting`, `store_unavailable` (503).
    pub status: &'static str,
    /// What is not as it should be: `credential_unavailable` (the current version of some credential
    /// does not open), `resource_impaired` (some upstream, route or model cannot be used as it is configured), `stale` (the database is away and other nodes no longer wait for this one),
    /// `sealed` (nothing can be issued, opened or changed).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<&'static str>,
}

/// Is the process alive?
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, description = "It is", body = Readiness)))]
async fn healthz(State(state): State<AdminState>) -> Json<Readiness> {
    let details = if state.vault.is_sealed() { vec!["sealed"] } else { Vec::new() };
    Json(Readiness { status: "ok", details })
}

/// Can it do its work?
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, description = "It can", body = Readiness), (status = 503, description = "Not now", body = Readiness)))]
async fn readyz(State(state): State<AdminState>) -> (StatusCode, Json<Readiness>) {
    let (status, details) = crate::status::readiness(&state).await;
    let code = if matches!(status, "ok" | "degraded") { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Readiness { status, details }))
}

/// Metrics for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text")))]
async fn metrics(State(state): State<AdminState>) -> Response {
    let text = crate::status::metrics(&state);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}
