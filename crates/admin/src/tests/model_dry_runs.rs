//! A whole call is asked about without leaving anything: no change, no event, and nothing of it in an error.

use super::{Answer, Control, FILE, value};
use axum::body::Body;
use http::{Method, Request};
use serde_json::json;

async fn ask(control: &Control, model: &str, question: &str) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/api/v1/models/{model}/route"))
        .header("authorization", format!("Bearer {}", control.token))
        .header("content-type", "application/json");
    control.send(request.body(Body::from(question.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_call_is_handed_on_as_it_was_sent_and_by_the_id_of_its_key() {
    let control = Control::start().await;
    control.apply(FILE, value("abc")).await.expect(200);
    for name in ["m", "away", "odd"] {
        let model = json!({ "name": name, "targets": [{ "provider": "sandbox", "model": "x" }] });
        control.put(&format!("/api/v1/models/{name}"), model).await.expect(201);
    }
    let key = control.get("/api/v1/keys/checkout-live").await.expect(200).json()["id"].clone();
    let seq = control.seq().await;
    let call = r#"{"model": "m",  "messages":[ {"role":"user","content":"\u0068ello"} ]}"#;
    let question = format!(
        r#"{{"body": {call}, "dialect": "messages", "stream": true, "application": "checkout", "key": "checkout-live",
            "user": "anna", "headers": {{"x-session-id": "7"}}}}"#
    );
    assert_eq!(ask(&control, "m", &question).await.expect(200).json()["serves"], "m");
    let asked = control.dataplane.asked.lock().unwrap().pop().unwrap();
    assert_eq!(std::str::from_utf8(&asked.body).unwrap(), call, "to the byte");
    assert_eq!((json!(asked.dialect), asked.stream), (json!("messages"), true));
    assert_eq!((asked.application.as_deref(), asked.user.as_deref()), (Some("checkout"), Some("anna")));
    assert_eq!((json!(asked.key.unwrap()), asked.headers), (key, vec![("x-session-id".into(), "7".into())]));
    let least = ask(&control, "m", r#"{"body": {}}"#).await.expect(200);
    assert!(least.json().get("refused").is_none());
    for (model, question, status, code) in [
        ("nothing", r#"{"body": {}}"#, 404, "not_found"),
        ("m", r#"{"body": {}, "key": "nobody"}"#, 404, "not_found"),
        ("m", r#"{"body": {}, "more": "a secret word"}"#, 400, "invalid_request"),
        ("m", r#"{"body": {"a secret word": }}"#, 400, "invalid_request"),
        ("m", "{}", 400, "invalid_request"),
        ("m", r#"{"body": {}, "dialect": "a secret word"}"#, 400, "invalid_request"),
        ("away", r#"{"body": {}}"#, 409, "conflict"),
        ("odd", r#"{"body": {}}"#, 400, "invalid_request"),
    ] {
        let told = ask(&control, model, question).await.expect(status);
        assert_eq!(told.code(), code, "{question}");
        assert!(!told.text.contains("secret word"), "{}", told.text);
    }
    let headers: serde_json::Map<_, _> = (0..65).map(|n| (format!("x-{n}"), json!("a"))).collect();
    let question = json!({ "body": {}, "headers": headers }).to_string();
    assert_eq!(ask(&control, "m", &question).await.expect(400).code(), "invalid_request");
    assert_eq!(control.seq().await, seq, "nothing is changed");
}
