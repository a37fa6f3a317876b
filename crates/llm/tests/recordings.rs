//! Every recorded exchange with an OpenAI-compatible provider, read the way the gateway reads it.
//!
//! The recordings are found through `CREDENTIALFLOW_SUITES` or at `../shared/suites` beside the workspace.
//! Where they are absent, the small fixtures of this folder are read instead, and the test says so.
#![allow(clippy::unwrap_used)]
#![expect(clippy::print_stdout, reason = "says what was read, and when the recordings are absent")]

use credentialflow_llm::{AnswerUsage, ChatCall, StreamUsage};
use credentialflow_model::usage::TokenUsage;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

struct Exchange {
    name: String,
    request: Option<Vec<u8>>,
    response: Vec<u8>,
    sse: bool,
}

/// The folder that holds `PROVIDER/API/ID.{meta.json,request,response}`, and the least it must hold.
fn folder() -> (PathBuf, usize) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let suites = std::env::var_os("CREDENTIALFLOW_SUITES").map(PathBuf::from);
    let suites = suites.unwrap_or_else(|| here.join("../../../shared/suites")).join("llm");
    if suites.is_dir() {
        return (suites, 250);
    }
    println!("recordings: no {} here; reading the fixtures in crates/llm/tests/fixtures only", suites.display());
    (here.join("tests/fixtures"), 4)
}

/// Every exchange whose answer is a chat completion of OpenAI's form, by what the recording says and holds.
fn exchanges() -> Vec<Exchange> {
    let (root, least) = folder();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(stem) = path.to_str().unwrap().strip_suffix(".meta.json") {
                let meta: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                let chat = folder.file_name().is_some_and(|n| n == "chat") && !folder.ends_with("cohere/chat");
                let by_path = meta["path"].as_str().is_none_or(|p| p.ends_with("/chat/completions"));
                if chat && by_path {
                    found.push(Exchange {
                        name: stem.strip_prefix(root.to_str().unwrap()).unwrap().to_owned(),
                        request: fs::read(format!("{stem}.request")).ok(),
                        response: fs::read(format!("{stem}.response")).unwrap(),
                        sse: meta["kind"] == "sse",
                    });
                }
            }
        }
    }
    assert!(found.len() >= least, "only {} exchanges in {}", found.len(), root.display());
    println!("recordings: {} exchanges from {}", found.len(), root.display());
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
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
        usage.feed(chunk, &mut out);
    }
    usage.finish(&mut out);
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
