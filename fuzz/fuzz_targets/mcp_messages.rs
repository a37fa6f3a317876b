//! Any bytes as what is posted to an MCP server, and as what one answers: read without a panic; what is read is what another
//! reader of JSON reads; and what a caller may not use is in no list that is shown, however the answer is cut. Of several
//! servers, what one says names it, and what a caller says goes to the server that it names and is still what it was.
#![no_main]

use credentialflow_mcp::{
    EventFilter, Posted, Rights, Seen, clean, merge,
    servers::{Addressed, addressed, listening, outward, split},
    sessions,
};
use credentialflow_model::resource::Offered;

struct OnlyA;

impl Rights for OnlyA {
    fn governs(&self, _: Offered) -> bool {
        true
    }
    fn allows(&self, _: Offered, name: &str) -> bool {
        name.starts_with('a')
    }
}

const LISTS: [(&str, &str); 4] =
    [("tools", "name"), ("prompts", "name"), ("resources", "uri"), ("resourceTemplates", "uriTemplate")];

/// Whether all that has a name in the lists of a message has one that begins with `a`.
fn names_a(message: &serde_json::Value) -> bool {
    // What asks or tells something by itself is no answer, whatever it holds.
    let is_answer = message.get("method").is_none();
    let named = |one: &serde_json::Value, name: &str| one[name].as_str().is_none_or(|name| name.starts_with('a'));
    let named_all = |(list, name): &(&str, &str)| {
        message["result"][list].as_array().is_none_or(|all| all.iter().all(|one| named(one, name)))
    };
    !is_answer || LISTS.iter().all(named_all)
}

/// Whether every list of a message shows what begins with `a` and nothing else.
fn shows_only_a(message: &serde_json::Value) -> bool {
    LISTS.iter().all(|(list, name)| {
        let shown = message["result"][list].as_array();
        shown.is_none_or(|all| all.iter().all(|one| one[name].as_str().is_some_and(|name| name.starts_with('a'))))
    })
}

/// The same bytes where several servers share an address.
fn several(bytes: &[u8]) {
    if let Ok(posted) = Posted::read(bytes, false) {
        let text = std::str::from_utf8(bytes).expect("it was read");
        let message = &posted.messages[0];
        if let Ok(Addressed::One { server, body }) = addressed(text, message) {
            let again = Posted::read(&body, false).expect("it is a message still");
            assert_eq!(again.messages[0].method, message.method);
            if let (Some(asks), Some(own)) = (message.asks.first(), again.messages[0].asks.first()) {
                assert_eq!(split(asks.kind, &asks.name), Some((&*server, &*own.name)));
            }
        }
        if let Ok(own) = listening(text, "a") {
            assert!(serde_json::from_slice::<serde_json::Value>(&own).is_ok());
        }
        let _ = merge::pages(text);
    }
    if let Ok(named) = outward(bytes, "a")
        && let Ok(said) = serde_json::from_slice::<serde_json::Value>(&named)
    {
        assert!(
            said.as_array().map_or(names_a(&said), |batch| batch.iter().all(names_a)),
            "each has its server's name"
        );
        if let (Ok(mut list), Ok(Ok(result))) = (merge::MergedList::of("tools/list").ok_or(()), merge::answered(&named))
            && list.take("a", result).is_ok()
        {
            assert!(serde_json::from_str::<serde_json::Value>(&list.finish(&["b"])).is_ok());
        }
        if let Ok(Ok(result)) = merge::answered(&named) {
            let mut all = merge::MergedServers::default();
            let _ = all.take("a", result);
            assert!(serde_json::from_str::<serde_json::Value>(&all.finish(("r", "1"), &[])).is_ok());
        }
    }
    if let Some(all) = sessions::read(bytes) {
        assert_eq!(sessions::read(sessions::write(&all).as_bytes()), Some(all));
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(posted) = Posted::read(bytes, true) {
        let other: serde_json::Value = serde_json::from_slice(bytes).expect("it is JSON");
        for (index, message) in posted.messages.iter().enumerate() {
            let other = if posted.is_batch { &other[index] } else { &other };
            assert_eq!(other["method"].as_str(), message.method.as_deref());
            if message.method.as_deref() == Some("tools/call") {
                assert_eq!(other["params"]["name"].as_str(), Some(&*message.asks[0].name));
            }
        }
    }
    several(bytes);
    // What is too deep for the other reader, or holds half of a character, is left to clients.
    if let Ok(shown) = clean(bytes, &OnlyA, &mut Seen::default())
        && let Ok(shown) = serde_json::from_slice::<serde_json::Value>(&shown)
    {
        match shown.as_array() {
            Some(batch) => assert!(batch.iter().all(shows_only_a)),
            None => assert!(shows_only_a(&shown)),
        }
    }
    for (mut one, mut other) in [
        (EventFilter::new(1 << 12), EventFilter::new(1 << 12)),
        (EventFilter::of_server(1 << 12, "b", false), EventFilter::of_server(1 << 12, "b", false)),
        (EventFilter::of_server(1 << 12, "b", true), EventFilter::of_server(1 << 12, "b", true)),
    ] {
        cut_anywhere(bytes, &mut one, &mut other);
    }
});

/// A stream is shown alike, however it is cut.
fn cut_anywhere(bytes: &[u8], whole: &mut EventFilter, cut: &mut EventFilter) {
    let (mut at_once, mut in_pieces) = (Vec::new(), Vec::new());
    whole.feed(bytes, &OnlyA, &mut |b| at_once.extend_from_slice(b));
    whole.finish(&OnlyA, &mut |b| at_once.extend_from_slice(b));
    for piece in bytes.chunks(3) {
        cut.feed(piece, &OnlyA, &mut |b| in_pieces.extend_from_slice(b));
    }
    cut.finish(&OnlyA, &mut |b| in_pieces.extend_from_slice(b));
    assert_eq!((at_once, whole.has_failed(), whole.seen()), (in_pieces, cut.has_failed(), cut.seen()));
}
