//! Any bytes as configuration: no panic, and what reads cleanly survives export and reading again.
#![no_main]

use credentialflow_llm::{guardrail, provider::OWN_ADDRESS};
use credentialflow_model::config::{self, Context, MAX_PROBLEMS, SourceMap};
use credentialflow_model::resource::{Credential, Route};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let context = Context {
        providers: &["openai", "sandbox"],
        own_address: OWN_ADDRESS,
        guardrail: Some(guardrail::check),
        keys: &[],
    };
    let (set, source, problems) = config::read_bytes("fuzz", bytes);
    let checked = config::check(&set, &source, &context);
    assert!(problems.0.len() <= MAX_PROBLEMS + 1 && checked.0.len() <= MAX_PROBLEMS + 1);
    assert!(problems.0.iter().all(|p| p.file.is_none() || p.at.line > 0), "{problems}");
    // What another source map says must not matter to what is wrong.
    if problems.0.is_empty() {
        assert_eq!(config::check(&set, &SourceMap::default(), &context).0.len(), checked.0.len());
        let text = config::export(&set);
        let (again, _, problems) = config::read("export", &text);
        assert!(problems.0.is_empty(), "{problems}\n{text}");
        assert_eq!(again, set, "{text}");
        assert!(config::plan(&set, &again, true).is_empty() || !checked.0.is_empty());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = config::read_resource::<Route>(text);
        let _ = config::read_resource::<Credential>(text);
    }
});
