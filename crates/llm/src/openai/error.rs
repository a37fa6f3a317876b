//! Refusals in the OpenAI dialect, so that the official SDKs raise the error class their users expect.
//!
//! The SDKs choose the class by status ([`OutcomeReason::status`]): 400 `BadRequestError`, 401
//! `AuthenticationError`, 403 `PermissionDeniedError`, 404 `NotFoundError`, 429 `RateLimitError`, from 500 on
//! `InternalServerError`. `code` is the reason's stable code. Nothing a caller sent is echoed.
//! Reference: <https://platform.openai.com/docs/guides/error-codes>.

use super::request::write_json_string;
use credentialflow_model::{OutcomeReason, usage::RequestId};
use std::fmt::Write;

/// The body of a refusal. `detail` is one more sentence for this occurrence, without secrets and without
/// text from the caller (as [`super::request::InvalidCall`]'s message).
pub fn body(reason: OutcomeReason, request_id: RequestId, detail: Option<&str>) -> Vec<u8> {
    let message = message(reason, request_id, detail, None);
    let mut out = Vec::with_capacity(message.len() + 96);
    out.extend_from_slice(b"{\"error\":{\"message\":");
    write_json_string(&mut out, &message);
    out.extend_from_slice(b",\"type\":");
    write_json_string(&mut out, kind(reason.status()));
    out.extend_from_slice(match reason {
        OutcomeReason::ModelNotFound => b",\"param\":\"model\",\"code\":".as_slice(),
        _ => b",\"param\":null,\"code\":",
    });
    write_json_string(&mut out, reason.code());
    out.extend_from_slice(b"}}");
    out
}

/// What a refusal says in words, in any dialect. `own_advice` stands in for what is said in this dialect's words.
pub(crate) fn message(
    reason: OutcomeReason,
    request_id: RequestId,
    detail: Option<&str>,
    own_advice: Option<&str>,
) -> String {
    let mut message = String::with_capacity(160);
    message.push_str(reason.title());
    if let Some(detail) = detail {
        message.push_str(": ");
        message.push_str(detail);
    }
    message.push_str(". ");
    message.push_str(own_advice.unwrap_or_else(|| advice(reason)));
    let _ = write!(message, " Request id: {request_id}.");
    message
}

/// The `type` of OpenAI's errors.
pub(crate) const fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

/// What the caller can do about it.
fn advice(reason: OutcomeReason) -> &'static str {
    match reason {
        OutcomeReason::Unauthenticated | OutcomeReason::Revoked => "Send a valid key as `Authorization: Bearer <key>`.",
        OutcomeReason::Forbidden => "Ask for this route or model to be allowed for your application.",
        OutcomeReason::SourceNotAllowed => "Call from a network the key is allowed from.",
        OutcomeReason::ObjectNotFound => "Ask for one that you made yourself, by the id that you were told.",
        OutcomeReason::FileUnknown => "Upload the file here, and name it by the id that you were told.",
        OutcomeReason::ModelNotFound => "GET /v1/models lists the models you may use.",
        OutcomeReason::RateLimited | OutcomeReason::TooManyFailures => {
            "Wait as the Retry-After header says, then try again."
        }
        OutcomeReason::SecretInRequest => "Take it out, and tell whoever it belongs to that it was sent.",
        OutcomeReason::InvalidModelCall => {
            "Send a `model` and what this endpoint takes beside it, as its reference says."
        }
        reason if reason.retry_helps() => "Try again later.",
        _ => "Change the request before you try again.",
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
                "message": "A valid credential is required. Send a valid key as `Authorization: Bearer <key>`. Request id: 00000000000000000000000007.",
                "type": "authentication_error", "param": null, "code": "unauthenticated",
            }})
        );
        let got: Value = serde_json::from_slice(&body(OutcomeReason::ModelNotFound, RequestId(7), None)).unwrap();
        assert_eq!((&got["error"]["type"], &got["error"]["param"]), (&json!("not_found_error"), &json!("model")));
    }

    #[test]
    fn every_reason_has_a_body_with_its_code_and_the_request_id() {
        for reason in OutcomeReason::ALL {
            let got: Value = serde_json::from_slice(&body(*reason, RequestId(1), Some("a \"detail\""))).unwrap();
            assert_eq!(got["error"]["code"], reason.code());
            let message = got["error"]["message"].as_str().unwrap();
            assert!(message.contains("00000000000000000000000001") && message.contains("a \"detail\""), "{message}");
        }
    }
}
