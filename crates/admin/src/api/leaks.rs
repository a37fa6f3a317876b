//! Leaks: secrets of ours that were found where they must not be.

use crate::{
    AdminState,
    api::{
        answer::Page,
        keys::IssuedKey,
        request::{Body, Document, JsonBytes, ListQuery, Query},
    },
    auth::{Administrator, Source},
    error::ApiError,
    leaks,
    secret::SecretText,
};
use axum::{
    Json,
    extract::{DefaultBodyLimit, Path, State},
};
use credentialflow_model::{
    KeyId, Timestamp,
    leak::{LeakAction, LeakResponse, LeakStep},
};
use http::{HeaderMap, StatusCode};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Largest public report, in bytes.
const MAX_PUBLIC: usize = 64 << 10;

/// Something that leaked, or may have.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeakReport {
    /// Secrets, each as it was found.
    #[schema(value_type = Option<Vec<String>>)]
    pub tokens: Option<Vec<SecretText>>,
    /// A text in which secrets may stand, such as a file or a log.
    #[schema(value_type = Option<String>)]
    pub text: Option<SecretText>,
    /// Where it was found. Not kept where it repeats what was found.
    pub url: Option<String>,
    /// Something for people, in one line. Not kept where it repeats what was found.
    pub note: Option<String>,
}

/// A report was taken. It is the same whatever was in it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Taken {
    /// Always true.
    pub accepted: bool,
}

/// What was found in a report.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Looked {
    /// Pieces of the report that were compared with our secrets.
    pub pieces: u64,
    /// Leaks that it is about, new ones and known ones.
    pub leaks: Vec<LeakView>,
}

/// A piece of a text that is searched, a log above all.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeakScan {
    /// The piece, at most 256 KiB.
    #[schema(value_type = String)]
    pub text: SecretText,
    /// How many bytes of the whole text come before it.
    #[serde(default)]
    pub offset: u64,
    /// The line of the whole text that it begins in, counted from 1.
    #[serde(default = "first")]
    pub line: u64,
    /// So many bytes at its beginning were searched before, and come again so that nothing that is cut in two is missed:
    /// what ends in them is not told again.
    #[serde(default)]
    pub seen: u64,
    /// Only look: nothing is recorded and no rule followed.
    #[serde(default)]
    pub dry_run: bool,
    /// Where it was found. Not kept where it repeats what was found.
    pub url: Option<String>,
    /// Something for people, in one line. Not kept where it repeats what was found.
    pub note: Option<String>,
}

fn first() -> u64 {
    1
}

/// What stands in a piece of a text.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Scanned {
    /// Every place where a secret of ours stands, in order; at most 1000.
    pub found: Vec<FoundSecret>,
    /// Whether all of the piece was searched, and every place is told.
    pub complete: bool,
}

/// A place where a secret of ours stands. Never the secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FoundSecret {
    /// What it is.
    pub kind: LeakKind,
    /// The name of the key or credential.
    pub name: String,
    /// Which of its secrets.
    pub version: u32,
    /// The application a key was issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Where it begins in the whole text, in bytes.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u64,
    /// The line it begins in, counted from 1.
    pub line: u64,
    /// The leak as which it is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leak: Option<String>,
}

/// What leaked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeakKind {
    /// The secret of a key we issued.
    Key,
    /// A value of a credential we hold.
    Credential,
}

impl LeakKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Credential => "credential",
        }
    }
}

/// How a report came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// From somebody who had the secret.
    Report,
    /// From an administrator.
    Administrator,
    /// From GitHub's secret scanning.
    Github,
    /// From the gateway: a caller sent it.
    Traffic,
    /// From the gateway: an upstream answered with it.
    Answer,
    /// From our own log, in which it was blanked.
    Log,
}

/// One place where a secret was found.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LeakPlace {
    /// How the report came.
    pub via: Via,
    /// Who reported.
    pub reporter: String,
    /// The address from which it was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where it stood, as the reporter says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What the reporter adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The application that sent it, or was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The key of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The route on which it was sent, or answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The upstream that answered with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// When it was reported.
    pub time: Timestamp,
}

/// From where a key was used before it was put in quarantine.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SeenFrom {
    /// Since when was looked.
    pub since: Timestamp,
    /// The addresses that are let in.
    pub networks: Vec<String>,
    /// Whether all uses in that time were seen, but for those of the last seconds at other nodes. If not, clients may be
    /// kept out: let them in by hand.
    pub complete: bool,
    /// Other nodes of whose uses some may not be known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_nodes: Vec<String>,
}

/// A leak and its answer. Never the secret.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LeakBody {
    /// What leaked.
    pub kind: LeakKind,
    /// The name of the key or credential.
    pub name: String,
    /// Which of its secrets.
    pub version: u32,
    /// The application a key was issued to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The team that answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// What the rule said.
    pub action: LeakAction,
    /// Whether the rule wanted a new secret.
    pub rotate: bool,
    /// What was done.
    pub steps: Vec<LeakStep>,
    /// What is left for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// Who is let in, where it is in quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<SeenFrom>,
    /// The rotation that began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<String>,
    /// Until when the key's new secret can be fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_until: Option<Timestamp>,
    /// Why nothing was done, if the rule could not be followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// When it was answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Timestamp>,
    /// How the report came that was answered then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_via: Option<Via>,
    /// Whether its rule is not followed in full, because of where it was found so far: in what callers sent or were
    /// answered, or in our own log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held_back: bool,
    /// Where it was found first, oldest first: at most twenty places, ten of them told by who is not known.
    pub places: Vec<LeakPlace>,
    /// What came after these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<MorePlaces>,
}

/// Places of a leak that are not kept one by one.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MorePlaces {
    /// How often it was found at other places than those kept; up to ten minutes late.
    pub count: u64,
    /// The last place that was written down.
    pub last: LeakPlace,
}

/// A leak.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LeakView {
    /// Identifies it.
    pub id: String,
    /// When it was first reported.
    pub first_seen: Timestamp,
    /// When something about it changed last.
    pub updated: Timestamp,
    /// What is known of it.
    #[serde(flatten)]
    pub body: LeakBody,
}

/// Networks to let in.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReleaseLeak {
    /// Networks (CIDR) that are let in as well. Empty: the quarantine is lifted.
    #[schema(value_type = Vec<String>)]
    pub networks: Vec<IpNet>,
}

/// What a secret of GitHub's report was, in the words of the partner programme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// It is one of ours.
    TruePositive,
    /// It is none of ours.
    FalsePositive,
}

/// What one secret of GitHub's report was.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct GithubLabel {
    /// SHA-256 of the secret, in hexadecimal.
    pub token_hash: String,
    /// The type GitHub gave it.
    pub token_type: String,
    /// What it was.
    pub label: Label,
}

/// Report a leaked secret
///
/// Anybody may: the secret is its own proof. The answer is the same whatever is in the report, which is looked at
/// afterwards. At most 20 reports a minute from one address and 240 from all.
#[utoipa::path(post, path = "/api/v1/leaks/report", tag = "leaks", request_body = LeakReport,
    responses((status = 202, description = "Taken; says nothing about what is in it", body = Taken)))]
async fn report_leak(
    State(state): State<AdminState>,
    Source(source): Source,
    Body(body): Body<LeakReport>,
) -> Result<(StatusCode, Json<Taken>), ApiError> {
    leaks::take(&state, source, body)?;
    Ok((StatusCode::ACCEPTED, Json(Taken { accepted: true })))
}

/// Take a report of GitHub's secret scanning
///
/// As the partner programme sends it: a list of `token`, `type`, `url` and `source`, signed with ECDSA P-256 and
/// SHA-256 (`Github-Public-Key-Identifier`, `Github-Public-Key-Signature`). Only where `github_keys` is set.
#[utoipa::path(post, path = "/api/v1/leaks/github", tag = "leaks", request_body(content = String, content_type = "application/json"),
    responses((status = 200, description = "Looked at: a label for each secret, in the order of the report", body = Vec<GithubLabel>)))]
async fn report_from_github(
    State(state): State<AdminState>,
    Source(source): Source,
    headers: HeaderMap,
    JsonBytes(body): JsonBytes,
) -> Result<Json<Vec<GithubLabel>>, ApiError> {
    leaks::github(&state, source, &headers, &body).await.map(Json)
}

/// List leaks
#[utoipa::path(get, path = "/api/v1/leaks", tag = "leaks", params(ListQuery),
    responses((status = 200, description = "The newest first; `q` looks at names, within the page", body = Page<LeakView>)))]
async fn list_leaks(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<LeakView>>, ApiError> {
    leaks::list(&state, &query).await.map(Json)
}

/// Look for secrets of ours in a text
///
/// What is found is recorded and answered by its rule before this answers.
#[utoipa::path(post, path = "/api/v1/leaks", tag = "leaks", request_body = LeakReport,
    responses((status = 200, description = "Looked at; every worker enforces the answers", body = Looked)))]
async fn look_for_leaks(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Body(body): Body<LeakReport>,
) -> Result<Json<Looked>, ApiError> {
    leaks::report(&state, actor, body).await.map(Json)
}

/// Search a piece of a log for secrets of ours
///
/// Says where each stands. What is found is recorded and answered by its rule before this answers, unless `dry_run` is set.
#[utoipa::path(post, path = "/api/v1/leaks/scan", tag = "leaks", request_body = LeakScan,
    responses((status = 200, description = "Searched; every worker enforces the answers", body = Scanned)))]
async fn scan_for_leaks(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Body(body): Body<LeakScan>,
) -> Result<Json<Scanned>, ApiError> {
    leaks::scan::scan(&state, actor, body).await.map(Json)
}

/// Read a leak
#[utoipa::path(get, path = "/api/v1/leaks/{id}", tag = "leaks", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "What is known of it", body = LeakView)))]
async fn get_leak(
    State(state): State<AdminState>,
    _: Administrator,
    Path(id): Path<String>,
) -> Result<Json<LeakView>, ApiError> {
    leaks::get(&state, &id).await.map(Json)
}

/// Fetch the new secret of a key that leaked
///
/// Where the rule made one. It can be fetched for 24 hours; each time is written to the audit log.
#[utoipa::path(post, path = "/api/v1/leaks/{id}/secret", tag = "leaks", params(("id" = String, Path, description = "The leak's id")),
    responses((status = 200, description = "The key with its new secret", body = IssuedKey)))]
async fn fetch_leaked_keys_secret(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(id): Path<String>,
) -> Result<Json<IssuedKey>, ApiError> {
    leaks::secret(&state, &actor, &id).await.map(Json)
}

/// Lift a quarantine, or let more networks in
#[utoipa::path(post, path = "/api/v1/leaks/{id}/release", tag = "leaks", request_body = ReleaseLeak,
    params(("id" = String, Path, description = "The leak's id")),
    responses((status = 200, description = "Enforced by every worker", body = LeakView)))]
async fn release_leak(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(id): Path<String>,
    Body(body): Body<ReleaseLeak>,
) -> Result<Json<LeakView>, ApiError> {
    leaks::release(&state, &actor, &id, &body.networks).await.map(Json)
}

/// Read how leaks are answered
///
/// The stored `leak_responses/default`, or what holds where there is none.
#[utoipa::path(get, path = "/api/v1/leaks/response", tag = "leaks",
    responses((status = 200, description = "The rules", body = LeakResponse)))]
async fn get_leak_rules(State(state): State<AdminState>, _: Administrator) -> Result<Json<LeakResponse>, ApiError> {
    leaks::response::get(&state).await.map(Json)
}

/// Replace how leaks are answered
///
/// Stores them as `leak_responses/default`. What is left out becomes as it is by default. Leaks that were answered stay
/// as they are.
#[utoipa::path(put, path = "/api/v1/leaks/response", tag = "leaks",
    request_body(content((LeakResponse = "application/json"), (String = "application/yaml"))),
    params(("If-Match" = Option<String>, Header, description = "Refuse if they are not at this revision any more")),
    responses((status = 200, description = "The rules as they are stored", body = LeakResponse)))]
async fn put_leak_rules(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    headers: HeaderMap,
    body: Document,
) -> Result<Json<LeakResponse>, ApiError> {
    leaks::response::put(&state, &actor, &headers, &body).await.map(Json)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    let public = OpenApiRouter::new().routes(routes!(report_leak)).layer(DefaultBodyLimit::max(MAX_PUBLIC));
    OpenApiRouter::new()
        .merge(public)
        .routes(routes!(report_from_github))
        .routes(routes!(list_leaks, look_for_leaks))
        .routes(routes!(get_leak_rules, put_leak_rules))
        .routes(routes!(scan_for_leaks))
        .routes(routes!(get_leak))
        .routes(routes!(fetch_leaked_keys_secret))
        .routes(routes!(release_leak))
}
