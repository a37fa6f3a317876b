//! The framing guard: reads request and response heads and refuses whatever could be read in two ways.
//!
//! Stricter than RFC 9112 allows: bare LF, folded lines, white space before the colon, characters
//! outside the grammar, Content-Length beside Transfer-Encoding, repeated or malformed lengths and
//! any transfer coding but `chunked` are refused, and the connection is closed.

mod parts;

pub use parts::{ConnectionOptions, Field, Framing, HeadLimits, Span};

use super::{
    grammar::{PATH, TOKEN, VALUE, is_host, list, parse_length},
    tag::Tag,
};
use credentialflow_model::OutcomeReason;
use memchr::memmem;

/// A request head; its spans refer to the buffer it was parsed from.
#[derive(Debug)]
pub struct RequestHead {
    /// Method.
    pub method: Span,
    /// Path and query, always beginning with `/`.
    pub target: Span,
    /// Host with an optional port; empty only for HTTP/1.0.
    pub host: Span,
    /// HTTP/1.1 (else 1.0).
    pub http11: bool,
    /// Fields in order.
    pub fields: Vec<Field>,
    /// How the body ends.
    pub framing: Framing,
    /// What the `Connection` field says.
    pub connection: ConnectionOptions,
    /// Whether the caller waits for `100 Continue`.
    pub expects_continue: bool,
    /// Bytes of the buffer the head takes.
    pub len: usize,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            method: Span::default(),
            target: Span::default(),
            host: Span::default(),
            http11: true,
            fields: Vec::with_capacity(24),
            framing: Framing::None,
            connection: ConnectionOptions::default(),
            expects_continue: false,
            len: 0,
        }
    }
}

/// A response head; its spans refer to the buffer it was parsed from.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// Status code, 100 to 599.
    pub status: u16,
    /// HTTP/1.1 (else 1.0).
    pub http11: bool,
    /// Fields in order.
    pub fields: Vec<Field>,
    /// Content-Length, if any.
    pub length: Option<u64>,
    /// Whether the transfer coding is `chunked`.
    pub chunked: bool,
    /// What the `Connection` field says.
    pub connection: ConnectionOptions,
    /// Bytes of the buffer the head takes.
    pub len: usize,
}

impl ResponseHead {
    /// How the answer's body ends, given the method that was asked (RFC 9112, 6.3).
    pub fn framing(&self, head_request: bool) -> Framing {
        if head_request || self.status < 200 || self.status == 204 || self.status == 304 {
            Framing::None
        } else if self.chunked {
            Framing::Chunked
        } else {
            self.length.map_or(Framing::UntilClose, Framing::Length)
        }
    }

    /// Whether the upstream keeps the connection open after this answer.
    pub fn keeps_alive(&self) -> bool {
        !self.connection.close && (self.http11 || self.connection.keep_alive)
    }
}

/// How far parsing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The head is complete.
    Complete,
    /// More bytes are needed.
    Partial,
}

/// Looks for the end of a head. `scanned` bytes of `buf` were looked at before without finding it.
fn head_end(buf: &[u8], scanned: usize, limits: &HeadLimits, request: bool) -> Result<Option<usize>, OutcomeReason> {
    let from = scanned.saturating_sub(3).min(buf.len());
    if let Some(at) = memmem::find(&buf[from..], b"\r\n\r\n") {
        let end = from + at + 4;
        return if end > limits.bytes { Err(too_large(buf, limits, request)) } else { Ok(Some(end)) };
    }
    // A head that uses bare line feeds would never end: refuse it now instead of waiting.
    if memchr::memchr_iter(b'\n', &buf[from..]).any(|i| from + i == 0 || buf[from + i - 1] != b'\r') {
        return Err(OutcomeReason::MalformedRequest);
    }
    if buf.len() >= limits.bytes { Err(too_large(buf, limits, request)) } else { Ok(None) }
}

fn too_large(buf: &[u8], limits: &HeadLimits, request: bool) -> OutcomeReason {
    let first_line = memchr::memchr(b'\r', buf).unwrap_or(buf.len());
    if request && first_line > limits.target { OutcomeReason::UriTooLong } else { OutcomeReason::HeadersTooLarge }
}

/// Reads a request head from the start of `buf` into `head`, whose storage is reused.
pub fn parse_request(
    buf: &[u8],
    scanned: usize,
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<Parsed, OutcomeReason> {
    const BAD: OutcomeReason = OutcomeReason::MalformedRequest;
    let Some(end) = head_end(buf, scanned, limits, true)? else { return Ok(Parsed::Partial) };
    let line_end = first_line_end(&buf[..end]).ok_or(BAD)?;
    let method_end = memchr::memchr(b' ', &buf[..line_end]).ok_or(BAD)?;
    let target_end = method_end + 1 + memchr::memchr(b' ', &buf[method_end + 1..line_end]).ok_or(BAD)?;
    if method_end == 0 || method_end > 32 || !buf[..method_end].iter().all(|b| TOKEN[usize::from(*b)]) {
        return Err(BAD);
    }
    // A tunnel has no path and no end; nothing here could guard one (RFC 9110, 9.3.6).
    if &buf[..method_end] == b"CONNECT" {
        return Err(BAD);
    }
    if target_end - method_end - 1 > limits.target {
        return Err(OutcomeReason::UriTooLong);
    }
    head.http11 = match &buf[target_end + 1..line_end] {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(BAD),
    };
    head.method = Span::new(0, method_end);
    head.len = end;
    head.fields.clear();
    head.host = Span::default();
    head.connection = ConnectionOptions::default();
    head.expects_continue = false;
    let authority = parse_target(buf, method_end + 1, target_end, head)?;

    let (mut length, mut chunked, mut hosts) = (None, false, 0);
    let mut at = line_end + 2;
    while at < end - 2 {
        let (field, next) = parse_field(buf, at).ok_or(BAD)?;
        if head.fields.len() == limits.fields {
            return Err(OutcomeReason::HeadersTooLarge);
        }
        match field.tag {
            Tag::Host => {
                hosts += 1;
                head.host = field.value;
            }
            Tag::ContentLength => {
                if length.is_some() {
                    return Err(BAD);
                }
                length = Some(parse_length(field.value.of(buf)).ok_or(BAD)?);
            }
            Tag::TransferEncoding => {
                if chunked || !head.http11 || !field.value.of(buf).eq_ignore_ascii_case(b"chunked") {
                    return Err(BAD);
                }
                chunked = true;
            }
            Tag::Connection => read_connection(field.value.of(buf), &mut head.connection),
            Tag::Expect => {
                if !field.value.of(buf).eq_ignore_ascii_case(b"100-continue") {
                    return Err(BAD);
                }
                head.expects_continue = head.http11;
            }
            _ => {}
        }
        head.fields.push(field);
        at = next;
    }
    if hosts > 1 || (hosts == 0 && head.http11) || !is_host(head.host.of(buf)) {
        return Err(BAD);
    }
    if let Some(authority) = authority {
        if !is_host(authority.of(buf)) {
            return Err(BAD);
        }
        head.host = authority;
    }
    head.framing = match (length, chunked) {
        (Some(_), true) => return Err(BAD),
        (None, true) => Framing::Chunked,
        (Some(0) | None, false) => Framing::None,
        (Some(n), false) => Framing::Length(n),
    };
    Ok(Parsed::Complete)
}

/// Origin form or absolute form (RFC 9112, 3.2); returns the authority of the latter.
fn parse_target(buf: &[u8], start: usize, end: usize, head: &mut RequestHead) -> Result<Option<Span>, OutcomeReason> {
    const BAD: OutcomeReason = OutcomeReason::MalformedRequest;
    let target = &buf[start..end];
    let (path_start, authority) = if target.first() == Some(&b'/') {
        (start, None)
    } else {
        let skip = [b"http://".as_slice(), b"https://"]
            .into_iter()
            .find(|s| target.len() > s.len() && target[..s.len()].eq_ignore_ascii_case(s))
            .ok_or(BAD)?
            .len();
        let slash = memchr::memchr(b'/', &target[skip..]).ok_or(BAD)?;
        (start + skip + slash, Some(Span::new(start + skip, start + skip + slash)))
    };
    let mut in_query = false;
    for b in &buf[path_start..end] {
        in_query |= *b == b'?';
        // The query is taken as widely as browsers write it; the path strictly.
        let fine = if in_query { (0x21..0x7f).contains(b) && *b != b'#' } else { PATH[usize::from(*b)] };
        if !fine {
            return Err(BAD);
        }
    }
    head.target = Span::new(path_start, end);
    Ok(authority)
}

/// Reads a response head from the start of `buf` into `head`. Any error means the answer is unusable.
pub fn parse_response(
    buf: &[u8],
    scanned: usize,
    limits: &HeadLimits,
    head: &mut ResponseHead,
) -> Result<Parsed, OutcomeReason> {
    const BAD: OutcomeReason = OutcomeReason::UpstreamMalformed;
    let Some(end) = head_end(buf, scanned, limits, false).map_err(|_| BAD)? else { return Ok(Parsed::Partial) };
    let line_end = first_line_end(&buf[..end]).ok_or(BAD)?;
    let line = &buf[..line_end];
    head.http11 = match line.get(..9) {
        Some(b"HTTP/1.1 ") => true,
        Some(b"HTTP/1.0 ") => false,
        _ => return Err(BAD),
    };
    let digits = line.get(9..12).filter(|d| d.iter().all(u8::is_ascii_digit)).ok_or(BAD)?;
    if !matches!(line.get(12), None | Some(b' ')) || !line[12..].iter().all(|b| VALUE[usize::from(*b)]) {
        return Err(BAD);
    }
    head.status = digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
    if !(100..600).contains(&head.status) {
        return Err(BAD);
    }
    head.len = end;
    head.fields.clear();
    head.length = None;
    head.chunked = false;
    head.connection = ConnectionOptions::default();
    let mut at = line_end + 2;
    while at < end - 2 {
        let (field, next) = parse_field(buf, at).ok_or(BAD)?;
        if head.fields.len() == limits.fields {
            return Err(BAD);
        }
        match field.tag {
            Tag::ContentLength => {
                if head.length.is_some() {
                    return Err(BAD);
                }
                head.length = Some(parse_length(field.value.of(buf)).ok_or(BAD)?);
            }
            Tag::TransferEncoding => {
                if head.chunked || !field.value.of(buf).eq_ignore_ascii_case(b"chunked") {
                    return Err(BAD);
                }
                head.chunked = true;
            }
            Tag::Connection => read_connection(field.value.of(buf), &mut head.connection),
            _ => {}
        }
        head.fields.push(field);
        at = next;
    }
    if head.chunked && (head.length.is_some() || !head.http11) {
        return Err(BAD);
    }
    Ok(Parsed::Complete)
}

/// Where the first line's CRLF begins; a bare CR ends no line (RFC 9112, 2.2).
fn first_line_end(head: &[u8]) -> Option<usize> {
    memchr::memchr(b'\r', head).filter(|at| head.get(at + 1) == Some(&b'\n'))
}

/// One field line at `at`; the buffer is known to contain the head's end.
fn parse_field(buf: &[u8], at: usize) -> Option<(Field, usize)> {
    let rest = &buf[at..];
    let colon = rest.iter().position(|b| !TOKEN[usize::from(*b)])?;
    if colon == 0 || rest[colon] != b':' {
        return None;
    }
    let value = &rest[colon + 1..];
    let value_end = value.iter().position(|b| !VALUE[usize::from(*b)])?;
    if value[value_end] != b'\r' || value.get(value_end + 1) != Some(&b'\n') {
        return None;
    }
    let raw = &value[..value_end];
    let lead = raw.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let trail = raw[lead..].iter().rev().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let value_at = at + colon + 1;
    let field = Field {
        tag: Tag::of(&rest[..colon]),
        name: Span::new(at, at + colon),
        value: Span::new(value_at + lead, value_at + value_end - trail),
    };
    Some((field, value_at + value_end + 2))
}

fn read_connection(value: &[u8], options: &mut ConnectionOptions) {
    for token in list(value) {
        if token.eq_ignore_ascii_case(b"close") {
            options.close = true;
        } else if token.eq_ignore_ascii_case(b"keep-alive") {
            options.keep_alive = true;
        } else if token.eq_ignore_ascii_case(b"upgrade") {
            options.upgrade = true;
        } else {
            options.names = true;
        }
    }
}

#[cfg(test)]
mod tests;
