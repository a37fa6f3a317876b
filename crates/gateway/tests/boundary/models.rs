//! The model API: calls pass unharmed, tokens and cost are recorded, refusals look as SDKs expect.

use crate::{harness::*, http2};
use credentialflow_model::{
    OutcomeReason as R, UsageRecord,
    usage::{Cost, TokenUsage},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::Duration;

pub fn yaml(upstream: &FakeUpstream) -> String {
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [chat, mixed, unpriced, quiet] }} }}
keys:
  - {{ name: k, application: app }}
  - {{ name: narrow, application: app, allow: {{ models: [chat] }} }}
credentials:
  - {{ name: c, engine: static }}
  - {{ name: d, engine: static }}
upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1\"], provider: openai, inject: {{ bearer: c }}, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: other, endpoints: [\"{0}/other\"], provider: openai, inject: {{ header: {{ name: x-key, credential: c }} }} }}
models:
  - {{ name: chat, targets: [{{ provider: mine, model: real-name, prices: [{{ from: 2020-01-01T00:00:00Z, input: '2.50', cached_input: '1.25', output: '10' }}] }}] }}
  - {{ name: unpriced, targets: [{{ provider: mine, model: nobody-knows }}] }}
  - {{ name: secret-one, targets: [{{ provider: mine, model: secret }}] }}
  - {{ name: quiet, targets: [{{ provider: mine, model: quiet }}] }}
  - {{ name: mixed, targets: [{{ provider: mine, model: a, weight: 3 }}, {{ provider: other, model: b, credential: d }}] }}
",
        upstream.url()
    )
}

const USAGE: &str = r#""usage":{"prompt_tokens":1000,"completion_tokens":200,"total_tokens":1200,"prompt_tokens_details":{"cached_tokens":400}}"#;

/// Answers chat completions, plain and streamed, sending its events in small segments.
pub async fn provider() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            if call["model"] == "quiet" {
                peer.send(answer(400, "content-type: application/json\r\n", r#"{"error":{"message":"no"}}"#)).await;
                continue;
            }
            if call["stream"] != true {
                let body = format!(r#"{{"id":"1","choices":[{{"message":{{"content":"hi"}}}}],{USAGE}}}"#);
                peer.send(answer(200, "content-type: application/json\r\n", &body)).await;
                continue;
            }
            peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n").await;
            let mut events = String::new();
            for word in ["he", "llo"] {
                events.push_str(&format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{word}\"}}}}],\"usage\":null}}\n\n"));
            }
            if call["stream_options"]["include_usage"] == true {
                events.push_str(&format!("data: {{\"choices\":[],{USAGE}}}\n\n"));
            }
            events.push_str("data: [DONE]\n\n");
            for piece in events.as_bytes().chunks(37) {
                peer.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            peer.send("0\r\n\r\n").await;
        }
    })
    .await
}

fn setup(upstream: &FakeUpstream) -> World {
    let mut setup = Setup::new(yaml(upstream));
    setup.credentials = vec![("c", 3, SECRET), ("d", 9, "the-other-secret")];
    setup.start()
}

async fn chat(world: &World, body: &Value) -> Message {
    let authorization = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", key("k"));
    let body = body.to_string();
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
    world.ask(format!("{head}{authorization}\r\n{body}")).await
}

fn check_usage(record: &UsageRecord, streamed: bool) {
    let model = record.model.as_ref().unwrap();
    assert_eq!((&*model.model, &*model.provider, &*model.provider_model), ("chat", "mine", "real-name"));
    assert_eq!(model.streamed, streamed);
    assert_eq!(model.tokens, Some(TokenUsage { input: 1000, cached_input: 400, output: 200, ..TokenUsage::default() }));
    // 600 × 2.50 + 400 × 1.25 + 200 × 10, per million.
    let Some(Cost::Known(cost)) = model.cost else { panic!("{:?}", model.cost) };
    assert_eq!(cost.to_string(), "0.004");
    let used = record.credential.as_ref().unwrap();
    assert_eq!((&*used.credential, used.version), ("c", 3));
}

#[tokio::test]
async fn plain_calls() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let answer =
        chat(&world, &json!({"model": "chat", "messages": [{"role": "user", "content": "x"}], "extra": 1.50})).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap()["usage"]["total_tokens"], 1200);
    let seen = upstream.last();
    assert_eq!(seen.first, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(seen.field("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    let sent: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(
        (&sent["model"], &sent["extra"], &sent["stream_options"]),
        (&json!("real-name"), &json!(1.50), &Value::Null)
    );
    check_usage(&world.outcome(R::Served).await, false);
    // No price: flagged, never zero.
    assert_eq!(chat(&world, &json!({"model": "unpriced", "messages": []})).await.status(), 200);
    assert_eq!(world.outcome(R::Served).await.model.unwrap().cost, Some(Cost::UnknownPrice));
    // The provider's own errors pass, and cost nothing.
    let error = chat(&world, &json!({"model": "quiet", "messages": []})).await;
    assert_eq!((error.status(), error.text().as_str()), (400, r#"{"error":{"message":"no"}}"#));
    let model = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((model.tokens, model.cost), (None, None));
    world.done().await;
}

#[tokio::test]
async fn streamed_calls() {
    let upstream = provider().await;
    let world = setup(&upstream);
    for (options, sees_usage) in
        [(Value::Null, false), (json!({"include_usage": false}), false), (json!({"include_usage": true}), true)]
    {
        let mut body = json!({"model": "chat", "stream": true, "messages": []});
        if !options.is_null() {
            body["stream_options"] = options.clone();
        }
        let answer = chat(&world, &body).await;
        assert_eq!((answer.status(), answer.complete), (200, true));
        let text = answer.text();
        let events: Vec<&str> = text.split("\n\n").filter(|e| !e.is_empty()).collect();
        assert_eq!(events.len(), if sees_usage { 4 } else { 3 }, "{text}");
        assert!(events[1].contains("llo") && events.last() == Some(&"data: [DONE]"), "{text}");
        assert_eq!(text.contains("prompt_tokens"), sees_usage, "{options}");
        let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
        assert_eq!(sent["stream_options"]["include_usage"], true, "asked on the caller's behalf");
        check_usage(&world.outcome(R::Served).await, true);
    }
    world.done().await;
}

/// Streams that hang, before or after their count of tokens, and answers of another kind than was asked for.
async fn odd_provider() -> FakeUpstream {
    let event = |data: &str| format!("{:x}\r\ndata: {data}\n\n\r\n", data.len() + 8);
    FakeUpstream::start(move |mut peer| async move {
        while let Some(request) = peer.request().await {
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            let how = call["how"].as_str().unwrap();
            match how {
                "whole" => {
                    let body = format!(r#"{{"choices":[{{"message":{{"content":"hi"}}}}],{USAGE}}}"#);
                    peer.send(answer(200, "content-type: application/json\r\n", &body)).await;
                }
                "untold" => {
                    let body = r#"{"choices":[{"message":{"content":"hi"}}]}"#;
                    peer.send(answer(200, "content-type: application/json\r\n", body)).await;
                }
                _ => {
                    peer.send(
                        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
                    )
                    .await;
                    peer.send(event(r#"{"choices":[{"delta":{"content":"first"},"finish_reason":"stop"}]}"#)).await;
                    if how != "uncounted" {
                        peer.send(event(&format!("{{\"choices\":[],{USAGE}}}"))).await;
                        peer.send(event(r#"{"choices":[{"delta":{"content":"second"}}]}"#)).await;
                    }
                    if how != "ends" {
                        peer.wire.drain().await;
                        return;
                    }
                    peer.send("0\r\n\r\n").await;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_was_served_is_counted_or_flagged_however_it_ends() {
    let upstream = odd_provider().await;
    let world = setup(&upstream);
    let body = |how: &str, stream: bool| json!({"model": "chat", "stream": stream, "how": how, "messages": []});
    let flagged = |record: &UsageRecord| {
        let model = record.model.as_ref().unwrap();
        // By what was sent and what came, though no budget pays for it.
        assert!(model.tokens.is_none() && model.budgets.is_none());
        assert!(matches!(model.cost, Some(Cost::Estimated(usd)) if usd > Default::default()), "{model:?}");
    };
    // The caller leaves in the middle of a stream.
    for (how, last) in [("counted", "second"), ("uncounted", "first")] {
        let check = async || {
            let record = world.outcome(R::CallerClosed).await;
            if how == "counted" { check_usage(&record, true) } else { flagged(&record) }
        };
        let text = body(how, true).to_string();
        let mut wire = world.connect().await;
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", text.len());
        wire.send(format!("{head}x-api-key: {}\r\n\r\n{text}", key("k"))).await.unwrap();
        within(async {
            while find(wire.pending(), last.as_bytes()).is_none() {
                assert!(wire.fill().await.unwrap() > 0);
            }
        })
        .await;
        drop(wire);
        check().await;
        let mut sender = http2::caller(&world).await;
        let answer = within(sender.send_request(http2::request("POST", "/v1/chat/completions", text))).await.unwrap();
        let (mut answer, mut seen) = (answer.into_body(), Vec::new());
        while find(&seen, last.as_bytes()).is_none() {
            let frame = within(answer.frame()).await.unwrap().unwrap();
            seen.extend_from_slice(&frame.into_data().unwrap());
        }
        drop((answer, sender));
        check().await;
    }
    // An answer of the other kind than was asked for.
    assert_eq!(chat(&world, &body("whole", true)).await.status(), 200);
    check_usage(&world.outcome(R::Served).await, true);
    assert_eq!(chat(&world, &body("ends", false)).await.status(), 200);
    check_usage(&world.outcome(R::Served).await, false);
    // The provider counts nothing.
    for stream in [true, false] {
        assert_eq!(chat(&world, &body("untold", stream)).await.status(), 200);
        flagged(&world.outcome(R::Served).await);
    }
    world.calm().await;
    world.done().await;
}

#[tokio::test]
async fn refusals_in_the_shape_sdks_know() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let check = async |answer: Message, status: u16, outcome: R| {
        assert_eq!(answer.status(), status);
        assert_eq!(answer.field("content-type"), Some("application/json"));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["code"], outcome.code());
        let record = world.outcome(outcome).await;
        assert_eq!(record.attempts, 0);
        let message = body["error"]["message"].as_str().unwrap();
        message.replace(&record.request_id.to_string(), "ID")
    };
    let unknown = check(chat(&world, &json!({"model": "nothing", "messages": []})).await, 404, R::ModelNotFound).await;
    let forbidden =
        check(chat(&world, &json!({"model": "secret-one", "messages": []})).await, 404, R::ModelNotFound).await;
    assert_eq!(unknown, forbidden, "nothing tells that it exists");
    check(chat(&world, &json!({"messages": []})).await, 400, R::InvalidModelCall).await;
    check(chat(&world, &json!(["chat"])).await, 400, R::InvalidModelCall).await;
    let bearer = format!("authorization: Bearer {}\r\n", key("k"));
    let raw = |body: &str, more: &str| {
        let length = body.len();
        format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: {length}\r\n{more}\r\n{body}")
    };
    check(world.ask(raw("{\"model\": \"chat\"", &bearer)).await, 400, R::InvalidModelCall).await;
    check(world.ask(raw("{\"model\":\"chat\",\"model\":\"x\"}", &bearer)).await, 400, R::InvalidModelCall).await;
    check(world.ask(raw("{}", "")).await, 401, R::Unauthenticated).await;
    let large = "POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: 2000000\r\n";
    check(world.ask(format!("{large}{bearer}\r\n")).await, 413, R::BodyTooLarge).await;
    assert_eq!(upstream.counts().requests, 0);
    world.done().await;
}

#[tokio::test]
async fn the_list_shows_what_the_caller_may_use() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let check = async |name: &str, path: &str, expect: Result<Vec<&str>, u16>| {
        let answer =
            world.ask(format!("GET {path} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {}\r\n\r\n", key(name))).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        match expect {
            Ok(names) => {
                assert_eq!(answer.status(), 200, "{path}");
                let ids: Vec<&str> = match body["data"].as_array() {
                    Some(list) => list.iter().map(|m| m["id"].as_str().unwrap()).collect(),
                    None => vec![body["id"].as_str().unwrap()],
                };
                assert_eq!(ids, names);
                world.served(1).await;
            }
            Err(status) => {
                assert_eq!((answer.status(), body["error"].is_object()), (status, true), "{path}");
                world.record().await;
            }
        }
    };
    check("k", "/v1/models", Ok(vec!["chat", "unpriced", "quiet", "mixed"])).await;
    check("narrow", "/v1/models", Ok(vec!["chat"])).await;
    check("k", "/v1/models/mixed", Ok(vec!["mixed"])).await;
    check("narrow", "/v1/models/mixed", Err(404)).await;
    check("k", "/v1/models/secret-one", Err(404)).await;
    check("k", "/v1/models/nothing", Err(404)).await;
    check("stranger", "/v1/models", Err(401)).await;
    world.done().await;
}

#[tokio::test]
async fn weights_and_each_targets_own_credential() {
    let upstream = provider().await;
    let mut setup = Setup::new(yaml(&upstream));
    setup.credentials = vec![("c", 3, SECRET), ("d", 9, "the-other-secret")];
    setup.workers = 1;
    let world = setup.start();
    for _ in 0..8 {
        assert_eq!(chat(&world, &json!({"model": "mixed", "messages": []})).await.status(), 200);
    }
    let seen = upstream.requests();
    let to_other: Vec<&Message> = seen.iter().filter(|r| r.target() == "/other/chat/completions").collect();
    assert_eq!((seen.len(), to_other.len()), (8, 2));
    for request in to_other {
        assert_eq!((request.field("x-key"), request.field("authorization")), (Some("the-other-secret"), None));
        assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap()["model"], "b");
    }
    let mut versions = Vec::new();
    for _ in 0..8 {
        versions.push(world.outcome(R::Served).await.credential.unwrap().version);
    }
    versions.sort_unstable();
    assert_eq!(versions, [3, 3, 3, 3, 3, 3, 9, 9]);
    world.done().await;
}

#[tokio::test]
async fn a_call_still_being_read_takes_the_version_in_force_when_it_is_sent() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let body = json!({"model": "chat", "messages": []}).to_string();
    let mut wire = world.connect().await;
    let bearer = format!("authorization: Bearer {}\r\n", key("k"));
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
    wire.send(format!("{head}{bearer}\r\n{{")).await.unwrap();
    until(|| world.gateway.load().1 == 1).await;
    world.install(&yaml(&upstream), &[("d", 9, "the-other-secret"), ("c", 4, "newer-secret")], &[]).await;
    assert_eq!(world.gateway.in_flight("c", 3).await, 0);
    wire.send(&body[1..]).await.unwrap();
    assert_eq!(within(wire.message()).await.unwrap().status(), 200);
    assert_eq!(upstream.last().field("authorization"), Some("Bearer newer-secret"));
    assert_eq!(world.outcome(R::Served).await.credential.unwrap().version, 4);
    world.done().await;
}
