#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

fn request<'a>(
    method: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, &'a [u8])],
    body: &'a [u8],
) -> SandboxRequest<'a> {
    SandboxRequest { method, path, query: "", headers, body, now: NOW, expects: None }
}

fn json_of(answer: &SandboxAnswer) -> Value {
    serde_json::from_slice(&answer.body()).unwrap()
}

fn get(path: &str) -> SandboxAnswer {
    answer(&request("GET", path, &[], b""))
}

const CHAT: &str = r#"{"model":"sandbox-chat","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"How are you?"}]}]"#;

fn chat(rest: &str, headers: &[(&str, &[u8])]) -> SandboxAnswer {
    answer(&request("POST", "/v1/chat/completions", headers, format!("{CHAT}{rest}}}").as_bytes()))
}

#[test]
fn plain_answer() {
    insta::assert_snapshot!(String::from_utf8(chat("", &[]).body()).unwrap());
}

#[test]
fn streamed_answer() {
    let answer = chat(r#","stream":true,"stream_options":{"include_usage":true}"#, &[("x-sandbox-chunks", b"2")]);
    assert!(answer.streamed);
    assert_eq!(answer.headers[0], ("content-type", "text/event-stream".into()));
    insta::assert_snapshot!(String::from_utf8(answer.body()).unwrap());
}

#[test]
fn streamed_and_plain_say_and_count_the_same() {
    let plain = json_of(&chat("", &[]));
    for chunks in [b"1".as_slice(), b"7", b"18"] {
        let streamed =
            chat(r#","stream":true,"stream_options":{"include_usage":true}"#, &[("x-sandbox-chunks", chunks)]);
        let (mut text, mut usage) = (String::new(), crate::StreamUsage::new(false));
        let mut reader = crate::sse::SseReader::default();
        reader.feed(&streamed.body(), |piece| {
            let crate::sse::SsePiece::Event(event) = piece else { panic!() };
            if let Ok(chunk) = serde_json::from_slice::<Value>(&event.data().unwrap()) {
                assert_eq!(chunk["id"], plain["id"]);
                text += chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
            }
        });
        usage.inspect(&streamed.body());
        assert_eq!(plain["choices"][0]["message"]["content"], text);
        assert_eq!(usage.usage().unwrap().output, plain["usage"]["completion_tokens"]);
        assert_eq!(usage.usage().unwrap().input, plain["usage"]["prompt_tokens"]);
    }
    // Two messages, five words.
    assert_eq!(plain["usage"]["prompt_tokens"], 5 + 2 * chat::MESSAGE_TOKENS);
}

#[test]
fn messages_say_and_count_the_same_as_chats() {
    let post = |path: &str, rest: &str, headers: &[(&str, &[u8])]| {
        let body = format!(
            r#"{{"model":"sandbox-chat","system":"Be brief.","messages":[{{"role":"user","content":[{{"type":"text","text":"How are you?"}}]}}]{rest}}}"#
        );
        answer(&request("POST", path, headers, body.as_bytes()))
    };
    let (same, plain) = (json_of(&chat("", &[])), json_of(&post("/v1/messages", r#","max_tokens":999"#, &[])));
    assert_eq!(plain["content"][0]["text"], same["choices"][0]["message"]["content"]);
    assert_eq!((&plain["stop_reason"], &plain["type"]), (&json!("end_turn"), &json!("message")));
    let tokens = |usage: &Value| (usage["input_tokens"].clone(), usage["output_tokens"].clone());
    let same_usage = (same["usage"]["prompt_tokens"].clone(), same["usage"]["completion_tokens"].clone());
    assert_eq!(tokens(&plain["usage"]), same_usage);
    assert_eq!(json_of(&post("/v1/messages/count_tokens", "", &[]))["input_tokens"], same_usage.0);
    for chunks in [b"1".as_slice(), b"7", b"18"] {
        let streamed = post("/v1/messages", r#","max_tokens":999,"stream":true"#, &[("x-sandbox-chunks", chunks)]);
        let (mut text, mut kinds, mut usage) = (String::new(), Vec::new(), crate::anthropic::usage::StreamUsage::new());
        let mut reader = crate::sse::SseReader::default();
        reader.feed(&streamed.body(), |piece| {
            let crate::sse::SsePiece::Event(event) = piece else { panic!() };
            let data: Value = serde_json::from_slice(&event.data().unwrap()).unwrap();
            assert_eq!(data["type"].as_str().unwrap().as_bytes(), event.event_type().unwrap());
            text += data["delta"]["text"].as_str().unwrap_or_default();
            kinds.push(data["type"].as_str().unwrap().to_owned());
        });
        usage.inspect(&streamed.body());
        assert_eq!(plain["content"][0]["text"], text);
        assert_eq!((kinds[0].as_str(), kinds.last().unwrap().as_str()), ("message_start", "message_stop"));
        let usage = usage.usage().unwrap();
        assert_eq!((json!(usage.input), json!(usage.output)), same_usage);
    }
    let cut = json_of(&post("/v1/messages", r#","max_tokens":4"#, &[]));
    assert_eq!((&cut["stop_reason"], &cut["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(4)));
    for (got, status, kind) in [
        (post("/v1/messages", "", &[]), 400, "invalid_request_error"),
        (post("/v1/messages", "]", &[]), 400, "invalid_request_error"),
        (post("/v1/messages/batches", "", &[]), 404, "not_found_error"),
        (get("/v1/messages"), 405, "invalid_request_error"),
        (post("/v1/messages", "", &[("x-sandbox-status", b"529")]), 529, "overloaded_error"),
    ] {
        let body = json_of(&got);
        assert_eq!((got.status, &body["type"], &body["error"]["type"]), (status, &json!("error"), &json!(kind)));
    }
    let expected = |value: &[u8]| value == b"right";
    let wrong = answer(&SandboxRequest { expects: Some(&expected), ..request("POST", "/v1/messages", &[], b"") });
    assert_eq!(wrong.status, 401);
}

#[test]
fn gemini_says_and_counts_the_same_as_chats() {
    let body = |more: &str| {
        format!(
            r#"{{"systemInstruction":{{"parts":[{{"text":"Be brief."}}]}},"contents":[{{"role":"user","parts":[{{"text":"Hello"}},{{"text":"there"}}]}}]{more}}}"#
        )
    };
    let same =
        r#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello there"}]}"#;
    let same = json_of(&answer(&request("POST", "/v1/chat/completions", &[], same.as_bytes())));
    let post = |path: &str, more: &str, headers: &[(&str, &[u8])]| {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        answer(&SandboxRequest { query, ..request("POST", path, headers, body(more).as_bytes()) })
    };
    for base in ["/v1/models/m", "/v1beta/models/m"] {
        let plain = json_of(&post(&format!("{base}:generateContent"), "", &[]));
        let text = &plain["candidates"][0]["content"]["parts"][0]["text"];
        assert_eq!(text, &same["choices"][0]["message"]["content"]);
        assert_eq!((&plain["candidates"][0]["finishReason"], &plain["modelVersion"]), (&json!("STOP"), &json!("m")));
        let told = (&plain["usageMetadata"]["promptTokenCount"], &plain["usageMetadata"]["candidatesTokenCount"]);
        assert_eq!(told, (&same["usage"]["prompt_tokens"], &same["usage"]["completion_tokens"]));
        let count = format!("{base}:countTokens");
        assert_eq!(&json_of(&post(&count, "", &[]))["totalTokens"], told.0);
        let whole = format!(r#"{{"generateContentRequest":{}}}"#, body(r#","model":"models/m""#));
        let whole = json_of(&answer(&request("POST", &count, &[], whole.as_bytes())));
        assert_eq!(&whole["totalTokens"], told.0);
        for chunks in [b"1".as_slice(), b"7", b"40"] {
            let headers = [("x-sandbox-chunks", chunks)];
            let array = post(&format!("{base}:streamGenerateContent"), "", &headers).body();
            let parts: Vec<Value> = serde_json::from_slice(&array).unwrap();
            let events = post(&format!("{base}:streamGenerateContent?alt=sse"), "", &headers).body();
            let events = String::from_utf8(events).unwrap();
            let of_events: Vec<Value> =
                events.split_terminator("\r\n\r\n").map(|event| serde_json::from_str(&event[6..]).unwrap()).collect();
            assert_eq!(parts, of_events);
            let said: String = parts
                .iter()
                .map(|part| part["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap())
                .collect();
            assert!(said.starts_with(text.as_str().unwrap()), "{said}");
            let mut usage = crate::gemini::usage::StreamUsage::new();
            usage.inspect(events.as_bytes());
            let usage = usage.usage().unwrap();
            assert_eq!((&json!(usage.input), said.split_whitespace().count() as u64), (told.0, usage.output));
        }
    }
    let limit = r#","generationConfig":{"maxOutputTokens":4}"#;
    let cut = json_of(&post("/v1/models/m:generateContent", limit, &[]));
    assert_eq!(cut["candidates"][0]["finishReason"], "MAX_TOKENS");
    assert_eq!(cut["usageMetadata"]["candidatesTokenCount"], 4);
    let path = "/v1/models/m:generateContent";
    for (got, status, word) in [
        (post(path, "]", &[]), 400, "INVALID_ARGUMENT"),
        (get(path), 405, "INVALID_ARGUMENT"),
        (post(path, "", &[("x-sandbox-status", b"503")]), 503, "UNAVAILABLE"),
    ] {
        let body = json_of(&got);
        assert_eq!(
            (got.status, &body["error"]["code"], &body["error"]["status"]),
            (status, &json!(status), &json!(word))
        );
    }
    let expected = |value: &[u8]| value == b"right";
    let ask = |value: &'static [u8]| {
        let headers: &[(&str, &[u8])] = &[("x-goog-api-key", value)];
        answer(&SandboxRequest { expects: Some(&expected), ..request("POST", path, headers, body("").as_bytes()) })
            .status
    };
    assert_eq!((ask(b"wrong"), ask(b"right")), (401, 200));
}

#[test]
fn responses_say_and_count_the_same_as_chats() {
    let at = |path: &str, rest: &str, headers: &[(&str, &[u8])]| {
        let body = format!(
            r#"{{"model":"sandbox-chat","instructions":"Be brief.","input":[{{"role":"user","content":[{{"type":"input_text","text":"How are you?"}}]}}]{rest}}}"#
        );
        answer(&request("POST", path, headers, body.as_bytes()))
    };
    let post = |rest: &str, headers: &[(&str, &[u8])]| at("/v1/responses", rest, headers);
    let (same, plain) = (json_of(&chat("", &[])), json_of(&post(r#","metadata":{"a":"b"}"#, &[])));
    let text = &same["choices"][0]["message"]["content"];
    assert_eq!((&plain["object"], &plain["status"]), (&json!("response"), &json!("completed")));
    assert_eq!((&plain["output"][0]["content"][0]["text"], &plain["metadata"]), (text, &json!({"a": "b"})));
    assert_eq!(plain["usage"]["input_tokens"], same["usage"]["prompt_tokens"]);
    let count = json_of(&at("/v1/responses/input_tokens", "", &[]));
    assert_eq!(count, json!({"object": "response.input_tokens", "input_tokens": same["usage"]["prompt_tokens"]}));
    assert_eq!(plain["usage"]["output_tokens"], same["usage"]["completion_tokens"]);
    for chunks in [b"1".as_slice(), b"7"] {
        let streamed = post(r#","metadata":{"a":"b"},"stream":true"#, &[("x-sandbox-chunks", chunks)]);
        let mut usage = crate::openai::responses::usage::StreamUsage::new();
        let (mut said, mut last) = (String::new(), Value::Null);
        for (i, piece) in streamed.pieces.iter().enumerate() {
            usage.inspect(&piece.bytes);
            let event = String::from_utf8(piece.bytes.to_vec()).unwrap();
            let (kind, data) = event.split_once('\n').unwrap();
            last = serde_json::from_str(data.trim().strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!((last["type"].as_str(), &last["sequence_number"]), (kind.strip_prefix("event: "), &json!(i)));
            said += last["delta"].as_str().unwrap_or_default();
        }
        usage.finish();
        assert_eq!((json!(said), &last["response"]), (text.clone(), &plain));
        assert_eq!(usage.usage().map(|usage| json!(usage.output)), Some(plain["usage"]["output_tokens"].clone()));
    }
    let cut = json_of(&post(r#","max_output_tokens":4"#, &[]));
    assert_eq!((&cut["status"], &cut["usage"]["output_tokens"]), (&json!("incomplete"), &json!(4)));
    assert_eq!(cut["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(post(r#","previous_response_id":"resp_1""#, &[]).status, 400);
    assert_eq!((post("]", &[]).status, get("/v1/responses").status), (400, 405));
}

#[test]
fn usage_is_streamed_only_when_asked_for() {
    let body = String::from_utf8(chat(r#","stream":true"#, &[]).body()).unwrap();
    assert!(!body.contains("usage") && body.ends_with("data: [DONE]\n\n"));
}

#[test]
fn limits_and_chunks() {
    let cut = json_of(&chat(r#","max_tokens":4"#, &[]));
    assert_eq!(cut["choices"][0]["finish_reason"], "length");
    assert_eq!(cut["choices"][0]["message"]["content"], "The sandbox read: How");
    let answer = chat(
        r#","stream":true"#,
        &[("X-Sandbox-Chunks", b"64"), ("x-sandbox-chunk-delay", b"2ms"), ("x-sandbox-latency", b"50ms")],
    );
    assert_eq!(answer.pieces.len(), 1 + 64 + 1 + 1, "role, texts, finish, end");
    assert_eq!(answer.pieces[0].delay, Duration::from_millis(50));
    assert!(answer.pieces[1..].iter().all(|p| p.delay == Duration::from_millis(2)));
    let plain = chat("", &[("x-sandbox-chunks", b"5")]);
    assert_eq!((plain.pieces.len(), plain.body()), (5, chat("", &[]).body()));
}

#[test]
fn wishes_are_bounded() {
    for (name, value) in [
        ("x-sandbox-latency", "31s"),
        ("x-sandbox-latency", "soon"),
        ("x-sandbox-status", "199"),
        ("x-sandbox-status", "600"),
        ("x-sandbox-chunks", "0"),
        ("x-sandbox-chunks", "1025"),
        ("x-sandbox-chunk-delay", "6s"),
    ] {
        let got = answer(&request("GET", "/items", &[(name, value.as_bytes())], b""));
        assert_eq!(
            (got.status, &json_of(&got)["error"]["code"]),
            (400, &json!("invalid_sandbox_header")),
            "{name}: {value}"
        );
    }
    assert_eq!(answer(&request("GET", "/items", &[("x-sandbox-status", b"503")], b"")).status, 503);
    assert_eq!(answer(&request("GET", "/items", &[("x-sandbox-latency", b"0ms")], b"")).status, 200);
}

#[test]
fn rest_service() {
    for (path, status) in [
        ("/items", 200),
        ("/items/2", 200),
        ("/items/9", 404),
        ("/status/418", 418),
        ("/status/204", 204),
        ("/status/100", 404),
        ("/status/x", 404),
        ("/delay/30000", 200),
        ("/delay/30001", 404),
        ("/bytes/0", 200),
        ("/bytes/16777217", 404),
        ("/stream/1001", 404),
        ("/", 404),
        ("/v1/models", 200),
        ("/v1/models/sandbox-chat", 200),
        ("/v1/models/nope", 404),
        ("/v1/chat/completions", 405),
        ("/v1/other", 404),
    ] {
        assert_eq!(get(path).status, status, "{path}");
    }
    assert_eq!(get("/delay/120").pieces[0].delay, Duration::from_millis(120));
    assert_eq!((get("/bytes/70").body_len(), &get("/bytes/70").body()[..4]), (70, b"abcd".as_slice()));
    assert_eq!(get("/stream/3").body(), b"{\"line\":0}\n{\"line\":1}\n{\"line\":2}\n");
    assert_eq!(json_of(&get("/items/2")), json!({"id": "2", "name": "lamp", "price_cents": 2450}));
}

#[test]
fn a_wrong_or_missing_credential_is_refused() {
    let expected = |value: &[u8]| value == b"right";
    let status = |path: &str, headers: &[(&str, &[u8])], query: &str| {
        let method = if path.ends_with("completions") { "POST" } else { "GET" };
        let body = format!("{CHAT}}}");
        answer(&SandboxRequest { query, expects: Some(&expected), ..request(method, path, headers, body.as_bytes()) })
            .status
    };
    for path in ["/items", "/v1/models", "/v1/chat/completions"] {
        assert_eq!(status(path, &[], ""), 401);
        assert_eq!(status(path, &[("authorization", b"Bearer wrong")], ""), 401);
        assert_eq!(status(path, &[("Authorization", b"bearer right")], ""), 200);
        assert_eq!(status(path, &[("authorization", b"Basic dXNlcjpyaWdodA==")], ""), 200);
        assert_eq!(status(path, &[("authorization", b"Basic ???")], ""), 401);
        assert_eq!(status(path, &[("X-Api-Key", b"right")], ""), 200);
        assert_eq!(status(path, &[], "a=b&key=r%69ght"), 200);
    }
    assert_eq!(status("/anything", &[], ""), 200);
}

#[test]
fn anything_shows_the_request_but_never_the_credential() {
    let expected = |value: &[u8]| value == b"s3cret";
    let headers: &[(&str, &[u8])] =
        &[("Authorization", b"Bearer s3cret"), ("x-own", b"s3cret"), ("accept", b"a"), ("Accept", b"b")];
    let got = answer(&SandboxRequest {
        query: "q=1&key=s3cret",
        expects: Some(&expected),
        ..request("PUT", "/anything/x", headers, b"{\"a\":1}")
    });
    assert!(!String::from_utf8(got.body()).unwrap().contains("s3cret"));
    insta::assert_snapshot!(String::from_utf8(got.body()).unwrap());
    let echoed = answer(&request("GET", "/echo-secret", headers, b""));
    assert_eq!(json_of(&echoed), json!({"received": "s3cret"}));
}

proptest! {
    #[test]
    fn never_panics_and_is_deterministic(
        method in prop::sample::select(vec!["GET", "POST", "X"]),
        path in "/(v1/(chat/completions|models|messages|responses)?|items|anything|stream|bytes)?(/[0-9a-z%]{0,5})?",
        query in "(key=)?[%a-f0-9&=é]{0,8}",
        body in prop_oneof![".{0,20}", Just(format!("{CHAT},\"max_tokens\":0,\"stream\":true}}")), Just(format!("{CHAT},\"max_tokens\":0}}"))],
        authorization in "(Basic |Bearer )?.{0,8}",
        chunks in "[0-9]{1,4}",
    ) {
        let headers: &[(&str, &[u8])] = &[("authorization", authorization.as_bytes()), ("x-sandbox-chunks", chunks.as_bytes())];
        let request = SandboxRequest { query: &query, ..request(method, &path, headers, body.as_bytes()) };
        prop_assert_eq!(answer(&request), answer(&request));
    }
}
