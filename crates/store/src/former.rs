//! What nodes of the former version read, kept so that they go on while the others are updated one by one.
//!
//! The rules for leaks were the setting `leak_response` before they were a resource. The setting is still written with
//! them, as the former version reads it, and the change feed tells of them under the setting's name: a kind of change
//! that a node does not know would stop it. What a node of the former version writes to the setting is not taken over.

use crate::{Result, WriteTx};
use credentialflow_model::{leak::LeakResponse, resource::Kind};
use serde_json::Value;

/// The setting, and how the change feed told of it.
const SETTING: &str = "leak_response";
const TOLD_AS: &str = "settings";
/// What the former version knows of the rules, and of each.
const RULES: [&str; 6] = ["keys", "credentials", "by_application", "by_credential", "seen_within", "github_keys"];
const RULE: [&str; 2] = ["action", "rotate"];

/// Kind and name of a change as the feed tells them.
pub(crate) fn as_known_there<'a>(kind: &'static str, name: &'a str) -> (&'static str, &'a str) {
    match (kind, name) {
        (kind, LeakResponse::NAME) if kind == Kind::LeakResponses.as_str() => (TOLD_AS, SETTING),
        known => known,
    }
}

/// The other way.
pub(crate) fn as_known_here<'a>(kind: &'a str, name: &'a str) -> (&'a str, &'a str) {
    match (kind, name) {
        (TOLD_AS, SETTING) => (Kind::LeakResponses.as_str(), LeakResponse::NAME),
        known => known,
    }
}

/// Keeps the setting in step with the resource; `None` when it is gone.
pub(crate) async fn keep(tx: &mut WriteTx, kind: Kind, name: &str, body: Option<&str>) -> Result<()> {
    if (kind, name) != (Kind::LeakResponses, LeakResponse::NAME) {
        return Ok(());
    }
    match body.and_then(|body| serde_json::from_str(body).ok()).map(setting) {
        Some(setting) => tx.put_note(SETTING, setting.to_string().as_bytes()).await,
        None => tx.delete_note(SETTING).await.map(drop),
    }
}

/// The rules without what the former version would refuse to read.
fn setting(mut rules: Value) -> Value {
    let Some(all) = rules.as_object_mut() else { return rules };
    all.retain(|name, _| RULES.contains(&name.as_str()));
    for (name, rule) in all.iter_mut() {
        let one = |rule: &mut Value| {
            if let Some(rule) = rule.as_object_mut() {
                rule.retain(|name, _| RULE.contains(&name.as_str()));
            }
        };
        match name.as_str() {
            "keys" | "credentials" => one(rule),
            "by_application" | "by_credential" => {
                rule.as_object_mut().into_iter().flatten().for_each(|(_, rule)| one(rule));
            }
            _ => {}
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_setting_holds_what_the_former_version_knows() {
        let rules = json!({
            "name": "default", "keys": { "action": "revoke", "rotate": true, "when_sent": "notify_only" },
            "by_credential": { "a": { "action": "revoke", "new": 1 } }, "seen_within": "7d", "new": {},
        });
        let expected = json!({
            "keys": { "action": "revoke", "rotate": true }, "by_credential": { "a": { "action": "revoke" } },
            "seen_within": "7d",
        });
        assert_eq!(setting(rules), expected);
    }

    #[test]
    fn only_the_rules_have_another_name_there() {
        for (kind, name) in [("leak_responses", "other"), ("settings", "seal"), ("teams", "leak_response")] {
            assert_eq!(as_known_there(kind, name), (kind, name));
            assert_eq!(as_known_here(kind, name), (kind, name));
        }
        let (kind, name) = as_known_there("leak_responses", "default");
        assert_eq!((kind, name), ("settings", "leak_response"));
        assert_eq!(as_known_here(kind, name), ("leak_responses", "default"));
    }
}
