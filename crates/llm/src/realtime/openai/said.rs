//! What a caller says in a session of OpenAI's: one event in one message.
//!
//! Read are the kind of the event, the models that it names, how much the model may have to read of it, and whether it is
//! all text. What decides may stand only once; the rest passes untouched.

use super::super::{IMAGE_TOKENS, InvalidEvent, Kind, Media, Names, Said, Unread, object, string};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Characters of base64 for a token of sound at the least: eight bits for each of 8,000 samples a second, and 16 tokens.
const CHARACTERS_OF_TOKEN: u64 = 666;

/// What of an event, or of an object within one, is read. All of them have these names in common: each means the same
/// wherever it stands, and no object has all of them.
#[derive(Default, Deserialize)]
struct Fields<'t> {
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
    content: Option<&'t RawValue>,
    /// Settings of sound, or sound.
    #[serde(borrow)]
    audio: Option<&'t RawValue>,
    #[serde(borrow)]
    image_url: Option<&'t RawValue>,
    /// What is heard, or what an answer is to be made of.
    #[serde(borrow)]
    input: Option<&'t RawValue>,
    #[serde(borrow)]
    transcription: Option<&'t RawValue>,
    #[serde(borrow)]
    input_audio_transcription: Option<&'t RawValue>,
    #[serde(borrow)]
    prompt: Option<&'t RawValue>,
    #[serde(borrow)]
    conversation: Option<&'t RawValue>,
}

/// Reads a message.
pub(super) fn read(text: &str) -> Result<Said, InvalidEvent> {
    let event: Fields<'_> = object(text).map_err(|why| match why {
        Unread::Json => InvalidEvent::NotAnEvent,
        Unread::Data => InvalidEvent::Ambiguous,
    })?;
    let kind = event.kind.and_then(string).ok_or(InvalidEvent::NotAnEvent)?;
    let kind = match kind.as_str() {
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
    let mut said = Said::of(kind);
    said.event_id = event.event_id.and_then(string).filter(|id| id.len() <= 512);
    said.is_text = !matches!(kind, Kind::Sound | Kind::Unknown);
    said.name(text, Names::Session, event.model)?;
    let mut media = Media::default();
    if let Some(audio) = event.audio {
        media.sound(audio, CHARACTERS_OF_TOKEN);
    }
    if let Some(one) = event.item {
        item(&mut media, one);
    }
    if let Some(session) = event.session {
        settings(&mut said, text, session)?;
    }
    if let Some(response) = event.response {
        let input = settings(&mut said, text, response)?;
        match input.map(|input| serde_json::from_str::<Vec<&RawValue>>(input.get())) {
            Some(Ok(items)) => items.into_iter().for_each(|one| item(&mut media, one)),
            Some(Err(_)) => media.unread = true,
            None => {}
        }
    }
    said.counted(text, &media);
    if kind == Kind::Sound && !media.unread {
        // Nothing of it is read beside the sound.
        said.tokens = media.tokens;
    }
    Ok(said)
}

/// Reads the settings of a session or of an answer; what an answer is to be made of, if it is told.
fn settings<'t>(said: &mut Said, text: &str, settings: &'t RawValue) -> Result<Option<&'t RawValue>, InvalidEvent> {
    let read = |raw: Option<&'t RawValue>| match raw {
        Some(raw) => object::<Fields<'t>>(raw.get()).map_err(|_| InvalidEvent::Ambiguous),
        None => Ok(Fields::default()),
    };
    let settings = read(Some(settings))?;
    said.name(text, Names::Session, settings.model)?;
    said.talks |= settings.kind.and_then(string).is_some_and(|kind| kind == "realtime");
    if settings.prompt.is_some() {
        said.kept = Some("prompt");
    }
    let heard = read(read(settings.audio)?.input)?;
    for transcription in [heard.transcription, settings.input_audio_transcription].into_iter().flatten() {
        let transcription = read(Some(transcription))?;
        said.nameless |= transcription.model.is_none();
        said.name(text, Names::Transcription, transcription.model)?;
    }
    let beside = settings.conversation.and_then(string).is_some_and(|conversation| conversation == "none");
    said.apart |= settings.input.is_some() && !beside;
    Ok(settings.input)
}

fn item(media: &mut Media, item: &RawValue) {
    let Ok(item) = object::<Fields<'_>>(item.get()) else {
        media.unread = true;
        return;
    };
    let Some(content) = item.content else { return };
    match serde_json::from_str::<Vec<&RawValue>>(content.get()) {
        Ok(parts) => parts.into_iter().for_each(|one| part(media, one)),
        Err(_) => media.unread = true,
    }
}

fn part(media: &mut Media, part: &RawValue) {
    let Ok(part) = object::<Fields<'_>>(part.get()) else {
        media.unread = true;
        return;
    };
    if let Some(audio) = part.audio {
        media.sound(audio, CHARACTERS_OF_TOKEN);
    }
    if let Some(image) = part.image_url {
        media.add(image, IMAGE_TOKENS);
    }
    let kind = part.kind.and_then(string);
    // What is no text is looked at by nobody, whatever it is.
    media.unread |=
        !matches!(kind.as_deref(), Some("input_text" | "text" | "output_text" | "input_audio" | "input_image"));
}

#[cfg(test)]
#[path = "said_tests.rs"]
mod tests;
