//! Targets and the credentials that live in them, through the API.

use super::Control;
use serde_json::{Value, json};

const LOGINS: &str = r#"
credentials:
  - name: orders-admin
    engine: generated
  - name: orders-db
    engine: database
    database: { target: orders-pg, username: app, alternate: true }
    rotate: { every: 30d }
targets:
  - name: orders-pg
    system: postgresql
    host: db.internal
    database: orders
    username: cf
    credential: orders-admin
    tls: {}
"#;

#[tokio::test]
async fn declared_once_and_the_first_password_is_on_its_way() {
    let control = Control::start().await;
    let first = control.apply(LOGINS, json!({})).await.expect(200).json();
    assert_eq!(first["changes"].as_array().unwrap().len(), 3);
    let again = control.apply(LOGINS, json!({})).await.expect(200).json();
    assert_eq!(again["changes"], json!([]));
    let exported = control.get("/api/v1/config/export").await.expect(200).text;
    assert_eq!(control.apply(&exported, json!({})).await.expect(200).json()["changes"], json!([]));

    let target = control.get("/api/v1/targets/orders-pg").await.expect(200).json();
    assert_eq!(target["spec"]["host"], "db.internal");
    let listed = control.get("/api/v1/targets").await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    // The password is no version in use before the target accepts it.
    let states: Vec<Value> = control
        .store
        .credential_versions("orders-db")
        .await
        .unwrap()
        .iter()
        .map(|v| serde_json::to_value(v.state).unwrap())
        .collect();
    assert_eq!(states, ["pending"]);
    assert_eq!(control.store.running_rotations().await.unwrap().len(), 1);
    // While a credential lives there, the target stays.
    control.call(http::Method::DELETE, "/api/v1/targets/orders-pg", None, &[]).await.expect(422);
}

#[tokio::test]
async fn a_password_cannot_be_handed_in() {
    let control = Control::start().await;
    control.apply(LOGINS, json!({})).await.expect(200);
    let body = json!({ "name": "other-db", "engine": "database", "secret": "handed-in",
        "database": { "target": "orders-pg", "username": "other" } });
    let answer = control.post("/api/v1/credentials", body).await;
    assert!(!answer.text.contains("handed-in"));
    assert!(answer.status.is_client_error(), "{}", answer.text);
    assert!(control.store.credential_versions("other-db").await.unwrap().is_empty());
    let refused = control.apply(LOGINS, json!({ "orders-db": "handed-in" })).await.expect(422);
    assert!(refused.text.contains("value_not_taken") && !refused.text.contains("handed-in"));
}

#[tokio::test]
async fn whether_a_credential_holds_a_key_does_not_change() {
    let control = Control::start().await;
    let text = |live: &str, other: &str| {
        format!(
            "teams: [{{ name: payments }}]\napplications: [{{ name: checkout, team: payments }}]\n\
             keys: [{{ name: live, application: checkout }}, {{ name: other, application: checkout }}]\n\
             stores: [{{ name: bao, kind: vault, address: \"http://127.0.0.1:1\", credential: token }}]\n\
             credentials:\n- {{ name: token, engine: generated }}\n\
             - {{ name: live, engine: {live}, sync: [{{ store: bao, path: live, field: key }}] }}\n\
             - {{ name: other, engine: {other}, sync: [{{ store: bao, path: other, field: key }}] }}\n"
        )
    };
    control.apply(&text("key", "generated"), json!({})).await.expect(200);
    for (live, other, at) in [("generated", "generated", 1), ("key", "key", 2)] {
        let refused = control.apply(&text(live, other), json!({})).await.expect(422);
        assert!(refused.text.contains("engine_stays"), "{}", refused.text);
        assert!(refused.text.contains(&format!("credentials[{at}].engine")), "{}", refused.text);
    }
    let sync = |path: &str| json!([{ "store": "bao", "path": path, "field": "key" }]);
    let named = |name: &str, engine: &str| json!({ "name": name, "engine": engine, "sync": sync(name) });
    control.put("/api/v1/credentials/live", named("live", "generated")).await.expect(409);
    control.put("/api/v1/credentials/other", named("other", "key")).await.expect(409);
    control.put("/api/v1/credentials/live", named("live", "key")).await.expect(200);
}
