//! The API over a real store, through its router: as a client sees it.

mod bounds;
mod certificates;
mod guards;
mod held;
mod leases;
mod races;
mod recorded;
mod uses;

use crate::VaultApi;
use axum::body::Body;
use credentialflow_identity::ports::NoWeb;
use credentialflow_model::{Actor, Period};
use credentialflow_store::{AuditFilter, Store, audit};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

struct World {
    api: VaultApi,
    store: Store,
    root: String,
    keys: Vec<String>,
    _dir: tempfile::TempDir,
}

/// What a request is sent with.
#[derive(Clone, Copy, Default)]
struct With<'a> {
    token: &'a str,
    wrap: &'a str,
}

impl World {
    /// Initialised by three shares of which two are needed, and unsealed.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("v.db").display());
        Self::on(&url, dir).await
    }

    async fn on(url: &str, dir: tempfile::TempDir) -> Self {
        let store = Store::connect(url).await.unwrap();
        let api = VaultApi::new(store.clone(), Arc::new(NoWeb));
        let mut world = Self { api, store, root: String::new(), keys: Vec::new(), _dir: dir };
        assert_eq!(world.send("GET", "sys/health", With::default(), json!({})).await.0, 501);
        let (status, made) =
            world.send("PUT", "sys/init", With::default(), json!({"secret_shares": 3, "secret_threshold": 2})).await;
        assert_eq!(status, 200, "{made}");
        world.root = made["root_token"].as_str().unwrap().to_owned();
        world.keys = made["keys"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().to_owned()).collect();
        world.unseal().await;
        world
    }

    async fn unseal(&self) {
        for key in &self.keys[..2] {
            let (status, told) = self.send("PUT", "sys/unseal", With::default(), json!({ "key": key })).await;
            assert_eq!(status, 200, "{told}");
        }
        assert_eq!(self.send("GET", "sys/health", With::default(), json!({})).await.0, 200);
    }

    async fn send(&self, method: &str, path: &str, with: With<'_>, body: Value) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(format!("/v1/{path}"));
        if !with.token.is_empty() {
            request = request.header("x-vault-token", with.token);
        }
        if !with.wrap.is_empty() {
            request = request.header("x-vault-wrap-ttl", with.wrap);
        }
        let body = if body == json!({}) { Body::empty() } else { Body::from(body.to_string()) };
        let response = self.api.router().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status != StatusCode::NO_CONTENT || bytes.is_empty());
        (status.as_u16(), serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn root(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.send(method, path, With { token: &self.root, ..With::default() }, body).await
    }

    /// A request that must succeed.
    async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, told) = self.root(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {told}");
        told
    }

    async fn token(&self, policies: &[&str]) -> String {
        let made = self.ok("POST", "auth/token/create", json!({ "policies": policies, "ttl": "1h" })).await;
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    async fn audited(&self, action: &str) -> Vec<String> {
        let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
        self.store.audit_events(0, 1000, &filter).await.unwrap().into_iter().map(|e| e.subject).collect()
    }
}

#[tokio::test]
async fn sealed_unsealed_and_initialised_once() {
    let w = World::new().await;
    let again = w.send("PUT", "sys/init", With::default(), json!({"secret_shares": 1, "secret_threshold": 1})).await;
    assert_eq!(again.0, 400);
    assert_eq!(w.root("PUT", "sys/seal", json!({})).await.0, 204);
    assert_eq!(w.root("GET", "sys/mounts", json!({})).await, (503, json!({"errors": ["Vault is sealed"]})));
    assert_eq!(w.send("GET", "sys/health", With::default(), json!({})).await.0, 503);
    assert_eq!(w.send("GET", "sys/health?sealedcode=299", With::default(), json!({})).await.0, 299);
    let (_, status) = w.send("PUT", "sys/unseal", With::default(), json!({"key": w.keys[2]})).await;
    assert_eq!((&status["progress"], &status["t"], &status["n"]), (&json!(1), &json!(2), &json!(3)));
    let (_, status) = w.send("PUT", "sys/unseal", With::default(), json!({"reset": true})).await;
    assert_eq!(status["progress"], 0);
    assert_eq!(w.send("PUT", "sys/unseal", With::default(), json!({"key": "nonsense"})).await.0, 400);
    w.unseal().await;
    assert_eq!(w.root("GET", "sys/mounts", json!({})).await.0, 200);
}

#[tokio::test]
async fn the_keys_that_sign_are_told_to_the_inventory() {
    let w = World::new().await;
    let names =
        || async { w.api.signing_keys().await.map(|keys| keys.into_iter().map(|k| k.name).collect::<Vec<_>>()) };
    assert_eq!(names().await.unwrap(), [""; 0]);
    w.ok("PUT", "identity/oidc/key/ours", json!({"algorithm": "ES256", "rotation_period": "24h"})).await;
    assert_eq!(names().await.unwrap(), ["ours"]);
    assert_eq!(w.root("PUT", "sys/seal", json!({})).await.0, 204);
    assert_eq!(names().await.unwrap_err().status(), 503);
}

#[tokio::test]
async fn authorities_are_told_to_who_watches_their_end() {
    let w = World::new().await;
    assert_eq!(w.api.authorities().await.unwrap(), []);
    w.ok("POST", "sys/mounts/house/ca", json!({"type": "pki"})).await;
    assert_eq!(w.api.authorities().await.unwrap(), [], "it has no authority yet");
    w.ok("POST", "house/ca/root/generate/internal", json!({"common_name": "house", "ttl": "48h"})).await;
    let [only] = &w.api.authorities().await.unwrap()[..] else { panic!("one authority") };
    assert_eq!((only.mount.as_str(), only.certificate.first()), ("house/ca/", Some(&0x30)));
    w.ok("PUT", "sys/seal", json!({})).await;
    assert!(w.api.authorities().await.is_none());
}

#[tokio::test]
async fn who_administers_gets_a_root_token_that_ends() {
    let w = World::new().await;
    let made = w.api.root_token(Actor::operator(), Period::from_secs(900)).await.unwrap();
    let with = With { token: made.client_token.expose_str().unwrap(), ..With::default() };
    let (status, told) = w.send("GET", "auth/token/lookup-self", with, json!({})).await;
    assert_eq!((status, &told["data"]["policies"]), (200, &json!(["root"])));
    let left = told["data"]["ttl"].as_i64().unwrap();
    assert!((1..=900).contains(&left), "{told}");
    assert_eq!(w.audited("token.create_root").await.len(), 2, "the first one, and this");
    w.ok("PUT", "sys/seal", json!({})).await;
    assert!(w.api.root_token(Actor::operator(), Period::from_secs(900)).await.is_err());
}

#[tokio::test]
async fn policies_decide_and_refusals_are_recorded() {
    let w = World::new().await;
    w.ok("POST", "sys/mounts/kv", json!({"type": "kv-v2"})).await;
    let policy = "path \"kv/data/own/*\" { capabilities = [\"create\", \"read\"] }
                  path \"kv/metadata/own/*\" { capabilities = [\"list\"] }";
    w.ok("PUT", "sys/policies/acl/own", json!({ "policy": policy })).await;
    let token = w.token(&["own"]).await;
    let with = With { token: &token, ..With::default() };
    let body = json!({"data": {"p": "canary-5521"}});
    assert_eq!(w.send("POST", "kv/data/own/a", with, body.clone()).await.0, 200);
    assert_eq!(w.send("POST", "kv/data/own/a", with, body.clone()).await.0, 403, "update is not create");
    assert_eq!(w.send("GET", "kv/data/own/a", with, json!({})).await.1["data"]["data"]["p"], "canary-5521");
    assert_eq!(w.send("LIST", "kv/metadata/own", with, json!({})).await.1["data"]["keys"], json!(["a"]));
    for (method, path) in [
        ("GET", "kv/data/other"),
        ("DELETE", "kv/data/own/a"),
        ("GET", "sys/mounts"),
        ("POST", "sys/mounts/x"),
        ("GET", "nowhere/x"),
        ("PUT", "sys/seal"),
        ("GET", "auth/token/accessors?list=true"),
        ("PUT", "sys/policies/acl/own"),
    ] {
        let (status, told) = w.send(method, path, with, json!({})).await;
        assert_eq!((status, &told["errors"][0]), (403, &json!("permission denied")), "{method} {path}");
    }
    for token in ["", "hvs.unknown", "s.x", "cfk_admin"] {
        let with = With { token, ..With::default() };
        assert_eq!(w.send("GET", "kv/data/own/a", with, json!({})).await.0, 403, "{token}");
    }
    assert!(w.audited("request.deny").await.contains(&"vault/kv/data/other".to_owned()));
    assert_eq!(w.audited("secret.read").await, ["vault/kv/data/own/a"]);
    let told = w.store.audit_events(0, 1000, &AuditFilter::default()).await.unwrap();
    let text = serde_json::to_string(&told).unwrap();
    assert!(!text.contains("canary-5521") && !text.contains(&token) && !text.contains(&w.root));
    audit::verify(&w.store, None).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_told_as_vault_tells_it() {
    let w = World::new().await;
    w.ok("POST", "sys/mounts/kv", json!({"type": "kv", "options": {"version": 2}})).await;
    assert_eq!(w.root("GET", "kv/data/none", json!({})).await, (404, json!({"errors": []})));
    assert_eq!(w.root("GET", "sys/nothing", json!({})).await.0, 404);
    assert_eq!(w.root("GET", "nowhere/x", json!({})).await.0, 404);
    assert_eq!(w.root("DELETE", "kv/config", json!({})).await.0, 405);
    assert_eq!(w.root("POST", "kv/data/x", json!({"nothing": 1})).await.0, 400);
    assert_eq!(w.root("POST", "sys/mounts/kv", json!({"type": "kv"})).await.0, 400);
    assert_eq!(w.root("POST", "sys/mounts/other", json!({"type": "telepathy"})).await.0, 400);
    assert_eq!(w.root("POST", "sys/auth/x", json!({"type": "telepathy"})).await.0, 400);
    w.ok("POST", "kv/data/x", json!({"data": {"a": 1}})).await;
    w.ok("DELETE", "kv/data/x", json!({})).await;
    let (status, told) = w.root("GET", "kv/data/x", json!({})).await;
    assert_eq!((status, &told["data"]["data"]), (404, &Value::Null));
    assert_eq!(told["data"]["metadata"]["version"], 1);
}

#[tokio::test]
async fn mounts_are_listed_tuned_moved_and_removed() {
    let w = World::new().await;
    w.ok("POST", "sys/mounts/a", json!({"type": "kv", "description": "first"})).await;
    let all = w.ok("GET", "sys/mounts", json!({})).await;
    assert_eq!((&all["data"]["a/"]["type"], &all["a/"]["description"]), (&json!("kv"), &json!("first")));
    assert_eq!(all["data"]["cubbyhole/"]["type"], "cubbyhole");
    w.ok("POST", "sys/mounts/a/tune", json!({"default_lease_ttl": "1h", "max_lease_ttl": "2h"})).await;
    let tuned = w.ok("GET", "sys/mounts/a/tune", json!({})).await;
    assert_eq!((&tuned["data"]["default_lease_ttl"], &tuned["data"]["max_lease_ttl"]), (&json!(3600), &json!(7200)));
    assert_eq!(w.root("POST", "sys/mounts/a/tune", json!({"default_lease_ttl": "3h"})).await.0, 400);
    w.ok("POST", "a/x", json!({"k": "v"})).await;
    let moved = w.ok("POST", "sys/remount", json!({"from": "a", "to": "b"})).await;
    let id = moved["data"]["migration_id"].as_str().unwrap();
    let told = w.ok("GET", &format!("sys/remount/status/{id}"), json!({})).await;
    assert_eq!(told["data"]["migration_info"]["status"], "success");
    assert_eq!(w.ok("GET", "b/x", json!({})).await["data"], json!({"k": "v"}));
    let token = w.token(&["default"]).await;
    let with = With { token: &token, ..With::default() };
    assert_eq!(w.send("GET", "sys/internal/ui/mounts/b/x", with, json!({})).await.0, 403);
    assert_eq!(w.ok("GET", "sys/internal/ui/mounts/b/x", json!({})).await["data"]["path"], "b/");
    w.ok("DELETE", "sys/mounts/b", json!({})).await;
    assert_eq!(w.root("GET", "b/x", json!({})).await.0, 404);
}

#[tokio::test]
async fn an_unmounted_method_logs_everybody_out() {
    let w = World::new().await;
    w.ok("POST", "sys/auth/approle", json!({"type": "approle"})).await;
    w.ok("POST", "auth/approle/role/web", json!({"token_policies": ["default"]})).await;
    let role = w.ok("GET", "auth/approle/role/web/role-id", json!({})).await["data"]["role_id"].clone();
    let secret = w.ok("POST", "auth/approle/role/web/secret-id", json!({})).await["data"]["secret_id"].clone();
    let login = json!({"role_id": role, "secret_id": secret});
    let (status, made) = w.send("POST", "auth/approle/login", With::default(), login.clone()).await;
    assert_eq!(status, 200, "{made}");
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    let with = With { token: &token, ..With::default() };
    assert_eq!(w.send("GET", "auth/token/lookup-self", with, json!({})).await.0, 200);
    w.ok("DELETE", "sys/auth/approle", json!({})).await;
    assert_eq!(w.send("GET", "auth/token/lookup-self", with, json!({})).await.0, 403);
    assert!((400..500).contains(&w.send("POST", "auth/approle/login", With::default(), login).await.0));
}

#[tokio::test]
async fn a_wrapped_answer_is_opened_once_by_whoever_holds_the_token() {
    let w = World::new().await;
    w.ok("POST", "sys/mounts/kv", json!({"type": "kv"})).await;
    w.ok("POST", "kv/x", json!({"k": "v"})).await;
    let with = With { token: &w.root, wrap: "60" };
    let wrapped = w.send("GET", "kv/x", with, json!({})).await.1;
    assert_eq!((&wrapped["data"], &wrapped["wrap_info"]["ttl"]), (&Value::Null, &json!(60)));
    let token = wrapped["wrap_info"]["token"].as_str().unwrap();
    let holder = With { token, ..With::default() };
    assert_eq!(w.send("GET", "kv/x", holder, json!({})).await.0, 403, "it opens nothing else");
    let looked = w.ok("POST", "sys/wrapping/lookup", json!({ "token": token })).await;
    assert_eq!(looked["data"]["creation_path"], "kv/x");
    let renewed = w.ok("POST", "sys/wrapping/rewrap", json!({ "token": token })).await;
    assert_eq!(w.send("POST", "sys/wrapping/unwrap", holder, json!({})).await.0, 400);
    let token = renewed["wrap_info"]["token"].as_str().unwrap();
    let holder = With { token, ..With::default() };
    let (_, opened) = w.send("POST", "sys/wrapping/unwrap", holder, json!({})).await;
    assert_eq!(opened["data"], json!({"k": "v"}));
    assert_eq!(w.send("POST", "sys/wrapping/unwrap", holder, json!({})).await.0, 400);
    let own = w.send("POST", "sys/wrapping/wrap", with, json!({"a": [1]})).await.1;
    let token = own["wrap_info"]["token"].as_str().unwrap();
    assert_eq!(w.ok("POST", "sys/wrapping/unwrap", json!({ "token": token })).await["data"], json!({"a": [1]}));
}

#[tokio::test]
async fn mandatory_wrapping_is_asked_for_before_anything_is_done() {
    let w = World::new().await;
    w.ok("POST", "sys/mounts/kv", json!({"type": "kv-v2"})).await;
    let policy = "path \"kv/data/a\" { capabilities = [\"create\", \"read\"] min_wrapping_ttl = \"60s\" }
                  path \"auth/token/create\" { capabilities = [\"update\"] max_wrapping_ttl = \"60s\" }";
    w.ok("PUT", "sys/policies/acl/wrapped", json!({ "policy": policy })).await;
    let token = w.token(&["wrapped"]).await;
    let body = json!({"data": {"k": "v"}});
    for wrap in ["", "59"] {
        let with = With { token: &token, wrap };
        assert_eq!(w.send("POST", "kv/data/a", with, body.clone()).await.0, 403, "{wrap:?}");
    }
    assert_eq!(w.send("POST", "kv/data/a", With { token: &token, wrap: "31d" }, body.clone()).await.0, 400);
    assert_eq!(w.root("GET", "kv/data/a", json!({})).await.0, 404, "nothing was written");
    assert!(!w.audited("request.deny").await.is_empty());
    let made = w.audited("token.create").await.len();
    for wrap in ["", "61"] {
        let with = With { token: &token, wrap };
        assert_eq!(w.send("POST", "auth/token/create", with, json!({})).await.0, 403, "{wrap:?}");
    }
    assert_eq!(w.audited("token.create").await.len(), made, "no token was made");
    let (status, told) = w.send("POST", "kv/data/a", With { token: &token, wrap: "1m" }, body).await;
    assert_eq!((status, &told["wrap_info"]["ttl"]), (200, &json!(60)));
    assert_eq!(w.ok("GET", "kv/data/a", json!({})).await["data"]["data"], json!({"k": "v"}));
}

#[tokio::test]
async fn a_tokens_cubbyhole_ends_with_it() {
    let w = World::new().await;
    let token = w.token(&["default"]).await;
    let with = With { token: &token, ..With::default() };
    assert_eq!(w.send("POST", "cubbyhole/x", with, json!({"a": "b"})).await.0, 204);
    assert_eq!(w.send("GET", "cubbyhole/x", with, json!({})).await.1["data"], json!({"a": "b"}));
    assert_eq!(w.root("GET", "cubbyhole/x", json!({})).await.0, 404);
    let accessor = w.send("GET", "auth/token/lookup-self", with, json!({})).await.1["data"]["accessor"].clone();
    w.ok("POST", "auth/token/revoke", json!({ "token": token })).await;
    let space = credentialflow_secrets::engine::cubbyhole::space(accessor.as_str().unwrap());
    assert_eq!(w.store.entry_paths(&space, "", "", 10).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn capabilities_and_keys_are_told() {
    let w = World::new().await;
    w.ok("PUT", "sys/policy/p", json!({"policy": "path \"a/*\" { capabilities = [\"read\", \"list\"] }"})).await;
    assert!(w.ok("GET", "sys/policy", json!({})).await["keys"].as_array().unwrap().contains(&json!("p")));
    let token = w.token(&["p"]).await;
    let told = w.ok("POST", "sys/capabilities", json!({"token": token, "paths": ["a/b"]})).await;
    assert_eq!((&told["data"]["a/b"], &told["capabilities"]), (&json!(["list", "read"]), &json!(["list", "read"])));
    let before = w.ok("GET", "sys/key-status", json!({})).await["term"].as_i64().unwrap();
    w.ok("PUT", "sys/rotate", json!({})).await;
    assert_eq!(w.ok("GET", "sys/key-status", json!({})).await["data"]["term"], before + 1);
    assert_eq!(w.ok("GET", "sys/audit", json!({})).await["data"]["credentialflow/"]["type"], "database");
}

#[tokio::test]
async fn shares_are_replaced_when_the_present_ones_agree() {
    let mut w = World::new().await;
    assert_eq!(w.ok("GET", "sys/rekey/init", json!({})).await["started"], false);
    let begun = w.ok("PUT", "sys/rekey/init", json!({"secret_shares": 2, "secret_threshold": 2})).await;
    let nonce = begun["nonce"].as_str().unwrap().to_owned();
    let told = w.ok("PUT", "sys/rekey/update", json!({"key": w.keys[0], "nonce": nonce})).await;
    assert_eq!(told["progress"], 1);
    let done = w.ok("PUT", "sys/rekey/update", json!({"key": w.keys[1], "nonce": nonce})).await;
    assert_eq!(done["complete"], true);
    let old = std::mem::replace(
        &mut w.keys,
        done["keys"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().to_owned()).collect(),
    );
    w.ok("PUT", "sys/seal", json!({})).await;
    assert_eq!(w.send("PUT", "sys/unseal", With::default(), json!({"key": old[0]})).await.0, 400);
    w.unseal().await;
}

#[tokio::test]
async fn a_verification_begins_anew_with_another_nonce() {
    let mut w = World::new().await;
    let none = w.root("DELETE", "sys/rekey/verify", json!({})).await;
    assert_eq!(none, (400, json!({"errors": ["no rekey verification in progress"]})));
    let wish = json!({"secret_shares": 2, "secret_threshold": 2, "require_verification": true});
    let nonce = w.ok("PUT", "sys/rekey/init", wish).await["nonce"].clone();
    w.ok("PUT", "sys/rekey/update", json!({"key": w.keys[0], "nonce": nonce})).await;
    let done = w.ok("PUT", "sys/rekey/update", json!({"key": w.keys[1], "nonce": nonce})).await;
    let new: Vec<String> = done["keys"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().to_owned()).collect();
    let first = done["verification_nonce"].clone();
    assert_eq!(w.ok("PUT", "sys/rekey/verify", json!({"key": new[0], "nonce": first})).await["progress"], 1);
    let again = w.ok("DELETE", "sys/rekey/verify", json!({})).await;
    assert_eq!((&again["started"], &again["progress"]), (&json!(true), &json!(0)));
    let second = again["nonce"].clone();
    assert_ne!(first, second);
    assert_eq!(w.ok("GET", "sys/rekey/verify", json!({})).await["nonce"], second);
    let late = w.root("PUT", "sys/rekey/verify", json!({"key": new[1], "nonce": first})).await;
    assert_eq!(late.0, 400, "{late:?}");
    w.ok("PUT", "sys/rekey/verify", json!({"key": new[0], "nonce": second})).await;
    let done = w.ok("PUT", "sys/rekey/verify", json!({"key": new[1], "nonce": second})).await;
    assert_eq!(done["complete"], true);
    w.keys = new;
    w.ok("PUT", "sys/seal", json!({})).await;
    w.unseal().await;
}
