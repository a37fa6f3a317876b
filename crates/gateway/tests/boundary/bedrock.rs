//! AWS Bedrock as a provider: signatures, frames out of which callers get events, exceptions, and APIs of AWS behind
//! routes.

use crate::harness::*;
use credentialflow_model::{OutcomeReason as R, UsageRecord, usage::TokenUsage};
use credentialflow_sigv4::{Payload, ToSign, authorization};
use serde_json::{Value, json};

const KEY: &str = "AKIDEXAMPLE";
const AWS_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "FwoGZXIvYXdzEXAMPLETOKEN+/==";
const CREDENTIAL: &str = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY:FwoGZXIvYXdzEXAMPLETOKEN+/==";

fn yaml(upstream: &FakeUpstream) -> String {
    let sign = |service: &str| {
        format!("inject: {{ aws_sigv4: {{ credential: c, region: eu-central-1, service: {service} }} }}")
    };
    let (bedrock, api, s3) = (sign("bedrock"), sign("execute-api"), sign("s3"));
    let url = upstream.url();
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [claude, second, bare, odd] }} }}
keys:
  - {{ name: k, application: app }}
credentials:
  - {{ name: c, engine: static }}
  - {{ name: api-key, engine: static }}
upstreams:
  - {{ name: aws, endpoints: [\"{url}\"], provider: bedrock, {bedrock} }}
  - {{ name: bearer, endpoints: [\"{url}/bearer\"], provider: bedrock }}
  - {{ name: chats, endpoints: [\"{url}/chats\"], provider: openai-chat }}
  - {{ name: api, endpoints: [\"{url}\"], {api} }}
  - {{ name: buckets, endpoints: [\"{url}\"], {s3} }}
models:
  - {{ name: claude, targets: [{{ provider: aws, model: 'eu.anthropic.claude-x-v1:0' }}] }}
  - {{ name: bare, targets: [{{ provider: bearer, model: amazon.nova-lite-v1, credential: api-key }}] }}
  - {{ name: odd, targets: [{{ provider: aws, model: amazon.nova-lite-v1, credential: api-key }}] }}
  - name: second
    targets:
      - {{ provider: aws, model: amazon.nova-lite-v1 }}
      - {{ provider: chats, model: other, credential: api-key, priority: 1 }}
routes:
  - {{ name: api, match: {{ path: /api/* }}, upstream: api, authenticate: [none], max_body: 4KiB }}
  - {{ name: buckets, match: {{ path: /buckets/* }}, upstream: buckets, authenticate: [none] }}
"
    )
}

/// A message of AWS's event stream.
fn frame(kind: &str, name: &str, payload: &Value) -> Vec<u8> {
    let named = if kind == "event" { ":event-type" } else { ":exception-type" };
    let mut headers = Vec::new();
    for (header, value) in [(":message-type", kind), (named, name), (":content-type", "application/json")] {
        headers.push(header.len() as u8);
        headers.extend_from_slice(header.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let payload = payload.to_string();
    let mut out = Vec::from(((16 + headers.len() + payload.len()) as u32).to_be_bytes());
    out.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out.extend_from_slice(&headers);
    out.extend_from_slice(payload.as_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out
}

/// An event of its streams.
pub fn event(name: &str, payload: Value) -> Vec<u8> {
    frame("event", name, &payload)
}

fn usage() -> Value {
    json!({"inputTokens": 3, "outputTokens": 2, "totalTokens": 15, "cacheReadInputTokens": 10})
}

/// Bedrock, which answers as the first message of a call says; other paths tell what came.
async fn aws() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let json_type = "content-type: application/json\r\n";
            if request.target().contains("/chats/") {
                let said = json!({"id": "1", "object": "chat.completion", "choices": [
                    {"index": 0, "message": {"role": "assistant", "content": "second"}, "finish_reason": "stop"}]});
                peer.send(answer(200, json_type, &said.to_string())).await;
                continue;
            }
            if !request.target().contains("/model/") {
                let told = json!({"target": request.target(), "length": request.body.len(),
                    "authorization": request.field("authorization"), "hash": request.field("x-amz-content-sha256"),
                    "date": request.field("x-amz-date"), "target_header": request.field("x-amz-target")});
                peer.send(answer(200, json_type, &told.to_string())).await;
                continue;
            }
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            let how = call["messages"][0]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
            let streams = request.target().ends_with("/converse-stream");
            let start = event("messageStart", json!({"role": "assistant"}));
            let delta = |text: &str| event("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": text}, "p": "abc"}));
            let end = [
                event("messageStop", json!({"stopReason": "end_turn"})),
                event("metadata", json!({"metrics": {}, "usage": usage()})),
            ]
            .concat();
            let body = match how.as_str() {
                "throttled" => {
                    let more = format!("{json_type}x-amzn-errortype: ThrottlingException:http://x/\r\n");
                    peer.send(answer(429, &more, r#"{"message":"Too many requests."}"#)).await;
                    continue;
                }
                "thrown at once" => {
                    let thrown = frame("exception", "throttlingException", &json!({"message": "Too many tokens."}));
                    [start, thrown].concat()
                }
                "thrown" => {
                    let thrown = frame("exception", "modelStreamErrorException", &json!({"message": "It broke."}));
                    [start, delta("Hel"), thrown].concat()
                }
                "cut" => [start, delta("Hel")].concat(),
                "garbled" => {
                    let mut bad = delta("Hello");
                    let last = bad.len() - 9;
                    bad[last] ^= 1;
                    [start, bad, end].concat()
                }
                "echo" => [start, delta(&format!("your token is {TOKEN}")), end].concat(),
                _ if streams => [start, delta("Hel"), delta("lo"), end].concat(),
                _ => {
                    let message = json!({"role": "assistant", "content": [{"text": "Hello"}]});
                    let whole = json!({"output": {"message": message}, "stopReason": "end_turn", "usage": usage(), "metrics": {}});
                    peer.send(answer(200, json_type, &whole.to_string())).await;
                    continue;
                }
            };
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n";
            peer.send(head).await;
            for piece in body.chunks(41) {
                peer.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
            }
            peer.send("0\r\n\r\n").await;
        }
    })
    .await
}

fn setup(upstream: &FakeUpstream) -> World {
    let mut setup = Setup::new(yaml(upstream));
    setup.credentials = vec![("c", 1, CREDENTIAL), ("api-key", 1, SECRET)];
    setup.workers = 1;
    setup.start()
}

/// A chat whose first message says how it is answered.
async fn ask(world: &World, model: &str, how: &str, stream: bool) -> Message {
    let call = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": how}]});
    let more = "content-type: application/json\r\nx-amz-security-token: forged\r\naccept: application/json\r\n";
    world.ask(post("/v1/chat/completions", more, &call.to_string())).await
}

fn tokens(record: &UsageRecord) -> Option<TokenUsage> {
    record.model.as_ref().and_then(|model| model.tokens)
}

/// The signature that a request should have.
pub fn signed(request: &Message, service: &str, payload: Payload<'_>) -> String {
    let (path, query) = request.target().split_once('?').unwrap_or((request.target(), ""));
    let given = request.field("authorization").unwrap();
    let names = given.split_once("SignedHeaders=").unwrap().1.split_once(',').unwrap().0;
    let headers: Vec<(&str, &str)> = names.split(';').map(|name| (name, request.field(name).unwrap())).collect();
    let (method, time) = (request.method(), request.field("x-amz-date").unwrap());
    let region = "eu-central-1";
    let signed = ToSign { method, path, query, service, region, time, headers: &headers, payload };
    authorization(KEY, &AWS_SECRET.into(), &signed)
}

#[tokio::test]
async fn calls_are_signed_and_answered_in_the_callers_dialect() {
    let upstream = aws().await;
    let world = setup(&upstream);
    let told = TokenUsage { input: 13, cached_input: 10, output: 2, ..TokenUsage::default() };
    for stream in [false, true] {
        let answered = ask(&world, "claude", "Hi", stream).await;
        assert_eq!(answered.status(), 200, "{}", answered.text());
        let action = if stream { "converse-stream" } else { "converse" };
        let sent = upstream.last();
        assert_eq!(sent.target(), format!("/model/eu.anthropic.claude-x-v1%3A0/{action}"));
        assert_eq!(sent.field("authorization").unwrap(), signed(&sent, "bedrock", Payload::Bytes(&sent.body)));
        let names = sent.field("authorization").unwrap();
        assert!(names.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token,"), "{names}");
        assert_eq!((sent.field("x-amz-security-token"), sent.field("accept")), (Some(TOKEN), None));
        if stream {
            assert_eq!(answered.field("content-type"), Some("text/event-stream"));
            let text = answered.text();
            assert!(text.contains("\"content\":\"Hel\"") && text.ends_with("data: [DONE]\n\n"), "{text}");
        } else {
            let body: Value = serde_json::from_slice(&answered.body).unwrap();
            assert_eq!(body["choices"][0]["message"]["content"], "Hello");
        }
        assert_eq!(tokens(&world.outcome(R::Served).await), Some(told));
    }
    // An API key goes as it is, below the endpoint's own path.
    assert_eq!(ask(&world, "bare", "Hi", false).await.status(), 200);
    let sent = upstream.last();
    assert_eq!(sent.target(), "/bearer/model/amazon.nova-lite-v1/converse");
    assert_eq!(sent.field("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    world.outcome(R::Served).await;
    // What is no access key signs nothing.
    assert_eq!(ask(&world, "odd", "Hi", false).await.status(), 503);
    world.outcome(R::CredentialUnavailable).await;
    world.done().await;
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_the_callers_dialect() {
    let upstream = aws().await;
    let world = setup(&upstream);
    let throttled = ask(&world, "claude", "throttled", true).await;
    let body: Value = serde_json::from_slice(&throttled.body).unwrap();
    assert_eq!(throttled.status(), 429);
    assert_eq!(body["error"]["message"], "Too many requests.");
    assert_eq!(
        (&body["error"]["type"], &body["error"]["code"]),
        (&json!("rate_limit_error"), &json!("ThrottlingException"))
    );
    world.outcome(R::Served).await;
    for (how, said, outcome) in [
        ("thrown", "It broke.", R::Served),
        ("cut", "cannot be used", R::UpstreamTruncated),
        ("garbled", "cannot be used", R::UpstreamMalformed),
    ] {
        let text = ask(&world, "claude", how, true).await.text();
        assert!(text.contains("\"error\"") && text.contains(said) && !text.contains("[DONE]"), "{how}: {text}");
        world.outcome(outcome).await;
    }
    let text = ask(&world, "claude", "echo", true).await.text();
    assert!(!text.contains(TOKEN) && text.contains("your token is ****"), "{text}");
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn an_exception_before_the_first_token_moves_on() {
    let upstream = aws().await;
    let world = setup(&upstream);
    for how in ["thrown at once", "throttled"] {
        let answered = ask(&world, "second", how, false).await;
        // A call that is not streamed is answered by a stream here, or by an error.
        assert_eq!(answered.status(), 200, "{how}: {}", answered.text());
        assert!(answered.text().contains("second"), "{how}: {}", answered.text());
        let record = world.outcome(R::Served).await;
        assert_eq!(record.model.as_ref().map(|model| model.tried.len()), Some(1), "{how}");
    }
    world.done().await;
}

#[tokio::test]
async fn other_apis_of_aws_are_signed_behind_routes() {
    let upstream = aws().await;
    let world = setup(&upstream);
    let body = "x".repeat(3000);
    let more = "x-amz-target: Do.It\r\nauthorization: AWS4-HMAC-SHA256 forged\r\nx-amz-date: 20000101T000000Z\r\n";
    for request in
        [post("/api/a%20b?z=1&a=%2F&b", more, &body), get("/api/x", more), get("/buckets/a%2Bb?list-type=2", "")]
    {
        let answered = world.ask(&request).await;
        assert_eq!(answered.status(), 200, "{}", answered.text());
        let sent = upstream.last();
        let service = if request.contains("/buckets/") { "s3" } else { "execute-api" };
        assert_eq!(
            sent.field("authorization").unwrap(),
            signed(&sent, service, Payload::Bytes(&sent.body)),
            "{request}"
        );
        assert_ne!(sent.field("x-amz-date"), Some("20000101T000000Z"));
        world.outcome(R::Served).await;
    }
    let answered = world.ask(post("/buckets/a/b.txt", "", &body)).await;
    assert_eq!(answered.status(), 200);
    let sent = upstream.last();
    assert_eq!(sent.field("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
    assert_eq!(sent.field("authorization").unwrap(), signed(&sent, "s3", Payload::Unsigned));
    world.outcome(R::Served).await;
    // Chunks of AWS's own would be stored with their marks.
    let before = upstream.requests().len();
    for field in [
        "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nx-amz-trailer: x-amz-checksum-crc32\r\n",
        "content-encoding: aws-chunked\r\n",
    ] {
        let answered = world.ask(post("/buckets/a/b.txt", field, "4\r\nabcd\r\n0\r\n\r\n")).await;
        assert_eq!(answered.status(), 400, "{field}");
        assert!(answered.text().contains("signed chunks"), "{}", answered.text());
        world.outcome(R::MalformedRequest).await;
    }
    assert_eq!(upstream.requests().len(), before);
    // What is held has an end.
    assert_eq!(world.ask(post("/api/x", "", &"x".repeat(5000))).await.status(), 413);
    world.outcome(R::BodyTooLarge).await;
    world.done().await;
}
