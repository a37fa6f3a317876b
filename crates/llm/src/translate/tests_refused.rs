//! What callers may say in their own dialect and providers of others refuse is said as those take it.
#![allow(clippy::unwrap_used)]

use super::{To, Untranslatable, request};
use crate::provider::Dialect;
use credentialflow_model::Timestamp;
use serde_json::{Value, json};

fn said(from: Dialect, to: Dialect, call: &Value) -> Result<Value, Untranslatable> {
    let model = if to == Dialect::Bedrock { "anthropic.claude-sonnet-4-5" } else { "other" };
    let (body, _) =
        request(call.to_string().as_bytes(), from, &To::new(to, model), Timestamp::from_secs(1_790_000_000))?;
    Ok(serde_json::from_slice(&body).unwrap())
}

fn sent(from: Dialect, to: Dialect, call: &Value) -> Value {
    said(from, to, call).unwrap()
}

fn with(mut call: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        call[name] = value.clone();
    }
    call
}

fn chat(messages: &Value) -> Value {
    json!({"model": "m", "messages": messages})
}

const PROVIDERS: [Dialect; 5] =
    [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock];

#[test]
fn where_there_are_no_tools_nothing_is_said_of_a_choice() {
    let responses = json!({"model": "m", "input": "x"});
    let gemini = json!({"contents": [{"parts": [{"text": "x"}]}]});
    let mode = |mode: &str| json!({"toolConfig": {"functionCallingConfig": {"mode": mode}}});
    for (from, call) in [
        (Dialect::Responses, with(responses.clone(), &json!({"tools": [], "tool_choice": "auto"}))),
        (Dialect::Responses, with(responses.clone(), &json!({"tool_choice": "auto", "parallel_tool_calls": false}))),
        (Dialect::Responses, with(responses, &json!({"tools": null, "tool_choice": "none"}))),
        (
            Dialect::OpenAi,
            with(chat(&json!([{"role": "user", "content": "x"}])), &json!({"tools": [], "tool_choice": "none"})),
        ),
        (Dialect::Gemini, with(gemini.clone(), &mode("AUTO"))),
        (Dialect::Gemini, with(gemini, &mode("NONE"))),
    ] {
        for to in PROVIDERS.into_iter().filter(|to| *to != from) {
            let got = sent(from, to, &call);
            for field in ["tools", "tool_choice", "parallel_tool_calls", "toolConfig", "additionalModelRequestFields"] {
                assert_eq!(got.get(field), None, "{from:?} to {to:?}: {call}");
            }
        }
    }
    // Who wants one called without any is told so by the provider.
    let forced = with(chat(&json!([{"role": "user", "content": "x"}])), &json!({"tool_choice": "required"}));
    assert_eq!(sent(Dialect::OpenAi, Dialect::Anthropic, &forced)["tool_choice"], json!({"type": "any"}));
}

#[test]
fn texts_of_white_space_alone_do_not_reach_those_who_refuse_them() {
    let called = json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let tools = json!({"tools": [{"type": "function", "function": {"name": "f"}}]});
    let call = with(
        chat(&json!([
            {"role": "system", "content": " "},
            {"role": "user", "content": [{"type": "text", "text": "\t"}, {"type": "text", "text": " q"}]},
            {"role": "assistant", "content": "\n\n", "tool_calls": [called]},
            {"role": "tool", "tool_call_id": "c1", "content": " \n"},
            {"role": "assistant", "content": "\u{a0}"},
            {"role": "user", "content": "and?\n"},
        ])),
        &tools,
    );
    let got = sent(Dialect::OpenAi, Dialect::Anthropic, &call);
    assert_eq!(got.get("system"), None);
    assert_eq!(
        got["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": " q"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1"}, {"type": "text", "text": "and?\n"}]},
        ])
    );
    let got = sent(Dialect::OpenAi, Dialect::Bedrock, &call);
    assert_eq!(got.get("system"), None);
    assert_eq!(
        got["messages"],
        json!([
            {"role": "user", "content": [{"text": " q"}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "f", "input": {}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": []}}, {"text": "and?\n"}]},
        ])
    );
    // Others take them.
    let got = sent(Dialect::OpenAi, Dialect::Responses, &call).to_string();
    assert!(got.contains(r#""\n\n""#) && got.contains(r#"" \n""#), "{got}");
}

#[test]
fn an_image_is_of_a_type_as_providers_write_it() {
    let url = |kind: &str| format!("data:{kind};base64,aGk=");
    let chat = |kind: &str| {
        let part = json!({"type": "image_url", "image_url": {"url": url(kind)}});
        (Dialect::OpenAi, chat(&json!([{"role": "user", "content": [part]}])))
    };
    let responses = |kind: &str| {
        let part = json!({"type": "input_image", "detail": "auto", "image_url": url(kind)});
        (Dialect::Responses, json!({"model": "m", "input": [{"role": "user", "content": [part]}]}))
    };
    let gemini = |kind: &str| {
        (Dialect::Gemini, json!({"contents": [{"parts": [{"inlineData": {"mimeType": kind, "data": "aGk="}}]}]}))
    };
    for (told, known) in [
        ("image/jpg", "image/jpeg"),
        ("image/pjpeg", "image/jpeg"),
        ("IMAGE/JPG", "image/jpeg"),
        ("image/PNG", "image/png"),
        ("image/webp", "image/webp"),
    ] {
        for (from, call) in [chat(told), responses(told), gemini(told)] {
            let got = sent(from, Dialect::Anthropic, &call);
            let source = json!({"type": "base64", "media_type": known, "data": "aGk="});
            assert_eq!(got["messages"][0]["content"], json!([{"type": "image", "source": source}]), "{from:?} {told}");
        }
        let (from, call) = chat(told);
        let got = sent(from, Dialect::Gemini, &call);
        assert_eq!(got["contents"][0]["parts"][0]["inlineData"]["mimeType"], known);
        let got = sent(from, Dialect::Responses, &call);
        assert_eq!(got["input"][0]["content"][0]["image_url"], url(known));
    }
    let (from, call) = chat("image/bmp");
    let why = said(from, Dialect::Anthropic, &call).unwrap_err().to_string();
    assert!(why.contains("an image that is no PNG, JPEG, GIF or WebP"), "{why}");
    assert!(said(from, Dialect::Gemini, &call).is_ok());
}

#[test]
fn a_document_goes_to_claude_as_a_pdf_or_as_a_text() {
    let chat = |url: &str| {
        let part = json!({"type": "file", "file": {"filename": "a.csv", "file_data": url}});
        (Dialect::OpenAi, chat(&json!([{"role": "user", "content": [part]}])))
    };
    let responses = |url: &str| {
        let part = json!({"type": "input_file", "filename": "a.csv", "file_data": url});
        (Dialect::Responses, json!({"model": "m", "input": [{"role": "user", "content": [part]}]}))
    };
    for (url, source) in [
        ("data:text/csv;base64,YSxiCsO8", json!({"type": "text", "media_type": "text/plain", "data": "a,b\nü"})),
        ("data:application/json;base64,e30=", json!({"type": "text", "media_type": "text/plain", "data": "{}"})),
        (
            "data:application/PDF;base64,JVBE",
            json!({"type": "base64", "media_type": "application/pdf", "data": "JVBE"}),
        ),
    ] {
        for (from, call) in [chat(url), responses(url)] {
            let got = sent(from, Dialect::Anthropic, &call);
            let document = json!({"type": "document", "source": source, "title": "a.csv"});
            assert_eq!(got["messages"][0]["content"], json!([document]), "{from:?} {url}");
        }
    }
    for url in ["data:application/zip;base64,UEsD/w==", "data:text/plain;base64,?"] {
        let (from, call) = chat(url);
        let why = said(from, Dialect::Anthropic, &call).unwrap_err().to_string();
        assert!(why.contains("a document that is neither a PDF nor a text"), "{why}");
        assert!(said(from, Dialect::Responses, &call).is_ok(), "{url}");
    }
}
