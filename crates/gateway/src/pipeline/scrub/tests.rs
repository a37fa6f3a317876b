//! No form of a secret passes, however it is cut; everything else does, unchanged.

use super::*;
use base64::{Engine, prelude::*};
use memchr::memmem;
use proptest::prelude::*;

fn run(secret: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
    let mut scrub = Scrub::new(secret);
    let mut got = Vec::new();
    for piece in pieces {
        scrub.feed(piece, &mut |b| got.extend_from_slice(b));
    }
    scrub.finish(&mut |b| got.extend_from_slice(b));
    got
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn echoes_are_blotted_out_with_the_same_length() {
    assert_eq!(run(b"hunter22", &[b"a hunter22 b"]), b"a ******** b");
    assert_eq!(run(b"hunter22", &[b"a hun", b"ter2", b"2 b"]), b"a ******** b");
    assert_eq!(run(b"hunter22", &[b"a hun", b"ting"]), b"a hunting");
    assert_eq!(run(b"aaaaaab", &[b"aaaaaaaaaaab"]), b"aaaaa*******");
    assert_eq!(run(b"hunter22", &[b"hunter22 aHVudGVyMjI="]), b"******** **********I=");
    assert_eq!(run(b"12345", &[b"12345"]), b"12345", "too short to be told from other text");
}

const SECRET: &str = "s%3/k\"Zq7+W&4=\\";

/// The spellings an encoder may give a byte.
fn spellings(b: u8) -> Vec<String> {
    let mut all = vec![
        (b as char).to_string(),
        format!("\\u{b:04x}"),
        format!("\\u{b:04X}"),
        format!("\\x{b:02x}"),
        format!("%{b:02x}"),
        format!("%{b:02X}"),
        format!("&#{b};"),
        format!("&#x{b:x};"),
    ];
    match b {
        b'/' | b'"' | b'\\' => all.push(format!("\\{}", b as char)),
        b'&' => all.push("&amp;".into()),
        _ => {}
    }
    all
}

#[test]
fn every_byte_may_be_escaped() {
    for style in 0..8 {
        let echo: String = SECRET.bytes().map(|b| spellings(b)[style].clone()).collect();
        let got = run(SECRET.as_bytes(), &[format!("<{echo}>").as_bytes()]);
        assert_eq!(text(&got), format!("<{}>", "*".repeat(echo.len())), "{echo}");
    }
    let mixed = "\\u0073%3\\/k\\\"Zq7%2bW&amp;4\\u003D\\\\";
    assert_eq!(text(&run(SECRET.as_bytes(), &[mixed.as_bytes()])), "*".repeat(mixed.len()));
}

#[test]
fn other_alphabets_wherever_the_secret_begins() {
    for before in ["", "u", "us", "Bearer ", "bob:", "user:"] {
        for after in ["", "!", " and more"] {
            let plain = format!("{before}{SECRET}{after}");
            for encoded in [BASE64_STANDARD.encode(&plain), BASE64_URL_SAFE_NO_PAD.encode(&plain)] {
                let got = text(&run(SECRET.as_bytes(), &[format!("\"{encoded}\"").as_bytes()]));
                let hidden = got.bytes().filter(|b| *b == b'*').count();
                // Whole characters of base64 that the secret alone decides.
                assert!(hidden >= SECRET.len() * 8 / 6 - 1, "{encoded} became {got}");
            }
        }
    }
    let hex: String = SECRET.bytes().map(|b| format!("{b:02x}")).collect();
    for hex in [hex.to_uppercase(), hex] {
        assert_eq!(text(&run(SECRET.as_bytes(), &[hex.as_bytes()])), "*".repeat(hex.len()));
    }
}

proptest! {
    #[test]
    fn no_split_lets_a_secret_through(
        before in "[abx]{0,12}", after in "[abx]{0,12}", secret in "[ab]{6,9}", cuts in prop::collection::vec(0usize..40, 0..6),
    ) {
        let text = format!("{before}{secret}{after}").into_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
        let got = run(secret.as_bytes(), &pieces);
        prop_assert_eq!(got.len(), text.len());
        prop_assert!(memmem::find(&got, secret.as_bytes()).is_none());
    }

    #[test]
    fn no_escape_and_no_split_lets_a_secret_through(
        secret in "[ -~]{5,19}[a-z]", styles in prop::collection::vec(0usize..9, 20), cuts in prop::collection::vec(0usize..200, 0..8),
        before in "[ -~]{0,6}", after in "[ -~]{0,6}",
    ) {
        // The beginning of an escape may be all that the end of a secret needs; then the escape's rest passes.
        let end = &secret.as_bytes()[secret.len().saturating_sub(escape::LONGEST)..];
        prop_assume!(!end.iter().any(|b| escape::LEADS.contains(b)));
        let echo: String = secret
            .bytes()
            .zip(styles)
            .map(|(b, style)| {
                let all = spellings(b);
                all[style % all.len()].clone()
            })
            .collect();
        let whole = format!("{before}{echo}{after}").into_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(whole.len())).collect();
        cuts.extend([0, whole.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &whole[w[0]..w[1]]).collect();
        let got = run(secret.as_bytes(), &pieces);
        prop_assert_eq!(got.len(), whole.len());
        let hidden = &got[before.len()..before.len() + echo.len()];
        prop_assert!(hidden.iter().all(|b| *b == b'*'), "{:?} in {:?} became {:?}", secret, text(&whole), text(&got));
    }

    #[test]
    fn what_holds_no_secret_passes_unchanged(
        secret in "[a-z]{8,12}", pieces in prop::collection::vec("[A-Z0-9%\\\\&;u ]{0,30}", 0..8),
    ) {
        // Neither the text nor its escapes can spell the secret: escapes of lower case need digits 6 and 7.
        let pieces: Vec<String> = pieces.iter().map(|p| p.replace(['6', '7'], "5")).collect();
        prop_assume!(!pieces.concat().to_ascii_lowercase().contains(&secret));
        let slices: Vec<&[u8]> = pieces.iter().map(|p| p.as_bytes()).collect();
        prop_assert_eq!(text(&run(secret.as_bytes(), &slices)), pieces.concat());
    }
}
