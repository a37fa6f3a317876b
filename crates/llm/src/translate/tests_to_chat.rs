//! Callers of Messages in front of a provider of Chat Completions, and both ways one after the other.
#![allow(clippy::unwrap_used)]

use super::{StreamFailure, To, Translation, Untranslatable, Why};
use crate::provider::{Dialect, LimitField};
use credentialflow_model::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

const AT: Timestamp = Timestamp::from_secs(1_790_000_000);
const CHAT: To<'_> =
    To { limit: LimitField::MaxCompletionTokens, ask_usage: true, ..To::new(Dialect::OpenAi, "gpt-x") };
const MESSAGES: To<'_> = To::new(Dialect::Anthropic, "claude-x");

fn request(body: &[u8]) -> Result<(Vec<u8>, Translation), Untranslatable> {
    super::request(body, Dialect::Anthropic, &CHAT, AT)
}

fn translated(call: &Value) -> Result<Value, Untranslatable> {
    Ok(serde_json::from_slice(&request(call.to_string().as_bytes())?.0).unwrap())
}

fn to_messages(chat: &Value) -> Result<Value, Untranslatable> {
    let (body, _) = super::request(chat.to_string().as_bytes(), Dialect::OpenAi, &MESSAGES, AT)?;
    Ok(serde_json::from_slice(&body).unwrap())
}

/// For callers of Messages.
fn answer() -> Translation {
    request(br#"{"model":"m","max_tokens":1,"stream":true,"messages":[]}"#).unwrap().1
}

/// For callers of Chat Completions.
fn chat_answer() -> Translation {
    let call = br#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
    super::request(call, Dialect::OpenAi, &MESSAGES, AT).unwrap().1
}

fn with(mut call: Value, fields: &Value) -> Value {
    call.as_object_mut().unwrap().append(fields.clone().as_object_mut().unwrap());
    call
}

/// A call of one message and these fields becomes a chat with these.
#[track_caller]
fn becomes(fields: Value, expect: Value) {
    let said = json!([{"role": "user", "content": "hi"}]);
    let call = with(json!({"model": "m", "max_tokens": 9, "messages": said}), &fields);
    let chat = with(json!({"model": "gpt-x", "max_completion_tokens": 9, "messages": said}), &expect);
    assert_eq!(translated(&call), Ok(chat), "{fields}");
}

#[test]
fn fields_and_their_counterparts() {
    becomes(json!({}), json!({}));
    becomes(json!({"stream": true}), json!({"stream": true, "stream_options": {"include_usage": true}}));
    becomes(json!({"stream": false, "temperature": 0.25, "top_p": 0.5}), json!({"temperature": 0.25, "top_p": 0.5}));
    becomes(json!({"stop_sequences": ["a", "b"]}), json!({"stop": ["a", "b"]}));
    becomes(json!({"stop_sequences": []}), json!({}));
    becomes(json!({"metadata": {"user_id": "u-1"}}), json!({"user": "u-1"}));
    becomes(json!({"metadata": {"user_id": "ü".repeat(64)}}), json!({"user": "ü".repeat(64)}));
    becomes(json!({"metadata": {"user_id": "u".repeat(65)}}), json!({}));
    becomes(json!({"metadata": {"user_id": null}}), json!({}));
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    becomes(
        json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": schema}}}),
    );
    // Left out.
    becomes(
        json!({"top_k": 5, "service_tier": "auto", "cache_control": {"type": "ephemeral"}, "context_management": {},
            "speed": "fast", "system": "", "tools": [], "tool_choice": null}),
        json!({}),
    );
    // Fields of the provider's own pass as they are.
    becomes(json!({"seed": 5, "x": [1.50]}), json!({"seed": 5, "x": [1.50]}));
    // What limits the answer is the provider's matter.
    let call = br#"{"model":"m","max_tokens":9,"stream":true,"messages":[]}"#;
    let to = To { limit: LimitField::MaxTokens, ask_usage: false, ..CHAT };
    let (body, _) = super::request(call, Dialect::Anthropic, &to, AT).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap(),
        json!({"model": "gpt-x", "messages": [], "max_tokens": 9, "stream": true})
    );
}

#[test]
fn thinking_is_effort() {
    for (budget, effort) in
        [(1024, "low"), (8191, "low"), (8192, "medium"), (16_383, "medium"), (16_384, "high"), (99_999, "high")]
    {
        let thinking = json!({"type": "enabled", "budget_tokens": budget});
        becomes(json!({"thinking": thinking}), json!({"reasoning_effort": effort}));
    }
    becomes(json!({"thinking": {"type": "disabled"}}), json!({}));
    becomes(json!({"thinking": {"type": "adaptive"}}), json!({}));
    for (told, effort) in [("low", "low"), ("medium", "medium"), ("high", "high"), ("xhigh", "xhigh"), ("max", "xhigh")]
    {
        becomes(
            json!({"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": told}}),
            json!({"reasoning_effort": effort}),
        );
    }
    let thinking = json!({"type": "enabled", "budget_tokens": 99_999});
    becomes(json!({"thinking": thinking, "output_config": {"effort": "low"}}), json!({"reasoning_effort": "low"}));
    becomes(json!({"thinking": thinking, "reasoning_effort": "minimal"}), json!({"reasoning_effort": "minimal"}));
}

#[test]
fn tools_and_choices() {
    let tool = json!({"name": "f", "description": "d", "input_schema": {"type": "object"}});
    let same =
        json!({"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}});
    becomes(json!({"tools": [tool]}), json!({"tools": [same]}));
    becomes(
        json!({"tools": [{"type": "custom", "name": "g", "strict": true, "input_schema": {}, "defer_loading": true,
            "cache_control": {"type": "ephemeral"}, "input_examples": [{}]}]}),
        json!({"tools": [{"type": "function", "function": {"name": "g", "parameters": {}, "strict": true}}]}),
    );
    for (choice, expect) in [
        (json!({"type": "auto"}), json!("auto")),
        (json!({"type": "any"}), json!("required")),
        (json!({"type": "none"}), json!("none")),
        (json!({"type": "tool", "name": "f"}), json!({"type": "function", "function": {"name": "f"}})),
    ] {
        becomes(json!({"tools": [tool], "tool_choice": choice}), json!({"tools": [same], "tool_choice": expect}));
    }
    let one = json!({"type": "auto", "disable_parallel_tool_use": true});
    becomes(
        json!({"tools": [tool], "tool_choice": one}),
        json!({"tools": [same], "tool_choice": "auto", "parallel_tool_calls": false}),
    );
}

#[test]
fn a_whole_conversation() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let png = json!({"type": "base64", "media_type": "image/png", "data": "AA\n=="});
    let got = translated(&json!({"model": "m", "max_tokens": 1,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}, text("And kind.")],
    "messages": [
        {"role": "user", "content": [
            text("What is this?"), text(""),
            {"type": "image", "source": png},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "BBBB"}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "CCCC"}},
            {"type": "document", "title": "t", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
            {"type": "document", "source": {"type": "content", "content": [text("one"), {"type": "image", "source": png}]}},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "redacted_thinking", "data": "x"},
            text("I look."),
            {"type": "tool_use", "id": "c1", "name": "weather", "input": {"b": 1, "a": 2}},
            {"type": "tool_use", "id": "c2", "name": "weather", "input": {}},
        ]},
        {"role": "user", "content": [
            text("Here:"),
            {"type": "tool_result", "tool_use_id": "c1", "content": "sunny"},
            {"type": "tool_result", "tool_use_id": "c2", "is_error": true, "content": [text("no"), text("way")]},
        ]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c3", "name": "shot", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c3", "content": [text("done"), {"type": "image", "source": png}]}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c4", "is_error": true}, {"type": "tool_result", "tool_use_id": "c5"}]},
        {"role": "assistant", "content": "Well."},
        {"role": "user", "content": "Thanks!"},
    ]}));
    let url = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    let image = url("data:image/png;base64,AA\n==");
    let file = |name: &str, data: &str| json!({"type": "file", "file": {"filename": name, "file_data": format!("data:application/pdf;base64,{data}")}});
    let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let expect = json!({"model": "gpt-x", "max_completion_tokens": 1, "messages": [
        {"role": "system", "content": [text("Be brief."), text("And kind.")]},
        {"role": "user", "content": [text("What is this?"), image, url("https://example.com/a.png"), file("a.pdf", "BBBB"),
            file("document.pdf", "CCCC"), text("plain"), text("one"), image]},
        {"role": "assistant", "content": "I look.",
            "tool_calls": [call("c1", "weather", r#"{"b":1,"a":2}"#), call("c2", "weather", "{}")]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": [text("Error: no"), text("way")]},
        {"role": "user", "content": "Here:"},
        {"role": "assistant", "content": null, "tool_calls": [call("c3", "shot", "{}")]},
        {"role": "tool", "tool_call_id": "c3",
            "content": [text("done"), text("What else the tool returned is in the next message of the user.")]},
        {"role": "tool", "tool_call_id": "c4", "content": "Error"},
        {"role": "tool", "tool_call_id": "c5", "content": ""},
        {"role": "user", "content": [text("Returned by the tool call c3:"), image]},
        {"role": "assistant", "content": "Well."},
        {"role": "user", "content": "Thanks!"},
    ]});
    assert_eq!(got, Ok(expect));
}

#[test]
fn json_within_json_keeps_its_bytes() {
    let odd = r#"{"z":{"type":"number"}, "a":1.50,"m":123456789012345678901234567890}"#;
    let call = format!(
        r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"assistant","content":[{{"type":"tool_use","id":"c","name":"f","input":{odd}}}]}},{{"role":"user","content":"x"}}],"tools":[{{"name":"f","input_schema":{odd}}}],"extra":{odd}}}"#
    );
    let out = String::from_utf8(request(call.as_bytes()).unwrap().0).unwrap();
    assert_eq!((out.matches(odd).count(), out.matches(&json!(odd).to_string()).count()), (2, 1));
    let completion = json!({"id": "i", "choices": [{"message": {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": odd}}]}}]});
    let got = String::from_utf8(answer().whole(completion.to_string().as_bytes()).unwrap()).unwrap();
    assert_eq!(got.matches(odd).count(), 1);
}

#[test]
fn what_cannot_be_said_is_refused() {
    let refused = |fields: Value, expect: &str| {
        let error =
            translated(&with(json!({"model": "m", "max_tokens": 1, "messages": []}), &fields)).unwrap_err().to_string();
        assert!(error.contains(expect), "{fields}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    };
    let said = |block: Value| json!({"messages": [{"role": "user", "content": [block]}]});
    for fields in [
        json!({"container": "s3cret"}),
        json!({"mcp_servers": [{"url": "s3cret"}]}),
        json!({"inference_geo": "us"}),
        json!({"n": 2}),
        json!({"logprobs": true}),
        json!({"modalities": ["audio"]}),
        json!({"tools": [{"type": "web_search_20250305", "name": "s3cret"}]}),
        said(json!({"type": "image", "source": {"type": "file", "file_id": "s3cret"}})),
        said(json!({"type": "document", "source": {"type": "url", "url": "https://s3cret"}})),
        said(json!({"type": "search_result", "source": "s3cret", "title": "t", "content": []})),
        said(json!({"type": "tool_use", "id": "s3cret", "name": "n", "input": {}})),
        json!({"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "s3cret", "name": "n", "input": {}}]}]}),
        json!({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "{\"s3cret\":"}]}),
        json!({"system": [{"type": "image", "source": {"type": "url", "url": "https://s3cret"}}]}),
    ] {
        refused(fields, "no counterpart in the Chat Completions API");
    }
    for fields in [
        json!({"messages": "s3cret"}),
        json!({"messages": [{"role": "user"}]}),
        json!({"messages": [{"role": "s3cret", "content": "x"}]}),
        json!({"messages": [{"role": "user", "content": 1}]}),
        said(json!({"type": "text"})),
        said(json!({"type": "image", "source": {"type": "s3cret"}})),
        said(json!({"type": "image", "source": {"type": "base64", "media_type": "a,s3cret", "data": ""}})),
        said(json!({"type": "tool_result", "content": "s3cret"})),
        json!({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": "s3cret"}]}]}),
        json!({"max_tokens": "s3cret"}),
        json!({"max_tokens": null}),
        json!({"stop_sequences": "s3cret"}),
        json!({"thinking": {"type": "s3cret"}}),
        json!({"thinking": {"type": "enabled"}}),
        json!({"output_config": {"format": {"type": "s3cret"}}}),
        json!({"output_config": {"effort": "s3cret"}}),
        json!({"tool_choice": {"type": "s3cret"}}),
        json!({"tools": [{"name": "s3cret"}]}),
        json!({"stop": "s3cret"}),
        json!({"max_completion_tokens": 7}),
    ] {
        refused(fields, "not what the Messages API describes");
    }
    let twice = br#"{"model":"m","max_tokens":1,"messages":[],"system":"a","syst\u0065m":"b"}"#;
    assert_eq!(request(twice).unwrap_err().why, Why::Duplicate);
    assert!(request(br#"{"model":"m","max_tokens":1}"#).is_err());
    assert!(request(b"[]").is_err());
}

#[test]
fn a_few_bytes_do_not_take_much_memory() {
    let many = |n: usize, one: &str| vec![one; n].join(",");
    let call = |messages: &str, more: &str| {
        let body = format!(r#"{{"model":"m","max_tokens":1,"messages":[{messages}]{more}}}"#);
        request(body.as_bytes()).map(|_| ()).map_err(|e| e.why)
    };
    let said = |parts: &str| format!(r#"{{"role":"user","content":[{parts}]}}"#);
    let one = r#"{"type":"text","text":"a"}"#;
    let half = said(&many(50_000, one));
    let parts = Err(Why::TooMany("parts of messages"));
    assert_eq!(call(&[&*half, &*half].join(","), ""), Ok(()));
    assert_eq!(call(&[&*half, &*half, &*said(one)].join(","), ""), parts);
    // What is within a result or a document counts, and so does the system prompt.
    let inner = format!(r#"{{"type":"tool_result","tool_use_id":"i","content":[{}]}}"#, many(50_000, one));
    assert_eq!(call(&[&*half, &*said(&inner)].join(","), ""), parts);
    let inner = format!(r#"{{"type":"document","source":{{"type":"content","content":[{}]}}}}"#, many(50_000, one));
    assert_eq!(call(&[&*half, &*said(&inner)].join(","), ""), parts);
    assert_eq!(call(&[&*half, &*half].join(","), &format!(r#","system":[{one}]"#)), parts);
    let messages = many(100_001, r#"{"role":"user","content":""}"#);
    assert_eq!(call(&messages, ""), Err(Why::TooMany("messages")));
    let tools = many(10_001, r#"{"name":"f","input_schema":{}}"#);
    assert_eq!(call("", &format!(r#","tools":[{tools}]"#)), Err(Why::TooMany("tools")));
    let stops = format!(r#","stop_sequences":[{}]"#, many(1001, "\"\""));
    assert_eq!(call("", &stops), Err(Why::TooMany("texts in `stop_sequences`")));
    let fields = |n: usize| (0..n).map(|i| format!(r#","f{i}":1"#)).collect::<String>();
    assert_eq!(call("", &fields(997)), Ok(()));
    assert_eq!(call("", &fields(998)), Err(Why::TooMany("fields")));

    let completion = |id: &str, model: &str, calls: usize| {
        let calls = many(calls, r#"{"function":{"name":"f"}}"#);
        format!(r#"{{"id":"{id}","model":"{model}","choices":[{{"message":{{"tool_calls":[{calls}]}}}}]}}"#)
    };
    let (fits, long) = ("x".repeat(256), "x".repeat(257));
    for (id, model, calls, fine) in [
        (&fits, &fits, 10_000, true),
        (&fits, &fits, 10_001, false),
        (&long, &fits, 0, false),
        (&fits, &long, 0, false),
    ] {
        let completion = completion(id, model, calls);
        assert_eq!(answer().whole(completion.as_bytes()).is_some(), fine);
        if calls == 0 || fine {
            let (mut stream, mut out) = (answer().stream(), Vec::new());
            stream.feed(format!("data: {completion}\n\n").replace("10000", "").as_bytes(), &mut out);
            assert_eq!(stream.failure(), (!fine).then_some(StreamFailure::Malformed));
        }
    }
    // So many tools are never called, and hardly any memory is kept of those that are.
    let (mut stream, mut out) = (answer().stream(), Vec::new());
    let call = |i: usize| {
        chunk(
            &json!({"tool_calls": [{"index": i, "id": format!("c{i}"), "function": {"name": "f", "arguments": "{}"}}]}),
        )
    };
    for i in 0..10_001 {
        assert_eq!(stream.failure(), None);
        stream.feed(call(i).as_bytes(), &mut out);
        out.clear();
        assert!(stream.held() < 256 << 10);
    }
    assert_eq!(stream.failure(), Some(StreamFailure::Malformed));
}

#[test]
fn whole_answers() {
    let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let completion = json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-x-1", "choices": [
        {"index": 1, "message": {"content": "not this"}},
        {"index": 0, "finish_reason": "tool_calls", "logprobs": null, "message": {"role": "assistant", "content": "I look.",
            "refusal": null, "reasoning_content": "Hm.", "annotations": [],
            "tool_calls": [call("c1", "f", "{\"a\":1}"), call("c2", "g", " ")]}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2}}});
    let whole = |completion: &Value| -> Option<Value> {
        Some(serde_json::from_slice(&answer().whole(completion.to_string().as_bytes())?).unwrap())
    };
    assert_eq!(
        whole(&completion).unwrap(),
        json!({"id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "gpt-x-1", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": ""},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "c2", "name": "g", "input": {}}],
            "stop_reason": "tool_use", "stop_sequence": null,
            "usage": {"input_tokens": 5, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3, "output_tokens": 4}})
    );
    let said = |message: Value, finish: Value| {
        let got = whole(&json!({"id": "i", "choices": [{"message": message, "finish_reason": finish}]})).unwrap();
        (got["content"].clone(), got["stop_reason"].as_str().unwrap().to_owned(), got["usage"]["input_tokens"].clone())
    };
    for (finish, expect) in [
        (json!("stop"), "end_turn"),
        (json!("length"), "max_tokens"),
        (json!("content_filter"), "refusal"),
        (json!("tool_calls"), "end_turn"),
        (json!("eos"), "end_turn"),
        (Value::Null, "end_turn"),
    ] {
        let text = json!([{"type": "text", "text": "x"}]);
        assert_eq!(said(json!({"content": "x"}), finish), (text, expect.to_owned(), json!(0)));
    }
    // A tool that had to be called: providers say that the model stopped.
    let (_, stop, _) = said(json!({"content": null, "tool_calls": [call("c", "f", "{}")]}), json!("stop"));
    assert_eq!(stop, "tool_use");
    let (content, stop, _) = said(json!({"content": null, "refusal": "No."}), json!("stop"));
    assert_eq!((content, &*stop), (json!([{"type": "text", "text": "No."}]), "refusal"));
    // Thinking, wherever it stands, and calls without an id.
    let thought = json!({"type": "thinking", "thinking": "Hm.", "signature": ""});
    let text = json!({"type": "text", "text": "Yes."});
    for message in [
        json!({"reasoning": "Hm.", "content": "Yes."}),
        json!({"reasoning": "Hm.", "reasoning_content": "Hm.", "content": "Yes."}),
        json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "H"}, {"type": "text", "text": "m."}]},
            {"type": "text", "text": "Y"}, {"type": "text", "text": "es."}, {"type": "reference", "reference_ids": [1]}]}),
    ] {
        assert_eq!(said(message.clone(), json!("stop")).0, json!([thought, text]), "{message}");
    }
    let (content, ..) = said(
        json!({"tool_calls": [{"function": {"name": "f"}}, {"id": "", "function": {"name": "g"}}]}),
        json!("stop"),
    );
    assert_eq!((&content[0]["id"], &content[1]["id"]), (&json!("call_i_0"), &json!("call_i_1")));
    for none in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"error":{"message":"x"}}"#,
        r#"{"id":"i","choices":[]}"#,
        r#"{"id":"i","choices":[{"message":{"content":7}}]}"#,
        r#"{"id":"i","choices":[{"message":{"content":"x"},"finish_reason":"error"}]}"#,
        r#"{"id":"i","choices":[{"message":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{"}}]}}]}"#,
        r#"{"id":"i","choices":[{"message":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"[]"}}]}}]}"#,
    ] {
        assert_eq!(answer().whole(none.as_bytes()), None, "{none}");
    }
    // Parts within parts count.
    for (n, fine) in [(4999, true), (5000, false)] {
        let thought = json!({"type": "thinking", "thinking": vec![json!({"type": "text", "text": "a"}); n]});
        let content = json!({"id": "i", "choices": [{"message": {"content": [thought, thought]}}]});
        assert_eq!(answer().whole(content.to_string().as_bytes()).is_some(), fine);
    }
}

#[test]
fn errors_keep_what_they_say() {
    let error =
        |status: u16, body: &str| serde_json::from_slice::<Value>(&answer().error(status, body.as_bytes())).unwrap();
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
    ] {
        let body = json!({"error": {"message": "No \"way\".", "type": "requests", "param": null, "code": "quota"}});
        assert_eq!(
            error(status, &body.to_string()),
            json!({"type": "error", "error": {"type": kind, "message": "No \"way\".", "code": "requests"}})
        );
    }
    for (body, message) in [
        (r#"{"error":"text"}"#, "text"),
        (r#"{"object":"error","message":"text","code":7}"#, "text"),
        (r#"{"detail":"text"}"#, "text"),
        (r#"{"error":{"message":"text","code":401}}"#, "text"),
        ("<html>", "The provider's answer cannot be used."),
        ("", "The provider's answer cannot be used."),
        ("{}", "The provider's answer cannot be used."),
        (r#"{"error":[]}"#, "The provider's answer cannot be used."),
    ] {
        let error = error(401, body);
        assert_eq!(error, json!({"type": "error", "error": {"type": "authentication_error", "message": message}}));
    }
}

/// A chunk with this delta.
pub(super) fn chunk(delta: &Value) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": null});
    format!("data: {}\n\n", json!({"id": "chatcmpl-1", "model": "gpt-x-1", "choices": [choice], "usage": null}))
}

pub(super) fn finished(reason: &str) -> String {
    let choice = json!({"index": 0, "delta": {}, "finish_reason": reason});
    format!("data: {}\n\n", json!({"id": "chatcmpl-1", "choices": [choice]}))
}

const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n";
pub(super) const DONE: &str = "data: [DONE]\n\n";

fn relayed(pieces: &[&[u8]]) -> String {
    let (mut stream, mut out) = (answer().stream(), Vec::new());
    pieces.iter().for_each(|piece| stream.feed(piece, &mut out));
    stream.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_stream_is_translated_as_it_comes() {
    let (mut stream, mut out) = (answer().stream(), Vec::new());
    let mut said = |text: &str| {
        out.clear();
        stream.feed(text.as_bytes(), &mut out);
        String::from_utf8(out.clone()).unwrap()
    };
    let event = |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n");
    // What Azure sends first, and what OpenRouter sends while it waits.
    assert_eq!(said("data: {\"choices\":[],\"id\":\"\",\"model\":\"\",\"prompt_filter_results\":[]}\n\n"), "");
    assert_eq!(said(": PROCESSING\n\n"), ": ping\n\n");
    let start = r#","message":{"id":"chatcmpl-1","type":"message","role":"assistant","model":"gpt-x-1","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}"#;
    assert_eq!(
        said(&chunk(&json!({"role": "assistant", "content": "", "refusal": null}))),
        event("message_start", start)
    );
    assert_eq!(said(": PROCESSING\n\n"), event("ping", ""));
    let opened =
        event("content_block_start", r#","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}"#);
    let thought = event("content_block_delta", r#","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}"#);
    assert_eq!(said(&chunk(&json!({"reasoning_content": "Hm"}))), opened + &thought);
    let text = chunk(&json!({"content": "Yes"}));
    let (a, b) = text.split_at(40);
    assert_eq!(said(a), "");
    assert_eq!(
        said(b),
        event("content_block_stop", r#","index":0"#)
            + &event("content_block_start", r#","index":1,"content_block":{"type":"text","text":""}"#)
            + &event("content_block_delta", r#","index":1,"delta":{"type":"text_delta","text":"Yes"}"#)
    );
    let call = json!({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]});
    let started = event(
        "content_block_start",
        r#","index":2,"content_block":{"type":"tool_use","id":"c","name":"f","input":{}}"#,
    );
    assert_eq!(said(&chunk(&call)), event("content_block_stop", r#","index":1"#) + &started);
    assert_eq!(
        said(&chunk(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"a"}}]}))),
        event("content_block_delta", r#","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a"}"#)
    );
    assert_eq!(said(&finished("tool_calls")), event("content_block_stop", r#","index":2"#));
    assert_eq!(said(USAGE), "");
    let usage =
        r#","usage":{"input_tokens":8,"cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":5}"#;
    assert_eq!(
        said(DONE),
        event("message_delta", &(r#","delta":{"stop_reason":"tool_use","stop_sequence":null}"#.to_owned() + usage))
            + &event("message_stop", "")
    );
    assert_eq!(said(&text), "", "after the end nothing counts");
}

/// The message that a stream of events adds up to, as the SDKs add it up.
#[track_caller]
fn gathered(stream: &str) -> Value {
    let (mut message, mut open, mut input, mut over) = (Value::Null, None, String::new(), false);
    for event in stream.split("\n\n").filter(|e| !e.is_empty() && !e.starts_with(':')) {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        assert!(!over, "{stream}");
        let at = data["index"].as_u64().map(|n| n as usize);
        match data["type"].as_str().unwrap() {
            "message_start" => {
                assert!(message.is_null());
                message = data["message"].clone();
            }
            "content_block_start" => {
                assert_eq!((open, at), (None, Some(message["content"].as_array().unwrap().len())));
                message["content"].as_array_mut().unwrap().push(data["content_block"].clone());
                (open, input) = (at, String::new());
            }
            "content_block_delta" => {
                assert_eq!(open, at);
                let (delta, block) = (&data["delta"], &mut message["content"][at.unwrap()]);
                let field = match delta["type"].as_str().unwrap() {
                    "text_delta" => "text",
                    "thinking_delta" => "thinking",
                    _ => {
                        assert_eq!((&delta["type"], &block["type"]), (&json!("input_json_delta"), &json!("tool_use")));
                        input += delta["partial_json"].as_str().unwrap();
                        continue;
                    }
                };
                block[field] = (block[field].as_str().unwrap().to_owned() + delta[field].as_str().unwrap()).into();
            }
            "content_block_stop" => {
                assert_eq!(open.take(), at);
                let block = &mut message["content"][at.unwrap()];
                if block["type"] == "tool_use" {
                    block["input"] = serde_json::from_str(&input).unwrap();
                }
            }
            "message_delta" => {
                assert_eq!(open, None);
                message.as_object_mut().unwrap().append(data["delta"].clone().as_object_mut().unwrap());
                message["usage"].as_object_mut().unwrap().append(data["usage"].clone().as_object_mut().unwrap());
            }
            "message_stop" => over = true,
            other => assert_eq!(other, "ping"),
        }
    }
    assert!(over, "{stream}");
    message
}

#[test]
fn streams_of_every_kind_of_provider() {
    let content = |parts: &[&str]| gathered(&relayed(&[parts.concat().as_bytes()]));
    let call = |index: Value, id: Value, name: Value, arguments: &str| {
        chunk(&json!({"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}))
    };
    let tool = |id: &str, name: &str, input: Value| json!({"type": "tool_use", "id": id, "name": name, "input": input});
    let expect = json!([tool("a", "f", json!({"x": 1})), tool("b", "g", json!({}))]);
    let none = Value::Null;
    for stream in [
        // As OpenAI does it.
        vec![
            call(json!(0), json!("a"), json!("f"), ""),
            call(json!(0), none.clone(), none.clone(), "{\"x\":"),
            call(json!(0), none.clone(), none.clone(), "1}"),
            call(json!(1), json!("b"), json!("g"), ""),
        ],
        // Id and name again in each part; all in the same place; without places.
        vec![
            call(json!(0), json!("a"), json!("f"), "{\"x\":"),
            call(json!(0), json!("a"), json!("f"), "1}"),
            call(json!(1), json!("b"), json!("g"), "{}"),
        ],
        vec![call(json!(0), json!("a"), json!("f"), "{\"x\":1}"), call(json!(0), json!("b"), json!("g"), "{}")],
        vec![
            call(none.clone(), json!("a"), json!("f"), "{\"x\":"),
            call(none.clone(), none.clone(), none.clone(), "1}"),
            call(none.clone(), json!("b"), json!("g"), "{}"),
        ],
        // Nothing more of what is over.
        vec![
            call(json!(0), json!("a"), json!("f"), "{\"x\":1}"),
            call(json!(1), json!("b"), json!("g"), "{}"),
            call(json!(0), none.clone(), none.clone(), ""),
        ],
        // By turns, by place and by id; both named before either is filled.
        vec![
            call(json!(0), json!("a"), json!("f"), "{\"x\""),
            call(json!(1), json!("b"), json!("g"), "{"),
            call(json!(0), none.clone(), none.clone(), ":"),
            call(json!(1), none.clone(), none.clone(), "}"),
            call(json!(0), none.clone(), none.clone(), "1}"),
        ],
        vec![
            call(none.clone(), json!("a"), json!("f"), "{\"x\":"),
            call(none.clone(), json!("b"), json!("g"), "{"),
            call(none.clone(), json!("a"), json!("f"), "1}"),
            call(none.clone(), json!("b"), json!("g"), "}"),
        ],
        vec![
            chunk(&json!({"tool_calls": [
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}},
                {"index": 1, "id": "b", "function": {"name": "g", "arguments": ""}},
            ]})),
            call(json!(1), none.clone(), none.clone(), "{}"),
            call(json!(0), none.clone(), none.clone(), "{\"x\":1}"),
        ],
    ] {
        let got = content(&[&stream.concat(), &finished("stop"), DONE]);
        assert_eq!((&got["content"], &got["stop_reason"]), (&expect, &json!("tool_use")));
    }
    // Nothing but a stop at the end, or nothing but the end.
    for end in [finished("length"), finished("length") + DONE] {
        let got = content(&[&chunk(&json!({"content": "x"})), &end]);
        assert_eq!((&got["stop_reason"], &got["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(0)));
    }
    assert_eq!(content(&[&chunk(&json!({"content": "x"})), DONE])["stop_reason"], "end_turn");
    let got =
        content(&[&chunk(&json!({"refusal": "N"})), &chunk(&json!({"refusal": "o."})), &finished("stop"), USAGE, DONE]);
    assert_eq!((&got["content"], &got["stop_reason"]), (&json!([{"type": "text", "text": "No."}]), &json!("refusal")));
    // Usage in each event, and Groq's of its own.
    let each = |n: u64| {
        format!(
            "data: {}\n\n",
            json!({"id": "i", "choices": [{"delta": {"content": "x"}}], "usage": {"prompt_tokens": 3, "completion_tokens": n}})
        )
    };
    let got = content(&[&each(1), &each(2), &finished("stop"), DONE]);
    assert_eq!((&got["usage"]["input_tokens"], &got["usage"]["output_tokens"]), (&json!(3), &json!(2)));
    let groq = format!(
        "data: {}\n\n",
        json!({"choices": [{"delta": {}, "finish_reason": "stop"}], "x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 7}}})
    );
    assert_eq!(content(&[&chunk(&json!({"content": "x"})), &groq, DONE])["usage"]["output_tokens"], 7);
    let parts = json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "Yes"}]});
    assert_eq!(content(&[&chunk(&parts), DONE])["content"].as_array().unwrap().len(), 2);
}

#[test]
fn calls_that_come_by_turns_are_told_one_after_the_other_as_soon_as_they_can_be() {
    let (mut stream, mut out) = (answer().stream(), Vec::new());
    let mut told = |index: u64, id: &str, arguments: &str| {
        let mut call = json!({"index": index, "function": {"arguments": arguments}});
        if !id.is_empty() {
            (call["id"], call["function"]["name"]) = (json!(id), json!("f"));
        }
        stream.feed(chunk(&json!({"tool_calls": [call]})).as_bytes(), &mut out);
        let said = String::from_utf8(std::mem::take(&mut out)).unwrap();
        let data = said.lines().filter_map(|line| line.strip_prefix("data: "));
        let data = data.map(|data| serde_json::from_str::<Value>(data).unwrap());
        let words: Vec<_> = data
            .filter_map(|event| match event["type"].as_str().unwrap() {
                "content_block_start" => event["content_block"]["id"].as_str().map(str::to_owned),
                "content_block_delta" => event["delta"]["partial_json"].as_str().map(str::to_owned),
                _ => None,
            })
            .collect();
        (words.join(" "), stream.held())
    };
    assert_eq!(told(0, "a", r#"{"x":"#).0, r#"a {"x":"#);
    let before = told(1, "b", "").1;
    // What waits is charged to the stream.
    let (said, held) = told(1, "", &format!(r#"{{"long":"{}"#, "y".repeat(5000)));
    assert_eq!((said.as_str(), held > before + 5000), ("", true), "{before} {held}");
    // A text that looks like the end is none.
    assert_eq!(told(0, "", r#""}\"}"#).0, r#""}\"}"#);
    assert_eq!(told(1, "", "z").0, "");
    let (said, held) = told(0, "", "\"}");
    assert!(said.starts_with("\"} b {\"long\":\"yyy") && said.ends_with("yz"), "{said}");
    assert!(held < before + 1000, "{before} {held}");
    // And live from then on, as is the next, for which this one is whole.
    assert_eq!(told(1, "", "\"}").0, "\"}");
    assert_eq!(told(2, "c", "{").0, "c {");
}

#[test]
fn streams_that_do_not_end_well_end_with_an_error() {
    use StreamFailure::{Malformed, Truncated};
    let ends_in_error = |sent: &str, message: &str, kind: &str, failure: Option<StreamFailure>| {
        let (mut stream, mut out) = (answer().stream(), Vec::new());
        stream.feed(sent.as_bytes(), &mut out);
        stream.finish(&mut out);
        let got = String::from_utf8(out).unwrap();
        assert_eq!(stream.failure(), failure, "{sent}");
        let last = got.strip_suffix("\n\n").unwrap().rsplit("\n\n").next().unwrap();
        let last: Value = serde_json::from_str(last.strip_prefix("event: error\ndata: ").unwrap()).unwrap();
        assert_eq!((&last["type"], &last["error"]["type"]), (&json!("error"), &json!(kind)), "{got}");
        assert_eq!(last["error"]["message"], message, "{got}");
        assert!(!got.contains("message_stop") && !got.contains("message_delta"), "{got}");
    };
    const UNUSABLE: &str = "The provider's answer cannot be used.";
    let begun = chunk(&json!({"content": "hello"}));
    ends_in_error(&begun, UNUSABLE, "api_error", Some(Truncated));
    ends_in_error(&(begun.clone() + "data: {\"cho"), UNUSABLE, "api_error", Some(Truncated));
    ends_in_error("", UNUSABLE, "api_error", Some(Truncated));
    ends_in_error("data: <html>\n\n", UNUSABLE, "api_error", Some(Malformed));
    ends_in_error(DONE, UNUSABLE, "api_error", Some(Malformed));
    ends_in_error("data: {\"choices\":7}\n\n", UNUSABLE, "api_error", Some(Malformed));
    ends_in_error(&(begun.clone() + &finished("error")), UNUSABLE, "api_error", Some(Malformed));
    // More of a call that was whole when another began cannot be said any more.
    let call = |i: u64, id: &str, more: &str| {
        chunk(&json!({"tool_calls": [{"index": i, "id": id, "function": {"name": "f", "arguments": more}}]}))
    };
    let late = chunk(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}));
    ends_in_error(&(call(0, "a", "{}") + &call(1, "b", "{") + &late), UNUSABLE, "api_error", Some(Malformed));
    ends_in_error(
        &(call(0, "a", "{}") + &call(1, "b", "{") + &call(0, "a", "}")),
        UNUSABLE,
        "api_error",
        Some(Malformed),
    );
    // Nor are more calls kept than come at the same time, or more of them than an event may be.
    let many: String = (0..=1000).map(|i| call(i, &format!("c{i}"), "{")).collect();
    ends_in_error(&many, UNUSABLE, "api_error", Some(Malformed));
    let long = call(1, "b", &"x".repeat(1 << 20));
    ends_in_error(&(call(0, "a", "{") + &long.repeat(5)), UNUSABLE, "api_error", Some(Malformed));
    // What the provider says itself is passed on.
    for (error, kind) in [
        (json!({"message": "Told", "type": "x", "code": 429}), "rate_limit_error"),
        (json!({"message": "Told", "code": "x"}), "api_error"),
        (json!({"message": "Told", "code": 200}), "api_error"),
        (json!("Told"), "api_error"),
    ] {
        let told =
            format!("data: {}\n\n", json!({"error": error, "choices": [{"delta": {}, "finish_reason": "error"}]}));
        ends_in_error(&(begun.clone() + &told), "Told", kind, None);
    }
    // A stop is not the end of a stream that was cut off.
    let (mut stream, mut out) = (answer().stream(), Vec::new());
    stream.feed((begun.clone() + &finished("stop")).as_bytes(), &mut out);
    stream.cut(&mut out);
    assert_eq!(stream.failure(), Some(Truncated));
    assert!(!String::from_utf8(out).unwrap().contains("message_stop"));
    // Larger than an event may be: an error, and no memory kept.
    let (mut stream, mut out) = (answer().stream(), Vec::new());
    stream.feed(b"data: {\"x\":\"", &mut out);
    for _ in 0..6 {
        stream.feed(&vec![b'x'; 1 << 20], &mut out);
        assert!(stream.held() < 9 << 20);
    }
    assert!(String::from_utf8(out).unwrap().starts_with("event: error\n"));
    assert!(stream.held() < 1 << 20);
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z \"\\\\\n]{1,12}", "\\PC{1,6}"]
}

fn tool_calls() -> impl Strategy<Value = Vec<Value>> {
    let call =
        ("[a-z0-9]{1,6}", texts(), any::<i64>()).prop_map(|(name, text, n)| (name, json!({"b": text, "a": [n]})));
    prop::collection::vec(prop_oneof![3 => call, 1 => Just(("g".to_owned(), json!({})))], 0..4).prop_map(|calls| {
        let call = |(i, (name, input)): (usize, (String, Value))| {
            let function = json!({"name": name, "arguments": input.to_string()});
            json!({"id": format!("c{i}"), "type": "function", "function": function})
        };
        calls.into_iter().enumerate().map(call).collect()
    })
}

/// A message of the assistant's, which says something.
fn assistant(thinks: bool) -> impl Strategy<Value = Value> {
    let thinking = prop::option::of(texts()).prop_map(move |text| text.filter(|_| thinks));
    let said = (prop::option::of(texts()), thinking, tool_calls());
    said.prop_map(|(text, thinking, calls)| {
        let mut message = json!({"role": "assistant", "content": text});
        if text.is_none() && calls.is_empty() {
            message["content"] = "x".into();
        }
        if let Some(thinking) = thinking {
            message["reasoning_content"] = thinking.into();
        }
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        message
    })
}

/// A chat in the form in which it comes back: one message for neighbours, one text as a text.
pub(super) fn chats() -> impl Strategy<Value = Value> {
    let parts = prop_oneof![
        2 => texts().prop_map(|text| json!({"type": "text", "text": text})),
        1 => Just(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}})),
        1 => Just(json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})),
        1 => Just(json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,BB"}})),
    ];
    let content = prop_oneof![texts().prop_map(Value::from), prop::collection::vec(parts, 2..4).prop_map(Value::from)];
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "description": "d", "parameters": {"type": "object"}}});
    let fields = (
        prop::option::of(texts()),
        prop::option::of(1..100_000u64),
        prop::option::of(prop::sample::select(vec![0.0, 0.5, 1.0])),
        prop::sample::subsequence(vec!["low", "medium", "high"], 0..=1),
        prop::sample::subsequence(
            vec![
                json!("auto"),
                json!("required"),
                json!("none"),
                json!({"type": "function", "function": {"name": "f"}}),
            ],
            0..=1,
        ),
        (any::<bool>(), any::<bool>(), any::<bool>()),
    );
    (prop::collection::vec((content, assistant(false)), 0..4), "[a-z]{1,5}", fields).prop_map(move |(turns, last, fields)| {
        let (system, limit, temperature, effort, choice, (stop, schema, one)) = fields;
        let mut messages: Vec<Value> = system.into_iter().map(|text| json!({"role": "system", "content": text})).collect();
        for (content, said) in turns {
            messages.push(json!({"role": "user", "content": content}));
            let calls = said["tool_calls"].as_array().cloned().unwrap_or_default();
            messages.push(said);
            let result = |call: &Value| json!({"role": "tool", "tool_call_id": call["id"], "content": "done"});
            messages.extend(calls.iter().map(result));
        }
        messages.push(json!({"role": "user", "content": last}));
        let mut chat = json!({"model": "gpt-x", "messages": messages, "max_completion_tokens": limit.unwrap_or(40_000), "user": "u"});
        if let Some(temperature) = temperature.filter(|_| effort.is_empty()) {
            chat["temperature"] = temperature.into();
        }
        if stop {
            chat["stop"] = json!(["END"]);
        }
        if schema {
            chat["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": {"type": "object"}}});
        }
        if let Some(choice) = choice.first() {
            chat["tools"] = json!([tool("f"), tool("g")]);
            chat["tool_choice"] = choice.clone();
            if one && *choice != "none" {
                chat["parallel_tool_calls"] = false.into();
            }
        }
        if let Some(effort) = effort.first() {
            chat["reasoning_effort"] = (*effort).into();
        }
        chat
    })
}

/// A whole answer of one choice.
pub(super) fn completions() -> impl Strategy<Value = Value> {
    let stops = prop::sample::select(vec!["stop", "length", "content_filter"]);
    (assistant(true), stops, 0..1000u64, 0..1000u64, 0..9u64).prop_map(|(mut message, stop, input, output, cached)| {
        message["refusal"] = Value::Null;
        let called = message["tool_calls"].is_array() && stop == "stop";
        json!({"id": "chatcmpl-1", "object": "chat.completion", "created": AT.secs(), "model": "gpt-x-1",
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": if called { "tool_calls" } else { stop }}],
            "usage": {"prompt_tokens": input + cached, "completion_tokens": output, "total_tokens": input + cached + output,
                "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0}}})
    })
}

/// The stream of a completion, its texts and arguments in pieces of this many characters.
pub(super) fn streamed(completion: &Value, piece: usize) -> String {
    let (choice, message) = (&completion["choices"][0], &completion["choices"][0]["message"]);
    let pieces = |text: &str| -> Vec<String> {
        text.chars().collect::<Vec<_>>().chunks(piece).map(|part| part.iter().collect()).collect()
    };
    let mut out = chunk(&json!({"role": "assistant", "content": ""}));
    for field in ["reasoning_content", "content"] {
        for part in pieces(message[field].as_str().unwrap_or_default()) {
            out += &chunk(&json!({field: part}));
        }
    }
    for (i, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
        let (mut start, mut arguments) = (call.clone(), pieces(call["function"]["arguments"].as_str().unwrap()));
        start["index"] = i.into();
        start["function"]["arguments"] = "".into();
        if arguments == ["{}"] {
            arguments.clear(); // as some send it
        }
        out += &chunk(&json!({"tool_calls": [start]}));
        for part in arguments {
            out += &chunk(&json!({"tool_calls": [{"index": i, "function": {"arguments": part}}]}));
        }
    }
    out += &finished(choice["finish_reason"].as_str().unwrap());
    out + &format!("data: {}\n\n", json!({"choices": [], "usage": completion["usage"]})) + DONE
}

proptest! {
    #[test]
    fn a_chat_said_in_messages_and_back_is_the_same(chat in chats()) {
        let there = to_messages(&chat).unwrap();
        let mut back = translated(&there).unwrap();
        let mut expect = chat;
        // What a budget for thinking is when there is room for it.
        if there.get("thinking").is_none() {
            expect.as_object_mut().unwrap().remove("reasoning_effort");
        } else {
            let effort = |budget: u64| if budget >= 16_384 { "high" } else if budget >= 8192 { "medium" } else { "low" };
            expect["reasoning_effort"] = effort(there["thinking"]["budget_tokens"].as_u64().unwrap()).into();
        }
        for message in expect["messages"].as_array_mut().unwrap().iter_mut().chain(back["messages"].as_array_mut().unwrap()) {
            for call in message["tool_calls"].as_array_mut().into_iter().flatten() {
                let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
                call["function"]["arguments"] = arguments;
            }
            message.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        }
        prop_assert_eq!(back, expect);
    }

    #[test]
    fn an_answer_said_in_messages_and_back_is_the_same(completion in completions()) {
        let there = answer().whole(completion.to_string().as_bytes()).unwrap();
        let mut back: Value = serde_json::from_slice(&chat_answer().whole(&there).unwrap()).unwrap();
        let mut expect = completion;
        for answer in [&mut back, &mut expect] {
            for call in answer["choices"][0]["message"]["tool_calls"].as_array_mut().into_iter().flatten() {
                let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
                call["function"]["arguments"] = arguments;
            }
        }
        prop_assert_eq!(back, expect);
    }

    #[test]
    fn a_stream_adds_up_to_the_whole_answer(
        completion in completions(), piece in 1..9usize, mut cuts in prop::collection::vec(any::<usize>(), 0..10)
    ) {
        let whole = answer().whole(completion.to_string().as_bytes()).unwrap();
        let stream = streamed(&completion, piece);
        let bytes = stream.as_bytes();
        let at_once = relayed(&[bytes]);
        prop_assert_eq!(gathered(&at_once), serde_json::from_slice::<Value>(&whole).unwrap());
        cuts.iter_mut().for_each(|c| *c %= bytes.len() + 1);
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        prop_assert_eq!(&relayed(&pieces), &at_once);
        prop_assert_eq!(&relayed(&bytes.chunks(1).collect::<Vec<_>>()), &at_once);
        // And back into a chat: the same words.
        let (mut stream, mut out) = (chat_answer().stream(), Vec::new());
        stream.feed(at_once.as_bytes(), &mut out);
        stream.finish(&mut out);
        prop_assert_eq!(stream.failure(), None);
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[\\[\\]{}\",:a-z0-9 ]{0,60}") {
        for body in [&bytes[..], text.as_bytes()] {
            let _ = request(body);
            answer().whole(body);
            answer().error(500, body);
            relayed(&body.chunks(7).collect::<Vec<_>>());
            relayed(&[b"data: ", body, b"\n\n"]);
        }
    }
}
