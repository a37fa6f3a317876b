//! Any bytes as a call's body: what it needs, what it has in common with others and what it names at its provider is read
//! without a panic, its media are never more than the body, and white space behind it changes nothing. With the same ids in
//! the places of its files it names the same.
#![no_main]

use credentialflow_llm::{affinity, files, named, needs::Needs, provider::Dialect};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let needs = Needs::of(bytes);
    assert!(needs.text <= bytes.len() as u64);
    let mut longer = bytes.to_vec();
    longer.extend_from_slice(b" \n");
    assert_eq!(Needs::of(&longer), Needs { text: needs.text + 2, ..needs });
    assert_eq!(affinity::user(&longer), affinity::user(bytes));
    assert_eq!(affinity::conversation(&longer), affinity::conversation(bytes));
    for speaks in [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic, Dialect::Gemini] {
        assert_eq!(named::reads_along(&longer, speaks), named::reads_along(bytes, speaks));
        let Ok(found) = named::names(bytes, speaks) else { continue };
        let ids = |found: &named::Names| found.files.iter().map(|file| file.id.clone()).collect::<Vec<_>>();
        let written = files::with_ids(bytes, &found.files, ids(&found).iter().map(String::as_str));
        let again = named::names(&written, speaks).unwrap();
        assert_eq!((ids(&again), again.store, again.reads_along), (ids(&found), found.store, found.reads_along));
    }
});
