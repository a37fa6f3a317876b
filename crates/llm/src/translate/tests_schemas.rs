//! A JSON Schema for the answer, and for the input of a tool that is strict, from callers of every dialect to providers
//! of every other.
#![allow(clippy::unwrap_used)]

use super::{To, request};
use crate::provider::Dialect;
use credentialflow_model::Timestamp;
use serde_json::{Value, json};

/// A call with a schema for its answer. `strict` is what OpenAI's callers say; others have no such word.
fn call(from: Dialect, schema: &Value, strict: bool) -> Value {
    match from {
        Dialect::OpenAi => json!({"model": "m", "messages": [{"role": "user", "content": "x"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": strict, "schema": schema}}}),
        Dialect::Responses => json!({"model": "m", "input": "x",
            "text": {"format": {"type": "json_schema", "name": "answer", "strict": strict, "schema": schema}}}),
        Dialect::Anthropic => json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}],
            "output_config": {"format": {"type": "json_schema", "schema": schema}}}),
        _ => json!({"contents": [{"parts": [{"text": "x"}]}],
            "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": schema}}),
    }
}

fn sent(from: Dialect, to: Dialect, call: &Value) -> Value {
    let model = if to == Dialect::Bedrock { "anthropic.claude-sonnet-4-5" } else { "other" };
    let (body, _) =
        request(call.to_string().as_bytes(), from, &To::new(to, model), Timestamp::from_secs(1_790_000_000)).unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// The schema as a provider is sent it, and `strict` where its dialect has the word.
fn schema(to: Dialect, body: &Value) -> (Value, Value) {
    let chat = &body["response_format"]["json_schema"];
    let responses = &body["text"]["format"];
    match to {
        Dialect::OpenAi => (chat["schema"].clone(), chat["strict"].clone()),
        Dialect::Responses => (responses["schema"].clone(), responses["strict"].clone()),
        Dialect::Anthropic => (body["output_config"]["format"]["schema"].clone(), Value::Null),
        Dialect::Gemini => (body["generationConfig"]["responseJsonSchema"].clone(), Value::Null),
        _ => {
            let text = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"].as_str().unwrap();
            (serde_json::from_str(text).unwrap(), Value::Null)
        }
    }
}

const CALLERS: [Dialect; 4] = [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic, Dialect::Gemini];
const PROVIDERS: [Dialect; 5] =
    [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock];

#[test]
fn the_schema_of_an_answer_is_as_its_provider_takes_it() {
    let city = json!({"type": "string"});
    let open = json!({"type": "object", "properties": {"city": city}, "required": ["city"]});
    let closed =
        json!({"type": "object", "properties": {"city": city}, "required": ["city"], "additionalProperties": false});
    let optional = json!({"type": "object", "properties": {"city": city, "near": open}, "required": ["city"]});
    let optional_closed = json!({"type": "object", "properties": {"city": city, "near": closed}, "required": ["city"],
        "additionalProperties": false});
    let any = json!({"type": "object", "additionalProperties": {"type": "string"}});
    // What is told, what Claude is sent, and whether OpenAI would take it as strict.
    for (told, for_claude, fits) in [
        (&open, &closed, false),
        (&closed, &closed, true),
        (&optional, &optional_closed, false),
        (&optional_closed, &optional_closed, false),
        // Claude says itself that it takes no such.
        (&any, &any, false),
    ] {
        for from in CALLERS {
            for to in PROVIDERS.into_iter().filter(|to| *to != from) {
                for said in [false, true] {
                    let (schema, strict) = schema(to, &sent(from, to, &call(from, told, said)));
                    let expect = if matches!(to, Dialect::Anthropic | Dialect::Bedrock) { for_claude } else { told };
                    assert_eq!(&schema, expect, "{from:?} to {to:?}");
                    let of_openai = |dialect| matches!(dialect, Dialect::OpenAi | Dialect::Responses);
                    let expect = match (of_openai(from), of_openai(to)) {
                        (_, false) => Value::Null,
                        // In OpenAI's own words.
                        (true, true) => said.into(),
                        (false, true) => fits.into(),
                    };
                    assert_eq!(strict, expect, "{from:?} to {to:?}: {told}");
                }
            }
        }
    }
}

#[test]
fn a_schema_of_googles_reaches_the_others() {
    let call = json!({"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}, "near": {"type": "OBJECT",
            "nullable": true, "properties": {"km": {"type": "INTEGER", "format": "int32", "minimum": 0}}}}, "required": ["city"]}}});
    for to in [Dialect::OpenAi, Dialect::Responses] {
        let (schema, strict) = schema(to, &sent(Dialect::Gemini, to, &call));
        assert_eq!((&schema["properties"]["near"]["type"], strict), (&json!(["object", "null"]), json!(false)));
    }
    for to in [Dialect::Anthropic, Dialect::Bedrock] {
        let (schema, _) = schema(to, &sent(Dialect::Gemini, to, &call));
        assert_eq!(
            schema,
            json!({"type": "object", "required": ["city"], "additionalProperties": false, "properties": {
                "city": {"type": "string"},
                "near": {"type": ["object", "null"], "additionalProperties": false, "properties": {
                    "km": {"type": "integer", "description": "{\"format\": \"int32\", \"minimum\": 0}"}}}}})
        );
    }
}

#[test]
fn tools_are_strict_where_their_schema_can_be() {
    let open = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let closed = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let messages = |schema: &Value, strict: bool| {
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}],
            "tools": [{"name": "f", "strict": strict, "input_schema": schema}]})
    };
    for (schema, strict, expect) in [(&open, true, false), (&closed, true, true), (&closed, false, false)] {
        let call = messages(schema, strict);
        let chat = &sent(Dialect::Anthropic, Dialect::OpenAi, &call)["tools"][0]["function"];
        assert_eq!((&chat["parameters"], chat["strict"] == true), (schema, expect));
        let responses = &sent(Dialect::Anthropic, Dialect::Responses, &call)["tools"][0];
        assert_eq!((&responses["parameters"], &responses["strict"]), (schema, &json!(expect)));
    }
    let chat = |strict: bool| {
        json!({"model": "m", "messages": [{"role": "user", "content": "x"}],
            "tools": [{"type": "function", "function": {"name": "f", "strict": strict, "parameters": open}}]})
    };
    let told = &sent(Dialect::OpenAi, Dialect::Responses, &chat(true))["tools"][0];
    assert_eq!((&told["parameters"], &told["strict"]), (&open, &json!(true)), "what OpenAI's callers say stands");
    for (strict, expect) in [(false, Value::Null), (true, json!(false))] {
        let messages = &sent(Dialect::OpenAi, Dialect::Anthropic, &chat(strict))["tools"][0];
        assert_eq!(messages["input_schema"]["additionalProperties"], expect);
        let converse = &sent(Dialect::OpenAi, Dialect::Bedrock, &chat(strict))["toolConfig"]["tools"][0]["toolSpec"];
        assert_eq!(converse["inputSchema"]["json"]["additionalProperties"], expect);
    }
}
