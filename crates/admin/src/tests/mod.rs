//! What the admin API promises, through its boundary: real SQLite, real vault, a fake data plane.
#![allow(clippy::unwrap_used)]

mod certificates;
mod config;
mod contract;
mod delegation;
mod documents;
mod guard;
mod inventory;
mod leaks;
mod leases;
mod model_cache;
mod model_dry_runs;
mod prompts;
mod resources;
mod seal;
mod secrets;
mod spend;
mod stores;
mod targets;

use crate::{
    AdminSettings, AdminState,
    ports::{AskedWhole, BoxFuture, CannotAsk, Dataplane, DataplaneStatus, ModelDryRunView, PublishError, Published},
};
use axum::{Router, body::Body, extract::ConnectInfo};
use credentialflow_model::{Actor, SecretValue, resource::Kind};
use credentialflow_store::Store;
use credentialflow_telemetry::{Recorder, RecorderSettings};
use credentialflow_vault::{SealInput, Vault};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};
use tower::ServiceExt;

/// A data plane that remembers what it was asked to publish.
#[derive(Default)]
pub(super) struct FakeDataplane {
    pub published: AtomicU64,
    pub stuck: AtomicBool,
    /// Calls that were asked about.
    pub asked: Mutex<Vec<AskedWhole>>,
}

impl Dataplane for FakeDataplane {
    fn publish(&self) -> BoxFuture<'_, Result<Published, PublishError>> {
        Box::pin(async {
            if self.stuck.load(SeqCst) {
                return Err(PublishError::NotAcknowledged { acknowledged: 1, workers: 2 });
            }
            Ok(Published {
                epoch: self.published.fetch_add(1, SeqCst) + 1,
                workers: 2,
                nodes: vec!["one".into()],
                lost: vec![],
            })
        })
    }
    fn status(&self) -> DataplaneStatus {
        DataplaneStatus { workers: 2, seq: u64::MAX, ..DataplaneStatus::default() }
    }
    fn authorities_problem(&self, _: Kind, path: &str) -> Option<String> {
        path.contains("missing").then(|| format!("{path}: not found"))
    }
    fn model_dry_run<'a>(
        &'a self,
        model: &'a str,
        call: AskedWhole,
    ) -> BoxFuture<'a, Result<ModelDryRunView, CannotAsk>> {
        self.asked.lock().unwrap().push(call);
        let told = json!({ "model": model, "serves": model, "dialect": "chat", "stream": false, "guardrails": [],
            "not_asked": [], "needs": [], "tokens": 2, "internal": false, "sticky": false, "workers": 1, "targets": [] });
        Box::pin(std::future::ready(match model {
            "away" => Err(CannotAsk::ServesNone),
            "odd" => Err(CannotAsk::Invalid("it is odd".into(), "even it out".into())),
            _ => Ok(serde_json::from_value(told).unwrap()),
        }))
    }
    fn stragglers<'a>(&'a self, _: &'a str, _: u32) -> BoxFuture<'a, Vec<crate::ports::Straggler>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn in_flight<'a>(&'a self, _: &'a str, _: u32) -> BoxFuture<'a, u64> {
        Box::pin(std::future::ready(3))
    }
}

/// One control plane in a directory of its own.
pub(super) struct Control {
    pub state: crate::AdminState,
    pub router: Router,
    pub token: String,
    pub dataplane: Arc<FakeDataplane>,
    pub vault: Vault,
    pub store: Store,
    pub watch: Arc<credentialflow_certificates::Watch>,
    pub recorder: Recorder,
    pub dir: tempfile::TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Control {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With other settings than the usual ones.
    pub(super) async fn start_with(change: impl FnOnce(&mut AdminSettings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("store.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        let seal = SealInput::KeyFile(dir.path().join("root.key"));
        let initialized = Vault::init(&store, &Actor::operator(), seal).await.unwrap();
        initialized.vault.maintain().await.unwrap();
        let recorder = Recorder::start(RecorderSettings::new(dir.path().join("calls"))).unwrap();
        let dataplane = Arc::new(FakeDataplane::default());
        let watch = Arc::<credentialflow_certificates::Watch>::default();
        let mut settings = AdminSettings { watch: watch.clone(), ..AdminSettings::default() };
        change(&mut settings);
        let state = AdminState::new(
            store.clone(),
            initialized.vault.clone(),
            recorder.telemetry(),
            dataplane.clone(),
            settings,
        );
        let token = initialized.admin_token.expose_str().unwrap().to_owned();
        let router = crate::router(state.clone());
        Self { state, router, token, dataplane, vault: initialized.vault, store, watch, recorder, dir }
    }

    /// Sends a request as it is.
    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 64 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Sends a request as the administrator.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<Value>, more: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1234))));
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, &[]).await
    }
    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body), &[]).await
    }
    pub(super) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body), &[]).await
    }

    /// Applies one text with these values.
    pub(super) async fn apply(&self, text: &str, values: Value) -> Answer {
        let body = json!({ "documents": [{ "file": "credentialflow.yaml", "text": text }], "values": values });
        self.post("/api/v1/config/apply", body).await
    }

    /// How many changes were committed.
    pub(super) async fn seq(&self) -> i64 {
        self.store.latest_change().await.unwrap()
    }
}

/// A whole small installation as a file.
pub(super) const FILE: &str = r#"
teams:
  - name: payments
credentials:
  - name: orders-token
    engine: static
    value: ${env:ORDERS_TOKEN}
  - name: made-here
    engine: generated
upstreams:
  - name: orders
    endpoints: ["http://127.0.0.1:9001"]
    inject: { bearer: orders-token }
routes:
  - name: orders
    match: { path: "/orders/*", methods: [GET, POST] }
    upstream: orders
    authenticate: [api_key]
applications:
  - name: checkout
    team: payments
    allow: { routes: [orders] }
keys:
  - name: checkout-live
    application: checkout
"#;

/// The value of `orders-token`.
pub(super) fn value(text: &str) -> Value {
    json!({ "orders-token": text })
}

pub(super) fn exposed(secret: &SecretValue) -> &str {
    secret.expose_str().unwrap()
}
