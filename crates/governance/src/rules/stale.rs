//! `stale`: a credential that was used, but not for long. Whoever holds it may have forgotten it.

use super::{Facts, Finding, Rule, Severity, Surroundings};

pub(super) fn check(facts: &Facts, around: &Surroundings) -> Option<Finding> {
    let last = facts.entry.last_used.filter(|last| around.since(*last) >= around.thresholds.stale_after)?;
    let detail = format!("it was last used {} ago", around.told(last));
    let hint = format!("ask its owner, look at its blast radius, then: {}", facts.revoke());
    Some(Finding { since: Some(last), ..facts.finding(Rule::Stale, Severity::Medium, detail, hint) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{days_ago, key, surroundings};

    #[test]
    fn ninety_days_without_use_are_stale() {
        let check = |days, expect: bool| {
            let mut facts = key();
            facts.entry.last_used = Some(days_ago(days));
            assert_eq!(check(&facts, &surroundings()).is_some(), expect, "{days}");
        };
        check(1, false);
        check(89, false);
        check(90, true);
        let mut never = key();
        never.entry.last_used = None;
        assert_eq!(super::check(&never, &surroundings()), None);
    }
}
