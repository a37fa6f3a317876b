//! Names as headers carry them, and URIs that mean one thing.

use base64::{Engine, prelude::BASE64_STANDARD};
use std::borrow::Cow;

/// The text that the value of a header such as `Mcp-Name` stands for: itself, or what is between `=?base64?` and `?=`.
/// `None` where it is none.
pub fn header_value(value: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(value).ok()?;
    match text.strip_prefix("=?base64?").and_then(|text| text.strip_suffix("?=")) {
        None => Some(Cow::Borrowed(text)),
        Some(encoded) => String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok().map(Cow::Owned),
    }
}

/// Whether a URI is written so that rules about URIs mean what the server reads: its scheme in small letters, no segment
/// that leads back (RFC 3986, 5.2.4), and none of what stands for `.`, `/` or `\` in another form.
pub fn is_plain_uri(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else { return false };
    let named = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    let path = rest.split(['?', '#']).next().unwrap_or(rest);
    let leads_back = path.split('/').any(|segment| matches!(segment, "." | ".."));
    let disguised = uri.as_bytes().windows(3).any(|escape| {
        escape[0] == b'%' && matches!(escape[1..], [b'2', b'e' | b'E' | b'f' | b'F'] | [b'5', b'c' | b'C'])
    });
    scheme.bytes().all(named)
        && scheme.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && !leads_back
        && !disguised
        && !uri.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_headers_are_decoded_as_the_specification_shows() {
        let check = |value: &str, expect: Option<&str>| {
            assert_eq!(header_value(value.as_bytes()).as_deref(), expect, "{value}");
        };
        check("us-west1", Some("us-west1"));
        check("=?base64?SGVsbG8sIOS4lueVjA==?=", Some("Hello, 世界"));
        check("=?base64?IHBhZGRlZCA=?=", Some(" padded "));
        check("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", Some("=?base64?literal?="));
        check("=?BASE64?IHBhZGRlZCA=?=", Some("=?BASE64?IHBhZGRlZCA=?="));
        check("=?base64?!?=", None);
        check("=?base64?/w==?=", None);
        assert_eq!(header_value(b"\xff"), None);
    }

    #[test]
    fn plain_uris_mean_one_thing() {
        for plain in ["file:///a/b.txt", "repo://o/r?x=../y", "note:1", "urn:a:b", "https://a.example/...", "x:"] {
            assert!(is_plain_uri(plain), "{plain}");
        }
        for other in [
            "",
            "a",
            ":a",
            "FILE:///a",
            "file:///a/../b",
            "file:///a/.",
            "file:///%2e%2E/b",
            "file:///a%2Fb",
            "file:///a%5cb",
            "file:\\\\a",
            "1a:b",
            "/etc/passwd",
        ] {
            assert!(!is_plain_uri(other), "{other}");
        }
    }
}
