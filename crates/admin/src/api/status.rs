//! How the installation is doing, for people and for the console's overview.

use crate::{AdminState, auth::Administrator, error::ApiError, ports::DataplaneStatus};
use axum::{Json, extract::State};
use credentialflow_model::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The installation at this moment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Status {
    /// Version of Credentialflow.
    pub version: String,
    /// The server's clock.
    pub time: Timestamp,
    /// When the control plane started.
    pub started: Timestamp,
    /// Whether the vault is sealed.
    pub sealed: bool,
    /// How many resources of each kind are stored.
    pub resources: BTreeMap<String, u64>,
    /// Newest place in the change feed; the data plane enforces up to its own `seq`.
    pub seq: u64,
    /// Whether every worker of every live node enforces everything stored.
    pub in_step: bool,
    /// The gateway.
    pub dataplane: DataplaneStatus,
    /// Rotations not finished yet.
    pub rotations: Vec<super::rotations::RotationView>,
    /// Places in external stores that could not be read or written at the last attempt; at most 100. Each is
    /// tried again by itself, and credentials keep the values they have.
    pub failing_links: Vec<super::links::LinkView>,
    /// Logins handed out at run time that could not be withdrawn when they should have been.
    pub leases: LeaseStatus,
    /// Certificates that end soon, or have ended; the next one first, at most 100.
    pub certificates: Vec<super::certificates::CertificateView>,
    /// How ordering the listeners' certificate stands, where it comes from an ACME server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_order: Option<super::certificates::CertificateOrder>,
    /// The writer of the call log.
    pub call_log: CallLogStatus,
}

/// Logins handed out at run time that could not be withdrawn when they should have been. Each is tried
/// again by itself, at most an hour later.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct LeaseStatus {
    /// Leases whose revocation failed at least once.
    pub failing: u64,
    /// Those of them that failed so often that a person should look; they are named by
    /// `sys/leases?type=irrevocable` of the run-time API.
    pub irrevocable: u64,
    /// Static roles of the run-time API whose password could not be changed when it was due.
    pub static_roles: u64,
}

/// The writer of the call log.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct CallLogStatus {
    /// Records written since the start.
    pub written: u64,
    /// Records dropped since the start because a queue was full.
    pub dropped: u64,
    /// Failed writes since the start; they are retried.
    pub write_errors: u64,
    /// Records not yet on disk.
    pub waiting: u64,
}

/// See how it is doing
#[utoipa::path(get, path = "/api/v1/status", tag = "status",
    responses((status = 200, description = "At this moment", body = Status)))]
async fn get_status(State(state): State<AdminState>, _: Administrator) -> Result<Json<Status>, ApiError> {
    crate::status::status(&state).await.map(Json)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(get_status))
}
