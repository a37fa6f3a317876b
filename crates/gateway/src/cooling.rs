//! What one worker remembers of failures, so that what fails is left alone for a while and then tried with one request.
//!
//! Cells of one thread: nothing here is shared, and nothing locks.

use crate::latency::Latency;
use credentialflow_model::usage::TriedEnd;
use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::{Duration, Instant},
};

/// The application whose call something happened to; `None` where that does not matter.
pub(crate) type Whose<'a> = Option<&'a Arc<str>>;

/// The failures of an endpoint, of a target of a model or of one of its credentials.
///
/// What failed for one application alone is left alone by its calls and by those of nobody else: what one sends must not
/// take a provider away from others.
#[derive(Default)]
pub(crate) struct Cooling {
    /// How soon it answered.
    pub latency: Latency,
    /// The application whose calls failed, where it is one alone.
    whose: RefCell<Option<Arc<str>>>,
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

    /// Whether a call of this application may use it now, while there is anything else.
    pub fn is_open_to(&self, now: Instant, whose: Whose<'_>) -> bool {
        self.is_open(now) || !self.concerns(whose)
    }

    /// Whether what is known counts for this application.
    fn concerns(&self, whose: Whose<'_>) -> bool {
        self.whose.borrow().as_ref().is_none_or(|failed| whose.is_none_or(|whose| whose == failed))
    }

    /// It served.
    pub fn succeeded(&self) {
        self.failures.set(0);
        self.until.set(None);
    }

    /// It served a request of this application that began at this moment. What failed since then goes on counting, and so
    /// does what failed for another application alone.
    pub fn served_since(&self, began: Instant, whose: Whose<'_>) {
        if self.failed_at.get().is_none_or(|at| at <= began) && self.concerns(whose) {
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

    /// It failed for this application in a way that tells how; where that says how long, or leaves no doubt, it is left
    /// alone at once.
    pub fn ended(&self, end: TriedEnd, at_once: Option<Duration>, (most, cooldown): (u32, Duration), whose: Whose<'_>) {
        let is_first = self.failures.get() == 0;
        let failed = self.whose.take();
        *self.whose.borrow_mut() = if is_first || failed.as_ref() == whose { whose.cloned() } else { None };
        self.end.set(Some(end));
        self.failed(if at_once.is_some() { 0 } else { most }, at_once.unwrap_or(cooldown));
    }

    /// It is used now. When that is the first time after it was left alone, nobody else does until it has served or
    /// `probe` is over.
    pub fn used(&self, now: Instant, probe: Duration, whose: Whose<'_>) {
        if self.until.get().is_some_and(|until| until <= now) && self.concerns(whose) {
            self.until.set(Some(now + probe));
        }
    }

    /// How much longer it is left alone, and how it ended last.
    pub fn rests(&self, now: Instant) -> Option<(Duration, Option<TriedEnd>)> {
        let left = self.until.get()?.checked_duration_since(now).filter(|left| !left.is_zero())?;
        Some((left, self.end.get()))
    }

    /// The application whose calls alone it is left alone by.
    pub fn whose(&self) -> Option<Arc<str>> {
        self.whose.borrow().clone()
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
        cooling.ended(TriedEnd::Status(503), None, USUAL, None);
        assert!(cooling.is_open(Instant::now()), "one failure is none");
        cooling.served_since(began, None);
        cooling.ended(TriedEnd::Status(503), None, USUAL, None);
        assert!(!cooling.is_open(Instant::now()), "what began before the failure proves nothing");
        let (left, end) = cooling.rests(Instant::now()).unwrap();
        assert!(left > LONG / 2 && end == Some(TriedEnd::Status(503)));
        let later = Instant::now() + LONG;
        assert!(cooling.is_open(later));
        cooling.used(later, LONG, None);
        assert!(!cooling.is_open(later), "the others wait for the one");
        assert!(cooling.is_open(later + LONG), "and not for ever");
        cooling.served_since(later, None);
        assert!(cooling.is_open(later) && cooling.rests(later).is_none());
        cooling.used(later, LONG, None);
        assert!(cooling.is_open(later), "what is well is used by all");
    }

    #[test]
    fn what_leaves_no_doubt_cools_at_once() {
        let cooling = Cooling::default();
        cooling.ended(TriedEnd::Status(429), Some(2 * LONG), USUAL, None);
        assert!(!cooling.is_open(Instant::now() + LONG));
        assert!(cooling.is_open(Instant::now() + 3 * LONG));
    }

    #[test]
    fn one_application_s_failures_are_its_own_until_another_one_has_some() {
        let [one, other, third]: [Arc<str>; 3] = ["one".into(), "other".into(), "third".into()];
        let cooling = Cooling::default();
        let open = |whose| cooling.is_open_to(Instant::now(), Some(whose));
        let began = Instant::now();
        cooling.ended(TriedEnd::Status(429), Some(LONG), USUAL, Some(&one));
        assert!(!open(&one) && open(&other));
        assert_eq!(cooling.whose(), Some(one.clone()));
        // That others are served says nothing of it.
        cooling.served_since(Instant::now(), Some(&other));
        assert!(!open(&one));
        let later = Instant::now() + 2 * LONG;
        cooling.used(later, LONG, Some(&other));
        assert!(cooling.is_open_to(later, Some(&one)), "it finds out for itself");
        cooling.used(later, LONG, Some(&one));
        assert!(!cooling.is_open_to(later, Some(&one)) && cooling.is_open_to(later, Some(&other)));
        // Two of them are everybody.
        cooling.ended(TriedEnd::Status(429), Some(LONG), USUAL, Some(&other));
        assert!(!open(&one) && !open(&other) && !open(&third));
        cooling.served_since(began, Some(&one));
        assert!(!open(&one), "it began before");
        cooling.served_since(Instant::now(), Some(&third));
        assert!(open(&one) && open(&other));
        // And it begins anew.
        cooling.ended(TriedEnd::Status(401), Some(LONG), USUAL, Some(&other));
        assert!(open(&one) && !open(&other));
    }
}
