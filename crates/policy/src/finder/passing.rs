//! Finds secrets in a text that passes piece by piece, also where one is cut in two. Nothing is held back for it.

use super::{Finder, Found, Hits, Spent, keys};

/// After so many bytes of a text without end, more may be compared again.
const RENEWED: usize = 64 << 10;

/// A text that passes.
#[derive(Default)]
pub struct Passing {
    /// The end of what has passed, as long as a secret may be.
    tail: Vec<u8>,
    measure: Measure,
}

impl Passing {
    /// Of a text without end: what only looks like secrets does not end the search, it goes on a little later.
    pub fn endless() -> Self {
        Self { measure: Measure::endless(), ..Self::default() }
    }

    /// Secrets that end in this piece, as [`Finder::find`] tells them.
    pub fn feed(&mut self, finder: &Finder<'_>, most: usize, piece: &[u8]) -> Found {
        let mut hits = Hits::of(most);
        finder.within(&self.tail, piece, self.measure.next(piece.len()), &mut hits);
        let keep = keys::LONGEST.max(finder.values.longest()) - 1;
        if piece.len() >= keep {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - keep..]);
        } else {
            let over = (self.tail.len() + piece.len()).saturating_sub(keep);
            self.tail.drain(..over);
            self.tail.extend_from_slice(piece);
        }
        hits.found()
    }
}

/// What the search in one text may cost.
#[derive(Default)]
pub(super) struct Measure {
    spent: Spent,
    endless: bool,
    bytes: usize,
}

impl Measure {
    pub(super) fn endless() -> Self {
        Self { endless: true, ..Self::default() }
    }

    /// What may be spent on the next so many bytes.
    pub(super) fn next(&mut self, bytes: usize) -> &mut Spent {
        if self.endless && self.bytes >= RENEWED {
            (self.spent, self.bytes) = (Spent::default(), 0);
        }
        self.bytes += bytes;
        &mut self.spent
    }
}
