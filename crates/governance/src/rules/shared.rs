//! `shared`: one key that comes from many places, or one value that has several names.
//!
//! Equal values are found by a keyed hash that exists only while they are compared; neither a value nor its hash is
//! part of the facts. A credential that is declared as a copy of another one is no finding.

use super::{Facts, Finding, Rule, Severity, Surroundings};
use crate::CredentialKind;

pub(super) fn check(facts: &Facts, around: &Surroundings) -> Option<Finding> {
    if !facts.same_value_as.is_empty() {
        let others = facts.same_value_as.join(", ");
        let detail = format!("its value is also that of {others}: a leak of one is a leak of all");
        let hint = "give each its own value, or declare one as `value: ${credential:NAME}`";
        let finding = facts.finding(Rule::Shared, Severity::High, detail, hint);
        return Some(Finding { same_value_as: facts.same_value_as.clone(), ..finding });
    }
    let sources = facts.traffic.as_ref().map_or(0, |traffic| traffic.sources.len());
    if facts.entry.kind != CredentialKind::Key || sources <= around.thresholds.max_sources as usize {
        return None;
    }
    let at_least = if sources >= 256 { "at least " } else { "" };
    let detail =
        format!("it came from {at_least}{sources} source addresses in the last {}", around.told(around.observed.since));
    let hint = "issue one key for each place, with `networks`, so that one can be revoked without the others";
    Some(facts.finding(Rule::Shared, Severity::Medium, detail, hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        TrafficOf,
        testing::{credential, key, surroundings},
    };
    use std::net::Ipv4Addr;

    #[test]
    fn one_value_under_two_names_is_shared() {
        let mut facts = credential();
        facts.same_value_as = vec!["billing-token".into()];
        let found = check(&facts, &surroundings()).unwrap();
        assert_eq!((found.severity, found.same_value_as), (Severity::High, vec!["billing-token".to_owned()]));
    }

    #[test]
    fn a_key_from_more_than_ten_places_is_shared() {
        let from = |n: u8| TrafficOf {
            sources: (0..n).map(|i| Ipv4Addr::new(10, 0, 0, i).into()).collect(),
            ..TrafficOf::default()
        };
        let mut facts = key();
        facts.traffic = Some(from(10));
        assert_eq!(check(&facts, &surroundings()), None);
        facts.traffic = Some(from(11));
        assert_eq!(
            check(&facts, &surroundings()).unwrap().detail,
            "it came from 11 source addresses in the last 14 days"
        );
        // What we hold is for many callers.
        let mut held = credential();
        held.traffic = Some(from(100));
        assert_eq!(check(&held, &surroundings()), None);
    }
}
