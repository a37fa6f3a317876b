//! An answer as a chat completion: whole, or an error.
//!
//! The id, the model's name and the bytes of a tool's input are the provider's. Thinking comes as
//! `reasoning_content`, as other providers of Chat Completions send it.

use super::{
    super::{
        answer::{Answer, Failure, Piece, Stop},
        write::{Object, array},
    },
    write_call::data_url,
};
use crate::openai::{error::kind, request::write_json_string};
use credentialflow_model::{Timestamp, usage::TokenUsage};
use std::io::Write as _;

pub(in crate::translate) fn answer(answer: &Answer<'_>, created: Timestamp) -> Vec<u8> {
    let (mut text, mut thinking) = (String::new(), String::new());
    let (mut calls, mut images, mut thoughts) = (Vec::new(), Vec::new(), Vec::new());
    // What was thought since the last signature.
    let mut unsigned = String::new();
    for piece in &answer.pieces {
        match piece {
            Piece::Text(more) => text.push_str(more),
            Piece::Thinking(more) => {
                thinking.push_str(more);
                unsigned.push_str(more);
            }
            Piece::Signed(signature) => thoughts.push(Thought::Signed(std::mem::take(&mut unsigned), signature)),
            Piece::Redacted(data) => thoughts.push(Thought::Redacted(data)),
            Piece::Image { media_type, data } => images.push((&**media_type, &**data)),
            Piece::Call { id, name, input } => calls.push((id, name, input)),
        }
    }
    let mut out = Vec::with_capacity(text.len() + thinking.len() + 512);
    head(&mut out, &answer.id, &answer.model, "chat.completion", created);
    out.extend_from_slice(b"[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    if text.is_empty() && !calls.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        write_json_string(&mut out, &text);
    }
    out.extend_from_slice(b",\"refusal\":null");
    if !thinking.is_empty() {
        out.extend_from_slice(b",\"reasoning_content\":");
        write_json_string(&mut out, &thinking);
    }
    if !thoughts.is_empty() {
        out.extend_from_slice(b",\"thinking_blocks\":");
        array(&mut out, &thoughts, |out, one| thought(out, None, one));
    }
    if !images.is_empty() {
        out.extend_from_slice(b",\"images\":");
        array(&mut out, images.iter().enumerate(), |out, (i, one)| image(out, i as u64, *one));
    }
    for (i, (id, name, input)) in calls.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b",\"tool_calls\":[".as_slice() } else { b"," });
        out.extend_from_slice(b"{\"id\":");
        write_json_string(&mut out, id);
        out.extend_from_slice(b",\"type\":\"function\",\"function\":{\"name\":");
        write_json_string(&mut out, name);
        out.extend_from_slice(b",\"arguments\":");
        write_json_string(&mut out, input);
        out.extend_from_slice(b"}}");
    }
    if !calls.is_empty() {
        out.push(b']');
    }
    out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":");
    write_json_string(&mut out, finish_reason(answer.stop));
    out.extend_from_slice(b"}]");
    if let Some(told) = &answer.usage {
        out.extend_from_slice(b",\"usage\":");
        usage(&mut out, told);
    }
    out.push(b'}');
    out
}

/// Thinking that is signed, as it may be sent back.
pub(super) enum Thought<'a> {
    Signed(String, &'a str),
    Redacted(&'a str),
}

/// One of `thinking_blocks`, the form that LiteLLM gave it. In streams it has an index, by which OpenAI's SDKs join lists.
pub(super) fn thought(out: &mut Vec<u8>, index: Option<u64>, thought: &Thought<'_>) {
    let mut to = Object::new(out);
    if let Some(index) = index {
        to.number("index", index);
    }
    match thought {
        Thought::Signed(text, signature) => {
            to.json("type", "\"thinking\"");
            to.text("thinking", text);
            to.text("signature", signature);
        }
        Thought::Redacted(data) => {
            to.json("type", "\"redacted_thinking\"");
            to.text("data", data);
        }
    }
    to.end();
}

/// One of `images`, the form that OpenRouter gave it.
pub(super) fn image(out: &mut Vec<u8>, index: u64, (media_type, data): (&str, &str)) {
    let mut to = Object::new(out);
    to.json("type", "\"image_url\"");
    to.number("index", index);
    let mut url = to.object("image_url");
    data_url(url.member("url"), media_type, data);
    url.end();
    to.end();
}

/// Up to the value of `choices`.
pub(super) fn head(out: &mut Vec<u8>, id: &str, model: &str, object: &str, created: Timestamp) {
    out.extend_from_slice(b"{\"id\":");
    write_json_string(out, id);
    let _ = write!(out, ",\"object\":\"{object}\",\"created\":{},\"model\":", created.secs());
    write_json_string(out, model);
    out.extend_from_slice(b",\"choices\":");
}

/// Why a model stopped, in the words of Chat Completions.
pub(super) const fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::Done => "stop",
        Stop::Limit => "length",
        Stop::Tools => "tool_calls",
        Stop::Refusal => "content_filter",
    }
}

pub(super) fn usage(out: &mut Vec<u8>, usage: &TokenUsage) {
    let TokenUsage { input, cached_input, cache_write, output, reasoning, .. } = usage;
    let total = input.saturating_add(*output);
    let _ = write!(
        out,
        "{{\"prompt_tokens\":{input},\"completion_tokens\":{output},\"total_tokens\":{total},\
         \"prompt_tokens_details\":{{\"cached_tokens\":{cached_input},\"cache_write_tokens\":{cache_write}}},\
         \"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning}}}}}"
    );
}

/// An error with this status.
pub(in crate::translate) fn error(out: &mut Vec<u8>, status: u16, failure: &Failure<'_>) {
    let told = failure.kind.as_deref();
    let kind = match told {
        Some(
            told @ ("invalid_request_error"
            | "authentication_error"
            | "permission_error"
            | "not_found_error"
            | "rate_limit_error"),
        ) => told,
        Some("request_too_large") => "invalid_request_error",
        // Google's words and AWS's follow the status.
        Some(told) if told.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') || told.ends_with("Exception") => {
            kind(status)
        }
        Some(_) => "server_error",
        None => kind(status),
    };
    out.extend_from_slice(b"{\"error\":{\"message\":");
    write_json_string(out, failure.message.as_deref().unwrap_or(Failure::UNUSABLE));
    out.extend_from_slice(b",\"type\":");
    write_json_string(out, kind);
    out.extend_from_slice(b",\"param\":null,\"code\":");
    match told {
        Some(told) => write_json_string(out, told),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}}");
}
