//! Userpass: right, wrong, unknown and too often.

use super::world::*;
use crate::{Operation, Response, Result};
use serde_json::{Value, json};

async fn ask(world: &World, operation: Operation, path: &str, body: Value) -> Result<Response> {
    let token = (!path.starts_with("login")).then_some(world.root.as_str());
    world.ask("userpass", &mount("userpass/"), token, operation, path, body, None).await
}

async fn login(world: &World, name: &str, password: &str) -> Result<Response> {
    ask(world, Operation::Update, &format!("login/{name}"), json!({ "password": password })).await
}

#[tokio::test]
async fn people_log_in_with_their_password() {
    let world = World::new().await;
    let body = json!({"password": "first", "policies": "a,b", "token_ttl": "5m"});
    ask(&world, Operation::Update, "users/Bob", body).await.unwrap();
    let made = login(&world, "bob", "first").await.unwrap();
    let auth = made.auth.as_ref().unwrap();
    assert_eq!(
        (auth.policies.as_slice(), auth.lease_duration),
        (["a", "b", "default"].map(str::to_owned).as_slice(), 300)
    );
    assert_eq!(auth.metadata.as_ref().unwrap()["username"], "bob");
    let seen = data(&world.token(&client_token(&made), "lookup-self", json!({})).await.unwrap());
    assert_eq!(seen["display_name"], "userpass-bob");
    ask(&world, Operation::Update, "users/bob/password", json!({"password": "second"})).await.unwrap();
    assert!(login(&world, "bob", "first").await.is_err());
    assert!(login(&world, "BOB", "second").await.is_ok());
    ask(&world, Operation::Update, "users/bob/policies", json!({"policies": ["c"]})).await.unwrap();
    let user = data(&ask(&world, Operation::Read, "users/bob", json!({})).await.unwrap());
    assert_eq!(user["token_policies"], json!(["c"]));
    assert!(!user.to_string().contains("hash"));
    assert_eq!(
        refusal(world.token(&client_token(&made), "renew-self", json!({})).await).1,
        "policies have changed, not renewing"
    );
    assert_eq!(data(&ask(&world, Operation::List, "users", json!({})).await.unwrap())["keys"], json!(["bob"]));
    ask(&world, Operation::Delete, "users/bob", json!({})).await.unwrap();
    assert!(login(&world, "bob", "second").await.is_err());
    assert_eq!(refusal(ask(&world, Operation::Update, "users/x", json!({})).await), (400, "missing password".into()));
    assert_eq!(refusal(ask(&world, Operation::Update, "users/x", json!({"password": ""})).await).0, 400);
}

#[tokio::test]
async fn guessing_locks_a_name_known_or_not_for_a_while() {
    let world = World::new().await;
    ask(&world, Operation::Update, "users/bob", json!({"password": "right"})).await.unwrap();
    for name in ["bob", "nobody"] {
        for _ in 0..5 {
            assert_eq!(
                refusal(login(&world, name, "wrong").await),
                (400, "invalid username or password".into()),
                "{name}"
            );
        }
        assert_eq!(refusal(login(&world, name, "right").await).0, 403, "{name}");
    }
    world.pass(15 * 60);
    assert!(login(&world, "bob", "right").await.is_ok());
    assert_eq!(world.actions().await.iter().filter(|a| *a == "auth.refuse").count(), 10);
}
