//! What models of Google's sign of what they think goes to callers of every dialect and back to them, and to nobody else.
#![allow(clippy::unwrap_used)]
use super::tests_thinking::{sent, streamed, whole};
use super::{StreamFailure, To};
use crate::provider::Dialect;
use serde_json::{Value, json};

const GEMINI: To<'_> = To::new(Dialect::Gemini, "gemini-3-pro");
const SKIP: &str = "skip_thought_signature_validator";

fn generated(parts: &Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 5}, "responseId": "r", "modelVersion": "g"})
}

/// An answer that calls two functions at the same time.
fn calls() -> Value {
    json!([{"text": "I look."}, {"functionCall": {"id": "t1", "name": "look", "args": {"a": 1}}, "thoughtSignature": "c2lnMQ=="},
        {"functionCall": {"id": "t2", "name": "look", "args": {}}}])
}

/// One that says something, thinking of it before.
fn says() -> Value {
    json!([{"text": "Hm.", "thought": true}, {"text": "A tree.", "thoughtSignature": "c2lnMg=="}])
}

/// The conversation that a caller of Chat Completions has after these messages of the assistant.
fn chat(calls: &Value, says: &Value) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "What is there?"}, calls,
        {"role": "tool", "tool_call_id": "t1", "content": "a tree"}, {"role": "tool", "tool_call_id": "t2", "content": "grass"},
        says, {"role": "user", "content": "And now?"}]})
}

fn messages(calls: &Value, says: &Value) -> Value {
    let result = |id: &str, text: &str| json!({"type": "tool_result", "tool_use_id": id, "content": text});
    json!({"model": "m", "max_tokens": 9, "tools": [{"name": "look", "input_schema": {"type": "object"}}], "messages": [{"role": "user", "content": "What is there?"},
        {"role": "assistant", "content": calls},
        {"role": "user", "content": [result("t1", "a tree"), result("t2", "grass")]},
        {"role": "assistant", "content": says}, {"role": "user", "content": "And now?"}]})
}

fn responses(calls: &Value, says: &Value) -> Value {
    let result = |id: &str, text: &str| json!({"type": "function_call_output", "call_id": id, "output": text});
    let mut input = vec![json!({"role": "user", "content": "What is there?"})];
    input.extend(calls.as_array().unwrap().iter().cloned());
    input.extend([result("t1", "a tree"), result("t2", "grass")]);
    input.extend(says.as_array().unwrap().iter().cloned());
    input.push(json!({"role": "user", "content": "And now?"}));
    json!({"model": "m", "input": input})
}

/// The parts that the model itself wrote.
fn written(sent: &Value) -> [Value; 2] {
    [sent["contents"][1]["parts"].clone(), sent["contents"][3]["parts"].clone()]
}

/// What it is sent back: all but thinking that nobody signed.
fn back() -> [Value; 2] {
    [calls(), json!([says()[1]])]
}

#[test]
fn gemini_is_sent_back_what_it_signed_by_callers_of_chat_completions() {
    let message = |parts| whole(Dialect::Gemini, Dialect::OpenAi, &generated(parts))["choices"][0]["message"].clone();
    let (called, said) = (message(&calls()), message(&says()));
    let extra = |signature: &str| json!({"google": {"thought_signature": signature}});
    assert_eq!(called["tool_calls"][0]["extra_content"], extra("c2lnMQ=="));
    assert_eq!((called.get("extra_content"), called["tool_calls"][1].get("extra_content")), (None, None));
    assert_eq!((&said["extra_content"], &said["reasoning_content"]), (&extra("c2lnMg=="), &json!("Hm.")));
    let call = chat(&called, &said);
    assert_eq!(written(&sent(&call, Dialect::OpenAi, &GEMINI)), back());
    // Nobody else is.
    for to in [
        To::new(Dialect::OpenAi, "gpt"),
        To::new(Dialect::Anthropic, "claude-sonnet-4-5"),
        To::new(Dialect::Responses, "gpt"),
    ] {
        let other = sent(&call, Dialect::OpenAi, &to).to_string();
        assert!(!other.contains("c2ln") && !other.contains("signature"), "{other}");
    }
    // What has none is let pass, by the first call of a turn.
    let mut bare = call;
    bare["messages"][1]["tool_calls"][0].as_object_mut().unwrap().remove("extra_content");
    bare["messages"][4]["extra_content"] = json!({"google": {"thought_signature": 7}, "other": 1});
    let [first, second] = written(&sent(&bare, Dialect::OpenAi, &GEMINI));
    assert_eq!((&first[1]["thoughtSignature"], first[2].get("thoughtSignature")), (&json!(SKIP), None));
    assert_eq!(second, json!([{"text": "A tree."}]));
}

#[test]
fn gemini_is_sent_back_what_it_signed_by_callers_of_messages() {
    let content = |parts| whole(Dialect::Gemini, Dialect::Anthropic, &generated(parts))["content"].clone();
    let (called, said) = (content(&calls()), content(&says()));
    let thinking = |text: &str, signature: &str| json!({"type": "thinking", "thinking": text, "signature": signature});
    assert_eq!(
        called,
        json!([{"type": "text", "text": "I look."}, thinking("", "google-signature-of-call:c2lnMQ=="),
            {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}},
            {"type": "tool_use", "id": "t2", "name": "look", "input": {}}])
    );
    assert_eq!(
        said,
        json!([thinking("Hm.", ""), {"type": "text", "text": "A tree."}, thinking("", "google-signature:c2lnMg==")])
    );
    let call = messages(&called, &said);
    assert_eq!(written(&sent(&call, Dialect::Anthropic, &GEMINI)), back());
    // Nobody else is.
    let claude = To::new(Dialect::Bedrock, "anthropic.claude-sonnet-4-5-20250929-v1:0");
    for to in [To::new(Dialect::OpenAi, "gpt"), claude, To::new(Dialect::Responses, "gpt")] {
        let other = sent(&call, Dialect::Anthropic, &to).to_string();
        assert!(!other.contains("c2ln") && !other.contains("signature"), "{other}");
    }
    // Nor is Google sent what Anthropic signed.
    let claudes = json!([thinking("Hm.", "EqQB"), {"type": "redacted_thinking", "data": "cmVk"}, called[2], called[3]]);
    let [first, _] = written(&sent(&messages(&claudes, &said), Dialect::Anthropic, &GEMINI));
    assert_eq!(first[0]["thoughtSignature"], SKIP);
    assert!(!first.to_string().contains("EqQB") && first.as_array().unwrap().len() == 2, "{first}");
    // What was thought and signed is a part of its own, and so is a signature of nothing that is there.
    let odd = json!([thinking("Hm.", "google-signature:YQ=="), {"type": "tool_use", "id": "t1", "name": "look", "input": {}},
        {"type": "tool_use", "id": "t2", "name": "look", "input": {}}, thinking("", "google-signature:Yg==")]);
    let [first, _] = written(&sent(&messages(&odd, &said), Dialect::Anthropic, &GEMINI));
    assert_eq!(first[0], json!({"text": "Hm.", "thought": true, "thoughtSignature": "YQ=="}));
    assert_eq!(first[1]["thoughtSignature"], SKIP);
    assert_eq!(first[3], json!({"text": "", "thoughtSignature": "Yg=="}));
}

#[test]
fn gemini_is_sent_back_what_it_signed_by_callers_of_responses() {
    let output = |parts| whole(Dialect::Gemini, Dialect::Responses, &generated(parts))["output"].clone();
    let (called, said) = (output(&calls()), output(&says()));
    let kinds = |items: &Value| -> Vec<String> {
        items.as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&called), ["message", "reasoning", "function_call", "function_call"]);
    assert_eq!(called[1]["encrypted_content"], "google-signature-of-call:c2lnMQ==");
    assert_eq!(kinds(&said), ["reasoning", "message", "reasoning"]);
    assert_eq!(said[2]["encrypted_content"], "google-signature:c2lnMg==");
    let call = responses(&called, &said);
    assert_eq!(written(&sent(&call, Dialect::Responses, &GEMINI)), back());
    let other = sent(&call, Dialect::Responses, &To::new(Dialect::Anthropic, "claude-sonnet-4-5")).to_string();
    assert!(!other.contains("c2ln"), "{other}");
}

/// Adds a delta to what came before, as OpenAI's SDKs do.
pub(super) fn merge(to: &mut Value, delta: &Value) {
    match (to, delta) {
        (Value::Object(to), Value::Object(delta)) => {
            for (name, more) in delta {
                merge(to.entry(name.clone()).or_insert(Value::Null), more);
            }
        }
        (Value::String(to), Value::String(more)) => to.push_str(more),
        (to, more) => *to = more.clone(),
    }
}

/// A stream of Gemini's: the signature of a text comes with its last part, or behind it.
fn stream(parts: &[Value]) -> String {
    let all = parts.len() - 1;
    let event = |(i, part): (usize, &Value)| {
        let mut event = generated(&json!([part]));
        if i < all {
            event["candidates"][0].as_object_mut().unwrap().remove("finishReason");
        }
        format!("data: {event}\r\n\r\n")
    };
    parts.iter().enumerate().map(event).collect()
}

#[test]
fn streams_of_gemini_are_signed_too() {
    let called = stream(calls().as_array().unwrap());
    let said = stream(&[
        json!({"text": "Hm.", "thought": true}),
        json!({"text": "A "}),
        json!({"text": "tree."}),
        json!({"text": "", "thoughtSignature": "c2lnMg=="}),
    ]);
    let events = |caller, raw: &str| -> Vec<Value> {
        let (events, failure): (_, Option<StreamFailure>) = streamed(Dialect::Gemini, caller, raw);
        assert_eq!(failure, None);
        events
    };
    let message = |raw: &str| {
        let (mut message, mut calls) = (json!({"role": "assistant", "content": ""}), Vec::new());
        let mut signatures = 0;
        for chunk in events(Dialect::OpenAi, raw) {
            let delta = &chunk["choices"][0]["delta"];
            message["content"] =
                format!("{}{}", message["content"].as_str().unwrap(), delta["content"].as_str().unwrap_or("")).into();
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                let at = call["index"].as_u64().unwrap() as usize;
                calls.resize(calls.len().max(at + 1), Value::Null);
                merge(&mut calls[at], call);
            }
            if let Some(extra) = delta.get("extra_content") {
                message["extra_content"] = extra.clone();
                signatures += 1;
            }
        }
        // More than one would be joined to one text by the SDKs.
        assert!(signatures <= 1);
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        message
    };
    let call = chat(&message(&called), &message(&said));
    assert_eq!(written(&sent(&call, Dialect::OpenAi, &GEMINI)), back());
    let content = |raw: &str| {
        let mut blocks: Vec<Value> = Vec::new();
        for event in events(Dialect::Anthropic, raw) {
            if event["type"] == "content_block_start" {
                blocks.push(event["content_block"].clone());
            }
            let (delta, Some(block)) = (&event["delta"], blocks.last_mut()) else { continue };
            for (field, of) in
                [("thinking", "thinking"), ("signature", "signature"), ("text", "text"), ("partial_json", "input")]
            {
                if let Some(more) = delta[field].as_str() {
                    block[of] = format!("{}{more}", block[of].as_str().unwrap_or_default()).into();
                }
            }
        }
        for block in &mut blocks {
            if let Some(input) = block["input"].as_str() {
                block["input"] = serde_json::from_str(input).unwrap();
            }
        }
        json!(blocks)
    };
    let call = messages(&content(&called), &content(&said));
    assert_eq!(written(&sent(&call, Dialect::Anthropic, &GEMINI)), back());
    let output = |raw: &str| events(Dialect::Responses, raw).last().unwrap()["response"]["output"].clone();
    let call = responses(&output(&called), &output(&said));
    assert_eq!(written(&sent(&call, Dialect::Responses, &GEMINI)), back());
}
