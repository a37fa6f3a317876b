//! Lists, maps and structs as serde walks through them.

use super::{
    super::node::{Entry, Node},
    super::report::{known_words, shown},
    DecodeError, Path, State, address,
    at::At,
    stand_in::StandIn,
};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, value::StrDeserializer};
use std::{iter::Enumerate, slice::Iter};

/// The items of a list, without those known to be wrong.
pub(super) struct Items<'a> {
    pub at: At<'a>,
    pub items: Enumerate<Iter<'a, Node<'a>>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let At { path, work, .. } = self.at;
        let Some((index, node)) = self.items.find(|(_, n)| !work.state.borrow().marked.contains_key(&address(n)))
        else {
            return Ok(None);
        };
        let path = Path::Index(path, index);
        let at = At { node, path: &path, work };
        at.settle(seed.deserialize(at)).map(Some)
    }
}

/// The entries of a map whose keys are free.
pub(super) struct Map<'a> {
    pub at: At<'a>,
    pub entries: Iter<'a, Entry<'a>>,
    pub value: Option<&'a Entry<'a>>,
}

impl<'de> MapAccess<'de> for Map<'_> {
    type Error = DecodeError;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        self.value = self.entries.next();
        self.value.map(|entry| seed.deserialize(StrDeserializer::new(&entry.key))).transpose()
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let entry = self.value.take().ok_or(DecodeError::Noted)?;
        let path = Path::Key(self.at.path, &entry.key);
        let at = At { node: &entry.value, path: &path, work: self.at.work };
        at.settle(seed.deserialize(at))
    }
}

/// The fields of a struct: unknown ones are recorded and skipped, missing ones that are already
/// recorded get a stand-in.
pub(super) struct Fields<'a> {
    at: At<'a>,
    entries: Iter<'a, Entry<'a>>,
    known: &'static [&'static str],
    missing: usize,
    value: Next<'a>,
}

#[derive(Clone, Copy)]
enum Next<'a> {
    None,
    Entry(&'a Entry<'a>),
    Missing(usize),
}

impl<'a> Fields<'a> {
    pub fn new(at: At<'a>, entries: &'a [Entry<'a>], known: &'static [&'static str]) -> Self {
        Self { at, entries: entries.iter(), known, missing: 0, value: Next::None }
    }

    fn skip_unknown(&self, entry: &Entry<'_>) {
        if !self.at.work.state.borrow_mut().unknown.insert(address(&entry.value)) {
            return;
        }
        let named = shown(&entry.key);
        let below = if named.starts_with('`') { &*entry.key } else { "?" };
        let detail = format!("the field {named} is not known here");
        self.at.record(below, entry.at, "unknown_field", detail, Some(known_words(&entry.key, self.known)));
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = DecodeError;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        while let Some(entry) = self.entries.next() {
            if self.known.contains(&&*entry.key) {
                self.value = Next::Entry(entry);
                return seed.deserialize(StrDeserializer::new(&entry.key)).map(Some);
            }
            self.skip_unknown(entry);
        }
        let state = self.at.work.state.borrow();
        let Some((field, _)) = state.missing.get(&address(self.at.node)).and_then(|m| m.get(self.missing)) else {
            return Ok(None);
        };
        self.value = Next::Missing(self.missing);
        self.missing += 1;
        seed.deserialize(StrDeserializer::new(field)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Next::None => Err(DecodeError::Noted),
            Next::Entry(entry) => {
                let path = Path::Key(self.at.path, &entry.key);
                let at = At { node: &entry.value, path: &path, work: self.at.work };
                at.settle(seed.deserialize(at))
            }
            Next::Missing(index) => {
                let id = address(self.at.node);
                let state = &self.at.work.state;
                let stand_in = state.borrow().missing.get(&id).and_then(|m| m.get(index)).map_or(0, |m| m.1);
                seed.deserialize(StandIn(stand_in)).map_err(|_| {
                    let State { missing, given_up, .. } = &mut *state.borrow_mut();
                    if let Some((_, stand_in)) = missing.get_mut(&id).and_then(|m| m.get_mut(index)) {
                        State::next(stand_in, given_up);
                    }
                    DecodeError::Noted
                })
            }
        }
    }
}
