//! A stream in one dialect as one in another: each event is read, and what it says is written.

use super::{
    Caller, Translation,
    answer::{Failure, MAX_EVENT, Malformed, Piece, Said, Sound, Stop},
    bedrock, chat,
    cite::Citation,
    gemini,
    logprobs::Token,
    messages,
    read::Text,
    replicate, responses,
};
use crate::{
    provider::Dialect,
    sse::{SseEvent, SsePiece, SseReader},
};

/// Translates a stream of server-sent events, which those of other frames are made before
/// ([`crate::unframed::Unframed`]). Holds the event that is not yet complete and what is known of tools being called.
#[derive(Debug)]
pub struct Translator {
    events: SseReader,
    reader: Reader,
    writer: Writer,
    /// The same of each further answer, where more than one was asked for.
    others: Vec<(Reader, Writer)>,
    /// The answer is over, as it should be or with an error.
    over: bool,
    failure: Option<StreamFailure>,
}

/// Why a stream was ended with an error of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFailure {
    /// What came is no streamed answer.
    Malformed,
    /// It ended before its end.
    Truncated,
}

#[derive(Debug)]
enum Reader {
    Chat(chat::read_stream::StreamReader),
    Messages(messages::read_stream::StreamReader),
    Responses(responses::read_stream::StreamReader),
    Gemini(gemini::read_stream::StreamReader),
    Bedrock(bedrock::read_stream::StreamReader),
    Replicate(replicate::read_stream::StreamReader),
}

#[derive(Debug)]
enum Writer {
    Chat(chat::write_stream::StreamWriter),
    Messages(messages::write_stream::StreamWriter),
    Responses(responses::write_stream::StreamWriter),
    Gemini(gemini::write_stream::StreamWriter),
}

impl Reader {
    /// For the answer of this number.
    fn of(Translation { from, place, named, .. }: &Translation, index: u64) -> Self {
        match from {
            Dialect::OpenAi => Self::Chat(chat::read_stream::StreamReader::new(index)),
            Dialect::Anthropic => Self::Messages(messages::read_stream::StreamReader::new()),
            Dialect::Responses => Self::Responses(responses::read_stream::StreamReader::new(*place)),
            Dialect::Gemini => Self::Gemini(gemini::read_stream::StreamReader::new(index)),
            Dialect::Bedrock => Self::Bedrock(bedrock::read_stream::StreamReader::new(&named.id, &named.model)),
            Dialect::Replicate => Self::Replicate(replicate::read_stream::StreamReader::new(&named.id, &named.model)),
        }
    }

    fn held(&self) -> usize {
        match self {
            Self::Chat(reader) => reader.held(),
            Self::Messages(reader) => reader.held(),
            Self::Responses(_) => 0,
            Self::Gemini(reader) => reader.held(),
            Self::Bedrock(reader) => reader.held(),
            Self::Replicate(reader) => reader.held(),
        }
    }

    fn event(&mut self, event: &SseEvent<'_>, say: &mut impl FnMut(Said<'_>)) -> Result<(), Malformed> {
        match (self, event.data()) {
            (Self::Chat(reader), Some(data)) => reader.event(&data, say),
            (Self::Messages(reader), Some(data)) => reader.event(&data, say),
            (Self::Responses(reader), Some(data)) => reader.event(&data, say),
            (Self::Gemini(reader), Some(data)) => reader.event(&data, say),
            (Self::Bedrock(reader), Some(data)) => reader.event(event.event_type().unwrap_or_default(), &data, say),
            (Self::Replicate(reader), Some(data)) => reader.event(event.event_type().unwrap_or_default(), &data, say),
            // A comment, by which such providers tell that they are still there.
            (Self::Chat(_) | Self::Responses(_), None) if event.raw.starts_with(b":") => {
                say(Said::Ping);
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }

    fn finish(&mut self, say: &mut impl FnMut(Said<'_>)) {
        match self {
            Self::Chat(reader) => reader.finish(say),
            Self::Gemini(reader) => reader.finish(say),
            Self::Bedrock(reader) => reader.finish(say),
            Self::Messages(_) | Self::Responses(_) | Self::Replicate(_) => {}
        }
    }
}

impl Writer {
    /// For the answer of this number.
    fn of(Translation { to, frame, include_usage, frames, .. }: &Translation, index: u64) -> Self {
        match to {
            Caller::Chat => Self::Chat(chat::write_stream::StreamWriter::new(frame.created, *include_usage, index)),
            Caller::Messages => Self::Messages(messages::write_stream::StreamWriter::new()),
            Caller::Responses => Self::Responses(responses::write_stream::StreamWriter::new(frame.clone())),
            Caller::Gemini => Self::Gemini(gemini::write_stream::StreamWriter::new(*frames, index)),
        }
    }

    fn held(&self) -> usize {
        match self {
            Self::Chat(writer) => writer.held(),
            Self::Messages(_) => 0,
            Self::Responses(writer) => writer.held(),
            Self::Gemini(writer) => writer.held(),
        }
    }

    fn say(&mut self, said: &Said<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Chat(writer) => writer.say(said, out),
            Self::Messages(writer) => writer.say(said, out),
            Self::Responses(writer) => writer.say(said, out),
            Self::Gemini(writer) => writer.say(said, out),
        }
    }
}

/// What one of the answers of a whole one holds.
struct Part<'a> {
    pieces: &'a [Piece<'a>],
    logprobs: &'a [Token<'a>],
    citations: &'a [Citation<'a>],
    stop: Stop,
}

impl Part<'_> {
    /// Says all of it, in the order in which a stream would.
    fn say(&self, say: &mut impl FnMut(&Said<'_>)) {
        let is_text = |piece: &&Piece<'_>| matches!(piece, Piece::Text(text) if !text.is_empty());
        let (mut texts, mut characters, mut tools) = (self.pieces.iter().filter(is_text).count(), 0, 0);
        let mut cited: Vec<&Citation<'_>> = self.citations.iter().collect();
        if texts > 0 && !self.logprobs.is_empty() {
            say(&Said::Logprobs(self.logprobs));
        }
        for piece in self.pieces {
            match piece {
                Piece::Text(text) if text.is_empty() => {}
                Piece::Text(text) => {
                    say(&Said::Text(text));
                    (texts, characters) = (texts - 1, characters + text.chars().count() as u64);
                    // While its block is open; none is left behind the last.
                    cited.retain(|citation| {
                        let waits = texts > 0 && citation.span.end > characters;
                        if !waits {
                            say(&Said::Cited(citation));
                        }
                        waits
                    });
                    say(&Said::Break);
                }
                Piece::Thinking(text) if text.is_empty() => {}
                Piece::Thinking(text) => say(&Said::Thinking(text)),
                Piece::Signed(signer, signature) => say(&Said::Signed(*signer, signature)),
                Piece::Redacted(data) => say(&Said::Redacted(data)),
                Piece::Image { media_type, data } => say(&Said::Image { media_type, data }),
                Piece::Call { id, name, input } => {
                    say(&Said::Call { tool: tools, id, name });
                    if !input.is_empty() {
                        say(&Said::Input { tool: tools, part: input });
                    }
                    tools += 1;
                }
            }
        }
        say(&Said::Stop(self.stop));
    }
}

impl Translation {
    /// A whole answer to a call for a stream, as the stream that says all of it: some servers answer so, and clients read
    /// nothing else. `None` as [`Self::whole`].
    pub fn streamed(&self, body: &[u8]) -> Option<Vec<u8>> {
        // White space between values: parts pass as they stand, and an event would end at a line.
        let body: Vec<u8> = body.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }).collect();
        let answer = self.read(&body).filter(|answer| self.has_place(answer))?;
        let mut out = Vec::with_capacity(2 * body.len());
        let begin = Said::Begin { id: &answer.id, model: &answer.model };
        let mut first = Writer::of(self, 0);
        first.say(&begin, &mut out);
        let part = Part {
            pieces: &answer.pieces,
            logprobs: &answer.logprobs,
            citations: &answer.citations,
            stop: answer.stop,
        };
        part.say(&mut |said| first.say(said, &mut out));
        for other in answer.others.iter().filter(|other| other.index < self.many) {
            let mut writer = Writer::of(self, other.index);
            writer.say(&begin, &mut out);
            let part = Part {
                pieces: &other.pieces,
                logprobs: &other.logprobs,
                citations: &other.citations,
                stop: other.stop,
            };
            part.say(&mut |said| writer.say(said, &mut out));
            writer.say(&Said::End(None, Sound::default()), &mut out);
        }
        if matches!(&first, Writer::Responses(writer) if writer.is_full()) {
            return None;
        }
        first.say(&Said::End(answer.usage, answer.sound), &mut out);
        Some(out)
    }
}

impl Translator {
    pub(super) fn new(translation: Translation) -> Self {
        let of = |index| (Reader::of(&translation, index), Writer::of(&translation, index));
        let (reader, writer) = of(0);
        let others = (1..translation.many).map(of).collect();
        Self { events: SseReader::new(MAX_EVENT), reader, writer, others, over: false, failure: None }
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        let others: usize = self.others.iter().map(|(reader, writer)| reader.held() + writer.held()).sum();
        self.events.held() + self.reader.held() + self.writer.held() + others
    }

    /// Takes the next bytes and appends to `out` what they are in the caller's dialect.
    pub fn feed(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let mut events = std::mem::take(&mut self.events);
        events.feed(payload, |piece| self.piece(piece, out));
        self.events = events;
    }

    /// Ends a stream that came to its end. One that ended before its answer did ends with an error.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.rest(out);
        if !self.over {
            // It fails at nothing.
            let _ = self.each(out, |reader, say| {
                reader.finish(&mut |said| say(said));
                Ok(())
            });
        }
        if !self.over {
            self.fail(StreamFailure::Truncated, out);
        }
    }

    /// Ends a stream that was cut off: with an error, unless its answer was over.
    pub fn cut(&mut self, out: &mut Vec<u8>) {
        self.rest(out);
        if !self.over {
            self.fail(StreamFailure::Truncated, out);
        }
    }

    /// Why the stream was ended with an error. An error that the provider told is none: it was passed on.
    pub const fn failure(&self) -> Option<StreamFailure> {
        self.failure
    }

    /// Reads an event that no blank line has ended.
    fn rest(&mut self, out: &mut Vec<u8>) {
        let mut events = std::mem::take(&mut self.events);
        events.finish(|piece| self.piece(piece, out));
    }

    fn piece(&mut self, piece: SsePiece<'_>, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        let (done, complete) = match piece {
            SsePiece::Event(event) => (self.event(&event, out), event.complete),
            SsePiece::Oversize(_) => (Err(Malformed), true),
        };
        let full = matches!(&self.writer, Writer::Responses(writer) if writer.is_full());
        if done.is_err() || (full && !self.over) {
            self.fail(if complete { StreamFailure::Malformed } else { StreamFailure::Truncated }, out);
        }
    }

    fn event(&mut self, event: &SseEvent<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        self.each(out, |reader, say| reader.event(event, &mut |said| say(said)))
    }

    /// Has each answer read, the first one first, and written. What is said of all of them is said by the first, which
    /// ends after the others.
    fn each(
        &mut self,
        out: &mut Vec<u8>,
        read: impl Fn(&mut Reader, &mut dyn FnMut(Said<'_>)) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let Self { reader, writer, others, over, failure, .. } = self;
        let (several, mut end) = (!others.is_empty(), None);
        read(reader, &mut |said| {
            // After the end nothing counts.
            if *over || end.is_some() {
                return;
            }
            if let (true, Said::End(told, sound)) = (several, &said) {
                end = Some((*told, *sound));
                return;
            }
            if matches!((&said, &*writer), (Said::Image { .. }, Writer::Messages(_))) {
                (*over, *failure) = (true, Some(StreamFailure::Malformed));
                let message = Some(Text(Failure::NO_PLACE.into()));
                return writer.say(&Said::Failed(Failure { message, ..Failure::default() }), out);
            }
            *over = matches!(said, Said::End(..) | Said::Failed(_));
            writer.say(&said, out);
        })?;
        for (reader, writer) in others.iter_mut().filter(|_| !*over) {
            read(reader, &mut |said| {
                if !matches!(said, Said::Ping | Said::Failed(_)) {
                    writer.say(&said, out);
                }
            })?;
        }
        if let Some((told, sound)) = end {
            *over = true;
            writer.say(&Said::End(told, sound), out);
        }
        Ok(())
    }

    fn fail(&mut self, failure: StreamFailure, out: &mut Vec<u8>) {
        self.over = true;
        self.failure = Some(failure);
        self.writer.say(&Said::Failed(Failure::default()), out);
    }
}
