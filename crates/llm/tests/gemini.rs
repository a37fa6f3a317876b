//! Every recorded exchange with Gemini, at Google AI and at Vertex AI: counted while it passes, and as callers of Chat
//! Completions and of Messages see it; and every recorded call, as providers of those dialects see it.
//!
//! The recordings are found through `CREDENTIALFLOW_SUITES` or at `../shared/suites` beside the workspace; where they are
//! absent, the small fixtures of this folder are read.
#![allow(clippy::unwrap_used)]
#![expect(clippy::print_stdout, reason = "says what was read, and when the recordings are absent")]

mod exchange;

use credentialflow_llm::{
    ChatCall,
    gemini::{
        request::{Frames, GeminiCall},
        usage::{AnswerUsage, StreamUsage},
    },
    provider::Dialect,
    translate::{self, Translation},
};
use credentialflow_model::{Timestamp, usage::TokenUsage};
use exchange::Exchange;
use serde_json::{Value, json};

/// Every exchange of generateContent; those of another API of Google's, which two are, apart.
fn exchanges() -> Vec<Exchange> {
    let mut found = exchange::exchanges("generateContent");
    found.retain_mut(|e| {
        let body = serde_json::from_slice::<Value>(&e.response).unwrap_or_default();
        e.status = body["error"]["code"].as_u64().map_or(e.status, |told| told as u16);
        !body["steps"].is_array()
    });
    assert!(found.len() >= 2);
    found
}

/// The parts of an answer, read with serde_json's tree: events, an array, or one object.
fn parts(exchange: &Exchange) -> Vec<Value> {
    if exchange.sse {
        let text = std::str::from_utf8(&exchange.response).unwrap();
        let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        return data.map(|data| serde_json::from_str(data.trim()).unwrap()).collect();
    }
    match serde_json::from_slice(&exchange.response).unwrap() {
        Value::Array(parts) => parts,
        one => vec![one],
    }
}

/// What the counts say: each is of all there is so far, but the last may leave out what another told.
fn expected(parts: &[Value]) -> Option<TokenUsage> {
    parts.iter().find(|part| part["usageMetadata"].is_object())?;
    let of = |name: &str| parts.iter().filter_map(|part| part["usageMetadata"][name].as_u64()).max().unwrap_or(0);
    Some(TokenUsage {
        input: of("promptTokenCount") + of("toolUsePromptTokenCount"),
        cached_input: of("cachedContentTokenCount"),
        output: of("candidatesTokenCount") + of("thoughtsTokenCount"),
        reasoning: of("thoughtsTokenCount"),
        ..TokenUsage::default()
    })
}

/// What an answer says: text, thinking, calls.
fn said(parts: &[Value]) -> (String, String, Vec<(String, Value)>) {
    let (mut text, mut thinking, mut calls) = (String::new(), String::new(), Vec::new());
    for part in parts.iter().flat_map(|part| part["candidates"][0]["content"]["parts"].as_array().into_iter().flatten())
    {
        let more = part["text"].as_str().unwrap_or_default();
        if part["thought"] == true { &mut thinking } else { &mut text }.push_str(more);
        if let Some(call) = part["functionCall"].as_object() {
            calls.push((call["name"].as_str().unwrap().to_owned(), call.get("args").cloned().unwrap_or(json!({}))));
        }
    }
    (text, thinking, calls)
}

/// Why it ended, in Google's word.
fn finish(parts: &[Value]) -> &str {
    let mut reasons = parts.iter().filter_map(|part| part["candidates"][0]["finishReason"].as_str());
    // One recording breaks off.
    reasons.next_back().unwrap_or("STOP")
}

fn to(dialect: Dialect) -> translate::To<'static> {
    translate::To { ask_usage: true, ..translate::To::new(dialect, "m") }
}

/// What translates an answer of Gemini's into a dialect.
fn into(dialect: Dialect) -> Translation {
    let call: &[u8] = match dialect {
        Dialect::Responses => br#"{"model":"m","input":"x"}"#,
        _ => br#"{"model":"m","max_tokens":9,"messages":[]}"#,
    };
    translate::request(call, dialect, &to(Dialect::Gemini), Timestamp::from_secs(0)).unwrap().1
}

fn streamed(translation: Translation, bytes: &[u8], size: usize) -> Vec<u8> {
    let (mut stream, mut out) = (translation.stream(), Vec::new());
    bytes.chunks(size.max(1)).for_each(|piece| stream.feed(piece, &mut out));
    stream.finish(&mut out);
    assert_eq!(stream.failure(), None);
    out
}

#[test]
fn tokens_are_counted_while_they_pass() {
    let (mut streams, mut answers) = (0, 0);
    for e in exchanges().iter().filter(|e| e.status == 200) {
        let expect = expected(&parts(e));
        assert!(expect.is_some(), "{}", e.name);
        for size in [e.response.len(), 1000, 64, 7, 1] {
            let usage = if e.sse {
                let mut usage = StreamUsage::new();
                e.response.chunks(size).for_each(|piece| usage.inspect(piece));
                usage.finish();
                usage.usage()
            } else {
                let mut usage = AnswerUsage::new();
                e.response.chunks(size).for_each(|piece| usage.feed(piece));
                usage.finish()
            };
            assert_eq!(usage, expect, "{} by {size}", e.name);
        }
        *if e.sse { &mut streams } else { &mut answers } += 1;
    }
    println!("gemini: {streams} streams and {answers} answers counted");
    assert!(streams > 0 && answers > 0);
}

#[test]
fn answers_are_understood_by_callers_of_chat_completions() {
    let (mut whole, mut streams, mut errors, mut called) = (0, 0, 0, 0);
    for e in exchanges() {
        if e.status != 200 {
            let google = &parts(&e)[0]["error"];
            let body: Value = serde_json::from_slice(&into(Dialect::OpenAi).error(e.status, &e.response)).unwrap();
            assert_eq!((&body["error"]["message"], &body["error"]["code"]), (&google["message"], &google["status"]));
            let kind = if e.status == 429 { "rate_limit_error" } else { "invalid_request_error" };
            assert_eq!(body["error"]["type"], kind, "{}", e.name);
            errors += 1;
            continue;
        }
        let parts = parts(&e);
        let (text, thinking, calls) = said(&parts);
        let usage = expected(&parts).unwrap();
        let finish = match finish(&parts) {
            "MAX_TOKENS" => "length",
            _ if calls.is_empty() => "stop",
            _ => "tool_calls",
        };
        called += calls.len();
        if e.sse {
            let out = String::from_utf8(streamed(into(Dialect::OpenAi), &e.response, 333)).unwrap();
            let chunks: Vec<Value> =
                out.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
            let all = |field: &str| -> String {
                chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][field].as_str()).collect()
            };
            assert_eq!((all("content"), all("reasoning_content")), (text, thinking), "{}", e.name);
            let mut got: Vec<(String, String)> = Vec::new();
            for call in
                chunks.iter().flat_map(|c| c["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten())
            {
                let function = &call["function"];
                if let Some(name) = function["name"].as_str() {
                    got.push((name.to_owned(), String::new()));
                }
                got.last_mut().unwrap().1.push_str(function["arguments"].as_str().unwrap());
            }
            let got: Vec<_> =
                got.into_iter().map(|(name, args)| (name, serde_json::from_str(&args).unwrap())).collect();
            assert_eq!(got, calls, "{}", e.name);
            let reason = chunks.iter().filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).next_back();
            assert_eq!(reason, Some(finish), "{}", e.name);
            assert!(out.ends_with("data: [DONE]\n\n"));
            for size in [1, 7] {
                assert_eq!(streamed(into(Dialect::OpenAi), &e.response, size), out.as_bytes(), "{}", e.name);
            }
            streams += 1;
        } else if e.response.starts_with(b"[") {
            // The array is for callers of Gemini alone.
            assert_eq!(into(Dialect::OpenAi).whole(&e.response), None);
        } else {
            let body: Value = serde_json::from_slice(&into(Dialect::OpenAi).whole(&e.response).unwrap()).unwrap();
            let message = &body["choices"][0]["message"];
            assert_eq!(message["content"].as_str().unwrap_or_default(), text, "{}", e.name);
            assert_eq!(message["reasoning_content"].as_str().unwrap_or_default(), thinking, "{}", e.name);
            let got = message["tool_calls"].as_array().into_iter().flatten().map(|call| {
                let function = &call["function"];
                let name = function["name"].as_str().unwrap().to_owned();
                (name, serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap())
            });
            assert_eq!(got.collect::<Vec<_>>(), calls, "{}", e.name);
            assert_eq!(body["choices"][0]["finish_reason"], finish, "{}", e.name);
            let told = &body["usage"];
            assert_eq!(
                (&told["prompt_tokens"], &told["completion_tokens"]),
                (&json!(usage.input), &json!(usage.output))
            );
            let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let names = (name(&body["id"]), name(&body["model"]));
            assert_eq!(names, (name(&parts[0]["responseId"]), name(&parts[0]["modelVersion"])), "{}", e.name);
            whole += 1;
        }
    }
    println!("gemini: {whole} answers, {streams} streams, {errors} errors, {called} calls of functions as chats");
    assert!(whole > 0 && streams > 0);
}

/// What Gemini says, said in another dialect and again in Gemini's, is the same.
#[test]
fn answers_come_back_as_they_were() {
    let mut compared = 0;
    for e in exchanges().iter().filter(|e| e.status == 200 && !e.response.starts_with(b"[")) {
        for dialect in [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic] {
            let back = translate::gemini_request(
                br#"{"contents":[]}"#,
                Some(Frames::Array),
                &to(dialect),
                Timestamp::from_secs(0),
            );
            let back = back.unwrap().1;
            let again = if e.sse {
                let there = streamed(into(dialect), &e.response, 100);
                serde_json::from_slice::<Vec<Value>>(&streamed(back, &there, 77)).unwrap()
            } else {
                let there = into(dialect).whole(&e.response).unwrap();
                vec![serde_json::from_slice(&back.whole(&there).unwrap()).unwrap()]
            };
            assert_eq!(said(&again), said(&parts(e)), "{}", e.name);
            assert_eq!(again.last().unwrap()["candidates"][0]["finishReason"], finish(&parts(e)), "{}", e.name);
            compared += 1;
        }
    }
    println!("gemini: {compared} answers there and back");
    assert!(compared >= 4);
}

#[test]
fn calls_are_understood_by_providers_of_other_dialects() {
    let (mut read, mut in_responses, mut refused) = (0, 0, Vec::new());
    for e in exchanges() {
        let Some(body) = e.request.filter(|body| !body.is_empty()) else { continue };
        assert_eq!(GeminiCall::parse(&body, "any").unwrap().rewrite(&body, "other"), body, "{}", e.name);
        let call: Value = serde_json::from_slice(&body).unwrap();
        let translated =
            translate::gemini_request(&body, Some(Frames::Events), &to(Dialect::OpenAi), Timestamp::from_secs(0));
        let chat = match translated {
            Ok((chat, _)) => chat,
            Err(why) => {
                refused.push(format!("{}: {why}", e.name));
                continue;
            }
        };
        assert!(ChatCall::parse(&chat).unwrap().stream());
        let chat: Value = serde_json::from_slice(&chat).unwrap();
        // Every text of the call is said, but for thinking.
        let told = chat["messages"].to_string();
        for content in call["contents"].as_array().unwrap() {
            for part in content["parts"].as_array().into_iter().flatten().filter(|part| part["thought"] != true) {
                if let Some(text) = part["text"].as_str() {
                    let text = json!(text).to_string();
                    assert!(told.contains(text.trim_matches('"')), "{}", e.name);
                }
                let data = part["inlineData"]["data"].as_str().or(part["inline_data"]["data"].as_str());
                assert!(data.is_none_or(|data| told.contains(data)), "{}", e.name);
            }
        }
        let names: Vec<&str> = call["tools"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|tool| tool["functionDeclarations"].as_array().into_iter().flatten())
            .map(|function| function["name"].as_str().unwrap())
            .collect();
        let got: Vec<&str> = chat["tools"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|tool| tool["function"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(got, names, "{}", e.name);
        for schema in chat["tools"].as_array().into_iter().flatten().map(|tool| &tool["function"]["parameters"]) {
            assert!(schema.is_null() || schema["type"] == "object", "{}: {schema}", e.name);
        }
        read += 1;
        // In Responses the same, but for texts to stop at, which it has not.
        let responses =
            translate::gemini_request(&body, Some(Frames::Events), &to(Dialect::Responses), Timestamp::from_secs(0));
        match responses {
            Ok((responses, _)) => {
                let into_chat = to(Dialect::OpenAi);
                let again = translate::request(&responses, Dialect::Responses, &into_chat, Timestamp::from_secs(0));
                let (again, _) = again.unwrap_or_else(|why| panic!("{}: {why}", e.name));
                let again: Value = serde_json::from_slice(&again).unwrap();
                assert_eq!((&again["messages"], &again["tools"]), (&chat["messages"], &chat["tools"]), "{}", e.name);
                in_responses += 1;
            }
            Err(why) => assert!(why.to_string().contains("a text to stop at"), "{}: {why}", e.name),
        }
        if told.contains("What else the tool returned") {
            continue; // a document that a function returned is said by the user from then on
        }
        // And back into a call that says the same.
        let back = translate::request(
            chat.to_string().as_bytes(),
            Dialect::OpenAi,
            &to(Dialect::Gemini),
            Timestamp::from_secs(0),
        );
        let (back, _) = back.unwrap_or_else(|why| panic!("{}: {why}", e.name));
        let again =
            translate::gemini_request(&back, Some(Frames::Events), &to(Dialect::OpenAi), Timestamp::from_secs(0))
                .unwrap();
        let again: Value = serde_json::from_slice(&again.0).unwrap();
        assert_eq!((&again["messages"], &again["tools"]), (&chat["messages"], &chat["tools"]), "{}", e.name);
    }
    println!("gemini: {in_responses} of them in Responses too");
    assert!(in_responses > 0);
    println!("gemini: {read} calls translated, refused:\n  {}", refused.join("\n  "));
    assert!(read > refused.len() && read > 1);
}
