//! Refusals in the Anthropic dialect, so that the official SDKs raise the error class their users expect.
//!
//! The SDKs choose the class by status ([`OutcomeReason::status`]); `error.type` follows from it. `error.code` is
//! ours and holds the reason's stable code. Nothing a caller sent is echoed.
//! Reference: <https://platform.claude.com/docs/en/api/errors>.

use crate::openai::{error::message, request::write_json_string};
use credentialflow_model::{OutcomeReason, usage::RequestId};

/// The body of a refusal. `detail` is one more sentence for this occurrence, without secrets and without
/// text from the caller.
pub fn body(reason: OutcomeReason, request_id: RequestId, detail: Option<&str>) -> Vec<u8> {
    let message = message(reason, request_id, detail, advice(reason));
    let mut out = Vec::with_capacity(message.len() + 160);
    out.extend_from_slice(b"{\"type\":\"error\",\"error\":{\"type\":");
    write_json_string(&mut out, kind(reason.status()));
    out.extend_from_slice(b",\"message\":");
    write_json_string(&mut out, &message);
    out.extend_from_slice(b",\"code\":");
    write_json_string(&mut out, reason.code());
    out.extend_from_slice(b"},\"request_id\":");
    write_json_string(&mut out, &request_id.to_string());
    out.push(b'}');
    out
}

/// The `type` of Anthropic's errors.
pub(crate) const fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// What the caller can do about it, where that is said in this dialect's words.
const fn advice(reason: OutcomeReason) -> Option<&'static str> {
    match reason {
        OutcomeReason::Unauthenticated | OutcomeReason::Revoked => {
            Some("Send a valid key as `x-api-key: <key>` or `Authorization: Bearer <key>`.")
        }
        OutcomeReason::InvalidModelCall => Some("Send one JSON object with a `model`, `max_tokens` and `messages`."),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn wire_form() {
        let got = body(OutcomeReason::Unauthenticated, RequestId(7), None);
        assert_eq!(
            serde_json::from_slice::<Value>(&got).unwrap(),
            json!({"type": "error", "request_id": "00000000000000000000000007", "error": {
                "type": "authentication_error", "code": "unauthenticated",
                "message": "A valid credential is required. Send a valid key as `x-api-key: <key>` or `Authorization: Bearer <key>`. Request id: 00000000000000000000000007.",
            }})
        );
    }

    #[test]
    fn every_reason_has_a_body_with_its_code_and_the_request_id() {
        for reason in OutcomeReason::ALL {
            let got: Value = serde_json::from_slice(&body(*reason, RequestId(1), Some("a \"detail\""))).unwrap();
            assert_eq!((&got["type"], &got["error"]["code"]), (&json!("error"), &json!(reason.code())));
            let message = got["error"]["message"].as_str().unwrap();
            assert!(message.contains("00000000000000000000000001") && message.contains("a \"detail\""), "{message}");
        }
    }
}
