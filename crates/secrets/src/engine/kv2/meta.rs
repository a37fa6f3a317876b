//! What is known about a path: its settings, and when each of its versions came and went.

use super::{Settings, load, settings, store};
use crate::fields::{boolean, go_duration, seconds, texts};
use crate::{Call, Operation, Reply, Result, SecretsError, Txn};
use credentialflow_model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Bounds of `custom_metadata`, as Vault has them.
const MOST_METADATA: usize = 64;
const LONGEST_NAME: usize = 128;
const LONGEST_VALUE: usize = 512;

/// One version: when it was written, when it counts as deleted (0: not), whether its value is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version(pub i64, pub i64, pub bool);

impl Version {
    /// When it counts as deleted, as Vault writes it.
    pub(super) fn deletion_time(self) -> String {
        if self.1 == 0 { String::new() } else { time(self.1) }
    }

    pub(super) const fn is_readable(self, now: Timestamp) -> bool {
        !self.2 && (self.1 == 0 || self.1 > now.micros())
    }
}

/// What is known about a path. Versions are numbered without gaps from `oldest` on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Meta {
    pub created: i64,
    pub updated: i64,
    /// Number of the first version in the list; 0: none was ever written.
    pub oldest: u64,
    pub versions: Vec<Version>,
    /// 0: the mount's.
    pub max_versions: u32,
    pub cas_required: bool,
    /// As for the mount.
    pub delete_version_after: i64,
    pub custom: Option<BTreeMap<String, String>>,
}

impl Meta {
    /// Of a path nobody has written to.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { created: now.micros(), updated: now.micros(), ..Self::default() }
    }

    /// Number of the newest version; 0: none.
    pub(super) const fn current(&self) -> u64 {
        match self.versions.len() {
            0 => 0,
            n => self.oldest + n as u64 - 1,
        }
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.oldest)?).ok().filter(|_| number > 0)
    }

    pub(super) fn version(&self, number: u64) -> Option<Version> {
        self.versions.get(self.index(number)?).copied()
    }

    pub(super) fn version_mut(&mut self, number: u64) -> Option<&mut Version> {
        let index = self.index(number)?;
        self.versions.get_mut(index)
    }

    /// How many versions are kept: the mount's number or the path's own, whichever is more.
    pub(super) fn keep(&self, mount: &Settings) -> usize {
        let most = match (self.max_versions, mount.max_versions) {
            (0, 0) => settings::DEFAULT_VERSIONS,
            // As in Vault: the path's own word can keep more than the mount's, never less.
            (own, mount) => own.max(mount),
        };
        most as usize
    }

    /// When a version written at a moment counts as deleted by itself; 0: never.
    pub(super) fn ends(&self, mount: &Settings, written: Timestamp) -> i64 {
        let after = match (self.delete_version_after, mount.delete_version_after) {
            (own, mount) if own < 0 || mount < 0 => 0,
            (0, mount) => mount,
            (own, 0) => own,
            (own, mount) => own.min(mount),
        };
        if after == 0 { 0 } else { written.micros().saturating_add(after.saturating_mul(1_000_000)) }
    }

    /// What Vault's clients see of a version.
    pub(super) fn describe(&self, number: u64, version: Version) -> Value {
        json!({
            "created_time": time(version.0),
            "custom_metadata": self.custom,
            "deletion_time": version.deletion_time(),
            "destroyed": version.2,
            "version": number,
        })
    }
}

pub(super) fn time(micros: i64) -> String {
    Timestamp::from_micros(micros).to_string()
}

pub(super) async fn read(call: &Call<'_>, txn: &mut Txn, path: &str) -> Result<Reply> {
    let meta = load(call, txn, path).await?.ok_or(SecretsError::NotFound)?;
    let versions: Map<String, Value> = meta
        .versions
        .iter()
        .zip(meta.oldest..)
        .map(|(v, number)| {
            let about = json!({ "created_time": time(v.0), "deletion_time": v.deletion_time(), "destroyed": v.2 });
            (number.to_string(), about)
        })
        .collect();
    Ok(Reply::open(json!({
        "cas_required": meta.cas_required,
        "created_time": time(meta.created),
        "current_version": meta.current(),
        "custom_metadata": meta.custom,
        "delete_version_after": go_duration(meta.delete_version_after.max(0)),
        "max_versions": meta.max_versions,
        // 0 until the first version was let go of, as in Vault.
        "oldest_version": if meta.oldest <= 1 { 0 } else { meta.oldest },
        "updated_time": time(meta.updated),
        "versions": versions,
    })))
}

pub(super) async fn write(call: &Call<'_>, txn: &mut Txn, path: &str) -> Result<Reply> {
    let known = load(call, txn, path).await?;
    if call.operation == Operation::Patch && known.is_none() {
        return Err(SecretsError::NotFound);
    }
    let mut meta = known.unwrap_or_else(|| Meta::new(call.now));
    if let Some(most) = settings::versions(call)? {
        meta.max_versions = most;
    }
    if let Some(required) = boolean(call.data, "cas_required")? {
        meta.cas_required = required;
    }
    if let Some(after) = seconds(call.data, "delete_version_after")? {
        meta.delete_version_after = after;
    }
    custom(call, &mut meta)?;
    meta.updated = call.now.micros();
    store(call, txn, path, &meta)?;
    Ok(Reply::empty())
}

fn custom(call: &Call<'_>, meta: &mut Meta) -> Result<()> {
    let merged = match call.data.get("custom_metadata") {
        // RFC 7396: null removes; names that are not mentioned stay.
        Some(Value::Object(patch)) if call.operation == Operation::Patch => {
            let mut merged = meta.custom.clone().unwrap_or_default();
            for (name, value) in patch {
                match value {
                    Value::Null => drop(merged.remove(name)),
                    Value::String(text) => drop(merged.insert(name.clone(), text.clone())),
                    _ => return Err(SecretsError::invalid("custom_metadata must be an object of texts")),
                }
            }
            merged
        }
        None | Some(Value::Null) => return Ok(()),
        Some(_) => texts(call.data, "custom_metadata")?.unwrap_or_default(),
    };
    let fits = merged.len() <= MOST_METADATA
        && merged.iter().all(|(name, value)| {
            !name.is_empty()
                && name.len() <= LONGEST_NAME
                && value.len() <= LONGEST_VALUE
                && !name.chars().chain(value.chars()).any(char::is_control)
        });
    if !fits {
        return Err(SecretsError::invalid(
            "custom_metadata takes at most 64 names of at most 128 bytes with values of at most 512 bytes",
        ));
    }
    meta.custom = Some(merged);
    Ok(())
}

pub(super) async fn delete(call: &Call<'_>, txn: &mut Txn, path: &str) -> Result<Reply> {
    if load(call, txn, path).await?.is_some() {
        let mut entries = txn.entries(call.space());
        entries.delete(&format!("m/{path}"));
        entries.delete_prefix(&format!("v/{path}//"));
    }
    Ok(Reply::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_oldest() {
        let mut meta =
            Meta { oldest: 3, versions: vec![Version(1, 0, false), Version(2, 0, false)], ..Meta::default() };
        assert_eq!(meta.current(), 4);
        assert_eq!(meta.version(3), Some(Version(1, 0, false)));
        assert_eq!([0, 2, 5].map(|n| meta.version(n)), [None; 3]);
        meta.version_mut(4).unwrap().2 = true;
        assert!(meta.versions[1].2);
        assert_eq!(Meta::default().version(0), None);
    }

    #[test]
    fn the_longer_history_and_the_shorter_life_count() {
        let mount = Settings { max_versions: 5, delete_version_after: 60, ..Settings::default() };
        let meta = |max_versions, delete_version_after| Meta { max_versions, delete_version_after, ..Meta::default() };
        assert_eq!(meta(0, 0).keep(&Settings::default()), 10);
        assert_eq!([0, 3, 9].map(|own| meta(own, 0).keep(&mount)), [5, 5, 9]);
        let at = Timestamp::from_secs(100);
        assert_eq!([0, 30, 90, -1].map(|own| meta(0, own).ends(&mount, at) / 1_000_000), [160, 130, 160, 0]);
        assert_eq!(meta(0, 0).ends(&Settings::default(), at), 0);
    }
}
