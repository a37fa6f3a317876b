//! Reads the tokens of a Gemini answer while its bytes pass through unchanged.
//!
//! [`StreamUsage`] stands beside a stream of server-sent events, [`AnswerUsage`] beside a whole JSON answer or the
//! array as which a stream comes when no events are asked for. Both are tolerant: an answer that cannot be understood
//! has no usage, it never becomes an error.
//!
//! Input is the prompt, what was read of it from the cache within, and what the provider's own tools read. Output is
//! what the model wrote and thought. What such tools cost by use is not in the tokens.

use crate::{
    openai::usage::{self, Lenient, Tokens},
    sse::{DEFAULT_MAX_EVENT, SseEvent, SsePiece, SseReader},
    task::{units::Units, usage::Used},
};
use credentialflow_model::usage::TokenUsage;
use memchr::memmem;
use serde::{
    Deserialize,
    de::{Deserializer, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::fmt;

/// What every count begins with; an escaped quote inside a text cannot look like it.
const MARK: &[u8] = b"\"usageMetadata\"";
/// How many places in the end of a large answer are tried.
const TAIL_TRIES: usize = 16;

/// Finds usage in a stream. Takes nothing out of it.
#[derive(Debug)]
pub struct StreamUsage {
    reader: SseReader,
    count: Count,
    /// The model has stopped, so that what is counted is all.
    stopped: bool,
}

impl Default for StreamUsage {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamUsage {
    /// For one stream.
    pub const fn new() -> Self {
        Self { reader: SseReader::new(DEFAULT_MAX_EVENT), count: Count::NONE, stopped: false }
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
        let Self { reader, count, stopped } = self;
        reader.feed(payload, |piece| read_piece(&piece, count, stopped));
    }

    /// Ends the stream.
    pub fn finish(&mut self) {
        let Self { reader, count, stopped } = self;
        reader.finish(|piece| read_piece(&piece, count, stopped));
    }

    /// The usage the provider reported. `None` until the model has stopped: every event counts what there is so far.
    pub fn usage(&self) -> Option<TokenUsage> {
        self.count.usage().filter(|_| self.stopped)
    }

    /// The same, with what of it is sound or an image.
    pub fn used(&self) -> Option<Used> {
        self.count.used().filter(|_| self.stopped)
    }

    /// What the provider reported of the input, as long as the model has not stopped.
    pub fn begun(&self) -> Option<TokenUsage> {
        let usage = self.count.usage().filter(|_| !self.stopped)?;
        Some(TokenUsage { output: 0, reasoning: 0, ..usage })
    }
}

fn read_piece(piece: &SsePiece<'_>, count: &mut Count, stopped: &mut bool) {
    if let SsePiece::Event(event) = piece {
        read_event(event, count, stopped);
    }
}

fn read_event(event: &SseEvent<'_>, count: &mut Count, stopped: &mut bool) {
    let Some(data) = event.data() else { return };
    let Ok(part) = serde_json::from_slice::<Part<'_>>(&data) else { return };
    if let Some(raw) = part.usage {
        count.take(raw);
    }
    *stopped |= part.stops();
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
        self.finish_used()?.tokens
    }

    /// The same, with what of it is sound or an image.
    pub fn finish_used(self) -> Option<Used> {
        let (kept, whole) = self.0.into_kept();
        let mut count = Count::NONE;
        if !whole {
            for at in memmem::rfind_iter(&kept, MARK).take(TAIL_TRIES) {
                let value = kept[at + MARK.len()..].trim_ascii_start().strip_prefix(b":").unwrap_or_default();
                let first = serde_json::Deserializer::from_slice(value).into_iter::<&RawValue>().next();
                if let Some(Ok(raw)) = first
                    && count.take(raw)
                {
                    break;
                }
            }
        } else if kept.trim_ascii_start().starts_with(b"[") {
            count = serde_json::from_slice::<Elements>(&kept).map_or(Count::NONE, |elements| elements.0);
        } else if let Ok(Part { usage: Some(raw), .. }) = serde_json::from_slice(&kept) {
            count.take(raw);
        }
        count.used()
    }
}

/// The parts of an array, of which nothing is kept but what they count.
struct Elements(Count);

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Elements;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements, A::Error> {
                let mut count = Count::NONE;
                while let Some(part) = seq.next_element::<Part<'de>>()? {
                    if let Some(raw) = part.usage {
                        count.take(raw);
                    }
                }
                Ok(Elements(count))
            }
        }
        d.deserialize_seq(V)
    }
}

/// An answer or a part of one.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default, rename = "usageMetadata")]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    candidates: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "promptFeedback")]
    feedback: Option<Feedback<'a>>,
}

#[derive(Deserialize)]
struct Feedback<'a> {
    #[serde(borrow, default, rename = "blockReason")]
    reason: Option<&'a RawValue>,
}

impl Part<'_> {
    /// Whether the model says why it stopped, or will not begin.
    fn stops(&self) -> bool {
        self.feedback.as_ref().is_some_and(|feedback| feedback.reason.is_some())
            || self.candidates.is_some_and(|raw| serde_json::from_str::<Stops>(raw.get()).is_ok_and(|stops| stops.0))
    }
}

/// Whether any candidate has stopped.
struct Stops(bool);

impl<'de> Deserialize<'de> for Stops {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Candidate<'a> {
            #[serde(borrow, default, rename = "finishReason")]
            reason: Option<&'a RawValue>,
        }
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Stops;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Stops, A::Error> {
                let mut stops = false;
                while let Some(candidate) = seq.next_element::<Candidate<'de>>()? {
                    stops |= candidate.reason.is_some();
                }
                Ok(Stops(stops))
            }
        }
        d.deserialize_seq(V)
    }
}

/// What is known so far. Every event of a stream counts what there is up to then, so the largest counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    prompt: Option<u64>,
    tools: Option<u64>,
    cached: Option<u64>,
    written: Option<u64>,
    thoughts: Option<u64>,
    /// Of the prompt, sound; and of that, what came from a cache.
    heard: Option<u64>,
    cached_sound: Option<u64>,
    /// Of what was written, sound and images.
    spoken: Option<u64>,
    drawn: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    prompt_token_count: Tokens,
    tool_use_prompt_token_count: Tokens,
    cached_content_token_count: Tokens,
    candidates_token_count: Tokens,
    thoughts_token_count: Tokens,
    prompt_tokens_details: Lenient<Details>,
    cache_tokens_details: Lenient<Details>,
    candidates_tokens_details: Lenient<Details>,
}

/// How many tokens of a count are sound, and how many are images.
#[derive(Clone, Copy, Default)]
struct Details {
    sound: Option<u64>,
    images: Option<u64>,
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Detail<'a> {
            #[serde(borrow, default)]
            modality: Option<&'a RawValue>,
            #[serde(default)]
            token_count: Tokens,
        }
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Details;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Details, A::Error> {
                let mut details = Details::default();
                while let Some(Detail { modality, token_count }) = seq.next_element::<Detail<'de>>()? {
                    let kind = match modality.map(RawValue::get) {
                        Some("\"AUDIO\"") => &mut details.sound,
                        Some("\"IMAGE\"") => &mut details.images,
                        _ => continue,
                    };
                    *kind = Some(kind.unwrap_or(0).saturating_add(token_count.0.unwrap_or(0)));
                }
                Ok(details)
            }
        }
        d.deserialize_seq(V)
    }
}

impl Count {
    pub(crate) const NONE: Self = Self {
        prompt: None,
        tools: None,
        cached: None,
        written: None,
        thoughts: None,
        heard: None,
        cached_sound: None,
        spoken: None,
        drawn: None,
    };

    /// Takes a usage object in; false when it is none.
    pub(crate) fn take(&mut self, raw: &RawValue) -> bool {
        let Ok(wire) = serde_json::from_str::<Wire>(raw.get()) else { return false };
        for (known, told) in [
            (&mut self.prompt, wire.prompt_token_count),
            (&mut self.tools, wire.tool_use_prompt_token_count),
            (&mut self.cached, wire.cached_content_token_count),
            (&mut self.written, wire.candidates_token_count),
            (&mut self.thoughts, wire.thoughts_token_count),
        ] {
            *known = (*known).max(told.0);
        }
        for (known, told) in [
            (&mut self.heard, wire.prompt_tokens_details.0.sound),
            (&mut self.cached_sound, wire.cache_tokens_details.0.sound),
            (&mut self.spoken, wire.candidates_tokens_details.0.sound),
            (&mut self.drawn, wire.candidates_tokens_details.0.images),
        ] {
            *known = (*known).max(told);
        }
        wire.prompt_token_count.0.is_some() || wire.candidates_token_count.0.is_some()
    }

    /// The same, with what of it is sound or an image.
    pub(crate) fn used(&self) -> Option<Used> {
        let tokens = self.usage()?;
        let of = |n: Option<u64>| n.unwrap_or(0);
        let heard = of(self.heard).min(tokens.input);
        let cached = of(self.cached_sound).min(tokens.cached_input).min(heard);
        let units = Units {
            audio_tokens: heard - cached,
            cached_audio_tokens: cached,
            audio_output_tokens: of(self.spoken).min(tokens.output),
            image_output_tokens: of(self.drawn).min(tokens.output),
            ..Units::default()
        };
        Some(Used { tokens: Some(tokens), units, served: None })
    }

    /// The tokens, made consistent: no part is larger than what it is part of.
    pub(crate) fn usage(&self) -> Option<TokenUsage> {
        if self.prompt.is_none() && self.written.is_none() {
            return None;
        }
        let of = |n: Option<u64>| n.unwrap_or(0);
        let input = of(self.prompt).saturating_add(of(self.tools));
        let reasoning = of(self.thoughts);
        Some(TokenUsage {
            input,
            cached_input: of(self.cached).min(input),
            output: of(self.written).saturating_add(reasoning),
            reasoning,
            ..TokenUsage::default()
        })
    }
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
