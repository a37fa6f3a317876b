//! The audit log: who changed what, as a chain of hashes.

use crate::{
    AdminState,
    api::request::{Query, limited},
    auth::Administrator,
    error::ApiError,
};
use axum::{Json, extract::State};
use credentialflow_model::AuditEvent;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Which events.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only events after this place in the chain, oldest first. Unless set: the newest events, newest first.
    pub after: Option<u64>,
    /// Only events before this place in the chain, newest first.
    pub before: Option<u64>,
    /// Most events, 1 to 1000. 100 unless set.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Only this action, as in `key.create`.
    pub action: Option<String>,
    /// Only this subject, as in `credentials/orders-token`.
    pub subject: Option<String>,
}

/// Events of the audit log.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AuditPage {
    /// The events; `hash` and `previous_hash` link each to the one before.
    pub items: Vec<AuditEvent>,
}

/// Read the audit log
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(AuditQuery),
    responses((status = 200, description = "Events", body = AuditPage)))]
async fn list_audit(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditPage>, ApiError> {
    let limit = limited(query.limit)?;
    crate::audit::list(&state, &query, limit).await.map(Json)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(list_audit))
}
