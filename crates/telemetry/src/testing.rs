//! Records to test with.
#![allow(clippy::unwrap_used)]

use credentialflow_model::{
    KeyId, OutcomeReason, RequestId, Timestamp, TraceId, UsageRecord,
    usage::{Cost, CredentialUse, ModelUse, TokenUsage},
};
use std::net::Ipv4Addr;

/// 2026-11-01T12:00:00Z.
pub(crate) const NOON: i64 = 1_793_534_400_000_000;

/// A plain served call; `n` makes it different from others and later by as many microseconds.
pub(crate) fn plain(n: u64) -> UsageRecord {
    UsageRecord {
        mcp: None,
        time: Timestamp::from_micros(NOON + n as i64),
        request_id: RequestId(u128::from(n) << 64 | 0x8000_0000_0000_0001),
        trace_id: TraceId(u128::MAX - u128::from(n)),
        source: Ipv4Addr::new(127, 0, 0, 1).into(),
        application: Some("checkout".into()),
        key: Some(KeyId::from_bits(77)),
        secret: None,
        route: Some("orders".into()),
        method: "GET".into(),
        path: "/orders/1".into(),
        upstream: Some("orders".into()),
        endpoint: Some("127.0.0.1:9001".into()),
        credential: Some(CredentialUse { credential: "orders-token".into(), version: 3 }),
        outcome: OutcomeReason::Served,
        status: 200,
        upstream_status: 200,
        attempts: 1,
        bytes_in: 10,
        bytes_out: 1024,
        total_us: 1500,
        upstream_us: 1200,
        ttfb_us: 1300,
        model: None,
    }
}

/// A call that was refused before anything about it was known.
pub(crate) fn bare(n: u64) -> UsageRecord {
    UsageRecord {
        source: "2001:db8::1".parse().unwrap(),
        application: None,
        key: None,
        route: None,
        upstream: None,
        endpoint: None,
        credential: None,
        outcome: OutcomeReason::NoRoute,
        status: 404,
        upstream_status: 0,
        attempts: 0,
        ..plain(n)
    }
}

/// A model call.
pub(crate) fn model(n: u64, cost: Option<Cost>) -> UsageRecord {
    let tokens =
        TokenUsage { input: 100, cached_input: 20, cache_write: 30, cache_write_1h: 10, output: 50, reasoning: 5 };
    let used = ModelUse {
        model: "chat-default".into(),
        provider: "openai".into(),
        provider_model: "gpt-5-mini".into(),
        streamed: true,
        tokens: cost.map(|_| tokens),
        cost,
        budgets: None,
        tried: Vec::new(),
        guardrails: None,
        user: None,
        asked: None,
        prompt: None,
        cache: None,
        saved: None,
    };
    UsageRecord { model: Some(Box::new(used)), method: "POST".into(), ..plain(n) }
}

/// A model call whose count of tokens did not arrive.
pub(crate) fn untold(n: u64) -> UsageRecord {
    let mut record = model(n, Some(Cost::UnknownUsage));
    if let Some(used) = &mut record.model {
        used.tokens = None;
    }
    record
}
