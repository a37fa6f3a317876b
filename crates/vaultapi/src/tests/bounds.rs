//! What strangers can make the server do: little, and seldom.

use super::*;
use credentialflow_model::{Actor, SecretValue};
use credentialflow_vault::{NewSeal, SealInput, Vault, seal::throttle::MAX_FAILURES};
use std::{net::SocketAddr, time::Duration};

/// Sealed by the passphrase "right".
async fn by_passphrase() -> (VaultApi, Store, Vault, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::connect(&format!("sqlite:{}", dir.path().join("v.db").display())).await.unwrap();
    store.migrate().await.unwrap();
    let seal = NewSeal::By(SealInput::Passphrase(SecretValue::from("right")));
    let vault = Vault::init(&store, &Actor::system("test"), seal).await.unwrap().vault;
    vault.seal();
    let api = VaultApi::new(store.clone(), Arc::new(NoWeb));
    api.attach(vault.clone()).await.unwrap();
    (api, store, vault, dir)
}

async fn send(api: &VaultApi, request: http::request::Builder, source: u8, body: Body) -> (u16, Value) {
    let source = axum::extract::ConnectInfo(SocketAddr::from(([192, 0, 2, source], 1)));
    let response = api.router().oneshot(request.extension(source).body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn unseal(api: &VaultApi, source: u8, key: &str) -> (u16, Value) {
    send(api, Request::put("/v1/sys/unseal"), source, Body::from(json!({ "key": key }).to_string())).await
}

async fn count(store: &Store, action: &str) -> usize {
    let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
    store.audit_events(0, 1000, &filter).await.unwrap().len()
}

/// A body nobody may look at.
fn unread() -> Body {
    Body::new(http_body_util::Full::new(axum::body::Bytes::new()).with_trailers(async {
        panic!("the body was read");
        #[allow(unreachable_code, reason = "gives the block its type")]
        None::<Result<http::HeaderMap, std::convert::Infallible>>
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passphrase_is_not_guessed_through_this_face() {
    let (api, store, vault, _dir) = by_passphrase().await;
    for _ in 0..MAX_FAILURES {
        assert_eq!(unseal(&api, 1, "wrong").await.0, 400);
    }
    assert_eq!(unseal(&api, 1, "right").await.0, 429, "also the right one has to wait");
    assert!(vault.is_sealed());
    assert_eq!(count(&store, "vault.unseal_refuse").await, MAX_FAILURES as usize);
    let (status, told) = unseal(&api, 2, "right").await;
    assert_eq!((status, &told["sealed"]), (200, &json!(false)));
    assert_eq!(count(&store, "vault.unseal").await, 1);
    // An open vault tells nothing about a guess.
    let (wrong, right) = (unseal(&api, 3, "wrong").await, unseal(&api, 3, "right").await);
    assert_eq!((wrong.0, &wrong), (200, &right));
    assert_eq!(count(&store, "vault.unseal_refuse").await, MAX_FAILURES as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_are_made_one_at_a_time_and_few_may_wait() {
    let (api, _store, vault, _dir) = by_passphrase().await;
    let attempts = (0..40).map(|source| {
        let api = api.clone();
        tokio::spawn(async move { unseal(&api, source, "wrong").await.0 })
    });
    let mut told = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        told.push(attempt.await.unwrap());
    }
    assert!(told.contains(&503) && told.contains(&400), "{told:?}");
    assert!(told.iter().all(|status| matches!(status, 400 | 503)), "{told:?}");
    assert!(vault.is_sealed());
}

#[tokio::test]
async fn a_body_is_not_read_before_it_is_known_who_sends_it() {
    let w = World::new().await;
    for (path, token) in [("/v1/kv/x", ""), ("/v1/kv/x", "hvs.unknown"), ("/v1/sys/mounts/x", "s.x")] {
        let mut request = Request::post(path);
        if !token.is_empty() {
            request = request.header("x-vault-token", token);
        }
        assert_eq!(send(&w.api, request, 1, unread()).await.0, 403, "{path}");
    }
    let large = || Body::from(json!({ "a": "x".repeat(100_000) }).to_string());
    for path in ["sys/unseal", "sys/init", "sys/wrapping/unwrap"] {
        assert_eq!(send(&w.api, Request::post(format!("/v1/{path}")), 1, large()).await.0, 413, "{path}");
    }
    w.ok("POST", "sys/mounts/kv", json!({"type": "kv"})).await;
    let known = || Request::post("/v1/kv/x").header("x-vault-token", &w.root);
    assert_eq!(send(&w.api, known(), 1, large()).await.0, 204);
    let huge = Body::from(json!({ "a": "x".repeat(2 << 20) }).to_string());
    assert_eq!(send(&w.api, known(), 1, huge).await.0, 413);
    w.ok("PUT", "sys/seal", json!({})).await;
    assert_eq!(send(&w.api, known(), 1, unread()).await.0, 503, "a sealed vault reads nothing");
}

#[tokio::test]
async fn refusals_of_strangers_do_not_fill_the_audit_log() {
    let w = World::new().await;
    for source in [1, 2] {
        for n in 0..50 {
            let request = Request::get(format!("/v1/kv/{n}")).header("x-vault-token", "hvs.made-up");
            assert_eq!(send(&w.api, request, source, Body::empty()).await.0, 403);
        }
    }
    let written = async {
        while count(&w.store, "request.deny").await < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), written).await.unwrap();
    assert_eq!((count(&w.store, "request.deny").await, w.api.denials_left_out()), (2, 98));
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let (api, _store, vault, _dir) = by_passphrase().await;
    let right = || Body::from(json!({ "key": "right" }).to_string());
    for headers in [
        &[("sec-fetch-site", "cross-site"), ("content-type", "application/json")][..],
        &[("origin", "https://elsewhere"), ("host", "here"), ("content-type", "application/json")],
        &[("origin", "https://here"), ("host", "here"), ("content-type", "text/plain")],
    ] {
        let request = headers.iter().fold(Request::post("/v1/sys/unseal"), |r, (name, value)| r.header(*name, *value));
        assert_eq!(send(&api, request, 1, right()).await.0, 403, "{headers:?}");
    }
    assert!(vault.is_sealed());
}

#[tokio::test]
async fn the_prefix_is_the_mounts() {
    let (api, _store, _vault, _dir) = by_passphrase().await;
    let mounted = axum::Router::new().nest("/vault", api.router());
    for (path, expected) in
        [("/vault/v1/sys/seal-status", 200), ("/vault/sys/seal-status", 404), ("/vault/vault/v1/sys/seal-status", 404)]
    {
        let answer = mounted.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{path}");
    }
    for path in ["/sys/seal-status", "/vault/v1/sys/seal-status", "/v1"] {
        assert_eq!(send(&api, Request::get(path), 1, Body::empty()).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn ten_thousand_versions_are_asked_for_as_clients_ask() {
    const MANY: u64 = 10_000;
    let w = World::new().await;
    w.ok("POST", "sys/mounts/kv", json!({"type": "kv", "options": {"version": "2"}})).await;
    let path = "kv/data/dir/%C3%A4%20b";
    w.ok("POST", "kv/metadata/dir/%C3%A4%20b", json!({"max_versions": MANY})).await;
    // Ten thousand commits would take a while: all but the last versions are written at once.
    let ready = w.api.0.ready().unwrap();
    let mut txn = ready.txn(Actor::system("test"));
    let space = ready.mounts.table(&mut txn).await.unwrap().secret["kv/"].uuid.clone();
    let mut entries = txn.entries(&space);
    let mut meta: Value = entries.get_json("m/dir/ä b").await.unwrap().unwrap();
    meta["versions"] = (1..MANY).map(|n| json!([n, 0, false])).collect();
    meta["oldest"] = json!(1);
    entries.put_json("m/dir/ä b", &meta).unwrap();
    for n in 1..MANY {
        entries.put_json(&format!("v/dir/ä b//{n}"), &json!({ "n": n })).unwrap();
    }
    txn.audit("test.write", "vault/kv", json!({}));
    txn.commit().await.unwrap();

    assert_eq!(w.ok("POST", path, json!({"data": {"n": MANY}})).await["data"]["version"], MANY);
    for n in [1, MANY / 2, MANY] {
        let read = w.ok("GET", &format!("{path}?version={n}"), json!({})).await;
        assert_eq!((&read["data"]["data"]["n"], &read["data"]["metadata"]["version"]), (&json!(n), &json!(n)));
    }
    let told = w.ok("GET", "kv/metadata/dir/%C3%A4%20b", json!({})).await;
    assert_eq!(told["data"]["versions"].as_object().unwrap().len() as u64, MANY);
    // One more, and the first is let go of.
    assert_eq!(w.ok("POST", path, json!({"data": {"n": 0}})).await["data"]["version"], MANY + 1);
    let ask = async |version: u64| {
        let with = With { token: &w.root, wrap: "" };
        w.send("GET", &format!("{path}?version={version}"), with, json!({})).await.0
    };
    assert_eq!((ask(1).await, ask(2).await), (404, 200));
    // All of them in one request, and one too many.
    let every: Vec<u64> = (2..MANY + 2).collect();
    w.ok("POST", "kv/delete/dir/%C3%A4%20b", json!({ "versions": every })).await;
    assert_eq!((ask(2).await, ask(MANY + 1).await), (404, 404));
    w.ok("POST", "kv/undelete/dir/%C3%A4%20b", json!({ "versions": [2, MANY + 1] })).await;
    assert_eq!((ask(2).await, ask(3).await, ask(MANY + 1).await), (200, 404, 200));
    let too_many: Vec<u64> = (1..MANY + 2).collect();
    let with = With { token: &w.root, wrap: "" };
    assert_eq!(w.send("POST", "kv/destroy/dir/%C3%A4%20b", with, json!({ "versions": too_many })).await.0, 400);
    w.ok("DELETE", "kv/metadata/dir/%C3%A4%20b", json!({})).await;
    assert_eq!(ask(2).await, 404);
}
