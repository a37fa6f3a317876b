//! Finds live secrets of ours in what passes: keys we issued, and values of credentials we hold.
//!
//! A key is known by its shape, wherever it stands, then by its checksum, the key table and its keyed hash. A value is
//! known by keyed fingerprints of its last and its first bytes, then by a keyed hash of all of it ([`values`]). Bytes are
//! looked at once; what that costs does not grow with the number of keys or credentials.
//!
//! Only the secret as it is written out is found: not encoded (base64, percent, escapes of JSON), not compressed, not
//! in pieces. In the target of a request percent-encoding is undone first.

mod blanking;
mod keys;
mod passing;
pub mod values;
mod windows;

pub use blanking::Blanking;
pub use passing::Passing;
pub use values::{ValueKey, ValueMark, ValueMarks};

use crate::{ApiKey, KeyTable, Principal, present::percent_decoded};
use credentialflow_model::{KeyId, Timestamp};
use std::{ops::Range, sync::Arc};

/// Full comparisons of keys in one search at most: what only looks like a secret of ours is looked at so often, so that
/// nobody makes a worker hash without end. Values have a measure of their own. A search that ends for it says so.
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

/// What was found in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Which secrets, each once.
    pub secrets: Vec<LiveSecret>,
    /// Whether the search ended before the text did: too much of it only looked like secrets of ours.
    pub gave_up: bool,
}

impl Found {
    /// Whether all of the text was looked at, and there is nothing.
    pub fn is_nothing(&self) -> bool {
        self.secrets.is_empty() && !self.gave_up
    }
}

/// One place of a text where a secret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose.
    pub secret: LiveSecret,
    /// From where to where, in bytes.
    pub range: Range<usize>,
    /// What of it nobody may see: of a key the part behind its id.
    pub hidden: Range<usize>,
}

/// What one search may cost, and what it has.
#[derive(Default)]
struct Spent {
    keys: u32,
    values: values::Spent,
}

/// Where a secret stands: so many bytes that end there, and those of them at the end that nobody may see. It may begin in
/// what came before the text.
struct Span {
    secret: LiveSecret,
    end: usize,
    length: usize,
    hidden: usize,
}

/// What a search has met.
struct Hits {
    /// So many are enough.
    most: usize,
    secrets: Vec<LiveSecret>,
    /// Every occurrence, where they are asked for: none is enough then.
    spans: Option<Vec<Span>>,
    /// What only looks like a secret after as many were compared as may be, where the search goes on to tell that.
    alike: Option<Vec<Alike>>,
    gave_up: bool,
}

/// Something that nobody compared: so many bytes before its end may be a secret.
struct Alike {
    /// The key that it would be of.
    key: Option<KeyId>,
    end: usize,
    hidden: usize,
}

impl Hits {
    fn of(most: usize) -> Self {
        Self { most, secrets: Vec::new(), spans: None, alike: None, gave_up: false }
    }

    fn everywhere() -> Self {
        Self { spans: Some(Vec::new()), ..Self::of(usize::MAX) }
    }

    /// The search does not end early: what is not compared any more is told as well.
    fn to_blank() -> Self {
        Self { alike: Some(Vec::new()), ..Self::everywhere() }
    }

    /// Meets something that is not compared any more. Whether the search ends.
    fn meet_alike(&mut self, alike: Alike) -> bool {
        self.gave_up = true;
        match &mut self.alike {
            Some(all) => all.push(alike),
            None => return true,
        }
        false
    }

    fn enough(&self) -> bool {
        self.spans.is_none() && self.secrets.len() >= self.most
    }

    fn add(&mut self, span: Span) {
        match &mut self.spans {
            Some(spans) => spans.push(span),
            None => add(&mut self.secrets, span.secret),
        }
    }

    fn found(self) -> Found {
        Found { secrets: self.secrets, gave_up: self.gave_up }
    }
}

impl Finder<'_> {
    /// No secret that is looked for is shorter.
    pub fn shortest(&self) -> usize {
        if self.values.is_empty() { keys::SHORTEST } else { values::WINDOW }
    }

    /// Secrets that stand in a text which is complete in itself, keys before values, until there are `most`, and those
    /// that have the same value as the last.
    pub fn find(&self, most: usize, text: &[u8]) -> Found {
        let mut hits = Hits::of(most);
        self.within(&[], text, &mut Spent::default(), &mut hits);
        hits.found()
    }

    /// The same for a path or a query, of which any bytes may be percent-encoded, and in which `+` may stand for a space.
    pub fn find_in_target(&self, most: usize, target: &str) -> Found {
        let (mut hits, mut spent) = (Hits::of(most), Spent::default());
        each_meaning(target, self.shortest(), |text| self.within(&[], text, &mut spent, &mut hits));
        hits.found()
    }

    /// Every place of a text where a secret stands, in order of their ends, and whether the search ended early.
    pub fn places(&self, text: &[u8]) -> (Vec<Place>, bool) {
        let mut hits = Hits::everywhere();
        self.within(&[], text, &mut Spent::default(), &mut hits);
        let mut spans = hits.spans.unwrap_or_default();
        spans.sort_by_key(|span| span.end);
        let place = |span: Span| Place {
            range: span.end - span.length..span.end,
            hidden: span.end - span.hidden..span.end,
            secret: span.secret,
        };
        (spans.into_iter().map(place).collect(), hits.gave_up)
    }

    /// Whether a value of a credential stands in a path or a query.
    pub fn value_in_target(&self, target: &str) -> bool {
        let (mut hits, mut spent) = (Hits::of(1), values::Spent::default());
        if !self.values.is_empty() {
            each_meaning(target, values::WINDOW, |text| self.values.find(&[], text, &mut spent, &mut hits));
        }
        !hits.secrets.is_empty()
    }

    /// Keys other than this one, `most` of them, in a header's value or a query that may hold it. That costs no comparison
    /// of the key itself.
    pub fn keys_but(&self, own: KeyId, most: usize, target: &str) -> Found {
        let (mut hits, mut spent) = (Hits::of(most), Spent::default());
        each_meaning(target, keys::SHORTEST, |text| {
            keys::each(text, |key| key.id != own && self.takes(text, 0, &key, &mut spent, &mut hits));
        });
        hits.found()
    }

    /// What stands in `text`, or begins in what came `before` it and ends in it.
    fn within(&self, before: &[u8], text: &[u8], spent: &mut Spent, hits: &mut Hits) {
        if !before.is_empty() && !hits.enough() && keys::may_cross(before, text) {
            const MOST: usize = keys::LONGEST - 1;
            let (border, behind) = (before.len().min(MOST), text.len().min(MOST));
            let mut joined = [0; 2 * MOST];
            joined[..border].copy_from_slice(&before[before.len() - border..]);
            joined[border..border + behind].copy_from_slice(&text[..behind]);
            let joined = &joined[..border + behind];
            keys::each(joined, |key| key.end > border && self.takes(joined, border, &key, spent, hits));
        }
        if !hits.enough() {
            keys::each(text, |key| self.takes(text, 0, &key, spent, hits));
        }
        self.values.find(before, text, &mut spent.values, hits);
    }

    /// Adds the key that this shape is, if it is live; its prefix is as long as the checksum says. Its end is told from
    /// `border` on. Whether that is enough.
    fn takes(&self, text: &[u8], border: usize, shape: &keys::Shape, spent: &mut Spent, hits: &mut Hits) -> bool {
        if !self.keys.contains(shape.id) {
            return false;
        }
        for begin in shape.begins.clone() {
            let presented = &text[begin..shape.end];
            if !keys::is_well_formed(presented) {
                continue;
            }
            if spent.keys >= MOST_COMPARED {
                let end = shape.end - border;
                return hits.meet_alike(Alike { key: Some(shape.id), end, hidden: keys::TAIL });
            }
            spent.keys += 1;
            if let Ok(Principal::Key(key)) = self.api_key.authenticate(presented, self.keys, self.now) {
                let secret = LiveSecret::Key { id: key.key(), version: key.version() };
                let length = shape.end - begin;
                hits.add(Span { secret, end: shape.end - border, length, hidden: keys::TAIL });
                return hits.enough();
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

#[cfg(test)]
mod tests;
