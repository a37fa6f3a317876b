//! Fields that no description of a dialect knows: passed on at the top of a call, left out within what is translated.

use crate::{PROVIDERS, request};
use credentialflow_llm::provider::Dialect;
use serde_json::{Value, json};

/// A field that nobody knows.
const UNKNOWN: &str = "x_unheard_of";

/// A conversation with a tool, in each caller's dialect; `?` stands wherever such a field may be.
fn calls() -> [(Dialect, Value); 4] {
    let schema = json!({"type": "object", "properties": {"of": {"type": "string"}}});
    [
        (
            Dialect::OpenAi,
            json!({"model": "m",
                "messages": [
                    {"role": "system", "content": "Be brief.", "?": 1},
                    {"role": "user", "?": 1, "content": [
                        {"type": "text", "text": "Look.", "?": 1},
                        {"type": "image_url", "?": 1, "image_url": {"url": "data:image/png;base64,AAAA", "?": 1}},
                    ]},
                    {"role": "assistant", "content": null, "?": 1, "tool_calls": [
                        {"id": "call_1", "type": "function", "?": 1, "function": {"name": "look", "arguments": "{}", "?": 1}},
                    ]},
                    {"role": "tool", "tool_call_id": "call_1", "content": "Rain.", "?": 1},
                ],
                "tools": [{"type": "function", "?": 1, "function": {"name": "look", "parameters": schema, "?": 1}}]}),
        ),
        (
            Dialect::Anthropic,
            json!({"model": "m", "max_tokens": 9,
                "system": [{"type": "text", "text": "Be brief.", "?": 1}],
                "messages": [
                    {"role": "user", "?": 1, "content": [
                        {"type": "text", "text": "Look.", "?": 1},
                        {"type": "image", "?": 1,
                            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA", "?": 1}},
                    ]},
                    {"role": "assistant", "?": 1, "content": [
                        {"type": "tool_use", "id": "call_1", "name": "look", "input": {}, "?": 1},
                    ]},
                    {"role": "user", "content": [
                        {"type": "tool_result", "tool_use_id": "call_1", "?": 1,
                            "content": [{"type": "text", "text": "Rain.", "?": 1}]},
                    ]},
                ],
                "tools": [{"name": "look", "input_schema": schema, "?": 1}]}),
        ),
        (
            Dialect::Responses,
            json!({"model": "m",
                "input": [
                    {"role": "system", "content": "Be brief.", "?": 1},
                    {"role": "user", "?": 1, "content": [
                        {"type": "input_text", "text": "Look.", "?": 1},
                        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "?": 1},
                    ]},
                    {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}", "?": 1},
                    {"type": "function_call_output", "call_id": "call_1", "output": "Rain.", "?": 1},
                ],
                "tools": [{"type": "function", "name": "look", "parameters": schema, "?": 1}]}),
        ),
        (
            Dialect::Gemini,
            json!({
                "systemInstruction": {"?": 1, "parts": [{"text": "Be brief.", "?": 1}]},
                "contents": [
                    {"role": "user", "?": 1, "parts": [
                        {"text": "Look.", "?": 1},
                        {"?": 1, "inlineData": {"mimeType": "image/png", "data": "AAAA", "?": 1}},
                    ]},
                    {"role": "model", "?": 1, "parts": [{"?": 1, "functionCall": {"name": "look", "args": {}, "?": 1}}]},
                    {"role": "user", "parts": [
                        {"?": 1, "functionResponse": {"name": "look", "response": {"result": "Rain."}, "?": 1}},
                    ]},
                ],
                "tools": [{"functionDeclarations": [{"name": "look", "parametersJsonSchema": schema, "?": 1}]}]}),
        ),
    ]
}

#[test]
fn unknown_fields_pass_at_the_top_and_are_left_out_within() {
    for (from, call) in calls() {
        let told = call.to_string();
        assert!(told.matches("\"?\":1").count() > 6, "{from:?}");
        let without = told.replace(",\"?\":1", "").replace("\"?\":1,", "");
        let (within, top) = (told.replace('?', UNKNOWN), without.replacen('{', &format!("{{\"{UNKNOWN}\":[1.50],"), 1));
        for to in PROVIDERS.into_iter().filter(|to| *to != from) {
            let body = |call: &str| match request(call.as_bytes(), from, to) {
                Ok((body, _)) => String::from_utf8(body).unwrap(),
                Err(why) => panic!("{from:?} in {to:?}: {why}"),
            };
            assert!(!without.contains('?') && within.contains(UNKNOWN));
            assert_eq!(body(&within), body(&without), "{from:?} in {to:?}");
            let got: Value = serde_json::from_str(&body(&top)).unwrap();
            // Converse has a place for what models read themselves.
            let place = if to == Dialect::Bedrock { &got["additionalModelRequestFields"] } else { &got };
            assert_eq!(place[UNKNOWN], json!([1.5]), "{from:?} in {to:?}: {got}");
        }
    }
}
