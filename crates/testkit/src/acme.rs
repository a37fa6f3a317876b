//! A small ACME server with real rules (RFC 8555, RFC 9773): it checks every signature and nonce, fetches what a
//! challenge asks for, and signs what was asked for with an authority of its own.
//!
//! Every name is taken to be on this machine, at the ports it is told to look at: all of them have to answer. What it
//! does wrong, and when, is told to it ([`Knobs`]).

mod issue;
mod jws;
mod serve;

pub use issue::Authority;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// What the server is told to do; each field that is left out stays as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Knobs {
    /// Ports of this machine at which challenges are looked for.
    pub ports: Option<Vec<u16>>,
    /// How long certificates live, in seconds.
    pub lifetime: Option<i64>,
    /// So many requests to come are refused with `badNonce`.
    pub bad_nonces: Option<u32>,
    /// So many orders to come are refused with `rateLimited`, and a `Retry-After` of so many seconds.
    pub rate_limits: Option<(u32, u32)>,
    /// So many requests to come are answered with 503 and no problem.
    pub outages: Option<u32>,
    /// Challenges are not looked at while this is so.
    pub hold_validation: Option<bool>,
    /// Certificates are not signed while this is so.
    pub hold_issuing: Option<bool>,
    /// Certificates are signed for another key than was asked for.
    pub wrong_key: Option<bool>,
    /// Accounts need this one elsewhere: key's name and key.
    pub external: Option<(String, String)>,
    /// The window in which renewal is suggested: seconds from now to its begin and its end.
    pub suggest: Option<(i64, i64)>,
    /// Nothing is suggested while this is so.
    pub silent: Option<bool>,
    /// All accounts are forgotten.
    pub forget_accounts: Option<bool>,
}

#[derive(Default)]
struct State {
    knobs: Knobs,
    nonces: HashSet<String>,
    made: u64,
    accounts: Vec<Account>,
    orders: Vec<Order>,
    authorizations: Vec<Authorization>,
    stats: Stats,
}

#[derive(Clone, Copy, Default)]
struct Stats {
    requests: u64,
    refused_nonces: u64,
    looked: u64,
    issued: u64,
    suggested: u64,
}

struct Account {
    key: jws::Jwk,
    contact: Vec<String>,
    external: Option<String>,
    gone: bool,
}

struct Order {
    account: usize,
    names: Vec<String>,
    status: &'static str,
    authorizations: Vec<usize>,
    request: Vec<u8>,
    certificate: String,
    replaces: Option<String>,
}

struct Authorization {
    order: usize,
    name: String,
    token: String,
    status: &'static str,
    error: Option<Value>,
}

/// A running server.
#[derive(Clone)]
pub struct Server {
    state: Arc<Mutex<State>>,
    authority: Arc<Authority>,
    base: String,
}

impl Server {
    /// Begins to serve on free ports of this machine. With `tls` the API is asked over TLS, whose certificate is of
    /// [`Server::authority`].
    pub async fn start(tls: bool) -> anyhow::Result<Self> {
        let socket = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = socket.local_addr()?;
        let authority = Arc::new(Authority::new()?);
        let scheme = if tls { "https" } else { "http" };
        let base = format!("{scheme}://localhost:{}", address.port());
        let knobs = Knobs { lifetime: Some(90 * 86_400), ..Knobs::default() };
        let state = Arc::new(Mutex::new(State { knobs, ..State::default() }));
        let server = Self { state, authority, base };
        let acceptor = tls.then(|| server.authority.acceptor()).transpose()?;
        tokio::spawn(serve::connections(server.clone(), socket, acceptor));
        Ok(server)
    }

    /// Serves what [`Server::set`] and [`Server::stats`] do over HTTP: `PUT /knobs` and `GET /stats`.
    pub async fn serve_admin(&self) -> anyhow::Result<SocketAddr> {
        let socket = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = socket.local_addr()?;
        tokio::spawn(serve::admin(self.clone(), socket));
        Ok(address)
    }

    /// Where the API begins.
    pub fn directory(&self) -> String {
        format!("{}/directory", self.base)
    }

    /// Who signs, and is to be trusted.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Changes what the server does.
    pub fn set(&self, knobs: Knobs) {
        let mut state = self.lock();
        if knobs.forget_accounts == Some(true) {
            state.accounts.iter_mut().for_each(|account| account.gone = true);
        }
        let now = &mut state.knobs;
        macro_rules! take { ($($field:ident),*) => { $(if knobs.$field.is_some() { now.$field = knobs.$field; })* } }
        take!(ports, lifetime, bad_nonces, rate_limits, outages, hold_validation, hold_issuing, wrong_key);
        take!(external, suggest, silent);
    }

    /// What was asked and done so far.
    pub fn stats(&self) -> Value {
        let state = self.lock();
        let Stats { requests, refused_nonces, looked, issued, suggested } = state.stats;
        let accounts: Vec<Value> = state
            .accounts
            .iter()
            .map(|account| json!({ "contact": account.contact, "external": account.external }))
            .collect();
        let orders: Vec<Value> = state
            .orders
            .iter()
            .map(|order| json!({ "names": order.names, "status": order.status, "replaces": order.replaces }))
            .collect();
        json!({ "requests": requests, "refused_nonces": refused_nonces, "looked": looked, "issued": issued,
                "suggested": suggested, "accounts": accounts, "orders": orders })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for the answer of a challenge everywhere it has to be, and decides.
    async fn validate(self, at: usize) {
        while self.lock().knobs.hold_validation == Some(true) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (name, token, expected, ports) = {
            let mut state = self.lock();
            state.stats.looked += 1;
            let authorization = &state.authorizations[at];
            let (name, token) = (authorization.name.clone(), authorization.token.clone());
            let key = &state.accounts[state.orders[authorization.order].account].key;
            let expected = format!("{token}.{}", key.thumbprint());
            (name, token, expected, state.knobs.ports.clone().unwrap_or_default())
        };
        let mut error = ports.is_empty().then(|| "there is nowhere to look".to_owned());
        for port in ports {
            match serve::fetch(port, &name, &token).await {
                Ok(found) if found.trim_end() == expected => {}
                Ok(found) => {
                    error = Some(format!("port {port} answered {:?}", found.chars().take(60).collect::<String>()))
                }
                Err(why) => error = Some(format!("port {port}: {why}")),
            }
        }
        let mut state = self.lock();
        let order = state.authorizations[at].order;
        state.authorizations[at].status = if error.is_none() { "valid" } else { "invalid" };
        state.authorizations[at].error =
            error.map(|why| json!({ "type": "urn:ietf:params:acme:error:unauthorized", "status": 403, "detail": why }));
        let all: Vec<&str> =
            state.orders[order].authorizations.iter().map(|&a| state.authorizations[a].status).collect();
        let status = match () {
            () if all.contains(&"invalid") => "invalid",
            () if all.iter().all(|status| *status == "valid") => "ready",
            () => "pending",
        };
        state.orders[order].status = status;
    }

    /// Signs what an order asks for, once it may.
    async fn issue(self, at: usize) {
        while self.lock().knobs.hold_issuing == Some(true) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (request, names, lifetime, wrong) = {
            let state = self.lock();
            let order = &state.orders[at];
            let lifetime = state.knobs.lifetime.unwrap_or(3600);
            (order.request.clone(), order.names.clone(), lifetime, state.knobs.wrong_key == Some(true))
        };
        let signed = self.authority.sign(&request, &names, lifetime, wrong);
        let mut state = self.lock();
        match signed {
            Ok(chain) => {
                state.stats.issued += 1;
                state.orders[at].certificate = chain;
                state.orders[at].status = "valid";
            }
            Err(_) => state.orders[at].status = "invalid",
        }
    }
}

impl Knobs {
    /// The window in which renewal is suggested, where anything is.
    fn suggestion(&self) -> Option<(i64, i64)> {
        self.suggest.filter(|_| self.silent != Some(true))
    }
}

impl State {
    fn nonce(&mut self) -> String {
        self.made += 1;
        let nonce = jws::encode(format!("nonce-{}-{:?}", self.made, SystemTime::now()).as_bytes());
        self.nonces.insert(nonce.clone());
        nonce
    }
}
