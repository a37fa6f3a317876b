//! Asks a provider how far a batch is; when it is over, what its calls used is read from their answers.

use super::{
    Batches,
    ask::{self, Untold},
    settle::Sum,
};
use crate::server::state::Reach;
use credentialflow_llm::{
    batch::{
        Asks,
        answers::{Lines, Used, used},
        gemini,
        object::{self, Seen},
    },
    price::PriceHandle,
};
use credentialflow_model::{
    Timestamp,
    objects::{Gone, ModelObject, ObjectKind, ObjectState},
    resource::budget::pico,
    usage::{Cost, TokenUsage},
};
use credentialflow_store::StoreError;
use std::time::{Duration, SystemTime};

/// The shortest time until a provider is asked again.
pub(super) const SOONEST: Duration = Duration::from_secs(5);
/// And the longest.
const LATEST: Duration = Duration::from_secs(600);
/// How long a provider may take to tell all of a batch, its answers among it.
const TOLD: Duration = Duration::from_secs(15 * 60);
/// A batch that nobody can tell of for so long is charged all that it may cost: providers keep answers for a month.
const LOST: Duration = Duration::from_secs(35 * 86_400);
/// So long, and so often, a provider has to say that it does not know a batch until that is believed.
const GONE: (Duration, u32) = (Duration::from_secs(86_400), 12);

/// How soon a batch is asked for again: the longer it runs, the later.
pub(super) fn pace(batch: &ModelObject) -> Duration {
    (age(batch) / 20).clamp(SOONEST, LATEST)
}

pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}

pub(super) fn age(batch: &ModelObject) -> Duration {
    between(batch.made, now())
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(to.micros().saturating_sub(from.micros())).unwrap_or(0))
}

/// Said once more. Whether that is enough to believe it.
fn again(gone: Option<Gone>, now: Timestamp) -> (Gone, bool) {
    let before = gone.unwrap_or(Gone { since: now, times: 0 });
    let gone = Gone { times: before.times.saturating_add(1), ..before };
    (gone, gone.times >= GONE.1 && between(gone.since, now) >= GONE.0)
}

/// What a provider tells of a batch.
struct Heard {
    /// For the caller.
    body: String,
    seen: Seen,
    /// What its calls used; `None` while it runs.
    sum: Option<Result<Sum, Untold>>,
}

impl Batches {
    /// Asks the provider how far a batch is.
    pub(super) async fn follow(&self, mut batch: ModelObject) -> Result<(), StoreError> {
        let heard = tokio::time::timeout(TOLD, self.hear(&batch)).await;
        let heard = heard.unwrap_or_else(|_| Err(Untold::Trouble("it took too long to tell".into())));
        let Heard { body, seen, sum } = match heard {
            Ok(heard) => heard,
            Err(why) => return self.untold(batch, why).await,
        };
        let files = object::files_of(&batch, &seen);
        if !files.is_empty() {
            let _place = self.write().await?;
            for file in &files {
                self.store.add_model_object(file, Duration::ZERO).await?;
            }
        }
        batch.body = body;
        match sum {
            Some(Ok(sum)) => self.bill(batch, sum, None).await,
            Some(Err(why)) => self.untold(batch, why).await,
            None => {
                batch.facts.gone = None;
                self.keep(&batch).await
            }
        }
    }

    /// Keeps what is known of a batch that runs, and asks again in a while.
    async fn keep(&self, batch: &ModelObject) -> Result<(), StoreError> {
        let _place = self.write().await?;
        self.store.change_model_object(ObjectState::Runs, batch, pace(batch)).await.map(drop)
    }

    async fn hear(&self, batch: &ModelObject) -> Result<Heard, Untold> {
        let facts = &batch.facts;
        let reach = self.plane.reach(&facts.provider, facts.credential.as_deref()).await;
        let reach =
            reach.ok_or_else(|| Untold::Trouble("its provider or its credential is not there any more".into()))?;
        let path = format!("{}/{}", batches(batch), batch.upstream_id);
        let most = if batch.kind == ObjectKind::GeminiBatch { gemini::MOST_ANSWER } else { ask::MOST };
        let answer = ask::whole_up_to(most, &reach, ask::get(&reach, &path, self.plane.sandbox()).await?).await?;
        let told = object::told(batch, &answer);
        let (body, seen) = told.ok_or_else(|| Untold::Trouble("it answered with something else".into()))?;
        let sum = match (seen.is_over, batch.kind) {
            (false, _) => None,
            (true, ObjectKind::GeminiBatch) => Some(sum_of_results(batch, &answer)),
            (true, _) => Some(self.sum(batch, &seen, &reach).await),
        };
        Ok(Heard { body, seen, sum })
    }

    /// A provider told nothing: it is asked again, but not for ever.
    async fn untold(&self, mut batch: ModelObject, why: Untold) -> Result<(), StoreError> {
        let (id, provider) = (batch.id.clone(), batch.facts.provider.clone());
        match why {
            Untold::Gone => {
                let (gone, is_enough) = again(batch.facts.gone, now());
                batch.facts.gone = Some(gone);
                if is_enough {
                    return self.bill_all(batch, "its provider says that it does not know it").await;
                }
                if gone.times == 1 {
                    tracing::warn!(
                        id,
                        provider,
                        "a provider says that it does not know a batch, or what came of it; when it has said so for a day, the \
                         batch is charged the most that it may have cost"
                    );
                }
                self.keep(&batch).await
            }
            Untold::Trouble(_) if age(&batch) >= LOST => {
                self.bill_all(batch, "its provider could not be asked for 35 days").await
            }
            Untold::Trouble(why) => {
                tracing::debug!(id, provider, why, "a batch cannot be asked for; it is tried again");
                let _place = self.write().await?;
                self.store.postpone_model_objects(&[&id], pace(&batch)).await
            }
        }
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
        let (mut adding, mut lines) = (Adding::new(batch)?, Lines::default());
        let mut add = |line: &[u8]| adding.add(line);
        while let Some(piece) = ask::piece(&mut answer).await? {
            lines.feed(&piece, &mut add).map_err(|why| Untold::Trouble(why.to_string()))?;
        }
        lines.finish(&mut add);
        Ok(adding.sum)
    }
}

/// Adds up what the calls used of which the batch itself tells, in Google's form.
fn sum_of_results(batch: &ModelObject, answer: &[u8]) -> Result<Sum, Untold> {
    let trouble = || Untold::Trouble("it does not tell what became of the calls".into());
    let mut adding = Adding::new(batch)?;
    let results = std::str::from_utf8(answer).ok().and_then(gemini::results).ok_or_else(trouble)?;
    results.into_iter().for_each(|result| adding.add(result.as_bytes()));
    Ok(adding.sum)
}

/// Adds up what the calls of a batch used.
struct Adding {
    asks: Asks,
    price: PriceHandle,
    made: Timestamp,
    /// Where nobody counted, a call is taken to have cost its share of the most.
    share: i64,
    sum: Sum,
}

impl Adding {
    fn new(batch: &ModelObject) -> Result<Self, Untold> {
        let facts = &batch.facts;
        let asks = Asks::of_path(&facts.asks).ok_or_else(|| Untold::Trouble("what it asks is not known".into()))?;
        let price = facts.price.clone().map(PriceHandle::from).unwrap_or_default();
        let share = facts.most.unwrap_or(0) / i64::try_from(facts.calls.max(1)).unwrap_or(i64::MAX);
        Ok(Self { asks, price, made: batch.made, share, sum: Sum::default() })
    }

    /// Takes what became of one call.
    fn add(&mut self, line: &[u8]) {
        let Self { asks, price, made, share, sum } = self;
        match used(line, *asks) {
            Used::Nothing => {}
            Used::Tokens(tokens) => {
                match price.cost(*made, &tokens) {
                    Cost::Known(cost) => sum.cost = sum.cost.saturating_add(pico(cost)),
                    // Known when it was held back for, and not any more: never nothing.
                    _ => (sum.cost, sum.estimated) = (sum.cost.saturating_add(*share), true),
                }
                sum.tokens = Some(together(sum.tokens.unwrap_or_default(), tokens));
            }
            Used::Unknown => (sum.cost, sum.estimated) = (sum.cost.saturating_add(*share), true),
        }
    }
}

/// Where batches are, below the base of a provider.
pub(super) const fn batches(batch: &ModelObject) -> &'static str {
    if matches!(batch.kind, ObjectKind::MessageBatch) { "/messages/batches" } else { "/batches" }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_believed_that_says_so_often_and_for_long() {
        let at = |secs: i64| Timestamp::from_secs(secs);
        let day = i64::try_from(GONE.0.as_secs()).unwrap_or(0);
        let (mut gone, enough) = again(None, at(100));
        assert_eq!((gone, enough), (Gone { since: at(100), times: 1 }, false));
        // Often, but within a day.
        for n in 0..50 {
            let (next, enough) = again(Some(gone), at(100 + n));
            assert!(!enough);
            gone = next;
        }
        assert!(!again(Some(gone), at(100 + day - 1)).1);
        assert!(again(Some(gone), at(100 + day)).1);
        // For long, but seldom.
        assert!(!again(Some(Gone { since: at(0), times: 1 }), at(10 * day)).1);
        // A clock that went back proves nothing.
        assert!(!again(Some(gone), at(0)).1);
    }
}
