//! Any bytes as a call's body and as a text in one: no panic, what is written anew is JSON of the same form, and what was
//! found at a place is not there any more.
#![no_main]

use credentialflow_llm::guardrail::{Found, Guardrails, registry, without};
use credentialflow_model::resource::{Detect, Guardrail, GuardrailAction, GuardrailOn};
use std::sync::OnceLock;

fn rule(detect: Detect, action: GuardrailAction) -> Guardrail {
    let words = if detect == Detect::Words { vec!["project falcon".into(), "aurora".into()] } else { Vec::new() };
    let pattern = (detect == Detect::Pattern).then(|| r"PRJ-\d{4}".into());
    Guardrail { on: GuardrailOn::Both, words, pattern, ..Guardrail::new(detect, action) }
}

fn rules() -> &'static [Guardrail] {
    static RULES: OnceLock<Vec<Guardrail>> = OnceLock::new();
    RULES.get_or_init(|| {
        let redact = [Detect::PersonalData, Detect::Secrets, Detect::Words, Detect::Pattern]
            .map(|d| rule(d, GuardrailAction::Redact));
        redact.into_iter().chain([rule(Detect::Jailbreak, GuardrailAction::Flag)]).collect()
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static ALL: OnceLock<Guardrails> = OnceLock::new();
    let all =
        ALL.get_or_init(|| Guardrails::build(rules().iter().map(|rule| (None, rule))).expect("they can be built"));
    if let Ok(judged) = all.judge(bytes)
        && let Some(body) = judged.body
    {
        serde_json::from_slice::<serde_json::Value>(&body).expect("what is written anew is JSON");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for rule in rules() {
        let mut found = Vec::new();
        registry::build(rule).expect("it can be built").find(text, &mut found);
        for Found { range, .. } in &found {
            assert!(range.start < range.end && text.get(range.clone()).is_some(), "{range:?}");
        }
        without(text, found);
    }
    let body = serde_json::json!({ "messages": [{ "role": "user", "content": text }] }).to_string();
    let judged = all.judge(body.as_bytes()).expect("it is JSON");
    let body = judged.body.map_or(body, |body| String::from_utf8(body).expect("it is text"));
    serde_json::from_str::<serde_json::Value>(&body).expect("it is JSON");
});
