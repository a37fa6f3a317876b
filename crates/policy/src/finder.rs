//! Finds live secrets of ours in what callers send: keys we issued, and values of credentials we hold.
//!
//! A key is known by its shape, wherever it stands, then by its checksum, the key table and its keyed hash. A value is
//! known by keyed fingerprints of its last and its first bytes, then by a keyed hash of all of it ([`values`]). Bytes are
//! looked at once; what that costs does not grow with the number of keys or credentials.
//!
//! Only the secret as it is written out is found: not encoded (base64, percent, escapes of JSON), not compressed, not
//! in pieces. In the target of a request percent-encoding is undone first.

mod keys;
pub mod values;

pub use values::{ValueKey, ValueMark, ValueMarks};

use crate::{ApiKey, KeyTable, Principal, present::percent_decoded};
use credentialflow_model::{KeyId, Timestamp};
use std::sync::Arc;

/// Full comparisons of keys for one request at most: what only looks like a secret of ours is looked at so often, so that
/// nobody makes a worker hash without end. Values have a measure of their own.
const MOST_COMPARED: u32 = 1000;

/// A live secret of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LiveSecret {
    /// The secret of a key we issued.
    Key {
        /// Which key.
        id: KeyId,
        /// Which of its secrets.
        version: u32,
    },
    /// A value of a credential we hold.
    Value {
        /// The credential's name.
        credential: Arc<str>,
        /// Its version.
        version: u32,
    },
}

/// What is looked for, at one time.
#[derive(Clone, Copy)]
pub struct Finder<'a> {
    /// Verifies keys.
    pub api_key: &'a ApiKey,
    /// The keys we issued.
    pub keys: &'a KeyTable,
    /// Values of credentials.
    pub values: &'a ValueMarks,
    /// Keys that are expired now are nobody's secret any more.
    pub now: Timestamp,
}

/// What one request may cost, and what it has.
#[derive(Default)]
struct Spent {
    keys: u32,
    values: values::Spent,
}

impl Finder<'_> {
    /// No secret that is looked for is shorter.
    pub fn shortest(&self) -> usize {
        if self.values.is_empty() { keys::SHORTEST } else { values::WINDOW }
    }

    /// Secrets that stand in a text which is complete in itself, keys before values, until there are `most`, and those
    /// that have the same value as the last. Each is told once. Empty: there is none.
    pub fn find(&self, most: usize, text: &[u8]) -> Vec<LiveSecret> {
        let mut found = Vec::new();
        self.within(&[], text, &mut Spent::default(), most, &mut found);
        found
    }

    /// The same for a path or a query, of which any bytes may be percent-encoded, and in which `+` may stand for a space.
    pub fn find_in_target(&self, most: usize, target: &str) -> Vec<LiveSecret> {
        let (mut found, mut spent) = (Vec::new(), Spent::default());
        each_meaning(target, self.shortest(), |text| self.within(&[], text, &mut spent, most, &mut found));
        found
    }

    /// Whether a value of a credential stands in a path or a query.
    pub fn value_in_target(&self, target: &str) -> bool {
        let (mut found, mut spent) = (Vec::new(), values::Spent::default());
        if !self.values.is_empty() {
            each_meaning(target, values::WINDOW, |text| self.values.find(&[], text, &mut spent, 1, &mut found));
        }
        !found.is_empty()
    }

    /// Keys other than this one, `most` of them, in a header's value or a query that may hold it. That costs no comparison
    /// of the key itself.
    pub fn keys_but(&self, own: KeyId, most: usize, target: &str) -> Vec<LiveSecret> {
        let (mut found, mut spent) = (Vec::new(), Spent::default());
        each_meaning(target, keys::SHORTEST, |text| {
            keys::each(text, |key| key.id != own && self.takes(text, &key, &mut spent, most, &mut found));
        });
        found
    }

    /// What stands in `text`, or begins in what came `before` it and ends in it.
    fn within(&self, before: &[u8], text: &[u8], spent: &mut Spent, most: usize, found: &mut Vec<LiveSecret>) {
        if !before.is_empty() && found.len() < most {
            let border = before.len().min(keys::LONGEST - 1);
            let mut joined = before[before.len() - border..].to_vec();
            joined.extend_from_slice(&text[..text.len().min(keys::LONGEST - 1)]);
            keys::each(&joined, |key| key.end > border && self.takes(&joined, &key, spent, most, found));
        }
        if found.len() < most {
            keys::each(text, |key| self.takes(text, &key, spent, most, found));
        }
        self.values.find(before, text, &mut spent.values, most, found);
    }

    /// Adds the key that this shape is, if it is live; its prefix is as long as the checksum says. Whether that is enough.
    fn takes(
        &self,
        text: &[u8],
        shape: &keys::Shape,
        spent: &mut Spent,
        most: usize,
        found: &mut Vec<LiveSecret>,
    ) -> bool {
        if !self.keys.contains(shape.id) {
            return false;
        }
        for begin in shape.begins.clone() {
            if spent.keys >= MOST_COMPARED {
                return true;
            }
            spent.keys += 1;
            let presented = &text[begin..shape.end];
            if !keys::is_well_formed(presented) {
                continue;
            }
            if let Ok(Principal::Key(key)) = self.api_key.authenticate(presented, self.keys, self.now) {
                add(found, LiveSecret::Key { id: key.key(), version: key.version() });
                return found.len() >= most;
            }
        }
        false
    }
}

fn add(found: &mut Vec<LiveSecret>, secret: LiveSecret) {
    if !found.contains(&secret) {
        found.push(secret);
    }
}

/// Shows a path or a query as it is written, without its escapes, and with `+` for spaces, as far as these differ and are
/// not too short.
fn each_meaning(target: &str, shortest: usize, mut look: impl FnMut(&[u8])) {
    if target.len() < shortest {
        return;
    }
    look(target.as_bytes());
    let (escaped, plus) = (target.contains('%'), target.contains('+'));
    if !escaped && !plus {
        return;
    }
    let mut meant = Vec::with_capacity(target.len());
    if escaped {
        meant.extend(percent_decoded(target, b'+'));
        look(&meant);
        meant.clear();
    }
    if plus {
        meant.extend(percent_decoded(target, b' '));
        look(&meant);
    }
}

/// Finds secrets in a body that passes piece by piece, also where one is cut in two.
#[derive(Default)]
pub struct Passing {
    /// The end of what has passed, as long as a secret may be.
    tail: Vec<u8>,
    spent: Spent,
}

impl Passing {
    /// Secrets that end in this piece, as [`Finder::find`] tells them.
    pub fn feed(&mut self, finder: &Finder<'_>, most: usize, piece: &[u8]) -> Vec<LiveSecret> {
        let mut found = Vec::new();
        finder.within(&self.tail, piece, &mut self.spent, most, &mut found);
        let keep = keys::LONGEST.max(finder.values.longest()) - 1;
        if piece.len() >= keep {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - keep..]);
        } else {
            let over = (self.tail.len() + piece.len()).saturating_sub(keep);
            self.tail.drain(..over);
            self.tail.extend_from_slice(piece);
        }
        found
    }
}

#[cfg(test)]
mod tests;
