#![allow(clippy::unwrap_used)]
use super::{
    call::{Form, render},
    wanted::Members,
    *,
};
use crate::provider::{Dialect, LimitField};
use proptest::prelude::*;
use serde_json::{Value, json};

fn prompt() -> Compiled {
    let prompt: Prompt = serde_json::from_value(json!({
        "name": "sentiment",
        "description": "Judges a text",
        "model": "chat",
        "variables": {
            "text": { "type": "string", "max_length": 20, "description": "What is judged" },
            "tone": { "type": "enum", "values": ["short", "long"], "default": "short" },
            "count": { "type": "integer", "required": false },
            "share": { "type": "number", "required": false },
            "strict": { "type": "boolean", "default": true },
        },
        "versions": [
            { "version": 1, "messages": [{ "role": "user", "content": "{{text}}" }] },
            {
                "version": 3, "model": "other", "system": "Judge {{tone}}{{count}}{{share}}, {{strict}}.",
                "messages": [
                    { "role": "user", "content": "fine" }, { "role": "assistant", "content": "good" },
                    { "role": "user", "content": "Text: {{text}}" },
                ],
                "parameters": { "temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "stop": ["END"] },
                "answer_schema": { "type": "object", "required": ["mood"] },
            },
            { "version": 4, "system": "Only this." },
        ],
        "labels": { "production": 1, "next": 3 },
    }))
    .unwrap();
    Compiled::of(&prompt)
}

fn written(dialect: Dialect, body: &Value) -> Result<Value, String> {
    written_as(dialect, body, false)
}

fn written_as(dialect: Dialect, body: &Value, counts: bool) -> Result<Value, String> {
    let prompt = prompt();
    let body = body.to_string();
    let members = Members::of(body.as_bytes()).unwrap();
    let wanted = members.wanted().map_err(|e| e.0)?.unwrap();
    let version = prompt.version(wanted.which()).ok_or("no version")?;
    let form = Form { dialect, limit: LimitField::MaxTokens, counts, most: 1000 };
    let out = render(form, &prompt, version, wanted.variables, &members).map_err(|e| e.0)?;
    Ok(serde_json::from_slice(&out.body).unwrap())
}

fn values(given: &str) -> Result<Vec<(String, String)>, String> {
    let prompt = prompt();
    let raw = RawValue::from_string(given.to_owned()).unwrap();
    let values = prompt.values(Some(&raw)).map_err(|e| e.0)?;
    let mut all: Vec<_> = values.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    all.sort();
    Ok(all)
}

#[test]
fn a_call_without_a_prompt_of_ours_is_none() {
    for (body, likely) in [
        (r#"{"model":"m","messages":[{"role":"user","content":"say \"prompt\""}]}"#, false),
        (r#"{"prompt":null}"#, true),
        (r#"{"prompt":"text"}"#, true),
        (r#"{"messages":[{"prompt":{"id":"x"}}]}"#, true),
    ] {
        assert_eq!(wanted::is_likely(body.as_bytes()), likely, "{body}");
        assert!(Members::of(body.as_bytes()).unwrap().wanted().unwrap().is_none(), "{body}");
    }
    for none in ["[]", "7", "{", "{} {}", ""] {
        assert!(Members::of(none.as_bytes()).is_none(), "{none}");
    }
}

#[test]
fn a_version_is_named_by_number_or_label() {
    let which = |version: &str| {
        let body = format!(r#"{{"prompt":{{"id":"sentiment"{version}}}}}"#);
        let members = Members::of(body.as_bytes()).unwrap();
        let wanted = members.wanted().map_err(|e| e.0)?;
        Ok::<_, String>(prompt().version(wanted.unwrap().which()).map(Version::number))
    };
    for (version, number) in [
        ("", Some(1)),
        (r#","version":null"#, Some(1)),
        (r#","version":"next""#, Some(3)),
        (r#","version":"3""#, Some(3)),
        (r#","version":4"#, Some(4)),
        (r#","version":"2""#, None),
        (r#","version":"gone""#, None),
        (r#","version":99999999999999"#, None),
    ] {
        assert_eq!(which(version), Ok(number), "{version}");
    }
    for wrong in [r#","version":true"#, r#","version":-1"#, r#","name":"x""#, r#","version":1,"version":3"#] {
        assert!(which(wrong).is_err(), "{wrong}");
    }
    for body in [r#"{"prompt":{}}"#, r#"{"prompt":{"id":7}}"#, r#"{"prompt":{"id":"a"},"prompt":{"id":"b"}}"#] {
        assert!(Members::of(body.as_bytes()).unwrap().wanted().is_err(), "{body}");
    }
}

#[test]
fn variables_are_what_they_are_declared_to_be() {
    let all = values(r#"{"text":"a\u00e4","tone":"long","count":-7,"share":1.50,"strict":false}"#).unwrap();
    let all: Vec<_> = all.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(all, [("count", "-7"), ("share", "1.50"), ("strict", "false"), ("text", "aä"), ("tone", "long")]);
    let usual = values(r#"{"text":"","count":null}"#).unwrap();
    let usual: Vec<_> = usual.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(usual, ["", "", "true", "", "short"]);
    for (wrong, why) in [
        ("{}", "the variable `text` is missing"),
        ("null", "the variable `text` is missing"),
        (r#"{"text":null}"#, "the variable `text` is to be a text"),
        (r#"{"text":{"type":"input_text"}}"#, "the variable `text` is to be a text"),
        (r#"{"text":"x","tone":"loud"}"#, "the variable `tone` is to be one of short, long"),
        (r#"{"text":"x","count":1.5}"#, "the variable `count` is to be a whole number of 64 bits"),
        (r#"{"text":"x","count":"1"}"#, "the variable `count` is to be a whole number of 64 bits"),
        (r#"{"text":"x","share":"1"}"#, "the variable `share` is to be a number"),
        (r#"{"text":"x","strict":"true"}"#, "the variable `strict` is to be `true` or `false`"),
        (r#"{"text":"x","te\u0078t":"y"}"#, "the variable `text` is given twice"),
        (r#"{"text":"123456789012345678901"}"#, "the variable `text` has more than 20 characters"),
        ("[]", "the variables are no object"),
    ] {
        assert_eq!(values(wrong), Err(why.to_owned()), "{wrong}");
    }
    let unknown = values(r#"{"text":"x","<script>":1}"#).unwrap_err();
    assert!(unknown.ends_with("it has `count`, `share`, `strict`, `text`, `tone`"), "{unknown}");
}

fn asked(more: Value) -> Value {
    let mut body =
        json!({ "prompt": { "id": "sentiment", "version": "next", "variables": { "text": "hi", "count": 2 } } });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn it_is_written_as_a_chat_completion() {
    let body = written(Dialect::OpenAi, &asked(json!({ "seed": 7, "messages": [{ "role": "user", "content": "b" }] })));
    assert_eq!(
        body.unwrap(),
        json!({
            "seed": 7, "model": "other",
            "messages": [
                { "role": "system", "content": "Judge short2, true." },
                { "role": "user", "content": "fine" }, { "role": "assistant", "content": "good" },
                { "role": "user", "content": "Text: hi" }, { "role": "user", "content": "b" },
            ],
            "temperature": 0.5, "top_p": 0.9, "stop": ["END"], "max_tokens": 7,
            "response_format": { "type": "json_schema", "json_schema": {
                "name": "answer", "strict": true, "schema": { "type": "object", "required": ["mood"] } } },
        })
    );
    let own = json!({ "model": "mine", "messages": [], "temperature": 0, "top_p": null, "max_completion_tokens": 1,
        "response_format": { "type": "text" } });
    let body = written(Dialect::OpenAi, &asked(own)).unwrap();
    assert_eq!((&body["model"], &body["temperature"]), (&json!("mine"), &json!(0)));
    assert_eq!(body["response_format"]["type"], "text");
    assert!(body.get("max_tokens").is_none() && body["max_completion_tokens"] == 1);
    assert_eq!(written(Dialect::OpenAi, &asked(json!({ "messages": 7 }))), Err("`messages` is no list".to_owned()));
}

#[test]
fn it_is_written_as_a_response() {
    let refused = written(Dialect::Responses, &asked(json!({ "input": "b" })));
    assert!(refused.unwrap_err().contains("stop"));
    let wanted = json!({ "id": "sentiment", "variables": { "text": "hi" } });
    let with = |input: Value| written(Dialect::Responses, &json!({ "prompt": wanted, "input": input, "store": false }));
    let first = json!({ "role": "user", "content": "hi" });
    let body = with(json!("a \"b\"")).unwrap();
    assert_eq!(body["input"], json!([first, { "role": "user", "content": "a \"b\"" }]));
    assert_eq!((&body["model"], &body["store"], body.get("prompt")), (&json!("chat"), &json!(false), None));
    assert_eq!(with(json!([{ "type": "item" }])).unwrap()["input"], json!([first, { "type": "item" }]));
    assert_eq!(with(Value::Null).unwrap()["input"], json!([first]));
    assert!(with(json!(7)).is_err());
}

#[test]
fn it_is_written_as_a_message() {
    let body = written(Dialect::Anthropic, &asked(json!({ "max_tokens": 9, "messages": [], "system": "Be kind." })));
    assert_eq!(
        body.unwrap(),
        json!({
            "max_tokens": 9, "model": "other",
            "system": [{ "type": "text", "text": "Judge short2, true." }, { "type": "text", "text": "Be kind." }],
            "messages": [
                { "role": "user", "content": "fine" }, { "role": "assistant", "content": "good" },
                { "role": "user", "content": "Text: hi" },
            ],
            "temperature": 0.5, "top_p": 0.9, "stop_sequences": ["END"],
            "output_config": { "format": { "type": "json_schema", "schema": { "type": "object", "required": ["mood"] } } },
        })
    );
    let body = written(Dialect::Anthropic, &asked(json!({ "system": [{ "type": "text", "text": "x" }] }))).unwrap();
    assert_eq!(body["system"][1]["text"], "x");
    assert_eq!((&body["max_tokens"], body["system"].as_array().unwrap().len()), (&json!(7), 2));
    let only = json!({ "prompt": { "id": "sentiment", "version": 4, "variables": { "text": "" } }, "messages": [7] });
    let body = written(Dialect::Anthropic, &only).unwrap();
    assert_eq!(body, json!({ "model": "chat", "system": "Only this.", "messages": [7] }));
}

#[test]
fn what_it_says_is_counted_and_not_how_it_is_answered() {
    let turns = json!([
        { "role": "user", "content": "fine" }, { "role": "assistant", "content": "good" },
        { "role": "user", "content": "Text: hi" },
    ]);
    let body = written_as(Dialect::Anthropic, &asked(json!({ "messages": [] })), true).unwrap();
    assert_eq!(body, json!({ "model": "other", "system": "Judge short2, true.", "messages": turns }));
    let body = written_as(Dialect::Responses, &asked(json!({})), true).unwrap();
    let mut input = vec![json!({ "role": "system", "content": "Judge short2, true." })];
    input.extend(turns.as_array().unwrap().clone());
    assert_eq!(body, json!({ "model": "other", "input": input }));
    assert!(written_as(Dialect::Gemini, &asked(json!({})), true).is_err());
}

#[test]
fn it_is_written_for_gemini() {
    let own = json!({
        "contents": [{ "role": "user", "parts": [{ "text": "b" }] }],
        "system_instruction": { "role": "system", "parts": [{ "text": "Be kind." }] },
        "generationConfig": { "top_p": 0.1, "seed": 3 },
    });
    assert_eq!(
        written(Dialect::Gemini, &asked(own)).unwrap(),
        json!({
            "systemInstruction": { "role": "system", "parts": [{ "text": "Judge short2, true." }, { "text": "Be kind." }] },
            "contents": [
                { "role": "user", "parts": [{ "text": "fine" }] }, { "role": "model", "parts": [{ "text": "good" }] },
                { "role": "user", "parts": [{ "text": "Text: hi" }] }, { "role": "user", "parts": [{ "text": "b" }] },
            ],
            "generationConfig": {
                "top_p": 0.1, "seed": 3, "temperature": 0.5, "maxOutputTokens": 7, "stopSequences": ["END"],
                "responseMimeType": "application/json", "responseJsonSchema": { "type": "object", "required": ["mood"] },
            },
        })
    );
    let twice = json!({ "generationConfig": {}, "generation_config": {} });
    assert!(written(Dialect::Gemini, &asked(twice)).is_err());
    assert!(written(Dialect::Gemini, &asked(json!({ "contents": "x" }))).is_err());
    let plain = json!({ "prompt": { "id": "sentiment", "variables": { "text": "hi" } } });
    let body = written(Dialect::Gemini, &plain).unwrap();
    assert_eq!(body, json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] }));
}

#[test]
fn what_is_handed_in_is_bounded_and_told_apart_where_it_is_not_said_as_the_callers() {
    let prompt: Prompt = serde_json::from_value(json!({
        "name": "p", "model": "m",
        "variables": {
            "a": { "type": "string" }, "b": { "type": "string" }, "c": { "type": "string" }, "n": { "type": "integer" },
        },
        "versions": [{
            "version": 1, "system": "{{a}} {{a}} {{n}}",
            "messages": [{ "role": "user", "content": "{{b}}" }, { "role": "assistant", "content": "{{c}}" }],
        }],
    }))
    .unwrap();
    let prompt = Compiled::of(&prompt);
    let version = prompt.version(Which::Version(1)).unwrap();
    let call = |most| {
        published::call(
            &prompt,
            version,
            (LimitField::MaxTokens, most),
            false,
            br#"{"a":"one","b":"two","c":"three","n":4}"#,
        )
    };
    assert_eq!(call(17).map(|written| written.unseen).unwrap(), ["one", "three"]);
    assert!(call(16).err().unwrap().0.contains("more than 16 bytes"));
}

#[test]
fn an_endpoint_takes_variables_and_answers_what_was_made_of_them() {
    let prompt = prompt();
    let (first, third) = (prompt.version(Which::Version(1)).unwrap(), prompt.version(Which::Label("next")).unwrap());
    let limit = (LimitField::MaxCompletionTokens, 1000);
    let body = published::call(&prompt, third, limit, false, br#"{"text":"hi"}"#).unwrap().body;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["model"], &body["max_completion_tokens"]), (&json!("other"), &json!(7)));
    assert!(published::call(&prompt, first, limit, false, b"").err().unwrap().0.contains("`text` is missing"));
    for wrong in ["null", "[]", "{", r#"{"text":"x"} {}"#, r#"{"text":"x","prompt":{}}"#] {
        assert!(published::call(&prompt, first, limit, false, wrong.as_bytes()).is_err(), "{wrong}");
    }
    let said = |content: &str| {
        json!({ "choices": [{ "message": { "content": content }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7 } })
        .to_string()
    };
    let answer = published::answer(&prompt, first, said("good \"x\"").as_bytes()).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&answer).unwrap(),
        json!({ "output": "good \"x\"", "finish_reason": "stop", "prompt": { "name": "sentiment", "version": 1 },
            "usage": { "input_tokens": 3, "output_tokens": 4 } })
    );
    let answer = published::answer(&prompt, third, said(r#" {"mood":"good"} "#).as_bytes()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap()["output"], json!({ "mood": "good" }));
    for wrong in ["good", "{}", "[]"] {
        assert!(published::answer(&prompt, third, said(wrong).as_bytes()).is_err(), "{wrong}");
    }
    for wrong in [r#"{"choices":[]}"#, r#"{"choices":[{"message":{"refusal":"no"}}]}"#, "[]", ""] {
        assert!(published::answer(&prompt, first, wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert_eq!(published::error(br#"{"error":{"message":"too long"}}"#).as_deref(), Some("too long"));
    assert_eq!(published::error(b"<html>"), None);
}

#[test]
fn answers_are_read_as_providers_write_them_whole_as_in_pieces() {
    let prompt = prompt();
    let first = prompt.version(Which::Version(1)).unwrap();
    let thought = json!([{ "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }] }, { "type": "text", "text": "pos" }]);
    for (content, finish, expect) in [
        (thought, "stop", "pos"),
        (json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }, { "type": "image" }]), "stop", "ab"),
        (json!(null), "length", ""),
        (json!([]), "length", ""),
    ] {
        let whole = json!({ "choices": [{ "message": { "content": content, "refusal": "" }, "finish_reason": finish }],
            "usage": { "prompt_tokens": 9.0, "completion_tokens": 2 } });
        let answer: Value =
            serde_json::from_slice(&published::answer(&prompt, first, whole.to_string().as_bytes()).unwrap()).unwrap();
        assert_eq!((&answer["output"], &answer["finish_reason"]), (&json!(expect), &json!(finish)), "{whole}");
        assert_eq!(answer["usage"], json!({ "input_tokens": 9, "output_tokens": 2 }));
        let chunk = json!({ "choices": [{ "delta": { "content": content }, "finish_reason": finish }] });
        let (_, pieces) = events(&data(&[chunk]));
        assert!(pieces.is_over());
        let done = &read(&pieces.done(&prompt, first, None))[0].1;
        assert_eq!((&done["output"], &done["finish_reason"]), (&json!(expect), &json!(finish)));
    }
    for usage in [json!(null), json!("many"), json!({ "prompt_tokens": null }), json!({ "prompt_tokens": -1 })] {
        let whole = json!({ "choices": [{ "message": { "content": "a" } }], "usage": usage }).to_string();
        let answer = published::answer(&prompt, first, whole.as_bytes()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap()["output"], json!("a"), "{whole}");
    }
    let refused = json!({ "choices": [{ "message": { "content": [{ "type": "refusal", "refusal": "no" }] } }] });
    assert!(published::answer(&prompt, first, refused.to_string().as_bytes()).is_err());
}

/// The events of an endpoint, of the stream of a model: their types and data.
fn events(stream: &str) -> (Vec<(String, Value)>, streamed::Pieces) {
    let (mut pieces, mut out) = (streamed::Pieces::default(), Vec::new());
    pieces.feed(stream.as_bytes(), &mut out);
    pieces.end(&mut out);
    // However it is cut.
    let (mut by_bytes, mut again) = (streamed::Pieces::default(), Vec::new());
    for byte in stream.as_bytes() {
        by_bytes.feed(std::slice::from_ref(byte), &mut again);
    }
    by_bytes.end(&mut again);
    assert_eq!(
        (&out, pieces.failure(), pieces.is_over()),
        (&again, by_bytes.failure(), by_bytes.is_over()),
        "{stream}"
    );
    (read(&out), pieces)
}

fn read(events: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(events).unwrap();
    let each = text.split_terminator("\n\n").map(|event| {
        let (kind, data) = event.split_once("\ndata: ").unwrap();
        (kind.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data).unwrap())
    });
    each.collect()
}

fn data(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect()
}

fn says(text: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": { "content": text, "refusal": null }, "finish_reason": null }], "error": null })
}

#[test]
fn an_endpoint_answers_while_the_model_does() {
    let (prompt, ends) = (prompt(), json!({ "choices": [{ "delta": {}, "finish_reason": "length" }] }));
    let (first, third) = (prompt.version(Which::Version(1)).unwrap(), prompt.version(Which::Version(3)).unwrap());
    let limit = (LimitField::MaxTokens, 1000);
    let body = published::call(&prompt, first, limit, true, br#"{"text":"hi"}"#).unwrap().body;
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["stream"], true);
    // What is checked when all of it is there cannot be given before.
    let refused = published::call(&prompt, third, limit, true, br#"{"text":"hi"}"#).err().unwrap().0;
    assert!(refused.contains("application/json"), "{refused}");
    let stream = [
        json!({ "choices": [], "prompt_filter_results": [] }),
        json!({ "choices": [{ "delta": { "role": "assistant", "content": "" } }] }),
        says("two\nlines \"x\", "),
        json!({ "choices": [{ "index": 1, "delta": { "content": "another" } }] }),
        json!({ "choices": [{ "delta": { "reasoning_content": "hm" } }] }),
        says("ä"),
        ends,
        json!({ "choices": [], "usage": { "prompt_tokens": 3 } }),
    ];
    let (told, pieces) = events(&(": ping\n\n".to_owned() + &data(&stream) + "data: [DONE]\n\n"));
    let delta = |text: &str| ("delta".to_owned(), json!({ "output": text }));
    assert_eq!(told, [delta("two\nlines \"x\", "), delta("ä")]);
    assert!(pieces.is_over() && pieces.failure().is_none());
    let done = json!({ "output": "two\nlines \"x\", ä", "finish_reason": "length",
        "prompt": { "name": "sentiment", "version": 1 }, "usage": { "input_tokens": 3, "output_tokens": 4 } });
    assert_eq!(read(&pieces.done(&prompt, first, Some((3, 4)))), [("done".to_owned(), done.clone())]);
    // The same of an answer that came whole.
    let whole = published::answer(
        &prompt,
        first,
        json!({ "choices": [{ "message": { "content": "two\nlines \"x\", ä" }, "finish_reason": "length" }],
            "usage": { "prompt_tokens": 3, "completion_tokens": 4 } })
        .to_string()
        .as_bytes(),
    );
    let told = read(&streamed::of_whole(&whole.unwrap()).unwrap());
    assert_eq!(told, [delta("two\nlines \"x\", ä"), ("done".to_owned(), done)]);
    assert_eq!(read(&streamed::refusal(br#"{"code":"x"}"#)), [("error".to_owned(), json!({ "code": "x" }))]);
}

#[test]
fn what_breaks_a_stream_is_told_and_nothing_comes_after_it() {
    for (breaks, why) in [
        (r#"data: {"error":{"message":"Overloaded"}}"#, Some("with an error: Overloaded")),
        ("event: error\ndata: oh", Some("with an error")),
        (r#"data: {"error":"no"}"#, Some("with an error")),
        (
            "event: error\ndata: {\"code\":\"answer_blocked\",\"detail\":\"it holds a secret\"}",
            Some("it holds a secret"),
        ),
        (r#"data: {"choices":[{"delta":{"refusal":"I will not"}}]}"#, Some("the model refused")),
        ("data: <html>", Some("no answer of a model")),
        (": ping", None),
        ("event: ping\ndata:", None),
    ] {
        let stream = data(&[says("a")]) + breaks + "\n\n" + &data(&[says("b")]);
        let (told, pieces) = events(&stream);
        assert_eq!(told.len(), if why.is_some() { 1 } else { 2 }, "{breaks}");
        assert!(!pieces.is_over(), "nothing told its end: {breaks}");
        match why {
            None => assert_eq!(pieces.failure(), None),
            Some(why) => assert!(pieces.failure().unwrap().contains(why), "{breaks}: {:?}", pieces.failure()),
        }
    }
    let long = "x".repeat(5000);
    for error in [json!({ "detail": long }), json!({"error": {"message": long}})] {
        let (_, pieces) = events(&format!("event: error\ndata: {error}\n\n"));
        let told = pieces.failure().unwrap().len();
        assert!((1000..1100).contains(&told), "not at any length: {told}");
    }
    let (mut pieces, mut out) = (streamed::Pieces::default(), Vec::new());
    pieces.feed(format!("data: {}\n\n", "x".repeat(2 << 20)).as_bytes(), &mut out);
    assert!(pieces.failure().is_some() && out.is_empty());
}

#[test]
fn the_description_tells_what_goes_in_and_out() {
    let prompt = prompt();
    let third = prompt.version(Which::Version(3)).unwrap();
    let told = published::openapi(&prompt, third, "/sentiment", false);
    let schemas = &told["components"]["schemas"];
    assert_eq!(schemas["Variables"]["required"], json!(["text"]));
    assert_eq!(
        schemas["Variables"]["properties"]["tone"],
        json!({ "type": "string", "enum": ["short", "long"], "default": "short" })
    );
    assert_eq!(
        schemas["Variables"]["properties"]["text"],
        json!({ "type": "string", "maxLength": 20, "description": "What is judged" })
    );
    assert_eq!(schemas["Output"]["required"], json!(["mood"]));
    assert_eq!(schemas["Output"]["$id"], "urn:credentialflow:prompt:sentiment:3");
    assert_eq!(told["paths"]["/sentiment"]["post"]["security"], json!([{ "key": [] }]));
    let open = published::openapi(&prompt, prompt.version(Which::Version(1)).unwrap(), "/sentiment", true);
    assert_eq!(open["components"]["schemas"]["Output"], json!({ "type": "string" }));
    // Whether it is given as it is made.
    let content = |told: &Value, path: &str| told["paths"][path]["post"]["responses"]["200"]["content"].clone();
    let types = |told: &Value| content(told, "/sentiment").as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(types(&told), ["application/json"]);
    assert_eq!(types(&open), ["application/json", "text/event-stream"]);
    let example = content(&open, "/sentiment")["text/event-stream"]["example"].as_str().unwrap().to_owned();
    let kinds: Vec<_> = read(example.as_bytes()).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["delta", "done"]);
    assert!(
        told["components"]["schemas"].get("Delta").is_none() && open["components"]["schemas"].get("Delta").is_some()
    );
    assert!(open["components"].get("securitySchemes").is_none());
}

#[test]
fn a_test_expects_one_thing_after_another() {
    let each = |checks: Value, answer: &str| verdict::each(&serde_json::from_value::<Vec<_>>(checks).unwrap(), answer);
    let of =
        |checks: Value, answer: &str| each(checks, answer).into_iter().filter_map(|one| one.why).collect::<Vec<_>>();
    let expected = [
        (json!({ "contains": "a" }), "contains \"a\""),
        (json!({ "not_contains": "a" }), "does not contain \"a\""),
        (json!({ "equals": "a" }), "is \"a\""),
        (json!({ "regex": "a+" }), "matches \"a+\""),
        (json!({ "json_schema": {} }), "is what the JSON Schema allows"),
        (json!({ "max_length": 3 }), "has at most 3 characters"),
    ];
    for (check, text) in expected {
        assert_eq!(each(json!([check]), "a")[0].expected, text);
    }
    let all = json!([{ "contains": "good" }, { "not_contains": "bad" }, { "equals": "good mood" }, { "regex": "^g.*d$" },
        { "max_length": 9 }]);
    assert_eq!(of(all.clone(), "good mood"), [""; 0]);
    assert_eq!(of(all, "a bad mood\n").len(), 5);
    let schema = json!([{ "json_schema": { "type": "object", "required": ["mood"] } }]);
    assert_eq!(of(schema.clone(), r#"{"mood":1}"#), [""; 0]);
    assert_eq!(of(schema.clone(), "{}"), ["it is not what the JSON Schema allows"]);
    assert_eq!(of(schema, "mood"), ["it is no JSON"]);
    assert_eq!(of(json!([{ "max_length": 3 }]), "äöüß"), ["it has more than 3 characters"]);
    assert_eq!(of(json!([{ "regex": "(" }]), "x").len(), 1);
}

proptest! {
    /// Whatever a variable is, it is nothing but a part of its text.
    #[test]
    fn a_value_never_becomes_structure(text in ".{0,20}", dialect in 0..4usize) {
        let dialect = [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic, Dialect::Gemini][dialect];
        let with = |text: &str| {
            let wanted = json!({ "id": "sentiment", "variables": { "text": text } });
            written(dialect, &json!({ "prompt": wanted })).unwrap()
        };
        let mut plain = with("x");
        let place = match dialect {
            Dialect::Responses => "/input/0/content",
            Dialect::Gemini => "/contents/0/parts/0/text",
            _ => "/messages/0/content",
        };
        *plain.pointer_mut(place).unwrap() = json!(text);
        prop_assert_eq!(with(&text), plain);
    }

    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Members::of(&bytes).map(|members| members.wanted().map(drop));
        let prompt = prompt();
        let version = prompt.version(Which::Version(1)).unwrap();
        let _ = published::call(&prompt, version, (LimitField::MaxTokens, 1000), false, &bytes);
        let _ = published::answer(&prompt, version, &bytes);
        let _ = streamed::of_whole(&bytes);
        let _ = events(&String::from_utf8_lossy(&bytes));
    }
}
