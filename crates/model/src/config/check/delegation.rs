//! Checks of keys that come from other keys.

use super::Checker;
use crate::{
    config::source::ItemId,
    resource::{Delegate, Key, Kind},
};

impl Checker<'_> {
    pub(super) fn delegation(&mut self, id: ItemId, key: &Key) {
        if let Some(actor) = &key.actor {
            self.person(id, "actor.name", &actor.name, 128);
            if let Some(purpose) = &actor.purpose {
                self.person(id, "actor.purpose", purpose, 1000);
            }
        }
        if let Some(subject) = &key.subject {
            self.person(id, "subject", subject, 256);
        }
        if let Some(delegate) = &key.delegate {
            if !(Delegate::SHORTEST..=Delegate::LONGEST).contains(&delegate.lifetime) {
                let detail = "keys that are issued by a key live a minute to 30 days";
                self.problem(id, "delegate.lifetime", "out_of_bounds", detail, "as in 15m, 1h or 7d");
            }
            if !(1..=Delegate::MOST_KEYS).contains(&delegate.keys) {
                let detail = "a key has 1 to 1000 keys that it issued in force";
                self.problem(id, "delegate.keys", "out_of_bounds", detail, "leave `delegate` out to allow none");
            }
            if !(1..=Delegate::MOST_DEPTH).contains(&delegate.depth) {
                let detail = "a key has 1 to 3 generations of keys that it issued";
                self.problem(id, "delegate.depth", "out_of_bounds", detail, "1: those that it issues issue none");
            }
        }
        let Some(parent) = &key.parent else { return };
        self.refers(id, "parent", Kind::Keys, parent);
        let mut ancestors = Vec::new();
        let mut next = Some(parent);
        while let Some(found) = next.and_then(|name| self.keys.get(name.as_str()).copied()) {
            if found.name == key.name || ancestors.len() > Key::MOST_ANCESTORS {
                break;
            }
            ancestors.push(found);
            next = found.parent.as_ref();
        }
        if next.is_some_and(|name| *name == key.name) {
            let hint = "the first of a chain comes from no key";
            self.problem(id, "parent", "cycle", "the key would come from itself", hint);
            return;
        }
        for wider in key.beyond(&ancestors) {
            let hint = "a key has no more than those that it comes from";
            self.problem(id, &wider.path, "wider_than_parent", wider.detail, hint);
        }
    }

    /// A text that stands in logs.
    fn person(&mut self, id: ItemId, path: &str, text: &str, most: usize) {
        if text.trim().is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
            let detail = format!("this is 1 to {most} characters, on one line");
            self.problem(id, path, "invalid_value", detail, "a name that people recognise");
        }
    }
}
