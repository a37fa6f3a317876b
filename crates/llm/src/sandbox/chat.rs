//! The sandbox's model service: OpenAI-compatible chat completions and model list.
//!
//! The answer's text is a function of the messages alone. Tokens are counted by words, so that anyone can
//! check them: the input is the words of all texts plus [`MESSAGE_TOKENS`] for each message, the output is
//! the words of the answer. No tokenizer, no tools, no images.

use super::{MODELS, Piece, SandboxAnswer, SandboxRequest, Wishes, method_not_allowed, not_found, unauthorized};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Input tokens counted for each message beside its words.
pub(super) const MESSAGE_TOKENS: usize = 4;
/// How much of the last message is repeated in the answer.
const QUOTED_WORDS: usize = 24;
const FILLER: &str = "The same messages always get the same answer from this sandbox, word for word.";

#[derive(Deserialize)]
struct Call {
    model: String,
    messages: Vec<Message>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    max_tokens: Option<usize>,
    #[serde(default)]
    max_completion_tokens: Option<usize>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

/// A message of a caller, in any dialect.
#[derive(Clone, Deserialize)]
pub(super) struct Message {
    #[serde(default)]
    role: String,
    #[serde(default)]
    content: Value,
}

impl Message {
    /// A system prompt that does not stand among the messages.
    pub(super) fn system(content: Value) -> Self {
        Self { role: "system".to_owned(), content }
    }

    /// What somebody says; the parts of it may stand under another name.
    pub(super) fn of(role: String, content: Value) -> Self {
        Self { role, content }
    }

    /// Its texts: the content itself, or the text parts of it.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let parts = self.content.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
        self.content.as_str().into_iter().chain(parts)
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.texts().flat_map(str::split_whitespace)
    }
}

pub(super) fn answer(request: &SandboxRequest<'_>, wishes: &Wishes) -> SandboxAnswer {
    if !request.presented().accepted() {
        return unauthorized();
    }
    let model_path = request.path.strip_prefix("/v1/models");
    match (request.method, request.path, model_path) {
        ("POST", "/v1/chat/completions", _) => complete(request, wishes),
        ("GET", _, Some("")) => {
            let data: Vec<_> = MODELS.iter().map(|id| model(id)).collect();
            SandboxAnswer::json(200, &json!({"object": "list", "data": data}))
        }
        ("GET", _, Some(id)) => match MODELS.iter().find(|m| id.strip_prefix('/') == Some(**m)) {
            Some(id) => SandboxAnswer::json(200, &model(id)),
            None => not_found(),
        },
        (_, "/v1/chat/completions", _) | (_, _, Some("")) => method_not_allowed(),
        _ => not_found(),
    }
}

fn model(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 1_735_689_600, "owned_by": "sandbox"})
}

fn complete(request: &SandboxRequest<'_>, wishes: &Wishes) -> SandboxAnswer {
    let Ok(call) = serde_json::from_slice::<Call>(request.body) else {
        let message = "The body is not a chat completion request: it needs `model` and `messages`.";
        return SandboxAnswer::error(400, "invalid_request_error", "invalid_body", message);
    };
    let streamed = call.stream == Some(true);
    let text_chunks = if streamed { wishes.chunks } else { None };
    let limit = call.max_completion_tokens.or(call.max_tokens);
    let (words, cut) = text(&call.messages, limit, text_chunks.unwrap_or(1));
    let finish_reason = if cut { "length" } else { "stop" };
    let input = input_tokens(&call.messages);
    let usage = json!({
        "prompt_tokens": input,
        "completion_tokens": words.len(),
        "total_tokens": input + words.len(),
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    });
    let id = format!("chatcmpl-sandbox-{:016x}", identity(&call.messages));
    let created = request.now.secs();
    if !streamed {
        let choice = json!({
            "index": 0,
            "message": {"role": "assistant", "content": words.join(" "), "refusal": null},
            "logprobs": null,
            "finish_reason": finish_reason,
        });
        return SandboxAnswer::json(
            200,
            &json!({"id": id, "object": "chat.completion", "created": created, "model": call.model,
                "choices": [choice], "usage": usage}),
        );
    }

    let asked = call.stream_options.as_ref().is_some_and(|o| o.include_usage == Some(true));
    let event = |choices: Value, usage: Option<&Value>| {
        let mut chunk = json!({"id": id, "object": "chat.completion.chunk", "created": created, "model": call.model,
            "choices": choices});
        if asked {
            chunk["usage"] = usage.cloned().unwrap_or_default();
        }
        Piece { delay: Duration::ZERO, bytes: Bytes::from(format!("data: {chunk}\n\n")) }
    };
    let delta = |delta: Value, finish: Option<&str>| {
        event(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]), None)
    };
    let chunks = text_chunks.unwrap_or(words.len()).min(words.len());
    let mut pieces = Vec::with_capacity(chunks + 4);
    pieces.push(delta(json!({"role": "assistant", "content": ""}), None));
    for i in 0..chunks {
        let part = words[words.len() * i / chunks..words.len() * (i + 1) / chunks].join(" ");
        let part = if i == 0 { part } else { format!(" {part}") };
        pieces.push(delta(json!({"content": part}), None));
    }
    pieces.push(delta(json!({}), Some(finish_reason)));
    if asked {
        pieces.push(event(json!([]), Some(&usage)));
    }
    pieces.push(Piece { delay: Duration::ZERO, bytes: Bytes::from_static(b"data: [DONE]\n\n") });
    let headers = vec![("content-type", "text/event-stream".into()), ("cache-control", "no-cache".into())];
    SandboxAnswer { status: 200, headers, pieces, streamed: true }
}

pub(super) fn input_tokens(messages: &[Message]) -> usize {
    messages.iter().map(|m| m.words().count() + MESSAGE_TOKENS).sum()
}

/// The words of the answer, at least `at_least` of them unless the caller's limit is lower, and whether that cut it.
pub(super) fn text(messages: &[Message], limit: Option<usize>, at_least: usize) -> (Vec<&str>, bool) {
    let asked = messages.iter().rev().find(|m| m.role == "user").or(messages.last());
    let mut words = vec!["The", "sandbox", "read:"];
    words.extend(asked.into_iter().flat_map(|m| m.words().take(QUOTED_WORDS)));
    words.extend(FILLER.split_whitespace());
    let filler = FILLER.split_whitespace().cycle().take(at_least.saturating_sub(words.len()));
    words.extend(filler);
    let limit = limit.unwrap_or(usize::MAX);
    let cut = words.len() > limit;
    words.truncate(limit);
    (words, cut)
}

/// A number for the messages (64-bit FNV-1a), so that the same call has the same id.
pub(super) fn identity(messages: &[Message]) -> u64 {
    let texts = messages.iter().flat_map(|m| [m.role.as_str()].into_iter().chain(m.texts()));
    let separated = texts.flat_map(|t| t.bytes().chain([0xff]));
    separated.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
