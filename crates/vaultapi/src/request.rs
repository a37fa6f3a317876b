//! A request, read and bounded: method, path, fields, token. Knows nothing of what a path means.

pub(crate) use crate::parse::Verb;
use crate::{
    body::{self, Held, Limits, Memory},
    error::{ApiError, Result},
    origin, parse,
};
use axum::{body::Body, extract::ConnectInfo};
use credentialflow_identity::{self as identity, wiped::wipe};
use credentialflow_model::SecretValue;
use credentialflow_secrets::{fields, uuid};
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};
use std::net::{IpAddr, SocketAddr};
use zeroize::Zeroize;

impl Verb {
    /// As the policies and the identity room call it; `exists` decides between create and update.
    pub(crate) const fn operation(self, exists: bool) -> identity::Operation {
        match self {
            Self::Read => identity::Operation::Read,
            Self::List => identity::Operation::List,
            Self::Write if exists => identity::Operation::Update,
            Self::Write => identity::Operation::Create,
            Self::Patch => identity::Operation::Patch,
            Self::Delete => identity::Operation::Delete,
        }
    }
}

pub(crate) struct Request {
    pub id: String,
    pub verb: Verb,
    /// Below `/v1/`, decoded, without a leading slash.
    pub path: String,
    /// The body's fields; those of the query string where there is no body to read.
    pub data: Map<String, Value>,
    /// The query string's fields alone.
    pub query: Map<String, Value>,
    pub token: Option<SecretValue>,
    /// Seconds; `None`: the answer is not to be wrapped.
    pub wrap_ttl: Option<i64>,
    pub source: Option<IpAddr>,
    /// What the body's memory is counted by while the request lives.
    held: Held,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.data.values_mut().for_each(wipe);
        self.query.values_mut().for_each(wipe);
        // The oldest paths carry tokens.
        self.path.zeroize();
    }
}

impl Request {
    /// Reads everything but the body, which is given back: nobody knows yet whose it is.
    pub(crate) fn head(request: http::Request<Body>) -> Result<(Self, Body)> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().strip_prefix("/v1/").ok_or_else(|| ApiError::no_handler(head.uri.path()))?;
        let path = parse::path(path)?;
        parse::namespace(head.headers.get("x-vault-namespace").map(HeaderValue::as_bytes))?;
        let query = Wiped(parse::query(head.uri.query().unwrap_or_default())?);
        let verb = parse::verb(head.method.as_str(), &query.0)?;
        if !matches!(verb, Verb::Read | Verb::List) {
            origin::check(&head.headers)?;
        }
        let source = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip());
        let wrap_ttl = wrap_ttl(&head.headers)?;
        let given = |name| head.headers.get(name).map(HeaderValue::as_bytes);
        let token = parse::token(given("x-vault-token"), given("authorization"));
        let id = uuid()?;
        let query = query.take();
        let data = if matches!(verb, Verb::Write | Verb::Patch) { Map::new() } else { query.clone() };
        Ok((Self { id, verb, path, data, query, token, wrap_ttl, source, held: Held::default() }, body))
    }

    /// Reads the body's fields, within `limits` and what `memory` has left. The query's go before them where
    /// the request changes nothing.
    pub(crate) async fn read_body(&mut self, body: Body, limits: &Limits, memory: &Memory) -> Result<()> {
        let (fields, held) = body::read(body, limits, memory).await?;
        let query = std::mem::replace(&mut self.data, fields);
        self.data.extend(query);
        self.held = held;
        Ok(())
    }
}

/// Longest time an answer can be kept, seconds: 30 days.
const LONGEST_WRAP: i64 = 30 * 24 * 3600;

fn wrap_ttl(headers: &HeaderMap) -> Result<Option<i64>> {
    let Some(text) = headers.get("x-vault-wrap-ttl") else { return Ok(None) };
    let seconds = text.to_str().ok().and_then(|t| fields::duration(t.trim()));
    match seconds {
        Some(0) => Ok(None),
        Some(seconds) if (1..=LONGEST_WRAP).contains(&seconds) => Ok(Some(seconds)),
        Some(seconds) if seconds > LONGEST_WRAP => Err(ApiError::invalid("an answer is kept for 30 days at most")),
        _ => Err(ApiError::invalid("X-Vault-Wrap-TTL must be a duration such as 60 or 5m")),
    }
}

/// Fields that are wiped also where the request is refused before it is whole.
struct Wiped(Map<String, Value>);

impl Wiped {
    fn take(mut self) -> Map<String, Value> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn read(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Result<Request> {
        let mut builder = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (mut request, body) = Request::head(builder.body(Body::from(body.to_owned())).unwrap())?;
        request.read_body(body, &Limits::KNOWN, &Memory::new(1 << 20)).await?;
        Ok(request)
    }

    #[tokio::test]
    async fn paths_verbs_and_fields() {
        let request = read("GET", "/v1/kv/data/a%20%C3%A4?version=2&list=false", &[], "").await.unwrap();
        assert_eq!((request.path.as_str(), request.verb), ("kv/data/a ä", Verb::Read));
        assert_eq!(request.data["version"], "2");
        assert_eq!(read("GET", "/v1/x?list=true", &[], "").await.unwrap().verb, Verb::List);
        let request = read("POST", "/v1/x?version=2", &[("authorization", "Bearer t")], "{\"a\":1}").await.unwrap();
        assert_eq!((request.data.len(), request.token.as_ref().unwrap().expose()), (1, b"t".as_slice()));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused() {
        for (method, uri, headers, body, status) in [
            ("GET", "/v1/a%zz", &[][..], "", 400),
            ("GET", "/v1/a%+a", &[], "", 400),
            ("GET", "/v1/a%a", &[], "", 400),
            ("GET", "/a", &[], "", 404),
            ("GET", "/vault/v1/a", &[], "", 404),
            ("POST", "/v1/a", &[("sec-fetch-site", "cross-site")], "{}", 403),
            ("GET", "/v1/a%ff", &[], "", 400),
            ("GET", "/v1/a%00", &[], "", 400),
            ("POST", "/v1/a", &[], "[1]", 400),
            ("POST", "/v1/a", &[], "{", 400),
            ("TRACE", "/v1/a", &[], "", 405),
            ("GET", "/v1/a", &[("x-vault-namespace", "team/")], "", 400),
            ("GET", "/v1/a", &[("x-vault-wrap-ttl", "soon")], "", 400),
        ] {
            assert_eq!(read(method, uri, headers, body).await.err().unwrap().status, status, "{method} {uri} {body}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500));
        assert_eq!(read("POST", "/v1/a", &[], &deep).await.err().unwrap().status, 400);
    }
}
