//! Certificates: what listeners and upstreams present, and what is held. No private key is ever shown.

use crate::{AdminState, auth::Administrator, certificates, error::ApiError};
use axum::{
    Json,
    extract::{Path, State},
};
use credentialflow_model::Timestamp;
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What sort of place a certificate was seen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificatePlace {
    /// A listener of ours presents it.
    Listener,
    /// A credential holds it, with its private key.
    Credential,
    /// An upstream presents it.
    Upstream,
    /// An authority of the run-time API (`pki`) signs with it.
    Authority,
}

/// How near its end a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// There is time enough.
    Valid,
    /// At most 30 days are left; of one that lives for less than 120 days, a quarter of its life.
    Expiring,
    /// It is over.
    Expired,
}

/// A certificate where it was seen.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CertificateView {
    /// What sort of place.
    pub place: CertificatePlace,
    /// The listener's or credential's name, the upstream's `host:port`, or the authority's mount.
    pub name: String,
    /// The version of the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// How near its end it is.
    pub state: CertificateState,
    /// Whom it names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Host names, addresses and URIs it is for; at most 32.
    pub names: Vec<String>,
    /// Its key, as in `RSA 2048` or `ECDSA P-256`.
    pub algorithm: String,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// Whether it may sign others.
    pub authority: bool,
    /// Valid from then on.
    pub not_before: Timestamp,
    /// Valid until then.
    pub not_after: Timestamp,
    /// When this certificate was first seen there.
    pub first_seen: Timestamp,
    /// When it was last seen there, to the hour.
    pub last_seen: Timestamp,
    /// Certificate and chain as PEM: of a credential that is asked for by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
}

/// How ordering stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateOrderState {
    /// The certificate is there, and the next order is not due yet.
    Waiting,
    /// An order is due or under way.
    Ordering,
    /// The last attempt failed; the next one comes by itself.
    Failing,
}

/// How ordering the listeners' certificate from an ACME server stands.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CertificateOrder {
    /// How it stands.
    pub state: CertificateOrderState,
    /// From whom.
    pub directory: String,
    /// For which names.
    pub names: Vec<String>,
    /// Which listeners present it.
    pub listeners: Vec<String>,
    /// When the next order is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renews: Option<Timestamp>,
    /// Attempts that failed since the last one that did not.
    pub failures: u32,
    /// Why the last attempt failed, in the server's words where it said no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Not before this moment is it tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
}

/// The certificates that pass through.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Certificates {
    /// The one that ends next comes first.
    pub items: Vec<CertificateView>,
    /// How ordering the listeners' certificate stands, where it comes from an ACME server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<CertificateOrder>,
    /// How often a place was not kept since the start, because there were more than 10,000.
    pub left_out: u64,
}

/// List the certificates that pass through
///
/// Those of our listeners, of credentials, and of upstreams that were connected to within the last 90 days.
#[utoipa::path(get, path = "/api/v1/certificates", tag = "certificates",
    responses((status = 200, description = "The one that ends next first", body = Certificates)))]
async fn list_certificates(State(state): State<AdminState>, _: Administrator) -> Json<Certificates> {
    Json(certificates::list(&state))
}

/// Read a credential's certificate
///
/// With its chain as PEM and without its private key: what others need to trust an authority.
#[utoipa::path(get, path = "/api/v1/certificates/{name}", tag = "certificates",
    params(("name" = String, Path, description = "The credential's name")),
    responses((status = 200, description = "Its current version", body = CertificateView)))]
async fn get_certificate(
    State(state): State<AdminState>,
    _: Administrator,
    Path(name): Path<String>,
) -> Result<Json<CertificateView>, ApiError> {
    certificates::get(&state, &name).map(Json)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(list_certificates)).routes(routes!(get_certificate))
}
