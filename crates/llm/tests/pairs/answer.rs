//! What an answer says, read with serde_json's tree from any dialect: the expectation that knows nothing of the translation.

use credentialflow_llm::provider::Dialect;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    End,
    Calls,
    Limit,
    Refused,
}

/// Tokens: read, of these from a cache, and written.
pub type Tokens = (u64, u64, u64);

#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub thinking: String,
    pub words: String,
    /// Names and inputs.
    pub calls: Vec<(String, Value)>,
    pub stop: Stop,
    /// None where that is not told.
    pub tokens: Option<Tokens>,
}

impl Said {
    /// The same where the dialect has no word of its own for calls of tools, or providers do not always say it.
    pub fn settled(mut self) -> Self {
        if self.stop == Stop::End && !self.calls.is_empty() {
            self.stop = Stop::Calls;
        }
        self
    }

    /// Whether this is what a caller was told, of whom nobody can know whether nothing was read or nothing told.
    pub fn is(&self, told: &Self) -> bool {
        let tokens = self.tokens.is_none() || self.tokens == told.tokens;
        tokens && Self { tokens: None, ..self.clone() } == Self { tokens: None, ..told.clone() }
    }
}

/// What a whole answer says.
pub fn whole(dialect: Dialect, bytes: &[u8]) -> Said {
    let answer = serde_json::from_slice(bytes).unwrap();
    of(dialect, &answer)
}

/// What a stream says. Of Gemini's, an array says the same.
pub fn streamed(dialect: Dialect, bytes: &[u8]) -> Said {
    of(dialect, &joined(dialect, bytes))
}

/// The events of a stream.
pub fn told(dialect: Dialect, stream: &[u8]) -> Vec<Value> {
    if dialect == Dialect::Bedrock { frames(stream) } else { events(stream) }
}

/// A stream as the whole answer that it is.
pub fn joined(dialect: Dialect, bytes: &[u8]) -> Value {
    match dialect {
        Dialect::OpenAi => join_chat(&events(bytes)),
        Dialect::Anthropic => join_messages(&events(bytes)),
        Dialect::Responses => join_responses(&events(bytes)),
        Dialect::Gemini => join_gemini(&events(bytes)),
        _ => join_converse(&frames(bytes)),
    }
}

fn of(dialect: Dialect, answer: &Value) -> Said {
    match dialect {
        Dialect::OpenAi => chat(answer),
        Dialect::Anthropic => message(answer),
        Dialect::Responses => response(answer).settled(),
        Dialect::Gemini => generated(answer).settled(),
        _ => converse(answer),
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn input(arguments: &Value) -> Value {
    match text(arguments).trim() {
        "" => json!({}),
        told => serde_json::from_str(told).unwrap(),
    }
}

fn append(to: &mut Value, more: &Value) {
    *to = (text(to).to_owned() + text(more)).into();
}

/// The JSON of each event; recordings have one data line an event.
fn events(stream: &[u8]) -> Vec<Value> {
    let told = std::str::from_utf8(stream).unwrap();
    let data = told.lines().filter_map(|line| line.strip_prefix("data:"));
    data.filter_map(|data| serde_json::from_str(data.trim()).ok()).collect()
}

/// The JSON of each of AWS's frames, by their lengths alone.
fn frames(mut stream: &[u8]) -> Vec<Value> {
    let word = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut found = Vec::new();
    while !stream.is_empty() {
        let (length, headers) = (word(stream, 0), word(stream, 4));
        found.push(serde_json::from_slice(&stream[12 + headers..length - 4]).unwrap());
        stream = &stream[length..];
    }
    found
}

fn chat(completion: &Value) -> Said {
    let choice = &completion["choices"][0];
    let message = &choice["message"];
    // Snowflake tells thinking there alone.
    let details = items(&message["reasoning_details"]).filter(|one| one["format"] == "anthropic-claude-v1");
    let details: String = details.map(|one| text(&one["text"])).collect();
    let thoughts = [text(&message["reasoning_content"]), text(&message["reasoning"]), &details];
    let thought = thoughts.into_iter().find(|thought| !thought.is_empty()).unwrap_or_default();
    let (mut words, mut thinking) = (text(&message["content"]).to_owned(), thought.to_owned());
    for part in items(&message["content"]) {
        words += text(&part["text"]);
        thinking.extend(items(&part["thinking"]).map(|part| text(&part["text"])));
    }
    let refusal = text(&message["refusal"]);
    let calls = items(&message["tool_calls"]).map(|call| &call["function"]);
    let stop = match text(&choice["finish_reason"]) {
        "length" => Stop::Limit,
        "content_filter" => Stop::Refused,
        _ if !refusal.is_empty() => Stop::Refused,
        "tool_calls" => Stop::Calls,
        _ => Stop::End,
    };
    let usage = [&completion["usage"], &completion["x_groq"]["usage"]].into_iter().find(|usage| usage.is_object());
    let tokens = usage.and_then(|usage| {
        let (read, shown) = (usage["prompt_tokens"].as_u64()?, number(&usage["completion_tokens"]));
        let cached = &usage["prompt_tokens_details"]["cached_tokens"];
        let cached = cached.as_u64().or(usage["prompt_cache_hit_tokens"].as_u64()).or(usage["cached_tokens"].as_u64());
        // Where the total is more, the rest was written and is not shown. Recorded at Azure: more cached than read.
        let hidden = number(&usage["total_tokens"]).saturating_sub(read + shown);
        Some((read, cached.unwrap_or(0).min(read), shown + hidden))
    });
    Said {
        words: words + refusal,
        thinking,
        calls: calls.map(|call| (text(&call["name"]).to_owned(), input(&call["arguments"]))).collect(),
        stop,
        tokens,
    }
}

fn join_chat(chunks: &[Value]) -> Value {
    let mut message = json!({"content": [], "reasoning_content": "", "reasoning": "", "refusal": "", "tool_calls": [],
        "annotations": [], "reasoning_details": []});
    let mut all = json!({"choices": [{}]});
    for chunk in chunks {
        if chunk["citations"].is_array() {
            all["citations"] = chunk["citations"].clone();
        }
        for usage in [&chunk["usage"], &chunk["x_groq"]["usage"]].into_iter().filter(|usage| usage.is_object()) {
            all["usage"] = usage.clone();
        }
        let Some(choice) = items(&chunk["choices"]).find(|choice| number(&choice["index"]) == 0) else { continue };
        let delta = &choice["delta"];
        for list in ["annotations", "reasoning_details"] {
            message[list].as_array_mut().unwrap().extend(items(&delta[list]).cloned());
        }
        let content = message["content"].as_array_mut().unwrap();
        match &delta["content"] {
            Value::String(text) => content.push(json!({"type": "text", "text": text})),
            parts => content.extend(items(parts).cloned()),
        }
        for field in ["reasoning_content", "reasoning", "refusal"] {
            append(&mut message[field], &delta[field]);
        }
        for part in items(&delta["tool_calls"]) {
            let calls = message["tool_calls"].as_array_mut().unwrap();
            match part["id"].is_string() {
                true => calls.push(part.clone()),
                false => {
                    append(&mut calls.last_mut().unwrap()["function"]["arguments"], &part["function"]["arguments"])
                }
            }
        }
        if choice["finish_reason"].is_string() {
            all["choices"][0]["finish_reason"] = choice["finish_reason"].clone();
        }
    }
    all["choices"][0]["message"] = message;
    all
}

fn message(message: &Value) -> Said {
    let blocks = |kind: &'static str| items(&message["content"]).filter(move |block| block["type"] == kind);
    let calls = blocks("tool_use").map(|block| (text(&block["name"]).to_owned(), block["input"].clone()));
    let stop = match text(&message["stop_reason"]) {
        "max_tokens" | "model_context_window_exceeded" => Stop::Limit,
        "refusal" => Stop::Refused,
        "tool_use" => Stop::Calls,
        _ => Stop::End,
    };
    let usage = &message["usage"];
    let turns: Vec<&Value> = match items(&usage["iterations"]).collect::<Vec<_>>() {
        none if none.is_empty() => vec![usage],
        turns => turns,
    };
    let sum = |name: &str| turns.iter().map(|turn| number(&turn[name])).sum::<u64>();
    let cached = sum("cache_read_input_tokens");
    Said {
        words: blocks("text").map(|block| text(&block["text"])).collect(),
        thinking: blocks("thinking").map(|block| text(&block["thinking"])).collect(),
        calls: calls.collect(),
        stop,
        tokens: Some((sum("input_tokens") + cached + sum("cache_creation_input_tokens"), cached, sum("output_tokens"))),
    }
}

fn join_messages(events: &[Value]) -> Value {
    let (mut message, mut inputs) = (Value::Null, Vec::<Value>::new());
    for event in events {
        let (at, delta) = (number(&event["index"]) as usize, &event["delta"]);
        match text(&event["type"]) {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
                inputs.push(Value::Null);
            }
            "content_block_delta" => {
                for field in ["text", "thinking"].into_iter().filter(|field| delta[field].is_string()) {
                    append(&mut message["content"][at][field], &delta[field]);
                }
                append(&mut inputs[at], &delta["partial_json"]);
                if delta["citation"].is_object() {
                    let mut all: Vec<Value> = items(&message["content"][at]["citations"]).cloned().collect();
                    all.push(delta["citation"].clone());
                    message["content"][at]["citations"] = all.into();
                }
            }
            "content_block_stop" if !text(&inputs[at]).is_empty() => {
                message["content"][at]["input"] = input(&inputs[at])
            }
            "message_delta" => {
                message["stop_reason"] = delta["stop_reason"].clone();
                for (name, value) in
                    event["usage"].as_object().into_iter().flatten().filter(|(_, told)| !told.is_null())
                {
                    message["usage"][name] = value.clone();
                }
            }
            _ => {}
        }
    }
    message
}

fn response(response: &Value) -> Said {
    let (mut words, mut thinking, mut calls, mut refused) = (String::new(), String::new(), Vec::new(), false);
    for item in items(&response["output"]) {
        let texts = |field: &str| {
            let texts = items(&item[field]).filter_map(|part| part["text"].as_str().or(part["refusal"].as_str()));
            texts.filter(|text| !text.is_empty()).collect::<Vec<_>>()
        };
        match text(&item["type"]) {
            "message" => {
                words += &texts("content").concat();
                refused |= items(&item["content"]).any(|part| part["type"] == "refusal");
            }
            "reasoning" => {
                let summary = texts("summary");
                thinking += &if summary.is_empty() { texts("content") } else { summary }.join("\n\n");
            }
            "function_call" => calls.push((text(&item["name"]).to_owned(), input(&item["arguments"]))),
            _ => {}
        }
    }
    let stop = match response["incomplete_details"]["reason"].as_str() {
        _ if refused => Stop::Refused,
        Some("content_filter") => Stop::Refused,
        Some(_) => Stop::Limit,
        None => Stop::End,
    };
    let usage = &response["usage"];
    let tokens = usage["input_tokens"].as_u64().map(|read| {
        let written = number(&usage["output_tokens"]).max(number(&usage["total_tokens"]).saturating_sub(read));
        (read, number(&usage["input_tokens_details"]["cached_tokens"]), written)
    });
    Said { words, thinking, calls, stop, tokens }
}

/// The response that a stream ends with; that its parts had come before is looked at here.
fn join_responses(events: &[Value]) -> Value {
    let deltas = |kind: &str| -> String {
        events.iter().filter(|event| event["type"] == kind).map(|event| text(&event["delta"])).collect()
    };
    let last = events.last().unwrap()["response"].clone();
    let came = deltas("response.output_text.delta") + &deltas("response.refusal.delta");
    let all = response(&last);
    assert_eq!(all.words, came, "the words in pieces and whole");
    last
}

fn generated(answer: &Value) -> Said {
    let (mut words, mut thinking, mut calls) = (String::new(), String::new(), Vec::new());
    for part in items(&answer["candidates"][0]["content"]["parts"]) {
        *if part["thought"] == true { &mut thinking } else { &mut words } += text(&part["text"]);
        if let Some(call) = part["functionCall"].as_object() {
            calls.push((text(&call["name"]).to_owned(), call.get("args").cloned().unwrap_or(json!({}))));
        }
    }
    let stop = match text(&answer["candidates"][0]["finishReason"]) {
        _ if answer["promptFeedback"]["blockReason"].is_string() => Stop::Refused,
        "MAX_TOKENS" => Stop::Limit,
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" => Stop::Refused,
        _ => Stop::End,
    };
    let usage = &answer["usageMetadata"];
    let of = |name: &str| number(&usage[name]);
    let (read, written) = (of("promptTokenCount") + of("toolUsePromptTokenCount"), of("candidatesTokenCount"));
    let tokens = usage.is_object().then(|| (read, of("cachedContentTokenCount"), written + of("thoughtsTokenCount")));
    Said { words, thinking, calls, stop, tokens }
}

fn join_gemini(parts: &[Value]) -> Value {
    let mut all = json!({"candidates": [{"content": {"parts": []}}]});
    for part in parts {
        let (from, to) = (&part["candidates"][0], &mut all["candidates"][0]);
        to["content"]["parts"].as_array_mut().unwrap().extend(items(&from["content"]["parts"]).cloned());
        if from["finishReason"].is_string() {
            to["finishReason"] = from["finishReason"].clone();
        }
        if from["groundingMetadata"]["groundingSupports"].is_array() {
            to["groundingMetadata"] = from["groundingMetadata"].clone();
        }
        for (name, count) in part["usageMetadata"].as_object().into_iter().flatten().filter(|(_, count)| count.is_u64())
        {
            // Each is of all there was up to then, but the last may leave out what another told.
            all["usageMetadata"][name] = number(count).max(number(&all["usageMetadata"][name])).into();
        }
    }
    all
}

fn converse(answer: &Value) -> Said {
    let content = || items(&answer["output"]["message"]["content"]);
    let words = content().flat_map(|block| items(&block["citationsContent"]["content"]).chain([block]));
    let calls =
        content().map(|block| &block["toolUse"]).filter(|call| call.is_object() && call["type"] != "server_tool_use");
    let stop = match text(&answer["stopReason"]) {
        "max_tokens" | "model_context_window_exceeded" => Stop::Limit,
        "guardrail_intervened" | "content_filtered" => Stop::Refused,
        "tool_use" => Stop::Calls,
        _ => Stop::End,
    };
    let of = |name: &str| number(&answer["usage"][name]);
    let cached = of("cacheReadInputTokens");
    Said {
        words: words.map(|block| text(&block["text"])).collect(),
        thinking: content().map(|block| text(&block["reasoningContent"]["reasoningText"]["text"])).collect(),
        calls: calls.map(|call| (text(&call["name"]).to_owned(), call["input"].clone())).collect(),
        stop,
        tokens: Some((of("inputTokens") + cached + of("cacheWriteInputTokens"), cached, of("outputTokens"))),
    }
}

fn join_converse(events: &[Value]) -> Value {
    let (mut all, mut blocks) = (json!({}), std::collections::BTreeMap::<u64, Value>::new());
    for event in events {
        for field in ["stopReason", "usage"].into_iter().filter(|field| !event[field].is_null()) {
            all[field] = event[field].clone();
        }
        let Some(at) = event["contentBlockIndex"].as_u64() else { continue };
        let (block, delta) = (blocks.entry(at).or_insert(json!({})), &event["delta"]);
        if event["start"]["toolUse"].is_object() {
            block["toolUse"] = event["start"]["toolUse"].clone();
            block["arguments"] = "".into();
        }
        if delta["text"].is_string() {
            append(&mut block["text"], &delta["text"]);
        }
        if delta["citation"].is_object() {
            let cited = &mut block["citationsContent"]["citations"];
            let all: Vec<Value> = items(cited).chain([&delta["citation"]]).cloned().collect();
            *cited = all.into();
        }
        append(&mut block["arguments"], &delta["toolUse"]["input"]);
        if delta["reasoningContent"]["text"].is_string() {
            append(&mut block["reasoningContent"]["reasoningText"]["text"], &delta["reasoningContent"]["text"]);
        }
    }
    for block in blocks.values_mut().filter(|block| block["citationsContent"].is_object()) {
        block["citationsContent"]["content"] = json!([{"text": block["text"].take()}]);
    }
    for block in blocks.values_mut().filter(|block| block["toolUse"].is_object()) {
        block["toolUse"]["input"] = input(&block["arguments"]);
    }
    all["output"]["message"]["content"] = blocks.into_values().collect();
    all
}
