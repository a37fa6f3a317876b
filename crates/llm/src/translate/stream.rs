//! A stream in one dialect as one in another: each event is read, and what it says is written.

use super::{
    Caller, Translation,
    answer::{Failure, MAX_EVENT, Malformed, Said},
    bedrock, chat, gemini, messages,
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

impl Writer {
    fn say(&mut self, said: &Said<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Chat(writer) => writer.say(said, out),
            Self::Messages(writer) => writer.say(said, out),
            Self::Responses(writer) => writer.say(said, out),
            Self::Gemini(writer) => writer.say(said, out),
        }
    }
}

impl Translator {
    pub(super) fn new(translation: Translation) -> Self {
        let Translation { from, to, frame, include_usage, frames, named, answers: _ } = translation;
        Self {
            events: SseReader::new(MAX_EVENT),
            reader: match from {
                Dialect::OpenAi => Reader::Chat(chat::read_stream::StreamReader::new()),
                Dialect::Anthropic => Reader::Messages(messages::read_stream::StreamReader::new()),
                Dialect::Responses => Reader::Responses(responses::read_stream::StreamReader::new()),
                Dialect::Gemini => Reader::Gemini(gemini::read_stream::StreamReader::new()),
                Dialect::Bedrock => Reader::Bedrock(bedrock::read_stream::StreamReader::new(&named.id, &named.model)),
                Dialect::Replicate => {
                    Reader::Replicate(replicate::read_stream::StreamReader::new(&named.id, &named.model))
                }
            },
            writer: match to {
                Caller::Chat => Writer::Chat(chat::write_stream::StreamWriter::new(frame.created, include_usage)),
                Caller::Messages => Writer::Messages(messages::write_stream::StreamWriter::new()),
                Caller::Responses => Writer::Responses(responses::write_stream::StreamWriter::new(frame)),
                Caller::Gemini => Writer::Gemini(gemini::write_stream::StreamWriter::new(frames)),
            },
            over: false,
            failure: None,
        }
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        let reader = match &self.reader {
            Reader::Chat(reader) => reader.held(),
            Reader::Messages(reader) => reader.held(),
            Reader::Responses(_) => 0,
            Reader::Gemini(reader) => reader.held(),
            Reader::Bedrock(reader) => reader.held(),
            Reader::Replicate(reader) => reader.held(),
        };
        let writer = match &self.writer {
            Writer::Chat(writer) => writer.held(),
            Writer::Messages(_) => 0,
            Writer::Responses(writer) => writer.held(),
            Writer::Gemini(writer) => writer.held(),
        };
        self.events.held() + reader + writer
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
        let Self { reader, writer, over, .. } = self;
        if !*over {
            let mut say = |said: Said<'_>| {
                *over |= matches!(said, Said::End(_));
                writer.say(&said, out);
            };
            match reader {
                Reader::Chat(reader) => reader.finish(&mut say),
                Reader::Gemini(reader) => reader.finish(&mut say),
                Reader::Bedrock(reader) => reader.finish(&mut say),
                Reader::Messages(_) | Reader::Responses(_) | Reader::Replicate(_) => {}
            }
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
        let Self { reader, writer, over, failure, .. } = self;
        let mut say = |said: Said<'_>| {
            // After the end nothing counts.
            if *over {
                return;
            }
            if matches!((&said, &*writer), (Said::Image { .. }, Writer::Messages(_))) {
                (*over, *failure) = (true, Some(StreamFailure::Malformed));
                let message = Some(Text(Failure::NO_PLACE.into()));
                return writer.say(&Said::Failed(Failure { message, ..Failure::default() }), out);
            }
            *over = matches!(said, Said::End(_) | Said::Failed(_));
            writer.say(&said, out);
        };
        match (reader, event.data()) {
            (Reader::Chat(reader), Some(data)) => reader.event(&data, &mut say),
            (Reader::Messages(reader), Some(data)) => reader.event(&data, &mut say),
            (Reader::Responses(reader), Some(data)) => reader.event(&data, &mut say),
            (Reader::Gemini(reader), Some(data)) => reader.event(&data, &mut say),
            (Reader::Bedrock(reader), Some(data)) => {
                reader.event(event.event_type().unwrap_or_default(), &data, &mut say)
            }
            (Reader::Replicate(reader), Some(data)) => {
                reader.event(event.event_type().unwrap_or_default(), &data, &mut say)
            }
            // A comment, by which such providers tell that they are still there.
            (Reader::Chat(_) | Reader::Responses(_), None) if event.raw.starts_with(b":") => {
                say(Said::Ping);
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }

    fn fail(&mut self, failure: StreamFailure, out: &mut Vec<u8>) {
        self.over = true;
        self.failure = Some(failure);
        self.writer.say(&Said::Failed(Failure::default()), out);
    }
}
