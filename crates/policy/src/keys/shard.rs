//! A small sorted piece of the table. Built once, then only read.

use super::{BITS, Entry};

/// How far a wrong guess is corrected step by step before the list is halved instead.
const WALK: usize = 16;

#[derive(Default)]
pub(super) struct Shard {
    /// Mixed ids, ascending; apart from the entries so that a search touches one or two cache lines.
    ids: Box<[u64]>,
    entries: Box<[Entry]>,
}

/// A change to the key with this mixed id: its new entry, or none.
pub(super) struct Delta {
    pub id: u64,
    pub entry: Option<Entry>,
}

impl Shard {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn get(&self, id: u64) -> Option<&Entry> {
        self.position(id).map(|at| &self.entries[at])
    }

    /// Guesses the place, as ids are evenly spread, and walks from there.
    fn position(&self, id: u64) -> Option<usize> {
        let within = u128::from(id << (2 * BITS));
        let mut at = ((within * self.ids.len() as u128) >> 64) as usize;
        for _ in 0..WALK {
            match self.ids.get(at)?.cmp(&id) {
                std::cmp::Ordering::Equal => return Some(at),
                std::cmp::Ordering::Less => {
                    at += 1;
                    if self.ids.get(at).is_none_or(|next| *next > id) {
                        return None;
                    }
                }
                std::cmp::Ordering::Greater => {
                    at = at.checked_sub(1)?;
                    if self.ids[at] < id {
                        return None;
                    }
                }
            }
        }
        self.ids.binary_search(&id).ok()
    }

    /// This shard with changes, given as sorted pairs of id and position in `deltas`; of several for
    /// one id the last counts.
    pub fn with(&self, order: &[(u64, u32)], deltas: &mut [Delta]) -> Self {
        let mut ids = Vec::with_capacity(self.len() + order.len());
        let mut entries = Vec::with_capacity(self.len() + order.len());
        let mut old = self.ids.iter().zip(&self.entries).peekable();
        for same_id in order.chunk_by(|a, b| a.0 == b.0) {
            let (id, last) = same_id[same_id.len() - 1];
            while let Some((kept, entry)) = old.next_if(|(kept, _)| **kept < id) {
                ids.push(*kept);
                entries.push(entry.clone());
            }
            old.next_if(|(replaced, _)| **replaced == id);
            if let Some(entry) = deltas[last as usize].entry.take() {
                ids.push(id);
                entries.push(entry);
            }
        }
        for (kept, entry) in old {
            ids.push(*kept);
            entries.push(entry.clone());
        }
        Self { ids: ids.into_boxed_slice(), entries: entries.into_boxed_slice() }
    }

    pub fn memory_bytes(&self) -> usize {
        let apart: usize = self.entries.iter().map(Entry::memory_bytes).sum();
        size_of::<Self>() + 16 + size_of_val(&*self.ids) + size_of_val(&*self.entries) + apart
    }
}
