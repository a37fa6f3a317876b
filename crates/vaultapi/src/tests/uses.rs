//! What callers use of their policies is kept by holder, and what they do not use is told with a narrower policy.

use super::{With, World};
use credentialflow_identity::{Rights, Sort};
use serde_json::{Value, json};

impl World {
    /// What is known now of somebody's rights.
    async fn rights(&self, sort: Sort, name: &str) -> Option<Rights> {
        let ready = self.api.0.ready().unwrap();
        ready.uses.write(&self.store).await.unwrap();
        let page = self.api.standings(sort, "", 500).await.unwrap();
        let all: Vec<_> = page.items.iter().map(|one| one.name.clone()).collect();
        page.items.into_iter().find(|one| one.name == name).unwrap_or_else(|| panic!("{all:?}")).rights
    }

    async fn policy(&self, name: &str, text: &str) {
        self.ok("PUT", &format!("sys/policies/acl/{name}"), json!({ "policy": text })).await;
    }

    async fn by(&self, token: &str, method: &str, path: &str, body: Value) -> u16 {
        self.send(method, path, With { token, ..With::default() }, body).await.0
    }

    async fn log_in(&self, path: &str, body: Value) -> String {
        let (status, made) = self.send("POST", path, With::default(), body).await;
        assert_eq!(status, 200, "{made}");
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }
}

const WIDE: &str = r#"
    path "kv/data/app/*"   { capabilities = ["create", "read", "update", "delete"] }
    path "kv/data/app/own" { capabilities = ["read"] }
    path "kv/metadata/*"   { capabilities = ["list"] }
    path "auth/token/create" { capabilities = ["update"] }
"#;

#[tokio::test]
async fn a_role_is_told_what_it_does_not_use_and_goes_on_with_the_narrower_policy() {
    let w = World::new().await;
    w.ok("POST", "sys/mounts/kv", json!({"type": "kv", "options": {"version": "2"}})).await;
    w.ok("POST", "sys/auth/approle", json!({"type": "approle"})).await;
    w.policy("wide", WIDE).await;
    w.policy("other", r#"path "db/creds/a" { capabilities = ["read"] }"#).await;
    w.ok("POST", "auth/approle/role/web", json!({"token_policies": "wide,other"})).await;
    let role = "auth/approle/role/web";
    assert_eq!(w.rights(Sort::Roles, role).await, None, "nothing is said of what was not used at all");
    let id = w.ok("GET", "auth/approle/role/web/role-id", json!({})).await["data"]["role_id"].clone();
    let secret = w.ok("POST", "auth/approle/role/web/secret-id", json!({})).await["data"]["secret_id"].clone();
    let token = w.log_in("auth/approle/login", json!({"role_id": id, "secret_id": secret})).await;

    assert_eq!(w.by(&token, "POST", "kv/data/app/a", json!({"data": {"x": 1}})).await, 200);
    // What is refused uses nothing; that nothing is there is an answer.
    assert_eq!(w.by(&token, "GET", "kv/data/elsewhere", json!({})).await, 403);
    assert_eq!(w.by(&token, "GET", "kv/data/app/none", json!({})).await, 404);
    // A token that it makes uses what the role was given.
    let (status, made) =
        w.send("POST", "auth/token/create", With { token: &token, ..With::default() }, json!({"ttl": "1h"})).await;
    assert_eq!(status, 200, "{made}");
    let child = made["auth"]["client_token"].as_str().unwrap();
    assert_eq!(w.by(child, "LIST", "kv/metadata", json!({})).await, 200);

    let found = w.rights(Sort::Roles, role).await.unwrap();
    assert_eq!(found.unused, ["db/creds/a", "kv/data/app/* (delete, update)", "kv/data/app/own"]);
    assert_eq!(found.rules, 5);
    assert!(found.since <= w.store.now());

    w.policy("narrow", &found.policy).await;
    w.ok("POST", "auth/approle/role/web", json!({"token_policies": "narrow"})).await;
    let token = w.log_in("auth/approle/login", json!({"role_id": id, "secret_id": secret})).await;
    assert_eq!(w.by(&token, "POST", "kv/data/app/b", json!({"data": {"x": 1}})).await, 200);
    assert_eq!(w.by(&token, "GET", "kv/data/app/b", json!({})).await, 200);
    assert_eq!(w.by(&token, "LIST", "kv/metadata", json!({})).await, 200);
    for (method, path) in [("DELETE", "kv/data/app/b"), ("GET", "kv/data/app/own"), ("GET", "db/creds/a")] {
        assert_eq!(w.by(&token, method, path, json!({})).await, 403, "{method} {path}");
    }
    assert_eq!(w.by(&token, "GET", "auth/token/lookup-self", json!({})).await, 200, "default is left alone");
}

#[tokio::test]
async fn users_and_lasting_tokens_are_judged_by_themselves() {
    let w = World::new().await;
    w.ok("POST", "sys/mounts/kv", json!({"type": "kv", "options": {"version": "2"}})).await;
    w.ok("POST", "sys/auth/people", json!({"type": "userpass"})).await;
    w.policy("wide", WIDE).await;
    for name in ["Ada", "bob"] {
        let user = json!({"password": "correct horse", "token_policies": "wide"});
        w.ok("POST", &format!("auth/people/users/{name}"), user).await;
    }
    let ada = w.log_in("auth/people/login/ADA", json!({"password": "correct horse"})).await;
    let bob = w.log_in("auth/people/login/bob", json!({"password": "correct horse"})).await;
    assert_eq!(w.by(&ada, "LIST", "kv/metadata", json!({})).await, 404);
    assert_eq!(w.by(&bob, "GET", "kv/data/app/own", json!({})).await, 404);
    let of = async |name: &str| w.rights(Sort::Users, &format!("auth/people/users/{name}")).await.unwrap();
    let (ada, bob) = (of("ada").await, of("bob").await);
    assert!(!ada.unused.contains(&"kv/metadata/*".to_owned()) && bob.unused.contains(&"kv/metadata/*".to_owned()));

    let made = w.ok("POST", "auth/token/create", json!({"policies": ["wide"], "period": "24h"})).await;
    let (token, accessor) =
        (made["auth"]["client_token"].as_str().unwrap(), made["auth"]["accessor"].as_str().unwrap());
    assert_eq!(w.by(token, "GET", "kv/data/app/own", json!({})).await, 404);
    let found = w.rights(Sort::LastingTokens, accessor).await.unwrap();
    assert_eq!(found.unused, ["auth/token/create", "kv/data/app/*", "kv/metadata/*"]);
    assert_eq!(found.policy, "path \"kv/data/app/own\" {\n  capabilities = [\"read\"]\n}\n");
}

#[tokio::test]
async fn what_is_granted_anew_is_known_from_then_on_only() {
    let w = World::new().await;
    w.ok("POST", "sys/mounts/kv", json!({"type": "kv", "options": {"version": "2"}})).await;
    w.ok("POST", "sys/auth/people", json!({"type": "userpass"})).await;
    w.policy("wide", WIDE).await;
    w.ok("POST", "auth/people/users/ada", json!({"password": "correct horse", "token_policies": "wide"})).await;
    let ada = w.log_in("auth/people/login/ada", json!({"password": "correct horse"})).await;
    assert_eq!(w.by(&ada, "GET", "kv/data/app/own", json!({})).await, 404);
    let user = "auth/people/users/ada";
    let before = w.rights(Sort::Users, user).await.unwrap().since;
    w.policy("wide", &format!("{WIDE}\n# again")).await;
    let after = w.rights(Sort::Users, user).await.unwrap().since;
    assert!(after > before, "{after} {before}");
    w.ok("POST", user, json!({"token_policies": "wide"})).await;
    assert!(w.rights(Sort::Users, user).await.unwrap().since > after);
}
