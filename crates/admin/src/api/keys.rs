//! Keys issued to applications: made here, shown once, kept as keyed hashes.

use crate::{
    AdminState,
    api::{
        answer::{Page, Tagged, stored},
        budgets::BudgetView,
        request::{Body, Document, ListQuery, Query},
    },
    auth::Administrator,
    error::ApiError,
    keys,
    ports::Published,
};
use axum::{
    Json,
    extract::{Path, State},
    response::Response,
};
use credentialflow_model::{
    KeyId, Period, Timestamp,
    leak::Quarantine,
    lifecycle::VersionState,
    resource::{Act, Allow, Key},
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

/// A key as it is stored, without any secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct KeyItem {
    /// What was declared.
    pub spec: Key,
    /// The public half: stands inside the key, may be shown and logged.
    pub id: KeyId,
    /// Grows with each change of the declaration; the `ETag` is this number in quotes.
    pub revision: u64,
    /// When it was first stored.
    pub created: Timestamp,
    /// When the declaration was last changed.
    pub updated: Timestamp,
    /// When it was revoked; absent while it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
    /// Where its secrets may still be used from, after one of them leaked; absent while none is held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
    /// Where it comes from, for whom it acts, and which keys come from it; absent in lists, and where nothing of it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegation: Option<DelegationView>,
    /// Its secrets: one, or two while a rotation overlaps.
    pub secrets: Vec<KeySecretView>,
    /// When, from where and how often it was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_use: Option<LastUse>,
}

/// Where a key comes from, for whom it acts, and which keys come from it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DelegationView {
    /// Whom its calls are for: what it declares, or the nearest key that it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Who acts, from the one who acts now to the one who acted first (RFC 8693, 4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    /// The keys that it comes from, the nearest first.
    pub ancestors: Vec<String>,
    /// Whether its parent issued it at the token endpoint, so that nobody declared it.
    pub exchanged: bool,
    /// Its own budgets, as they stand. Those of the keys above it pay as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub budgets: Vec<BudgetView>,
    /// How many keys come from it, over all generations, and are in force: all of them end with it.
    pub keys_below: u64,
    /// The first hundred of them, the nearest first.
    pub below: Vec<DelegatedKeyView>,
}

/// A key that comes from another one.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DelegatedKeyView {
    /// Its name.
    pub name: String,
    /// Its public half.
    pub id: KeyId,
    /// That of the key that it comes from.
    pub parent: KeyId,
    /// Who uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Whether its parent issued it at the token endpoint.
    pub exchanged: bool,
    /// When it was issued.
    pub created: Timestamp,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// What for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// What it may use of what the keys above it may; absent: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Allow>,
    /// Budgets of its own, as they stand. Those of the keys above it pay as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub budgets: Vec<BudgetView>,
}

/// A key that was revoked.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RevokedKey {
    /// The key.
    #[serde(flatten)]
    pub key: KeyItem,
    /// How many keys that come from it ended with it.
    pub keys_ended: u64,
    /// Who confirmed it, and which nodes are lost.
    pub published: Published,
}

/// One secret of a key, without the secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct KeySecretView {
    /// Counts from 1.
    pub version: u32,
    /// Where it is in its life.
    pub state: VersionState,
    /// When it was made.
    pub created: Timestamp,
    /// When it ceases to be accepted; absent while no rotation overlaps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retires: Option<Timestamp>,
}

/// The last use of a key.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LastUse {
    /// When.
    pub time: Timestamp,
    /// Source address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How often it was used in all.
    pub count: u64,
}

/// A key with the secret just made. The only answer that ever contains it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct IssuedKey {
    /// The key.
    pub key: KeyItem,
    /// What callers present. Shown this once; `Idempotency-Key` makes it available again for 24 hours.
    #[schema(value_type = String, examples("cfk_live_7m2k9q4x1c8v_0123456789ABCDEFGHIJKLMNOPQRSTUVaaaaaa"))]
    pub secret: crate::secret::ShownOnce,
}

/// How to rotate a key.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// How long the old secret stays valid beside the new one. 24 hours unless set.
    pub overlap: Option<Period>,
}

/// List keys
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", params(ListQuery),
    responses((status = 200, description = "In the order of their names", body = Page<KeyItem>)))]
async fn list_keys(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<KeyItem>>, ApiError> {
    keys::list(&state, &query).await.map(Json)
}

/// Issue a key
///
/// The secret is in this answer and in no other. Send an `Idempotency-Key`: should the answer get
/// lost, the same request brings the same answer again for 24 hours.
#[utoipa::path(post, path = "/api/v1/keys", tag = "keys",
    request_body(content((Key = "application/json"), (String = "application/yaml"))),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the same answer available again for 24 hours")),
    responses((status = 201, description = "Accepted by every worker", body = IssuedKey,
        headers(("ETag" = String, description = "The revision, in quotes")))))]
async fn create_key(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    headers: HeaderMap,
    body: Document,
) -> Result<Response, ApiError> {
    keys::create(&state, &actor, &headers, &body).await
}

/// Read a key
#[utoipa::path(get, path = "/api/v1/keys/{name}", tag = "keys", params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "As stored, without any secret; as YAML only what was declared",
        content((KeyItem = "application/json"), (String = "application/yaml")),
        headers(("ETag" = String, description = "The revision, in quotes")))))]
async fn get_key(
    State(state): State<AdminState>,
    _: Administrator,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let item = keys::get(&state, &name).await?;
    Ok(stored(&headers, item.revision, &item.spec, &item))
}

/// Replace a key's declaration
///
/// Its secrets are untouched; they change by rotation only.
#[utoipa::path(put, path = "/api/v1/keys/{name}", tag = "keys",
    request_body(content((Key = "application/json"), (String = "application/yaml"))),
    params(("name" = String, Path, description = "Its name; the body must have the same"),
        ("If-Match" = Option<String>, Header, description = "Refuse if it is not at this revision any more")),
    responses((status = 200, description = "Stored and enforced by every worker", body = KeyItem,
        headers(("ETag" = String, description = "The revision, in quotes")))))]
async fn replace_key(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Document,
) -> Result<Tagged<KeyItem>, ApiError> {
    let item = keys::replace(&state, &actor, &name, &headers, &body).await?;
    Ok(Tagged(StatusCode::OK, item.revision, item))
}

/// Delete a key
///
/// It is refused by every worker when this answers, and so are all keys that come from it, which are deleted with it.
#[utoipa::path(delete, path = "/api/v1/keys/{name}", tag = "keys",
    params(("name" = String, Path, description = "Its name"),
        ("If-Match" = Option<String>, Header, description = "Refuse if it is not at this revision any more")),
    responses((status = 204, description = "Gone from the store and from every worker")))]
async fn delete_key(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    keys::delete(&state, &actor, &name, &headers).await
}

/// Rotate a key
///
/// Makes a second secret under the same key id; both are accepted until the overlap ends.
#[utoipa::path(post, path = "/api/v1/keys/{name}/rotate", tag = "keys", request_body = RotateKey,
    params(("name" = String, Path, description = "Its name"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the same answer available again for 24 hours")),
    responses((status = 200, description = "The new secret is accepted by every worker", body = IssuedKey)))]
async fn rotate_key(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(body): Body<RotateKey>,
) -> Result<Response, ApiError> {
    keys::rotate(&state, &actor, &name, &headers, body.overlap).await
}

/// Revoke a key
///
/// Answers when every worker refuses it and all keys that come from it.
#[utoipa::path(post, path = "/api/v1/keys/{name}/revoke", tag = "keys", params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "Refused by every worker of every live node", body = RevokedKey)))]
async fn revoke_key(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(name): Path<String>,
) -> Result<Json<RevokedKey>, ApiError> {
    keys::revoke(&state, &actor, &name).await.map(Json)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list_keys, create_key))
        .routes(routes!(get_key, replace_key, delete_key))
        .routes(routes!(rotate_key))
        .routes(routes!(revoke_key))
}
