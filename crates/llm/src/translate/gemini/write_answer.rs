//! An answer as a Gemini answer: whole, or an error.

use super::{
    super::{
        answer::{Answer, Failure, Other, Piece, Sound, Stop},
        logprobs::Candidates,
        signature::{Signer, redacted_in_gemini},
        write::{Object, array},
    },
    cite,
};
use crate::gemini::error;
use credentialflow_model::usage::TokenUsage;

pub(in crate::translate) fn answer(answer: &Answer<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut to = Object::new(&mut out);
    let first = (0, &answer.pieces, answer.stop, &answer.logprobs, &answer.citations);
    let others = answer
        .others
        .iter()
        .map(|Other { index, pieces, stop, logprobs, citations }| (*index, pieces, *stop, logprobs, citations));
    to.array("candidates", [first].into_iter().chain(others), |out, (index, pieces, stop, tokens, citations)| {
        let mut logprobs = Candidates::new();
        logprobs.add(tokens);
        let shown = joined(pieces);
        let texts = shown.iter().enumerate().filter_map(|(index, (shown, _))| match shown {
            Shown::Text(text) => Some(cite::Part { text, index: Some(index as u64) }),
            _ => None,
        });
        let texts: Vec<cite::Part<'_>> = texts.collect();
        let parts =
            |out: &mut Vec<u8>| array(out, &shown, |out, (shown, signature)| part(out, shown, signature.as_deref()));
        candidate(out, (index, Some(finish_reason(stop))), &logprobs, parts, |candidate| {
            cite::metadata(candidate, &texts, citations);
        });
    });
    tail(&mut to, (answer.usage.as_ref(), answer.sound), &answer.model, &answer.id);
    to.end();
    out
}

/// A part of an answer, as it is written.
pub(super) enum Shown<'a> {
    Text(String),
    Thinking(String),
    Image { media_type: &'a str, data: &'a str },
    Call { id: &'a str, name: &'a str, input: &'a str },
}

/// The parts of an answer, each with its signature: neighbours that are text are one part, and so is thinking.
fn joined<'a>(pieces: &'a [Piece<'_>]) -> Vec<(Shown<'a>, Option<String>)> {
    let mut parts: Vec<(Shown<'a>, Option<String>)> = Vec::with_capacity(pieces.len());
    let mut of_call = None;
    for piece in pieces {
        match (piece, parts.last_mut()) {
            (Piece::Text(text), Some((Shown::Text(last), None)))
            | (Piece::Thinking(text), Some((Shown::Thinking(last), None))) => last.push_str(text),
            (Piece::Text(text), _) => parts.push((Shown::Text((**text).to_owned()), None)),
            (Piece::Thinking(text), _) => parts.push((Shown::Thinking((**text).to_owned()), None)),
            (Piece::Image { media_type, data }, _) => parts.push((Shown::Image { media_type, data }, None)),
            (Piece::Signed(Signer::GoogleCall, signature), _) => of_call = Some((**signature).to_owned()),
            (Piece::Signed(Signer::Google, signature), Some((Shown::Text(_) | Shown::Thinking(_), signed @ None))) => {
                *signed = Some((**signature).to_owned());
            }
            (Piece::Signed(Signer::Google, signature), _) => {
                parts.push((Shown::Text(String::new()), Some((**signature).to_owned())));
            }
            (Piece::Signed(signer, signature), Some((Shown::Thinking(_), signed @ None))) => {
                *signed = Some(signer.in_gemini(signature));
            }
            (Piece::Signed(signer, signature), _) => {
                parts.push((Shown::Thinking(String::new()), Some(signer.in_gemini(signature))));
            }
            (Piece::Redacted(data), _) => {
                parts.push((Shown::Thinking(String::new()), Some(redacted_in_gemini(data))));
            }
            (Piece::Call { id, name, input }, _) => parts.push((Shown::Call { id, name, input }, of_call.take())),
        }
    }
    parts
}

pub(super) fn part(out: &mut Vec<u8>, shown: &Shown<'_>, signature: Option<&str>) {
    let mut to = Object::new(out);
    match shown {
        Shown::Text(text) => to.text("text", text),
        Shown::Thinking(text) => {
            if !text.is_empty() {
                to.text("text", text);
            }
            to.json("thought", "true");
        }
        Shown::Image { media_type, data } => {
            let mut blob = to.object("inlineData");
            blob.text("mimeType", media_type);
            blob.text("data", data);
            blob.end();
        }
        Shown::Call { id, name, input } => {
            let mut call = to.object("functionCall");
            call.text("id", id);
            call.text("name", name);
            call.json("args", input);
            call.end();
        }
    }
    if let Some(signature) = signature {
        to.text("thoughtSignature", signature);
    }
    to.end();
}

/// A candidate; its parts are written by `fill`, and by `more` what else it has.
pub(super) fn candidate(
    out: &mut Vec<u8>,
    (index, reason): (u64, Option<&str>),
    logprobs: &Candidates,
    fill: impl FnOnce(&mut Vec<u8>),
    more: impl FnOnce(&mut Object<'_>),
) {
    let mut candidate = Object::new(out);
    let mut content = candidate.object("content");
    fill(content.member("parts"));
    content.json("role", "\"model\"");
    content.end();
    if let Some(reason) = reason {
        candidate.text("finishReason", reason);
    }
    logprobs.write(&mut candidate);
    more(&mut candidate);
    candidate.number("index", index);
    candidate.end();
}

/// What every part of an answer ends with.
pub(super) fn tail(to: &mut Object<'_>, (usage, sound): (Option<&TokenUsage>, Sound), model: &str, id: &str) {
    if let Some(TokenUsage { input, cached_input, output, reasoning, .. }) = usage {
        let mut usage = to.object("usageMetadata");
        usage.number("promptTokenCount", *input);
        if *cached_input > 0 {
            usage.number("cachedContentTokenCount", *cached_input);
        }
        let written = output.saturating_sub(*reasoning);
        usage.number("candidatesTokenCount", written);
        if *reasoning > 0 {
            usage.number("thoughtsTokenCount", *reasoning);
        }
        usage.number("totalTokenCount", input.saturating_add(*output));
        details(&mut usage, "promptTokensDetails", *input, sound.heard);
        details(&mut usage, "candidatesTokensDetails", written, sound.spoken);
        usage.end();
    }
    to.text("modelVersion", model);
    to.text("responseId", id);
}

/// How much of a count is sound, where any is. The list is of all of it, and the rest is told as text.
fn details(usage: &mut Object<'_>, name: &'static str, all: u64, sound: u64) {
    let sound = sound.min(all);
    if sound > 0 {
        let each = [("TEXT", all - sound), ("AUDIO", sound)];
        usage.array(name, each.into_iter().filter(|(_, count)| *count > 0), |out, (modality, count)| {
            let mut detail = Object::new(out);
            detail.text("modality", modality);
            detail.number("tokenCount", count);
            detail.end();
        });
    }
}

/// Why a model stopped, in Google's words.
pub(super) const fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::Done | Stop::Tools => "STOP",
        Stop::Limit => "MAX_TOKENS",
        Stop::Refusal => "SAFETY",
    }
}

/// An error with this status.
pub(in crate::translate) fn error(out: &mut Vec<u8>, status: u16, failure: &Failure<'_>) {
    error::head(out, status, failure.message.as_deref().unwrap_or(Failure::UNUSABLE));
    if let Some(told) = failure.word() {
        out.extend_from_slice(b",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":");
        crate::openai::request::write_json_string(out, told);
        out.extend_from_slice(b",\"domain\":\"provider\"}]");
    }
    out.extend_from_slice(b"}}");
}
