//! Numbers for application names, given once and never taken back.

use hashbrown::HashMap;
use std::sync::Arc;

/// Numbers for application names.
#[derive(Clone, Debug, Default)]
pub struct Applications {
    names: Vec<Arc<str>>,
    by_name: HashMap<Arc<str>, u32>,
}

impl Applications {
    /// The number of an application.
    pub fn slot(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }
    /// The name behind a number.
    pub fn name(&self, slot: u32) -> Option<&Arc<str>> {
        self.names.get(slot as usize)
    }
    /// How many numbers are given; all below it are.
    pub fn len(&self) -> usize {
        self.names.len()
    }
    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn intern(&mut self, name: Arc<str>) -> u32 {
        let slot = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.clone());
        self.by_name.insert(name, slot);
        slot
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let text: usize = self.names.iter().map(|name| name.len() + 16).sum();
        text + self.names.capacity() * size_of::<Arc<str>>() + self.by_name.allocation_size()
    }
}
