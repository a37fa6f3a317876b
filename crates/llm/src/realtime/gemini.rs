//! Gemini's Live API: the first message sets the session up and names its model, each one after it brings content,
//! realtime input or what tools gave back. Messages are objects with one member that says what they are; callers may write
//! names of members in both of the ways that protocol buffers know, and send messages in frames of either kind.
//!
//! What was used is told once for each answer, calls of tools among them, and each time with all that the model read of the
//! conversation: every count is paid.
//!
//! Reference: <https://ai.google.dev/api/live>.

use super::{
    Handle, IMAGE_TOKENS, InvalidEvent, Kind, Media, Names, Protocol, Said, Told, Unread, object, string, value,
};
use crate::{
    openai::{request::place, usage::Tokens},
    task::{units::Units, usage::Used},
};
use credentialflow_model::{OutcomeReason, RequestId, usage::TokenUsage};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Characters of base64 for a token of plain sound at the least: 16 bits for each of 8,000 samples a second, and 32 tokens.
const CHARACTERS_OF_PCM: u64 = 666;
/// The same of sound, films and documents that may be compressed.
const CHARACTERS_OF_OTHERS: u64 = 16;
/// Samples a second below which sound is not taken for plain.
const LEAST_RATE: u64 = 8_000;
/// Tokens of a picture of a film at the most, as the finest resolution has.
const FRAME_TOKENS: u64 = 2_240;

/// The versions of the API in which it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `v1`
    Stable,
    /// `v1beta`
    Beta,
    /// `v1alpha`
    Alpha,
}

impl Version {
    /// Where a session is asked for, below the host.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Stable => "/ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent",
            Self::Beta => "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
            Self::Alpha => "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContent",
        }
    }

    /// The same as some of Google's SDKs ask for it, which put it behind an address that ends with a slash.
    pub const fn joined(self) -> &'static str {
        match self {
            Self::Stable => "//ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent",
            Self::Beta => "//ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
            Self::Alpha => "//ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContent",
        }
    }
}

/// What stands before that path, of a base address that ends with the version of the API.
pub fn below(base: &str) -> &str {
    ["/v1beta", "/v1alpha", "/v1"].iter().find_map(|version| base.strip_suffix(version)).unwrap_or(base)
}

/// A model without the folder in which models are named.
pub fn model(named: &str) -> &str {
    named.strip_prefix("models/").unwrap_or(named)
}

/// A session.
#[derive(Debug, Default)]
pub struct Live {
    set_up: bool,
    /// Answers so far.
    answers: u64,
    /// An answer that runs or whose count has not come.
    open: Option<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Runs,
    /// It is whole, and its count may follow.
    Whole,
}

/// What of a caller's message, or of an object within one, is read. All of them have these names in common: each means the
/// same wherever it stands, and no object has all of them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'t> {
    #[serde(borrow)]
    setup: Option<&'t RawValue>,
    #[serde(borrow, alias = "client_content")]
    client_content: Option<&'t RawValue>,
    #[serde(borrow, alias = "realtime_input")]
    realtime_input: Option<&'t RawValue>,
    #[serde(borrow, alias = "tool_response")]
    tool_response: Option<&'t RawValue>,
    #[serde(borrow)]
    model: Option<&'t RawValue>,
    #[serde(borrow, alias = "session_resumption")]
    session_resumption: Option<&'t RawValue>,
    #[serde(borrow)]
    handle: Option<&'t RawValue>,
    #[serde(borrow, alias = "cached_content")]
    cached_content: Option<&'t RawValue>,
    #[serde(borrow, alias = "system_instruction")]
    system_instruction: Option<&'t RawValue>,
    #[serde(borrow)]
    turns: Option<&'t RawValue>,
    #[serde(borrow, alias = "turn_complete")]
    turn_complete: Option<&'t RawValue>,
    #[serde(borrow)]
    parts: Option<&'t RawValue>,
    #[serde(borrow)]
    text: Option<&'t RawValue>,
    #[serde(borrow, alias = "inline_data")]
    inline_data: Option<&'t RawValue>,
    #[serde(borrow, alias = "file_data")]
    file_data: Option<&'t RawValue>,
    #[serde(borrow, alias = "function_response")]
    function_response: Option<&'t RawValue>,
    #[serde(borrow, alias = "function_responses")]
    function_responses: Option<&'t RawValue>,
    #[serde(borrow, alias = "mime_type")]
    mime_type: Option<&'t RawValue>,
    #[serde(borrow)]
    data: Option<&'t RawValue>,
    #[serde(borrow, alias = "media_chunks")]
    media_chunks: Option<&'t RawValue>,
    #[serde(borrow)]
    audio: Option<&'t RawValue>,
    #[serde(borrow)]
    video: Option<&'t RawValue>,
    #[serde(borrow, alias = "activity_end")]
    activity_end: Option<&'t RawValue>,
}

impl<'t> Fields<'t> {
    fn of(raw: Option<&'t RawValue>) -> Result<Self, InvalidEvent> {
        match raw {
            Some(raw) => object(raw.get()).map_err(|_| InvalidEvent::Ambiguous),
            None => Ok(Self::default()),
        }
    }
}

/// The members of an array, or an object by itself, which Google's servers take for an array of it; of anything else
/// nothing, and it cannot be read.
fn each<'t>(raw: Option<&'t RawValue>, media: &mut Media) -> Vec<&'t RawValue> {
    let Some(raw) = raw else { return Vec::new() };
    if raw.get().starts_with('{') {
        return vec![raw];
    }
    serde_json::from_str(raw.get()).unwrap_or_else(|_| {
        media.unread = true;
        Vec::new()
    })
}

fn is_true(raw: Option<&RawValue>) -> bool {
    raw.and_then(value::<bool>).unwrap_or(false)
}

/// What stands in the parts of contents.
#[derive(Default)]
struct Contents {
    media: Media,
    /// Something that only the provider can read.
    kept: Option<&'static str>,
}

impl Contents {
    fn content(&mut self, raw: &RawValue) {
        let Ok(content) = Fields::of(Some(raw)) else {
            // A text by itself, which some clients send, is one.
            self.media.unread |= !raw.get().starts_with('"');
            return;
        };
        for part in each(content.parts, &mut self.media) {
            self.part(part);
        }
    }

    fn part(&mut self, raw: &RawValue) {
        let Ok(part) = Fields::of(Some(raw)) else {
            self.media.unread = true;
            return;
        };
        if let Some(blob) = part.inline_data {
            self.blob(blob, IMAGE_TOKENS);
        }
        if part.file_data.is_some() {
            self.kept = Some("fileData");
        }
        if let Some(response) = part.function_response {
            self.content(response);
        }
    }

    /// A medium in base64; `picture`: tokens of one that is an image.
    fn blob(&mut self, raw: &RawValue, picture: u64) {
        let Ok(Fields { mime_type, data: Some(data), .. }) = Fields::of(Some(raw)) else {
            self.media.unread = true;
            return;
        };
        let kind = mime_type.and_then(string).unwrap_or_default().to_ascii_lowercase();
        if kind.starts_with("image/") {
            self.media.add(data, picture);
            return;
        }
        let rate = kind.split_once("rate=").map(|(_, rate)| rate.split(';').next().unwrap_or_default().trim().parse());
        let plain =
            kind.starts_with("audio/pcm") && !rate.is_some_and(|rate| rate.is_ok_and(|rate: u64| rate < LEAST_RATE));
        self.media.sound(data, if plain { CHARACTERS_OF_PCM } else { CHARACTERS_OF_OTHERS });
    }
}

impl Protocol for Live {
    fn said(&mut self, text: &str) -> Result<Said, InvalidEvent> {
        let message: Fields<'_> = object(text).map_err(|why| match why {
            Unread::Json => InvalidEvent::NotAnEvent,
            Unread::Data => InvalidEvent::Ambiguous,
        })?;
        let told = [message.setup, message.client_content, message.realtime_input, message.tool_response];
        if told.iter().flatten().count() > 1 {
            return Err(InvalidEvent::Ambiguous);
        }
        let mut contents = Contents::default();
        let said = match told {
            [Some(setup), ..] if !self.set_up => {
                let said = self::setup(text, setup, &mut contents)?;
                self.set_up = true;
                Ok(said)
            }
            [Some(_), ..] => Err(InvalidEvent::SetUpTwice),
            _ if !self.set_up => Err(InvalidEvent::NotSetUp),
            [_, Some(content), ..] => client_content(content, &mut contents),
            [_, _, Some(input), _] => realtime_input(input, &mut contents),
            [.., Some(response)] => {
                let response = Fields::of(Some(response))?;
                for one in each(response.function_responses, &mut contents.media) {
                    contents.content(one);
                }
                Ok(Said::of(Kind::Response))
            }
            [None, None, None, None] => Ok(Said { is_text: false, ..Said::of(Kind::Unknown) }),
        };
        let mut said = said?;
        said.kept = said.kept.or(contents.kept);
        if contents.media.unread && said.kind != Kind::Sound {
            // Who can read it may find anything there.
            said.kept = said.kept.or(Some("a part in a form that is not documented"));
        }
        let sound_alone = said.kind == Kind::Sound && !contents.media.unread && said.is_text;
        said.counted(text, &contents.media);
        if sound_alone {
            // Nothing of it is read beside the sound.
            said.tokens = contents.media.tokens;
        }
        said.is_text &= said.kind != Kind::Sound;
        Ok(said)
    }

    fn told(&mut self, text: &str) -> Vec<Told> {
        let Ok(message) = serde_json::from_str::<Message<'_>>(text) else { return Vec::new() };
        let content = message.server_content.and_then(value_of::<Content<'_>>).unwrap_or_default();
        let mut told = Vec::new();
        if content.model_turn.is_some() || content.output_transcription.is_some() || message.tool_call.is_some() {
            if self.open == Some(Answer::Whole) {
                // Nobody counted the one before.
                told.push(self.done(None));
            }
            if self.open.is_none() {
                self.answers += 1;
                self.open = Some(Answer::Runs);
                told.push(Told::Began { response: self.answers.to_string() });
            }
        }
        let used = message.usage_metadata.and_then(count);
        if used.is_some() {
            told.push(self.done(used));
        } else if self.open.is_some() && (is_true(content.turn_complete) || is_true(content.interrupted)) {
            self.open = Some(Answer::Whole);
        }
        let update = message.session_resumption_update.and_then(value_of::<Update<'_>>);
        if let Some(raw) = update.and_then(|update| update.new_handle)
            && let Some(handle) = string(raw).filter(|handle| !handle.is_empty())
        {
            told.push(Told::Resumable(Handle { handle, at: place(text.as_bytes(), raw.get()) }));
        }
        told
    }

    fn takes_binary(&self) -> bool {
        true
    }

    fn one_at_a_time(&self) -> bool {
        true
    }

    fn error(&self, _: OutcomeReason, _: RequestId, _: Option<&str>, _: Option<&str>) -> Option<String> {
        None
    }

    fn farewell(&self, reason: OutcomeReason, detail: Option<&str>) -> String {
        format!("{}: {}", reason.code(), detail.unwrap_or(reason.title()))
    }

    fn cancel(&self, _: &str) -> Option<String> {
        None
    }

    fn cancel_any(&self, _: &str) -> Option<String> {
        None
    }

    fn model_name(&self, provider_model: &str) -> String {
        let folder = if provider_model.contains('/') { "" } else { "models/" };
        format!("{folder}{provider_model}")
    }
}

impl Live {
    /// The answer that runs is over, or one that nobody saw begin.
    fn done(&mut self, used: Option<Used>) -> Told {
        let response = self.open.take().map_or_else(String::new, |_| self.answers.to_string());
        Told::Done { response, used, in_conversation: true, failed: false }
    }
}

fn setup(text: &str, raw: &RawValue, contents: &mut Contents) -> Result<Said, InvalidEvent> {
    let setup = Fields::of(Some(raw))?;
    let mut said = Said::of(Kind::Session);
    said.name(text, Names::Session, setup.model)?;
    if said.named.is_empty() {
        return Err(InvalidEvent::NotSetUp);
    }
    said.name(text, Names::Resumption, Fields::of(setup.session_resumption)?.handle)?;
    if let Some(instruction) = setup.system_instruction {
        contents.content(instruction);
    }
    said.kept = setup.cached_content.map(|_| "cachedContent");
    Ok(said)
}

fn client_content(raw: &RawValue, contents: &mut Contents) -> Result<Said, InvalidEvent> {
    let content = Fields::of(Some(raw))?;
    for turn in each(content.turns, &mut contents.media) {
        contents.content(turn);
    }
    let asks = is_true(content.turn_complete);
    Ok(Said::of(if asks { Kind::Response } else { Kind::Item }))
}

fn realtime_input(raw: &RawValue, contents: &mut Contents) -> Result<Said, InvalidEvent> {
    let input = Fields::of(Some(raw))?;
    let chunks = each(input.media_chunks, &mut contents.media);
    let streams = !chunks.is_empty() || input.audio.is_some() || input.video.is_some();
    for blob in chunks.into_iter().chain(input.audio).chain(input.video) {
        contents.blob(blob, FRAME_TOKENS);
    }
    let asks = input.text.is_some() || input.activity_end.is_some();
    let mut said = Said::of(match (streams, asks) {
        (true, _) => Kind::Sound,
        (false, true) => Kind::Response,
        (false, false) => Kind::Plain,
    });
    // Text beside sound is read as well.
    said.is_text = input.text.is_none() || !streams;
    Ok(said)
}

fn value_of<'t, T: Deserialize<'t>>(raw: &'t RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// A message of the provider.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'t> {
    #[serde(borrow, default)]
    server_content: Option<&'t RawValue>,
    #[serde(borrow, default)]
    tool_call: Option<&'t RawValue>,
    #[serde(borrow, default)]
    usage_metadata: Option<&'t RawValue>,
    #[serde(borrow, default)]
    session_resumption_update: Option<&'t RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content<'t> {
    #[serde(borrow, default)]
    model_turn: Option<&'t RawValue>,
    #[serde(borrow, default)]
    output_transcription: Option<&'t RawValue>,
    #[serde(borrow, default)]
    turn_complete: Option<&'t RawValue>,
    #[serde(borrow, default)]
    interrupted: Option<&'t RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update<'t> {
    #[serde(borrow, default)]
    new_handle: Option<&'t RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Usage<'t> {
    prompt_token_count: Tokens,
    cached_content_token_count: Tokens,
    tool_use_prompt_token_count: Tokens,
    response_token_count: Tokens,
    /// As it is called outside of sessions.
    candidates_token_count: Tokens,
    thoughts_token_count: Tokens,
    #[serde(borrow)]
    prompt_tokens_details: Option<&'t RawValue>,
    #[serde(borrow)]
    tool_use_prompt_tokens_details: Option<&'t RawValue>,
    #[serde(borrow)]
    cache_tokens_details: Option<&'t RawValue>,
    #[serde(borrow)]
    response_tokens_details: Option<&'t RawValue>,
}

/// Of the tokens of a count, those of one kind of content.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'t> {
    #[serde(borrow, default)]
    modality: Option<&'t RawValue>,
    #[serde(default)]
    token_count: Tokens,
}

/// What a count tells, made consistent: no part is larger than what it is part of.
fn count(raw: &RawValue) -> Option<Used> {
    let usage: Usage<'_> = value_of(raw)?;
    let written = usage.response_token_count.0.or(usage.candidates_token_count.0);
    if usage.prompt_token_count.0.is_none() && written.is_none() {
        return None;
    }
    let of = |tokens: Tokens| tokens.0.unwrap_or(0);
    let sum = |details: [Option<&RawValue>; 2], kinds: &[&str]| {
        let details = details.into_iter().flatten().filter_map(value_of::<Vec<Detail<'_>>>).flatten();
        let told =
            details.filter(|one| one.modality.and_then(string).is_some_and(|kind| kinds.contains(&kind.as_str())));
        told.fold(0u64, |sum, one| sum.saturating_add(of(one.token_count)))
    };
    let input = of(usage.prompt_token_count).saturating_add(of(usage.tool_use_prompt_token_count));
    let cached = of(usage.cached_content_token_count).min(input);
    let reasoning = of(usage.thoughts_token_count);
    let output = written.unwrap_or(0).saturating_add(reasoning);
    let read = [usage.prompt_tokens_details, usage.tool_use_prompt_tokens_details];
    let (sound, pictures) = (["AUDIO"].as_slice(), ["IMAGE", "VIDEO"].as_slice());
    let audio = sum(read, sound).min(input);
    let images = sum(read, pictures).min(input - audio);
    let cached_audio = sum([usage.cache_tokens_details, None], sound).min(audio).min(cached);
    let cached_images = sum([usage.cache_tokens_details, None], pictures).min(images).min(cached - cached_audio);
    let units = Units {
        audio_tokens: audio - cached_audio,
        image_tokens: images - cached_images,
        cached_audio_tokens: cached_audio,
        cached_image_tokens: cached_images,
        audio_output_tokens: sum([usage.response_tokens_details, None], sound).min(output),
        ..Units::default()
    };
    let tokens = TokenUsage { input, cached_input: cached, output, reasoning, ..TokenUsage::default() };
    Some(Used { tokens: Some(tokens), units, served: None })
}

#[cfg(test)]
#[path = "gemini_tests.rs"]
mod tests;
