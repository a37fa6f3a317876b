//! Who changed what in the control plane.

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// What kind of party acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// The holder of the administrator's token.
    Administrator,
    /// A person on the machine itself, through the command line (`init`, `unseal`).
    Operator,
    /// Credentialflow's own job, as in a scheduled rotation.
    System,
    /// The holder of a token of the run-time API.
    Client,
    /// Nobody identified; appears only in events about refusals.
    Anonymous,
}

/// Who changes something. No write happens without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Actor {
    /// What kind of party.
    pub kind: ActorKind,
    /// Its name, as in `admin` or `rotation`.
    pub name: String,
    /// Source address, if it came over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Actor {
    /// A job of Credentialflow itself.
    pub fn system(job: &str) -> Self {
        Self { kind: ActorKind::System, name: job.to_owned(), source: None }
    }
    /// A person on the machine itself.
    pub fn operator() -> Self {
        Self { kind: ActorKind::Operator, name: "operator".to_owned(), source: None }
    }
}

/// One event of the audit log. Its place in the chain is given by the store that writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditEvent {
    /// Place in the chain, from 1, without gaps.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What happened, as `noun.verb`: `key.create`, `credential.rotate`, `config.apply`.
    pub action: String,
    /// On what, as `kind/name`: `credentials/orders-token`.
    pub subject: String,
    /// Facts about it; never a secret.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
    /// SHA-256 over the event before, hexadecimal; 64 zeros for the first.
    pub previous_hash: String,
    /// SHA-256 over this event's canonical form, hexadecimal.
    pub hash: String,
}
