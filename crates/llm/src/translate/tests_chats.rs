//! Chats, completions and streams of Chat Completions, as the tests of several dialects say them.
#![allow(clippy::unwrap_used)]

use credentialflow_model::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

const AT: Timestamp = Timestamp::from_secs(1_790_000_000);
pub(super) const DONE: &str = "data: [DONE]\n\n";

/// A chunk with this delta.
pub(super) fn chunk(delta: &Value) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": null});
    format!("data: {}\n\n", json!({"id": "chatcmpl-1", "model": "gpt-x-1", "choices": [choice], "usage": null}))
}

pub(super) fn finished(reason: &str) -> String {
    let choice = json!({"index": 0, "delta": {}, "finish_reason": reason});
    format!("data: {}\n\n", json!({"id": "chatcmpl-1", "choices": [choice]}))
}

fn texts() -> impl Strategy<Value = String> {
    // More than white space, which does not go everywhere.
    prop_oneof!["[a-z \"\\\\\n]{0,6}[a-z\"][a-z \"\\\\\n]{0,6}", "\\PC{0,3}é\\PC{0,3}"]
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
            chat["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": {"type": "object", "properties": {}, "required": [], "additionalProperties": false}}});
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
