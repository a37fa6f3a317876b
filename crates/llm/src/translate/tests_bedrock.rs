#![allow(clippy::unwrap_used)]

use super::*;
use crate::{bedrock::frames::tests::message, unframed::Unframed};
use proptest::prelude::*;
use serde_json::{Value, json};

const AT: Timestamp = Timestamp::from_secs(1_790_000_000);
const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const NOVA: &str = "eu.amazon.nova-2-lite-v1:0";
const LLAMA: &str = "meta.llama3-2-1b-instruct-v1:0";

fn to(model: &str) -> To<'_> {
    To::new(Dialect::Bedrock, model)
}

fn both(from: Dialect, call: &Value, model: &str) -> Result<(Value, Translation), String> {
    let body = call.to_string();
    let made = match from {
        Dialect::Gemini => {
            gemini_request(body.as_bytes(), call["stream"].as_bool().map(|_| Frames::Events), &to(model), AT)
        }
        _ => request(body.as_bytes(), from, &to(model), AT),
    };
    made.map(|(body, answer)| (serde_json::from_slice(&body).unwrap(), answer)).map_err(|e| e.to_string())
}

/// What a call is as a Converse request.
fn said(from: Dialect, call: &Value, model: &str) -> Result<Value, String> {
    both(from, call, model).map(|(said, _)| said)
}

fn chat(more: Value) -> Value {
    with(json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}), more)
}

fn with(mut call: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        call[name] = value.clone();
    }
    call
}

fn tool() -> Value {
    json!({"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}})
}

#[test]
fn a_chat_completion_of_every_kind() {
    let call = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,aGk="}},
                {"type": "file", "file": {"filename": "Q3 report (final).pdf", "file_data": "data:application/pdf;base64,JVBE"}},
                {"type": "file", "file": {"filename": "Q3_report_(final).pdf", "file_data": "data:application/pdf;base64,JVBE"}}]},
            {"role": "assistant", "content": "I look.", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"b\":1,\"a\":[2]}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "one"},
            {"role": "user", "content": "Now?"}],
        "max_tokens": 77, "temperature": 1.5, "top_p": 0.9, "stop": ["a", "b"], "seed": 7, "presence_penalty": 0.1,
        "tools": [tool(), {"type": "function", "function": {"name": "none"}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "city", "strict": true, "schema": {"type": "object"}}},
        "user": "u-1", "metadata": {"a": "b"}, "store": false,
        "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
        "additionalModelRequestFields": {"a": [1, 2]}, "brand_new": {"kept": true}, "stream": true,
    });
    assert_eq!(
        said(Dialect::OpenAi, &call, LLAMA).unwrap(),
        json!({
            "system": [{"text": "Be brief."}],
            "messages": [
                {"role": "user", "content": [
                    {"text": "What is it?"},
                    {"image": {"format": "jpeg", "source": {"bytes": "aGk="}}},
                    {"document": {"format": "pdf", "name": "Q3 report (final) pdf", "source": {"bytes": "JVBE"}}},
                    {"document": {"format": "pdf", "name": "Q3 report (final) pdf 2", "source": {"bytes": "JVBE"}}}]},
                {"role": "assistant", "content": [
                    {"text": "I look."},
                    {"toolUse": {"toolUseId": "c1", "name": "look", "input": {"b": 1, "a": [2]}}}]},
                {"role": "user", "content": [
                    {"toolResult": {"toolUseId": "c1", "content": [{"text": "one"}]}},
                    {"text": "Now?"}]}],
            "inferenceConfig": {"maxTokens": 77, "temperature": 1, "topP": 0.9, "stopSequences": ["a", "b"]},
            "toolConfig": {
                "tools": [
                    {"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}},
                    {"toolSpec": {"name": "none", "inputSchema": {"json": {"type": "object", "properties": {}}}}}],
                "toolChoice": {"tool": {"name": "look"}}},
            "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{\"type\":\"object\",\"additionalProperties\":false}", "name": "city"}}}},
            "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
            "additionalModelRequestFields": {"a": [1, 2], "brand_new": {"kept": true}},
        })
    );
    assert_eq!(
        said(Dialect::OpenAi, &chat(json!({})), LLAMA).unwrap(),
        json!({"messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {}})
    );
}

#[test]
fn messages_keep_their_marks_where_the_model_knows_them() {
    let mark = json!({"type": "ephemeral"});
    let hour = json!({"type": "ephemeral", "ttl": "1h"});
    let call = json!({
        "model": "m", "max_tokens": 100, "temperature": 0.3, "top_p": 0.9, "top_k": 5,
        "system": [{"type": "text", "text": "Be", "cache_control": hour}, {"type": "text", "text": "brief."}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "See", "cache_control": mark},
                {"type": "document", "title": "", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": [
                {"type": "text", "text": "no"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}]}]}],
        "tools": [{"name": "look", "description": "Looks.", "strict": true, "input_schema": {"type": "object"}, "cache_control": mark}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
        "metadata": {"user_id": "u"},
    });
    let expect = |marked: bool, thinks: bool| {
        let point = |with: Value| if marked { vec![json!({"cachePoint": with})] } else { vec![] };
        let list = |parts: Vec<Vec<Value>>| Value::Array(parts.concat());
        json!({
            "system": list(vec![vec![json!({"text": "Be"})], point(json!({"type": "default", "ttl": "1h"})), vec![json!({"text": "brief."})]]),
            "messages": [
                {"role": "user", "content": list(vec![
                    vec![json!({"text": "See"})], point(json!({"type": "default"})),
                    vec![json!({"document": {"format": "pdf", "name": "document", "source": {"bytes": "JVBE"}}})]])},
                {"role": "assistant", "content": list(vec![
                    // Which models of Anthropic's alone take back.
                    if thinks { vec![json!({"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}})] } else { vec![] },
                    vec![json!({"toolUse": {"toolUseId": "t1", "name": "look", "input": {}}})]])},
                {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [
                    {"text": "no"}, {"image": {"format": "png", "source": {"bytes": "aGk="}}}], "status": "error"}}]}],
        })
    };
    let got = said(Dialect::Anthropic, &call, CLAUDE).unwrap();
    let spec = json!({"toolSpec": {"name": "look", "description": "Looks.", "inputSchema": {"json": {"type": "object", "additionalProperties": false}}, "strict": true}});
    let more = json!({
        "inferenceConfig": {"maxTokens": 100, "temperature": 0.3},
        "toolConfig": {"tools": [spec, {"cachePoint": {"type": "default"}}], "toolChoice": {"auto": {}}},
        "additionalModelRequestFields": {"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}, "top_k": 5},
    });
    assert_eq!(got, with(expect(true, true), more));
    let mut plain = call.clone();
    plain["tool_choice"] = json!({"type": "any"});
    let more = json!({
        "inferenceConfig": {"maxTokens": 100, "temperature": 0.3, "topP": 0.9},
        "toolConfig": {"tools": [spec], "toolChoice": {"any": {}}},
    });
    assert_eq!(said(Dialect::Anthropic, &plain, LLAMA).unwrap(), with(expect(false, false), more));
    let nova = said(Dialect::Anthropic, &plain, NOVA).unwrap();
    assert_eq!(nova["messages"], expect(true, false)["messages"]);
    assert_eq!(nova["toolConfig"]["tools"].as_array().unwrap().len(), 1, "no marks behind tools of Amazon's");
}

#[test]
fn thinking_is_asked_for_in_each_makers_way() {
    let high = || chat(json!({"reasoning_effort": "high", "temperature": 0.5, "top_p": 0.5}));
    let additional = |call: &Value, model: &str| {
        let got = said(Dialect::OpenAi, call, model).unwrap();
        (got["additionalModelRequestFields"].clone(), got["inferenceConfig"].clone())
    };
    assert_eq!(
        additional(&high(), CLAUDE),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 16384}}), json!({"maxTokens": 20480}))
    );
    let config = json!({"temperature": 0.5, "topP": 0.5});
    let amazon = json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}});
    assert_eq!(additional(&high(), NOVA), (amazon, config.clone()));
    assert_eq!(additional(&high(), "openai.gpt-oss-120b-1:0"), (json!({"reasoning_effort": "high"}), config.clone()));
    assert_eq!(additional(&high(), LLAMA), (Value::Null, config));
    let own = chat(json!({"reasoning_effort": "high", "thinking": {"type": "adaptive"}}));
    assert_eq!(additional(&own, CLAUDE), (json!({"thinking": {"type": "adaptive"}}), json!({})));
    let call = json!({"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}});
    assert_eq!(
        said(Dialect::Gemini, &call, CLAUDE).unwrap()["additionalModelRequestFields"],
        json!({"thinking": {"type": "enabled", "budget_tokens": 2048}})
    );
}

#[test]
fn what_has_no_counterpart_is_refused() {
    let image = |url: &str| json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]});
    let called = json!({"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "x"}]});
    for (more, model, why) in [
        (json!({"response_format": {"type": "json_object"}}), CLAUDE, "has no counterpart in the Converse API"),
        (image("https://example.com/a.png"), CLAUDE, "an image in the web"),
        (image("data:image/bmp;base64,aGk="), CLAUDE, "no PNG, JPEG, GIF or WebP"),
        (json!({"tools": [tool()], "parallel_tool_calls": false}), LLAMA, "no two tools"),
        (called.clone(), CLAUDE, "without `tools`"),
        (with(called.clone(), json!({"tools": [tool()], "tool_choice": "none"})), CLAUDE, "some were called before"),
        (json!({"inferenceConfig": {"maxTokens": 9}}), CLAUDE, "`inferenceConfig` is not what"),
        (json!({"additionalModelRequestFields": {"max_tokens": 100_000}}), CLAUDE, "`max_tokens` is not what"),
        (json!({"max_gen_len": 100_000}), LLAMA, "`max_gen_len` is not what"),
        (json!({"additionalModelRequestFields": {"a": 1}, "a": 2}), CLAUDE, "more than once"),
        (json!({"additionalModelRequestFields": [1]}), CLAUDE, "`additionalModelRequestFields` is not what"),
    ] {
        let problem = said(Dialect::OpenAi, &chat(more.clone()), model).unwrap_err();
        assert!(problem.contains(why), "{more}: {problem}");
    }
    let escaped = br#"{"model":"m","messages":[{"role":"user","content":"x"}],"additionalModelRequestFields":{"max\u005ftokens":1}}"#;
    assert!(request(escaped, Dialect::OpenAi, &to(CLAUDE), AT).is_err());
    let never = chat(json!({"tools": [tool()], "tool_choice": "none", "parallel_tool_calls": false}));
    assert_eq!(
        said(Dialect::OpenAi, &never, LLAMA).unwrap()["toolConfig"],
        Value::Null,
        "without tools none is called"
    );
    let foreign = request(b"{}", Dialect::Bedrock, &to(CLAUDE), AT);
    assert!(foreign.is_err(), "no caller speaks it");
}

/// Translations of answers to a call in each dialect.
fn answers() -> [(Dialect, Translation); 4] {
    let chat = chat(json!({"stream": true, "stream_options": {"include_usage": true}}));
    let messages = with(chat.clone(), json!({"max_tokens": 9}));
    let responses = json!({"model": "m", "input": "Hi", "stream": true});
    let gemini = json!({"contents": [{"parts": [{"text": "Hi"}]}], "stream": true});
    let of = |from, call: &Value| {
        let mut call = call.clone();
        if from == Dialect::Gemini {
            call.as_object_mut().unwrap().remove("stream");
            return (
                from,
                gemini_request(call.to_string().as_bytes(), Some(Frames::Events), &to(CLAUDE), AT).unwrap().1,
            );
        }
        if from == Dialect::Anthropic {
            call.as_object_mut().unwrap().remove("stream_options");
        }
        (from, both(from, &call, CLAUDE).unwrap().1)
    };
    [
        of(Dialect::OpenAi, &chat),
        of(Dialect::Anthropic, &messages),
        of(Dialect::Responses, &responses),
        of(Dialect::Gemini, &gemini),
    ]
}

fn whole(stop: &str) -> Value {
    json!({
        "metrics": {"latencyMs": 1},
        "output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
            {"reasoningContent": {"redactedContent": "aGk="}},
            {"text": ""}, {"text": "Hello "},
            {"citationsContent": {"citations": [{"title": "t"}], "content": [{"text": "you."}]}},
            {"toolUse": {"toolUseId": "s1", "name": "web", "input": {}, "type": "server_tool_use"}},
            {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"b": 1, "a": 2}}}]}},
        "stopReason": stop,
        "usage": {"inputTokens": 5, "outputTokens": 3, "totalTokens": 18, "cacheReadInputTokens": 10},
    })
}

#[test]
fn a_whole_answer_in_every_dialect() {
    let body = whole("tool_use").to_string();
    let read = |(from, answer): &(Dialect, Translation)| -> (Dialect, Value) {
        (*from, serde_json::from_slice(&answer.whole(body.as_bytes()).unwrap()).unwrap())
    };
    let [chat, messages, responses, gemini] = answers().each_ref().map(read);
    let message = &chat.1["choices"][0]["message"];
    assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("Hello you."), &json!("hm")));
    assert_eq!(message["tool_calls"][0]["function"], json!({"name": "look", "arguments": "{\"b\":1,\"a\":2}"}));
    assert_eq!(chat.1["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(chat.1["usage"]["prompt_tokens"], 15);
    assert_eq!((&chat.1["model"], chat.1["id"].as_str().unwrap().starts_with("bedrock-")), (&json!(CLAUDE), true));
    assert_eq!(
        messages.1["content"][3],
        json!({"type": "tool_use", "id": "t1", "name": "look", "input": {"b": 1, "a": 2}})
    );
    assert_eq!(messages.1["usage"]["cache_read_input_tokens"], 10);
    assert_eq!(responses.1["status"], "completed");
    assert_eq!(gemini.1["candidates"][0]["content"]["parts"][3]["functionCall"]["name"], "look");
    for (stop, reason) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("something_new", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
    ] {
        let body = whole(stop).to_string();
        let got: Value = serde_json::from_slice(&answers()[0].1.whole(body.as_bytes()).unwrap()).unwrap();
        assert_eq!(got["choices"][0]["finish_reason"], reason, "{stop}");
    }
    for bad in ["malformed_tool_use", "malformed_model_output"] {
        assert!(answers()[0].1.whole(whole(bad).to_string().as_bytes()).is_none(), "{bad}");
    }
    assert!(answers()[0].1.whole(br#"{"message":"x"}"#).is_none());
}

#[test]
fn errors_say_what_the_provider_said() {
    let body = br#"{"message":"Too many requests, please wait."}"#;
    let name = Some("ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/");
    for (from, answer) in answers() {
        let got: Value = serde_json::from_slice(&answer.named_error(429, name, body)).unwrap();
        assert_eq!(got["error"]["message"], "Too many requests, please wait.", "{from:?}");
        match from {
            Dialect::OpenAi | Dialect::Responses => {
                assert_eq!(
                    (&got["error"]["type"], &got["error"]["code"]),
                    (&json!("rate_limit_error"), &json!("ThrottlingException"))
                );
            }
            Dialect::Anthropic => assert_eq!(got["error"]["type"], "rate_limit_error"),
            _ => assert_eq!(got["error"]["status"], "RESOURCE_EXHAUSTED"),
        }
        for (name, body) in [(Some("a b"), &b"<html>"[..]), (None, b"{}"), (None, b"[]")] {
            let got: Value = serde_json::from_slice(&answer.named_error(500, name, body)).unwrap();
            assert_eq!(got["error"]["message"], answer::Failure::UNUSABLE, "{from:?}");
        }
    }
}

fn event(name: &str, payload: Value) -> Vec<u8> {
    message(
        &[(":event-type", name), (":content-type", "application/json"), (":message-type", "event")],
        payload.to_string().as_bytes(),
    )
}

/// A stream with thinking, text, two tools of which one has no input, and a tool of the provider's own.
fn stream() -> Vec<u8> {
    [
        event("messageStart", json!({"role": "assistant", "p": "abc"})),
        event("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}})),
        event("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "s"}}})),
        event("contentBlockStop", json!({"contentBlockIndex": 0})),
        event("contentBlockDelta", json!({"contentBlockIndex": 1, "delta": {"text": "Hello"}})),
        event("contentBlockDelta", json!({"contentBlockIndex": 1, "delta": {"text": ""}})),
        event("contentBlockDelta", json!({"contentBlockIndex": 1, "delta": {"citation": {"title": "t"}}})),
        event("contentBlockStop", json!({"contentBlockIndex": 1})),
        event("contentBlockStart", json!({"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "s", "name": "web", "type": "server_tool_use"}}})),
        event("contentBlockDelta", json!({"contentBlockIndex": 2, "delta": {"toolUse": {"input": "{}"}}})),
        event("contentBlockStart", json!({"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "t1", "name": "look"}}})),
        event("contentBlockDelta", json!({"contentBlockIndex": 3, "delta": {"toolUse": {"input": "{\"a\":"}}})),
        event("contentBlockDelta", json!({"contentBlockIndex": 3, "delta": {"toolUse": {"input": "1}"}}})),
        event("contentBlockStop", json!({"contentBlockIndex": 3})),
        event("contentBlockStart", json!({"contentBlockIndex": 4, "start": {"toolUse": {"toolUseId": "t2", "name": "ask"}}})),
        event("contentBlockStop", json!({"contentBlockIndex": 4})),
        event("messageStop", json!({"stopReason": "tool_use"})),
        event("metadata", json!({"metrics": {}, "usage": {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}})),
    ]
    .concat()
}

fn relay(bytes: &[u8], size: usize, answer: &Translation) -> (String, Option<StreamFailure>) {
    let (mut unframed, mut stream) = (Unframed::of(Dialect::Bedrock), answer.clone().stream());
    let mut out = Vec::new();
    for piece in bytes.chunks(size.max(1)) {
        let (events, framed) = unframed.open(piece);
        assert_eq!(framed, Ok(()));
        stream.feed(&events, &mut out);
    }
    stream.finish(&mut out);
    (String::from_utf8(out).unwrap(), stream.failure())
}

fn data(events: &str) -> Vec<Value> {
    let lines = events.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.filter(|line| *line != "[DONE]").map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_stream_in_every_dialect() {
    let [(_, chat), (_, messages), (_, responses), (_, gemini)] = answers();
    let (said, failure) = relay(&stream(), 4096, &chat);
    assert_eq!(failure, None);
    let deltas: Vec<Value> = data(&said).into_iter().map(|chunk| chunk["choices"][0]["delta"].clone()).collect();
    let text = |name: &str| deltas.iter().filter_map(|d| d[name].as_str()).collect::<String>();
    assert_eq!((text("content"), text("reasoning_content")), ("Hello".to_owned(), "hm".to_owned()));
    let calls: Vec<&Value> = deltas.iter().filter_map(|d| d["tool_calls"].get(0)).collect();
    let names: Vec<&str> = calls.iter().filter_map(|call| call["function"]["name"].as_str()).collect();
    assert_eq!(names, ["look", "ask"]);
    let arguments = |index: u64| -> String {
        let of = calls.iter().filter(|call| call["index"] == index);
        of.filter_map(|call| call["function"]["arguments"].as_str()).collect()
    };
    assert_eq!((arguments(0), arguments(1)), ("{\"a\":1}".to_owned(), "{}".to_owned()));
    assert_eq!(data(&said).last().unwrap()["usage"]["total_tokens"], 8);
    assert!(said.ends_with("data: [DONE]\n\n"));

    let (said, failure) = relay(&stream(), 4096, &messages);
    assert_eq!((failure, data(&said).last().unwrap()["type"].as_str()), (None, Some("message_stop")));
    assert!(said.contains("\"stop_reason\":\"tool_use\""));
    let (said, failure) = relay(&stream(), 4096, &responses);
    assert_eq!((failure, data(&said).last().unwrap()["type"].as_str()), (None, Some("response.completed")));
    let (said, failure) = relay(&stream(), 4096, &gemini);
    assert_eq!((failure, data(&said).last().unwrap()["candidates"][0]["finishReason"].as_str()), (None, Some("STOP")));
}

#[test]
fn a_stream_that_fails_says_so() {
    let thrown = |name: &str| {
        message(
            &[(":message-type", "exception"), (":exception-type", name), (":content-type", "application/json")],
            br#"{"message":"Too many tokens"}"#,
        )
    };
    let begun = event("messageStart", json!({"role": "assistant"}));
    for (from, answer) in answers() {
        let (said, failure) = relay(&[begun.clone(), thrown("throttlingException")].concat(), 9, &answer);
        assert_eq!(failure, None, "{from:?}: the provider's own error");
        assert!(said.contains("Too many tokens"), "{from:?}: {said}");
        let (said, failure) = relay(&begun, 9, &answer);
        assert_eq!(failure, Some(StreamFailure::Truncated), "{from:?}: {said}");
        let odd = event("contentBlockDelta", json!({"contentBlockIndex": "x"}));
        assert_eq!(relay(&[begun.clone(), odd].concat(), 9, &answer).1, Some(StreamFailure::Malformed), "{from:?}");
        let stopped = event("messageStop", json!({"stopReason": "malformed_tool_use"}));
        assert_eq!(relay(&[begun.clone(), stopped].concat(), 9, &answer).1, Some(StreamFailure::Malformed), "{from:?}");
        // What counts it may be missing; that it is over was said.
        let over = event("messageStop", json!({"stopReason": "end_turn"}));
        assert_eq!(relay(&[begun.clone(), over].concat(), 9, &answer).1, None, "{from:?}");
    }
    let (said, _) = relay(&[begun, thrown("throttlingException")].concat(), 9, &answers()[0].1);
    assert!(said.contains("rate_limit_error"), "{said}");
}

proptest! {
    #[test]
    fn how_a_stream_is_cut_changes_nothing(size in 1usize..200) {
        for (_, answer) in answers() {
            prop_assert_eq!(relay(&stream(), size, &answer), relay(&stream(), 1 << 20, &answer));
        }
    }

    /// What a caller says comes to the provider, and what the provider says to the caller, whatever characters it has.
    #[test]
    fn texts_survive_in_both_directions(text in "\\PC{0,20}[a-z\"]\\PC{0,20}", name in "[a-zA-Z0-9_-]{1,20}") {
        let call = chat(json!({
            "messages": [{"role": "user", "content": text}],
            "tools": [{"type": "function", "function": {"name": name, "description": text, "parameters": {"type": "object"}}}],
            "stop": [text],
        }));
        let got = said(Dialect::OpenAi, &call, LLAMA).unwrap();
        prop_assert_eq!(&got["messages"][0]["content"][0]["text"], &json!(text));
        prop_assert_eq!(&got["toolConfig"]["tools"][0]["toolSpec"]["description"], &json!(text));
        prop_assert_eq!(&got["inferenceConfig"]["stopSequences"][0], &json!(text));
        let answer = json!({"output": {"message": {"content": [
            {"text": text}, {"toolUse": {"toolUseId": "t", "name": name, "input": {"x": text}}}]}}, "stopReason": "tool_use"});
        let got: Value = serde_json::from_slice(&answers()[0].1.whole(answer.to_string().as_bytes()).unwrap()).unwrap();
        let message = &got["choices"][0]["message"];
        prop_assert_eq!(&message["content"], &json!(text));
        let arguments: Value = serde_json::from_str(message["tool_calls"][0]["function"]["arguments"].as_str().unwrap()).unwrap();
        prop_assert_eq!(&arguments, &json!({"x": text}));
    }

    #[test]
    fn any_bytes_are_taken_for_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for (_, answer) in answers() {
            answer.whole(&bytes);
            let error: Value = serde_json::from_slice(&answer.error(500, &bytes)).unwrap();
            prop_assert!(error["error"]["message"].is_string());
        }
    }
}
