//! A deterministic model provider and REST service, for quickstart, try-outs and tests.
//!
//! Sans-I/O: it says which bytes to send after which delay, and never waits, listens or looks at a clock.
//! The same request gives the same answer. It keeps no state and is no mock of any one provider's quirks.
//!
//! Serves [`/v1/chat/completions` and `/v1/models`](chat), [`/v1/responses`](responses), [`/v1/messages`](messages),
//! [`/v1beta/models/{model}:generateContent`](gemini), [`/v1/embeddings` and what Gemini calls so](embeddings) and [a small REST service](rest). These request headers change how any answer is given, each within bounds; a value that cannot be read is answered with 400:
//!
//! | Header | Means |
//! | --- | --- |
//! | `x-sandbox-latency: 50ms` | wait before the answer begins, at most 30 s |
//! | `x-sandbox-status: 500` | answer with this status and an error body |
//! | `x-sandbox-chunks: 64` | how many pieces a body or streamed text is cut into, 1 to 1024 |
//! | `x-sandbox-chunk-delay: 2ms` | wait between pieces, at most 5 s |

mod chat;
mod embeddings;
mod gemini;
mod messages;
mod responses;
mod rest;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use bytes::Bytes;
use credentialflow_model::{Period, Timestamp};
use serde_json::{Value, json};
use std::{borrow::Cow, time::Duration};

/// The models of `GET /v1/models`. Any other name is answered too; `sandbox-unpriced` has no built-in price.
pub const MODELS: &[&str] = &["sandbox-chat", "sandbox-large", "sandbox-unpriced"];

const MAX_LATENCY: Duration = Duration::from_secs(30);
const MAX_CHUNK_DELAY: Duration = Duration::from_secs(5);
const MAX_CHUNKS: usize = 1024;

/// Says whether a presented credential is the expected one, in constant time.
pub type Expected<'a> = &'a dyn Fn(&[u8]) -> bool;

/// One request, as the sandbox's upstream would receive it.
#[derive(Clone, Copy)]
pub struct SandboxRequest<'a> {
    /// As in `GET`.
    pub method: &'a str,
    /// Path without the query, as in `/v1/models`.
    pub path: &'a str,
    /// Query without the question mark; empty when there is none.
    pub query: &'a str,
    /// Every header; names in any case.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The whole body.
    pub body: &'a [u8],
    /// What `created` fields tell.
    pub now: Timestamp,
    /// Compares a presented credential.
    /// `None`: any credential is as good as none.
    pub expects: Option<Expected<'a>>,
}

/// What to send back: head, then each piece after its delay, then the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxAnswer {
    /// Status code.
    pub status: u16,
    /// Headers; without `content-length`, which is [`Self::body_len`] where the pieces are not streamed.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body. The head is sent with the first piece, after its delay.
    pub pieces: Vec<Piece>,
    /// Whether the length is not to be announced (`transfer-encoding: chunked` in HTTP/1.1).
    pub streamed: bool,
}

/// A part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// How long to wait before it.
    pub delay: Duration,
    /// Its bytes.
    pub bytes: Bytes,
}

impl SandboxAnswer {
    /// The length of the whole body in bytes.
    pub fn body_len(&self) -> usize {
        self.pieces.iter().map(|p| p.bytes.len()).sum()
    }

    /// The whole body, for callers that do not stream.
    pub fn body(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|p| p.bytes.iter().copied()).collect()
    }

    fn json(status: u16, value: &Value) -> Self {
        Self::whole(status, "application/json", value.to_string().into_bytes())
    }

    fn whole(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        let pieces = vec![Piece { delay: Duration::ZERO, bytes: body.into() }];
        Self { status, headers: vec![("content-type", content_type.into())], pieces, streamed: false }
    }

    /// An error in OpenAI's shape, which the REST service uses too.
    fn error(status: u16, kind: &str, code: &str, message: &str) -> Self {
        Self::json(status, &json!({"error": {"message": message, "type": kind, "param": null, "code": code}}))
    }
}

/// Answers one request.
pub fn answer(request: &SandboxRequest<'_>) -> SandboxAnswer {
    let wishes = match Wishes::read(request) {
        Ok(wishes) => wishes,
        Err(header) => {
            let message = format!("The header {header} cannot be read or is out of bounds.");
            return SandboxAnswer::error(400, "invalid_request_error", "invalid_sandbox_header", &message);
        }
    };
    let mut answer = match wishes.status {
        Some(status) if matches!(status, 204 | 304) => SandboxAnswer::whole(status, "application/json", Vec::new()),
        Some(status) if request.path.starts_with(messages::PATH) => {
            messages::error(status, "The status asked for by x-sandbox-status.")
        }
        Some(status) if gemini::asked(request.path).is_some() => {
            gemini::error(status, "The status asked for by x-sandbox-status.")
        }
        Some(status) => {
            SandboxAnswer::error(status, "sandbox_error", "sandbox_status", "The status asked for by x-sandbox-status.")
        }
        None if request.path.starts_with(messages::PATH) => messages::answer(request, &wishes),
        None if [responses::PATH, responses::COUNTED].contains(&request.path) => responses::answer(request, &wishes),
        None if request.path == embeddings::PATH => embeddings::answer(request),
        None => match gemini::asked(request.path) {
            Some(asked) => gemini::answer(request, asked, &wishes),
            None if request.path.starts_with("/v1/") => chat::answer(request, &wishes),
            None => rest::answer(request),
        },
    };
    if !answer.streamed
        && let Some(chunks) = wishes.chunks
    {
        cut(&mut answer, chunks);
    }
    for (i, piece) in answer.pieces.iter_mut().enumerate() {
        piece.delay += if i == 0 { wishes.latency } else { wishes.chunk_delay };
    }
    answer
}

/// Cuts a body into this many pieces of nearly the same size, none of them empty.
fn cut(answer: &mut SandboxAnswer, chunks: usize) {
    let body = Bytes::from(answer.body());
    let delay = answer.pieces.first().map_or(Duration::ZERO, |p| p.delay);
    let chunks = chunks.min(body.len()).max(1);
    let at = |i: usize| body.len() * i / chunks;
    answer.pieces = (0..chunks)
        .map(|i| Piece { delay: if i == 0 { delay } else { Duration::ZERO }, bytes: body.slice(at(i)..at(i + 1)) })
        .collect();
    answer.streamed = true;
}

/// How the answer shall be given.
struct Wishes {
    latency: Duration,
    status: Option<u16>,
    chunks: Option<usize>,
    chunk_delay: Duration,
}

impl Wishes {
    /// Reads the headers, or names the one that cannot be read.
    fn read(request: &SandboxRequest<'_>) -> Result<Self, &'static str> {
        let text = |name| request.header(name).map(std::str::from_utf8);
        let time = |name, max| match text(name) {
            None => Ok(Duration::ZERO),
            Some(Ok("0" | "0ms" | "0s")) => Ok(Duration::ZERO),
            Some(Ok(t)) => t.parse::<Period>().ok().map(Period::as_duration).filter(|d| *d <= max).ok_or(name),
            Some(Err(_)) => Err(name),
        };
        let number = |name, min: usize, max: usize| match text(name) {
            None => Ok(None),
            Some(Ok(t)) => t.parse().ok().filter(|n| (min..=max).contains(n)).map(Some).ok_or(name),
            Some(Err(_)) => Err(name),
        };
        Ok(Self {
            latency: time("x-sandbox-latency", MAX_LATENCY)?,
            status: number("x-sandbox-status", 200, 599)?.and_then(|n| u16::try_from(n).ok()),
            chunks: number("x-sandbox-chunks", 1, MAX_CHUNKS)?,
            chunk_delay: time("x-sandbox-chunk-delay", MAX_CHUNK_DELAY)?,
        })
    }
}

/// What the request presented, and whether that was right. No Debug: it holds a credential.
struct Presented<'a> {
    value: Option<Cow<'a, [u8]>>,
    /// `None` when nothing is expected.
    matched: Option<bool>,
}

impl Presented<'_> {
    /// Whether the request may be served.
    fn accepted(&self) -> bool {
        self.matched != Some(false)
    }

    /// A sentence that can be shown in place of the value.
    fn statement(&self) -> &'static str {
        match (&self.value, self.matched) {
            (None, _) => "absent",
            (Some(_), Some(true)) => "present, and the expected one",
            (Some(_), Some(false)) => "present, but not the expected one",
            (Some(_), None) => "present, not compared",
        }
    }
}

impl<'a> SandboxRequest<'a> {
    fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| *v)
    }

    /// The credential in any of the places an injector puts one: bearer, basic password, `x-api-key`,
    /// `api-key`, `x-goog-api-key`, or the query's `key` or `api_key`.
    fn presented(&self) -> Presented<'a> {
        let value = self.credential();
        let matched = self.expects.map(|expected| value.as_deref().is_some_and(expected));
        Presented { value, matched }
    }

    fn credential(&self) -> Option<Cow<'a, [u8]>> {
        if let Some(value) = self.header("authorization") {
            return Some(match scheme(value) {
                (b"bearer", rest) => Cow::Borrowed(rest),
                (b"basic", rest) => {
                    let user_pass = base64::engine::general_purpose::STANDARD.decode(rest).unwrap_or_default();
                    let colon = user_pass.iter().position(|b| *b == b':').map_or(user_pass.len(), |i| i + 1);
                    Cow::Owned(user_pass[colon..].to_vec())
                }
                _ => Cow::Borrowed(value),
            });
        }
        if let Some(value) = ["x-api-key", "api-key", "x-goog-api-key"].iter().find_map(|name| self.header(name)) {
            return Some(Cow::Borrowed(value));
        }
        let mut parts = self.query.split('&');
        parts.find_map(|p| p.strip_prefix("key=").or(p.strip_prefix("api_key="))).map(percent_decode)
    }
}

/// A query value without its percent encoding (RFC 3986, section 2.1); what is not valid stays as it is.
fn percent_decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if let [b'%', high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            out.push(high << 4 | low);
            rest = after;
        } else {
            out.push(*first);
            rest = after;
        }
    }
    Cow::Owned(out)
}

/// The scheme of an Authorization value, in lower case where it is a known one, and the rest.
fn scheme(value: &[u8]) -> (&'static [u8], &[u8]) {
    for known in [b"bearer".as_slice(), b"basic"] {
        if let Some((name, rest)) = value.split_at_checked(known.len())
            && name.eq_ignore_ascii_case(known)
            && let Some(rest) = rest.strip_prefix(b" ")
        {
            return (known, rest.trim_ascii());
        }
    }
    (b"", value)
}

/// Refusal of a wrong or missing credential, in OpenAI's shape; says nothing about the value.
fn unauthorized() -> SandboxAnswer {
    let message = "The sandbox did not receive the credential it expects.";
    SandboxAnswer::error(401, "authentication_error", "invalid_api_key", message)
}

fn not_found() -> SandboxAnswer {
    SandboxAnswer::error(404, "not_found_error", "not_found", "The sandbox has nothing here.")
}

fn method_not_allowed() -> SandboxAnswer {
    SandboxAnswer::error(
        405,
        "invalid_request_error",
        "method_not_allowed",
        "The sandbox does not take this method here.",
    )
}
