//! The sandbox's model service in Gemini's dialect: whole and streamed answers, and counting tokens.
//!
//! Says and counts the same as [`chat`](super::chat); the system instruction counts as one more message.
//! Errors take Google's shape. No cache, no tools, no images.

use super::{
    Piece, SandboxAnswer, SandboxRequest, Wishes,
    chat::{Message, identity, input_tokens, text},
    embeddings,
};
use crate::gemini::{
    error::kind,
    request::{Action, Asked, Frames},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call {
    contents: Vec<Content>,
    #[serde(default, alias = "system_instruction")]
    system_instruction: Option<Content>,
    #[serde(default, alias = "generation_config")]
    generation_config: Option<Config>,
}

/// A call whose tokens are counted, where all of it is said.
#[derive(Deserialize)]
struct Whole {
    #[serde(rename = "generateContentRequest", alias = "generate_content_request")]
    call: Call,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    role: String,
    #[serde(default)]
    parts: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default, alias = "max_output_tokens")]
    max_output_tokens: Option<usize>,
}

/// What a path asks for here: a model's name and, behind a colon, what of it.
pub(super) fn asked(path: &str) -> Option<Asked<'_>> {
    let name = ["/v1beta/models/", "/v1/models/"].iter().find_map(|folder| path.strip_prefix(folder))?;
    Asked::parse(name)
}

pub(super) fn answer(request: &SandboxRequest<'_>, asked: Asked<'_>, wishes: &Wishes) -> SandboxAnswer {
    if !request.presented().accepted() {
        return error(401, "The sandbox did not receive the credential it expects.");
    }
    if request.method != "POST" {
        return error(405, "The sandbox does not take this method here.");
    }
    if matches!(asked.action, Action::Embed | Action::BatchEmbed) {
        return embeddings::generated(request, asked);
    }
    let whole = || Some(serde_json::from_slice::<Whole>(request.body).ok()?.call);
    let counted = if asked.action == Action::CountTokens { whole() } else { None };
    let Some(call) = counted.or_else(|| serde_json::from_slice::<Call>(request.body).ok()) else {
        return error(400, "The body is not a request for content: it needs `contents`.");
    };
    let said = call.system_instruction.into_iter().chain(call.contents);
    let messages: Vec<Message> = said.map(|content| Message::of(content.role, content.parts)).collect();
    let limit = call.generation_config.and_then(|config| config.max_output_tokens);
    match asked.action {
        Action::CountTokens => SandboxAnswer::json(200, &json!({"totalTokens": input_tokens(&messages)})),
        Action::Generate | Action::Embed | Action::BatchEmbed => generated(&messages, limit, asked.model, None, wishes),
        Action::Stream => generated(&messages, limit, asked.model, Some(Frames::of_query(Some(request.query))), wishes),
    }
}

/// An error in Google's shape.
pub(super) fn error(status: u16, message: &str) -> SandboxAnswer {
    SandboxAnswer::json(status, &json!({"error": {"code": status, "message": message, "status": kind(status)}}))
}

fn generated(
    messages: &[Message],
    limit: Option<usize>,
    model: &str,
    frames: Option<Frames>,
    wishes: &Wishes,
) -> SandboxAnswer {
    let text_chunks = if frames.is_some() { wishes.chunks } else { None };
    let (words, cut) = text(messages, limit, text_chunks.unwrap_or(1));
    let input = input_tokens(messages);
    let part = |text: String, so_far: usize, last: bool| {
        let mut candidate = json!({"content": {"parts": [{"text": text}], "role": "model"}, "index": 0});
        if last {
            candidate["finishReason"] = if cut { "MAX_TOKENS" } else { "STOP" }.into();
        }
        json!({"candidates": [candidate], "usageMetadata": {"promptTokenCount": input, "candidatesTokenCount": so_far,
            "totalTokenCount": input + so_far}, "modelVersion": model,
            "responseId": format!("gemini-sandbox-{:016x}", identity(messages))})
    };
    let Some(frames) = frames else {
        return SandboxAnswer::json(200, &part(words.join(" "), words.len(), true));
    };
    let chunks = text_chunks.unwrap_or(words.len()).min(words.len()).max(1);
    let mut pieces = Vec::with_capacity(chunks);
    for i in 0..chunks {
        let (from, to) = (words.len() * i / chunks, words.len() * (i + 1) / chunks);
        let more = words[from..to].join(" ");
        let last = i + 1 == chunks;
        let data = part(if i == 0 { more } else { format!(" {more}") }, to, last);
        let written = match frames {
            Frames::Events => format!("data: {data}\r\n\r\n"),
            Frames::Array => {
                format!("{}{data}{}", if i == 0 { "[" } else { ",\r\n" }, if last { "]" } else { "" })
            }
        };
        pieces.push(Piece { delay: Duration::ZERO, bytes: Bytes::from(written) });
    }
    let content_type = if frames == Frames::Events { "text/event-stream" } else { "application/json" };
    let headers = vec![("content-type", content_type.into()), ("cache-control", "no-cache".into())];
    SandboxAnswer { status: 200, headers, pieces, streamed: true }
}
