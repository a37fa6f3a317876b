//! Refusals in the Gemini dialect, so that the official SDKs raise the error class their users expect.
//!
//! The SDKs choose the class by status ([`OutcomeReason::status`]); `error.status` follows from it. The reason's
//! stable code stands in an `ErrorInfo`, as Google's own do. Nothing a caller sent is echoed.
//! Reference: <https://google.aip.dev/193>.

use crate::openai::{error::message, request::write_json_string};
use credentialflow_model::{OutcomeReason, usage::RequestId};
use std::io::Write as _;

/// The body of a refusal. `detail` is one more sentence for this occurrence, without secrets and without
/// text from the caller.
pub fn body(reason: OutcomeReason, request_id: RequestId, detail: Option<&str>) -> Vec<u8> {
    let message = message(reason, request_id, detail, advice(reason));
    let mut out = Vec::with_capacity(message.len() + 256);
    head(&mut out, reason.status(), &message);
    out.extend_from_slice(b",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":");
    write_json_string(&mut out, reason.code());
    out.extend_from_slice(b",\"domain\":\"credentialflow\",\"metadata\":{\"request_id\":");
    write_json_string(&mut out, &request_id.to_string());
    out.extend_from_slice(b"}}]}}");
    out
}

/// An error up to its message, two objects left open.
pub(crate) fn head(out: &mut Vec<u8>, status: u16, message: &str) {
    let _ = write!(out, "{{\"error\":{{\"code\":{status},\"message\":");
    write_json_string(out, message);
    out.extend_from_slice(b",\"status\":");
    write_json_string(out, kind(status));
}

/// The `status` of Google's errors.
pub(crate) const fn kind(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 | 403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        502 | 503 | 529 => "UNAVAILABLE",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

/// What the caller can do about it, where that is said in this dialect's words.
const fn advice(reason: OutcomeReason) -> Option<&'static str> {
    match reason {
        OutcomeReason::Unauthenticated | OutcomeReason::Revoked => {
            Some("Send a valid key as `x-goog-api-key: <key>` or `Authorization: Bearer <key>`.")
        }
        OutcomeReason::ModelNotFound => Some("GET /v1beta/models lists the models you may use."),
        OutcomeReason::InvalidModelCall => Some("Send one JSON object with `contents`."),
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
            json!({"error": {
                "code": 401, "status": "UNAUTHENTICATED",
                "message": "A valid credential is required. Send a valid key as `x-goog-api-key: <key>` or `Authorization: Bearer <key>`. Request id: 00000000000000000000000007.",
                "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "unauthenticated",
                    "domain": "credentialflow", "metadata": {"request_id": "00000000000000000000000007"}}],
            }})
        );
    }

    #[test]
    fn every_reason_has_a_body_with_its_code_and_the_request_id() {
        for reason in OutcomeReason::ALL {
            let got: Value = serde_json::from_slice(&body(*reason, RequestId(1), Some("a \"detail\""))).unwrap();
            assert_eq!(got["error"]["code"], reason.status());
            assert_eq!(got["error"]["details"][0]["reason"], reason.code());
            let message = got["error"]["message"].as_str().unwrap();
            assert!(message.contains("00000000000000000000000001") && message.contains("a \"detail\""), "{message}");
        }
    }
}
