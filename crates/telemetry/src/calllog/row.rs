//! One call as the call log gives it back: the shape the admin API, the console and the command line show.
//!
//! No field can carry a secret by construction: there are ids, names, counts and times. The path is kept
//! without its query, because a query may hold a key; headers and bodies are never kept.

use credentialflow_model::{
    Fault, KeyId, OutcomeReason, Timestamp,
    usage::{CacheUse, McpUse, TokenUsage, Tried},
};
use serde::{Deserialize, Serialize};

/// One finished request, as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallRow {
    /// When the request's first byte was read.
    pub time: Timestamp,
    /// Identifies the request; also sent to the caller and the upstream. A ULID.
    #[schema(examples("01JCQ6Z5V9W3T1Y8K2M4N6P8R0"))]
    pub request_id: String,
    /// The W3C trace id it belongs to: 32 hexadecimal digits.
    pub trace_id: String,
    /// The address it came from.
    pub source: String,
    /// The application that called, if authenticated.
    pub application: Option<String>,
    /// The id of the key presented, if well-formed and known.
    pub key: Option<KeyId>,
    /// The route, if one matched.
    pub route: Option<String>,
    /// The method as sent.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// The upstream, if one was chosen.
    pub upstream: Option<String>,
    /// Its endpoint, as `host:port`.
    pub endpoint: Option<String>,
    /// The name of the upstream credential injected.
    pub credential: Option<String>,
    /// Its version.
    pub credential_version: Option<u32>,
    /// How the request ended.
    pub outcome: OutcomeReason,
    /// Whose fault that is.
    pub fault: Fault,
    /// The status sent to the caller; 0 when none was sent.
    pub status: u16,
    /// The status the upstream answered with; 0 when it did not answer.
    pub upstream_status: u16,
    /// How often the request was sent to an upstream.
    pub attempts: u8,
    /// Body bytes received from the caller.
    pub bytes_in: u64,
    /// Body bytes sent to the caller.
    pub bytes_out: u64,
    /// From the first byte read to the last byte written, in microseconds.
    pub total_us: u64,
    /// From sending upstream to the end of its answer, in microseconds.
    pub upstream_us: u64,
    /// From the first byte read to the first byte of the answer written, in microseconds.
    pub ttfb_us: u64,
    /// Present on model routes.
    pub model: Option<CallModel>,
    /// Present where a message was posted to an MCP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<CallMcp>,
}

/// What was asked of an MCP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallMcp {
    /// The method; of several messages that of the last one that was looked at.
    #[schema(examples("tools/call"))]
    pub method: String,
    /// The tool, prompt or resource that it names. Secrets in it are masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How the server answered: `result`, `tool_failed` where the result of a tool says that it failed, or `error` with
    /// the code of JSON-RPC. What was refused has `result` here; the outcome tells.
    #[schema(examples("result", "tool_failed", "error -32602"))]
    pub end: String,
    /// What guardrails found in what a tool was called with, and behind `answer/` in what the server answered, and what
    /// happened: the detector, the action, and how often where it was more than once.
    #[schema(examples(json!(["secrets/redact:2", "answer/words/block"])))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guardrails: Vec<String>,
}

impl From<&McpUse> for CallMcp {
    fn from(used: &McpUse) -> Self {
        let McpUse { method, name, end, guardrails } = used;
        Self {
            method: method.to_string(),
            name: name.as_ref().map(ToString::to_string),
            end: end.to_string(),
            guardrails: guardrails.iter().flat_map(|found| found.split(' ')).map(str::to_owned).collect(),
        }
    }
}

/// The model part of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallModel {
    /// The public model name the caller asked for, or that of the model that served instead.
    pub model: String,
    /// The provider that served it.
    pub provider: String,
    /// The provider's own model name.
    pub provider_model: String,
    /// Whether the answer was streamed.
    pub streamed: bool,
    /// Tokens; absent when the provider reported none.
    pub tokens: Option<TokenUsage>,
    /// Exact cost in US dollars as a decimal string; absent when there was nothing to price or the cost is unknown.
    #[schema(examples("0.000135"))]
    pub cost_usd: Option<String>,
    /// The cost is not known, and not zero: the price table has no price for the tokens or, when `tokens` is absent,
    /// the provider's count of them did not arrive.
    pub cost_unknown: bool,
    /// The provider's count of tokens did not arrive, and the cost is what budgets were charged instead.
    #[serde(default)]
    pub cost_estimated: bool,
    /// The windows of budgets that the cost was charged to: the budget, and when its window began, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(examples(json!(["applications/checkout/month@1793491200"])))]
    pub budgets: Vec<String>,
    /// Where the call was tried before, in order; the rest of the call is about the target that was tried last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<CallTried>,
    /// What guardrails found in the prompt, and behind `answer/` in the answer, and what happened: the detector, the action,
    /// and how often where that was counted and more than once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(examples(json!(["personal_data/redact:2", "answer/secrets/redact"])))]
    pub guardrails: Vec<String>,
    /// The end user that the call was for, as the caller says, where the application has calls told apart by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The public model name the caller asked for, where a budget that is used up had `model` serve instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// The prompt that the call was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<u32>,
    /// What the model's cache did; absent where it has none. After `hit` and `similar` the provider was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheUse>,
    /// What the call would have cost in US dollars, exactly, where the cache answered and the price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(examples("0.000135"))]
    pub saved_usd: Option<String>,
}

/// A target of a model at which a call was tried and failed, so that another one was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallTried {
    /// Its provider.
    pub provider: String,
    /// The provider's own model name.
    pub provider_model: String,
    /// The credential that was injected there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_version: Option<u32>,
    /// How it ended: the status that the provider answered with, `stream_error` for a stream that began with an error,
    /// `overtaken` where a target that was asked beside it began first, or an outcome such as `upstream_timeout`.
    #[schema(examples("503"))]
    pub end: String,
}

impl From<&Tried> for CallTried {
    fn from(tried: &Tried) -> Self {
        Self {
            provider: tried.provider.to_string(),
            provider_model: tried.provider_model.to_string(),
            credential: tried.credential.as_ref().map(|used| used.credential.to_string()),
            credential_version: tried.credential.as_ref().map(|used| used.version),
            end: tried.end.to_string(),
        }
    }
}

/// One page of a list: newest first, or oldest first from [`super::CallLog::tail`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items. May be fewer than asked for although [`Self::next`] is set, when the work for one page was capped.
    pub items: Vec<T>,
    /// Where to go on; absent at the end.
    pub next: Option<String>,
}
