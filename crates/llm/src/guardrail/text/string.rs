//! Texts as JSON writes them, between two quotes (RFC 8259, section 7).

use std::borrow::Cow;

/// Where the text that begins at a quote ends, past its closing quote.
pub(super) fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// A text without its escapes; half a surrogate pair becomes the character that stands for what cannot be read.
pub(super) fn decoded(raw: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        let mut next = at + 2;
        match escape {
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'u' => {
                let unit = |at: usize| rest.get(at..at + 4).and_then(|hex| u16::from_str_radix(hex, 16).ok());
                let first = unit(next);
                next += 4;
                let pair = first.filter(|u| (0xd800..0xdc00).contains(u)).and_then(|high| {
                    let low = rest.get(next..next + 2).filter(|r| *r == "\\u").and_then(|_| unit(next + 2))?;
                    char::decode_utf16([high, low]).next()?.ok()
                });
                match (pair, first) {
                    (Some(c), _) => {
                        next += 6;
                        out.push(c);
                    }
                    (None, Some(unit)) => out.push(char::from_u32(u32::from(unit)).unwrap_or('\u{fffd}')),
                    (None, None) => out.push('\u{fffd}'),
                }
            }
            other => out.push(char::from(other)),
        }
        rest = rest.get(next..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}
