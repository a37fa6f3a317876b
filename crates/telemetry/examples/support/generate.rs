//! Makes records that look like a gateway's; names are shared by `Arc` as the gateway shares them.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use credentialflow_model::{
    KeyId, OutcomeReason, RequestId, Timestamp, TraceId, UsageRecord,
    usage::{Cost, CredentialUse, ModelUse, TokenUsage},
};
use rust_decimal::Decimal;
use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

pub struct Generator {
    state: u64,
    pub made: u64,
    keys: u64,
    models: bool,
    start_us: i64,
    step_us: i64,
    names: Vec<[Arc<str>; 5]>,
    method: Arc<str>,
    model: [Arc<str>; 3],
}

impl Generator {
    /// `step_us`: between two records; 0 takes the clock.
    pub fn new(keys: u64, models: bool, step_us: i64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
        let names = (0..20)
            .map(|i| ["app", "route", "upstream", "10.0.0.1:90", "credential"].map(|n| format!("{n}-{i:02}").into()))
            .collect();
        let model = ["chat-default", "openai", "gpt-5-mini"].map(Into::into);
        Self { state: 7, made: 0, keys, models, start_us: now, step_us, names, method: "GET".into(), model }
    }

    pub fn starting(mut self, start_us: i64) -> Self {
        self.start_us = start_us;
        self
    }

    pub fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    pub fn record(&mut self) -> UsageRecord {
        let n = self.made;
        self.made += 1;
        let random = self.random();
        let names = &self.names[(random % 16) as usize];
        let time = self.start_us + n as i64 * self.step_us;
        let failed = random >> 8 & 127 == 0;
        let model = self.models.then(|| {
            Box::new(ModelUse {
                model: self.model[0].clone(),
                provider: self.model[1].clone(),
                provider_model: self.model[2].clone(),
                streamed: true,
                tokens: Some(TokenUsage { input: 900, output: random >> 16 & 511, ..TokenUsage::default() }),
                cost: Some(Cost::Known(Decimal::new((random >> 20 & 0xffff) as i64, 9))),
                budgets: None,
                tried: Vec::new(),
                guardrails: None,
                user: None,
                asked: None,
                prompt: None,
                cache: None,
                saved: None,
            })
        });
        UsageRecord {
            mcp: None,
            time: Timestamp::from_micros(time),
            request_id: RequestId((time as u128 / 1000) << 80 | u128::from(random) << 8 | u128::from(n & 255)),
            trace_id: TraceId(u128::from(random) << 64 | u128::from(n)),
            source: Ipv4Addr::from(0x0a00_0000 | (random >> 24 & 0xff) as u32).into(),
            application: Some(names[0].clone()),
            key: Some(KeyId::from_bits(((random >> 30) % self.keys).wrapping_mul(0x9e37_79b9_7f4a_7c15))),
            secret: None,
            route: Some(names[1].clone()),
            method: self.method.clone(),
            path: "/orders/12345/lines".into(),
            upstream: Some(names[2].clone()),
            endpoint: Some(names[3].clone()),
            credential: Some(CredentialUse { credential: names[4].clone(), version: 1 }),
            outcome: if failed { OutcomeReason::UpstreamTimeout } else { OutcomeReason::Served },
            status: if failed { 504 } else { 200 },
            upstream_status: if failed { 0 } else { 200 },
            attempts: 1,
            bytes_in: 120,
            bytes_out: 1024,
            total_us: 300 + (random >> 40 & 4095),
            upstream_us: 200,
            ttfb_us: 280,
            model,
        }
    }

    pub fn batch(&mut self, n: usize, _i: u64) -> Vec<UsageRecord> {
        (0..n).map(|_| self.record()).collect()
    }
}
