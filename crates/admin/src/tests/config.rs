//! The whole configuration: all or nothing, everything told at once, twice is once.

use super::{Control, FILE, value};
use credentialflow_model::{Actor, SecretValue, lifecycle::VersionState};
use credentialflow_store::CredentialVersionRow;
use serde_json::{Value, json};

fn changes(answer: &Value) -> Vec<String> {
    let list = answer["changes"].as_array().unwrap().iter();
    list.map(|c| {
        format!("{} {}/{}", c["action"].as_str().unwrap(), c["kind"].as_str().unwrap(), c["name"].as_str().unwrap())
    })
    .collect()
}

#[tokio::test]
async fn apply_makes_it_so_and_a_second_apply_changes_nothing() {
    let control = Control::start().await;
    let first = control.apply(FILE, value("v1")).await.expect(200).json();
    assert_eq!(changes(&first).len(), 7);
    assert_eq!(first["keys"].as_array().unwrap().len(), 1);
    assert!(first["keys"][0]["secret"].as_str().unwrap().starts_with("cfk_live_"));
    let seq = control.seq().await;
    let second = control.apply(FILE, value("v1")).await.expect(200).json();
    assert_eq!((changes(&second).len(), second["unchanged"].as_u64()), (0, Some(7)));
    assert!(second["keys"].as_array().unwrap().is_empty());
    // The stored value stands in for a reference that is not resolved again.
    control.apply(FILE, json!({})).await.expect(200);
    assert_eq!(control.seq().await, seq);
    let exported = control.get("/api/v1/config/export").await.expect(200).text;
    let third = control.apply(&exported, json!({})).await.expect(200).json();
    assert_eq!(changes(&third), Vec::<String>::new());
}

#[tokio::test]
async fn a_changed_value_starts_a_rotation() {
    let control = Control::start().await;
    control.apply(FILE, value("v1")).await.expect(200);
    let body = json!({ "documents": [{ "file": "f", "text": FILE }], "values": value("v2") });
    let plan = control.post("/api/v1/config/plan", body).await.expect(200).json();
    assert_eq!(changes(&plan), ["rotate credentials/orders-token"]);
    let applied = control.apply(FILE, value("v2")).await.expect(200).json();
    assert_eq!(applied["rotations"][0]["from_version"], 1);
    assert_eq!(applied["rotations"][0]["to_version"], 2);
    // The same again while it rotates: nothing new begins.
    let again = control.apply(FILE, value("v2")).await.expect(200).json();
    assert!(again["rotations"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn an_old_value_in_the_file_does_not_come_back_and_a_revoked_one_is_refused() {
    let control = Control::start().await;
    control.apply(FILE, value("v1")).await.expect(200);
    // As a finished `credential rotate` leaves it.
    let fingerprint = |text| control.vault.fingerprint(&"orders-token".parse().unwrap(), &SecretValue::from(text));
    let mut tx = control.store.begin(&Actor::operator()).await.unwrap();
    let mut old = tx.credential_version("orders-token", 1).await.unwrap().unwrap();
    let new = CredentialVersionRow { version: 2, fingerprint: fingerprint("v2").unwrap().to_vec(), ..old.clone() };
    old.state = VersionState::Destroyed;
    tx.update_credential_version(&old).await.unwrap();
    tx.insert_credential_version(&new).await.unwrap();
    tx.audit("test", "credentials/orders-token", json!({}));
    tx.commit().await.unwrap();
    let seq = control.seq().await;
    let body = |text| json!({ "documents": [{ "file": "f", "text": FILE }], "values": value(text) });
    let plan = control.post("/api/v1/config/plan", body("v1")).await.expect(200).json();
    let expected = json!([{ "credential": "orders-token", "version": 1,
        "detail": "the file's value is version 1, which was rotated away" }]);
    assert_eq!((changes(&plan), &plan["kept"]), (vec![], &expected));
    for _ in 0..2 {
        let applied = control.apply(FILE, value("v1")).await.expect(200).json();
        assert_eq!((changes(&applied), &applied["kept"]), (vec![], &expected));
        assert!(applied["rotations"].as_array().unwrap().is_empty());
    }
    assert_eq!(control.apply(FILE, value("v2")).await.expect(200).json()["kept"], json!([]));
    assert_eq!(control.seq().await, seq, "nothing was written");

    let mut tx = control.store.begin(&Actor::operator()).await.unwrap();
    old.state = VersionState::Revoked;
    tx.update_credential_version(&old).await.unwrap();
    tx.audit("test", "credentials/orders-token", json!({}));
    tx.commit().await.unwrap();
    let problem = control.apply(FILE, value("v1")).await.expect(422).json()["problems"][0].clone();
    assert_eq!((&problem["code"], &problem["path"]), (&json!("revoked_value"), &json!("credentials[0].value")));
    assert!(problem["at"]["line"].as_u64().unwrap() > 0, "{problem}");
    // With nothing in use, neither comes back as a first value.
    control.post("/api/v1/credentials/orders-token/revoke", json!({})).await.expect(200);
    assert_eq!(control.apply(FILE, value("v2")).await.expect(422).json()["problems"][0]["code"], "revoked_value");
    // On purpose it does, and the file then says the same.
    control.post("/api/v1/credentials/orders-token/rotate", json!({ "secret": "v1" })).await.expect(202);
    let applied = control.apply(FILE, value("v1")).await.expect(200).json();
    assert_eq!((changes(&applied), &applied["kept"]), (vec![], &json!([])));
}

#[tokio::test]
async fn one_bad_resource_and_nothing_is_changed() {
    let control = Control::start().await;
    control.apply(FILE, value("v1")).await.expect(200);
    let seq = control.seq().await;
    let bad = FILE
        .replace("upstream: orders", "upstream: nowhere")
        .replace("name: payments", "name: pay\n  - name: x\n    colour: red");
    let answer = control.apply(&bad, value("v2")).await.expect(422);
    assert_eq!(answer.code(), "invalid_resources");
    let problems = answer.json()["problems"].as_array().unwrap().clone();
    let codes: Vec<_> = problems.iter().map(|p| p["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"unknown_field") && codes.contains(&"unknown_name"), "{codes:?}");
    for problem in &problems {
        assert_eq!(problem["file"], "credentialflow.yaml");
        assert!(problem["at"]["line"].as_u64().unwrap() > 0, "{problem}");
    }
    assert_eq!(control.seq().await, seq, "nothing was changed, no rotation begun");
}

#[tokio::test]
async fn an_unresolved_reference_and_a_stray_value_are_problems() {
    let control = Control::start().await;
    let answer = control.apply(FILE, json!({})).await.expect(422).json();
    assert_eq!(answer["problems"][0]["code"], "unresolved_reference");
    assert!(answer["problems"][0]["at"]["line"].as_u64().unwrap() > 0);
    let stray = json!({ "orders-token": "v", "nobody": "v" });
    assert_eq!(control.apply(FILE, stray).await.expect(422).json()["problems"][0]["path"], "values.nobody");
    let body = json!({ "documents": [{ "file": "f", "text": FILE }] });
    let checked = control.post("/api/v1/config/check", body).await.expect(200).json();
    assert_eq!(checked["valid"], false);
    assert_eq!(checked["counts"]["routes"], 1);
    assert!(control.get("/api/v1/routes").await.json()["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn prune_deletes_what_is_not_declared() {
    let control = Control::start().await;
    control.apply(FILE, value("v1")).await.expect(200);
    let body =
        |prune| json!({ "documents": [{ "file": "f", "text": "teams:\n  - name: payments\n" }], "prune": prune });
    assert!(changes(&control.post("/api/v1/config/plan", body(false)).await.expect(200).json()).is_empty());
    let applied = control.post("/api/v1/config/apply", body(true)).await.expect(200).json();
    assert_eq!(changes(&applied).len(), 6);
    control.get("/api/v1/keys/checkout-live").await.expect(404);
    assert!(control.store.live_credential_versions().await.unwrap().is_empty());
}

#[tokio::test]
async fn one_route_among_thousands_changes_with_one_row() {
    let control = Control::start().await;
    let mut text = String::from("upstreams:\n  - name: u\n    endpoints: [\"http://127.0.0.1:1\"]\nroutes:\n");
    for n in 0..2000 {
        text.push_str(&format!(
            "  - {{ name: r{n}, match: {{ path: /r{n} }}, upstream: u, authenticate: [api_key] }}\n"
        ));
    }
    control.apply(&text, json!({})).await.expect(200);
    let seq = control.seq().await;
    let changed = text.replace("/r77 ", "/changed ");
    let applied = control.apply(&changed, json!({})).await.expect(200).json();
    assert_eq!(changes(&applied), ["update routes/r77"]);
    assert_eq!(applied["changes"][0]["fields"][0]["path"], "match.path");
    assert_eq!(control.seq().await, seq + 1);
}

#[tokio::test]
async fn a_file_of_authorities_that_cannot_be_used_is_told_before_anything_is_written() {
    let control = Control::start().await;
    let with = |file: &str, more: &str| {
        format!("upstreams:\n  - name: u\n    endpoints: [https://10.0.0.1]\n    tls: {{ ca_file: {file} }}\n{more}")
    };
    let refused = control.apply(&with("/missing/ca.pem", ""), json!({})).await.expect(422).json();
    let problem = &refused["problems"][0];
    assert_eq!((&problem["code"], &problem["path"]), (&json!("unusable_file"), &json!("upstreams[0].tls.ca_file")));
    assert_eq!((&problem["at"]["line"], &problem["file"]), (&json!(4), &json!("credentialflow.yaml")), "{problem}");
    let body = |file: &str| json!({ "name": "u", "endpoints": ["https://10.0.0.1"], "tls": { "ca_file": file } });
    let refused = control.post("/api/v1/upstreams", body("/missing/ca.pem")).await.expect(422).json();
    assert_eq!(refused["problems"][0]["path"], "tls.ca_file", "{refused}");
    control.get("/api/v1/upstreams/u").await.expect(404);
    control.post("/api/v1/upstreams", body("/there/ca.pem")).await.expect(201);
    control.put("/api/v1/upstreams/u", body("/missing/ca.pem")).await.expect(422);
    // One that went away since it was named keeps nobody from anything.
    let name = "u".parse().unwrap();
    let mut tx = control.store.begin(&credentialflow_model::Actor::operator()).await.unwrap();
    let stored = body("/missing/ca.pem").to_string();
    tx.put_resource(
        credentialflow_model::resource::Kind::Upstreams,
        &name,
        &stored,
        credentialflow_store::Expect::Anything,
    )
    .await
    .unwrap();
    tx.audit("upstream.update", "upstreams/u", json!({}));
    tx.commit().await.unwrap();
    control.apply(&with("/missing/ca.pem", "teams: [{ name: t }]\n"), json!({})).await.expect(200);
    control.put("/api/v1/upstreams/u", body("/missing/ca.pem")).await.expect(200);
}

#[tokio::test]
async fn files_of_authorities_of_stores_and_targets_are_looked_at_as_well() {
    let control = Control::start().await;
    let value = "credentials: [{ name: c, engine: static, value: '${env:C}' }]\n";
    let store = "stores: [{ name: s, kind: vault, address: 'https://v', credential: c, tls: { ca_file: FILE } }]\n";
    let target = "targets: [{ name: t, system: postgresql, host: db, database: d, username: a, credential: c, tls: { ca_file: FILE } }]\n";
    for (kind, text) in [("stores", store), ("targets", target)] {
        let with = |file: &str| format!("{value}{}", text.replace("FILE", file));
        let refused = control.apply(&with("/missing/ca.pem"), json!({ "c": "v" })).await.expect(422).json();
        let problem = &refused["problems"][0];
        assert_eq!(problem["code"], "unusable_file", "{refused}");
        assert_eq!((&problem["path"], &problem["at"]["line"]), (&json!(format!("{kind}[0].tls.ca_file")), &json!(2)));
        control.apply(&with("/there/ca.pem"), json!({ "c": "v" })).await.expect(200);
    }
    let body = json!({ "name": "s", "kind": "vault", "address": "https://v", "credential": "c", "tls": { "ca_file": "/missing" } });
    let refused = control.put("/api/v1/stores/s", body).await.expect(422).json();
    assert_eq!(refused["problems"][0]["path"], "tls.ca_file", "{refused}");
}
