//! The arithmetic of a budget that several nodes spend from: what is spent, what is lent to whom, what is left.
//!
//! The truth of a window is three sums. `spent` is what finished calls cost, `leased` what nodes may spend without
//! asking, `lost` what nodes that ended without an account may have spent. A lease is granted only from what none of
//! them covers, so `spent + leased + lost` of a hard budget grows past its limit only by what calls cost beyond what was
//! reserved for them. All amounts are units of 10^-12 US dollars ([`crate::resource::budget::pico`]); sums saturate.

use crate::{Period, Timestamp};
use std::collections::BTreeMap;

/// What is known of one window of a budget, over all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// What finished calls cost.
    pub spent: i64,
    /// What nodes may spend without asking: what running calls reserved, and what was lent ahead of need.
    pub leased: i64,
    /// What was lent to nodes that ended without an account of it.
    pub lost: i64,
}

/// What one node brings and asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The limit; `None` where the budget is only watched, or is no more.
    pub limit: Option<i64>,
    /// What finished calls cost since the node's last turn.
    pub charge: i64,
    /// What it gives back of its lease.
    pub back: i64,
    /// What calls wait for.
    pub need: i64,
    /// The least that one of them waits for: less than that is of no use.
    pub least: i64,
    /// What it would like to have ahead of need.
    pub ahead: i64,
}

impl Totals {
    /// What nobody has spent, holds or may have lost.
    pub fn available(&self, limit: i64) -> i64 {
        limit.saturating_sub(self.taken())
    }

    /// What would be left if every node gave back all it holds.
    pub fn left(&self, limit: i64) -> i64 {
        limit.saturating_sub(self.spent).saturating_sub(self.lost)
    }

    fn taken(&self) -> i64 {
        self.spent.saturating_add(self.leased).saturating_add(self.lost)
    }

    /// Takes a node's turn: charges, takes back, then lends. `lease` is what the node had; answers what it has now.
    ///
    /// A node that charges more than it had is lent the difference, whatever the limit: that is spent already.
    /// Lent is what calls wait for. Where that is not there, half of what is, if one call can be paid with it: the
    /// other half stays for other nodes, and the next turn gives of it. Ahead of need at most an eighth of what remains
    /// is lent, so that near the limit a node that is idle keeps little from the others.
    pub fn turn(&mut self, lease: i64, turn: &Turn) -> i64 {
        let gone = turn.charge.saturating_add(turn.back);
        let kept = lease.saturating_sub(gone).max(0);
        self.spent = self.spent.saturating_add(turn.charge);
        self.leased = self.leased.saturating_sub(lease).saturating_add(kept).max(0);
        let Some(limit) = turn.limit else { return kept };
        let available = self.available(limit).max(0);
        let needed = match turn.need.max(0) {
            need if need <= available => need,
            _ if turn.least > available => 0,
            _ => turn.least.max(available / 2),
        };
        let ahead = turn.ahead.clamp(0, (available - needed) / 8);
        self.leased = self.leased.saturating_add(needed + ahead);
        kept.saturating_add(needed + ahead)
    }

    /// Ends a node that left no account: what it had and did not charge counts as lost.
    pub fn lose(&mut self, lease: i64) {
        self.leased = self.leased.saturating_sub(lease).max(0);
        self.lost = self.lost.saturating_add(lease.max(0));
    }
}

/// What one stretch of time adds to a budget that rolls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// From when on it counts no more.
    pub ends: Timestamp,
    /// What was charged in it.
    pub spent: i64,
    /// What was lost in it.
    pub lost: i64,
    /// Of what was charged, what no call log tells of.
    pub unlogged: i64,
    /// The highest percentage that was told of in it.
    pub warned: u8,
}

/// What a budget that rolls counts: in slots of a twenty-fourth of its length.
///
/// A slot counts until all that can have been charged in it is as long ago as the budget's window is long. So at any
/// moment the slots hold whatever was charged in the window that ends there, and at most a slot more; what is lent is
/// lent on top of that, as with any other [`Totals`]. A call is charged when it is over. What runs is lent until then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rolling(BTreeMap<Timestamp, Slot>);

impl Rolling {
    /// Slots in a window.
    pub const SLOTS: u64 = 24;

    /// From its slots, each with its beginning.
    pub fn new(slots: impl IntoIterator<Item = (Timestamp, Slot)>) -> Self {
        Self(slots.into_iter().collect())
    }

    /// Forgets what counts no more. Whether there was any.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.0.len();
        self.0.retain(|_, slot| slot.ends > now);
        self.0.len() < before
    }

    /// The slot of a moment, with its beginning, of windows so long.
    pub fn slot(&mut self, length: Period, now: Timestamp) -> (Timestamp, &mut Slot) {
        let micros = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1000);
        let (length, width) = (micros(length.as_millis()), micros(length.as_millis().div_ceil(Self::SLOTS).max(1)));
        let start = now.micros().div_euclid(width).saturating_mul(width);
        let ends = Timestamp::from_micros(start.saturating_add(width).saturating_add(length));
        let start = Timestamp::from_micros(start);
        (start, self.0.entry(start).or_insert(Slot { ends, ..Slot::default() }))
    }

    /// All that counts together; `ends` is when the first that was spent or lost counts no more, and the end of time where
    /// nothing was.
    pub fn sum(&self) -> Slot {
        let never = Timestamp::from_micros(i64::MAX);
        self.0.values().fold(Slot { ends: never, ..Slot::default() }, |sum, slot| Slot {
            ends: if slot.spent > 0 || slot.lost > 0 { sum.ends.min(slot.ends) } else { sum.ends },
            spent: sum.spent.saturating_add(slot.spent),
            lost: sum.lost.saturating_add(slot.lost),
            unlogged: sum.unlogged.saturating_add(slot.unlogged),
            warned: sum.warned.max(slot.warned),
        })
    }

    /// What is charged and lost, with what is lent.
    pub fn totals(&self, leased: i64) -> Totals {
        let Slot { spent, lost, .. } = self.sum();
        Totals { spent, leased, lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_charges_takes_back_and_lends() {
        let mut totals = Totals::default();
        let ask = Turn { limit: Some(1000), need: 100, least: 50, ahead: 500, ..Turn::default() };
        let lease = totals.turn(0, &ask);
        assert_eq!(lease, 100 + 900 / 8, "ahead of need at most an eighth of the rest");
        assert_eq!(totals, Totals { leased: lease, ..Totals::default() });
        let lease = totals.turn(lease, &Turn { charge: 60, back: 100, ..Turn::default() });
        assert_eq!((lease, totals.spent, totals.leased), (52, 60, 52));
        // More than it had: spent is spent.
        let lease = totals.turn(lease, &Turn { limit: Some(1000), charge: 70, ..Turn::default() });
        assert_eq!((lease, totals.spent, totals.leased), (0, 130, 0));
    }

    #[test]
    fn near_the_limit_what_is_there_is_lent_and_what_is_of_no_use_is_not() {
        let mut totals = Totals { spent: 900, leased: 0, lost: 50 };
        assert_eq!((totals.available(1000), totals.left(1000)), (50, 50));
        let ask = |need, least| Turn { limit: Some(1000), need, least, ahead: 1000, ..Turn::default() };
        assert_eq!(totals.clone().turn(0, &ask(120, 40)), 40 + 10 / 8, "one of three gets through");
        assert_eq!(totals.clone().turn(0, &ask(120, 10)), 25 + 25 / 8, "half of what is there");
        assert_eq!(totals.clone().turn(0, &ask(60, 60)), 6, "nobody does; only the usual share is lent ahead");
        totals.lose(0);
        totals.leased = 30;
        totals.lose(30);
        assert_eq!(totals, Totals { spent: 900, leased: 0, lost: 80 });
        let over = Totals { spent: 2000, ..totals }.turn(0, &ask(10, 10));
        assert_eq!(over, 0, "a limit that was lowered lends nothing");
    }

    #[test]
    fn a_slot_counts_until_all_of_it_is_a_window_ago() {
        let (hour, mut rolling) = (Period::from_secs(3600), Rolling::default());
        let at = |secs: i64| Timestamp::from_secs(1_795_000_050 + secs);
        // Slots of an hour are 150 seconds long.
        let (start, slot) = rolling.slot(hour, at(0));
        assert_eq!((start, slot.ends), (at(0), at(150 + 3600)));
        slot.spent = 5;
        assert_eq!(rolling.slot(hour, at(149)).0, start);
        let (next, slot) = rolling.slot(hour, at(150));
        assert_eq!(next, at(150));
        (slot.spent, slot.lost, slot.unlogged, slot.warned) = (7, 2, 1, 80);
        assert_eq!(rolling.totals(3), Totals { spent: 12, leased: 3, lost: 2 });
        assert_eq!(rolling.sum(), Slot { ends: at(3750), spent: 12, lost: 2, unlogged: 1, warned: 80 });
        assert!(!rolling.expire(Timestamp::from_micros(at(3750).micros() - 1)));
        assert!(rolling.expire(at(3750)));
        assert_eq!(rolling.totals(3), Totals { spent: 7, leased: 3, lost: 2 });
        assert!(rolling.expire(at(3900)));
        assert_eq!((rolling.sum().ends, rolling.totals(0)), (Timestamp::from_micros(i64::MAX), Totals::default()));
        // No time and no length is too large or too small for it.
        for (length, at) in [(1, i64::MAX), (u64::MAX, i64::MIN), (1 << 50, 0), (7, -1)] {
            let at = Timestamp::from_micros(at);
            let (start, slot) = rolling.slot(Period::from_millis(length), at);
            assert!(start <= at && slot.ends >= at, "{start} {slot:?}");
        }
    }
}
