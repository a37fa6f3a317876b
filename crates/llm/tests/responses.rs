//! Every recorded exchange in OpenAI's Responses, read the way the gateway reads it and as callers of the other dialects
//! see it; and the recorded exchanges of those, as callers of Responses see them.
//!
//! The recordings are found through `CREDENTIALFLOW_SUITES` or at `../shared/suites` beside the workspace.
//! Where they are absent, the small fixtures of this folder are read instead, and the test says so.
#![allow(clippy::unwrap_used)]
#![expect(clippy::print_stdout, reason = "says what was read, and when the recordings are absent")]

mod exchange;

use credentialflow_llm::{
    ChatCall,
    gemini::request::Frames,
    openai::responses::{Kept, usage},
    provider::Dialect,
    translate::{self, StreamFailure},
};
use credentialflow_model::{Timestamp, usage::TokenUsage};
use exchange::{Exchange, exchanges_at};
use serde_json::{Value, json};

fn responses() -> Vec<Exchange> {
    exchanges_at("responses", "/responses")
}

fn request(
    body: &[u8],
    from: Dialect,
    dialect: Dialect,
) -> Result<(Vec<u8>, translate::Translation), translate::Untranslatable> {
    let to = translate::To { ask_usage: true, ..translate::To::new(dialect, "other") };
    translate::request(body, from, &to, Timestamp::from_secs(1_790_000_000))
}

/// How the answers of a provider come to callers.
fn answer(from: Dialect, into: Dialect) -> translate::Translation {
    let call: &[u8] = match into {
        Dialect::Gemini => {
            let to = translate::To { ask_usage: true, ..translate::To::new(from, "other") };
            let (call, at) = (br#"{"contents":[]}"#, Timestamp::from_secs(1_790_000_000));
            return translate::gemini_request(call, Some(Frames::Events), &to, at).unwrap().1;
        }
        Dialect::Responses => br#"{"model":"m","stream":true,"input":"x"}"#,
        Dialect::OpenAi => br#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#,
        Dialect::Anthropic => br#"{"model":"m","stream":true,"max_tokens":1,"messages":[]}"#,
        Dialect::Bedrock | Dialect::Replicate => unreachable!("nobody calls in it"),
    };
    request(call, into, from).unwrap().1
}

fn relayed(answer: &translate::Translation, stream: &[u8], size: usize) -> (Vec<u8>, Option<StreamFailure>) {
    let (mut translator, mut out) = (answer.clone().stream(), Vec::new());
    stream.chunks(size.max(1)).for_each(|piece| translator.feed(piece, &mut out));
    translator.finish(&mut out);
    (out, translator.failure())
}

/// The JSON of each event; recordings have one data line an event.
fn events(stream: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stream).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    data.filter_map(|data| serde_json::from_str(data.trim()).ok()).collect()
}

/// The response that a stream ends with.
fn last(stream: &[u8]) -> Option<Value> {
    let ends = ["response.completed", "response.incomplete"];
    let mut events = events(stream);
    events.retain(|event| ends.contains(&event["type"].as_str().unwrap_or_default()));
    events.pop().map(|mut event| event["response"].take())
}

/// What a usage object says: the independent expectation.
fn expected(usage: &Value) -> Option<TokenUsage> {
    let input = usage["input_tokens"].as_u64()?;
    let of = |value: &Value| value.as_u64().unwrap_or(0);
    Some(TokenUsage {
        input,
        cached_input: of(&usage["input_tokens_details"]["cached_tokens"]),
        cache_write: of(&usage["input_tokens_details"]["cache_write_tokens"]),
        output: of(&usage["output_tokens"]).max(of(&usage["total_tokens"]).saturating_sub(input)),
        reasoning: of(&usage["output_tokens_details"]["reasoning_tokens"]),
        ..TokenUsage::default()
    })
}

/// What a response says: id, model, text, thinking, calls, and why it stopped.
fn same(response: &Value) -> Value {
    let (mut text, mut thinking, mut calls) = (String::new(), Vec::new(), Vec::new());
    for item in response["output"].as_array().unwrap() {
        let texts = |field: &str| {
            let parts = item[field].as_array().into_iter().flatten();
            let texts = parts.filter_map(|part| part["text"].as_str().or(part["refusal"].as_str()));
            texts.filter(|text| !text.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        match item["type"].as_str().unwrap() {
            "message" => text += &texts("content").concat(),
            "reasoning" => {
                let summary = texts("summary");
                thinking.push(if summary.is_empty() { texts("content") } else { summary }.join("\n\n"));
            }
            "function_call" => {
                let input: Value = serde_json::from_str(item["arguments"].as_str().unwrap()).unwrap();
                calls.push(json!([item["call_id"], item["name"], input]));
            }
            _ => {}
        }
    }
    let stop = match response["incomplete_details"]["reason"].as_str() {
        Some("content_filter") => "refusal",
        Some(_) => "max_tokens",
        None if calls.is_empty() => "end_turn",
        None => "tool_use",
    };
    let usage = expected(&response["usage"]).map(|usage| (usage.input, usage.output));
    json!([response["id"], response["model"], text, thinking.concat(), calls, stop, usage])
}

/// The same of a message.
fn said(message: &Value) -> Value {
    let blocks = |kind: &'static str| message["content"].as_array().unwrap().iter().filter(move |b| b["type"] == kind);
    let text: String = blocks("text").map(|b| b["text"].as_str().unwrap()).collect();
    let thinking: String = blocks("thinking").map(|b| b["thinking"].as_str().unwrap()).collect();
    let calls: Vec<Value> = blocks("tool_use").map(|b| json!([b["id"], b["name"], b["input"]])).collect();
    let of = |name: &str| message["usage"][name].as_u64().unwrap_or(0);
    let cached = of("cache_read_input_tokens") + of("cache_creation_input_tokens");
    let usage = (of("input_tokens") + cached, of("output_tokens"));
    json!([message["id"], message["model"], text, thinking, calls, message["stop_reason"], usage])
}

/// The message that a stream of Messages adds up to.
fn gathered(stream: &[u8]) -> Value {
    let mut message = Value::Null;
    let mut inputs: Vec<String> = Vec::new();
    let append =
        |to: &mut Value, more: &Value| *to = (to.as_str().unwrap_or("").to_owned() + more.as_str().unwrap()).into();
    for event in events(stream) {
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
                    "signature_delta" => append(&mut block["signature"], &delta["signature"]),
                    "citations_delta" => {
                        assert!(delta["citation"]["cited_text"].is_string(), "{event}");
                    }
                    _ => inputs[at] += delta["partial_json"].as_str().unwrap(),
                }
            }
            "content_block_stop" if !inputs[at].is_empty() => {
                message["content"][at]["input"] = serde_json::from_str(&inputs[at]).unwrap();
            }
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["usage"] = event["usage"].clone();
            }
            _ => {}
        }
    }
    message
}

fn sizes(length: usize) -> [usize; 6] {
    [length, 4096, 1000, 64, 7, 1]
}

#[test]
fn answers_and_streams_give_their_usage() {
    let (mut answers, mut streams, mut with_usage) = (0, 0, 0);
    for e in responses() {
        let whole: Option<Value> = if e.sse { last(&e.response) } else { serde_json::from_slice(&e.response).ok() };
        let expect = whole.and_then(|response| expected(&response["usage"]));
        for size in sizes(e.response.len()) {
            let pieces = e.response.chunks(size.max(1));
            let got = if e.sse {
                let mut probe = usage::StreamUsage::new();
                pieces.for_each(|piece| probe.inspect(piece));
                probe.finish();
                probe.usage()
            } else {
                let mut probe = usage::AnswerUsage::new();
                pieces.for_each(|piece| probe.feed(piece));
                probe.finish()
            };
            assert_eq!(got, expect, "{} by {size}", e.name);
        }
        answers += usize::from(!e.sse);
        streams += usize::from(e.sse);
        with_usage += usize::from(expect.is_some());
    }
    println!("responses: {answers} answers, {streams} streams, {with_usage} with usage");
    assert!(answers > 0 && streams > 0 && with_usage > 0);
}

#[test]
fn requests_are_read_and_only_their_model_is_changed() {
    let (mut read, mut keeping) = (0, 0);
    for e in responses() {
        let Some(body) = e.request else { continue };
        let Ok(mut expect) = serde_json::from_slice::<Value>(&body) else { continue };
        let Some(model) = expect["model"].as_str() else { continue };
        let call = ChatCall::parse(&body).unwrap();
        assert_eq!((call.model(), call.stream()), (model, expect["stream"] == true), "{}", e.name);
        assert_eq!(call.rewrite(&body, model, false), body, "{}", e.name);
        let kept = Kept::of(&body).unwrap();
        assert_eq!(kept.background, expect["background"] == true, "{}", e.name);
        assert_eq!(kept.continues.is_some(), !expect["previous_response_id"].is_null(), "{}", e.name);
        keeping += usize::from(kept.background || kept.continues.is_some());
        expect["model"] = "other".into();
        let got: Value = serde_json::from_slice(&call.rewrite(&body, "other", false)).unwrap();
        assert_eq!(got, expect, "{}", e.name);
        read += 1;
    }
    println!("responses: {read} requests, {keeping} that keep something with their provider");
    assert!(read > 0);
}

/// The texts of a content.
fn texts(content: &Value) -> Vec<String> {
    let parts = content.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
    content.as_str().into_iter().chain(parts).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

#[test]
fn recorded_calls_say_the_same_in_the_other_dialects() {
    let (mut translated, mut refused) = (0, 0);
    for e in responses() {
        let Some(body) = e.request else { continue };
        let Ok(mut call) = serde_json::from_slice::<Value>(&body) else { continue };
        if ChatCall::parse(&body).is_err() {
            continue;
        }
        // Asked for by most, as it is the usual. Nobody else keeps anything.
        if call["store"] == true {
            assert!(request(&body, Dialect::Responses, Dialect::Anthropic).is_err(), "{}", e.name);
            call.as_object_mut().unwrap().remove("store");
        }
        let body = call.to_string();
        let Ok((out, _)) = request(body.as_bytes(), Dialect::Responses, Dialect::Anthropic) else {
            refused += 1;
            continue;
        };
        let message: Value = serde_json::from_slice(&out).unwrap();
        let items = match &call["input"] {
            Value::String(text) => vec![json!({"role": "user", "content": text})],
            list => list.as_array().unwrap().clone(),
        };
        let of = |roles: &[&str]| {
            let all = items.iter().filter(|item| roles.iter().any(|role| item["role"] == *role));
            all.flat_map(|item| texts(&item["content"])).collect::<Vec<_>>()
        };
        let system = [texts(&call["instructions"]), of(&["system", "developer"])].concat();
        assert_eq!(texts(&message["system"]), system, "{}", e.name);
        let turns = message["messages"].as_array().unwrap();
        let blocks = || turns.iter().flat_map(|turn| turn["content"].as_array().unwrap());
        let said: Vec<String> = blocks().flat_map(|block| texts(&json!([block]))).collect();
        assert_eq!(said, of(&["user", "assistant"]), "{}", e.name);
        let kind = |kind: &'static str| items.iter().filter(move |item| item["type"] == kind);
        // Ids that Claude does not take are made anew.
        let fits = |id: &&Value| {
            let id = id.as_str().unwrap();
            id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        };
        let told = |id: &Value| Some(id).filter(fits).cloned();
        let written = |id: &Value| Some(id).filter(|id| items.iter().any(|item| item["call_id"] == **id)).cloned();
        let calls: Vec<Value> = kind("function_call")
            .map(|item| {
                let input: Value = serde_json::from_str(item["arguments"].as_str().unwrap()).unwrap();
                json!([told(&item["call_id"]), item["name"], input])
            })
            .collect();
        let used: Vec<Value> = blocks()
            .filter(|block| block["type"] == "tool_use")
            .map(|b| json!([written(&b["id"]), b["name"], b["input"]]))
            .collect();
        assert_eq!(used, calls, "{}", e.name);
        let outputs: Vec<Value> =
            kind("function_call_output").map(|item| json!([told(&item["call_id"]), texts(&item["output"])])).collect();
        let results: Vec<Value> = blocks()
            .filter(|block| block["type"] == "tool_result")
            .map(|b| json!([written(&b["tool_use_id"]), texts(&b["content"])]))
            .collect();
        assert_eq!(results, outputs, "{}", e.name);
        let tools = |list: &Value| {
            let tools = list.as_array().into_iter().flatten();
            tools.map(|tool| tool["name"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(tools(&message["tools"]), tools(&call["tools"]), "{}", e.name);
        // And in Chat Completions: what it says there it says in Messages.
        let (chat, _) = request(body.as_bytes(), Dialect::Responses, Dialect::OpenAi).unwrap();
        let (again, _) = request(&chat, Dialect::OpenAi, Dialect::Anthropic).unwrap();
        let again: Value = serde_json::from_slice(&again).unwrap();
        // Ids that are too long for OpenAI are made anew for it.
        let is_long = |item: &Value| item["call_id"].as_str().is_some_and(|id| id.len() > 40);
        let fields = ["tools", "system", "output_config", "messages"];
        for field in &fields[..fields.len() - usize::from(items.iter().any(is_long))] {
            assert_eq!(again[*field], message[*field], "{}: {field}", e.name);
        }
        translated += 1;
    }
    println!("responses: {translated} recorded calls translated, {refused} refused");
    assert!(translated > 0);
}

#[test]
fn recorded_answers_and_streams_say_the_same_in_the_other_dialects() {
    let (mut answers, mut streams, mut tools, mut thinking) = (0, 0, 0, 0);
    let into_messages = answer(Dialect::Responses, Dialect::Anthropic);
    let (into_chat, from_chat) =
        (answer(Dialect::Responses, Dialect::OpenAi), answer(Dialect::OpenAi, Dialect::Anthropic));
    for e in responses().into_iter().filter(|e| e.status == 200) {
        let whole: Value = match if e.sse { last(&e.response) } else { serde_json::from_slice(&e.response).ok() } {
            Some(whole) if whole["output"].is_array() => whole,
            _ => continue,
        };
        let mut expect = same(&whole);
        if e.sse {
            // Some providers say less in the end than before, or name the answer otherwise.
            let (begun, (out, failure)) = (&events(&e.response)[0], relayed(&into_messages, &e.response, 7));
            assert_eq!(failure, None, "{}", e.name);
            expect[0] = begun["response"]["id"].clone();
            expect[1] = begun["response"]["model"].clone();
            assert_eq!(said(&gathered(&out)), expect, "{}", e.name);
            for size in sizes(e.response.len()) {
                assert!(relayed(&into_messages, &e.response, size).0 == out, "{} by {size}", e.name);
            }
            let (chat, failure) = relayed(&into_chat, &e.response, 999);
            assert_eq!(failure, None, "{}", e.name);
            assert_eq!(said(&gathered(&relayed(&from_chat, &chat, 999).0)), expect, "{}", e.name);
            streams += 1;
        } else {
            let message = into_messages.whole(&e.response).unwrap();
            assert_eq!(said(&serde_json::from_slice(&message).unwrap()), expect, "{}", e.name);
            let again = from_chat.whole(&into_chat.whole(&e.response).unwrap()).unwrap();
            assert_eq!(said(&serde_json::from_slice(&again).unwrap()), expect, "{}", e.name);
            answers += 1;
        }
        tools += usize::from(expect[4] != json!([]));
        thinking += usize::from(expect[3] != "");
    }
    println!("responses: {answers} answers, {streams} streams, {tools} with tools, {thinking} with thinking");
    assert!(answers > 0 && streams > 0 && tools > 0 && thinking > 0);
}

/// An answer or a stream that came by way of Responses, with what its maker signed as it is without: who speaks Responses is
/// sent back what it told, whatever that is, so it has one more mark.
fn as_signed(bytes: Vec<u8>) -> Vec<u8> {
    const MARK: &str = "openai-encrypted:0000000000000000:";
    let redacted = format!("\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"{MARK}anthropic-redacted:");
    let text = String::from_utf8(bytes).unwrap().replace(&redacted, "\"type\":\"redacted_thinking\",\"data\":\"");
    text.replace(&format!("{MARK}anthropic-signature:"), "").replace(MARK, "").into_bytes()
}

/// The text of an answer or a stream. Messages may call tools for itself alone and end its turn: in Responses who calls a
/// tool waits for it.
fn text_of(bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes).unwrap();
    let called = text.contains("\"tool_calls\":[");
    if called { text.replace("\"finish_reason\":\"stop\"", "\"finish_reason\":\"tool_calls\"") } else { text }
}

#[test]
fn recorded_answers_of_the_other_dialects_lose_nothing_on_the_way_through_responses() {
    let (mut answers, mut streams) = (0, 0);
    for (api, path, from, into) in [
        ("chat", "/chat/completions", Dialect::OpenAi, Dialect::Anthropic),
        ("messages", "/v1/messages", Dialect::Anthropic, Dialect::OpenAi),
    ] {
        let (direct, there) = (answer(from, into), answer(from, Dialect::Responses));
        let onward = answer(Dialect::Responses, into);
        for e in exchanges_at(api, path).iter().filter(|e| e.status == 200) {
            if !e.sse {
                let Some(expect) = direct.whole(&e.response) else {
                    assert_eq!(there.whole(&e.response), None, "{}", e.name);
                    continue;
                };
                let got = onward.whole(&there.whole(&e.response).unwrap()).unwrap();
                assert_eq!(text_of(as_signed(got)), text_of(expect), "{}", e.name);
                answers += 1;
                continue;
            }
            let (expect, failure) = relayed(&direct, &e.response, 4096);
            let (response, failed) = relayed(&there, &e.response, 777);
            assert_eq!(failed, failure, "{}", e.name);
            let told = |stream: &[u8]| events(stream).iter().any(|event| !event["error"].is_null());
            if failure.is_some() || told(&expect) {
                continue; // an error is told in each dialect's own words
            }
            let (got, failure) = relayed(&onward, &response, 777);
            assert_eq!(failure, None, "{}", e.name);
            // What is told with the end of an item comes later than in its middle, so pings may stand elsewhere.
            let parted = |stream: Vec<u8>| {
                let text = text_of(stream);
                (text.matches(": ping\n\n").count(), text.replace(": ping\n\n", ""))
            };
            assert_eq!(parted(as_signed(got)), parted(expect), "{}", e.name);
            streams += 1;
        }
    }
    println!("responses: {answers} answers, {streams} streams through Responses and on");
    assert!(answers > 0 && streams > 0);
}
