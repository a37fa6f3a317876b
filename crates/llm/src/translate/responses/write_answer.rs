//! An answer as a response of OpenAI's.
//!
//! Thinking comes as the summary of a reasoning item, one for each time the model thought.

use super::{
    super::{
        answer::{Answer, Failure, Piece, Stop},
        cite::characters,
        write::Object,
    },
    write_item::{Item, Kind, REDACTED, Status},
};
use credentialflow_model::{Timestamp, usage::TokenUsage};
use std::sync::Arc;

/// What every response of a call has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Frame {
    pub created: Timestamp,
    /// Fields that repeat what the call says, their values as JSON.
    pub echo: Arc<[(&'static str, Box<str>)]>,
}

/// What an answer repeats of its call, where the call does not say it.
const DEFAULTS: &[(&str, &str)] = &[
    ("max_output_tokens", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("reasoning", "{\"effort\":null,\"summary\":null}"),
    ("temperature", "null"),
    ("text", "{\"format\":{\"type\":\"text\"}}"),
    ("tool_choice", "\"auto\""),
    ("top_p", "null"),
];

/// How far a response has come.
pub(super) enum Progress<'a> {
    Begun,
    Stopped { stop: Stop, usage: Option<&'a TokenUsage> },
    Failed(&'a Failure<'a>),
}

pub(in crate::translate) fn answer(answer: &Answer<'_>, frame: &Frame) -> Vec<u8> {
    let mut items: Vec<Item> = Vec::with_capacity(answer.pieces.len());
    let (mut tools, mut words) = (0, 0);
    for piece in &answer.pieces {
        let (kind, text) = match piece {
            Piece::Signed(..) | Piece::Redacted(_) => {
                encrypted(&mut items, piece);
                continue;
            }
            Piece::Image { media_type, data } => (Kind::Image(media_type.to_string()), &**data),
            Piece::Text(text) => (Kind::Message, &**text),
            Piece::Thinking(text) => (Kind::Reasoning, &**text),
            Piece::Call { id, name, input } => {
                tools += 1;
                (Kind::Call { tool: tools - 1, id: id.to_string(), name: name.to_string() }, &**input)
            }
        };
        let goes_on = items.last_mut().filter(|last| last.goes_on(&kind));
        match goes_on {
            Some(last) => last.text.push_str(text),
            None if text.is_empty() => {}
            None => items.push(Item { text: text.to_owned(), words: words..words, ..Item::new(kind) }),
        }
        if let (Piece::Text(text), Some(last)) = (piece, items.last_mut()) {
            words += characters(text);
            last.words.end = words;
        }
    }
    for cited in &answer.citations {
        let _ = items.iter_mut().find_map(|item| item.cite(cited));
    }
    // They are told of all that was said.
    if let Some(said) = items.iter_mut().find(|item| matches!(item.kind, Kind::Message)) {
        said.logprobs.add(&answer.logprobs);
    }
    let mut out = Vec::with_capacity(1024);
    let progress = Progress::Stopped { stop: answer.stop, usage: answer.usage.as_ref() };
    response(&mut out, frame, (&answer.id, &answer.model), &progress, &items);
    out
}

/// What only the model can read of its thinking: the signature of the item before, or an item of its own.
fn encrypted(items: &mut Vec<Item>, piece: &Piece<'_>) {
    let (begins, word, signs) = match piece {
        Piece::Signed(signer, signature) => (signer.mark(), signature, true),
        Piece::Redacted(data) => (REDACTED, data, false),
        _ => return,
    };
    let whole = Some(format!("{begins}{}", &**word));
    match items.last_mut() {
        Some(last) if signs && last.goes_on(&Kind::Reasoning) => last.encrypted = whole,
        _ => items.push(Item { encrypted: whole, ..Item::new(Kind::Reasoning) }),
    }
}

/// One response, as it stands whole and in the events of a stream.
pub(super) fn response(
    out: &mut Vec<u8>,
    frame: &Frame,
    (id, model): (&str, &str),
    progress: &Progress<'_>,
    items: &[Item],
) {
    let mut to = Object::new(out);
    to.text("id", id);
    to.json("object", "\"response\"");
    to.number("created_at", u64::try_from(frame.created.secs()).unwrap_or(0));
    let status = match progress {
        Progress::Begun => "\"in_progress\"",
        Progress::Stopped { stop: Stop::Limit | Stop::Refusal, .. } => "\"incomplete\"",
        Progress::Stopped { .. } => "\"completed\"",
        Progress::Failed(_) => "\"failed\"",
    };
    to.json("status", status);
    to.json("background", "false");
    match progress {
        Progress::Failed(failure) => {
            let mut error = to.object("error");
            error.text("code", failure.word().unwrap_or("server_error"));
            error.text("message", failure.message.as_deref().unwrap_or(Failure::UNUSABLE));
            error.end();
        }
        _ => to.json("error", "null"),
    }
    match progress {
        Progress::Stopped { stop: stop @ (Stop::Limit | Stop::Refusal), .. } => {
            let mut details = to.object("incomplete_details");
            details.text("reason", if *stop == Stop::Limit { "max_output_tokens" } else { "content_filter" });
            details.end();
        }
        _ => to.json("incomplete_details", "null"),
    }
    to.json("instructions", "null");
    to.text("model", model);
    let last = items.len().saturating_sub(1);
    to.array("output", items.iter().enumerate(), |out, (place, item)| {
        item.write(out, &item.id(id, place), status_of(progress, place == last));
    });
    to.json("previous_response_id", "null");
    to.json("store", "false");
    to.json("tools", "[]");
    for (name, default) in DEFAULTS {
        let echoed = frame.echo.iter().find(|(echoed, _)| echoed == name);
        to.json(name, echoed.map_or(*default, |(_, json)| json));
    }
    match progress {
        Progress::Stopped { usage: Some(told), .. } => usage(&mut to, told),
        _ => to.json("usage", "null"),
    }
    to.end();
}

/// What becomes of an item: the last one of an answer that was cut short is not complete.
pub(super) const fn status_of(progress: &Progress<'_>, is_last: bool) -> Status {
    match progress {
        Progress::Stopped { stop: Stop::Limit | Stop::Refusal, .. } if is_last => Status::Incomplete,
        Progress::Failed(_) if is_last => Status::Incomplete,
        _ => Status::Completed,
    }
}

fn usage(response: &mut Object<'_>, told: &TokenUsage) {
    let TokenUsage { input, cached_input, cache_write, output, reasoning, .. } = *told;
    let mut usage = response.object("usage");
    usage.number("input_tokens", input);
    let mut details = usage.object("input_tokens_details");
    details.number("cached_tokens", cached_input);
    details.number("cache_write_tokens", cache_write);
    details.end();
    usage.number("output_tokens", output);
    let mut details = usage.object("output_tokens_details");
    details.number("reasoning_tokens", reasoning);
    details.end();
    usage.number("total_tokens", input.saturating_add(output));
    usage.end();
}
