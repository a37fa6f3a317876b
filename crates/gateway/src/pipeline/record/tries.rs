//! The tries of a request: one after the other, and one beside the other.

use super::{Lost, Recording};
use credentialflow_llm::tier::Asked;
use credentialflow_model::{
    OutcomeReason, UsageRecord,
    usage::{Tried, TriedEnd, charged_together},
};
use credentialflow_policy::{LimitReport, quota::Used};
use std::time::{Duration, Instant};

impl Recording<'_> {
    /// The `n`-th try begins.
    pub fn attempt(&mut self, n: u8) {
        self.edit(|r| r.attempts = n);
    }

    /// The request goes to the upstream.
    pub fn sent(&mut self, at: Instant) {
        self.sent = Some(at);
    }

    /// Whether the present try reached its upstream.
    pub const fn is_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// How long the present try has waited for its answer.
    pub fn waited(&self) -> Duration {
        self.sent.map_or(Duration::ZERO, |sent| sent.elapsed())
    }

    /// A try failed and another follows.
    pub fn retried(&mut self) {
        self.sent = None;
        self.edit(|r| r.upstream_status = 0);
    }

    /// A target failed, or the credential there, and another one is tried. Of a target what it may have cost is charged.
    pub fn tried(&mut self, end: TriedEnd, target: bool) {
        let reached = self.sent.is_some();
        let Some(record) = &mut self.record else { return };
        let reason = match end {
            TriedEnd::Outcome(reason) => Some(reason),
            // As if its caller had left it.
            TriedEnd::Overtaken => Some(OutcomeReason::CallerClosed),
            TriedEnd::Status(_) | TriedEnd::StreamError => None,
        };
        // Of one that is asked in parts, some were answered.
        let counted = record.model.as_ref().is_some_and(|model| model.cost.is_some());
        if target
            && let Some(paying) = self.paying.take()
            && (reason.is_some() || counted || paying.has_parts())
        {
            let reason = reason.unwrap_or(record.outcome);
            let stands = std::mem::replace(&mut record.outcome, reason);
            let more = paying.settle_try(record, reached);
            record.outcome = stands;
            self.lose(more);
        }
        let Some(record) = &mut self.record else { return };
        if let Some(model) = &mut record.model {
            (model.tokens, model.cost, model.budgets) = (None, None, None);
            model.tried.push(Tried {
                provider: model.provider.clone(),
                provider_model: model.provider_model.clone(),
                credential: record.credential.take(),
                end,
            });
        }
        record.endpoint = None;
        self.held.leave_target(used(end, reached), self.worker.monotonic_ns(Instant::now()));
        self.retried();
    }

    /// A try failed, and the call waits before there is another: others may use meanwhile what it held of its target.
    pub fn pauses(&mut self, end: TriedEnd) {
        let used = used(end, self.sent.is_some());
        self.held.leave_target(used, self.worker.monotonic_ns(Instant::now()));
        // What was answered with an error costs nothing, also where the caller leaves before there is another try.
        match end {
            TriedEnd::Status(_) | TriedEnd::Outcome(OutcomeReason::UpstreamCredentialRefused) => self.sent = None,
            TriedEnd::StreamError => self.retried(),
            TriedEnd::Outcome(_) | TriedEnd::Overtaken => {}
        }
    }

    /// The record of a try beside the one that this is the record of. It ends with [`Self::adopt`] or [`Self::beaten`].
    pub fn aside(&mut self) -> Self {
        let beside = self.beside.get_or_insert_default().clone();
        Self {
            worker: self.worker,
            began: self.began,
            sent: None,
            span: self.span,
            limits: LimitReport::default(),
            max_body: self.max_body,
            dialect: self.dialect,
            rpc: None,
            answered: false,
            first_byte: false,
            ended: None,
            head: self.head,
            user: self.user.clone(),
            asked: self.asked.clone(),
            prompt: self.prompt.clone(),
            cache: self.cache,
            asks: Asked::Usual,
            paying: None,
            held: self.held.beside(),
            lost: None,
            beside: Some(beside),
            is_aside: true,
            is_asked: self.is_asked,
            told: self.told.clone(),
            kept: Vec::new(),
            kept_cost: None,
            record: self.record.as_ref().map(|record| UsageRecord { model: None, credential: None, ..record.clone() }),
        }
    }

    /// The try beside this one goes on in its place; how this one ended was told before.
    pub fn adopt(&mut self, mut aside: Self) {
        let (Some(mine), Some(theirs)) = (&mut self.record, aside.record.take()) else { return };
        self.asks = aside.asks;
        mine.upstream = theirs.upstream;
        mine.endpoint = theirs.endpoint;
        mine.credential = theirs.credential;
        mine.upstream_status = theirs.upstream_status;
        if let (Some(mine), Some(mut theirs)) = (&mut mine.model, theirs.model) {
            theirs.guardrails = mine.guardrails.take();
            theirs.tried.splice(0..0, std::mem::take(&mut mine.tried));
            *mine = theirs;
        }
        (self.sent, self.paying) = (aside.sent.take(), aside.paying.take());
        self.held.adopt(&mut aside.held);
        self.told = std::mem::take(&mut aside.told);
        self.lose(aside.lost.take());
    }

    /// The try beside this one ended so, and this one goes on.
    pub fn beaten(&mut self, mut aside: Self, end: TriedEnd) {
        aside.tried(end, true);
        self.lose(aside.lost.take());
        let theirs = aside.record.take().and_then(|record| record.model);
        if let (Some(mine), Some(theirs)) = (self.record.as_mut().and_then(|record| record.model.as_mut()), theirs) {
            mine.tried.extend(theirs.tried);
        }
    }

    /// Adds to what budgets were charged for targets that did not serve.
    pub(super) fn lose(&mut self, more: Option<Lost>) {
        self.lost = match (self.lost.take(), more) {
            // Providers may have budgets of their own.
            (Some((lost, of)), Some((more, windows))) => {
                let (sum, windows) = charged_together([(lost, &*of), (more, &*windows)]);
                Some((sum, windows.into()))
            }
            (before, more) => before.or(more),
        };
    }
}

/// What a try used of its target's limits.
const fn used(end: TriedEnd, reached: bool) -> Used {
    match end {
        TriedEnd::Outcome(OutcomeReason::UpstreamCredentialRefused) => Used::Nothing,
        TriedEnd::Outcome(_) | TriedEnd::Overtaken if reached => Used::Unknown,
        TriedEnd::Outcome(_) | TriedEnd::Overtaken => Used::Unsent,
        TriedEnd::Status(_) | TriedEnd::StreamError => Used::Nothing,
    }
}
