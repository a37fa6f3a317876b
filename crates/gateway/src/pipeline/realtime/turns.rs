//! What a session may cost, and what it does cost: answer by answer, each with a record of its own.
//!
//! The provider may begin an answer at any time, as soon as somebody stops speaking. So there is always one more
//! reservation than answers that run or were asked for. Each is for the most that an answer can cost: all that the model
//! may have to read, at the price of sound, and the longest answer, spoken. What the model may have to read is what its
//! last answer read and wrote, and what was said since; never more than fits into it.

use crate::{
    net::control::Control,
    pipeline::{Refused, budget, record::Recording},
    snapshot::models::TargetPlan,
    worker::Worker,
};
use credentialflow_llm::{
    PriceHandle,
    bound::Bound,
    task::{units::Units, usage::Used},
};
use credentialflow_model::{
    OutcomeReason, Timestamp, UsageRecord,
    resource::budget::{pico, usd},
    usage::{Cost, TokenUsage},
};
use credentialflow_policy::{LiveBudget, Reservation, budget::MOST_COST};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// Answers that run or are asked for at most.
const MOST_OPEN: usize = 16;
/// What a provider puts before a conversation of its own accord, and what was on its way when it counted.
const BASE_TOKENS: u64 = 2048;
/// So much more than is known is reserved for, so that not every event needs another look.
const AHEAD: u64 = 2048;
/// Bytes of the id of an answer.
const LONGEST_ID: usize = 512;
/// An answer that was asked for and has not begun after this long will not begin.
const NEVER: Duration = Duration::from_secs(30);

/// The answers of a session.
pub(super) struct Turns {
    budgets: Vec<Arc<LiveBudget>>,
    /// Whether there are answers at all.
    answers: bool,
    /// Whether one is made after the other.
    one_at_a_time: bool,
    price: PriceHandle,
    /// What fits into the model, where that is known.
    context: Option<u64>,
    /// Output tokens of an answer, at the most.
    longest: u64,
    /// Tokens that the model may have to read now.
    known: u64,
    /// For how many of them is reserved.
    covered: u64,
    /// Tokens that were said in all.
    said: u64,
    /// An answer was asked for that reads something else than the conversation. From then on, what an answer read says
    /// nothing of how long the conversation is.
    apart: bool,
    asked: VecDeque<Asked>,
    open: Vec<Open>,
    held: Vec<Held>,
}

/// What it means that an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// There will be one more.
    Anew,
    /// It is the one that was asked for before.
    Already,
    /// There are too many.
    TooMany,
}

/// An answer that was asked for and has not begun.
struct Asked {
    event: Option<String>,
    at: Instant,
    said: u64,
}

/// An answer that runs.
struct Open {
    id: String,
    time: Timestamp,
    began: Instant,
    /// What had been said when it was asked for.
    said: u64,
}

/// What is held back for one answer.
struct Held {
    of: Vec<Reservation>,
    /// More of the same, as what the model reads grew.
    more: Vec<Reservation>,
    /// Of each budget.
    amount: i64,
}

impl Turns {
    /// Of a session at this target, which these budgets pay for: whether the model answers, and one time after the other.
    pub fn new(target: &TargetPlan, budgets: Vec<Arc<LiveBudget>>, (answers, one_at_a_time): (bool, bool)) -> Self {
        Self {
            budgets,
            answers,
            one_at_a_time,
            price: target.price.clone(),
            context: target.abilities.context,
            longest: target.most_output,
            known: BASE_TOKENS,
            covered: 0,
            said: 0,
            apart: false,
            asked: VecDeque::new(),
            open: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Whether a budget pays that refuses what it cannot pay.
    pub fn is_hard(&self) -> bool {
        self.budgets.iter().any(|budget| budget.is_hard())
    }

    /// The model may have to read so much more.
    pub fn said(&mut self, tokens: u64) {
        self.said = self.said.saturating_add(tokens);
        self.known = self.known.saturating_add(tokens);
    }

    /// The session goes on from one before, of which nobody knows here what the model has to read. False: it could be
    /// anything, and a budget refuses what it cannot pay.
    pub fn resume(&mut self) -> bool {
        if let Some(context) = self.context {
            self.known = self.known.max(context);
        }
        self.context.is_some() || !self.is_hard()
    }

    /// An answer is asked for, of the conversation or `apart` from it.
    pub fn ask(&mut self, event: Option<String>, apart: bool) -> Asks {
        self.asked.retain(|asked| asked.at.elapsed() < NEVER);
        if self.one_at_a_time && !self.asked.is_empty() {
            return Asks::Already;
        }
        if self.asked.len() + self.open.len() >= MOST_OPEN {
            return Asks::TooMany;
        }
        self.apart |= apart;
        self.asked.push_back(Asked { event, at: Instant::now(), said: self.said });
        Asks::Anew
    }

    /// The answer that was asked for last is not asked for: the event does not go on.
    pub fn unask(&mut self) {
        self.asked.pop_back();
    }

    /// The provider has taken all that was said: what was asked for and has not begun never will.
    pub fn all_taken(&mut self) {
        self.asked.clear();
    }

    /// Whether an answer was asked for that has not begun.
    pub fn awaits(&self) -> bool {
        self.asked.iter().any(|asked| asked.at.elapsed() < NEVER)
    }

    /// The provider refused what was said with this id.
    pub fn refused(&mut self, about: Option<&str>) {
        if let Some(about) = about {
            self.asked.retain(|asked| asked.event.as_deref() != Some(about));
        }
    }

    /// An answer has begun. False: more run than anybody could have asked for, or its id is none.
    pub fn began(&mut self, id: String, now: Timestamp) -> bool {
        let said = self.asked.pop_front().map_or(self.said, |asked| asked.said);
        let is_one = self.answers && id.len() <= LONGEST_ID && self.open.len() < 2 * MOST_OPEN;
        if is_one {
            self.open.push(Open { id, time: now, began: Instant::now(), said });
        }
        is_one
    }

    /// The answers that run.
    pub fn running(&self) -> impl Iterator<Item = &str> {
        self.open.iter().map(|open| open.id.as_str())
    }

    /// Reserves what is missing, waiting for more of a budget where that is needed.
    pub async fn hold(&mut self, worker: &Worker, control: &Control) -> Result<(), Refused> {
        if self.budgets.is_empty() || !self.answers {
            return Ok(());
        }
        self.asked.retain(|asked| asked.at.elapsed() < NEVER);
        let wanted = self.asked.len() + self.open.len() + 1;
        let reads = self.reads(self.known);
        self.held.truncate(wanted);
        if self.held.len() >= wanted && reads <= self.covered {
            return Ok(());
        }
        let now = worker.now();
        let covered = self.reads(self.known.saturating_add(AHEAD));
        let units = Units { audio_tokens: covered, audio_output_tokens: self.longest, ..Units::default() };
        let bound = Bound { input: covered, output: self.longest };
        if self.is_hard() {
            control.set_deadline(worker.tick_in(budget::WAIT));
        }
        let amount = match self.price.most_of(now, &bound, &units) {
            Some(most) => pico(most),
            None if self.is_hard() => return Err(Refused::new(OutcomeReason::PriceUnknown)),
            None => 0,
        };
        for i in 0..wanted {
            match self.held.get(i).map(|held| held.amount) {
                None => {
                    let of = budget::of_each(worker, control, &self.budgets, now, amount).await?;
                    self.held.push(Held { of, more: Vec::new(), amount });
                }
                Some(before) if before < amount => {
                    let more = budget::of_each(worker, control, &self.budgets, now, amount - before).await?;
                    if let Some(held) = self.held.get_mut(i) {
                        held.more.extend(more);
                        held.amount = amount;
                    }
                }
                Some(_) => {}
            }
        }
        control.clear_deadline();
        self.covered = covered;
        Ok(())
    }

    fn reads(&self, tokens: u64) -> u64 {
        self.context.map_or(tokens, |context| tokens.min(context))
    }

    /// An answer is over: its record. One of which nobody told that it had begun has begun now.
    pub fn done(
        &mut self,
        (id, used): (&str, Option<Used>),
        (in_conversation, failed): (bool, bool),
        now: Timestamp,
        record: &Recording<'_>,
    ) -> Option<UsageRecord> {
        let open = match self.open.iter().position(|open| open.id == id) {
            Some(at) => self.open.swap_remove(at),
            None => {
                let said = self.asked.pop_front().map_or(self.said, |asked| asked.said);
                Open { id: String::new(), time: now, began: Instant::now(), said }
            }
        };
        let told = used.and_then(|used| used.tokens);
        match told {
            Some(told) if in_conversation && self.apart => self.known = self.known.saturating_add(told.output),
            Some(told) if in_conversation => {
                let since = self.said.saturating_sub(open.said);
                let read = told.input.saturating_add(told.output);
                self.known = read.saturating_add(since).saturating_add(BASE_TOKENS);
            }
            Some(_) => {}
            None => self.known = self.known.saturating_add(self.longest),
        }
        let held = self.held.pop();
        self.end(open, held, (used, failed), OutcomeReason::Served, record)
    }

    /// Ends the answers that are not over, and those that were asked for and have not begun: what was held back for them
    /// is what they cost, as nobody knows better.
    pub fn give_up(&mut self, why: OutcomeReason, now: Timestamp, record: &Recording<'_>) -> Vec<UsageRecord> {
        let mut open = std::mem::take(&mut self.open);
        let asked = self.asked.drain(..).filter(|asked| asked.at.elapsed() < NEVER);
        open.extend(asked.map(|asked| Open { id: String::new(), time: now, began: asked.at, said: asked.said }));
        let end = |open| {
            let held = self.held.pop();
            self.end(open, held, (None, false), why, record)
        };
        open.into_iter().filter_map(end).collect()
    }

    fn end(
        &self,
        open: Open,
        held: Option<Held>,
        (used, failed): (Option<Used>, bool),
        outcome: OutcomeReason,
        record: &Recording<'_>,
    ) -> Option<UsageRecord> {
        let mut turn = record.turn(open.time, open.began.elapsed())?;
        turn.outcome = outcome;
        let most = held.as_ref().map_or(0, |held| held.amount);
        let tokens = used.and_then(|used| used.tokens);
        let cost = match used {
            Some(used) => self.price.cost_of(open.time, tokens.as_ref(), &used.units),
            None if failed => Cost::Known(Default::default()),
            None => Cost::UnknownUsage,
        };
        // One that nobody could expect is paid for all the same.
        let unheld = || self.budgets.iter().map(|budget| budget.account(open.time).watch(0)).collect();
        let reservations = held.map_or_else(unheld, |held| held.of);
        settle(&mut turn, (cost, tokens), most, reservations);
        Some(turn)
    }
}

/// Writes what something cost into its record, and charges it. Where nobody knows, that is `most`.
pub(super) fn settle(
    turn: &mut UsageRecord,
    (cost, tokens): (Cost, Option<TokenUsage>),
    most: i64,
    reservations: Vec<Reservation>,
) {
    let Some(model) = &mut turn.model else { return };
    let (cost, charged) = match cost {
        Cost::Known(amount) if pico(amount) > MOST_COST => (Cost::Estimated(usd(MOST_COST)), Some(MOST_COST)),
        Cost::Known(amount) => (cost, Some(pico(amount))),
        Cost::UnknownUsage if most > 0 => (Cost::Estimated(usd(most)), Some(most)),
        other => (other, None),
    };
    (model.tokens, model.cost) = (tokens, Some(cost));
    if let Some(charged) = charged
        && !reservations.is_empty()
    {
        model.budgets = Some(budget::windows(&reservations));
        reservations.into_iter().for_each(|reservation| reservation.settle(charged));
    }
}
