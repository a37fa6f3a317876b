//! E-mail addresses, as people write them (RFC 5321 without quotes), letters of any script included.

use super::super::{after, before};
use std::ops::Range;

const MOST_LOCAL: usize = 64;
const MOST_DOMAIN: usize = 253;

pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    let mut from = 0;
    for at in memchr::memchr_iter(b'@', text.as_bytes()) {
        let local = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-' | '\'' | '&');
        let mut start = at;
        for (i, c) in text[from..at].char_indices().rev().take(MOST_LOCAL) {
            if !local(c) {
                break;
            }
            start = from + i;
        }
        start += text[start..at].len() - text[start..at].trim_start_matches(['.', '\'', '-', '&', '%']).len();
        let domain = text[at + 1..].char_indices().take(MOST_DOMAIN);
        let length = domain.take_while(|(_, c)| c.is_alphanumeric() || matches!(c, '.' | '-')).last();
        let Some((last, c)) = length else { continue };
        let domain = text[at + 1..at + 1 + last + c.len_utf8()].trim_end_matches(['.', '-']);
        let end = at + 1 + domain.len();
        let top = domain.rsplit('.').next().unwrap_or_default();
        let labels = domain.contains('.') && domain.split('.').all(|label| !label.is_empty() && label.len() <= 63);
        let is_name = labels && top.chars().count() >= 2 && top.chars().all(|c| c.is_alphabetic() || c == '-');
        // A user in an address such as `https://user@host` stands before it; what follows another @ is none.
        if start < at && is_name && before(text, start) != Some('@') && after(text, end) != Some('@') {
            found.push(start..end);
            from = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, find};

    #[test]
    fn addresses() {
        check(
            find,
            "Write to anna.lee+x@mail.example.co.uk, or <bo@example.de>.",
            &["anna.lee+x@mail.example.co.uk", "bo@example.de"],
        );
        check(find, "jürgen@müller.de; 'x@y.io'", &["jürgen@müller.de", "x@y.io"]);
        check(find, "@handle a@b a@b.c user@localhost x@1.2.3.4 @@ a@.com", &[]);
        check(find, &format!("{}@example.com", "x".repeat(200)), &[&format!("{}@example.com", "x".repeat(64))]);
    }
}
