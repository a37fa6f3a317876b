//! Groups of digits as people write numbers, with a space, hyphen or dot between them.

use std::ops::Range;

/// The groups of digits in a text.
pub(super) fn groups(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + bytes.get(at..)?.iter().position(u8::is_ascii_digit)?;
        let end = start + bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        at = end;
        Some(start..end)
    })
}

/// Whether a number may begin here: nothing that belongs to a word or another number stands before it.
pub(super) fn may_begin(text: &str, at: usize) -> bool {
    let mut back = text[..at].chars().rev();
    match back.next() {
        None => true,
        Some('.' | ',' | '-' | '/' | '_') => !back.next().is_some_and(char::is_alphanumeric),
        Some(c) => !c.is_alphanumeric(),
    }
}

/// Whether a number may end here.
pub(super) fn may_end(text: &str, at: usize) -> bool {
    let mut next = text[at..].chars();
    match next.next() {
        None => true,
        Some('.' | ',' | '-' | '/') => !next.next().is_some_and(|c| c.is_ascii_digit()),
        Some(c) => !(c.is_alphanumeric() || c == '_'),
    }
}
