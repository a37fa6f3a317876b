//! Kind `azure`: secrets of an Azure Key Vault (data plane REST API 7.4), let in by client credentials of
//! Microsoft Entra ID (OAuth 2.0, RFC 6749 section 4.4).
//!
//! The path is a secret's name: letters, digits and `-`. Values are text. With a field, the secret is a
//! JSON object.

use crate::{
    Answer, BoxFuture, Declared, ExternalError, ExternalStore, Found, Http, Result, Wiped, Written,
    bearer::Bearer,
    error::unusable,
    http_client::{base, bearer, segment},
    json::{pick, put, text},
};
use credentialflow_model::{SecretPlace, SecretValue};
use http::{Method, Request, StatusCode, Uri};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
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

    async fn call(&self, method: Method, place: &SecretPlace, body: &Wiped, secrets: &[&SecretValue]) -> Result<Wiped> {
        let name_like = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if place.path.is_empty() || place.path.len() > 127 || !place.path.bytes().all(name_like) {
            return Err(unusable("a secret's name has 1 to 127 letters, digits and `-` there"));
        }
        let url = format!("{}/secrets/{}?api-version=7.4", self.base, place.path);
        let body = if body.0.is_null() { Zeroizing::default() } else { body.to_bytes() };
        let mut again = true;
        loop {
            let token = self.bearer.get(self.log_in()).await?;
            let request = Request::builder().method(&method).uri(&url).header("authorization", bearer(&token)?);
            let answer = self.http.send(request.header("content-type", "application/json"), &body).await?;
            if answer.status == StatusCode::UNAUTHORIZED && std::mem::take(&mut again) {
                self.bearer.forget(&token).await;
                continue;
            }
            return if answer.status.is_success() { answer.success() } else { Err(failure(&answer, secrets)) };
        }
    }

    async fn stored(&self, place: &SecretPlace) -> Result<(SecretValue, Option<String>)> {
        let mut answer = self.call(Method::GET, place, &Wiped::default(), &[]).await?;
        let version = version(&answer);
        let value = answer.take("/value").ok_or_else(|| unusable("its answer holds no secret"))?;
        Ok((value, version))
    }

    async fn read_place(&self, place: &SecretPlace) -> Result<Found> {
        let (value, version) = self.stored(place).await?;
        Ok(Found { value: pick(value, place.field.as_deref())?, version })
    }

    async fn write_place(&self, place: &SecretPlace, value: &SecretValue) -> Result<Written> {
        let (there, version_there) = match self.stored(place).await {
            Ok((value, version)) => (Some(value), version),
            Err(ExternalError::NotFound) => (None, None),
            Err(other) => return Err(other),
        };
        let Some(whole) = put(there, place.field.as_deref(), value)? else {
            return Ok(Written { version: version_there, changed: false });
        };
        let body = Wiped(json!({ "value": text(&whole)? }));
        let answer = self.call(Method::PUT, place, &body, &[value, &whole]).await?;
        Ok(Written { version: version(&answer), changed: true })
    }
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
    #[test]
    fn a_vaults_address_tells_its_cloud() {
        for (address, cloud) in [
            ("https://team.vault.azure.net", "vault.azure.net"),
            ("https://team.vault.usgovcloudapi.net", "vault.usgovcloudapi.net"),
            ("http://127.0.0.1:1", "vault.azure.net"),
        ] {
            assert_eq!(super::cloud(address), cloud);
        }
    }
}
