//! A Gemini answer as an answer: whole, or an error.
//!
//! Every candidate but the first, citations, grounding, ratings, log probabilities, signatures of thinking and code that
//! was run are left out. Media that are no images make it no answer, as without them it might be an empty one.

use super::super::{
    answer::{Answer, Failure, MAX_BLOCKS, Piece, Stop},
    read::{Text, list, present},
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
    Image { media_type: Cow<'a, str>, data: Cow<'a, str> },
    Call { id: Option<Text<'a>>, name: Text<'a>, input: &'a str },
}

/// A whole answer. `None` when it is none.
pub(in crate::translate) fn answer(body: &[u8]) -> Option<Answer<'_>> {
    let generated: Generated<'_> = serde_json::from_slice(body).ok()?;
    let blocked = generated.is_blocked();
    let id = generated.id.unwrap_or_default();
    let (mut pieces, mut calls, mut reason) = (Vec::new(), 0, None);
    match first(generated.candidates)? {
        None if !blocked => return None,
        None => {}
        Some(candidate) => {
            reason = candidate.reason;
            for spoken in spoken(candidate)? {
                pieces.push(match spoken {
                    Spoken::Text(text) => Piece::Text(text),
                    Spoken::Thinking(text) => Piece::Thinking(text),
                    Spoken::Image { media_type, data } => Piece::Image { media_type, data },
                    Spoken::Call { id: own, name, input } => {
                        let id = own.map_or_else(|| Cow::Owned(nameless(&id, calls)), |own| own.0);
                        calls += 1;
                        Piece::Call { id, name, input: Cow::Borrowed(input) }
                    }
                });
            }
        }
    }
    let mut count = Count::NONE;
    if let Some(raw) = generated.usage {
        count.take(raw);
    }
    let stop = if blocked { Stop::Refusal } else { stop(reason, calls > 0)? };
    Some(Answer { id, model: generated.model.unwrap_or_default(), pieces, stop, usage: count.usage() })
}

/// The candidate that counts, if there is any; `None` when that cannot be told.
pub(super) fn first(candidates: Option<&RawValue>) -> Option<Option<Candidate<'_>>> {
    let Some(raw) = present(candidates) else { return Some(None) };
    let candidates: Vec<Candidate<'_>> = list(raw, "", MAX_BLOCKS, "").ok()?;
    Some(candidates.into_iter().find(|candidate| candidate.index.unwrap_or(0) == 0))
}

/// What a candidate says; nothing that is empty. `None` when that cannot be told.
pub(super) fn spoken(candidate: Candidate<'_>) -> Option<Vec<Spoken<'_>>> {
    let Some(raw) = present(candidate.content.and_then(|content| content.parts)) else { return Some(Vec::new()) };
    let parts: Vec<Part<'_>> = list(raw, "", MAX_BLOCKS, "").ok()?;
    let mut spoken = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Part { call: Some(FunctionCall { name, args, id }), .. } => {
                let input = present(args).map_or("{}", RawValue::get);
                if !input.starts_with('{') {
                    return None;
                }
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
            Part { text: Some(text), thought, .. } if !text.is_empty() => spoken.push(match thought {
                Some(true) => Spoken::Thinking(text),
                _ => Spoken::Text(text),
            }),
            _ => {}
        }
    }
    Some(spoken)
}

/// The id of a call that has none, as nobody could answer the call without. Made of the answer's, so that it is another
/// in each turn.
pub(super) fn nameless(answer: &str, tool: u64) -> String {
    let kept = answer.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    format!("call_{}_{tool}", kept.collect::<String>())
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
    Failure { kind: status, status: code, message }
}
