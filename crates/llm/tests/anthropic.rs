//! Every recorded exchange with Anthropic's Messages API, read and translated the way the gateway does.
//!
//! The recordings are found as in `recordings.rs`; where they are absent, the small fixtures of this folder are read.
#![allow(clippy::unwrap_used)]
#![expect(clippy::print_stdout, reason = "says what was read, and when the recordings are absent")]

mod exchange;

use credentialflow_llm::{ChatCall, anthropic::usage, provider::Dialect, translate};
use credentialflow_model::{Timestamp, usage::TokenUsage};
use exchange::Exchange;
use serde_json::{Value, json};

fn exchanges_with(provider: &str, api: &str) -> Vec<Exchange> {
    let mut found = exchange::exchanges(api);
    found.retain(|e| e.is_with(provider));
    assert!(found.len() >= 2);
    found
}

fn messages() -> Vec<Exchange> {
    let mut all = exchanges_with("anthropic", "messages");
    all.retain(|e| e.status == 200 && e.path.as_deref().is_none_or(|path| path == "/v1/messages"));
    all
}

fn events(stream: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stream).unwrap();
    text.lines().filter_map(|l| l.strip_prefix("data:")).map(|d| serde_json::from_str(d.trim()).unwrap()).collect()
}

/// The message a stream adds up to, put together with serde_json's tree: the independent expectation.
fn gathered(events: &[Value]) -> Value {
    let mut message = Value::Null;
    let mut inputs: Vec<String> = Vec::new();
    let append =
        |to: &mut Value, more: &Value| *to = (to.as_str().unwrap_or("").to_owned() + more.as_str().unwrap()).into();
    for event in events {
        let at = event["index"].as_u64().unwrap_or(0) as usize;
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
                inputs.push(String::new());
            }
            "content_block_delta" => {
                let (delta, block) = (&event["delta"], &mut message["content"][at]);
                match delta["type"].as_str().unwrap() {
                    "text_delta" => append(&mut block["text"], &delta["text"]),
                    "thinking_delta" => append(&mut block["thinking"], &delta["thinking"]),
                    "input_json_delta" => inputs[at] += delta["partial_json"].as_str().unwrap(),
                    _ => {}
                }
            }
            "content_block_stop" if !inputs[at].is_empty() => {
                message["content"][at]["input"] = serde_json::from_str(&inputs[at]).unwrap();
            }
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                for (name, value) in event["usage"].as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()) {
                    message["usage"][name] = value.clone();
                }
            }
            _ => {}
        }
    }
    message
}

/// What a usage object says: the independent expectation.
fn expected(usage: &Value) -> Option<TokenUsage> {
    usage["output_tokens"].as_u64()?;
    let of = |usage: &Value, name: &str| usage[name].as_u64().unwrap_or(0);
    let turns = usage["iterations"].as_array().filter(|turns| !turns.is_empty()).cloned();
    let turns = turns.unwrap_or_else(|| vec![usage.clone()]);
    let sum = |name: &str| turns.iter().map(|turn| of(turn, name)).sum::<u64>();
    let (read, written) = (sum("cache_read_input_tokens"), sum("cache_creation_input_tokens"));
    Some(TokenUsage {
        input: sum("input_tokens") + read + written,
        cached_input: read,
        cache_write: written,
        cache_write_1h: turns.iter().map(|turn| of(&turn["cache_creation"], "ephemeral_1h_input_tokens")).sum(),
        output: sum("output_tokens"),
        reasoning: of(&usage["output_tokens_details"], "thinking_tokens"),
    })
}

/// The chat completion that says the same as a message.
fn same(message: &Value) -> Value {
    let blocks = |kind: &'static str| message["content"].as_array().unwrap().iter().filter(move |b| b["type"] == kind);
    let text: String = blocks("text").map(|b| b["text"].as_str().unwrap()).collect();
    let thinking: String = blocks("thinking").map(|b| b["thinking"].as_str().unwrap()).collect();
    let calls: Vec<Value> = blocks("tool_use").map(|b| json!([b["id"], b["name"], b["input"]])).collect();
    let finish = match message["stop_reason"].as_str() {
        Some("max_tokens") => "length",
        Some("tool_use") => "tool_calls",
        Some("refusal") => "content_filter",
        _ => "stop",
    };
    let usage = expected(&message["usage"]).unwrap();
    json!([message["id"], message["model"], text, thinking, calls, finish, usage.input, usage.output])
}

/// The same of a chat completion, with the arguments read.
fn said(completion: &Value) -> Value {
    let (choice, usage) = (&completion["choices"][0], &completion["usage"]);
    let message = &choice["message"];
    let calls: Vec<Value> = message["tool_calls"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|call| {
            let arguments = call["function"]["arguments"].as_str().unwrap();
            json!([call["id"], call["function"]["name"], serde_json::from_str::<Value>(arguments).unwrap()])
        })
        .collect();
    let text = message["content"].as_str().unwrap_or_default();
    let thinking = message["reasoning_content"].as_str().unwrap_or_default();
    json!([
        completion["id"],
        completion["model"],
        text,
        thinking,
        calls,
        choice["finish_reason"],
        usage["prompt_tokens"],
        usage["completion_tokens"]
    ])
}

/// A chat completion put together from its chunks.
fn joined(stream: &str) -> Value {
    let mut all = json!({"choices": [{"message": {"content": "", "reasoning_content": "", "tool_calls": []}}]});
    let chunks = stream.strip_suffix("data: [DONE]\n\n").unwrap();
    for chunk in chunks.split("\n\n").filter(|c| !c.is_empty() && !c.starts_with(':')) {
        let chunk: Value = serde_json::from_str(chunk.strip_prefix("data: ").unwrap()).unwrap();
        (all["id"], all["model"]) = (chunk["id"].clone(), chunk["model"].clone());
        if chunk["usage"].is_object() {
            all["usage"] = chunk["usage"].clone();
            continue;
        }
        let (from, to) = (&chunk["choices"][0], &mut all["choices"][0]);
        for field in ["content", "reasoning_content"] {
            let more = from["delta"][field].as_str().unwrap_or_default();
            to["message"][field] = (to["message"][field].as_str().unwrap().to_owned() + more).into();
        }
        for part in from["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let calls = to["message"]["tool_calls"].as_array_mut().unwrap();
            match part["id"].as_str() {
                Some(_) => calls.push(part.clone()),
                None => {
                    let call = &mut calls[part["index"].as_u64().unwrap() as usize]["function"]["arguments"];
                    let more = part["function"]["arguments"].as_str().unwrap();
                    *call = (call.as_str().unwrap().to_owned() + more).into();
                }
            }
        }
        if !from["finish_reason"].is_null() {
            to["finish_reason"] = from["finish_reason"].clone();
        }
    }
    all
}

/// A call in Chat Completions, for a provider of Messages.
fn in_messages(body: &[u8]) -> Result<(Vec<u8>, translate::Translation), translate::Untranslatable> {
    let to = translate::To::new(Dialect::Anthropic, "claude");
    translate::request(body, Dialect::OpenAi, &to, Timestamp::from_secs(1_790_000_000))
}

fn answer() -> translate::Translation {
    in_messages(br#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#).unwrap().1
}

fn sizes(length: usize) -> [usize; 6] {
    [length, 4096, 1000, 64, 7, 1]
}

#[test]
fn streams_give_their_usage_and_say_the_same_in_chat_completions() {
    let (mut streams, mut tools, mut thinking) = (0, 0, 0);
    for e in messages().iter().filter(|e| e.sse) {
        let message = gathered(&events(&e.response));
        let expect = same(&message);
        streams += 1;
        tools += usize::from(expect[4] != json!([]));
        thinking += usize::from(expect[3] != json!(""));
        for size in sizes(e.response.len()) {
            let (mut probe, mut stream, mut out) = (usage::StreamUsage::new(), answer().stream(), Vec::new());
            for piece in e.response.chunks(size.max(1)) {
                probe.inspect(piece);
                stream.feed(piece, &mut out);
            }
            probe.finish();
            stream.finish(&mut out);
            assert_eq!(probe.usage(), expected(&message["usage"]), "{} by {size}", e.name);
            assert_eq!(said(&joined(std::str::from_utf8(&out).unwrap())), expect, "{} by {size}", e.name);
        }
    }
    println!("anthropic: {streams} streams, {tools} with tools, {thinking} with thinking");
    assert!(streams > 0 && tools > 0);
}

#[test]
fn answers_give_their_usage_and_say_the_same_in_chat_completions() {
    let mut answers = 0;
    for e in messages().iter().filter(|e| !e.sse) {
        let message: Value = serde_json::from_slice(&e.response).unwrap();
        for size in sizes(e.response.len()) {
            let mut probe = usage::AnswerUsage::new();
            e.response.chunks(size.max(1)).for_each(|piece| probe.feed(piece));
            assert_eq!(probe.finish(), expected(&message["usage"]), "{} by {size}", e.name);
        }
        if message["type"] != "message" {
            continue;
        }
        let got: Value = serde_json::from_slice(&answer().whole(&e.response).unwrap()).unwrap();
        assert_eq!(said(&got), same(&message), "{}", e.name);
        answers += 1;
    }
    println!("anthropic: {answers} answers");
    assert!(answers > 0);
}

#[test]
fn requests_are_read_and_only_their_model_is_changed() {
    let mut read = 0;
    for e in messages() {
        let Some(body) = e.request else { continue };
        let Ok(mut expect) = serde_json::from_slice::<Value>(&body) else { continue };
        let call = ChatCall::parse(&body).unwrap();
        assert_eq!((call.model(), call.stream()), (expect["model"].as_str().unwrap(), expect["stream"] == true));
        assert_eq!(call.rewrite(&body, call.model(), false), body, "{}", e.name);
        expect["model"] = "other".into();
        let got: Value = serde_json::from_slice(&call.rewrite(&body, "other", false)).unwrap();
        assert_eq!(got, expect, "{}", e.name);
        read += 1;
    }
    println!("anthropic: {read} requests");
    assert!(read > 0);
}

/// The texts of a message's content.
fn texts(content: &Value) -> Vec<String> {
    let parts = content.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
    content.as_str().into_iter().chain(parts).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

#[test]
fn recorded_chats_say_the_same_in_messages() {
    let (mut translated, mut refused) = (0, 0);
    for e in exchanges_with("openai", "chat") {
        let Some(body) = e.request else { continue };
        let Ok(chat) = serde_json::from_slice::<Value>(&body) else { continue };
        if !chat["messages"].is_array() || ChatCall::parse(&body).is_err() {
            continue;
        }
        let Ok((out, _)) = in_messages(&body) else {
            refused += 1;
            continue;
        };
        let message: Value = serde_json::from_slice(&out).unwrap();
        let system = |m: &Value| m["role"] == "system" || m["role"] == "developer";
        let of = |want: bool| {
            let all = chat["messages"].as_array().unwrap().iter().filter(move |m| system(m) == want);
            all.flat_map(|m| texts(&m["content"])).collect::<Vec<_>>()
        };
        assert_eq!(texts(&message["system"]), of(true), "{}", e.name);
        let turns = message["messages"].as_array().unwrap();
        let blocks = || turns.iter().flat_map(|turn| turn["content"].as_array().unwrap());
        let said: Vec<String> = blocks()
            .flat_map(|block| match block["type"].as_str().unwrap() {
                "tool_result" => texts(&block["content"]),
                _ => texts(&json!([block])),
            })
            .collect();
        assert_eq!(said, of(false), "{}", e.name);
        let calls: Vec<Value> = chat["messages"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|m| m["tool_calls"].as_array().cloned().unwrap_or_default())
            .map(|c| {
                let arguments: Value = serde_json::from_str(c["function"]["arguments"].as_str().unwrap()).unwrap();
                json!([c["id"], c["function"]["name"], arguments])
            })
            .collect();
        let used: Vec<Value> = blocks()
            .filter(|block| block["type"] == "tool_use")
            .map(|b| json!([b["id"], b["name"], b["input"]]))
            .collect();
        assert_eq!(used, calls, "{}", e.name);
        let tools = chat["tools"].as_array().cloned().unwrap_or_default();
        let named: Vec<&Value> = tools.iter().map(|t| &t["function"]["name"]).collect();
        let given = message["tools"].as_array().cloned().unwrap_or_default();
        assert_eq!(given.iter().map(|t| &t["name"]).collect::<Vec<_>>(), named, "{}", e.name);
        translated += 1;
    }
    println!("anthropic: {translated} recorded chats translated, {refused} refused");
    assert!(translated > 0);
}
