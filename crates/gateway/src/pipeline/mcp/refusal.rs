//! Refusals as clients of MCP read them: errors of JSON-RPC.

use super::super::{Refused, record::Recording};
use credentialflow_mcp::{Posted, error_body};
use credentialflow_model::OutcomeReason;

/// An outcome that JSON-RPC has no code for, of those that are left to implementations.
pub(super) const OTHER: i64 = -32010;

/// What a refusal of posted messages answers.
#[derive(Clone, Debug, Default)]
pub(in crate::pipeline) struct Rpc {
    ids: Box<[Box<str>]>,
    is_batch: bool,
}

impl Rpc {
    pub(super) fn of(posted: &Posted<'_>) -> Self {
        Self { ids: posted.ids().map(Into::into).collect(), is_batch: posted.is_batch }
    }
}

/// The body of a refusal.
pub(in crate::pipeline) fn body(refused: &Refused, rpc: &Rpc, record: &Recording<'_>) -> Vec<u8> {
    let reason = refused.reason;
    let message = refused.detail().map_or_else(|| reason.title().to_owned(), str::to_owned);
    let data = serde_json::json!({
        "code": reason.code(),
        "request_id": record.request_id().to_string(),
        "retry": reason.retry_helps(),
    });
    error_body(&rpc.ids, rpc.is_batch, refused.rpc_code().unwrap_or(OTHER), &message, &data)
}

/// The status of a refusal. What a caller may not use is answered as if the server had no such thing, and what a guardrail
/// refuses as if the server did: clients take a
/// status that is an error for the end of the session.
pub(in crate::pipeline) fn status(refused: &Refused, rpc: &Rpc) -> u16 {
    match refused.reason {
        OutcomeReason::McpNotAllowed | OutcomeReason::PromptBlocked if !rpc.ids.is_empty() => 200,
        reason => reason.status(),
    }
}
