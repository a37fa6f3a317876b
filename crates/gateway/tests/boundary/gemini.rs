//! The model API in Gemini's dialect: calls pass unharmed, callers of Gemini reach providers of other dialects, and
//! callers of those reach providers of Gemini.

use crate::harness::*;
use credentialflow_model::{
    OutcomeReason as R, UsageRecord,
    usage::{Cost, TokenUsage},
};
use serde_json::{Value, json};

fn yaml(upstream: &FakeUpstream) -> String {
    let prices = "prices: [{ from: 2020-01-01T00:00:00Z, input: '4', cached_input: '0.4', output: '20' }]";
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [gem, tuned, gpt, claude] }} }}
keys:
  - {{ name: k, application: app }}
credentials:
  - {{ name: c, engine: static }}
upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1beta\"], provider: gemini, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: asked, endpoints: [\"{0}/v1beta\"], provider: gemini, inject: {{ query: {{ name: key, credential: c }} }} }}
  - {{ name: other, endpoints: [\"{0}/other\"], provider: openai }}
  - {{ name: messages, endpoints: [\"{0}/other\"], provider: anthropic }}
models:
  - {{ name: gem, targets: [{{ provider: mine, model: gemini-real, credential: c, {prices} }}] }}
  - {{ name: tuned, targets: [{{ provider: asked, model: tunedModels/mine }}] }}
  - {{ name: gpt, targets: [{{ provider: other, model: gpt-real, credential: c, {prices} }}] }}
  - {{ name: claude, targets: [{{ provider: messages, model: claude-real, credential: c }}] }}
  - {{ name: hidden, targets: [{{ provider: mine, model: gemini-hidden, credential: c }}] }}
",
        upstream.url()
    )
}

const USAGE: &str = r#""usageMetadata": {"promptTokenCount": 1000, "cachedContentTokenCount": 400, "candidatesTokenCount": 30, "thoughtsTokenCount": 20, "totalTokenCount": 1050}"#;

fn generated() -> String {
    format!(
        "{{\n  \"candidates\": [{{\"content\": {{\"parts\": [{{\"text\": \"hi\"}}], \"role\": \"model\"}}, \"finishReason\": \"STOP\", \"index\": 0}}],\n  {USAGE},\n  \"modelVersion\": \"gemini-real\", \"responseId\": \"r1\"\n}}\n"
    )
}

/// The parts of a streamed answer.
fn parts() -> [String; 2] {
    let begun = r#"{"candidates": [{"content": {"parts": [{"text": "he"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 1000,"cachedContentTokenCount": 400,"candidatesTokenCount": 1},"modelVersion": "gemini-real","responseId": "r1"}"#;
    let rest = format!(
        r#"{{"candidates": [{{"content": {{"parts": [{{"text": "llo"}}],"role": "model"}},"finishReason": "STOP","index": 0}}],{USAGE},"modelVersion": "gemini-real","responseId": "r1"}}"#
    );
    [begun.to_owned(), rest]
}

fn events() -> String {
    parts().map(|part| format!("data: {part}\r\n\r\n")).concat()
}

const COMPLETION: &str = r#"{"id":"c1","model":"gpt-real","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":400},"completion_tokens_details":{"reasoning_tokens":20}}}"#;
const CHUNKS: &str = concat!(
    "data: {\"id\":\"c1\",\"model\":\"gpt-real\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"he\"}}]}\n\n",
    "data: {\"id\":\"c1\",\"model\":\"gpt-real\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"llo\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":50,\"prompt_tokens_details\":{\"cached_tokens\":400},\"completion_tokens_details\":{\"reasoning_tokens\":20}}}\n\n",
    "data: [DONE]\n\n",
);

/// What is known when a stream begins and never tells what it came to.
const BEGUN: TokenUsage =
    TokenUsage { input: 1000, cached_input: 400, cache_write: 0, cache_write_1h: 0, output: 0, reasoning: 0 };

fn chunked(content_type: &str, body: &str) -> String {
    let mut all = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n");
    for piece in body.as_bytes().chunks(37) {
        all += &format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap());
    }
    all + "0\r\n\r\n"
}

/// A provider that speaks Gemini at `/v1beta` and Chat Completions at `/other`, and answers as a call's text says.
async fn provider() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let json_type = "content-type: application/json\r\n";
            let target = request.target().to_owned();
            let body = String::from_utf8(request.body.clone()).unwrap();
            let answered = if target.contains(":countTokens") {
                answer(200, json_type, r#"{"totalTokens":14}"#)
            } else if target.starts_with("/other/chat/completions") {
                match body.contains("\"stream\":true") {
                    true => chunked("text/event-stream", CHUNKS),
                    false => answer(200, json_type, COMPLETION),
                }
            } else if body.contains("busy") {
                let error = r#"{"error":{"code":429,"message":"Slow down","status":"RESOURCE_EXHAUSTED"}}"#;
                answer(429, "content-type: application/json\r\nretry-after: 7\r\n", error)
            } else if body.contains("echo") {
                answer(200, json_type, &generated().replace("\"hi\"", &format!("\"your key is {SECRET}\"")))
            } else if body.contains("html") {
                answer(200, "content-type: text/html\r\n", "<html>")
            } else if body.contains("cut") {
                chunked("text/event-stream", &format!("data: {}\r\n\r\n", parts()[0]))
            } else if target.contains(":streamGenerateContent") {
                match target.contains("alt=sse") {
                    true => chunked("text/event-stream", &events()),
                    false => chunked("application/json; charset=UTF-8", &format!("[{}\n]", parts().join(",\r\n"))),
                }
            } else {
                answer(200, "content-type: application/json; charset=UTF-8\r\nx-other: kept\r\n", &generated())
            };
            peer.send(answered).await;
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

async fn ask(world: &World, asked: &str, body: &str) -> Message {
    post(world, &format!("/v1beta/models/{asked}"), &format!("x-goog-api-key: {}\r\n", key("k")), body).await
}

fn says(text: &str) -> String {
    format!(r#"{{ "contents": [{{"role":"user","parts":[{{"text":"{text}"}}]}}], "extra":1.50 }}"#)
}

fn check_usage(record: &UsageRecord, model: (&str, &str), streamed: bool) {
    let used = record.model.as_ref().unwrap();
    assert_eq!((&*used.model, &*used.provider_model), model);
    assert_eq!(used.streamed, streamed);
    assert_eq!(used.tokens, Some(TokenUsage { output: 50, reasoning: 20, ..BEGUN }));
    // 600 × 4 + 400 × 0.4 + 50 × 20, per million.
    let Some(Cost::Known(cost)) = used.cost else { panic!("{:?}", used.cost) };
    assert_eq!(cost.to_string(), "0.00356");
    let used = record.credential.as_ref().unwrap();
    assert_eq!((&*used.credential, used.version), ("c", 3));
}

#[tokio::test]
async fn calls_pass_unchanged_plain_and_streamed() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let body = says("x");
    for bearer in [false, true] {
        let name = if bearer { "authorization: Bearer " } else { "x-goog-api-key: " };
        let fields = format!(
            "{name}{}\r\nx-goog-api-client: sdk\r\nX-Goog-FieldMask: candidates\r\n\
             X-Vertex-AI-LLM-Shared-Request-Type: priority\r\nx_vertex-ai_llm_request_type: dedicated\r\n",
            key("k")
        );
        let answer = post(&world, "/v1beta/models/gem:generateContent?key=not-a-key", &fields, &body).await;
        assert_eq!((answer.status(), answer.text()), (200, generated()));
        assert_eq!(answer.field("x-other"), Some("kept"));
        let seen = upstream.last();
        assert_eq!(seen.first, "POST /v1beta/models/gemini-real:generateContent HTTP/1.1");
        assert_eq!((seen.field("x-goog-api-key"), seen.field("authorization")), (Some(SECRET), None));
        assert_eq!((seen.field("x-goog-api-client"), seen.field("x-goog-fieldmask")), (Some("sdk"), None));
        // Vertex AI charges more for what it is told to serve first.
        assert_eq!(seen.fields.iter().filter(|(name, _)| name.contains("vertex")).count(), 0);
        assert_eq!(String::from_utf8(seen.body).unwrap(), body);
        check_usage(&world.outcome(R::Served).await, ("gem", "gemini-real"), false);
    }
    let fields = format!("x-goog-api-key: {}\r\n", key("k"));
    let answer = post(&world, "/v1/models/gem:streamGenerateContent?alt=sse", &fields, &body).await;
    assert_eq!((answer.status(), answer.complete, answer.text()), (200, true, events()));
    assert_eq!(upstream.last().first, "POST /v1beta/models/gemini-real:streamGenerateContent?alt=sse HTTP/1.1");
    check_usage(&world.outcome(R::Served).await, ("gem", "gemini-real"), true);
    let answer = ask(&world, "gem:streamGenerateContent", &body).await;
    assert_eq!(answer.field("content-type"), Some("application/json; charset=UTF-8"));
    assert_eq!((answer.status(), answer.complete), (200, true));
    assert_eq!(answer.text(), format!("[{}\n]", parts().join(",\r\n")));
    assert_eq!(upstream.last().first, "POST /v1beta/models/gemini-real:streamGenerateContent HTTP/1.1");
    check_usage(&world.outcome(R::Served).await, ("gem", "gemini-real"), true);

    // What names the model in the body is named anew, and a key may be injected into the query.
    let count = r#"{"generateContentRequest":{"model":"models/tuned","contents":[]}}"#;
    let answer = ask(&world, "tuned:countTokens", count).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, r#"{"totalTokens":14}"#));
    let seen = upstream.last();
    let encoded = SECRET.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    assert_eq!(seen.first, format!("POST /v1beta/tunedModels/mine:countTokens?key={encoded} HTTP/1.1"));
    assert_eq!(String::from_utf8(seen.body).unwrap(), count.replace("models/tuned", "tunedModels/mine"));
    let model = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((model.tokens, model.cost), (None, Some(Cost::Known(Default::default()))));
    ask(&world, "tuned:streamGenerateContent?alt=sse", &body).await;
    let target = format!("POST /v1beta/tunedModels/mine:streamGenerateContent?alt=sse&key={encoded} HTTP/1.1");
    assert_eq!(upstream.last().first, target);
    world.outcome(R::Served).await;

    // The provider's own errors pass, and cost nothing; a stream that is cut off is flagged.
    let busy = ask(&world, "gem:generateContent", &says("busy")).await;
    assert_eq!((busy.status(), busy.field("retry-after")), (429, Some("7")));
    assert!(busy.text().contains("Slow down"));
    let model = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((model.tokens, model.cost), (None, None));
    ask(&world, "gem:streamGenerateContent?alt=sse", &says("cut")).await;
    let model = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((model.tokens, is_estimated(&model)), (Some(BEGUN), true), "{model:?}");
    world.done().await;
}

#[tokio::test]
async fn refusals_and_the_list_in_googles_shape() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let check = async |answer: Message, status: u16, word: &str, outcome: R| {
        assert_eq!((answer.status(), answer.field("content-type")), (status, Some("application/json")));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&body["error"]["code"], &body["error"]["status"]), (&json!(status), &json!(word)));
        let info = &body["error"]["details"][0];
        assert_eq!(info["reason"], outcome.code());
        let record = world.outcome(outcome).await;
        assert_eq!(info["metadata"]["request_id"], record.request_id.to_string());
        assert_eq!(record.attempts, 0);
    };
    for model in ["nothing", "hidden"] {
        check(ask(&world, &format!("{model}:generateContent"), "{}").await, 404, "NOT_FOUND", R::ModelNotFound).await;
    }
    for (asked, body) in [
        ("gem:generateContent", "{"),
        ("gem:generateContent", r#"{"model":"hidden"}"#),
        ("gem:generateContent", r#"{"model":"models/hidden","contents":[]}"#),
        ("gem:predict", "{}"),
        ("gem", "{}"),
        ("gpt:countTokens", "{}"),
        ("gpt:generateContent", r#"{"contents":[],"cachedContent":"cachedContents/a"}"#),
    ] {
        check(ask(&world, asked, body).await, 400, "INVALID_ARGUMENT", R::InvalidModelCall).await;
    }
    // A key is for a header: addresses are written down in too many places.
    let path = format!("/v1beta/models/gem:generateContent?key={}", key("k"));
    check(post(&world, &path, "", "{}").await, 401, "UNAUTHENTICATED", R::Unauthenticated).await;
    assert_eq!(upstream.counts().requests, 0);

    let get = async |path: &str| {
        let answer =
            world.ask(format!("GET {path} HTTP/1.1\r\nhost: gw\r\nx-goog-api-key: {}\r\n\r\n", key("k"))).await;
        world.record().await;
        (answer.status(), serde_json::from_slice::<Value>(&answer.body).unwrap())
    };
    let (status, list) = get("/v1beta/models?pageSize=50").await;
    let names: Vec<&str> = list["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!((status, names), (200, vec!["models/gem", "models/tuned", "models/gpt", "models/claude"]));
    assert_eq!(get("/v1/models").await, (200, list), "the header tells");
    let (status, one) = get("/v1/models/gpt").await;
    assert_eq!((status, &one["name"]), (200, &json!("models/gpt")));
    let (status, one) = get("/v1beta/models/gpt").await;
    assert_eq!((status, &one["name"]), (200, &json!("models/gpt")));
    let (status, none) = get("/v1beta/models/hidden").await;
    assert_eq!((status, &none["error"]["status"]), (404, &json!("NOT_FOUND")));
    world.done().await;
}

#[tokio::test]
async fn callers_of_gemini_reach_providers_of_chat_completions() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let fields =
        format!("x-goog-api-key: {}\r\nx-goog-api-client: sdk\r\nif-none-match: \"x\"\r\nx-mine: kept\r\n", key("k"));
    let answer = post(&world, "/v1beta/models/gpt:generateContent", &fields, &says("x")).await;
    assert_eq!((answer.status(), answer.field("content-type")), (200, Some("application/json")));
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["candidates"][0]["content"]["parts"][0]["text"], "hi");
    assert_eq!(body["usageMetadata"]["thoughtsTokenCount"], 20);
    let seen = upstream.last();
    assert_eq!(seen.first, "POST /other/chat/completions HTTP/1.1");
    assert_eq!(
        (seen.field("x-goog-api-key"), seen.field("x-goog-api-client"), seen.field("if-none-match")),
        (None, None, None)
    );
    assert_eq!(seen.field("x-mine"), Some("kept"));
    assert_eq!(seen.field("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    let sent: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(sent, json!({"model": "gpt-real", "messages": [{"role": "user", "content": "x"}], "extra": 1.50}));
    check_usage(&world.outcome(R::Served).await, ("gpt", "gpt-real"), false);

    let text = |parts: &[Value]| -> String {
        parts.iter().map(|part| part["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap()).collect()
    };
    let answer = ask(&world, "gpt:streamGenerateContent?alt=sse", &says("x")).await;
    assert_eq!((answer.status(), answer.complete), (200, true));
    assert_eq!(answer.field("content-type"), Some("text/event-stream"));
    let events: Vec<Value> = answer
        .text()
        .split_terminator("\r\n\r\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    assert_eq!((text(&events).as_str(), &events[2]["candidates"][0]["finishReason"]), ("hello", &json!("STOP")));
    check_usage(&world.outcome(R::Served).await, ("gpt", "gpt-real"), true);
    let answer = ask(&world, "gpt:streamGenerateContent", &says("x")).await;
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&answer.body).unwrap(), events);
    check_usage(&world.outcome(R::Served).await, ("gpt", "gpt-real"), true);
    world.done().await;
}

#[tokio::test]
async fn callers_of_other_dialects_reach_providers_of_gemini() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let fields = format!("authorization: Bearer {}\r\nanthropic-beta: b\r\nopenai-beta: b\r\n", key("k"));
    let chat = async |text: &str, stream: bool| {
        let body = json!({"model": "gem", "stream": stream, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": text}]});
        post(&world, "/v1/chat/completions", &fields, &body.to_string()).await
    };
    let answer = chat("x", false).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status(), &body["choices"][0]["message"]["content"]), (200, &json!("hi")));
    assert_eq!(body["usage"]["total_tokens"], 1050);
    let seen = upstream.last();
    assert_eq!(seen.first, "POST /v1beta/models/gemini-real:generateContent HTTP/1.1");
    assert_eq!((seen.field("x-goog-api-key"), seen.field("authorization")), (Some(SECRET), None));
    assert_eq!(
        (seen.field("anthropic-beta"), seen.field("openai-beta"), seen.field("anthropic-version")),
        (None, None, None)
    );
    let sent: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(sent, json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}], "generationConfig": {}}));
    check_usage(&world.outcome(R::Served).await, ("gem", "gemini-real"), false);
    let answer = chat("x", true).await;
    assert_eq!(upstream.last().first, "POST /v1beta/models/gemini-real:streamGenerateContent?alt=sse HTTP/1.1");
    let text = answer.text();
    assert!(text.contains("\"total_tokens\":1050") && text.ends_with("data: [DONE]\n\n"), "{text}");
    check_usage(&world.outcome(R::Served).await, ("gem", "gemini-real"), true);
    let call = r#"{"model":"gem","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]}"#;
    let answer = post(&world, "/v1/messages", &fields, call).await;
    assert!(answer.text().ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{}", answer.text());
    check_usage(&world.outcome(R::Served).await, ("gem", "gemini-real"), true);

    let respond = async |stream: bool| {
        let body = json!({"model": "gem", "stream": stream, "input": "x", "max_output_tokens": 9});
        post(&world, "/v1/responses", &fields, &body.to_string()).await
    };
    let body: Value = serde_json::from_slice(&respond(false).await.body).unwrap();
    assert_eq!(
        (&body["output"][0]["content"][0]["text"], &body["status"], &body["max_output_tokens"]),
        (&json!("hi"), &json!("completed"), &json!(9))
    );
    let seen = upstream.last();
    assert_eq!(seen.first, "POST /v1beta/models/gemini-real:generateContent HTTP/1.1");
    let sent: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(sent["generationConfig"], json!({"maxOutputTokens": 9}));
    check_usage(&world.outcome(R::Served).await, ("gem", "gemini-real"), false);
    let answer = respond(true).await;
    assert_eq!((answer.status(), answer.complete), (200, true));
    assert!(answer.text().contains("event: response.completed"), "{}", answer.text());
    check_usage(&world.outcome(R::Served).await, ("gem", "gemini-real"), true);

    let busy = chat("busy", false).await;
    let body: Value = serde_json::from_slice(&busy.body).unwrap();
    assert_eq!((busy.status(), &body["error"]["type"]), (429, &json!("rate_limit_error")));
    world.outcome(R::Served).await;
    for (text, stream) in [("html", false), ("html", true)] {
        assert_eq!(chat(text, stream).await.status(), 502);
        world.outcome(R::UpstreamMalformed).await;
    }
    let cut = chat("cut", true).await.text();
    assert!(cut.contains("\"error\":") && !cut.contains("[DONE]"), "{cut}");
    let model = world.outcome(R::UpstreamTruncated).await.model.unwrap();
    assert_eq!((model.tokens, is_estimated(&model)), (Some(BEGUN), true), "{model:?}");
    let echo = chat("echo", false).await.text();
    assert!(echo.contains("your key is") && !echo.contains(SECRET), "{echo}");
    world.outcome(R::Served).await;
    world.done().await;
}
