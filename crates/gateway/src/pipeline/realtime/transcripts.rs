//! What it costs to have written down what is heard: held back as sound goes on, and charged transcript by transcript.
//!
//! Silence gets no transcript, and how much of what was sent is silence is not told. So what is held back is for all sound
//! of the last minutes, and for each utterance that the provider said it had heard whole until its transcript comes, however
//! late that is. It is held anew after each transcript, so that a budget that is used up ends the session.

use super::turns::settle;
use crate::{
    net::control::Control,
    pipeline::{Refused, budget, record::Recording},
    snapshot::models::TargetPlan,
    worker::Worker,
};
use credentialflow_llm::{
    bound::Bound,
    realtime::Kind,
    task::{units::Units, usage::Used},
};
use credentialflow_model::{OutcomeReason, Timestamp, UsageRecord, resource::budget::pico, usage::Cost};
use credentialflow_policy::{LiveBudget, Reservation};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// Sound is taken to be written down within this time where nobody said that it was heard whole; it is held back for as
/// long at least, and for twice that at most. When a session ends, what was heard before that will not be written down.
const WRITTEN: Duration = Duration::from_secs(120);
/// What is read beside sound: the prompt of a transcript.
const BASE_TOKENS: u64 = 2048;
/// So much more than was heard is reserved for, so that not every event needs another look.
const AHEAD: u64 = 2048;
/// Tokens of a second of sound at the least, as sound is counted here.
const TOKENS_OF_SECOND: u64 = 16;
/// Utterances that wait for their transcripts one by one; older ones are counted together.
const MOST_ITEMS: usize = 256;
/// Bytes of the id of an utterance.
const LONGEST_ID: usize = 512;

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
    /// Whether that was said.
    named: bool,
    sound: Sound,
    /// For how many tokens is reserved, and how much of each budget.
    covered: u64,
    amount: i64,
    held: Vec<Reservation>,
}

/// What may be written down, in tokens.
struct Sound {
    /// What was heard since a moment, and in the time before it.
    heard: u64,
    before: u64,
    since: Instant,
    /// What was not committed, and what was committed and not heard whole yet.
    waits: u64,
    committed: u64,
    /// Utterances that were heard whole and are not written down.
    items: VecDeque<Item>,
    /// Those that are too many to be told apart.
    others: u64,
}

struct Item {
    id: String,
    tokens: u64,
    at: Instant,
}

impl Sound {
    const fn new(now: Instant) -> Self {
        Self { heard: 0, before: 0, since: now, waits: 0, committed: 0, items: VecDeque::new(), others: 0 }
    }

    /// An event goes on with so many tokens.
    fn said(&mut self, kind: Kind, tokens: u64) {
        match kind {
            Kind::Sound => {
                self.heard = self.heard.saturating_add(tokens);
                self.waits = self.waits.saturating_add(tokens);
            }
            Kind::Commit => {
                self.committed = self.committed.saturating_add(std::mem::take(&mut self.waits));
                self.heard = self.heard.max(self.committed);
            }
            _ => {}
        }
    }

    /// An utterance was heard whole: of it may be all that nobody heard before.
    fn heard(&mut self, id: String, now: Instant) {
        let tokens = match std::mem::take(&mut self.committed) {
            0 => std::mem::take(&mut self.waits),
            committed => committed,
        };
        self.heard = self.heard.max(tokens);
        if self.items.len() >= MOST_ITEMS
            && let Some(oldest) = self.items.pop_front()
        {
            self.others = self.others.saturating_add(oldest.tokens);
        }
        if id.len() <= LONGEST_ID {
            self.items.push_back(Item { id, tokens, at: now });
        } else {
            self.others = self.others.saturating_add(tokens);
        }
    }

    /// An utterance is written down, or will not be.
    fn is_over(&mut self, id: &str) {
        if let Some(at) = self.items.iter().position(|item| item.id == id) {
            self.items.remove(at);
        }
    }

    /// What may still be written down.
    fn left(&mut self, now: Instant) -> u64 {
        if now.duration_since(self.since) >= WRITTEN {
            (self.before, self.heard, self.since) = (self.heard, 0, now);
        }
        // What was heard lately is counted as such.
        let late = self.items.iter().filter(|item| now.duration_since(item.at) >= WRITTEN);
        let late = late.fold(self.others, |sum, item| sum.saturating_add(item.tokens));
        self.heard.saturating_add(self.before).saturating_add(late)
    }

    /// The utterances that the provider is about to write down.
    fn awaited(&self, now: Instant) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| now.duration_since(item.at) < WRITTEN)
    }
}

/// The most that so many tokens may use.
fn most(tokens: u64) -> (Bound, Units) {
    let units = Units { audio_tokens: tokens, seconds: tokens.div_ceil(TOKENS_OF_SECOND), ..Units::default() };
    (Bound { input: tokens, output: tokens }, units)
}

impl Transcripts {
    /// Of a session; who makes them where nobody else is named.
    pub fn new(usual: Option<Transcriber>) -> Self {
        let sound = Sound::new(Instant::now());
        Self { by: usual, named: false, sound, covered: 0, amount: 0, held: Vec::new() }
    }

    /// Who makes them, as far as it is known.
    pub const fn by(&self) -> Option<&Transcriber> {
        self.by.as_ref()
    }

    /// Who was named to make them.
    pub fn named(&self) -> Option<&Transcriber> {
        self.by.as_ref().filter(|_| self.named)
    }

    /// This one makes them, unless one was named before.
    pub fn name(&mut self, by: Transcriber) {
        if !std::mem::replace(&mut self.named, true) {
            self.by = Some(by);
            self.release();
        }
    }

    /// An event goes on with so many tokens.
    pub fn said(&mut self, kind: Kind, tokens: u64) {
        self.sound.said(kind, tokens);
    }

    /// An utterance was heard whole.
    pub fn heard(&mut self, item: String, now: Instant) {
        if self.by.is_some() {
            self.sound.heard(item, now);
        }
    }

    /// An utterance will not be written down.
    pub fn is_over(&mut self, item: &str) {
        self.sound.is_over(item);
    }

    /// Whether the provider is about to write something down.
    pub fn awaits(&self) -> bool {
        self.sound.awaited(Instant::now()).next().is_some()
    }

    /// Whether there is more is to be asked again.
    fn release(&mut self) {
        self.held.clear();
        (self.covered, self.amount) = (0, 0);
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
        let tokens = self.sound.left(Instant::now()).saturating_add(BASE_TOKENS);
        if tokens <= self.covered {
            return Ok(());
        }
        let is_hard = by.budgets.iter().any(|budget| budget.is_hard());
        let (now, tokens) = (worker.now(), tokens.saturating_add(AHEAD));
        let (bound, units) = most(tokens);
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
        (item, used): (&str, Option<Used>),
        target: Option<&TargetPlan>,
        now: Timestamp,
        mut turn: UsageRecord,
    ) -> UsageRecord {
        self.sound.is_over(item);
        let by = self.by.as_ref().zip(target);
        let tokens = used.and_then(|used| used.tokens);
        let cost = match (used, by) {
            (Some(used), Some((_, target))) => target.price.cost_of(now, tokens.as_ref(), &used.units),
            (Some(_), None) => Cost::UnknownPrice,
            (None, _) => Cost::UnknownUsage,
        };
        charge(&mut turn, by, (cost, used), 0, now);
        self.release();
        turn
    }

    /// Ends the transcripts that the provider was about to make: what was held back for them is what they cost, as nobody
    /// knows better.
    pub fn give_up(
        &mut self,
        target: Option<&TargetPlan>,
        why: OutcomeReason,
        now: Timestamp,
        record: &Recording<'_>,
    ) -> Vec<UsageRecord> {
        let Some((by, target)) = self.by.as_ref().zip(target) else { return Vec::new() };
        let end = |item: &Item| {
            let mut turn = record.turn(now, item.at.elapsed())?;
            turn.outcome = why;
            let (bound, units) = most(item.tokens);
            let most = target.price.most_of(now, &bound, &units).map_or(0, pico);
            charge(&mut turn, Some((by, target)), (Cost::UnknownUsage, None), most, now);
            Some(turn)
        };
        let left = self.sound.awaited(Instant::now()).filter_map(end).collect();
        self.sound.items.clear();
        self.release();
        left
    }
}

/// Writes who made a transcript and what it cost into its record, and charges it. Where nobody knows, that is `most`.
fn charge(
    turn: &mut UsageRecord,
    by: Option<(&Transcriber, &TargetPlan)>,
    (cost, used): (Cost, Option<Used>),
    most: i64,
    now: Timestamp,
) {
    if let (Some(model), Some((by, target))) = (&mut turn.model, by) {
        model.model = by.model.clone();
        (model.provider, model.provider_model) = (target.provider.clone(), target.provider_model.clone());
    }
    let budgets = by.map_or(&[][..], |(by, _)| &by.budgets);
    let reservations = budgets.iter().map(|budget| budget.account(now).watch(0)).collect();
    settle(turn, (cost, used.and_then(|used| used.tokens)), most, reservations);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_is_held_for_until_it_is_written_down_however_late() {
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let mut sound = Sound::new(began);
        sound.said(Kind::Sound, 1000);
        assert_eq!(sound.left(at(1)), 1000);
        // Heard whole: that counts once, as long as it was heard lately, and then by itself.
        sound.heard("a".into(), at(2));
        assert_eq!(sound.left(at(3)), 1000);
        sound.said(Kind::Sound, 10);
        assert_eq!(sound.left(at(119)), 1010);
        assert_eq!((sound.left(at(130)), sound.left(at(131))), (2010, 2010));
        assert_eq!(sound.left(at(260)), 1000);
        assert_eq!(sound.left(at(3000)), 1000);
        // Its transcript comes; what nobody said was heard is silence.
        sound.is_over("a");
        assert_eq!(sound.left(at(3000)), 0);
        // One transcript says nothing of another utterance.
        sound.said(Kind::Sound, 20);
        sound.said(Kind::Commit, 0);
        sound.heard("b".into(), at(3001));
        sound.said(Kind::Sound, 30);
        sound.heard("c".into(), at(3002));
        sound.is_over("c");
        sound.is_over("unknown");
        assert_eq!(sound.awaited(at(3003)).map(|item| (&*item.id, item.tokens)).collect::<Vec<_>>(), [("b", 30)]);
        assert_eq!(sound.left(at(4000)), 90);
        assert_eq!(sound.left(at(5000)), 30);
        assert_eq!(sound.awaited(at(5000)).count(), 0);
        // However many there are, all count.
        let mut many = Sound::new(began);
        for i in 0..2 * MOST_ITEMS {
            many.said(Kind::Sound, 1);
            many.heard(i.to_string(), at(1));
        }
        assert!(many.items.len() <= MOST_ITEMS);
        assert_eq!((many.left(at(500)), many.left(at(900))), (4 * MOST_ITEMS as u64, 2 * MOST_ITEMS as u64));
    }
}
