//! Which answers may be given again: whole ones, which ended as the caller wanted them to.
//!
//! Not kept is what is an error, what was cut off on the way, what a provider refused or withheld, and what nobody can
//! read. An answer that ends at the limit which its caller set is whole: the same call would end there again.

use crate::{
    prompt::streamed,
    provider::Dialect,
    sse::{SsePiece, SseReader},
};
use serde::de::IgnoredAny;
use serde_json::Value;

/// How an answer comes to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A whole answer to a conversation.
    Whole,
    /// A stream of events.
    Events,
    /// A stream that comes as an array, in Gemini's dialect.
    Array,
    /// A whole answer to something that is no conversation, or to a published prompt.
    Other,
    /// The events of a published prompt.
    Pieces,
}

/// Whether an answer of this form, in its caller's dialect, may be given again.
pub fn may_be_kept(speaks: Dialect, form: Form, body: &[u8]) -> bool {
    let mut seen = Seen::default();
    match form {
        Form::Whole => match serde_json::from_slice(body) {
            Ok(answer) => seen.whole(speaks, &answer),
            Err(_) => return false,
        },
        Form::Other => return other(body),
        // They end with the whole answer.
        Form::Pieces => return streamed::whole(body).is_some_and(other),
        Form::Array => match serde_json::from_slice::<Vec<Value>>(body) {
            Ok(pieces) => pieces.iter().for_each(|piece| seen.whole(speaks, piece)),
            Err(_) => return false,
        },
        Form::Events => {
            let mut reader = SseReader::new(body.len());
            let mut see = |piece: SsePiece<'_>| match piece {
                SsePiece::Event(event) => seen.event(speaks, event.data().as_deref()),
                SsePiece::Oversize(_) => seen.spoilt = true,
            };
            reader.feed(body, &mut see);
            reader.finish(&mut see);
            // What ends with a mark of its own is whole only with that.
            if matches!(speaks, Dialect::OpenAi | Dialect::Anthropic) && !seen.marked {
                return false;
            }
        }
    }
    seen.ended && !seen.spoilt
}

/// The same for an answer to something that is no conversation, or to a published prompt.
fn other(body: &[u8]) -> bool {
    if !body.trim_ascii_start().starts_with(b"{") {
        return false;
    }
    let Ok(answer) = serde_json::from_slice::<Other>(body) else { return false };
    let mut seen = Seen { spoilt: answer.error.is_some(), ..Seen::default() };
    // Answers to published prompts say it in our own form.
    seen.end(answer.finish_reason.as_ref(), &OPENAI);
    !seen.spoilt
}

/// What matters of an answer to something that is no conversation; its numbers, which are many, are passed over.
#[derive(serde::Deserialize)]
struct Other {
    error: Option<IgnoredAny>,
    finish_reason: Option<Value>,
}

/// What stood in an answer.
#[derive(Default)]
struct Seen {
    /// It said why it ended, and that is a good end.
    ended: bool,
    /// There was an error, or another end.
    spoilt: bool,
    /// The mark at the end of a stream came.
    marked: bool,
}

impl Seen {
    fn event(&mut self, speaks: Dialect, data: Option<&[u8]>) {
        let Some(data) = data else { return };
        if data == b"[DONE]" {
            self.marked = true;
            return;
        }
        let Ok(event) = serde_json::from_slice::<Value>(data) else {
            self.spoilt = true;
            return;
        };
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        match speaks {
            Dialect::Anthropic => match kind {
                "message_stop" => self.marked = true,
                "error" => self.spoilt = true,
                "message_delta" => self.end(event.pointer("/delta/stop_reason"), &ANTHROPIC),
                _ => {}
            },
            Dialect::Responses => match kind {
                "response.completed" | "response.incomplete" => {
                    if let Some(response) = event.get("response") {
                        self.whole(speaks, response);
                    }
                }
                "error" | "response.failed" | "response.cancelled" => self.spoilt = true,
                _ => {}
            },
            _ => self.whole(speaks, &event),
        }
    }

    fn whole(&mut self, speaks: Dialect, answer: &Value) {
        self.spoilt |= answer.get("error").is_some_and(|error| !error.is_null());
        match speaks {
            Dialect::OpenAi => {
                for choice in list(answer, "choices") {
                    self.end(choice.get("finish_reason"), &OPENAI);
                }
            }
            Dialect::Anthropic => self.end(answer.get("stop_reason"), &ANTHROPIC),
            Dialect::Responses => match answer.get("status").and_then(Value::as_str) {
                Some("completed") => self.ended = true,
                Some("incomplete") => {
                    self.end(answer.pointer("/incomplete_details/reason"), &["max_output_tokens"]);
                    self.spoilt |= !self.ended;
                }
                _ => self.spoilt = true,
            },
            Dialect::Gemini => {
                self.spoilt |= answer.pointer("/promptFeedback/blockReason").is_some();
                for candidate in list(answer, "candidates") {
                    self.end(candidate.get("finishReason"), &["STOP", "MAX_TOKENS"]);
                }
            }
            Dialect::Bedrock | Dialect::Replicate => self.spoilt = true,
        }
    }

    /// Why an answer, or one of several, ended; nothing where it has not yet.
    fn end(&mut self, why: Option<&Value>, good: &[&str]) {
        match why {
            None | Some(Value::Null) => {}
            Some(Value::String(why)) if good.contains(&why.as_str()) => self.ended = true,
            Some(_) => self.spoilt = true,
        }
    }
}

const OPENAI: [&str; 4] = ["stop", "length", "tool_calls", "function_call"];
const ANTHROPIC: [&str; 4] = ["end_turn", "max_tokens", "stop_sequence", "tool_use"];

fn list<'v>(answer: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    answer.get(name).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_answers_are_kept_where_they_ended_well() {
        let kept = |speaks, body: &str| may_be_kept(speaks, Form::Whole, body.as_bytes());
        for (speaks, good, bad) in [
            (
                Dialect::OpenAi,
                r#"{"choices":[{"finish_reason":"stop"},{"finish_reason":"tool_calls"}]}"#,
                r#"{"choices":[{"finish_reason":"stop"},{"finish_reason":"content_filter"}]}"#,
            ),
            (Dialect::Anthropic, r#"{"stop_reason":"end_turn"}"#, r#"{"stop_reason":"refusal"}"#),
            (Dialect::Anthropic, r#"{"stop_reason":"max_tokens"}"#, r#"{"stop_reason":"pause_turn"}"#),
            (Dialect::Responses, r#"{"status":"completed","error":null}"#, r#"{"status":"failed","error":{}}"#),
            (
                Dialect::Responses,
                r#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}"#,
                r#"{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}"#,
            ),
            (
                Dialect::Gemini,
                r#"{"candidates":[{"finishReason":"STOP"}]}"#,
                r#"{"candidates":[{"finishReason":"SAFETY"}]}"#,
            ),
            (
                Dialect::Gemini,
                r#"{"candidates":[{"finishReason":"MAX_TOKENS"}]}"#,
                r#"{"promptFeedback":{"blockReason":"OTHER"}}"#,
            ),
        ] {
            assert!(kept(speaks, good), "{good}");
            assert!(!kept(speaks, bad), "{bad}");
            assert!(!kept(speaks, &good[..good.len() - 1]), "cut off: {good}");
        }
        assert!(!kept(Dialect::OpenAi, r#"{"choices":[]}"#) && !kept(Dialect::OpenAi, r#"{"error":{"message":"x"}}"#));
        let other = |body: &str| may_be_kept(Dialect::OpenAi, Form::Other, body.as_bytes());
        assert!(other(r#"{"output":"x","finish_reason":"stop"}"#));
        assert!(!other(r#"{"output":"x","finish_reason":"content_filter"}"#));
        let pieces = |end: &str| {
            let body = format!("event: delta\ndata: {{\"output\":\"x\"}}\n\n{end}");
            may_be_kept(Dialect::OpenAi, Form::Pieces, body.as_bytes())
        };
        assert!(pieces("event: done\ndata: {\"output\":\"x\",\"finish_reason\":\"stop\"}\n\n"));
        assert!(!pieces("event: done\ndata: {\"output\":\"x\",\"finish_reason\":\"content_filter\"}\n\n"));
        assert!(!pieces("event: error\ndata: {\"code\":\"x\"}\n\n") && !pieces(""));
        assert!(
            other(r#"{"data":[]}"#)
                && !other(r#"{"error":"x"}"#)
                && !other("[1]")
                && !other("[null,null]")
                && !other("x")
        );
    }

    #[test]
    fn streams_are_kept_where_they_came_to_their_end() {
        let chat = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n";
        let messages = "event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        let responses = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"status\":\"in_progress\"}}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"error\":null}}\n\n";
        let gemini = "data: {\"candidates\":[{\"content\":{}}]}\r\n\r\ndata: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\r\n\r\n";
        for (speaks, stream) in [
            (Dialect::OpenAi, chat),
            (Dialect::Anthropic, messages),
            (Dialect::Responses, responses),
            (Dialect::Gemini, gemini),
        ] {
            let kept = |body: &str| may_be_kept(speaks, Form::Events, body.as_bytes());
            assert!(kept(stream), "{stream}");
            let last = stream.trim_end().rfind(if speaks == Dialect::Gemini { "\r\n\r\n" } else { "\n\n" });
            assert!(!kept(&stream[..last.unwrap_or(0)]), "without its last event");
            assert!(!kept(&format!("data: {{\"type\":\"error\",\"error\":{{}}}}\n\n{stream}")), "with an error");
            assert!(!kept(
                &stream
                    .replace("stop\"", "content_filter\"")
                    .replace("end_turn", "refusal")
                    .replace("completed\"", "failed\"")
                    .replace("STOP", "SAFETY")
            ));
        }
        let array = |body: &str| may_be_kept(Dialect::Gemini, Form::Array, body.as_bytes());
        assert!(array(r#"[{"candidates":[{}]},{"candidates":[{"finishReason":"STOP"}]}]"#));
        assert!(!array(r#"[{"candidates":[{"finishReason":"STOP"}]}"#) && !array(r#"[{"candidates":[{}]}]"#));
    }
}
