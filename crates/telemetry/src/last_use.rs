//! When keys and credential versions were last used, how often, from which networks, and whether upstreams took them.
//!
//! Kept in memory by the recorder thread, off the request path; the roof takes the deltas every few seconds and
//! writes them to the store, so that no request causes a write. Bounded; what does not fit is counted.

mod networks;
mod secrets;

pub use networks::KeyNetworkDelta;
pub use secrets::KeySecretDelta;

use credentialflow_model::{
    KeyId, OutcomeReason, Timestamp, UsageRecord,
    leak::{IpNet, client_network},
    usage::{CredentialUse, TriedEnd},
};
use networks::Networks;
use secrets::Secrets;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Keys between two takes; beyond, uses are only in the call log.
const MAX_KEYS: usize = 1 << 20;
/// New networks of one key between two takes; further ones are noted after the next.
const MAX_NEW_NETWORKS: u8 = 64;
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
    /// Answered with anything else.
    pub served: u64,
    /// Answered with 401, 402 or 403, or by a model's provider in words that say so: the credential may not be good.
    pub refused: u64,
}

/// What was used since the last take.
#[derive(Clone, Debug, Default)]
pub struct UseDeltas {
    /// By key, in no order.
    pub keys: Vec<KeyUseDelta>,
    /// By credential version, in no order.
    pub credentials: Vec<CredentialUseDelta>,
    /// By secret of keys of which one is to go, in no order.
    pub secrets: Vec<KeySecretDelta>,
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

#[derive(Debug)]
struct KeyUsed {
    delta: KeyUseDelta,
    /// The source from which a request was let through last: the next one from there tells nothing new.
    noted: Option<IpAddr>,
    /// Networks that were news.
    news: u8,
}

#[derive(Debug, Default)]
struct Inner {
    keys: HashMap<KeyId, KeyUsed>,
    networks: Networks,
    secrets: Secrets,
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
            inner.secrets.add(record);
        }
    }

    /// What was used since the last call; forgets it.
    pub fn take_deltas(&self) -> UseDeltas {
        let mut inner = self.lock();
        let mut out = UseDeltas {
            keys: inner.keys.drain().map(|(_, used)| used.delta).collect(),
            credentials: Vec::new(),
            secrets: inner.secrets.take(),
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

    /// Networks from which keys were used and that the database may not know, those that have waited longest. Each is
    /// given once, until it is said what became of it: [`networks_written`](Self::networks_written) or
    /// [`networks_not_written`](Self::networks_not_written).
    pub fn take_networks(&self, most: usize) -> Vec<KeyNetworkDelta> {
        self.lock().networks.take(most, Instant::now())
    }

    /// The database knows these now.
    pub fn networks_written(&self, written: &[KeyNetworkDelta]) {
        self.lock().networks.written(written, Instant::now());
    }

    /// These are to be written later, after the others.
    pub fn networks_not_written(&self, taken: &[KeyNetworkDelta]) {
        self.lock().networks.not_written(taken);
    }

    /// Networks from which a key was used and that the database may not know yet, with the time of use.
    pub fn networks_of(&self, key: KeyId) -> Vec<(IpNet, Timestamp)> {
        self.lock().networks.of(key)
    }

    /// The last use of which there was no room to note from where it was.
    pub(crate) fn networks_lost_at(&self) -> Option<Timestamp> {
        self.lock().networks.lost_at
    }

    /// Networks that found no room since the process began. They are noted when the key is used from there again.
    pub fn networks_lost(&self) -> u64 {
        self.lock().networks.lost
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
            if record.outcome.let_through() {
                self.networks.lose(record.time);
            }
            return;
        }
        let fresh = KeyUseDelta { key, last_time: record.time, last_source: record.source, count: 0 };
        let used = self.keys.entry(key).or_insert(KeyUsed { delta: fresh, noted: None, news: 0 });
        let delta = &mut used.delta;
        delta.count += 1;
        if record.time >= delta.last_time {
            (delta.last_time, delta.last_source) = (record.time, record.source);
        }
        // Whoever presents a wrong secret under a key's id is no client of it.
        if used.noted != Some(record.source) && used.news < MAX_NEW_NETWORKS && record.outcome.let_through() {
            used.noted = Some(record.source);
            used.news += u8::from(self.networks.note(key, client_network(record.source), record.time));
        }
    }

    fn add_credential(&mut self, record: &UsageRecord) {
        if let Some(carried) = &record.credential {
            let refused = record.outcome == OutcomeReason::UpstreamCredentialRefused;
            self.add_use(carried, record.time, (record.upstream_status, refused));
        }
        // What a provider refused counts also where another target served the call then.
        for tried in record.model.iter().flat_map(|model| &model.tried) {
            if let Some(carried) = &tried.credential {
                let refused = tried.end == TriedEnd::Outcome(OutcomeReason::UpstreamCredentialRefused);
                self.add_use(carried, record.time, (tried.end.status(), refused));
            }
        }
    }

    /// A request carried it and was answered with this status, 0 for no answer, or was refused for it in words.
    fn add_use(&mut self, carried: &CredentialUse, time: Timestamp, (status, refused): (u16, bool)) {
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
        used.last_time = used.last_time.max(time);
        for answers in [&mut used.fresh, &mut used.total] {
            match status {
                _ if refused => answers.refused += 1,
                0 => {}
                401..=403 => answers.refused += 1,
                _ => answers.served += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests;
