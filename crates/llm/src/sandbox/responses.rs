//! The sandbox's model service in OpenAI's Responses.
//!
//! Says and counts the same as [`chat`](super::chat); the instructions count as one more message, and so does every item
//! of the input. Keeps nothing: there is no answer to go on from. No tools, no reasoning, no images.

use super::{
    Piece, SandboxAnswer, SandboxRequest, Wishes,
    chat::{Message, identity, input_tokens, text},
    method_not_allowed, unauthorized,
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The path that is answered here, and below which tokens are counted.
pub(super) const PATH: &str = "/v1/responses";
pub(super) const COUNTED: &str = "/v1/responses/input_tokens";

#[derive(Deserialize)]
struct Call {
    model: String,
    input: Input,
    #[serde(default)]
    instructions: Value,
    #[serde(default)]
    max_output_tokens: Option<usize>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    previous_response_id: Value,
    #[serde(default)]
    metadata: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Items(Vec<Message>),
}

impl Call {
    /// What it says: the instructions, and each item of the input.
    fn messages(&self) -> Vec<Message> {
        let instructions = Some(&self.instructions).filter(|said| !said.is_null()).cloned().map(Message::system);
        let input = match &self.input {
            Input::Text(text) => vec![Message::of("user".to_owned(), text.as_str().into())],
            Input::Items(items) => items.clone(),
        };
        instructions.into_iter().chain(input).collect()
    }
}

pub(super) fn answer(request: &SandboxRequest<'_>, wishes: &Wishes) -> SandboxAnswer {
    if !request.presented().accepted() {
        return unauthorized();
    }
    if request.method != "POST" {
        return method_not_allowed();
    }
    let Ok(call) = serde_json::from_slice::<Call>(request.body) else {
        let message = "The body is not a response request: it needs `model` and `input`.";
        return SandboxAnswer::error(400, "invalid_request_error", "invalid_body", message);
    };
    if !call.previous_response_id.is_null() {
        let message = "The sandbox keeps no answers to go on from.";
        return SandboxAnswer::error(400, "invalid_request_error", "previous_response_not_found", message);
    }
    if request.path == COUNTED {
        let tokens = input_tokens(&call.messages());
        return SandboxAnswer::json(200, &json!({"object": "response.input_tokens", "input_tokens": tokens}));
    }
    respond(call, request.now.secs(), wishes)
}

fn respond(call: Call, created: i64, wishes: &Wishes) -> SandboxAnswer {
    let messages = call.messages();
    let streamed = call.stream == Some(true);
    let text_chunks = if streamed { wishes.chunks } else { None };
    let (words, cut) = text(&messages, call.max_output_tokens, text_chunks.unwrap_or(1));
    let id = format!("{:016x}", identity(&messages));
    let item_id = format!("msg_sandbox_{id}");
    let (input, output) = (input_tokens(&messages), words.len());
    let usage = json!({"input_tokens": input, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": input + output});
    let metadata = if call.metadata.is_null() { json!({}) } else { call.metadata };
    let response = |status: &str, output: Value, usage: Value| {
        let details = if status == "incomplete" { json!({"reason": "max_output_tokens"}) } else { Value::Null };
        json!({"id": format!("resp_sandbox_{id}"), "object": "response", "created_at": created, "status": status,
            "error": null, "incomplete_details": details, "instructions": call.instructions, "model": call.model,
            "output": output, "parallel_tool_calls": true, "previous_response_id": null, "store": false,
            "temperature": null, "tool_choice": "auto", "tools": [], "top_p": null, "metadata": metadata, "usage": usage})
    };
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let item = |status: &str, content: Value| json!({"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content});
    let (status, all) = (if cut { "incomplete" } else { "completed" }, words.join(" "));
    let done = item(status, json!([part(&all)]));
    if !streamed {
        return SandboxAnswer::json(200, &response(status, json!([done]), usage));
    }

    let mut pieces: Vec<Piece> = Vec::new();
    let mut event = |kind: &str, mut data: Value| {
        data["type"] = kind.into();
        data["sequence_number"] = pieces.len().into();
        let bytes = Bytes::from(format!("event: {kind}\ndata: {data}\n\n"));
        pieces.push(Piece { delay: Duration::ZERO, bytes });
    };
    for kind in ["response.created", "response.in_progress"] {
        event(kind, json!({"response": response("in_progress", json!([]), Value::Null)}));
    }
    let place = |more: Value| {
        let mut data = json!({"item_id": item_id, "output_index": 0, "content_index": 0});
        data.as_object_mut().into_iter().for_each(|data| data.extend(more.as_object().cloned().unwrap_or_default()));
        data
    };
    event("response.output_item.added", json!({"output_index": 0, "item": item("in_progress", json!([]))}));
    event("response.content_part.added", place(json!({"part": part("")})));
    let chunks = text_chunks.unwrap_or(words.len()).min(words.len());
    for i in 0..chunks {
        let some = words[words.len() * i / chunks..words.len() * (i + 1) / chunks].join(" ");
        let some = if i == 0 { some } else { format!(" {some}") };
        event("response.output_text.delta", place(json!({"delta": some, "logprobs": []})));
    }
    event("response.output_text.done", place(json!({"text": all, "logprobs": []})));
    event("response.content_part.done", place(json!({"part": part(&all)})));
    event("response.output_item.done", json!({"output_index": 0, "item": done}));
    event(&format!("response.{status}"), json!({"response": response(status, json!([done]), usage)}));
    let headers = vec![("content-type", "text/event-stream".into()), ("cache-control", "no-cache".into())];
    SandboxAnswer { status: 200, headers, pieces, streamed: true }
}
