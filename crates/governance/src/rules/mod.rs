//! What is wrong with a credential: one file for each rule, one line here to register it.
//!
//! A rule is a function from what is known about one credential to at most one finding. It reads no clock and knows
//! no other credential; what must be compared between credentials (equal values) is a fact that is handed in. Rules
//! look only at credentials that can still be used: what is revoked or expired does no harm.

mod hard_coded;
mod long_lived;
mod never_used;
mod orphaned;
mod over_privileged;
mod shared;
mod stale;
mod weak;

use crate::{CredentialKind, Entry, EntryState, Observed, TrafficOf};
use credentialflow_certificates::Certificate;
use credentialflow_model::{
    Period, Timestamp,
    resource::{Allow, GenerateRule, Key, Kind},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $variant:ident = $module:ident;)*) => {
        /// What can be wrong with a credential.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Rule {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Rule {
            /// Every rule, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($module)),* }
            }

            fn check(self, facts: &Facts, around: &Surroundings) -> Option<Finding> {
                match self { $(Self::$variant => $module::check(facts, around)),* }
            }
        }
    };
}

// The list of rules.
rules! {
    /// Its value stands in source code, in a log or in a chat, as a scanner's report says.
    HardCoded = hard_coded;
    /// One key comes from many places, or one value has several names.
    Shared = shared;
    /// Nobody answers for it.
    Orphaned = orphaned;
    /// It may do more than it does.
    OverPrivileged = over_privileged;
    /// It was not used for long.
    Stale = stale;
    /// It was not used ever.
    NeverUsed = never_used;
    /// It is older than its rule, or than anything should be.
    LongLived = long_lived;
    /// It can be guessed or forged, now or with a quantum computer.
    Weak = weak;
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no [`Rule`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a finding is hard_coded, shared, orphaned, over_privileged, stale, never_used, long_lived or weak")]
pub struct InvalidRule;

impl FromStr for Rule {
    type Err = InvalidRule;
    fn from_str(s: &str) -> Result<Self, InvalidRule> {
        let word = s.replace('-', "_");
        Self::ALL.iter().copied().find(|rule| rule.as_str() == word).ok_or(InvalidRule)
    }
}

/// How urgent a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To know when planning.
    Info,
    /// Tidy up.
    Low,
    /// Mend it.
    Medium,
    /// Mend it now.
    High,
}

/// From when on something counts as a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Thresholds {
    /// Not used for so long is stale. 90 days unless set.
    pub stale_after: Period,
    /// A value older than this is long-lived, where its own rule says nothing. 365 days unless set.
    pub long_lived_after: Period,
    /// So young that nothing can be said yet about what it does not do. 7 days unless set.
    pub settle: Period,
    /// A key seen from more source addresses than this is shared. 10 unless set.
    pub max_sources: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        let days = |n: u64| Period::from_secs(n * 86_400);
        Self { stale_after: days(90), long_lived_after: days(365), settle: days(7), max_sources: 10 }
    }
}

/// What is the same for all credentials when they are judged.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Now.
    pub now: Timestamp,
    /// From when on something counts.
    pub thresholds: Thresholds,
    /// Which traffic was looked at.
    pub observed: Observed,
}

impl Surroundings {
    /// The time between a moment and now; zero for moments to come.
    pub(crate) fn since(&self, then: Timestamp) -> Period {
        let micros = u64::try_from(self.now.micros().saturating_sub(then.micros())).unwrap_or(0);
        Period::from_millis(micros / 1000)
    }

    /// A time in words, in the largest unit of which there are at least two.
    pub(crate) fn told(&self, then: Timestamp) -> String {
        let seconds = self.since(then).as_millis() / 1000;
        match seconds {
            172_800.. => format!("{} days", seconds / 86_400),
            7200.. => format!("{} hours", seconds / 3600),
            120.. => format!("{} minutes", seconds / 60),
            _ => format!("{seconds} seconds"),
        }
    }
}

/// Everything known about one credential.
#[derive(Clone, Debug)]
pub struct Facts {
    /// As the inventory shows it.
    pub entry: Entry,
    /// When the value in use was made.
    pub since: Option<Timestamp>,
    /// How often its rule asks for a new value.
    pub every: Option<Period>,
    /// How its values are made.
    pub generate: Option<GenerateRule>,
    /// Other credentials that have the same value.
    pub same_value_as: Vec<String>,
    /// Owners and teams that it names and that are not declared.
    pub missing: Vec<String>,
    /// A key's declaration.
    pub key: Option<Key>,
    /// What a key may use in all.
    pub granted: Allow,
    /// What the policies of a role, user or token of the run-time API grant, and what of that was not used.
    pub rights: Option<Rights>,
    /// How it was used in the time looked at; absent when not at all.
    pub traffic: Option<TrafficOf>,
    /// Where scanners found its value.
    pub exposures: Vec<Exposure>,
    /// A certificate's content.
    pub certificate: Option<Certificate>,
    /// Whether it is not known when it was last used, although things of its kind mostly tell.
    pub unseen: bool,
    /// Whether it signs certificates: that is a use of which no request tells, and its own certificate bounds its life.
    pub signs: bool,
}

impl Facts {
    /// Nothing known but the entry.
    pub fn new(entry: Entry) -> Self {
        Self {
            entry,
            since: None,
            every: None,
            generate: None,
            same_value_as: Vec::new(),
            missing: Vec::new(),
            key: None,
            granted: Allow::default(),
            rights: None,
            traffic: None,
            exposures: Vec::new(),
            certificate: None,
            unseen: false,
            signs: false,
        }
    }

    /// A finding about this credential.
    fn finding(&self, finding: Rule, severity: Severity, detail: String, hint: impl Into<String>) -> Finding {
        Finding {
            finding,
            severity,
            kind: self.entry.kind,
            name: self.entry.name.clone(),
            owner: self.entry.owner.clone(),
            team: self.entry.team.clone(),
            detail,
            hint: hint.into(),
            since: None,
            version: None,
            same_value_as: Vec::new(),
            exposures: Vec::new(),
            grant: None,
            policy: None,
        }
    }

    /// The command that withdraws it.
    fn revoke(&self) -> String {
        let name = &self.entry.name;
        match self.entry.kind {
            CredentialKind::SecretId => match name.rsplit_once("/secret-id/") {
                Some((role, accessor)) => {
                    format!("bao write {role}/secret-id-accessor/destroy secret_id_accessor={accessor}")
                }
                None => format!("bao delete {name}"),
            },
            CredentialKind::User | CredentialKind::Login | CredentialKind::Role => format!("bao delete {name}"),
            CredentialKind::Token => format!("bao token revoke -accessor {name}"),
            kind => format!("credentialflow {kind} revoke {name}"),
        }
    }

    /// Whether it is known how it is used, or that it is not.
    const fn is_counted(&self) -> bool {
        use CredentialKind::{Credential, Key, Login, SecretId, User};
        matches!(self.entry.kind, Key | Credential | Login | SecretId | User) && !self.unseen
    }

    /// Whether it is old enough to say what it does not do.
    fn is_settled(&self, around: &Surroundings) -> bool {
        self.entry.created.is_some_and(|created| around.since(created) >= around.thresholds.settle)
    }
}

/// A place where a scanner found a value of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Exposure {
    /// Which version's value it was.
    pub version: u32,
    /// The scanner.
    pub tool: String,
    /// The scanner's own rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The file, as the report names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When the report was handed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Timestamp>,
}

/// What policies of the run-time API grant to one holder, and what of that was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// How many rules allow something.
    pub rules: usize,
    /// What was not used: patterns of paths, with the capabilities where only some were not.
    pub unused: Vec<String>,
    /// One policy (HCL) with what was used.
    pub policy: String,
    /// Since when every use is known.
    pub since: Timestamp,
}

/// A narrower policy of the run-time API, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct NarrowerPolicy {
    /// A name for it.
    pub name: String,
    /// The policy (HCL), as `sys/policies/acl/NAME` takes it.
    pub policy: String,
    /// What it takes away: patterns of paths, with the capabilities where only some go.
    pub removes: Vec<String>,
    /// Since when every use of the policies is known; what was done only before is not in it.
    pub since: Timestamp,
    /// The commands that put it in the place of the policies that are held now.
    pub commands: Vec<String>,
}

/// A narrower grant, ready to be applied.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Grant {
    /// The kind of the resource.
    pub kind: Kind,
    /// The resource as `PUT` takes it.
    #[schema(value_type = Object)]
    pub resource: serde_json::Value,
    /// The same as a file for `credentialflow apply`.
    pub yaml: String,
    /// What it takes away.
    pub removes: Allow,
}

/// One thing that is wrong with one credential.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Finding {
    /// What is wrong.
    pub finding: Rule,
    /// How urgent it is.
    pub severity: Severity,
    /// The kind of credential.
    pub kind: CredentialKind,
    /// Its name.
    pub name: String,
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The team behind the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// What is wrong, in a sentence.
    pub detail: String,
    /// What to do about it.
    pub hint: String,
    /// Since when it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The version it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Credentials that have the same value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub same_value_as: Vec<String>,
    /// Where its value was found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exposures: Vec<Exposure>,
    /// The narrower grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// The narrower policy, of what the run-time API lets in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<NarrowerPolicy>,
}

/// Everything that is wrong with a credential, in the order of the list of rules.
pub fn findings(facts: &Facts, around: &Surroundings) -> Vec<Finding> {
    if matches!(facts.entry.state, EntryState::Revoked | EntryState::Expired) {
        return Vec::new();
    }
    Rule::ALL.iter().filter_map(|rule| rule.check(facts, around)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{credential, days_ago, key, surroundings};

    #[test]
    fn what_is_in_order_has_no_findings() {
        assert_eq!(findings(&key(), &surroundings()), []);
        assert_eq!(findings(&credential(), &surroundings()), []);
    }

    #[test]
    fn what_cannot_be_used_any_more_is_left_alone() {
        let mut facts = credential();
        (facts.entry.owner, facts.entry.team, facts.entry.last_used) = (None, None, Some(days_ago(400)));
        assert_eq!(findings(&facts, &surroundings()).len(), 2);
        facts.entry.state = EntryState::Revoked;
        assert_eq!(findings(&facts, &surroundings()), []);
    }

    #[test]
    fn rules_are_written_as_they_are_read() {
        for rule in Rule::ALL {
            assert_eq!(rule.as_str().parse(), Ok(*rule));
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.as_str());
        }
        assert_eq!("over-privileged".parse(), Ok(Rule::OverPrivileged));
        assert_eq!("bad".parse::<Rule>(), Err(InvalidRule));
    }
}
