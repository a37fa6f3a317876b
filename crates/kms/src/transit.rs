//! The transit engine of HashiCorp Vault or OpenBao: `encrypt` and `decrypt` with a named key.
//!
//! The associated data binds the wrapped bytes to their purpose; it takes a key of an authenticated
//! kind, such as `aes256-gcm96`, which is what the engine makes unless told otherwise.

use crate::{
    http::{Answer, Http},
    settings::TransitSettings,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use credentialflow_model::SecretValue;
use credentialflow_vault::seal::external::KeyServiceError;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use zeroize::Zeroizing;

const WHAT: &str = "the transit server";
const PURPOSE: &[u8] = b"credentialflow vault seal";

/// Which key.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub mount: &'a str,
    pub key: &'a str,
    pub namespace: Option<&'a str>,
}

pub(crate) async fn encrypt(
    http: &Http,
    settings: &TransitSettings,
    place: Place<'_>,
    plain: &SecretValue,
) -> Result<Vec<u8>, KeyServiceError> {
    let plain = Zeroizing::new(STANDARD.encode(plain.expose()));
    let body = json!({ "plaintext": plain.as_str(), "associated_data": STANDARD.encode(PURPOSE) });
    let answer = call(http, settings, place, "encrypt", &body).await?;
    let wrapped = answer.pointer("/data/ciphertext").and_then(Value::as_str);
    wrapped.map(|text| text.as_bytes().to_vec()).ok_or_else(|| refused("its answer lacks the ciphertext"))
}

pub(crate) async fn decrypt(
    http: &Http,
    settings: &TransitSettings,
    place: Place<'_>,
    wrapped: &[u8],
) -> Result<SecretValue, KeyServiceError> {
    let wrapped = std::str::from_utf8(wrapped).map_err(|_| refused("what is stored is no ciphertext of it"))?;
    let body = json!({ "ciphertext": wrapped, "associated_data": STANDARD.encode(PURPOSE) });
    let answer = call(http, settings, place, "decrypt", &body).await?;
    let plain = answer.pointer("/data/plaintext").and_then(Value::as_str);
    plain
        .and_then(|text| STANDARD.decode(text).ok())
        .map(SecretValue::new)
        .ok_or_else(|| refused("its answer lacks the plain text"))
}

async fn call(
    http: &Http,
    settings: &TransitSettings,
    place: Place<'_>,
    operation: &str,
    body: &Value,
) -> Result<Value, KeyServiceError> {
    // Mounts may have slashes; neither part may leave its place in the path.
    let fits = |text: &str, more: &[u8]| {
        let character = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || more.contains(&b);
        !text.is_empty() && text.len() <= 128 && text.bytes().all(character)
    };
    if !fits(place.mount, b"/") || !fits(place.key, b".") || place.key.starts_with('.') {
        return Err(refused("the mount or the key has a name that cannot be used"));
    }
    let url = format!("{}/v1/{}/{operation}/{}", settings.address, place.mount.trim_matches('/'), place.key);
    let body = Zeroizing::new(body.to_string());
    let make = || {
        let header = |text: &str| {
            let value = HeaderValue::from_str(text);
            value.map_err(|_| refused("the token or the namespace holds characters that cannot be sent"))
        };
        let mut token = header(settings.token.expose_str().unwrap_or_default())?;
        token.set_sensitive(true);
        let mut request = Request::post(&url).header("x-vault-token", token).header("content-type", "application/json");
        if let Some(namespace) = place.namespace {
            request = request.header("x-vault-namespace", header(namespace)?);
        }
        request
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(|_| refused("its address cannot be used"))
    };
    http.exchange(WHAT, make, judge).await
}

fn judge(answer: Answer) -> Result<Value, KeyServiceError> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    if answer.status.is_success() {
        return Ok(body);
    }
    let errors = body.get("errors").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let told = errors.collect::<Vec<_>>().join("; ");
    let told = format!("{WHAT} answered {}: {}", answer.status.as_u16(), told.chars().take(300).collect::<String>());
    // A sealed or standby server answers 5xx as well.
    let busy = answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS;
    Err(if busy { KeyServiceError::Away(told) } else { KeyServiceError::Refused(told) })
}

fn refused(why: &str) -> KeyServiceError {
    KeyServiceError::Refused(format!("{WHAT}: {why}"))
}
