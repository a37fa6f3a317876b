//! What stands in a text in the place of what was found there.

use super::Found;
use std::{borrow::Cow, ops::Range};

/// What happens at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// This placeholder stands there.
    Redact(&'static str),
    /// A name for what stood there does; this is the placeholder of its kind.
    Mask(&'static str),
    /// What a name stands for does: the number of it.
    Restore(usize),
}

/// A place in a text, in bytes, and what happens there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub range: Range<usize>,
    pub cut: Cut,
}

/// The places in the order of the text; what overlaps becomes one, and what is redacted wins.
pub(super) fn merged(mut places: Vec<Place>) -> Vec<Place> {
    places.sort_by_key(|place| (place.range.start, std::cmp::Reverse(place.range.end)));
    let mut all: Vec<Place> = Vec::with_capacity(places.len());
    for place in places {
        match all.last_mut().filter(|last| place.range.start < last.range.end) {
            Some(last) => {
                last.range.end = last.range.end.max(place.range.end);
                if !matches!(last.cut, Cut::Redact(_)) && matches!(place.cut, Cut::Redact(_)) {
                    last.cut = place.cut;
                }
            }
            None => all.push(place),
        }
    }
    all
}

/// The text with what `instead` says at each of these places, which follow each other; `None` where there is none.
pub(super) fn changed<'a>(
    text: &str,
    places: Vec<Place>,
    mut instead: impl FnMut(&Cut, &str) -> Cow<'a, str>,
) -> Option<String> {
    if places.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for Place { range, cut } in places {
        out.push_str(&text[copied..range.start]);
        out.push_str(&instead(&cut, &text[range.clone()]));
        copied = range.end;
    }
    out.push_str(&text[copied..]);
    Some(out)
}

/// A text with placeholders for what was found; what overlaps becomes one.
pub fn without(text: &str, found: Vec<Found>) -> Option<String> {
    let place = |Found { range, placeholder }| Place { range, cut: Cut::Redact(placeholder) };
    let places = merged(found.into_iter().map(place).collect());
    changed(text, places, |cut, _| match cut {
        Cut::Redact(placeholder) => Cow::Borrowed(*placeholder),
        Cut::Mask(_) | Cut::Restore(_) => Cow::Borrowed(""),
    })
}
