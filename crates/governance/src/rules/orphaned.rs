//! `orphaned`: a credential for which nobody answers: it names no owner, or one that is gone.

use super::{Facts, Finding, Rule, Severity, Surroundings};
use crate::CredentialKind;

pub(super) fn check(facts: &Facts, _: &Surroundings) -> Option<Finding> {
    let entry = &facts.entry;
    let (detail, hint) = match entry.kind {
        _ if !facts.missing.is_empty() => {
            (format!("it belongs to {}, which is gone", facts.missing.join(" and ")), "name somebody who is there")
        }
        CredentialKind::Credential if entry.owner.is_none() => {
            ("it names no owner".to_owned(), "write `owner: TEAM` into its declaration")
        }
        CredentialKind::Key if entry.team.is_none() => (
            format!("its application {} belongs to no team", entry.owner.as_deref().unwrap_or_default()),
            "write `team: TEAM` into the application's declaration",
        ),
        CredentialKind::SecretId if entry.owner.is_none() => (
            "its role names no application".to_owned(),
            "write `application=NAME` to the role, so that its tokens and logins have somebody who answers for them",
        ),
        _ => return None,
    };
    Some(facts.finding(Rule::Orphaned, Severity::Medium, detail, hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{credential, key, surroundings};

    #[test]
    fn an_owner_must_be_named_and_there() {
        let mut facts = credential();
        assert_eq!(check(&facts, &surroundings()), None);
        facts.entry.owner = None;
        assert_eq!(check(&facts, &surroundings()).unwrap().detail, "it names no owner");
        let mut facts = key();
        facts.missing = vec!["team payments".into()];
        assert_eq!(check(&facts, &surroundings()).unwrap().detail, "it belongs to team payments, which is gone");
        let mut facts = key();
        facts.entry.kind = CredentialKind::SecretId;
        assert_eq!(check(&facts, &surroundings()), None);
        facts.entry.owner = None;
        assert_eq!(check(&facts, &surroundings()).unwrap().detail, "its role names no application");
        let mut facts = key();
        facts.entry.team = None;
        assert_eq!(check(&facts, &surroundings()).unwrap().detail, "its application checkout belongs to no team");
    }
}
