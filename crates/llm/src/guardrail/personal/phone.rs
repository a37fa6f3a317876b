//! Telephone numbers: with a plus sign, in the ways of North America, with a leading zero, or in any other way after a word
//! that tells of one.
//!
//! Numbers have no check digit, so other numbers that are written alike are found as well, and a number without plus
//! sign, parentheses or such a word may be missed.

use super::numbers::{may_begin, may_end};
use std::ops::Range;

/// So many characters a number may have.
const MOST: usize = 32;
/// How far before a number a word counts.
const NEAR: usize = 48;
/// Words that tell of a number.
const WORDS: &[&str] =
    &["phone", "call", "tel", "mobile", "cell", "fax", "whatsapp", "sms", "text me", "dial", "reach", "contact"];

pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(n) = bytes[at..].iter().position(|b| b.is_ascii_digit() || matches!(b, b'+' | b'(')) {
        let start = at + n;
        let end = start + length(&bytes[start..]);
        at = end.max(start + 1);
        let run = &text[start..end];
        if run.len() > MOST || run.bytes().filter(u8::is_ascii_digit).count() < 7 {
            continue;
        }
        let whole = extension(text, end);
        let is_free = may_begin(text, start) && may_end(text, whole);
        if is_free && is_number(run, || is_told(text, start)) {
            found.push(start..whole);
        }
    }
}

/// How long what may be a number is: digits, and single separators between them.
fn length(bytes: &[u8]) -> usize {
    let (mut end, mut at) = (0, 0);
    let mut gap = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'0'..=b'9' => {
                end = at + 1;
                gap = 0;
            }
            b' ' | b'-' | b'.' | b'(' | b')' | b'/' | b'+' => {
                gap += 1;
                if gap > 2 || (*byte == b'+' && at > 1) {
                    break;
                }
            }
            _ => break,
        }
        at += 1;
    }
    end
}

fn is_number(run: &str, is_told: impl Fn() -> bool) -> bool {
    let groups: Vec<usize> = run.split(|c: char| !c.is_ascii_digit()).map(str::len).filter(|n| *n > 0).collect();
    let digits: usize = groups.iter().sum();
    if digits > 15 || is_date(run, &groups) || is_address(run, &groups) || run.starts_with(')') {
        return false;
    }
    if groups == [3, 2, 4] && !run.contains(' ') {
        // The form of a US social security number.
        return false;
    }
    let balanced = run.matches('(').count() == run.matches(')').count();
    let parted = groups.len() > 1;
    let north_american = match groups.as_slice() {
        [3, 3, 4] | [1, 3, 3, 4] => true,
        [3, first, 3, 4] => *first == 3 && run.starts_with("001"),
        _ => false,
    };
    let leading_zero = run.trim_start_matches('(').starts_with('0') && (9..=12).contains(&digits);
    match () {
        () if !balanced => false,
        () if run.starts_with('+') || run.starts_with("(+") => digits >= 8,
        () if run.starts_with("00") => digits >= 10 && (parted || is_told()),
        () if north_american => true,
        () if run.starts_with('(') => parted && digits >= 8,
        () if leading_zero => parted && groups.iter().all(|n| *n >= 2) || is_told(),
        () => digits <= 12 && is_told(),
    }
}

fn is_date(run: &str, groups: &[usize]) -> bool {
    let parts: Vec<&str> = run.split(['-', '/', '.']).collect();
    match groups {
        [4, 1 | 2, 1 | 2, ..] | [1 | 2, 1 | 2, 4, ..] => parts.len() >= 3,
        // Two years.
        [4, 4] => run.contains('-') && parts.iter().all(|year| year.starts_with("19") || year.starts_with("20")),
        _ => false,
    }
}

fn is_address(run: &str, groups: &[usize]) -> bool {
    groups.len() == 4 && run.bytes().all(|b| b.is_ascii_digit() || b == b'.') && groups.iter().all(|n| *n <= 3)
}

/// Whether a word before it tells of a number.
fn is_told(text: &str, at: usize) -> bool {
    let mut from = at.saturating_sub(NEAR);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let near = text[from..at].to_lowercase();
    WORDS.iter().any(|word| near.contains(word))
}

/// With the extension that follows, as in `x4587`.
fn extension(text: &str, end: usize) -> usize {
    let rest = &text[end..];
    let digits = rest.strip_prefix('x').or_else(|| rest.strip_prefix(" x")).unwrap_or_default();
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    if (1..=6).contains(&count) { end + (rest.len() - digits.len()) + count } else { end }
}

#[cfg(test)]
mod tests {
    use super::{super::check, find};

    #[test]
    fn numbers() {
        check(
            find,
            "+46 (0)8 928 571 38, (415) 555-2671 or 780-999-2181",
            &["+46 (0)8 928 571 38", "(415) 555-2671", "780-999-2181"],
        );
        check(
            find,
            "345-899-3560x4587; 0490 75 40 81; 07700 063 966",
            &["345-899-3560x4587", "0490 75 40 81", "07700 063 966"],
        );
        check(find, "My phone is 467 3395", &["467 3395"]);
        for none in [
            "2000-04-16 11",
            "on 16.04.2000",
            "467 3395 apples",
            "10.20.30.40",
            "054-28-6917",
            "3.14159265358",
            "1990-2000",
            "order 12345678",
        ] {
            check(find, none, &[]);
        }
    }
}
