//! Any bytes as the variables of a published prompt, as a call that names one, and as the stream of its answer: no panic, a
//! value is never more than a part of its text, and what is written is JSON.
#![no_main]

use credentialflow_llm::{
    prompt::{
        Compiled, Which,
        call::{Form, render},
        published,
        streamed::Pieces,
        wanted::Members,
    },
    provider::{Dialect, LimitField},
};
use credentialflow_model::resource::Prompt;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Bytes that a prompt's texts may have.
const MOST: u64 = 1 << 16;

static PROMPT: LazyLock<Compiled> = LazyLock::new(|| {
    let prompt: Prompt = serde_json::from_value(json!({
        "name": "p", "model": "m",
        "variables": { "text": { "type": "string" }, "n": { "type": "number", "required": false } },
        "versions": [{ "version": 1, "system": "a {{n}}", "messages": [{ "role": "user", "content": "{{text}}" }] }],
        "labels": { "production": 1 },
    }))
    .expect("a prompt");
    Compiled::of(&prompt)
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let version = PROMPT.version(Which::Version(1)).expect("a version");
    for streams in [false, true] {
        if let Ok(written) = published::call(&PROMPT, version, (LimitField::MaxTokens, MOST), streams, bytes) {
            let body: Value = serde_json::from_slice(&written.body).expect("JSON");
            assert_eq!(body["messages"].as_array().map(Vec::len), Some(2));
            assert_eq!(body.as_object().map(|body| body.len()), Some(2 + usize::from(streams)));
        }
    }
    let (mut pieces, mut events) = (Pieces::default(), Vec::new());
    pieces.feed(bytes, &mut events);
    pieces.end(&mut events);
    events.extend(pieces.done(&PROMPT, version, None));
    // Whatever a provider sends: each event is one of ours, and its data are JSON.
    for event in std::str::from_utf8(&events).expect("text").split_terminator("\n\n") {
        let (kind, data) = event.split_once("\ndata: ").expect("its data");
        assert!(matches!(kind, "event: delta" | "event: done"));
        serde_json::from_str::<Value>(data).expect("JSON");
    }
    let Some(members) = Members::of(bytes) else { return };
    let Ok(Some(wanted)) = members.wanted() else { return };
    for dialect in [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic, Dialect::Gemini] {
        for counts in [false, true] {
            let form = Form { dialect, limit: LimitField::MaxTokens, counts, most: MOST };
            if let Ok(written) = render(form, &PROMPT, version, wanted.variables, &members) {
                serde_json::from_slice::<Value>(&written.body).expect("JSON");
            }
        }
    }
});
