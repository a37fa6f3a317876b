//! External stores and the credentials that come from them and go to them, through the API. What reaches
//! the stores is elsewhere; here is what can be declared, handed in and seen.

use super::Control;
use credentialflow_model::{Actor, Timestamp};
use credentialflow_store::{LinkDirection, LinkRow};
use serde_json::{Value, json};

const STORES: &str = r#"
credentials:
  - { name: access, engine: static, value: "${env:ACCESS}" }
  - { name: orders, engine: static, value: "${store:team/apps/orders#token}" }
  - { name: shared, engine: generated, sync: [{ store: team, path: b }, { store: team, path: a }] }
stores:
  - { name: team, kind: vault, address: "https://vault.internal", credential: access }
"#;

async fn started() -> Control {
    let control = Control::start().await;
    control.apply(STORES, json!({ "access": "a-token" })).await.expect(200);
    control
}

#[tokio::test]
async fn declared_once_and_the_value_comes_later() {
    let control = started().await;
    let again = control.apply(STORES, json!({ "access": "a-token" })).await.expect(200).json();
    assert_eq!(again["changes"], json!([]));
    let exported = control.get("/api/v1/config/export").await.expect(200).text;
    assert_eq!(control.apply(&exported, json!({ "access": "a-token" })).await.expect(200).json()["changes"], json!([]));
    assert_eq!(control.get("/api/v1/stores/team").await.expect(200).json()["spec"]["kind"], "vault");
    assert!(control.store.credential_versions("orders").await.unwrap().is_empty());
    // Every place is told, also before it was ever tried.
    let orders = control.get("/api/v1/credentials/orders").await.expect(200).json();
    let expected =
        json!([{ "credential": "orders", "direction": "read", "place": "team/apps/orders#token", "attempts": 0 }]);
    assert_eq!(orders["links"], expected);
    let shared = control.get("/api/v1/credentials/shared").await.expect(200).json();
    let places: Vec<&Value> = shared["links"].as_array().unwrap().iter().map(|link| &link["place"]).collect();
    assert_eq!(places, ["team/a", "team/b"]);
    assert!(control.get("/api/v1/credentials/access").await.expect(200).json().get("links").is_none());
    // While a credential names it, the store stays.
    control.call(http::Method::DELETE, "/api/v1/stores/team", None, &[]).await.expect(422);
}

#[tokio::test]
async fn no_value_is_handed_in_where_it_comes_from_a_store() {
    let control = started().await;
    let value = "${store:team/apps/other}";
    let body = json!({ "name": "other", "engine": "static", "value": value, "secret": "handed-in" });
    for answer in [
        control.post("/api/v1/credentials", body).await,
        control.post("/api/v1/credentials/orders/rotate", json!({ "secret": "handed-in" })).await,
        control.post("/api/v1/credentials/orders/deliver", json!({ "secret": "handed-in" })).await,
        control.apply(STORES, json!({ "access": "a-token", "orders": "handed-in" })).await,
    ] {
        assert!(answer.status.is_client_error() && answer.text.contains("comes from a store"), "{}", answer.text);
        assert!(!answer.text.contains("handed-in"));
    }
    let made = json!({ "name": "other", "engine": "static", "value": value });
    control.post("/api/v1/credentials", made).await.expect(201);
    assert!(control.store.credential_versions("other").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_fails_is_told_and_refreshing_needs_somebody_who_reaches_stores() {
    let control = started().await;
    let mut tx = control.store.begin(&Actor::system("stores")).await.unwrap();
    let failing = LinkRow {
        credential: "orders".parse().unwrap(),
        direction: LinkDirection::Read,
        place: "team/apps/orders#token".to_owned(),
        version: Some(3),
        remote: Some("7".to_owned()),
        attempts: 2,
        next_attempt: Some(Timestamp::from_secs(99)),
        succeeded: Some(Timestamp::from_secs(9)),
        error: Some("the store cannot be reached: no connection stands".to_owned()),
    };
    tx.put_link(&failing).await.unwrap();
    tx.audit("credential.read_source", "credentials/orders", json!({}));
    tx.commit().await.unwrap();
    let told = control.get("/api/v1/status").await.expect(200).json()["failing_links"].clone();
    assert_eq!(told, control.get("/api/v1/credentials/orders").await.expect(200).json()["links"]);
    assert_eq!((&told[0]["attempts"], &told[0]["version"], &told[0]["remote"]), (&json!(2), &json!(3), &json!("7")));
    assert!(told[0]["error"].as_str().unwrap().contains("cannot be reached"));
    // This control plane reaches none; a credential without links has nothing to ask for.
    let refused = control.post("/api/v1/credentials/orders/refresh", json!({})).await.expect(400);
    assert!(refused.text.contains("reaches no external stores"));
    let nothing = control.post("/api/v1/credentials/access/refresh", json!({})).await.expect(200).json();
    assert_eq!(nothing, json!({ "items": [] }));
    control.post("/api/v1/credentials/nobody/refresh", json!({})).await.expect(404);
}
