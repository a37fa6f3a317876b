//! Leaves secrets of our own making out of texts that are recorded, such as paths in the call log.
//!
//! People put keys where they do not belong. A key has a shape that can be recognised wherever it
//! stands; what others issue has none, so this finds our keys and administrator's tokens only.

use std::borrow::Cow;

const ID_CHARS: usize = 12;
/// Shorter rests are no secret any more, and more likely a word.
const SHORTEST: usize = 8;
const ADMIN: &str = "cfadmin_";
const MASK: &str = "***";

/// The text with the secret half of each key, and of each administrator's token, replaced by `***`.
/// A key that was cut short is recognised too, as long as eight characters of its secret are left.
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut done = 0;
    let mut from = 0;
    while let Some(at) = text[from..].find('_').map(|at| from + at) {
        from = at + 1;
        let Some((start, end)) = secret_after(text, at) else { continue };
        out.push_str(&text[done..start]);
        out.push_str(MASK);
        (done, from) = (end, end);
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// Where the secret stands whose last label, or whose prefix, ends at this underscore.
fn secret_after(text: &str, underscore: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let run = |start: usize, belongs: fn(&u8) -> bool| {
        let length = bytes[start..].iter().take_while(|b| belongs(b)).count();
        (length >= SHORTEST).then_some((start, start + length))
    };
    if text[..=underscore].ends_with(ADMIN) {
        return run(underscore + 1, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    }
    let id = bytes.get(underscore + 1..underscore + 1 + ID_CHARS)?;
    let after = underscore + 1 + ID_CHARS;
    let is_id = id.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) && bytes.get(after) == Some(&b'_');
    if is_id { run(after + 1, u8::is_ascii_alphanumeric) } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{KeyId, KeyToken};
    use proptest::prelude::*;

    fn check(text: &str, expect: &str) {
        assert_eq!(masked(text), expect);
    }

    #[test]
    fn secrets_go_and_everything_else_stays() {
        check("/orders/17", "/orders/17");
        check("", "");
        check("/a_b_c/_/__", "/a_b_c/_/__");
        check("/x/cfk_live_7m2k9q4x1c8v_0123456789ABCDEFGHIJKLMNOPQRSTUVaaaaaa", "/x/cfk_live_7m2k9q4x1c8v_***");
        check("/acme_test_7m2k9q4x1c8v_0123456789ABC", "/acme_test_7m2k9q4x1c8v_***");
        check(
            "/cfk_live_7m2k9q4x1c8v_01234567-/é_7m2k9q4x1c8v_abcdefgh%20",
            "/cfk_live_7m2k9q4x1c8v_***-/é_7m2k9q4x1c8v_***%20",
        );
        check("/cfk_live_7m2k9q4x1c8v_short", "/cfk_live_7m2k9q4x1c8v_short");
        check("/cfadmin_0123-_6789abcdef/x", "/cfadmin_***/x");
    }

    proptest! {
        #[test]
        fn no_issued_key_passes(seed in any::<u8>(), bits in any::<u64>(), before in "[a-z/_%]{0,20}", after in "(/[a-z_]{0,8})?") {
            let mut n = seed;
            let key = KeyToken::generate("cfk", "live", KeyId::from_bits(bits), |b| b.fill_with(|| {
                n = n.wrapping_mul(37).wrapping_add(11);
                n
            })).unwrap();
            let key = key.expose_str().unwrap();
            let secret = key.rsplit('_').next().unwrap();
            let text = format!("{before}{key}{after}");
            let got = masked(&text);
            prop_assert!(!got.contains(secret) && got.ends_with(&format!("_***{after}")), "{got}");
        }

        #[test]
        fn any_text_passes_without_a_panic(text in ".{0,80}") {
            let _ = masked(&text);
        }
    }
}
