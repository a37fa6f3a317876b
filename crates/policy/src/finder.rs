//! Finds live secrets of ours in what callers send: keys we issued, and values of credentials we hold.
//!
//! A key is known by its shape, wherever it stands, then by its checksum, the key table and its keyed hash. A value is
//! known by a keyed fingerprint of its last bytes, then by a keyed hash of all of it ([`values`]). Bytes are looked at
//! once; what that costs does not grow with the number of keys or credentials.
//!
//! Only the secret as it is written out is found: not encoded (base64, percent, escapes of JSON), not compressed, not
//! in pieces. In the target of a request percent-encoding is undone first.

mod keys;
pub mod values;

pub use values::{ValueKey, ValueMark, ValueMarks};

use crate::{ApiKey, KeyTable, Principal, present::percent_decoded};
use credentialflow_model::{KeyId, Timestamp};
use std::sync::Arc;

/// Full comparisons for one request at most: what only looks like a secret of ours is looked at so often, so that nobody
/// makes a worker hash without end.
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

impl Finder<'_> {
    /// No secret that is looked for is shorter.
    pub fn shortest(&self) -> usize {
        if self.values.is_empty() { keys::SHORTEST } else { values::WINDOW }
    }

    /// A secret that stands in a text which is complete in itself, a key before a value; several only where credentials
    /// have the same value. Empty: there is none.
    pub fn find(&self, text: &[u8]) -> Vec<LiveSecret> {
        self.within(&[], text, &mut 0)
    }

    /// The same for a path or a query, of which any bytes may be percent-encoded.
    pub fn find_in_target(&self, target: &str) -> Vec<LiveSecret> {
        let found = self.find(target.as_bytes());
        if !found.is_empty() || target.len() < self.shortest() || !target.contains(['%', '+']) {
            return found;
        }
        let mut decoded = Vec::with_capacity(target.len());
        decoded.extend(percent_decoded(target));
        self.find(&decoded)
    }

    /// What stands in `text`, or begins in what came `before` it and ends in it.
    fn within(&self, before: &[u8], text: &[u8], compared: &mut u32) -> Vec<LiveSecret> {
        let mut found = Vec::new();
        if !before.is_empty() {
            let border = before.len().min(keys::LONGEST - 1);
            let mut joined = before[before.len() - border..].to_vec();
            joined.extend_from_slice(&text[..text.len().min(keys::LONGEST - 1)]);
            keys::each(&joined, |key| key.end > border && self.is_live(&joined, &key, compared, &mut found));
        }
        if found.is_empty() {
            keys::each(text, |key| self.is_live(text, &key, compared, &mut found));
        }
        if found.is_empty() {
            found = self.values.find(before, text, compared, MOST_COMPARED);
        }
        found
    }

    /// Whether this shape is a live key; its prefix is as long as the checksum says.
    fn is_live(&self, text: &[u8], shape: &keys::Shape, compared: &mut u32, found: &mut Vec<LiveSecret>) -> bool {
        if !self.keys.contains(shape.id) {
            return false;
        }
        for begin in shape.begins.clone() {
            if *compared >= MOST_COMPARED {
                return false;
            }
            *compared += 1;
            let presented = &text[begin..shape.end];
            if !keys::is_well_formed(presented) {
                continue;
            }
            if let Ok(Principal::Key(key)) = self.api_key.authenticate(presented, self.keys, self.now) {
                found.push(LiveSecret::Key { id: key.key(), version: key.version() });
                return true;
            }
        }
        false
    }
}

/// Finds secrets in a body that passes piece by piece, also where one is cut in two.
#[derive(Default)]
pub struct Passing {
    /// The end of what has passed, as long as a secret may be.
    tail: Vec<u8>,
    compared: u32,
}

impl Passing {
    /// A secret that ends in this piece, as [`Finder::find`] tells it.
    pub fn feed(&mut self, finder: &Finder<'_>, piece: &[u8]) -> Vec<LiveSecret> {
        let found = finder.within(&self.tail, piece, &mut self.compared);
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
