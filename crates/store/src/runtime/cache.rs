//! Rows of the run-time tables in memory, still sealed. Bounded by bytes; knows nothing about SQL.
//!
//! Two generations: what is used moves to the young one; when that holds half of the shard's share,
//! the old one is dropped. A shard counts its changes, so that a value read before a change is not put
//! in after it.

use super::TokenRow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 64;
/// All shards together.
const BYTES: usize = 64 << 20;
/// What a row costs besides its own bytes.
const OVERHEAD: usize = 160;

#[derive(Clone)]
pub(crate) enum Cached {
    Entry(Arc<[u8]>, i64),
    Token(Arc<TokenRow>),
    /// It was looked for, and there is nothing.
    Nothing,
}

impl Cached {
    fn size(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Entry(bytes, _) => bytes.len(),
                Self::Nothing => 0,
                Self::Token(row) => row.sealed.len() + row.path.len() + 200,
            }
    }
}

pub(crate) struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

#[derive(Default)]
struct Shard {
    changes: u64,
    young: HashMap<Box<str>, Cached>,
    old: HashMap<Box<str>, Cached>,
    young_bytes: usize,
}

/// How many changes a shard had counted.
#[derive(Clone, Copy)]
pub(crate) struct Mark(u64);

impl Cache {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    fn place(&self, key: &str) -> usize {
        self.hasher.hash_one(key) as usize % SHARDS
    }

    fn at(&self, place: usize) -> MutexGuard<'_, Shard> {
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        self.at(self.place(key))
    }

    /// The row, or the mark to put it in with after it was read.
    pub(crate) fn get(&self, key: &str) -> Result<Cached, Mark> {
        let mut shard = self.shard(key);
        if let Some(found) = shard.young.get(key) {
            return Ok(found.clone());
        }
        match shard.old.remove_entry(key) {
            Some((key, found)) => {
                shard.put(key, found.clone());
                Ok(found)
            }
            None => Err(Mark(shard.changes)),
        }
    }

    pub(crate) fn mark(&self, key: &str) -> Mark {
        Mark(self.shard(key).changes)
    }

    /// Puts in a row that was read, unless something of its shard changed since the mark.
    pub(crate) fn insert(&self, key: &str, value: Cached, mark: Mark) {
        let mut shard = self.shard(key);
        if shard.changes == mark.0 {
            shard.forget(key);
            shard.put(key.into(), value);
        }
    }

    /// Takes over what a transaction made of its rows (`None`: gone). The marks are from before the
    /// transaction; a row of a shard that somebody else changed since is only forgotten.
    pub(crate) fn replace(&self, rows: impl IntoIterator<Item = (String, Option<Cached>, Mark)>) {
        let mut own = [0u64; SHARDS];
        for (key, value, mark) in rows {
            let place = self.place(&key);
            let mut shard = self.at(place);
            let alone = shard.changes == mark.0 + own[place];
            shard.changes += 1;
            own[place] += 1;
            shard.forget(&key);
            if let Some(value) = value.filter(|_| alone) {
                shard.put(key.into(), value);
            }
        }
    }

    pub(crate) fn remove(&self, key: &str) {
        let mut shard = self.shard(key);
        shard.changes += 1;
        shard.forget(key);
    }

    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let changes = shard.changes + 1;
            *shard = Shard { changes, ..Shard::default() };
        }
    }
}

impl Shard {
    fn forget(&mut self, key: &str) {
        if let Some(gone) = self.young.remove(key) {
            self.young_bytes = self.young_bytes.saturating_sub(key.len() + gone.size());
        }
        self.old.remove(key);
    }

    fn put(&mut self, key: Box<str>, value: Cached) {
        let size = key.len() + value.size();
        if size > BYTES / SHARDS / 4 {
            return;
        }
        if let Some(before) = self.young.get(&key) {
            self.young_bytes = self.young_bytes.saturating_sub(key.len() + before.size());
        }
        self.young_bytes += size;
        self.young.insert(key, value);
        if self.young_bytes > BYTES / SHARDS / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(cache: &Cache, key: &str) -> Option<i64> {
        match cache.get(key) {
            Ok(Cached::Entry(_, revision)) => Some(revision),
            _ => None,
        }
    }

    #[test]
    fn what_was_read_before_a_removal_does_not_come_back_after_it() {
        let cache = Cache::new();
        let Err(mark) = cache.get("a") else { panic!("nothing is there yet") };
        cache.remove("a");
        cache.insert("a", Cached::Entry(Arc::from([1].as_slice()), 1), mark);
        assert_eq!(entry(&cache, "a"), None);
        let mark = cache.mark("a");
        cache.insert("a", Cached::Entry(Arc::from([1].as_slice()), 2), mark);
        assert_eq!(entry(&cache, "a"), Some(2));
        cache.clear();
        assert_eq!(entry(&cache, "a"), None);
    }

    #[test]
    fn what_a_transaction_wrote_is_never_hidden_by_what_was_there_before() {
        let cache = Cache::new();
        let value = |revision| Cached::Entry(Arc::from([1].as_slice()), revision);
        let keys: Vec<String> = (0..1000).map(|i| format!("k{i}")).collect();
        for key in &keys {
            cache.insert(key, value(1), cache.mark(key));
        }
        // Many rows of one shard in one transaction, removals among them.
        let rows: Vec<_> = keys.iter().map(|k| (k.clone(), cache.mark(k))).collect();
        let changed = rows.into_iter().enumerate().map(|(i, (k, mark))| (k, (i % 3 > 0).then(|| value(2)), mark));
        cache.replace(changed);
        for (i, key) in keys.iter().enumerate() {
            assert_eq!(entry(&cache, key), (i % 3 > 0).then_some(2));
        }
        // A reader that looked before the transaction does not bring the old value back.
        let (seen, before) = (cache.mark("k1"), cache.mark("k1"));
        cache.replace([("k1".to_owned(), Some(value(3)), before)]);
        cache.insert("k1", value(2), seen);
        assert_eq!(entry(&cache, "k1"), Some(3));
        // Another writer came between: forgotten, not kept as it was.
        let before = cache.mark("k1");
        cache.remove("k1");
        cache.replace([("k1".to_owned(), Some(value(4)), before)]);
        assert_eq!(entry(&cache, "k1"), None);
    }

    #[test]
    fn memory_stays_within_its_bound() {
        let cache = Cache::new();
        for i in 0..200_000 {
            let key = format!("{i}");
            let mark = cache.mark(&key);
            cache.insert(&key, Cached::Entry(Arc::from([0u8; 1000].as_slice()), 1), mark);
        }
        let held: usize = cache
            .shards
            .iter()
            .map(|s| {
                let s = s.lock().unwrap();
                s.young.iter().chain(&s.old).map(|(k, v)| k.len() + v.size()).sum::<usize>()
            })
            .sum();
        assert!(held <= BYTES + SHARDS * 2000, "{held}");
        assert!(held > BYTES / 4);
    }
}
