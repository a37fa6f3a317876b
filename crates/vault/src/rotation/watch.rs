//! Judges from the first answers whether a promoted version works. Pure.

use super::ports::RefusalCounts;
use credentialflow_model::Period;

/// When a watched version counts as good or bad.
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
    /// More refusals than this, in percent of the sample, are too many.
    pub percent: u64,
}

impl Default for WatchRules {
    /// 5 s or 20 good answers; 2 s without traffic; over 20 % of at least 10.
    fn default() -> Self {
        Self { window: Period::from_secs(5), quiet: Period::from_secs(2), enough: 20, sample: 10, percent: 20 }
    }
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
    pub fn is_bad(&self, counts: RefusalCounts) -> bool {
        let total = counts.refused.saturating_add(counts.served);
        let never_accepted = counts.refused >= 1 && counts.served == 0;
        never_accepted
            || (total >= self.sample && counts.refused.saturating_mul(100) > total.saturating_mul(self.percent))
    }

    /// The verdict after watching for `elapsed_ms` milliseconds.
    pub fn judge(&self, counts: RefusalCounts, elapsed_ms: u64) -> Verdict {
        if self.is_bad(counts) {
            return Verdict::Bad;
        }
        let silent = counts == RefusalCounts::default();
        let over = elapsed_ms >= if silent { self.quiet.as_millis() } else { self.window.as_millis() };
        if over || counts.served >= self.enough { Verdict::Good } else { Verdict::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(refused: u64, served: u64, elapsed_ms: u64, expect: Verdict) {
        let verdict = WatchRules::default().judge(RefusalCounts { refused, served }, elapsed_ms);
        assert_eq!(verdict, expect, "{refused} refused, {served} served after {elapsed_ms} ms");
    }

    #[test]
    fn the_documented_thresholds() {
        check(0, 0, 1999, Verdict::Wait);
        check(0, 0, 2000, Verdict::Good);
        check(1, 0, 0, Verdict::Bad);
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

    proptest! {
        #[test]
        fn a_version_nobody_accepts_is_never_good(refused in 1u64.., elapsed in any::<u64>()) {
            check(refused, 0, elapsed, Verdict::Bad);
        }

        #[test]
        fn a_watch_ends(refused in any::<u64>(), served in any::<u64>()) {
            let verdict = WatchRules::default().judge(RefusalCounts { refused, served }, 5000);
            prop_assert!(verdict != Verdict::Wait);
        }

        #[test]
        fn more_refusals_never_help(refused in 0u64..1000, served in 0u64..1000, more in 1u64..1000) {
            let rules = WatchRules::default();
            prop_assume!(rules.is_bad(RefusalCounts { refused, served }));
            let bad = rules.is_bad(RefusalCounts { refused: refused + more, served });
            prop_assert!(bad);
        }
    }
}
