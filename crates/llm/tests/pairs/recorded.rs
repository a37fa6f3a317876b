//! Every recorded exchange of a conversation, for callers and providers of every other dialect.

use crate::{
    CALLERS, PROVIDERS, answer, answers, call,
    exchange::{self, Exchange},
    relayed, request,
};
use credentialflow_llm::provider::Dialect;
use serde_json::Value;
use std::collections::BTreeMap;

/// The folders in which exchanges of each dialect are, and where they were sent.
pub const APIS: [(Dialect, &str, &str); 5] = [
    (Dialect::OpenAi, "chat", "/chat/completions"),
    (Dialect::Anthropic, "messages", "/v1/messages"),
    (Dialect::Responses, "responses", "/responses"),
    (Dialect::Gemini, "generateContent", ""),
    (Dialect::Bedrock, "converse", ""),
];

/// What else is read: by `tasks.rs`, and errors with the rest by the tests of each dialect.
const TASKS: [(&str, &str); 4] = [
    ("embeddings", "/embeddings"),
    ("embeddings", ":batchEmbedContents"),
    ("embeddings", ":predict"),
    ("rerank", "/rerank"),
];
/// Recordings that no test reads: of APIs that the gateway does not read, but passes as they are or does not offer.
const UNREAD: [(&str, &str, &str); 10] = [
    (
        "bedrock/invoke",
        "",
        "InvokeModel has a body for each maker; `tasks.rs` reads embeddings, the rest is asked by Converse",
    ),
    ("openai/completions", "", "completions of before chats"),
    ("azure/completions", "", "completions of before chats"),
    ("together/completions", "", "completions of before chats"),
    ("cohere/chat", "", "Cohere's own API; its models are asked by its compatible one"),
    ("cohere/embeddings", "/v2/embed", "Cohere's own API"),
    ("ollama", "/api/", "Ollama's own API; its models are asked by its compatible one"),
    ("openai/messages", "/messages", "messages of threads, which assistants have"),
    ("anthropic/messages", "/count_tokens", "passes as it is"),
    ("anthropic/messages", "msgbatch_", "files of batches pass as they are"),
];

#[test]
fn every_recording_is_read_or_of_an_api_that_is_not() {
    let recordings = exchange::public();
    let (mut read, mut unread) = (0, [0; UNREAD.len()]);
    for (folder, path) in &recordings {
        let is_unread = |(of, at, _): &(&str, &str, &str)| folder.starts_with(of) && path.contains(at);
        if let Some(place) = UNREAD.iter().position(is_unread) {
            unread[place] += 1;
            continue;
        }
        let api = folder.split('/').nth(1).unwrap();
        let apis = APIS.iter().map(|(_, api, path)| (*api, *path)).chain(TASKS);
        let is_read = apis.into_iter().any(|(of, ends)| of == api && (path.is_empty() || path.ends_with(ends)));
        assert!(is_read, "{folder} at {path}: nobody reads it");
        read += 1;
    }
    println!("{read} of {} recordings are read", recordings.len());
    // A line that stands for nothing any more is to go.
    assert!(recordings.is_empty() || unread.iter().all(|count| *count > 0), "{unread:?}");
    assert!(read >= recordings.len() * 4 / 5);
}

/// The exchanges that were answered.
pub fn answered(api: &str, path_ends: &str) -> Vec<Exchange> {
    let mut all = exchange::exchanges_at(api, path_ends);
    all.retain(|e| e.status == 200);
    all
}

pub fn is_stream(e: &Exchange) -> bool {
    // AWS's own frames.
    e.sse || e.response.starts_with(&[0])
}

/// Whether a whole answer is one: some are errors with the status 200, batches, or Gemini's streams in an array.
fn is_answer(dialect: Dialect, body: &Value) -> bool {
    match dialect {
        Dialect::OpenAi => body["choices"][0]["message"].is_object(),
        Dialect::Anthropic => body["type"] == "message",
        Dialect::Responses => ["completed", "incomplete"].iter().any(|status| body["status"] == *status),
        Dialect::Gemini => body["candidates"].is_array(),
        _ => body["output"]["message"].is_object(),
    }
}

#[test]
fn answers_say_the_same_to_callers_of_every_other_dialect() {
    for (from, api, path) in APIS {
        let (mut whole, mut streams, mut called, mut others) = (0, 0, 0, 0);
        for e in answered(api, path) {
            let body: Value = serde_json::from_slice(&e.response).unwrap_or_default();
            if !is_stream(&e) && !is_answer(from, &body) {
                others += 1;
                continue;
            }
            for to in CALLERS.into_iter().filter(|to| *to != from) {
                let at = format!("{} in {to:?}", e.name);
                let said = if is_stream(&e) {
                    let (out, failure) = relayed(&e.response, from, to, 997);
                    if failure.is_some() || String::from_utf8_lossy(&e.response).contains("\"error\":{") {
                        others += 1; // one that was cut off, or tells an error: how is looked at elsewhere
                        continue;
                    }
                    for size in [1, 64] {
                        assert!(relayed(&e.response, from, to, size).0 == out, "{at}, by {size}");
                    }
                    streams += 1;
                    (answer::streamed(from, &e.response), answer::streamed(to, &out))
                } else {
                    let Some(out) = answers(from, to).whole(&e.response) else { panic!("{at}: no answer") };
                    whole += 1;
                    (answer::whole(from, &e.response), answer::whole(to, &out))
                };
                // Where a caller's dialect has no word of its own for calls, they tell it; providers of chat completions do not
                // always say it.
                let settled = from == Dialect::OpenAi || matches!(to, Dialect::Responses | Dialect::Gemini);
                let expect = if settled { said.0.settled() } else { said.0 };
                assert!(expect.is(&said.1), "{at}:\n{expect:?}\nand not\n{:?}", said.1);
                called += expect.calls.len();
            }
        }
        println!("{api}: {whole} whole, {streams} streams, {called} calls of tools; {others} that are no answer");
        assert!(whole > 0 && streams > 0 && called > 0 && others < (whole + streams) / 4, "{api}");
    }
}

#[test]
fn calls_ask_the_same_of_providers_of_every_other_dialect() {
    for (from, api, path) in APIS.into_iter().filter(|(from, ..)| *from != Dialect::Bedrock) {
        let (mut compared, mut images, mut results, mut skipped) = (0, 0, 0, 0);
        let mut refused = BTreeMap::<String, usize>::new();
        for e in answered(api, path) {
            let Some(body) = e.request.as_deref().filter(|body| !body.is_empty()) else { continue };
            let body = plain(body);
            for to in PROVIDERS.into_iter().filter(|to| *to != from) {
                let (there, asked) = match (request(&body, from, to), call::read(from, &body)) {
                    (Ok((there, _)), Some(asked)) => (there, asked),
                    (Ok(_), None) => {
                        skipped += 1;
                        continue;
                    }
                    (Err(why), _) => {
                        *refused.entry(why.to_string()).or_default() += 1;
                        continue;
                    }
                };
                let (at, asked) = (format!("{} in {to:?}", e.name), asked.told_to(to).unwrap());
                let Some(got) = call::read(to, &there) else { panic!("{at}: {}", String::from_utf8_lossy(&there)) };
                assert_eq!((&got.system, &got.turns), (&asked.system, &asked.turns), "{at}");
                let names = |asked: &call::Asked| asked.tools.iter().map(|tool| tool.name.clone()).collect::<Vec<_>>();
                assert_eq!((names(&got), &got.choice), (names(&asked), &asked.choice), "{at}");
                compared += 1;
                let parts = || got.turns.iter().flat_map(|(_, parts)| parts);
                images += parts().filter(|part| matches!(part, call::Part::Image(..))).count();
                results += parts().filter(|part| matches!(part, call::Part::Result(..))).count();
            }
        }
        println!(
            "{api}: {compared} calls, {images} images, {results} results; {skipped} hold what is not compared here"
        );
        println!("{api}: refused: {refused:#?}");
        assert!(compared > skipped && compared > refused.values().sum::<usize>(), "{api}");
    }
}

/// A call without what says nothing to another provider: that the answer is to be kept is asked by most, as it is the usual.
fn plain(body: &[u8]) -> Vec<u8> {
    let mut call: Value = serde_json::from_slice(body).unwrap();
    call.as_object_mut().unwrap().retain(|name, _| name != "store");
    serde_json::to_vec(&call).unwrap()
}
