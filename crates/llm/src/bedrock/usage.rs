//! Reads the tokens of a Converse answer while its bytes pass through unchanged.
//!
//! [`StreamUsage`] stands beside a stream that is server-sent events already ([`super::events`]), [`AnswerUsage`]
//! beside a whole JSON answer. Both are tolerant: an answer that cannot be understood has no usage, it never becomes an
//! error. `inputTokens` is what was read afresh; what was read from the cache and into it is added.

use crate::{
    openai::usage::{self, Tokens, has_usage_object},
    sse::{DEFAULT_MAX_EVENT, SseEvent, SsePiece, SseReader},
};
use credentialflow_model::usage::TokenUsage;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Finds usage in a stream. Takes nothing out of it.
#[derive(Debug)]
pub struct StreamUsage {
    reader: SseReader,
    usage: Option<TokenUsage>,
}

impl Default for StreamUsage {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamUsage {
    /// For one stream.
    pub const fn new() -> Self {
        Self { reader: SseReader::new(DEFAULT_MAX_EVENT), usage: None }
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.reader.held()
    }

    /// Takes the next bytes of a payload that somebody else forwards.
    pub fn inspect(&mut self, payload: &[u8]) {
        if !has_usage_object(payload) && self.reader.skip(payload) {
            return;
        }
        let Self { reader, usage } = self;
        reader.feed(payload, |piece| read_piece(&piece, usage));
    }

    /// Ends the stream.
    pub fn finish(&mut self) {
        let Self { reader, usage } = self;
        reader.finish(|piece| read_piece(&piece, usage));
    }

    /// The usage the provider reported: near the end, and all of it at once.
    pub const fn usage(&self) -> Option<TokenUsage> {
        self.usage
    }
}

fn read_piece(piece: &SsePiece<'_>, usage: &mut Option<TokenUsage>) {
    if let SsePiece::Event(event) = piece
        && let Some(told) = of_event(event)
    {
        *usage = Some(told);
    }
}

fn of_event(event: &SseEvent<'_>) -> Option<TokenUsage> {
    #[derive(Deserialize)]
    struct Metadata<'a> {
        #[serde(borrow)]
        usage: &'a RawValue,
    }
    // What a model wrote is no count, whatever it looks like.
    if event.event_type() != Some(b"metadata") {
        return None;
    }
    let data = event.data()?;
    of(serde_json::from_slice::<Metadata<'_>>(&data).ok()?.usage)
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
        self.0.finish_with(of)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire<'a> {
    input_tokens: Tokens,
    output_tokens: Tokens,
    cache_read_input_tokens: Tokens,
    cache_write_input_tokens: Tokens,
    #[serde(borrow)]
    cache_details: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    ttl: String,
    input_tokens: Tokens,
}

/// The tokens of a usage object, made consistent: no part is larger than what it is part of. `None` when it is none.
pub(crate) fn of(raw: &RawValue) -> Option<TokenUsage> {
    let wire: Wire<'_> = serde_json::from_str(raw.get()).ok()?;
    if wire.input_tokens.0.is_none() && wire.output_tokens.0.is_none() {
        return None;
    }
    let count = |tokens: Tokens| tokens.0.unwrap_or(0);
    let (read, write) = (count(wire.cache_read_input_tokens), count(wire.cache_write_input_tokens));
    // At most one for each time that something is kept.
    let details: Vec<Written> =
        wire.cache_details.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let hour = details.into_iter().filter(|one| one.ttl == "1h").map(|one| count(one.input_tokens));
    Some(TokenUsage {
        input: count(wire.input_tokens).saturating_add(read).saturating_add(write),
        cached_input: read,
        cache_write: write,
        cache_write_1h: hour.fold(0, u64::saturating_add).min(write),
        output: count(wire.output_tokens),
        ..TokenUsage::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: &str = r#"{"inputTokens":7,"outputTokens":5,"totalTokens":130,"cacheReadInputTokens":100,"cacheWriteInputTokens":18,"cacheDetails":[{"ttl":"1h","inputTokens":10},{"ttl":"5m","inputTokens":8}],"serverToolUsage":{}}"#;
    const TOLD: TokenUsage =
        TokenUsage { input: 125, cached_input: 100, cache_write: 18, cache_write_1h: 10, output: 5, reasoning: 0 };

    #[test]
    fn what_is_reported_apart_is_added_up() {
        let mut answer = AnswerUsage::new();
        answer.feed(format!(r#"{{"metrics":{{}},"output":{{"message":{{}}}},"usage":{USAGE}}}"#).as_bytes());
        assert_eq!(answer.finish(), Some(TOLD));
        let said = r#"{"output":{"message":{"content":[{"text":"\"usage\":{\"inputTokens\":1}"}]}}}"#;
        let mut answer = AnswerUsage::new();
        answer.feed(said.as_bytes());
        assert_eq!(answer.finish(), None);
    }

    #[test]
    fn a_stream_tells_it_near_its_end() {
        let before = "event: messageStart\ndata: {\"role\":\"assistant\"}\n\nevent: contentBlockDelta\ndata: {\"usage\":{\"inputTokens\":1}}\n\n";
        let end = format!("event: metadata\ndata: {{\"metrics\":{{}},\"usage\":{USAGE}}}\n\n");
        for size in [1, 7, 4096] {
            let mut usage = StreamUsage::new();
            before.as_bytes().chunks(size).for_each(|piece| usage.inspect(piece));
            assert_eq!(usage.usage(), None);
            end.as_bytes().chunks(size).for_each(|piece| usage.inspect(piece));
            usage.finish();
            assert_eq!(usage.usage(), Some(TOLD), "{size}");
        }
    }

    #[test]
    fn what_is_no_count_is_none() {
        for raw in ["{}", "[]", "7", r#"{"inputTokens":"many"}"#] {
            assert_eq!(of(serde_json::from_str(raw).unwrap()), None, "{raw}");
        }
        let odd = r#"{"inputTokens":1,"outputTokens":2,"cacheWriteInputTokens":3,"cacheDetails":{"ttl":1}}"#;
        let told = of(serde_json::from_str(odd).unwrap()).unwrap();
        assert_eq!((told.input, told.cache_write, told.cache_write_1h, told.output), (4, 3, 0, 2));
    }
}
