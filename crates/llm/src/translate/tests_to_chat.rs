//! Callers of Messages in front of a provider of Chat Completions, and both ways one after the other.
#![allow(clippy::unwrap_used)]

mod both_ways;
mod streams;

use super::{StreamFailure, To, Translation, Untranslatable, Why, tests_chats::chunk};
use crate::provider::{Dialect, LimitField};
use credentialflow_model::Timestamp;
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
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": false, "schema": schema}}}),
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
        json!({"tools": [{"type": "function", "function": {"name": "g", "parameters": {}}}]}),
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
            json!({"type": "error", "error": {"type": kind, "message": "No \"way\".", "code": "quota"}})
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
