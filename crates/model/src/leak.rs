//! What is done when a secret of ours is found where it must not be: the words of rules, and of a narrowed key.

use crate::{Name, Period, Timestamp};
use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

pub use ipnet::IpNet;

/// What is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeakAction {
    /// The leaked secret is not accepted, or not injected, any more.
    Revoke,
    /// Keys only: the leaked secret works from the addresses from which the key was used lately, and from nowhere else.
    Quarantine,
    /// It goes on working; people decide.
    NotifyOnly,
}

/// How a leak is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeakRule {
    /// What is done at once.
    pub action: LeakAction,
    /// Whether the leaked secret is replaced as well: a key gets a new secret beside the old one, a credential a
    /// rotation where its engine makes values by itself.
    #[serde(default)]
    pub rotate: bool,
    /// What is done where a caller sent it in a request: the same, unless set.
    #[serde(default, skip_serializing_if = "WhenSent::is_answer")]
    pub when_sent: WhenSent,
    /// What is done where an upstream answered with it: nothing more than telling, unless set.
    #[serde(default, skip_serializing_if = "WhenAnswered::is_notify_only")]
    pub when_answered: WhenAnswered,
}

impl LeakRule {
    /// A rule for a secret wherever it was found.
    pub const fn new(action: LeakAction, rotate: bool) -> Self {
        Self { action, rotate, when_sent: WhenSent::Answer, when_answered: WhenAnswered::NotifyOnly }
    }
}

/// What is done about a secret that was found in what a caller sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenSent {
    /// As wherever it is found.
    #[default]
    Answer,
    /// It is recorded, the team is told, and it goes on working: its callers know it by right.
    NotifyOnly,
}

impl WhenSent {
    fn is_answer(&self) -> bool {
        *self == Self::Answer
    }
}

/// What is done about a secret that was found in what an upstream answered. One that an upstream was sent with the very
/// request, and repeats, is only told of whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenAnswered {
    /// It is recorded, the team is told, and it goes on working: an upstream may hand out what it keeps.
    #[default]
    NotifyOnly,
    /// As wherever it is found.
    Answer,
}

impl WhenAnswered {
    fn is_notify_only(&self) -> bool {
        *self == Self::NotifyOnly
    }
}

/// How leaks are answered: the defaults, and what is different for some. There is at most one, named `default`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LeakResponse {
    /// Always `default`; may be left out.
    pub name: Name,
    /// For keys we issued: quarantine unless set.
    pub keys: LeakRule,
    /// For credentials we hold: unless set, a rotation and nothing else.
    pub credentials: LeakRule,
    /// For the keys of these applications, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_application: BTreeMap<Name, LeakRule>,
    /// For these credentials, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_credential: BTreeMap<Name, LeakRule>,
    /// A quarantine lets in the addresses seen within this time before it; 1d to 90d, 30d unless set.
    pub seen_within: Period,
    /// Where the keys are found under which GitHub signs its reports (`https://api.github.com/meta/public_keys/secret_scanning`).
    /// Absent: GitHub's reports are not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub github_keys: Option<String>,
}

impl Default for LeakResponse {
    fn default() -> Self {
        Self {
            name: Name::of_constant(Self::NAME),
            keys: LeakRule::new(LeakAction::Quarantine, false),
            credentials: LeakRule::new(LeakAction::NotifyOnly, true),
            by_application: BTreeMap::new(),
            by_credential: BTreeMap::new(),
            seen_within: Period::from_secs(30 * 86_400),
            github_keys: None,
        }
    }
}

impl LeakResponse {
    /// The name of the only one.
    pub const NAME: &'static str = "default";
    /// The longest time before a quarantine in which clients are looked for, and so how long it is kept from where
    /// each key was used.
    pub const LONGEST: Period = Period::from_secs(90 * 86_400);
    /// The shortest one.
    pub const SHORTEST: Period = Period::from_secs(86_400);

    /// The rule for a key of this application.
    pub fn of_key(&self, application: &Name) -> LeakRule {
        self.by_application.get(application).copied().unwrap_or(self.keys)
    }

    /// The rule for this credential.
    pub fn of_credential(&self, name: &Name) -> LeakRule {
        self.by_credential.get(name).copied().unwrap_or(self.credentials)
    }
}

/// Something that was done about a leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeakStep {
    /// The leaked secret is not accepted, or not injected, any more.
    Revoked,
    /// The leaked secret is held to the addresses from which its key had been used.
    Quarantined,
    /// The key has a new secret, which an administrator can fetch for a day.
    Rotated,
    /// A rotation to a new version of the credential has begun.
    RotationBegun,
}

/// A key whose leaked secret works only from where the key was used before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Quarantine {
    /// It holds for the secrets up to this version. Newer ones did not leak.
    pub through_version: u32,
    /// The addresses and networks that are let in; none at all when empty.
    #[schema(value_type = Vec<String>)]
    pub networks: Vec<IpNet>,
    /// When it began.
    pub since: Timestamp,
    /// The leak because of which it is.
    pub leak: String,
}

impl Quarantine {
    /// What stands for one that cannot be read: nobody is let in.
    pub fn closed() -> Self {
        Self { through_version: u32::MAX, networks: Vec::new(), since: Timestamp::from_secs(0), leak: String::new() }
    }

    /// Whether this secret of the key may be used from there.
    pub fn allows(&self, version: u32, source: IpAddr) -> bool {
        let source = source.to_canonical();
        version > self.through_version || self.networks.iter().any(|network| network.contains(&source))
    }
}

/// The network as which a client counts: its IPv4 address, or the /64 of its IPv6 address, within which machines change
/// theirs.
pub fn client_network(source: IpAddr) -> IpNet {
    match source.to_canonical() {
        four @ IpAddr::V4(_) => four.into(),
        IpAddr::V6(six) => Ipv6Net::new(six, 64).map_or_else(|_| IpAddr::V6(six).into(), |net| net.trunc().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_leaked_secret_and_its_elders_are_held_to_where_they_were_used() {
        let quarantine = Quarantine {
            through_version: 2,
            networks: vec!["10.0.0.7/32".parse().unwrap(), "2001:db8::/64".parse().unwrap()],
            ..Quarantine::closed()
        };
        for (version, source, allowed) in [
            (1, "10.0.0.7", true),
            (2, "::ffff:10.0.0.7", true),
            (2, "10.0.0.8", false),
            (2, "2001:db8::9", true),
            (2, "2001:db8:0:1::9", false),
            (3, "10.0.0.8", true),
        ] {
            assert_eq!(quarantine.allows(version, source.parse().unwrap()), allowed, "{version} {source}");
        }
        assert!(!Quarantine::closed().allows(7, "127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn the_narrowest_rule_counts() {
        let revoke = LeakRule::new(LeakAction::Revoke, true);
        let (a, b): (Name, Name) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut rules = LeakResponse::default();
        rules.by_application.insert(a.clone(), revoke);
        rules.by_credential.insert(a.clone(), revoke);
        assert_eq!((rules.of_key(&a), rules.of_key(&b)), (revoke, rules.keys));
        assert_eq!((rules.of_credential(&a), rules.of_credential(&b)), (revoke, rules.credentials));
        assert_eq!(rules.name, LeakResponse::NAME.parse().unwrap());
    }

    #[test]
    fn clients_count_as_networks() {
        for (source, expected) in [
            ("10.1.2.3", "10.1.2.3/32"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(client_network(source.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn rules_are_written_as_they_are_read() {
        let text = r#"{"keys":{"action":"revoke"},"by_application":{"a":{"action":"notify_only","rotate":true,"when_sent":"notify_only"}}}"#;
        let rules: LeakResponse = serde_json::from_str(text).unwrap();
        assert_eq!(rules.keys, LeakRule::new(LeakAction::Revoke, false));
        assert_eq!(rules.by_application.values().next().map(|rule| rule.when_sent), Some(WhenSent::NotifyOnly));
        assert_eq!(rules.seen_within, Period::from_secs(30 * 86_400));
        let again: LeakResponse = serde_json::from_str(&serde_json::to_string(&rules).unwrap()).unwrap();
        assert_eq!(again, rules);
        assert!(serde_json::from_str::<LeakResponse>(r#"{"key":{}}"#).is_err());
    }
}
