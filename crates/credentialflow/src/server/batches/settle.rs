//! Looks after batches that run, whoever polls them or does not: when one is over, what its calls used is read from their
//! answers, charged, and written to the call log.
//!
//! Each step is stored before the next is taken. First the bill, so that what a batch cost is decided once; then the turn at
//! the budgets, which has a number; then the record in the call log, which has an id and is looked for before it is written.
//! One node does this for all.

use super::{
    Batches,
    ask::{self, Untold},
};
use crate::server::state::Reach;
use credentialflow_llm::{
    batch::{
        Asks,
        answers::{Lines, Used, used},
        object::{self, Seen},
    },
    price::PriceHandle,
};
use credentialflow_model::{
    OutcomeReason, RequestId, Timestamp, TraceId, UsageRecord,
    objects::{Bill, ModelObject, ObjectKind, ObjectState},
    resource::budget::{pico, usd},
    usage::{Cost, CredentialUse, ModelUse, TokenUsage},
};
use credentialflow_policy::budget::MOST_COST;
use credentialflow_store::StoreError;
use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, SystemTime},
};
use tokio::sync::watch;

/// How often to look which batches are due.
const LOOK: Duration = Duration::from_secs(2);
/// Batches that are looked after at once.
const AT_ONCE: u32 = 50;
/// The shortest and the longest time until a provider is asked again.
const PACE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));
/// A batch that nobody can tell of for so long is charged all that it may cost: providers keep answers for a month.
const LOST: Duration = Duration::from_secs(35 * 86_400);
/// So long a batch that its provider does not know is asked for again.
const GONE: Duration = Duration::from_secs(3600);
/// So long the call log has time to take a record before it is sent once more.
const LOGGED: Duration = Duration::from_secs(10);

/// How soon a batch is asked for again: the longer it runs, the later.
pub(super) fn pace(batch: &ModelObject) -> Duration {
    (age(batch) / 20).clamp(PACE.0, PACE.1)
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn age(batch: &ModelObject) -> Duration {
    Duration::from_micros(u64::try_from(now().micros().saturating_sub(batch.made.micros())).unwrap_or(0))
}

/// What the calls of a batch used.
#[derive(Default)]
struct Sum {
    cost: i64,
    tokens: Option<TokenUsage>,
    estimated: bool,
}

impl Batches {
    /// Looks after batches while this node is the one that does, until the process is told to stop.
    pub async fn run(self, mut mine: watch::Receiver<bool>, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stopped.wait_for(|s| *s) => return,
                begun = mine.wait_for(|mine| *mine) => if begun.is_err() { return },
            }
            tokio::select! {
                _ = stopped.wait_for(|s| *s) => return,
                () = self.look() => {}
            }
            let _ = tokio::time::timeout(LOOK, self.wake.notified()).await;
        }
    }

    async fn look(&self) {
        let due = match self.store.due_model_objects(AT_ONCE).await {
            Ok(due) => due,
            Err(error) => return tracing::debug!(%error, "batches that are due cannot be looked for"),
        };
        for batch in due {
            let id = batch.id.clone();
            if let Err(error) = self.look_after(batch).await {
                tracing::debug!(%error, id, "a batch could not be looked after; it is tried again");
                let _ = self.store.postpone_model_object(&id, PACE.0).await;
            }
        }
    }

    async fn look_after(&self, batch: ModelObject) -> Result<(), StoreError> {
        match batch.state {
            // Nobody heard what became of it: its provider may work on it.
            ObjectState::Asked => self.bill_all(batch).await,
            ObjectState::Runs => self.follow(batch).await,
            ObjectState::Billed => self.settle(batch).await,
            ObjectState::Settled | ObjectState::There => Ok(()),
        }
    }

    /// Asks the provider how far a batch is.
    async fn follow(&self, mut batch: ModelObject) -> Result<(), StoreError> {
        let facts = &batch.facts;
        let asked = match self.plane.reach(&facts.provider, facts.credential.as_deref()).await {
            Some(reach) => self.ask(&batch, &reach).await.map(|told| (reach, told)),
            None => Err(Untold::Trouble("its provider or its credential is not there any more".into())),
        };
        let (reach, (body, seen)) = match asked {
            Ok(told) => told,
            Err(why) => return self.untold(batch, why).await,
        };
        for file in object::files_of(&batch, &seen) {
            self.store.add_model_object(&file, Duration::ZERO).await?;
        }
        batch.body = body;
        if !seen.is_over {
            self.store.tell_model_object(&batch.id, ObjectState::Runs, &batch.body, pace(&batch)).await?;
            return Ok(());
        }
        match self.sum(&batch, &seen, &reach).await {
            Ok(sum) => self.bill(batch, sum).await,
            Err(why) => self.untold(batch, why).await,
        }
    }

    async fn ask(&self, batch: &ModelObject, reach: &Reach) -> Result<(String, Seen), Untold> {
        let there = if batch.kind == ObjectKind::MessageBatch { "/messages/batches" } else { "/batches" };
        let answer = ask::get(reach, &format!("{there}/{}", batch.upstream_id), self.plane.sandbox()).await?;
        let answer = ask::whole(answer).await?;
        object::told(batch, &answer).ok_or_else(|| Untold::Trouble("it answered with something else".into()))
    }

    /// A provider told nothing: it is asked again, but not for ever.
    async fn untold(&self, batch: ModelObject, why: Untold) -> Result<(), StoreError> {
        let (patience, why) = match why {
            Untold::Gone => (GONE, "its provider does not know it, or what came of it".to_owned()),
            Untold::Trouble(why) => (LOST, why),
        };
        if age(&batch) >= patience {
            tracing::warn!(
                id = batch.id,
                why,
                "what a batch cost cannot be told; it is charged the most that it may have"
            );
            return self.bill_all(batch).await;
        }
        tracing::debug!(id = batch.id, why, "a batch cannot be asked for; it is tried again");
        self.store.postpone_model_object(&batch.id, pace(&batch)).await
    }

    /// Adds up what the calls used.
    async fn sum(&self, batch: &ModelObject, seen: &Seen, reach: &Reach) -> Result<Sum, Untold> {
        let path = match (batch.kind, &seen.output) {
            (ObjectKind::MessageBatch, _) => format!("/messages/batches/{}/results", batch.upstream_id),
            (_, Some(file)) => format!("/files/{file}/content"),
            // No call was served.
            (_, None) => return Ok(Sum::default()),
        };
        let mut answer = ask::get(reach, &path, self.plane.sandbox()).await?;
        let facts = &batch.facts;
        let asks = Asks::of_path(&facts.asks).ok_or_else(|| Untold::Trouble("what it asks is not known".into()))?;
        let price = facts.price.map(PriceHandle::from).unwrap_or_default();
        // Where nobody counted, a call is taken to have cost its share of the most.
        let share = facts.most.unwrap_or(0) / i64::try_from(facts.calls.max(1)).unwrap_or(i64::MAX);
        let (mut sum, mut lines) = (Sum::default(), Lines::default());
        let mut add = |line: &[u8]| match used(line, asks) {
            Used::Nothing => {}
            Used::Tokens(tokens) => {
                match price.cost(batch.made, &tokens) {
                    Cost::Known(cost) => sum.cost = sum.cost.saturating_add(pico(cost)),
                    // Known when it was held back for, and not any more: never nothing.
                    _ => (sum.cost, sum.estimated) = (sum.cost.saturating_add(share), true),
                }
                sum.tokens = Some(together(sum.tokens.unwrap_or_default(), tokens));
            }
            Used::Unknown => (sum.cost, sum.estimated) = (sum.cost.saturating_add(share), true),
        };
        while let Some(piece) = ask::piece(&mut answer).await? {
            lines.feed(&piece, &mut add).map_err(|why| Untold::Trouble(why.to_string()))?;
        }
        lines.finish(&mut add);
        Ok(sum)
    }

    /// What a batch cost is the most that it may have.
    async fn bill_all(&self, batch: ModelObject) -> Result<(), StoreError> {
        let cost = batch.facts.most.unwrap_or(0);
        self.bill(batch, Sum { cost, tokens: None, estimated: true }).await
    }

    /// What a batch cost is decided.
    async fn bill(&self, mut batch: ModelObject, sum: Sum) -> Result<(), StoreError> {
        let from = batch.state;
        let at = now();
        batch.facts.bill = Some(Bill {
            at,
            record: record_id(at)?,
            cost: sum.cost.min(MOST_COST),
            estimated: sum.estimated || sum.cost > MOST_COST,
            tokens: sum.tokens,
        });
        batch.state = ObjectState::Billed;
        match self.store.change_model_object(from, &batch, Duration::ZERO).await? {
            true => self.settle(batch).await,
            // Somebody else did.
            false => Ok(()),
        }
    }

    /// Charges a batch, and writes it to the call log.
    async fn settle(&self, mut batch: ModelObject) -> Result<(), StoreError> {
        let Some(bill) = batch.facts.bill.clone() else { return Err(StoreError::Other("there is no bill".into())) };
        self.end(&batch, bill.cost).await?;
        let record = self.record(&batch, &bill).await;
        if !self.log(record, bill.record).await {
            return Err(StoreError::Other("the call log does not take its record".into()));
        }
        batch.state = ObjectState::Settled;
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

fn together(a: TokenUsage, b: TokenUsage) -> TokenUsage {
    TokenUsage {
        input: a.input.saturating_add(b.input),
        cached_input: a.cached_input.saturating_add(b.cached_input),
        cache_write: a.cache_write.saturating_add(b.cache_write),
        cache_write_1h: a.cache_write_1h.saturating_add(b.cache_write_1h),
        output: a.output.saturating_add(b.output),
        reasoning: a.reasoning.saturating_add(b.reasoning),
    }
}
