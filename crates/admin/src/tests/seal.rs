//! Sealing and unsealing through the API.

use super::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};

async fn unseal(control: &Control, body: Value) -> Answer {
    let request = Request::post("/api/v1/unseal")
        .header("content-type", "application/json")
        .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1))));
    control.send(request.body(Body::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn a_vault_is_sealed_by_the_administrator_and_unsealed_by_its_key() {
    let control = Control::start().await;
    let key = STANDARD.encode(std::fs::read(control.dir.path().join("root.key")).unwrap());
    assert_eq!(unseal(&control, json!({ "key": key })).await.expect(409).code(), "conflict");
    control.post("/api/v1/seal", json!({})).await.expect(200);
    assert!(control.vault.is_sealed());
    for wrong in [json!({ "key": STANDARD.encode([7u8; 32]) }), json!({ "key": "AAAA" }), json!({ "passphrase": "p" })]
    {
        assert_eq!(unseal(&control, wrong).await.expect(403).code(), "unseal_refused");
    }
    for unclear in
        [json!({}), json!({ "key": "%%" }), json!({ "key": key, "passphrase": "p" }), json!({ "token": "x" })]
    {
        unseal(&control, unclear).await.expect(400);
    }
    assert!(control.vault.is_sealed());
    assert_eq!(unseal(&control, json!({ "key": key })).await.expect(200).json(), json!({ "sealed": false }));
    let events = control.get("/api/v1/audit?subject=settings/vault").await.expect(200).json();
    let actions: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap().to_owned()).collect();
    assert_eq!(actions[..2], ["vault.unseal", "vault.unseal_refuse"]);
    assert_eq!(actions.iter().filter(|action| *action == "vault.unseal_refuse").count(), 3);
    assert!(actions.contains(&"vault.seal".to_owned()));
    assert!(!events.to_string().contains(&key));
}

#[tokio::test]
async fn guessing_a_passphrase_is_slowed_down_and_what_is_not_recorded_does_not_happen() {
    let control = Control::start().await;
    let key = STANDARD.encode(std::fs::read(control.dir.path().join("root.key")).unwrap());
    control.vault.seal();
    control.store.close().await;
    assert_eq!(unseal(&control, json!({ "key": key })).await.expect(503).code(), "store_unavailable");
    assert!(control.vault.is_sealed());
    for _ in 0..crate::throttle::MAX_FAILURES {
        unseal(&control, json!({ "key": "AAAA" })).await.expect(403);
    }
    assert_eq!(unseal(&control, json!({ "key": key })).await.expect(429).code(), "too_many_failures");
}
