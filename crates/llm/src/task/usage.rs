//! Reads what an answer counts, while its bytes pass through unchanged: tokens, seconds of sound, searches.
//!
//! Tolerant, as for conversations: an answer that cannot be understood counts nothing, it never becomes an error. What is
//! known before the answer, such as how many images were asked for, is counted with it.

use super::{
    Task,
    units::{Size, Units},
};
use crate::{
    openai::usage::{self, Lenient, Tokens},
    sse::{SseEvent, SsePiece, SseReader},
    tier::Served,
};
use credentialflow_model::usage::TokenUsage;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Events up to this size are read; those that end a stream of images hold an image.
const MOST_EVENT: usize = 8 << 20;
/// How many places in the end of a large answer are tried.
const TAIL_TRIES: usize = 16;
const MARK: &[u8] = b"\"usage\"";

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Tokens; `None` when the provider told none.
    pub tokens: Option<TokenUsage>,
    /// What else.
    pub units: Units,
    /// How it was served, where that is told.
    pub served: Option<Served>,
}

/// Stands beside one answer.
#[derive(Debug)]
pub struct TaskUsage {
    task: Task,
    size: Size,
    from: From,
}

#[derive(Debug)]
enum From {
    /// Bytes that count nothing.
    Nothing,
    Answer(usage::AnswerUsage),
    Stream {
        reader: SseReader,
        used: Option<Used>,
    },
}

impl TaskUsage {
    /// For the answer of a call.
    pub const fn new(task: Task, size: Size) -> Self {
        Self { task, size, from: From::Answer(usage::AnswerUsage::new()) }
    }

    /// What is asked.
    pub const fn task(&self) -> Task {
        self.task
    }

    /// How much is asked for.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Fits it to what came.
    pub fn fit(&mut self, is_stream: bool) {
        self.from = match (is_stream, self.task) {
            (true, _) => From::Stream { reader: SseReader::new(MOST_EVENT), used: None },
            // Sound and nothing else.
            (false, Task::Speech) => From::Nothing,
            (false, _) => From::Answer(usage::AnswerUsage::new()),
        };
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        match &self.from {
            From::Nothing => 0,
            From::Answer(usage) => usage.held(),
            From::Stream { reader, .. } => reader.held(),
        }
    }

    /// Takes the next bytes of a payload that somebody else forwards.
    pub fn feed(&mut self, payload: &[u8]) {
        match &mut self.from {
            From::Nothing => {}
            From::Answer(usage) => usage.feed(payload),
            From::Stream { reader, used } => reader.feed(payload, |piece| read_piece(&piece, used)),
        }
    }

    /// Ends a stream.
    pub fn finish(&mut self) {
        if let From::Stream { reader, used } = &mut self.from {
            reader.finish(|piece| read_piece(&piece, used));
        }
    }

    /// What a stream told so far.
    pub fn so_far(&self) -> Option<Used> {
        match &self.from {
            From::Stream { used, .. } => used.map(|used| self.with_asked(used)),
            From::Nothing | From::Answer(_) => None,
        }
    }

    /// What was told in all, with what was asked for.
    pub fn total(&mut self) -> Used {
        let told = match &mut self.from {
            From::Nothing => None,
            From::Stream { used, .. } => *used,
            From::Answer(usage) => {
                let (kept, whole) = std::mem::take(usage).into_kept();
                if whole { read(&kept) } else { read_tail(&kept) }
            }
        };
        self.with_asked(told.unwrap_or_default())
    }

    fn with_asked(&self, mut used: Used) -> Used {
        let asked = self.size.units(self.task);
        used.units.images = asked.images;
        used.units.characters = asked.characters;
        if self.task == Task::Rerank && used.units.searches == 0 {
            // Who ranks without telling how many searches that was counts calls.
            used.units.searches = 1;
        }
        used
    }
}

fn read_piece(piece: &SsePiece<'_>, used: &mut Option<Used>) {
    if let SsePiece::Event(event) = piece {
        *used = read_event(event).or(*used);
    }
}

fn read_event(event: &SseEvent<'_>) -> Option<Used> {
    memmem::find(event.raw, MARK)?;
    read(&event.data()?)
}

/// What a whole JSON object counts.
fn read(json: &[u8]) -> Option<Used> {
    let envelope: Envelope<'_> = serde_json::from_slice(json).ok()?;
    let mut used = envelope.usage.and_then(count).unwrap_or_default();
    if used.units.seconds == 0 {
        used.units.seconds = seconds(envelope.duration);
    }
    let billed = envelope.meta.0.billed_units.0;
    used.units.searches = billed.search_units.0.unwrap_or(0);
    if used.tokens.is_none() {
        used.tokens = billed.input_tokens.0.filter(|n| *n > 0).map(|input| TokenUsage {
            input,
            output: billed.output_tokens.0.unwrap_or(0),
            ..TokenUsage::default()
        });
    }
    (used != Used::default()).then_some(used)
}

/// What the end of an object counts whose beginning is gone.
fn read_tail(tail: &[u8]) -> Option<Used> {
    memmem::rfind_iter(tail, MARK).take(TAIL_TRIES).find_map(|at| {
        let value = tail[at + MARK.len()..].trim_ascii_start().strip_prefix(b":")?;
        let first = serde_json::Deserializer::from_slice(value).into_iter::<&RawValue>().next()?.ok()?;
        count(first)
    })
}

/// The counts of one usage object, made consistent.
pub(crate) fn count(raw: &RawValue) -> Option<Used> {
    let wire: Wire = serde_json::from_str(raw.get()).ok()?;
    let told = |names: [Tokens; 2]| names.into_iter().find_map(|n| n.0);
    let (input, output) =
        (told([wire.input_tokens, wire.prompt_tokens]), told([wire.output_tokens, wire.completion_tokens]));
    let total = wire.total_tokens.0;
    let of = |n: Option<u64>| n.unwrap_or(0);
    let (read, written) = (input.unwrap_or_else(|| of(total).saturating_sub(of(output))), of(output));
    let details = [wire.input_tokens_details.0, wire.input_token_details.0, wire.prompt_tokens_details.0];
    let detail = |of: fn(&Details) -> Tokens| details.iter().find_map(|one| of(one).0).unwrap_or(0);
    let cached = detail(|d| d.cached_tokens).min(read);
    let image_tokens = detail(|d| d.image_tokens).min(read);
    let audio_tokens = detail(|d| d.audio_tokens).min(read - image_tokens);
    let from_cache = details.iter().find_map(|one| one.cached_tokens_details.0).unwrap_or_default();
    let cached_image_tokens = from_cache.image_tokens.0.unwrap_or(0).min(image_tokens).min(cached);
    let cached_audio_tokens =
        from_cache.audio_tokens.0.unwrap_or(0).min(audio_tokens).min(cached - cached_image_tokens);
    let audio_output_tokens = wire.output_token_details.0.audio_tokens.0.unwrap_or(0).min(written);
    let seconds = seconds(wire.seconds).max(seconds(wire.prompt_audio_seconds));
    let tokens = [input, output, total].iter().any(Option::is_some).then(|| TokenUsage {
        input: read,
        cached_input: cached,
        output: written,
        ..TokenUsage::default()
    });
    let units = Units {
        image_tokens: image_tokens - cached_image_tokens,
        audio_tokens: audio_tokens - cached_audio_tokens,
        cached_image_tokens,
        cached_audio_tokens,
        audio_output_tokens,
        seconds,
        ..Units::default()
    };
    let used = Used { tokens, units, served: None };
    (used != Used::default()).then_some(used)
}

/// Seconds that are told as a number; a begun one is a whole one.
const fn seconds(told: Tokens) -> u64 {
    match told.0 {
        Some(seconds) => seconds,
        None => 0,
    }
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Envelope<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    /// Of a transcript that is told at length.
    duration: Tokens,
    /// Cohere's.
    meta: Lenient<Meta>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Meta {
    billed_units: Lenient<Billed>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Billed {
    search_units: Tokens,
    input_tokens: Tokens,
    output_tokens: Tokens,
}

/// The usage object of OpenAI's images and audio, of embeddings, and what others made of it. `prompt_audio_seconds` is
/// Mistral's.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    input_tokens: Tokens,
    prompt_tokens: Tokens,
    output_tokens: Tokens,
    completion_tokens: Tokens,
    total_tokens: Tokens,
    input_tokens_details: Lenient<Details>,
    input_token_details: Lenient<Details>,
    prompt_tokens_details: Lenient<Details>,
    output_token_details: Lenient<OfKinds>,
    seconds: Tokens,
    prompt_audio_seconds: Tokens,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Details {
    image_tokens: Tokens,
    audio_tokens: Tokens,
    cached_tokens: Tokens,
    cached_tokens_details: Lenient<Option<OfKinds>>,
}

/// Tokens by what they are of.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct OfKinds {
    image_tokens: Tokens,
    audio_tokens: Tokens,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn told(task: Task, size: Size, answer: &str) -> Used {
        let mut usage = TaskUsage::new(task, size);
        usage.fit(false);
        for piece in answer.as_bytes().chunks(7) {
            usage.feed(piece);
        }
        usage.total()
    }

    fn tokens(input: u64, output: u64) -> Option<TokenUsage> {
        Some(TokenUsage { input, output, ..TokenUsage::default() })
    }

    #[test]
    fn answers_count_in_several_ways() {
        let one = Size::default();
        let none = Units::default();
        for (task, answer, expect, units) in [
            (
                Task::Embeddings,
                r#"{"object":"list","data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}"#,
                tokens(8, 0),
                none,
            ),
            (Task::Embeddings, r#"{"usage":{"total_tokens":9}}"#, tokens(9, 0), none),
            (Task::Embeddings, r#"{"usage":{"prompt_tokens":0,"total_tokens":0}}"#, tokens(0, 0), none),
            (Task::Embeddings, r#"{"usage":{}}"#, None, none),
            (Task::Moderations, r#"{"results":[]}"#, None, none),
            (
                Task::Transcriptions,
                r#"{"text":"\"usage\":{}","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":45,"total_tokens":59}}"#,
                tokens(14, 45),
                Units { audio_tokens: 10, ..none },
            ),
            (
                Task::Transcriptions,
                r#"{"text":"","usage":{"type":"duration","seconds":9}}"#,
                None,
                Units { seconds: 9, ..none },
            ),
            (Task::Translations, r#"{"duration":8.47,"text":""}"#, None, Units { seconds: 9, ..none }),
            (Task::Translations, "1\n00:00 --> 00:01\nhello", None, none),
            (
                Task::Transcriptions,
                r#"{"usage":{"prompt_audio_seconds":203,"prompt_tokens":4,"completion_tokens":635,"total_tokens":3264}}"#,
                tokens(4, 635),
                Units { seconds: 203, ..none },
            ),
            (Task::Rerank, r#"{"meta":{"billed_units":{"search_units":2}}}"#, None, Units { searches: 2, ..none }),
            (
                Task::Rerank,
                r#"{"results":[],"usage":{"total_tokens":15}}"#,
                tokens(15, 0),
                Units { searches: 1, ..none },
            ),
        ] {
            assert_eq!(told(task, one, answer), Used { tokens: expect, units, served: None }, "{answer}");
        }
    }

    #[test]
    fn what_was_asked_for_is_counted() {
        let size = Size { n: 2, characters: 40, ..Size::default() };
        let large = format!(
            r#"{{"data":[{{"b64_json":"{}"}}],"usage":{{"input_tokens":50,"input_tokens_details":{{"image_tokens":40,"text_tokens":10}},"output_tokens":272,"total_tokens":322}}}}"#,
            "A".repeat(5 << 20)
        );
        let used = told(Task::ImageEdits, size, &large);
        assert_eq!((used.tokens, used.units.images, used.units.image_tokens), (tokens(50, 272), 2, 40));
        assert_eq!(told(Task::ImageGenerations, size, r#"{"data":[]}"#).units, Units { images: 2, ..Units::default() });
        let spoken = told(Task::Speech, size, "ID3\u{3}\"usage\":{\"input_tokens\":1}");
        assert_eq!(spoken, Used { units: Units { characters: 40, ..Units::default() }, ..Used::default() });
    }

    #[test]
    fn the_end_of_a_stream_counts() {
        let events = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"usage\"}\n\n\
                      data: {\"type\":\"transcript.text.done\",\"text\":\"x\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":3,\"output_tokens\":4,\"total_tokens\":7}}\n\n";
        let mut usage = TaskUsage::new(Task::Transcriptions, Size::default());
        usage.fit(true);
        for (i, byte) in events.as_bytes().iter().enumerate() {
            assert!(usage.so_far().is_none(), "{i}");
            usage.feed(std::slice::from_ref(byte));
        }
        assert_eq!(usage.so_far().unwrap().tokens, tokens(3, 4));
        usage.finish();
        assert_eq!(usage.total().tokens, tokens(3, 4));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..300), stream in any::<bool>()) {
            let mut usage = TaskUsage::new(Task::ImageEdits, Size::default());
            usage.fit(stream);
            usage.feed(&bytes);
            usage.finish();
            usage.total();
        }
    }
}
