//! A response of OpenAI's as an answer: whole, or an error.
//!
//! Summaries of reasoning are its thinking; where a model shows the reasoning itself and no summary, that is. The
//! items of the provider's own tools are left out.

use super::{
    super::{
        answer::{Answer, Failure, MAX_BLOCKS, Piece, Stop},
        chat::read_answer::{failure, input},
        cite::{MAX_CITATIONS, characters, in_order},
        logprobs,
        read::{Text, list, present},
        signature::{Signer, placed},
    },
    cite,
};
use crate::openai::responses::usage::count;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

pub(super) const FUNCTION_CALL: &str = "function_call";
const REASONING: &str = "reasoning";

/// What stands between two parts of a summary.
pub(super) const BETWEEN: &str = "\n\n";

#[derive(Deserialize)]
pub(super) struct Response<'a> {
    #[serde(borrow, default)]
    pub id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub model: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub status: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub incomplete_details: Option<Incomplete<'a>>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Incomplete<'a> {
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Item<'a> {
    #[serde(borrow)]
    pub r#type: Text<'a>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    summary: Option<&'a RawValue>,
    // What these are depends on the type.
    #[serde(borrow, default)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    encrypted_content: Option<&'a RawValue>,
}

/// A call of a function.
pub(super) struct FunctionCall<'a> {
    pub id: Text<'a>,
    pub name: Text<'a>,
    pub arguments: Option<Text<'a>>,
}

impl<'a> Item<'a> {
    /// It as the call of a function; `None` when it is none, or not a right one.
    pub fn function_call(&self) -> Option<FunctionCall<'a>> {
        let text = |raw: Option<&'a RawValue>| serde_json::from_str::<Text<'a>>(raw?.get()).ok();
        if &*self.r#type != FUNCTION_CALL {
            return None;
        }
        let arguments = match present(self.arguments) {
            Some(raw) => Some(text(Some(raw))?),
            None => None,
        };
        Some(FunctionCall { id: text(self.call_id)?, name: text(self.name)?, arguments })
    }

    /// What only the model that thought can read of it, where that was asked for: of the target at this place.
    pub fn encrypted(&self, place: u64) -> Option<String> {
        let told: Text<'a> = serde_json::from_str(self.encrypted_content?.get()).ok()?;
        (&*self.r#type == REASONING && !told.is_empty()).then(|| placed(place, &told))
    }
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
}

/// A whole answer of the target at this place. `None` when it is no response, or none that is over.
pub(in crate::translate) fn answer(body: &[u8], place: u64) -> Option<Answer<'_>> {
    let response: Response<'_> = serde_json::from_slice(body).ok()?;
    let items: Vec<Item<'_>> = list(response.output?, "", MAX_BLOCKS, "").ok()?;
    let (mut pieces, mut refused, mut called) = (Vec::new(), false, false);
    let (mut logprobs, mut citations, mut words) = (Vec::new(), Vec::new(), 0);
    let mut room = MAX_BLOCKS;
    for item in items {
        match &*item.r#type {
            "message" => {
                for part in parts(item.content, &mut room)? {
                    logprobs.append(&mut logprobs::of_list(part.logprobs));
                    match (&*part.r#type, part.text, part.refusal) {
                        ("output_text", Some(text), _) if !text.is_empty() => {
                            citations.append(&mut cite::annotations(part.annotations, words));
                            words += characters(&text);
                            pieces.push(Piece::Text(text));
                        }
                        ("refusal", _, Some(text)) => {
                            refused = true;
                            words += characters(&text);
                            pieces.push(Piece::Text(text));
                        }
                        _ => {}
                    }
                }
            }
            REASONING => {
                let mut thought = texts(item.summary, &mut room)?;
                if thought.is_empty() {
                    thought = texts(item.content, &mut room)?;
                }
                for (i, text) in thought.into_iter().enumerate() {
                    if i > 0 {
                        pieces.push(Piece::Thinking(Text(Cow::Borrowed(BETWEEN))));
                    }
                    pieces.push(Piece::Thinking(text));
                }
                pieces.extend(item.encrypted(place).map(|told| Piece::Signed(Signer::OpenAi, Text(Cow::Owned(told)))));
            }
            FUNCTION_CALL => {
                called = true;
                let FunctionCall { id, name, arguments } = item.function_call()?;
                pieces.push(Piece::Call { id: id.0, name, input: input(arguments)? });
            }
            _ => {}
        }
    }
    let stop = stop(response.status.as_deref(), response.incomplete_details.as_ref(), called, refused)?;
    let usage = present(response.usage).and_then(count);
    let (id, model) = (response.id.unwrap_or_default(), response.model.unwrap_or_default());
    citations.truncate(MAX_CITATIONS);
    Some(Answer { logprobs, citations: in_order(citations), ..Answer::new(id, model, pieces, stop, usage) })
}

/// The parts of an item for which there is still so much room in the answer.
fn parts<'a>(raw: Option<&'a RawValue>, room: &mut usize) -> Option<Vec<Part<'a>>> {
    let Some(raw) = present(raw) else { return Some(Vec::new()) };
    let parts: Vec<Part<'a>> = list(raw, "", *room, "").ok()?;
    *room -= parts.len();
    Some(parts)
}

fn texts<'a>(raw: Option<&'a RawValue>, room: &mut usize) -> Option<Vec<Text<'a>>> {
    let texts = parts(raw, room)?.into_iter().filter_map(|part| part.text);
    Some(texts.filter(|text| !text.is_empty()).collect())
}

/// Why a model stopped. `None` where it failed, or has not stopped.
pub(super) fn stop(
    status: Option<&str>,
    incomplete: Option<&Incomplete<'_>>,
    called: bool,
    refused: bool,
) -> Option<Stop> {
    let reason = incomplete.and_then(|details| details.reason.as_deref());
    Some(match (status, reason) {
        (Some("failed" | "cancelled" | "queued" | "in_progress"), _) => return None,
        (Some("incomplete"), Some("content_filter")) => Stop::Refusal,
        (Some("incomplete"), _) => Stop::Limit,
        _ if refused => Stop::Refusal,
        _ if called => Stop::Tools,
        _ => Stop::Done,
    })
}

/// What a response or an event says of its error.
pub(super) fn told(raw: Option<&RawValue>) -> Failure<'_> {
    present(raw).map(failure).unwrap_or_default()
}
