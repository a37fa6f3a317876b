//! The way over the provider's own page: `oidc/auth_url` and `oidc/callback` (OpenID Connect Core,
//! authorization code flow with PKCE, RFC 7636).
//!
//! Nothing is kept between the two: the state is signed and carries what is needed to go on; nonce and
//! PKCE verifier are derived from it under a key of ours (the pepper it was signed with, also when there is a
//! newer one by the end), so that they need no memory that a flood of beginnings could fill. A code works
//! once at its provider, a state ten minutes here.

use super::config::{self, Config, Settings, Source};
use super::{login, role};
use crate::{
    Call, Core, IdentityError, Response, Result, core::hash_under, fields::Fields, jose::Claims, ports::WebRequest,
};
use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use credentialflow_model::SecretValue;
use credentialflow_vault::Pepper;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{borrow::Cow, time::Duration};
use zeroize::Zeroizing;

/// Seconds between beginning and end.
const TIME: i64 = 600;
const MAX_STATE: usize = 4096;
const MAX_ANSWER: usize = 512 * 1024;
const WAIT: Duration = Duration::from_secs(10);

/// What a state carries.
#[derive(Serialize, Deserialize)]
struct State {
    mount: String,
    role: String,
    redirect_uri: String,
    /// The caller's own nonce, hashed: whoever finishes must know it, when one was given.
    client: Option<String>,
    ends: i64,
    salt: String,
}

pub(super) async fn auth_url(core: &Core, call: &Call<'_>) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let fields = Fields(call.data);
    let config = config::needed(&shelf).await?.value.settings;
    let refused = Ok(Response::data(json!({ "auth_url": "" })));
    let redirect_uri = fields.needed("redirect_uri").map_err(|_| IdentityError::invalid("missing redirect_uri"))?;
    let name = login::role_name(&fields, &config)?;
    if config.oidc_client_id.is_empty() {
        return Err(IdentityError::invalid("OIDC login is not configured for this mount"));
    }
    // As Vault: whoever asks for a role or address that is not there is told nothing.
    let Some(role) = role::get(&shelf, &name).await? else { return refused };
    let role = role.value;
    if role.role_type != "oidc" || !allowed(&role.allowed_redirect_uris, &redirect_uri) {
        return refused;
    }
    let provider = core.keys.provider(core, &config.source()?).await?;
    let client = fields.text("client_nonce")?.filter(|n| !n.is_empty());
    let pepper = core.vault.pepper()?;
    let state = State {
        mount: call.mount.id.clone(),
        role: name,
        redirect_uri: redirect_uri.clone(),
        client: client.map(|nonce| derived(&pepper, CLIENT, &nonce)),
        ends: core.secs() + TIME,
        salt: crate::tokens::random_text(22)?.as_str().to_owned(),
    };
    let text = sign(&pepper, &state)?;
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier(&pepper, &text).as_bytes()));
    let mut scopes = vec!["openid".to_owned()];
    scopes.extend(role.oidc_scopes.iter().filter(|s| s.as_str() != "openid").cloned());
    let mut query = vec![
        ("client_id", config.oidc_client_id.clone()),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256".to_owned()),
        ("nonce", derived(&pepper, NONCE, &text)),
        ("redirect_uri", redirect_uri),
    ];
    if config.oidc_response_mode == "form_post" {
        query.push(("response_mode", "form_post".to_owned()));
    }
    query.extend([("response_type", "code".to_owned()), ("scope", scopes.join(" ")), ("state", text)]);
    if role.max_age > 0 {
        query.push(("max_age", role.max_age.to_string()));
    }
    let joint = if provider.authorization_endpoint.contains('?') { '&' } else { '?' };
    let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let url = format!("{}{joint}{}", provider.authorization_endpoint, form(&query).as_str());
    // As Vault, which answers with what it has; the caller is told what is missing.
    let missing = provider.authorization_endpoint.is_empty();
    let warning = missing.then(|| "the provider's discovery names no authorization endpoint".to_owned());
    Ok(Response::data(json!({ "auth_url": url })).with_warnings(warning.into_iter().collect()))
}

pub(super) async fn callback(kind: &'static str, core: &Core, call: &Call<'_>) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let fields = Fields(call.data);
    let expired = || IdentityError::invalid("expired or missing OAuth state");
    let text = fields.text_or_empty("state")?;
    let (pepper, state) = read(core, &text)?.ok_or_else(expired)?;
    if state.mount != call.mount.id || core.secs() >= state.ends {
        return Err(expired());
    }
    if fields.text("error")?.is_some() {
        return Err(IdentityError::invalid("the provider refused the login"));
    }
    if let Some(expected) = &state.client {
        let given = derived(&pepper, CLIENT, &fields.text_or_empty("client_nonce")?);
        if verify_slices_are_equal(given.as_bytes(), expected.as_bytes()).is_err() {
            return Err(IdentityError::invalid("invalid client_nonce"));
        }
    }
    let code = Zeroizing::new(fields.text_or_empty("code")?);
    if code.is_empty() {
        return Err(IdentityError::invalid("OAuth code parameter not provided"));
    }
    let config = config::needed(&shelf).await?;
    let Config { settings, oidc_client_secret } = &config.value;
    let known = role::get(&shelf, &state.role).await?.ok_or_else(|| IdentityError::invalid("the role is gone"))?;
    let role = &known.value;
    if role.role_type != "oidc" || !allowed(&role.allowed_redirect_uris, &state.redirect_uri) {
        return Err(expired());
    }
    let verifier = verifier(&pepper, &text);
    let token = exchange(core, settings, oidc_client_secret, &state, &verifier, &code).await?;
    let claims = login::validated(core, settings, role, &token).await?;
    check_id_token(&claims, settings, role, &derived(&pepper, NONCE, &text), core.secs())?;
    login::finish(kind, core, call, &state.role, (&config, &known), &claims).await
}

/// OpenID Connect Core, 3.1.3.7: the token is for us, and for this login.
fn check_id_token(claims: &Claims, config: &Settings, role: &role::Role, nonce: &str, now: i64) -> Result<()> {
    let invalid = |text: &'static str| Err(IdentityError::invalid(text));
    let audiences = claims.audiences();
    if !audiences.contains(&config.oidc_client_id.as_str()) {
        return invalid("error validating token: invalid audience (aud) claim");
    }
    let party = claims.text("azp");
    if (audiences.len() > 1 || party.is_some()) && party != Some(config.oidc_client_id.as_str()) {
        return invalid("error validating token: invalid authorized party (azp) claim");
    }
    let shown = claims.text("nonce").unwrap_or_default();
    if verify_slices_are_equal(shown.as_bytes(), nonce.as_bytes()).is_err() {
        return invalid("invalid ID token nonce");
    }
    if role.max_age > 0 {
        let at = claims.get("auth_time").and_then(Value::as_i64).unwrap_or(0);
        if now > at.saturating_add(role.max_age).saturating_add(60) {
            return invalid("the provider's login is too long ago");
        }
    }
    Ok(())
}

/// Gives the code for an ID token (RFC 6749, 4.1.3).
async fn exchange(
    core: &Core,
    config: &Settings,
    client_secret: &SecretValue,
    state: &State,
    verifier: &str,
    code: &str,
) -> Result<Zeroizing<String>> {
    let source = config.source()?;
    let Source::Discovery(_, pem) = &source else { return Err(IdentityError::invalid("OIDC needs discovery")) };
    let endpoint = core.keys.provider(core, &source).await?.token_endpoint.clone();
    let body = form(&[
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &state.redirect_uri),
        ("code_verifier", verifier),
    ]);
    let client_secret = client_secret.expose_str().unwrap_or_default();
    let pair = joined(&[&percent(&config.oidc_client_id), ":", &percent(client_secret)]);
    let mut authorization = Zeroizing::new(vec![0; 6 + pair.len().div_ceil(3) * 4]);
    authorization[..6].copy_from_slice(b"Basic ");
    let written = STANDARD.encode_slice(pair.as_bytes(), &mut authorization[6..]);
    let written = written.map_err(|_| IdentityError::internal("a header could not be written"))?;
    let request = WebRequest {
        url: endpoint,
        ca_pem: pem.clone(),
        form: Some(SecretValue::from(body.as_str())),
        authorization: Some(SecretValue::new(authorization[..6 + written].to_vec())),
    };
    let answer = core.web.ask(request, MAX_ANSWER, WAIT).await;
    let answer =
        SecretValue::new(answer.map_err(|e| IdentityError::Remote(format!("error exchanging oidc code: {e}").into()))?);
    // What else the provider gives (access and refresh tokens) is passed over and not copied.
    #[derive(Deserialize)]
    struct Given<'a> {
        #[serde(borrow, default)]
        id_token: Option<Cow<'a, str>>,
    }
    let given: Given<'_> = serde_json::from_slice(answer.expose())
        .map_err(|_| IdentityError::Remote("error exchanging oidc code: the answer is not JSON".into()))?;
    let token = given.id_token.map(|token| Zeroizing::new(token.into_owned()));
    token.ok_or_else(|| IdentityError::Remote("no id_token found in response.".into()))
}

/// Whether an address may be returned to: exactly one of those allowed; on the own machine with any port
/// (RFC 8252, 7.3).
fn allowed(uris: &[String], uri: &str) -> bool {
    uris.iter().any(|known| known == uri || without_port(known).is_some_and(|a| Some(a) == without_port(uri)))
}

fn without_port(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    ["127.0.0.1", "[::1]", "localhost"].into_iter().find_map(|host| {
        let after = rest.strip_prefix(host)?;
        let end = after.find('/').unwrap_or(after.len());
        let port = &after[..end];
        let plain = port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
        plain.then_some((host, &after[end..]))
    })
}

fn sign(pepper: &Pepper, state: &State) -> Result<String> {
    let body = serde_json::to_vec(state).map_err(|e| IdentityError::Internal(Box::new(e)))?;
    let body = URL_SAFE_NO_PAD.encode(body);
    let mac = derived(pepper, SIGNATURE, &body);
    Ok(format!("{body}.{mac}"))
}

/// A state of ours, and the pepper it was signed with.
fn read(core: &Core, text: &str) -> Result<Option<(Pepper, State)>> {
    if text.len() > MAX_STATE {
        return Ok(None);
    }
    let Some((body, mac)) = text.split_once('.') else { return Ok(None) };
    let Ok(mac) = URL_SAFE_NO_PAD.decode(mac) else { return Ok(None) };
    let signed =
        |pepper: &Pepper| verify_slices_are_equal(&hash_under(pepper, SIGNATURE, body.as_bytes()), &mac).is_ok();
    let Some(pepper) = core.vault.peppers()?.into_iter().rev().find(signed) else { return Ok(None) };
    let state = URL_SAFE_NO_PAD.decode(body).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(state.map(|state| (pepper, state)))
}

/// What is hashed: each leads to another hash.
const SIGNATURE: &str = "oidc state";
const CLIENT: &str = "oidc client nonce";
const NONCE: &str = "oidc nonce";
const VERIFIER: &str = "oidc pkce";

fn derived(pepper: &Pepper, kind: &str, text: &str) -> String {
    URL_SAFE_NO_PAD.encode(hash_under(pepper, kind, text.as_bytes()))
}

fn verifier(pepper: &Pepper, state: &str) -> Zeroizing<String> {
    Zeroizing::new(derived(pepper, VERIFIER, state))
}

/// `application/x-www-form-urlencoded`, which is also a URL's query.
fn form(pairs: &[(&str, &str)]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(pairs.iter().map(|(n, v)| n.len() + 3 * v.len() + 2).sum()));
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(&percent(value));
    }
    out
}

/// One text of several, made in one piece.
fn joined(parts: &[&str]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(parts.iter().map(|p| p.len()).sum()));
    parts.iter().for_each(|part| out.push_str(part));
    out
}

fn percent(text: &str) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Zeroizing::new(String::with_capacity(3 * text.len()));
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(b >> 4)]));
            out.push(char::from(DIGITS[usize::from(b & 15)]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_addresses_are_returned_to() {
        let uris = ["https://app.example/cb".to_owned(), "http://localhost:8250/oidc/callback".to_owned()];
        for (uri, expected) in [
            ("https://app.example/cb", true),
            ("https://app.example/cb/", false),
            ("https://app.example/cb?x=1", false),
            ("https://app.example:444/cb", false),
            ("http://localhost:9999/oidc/callback", true),
            ("http://localhost/oidc/callback", true),
            ("http://localhost:9999/other", false),
            ("http://localhost.evil.example/oidc/callback", false),
            ("http://localhost:1@evil.example/oidc/callback", false),
            ("http://127.0.0.1:9999/oidc/callback", false),
        ] {
            assert_eq!(allowed(&uris, uri), expected, "{uri}");
        }
        assert_eq!(form(&[("a", "x y&"), ("b", "é")]).as_str(), "a=x%20y%26&b=%C3%A9");
    }
}
