//! Every recorded exchange with an OpenAI-compatible provider, read the way the gateway reads it.
//!
//! The recordings are found through `CREDENTIALFLOW_SUITES` or at `../shared/suites` beside the workspace.
//! Where they are absent, the small fixtures of this folder are read instead, and the test says so.
#![allow(clippy::unwrap_used)]
#![expect(clippy::print_stdout, reason = "says what was read, and when the recordings are absent")]

mod exchange;

use credentialflow_llm::{AnswerUsage, ChatCall, StreamUsage};
use credentialflow_model::usage::TokenUsage;
use exchange::Exchange;
use serde_json::Value;

/// Every exchange whose answer is a chat completion of OpenAI's form.
fn exchanges() -> Vec<Exchange> {
    exchange::at_least("chat", "/chat/completions", 250)
}

/// What a usage object says, read with serde_json's tree: the independent expectation.
fn expected(object: &Value) -> Option<TokenUsage> {
    let usage = [&object["usage"], &object["x_groq"]["usage"]].into_iter().find(|u| u.is_object())?;
    let input = usage["prompt_tokens"].as_u64()?;
    let visible = usage["completion_tokens"].as_u64().unwrap_or(0);
    let cached = &usage["prompt_tokens_details"]["cached_tokens"];
    let cached_input =
        cached.as_u64().or(usage["prompt_cache_hit_tokens"].as_u64()).or(usage["cached_tokens"].as_u64());
    // Where the total is more than input and output together, the rest is output that is not shown.
    let hidden = usage["total_tokens"].as_u64().unwrap_or(0).saturating_sub(input + visible);
    Some(TokenUsage {
        input,
        // Recorded at Azure: more cached than prompt tokens.
        cached_input: cached_input.unwrap_or(0).min(input),
        output: visible + hidden,
        reasoning: usage["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap_or(0),
        ..TokenUsage::default()
    })
}

/// The JSON of each event, read line by line; enough for recordings, which have one data line an event.
fn events(stream: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(stream).unwrap().replace("\r\n", "\n");
    let blocks = text.split_inclusive("\n\n").map(|block| {
        let data = block.lines().find_map(|l| l.strip_prefix("data:")).unwrap_or("");
        (block.to_owned(), serde_json::from_str(data.trim()).unwrap_or(Value::Null))
    });
    blocks.collect()
}

fn relayed(drop: bool, response: &[u8], size: usize) -> (Vec<u8>, Option<TokenUsage>) {
    let (mut usage, mut out) = (StreamUsage::new(drop), Vec::new());
    for chunk in response.chunks(size.max(1)) {
        usage.feed(chunk, &mut |bytes| out.extend_from_slice(bytes));
    }
    usage.finish(&mut |bytes| out.extend_from_slice(bytes));
    (out, usage.usage())
}

fn sizes(length: usize) -> [usize; 6] {
    [length, 4096, 1000, 64, 7, 1]
}

#[test]
fn streams_pass_unchanged_and_give_their_usage() {
    let (mut streams, mut with_usage, mut dropped) = (0, 0, 0);
    for e in exchanges().iter().filter(|e| e.sse) {
        let events = events(&e.response);
        let expect = events.iter().filter_map(|(_, json)| expected(json)).next_back();
        let ours = |json: &Value| json["usage"].is_object() && json["choices"].as_array().is_some_and(Vec::is_empty);
        let without: String = events.iter().filter(|(_, json)| !ours(json)).map(|(block, _)| block.as_str()).collect();
        streams += 1;
        with_usage += usize::from(expect.is_some());
        dropped += events.iter().filter(|(_, json)| ours(json)).count();
        for size in sizes(e.response.len()) {
            let (out, usage) = relayed(false, &e.response, size);
            assert_eq!(usage, expect, "{} by {size}", e.name);
            assert!(out == e.response, "{} by {size}: bytes changed", e.name);
            let (out, usage) = relayed(true, &e.response, size);
            let out = String::from_utf8(out).unwrap().replace("\r\n", "\n");
            assert_eq!(usage, expect, "{} dropping, by {size}", e.name);
            assert!(out == without, "{} dropping, by {size}: not exactly the usage event is gone", e.name);
        }
    }
    println!("recordings: {streams} streams, {with_usage} with usage, {dropped} usage events of their own");
    assert!(streams > 0 && with_usage > 0 && dropped > 0);
}

#[test]
fn answers_give_their_usage() {
    let (mut answers, mut with_usage) = (0, 0);
    for e in exchanges().iter().filter(|e| !e.sse) {
        let expect = serde_json::from_slice(&e.response).ok().as_ref().and_then(expected);
        answers += 1;
        with_usage += usize::from(expect.is_some());
        for size in sizes(e.response.len()) {
            let mut usage = AnswerUsage::new();
            e.response.chunks(size.max(1)).for_each(|chunk| usage.feed(chunk));
            assert_eq!(usage.finish(), expect, "{} by {size}", e.name);
        }
    }
    println!("recordings: {answers} answers, {with_usage} with usage");
    assert!(answers > 0 && with_usage > 0);
}

#[test]
fn requests_are_read_and_rewritten() {
    let (mut read, mut asked) = (0, 0);
    for e in exchanges() {
        let Some(body) = e.request else { continue };
        let Ok(mut expect) = serde_json::from_slice::<Value>(&body) else { continue };
        let Some(model) = expect["model"].as_str().map(str::to_owned) else {
            assert!(ChatCall::parse(&body).is_err(), "{}", e.name);
            continue;
        };
        let call = ChatCall::parse(&body).unwrap();
        let asks = expect["stream_options"]["include_usage"] == true;
        assert_eq!((call.model(), call.stream()), (model.as_str(), expect["stream"] == true), "{}", e.name);
        assert_eq!(call.asks_usage(), asks && call.stream(), "{}", e.name);
        assert_eq!(call.rewrite(&body, &model, false), body, "{}", e.name);
        if call.will_ask(true) {
            asked += 1;
            expect["stream_options"]["include_usage"] = true.into();
        }
        expect["model"] = "other/model".into();
        let got: Value = serde_json::from_slice(&call.rewrite(&body, "other/model", true)).unwrap();
        assert_eq!(got, expect, "{}", e.name);
        read += 1;
    }
    println!("recordings: {read} requests, {asked} asked for usage on the caller's behalf");
    assert!(read > 0 && asked > 0);
}
