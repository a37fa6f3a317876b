//! Leaves secrets of our own making out of texts that are recorded, such as paths in the call log.
//!
//! People put keys where they do not belong. A key has a shape that can be recognised wherever it
//! stands; what others issue has none, so this finds our keys and administrator's tokens only.

use std::{borrow::Cow, ops::Range};

const ID_CHARS: usize = 12;
/// Shorter rests are no secret any more, and more likely a word.
const SHORTEST: usize = 8;
const ADMIN: &[u8] = b"cfadmin_";
const MASK: &str = "***";

/// The text with the secret half of each key, and of each administrator's token, replaced by `***`.
/// A key that was cut short is recognised too, as long as eight characters of its secret are left, and one of which
/// any bytes are percent-encoded (RFC 3986, 2.1), once or several times.
pub fn masked(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return without(text, &secrets(text.as_bytes()));
    }
    let (plain, places) = decoded(text.as_bytes());
    let found = secrets(&plain);
    if found.is_empty() {
        return without(text, &secrets(text.as_bytes()));
    }
    let found: Vec<_> = found.into_iter().map(|r| places[r.start].start..places[r.end - 1].end).collect();
    let text = without(text, &found);
    // An escape may reach into a key's first characters, which then stand in the text as it is alone.
    let left = secrets(text.as_bytes());
    Cow::Owned(without(&text, &left).into_owned())
}

fn without<'t>(text: &'t str, ranges: &[Range<usize>]) -> Cow<'t, str> {
    if ranges.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for range in ranges {
        // Both ends are next to ASCII characters of a secret, so they are boundaries.
        out.push_str(&text[done..range.start]);
        out.push_str(MASK);
        done = range.end;
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// The bytes with every escape resolved, also those that others leave behind, and where each stood.
fn decoded(text: &[u8]) -> (Vec<u8>, Vec<Range<usize>>) {
    let (mut plain, mut places) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len()));
    for (at, byte) in text.iter().enumerate() {
        plain.push(*byte);
        places.push(at..at + 1);
        while let Some([b'%', high, low]) = plain.last_chunk()
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            let first = plain.len() - 3;
            plain.truncate(first);
            places.truncate(first + 1);
            plain.push(high << 4 | low);
            places[first].end = at + 1;
        }
    }
    (plain, places)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok())
}

/// Where secrets stand, in order.
fn secrets(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|b| *b == b'_').map(|at| from + at) {
        from = at + 1;
        if let Some(range) = secret_after(bytes, at) {
            from = range.end;
            found.push(range);
        }
    }
    found
}

/// Where the secret stands whose last label, or whose prefix, ends at this underscore.
fn secret_after(bytes: &[u8], underscore: usize) -> Option<Range<usize>> {
    let run = |start: usize, belongs: fn(&u8) -> bool| {
        let length = bytes[start..].iter().take_while(|b| belongs(b)).count();
        (length >= SHORTEST).then_some(start..start + length)
    };
    if bytes[..=underscore].ends_with(ADMIN) {
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

    #[test]
    fn escapes_hide_no_key() {
        const SECRET: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVaaaaaa";
        for (low, high) in [("%5f", "%5F"), ("%255f", "%25255F"), ("%%35f", "%5%46")] {
            let text = format!("/x/cfk{low}live{high}7m2k9q4x1c8v{low}{SECRET}/y%20z");
            check(&text, &format!("/x/cfk{low}live{high}7m2k9q4x1c8v{low}***/y%20z"));
            check(&format!("/é%c3%a9{high}7m2k9q4x1c8v_{SECRET}%"), &format!("/é%c3%a9{high}7m2k9q4x1c8v_***%"));
            check(&format!("/cfadmin{low}0123{high}-6789abcdef/x"), &format!("/cfadmin{low}***/x"));
        }
        check("/cfk_live_7%6d2k9q4x1c8v_01234567%38%39%4", "/cfk_live_7%6d2k9q4x1c8v_***%4");
        check("/a%2cfadmin_0123456789abcdef", "/a%2cfadmin_***");
        check("/%5f/%zz/100%/%", "/%5f/%zz/100%/%");
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
        fn no_escaped_key_passes(bits in any::<u64>(), how in prop::collection::vec(0u8..4, 80), before in "[a-z/_%]{0,9}") {
            let key = KeyToken::generate("cfk", "live", KeyId::from_bits(bits), |b| b.fill(7)).unwrap();
            let key = key.expose_str().unwrap();
            let escaped = |text: &str, at: usize| -> String {
                text.bytes().zip(&how[at..]).map(|(b, how)| match how {
                    0 => format!("%{b:02x}"),
                    1 => format!("%{b:02X}"),
                    2 => format!("%25{b:02x}"),
                    _ => char::from(b).to_string(),
                }).collect()
            };
            let (id, secret) = key.rsplit_once('_').unwrap();
            let id = escaped(&format!("{id}_"), 0);
            // As someone types it after anything else: a character of its own before it.
            let got = masked(&format!("{before}/{id}{}", escaped(secret, key.len() - secret.len()))).into_owned();
            prop_assert_eq!(got, format!("{before}/{id}***"));
        }

        #[test]
        fn any_text_passes_without_a_panic(text in "(.|[%_0-9a-f]){0,80}") {
            let _ = masked(&text);
        }
    }
}
