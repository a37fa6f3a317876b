//! The inventory: every credential in both directions, what is wrong with it, what hangs on it, and its life.

use crate::{
    AdminState,
    api::{
        answer::Page,
        request::{Body, Query},
    },
    auth::Administrator,
    error::ApiError,
    inventory::{self, biography, blast, exposures},
};
use axum::{
    Json,
    extract::{DefaultBodyLimit, Path, State},
};
use credentialflow_governance::{
    Biography, BlastRadius, CredentialKind, Entry, EntryState, Exposure, Finding, Observed, Rule, Severity, Thresholds,
};
use credentialflow_model::{Period, Timestamp, lifecycle::VersionState};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Largest report taken, in bytes.
const MAX_REPORT: usize = 32 << 20;

/// Which credentials. All conditions must hold.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InventoryQuery {
    /// Only this kind.
    pub kind: Option<CredentialKind>,
    /// Only of this owner: the team a credential names, the application a key was issued to.
    pub owner: Option<String>,
    /// Only of this team.
    pub team: Option<String>,
    /// Only with this finding, as in `over_privileged`.
    pub finding: Option<String>,
    /// Only with a finding at least so urgent.
    pub severity: Option<Severity>,
    /// Only in this state.
    pub state: Option<EntryState>,
    /// Only keys and credentials that are older than this moment and were not used since, and of other kinds what is
    /// known to have been used last before it.
    pub unused_since: Option<Timestamp>,
    /// Only names that contain this text.
    pub q: Option<String>,
    /// Not used for so long is stale. 90 days unless set.
    pub stale_after: Option<Period>,
    /// A value older than this is long-lived, where its own rule says nothing. 365 days unless set.
    pub long_lived_after: Option<Period>,
    /// So young that nothing is said yet about what it does not do. 7 days unless set.
    pub settle: Option<Period>,
    /// A key seen from more source addresses than this is shared. 10 unless set.
    pub max_sources: Option<u32>,
    /// How far back the call log is looked at, 1m to 30d. 7 days unless set.
    pub window: Option<Period>,
    /// Most items on the page, 1 to 1000. 100 unless set. A page may have fewer although there is a next one.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Where the page begins: the `next` of the page before.
    pub cursor: Option<String>,
}

/// How many of a kind.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct KindCount {
    /// The kind.
    pub kind: CredentialKind,
    /// How many.
    pub count: u64,
    /// How many of them can be used now.
    pub active: u64,
    /// How many have a finding.
    pub with_findings: u64,
}

/// How many findings of a rule.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FindingCount {
    /// What is wrong.
    pub finding: Rule,
    /// How urgent the most urgent one is.
    pub severity: Severity,
    /// How many.
    pub count: u64,
}

/// Everything counted.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct InventorySummary {
    /// When it was counted. Where that takes long, one count serves for some time.
    pub as_of: Timestamp,
    /// By kind.
    pub kinds: Vec<KindCount>,
    /// By finding.
    pub findings: Vec<FindingCount>,
    /// From when on something counts as a finding.
    pub thresholds: Thresholds,
    /// Which part of the call log was looked at.
    pub observed: Observed,
}

/// A scanner's report.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScannerReport {
    /// The report as the scanner wrote it: gitleaks' JSON or trufflehog's JSON lines; write-only.
    #[schema(write_only, value_type = String)]
    pub report: crate::secret::SecretText,
}

/// A value of ours that the report holds.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Matched {
    /// What kind of credential.
    pub kind: CredentialKind,
    /// Its name.
    pub name: String,
    /// Which version's value it is.
    pub version: u32,
    /// Where that version is in its life.
    pub state: VersionState,
    /// Whether it still works.
    pub works: bool,
    /// How many of the places were not known before.
    pub new_places: u64,
    /// Where it was found.
    pub places: Vec<Exposure>,
}

/// What a report told.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ImportedReport {
    /// The scanner that made it.
    pub tool: String,
    /// Its findings.
    pub findings: u64,
    /// Of those, blanked by the scanner already, so that there was nothing to compare.
    pub redacted: u64,
    /// Of those, no value of ours.
    pub unmatched: u64,
    /// Places recorded now.
    pub recorded: u64,
    /// Our values that stand in it.
    pub matches: Vec<Matched>,
}

/// How far back to look.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WindowQuery {
    /// How far back the call log is looked at, 1m to 30d. A day unless set; for a biography 30 days.
    pub window: Option<Period>,
}

/// List every credential
///
/// Keys we issued, credentials we hold, certificates of our listeners, keys with which we sign; of the run-time API the
/// logins whose passwords it keeps, secret ids, users and tokens that are there for long; its secrets, leases and all
/// tokens as counts. `GET /api/v1/leases` lists leases one by one.
#[utoipa::path(get, path = "/api/v1/inventory", tag = "inventory", params(InventoryQuery),
    responses((status = 200, description = "Kind by kind: by name, keys by id", body = Page<Entry>)))]
async fn list_inventory(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<InventoryQuery>,
) -> Result<Json<Page<Entry>>, ApiError> {
    inventory::list(&state, &query).await.map(Json)
}

/// Count every credential and finding
#[utoipa::path(get, path = "/api/v1/inventory/summary", tag = "inventory", params(InventoryQuery),
    responses((status = 200, description = "`limit` and `cursor` mean nothing here", body = InventorySummary)))]
async fn get_inventory_summary(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<InventoryQuery>,
) -> Result<Json<InventorySummary>, ApiError> {
    inventory::summary(&state, &query).await.map(Json)
}

/// List what is wrong with credentials
#[utoipa::path(get, path = "/api/v1/inventory/findings", tag = "inventory", params(InventoryQuery),
    responses((status = 200, description = "In the order of the inventory; those of one credential stay together, so a page may hold a few more than asked for", body = Page<Finding>)))]
async fn list_findings(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<InventoryQuery>,
) -> Result<Json<Page<Finding>>, ApiError> {
    inventory::list_findings(&state, &query).await.map(Json)
}

/// Hand in a secret scanner's report
///
/// The secrets in it are compared with ours in memory and forgotten; of matches the places are recorded.
#[utoipa::path(post, path = "/api/v1/inventory/reports", tag = "inventory", request_body = ScannerReport,
    responses((status = 200, description = "Compared and recorded", body = ImportedReport)))]
async fn import_report(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Body(body): Body<ScannerReport>,
) -> Result<Json<ImportedReport>, ApiError> {
    exposures::import(&state, &actor, &body.report.0).await.map(Json)
}

/// See what revoking a credential would break
#[utoipa::path(get, path = "/api/v1/credentials/{name}/blast-radius", tag = "inventory",
    params(("name" = String, Path, description = "Its name"), WindowQuery),
    responses((status = 200, description = "Nothing is changed", body = BlastRadius)))]
async fn get_credential_blast_radius(
    State(state): State<AdminState>,
    _: Administrator,
    Path(name): Path<String>,
    Query(query): Query<WindowQuery>,
) -> Result<Json<BlastRadius>, ApiError> {
    blast::of_credential(&state, &name, query.window).await.map(Json)
}

/// See what revoking a key would break
#[utoipa::path(get, path = "/api/v1/keys/{name}/blast-radius", tag = "inventory",
    params(("name" = String, Path, description = "Its name"), WindowQuery),
    responses((status = 200, description = "Nothing is changed", body = BlastRadius)))]
async fn get_key_blast_radius(
    State(state): State<AdminState>,
    _: Administrator,
    Path(name): Path<String>,
    Query(query): Query<WindowQuery>,
) -> Result<Json<BlastRadius>, ApiError> {
    blast::of_key(&state, &name, query.window).await.map(Json)
}

/// Read a credential's life
///
/// Also of one that is gone, as long as the audit log tells of it.
#[utoipa::path(get, path = "/api/v1/credentials/{name}/biography", tag = "inventory",
    params(("name" = String, Path, description = "Its name"), WindowQuery),
    responses((status = 200, description = "Oldest first", body = Biography)))]
async fn get_credential_biography(
    State(state): State<AdminState>,
    _: Administrator,
    Path(name): Path<String>,
    Query(query): Query<WindowQuery>,
) -> Result<Json<Biography>, ApiError> {
    biography::of_credential(&state, &name, query.window).await.map(Json)
}

/// Read a key's life
///
/// Also of one that is gone, as long as the audit log tells of it.
#[utoipa::path(get, path = "/api/v1/keys/{name}/biography", tag = "inventory",
    params(("name" = String, Path, description = "Its name"), WindowQuery),
    responses((status = 200, description = "Oldest first", body = Biography)))]
async fn get_key_biography(
    State(state): State<AdminState>,
    _: Administrator,
    Path(name): Path<String>,
    Query(query): Query<WindowQuery>,
) -> Result<Json<Biography>, ApiError> {
    biography::of_key(&state, &name, query.window).await.map(Json)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    let reports = OpenApiRouter::new().routes(routes!(import_report)).layer(DefaultBodyLimit::max(MAX_REPORT));
    OpenApiRouter::new()
        .routes(routes!(list_inventory))
        .routes(routes!(get_inventory_summary))
        .routes(routes!(list_findings))
        .merge(reports)
        .routes(routes!(get_credential_blast_radius))
        .routes(routes!(get_key_blast_radius))
        .routes(routes!(get_credential_biography))
        .routes(routes!(get_key_biography))
}
