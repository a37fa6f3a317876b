//! More text than is wanted: the characters of all texts together. Exact; media do not count.

use super::{Detector, Found, Reach, text::Text};

/// Finds what is too long.
pub(super) struct Size {
    /// Characters that are not too many.
    pub most: u64,
}

impl Detector for Size {
    fn find(&self, text: &str, found: &mut Vec<Found>) {
        if text.chars().count() as u64 > self.most {
            found.push(Found { range: 0..text.len(), placeholder: "[TOO_LONG]" });
        }
    }

    fn is_in(&self, texts: &[Text<'_>]) -> bool {
        texts.iter().map(|text| text.text.chars().count() as u64).sum::<u64>() > self.most
    }

    fn reach(&self) -> Reach {
        Reach { bytes: 0, row: 0 }
    }

    fn most_characters(&self) -> Option<u64> {
        Some(self.most)
    }
}
