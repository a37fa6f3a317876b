//! What OpenBao does not do on demand: tokens that end early, and others that write in between.

use crate::{Played, answer, json_of, opened, play, read, write};
use credentialflow_testkit::wire::Message;
use serde_json::{Map, Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

#[derive(Default)]
struct Vault {
    logins: u32,
    valid_from: u32,
    data: Map<String, Value>,
    version: u64,
    /// Writes of somebody else that come before ours.
    races: u32,
    sealed: bool,
}

fn serve(vault: &mut Vault, request: &Message) -> Played {
    assert_eq!(request.field("x-vault-namespace"), Some("team-a"));
    if vault.sealed {
        return answer(503, json!({ "errors": ["Vault is sealed"] }));
    }
    if request.target() == "/v1/auth/machines/login" {
        assert_eq!(json_of(request)["role_id"], "role-1");
        if json_of(request)["secret_id"] != "canary-secret-id" {
            return answer(400, json!({ "errors": ["invalid role or secret ID"] }));
        }
        vault.logins += 1;
        let auth = json!({ "client_token": format!("token-{}", vault.logins), "lease_duration": 3600 });
        return answer(200, json!({ "auth": auth }));
    }
    let token = request.field("x-vault-token").and_then(|t| t.strip_prefix("token-"));
    if token.and_then(|n| n.parse::<u32>().ok()).is_none_or(|n| n < vault.valid_from) {
        return answer(403, json!({ "errors": ["permission denied"] }));
    }
    assert_eq!(request.target(), "/v1/kv/team/data/apps/orders%20x");
    match request.method() {
        "GET" if vault.version == 0 => answer(404, json!({ "errors": [] })),
        "GET" => {
            let metadata = json!({ "version": vault.version });
            answer(200, json!({ "data": { "data": vault.data, "metadata": metadata } }))
        }
        _ => {
            if vault.races > 0 {
                vault.races -= 1;
                vault.version += 1;
                vault.data.insert(format!("theirs-{}", vault.races), json!("x"));
            }
            let body = json_of(request);
            if body["options"]["cas"] != json!(vault.version) {
                let words = "check-and-set parameter did not match the current version";
                return answer(400, json!({ "errors": [words] }));
            }
            vault.version += 1;
            vault.data = body["data"].as_object().unwrap().clone();
            answer(200, json!({ "data": { "version": vault.version } }))
        }
    }
}

fn spec(url: &str) -> Value {
    json!({ "name": "s", "kind": "vault", "address": url, "mount": "kv/team", "namespace": "team-a",
            "login": "machines", "identity": "role-1", "credential": "c" })
}

#[tokio::test]
async fn others_changes_are_kept_and_an_ended_token_is_replaced() {
    let state = Arc::new(Mutex::new(Vault { races: 2, ..Vault::default() }));
    let server = play(&state, serve).await;
    let store = opened(spec(&server.url()), "canary-secret-id");
    assert_eq!(read(&store, "apps/orders x").await.unwrap_err(), "the store has no such secret");
    assert_eq!(write(&store, "apps/orders x#token", "one").await, Ok((true, Some("3".to_owned()))));
    let keys: Vec<String> = state.lock().unwrap().data.keys().cloned().collect();
    assert_eq!(keys, ["theirs-1", "theirs-0", "token"]);
    state.lock().unwrap().valid_from = 2;
    assert_eq!(read(&store, "apps/orders x#token").await.unwrap().0, "one");
    assert_eq!(state.lock().unwrap().logins, 2);
    // Always somebody else: it gives way and is tried again later.
    state.lock().unwrap().races = 100;
    assert!(write(&store, "apps/orders x#token", "two").await.unwrap_err().starts_with("the store is busy"));
}

#[tokio::test]
async fn refusals_do_not_repeat_what_lets_us_in() {
    let state = Arc::new(Mutex::new(Vault::default()));
    let server = play(&state, serve).await;
    let refused = read(&opened(spec(&server.url()), "another-canary"), "apps/orders x").await.unwrap_err();
    assert!(refused.contains("invalid role or secret ID") && !refused.contains("canary"), "{refused}");
    state.lock().unwrap().sealed = true;
    let sealed = read(&opened(spec(&server.url()), "canary-secret-id"), "apps/orders x").await.unwrap_err();
    assert!(sealed.starts_with("the store is busy: it answered 503: Vault is sealed"), "{sealed}");
}

/// A server at which a token was handed in.
#[derive(Default)]
struct Handed {
    asked: u32,
    /// What is answered to a renewal: the status, and how long the token then lasts.
    renewal: (u16, u64),
    renewable: bool,
}

fn serve_handed(handed: &mut Handed, request: &Message) -> Played {
    assert_eq!((request.method(), request.target()), ("POST", "/v1/auth/token/renew-self"));
    assert_eq!(request.field("x-vault-token"), Some("canary-token"));
    handed.asked += 1;
    match handed.renewal {
        (200, lasts) => answer(200, json!({ "auth": { "lease_duration": lasts, "renewable": handed.renewable } })),
        (status, _) => answer(status, json!({ "errors": ["lease is not renewable, canary-token"] })),
    }
}

#[tokio::test]
async fn a_token_that_was_handed_in_is_renewed_at_half_of_its_time() {
    let state = Arc::new(Mutex::new(Handed { renewal: (200, 7200), renewable: true, ..Handed::default() }));
    let server = play(&state, serve_handed).await;
    let spec = json!({ "name": "s", "kind": "vault", "address": server.url(), "credential": "c" });
    let ask = async |renewal, renewable| {
        *state.lock().unwrap() = Handed { asked: 0, renewal, renewable };
        let store = opened(spec.clone(), "canary-token");
        let (first, second) = (store.keep().await, store.keep().await);
        (first.map_err(|e| e.to_string()), second.map_err(|e| e.to_string()), state.lock().unwrap().asked)
    };
    let (first, second, asked) = ask((200, 7200), true).await;
    let (first, second) = (first.unwrap().unwrap(), second.unwrap().unwrap());
    assert!(second <= first && first <= Duration::from_secs(3600), "{first:?} {second:?}");
    assert_eq!(asked, 1, "it is not time yet");
    // It does not end, or cannot be renewed: once is enough.
    for (renewal, renewable) in [((200, 0), true), ((200, 7200), false), ((400, 0), true)] {
        assert_eq!(ask(renewal, renewable).await, (Ok(None), Ok(None), 1), "{renewal:?}");
    }
    // Told once, without the token, and not asked again at once.
    for (status, told) in [(403, "the store refuses: "), (404, "it does not offer"), (503, "the store is busy: ")] {
        let (first, second, asked) = ask((status, 0), true).await;
        let error = first.unwrap_err();
        assert!(error.starts_with(told) && !error.contains("canary"), "{error}");
        assert!(second.unwrap().is_some() && asked == 1, "{status}");
    }
    // Again and again, for as long as it lasts.
    *state.lock().unwrap() = Handed { asked: 0, renewal: (200, 1), renewable: true };
    let store = opened(spec.clone(), "canary-token");
    let renewed = async {
        while state.lock().unwrap().asked < 3 {
            let left = store.keep().await.unwrap().unwrap();
            assert!(left <= Duration::from_millis(500));
            tokio::time::sleep(left).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), renewed).await.expect("it is renewed three times");
}

#[tokio::test]
async fn one_that_was_logged_in_for_needs_no_renewal() {
    let state = Arc::new(Mutex::new(Vault::default()));
    let server = play(&state, serve).await;
    let store = opened(spec(&server.url()), "canary-secret-id");
    assert_eq!(store.keep().await.map_err(|e| e.to_string()), Ok(None));
    assert_eq!(state.lock().unwrap().logins, 0);
}
