//! The model API in Anthropic's dialect: calls pass unharmed, and callers of Chat Completions reach such providers.

use crate::harness::*;
use credentialflow_model::{
    OutcomeReason as R, UsageRecord,
    usage::{Cost, TokenUsage},
};
use serde_json::{Value, json};
use std::time::Duration;

fn yaml(upstream: &FakeUpstream) -> String {
    let prices = "prices: [{ from: 2020-01-01T00:00:00Z, input: '4', cached_input: '0.4', cache_write: '5', cache_write_1h: '8', output: '20' }]";
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [claude, both, gpt] }} }}
keys:
  - {{ name: k, application: app }}
credentials:
  - {{ name: c, engine: static }}
upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1\"], provider: anthropic, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: other, endpoints: [\"{0}/other\"], provider: openai }}
models:
  - {{ name: claude, targets: [{{ provider: mine, model: claude-real, credential: c, {prices} }}] }}
  - {{ name: gpt, targets: [{{ provider: other, model: gpt-real, credential: c }}] }}
  - {{ name: both, targets: [{{ provider: mine, model: claude-real, credential: c }}, {{ provider: other, model: gpt-real, credential: c, weight: 3 }}] }}
",
        upstream.url()
    )
}

const MESSAGE: &str = r#"{"id":"msg_1", "type":"message","role":"assistant","model":"claude-real","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":300,"cache_read_input_tokens":400,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_1h_input_tokens":100},"output_tokens":50}}"#;

/// What is known when a stream begins and never tells what it came to.
const BEGUN: TokenUsage =
    TokenUsage { input: 1000, cached_input: 400, cache_write: 300, cache_write_1h: 100, output: 0, reasoning: 0 };

fn events() -> String {
    let start = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-real","content":[],"usage":{"input_tokens":300,"cache_read_input_tokens":400,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_1h_input_tokens":100},"output_tokens":1}}"#;
    [
        ("message_start", format!(r#"{{"type":"message_start","message":{start}}}"#)),
        (
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.into(),
        ),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"he"}}"#.into(),
        ),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"llo"}}"#.into(),
        ),
        ("content_block_stop", r#"{"type":"content_block_stop","index":0}"#.into()),
        (
            "message_delta",
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":50}}"#.into(),
        ),
        ("message_stop", r#"{"type":"message_stop"}"#.into()),
    ]
    .map(|(name, data)| format!("event: {name}\ndata: {data}\n\n"))
    .concat()
}

/// A provider that speaks Messages at `/v1`, and answers as the first message of a call says.
async fn provider() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let json_type = "content-type: application/json\r\n";
            if request.target().starts_with("/v1/messages/count_tokens") {
                peer.send(answer(200, json_type, r#"{"input_tokens":14}"#)).await;
                continue;
            }
            if request.target() == "/other/responses/input_tokens" {
                let body = r#"{"object":"response.input_tokens","input_tokens":15}"#;
                peer.send(answer(200, json_type, body)).await;
                continue;
            }
            if request.target() == "/other/chat/completions" {
                peer.send(answer(200, json_type, r#"{"id":"1","choices":[{"message":{"content":"gpt"}}]}"#)).await;
                continue;
            }
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            let content = &call["messages"][0]["content"];
            let how = content.as_str().or(content[0]["text"].as_str()).unwrap_or_default().to_owned();
            match how.as_str() {
                "busy" => {
                    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow down"},"request_id":"r"}"#;
                    peer.send(answer(429, "content-type: application/json\r\nretry-after: 7\r\n", body)).await;
                }
                "html" => peer.send(answer(200, "content-type: text/html\r\n", "<html>")).await,
                "204" => peer.send("HTTP/1.1 204 X\r\ncontent-type: text/event-stream\r\n\r\n").await,
                "205" | "302" | "304" => {
                    peer.send(answer(how.parse().unwrap(), "content-type: text/event-stream\r\n", "")).await;
                }
                "split echo" => {
                    let (one, other) = SECRET.split_at(SECRET.len() / 2);
                    let blocks = format!(r#"{{"type":"text","text":"your key is {one}"}},{{"type":"text","text":"{other}"}}"#);
                    peer.send(answer(200, json_type, &MESSAGE.replace(r#"{"type":"text","text":"hi"}"#, &blocks))).await;
                }
                "echo" => {
                    let body = MESSAGE.replace("\"hi\"", &format!("\"your key is {SECRET}\""));
                    peer.send(answer(200, json_type, &body)).await;
                }
                "cut" | "lost" | "garbled" | "hang" if call["stream"] == true => {
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                    let all = events();
                    let (begun, _) = all.split_once("event: message_delta").unwrap();
                    peer.send(format!("{head}{:x}\r\n{begun}\r\n", begun.len())).await;
                    match how.as_str() {
                        "cut" => peer.send("0\r\n\r\n").await,
                        "garbled" => peer.send("a\r\ndata: {x}\n\r\n1\r\n\n\r\n0\r\n\r\n").await,
                        "lost" => return,
                        _ => {
                            peer.wire.drain().await;
                            return;
                        }
                    }
                }
                _ if call["stream"] == true => {
                    peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n").await;
                    for piece in events().as_bytes().chunks(37) {
                        peer.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    peer.send("0\r\n\r\n").await;
                }
                _ => peer.send(answer(200, "content-type: application/json\r\nrequest-id: req_1\r\n", MESSAGE)).await,
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

async fn post(world: &World, path: &str, fields: &str, body: &str) -> Message {
    let head = format!("POST {path} HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
    world.ask(format!("{head}{fields}\r\n{body}")).await
}

async fn message(world: &World, body: &str) -> Message {
    post(world, "/v1/messages", &format!("x-api-key: {}\r\n", key("k")), body).await
}

async fn chat(world: &World, body: &Value) -> Message {
    post(world, "/v1/chat/completions", &format!("authorization: Bearer {}\r\n", key("k")), &body.to_string()).await
}

fn check_usage(record: &UsageRecord, streamed: bool) {
    let model = record.model.as_ref().unwrap();
    assert_eq!((&*model.model, &*model.provider, &*model.provider_model), ("claude", "mine", "claude-real"));
    assert_eq!(model.streamed, streamed);
    let tokens =
        TokenUsage { input: 1000, cached_input: 400, cache_write: 300, cache_write_1h: 100, output: 50, reasoning: 0 };
    assert_eq!(model.tokens, Some(tokens));
    // 300 × 4 + 400 × 0.4 + 200 × 5 + 100 × 8 + 50 × 20, per million.
    let Some(Cost::Known(cost)) = model.cost else { panic!("{:?}", model.cost) };
    assert_eq!(cost.to_string(), "0.00416");
    let used = record.credential.as_ref().unwrap();
    assert_eq!((&*used.credential, used.version), ("c", 3));
}

#[tokio::test]
async fn plain_messages_pass_unchanged() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let body = r#"{ "model" : "claude","max_tokens":16, "messages":[{"role":"user","content":"x"}],"extra":1.50}"#;
    for (fields, version) in [
        (format!("x-api-key: {}\r\n", key("k")), "2023-06-01"),
        (
            format!("authorization: Bearer {}\r\nanthropic-version: 2024-10-22\r\nanthropic-beta: b\r\n", key("k")),
            "2024-10-22",
        ),
    ] {
        let answer = post(&world, "/v1/messages?beta=true", &fields, body).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, MESSAGE));
        assert_eq!(answer.field("request-id"), Some("req_1"));
        let seen = upstream.last();
        assert_eq!(seen.first, "POST /v1/messages?beta=true HTTP/1.1");
        assert_eq!((seen.field("x-api-key"), seen.field("authorization")), (Some(SECRET), None));
        assert_eq!(seen.field("anthropic-version"), Some(version));
        assert_eq!(seen.field("anthropic-beta"), (version != "2023-06-01").then_some("b"));
        assert_eq!(String::from_utf8(seen.body).unwrap(), body.replace("\"claude\"", "\"claude-real\""));
        check_usage(&world.outcome(R::Served).await, false);
    }
    // The provider's own errors pass, and cost nothing.
    let busy = message(&world, r#"{"model":"claude","messages":[{"role":"user","content":"busy"}]}"#).await;
    assert_eq!((busy.status(), busy.field("retry-after")), (429, Some("7")));
    assert!(busy.text().contains("Slow down"));
    let model = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((model.tokens, model.cost), (None, None));
    world.done().await;
}

#[tokio::test]
async fn what_another_maker_signed_does_not_pass() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let body = r#"{"model":"claude", "max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"google-signature-of-call:YQ=="} , {"type":"text","text":"a"}]},{"role":"user","content":"b"}]}"#;
    assert_eq!(message(&world, body).await.status(), 200);
    let (before, rest) = body.split_once(r#"{"type":"thinking""#).unwrap();
    let (_, after) = rest.split_once("} , ").unwrap();
    let kept = format!("{before}{after}").replace("\"claude\"", "\"claude-real\"");
    assert_eq!(String::from_utf8(upstream.last().body).unwrap(), kept);
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn streamed_messages_pass_unchanged() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let answer =
        message(&world, r#"{"model":"claude","stream":true,"messages":[{"role":"user","content":"x"}]}"#).await;
    assert_eq!((answer.status(), answer.complete, answer.text()), (200, true, events()));
    check_usage(&world.outcome(R::Served).await, true);
    // What a message begins with says nothing of its output: estimated by what was sent and what came, not counted as almost nothing.
    let cut = message(&world, r#"{"model":"claude","stream":true,"messages":[{"role":"user","content":"cut"}]}"#).await;
    assert_eq!(cut.status(), 200);
    let model = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((model.tokens, is_estimated(&model)), (Some(BEGUN), true), "{model:?}");
    world.done().await;
}

#[tokio::test]
async fn counting_tokens_is_free() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let fields = format!("x-api-key: {}\r\n", key("k"));
    let body = r#"{"model":"claude","messages":[]}"#;
    let answer = post(&world, "/v1/messages/count_tokens", &fields, body).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, r#"{"input_tokens":14}"#));
    assert_eq!(upstream.last().first, "POST /v1/messages/count_tokens HTTP/1.1");
    let model = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((model.tokens, model.cost), (None, Some(Cost::Known(Default::default()))));
    world.done().await;
}

#[tokio::test]
async fn refusals_in_anthropics_shape() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let check = async |answer: Message, status: u16, kind: &str, outcome: R| {
        assert_eq!((answer.status(), answer.field("content-type")), (status, Some("application/json")));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!(kind)));
        assert_eq!(body["error"]["code"], outcome.code());
        let record = world.outcome(outcome).await;
        assert_eq!(body["request_id"], record.request_id.to_string());
        assert_eq!(answer.field("request-id"), Some(record.request_id.to_string().as_str()));
        assert_eq!(record.attempts, 0);
    };
    check(message(&world, r#"{"model":"nothing"}"#).await, 404, "not_found_error", R::ModelNotFound).await;
    check(message(&world, "{").await, 400, "invalid_request_error", R::InvalidModelCall).await;
    let foreign = r#"{"model":"gpt","max_tokens":9,"container":"c","messages":[]}"#;
    check(message(&world, foreign).await, 400, "invalid_request_error", R::InvalidModelCall).await;
    let none = post(&world, "/v1/messages", "anthropic-version: 2023-06-01\r\n", "{}").await;
    check(none, 401, "authentication_error", R::Unauthenticated).await;
    let fields = format!("x-api-key: {}\r\n", key("k"));
    let count = post(&world, "/v1/messages/count_tokens", &fields, r#"{"model":"gpt"}"#).await;
    check(count, 400, "invalid_request_error", R::InvalidModelCall).await;
    let large = format!("POST /v1/messages HTTP/1.1\r\nhost: gw\r\ncontent-length: 2000000\r\n{fields}\r\n");
    check(world.ask(large).await, 413, "request_too_large", R::BodyTooLarge).await;
    assert_eq!(upstream.counts().requests, 0);
    world.done().await;
}

#[tokio::test]
async fn the_list_in_anthropics_shape() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let ask = async |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: gw\r\nanthropic-version: 2023-06-01\r\n");
        let answer = world.ask(format!("{head}x-api-key: {}\r\n\r\n", key("k"))).await;
        world.record().await;
        (answer.status(), serde_json::from_slice::<Value>(&answer.body).unwrap())
    };
    let (status, list) = ask("/v1/models").await;
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!((status, ids), (200, vec!["claude", "gpt", "both"]));
    assert_eq!(
        (&list["has_more"], &list["first_id"], &list["last_id"]),
        (&json!(false), &json!("claude"), &json!("both"))
    );
    let (status, one) = ask("/v1/models/gpt").await;
    assert_eq!((status, &one["type"], &one["id"]), (200, &json!("model"), &json!("gpt")));
    let (status, none) = ask("/v1/models/absent").await;
    assert_eq!((status, &none["error"]["type"]), (404, &json!("not_found_error")));
    world.done().await;
}

#[tokio::test]
async fn each_dialect_takes_turns_of_its_own() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let (mut chats, mut messages) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let answer = chat(&world, &json!({"model": "both", "messages": [{"role": "user", "content": "x"}]})).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        chats.push(body["choices"][0]["message"]["content"].as_str().unwrap().to_owned());
        world.outcome(R::Served).await;
        // Counting takes nobody's turn.
        let fields = format!("x-api-key: {}\r\n", key("k"));
        let count = post(&world, "/v1/messages/count_tokens", &fields, r#"{"model":"both","messages":[]}"#).await;
        assert_eq!(count.status(), 200);
        world.outcome(R::Served).await;
        let call = r#"{"model":"both","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;
        let answer = message(&world, call).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        messages.push(body["content"][0]["text"].as_str().unwrap().to_owned());
        world.outcome(R::Served).await;
    }
    for mut said in [chats, messages] {
        said.sort();
        assert_eq!(said, ["gpt", "gpt", "gpt", "gpt", "gpt", "gpt", "hi", "hi"]);
    }
    world.done().await;
}

#[tokio::test]
async fn what_cannot_be_translated_goes_where_it_need_not_be() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let call = json!({"model": "both", "n": 2, "messages": [{"role": "user", "content": "x"}]});
    for _ in 0..4 {
        let answer = chat(&world, &call).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let seen = upstream.last();
        assert_eq!(seen.first, "POST /other/chat/completions HTTP/1.1");
        let sent: Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!((&sent["model"], &sent["n"]), (&json!("gpt-real"), &json!(2)));
        let model = world.outcome(R::Served).await.model.unwrap();
        assert_eq!((&*model.provider, &*model.provider_model), ("other", "gpt-real"));
        // And the other way round.
        let call = r#"{"model":"both","max_tokens":9,"container":"c","messages":[{"role":"user","content":"x"}]}"#;
        let answer = message(&world, call).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, MESSAGE));
        assert_eq!(upstream.last().first, "POST /v1/messages HTTP/1.1");
        assert_eq!(world.outcome(R::Served).await.model.unwrap().provider.as_ref(), "mine");
    }
    world.done().await;
}

#[tokio::test]
async fn chat_completions_reach_a_provider_of_messages() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let call = |text: &str, stream: bool| {
        json!({"model": "claude", "stream": stream, "max_tokens": 9, "stream_options": {"include_usage": true}, "messages": [
            {"role": "user", "content": text}]})
    };
    let answer = chat(&world, &call("x", false)).await;
    assert_eq!((answer.status(), answer.field("content-type")), (200, Some("application/json")));
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["choices"][0]["message"]["content"], "hi");
    assert_eq!((&body["object"], &body["usage"]["prompt_tokens"]), (&json!("chat.completion"), &json!(1000)));
    let seen = upstream.last();
    assert_eq!(seen.first, "POST /v1/messages HTTP/1.1");
    assert_eq!((seen.field("x-api-key"), seen.field("authorization")), (Some(SECRET), None));
    assert_eq!(seen.field("anthropic-version"), Some("2023-06-01"));
    let sent: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(
        sent,
        json!({"model": "claude-real", "max_tokens": 9,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]})
    );
    check_usage(&world.outcome(R::Served).await, false);

    let answer = chat(&world, &call("x", true)).await;
    assert_eq!((answer.status(), answer.complete), (200, true));
    let text = answer.text();
    let words: String = text
        .split("\n\n")
        .filter_map(|event| serde_json::from_str::<Value>(event.strip_prefix("data: ")?).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(words, "hello", "{text}");
    assert!(text.contains("\"total_tokens\":1050") && text.ends_with("data: [DONE]\n\n"), "{text}");
    check_usage(&world.outcome(R::Served).await, true);

    // What speaks of the call as it was, or asks for another version than is translated into, is left out.
    let fields = format!(
        "authorization: Bearer {}\r\nopenai-organization: o\r\nOpenAI-Beta: b\r\nanthropic-version: 1999-01-01\r\n\
         anthropic_version: 1999-01-01\r\nif-none-match: \"x\"\r\nrange: bytes=1-2\r\nx-other: kept\r\n",
        key("k")
    );
    post(&world, "/v1/chat/completions", &fields, &call("x", false).to_string()).await;
    let mut names: Vec<_> = upstream.last().fields.into_iter().map(|(name, _)| name).collect();
    names.retain(|name| ["openai", "anthropic", "if-", "range", "x-other"].iter().any(|n| name.starts_with(n)));
    names.sort();
    assert_eq!(names, ["anthropic-version", "x-other"]);
    assert_eq!(upstream.last().field("anthropic-version"), Some("2023-06-01"));
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_chat_completions() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let call = |text: &str, stream: bool| json!({"model": "claude", "stream": stream, "messages": [{"role": "user", "content": text}]});
    for stream in [false, true] {
        let busy = chat(&world, &call("busy", stream)).await;
        assert_eq!((busy.status(), busy.field("retry-after")), (429, Some("7")));
        let body: Value = serde_json::from_slice(&busy.body).unwrap();
        let error =
            json!({"message": "Slow down", "type": "rate_limit_error", "param": null, "code": "rate_limit_error"});
        assert_eq!(body, json!({"error": error}));
        let model = world.outcome(R::Served).await.model.unwrap();
        assert_eq!((model.tokens, model.cost), (None, None));

        let html = chat(&world, &call("html", stream)).await;
        assert_eq!(html.status(), 502);
        let body: Value = serde_json::from_slice(&html.body).unwrap();
        assert_eq!(body["error"]["code"], "upstream_malformed");
        let model = world.outcome(R::UpstreamMalformed).await.model.unwrap();
        assert!(if stream { is_estimated(&model) } else { model.cost == Some(Cost::UnknownUsage) }, "{model:?}");
    }
    for (how, outcome) in
        [("cut", R::UpstreamTruncated), ("garbled", R::UpstreamMalformed), ("lost", R::UpstreamTruncated)]
    {
        let cut = chat(&world, &call(how, true)).await;
        let text = cut.text();
        assert!(text.contains("\"llo\"") && text.contains("\"error\":") && !text.contains("[DONE]"), "{how}: {text}");
        assert_eq!((cut.status(), cut.complete), (200, how != "lost"), "{how}");
        let model = world.outcome(outcome).await.model.unwrap();
        assert_eq!((model.tokens, is_estimated(&model)), (Some(BEGUN), true), "{model:?}");
    }
    // Statuses that have no body, or are no answer.
    for (how, stream) in ["204", "205", "302", "304"].into_iter().flat_map(|how| [(how, false), (how, true)]) {
        let answer = chat(&world, &call(how, stream)).await;
        assert_eq!((answer.status(), answer.complete), (502, true), "{how}");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["code"], "upstream_malformed", "{how}");
        world.outcome(R::UpstreamMalformed).await;
    }

    for how in ["echo", "split echo"] {
        let echo = chat(&world, &call(how, false)).await;
        assert!(
            echo.status() == 200 && !echo.text().contains(SECRET) && echo.text().contains("your key is"),
            "{}",
            echo.text()
        );
        check_usage(&world.outcome(R::Served).await, false);
    }

    let before = upstream.counts().requests;
    let mut two = call("x", false);
    two["n"] = json!(2);
    let refused = chat(&world, &two).await;
    assert_eq!(refused.status(), 400);
    let text = refused.text();
    assert!(text.contains("`n` has no counterpart") && text.contains("invalid_model_call"), "{text}");
    world.outcome(R::InvalidModelCall).await;
    assert_eq!(upstream.counts().requests, before);
    world.done().await;
}

#[tokio::test]
async fn a_caller_that_leaves_a_translated_stream_is_recorded() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let text =
        json!({"model": "claude", "stream": true, "messages": [{"role": "user", "content": "hang"}]}).to_string();
    let mut wire = world.connect().await;
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", text.len());
    wire.send(format!("{head}authorization: Bearer {}\r\n\r\n{text}", key("k"))).await.unwrap();
    within(async {
        while find(wire.pending(), b"\"llo\"").is_none() {
            assert!(wire.fill().await.unwrap() > 0);
        }
    })
    .await;
    drop(wire);
    let model = world.outcome(R::CallerClosed).await.model.unwrap();
    assert_eq!((model.tokens, is_estimated(&model)), (Some(BEGUN), true), "{model:?}");
    world.calm().await;
    world.done().await;
}
