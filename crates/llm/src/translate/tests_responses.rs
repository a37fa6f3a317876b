//! Responses: its callers in front of providers of Chat Completions and of Messages, callers of those in front of a
//! provider that speaks nothing else, and both ways one after the other.
#![allow(clippy::unwrap_used)]

mod answers;
mod both_ways;
mod streams;

use super::{StreamFailure, To, Translation, Untranslatable, Why};
use crate::{
    gemini::request::Frames,
    provider::{Dialect, LimitField},
};
use credentialflow_model::Timestamp;
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
    let schema = json!({"type": "object", "additionalProperties": false});
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
                "text": {"format": {"type": "json_schema", "name": "answer", "strict": false, "schema": {}}}, "input": [
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
