//! Every recorded exchange with an OpenAI-compatible provider, as a caller of Anthropic's Messages sees it, and every
//! recorded call in Messages, as such a provider sees it.
//!
//! The recordings are found as in `recordings.rs`; where they are absent, the small fixtures of this folder are read.
#![allow(clippy::unwrap_used)]
#![expect(clippy::print_stdout, reason = "says what was read, and when the recordings are absent")]

mod exchange;

use credentialflow_llm::{
    ChatCall,
    provider::{Dialect, LimitField},
    translate::{self, StreamFailure},
};
use credentialflow_model::Timestamp;
use exchange::exchanges_at;
use serde_json::{Value, json};

/// A call in Messages, for a provider of Chat Completions.
fn in_chat(body: &[u8]) -> Result<(Vec<u8>, translate::Translation), translate::Untranslatable> {
    let (dialect, limit) = (Dialect::OpenAi, LimitField::MaxCompletionTokens);
    let to = translate::To { limit, ask_usage: true, ..translate::To::new(dialect, "gpt") };
    translate::request(body, Dialect::Anthropic, &to, Timestamp::from_secs(0))
}

fn answer() -> translate::Translation {
    in_chat(br#"{"model":"m","max_tokens":1,"stream":true,"messages":[]}"#).unwrap().1
}

/// The JSON of each event; recordings have one data line an event.
fn events(stream: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stream).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    data.filter_map(|data| serde_json::from_str(data.trim()).ok()).collect()
}

/// The completion that chunks add up to, put together with serde_json's tree: the independent expectation.
fn gathered(chunks: &[Value]) -> Value {
    let mut message = json!({"content": [], "reasoning_content": "", "refusal": "", "tool_calls": []});
    let mut all = json!({"id": null, "finish_reason": null, "usage": null});
    for chunk in chunks {
        for usage in [&chunk["usage"], &chunk["x_groq"]["usage"]].into_iter().filter(|usage| usage.is_object()) {
            all["usage"] = usage.clone();
        }
        // Some were asked for more than one choice.
        let mut choices = chunk["choices"].as_array().into_iter().flatten();
        let Some(choice) = choices.find(|choice| choice["index"].as_u64().unwrap_or(0) == 0) else { continue };
        if all["id"].is_null() {
            (all["id"], all["model"]) = (chunk["id"].clone(), chunk["model"].clone());
        }
        let delta = &choice["delta"];
        match &delta["content"] {
            Value::Array(parts) => message["content"].as_array_mut().unwrap().extend(parts.iter().cloned()),
            Value::String(text) => {
                message["content"].as_array_mut().unwrap().push(json!({"type": "text", "text": text}));
            }
            _ => {}
        }
        let thought = thought(delta);
        for (field, more) in [("reasoning_content", thought), ("refusal", delta["refusal"].as_str())] {
            message[field] = (message[field].as_str().unwrap().to_owned() + more.unwrap_or_default()).into();
        }
        for part in delta["tool_calls"].as_array().into_iter().flatten() {
            let calls = message["tool_calls"].as_array_mut().unwrap();
            if part["id"].is_string() {
                calls.push(part.clone());
            } else {
                let function = &mut calls.last_mut().unwrap()["function"]["arguments"];
                let more = part["function"]["arguments"].as_str().unwrap_or_default();
                *function = (function.as_str().unwrap_or_default().to_owned() + more).into();
            }
        }
        if choice["finish_reason"].is_string() {
            all["finish_reason"] = choice["finish_reason"].clone();
        }
    }
    all["message"] = message;
    all
}

/// What a message or a delta tells of thinking; Snowflake in one detail of Claude's alone.
fn thought(message: &Value) -> Option<&str> {
    let detail = &message["reasoning_details"][0];
    let alone = detail["text"].as_str().filter(|_| detail["format"] == "anthropic-claude-v1");
    let told = [message["reasoning_content"].as_str(), message["reasoning"].as_str(), alone];
    told.into_iter().flatten().find(|text| !text.is_empty())
}

/// What a completion says, as a message would: id, model, texts, thinking, calls, stop, tokens.
fn same(id: &Value, model: &Value, choice: &Value, usage: &Value) -> Value {
    let message = &choice["message"];
    let (mut text, mut thinking) = (String::new(), String::new());
    thinking += thought(message).unwrap_or_default();
    text += message["content"].as_str().unwrap_or_default();
    for part in message["content"].as_array().into_iter().flatten() {
        text += part["text"].as_str().unwrap_or_default();
        for part in part["thinking"].as_array().into_iter().flatten() {
            thinking += part["text"].as_str().unwrap_or_default();
        }
    }
    let refusal = message["refusal"].as_str().unwrap_or_default();
    text += refusal;
    let calls: Vec<Value> = message["tool_calls"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(i, call)| {
            let arguments = call["function"]["arguments"].as_str().filter(|a| !a.trim().is_empty()).unwrap_or("{}");
            // Recorded at Gemini: calls without an id.
            let call_id = call["id"]
                .as_str()
                .filter(|id| !id.is_empty())
                .map_or_else(|| format!("call_{}_{i}", id.as_str().unwrap()), str::to_owned);
            json!([call_id, call["function"]["name"], serde_json::from_str::<Value>(arguments).unwrap()])
        })
        .collect();
    let stop = match choice["finish_reason"].as_str() {
        Some("length") => "max_tokens",
        Some("content_filter") => "refusal",
        _ if !refusal.is_empty() => "refusal",
        _ if !calls.is_empty() => "tool_use",
        _ => "end_turn",
    };
    let of = |value: &Value| value.as_u64().unwrap_or(0);
    let input = of(&usage["prompt_tokens"]);
    let visible = of(&usage["completion_tokens"]);
    let hidden = of(&usage["total_tokens"]).saturating_sub(input + visible);
    let text_or = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    json!([text_or(id), text_or(model), text, thinking, calls, stop, input, visible + hidden])
}

/// The same of a message.
fn said(message: &Value) -> Value {
    let blocks = |kind: &'static str| message["content"].as_array().unwrap().iter().filter(move |b| b["type"] == kind);
    let text: String = blocks("text").map(|b| b["text"].as_str().unwrap()).collect();
    let thinking: String = blocks("thinking").map(|b| b["thinking"].as_str().unwrap()).collect();
    let calls: Vec<Value> = blocks("tool_use").map(|b| json!([b["id"], b["name"], b["input"]])).collect();
    let of = |name: &str| message["usage"][name].as_u64().unwrap_or(0);
    let input = of("input_tokens") + of("cache_read_input_tokens") + of("cache_creation_input_tokens");
    let (id, model, stop) = (&message["id"], &message["model"], &message["stop_reason"]);
    json!([id, model, text, thinking, calls, stop, input, of("output_tokens")])
}

/// The message that events add up to.
fn joined(stream: &str) -> Value {
    let mut message = Value::Null;
    let mut inputs: Vec<String> = Vec::new();
    for event in events(stream.as_bytes()) {
        let at = event["index"].as_u64().unwrap_or(0) as usize;
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                assert_eq!(message["content"].as_array().unwrap().len(), at);
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
                inputs.push(String::new());
            }
            "content_block_delta" => {
                for field in ["text", "thinking"] {
                    if let Some(more) = event["delta"][field].as_str() {
                        let block = &mut message["content"][at][field];
                        *block = (block.as_str().unwrap().to_owned() + more).into();
                    }
                }
                inputs[at] += event["delta"]["partial_json"].as_str().unwrap_or_default();
            }
            "content_block_stop" if message["content"][at]["type"] == "tool_use" => {
                message["content"][at]["input"] = serde_json::from_str(&inputs[at]).unwrap();
            }
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["usage"].as_object_mut().unwrap().extend(event["usage"].as_object().unwrap().clone());
            }
            _ => {}
        }
    }
    assert!(stream.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
    message
}

#[test]
fn streams_say_the_same_in_messages() {
    let (mut streams, mut tools, mut thinking, mut errors) = (0, 0, 0, 0);
    for e in exchanges_at("chat", "/chat/completions").iter().filter(|e| e.sse) {
        let chunks = events(&e.response);
        let all = gathered(&chunks);
        let told = chunks.iter().any(|chunk| chunk["error"].is_object());
        // A stream of our own fixtures just ends.
        let over = !all["finish_reason"].is_null() || e.response.windows(6).any(|w| w == b"[DONE]");
        let expect = (!told && over).then(|| same(&all["id"], &all["model"], &all, &all["usage"]));
        for size in [e.response.len(), 4096, 64, 7, 1] {
            let (mut stream, mut out) = (answer().stream(), Vec::new());
            e.response.chunks(size.max(1)).for_each(|piece| stream.feed(piece, &mut out));
            stream.finish(&mut out);
            let out = String::from_utf8(out).unwrap();
            let failure = (!told && !over).then_some(StreamFailure::Truncated);
            assert_eq!(stream.failure(), failure, "{} by {size}", e.name);
            match &expect {
                Some(expect) => assert_eq!(&said(&joined(&out)), expect, "{} by {size}", e.name),
                None => assert!(out.contains("event: error\n") && !out.contains("message_stop"), "{}", e.name),
            }
        }
        // Cut off in the middle, it is no message.
        let (mut stream, mut out) = (answer().stream(), Vec::new());
        stream.feed(&e.response[..e.response.len() / 2], &mut out);
        stream.cut(&mut out);
        assert!(told || stream.failure() == Some(StreamFailure::Truncated), "{}", e.name);
        streams += 1;
        let expect = expect.unwrap_or_default();
        tools += usize::from(expect[4].as_array().is_some_and(|calls| !calls.is_empty()));
        thinking += usize::from(expect[3].as_str().is_some_and(|text| !text.is_empty()));
        errors += usize::from(told);
    }
    println!("to_messages: {streams} streams, {tools} with tools, {thinking} with thinking, {errors} with an error");
    assert!(streams > 0);
}

#[test]
fn answers_say_the_same_in_messages() {
    let (mut answers, mut tools, mut errors, mut others) = (0, 0, 0, 0);
    for e in exchanges_at("chat", "/chat/completions").iter().filter(|e| !e.sse) {
        let body: Value = serde_json::from_slice(&e.response).unwrap_or_default();
        if e.status != 200 {
            let got: Value = serde_json::from_slice(&answer().error(e.status, &e.response)).unwrap();
            let told = body["error"]["message"].as_str().or(body["message"].as_str()).or(body["detail"].as_str());
            let told = told.or(body["error"].as_str()).unwrap_or("The provider's answer cannot be used.");
            assert_eq!((&got["type"], &got["error"]["message"]), (&json!("error"), &json!(told)), "{}", e.name);
            errors += 1;
            continue;
        }
        let Some(got) = answer().whole(&e.response) else {
            assert!(!body["choices"][0]["message"].is_object(), "{}", e.name);
            others += 1;
            continue;
        };
        let got: Value = serde_json::from_slice(&got).unwrap();
        let expect = same(&body["id"], &body["model"], &body["choices"][0], &body["usage"]);
        assert_eq!(said(&got), expect, "{}", e.name);
        answers += 1;
        tools += usize::from(expect[4] != json!([]));
    }
    println!("to_messages: {answers} answers, {tools} with tools, {errors} errors, {others} no answers");
    assert!(answers > 0);
}

/// The texts of a content.
fn texts(content: &Value) -> Vec<String> {
    let parts = content.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
    content.as_str().into_iter().chain(parts).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

#[test]
fn recorded_calls_say_the_same_in_chat_completions() {
    let (mut translated, mut refused) = (0, 0);
    for e in exchanges_at("messages", "/v1/messages") {
        let Some(body) = e.request else { continue };
        let Ok(mut call) = serde_json::from_slice::<Value>(&body) else { continue };
        if !call["messages"].is_array() || ChatCall::parse(&body).is_err() {
            continue;
        }
        // Two were recorded without.
        call.as_object_mut().unwrap().entry("max_tokens").or_insert_with(|| 64.into());
        let (out, _) = match in_chat(call.to_string().as_bytes()) {
            Ok(out) => out,
            Err(why) => {
                assert!(why.to_string().contains("no counterpart"), "{}: {why}", e.name);
                refused += 1;
                continue;
            }
        };
        let chat: Value = serde_json::from_slice(&out).unwrap();
        let blocks = |content: &Value| match content {
            Value::String(text) => vec![json!({"type": "text", "text": text})],
            content => content.as_array().cloned().unwrap_or_default(),
        };
        let (mut words, mut results, mut calls, mut images) = (texts(&call["system"]), Vec::new(), Vec::new(), 0);
        for block in call["messages"].as_array().unwrap().iter().flat_map(|message| blocks(&message["content"])) {
            match block["type"].as_str().unwrap() {
                "text" => words.extend(texts(&json!([block]))),
                "tool_use" => calls.push(json!([block["id"], block["name"], block["input"]])),
                "tool_result" => results.push(json!([block["tool_use_id"], texts(&block["content"])])),
                "image" => images += 1,
                other => assert!(other.contains("thinking"), "{}: {other}", e.name),
            }
        }
        let said = |role: &str| {
            chat["messages"].as_array().unwrap().iter().filter(|m| m["role"] == role).cloned().collect::<Vec<_>>()
        };
        let no_tool = chat["messages"].as_array().unwrap().iter().filter(|m| m["role"] != "tool");
        assert_eq!(no_tool.flat_map(|m| texts(&m["content"])).collect::<Vec<_>>(), words, "{}", e.name);
        let answered: Vec<Value> =
            said("tool").iter().map(|m| json!([m["tool_call_id"], texts(&m["content"])])).collect();
        assert_eq!(answered, results, "{}", e.name);
        let called: Vec<Value> = said("assistant")
            .iter()
            .flat_map(|m| m["tool_calls"].as_array().cloned().unwrap_or_default())
            .map(|c| {
                let arguments: Value = serde_json::from_str(c["function"]["arguments"].as_str().unwrap()).unwrap();
                json!([c["id"], c["function"]["name"], arguments])
            })
            .collect();
        assert_eq!(called, calls, "{}", e.name);
        assert_eq!(String::from_utf8(out).unwrap().matches("\"type\":\"image_url\"").count(), images, "{}", e.name);
        let names = |of: &Value| of.as_array().into_iter().flatten().cloned().collect::<Vec<_>>();
        let offered: Vec<Value> = names(&chat["tools"]).iter().map(|t| t["function"]["name"].clone()).collect();
        assert_eq!(offered, names(&call["tools"]).iter().map(|t| t["name"].clone()).collect::<Vec<_>>(), "{}", e.name);
        assert_eq!(chat["max_completion_tokens"], call["max_tokens"], "{}", e.name);
        translated += 1;
    }
    println!("to_messages: {translated} recorded calls translated, {refused} refused");
    assert!(translated > 0);
}
