//! A store, a vault, a clock that the test moves, and short words for what callers do.

use crate::ports::{Boxed, Web, WebRequest};
use crate::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::{Actor, SecretValue, Timestamp};
use credentialflow_store::{AuditFilter, Store};
use credentialflow_vault::{SealInput, Vault};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// Answers prepared by the test, by URL.
#[derive(Default)]
pub(super) struct Pages {
    pub(super) pages: Mutex<HashMap<String, Result<Vec<u8>, String>>>,
    pub(super) asked: Mutex<Vec<WebRequest>>,
    held: Mutex<Option<Arc<Semaphore>>>,
}

impl Web for Pages {
    fn ask<'a>(&'a self, request: WebRequest, _: usize, _: Duration) -> Boxed<'a, Result<Vec<u8>, String>> {
        Box::pin(async move {
            let answer = self.pages.lock().unwrap().get(&request.url).cloned();
            self.asked.lock().unwrap().push(request);
            let held = self.held.lock().unwrap().clone();
            if let Some(held) = held {
                drop(held.acquire().await);
            }
            answer.unwrap_or_else(|| Err("status 404".to_owned()))
        })
    }
}

impl Pages {
    pub(super) fn put(&self, url: &str, body: Value) {
        self.pages.lock().unwrap().insert(url.to_owned(), Ok(body.to_string().into_bytes()));
    }

    /// From now on whoever asks waits, until what this gives is closed.
    pub(super) fn hold(&self) -> Arc<Semaphore> {
        let held = Arc::new(Semaphore::new(0));
        *self.held.lock().unwrap() = Some(held.clone());
        held
    }
}

pub(super) struct World {
    pub(super) dir: TempDir,
    pub(super) store: Store,
    pub(super) vault: Vault,
    pub(super) identity: Identity,
    pub(super) web: Arc<Pages>,
    wall: Arc<AtomicI64>,
    steady: Arc<AtomicI64>,
    pub(super) root: String,
}

pub(super) const START: i64 = 1_800_000_000;

pub(super) fn mount(path: &str) -> Mount {
    Mount {
        id: format!("mount-{}", path.trim_end_matches('/')),
        path: path.to_owned(),
        accessor: format!("auth_{path}"),
        default_ttl: 768 * 3600,
        max_ttl: 768 * 3600,
    }
}

impl World {
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("state.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        let input = SealInput::Environment(SecretValue::from(STANDARD.encode([9u8; 32])));
        let vault = Vault::init(&store, &Actor::operator(), input).await.unwrap().vault;
        let (wall, steady) = (Arc::new(AtomicI64::new(START * 1_000_000)), Arc::new(AtomicI64::new(0)));
        let (w, s) = (wall.clone(), steady.clone());
        let clock = Clock::with(Timestamp::from_micros(0), move || Reading {
            wall: Timestamp::from_micros(w.load(Ordering::SeqCst)),
            steady: s.load(Ordering::SeqCst),
        });
        let web = Arc::new(Pages::default());
        let identity = Identity::with_clock(store.clone(), vault.clone(), clock, web.clone(), Vec::new());
        identity.prepare().await.unwrap();
        let auth = identity.create_root_token(Actor::operator(), None).await.unwrap();
        let root = auth.client_token.expose_str().unwrap().to_owned();
        Self { dir, store, vault, identity, web, wall, steady, root }
    }

    /// Lets time pass.
    pub(super) fn pass(&self, seconds: i64) {
        self.wall.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        self.steady.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an operator or a time server may.
    pub(super) fn jump(&self, seconds: i64) {
        self.wall.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    #[expect(clippy::too_many_arguments, reason = "a request has as many parts")]
    pub(super) async fn ask(
        &self,
        kind: &str,
        mount: &Mount,
        token: Option<&str>,
        operation: Operation,
        path: &str,
        body: Value,
        source: Option<IpAddr>,
    ) -> Result<Response> {
        let data: Map<String, Value> = body.as_object().cloned().unwrap_or_default();
        let caller = match token {
            Some(token) => Some(self.identity.authenticate(token, source).await?),
            None => None,
        };
        let caller = caller.as_ref();
        let call = Call { mount, operation, path, data: &data, caller, presented: token, source, rests_on: None };
        match kind {
            "token" => self.identity.token(&call).await,
            "policy" => self.identity.policies(&call).await,
            kind => self.identity.login_method(kind, &call).await,
        }
    }

    /// `auth/token/…` with a token.
    pub(super) async fn token(&self, token: &str, path: &str, body: Value) -> Result<Response> {
        self.ask("token", &mount("token/"), Some(token), Operation::Update, path, body, None).await
    }

    /// A new token of a maker.
    pub(super) async fn create(&self, maker: &str, body: Value) -> String {
        client_token(&self.token(maker, "create", body).await.unwrap())
    }

    pub(super) async fn policy(&self, name: &str, text: &str) {
        let body = serde_json::json!({ "policy": text });
        self.ask("policy", &mount("sys/"), Some(&self.root), Operation::Update, name, body, None).await.unwrap();
    }

    /// Whether a token is accepted now.
    pub(super) async fn accepts(&self, token: &str) -> bool {
        self.identity.authenticate(token, None).await.is_ok()
    }

    /// The actions in the audit log, oldest first.
    /// What a login is refused with that is on its way while something is changed. One that was quicker stands before
    /// the change in the log, and both are tried again.
    pub(super) async fn overtaken(&self, mut both: impl AsyncFnMut() -> Result<Response>) -> (u16, String) {
        for _ in 0..100 {
            let made = both().await;
            if made.is_err() {
                return refusal(made);
            }
            assert_ne!(self.actions().await.last().map(String::as_str), Some("auth.login"));
        }
        panic!("the login was quicker every time");
    }

    pub(super) async fn actions(&self) -> Vec<String> {
        let events = self.store.audit_events(0, 10_000, &AuditFilter::default()).await.unwrap();
        events.into_iter().map(|e| e.action).collect()
    }
}

pub(super) fn client_token(response: &Response) -> String {
    response.auth.as_ref().unwrap().client_token.expose_str().unwrap().to_owned()
}

/// The data of an answer.
pub(super) fn data(response: &Response) -> Value {
    Value::Object(response.expose_data().unwrap())
}

/// Status and text of a refusal.
pub(super) fn refusal(result: Result<Response>) -> (u16, String) {
    let error = result.err().unwrap();
    (error.status(), error.to_string())
}
