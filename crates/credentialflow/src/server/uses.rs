//! When and how often each key and credential was used, and from where each key, on its way from memory to the database.
//!
//! A use is an observation: it costs a request no write, and a crash loses what was not written yet (two seconds of
//! uses, more where so many keys are in use that writing takes turns). The call log tells of each call anyway.

use credentialflow_model::{KeyId, Timestamp};
use credentialflow_store::{CredentialUse, KeyNetwork, KeySecretUse, KeyUse, Store, StoreError, Uses};
use credentialflow_telemetry::{Telemetry, UseDeltas};
use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// Between two rounds of writing.
const EVERY: Duration = Duration::from_secs(2);
/// Writing takes one in so many parts of the time; what is left over waits for the next round.
const SHARE: u32 = 50;
/// Uses of one transaction: whoever stands in line for the writer, such as a revocation, waits for no more.
const BATCH: usize = 2048;
/// Keys, and credential versions, that wait at most, as while the database is away. Further ones are counted as lost.
const MOST_WAITING: usize = 1 << 20;

/// Uses that wait to be written.
pub(super) struct UseWriter {
    store: Store,
    telemetry: Telemetry,
    waiting: Mutex<Waiting>,
    lost: AtomicU64,
    /// What the database was told of networks that were lost, in microseconds.
    told: AtomicI64,
}

#[derive(Default)]
struct Waiting {
    keys: Merged<KeyId, KeyUse>,
    credentials: Merged<(String, u32), CredentialUse>,
    secrets: Merged<SecretPlace, KeySecretUse>,
}

/// Key, version, route, network.
type SecretPlace = (KeyId, u32, String, String);

/// One entry for each key, in the order in which they came.
struct Merged<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

impl UseWriter {
    pub fn new(store: Store, telemetry: Telemetry) -> Self {
        Self { store, telemetry, waiting: Mutex::default(), lost: AtomicU64::new(0), told: AtomicI64::new(0) }
    }

    /// Uses that no `last used` tells of, because too many waited.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Writes again and again.
    pub async fn run(&self) {
        let mut interval = tokio::time::interval(EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.write(EVERY / SHARE).await;
        }
    }

    /// Writes everything, before the process ends.
    pub async fn finish(&self) {
        self.write(Duration::MAX).await;
        let waiting = self.waiting.lock().await;
        let left = waiting.keys.order.len() + waiting.credentials.order.len() + waiting.secrets.order.len();
        if left > 0 {
            tracing::warn!(
                left,
                "the last uses of some keys and credentials could not be written; the call log has them"
            );
        }
    }

    /// Tells the database that it will not know of every network from which keys were used.
    async fn tell_lost(&self) {
        let lost = self.telemetry.networks_lost_at().map_or(0, Timestamp::micros);
        if lost > self.told.load(Relaxed) {
            match self.store.note_lost_networks(Timestamp::from_micros(lost)).await {
                Ok(()) => drop(self.told.fetch_max(lost, Relaxed)),
                Err(error) => tracing::debug!(%error, "that networks were lost waits for the database"),
            }
        }
    }

    /// Writes for so long at most; at least one batch, where there is one.
    async fn write(&self, budget: Duration) {
        self.tell_lost().await;
        let mut waiting = self.waiting.lock().await;
        self.lost.fetch_add(waiting.take_in(self.telemetry.last_use().take_deltas()), Relaxed);
        let (began, last_use) = (Instant::now(), self.telemetry.last_use());
        loop {
            let networks = last_use.take_networks(BATCH);
            let batch = waiting.next();
            if batch.is_none() && networks.is_empty() {
                return;
            }
            let mut batch = batch.unwrap_or_default();
            batch.networks.extend(networks.iter().map(|seen| KeyNetwork {
                key_id: seen.key,
                network: seen.network.to_string(),
                last_time: seen.last_time,
            }));
            if let Err(error) = self.store.record_uses(&batch).await {
                last_use.networks_not_written(&networks);
                // Behind the others, so that a batch which can never be written holds up none that can.
                self.lost.fetch_add(waiting.put_back(batch), Relaxed);
                match error {
                    StoreError::Unavailable(_) => tracing::debug!(%error, "uses wait for the database"),
                    _ => tracing::warn!(%error, "uses could not be written; they are tried again"),
                }
                return;
            }
            last_use.networks_written(&networks);
            // What tells that a secret is still needed does not wait for a next round.
            if began.elapsed() >= budget && waiting.secrets.order.is_empty() {
                return;
            }
        }
    }
}

impl Waiting {
    /// Takes in what was used; answers how many uses were lost.
    fn take_in(&mut self, deltas: UseDeltas) -> u64 {
        let keys = deltas.keys.into_iter().map(|d| KeyUse {
            key_id: d.key,
            last_time: d.last_time,
            last_source: d.last_source.to_string(),
            count: d.count,
        });
        let credentials = deltas.credentials.into_iter().map(|d| CredentialUse {
            credential: d.credential.to_string(),
            version: d.version,
            last_time: d.last_time,
            count: d.count,
        });
        let secrets = deltas.secrets.into_iter().map(|d| KeySecretUse {
            key_id: d.key,
            version: d.version,
            route: d.route.to_string(),
            source: d.source,
            last_time: d.last_time,
            count: d.count,
        });
        let lost = self.add_secrets(secrets);
        deltas.overflowed + lost + self.add(keys, credentials)
    }

    fn put_back(&mut self, batch: Uses) -> u64 {
        let lost = self.add_secrets(batch.secrets.into_iter());
        lost + self.add(batch.keys.into_iter(), batch.credentials.into_iter())
    }

    fn add_secrets(&mut self, secrets: impl Iterator<Item = KeySecretUse>) -> u64 {
        let place = |used: &KeySecretUse| (used.key_id, used.version, used.route.clone(), used.source.clone());
        let add = |used: KeySecretUse| {
            self.secrets.add(place(&used), used, |known, more| {
                known.count = known.count.saturating_add(more.count);
                known.last_time = known.last_time.max(more.last_time);
            })
        };
        secrets.map(add).sum()
    }

    fn add(&mut self, keys: impl Iterator<Item = KeyUse>, credentials: impl Iterator<Item = CredentialUse>) -> u64 {
        let mut lost = 0;
        for used in keys {
            lost += self.keys.add(used.key_id, used, |known, more| {
                known.count = known.count.saturating_add(more.count);
                if more.last_time >= known.last_time {
                    (known.last_time, known.last_source) = (more.last_time, more.last_source);
                }
            });
        }
        for used in credentials {
            lost += self.credentials.add((used.credential.clone(), used.version), used, |known, more| {
                known.count = known.count.saturating_add(more.count);
                known.last_time = known.last_time.max(more.last_time);
            });
        }
        lost
    }

    /// The batch that waited longest.
    fn next(&mut self) -> Option<Uses> {
        let (keys, credentials) = (self.keys.take(BATCH), self.credentials.take(BATCH));
        let batch = Uses { keys, credentials, networks: Vec::new(), secrets: self.secrets.take(BATCH) };
        let empty = batch.keys.is_empty() && batch.credentials.is_empty() && batch.secrets.is_empty();
        (!empty).then_some(batch)
    }
}

impl<K, V> Default for Merged<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Hash + Eq + Clone, V: Counted> Merged<K, V> {
    /// Adds an entry; answers how many uses found no room.
    fn add(&mut self, key: K, value: V, merge: impl FnOnce(&mut V, V)) -> u64 {
        if let Some(known) = self.entries.get_mut(&key) {
            merge(known, value);
            return 0;
        }
        if self.order.len() >= MOST_WAITING {
            return value.count();
        }
        self.order.push_back(key.clone());
        self.entries.insert(key, value);
        0
    }

    fn take(&mut self, most: usize) -> Vec<V> {
        let most = most.min(self.order.len());
        let taken = self.order.drain(..most).filter_map(|key| self.entries.remove(&key)).collect();
        // Keys that were once in use are no reason to keep their room.
        if self.order.is_empty() {
            (self.order, self.entries) = (VecDeque::new(), HashMap::new());
        }
        taken
    }
}

/// Something that tells of several uses.
trait Counted {
    fn count(&self) -> u64;
}

impl Counted for KeyUse {
    fn count(&self) -> u64 {
        self.count
    }
}

impl Counted for KeySecretUse {
    fn count(&self) -> u64 {
        self.count
    }
}

impl Counted for CredentialUse {
    fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use credentialflow_model::{OutcomeReason, RequestId, TraceId, UsageRecord};

    fn used(key: u64, time: i64, count: u64) -> KeyUse {
        KeyUse {
            key_id: KeyId::from_bits(key),
            last_time: Timestamp::from_micros(time),
            last_source: format!("192.0.2.{time}"),
            count,
        }
    }

    #[test]
    fn uses_of_one_key_are_one_entry_and_the_longest_wait_goes_first() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.add([used(1, 5, 2), used(2, 6, 1)].into_iter(), [].into_iter()), 0);
        assert_eq!(waiting.add([used(1, 9, 3), used(1, 7, 1)].into_iter(), [].into_iter()), 0);
        let batch = waiting.next().unwrap();
        assert_eq!(batch.keys, [used(1, 9, 6), used(2, 6, 1)]);
        assert!(waiting.next().is_none());
        waiting.put_back(batch);
        waiting.add([used(3, 1, 1), used(2, 8, 1)].into_iter(), [].into_iter());
        assert_eq!(waiting.next().unwrap().keys, [used(1, 9, 6), used(2, 8, 2), used(3, 1, 1)]);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_known_keys_always_find_some() {
        let mut waiting = Waiting::default();
        let many = (0..MOST_WAITING as u64 + 3).map(|key| used(key, 1, 2));
        assert_eq!(waiting.add(many, [].into_iter()), 6);
        assert_eq!(waiting.add([used(0, 2, 1)].into_iter(), [].into_iter()), 0);
        assert_eq!(waiting.next().unwrap().keys.len(), BATCH);
    }

    #[tokio::test]
    async fn a_round_ends_when_its_time_is_over_and_the_end_writes_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("s.db").display())).await.unwrap();
        store.migrate().await.unwrap();
        let recorder = credentialflow_telemetry::Recorder::start(credentialflow_telemetry::RecorderSettings::new(
            dir.path().join("calls"),
        ))
        .unwrap();
        let writer = UseWriter::new(store.clone(), recorder.telemetry());
        let keys = BATCH as u64 * 2 + 1;
        writer.waiting.lock().await.add((0..keys).map(|key| used(key, 1, 1)), [].into_iter());
        writer.write(Duration::ZERO).await;
        assert!(store.key_use(KeyId::from_bits(0)).await.unwrap().is_some());
        assert_eq!(store.key_use(KeyId::from_bits(keys - 1)).await.unwrap(), None);
        writer.finish().await;
        assert_eq!(store.key_use(KeyId::from_bits(keys - 1)).await.unwrap(), Some(used(keys - 1, 1, 1)));
        assert_eq!(store.key_use(KeyId::from_bits(0)).await.unwrap().unwrap().count, 1, "written once");
    }

    #[tokio::test]
    async fn networks_are_written_with_the_uses_and_wait_for_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", dir.path().join("s.db").display())).await.unwrap();
        let settings = credentialflow_telemetry::RecorderSettings::new(dir.path().join("calls"));
        let recorder = credentialflow_telemetry::Recorder::start(settings).unwrap();
        let (telemetry, sender) = (recorder.telemetry(), recorder.sender());
        let writer = UseWriter::new(store.clone(), telemetry.clone());
        let key = KeyId::from_bits(7);
        sender.send(vec![UsageRecord {
            mcp: None,
            key: Some(key),
            secret: None,
            outcome: OutcomeReason::Served,
            source: "192.0.2.7".parse().unwrap(),
            time: Timestamp::from_secs(1_800_000_000),
            request_id: RequestId(1),
            trace_id: TraceId(1),
            application: None,
            route: None,
            method: "GET".into(),
            path: "/".into(),
            upstream: None,
            endpoint: None,
            credential: None,
            status: 200,
            upstream_status: 200,
            attempts: 1,
            bytes_in: 0,
            bytes_out: 0,
            total_us: 1,
            upstream_us: 1,
            ttfb_us: 1,
            model: None,
        }]);
        assert!(recorder.flush());
        // There is no table yet.
        writer.write(Duration::MAX).await;
        assert_eq!(telemetry.last_use().networks_of(key).len(), 1);
        store.migrate().await.unwrap();
        writer.write(Duration::MAX).await;
        let stored = store.key_networks(key).await.unwrap().networks;
        assert_eq!(stored, [("192.0.2.7/32".to_owned(), Timestamp::from_secs(1_800_000_000))]);
        assert!(telemetry.last_use().networks_of(key).is_empty());
        assert_eq!(store.key_use(key).await.unwrap().unwrap().count, 1);
    }
}
