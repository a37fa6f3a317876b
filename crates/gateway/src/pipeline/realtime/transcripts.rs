//! What it costs to have written down what is heard: held back as sound goes on, and charged transcript by transcript.
//!
//! Which sound a transcript is of is not told in a way that could be counted on, and silence gets none. So what is held
//! back is for all sound of the last minutes, and for all that is committed at once. It is held anew after each transcript,
//! so that a budget that is used up ends the session.

use super::turns::settle;
use crate::{
    net::control::Control,
    pipeline::{Refused, budget},
    snapshot::models::TargetPlan,
    worker::Worker,
};
use credentialflow_llm::{
    bound::Bound,
    realtime::said::Kind,
    task::{units::Units, usage::Used},
};
use credentialflow_model::{OutcomeReason, Timestamp, UsageRecord, resource::budget::pico, usage::Cost};
use credentialflow_policy::{LiveBudget, Reservation};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What was heard is written down within this time. It is held back for as long at least, and for twice that at most.
const WRITTEN: Duration = Duration::from_secs(120);
/// What is read beside sound: the prompt of a transcript.
const BASE_TOKENS: u64 = 2048;
/// So much more than was heard is reserved for, so that not every event needs another look.
const AHEAD: u64 = 2048;
/// Tokens of a second of sound at the least, as sound is counted here.
const TOKENS_OF_SECOND: u64 = 16;

/// A model that writes down what is heard: its target, and who pays for it.
pub(super) struct Transcriber {
    pub model: Arc<str>,
    pub target: (u32, u32),
    pub budgets: Vec<Arc<LiveBudget>>,
}

/// The transcripts of a session.
pub(super) struct Transcripts {
    /// Who makes them. It stays the same, as a transcript does not tell who made it.
    by: Option<Transcriber>,
    /// Tokens of sound that was heard since a moment, and in the time before it.
    heard: u64,
    before: u64,
    since: Instant,
    /// Of sound that was not committed.
    waits: u64,
    /// For how many tokens is reserved, and how much of each budget.
    covered: u64,
    amount: i64,
    held: Vec<Reservation>,
}

impl Transcripts {
    pub fn new() -> Self {
        let since = Instant::now();
        Self { by: None, heard: 0, before: 0, since, waits: 0, covered: 0, amount: 0, held: Vec::new() }
    }

    /// Who makes them, as far as it was said.
    pub fn by(&self) -> Option<&Transcriber> {
        self.by.as_ref()
    }

    /// This one makes them, unless one was named before.
    pub fn name(&mut self, by: Transcriber) {
        self.by.get_or_insert(by);
    }

    /// An event goes on with so many tokens.
    pub fn said(&mut self, kind: Kind, tokens: u64) {
        match kind {
            Kind::Sound => {
                self.heard = self.heard.saturating_add(tokens);
                self.waits = self.waits.saturating_add(tokens);
            }
            Kind::Commit => self.heard = self.heard.max(std::mem::take(&mut self.waits)),
            _ => {}
        }
    }

    /// Reserves what is missing, waiting for more of a budget where that is needed.
    pub async fn hold(
        &mut self,
        worker: &Worker,
        control: &Control,
        price: Option<&TargetPlan>,
    ) -> Result<(), Refused> {
        let (Some(by), Some(target)) = (&self.by, price) else { return Ok(()) };
        if by.budgets.is_empty() {
            return Ok(());
        }
        if self.since.elapsed() >= WRITTEN {
            (self.before, self.heard, self.since) = (self.heard, 0, Instant::now());
        }
        let tokens = self.heard.saturating_add(self.before).saturating_add(BASE_TOKENS);
        if tokens <= self.covered {
            return Ok(());
        }
        let is_hard = by.budgets.iter().any(|budget| budget.is_hard());
        let (now, tokens) = (worker.now(), tokens.saturating_add(AHEAD));
        let bound = Bound { input: tokens, output: tokens };
        let units = Units { audio_tokens: tokens, seconds: tokens.div_ceil(TOKENS_OF_SECOND), ..Units::default() };
        let amount = match target.price.most_of(now, &bound, &units) {
            Some(most) => pico(most),
            None if is_hard => return Err(Refused::new(OutcomeReason::PriceUnknown)),
            None => 0,
        };
        if is_hard {
            control.set_deadline(worker.tick_in(budget::WAIT));
        }
        let missing = amount.saturating_sub(self.amount).max(0);
        let more = budget::of_each(worker, control, &by.budgets, now, missing).await?;
        control.clear_deadline();
        self.held.extend(more);
        (self.covered, self.amount) = (tokens, amount.max(self.amount));
        Ok(())
    }

    /// A transcript came, which used so much: its record, and it is charged. Where it is not known who made it, its price
    /// is not known either.
    pub fn came(
        &mut self,
        used: Option<Used>,
        target: Option<&TargetPlan>,
        now: Timestamp,
        mut turn: UsageRecord,
    ) -> UsageRecord {
        let by = self.by.as_ref().zip(target);
        if let (Some(model), Some((by, target))) = (&mut turn.model, by) {
            model.model = by.model.clone();
            (model.provider, model.provider_model) = (target.provider.clone(), target.provider_model.clone());
        }
        let tokens = used.and_then(|used| used.tokens);
        let cost = match (used, by) {
            (Some(used), Some((_, target))) => target.price.cost_of(now, tokens.as_ref(), &used.units),
            (Some(_), None) => Cost::UnknownPrice,
            (None, _) => Cost::UnknownUsage,
        };
        let budgets = by.map_or(&[][..], |(by, _)| &by.budgets);
        let reservations = budgets.iter().map(|budget| budget.account(now).watch(0)).collect();
        settle(&mut turn, (cost, tokens), 0, reservations);
        // Whether there is more is to be asked again.
        self.held.clear();
        (self.covered, self.amount) = (0, 0);
        turn
    }
}
