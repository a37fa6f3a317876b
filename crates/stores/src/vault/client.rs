//! A client of Vault's HTTP API that lets itself in with a token, through AppRole, or with another issuer's JWT.
//!
//! A token that is logged in for is kept until shortly before it ends, and asked for anew when the server refuses it.
//! One that was handed in is renewed when half of its time is over ([`Client::keep`]), for as long as the server allows.

use crate::{
    Answer, ExternalError, Http, Result, Wiped,
    bearer::Bearer,
    error::unusable,
    http_client::{base, header_with, segments},
};
use credentialflow_model::SecretValue;
use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// What lets us in.
pub enum Access {
    /// A token.
    Token(SecretValue),
    /// AppRole (`auth/<mount>/login`).
    AppRole {
        /// Where the method is mounted; `approle` usually.
        mount: String,
        /// Which role.
        role_id: String,
        /// The role's secret.
        secret_id: SecretValue,
    },
    /// A JWT of another issuer, as CI systems give one to each job (`auth/<mount>/login`).
    Jwt {
        /// Where the method is mounted; `jwt` usually.
        mount: String,
        /// Which role; the mount's default one when absent.
        role: Option<String>,
        /// The signed token.
        jwt: SecretValue,
    },
}

/// A client of one server.
pub struct Client {
    http: Http,
    base: String,
    namespace: Option<String>,
    access: Access,
    bearer: Bearer,
    renewal: Mutex<Renewal>,
}

/// When a token that was handed in is to be renewed.
enum Renewal {
    At(Instant),
    /// It does not end, or cannot be renewed.
    Never,
}

/// When a renewal is tried again that the server refused, and one that did not get through to it.
const REFUSED: Duration = Duration::from_secs(300);
const AWAY: Duration = Duration::from_secs(10);
/// What lasts longer than this (a year, in seconds) is renewed as if it lasted so long.
const MOST: u64 = 365 * 86_400;

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Client {
    /// For a server's address; `plaintext` also where its secrets cross a network in clear.
    pub fn new(
        address: &str,
        plaintext: bool,
        authorities: Option<&str>,
        namespace: Option<String>,
        access: Access,
    ) -> Result<Self> {
        let base = base(address, plaintext)?;
        let http = Http::new(authorities, &[&base])?;
        let renewal = Mutex::new(Renewal::At(Instant::now()));
        Ok(Self { http, base, namespace, access, bearer: Bearer::default(), renewal })
    }

    /// One request to `/v1/<path>`. An answer that is no success is an answer too.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Wiped>) -> Result<Answer> {
        let token = self.log_in().await?;
        let answer = self.send(&method, path, body, Some(&token)).await?;
        if answer.status != StatusCode::FORBIDDEN || matches!(self.access, Access::Token(_)) {
            return Ok(answer);
        }
        // The token may have ended before its time, as when it was revoked.
        self.bearer.forget(&token).await;
        let again = self.log_in().await?;
        self.send(&method, path, body, Some(&again)).await
    }

    /// The words of an answer that is no success.
    pub fn words(answer: &Answer) -> String {
        let body = answer.json();
        let errors = body.0.get("errors").and_then(Value::as_array).into_iter().flatten();
        errors.filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
    }

    /// The token to send: the one given, or one that is logged in for.
    pub async fn log_in(&self) -> Result<Arc<SecretValue>> {
        match &self.access {
            Access::Token(token) => Ok(Arc::new(token.duplicate())),
            Access::AppRole { mount, role_id, secret_id } => {
                self.bearer.get(self.login(mount, ("role_id", Some(role_id)), ("secret_id", secret_id))).await
            }
            Access::Jwt { mount, role, jwt } => {
                self.bearer.get(self.login(mount, ("role", role.as_ref()), ("jwt", jwt))).await
            }
        }
    }

    /// Renews a token that was handed in, if it is time: at once for the first time, then whenever half of what it
    /// has is over. Answers how long until it is time again; `None`: never.
    pub async fn keep(&self) -> Result<Option<Duration>> {
        let Access::Token(token) = &self.access else { return Ok(None) };
        let mut renewal = self.renewal.lock().await;
        match *renewal {
            Renewal::Never => return Ok(None),
            Renewal::At(due) => {
                let left = due.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Ok(Some(left));
                }
            }
        }
        // Asked before, so that it counts against what is left.
        let asked = Instant::now();
        *renewal = Renewal::At(asked + AWAY);
        let nothing = Wiped(json!({}));
        let answer = self.send(&Method::POST, "auth/token/renew-self", Some(&nothing), Some(token)).await?;
        if answer.status == StatusCode::BAD_REQUEST {
            // "lease is not renewable": a root token, or one made so.
            *renewal = Renewal::Never;
            return Ok(None);
        }
        if !answer.status.is_success() {
            let failure = match answer.failure(&Self::words(&answer), &[token]) {
                ExternalError::NotFound => unusable("it does not offer auth/token/renew-self"),
                other => other,
            };
            if !matches!(failure, ExternalError::Busy { .. }) {
                *renewal = Renewal::At(asked + REFUSED);
            }
            return Err(failure);
        }
        let body = answer.success()?;
        let lasts = body.0.pointer("/auth/lease_duration").and_then(Value::as_u64).unwrap_or(0);
        if lasts == 0 || body.0.pointer("/auth/renewable") == Some(&Value::Bool(false)) {
            *renewal = Renewal::Never;
            return Ok(None);
        }
        let half = Duration::from_millis(lasts.min(MOST) * 500);
        *renewal = Renewal::At(asked + half);
        Ok(Some(half.saturating_sub(asked.elapsed())))
    }

    /// Who is asked in for, where that is to be said, and what proves it: each the name of a field and what it holds.
    async fn login(
        &self,
        mount: &str,
        (role, name): (&str, Option<&String>),
        (proof, secret): (&str, &SecretValue),
    ) -> Result<(SecretValue, Duration)> {
        let mut body = Wiped(json!({ proof: crate::json::text(secret)? }));
        if let (Some(name), Some(fields)) = (name, body.object()) {
            fields.insert(role.to_owned(), json!(name));
        }
        let path = format!("auth/{}/login", segments(mount));
        let answer = self.send(&Method::POST, &path, Some(&body), None).await?;
        if !answer.status.is_success() {
            return Err(match answer.failure(&Self::words(&answer), &[secret]) {
                ExternalError::NotFound => unusable(format!("there is no login at auth/{mount}")),
                other => other,
            });
        }
        let mut body = answer.success()?;
        let lasts = body.0.pointer("/auth/lease_duration").and_then(Value::as_u64).unwrap_or(0);
        // 0 is a token that does not end.
        let lasts = if lasts == 0 { Duration::from_secs(3600) } else { Duration::from_secs(lasts) };
        let token = body.take("/auth/client_token").ok_or_else(|| unusable("its login gives no token"))?;
        Ok((token, lasts))
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Wiped>,
        token: Option<&SecretValue>,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(format!("{}/v1/{path}", self.base));
        request = request.header("x-vault-request", "true").header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("x-vault-token", header_with("", token)?);
        }
        if let Some(namespace) = &self.namespace {
            let value = HeaderValue::from_str(namespace).map_err(|_| unusable("the namespace cannot be sent"))?;
            request = request.header("x-vault-namespace", value);
        }
        let bytes = body.map(Wiped::to_bytes);
        self.http.send(request, bytes.as_deref().map_or(&[][..], Vec::as_slice)).await
    }
}
