//! Tokens: what hvac's suite asks for, and what it does not.

use super::world::*;
use crate::{BATCH_PREFIX, Call, Operation, SERVICE_PREFIX};
use serde_json::json;

#[tokio::test]
async fn a_token_is_made_looked_up_renewed_and_revoked() {
    let world = World::new().await;
    let made =
        world.token(&world.root, "create", json!({"ttl": "1h", "renewable": true, "meta": {"a": "b"}})).await.unwrap();
    let auth = made.auth.as_ref().unwrap();
    assert!(auth.renewable && auth.lease_duration == 3600 && !auth.orphan);
    assert_eq!(auth.policies, ["root"]);
    let token = client_token(&made);
    assert!(token.starts_with(SERVICE_PREFIX));
    let seen = data(&world.token(&world.root, "lookup", json!({"token": token})).await.unwrap());
    assert_eq!((seen["id"].as_str(), seen["ttl"].as_i64()), (Some(token.as_str()), Some(3600)));
    assert_eq!(seen["meta"], json!({"a": "b"}));
    let own = data(&world.token(&token, "lookup-self", json!({})).await.unwrap());
    assert_eq!((&own["id"], &own["accessor"]), (&seen["id"], &seen["accessor"]));
    world.pass(600);
    let renewed = world.token(&token, "renew-self", json!({})).await.unwrap();
    assert_eq!((client_token(&renewed), renewed.auth.unwrap().lease_duration), (token.clone(), 3600));
    world.token(&token, "revoke-self", json!({})).await.unwrap();
    assert!(!world.accepts(&token).await);
    assert_eq!(refusal(world.token(&world.root, "lookup", json!({"token": token})).await), (403, "bad token".into()));
    // Gone is gone, however often it is asked for.
    world.token(&world.root, "revoke", json!({"token": token})).await.unwrap();
    let actions = world.actions().await;
    for action in ["token.create_root", "token.create", "token.renew", "token.revoke"] {
        assert!(actions.iter().any(|a| a == action), "{action} in {actions:?}");
    }
}

#[tokio::test]
async fn an_accessor_stands_for_a_token_but_does_not_show_it() {
    let world = World::new().await;
    let made = world.token(&world.root, "create", json!({"ttl": "1h"})).await.unwrap();
    let accessor = made.auth.as_ref().unwrap().accessor.clone();
    let seen = data(&world.token(&world.root, "lookup-accessor", json!({"accessor": accessor})).await.unwrap());
    assert_eq!((seen["id"].as_str(), seen["accessor"].as_str()), (Some(""), Some(accessor.as_str())));
    let list =
        world.ask("token", &mount("token/"), Some(&world.root), Operation::List, "accessors", json!({}), None).await;
    assert!(data(&list.unwrap())["keys"].as_array().unwrap().contains(&json!(accessor)));
    let renewed = world.token(&world.root, "renew-accessor", json!({"accessor": accessor})).await.unwrap();
    assert_eq!(client_token(&renewed), "");
    world.token(&world.root, "revoke-accessor", json!({"accessor": accessor})).await.unwrap();
    let refused = world.token(&world.root, "lookup-accessor", json!({"accessor": accessor})).await;
    assert_eq!(refusal(refused).0, 400);
    assert!(!world.accepts(&client_token(&made)).await);
}

#[tokio::test]
async fn lifetimes_are_what_was_asked_for_within_the_limits() {
    let world = World::new().await;
    for (body, ttl) in [
        (json!({"ttl": "30m", "explicit_max_ttl": "5m"}), 300),
        (json!({"ttl": "5m"}), 300),
        (json!({"period": "30m"}), 1800),
        (json!({"policies": ["default"]}), 768 * 3600),
        (json!({"policies": ["default"], "ttl": "9000h"}), 768 * 3600),
        (json!({}), 0),
    ] {
        let made = world.token(&world.root, "create", body.clone()).await.unwrap();
        assert_eq!(made.auth.unwrap().lease_duration, ttl, "{body}");
    }
    let periodic = world.create(&world.root, json!({"period": "30m"})).await;
    for _ in 0..200 {
        world.pass(1700);
        world.token(&periodic, "renew-self", json!({})).await.unwrap();
    }
    let seen = data(&world.token(&periodic, "lookup-self", json!({})).await.unwrap());
    assert_eq!((seen["period"].as_i64(), seen["ttl"].as_i64()), (Some(1800), Some(1800)));
    let limited = world.create(&world.root, json!({"ttl": "30m", "explicit_max_ttl": "1h"})).await;
    world.pass(1700);
    world.token(&limited, "renew-self", json!({"increment": "10h"})).await.unwrap();
    world.pass(1899);
    assert!(world.accepts(&limited).await);
    world.pass(1);
    assert!(!world.accepts(&limited).await);
    assert_eq!(refusal(world.token(&world.root, "renew", json!({"token": limited})).await).0, 403);
    let fixed = world.create(&world.root, json!({"ttl": "30m", "renewable": false})).await;
    assert_eq!(refusal(world.token(&fixed, "renew-self", json!({})).await), (400, "lease is not renewable".into()));
}

#[tokio::test]
async fn a_clock_set_back_brings_nothing_back() {
    let world = World::new().await;
    let token = world.create(&world.root, json!({"ttl": "1h"})).await;
    world.pass(3600);
    assert!(!world.accepts(&token).await);
    world.jump(-86_400);
    assert!(!world.accepts(&token).await);
    // And what is made now lives exactly as long as it was given.
    let later = world.create(&world.root, json!({"ttl": "1h"})).await;
    world.pass(3599);
    assert!(world.accepts(&later).await);
    world.pass(1);
    assert!(!world.accepts(&later).await);
    assert!(world.identity.expire(100).await.unwrap() >= 2);
}

#[tokio::test]
async fn nobody_gives_away_more_than_they_have() {
    let world = World::new().await;
    world.policy("maker", r#"path "auth/token/create" { capabilities = ["create", "update"] }"#).await;
    world.policy("boss", r#"path "auth/token/create*" { capabilities = ["create", "update", "sudo"] }"#).await;
    world.policy("a", r#"path "a" { capabilities = ["read"] }"#).await;
    let maker = world.create(&world.root, json!({"policies": ["maker", "a"], "ttl": "1h"})).await;
    let child = world.token(&maker, "create", json!({"policies": ["a"]})).await.unwrap();
    assert_eq!(child.auth.unwrap().policies, ["a", "default"]);
    let bare = world.token(&maker, "create", json!({"policies": ["a"], "no_default_policy": true})).await.unwrap();
    assert_eq!(bare.auth.unwrap().policies, ["a"]);
    let same = world.token(&maker, "create", json!({})).await.unwrap();
    assert_eq!(same.auth.unwrap().policies, ["a", "default", "maker"]);
    for (body, text) in [
        (json!({"policies": ["boss"]}), "child policies must be subset of parent"),
        (json!({"policies": ["root"]}), "child policies must be subset of parent"),
        (json!({"no_parent": true}), "root or sudo privileges required to create orphan token"),
        (json!({"id": "mine"}), "root or sudo privileges required to specify token id"),
        (json!({"period": "1h"}), "root or sudo privileges required to create periodic token"),
        (json!({"entity_alias": "x"}), "entity aliases are not supported yet"),
        (json!({"num_uses": -1}), "number of uses cannot be negative"),
        (json!({"type": "other"}), "invalid 'type' value"),
    ] {
        assert_eq!(refusal(world.token(&maker, "create", body).await), (400, text.to_owned()));
    }
    let boss = world.create(&world.root, json!({"policies": ["boss"], "ttl": "1h"})).await;
    let made =
        world.token(&boss, "create", json!({"policies": ["a"], "no_parent": true, "period": "1h"})).await.unwrap();
    assert!(made.auth.unwrap().orphan);
    let refused = world.token(&boss, "create", json!({"policies": ["root"]})).await;
    assert_eq!(refusal(refused).1, "root tokens may not be created without parent token being root");
    let few = world.create(&world.root, json!({"num_uses": 5})).await;
    let refused = world.token(&few, "create", json!({})).await;
    assert_eq!(refusal(refused).1, "restricted use token cannot generate child tokens");
}

#[tokio::test]
async fn root_chooses_ids_and_names() {
    let world = World::new().await;
    let body = json!({"id": "my-token", "display_name": "CI job", "ttl": "1h"});
    assert_eq!(world.create(&world.root, body.clone()).await, "my-token");
    let seen = data(&world.token("my-token", "lookup-self", json!({})).await.unwrap());
    assert_eq!(seen["display_name"], "token-CI-job");
    let again = world.token(&world.root, "create", body).await;
    assert_eq!(refusal(again).1, "cannot create a token with a duplicate ID");
    for id in ["hvs.x", "cfs_x", "a.b", "with space"] {
        assert_eq!(refusal(world.token(&world.root, "create", json!({"id": id})).await).0, 400, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn uses_are_counted_exactly_also_in_parallel() {
    let world = std::sync::Arc::new(World::new().await);
    let token = world.create(&world.root, json!({"num_uses": 20, "ttl": "1h"})).await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (world, token) = (world.clone(), token.clone());
        tasks.push(tokio::spawn(async move {
            let mut good = 0;
            let mut last = 0;
            for _ in 0..10 {
                if let Ok(caller) = world.identity.authenticate(&token, None).await {
                    good += 1;
                    last += usize::from(caller.is_last_use());
                }
            }
            (good, last)
        }));
    }
    let (mut good, mut last) = (0, 0);
    for task in tasks {
        let (g, l) = task.await.unwrap();
        good += g;
        last += l;
    }
    assert_eq!((good, last), (20, 1));
    assert!(!world.accepts(&token).await);
    // What was spent is removed by the next turn of expiry, although its time is not over.
    assert_eq!(world.identity.expire(10).await.unwrap(), 1);
}

#[tokio::test]
async fn batch_tokens_carry_themselves_and_end_with_their_parent() {
    let world = World::new().await;
    world.policy("maker", r#"path "auth/token/create" { capabilities = ["update"] }"#).await;
    let maker = world.create(&world.root, json!({"policies": ["maker"], "ttl": "1h"})).await;
    let made = world.token(&maker, "create", json!({"type": "batch", "ttl": "10m"})).await.unwrap();
    let auth = made.auth.as_ref().unwrap();
    assert!(auth.accessor.is_empty() && !auth.renewable && auth.token_type == "batch");
    let batch = client_token(&made);
    assert!(batch.starts_with(BATCH_PREFIX) && world.accepts(&batch).await);
    let mut bent = batch.clone();
    bent.replace_range(40..41, if &batch[40..41] == "A" { "B" } else { "A" });
    assert!(!world.accepts(&bent).await && !world.accepts(BATCH_PREFIX).await);
    assert_eq!(refusal(world.token(&batch, "create", json!({})).await).0, 400);
    assert_eq!(refusal(world.token(&batch, "renew-self", json!({})).await).0, 400);
    world.token(&world.root, "revoke", json!({"token": maker})).await.unwrap();
    assert!(!world.accepts(&batch).await);
    let body = json!({"type": "batch", "ttl": "10m", "policies": ["maker"], "no_parent": true});
    let orphan = world.create(&world.root, body).await;
    world.pass(599);
    assert!(world.accepts(&orphan).await);
    world.pass(1);
    assert!(!world.accepts(&orphan).await);
}

#[tokio::test]
async fn roles_rule_what_is_made_through_them() {
    let world = World::new().await;
    let token_mount = mount("token/");
    let list = || world.ask("token", &token_mount, Some(&world.root), Operation::List, "roles", json!({}), None);
    assert_eq!(refusal(list().await).0, 404);
    let body = json!({"allowed_policies": ["testpolicy"], "orphan": true, "token_period": "10m", "path_suffix": "x"});
    world.token(&world.root, "roles/testrole", body).await.unwrap();
    assert_eq!(data(&list().await.unwrap())["keys"], json!(["testrole"]));
    let made = world.token(&world.root, "create/testrole", json!({"ttl": "1h"})).await.unwrap();
    let auth = made.auth.as_ref().unwrap();
    assert_eq!(auth.policies, ["default", "testpolicy"]);
    assert!(auth.orphan && auth.lease_duration == 600);
    let seen = data(&world.token(&client_token(&made), "lookup-self", json!({})).await.unwrap());
    assert_eq!(
        (seen["role"].as_str(), seen["path"].as_str()),
        (Some("testrole"), Some("auth/token/create/testrole/x"))
    );
    let refused = world.token(&world.root, "create/testrole", json!({"policies": ["other"]})).await;
    assert_eq!(refusal(refused).0, 400);
    world.token(&world.root, "roles/no", json!({"disallowed_policies_glob": ["prod-*"]})).await.unwrap();
    let refused = world.token(&world.root, "create/no", json!({"policies": ["prod-db"]})).await;
    assert!(refusal(refused).1.contains("disallowed"));
    world
        .ask("token", &token_mount, Some(&world.root), Operation::Delete, "roles/testrole", json!({}), None)
        .await
        .unwrap();
    assert_eq!(refusal(world.token(&world.root, "create/testrole", json!({})).await).0, 400);
}

#[tokio::test]
async fn tokens_are_bound_to_networks() {
    let world = World::new().await;
    world.token(&world.root, "roles/office", json!({"token_bound_cidrs": ["10.0.0.0/8"]})).await.unwrap();
    let token = client_token(&world.token(&world.root, "create/office", json!({"ttl": "1h"})).await.unwrap());
    assert!(world.identity.authenticate(&token, "10.1.2.3".parse().ok()).await.is_ok());
    assert!(world.identity.authenticate(&token, "11.1.2.3".parse().ok()).await.is_err());
    assert!(!world.accepts(&token).await);
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let world = World::new().await;
    for text in ["", "x", "cfs_", "hvs.abc", "root", &"a".repeat(100_000), "cfs_\u{0}"] {
        assert_eq!(world.identity.authenticate(text, None).await.err().unwrap().status(), 403);
    }
}

#[tokio::test]
async fn a_caller_whose_token_ended_meanwhile_makes_nothing_that_outlives_it() {
    let world = World::new().await;
    let maker = world.create(&world.root, json!({"policies": ["root"], "ttl": "1h"})).await;
    // Let in before the token ended; what it asked for comes to be written after.
    let caller = world.identity.authenticate(&maker, None).await.unwrap();
    world.token(&world.root, "revoke", json!({"token": maker})).await.unwrap();
    let before = (world.store.token_counts().await.unwrap(), world.actions().await.len());
    for (kind, at, path, body) in [
        ("token", "token/", "create-orphan", json!({})),
        ("token", "token/", "create", json!({"no_parent": true, "ttl": "1h"})),
        ("token", "token/", "create", json!({"no_parent": true, "ttl": "1h", "type": "batch"})),
        ("token", "token/", "roles/r", json!({})),
        ("policy", "sys/", "p", json!({"policy": r#"path "a" { capabilities = ["read"] }"#})),
        ("userpass", "userpass/", "users/bob", json!({"password": "p"})),
        ("approle", "approle/", "role/r", json!({})),
    ] {
        let (mount, data) = (mount(at), body.as_object().unwrap());
        let (operation, caller) = (Operation::Update, Some(&caller));
        let call = Call { mount: &mount, operation, path, data, caller, presented: None, source: None, rests_on: None };
        let done = match kind {
            "token" => world.identity.token(&call).await,
            "policy" => world.identity.policies(&call).await,
            kind => world.identity.login_method(kind, &call).await,
        };
        assert_eq!(refusal(done), (403, "permission denied".into()), "{kind} {path}");
    }
    assert_eq!((world.store.token_counts().await.unwrap(), world.actions().await.len()), before);
}
