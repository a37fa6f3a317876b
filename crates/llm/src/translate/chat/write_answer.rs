//! An answer as a chat completion: whole, or an error.
//!
//! The id, the model's name and the bytes of a tool's input are the provider's. Thinking comes as
//! `reasoning_content`, as other providers of Chat Completions send it.

use super::{
    super::{
        answer::{Answer, Failure, Other, Piece, Sound, Stop},
        cite::Citation,
        logprobs::{Elements, Token},
        signature::Signer,
        write::{Object, array},
    },
    cite::annotation,
    write_call::data_url,
};
use crate::openai::{error::kind, request::write_json_string};
use credentialflow_model::{Timestamp, usage::TokenUsage};
use std::{borrow::Cow, io::Write as _};

pub(in crate::translate) fn answer(answer: &Answer<'_>, created: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    head(&mut out, &answer.id, &answer.model, "chat.completion", created);
    out.push(b'[');
    choice(&mut out, 0, (&answer.pieces, &answer.citations), answer.stop, &answer.logprobs);
    for Other { index, pieces, stop, logprobs, citations } in &answer.others {
        out.push(b',');
        choice(&mut out, *index, (pieces, citations), *stop, logprobs);
    }
    out.push(b']');
    if let Some(told) = &answer.usage {
        out.extend_from_slice(b",\"usage\":");
        usage(&mut out, told, answer.sound);
    }
    out.push(b'}');
    out
}

/// A choice of these pieces and citations.
fn choice(
    out: &mut Vec<u8>,
    index: u64,
    (pieces, citations): (&[Piece<'_>], &[Citation<'_>]),
    stop: Stop,
    logprobs: &[Token<'_>],
) {
    let (mut text, mut thinking) = (String::new(), String::new());
    let (mut calls, mut images, mut thoughts) = (Vec::new(), Vec::new(), Vec::new());
    // What was thought since the last signature.
    let mut unsigned = String::new();
    // How a model of Google's signed what it said, and the call that follows.
    let (mut signed, mut of_call) = (None, None);
    for piece in pieces {
        match piece {
            Piece::Text(more) => text.push_str(more),
            Piece::Thinking(more) => {
                thinking.push_str(more);
                unsigned.push_str(more);
            }
            Piece::Signed(signer @ (Signer::Anthropic | Signer::OpenAi), signature) => {
                thoughts.push(Thought::Signed(std::mem::take(&mut unsigned), signer.in_messages(signature)));
            }
            Piece::Signed(Signer::Google, signature) => signed = Some(&**signature),
            Piece::Signed(Signer::GoogleCall, signature) => of_call = Some(&**signature),
            Piece::Redacted(data) => thoughts.push(Thought::Redacted(data)),
            Piece::Image { media_type, data } => images.push((&**media_type, &**data)),
            Piece::Call { id, name, input } => calls.push((id, name, input, of_call.take())),
        }
    }
    let _ = write!(out, "{{\"index\":{index},\"message\":{{\"role\":\"assistant\",\"content\":");
    if text.is_empty() && !calls.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        write_json_string(out, &text);
    }
    out.extend_from_slice(b",\"refusal\":null");
    let mut cited = citations.iter().filter(|cited| cited.url().is_some()).peekable();
    if cited.peek().is_some() {
        out.extend_from_slice(b",\"annotations\":");
        array(out, cited, |out, one| annotation(out, None, one));
    }
    if !thinking.is_empty() {
        out.extend_from_slice(b",\"reasoning_content\":");
        write_json_string(out, &thinking);
    }
    if !thoughts.is_empty() {
        out.extend_from_slice(b",\"thinking_blocks\":");
        array(out, &thoughts, |out, one| thought(out, None, one));
    }
    if !images.is_empty() {
        out.extend_from_slice(b",\"images\":");
        array(out, images.iter().enumerate(), |out, (i, one)| image(out, i as u64, *one));
    }
    if let Some(signature) = signed {
        out.extend_from_slice(b",\"extra_content\":");
        extra_content(out, signature);
    }
    for (i, (id, name, input, signature)) in calls.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b",\"tool_calls\":[".as_slice() } else { b"," });
        out.extend_from_slice(b"{\"id\":");
        write_json_string(out, id);
        out.extend_from_slice(b",\"type\":\"function\",\"function\":{\"name\":");
        write_json_string(out, name);
        out.extend_from_slice(b",\"arguments\":");
        write_json_string(out, input);
        out.push(b'}');
        if let Some(signature) = signature {
            out.extend_from_slice(b",\"extra_content\":");
            extra_content(out, signature);
        }
        out.push(b'}');
    }
    if !calls.is_empty() {
        out.push(b']');
    }
    out.extend_from_slice(b"},\"logprobs\":");
    let mut elements = Elements::new();
    elements.add(logprobs);
    elements.of_choice(out);
    out.extend_from_slice(b",\"finish_reason\":");
    write_json_string(out, finish_reason(stop));
    out.push(b'}');
}

/// Thinking that is signed, as it may be sent back.
pub(super) enum Thought<'a> {
    Signed(String, Cow<'a, str>),
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

/// The value of `extra_content`: the signature of a model of Google's, as Google's own Chat Completions API has it.
pub(super) fn extra_content(out: &mut Vec<u8>, signature: &str) {
    out.extend_from_slice(b"{\"google\":{\"thought_signature\":");
    write_json_string(out, signature);
    out.extend_from_slice(b"}}");
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

pub(super) fn usage(out: &mut Vec<u8>, usage: &TokenUsage, sound: Sound) {
    let TokenUsage { input, cached_input, cache_write, output, reasoning, .. } = usage;
    let total = input.saturating_add(*output);
    let audio = |tokens: u64| match tokens {
        0 => String::new(),
        tokens => format!(",\"audio_tokens\":{tokens}"),
    };
    let (heard, spoken) = (audio(sound.heard), audio(sound.spoken));
    let _ = write!(
        out,
        "{{\"prompt_tokens\":{input},\"completion_tokens\":{output},\"total_tokens\":{total},\
         \"prompt_tokens_details\":{{\"cached_tokens\":{cached_input},\"cache_write_tokens\":{cache_write}{heard}}},\
         \"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning}{spoken}}}}}"
    );
}

/// An error with this status.
pub(in crate::translate) fn error(out: &mut Vec<u8>, status: u16, failure: &Failure<'_>) {
    let kind = match failure.kind.as_deref().or(failure.code.as_deref()) {
        Some(
            told @ ("invalid_request_error"
            | "authentication_error"
            | "permission_error"
            | "not_found_error"
            | "rate_limit_error"),
        ) => told,
        Some("request_too_large") => "invalid_request_error",
        // Others' words follow the status.
        _ => kind(status),
    };
    out.extend_from_slice(b"{\"error\":{\"message\":");
    write_json_string(out, failure.message.as_deref().unwrap_or(Failure::UNUSABLE));
    out.extend_from_slice(b",\"type\":");
    write_json_string(out, kind);
    out.extend_from_slice(b",\"param\":null,\"code\":");
    match failure.word() {
        Some(told) => write_json_string(out, told),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}}");
}
