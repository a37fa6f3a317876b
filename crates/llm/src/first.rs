//! Tells when a stream has really begun: with its first token, or with an error in its place.
//!
//! What stands before the first token (greetings, pings, the role of who speaks) says nothing of the answer yet, so a
//! caller who got none of it can still be served by somebody else.

use crate::{
    provider::Dialect,
    sse::{SseEvent, SsePiece, SseReader},
};
use serde_json::Value;

/// Larger events are the answer: no greeting is that long.
const MAX_EVENT: usize = 64 * 1024;

/// How a stream began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// With something of the answer, or with its proper end; also with anything that is not understood.
    Answer,
    /// With the provider's error.
    Error,
}

/// Looks at the beginning of a stream of server-sent events in the dialect of its provider; one in other frames has been
/// made such a stream before ([`crate::unframed::Unframed`]).
#[derive(Debug)]
pub struct FirstToken {
    dialect: Dialect,
    reader: SseReader,
    begun: Option<Begun>,
}

impl FirstToken {
    /// Of one stream.
    pub const fn new(dialect: Dialect) -> Self {
        Self { dialect, reader: SseReader::new(MAX_EVENT), begun: None }
    }

    /// Takes more of the stream; how it began, as soon as that is known.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Begun> {
        let Self { dialect, reader, begun } = self;
        reader.feed(bytes, |piece| {
            if begun.is_none() {
                *begun = match piece {
                    SsePiece::Event(event) => of_event(*dialect, &event),
                    SsePiece::Oversize(_) => Some(Begun::Answer),
                };
            }
        });
        *begun
    }
}

fn of_event(dialect: Dialect, event: &SseEvent<'_>) -> Option<Begun> {
    // Comments, and events without data, which browsers drop too.
    let data = event.data()?;
    if event.event_type() == Some(b"error") {
        return Some(Begun::Error);
    }
    let Ok(data) = serde_json::from_slice::<Value>(&data) else { return Some(Begun::Answer) };
    let kind = data["type"].as_str().unwrap_or_default();
    if !data["error"].is_null() || kind == "error" {
        return Some(Begun::Error);
    }
    let greets = match dialect {
        Dialect::OpenAi => data["choices"].as_array().is_some_and(|choices| choices.iter().all(says_nothing)),
        Dialect::Anthropic => match kind {
            "message_start" | "ping" => true,
            "content_block_start" => is_bare(&data["content_block"], &["text", "thinking"]),
            _ => false,
        },
        Dialect::Responses => match kind {
            "response.failed" => return Some(Begun::Error),
            "response.created" | "response.in_progress" | "response.queued" => true,
            "response.output_item.added" => is_bare(&data["item"], &["message", "reasoning"]),
            "response.content_part.added" | "response.reasoning_summary_part.added" => true,
            _ => false,
        },
        Dialect::Bedrock => match event.event_type() {
            Some(b"messageStart") => true,
            Some(b"contentBlockStart") => is_empty(&data["start"]),
            Some(b"contentBlockDelta") => data["delta"].as_object().is_some_and(|delta| delta.values().all(is_empty)),
            _ => false,
        },
        // All that it says before its text are its logs.
        Dialect::Replicate => match event.event_type() {
            Some(b"output") => is_empty(&data["text"]),
            Some(b"done") => false,
            _ => true,
        },
        Dialect::Gemini => data.is_object() && data["candidates"].is_null() && data["promptFeedback"].is_null(),
    };
    (!greets).then_some(Begun::Answer)
}

/// Whether a choice of Chat Completions neither says nor ends anything.
fn says_nothing(choice: &Value) -> bool {
    let said = |(name, value): (&String, &Value)| name != "role" && !is_empty(value);
    choice["finish_reason"].is_null() && !choice["delta"].as_object().is_some_and(|delta| delta.iter().any(said))
}

/// Whether a part of one of these types says nothing yet.
fn is_bare(part: &Value, kinds: &[&str]) -> bool {
    part["type"].as_str().is_some_and(|kind| kinds.contains(&kind))
        && ["text", "thinking", "content", "summary"].iter().all(|field| is_empty(&part[field]))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(dialect: Dialect, events: &str) -> Option<Begun> {
        let mut first = FirstToken::new(dialect);
        // However it is cut.
        let whole = first.feed(events.as_bytes());
        let mut first = FirstToken::new(dialect);
        let mut last = None;
        for byte in events.as_bytes() {
            last = first.feed(std::slice::from_ref(byte));
        }
        assert_eq!(whole, last, "{events}");
        whole
    }

    fn data(texts: &[&str]) -> String {
        texts.iter().map(|text| format!("data: {text}\n\n")).collect()
    }

    #[test]
    fn greetings_are_no_answer_yet() {
        for (dialect, events) in [
            (
                Dialect::OpenAi,
                ": PROCESSING\n\ndata: {\"choices\":[],\"prompt_filter_results\":[]}\n\n\
                 data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"finish_reason\":null}]}\n\n"
                    .to_owned(),
            ),
            (
                Dialect::Anthropic,
                data(&[
                    r#"{"type":"message_start","message":{"usage":{"input_tokens":9}}}"#,
                    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                    r#"{"type": "ping"}"#,
                ]),
            ),
            (
                Dialect::Responses,
                data(&[
                    r#"{"type":"response.created","response":{"error":null}}"#,
                    r#"{"type":"response.in_progress","response":{}}"#,
                    r#"{"type":"response.output_item.added","item":{"type":"message","content":[]}}"#,
                ]),
            ),
            (Dialect::Gemini, data(&[r#"{"usageMetadata":{"promptTokenCount":3}}"#])),
            (
                Dialect::Bedrock,
                "event: messageStart\ndata: {\"role\":\"assistant\",\"p\":\"abc\"}\n\n\
                 event: contentBlockStart\ndata: {\"contentBlockIndex\":0,\"start\":{}}\n\n\
                 event: contentBlockDelta\ndata: {\"contentBlockIndex\":0,\"delta\":{\"text\":\"\"}}\n\n"
                    .to_owned(),
            ),
        ] {
            assert_eq!(begins(dialect, &events), None, "{dialect:?}");
            let error = data(&[r#"{"error":{"message":"Overloaded"},"type":"error"}"#]);
            assert_eq!(begins(dialect, &(events.clone() + &error)), Some(Begun::Error), "{dialect:?}");
            assert_eq!(begins(dialect, &(events + "data: what is this\n\n")), Some(Begun::Answer), "{dialect:?}");
        }
        assert_eq!(begins(Dialect::Responses, &data(&[r#"{"type":"response.failed"}"#])), Some(Begun::Error));
        assert_eq!(begins(Dialect::Anthropic, "event: error\ndata: oh\n\n"), Some(Begun::Error));
        let thrown = "event: error\ndata: {\"exception\":\"throttlingException\",\"detail\":{}}\n\n";
        assert_eq!(begins(Dialect::Bedrock, thrown), Some(Begun::Error));
        for event in [
            "contentBlockStart\ndata: {\"start\":{\"toolUse\":{\"name\":\"f\"}}}",
            "contentBlockDelta\ndata: {\"delta\":{\"text\":\"a\"}}",
            "contentBlockDelta\ndata: {\"delta\":{\"reasoningContent\":{\"text\":\"a\"}}}",
            "messageStop\ndata: {\"stopReason\":\"end_turn\"}",
        ] {
            assert_eq!(begins(Dialect::Bedrock, &format!("event: {event}\n\n")), Some(Begun::Answer), "{event}");
        }
    }

    #[test]
    fn anything_of_the_answer_begins_it() {
        for (dialect, event) in [
            (Dialect::OpenAi, r#"{"choices":[{"delta":{"content":"a"}}]}"#),
            (Dialect::OpenAi, r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#),
            (Dialect::OpenAi, r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#),
            (Dialect::OpenAi, r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#),
            (Dialect::OpenAi, "[DONE]"),
            (Dialect::Anthropic, r#"{"type":"content_block_delta","delta":{"text":"a"}}"#),
            (Dialect::Anthropic, r#"{"type":"content_block_start","content_block":{"type":"tool_use"}}"#),
            (Dialect::Anthropic, r#"{"type":"message_stop"}"#),
            (Dialect::Responses, r#"{"type":"response.output_text.delta","delta":"a"}"#),
            (Dialect::Responses, r#"{"type":"response.output_item.added","item":{"type":"function_call"}}"#),
            (Dialect::Gemini, r#"{"candidates":[{"content":{}}]}"#),
            (Dialect::Gemini, r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#),
        ] {
            assert_eq!(begins(dialect, &data(&[event])), Some(Begun::Answer), "{event}");
            // What comes later changes nothing.
            assert_eq!(begins(dialect, &data(&[event, r#"{"error":1}"#])), Some(Begun::Answer), "{event}");
        }
        let long = format!("data: {}", "x".repeat(MAX_EVENT + 1));
        assert_eq!(begins(Dialect::OpenAi, &long), Some(Begun::Answer));
    }
}
