//! Orders at the small ACME server of the testkit, which checks every signature and really fetches the answers.

#![expect(clippy::unwrap_used, reason = "a test says no more than where it failed")]

use credentialflow_acme::{Answer, ExternalAccount, Failure, Http, Kept, Ledger, NotKept, Rule, obtain, suggestion};
use credentialflow_certificates::{Bundle, Certificate};
use credentialflow_model::SecretValue;
use credentialflow_testkit::acme::{Knobs, Server};
use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Keeps everything in memory, and answers challenges on a port.
#[derive(Default)]
struct Desk {
    account: Mutex<Option<String>>,
    order: Mutex<Option<String>>,
    answers: Arc<Mutex<Vec<Answer>>>,
    /// Nothing more can be kept.
    full: AtomicBool,
}

impl Desk {
    fn place(&self, what: Kept) -> &Mutex<Option<String>> {
        match what {
            Kept::Account => &self.account,
            Kept::Order => &self.order,
        }
    }

    /// The port at which the answers are found.
    async fn open(&self) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = self.answers.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0u8; 2048];
                let n = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..n]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                let token = path.strip_prefix("/.well-known/acme-challenge/").unwrap_or_default();
                let found = answers.lock().unwrap().iter().find(|a| a.token == token).map(|a| a.text.clone());
                let (status, body) = found.map_or(("404 Not Found", String::new()), |text| ("200 OK", text));
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }
}

impl Ledger for Desk {
    async fn read(&self, what: Kept) -> Result<Option<SecretValue>, NotKept> {
        Ok(self.place(what).lock().unwrap().clone().map(SecretValue::from))
    }

    async fn keep(&self, what: Kept, value: SecretValue) -> Result<(), NotKept> {
        if self.full.load(Relaxed) {
            return Err(NotKept("the database is away".into()));
        }
        *self.place(what).lock().unwrap() = value.expose_str().map(str::to_owned);
        Ok(())
    }

    async fn forget(&self, what: Kept) -> Result<(), NotKept> {
        *self.place(what).lock().unwrap() = None;
        Ok(())
    }

    async fn publish(&self, answers: Vec<Answer>) -> Result<(), NotKept> {
        *self.answers.lock().unwrap() = answers;
        Ok(())
    }
}

struct Setting {
    server: Server,
    desk: Desk,
    rule: Rule,
}

impl Setting {
    async fn new(tls: bool) -> Self {
        let server = Server::start(tls).await.unwrap();
        let desk = Desk::default();
        server.set(Knobs { ports: Some(vec![desk.open().await]), ..Knobs::default() });
        let rule = Rule {
            directory: server.directory(),
            contact: vec!["mailto:ops@example.com".into()],
            names: vec!["api.example.com".into(), "www.example.com".into()],
            external: None,
            authorities: tls.then(|| server.authority().pem().to_owned()),
            private_hosts: Default::default(),
        };
        Self { server, desk, rule }
    }

    fn http(&self) -> Http {
        Http::new(&self.rule).unwrap()
    }

    async fn obtain(&self) -> Result<SecretValue, Failure> {
        obtain(&self.rule, &self.http(), &self.desk, None).await
    }

    /// What is cut off after a moment.
    async fn cut_off(&self, after: impl Future<Output = ()>) {
        tokio::select! {
            done = self.obtain() => panic!("done: {done:?}", done = done.map(drop)),
            () = after => {}
        }
    }

    async fn until(&self, condition: impl Fn(&serde_json::Value) -> bool) {
        let begun = std::time::Instant::now();
        while !condition(&self.server.stats()) {
            assert!(begun.elapsed() < Duration::from_secs(120), "{}", self.server.stats());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn orders(&self) -> usize {
        self.server.stats()["orders"].as_array().unwrap().len()
    }
}

fn knobs() -> Knobs {
    Knobs::default()
}

#[tokio::test]
async fn a_certificate_is_issued_and_the_account_is_used_again() {
    let mut at = Setting::new(true).await;
    at.server.set(Knobs { bad_nonces: Some(1), ..knobs() });
    let value = at.obtain().await.unwrap();
    let bundle = Bundle::read(&value).unwrap();
    let leaf = Certificate::parse(bundle.leaf()).unwrap();
    assert_eq!(leaf.names, ["api.example.com", "www.example.com"]);
    assert_eq!((bundle.chain().len(), leaf.issuer.as_str()), (2, "CN=Test authority"));
    assert!(value.expose_str().unwrap().contains("PRIVATE KEY"));
    let stats = at.server.stats();
    assert_eq!((stats["looked"].as_u64(), stats["refused_nonces"].as_u64()), (Some(2), Some(1)), "{stats}");
    assert_eq!(stats["accounts"][0]["contact"][0], "mailto:ops@example.com");
    // The next one is another order of the same account, which may be written to elsewhere.
    at.desk.forget(Kept::Order).await.unwrap();
    at.rule.contact = vec!["mailto:new@example.com".into()];
    at.obtain().await.unwrap();
    let stats = at.server.stats();
    assert_eq!((stats["accounts"].as_array().unwrap().len(), at.orders()), (1, 2), "{stats}");
    assert_eq!(stats["accounts"][0]["contact"][0], "mailto:new@example.com");
}

#[tokio::test]
async fn an_order_that_was_cut_off_goes_on_with_its_own_key() {
    let at = Setting::new(false).await;
    at.server.set(Knobs { hold_validation: Some(true), ..knobs() });
    at.cut_off(at.until(|_| at.desk.order.lock().unwrap().is_some())).await;
    let kept = at.desk.order.lock().unwrap().clone().unwrap();
    at.server.set(Knobs { hold_validation: Some(false), hold_issuing: Some(true), ..knobs() });
    at.cut_off(at.until(|stats| stats["orders"][0]["status"] == "processing")).await;
    at.server.set(Knobs { hold_issuing: Some(false), ..knobs() });
    let value = at.obtain().await.unwrap();
    assert_eq!((at.orders(), at.desk.order.lock().unwrap().clone()), (1, Some(kept.clone())));
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    assert!(value.expose_str().unwrap().ends_with(kept["key"].as_str().unwrap()));
}

#[tokio::test]
async fn other_names_are_another_order() {
    let mut at = Setting::new(false).await;
    at.server.set(Knobs { hold_validation: Some(true), ..knobs() });
    at.cut_off(at.until(|_| at.desk.order.lock().unwrap().is_some())).await;
    at.server.set(Knobs { hold_validation: Some(false), ..knobs() });
    at.rule.names = vec!["other.example.com".into()];
    let value = at.obtain().await.unwrap();
    let leaf = Certificate::parse(Bundle::read(&value).unwrap().leaf()).unwrap();
    assert_eq!((leaf.names, at.orders()), (vec!["other.example.com".to_owned()], 2));
}

#[tokio::test]
async fn a_challenge_that_fails_is_told_by_name_and_ends_its_order() {
    let at = Setting::new(false).await;
    let nowhere = credentialflow_testkit::place::Place::take();
    at.server.set(Knobs { ports: Some(vec![nowhere.port()]), ..knobs() });
    let failure = at.obtain().await.unwrap_err();
    assert!(failure.judged && failure.words.contains("api.example.com: port "), "{failure}");
    assert!(failure.words.contains("(unauthorized)"), "{failure}");
    assert!(at.desk.order.lock().unwrap().is_none());
    at.server.set(Knobs { ports: Some(vec![at.desk.open().await]), ..knobs() });
    at.obtain().await.unwrap();
}

#[tokio::test]
async fn every_place_the_server_looks_at_has_to_answer() {
    let at = Setting::new(false).await;
    let (one, other) = (at.desk.open().await, at.desk.open().await);
    at.server.set(Knobs { ports: Some(vec![one, other]), ..knobs() });
    at.obtain().await.unwrap();
}

#[tokio::test]
async fn what_the_server_refuses_or_cannot_do_is_told_apart() {
    let at = Setting::new(false).await;
    at.server.set(Knobs { rate_limits: Some((1, 120)), ..knobs() });
    let refused = at.obtain().await.unwrap_err();
    assert_eq!((refused.judged, refused.wait), (true, Some(Duration::from_secs(120))), "{refused}");
    assert_eq!(refused.words, "too many orders (rateLimited)");
    at.server.set(Knobs { outages: Some(1), ..knobs() });
    let away = at.obtain().await.unwrap_err();
    assert!(!away.judged && away.words.contains("503"), "{away}");
    at.server.set(Knobs { wrong_key: Some(true), ..knobs() });
    let wrong = at.obtain().await.unwrap_err();
    assert!(wrong.judged && wrong.words.contains("it is for another key"), "{wrong}");
    at.server.set(Knobs { wrong_key: Some(false), ..knobs() });
    at.obtain().await.unwrap();
}

#[tokio::test]
async fn an_order_goes_on_after_the_server_was_out_of_order() {
    let at = Setting::new(false).await;
    at.server.set(Knobs { hold_issuing: Some(true), ..knobs() });
    let (server, stats) = (&at.server, || at.server.stats());
    let outage = async {
        at.until(|stats| stats["orders"][0]["status"] == "processing").await;
        server.set(Knobs { outages: Some(1), hold_issuing: Some(false), ..knobs() });
    };
    let (failed, ()) = tokio::join!(at.obtain(), outage);
    assert!(!failed.unwrap_err().judged && at.desk.order.lock().unwrap().is_some());
    at.obtain().await.unwrap();
    assert_eq!((at.orders(), stats()["issued"].as_u64()), (1, Some(1)));
}

#[tokio::test]
async fn an_account_the_server_forgot_is_made_anew() {
    let at = Setting::new(false).await;
    at.obtain().await.unwrap();
    at.desk.forget(Kept::Order).await.unwrap();
    at.server.set(Knobs { forget_accounts: Some(true), ..knobs() });
    let failure = at.obtain().await.unwrap_err();
    assert!(failure.words.contains("does not know the account"), "{failure}");
    at.obtain().await.unwrap();
    assert_eq!(at.server.stats()["accounts"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_account_elsewhere_is_bound() {
    let mut at = Setting::new(false).await;
    let key = "c2l4dGVlbi1ieXRlcy1vci1tb3Jl";
    at.server.set(Knobs { external: Some(("kid-7".into(), key.into())), ..knobs() });
    let failure = at.obtain().await.unwrap_err();
    assert!(failure.words.contains("externalAccountRequired"), "{failure}");
    let read = |text: String| ExternalAccount::read(&SecretValue::from(text)).unwrap();
    at.rule.external = Some(read("kid-7 YW5vdGhlci1rZXktb2YtMTYtYnl0ZXM".into()));
    assert!(at.obtain().await.unwrap_err().words.contains("does not hold"));
    at.rule.external = Some(read(format!("kid-7 {key}")));
    at.obtain().await.unwrap();
    assert_eq!(at.server.stats()["accounts"][0]["external"], "kid-7");
}

#[tokio::test]
async fn a_renewal_says_what_it_replaces_where_the_server_wants_to_know() {
    let at = Setting::new(false).await;
    let first = at.obtain().await.unwrap();
    let leaf = Bundle::read(&first).unwrap().leaf().clone();
    assert_eq!(suggestion(&at.rule, &at.http(), &at.desk, &leaf).await.unwrap(), None);
    at.server.set(Knobs { suggest: Some((-10, 3600)), ..knobs() });
    let told = suggestion(&at.rule, &at.http(), &at.desk, &leaf).await.unwrap().unwrap();
    assert_eq!(told.window.1.secs() - told.window.0.secs(), 3610);
    at.desk.forget(Kept::Order).await.unwrap();
    obtain(&at.rule, &at.http(), &at.desk, Some(&leaf)).await.unwrap();
    let stats = at.server.stats();
    assert!(stats["orders"][1]["replaces"].as_str().is_some_and(|id| id.contains('.')), "{stats}");
    // A server without the extension is not bothered with it.
    let other = Setting::new(false).await;
    obtain(&other.rule, &other.http(), &other.desk, Some(&leaf)).await.unwrap();
    assert_eq!(other.server.stats()["orders"][0]["replaces"], serde_json::Value::Null);
}

#[tokio::test]
async fn nothing_is_answered_that_could_not_be_kept() {
    let at = Setting::new(false).await;
    at.obtain().await.unwrap();
    at.desk.forget(Kept::Order).await.unwrap();
    at.desk.full.store(true, Relaxed);
    let failure = at.obtain().await.unwrap_err();
    assert_eq!((failure.judged, failure.words.as_str()), (false, "the database is away"));
    assert_eq!(at.server.stats()["looked"], 2, "only the first order's names were looked for");
}

#[tokio::test]
async fn the_server_is_believed_and_reached_only_as_told() {
    let mut at = Setting::new(true).await;
    at.rule.authorities = None;
    let failure = at.obtain().await.unwrap_err();
    assert!(!failure.judged && failure.words.contains("cannot be reached"), "{failure}");
    at.rule.authorities = Some("no certificate".into());
    assert!(Http::new(&at.rule).is_err());
    at.rule.authorities = None;
    at.rule.directory = "https://169.254.169.254/directory".into();
    let failure = at.obtain().await.unwrap_err();
    assert!(failure.words.contains("never asked"), "{failure}");
}
