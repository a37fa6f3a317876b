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
enum Shown<'a> {
    Text(String),
    Thinking { text: String, signature: &'a str },
    Redacted(&'a str),
    Call { id: &'a str, name: &'a str, input: &'a str },
}

/// The blocks of an answer: neighbours that are text are one block, and so is thinking up to its signature.
fn joined<'a>(pieces: &'a [Piece<'_>]) -> Vec<Shown<'a>> {
    let mut blocks: Vec<Shown<'a>> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (piece, blocks.last_mut()) {
            (Piece::Text(text), Some(Shown::Text(last)))
            | (Piece::Thinking(text), Some(Shown::Thinking { text: last, signature: "" })) => last.push_str(text),
            (Piece::Signed(signed), Some(Shown::Thinking { signature, .. })) if signature.is_empty() => {
                *signature = signed
            }
            (Piece::Text(text), _) => blocks.push(Shown::Text((**text).to_owned())),
            (Piece::Thinking(text), _) => blocks.push(Shown::Thinking { text: (**text).to_owned(), signature: "" }),
            (Piece::Signed(signature), _) => blocks.push(Shown::Thinking { text: String::new(), signature }),
            (Piece::Redacted(data), _) => blocks.push(Shown::Redacted(data)),
            (Piece::Call { id, name, input }, _) => blocks.push(Shown::Call { id, name, input }),
            // An answer with one is not written ([`Answer::fits`]).
            (Piece::Image { .. }, _) => {}
        }
    }
    blocks
}

fn block(out: &mut Vec<u8>, shown: &Shown<'_>) {
    let mut to = Object::new(out);
    match shown {
        Shown::Text(text) => {
            to.json("type", "\"text\"");
            to.text("text", text);
        }
        Shown::Thinking { text, signature } => {
            to.json("type", "\"thinking\"");
            to.text("thinking", text);
            // Empty where it is no thinking of Anthropic's.
            to.text("signature", signature);
        }
        Shown::Redacted(data) => {
            to.json("type", "\"redacted_thinking\"");
            to.text("data", data);
        }
        Shown::Call { id, name, input } => {
            to.json("type", "\"tool_use\"");
            to.text("id", id);
            to.text("name", name);
            to.json("input", input);
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
