//! Any HTTP API that keeps keys, users or tokens, described by templates: create, test, delete. No code.
//!
//! When to use it: for a provider whose API can make and withdraw credentials. Each call of the
//! [`Description`] has a method, a path, headers and a JSON body or form. Placeholders: `{{name}}`,
//! `{{password}}`, `{{handle}}` (the id the API gave when it created the login), `{{expiration}}`
//! (RFC 3339), and of the administrator `{{admin}}` (its secret), `{{admin_basic}}` (name and secret
//! as HTTP basic authentication), `{{login_basic}}` (the same of the login). A value stays where its
//! placeholder stands: encoded in paths and forms, inside its own text in JSON, without control
//! characters in headers.
//!
//! Posture: secrets never stand in an address; redirects are not followed; private addresses are asked
//! only for the hosts that the settings name, and the places where clouds keep their machines' own
//! credentials never; HTTPS is checked against Mozilla's or the given authorities.

mod description;
mod fill;
mod pages;

pub use description::{Call, Description, ListCall, Take};

use crate::{
    BoxFuture, Created, Kind, Login, NewLogin, Result, Revoked, Statements, Target, TargetError, Tls, Verdict,
    error::sanitized,
    http_api::pages::Page,
    http_client::{Answer, HttpClient},
};
use bytes::Bytes;
use credentialflow_egress::{Guard, PrivateHosts};
use credentialflow_model::{SecretValue, Timestamp};
use fill::Facts;
use http::{Request, Uri};
use http_body_util::Full;
use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// The most pages of a list that are read. One that goes on is an error, never a list.
const MOST_PAGES: usize = 100;
/// The longest a whole list may take; each page has the time of one operation. With what is done after it, it ends
/// before a lease that is being worked at may be taken by another node.
const LISTING: Duration = Duration::from_secs(25);

/// How the API is reached and what it is told.
#[derive(Debug)]
pub struct Settings {
    /// What is called, and how.
    pub description: Description,
    /// Authorities for HTTPS.
    pub ca: Option<String>,
    /// The administrator's name, for `{{admin_basic}}`; may be empty.
    pub username: String,
    /// The administrator's secret.
    pub password: SecretValue,
    /// Hosts that may be at private addresses; none unless set. The operator's to say, not the description's.
    pub private_hosts: PrivateHosts,
    /// The longest a connection may take to stand.
    pub connect_timeout: Duration,
    /// The longest one operation may take.
    pub timeout: Duration,
}

impl Settings {
    /// 5 s to connect, 20 s for an operation.
    pub fn new(description: Description, username: &str, password: SecretValue) -> Self {
        let (connect_timeout, timeout) = (Duration::from_secs(5), Duration::from_secs(20));
        Self {
            description,
            ca: None,
            username: username.to_owned(),
            password,
            private_hosts: PrivateHosts::default(),
            connect_timeout,
            timeout,
        }
    }
}

/// A described API.
pub struct HttpApi {
    description: Description,
    client: HttpClient,
    username: String,
    password: RwLock<Arc<SecretValue>>,
    timeout: Duration,
}

impl HttpApi {
    /// Over its settings; connects to nothing.
    pub fn new(settings: Settings) -> Result<Self> {
        let Settings { description, ca, username, password, private_hosts, connect_timeout, timeout } = settings;
        description.check()?;
        let base: Uri = description.base_url.parse().map_err(|_| bad("the base URL is none"))?;
        let host = base.host().unwrap_or_default();
        if host.is_empty() || !matches!(base.scheme_str(), Some("http" | "https")) || base.query().is_some() {
            return Err(bad("the base URL is http or https with a host and without a query"));
        }
        if base.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(bad("the base URL holds no login; write headers instead"));
        }
        let guard = Guard::new(private_hosts);
        guard.check_literal(host).map_err(|refused| bad(&refused.to_string()))?;
        let client = HttpClient::new(&Tls::verify(ca), guard, connect_timeout)?;
        Ok(Self { description, client, username, password: RwLock::new(Arc::new(password)), timeout })
    }

    async fn within<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(self.timeout, operation).await.unwrap_or(Err(TargetError::Timeout))
    }

    fn request(&self, call: &Call, facts: &Facts<'_>) -> Result<Request<Full<Bytes>>> {
        let admin = self.password.read().unwrap_or_else(PoisonError::into_inner).clone();
        fill::request(&self.description, call, facts, &self.username, &admin)
    }

    async fn call(&self, call: &Call, facts: &Facts<'_>) -> Result<Answer> {
        self.client.send(self.request(call, facts)?).await
    }

    /// An answer that is not the expected one, as an error without secrets.
    fn unexpected(&self, answer: &Answer, secrets: &[&SecretValue]) -> TargetError {
        let status = answer.status.as_u16();
        if answer.status.is_server_error() || matches!(status, 408 | 425 | 429) {
            return TargetError::Unreachable(format!("the API answers {status}"));
        }
        let admin = self.password.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut secrets: Vec<&[u8]> = secrets.iter().map(|s| s.expose()).collect();
        secrets.push(admin.expose());
        let words = String::from_utf8_lossy(&answer.body).into_owned();
        TargetError::Refused(format!("the API answers {status}: {}", sanitized(&words, &secrets)))
    }

    async fn create_login(&self, login: &NewLogin<'_>) -> Result<Created> {
        let create = &self.description.create;
        let facts =
            Facts { name: login.name, password: Some(login.password), expires: login.expires, ..Facts::default() };
        let answer = self.call(create, &facts).await?;
        if !create.expects(answer.status) {
            return Err(self.unexpected(&answer, &[login.password]));
        }
        let Take { handle, password } = &self.description.take;
        let json = answer.json();
        let taken = |pointer: &str| -> Result<String> {
            let found = json.as_ref().and_then(|j| j.pointer(pointer));
            match found {
                Some(serde_json::Value::String(text)) if !text.is_empty() => Ok(text.clone()),
                Some(serde_json::Value::Number(number)) => Ok(number.to_string()),
                _ => Err(TargetError::Unusable(format!("there is nothing at {pointer}"))),
            }
        };
        let handle = handle.as_deref().map(taken).transpose()?.unwrap_or_else(|| login.name.to_owned());
        let password = match password.as_deref().map(taken).transpose() {
            Ok(password) => password.map(SecretValue::from),
            Err(e) => {
                // A login whose secret nobody knows is of no use.
                let login = Login { name: login.name.to_owned(), handle };
                return Err(match self.revoke_login(&login).await {
                    Ok(_) => TargetError::Refused(e.to_string()),
                    Err(_) => e,
                });
            }
        };
        Ok(Created { handle, password })
    }

    async fn renew_login(&self, login: &Login, expires: Timestamp) -> Result<()> {
        let Some(renew) = &self.description.renew else { return Ok(()) };
        let facts = Facts { name: &login.name, handle: &login.handle, expires: Some(expires), ..Facts::default() };
        let answer = self.call(renew, &facts).await?;
        if renew.expects(answer.status) { Ok(()) } else { Err(self.unexpected(&answer, &[])) }
    }

    async fn revoke_login(&self, login: &Login) -> Result<Revoked> {
        let delete = &self.description.delete;
        let facts = Facts { name: &login.name, handle: &login.handle, ..Facts::default() };
        let answer = self.call(delete, &facts).await?;
        let existed = !delete.is_gone(answer.status);
        if existed && !delete.expects(answer.status) {
            return Err(self.unexpected(&answer, &[]));
        }
        Ok(Revoked { existed, sessions: None })
    }

    async fn rekey_login(&self, login: &Login, password: &SecretValue) -> Result<()> {
        let Some(rekey) = &self.description.set_password else {
            return Err(TargetError::BadTemplate("the description has no `set_password`".to_owned()));
        };
        let facts = Facts { name: &login.name, handle: &login.handle, password: Some(password), ..Facts::default() };
        let answer = self.call(rekey, &facts).await?;
        if rekey.expects(answer.status) { Ok(()) } else { Err(self.unexpected(&answer, &[password])) }
    }

    async fn try_login(&self, login: &Login, password: &SecretValue) -> Result<Verdict> {
        let Some(test) = &self.description.test else {
            return Err(TargetError::BadTemplate("the description has no `test`".to_owned()));
        };
        let facts = Facts { name: &login.name, handle: &login.handle, password: Some(password), ..Facts::default() };
        let answer = self.call(test, &facts).await?;
        if test.expects(answer.status) {
            return Ok(Verdict::Accepted);
        }
        match self.unexpected(&answer, &[password]) {
            TargetError::Refused(_) => Ok(Verdict::Refused(format!("the API answers {}", answer.status.as_u16()))),
            other => Err(other),
        }
    }

    async fn names(&self, mark: &str) -> Result<Vec<Login>> {
        let Some(list) = &self.description.list else {
            return Err(TargetError::BadTemplate("the description has no `list`".to_owned()));
        };
        let facts = Facts { name: mark, ..Facts::default() };
        let (mut found, mut asked) = (Vec::new(), BTreeSet::new());
        let mut page: Option<Uri> = None;
        for _ in 0..MOST_PAGES {
            let mut request = self.request(&list.call, &facts)?;
            if let Some(page) = page {
                *request.uri_mut() = page;
            }
            let here = request.uri().clone();
            asked.insert(here.to_string());
            let answer = self.within(self.client.send(request)).await?;
            if !list.call.expects(answer.status) {
                return Err(self.unexpected(&answer, &[]));
            }
            let Page { logins, next } = pages::read(list, mark, &answer, &here)?;
            found.extend(logins);
            let Some(next) = next else {
                found.sort();
                found.dedup();
                return Ok(found);
            };
            if asked.contains(&next.to_string()) {
                return Err(TargetError::Refused("the API's list comes back to a page that it had".to_owned()));
            }
            page = Some(next);
        }
        Err(TargetError::Refused(format!("the API's list does not end within {MOST_PAGES} pages")))
    }

    async fn version(&self) -> Result<String> {
        let Some(check) = self.description.check.as_ref().or(self.description.list.as_ref().map(|l| &l.call)) else {
            return Ok("not asked: the description has neither `check` nor `list`".to_owned());
        };
        let answer = self.call(check, &Facts::default()).await?;
        if check.expects(answer.status) { Ok(String::new()) } else { Err(self.unexpected(&answer, &[])) }
    }
}

impl Target for HttpApi {
    fn kind(&self) -> Kind {
        Kind::Http
    }
    fn check(&self) -> BoxFuture<'_, Result<String>> {
        Box::pin(self.within(self.version()))
    }
    fn create<'a>(&'a self, login: &'a NewLogin<'a>) -> BoxFuture<'a, Result<Created>> {
        Box::pin(self.within(self.create_login(login)))
    }
    fn renew<'a>(&'a self, login: &'a Login, expires: Timestamp, _: &'a Statements) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.within(self.renew_login(login, expires)))
    }
    fn revoke<'a>(&'a self, login: &'a Login, _: &'a Statements) -> BoxFuture<'a, Result<Revoked>> {
        Box::pin(self.within(self.revoke_login(login)))
    }
    fn set_password<'a>(
        &'a self,
        login: &'a Login,
        password: &'a SecretValue,
        _: &'a Statements,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.within(self.rekey_login(login, password)))
    }
    fn verify<'a>(&'a self, login: &'a Login, password: &'a SecretValue) -> BoxFuture<'a, Result<Verdict>> {
        Box::pin(self.within(self.try_login(login, password)))
    }
    fn sessions<'a>(&'a self, _: &'a Login) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(async { Ok(None) })
    }
    fn list<'a>(&'a self, mark: &'a str) -> BoxFuture<'a, Result<Vec<Login>>> {
        let all = tokio::time::timeout(LISTING.max(self.timeout), self.names(mark));
        Box::pin(async { all.await.unwrap_or(Err(TargetError::Timeout)) })
    }
    fn administrator(&self) -> &str {
        &self.username
    }
    fn use_password(&self, password: SecretValue) {
        *self.password.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(password);
    }
}

fn bad(words: &str) -> TargetError {
    TargetError::BadSettings(words.to_owned())
}
