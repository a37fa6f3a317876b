//! Any bytes as a token of the run-time API: a service token stands with its checksum, and what a batch token carries is
//! read as sealed bytes or not at all.
#![no_main]

use credentialflow_identity::{SERVICE_PREFIX, is_service_token};
use credentialflow_vault::Sealed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        holds_its_checksum(text);
        holds_its_checksum(&format!("{SERVICE_PREFIX}{text}"));
    }
    if let Ok(sealed) = Sealed::from_bytes(bytes.to_vec()) {
        assert_eq!(sealed.as_bytes(), bytes);
        let shown = format!("{sealed:?}");
        assert!(shown.len() < 200, "what is sealed is not shown");
        let _ = (sealed.algorithm(), sealed.key_id());
    }
});

/// One character changed anywhere is one checksum broken.
fn holds_its_checksum(text: &str) {
    if !is_service_token(text) {
        return;
    }
    assert!(text.is_ascii() && text.starts_with(SERVICE_PREFIX));
    for at in 0..text.len() {
        let mut changed = text.as_bytes().to_vec();
        changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
        assert!(!is_service_token(std::str::from_utf8(&changed).expect("it is ASCII")));
    }
}
