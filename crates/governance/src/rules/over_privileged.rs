//! `over_privileged`: a key that may use routes or models which it does not use, and a role, user or token of the run-time
//! API whose policies grant what it does not use.
//!
//! Granted minus exercised, over the traffic looked at. The finding brings the narrower grant as a resource: the same
//! key with an `allow` of what it really used. Nothing is said about keys that were not used at all (`never_used`,
//! `stale`), about new ones, and while not all of the key's traffic was looked at: calls were left out or lost, other
//! nodes have call logs of their own, or this one begins after the key.
//!
//! Of policies every use is kept by holder and rule, since a moment that is known: nothing is said before that is long
//! enough ago, nor about holders that used nothing at all. The finding brings one policy with what was used.

use super::{Facts, Finding, Grant, NarrowerPolicy, Rights, Rule, Severity, Surroundings};
use crate::CredentialKind;
use credentialflow_model::{
    Name, ResourceSet,
    config::export,
    resource::{Allow, Kind},
};
use std::collections::HashMap;

pub(super) fn check(facts: &Facts, around: &Surroundings) -> Option<Finding> {
    match &facts.rights {
        Some(rights) => policies(facts, rights, around),
        None => key(facts, around),
    }
}

fn policies(facts: &Facts, rights: &Rights, around: &Surroundings) -> Option<Finding> {
    if around.since(rights.since) < around.thresholds.settle || rights.unused.is_empty() {
        return None;
    }
    let name = &facts.entry.name;
    let (idle, more) = few(rights.unused.iter().map(String::as_str));
    let detail = format!(
        "of the {} rules of its policies it did not use {}, or not all of them, in the {} for which uses are known: {idle}{more}",
        rights.rules,
        rights.unused.len(),
        around.told(rights.since),
    );
    let (policy, commands) = match facts.entry.kind {
        CredentialKind::Token => {
            let policy = format!("token-{name}-narrower");
            let make = format!("bao token create -orphan -policy={policy}");
            // The policies of a token stay as they were made.
            (policy.clone(), vec![format!("bao policy write {policy} FILE"), make, facts.revoke()])
        }
        _ => {
            let policy = format!("{}-narrower", name.trim_start_matches("auth/").replace('/', "-"));
            let give = format!("bao write {name} token_policies={policy}");
            (policy.clone(), vec![format!("bao policy write {policy} FILE"), give])
        }
    };
    let narrower = NarrowerPolicy {
        name: policy,
        policy: rights.policy.clone(),
        removes: rights.unused.clone(),
        since: rights.since,
        commands,
    };
    let hint = "write the narrower policy that comes with this finding, and give it that one instead";
    Some(Finding { policy: Some(narrower), ..facts.finding(Rule::OverPrivileged, Severity::Medium, detail, hint) })
}

/// The first five, and how many there are besides.
fn few<'a>(all: impl Iterator<Item = &'a str>) -> (String, String) {
    let all: Vec<_> = all.collect();
    let more = if all.len() > 5 { format!(" and {} more", all.len() - 5) } else { String::new() };
    (all.iter().take(5).copied().collect::<Vec<_>>().join(", "), more)
}

fn key(facts: &Facts, around: &Surroundings) -> Option<Finding> {
    let (key, traffic) = (facts.key.as_ref()?, facts.traffic.as_ref()?);
    let observed = &around.observed;
    let covered = observed.begins.is_none_or(|begins| facts.entry.created.is_some_and(|created| created >= begins));
    let whole = observed.complete && observed.other_nodes.is_empty() && covered;
    if traffic.total.served == 0 || !whole || !facts.is_settled(around) {
        return None;
    }
    let (routes, idle_routes) = split(&facts.granted.routes, &traffic.routes);
    let (models, idle_models) = split(&facts.granted.models, &traffic.models);
    let idle = idle_routes.len() + idle_models.len();
    if idle == 0 {
        return None;
    }
    let granted = facts.granted.routes.len() + facts.granted.models.len();
    let mut narrower = key.clone();
    let tools = key.allow.as_ref().map(|allow| allow.tools.clone()).unwrap_or_default();
    // Which prompts its calls named is not observed here: it keeps all.
    narrower.allow = Some(Allow { routes, models, prompts: facts.granted.prompts.clone(), tools });
    let (names, more) = few(idle_routes.iter().chain(&idle_models).map(Name::as_str));
    let detail = format!(
        "it may use {granted} routes and models, and in the last {} did not use {idle}: {names}{more}",
        around.told(around.observed.since)
    );
    let hint = "apply the narrower grant that comes with this finding";
    let yaml = export(&ResourceSet { keys: vec![narrower.clone()], ..ResourceSet::default() });
    let grant = Grant {
        kind: Kind::Keys,
        resource: serde_json::to_value(&narrower).unwrap_or_default(),
        yaml,
        removes: Allow { routes: idle_routes, models: idle_models, ..Allow::default() },
    };
    Some(Finding { grant: Some(grant), ..facts.finding(Rule::OverPrivileged, Severity::Medium, detail, hint) })
}

/// What was used and what was not. A request that was refused used nothing.
fn split(granted: &[Name], used: &HashMap<std::sync::Arc<str>, crate::Tally>) -> (Vec<Name>, Vec<Name>) {
    granted.iter().cloned().partition(|name| used.get(name.as_str()).is_some_and(|tally| tally.served > 0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        Facts, Tally, TrafficOf,
        testing::{days_ago, key, surroundings},
    };
    use credentialflow_model::{config::read, resource::Key};

    fn used(routes: &[(&str, u64)]) -> Option<TrafficOf> {
        let tally = |served| Tally { requests: 10, served, last: Some(days_ago(1)) };
        let routes = routes.iter().map(|(name, served)| ((*name).into(), tally(*served))).collect();
        Some(TrafficOf { total: tally(10), routes, ..TrafficOf::default() })
    }

    fn facts(traffic: Option<TrafficOf>) -> Facts {
        let declared: Key =
            serde_json::from_str(r#"{"name":"checkout-live","application":"checkout","description":"d"}"#).unwrap();
        let names = |all: &[&str]| all.iter().map(|n| n.parse().unwrap()).collect();
        let granted = Allow {
            routes: names(&["orders", "refunds"]),
            models: names(&["small"]),
            prompts: names(&["mood"]),
            ..Allow::default()
        };
        Facts { key: Some(declared), granted, traffic, ..key() }
    }

    #[test]
    fn what_is_granted_and_not_used_is_taken_out_of_the_narrower_grant() {
        let found = check(&facts(used(&[("orders", 3), ("refunds", 0)])), &surroundings()).unwrap();
        assert_eq!(
            found.detail,
            "it may use 3 routes and models, and in the last 14 days did not use 2: refunds, small"
        );
        let grant = found.grant.unwrap();
        assert_eq!((grant.removes.routes.len(), grant.removes.models.len()), (1, 1));
        // It can be applied as it is, and changes nothing but the grant.
        let (set, _, problems) = read("narrower.yaml", &grant.yaml);
        assert!(problems.0.is_empty(), "{problems:?}");
        let [narrower] = &set.keys[..] else { panic!("{}", grant.yaml) };
        assert_eq!(narrower.allow.as_ref().unwrap().routes, ["orders".parse().unwrap()]);
        assert_eq!(narrower.allow.as_ref().unwrap().prompts, ["mood".parse().unwrap()], "calls go on naming it");
        assert_eq!((narrower.description.as_deref(), narrower.allow.as_ref().unwrap().models.len()), (Some("d"), 0));
    }

    #[test]
    fn nothing_is_said_where_nothing_is_known() {
        assert_eq!(check(&facts(None), &surroundings()), None);
        assert_eq!(check(&facts(used(&[])).clone(), &surroundings()).map(|_| ()), Some(()));
        let mut incomplete = surroundings();
        incomplete.observed.complete = false;
        assert_eq!(check(&facts(used(&[("orders", 3)])), &incomplete), None);
        let mut elsewhere = surroundings();
        elsewhere.observed.other_nodes = vec!["b".into()];
        assert_eq!(check(&facts(used(&[("orders", 3)])), &elsewhere), None);
        let used_one = facts(used(&[("orders", 3)]));
        let created = used_one.entry.created.unwrap();
        let hour = credentialflow_model::Period::from_secs(3600);
        let mut late = surroundings();
        late.observed.begins = Some(created.plus(hour));
        assert_eq!(check(&used_one, &late), None);
        late.observed.begins = Some(created);
        assert!(check(&used_one, &late).is_some());
        let mut young = facts(used(&[("orders", 3)]));
        young.entry.created = Some(days_ago(1));
        assert_eq!(check(&young, &surroundings()), None);
        let mut all = facts(used(&[("orders", 3), ("refunds", 1)]));
        all.granted.models.clear();
        assert_eq!(check(&all, &surroundings()), None);
    }
    #[test]
    fn what_policies_grant_and_nobody_used_is_told_once_it_is_known_for_long_enough() {
        let mut facts = key();
        (facts.entry.kind, facts.entry.name) = (CredentialKind::Role, "auth/approle/role/web".into());
        facts.rights = Some(Rights {
            rules: 3,
            unused: vec!["db/creds/a".into(), "kv/data/* (delete)".into()],
            policy: "path \"kv/data/*\" {}".into(),
            since: days_ago(20),
        });
        let found = check(&facts, &surroundings()).unwrap();
        assert_eq!(
            found.detail,
            "of the 3 rules of its policies it did not use 2, or not all of them, in the 20 days for which uses are known: \
             db/creds/a, kv/data/* (delete)"
        );
        let narrower = found.policy.unwrap();
        assert_eq!((narrower.name.as_str(), narrower.since), ("approle-role-web-narrower", days_ago(20)));
        assert_eq!(narrower.commands[1], "bao write auth/approle/role/web token_policies=approle-role-web-narrower");
        (facts.entry.kind, facts.entry.name) = (CredentialKind::Token, "acc".into());
        let commands = check(&facts, &surroundings()).unwrap().policy.unwrap().commands;
        assert_eq!(
            commands[1..],
            ["bao token create -orphan -policy=token-acc-narrower", "bao token revoke -accessor acc"]
        );
        facts.rights.as_mut().unwrap().since = days_ago(6);
        assert_eq!(check(&facts, &surroundings()), None);
    }
}
