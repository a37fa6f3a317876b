//! What comes in place of a model's answer: pages of proxies, errors that call themselves a success, wrong types, streams
//! that end within an event.

use crate::{harness::*, models};
use credentialflow_model::OutcomeReason as R;
use serde_json::Value;

const PAGE: &str = "<html>Bad gateway, your key is the-real-secret</html>";
const WHOLE: &str =
    r#"{"id":"1","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;

/// Answers as the call's `how` says.
async fn proxy() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            let of = |kind: &str| format!("content-type: {kind}\r\n");
            let (status, kind, body) = match call["how"].as_str().unwrap() {
                "page" => (502, of("text/html"), PAGE.replace("the-real-secret", SECRET)),
                "empty" => (503, String::new(), String::new()),
                "own" => (400, of("application/problem+json; charset=utf-8"), r#"{"title":"its own"}"#.to_owned()),
                "page-200" => (200, of("application/json"), PAGE.to_owned()),
                "error-200" => (200, of("application/json"), r#"{"error":{"message":"no"}}"#.to_owned()),
                "empty-200" => (200, of("application/json"), String::new()),
                "as-text" => (200, of("text/plain"), WHOLE.to_owned()),
                "untyped" => (200, String::new(), WHOLE.to_owned()),
                "events-as-text" => (200, of("text/plain"), "data: {\"choices\":[]}\n\ndata: [DONE]\n\n".to_owned()),
                "within" => (200, of("text/event-stream"), "data: {\"choices\":[]}\n\ndata: {\"choi".to_owned()),
                "no-blank-line" => {
                    (200, of("text/event-stream"), "data: {\"choices\":[]}\n\ndata: [DONE]\n".to_owned())
                }
                how => panic!("{how}"),
            };
            peer.send(answer(status, &kind, &body)).await;
        }
    })
    .await
}

async fn ask(world: &World, how: &str) -> Message {
    let body = format!(
        r#"{{"model":"chat","how":"{how}","stream":true,"stream_options":{{"include_usage":true}},"messages":[]}}"#
    );
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
    world.ask(format!("{head}authorization: Bearer {}\r\n\r\n{body}", key("k"))).await
}

#[tokio::test]
async fn callers_get_an_error_of_their_dialect_or_an_answer_that_is_called_what_it_is() {
    let upstream = proxy().await;
    let mut setup = Setup::new(models::yaml(&upstream));
    setup.credentials = vec![("c", 3, SECRET), ("d", 9, "the-other-secret")];
    let world = setup.start();
    for (how, status, outcome) in [
        ("page", 502, R::Served),
        ("empty", 503, R::Served),
        ("page-200", 502, R::UpstreamMalformed),
        ("error-200", 502, R::UpstreamMalformed),
        ("empty-200", 502, R::UpstreamMalformed),
    ] {
        let got = ask(&world, how).await;
        assert_eq!((got.status(), got.field("content-type")), (status, Some("application/json")), "{how}");
        let told: Value = serde_json::from_slice(&got.body).unwrap();
        assert!(told["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{how}: {told}");
        assert!(!got.body.windows(6).any(|part| part == b"<html>"), "{how}: {told}");
        world.outcome(outcome).await;
    }
    let got = ask(&world, "own").await;
    assert_eq!((got.status(), &got.body[..]), (400, &br#"{"title":"its own"}"#[..]), "what a provider says passes");
    world.outcome(R::Served).await;
    for (how, kind) in [
        ("as-text", "application/json"),
        ("untyped", "application/json"),
        ("events-as-text", "text/event-stream"),
        ("no-blank-line", "text/event-stream"),
    ] {
        let got = ask(&world, how).await;
        assert_eq!((got.status(), got.field("content-type")), (200, Some(kind)), "{how}");
        assert!(!got.body.is_empty(), "{how}");
        world.outcome(R::Served).await;
    }
    world.done().await;
}

#[tokio::test]
async fn a_stream_that_ends_within_an_event_has_no_end_for_its_caller() {
    let upstream = proxy().await;
    let mut setup = Setup::new(models::yaml(&upstream));
    setup.credentials = vec![("c", 3, SECRET), ("d", 9, "the-other-secret")];
    let world = setup.start();
    let body = r#"{"model":"chat","how":"within","stream":true,"messages":[]}"#;
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
    let mut wire = world.connect().await;
    wire.send(format!("{head}authorization: Bearer {}\r\n\r\n{body}", key("k"))).await.unwrap();
    within(async { while wire.fill().await.is_ok_and(|n| n > 0) {} }).await;
    let got = String::from_utf8_lossy(wire.pending()).into_owned();
    assert!(got.starts_with("HTTP/1.1 200") && got.contains("{\"choi"), "{got}");
    assert!(!got.ends_with("0\r\n\r\n"), "{got}");
    world.outcome(R::UpstreamTruncated).await;
    world.done().await;
}
