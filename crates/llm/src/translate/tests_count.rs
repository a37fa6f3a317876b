#![allow(clippy::unwrap_used)]

use super::{To, Translation, Untranslatable, count};
use crate::provider::{Counting, Dialect};
use serde_json::{Value, json};

const WAYS: [Counting; 5] =
    [Counting::Messages, Counting::Responses, Counting::Gemini, Counting::Vertex, Counting::Converse];

fn asked(from: Dialect, body: &Value, by: Counting) -> Result<(Value, Translation), Untranslatable> {
    // What the target speaks else is of no account.
    let to = To::new(Dialect::OpenAi, if by == Counting::Converse { "eu.anthropic.claude-v1:0" } else { "real" });
    let (out, translation) = count::request(body.to_string().as_bytes(), from, &to, by)?;
    Ok((serde_json::from_slice(&out).unwrap(), translation))
}

fn body(from: Dialect, call: &Value, by: Counting) -> Value {
    asked(from, call, by).unwrap_or_else(|why| panic!("{by:?}: {why}")).0
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}})
}

/// The same call as callers of each dialect have it counted.
fn calls() -> Vec<(Dialect, Value)> {
    let function = json!({"name": "weather", "description": "Tells it.", "parametersJsonSchema": schema()});
    let gemini = json!({
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi ä"}]}],
        "tools": [{"functionDeclarations": [function]}],
    });
    let mut named = gemini.clone();
    named["model"] = "models/public".into();
    vec![
        (
            Dialect::Anthropic,
            json!({"model": "public", "system": "Be brief.", "messages": [{"role": "user", "content": "Hi ä"}],
                "tools": [{"name": "weather", "description": "Tells it.", "input_schema": schema()}]}),
        ),
        (
            Dialect::Responses,
            json!({"model": "public", "instructions": "Be brief.", "input": "Hi ä", "tools": [{"type": "function",
                "name": "weather", "description": "Tells it.", "parameters": schema(), "strict": false}]}),
        ),
        (Dialect::Gemini, gemini),
        (Dialect::Gemini, json!({"model": "models/public", "generateContentRequest": named})),
        (Dialect::Gemini, json!({"generate_content_request": named})),
    ]
}

/// What a provider is asked.
fn expected(by: Counting) -> Value {
    let text = json!([{"type": "text", "text": "Hi ä"}]);
    let declared = json!([{"functionDeclarations":
        [{"name": "weather", "description": "Tells it.", "parametersJsonSchema": schema()}]}]);
    let gemini = json!({"systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi ä"}]}], "tools": declared, "generationConfig": {}});
    match by {
        Counting::Messages => json!({"model": "real", "system": [{"type": "text", "text": "Be brief."}],
            "messages": [{"role": "user", "content": text}],
            "tools": [{"name": "weather", "description": "Tells it.", "input_schema": schema()}]}),
        Counting::Responses => json!({"model": "real",
            "input": [{"role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
                {"role": "user", "content": [{"type": "input_text", "text": "Hi ä"}]}],
            "tools": [{"type": "function", "name": "weather", "description": "Tells it.", "parameters": schema(),
                "strict": false}]}),
        Counting::Gemini => {
            let mut call = gemini;
            call["model"] = "models/real".into();
            json!({ "generateContentRequest": call })
        }
        Counting::Vertex => gemini,
        Counting::Converse => json!({"input": {"converse": {"system": [{"text": "Be brief."}],
            "messages": [{"role": "user", "content": [{"text": "Hi ä"}]}],
            "toolConfig": {"tools": [{"toolSpec": {"name": "weather", "description": "Tells it.",
                "inputSchema": {"json": schema()}}}]}}}}),
    }
}

#[test]
fn each_provider_is_asked_in_its_own_form() {
    for by in WAYS {
        for (from, call) in calls() {
            assert_eq!(body(from, &call, by), expected(by), "{from:?} {by:?}");
        }
    }
}

#[test]
fn how_an_answer_is_made_counts_for_nothing() {
    let plain = calls();
    let more = [
        json!({"max_tokens": 9, "stream": true, "temperature": 2, "top_p": 0.5, "top_k": 3, "stop_sequences": ["x"],
            "metadata": {"user_id": "u"}, "service_tier": "auto", "unknown": 1}),
        json!({"max_output_tokens": 9, "stream": true, "temperature": 2, "top_p": 0.5, "store": false, "user": "u",
            "metadata": {"a": "b"}, "truncation": "auto", "unknown": 1}),
        json!({"generationConfig": {"maxOutputTokens": 9, "temperature": 2, "topP": 0.5, "topK": 3, "seed": 1,
            "stopSequences": ["x"], "presencePenalty": 1, "responseModalities": ["TEXT", "IMAGE"]},
            "safetySettings": [], "unknown": 1}),
    ];
    for by in WAYS {
        for ((from, call), more) in plain.iter().zip(&more) {
            let mut call = call.clone();
            call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(body(*from, &call, by), expected(by), "{from:?} {by:?}");
        }
    }
}

#[test]
fn what_belongs_to_the_prompt_is_counted() {
    let call = json!({"model": "m", "messages": [{"role": "user", "content": "a"}],
        "tools": [{"name": "f", "input_schema": schema()}], "tool_choice": {"type": "any"},
        "thinking": {"type": "enabled", "budget_tokens": 9000},
        "output_config": {"format": {"type": "json_schema", "schema": schema()}}});
    let openai = body(Dialect::Anthropic, &call, Counting::Responses);
    assert_eq!((&openai["tool_choice"], &openai["reasoning"]), (&json!("required"), &json!({"effort": "medium"})));
    assert_eq!(openai["text"]["format"]["schema"], schema());
    let gemini = &body(Dialect::Anthropic, &call, Counting::Gemini)["generateContentRequest"];
    assert_eq!(gemini["toolConfig"]["functionCallingConfig"]["mode"], "ANY");
    assert_eq!(gemini["generationConfig"]["responseJsonSchema"], schema());
    assert_eq!(gemini["generationConfig"]["thinkingConfig"]["thinkingBudget"], 8192);
    let vertex = body(Dialect::Anthropic, &call, Counting::Vertex);
    assert_eq!((&vertex["generationConfig"], vertex.get("toolConfig")), (&gemini["generationConfig"], None));
    let aws = &body(Dialect::Anthropic, &call, Counting::Converse)["input"]["converse"];
    assert_eq!(aws["toolConfig"]["toolChoice"], json!({"any": {}}));
    // As `max_tokens` is not told, nothing of a budget is cut off.
    let asks = json!({"model": "m", "input": "a", "reasoning": {"effort": "high"}});
    let claude = body(Dialect::Responses, &asks, Counting::Messages);
    assert_eq!(claude["thinking"]["type"], "enabled", "{claude}");
    let aws = &body(Dialect::Responses, &asks, Counting::Converse)["input"]["converse"];
    assert_eq!(aws["additionalModelRequestFields"]["thinking"], claude["thinking"]);
}

#[test]
fn a_part_of_a_conversation_may_end_anywhere() {
    let call =
        json!({"model": "m", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
    for by in WAYS {
        let told = body(Dialect::Anthropic, &call, by).to_string();
        assert!(told.contains("\"b\""), "{by:?}: {told}");
    }
    // This one is not gone on with, but counted.
    let to = To::new(Dialect::Anthropic, "claude-opus-4-6");
    let call =
        json!({"contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}]});
    assert!(count::request(call.to_string().as_bytes(), Dialect::Gemini, &to, Counting::Messages).is_ok());
}

#[test]
fn what_cannot_be_said_there_is_not_counted() {
    let hi = json!([{"parts": [{"text": "a"}]}]);
    let tool = json!({"type": "web_search_20250305", "name": "web_search"});
    for (from, call, by, why) in [
        (Dialect::OpenAi, json!({"model": "m", "messages": []}), Counting::Messages, "the dialect is not what"),
        (Dialect::Anthropic, json!({"model": "m"}), Counting::Responses, "`messages` is not what"),
        (
            Dialect::Anthropic,
            json!({"model": "m", "messages": [], "tools": [tool]}),
            Counting::Gemini,
            "a tool of the provider's",
        ),
        (
            Dialect::Responses,
            json!({"model": "m", "previous_response_id": "r", "input": "a"}),
            Counting::Messages,
            "`previous_response_id`",
        ),
        (Dialect::Responses, json!({"model": "m"}), Counting::Messages, "a call without `input`"),
        (Dialect::Gemini, json!({}), Counting::Messages, "`contents` is not what"),
        (Dialect::Gemini, json!({"generateContentRequest": {}}), Counting::Messages, "`contents` is not what"),
        (Dialect::Gemini, json!({"generateContentRequest": 7}), Counting::Messages, "the body is not what"),
        (
            Dialect::Gemini,
            json!({"contents": hi, "generateContentRequest": {"contents": hi}}),
            Counting::Messages,
            "beside `generateContentRequest`",
        ),
        (Dialect::Gemini, json!({"contents": hi, "cachedContent": "c"}), Counting::Converse, "`cachedContent`"),
    ] {
        let told = asked(from, &call, by).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn callers_are_told_in_their_own_form() {
    let said = |by: Counting| match by {
        Counting::Messages => r#"{"input_tokens":2095,"context_management":{"original_input_tokens":1}}"#,
        Counting::Responses => r#"{"object":"response.input_tokens","input_tokens":2095}"#,
        Counting::Gemini => r#"{"totalTokens":2095,"promptTokensDetails":[{"modality":"TEXT","tokenCount":1}]}"#,
        Counting::Vertex => r#"{"totalTokens":2095,"totalBillableCharacters":1}"#,
        Counting::Converse => r#"{"inputTokens":2095}"#,
    };
    for by in WAYS {
        for (from, call) in calls() {
            let (_, translation) = asked(from, &call, by).unwrap();
            let told = translation.whole(said(by).as_bytes()).unwrap();
            let expected = match from {
                Dialect::Anthropic => r#"{"input_tokens":2095}"#,
                Dialect::Responses => r#"{"object":"response.input_tokens","input_tokens":2095}"#,
                _ => r#"{"totalTokens":2095}"#,
            };
            assert_eq!(String::from_utf8(told).unwrap(), expected, "{from:?} {by:?}");
            for none in
                ["", "{}", "[]", "7", r#"{"input_tokens":-1}"#, r#"{"totalTokens":"7"}"#, r#"{"inputTokens":1.5}"#]
            {
                assert_eq!(translation.whole(none.as_bytes()), None, "{none}");
            }
            // What another would have said is no answer of this one.
            for other in WAYS.into_iter().filter(|other| said(*other).split(':').next() != said(by).split(':').next()) {
                let is_of_openai =
                    [by, other].iter().all(|one| matches!(one, Counting::Messages | Counting::Responses));
                assert_eq!(translation.whole(said(other).as_bytes()).is_some(), is_of_openai, "{by:?} {other:?}");
            }
        }
    }
    let (_, translation) = asked(Dialect::Gemini, &calls()[2].1, Counting::Converse).unwrap();
    let error = translation.named_error(400, Some("ValidationException"), br#"{"message":"No."}"#);
    let error: Value = serde_json::from_slice(&error).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["message"]), (&json!(400), &json!("No.")));
}
