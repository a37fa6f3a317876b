//! The keys we issued, as the request path knows them: millions, compact, replaced but never edited.
//!
//! A table is a tree of 128 groups of 128 shards; a shard is a sorted list of mixed key ids and a list
//! of entries. A change copies one group's pointers and one shard (about sixty keys in a million),
//! everything else is shared with the table before, so publishing one change costs microseconds.
//! Ids are random, so a shard is searched by guessing the place: constant cost at any size.
//!
//! Revoked keys are simply not here. The table holds keyed hashes, never a secret.

mod applications;
mod extras;
mod pepper;
mod record;
mod shard;

pub use applications::Applications;
pub use extras::{KeyExtras, ParentKey};
pub use pepper::{Peppers, UnknownPepper};
pub use record::{KeyChange, KeyRecord, KeySecret};

pub(crate) use record::{Entry, StoredSecret};

use crate::principal::Ancestor;
use credentialflow_model::{KeyId, Name, resource::Key};
use shard::{Delta, Shard};
use std::sync::Arc;

const BITS: u32 = 7;
const FAN: usize = 1 << BITS;

type Group = [Arc<Shard>; FAN];

/// The keys we issued. Cheap to clone; a clone and its origin never influence each other.
#[derive(Clone)]
pub struct KeyTable {
    groups: Arc<[Arc<Group>]>,
    applications: Arc<Applications>,
    len: usize,
}

impl KeyTable {
    /// A table without keys.
    pub fn empty() -> Self {
        let shard = Arc::new(Shard::default());
        let group: Arc<Group> = Arc::new(std::array::from_fn(|_| shard.clone()));
        Self { groups: (0..FAN).map(|_| group.clone()).collect(), applications: Arc::default(), len: 0 }
    }

    /// A table of these keys. Of several records with one id the last counts.
    pub fn from_records(records: impl IntoIterator<Item = KeyRecord>) -> Self {
        Self::empty().with_changes(records.into_iter().map(KeyChange::Put))
    }

    /// This table with changes applied in order; this one stays as it is.
    #[must_use]
    pub fn with_changes(&self, changes: impl IntoIterator<Item = KeyChange>) -> Self {
        let mut applications = self.applications.clone();
        let mut deltas: Vec<Delta> = changes
            .into_iter()
            .map(|change| match change {
                KeyChange::Put(record) => {
                    let application = intern(&mut applications, &record.application);
                    Delta { id: mix(record.id), entry: Some(Entry::new(record, application)) }
                }
                KeyChange::Remove(id) => Delta { id: mix(id), entry: None },
            })
            .collect();
        // Small pairs are sorted instead of the entries; the position decides which change is last.
        let mut order: Vec<(u64, u32)> = deltas.iter().zip(0..).map(|(delta, i)| (delta.id, i)).collect();
        order.sort_unstable();
        let (mut groups, mut len) = (self.groups.to_vec(), self.len);
        for in_group in order.chunk_by(|a, b| group_of(a.0) == group_of(b.0)) {
            let place = group_of(in_group[0].0);
            let mut group: Group = (*groups[place]).clone();
            for in_shard in in_group.chunk_by(|a, b| shard_of(a.0) == shard_of(b.0)) {
                let old = &mut group[shard_of(in_shard[0].0)];
                let new = old.with(in_shard, &mut deltas);
                len = len - old.len() + new.len();
                *old = Arc::new(new);
            }
            groups[place] = Arc::new(group);
        }
        Self { groups: groups.into(), applications, len }
    }

    /// This table with numbers for these applications too, whether or not they have keys.
    #[must_use]
    pub fn with_applications<'a>(&self, names: impl IntoIterator<Item = &'a Name>) -> Self {
        let mut applications = self.applications.clone();
        for name in names {
            intern(&mut applications, name);
        }
        Self { groups: self.groups.clone(), applications, len: self.len }
    }

    /// The numbers of applications. They only grow: a number never changes its meaning.
    pub fn applications(&self) -> &Applications {
        &self.applications
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is such a key (revoked ones are not here; expired ones are).
    pub fn contains(&self, id: KeyId) -> bool {
        self.entry(id).is_some()
    }

    /// The keys that one comes from, the nearest first; `None` where one of them is not in force any more, so that it is
    /// not either. Looks up as many as there are, which are few; a key that comes from no other costs nothing.
    pub(crate) fn ancestors(&self, entry: &Entry, now: i64) -> Option<Vec<Ancestor>> {
        let parent_of = |entry: &Entry| entry.extras.as_ref().and_then(|extras| extras.parent());
        let (mut found, mut next) = (Vec::new(), parent_of(entry));
        while let Some(ParentKey { key, version }) = next {
            let above = self.entry(key)?;
            let in_force = above.is_timely(now) && above.secrets().any(|secret| secret.is_timely(now));
            if found.len() == Key::MOST_ANCESTORS || !in_force || above.application != entry.application {
                return None;
            }
            found.push(Ancestor { key, version, extras: above.extras.clone() });
            next = parent_of(above);
        }
        Some(found)
    }

    /// The application a key speaks for.
    pub fn application_of(&self, id: KeyId) -> Option<&Arc<str>> {
        self.applications.name(self.entry(id)?.application)
    }

    /// Whether this secret of the key is one it still has; for cutting off running requests. Does not
    /// look at times.
    pub fn has_version(&self, id: KeyId, version: u32) -> bool {
        self.entry(id).is_some_and(|entry| entry.secrets().any(|secret| secret.version == version))
    }

    /// Bytes held, by arithmetic over what is allocated: pointers, shards, entries, second secrets,
    /// extras, application names.
    pub fn memory_bytes(&self) -> usize {
        let groups: usize = self.groups.iter().map(|g| size_of::<Arc<Group>>() + size_of_val(&**g)).sum();
        let shards = self.groups.iter().flat_map(|group| group.iter());
        groups + shards.map(|shard| shard.memory_bytes()).sum::<usize>() + self.applications.memory_bytes()
    }

    pub(crate) fn entry(&self, id: KeyId) -> Option<&Entry> {
        let id = mix(id);
        self.groups[group_of(id)][shard_of(id)].get(id)
    }
}

impl Default for KeyTable {
    fn default() -> Self {
        Self::empty()
    }
}

impl std::fmt::Debug for KeyTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyTable({} keys)", self.len)
    }
}

fn intern(applications: &mut Arc<Applications>, name: &Name) -> u32 {
    applications.slot(name.as_str()).unwrap_or_else(|| Arc::make_mut(applications).intern(name.shared()))
}

/// Spreads ids evenly also where they are not random (tests, imports). An odd factor loses nothing.
fn mix(id: KeyId) -> u64 {
    id.bits().wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn group_of(mixed: u64) -> usize {
    (mixed >> (64 - BITS)) as usize
}

fn shard_of(mixed: u64) -> usize {
    (mixed >> (64 - 2 * BITS)) as usize & (FAN - 1)
}

#[cfg(test)]
mod tests;
