//! The console's session: sign in with the administrator's token, get a cookie.

use crate::{
    AdminState,
    api::request::Body,
    auth::{self, Administrator, Source},
    error::ApiError,
    secret::SecretText,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use credentialflow_model::{Actor, Timestamp};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What to sign in with.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The administrator's token.
    #[schema(write_only, value_type = String)]
    pub token: SecretText,
}

/// Who is signed in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SessionView {
    /// Who.
    pub actor: Actor,
    /// When the session ends unless it is used; absent when a token came with the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// Sign in
///
/// Sets an `HttpOnly`, `SameSite=Strict` cookie. Requests that change something must also send the
/// header `x-credentialflow-csrf: 1`.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = SignIn,
    responses((status = 200, description = "Signed in", body = SessionView, headers(("Set-Cookie" = String, description = "The session")))))]
async fn create_session(
    State(state): State<AdminState>,
    Source(source): Source,
    headers: HeaderMap,
    Body(body): Body<SignIn>,
) -> Result<Response, ApiError> {
    let opened = auth::sign_in(&state, source, &headers, body.token.0).await?;
    let view = SessionView { actor: opened.actor, expires: Some(opened.expires) };
    Ok(([(header::SET_COOKIE, opened.cookie)], Json(view)).into_response())
}

/// See who is signed in
#[utoipa::path(get, path = "/api/v1/session", tag = "session",
    responses((status = 200, description = "Who", body = SessionView)))]
async fn get_session(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    headers: HeaderMap,
) -> Json<SessionView> {
    Json(SessionView { actor, expires: auth::session_expiry(&state, &headers) })
}

/// Sign out
#[utoipa::path(delete, path = "/api/v1/session", tag = "session",
    responses((status = 204, description = "Signed out; the cookie is cleared")))]
async fn delete_session(
    State(state): State<AdminState>,
    Administrator(actor): Administrator,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let cookie = auth::sign_out(&state, &actor, &headers).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(create_session, get_session, delete_session))
}
