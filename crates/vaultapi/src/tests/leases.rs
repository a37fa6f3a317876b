//! What is asked of databases, and what is told of leases, through the router. The databases themselves
//! are asked in `secrets` and in the suite `e2e/66-leases`.

use super::*;

async fn a_redis(w: &World) {
    w.ok("POST", "sys/mounts/database", json!({"type": "database"})).await;
    let config = json!({
        "plugin_name": "redis-database-plugin", "host": "127.0.0.1", "port": 1, "username": "default",
        "password": "canary-8812", "allowed_roles": "*", "verify_connection": false,
    });
    w.ok("POST", "database/config/r", config).await;
    w.ok("POST", "database/roles/a", json!({"db_name": "r"})).await;
}

#[tokio::test]
async fn policies_decide_what_is_done_at_a_database() {
    let w = World::new().await;
    a_redis(&w).await;
    let policy = "path \"database/creds/a\" { capabilities = [\"read\"] }
                  path \"database/static-roles/new\" { capabilities = [\"create\"] }
                  path \"database/rotate-root/r\" { capabilities = [\"read\"] }";
    w.ok("PUT", "sys/policies/acl/own", json!({ "policy": policy })).await;
    let token = w.token(&["own"]).await;
    let with = With { token: &token, ..With::default() };
    // Allowed, and nobody is there.
    let (status, told) = w.send("GET", "database/creds/a", with, json!({})).await;
    assert_eq!(status, 400, "{told}");
    assert!(told["errors"][0].as_str().unwrap().contains("did not make the login"), "{told}");
    for (method, path) in [
        ("GET", "database/creds/b"),
        ("POST", "database/config/r"),
        ("POST", "database/rotate-root/r"),
        ("POST", "database/rotate-role/a"),
        ("POST", "database/static-roles/other"),
        ("POST", "database/reset/r"),
        ("GET", "database/static-creds/a"),
        ("GET", "sys/leases?type=irrevocable"),
        ("GET", "sys/leases/count?type=irrevocable"),
        ("POST", "sys/leases/tidy"),
    ] {
        assert_eq!(w.send(method, path, with, json!({})).await.0, 403, "{method} {path}");
    }
    let body = json!({"db_name": "r", "username": "app", "rotation_period": 60});
    let (status, told) = w.send("POST", "database/static-roles/new", with, body).await;
    // Nobody answered, so the role is kept and its first password tried again.
    assert_eq!(status, 400, "{told}");
    assert!(told["errors"][0].as_str().unwrap().contains("it is tried again"), "{told}");
    let role = w.ok("GET", "database/static-roles/new", json!({})).await;
    assert!(role["data"]["rotation_error"].as_str().unwrap().contains("cannot be reached"), "{role}");
    let (status, told) = w.root("GET", "database/static-creds/new", json!({})).await;
    assert_eq!(status, 400, "{told}");
    let told = w.store.audit_events(0, 1000, &AuditFilter::default()).await.unwrap();
    assert!(!serde_json::to_string(&told).unwrap().contains("canary-8812"));
}

#[tokio::test]
async fn a_login_that_cannot_be_taken_away_is_told_and_holds_its_mount() {
    let w = World::new().await;
    a_redis(&w).await;
    assert_eq!(w.root("GET", "database/creds/a", json!({})).await.0, 400);
    // Nobody answered: what might have been made there is still to be taken away.
    let held = w.store.leases_by_prefix("database/", "", 10).await.unwrap();
    assert_eq!(held.len(), 1);
    // Whether it was made is not known yet, so nobody says that all is gone.
    let (status, told) = w.root("DELETE", "sys/mounts/database", json!({})).await;
    assert_eq!(status, 400, "{told}");
    for _ in 0..9 {
        let (status, told) = w.root("PUT", "sys/leases/revoke", json!({"lease_id": held[0].id})).await;
        assert_eq!(status, 400, "{told}");
    }
    let mounts = w.ok("GET", "sys/mounts", json!({})).await;
    let accessor = mounts["data"]["database/"]["accessor"].as_str().unwrap();
    let counted = w.ok("GET", "sys/leases/count?type=irrevocable", json!({})).await;
    assert_eq!(counted["data"], json!({"lease_count": 1, "counts": {accessor: 1}}));
    let listed = w.ok("GET", "sys/leases?type=irrevocable&limit=5", json!({})).await;
    assert_eq!(listed["data"]["leases"][0]["lease_id"], held[0].id);
    assert!(listed["data"]["leases"][0]["error"].as_str().unwrap().contains("cannot be reached"), "{listed}");
    assert_eq!(w.root("GET", "sys/leases?type=irrevocable&limit=0", json!({})).await.0, 400);
    assert_eq!(w.root("DELETE", "sys/mounts/database", json!({})).await.0, 400);
    let moved = json!({"from": "database", "to": "elsewhere"});
    assert_eq!(w.root("POST", "sys/remount", moved.clone()).await.0, 400);
    // Neither goes on, so it makes logins as before.
    let (_, told) = w.root("GET", "database/creds/a", json!({})).await;
    assert!(told["errors"][0].as_str().unwrap().contains("did not make the login"), "{told}");
    w.ok("PUT", "sys/leases/revoke-force/database", json!({})).await;
    w.ok("POST", "sys/remount", moved).await;
    w.ok("DELETE", "sys/mounts/elsewhere", json!({})).await;
    let counted = w.ok("GET", "sys/leases/count?type=irrevocable", json!({})).await;
    assert_eq!(counted["data"]["lease_count"], 0);
}

#[tokio::test]
async fn a_prefix_ends_at_a_slash_and_below_auth_it_means_tokens() {
    let w = World::new().await;
    a_redis(&w).await;
    w.ok("POST", "database/roles/a2", json!({"db_name": "r"})).await;
    for role in ["a", "a2"] {
        assert_eq!(w.root("GET", &format!("database/creds/{role}"), json!({})).await.0, 400);
    }
    let left = async || -> Vec<String> {
        let rows = w.store.leases_by_prefix("database/", "", 10).await.unwrap();
        rows.into_iter().map(|row| row.id.rsplit_once('/').unwrap().0.to_owned()).collect()
    };
    assert_eq!(left().await, ["database/creds/a", "database/creds/a2"]);
    w.ok("PUT", "sys/leases/revoke-force/database/creds/a", json!({})).await;
    assert_eq!(left().await, ["database/creds/a2"], "a is not a2");
    let id = w.store.leases_by_prefix("database/", "", 10).await.unwrap()[0].id.clone();
    w.ok("PUT", &format!("sys/leases/revoke-force/{id}"), json!({})).await;
    assert!(left().await.is_empty(), "one lease by its whole id");

    w.ok("POST", "sys/auth/userpass", json!({"type": "userpass"})).await;
    let login = async |name: &str| -> String {
        let path = format!("auth/userpass/login/{name}");
        let (status, told) = w.send("POST", &path, With::default(), json!({"password": "correct horse"})).await;
        assert_eq!(status, 200, "{told}");
        told["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let mut tokens = Vec::new();
    for name in ["bob", "bob2", "eve"] {
        w.ok("POST", &format!("auth/userpass/users/{name}"), json!({"password": "correct horse"})).await;
        tokens.push(login(name).await);
    }
    let live = async || -> Vec<bool> {
        let mut live = Vec::new();
        for token in &tokens {
            let with = With { token, ..With::default() };
            live.push(w.send("GET", "auth/token/lookup-self", with, json!({})).await.0 == 200);
        }
        live
    };
    assert_eq!(live().await, [true, true, true]);
    w.ok("PUT", "sys/leases/revoke-prefix/auth/userpass/login/bob", json!({})).await;
    assert_eq!(live().await, [false, true, true]);
    w.ok("PUT", "sys/leases/revoke-prefix/auth/userpass/", json!({})).await;
    assert_eq!(live().await, [false, false, false]);
}

#[tokio::test]
async fn who_is_no_operator_may_look_up_a_lease_but_list_none() {
    let w = World::new().await;
    let token = w.token(&["default"]).await;
    let with = With { token: &token, ..With::default() };
    let (status, told) = w.send("PUT", "sys/leases/lookup", with, json!({"lease_id": "x"})).await;
    assert_eq!((status, told["errors"][0].as_str().unwrap()), (400, "invalid lease"));
    let policy = "path \"sys/leases/*\" { capabilities = [\"list\", \"update\"] }";
    w.ok("PUT", "sys/policies/acl/wide", json!({ "policy": policy })).await;
    let token = w.token(&["wide"]).await;
    let with = With { token: &token, ..With::default() };
    assert_eq!(w.send("LIST", "sys/leases/lookup", with, json!({})).await.0, 403);
    assert_eq!(w.send("LIST", "sys/leases/lookup/database", with, json!({})).await.0, 403);
}

#[tokio::test]
async fn a_lifetime_beyond_what_can_be_written_down_is_refused() {
    let w = World::new().await;
    w.ok("POST", "sys/mounts/database", json!({"type": "database"})).await;
    for ttl in ["999999999999", "87600000h"] {
        let (status, told) = w.root("POST", "sys/mounts/database/tune", json!({"max_lease_ttl": ttl})).await;
        assert_eq!(status, 400, "{told}");
        let (status, _) =
            w.root("POST", "sys/mounts/more", json!({"type": "kv", "config": {"max_lease_ttl": ttl}})).await;
        assert_eq!(status, 400);
    }
    w.ok("POST", "sys/mounts/database/tune", json!({"max_lease_ttl": "87600h"})).await;
}
