//! One byte written as an escape: `\u002f`, `\x2f` and `\/` (JSON and its relatives), `%2f` (RFC 3986),
//! `&#47;`, `&#x2f;` and `&amp;` (HTML). Escapes within escapes are not read.

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// This byte, written with so many.
    Byte(u8, usize),
    /// The bytes end before the escape does.
    Partial,
    /// No escape of a single byte.
    None,
}

/// The bytes an escape begins with.
pub(super) const LEADS: [u8; 3] = *b"\\%&";

/// What the inside of an escape may consist of, besides what it stands for.
pub(super) const INSIDE: &[u8] = b"0123456789abcdefABCDEFuxX#;mplnrtgqos";

/// No character reference is longer: `&#x002f;`.
const LONGEST_REFERENCE: usize = 8;
/// No escape is longer.
pub(super) const LONGEST: usize = 8;

/// Reads the escape at the beginning of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Escape {
    match bytes.first() {
        Some(b'%') => hex(bytes, 1),
        Some(b'\\') => match bytes.get(1) {
            None => Escape::Partial,
            Some(b'x') => hex(bytes, 2),
            Some(b'u') => match bytes.get(2..4) {
                Some(b"00") => hex(bytes, 4),
                None if bytes[2..].iter().all(|b| *b == b'0') => Escape::Partial,
                _ => Escape::None,
            },
            Some(b'n') => Escape::Byte(b'\n', 2),
            Some(b'r') => Escape::Byte(b'\r', 2),
            Some(b't') => Escape::Byte(b'\t', 2),
            Some(b'b') => Escape::Byte(8, 2),
            Some(b'f') => Escape::Byte(12, 2),
            Some(b @ (b'/' | b'\\' | b'"' | b'\'')) => Escape::Byte(*b, 2),
            Some(_) => Escape::None,
        },
        Some(b'&') => reference(bytes),
        _ => Escape::None,
    }
}

/// Two hexadecimal digits at `at`.
fn hex(bytes: &[u8], at: usize) -> Escape {
    let digit = |i: usize| bytes.get(i).map(|b| (*b as char).to_digit(16));
    match (digit(at), digit(at + 1)) {
        (Some(Some(high)), Some(Some(low))) => Escape::Byte((high << 4 | low) as u8, at + 2),
        (None, _) | (Some(Some(_)), None) => Escape::Partial,
        _ => Escape::None,
    }
}

/// A character reference (HTML, 13.5).
fn reference(bytes: &[u8]) -> Escape {
    let seen = &bytes[..bytes.len().min(LONGEST_REFERENCE)];
    let Some(end) = memchr::memchr(b';', seen) else {
        let may_go_on =
            seen.len() < LONGEST_REFERENCE && seen[1..].iter().all(|b| b.is_ascii_alphanumeric() || *b == b'#');
        return if may_go_on { Escape::Partial } else { Escape::None };
    };
    let number = |digits: &[u8], radix| {
        let text = std::str::from_utf8(digits).ok().filter(|t| !t.starts_with('+'))?;
        u8::from_str_radix(text, radix).ok()
    };
    let byte = match &seen[1..end] {
        b"amp" => Some(b'&'),
        b"lt" => Some(b'<'),
        b"gt" => Some(b'>'),
        b"quot" => Some(b'"'),
        b"apos" => Some(b'\''),
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16),
        [b'#', digits @ ..] => number(digits, 10),
        _ => None,
    };
    byte.map_or(Escape::None, |b| Escape::Byte(b, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_in_every_usual_spelling() {
        for (text, byte) in [
            ("\\/", b'/'),
            ("\\u002f", b'/'),
            ("\\u002F", b'/'),
            ("\\x2f", b'/'),
            ("\\\"", b'"'),
            ("\\n", b'\n'),
            ("%2f", b'/'),
            ("%2F", b'/'),
            ("&#47;", b'/'),
            ("&#x2F;", b'/'),
            ("&#x002f;", b'/'),
            ("&amp;", b'&'),
            ("&quot;", b'"'),
        ] {
            assert_eq!(read(text.as_bytes()), Escape::Byte(byte, text.len()), "{text}");
            assert_eq!(read(format!("{text}more").as_bytes()), Escape::Byte(byte, text.len()), "{text}");
            for cut in 1..text.len() {
                assert_eq!(read(&text.as_bytes()[..cut]), Escape::Partial, "{text} cut at {cut}");
            }
            assert!(text.bytes().skip(1).all(|b| INSIDE.contains(&b) || b == byte || text.len() == 2), "{text}");
            assert!(text.len() <= LONGEST && LEADS.contains(&text.as_bytes()[0]));
        }
        for none in ["", "a", "%zz", "%2", "\\q", "\\u0141", "\\u12", "&nbsp;", "&#300;", "& and", "&#x00002f;"] {
            assert!(!matches!(read(none.as_bytes()), Escape::Byte(..)), "{none}");
        }
        assert_eq!(read(b"\\u01"), Escape::None);
        assert_eq!(read(b"& "), Escape::None);
    }
}
