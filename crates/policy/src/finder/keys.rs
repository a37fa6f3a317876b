//! Texts that have the shape of a key, with any prefix: `<prefix>_<environment>_<key id>_<38 characters>`.
//!
//! Found from the underscore before the key id, as all that follows has a fixed length. A text in which no two underscores
//! stand as those around a key id do costs next to nothing.

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
    if !may_hold(text) {
        return;
    }
    for at in memchr::memchr_iter(b'_', text) {
        if let Some(shape) = around(text, at)
            && take(shape)
        {
            return;
        }
    }
}

/// Whether a text may hold the end of a key that begins in what came before it.
pub(super) fn may_cross(before: &[u8], text: &[u8]) -> bool {
    // Before the text as far as the underscore before an id may stand, behind it that of a key with nothing but labels
    // before, and as far as the one behind the id.
    const BEHIND: usize = 2 * (LABEL + 1) + ID + 1;
    let mut joined = [0; BEFORE + BEHIND];
    match (before.last_chunk::<BEFORE>(), text.first_chunk::<BEHIND>()) {
        (Some(before), Some(text)) => {
            joined[..BEFORE].copy_from_slice(before);
            joined[BEFORE..].copy_from_slice(text);
        }
        // Short ones are joined anyway.
        _ => return true,
    }
    may_hold(&joined)
}

/// A key that ends behind a border has the underscore before its id not further before it.
const BEFORE: usize = ID + 1 + TAIL;

/// Whether two underscores stand as far apart as those around a key id. Looks at many places at once, so it costs less than
/// to go from one underscore to the next.
fn may_hold(text: &[u8]) -> bool {
    let behind = text.get(ID + 1..).unwrap_or_default();
    let both = |(a, b): (&u8, &u8)| u8::from(*a == b'_') & u8::from(*b == b'_');
    text.iter().zip(behind).map(both).fold(0, |met, pair| met | pair) != 0
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
