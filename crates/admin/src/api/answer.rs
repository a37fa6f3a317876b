//! Shapes that answers share: pages, stored resources, revisions as entity tags.

use super::request::{YAML, wants_yaml};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use credentialflow_model::{Timestamp, config::export_resource, resource::Resource};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The things on this page.
    pub items: Vec<T>,
    /// Hand this in as `cursor` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A declared resource as it is stored.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Item<T> {
    /// What was declared: the same shape as in a file and in `PUT`.
    pub spec: T,
    /// Grows with each change; the `ETag` is this number in quotes.
    pub revision: u64,
    /// When it was first stored.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// An answer with the revision as its entity tag (RFC 9110).
pub(crate) struct Tagged<T>(pub StatusCode, pub u64, pub T);

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = (self.0, Json(self.2)).into_response();
        tag(&mut response, self.1);
        response
    }
}

fn tag(response: &mut Response, revision: u64) {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}

/// A stored resource as the client wants it: everything known about it as JSON, or what was declared
/// as the YAML that `PUT` takes back.
pub(crate) fn stored<T: Resource>(headers: &HeaderMap, revision: u64, spec: &T, item: &impl Serialize) -> Response {
    let mut response = if wants_yaml(headers) {
        ([(header::CONTENT_TYPE, YAML)], export_resource(spec)).into_response()
    } else {
        Json(item).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    tag(&mut response, revision);
    response
}
