//! Batches in Google's form: one call makes a batch of those that stand in it, and what became of them is told with the batch.

use super::{Asking, Refused, checks, checks::Checks, invalid, is_success, unusable};
use crate::{
    conn::Caller,
    pipeline::{guardrail, record::Recording},
    snapshot::RouteKind,
};
use credentialflow_llm::{
    batch::{
        Asks,
        call::BatchCall,
        gemini::{self, Wanted},
    },
    guardrail::{Met, answer::Answer},
};
use credentialflow_model::{
    OutcomeReason,
    objects::{ObjectKind, ObjectState},
};
use serde_json::Map;

/// The model of which a path asks for a batch.
fn asked(path: &str) -> Option<&str> {
    path.rsplit('/').next().and_then(gemini::asked)
}

/// Whether a call at this path of Google's makes a batch.
pub(super) fn makes(kind: RouteKind, path: &str) -> bool {
    kind == RouteKind::Gemini && asked(path).is_some()
}

impl Asking<'_, '_> {
    /// `POST /v1beta/models/{model}:batchGenerateContent`
    pub async fn create_contents<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let (received, mut held) = self.body(caller, record).await?;
        let text = std::str::from_utf8(&received).map_err(|_| invalid("the body is not UTF-8"))?;
        let name = asked(&self.parts.0.path).unwrap_or_default();
        let wanted = Wanted::read(text, name).map_err(|why| invalid(why.to_string()))?;
        if wanted.requests.is_empty() {
            return Err(invalid("the batch has no requests"));
        }
        let model = self.model(name, record)?;
        let plan = self.plan(model);
        let guardrails = checks::guardrails(plan)?;
        let place = self.choose(model, Asks::Generate, record)?;
        let target = self.target(place);
        // What came, what is written, and a call that is being looked at.
        held.set(received.capacity() as u64 * 3).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
        let mut checks = Checks::new(Asks::Generate, (plan, target), guardrails, record.time());
        let mut written = wanted.begin();
        self.write_all(place, &wanted.requests, &mut checks, BatchCall::of_content, &mut written, record)?;
        written.push_str(Wanted::END);
        let facts = checks.facts(target, self.credential(place));
        let path = gemini::path(&target.provider_model);
        self.make(place, (&path, written.into_bytes(), held), (Map::new(), facts), caller, record).await
    }

    /// `GET /v1beta/batches/{id}`: as its provider tells of it now, with what became of its calls when it is over. That is
    /// never kept here.
    pub async fn contents_batch<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let mut batch = self.of_kind(ObjectKind::GeminiBatch).await?;
        let place = self.place_of(&batch, record)?;
        let rules = checks::of_answers(self.plan(place.model))?;
        let path = format!("/batches/{}", batch.upstream_id);
        let (status, answer) = self.ask_for(place, path, gemini::MOST_ANSWER, caller, record).await?;
        if !is_success(status) {
            return self.answer((status, answer), caller, record).await;
        }
        // What came, and what is written of it.
        let held = self.worker.budget.take(3 * answer.len() as u64);
        let _held = held.map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
        let model = batch.facts.model.clone();
        let told = gemini::batch(&answer, &batch.id, &model).filter(|(_, seen)| seen.id == batch.upstream_id);
        let (body, seen) = told.ok_or_else(unusable)?;
        let mut met: Vec<Met> = Vec::new();
        let written = std::str::from_utf8(&answer).ok().and_then(|answer| {
            gemini::answered(answer, &batch.id, &model, |result| {
                let Some(mut rules) = Answer::of(rules.as_ref(), None) else { return result.to_owned() };
                let judged = gemini::judged(result, |answer| rules.whole(answer));
                rules.news().into_iter().flatten().cloned().for_each(|found| found.add(&mut met));
                judged.unwrap_or_else(|stop| gemini::withheld(result, &guardrail::stopped(stop).1))
            })
        });
        let written = written.ok_or_else(unusable)?;
        if !met.is_empty() {
            record.guardrails_of_answer(&guardrail::told(&met, guardrail::ANSWER));
        }
        if batch.state == ObjectState::Runs && batch.body != body {
            batch.body = body;
            self.kept(self.keeper.saw(batch, Vec::new(), seen.is_over)).await?;
        }
        self.answer((status, written.into_bytes()), caller, record).await
    }

    /// `POST /v1beta/batches/{id}:cancel`: Google answers with an empty object.
    pub async fn cancel_contents<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let batch = self.of_kind(ObjectKind::GeminiBatch).await?;
        let place = self.place_of(&batch, record)?;
        let told = self.ask(place, format!("/batches/{}:cancel", batch.upstream_id), caller, record).await?;
        let told = if is_success(told.0) { (200, b"{}".to_vec()) } else { told };
        self.answer(told, caller, record).await
    }
}
