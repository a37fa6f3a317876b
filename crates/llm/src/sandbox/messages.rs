//! The sandbox's model service in Anthropic's dialect: messages and counting their tokens.
//!
//! Says and counts the same as [`chat`](super::chat); the system prompt counts as one more message.
//! Errors take Anthropic's shape. No cache, no tools, no images.

use super::{
    Piece, SandboxAnswer, SandboxRequest, Wishes,
    chat::{Message, identity, input_tokens, text},
};
use crate::anthropic::error::kind;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Everything at or below this path is answered here.
pub(super) const PATH: &str = "/v1/messages";

#[derive(Deserialize)]
struct Call {
    model: String,
    messages: Vec<Message>,
    #[serde(default)]
    system: Value,
    #[serde(default)]
    max_tokens: Option<usize>,
    #[serde(default)]
    stream: Option<bool>,
}

pub(super) fn answer(request: &SandboxRequest<'_>, wishes: &Wishes) -> SandboxAnswer {
    if !request.presented().accepted() {
        return error(401, "The sandbox did not receive the credential it expects.");
    }
    let counts = match request.path.strip_prefix(PATH) {
        Some("") => false,
        Some("/count_tokens") => true,
        _ => return error(404, "The sandbox has nothing here."),
    };
    if request.method != "POST" {
        return error(405, "The sandbox does not take this method here.");
    }
    let Ok(mut call) = serde_json::from_slice::<Call>(request.body) else {
        return error(400, "The body is not a message request: it needs `model` and `messages`.");
    };
    if !call.system.is_null() {
        call.messages.insert(0, Message::system(call.system.take()));
    }
    if counts {
        return SandboxAnswer::json(200, &json!({"input_tokens": input_tokens(&call.messages)}));
    }
    match call.max_tokens {
        Some(limit) if limit > 0 => message(&call, limit, wishes),
        _ => error(400, "max_tokens: a number of at least 1 is needed."),
    }
}

/// An error in Anthropic's shape.
pub(super) fn error(status: u16, message: &str) -> SandboxAnswer {
    SandboxAnswer::json(status, &json!({"type": "error", "error": {"type": kind(status), "message": message}}))
}

fn message(call: &Call, limit: usize, wishes: &Wishes) -> SandboxAnswer {
    let streamed = call.stream == Some(true);
    let text_chunks = if streamed { wishes.chunks } else { None };
    let (words, cut) = text(&call.messages, Some(limit), text_chunks.unwrap_or(1));
    let stop_reason = if cut { "max_tokens" } else { "end_turn" };
    let usage = |output: usize| {
        json!({"input_tokens": input_tokens(&call.messages), "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0, "output_tokens": output})
    };
    let whole = |content: Value, stop_reason: Value, output: usize| {
        json!({"id": format!("msg_sandbox_{:016x}", identity(&call.messages)), "type": "message", "role": "assistant",
            "model": call.model, "content": content, "stop_reason": stop_reason, "stop_sequence": null,
            "usage": usage(output)})
    };
    if !streamed {
        let content = json!([{"type": "text", "text": words.join(" ")}]);
        return SandboxAnswer::json(200, &whole(content, stop_reason.into(), words.len()));
    }

    let event = |kind: &str, mut data: Value| {
        data["type"] = kind.into();
        Piece { delay: Duration::ZERO, bytes: Bytes::from(format!("event: {kind}\ndata: {data}\n\n")) }
    };
    let chunks = text_chunks.unwrap_or(words.len()).min(words.len());
    let mut pieces = Vec::with_capacity(chunks + 5);
    pieces.push(event("message_start", json!({"message": whole(json!([]), Value::Null, 0)})));
    pieces.push(event("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}})));
    for i in 0..chunks {
        let part = words[words.len() * i / chunks..words.len() * (i + 1) / chunks].join(" ");
        let part = if i == 0 { part } else { format!(" {part}") };
        pieces.push(event("content_block_delta", json!({"index": 0, "delta": {"type": "text_delta", "text": part}})));
    }
    pieces.push(event("content_block_stop", json!({"index": 0})));
    let delta = json!({"stop_reason": stop_reason, "stop_sequence": null});
    pieces.push(event("message_delta", json!({"delta": delta, "usage": {"output_tokens": words.len()}})));
    pieces.push(event("message_stop", json!({})));
    let headers = vec![("content-type", "text/event-stream".into()), ("cache-control", "no-cache".into())];
    SandboxAnswer { status: 200, headers, pieces, streamed: true }
}
