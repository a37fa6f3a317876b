//! Every recorded exchange of a conversation, for callers and providers of every other dialect.

use crate::{
    CALLERS, PROVIDERS, answer, answers, call,
    exchange::{self, Exchange},
    left_out, relayed, request,
};
use credentialflow_llm::provider::Dialect;
use serde_json::Value;
use std::collections::BTreeSet;

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

/// Whether a stream tells an error, or ends before its answer does: read with serde_json alone.
fn is_broken(dialect: Dialect, stream: &[u8]) -> bool {
    let events = answer::told(dialect, stream);
    let is_error = |event: &Value| event["error"].is_object() || event["type"] == "error";
    let is_end = |event: &Value| match dialect {
        Dialect::OpenAi => event["choices"][0]["finish_reason"].is_string(),
        Dialect::Anthropic => event["type"] == "message_stop",
        Dialect::Responses => ["response.completed", "response.incomplete"].iter().any(|end| event["type"] == *end),
        Dialect::Gemini => event["candidates"][0]["finishReason"].is_string(),
        _ => event["stopReason"].is_string(),
    };
    // Snowflake says no reason, but that it is done.
    let done = dialect == Dialect::OpenAi && stream.trim_ascii_end().ends_with(b"[DONE]");
    events.iter().any(is_error) || !(done || events.iter().any(is_end))
}

/// That what was left out are exactly the recordings of this list, as far as they are of these exchanges.
fn is_exactly(out: &BTreeSet<&str>, list: impl IntoIterator<Item = &'static str>, of: &[Exchange]) {
    let listed: BTreeSet<_> = list.into_iter().filter(|name| of.iter().any(|e| e.name[1..] == **name)).collect();
    assert_eq!(*out, listed);
}

#[test]
fn answers_say_the_same_to_callers_of_every_other_dialect() {
    for (from, api, path) in APIS {
        let (mut whole, mut streams, mut called, mut others) = (0, 0, 0, BTreeSet::new());
        let exchanges = answered(api, path);
        for e in &exchanges {
            let body: Value = serde_json::from_slice(&e.response).unwrap_or_default();
            if !is_stream(e) && !is_answer(from, &body) {
                others.insert(&e.name[1..]);
                continue;
            }
            let broken = is_stream(e) && is_broken(from, &e.response);
            if broken {
                others.insert(&e.name[1..]);
            }
            for to in CALLERS.into_iter().filter(|to| *to != from) {
                let at = format!("{} in {to:?}", e.name);
                let said = if is_stream(e) {
                    let (out, failure) = relayed(&e.response, from, to, 997);
                    for size in [1, 64] {
                        assert!(relayed(&e.response, from, to, size).0 == out, "{at}, by {size}");
                    }
                    if broken {
                        assert!(is_broken(to, &out), "{at}: a whole answer of one that is broken");
                        continue;
                    }
                    assert!(failure.is_none(), "{at}: {failure:?}");
                    streams += 1;
                    (answer::streamed(from, &e.response), answer::streamed(to, &out))
                } else {
                    let Some(out) = answers(from, to).whole(&e.response) else { panic!("{at}: no answer") };
                    whole += 1;
                    let at_once = answers(from, to).streamed(&e.response).unwrap();
                    assert_eq!(answer::streamed(to, &at_once), answer::whole(to, &out), "{at}, said at once");
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
        println!("{api}: {whole} whole, {streams} streams, {called} calls of tools; no answers: {others:?}");
        assert!(whole > 0 && streams > 0 && called > 0, "{api}");
        is_exactly(&others, left_out::NO_ANSWER.into_iter().map(|(name, _)| name), &exchanges);
    }
}

#[test]
fn calls_ask_the_same_of_providers_of_every_other_dialect() {
    for (from, api, path) in APIS.into_iter().filter(|(from, ..)| *from != Dialect::Bedrock) {
        let (mut compared, mut images, mut results) = (0, 0, 0);
        let (mut uncompared, mut refused) = (BTreeSet::new(), BTreeSet::new());
        let exchanges = answered(api, path);
        for e in &exchanges {
            let Some(body) = e.request.as_deref().filter(|body| !body.is_empty()) else { continue };
            let body = plain(body);
            for to in PROVIDERS.into_iter().filter(|to| *to != from) {
                let at = format!("{} in {to:?}", e.name);
                let there = match request(&body, from, to) {
                    Ok((there, _)) => there,
                    Err(why) => {
                        let place = left_out::REFUSED.iter().position(|(name, dialects, told)| {
                            *name == &e.name[1..] && dialects.contains(letter(to)) && why.to_string().starts_with(told)
                        });
                        refused.insert((place.unwrap_or_else(|| panic!("{at}: {why}")), letter(to)));
                        continue;
                    }
                };
                let Some(asked) = call::read(from, &body) else {
                    uncompared.insert(&e.name[1..]);
                    continue;
                };
                let asked = asked.told_to(to).unwrap();
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
            "{api}: {compared} calls, {images} images, {results} results; {} refused; not compared: {uncompared:?}",
            refused.len()
        );
        assert!(compared > 0, "{api}");
        is_exactly(&uncompared, left_out::UNCOMPARED.into_iter().map(|(name, _)| name), &exchanges);
        let listed =
            left_out::REFUSED.iter().enumerate().filter(|(_, one)| exchanges.iter().any(|e| e.name[1..] == *one.0));
        let listed = listed.flat_map(|(place, (_, dialects, _))| dialects.chars().map(move |to| (place, to)));
        assert_eq!(refused, listed.collect(), "{api}");
    }
}

/// How a dialect is written in the list of what is refused.
fn letter(dialect: Dialect) -> char {
    match dialect {
        Dialect::OpenAi => 'C',
        Dialect::Anthropic => 'M',
        Dialect::Responses => 'R',
        Dialect::Gemini => 'G',
        _ => 'B',
    }
}

/// A call without what says nothing to another provider: that the answer is to be kept is asked by most, as it is the usual.
fn plain(body: &[u8]) -> Vec<u8> {
    let mut call: Value = serde_json::from_slice(body).unwrap();
    call.as_object_mut().unwrap().retain(|name, _| name != "store");
    serde_json::to_vec(&call).unwrap()
}
