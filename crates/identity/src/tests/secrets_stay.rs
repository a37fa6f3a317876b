//! Nothing that is secret lies anywhere: not in the files of the store, not in the audit log, not in
//! what can be printed.

use super::world::*;
use crate::{NewToken, Operation};
use credentialflow_store::AuditFilter;
use serde_json::json;

#[tokio::test]
async fn no_secret_is_stored_or_printed() {
    let world = World::new().await;
    let token = world.create(&world.root, json!({"ttl": "1h"})).await;
    world.create(&world.root, json!({"id": "canary-token-id", "ttl": "1h"})).await;
    let approle = mount("approle/");
    let root = Some(world.root.as_str());
    let ask = |path: &'static str, body| world.ask("approle", &approle, root, Operation::Update, path, body, None);
    ask("role/r", json!({})).await.unwrap();
    let made = ask("role/r/secret-id", json!({})).await.unwrap();
    let secret = data(&made)["secret_id"].as_str().unwrap().to_owned();
    ask("role/r/custom-secret-id", json!({"secret_id": "canary-secret-id"})).await.unwrap();
    let userpass = mount("userpass/");
    let body = json!({"password": "canary-password"});
    world.ask("userpass", &userpass, root, Operation::Update, "users/bob", body.clone(), None).await.unwrap();
    let login = world.ask("userpass", &userpass, None, Operation::Update, "login/bob", body, None).await.unwrap();
    let refused = json!({"password": "canary-wrong-password"});
    let refused = world.ask("userpass", &userpass, None, Operation::Update, "login/bob", refused, None).await;
    let caller = world.identity.authenticate(&token, None).await.unwrap();
    let printed = format!(
        "{made:?} {login:?} {refused:?} {caller:?} {:?} {:?}",
        world.identity,
        NewToken { id: Some("canary-new-id".into()), ..NewToken::default() }
    );
    let secrets = [
        world.root.as_str(),
        token.as_str(),
        secret.as_str(),
        &client_token(&login),
        "canary-token-id",
        "canary-secret-id",
        "canary-password",
        "canary-wrong-password",
        "canary-new-id",
    ];
    let events = world.store.audit_events(0, 1000, &AuditFilter::default()).await.unwrap();
    let log = serde_json::to_string(&events).unwrap();
    let mut files = Vec::new();
    for file in std::fs::read_dir(world.dir.path()).unwrap() {
        files.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    assert!(files.len() > 10_000 && log.contains("userpass.user.set"));
    for secret in secrets {
        assert!(!printed.contains(secret) && !log.contains(secret), "{secret}");
        assert!(!files.windows(secret.len()).any(|w| w == secret.as_bytes()), "{secret} in a file");
    }
    assert!(!world.vault.is_sealed());
}
