//! A Converse answer as an answer: whole, or an error.
//!
//! Calls of tools that the provider runs itself and their results, traces and media are left out.

use super::{
    super::{
        answer::{Answer, Failure, MAX_BLOCKS, Piece, Stop},
        cite::{MAX_CITATIONS, characters},
        read::{Text, list, present},
        signature::Signer,
    },
    cite,
};
use crate::bedrock::usage;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Converse<'a> {
    #[serde(borrow)]
    output: Output<'a>,
    #[serde(borrow, default, rename = "stopReason")]
    reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default, rename = "toolUse")]
    call: Option<ToolUse<'a>>,
    #[serde(borrow, default, rename = "reasoningContent")]
    reasoning: Option<Reasoning<'a>>,
    #[serde(borrow, default, rename = "citationsContent")]
    cited: Option<Cited<'a>>,
}

#[derive(Deserialize)]
pub(super) struct ToolUse<'a> {
    #[serde(borrow, rename = "toolUseId")]
    pub id: Text<'a>,
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow, default)]
    pub input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    r#type: Option<Text<'a>>,
}

impl ToolUse<'_> {
    /// Whether the provider calls the tool itself.
    pub fn is_of_server(&self) -> bool {
        self.r#type.as_deref() == Some("server_tool_use")
    }
}

#[derive(Deserialize)]
struct Reasoning<'a> {
    #[serde(borrow, default, rename = "reasoningText")]
    text: Option<Thought<'a>>,
    #[serde(borrow, default, rename = "redactedContent")]
    redacted: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Thought<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
}

/// A text with where it was found.
#[derive(Deserialize)]
struct Cited<'a> {
    #[serde(borrow, default)]
    citations: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

/// A whole answer to a call of this model, which answers do not name. `None` when it is none.
pub(in crate::translate) fn answer<'a>(body: &'a [u8], id: &'a str, model: &'a str) -> Option<Answer<'a>> {
    let Converse { output, reason, usage } = serde_json::from_slice(body).ok()?;
    let blocks: Vec<Block<'_>> = list(output.message.content, "", MAX_BLOCKS, "").ok()?;
    let (mut pieces, mut citations) = (Vec::with_capacity(blocks.len()), Vec::new());
    let (mut words, mut last) = (0, 0..0);
    for block in blocks {
        match block {
            Block { text: Some(text), .. } => {
                if !text.is_empty() {
                    last = words..words + characters(&text);
                    words = last.end;
                }
                pieces.extend(some(text).map(Piece::Text));
            }
            Block { call: Some(call), .. } if !call.is_of_server() => {
                let input = present(call.input).map_or("{}", RawValue::get);
                if !input.starts_with('{') {
                    return None;
                }
                pieces.push(Piece::Call { id: call.id.0, name: call.name, input: Cow::Borrowed(input) });
            }
            Block { reasoning: Some(Reasoning { text, redacted }), .. } => {
                if let Some(Thought { text, signature }) = text {
                    pieces.extend(text.and_then(some).map(Piece::Thinking));
                    pieces
                        .extend(signature.and_then(some).map(|signature| Piece::Signed(Signer::Anthropic, signature)));
                }
                pieces.extend(redacted.and_then(some).map(Piece::Redacted));
            }
            Block { cited: Some(Cited { citations: told, content }), .. } => {
                let said: Vec<Said<'_>> = match present(content) {
                    Some(raw) => list(raw, "", MAX_BLOCKS, "").ok()?,
                    None => Vec::new(),
                };
                let begins = words;
                for text in said.into_iter().filter_map(|said| some(said.text?)) {
                    words += characters(&text);
                    pieces.push(Piece::Text(text));
                }
                // Amazon's models cite in blocks of their own, behind the text.
                if begins < words {
                    last = begins..words;
                }
                citations.extend(cite::citations(told, &last));
            }
            _ => {}
        }
    }
    let text = |text: &'a str| Text(Cow::Borrowed(text));
    let stop = stop(reason.as_deref())?;
    citations.truncate(MAX_CITATIONS);
    Some(Answer { citations, ..Answer::new(text(id), text(model), pieces, stop, usage.and_then(usage::of)) })
}

fn some(text: Text<'_>) -> Option<Text<'_>> {
    (!text.is_empty()).then_some(text)
}

/// Why a model stopped. `None` where it failed.
pub(super) fn stop(reason: Option<&str>) -> Option<Stop> {
    Some(match reason {
        Some("max_tokens" | "model_context_window_exceeded") => Stop::Limit,
        Some("tool_use") => Stop::Tools,
        Some("guardrail_intervened" | "content_filtered") => Stop::Refusal,
        Some("malformed_model_output" | "malformed_tool_use") => return None,
        _ => Stop::Done,
    })
}

#[derive(Default, Deserialize)]
struct ErrorBody<'a> {
    // The same in another spelling, as parts of AWS that stand before the service write it.
    #[serde(borrow, default, alias = "Message")]
    message: Option<Text<'a>>,
}

/// An error of the provider's, whatever it sent. `name` is what its header calls it.
pub(in crate::translate) fn error<'a>(name: Option<&'a str>, body: &'a [u8]) -> Failure<'a> {
    let ErrorBody { message } = serde_json::from_slice(body).unwrap_or_default();
    // Behind a colon may stand where the name is explained, before a hash sign whose it is.
    let name = name.and_then(|name| name.split(':').next()?.rsplit('#').next()).map(str::trim);
    let is_name = |name: &&str| !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric());
    let kind = name.filter(is_name).map(|name| Text(Cow::Borrowed(name)));
    Failure { kind, message, ..Failure::default() }
}
