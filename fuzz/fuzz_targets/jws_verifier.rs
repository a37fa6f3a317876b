//! Any bytes as a signed token and as a key set: no panic, and nothing is accepted that nobody signed.
#![no_main]

use credentialflow_identity::jose::{Algorithm, Claims, Key, KeySet, verify};

const KEYS: &[u8] = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let keys = KeySet::from_jwks(KEYS).expect("two keys");
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(verify(text, &keys, &Algorithm::ALL).is_err());
        let _ = Key::from_pem(text);
    }
    if let Some(found) = KeySet::from_jwks(bytes) {
        assert!(verify("eyJhbGciOiJub25lIn0.e30.", &found, &Algorithm::ALL).is_err());
    }
    let _ = Claims::parse(bytes).map(|claims| claims.get("/a/b").cloned());
});
