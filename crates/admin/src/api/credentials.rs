//! Credentials held for upstreams: declared, rotated, revoked, never shown.

use crate::{
    AdminState,
    api::{
        answer::{Page, Tagged, stored},
        links::LinkView,
        request::{Body, Document, JsonBytes, ListQuery, Query},
        rotations::RotationView,
    },
    auth::Administrator,
    credentials,
    error::ApiError,
    ports::Published,
};
use axum::{
    Json,
    extract::{Path, State},
    response::Response,
};
use credentialflow_model::{
    Timestamp,
    lifecycle::VersionState,
    resource::{Credential, Overlap},
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, SchemaType, Type},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

/// A credential as it is stored, without any value.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CredentialItem {
    /// What was declared.
    pub spec: Credential,
    /// Grows with each change of the declaration; the `ETag` is this number in quotes.
    pub revision: u64,
    /// When it was first stored.
    pub created: Timestamp,
    /// When the declaration was last changed.
    pub updated: Timestamp,
    /// The version in use; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_version: Option<u32>,
    /// When any version was last injected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
    /// When `rotate` asks for the next rotation. It then begins by itself; that of a `static` credential
    /// waits for its next value to be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_due: Option<Timestamp>,
    /// The rotation that is not finished yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationView>,
    /// The access token that is fetched with it, where its engine fetches one and the answering node serves traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token: Option<AccessTokenView>,
    /// The places outside that its values come from and go to, and how each stands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkView>,
}

/// The access token that requests carry, without its value, as it stands on the node that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AccessTokenView {
    /// The version of the credential it was fetched with.
    pub version: u32,
    /// When it was fetched; absent while there is none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obtained: Option<Timestamp>,
    /// When it ends; absent while there is none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When the next one is fetched; absent for a version that is replaced and only serves on until the next one has a
    /// token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Timestamp>,
    /// How many tries have failed since the last one that did not.
    pub failures: u32,
    /// Why the last try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One version of a credential, without its value.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct VersionView {
    /// Counts from 1.
    pub version: u32,
    /// Where it is in its life.
    pub state: VersionState,
    /// How it is sealed.
    pub algorithm: String,
    /// Which key of the keyring seals its data key.
    pub keyring_id: u32,
    /// When it was made.
    pub created: Timestamp,
    /// When it became the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Timestamp>,
    /// When it ceased to be valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired: Option<Timestamp>,
    /// When it was last injected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
    /// How often it was injected.
    pub uses: u64,
    /// Requests that use it at this moment: on this node, and for a version that is being rotated away
    /// on all nodes.
    pub in_flight: u64,
}

/// All versions of a credential.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Versions {
    /// Newest first.
    pub items: Vec<VersionView>,
}

/// A credential to create: what is declared, with its value beside it in `secret`.
///
/// Read by hand in [`credentials::create`], so that the secret is set apart before anything else looks
/// at the body; this type only describes it.
pub struct NewCredential;

impl PartialSchema for NewCredential {
    fn schema() -> RefOr<Schema> {
        let secret = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .description(Some("The value; write-only, never shown again. Left out for the engine `generated`."))
            .write_only(true);
        match Credential::schema() {
            RefOr::T(Schema::Object(mut object)) => {
                object.properties.insert("secret".to_owned(), secret.into());
                object.into()
            }
            other => other,
        }
    }
}

impl ToSchema for NewCredential {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Credential::schemas(schemas);
    }
}

/// How to rotate a credential.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateCredential {
    /// The new value; write-only. Leave out for the engine `generated`.
    #[schema(write_only, value_type = Option<String>)]
    pub secret: Option<crate::secret::SecretText>,
    /// How long the old version stays valid; as the credential declares unless set.
    pub overlap: Option<Overlap>,
}

/// The next value of a credential.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliverValue {
    /// The value; write-only.
    #[schema(write_only, value_type = String)]
    pub secret: crate::secret::SecretText,
}

/// What to revoke.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeCredential {
    /// One version; every live one unless set.
    pub version: Option<u32>,
}

/// What was revoked.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RevokedCredential {
    /// The versions withdrawn. No worker of a live node injects them any more.
    pub versions: Vec<u32>,
    /// Who confirmed it, and which nodes are lost.
    pub published: Published,
}

/// List credentials
#[utoipa::path(get, path = "/api/v1/credentials", tag = "credentials", params(ListQuery),
    responses((status = 200, description = "In the order of their names", body = Page<CredentialItem>)))]
async fn list_credentials(
    State(state): State<AdminState>,
    _: Administrator,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<CredentialItem>>, ApiError> {
    credentials::list(&state, &query).await.map(Json)
}

/// Create a credential
///
/// The body is the declaration; for the engine `static` the value stands in `secret`.
#[utoipa::path(post, path = "/api/v1/credentials", tag = "credentials", request_body = NewCredential,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes the same answer available again for 24 hours")),
    responses((status = 201, description = "Sealed, stored and ready on every worker", body = CredentialItem,
        headers(("ETag" = String, description = "The revision, in quotes")))))]
async fn create_credential(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    headers: HeaderMap,
    JsonBytes(body): JsonBytes,
) -> Result<Response, ApiError> {
    credentials::create(&state, &actor, &headers, &body).await
}

/// Read a credential
#[utoipa::path(get, path = "/api/v1/credentials/{name}", tag = "credentials",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "As stored, without any value; as YAML only what was declared",
        content((CredentialItem = "application/json"), (String = "application/yaml")),
        headers(("ETag" = String, description = "The revision, in quotes")))))]
async fn get_credential(
    State(state): State<AdminState>,
    _: Administrator,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let item = credentials::get(&state, &name).await?;
    Ok(stored(&headers, item.revision, &item.spec, &item))
}

/// Replace a credential's declaration
///
/// Values are untouched; they change by rotation only.
#[utoipa::path(put, path = "/api/v1/credentials/{name}", tag = "credentials",
    request_body(content((Credential = "application/json"), (String = "application/yaml"))),
    params(("name" = String, Path, description = "Its name; the body must have the same"),
        ("If-Match" = Option<String>, Header, description = "Refuse if it is not at this revision any more")),
    responses((status = 200, description = "Stored and enforced by every worker", body = CredentialItem,
        headers(("ETag" = String, description = "The revision, in quotes")))))]
async fn replace_credential(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Document,
) -> Result<Tagged<CredentialItem>, ApiError> {
    let item = credentials::replace(&state, &actor, &name, &headers, &body).await?;
    Ok(Tagged(StatusCode::OK, item.revision, item))
}

/// Delete a credential
///
/// Every version is revoked and its sealed value destroyed.
#[utoipa::path(delete, path = "/api/v1/credentials/{name}", tag = "credentials",
    params(("name" = String, Path, description = "Its name"),
        ("If-Match" = Option<String>, Header, description = "Refuse if it is not at this revision any more")),
    responses((status = 204, description = "Gone from the store and from every worker")))]
async fn delete_credential(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    credentials::delete(&state, &actor, &name, &headers).await
}

/// List a credential's versions
#[utoipa::path(get, path = "/api/v1/credentials/{name}/versions", tag = "credentials",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "Newest first, without any value", body = Versions)))]
async fn list_credential_versions(
    State(state): State<AdminState>,
    _: Administrator,
    Path(name): Path<String>,
) -> Result<Json<Versions>, ApiError> {
    credentials::versions(&state, &name).await.map(Json)
}

/// Rotate a credential
///
/// Starts a rotation and answers at once. The new version is tried at its target, promoted on every
/// worker, and the old one stays valid until no request uses it any more. A version that the target
/// refuses is taken back by itself. Follow it at `GET /api/v1/rotations/{id}`.
#[utoipa::path(post, path = "/api/v1/credentials/{name}/rotate", tag = "credentials", request_body = RotateCredential,
    params(("name" = String, Path, description = "Its name")),
    responses((status = 202, description = "Started", body = RotationView)))]
async fn rotate_credential(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(name): Path<String>,
    Body(body): Body<RotateCredential>,
) -> Result<(StatusCode, Json<RotationView>), ApiError> {
    let rotation = credentials::rotate(&state, &actor, &name, body).await?;
    Ok((StatusCode::ACCEPTED, Json(rotation)))
}

/// Deliver the value that a credential's rotation waits for
#[utoipa::path(post, path = "/api/v1/credentials/{name}/deliver", tag = "credentials", request_body = DeliverValue,
    params(("name" = String, Path, description = "Its name")),
    responses((status = 202, description = "The rotation goes on", body = RotationView)))]
async fn deliver_value(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(name): Path<String>,
    Body(body): Body<DeliverValue>,
) -> Result<(StatusCode, Json<RotationView>), ApiError> {
    let rotation = credentials::deliver(&state, &actor, &name, body.secret.0).await?;
    Ok((StatusCode::ACCEPTED, Json(rotation)))
}

/// Revoke a credential, or one version of it
///
/// Answers when no worker injects it any more.
#[utoipa::path(post, path = "/api/v1/credentials/{name}/revoke", tag = "credentials", request_body = RevokeCredential,
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "Withdrawn from every worker", body = RevokedCredential)))]
async fn revoke_credential(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    Path(name): Path<String>,
    Body(body): Body<RevokeCredential>,
) -> Result<Json<RevokedCredential>, ApiError> {
    credentials::revoke(&state, &actor, &name, body.version).await.map(Json)
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new()
        .routes(routes!(list_credentials, create_credential))
        .routes(routes!(get_credential, replace_credential, delete_credential))
        .routes(routes!(list_credential_versions))
        .routes(routes!(rotate_credential))
        .routes(routes!(deliver_value))
        .routes(routes!(revoke_credential))
}
