//! Responses: its callers in front of providers of Chat Completions and of Messages, callers of those in front of a
//! provider that speaks nothing else, and both ways one after the other.
#![allow(clippy::unwrap_used)]

use super::{
    StreamFailure, To, Translation, Untranslatable, Why,
    tests_to_chat::{DONE, chats, chunk, completions, finished, streamed},
};
use crate::{
    gemini::request::Frames,
    provider::{Dialect, LimitField},
};
use credentialflow_model::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

const AT: Timestamp = Timestamp::from_secs(1_790_000_000);

fn to(dialect: Dialect) -> To<'static> {
    To { limit: LimitField::MaxCompletionTokens, ask_usage: true, ..To::new(dialect, "other") }
}

fn request(call: &[u8], from: Dialect, into: Dialect) -> Result<(Vec<u8>, Translation), Untranslatable> {
    super::request(call, from, &to(into), AT)
}

fn translated(call: &Value, from: Dialect, into: Dialect) -> Result<Value, Untranslatable> {
    Ok(serde_json::from_slice(&request(call.to_string().as_bytes(), from, into)?.0).unwrap())
}

fn with(mut call: Value, fields: &Value) -> Value {
    call.as_object_mut().unwrap().append(fields.clone().as_object_mut().unwrap());
    call
}

/// How the answers of a provider come to callers.
fn answer(from: Dialect, into: Dialect) -> Translation {
    let call: &[u8] = match into {
        Dialect::Gemini => {
            let call = br#"{"contents":[]}"#;
            return super::gemini_request(call, Some(Frames::Events), &to(from), AT).unwrap().1;
        }
        Dialect::Responses => br#"{"model":"m","stream":true,"input":"x"}"#,
        Dialect::OpenAi => br#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#,
        Dialect::Anthropic => br#"{"model":"m","stream":true,"max_tokens":1,"messages":[]}"#,
        Dialect::Bedrock | Dialect::Replicate => unreachable!("nobody calls in it"),
    };
    request(call, into, from).unwrap().1
}

fn whole(answer: &Translation, body: &Value) -> Value {
    serde_json::from_slice(&answer.whole(body.to_string().as_bytes()).unwrap()).unwrap()
}

fn relayed(answer: &Translation, pieces: &[&[u8]]) -> (String, Option<StreamFailure>) {
    let (mut stream, mut out) = (answer.clone().stream(), Vec::new());
    pieces.iter().for_each(|piece| stream.feed(piece, &mut out));
    stream.finish(&mut out);
    (String::from_utf8(out).unwrap(), stream.failure())
}

/// The events of a stream of Responses: each is named as its type says, and they are numbered.
#[track_caller]
fn events(stream: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for event in stream.split_terminator("\n\n").filter(|event| !event.starts_with(':')) {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        assert_eq!(data["sequence_number"], all.len());
        all.push(data);
    }
    all
}

/// The output that the events add up to, by their pieces alone. Every event that repeats them is held to them.
#[track_caller]
fn gathered(events: &[Value]) -> Vec<Value> {
    let mut items: Vec<Value> = Vec::new();
    let append = |to: &mut Value, more: &Value| *to = (to.as_str().unwrap().to_owned() + more.as_str().unwrap()).into();
    for event in events {
        let at = event["output_index"].as_u64().unwrap_or(0) as usize;
        if let Some(id) = event.get("item_id") {
            assert_eq!(*id, items[at]["id"]);
        }
        match event["type"].as_str().unwrap() {
            "response.output_item.added" => {
                assert_eq!(at, items.len());
                items.push(event["item"].clone());
            }
            "response.content_part.added" => items[at]["content"] = json!([event["part"]]),
            "response.reasoning_summary_part.added" => items[at]["summary"] = json!([event["part"]]),
            "response.output_text.delta" => append(&mut items[at]["content"][0]["text"], &event["delta"]),
            "response.reasoning_summary_text.delta" => append(&mut items[at]["summary"][0]["text"], &event["delta"]),
            "response.function_call_arguments.delta" => append(&mut items[at]["arguments"], &event["delta"]),
            "response.output_text.done" => assert_eq!(event["text"], items[at]["content"][0]["text"]),
            "response.content_part.done" => assert_eq!(event["part"], items[at]["content"][0]),
            "response.reasoning_summary_text.done" => assert_eq!(event["text"], items[at]["summary"][0]["text"]),
            "response.reasoning_summary_part.done" => assert_eq!(event["part"], items[at]["summary"][0]),
            "response.function_call_arguments.done" => assert_eq!(event["arguments"], items[at]["arguments"]),
            "response.output_item.done" => {
                if items[at].get("status").is_some() {
                    items[at]["status"] = event["item"]["status"].clone();
                }
                assert_eq!(event["item"], items[at]);
            }
            _ => {}
        }
    }
    items
}

/// A call of one message and these fields becomes a chat and a message request with these.
#[track_caller]
fn becomes(fields: Value, chat: Value, message: Value) {
    let call = with(json!({"model": "m", "input": "hi"}), &fields);
    let said = json!([{"role": "user", "content": "hi"}]);
    let expect = with(json!({"model": "other", "messages": said}), &chat);
    assert_eq!(translated(&call, Dialect::Responses, Dialect::OpenAi), Ok(expect), "{fields}");
    let said = json!([{"role": "user", "content": [{"type": "text", "text": "hi"}]}]);
    let expect = with(json!({"model": "other", "max_tokens": 4096, "messages": said}), &message);
    assert_eq!(translated(&call, Dialect::Responses, Dialect::Anthropic), Ok(expect), "{fields}");
}

#[test]
fn fields_and_their_counterparts() {
    let asks = json!({"stream": true, "stream_options": {"include_usage": true}});
    becomes(json!({}), json!({}), json!({}));
    becomes(json!({"stream": true, "stream_options": {"include_obfuscation": false}}), asks, json!({"stream": true}));
    becomes(json!({"max_output_tokens": 7}), json!({"max_completion_tokens": 7}), json!({"max_tokens": 7}));
    becomes(json!({"temperature": 1.5}), json!({"temperature": 1.5}), json!({"temperature": 1}));
    becomes(json!({"top_p": 0.5}), json!({"top_p": 0.5}), json!({"top_p": 0.5}));
    becomes(json!({"user": "u"}), json!({"user": "u"}), json!({"metadata": {"user_id": "u"}}));
    becomes(
        json!({"safety_identifier": "s", "user": "u"}),
        json!({"user": "s"}),
        json!({"metadata": {"user_id": "s"}}),
    );
    let schema = json!({"type": "object"});
    becomes(
        json!({"text": {"format": {"type": "json_schema", "name": "n", "description": "d", "strict": true, "schema": schema}, "verbosity": "low"}}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "strict": true, "schema": schema}}}),
        json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
    );
    becomes(json!({"text": {"format": {"type": "text"}}}), json!({}), json!({}));
    becomes(
        json!({"reasoning": {"effort": "minimal", "summary": "auto"}}),
        json!({"reasoning_effort": "minimal"}),
        json!({"max_tokens": 5120, "thinking": {"type": "enabled", "budget_tokens": 1024}}),
    );
    becomes(json!({"reasoning": {"effort": null}}), json!({}), json!({}));
    let tool = json!({"type": "function", "name": "f", "description": "d", "parameters": schema, "strict": true});
    let function = json!({"name": "f", "description": "d", "parameters": schema, "strict": true});
    let chat_tools = json!([{"type": "function", "function": function}]);
    let messages_tools = json!([{"name": "f", "description": "d", "input_schema": schema, "strict": true}]);
    for (choice, chat, message) in [
        (json!("auto"), json!("auto"), json!({"type": "auto", "disable_parallel_tool_use": true})),
        (json!("required"), json!("required"), json!({"type": "any", "disable_parallel_tool_use": true})),
        (json!("none"), json!("none"), json!({"type": "none"})),
        (
            json!({"type": "function", "name": "f"}),
            json!({"type": "function", "function": {"name": "f"}}),
            json!({"type": "tool", "name": "f", "disable_parallel_tool_use": true}),
        ),
    ] {
        becomes(
            json!({"tools": [tool], "tool_choice": choice, "parallel_tool_calls": false}),
            json!({"tools": chat_tools, "tool_choice": chat, "parallel_tool_calls": false}),
            json!({"tools": messages_tools, "tool_choice": message}),
        );
    }
    // Left out, and what asks for nothing.
    becomes(
        json!({"metadata": {"a": "b"}, "include": ["reasoning.encrypted_content"], "service_tier": "auto", "store": false,
            "truncation": "auto", "max_tool_calls": 3, "prompt_cache_key": "k", "background": false, "top_logprobs": 0,
            "previous_response_id": null, "conversation": null, "prompt": null, "tools": null, "instructions": null}),
        json!({}),
        json!({}),
    );
    // Fields that nobody here knows pass as they are.
    becomes(json!({"top_k": 5}), json!({"top_k": 5}), json!({"top_k": 5}));
    let json_object = json!({"model": "m", "input": "hi", "text": {"format": {"type": "json_object"}}});
    let chat = translated(&json_object, Dialect::Responses, Dialect::OpenAi).unwrap();
    assert_eq!(chat["response_format"], json!({"type": "json_object"}));
    assert!(translated(&json_object, Dialect::Responses, Dialect::Anthropic).is_err());
}

#[test]
fn a_whole_conversation() {
    let call = json!({"model": "m", "instructions": "Be brief.", "input": [
        {"role": "developer", "content": "And kind."},
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
            {"type": "input_image", "image_url": "https://example.com/a.png"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB"},
        ]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "xyz"},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "I look.", "annotations": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": "{\"b\":1,\"a\":2}"},
        {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": ""},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "rain"}]},
        {"role": "user", "content": "Thanks!"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": "Why?"},
    ]});
    let function = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": arguments}});
    let chat = translated(&call, Dialect::Responses, Dialect::OpenAi).unwrap();
    let text = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(
        chat["messages"],
        json!([
            {"role": "system", "content": [text("Be brief."), text("And kind.")]},
            {"role": "user", "content": [
                text("What is this?"),
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB"}},
            ]},
            {"role": "assistant", "content": "I look.",
                "tool_calls": [function("c1", "{\"b\":1,\"a\":2}"), function("c2", "{}")]},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "c2", "content": "rain"},
            {"role": "user", "content": "Thanks!"},
            {"role": "assistant", "content": "No."},
            {"role": "user", "content": "Why?"},
        ])
    );
    let message = translated(&call, Dialect::Responses, Dialect::Anthropic).unwrap();
    assert_eq!(message["system"], json!([text("Be brief."), text("And kind.")]));
    assert_eq!(
        message["messages"][1]["content"],
        json!([
            text("I look."),
            {"type": "tool_use", "id": "c1", "name": "weather", "input": {"b": 1, "a": 2}},
            {"type": "tool_use", "id": "c2", "name": "weather", "input": {}},
        ])
    );
    assert_eq!(message["messages"][2]["content"][0]["content"], json!([text("sunny")]));
    // A file from the web is said in Messages alone.
    let file = json!({"model": "m", "input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://example.com/a.pdf"}]}]});
    let message = translated(&file, Dialect::Responses, Dialect::Anthropic).unwrap();
    let source = json!({"type": "url", "url": "https://example.com/a.pdf"});
    assert_eq!(message["messages"][0]["content"], json!([{"type": "document", "source": source}]));
    assert!(translated(&file, Dialect::Responses, Dialect::OpenAi).is_err());
}

#[test]
fn what_cannot_be_said_is_refused_and_nothing_of_it_is_shown() {
    let refused = |fields: Value, says: &str| {
        let call = with(json!({"model": "m", "input": "hi"}), &fields);
        for into in [Dialect::OpenAi, Dialect::Anthropic] {
            let why = translated(&call, Dialect::Responses, into).unwrap_err().to_string();
            assert!(why.contains(says) && !why.contains("s3cret"), "{fields}: {why}");
        }
    };
    let item = |item: Value| json!({"input": [item, {"role": "user", "content": "x"}]});
    let part = |part: Value| item(json!({"role": "user", "content": [part]}));
    for fields in [
        json!({"previous_response_id": "s3cret"}),
        json!({"conversation": "s3cret"}),
        json!({"prompt": {"id": "s3cret"}}),
        json!({"background": true}),
        json!({"store": true}),
        json!({"moderation": {"a": "s3cret"}}),
        json!({"tools": [{"type": "web_search"}]}),
        json!({"tools": [{"type": "mcp", "server_label": "s3cret", "server_url": "s3cret"}]}),
        json!({"tools": [{"type": "custom", "name": "s3cret"}]}),
        json!({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}),
        json!({"tool_choice": {"type": "file_search"}}),
        item(json!({"type": "item_reference", "id": "s3cret"})),
        item(json!({"type": "web_search_call", "id": "s3cret"})),
        item(json!({"type": "tool_search_call", "arguments": {"q": "s3cret"}, "call_id": 7})),
        item(json!({"type": "compaction", "encrypted_content": "s3cret"})),
        part(json!({"type": "input_image", "file_id": "s3cret"})),
        part(json!({"type": "input_file", "file_id": "s3cret"})),
        part(json!({"type": "input_audio", "input_audio": {}})),
    ] {
        refused(fields, "no counterpart");
    }
    refused(item(json!({"type": "item_reference", "id": "s3cret"})), "store: false");
    for fields in [
        json!({"input": null}),
        json!({"input": 7}),
        json!({"input": ["s3cret"]}),
        json!({"instructions": ["s3cret"]}),
        json!({"max_output_tokens": "s3cret"}),
        json!({"text": "s3cret"}),
        json!({"text": {"format": {"type": "s3cret"}}}),
        json!({"text": {"format": {"type": "json_schema"}}}),
        json!({"reasoning": {"effort": "s3cret"}}),
        json!({"tools": [{"type": "function"}]}),
        json!({"messages": "s3cret"}),
        json!({"max_tokens": 5}),
        item(json!({"role": "s3cret", "content": "x"})),
        item(json!({"role": "user"})),
        item(json!({"content": "x"})),
        item(json!({"type": "function_call", "name": "f", "arguments": "{}"})),
        item(json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "s3cret"})),
        item(json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "[1]"})),
        item(json!({"type": "function_call_output", "output": "x"})),
        part(json!({"type": "input_image", "image_url": "file:///s3cret"})),
        part(json!({"type": "input_file", "file_data": "s3cret"})),
    ] {
        refused(fields, "not what the Responses API describes");
    }
    let twice = br#"{"model":"m","input":"x","temperature":1,"temp\u0065rature":0}"#;
    assert_eq!(request(twice, Dialect::Responses, Dialect::OpenAi).unwrap_err().why, Why::Duplicate);
}

#[test]
fn more_than_there_is_memory_for_is_refused() {
    let many = |n: usize, one: &str| vec![one; n].join(",");
    let call = |body: String| request(body.as_bytes(), Dialect::Responses, Dialect::OpenAi).map_err(|e| e.why).err();
    let item = r#"{"role":"user","content":"x"}"#;
    assert_eq!(call(format!(r#"{{"model":"m","input":[{}]}}"#, many(100_000, item))), None);
    assert_eq!(call(format!(r#"{{"model":"m","input":[{}]}}"#, many(100_001, item))), Some(Why::TooMany("items")));
    let part = r#"{"type":""}"#;
    let parts = format!(r#"{{"model":"m","input":[{{"role":"user","content":[{}]}}]}}"#, many(100_001, part));
    assert_eq!(call(parts), Some(Why::TooMany("parts of items")));
    let tools = format!(r#"{{"model":"m","input":"x","tools":[{}]}}"#, many(10_001, r#"{"type":""}"#));
    assert_eq!(call(tools), Some(Why::TooMany("tools")));
    let fields: String = (0..1001).map(|i| format!(r#","f{i}":1"#)).collect();
    assert_eq!(call(format!(r#"{{"model":"m","input":"x"{fields}}}"#)), Some(Why::TooMany("fields")));
}

#[test]
fn calls_for_a_provider_that_speaks_only_responses() {
    let said = json!([{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]);
    let from_chat = |fields: Value, expect: Value| {
        let chat = with(json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}), &fields);
        let expect = with(json!({"model": "other", "input": said, "store": false}), &expect);
        assert_eq!(translated(&chat, Dialect::OpenAi, Dialect::Responses), Ok(expect), "{fields}");
    };
    from_chat(json!({}), json!({}));
    from_chat(json!({"stream": true, "max_tokens": 7}), json!({"stream": true, "max_output_tokens": 7}));
    from_chat(json!({"temperature": 0.5, "top_p": 0.5}), json!({"temperature": 0.5, "top_p": 0.5}));
    let include = json!(["reasoning.encrypted_content"]);
    from_chat(json!({"reasoning_effort": "xhigh"}), json!({"reasoning": {"effort": "xhigh"}, "include": include}));
    let more = json!({"metadata": {"a": "b"}, "store": true, "service_tier": "flex", "prompt_cache_key": "k"});
    from_chat(more.clone(), more);
    from_chat(json!({"user": "u", "seed": 1}), json!({"user": "u"}));
    from_chat(
        json!({"response_format": {"type": "json_object"}, "verbosity": "low"}),
        json!({"text": {"format": {"type": "json_object"}, "verbosity": "low"}}),
    );
    from_chat(
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}}),
        json!({"text": {"format": {"type": "json_schema", "name": "n", "strict": false, "schema": {"type": "object"}}}}),
    );
    from_chat(
        json!({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false}),
        json!({"tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": false}],
            "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": false}),
    );
    from_chat(
        json!({"reasoning": {"summary": "auto"}, "reasoning_effort": "low"}),
        json!({"reasoning": {"summary": "auto"}, "include": include}),
    );
    for fields in [
        json!({"stop": ["x"]}),
        json!({"input": "s3cret"}),
        json!({"previous_response_id": "s3cret"}),
        json!({"background": true}),
        json!({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}),
    ] {
        let chat = with(json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}), &fields);
        let why = translated(&chat, Dialect::OpenAi, Dialect::Responses).unwrap_err().to_string();
        assert!(!why.contains("s3cret"), "{why}");
    }
    let message = json!({"model": "m", "max_tokens": 9, "system": "Be brief.", "thinking": {"type": "enabled", "budget_tokens": 9000},
    "output_config": {"format": {"type": "json_schema", "schema": {}}}, "messages": [
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}]},
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}, {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}, {"type": "tool_use", "id": "t2", "name": "f", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "s"}, {"type": "image", "source": {"type": "url", "url": "https://e.com/a"}}]},
            {"type": "tool_result", "tool_use_id": "t2", "is_error": true, "content": "broken"},
            {"type": "text", "text": "Go on."}, {"type": "document", "source": {"type": "url", "url": "https://e.com/d.pdf"}},
        ]},
    ]});
    assert_eq!(
        translated(&message, Dialect::Anthropic, Dialect::Responses),
        Ok(
            json!({"model": "other", "max_output_tokens": 9, "store": false, "reasoning": {"effort": "medium"}, "include": include,
                "text": {"format": {"type": "json_schema", "name": "answer", "strict": true, "schema": {}}}, "input": [
                {"role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
                {"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,AA"}]},
                {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
                {"type": "function_call", "call_id": "t1", "name": "f", "arguments": "{\"a\":1}"},
                {"type": "function_call", "call_id": "t2", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "t1", "output": [{"type": "input_text", "text": "s"}, {"type": "input_image", "detail": "auto", "image_url": "https://e.com/a"}]},
                {"type": "function_call_output", "call_id": "t2", "output": "Error: broken"},
                {"role": "user", "content": [{"type": "input_text", "text": "Go on."}, {"type": "input_file", "file_url": "https://e.com/d.pdf"}]},
            ]})
        )
    );
}

#[test]
fn an_answer_repeats_what_its_call_says() {
    let fields = json!({"metadata": {"a": "b"}, "temperature": 0.5, "tool_choice": "none", "parallel_tool_calls": false,
        "text": {"format": {"type": "text"}, "verbosity": "low"}, "max_output_tokens": 64, "reasoning": {"effort": "low"}, "top_p": 1});
    let call = with(json!({"model": "m", "input": "x", "instructions": "I".repeat(9)}), &fields);
    let (_, translation) = request(call.to_string().as_bytes(), Dialect::Responses, Dialect::OpenAi).unwrap();
    let completion = json!({"id": "chatcmpl-1", "model": "gpt", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}});
    let expect = with(
        json!({"id": "chatcmpl-1", "object": "response", "created_at": AT.secs(), "status": "completed", "background": false,
            "error": null, "incomplete_details": null, "instructions": null, "model": "gpt", "previous_response_id": null,
            "store": false, "tools": [], "output": [{"id": "msg_chatcmpl-1_0", "type": "message", "status": "completed",
                "role": "assistant", "content": [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}]}],
            "usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
                "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 12}}),
        &fields,
    );
    assert_eq!(whole(&translation, &completion), expect);
    // What is long is not repeated.
    let call = json!({"model": "m", "input": "x", "metadata": {"a": "b".repeat(5000)}});
    let (_, translation) = request(call.to_string().as_bytes(), Dialect::Responses, Dialect::OpenAi).unwrap();
    let got = whole(&translation, &completion);
    assert_eq!((&got["metadata"], &got["tool_choice"]), (&json!({}), &json!("auto")));
}

#[test]
fn a_stream_event_by_event() {
    let answer = answer(Dialect::Anthropic, Dialect::Responses);
    let sent = [
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": {"input_tokens": 5, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "ping"}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "He"}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "llo"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t1", "name": "f", "input": {}}}),
        // The parts of two tools' input may come in each other's midst.
        json!({"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "t2", "name": "g", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"a\":"}}),
        json!({"type": "content_block_stop", "index": 3}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "1}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}}),
        json!({"type": "message_stop"}),
    ];
    let sent: String = sent.iter().map(|data| format!("data: {data}\n\n")).collect();
    let (out, failure) = relayed(&answer, &[sent.as_bytes()]);
    assert_eq!(failure, None);
    assert!(out.contains("\n\n: ping\n\n"));
    let events = events(&out);
    let kinds: Vec<&str> =
        events.iter().map(|event| event["type"].as_str().unwrap().strip_prefix("response.").unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    let items = gathered(&events);
    let last = &events.last().unwrap()["response"];
    assert_eq!(last["output"], json!(items));
    assert_eq!(
        items,
        [
            json!({"id": "rs_msg_1_0", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}),
            json!({"id": "msg_msg_1_1", "type": "message", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}]}),
            json!({"id": "fc_msg_1_2", "type": "function_call", "status": "completed", "call_id": "t1", "name": "f", "arguments": "{\"a\":1}"}),
            json!({"id": "fc_msg_1_3", "type": "function_call", "status": "completed", "call_id": "t2", "name": "g", "arguments": "{}"}),
        ]
    );
    assert_eq!(
        (&last["id"], &last["model"], &last["status"]),
        (&json!("msg_1"), &json!("claude"), &json!("completed"))
    );
    assert_eq!((&last["usage"]["input_tokens"], &last["usage"]["output_tokens"]), (&json!(5), &json!(7)));
    assert_eq!(
        (&events[0]["response"]["status"], &events[0]["response"]["output"]),
        (&json!("in_progress"), &json!([]))
    );
}

#[test]
fn streams_that_stop_early_fail_or_are_cut() {
    let answer = answer(Dialect::OpenAi, Dialect::Responses);
    let begun = chunk(&json!({"content": "He"}));
    let ended = |rest: &str| {
        let (out, failure) = relayed(&answer, &[begun.as_bytes(), rest.as_bytes()]);
        let events = events(&out);
        gathered(&events);
        (events.last().unwrap().clone(), failure)
    };
    for (reason, why) in [("length", "max_output_tokens"), ("content_filter", "content_filter")] {
        let (last, failure) = ended(&(finished(reason) + DONE));
        assert_eq!((last["type"].as_str(), failure), (Some("response.incomplete"), None));
        assert_eq!(last["response"]["status"], "incomplete");
        assert_eq!(last["response"]["incomplete_details"], json!({"reason": why}));
        assert_eq!(last["response"]["output"][0]["status"], "incomplete");
    }
    let told = "data: {\"error\":{\"message\":\"Told so.\",\"type\":\"overloaded\"}}\n\n";
    for (rest, failure, error) in [
        (
            "",
            Some(StreamFailure::Truncated),
            json!({"code": "server_error", "message": "The provider's answer cannot be used."}),
        ),
        (
            "data: {x}\n\n",
            Some(StreamFailure::Malformed),
            json!({"code": "server_error", "message": "The provider's answer cannot be used."}),
        ),
        (told, None, json!({"code": "overloaded", "message": "Told so."})),
    ] {
        let (last, got) = ended(rest);
        assert_eq!((last["type"].as_str(), got), (Some("response.failed"), failure), "{rest}");
        assert_eq!((&last["response"]["status"], &last["response"]["error"]), (&json!("failed"), &error));
        assert_eq!(last["response"]["output"][0]["content"][0]["text"], "He");
    }
    // Before there is a response, there is none to say it of.
    let (out, _) = relayed(&answer, &[told.as_bytes()]);
    let expect =
        json!({"type": "error", "sequence_number": 0, "code": "overloaded", "message": "Told so.", "param": null});
    assert_eq!(events(&out), [expect]);
}

#[test]
fn no_more_is_kept_of_a_stream_than_of_a_whole_answer() {
    let answer = answer(Dialect::OpenAi, Dialect::Responses);
    let (mut stream, mut out) = (answer.stream(), Vec::new());
    let piece = chunk(&json!({"content": "x".repeat(1 << 20)}));
    for i in 0..40 {
        out.clear();
        stream.feed(piece.as_bytes(), &mut out);
        assert!(stream.held() < 160 << 20, "{i}");
    }
    assert_eq!(stream.failure(), Some(StreamFailure::Malformed));
    assert!(out.is_empty(), "it went on");
    // Nor are there more items.
    let answer = self::answer(Dialect::OpenAi, Dialect::Responses);
    let both = chunk(&json!({"content": "x"})) + &chunk(&json!({"reasoning_content": "y"}));
    let (_, failure) = relayed(&answer, &[both.repeat(5001).as_bytes()]);
    assert_eq!(failure, Some(StreamFailure::Malformed));
}

/// The events of Responses, as a provider sends them.
fn sent(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect()
}

#[test]
fn answers_of_a_provider_of_responses() {
    let response = json!({"id": "resp_1", "object": "response", "model": "gpt", "status": "completed", "output": [
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "x", "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}]},
        {"type": "tool_search_call", "id": "ts_1", "arguments": {"q": 1}, "call_id": null, "name": 7},
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Hi", "annotations": []}, {"type": "output_text", "text": " you"}]},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}"},
    ], "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 2}}});
    let chat = whole(&answer(Dialect::Responses, Dialect::OpenAi), &response);
    let choice = &chat["choices"][0];
    assert_eq!(
        (&chat["id"], &chat["model"], &choice["finish_reason"]),
        (&json!("resp_1"), &json!("gpt"), &json!("tool_calls"))
    );
    assert_eq!(choice["message"]["content"], "Hi you");
    assert_eq!(choice["message"]["reasoning_content"], "One.\n\nTwo.");
    assert_eq!(
        choice["message"]["tool_calls"],
        json!([{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}])
    );
    assert_eq!(
        (&chat["usage"]["prompt_tokens"], &chat["usage"]["completion_tokens_details"]["reasoning_tokens"]),
        (&json!(10), &json!(2))
    );
    let message = whole(&answer(Dialect::Responses, Dialect::Anthropic), &response);
    assert_eq!(
        message["content"],
        json!([{"type": "thinking", "thinking": "One.\n\nTwo.", "signature": "openai-encrypted:0000000000000000:x"}, {"type": "text", "text": "Hi you"},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}}])
    );
    let stop = |fields: Value| {
        whole(&answer(Dialect::Responses, Dialect::Anthropic), &with(response.clone(), &fields))["stop_reason"].clone()
    };
    assert_eq!(stop(json!({})), "tool_use");
    assert_eq!(
        stop(json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}})),
        "max_tokens"
    );
    assert_eq!(stop(json!({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}})), "refusal");
    let refusal = json!([{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]);
    assert_eq!(stop(json!({"output": refusal})), "refusal");
    let reasoning =
        json!([{"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Raw."}]}]);
    let raw =
        whole(&answer(Dialect::Responses, Dialect::OpenAi), &with(response.clone(), &json!({"output": reasoning})));
    assert_eq!(raw["choices"][0]["message"]["reasoning_content"], "Raw.");
    for status in ["failed", "cancelled", "queued", "in_progress"] {
        let body = with(response.clone(), &json!({"status": status})).to_string();
        assert_eq!(answer(Dialect::Responses, Dialect::OpenAi).whole(body.as_bytes()), None, "{status}");
    }
    let error = answer(Dialect::Responses, Dialect::Anthropic)
        .error(429, br#"{"error":{"message":"Slow down.","type":"rate_limit_error"}}"#);
    assert!(String::from_utf8(error).unwrap().contains("Slow down."));
}

#[test]
fn streams_of_a_provider_of_responses() {
    let begun =
        json!({"type": "response.created", "response": {"id": "resp_1", "model": "gpt", "status": "in_progress"}});
    let completed = json!({"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": [], "usage": {"input_tokens": 3, "output_tokens": 2}}});
    let tool = |at: u64, done: bool, arguments: &str| {
        let kind = if done { "response.output_item.done" } else { "response.output_item.added" };
        json!({"type": kind, "output_index": at, "item": {"type": "function_call", "call_id": format!("c{at}"), "name": "f", "arguments": arguments}})
    };
    let delta = |kind: &str, at: u64, delta: &str| json!({"type": format!("response.{kind}.delta"), "output_index": at, "delta": delta});
    let all = [
        begun.clone(),
        delta("reasoning_summary_text", 0, "One."),
        json!({"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 1}),
        delta("reasoning_summary_text", 0, "Two."),
        // The same once more, in full.
        delta("reasoning_text", 0, "Raw."),
        delta("output_text", 1, "Hi"),
        tool(2, false, ""),
        delta("function_call_arguments", 2, "{\"a\":"),
        delta("function_call_arguments", 2, "1}"),
        json!({"type": "response.function_call_arguments.done", "output_index": 2, "arguments": "{\"a\":1}"}),
        tool(2, true, "{\"a\":1}"),
        // Not in pieces, and without any.
        tool(3, false, ""),
        json!({"type": "response.function_call_arguments.done", "output_index": 3, "arguments": "{\"b\":2}"}),
        tool(3, true, "{\"b\":2}"),
        tool(4, false, ""),
        tool(4, true, ""),
        tool(5, false, "{\"c\":3}"),
        tool(5, true, "{\"c\":3}"),
        completed.clone(),
    ];
    let all = sent(&all);
    let into_messages = answer(Dialect::Responses, Dialect::Anthropic);
    let (message, failure) = relayed(&into_messages, &[all.as_bytes()]);
    assert_eq!(failure, None, "{message}");
    for said in [
        "One.",
        "Two.",
        "\\n\\n",
        "\"text\":\"Hi\"",
        "{\\\"a\\\":",
        "{\\\"b\\\":2}",
        "\"partial_json\":\"{}\"",
        "{\\\"c\\\":3}",
        "\"stop_reason\":\"tool_use\"",
        "message_stop",
    ] {
        assert_eq!(message.matches(said).count(), if said == "message_stop" { 2 } else { 1 }, "{said}: {message}");
    }
    assert!(!message.contains("Raw."));
    let (chat, failure) = relayed(&answer(Dialect::Responses, Dialect::OpenAi), &[all.as_bytes()]);
    assert_eq!((failure, chat.ends_with(DONE)), (None, true));
    // Arguments of a tool after another has begun cannot be said in Messages, and are not lost in silence.
    let broken =
        sent(&[begun.clone(), tool(0, false, ""), tool(1, false, ""), delta("function_call_arguments", 0, "{}")]);
    assert_eq!(relayed(&into_messages, &[broken.as_bytes()]).1, Some(StreamFailure::Malformed));
    let cut = sent(&[begun.clone(), delta("output_text", 0, "Hi")]);
    assert_eq!(relayed(&into_messages, &[cut.as_bytes()]).1, Some(StreamFailure::Truncated));
    for failed in [
        json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error", "message": "Told so."}}}),
        json!({"type": "error", "code": "server_error", "message": "Told so.", "param": null}),
        json!({"type": "error", "error": {"type": "server_error", "message": "Told so."}}),
    ] {
        let (out, failure) = relayed(&into_messages, &[sent(&[begun.clone(), failed]).as_bytes()]);
        assert!(failure.is_none() && out.contains("Told so.") && !out.contains("message_stop"), "{out}");
    }
    let incomplete = json!({"type": "response.incomplete", "response": {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}});
    let (out, _) = relayed(&into_messages, &[sent(&[begun, delta("output_text", 0, "Hi"), incomplete]).as_bytes()]);
    assert!(out.contains("\"stop_reason\":\"max_tokens\""));
    let long = json!({"type": "response.created", "response": {"id": "x".repeat(257), "model": "gpt"}});
    assert_eq!(relayed(&into_messages, &[sent(&[long]).as_bytes()]).1, Some(StreamFailure::Malformed));
}

/// With arguments read, and without what is null.
fn loosened(mut message: Value) -> Value {
    for call in message["tool_calls"].as_array_mut().into_iter().flatten() {
        let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        call["function"]["arguments"] = arguments;
    }
    message.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    message
}

proptest! {
    #[test]
    fn a_chat_said_in_responses_and_back_is_the_same(mut chat in chats()) {
        chat.as_object_mut().unwrap().remove("stop");
        let there = translated(&chat, Dialect::OpenAi, Dialect::Responses).unwrap();
        let mut back = translated(&there, Dialect::Responses, Dialect::OpenAi).unwrap();
        chat["model"] = "other".into();
        for call in [&mut back, &mut chat] {
            for message in call["messages"].as_array_mut().unwrap() {
                *message = loosened(message.take());
            }
        }
        prop_assert_eq!(back, chat);
    }

    #[test]
    fn an_answer_said_in_responses_and_back_is_the_same(mut completion in completions()) {
        let there = answer(Dialect::OpenAi, Dialect::Responses).whole(completion.to_string().as_bytes()).unwrap();
        let back = answer(Dialect::Responses, Dialect::OpenAi).whole(&there).unwrap();
        let mut back: Value = serde_json::from_slice(&back).unwrap();
        for answer in [&mut back, &mut completion] {
            let message = answer["choices"][0]["message"].take();
            answer["choices"][0]["message"] = loosened(message);
        }
        prop_assert_eq!(back, completion);
    }

    #[test]
    fn an_answer_said_in_gemini_on_the_way_is_the_same(completion in completions(), piece in 1..9usize) {
        let direct = answer(Dialect::OpenAi, Dialect::Responses);
        let (there, onward) = (answer(Dialect::OpenAi, Dialect::Gemini), answer(Dialect::Gemini, Dialect::Responses));
        let expect = whole(&direct, &completion);
        let got = whole(&onward, &whole(&there, &completion));
        prop_assert_eq!(&got["output"], &expect["output"]);
        for field in ["id", "model", "status", "incomplete_details"] {
            prop_assert_eq!(&got[field], &expect[field]);
        }
        for field in ["input_tokens", "output_tokens", "total_tokens"] {
            prop_assert_eq!(&got["usage"][field], &expect["usage"][field]);
        }
        let (stream, failure) = relayed(&there, &[streamed(&completion, piece).as_bytes()]);
        prop_assert_eq!(failure, None);
        let (stream, failure) = relayed(&onward, &stream.as_bytes().chunks(piece * 9).collect::<Vec<_>>());
        prop_assert_eq!(failure, None);
        let events = events(&stream);
        prop_assert_eq!(&events.last().unwrap()["response"], &got);
        prop_assert_eq!(&json!(gathered(&events)), &got["output"]);
    }

    #[test]
    fn a_stream_adds_up_to_the_whole_answer(
        completion in completions(), piece in 1..9usize, mut cuts in prop::collection::vec(any::<usize>(), 0..10)
    ) {
        let answer = answer(Dialect::OpenAi, Dialect::Responses);
        let whole = whole(&answer, &completion);
        let stream = streamed(&completion, piece);
        let bytes = stream.as_bytes();
        let (at_once, _) = relayed(&answer, &[bytes]);
        let events = events(&at_once);
        prop_assert_eq!(&events.last().unwrap()["response"], &whole);
        prop_assert_eq!(&json!(gathered(&events)), &whole["output"]);
        cuts.iter_mut().for_each(|c| *c %= bytes.len() + 1);
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        prop_assert_eq!(&relayed(&answer, &pieces).0, &at_once);
        prop_assert_eq!(&relayed(&answer, &bytes.chunks(1).collect::<Vec<_>>()).0, &at_once);
        // And back into all others: nothing is wrong with it.
        for into in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
            let (_, failure) = relayed(&self::answer(Dialect::Responses, into), &[at_once.as_bytes()]);
            prop_assert_eq!(failure, None);
        }
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[\\[\\]{}\",:a-z0-9 ]{0,60}") {
        for body in [&bytes[..], text.as_bytes()] {
            for other in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
                let _ = request(body, Dialect::Responses, other);
                let _ = request(body, other, Dialect::Responses);
                for answer in [answer(Dialect::Responses, other), answer(other, Dialect::Responses)] {
                    answer.whole(body);
                    answer.error(500, body);
                    relayed(&answer, &body.chunks(7).collect::<Vec<_>>());
                    relayed(&answer, &[b"data: ", body, b"\n\n"]);
                }
            }
        }
    }
}
