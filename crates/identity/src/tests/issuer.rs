//! Identity tokens: made for callers who logged in, checked by others with the published keys.

use super::world::*;
use crate::jose::{Algorithm, Claims, KeySet, verify};
use crate::{Duty, Operation, Response, Result};
use serde_json::{Value, json};

async fn ask(world: &World, token: &str, operation: Operation, path: &str, body: Value) -> Result<Response> {
    let data = body.as_object().cloned().unwrap_or_default();
    let caller = world.identity.authenticate(token, None).await?;
    let mount = mount("identity/");
    let call = crate::Call {
        mount: &mount,
        operation,
        path,
        data: &data,
        caller: Some(&caller),
        presented: None,
        source: None,
        rests_on: None,
    };
    world.identity.id_tokens(&call).await
}

async fn write(world: &World, path: &str, body: Value) -> Result<Response> {
    ask(world, &world.root, Operation::Update, path, body).await
}

#[tokio::test]
async fn a_caller_gets_a_token_that_others_can_check() {
    let world = World::new().await;
    let userpass = mount("userpass/");
    let body = json!({"password": "p"});
    world
        .ask("userpass", &userpass, Some(&world.root), Operation::Update, "users/bob", body.clone(), None)
        .await
        .unwrap();
    let login = || world.ask("userpass", &userpass, None, Operation::Update, "login/bob", body.clone(), None);
    let (first, second) = (login().await.unwrap(), login().await.unwrap());
    let entity = first.auth.as_ref().unwrap().entity_id.clone();
    assert!(!entity.is_empty() && second.auth.as_ref().unwrap().entity_id == entity);
    let bob = client_token(&first);
    // Nothing to say, so status 204, where no issuer is set; clients look at that.
    assert!(write(&world, "config", json!({"issuer": ""})).await.unwrap().warnings.is_empty());
    let set = write(&world, "config", json!({"issuer": "https://us.example:8200"})).await.unwrap();
    assert_eq!(set.warnings.len(), 1);
    for algorithm in ["RS256", "ES256", "ES384", "EdDSA"] {
        let key = format!("key/{algorithm}");
        write(&world, &key, json!({"algorithm": algorithm, "rotation_period": "1h", "verification_ttl": "1h"}))
            .await
            .unwrap();
        let role = format!("role/{algorithm}");
        write(&world, &role, json!({"key": algorithm, "ttl": "10m", "template": "{\"team\": \"pay\"}"})).await.unwrap();
        let client =
            data(&ask(&world, &world.root, Operation::Read, &role, json!({})).await.unwrap())["client_id"].clone();
        let token_path = format!("token/{algorithm}");
        let refused = ask(&world, &bob, Operation::Read, &token_path, json!({})).await;
        assert!(refusal(refused).1.contains("allowed client ID"));
        write(&world, &key, json!({"allowed_client_ids": [client]})).await.unwrap();
        let refused = ask(&world, &world.root, Operation::Read, &token_path, json!({})).await;
        assert_eq!(refusal(refused).1, "no entity associated with the request's token");
        let made = data(&ask(&world, &bob, Operation::Read, &token_path, json!({})).await.unwrap());
        let token = made["token"].as_str().unwrap();
        let published = ask(&world, &bob, Operation::Read, ".well-known/keys", json!({})).await.unwrap().raw.unwrap();
        assert!(!published.to_string().contains("\"d\""));
        let keys = KeySet::from_jwks(published.to_string().as_bytes()).unwrap();
        let claims = Claims::parse(&verify(token, &keys, &Algorithm::ALL).unwrap()).unwrap();
        assert_eq!((claims.text("sub"), claims.text("team")), (Some(entity.as_str()), Some("pay")));
        assert_eq!(claims.text("iss"), Some("https://us.example:8200/v1/identity/oidc"));
        let active = |client: Value| {
            let world = &world;
            async move {
                write(world, "introspect", json!({"token": token, "client_id": client})).await.unwrap().raw.unwrap()["active"].clone()
            }
        };
        assert_eq!((active(client.clone()).await, active(json!("other")).await), (json!(true), json!(false)));
        // The old key is published as long as tokens under it may be checked, and no longer.
        write(&world, &format!("{key}/rotate"), json!({"verification_ttl": "5m"})).await.unwrap();
        assert_eq!(active(client.clone()).await, json!(true));
        world.pass(300);
        assert_eq!(active(client).await, json!(false));
    }
    assert_eq!(refusal(write(&world, "role/x", json!({"key": "none"})).await).1, "cannot find key \"none\"");
    assert!(
        refusal(write(&world, "role/x", json!({"key": "RS256", "template": "{\"sub\": 1}"})).await)
            .1
            .contains("not allowed")
    );
    assert!(refusal(write(&world, "config", json!({"issuer": "https://a/b"})).await).0 == 400);
    let kept = ask(&world, &world.root, Operation::Delete, "key/RS256", json!({})).await;
    assert!(refusal(kept).1.contains("referenced"));
    assert_eq!(world.identity.revoke_entity(&credentialflow_model::Actor::operator(), &entity).await.unwrap(), 2);
    assert!(!world.accepts(&bob).await);
}

/// What is published, as somebody who keeps a copy has it.
async fn published(world: &World) -> (KeySet, Vec<String>) {
    let told = ask(world, &world.root, Operation::Read, ".well-known/keys", json!({})).await.unwrap().raw.unwrap();
    let kids = told["keys"].as_array().unwrap().iter().map(|k| k["kid"].as_str().unwrap().to_owned()).collect();
    (KeySet::from_jwks(told.to_string().as_bytes()).unwrap(), kids)
}

/// How often the private half of a stored key is there.
async fn private_halves(world: &World) -> usize {
    let shelf = crate::Shelf::new(world.store.clone(), world.vault.clone(), mount("identity/").id);
    let stored = shelf.open("oidc/key/k").await.unwrap().unwrap().value;
    let stored: Value = serde_json::from_slice(stored.expose()).unwrap();
    let held = |version: &Value| !version["private"].as_str().unwrap().is_empty();
    stored["versions"].as_array().unwrap().iter().chain([&stored["next"]]).filter(|v| held(v)).count()
}

#[tokio::test]
async fn keys_rotate_by_themselves_and_who_kept_the_published_ones_has_the_next() {
    let world = World::new().await;
    let userpass = mount("userpass/");
    let body = json!({"password": "p"});
    let users = |path: &'static str, token| {
        world.ask("userpass", &userpass, token, Operation::Update, path, body.clone(), None)
    };
    users("users/bob", Some(world.root.as_str())).await.unwrap();
    let bob = client_token(&users("login/bob", None).await.unwrap());
    let key =
        json!({"algorithm": "ES256", "rotation_period": "1h", "verification_ttl": "2h", "allowed_client_ids": "*"});
    write(&world, "key/k", key).await.unwrap();
    write(&world, "role/r", json!({"key": "k", "ttl": "90m"})).await.unwrap();
    let token = || async {
        let made = data(&ask(&world, &bob, Operation::Read, "token/r", json!({})).await.unwrap());
        made["token"].as_str().unwrap().to_owned()
    };
    let mount = mount("identity/");
    let rotated = || world.identity.rotate_signing_keys(&mount);
    assert_eq!(rotated().await.unwrap(), 0, "not due");
    let mut kept: Vec<(String, i64)> = Vec::new();
    for hour in 0..5 {
        let (copy, kids) = published(&world).await;
        // The two that may still be checked, as many as fit into two hours; the one that signs; the next one.
        assert_eq!(kids.len(), 2 + hour.min(2), "hour {hour}");
        assert_eq!(private_halves(&world).await, 2, "those that sign, now and next");
        kept.push((token().await, hour as i64));
        world.pass(3600);
        assert_eq!(rotated().await.unwrap(), 1, "nobody signed meanwhile");
        assert_eq!(rotated().await.unwrap(), 0);
        let fresh = token().await;
        assert!(verify(&fresh, &copy, &Algorithm::ALL).is_ok(), "a copy of an hour ago has the key");
        let (now, _) = published(&world).await;
        for (old, made) in &kept {
            // In force for 90 minutes, checkable for two hours.
            let published = verify(old, &now, &Algorithm::ALL).is_ok();
            assert_eq!(published, hour as i64 + 1 - made < 3, "made in hour {made}, looked at after {hour}");
        }
    }
    // Who rotates in haste has nothing of the old one published.
    let before = token().await;
    write(&world, "key/k/rotate", json!({"verification_ttl": "0s"})).await.unwrap();
    let (now, kids) = published(&world).await;
    assert!(verify(&before, &now, &Algorithm::ALL).is_err() && verify(&token().await, &now, &Algorithm::ALL).is_ok());
    // Another algorithm: the key that was to be next is of no use.
    write(&world, "key/k", json!({"algorithm": "EdDSA"})).await.unwrap();
    let (now, after) = published(&world).await;
    assert!(verify(&token().await, &now, &Algorithm::ALL).is_ok());
    assert_eq!(after.iter().filter(|kid| !kids.contains(kid)).count(), 2);
    let events = world.store.audit_events(0, 1000, &Default::default()).await.unwrap();
    assert_eq!(events.iter().filter(|e| e.action == "oidc.key.rotate").count(), 6);
}

#[tokio::test]
async fn two_nodes_that_rotate_at_the_same_moment_do_it_once() {
    let world = World::new().await;
    write(&world, "key/k", json!({"algorithm": "ES256", "rotation_period": "1h", "verification_ttl": "2h"}))
        .await
        .unwrap();
    world.pass(3600);
    let (_, before) = published(&world).await;
    let mount = mount("identity/");
    let both = tokio::join!(world.identity.rotate_signing_keys(&mount), world.identity.rotate_signing_keys(&mount));
    assert_eq!(both.0.unwrap() + both.1.unwrap(), 1);
    let (_, after) = published(&world).await;
    assert_eq!(after.iter().filter(|kid| !before.contains(kid)).count(), 1);
}

#[tokio::test]
async fn keys_are_told_with_their_versions_and_never_what_they_sign_with() {
    let world = World::new().await;
    let mount = mount("identity/");
    assert_eq!(world.identity.signing_keys(&mount).await.unwrap(), []);
    let userpass = super::world::mount("userpass/");
    let body = json!({"password": "p"});
    let users = |path: &'static str, token| {
        world.ask("userpass", &userpass, token, Operation::Update, path, body.clone(), None)
    };
    users("users/bob", Some(world.root.as_str())).await.unwrap();
    let bob = client_token(&users("login/bob", None).await.unwrap());
    let key =
        json!({"algorithm": "ES256", "rotation_period": "1h", "verification_ttl": "2h", "allowed_client_ids": "*"});
    write(&world, "key/k", key).await.unwrap();
    write(&world, "key/unused", json!({"algorithm": "EdDSA"})).await.unwrap();
    write(&world, "role/r", json!({"key": "k", "ttl": "90m"})).await.unwrap();
    // Number, what it is for, made so many seconds after the beginning, whether it is known to have signed.
    let told = || async {
        let keys = world.identity.signing_keys(&mount).await.unwrap();
        let names: Vec<_> = keys.iter().map(|k| (k.name.as_str(), k.algorithm.as_str(), k.roles.as_slice())).collect();
        assert_eq!(names, [("k", "ES256", ["r".to_owned()].as_slice()), ("unused", "EdDSA", &[])]);
        assert!(!format!("{keys:?}").contains("private"));
        let k = &keys[0];
        let versions = k.versions.iter().map(|v| (v.number, v.duty, v.created.secs() - START, v.last_used.is_some()));
        (k.next_rotation.secs() - START, versions.collect::<Vec<_>>())
    };
    assert_eq!(told().await, (3600, vec![(1, Duty::Signs, 0, false), (2, Duty::Next, 0, false)]));
    ask(&world, &bob, Operation::Read, "token/r", json!({})).await.unwrap();
    assert_eq!(told().await, (3600, vec![(1, Duty::Signs, 0, true), (2, Duty::Next, 0, false)]));
    world.pass(3600);
    assert_eq!(world.identity.rotate_signing_keys(&mount).await.unwrap(), 1);
    let after = [(1, Duty::Checks, 0, true), (2, Duty::Signs, 0, false), (3, Duty::Next, 3600, false)];
    assert_eq!(told().await, (7200, after.into()));
    // Nothing under the first can be checked any more.
    world.pass(7200);
    assert_eq!(told().await.1.first().map(|v| v.0), Some(2));
}
