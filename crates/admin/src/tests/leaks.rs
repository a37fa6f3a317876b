//! Leaks: reports of anybody, of administrators and of GitHub, what they set off, and what they never tell.

use super::{Answer, Control, FILE, value};
use crate::{
    leaks::{LiveSecret, Met, PER_SOURCE, Sender, secret_logged, secret_sent},
    ports::Fetch,
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use axum::{body::Body, extract::ConnectInfo};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::{KeyId, SecretValue, Timestamp};
use credentialflow_store::{KeyNetwork, Uses};
use http::Request;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    time::Duration,
};

const VALUE: &str = "orders-upstream-value-1";

/// A control plane with a file applied and a key issued.
async fn start(fetch: Option<Arc<dyn Fetch>>) -> (Control, String) {
    let control = Control::start_with(|settings| settings.fetch = fetch).await;
    control.apply(FILE, value(VALUE)).await.expect(200);
    let issued = control.post("/api/v1/keys", json!({ "name": "live", "application": "checkout" })).await.expect(201);
    let key = issued.json()["secret"].as_str().unwrap().to_owned();
    (control, key)
}

async fn public(control: &Control, from: u8, body: &Value) -> Answer {
    let request = Request::post("/api/v1/leaks/report")
        .header("content-type", "application/json")
        .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, from], 9))))
        .body(Body::from(body.to_string()))
        .unwrap();
    control.send(request).await
}

async fn leaks(control: &Control) -> Vec<Value> {
    control.get("/api/v1/leaks").await.expect(200).json()["items"].as_array().unwrap().clone()
}

/// What a public report is about is known a moment after its answer.
async fn until(control: &Control, count: usize) -> Vec<Value> {
    for _ in 0..4000 {
        let found = leaks(control).await;
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{count} leaks were expected, there are {:?}", leaks(control).await)
}

/// As a node tells of a use.
async fn used_from(control: &Control, network: &str, last_time: Timestamp) {
    let record = control.store.key_record("live").await.unwrap().unwrap();
    let seen = KeyNetwork { key_id: record.key.id, network: network.to_owned(), last_time };
    control.store.record_uses(&Uses { networks: vec![seen], ..Uses::default() }).await.unwrap();
}

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

async fn events(control: &Control, action: &str) -> Vec<Value> {
    let found = control.get(&format!("/api/v1/audit?action={action}")).await.expect(200).json();
    found["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn whoever_reports_is_told_the_same_whatever_it_was_and_a_leaked_key_is_put_in_quarantine() {
    let (control, key) = start(None).await;
    used_from(&control, "10.0.0.7/32", now()).await;
    let unknown = key.replace("live_", "live_0").replacen("_00", "_0", 1);
    let mut answers = Vec::new();
    for (n, body) in [
        json!({ "tokens": [key] }),
        json!({ "tokens": [unknown] }),
        json!({ "tokens": ["x"] }),
        json!({ "text": format!("export KEY={key}\n"), "url": "https://paste.example/1" }),
    ]
    .iter()
    .enumerate()
    {
        let answer = public(&control, n as u8, body).await.expect(202);
        let headers: Vec<_> = answer.headers.iter().map(|(n, v)| format!("{n}: {v:?}")).collect();
        answers.push((answer.text, headers));
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]), "{answers:?}");
    until(&control, 1).await;
    // The last report is looked at after the others, and only adds a place.
    for _ in 0..4000 {
        if leaks(&control).await[0]["places"].as_array().unwrap().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let found = leaks(&control).await;
    let leak = &found[0];
    assert_eq!(found.len(), 1);
    assert_eq!(
        (leak["kind"].as_str(), leak["name"].as_str(), leak["version"].as_u64()),
        (Some("key"), Some("live"), Some(1))
    );
    assert_eq!((leak["application"].as_str(), leak["team"].as_str()), (Some("checkout"), Some("payments")));
    assert_eq!(leak["steps"], json!(["quarantined"]));
    assert_eq!(leak["seen"]["networks"], json!(["10.0.0.7/32"]));
    assert_eq!(leak["places"][1]["url"], "https://paste.example/1");
    assert_eq!(
        (leak["places"][0]["reporter"].as_str(), leak["places"][0]["source"].as_str()),
        (Some("anonymous"), Some("192.0.2.0"))
    );
    let item = control.get("/api/v1/keys/live").await.expect(200).json();
    assert_eq!(item["quarantine"]["networks"], json!(["10.0.0.7/32"]));
    assert_eq!(events(&control, "key.quarantine").await.len(), 1);
    assert_eq!(events(&control, "key.exposed").await.len(), 2);
    let findings = control.get("/api/v1/inventory/findings?finding=hard_coded").await.expect(200).json();
    assert_eq!(findings["items"][0]["name"], "live");

    let secret = &key[key.len() - 38..];
    let everything = control.get("/api/v1/audit?limit=1000").await.text + &control.get("/api/v1/leaks").await.text;
    assert!(!everything.contains(secret) && !everything.contains(VALUE));

    let id = leak["id"].as_str().unwrap();
    control.post(&format!("/api/v1/leaks/{id}/release"), json!({ "networks": ["10.1.0.0/16"] })).await.expect(200);
    let item = control.get("/api/v1/keys/live").await.json();
    assert_eq!(item["quarantine"]["networks"], json!(["10.0.0.7/32", "10.1.0.0/16"]));
    control.post(&format!("/api/v1/leaks/{id}/release"), json!({})).await.expect(200);
    assert!(control.get("/api/v1/keys/live").await.json().get("quarantine").is_none());
    control.post(&format!("/api/v1/leaks/{id}/release"), json!({})).await.expect(404);
    control.post(&format!("/api/v1/leaks/{id}/secret"), json!({})).await.expect(404);
}

#[tokio::test]
async fn what_a_reporter_says_is_bounded_and_never_keeps_the_secret() {
    let (control, key) = start(None).await;
    for (body, status) in [
        (json!({}), 400),
        (json!({ "tokens": [] }), 400),
        (json!({ "tokens": [""] }), 400),
        (json!({ "token": "x" }), 400),
        (json!({ "tokens": ["x"], "note": "a\nb" }), 400),
        (json!({ "tokens": ["x"], "url": "x".repeat(2001) }), 400),
        (json!({ "text": "x".repeat(70_000) }), 413),
    ] {
        let answer = public(&control, 1, &body).await.expect(status);
        assert!(!answer.text.contains("xxx"), "{}", answer.text);
    }
    let url = format!("https://paste.example/?k={key}");
    let looked = control.post("/api/v1/leaks", json!({ "tokens": [key], "url": url, "note": format!("it is {key}") }));
    let leak = &looked.await.expect(200).json()["leaks"][0];
    assert_eq!(leak["places"][0].get("url"), None);
    assert_eq!(leak["places"][0].get("note"), None);

    let kept =
        json!({ "text": format!("production {key}"), "url": "https://ci.example/production", "note": "in production" });
    let looked = control.post("/api/v1/leaks", kept).await.expect(200).json();
    let place = &looked["leaks"][0]["places"][1];
    assert_eq!((&place["url"], &place["note"]), (&json!("https://ci.example/production"), &json!("in production")));

    let mut refused = None;
    // A minute may end on the way, and what is counted begins anew.
    for _ in 0..=2 * PER_SOURCE {
        let answer = public(&control, 7, &json!({ "tokens": ["nothing of ours"] })).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a limit");
    assert_eq!(refused.code(), "too_many_requests");
    assert!(refused.headers.contains_key("retry-after"));
    public(&control, 8, &json!({ "tokens": ["nothing of ours"] })).await.expect(202);
    control.vault.seal();
    assert_eq!(public(&control, 9, &json!({ "tokens": [key] })).await.expect(503).code(), "sealed");
}

#[tokio::test]
async fn rules_say_what_is_done_and_the_narrowest_counts() {
    let (control, key) = start(None).await;
    let usual = control.get("/api/v1/leaks/response").await.expect(200).json();
    assert_eq!(usual["keys"], json!({ "action": "quarantine", "rotate": false }));
    let wrong =
        json!({ "credentials": { "action": "quarantine" }, "by_application": { "nobody": { "action": "revoke" } } });
    let refused = control.put("/api/v1/leaks/response", wrong).await.expect(422).json();
    assert_eq!(refused["problems"].as_array().unwrap().len(), 2, "{refused}");
    let rules = json!({
        "by_application": { "checkout": { "action": "revoke", "rotate": true } },
        "by_credential": { "orders-token": { "action": "revoke" } },
    });
    control.put("/api/v1/leaks/response", rules).await.expect(200);

    let text = format!("first: {key}\nORDERS={VALUE}\nmade=nothing-of-ours-at-all\n");
    let published = control.dataplane.published.load(std::sync::atomic::Ordering::SeqCst);
    let looked =
        control.post("/api/v1/leaks", json!({ "text": text, "url": "git:1", "note": "x" })).await.expect(200).json();
    let found = looked["leaks"].as_array().unwrap();
    assert_eq!(found.len(), 2, "{looked}");
    let of = |kind: &str| found.iter().find(|leak| leak["kind"] == kind).unwrap();
    assert_eq!(of("key")["steps"], json!(["rotated", "revoked"]));
    assert_eq!(
        (of("credential")["name"].as_str(), &of("credential")["steps"]),
        (Some("orders-token"), &json!(["revoked"]))
    );
    assert!(control.dataplane.published.load(std::sync::atomic::Ordering::SeqCst) > published, "it is enforced");
    let states = control.get("/api/v1/keys/live").await.json()["secrets"].clone();
    assert_eq!((&states[0]["state"], &states[1]["state"]), (&json!("revoked"), &json!("current")));

    let id = of("key")["id"].as_str().unwrap();
    let fetched = control.post(&format!("/api/v1/leaks/{id}/secret"), json!({})).await.expect(200).json();
    let new = fetched["secret"].as_str().unwrap();
    assert!(new.starts_with("cfk_live_") && new != key);
    let credential = of("credential")["id"].as_str().unwrap();
    assert_eq!(
        control.post(&format!("/api/v1/leaks/{credential}/secret"), json!({})).await.expect(409).code(),
        "conflict"
    );

    // Once more: nothing new is done, and only a new place is written.
    let seq = control.seq().await;
    let again = control.post("/api/v1/leaks", json!({ "text": text, "url": "git:1" })).await.expect(200).json();
    assert_eq!(again["leaks"].as_array().unwrap().len(), 1, "a revoked value is not compared any more: {again}");
    assert_eq!((control.seq().await, again["leaks"][0]["id"].as_str()), (seq, Some(id)));
    assert_eq!(events(&control, "leak.answer").await.len(), 2);
    control.post("/api/v1/leaks", json!({ "tokens": [key], "url": "git:2" })).await.expect(200);
    assert_eq!(control.get(&format!("/api/v1/leaks/{id}")).await.json()["places"].as_array().unwrap().len(), 2);
    assert_eq!(events(&control, "leak.answer").await.len(), 2);
}

#[tokio::test]
async fn a_quarantine_lets_in_whom_every_node_saw_in_time_and_what_is_not_written_yet() {
    let (control, key) = start(None).await;
    let days_ago = |days: i64| Timestamp::from_secs(now().secs() - days * 86_400);
    for (network, days) in [("10.1.0.1/32", 0), ("10.1.0.2/32", 3), ("10.1.0.3/32", 5)] {
        used_from(&control, network, days_ago(days)).await;
    }
    let record = control.store.key_record("live").await.unwrap().unwrap();
    super::inventory::record(&control, record.key.id, 3, true);
    control.put("/api/v1/leaks/response", json!({ "seen_within": "4d" })).await.expect(200);
    let looked = control.post("/api/v1/leaks", json!({ "tokens": [key] })).await.expect(200).json();
    let seen = &looked["leaks"][0]["seen"];
    let expected = json!(["10.0.0.0/32", "10.0.0.1/32", "10.0.0.2/32", "10.1.0.1/32", "10.1.0.2/32"]);
    assert_eq!((&seen["networks"], &seen["complete"]), (&expected, &json!(true)), "{looked}");
}

#[tokio::test]
async fn the_rules_are_declared_like_everything_else() {
    let (control, key) = start(None).await;
    let rules = "leak_responses:\n  - by_application:\n      checkout: { action: revoke }\n";
    let text = format!("{FILE}\n{rules}");
    let wrong = text.replace("checkout: { action: revoke }", "nobody: { action: revoke }");
    let checked = control.post("/api/v1/config/check", json!({ "documents": [{ "file": "c.yaml", "text": wrong }] }));
    let problem = &checked.await.expect(200).json()["problems"][0];
    assert_eq!(
        (problem["code"].as_str(), problem["path"].as_str()),
        (Some("unknown_name"), Some("leak_responses[0].by_application.nobody"))
    );
    assert!(problem["at"]["line"].as_u64().unwrap() > 1 && problem["hint"].is_string(), "{problem}");

    let applied = control.apply(&text, json!({})).await.expect(200).json();
    assert_eq!(applied["changes"][0]["kind"], "leak_responses");
    let told = control.get("/api/v1/leaks/response").await.expect(200).json();
    assert_eq!(told["by_application"]["checkout"]["action"], "revoke");
    let item = control.get("/api/v1/leak_responses/default").await.expect(200);
    assert_eq!(item.json()["spec"], told);
    assert!(control.apply(&text, json!({})).await.expect(200).json()["changes"].as_array().unwrap().is_empty());

    // What rules name stays, and another revision than the one seen is not replaced.
    let gone = control.call(http::Method::DELETE, "/api/v1/applications/checkout", None, &[]).await.expect(422);
    assert!(gone.text.contains("leak_responses/default"), "{}", gone.text);
    let body = json!({ "keys": { "action": "revoke" } });
    let stale = control.call(http::Method::PUT, "/api/v1/leaks/response", Some(body.clone()), &[("if-match", "\"1\"")]);
    stale.await.expect(412);
    control.put("/api/v1/leaks/response", json!({ "name": "other" })).await.expect(422);
    control.put("/api/v1/leaks/response", body).await.expect(200);
    let exported = control.get("/api/v1/config/export").await.expect(200).text;
    assert!(exported.contains("leak_responses:\n  - name: default\n    keys:\n      action: revoke\n"), "{exported}");
    assert_eq!(events(&control, "leak_response.update").await[0]["subject"], "leak_responses/default");

    // The usual ones hold again without it.
    control.call(http::Method::DELETE, "/api/v1/leak_responses/default", None, &[]).await.expect(204);
    let looked = control.post("/api/v1/leaks", json!({ "tokens": [key] })).await.expect(200).json();
    assert_eq!(looked["leaks"][0]["steps"], json!(["quarantined"]));
}

#[tokio::test]
async fn a_new_value_is_recognised_and_one_that_is_used_no_more_is_not() {
    let (control, _) = start(None).await;
    let found = async |text: &str| {
        let looked = control.post("/api/v1/leaks", json!({ "tokens": [text] })).await.expect(200).json();
        looked["leaks"].as_array().unwrap().len()
    };
    assert_eq!((found(VALUE).await, found("orders-upstream-value-2").await), (1, 0));
    let body = json!({ "name": "other", "engine": "static", "secret": "orders-upstream-value-2" });
    control.post("/api/v1/credentials", body).await.expect(201);
    assert_eq!(found("orders-upstream-value-2").await, 1);
    control.call(http::Method::DELETE, "/api/v1/credentials/other", None, &[]).await.expect(204);
    assert_eq!(found("orders-upstream-value-2").await, 0);
}

/// Hands out GitHub's keys, and counts how often it is asked.
#[derive(Debug)]
struct Keys(Mutex<(String, u32)>);

impl Fetch for Keys {
    fn get<'a>(&'a self, _: &'a str, _: usize) -> crate::ports::BoxFuture<'a, Result<Vec<u8>, String>> {
        let mut kept = self.0.lock().unwrap();
        kept.1 += 1;
        let text = kept.0.clone();
        Box::pin(async move { if text.is_empty() { Err("away".to_owned()) } else { Ok(text.into_bytes()) } })
    }
}

fn signer() -> (EcdsaKeyPair, String) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let head = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
    let mut der: Vec<u8> =
        (0..head.len()).step_by(2).map(|i| u8::from_str_radix(&head[i..i + 2], 16).unwrap()).collect();
    der.extend_from_slice(pair.public_key().as_ref());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
    (pair, pem)
}

async fn signed(control: &Control, pair: &EcdsaKeyPair, id: &str, body: &str, sent: &str) -> Answer {
    let signature = pair.sign(&SystemRandom::new(), body.as_bytes()).unwrap();
    let request = Request::post("/api/v1/leaks/github")
        .header("content-type", "application/json")
        .header("Github-Public-Key-Identifier", id)
        .header("Github-Public-Key-Signature", STANDARD.encode(signature.as_ref()))
        .body(Body::from(sent.to_owned()))
        .unwrap();
    control.send(request).await
}

#[tokio::test]
async fn github_is_heard_where_it_signs() {
    let (pair, pem) = signer();
    let document = json!({ "public_keys": [{ "key_identifier": "k1", "key": pem, "is_current": true }] }).to_string();
    let keys = Arc::new(Keys(Mutex::new((String::new(), 0))));
    let (control, key) = start(Some(keys.clone())).await;
    let item = |token: &str| json!({ "token": token, "type": "credentialflow_key", "url": "https://github.com/o/r", "source": "commit" });
    let body = json!([item(&key), item("cfk_live_nothing"), item(VALUE)]).to_string();
    signed(&control, &pair, "k1", &body, &body).await.expect(404);
    control.put("/api/v1/leaks/response", json!({ "github_keys": "https://keys.example/" })).await.expect(200);

    assert_eq!(signed(&control, &pair, "k1", &body, &body).await.expect(503).code(), "signer_unavailable");
    keys.0.lock().unwrap().0 = document;
    // The keys are asked for once a minute at most.
    signed(&control, &pair, "k1", &body, &body).await.expect(503);
    assert_eq!(keys.0.lock().unwrap().1, 1);
    control.put("/api/v1/leaks/response", json!({ "github_keys": "https://other.example/" })).await.expect(200);

    let (stranger, _) = signer();
    for (pair, id, sent) in [(&stranger, "k1", body.as_str()), (&pair, "k2", body.as_str()), (&pair, "k1", "[]")] {
        assert_eq!(signed(&control, pair, id, &body, sent).await.expect(403).code(), "signature_refused");
    }
    let unsigned = Request::post("/api/v1/leaks/github").header("content-type", "application/json");
    control.send(unsigned.body(Body::from(body.clone())).unwrap()).await.expect(403);
    assert!(leaks(&control).await.is_empty());
    assert_eq!(keys.0.lock().unwrap().1, 2, "a key that nobody knows is not looked for again and again");

    let labels = signed(&control, &pair, "k1", &body, &body).await.expect(200);
    assert!(!labels.text.contains(&key) && !labels.text.contains(VALUE));
    let labels = labels.json();
    let told: Vec<_> = labels.as_array().unwrap().iter().map(|label| label["label"].as_str().unwrap()).collect();
    assert_eq!(told, ["true_positive", "false_positive", "true_positive"]);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, SecretValue::from(key.as_str()).expose());
    let hash: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        (labels[0]["token_hash"].as_str(), labels[0]["token_type"].as_str()),
        (Some(hash.as_str()), Some("credentialflow_key"))
    );
    let found = leaks(&control).await;
    assert_eq!(found.len(), 2);
    assert!(
        found
            .iter()
            .all(|leak| leak["places"][0]["via"] == "github" && leak["places"][0]["note"] == "found in: commit")
    );
    signed(&control, &pair, "k1", "{}", "{}").await.expect(400);
}

#[tokio::test]
async fn what_a_caller_sent_is_recorded_with_who_sent_it_and_answered_by_its_rule() {
    let (control, _) = start(None).await;
    used_from(&control, "10.0.0.7/32", now()).await;
    let key = control.store.key_record("live").await.unwrap().unwrap().key.id;
    let sender = |route: &str| Sender {
        application: Some("checkout".to_owned()),
        key: Some(KeyId::from_bits(7)),
        route: Some(route.to_owned()),
        upstream: None,
        source: [192, 0, 2, 8].into(),
        met: Met::Request,
        place: "the body",
        refused: true,
    };
    for route in ["orders", "orders", "chat-completions"] {
        secret_sent(&control.state, LiveSecret::Key(key, 1), sender(route)).await.unwrap();
    }
    secret_sent(&control.state, LiveSecret::Credential("made-here".parse().unwrap(), 1), sender("orders"))
        .await
        .unwrap();
    // What is gone meanwhile is nobody's leak.
    secret_sent(&control.state, LiveSecret::Key(KeyId::from_bits(99), 1), sender("orders")).await.unwrap();
    let found = leaks(&control).await;
    let of = |name: &str| found.iter().find(|leak| leak["name"] == name).unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(of("live")["steps"], json!(["quarantined"]));
    assert_eq!(of("live")["seen"]["networks"], json!(["10.0.0.7/32"]));
    assert_eq!(of("made-here")["steps"], json!(["rotation_begun"]));
    let places = of("live")["places"].as_array().unwrap();
    assert_eq!(places.len(), 2, "the same again is no new place: {places:?}");
    let place = &places[0];
    for (field, expected) in [
        ("via", "traffic"),
        ("reporter", "gateway"),
        ("application", "checkout"),
        ("key", "000000000007"),
        ("route", "orders"),
        ("source", "192.0.2.8"),
        ("note", "it stood in the body; the request was refused"),
    ] {
        assert_eq!(place[field], expected, "{field}");
    }
    let event = &events(&control, "key.exposed").await[1];
    assert_eq!((&event["detail"]["route"], &event["detail"]["tool"]), (&json!("orders"), &json!("the gateway")));
    let findings = control.get("/api/v1/inventory/findings?finding=hard_coded").await.expect(200).text;
    assert!(findings.contains("a request on route chat-completions"), "{findings}");
}

fn sent_by(key: Option<KeyId>, source: [u8; 4], route: &str) -> Sender {
    Sender {
        application: key.map(|_| "checkout".to_owned()),
        key,
        route: Some(route.to_owned()),
        upstream: None,
        source: source.into(),
        met: Met::Request,
        place: "the body",
        refused: true,
    }
}

#[tokio::test]
async fn what_was_recorded_and_is_not_enforced_is_enforced_by_the_next_try() {
    let (control, _) = start(None).await;
    let key = control.store.key_record("live").await.unwrap().unwrap().key.id;
    let send = async || {
        let sender = sent_by(Some(KeyId::from_bits(7)), [192, 0, 2, 8], "orders");
        secret_sent(&control.state, LiveSecret::Key(key, 1), sender).await
    };
    let published = || control.dataplane.published.load(SeqCst);
    control.dataplane.stuck.store(true, SeqCst);
    assert!(send().await.is_err() && send().await.is_err());
    assert_eq!(leak_of(&control, "live", 1).await["steps"], json!(["quarantined"]), "it is recorded");
    control.dataplane.stuck.store(false, SeqCst);
    let before = published();
    send().await.unwrap();
    assert_eq!(published(), before + 1);
    send().await.unwrap();
    assert_eq!(published(), before + 1, "nothing is owed any more");
}

/// What is known of the only leak of that name and version.
async fn leak_of(control: &Control, name: &str, version: u32) -> Value {
    let all = leaks(control).await;
    let of: Vec<_> = all.iter().filter(|leak| leak["name"] == name && leak["version"] == version).collect();
    assert_eq!(of.len(), 1, "{all:?}");
    of[0].clone()
}

#[tokio::test]
async fn a_key_that_its_own_caller_sends_is_no_leak() {
    let (control, _) = start(None).await;
    let key = control.store.key_record("live").await.unwrap().unwrap().key.id;
    secret_sent(&control.state, LiveSecret::Key(key, 1), sent_by(Some(key), [192, 0, 2, 8], "orders")).await.unwrap();
    assert!(leaks(&control).await.is_empty());
    assert!(control.get("/api/v1/keys/live").await.expect(200).json().get("quarantine").is_none());
    secret_sent(&control.state, LiveSecret::Key(key, 1), sent_by(None, [192, 0, 2, 8], "orders")).await.unwrap();
    assert_eq!(leak_of(&control, "live", 1).await["steps"], json!(["quarantined"]));
}

#[tokio::test]
async fn what_callers_know_by_right_is_rotated_once_a_day_for_it_at_most() {
    let (control, _) = start(None).await;
    let caller = Some(KeyId::from_bits(7));
    let send = async |version: u32, route: &str| {
        let secret = LiveSecret::Credential("made-here".parse().unwrap(), version);
        secret_sent(&control.state, secret, sent_by(caller, [192, 0, 2, 8], route)).await.unwrap();
    };
    send(1, "orders").await;
    let first = leak_of(&control, "made-here", 1).await;
    assert_eq!((&first["steps"], &first["answered_via"]), (&json!(["rotation_begun"]), &json!("traffic")));
    // The next value is sent as well: it is recorded, and so is each caller.
    send(2, "orders").await;
    send(2, "chat-completions").await;
    let second = leak_of(&control, "made-here", 2).await;
    assert_eq!((&second["steps"], &second["held_back"]), (&json!([]), &json!(true)), "{second}");
    assert_eq!(second["places"].as_array().unwrap().len(), 2);
    assert!(second["left"].to_string().contains("when_sent"), "{second}");
    assert_eq!(events(&control, "leak.answer").await.len(), 2);

    // A day later it may be rotated again.
    let mut tx = control.store.begin(&credentialflow_model::Actor::operator()).await.unwrap();
    let mut row = tx.leak(first["id"].as_str().unwrap()).await.unwrap().unwrap();
    let mut body: Value = serde_json::from_str(&row.body).unwrap();
    body["answered"] = json!(Timestamp::from_secs(now().secs() - 86_401));
    row.body = body.to_string();
    tx.put_leak(&row).await.unwrap();
    tx.audit("test.leak", "leaks/x", json!({}));
    tx.commit().await.unwrap();
    send(2, "orders").await;
    let second = leak_of(&control, "made-here", 2).await;
    assert_eq!((second.get("held_back"), second["places"].as_array().unwrap().len()), (None, 2), "{second}");
    assert_eq!(events(&control, "leak.answer").await.len(), 3);
}

#[tokio::test]
async fn a_rule_may_leave_it_at_telling_where_callers_sent_it_and_a_report_is_answered_in_full() {
    let (control, key) = start(None).await;
    let rules = json!({
        "by_credential": { "made-here": { "action": "notify_only", "rotate": true, "when_sent": "notify_only" } },
        "keys": { "action": "revoke", "when_sent": "notify_only" },
    });
    control.put("/api/v1/leaks/response", rules).await.expect(200);
    let id = control.store.key_record("live").await.unwrap().unwrap().key.id;
    for _ in 0..2 {
        let sender = sent_by(Some(KeyId::from_bits(7)), [192, 0, 2, 8], "orders");
        let value = LiveSecret::Credential("made-here".parse().unwrap(), 1);
        secret_sent(&control.state, value, sender.clone()).await.unwrap();
        secret_sent(&control.state, LiveSecret::Key(id, 1), sender).await.unwrap();
    }
    for name in ["made-here", "live"] {
        let leak = leak_of(&control, name, 1).await;
        assert_eq!((&leak["steps"], &leak["held_back"]), (&json!([]), &json!(true)), "{leak}");
    }
    let looked = control.post("/api/v1/leaks", json!({ "tokens": [key], "url": "git:1" })).await.expect(200).json();
    let leak = &looked["leaks"][0];
    assert_eq!((&leak["steps"], leak.get("held_back")), (&json!(["revoked"]), None), "{leak}");
    assert_eq!(leak["places"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn places_beyond_those_kept_are_counted_and_strangers_leave_room() {
    let (control, _) = start(None).await;
    let key = control.store.key_record("live").await.unwrap().unwrap().key.id;
    let send = async |sender| secret_sent(&control.state, LiveSecret::Key(key, 1), sender).await.unwrap();
    for n in 0..10 {
        send(sent_by(None, [192, 0, 2, n], "orders")).await;
    }
    assert_eq!(leak_of(&control, "live", 1).await.get("more"), None);
    for n in 10..13 {
        send(sent_by(None, [192, 0, 2, n], "orders")).await;
    }
    send(sent_by(Some(KeyId::from_bits(7)), [192, 0, 2, 99], "orders")).await;
    let leak = leak_of(&control, "live", 1).await;
    let places = leak["places"].as_array().unwrap();
    assert_eq!((places.len(), &places[10]["source"]), (11, &json!("192.0.2.99")));
    // The first is written at once, the others with the next that comes ten minutes later.
    assert_eq!((&leak["more"]["count"], &leak["more"]["last"]["source"]), (&json!(1), &json!("192.0.2.10")), "{leak}");
    let mut tx = control.store.begin(&credentialflow_model::Actor::operator()).await.unwrap();
    let mut row = tx.leak(leak["id"].as_str().unwrap()).await.unwrap().unwrap();
    let mut body: Value = serde_json::from_str(&row.body).unwrap();
    body["more"]["last"]["time"] = json!(Timestamp::from_secs(now().secs() - 601));
    row.body = body.to_string();
    tx.put_leak(&row).await.unwrap();
    tx.audit("test.leak", "leaks/x", json!({}));
    tx.commit().await.unwrap();
    send(sent_by(None, [192, 0, 2, 13], "orders")).await;
    let leak = leak_of(&control, "live", 1).await;
    assert_eq!((&leak["more"]["count"], &leak["more"]["last"]["source"]), (&json!(4), &json!("192.0.2.13")), "{leak}");
    assert_eq!(events(&control, "leak.more").await.len(), 2);
    assert_eq!(events(&control, "key.exposed").await.len(), 11);
}

#[tokio::test]
async fn where_a_node_could_not_note_networks_a_quarantine_says_so() {
    let (control, key) = start(None).await;
    used_from(&control, "10.1.0.1/32", now()).await;
    control.store.note_lost_networks(now()).await.unwrap();
    let looked = control.post("/api/v1/leaks", json!({ "tokens": [key] })).await.expect(200).json();
    let seen = &looked["leaks"][0]["seen"];
    assert_eq!((&seen["networks"], &seen["complete"]), (&json!(["10.1.0.1/32"]), &json!(false)), "{looked}");
}

fn answered(met: Met, upstream: &str, refused: bool) -> Sender {
    let place = if met == Met::Echo { "the answer, repeated" } else { "the answer" };
    let sender = sent_by(Some(KeyId::from_bits(7)), [192, 0, 2, 8], "orders");
    Sender { upstream: Some(upstream.to_owned()), met, place, refused, ..sender }
}

#[tokio::test]
async fn what_an_upstream_answers_with_is_told_and_an_echo_never_rotates_anything() {
    let (control, key) = start(None).await;
    let made_here = || LiveSecret::Credential("made-here".parse().unwrap(), 1);
    let tell = async |met, upstream: &str| {
        secret_sent(&control.state, made_here(), answered(met, upstream, met == Met::Echo)).await.unwrap();
        leak_of(&control, "made-here", 1).await
    };
    let leak = tell(Met::Echo, "u").await;
    assert_eq!(
        (&leak["steps"], &leak["held_back"], &leak["answered_via"]),
        (&json!([]), &json!(true), &json!("answer"))
    );
    let place = &leak["places"][0];
    for (field, expected) in [
        ("via", "answer"),
        ("upstream", "u"),
        ("route", "orders"),
        ("application", "checkout"),
        ("note", "it stood in the answer, repeated; the caller got it blanked"),
    ] {
        assert_eq!(place[field], expected, "{field}");
    }
    // Again and again it changes nothing, whatever the rule asks for.
    let rules = json!({ "credentials": { "action": "notify_only", "rotate": true, "when_answered": "answer" } });
    control.put("/api/v1/leaks/response", rules).await.expect(200);
    for _ in 0..3 {
        let again = tell(Met::Echo, "u").await;
        assert_eq!((&again["steps"], again["places"].as_array().unwrap().len()), (&json!([]), 1));
    }
    assert_eq!(events(&control, "leak.answer").await.len(), 1);
    // Where the rule says so, what another upstream answers with is answered in full, once a day.
    let leak = tell(Met::Answer, "v").await;
    assert_eq!((&leak["steps"], leak.get("held_back")), (&json!(["rotation_begun"]), None), "{leak}");
    let next = LiveSecret::Credential("made-here".parse().unwrap(), 2);
    secret_sent(&control.state, next, answered(Met::Answer, "v", false)).await.unwrap();
    let next = leak_of(&control, "made-here", 2).await;
    assert_eq!((&next["steps"], &next["held_back"]), (&json!([]), &json!(true)), "{next}");

    // Unless it says so a key in an answer works on; a report of it is answered in full.
    let id = control.store.key_record("live").await.unwrap().unwrap().key.id;
    secret_sent(&control.state, LiveSecret::Key(id, 1), answered(Met::Answer, "v", false)).await.unwrap();
    let leak = leak_of(&control, "live", 1).await;
    assert_eq!((&leak["steps"], &leak["held_back"]), (&json!([]), &json!(true)));
    assert!(leak["left"].to_string().contains("when_answered"), "{leak}");
    let looked = control.post("/api/v1/leaks", json!({ "tokens": [key] })).await.expect(200).json();
    assert_eq!((&looked["leaks"][0]["steps"], looked["leaks"][0].get("held_back")), (&json!(["quarantined"]), None));
}

#[tokio::test]
async fn what_was_blanked_in_our_own_log_is_told_once() {
    let (control, _) = start(None).await;
    for _ in 0..2 {
        secret_logged(&control.state, LiveSecret::Credential("made-here".parse().unwrap(), 1)).await.unwrap();
    }
    let leak = leak_of(&control, "made-here", 1).await;
    let place = &leak["places"][0];
    assert_eq!((&place["via"], &place["reporter"], place.get("source")), (&json!("log"), &json!("log"), None));
    assert_eq!((leak["places"].as_array().unwrap().len(), &leak["steps"]), (1, &json!([])));
    let findings = control.get("/api/v1/inventory/findings?finding=hard_coded").await.expect(200).text;
    assert!(findings.contains("our own log"), "{findings}");
}

#[tokio::test]
async fn a_piece_of_a_log_is_searched_and_every_place_told() {
    let (control, key) = start(None).await;
    let scan = async |body: Value| control.post("/api/v1/leaks/scan", body).await;
    let text = format!("first\nGET /?t={VALUE} 200\n{{\"key\":\"{key}\"}}\nagain {VALUE}\n");
    let at = |what: &str, n: usize| text.match_indices(what).nth(n).unwrap().0 as u64;
    let dry = scan(json!({ "text": text, "dry_run": true, "offset": 1000, "line": 11 })).await.expect(200);
    assert!(!dry.text.contains(VALUE) && !dry.text.contains(&key), "{}", dry.text);
    let found = dry.json()["found"].as_array().unwrap().clone();
    let told: Vec<_> = found
        .iter()
        .map(|one| {
            (one["name"].as_str().unwrap().to_owned(), one["offset"].as_u64().unwrap(), one["line"].as_u64().unwrap())
        })
        .collect();
    let name = found[0]["name"].as_str().unwrap().to_owned();
    let expected = [
        (name.clone(), 1000 + at(VALUE, 0), 12),
        ("live".to_owned(), 1000 + at(&key, 0), 13),
        (name.clone(), 1000 + at(VALUE, 1), 14),
    ];
    assert_eq!((told.as_slice(), &dry.json()["complete"]), (expected.as_slice(), &json!(true)));
    assert_eq!(found[1]["application"], "checkout");
    assert!(leaks(&control).await.is_empty(), "nothing is recorded");
    // What was searched before is not told again.
    let seen = at(&key, 0) + key.len() as u64;
    let rest = scan(json!({ "text": text, "dry_run": true, "seen": seen })).await.expect(200).json();
    assert_eq!((rest["found"].as_array().unwrap().len(), &rest["found"][0]["line"]), (1, &json!(4)));
    let rest = scan(json!({ "text": text, "dry_run": true, "seen": seen - 1 })).await.expect(200).json();
    assert_eq!(rest["found"].as_array().unwrap().len(), 2);

    let done = scan(json!({ "text": text, "url": "app.log" })).await.expect(200).json();
    let leak = leak_of(&control, "live", 1).await;
    assert_eq!((&done["found"][1]["leak"], &leak["steps"]), (&leak["id"], &json!(["quarantined"])));
    let place = &leak["places"][0];
    assert_eq!((&place["url"], &place["via"]), (&json!("app.log"), &json!("administrator")));
    assert_eq!(place["note"], format!("in line 3, at byte {}", at(&key, 0)));
    assert_eq!(done["found"][0]["leak"], done["found"][2]["leak"]);
    assert_eq!(scan(json!({ "text": "nothing\n" })).await.expect(200).json(), json!({ "found": [], "complete": true }));
    scan(json!({ "text": "x".repeat(300 << 10) })).await.expect(400);
    scan(json!({ "text": "x", "url": "a\nb" })).await.expect(400);
    let anonymous = Request::post("/api/v1/leaks/scan")
        .header("content-type", "application/json")
        .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 9))))
        .body(Body::from(json!({ "text": "x" }).to_string()))
        .unwrap();
    control.send(anonymous).await.expect(401);
}
