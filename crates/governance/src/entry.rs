//! One credential as the inventory shows it, whichever direction it works in.

use crate::{Rule, graph::Reach};
use credentialflow_model::{ActorKind, Timestamp, lifecycle::VersionState};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What kind of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// Held for upstreams: sealed here, injected into requests or set at a target.
    Credential,
    /// A login whose password the run-time API keeps: of a static role, or of the administrator of a database.
    Login,
    /// The certificate of one of our own listeners, or of an authority of the run-time API.
    Certificate,
    /// A key with which Credentialflow signs.
    SigningKey,
    /// A key issued to an application.
    Key,
    /// A role of the run-time API by which somebody logs in there: of AppRole, JWT or OIDC.
    Role,
    /// A secret id with which an AppRole role logs in at run time.
    SecretId,
    /// A user of the run-time API who logs in with a password.
    User,
    /// A token of the run-time API that is there for long.
    Token,
    /// Key-value secrets of the run-time API, counted for each mount.
    Secrets,
    /// Logins handed out at run time, counted for each mount.
    Leases,
    /// All tokens of the run-time API, counted.
    Tokens,
}

impl CredentialKind {
    /// Every kind, in the order of the inventory.
    pub const ALL: [Self; 12] = [
        Self::Credential,
        Self::Login,
        Self::Certificate,
        Self::SigningKey,
        Self::Key,
        Self::Role,
        Self::SecretId,
        Self::User,
        Self::Token,
        Self::Secrets,
        Self::Leases,
        Self::Tokens,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Login => "login",
            Self::Certificate => "certificate",
            Self::SigningKey => "signing_key",
            Self::Key => "key",
            Self::Role => "role",
            Self::SecretId => "secret_id",
            Self::User => "user",
            Self::Token => "token",
            Self::Secrets => "secrets",
            Self::Leases => "leases",
            Self::Tokens => "tokens",
        }
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no [`CredentialKind`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a kind is credential, login, certificate, signing_key, key, role, secret_id, user, token, secrets, leases or tokens"
)]
pub struct InvalidKind;

impl FromStr for CredentialKind {
    type Err = InvalidKind;
    fn from_str(s: &str) -> Result<Self, InvalidKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == s).ok_or(InvalidKind)
    }
}

/// Which way a credential works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Others present it to us.
    Issued,
    /// We present it to others.
    Held,
}

/// Whether a credential can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// It works now.
    Active,
    /// It has no value in use yet, or is refused before a moment that has not come.
    Pending,
    /// Its time is over.
    Expired,
    /// It was withdrawn.
    Revoked,
}

/// Who made a credential, as the audit log tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Issuer {
    /// What kind of party.
    pub kind: ActorKind,
    /// Its name.
    pub name: String,
    /// When.
    pub time: Timestamp,
}

/// One version of a credential, or one secret of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EntryVersion {
    /// Counts from 1.
    pub version: u32,
    /// Where it is in its life.
    pub state: VersionState,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used, on any node. Absent for keys, whose uses are counted for all secrets together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
    /// How often it was used, on all nodes; absent for keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
}

/// Which part of the call log was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Observed {
    /// Not further back than this.
    pub since: Timestamp,
    /// Up to this.
    pub until: Timestamp,
    /// Requests looked at.
    pub requests: u64,
    /// Whether all of them were looked at. If not, the oldest are missing, and `since` says how far back it went.
    pub complete: bool,
    /// When the call log begins, where that is later than what was asked for: older requests are not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begins: Option<Timestamp>,
    /// Other nodes, whose call logs lie with them and were not looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_nodes: Vec<String>,
}

/// Where a credential was used, by the call log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Used {
    /// Requests.
    pub requests: u64,
    /// Routes, busiest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// Models, busiest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Applications, busiest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<String>,
    /// How many different source addresses; no more than 256 are told apart.
    pub sources: u64,
}

/// One line of the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Entry {
    /// What it is.
    pub kind: CredentialKind,
    /// Its name, unique within the kind.
    pub name: String,
    /// Which way it works.
    pub direction: Direction,
    /// Whether it can be used.
    pub state: EntryState,
    /// For people: what was declared, or what is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who answers for it: the owner a credential names, the application a key was issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The key that it comes from and ends with, for keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The team behind the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// When it came into being.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// How old its value in use is, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// When it ceases to be valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When its rule asks for a new value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_due: Option<Timestamp>,
    /// How it is kept or how it signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// When it was last used, on any node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
    /// Where from, for keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_source: Option<String>,
    /// How often it was used, on all nodes; absent where nobody counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
    /// How many there are, for kinds that are only counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_by: Option<Issuer>,
    /// Its versions, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<EntryVersion>,
    /// Where it can be used.
    #[serde(skip_serializing_if = "Reach::is_empty")]
    pub reach: Reach,
    /// Where it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
    /// What is wrong with it; `GET /api/v1/inventory/findings` says more.
    pub findings: Vec<Rule>,
}

impl Entry {
    /// A line about which nothing is known yet but what it is.
    pub fn new(kind: CredentialKind, name: impl Into<String>, direction: Direction, state: EntryState) -> Self {
        Self {
            kind,
            name: name.into(),
            direction,
            state,
            description: None,
            owner: None,
            parent: None,
            team: None,
            created: None,
            age_seconds: None,
            expires: None,
            rotation_due: None,
            algorithm: None,
            last_used: None,
            last_source: None,
            uses: None,
            count: None,
            issued_by: None,
            versions: Vec::new(),
            reach: Reach::default(),
            used: None,
            findings: Vec::new(),
        }
    }

    /// The audit event that tells who made it, as action and subject: the newest such event counts. None for kinds
    /// that nobody makes by one deed.
    pub fn made_by(&self) -> Option<(&'static str, String)> {
        let name = &self.name;
        Some(match self.kind {
            CredentialKind::Credential => ("credential.create", format!("credentials/{name}")),
            CredentialKind::Key => ("key.create", format!("keys/{name}")),
            CredentialKind::Login => ("secret.write", format!("vault/{name}")),
            CredentialKind::User => ("userpass.user.set", name.clone()),
            CredentialKind::Token => ("token.create", format!("tokens/{name}")),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kinds_are_written_as_they_are_read() {
        for kind in CredentialKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!("credentials".parse::<CredentialKind>(), Err(InvalidKind));
    }
}
