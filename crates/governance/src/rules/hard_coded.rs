//! `hard_coded`: a scanner found its value in source code, a log or a chat, and the value still works.
//!
//! It goes away by itself when that version is no longer accepted: after a rotation or a revocation.

use super::{Facts, Finding, Rule, Severity, Surroundings};
use credentialflow_model::lifecycle::VersionState;

/// Most places shown.
const PLACES: usize = 20;

pub(super) fn check(facts: &Facts, _: &Surroundings) -> Option<Finding> {
    let works = |version: u32| {
        let state = facts.entry.versions.iter().find(|v| v.version == version).map(|v| v.state);
        state.is_some_and(|state| state.is_live() || state == VersionState::Pending)
    };
    let found: Vec<_> = facts.exposures.iter().filter(|e| works(e.version)).cloned().collect();
    let first = found.iter().min_by_key(|e| e.reported)?;
    let place = match (&first.file, first.line) {
        (Some(file), Some(line)) => format!("{file}, line {line}"),
        (Some(file), None) => file.clone(),
        _ => "a place the report does not name".to_owned(),
    };
    let more = if found.len() > 1 { format!(" and {} more places", found.len() - 1) } else { String::new() };
    let detail = format!("{} found the value of version {} in {place}{more}", first.tool, first.version);
    let hint = format!(
        "whoever can read that can use it: credentialflow {} rotate {}, then revoke the old one",
        facts.entry.kind, facts.entry.name
    );
    let (since, version) = (first.reported, Some(first.version));
    let finding = facts.finding(Rule::HardCoded, Severity::High, detail, hint);
    Some(Finding { since, version, exposures: found.into_iter().take(PLACES).collect(), ..finding })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        EntryVersion, Exposure,
        testing::{credential, days_ago, surroundings},
    };

    #[test]
    fn a_value_that_was_found_counts_while_it_works() {
        let mut facts = credential();
        let exposure = |version| Exposure {
            version,
            tool: "gitleaks".into(),
            rule: None,
            file: Some("config/prod.env".into()),
            line: Some(3),
            commit: None,
            reported: Some(days_ago(2)),
        };
        facts.exposures = vec![exposure(1), exposure(1)];
        let state = |state| vec![EntryVersion { version: 1, state, created: days_ago(9), last_used: None, uses: None }];
        facts.entry.versions = state(VersionState::Current);
        let found = check(&facts, &surroundings()).unwrap();
        assert_eq!(found.detail, "gitleaks found the value of version 1 in config/prod.env, line 3 and 1 more places");
        assert_eq!((found.version, found.exposures.len()), (Some(1), 2));
        facts.entry.versions = state(VersionState::Destroyed);
        assert_eq!(check(&facts, &surroundings()), None);
    }
}
