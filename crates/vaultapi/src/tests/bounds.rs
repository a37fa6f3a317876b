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
