//! `long_lived`: a value that is older than its rule says, or than any value should be; a certificate that is valid
//! for longer than public ones may be.

use super::{Facts, Finding, Rule, Severity, Surroundings};
use crate::CredentialKind;
use credentialflow_model::Period;

/// A year and a month: the longest a public certificate could be valid until March 2026 (CA/Browser Forum).
const CERTIFICATE: Period = Period::from_secs(398 * 86_400);

/// A rotation that is due is given so long to bring its new value into use.
const LATE: Period = Period::from_secs(3600);

pub(super) fn check(facts: &Facts, around: &Surroundings) -> Option<Finding> {
    // An authority's certificate outlives all that it signs.
    if facts.signs {
        return None;
    }
    if let Some(certificate) = &facts.certificate {
        let days = (certificate.not_after.secs() - certificate.not_before.secs()) / 86_400;
        let too_long = u64::try_from(days).is_ok_and(|days| days * 86_400_000 > CERTIFICATE.as_millis());
        let detail = format!("it is valid for {days} days");
        let hint = "have one made that is valid for 90 days or less, and renew it by itself";
        return too_long.then(|| facts.finding(Rule::LongLived, Severity::Low, detail, hint));
    }
    let since = facts.since?;
    let age = around.since(since);
    let (severity, detail) = match facts.every {
        Some(every) if facts.entry.rotation_due.is_none_or(|due| around.since(due) > LATE) && age > every => (
            Severity::Medium,
            format!("its value is {} old, and its rule asks for a new one every {every}", around.told(since)),
        ),
        Some(_) => return None,
        None if age >= around.thresholds.long_lived_after => {
            let ends = if facts.entry.expires.is_some() { "" } else { " and does not expire" };
            let what = match (facts.entry.kind, facts.entry.count) {
                (CredentialKind::Secrets, Some(count)) => format!("the oldest of its {count} secrets"),
                (CredentialKind::Token, _) => "it".to_owned(),
                _ => "its value".to_owned(),
            };
            (Severity::Medium, format!("{what} is {} old{ends}", around.told(since)))
        }
        None => return None,
    };
    let name = &facts.entry.name;
    let hint = match facts.entry.kind {
        // It is no resource; its name is its path at the run-time API.
        CredentialKind::SigningKey => format!("bao write -f {name}/rotate; it should have rotated by itself"),
        CredentialKind::Login => match name.rsplit_once("/static-roles/").or(name.rsplit_once("/config/")) {
            Some((mount, role)) if facts.every.is_some() => {
                format!("bao write -f {mount}/rotate-role/{role}; it should have changed by itself")
            }
            Some((mount, database)) => format!("bao write -f {mount}/rotate-root/{database}"),
            None => "give it a new password".to_owned(),
        },
        CredentialKind::SecretId => {
            format!("make another that ends (`secret_id_ttl` of the role), then: {}", facts.revoke())
        }
        CredentialKind::User => format!("bao write {name}/password password=-"),
        CredentialKind::Token => format!("let its holder log in for tokens that end, then: {}", facts.revoke()),
        CredentialKind::Secrets => "write new values; `bao kv metadata get` tells how old each is".to_owned(),
        kind => format!("credentialflow {kind} rotate {name}"),
    };
    Some(Finding { since: Some(since), ..facts.finding(Rule::LongLived, severity, detail, hint) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{credential, days_ago, surroundings};

    #[test]
    fn a_rotation_that_is_not_due_yet_is_not_late() {
        let mut facts = credential();
        (facts.since, facts.every) = (Some(days_ago(95)), Some(Period::from_secs(90 * 86_400)));
        assert!(check(&facts, &surroundings()).is_some());
        // Jitter and windows put it off.
        facts.entry.rotation_due = Some(days_ago(-1));
        assert_eq!(check(&facts, &surroundings()), None);
        facts.entry.rotation_due = Some(days_ago(1));
        assert!(check(&facts, &surroundings()).is_some());
    }

    #[test]
    fn a_signing_key_that_missed_its_rotation_is_told_by_its_path() {
        let mut facts = credential();
        (facts.entry.kind, facts.entry.name) = (CredentialKind::SigningKey, "identity/oidc/key/ours".to_owned());
        // Made one rotation before it signed.
        (facts.since, facts.every) = (Some(days_ago(2)), Some(Period::from_secs(86_400)));
        facts.entry.rotation_due = Some(days_ago(-1));
        assert_eq!(check(&facts, &surroundings()), None);
        facts.entry.rotation_due = Some(days_ago(1));
        let found = check(&facts, &surroundings());
        assert!(found.is_some_and(|f| f.hint.starts_with("bao write -f identity/oidc/key/ours/rotate")));
    }

    #[test]
    fn what_the_run_time_api_keeps_is_changed_there() {
        let hint = |kind, name: &str, every: Option<u64>| {
            let mut facts = credential();
            (facts.entry.kind, facts.entry.name) = (kind, name.to_owned());
            (facts.since, facts.every) = (Some(days_ago(400)), every.map(|days| Period::from_secs(days * 86_400)));
            facts.entry.count = Some(3);
            check(&facts, &surroundings()).map(|found| (found.detail, found.hint)).unwrap_or_default()
        };
        let (_, role) = hint(CredentialKind::Login, "team/db/static-roles/config", Some(1));
        assert!(role.starts_with("bao write -f team/db/rotate-role/config;"), "{role}");
        let (_, root) = hint(CredentialKind::Login, "database/config/orders", None);
        assert_eq!(root, "bao write -f database/rotate-root/orders");
        let (_, id) = hint(CredentialKind::SecretId, "auth/approle/role/web/secret-id/a-1", None);
        let destroy = "bao write auth/approle/role/web/secret-id-accessor/destroy secret_id_accessor=a-1";
        assert!(id.ends_with(destroy), "{id}");
        let (token, _) = hint(CredentialKind::Token, "acc", None);
        assert_eq!(token, "it is 400 days old and does not expire");
        let (secrets, _) = hint(CredentialKind::Secrets, "secret/", None);
        assert_eq!(secrets, "the oldest of its 3 secrets is 400 days old and does not expire");
    }

    #[test]
    fn a_rule_of_its_own_comes_before_the_general_one() {
        let check = |age, every: Option<u64>, expect: bool| {
            let mut facts = credential();
            facts.since = Some(days_ago(age));
            facts.every = every.map(|days| Period::from_secs(days * 86_400));
            assert_eq!(super::check(&facts, &surroundings()).is_some(), expect, "{age} days, every {every:?}");
        };
        check(364, None, false);
        check(365, None, true);
        check(91, Some(90), true);
        check(90, Some(90), false);
        check(500, Some(600), false);
    }
}
