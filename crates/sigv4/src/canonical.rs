//! Paths and queries in the one form that both sides sign.

use std::fmt::Write;

/// The path: encoded once more than it is sent, and without what leads nowhere; S3's is only encoded, as its names may
/// hold anything.
pub(crate) fn path(sent: &str, s3: bool) -> String {
    if s3 {
        return encoded(&decoded(sent), b"/");
    }
    let mut folders: Vec<&str> = Vec::new();
    for folder in sent.split('/') {
        match folder {
            "" | "." => {}
            ".." => drop(folders.pop()),
            folder => folders.push(folder),
        }
    }
    let mut plain = format!("/{}", folders.join("/"));
    if !folders.is_empty() && sent.ends_with('/') {
        plain.push('/');
    }
    encoded(plain.as_bytes(), b"/")
}

/// The query: its parameters by name and value, each encoded anew.
pub(crate) fn query(sent: &str) -> String {
    let mut parameters: Vec<(String, String)> = sent
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (encoded(&decoded(name), b""), encoded(&decoded(value), b""))
        })
        .collect();
    parameters.sort_unstable();
    let joined: Vec<String> = parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    joined.join("&")
}

/// Everything percent-encoded but what is unreserved (RFC 3986, 2.3), and these.
fn encoded(bytes: &[u8], kept: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() + 16), |mut out, b| {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') || kept.contains(b) {
            out.push(char::from(*b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

/// Bytes behind escapes; what looks like none stays.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escape = || {
            let digits = bytes.get(at + 1..at + 3).filter(|two| two.iter().all(u8::is_ascii_hexdigit))?;
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        match (*byte == b'%').then(escape).flatten() {
            Some(escaped) => {
                out.push(escaped);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}
