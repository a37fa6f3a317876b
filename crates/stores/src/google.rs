//! Kind `google`: Google Secret Manager (REST API v1), let in by a service account's key: a signed JWT is
//! exchanged for an access token (RFC 7523), at the place that the key file names, or at the store's `login`.
//!
//! The path is a secret's id; its newest version is read, and each write adds one. With a field, the
//! secret is a JSON object. A secret that does not exist is made, replicated as Google chooses. The API knows
//! no precondition: a version that somebody else adds between our reading and our writing is seen by its
//! number, and its other fields are written once more. Values travel with their checksum.

use crate::{
    Answer, BoxFuture, Declared, ExternalError, ExternalStore, Found, Http, Result, Wiped, Written,
    bearer::Bearer,
    error::unusable,
    http_client::{base, bearer, segment},
    json::{pick, put, same, text},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::{SecretPlace, SecretValue};
use credentialflow_vault::access_token::ServiceAccount;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use zeroize::Zeroizing;

const API: &str = "https://secretmanager.googleapis.com";
/// How often a field is written anew because somebody added a version in between.
const ATTEMPTS: usize = 4;

struct SecretManager {
    http: Http,
    base: String,
    project: String,
    account: ServiceAccount,
    /// Where tokens are asked for.
    tokens: String,
    bearer: Bearer,
}

/// Opens a declared store.
pub(crate) fn open(declared: &Declared) -> Result<Arc<dyn ExternalStore>> {
    let spec = &declared.spec;
    let project = spec.project.as_deref().ok_or_else(|| unusable("the store has no project"))?;
    let account = ServiceAccount::read(&declared.access()?)
        .ok_or_else(|| unusable("the credential is no key file of a service account"))?;
    let login = spec.login.as_deref().map(|login| base(login, spec.plaintext)).transpose()?;
    let base = base(spec.address.as_deref().unwrap_or(API), spec.plaintext)?;
    // What a credential's value names is asked like any stranger; only what is declared may be at a private address.
    let private: Vec<&str> = [Some(base.as_str()), login.as_deref()].into_iter().flatten().collect();
    let http = Http::new(declared.authorities.as_deref(), &private)?;
    let tokens = match login {
        Some(login) => login,
        None if account.token_uri().starts_with("https://") => account.token_uri().to_owned(),
        None => return Err(unusable("the key file's token_uri is not https://; `login` of the store names another")),
    };
    Ok(Arc::new(SecretManager { http, base, project: segment(project), account, tokens, bearer: Bearer::default() }))
}

impl SecretManager {
    async fn log_in(&self) -> Result<(SecretValue, Duration)> {
        let assertion = self.account.assertion(ServiceAccount::SCOPE, SystemTime::now().into());
        let assertion = assertion.ok_or_else(|| unusable("the service account's key does not sign"))?;
        let grant = segment("urn:ietf:params:oauth:grant-type:jwt-bearer");
        let form = Zeroizing::new(format!("grant_type={grant}&assertion={}", text(&assertion)?));
        let request = Request::post(&self.tokens).header("content-type", "application/x-www-form-urlencoded");
        let answer = self.http.send(request, form.as_bytes()).await?;
        if !answer.status.is_success() {
            let words = answer.json().text("/error_description").unwrap_or_default().to_owned();
            return Err(match answer.failure(&format!("logging in: {words}"), &[]) {
                ExternalError::NotFound => ExternalError::Refused("logging in: there is no such place".to_owned()),
                other => other,
            });
        }
        let mut body = answer.success()?;
        let lasts = body.0.get("expires_in").and_then(Value::as_u64).unwrap_or(300);
        let token = body.take("/access_token").ok_or_else(|| unusable("its login gives no token"))?;
        Ok((token, Duration::from_secs(lasts)))
    }

    /// One answer, whatever it says, after logging in anew where the token is refused.
    async fn ask(&self, method: Method, path: &str, body: &Wiped) -> Result<Answer> {
        let url = format!("{}/v1/projects/{}/{path}", self.base, self.project);
        let body = if body.0.is_null() { Zeroizing::default() } else { body.to_bytes() };
        let mut again = true;
        loop {
            let token = self.bearer.get(self.log_in()).await?;
            let request = Request::builder().method(&method).uri(&url).header("authorization", bearer(&token)?);
            let request = request.header("accept", "application/json").header("content-type", "application/json");
            let answer = self.http.send(request, &body).await?;
            if answer.status == StatusCode::UNAUTHORIZED && std::mem::take(&mut again) {
                self.bearer.forget(&token).await;
                continue;
            }
            return Ok(answer);
        }
    }

    async fn call(&self, path: &str, body: &Wiped, secrets: &[&SecretValue]) -> Result<Wiped> {
        let answer = self.ask(Method::POST, path, body).await?;
        if answer.status.is_success() { answer.success() } else { Err(failure(&answer, secrets)) }
    }

    fn id(place: &SecretPlace) -> Result<&str> {
        let id_like = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if place.path.is_empty() || place.path.len() > 255 || !place.path.bytes().all(id_like) {
            return Err(unusable("a secret's id has 1 to 255 letters, digits, `-` and `_` there"));
        }
        Ok(&place.path)
    }

    /// A version by its number, or the newest as `latest`.
    async fn stored(&self, id: &str, version: &str) -> Result<There> {
        let path = format!("secrets/{id}/versions/{version}:access");
        let answer = self.ask(Method::GET, &path, &Wiped::default()).await?;
        if !answer.status.is_success() {
            let closed = answer.json().text("/error/status") == Some("FAILED_PRECONDITION");
            return match failure(&answer, &[]) {
                ExternalError::NotFound => Ok(There::Nothing),
                error if closed => Ok(There::Closed(error)),
                error => Err(error),
            };
        }
        let answer = answer.success()?;
        let bytes = answer.text("/payload/data").and_then(|data| STANDARD.decode(data).ok());
        let value = SecretValue::new(bytes.ok_or_else(|| unusable("its answer holds no secret"))?);
        let sum = answer.text("/payload/dataCrc32c").and_then(|sum| sum.parse().ok());
        if sum.is_some_and(|sum: u64| sum != u64::from(crc32c(value.expose()))) {
            return Err(ExternalError::Unreachable("the value arrived damaged: its checksum is another".to_owned()));
        }
        Ok(There::Version(value, number(&answer)))
    }

    async fn read_place(&self, place: &SecretPlace) -> Result<Found> {
        match self.stored(Self::id(place)?, "latest").await? {
            There::Version(value, version) => {
                Ok(Found { value: pick(value, place.field.as_deref())?, version: version.map(|n| n.to_string()) })
            }
            There::Nothing => Err(ExternalError::NotFound),
            There::Closed(error) => Err(error),
        }
    }

    async fn write_place(&self, place: &SecretPlace, value: &SecretValue) -> Result<Written> {
        let (id, field) = (Self::id(place)?, place.field.as_deref());
        let (there, mut newest) = match self.stored(id, "latest").await? {
            There::Version(value, version) => (Some(value), version),
            There::Nothing => (None, None),
            // The fields beside ours cannot be known, so they could not stay.
            There::Closed(error) if field.is_some() => return Err(error),
            There::Closed(_) => (None, None),
        };
        let written = |version: Option<u64>, changed| Written { version: version.map(|n| n.to_string()), changed };
        let Some(mut whole) = put(there, field, value)? else { return Ok(written(newest, false)) };
        for _ in 0..ATTEMPTS {
            let added = self.add(id, &whole, value).await?;
            // Versions are counted one by one, and nothing else tells that somebody added one meanwhile.
            let between = added.and_then(|n| n.checked_sub(1)).filter(|n| *n > newest.unwrap_or_default());
            let (Some(between), Some(_)) = (between, field) else { return Ok(written(added, true)) };
            let There::Version(theirs, _) = self.stored(id, &between.to_string()).await? else {
                return Ok(written(added, true));
            };
            let merged = put(Some(theirs.duplicate()), field, value)?.unwrap_or(theirs);
            if same(merged.expose(), whole.expose()) {
                return Ok(written(added, true));
            }
            (whole, newest) = (merged, added);
        }
        Err(ExternalError::Busy { words: "others write the secret all the time".to_owned(), again: None })
    }

    /// Adds a version and answers its number. Makes the secret where there is none.
    async fn add(&self, id: &str, whole: &SecretValue, value: &SecretValue) -> Result<Option<u64>> {
        let data = Zeroizing::new(STANDARD.encode(whole.expose()));
        let sum = crc32c(whole.expose()).to_string();
        let body = Wiped(json!({ "payload": { "data": data.as_str(), "dataCrc32c": sum } }));
        let path = format!("secrets/{id}:addVersion");
        let answer = match self.call(&path, &body, &[value, whole]).await {
            // There is not only no version, but no secret.
            Err(ExternalError::NotFound) => {
                let made = Wiped(json!({ "replication": { "automatic": {} } }));
                match self.call(&format!("secrets?secretId={id}"), &made, &[]).await {
                    // Somebody else has just made it.
                    Ok(_) | Err(ExternalError::Conflict(_)) => {}
                    Err(ExternalError::NotFound) => {
                        return Err(ExternalError::Refused("there is no such project".to_owned()));
                    }
                    Err(other) => return Err(other),
                }
                self.call(&path, &body, &[value, whole]).await?
            }
            other => other?,
        };
        Ok(number(&answer))
    }
}

/// What a version of a secret is.
enum There {
    Version(SecretValue, Option<u64>),
    Nothing,
    /// It is disabled or destroyed, so that nobody can read it; a next version can be added.
    Closed(ExternalError),
}

/// The checksum that goes with a value: CRC-32C (RFC 3720, appendix B.4), bit by bit, as values are small.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0x82F6_3B78 } else { sum >> 1 })
    })
}

/// The last part of `name`: versions are counted from 1.
fn number(answer: &Wiped) -> Option<u64> {
    answer.text("/name").and_then(|name| name.rsplit('/').next()).and_then(|number| number.parse().ok())
}

fn failure(answer: &Answer, secrets: &[&SecretValue]) -> ExternalError {
    let body = answer.json();
    let part = |pointer: &str| body.text(pointer).unwrap_or_default().to_owned();
    answer.failure(&format!("{}: {}", part("/error/status"), part("/error/message")), secrets)
}

impl ExternalStore for SecretManager {
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
    fn the_checksum_is_the_one_of_the_standard() {
        for (bytes, sum) in [(&b"123456789"[..], 0xE306_9283), (&[0; 32], 0x8A91_36AA), (&[0xFF; 32], 0x62A8_AB43)] {
            assert_eq!(super::crc32c(bytes), sum, "{bytes:?}");
        }
    }
}
