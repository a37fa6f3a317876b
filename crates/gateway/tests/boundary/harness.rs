//! A real gateway on loopback, configured by YAML as people write it, with its records in hand.

use credentialflow_gateway::{
    Gateway, Permit, Settings, Snapshot,
    gateway::Start,
    ports::{
        CertificateListener, ChallengeSource, CredentialSlot, CredentialSource, CredentialUnavailable, GuessListener,
        Journal, KeptRecord, Lender, ObjectKeeper, RecordSink, SecretListener, SentSecrets,
    },
    snapshot::Sources,
};
use credentialflow_model::{
    KeyId, KeyToken, OutcomeReason, ResourceSet, SecretValue, Timestamp, UsageRecord, resource::Key, usage::Cost,
};
use credentialflow_policy::{
    Account, ApiKey, Book, FailureThrottle, KeyExtras, KeyRecord, KeySecret, KeyTable, ParentKey, Peppers, Principal,
    RateTable, ThrottleSettings, ValueKey, ValueMarks,
};
pub use credentialflow_testkit::{
    place::Place,
    upstream::{FakeUpstream, connect},
    wire::{Io, Message, Wire, find},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    collections::VecDeque,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// The upstream credential of most tests.
pub const SECRET: &str = "sk-upstream-Zq7+/W4e1r9T=";
/// Longest wait for anything; a test that hangs fails.
const PATIENCE: Duration = Duration::from_secs(90);
/// An upstream's timeouts in most tests: none passes, also on a machine that is busy with other things.
const PATIENT: &str = "connect: 20s, response: 60s, idle: 60s";
/// Those of the tests that wait for them to pass.
const HASTY: &str = "connect: 1s, response: 1s, idle: 1s";
/// How long a head or a piece of a body may take where tests wait for it.
pub const HASTE: Duration = Duration::from_secs(1);

/// Waits for something that must happen.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

/// Waits until a condition that has no event of its own holds.
pub async fn until(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[derive(Default)]
pub struct Records {
    pub kept: Mutex<VecDeque<UsageRecord>>,
    arrived: Notify,
    /// All that a worker has ever kept for when the process is killed.
    pub journal: Arc<Mutex<Vec<UsageRecord>>>,
}

/// A worker's, which forgets nothing.
struct Keeping(Arc<Mutex<Vec<UsageRecord>>>);

impl Journal for Keeping {
    fn keep(&mut self, record: &UsageRecord) -> Option<KeptRecord> {
        self.0.lock().unwrap().push(record.clone());
        Some(KeptRecord { page: Arc::new(()), at: 0 })
    }
    fn strike(&mut self) {}
}

impl Records {
    /// What would be known of a call, had the process been killed instead.
    pub fn journaled(&self, record: &UsageRecord) -> Option<UsageRecord> {
        let all = self.journal.lock().unwrap();
        all.iter().rfind(|kept| kept.request_id == record.request_id).cloned()
    }
}

impl RecordSink for Records {
    fn take(&self, batch: Vec<UsageRecord>, _: Vec<KeptRecord>) {
        self.kept.lock().unwrap().extend(batch);
        self.arrived.notify_waiters();
    }
    fn journal(&self) -> Option<Box<dyn Journal>> {
        Some(Box::new(Keeping(self.journal.clone())))
    }
}

pub struct Credentials(Vec<(Arc<str>, u32, Option<SecretValue>)>);

impl CredentialSource for Credentials {
    fn slot(&self, name: &str) -> Option<CredentialSlot> {
        self.0.iter().position(|c| *c.0 == *name).map(|i| i as u32)
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn describe(&self, slot: CredentialSlot) -> Option<(&Arc<str>, u32)> {
        self.0.get(slot as usize).map(|c| (&c.0, c.1))
    }
    fn authority(&self, name: &str) -> Vec<CertificateDer<'static>> {
        let value = self.0.iter().find(|c| *c.0 == *name).and_then(|c| c.2.as_ref());
        value.map_or(vec![], |v| CertificateDer::pem_slice_iter(v.expose()).map(Result::unwrap).collect())
    }
    fn open<'a>(&'a self, _: &Permit, slot: CredentialSlot) -> Result<&'a SecretValue, CredentialUnavailable> {
        self.0.get(slot as usize).and_then(|c| c.2.as_ref()).ok_or(CredentialUnavailable)
    }
}

#[derive(Default)]
pub struct Guesses(pub AtomicUsize);

impl GuessListener for Guesses {
    fn guessing(&self, _: IpAddr, _: Option<KeyId>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Endpoints and the certificates they present, as told.
#[derive(Default)]
pub struct Presented(pub Mutex<Vec<(String, Vec<u8>)>>);

impl CertificateListener for Presented {
    fn presented(&self, endpoint: &str, certificate: &[u8]) {
        self.0.lock().unwrap().push((endpoint.to_owned(), certificate.to_vec()));
    }
}

/// Secrets of ours that stood in requests, as told.
#[derive(Default)]
pub struct Sent(pub Mutex<Vec<SentSecrets>>);

impl SecretListener for Sent {
    fn sent(&self, sent: SentSecrets) {
        self.0.lock().unwrap().push(sent);
    }
}

/// Lends nothing.
pub struct Nobody;

impl Lender for Nobody {
    fn borrow(&self, _: &Arc<Account>, _: i64) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        Box::pin(std::future::ready(false))
    }
    fn running_low(&self) {}
}

/// How a world differs from the usual one.
pub struct Setup {
    pub yaml: String,
    /// Name, version and value of every credential; an empty value cannot be opened.
    pub credentials: Vec<(&'static str, u32, &'static str)>,
    pub settings: Settings,
    pub throttle: ThrottleSettings,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub challenges: Option<Arc<dyn ChallengeSource>>,
    pub workers: usize,
    pub lender: Arc<dyn Lender>,
    pub objects: Option<Arc<dyn ObjectKeeper>>,
}

impl Setup {
    pub fn new(yaml: impl Into<String>) -> Self {
        Self {
            yaml: yaml.into(),
            credentials: vec![("c", 1, SECRET)],
            settings: Settings {
                head_timeout: Duration::from_secs(60),
                body_timeout: Duration::from_secs(60),
                drain: Duration::from_secs(60),
                ..Settings::default()
            },
            throttle: ThrottleSettings { per_source: 10_000, per_key: 10_000 },
            tls: None,
            challenges: None,
            workers: 2,
            lender: Arc::new(Nobody),
            objects: None,
        }
    }

    /// For tests that wait for timeouts of the gateway and of the upstream to pass.
    pub fn hasty(mut self) -> Self {
        (self.settings.head_timeout, self.settings.body_timeout) = (HASTE, HASTE);
        self.yaml = hasty(&self.yaml);
        self
    }

    pub fn start(self) -> World {
        World::start(self)
    }
}

/// The usual configuration: one route `/*` that asks for a key and injects credential `c`; the last
/// two arguments are more settings of the upstream and of the route.
pub fn usual(endpoints: &[String], upstream: &str, route: &str) -> String {
    let inject = if upstream.contains("inject:") { "" } else { ", inject: { bearer: c }" };
    let authenticate = if route.contains("authenticate:") { "" } else { ", authenticate: [api_key]" };
    let matches = if route.contains("match:") { "" } else { ", match: { path: /* }" };
    format!(
        "applications:
  - {{ name: app, allow: {{ routes: [r] }} }}
keys:
  - {{ name: k, application: app }}
  - {{ name: k2, application: app }}
credentials:
  - {{ name: c, engine: static }}
upstreams:
  - {{ name: u, endpoints: {endpoints:?}, timeouts: {{ {PATIENT} }}{inject}{upstream} }}
routes:
  - {{ name: r, upstream: u{authenticate}{matches}{route} }}
"
    )
}

/// The usual configuration, with timeouts that tests can wait for.
pub fn hasty(yaml: &str) -> String {
    yaml.replace(PATIENT, HASTY)
}

pub struct World {
    pub gateway: Gateway,
    pub records: Arc<Records>,
    pub guesses: Arc<Guesses>,
    pub presented: Arc<Presented>,
    pub sent: Arc<Sent>,
    pub book: Arc<Book>,
    rates: Arc<RateTable>,
    epoch: AtomicUsize,
}

impl World {
    /// The usual world before one upstream.
    pub fn before(upstream: &FakeUpstream) -> Self {
        Setup::new(usual(&[upstream.url()], "", "")).start()
    }

    fn start(setup: Setup) -> Self {
        let rates = Arc::new(RateTable::new(4096, 7));
        let records = Arc::new(Records::default());
        let guesses = Arc::new(Guesses::default());
        let presented = Arc::new(Presented::default());
        let sent = Arc::new(Sent::default());
        let book = Arc::<Book>::default();
        let snapshot = compile(1, &setup.yaml, &setup.credentials, &[], (&rates, &book));
        let gateway = Gateway::start(Start {
            address: ([127, 0, 0, 1], 0).into(),
            workers: setup.workers,
            settings: setup.settings,
            snapshot: Arc::new(snapshot),
            records: records.clone(),
            throttle: Arc::new(FailureThrottle::new(rates.clone(), setup.throttle)),
            guesses: guesses.clone(),
            certificates: presented.clone(),
            secrets: sent.clone(),
            lender: setup.lender,
            objects: setup.objects,
            challenges: setup.challenges,
            tls: setup.tls,
            seed: 42,
        })
        .unwrap();
        Self { gateway, records, guesses, presented, sent, book, rates, epoch: AtomicUsize::new(1) }
    }

    /// Puts another configuration into force, without the keys named.
    pub async fn install(&self, yaml: &str, credentials: &[(&'static str, u32, &'static str)], revoked: &[&str]) {
        let epoch = self.epoch.fetch_add(1, Relaxed) as u64 + 1;
        let snapshot = compile(epoch, yaml, credentials, revoked, (&self.rates, &self.book));
        let revoked = revoked.iter().map(|name| key_id(name)).collect();
        self.gateway.install(Arc::new(snapshot), revoked).await.unwrap();
    }

    pub async fn connect(&self) -> Wire {
        connect(self.gateway.address()).await.unwrap()
    }

    /// Sends bytes on a new connection and reads one answer.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Message {
        let mut wire = self.connect().await;
        wire.send(request).await.unwrap();
        within(wire.message()).await.expect("an answer")
    }

    /// Asks `GET path` with key `k` and more header lines, each ending in CRLF.
    pub async fn get(&self, path: &str, more: &str) -> Message {
        self.ask(get(path, more)).await
    }

    /// The next record. What it cost was kept before it was handed over.
    pub async fn record(&self) -> UsageRecord {
        let record = within(async {
            loop {
                // Asking makes the workers hand over what they have, without waiting for their next tick.
                self.gateway.in_flight("", 0).await;
                if let Some(record) = self.records.kept.lock().unwrap().pop_front() {
                    return record;
                }
                let _ = tokio::time::timeout(Duration::from_millis(10), self.records.arrived.notified()).await;
            }
        })
        .await;
        let charged = |record: &UsageRecord| record.model.as_ref().map(|model| (model.cost, model.budgets.clone()));
        if let Some((Some(Cost::Known(usd) | Cost::Estimated(usd)), _)) = charged(&record)
            && !usd.is_zero()
        {
            let kept = self.records.journaled(&record);
            assert_eq!(kept.as_ref().and_then(charged), charged(&record), "{record:?}");
        }
        record
    }

    /// The next record, which must have this outcome.
    pub async fn outcome(&self, expect: OutcomeReason) -> UsageRecord {
        let record = self.record().await;
        assert_eq!(record.outcome, expect, "{record:?}");
        record
    }

    /// The next records: so many, all served. Records come in batches, so asking for many at once is quick.
    pub async fn served(&self, count: usize) {
        for _ in 0..count {
            self.outcome(OutcomeReason::Served).await;
        }
    }

    /// Waits until nothing is running any more.
    pub async fn calm(&self) {
        until(|| self.gateway.load().1 == 0).await;
    }

    /// Shuts down and gives the records nobody asked for.
    pub async fn finish(self) -> Vec<UsageRecord> {
        assert_eq!(self.gateway.load().1, 0, "something still runs");
        within(self.gateway.shutdown()).await;
        let mut kept = self.records.kept.lock().unwrap();
        kept.drain(..).collect()
    }

    /// Shuts down; every request was asked about.
    pub async fn done(self) {
        self.calm().await;
        let rest = self.finish().await;
        assert!(rest.is_empty(), "more records than requests: {rest:?}");
    }
}

pub fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: gw\r\nx-api-key: {}\r\n{more}\r\n", key("k"))
}

/// Whether its cost is an estimate, and one that no budget paid.
pub fn is_estimated(model: &credentialflow_model::usage::ModelUse) -> bool {
    use credentialflow_model::usage::Cost;
    matches!(model.cost, Some(Cost::Estimated(usd)) if usd > Default::default()) && model.budgets.is_none()
}

pub fn post(path: &str, more: &str, body: &str) -> String {
    let length = body.len();
    let key = key("k");
    format!("POST {path} HTTP/1.1\r\nhost: gw\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n{more}\r\n{body}")
}

/// An answer with a length.
pub fn answer(status: u16, more: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{more}\r\n{body}", body.len())
}

pub fn key_id(name: &str) -> KeyId {
    KeyId::from_bits(name.bytes().fold(11, |h, b| h * 131 + u64::from(b)) << 20)
}

/// The key of this name, as its holder has it.
pub fn key(name: &str) -> String {
    let mut n = name.bytes().fold(3u8, |h, b| h.wrapping_mul(31).wrapping_add(b));
    let token = KeyToken::generate("cfk", "live", key_id(name), |b| {
        b.fill_with(|| {
            n = n.wrapping_mul(37).wrapping_add(11);
            n
        })
    });
    token.unwrap().expose_str().unwrap().to_owned()
}

fn peppers() -> Peppers {
    Peppers::new([(1, &SecretValue::from("a pepper of tests"))])
}

/// What verifies keys, and whoever calls with the key of this name, which is this application's.
pub fn caller(name: &str, application: &str) -> (ApiKey, Principal) {
    let api_key = ApiKey::new(Arc::new(peppers()));
    let table = keys_of(name, application);
    let principal = api_key.authenticate(key(name).as_bytes(), &table, Timestamp::from_secs(1)).unwrap();
    (api_key, principal)
}

/// The key of this name alone, which is this application's.
pub fn keys_of(name: &str, application: &str) -> KeyTable {
    let declared = serde_json::from_value(serde_json::json!({ "name": name, "application": application })).unwrap();
    KeyTable::from_records([record_of(&declared, &Arc::default())])
}

fn record_of(declared: &Key, book: &Arc<Book>) -> KeyRecord {
    let name = declared.name.as_str();
    let text = key(name);
    let token = KeyToken::parse(text.as_bytes()).unwrap();
    let hash = peppers().hash(1, token.expose_secret()).unwrap();
    KeyRecord {
        id: token.id,
        application: declared.application.clone(),
        current: KeySecret { version: 1, hash, pepper: 1, retire_at: None },
        previous: None,
        expires: declared.expires,
        not_before: declared.not_before,
        extras: match &declared.parent {
            Some(parent) => {
                let parent = ParentKey { key: key_id(parent.as_str()), version: 1 };
                Some(KeyExtras::delegated(KeyExtras::of(declared, book), parent))
            }
            None => KeyExtras::of(declared, book),
        },
    }
}

fn compile(
    epoch: u64,
    yaml: &str,
    credentials: &[(&'static str, u32, &'static str)],
    revoked: &[&str],
    (rates, book): (&Arc<RateTable>, &Arc<Book>),
) -> Snapshot {
    let (set, _, problems): (ResourceSet, _, _) = credentialflow_model::config::read("test.yaml", yaml);
    assert!(problems.0.is_empty(), "{problems:?}\n{yaml}");
    let keys = set.keys.iter().filter(|k| !revoked.contains(&k.name.as_str())).map(|key| record_of(key, book));
    let value = |v: &str| (!v.is_empty()).then(|| SecretValue::from(v));
    let marking = Arc::new(ValueKey::new(&[7; 64]));
    let marks = credentials.iter().filter_map(|(n, v, s)| Some(((*n).into(), *v, marking.mark(s.as_bytes())?)));
    let values = Arc::new(ValueMarks::new(marking.clone(), marks));
    let sources = Sources {
        models_written: Default::default(),
        keys: KeyTable::from_records(keys),
        api_key: ApiKey::new(Arc::new(peppers())),
        credentials: Arc::new(Credentials(credentials.iter().map(|(n, v, s)| ((*n).into(), *v, value(s))).collect())),
        values,
        rates: rates.clone(),
        budgets: book.clone(),
        trust: Arc::default(),
        sandbox: None,
        max_model_body: 1 << 20,
    };
    Snapshot::compile(epoch, &set, sources)
}
