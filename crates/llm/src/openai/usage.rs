//! Reads the tokens of an OpenAI-compatible answer while its bytes pass through unchanged.
//!
//! [`StreamUsage`] stands in a stream of server-sent events, [`AnswerUsage`] beside a whole JSON answer.
//! Both are tolerant: an answer that cannot be understood has no usage, it never becomes an error.
//! Neither counts tokens itself; only what the provider reports is used.

use super::request::is_empty_array;
use crate::sse::{DEFAULT_MAX_EVENT, SseEvent, SsePiece, SseReader};
use crate::task::{units::Units, usage::Used};
use crate::tier::Served;
use credentialflow_model::usage::TokenUsage;
use memchr::memmem;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::sync::LazyLock;

/// Whole answers up to this size are kept until their end.
const ANSWER_LIMIT: usize = 4 << 20;
/// Of larger ones, this much of the end.
const TAIL: usize = 64 << 10;
/// How many places in a tail are tried.
const TAIL_TRIES: usize = 16;
/// Unfinished events up to this size are searched with each piece.
const EAGER: usize = 4 << 10;
/// What every usage object begins with; an escaped quote inside a text cannot look like it.
const MARK: &[u8] = b"\"usage\"";
/// Made once: it is looked for in every piece of every stream.
static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(MARK));
/// For whole answers, of which only the end is read where all that counts stands there, as nearly always.
static LAST: LazyLock<memmem::FinderRev<'static>> = LazyLock::new(|| memmem::FinderRev::new(MARK));
/// What counts besides and may stand before it.
static APART: LazyLock<[memmem::Finder<'static>; 2]> =
    LazyLock::new(|| ["\"service_tier\"", "\"x_groq\""].map(memmem::Finder::new));

/// Finds usage in a stream, and removes the usage event the caller did not ask for.
#[derive(Debug)]
pub struct StreamUsage {
    reader: SseReader,
    count: Counted,
    drop_usage_event: bool,
    /// How many bytes of the unfinished event were already given out.
    released: usize,
    /// How long the unfinished event was when it was last searched.
    searched: usize,
}

/// What a stream counted so far.
#[derive(Clone, Copy, Debug)]
struct Counted {
    usage: Option<Used>,
    /// Whether the last count came with the end: beside a reason for it, or behind all choices.
    is_last: bool,
}

impl Counted {
    /// Takes one more. Each is of all there was up to then, so the largest holds: some servers count with every event, and
    /// some write noughts into the last.
    fn take(&mut self, found: Used) {
        let size = |used: &Used| used.tokens.map_or(0, |tokens| tokens.input.saturating_add(tokens.output));
        if self.usage.as_ref().is_none_or(|known| size(&found) >= size(known)) {
            self.usage = Some(found);
        }
    }
}

impl StreamUsage {
    /// For one stream. `drop_usage_event`: the gateway asked for usage and the caller did not, so the
    /// extra event (empty `choices`, and `usage`) is removed whole.
    pub const fn new(drop_usage_event: bool) -> Self {
        let count = Counted { usage: None, is_last: false };
        Self { reader: SseReader::new(DEFAULT_MAX_EVENT), count, drop_usage_event, released: 0, searched: 0 }
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.reader.held()
    }

    /// Whether a stream that ends here is not all of one.
    pub fn lacks_its_end(&self) -> bool {
        self.reader.lacks_its_end()
    }

    /// Whether bytes may be taken out, so that they must go through [`Self::feed`].
    pub const fn drops(&self) -> bool {
        self.drop_usage_event
    }

    /// Takes the next bytes of the payload and gives to `out` what may go to the caller now. Without
    /// dropping that is all of them; with it, the beginning of an event that may turn out to be the
    /// usage event is held back until that is known.
    pub fn feed(&mut self, payload: &[u8], out: &mut impl FnMut(&[u8])) {
        if !self.drop_usage_event {
            out(payload);
            self.inspect(payload);
            return;
        }
        let usage = usage_objects(payload).next();
        // Nearly always: whole events without any.
        if usage.is_none() && self.reader.skip(payload) {
            return out(payload);
        }
        let quiet = self.reader.whole_events(payload, usage.unwrap_or(payload.len()));
        self.relay(&payload[..quiet.start], out);
        if self.reader.skip(&payload[quiet.clone()]) {
            out(&payload[quiet.clone()]);
        } else {
            self.relay(&payload[quiet.clone()], out);
        }
        self.relay(&payload[quiet.end..], out);
    }

    /// The same for what must be looked at.
    fn relay(&mut self, payload: &[u8], out: &mut impl FnMut(&[u8])) {
        if payload.is_empty() {
            return;
        }
        let Self { reader, count, released, searched, .. } = self;
        reader.feed(payload, |piece| {
            relay(piece, count, released, out);
            *searched = 0;
        });
        let pending = reader.pending();
        // Long ones are searched again only when twice as long, so that tiny pieces do not make it quadratic.
        let search = pending.len() <= EAGER || pending.len() >= 2 * *searched;
        if *released == 0 && search {
            *searched = pending.len();
        }
        if *released > 0 || (search && cannot_be_dropped(pending)) {
            give(&pending[*released..], out);
            *released = pending.len();
        }
    }

    /// Takes the next bytes of a payload that somebody else forwards. Only for streams from which
    /// nothing is dropped; saves the copy of [`Self::feed`].
    pub fn inspect(&mut self, payload: &[u8]) {
        debug_assert!(!self.drop_usage_event, "dropping needs feed");
        let count = &mut self.count;
        feed_from_usage(&mut self.reader, payload, |piece| {
            if let SsePiece::Event(event) = piece {
                read_event(&event, count);
            }
        });
    }

    /// Ends the stream: gives to `out` what was held back.
    pub fn finish(&mut self, out: &mut impl FnMut(&[u8])) {
        let Self { reader, count, released, drop_usage_event, .. } = self;
        reader.finish(|piece| {
            if *drop_usage_event {
                relay(piece, count, released, out);
            } else if let SsePiece::Event(event) = piece {
                read_event(&event, count);
            }
        });
    }

    /// The whole answer has come: what was counted by now is all, wherever it stood.
    pub const fn ended(&mut self) {
        self.count.is_last = true;
    }

    /// The most that the provider counted so far.
    pub const fn usage(&self) -> Option<TokenUsage> {
        match self.count.usage {
            Some(used) => used.tokens,
            None => None,
        }
    }

    /// The same, with what of it is sound. `None` until it is a count of the whole answer: one that came with the end, and
    /// that counts something written.
    pub fn used(&self) -> Option<Used> {
        let writes = |used: &Used| used.tokens.is_some_and(|tokens| tokens.output > 0);
        self.count.usage.filter(|used| self.count.is_last && writes(used))
    }

    /// What the provider counted of an answer that is not over, or of whose output it counted nothing.
    pub fn begun(&self) -> Option<TokenUsage> {
        match self.used() {
            Some(_) => None,
            None => self.usage(),
        }
    }
}

fn relay(piece: SsePiece<'_>, count: &mut Counted, released: &mut usize, out: &mut impl FnMut(&[u8])) {
    let drop = match piece {
        SsePiece::Event(event) => read_event(&event, count),
        SsePiece::Oversize(_) => false,
    };
    let raw = piece.raw();
    let already = (*released).min(raw.len());
    *released -= already;
    if !drop {
        give(&raw[already..], out);
    }
}

fn give(bytes: &[u8], out: &mut impl FnMut(&[u8])) {
    if !bytes.is_empty() {
        out(bytes);
    }
}

/// Feeds a reader, which passes over whole events as long as no usage stands in them.
pub(crate) fn feed_from_usage(reader: &mut SseReader, payload: &[u8], mut each: impl FnMut(SsePiece<'_>)) {
    let usage = usage_objects(payload).next();
    if usage.is_none() && reader.skip(payload) {
        return;
    }
    let quiet = reader.whole_events(payload, usage.unwrap_or(payload.len()));
    reader.feed(&payload[..quiet.start], &mut each);
    if !reader.skip(&payload[quiet.clone()]) {
        reader.feed(&payload[quiet.clone()], &mut each);
    }
    reader.feed(&payload[quiet.end..], each);
}

/// Reads the usage of one event and says whether it is a usage event: one that carries nothing else.
fn read_event(event: &SseEvent<'_>, count: &mut Counted) -> bool {
    if !has_usage_object(event.raw) {
        return false;
    }
    let Some(data) = event.data() else { return false };
    let Some((found, served)) = read(&data, used) else { return false };
    count.take(Used { served, ..found });
    let (is_end, is_usage_event) = match serde_json::from_slice::<Choices<'_>>(&data) {
        Ok(Choices { choices, usage }) => (is_end(choices), usage.is_some() && is_empty_array(choices)),
        Err(_) => (false, false),
    };
    count.is_last = is_end;
    is_usage_event && !cannot_be_dropped(event.raw)
}

/// Whether nothing follows an event with these choices: none is there, or one says why it ended.
fn is_end(choices: &RawValue) -> bool {
    /// Some servers write an empty one as long as there is none.
    fn is_reason(said: &RawValue) -> bool {
        said.get() != "\"\""
    }
    #[derive(Deserialize)]
    struct Choice<'a> {
        #[serde(borrow, default)]
        finish_reason: Option<&'a RawValue>,
    }
    serde_json::from_str::<Vec<Choice<'_>>>(choices.get()).is_ok_and(|choices| {
        choices.is_empty() || choices.iter().any(|choice| choice.finish_reason.is_some_and(is_reason))
    })
}

/// Whether a `"usage"` stands here with an object as its value; `"usage":null` in every event is common.
/// A value cut off by the end of the bytes counts as one.
pub(crate) fn has_usage_object(bytes: &[u8]) -> bool {
    usage_objects(bytes).next().is_some()
}

/// Where they stand.
fn usage_objects(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let is_object = |after: &[u8]| after.first().is_none_or(|b| *b == b'{');
    FINDER.find_iter(bytes).filter(move |at| after_colon(&bytes[at + MARK.len()..]).is_some_and(is_object))
}

/// What follows a colon and white space; empty when the bytes end before; `None` when there is no colon.
fn after_colon(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.trim_ascii_start();
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start) }
}

/// Whether these bytes of an event already hold a choice: then it is no usage event, however it goes on.
fn cannot_be_dropped(bytes: &[u8]) -> bool {
    const CHOICES: &[u8] = b"\"choices\"";
    memmem::find_iter(bytes, CHOICES)
        .filter_map(|at| after_colon(&bytes[at + CHOICES.len()..])?.strip_prefix(b"["))
        .any(|inside| inside.trim_ascii_start().first().is_some_and(|b| *b == b'{'))
}

/// Collects a whole JSON answer, within bounds, and reads its usage at the end.
#[derive(Debug, Default)]
pub struct AnswerUsage {
    kept: Vec<u8>,
    tail_only: bool,
}

impl AnswerUsage {
    /// For one answer.
    pub const fn new() -> Self {
        Self { kept: Vec::new(), tail_only: false }
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.kept.capacity()
    }

    /// Takes the next bytes. At most 4 MiB are kept; of larger answers the last 64 KiB.
    pub fn feed(&mut self, payload: &[u8]) {
        if !self.tail_only && self.kept.len() + payload.len() <= ANSWER_LIMIT {
            self.kept.extend_from_slice(payload);
            return;
        }
        self.tail_only = true;
        let payload = &payload[payload.len().saturating_sub(TAIL)..];
        // Cut only when there is twice as much as needed, so that small pieces do not move the tail each time.
        if self.kept.len() + payload.len() > 2 * TAIL {
            let keep = TAIL.saturating_sub(payload.len());
            self.kept.drain(..self.kept.len().saturating_sub(keep));
            self.kept.shrink_to(2 * TAIL);
        }
        self.kept.extend_from_slice(payload);
    }

    /// What was kept, and whether it is all of the answer.
    pub(crate) fn into_kept(self) -> (Vec<u8>, bool) {
        (self.kept, !self.tail_only)
    }

    /// The usage the answer reports.
    pub fn finish(self) -> Option<TokenUsage> {
        self.finish_with(count)
    }

    /// The same, with what of it is sound, and how it was served.
    pub fn finish_used(self) -> Option<Used> {
        self.finish_served(used).map(|(used, served)| Used { served, ..used })
    }

    /// The usage the answer reports, its object read by `count`.
    pub(crate) fn finish_with<T>(self, count: Count<T>) -> Option<T> {
        self.finish_served(count).map(|(usage, _)| usage)
    }

    /// The same, and how it was served.
    pub(crate) fn finish_served<T>(self, count: Count<T>) -> Option<(T, Option<Served>)> {
        if self.tail_only {
            let tail = &self.kept[self.kept.len().saturating_sub(TAIL)..];
            read_tail(tail, count)
        } else if let Some(last) = LAST.rfind(&self.kept) {
            let (before, end) = self.kept.split_at(last);
            let stands_apart = |word: &memmem::Finder<'_>| word.find(before).is_some();
            let at_its_end = || (!APART.iter().any(stands_apart)).then(|| read_tail(end, count)).flatten();
            at_its_end().or_else(|| read(&self.kept, count))
        } else {
            None
        }
    }
}

/// Reads a usage object.
pub(crate) type Count<T> = fn(&RawValue) -> Option<T>;

/// The usage that an answer or an event, which is one JSON object, reports, with what of it is sound.
pub(crate) fn of(json: &[u8]) -> Option<Used> {
    read(json, used).map(|(used, _)| used)
}

/// Reads the usage of a whole JSON object, and how it was served.
fn read<T>(json: &[u8], count: Count<T>) -> Option<(T, Option<Served>)> {
    let envelope: Envelope<'_> = serde_json::from_slice(json).ok()?;
    let groq = || serde_json::from_str::<Groq<'_>>(envelope.x_groq?.get()).ok()?.usage.and_then(count);
    let usage = envelope.usage.and_then(count).or_else(groq)?;
    Some((usage, envelope.service_tier.and_then(Served::by_service_tier)))
}

/// Reads the top-level usage from the end of an object whose beginning is gone. A `usage` is the
/// top-level one when what follows it is the rest of exactly one object.
fn read_tail<T>(tail: &[u8], count: Count<T>) -> Option<(T, Option<Served>)> {
    let mut object = Vec::new();
    for at in memmem::rfind_iter(tail, MARK).take(TAIL_TRIES) {
        object.clear();
        object.push(b'{');
        object.extend_from_slice(&tail[at..]);
        if let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&object)
            && let Some(found) = envelope.usage.and_then(count)
        {
            return Some((found, envelope.service_tier.and_then(Served::by_service_tier)));
        }
    }
    None
}

/// The tokens of one usage object, made consistent: cached and written never above input, reasoning never above output.
fn count(raw: &RawValue) -> Option<TokenUsage> {
    let wire: Wire = serde_json::from_str(raw.get()).ok()?;
    if wire.prompt_tokens.0.is_none() && wire.completion_tokens.0.is_none() {
        return None;
    }
    let of = |n: Tokens| n.0.unwrap_or(0);
    let input = of(wire.prompt_tokens);
    let cached = [wire.prompt_tokens_details.0.cached_tokens, wire.prompt_cache_hit_tokens, wire.cached_tokens];
    let cached_input = cached.into_iter().find_map(|n| n.0).unwrap_or(0).min(input);
    let cache_write = of(wire.prompt_tokens_details.0.cache_write_tokens).min(input - cached_input);
    // Some providers (xAI, Gemini's compatible API) leave reasoning out of completion_tokens but bill it
    // as output; it shows as what the total has more.
    let output = of(wire.completion_tokens).max(of(wire.total_tokens).saturating_sub(input));
    let reasoning = of(wire.completion_tokens_details.0.reasoning_tokens).min(output);
    Some(TokenUsage { input, cached_input, cache_write, cache_write_1h: 0, output, reasoning })
}

/// The same with its sound. What of it came from a cache nobody tells: as little as can, so that it is never told too cheap.
fn used(raw: &RawValue) -> Option<Used> {
    let tokens = count(raw)?;
    let Sound { prompt_tokens_details, completion_tokens_details } =
        serde_json::from_str(raw.get()).unwrap_or_default();
    let of = |details: Lenient<SoundDetails>| details.0.audio_tokens.0.unwrap_or(0);
    let heard = of(prompt_tokens_details).min(tokens.input);
    let fresh = heard.min(tokens.input - tokens.cached_input);
    let units = Units {
        audio_tokens: fresh,
        cached_audio_tokens: heard - fresh,
        audio_output_tokens: of(completion_tokens_details).min(tokens.output),
        ..Units::default()
    };
    Some(Used { tokens: Some(tokens), units, served: None })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Sound {
    prompt_tokens_details: Lenient<SoundDetails>,
    completion_tokens_details: Lenient<SoundDetails>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct SoundDetails {
    audio_tokens: Tokens,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    x_groq: Option<&'a RawValue>,
    #[serde(borrow, default)]
    service_tier: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Groq<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choices<'a> {
    #[serde(borrow)]
    choices: &'a RawValue,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

/// The usage object of OpenAI and what others made of it. `prompt_cache_hit_tokens` is DeepSeek's,
/// `cached_tokens` on this level Together's and Moonshot's.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Wire {
    prompt_tokens: Tokens,
    completion_tokens: Tokens,
    total_tokens: Tokens,
    prompt_tokens_details: Lenient<InputDetails>,
    completion_tokens_details: Lenient<OutputDetails>,
    prompt_cache_hit_tokens: Tokens,
    cached_tokens: Tokens,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Tokens,
    /// OpenRouter's.
    cache_write_tokens: Tokens,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Tokens,
}

/// A value, or its default where something else stands.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lenient<T>(pub T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(d)?;
        Ok(Self(serde_json::from_str(raw.get()).unwrap_or_default()))
    }
}

/// A number of tokens. Fractions are rounded up; what is no number is none. One below nothing makes the whole count
/// unreadable: whoever tells it cannot be believed in the rest.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tokens(pub Option<u64>);

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(d)?.get();
        if text.parse::<f64>().is_ok_and(|n| n < 0.0) {
            return Err(serde::de::Error::custom("a count below nothing"));
        }
        // `as` saturates: too large to the largest.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturation is meant")]
        let rounded = || text.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| n.ceil() as u64);
        Ok(Self(text.parse().ok().or_else(rounded)))
    }
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
