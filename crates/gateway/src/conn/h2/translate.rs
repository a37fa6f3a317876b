//! Between HTTP/2 and HTTP/1.1: a request's fields as the head the framing guard reads, an answer's
//! header lines as fields. Knows neither bodies nor connections.

use crate::conn::AnswerFraming;
use credentialflow_model::OutcomeReason;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::{Body, Incoming};

/// Writes a request as an HTTP/1.1 head (RFC 9113, 8.3).
pub(super) fn as_http1(parts: &http::request::Parts, incoming: &Incoming) -> Result<Vec<u8>, OutcomeReason> {
    let mut out = Vec::with_capacity(1024);
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let authority = parts.uri.authority().map(|a| a.as_str().as_bytes());
    let host = authority.or_else(|| parts.headers.get(http::header::HOST).map(HeaderValue::as_bytes));
    push(&mut out, b"host", host.unwrap_or(b"unknown"));
    let (mut length, mut cookie) = (None, Vec::new());
    for (name, value) in &parts.headers {
        match *name {
            http::header::HOST => {}
            http::header::CONTENT_LENGTH => length = Some(value),
            // Not allowed in HTTP/2 (RFC 9113, 8.2.2); "te: trailers" is, but ends with us.
            http::header::TRANSFER_ENCODING | http::header::CONNECTION | http::header::UPGRADE => {
                return Err(OutcomeReason::MalformedRequest);
            }
            http::header::TE => {}
            // Several in HTTP/2 are one in HTTP/1.1 (RFC 9113, 8.2.3).
            http::header::COOKIE => cookie.push(value.as_bytes()),
            _ => push(&mut out, name.as_str().as_bytes(), value.as_bytes()),
        }
    }
    if !cookie.is_empty() {
        push(&mut out, b"cookie", &cookie.join(b"; ".as_slice()));
    }
    match length {
        Some(value) => push(&mut out, b"content-length", value.as_bytes()),
        None => {
            if let Some(n) = incoming.size_hint().exact().filter(|n| *n > 0) {
                push(&mut out, b"content-length", n.to_string().as_bytes());
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

fn push(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Reads header lines, each ending in CRLF, as the fields of an answer (RFC 9113, 8.3).
pub(super) fn from_http1(status: u16, lines: &[u8], framing: AnswerFraming) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    for line in lines.split(|b| *b == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    // A 304 may say the length (RFC 9110, 8.6), but common clients take it for a broken promise.
    if let AnswerFraming::Length(n) | AnswerFraming::Described(n) = framing
        && status != 304
    {
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(n));
    }
    headers
}
