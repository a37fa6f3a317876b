//! Every recorded exchange with Bedrock's Converse API, read the way the gateway reads it: its frames, its tokens, and
//! what callers of each dialect are told.
//!
//! The recordings are found as in `recordings.rs`; where they are absent, those of our own in this folder are read.
#![allow(clippy::unwrap_used)]
#![expect(clippy::print_stdout, reason = "says what was read, and when the recordings are absent")]

mod exchange;

use credentialflow_llm::{
    bedrock::usage,
    gemini::request::Frames,
    provider::Dialect,
    translate::{self, StreamFailure, To, Translation},
    unframed::Unframed,
};
use credentialflow_model::{Timestamp, usage::TokenUsage};
use exchange::Exchange;
use serde_json::Value;

fn exchanges() -> Vec<Exchange> {
    let all = exchange::at_least("converse", "", 50);
    all.into_iter().filter(|e| e.is_with("bedrock")).collect()
}

/// Whether an answer is one stream of AWS's own frames.
fn is_stream(e: &Exchange) -> bool {
    e.status == 200 && e.path.as_deref().is_some_and(|path| path.ends_with("/converse-stream"))
}

/// The payloads of a stream, read by their lengths alone: the independent expectation.
fn payloads(mut stream: &[u8]) -> Vec<(String, Value)> {
    let word = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut found = Vec::new();
    while !stream.is_empty() {
        let (length, headers) = (word(stream, 0), word(stream, 4));
        let head = String::from_utf8_lossy(&stream[12..12 + headers]).into_owned();
        found.push((head, serde_json::from_slice(&stream[12 + headers..length - 4]).unwrap()));
        stream = &stream[length..];
    }
    found
}

fn expected(usage: &Value) -> TokenUsage {
    let count = |name: &str| usage[name].as_u64().unwrap_or(0);
    let (cached_input, cache_write) = (count("cacheReadInputTokens"), count("cacheWriteInputTokens"));
    let input = count("inputTokens") + cached_input + cache_write;
    TokenUsage { input, cached_input, cache_write, output: count("outputTokens"), ..TokenUsage::default() }
}

/// How the answer to a streamed call in each dialect comes back.
fn translations() -> Vec<(Dialect, Translation)> {
    let chat = br#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"x"}]}"#;
    let messages = br#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;
    let responses = br#"{"model":"m","stream":true,"input":"x"}"#;
    let contents = br#"{"contents":[{"parts":[{"text":"x"}]}]}"#;
    let to = To::new(Dialect::Bedrock, "amazon.nova-lite-v1:0");
    let at = Timestamp::from_secs(0);
    vec![
        (Dialect::OpenAi, translate::request(chat, Dialect::OpenAi, &to, at).unwrap().1),
        (Dialect::Anthropic, translate::request(messages, Dialect::Anthropic, &to, at).unwrap().1),
        (Dialect::Responses, translate::request(responses, Dialect::Responses, &to, at).unwrap().1),
        (Dialect::Gemini, translate::gemini_request(contents, Some(Frames::Events), &to, at).unwrap().1),
    ]
}

/// What a caller of Chat Completions is told: text and the names of functions with their arguments.
fn told(chat: &str) -> (String, Vec<(String, Value)>) {
    let (mut text, mut calls) = (String::new(), Vec::<(String, String)>::new());
    for line in chat.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|line| *line != "[DONE]") {
        let chunk: Value = serde_json::from_str(line).unwrap();
        let delta = &chunk["choices"][0]["delta"];
        text.push_str(delta["content"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            if let Some(name) = call["function"]["name"].as_str() {
                calls.push((name.to_owned(), String::new()));
            }
            let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
            calls.last_mut().unwrap().1.push_str(arguments);
        }
    }
    (text, calls.into_iter().map(|(name, input)| (name, serde_json::from_str(&input).unwrap())).collect())
}

#[test]
fn streams_are_read_whole_however_they_are_cut() {
    let (mut streams, mut called) = (0, 0);
    for e in exchanges().iter().filter(|e| is_stream(e)) {
        let payloads = payloads(&e.response);
        let expect =
            payloads.iter().rev().find(|(head, _)| head.contains("metadata")).map(|(_, p)| expected(&p["usage"]));
        let deltas = || payloads.iter().map(|(_, payload)| &payload["delta"]);
        let text: String = deltas().filter_map(|delta| delta["text"].as_str()).collect();
        let tools = payloads.iter().filter(|(_, p)| {
            let tool = &p["start"]["toolUse"];
            tool.is_object() && tool["type"] != "server_tool_use"
        });
        let tools: Vec<&str> = tools.map(|(_, p)| p["start"]["toolUse"]["name"].as_str().unwrap()).collect();
        for (dialect, translation) in translations() {
            let mut first = None;
            for size in [e.response.len(), 1000, 64, 7, 1] {
                let (mut unframed, mut usage) = (Unframed::of(Dialect::Bedrock), usage::StreamUsage::new());
                let (mut stream, mut out) = (translation.clone().stream(), Vec::new());
                for piece in e.response.chunks(size) {
                    let (events, framed) = unframed.open(piece);
                    assert_eq!(framed, Ok(()), "{}", e.name);
                    usage.inspect(&events);
                    stream.feed(&events, &mut out);
                }
                usage.finish();
                stream.finish(&mut out);
                assert_eq!((usage.usage(), stream.failure()), (expect, None), "{} {dialect:?} by {size}", e.name);
                let out = String::from_utf8(out).unwrap();
                let first = first.get_or_insert_with(|| out.clone());
                assert_eq!(*first, out, "{} {dialect:?} by {size}", e.name);
            }
            if dialect == Dialect::OpenAi {
                let (said, calls) = told(&first.unwrap());
                assert_eq!(said, text, "{}", e.name);
                assert_eq!(calls.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), tools, "{}", e.name);
                called += calls.len();
            }
        }
        // One that ends early says so, wherever that is.
        let (mut unframed, mut stream) = (Unframed::of(Dialect::Bedrock), translations().remove(0).1.stream());
        let mut out = Vec::new();
        stream.feed(&unframed.open(&e.response[..e.response.len() / 2]).0, &mut out);
        stream.finish(&mut out);
        assert_eq!(stream.failure(), Some(StreamFailure::Truncated), "{}", e.name);
        streams += 1;
    }
    println!("recordings: {streams} streams, {called} calls of tools");
    assert!(streams > 0 && called > 0);
}

#[test]
fn answers_are_read_whole() {
    let (mut answers, mut errors) = (0, 0);
    for e in exchanges().iter().filter(|e| !is_stream(e)) {
        let body: Value = serde_json::from_slice(&e.response).unwrap();
        if e.status != 200 {
            for (dialect, translation) in translations() {
                let told: Value = serde_json::from_slice(&translation.error(e.status, &e.response)).unwrap();
                assert_eq!(told["error"]["message"], body["message"], "{} {dialect:?}", e.name);
            }
            errors += 1;
            continue;
        }
        let mut usage = usage::AnswerUsage::new();
        e.response.chunks(7).for_each(|piece| usage.feed(piece));
        assert_eq!(usage.finish(), Some(expected(&body["usage"])), "{}", e.name);
        let said: Value = serde_json::from_slice(&translations()[0].1.whole(&e.response).unwrap()).unwrap();
        let content = body["output"]["message"]["content"].as_array().unwrap();
        let texts = |block: &Value| -> String {
            let cited = block["citationsContent"]["content"].as_array().into_iter().flatten();
            cited.chain([block]).filter_map(|part| part["text"].as_str()).collect()
        };
        let message = &said["choices"][0]["message"];
        let text: String = content.iter().map(texts).collect();
        assert_eq!(message["content"].as_str().unwrap_or_default(), text, "{}", e.name);
        let tools: Vec<&Value> = content.iter().filter(|b| b["toolUse"].is_object()).map(|b| &b["toolUse"]).collect();
        let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
        assert_eq!(calls.len(), tools.len(), "{}", e.name);
        for (call, tool) in calls.iter().zip(tools) {
            let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
            assert_eq!((&call["id"], &arguments), (&tool["toolUseId"], &tool["input"]), "{}", e.name);
        }
        for (_, translation) in translations() {
            assert!(translation.whole(&e.response).is_some(), "{}", e.name);
        }
        answers += 1;
    }
    println!("recordings: {answers} answers, {errors} errors");
    assert!(answers > 0);
}
