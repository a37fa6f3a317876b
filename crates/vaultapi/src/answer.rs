//! Answers, written in Vault's envelope.

use crate::error::ApiError;
use axum::body::{Body, Bytes};
use credentialflow_identity::{
    self as identity,
    wiped::{self, Buffer, Tree},
};
use credentialflow_model::SecretValue;
use credentialflow_secrets::{File, Payload, Reply};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

/// A lease told with an answer.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    pub id: String,
    pub renewable: bool,
    pub duration: i64,
}

/// What is to be told.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub status: Option<u16>,
    pub data: Option<Payload>,
    /// Vault's `auth`: JSON text with a token in it.
    pub auth: Option<SecretValue>,
    /// The accessor of that token.
    pub auth_accessor: Option<String>,
    pub lease: Lease,
    pub warnings: Vec<String>,
    /// Vault's `wrap_info`, instead of data.
    pub wrap_info: Option<SecretValue>,
    /// Also show the data's fields beside `data`, as the oldest paths do.
    pub flat: bool,
    /// The whole body, without an envelope; it may hold secrets.
    pub raw: Option<Tree>,
    /// A document that is told as it is, instead of all of the above.
    pub file: Option<File>,
    /// A kept answer's text (everything but its request id) instead of all of the above.
    pub kept: Option<SecretValue>,
}

impl Answer {
    /// Nothing to tell: status 204.
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    /// With data that holds no secret.
    pub(crate) fn data(data: Value) -> Self {
        Self { data: Some(Payload::Open(data)), ..Self::default() }
    }

    /// With data that is shown twice, as the oldest paths do.
    pub(crate) fn flat(data: Value) -> Self {
        Self { flat: true, ..Self::data(data) }
    }

    /// A body without an envelope.
    pub(crate) fn raw(body: Value) -> Self {
        Self { raw: Some(body.into()), ..Self::default() }
    }

    /// A list of names; none at all is "not found".
    pub(crate) fn keys(keys: Vec<String>) -> Result<Self, ApiError> {
        if keys.is_empty() { Err(ApiError::missing()) } else { Ok(Self::data(json!({ "keys": keys }))) }
    }

    pub(crate) const fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Whether there is anything that could be wrapped.
    pub(crate) const fn tells_something(&self) -> bool {
        self.data.is_some() || self.auth.is_some()
    }

    /// Everything but the request id, as JSON text: what is kept when an answer is wrapped.
    pub(crate) fn tail(&self) -> SecretValue {
        let mut out =
            Buffer::new(512 + self.data.as_ref().map_or(0, |d| if let Payload::Secret(s) = d { s.len() } else { 256 }));
        let lease = &self.lease;
        out.push(b"\"lease_id\":");
        push_text(&mut out, &lease.id);
        out.push(if lease.renewable { b",\"renewable\":true" } else { b",\"renewable\":false" });
        out.push(format!(",\"lease_duration\":{}", lease.duration).as_bytes());
        out.push(b",\"data\":");
        match &self.data {
            None => out.push(b"null"),
            Some(Payload::Open(value)) => out.push(value.to_string().as_bytes()),
            Some(Payload::Secret(text)) => out.push(text.expose()),
        }
        out.push(b",\"wrap_info\":");
        out.push(self.wrap_info.as_ref().map_or(b"null", |w| w.expose()));
        out.push(b",\"warnings\":");
        let warnings = if self.warnings.is_empty() { Value::Null } else { json!(self.warnings) };
        out.push(warnings.to_string().as_bytes());
        out.push(b",\"auth\":");
        out.push(self.auth.as_ref().map_or(b"null", |a| a.expose()));
        if let (true, Some(Payload::Open(Value::Object(map)))) = (self.flat, &self.data) {
            for (name, value) in map {
                out.push(b",");
                push_text(&mut out, name);
                out.push(b":");
                out.push(value.to_string().as_bytes());
            }
        }
        out.into()
    }

    /// As HTTP.
    pub(crate) fn into_response(self, request_id: &str) -> Response<Body> {
        if let Some(file) = self.file {
            let mut response = respond(self.status.unwrap_or(200), SecretValue::new(file.bytes));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
            return response;
        }
        if let Some(raw) = self.raw {
            return match wiped::json(raw.expose()) {
                Ok(body) => respond(self.status.unwrap_or(200), body),
                Err(_) => ApiError::new(500, "internal error").into_response(),
            };
        }
        if self.data.is_none()
            && self.auth.is_none()
            && self.wrap_info.is_none()
            && self.kept.is_none()
            && self.warnings.is_empty()
            && self.lease.id.is_empty()
        {
            return respond(self.status.unwrap_or(204), SecretValue::from(""));
        }
        let status = self.status.unwrap_or(200);
        let tail = match self.kept {
            Some(kept) => kept,
            None => self.tail(),
        };
        let mut body = Buffer::new(tail.len() + 64);
        body.push(b"{\"request_id\":");
        push_text(&mut body, request_id);
        body.push(b",");
        body.push(tail.expose());
        body.push(b"}\n");
        respond(status, body.into())
    }
}

/// A value's JSON text; the value is wiped.
pub(crate) fn text_of(value: Value) -> SecretValue {
    // Writing a value of ours into memory has no way to fail.
    wiped::json(Tree::from(value).expose()).unwrap_or_else(|_| SecretValue::from("null"))
}

fn push_text(out: &mut Buffer, text: &str) {
    out.push(Value::String(text.to_owned()).to_string().as_bytes());
}

/// A body that is wiped when it is sent, or when nobody waits for it any more.
struct Sent(SecretValue);

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

fn respond(status: u16, body: SecretValue) -> Response<Body> {
    let has_body = !body.is_empty();
    let mut response = Response::new(Body::from(Bytes::from_owner(Sent(body))));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if has_body {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

impl ApiError {
    /// As HTTP.
    pub(crate) fn into_response(self) -> Response<Body> {
        let errors = if self.text.is_empty() { Vec::new() } else { vec![self.text] };
        respond(self.status, SecretValue::from(json!({ "errors": errors }).to_string()))
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self {
            status: reply.status,
            data: reply.data,
            lease: Lease { duration: reply.lease_duration, ..Lease::default() },
            warnings: reply.warnings,
            file: reply.file,
            ..Self::default()
        }
    }
}

impl From<identity::Response> for Answer {
    fn from(response: identity::Response) -> Self {
        let auth = response.auth.as_ref();
        Self {
            data: response.expose_data().map(|data: Map<String, Value>| {
                if response.secrets.is_empty() {
                    Payload::Open(Value::Object(data))
                } else {
                    Payload::Secret(text_of(Value::Object(data)))
                }
            }),
            auth: auth.map(|a| text_of(a.expose_json())),
            auth_accessor: auth.map(|a| a.accessor.clone()),
            warnings: response.warnings,
            raw: response.raw.map(Tree::from),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http_body_util::BodyExt;

    async fn body(response: Response<Body>) -> Value {
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn the_envelope_is_vaults() {
        let answer = Answer { data: Some(Payload::Secret(SecretValue::from("{\"a\":1}"))), ..Answer::default() };
        let told = body(answer.into_response("id")).await;
        let expected = json!({"request_id": "id", "lease_id": "", "renewable": false, "lease_duration": 0,
            "data": {"a": 1}, "wrap_info": null, "warnings": null, "auth": null});
        assert_eq!(told, expected);
        let told = body(Answer::flat(json!({"k\"": [1]})).into_response("id")).await;
        assert_eq!((&told["data"]["k\""], &told["k\""]), (&json!([1]), &json!([1])));
        assert_eq!(Answer::empty().into_response("id").status(), 204);
        assert_eq!(body(ApiError::missing().into_response()).await, json!({"errors": []}));
    }
}
