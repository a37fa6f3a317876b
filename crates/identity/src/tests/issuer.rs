//! Identity tokens: made for callers who logged in, checked by others with the published keys.

use super::world::*;
use crate::jose::{Algorithm, Claims, KeySet, verify};
use crate::{Operation, Response, Result};
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
    write(&world, "config", json!({"issuer": "https://us.example:8200"})).await.unwrap();
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
