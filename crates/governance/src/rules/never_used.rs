//! `never_used`: a credential that is there for a while and that nobody ever used.

use super::{Facts, Finding, Rule, Severity, Surroundings};
use crate::CredentialKind;

pub(super) fn check(facts: &Facts, around: &Surroundings) -> Option<Finding> {
    let used =
        facts.entry.last_used.is_some() || facts.entry.uses.is_some_and(|uses| uses > 0) || facts.traffic.is_some();
    if !facts.is_counted() || used || facts.signs || !facts.is_settled(around) {
        return None;
    }
    // What works at a target or lies in a store is used there by others, and what opens one is used by us.
    let reach = &facts.entry.reach;
    if facts.entry.kind == CredentialKind::Credential && !(reach.targets.is_empty() && reach.stores.is_empty()) {
        return None;
    }
    let created = facts.entry.created?;
    let detail = format!("it is {} old and was not used ever", around.told(created));
    let hint = format!("ask its owner, then: {}", facts.revoke());
    Some(Finding { since: Some(created), ..facts.finding(Rule::NeverUsed, Severity::Low, detail, hint) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{credential, days_ago, key, surroundings};

    #[test]
    fn what_is_new_is_given_time() {
        let check = |age, uses, expect: bool| {
            let mut facts = key();
            (facts.entry.last_used, facts.entry.uses, facts.entry.created) = (None, Some(uses), Some(days_ago(age)));
            assert_eq!(super::check(&facts, &surroundings()).is_some(), expect, "{age} days, {uses} uses");
        };
        check(6, 0, false);
        check(7, 0, true);
        check(7, 1, false);
    }

    #[test]
    fn of_what_nobody_watched_nothing_is_said() {
        let check = |kind, unseen, expect: bool| {
            let mut facts = key();
            (facts.entry.last_used, facts.entry.uses, facts.entry.created) = (None, None, Some(days_ago(30)));
            (facts.entry.kind, facts.unseen) = (kind, unseen);
            assert_eq!(super::check(&facts, &surroundings()).is_some(), expect, "{kind} {unseen}");
        };
        for kind in [CredentialKind::SecretId, CredentialKind::User, CredentialKind::Login] {
            check(kind, false, true);
            check(kind, true, false);
        }
        check(CredentialKind::Token, false, false);
    }

    #[test]
    fn what_signs_is_used_without_requests() {
        let mut facts = key();
        (facts.entry.last_used, facts.entry.uses, facts.entry.created) = (None, Some(0), Some(days_ago(30)));
        facts.signs = true;
        assert_eq!(super::check(&facts, &surroundings()), None);
    }

    #[test]
    fn logins_at_targets_are_used_where_nobody_counts() {
        let mut facts = credential();
        (facts.entry.last_used, facts.entry.uses) = (None, None);
        assert!(check(&facts, &surroundings()).is_some());
        facts.entry.reach.targets = vec!["pg".into()];
        assert_eq!(check(&facts, &surroundings()), None);
    }
}
