//! Conversations over a WebSocket, in text and sound: OpenAI's Realtime and Gemini's Live API.
//!
//! Bytes in, bytes out: a session has a [`Protocol`], which reads what its caller says ([`Said`]) and what its provider
//! tells ([`Told`]), one message each. Messages pass as they are but for models' names and handles; nothing here knows
//! frames, sockets or clocks.

pub mod gemini;
pub mod openai;

use crate::{
    openai::request::{place, write_json_string},
    provider::Dialect,
    task::usage::Used,
};
use credentialflow_model::{OutcomeReason, RequestId};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::{borrow::Cow, ops::Range};

/// Tokens of an image at the most.
const IMAGE_TOKENS: u64 = 16_384;

/// How a session is spoken. One of these reads one session, from its first message on.
pub trait Protocol {
    /// Reads a message of the caller.
    ///
    /// # Errors
    /// [`InvalidEvent`]
    fn said(&mut self, text: &str) -> Result<Said, InvalidEvent>;

    /// Reads a message of the provider. Tolerant, as everywhere: what cannot be understood tells nothing, it never becomes
    /// an error.
    fn told(&mut self, text: &str) -> Vec<Told>;

    /// Whether messages in binary frames are events too.
    fn takes_binary(&self) -> bool {
        false
    }

    /// Whether the provider makes one answer after the other, however many are asked for.
    fn one_at_a_time(&self) -> bool {
        false
    }

    /// The event that tells a caller what is refused, where there is one; a session without ends where something is.
    /// `about`: the `event_id` of what was said, where it has one.
    fn error(&self, reason: OutcomeReason, id: RequestId, detail: Option<&str>, about: Option<&str>) -> Option<String>;

    /// The reason with which a session is closed.
    fn farewell(&self, reason: OutcomeReason, detail: Option<&str>) -> String;

    /// The event that ends an answer which the provider is at, where there is one.
    fn cancel(&self, response: &str) -> Option<String>;

    /// The event that ends whatever answer the provider is at, where there is one. Where it is at none, it refuses this, and
    /// so tells that it has taken all that was said before.
    fn cancel_any(&self, event: &str) -> Option<String>;

    /// A provider's model as it is named in a message.
    fn model_name(&self, provider_model: &str) -> String {
        provider_model.to_owned()
    }
}

/// The protocol of sessions whose callers speak a dialect, if there is one.
pub fn protocol(dialect: Dialect) -> Option<Box<dyn Protocol>> {
    match dialect {
        Dialect::OpenAi => Some(Box::new(openai::Realtime)),
        Dialect::Gemini => Some(Box::<gemini::Live>::default()),
        _ => None,
    }
}

/// Why a message is no event. The texts are safe to show: they hold nothing from the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvent {
    /// Not JSON, no object, or without a type.
    #[error("a message must be one JSON object that says what it is")]
    NotAnEvent,
    /// A field that decides stands twice, or is of another kind than it must be.
    #[error("a field of the session that decides stands twice or cannot be read")]
    Ambiguous,
    /// The session was not set up, and this does not set it up.
    #[error("the first message must be `setup` and name the `model`")]
    NotSetUp,
    /// The session is set up again.
    #[error("a session is set up once, by its first message")]
    SetUpTwice,
}

/// What kind of event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The session is set up.
    Session,
    /// Sound goes on, or pictures.
    Sound,
    /// The sound so far is all that was to be heard.
    Commit,
    /// Something is put into the conversation.
    Item,
    /// An answer is asked for.
    Response,
    /// One that brings nothing that is read.
    Plain,
    /// One that is not known here.
    Unknown,
}

/// What is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The model of the session.
    Session,
    /// The model that writes down what is heard.
    Transcription,
    /// A session that the provider keeps and that goes on.
    Resumption,
}

/// Something that is named in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it is.
    pub names: Names,
    /// Its name.
    pub name: String,
    at: Range<usize>,
}

/// An event of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its kind.
    pub kind: Kind,
    /// Its id, if it has one.
    pub event_id: Option<String>,
    /// What it names, in the order of the places.
    pub named: Vec<Named>,
    /// A model is to write down what is heard, and is not named.
    pub nameless: bool,
    /// What it points to that only the provider can read, if anything.
    pub kept: Option<&'static str>,
    /// Whether it asks for an answer that reads something else than the conversation and becomes a part of it.
    pub apart: bool,
    /// Whether it says that the session is one in which the model answers.
    pub talks: bool,
    /// Whether all that it says is text.
    pub is_text: bool,
    /// The tokens that the model may have to read of it, at the most.
    pub tokens: u64,
}

impl Said {
    const fn of(kind: Kind) -> Self {
        Self {
            kind,
            event_id: None,
            named: Vec::new(),
            nameless: false,
            kept: None,
            apart: false,
            talks: false,
            is_text: true,
            tokens: 0,
        }
    }

    /// Takes a name from its place in the message.
    fn name(&mut self, text: &str, names: Names, value: Option<&RawValue>) -> Result<(), InvalidEvent> {
        if let Some(raw) = value {
            let name = string(raw).ok_or(InvalidEvent::Ambiguous)?;
            self.named.push(Named { names, name, at: place(text.as_bytes(), raw.get()) });
        }
        Ok(())
    }

    /// Puts names in order and counts the tokens: each byte that is no medium is one.
    fn counted(&mut self, text: &str, media: &Media) {
        self.named.sort_by_key(|named| named.at.start);
        self.is_text &= !media.unread && media.bytes == 0;
        self.tokens = (text.len() as u64).saturating_sub(media.bytes).saturating_add(media.tokens);
    }

    /// What it names as this.
    pub fn named_as(&self, names: Names) -> Option<&str> {
        self.named.iter().find(|named| named.names == names).map(|named| named.name.as_str())
    }

    /// The message with other names in place of those in it, in their order; as it is where they are the same. `text` must
    /// be the one that was read.
    pub fn renamed<'t>(&self, text: &'t str, names: &[Cow<'_, str>]) -> Cow<'t, str> {
        if self.named.iter().zip(names).all(|(named, name)| named.name == *name) {
            return Cow::Borrowed(text);
        }
        spliced(text, self.named.iter().map(|named| &named.at).zip(names.iter().map(|name| &**name)))
    }
}

/// An event of a provider that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// An answer has begun.
    Began {
        /// Its id.
        response: String,
    },
    /// An answer is over.
    Done {
        /// Its id.
        response: String,
        /// What it used, where that is told.
        used: Option<Used>,
        /// Whether it is a part of the conversation, which later answers read.
        in_conversation: bool,
        /// Whether the provider failed, and made nothing of it.
        failed: bool,
    },
    /// All sound of an utterance came, and it is to be written down where that was asked for.
    Heard {
        /// Its id.
        item: String,
    },
    /// What was heard is written down, or will not be.
    Transcribed {
        /// Which utterance.
        item: String,
        /// What that used, where it is told.
        used: Option<Used>,
        /// Whether the provider failed, and wrote nothing.
        failed: bool,
    },
    /// The provider refused something.
    Refused {
        /// The `event_id` of what was said, where it is told.
        about: Option<String>,
    },
    /// The session can go on later.
    Resumable(Handle),
}

/// What a session is known by at its provider, where it stands in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// As the provider says it.
    pub handle: String,
    at: Range<usize>,
}

impl Handle {
    /// The message with another handle. `text` must be the one that was read.
    pub fn replaced<'t>(&self, text: &'t str, by: &str) -> Cow<'t, str> {
        spliced(text, std::iter::once((&self.at, by)))
    }
}

/// A text of JSON with other strings in these places, one after the other.
fn spliced<'t, 'n>(text: &'t str, with: impl Iterator<Item = (&'n Range<usize>, &'n str)>) -> Cow<'t, str> {
    let (mut out, mut done) = (Vec::with_capacity(text.len() + 64), 0);
    for (at, by) in with {
        let Some(before) = text.as_bytes().get(done..at.start) else { return Cow::Borrowed(text) };
        out.extend_from_slice(before);
        write_json_string(&mut out, by);
        done = at.end;
    }
    out.extend_from_slice(text.as_bytes().get(done..).unwrap_or_default());
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

enum Unread {
    Json,
    Data,
}

/// Reads an object, and nothing that is none.
fn object<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, Unread> {
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(Unread::Json);
    }
    serde_json::from_str(text).map_err(|e| if e.is_data() { Unread::Data } else { Unread::Json })
}

fn string(raw: &RawValue) -> Option<String> {
    value(raw)
}

fn value<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// What is no text.
#[derive(Default)]
struct Media {
    /// Bytes of all of it in the message.
    bytes: u64,
    /// Tokens of it, at the most.
    tokens: u64,
    /// There is something that cannot be read.
    unread: bool,
}

impl Media {
    fn add(&mut self, raw: &RawValue, tokens: u64) {
        self.bytes += raw.get().len() as u64;
        self.tokens = self.tokens.saturating_add(tokens);
    }

    /// Sound in base64, of which a token has so many characters at least.
    fn sound(&mut self, raw: &RawValue, characters_of_token: u64) {
        self.unread |= !raw.get().starts_with('"');
        self.add(raw, (raw.get().len() as u64).div_ceil(characters_of_token));
    }
}
