//! Names become small numbers: the same route, application or model name always gets the same id.
//!
//! Records share their names by `Arc` with the snapshot they came from, so most look-ups are one pointer
//! comparison. Bounded: when full, new names get no id and the users fall back (the call log writes the text
//! itself, metrics count under `other`).

use std::{collections::HashMap, sync::Arc};

/// Ids given out at most; callers can make up names (models, methods), so there is a limit.
const MAX_NAMES: usize = 1 << 16;
/// Slots of the pointer cache.
const CACHE: usize = 512;

/// A name's id; dense, from 0.
pub(crate) type NameId = u32;

/// Gives ids to names.
pub(crate) struct Interner {
    ids: HashMap<Arc<str>, NameId>,
    names: Vec<(Arc<str>, u64)>,
    /// Holds the `Arc`s, so an address cannot be given to another name while it is in here.
    cache: Vec<Option<(Arc<str>, NameId)>>,
    max: usize,
}

impl Interner {
    pub fn new() -> Self {
        Self::with_max(MAX_NAMES)
    }

    pub fn with_max(max: usize) -> Self {
        Self { ids: HashMap::new(), names: Vec::new(), cache: vec![None; CACHE], max }
    }

    /// The name's id; `None` when the name is new and there is no room.
    #[inline]
    pub fn id(&mut self, name: &Arc<str>) -> Option<NameId> {
        let address = name.as_ptr() as usize;
        // Arcs are at least 8 bytes apart and usually more; the fold spreads them over the slots.
        let slot = (address >> 4 ^ address >> 13) % CACHE;
        if let Some((known, id)) = &self.cache[slot]
            && Arc::ptr_eq(known, name)
        {
            return Some(*id);
        }
        self.slow(name, slot)
    }

    #[cold]
    fn slow(&mut self, name: &Arc<str>, slot: usize) -> Option<NameId> {
        let id = match self.ids.get(name) {
            Some(id) => *id,
            None if self.names.len() < self.max => {
                let id = self.names.len() as NameId;
                self.names.push((name.clone(), stable_hash(name.as_bytes())));
                self.ids.insert(name.clone(), id);
                id
            }
            None => return None,
        };
        self.cache[slot] = Some((name.clone(), id));
        Some(id)
    }

    /// The name of an id.
    pub fn name(&self, id: NameId) -> &Arc<str> {
        &self.names[id as usize].0
    }

    /// The [`stable_hash`] of an id's name.
    #[inline]
    pub fn hash(&self, id: NameId) -> u64 {
        self.names[id as usize].1
    }

    /// Whether more than half of the room is used, so that starting afresh is worth while.
    pub fn is_crowded(&self) -> bool {
        self.names.len() > self.max / 2
    }
}

/// A hash that is the same in every process and version, because it is stored. FNV-1a, then mixed. Not keyed:
/// a caller who makes names collide makes their own searches slower.
pub(crate) fn stable_hash(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)))
}

/// Spreads a number over all 64 bits (the finaliser of MurmurHash3). Stored too, so it may not change.
#[inline]
pub(crate) fn mix(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ h >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_share_an_id_whatever_their_address() {
        let mut names = Interner::with_max(2);
        let (a, b): (Arc<str>, Arc<str>) = ("orders".into(), "orders".into());
        assert_eq!(names.id(&a), Some(0));
        assert_eq!(names.id(&b), Some(0));
        assert_eq!(names.id(&"billing".into()), Some(1));
        assert_eq!(names.id(&"one too many".into()), None);
        assert_eq!(names.id(&a), Some(0), "known names stay known when it is full");
        assert_eq!(&**names.name(1), "billing");
    }

    #[test]
    fn the_stored_hash_never_changes() {
        assert_eq!(stable_hash(b""), mix(0xcbf2_9ce4_8422_2325));
        assert_eq!(stable_hash(b"orders"), 0x32520fbdb4dad5b9);
    }
}
