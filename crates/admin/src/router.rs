//! The whole router, and what surrounds every handler.

use crate::{
    AdminState, api,
    auth::Administrator,
    error::{ApiError, Code},
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::any,
};
use http::{HeaderName, HeaderValue, header};

/// Largest body of everything but whole configurations, in bytes.
const MAX_BODY: usize = 1 << 20;

/// Everything this crate serves: `/api/v1/…`, `/healthz`, `/readyz`, `/metrics`. Has no fallback, so
/// that the console's files can be merged beside it.
///
/// Serve it with connection info (`axum::extract::ConnectInfo<SocketAddr>` as a request extension):
/// the source address goes into the audit log and slows down guessing.
pub fn router(state: AdminState) -> Router {
    let (endpoints, _) = api::endpoints().split_for_parts();
    endpoints
        .route("/api/v1/{*path}", any(nothing_here))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(finish))
        .layer(middleware::from_fn(secure))
        .with_state(state)
}

/// Unknown paths are told only to those who may know which paths there are.
async fn nothing_here(_: Administrator) -> ApiError {
    ApiError::new(Code::NotFound, "there is no such path").hint("GET /api/v1/openapi.json lists every path")
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(Code::MethodNotAllowed, "this path does not take this method")
}

/// Lets a request run to its end although the client has left: a change that is stored is then also
/// enforced.
async fn finish(request: Request, next: Next) -> Response {
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        // A panic's message may repeat what was handed in, so it is not written here.
        Err(_) => ApiError::internal("the request was not finished", &"its handler panicked").into_response(),
    }
}

/// Headers of every answer: no caching, no sniffing, no framing, nothing to load.
async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
