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

/// The value of a header that stands for a text: itself, or in base64 where a header cannot carry it.
pub fn as_header_value(text: &str) -> String {
    let inner = |b: u8| b.is_ascii_graphic() || b == b' ';
    let plain = text.bytes().all(inner) && !text.starts_with(' ') && !text.ends_with(' ') && !text.starts_with("=?");
    if plain { text.to_owned() } else { format!("=?base64?{}?=", BASE64_STANDARD.encode(text)) }
}

/// Whether a URI is written so that rules about URIs mean what the server reads: its scheme in small letters, no segment
/// that leads back (RFC 3986, 5.2.4) even if a server takes query and fragment for a part of the path, no empty segment
/// but the last one, no character that has to be escaped, and no escape of one that needs none (6.2.2.2). One of a file
/// has three slashes and no host, as servers read past the host or do without the slashes.
pub fn is_plain_uri(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else { return false };
    let named = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    let leads_back = rest.split(['/', '?', '#']).any(|segment| matches!(segment, "." | ".."));
    // Behind the authority, or all of it where there is none.
    let path = rest.strip_prefix("//").map_or(rest, |rest| &rest[rest.find(['/', '?', '#']).unwrap_or(rest.len())..]);
    let path = path.split(['?', '#']).next().unwrap_or(path);
    scheme.bytes().all(named)
        && scheme.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && (scheme != "file" || rest.starts_with("///"))
        && !leads_back
        && !path.contains("//")
        && uri.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && uri.split('%').skip(1).all(|behind| escaped(behind).is_some_and(needs_escape))
}

/// The byte that an escape stands for, by what follows its `%`.
fn escaped(behind: &str) -> Option<u8> {
    let digits = behind.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

/// Whether a byte means something else unescaped. Those that servers take for the end of a name, for another segment or
/// for one more escape are none that pass.
const fn needs_escape(byte: u8) -> bool {
    !(byte.is_ascii_alphanumeric()
        || byte.is_ascii_control()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b'\\' | b'%'))
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
        assert_eq!(as_header_value("get_issue"), "get_issue");
        for text in ["get issue", " padded ", "Hello, 世界", "=?base64?literal?=", "a\nb"] {
            assert_eq!(header_value(as_header_value(text).as_bytes()).as_deref(), Some(text));
        }
    }

    #[test]
    fn plain_uris_mean_one_thing() {
        for plain in [
            "file:///a/b.txt",
            "repo://o/r?x=../y",
            "note:1",
            "urn:a:b",
            "https://a.example/...",
            "x:",
            "file:///a/b/",
            "file:///my%20file",
            "repo://o/%C3%BC?u=https://b//c",
            "repo://o/{path}{?q}",
            "x://%40a",
        ] {
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
            "file:///srv/%73ecret",
            "file:///srv/%7Esecret",
            "file:///srv/%2573ecret",
            "file:///srv/a%00.txt",
            "file:///srv/a%",
            "file:///srv/a%7",
            "file:///srv/a%+1",
            "file:///srv//secret",
            "file:////srv/secret",
            "file://localhost/srv/secret",
            "file:/srv/secret",
            "file:srv/secret",
            "file:///srv/pub?/../secret",
            "file:///srv/pub#/..",
            "file:///srv/pub?..",
            "repo://o//r",
            "x:a//b",
            "file:///my file",
            "file:///ü",
        ] {
            assert!(!is_plain_uri(other), "{other}");
        }
    }
}
