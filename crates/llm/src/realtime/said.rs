//! What a caller says in a session: one event in one message.
//!
//! Read are the kind of the event, the models that it names, how much the model may have to read of it, and whether it is
//! all text. What decides may stand only once; the rest passes untouched.

use crate::openai::request::{place, write_json_string};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::{borrow::Cow, ops::Range};

/// Characters of base64 for a token of sound at the least: eight bits for each of 8,000 samples a second, and 16 tokens.
const CHARACTERS_OF_TOKEN: u64 = 666;
/// Tokens of an image at the most.
const IMAGE_TOKENS: u64 = 16_384;

/// Why a message is no event. The texts are safe to show: they hold nothing from the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvent {
    /// Not JSON, no object, or without a type.
    #[error("a message must be one JSON object with a `type`")]
    NotAnEvent,
    /// A field that decides stands twice, or is of another kind than it must be.
    #[error("a field of the session that decides about models stands twice or cannot be read")]
    Ambiguous,
}

/// What kind of event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The session is set up.
    Session,
    /// Sound goes on.
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

/// Where a model is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The model of the session.
    Session,
    /// The one that writes down what is heard.
    Transcription,
}

/// A model that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// For what.
    pub names: Names,
    /// Its name.
    pub model: String,
    at: Range<usize>,
}

/// An event of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its kind.
    pub kind: Kind,
    /// Its id, if it has one.
    pub event_id: Option<String>,
    /// The models that it names, in the order of their places.
    pub named: Vec<Named>,
    /// A model is to write down what is heard, and is not named.
    pub nameless: bool,
    /// What it points to that only the provider can read, if anything.
    pub kept: Option<&'static str>,
    /// Whether it asks for an answer that reads something else than the conversation and becomes a part of it.
    pub apart: bool,
    /// Whether all that it says is text.
    pub is_text: bool,
    /// The tokens that the model may have to read of it, at the most.
    pub tokens: u64,
}

impl Said {
    /// Reads a message.
    ///
    /// # Errors
    /// [`InvalidEvent`]
    pub fn read(text: &str) -> Result<Self, InvalidEvent> {
        let event: Event<'_> = object(text).map_err(|why| match why {
            Unread::Json => InvalidEvent::NotAnEvent,
            Unread::Data => InvalidEvent::Ambiguous,
        })?;
        let kind = event.kind.ok_or(InvalidEvent::NotAnEvent)?;
        let kind = match string(kind).ok_or(InvalidEvent::NotAnEvent)?.as_str() {
            "session.update" | "transcription_session.update" => Kind::Session,
            "input_audio_buffer.append" => Kind::Sound,
            "conversation.item.create" => Kind::Item,
            "response.create" => Kind::Response,
            "input_audio_buffer.commit" => Kind::Commit,
            "input_audio_buffer.clear"
            | "output_audio_buffer.clear"
            | "conversation.item.delete"
            | "conversation.item.retrieve"
            | "conversation.item.truncate"
            | "response.cancel" => Kind::Plain,
            _ => Kind::Unknown,
        };
        let mut said = Self {
            kind,
            event_id: event.event_id.and_then(string).filter(|id| id.len() <= 512),
            named: Vec::new(),
            nameless: false,
            kept: None,
            apart: false,
            is_text: !matches!(kind, Kind::Sound | Kind::Unknown),
            tokens: 0,
        };
        said.name(text, Names::Session, event.model)?;
        let mut media = Media::default();
        if let Some(audio) = event.audio {
            media.sound(audio);
        }
        if let Some(item) = event.item {
            media.item(item);
        }
        if let Some(session) = event.session {
            said.settings(text, session)?;
        }
        if let Some(response) = event.response {
            let input = said.settings(text, response)?;
            match input.map(|input| serde_json::from_str::<Vec<&RawValue>>(input.get())) {
                Some(Ok(items)) => items.into_iter().for_each(|item| media.item(item)),
                Some(Err(_)) => media.unread = true,
                None => {}
            }
        }
        said.is_text &= !media.unread && media.bytes == 0 && media.images == 0;
        said.named.sort_by_key(|named| named.at.start);
        let rest = (text.len() as u64).saturating_sub(media.bytes);
        said.tokens = rest
            .saturating_add(media.sounds.div_ceil(CHARACTERS_OF_TOKEN))
            .saturating_add(media.images.saturating_mul(IMAGE_TOKENS));
        if kind == Kind::Sound && !media.unread {
            // Nothing of it is read beside the sound.
            said.tokens = media.sounds.div_ceil(CHARACTERS_OF_TOKEN);
        }
        Ok(said)
    }

    /// Reads the settings of a session or of an answer; what an answer is to be made of, if it is told.
    fn settings<'t>(&mut self, text: &str, settings: &'t RawValue) -> Result<Option<&'t RawValue>, InvalidEvent> {
        let ambiguous = |_| InvalidEvent::Ambiguous;
        let settings: Settings<'_> = object(settings.get()).map_err(ambiguous)?;
        self.name(text, Names::Session, settings.model)?;
        if settings.prompt.is_some() {
            self.kept = Some("prompt");
        }
        let sound: Sound<'_> = match settings.audio {
            Some(audio) => object(audio.get()).map_err(ambiguous)?,
            None => Sound::default(),
        };
        let heard: Heard<'_> = match sound.input {
            Some(input) => object(input.get()).map_err(ambiguous)?,
            None => Heard::default(),
        };
        for transcription in [heard.transcription, settings.input_audio_transcription].into_iter().flatten() {
            let transcription: Transcription<'_> = object(transcription.get()).map_err(ambiguous)?;
            self.nameless |= transcription.model.is_none();
            self.name(text, Names::Transcription, transcription.model)?;
        }
        let beside = settings.conversation.and_then(string).is_some_and(|conversation| conversation == "none");
        self.apart |= settings.input.is_some() && !beside;
        Ok(settings.input)
    }

    fn name(&mut self, text: &str, names: Names, model: Option<&RawValue>) -> Result<(), InvalidEvent> {
        if let Some(raw) = model {
            let model = string(raw).ok_or(InvalidEvent::Ambiguous)?;
            self.named.push(Named { names, model, at: place(text.as_bytes(), raw.get()) });
        }
        Ok(())
    }

    /// The message with other models in place of those that it names, in their order; as it is where they are the same.
    /// `text` must be the one that was read.
    pub fn renamed<'t>(&self, text: &'t str, models: &[Cow<'_, str>]) -> Cow<'t, str> {
        if self.named.iter().zip(models).all(|(named, model)| named.model == *model) {
            return Cow::Borrowed(text);
        }
        let (mut out, mut done) = (Vec::with_capacity(text.len() + 64), 0);
        for (named, model) in self.named.iter().zip(models) {
            out.extend_from_slice(&text.as_bytes()[done..named.at.start]);
            write_json_string(&mut out, model);
            done = named.at.end;
        }
        out.extend_from_slice(&text.as_bytes()[done..]);
        String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
    }
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
    /// Of all of it.
    bytes: u64,
    /// Of sound.
    sounds: u64,
    images: u64,
    /// There is something that cannot be read.
    unread: bool,
}

impl Media {
    fn sound(&mut self, raw: &RawValue) {
        self.bytes += raw.get().len() as u64;
        self.sounds += raw.get().len() as u64;
        self.unread |= !raw.get().starts_with('"');
    }

    fn item(&mut self, item: &RawValue) {
        let Ok(item) = object::<Item<'_>>(item.get()) else {
            self.unread = true;
            return;
        };
        let Some(content) = item.content else { return };
        match serde_json::from_str::<Vec<&RawValue>>(content.get()) {
            Ok(parts) => parts.into_iter().for_each(|part| self.part(part)),
            Err(_) => self.unread = true,
        }
    }

    fn part(&mut self, part: &RawValue) {
        let Ok(part) = object::<Part<'_>>(part.get()) else {
            self.unread = true;
            return;
        };
        if let Some(audio) = part.audio {
            self.sound(audio);
        }
        if let Some(image) = part.image_url {
            self.bytes += image.get().len() as u64;
            self.images += 1;
        }
        let kind = part.kind.and_then(string);
        // What is no text is looked at by nobody, whatever it is.
        self.unread |=
            !matches!(kind.as_deref(), Some("input_text" | "text" | "output_text" | "input_audio" | "input_image"));
    }
}

#[derive(Deserialize)]
struct Event<'t> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'t RawValue>,
    #[serde(borrow)]
    event_id: Option<&'t RawValue>,
    #[serde(borrow)]
    model: Option<&'t RawValue>,
    #[serde(borrow)]
    session: Option<&'t RawValue>,
    #[serde(borrow)]
    response: Option<&'t RawValue>,
    #[serde(borrow)]
    item: Option<&'t RawValue>,
    #[serde(borrow)]
    audio: Option<&'t RawValue>,
}

/// Of a session, or of one answer.
#[derive(Deserialize)]
struct Settings<'t> {
    #[serde(borrow)]
    model: Option<&'t RawValue>,
    #[serde(borrow)]
    prompt: Option<&'t RawValue>,
    #[serde(borrow)]
    audio: Option<&'t RawValue>,
    #[serde(borrow)]
    input_audio_transcription: Option<&'t RawValue>,
    #[serde(borrow)]
    input: Option<&'t RawValue>,
    #[serde(borrow)]
    conversation: Option<&'t RawValue>,
}

#[derive(Default, Deserialize)]
struct Sound<'t> {
    #[serde(borrow)]
    input: Option<&'t RawValue>,
}

#[derive(Default, Deserialize)]
struct Heard<'t> {
    #[serde(borrow)]
    transcription: Option<&'t RawValue>,
}

#[derive(Deserialize)]
struct Transcription<'t> {
    #[serde(borrow)]
    model: Option<&'t RawValue>,
}

#[derive(Deserialize)]
struct Item<'t> {
    #[serde(borrow)]
    content: Option<&'t RawValue>,
}

#[derive(Deserialize)]
struct Part<'t> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'t RawValue>,
    #[serde(borrow)]
    audio: Option<&'t RawValue>,
    #[serde(borrow)]
    image_url: Option<&'t RawValue>,
}

#[cfg(test)]
#[path = "said_tests.rs"]
mod tests;
