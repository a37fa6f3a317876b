//! What the call log adds up to: traffic, errors, latency, tokens and spend over a window.

use crate::{AdminState, api::request::Query, auth::Administrator, calls, error::ApiError};
use axum::{Json, extract::State};
use credentialflow_model::Period;
use credentialflow_telemetry::Stats;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Over which time.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatsQuery {
    /// How far back from now, 1 minute to 1 day. One hour unless set.
    pub window: Option<Period>,
}

/// Add up the call log
#[utoipa::path(get, path = "/api/v1/stats", tag = "calls", params(StatsQuery),
    responses((status = 200, description = "The window, added up", body = Stats)))]
async fn get_stats(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<StatsQuery>,
) -> Result<Json<Stats>, ApiError> {
    calls::stats(&state, query.window).await.map(Json)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(get_stats))
}
