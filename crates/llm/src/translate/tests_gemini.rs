//! Calls of callers of Gemini in front of other dialects, and of others in front of Gemini.
#![allow(clippy::unwrap_used)]

mod answers;
mod both_ways;

use super::*;
use serde_json::{Value, json};

const AT: Timestamp = Timestamp::from_secs(1_790_000_000);

fn to(dialect: Dialect, model: &str) -> To<'_> {
    To { limit: LimitField::MaxCompletionTokens, ask_usage: true, ..To::new(dialect, model) }
}

/// What a call in Gemini's dialect is in another.
fn said_in(dialect: Dialect, call: &Value, stream: Option<Frames>) -> Result<Value, String> {
    gemini_request(call.to_string().as_bytes(), stream, &to(dialect, "other"), AT)
        .map(|(body, _)| serde_json::from_slice(&body).unwrap())
        .map_err(|e| e.to_string())
}

fn in_chat(call: &Value) -> Value {
    said_in(Dialect::OpenAi, call, None).unwrap()
}

/// What a call in another dialect is in Gemini's.
fn in_gemini(from: Dialect, call: &Value, model: &str) -> Result<Value, String> {
    request(call.to_string().as_bytes(), from, &to(Dialect::Gemini, model), AT)
        .map(|(body, _)| serde_json::from_slice(&body).unwrap())
        .map_err(|e| e.to_string())
}

fn user(text: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}]})
}

fn with(mut call: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        call[name] = value.clone();
    }
    call
}

#[test]
fn base64_of_either_alphabet_is_said_in_the_one_that_all_others_take() {
    for (data, said) in [
        ("a-_z", "a+/z"),
        ("a+/z", "a+/z"),
        ("a-_zaa", "a+/zaa=="),
        ("a-_zaaa", "a+/zaaa="),
        ("-_8=", "+/8="),
        ("-_8", "+/8="),
        ("aGk", "aGk="),
        ("aGk=", "aGk="),
        ("", ""),
    ] {
        let call = json!({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]}]});
        let url = json!(format!("data:image/png;base64,{said}"));
        assert_eq!(in_chat(&call)["messages"][0]["content"][0]["image_url"]["url"], url, "{data}");
        let message = said_in(Dialect::Anthropic, &call, None).unwrap();
        assert_eq!(message["messages"][0]["content"][0]["source"]["data"], said, "{data}");
    }
    for data in ["w7_Dvg==", "w7_Dvg", "w7/Dvg=="] {
        let call = json!({"contents": [{"parts": [{"inlineData": {"mimeType": "text/plain", "data": data}}]}]});
        assert_eq!(in_chat(&call)["messages"], json!([{"role": "user", "content": "\u{ff}\u{fe}"}]), "{data}");
    }
}

#[test]
fn files_at_google_are_named_in_no_dialect() {
    let at = "https://generativelanguage.googleapis.com/v1beta/files/abc";
    let other = at.replace("https", "http");
    let forms = |url: &str| {
        let user = |part: Value| json!([{"role": "user", "content": [part]}]);
        let url_source = |kind: &str| json!({"type": kind, "source": {"type": "url", "url": url}});
        [
            (Dialect::OpenAi, json!({"messages": user(json!({"type": "image_url", "image_url": {"url": url}}))})),
            (Dialect::OpenAi, json!({"messages": user(json!({"type": "file", "file": {"file_data": url}}))})),
            (Dialect::Responses, json!({"input": user(json!({"type": "input_image", "image_url": url}))})),
            (Dialect::Responses, json!({"input": user(json!({"type": "input_file", "file_url": url}))})),
            (Dialect::Anthropic, json!({"max_tokens": 9, "messages": user(url_source("image"))})),
            (Dialect::Anthropic, json!({"max_tokens": 9, "messages": user(url_source("document"))})),
        ]
    };
    for (from, call) in forms("https://example.com/a.png") {
        let said = in_gemini(from, &with(call, json!({"model": "m"})), "gemini-3").unwrap();
        assert_eq!(said["contents"][0]["parts"][0]["fileData"]["fileUri"], "https://example.com/a.png");
    }
    for url in [at, &other, "gs://bucket/a.png", "files/abc"] {
        for (from, call) in forms(url) {
            let why = in_gemini(from, &with(call, json!({"model": "m"})), "gemini-3").unwrap_err();
            assert!(url.starts_with("gs") || url.starts_with("files") || why.contains("a file at Google"), "{why}");
        }
    }
}

#[test]
fn a_call_of_every_kind_in_chat_completions() {
    let call = json!({
        "systemInstruction": {"role": "user", "parts": [{"text": "Be"}, {"text": "brief."}]},
        "contents": [
            {"parts": [{"text": "What is it?"}, {"inline_data": {"mime_type": "image/png", "data": "aGk="}},
                {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/a.jpg"}},
                {"inlineData": {"mimeType": "text/plain", "data": "aGVsbG8="}},
                {"inlineData": {"mimeType": "application/pdf", "data": "JVBE", "displayName": "a.pdf"}}]},
            {"role": "model", "parts": [{"text": "Let me think", "thought": true}, {"text": "I look."},
                {"functionCall": {"name": "look", "args": {"b": 1, "a": [2]}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "look"}}, {"functionCall": {"id": "own", "name": "ask", "args": {}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "look", "response": {"result": "one"}}},
                {"functionResponse": {"name": "ask", "id": "own", "response": {"error": "no"}}},
                {"functionResponse": {"name": "look", "response": {"x": 1, "y": "z"}}}]},
            {"role": "user", "parts": [{"text": "Now?"}, {"text": ""}]},
        ],
        "tools": [{"functionDeclarations": [
            {"name": "look", "description": "Looks.", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": true}}}},
            {"name": "ask", "parametersJsonSchema": {"type": "object", "additionalProperties": false}}]},
            {"function_declarations": [{"name": "none", "description": ""}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "any", "allowedFunctionNames": ["look"]}},
        "generationConfig": {"temperature": 0.5, "topP": 0.9, "topK": 4, "maxOutputTokens": 77, "stopSequences": ["a", "b"],
            "seed": 7, "presencePenalty": 0.1, "frequencyPenalty": 0.2, "candidateCount": 1, "responseModalities": ["TEXT"],
            "responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"},
            "thinkingConfig": {"thinkingBudget": 9000, "includeThoughts": true}, "mediaResolution": "MEDIA_RESOLUTION_LOW",
            "responseLogprobs": false},
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "brand_new": {"kept": true},
        "labels": null,
    });
    let object = json!({"type": "object"});
    assert_eq!(
        in_chat(&call),
        json!({
            "model": "other",
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg"}},
                    {"type": "text", "text": "hello"},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}}]},
                {"role": "assistant", "content": "I look.", "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"b\":1,\"a\":[2]}"}},
                    {"id": "call_2", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                    {"id": "own", "type": "function", "function": {"name": "ask", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "one"},
                {"role": "tool", "tool_call_id": "own", "content": "Error: no"},
                {"role": "tool", "tool_call_id": "call_2", "content": "{\"x\":1,\"y\":\"z\"}"},
                {"role": "user", "content": "Now?"}],
            "max_completion_tokens": 77, "temperature": 0.5, "top_p": 0.9, "stop": ["a", "b"],
            "tools": [
                {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters":
                    {"properties": {"a": {"type": ["string", "null"]}}, "type": "object"}}},
                {"type": "function", "function": {"name": "ask", "parameters": {"type": "object", "additionalProperties": false}}},
                {"type": "function", "function": {"name": "none"}}],
            "tool_choice": {"type": "function", "function": {"name": "look"}},
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": false, "schema": object}},
            "seed": 7, "presence_penalty": 0.1, "frequency_penalty": 0.2, "reasoning_effort": "medium",
            "brand_new": {"kept": true},
        })
    );
    let plain = in_chat(&user("Hi"));
    assert_eq!(plain, json!({"model": "other", "messages": [{"role": "user", "content": "Hi"}]}));
    let streamed = said_in(Dialect::OpenAi, &user("Hi"), Some(Frames::Array)).unwrap();
    assert_eq!((&streamed["stream"], &streamed["stream_options"]), (&json!(true), &json!({"include_usage": true})));
}

#[test]
fn a_call_of_every_kind_in_messages() {
    let call = with(
        user("Hi"),
        json!({"generation_config": {"max_output_tokens": 9, "top_k": 4, "temperature": 1.5, "seed": 3},
            "tools": [{"functionDeclarations": [{"name": "f"}]}], "tool_config": {"function_calling_config": {"mode": "NONE"}}}),
    );
    assert_eq!(
        said_in(Dialect::Anthropic, &call, Some(Frames::Events)).unwrap(),
        json!({"model": "other", "max_tokens": 9, "stream": true, "temperature": 1, "top_k": 4,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
            "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}], "tool_choice": {"type": "none"}})
    );
}

#[test]
fn how_much_is_thought_and_what_form_the_answer_has() {
    let config = |config: Value| said_in(Dialect::OpenAi, &with(user("Hi"), json!({"generationConfig": config})), None);
    for (thinking, effort) in [
        (json!({"thinkingBudget": 0}), Value::Null),
        (json!({"thinkingBudget": -1}), Value::Null),
        (json!({"thinkingBudget": 1}), json!("low")),
        (json!({"thinkingBudget": 16384}), json!("high")),
        (json!({"thinkingLevel": "minimal"}), json!("minimal")),
        (json!({"thinkingLevel": "HIGH", "thinkingBudget": 1}), json!("high")),
        (json!({"includeThoughts": true}), Value::Null),
    ] {
        assert_eq!(config(json!({"thinkingConfig": thinking})).unwrap()["reasoning_effort"], effort, "{thinking}");
    }
    let any_json = config(json!({"responseMimeType": "application/json"})).unwrap();
    assert_eq!(any_json["response_format"], json!({"type": "json_object"}));
    let schema = json!({"type": "object", "x": [1]});
    let form = config(json!({"responseMimeType": "application/json", "responseJsonSchema": schema})).unwrap();
    assert_eq!(form["response_format"]["json_schema"]["schema"], schema);
    let call = with(user("Hi"), json!({"generationConfig": {"responseMimeType": "application/json"}}));
    assert!(said_in(Dialect::Anthropic, &call, None).unwrap_err().contains("without a schema"));
}

#[test]
fn what_cannot_be_said_in_another_dialect_is_refused() {
    let turn = |part: Value| json!({"contents": [{"role": "user", "parts": [part]}]});
    let asks = |more: Value| with(user("Hi"), more);
    let config = |config: Value| with(user("Hi"), json!({"generationConfig": config}));
    for (call, place) in [
        (asks(json!({"cachedContent": "cachedContents/a"})), "`cachedContent`"),
        (asks(json!({"tools": [{"googleSearch": {}}]})), "a tool of the provider's"),
        (asks(json!({"tools": [{"functionDeclarations": [], "code_execution": {}}]})), "a tool of the provider's"),
        (
            asks(json!({"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["a", "b"]}}})),
            "a choice among some of the tools",
        ),
        (config(json!({"responseModalities": ["TEXT", "AUDIO"]})), "`responseModalities`"),
        (config(json!({"responseMimeType": "text/x.enum"})), "`responseMimeType`"),
        (config(json!({"speechConfig": {}})), "a field of `generationConfig`"),
        (turn(json!({"executableCode": {"language": "PYTHON", "code": "1"}})), "a part of `contents[0]`"),
        (turn(json!({"brand_new": {}})), "a part of `contents[0]`"),
        (turn(json!({"functionCall": {"name": "f"}})), "a part of `contents[0]`"),
        (
            turn(
                json!({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a", "mimeType": "image/png"}}),
            ),
            "a file of `contents[0]` that is not sent along",
        ),
        (turn(json!({"fileData": {"fileUri": "gs://a/b", "mimeType": "image/png"}})), "that is not sent along"),
        (turn(json!({"inlineData": {"mimeType": "audio/basic", "data": ""}})), "sound that is no WAV"),
        (turn(json!({"inlineData": {"mimeType": "video/mp4", "data": ""}})), "neither an image nor a PDF"),
        (turn(json!({"inlineData": {"mimeType": "image/png;base64,x", "data": ""}})), "neither an image nor a PDF"),
        (json!({"contents": [{"role": "model", "parts": [{"text": "So"}]}]}), "a last message of the assistant's"),
    ] {
        let why = said_in(Dialect::OpenAi, &call, None).unwrap_err();
        assert!(
            why.contains(place) && why.contains("has no counterpart in the Chat Completions API"),
            "{why} of {call}"
        );
    }
    for (call, place) in [
        (json!({}), "`contents`"),
        (json!({"contents": "Hi"}), "`contents`"),
        (json!({"contents": [{"role": "system", "parts": []}]}), "the role of `contents[0]`"),
        (turn(json!({"functionResponse": {"name": "f", "response": {}}})), "nobody called"),
        (turn(json!({"text": 7})), "`contents[0]`"),
        (asks(json!({"system_instruction": {"parts": [{"text": 1}]}})), "`systemInstruction`"),
        (
            asks(json!({"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "NEW"}}]}]})),
            "`parameters`",
        ),
        (config(json!({"responseSchema": [], "responseMimeType": "application/json"})), "`responseSchema`"),
        (config(json!({"maxOutputTokens": "many"})), "`maxOutputTokens`"),
        (config(json!({"thinkingConfig": {"thinkingLevel": "SOME"}})), "`thinkingLevel`"),
        (asks(json!({"toolConfig": {"functionCallingConfig": {"mode": "SOME"}}})), "`toolConfig`"),
    ] {
        let why = said_in(Dialect::OpenAi, &call, None).unwrap_err();
        assert!(why.contains(place) && why.contains("is not what the Gemini API describes"), "{why} of {call}");
    }
    let twice = br#"{"contents":[],"systemInstruction":{"parts":[]},"system_instruction":{"parts":[]}}"#;
    let why = gemini_request(twice, None, &to(Dialect::OpenAi, "m"), AT).unwrap_err();
    assert_eq!(why.why, Why::Duplicate);
}

#[test]
fn no_more_of_anything_than_there_is_memory_for() {
    let of = |body: String| gemini_request(body.as_bytes(), None, &to(Dialect::OpenAi, "m"), AT).unwrap_err().why;
    let many = |n: usize, one: &str| vec![one; n].join(",");
    assert_eq!(of(format!(r#"{{"contents":[{}]}}"#, many(100_001, "{}"))), Why::TooMany("contents"));
    let parts = format!(r#"{{"contents":[{{"parts":[{}]}}]}}"#, many(100_001, "{}"));
    assert_eq!(of(parts), Why::TooMany("parts of contents"));
    let half = format!(r#"{{"parts":[{}]}}"#, many(50_001, r#"{"text":""}"#));
    assert_eq!(of(format!(r#"{{"contents":[{half},{half}]}}"#)), Why::TooMany("parts of contents"));
    let tools = many(10_001, r#"{"name":"f"}"#);
    assert_eq!(of(format!(r#"{{"tools":[{{"functionDeclarations":[{tools}]}}]}}"#)), Why::TooMany("tools"));
    assert_eq!(of(format!(r#"{{"tools":[{}]}}"#, many(10_001, "{}"))), Why::TooMany("tools"));
    let fields: Vec<String> = (0..1001).map(|i| format!(r#""a{i}":1"#)).collect();
    assert_eq!(of(format!("{{{}}}", fields.join(","))), Why::TooMany("fields"));
    assert_eq!(of(format!(r#"{{"generationConfig":{{{}}}}}"#, fields.join(","))), Why::TooMany("fields"));
    let stops = many(1001, "\"a\"");
    let stops = format!(r#"{{"generationConfig":{{"stopSequences":[{stops}]}}}}"#);
    assert_eq!(of(stops), Why::TooMany("texts in `stopSequences`"));
}

#[test]
fn chat_completions_and_messages_of_every_kind_in_gemini() {
    let function = json!({"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}});
    let chat = json!({
        "model": "m", "stream": true,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.JPG?x=1"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a"}}]},
            {"role": "assistant", "content": "So.", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"b\": 1}"}},
                {"id": "c2", "type": "function", "function": {"name": "ask", "arguments": ""}}]},
            {"role": "tool", "tool_call_id": "c2", "content": "{\"x\":1}"},
            {"role": "tool", "tool_call_id": "c1", "content": "red"},
            {"role": "user", "content": "And?"}],
        "max_tokens": 5000, "temperature": 1.5, "top_p": 0.5, "top_k": 3, "seed": 4, "presence_penalty": 1, "frequency_penalty": 2,
        "stop": "end", "reasoning_effort": "high", "tool_choice": "required", "user": "u",
        "tools": [{"type": "function", "function": function}, {"type": "function", "function": {"name": "ask", "parameters": {}}}],
        "response_format": {"type": "json_object"}, "brand_new": 1,
    });
    let expect = |signature: bool| {
        let mut first = json!({"functionCall": {"id": "c1", "name": "look", "args": {"b": 1}}});
        if signature {
            first["thoughtSignature"] = "skip_thought_signature_validator".into();
        }
        json!({
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "What?"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
                    {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/a.JPG?x=1"}},
                    {"fileData": {"fileUri": "https://example.com/a"}}]},
                {"role": "model", "parts": [{"text": "So."}, first,
                    {"functionCall": {"id": "c2", "name": "ask", "args": {}}}]},
                {"role": "user", "parts": [
                    {"functionResponse": {"id": "c2", "name": "ask", "response": {"x": 1}}},
                    {"functionResponse": {"id": "c1", "name": "look", "response": {"result": "red"}}},
                    {"text": "And?"}]}],
            "tools": [{"functionDeclarations": [
                {"name": "look", "description": "Looks.", "parametersJsonSchema": {"type": "object", "properties": {"a": {"type": "string"}}}},
                {"name": "ask"}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
            "generationConfig": {"temperature": 1.5, "topP": 0.5, "topK": 3, "seed": 4, "presencePenalty": 1, "frequencyPenalty": 2,
                "maxOutputTokens": 5000, "stopSequences": ["end"], "responseMimeType": "application/json",
                "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 2500}},
            "brand_new": 1,
        })
    };
    for (model, signed) in [
        ("gemini-2.5-pro", false),
        ("gemini-1.5-flash", false),
        ("gemma-3", false),
        ("gemini-3-pro-preview", true),
        ("gemini-flash-latest", true),
    ] {
        assert_eq!(in_gemini(Dialect::OpenAi, &chat, model).unwrap(), expect(signed), "{model}");
    }

    let messages = json!({
        "model": "m", "max_tokens": 9, "system": "Be brief.", "top_k": 3,
        "messages": [
            {"role": "user", "content": "Look."},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"b": 1}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": [{"type": "text", "text": "no"},
                    {"type": "text", "text": "way"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}]},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}]}],
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "look"},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    });
    assert_eq!(
        in_gemini(Dialect::Anthropic, &messages, "gemini-2.5-pro").unwrap(),
        json!({
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Look."}]},
                {"role": "model", "parts": [{"functionCall": {"id": "t1", "name": "look", "args": {"b": 1}}}]},
                {"role": "user", "parts": [
                    {"functionResponse": {"id": "t1", "name": "look", "response": {"error": "no\nway"}}},
                    {"text": "Returned by the tool call t1:"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
                    {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}}]}],
            "tools": [{"functionDeclarations": [{"name": "look", "parametersJsonSchema": {"type": "object"}}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}},
            "generationConfig": {"topK": 3, "maxOutputTokens": 9, "responseMimeType": "application/json",
                "responseJsonSchema": {"type": "object"}},
        })
    );
}

#[test]
fn what_gemini_has_no_word_for_is_refused_or_left_out() {
    let hi = json!([{"role": "user", "content": "Hi"}]);
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    for (call, place) in [
        (json!({"messages": hi, "tools": tool, "parallel_tool_calls": false}), "at the same time"),
        (json!({"messages": [{"role": "assistant", "content": "So"}]}), "a last message of the assistant's"),
        (json!({"messages": hi, "contents": []}), "`contents` is not"),
        (json!({"messages": hi, "generationConfig": {}}), "`generationConfig` is not"),
        (
            json!({"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]}),
            "the result of a tool that was not called",
        ),
    ] {
        let why = in_gemini(Dialect::OpenAi, &call, "gemini-2.5-pro").unwrap_err();
        assert!(why.contains(place), "{why} of {call}");
    }
    let thinking = |effort: &str, limit: u64| {
        let call = json!({"messages": hi, "reasoning_effort": effort, "max_tokens": limit});
        in_gemini(Dialect::OpenAi, &call, "gemini-2.5-pro").unwrap()["generationConfig"]["thinkingConfig"].clone()
    };
    assert_eq!(thinking("none", 9), json!({"thinkingBudget": 0}));
    assert_eq!(thinking("low", 1023), Value::Null);
    assert_eq!(thinking("low", 1024), json!({"includeThoughts": true, "thinkingBudget": 512}));
    assert_eq!(thinking("medium", 90_000), json!({"includeThoughts": true, "thinkingBudget": 8192}));
    let fine = json!({"messages": hi, "parallel_tool_calls": false});
    in_gemini(Dialect::OpenAi, &fine, "gemini-2.5-pro").unwrap();
}

#[test]
fn a_call_of_every_kind_in_responses_and_of_responses_in_gemini() {
    let call = json!({
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "What is it?"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}]},
            {"role": "model", "parts": [{"text": "hm", "thought": true}, {"text": "I look."},
                {"functionCall": {"id": "c1", "name": "look", "args": {"b": 1, "a": [2]}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "c1", "name": "look", "response": {"error": "no"}}}, {"text": "And now?"}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "look", "description": "Looks.",
            "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": true}}}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}},
        "generationConfig": {"temperature": 0.5, "topP": 0.9, "topK": 4, "seed": 7, "presencePenalty": 0.1,
            "maxOutputTokens": 77, "thinkingConfig": {"thinkingLevel": "LOW"}, "responseJsonSchema": {"type": "object"},
            "responseMimeType": "application/json"},
    });
    let responses = said_in(Dialect::Responses, &call, Some(Frames::Array)).unwrap();
    assert_eq!(
        responses,
        json!({
            "model": "other",
            "input": [
                {"role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
                {"role": "user", "content": [{"type": "input_text", "text": "What is it?"},
                    {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,aGk="}]},
                {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
                {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{\"b\":1,\"a\":[2]}"},
                {"type": "function_call_output", "call_id": "c1", "output": "Error: no"},
                {"role": "user", "content": [{"type": "input_text", "text": "And now?"}]}],
            "max_output_tokens": 77, "stream": true, "temperature": 0.5, "top_p": 0.9, "store": false,
            "tools": [{"type": "function", "name": "look", "description": "Looks.", "strict": false,
                "parameters": {"properties": {"a": {"type": ["string", "null"]}}, "type": "object"}}],
            "tool_choice": {"type": "function", "name": "look"}, "reasoning": {"effort": "low"},
            "include": ["reasoning.encrypted_content"],
            "text": {"format": {"type": "json_schema", "name": "answer", "strict": false, "schema": {"type": "object"}}},
        })
    );
    let json = with(user("Hi"), json!({"generationConfig": {"responseMimeType": "application/json"}}));
    assert_eq!(said_in(Dialect::Responses, &json, None).unwrap()["text"], json!({"format": {"type": "json_object"}}));

    let back =
        in_gemini(Dialect::Responses, &with(responses, json!({"metadata": {"a": "b"}})), "gemini-2.5-pro").unwrap();
    assert_eq!(back["systemInstruction"], call["systemInstruction"]);
    assert_eq!(back["contents"][0], call["contents"][0]);
    assert_eq!(
        back["contents"][1]["parts"],
        json!([{"text": "I look."}, {"functionCall": {"id": "c1", "name": "look", "args": {"b": 1, "a": [2]}}}])
    );
    assert_eq!(
        back["contents"][2]["parts"],
        json!([{"functionResponse": {"id": "c1", "name": "look", "response": {"result": "Error: no"}}}, {"text": "And now?"}])
    );
    assert_eq!(
        back["generationConfig"],
        json!({"temperature": 0.5, "topP": 0.9, "maxOutputTokens": 77, "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object"}})
    );
    assert_eq!(back["toolConfig"], call["toolConfig"]);
    assert!(back.get("metadata").is_none() && back.get("store").is_none());
    // One at a time is not for Gemini to promise; texts to stop at are not for Responses.
    let one = json!({"input": "Hi", "parallel_tool_calls": false, "tools": [{"type": "function", "name": "f"}]});
    let why = in_gemini(Dialect::Responses, &one, "gemini-2.5-pro").unwrap_err();
    assert!(why.contains("two tools"), "{why}");
    let stop = with(user("Hi"), json!({"generationConfig": {"stopSequences": ["x"]}}));
    let why = said_in(Dialect::Responses, &stop, None).unwrap_err();
    assert!(why.contains("stop at"), "{why}");
    // Fields of another dialect that are no fields of Google's would stand twice, or decide what else is asked for.
    for field in [json!({"stream": true}), json!({"temperature": 1}), json!({"tool_choice": "auto"})] {
        for dialect in [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic] {
            let why = said_in(dialect, &with(user("Hi"), field.clone()), None).unwrap_err();
            assert!(why.contains("Gemini API"), "{why}");
        }
    }
}

#[test]
fn one_object_is_a_list_of_one() {
    let function = json!({"name": "f", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}});
    let long = json!({"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": [{"parts": [{"text": "Hi"}]}],
        "tools": [{"functionDeclarations": [function]}]});
    let short = json!({"systemInstruction": {"parts": {"text": "Be brief."}}, "contents": {"parts": {"text": "Hi"}},
        "tools": {"functionDeclarations": function}});
    for dialect in [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic, Dialect::Bedrock] {
        assert_eq!(said_in(dialect, &short, None), said_in(dialect, &long, None), "{dialect:?}");
        let got = said_in(dialect, &short, None).unwrap().to_string();
        assert!(got.contains("Be brief.") && got.contains(r#"{"a":{"type":"string"}}"#), "{got}");
    }
    for (wrong, place) in [
        (with(short.clone(), json!({"contents": "Hi"})), "`contents`"),
        (with(short.clone(), json!({"contents": {"parts": "Hi"}})), "`contents[0]`"),
        (with(short.clone(), json!({"tools": 7})), "`tools`"),
        (with(short, json!({"tools": {"googleSearch": {}}})), "a tool of the provider's"),
    ] {
        let why = said_in(Dialect::OpenAi, &wrong, None).unwrap_err();
        assert!(why.contains(place), "{why}");
    }
}
