//! The record of one use of a credential: who used which one for what, and how it ended.

use crate::{KeyId, OutcomeReason, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, sync::Arc};

/// Identifies one request; a ULID, so ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RequestId(pub u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buf = [0u8; ulid::ULID_LEN];
        f.write_str(ulid::Ulid(self.0).array_to_str(&mut buf))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for RequestId {
    type Err = ulid::DecodeError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        ulid::Ulid::from_string(s).map(|u| Self(u.0))
    }
}

/// A W3C trace id: 128 bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TraceId(pub u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which version of which upstream credential was injected.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CredentialUse {
    /// The credential's name.
    pub credential: Arc<str>,
    /// Its version.
    pub version: u32,
}

/// Tokens of a model call, as the provider counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenUsage {
    /// Tokens read by the model, cached ones included.
    pub input: u64,
    /// Of those, read from the provider's prompt cache.
    pub cached_input: u64,
    /// Of the input, written into the provider's prompt cache, where the provider counts that.
    #[serde(default)]
    pub cache_write: u64,
    /// Of those written, the ones to be kept for an hour, which have a price of their own.
    #[serde(default)]
    pub cache_write_1h: u64,
    /// Tokens written by the model, reasoning included.
    pub output: u64,
    /// Of those, spent on reasoning.
    pub reasoning: u64,
}

/// What a model call cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "usd")]
pub enum Cost {
    /// Exact cost in US dollars.
    Known(Decimal),
    /// There were tokens, but the price table has no price for them. Never counted as zero.
    UnknownPrice,
    /// The provider served the call and its count of tokens did not arrive: it sent none, or the caller
    /// left before. Never counted as zero.
    UnknownUsage,
}

/// The model part of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelUse {
    /// The public model name the caller asked for.
    pub model: Arc<str>,
    /// The provider that served it.
    pub provider: Arc<str>,
    /// The provider's own model name.
    pub provider_model: Arc<str>,
    /// Whether the answer was streamed.
    pub streamed: bool,
    /// Tokens; `None` when the provider reported none.
    pub tokens: Option<TokenUsage>,
    /// Cost; `None` when the provider served nothing.
    pub cost: Option<Cost>,
}

/// One finished request. Every request ends in exactly one.
#[derive(Clone, Debug)]
pub struct UsageRecord {
    /// When the request's first byte was read.
    pub time: Timestamp,
    /// Identifies the request; also sent to the caller and the upstream.
    pub request_id: RequestId,
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Where it came from.
    pub source: IpAddr,
    /// The application that called, if authenticated.
    pub application: Option<Arc<str>>,
    /// The key it presented, if well-formed and known.
    pub key: Option<KeyId>,
    /// The route, if one matched.
    pub route: Option<Arc<str>>,
    /// Method, as sent (upper case for all standard ones).
    pub method: Arc<str>,
    /// Path without the query, as sent, cut at 256 bytes; the secrets of keys in it are masked.
    pub path: Box<str>,
    /// The upstream, if one was chosen.
    pub upstream: Option<Arc<str>>,
    /// Its endpoint, as `host:port`.
    pub endpoint: Option<Arc<str>>,
    /// The upstream credential injected.
    pub credential: Option<CredentialUse>,
    /// How it ended.
    pub outcome: OutcomeReason,
    /// Status sent to the caller; 0 when none was sent.
    pub status: u16,
    /// Status the upstream answered with; 0 when it did not answer.
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
    pub model: Option<Box<ModelUse>>,
}
