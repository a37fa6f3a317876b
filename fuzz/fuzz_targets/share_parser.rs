//! Any text and bytes as a Shamir share: no panic, and what is read is written back the same.
#![no_main]

use credentialflow_vault::seal::share::{BYTES, Share, ShareError, ShareSet};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(share) = Share::from_bytes(bytes) {
        assert_eq!(share.to_bytes().expose(), bytes);
        let text = share.to_text();
        let again = Share::parse(text.expose_str().unwrap_or_default()).expect("what was written is read");
        assert_eq!((again.set, again.number), (share.set, share.number));
        assert_eq!(again.to_bytes().expose(), bytes);
    }
    // A checksum put right brings the fuzzer past it.
    if let Some(body) = bytes.get(..BYTES - 4) {
        let mut right = body.to_vec();
        right.extend(crc32fast::hash(body).to_be_bytes());
        let plausible = body[0] == 1 && body[5] > 0;
        assert_eq!(Share::from_bytes(&right).is_ok(), plausible);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        match Share::parse(text) {
            Ok(share) => assert!(share.number > 0),
            // What is told holds the set and number alone, never what was typed after them.
            Err(ShareError::Mistyped { set, .. }) => assert!(ShareSet::parse(&set).is_some()),
            Err(_) => {}
        }
        let _ = Share::parse(&format!("cfs1_3f9a01bc_2_{text}"));
    }
});
