//! What one worker remembers of failures, so that what fails is left alone for a while and then tried with one request.
//!
//! Cells of one thread: nothing here is shared, and nothing locks.

use credentialflow_model::usage::TriedEnd;
use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// The failures of an endpoint, of a target of a model or of one of its credentials.
#[derive(Default)]
pub(crate) struct Cooling {
    failures: Cell<u32>,
    failed_at: Cell<Option<Instant>>,
    until: Cell<Option<Instant>>,
    end: Cell<Option<TriedEnd>>,
    /// Whose turn it is among what belongs to it.
    turn: Cell<u32>,
}

impl Cooling {
    /// When it last failed; `None` comes before every moment.
    pub fn failed_at(&self) -> Option<Instant> {
        self.failed_at.get()
    }

    /// Whether it may be used now, while there is anything else.
    pub fn is_open(&self, now: Instant) -> bool {
        self.until.get().is_none_or(|until| until <= now)
    }

    /// It served.
    pub fn succeeded(&self) {
        self.failures.set(0);
        self.until.set(None);
    }

    /// It served a request that began at this moment. What failed since then goes on counting.
    pub fn served_since(&self, began: Instant) {
        if self.failed_at.get().is_none_or(|at| at <= began) {
            self.succeeded();
        }
    }

    /// It failed; after `most` failures in a row it is left alone for `cooldown`. Whether it is now.
    pub fn failed(&self, most: u32, cooldown: Duration) -> bool {
        let failures = self.failures.get().saturating_add(1);
        let now = Instant::now();
        self.failures.set(failures);
        self.failed_at.set(Some(now));
        let cools = failures >= most;
        if cools {
            self.until.set(Some(now + cooldown));
        }
        cools
    }

    /// It failed in a way that tells how; where that says how long, or leaves no doubt, it is left alone at once.
    pub fn ended(&self, end: TriedEnd, at_once: Option<Duration>, (most, cooldown): (u32, Duration)) {
        self.end.set(Some(end));
        self.failed(if at_once.is_some() { 0 } else { most }, at_once.unwrap_or(cooldown));
    }

    /// It is used now. When that is the first time after it was left alone, nobody else does until it has served or
    /// `probe` is over.
    pub fn used(&self, now: Instant, probe: Duration) {
        if self.until.get().is_some_and(|until| until <= now) {
            self.until.set(Some(now + probe));
        }
    }

    /// How much longer it is left alone, and how it ended last.
    pub fn rests(&self, now: Instant) -> Option<(Duration, Option<TriedEnd>)> {
        let left = self.until.get()?.checked_duration_since(now).filter(|left| !left.is_zero())?;
        Some((left, self.end.get()))
    }

    /// Counts one turn on.
    pub fn next_turn(&self) -> u32 {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const USUAL: (u32, Duration) = (2, LONG);

    #[test]
    fn it_cools_after_failures_in_a_row_and_one_request_finds_out_whether_it_is_well() {
        let cooling = Cooling::default();
        let began = Instant::now();
        cooling.ended(TriedEnd::Status(503), None, USUAL);
        assert!(cooling.is_open(Instant::now()), "one failure is none");
        cooling.served_since(began);
        cooling.ended(TriedEnd::Status(503), None, USUAL);
        assert!(!cooling.is_open(Instant::now()), "what began before the failure proves nothing");
        let (left, end) = cooling.rests(Instant::now()).unwrap();
        assert!(left > LONG / 2 && end == Some(TriedEnd::Status(503)));
        let later = Instant::now() + LONG;
        assert!(cooling.is_open(later));
        cooling.used(later, LONG);
        assert!(!cooling.is_open(later), "the others wait for the one");
        assert!(cooling.is_open(later + LONG), "and not for ever");
        cooling.served_since(later);
        assert!(cooling.is_open(later) && cooling.rests(later).is_none());
        cooling.used(later, LONG);
        assert!(cooling.is_open(later), "what is well is used by all");
    }

    #[test]
    fn what_leaves_no_doubt_cools_at_once() {
        let cooling = Cooling::default();
        cooling.ended(TriedEnd::Status(429), Some(2 * LONG), USUAL);
        assert!(!cooling.is_open(Instant::now() + LONG));
        assert!(cooling.is_open(Instant::now() + 3 * LONG));
    }
}
