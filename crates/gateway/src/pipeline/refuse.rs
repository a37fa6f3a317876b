//! The one place where an outcome becomes an HTTP answer.

use super::{answer, forward::Ended, mcp, record::Recording};
use crate::{
    conn::{AnswerFraming, Caller},
    net::control::Control,
    worker::Worker,
};
use credentialflow_llm::{anthropic, gemini, openai, provider::Dialect};
use credentialflow_model::OutcomeReason;
use credentialflow_policy::{LimitReport, Refusal};
use std::{io::Write as _, time::Duration};

/// A request that is not served.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Why.
    pub reason: OutcomeReason,
    /// One more sentence for this occurrence. Never a secret, never what was wrong with one.
    detail: Option<String>,
    retry_after: Option<Duration>,
    fields: Vec<(&'static str, String)>,
    /// The code that JSON-RPC or MCP has for it.
    rpc_code: Option<i64>,
}

impl Refused {
    /// With nothing but its reason.
    pub const fn new(reason: OutcomeReason) -> Self {
        Self { reason, detail: None, retry_after: None, fields: Vec::new(), rpc_code: None }
    }

    /// With a sentence for this occurrence.
    pub fn with_detail(mut self, detail: String) -> Self {
        self.detail = Some(detail);
        self
    }

    /// With the code that JSON-RPC or MCP has for it.
    pub const fn with_rpc_code(mut self, code: i64) -> Self {
        self.rpc_code = Some(code);
        self
    }

    /// The code that JSON-RPC or MCP has for it.
    pub const fn rpc_code(&self) -> Option<i64> {
        self.rpc_code
    }

    /// The sentence for this occurrence.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// With the time after which another try makes sense.
    pub const fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// With another header field.
    pub fn with_field(mut self, name: &'static str, value: String) -> Self {
        self.fields.push((name, value));
        self
    }

    /// With what the limits say.
    pub fn with_limits(self, limits: &LimitReport) -> Self {
        if limits.is_empty() {
            return self;
        }
        let text = |push: fn(&LimitReport, &mut Vec<u8>)| {
            let mut out = Vec::new();
            push(limits, &mut out);
            String::from_utf8(out).unwrap_or_default()
        };
        self.with_field("ratelimit", text(LimitReport::push_rate_limit))
            .with_field("ratelimit-policy", text(LimitReport::push_rate_limit_policy))
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { retry_after: refusal.retry_after, ..Self::new(refusal.reason) }
    }
}

impl super::translate::UpstreamRequest {
    /// Decides about another try, whichever way the last one ended.
    pub(super) fn after(&mut self, ended: Ended, most: u8, record: &mut Recording<'_>) -> Result<(), Refused> {
        match ended {
            Ended::Failed(failure) => self.retry_after(failure, most, record),
            Ended::Refused(refused) => Err(refused),
        }
    }
}

/// Answers a refused request, if an answer can still be given, and completes its record.
pub(super) async fn rescue<C: Caller>(
    worker: &Worker,
    control: &Control,
    caller: &mut C,
    record: &mut Recording<'_>,
    refused: Refused,
) {
    let reason = refused.reason;
    record.outcome(reason);
    if record.has_answered() || reason == OutcomeReason::CallerClosed {
        // The head is gone already: only an early end can tell.
        caller.close_after();
        caller.abort();
        return;
    }
    let (id, detail) = (record.request_id(), refused.detail.as_deref());
    let mut status = reason.status();
    let (content_type, body) = match record.dialect() {
        Some(Dialect::OpenAi | Dialect::Responses | Dialect::Bedrock | Dialect::Replicate) => {
            ("application/json", openai::error::body(reason, id, detail))
        }
        Some(Dialect::Anthropic) => ("application/json", anthropic::error::body(reason, id, detail)),
        Some(Dialect::Gemini) => ("application/json", gemini::error::body(reason, id, detail)),
        None if let Some(rpc) = record.answers_rpc() => {
            status = mcp::refusal_status(&refused, rpc);
            ("application/json", mcp::refusal_body(&refused, rpc, record))
        }
        None => ("application/problem+json", problem(&refused, record)),
    };
    let mut fields = Vec::with_capacity(512);
    let _ = write!(fields, "content-type: {content_type}\r\ncache-control: no-store\r\n");
    let _ = write!(fields, "x-request-id: {id}\r\n");
    if record.dialect() == Some(Dialect::Anthropic) {
        // Where Anthropic's SDKs look for it.
        let _ = write!(fields, "request-id: {id}\r\n");
    }
    if let Some(after) = refused.retry_after {
        let _ = write!(fields, "retry-after: {}\r\n", after.as_secs_f64().ceil() as u64);
    }
    for (name, value) in &refused.fields {
        let _ = write!(fields, "{name}: {value}\r\n");
    }
    if matches!(reason, OutcomeReason::Revoked | OutcomeReason::MalformedRequest | OutcomeReason::Overloaded) {
        caller.close_after();
    }
    caller.settle();
    let len = body.len() as u64;
    let head = record.method_is_head();
    caller.begin(status, &fields, if head { AnswerFraming::Described(len) } else { AnswerFraming::Length(len) });
    record.answered(status);
    record.keep();
    if !head {
        caller.payload(&body);
        record.bytes_out(len);
    }
    caller.end();
    let _ = answer::flush(control, worker, caller).await;
    record.first_byte();
}

/// Problem details (RFC 9457).
pub(super) fn problem(refused: &Refused, record: &Recording<'_>) -> Vec<u8> {
    let reason = refused.reason;
    let mut body = serde_json::json!({
        "type": format!("urn:credentialflow:outcome:{}", reason.code()),
        "title": reason.title(),
        "status": reason.status(),
        "code": reason.code(),
        "request_id": record.request_id().to_string(),
        "retry": reason.retry_helps(),
    });
    if let Some(detail) = &refused.detail {
        body["detail"] = detail.as_str().into();
    }
    body.to_string().into_bytes()
}
