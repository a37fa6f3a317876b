//! Judges from the first answers whether a promoted version works. Pure.

use super::ports::RefusalCounts;
use credentialflow_model::Period;

/// When a watched version counts as good or bad.
///
/// A refusal (401, 402 or 403) does not say whether the version is refused or what it was used for. So the
/// answers are held against those the version before got, and against what its target said of it.
#[derive(Clone, Copy, Debug)]
pub struct WatchRules {
    /// The longest a version is watched.
    pub window: Period,
    /// With no answer at all after this long, there is nothing to watch.
    pub quiet: Period,
    /// This many answers that are no refusals end the watch early.
    pub enough: u64,
    /// From this many answers on, a share of refusals decides.
    pub sample: u64,
    /// So many percent more refusals than the version before had are too many.
    pub percent: u64,
    /// The same for a version that its target has accepted when it was tried.
    pub percent_of_verified: u64,
    /// So many refusals and nothing else are too many before there is a sample.
    pub few: u64,
}

impl Default for WatchRules {
    /// 5 s or 20 good answers; 2 s without traffic; 20 points more refusals in at least 10 answers than
    /// before, 50 for one that was verified; 3 refusals and nothing else.
    fn default() -> Self {
        Self {
            window: Period::from_secs(5),
            quiet: Period::from_secs(2),
            enough: 20,
            sample: 10,
            percent: 20,
            percent_of_verified: 50,
            few: 3,
        }
    }
}

/// What is known of a version besides how it is answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// How the version before was answered.
    pub before: RefusalCounts,
    /// Whether the target accepted the version when it was tried there.
    pub verified: bool,
}

/// What to do with a watched version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works as far as traffic shows.
    Good,
    /// Its target refuses it: take it back.
    Bad,
    /// Not known yet.
    Wait,
}

impl WatchRules {
    /// Whether the answers so far show that the target refuses the version.
    pub fn is_bad(&self, counts: RefusalCounts, known: Known) -> bool {
        let total = counts.refused.saturating_add(counts.served);
        if total < self.sample {
            return counts.refused >= self.few && self.is_never_accepted(counts, known);
        }
        let more = if known.verified { self.percent_of_verified } else { self.percent };
        let limit = self.usual(known.before).saturating_add(more);
        u128::from(counts.refused) * 100 > u128::from(total) * u128::from(limit)
    }

    /// The verdict after watching for `elapsed_ms` milliseconds.
    pub fn judge(&self, counts: RefusalCounts, known: Known, elapsed_ms: u64) -> Verdict {
        if self.is_bad(counts, known) {
            return Verdict::Bad;
        }
        let silent = counts == RefusalCounts::default();
        let over = elapsed_ms >= if silent { self.quiet.as_millis() } else { self.window.as_millis() };
        match over || counts.served >= self.enough {
            true if self.is_never_accepted(counts, known) => Verdict::Bad,
            true => Verdict::Good,
            false => Verdict::Wait,
        }
    }

    /// Refusals alone, where neither the target nor the version before gives another reason for them.
    fn is_never_accepted(&self, counts: RefusalCounts, known: Known) -> bool {
        let seldom_before = self.usual(known.before) <= self.percent;
        counts.refused >= 1 && counts.served == 0 && !known.verified && seldom_before
    }

    /// Percent of the answers to the version before that were refusals, rounded up; 0 where there were
    /// too few to say.
    fn usual(&self, before: RefusalCounts) -> u64 {
        let total = u128::from(before.refused) + u128::from(before.served);
        if total < u128::from(self.sample.max(1)) {
            return 0;
        }
        u64::try_from((u128::from(before.refused) * 100).div_ceil(total)).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judged(refused: u64, served: u64, known: Known, elapsed_ms: u64) -> Verdict {
        WatchRules::default().judge(RefusalCounts { refused, served }, known, elapsed_ms)
    }

    fn check(refused: u64, served: u64, elapsed_ms: u64, expect: Verdict) {
        let verdict = judged(refused, served, Known::default(), elapsed_ms);
        assert_eq!(verdict, expect, "{refused} refused, {served} served after {elapsed_ms} ms");
    }

    #[test]
    fn the_documented_thresholds() {
        check(0, 0, 1999, Verdict::Wait);
        check(0, 0, 2000, Verdict::Good);
        check(2, 0, 4999, Verdict::Wait);
        check(1, 0, 5000, Verdict::Bad);
        check(3, 0, 0, Verdict::Bad);
        check(1, 1, 0, Verdict::Wait);
        check(1, 8, 4999, Verdict::Wait);
        check(1, 1, 5000, Verdict::Good);
        check(2, 8, 0, Verdict::Wait);
        check(3, 7, 0, Verdict::Bad);
        check(0, 19, 0, Verdict::Wait);
        check(0, 20, 0, Verdict::Good);
        check(6, 20, 0, Verdict::Bad);
        check(5, 20, 0, Verdict::Good);
    }

    #[test]
    fn what_the_version_before_was_refused_as_well_is_not_held_against_the_new_one() {
        let before = RefusalCounts { refused: 300, served: 700 };
        let known = Known { before, verified: false };
        assert_eq!(judged(5, 0, known, 5000), Verdict::Good, "refusals are common here");
        assert_eq!(judged(10, 10, known, 0), Verdict::Wait);
        assert_eq!(judged(11, 9, known, 0), Verdict::Bad, "far more of them are not");
        let few = Known { before: RefusalCounts { refused: 3, served: 0 }, verified: false };
        assert_eq!(judged(3, 0, few, 0), Verdict::Bad, "a handful of answers says nothing of before");
    }

    #[test]
    fn a_version_its_target_accepted_is_not_taken_back_for_a_few_refusals() {
        let known = Known { verified: true, ..Known::default() };
        assert_eq!(judged(9, 0, known, 4999), Verdict::Wait);
        assert_eq!(judged(9, 0, known, 5000), Verdict::Good);
        assert_eq!(judged(10, 10, known, 0), Verdict::Wait);
        assert_eq!(judged(11, 9, known, 0), Verdict::Bad);
    }

    proptest! {
        #[test]
        fn a_version_nobody_accepts_is_never_good(refused in 1u64.., elapsed in any::<u64>()) {
            prop_assert!(judged(refused, 0, Known::default(), elapsed) != Verdict::Good);
            prop_assert_eq!(judged(refused, 0, Known::default(), 5000), Verdict::Bad);
        }

        #[test]
        fn a_watch_ends(refused in any::<u64>(), served in any::<u64>(), old in any::<(u64, u64)>(), verified in any::<bool>()) {
            let before = RefusalCounts { refused: old.0, served: old.1 };
            let verdict = judged(refused, served, Known { before, verified }, 5000);
            prop_assert!(verdict != Verdict::Wait);
        }

        #[test]
        fn more_refusals_never_help(
            refused in 0u64..1000,
            served in 0u64..1000,
            more in 1u64..1000,
            old in (0u64..100, 0u64..100),
            verified in any::<bool>(),
        ) {
            let known = Known { before: RefusalCounts { refused: old.0, served: old.1 }, verified };
            let rules = WatchRules::default();
            let before = rules.is_bad(RefusalCounts { refused, served }, known);
            let bad = rules.is_bad(RefusalCounts { refused: refused + more, served }, known);
            prop_assert!(bad || !before);
        }
    }
}
