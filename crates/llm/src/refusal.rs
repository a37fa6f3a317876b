//! A refusal within a streamed answer that has begun, as an event of the caller's dialect: what the official SDKs raise an
//! error for.

use crate::{anthropic, gemini, guardrail::answer::Frames, openai, provider::Dialect};
use credentialflow_model::{OutcomeReason, usage::RequestId};
use std::io::Write as _;

/// Writes the event that ends a stream. `gone` is how many events went before it; an array is one whose elements were held
/// back, so that this is its only one.
pub fn event(
    (dialect, frames): (Dialect, Frames),
    reason: OutcomeReason,
    request_id: RequestId,
    detail: Option<&str>,
    gone: u64,
    out: &mut Vec<u8>,
) {
    match dialect {
        // No caller speaks the last two.
        Dialect::OpenAi | Dialect::Bedrock | Dialect::Replicate => {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(&openai::error::body(reason, request_id, detail));
            out.extend_from_slice(b"\n\n");
        }
        Dialect::Responses => {
            // Both as it is documented and with the member for which the SDKs raise.
            let _ = write!(out, "event: error\ndata: {{\"type\":\"error\",\"sequence_number\":{gone},\"code\":");
            openai::request::write_json_string(out, reason.code());
            out.extend_from_slice(b",\"param\":null,\"message\":");
            openai::request::write_json_string(out, &openai::error::message(reason, request_id, detail, None));
            let body = openai::error::body(reason, request_id, detail);
            out.push(b',');
            out.extend_from_slice(body.strip_prefix(b"{").unwrap_or(&body));
            out.extend_from_slice(b"\n\n");
        }
        Dialect::Anthropic => {
            out.extend_from_slice(b"event: error\ndata: ");
            out.extend_from_slice(&anthropic::error::body(reason, request_id, detail));
            out.extend_from_slice(b"\n\n");
        }
        Dialect::Gemini => {
            let (before, after): (&[u8], &[u8]) = match frames {
                Frames::Events => (b"data: ", b"\r\n\r\n"),
                Frames::Array => (b"[", b"]"),
            };
            out.extend_from_slice(before);
            out.extend_from_slice(&gemini::error::body(reason, request_id, detail));
            out.extend_from_slice(after);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::Value;

    #[test]
    fn every_dialect_has_an_event() {
        for (dialect, frames, head) in [
            (Dialect::OpenAi, Frames::Events, "data: "),
            (Dialect::Responses, Frames::Events, "event: error\ndata: "),
            (Dialect::Anthropic, Frames::Events, "event: error\ndata: "),
            (Dialect::Gemini, Frames::Events, "data: "),
            (Dialect::Gemini, Frames::Array, ""),
        ] {
            let mut out = Vec::new();
            event((dialect, frames), OutcomeReason::PromptBlocked, RequestId(7), Some("why"), 3, &mut out);
            let text = String::from_utf8(out).unwrap();
            let json: Value = serde_json::from_str(text.strip_prefix(head).unwrap().trim_end()).unwrap();
            let json = if frames == Frames::Array { &json[0] } else { &json };
            assert!(json["error"].is_object(), "{json}");
            assert!(json.to_string().contains("prompt_blocked") && json.to_string().contains("why"), "{json}");
            if dialect == Dialect::Responses {
                assert_eq!((&json["type"], &json["sequence_number"]), (&"error".into(), &3.into()));
            }
        }
    }
}
