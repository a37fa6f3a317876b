//! IP addresses, version 4 and 6 (RFC 4291), other than those of the own machine.
//!
//! A version number of four parts looks like one.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
};

pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let part = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b'.' | b':');
    let mut at = 0;
    while let Some(start) = bytes[at..].iter().position(part).map(|n| at + n) {
        let end = start + bytes[start..].iter().take_while(|b| part(b)).count();
        at = end;
        let range = trimmed(text, start..end);
        let glued = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
        if glued(text[..range.start].chars().next_back()) || glued(text[range.end..].chars().next()) {
            continue;
        }
        if is_address(&text[range.clone()]) {
            found.push(range);
        } else if let Some((host, port)) = text[range.clone()].split_once(':')
            && port.bytes().all(|b| b.is_ascii_digit())
            && is_address(host)
        {
            found.push(range.start..range.start + host.len());
        }
    }
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let piece = &text[range.clone()];
    let start = range.start + (piece.len() - piece.trim_start_matches('.').len());
    let piece = piece.trim_matches('.');
    let piece = if piece.ends_with("::") { piece } else { piece.trim_end_matches(':') };
    start..start + piece.len()
}

fn is_address(text: &str) -> bool {
    if text.len() > 45 {
        return false;
    }
    if let Ok(v4) = text.parse::<Ipv4Addr>() {
        return !v4.is_loopback() && !v4.is_unspecified();
    }
    // `a::b` and `10:20` are written for other things as well.
    let parts = text.split(':').filter(|part| !part.is_empty()).count();
    parts >= 4 && text.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::{super::check, find};

    #[test]
    fn addresses() {
        check(find, "from 203.0.113.9, port 203.0.113.8:443.", &["203.0.113.9", "203.0.113.8"]);
        check(find, "[2001:db8:0:1::5] 2001:DB8:1:2:3:4:5:6", &["2001:db8:0:1::5", "2001:DB8:1:2:3:4:5:6"]);
        check(find, "127.0.0.1 ::1 1.2.3 1.2.3.4.5 256.1.1.1 v1.2.3.4 std::ab at 10:20:30 std::fe::ad", &[]);
    }
}
