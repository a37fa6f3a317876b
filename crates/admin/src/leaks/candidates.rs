//! The pieces of a text that may be a secret of ours. Compares nothing.
//!
//! A secret stands in files as `NAME=value`, between quotes, in URLs and in headers, so a text is cut in several
//! ways: at white space and quotes, after the first `=` or `:` of such a piece, at every character that seldom stands
//! in a secret, and at every character that cannot stand in one of our keys.

use std::collections::HashSet;

/// Shorter pieces are looked at by nobody: a short value stands in texts by chance.
pub(crate) const SHORTEST: usize = 8;

/// The pieces, each once, at most `most`.
pub(super) fn of(text: &[u8], most: usize) -> Vec<&[u8]> {
    let mut found = Pieces { seen: HashSet::new(), list: Vec::new(), most };
    found.add(text.trim_ascii());
    for run in text.split(|b| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'`')) {
        found.add(run);
        if let Some(at) = run.iter().position(|b| matches!(b, b'=' | b':')) {
            found.add(&run[at + 1..]);
        }
        for piece in run.split(|b| b"=:,;<>()[]{}|&?@#\\/%".contains(b)) {
            found.add(piece);
            found.add(trimmed(piece));
        }
        for piece in run.split(|b| !b.is_ascii_alphanumeric() && *b != b'_') {
            found.add(piece);
        }
        if found.list.len() >= most {
            break;
        }
    }
    found.list
}

/// Without the punctuation of a sentence around it.
fn trimmed(mut piece: &[u8]) -> &[u8] {
    while let [rest @ .., b'.' | b'!' | b'*' | b'_' | b'~'] = piece {
        piece = rest;
    }
    while let [b'*' | b'_' | b'~', rest @ ..] = piece {
        piece = rest;
    }
    piece
}

struct Pieces<'a> {
    seen: HashSet<&'a [u8]>,
    list: Vec<&'a [u8]>,
    most: usize,
}

impl<'a> Pieces<'a> {
    fn add(&mut self, piece: &'a [u8]) {
        if piece.len() >= SHORTEST && self.list.len() < self.most && self.seen.insert(piece) {
            self.list.push(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_however_it_stands_in_a_text() {
        let key = "cfk_live_0123456789ab_0123456789ABCDEFGHIJKLMNOPQRSTUVaaaaaa";
        for text in [
            format!("{key}\n"),
            format!("export KEY={key}"),
            format!("{{\"key\":\"{key}\"}}"),
            format!("https://api.example/x?key={key}&y=1"),
            format!("Authorization: Bearer {key}, and more"),
            format!("It was {key}."),
            format!("a\\\"{key}\\\"b"),
            format!("x-{key}-y"),
        ] {
            assert!(of(text.as_bytes(), 100).contains(&key.as_bytes()), "{text}");
        }
        for around in (b' '..=b'~').filter(|b| !b.is_ascii_alphanumeric() && *b != b'_') {
            let around = char::from(around);
            let text = format!("x{around}{key}{around}x");
            assert!(of(text.as_bytes(), 100).contains(&key.as_bytes()), "{text}");
        }
        for (text, value) in [
            ("PASSWORD=aGVsbG8gd29ybGQ=", "aGVsbG8gd29ybGQ="),
            ("postgres://app:s3cret-value@db/x", "s3cret-value"),
            ("a value with spaces\n", "a value with spaces"),
            ("`p%q!longer`", "p%q!longer"),
        ] {
            assert!(of(text.as_bytes(), 100).contains(&value.as_bytes()), "{text}");
        }
    }

    #[test]
    fn pieces_are_few_and_none_twice() {
        let text = "abcdefgh ".repeat(1000);
        assert_eq!(of(text.as_bytes(), 10).len(), 2, "the whole and the one word");
        let many: String = (0..1000).map(|n| format!("word-{n:05} ")).collect();
        assert_eq!(of(many.as_bytes(), 10).len(), 10);
        assert!(of(b"short", 10).is_empty() && of(b"", 10).is_empty());
    }
}
