//! A Gemini answer as an answer: whole, or an error.
//!
//! Ratings and code that was run are left out. Media that are no images make it no answer, as without them it might be an
//! empty one.

use super::{
    super::{
        answer::{Answer, Failure, MAX_BLOCKS, Other, Piece, Sound, Stop},
        chat::read_answer::nameless,
        logprobs::{self, Token},
        read::{Text, list, present},
        signature::Signer,
    },
    cite::Grounding,
};
use crate::gemini::usage::Count;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// An answer, or a part of one.
#[derive(Deserialize)]
pub(super) struct Generated<'a> {
    #[serde(borrow, default)]
    pub candidates: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "promptFeedback")]
    pub feedback: Option<Feedback<'a>>,
    #[serde(borrow, default, rename = "usageMetadata")]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "modelVersion")]
    pub model: Option<Text<'a>>,
    #[serde(borrow, default, rename = "responseId")]
    pub id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Feedback<'a> {
    #[serde(borrow, default, rename = "blockReason")]
    pub reason: Option<&'a RawValue>,
}

impl Generated<'_> {
    /// Whether the prompt was refused.
    pub fn is_blocked(&self) -> bool {
        self.feedback.as_ref().is_some_and(|feedback| present(feedback.reason).is_some())
    }
}

#[derive(Deserialize)]
pub(super) struct Candidate<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
    #[serde(borrow, default, rename = "finishReason")]
    pub reason: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "groundingMetadata")]
    pub grounding: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "logprobsResult")]
    logprobs: Option<&'a RawValue>,
}

impl<'a> Candidate<'a> {
    pub fn logprobs(&self) -> Vec<Token<'a>> {
        logprobs::of_candidate(self.logprobs)
    }
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    parts: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(default)]
    thought: Option<bool>,
    #[serde(borrow, default, rename = "functionCall")]
    call: Option<FunctionCall<'a>>,
    #[serde(borrow, default, rename = "inlineData")]
    inline: Option<Blob<'a>>,
    #[serde(borrow, default, rename = "thoughtSignature")]
    signature: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Blob<'a> {
    #[serde(borrow, rename = "mimeType")]
    media_type: Text<'a>,
    #[serde(borrow)]
    data: Text<'a>,
}

#[derive(Deserialize)]
struct FunctionCall<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
}

/// What a part says.
pub(super) enum Spoken<'a> {
    Text(Text<'a>),
    Thinking(Text<'a>),
    Signed(Signer, Text<'a>),
    Image { media_type: Cow<'a, str>, data: Cow<'a, str> },
    Call { id: Option<Text<'a>>, name: Text<'a>, input: &'a str },
}

/// A whole answer. `None` when it is none.
pub(in crate::translate) fn answer(body: &[u8]) -> Option<Answer<'_>> {
    let generated: Generated<'_> = serde_json::from_slice(body).ok()?;
    let blocked = generated.is_blocked();
    let id = generated.id.unwrap_or_default();
    let (mut first, mut others) = (None, Vec::new());
    for candidate in candidates(generated.candidates)? {
        match candidate.index.unwrap_or(0) {
            0 if first.is_some() => {}
            0 => first = Some(said(candidate, 0, &id, blocked)?),
            index => others.push(said(candidate, index, &id, blocked)?),
        }
    }
    let none = Other { index: 0, pieces: Vec::new(), stop: Stop::Refusal, logprobs: Vec::new(), citations: Vec::new() };
    let Other { pieces, stop, logprobs, citations, .. } = first.or(blocked.then_some(none))?;
    let mut count = Count::NONE;
    if let Some(raw) = generated.usage {
        count.take(raw);
    }
    let (model, used) = (generated.model.unwrap_or_default(), count.used());
    let (usage, sound) = (used.and_then(|used| used.tokens), Sound::of(used.as_ref()));
    Some(Answer { id, model, pieces, stop, logprobs, citations, usage, sound, others })
}

/// What one candidate says, of an answer of this id.
fn said<'a>(candidate: Candidate<'a>, index: u64, answer: &str, blocked: bool) -> Option<Other<'a>> {
    let (reason, logprobs) = (candidate.reason, candidate.logprobs());
    let mut grounding = Grounding::default();
    grounding.take(candidate.grounding);
    let (mut pieces, mut calls) = (Vec::new(), 0);
    for spoken in spoken(candidate)? {
        pieces.push(match spoken {
            Spoken::Text(text) => {
                grounding.next_text();
                grounding.say(&text);
                Piece::Text(text)
            }
            Spoken::Thinking(text) => Piece::Thinking(text),
            Spoken::Signed(signer, signature) => Piece::Signed(signer, signature),
            Spoken::Image { media_type, data } => Piece::Image { media_type, data },
            Spoken::Call { id: own, name, input } => {
                let id = own.map_or_else(|| Cow::Owned(nameless(answer, index, calls)), |own| own.0);
                calls += 1;
                Piece::Call { id, name, input: Cow::Borrowed(input) }
            }
        });
    }
    let stop = if blocked { Stop::Refusal } else { stop(reason, calls > 0)? };
    Some(Other { index, pieces, stop, logprobs, citations: grounding.finish() })
}

/// The candidate of this number, if there is any; `None` when that cannot be told.
pub(super) fn of_index(candidates: Option<&RawValue>, index: u64) -> Option<Option<Candidate<'_>>> {
    Some(self::candidates(candidates)?.into_iter().find(|candidate| candidate.index.unwrap_or(0) == index))
}

fn candidates(raw: Option<&RawValue>) -> Option<Vec<Candidate<'_>>> {
    match present(raw) {
        Some(raw) => list(raw, "", MAX_BLOCKS, "").ok(),
        None => Some(Vec::new()),
    }
}

/// What a candidate says; nothing that is empty. `None` when that cannot be told.
pub(super) fn spoken(candidate: Candidate<'_>) -> Option<Vec<Spoken<'_>>> {
    let Some(raw) = present(candidate.content.and_then(|content| content.parts)) else { return Some(Vec::new()) };
    let parts: Vec<Part<'_>> = list(raw, "", MAX_BLOCKS, "").ok()?;
    let mut spoken = Vec::with_capacity(parts.len());
    for mut part in parts {
        let signature = part.signature.take().filter(|signature| !signature.is_empty());
        match part {
            Part { call: Some(FunctionCall { name, args, id }), .. } => {
                let input = present(args).map_or("{}", RawValue::get);
                if !input.starts_with('{') {
                    return None;
                }
                spoken.extend(signature.map(|signature| Spoken::Signed(Signer::GoogleCall, signature)));
                spoken.push(Spoken::Call { id: id.filter(|id| !id.is_empty()), name, input });
            }
            // A draft of an image that follows.
            Part { inline: Some(_), thought: Some(true), .. } => {}
            Part { inline: Some(Blob { media_type, data }), .. } if !data.is_empty() => {
                let is_type = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b';'));
                if !media_type.starts_with("image/") || !is_type(&media_type) {
                    return None;
                }
                spoken.push(Spoken::Image { media_type: media_type.0, data: data.0 });
            }
            Part { text: Some(text), thought, .. } => {
                if !text.is_empty() {
                    spoken.push(if thought == Some(true) { Spoken::Thinking(text) } else { Spoken::Text(text) });
                }
                spoken.extend(signature.map(|signature| Spoken::Signed(Signer::Google, signature)));
            }
            _ => {}
        }
    }
    Some(spoken)
}

/// Why a model stopped. `None` where it failed.
pub(super) fn stop(reason: Option<&RawValue>, called: bool) -> Option<Stop> {
    let reason = reason.and_then(|raw| serde_json::from_str::<Text<'_>>(raw.get()).ok());
    Some(match reason.as_deref() {
        Some("MAX_TOKENS") => Stop::Limit,
        Some(
            "SAFETY"
            | "RECITATION"
            | "LANGUAGE"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION"
            | "MODEL_ARMOR",
        ) => Stop::Refusal,
        Some(
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MISSING_THOUGHT_SIGNATURE"
            | "MALFORMED_RESPONSE",
        ) => return None,
        _ if called => Stop::Tools,
        _ => Stop::Done,
    })
}

#[derive(Deserialize)]
struct ErrorBody<'a> {
    #[serde(borrow)]
    error: &'a RawValue,
}

#[derive(Deserialize)]
struct ErrorObject<'a> {
    #[serde(default)]
    code: Option<u16>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
    #[serde(borrow, default)]
    status: Option<Text<'a>>,
}

/// An error of the provider's, whatever it sent: an object, or an array of one where a stream was asked for.
pub(in crate::translate) fn error(body: &[u8]) -> Failure<'_> {
    let body = body.trim_ascii();
    let inner = body.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(body);
    serde_json::from_slice::<ErrorBody<'_>>(inner).map_or_else(|_| Failure::default(), |body| failure(body.error))
}

/// The value of `error`.
pub(super) fn failure(raw: &RawValue) -> Failure<'_> {
    let Ok(ErrorObject { code, message, status }) = serde_json::from_str(raw.get()) else { return Failure::default() };
    Failure { kind: status, status: code, message, ..Failure::default() }
}
