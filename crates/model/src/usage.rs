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
    /// What a budget was charged, in US dollars, for a call whose count of tokens did not arrive.
    Estimated(Decimal),
    /// There were tokens, but the price table has no price for them. Never counted as zero.
    UnknownPrice,
    /// The provider served the call and its count of tokens did not arrive: it sent none, or the caller
    /// left before. Never counted as zero.
    UnknownUsage,
}

/// The model part of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelUse {
    /// The public model name the caller asked for, or that of the model that served instead.
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
    /// The windows of budgets that the cost is charged to, as in `applications/checkout/month@1793491200`: the budget
    /// and when its window began, in seconds since 1970; several with a space between them.
    pub budgets: Option<Arc<str>>,
    /// Where the call was tried before, in order; the rest of the record is about the target that was tried last.
    pub tried: Vec<Tried>,
    /// What guardrails found, as in `personal_data/redact:2` or `answer/secrets/block`: the detector, what happened, and how
    /// often where that was counted; several with a space between them.
    pub guardrails: Option<Arc<str>>,
    /// The end user that the call was for, as the caller says, where the application has calls told apart by that.
    pub user: Option<Arc<str>>,
    /// The public model name the caller asked for, where a budget that is used up had [`ModelUse::model`] serve instead.
    pub asked: Option<Arc<str>>,
    /// The prompt that the call was made of and its version, as in `sentiment/3`.
    pub prompt: Option<Arc<str>>,
    /// What the model's cache did; `None` where it has none.
    pub cache: Option<CacheUse>,
    /// What the answer would have cost, in US dollars, where it came from the cache and its price is known.
    pub saved: Option<Decimal>,
}

/// What the cache of a model did with a call. The numbers are stored: none is used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheUse {
    /// It answered: the same call was answered before.
    Hit = 1,
    /// It answered: a call that asks nearly the same was answered before.
    Similar = 2,
    /// It was asked and had no answer.
    Miss = 3,
    /// The caller wanted a new answer, which is kept.
    Refresh = 4,
    /// It was not asked, and keeps nothing: the caller did not want it, or the call is one that is never kept.
    Bypass = 5,
}

impl CacheUse {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Hit, Self::Similar, Self::Miss, Self::Refresh, Self::Bypass];

    /// The word that is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Similar => "similar",
            Self::Miss => "miss",
            Self::Refresh => "refresh",
            Self::Bypass => "bypass",
        }
    }

    /// The one of this number.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|one| *one as i64 == number)
    }

    /// Whether the answer came from it.
    pub const fn answered(self) -> bool {
        matches!(self, Self::Hit | Self::Similar)
    }
}

/// A target of a model at which a call was tried and failed, so that another one was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Its provider.
    pub provider: Arc<str>,
    /// The provider's own model name.
    pub provider_model: Arc<str>,
    /// The credential that was injected there.
    pub credential: Option<CredentialUse>,
    /// How it ended.
    pub end: TriedEnd,
}

/// How a call ended at a target, before another one was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriedEnd {
    /// The provider answered with this status.
    Status(u16),
    /// The stream began with an error.
    StreamError,
    /// There was no answer, or no usable one.
    Outcome(OutcomeReason),
    /// Another target that was asked beside it began to answer first.
    Overtaken,
}

impl TriedEnd {
    /// The status that the provider answered with; 0 when it did not answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::Status(status) => status,
            Self::StreamError => 200,
            Self::Outcome(_) | Self::Overtaken => 0,
        }
    }
}

impl fmt::Display for TriedEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::StreamError => f.write_str("stream_error"),
            Self::Outcome(reason) => f.write_str(reason.code()),
            Self::Overtaken => f.write_str("overtaken"),
        }
    }
}

/// Which of a key's two secrets a caller showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretShown {
    /// Its version.
    pub version: u32,
    /// Whether it is the older one, which is to go.
    pub is_older: bool,
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
    /// Which of the key's secrets, while a rotation waits for callers to leave the older one. Not in the call log.
    pub secret: Option<SecretShown>,
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
    /// Present where a message was posted to an MCP server.
    pub mcp: Option<Box<McpUse>>,
}

/// What was asked of an MCP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpUse {
    /// The method, as in `tools/call`; of several messages that of the last one that was looked at.
    pub method: Box<str>,
    /// The tool, prompt or resource that it names, as the caller wrote it, cut at 256 bytes; secrets in it are masked, and
    /// of a URI what follows `?` or `#` is left out.
    pub name: Option<Box<str>>,
    /// How the server answered.
    pub end: McpEnd,
    /// What guardrails found, as in `secrets/redact:2 answer/words/block`.
    pub guardrails: Option<Box<str>>,
}

/// How an MCP server answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum McpEnd {
    /// With a result, or not at all.
    #[default]
    Result,
    /// With the result of a tool that says that it failed.
    ToolFailed,
    /// With an error of JSON-RPC that has this code.
    Error(i64),
}

impl fmt::Display for McpEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Result => f.write_str("result"),
            Self::ToolFailed => f.write_str("tool_failed"),
            Self::Error(code) => write!(f, "error {code}"),
        }
    }
}

/// What each of the windows of budgets that a record names is charged of its cost, in units of 10^-12 US dollars.
///
/// A window is charged with all of it, as a rule. Where a call was tried at several providers that have budgets of their
/// own, each of those is charged with its share only, which is written behind the window: `upstreams/a/month@0=17`.
pub fn charges(budgets: &str, cost: i64) -> impl Iterator<Item = (&str, i64)> {
    budgets.split_whitespace().map(move |window| match window.split_once('=') {
        Some((window, share)) => (window, share.parse().unwrap_or(cost)),
        None => (window, cost),
    })
}

/// The windows that several tries of one call are charged to, as records name them, and what they cost together.
pub fn charged_together<'a>(tries: impl IntoIterator<Item = (i64, &'a str)>) -> (i64, String) {
    let (mut total, mut windows) = (0i64, Vec::<(&str, i64)>::new());
    for (cost, of) in tries {
        total = total.saturating_add(cost);
        for (window, share) in charges(of, cost) {
            match windows.iter_mut().find(|(known, _)| *known == window) {
                Some((_, sum)) => *sum = sum.saturating_add(share),
                None => windows.push((window, share)),
            }
        }
    }
    let text = windows.iter().map(|(window, sum)| match *sum == total {
        true => (*window).to_owned(),
        false => format!("{window}={sum}"),
    });
    (total, text.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod charge_tests {
    use super::*;

    #[test]
    fn each_window_is_charged_with_what_its_tries_cost() {
        let (all, a, b) = ("keys/k/1d@0 models/m/day@7", "upstreams/a/month@9", "upstreams/b/1d@0");
        let one = [(5, all), (3, all)];
        assert_eq!(charged_together(one), (8, all.to_owned()), "tries at one provider");
        let (of_a, of_b) = (format!("{all} {a}"), format!("{all} {b}"));
        let (cost, text) = charged_together([(5, of_a.as_str()), (0, of_b.as_str()), (3, of_b.as_str())]);
        assert_eq!((cost, text.as_str()), (8, "keys/k/1d@0 models/m/day@7 upstreams/a/month@9=5 upstreams/b/1d@0=3"));
        let each: Vec<_> = charges(&text, cost).collect();
        assert_eq!(
            each,
            [("keys/k/1d@0", 8), ("models/m/day@7", 8), ("upstreams/a/month@9", 5), ("upstreams/b/1d@0", 3)]
        );
        let again = charged_together([(cost, text.as_str()), (1, a), (2, "")]);
        let shares = "keys/k/1d@0=8 models/m/day@7=8 upstreams/a/month@9=6 upstreams/b/1d@0=3";
        assert_eq!(again, (11, shares.to_owned()), "what was put together once");
        assert_eq!(charges("", 8).count(), 0);
        assert_eq!(charged_together([]), (0, String::new()));
    }
}
