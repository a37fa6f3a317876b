//! What requests share: strict readers of query, body and headers that refuse with problem details.

use crate::{
    AdminState,
    error::{ApiError, Code},
};
use axum::{
    RequestExt,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
};
use http::{HeaderMap, header, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};

/// Largest page of a list.
pub(crate) const MAX_LIMIT: u32 = 1000;
/// Page size unless asked otherwise.
const DEFAULT_LIMIT: u32 = 100;

/// How a list is asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Most items on the page, 1 to 1000. 100 unless set.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Where the page begins: the `next` of the page before.
    pub cursor: Option<String>,
    /// Only names that contain this text.
    pub q: Option<String>,
}

/// The page size asked for, or the default.
pub(crate) fn limited(limit: Option<u32>) -> Result<u32, ApiError> {
    match limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(ApiError::new(Code::InvalidRequest, format!("limit must be 1 to {MAX_LIMIT}"))),
    }
}

/// A query string read into `T`; unknown parameters are refused.
pub(crate) struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(query)| Self(query)).map_err(|error| {
            ApiError::new(Code::InvalidRequest, format!("the query cannot be read: {}", error.body_text()))
        })
    }
}

/// YAML's media type (RFC 9512).
pub(crate) const YAML: &str = "application/yaml";

fn is_media_type(value: &str, wanted: &str) -> bool {
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

/// Whether the client asks for YAML by name (`Accept`, RFC 9110).
pub(crate) fn wants_yaml(headers: &HeaderMap) -> bool {
    wants(headers, YAML)
}

/// Whether the client asks for a media type by name.
pub(crate) fn wants(headers: &HeaderMap, media_type: &str) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|value| is_media_type(value, media_type))
}

/// One declared resource as it was sent, within the size limit: as JSON or as YAML.
pub(crate) struct Document {
    pub bytes: Bytes,
    pub yaml: bool,
}

impl FromRequest<AdminState> for Document {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &AdminState) -> Result<Self, ApiError> {
        let kind =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (json, yaml) = (is_media_type(kind, "application/json"), is_media_type(kind, YAML));
        let body = tokio::time::timeout(state.settings.body_timeout, request.extract::<Bytes, _>()).await;
        let body = body.map_err(|_| ApiError::new(Code::Timeout, "the request's body did not arrive in time"))?;
        let bytes = body.map_err(|error| match error.status().as_u16() {
            413 => ApiError::new(Code::BodyTooLarge, "the request's body is larger than this path takes"),
            _ => ApiError::new(Code::InvalidRequest, "the request's body could not be read"),
        })?;
        if !json && !yaml && !bytes.is_empty() {
            return Err(not_json());
        }
        Ok(Self { bytes, yaml })
    }
}

fn not_json() -> ApiError {
    ApiError::new(Code::UnsupportedMediaType, "the request's body is not application/json")
        .hint("send Content-Type: application/json")
}

/// The bytes of a JSON body, within the size limit and of the right media type.
pub(crate) struct JsonBytes(pub Bytes);

impl FromRequest<AdminState> for JsonBytes {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &AdminState) -> Result<Self, ApiError> {
        let Document { bytes, yaml } = Document::from_request(request, state).await?;
        if yaml { Err(not_json()) } else { Ok(Self(bytes)) }
    }
}

/// A JSON body read into `T`; an empty body reads as `{}`. Bodies of this kind may hold secrets, so
/// the reason for a refusal names place and expectation but never the text that stood there.
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AdminState> for Body<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &AdminState) -> Result<Self, ApiError> {
        let JsonBytes(bytes) = JsonBytes::from_request(request, state).await?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Self).map_err(|error| {
            let what = match error.classify() {
                serde_json::error::Category::Data => "has a field that is unknown, missing or of the wrong type",
                serde_json::error::Category::Eof => "ends too early",
                _ => "is not JSON",
            };
            ApiError::new(
                Code::InvalidRequest,
                format!("the request's body {what} (line {}, column {})", error.line(), error.column()),
            )
        })
    }
}

/// `If-Match` (RFC 9110): the revision the client has seen, if it says so. `*` matches any.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    match value.as_bytes() {
        b"*" => Ok(None),
        tag => std::str::from_utf8(tag)
            .ok()
            .and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok())
            .map(Some)
            .ok_or_else(|| ApiError::new(Code::RevisionMismatch, "If-Match names no revision of this resource")),
    }
}

/// `Idempotency-Key`: 1 to 255 printable ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    value.to_str().ok().filter(|key| (1..=255).contains(&key.len())).map(Some).ok_or_else(|| {
        ApiError::new(Code::InvalidRequest, "Idempotency-Key must have 1 to 255 printable ASCII characters")
    })
}

/// Refuses what is no reason for the audit log: one line of at most 500 bytes.
pub(crate) fn one_line(reason: Option<&str>) -> Result<(), ApiError> {
    match reason {
        Some(reason) if reason.len() > 500 || reason.chars().any(char::is_control) => {
            Err(ApiError::new(Code::InvalidRequest, "a reason is one line of at most 500 bytes"))
        }
        _ => Ok(()),
    }
}
