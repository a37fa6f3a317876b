//! RabbitMQ, through its management API: logins are users.
//!
//! When to use it: RabbitMQ 3.8 or newer with the management plugin. The administrator needs the tag
//! `administrator`. The creation statement is one JSON object:
//! `{"tags": "", "vhosts": {"/": {"configure": "^$", "write": ".*", "read": ".*"}}, "vhost_topics":
//! {"/": {"amq.topic": {"write": ".*", "read": ".*"}}}}`, as Vault's roles have it; `tags` and
//! `vhost_topics` may be left out. Revocation deletes the user, then its connections. RabbitMQ knows
//! no end date for a user, so renewal does nothing.
//!
//! Posture: passwords travel as salted SHA-256 (`rabbit_password_hashing_sha256`). A login is tried
//! against the management API, which tells a wrong password from a user without management rights.

use crate::{
    BoxFuture, Created, Kind, Login, NewLogin, Result, Revoked, Server, Statements, Target, TargetError, TlsMode,
    Verdict,
    error::refused,
    hash::rabbitmq_sha256,
    http_client::{Answer, HttpClient},
    server::Access,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use credentialflow_egress::Guard;
use credentialflow_model::{SecretValue, Timestamp};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeMap, fmt::Write};
use zeroize::Zeroizing;

/// Where the management API is.
#[derive(Debug)]
pub struct Settings {
    /// Address and administrator; the port is the management API's, 15672 as it comes.
    pub server: Server,
    /// Which addresses may be connected to: it is HTTP that is spoken there.
    pub guard: Guard,
}

impl Settings {
    /// For a broker that the operator declared: its host may be at a private address.
    pub fn declared(server: Server) -> Self {
        Self { guard: Guard::naming(&server.host), server }
    }
}

/// What a user may do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rights {
    #[serde(default)]
    tags: String,
    #[serde(default)]
    vhosts: BTreeMap<String, Permission>,
    #[serde(default)]
    vhost_topics: BTreeMap<String, BTreeMap<String, TopicPermission>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Permission {
    #[serde(default)]
    configure: String,
    #[serde(default)]
    write: String,
    #[serde(default)]
    read: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicPermission {
    #[serde(default)]
    write: String,
    #[serde(default)]
    read: String,
}

/// A RabbitMQ server.
pub struct Rabbitmq {
    access: Access,
    client: HttpClient,
    base: String,
}

impl Rabbitmq {
    /// Over its settings; connects to nothing.
    pub fn new(settings: Settings) -> Result<Self> {
        let connect_timeout = settings.server.connect_timeout;
        let access = Access::new(settings.server)?;
        settings.guard.check_literal(&access.host).map_err(|refused| bad(&refused.to_string()))?;
        let client = HttpClient::new(&access.tls, settings.guard, connect_timeout)?;
        let scheme = if access.tls.mode == TlsMode::Disable { "http" } else { "https" };
        let host = if access.host.contains(':') { format!("[{}]", access.host) } else { access.host.clone() };
        let base = format!("{scheme}://{host}:{}", access.port);
        Ok(Self { access, client, base })
    }

    async fn call(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Answer> {
        let password = self.access.password();
        self.call_as(&self.access.username, &password, method, path, body).await
    }

    async fn call_as(
        &self,
        username: &str,
        password: &SecretValue,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, basic(username, password)?)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|_| TargetError::BadSettings("the address of the management API cannot be used".to_owned()))?;
        self.client.send(request).await
    }

    async fn put(&self, path: &str, body: &serde_json::Value) -> Result<()> {
        let answer = self.call(Method::PUT, path, Some(body.to_string().into_bytes())).await?;
        done(&answer)
    }

    async fn create_login(&self, login: &NewLogin<'_>) -> Result<Created> {
        let [statement] = login.statements.creation.as_slice() else {
            return Err(bad("a user of RabbitMQ needs one creation statement, a JSON object"));
        };
        let rights = rights(statement)?;
        let user = segment(login.name);
        let made = self.make(&user, login.password, &rights).await;
        if let Err(TargetError::Refused(_)) = &made {
            let _ = self.call(Method::DELETE, &format!("/api/users/{user}"), None).await;
        }
        made?;
        Ok(Created { handle: login.name.to_owned(), password: None })
    }

    async fn make(&self, user: &str, password: &SecretValue, rights: &Rights) -> Result<()> {
        self.put_user(user, password, &json!(rights.tags)).await?;
        for (vhost, permission) in &rights.vhosts {
            let path = format!("/api/permissions/{}/{user}", segment(vhost));
            self.put(&path, &serde_json::to_value(permission).unwrap_or_default()).await?;
        }
        for (vhost, topics) in &rights.vhost_topics {
            for (exchange, topic) in topics {
                let path = format!("/api/topic-permissions/{}/{user}", segment(vhost));
                self.put(&path, &json!({ "exchange": exchange, "write": topic.write, "read": topic.read })).await?;
            }
        }
        Ok(())
    }

    async fn put_user(&self, user: &str, password: &SecretValue, tags: &serde_json::Value) -> Result<()> {
        let body = json!({
            "password_hash": rabbitmq_sha256(password)?,
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": tags,
        });
        self.put(&format!("/api/users/{user}"), &body).await
    }

    async fn rekey_login(&self, login: &Login, password: &SecretValue) -> Result<()> {
        let user = segment(&login.name);
        let answer = self.call(Method::GET, &format!("/api/users/{user}"), None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(TargetError::Refused("there is no such user".to_owned()));
        }
        done(&answer)?;
        // The API replaces a user as a whole, so its tags are given again.
        let tags = answer.json().and_then(|mut u| u.get_mut("tags").map(serde_json::Value::take)).unwrap_or_default();
        self.put_user(&user, password, &tags).await
    }

    async fn revoke_login(&self, login: &Login) -> Result<Revoked> {
        self.access.not_administrator(&login.name)?;
        let user = segment(&login.name);
        let answer = self.call(Method::DELETE, &format!("/api/users/{user}"), None).await?;
        let existed = answer.status != StatusCode::NOT_FOUND;
        if existed {
            done(&answer)?;
        }
        Ok(Revoked { existed, sessions: self.end_sessions(&login.name).await? })
    }

    /// The list is made anew every few seconds by the server, so a connection younger than that may
    /// be missed; RabbitMQ itself closes connections of a deleted user when they next need a right.
    async fn end_sessions(&self, name: &str) -> Result<Option<u64>> {
        let answer = self.call(Method::GET, "/api/connections?columns=name,user", None).await?;
        let Some(serde_json::Value::Array(connections)) = answer.json().filter(|_| answer.status.is_success()) else {
            return Ok(None);
        };
        let mut ended = 0;
        for connection in connections.iter().filter(|c| c["user"] == name) {
            let Some(connection) = connection["name"].as_str() else { continue };
            let path = format!("/api/connections/{}", segment(connection));
            let answer = self.call(Method::DELETE, &path, None).await?;
            ended += u64::from(answer.status.is_success());
        }
        Ok(Some(ended))
    }

    async fn try_login(&self, login: &Login, password: &SecretValue) -> Result<Verdict> {
        let answer = self.call_as(&login.name, password, Method::GET, "/api/whoami", None).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            // The password was right, but the user may not use this API: what most users are.
            let reason = answer.json().and_then(|j| j["reason"].as_str().map(str::to_owned)).unwrap_or_default();
            if reason.eq_ignore_ascii_case("not management user") {
                return Ok(Verdict::Accepted);
            }
            return Ok(Verdict::Refused("the login failed".to_owned()));
        }
        done(&answer).map(|()| Verdict::Accepted)
    }

    async fn open_sessions(&self, login: &Login) -> Result<Option<u64>> {
        let answer = self.call(Method::GET, "/api/connections?columns=name,user", None).await?;
        let Some(serde_json::Value::Array(connections)) = answer.json().filter(|_| answer.status.is_success()) else {
            return Ok(None);
        };
        Ok(u64::try_from(connections.iter().filter(|c| c["user"] == login.name.as_str()).count()).ok())
    }

    async fn names(&self, mark: &str) -> Result<Vec<Login>> {
        let answer = self.call(Method::GET, "/api/users?columns=name", None).await?;
        done(&answer)?;
        let users = answer.json().ok_or_else(not_understood)?;
        let names = users.as_array().ok_or_else(not_understood)?.iter().filter_map(|u| u["name"].as_str());
        let mut found: Vec<Login> = names.filter(|n| n.starts_with(mark)).map(Login::named).collect();
        found.sort();
        Ok(found)
    }

    async fn version(&self) -> Result<String> {
        let answer = self.call(Method::GET, "/api/overview", None).await?;
        done(&answer)?;
        let overview = answer.json().ok_or_else(not_understood)?;
        overview["rabbitmq_version"].as_str().map(str::to_owned).ok_or_else(not_understood)
    }
}

impl Target for Rabbitmq {
    fn kind(&self) -> Kind {
        Kind::Rabbitmq
    }
    fn check(&self) -> BoxFuture<'_, Result<String>> {
        Box::pin(self.access.within(self.version()))
    }
    fn create<'a>(&'a self, login: &'a NewLogin<'a>) -> BoxFuture<'a, Result<Created>> {
        Box::pin(self.access.within(self.create_login(login)))
    }
    fn renew<'a>(&'a self, _: &'a Login, _: Timestamp, _: &'a Statements) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
    fn revoke<'a>(&'a self, login: &'a Login, _: &'a Statements) -> BoxFuture<'a, Result<Revoked>> {
        Box::pin(self.access.within(self.revoke_login(login)))
    }
    fn set_password<'a>(
        &'a self,
        login: &'a Login,
        password: &'a SecretValue,
        _: &'a Statements,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.access.within(self.rekey_login(login, password)))
    }
    fn verify<'a>(&'a self, login: &'a Login, password: &'a SecretValue) -> BoxFuture<'a, Result<Verdict>> {
        Box::pin(self.access.within(self.try_login(login, password)))
    }
    fn sessions<'a>(&'a self, login: &'a Login) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(self.access.within(self.open_sessions(login)))
    }
    fn list<'a>(&'a self, mark: &'a str) -> BoxFuture<'a, Result<Vec<Login>>> {
        Box::pin(self.access.within(self.names(mark)))
    }
    fn administrator(&self) -> &str {
        &self.access.username
    }
    fn use_password(&self, password: SecretValue) {
        self.access.use_password(password);
    }
}

/// Refuses a creation statement that could not be carried out, as this module describes it.
pub fn check_rights(statement: &str) -> Result<()> {
    rights(statement).map(drop)
}

fn rights(statement: &str) -> Result<Rights> {
    serde_json::from_str(statement)
        .map_err(|_| bad("the creation statement is no JSON object with tags, vhosts and vhost_topics"))
}

/// Whether it was done; otherwise why not, in the API's words.
fn done(answer: &Answer) -> Result<()> {
    if answer.status.is_success() {
        return Ok(());
    }
    let status = answer.status.as_u16();
    if answer.status.is_server_error() {
        return Err(TargetError::Unreachable(format!("the management API answers {status}")));
    }
    let reason = answer.json().and_then(|j| j["reason"].as_str().map(str::to_owned)).unwrap_or_default();
    Err(refused(&format!("{reason} ({status})"), &[]))
}

/// HTTP basic authentication (RFC 7617), marked as sensitive.
pub(crate) fn basic(username: &str, password: &SecretValue) -> Result<HeaderValue> {
    let pair = Zeroizing::new([username.as_bytes(), b":", password.expose()].concat());
    let text = Zeroizing::new(format!("Basic {}", &*Zeroizing::new(BASE64_STANDARD.encode(&*pair))));
    let mut value = HeaderValue::from_str(&text).map_err(|_| bad("the login cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// One segment of a path, or one value of a query: everything but unreserved characters is encoded.
pub(crate) fn segment(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, b| {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'~') || (b == b'.' && text.len() > 2) {
            encoded.push(char::from(b));
        } else {
            let _ = write!(encoded, "%{b:02X}");
        }
        encoded
    })
}

fn not_understood() -> TargetError {
    TargetError::Unreachable("the management API's answer is not understood".to_owned())
}

fn bad(words: &str) -> TargetError {
    TargetError::BadTemplate(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_becomes_a_path() {
        assert_eq!(segment("a/../b?c#d%"), "a%2F..%2Fb%3Fc%23d%25");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("ü"), "%C3%BC");
    }
}
