//! Talks to a running server's admin API: one request, one answer, and clear words when there is none.
//!
//! The token comes from a file or a variable, never from a flag. It is sent without TLS only to this
//! machine, unless asked for by name. A creation is sent with an `Idempotency-Key`; when its answer is
//! lost, the same request is sent once more and brings the same answer.

use crate::{cli::Connection, command::Usage, input};
use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use credentialflow_model::SecretValue;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;
use std::{fmt, net::IpAddr, time::Duration};

/// Longest wait for an answer. An apply waits for every worker.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Largest answer taken, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// Where the token is found without `--token-file`.
const TOKEN_VARIABLE: &str = "CREDENTIALFLOW_TOKEN";

/// A refusal by the server: its problem details (RFC 9457).
#[derive(Debug)]
pub struct Refused {
    /// The HTTP status.
    pub status: StatusCode,
    /// The problem details as sent.
    pub problem: Value,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name: &str| self.problem.get(name).and_then(Value::as_str);
        let told = text("detail").or_else(|| text("title"));
        f.write_str(&told.map_or_else(|| format!("the server answered {}", self.status), crate::output::shown))
    }
}

impl std::error::Error for Refused {}

/// No answer came. Whether the server did something is not known, unless it was never reached.
#[derive(Debug)]
pub struct NoAnswer {
    /// What happened, with what to do about it.
    pub text: String,
    /// The server was not even reached.
    pub unreached: bool,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for NoAnswer {}

/// A connection to one server.
pub struct Client {
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    token: Option<SecretValue>,
}

impl Client {
    /// With the administrator's token.
    pub fn new(connection: &Connection) -> anyhow::Result<Self> {
        let token = match &connection.token_file {
            Some(path) => input::first_line(path)?,
            None => match std::env::var(TOKEN_VARIABLE) {
                Ok(token) if !token.is_empty() => SecretValue::from(token),
                _ => {
                    return Err(Usage(format!(
                        "no administrator's token: name its file with --token-file, or set {TOKEN_VARIABLE}"
                    ))
                    .into());
                }
            },
        };
        Self::build(connection, Some(token))
    }

    /// Without a token, for what a sealed server takes from anyone.
    pub fn anonymous(connection: &Connection) -> anyhow::Result<Self> {
        Self::build(connection, None)
    }

    /// With another server's credential, or none, for what is asked elsewhere than at the admin API.
    pub fn elsewhere(connection: &Connection, url: &str, token: Option<SecretValue>) -> anyhow::Result<Self> {
        Self::build(&Connection { server: url.to_owned(), ..connection.clone() }, token)
    }

    fn build(connection: &Connection, token: Option<SecretValue>) -> anyhow::Result<Self> {
        let base = connection.server.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| Usage(format!("{base} is no URL of a server")))?;
        let host = uri.host().unwrap_or_default();
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_local(host) || connection.allow_plaintext_server => {}
            Some("http") => {
                return Err(Usage(format!(
                    "{host} is not this machine, and http would show the token to everyone on the way; use https, or --allow-plaintext-server"
                ))
                .into());
            }
            _ => return Err(Usage("a server is given as http://HOST:PORT or https://HOST:PORT".to_owned()).into()),
        }
        let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = &connection.ca_file {
            let unreadable = || format!("no certificates can be read from {}", path.display());
            let mut found = 0;
            for certificate in CertificateDer::pem_file_iter(path).with_context(unreadable)? {
                roots.add(certificate.with_context(unreadable)?).with_context(unreadable)?;
                found += 1;
            }
            if found == 0 {
                bail!("{} holds no certificate", path.display());
            }
        }
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(Duration::from_secs(10)));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self { http: HttpClient::builder(TokioExecutor::new()).build(connector), base, token })
    }

    /// Reads something.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        json(&self.text(Method::GET, path, None, None).await?)
    }

    /// Reads something that is not JSON, of this media type.
    pub async fn get_text(&self, path: &str, media_type: &'static str) -> anyhow::Result<String> {
        let (status, body) = self.exchanged(Method::GET, path, None, None, Some(media_type)).await?;
        self.told(status, &body)
    }

    /// Asks for a change that can be asked for twice without harm, or must not be repeated.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        json(&self.text(Method::POST, path, Some(&body.to_string()), None).await?)
    }

    /// The same with a body that is written already.
    pub async fn post_text(&self, path: &str, body: &str) -> anyhow::Result<Value> {
        json(&self.text(Method::POST, path, Some(body), None).await?)
    }

    /// Replaces something.
    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        json(&self.text(Method::PUT, path, Some(&body.to_string()), None).await?)
    }

    /// Asks for a creation. Should its answer get lost, it is fetched by asking once more.
    pub async fn create(&self, path: &str, body: &Value, idempotency_key: Option<&str>) -> anyhow::Result<Value> {
        let random;
        let key = match idempotency_key {
            Some(key) => key,
            None => {
                random = random_key()?;
                &random
            }
        };
        let text = body.to_string();
        let first = self.text(Method::POST, path, Some(&text), Some(key)).await;
        let answer = match first {
            Err(error) if error.downcast_ref::<NoAnswer>().is_some_and(|no| !no.unreached) => {
                self.text(Method::POST, path, Some(&text), Some(key)).await?
            }
            other => other?,
        };
        json(&answer)
    }

    /// Deletes something.
    pub async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.text(Method::DELETE, path, None, None).await.map(drop)
    }

    /// Posts to a server that may be another than ours; its answer, whatever it is.
    pub async fn exchange(&self, path: &str, body: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        self.exchanged(Method::POST, path, Some(body), None, None).await
    }

    async fn exchanged(
        &self,
        method: Method,
        path: &str,
        body: Option<&str>,
        idempotency_key: Option<&str>,
        accept: Option<&'static str>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::USER_AGENT, concat!("credentialflow/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            let text = token.expose_str().context("the administrator's token is not text")?;
            let mut value = HeaderValue::from_str(&format!("Bearer {text}"))
                .map_err(|_| anyhow!("the administrator's token holds characters no token has"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(media_type) = accept {
            request = request.header(header::ACCEPT, media_type);
        }
        if let Some(key) = idempotency_key {
            let valid = (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
            if !valid {
                return Err(Usage("an idempotency key has 1 to 255 printable ASCII characters".to_owned()).into());
            }
            request = request.header("idempotency-key", key);
        }
        let body = Full::new(Bytes::copy_from_slice(body.unwrap_or_default().as_bytes()));
        let request = request.body(body).map_err(|_| Usage(format!("{path} is no path of a server")))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| self.no_answer(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| self.lost(&error.to_string()))?.to_bytes();
            anyhow::Ok((status, body))
        };
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| self.lost("it took longer than 2 minutes"))?
    }

    async fn text(
        &self,
        method: Method,
        path: &str,
        body: Option<&str>,
        idempotency_key: Option<&str>,
    ) -> anyhow::Result<String> {
        let (status, body) = self.exchanged(method, path, body, idempotency_key, None).await?;
        self.told(status, &body)
    }

    fn told(&self, status: StatusCode, body: &Bytes) -> anyhow::Result<String> {
        if status.is_success() {
            return String::from_utf8(body.to_vec()).context("the server's answer is not text");
        }
        let problem = serde_json::from_slice(body).unwrap_or(Value::Null);
        if problem.get("code").is_none() {
            let detail = format!("{} answered {status}, but not as Credentialflow does", self.base);
            let hint = "is this the control listener of a Credentialflow server?";
            let problem = serde_json::json!({ "detail": detail, "hint": hint, "status": status.as_u16() });
            return Err(Refused { status, problem }.into());
        }
        Err(Refused { status, problem }.into())
    }

    fn no_answer(&self, error: &hyper_util::client::legacy::Error) -> NoAnswer {
        if !error.is_connect() {
            return self.lost(&chain(error));
        }
        let text = format!(
            "no server can be reached at {}: {}\nstart one with `credentialflow server`, or name another with --server URL",
            self.base,
            chain(error)
        );
        NoAnswer { text, unreached: true }
    }

    fn lost(&self, why: &str) -> NoAnswer {
        let text = format!("the answer of {} was lost: {why}; whether it did what was asked is not known", self.base);
        NoAnswer { text, unreached: false }
    }
}

/// The innermost cause says what happened; the layers above only say where.
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn json(text: &str) -> anyhow::Result<Value> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(text).context("the server's answer is not JSON")
}

fn is_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn random_key() -> anyhow::Result<String> {
    let mut bytes = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow!("the system has no randomness"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A text as one segment of a path, or as a value in a query (RFC 3986).
pub fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// A path with the parameters that are given.
pub fn with_query(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some(format!("{name}={}", escape(value.as_deref()?))));
    let query = given.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_hold_what_is_given_and_nothing_breaks_out_of_them() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(with_query("/a", &[("x", None), ("y", some("a b&c=é"))]), "/a?y=a%20b%26c%3D%C3%A9");
        assert_eq!(with_query("/a", &[("x", None)]), "/a");
        assert_eq!(escape("../x"), "..%2Fx");
    }

    #[test]
    fn only_this_machine_is_trusted_without_tls() {
        for local in ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"] {
            assert!(is_local(local), "{local}");
        }
        for other in ["10.0.0.1", "localhost.example.com", "example.com", "0.0.0.0"] {
            assert!(!is_local(other), "{other}");
        }
    }
}
