//! What is checked of every call of a batch, before any of it goes on: the same as of a call by itself.

use super::{invalid, takes};
use crate::{
    pipeline::{Refused, files, guardrail},
    snapshot::models::{ModelPlan, TargetPlan},
};
use credentialflow_llm::{
    batch::{
        Asks, MOST_CALLS,
        call::{BatchCall, InvalidLine},
    },
    bound::Keeps,
    guardrail::{Guardrails, Met, Routed},
    price::PriceHandle,
    tier::{Asked, Tier},
};
use credentialflow_model::{OutcomeReason, Timestamp, objects::ObjectFacts, resource::budget::pico};
use std::sync::Arc;

/// Checks the calls of one batch and adds up what they may cost.
pub(super) struct Checks {
    asks: Asks,
    model: Arc<str>,
    provider_model: Arc<str>,
    guardrails: Option<Arc<Guardrails>>,
    /// Whether the target may have what guardrails keep from others.
    internal: bool,
    /// Whether calls may name what lasts at the provider.
    names_stores: bool,
    keeps: Keeps,
    longest: u64,
    price: PriceHandle,
    at: Timestamp,
    calls: u64,
    most: Option<i64>,
    reads_along: Option<&'static str>,
    met: Vec<Met>,
}

/// The guardrails of a model, where batches can be made of calls to it: nobody could put back into the answers what was
/// masked, and nobody waits for what others say.
pub(super) fn guardrails(plan: &ModelPlan) -> Result<Option<Arc<Guardrails>>, Refused> {
    match &plan.guardrails {
        None => Ok(None),
        Some(Err(_)) => Err(Refused::new(OutcomeReason::NoHealthyEndpoint)),
        Some(Ok(built)) if built.masks() || built.asks_about_answers() || guardrail::asks(plan) => Err(invalid(
            "this model's guardrails mask what is sent or ask others, which they cannot in batches; send its calls one by one",
        )),
        Some(Ok(built)) => Ok(Some(built.clone())),
    }
}

/// What stands for the guardrails that judge calls to a target; the same calls may pass others.
pub(super) fn mark(guardrails: Option<&Guardrails>, target: &TargetPlan) -> Option<u64> {
    guardrails.map(|guardrails| guardrails.mark() ^ u64::from(target.internal))
}

/// The guardrails that judge the answers of a batch when they are fetched.
pub(super) fn of_answers(plan: &ModelPlan) -> Result<Option<Arc<Guardrails>>, Refused> {
    match &plan.guardrails {
        None => Ok(None),
        Some(Err(_)) => Err(Refused::new(OutcomeReason::NoHealthyEndpoint)),
        Some(Ok(built)) if built.asks_about_answers() => {
            Err(invalid("this model's guardrails ask others about answers, which they cannot about those of batches"))
        }
        Some(Ok(built)) => Ok(built.reads_answers().then(|| built.clone())),
    }
}

impl Checks {
    /// Of calls that ask this of a model at a target.
    pub fn new(
        asks: Asks,
        (plan, target): (&ModelPlan, &TargetPlan),
        guardrails: Option<Arc<Guardrails>>,
        at: Timestamp,
    ) -> Self {
        debug_assert!(takes(target, asks), "a target that takes them");
        Self {
            asks,
            model: plan.name.clone(),
            provider_model: target.provider_model.clone(),
            guardrails,
            internal: target.internal,
            names_stores: plan.names_stores,
            keeps: if asks == Asks::Responses { target.keeps_of_responses } else { target.keeps },
            longest: target.longest,
            price: target.batch_price.clone(),
            at,
            calls: 0,
            most: Some(0),
            reads_along: None,
            met: Vec::new(),
        }
    }

    /// Checks the next call, and gives it as the provider gets it. `read` reads one of this form, of a model.
    pub fn call(
        &mut self,
        text: &str,
        read: impl Fn(&str, &str) -> Result<BatchCall, InvalidLine>,
    ) -> Result<String, Refused> {
        self.calls += 1;
        let n = self.calls;
        if n > MOST_CALLS {
            return Err(invalid(format!("a batch has at most {MOST_CALLS} calls")));
        }
        let wrong = |why: String| invalid(format!("call {n} of the batch: {why}"));
        let mut call = read(text, &self.model).map_err(|why| wrong(why.to_string()))?;
        if call.asks() != self.asks {
            return Err(wrong("it asks something else than the first".into()));
        }
        if call.model() != &*self.model {
            return Err(wrong("it asks for another model than the first".into()));
        }
        files::none(self.names_stores, call.body(text).as_bytes(), self.asks.speaks())?;
        let mut text = std::borrow::Cow::Borrowed(text);
        if let Some(changed) = self.judge(&call, &text, &wrong)? {
            text = call.with_body(&text, &changed).into();
            call = read(&text, &self.model).map_err(|why| wrong(why.to_string()))?;
        }
        let written = call.rewrite(&text, &self.provider_model);
        let sent = read(&written, &self.provider_model).map_err(|why| wrong(why.to_string()))?;
        let body = sent.body(&written);
        let (bound, units) = sent.most(body, self.keeps, self.longest);
        // What is dearer by the caller's own word has no price here, as for calls one by one.
        let asked = if self.asks == Asks::Embeddings { Asked::Usual } else { Asked::of(body.as_bytes()) };
        let most = match asked {
            Asked::Dearer(_) => None,
            Asked::Tier(tier, _) if tier != Tier::Flex => None,
            _ => self.price.most_of(self.at, &bound, &units).map(pico),
        };
        self.most = self.most.zip(most).map(|(sum, more)| sum.saturating_add(more));
        self.reads_along = self.reads_along.or(sent.reads_along(body));
        Ok(written)
    }

    /// What the model's guardrails make of a call: its body, where something was taken out of it.
    fn judge(
        &mut self,
        call: &BatchCall,
        text: &str,
        wrong: &impl Fn(String) -> Refused,
    ) -> Result<Option<String>, Refused> {
        let Some(guardrails) = &self.guardrails else { return Ok(None) };
        if call.is_of_tokens() {
            return Err(wrong(
                "this model's guardrails look at texts, not at the numbers of tokens; send texts".into(),
            ));
        }
        let judged = guardrails.judge(call.body(text).as_bytes()).map_err(|why| wrong(why.to_string()))?;
        let routed = judged.routed();
        for met in judged.met {
            met.add(&mut self.met);
        }
        let blocked = |why: &str| {
            Refused::new(OutcomeReason::PromptBlocked).with_detail(format!("call {} of the batch: {why}", self.calls))
        };
        if let Some(detect) = judged.blocked {
            return Err(blocked(guardrail::why(detect)));
        }
        match routed.filter(|_| !self.internal) {
            Some(Routed::Found(_)) => return Err(blocked("it holds something that only internal targets may have")),
            Some(Routed::Unseen) => {
                return Err(blocked("it holds images, sound or files, unseen, which only internal targets may have"));
            }
            None => {}
        }
        judged.body.map(|body| String::from_utf8(body).map_err(|_| Refused::new(OutcomeReason::Internal))).transpose()
    }

    /// How many there were.
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// What guardrails found in them, as records say it.
    pub fn found(&self) -> Option<String> {
        (!self.met.is_empty()).then(|| guardrail::told(&self.met, ""))
    }

    /// What is known of them all.
    pub fn facts(&self, target: &TargetPlan, credential: Option<String>) -> ObjectFacts {
        ObjectFacts {
            model: self.model.to_string(),
            provider: target.provider.to_string(),
            provider_model: self.provider_model.to_string(),
            credential,
            asks: self.asks.path().into(),
            calls: self.calls,
            most: self.most,
            reads_along: self.reads_along.map(Into::into),
            guardrails: mark(self.guardrails.as_deref(), target),
            ..ObjectFacts::default()
        }
    }
}
