//! An answer as a message of Anthropic's: whole, or an error.

use super::super::{
    answer::{Answer, Failure, Piece, Stop},
    write::Object,
};
use crate::anthropic::error::kind;
use credentialflow_model::usage::TokenUsage;

pub(in crate::translate) fn answer(answer: &Answer<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut message = Object::new(&mut out);
    head(&mut message, &answer.id, &answer.model);
    message.array("content", joined(&answer.pieces), |out, piece| block(out, &piece));
    message.text("stop_reason", stop_reason(answer.stop));
    message.json("stop_sequence", "null");
    usage(&mut message, answer.usage.unwrap_or_default(), true);
    message.end();
    out
}

/// A piece of a message, as its block.
struct Shown<'a> {
    kind: &'static str,
    text: String,
    call: Option<(&'a str, &'a str, &'a str)>,
}

/// The blocks of an answer: neighbours that are text are one block, and so is thinking.
fn joined<'a>(pieces: &'a [Piece<'_>]) -> Vec<Shown<'a>> {
    let mut blocks: Vec<Shown<'a>> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let (kind, text) = match piece {
            Piece::Text(text) => ("text", text),
            Piece::Thinking(text) => ("thinking", text),
            Piece::Call { id, name, input } => {
                blocks.push(Shown { kind: "tool_use", text: String::new(), call: Some((id, name, input)) });
                continue;
            }
        };
        match blocks.last_mut() {
            Some(last) if last.kind == kind => last.text.push_str(text),
            _ => blocks.push(Shown { kind, text: (**text).to_owned(), call: None }),
        }
    }
    blocks
}

fn block(out: &mut Vec<u8>, shown: &Shown<'_>) {
    let mut to = Object::new(out);
    to.text("type", shown.kind);
    match shown.call {
        Some((id, name, input)) => {
            to.text("id", id);
            to.text("name", name);
            to.json("input", input);
        }
        None => {
            to.text(shown.kind, &shown.text);
            if shown.kind == "thinking" {
                // Only Anthropic signs thinking.
                to.text("signature", "");
            }
        }
    }
    to.end();
}

/// What a message begins with.
pub(super) fn head(message: &mut Object<'_>, id: &str, model: &str) {
    message.text("id", id);
    message.json("type", "\"message\"");
    message.json("role", "\"assistant\"");
    message.text("model", model);
}

/// Why a model stopped, in the words of the Messages API.
pub(super) const fn stop_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::Done => "end_turn",
        Stop::Limit => "max_tokens",
        Stop::Tools => "tool_use",
        Stop::Refusal => "refusal",
    }
}

/// Tokens, what was read from and into the cache apart. `all`: not only those of the output.
pub(super) fn usage(message: &mut Object<'_>, told: TokenUsage, all: bool) {
    let mut to = message.object("usage");
    if all {
        to.number("input_tokens", told.input.saturating_sub(told.cached_input).saturating_sub(told.cache_write));
        to.number("cache_creation_input_tokens", told.cache_write);
        to.number("cache_read_input_tokens", told.cached_input);
    }
    to.number("output_tokens", told.output);
    to.end();
}

/// An error with this status.
pub(in crate::translate) fn error(out: &mut Vec<u8>, status: u16, failure: &Failure<'_>) {
    let mut body = Object::new(out);
    body.json("type", "\"error\"");
    let mut error = body.object("error");
    error.text("type", kind(status));
    error.text("message", failure.message.as_deref().unwrap_or(Failure::UNUSABLE));
    if let Some(told) = &failure.kind {
        error.text("code", told);
    }
    error.end();
    body.end();
}
