//! A client of Vault's HTTP API that lets itself in with a token or through AppRole.
//!
//! A token of AppRole is kept until shortly before it ends, and asked for anew when the server refuses it.

use crate::{
    Answer, Http, Result, Wiped,
    bearer::Bearer,
    error::unusable,
    http_client::{base, header_with, segments},
};
use credentialflow_model::SecretValue;
use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::json;
use std::{sync::Arc, time::Duration};

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
}

/// A client of one server.
pub struct Client {
    http: Http,
    base: String,
    namespace: Option<String>,
    access: Access,
    bearer: Bearer,
}

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
        Ok(Self { http, base, namespace, access, bearer: Bearer::default() })
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
        let errors = body.0.get("errors").and_then(serde_json::Value::as_array).into_iter().flatten();
        errors.filter_map(serde_json::Value::as_str).collect::<Vec<_>>().join("; ")
    }

    /// The token to send: the one given, or one that is logged in for.
    pub async fn log_in(&self) -> Result<Arc<SecretValue>> {
        match &self.access {
            Access::Token(token) => Ok(Arc::new(token.duplicate())),
            Access::AppRole { mount, role_id, secret_id } => {
                self.bearer.get(self.login(mount, role_id, secret_id)).await
            }
        }
    }

    async fn login(&self, mount: &str, role_id: &str, secret_id: &SecretValue) -> Result<(SecretValue, Duration)> {
        let body = Wiped(json!({ "role_id": role_id, "secret_id": crate::json::text(secret_id)? }));
        let path = format!("auth/{}/login", segments(mount));
        let answer = self.send(&Method::POST, &path, Some(&body), None).await?;
        if !answer.status.is_success() {
            return Err(match answer.failure(&Self::words(&answer), &[secret_id]) {
                crate::ExternalError::NotFound => unusable(format!("there is no login at auth/{mount}")),
                other => other,
            });
        }
        let mut body = answer.success()?;
        let lasts = body.0.pointer("/auth/lease_duration").and_then(serde_json::Value::as_u64).unwrap_or(0);
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
