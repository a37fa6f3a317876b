//! One call as the call log gives it back: the shape the admin API, the console and the command line show.
//!
//! No field can carry a secret by construction: there are ids, names, counts and times. The path is kept
//! without its query, because a query may hold a key; headers and bodies are never kept.

use credentialflow_model::{Fault, KeyId, OutcomeReason, Timestamp, usage::TokenUsage};
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
}

/// The model part of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallModel {
    /// The public model name the caller asked for.
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
}

/// One page of a list: newest first, or oldest first from [`super::CallLog::tail`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items. May be fewer than asked for although [`Self::next`] is set, when the work for one page was capped.
    pub items: Vec<T>,
    /// Where to go on; absent at the end.
    pub next: Option<String>,
}
