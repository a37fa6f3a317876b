//! Charges batches that are over and writes them to the call log.
//!
//! Each step is stored before the next is taken. First the bill, so that what a batch cost is decided once; then the turn at
//! the budgets, which has a number; then the record in the call log, which has an id and is looked for before it is written.

use super::{Batches, follow::now};
use credentialflow_model::{
    Actor, OutcomeReason, RequestId, Timestamp, TraceId, UsageRecord,
    objects::{Bill, ModelObject, ObjectKind, ObjectState},
    resource::budget::usd,
    usage::{Cost, CredentialUse, ModelUse, TokenUsage},
};
use credentialflow_policy::budget::MOST_COST;
use credentialflow_store::StoreError;
use serde_json::json;
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// So long the call log has time to take a record before it is sent once more.
const LOGGED: Duration = Duration::from_secs(10);

/// What the calls of a batch used.
#[derive(Default)]
pub(super) struct Sum {
    /// In units of 10^-12 US dollars.
    pub cost: i64,
    pub tokens: Option<TokenUsage>,
    pub estimated: bool,
}

impl Batches {
    /// What a batch cost is the most that it may have, as nobody can tell: that is said where people look.
    pub(super) async fn bill_all(&self, batch: ModelObject, why: &str) -> Result<(), StoreError> {
        let cost = batch.facts.most.unwrap_or(0);
        tracing::warn!(
            id = batch.id,
            provider = batch.facts.provider,
            why,
            "what a batch cost cannot be told; it is charged the most that it may have"
        );
        self.bill(batch, Sum { cost, tokens: None, estimated: true }, Some(why)).await
    }

    /// What a batch cost is decided; `guessed` is why nobody could tell.
    pub(super) async fn bill(&self, mut batch: ModelObject, sum: Sum, guessed: Option<&str>) -> Result<(), StoreError> {
        let from = batch.state;
        let at = now();
        let cost = sum.cost.min(MOST_COST);
        batch.facts.bill = Some(Bill {
            at,
            record: record_id(at)?,
            cost,
            estimated: sum.estimated || sum.cost > MOST_COST,
            tokens: sum.tokens,
        });
        batch.state = ObjectState::Billed;
        let place = self.write().await?;
        let is_ours = match guessed {
            None => self.store.change_model_object(from, &batch, Duration::ZERO).await?,
            Some(why) => {
                let mut tx = self.store.begin(&Actor::system("batches")).await?;
                let is_ours = tx.change_model_object(from, &batch, Duration::ZERO).await?;
                if is_ours {
                    let facts = &batch.facts;
                    let told = json!({
                        "application": batch.application, "model": facts.model, "provider": facts.provider, "why": why,
                        "usd": facts.most.map(|_| usd(cost).to_string()),
                    });
                    tx.audit("batch.charge_most", &format!("batches/{}", batch.id), told);
                    tx.commit().await?;
                }
                is_ours
            }
        };
        drop(place);
        match is_ours {
            true => self.settle(batch).await,
            // Somebody else did.
            false => Ok(()),
        }
    }

    /// Charges a batch, and writes it to the call log.
    pub(super) async fn settle(&self, mut batch: ModelObject) -> Result<(), StoreError> {
        let Some(bill) = batch.facts.bill.clone() else { return Err(StoreError::Other("there is no bill".into())) };
        let place = self.write().await?;
        self.end(&batch, bill.cost).await?;
        drop(place);
        let record = self.record(&batch, &bill).await;
        if !self.log(record, bill.record).await {
            return Err(StoreError::Other("the call log does not take its record".into()));
        }
        batch.state = ObjectState::Settled;
        let _place = self.write().await?;
        self.store.change_model_object(ObjectState::Billed, &batch, Duration::ZERO).await.map(drop)
    }

    /// Writes a record unless it is there. Whether it is.
    async fn log(&self, record: UsageRecord, id: RequestId) -> bool {
        let calls = self.telemetry.calls().clone();
        let is_there = move || {
            let calls = calls.clone();
            async move {
                let found = tokio::task::spawn_blocking(move || calls.get(id)).await;
                matches!(found, Ok(Ok(Some(_))))
            }
        };
        if is_there().await {
            return true;
        }
        self.records.send(vec![record]);
        let until = tokio::time::Instant::now() + LOGGED;
        while tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if is_there().await {
                return true;
            }
        }
        false
    }

    async fn record(&self, batch: &ModelObject, bill: &Bill) -> UsageRecord {
        let facts = &batch.facts;
        let path = match batch.kind {
            ObjectKind::MessageBatch => format!("/v1/messages/batches/{}", batch.id),
            ObjectKind::GeminiBatch => format!("/v1beta/{}", batch.id),
            _ => format!("/v1/batches/{}", batch.id),
        };
        let reach = self.plane.reach(&facts.provider, facts.credential.as_deref()).await;
        let credential =
            reach.map(|reach| CredentialUse { credential: reach.credential.shared(), version: reach.version });
        let cost = match (bill.estimated, facts.most) {
            (_, None) => Cost::UnknownPrice,
            (true, _) => Cost::Estimated(usd(bill.cost)),
            (false, _) => Cost::Known(usd(bill.cost)),
        };
        // Charged by the turn of the batch, and so with nothing by whoever reads the call log.
        let windows = facts.holds.iter().map(|hold| format!("{}@{}=0", hold.budget, hold.started.secs()));
        let windows = windows.collect::<Vec<_>>().join(" ");
        UsageRecord {
            time: bill.at,
            request_id: bill.record,
            trace_id: TraceId(bill.record.0),
            source: facts.source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            application: Some(batch.application.as_str().into()),
            key: facts.key,
            secret: None,
            route: Some(if batch.kind == ObjectKind::MessageBatch { "message-batch" } else { "batch" }.into()),
            method: "GET".into(),
            path: path.into(),
            upstream: Some(facts.provider.as_str().into()),
            endpoint: None,
            credential,
            outcome: OutcomeReason::Served,
            status: 200,
            upstream_status: 200,
            attempts: 1,
            bytes_in: 0,
            bytes_out: 0,
            total_us: 0,
            upstream_us: 0,
            ttfb_us: 0,
            mcp: None,
            model: Some(Box::new(ModelUse {
                model: facts.model.as_str().into(),
                provider: facts.provider.as_str().into(),
                provider_model: facts.provider_model.as_str().into(),
                streamed: false,
                tokens: bill.tokens,
                cost: Some(cost),
                budgets: (!windows.is_empty()).then(|| windows.into()),
                tried: Vec::new(),
                guardrails: None,
                user: facts.user.as_deref().map(Into::into),
                asked: None,
                prompt: None,
                cache: None,
                saved: None,
            })),
        }
    }
}

/// A fresh id of a record that was made at this moment, as requests have them.
fn record_id(at: Timestamp) -> Result<RequestId, StoreError> {
    let mut random = [0u8; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| StoreError::Other("the system gives no random numbers".into()))?;
    let millis = (at.micros() / 1000) as u128 & ((1 << 48) - 1);
    Ok(RequestId(millis << 80 | (u128::from_be_bytes(random) & ((1 << 80) - 1))))
}
