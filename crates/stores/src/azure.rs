//! Kind `azure`: secrets of an Azure Key Vault (data plane REST API 7.4), let in by client credentials of
//! Microsoft Entra ID (OAuth 2.0, RFC 6749 section 4.4).
//!
//! The path is a secret's name: letters, digits and `-`. Values are text. With a field, the secret is a
//! JSON object. A new version keeps the content type, the tags and the moments of validity of the one before.
//! The API knows no precondition: of two who write fields of one secret at the same time, one may lose.

use crate::{
    Answer, BoxFuture, Declared, ExternalError, ExternalStore, Found, Http, Result, Wiped, Written,
    bearer::Bearer,
    error::unusable,
    http_client::{base, bearer, segment},
    json::{pick, put, text},
};
use credentialflow_model::{SecretPlace, SecretValue};
use http::{Method, Request, StatusCode, Uri};
use serde_json::{Map, Value};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use zeroize::Zeroizing;

const AUTHORITY: &str = "https://login.microsoftonline.com";

struct KeyVault {
    http: Http,
    base: String,
    login: String,
    scope: String,
    client_id: String,
    secret: SecretValue,
    bearer: Bearer,
}

/// Opens a declared store.
pub(crate) fn open(declared: &Declared) -> Result<Arc<dyn ExternalStore>> {
    let spec = &declared.spec;
    let needs = |value: &Option<String>, words: &str| value.clone().ok_or_else(|| unusable(words));
    let tenant = needs(&spec.tenant, "the store has no tenant")?;
    let client_id = needs(&spec.identity, "the store has no identity, which is the client id")?;
    let address = base(declared.address()?, spec.plaintext)?;
    let authority = base(spec.login.as_deref().unwrap_or(AUTHORITY), spec.plaintext)?;
    let http = Http::new(declared.authorities.as_deref(), &[&address, &authority])?;
    let login = format!("{authority}/{}/oauth2/v2.0/token", segment(&tenant));
    let scope = format!("https://{}/.default", cloud(&address));
    let secret = declared.access()?;
    Ok(Arc::new(KeyVault { http, base: address, login, scope, client_id, secret, bearer: Bearer::default() }))
}

/// The cloud that a vault is of: what follows the vault's own name.
fn cloud(address: &str) -> String {
    let uri: Option<Uri> = address.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    match host.split_once('.') {
        Some((_, cloud)) if cloud.starts_with("vault.") || cloud.starts_with("managedhsm.") => cloud.to_owned(),
        _ => "vault.azure.net".to_owned(),
    }
}

impl KeyVault {
    async fn log_in(&self) -> Result<(SecretValue, Duration)> {
        let secret = Zeroizing::new(segment(text(&self.secret)?));
        let form = Zeroizing::new(format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
            segment(&self.client_id),
            secret.as_str(),
            segment(&self.scope)
        ));
        let request = Request::post(&self.login).header("content-type", "application/x-www-form-urlencoded");
        let answer = self.http.send(request, form.as_bytes()).await?;
        if !answer.status.is_success() {
            let words = answer.json().text("/error_description").unwrap_or_default().to_owned();
            return Err(match answer.failure(&format!("logging in: {words}"), &[&self.secret]) {
                ExternalError::NotFound => ExternalError::Refused("logging in: there is no such tenant".to_owned()),
                other => other,
            });
        }
        let mut body = answer.success()?;
        let lasts = body.0.get("expires_in").and_then(Value::as_u64).unwrap_or(300);
        let token = body.take("/access_token").ok_or_else(|| unusable("its login gives no token"))?;
        Ok((token, Duration::from_secs(lasts)))
    }

    /// One answer, whatever it says, after logging in anew where the token is refused.
    async fn ask(&self, method: Method, place: &SecretPlace, body: &Wiped) -> Result<Answer> {
        let name_like = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if place.path.is_empty() || place.path.len() > 127 || !place.path.bytes().all(name_like) {
            return Err(unusable("a secret's name has 1 to 127 letters, digits and `-` there"));
        }
        let url = format!("{}/secrets/{}?api-version=7.4", self.base, place.path);
        let body = if body.0.is_null() { Zeroizing::default() } else { body.to_bytes() };
        let mut again = true;
        loop {
            let token = self.bearer.get(self.log_in()).await?;
            let mut request = Request::builder().method(&method).uri(&url).header("authorization", bearer(&token)?);
            request = request.header("accept", "application/json");
            if !body.is_empty() {
                request = request.header("content-type", "application/json");
            }
            let answer = self.http.send(request, &body).await?;
            if answer.status == StatusCode::UNAUTHORIZED && std::mem::take(&mut again) {
                self.bearer.forget(&token).await;
                continue;
            }
            return Ok(answer);
        }
    }

    async fn stored(&self, place: &SecretPlace) -> Result<There> {
        let answer = self.ask(Method::GET, place, &Wiped::default()).await?;
        if !answer.status.is_success() {
            let disabled = answer.status == StatusCode::FORBIDDEN
                && answer.json().text("/error/innererror/code") == Some("SecretDisabled");
            return match failure(&answer, &[]) {
                ExternalError::NotFound => Ok(There::Nothing),
                error if disabled => Ok(There::Disabled(error)),
                error => Err(error),
            };
        }
        let mut answer = answer.success()?;
        let version = version(&answer);
        let value = answer.take("/value").ok_or_else(|| unusable("its answer holds no secret"))?;
        Ok(There::Secret { value, version, beside: beside(&answer, now()) })
    }

    async fn read_place(&self, place: &SecretPlace) -> Result<Found> {
        match self.stored(place).await? {
            There::Secret { value, version, .. } => Ok(Found { value: pick(value, place.field.as_deref())?, version }),
            There::Nothing => Err(ExternalError::NotFound),
            There::Disabled(error) => Err(error),
        }
    }

    async fn write_place(&self, place: &SecretPlace, value: &SecretValue) -> Result<Written> {
        let (there, version_there, beside) = match self.stored(place).await? {
            There::Secret { value, version, beside } => (Some(value), version, beside),
            There::Nothing => (None, None, Map::new()),
            // The fields beside ours cannot be known, so they could not stay.
            There::Disabled(error) if place.field.is_some() => return Err(error),
            There::Disabled(_) => (None, None, Map::new()),
        };
        let Some(whole) = put(there, place.field.as_deref(), value)? else {
            return Ok(Written { version: version_there, changed: false });
        };
        let mut body = Wiped(Value::Object(beside));
        body.0["value"] = text(&whole)?.into();
        let answer = self.ask(Method::PUT, place, &body).await?;
        if !answer.status.is_success() {
            return Err(failure(&answer, &[value, &whole]));
        }
        Ok(Written { version: version(&answer.success()?), changed: true })
    }
}

/// What a secret's newest version is.
enum There {
    Secret {
        value: SecretValue,
        version: Option<String>,
        /// What the next version is to have as well.
        beside: Map<String, Value>,
    },
    Nothing,
    /// Somebody disabled it, so that nobody can read it; a next version can be written.
    Disabled(ExternalError),
}

/// What belongs to the secret and not to its value: a new version has only what is sent with it. A moment of
/// expiry that is over was the old value's.
fn beside(bundle: &Wiped, now: u64) -> Map<String, Value> {
    let mut kept = Map::new();
    for name in ["contentType", "tags"] {
        if let Some(part) = bundle.0.get(name).filter(|part| !part.is_null()) {
            kept.insert(name.to_owned(), part.clone());
        }
    }
    let moment = |name: &str| Some((name.to_owned(), bundle.0.pointer(&format!("/attributes/{name}"))?.as_u64()?));
    let moments = [moment("nbf"), moment("exp").filter(|(_, end)| *end > now)];
    let moments: Map<String, Value> = moments.into_iter().flatten().map(|(name, at)| (name, at.into())).collect();
    if !moments.is_empty() {
        kept.insert("attributes".to_owned(), Value::Object(moments));
    }
    kept
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The last part of `id`.
fn version(answer: &Wiped) -> Option<String> {
    answer.text("/id").and_then(|id| id.rsplit('/').next()).map(str::to_owned)
}

fn failure(answer: &Answer, secrets: &[&SecretValue]) -> ExternalError {
    let body = answer.json();
    let part = |pointer: &str| body.text(pointer).unwrap_or_default().to_owned();
    answer.failure(&format!("{}: {}", part("/error/code"), part("/error/message")), secrets)
}

impl ExternalStore for KeyVault {
    fn read<'a>(&'a self, place: &'a SecretPlace) -> BoxFuture<'a, Result<Found>> {
        Box::pin(self.read_place(place))
    }

    fn write<'a>(&'a self, place: &'a SecretPlace, value: &'a SecretValue) -> BoxFuture<'a, Result<Written>> {
        Box::pin(self.write_place(place, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_new_version_keeps_what_is_not_the_values() {
        let bundle = |attributes: Value| {
            let tags = json!({ "team": "web" });
            Wiped(
                json!({ "value": "v", "id": "i", "contentType": "text/plain", "tags": tags, "attributes": attributes }),
            )
        };
        let attributes = json!({ "enabled": true, "nbf": 5, "exp": 2000, "created": 1, "recoveryLevel": "Purgeable" });
        let kept =
            json!({ "contentType": "text/plain", "tags": { "team": "web" }, "attributes": { "nbf": 5, "exp": 2000 } });
        assert_eq!(Value::Object(beside(&bundle(attributes.clone()), 1999)), kept);
        let over = Value::Object(beside(&bundle(attributes), 2000));
        assert_eq!(over["attributes"], json!({ "nbf": 5 }), "a next value is not born expired");
        assert!(beside(&Wiped(json!({ "value": "v", "attributes": { "enabled": true } })), 0).is_empty());
    }

    #[test]
    fn a_vaults_address_tells_its_cloud() {
        for (address, cloud) in [
            ("https://team.vault.azure.net", "vault.azure.net"),
            ("https://team.vault.usgovcloudapi.net", "vault.usgovcloudapi.net"),
            ("http://127.0.0.1:1", "vault.azure.net"),
        ] {
            assert_eq!(super::cloud(address), cloud, "{address}");
        }
    }
}
