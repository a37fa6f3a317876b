//! Any bytes as a presented key: no panic, and only a token with its own checksum is taken.
#![no_main]

use credentialflow_model::{KeyId, KeyToken, key::MAX_TOKEN_LEN};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(token) = KeyToken::parse(bytes) {
        assert!(bytes.len() <= MAX_TOKEN_LEN && bytes.is_ascii());
        assert_eq!(token.id.to_string().parse::<KeyId>(), Ok(token.id));
        // One character changed anywhere is one checksum broken.
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            assert!(KeyToken::parse(&changed).is_none());
        }
    }
    // A key made from these bytes is read back.
    let mut seed = bytes.iter().copied().cycle().zip(0u32..);
    if !bytes.is_empty() {
        let mut random = |out: &mut [u8]| {
            for byte in out {
                *byte = seed.next().map_or(0, |(b, n)| b.wrapping_add(n.to_le_bytes()[0]).wrapping_mul(31));
            }
        };
        let id = KeyId::from_bits(u64::from_le_bytes(std::array::from_fn(|i| bytes[i % bytes.len()])));
        let key = KeyToken::generate("cfk", "live", id, &mut random).expect("both labels are valid");
        assert_eq!(KeyToken::parse(key.expose()).map(|t| t.id), Some(id));
    }
});
