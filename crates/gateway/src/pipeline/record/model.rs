//! What the record of a model call tells beside that of any request: the model and its target, what guardrails and the
//! cache did, and what it cost.

use super::{CacheStatus, Recording, add_lost, cost_of, id_of, is_paid, keep_as, micros, tell_unread};
use crate::{
    pipeline::{
        budget::Paying,
        guardrail,
        translate::UpstreamRequest,
        usage::{Told, UsageProbe},
    },
    snapshot::models::{ModelPlan, TargetPlan},
    worker::View,
};
use credentialflow_llm::{produced::estimated_tokens, task::units::Units, tier::Asked};
use credentialflow_model::{
    OutcomeReason, Timestamp, UsageRecord,
    usage::{Cost, ModelUse, TokenUsage},
};
use credentialflow_policy::quota::Used;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

impl Recording<'_> {
    /// The call is for this end user.
    pub fn user(&mut self, user: Arc<str>) {
        self.user = Some(user);
    }

    /// The end user that the call is for.
    pub fn end_user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    /// Another model serves than this one, which was asked for.
    pub fn asked(&mut self, model: Arc<str>) {
        self.asked = Some(model);
    }

    /// Writes which model serves instead of the one that was asked for.
    pub fn push_instead(&self, fields: &mut Vec<u8>) {
        let served = self.record.as_ref().and_then(|r| r.model.as_ref());
        if let (Some(_), Some(served)) = (&self.asked, served) {
            fields.extend_from_slice(b"x-credentialflow-model: ");
            fields.extend_from_slice(served.model.as_bytes());
            fields.extend_from_slice(b"\r\n");
        }
    }

    /// The model's cache did this with the call.
    pub fn cache(&mut self, status: CacheStatus) {
        self.cache = Some(status);
        self.edit(|r| {
            if let Some(model) = &mut r.model {
                model.cache = Some(status.used);
            }
        });
    }

    /// The answer comes from the cache: this target of the model gave it before, and its provider counted so much. Nobody is
    /// asked now, and nothing is paid.
    pub fn answered_from_cache(&mut self, view: &View, (model, target): (u32, u32), tokens: Option<TokenUsage>) {
        let plan = &view.snapshot.models.list[model as usize];
        let time = self.time();
        self.edit(|r| {
            r.upstream = None;
            let (Some(used), Some(target)) = (&mut r.model, plan.targets.get(target as usize)) else { return };
            used.provider = target.provider.clone();
            used.provider_model = target.provider_model.clone();
            used.cost = Some(Cost::Known(Default::default()));
            used.saved = tokens.and_then(|tokens| match target.price.cost_of(time, Some(&tokens), &Units::default()) {
                Cost::Known(usd) => Some(usd),
                _ => None,
            });
        });
    }

    /// What the provider counted, where all of the answer was served and guardrails found nothing, in the call or in it.
    pub fn served_unguarded(&self) -> Option<Option<TokenUsage>> {
        let record = self.record.as_ref().filter(|record| record.outcome == OutcomeReason::Served)?;
        let used = record.model.as_ref().filter(|used| used.guardrails.is_none())?;
        Some(used.tokens)
    }

    /// Whether guardrails found anything in the call.
    pub fn has_findings(&self) -> bool {
        self.record.as_ref().and_then(|r| r.model.as_ref()).is_some_and(|model| model.guardrails.is_some())
    }

    /// What guardrails found in the call, and what happened.
    pub fn findings(&self) -> Option<&str> {
        self.record.as_ref()?.model.as_ref()?.guardrails.as_deref()
    }

    /// Writes what the model's cache did.
    pub fn push_cache(&self, fields: &mut Vec<u8>) {
        if let Some(status) = &self.cache {
            status.push_fields(fields);
        }
    }

    /// The call was made of this prompt, told with its version.
    pub fn prompt(&mut self, tag: Arc<str>) {
        self.prompt = Some(tag);
    }

    /// The prompt that the call was made of, if it was.
    pub fn made_of(&self) -> Option<&Arc<str>> {
        self.prompt.as_ref()
    }

    /// A model and its target were chosen.
    pub fn model(&mut self, model: &ModelPlan, target: &TargetPlan, streamed: bool) {
        let (user, asked, cache) = (self.user.clone(), self.asked.clone(), self.cache.as_ref().map(|cache| cache.used));
        let prompt = self.prompt.clone();
        self.edit(|r| {
            let (tried, guardrails) =
                r.model.take().map_or_else(Default::default, |model| (model.tried, model.guardrails));
            r.model = Some(Box::new(ModelUse {
                model: model.name.clone(),
                provider: target.provider.clone(),
                provider_model: target.provider_model.clone(),
                streamed,
                tokens: None,
                cost: None,
                budgets: None,
                tried,
                guardrails,
                user,
                asked,
                prompt,
                cache,
                saved: None,
            }));
        });
    }

    /// Guardrails of a model found something in a call. Where no target is chosen yet, it is told as one for the first.
    pub fn guardrails(&mut self, model: &ModelPlan, streamed: bool, found: String) {
        if let Some(target) = model.targets.first() {
            self.model(model, target, streamed);
        }
        self.edit(|r| {
            if let Some(model) = &mut r.model {
                model.guardrails = Some(found.into());
            }
        });
    }

    /// Guardrails of a model found this in the calls of a batch, whose target is chosen.
    pub fn guardrails_of_calls(&mut self, found: String) {
        self.edit(|r| {
            if let Some(model) = &mut r.model {
                model.guardrails = Some(found.into());
            }
        });
    }

    /// Guardrails of a model found all this in what was said in a session so far.
    pub fn guardrails_of_session(&mut self, found: &[String]) {
        self.edit(|r| {
            if let Some(model) = &mut r.model {
                model.guardrails = Some(found.join(" ").into());
            }
        });
    }

    /// Guardrails of a model found all this in its answer so far.
    pub fn guardrails_of_answer(&mut self, found: &str) {
        self.edit(|r| {
            if let Some(model) = &mut r.model {
                let before = model.guardrails.take().unwrap_or_default();
                let of_prompt = before.split_whitespace().filter(|one| !one.starts_with(guardrail::ANSWER));
                let all: Vec<&str> = of_prompt.chain([found]).collect();
                model.guardrails = Some(all.join(" ").into());
            }
        });
    }

    /// The record of an answer within a session, which began then and took so long: one of its own, in the same trace.
    pub fn turn(&self, time: Timestamp, took: Duration) -> Option<UsageRecord> {
        let session = self.record.as_ref()?;
        let mut model = session.model.clone()?;
        (model.streamed, model.guardrails) = (true, None);
        model.tried.clear();
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        Some(UsageRecord {
            time,
            request_id: id_of(time, self.worker.bits(), self.worker.bits()),
            outcome: OutcomeReason::Served,
            status: 200,
            upstream_status: 200,
            attempts: 1,
            bytes_in: 0,
            bytes_out: 0,
            total_us: took,
            upstream_us: took,
            ttfb_us: took,
            model: Some(model),
            ..session.clone()
        })
    }

    /// What goes to the target asks to be served so.
    pub fn asks(&mut self, asked: Asked) {
        self.asks = asked;
    }

    /// A budget pays for the model call.
    pub fn pays(&mut self, paying: Paying) {
        self.paying = Some(paying);
    }

    /// Writes how far the budgets that pay are used.
    pub fn push_budgets(&self, fields: &mut Vec<u8>) {
        if let Some(paying) = &self.paying {
            paying.push_field(self.worker.now(), fields);
        }
    }

    /// These bytes of an answer came from the upstream.
    pub fn produced(&mut self, bytes: &[u8]) {
        if let Some(paying) = &mut self.paying {
            paying.produced.feed(bytes);
        }
    }

    /// Whether the provider told all that the model used.
    pub fn is_counted(&self) -> bool {
        let model = self.record.as_ref().and_then(|record| record.model.as_ref());
        model.is_none_or(|model| model.cost.is_some_and(|cost| cost != Cost::UnknownUsage))
    }

    /// The answer is compressed: nothing in it is counted.
    pub fn unreadable(&mut self) {
        if let Some(paying) = &mut self.paying {
            paying.unreadable();
        }
    }

    /// The provider has the whole request, and how far it got with it is not known.
    pub fn may_be_working(&mut self) {
        if let Some(paying) = &mut self.paying {
            paying.may_be_working();
        }
    }

    /// The provider has a part of so many bytes, and how far it got with that is not known, though it is of the rest.
    pub fn may_be_working_on(&mut self, bytes: u64) {
        if let Some(paying) = &mut self.paying {
            paying.may_be_working_on(bytes);
        }
    }

    /// Reads the tokens of a model call and prices them.
    pub fn usage(&mut self, view: &View, request: &mut UpstreamRequest) {
        let Some(call) = &mut request.call else { return };
        if matches!(call.usage, UsageProbe::Free) {
            self.edit(|r| {
                let served = (200..300).contains(&r.upstream_status);
                if let Some(model) = r.model.as_mut().filter(|_| served) {
                    model.cost = Some(Cost::Known(Default::default()));
                }
            });
        } else if let Some(told) = call.usage.total() {
            self.tokens(view, (call.model, call.target), told);
        }
    }

    /// The provider counted this, for a target of a model. The last count is the one that holds, and only one that is all
    /// has a cost.
    pub fn tokens(&mut self, view: &View, (model, target): (u32, u32), told: Told) {
        let target = &view.snapshot.models.list[model as usize].targets[target as usize];
        let (time, asks) = (self.time(), self.asks);
        self.edit(|r| {
            if let Some(model) = &mut r.model {
                model.tokens = told.tokens;
                let served = (asks, told.served);
                let cost = || target.price.cost_in(time, served, told.tokens.as_ref(), &told.units);
                model.cost = told.all.then(cost);
            }
        });
    }

    /// A target of a model answered calls of so many bytes, and nobody counted their tokens: as many as that is taken to be
    /// are paid.
    pub fn estimated(&mut self, view: &View, (model, target): (u32, u32), bytes: u64) {
        let target = &view.snapshot.models.list[model as usize].targets[target as usize];
        let (time, asks) = (self.time(), self.asks);
        let tokens = TokenUsage { input: estimated_tokens(bytes), ..TokenUsage::default() };
        self.edit(|r| {
            if let Some(model) = &mut r.model {
                model.cost = Some(match target.price.cost_in(time, (asks, None), Some(&tokens), &Units::default()) {
                    Cost::Known(cost) => Cost::Estimated(cost),
                    other => other,
                });
            }
        });
    }

    /// Keeps what is known of the call, for when the process is killed before the record is on disk. To be called before
    /// the caller is sent the last of an answer: what it has been told is on record then, with what it cost, earlier tries
    /// included. What costs nothing, as no provider served it, is not kept.
    pub fn keep(&mut self) {
        let reached = self.sent.is_some();
        let Some(record) = self.record.as_mut().filter(|_| !self.is_aside && !self.is_asked) else { return };
        let Some(model) = &record.model else { return };
        // As if it ended now; that is taken back below.
        let known = (model.cost, model.budgets.clone(), record.outcome, record.total_us, record.upstream_us);
        let now = Instant::now();
        record.total_us = micros(self.began, now);
        record.upstream_us = self.sent.map_or(record.upstream_us, |sent| micros(sent, now));
        if record.outcome == OutcomeReason::CallerClosed {
            record.outcome = OutcomeReason::Served;
        }
        if let Some(paying) = &self.paying {
            paying.charge(record, reached);
        }
        if let Some(lost) = &self.lost {
            add_lost(record, lost);
        }
        tell_unread(record);
        let cost = cost_of(record);
        let is_told = (200..300).contains(&record.upstream_status) || is_paid(record);
        if is_told && (self.kept.is_empty() || cost != self.kept_cost) && keep_as(self.worker, &mut self.kept, record) {
            self.kept_cost = cost;
        }
        (record.outcome, record.total_us, record.upstream_us) = (known.2, known.3, known.4);
        if let Some(model) = &mut record.model {
            (model.cost, model.budgets) = (known.0, known.1);
        }
    }

    /// The tokens that the provider counted.
    pub fn tokens_told(&self) -> Option<TokenUsage> {
        self.record.as_ref()?.model.as_ref()?.tokens
    }

    /// Settles what it holds of limits with what the provider counted; where that is not all, or nothing, with what was
    /// sent and what came. Before what it cost is estimated.
    pub(super) fn settle_held(&mut self, record: &UsageRecord, now: Instant) {
        let model = record.model.as_ref();
        let (told, is_all) = (model.and_then(|m| m.tokens), model.is_some_and(|m| m.cost.is_some()));
        let answered = (200..300).contains(&record.upstream_status);
        let used = match (told, self.paying.as_ref().map(Paying::seen)) {
            (Some(tokens), _) if is_all => Used::Tokens { input: tokens.input, output: tokens.output },
            (told, Some((sent, written))) if answered => {
                let told = told.unwrap_or_default();
                Used::AtLeast { input: told.input.max(sent), output: told.output.max(written) }
            }
            _ if answered || self.sent.is_some() => Used::Unknown,
            _ if record.upstream_status == 0 => Used::Unsent,
            _ => Used::Nothing,
        };
        let worker = self.worker;
        self.held.all().for_each(|taken| taken.settle(used, worker.monotonic_ns(now)));
    }
}
