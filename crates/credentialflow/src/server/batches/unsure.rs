//! Batches of which nobody heard whether their providers have them: the process was killed, or the answer never came. The
//! provider tells by the list of those that it has.

use super::{
    Batches,
    ask::{self, Untold},
    follow::{SOONEST, age, batches},
};
use credentialflow_llm::batch::object::{self, Listed};
use credentialflow_model::objects::{ModelObject, ObjectKind, ObjectState};
use credentialflow_store::StoreError;
use std::time::Duration;

/// Pages of the list at the most, each of a hundred.
const MOST_PAGES: usize = 50;
/// How far the clock of a provider may be from ours.
const SKEW: Duration = Duration::from_secs(15 * 60);
/// So long a provider is asked for its list.
const PATIENCE: Duration = Duration::from_secs(86_400);
/// How soon it is asked again.
const AGAIN: Duration = Duration::from_secs(600);
/// How long it may take to tell all of it.
const TOLD: Duration = Duration::from_secs(5 * 60);
/// Why a batch is charged the most that it may have cost.
const NOBODY: &str = "nobody knows whether its provider has it";

impl Batches {
    /// Finds out whether its provider has a batch: it goes on then, and costs nothing else.
    pub(super) async fn find_out(&self, batch: ModelObject) -> Result<(), StoreError> {
        let sought = tokio::time::timeout(TOLD, self.seek(&batch)).await;
        match sought.unwrap_or_else(|_| Err(Untold::Trouble("it took too long to tell".into()))) {
            Ok(found) => self.take_up(batch, found).await,
            Err(_) if age(&batch) >= PATIENCE => self.bill_all(batch, NOBODY).await,
            Err(why) => {
                tracing::debug!(id = batch.id, ?why, "whether a batch was made cannot be asked for; it is tried again");
                let _place = self.write().await?;
                self.store.postpone_model_objects(&[&batch.id], AGAIN).await
            }
        }
    }

    /// Goes on with the batch that is meant, of those that may be.
    async fn take_up(&self, mut batch: ModelObject, mut found: Vec<Listed>) -> Result<(), StoreError> {
        let input = batch.facts.input.clone();
        found.sort_by_key(|one| one.input != input);
        // One after the other, so that none is taken for two.
        let alone = self.finding.lock().await;
        let mut this = None;
        for one in found {
            if !self.store.knows_model_object(batch.kind, &one.id).await? {
                this = Some(one);
                break;
            }
        }
        match this {
            Some(one) if input.is_some() && one.input == input => {
                let told = object::told(&batch, one.told.as_bytes());
                let (body, _) = told.ok_or_else(|| StoreError::Other("a provider told of something else".into()))?;
                (batch.state, batch.upstream_id, batch.body) = (ObjectState::Runs, one.id, body);
                tracing::info!(id = batch.id, "a batch of which nobody heard is at its provider, and goes on");
                let _place = self.write().await?;
                self.store.change_model_object(ObjectState::Asked, &batch, SOONEST).await.map(drop)
            }
            Some(_) => {
                drop(alone);
                self.bill_all(batch, NOBODY).await
            }
            None => {
                tracing::info!(
                    id = batch.id,
                    "a batch of which nobody heard is not at its provider, and costs nothing"
                );
                let _place = self.write().await?;
                self.let_go(&batch).await
            }
        }
    }

    /// Those of its provider that a batch may be.
    async fn seek(&self, batch: &ModelObject) -> Result<Vec<Listed>, Untold> {
        let facts = &batch.facts;
        let reach = self.plane.reach(&facts.provider, facts.credential.as_deref()).await;
        let reach =
            reach.ok_or_else(|| Untold::Trouble("its provider or its credential is not there any more".into()))?;
        let (limit, after) = match batch.kind {
            ObjectKind::MessageBatch => ("limit", "after_id"),
            ObjectKind::GeminiBatch => ("pageSize", "pageToken"),
            _ => ("limit", "after"),
        };
        let (mut behind, mut found) = (None::<String>, Vec::new());
        for _ in 0..MOST_PAGES {
            let from = behind.map(|id| format!("&{after}={id}")).unwrap_or_default();
            let path = format!("{}?{limit}=100{from}", batches(batch));
            let page = ask::whole(&reach, ask::get(&reach, &path, self.plane.sandbox()).await?).await?;
            let page = object::listed(&page, batch.kind);
            let (listed, next) = page.ok_or_else(|| Untold::Trouble("it answered with something else".into()))?;
            let is_over = is_past(batch, &listed);
            found.extend(listed.into_iter().filter(|one| may_be(batch, one)));
            behind = next;
            if behind.is_none() || is_over {
                return Ok(found);
            }
        }
        Err(Untold::Trouble("it has too many batches".into()))
    }
}

/// Whether what follows a part of a list, which has the newest first, was made before a batch was asked for.
fn is_past(batch: &ModelObject, listed: &[Listed]) -> bool {
    let (Some(first), Some(last)) = (listed.first(), listed.last()) else { return false };
    first.made > last.made && is_before(batch, last)
}

/// Whether one that a provider has was made before a batch was asked for.
fn is_before(batch: &ModelObject, one: &Listed) -> bool {
    one.made.micros() < batch.made.micros().saturating_sub(skew())
}

/// Whether a batch may be this one: files are uploaded for one application alone, which Anthropic's and Google's batches do
/// not have.
fn may_be(batch: &ModelObject, one: &Listed) -> bool {
    let is_after = one.made.micros() > batch.made.micros().saturating_add(skew().saturating_mul(2));
    let in_time = !is_before(batch, one) && !is_after;
    match (batch.kind, &batch.facts.input, &one.input) {
        (ObjectKind::MessageBatch | ObjectKind::GeminiBatch, ..) => {
            one.calls.is_none_or(|calls| calls == batch.facts.calls) && in_time
        }
        (_, Some(mine), Some(input)) => mine == input,
        // One that does not tell of its file may be any.
        _ => in_time,
    }
}

fn skew() -> i64 {
    i64::try_from(SKEW.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use credentialflow_model::{Timestamp, objects::ObjectFacts};

    fn batch(kind: ObjectKind) -> ModelObject {
        ModelObject {
            id: "mine".into(),
            kind,
            application: "a".into(),
            made: Timestamp::from_secs(100_000),
            state: ObjectState::Asked,
            purpose: String::new(),
            upstream_id: String::new(),
            body: "{}".into(),
            facts: ObjectFacts { calls: 3, input: Some("file-X".into()), ..ObjectFacts::default() },
        }
    }

    fn one(input: Option<&str>, calls: Option<u64>, made: i64) -> Listed {
        let input = input.map(str::to_owned);
        Listed { id: "there".into(), told: "{}".into(), input, calls, made: Timestamp::from_secs(made) }
    }

    #[test]
    fn a_batch_is_known_by_its_file_and_else_may_be_one_of_its_time_and_size() {
        let file = batch(ObjectKind::Batch);
        assert!(may_be(&file, &one(Some("file-X"), None, 0)));
        assert!(!may_be(&file, &one(Some("file-Y"), None, 100_000)) && may_be(&file, &one(None, None, 100_000)));
        let messages = batch(ObjectKind::MessageBatch);
        for (calls, made, expect) in [
            (Some(3), 100_000, true),
            (None, 100_000, true),
            (Some(4), 100_000, false),
            (Some(3), 99_200, true),
            (Some(3), 99_000, false),
            (Some(3), 101_700, true),
            (Some(3), 102_000, false),
        ] {
            assert_eq!(may_be(&messages, &one(None, calls, made)), expect, "{calls:?} at {made}");
        }
        let page = |made: &[i64]| made.iter().map(|made| one(None, None, *made)).collect::<Vec<_>>();
        assert!(is_past(&file, &page(&[100_500, 99_000])) && !is_past(&file, &page(&[100_500, 99_200])));
        assert!(!is_past(&file, &page(&[99_000, 99_100])), "the oldest first: nobody knows what follows");
        assert!(!is_past(&file, &page(&[99_000])) && !is_past(&file, &[]));
    }
}
