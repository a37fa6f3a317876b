//! The characters and small words of HTTP/1.1's grammar.

/// A Content-Length: digits and nothing else, at most 18 of them.
pub fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')))
}

/// The members of a comma-separated field value, without surrounding white space.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|t| !t.is_empty())
}

/// Host as in RFC 3986 with an optional port, without user information.
pub fn is_host(host: &[u8]) -> bool {
    if host.len() > 255 {
        return false;
    }
    if let Some(v6) = host.strip_prefix(b"[") {
        let Some(close) = memchr::memchr(b']', v6) else { return false };
        let address = &v6[..close];
        return address.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')) && is_port(&v6[close + 1..]);
    }
    let name_end = memchr::memchr(b':', host).unwrap_or(host.len());
    host[..name_end].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        && is_port(&host[name_end..])
}

fn is_port(text: &[u8]) -> bool {
    match text.split_first() {
        None => true,
        Some((b':', digits)) => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    }
}

/// `tchar` (RFC 9110, 5.6.2).
pub const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
/// `pchar` and `/` (RFC 3986, 3.3), and `?` which begins the query.
pub const PATH: [bool; 256] =
    table(b"-._~%!$&'()*+,;=:@/?0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
/// `field-vchar`, space, tab and `obs-text` (RFC 9110, 5.5).
pub const VALUE: [bool; 256] = {
    let mut t = [false; 256];
    let mut i = 0x20;
    while i < 256 {
        t[i] = i != 0x7f;
        i += 1;
    }
    t[0x09] = true;
    t
};

const fn table(chars: &[u8]) -> [bool; 256] {
    let mut t = [false; 256];
    let mut i = 0;
    while i < chars.len() {
        t[chars[i] as usize] = true;
        i += 1;
    }
    t
}
