//! Who is asking. A handler that takes an [`Administrator`] cannot run without one.
//!
//! Two proofs are accepted: the administrator's token as a bearer token, and a console session's
//! cookie. A session's request that changes something must carry a header no other site can make a
//! browser send, and must not come from another origin.

use crate::{
    AdminState,
    error::{ApiError, Code},
    throttle::MAX_FAILURES,
};
use axum::extract::{ConnectInfo, FromRequestParts};
use credentialflow_model::{Actor, ActorKind, SecretValue, Timestamp};
use http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The session cookie's name; over TLS it is [`COOKIE_TLS`].
pub(crate) const COOKIE: &str = "credentialflow_session";
/// With this prefix browsers accept it only over TLS, from this host, for every path.
const COOKIE_TLS: &str = "__Host-credentialflow_session";
/// The header a session's change must carry.
const CSRF: &str = "x-credentialflow-csrf";

/// Proof that an administrator asks.
pub(crate) struct Administrator(pub Actor);

/// The address a request came from; unspecified when the listener did not tell.
pub(crate) struct Source(pub IpAddr);

impl FromRequestParts<AdminState> for Source {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &AdminState) -> Result<Self, Self::Rejection> {
        let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip().to_canonical())))
    }
}

impl FromRequestParts<AdminState> for Administrator {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, ApiError> {
        let Ok(Source(source)) = Source::from_request_parts(parts, state).await;
        if let Some(token) = bearer(&parts.headers) {
            return check_token(state, source, token).await.map(|()| Self(administrator(source)));
        }
        let Some(id) = session_id(state, &parts.headers) else { return Err(ApiError::unauthenticated()) };
        let expires = state.sessions.check(id, state.now());
        expires.ok_or_else(ApiError::unauthenticated)?;
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            same_site(&parts.headers)?;
        }
        sealed(state)?;
        Ok(Self(administrator(source)))
    }
}

fn administrator(source: IpAddr) -> Actor {
    Actor { kind: ActorKind::Administrator, name: "admin".to_owned(), source: Some(source.to_string()) }
}

/// While the vault is sealed nobody can be recognised by a token.
fn sealed(state: &AdminState) -> Result<(), ApiError> {
    if state.vault.is_sealed() {
        return Err(ApiError::new(Code::Sealed, "the vault is sealed, so nothing can be done here")
            .hint("unseal it with `credentialflow unseal`"));
    }
    Ok(())
}

async fn check_token(state: &AdminState, source: IpAddr, token: &[u8]) -> Result<(), ApiError> {
    sealed(state)?;
    // A right token is let in whatever others at this address did; see `throttle`.
    if state.vault.verify_admin_token(token) {
        return Ok(());
    }
    if let Some(seconds) = state.throttle.wait(source, state.now()) {
        return Err(too_many(seconds));
    }
    refused(state, source).await;
    Err(ApiError::unauthenticated())
}

/// Counts a failed sign-in and puts it into the audit log. What cannot be written is logged: a refusal
/// stays a refusal.
async fn refused(state: &AdminState, source: IpAddr) {
    let failures = state.throttle.failed(source, state.now());
    tracing::warn!(%source, failures, "a sign-in was refused");
    let actor = Actor { kind: ActorKind::Anonymous, name: "anonymous".to_owned(), source: Some(source.to_string()) };
    let detail = serde_json::json!({ "failures": failures, "refused_from_now": failures >= MAX_FAILURES });
    if let Err(error) = note(state, &actor, "session.refuse", "session", detail).await {
        tracing::error!(?error, "a refused sign-in could not be written to the audit log");
    }
}

/// Writes an event that comes with no other change.
pub(crate) async fn note(
    state: &AdminState,
    actor: &Actor,
    action: &str,
    subject: &str,
    detail: serde_json::Value,
) -> Result<(), ApiError> {
    let mut tx = state.store.begin(actor).await?;
    tx.audit(action, subject, detail);
    tx.commit().await?;
    Ok(())
}

pub(crate) fn too_many(seconds: u64) -> ApiError {
    ApiError::new(Code::TooManyFailures, "too many failed sign-ins came from this address")
        .hint("wait, then sign in with the right token")
        .retry_after(seconds)
}

/// A session just opened.
pub(crate) struct Opened {
    pub actor: Actor,
    pub expires: Timestamp,
    pub cookie: HeaderValue,
}

/// Opens a session for the right token. Written to the audit log before the cookie is given out.
pub(crate) async fn sign_in(
    state: &AdminState,
    source: IpAddr,
    headers: &HeaderMap,
    token: SecretValue,
) -> Result<Opened, ApiError> {
    same_origin(headers)?;
    sealed(state)?;
    if let Some(seconds) = state.throttle.wait(source, state.now()) {
        return Err(too_many(seconds));
    }
    if !state.vault.verify_admin_token(token.expose()) {
        refused(state, source).await;
        return Err(ApiError::unauthenticated());
    }
    let actor = administrator(source);
    note(state, &actor, "session.create", "session", serde_json::json!({})).await?;
    let (id, expires) =
        state.sessions.open(state.now()).map_err(|error| ApiError::internal("no session could be opened", &error))?;
    let cookie = cookie(state, id.expose_str().unwrap_or_default(), "")?;
    Ok(Opened { actor, expires, cookie })
}

/// Ends the request's session, if it has one, and answers the header that clears the cookie.
pub(crate) async fn sign_out(state: &AdminState, actor: &Actor, headers: &HeaderMap) -> Result<HeaderValue, ApiError> {
    if let Some(id) = session_id(state, headers)
        && state.sessions.close(id)
    {
        note(state, actor, "session.delete", "session", serde_json::json!({})).await?;
    }
    cookie(state, "", "; Max-Age=0")
}

/// When the request's session ends; `None` when a token came instead.
pub(crate) fn session_expiry(state: &AdminState, headers: &HeaderMap) -> Option<Timestamp> {
    if bearer(headers).is_some() {
        return None;
    }
    state.sessions.check(session_id(state, headers)?, state.now())
}

fn cookie(state: &AdminState, id: &str, more: &str) -> Result<HeaderValue, ApiError> {
    let secure = if state.settings.tls { "; Secure" } else { "" };
    let text = format!("{}={id}; Path=/; HttpOnly; SameSite=Strict{secure}{more}", cookie_name(state));
    let mut value =
        HeaderValue::from_str(&text).map_err(|error| ApiError::internal("no cookie could be made", &error))?;
    value.set_sensitive(true);
    Ok(value)
}

fn cookie_name(state: &AdminState) -> &'static str {
    if state.settings.tls { COOKIE_TLS } else { COOKIE }
}

/// `Authorization: Bearer` (RFC 6750).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn session_id<'h>(state: &AdminState, headers: &'h HeaderMap) -> Option<&'h [u8]> {
    let name = cookie_name(state).as_bytes();
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b';'))
        .find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}

/// A change by a session: the custom header is there and no other origin is named.
fn same_site(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.get(CSRF).map(HeaderValue::as_bytes) != Some(b"1") {
        return Err(ApiError::new(Code::CrossSite, "a change by a session needs the header x-credentialflow-csrf: 1"));
    }
    same_origin(headers)
}

/// What the browser says about the page behind the request: `Sec-Fetch-Site`, and `Origin` (RFC 6454)
/// compared with the host it was sent to.
pub(crate) fn same_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let cross = || ApiError::new(Code::CrossSite, "the request comes from a page of another origin");
    if let Some(site) = headers.get("sec-fetch-site")
        && !matches!(site.as_bytes(), b"same-origin" | b"none")
    {
        return Err(cross());
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        let sent_to = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        // HTTP/2 carries the host in the target; browsers then send Sec-Fetch-Site, checked above.
        if host.is_none() || sent_to.is_some_and(|sent_to| host != Some(sent_to)) {
            return Err(cross());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_pages_of_this_origin_pass() {
        let check = |pairs: &[(&'static str, &'static str)], expect: bool| {
            assert_eq!(same_origin(&headers(pairs)).is_ok(), expect, "{pairs:?}");
        };
        check(&[], true);
        check(&[("sec-fetch-site", "none")], true);
        check(&[("origin", "http://a:1"), ("host", "a:1")], true);
        check(&[("origin", "http://a:1"), ("host", "a:2")], false);
        check(&[("origin", "http://a:1.evil.example"), ("host", "a:1")], false);
        check(&[("origin", "null"), ("host", "a:1")], false);
        check(&[("sec-fetch-site", "cross-site"), ("origin", "http://a:1"), ("host", "a:1")], false);
    }

    #[test]
    fn a_bearer_token_is_read_whatever_the_scheme_s_case() {
        assert_eq!(bearer(&headers(&[("authorization", "bEARER  x ")])), Some(&b"x"[..]));
        for none in ["Bearer", "", "Basic eDp5", "Bearerx y"] {
            assert_eq!(bearer(&headers(&[("authorization", none)])), None, "{none}");
        }
    }
}
