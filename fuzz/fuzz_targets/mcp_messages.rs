//! Any bytes as what is posted to an MCP server, and as what one answers: read without a panic; what is read is what another
//! reader of JSON reads; and what a caller may not use is in no list that is shown, however the answer is cut.
#![no_main]

use credentialflow_mcp::{EventFilter, Posted, Rights, Seen, clean};
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

/// Whether every list of a message shows what begins with `a` and nothing else.
fn shows_only_a(message: &serde_json::Value) -> bool {
    let lists = [("tools", "name"), ("prompts", "name"), ("resources", "uri"), ("resourceTemplates", "uriTemplate")];
    lists.iter().all(|(list, name)| {
        let shown = message["result"][list].as_array();
        shown.is_none_or(|all| all.iter().all(|one| one[name].as_str().is_some_and(|name| name.starts_with('a'))))
    })
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
    // What is too deep for the other reader, or holds half of a character, is left to clients.
    if let Ok(shown) = clean(bytes, &OnlyA, &mut Seen::default())
        && let Ok(shown) = serde_json::from_slice::<serde_json::Value>(&shown)
    {
        match shown.as_array() {
            Some(batch) => assert!(batch.iter().all(shows_only_a)),
            None => assert!(shows_only_a(&shown)),
        }
    }
    let mut whole = EventFilter::new(1 << 12);
    let (mut at_once, mut in_pieces) = (Vec::new(), Vec::new());
    whole.feed(bytes, &OnlyA, &mut |b| at_once.extend_from_slice(b));
    whole.finish(&OnlyA, &mut |b| at_once.extend_from_slice(b));
    let mut cut = EventFilter::new(1 << 12);
    for piece in bytes.chunks(3) {
        cut.feed(piece, &OnlyA, &mut |b| in_pieces.extend_from_slice(b));
    }
    cut.finish(&OnlyA, &mut |b| in_pieces.extend_from_slice(b));
    assert_eq!((at_once, whole.has_failed(), whole.seen()), (in_pieces, cut.has_failed(), cut.seen()));
});
