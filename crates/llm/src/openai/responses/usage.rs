//! Reads the tokens of an answer of Responses while its bytes pass through unchanged.
//!
//! [`StreamUsage`] stands beside a stream of server-sent events, [`AnswerUsage`] beside a whole JSON answer.
//! Both are tolerant: an answer that cannot be understood has no usage, it never becomes an error. What tools of the
//! provider cost by use, such as a web search, is not in the tokens and so not in the cost.

use crate::{
    openai::usage::{self, Lenient, Tokens, feed_from_usage, has_usage_object},
    sse::{DEFAULT_MAX_EVENT, SseEvent, SsePiece, SseReader},
    tier::Served,
};
use credentialflow_model::usage::TokenUsage;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Of events that are too large to be read, this much of the end is kept.
const TAIL: usize = 64 << 10;
/// How many places in a tail are tried.
const TAIL_TRIES: usize = 16;
const MARK: &[u8] = b"\"usage\"";

/// Finds usage in a stream: its last event repeats the whole answer and tells the tokens. Takes nothing out of it.
#[derive(Debug)]
pub struct StreamUsage {
    reader: SseReader,
    found: Found,
}

#[derive(Debug, Default)]
struct Found {
    usage: Option<TokenUsage>,
    served: Option<Served>,
    /// The end of an event that is too large to be read.
    tail: Vec<u8>,
}

impl Default for StreamUsage {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamUsage {
    /// For one stream.
    pub const fn new() -> Self {
        Self { reader: SseReader::new(DEFAULT_MAX_EVENT), found: Found { usage: None, served: None, tail: Vec::new() } }
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.reader.held() + self.found.tail.capacity()
    }

    /// Whether a stream that ends here is not all of one.
    pub fn lacks_its_end(&self) -> bool {
        self.reader.lacks_its_end()
    }

    /// Takes the next bytes of a payload that somebody else forwards.
    pub fn inspect(&mut self, payload: &[u8]) {
        let Self { reader, found } = self;
        feed_from_usage(reader, payload, |piece| found.piece(&piece));
    }

    /// Ends the stream.
    pub fn finish(&mut self) {
        let Self { reader, found } = self;
        reader.finish(|piece| found.piece(&piece));
        found.read_tail();
    }

    /// The usage the provider reported so far, which it does at the end.
    pub const fn usage(&self) -> Option<TokenUsage> {
        self.found.usage
    }

    /// How it was served, as far as that was told with it.
    pub const fn served(&self) -> Option<Served> {
        self.found.served
    }
}

impl Found {
    fn piece(&mut self, piece: &SsePiece<'_>) {
        match piece {
            SsePiece::Event(event) => {
                self.read_tail();
                if let Some(told) = read_event(event) {
                    self.tell(told);
                }
            }
            SsePiece::Oversize(bytes) => self.keep(bytes),
        }
    }

    /// What was told before is not taken back by less.
    fn tell(&mut self, (told, served): (TokenUsage, Option<Served>)) {
        let sum = |usage: &TokenUsage| usage.input.saturating_add(usage.output);
        if self.usage.as_ref().is_none_or(|known| sum(known) <= sum(&told)) {
            (self.usage, self.served) = (Some(told), served.or(self.served));
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL)..];
        // Cut only when there is twice as much as needed, so that small pieces do not move the tail each time.
        if self.tail.len() + bytes.len() > 2 * TAIL {
            let keep = TAIL.saturating_sub(bytes.len());
            self.tail.drain(..self.tail.len().saturating_sub(keep));
        }
        self.tail.extend_from_slice(bytes);
    }

    /// Reads the usage from the end of an event whose beginning is gone. A `usage` is the answer's when what follows it
    /// is the rest of exactly one object within one object.
    fn read_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let tail = std::mem::take(&mut self.tail);
        let mut object = Vec::new();
        for at in memmem::rfind_iter(&tail, MARK).take(TAIL_TRIES) {
            object.clear();
            object.extend_from_slice(b"{\"response\":{");
            object.extend_from_slice(&tail[at..]);
            if let Some(told) = in_response(&object) {
                self.tell(told);
                return;
            }
        }
    }
}

/// The usage that one event reports of its answer, and how that was served.
fn read_event(event: &SseEvent<'_>) -> Option<(TokenUsage, Option<Served>)> {
    if !has_usage_object(event.raw) {
        return None;
    }
    in_response(&event.data()?)
}

fn in_response(json: &[u8]) -> Option<(TokenUsage, Option<Served>)> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        response: Response<'a>,
    }
    #[derive(Deserialize)]
    struct Response<'a> {
        #[serde(borrow)]
        usage: &'a RawValue,
        #[serde(borrow, default)]
        service_tier: Option<&'a RawValue>,
    }
    let Response { usage, service_tier } = serde_json::from_slice::<Event<'_>>(json).ok()?.response;
    Some((count(usage)?, service_tier.and_then(Served::by_service_tier)))
}

/// Collects a whole JSON answer, within the bounds of [`usage::AnswerUsage`], and reads its usage at the end.
#[derive(Debug, Default)]
pub struct AnswerUsage(usage::AnswerUsage);

impl AnswerUsage {
    /// For one answer.
    pub const fn new() -> Self {
        Self(usage::AnswerUsage::new())
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.0.held()
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, payload: &[u8]) {
        self.0.feed(payload);
    }

    /// The usage the answer reports.
    pub fn finish(self) -> Option<TokenUsage> {
        self.finish_served().map(|(usage, _)| usage)
    }

    /// The same, and how it was served.
    pub fn finish_served(self) -> Option<(TokenUsage, Option<Served>)> {
        self.0.finish_served(count)
    }
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    input_tokens: Tokens,
    #[serde(default)]
    output_tokens: Tokens,
    #[serde(default)]
    total_tokens: Tokens,
    #[serde(default)]
    input_tokens_details: Lenient<InputDetails>,
    #[serde(default)]
    output_tokens_details: Lenient<OutputDetails>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Tokens,
    cache_write_tokens: Tokens,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Tokens,
}

/// The tokens of one usage object, made consistent: cached and written never above input, reasoning never above output.
pub(crate) fn count(raw: &RawValue) -> Option<TokenUsage> {
    let wire: Wire = serde_json::from_str(raw.get()).ok()?;
    if wire.input_tokens.0.is_none() && wire.output_tokens.0.is_none() {
        return None;
    }
    let of = |n: Tokens| n.0.unwrap_or(0);
    let input = of(wire.input_tokens);
    let cached_input = of(wire.input_tokens_details.0.cached_tokens).min(input);
    let cache_write = of(wire.input_tokens_details.0.cache_write_tokens).min(input - cached_input);
    // As with Chat Completions: reasoning that is billed and left out shows as what the total has more.
    let output = of(wire.output_tokens).max(of(wire.total_tokens).saturating_sub(input));
    let reasoning = of(wire.output_tokens_details.0.reasoning_tokens).min(output);
    Some(TokenUsage { input, cached_input, cache_write, cache_write_1h: 0, output, reasoning })
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
