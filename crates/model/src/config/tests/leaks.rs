//! How leaks are answered, as it is declared.

use super::*;
use crate::leak::{LeakAction, LeakResponse};
use crate::resource::Kind;

const AROUND: &str = "credentials: [{ name: c, engine: static }]\napplications: [{ name: a, allow: {} }]\n";

#[test]
fn rules_for_leaks_read_back_as_they_were_written_and_hold_what_they_name() {
    let text = format!(
        "{AROUND}leak_responses:\n  - keys: {{ action: revoke, rotate: true }}\n    by_application: {{ a: {{ action: notify_only }} }}\n    by_credential: {{ c: {{ action: revoke }} }}\n    seen_within: 90d\n    github_keys: https://keys.example/\n"
    );
    let set = clean(&text);
    let rules = &set.leak_responses[0];
    assert_eq!((rules.name.as_str(), rules.keys.action, rules.keys.rotate), ("default", LeakAction::Revoke, true));
    assert_eq!(rules.credentials, LeakResponse::default().credentials);
    assert_eq!(clean(&export(&set)), set);
    for (kind, name, path) in
        [(Kind::Applications, "a", "by_application.a"), (Kind::Credentials, "c", "by_credential.c")]
    {
        let (found, others) = without(&set, kind, name, &CONTEXT);
        let found: Vec<_> = found.iter().map(|by| (by.kind, by.name.as_str(), by.path.as_str())).collect();
        assert_eq!((found, others.0.len()), (vec![(Kind::LeakResponses, "default", path)], 0));
    }
}

#[test]
fn what_cannot_be_a_rule_for_leaks_is_told_at_its_line() {
    let text = format!(
        "{AROUND}leak_responses:\n  - name: other\n    credentials: {{ action: quarantine }}\n    by_application: {{ b: {{ action: revoke }} }}\n    by_credential: {{ c: {{ action: quarantine }}, d: {{ action: revoke }} }}\n    seen_within: 91d\n    github_keys: ftp://x\n"
    );
    expect(
        &text,
        &[
            "4:11 not_here leak_responses[0].name",
            "5:28 not_here leak_responses[0].credentials.action",
            "6:26 unknown_name leak_responses[0].by_application.b",
            "7:35 not_here leak_responses[0].by_credential.c.action",
            "7:52 unknown_name leak_responses[0].by_credential.d",
            "8:18 out_of_bounds leak_responses[0].seen_within",
            "9:18 invalid_value leak_responses[0].github_keys",
        ],
    );
    assert!(problems(&text).0.iter().all(|problem| problem.hint.is_some()));
    let misread = "leak_responses:\n  - keys: { action: block }\n    key: {}\n    credentials: { rotate: true }\n";
    let problems = problems(misread);
    let found: Vec<_> = problems.0.iter().map(|p| (p.at.line, p.code.as_str(), p.path.as_str())).collect();
    assert_eq!(
        found,
        [
            (2, "unknown_word", "leak_responses[0].keys.action"),
            (3, "unknown_field", "leak_responses[0].key"),
            (4, "missing_field", "leak_responses[0].credentials.action"),
        ]
    );
    expect("leak_responses: [{}, { name: default }]", &["1:30 duplicate_name leak_responses[1].name"]);
}

#[test]
fn a_change_of_the_rules_is_planned_field_by_field() {
    let before = clean("leak_responses: [{ keys: { action: quarantine } }]");
    let after = clean("leak_responses: [{ keys: { action: revoke } }]");
    assert_eq!(
        plan(&before, &after, true).to_string(),
        "~ leak_responses/default\n    ~ keys.action: \"quarantine\" → \"revoke\"\n0 to create, 1 to update, 0 to delete, 0 unchanged\n"
    );
    assert_eq!(plan(&before, &ResourceSet::default(), true).count(Action::Delete), 1);
    assert!(plan(&before, &ResourceSet::default(), false).is_empty());
}
