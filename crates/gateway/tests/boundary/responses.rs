//! The model API in OpenAI's Responses: calls pass unharmed, are translated where a provider does not speak it, and
//! callers of the other dialects reach providers that speak nothing else.

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
  - {{ name: app, allow: {{ models: [gpt, only, other, chat, both, two] }} }}
keys:
  - {{ name: k, application: app }}
credentials:
  - {{ name: c, engine: static }}
upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1\"], provider: openai, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: second, endpoints: [\"{0}/second\"], provider: openai }}
  - {{ name: only, endpoints: [\"{0}/only\"], provider: openai-responses }}
  - {{ name: chatty, endpoints: [\"{0}/chatty\"], provider: openai-chat }}
models:
  - {{ name: gpt, targets: [{{ provider: mine, model: gpt-real, credential: c, {prices} }}] }}
  - {{ name: only, targets: [{{ provider: only, model: gpt-real, credential: c, {prices} }}] }}
  - {{ name: other, targets: [{{ provider: only, model: gpt-other, credential: c }}] }}
  - {{ name: chat, targets: [{{ provider: chatty, model: gpt-real, credential: c, {prices} }}] }}
  - {{ name: both, targets: [{{ provider: mine, model: gpt-real, credential: c }}, {{ provider: chatty, model: gpt-real, credential: c, weight: 3 }}] }}
  - {{ name: two, targets: [{{ provider: mine, model: gpt-real, credential: c }}, {{ provider: second, model: gpt-real, credential: c }}] }}
",
        upstream.url()
    )
}

const RESPONSE: &str = r#"{"id":"resp_1", "object":"response","status":"completed","model":"gpt-real","output":[{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"hello"}]}],"usage":{"input_tokens":1000,"input_tokens_details":{"cached_tokens":400},"output_tokens":50}}"#;

const COMPLETION: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-real","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":400}}}"#;

/// Up to the end, and the end.
fn events() -> (String, String) {
    let event = |kind: &str, rest: &str| {
        format!("event: response.{kind}\ndata: {{\"type\":\"response.{kind}\",\"sequence_number\":0,{rest}}}\n\n")
    };
    let begun =
        event("created", r#""response":{"id":"resp_1","model":"gpt-real","status":"in_progress","usage":null}"#)
            + &event("output_text.delta", r#""item_id":"msg_1","output_index":0,"content_index":0,"delta":"he""#)
            + &event("output_text.delta", r#""item_id":"msg_1","output_index":0,"content_index":0,"delta":"llo""#);
    (begun, event("completed", &format!("\"response\":{RESPONSE}")))
}

fn chunks() -> String {
    let chunk = |rest: &str| format!("data: {{\"id\":\"chatcmpl-1\",\"model\":\"gpt-real\",{rest}}}\n\n");
    chunk(r#""choices":[{"index":0,"delta":{"role":"assistant","content":"he"},"finish_reason":null}]"#)
        + &chunk(r#""choices":[{"index":0,"delta":{"content":"llo"},"finish_reason":"stop"}]"#)
        + &chunk(
            r#""choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":400}}"#,
        )
        + "data: [DONE]\n\n"
}

/// A provider that speaks Chat Completions at `/chatty` and Responses elsewhere, and answers as the call says.
async fn provider() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            let said = String::from_utf8(request.body.clone()).unwrap();
            let chatty = request.target().ends_with("/chat/completions");
            if said.contains("busy") {
                let body =
                    r#"{"error":{"message":"Slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
                peer.send(answer(429, "content-type: application/json\r\nretry-after: 7\r\n", body)).await;
            } else if call["stream"] == true {
                peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
                    .await;
                let (begun, end) = events();
                let all = match (chatty, said.contains("cut")) {
                    (true, _) => chunks(),
                    (false, false) => begun + &end,
                    (false, true) => begun,
                };
                for piece in all.as_bytes().chunks(37) {
                    peer.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
                }
                peer.send("0\r\n\r\n").await;
            } else {
                let mut body = if chatty { COMPLETION.to_owned() } else { RESPONSE.to_owned() };
                if said.contains("reasoning.encrypted_content") {
                    let item =
                        r#""output":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAAB"},"#;
                    body = body.replace(r#""output":["#, item);
                }
                peer.send(answer(200, "content-type: application/json\r\n", &body)).await;
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

async fn ask(world: &World, method: &str, path: &str, body: &str) -> Message {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
    world.ask(format!("{head}authorization: Bearer {}\r\n\r\n{body}", key("k"))).await
}

async fn respond(world: &World, body: &Value) -> Message {
    ask(world, "POST", "/v1/responses", &body.to_string()).await
}

fn check_usage(record: &UsageRecord, streamed: bool) {
    let model = record.model.as_ref().unwrap();
    assert_eq!((&*model.provider_model, model.streamed), ("gpt-real", streamed));
    assert_eq!(model.tokens, Some(TokenUsage { input: 1000, cached_input: 400, output: 50, ..TokenUsage::default() }));
    // 600 × 4 + 400 × 0.4 + 50 × 20, per million.
    let Some(Cost::Known(cost)) = model.cost else { panic!("{:?}", model.cost) };
    assert_eq!(cost.to_string(), "0.00356");
}

#[tokio::test]
async fn calls_and_answers_pass_unchanged() {
    let upstream = provider().await;
    let world = setup(&upstream);
    for model in ["gpt", "only"] {
        let body = format!(
            r#"{{ "model" : "{model}", "input":"x","tools":[{{"type":"web_search"}}],"previous_response_id":"resp_0","extra":1.50}}"#
        );
        let answer = ask(&world, "POST", "/v1/responses", &body).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, RESPONSE));
        let seen = upstream.last();
        let path = if model == "gpt" { "/v1" } else { "/only" };
        assert_eq!(seen.first, format!("POST {path}/responses HTTP/1.1"));
        assert_eq!(seen.field("authorization"), Some(format!("Bearer {SECRET}").as_str()));
        assert_eq!(String::from_utf8(seen.body).unwrap(), body.replace(&format!("\"{model}\""), "\"gpt-real\""));
        check_usage(&world.outcome(R::Served).await, false);
        let answer = respond(&world, &json!({"model": model, "input": "x", "stream": true})).await;
        let (begun, end) = events();
        assert_eq!((answer.status(), answer.complete, answer.text()), (200, true, begun + &end));
        // Nothing is asked for that the caller did not.
        let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
        assert_eq!(sent, json!({"model": "gpt-real", "input": "x", "stream": true}));
        check_usage(&world.outcome(R::Served).await, true);
    }
    // The provider's own errors pass, and cost nothing. A stream without its end is of unknown cost.
    let busy = respond(&world, &json!({"model": "gpt", "input": "busy"})).await;
    assert_eq!((busy.status(), busy.field("retry-after")), (429, Some("7")));
    let model = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((model.tokens, model.cost), (None, None));
    let cut = respond(&world, &json!({"model": "gpt", "input": "cut", "stream": true})).await;
    assert_eq!(cut.status(), 200);
    let model = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((model.tokens, is_estimated(&model)), (None, true), "{model:?}");
    world.done().await;
}

#[tokio::test]
async fn callers_of_responses_reach_a_provider_of_chat_completions() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let call = json!({"model": "chat", "instructions": "Be brief.", "input": "x", "metadata": {"a": "b"}});
    let answer = respond(&world, &call).await;
    let got: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status(), &got["object"], &got["status"]), (200, &json!("response"), &json!("completed")));
    assert_eq!((&got["output"][0]["content"][0]["text"], &got["metadata"]["a"]), (&json!("hello"), &json!("b")));
    let seen = upstream.last();
    assert_eq!(seen.first, "POST /chatty/chat/completions HTTP/1.1");
    let sent: Value = serde_json::from_slice(&seen.body).unwrap();
    let said = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}]);
    assert_eq!(sent, json!({"model": "gpt-real", "messages": said}));
    check_usage(&world.outcome(R::Served).await, false);

    let answer = respond(&world, &json!({"model": "chat", "input": "x", "stream": true})).await;
    assert_eq!((answer.status(), answer.field("content-type")), (200, Some("text/event-stream")));
    assert!(answer.text().starts_with("event: response.created\n") && answer.text().contains("\"delta\":\"llo\""));
    assert!(answer.text().contains("event: response.completed\n") && !answer.text().contains("[DONE]"));
    check_usage(&world.outcome(R::Served).await, true);

    let busy = respond(&world, &json!({"model": "chat", "input": "busy"})).await;
    let told: Value = serde_json::from_slice(&busy.body).unwrap();
    assert_eq!((busy.status(), &told["error"]["message"]), (429, &json!("Slow down")));
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn callers_of_the_other_dialects_reach_a_provider_of_responses() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let said = json!([{"role": "user", "content": "x"}]);
    let sent = || serde_json::from_slice::<Value>(&upstream.last().body).unwrap();
    let input = json!([{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]);

    let chat = json!({"model": "only", "messages": said}).to_string();
    let answer = ask(&world, "POST", "/v1/chat/completions", &chat).await;
    let got: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status(), &got["choices"][0]["message"]["content"]), (200, &json!("hello")));
    assert_eq!(upstream.last().first, "POST /only/responses HTTP/1.1");
    assert_eq!(sent(), json!({"model": "gpt-real", "input": input, "store": false}));
    check_usage(&world.outcome(R::Served).await, false);

    let message = json!({"model": "only", "max_tokens": 9, "stream": true, "messages": said}).to_string();
    let answer = ask(&world, "POST", "/v1/messages", &message).await;
    assert_eq!((answer.status(), answer.complete), (200, true));
    assert!(answer.text().contains("\"text\":\"llo\"") && answer.text().ends_with("\"type\":\"message_stop\"}\n\n"));
    assert_eq!(sent()["max_output_tokens"], 9);
    check_usage(&world.outcome(R::Served).await, true);

    let contents = json!({"contents": [{"parts": [{"text": "x"}]}]}).to_string();
    let answer = ask(&world, "POST", "/v1beta/models/only:generateContent", &contents).await;
    let got: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (answer.status(), &got["candidates"][0]["content"]["parts"]),
        (200, &json!([{"text": "hello"}])),
        "{got}"
    );
    assert_eq!(upstream.last().first, "POST /only/responses HTTP/1.1");
    assert_eq!(sent(), json!({"model": "gpt-real", "input": input, "store": false}));
    check_usage(&world.outcome(R::Served).await, false);
    let answer = ask(&world, "POST", "/v1beta/models/only:streamGenerateContent", &contents).await;
    assert_eq!((answer.status(), answer.complete, answer.field("content-type")), (200, true, Some("application/json")));
    let parts: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(parts.last().unwrap()["candidates"][0]["finishReason"], "STOP");
    check_usage(&world.outcome(R::Served).await, true);

    let cut = json!({"model": "only", "stream": true, "messages": [{"role": "user", "content": "cut"}]}).to_string();
    let answer = ask(&world, "POST", "/v1/chat/completions", &cut).await;
    assert!(answer.text().contains("\"error\"") && !answer.text().contains("[DONE]"));
    world.outcome(R::UpstreamTruncated).await;
    world.done().await;
}

#[tokio::test]
async fn what_is_kept_is_asked_of_the_one_who_keeps_it() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let refused = async |answer: Message, says: &str| {
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status(), &body["error"]["code"]), (400, &json!("invalid_model_call")), "{says}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(says) && !message.contains("resp_0"), "{message}");
        world.outcome(R::InvalidModelCall).await;
    };
    let goes_on = |model: &str| json!({"model": model, "input": "x", "previous_response_id": "resp_0"});
    refused(respond(&world, &goes_on("two")).await, "this model has several").await;
    refused(respond(&world, &goes_on("chat")).await, "no counterpart").await;
    let background = json!({"model": "gpt", "input": "x", "background": true});
    refused(respond(&world, &background).await, "`background`").await;
    for (method, path) in [
        ("GET", "/v1/responses/resp_0"),
        ("DELETE", "/v1/responses/resp_0"),
        ("POST", "/v1/responses/resp_0/cancel"),
        ("GET", "/v1/responses/resp_0/input_items"),
    ] {
        refused(ask(&world, method, path, "").await, "not kept here").await;
    }
    assert_eq!(upstream.counts().requests, 0);
    // Whoever's turn it is, the one provider that speaks Responses takes what only it can.
    for _ in 0..4 {
        let answer = respond(&world, &goes_on("both")).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, RESPONSE));
        assert_eq!(upstream.last().first, "POST /v1/responses HTTP/1.1");
        world.outcome(R::Served).await;
    }
    // And both take what both can.
    let mut paths = Vec::new();
    for _ in 0..4 {
        assert_eq!(respond(&world, &json!({"model": "both", "input": "x"})).await.status(), 200);
        paths.push(upstream.last().first);
        world.outcome(R::Served).await;
    }
    paths.sort();
    assert_eq!(paths.iter().filter(|path| path.contains("/chatty/")).count(), 3, "{paths:?}");
    world.done().await;
}

#[tokio::test]
async fn what_a_target_encrypted_goes_back_to_it_and_to_no_other() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let asks = json!({"role": "user", "content": "hi"});
    let call = |model: &str, messages: Value| {
        json!({"model": model, "messages": messages, "reasoning_effort": "low"}).to_string()
    };
    let answer = ask(&world, "POST", "/v1/chat/completions", &call("only", json!([asks]))).await;
    let answer: Value = serde_json::from_str(&answer.text()).unwrap();
    let message = &answer["choices"][0]["message"];
    let signature = message["thinking_blocks"][0]["signature"].as_str().unwrap();
    assert!(signature.starts_with("openai-encrypted:") && signature.ends_with(":gAAAAB"), "{signature}");
    for (model, goes_back) in [("only", true), ("other", false)] {
        let next = call(model, json!([asks, message, asks]));
        assert_eq!(ask(&world, "POST", "/v1/chat/completions", &next).await.status(), 200);
        let seen = String::from_utf8(upstream.last().body).unwrap();
        assert_eq!(seen.contains(r#""encrypted_content":"gAAAAB""#), goes_back, "{model}: {seen}");
        assert!(!seen.contains("openai-encrypted"), "{seen}");
    }
}
