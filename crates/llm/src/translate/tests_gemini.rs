#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
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
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": object}},
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
            "text": {"format": {"type": "json_schema", "name": "answer", "strict": true, "schema": {"type": "object"}}},
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
fn answers_between_gemini_and_responses() {
    let parts = json!([{"text": "hm", "thought": true}, {"text": "Hel"}, {"text": "lo"},
        {"functionCall": {"id": "own", "name": "f", "args": {"b": 1, "a": 2}}}]);
    let response = whole(Dialect::Gemini, Dialect::Responses, &generated(parts, "STOP")).unwrap();
    assert_eq!(
        (&response["id"], &response["model"], &response["status"]),
        (&json!("r-1/"), &json!("gemini-x"), &json!("completed"))
    );
    let output = response["output"].as_array().unwrap();
    assert_eq!(output[0]["summary"], json!([{"type": "summary_text", "text": "hm"}]));
    assert_eq!(output[1]["content"][0]["text"], "Hello");
    assert_eq!((&output[2]["call_id"], &output[2]["arguments"]), (&json!("own"), &json!("{\"b\":1,\"a\":2}")));
    assert_eq!((&response["usage"]["input_tokens"], &response["usage"]["output_tokens"]), (&json!(9), &json!(5)));
    let back = whole(Dialect::Responses, Dialect::Gemini, &response).unwrap();
    let said = json!([{"text": "hm", "thought": true}, {"text": "Hello"},
        {"functionCall": {"id": "own", "name": "f", "args": {"b": 1, "a": 2}}}]);
    assert_eq!(back, generated(said, "STOP"));
    for (reason, status) in [("MAX_TOKENS", "max_output_tokens"), ("SAFETY", "content_filter")] {
        let response = whole(Dialect::Gemini, Dialect::Responses, &generated(json!([{"text": "a"}]), reason)).unwrap();
        assert_eq!(response["incomplete_details"], json!({"reason": status}));
        assert_eq!(
            whole(Dialect::Responses, Dialect::Gemini, &response).unwrap()["candidates"][0]["finishReason"],
            reason
        );
    }
    let google = r#"{"error":{"code":429,"message":"Too many.","status":"RESOURCE_EXHAUSTED"}}"#;
    let error = answering(Dialect::Gemini, Dialect::Responses, None).error(429, google.as_bytes());
    let expect = json!({"error": {"message": "Too many.", "type": "rate_limit_error", "param": null, "code": "RESOURCE_EXHAUSTED"}});
    assert_eq!(serde_json::from_slice::<Value>(&error).unwrap(), expect);

    let begun = json!({"candidates": [{"content": {"parts": [{"text": "Hi"}], "role": "model"}, "index": 0}], "modelVersion": "g", "responseId": "r"});
    let call = generated(json!([{"functionCall": {"id": "t", "name": "f", "args": {"a": 1}}}]), "STOP");
    let all = sse(&[begun.clone(), call]);
    for size in [1, 60, 10_000] {
        let (events, failure) = stream(answering(Dialect::Gemini, Dialect::Responses, None), all.as_bytes(), size);
        assert_eq!(failure, None);
        assert_eq!(events.matches("event: response.completed").count(), 1, "{events}");
        let (array, failure) =
            stream(answering(Dialect::Responses, Dialect::Gemini, Some(Frames::Array)), events.as_bytes(), size);
        assert_eq!(failure, None);
        let array: Vec<Value> = serde_json::from_str(&array).unwrap();
        assert_eq!((array.len(), &array[0]["candidates"][0]["content"]["parts"]), (2, &json!([{"text": "Hi"}])));
        assert_eq!(
            array[1]["candidates"][0]["content"]["parts"],
            json!([{"functionCall": {"id": "t", "name": "f", "args": {"a": 1}}}])
        );
        assert_eq!(array[1]["usageMetadata"]["totalTokenCount"], 14);
    }
    let failed = sse(&[begun.clone(), json!({"error": {"code": 503, "message": "Busy.", "status": "UNAVAILABLE"}})]);
    let (events, failure) = stream(answering(Dialect::Gemini, Dialect::Responses, None), failed.as_bytes(), 50);
    assert_eq!(failure, None);
    assert!(events.contains("event: response.failed") && events.contains("Busy."), "{events}");
    let cut = sse(&[begun]);
    let (events, failure) = stream(answering(Dialect::Gemini, Dialect::Responses, None), cut.as_bytes(), 50);
    assert_eq!(failure, Some(StreamFailure::Truncated));
    let (array, failure) =
        stream(answering(Dialect::Responses, Dialect::Gemini, Some(Frames::Array)), events.as_bytes(), 50);
    assert_eq!(failure, None);
    let array: Vec<Value> = serde_json::from_str(&array).unwrap();
    assert!(array.last().unwrap()["error"]["message"].is_string());
}

/// What translates an answer of this provider for a caller of this dialect.
fn answering(provider: Dialect, caller: Dialect, frames: Option<Frames>) -> Translation {
    let of = to(provider, "m");
    match caller {
        Dialect::Gemini => gemini_request(br#"{"contents":[]}"#, frames, &of, AT),
        Dialect::OpenAi => request(
            br#"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
            Dialect::OpenAi,
            &of,
            AT,
        ),
        Dialect::Responses => request(br#"{"input":"x","stream":true}"#, Dialect::Responses, &of, AT),
        Dialect::Anthropic => request(br#"{"messages":[],"max_tokens":1,"stream":true}"#, Dialect::Anthropic, &of, AT),
        Dialect::Bedrock | Dialect::Replicate => unreachable!("nobody calls in it"),
    }
    .unwrap()
    .1
}

fn whole(provider: Dialect, caller: Dialect, answer: &Value) -> Option<Value> {
    let body = answering(provider, caller, None).whole(answer.to_string().as_bytes())?;
    Some(serde_json::from_slice(&body).unwrap())
}

fn generated(parts: Value, reason: &str) -> Value {
    json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": reason, "index": 0}],
        "usageMetadata": {"promptTokenCount": 9, "cachedContentTokenCount": 4, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 14},
        "modelVersion": "gemini-x", "responseId": "r-1/"})
}

#[test]
fn an_answer_of_every_kind_for_callers_of_other_dialects() {
    let parts = json!([{"text": "hm", "thought": true, "thoughtSignature": "s"}, {"text": "Hel"}, {"text": "lo"},
        {"functionCall": {"name": "f", "args": {"b": 1, "a": 2}}}, {"functionCall": {"id": "own", "name": "g"}},
        {"inlineData": {"mimeType": "image/png", "data": ""}}, {"text": ""}]);
    let chat = whole(Dialect::Gemini, Dialect::OpenAi, &generated(parts.clone(), "STOP")).unwrap();
    assert_eq!(
        chat,
        json!({"id": "r-1/", "object": "chat.completion", "created": 1_790_000_000, "model": "gemini-x",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello", "refusal": null, "reasoning_content": "hm",
                "extra_content": {"google": {"thought_signature": "s"}},
                "tool_calls": [{"id": "call_r-1_0", "type": "function", "function": {"name": "f", "arguments": "{\"b\":1,\"a\":2}"}},
                    {"id": "own", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
                "logprobs": null, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 2}}})
    );
    let message = whole(Dialect::Gemini, Dialect::Anthropic, &generated(parts, "STOP")).unwrap();
    let thought = json!({"type": "thinking", "thinking": "hm", "signature": "google-signature:s"});
    assert_eq!(message["content"][0], thought);
    assert_eq!(message["content"][1], json!({"type": "text", "text": "Hello"}));
    assert_eq!(
        message["content"][2],
        json!({"type": "tool_use", "id": "call_r-1_0", "name": "f", "input": {"b": 1, "a": 2}})
    );
    assert_eq!(
        message["usage"],
        json!({"input_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 4, "output_tokens": 5})
    );
    for (reason, finish) in [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("OTHER", "stop"),
    ] {
        let got = whole(Dialect::Gemini, Dialect::OpenAi, &generated(json!([{"text": "a"}]), reason)).unwrap();
        assert_eq!(got["choices"][0]["finish_reason"], finish, "{reason}");
    }
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}});
    let got = whole(Dialect::Gemini, Dialect::OpenAi, &blocked).unwrap();
    assert_eq!(
        (&got["choices"][0]["finish_reason"], &got["choices"][0]["message"]["content"]),
        (&json!("content_filter"), &json!(""))
    );
    for none in [
        json!({}),
        json!([]),
        json!({"candidates": []}),
        json!({"candidates": {}}),
        generated(json!([]), "MALFORMED_FUNCTION_CALL"),
        generated(json!([{"functionCall": {"name": "f", "args": [1]}}]), "STOP"),
        json!({"candidates": [{"finishReason": "STOP"}], "responseId": "x".repeat(257)}),
    ] {
        assert_eq!(whole(Dialect::Gemini, Dialect::OpenAi, &none), None, "{none}");
    }
}

#[test]
fn answers_of_others_for_a_caller_who_speaks_gemini() {
    let chat = json!({"id": "c", "model": "gpt", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
            "content": "Hi", "reasoning_content": "hm", "tool_calls": [
                {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"b\": 1}"}}]}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}});
    assert_eq!(
        whole(Dialect::OpenAi, Dialect::Gemini, &chat).unwrap(),
        json!({"candidates": [{"content": {"parts": [{"text": "hm", "thought": true}, {"text": "Hi"},
                {"functionCall": {"id": "t", "name": "f", "args": {"b": 1}}}], "role": "model"}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 9, "cachedContentTokenCount": 4, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 14},
            "modelVersion": "gpt", "responseId": "c"})
    );
    let message = json!({"id": "m", "model": "claude", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "stop_reason": "refusal", "usage": {"input_tokens": 3, "output_tokens": 2}});
    assert_eq!(
        whole(Dialect::Anthropic, Dialect::Gemini, &message).unwrap(),
        json!({"candidates": [{"content": {"parts": [{"text": "ab"}], "role": "model"}, "finishReason": "SAFETY", "index": 0}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
            "modelVersion": "claude", "responseId": "m"})
    );
}

#[test]
fn errors_keep_their_status_and_their_message() {
    let error = |provider, caller, status, body: &str| {
        let out = answering(provider, caller, None).error(status, body.as_bytes());
        serde_json::from_slice::<Value>(&out).unwrap()
    };
    let google = r#"{"error":{"code":429,"message":"Too many.","status":"RESOURCE_EXHAUSTED","details":[{}]}}"#;
    let expect = json!({"error": {"message": "Too many.", "type": "rate_limit_error", "param": null, "code": "RESOURCE_EXHAUSTED"}});
    assert_eq!(error(Dialect::Gemini, Dialect::OpenAi, 429, google), expect);
    assert_eq!(error(Dialect::Gemini, Dialect::OpenAi, 429, &format!("[{google}\n]\n")), expect);
    let message =
        error(Dialect::Gemini, Dialect::Anthropic, 400, r#"{"error":{"message":"Bad.","status":"INVALID_ARGUMENT"}}"#);
    assert_eq!(
        message["error"],
        json!({"type": "invalid_request_error", "message": "Bad.", "code": "INVALID_ARGUMENT"})
    );
    let got =
        error(Dialect::OpenAi, Dialect::Gemini, 401, r#"{"error":{"message":"No.","type":"authentication_error"}}"#);
    let details = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "authentication_error", "domain": "provider"}]);
    assert_eq!(got, json!({"error": {"code": 401, "message": "No.", "status": "UNAUTHENTICATED", "details": details}}));
    let unusable = error(Dialect::Gemini, Dialect::OpenAi, 502, "<html>");
    assert_eq!(unusable["error"]["type"], "server_error");
}

/// A stream in pieces of this size, and why it failed.
fn stream(translation: Translation, bytes: &[u8], size: usize) -> (String, Option<StreamFailure>) {
    let (mut translator, mut out) = (translation.stream(), Vec::new());
    bytes.chunks(size.max(1)).for_each(|piece| translator.feed(piece, &mut out));
    translator.finish(&mut out);
    (String::from_utf8(out).unwrap(), translator.failure())
}

fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect()
}

#[test]
fn a_stream_of_gemini_for_others() {
    let part = |parts: Value| json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}], "usageMetadata": {"promptTokenCount": 9}, "modelVersion": "g", "responseId": "r"});
    let end = generated(json!([{"text": ""}]), "STOP");
    let all = sse(&[
        part(json!([{"text": "hm", "thought": true}])),
        part(json!([{"text": "Hi"}])),
        part(json!([{"functionCall": {"name": "f", "args": {"a": 1}}}, {"functionCall": {"name": "f"}}])),
        end,
        json!({"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 30}}),
    ]);
    let (chunks, failure) = stream(answering(Dialect::Gemini, Dialect::OpenAi, None), all.as_bytes(), 7);
    assert_eq!(failure, None);
    let chunks: Vec<&str> = chunks.split_terminator("\n\n").collect();
    assert_eq!(chunks.last(), Some(&"data: [DONE]"));
    let of = |i: usize| serde_json::from_str::<Value>(&chunks[i][6..]).unwrap();
    let delta = |i| of(i)["choices"][0]["delta"].clone();
    assert_eq!(of(0)["id"], "r");
    assert_eq!((delta(1), delta(2)), (json!({"reasoning_content": "hm"}), json!({"content": "Hi"})));
    assert_eq!(delta(3)["tool_calls"][0]["id"], "call_r_0");
    assert_eq!(delta(4)["tool_calls"][0]["function"]["arguments"], "{\"a\":1}");
    assert_eq!(
        (&delta(5)["tool_calls"][0]["index"], &delta(5)["tool_calls"][0]["id"]),
        (&json!(1), &json!("call_r_1"))
    );
    assert_eq!(of(7)["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(of(8)["usage"]["completion_tokens"], 32);
    assert_eq!(chunks.len(), 10);

    let (events, failure) = stream(answering(Dialect::Gemini, Dialect::Anthropic, None), all.as_bytes(), 1000);
    assert_eq!(failure, None);
    assert!(events.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{events}");
    assert_eq!(events.matches("content_block_stop").count(), 2 * 4);

    let (blocked, failure) = stream(
        answering(Dialect::Gemini, Dialect::OpenAi, None),
        b"data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n",
        99,
    );
    assert!(
        blocked.contains("\"content_filter\"") && blocked.ends_with("[DONE]\n\n") && failure.is_none(),
        "{blocked}"
    );
    for (bytes, why) in [
        (sse(&[part(json!([{"text": "Hi"}]))]), Some(StreamFailure::Truncated)),
        (String::new(), Some(StreamFailure::Truncated)),
        ("data: <html>\n\n".to_owned(), Some(StreamFailure::Malformed)),
        (sse(&[generated(json!([]), "MALFORMED_FUNCTION_CALL")]), Some(StreamFailure::Malformed)),
        (sse(&[json!({"error": {"code": 503, "message": "Busy.", "status": "UNAVAILABLE"}})]), None),
    ] {
        let (out, failure) = stream(answering(Dialect::Gemini, Dialect::OpenAi, None), bytes.as_bytes(), 50);
        assert_eq!(failure, why, "{bytes}");
        assert!(out.contains("\"error\":{") && !out.contains("[DONE]"), "{out}");
    }
}

const CHAT: &str = concat!(
    ": hello\n\n",
    "data: {\"id\":\"c\",\"model\":\"gpt\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\"\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5}}\n\n",
    "data: [DONE]\n\n",
);

#[test]
fn a_stream_of_others_for_gemini() {
    let part = |parts: Value| json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}], "modelVersion": "gpt", "responseId": "c"});
    let mut last = part(json!([{"functionCall": {"id": "t", "name": "f", "args": {"a": 1}}}]));
    last["candidates"][0]["finishReason"] = "STOP".into();
    last["usageMetadata"] = json!({"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14});
    let expect = vec![part(json!([{"text": "Hi"}])), last];
    for size in [1, 50, 10_000] {
        let events = answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Events));
        assert!(events.streams_events());
        let (out, failure) = stream(events, CHAT.as_bytes(), size);
        assert_eq!(failure, None);
        let got: Vec<Value> =
            out.split_terminator("\r\n\r\n").map(|event| serde_json::from_str(&event[6..]).unwrap()).collect();
        assert_eq!(got, expect);
        let array = answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Array));
        assert!(!array.streams_events());
        let (out, _) = stream(array, CHAT.as_bytes(), size);
        assert_eq!(serde_json::from_str::<Vec<Value>>(&out).unwrap(), expect);
    }
    // Cut off: an element that says so, and the array is whole.
    let (cut, failure) =
        stream(answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Array)), &CHAT.as_bytes()[..120], 7);
    assert_eq!(failure, Some(StreamFailure::Truncated));
    let elements: Vec<Value> = serde_json::from_str(&cut).unwrap();
    assert_eq!(elements.last().unwrap()["error"]["status"], "UNAVAILABLE");
    // Arguments that are not JSON are no call.
    let broken = CHAT.replace(":1}", ":");
    let (out, _) = stream(answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Events)), broken.as_bytes(), 99);
    assert!(out.contains("MALFORMED_FUNCTION_CALL") && !out.contains("functionCall\""), "{out}");
    let limited = broken.replace("\"finish_reason\":\"tool_calls\"", "\"finish_reason\":\"length\"");
    let (out, _) = stream(answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Events)), limited.as_bytes(), 99);
    assert!(out.contains("\"finishReason\":\"MAX_TOKENS\"") && !out.contains("functionCall\""), "{out}");
    // Nor are more than can be kept.
    let piece = format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":0,\"function\":{{\"arguments\":\"{}\"}}}}]}}}}]}}\n\n",
        " ".repeat(1 << 20)
    );
    let at = CHAT.find("data: {\"choices\":[{\"index\":0,\"delta\":{},").unwrap();
    let large = [&CHAT[..at], &piece.repeat(5), &CHAT[at..]].concat();
    let mut translator = answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Events)).stream();
    let mut out = Vec::new();
    translator.feed(large.as_bytes(), &mut out);
    translator.finish(&mut out);
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("MALFORMED_FUNCTION_CALL") && out.len() < 4096, "{}", out.len());
}

/// A call in Gemini's dialect of what all dialects can say.
fn calls() -> impl Strategy<Value = Value> {
    let text = "[a-zA-Zäö\"\\\\ {}]{1,12}";
    let said = prop_oneof![
        text.prop_map(|text| json!({"text": text})),
        Just(json!({"inlineData": {"mimeType": "image/png", "data": "aGk="}})),
        Just(json!({"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/a.jpg"}})),
    ];
    let turn = (prop::collection::vec(said, 1..4), text, prop::option::of("[a-z]{1,5}"), text);
    let turns = prop::collection::vec(turn, 1..4);
    (
        turns,
        prop::option::of(1u64..9999),
        prop::option::of((0u8..5).prop_map(|n| f64::from(n) / 4.0)),
        prop::option::of(text),
        any::<bool>(),
    )
        .prop_map(|(turns, limit, temperature, system, tool)| {
            let (mut contents, mut n) = (Vec::new(), 0);
            for (said, answer, call, result) in turns {
                contents.push(json!({"role": "user", "parts": said}));
                let mut parts = vec![json!({"text": answer})];
                if let Some(name) = &call {
                    n += 1;
                    parts.push(json!({"functionCall": {"id": format!("c{n}"), "name": name, "args": {"x": result}}}));
                }
                contents.push(json!({"role": "model", "parts": parts}));
                let mut parts = vec![];
                if let Some(name) = &call {
                    let result = json!({"result": format!("a{result}")});
                    parts.push(json!({"functionResponse": {"id": format!("c{n}"), "name": name, "response": result}}));
                }
                parts.push(json!({"text": "go on"}));
                contents.push(json!({"role": "user", "parts": parts}));
                contents.push(json!({"role": "model", "parts": [{"text": "ok"}]}));
            }
            contents.push(json!({"role": "user", "parts": [{"text": "end"}]}));
            let mut call = json!({"contents": contents, "generationConfig": {}});
            if let Some(limit) = limit {
                call["generationConfig"]["maxOutputTokens"] = limit.into();
            }
            if let Some(temperature) = temperature {
                call["generationConfig"]["temperature"] = temperature.into();
            }
            if let Some(system) = system {
                call["systemInstruction"] = json!({"parts": [{"text": system}]});
            }
            if tool {
                let schema = json!({"type": "object", "properties": {"x": {"type": "string"}}});
                call["tools"] = json!([{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}]);
                call["toolConfig"] = json!({"functionCallingConfig": {"mode": "AUTO"}});
            }
            call
        })
}

proptest! {
    #[test]
    fn a_call_comes_back_as_it_was(call in calls()) {
        for dialect in [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic] {
            let there = said_in(dialect, &call, None).unwrap();
            let mut back = in_gemini(dialect, &there, "gemini-2.5-pro").unwrap();
            if call["generationConfig"]["maxOutputTokens"].is_null() && dialect == Dialect::Anthropic {
                // The Messages API does not go without.
                back["generationConfig"].as_object_mut().unwrap().remove("maxOutputTokens");
            }
            let mut expect = call.clone();
            expect["contents"].as_array_mut().unwrap().retain(|content| content["parts"] != json!([]));
            prop_assert_eq!(back, expect);
        }
    }

    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for dialect in [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic, Dialect::Gemini] {
            let _ = gemini_request(&bytes, None, &to(dialect, "m"), AT);
            let _ = request(&bytes, dialect, &to(Dialect::Gemini, "m"), AT);
        }
        for other in [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic] {
          for (provider, caller) in [(Dialect::Gemini, other), (other, Dialect::Gemini)] {
            let translation = answering(provider, caller, Some(Frames::Array));
            let _ = translation.whole(&bytes);
            serde_json::from_slice::<Value>(&translation.error(400, &bytes)).unwrap();
            let _ = stream(translation, &bytes, 5);
          }
        }
    }
}

#[test]
fn tokens_of_sound_are_told_to_callers_of_other_dialects() {
    let mut google = generated(json!([{"text": "Hi"}]), "STOP");
    google["usageMetadata"]["promptTokensDetails"] =
        json!([{"modality": "TEXT", "tokenCount": 3}, {"modality": "AUDIO", "tokenCount": 6}]);
    google["usageMetadata"]["cacheTokensDetails"] = json!([{"modality": "AUDIO", "tokenCount": 4}]);
    google["usageMetadata"]["candidatesTokensDetails"] = json!([{"modality": "AUDIO", "tokenCount": 2}]);
    let completion = json!({"id": "c", "model": "gpt",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Hi"}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 6},
            "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 2}}});
    let chunks = super::tests_to_chat::streamed(&completion, 3);
    let prompt = json!({"cached_tokens": 4, "cache_write_tokens": 0, "audio_tokens": 6});
    let written = json!({"reasoning_tokens": 2, "audio_tokens": 2});
    let heard = json!([{"modality": "TEXT", "tokenCount": 3}, {"modality": "AUDIO", "tokenCount": 6}]);
    let spoken = json!([{"modality": "TEXT", "tokenCount": 1}, {"modality": "AUDIO", "tokenCount": 2}]);

    let chat = whole(Dialect::Gemini, Dialect::OpenAi, &google).unwrap();
    let (events, failure) =
        stream(answering(Dialect::Gemini, Dialect::OpenAi, None), sse(std::slice::from_ref(&google)).as_bytes(), 9);
    assert_eq!(failure, None);
    let told = events.split("\n\n").filter_map(|event| serde_json::from_str::<Value>(event.get(6..)?).ok());
    let last = told.filter(|chunk| chunk["usage"].is_object()).last().unwrap();
    for usage in [&chat["usage"], &last["usage"]] {
        assert_eq!((&usage["prompt_tokens_details"], &usage["completion_tokens_details"]), (&prompt, &written));
    }

    let gemini = whole(Dialect::OpenAi, Dialect::Gemini, &completion).unwrap();
    let translation = answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Array));
    let (array, failure) = stream(translation, chunks.as_bytes(), 9);
    assert_eq!(failure, None);
    let array: Vec<Value> = serde_json::from_str(&array).unwrap();
    for usage in [&gemini["usageMetadata"], &array.last().unwrap()["usageMetadata"]] {
        assert_eq!((&usage["promptTokensDetails"], &usage["candidatesTokensDetails"]), (&heard, &spoken));
    }

    // The other two have no field for them.
    for caller in [Dialect::Anthropic, Dialect::Responses] {
        for (provider, answer) in [(Dialect::Gemini, &google), (Dialect::OpenAi, &completion)] {
            assert!(!whole(provider, caller, answer).unwrap()["usage"].to_string().contains("audio"));
        }
    }
}
