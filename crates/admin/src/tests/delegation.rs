//! Keys that come from other keys, as the admin API makes, shows, changes and ends them.

use super::{Control, inventory::record};
use credentialflow_model::{Actor, resource::Kind};
use credentialflow_vault::{ShownKey, WantedKey};
use serde_json::{Value, json};

const FAMILY: &str = r#"
upstreams:
  - { name: orders, endpoints: ["http://127.0.0.1:9001"] }
routes:
  - { name: orders, match: { path: /orders }, upstream: orders, authenticate: [api_key] }
  - { name: stock, match: { path: /stock }, upstream: orders, authenticate: [api_key] }
applications:
  - { name: checkout, allow: { routes: [orders, stock] } }
  - { name: other, allow: { routes: [orders] } }
keys:
  - { name: grandchild, application: checkout, parent: child }
  - { name: child, application: checkout, parent: root, actor: { name: planner }, allow: { routes: [orders] } }
  - { name: root, application: checkout, delegate: { depth: 2 }, subject: alice }
"#;

/// A key that another one issues at the token endpoint.
async fn exchange(control: &Control, parent: &str) -> String {
    let id = control.store.key_by_name(parent).await.unwrap().unwrap().id;
    let shown = ShownKey { key: id, version: 1, source: "127.0.0.1".parse().unwrap() };
    let issued = control.vault.delegate_key(&Actor::operator(), shown, WantedKey::default(), "cfk").await.unwrap();
    issued.key.name.to_string()
}

fn paths(answer: &Value) -> Vec<&str> {
    answer["problems"].as_array().unwrap().iter().map(|p| p["path"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_family_is_applied_shown_and_ended() {
    let control = Control::start().await;
    control.apply(FAMILY, json!({})).await.expect(200);
    let agent = exchange(&control, "root").await;
    let root = control.get("/api/v1/keys/root").await.expect(200).json();
    assert_eq!(root["delegation"]["keys_below"], 3);
    let shown = control.get("/api/v1/keys/grandchild").await.expect(200).json();
    let expected = json!({
        "subject": "alice", "act": { "sub": "grandchild", "act": { "sub": "planner" } }, "ancestors": ["child", "root"],
        "exchanged": false, "keys_below": 0, "below": [],
    });
    assert_eq!(shown["delegation"], expected);
    assert_eq!(control.get(&format!("/api/v1/keys/{agent}")).await.json()["delegation"]["exchanged"], true);
    let radius = control.get("/api/v1/keys/root/blast-radius").await.expect(200).json();
    let subjects: Vec<_> = radius["consequences"].as_array().unwrap().iter().map(|c| c["subject"].clone()).collect();
    assert!(subjects.contains(&json!(format!("keys/{agent}"))) && subjects.len() == 3, "{radius}");

    let listed = control.get("/api/v1/inventory?kind=key").await.expect(200).json();
    let child = listed["items"].as_array().unwrap().iter().find(|entry| entry["name"] == "child").unwrap();
    assert_eq!((&child["parent"], &child["description"]), (&json!("root"), &json!("planner")));

    // What a key issued is declared nowhere, and nothing that is applied takes it away.
    let exported = control.get("/api/v1/config/export").await.expect(200).text;
    assert!(exported.contains("parent: child") && !exported.contains(&agent), "{exported}");
    let body = json!({ "documents": [{ "file": "f", "text": exported }], "prune": true });
    let plan = control.post("/api/v1/config/plan", body).await.expect(200).json();
    assert_eq!(plan["changes"], json!([]));
    control.call(http::Method::DELETE, "/api/v1/routes/stock", None, &[]).await.expect(422);

    let revoked = control.post("/api/v1/keys/child/revoke", json!({})).await.expect(200).json();
    assert!(revoked["revoked"].is_string());
    for (name, ended) in [("grandchild", true), (agent.as_str(), false), ("root", false)] {
        let key = control.get(&format!("/api/v1/keys/{name}")).await.expect(200).json();
        assert_eq!(key.get("revoked").is_some(), ended, "{name}");
    }
    control.call(http::Method::DELETE, "/api/v1/keys/root", None, &[]).await.expect(204);
    for name in ["root", "child", "grandchild", &agent] {
        control.get(&format!("/api/v1/keys/{name}")).await.expect(404);
        assert!(control.store.resource(Kind::Keys, name).await.unwrap().is_none(), "{name}");
    }
}

#[tokio::test]
async fn nothing_wider_than_its_parent_is_taken_and_parents_stay() {
    let control = Control::start().await;
    let wider = FAMILY.replace("parent: child }", "parent: child, allow: { routes: [orders, stock] } }");
    let refused = control.apply(&wider, json!({})).await.expect(422).json();
    assert_eq!(paths(&refused), ["keys[0].allow.routes[1]"]);
    let circle =
        FAMILY.replace("name: root, application: checkout,", "name: root, application: checkout, parent: grandchild,");
    assert_eq!(paths(&control.apply(&circle, json!({})).await.expect(422).json()).len(), 3);
    control.apply(FAMILY, json!({})).await.expect(200);

    let key = |more: Value| {
        let mut key = json!({ "name": "new", "application": "checkout", "parent": "child" });
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key
    };
    for (more, path) in [
        (json!({ "allow": { "routes": ["stock"] } }), "allow.routes[0]"),
        (json!({ "application": "other" }), "application"),
        (json!({ "parent": "nobody" }), "parent"),
        (json!({ "subject": "bob" }), "subject"),
    ] {
        let refused = control.post("/api/v1/keys", key(more)).await.expect(422).json();
        assert_eq!(paths(&refused), [path]);
    }
    let agent = exchange(&control, "root").await;
    let below_agent = control.post("/api/v1/keys", key(json!({ "parent": agent }))).await.expect(422).json();
    assert_eq!(paths(&below_agent), ["parent"]);
    control.post("/api/v1/keys", key(json!({}))).await.expect(201);

    // A parent may be narrowed whatever its children declare; their own declarations are judged when they change.
    control
        .put("/api/v1/keys/root", json!({ "name": "root", "application": "checkout", "allow": {} }))
        .await
        .expect(200);
    let moved = json!({ "name": "root", "application": "other", "allow": {} });
    assert_eq!(control.put("/api/v1/keys/root", moved).await.expect(409).code(), "conflict");
    let orphan = json!({ "name": "child", "application": "checkout", "allow": {} });
    control.put("/api/v1/keys/child", orphan).await.expect(409);
    let text = FAMILY.replace("parent: root, ", "").replace("delegate: { depth: 2 }, ", "");
    let refused = control.apply(&text, json!({})).await.expect(422).json();
    assert_eq!(refused["problems"][0]["code"], "parent_stays", "{refused}");
    let declared = control.get(&format!("/api/v1/keys/{agent}")).await.expect(200).json()["spec"].clone();
    control.put(&format!("/api/v1/keys/{agent}"), declared).await.expect(200);
    control.post("/api/v1/keys/root/revoke", json!({})).await.expect(200);
    let late =
        control.post("/api/v1/keys", json!({ "name": "late", "application": "checkout", "parent": "root" })).await;
    assert!(late.status.is_client_error(), "{}", late.text);
}

#[tokio::test]
async fn calls_are_found_by_agent_and_by_the_key_that_theirs_comes_from_also_when_that_is_gone() {
    let control = Control::start().await;
    control.apply(FAMILY, json!({})).await.expect(200);
    let id = async |name: &str| control.store.key_by_name(name).await.unwrap().unwrap().id;
    let [root, child, grandchild] = [id("root").await, id("child").await, id("grandchild").await];
    for (key, calls) in [(root, 1), (child, 2), (grandchild, 4)] {
        record(&control, key, calls, true);
    }
    let found = async |query: &str| {
        let page = control.get(&format!("/api/v1/calls?{query}")).await.expect(200).json();
        page["items"].as_array().unwrap().len()
    };
    assert_eq!(found(&format!("key={root}")).await, 1);
    assert_eq!(found(&format!("key={root}&with_keys_below=true")).await, 7);
    assert_eq!(found(&format!("key={child}&with_keys_below=true&limit=3")).await, 3, "the rest is on the next page");
    assert_eq!(found("agent=planner").await, 2);
    assert_eq!(found(&format!("agent=planner&key={grandchild}&with_keys_below=true")).await, 0);
    assert_eq!(found(&format!("agent=planner&key={root}&with_keys_below=true")).await, 2);
    assert_eq!(found("agent=planner&application=other").await, 0);
    assert_eq!(found("agent=nobody").await, 0);
    assert_eq!(found("prompt=sentiment").await, 0);
    for wrong in ["with_keys_below=true", "prompt_version=1"] {
        control.get(&format!("/api/v1/calls?{wrong}")).await.expect(400);
    }
    control.call(http::Method::DELETE, "/api/v1/keys/child", None, &[]).await.expect(204);
    assert_eq!(found("agent=planner").await, 2);
    assert_eq!(found(&format!("key={root}&with_keys_below=true")).await, 7);
}

#[tokio::test]
async fn a_key_tells_of_those_below_it_what_they_may_use_and_have_left() {
    let control = Control::start().await;
    let budget = FAMILY.replace(
        "actor: { name: planner }",
        "actor: { name: planner, purpose: plans }, expires: 2099-01-01T00:00:00Z, budget: { usd: 2, per: day, hard: true }",
    );
    control.apply(&budget, json!({})).await.expect(200);
    let of =
        async |name: &str| control.get(&format!("/api/v1/keys/{name}")).await.expect(200).json()["delegation"].clone();
    let below = of("root").await["below"].clone();
    let child = below.as_array().unwrap().iter().find(|key| key["name"] == "child").unwrap();
    assert_eq!(child["allow"], json!({ "routes": ["orders"] }));
    assert_eq!((&child["purpose"], &child["actor"]), (&json!("plans"), &json!("planner")));
    assert_eq!(child["expires"], "2099-01-01T00:00:00Z");
    let [own] = &child["budgets"].as_array().unwrap()[..] else { panic!("{child}") };
    assert_eq!((&own["budget"], &own["left_usd"]), (&json!("keys/child/day"), &json!("2")));
    let leaf = below.as_array().unwrap().iter().find(|key| key["name"] == "grandchild").unwrap();
    assert!(leaf.get("allow").is_none() && leaf.get("budgets").is_none(), "{leaf}");
    assert_eq!(of("child").await["budgets"], child["budgets"]);

    let revoked = control.post("/api/v1/keys/root/revoke", json!({})).await.expect(200).json();
    assert_eq!(revoked["keys_ended"], 2);
    let again = control.post("/api/v1/keys/root/revoke", json!({})).await.expect(200).json();
    assert_eq!(again["keys_ended"], 0);
}
