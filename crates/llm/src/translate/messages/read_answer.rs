//! A message of Anthropic's as an answer: whole, or an error.

use super::{
    super::{
        answer::{Answer, Failure, MAX_BLOCKS, Piece, Stop},
        cite::{MAX_CITATIONS, characters},
        read::{Text, list},
        signature::Signer,
    },
    cite,
};
use crate::anthropic::usage::Count;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow)]
    pub r#type: Text<'a>,
    #[serde(borrow, default)]
    pub text: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub data: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub citations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: FailureBody<'a>,
}

#[derive(Deserialize)]
pub(super) struct FailureBody<'a> {
    #[serde(borrow, default)]
    r#type: Option<Text<'a>>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
}

impl<'a> From<FailureBody<'a>> for Failure<'a> {
    fn from(body: FailureBody<'a>) -> Self {
        Self { kind: body.r#type, message: body.message, ..Self::default() }
    }
}

/// A whole answer. `None` when it is not a message.
pub(in crate::translate) fn answer(body: &[u8]) -> Option<Answer<'_>> {
    let message: Message<'_> = serde_json::from_slice(body).ok()?;
    let content: Vec<Block<'_>> = list(message.content, "", MAX_BLOCKS, "").ok()?;
    let (mut pieces, mut citations, mut words) = (Vec::with_capacity(content.len()), Vec::new(), 0);
    for block in content {
        match &*block.r#type {
            "text" => {
                let text = block.text?;
                let span = words..words + characters(&text);
                words = span.end;
                citations.extend(cite::citations(block.citations, &span));
                pieces.push(Piece::Text(text));
            }
            "thinking" => {
                pieces.push(Piece::Thinking(block.thinking?));
                let signature = block.signature.filter(|signature| !signature.is_empty());
                pieces.extend(signature.map(|signature| Piece::Signed(Signer::Anthropic, signature)));
            }
            "redacted_thinking" => pieces.extend(block.data.map(Piece::Redacted)),
            "tool_use" => {
                let input = Cow::Borrowed(block.input?.get());
                pieces.push(Piece::Call { id: block.id?.0, name: block.name?, input });
            }
            _ => {}
        }
    }
    let mut count = Count::NONE;
    if let Some(raw) = message.usage {
        count.take(raw);
    }
    let stop = stop(message.stop_reason.as_deref());
    citations.truncate(MAX_CITATIONS);
    let model = message.model.unwrap_or_default();
    Some(Answer { citations, ..Answer::new(message.id, model, pieces, stop, count.usage()) })
}

/// An error of the provider's, whatever it sent.
pub(in crate::translate) fn error(body: &[u8]) -> Failure<'_> {
    serde_json::from_slice::<Body<'_>>(body).map_or_else(|_| Failure::default(), |body| body.error.into())
}

pub(super) fn stop(reason: Option<&str>) -> Stop {
    match reason {
        Some("max_tokens" | "model_context_window_exceeded") => Stop::Limit,
        Some("tool_use") => Stop::Tools,
        Some("refusal") => Stop::Refusal,
        _ => Stop::Done,
    }
}
