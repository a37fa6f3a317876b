//! Callers of Anthropic's Messages reach providers that speak Chat Completions.

use crate::harness::*;
use credentialflow_model::{
    OutcomeReason as R, UsageRecord,
    usage::{Cost, TokenUsage},
};
use serde_json::{Value, json};
use std::time::Duration;

fn yaml(upstream: &FakeUpstream) -> String {
    let prices = "prices: [{ from: 2020-01-01T00:00:00Z, input: '4', cached_input: '0.4', output: '20' }]";
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [gpt, mistral] }} }}
keys:
  - {{ name: k, application: app }}
credentials:
  - {{ name: c, engine: static }}
upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1\"], provider: openai, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: older, endpoints: [\"{0}/v1\"], provider: mistral }}
models:
  - {{ name: gpt, targets: [{{ provider: mine, model: gpt-real, credential: c, {prices} }}] }}
  - {{ name: mistral, targets: [{{ provider: older, model: mistral-real, credential: c }}] }}
",
        upstream.url()
    )
}

const COMPLETION: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-real","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":400}}}"#;

/// Up to the stop, and what follows.
fn chunks() -> (String, String) {
    let chunk = |choices: &str, usage: &str| {
        format!("data: {{\"id\":\"chatcmpl-1\",\"model\":\"gpt-real\",\"choices\":[{choices}]{usage}}}\n\n")
    };
    let delta =
        |delta: &str, finish: &str| chunk(&format!(r#"{{"index":0,"delta":{delta},"finish_reason":{finish}}}"#), "");
    let begun = delta(r#"{"role":"assistant","content":""}"#, "null")
        + &delta(r#"{"content":"he"}"#, "null")
        + &delta(r#"{"content":"llo"}"#, "null");
    let usage =
        r#","usage":{"prompt_tokens":1000,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":400}}"#;
    (begun, delta("{}", "\"stop\"") + &chunk("", usage) + "data: [DONE]\n\n")
}

/// A provider that speaks Chat Completions at `/v1`, and answers as the first message of a call says.
async fn provider() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let json_type = "content-type: application/json\r\n";
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            let how = call["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
            let (begun, rest) = chunks();
            match how.as_str() {
                "busy" => {
                    let body = r#"{"error":{"message":"Slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
                    peer.send(answer(429, "content-type: application/json\r\nretry-after: 7\r\n", body)).await;
                }
                "html" => peer.send(answer(200, "content-type: text/html\r\n", "<html>")).await,
                "error" => peer.send(answer(200, json_type, r#"{"error":{"message":"no","code":500}}"#)).await,
                "204" => peer.send("HTTP/1.1 204 X\r\ncontent-type: text/event-stream\r\n\r\n").await,
                "205" | "302" | "304" => {
                    peer.send(answer(how.parse().unwrap(), "content-type: text/event-stream\r\n", "")).await;
                }
                "split echo" => {
                    // As parts of a content, which become one text.
                    let (one, other) = SECRET.split_at(SECRET.len() / 2);
                    let parts = format!(r#"[{{"type":"text","text":"your key is {one}"}},{{"type":"text","text":"{other}"}}]"#);
                    peer.send(answer(200, json_type, &COMPLETION.replace("\"hi\"", &parts))).await;
                }
                "echo" => {
                    let body = COMPLETION.replace("\"hi\"", &format!("\"your key is {SECRET}\""));
                    peer.send(answer(200, json_type, &body)).await;
                }
                "cut" | "lost" | "lost at the end" | "garbled" | "hang" if call["stream"] == true => {
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                    let sent = if how == "lost at the end" { begun + &rest[..rest.find("\n\n").unwrap() + 2] } else { begun };
                    peer.send(format!("{head}{:x}\r\n{sent}\r\n", sent.len())).await;
                    match how.as_str() {
                        "cut" => peer.send("0\r\n\r\n").await,
                        "garbled" => peer.send("a\r\ndata: {x}\n\r\n1\r\n\n\r\n0\r\n\r\n").await,
                        "lost" | "lost at the end" => return,
                        _ => {
                            peer.wire.drain().await;
                            return;
                        }
                    }
                }
                _ if call["stream"] == true => {
                    peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n").await;
                    for piece in (begun + &rest).as_bytes().chunks(37) {
                        peer.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    peer.send("0\r\n\r\n").await;
                }
                _ => peer.send(answer(200, json_type, COMPLETION)).await,
            }
        }
    })
    .await
}

fn setup(upstream: &FakeUpstream) -> World {
    let mut setup = Setup::new(yaml(upstream));
    setup.credentials = vec![("c", 3, SECRET)];
    setup.workers = 1;
    setup.start()
}

fn call(model: &str, text: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "max_tokens": 9, "messages": [{"role": "user", "content": text}]})
}

async fn message(world: &World, fields: &str, body: &Value) -> Message {
    let body = body.to_string();
    let head = format!("POST /v1/messages?beta=true HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
    world.ask(format!("{head}x-api-key: {}\r\n{fields}\r\n{body}", key("k"))).await
}

fn check_usage(record: &UsageRecord, streamed: bool) {
    let model = record.model.as_ref().unwrap();
    assert_eq!((&*model.model, &*model.provider, &*model.provider_model), ("gpt", "mine", "gpt-real"));
    assert_eq!(model.streamed, streamed);
    let tokens = TokenUsage { input: 1000, cached_input: 400, output: 50, ..TokenUsage::default() };
    assert_eq!(model.tokens, Some(tokens));
    // 600 × 4 + 400 × 0.4 + 50 × 20, per million.
    let Some(Cost::Known(cost)) = model.cost else { panic!("{:?}", model.cost) };
    assert_eq!(cost.to_string(), "0.00356");
    let used = record.credential.as_ref().unwrap();
    assert_eq!((&*used.credential, used.version), ("c", 3));
}

#[tokio::test]
async fn messages_reach_a_provider_of_chat_completions() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let answer = message(&world, "", &call("gpt", "x", false)).await;
    assert_eq!((answer.status(), answer.field("content-type")), (200, Some("application/json")));
    let usage = json!({"input_tokens": 600, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 400, "output_tokens": 50});
    assert_eq!(
        serde_json::from_slice::<Value>(&answer.body).unwrap(),
        json!({"id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "gpt-real",
            "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "stop_sequence": null, "usage": usage})
    );
    let seen = upstream.last();
    assert_eq!(seen.first, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!((seen.field("x-api-key"), seen.field("authorization")), (None, Some(&*format!("Bearer {SECRET}"))));
    assert_eq!(
        serde_json::from_slice::<Value>(&seen.body).unwrap(),
        json!({"model": "gpt-real", "messages": [{"role": "user", "content": "x"}], "max_completion_tokens": 9})
    );
    check_usage(&world.outcome(R::Served).await, false);

    let answer = message(&world, "", &call("gpt", "x", true)).await;
    assert_eq!((answer.status(), answer.complete), (200, true));
    let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
    assert_eq!(sent["stream_options"], json!({"include_usage": true}));
    let text = answer.text();
    let words: String = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|event| event["delta"]["text"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(words, "hello", "{text}");
    assert!(text.starts_with("event: message_start\n") && text.contains(&usage.to_string()), "{text}");
    assert!(text.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{text}");
    check_usage(&world.outcome(R::Served).await, true);

    // The provider's own field for the limit; and it is not asked for usage that comes unasked.
    message(&world, "", &call("mistral", "x", true)).await;
    assert_eq!(
        serde_json::from_slice::<Value>(&upstream.last().body).unwrap(),
        json!({"model": "mistral-real", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9, "stream": true})
    );
    world.outcome(R::Served).await;

    // What speaks of the call as it was, or to Anthropic, is left out.
    let fields = "anthropic-version: 2023-06-01\r\nanthropic-beta: b\r\nAnthropic-Dangerous-Direct-Browser-Access: true\r\n\
                  anthropic_beta: b\r\nif-none-match: \"x\"\r\nx-other: kept\r\n";
    message(&world, fields, &call("gpt", "x", false)).await;
    let mut names: Vec<_> = upstream.last().fields.into_iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.retain(|name| ["anthropic", "if-", "x-other"].iter().any(|n| name.starts_with(n)));
    assert_eq!(names, ["x-other"]);
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_messages() {
    let upstream = provider().await;
    let world = setup(&upstream);
    for stream in [false, true] {
        let busy = message(&world, "", &call("gpt", "busy", stream)).await;
        assert_eq!((busy.status(), busy.field("retry-after")), (429, Some("7")));
        let error = json!({"type": "rate_limit_error", "message": "Slow down", "code": "rate_limit_exceeded"});
        let body: Value = serde_json::from_slice(&busy.body).unwrap();
        assert_eq!(body, json!({"type": "error", "error": error}));
        let model = world.outcome(R::Served).await.model.unwrap();
        assert_eq!((model.tokens, model.cost), (None, None));

        for how in ["html", "error"] {
            let unusable = message(&world, "", &call("gpt", how, stream)).await;
            assert_eq!(unusable.status(), 502);
            let body: Value = serde_json::from_slice(&unusable.body).unwrap();
            assert_eq!((&body["type"], &body["error"]["code"]), (&json!("error"), &json!("upstream_malformed")));
            let model = world.outcome(R::UpstreamMalformed).await.model.unwrap();
            assert!(if stream { is_estimated(&model) } else { model.cost == Some(Cost::UnknownUsage) }, "{model:?}");
        }
    }
    for (how, outcome, complete) in [
        ("cut", R::UpstreamTruncated, true),
        ("garbled", R::UpstreamMalformed, true),
        ("lost", R::UpstreamTruncated, false),
        ("lost at the end", R::UpstreamTruncated, false),
    ] {
        let cut = message(&world, "", &call("gpt", how, true)).await;
        let text = cut.text();
        assert!(text.contains("\"llo\"") && text.contains("event: error\n"), "{how}: {text}");
        assert!(!text.contains("message_stop") && !text.contains("message_delta"), "{how}: {text}");
        assert_eq!((cut.status(), cut.complete), (200, complete), "{how}");
        let model = world.outcome(outcome).await.model.unwrap();
        assert_eq!((model.tokens, is_estimated(&model)), (None, true), "{model:?}");
    }
    // Statuses that have no body, or are no answer.
    for (how, stream) in ["204", "205", "302", "304"].into_iter().flat_map(|how| [(how, false), (how, true)]) {
        let answer = message(&world, "", &call("gpt", how, stream)).await;
        assert_eq!((answer.status(), answer.complete), (502, true), "{how}");
        world.outcome(R::UpstreamMalformed).await;
    }
    for how in ["echo", "split echo"] {
        let echo = message(&world, "", &call("gpt", how, false)).await;
        let text = echo.text();
        assert!(echo.status() == 200 && !text.contains(SECRET) && text.contains("your key is"), "{text}");
        check_usage(&world.outcome(R::Served).await, false);
    }

    let before = upstream.counts().requests;
    let mut foreign = call("gpt", "x", false);
    foreign["tools"] = json!([{"type": "web_search_20250305", "name": "web_search"}]);
    let refused = message(&world, "", &foreign).await;
    let body: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((refused.status(), &body["error"]["type"]), (400, &json!("invalid_request_error")));
    let text = body["error"]["message"].as_str().unwrap();
    assert!(text.contains("a tool of the provider's has no counterpart in the Chat Completions API"), "{text}");
    world.outcome(R::InvalidModelCall).await;
    assert_eq!(upstream.counts().requests, before);
    world.done().await;
}

#[tokio::test]
async fn a_caller_that_leaves_a_translated_stream_is_recorded() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let text = call("gpt", "hang", true).to_string();
    let mut wire = world.connect().await;
    let head = format!("POST /v1/messages HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", text.len());
    wire.send(format!("{head}x-api-key: {}\r\n\r\n{text}", key("k"))).await.unwrap();
    within(async {
        while find(wire.pending(), b"\"llo\"").is_none() {
            assert!(wire.fill().await.unwrap() > 0);
        }
    })
    .await;
    drop(wire);
    let model = world.outcome(R::CallerClosed).await.model.unwrap();
    assert_eq!((model.tokens, is_estimated(&model)), (None, true), "{model:?}");
    world.calm().await;
    world.done().await;
}
