//! A record as it stands in a journal.

use credentialflow_model::{
    KeyId, OutcomeReason, RequestId, Timestamp, TraceId, UsageRecord,
    usage::{CacheUse, Cost, CredentialUse, ModelUse, TokenUsage, Tried, TriedEnd},
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

#[derive(Serialize, Deserialize)]
pub(super) struct Line<'a> {
    time: i64,
    request_id: u128,
    trace_id: u128,
    source: IpAddr,
    application: Option<&'a str>,
    key: Option<u64>,
    route: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    upstream: Option<&'a str>,
    endpoint: Option<&'a str>,
    #[serde(borrow)]
    credential: Option<Credential<'a>>,
    outcome: u8,
    status: u16,
    upstream_status: u16,
    attempts: u8,
    bytes: [u64; 2],
    /// In all, at the upstream, to the first byte.
    times: [u64; 3],
    #[serde(borrow)]
    model: Option<Model<'a>>,
}

/// Its name and version.
type Credential<'a> = (&'a str, u32);

#[derive(Serialize, Deserialize)]
struct Model<'a> {
    model: &'a str,
    provider: &'a str,
    provider_model: &'a str,
    streamed: bool,
    /// In the order of [`TokenUsage`].
    tokens: Option<[u64; 6]>,
    cost: Option<Costs>,
    budgets: Option<&'a str>,
    #[serde(borrow)]
    tried: Vec<Try<'a>>,
    guardrails: Option<&'a str>,
    user: Option<&'a str>,
    asked: Option<&'a str>,
    prompt: Option<&'a str>,
    cache: Option<i64>,
    saved: Option<[u8; 16]>,
}

#[derive(Serialize, Deserialize)]
enum Costs {
    Known([u8; 16]),
    Estimated([u8; 16]),
    WithoutPrice,
    WithoutUsage,
}

#[derive(Serialize, Deserialize)]
struct Try<'a> {
    provider: &'a str,
    provider_model: &'a str,
    #[serde(borrow)]
    credential: Option<Credential<'a>>,
    end: End,
}

#[derive(Serialize, Deserialize)]
enum End {
    Status(u16),
    StreamError,
    Outcome(u8),
    Overtaken,
}

fn credential(used: Option<&CredentialUse>) -> Option<Credential<'_>> {
    used.map(|used| (&*used.credential, used.version))
}

fn credential_use(used: Option<Credential<'_>>) -> Option<CredentialUse> {
    used.map(|(name, version)| CredentialUse { credential: name.into(), version })
}

impl<'a> Line<'a> {
    /// All of a record that the call log holds, but for what was asked of an MCP server.
    pub fn of(r: &'a UsageRecord) -> Self {
        Self {
            time: r.time.micros(),
            request_id: r.request_id.0,
            trace_id: r.trace_id.0,
            source: r.source,
            application: r.application.as_deref(),
            key: r.key.map(KeyId::bits),
            route: r.route.as_deref(),
            method: &r.method,
            path: &r.path,
            upstream: r.upstream.as_deref(),
            endpoint: r.endpoint.as_deref(),
            credential: credential(r.credential.as_ref()),
            outcome: r.outcome as u8,
            status: r.status,
            upstream_status: r.upstream_status,
            attempts: r.attempts,
            bytes: [r.bytes_in, r.bytes_out],
            times: [r.total_us, r.upstream_us, r.ttfb_us],
            model: r.model.as_deref().map(Model::of),
        }
    }

    /// The record; `None` where it is of a later form.
    pub fn record(self) -> Option<UsageRecord> {
        Some(UsageRecord {
            time: Timestamp::from_micros(self.time),
            request_id: RequestId(self.request_id),
            trace_id: TraceId(self.trace_id),
            source: self.source,
            application: self.application.map(Into::into),
            key: self.key.map(KeyId::from_bits),
            secret: None,
            route: self.route.map(Into::into),
            method: self.method.into(),
            path: self.path.into(),
            upstream: self.upstream.map(Into::into),
            endpoint: self.endpoint.map(Into::into),
            credential: credential_use(self.credential),
            outcome: OutcomeReason::from_number(self.outcome)?,
            status: self.status,
            upstream_status: self.upstream_status,
            attempts: self.attempts,
            bytes_in: self.bytes[0],
            bytes_out: self.bytes[1],
            total_us: self.times[0],
            upstream_us: self.times[1],
            ttfb_us: self.times[2],
            model: match self.model {
                Some(model) => Some(Box::new(model.used()?)),
                None => None,
            },
            mcp: None,
        })
    }
}

impl<'a> Model<'a> {
    fn of(m: &'a ModelUse) -> Self {
        let tokens = |t: TokenUsage| [t.input, t.cached_input, t.cache_write, t.cache_write_1h, t.output, t.reasoning];
        Self {
            model: &m.model,
            provider: &m.provider,
            provider_model: &m.provider_model,
            streamed: m.streamed,
            tokens: m.tokens.map(tokens),
            cost: m.cost.map(|cost| match cost {
                Cost::Known(usd) => Costs::Known(usd.serialize()),
                Cost::Estimated(usd) => Costs::Estimated(usd.serialize()),
                Cost::UnknownPrice => Costs::WithoutPrice,
                Cost::UnknownUsage => Costs::WithoutUsage,
            }),
            budgets: m.budgets.as_deref(),
            tried: m.tried.iter().map(Try::of).collect(),
            guardrails: m.guardrails.as_deref(),
            user: m.user.as_deref(),
            asked: m.asked.as_deref(),
            prompt: m.prompt.as_deref(),
            cache: m.cache.map(|cache| cache as i64),
            saved: m.saved.map(|usd| usd.serialize()),
        }
    }

    fn used(self) -> Option<ModelUse> {
        let tokens = |[input, cached_input, cache_write, cache_write_1h, output, reasoning]: [u64; 6]| TokenUsage {
            input,
            cached_input,
            cache_write,
            cache_write_1h,
            output,
            reasoning,
        };
        Some(ModelUse {
            model: self.model.into(),
            provider: self.provider.into(),
            provider_model: self.provider_model.into(),
            streamed: self.streamed,
            tokens: self.tokens.map(tokens),
            cost: self.cost.map(|cost| match cost {
                Costs::Known(usd) => Cost::Known(Decimal::deserialize(usd)),
                Costs::Estimated(usd) => Cost::Estimated(Decimal::deserialize(usd)),
                Costs::WithoutPrice => Cost::UnknownPrice,
                Costs::WithoutUsage => Cost::UnknownUsage,
            }),
            budgets: self.budgets.map(Into::into),
            tried: self.tried.into_iter().map(Try::tried).collect::<Option<_>>()?,
            guardrails: self.guardrails.map(Into::into),
            user: self.user.map(Into::into),
            asked: self.asked.map(Into::into),
            prompt: self.prompt.map(Into::into),
            cache: self.cache.and_then(CacheUse::from_number),
            saved: self.saved.map(Decimal::deserialize),
        })
    }
}

impl<'a> Try<'a> {
    fn of(t: &'a Tried) -> Self {
        let end = match t.end {
            TriedEnd::Status(status) => End::Status(status),
            TriedEnd::StreamError => End::StreamError,
            TriedEnd::Outcome(outcome) => End::Outcome(outcome as u8),
            TriedEnd::Overtaken => End::Overtaken,
        };
        Self {
            provider: &t.provider,
            provider_model: &t.provider_model,
            credential: credential(t.credential.as_ref()),
            end,
        }
    }

    fn tried(self) -> Option<Tried> {
        let end = match self.end {
            End::Status(status) => TriedEnd::Status(status),
            End::StreamError => TriedEnd::StreamError,
            End::Outcome(outcome) => TriedEnd::Outcome(OutcomeReason::from_number(outcome)?),
            End::Overtaken => TriedEnd::Overtaken,
        };
        Some(Tried {
            provider: self.provider.into(),
            provider_model: self.provider_model.into(),
            credential: credential_use(self.credential),
            end,
        })
    }
}
