//! Texts that have the shape of a key, with any prefix: `<prefix>_<environment>_<key id>_<38 characters>`.
//!
//! Found from the underscore before the key id, as all that follows has a fixed length; from one underscore to the next
//! the search goes by SIMD. A text without any costs next to nothing.

use credentialflow_model::{KeyId, KeyToken};
use std::ops::Range;

const ID: usize = 12;
/// The secret and its checksum.
pub(super) const TAIL: usize = 38;
const LABEL: usize = 12;
/// No key is longer.
pub(super) const LONGEST: usize = LABEL + 1 + LABEL + 1 + ID + 1 + TAIL;
/// No key is shorter.
pub(super) const SHORTEST: usize = 1 + 1 + 1 + 1 + ID + 1 + TAIL;

/// Something that may be a key.
pub(super) struct Shape {
    pub id: KeyId,
    /// Where it may begin: other letters may stand before the prefix, and only the checksum tells.
    pub begins: Range<usize>,
    pub end: usize,
}

/// Tells every shape, in order, until one is taken.
pub(super) fn each(text: &[u8], mut take: impl FnMut(Shape) -> bool) {
    for at in memchr::memchr_iter(b'_', text) {
        if let Some(shape) = around(text, at)
            && take(shape)
        {
            return;
        }
    }
}

/// The shape whose key id begins behind this underscore.
fn around(text: &[u8], underscore: usize) -> Option<Shape> {
    let id = underscore + 1;
    let end = id + ID + 1 + TAIL;
    if text.get(id + ID) != Some(&b'_') || text.len() < end {
        return None;
    }
    if !text[id + ID + 1..end].iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let environment = label_before(text, underscore);
    let prefix_end = underscore.checked_sub(environment + 1).filter(|at| environment > 0 && text[*at] == b'_')?;
    let prefix = label_before(text, prefix_end);
    let id = std::str::from_utf8(&text[id..id + ID]).ok()?.parse().ok()?;
    (prefix > 0).then_some(Shape { id, begins: prefix_end - prefix..prefix_end, end })
}

/// The id of the key that a text may end in the secret of, and where that secret begins: so far it may be empty.
pub(super) fn at_the_end(text: &[u8]) -> Option<(KeyId, usize)> {
    let begun = text.iter().rev().take(TAIL).take_while(|b| b.is_ascii_alphanumeric()).count();
    let secret = text.len() - begun;
    let id = secret.checked_sub(ID + 2).filter(|at| begun < TAIL && text[*at] == b'_' && text[secret - 1] == b'_')? + 1;
    Some((std::str::from_utf8(&text[id..id + ID]).ok()?.parse().ok()?, secret))
}

/// How many characters of a label stand before a place, as far as one may be long.
fn label_before(text: &[u8], at: usize) -> usize {
    let in_label = |b: &&u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text[..at].iter().rev().take(LABEL).take_while(in_label).count()
}

/// Whether the checksum fits.
pub(super) fn is_well_formed(presented: &[u8]) -> bool {
    KeyToken::parse(presented).is_some()
}
