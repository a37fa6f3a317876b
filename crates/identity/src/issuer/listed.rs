//! The keys that sign identity tokens, told without what they sign with.
//!
//! When a token was last signed is read from the audit log, which names the key and its version since it counts
//! versions: what was signed before that is not known here, nor are tokens of a role that is gone.

use super::{key, role};
use crate::{Core, Mount, Result};
use credentialflow_model::Timestamp;
use credentialflow_store::AuditFilter;
use std::collections::HashMap;

/// A key that signs identity tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// Its name.
    pub name: String,
    /// How it signs, as in `RS256`.
    pub algorithm: String,
    /// How often another version takes over, in seconds.
    pub rotation_period: u64,
    /// When that happens next.
    pub next_rotation: Timestamp,
    /// The roles whose tokens it signs, by name.
    pub roles: Vec<String>,
    /// Its versions, the newest last.
    pub versions: Vec<SigningKeyVersion>,
}

/// One version of such a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeyVersion {
    /// Counts from 1.
    pub number: u32,
    /// What it is there for.
    pub duty: Duty,
    /// When it was made; of versions from before that was noted, the latest moment it can have been.
    pub created: Timestamp,
    /// When it last signed, where that is known.
    pub last_used: Option<Timestamp>,
}

/// What a version of a signing key is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Published; signs no more, and its private half is gone.
    Checks,
    /// Signs.
    Signs,
    /// Published; signs from the next rotation on.
    Next,
}

/// All of them, by name.
pub(crate) async fn signing_keys(core: &Core, mount: &Mount) -> Result<Vec<SigningKey>> {
    let shelf = core.shelf(mount);
    let names = shelf.list("oidc/key/").await?;
    let mut roles: HashMap<String, Vec<String>> = HashMap::new();
    if !names.is_empty() {
        for name in shelf.list("oidc/role/").await? {
            if let Some(known) = role::get(&shelf, &name).await? {
                roles.entry(known.value.key).or_default().push(name);
            }
        }
    }
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        let Some(known) = key::get(&shelf, &name).await? else { continue };
        let mut told = known.value.told(&name, core.secs());
        told.roles = roles.remove(&name).unwrap_or_default();
        for role in &told.roles {
            let filter = AuditFilter {
                action: Some(super::token::CREATED.to_owned()),
                subject: Some(super::token::subject(role)),
            };
            let Some(last) = core.store.audit_events_before(0, 1, &filter).await?.pop() else { continue };
            let number = last.detail["key_version"].as_u64().filter(|_| last.detail["key"] == name.as_str());
            for version in told.versions.iter_mut().filter(|v| Some(u64::from(v.number)) == number) {
                version.last_used = version.last_used.max(Some(last.time));
            }
        }
        all.push(told);
    }
    Ok(all)
}
