//! A bounded table of values by name, reached by the name's id without hashing.

use crate::intern::{Interner, NameId};
use std::{collections::HashMap, sync::Arc};

/// The name that stands for all names for which there was no room.
pub(crate) const OTHER: &str = "other";

const UNKNOWN: u32 = u32::MAX;

/// Values by name; at most `max` names, all further ones share the value of [`OTHER`].
#[derive(Debug)]
pub(crate) struct Slots<T> {
    /// Slot by name id; only a shortcut for `by_name`.
    by_id: Vec<u32>,
    by_name: HashMap<Arc<str>, u32>,
    items: Vec<(Arc<str>, T)>,
    max: usize,
}

impl<T: Default> Slots<T> {
    pub fn new(max: usize) -> Self {
        Self { by_id: Vec::new(), by_name: HashMap::new(), items: Vec::new(), max }
    }

    /// The value of a name; `None` means a name without an id.
    #[inline]
    pub fn get(&mut self, id: Option<NameId>, names: &Interner) -> &mut T {
        let slot = match id {
            Some(id) => match self.by_id.get(id as usize) {
                Some(slot) if *slot != UNKNOWN => *slot,
                _ => self.resolve(id, names),
            },
            None => self.slot(&OTHER.into()),
        };
        &mut self.items[slot as usize].1
    }

    #[cold]
    fn resolve(&mut self, id: NameId, names: &Interner) -> u32 {
        let slot = self.slot(names.name(id));
        if self.by_id.len() <= id as usize {
            self.by_id.resize(id as usize + 1, UNKNOWN);
        }
        self.by_id[id as usize] = slot;
        slot
    }

    fn slot(&mut self, name: &Arc<str>) -> u32 {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        if self.items.len() >= self.max && &**name != OTHER {
            return self.slot(&OTHER.into());
        }
        let slot = self.items.len() as u32;
        self.items.push((name.clone(), T::default()));
        self.by_name.insert(name.clone(), slot);
        slot
    }

    /// All names and their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.items.iter().map(|(name, value)| (&**name, value))
    }

    /// How many names there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Forgets which id a name had; to be called when the [`Interner`] starts afresh.
    pub fn forget_ids(&mut self) {
        self.by_id.clear();
    }
}
