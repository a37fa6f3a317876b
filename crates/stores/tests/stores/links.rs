//! Links between a real store and vault of ours and stores that are files or played.

use crate::{Played, answer, json_of, play};
use credentialflow_model::{
    Actor, Name, SecretValue,
    lifecycle::VersionState,
    resource::{Credential, Kind},
};
use credentialflow_store::{AuditFilter, Expect, LinkDirection, Store};
use credentialflow_stores::Links;
use credentialflow_testkit::{upstream::FakeUpstream, wire::Message};
use credentialflow_vault::{SealInput, Vault};
use serde_json::{Value, json};
use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::sync::Notify;

struct World {
    dir: TempDir,
    store: Store,
    vault: Vault,
    links: Links,
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("files")).unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("state.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        let input = SealInput::Environment(SecretValue::from("a passphrase of a test"));
        let vault = Vault::init(&store, &Actor::operator(), input).await.unwrap().vault;
        let links = Links::new(store.clone(), vault.clone(), Some(dir.path().join("files")));
        let world = Self { dir, store, vault, links };
        world
            .declare(Kind::Stores, json!({ "name": "disk", "kind": "files", "address": "apps", "refresh": "1s" }))
            .await;
        world
    }

    async fn declare(&self, kind: Kind, body: Value) {
        let mut tx = self.store.begin(&Actor::operator()).await.unwrap();
        let of = name(body["name"].as_str().unwrap());
        tx.put_resource(kind, &of, &body.to_string(), Expect::Anything).await.unwrap();
        tx.audit("test.declare", "test", json!({}));
        tx.commit().await.unwrap();
    }

    /// Declares a credential and gives it a value, in use at once.
    async fn credential(&self, body: Value, value: &str) {
        self.declare(Kind::Credentials, body.clone()).await;
        self.give(body, value).await;
    }

    async fn give(&self, body: Value, value: &str) {
        let credential: Credential = serde_json::from_value(body).unwrap();
        let mut tx = self.store.begin(&Actor::operator()).await.unwrap();
        self.vault.put_value_in(&mut tx, &credential, SecretValue::from(value)).await.unwrap();
        tx.audit("test.give", "test", json!({}));
        tx.commit().await.unwrap();
    }

    fn file(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.dir.path().join("files/apps").join(path)).ok()
    }

    fn put_file(&self, path: &str, text: &str) {
        let path = self.dir.path().join("files/apps").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    async fn value(&self, credential: &str) -> Option<String> {
        let value = self.vault.current_value(&name(credential)).await.ok()?;
        value.expose_str().map(str::to_owned)
    }

    async fn error(&self, credential: &str) -> Option<String> {
        self.store.links_of(credential).await.unwrap().into_iter().find_map(|row| row.error)
    }

    /// Runs the links until something holds.
    async fn until<F: Future<Output = bool>>(&self, what: &str, mut holds: impl FnMut() -> F) {
        let reached = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let reached = async {
            tokio::time::timeout(Duration::from_secs(120), reached).await.unwrap_or_else(|_| panic!("{what}"));
        };
        self.links.run(reached).await;
    }

    async fn actions(&self, credential: &str) -> Vec<(String, String)> {
        let filter = AuditFilter { subject: Some(format!("credentials/{credential}")), ..AuditFilter::default() };
        let events = self.store.audit_events(0, 1000, &filter).await.unwrap();
        let told = events.iter().filter_map(|e| Some((e.action.clone(), e.detail["outcome"].as_str()?.to_owned())));
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    }
}

fn synced(places: &[&str]) -> Value {
    let sync: Vec<Value> =
        places.iter().map(|p| p.split_once('/').unwrap()).map(|(s, p)| json!({ "store": s, "path": p })).collect();
    json!({ "name": "orders", "engine": "static", "sync": sync })
}

fn sourced() -> Value {
    json!({ "name": "orders", "engine": "static", "value": "${store:disk/token}" })
}

#[tokio::test]
async fn a_value_is_read_kept_and_read_again() {
    let world = World::new().await;
    world.declare(Kind::Credentials, sourced()).await;
    // Nothing there yet: told, and tried again.
    world.until("no error is stored", || async { world.error("orders").await.is_some() }).await;
    assert_eq!(world.error("orders").await.unwrap(), "the store has no such secret");
    assert_eq!(world.store.failing_links(10).await.unwrap().len(), 1);
    world.put_file("token", "one\n");
    world.until("no value is read", || async { world.value("orders").await.is_some() }).await;
    assert_eq!(world.value("orders").await.unwrap(), "one");
    assert_eq!(world.error("orders").await, None);
    // Another value begins a rotation, by itself and within the store's period.
    world.put_file("token", "two\n");
    world.until("no rotation begins", || async { !world.store.rotations("orders", 1).await.unwrap().is_empty() }).await;
    // Gone from the store, the value stays.
    std::fs::remove_file(world.dir.path().join("files/apps/token")).unwrap();
    let reports = world.links.refresh(&Actor::operator(), &name("orders")).await.unwrap();
    assert_eq!(reports[0].error.as_deref(), Some("the store has no such secret"));
    assert_eq!(world.value("orders").await.unwrap(), "one");
    let actions = world.actions("orders").await;
    for outcome in ["failed", "first", "rotating"] {
        assert!(actions.contains(&("credential.read_source".to_owned(), outcome.to_owned())), "{actions:?}");
    }
}

#[tokio::test]
async fn a_value_that_was_revoked_is_not_read_back() {
    let world = World::new().await;
    world.put_file("token", "leaked");
    world.declare(Kind::Credentials, sourced()).await;
    world.until("no value is read", || async { world.value("orders").await.is_some() }).await;
    world.vault.revoke_credential(&Actor::operator(), &name("orders"), None).await.unwrap();
    let reports = world.links.refresh(&Actor::operator(), &name("orders")).await.unwrap();
    assert_eq!(reports[0].error.as_deref(), Some("the store's value is version 1, which was revoked"));
    assert_eq!(world.value("orders").await, None);
    world.put_file("token", "fresh");
    world.links.refresh(&Actor::operator(), &name("orders")).await.unwrap();
    assert_eq!(world.value("orders").await.unwrap(), "fresh");
}

#[tokio::test]
async fn a_stores_token_is_renewed_although_nothing_is_read_there() {
    let world = World::new().await;
    let renewals = Arc::new(Mutex::new(0));
    let server = play(&renewals, |renewals, request| {
        assert_eq!(request.target(), "/v1/auth/token/renew-self");
        *renewals += 1;
        answer(200, json!({ "auth": { "lease_duration": 2, "renewable": true } }))
    })
    .await;
    world.credential(json!({ "name": "bao", "engine": "static" }), "a-token").await;
    let store = json!({ "name": "bao", "kind": "vault", "address": server.url(), "credential": "bao" });
    world.declare(Kind::Stores, store).await;
    // The other store has nothing to renew and holds nothing up.
    world.until("it is not renewed again and again", || async { *renewals.lock().unwrap() >= 3 }).await;
}

/// A key-value store that answers only while it is let.
#[derive(Default)]
struct Slow {
    open: bool,
    value: Option<String>,
    writes: u32,
}

fn serve(slow: &mut Slow, request: &Message) -> Played {
    if !slow.open {
        return answer(503, json!({ "errors": ["Vault is sealed"] }));
    }
    match request.method() {
        // As for a root token, which does not end.
        _ if request.target() == "/v1/auth/token/renew-self" => {
            answer(400, json!({ "errors": ["lease is not renewable"] }))
        }
        "GET" if slow.value.is_none() => answer(404, json!({ "errors": [] })),
        "GET" => {
            answer(200, json!({ "data": { "data": { "value": slow.value }, "metadata": { "version": slow.writes } } }))
        }
        _ => {
            slow.writes += 1;
            slow.value = json_of(request)["data"]["value"].as_str().map(str::to_owned);
            answer(200, json!({ "data": { "version": slow.writes } }))
        }
    }
}

#[tokio::test]
async fn a_destination_that_is_away_holds_up_no_other_and_is_waited_for() {
    let world = World::new().await;
    let state = Arc::new(Mutex::new(Slow::default()));
    let server = play(&state, serve).await;
    world.credential(json!({ "name": "token", "engine": "static" }), "a-token").await;
    let spec = json!({ "name": "bao", "kind": "vault", "address": server.url(), "credential": "token" });
    world.declare(Kind::Stores, spec.clone()).await;
    world.credential(synced(&["bao/apps/orders", "disk/orders"]), "one").await;
    // While it is tried again, it is not known whether the version has arrived.
    let away = ["bao/apps/orders (the store is busy: it answered 503: Vault is sealed)"];
    world
        .until("the reachable place is not written", || async {
            world.links.lacking(&name("orders"), 1).await == away && world.error("orders").await.is_some()
        })
        .await;
    assert_eq!(world.file("orders").unwrap(), "one");
    state.lock().unwrap().open = true;
    // A change of the store's declaration lets it be tried at once.
    let mut changed = spec;
    changed["description"] = json!("open now");
    world.declare(Kind::Stores, changed).await;
    world
        .until("the other place is not written", || async { world.links.lacking(&name("orders"), 1).await.is_empty() })
        .await;
    assert_eq!(state.lock().unwrap().value.as_deref(), Some("one"));
    // What holds it already is not written again; what somebody changed is, when asked for.
    assert_eq!(state.lock().unwrap().writes, 1);
    world.links.refresh(&Actor::operator(), &name("orders")).await.unwrap();
    assert_eq!(state.lock().unwrap().writes, 1);
    state.lock().unwrap().value = Some("changed by hand".to_owned());
    world.links.refresh(&Actor::operator(), &name("orders")).await.unwrap();
    assert_eq!(state.lock().unwrap().value.as_deref(), Some("one"));
    let actions = world.actions("orders").await;
    for outcome in ["failed", "unchanged", "written"] {
        assert!(actions.contains(&("credential.sync".to_owned(), outcome.to_owned())), "{actions:?}");
    }
}

#[tokio::test]
async fn a_store_is_tried_at_once_when_what_lets_us_in_gets_a_value() {
    let world = World::new().await;
    let state = Arc::new(Mutex::new(Slow { open: true, value: Some("theirs".to_owned()), ..Slow::default() }));
    let server = play(&state, serve).await;
    let token = json!({ "name": "token", "engine": "static" });
    world.declare(Kind::Credentials, token.clone()).await;
    let spec = json!({ "name": "bao", "kind": "vault", "address": server.url(), "credential": "token" });
    world.declare(Kind::Stores, spec).await;
    let sourced = json!({ "name": "orders", "engine": "static", "value": "${store:bao/apps/orders}" });
    world.declare(Kind::Credentials, sourced).await;
    // Four attempts: the next one is eight seconds away.
    let tried = || async { world.store.links_of("orders").await.unwrap().iter().any(|row| row.attempts >= 4) };
    world.until("not tried", tried).await;
    assert_eq!(world.error("orders").await.unwrap(), "its credential token has no value");
    let paused = world.store.links_of("orders").await.unwrap()[0].next_attempt.unwrap();
    let give = async {
        world.give(token, "a-token").await;
        while world.value("orders").await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    world.links.run(give).await;
    assert_eq!(world.value("orders").await.unwrap(), "theirs");
    let succeeded = world.store.links_of("orders").await.unwrap()[0].succeeded.unwrap();
    assert!(succeeded < paused, "it waits for its pause to end");
}

#[tokio::test]
async fn places_that_are_declared_no_more_are_forgotten_and_left_alone() {
    let world = World::new().await;
    world.credential(synced(&["disk/a", "disk/b"]), "one").await;
    world.until("not written", || async { world.links.lacking(&name("orders"), 1).await.is_empty() }).await;
    world.declare(Kind::Credentials, synced(&["disk/a"])).await;
    world.until("not forgotten", || async { world.store.links_of("orders").await.unwrap().len() == 1 }).await;
    assert_eq!(world.file("b").unwrap(), "one", "what was written stays");
    assert!(world.actions("orders").await.iter().all(|(_, outcome)| outcome != "failed"));
    let rows = world.store.links_of("orders").await.unwrap();
    assert_eq!((rows[0].direction, rows[0].version), (LinkDirection::Write, Some(1)));
}

#[tokio::test]
async fn each_version_that_comes_into_use_is_written() {
    let world = World::new().await;
    let body = synced(&["disk/orders"]);
    world.credential(body.clone(), "one").await;
    world.until("not written", || async { world.file("orders").is_some() }).await;
    world.give(body, "two").await;
    // The new one is not in use yet, and so is not written.
    assert!(!world.links.lacking(&name("orders"), 2).await.is_empty());
    let mut tx = world.store.begin(&Actor::operator()).await.unwrap();
    for mut row in tx.credential_versions("orders").await.unwrap() {
        row.state = if row.version == 1 { VersionState::Previous } else { VersionState::Current };
        tx.update_credential_version(&row).await.unwrap();
    }
    tx.audit("test.promote", "test", json!({}));
    tx.commit().await.unwrap();
    world.until("not written", || async { world.links.lacking(&name("orders"), 2).await.is_empty() }).await;
    assert_eq!(world.file("orders").unwrap(), "two");
}

#[tokio::test]
async fn what_brings_nothing_new_is_noted_and_not_told_again() {
    let world = World::new().await;
    world.put_file("token", "one\n");
    world.declare(Kind::Credentials, sourced()).await;
    world.until("no value is read", || async { world.value("orders").await.is_some() }).await;
    let times = |outcome: &'static str| {
        let world = &world;
        async move { world.actions("orders").await.iter().filter(|(_, told)| told == outcome).count() }
    };
    let succeeded = || async { world.store.links_of("orders").await.unwrap()[0].succeeded };
    let first = succeeded().await;
    world.until("not read again", || async { succeeded().await > first }).await;
    assert_eq!(times("unchanged").await, 0);
    // Nobody finishes this rotation, so the next value waits: told once, however often it is tried.
    world.put_file("token", "two\n");
    world.until("no rotation begins", || async { times("rotating").await == 1 }).await;
    world.put_file("token", "three\n");
    world.until("it does not wait", || async { times("postponed").await == 1 }).await;
    let waited = succeeded().await;
    world.until("it does not wait on", || async { succeeded().await > waited }).await;
    assert_eq!((times("postponed").await, world.error("orders").await), (1, None));
    // A person who asks is answered, and that is told.
    world.links.refresh(&Actor::operator(), &name("orders")).await.unwrap();
    assert_eq!(times("postponed").await, 2);
}

#[tokio::test]
async fn a_refresh_that_failed_is_made_good_by_itself() {
    let world = World::new().await;
    let state = Arc::new(Mutex::new(Slow { open: true, ..Slow::default() }));
    let server = play(&state, serve).await;
    world.credential(json!({ "name": "token", "engine": "static" }), "a-token").await;
    let spec = json!({ "name": "bao", "kind": "vault", "address": server.url(), "credential": "token" });
    world.declare(Kind::Stores, spec).await;
    world.credential(synced(&["bao/apps/orders"]), "one").await;
    world.until("not written", || async { world.links.lacking(&name("orders"), 1).await.is_empty() }).await;
    state.lock().unwrap().open = false;
    let reports = world.links.refresh(&Actor::operator(), &name("orders")).await.unwrap();
    assert!(reports[0].error.is_some() && world.error("orders").await.is_some());
    // What failed may have left anything there.
    {
        let mut slow = state.lock().unwrap();
        (slow.open, slow.value) = (true, Some("an older one".to_owned()));
    }
    world.until("it fails for ever", || async { world.error("orders").await.is_none() }).await;
    assert_eq!(state.lock().unwrap().value.as_deref(), Some("one"));
}

#[tokio::test]
async fn a_file_of_authorities_without_an_end_is_refused() {
    let world = World::new().await;
    world.credential(json!({ "name": "token", "engine": "static" }), "a-token").await;
    let spec = json!({ "name": "bao", "kind": "vault", "address": "https://127.0.0.1:1", "credential": "token",
        "tls": { "ca_file": "/dev/zero" } });
    world.declare(Kind::Stores, spec).await;
    world.declare(Kind::Credentials, json!({ "name": "orders", "engine": "static", "value": "${store:bao/a}" })).await;
    let reports = world.links.refresh(&Actor::operator(), &name("orders")).await.unwrap();
    assert_eq!(reports[0].error.as_deref(), Some("the file with the authorities is no regular file"));
}

/// A key-value store whose writes arrive, and are answered when they are let.
struct Held {
    server: FakeUpstream,
    arrived: Arc<Notify>,
    go: Arc<Notify>,
    value: Arc<Mutex<Option<String>>>,
}

async fn held() -> Held {
    let (arrived, go, value) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Mutex::new(None)));
    let (here, wait, stored) = (arrived.clone(), go.clone(), value.clone());
    let server = FakeUpstream::start(move |mut peer| {
        let (here, wait, stored) = (here.clone(), wait.clone(), stored.clone());
        async move {
            while let Some(request) = peer.request().await {
                let (status, body) = match request.method() {
                    "GET" => (404, json!({ "errors": [] })),
                    _ if request.target().ends_with("renew-self") => (400, json!({ "errors": ["not renewable"] })),
                    _ => {
                        here.notify_one();
                        wait.notified().await;
                        *stored.lock().unwrap() = json_of(&request)["data"]["value"].as_str().map(str::to_owned);
                        (200, json!({ "data": { "version": 1 } }))
                    }
                };
                let body = body.to_string();
                peer.send(format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
            }
        }
    })
    .await;
    Held { server, arrived, go, value }
}

/// A world with a destination there, and the write of the first version under way.
async fn sending() -> (World, Held, tokio::task::JoinHandle<()>) {
    let (world, held) = (World::new().await, held().await);
    world.credential(json!({ "name": "token", "engine": "static" }), "a-token").await;
    let spec = json!({ "name": "bao", "kind": "vault", "address": held.server.url(), "credential": "token" });
    world.declare(Kind::Stores, spec).await;
    world.credential(synced(&["bao/apps/orders"]), "one").await;
    let links = world.links.clone();
    let writing = tokio::spawn(async move {
        links.refresh(&Actor::operator(), &name("orders")).await.unwrap();
    });
    held.arrived.notified().await;
    (world, held, writing)
}

fn sync(outcome: &str) -> (String, String) {
    ("credential.sync".to_owned(), outcome.to_owned())
}

#[tokio::test]
async fn what_is_revoked_while_it_is_written_is_told_as_outdated() {
    let (world, held, writing) = sending().await;
    // Told before it can have arrived.
    assert_eq!(world.actions("orders").await, [sync("begun")]);
    assert_eq!(world.error("orders").await.unwrap(), "version 1 was sent; whether it arrived is not known yet");
    assert_eq!(world.links.lacking(&name("orders"), 1).await.len(), 1);
    world.vault.revoke_credential(&Actor::operator(), &name("orders"), None).await.unwrap();
    held.go.notify_one();
    writing.await.unwrap();
    assert_eq!(world.actions("orders").await, [sync("begun"), sync("outdated")]);
    let row = &world.store.links_of("orders").await.unwrap()[0];
    assert_eq!((row.version, row.remote.as_deref(), row.error.as_deref()), (Some(1), Some("1"), None));
    assert_eq!(held.value.lock().unwrap().as_deref(), Some("one"));
    // The next one in use is written over it.
    world.give(synced(&["bao/apps/orders"]), "two").await;
    held.go.notify_one();
    world.until("not written over", || async { world.links.lacking(&name("orders"), 2).await.is_empty() }).await;
    assert_eq!(held.value.lock().unwrap().as_deref(), Some("two"));
}

#[tokio::test]
async fn a_write_that_is_cut_off_leaves_its_version_behind_and_is_done_again() {
    let (world, held, writing) = sending().await;
    writing.abort();
    assert!(writing.await.unwrap_err().is_cancelled());
    let row = &world.store.links_of("orders").await.unwrap()[0];
    assert_eq!((row.version, row.attempts, row.succeeded), (Some(1), 0, None));
    assert!(row.error.as_deref().unwrap().starts_with("version 1 was sent"), "{row:?}");
    assert_eq!(world.links.lacking(&name("orders"), 1).await.len(), 1);
    held.go.notify_one();
    held.go.notify_one();
    world
        .until("not written again", || async {
            held.go.notify_one();
            world.links.lacking(&name("orders"), 1).await.is_empty()
        })
        .await;
    assert_eq!(world.error("orders").await, None);
}

#[tokio::test]
async fn a_write_to_a_place_that_is_declared_no_more_is_told() {
    let (world, held, writing) = sending().await;
    world.declare(Kind::Credentials, synced(&["disk/orders"])).await;
    held.go.notify_one();
    writing.await.unwrap();
    assert!(world.actions("orders").await.contains(&sync("undeclared")));
}
