//! Personal data that is told by its form, one file for each kind.
//!
//! Good for what has a form or a check digit; silent on what has none: names, postal addresses, dates of birth, what people
//! say about their health. It looks at one text at a time and does not undo disguise (digits as words, a space after each
//! character).

mod card;
mod email;
mod iban;
mod ip_address;
mod national_id;
mod numbers;
mod phone;

use super::{Detector, Found};
use credentialflow_model::resource::PersonalData;
use std::ops::Range;

/// Finds one kind of personal data: places in the text, in any order.
type Find = fn(&str, &mut Vec<Range<usize>>);

/// Finds the chosen kinds.
pub(super) struct Personal(Vec<PersonalData>);

impl Personal {
    /// For these kinds, or for all.
    pub fn of(kinds: &[PersonalData]) -> Self {
        Self(if kinds.is_empty() { PersonalData::ALL } else { kinds }.to_vec())
    }
}

/// How a kind is found, and what stands in its place.
pub const fn finder(kind: PersonalData) -> (Find, &'static str) {
    match kind {
        PersonalData::Email => (email::find, "[EMAIL]"),
        PersonalData::Card => (card::find, "[CARD]"),
        PersonalData::Iban => (iban::find, "[IBAN]"),
        PersonalData::Phone => (phone::find, "[PHONE]"),
        PersonalData::NationalId => (national_id::find, "[NATIONAL_ID]"),
        PersonalData::IpAddress => (ip_address::find, "[IP_ADDRESS]"),
    }
}

impl Detector for Personal {
    fn find(&self, text: &str, found: &mut Vec<Found>) {
        let mut places = Vec::new();
        for kind in &self.0 {
            let (find, placeholder) = finder(*kind);
            find(text, &mut places);
            found.extend(places.drain(..).map(|range| Found { range, placeholder }));
        }
    }
}

#[cfg(test)]
#[track_caller]
fn check(find: Find, text: &str, expect: &[&str]) {
    let mut found = Vec::new();
    find(text, &mut found);
    assert_eq!(found.into_iter().map(|range| &text[range]).collect::<Vec<_>>(), expect, "{text}");
}
