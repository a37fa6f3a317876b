//! What OpenBao does not do on demand: tokens that end early, and others that write in between.

use crate::{Played, answer, json_of, opened, play, read, write};
use credentialflow_testkit::wire::Message;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};

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
