//! Kind `google`: Google Secret Manager (REST API v1), let in by a service account's key: a signed JWT is
//! exchanged for an access token (RFC 7523), at the place that the key file names, or at the store's `login`.
//!
//! The path is a secret's id; its newest version is read, and each write adds one. With a field, the
//! secret is a JSON object. A secret that does not exist is made, replicated as Google chooses.

use crate::{
    Answer, BoxFuture, Declared, ExternalError, ExternalStore, Found, Http, Result, Wiped, Written,
    bearer::Bearer,
    error::unusable,
    http_client::{base, bearer, segment},
    json::{pick, put},
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use credentialflow_model::{SecretPlace, SecretValue};
use http::{Method, Request, StatusCode};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use zeroize::Zeroizing;

const API: &str = "https://secretmanager.googleapis.com";
const TOKENS: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

struct SecretManager {
    http: Http,
    base: String,
    project: String,
    account: Account,
    /// Where tokens are asked for.
    tokens: String,
    bearer: Bearer,
}

/// A service account's key.
struct Account {
    email: String,
    key_id: Option<String>,
    key: RsaKeyPair,
    /// Whom its assertions are for.
    token_uri: String,
}

/// Opens a declared store.
pub(crate) fn open(declared: &Declared) -> Result<Arc<dyn ExternalStore>> {
    let spec = &declared.spec;
    let project = spec.project.as_deref().ok_or_else(|| unusable("the store has no project"))?;
    let account = Account::read(&declared.access()?)?;
    let login = spec.login.as_deref().map(|login| base(login, spec.plaintext)).transpose()?;
    let base = base(spec.address.as_deref().unwrap_or(API), spec.plaintext)?;
    // What a credential's value names is asked like any stranger; only what is declared may be at a private address.
    let private: Vec<&str> = [Some(base.as_str()), login.as_deref()].into_iter().flatten().collect();
    let http = Http::new(declared.authorities.as_deref(), &private)?;
    let tokens = match login {
        Some(login) => login,
        None if account.token_uri.starts_with("https://") => account.token_uri.clone(),
        None => return Err(unusable("the key file's token_uri is not https://; `login` of the store names another")),
    };
    Ok(Arc::new(SecretManager { http, base, project: segment(project), account, tokens, bearer: Bearer::default() }))
}

impl Account {
    /// Reads the JSON file that Google gives out for a service account's key.
    fn read(file: &SecretValue) -> Result<Self> {
        let broken = || unusable("the credential is no key file of a service account");
        let mut file = Wiped::parse(file.expose()).ok_or_else(broken)?;
        let text = |name: &str, file: &Wiped| file.text(name).map(str::to_owned);
        let pem = file.take("/private_key").ok_or_else(broken)?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose()).map_err(|_| broken())?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| broken())?;
        let token_uri = text("/token_uri", &file).unwrap_or_else(|| TOKENS.to_owned());
        Ok(Self {
            email: text("/client_email", &file).ok_or_else(broken)?,
            key_id: text("/private_key_id", &file),
            key,
            token_uri: base(&token_uri, true)?,
        })
    }

    /// A JWT that says who asks, valid for an hour.
    fn assertion(&self, now: u64) -> Result<String> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key_id });
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri, "iat": now, "exp": now + 3600
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| unusable("the service account's key does not sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl SecretManager {
    async fn log_in(&self) -> Result<(SecretValue, Duration)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let assertion = Zeroizing::new(self.account.assertion(now)?);
        let grant = segment("urn:ietf:params:oauth:grant-type:jwt-bearer");
        let form = Zeroizing::new(format!("grant_type={grant}&assertion={}", assertion.as_str()));
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

    async fn call(&self, method: Method, path: &str, body: &Wiped, secrets: &[&SecretValue]) -> Result<Wiped> {
        let url = format!("{}/v1/projects/{}/{path}", self.base, self.project);
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

    fn id(place: &SecretPlace) -> Result<&str> {
        let id_like = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if place.path.is_empty() || place.path.len() > 255 || !place.path.bytes().all(id_like) {
            return Err(unusable("a secret's id has 1 to 255 letters, digits, `-` and `_` there"));
        }
        Ok(&place.path)
    }

    async fn stored(&self, place: &SecretPlace) -> Result<(SecretValue, Option<String>)> {
        let path = format!("secrets/{}/versions/latest:access", Self::id(place)?);
        let answer = self.call(Method::GET, &path, &Wiped::default(), &[]).await?;
        let bytes = answer.text("/payload/data").and_then(|data| STANDARD.decode(data).ok());
        let value = SecretValue::new(bytes.ok_or_else(|| unusable("its answer holds no secret"))?);
        Ok((value, version(&answer)))
    }

    async fn read_place(&self, place: &SecretPlace) -> Result<Found> {
        let (value, version) = self.stored(place).await?;
        Ok(Found { value: pick(value, place.field.as_deref())?, version })
    }

    async fn write_place(&self, place: &SecretPlace, value: &SecretValue) -> Result<Written> {
        let id = Self::id(place)?;
        let (there, version_there) = match self.stored(place).await {
            Ok((value, version)) => (Some(value), version),
            Err(ExternalError::NotFound) => (None, None),
            Err(other) => return Err(other),
        };
        let Some(whole) = put(there, place.field.as_deref(), value)? else {
            return Ok(Written { version: version_there, changed: false });
        };
        let body = Wiped(json!({ "payload": { "data": STANDARD.encode(whole.expose()) } }));
        let add = format!("secrets/{id}:addVersion");
        let answer = match self.call(Method::POST, &add, &body, &[value, &whole]).await {
            // There is not only no version, but no secret.
            Err(ExternalError::NotFound) => {
                let made = Wiped(json!({ "replication": { "automatic": {} } }));
                self.call(Method::POST, &format!("secrets?secretId={id}"), &made, &[]).await.map_err(|error| {
                    match error {
                        ExternalError::NotFound => ExternalError::Refused("there is no such project".to_owned()),
                        other => other,
                    }
                })?;
                self.call(Method::POST, &add, &body, &[value, &whole]).await?
            }
            other => other?,
        };
        Ok(Written { version: version(&answer), changed: true })
    }
}

/// The last part of `name`.
fn version(answer: &Wiped) -> Option<String> {
    answer.text("/name").and_then(|name| name.rsplit('/').next()).map(str::to_owned)
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
