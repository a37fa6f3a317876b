//! An answer as a provider of each dialect writes it, whole and as a stream whose words and inputs are cut anywhere.

use crate::answer::{Said, Stop};
use credentialflow_llm::provider::Dialect;
use serde_json::{Value, json};

/// A whole answer.
pub fn whole(dialect: Dialect, said: &Said) -> Vec<u8> {
    let answer = match dialect {
        Dialect::OpenAi => chat(said),
        Dialect::Anthropic => message(said),
        Dialect::Responses => response(said),
        Dialect::Gemini => generated(said, parts(said), true),
        _ => converse(said),
    };
    answer.to_string().into_bytes()
}

/// A stream, with texts in pieces of so many characters.
pub fn streamed(dialect: Dialect, said: &Said, piece: usize) -> Vec<u8> {
    match dialect {
        Dialect::OpenAi => chunks(said, piece),
        Dialect::Anthropic => named(&message_events(said, piece)),
        Dialect::Responses => named(&response_events(said, piece)),
        Dialect::Gemini => data(&generated_events(said, piece)),
        _ => converse_frames(said, piece),
    }
}

fn pieces(text: &str, size: usize) -> Vec<String> {
    text.chars().collect::<Vec<_>>().chunks(size.max(1)).map(|piece| piece.iter().collect()).collect()
}

fn data(events: &[Value]) -> Vec<u8> {
    events.iter().flat_map(|event| format!("data: {event}\n\n").into_bytes()).collect()
}

fn named(events: &[Value]) -> Vec<u8> {
    let event = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()).into_bytes();
    events.iter().flat_map(event).collect()
}

fn chat_usage(said: &Said) -> Value {
    let Some((read, cached, written)) = said.tokens else { return Value::Null };
    let details = json!({"cached_tokens": cached});
    json!({"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written, "prompt_tokens_details": details})
}

const fn finish(stop: Stop) -> &'static str {
    match stop {
        Stop::End => "stop",
        Stop::Calls => "tool_calls",
        Stop::Limit => "length",
        Stop::Refused => "content_filter",
    }
}

fn chat(said: &Said) -> Value {
    let call = |(n, (name, input)): (usize, &(String, Value))| json!({"id": format!("call_{n}"), "type": "function", "function": {"name": name, "arguments": input.to_string()}});
    let mut message = json!({"role": "assistant", "content": said.words});
    if !said.thinking.is_empty() {
        message["reasoning_content"] = said.thinking.clone().into();
    }
    if !said.calls.is_empty() {
        message["tool_calls"] = said.calls.iter().enumerate().map(call).collect();
    }
    let choice = json!({"index": 0, "message": message, "finish_reason": finish(said.stop)});
    json!({"id": "a", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": chat_usage(said)})
}

fn chunks(said: &Said, piece: usize) -> Vec<u8> {
    let chunk = |choices: Value, usage: Value| json!({"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, "usage": usage});
    let mut deltas = vec![json!({"role": "assistant", "content": ""})];
    deltas.extend(pieces(&said.thinking, piece).into_iter().map(|piece| json!({"reasoning_content": piece})));
    deltas.extend(pieces(&said.words, piece).into_iter().map(|piece| json!({"content": piece})));
    for (n, (name, input)) in said.calls.iter().enumerate() {
        let function = json!({"name": name, "arguments": ""});
        deltas.push(
            json!({"tool_calls": [{"index": n, "id": format!("call_{n}"), "type": "function", "function": function}]}),
        );
        let parts = pieces(&input.to_string(), piece);
        deltas.extend(parts.into_iter().map(|p| json!({"tool_calls": [{"index": n, "function": {"arguments": p}}]})));
    }
    let choice = |delta: Value, finish: Value| json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
    let mut all: Vec<Value> = deltas.into_iter().map(|delta| chunk(choice(delta, Value::Null), Value::Null)).collect();
    all.push(chunk(choice(json!({}), finish(said.stop).into()), Value::Null));
    if said.tokens.is_some() {
        all.push(chunk(json!([]), chat_usage(said)));
    }
    let mut out = data(&all);
    out.extend_from_slice(b"data: [DONE]\n\n");
    out
}

const fn stop_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::End => "end_turn",
        Stop::Calls => "tool_use",
        Stop::Limit => "max_tokens",
        Stop::Refused => "refusal",
    }
}

/// Fresh and cached tokens apart, as Anthropic and AWS tell them.
fn apart(said: &Said) -> (u64, u64, u64) {
    let (read, cached, written) = said.tokens.unwrap_or_default();
    (read - cached, cached, written)
}

fn message(said: &Said) -> Value {
    let mut content = Vec::new();
    if !said.thinking.is_empty() {
        content.push(json!({"type": "thinking", "thinking": said.thinking, "signature": "c2ln"}));
    }
    if !said.words.is_empty() {
        content.push(json!({"type": "text", "text": said.words}));
    }
    content.extend(said.calls.iter().enumerate().map(
        |(n, (name, input))| json!({"type": "tool_use", "id": format!("call_{n}"), "name": name, "input": input}),
    ));
    let (fresh, cached, written) = apart(said);
    let usage = json!({"input_tokens": fresh, "cache_read_input_tokens": cached, "cache_creation_input_tokens": 0, "output_tokens": written});
    json!({"id": "a", "type": "message", "role": "assistant", "model": "m", "content": content,
           "stop_reason": stop_reason(said.stop), "stop_sequence": null, "usage": usage})
}

fn message_events(said: &Said, piece: usize) -> Vec<Value> {
    let whole = message(said);
    let mut begun = whole.clone();
    (begun["content"], begun["stop_reason"], begun["usage"]["output_tokens"]) = (json!([]), Value::Null, 1.into());
    let mut all = vec![json!({"type": "message_start", "message": begun}), json!({"type": "ping"})];
    for (index, block) in whole["content"].as_array().unwrap().iter().enumerate() {
        let (field, kind, told, in_pieces) = match block["type"].as_str().unwrap() {
            "tool_use" => ("input", "input_json_delta", json!({}), block["input"].to_string()),
            "text" => ("text", "text_delta", "".into(), block["text"].as_str().unwrap().to_owned()),
            _ => ("thinking", "thinking_delta", "".into(), block["thinking"].as_str().unwrap().to_owned()),
        };
        let mut start = block.clone();
        start[field] = told;
        all.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
        let name = if field == "input" { "partial_json" } else { field };
        for piece in pieces(&in_pieces, piece) {
            let mut delta = json!({"type": kind});
            delta[name] = piece.into();
            all.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        all.push(json!({"type": "content_block_stop", "index": index}));
    }
    let usage = json!({"output_tokens": whole["usage"]["output_tokens"]});
    all.push(json!({"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": null}, "usage": usage}));
    all.push(json!({"type": "message_stop"}));
    all
}

fn response(said: &Said) -> Value {
    let (status, why) = match said.stop {
        Stop::Limit => ("incomplete", json!({"reason": "max_output_tokens"})),
        Stop::Refused => ("incomplete", json!({"reason": "content_filter"})),
        Stop::End | Stop::Calls => ("completed", Value::Null),
    };
    let mut output = Vec::new();
    if !said.thinking.is_empty() {
        output.push(
            json!({"id": "rs", "type": "reasoning", "summary": [{"type": "summary_text", "text": said.thinking}]}),
        );
    }
    if !said.words.is_empty() {
        let content = json!([{"type": "output_text", "text": said.words, "annotations": []}]);
        output.push(json!({"id": "msg", "type": "message", "status": status, "role": "assistant", "content": content}));
    }
    output.extend(said.calls.iter().enumerate().map(|(n, (name, input))| {
        json!({"id": format!("fc_{n}"), "type": "function_call", "status": "completed", "call_id": format!("call_{n}"),
               "name": name, "arguments": input.to_string()})
    }));
    let usage = said.tokens.map(|(read, cached, written)| {
        let (read_of, written_of) = (json!({"cached_tokens": cached}), json!({"reasoning_tokens": 0}));
        json!({"input_tokens": read, "input_tokens_details": read_of, "output_tokens": written,
               "output_tokens_details": written_of, "total_tokens": read + written})
    });
    json!({"id": "a", "object": "response", "created_at": 1, "status": status, "error": null, "incomplete_details": why,
           "model": "m", "output": output, "usage": usage})
}

fn response_events(said: &Said, piece: usize) -> Vec<Value> {
    let whole = response(said);
    let mut begun = whole.clone();
    (begun["output"], begun["status"], begun["usage"]) = (json!([]), "in_progress".into(), Value::Null);
    begun["incomplete_details"] = Value::Null;
    let mut all = vec![json!({"type": "response.created", "response": begun})];
    for (index, item) in whole["output"].as_array().unwrap().iter().enumerate() {
        let (field, delta, text) = match item["type"].as_str().unwrap() {
            "reasoning" => ("summary", "response.reasoning_summary_text.delta", item["summary"][0]["text"].clone()),
            "message" => ("content", "response.output_text.delta", item["content"][0]["text"].clone()),
            _ => ("arguments", "response.function_call_arguments.delta", item["arguments"].clone()),
        };
        let mut added = item.clone();
        added[field] = if field == "arguments" { "".into() } else { json!([]) };
        all.push(json!({"type": "response.output_item.added", "output_index": index, "item": added}));
        let at = json!({"item_id": item["id"], "output_index": index, "content_index": 0, "summary_index": 0});
        let with = |kind: &str, more: Value| {
            let mut event = at.clone();
            event["type"] = kind.into();
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            event
        };
        all.extend(pieces(text.as_str().unwrap(), piece).into_iter().map(|piece| with(delta, json!({"delta": piece}))));
        let (done, name) = (delta.replace(".delta", ".done"), if field == "arguments" { field } else { "text" });
        all.push(with(&done, Value::Object([(name.to_owned(), text)].into_iter().collect())));
        all.push(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
    }
    let last = if whole["status"] == "completed" { "response.completed" } else { "response.incomplete" };
    all.push(json!({"type": last, "response": whole}));
    all
}

fn parts(said: &Said) -> Vec<Value> {
    let mut parts = Vec::new();
    if !said.thinking.is_empty() {
        parts.push(json!({"text": said.thinking, "thought": true}));
    }
    if !said.words.is_empty() {
        parts.push(json!({"text": said.words}));
    }
    parts.extend(said.calls.iter().map(|(name, input)| json!({"functionCall": {"name": name, "args": input}})));
    parts
}

fn generated(said: &Said, parts: Vec<Value>, last: bool) -> Value {
    let finish = match said.stop {
        Stop::End | Stop::Calls => "STOP",
        Stop::Limit => "MAX_TOKENS",
        Stop::Refused => "SAFETY",
    };
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
    if last {
        candidate["finishReason"] = finish.into();
    }
    let mut answer = json!({"candidates": [candidate], "modelVersion": "m", "responseId": "a"});
    if let Some((read, cached, written)) = said.tokens.filter(|_| last) {
        answer["usageMetadata"] = json!({"promptTokenCount": read, "cachedContentTokenCount": cached,
                                         "candidatesTokenCount": written, "totalTokenCount": read + written});
    }
    answer
}

fn generated_events(said: &Said, piece: usize) -> Vec<Value> {
    let mut all = Vec::new();
    for part in parts(said) {
        let Some(text) = part["text"].as_str() else {
            all.push(generated(said, vec![part], false));
            continue;
        };
        all.extend(pieces(text, piece).into_iter().map(|piece| {
            let mut part = part.clone();
            part["text"] = piece.into();
            generated(said, vec![part], false)
        }));
    }
    all.push(generated(said, vec![json!({"text": ""})], true));
    all
}

fn converse(said: &Said) -> Value {
    let mut content = Vec::new();
    if !said.thinking.is_empty() {
        content.push(json!({"reasoningContent": {"reasoningText": {"text": said.thinking, "signature": "c2ln"}}}));
    }
    if !said.words.is_empty() {
        content.push(json!({"text": said.words}));
    }
    content.extend(said.calls.iter().enumerate().map(
        |(n, (name, input))| json!({"toolUse": {"toolUseId": format!("call_{n}"), "name": name, "input": input}}),
    ));
    json!({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": converse_stop(said.stop), "usage": converse_usage(said)})
}

const fn converse_stop(stop: Stop) -> &'static str {
    match stop {
        Stop::Refused => "content_filtered",
        other => stop_reason(other),
    }
}

fn converse_usage(said: &Said) -> Value {
    let (fresh, cached, written) = apart(said);
    json!({"inputTokens": fresh, "cacheReadInputTokens": cached, "cacheWriteInputTokens": 0, "outputTokens": written,
           "totalTokens": fresh + cached + written})
}

/// A message of AWS's event stream.
fn frame(kind: &str, said: &Value) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")] {
        headers.push(name.len() as u8);
        headers.extend_from_slice(name.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let payload = said.to_string();
    let mut out = ((16 + headers.len() + payload.len()) as u32).to_be_bytes().to_vec();
    out.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out.extend_from_slice(&headers);
    out.extend_from_slice(payload.as_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out
}

fn converse_frames(said: &Said, piece: usize) -> Vec<u8> {
    let mut out = frame("messageStart", &json!({"role": "assistant"}));
    let whole = converse(said);
    for (index, block) in whole["output"]["message"]["content"].as_array().unwrap().iter().enumerate() {
        let deltas: Vec<Value> = if let Some(text) = block["text"].as_str() {
            pieces(text, piece).into_iter().map(|piece| json!({"text": piece})).collect()
        } else if let Some(text) = block["reasoningContent"]["reasoningText"]["text"].as_str() {
            pieces(text, piece).into_iter().map(|piece| json!({"reasoningContent": {"text": piece}})).collect()
        } else {
            let call = &block["toolUse"];
            let start = json!({"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}});
            out.extend(frame("contentBlockStart", &json!({"contentBlockIndex": index, "start": start})));
            let parts = pieces(&call["input"].to_string(), piece);
            parts.into_iter().map(|piece| json!({"toolUse": {"input": piece}})).collect()
        };
        for delta in deltas {
            out.extend(frame("contentBlockDelta", &json!({"contentBlockIndex": index, "delta": delta})));
        }
        out.extend(frame("contentBlockStop", &json!({"contentBlockIndex": index})));
    }
    out.extend(frame("messageStop", &json!({"stopReason": converse_stop(said.stop)})));
    out.extend(frame("metadata", &json!({"metrics": {"latencyMs": 1}, "usage": converse_usage(said)})));
    out
}
