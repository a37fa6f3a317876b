//! The life of one credential as one time line: who asked for it and made it, its versions and rotations with their
//! steps, how much it was used day by day, where it leaked, how it ended.
//!
//! Told from the audit log, whose events are the proof, with versions and the call log beside it. It tells also of
//! credentials that are gone, as long as the audit log does.

use crate::{CredentialKind, Issuer};
use credentialflow_model::{Actor, AuditEvent, Timestamp, lifecycle::VersionState};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What sort of moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It was declared or its declaration changed.
    Declared,
    /// A value was made.
    Issued,
    /// A rotation began or took a step.
    Rotation,
    /// It was used.
    Used,
    /// Its value was found where it should not be.
    Exposed,
    /// Somebody guessed at it, or it was shown again.
    Noticed,
    /// It was withdrawn, expired, or its value was destroyed.
    Ended,
}

/// One moment of a credential's life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Moment {
    /// When.
    pub time: Timestamp,
    /// What sort of moment.
    pub what: Told,
    /// What happened, in a sentence.
    pub text: String,
    /// Who did it; absent for uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// The version it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The rotation it is a step of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<String>,
    /// Requests, for uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Place in the audit chain; absent for what is told by versions and the call log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// One version in a life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VersionFacts {
    /// Counts from 1.
    pub version: u32,
    /// Where it is in its life.
    pub state: VersionState,
    /// When it was made.
    pub created: Timestamp,
    /// When it came into use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Timestamp>,
    /// When it ceased to be valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired: Option<Timestamp>,
    /// When it was last used, on any node; absent for keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
    /// How often it was used, on all nodes; absent for keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
}

/// Requests of one day with one version, by the call log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayOfUse {
    /// When the day's last request began.
    pub last: Timestamp,
    /// The version; absent for keys.
    pub version: Option<u32>,
    /// Requests.
    pub requests: u64,
    /// Of those, not served.
    pub refused: u64,
}

/// A whole life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Biography {
    /// What kind of credential.
    pub kind: CredentialKind,
    /// Its name.
    pub name: String,
    /// Whether it is declared now.
    pub declared: bool,
    /// Who made it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_by: Option<Issuer>,
    /// Its versions, oldest first.
    pub versions: Vec<VersionFacts>,
    /// What happened, oldest first.
    pub moments: Vec<Moment>,
    /// Whether events in the middle were left out, because there are very many.
    pub abridged: bool,
}

/// Puts a life together. `events` are those whose subject it is, and `config.apply` events, in any order.
pub fn biography(
    (kind, name, declared): (CredentialKind, &str, bool),
    events: &[AuditEvent],
    versions: Vec<VersionFacts>,
    days: &[DayOfUse],
) -> Biography {
    let subject = match kind {
        CredentialKind::Key => format!("keys/{name}"),
        _ => format!("credentials/{name}"),
    };
    let mut events: Vec<_> = events.iter().collect();
    events.sort_by_key(|event| event.seq);
    let mut moments: Vec<Moment> = events.iter().filter_map(|event| told(event, &subject)).collect();
    let born = |event: &&&AuditEvent| event.subject == subject && event.action.ends_with(".create");
    let issued_by = events.iter().find(born).map(|event| Issuer {
        kind: event.actor.kind,
        name: event.actor.name.clone(),
        time: event.time,
    });
    moments.extend(days.iter().map(used));
    moments.sort_by_key(|moment| (moment.time, moment.seq));
    Biography { kind, name: name.to_owned(), declared, issued_by, versions, moments, abridged: false }
}

fn used(day: &DayOfUse) -> Moment {
    let version = day.version.map(|version| format!("version {version} was ")).unwrap_or_default();
    let refused = if day.refused > 0 { format!(", {} of them not served", day.refused) } else { String::new() };
    let date = day.last.to_string();
    let text = format!("{version}used for {} requests on {}{refused}", day.requests, &date[..date.len().min(10)]);
    let (time, requests) = (day.last, Some(day.requests));
    Moment { time, what: Told::Used, text, actor: None, version: day.version, rotation: None, requests, seq: None }
}

/// What an event says about this credential; nothing when it is about others.
fn told(event: &AuditEvent, subject: &str) -> Option<Moment> {
    let detail = &event.detail;
    if event.action == "config.apply" {
        let changes = detail.get("changes")?.as_array()?;
        let change = changes.iter().find(|c| c.get("subject").and_then(Value::as_str) == Some(subject))?;
        let verb = change.get("action").and_then(Value::as_str).unwrap_or("change");
        return Some(moment(event, Told::Declared, format!("a configuration was applied: {verb}"), None));
    }
    if event.subject != subject {
        return None;
    }
    let number = |name: &str| detail.get(name).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let word = |name: &str| detail.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = number("version").or_else(|| number("to"));
    let verb = event.action.rsplit_once('.').map_or("", |(_, verb)| verb);
    let (what, text) = match event.action.as_str() {
        "key.create" => {
            let from = match word("parent").as_str() {
                "" => String::new(),
                parent => format!(", from the key {parent}"),
            };
            (Told::Issued, format!("issued to the application {}{from}", word("application")))
        }
        "key.delegate" => {
            let actor = detail.pointer("/actor/name").and_then(Value::as_str);
            let actor = actor.map(|actor| format!(" for {actor}")).unwrap_or_default();
            (Told::Noticed, format!("it issued the key {}{actor}", word("key")))
        }
        "credential.create" => (Told::Issued, format!("version {} was made", version.unwrap_or(1))),
        "key.rotate" => {
            let until = word("old_valid_until");
            (Told::Issued, format!("secret {} was made; the one before is valid until {until}", version.unwrap_or(0)))
        }
        "key.repeat" => (Told::Noticed, "its secret was shown once more, to the same request".to_owned()),
        "key.guessing" => (Told::Noticed, format!("somebody at {} guessed at its secret", word("source"))),
        "credential.rotate" => (
            Told::Rotation,
            format!(
                "a rotation began: version {} is to replace {}",
                told_version(detail, "to"),
                told_version(detail, "from")
            ),
        ),
        "credential.exposed" | "key.exposed" => {
            let places = detail.get("places").and_then(Value::as_array).map_or(0, Vec::len);
            let first = detail.pointer("/places/0/file").and_then(Value::as_str).unwrap_or("a place it does not name");
            let more = if places > 1 { format!(" and {} more places", places - 1) } else { String::new() };
            (Told::Exposed, format!("{} found its value in {first}{more}", word("tool")))
        }
        "credential.read_source" => (Told::Issued, format!("read from {}: {}", word("place"), word("outcome"))),
        "credential.sync" => (Told::Noticed, format!("written to {}: {}", word("place"), word("outcome"))),
        "credential.unlink" => (Told::Declared, format!("no longer bound to {}", word("place"))),
        "credential.revoke" | "key.revoke" => match word("with").as_str() {
            "" => (Told::Ended, "revoked".to_owned()),
            parent => (Told::Ended, format!("revoked with the key {parent}, which it came from")),
        },
        "credential.expire" => (Told::Ended, "expired".to_owned()),
        "credential.destroy" => (Told::Ended, "every value was destroyed".to_owned()),
        "credential.delete" | "key.delete" => (Told::Ended, "deleted".to_owned()),
        "credential.update" | "key.update" => (Told::Declared, "its declaration was changed".to_owned()),
        action if action.starts_with("rotation.") => (Told::Rotation, rotation(verb, detail)),
        action => (Told::Noticed, action.to_owned()),
    };
    let mut moment = moment(event, what, text, version);
    moment.rotation = detail.get("rotation").and_then(Value::as_str).map(str::to_owned);
    Some(moment)
}

fn rotation(verb: &str, detail: &Value) -> String {
    let step = detail.get("step").and_then(Value::as_str).unwrap_or(verb);
    let why = detail.get("error").and_then(Value::as_str).map(|why| format!(": {why}")).unwrap_or_default();
    match verb {
        "due" => match step {
            "approve" => "a rotation is due and was asked for: it waits for an approval".to_owned(),
            "deliver" => "a rotation is due and waits for its value".to_owned(),
            _ => "a rotation was due and began".to_owned(),
        },
        "approve" => "the rotation was approved".to_owned(),
        "promote" => format!("version {} came into use", told_version(detail, "to")),
        "destroy" => "the old version's value was destroyed".to_owned(),
        "decline" => format!("the rotation was declined{why}"),
        "deliver" => "the rotation was given its value".to_owned(),
        "delayed" => format!("step {step} takes longer{why}"),
        "take_back" => format!("the new version is being taken back{why}"),
        "rolled_back" => format!("the rotation was taken back{why}"),
        _ => match step {
            "done" => "the rotation is done: the old version is gone".to_owned(),
            step => format!("the rotation went on to {step}{why}"),
        },
    }
}

fn told_version(detail: &Value, name: &str) -> String {
    detail.get(name).and_then(Value::as_u64).map_or_else(|| "none".to_owned(), |n| n.to_string())
}

fn moment(event: &AuditEvent, what: Told, text: String, version: Option<u32>) -> Moment {
    Moment {
        time: event.time,
        what,
        text,
        actor: Some(event.actor.clone()),
        version,
        rotation: None,
        requests: None,
        seq: Some(event.seq),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::days_ago;
    use credentialflow_model::ActorKind;
    use serde_json::json;

    fn event(seq: u64, action: &str, subject: &str, detail: Value) -> AuditEvent {
        AuditEvent {
            seq,
            time: Timestamp::from_secs(i64::try_from(seq).unwrap_or(0) * 100),
            actor: Actor { kind: ActorKind::Administrator, name: "admin".into(), source: None },
            action: action.into(),
            subject: subject.into(),
            detail,
            previous_hash: String::new(),
            hash: String::new(),
        }
    }

    fn life() -> Biography {
        let subject = "credentials/orders-token";
        let changes =
            json!([{ "action": "create", "subject": subject }, { "action": "update", "subject": "routes/a" }]);
        let events = [
            event(9, "credential.revoke", subject, json!({ "versions": [2] })),
            event(1, "credential.create", subject, json!({ "version": 1 })),
            event(2, "config.apply", "config", json!({ "count": 2, "changes": changes })),
            event(
                3,
                "config.apply",
                "config",
                json!({ "count": 1, "changes": [{ "action": "update", "subject": "x" }] }),
            ),
            event(4, "credential.rotate", subject, json!({ "rotation": "r1", "from": 1, "to": 2 })),
            event(5, "rotation.step", subject, json!({ "rotation": "r1", "step": "verify", "to": 2 })),
            event(6, "rotation.promote", subject, json!({ "rotation": "r1", "step": "promote", "to": 2 })),
            event(
                6,
                "rotation.rolled_back",
                subject,
                json!({ "rotation": "r1", "step": "rolled_back", "error": "401" }),
            ),
            event(7, "credential.create", "credentials/other", json!({})),
            event(8, "rotation.due", subject, json!({ "rotation": "r2", "from": 1, "step": "approve" })),
        ];
        let days = [DayOfUse { last: Timestamp::from_secs(550), version: Some(1), requests: 12, refused: 1 }];
        biography((CredentialKind::Credential, "orders-token", true), &events, Vec::new(), &days)
    }

    #[test]
    fn a_life_is_told_in_order_and_only_its_own() {
        let texts: Vec<_> = life().moments.into_iter().map(|m| m.text).collect();
        assert_eq!(
            texts,
            [
                "version 1 was made",
                "a configuration was applied: create",
                "a rotation began: version 2 is to replace 1",
                "the rotation went on to verify",
                "version 1 was used for 12 requests on 1970-01-01, 1 of them not served",
                "version 2 came into use",
                "the rotation was taken back: 401",
                "a rotation is due and was asked for: it waits for an approval",
                "revoked",
            ]
        );
    }

    #[test]
    fn it_says_who_made_it_and_which_steps_belong_together() {
        let life = life();
        assert_eq!(life.issued_by.map(|by| by.name).as_deref(), Some("admin"));
        assert_eq!(life.moments.iter().filter(|m| m.rotation.as_deref() == Some("r1")).count(), 4);
        assert_eq!(life.moments.iter().filter(|m| m.what == Told::Used).map(|m| m.seq).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn a_key_that_came_from_another_one_is_told_with_it() {
        let at_child = [
            event(1, "key.create", "keys/c", json!({ "application": "checkout", "parent": "p" })),
            event(3, "key.revoke", "keys/c", json!({ "with": "p" })),
        ];
        let texts = |name: &str, events: &[AuditEvent]| -> Vec<String> {
            let told = biography((CredentialKind::Key, name, false), events, Vec::new(), &[]);
            told.moments.into_iter().map(|moment| moment.text).collect()
        };
        let expected =
            ["issued to the application checkout, from the key p", "revoked with the key p, which it came from"];
        assert_eq!(texts("c", &at_child), expected);
        let issued = event(2, "key.delegate", "keys/p", json!({ "key": "c", "actor": { "name": "planner" } }));
        assert_eq!(texts("p", &[issued]), ["it issued the key c for planner"]);
    }

    #[test]
    fn a_key_is_told_by_its_own_events() {
        let issued = event(1, "key.create", "keys/k", json!({ "application": "checkout" }));
        let told = biography((CredentialKind::Key, "k", false), &[issued], Vec::new(), &[]);
        assert_eq!(told.moments[0].text, "issued to the application checkout");
        assert!(!told.declared && told.moments[0].time < days_ago(0));
    }
}
