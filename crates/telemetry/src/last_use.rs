//! When keys and credential versions were last used, how often, and whether upstreams took them.
//!
//! Kept in memory by the recorder thread, off the request path; the roof takes the deltas every few seconds and
//! writes them to the store, so that no request causes a write. Bounded; what does not fit is counted.

use credentialflow_model::{KeyId, Timestamp, UsageRecord};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Keys between two takes; beyond, uses are only in the call log.
const MAX_KEYS: usize = 1 << 20;
/// Credential versions remembered.
const MAX_VERSIONS: usize = 1 << 14;

/// Uses of one key since the last take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUseDelta {
    /// The key.
    pub key: KeyId,
    /// When its last request began.
    pub last_time: Timestamp,
    /// Where that came from.
    pub last_source: IpAddr,
    /// Requests.
    pub count: u64,
}

/// Uses of one credential version since the last take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialUseDelta {
    /// The credential's name.
    pub credential: Arc<str>,
    /// Its version.
    pub version: u32,
    /// When the last request that carried it began.
    pub last_time: Timestamp,
    /// Requests that carried it.
    pub count: u64,
    /// How upstreams answered them.
    pub answers: Answers,
}

/// How upstreams answered requests that carried a credential version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Answered with anything but 401 or 403.
    pub served: u64,
    /// Answered with 401 or 403: the credential may not be good.
    pub refused: u64,
}

/// What was used since the last take.
#[derive(Clone, Debug, Default)]
pub struct UseDeltas {
    /// By key, in no order.
    pub keys: Vec<KeyUseDelta>,
    /// By credential version, in no order.
    pub credentials: Vec<CredentialUseDelta>,
    /// Uses not in the lists, because there was no room.
    pub overflowed: u64,
}

#[derive(Debug, Default)]
struct VersionUse {
    last_time: Timestamp,
    /// Since the last take.
    count: u64,
    fresh: Answers,
    /// Since the process began.
    total: Answers,
}

#[derive(Debug, Default)]
struct Inner {
    keys: HashMap<KeyId, KeyUseDelta>,
    credentials: HashMap<Arc<str>, Vec<(u32, VersionUse)>>,
    versions: usize,
    overflowed: u64,
}

/// The aggregate; shared between the recorder, the roof and the rotation watcher.
#[derive(Debug, Default)]
pub struct LastUse(Mutex<Inner>);

impl LastUse {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, batch: &[UsageRecord]) {
        let mut inner = self.lock();
        for record in batch {
            inner.add_key(record);
            inner.add_credential(record);
        }
    }

    /// What was used since the last call; forgets it.
    pub fn take_deltas(&self) -> UseDeltas {
        let mut inner = self.lock();
        let mut out = UseDeltas {
            keys: inner.keys.drain().map(|(_, used)| used).collect(),
            credentials: Vec::new(),
            overflowed: std::mem::take(&mut inner.overflowed),
        };
        // Room for as many again, not for the most there ever were.
        inner.keys.shrink_to(out.keys.len());
        // Only a full table is swept: versions nobody used since the last take make room.
        let full = inner.versions >= MAX_VERSIONS;
        for (name, versions) in &mut inner.credentials {
            versions.retain_mut(|(version, used)| {
                if used.count == 0 {
                    return !full;
                }
                out.credentials.push(CredentialUseDelta {
                    credential: name.clone(),
                    version: *version,
                    last_time: used.last_time,
                    count: std::mem::take(&mut used.count),
                    answers: std::mem::take(&mut used.fresh),
                });
                true
            });
        }
        if full {
            inner.credentials.retain(|_, versions| !versions.is_empty());
            inner.versions = inner.credentials.values().map(Vec::len).sum();
        }
        out
    }

    /// How upstreams answered requests with this version since the process began (or since the version was last
    /// forgotten, which happens to unused ones when 16,384 others are in use). The rotation watcher compares two reads.
    pub fn refusals(&self, credential: &str, version: u32) -> Answers {
        let inner = self.lock();
        let versions = inner.credentials.get(credential);
        versions.and_then(|all| all.iter().find(|(v, _)| *v == version)).map(|(_, u)| u.total).unwrap_or_default()
    }
}

impl Inner {
    fn add_key(&mut self, record: &UsageRecord) {
        let Some(key) = record.key else { return };
        if self.keys.len() >= MAX_KEYS && !self.keys.contains_key(&key) {
            self.overflowed += 1;
            return;
        }
        let fresh = KeyUseDelta { key, last_time: record.time, last_source: record.source, count: 0 };
        let used = self.keys.entry(key).or_insert(fresh);
        used.count += 1;
        if record.time >= used.last_time {
            (used.last_time, used.last_source) = (record.time, record.source);
        }
    }

    fn add_credential(&mut self, record: &UsageRecord) {
        let Some(carried) = &record.credential else { return };
        let known = self.credentials.get_mut(&carried.credential);
        let at = known.as_ref().and_then(|all| all.iter().position(|(v, _)| *v == carried.version));
        let used = match (known, at) {
            (Some(all), Some(at)) => &mut all[at].1,
            _ if self.versions >= MAX_VERSIONS => {
                self.overflowed += 1;
                return;
            }
            _ => {
                self.versions += 1;
                let all = self.credentials.entry(carried.credential.clone()).or_default();
                all.push((carried.version, VersionUse::default()));
                let last = all.len() - 1;
                &mut all[last].1
            }
        };
        used.count += 1;
        used.last_time = used.last_time.max(record.time);
        for answers in [&mut used.fresh, &mut used.total] {
            match record.upstream_status {
                0 => {}
                401 | 403 => answers.refused += 1,
                _ => answers.served += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests;
