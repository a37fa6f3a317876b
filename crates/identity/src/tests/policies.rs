//! Policies from their text to the answer, and that a change shows at once.

use super::world::*;
use crate::{Operation, acl::Decision};
use serde_json::{Map, json};

async fn decide(world: &World, token: &str, path: &str) -> Decision {
    let caller = world.identity.authenticate(token, None).await.unwrap();
    caller.acl().decide(Operation::Read, path, &Map::new())
}

#[tokio::test]
async fn a_changed_policy_holds_for_tokens_that_exist() {
    let world = World::new().await;
    let token = world.create(&world.root, json!({"policies": ["p"], "ttl": "1h"})).await;
    assert!(!decide(&world, &token, "kv/a").await.allowed);
    world.policy("p", r#"path "kv/*" { capabilities = ["read"] }"#).await;
    assert!(decide(&world, &token, "kv/a").await.allowed);
    assert!(decide(&world, &token, "auth/token/lookup-self").await.allowed, "by the policy default");
    assert_eq!(world.identity.acl_of_token(&token).await.unwrap().capabilities("kv/a"), ["read"]);
    world.policy("p", r#"path "kv/*" { capabilities = ["deny"] }"#).await;
    assert!(!decide(&world, &token, "kv/a").await.allowed);
    world.ask("policy", &mount("sys/"), Some(&world.root), Operation::Delete, "p", json!({}), None).await.unwrap();
    assert!(!decide(&world, &token, "kv/a").await.allowed);
    assert!(decide(&world, &world.root, "anything").await.sudo);
}

#[tokio::test]
async fn policies_are_kept_as_written_and_the_built_in_ones_stay() {
    let world = World::new().await;
    let ask = |operation, path: &'static str, body| {
        let world = &world;
        async move { world.ask("policy", &mount("sys/"), Some(&world.root), operation, path, body, None).await }
    };
    let text = "path \"a\" { capabilities = [\"read\"] } # why";
    ask(Operation::Update, "Mixed", json!({"policy": text})).await.unwrap();
    assert_eq!(data(&ask(Operation::Read, "mixed", json!({})).await.unwrap())["policy"], text);
    assert_eq!(data(&ask(Operation::List, "", json!({})).await.unwrap())["keys"], json!(["default", "mixed", "root"]));
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    ask(Operation::Update, "coded", json!({"policy": encoded})).await.unwrap();
    assert_eq!(data(&ask(Operation::Read, "coded", json!({})).await.unwrap())["policy"], text);
    assert_eq!(refusal(ask(Operation::Read, "none", json!({})).await).0, 404);
    for (operation, path, body) in [
        (Operation::Delete, "root", json!({})),
        (Operation::Delete, "default", json!({})),
        (Operation::Update, "root", json!({"policy": text})),
        (Operation::Update, "x", json!({"policy": "path"})),
        (Operation::Update, "x", json!({"policy": ""})),
        (Operation::Update, "x", json!({"policy": "path \"a\" { capabilities = [\"fly\"] }"})),
    ] {
        assert_eq!(refusal(ask(operation, path, body).await).0, 400, "{operation:?} {path}");
    }
}
