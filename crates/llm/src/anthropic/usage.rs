//! Reads the tokens of an Anthropic message while its bytes pass through unchanged.
//!
//! [`StreamUsage`] stands beside a stream of server-sent events, [`AnswerUsage`] beside a whole JSON answer.
//! Both are tolerant: an answer that cannot be understood has no usage, it never becomes an error.
//!
//! What a provider reports apart is added up: input is what was read afresh, from the cache and into the cache
//! together. Where one call took several turns of the model (`iterations`, as with compaction), the turns are added
//! up, because each is billed; turns of an advisor are not, as they are another model's and have no price here.
//! What server tools cost by use, such as a web search, is not in the tokens and so not in the cost.

use crate::{
    openai::usage::{self, Lenient, Tokens, feed_from_usage, has_usage_object},
    sse::{DEFAULT_MAX_EVENT, SseEvent, SsePiece, SseReader},
    tier::Served,
};
use credentialflow_model::usage::TokenUsage;
use serde::{
    Deserialize,
    de::{Deserializer, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::fmt;

/// Finds usage in a stream. Takes nothing out of it.
#[derive(Debug)]
pub struct StreamUsage {
    reader: SseReader,
    count: Count,
    /// The end's count has come: what a message begins with says nothing of the output.
    counted: bool,
}

impl Default for StreamUsage {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamUsage {
    /// For one stream.
    pub const fn new() -> Self {
        Self { reader: SseReader::new(DEFAULT_MAX_EVENT), count: Count::NONE, counted: false }
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.reader.held()
    }

    /// Whether a stream that ends here is not all of one.
    pub fn lacks_its_end(&self) -> bool {
        self.reader.lacks_its_end()
    }

    /// Takes the next bytes of a payload that somebody else forwards.
    pub fn inspect(&mut self, payload: &[u8]) {
        let Self { reader, count, counted } = self;
        feed_from_usage(reader, payload, |piece| {
            if let SsePiece::Event(event) = piece {
                *counted |= read_event(&event, count);
            }
        });
    }

    /// Ends the stream.
    pub fn finish(&mut self) {
        let Self { reader, count, counted } = self;
        reader.finish(|piece| {
            if let SsePiece::Event(event) = piece {
                *counted |= read_event(&event, count);
            }
        });
    }

    /// The usage the provider reported so far. `None` until its count of the output has come, which is near the end.
    pub fn usage(&self) -> Option<TokenUsage> {
        self.count.usage().filter(|_| self.counted)
    }

    /// What the provider reported of the input, as long as its count of the output has not come.
    pub fn begun(&self) -> Option<TokenUsage> {
        self.count.usage().filter(|_| !self.counted)
    }

    /// How it is served, as far as that was told with it.
    pub fn served(&self) -> Option<Served> {
        self.count.served()
    }
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
        self.0.finish_with(|raw| {
            let mut count = Count::NONE;
            count.take(raw);
            Some((count.usage()?, count.served()))
        })
    }
}

/// Reads the usage of one event and says whether it is the count at the end.
fn read_event(event: &SseEvent<'_>, count: &mut Count) -> bool {
    if !has_usage_object(event.raw) {
        return false;
    }
    let Some(data) = event.data() else { return false };
    let Ok(event) = serde_json::from_slice::<Event<'_>>(&data) else { return false };
    match event.kind.map(RawValue::get) {
        Some("\"message_start\"") => {
            if let Some(raw) = event.message.and_then(|m| serde_json::from_str::<Message<'_>>(m.get()).ok()?.usage) {
                count.begin(raw);
            }
            false
        }
        Some("\"message_delta\"") => event.usage.is_some_and(|raw| count.take(raw)),
        _ => false,
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

/// What is known so far. A stream tells it in parts. Each is of everything up to then, so the largest counts: a later
/// part that leaves out or belittles what was told before takes nothing back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    fresh: Option<u64>,
    read: Option<u64>,
    written: Option<u64>,
    written_1h: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
    /// The sum of several turns.
    turns: Option<TokenUsage>,
    speed: Option<Speed>,
    place: Option<Place>,
}

impl Count {
    pub(crate) const NONE: Self = Self {
        fresh: None,
        read: None,
        written: None,
        written_1h: None,
        output: None,
        reasoning: None,
        turns: None,
        speed: None,
        place: None,
    };

    /// Takes the usage object in that a stream begins with. What it tells of the output is of none of it.
    pub(crate) fn begin(&mut self, raw: &RawValue) {
        self.take(raw);
        (self.output, self.reasoning) = (None, None);
    }

    /// Takes a usage object in; false when it is none.
    pub(crate) fn take(&mut self, raw: &RawValue) -> bool {
        let Ok(wire) = serde_json::from_str::<Wire>(raw.get()) else { return false };
        let Wire { input_tokens, cache_read_input_tokens, cache_creation_input_tokens, output_tokens, .. } = wire;
        for (known, told) in [
            (&mut self.fresh, input_tokens),
            (&mut self.read, cache_read_input_tokens),
            (&mut self.written, cache_creation_input_tokens),
            (&mut self.written_1h, wire.cache_creation.0.ephemeral_1h_input_tokens),
            (&mut self.output, output_tokens),
            (&mut self.reasoning, wire.output_tokens_details.0.thinking_tokens),
        ] {
            *known = (*known).max(told.0);
        }
        self.speed = wire.speed.0.or(self.speed);
        self.place = wire.inference_geo.0.or(self.place);
        let turns = wire.iterations.0;
        if turns.any {
            self.turns = turns.sum;
            if let Some(turns) = &mut self.turns {
                turns.reasoning = self.reasoning.unwrap_or(0).min(turns.output);
            }
        } else if output_tokens.0.is_some() {
            // What was told of turns was told of less than this.
            self.turns = None;
        }
        input_tokens.0.is_some() || output_tokens.0.is_some()
    }

    /// How it was served.
    fn served(&self) -> Option<Served> {
        let speed = self.speed.map(|speed| if speed == Speed::Fast { "fast" } else { "standard" });
        let place = self.place.map(|place| match place {
            Place::Us => "us",
            Place::Global | Place::NotAvailable => "global",
            Place::Other => "another",
        });
        Served::by_speed_and_place(speed, place)
    }

    /// The tokens, made consistent: no part is larger than what it is part of.
    pub(crate) fn usage(&self) -> Option<TokenUsage> {
        if self.turns.is_some() {
            return self.turns;
        }
        if self.fresh.is_none() && self.output.is_none() {
            return None;
        }
        let of = |n: Option<u64>| n.unwrap_or(0);
        let (read, written, output) = (of(self.read), of(self.written), of(self.output));
        Some(TokenUsage {
            input: of(self.fresh).saturating_add(read).saturating_add(written),
            cached_input: read,
            cache_write: written,
            cache_write_1h: of(self.written_1h).min(written),
            output,
            reasoning: of(self.reasoning).min(output),
        })
    }
}

fn add(a: TokenUsage, b: TokenUsage) -> TokenUsage {
    TokenUsage {
        input: a.input.saturating_add(b.input),
        cached_input: a.cached_input.saturating_add(b.cached_input),
        cache_write: a.cache_write.saturating_add(b.cache_write),
        cache_write_1h: a.cache_write_1h.saturating_add(b.cache_write_1h),
        output: a.output.saturating_add(b.output),
        reasoning: a.reasoning.saturating_add(b.reasoning),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    input_tokens: Tokens,
    cache_creation_input_tokens: Tokens,
    cache_read_input_tokens: Tokens,
    cache_creation: Lenient<CacheCreation>,
    output_tokens: Tokens,
    output_tokens_details: Lenient<OutputDetails>,
    iterations: Lenient<Turns>,
    speed: Lenient<Option<Speed>>,
    inference_geo: Lenient<Option<Place>>,
}

/// How fast it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Speed {
    Fast,
    #[serde(other)]
    Usual,
}

/// Where it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    Us,
    Global,
    NotAvailable,
    #[serde(other)]
    Other,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_1h_input_tokens: Tokens,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Tokens,
}

/// Turns, added up while they are read: there may be any number of them.
#[derive(Default)]
struct Turns {
    any: bool,
    sum: Option<TokenUsage>,
}

impl<'de> Deserialize<'de> for Turns {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Turns;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Turns, A::Error> {
                let mut turns = Turns::default();
                while let Some(turn) = seq.next_element::<Turn>()? {
                    turns.any = true;
                    if !turn.is_advisor() {
                        let usage = turn.usage();
                        turns.sum = Some(turns.sum.map_or(usage, |sum| add(sum, usage)));
                    }
                }
                Ok(turns)
            }
        }
        d.deserialize_seq(V)
    }
}

/// One turn of the model within a call.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Turn {
    r#type: Lenient<String>,
    input_tokens: Tokens,
    cache_creation_input_tokens: Tokens,
    cache_read_input_tokens: Tokens,
    cache_creation: Lenient<CacheCreation>,
    output_tokens: Tokens,
}

impl Turn {
    fn is_advisor(&self) -> bool {
        self.r#type.0 == "advisor_message"
    }

    fn usage(&self) -> TokenUsage {
        let count = Count {
            fresh: self.input_tokens.0.or(Some(0)),
            read: self.cache_read_input_tokens.0,
            written: self.cache_creation_input_tokens.0,
            written_1h: self.cache_creation.0.ephemeral_1h_input_tokens.0,
            output: self.output_tokens.0,
            ..Count::NONE
        };
        count.usage().unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
