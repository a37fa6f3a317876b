//! A message of Anthropic's as a chat completion: whole, as a stream, or as an error.
//!
//! The id, the model's name and the bytes of a tool's input are the provider's. Thinking comes as
//! `reasoning_content`, as other providers of Chat Completions send it; its signatures, citations and what server
//! tools did are left out.

use super::read::{Text, is_empty_object, list, present};
use crate::{
    anthropic::usage::Count,
    openai::{error::kind, request::write_json_string},
    sse::{SseEvent, SsePiece, SseReader},
};
use credentialflow_model::{Timestamp, usage::TokenUsage};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::Write as _;

/// Events larger than this end a stream, as nothing can be said of what is in them.
const MAX_EVENT: usize = 4 << 20;
/// More blocks than this are in no message.
const MAX_BLOCKS: usize = 10_000;
/// Ids and names of models are not longer than this. They stand in every chunk of a stream.
const MAX_NAME: usize = 256;
/// More tools than this are not called at the same time.
const MAX_OPEN: usize = 256;

/// How to translate the answer of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatAnswer {
    pub(super) created: Timestamp,
    pub(super) include_usage: bool,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(borrow)]
    error: FailureBody<'a>,
}

#[derive(Deserialize)]
struct FailureBody<'a> {
    #[serde(borrow, default)]
    r#type: Option<Text<'a>>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
}

impl ChatAnswer {
    /// A whole answer. `None` when it is not a message.
    pub fn whole(&self, body: &[u8]) -> Option<Vec<u8>> {
        let message: Message<'_> = serde_json::from_slice(body).ok()?;
        let content: Vec<Block<'_>> = list(message.content, "", MAX_BLOCKS, "").ok()?;
        let model = message.model.as_deref().unwrap_or_default();
        if message.id.len().max(model.len()) > MAX_NAME {
            return None;
        }
        let (mut text, mut thinking) = (String::new(), String::new());
        let mut calls = Vec::new();
        for block in &content {
            match &*block.r#type {
                "text" => text.push_str(block.text.as_deref()?),
                "thinking" => thinking.push_str(block.thinking.as_deref()?),
                "tool_use" => calls.push((block.id.as_deref()?, block.name.as_deref()?, block.input?)),
                _ => {}
            }
        }
        let mut out = Vec::with_capacity(body.len() + 256);
        self.head(&mut out, &message.id, model, "chat.completion");
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
        for (i, (id, name, input)) in calls.iter().enumerate() {
            out.extend_from_slice(if i == 0 { b",\"tool_calls\":[".as_slice() } else { b"," });
            out.extend_from_slice(b"{\"id\":");
            write_json_string(&mut out, id);
            out.extend_from_slice(b",\"type\":\"function\",\"function\":{\"name\":");
            write_json_string(&mut out, name);
            out.extend_from_slice(b",\"arguments\":");
            write_json_string(&mut out, input.get());
            out.extend_from_slice(b"}}");
        }
        if !calls.is_empty() {
            out.push(b']');
        }
        out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":");
        write_json_string(&mut out, finish_reason(message.stop_reason.as_deref()));
        out.extend_from_slice(b"}]");
        let mut count = Count::NONE;
        if let Some(raw) = message.usage {
            count.take(raw);
        }
        if let Some(usage) = count.usage() {
            out.extend_from_slice(b",\"usage\":");
            write_usage(&mut out, &usage);
        }
        out.push(b'}');
        Some(out)
    }

    /// An error of the provider's, whatever it sent.
    pub fn error(&self, status: u16, body: &[u8]) -> Vec<u8> {
        let failure = serde_json::from_slice::<Failure<'_>>(body).ok().map(|f| f.error);
        let mut out = Vec::with_capacity(256);
        write_error(&mut out, status, failure.as_ref());
        out
    }

    /// A streamed answer.
    pub fn stream(self) -> ChatStream {
        ChatStream {
            answer: self,
            reader: SseReader::new(MAX_EVENT),
            head: Vec::new(),
            count: Count::NONE,
            open: Vec::new(),
            tools: 0,
            state: State::Waiting,
            failure: None,
        }
    }

    /// Up to the value of `choices`.
    fn head(&self, out: &mut Vec<u8>, id: &str, model: &str, object: &str) {
        out.extend_from_slice(b"{\"id\":");
        write_json_string(out, id);
        let _ = write!(out, ",\"object\":\"{object}\",\"created\":{},\"model\":", self.created.secs());
        write_json_string(out, model);
        out.extend_from_slice(b",\"choices\":");
    }
}

/// Why a model stopped, in the words of Chat Completions. A stop that has no word there is an ordinary one.
fn finish_reason(stop_reason: Option<&str>) -> &'static str {
    match stop_reason {
        Some("max_tokens" | "model_context_window_exceeded") => "length",
        Some("tool_use") => "tool_calls",
        Some("refusal") => "content_filter",
        _ => "stop",
    }
}

fn write_usage(out: &mut Vec<u8>, usage: &TokenUsage) {
    let TokenUsage { input, cached_input, cache_write, output, reasoning, .. } = usage;
    let total = input.saturating_add(*output);
    let _ = write!(
        out,
        "{{\"prompt_tokens\":{input},\"completion_tokens\":{output},\"total_tokens\":{total},\
         \"prompt_tokens_details\":{{\"cached_tokens\":{cached_input},\"cache_write_tokens\":{cache_write}}},\
         \"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning}}}}}"
    );
}

fn write_error(out: &mut Vec<u8>, status: u16, failure: Option<&FailureBody<'_>>) {
    let told = failure.and_then(|f| f.r#type.as_deref());
    let kind = match told {
        Some(
            told @ ("invalid_request_error"
            | "authentication_error"
            | "permission_error"
            | "not_found_error"
            | "rate_limit_error"),
        ) => told,
        Some("request_too_large") => "invalid_request_error",
        Some(_) => "server_error",
        None => kind(status),
    };
    out.extend_from_slice(b"{\"error\":{\"message\":");
    match failure.and_then(|f| f.message.as_deref()) {
        Some(message) => write_json_string(out, message),
        None => write_json_string(out, "The provider's answer cannot be used."),
    }
    out.extend_from_slice(b",\"type\":");
    write_json_string(out, kind);
    out.extend_from_slice(b",\"param\":null,\"code\":");
    match told {
        Some(told) => write_json_string(out, told),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}}");
}

/// Translates a stream. Holds the event that is not yet complete and what is known of tools being called.
#[derive(Debug)]
pub struct ChatStream {
    answer: ChatAnswer,
    reader: SseReader,
    /// What every chunk begins with.
    head: Vec<u8>,
    count: Count,
    open: Vec<Open>,
    /// Tools called so far.
    tools: u64,
    state: State,
    failure: Option<StreamFailure>,
}

/// Why a stream was ended with an error of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFailure {
    /// What came is no stream of a message.
    Malformed,
    /// It ended before its end.
    Truncated,
}

/// A tool whose input is still coming.
#[derive(Debug)]
struct Open {
    block: u64,
    tool: u64,
    /// Whether any of its input has come.
    begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has come.
    Waiting,
    /// The message has begun.
    Begun,
    /// The message is over, as it should be or with an error.
    Over,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(default)]
    index: u64,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Start<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    r#type: Option<Text<'a>>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
}

/// What came is no stream of a message.
struct Malformed;

impl ChatStream {
    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.reader.held() + self.head.capacity() + self.open.capacity() * size_of::<Open>()
    }

    /// Takes the next bytes and appends to `out` what they are in Chat Completions.
    pub fn feed(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let mut reader = std::mem::take(&mut self.reader);
        reader.feed(payload, |piece| self.piece(piece, out));
        self.reader = reader;
    }

    /// Ends the stream. One that was cut off ends with an error instead of `[DONE]`.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let mut reader = std::mem::take(&mut self.reader);
        reader.finish(|piece| self.piece(piece, out));
        if self.state != State::Over {
            self.fail(StreamFailure::Truncated, out);
        }
    }

    /// Why the stream was ended with an error. An error that the provider told is none: it was passed on.
    pub const fn failure(&self) -> Option<StreamFailure> {
        self.failure
    }

    fn piece(&mut self, piece: SsePiece<'_>, out: &mut Vec<u8>) {
        if self.state == State::Over {
            return;
        }
        let (done, complete) = match piece {
            SsePiece::Event(event) => (self.event(&event, out), event.complete),
            SsePiece::Oversize(_) => (Err(Malformed), true),
        };
        if done.is_err() {
            self.fail(if complete { StreamFailure::Malformed } else { StreamFailure::Truncated }, out);
        }
    }

    fn fail(&mut self, failure: StreamFailure, out: &mut Vec<u8>) {
        self.state = State::Over;
        self.failure = Some(failure);
        out.extend_from_slice(b"data: ");
        write_error(out, 502, None);
        out.extend_from_slice(b"\n\n");
    }

    fn event(&mut self, event: &SseEvent<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let Some(data) = event.data() else { return Ok(()) };
        let event: Event<'_> = serde_json::from_slice(&data).map_err(|_| Malformed)?;
        match &*event.r#type {
            "message_start" => {
                let start: Start<'_> = parse(event.message)?;
                self.begin(&start)?;
                if let Some(usage) = start.usage {
                    self.count.begin(usage);
                }
                self.delta(out, |out| {
                    out.extend_from_slice(b"{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}")
                });
            }
            "content_block_start" => self.block_start(event.index, parse(event.content_block)?, out)?,
            "content_block_delta" => self.block_delta(event.index, &parse(event.delta)?, out),
            "content_block_stop" => {
                if let Some(at) = self.open.iter().position(|open| open.block == event.index) {
                    let open = self.open.remove(at);
                    if !open.begun {
                        // A tool without input: its arguments are an object all the same.
                        self.arguments(open.tool, "{}", out);
                    }
                }
            }
            "message_delta" => {
                if let Some(usage) = event.usage {
                    self.count.take(usage);
                }
                let delta: Delta<'_> = parse(event.delta)?;
                if let Some(reason) = delta.stop_reason {
                    self.chunk(out, |out| out.extend_from_slice(b"{}"), Some(finish_reason(Some(&*reason))));
                }
            }
            "message_stop" => self.end(out),
            "error" => {
                self.state = State::Over;
                let failure: Option<FailureBody<'_>> = parse(event.error).ok();
                out.extend_from_slice(b"data: ");
                write_error(out, 502, failure.as_ref());
                out.extend_from_slice(b"\n\n");
            }
            // A comment, which keeps the connection alive all the same.
            "ping" => out.extend_from_slice(b": ping\n\n"),
            _ => {} // what there may be one day
        }
        Ok(())
    }

    fn begin(&mut self, start: &Start<'_>) -> Result<(), Malformed> {
        let (id, model) = (start.id.as_deref().unwrap_or_default(), start.model.as_deref().unwrap_or_default());
        if id.len().max(model.len()) > MAX_NAME {
            return Err(Malformed);
        }
        self.state = State::Begun;
        self.head.clear();
        self.head.extend_from_slice(b"data: ");
        self.answer.head(&mut self.head, id, model, "chat.completion.chunk");
        Ok(())
    }

    fn block_start(&mut self, index: u64, block: Block<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match &*block.r#type {
            "text" => self.text("content", block.text.as_deref(), out),
            "thinking" => self.text("reasoning_content", block.thinking.as_deref(), out),
            "tool_use" => {
                let (Some(id), Some(name)) = (block.id, block.name) else { return Err(Malformed) };
                if self.open.len() == MAX_OPEN {
                    return Err(Malformed);
                }
                let tool = self.tools;
                self.tools += 1;
                self.delta(out, |out| {
                    let _ = write!(out, "{{\"tool_calls\":[{{\"index\":{tool},\"id\":");
                    write_json_string(out, &id);
                    out.extend_from_slice(b",\"type\":\"function\",\"function\":{\"name\":");
                    write_json_string(out, &name);
                    out.extend_from_slice(b",\"arguments\":\"\"}}]}");
                });
                // Usually it comes in pieces; an input that stands here already is all of it.
                let whole = present(block.input).filter(|input| !is_empty_object(input));
                if let Some(input) = whole {
                    self.arguments(tool, input.get(), out);
                }
                self.open.push(Open { block: index, tool, begun: whole.is_some() });
            }
            _ => {}
        }
        Ok(())
    }

    fn block_delta(&mut self, index: u64, delta: &Delta<'_>, out: &mut Vec<u8>) {
        match delta.r#type.as_deref() {
            Some("text_delta") => self.text("content", delta.text.as_deref(), out),
            Some("thinking_delta") => self.text("reasoning_content", delta.thinking.as_deref(), out),
            Some("input_json_delta") => {
                let part = delta.partial_json.as_deref().unwrap_or_default();
                // What is written for a server's tool has no open tool here.
                if let Some(open) = self.open.iter_mut().find(|open| open.block == index)
                    && !part.is_empty()
                {
                    open.begun = true;
                    let tool = open.tool;
                    self.arguments(tool, part, out);
                }
            }
            _ => {}
        }
    }

    fn text(&self, field: &str, text: Option<&str>, out: &mut Vec<u8>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        self.delta(out, |out| {
            let _ = write!(out, "{{\"{field}\":");
            write_json_string(out, text);
            out.push(b'}');
        });
    }

    fn arguments(&self, tool: u64, part: &str, out: &mut Vec<u8>) {
        self.delta(out, |out| {
            let _ = write!(out, "{{\"tool_calls\":[{{\"index\":{tool},\"function\":{{\"arguments\":");
            write_json_string(out, part);
            out.extend_from_slice(b"}}]}");
        });
    }

    fn delta(&self, out: &mut Vec<u8>, delta: impl FnOnce(&mut Vec<u8>)) {
        self.chunk(out, delta, None);
    }

    fn chunk(&self, out: &mut Vec<u8>, delta: impl FnOnce(&mut Vec<u8>), finish: Option<&str>) {
        self.write_head(out);
        out.extend_from_slice(b"[{\"index\":0,\"delta\":");
        delta(out);
        out.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":");
        match finish {
            Some(reason) => write_json_string(out, reason),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"}]");
        if self.answer.include_usage {
            out.extend_from_slice(b",\"usage\":null");
        }
        out.extend_from_slice(b"}\n\n");
    }

    /// A stream that does not say how it begins has no id.
    fn write_head(&self, out: &mut Vec<u8>) {
        if self.state == State::Waiting {
            out.extend_from_slice(b"data: ");
            self.answer.head(out, "", "", "chat.completion.chunk");
        } else {
            out.extend_from_slice(&self.head);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if let Some(usage) = self.count.usage().filter(|_| self.answer.include_usage) {
            self.write_head(out);
            out.extend_from_slice(b"[],\"usage\":");
            write_usage(out, &usage);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        self.state = State::Over;
    }
}

/// A part of an event.
fn parse<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Result<T, Malformed> {
    serde_json::from_str(raw.ok_or(Malformed)?.get()).map_err(|_| Malformed)
}
