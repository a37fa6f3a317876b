#![allow(clippy::unwrap_used)]
use super::{StreamFailure, To, Translation, Untranslatable, Why};
use crate::provider::Dialect;
use credentialflow_model::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

const AT: Timestamp = Timestamp::from_secs(1_790_000_000);

/// A call in Chat Completions, for a provider of Messages.
fn request(body: &[u8], model: &str, created: Timestamp) -> Result<(Vec<u8>, Translation), Untranslatable> {
    let to = To::new(Dialect::Anthropic, model);
    super::request(body, Dialect::OpenAi, &to, created)
}

fn translated(chat: &Value) -> Result<Value, Untranslatable> {
    let (body, _) = request(chat.to_string().as_bytes(), "claude-x", AT)?;
    Ok(serde_json::from_slice(&body).unwrap())
}

/// A chat of one user message and these fields becomes a message request with these.
#[track_caller]
fn becomes(fields: Value, expect: Value) {
    let (mut chat, mut all) = (json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}), fields.clone());
    chat.as_object_mut().unwrap().append(all.as_object_mut().unwrap());
    let said = json!([{"role": "user", "content": [{"type": "text", "text": "hi"}]}]);
    let (mut message, mut all) = (json!({"model": "claude-x", "max_tokens": 4096, "messages": said}), expect);
    message.as_object_mut().unwrap().append(all.as_object_mut().unwrap());
    assert_eq!(translated(&chat), Ok(message), "{fields}");
}

#[test]
fn fields_and_their_counterparts() {
    becomes(json!({}), json!({}));
    becomes(json!({"max_tokens": 7}), json!({"max_tokens": 7}));
    becomes(json!({"max_tokens": 7, "max_completion_tokens": 9}), json!({"max_tokens": 9}));
    becomes(json!({"stream": true, "stream_options": {"include_usage": true}}), json!({"stream": true}));
    becomes(json!({"temperature": 0.25, "top_p": 0.5}), json!({"temperature": 0.25}));
    becomes(json!({"temperature": null, "top_p": 0.5}), json!({"top_p": 0.5}));
    becomes(json!({"temperature": 1.7}), json!({"temperature": 1}));
    becomes(json!({"stop": "END"}), json!({"stop_sequences": ["END"]}));
    becomes(json!({"stop": ["a", "b"]}), json!({"stop_sequences": ["a", "b"]}));
    becomes(json!({"user": "u-1"}), json!({"metadata": {"user_id": "u-1"}}));
    becomes(json!({"user": "u-1", "safety_identifier": "s"}), json!({"metadata": {"user_id": "s"}}));
    becomes(json!({"safety_identifier": "s", "user": "u-1"}), json!({"metadata": {"user_id": "s"}}));
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false});
    becomes(
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}}}),
        json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
    );
    becomes(json!({"response_format": {"type": "text"}}), json!({}));
    // Left out, and what asks for nothing.
    becomes(
        json!({"seed": 1, "presence_penalty": 0.5, "frequency_penalty": 1, "store": true, "metadata": {"a": "b"},
            "service_tier": "auto", "n": 1, "logprobs": false, "logit_bias": {}, "modalities": ["text"],
            "tools": null, "functions": null, "stop": null, "max_tokens": null}),
        json!({}),
    );
    // Fields of the provider's own pass as they are.
    becomes(
        json!({"top_k": 5, "thinking": {"type": "adaptive"}, "reasoning_effort": "high"}),
        json!({"top_k": 5, "thinking": {"type": "adaptive"}}),
    );
}

#[test]
fn reasoning_effort_sets_tokens_aside_for_thinking() {
    let thinking = |budget: u64| json!({"type": "enabled", "budget_tokens": budget});
    becomes(json!({"reasoning_effort": "none", "temperature": 0}), json!({"temperature": 0}));
    becomes(json!({"reasoning_effort": "minimal"}), json!({"max_tokens": 5120, "thinking": thinking(1024)}));
    becomes(
        json!({"reasoning_effort": "high", "temperature": 0.2}),
        json!({"max_tokens": 20_480, "thinking": thinking(16_384)}),
    );
    becomes(
        json!({"reasoning_effort": "high", "max_completion_tokens": 3000}),
        json!({"max_tokens": 3000, "thinking": thinking(1500)}),
    );
    becomes(
        json!({"reasoning_effort": "low", "max_completion_tokens": 9000}),
        json!({"max_tokens": 9000, "thinking": thinking(2048)}),
    );
    becomes(
        json!({"reasoning_effort": "high", "max_completion_tokens": 2047, "temperature": 0.2}),
        json!({"max_tokens": 2047, "temperature": 0.2}),
    );
    // What cannot stand beside thinking.
    becomes(
        json!({"reasoning_effort": "minimal", "temperature": 0.2, "top_p": 0.94, "top_k": 5}),
        json!({"max_tokens": 5120, "thinking": thinking(1024)}),
    );
    becomes(
        json!({"reasoning_effort": "minimal", "temperature": 0.2, "top_p": 0.95}),
        json!({"max_tokens": 5120, "top_p": 0.95, "thinking": thinking(1024)}),
    );
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let mut chat = json!({"model": "m", "reasoning_effort": "high", "messages": [{"role": "user", "content": "a"}]});
    for (more, thinks) in [
        (json!({"role": "assistant", "content": null, "tool_calls": [call]}), false),
        (json!({"role": "tool", "tool_call_id": "c", "content": "b"}), false),
        // One turn with the tool's result.
        (json!({"role": "user", "content": "go on"}), false),
        (json!({"role": "assistant", "content": "well"}), false),
        (json!({"role": "user", "content": "and?"}), true),
    ] {
        chat["messages"].as_array_mut().unwrap().push(more);
        let got = translated(&chat).unwrap();
        assert_eq!(got["thinking"].is_object(), thinks, "{chat}");
        assert_eq!(got["max_tokens"], if thinks { 20_480 } else { 4096 }, "{chat}");
    }
}

#[test]
fn tools_and_choices() {
    let tool =
        json!({"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}});
    let same = json!({"name": "f", "description": "d", "input_schema": {"type": "object"}});
    becomes(json!({"tools": [tool]}), json!({"tools": [same]}));
    becomes(
        json!({"tools": [{"type": "function", "function": {"name": "g", "strict": true}, "cache_control": {"type": "ephemeral"}}]}),
        json!({"tools": [{"name": "g", "strict": true, "input_schema": {"type": "object", "properties": {}, "additionalProperties": false},
            "cache_control": {"type": "ephemeral"}}]}),
    );
    for (choice, expect) in [
        (json!({"tool_choice": "auto"}), json!({"type": "auto"})),
        (json!({"tool_choice": "none"}), json!({"type": "none"})),
        (json!({"tool_choice": "required"}), json!({"type": "any"})),
        (
            json!({"tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false}),
            json!({"type": "tool", "name": "f", "disable_parallel_tool_use": true}),
        ),
        (json!({"parallel_tool_calls": false}), json!({"type": "auto", "disable_parallel_tool_use": true})),
    ] {
        let mut fields = choice;
        fields["tools"] = json!([tool]);
        becomes(fields, json!({"tools": [same], "tool_choice": expect}));
    }
    becomes(json!({"parallel_tool_calls": false}), json!({}));
    becomes(json!({"parallel_tool_calls": true}), json!({}));
    becomes(
        json!({"tools": [tool], "tool_choice": "required", "reasoning_effort": "low"}),
        json!({"tools": [same], "tool_choice": {"type": "any"}}),
    );
}

#[test]
fn a_whole_conversation() {
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": arguments}});
    let got = translated(&json!({"model": "m", "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "And kind.", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "name": "ann", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB"}},
        ]},
        {"role": "assistant", "content": "", "refusal": null, "tool_calls": [call("c1", r#"{"b":1,"a":2}"#), call("c2", "")]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "rain"}]},
        {"role": "user", "content": "Thanks!"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "system", "content": "Late."},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": null, "refusal": "I may not."},
    ]}));
    let text = |text: &str| json!({"type": "text", "text": text});
    let expect = json!({
        "model": "claude-x", "max_tokens": 4096,
        "system": [text("Be brief."), {"type": "text", "text": "And kind.", "cache_control": {"type": "ephemeral"}}, text("Late.")],
        "messages": [
            {"role": "user", "content": [
                text("What is this?"),
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {"type": "document", "title": "a.pdf",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "BBBB"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"b": 1, "a": 2}},
                {"type": "tool_use", "id": "c2", "name": "weather", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [text("sunny")]},
                {"type": "tool_result", "tool_use_id": "c2", "content": [text("rain")]},
                text("Thanks!"),
            ]},
            {"role": "assistant", "content": [text("No.")]},
            {"role": "user", "content": [text("Why?")]},
            {"role": "assistant", "content": [text("I may not.")]},
        ],
    });
    assert_eq!(got, Ok(expect));
}

#[test]
fn json_within_json_keeps_its_bytes() {
    let parameters = r#"{"z":{"type":"number"}, "a":1.50,"m":123456789012345678901234567890}"#;
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"assistant","tool_calls":[{{"id":"c","function":{{"name":"f","arguments":{}}}}}]}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{parameters}}}}}],"extra":{parameters}}}"#,
        json!(parameters)
    );
    let (out, _) = request(body.as_bytes(), "claude-x", AT).unwrap();
    assert_eq!(std::str::from_utf8(&out).unwrap().matches(parameters).count(), 3);
    let answer = format!(
        r#"{{"id":"i","content":[{{"type":"tool_use","id":"c","name":"f","input":{parameters}}}],"stop_reason":"tool_use"}}"#
    );
    let (_, chat) = request(br#"{"model":"m","messages":[]}"#, "m", AT).unwrap();
    let got: Value = serde_json::from_slice(&chat.whole(answer.as_bytes()).unwrap()).unwrap();
    assert_eq!(got["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], parameters);
}

#[test]
fn what_cannot_be_said_is_refused() {
    let refused = |fields: Value, expect: &str| {
        let (mut chat, mut all) = (json!({"model": "m", "messages": []}), fields.clone());
        chat.as_object_mut().unwrap().append(all.as_object_mut().unwrap());
        let error = translated(&chat).unwrap_err().to_string();
        assert!(error.contains(expect), "{fields}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    };
    for fields in [
        json!({"n": 2}),
        json!({"logprobs": true}),
        json!({"logit_bias": {"1": 2}}),
        json!({"modalities": ["text", "audio"]}),
        json!({"functions": [{"name": "s3cret"}]}),
        json!({"response_format": {"type": "json_object"}}),
        json!({"tools": [{"type": "custom", "custom": {"name": "s3cret"}}]}),
        json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}),
        json!({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "s3cret", "format": "wav"}}]}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "s3cret"}}]}]}),
        json!({"messages": [{"role": "function", "name": "f", "content": "s3cret"}]}),
        json!({"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": ""}}]}),
    ] {
        refused(fields, "no counterpart");
    }
    for fields in [
        json!({"messages": "s3cret"}),
        json!({"messages": [{"content": "s3cret"}]}),
        json!({"messages": [{"role": "s3cret", "content": "x"}]}),
        json!({"messages": [{"role": "tool", "content": "x"}]}),
        json!({"messages": [{"role": "user", "content": 1}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///s3cret"}}]}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,s3cret"}}]}]}),
        json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "s3cret"}}]}]}),
        json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "[1]"}}]}]}),
        json!({"max_tokens": "s3cret"}),
        json!({"top_logprobs": 3}),
        json!({"temperature": "s3cret"}),
        json!({"stop": 7}),
        json!({"reasoning_effort": "s3cret"}),
        json!({"response_format": {"type": "s3cret"}}),
        json!({"system": "s3cret"}),
    ] {
        refused(fields, "not what the Chat Completions API describes");
    }
    let schema = json!({"type": "json_schema", "json_schema": {"schema": {}}});
    refused(json!({"response_format": schema, "output_config": {}}), "more than once");
    let twice = br#"{"model":"m","messages":[],"temperature":1,"temp\u0065rature":0}"#;
    assert_eq!(request(twice, "m", AT).unwrap_err().why, Why::Duplicate);
    assert!(request(br#"{"model":"m"}"#, "m", AT).is_err());
    assert!(request(b"[]", "m", AT).is_err());
}

#[test]
fn a_few_bytes_do_not_take_much_memory() {
    let many = |n: usize, one: &str| vec![one; n].join(",");
    let call = |messages: &str, more: &str| {
        let body = format!(r#"{{"model":"m","messages":[{messages}]{more}}}"#);
        request(body.as_bytes(), "m", AT).map(|_| ()).map_err(|e| e.why)
    };
    let said = |parts: &str| format!(r#"{{"role":"user","content":[{parts}]}}"#);
    let (one, half) = (r#"{"type":"text","text":"a"}"#, said(&many(50_000, r#"{"type":"text","text":"a"}"#)));
    assert_eq!(call(&[&*half, &*half].join(","), ""), Ok(()));
    let parts = Err(Why::TooMany("parts of messages"));
    assert_eq!(call(&[&*half, &*half, &*said(one)].join(","), ""), parts);
    let calls = many(50_000, r#"{"id":"i","function":{"name":"f"}}"#);
    let calls = format!(r#"{{"role":"assistant","tool_calls":[{calls}]}}"#);
    assert_eq!(call(&[&*half, &*calls].join(","), ""), Ok(()));
    assert_eq!(call(&[&*half, &*calls, &*said(one)].join(","), ""), parts);
    // Refused where the first one too many stands, whatever follows.
    assert_eq!(call(&said(&(many(100_001, one) + ",7")), ""), parts);
    let messages = many(100_001, r#"{"role":"user"}"#);
    assert_eq!(call(&messages, ""), Err(Why::TooMany("messages")));
    let tools = many(10_001, r#"{"type":"function","function":{"name":"f"}}"#);
    assert_eq!(call("", &format!(r#","tools":[{tools}]"#)), Err(Why::TooMany("tools")));
    assert_eq!(call("", &format!(r#","stop":[{}]"#, many(1001, "\"\""))), Err(Why::TooMany("texts in `stop`")));
    let fields = |n: usize| (0..n).map(|i| format!(r#","f{i}":1"#)).collect::<String>();
    assert_eq!(call("", &fields(998)), Ok(()));
    assert_eq!(call("", &fields(999)), Err(Why::TooMany("fields")));
    assert_eq!(call("", r#","a":1,"a":2"#), Err(Why::Duplicate));

    let message = |id: &str, model: &str, blocks: usize| {
        let content = many(blocks, r#"{"type":""}"#);
        format!(r#"{{"id":"{id}","model":"{model}","content":[{content}],"stop_reason":"end_turn"}}"#)
    };
    let (fits, long) = ("x".repeat(256), "x".repeat(257));
    for (id, model, blocks, fine) in [
        (&fits, &fits, 10_000, true),
        (&fits, &fits, 10_001, false),
        (&long, &fits, 0, false),
        (&fits, &long, 0, false),
    ] {
        let message = message(id, model, blocks);
        assert_eq!(answer(false).whole(message.as_bytes()).is_some(), fine);
        if blocks <= 10_000 {
            let (mut stream, mut out) = (answer(false).stream(), Vec::new());
            let start = format!("data: {{\"type\":\"message_start\",\"message\":{message}}}\n\n");
            stream.feed(start.as_bytes(), &mut out);
            assert_eq!(stream.failure(), (!fine).then_some(StreamFailure::Malformed));
        }
    }
}

fn answer(include_usage: bool) -> Translation {
    let chat =
        json!({"model": "m", "stream": true, "messages": [], "stream_options": {"include_usage": include_usage}});
    request(chat.to_string().as_bytes(), "m", AT).unwrap().1
}

#[test]
fn whole_answers() {
    let got: Value = serde_json::from_slice(
        &answer(false)
            .whole(
                json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-1", "stop_reason": "tool_use",
                    "content": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}, {"type": "text", "text": "I "},
                        {"type": "server_tool_use", "id": "s", "name": "web", "input": {}}, {"type": "text", "text": "look."},
                        {"type": "tool_use", "id": "t1", "name": "f", "input": {}}],
                    "usage": {"input_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2, "output_tokens": 4}})
                .to_string()
                .as_bytes(),
            )
            .unwrap(),
    )
    .unwrap();
    let call = json!({"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    assert_eq!(
        got,
        json!({"id": "msg_1", "object": "chat.completion", "created": 1_790_000_000, "model": "claude-x-1",
            "choices": [{"index": 0, "logprobs": null, "finish_reason": "tool_calls", "message":
                {"role": "assistant", "content": "I look.", "refusal": null, "reasoning_content": "Hm.",
                    "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}], "tool_calls": [call]}}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 0}}})
    );
    let reason = |stop: Value| {
        let body = json!({"id": "i", "content": [], "stop_reason": stop}).to_string();
        let got: Value = serde_json::from_slice(&answer(false).whole(body.as_bytes()).unwrap()).unwrap();
        assert_eq!((&got["choices"][0]["message"]["content"], &got["usage"]), (&json!(""), &Value::Null));
        got["choices"][0]["finish_reason"].as_str().unwrap().to_owned()
    };
    for (stop, expect) in [
        (json!("end_turn"), "stop"),
        (json!("stop_sequence"), "stop"),
        (json!("pause_turn"), "stop"),
        (json!("max_tokens"), "length"),
        (json!("model_context_window_exceeded"), "length"),
        (json!("tool_use"), "tool_calls"),
        (json!("refusal"), "content_filter"),
        (Value::Null, "stop"),
    ] {
        assert_eq!(reason(stop), expect);
    }
    for none in
        ["", "<html>", "[]", "{}", r#"{"type":"error","error":{}}"#, r#"{"id":"i","content":[{"type":"text"}]}"#]
    {
        assert_eq!(answer(false).whole(none.as_bytes()), None, "{none}");
    }
}

#[test]
fn errors_keep_what_they_say() {
    let error = |status: u16, body: &str| -> Value {
        serde_json::from_slice::<Value>(&answer(false).error(status, body.as_bytes())).unwrap()["error"].take()
    };
    for (status, told, kind) in [
        (400, "invalid_request_error", "invalid_request_error"),
        (401, "authentication_error", "authentication_error"),
        (413, "request_too_large", "invalid_request_error"),
        (429, "rate_limit_error", "rate_limit_error"),
        (529, "overloaded_error", "server_error"),
    ] {
        let body = json!({"type": "error", "error": {"type": told, "message": "No \"way\"."}, "request_id": "r"});
        let expect = json!({"message": "No \"way\".", "type": kind, "param": null, "code": told});
        assert_eq!(error(status, &body.to_string()), expect);
    }
    for html in ["<html>", "", "{}", r#"{"error":"text"}"#] {
        let got = error(503, html);
        assert_eq!((&got["type"], &got["code"]), (&json!("server_error"), &Value::Null), "{html}");
    }
}

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap())
}

/// The stream of a message, its texts and inputs in pieces of this many characters.
fn streamed(message: &Value, piece: usize) -> String {
    let mut start = message.clone();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["usage"]["output_tokens"] = json!(1);
    let mut out = event(&json!({"type": "message_start", "message": start})) + &event(&json!({"type": "ping"}));
    for (i, block) in message["content"].as_array().unwrap().iter().enumerate() {
        let (field, kind, whole) = match block["type"].as_str().unwrap() {
            "text" => ("text", "text_delta", block["text"].as_str().unwrap().to_owned()),
            "thinking" => ("thinking", "thinking_delta", block["thinking"].as_str().unwrap().to_owned()),
            _ => ("partial_json", "input_json_delta", block["input"].to_string()),
        };
        let mut begun = block.clone();
        match field {
            "partial_json" => begun["input"] = json!({}),
            "thinking" => (begun["thinking"], begun["signature"]) = (json!(""), json!("")),
            field => begun[field] = json!(""),
        }
        out += &event(&json!({"type": "content_block_start", "index": i, "content_block": begun}));
        let characters: Vec<char> = whole.chars().collect();
        for part in characters.chunks(piece) {
            let part: String = part.iter().collect();
            out += &event(&json!({"type": "content_block_delta", "index": i, "delta": {"type": kind, field: part}}));
        }
        if field == "thinking" {
            let delta = json!({"type": "signature_delta", "signature": block["signature"]});
            out += &event(&json!({"type": "content_block_delta", "index": i, "delta": delta}));
        }
        out += &event(&json!({"type": "content_block_stop", "index": i}));
    }
    let usage = json!({"output_tokens": message["usage"]["output_tokens"]});
    out += &event(&json!({"type": "message_delta", "delta": {"stop_reason": message["stop_reason"]}, "usage": usage}));
    out + &event(&json!({"type": "message_stop"}))
}

fn relayed(include_usage: bool, pieces: &[&[u8]]) -> String {
    let (mut stream, mut out) = (answer(include_usage).stream(), Vec::new());
    pieces.iter().for_each(|piece| stream.feed(piece, &mut out));
    stream.finish(&mut out);
    String::from_utf8(out).unwrap()
}

/// Adds the objects of a list in a delta to those that came before, as OpenAI's SDK for Python does (`accumulate_delta`): by
/// their `index`, without which its helper for streams fails; texts are appended, `index` and `type` replaced.
pub(super) fn join(list: &mut Vec<Value>, delta: &[Value]) {
    for entry in delta {
        let index = entry["index"].as_u64().expect("each has an index") as usize;
        let Some(object) = list.get_mut(index) else {
            list.insert(index, entry.clone());
            continue;
        };
        for (name, more) in entry.as_object().unwrap() {
            match (object[name].as_str(), more.as_str()) {
                (Some(text), Some(more)) if name != "type" => object[name] = format!("{text}{more}").into(),
                _ => object[name] = more.clone(),
            }
        }
    }
}

/// The completion that a stream of chunks adds up to, as the SDKs add it up.
fn gathered(stream: &str) -> Value {
    let (mut content, mut reasoning, mut calls) = (String::new(), String::new(), Vec::<Value>::new());
    let mut thoughts = Vec::<Value>::new();
    let (mut finish, mut usage, mut first) = (Value::Null, Value::Null, Value::Null);
    let chunks = stream.strip_suffix("data: [DONE]\n\n").expect("the end");
    for chunk in chunks.split("\n\n").filter(|c| !c.is_empty() && !c.starts_with(':')) {
        let chunk: Value = serde_json::from_str(chunk.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(chunk["object"], "chat.completion.chunk");
        if first.is_null() {
            assert_eq!(chunk["choices"][0]["delta"]["role"], "assistant");
            first = chunk.clone();
        }
        assert_eq!(
            (&chunk["id"], &chunk["model"], &chunk["created"]),
            (&first["id"], &first["model"], &first["created"])
        );
        if chunk["usage"].is_object() {
            assert_eq!(chunk["choices"], json!([]));
            usage = chunk["usage"].clone();
            continue;
        }
        let choice = &chunk["choices"][0];
        content += choice["delta"]["content"].as_str().unwrap_or_default();
        reasoning += choice["delta"]["reasoning_content"].as_str().unwrap_or_default();
        if let Some(more) = choice["delta"]["thinking_blocks"].as_array() {
            join(&mut thoughts, more);
        }
        for part in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let at = part["index"].as_u64().unwrap() as usize;
            if at == calls.len() {
                let function = json!({"name": part["function"]["name"], "arguments": ""});
                calls.push(json!({"id": part["id"], "type": part["type"], "function": function}));
            }
            let sofar = calls[at]["function"]["arguments"].as_str().unwrap().to_owned();
            calls[at]["function"]["arguments"] = (sofar + part["function"]["arguments"].as_str().unwrap()).into();
        }
        if !choice["finish_reason"].is_null() {
            assert!(finish.is_null(), "one end");
            finish = choice["finish_reason"].clone();
        }
    }
    let mut message = json!({"role": "assistant", "content": content, "refusal": null});
    if !thoughts.is_empty() {
        thoughts.iter_mut().for_each(|thought| drop(thought.as_object_mut().unwrap().remove("index")));
        message["thinking_blocks"] = thoughts.into();
    }
    if content.is_empty() && !calls.is_empty() {
        message["content"] = Value::Null;
    }
    if !reasoning.is_empty() {
        message["reasoning_content"] = reasoning.into();
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    json!({"id": first["id"], "object": "chat.completion", "created": first["created"], "model": first["model"],
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}], "usage": usage})
}

#[test]
fn a_stream_is_translated_as_it_comes() {
    let (mut stream, mut out) = (answer(true).stream(), Vec::new());
    let mut said = |text: &str| {
        out.clear();
        stream.feed(text.as_bytes(), &mut out);
        String::from_utf8(out.clone()).unwrap()
    };
    let message = json!({"id": "msg_1", "model": "claude-x-1", "usage": {"input_tokens": 3, "output_tokens": 1}});
    let head =
        r#"data: {"id":"msg_1","object":"chat.completion.chunk","created":1790000000,"model":"claude-x-1","choices":"#;
    let chunk = |delta: &str| {
        format!(
            "{head}[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":null}}],\"usage\":null}}\n\n"
        )
    };
    let begun = said(&event(&json!({"type": "message_start", "message": message})));
    assert_eq!(begun, chunk(r#"{"role":"assistant","content":"","refusal":null}"#));
    assert_eq!(said(&event(&json!({"type": "ping"}))), ": ping\n\n");
    let tool = json!({"type": "tool_use", "id": "t", "name": "f", "input": {}});
    assert_eq!(
        said(&event(&json!({"type": "content_block_start", "index": 1, "content_block": tool}))),
        chunk(r#"{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":""}}]}"#)
    );
    let delta = event(
        &json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"a"}}),
    );
    let (a, b) = delta.split_at(40);
    assert_eq!(said(a), "");
    assert_eq!(said(b), chunk(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"a"}}]}"#));
    assert_eq!(said(&event(&json!({"type": "content_block_stop", "index": 1}))), "");
    let end = json!({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 9}});
    assert!(said(&event(&end)).contains(r#""delta":{},"logprobs":null,"finish_reason":"length""#));
    let last = said(&event(&json!({"type": "message_stop"})));
    let usage = r#"{"prompt_tokens":3,"completion_tokens":9,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}"#;
    assert_eq!(last, format!("{head}[],\"usage\":{usage}}}\n\ndata: [DONE]\n\n"));
    assert_eq!(said("data: [DONE]\n\n"), "", "after the end nothing counts");
}

#[test]
fn streams_that_do_not_end_well_end_with_an_error() {
    use StreamFailure::{Malformed, Truncated};
    let ends_in_error = |sent: &str, message: &str, failure: Option<StreamFailure>| {
        let got = relayed(false, &[sent.as_bytes()]);
        let (mut stream, mut out) = (answer(false).stream(), Vec::new());
        stream.feed(sent.as_bytes(), &mut out);
        stream.finish(&mut out);
        assert_eq!(stream.failure(), failure, "{sent}");
        let last = got.strip_suffix("\n\n").unwrap().rsplit("\n\n").next().unwrap();
        let last: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(last["error"]["message"], message, "{got}");
        assert!(!got.contains("[DONE]"), "{got}");
        last["error"]["type"].as_str().unwrap().to_owned()
    };
    let message = json!({"id": "m", "model": "x", "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1}});
    let whole = streamed(&message, 2);
    const UNUSABLE: &str = "The provider's answer cannot be used.";
    let cut = &whole[..whole.len() - 40];
    assert_eq!(ends_in_error(cut, UNUSABLE, Some(Truncated)), "server_error");
    ends_in_error("", UNUSABLE, Some(Truncated));
    ends_in_error("data: <html>\n\n", UNUSABLE, Some(Malformed));
    ends_in_error(
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0}\n\n",
        UNUSABLE,
        Some(Malformed),
    );
    let told = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    assert_eq!(
        ends_in_error(
            &(cut.split_once("event: content_block_stop").unwrap().0.to_owned() + &event(&told)),
            "Overloaded",
            None
        ),
        "server_error"
    );
    // Larger than an event may be: an error, and no memory kept.
    let (mut stream, mut out) = (answer(false).stream(), Vec::new());
    stream.feed(b"data: {\"type\":\"ping\",\"x\":\"", &mut out);
    for _ in 0..6 {
        stream.feed(&vec![b'x'; 1 << 20], &mut out);
        assert!(stream.held() < 9 << 20);
    }
    assert!(String::from_utf8(out).unwrap().starts_with("data: {\"error\""));
    assert!(stream.held() < 1 << 20);
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z \"\\\\\n]{0,12}", "\\PC{0,6}"]
}

fn blocks() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => texts().prop_map(|text| json!({"type": "text", "text": text})),
        1 => texts().prop_map(|text| json!({"type": "thinking", "thinking": text, "signature": "s"})),
        2 => ("[a-z0-9]{1,6}", texts(), any::<i64>()).prop_map(|(id, text, n)| {
            json!({"type": "tool_use", "id": id, "name": "f", "input": {"b": text, "a": [n]}})
        }),
        1 => Just(json!({"type": "tool_use", "id": "e", "name": "g", "input": {}})),
        1 => Just(json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}})),
    ]
}

fn messages() -> impl Strategy<Value = Value> {
    let stops = prop::sample::select(vec!["end_turn", "tool_use", "max_tokens", "refusal", "stop_sequence"]);
    (prop::collection::vec(blocks(), 0..6), stops, 0..1000u64, 0..1000u64).prop_map(|(content, stop, input, output)| {
        json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-1", "content": content,
            "stop_reason": stop, "usage": {"input_tokens": input, "cache_read_input_tokens": 2, "output_tokens": output}})
    })
}

proptest! {
    #[test]
    fn a_stream_adds_up_to_the_whole_answer(
        message in messages(), piece in 1..9usize, mut cuts in prop::collection::vec(any::<usize>(), 0..10)
    ) {
        let whole = answer(true).whole(message.to_string().as_bytes()).unwrap();
        let stream = streamed(&message, piece);
        let bytes = stream.as_bytes();
        let at_once = relayed(true, &[bytes]);
        prop_assert_eq!(gathered(&at_once), serde_json::from_slice::<Value>(&whole).unwrap());
        cuts.iter_mut().for_each(|c| *c %= bytes.len() + 1);
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        prop_assert_eq!(&relayed(true, &pieces), &at_once);
        prop_assert_eq!(&relayed(true, &bytes.chunks(1).collect::<Vec<_>>()), &at_once);
    }

    #[test]
    fn an_answer_sent_back_is_what_the_provider_said(message in messages()) {
        let whole: Value = serde_json::from_slice(&answer(true).whole(message.to_string().as_bytes()).unwrap()).unwrap();
        let back = translated(&json!({"model": "m", "messages": [whole["choices"][0]["message"]]})).unwrap();
        let content = message["content"].as_array().unwrap();
        let text: String = content.iter().filter(|b| b["type"] == "text").filter_map(|b| b["text"].as_str()).collect();
        let mut expect: Vec<Value> = content.iter().filter(|b| b["type"] == "thinking").cloned().collect();
        if !text.trim().is_empty() {
            expect.push(json!({"type": "text", "text": text}));
        }
        expect.extend(content.iter().filter(|b| b["type"] == "tool_use").cloned());
        let said = back["messages"][0]["content"].as_array().cloned().unwrap_or_default();
        prop_assert_eq!(said, expect);
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[\\[\\]{}\",:a-z0-9 ]{0,60}") {
        for body in [&bytes[..], text.as_bytes()] {
            let _ = request(body, "m", AT);
            answer(true).whole(body);
            answer(true).error(500, body);
            relayed(true, &body.chunks(7).collect::<Vec<_>>());
            relayed(false, &[b"data: ", body, b"\n\n"]);
        }
    }
}
