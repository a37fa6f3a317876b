//! An answer as a message of Anthropic's: whole, or an error.

use super::{
    super::{
        answer::{Answer, Failure, Piece, Stop},
        cite::{Citation, characters},
        write::{Object, array},
    },
    cite::{self, Cut, cut},
};
use crate::anthropic::error::kind;
use credentialflow_model::usage::TokenUsage;
use std::borrow::Cow;

pub(in crate::translate) fn answer(answer: &Answer<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut message = Object::new(&mut out);
    head(&mut message, &answer.id, &answer.model);
    content(message.member("content"), &joined(&answer.pieces), &answer.citations);
    message.text("stop_reason", stop_reason(answer.stop));
    message.json("stop_sequence", "null");
    usage(&mut message, answer.usage.unwrap_or_default(), true);
    message.end();
    out
}

/// A piece of a message, as its block.
enum Shown<'a> {
    Text(String),
    Thinking { text: String, signature: Cow<'a, str> },
    Redacted(&'a str),
    Call { id: &'a str, name: &'a str, input: &'a str },
}

/// The blocks of an answer: neighbours that are text are one block, and so is thinking up to its signature.
fn joined<'a>(pieces: &'a [Piece<'_>]) -> Vec<Shown<'a>> {
    let mut blocks: Vec<Shown<'a>> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (piece, blocks.last_mut()) {
            (Piece::Text(text), Some(Shown::Text(last))) => last.push_str(text),
            (Piece::Thinking(text), Some(Shown::Thinking { text: last, signature })) if signature.is_empty() => {
                last.push_str(text);
            }
            (Piece::Signed(signer, signed), Some(Shown::Thinking { signature, .. })) if signature.is_empty() => {
                *signature = signer.in_messages(signed);
            }
            (Piece::Text(text), _) => blocks.push(Shown::Text((**text).to_owned())),
            (Piece::Thinking(text), _) => {
                blocks.push(Shown::Thinking { text: (**text).to_owned(), signature: Cow::Borrowed("") });
            }
            (Piece::Signed(signer, signature), _) => {
                blocks.push(Shown::Thinking { text: String::new(), signature: signer.in_messages(signature) });
            }
            (Piece::Redacted(data), _) => blocks.push(Shown::Redacted(data)),
            (Piece::Call { id, name, input }, _) => blocks.push(Shown::Call { id, name, input }),
            // An answer with one is not written ([`Answer::fits`]).
            (Piece::Image { .. }, _) => {}
        }
    }
    blocks
}

/// Writes the blocks; a text in several, where some of it is cited.
fn content(out: &mut Vec<u8>, blocks: &[Shown<'_>], citations: &[Citation<'_>]) {
    let mut words = 0;
    let written = blocks.iter().flat_map(|shown| match shown {
        Shown::Text(text) if !citations.is_empty() => {
            let before = words;
            words += characters(text);
            cut(text, before, citations).into_iter().map(Written::Cut).collect()
        }
        _ => vec![Written::Whole(shown)],
    });
    array(out, written, |out, written| match written {
        Written::Whole(shown) => block(out, shown),
        Written::Cut(Cut { text, cited }) => {
            let mut to = Object::new(out);
            to.json("type", "\"text\"");
            to.text("text", text);
            if !cited.is_empty() {
                to.array("citations", cited, cite::write);
            }
            to.end();
        }
    });
}

enum Written<'b> {
    Whole(&'b Shown<'b>),
    Cut(Cut<'b, 'b>),
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
            // Empty where nobody signed it.
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
    if let Some(told) = failure.word() {
        error.text("code", told);
    }
    error.end();
    body.end();
}
