//! What callers sent and providers do not see: names such as `<EMAIL_1>` stand for it, and become it again in the answer.
//!
//! Names are those of one call: the same value has the same name in all of it, and what they stand for is wiped when the
//! call is over.

use super::text::Text;
use credentialflow_model::SecretValue;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    ops::Range,
};

/// So many different values of a call are masked.
const MOST: usize = 1000;
/// No name is longer, in bytes.
pub(super) const LONGEST: usize = 32;
/// No kind that others tell is longer.
const LONGEST_KIND: usize = 20;
/// What is no kind, or has none.
const NO_KIND: &str = "MASKED";

/// The names of one call and what they stand for. Without `Debug` of the values, and wiped when dropped.
pub struct Masks {
    /// Each name's place in the list of values.
    names: HashMap<String, usize>,
    values: Vec<(Box<str>, SecretValue)>,
    /// Names that stand in the call already, and so mean something else.
    taken: HashSet<String>,
    /// The number of the last name of each kind.
    last: HashMap<Box<str>, usize>,
}

impl Masks {
    /// For a call with these texts.
    pub(super) fn beside(texts: &[Text<'_>]) -> Self {
        let mut taken = HashSet::new();
        for text in texts {
            each_name(&text.text, |range| {
                taken.insert(text.text[range].to_owned());
            });
        }
        Self { names: HashMap::new(), values: Vec::new(), taken, last: HashMap::new() }
    }

    /// Whether nothing was masked.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The name of a value of the kind that has this placeholder; `None` where there are too many.
    pub(super) fn name(&mut self, placeholder: &str, value: &str) -> Option<String> {
        let kind = kind(placeholder);
        let same = |(of, known): &(Box<str>, SecretValue)| **of == *kind && known.expose() == value.as_bytes();
        if let Some(place) = self.values.iter().position(same) {
            return self.names.iter().find(|(_, of)| **of == place).map(|(name, _)| name.clone());
        }
        if self.values.len() >= MOST {
            return None;
        }
        let last = self.last.entry(kind.into()).or_default();
        let name = loop {
            *last += 1;
            let name = format!("<{kind}_{last}>");
            if !self.taken.contains(&name) {
                break name;
            }
        };
        self.names.insert(name.clone(), self.values.len());
        self.values.push((kind.into(), SecretValue::from(value)));
        Some(name)
    }

    /// Where names stand in a text, and which.
    pub(super) fn find(&self, text: &str, mut found: impl FnMut(Range<usize>, usize)) {
        each_name(text, |range| {
            if let Some(place) = self.names.get(&text[range.clone()]) {
                found(range, *place);
            }
        });
    }

    /// A text with what its names stand for.
    pub(super) fn restored(&self, text: &str) -> String {
        let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
        self.find(text, |range, place| {
            out.push_str(&text[copied..range.start]);
            out.push_str(self.value(place));
            copied = range.end;
        });
        out.push_str(&text[copied..]);
        out
    }

    /// What a name stands for.
    pub(super) fn value(&self, place: usize) -> &str {
        self.values.get(place).and_then(|(_, value)| value.expose_str()).unwrap_or_default()
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masks({} values, redacted)", self.values.len())
    }
}

/// The kind that a placeholder tells, as in `[EMAIL]`. What words and patterns find has none.
fn kind(placeholder: &str) -> &str {
    let kind = placeholder.trim_matches(['[', ']', '<', '>']);
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let is_one = (1..=LONGEST_KIND).contains(&kind.len()) && kind.bytes().all(plain) && kind != "REDACTED";
    if is_one { kind } else { NO_KIND }
}

/// Each place that has the form of a name.
fn each_name(text: &str, mut found: impl FnMut(Range<usize>)) {
    for start in memchr::memchr_iter(b'<', text.as_bytes()) {
        let rest = text.as_bytes()[start + 1..].iter().take(LONGEST);
        let length = rest.take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b'_').count();
        let end = start + 1 + length;
        if length > 0 && text.as_bytes().get(end) == Some(&b'>') {
            found(start..end + 1);
        }
    }
}

/// Where a name may have begun that has not ended yet; the end of the text where none has.
pub(super) fn begun(text: &str) -> usize {
    let from = text.len().saturating_sub(LONGEST);
    memchr::memrchr(b'<', &text.as_bytes()[from..]).map_or(text.len(), |at| {
        let start = from + at;
        let is_of_name = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_';
        if text.as_bytes()[start + 1..].iter().all(is_of_name) { start } else { text.len() }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_have_names() {
        let body = br#"{"messages":[{"content":"about <EMAIL_1> and <b>"}]}"#;
        let mut masks = Masks::beside(&super::super::text::texts(body).unwrap());
        assert!(masks.is_empty());
        assert_eq!(masks.name("[EMAIL]", "anna@example.com").unwrap(), "<EMAIL_2>", "the first means something else");
        assert_eq!(masks.name("[EMAIL]", "bo@example.com").unwrap(), "<EMAIL_3>");
        assert_eq!(masks.name("[REDACTED]", "Anna").unwrap(), "<MASKED_1>");
        assert_eq!(masks.name("[EMAIL]", "anna@example.com").unwrap(), "<EMAIL_2>");
        let mut found = Vec::new();
        masks.find("<EMAIL_1> <EMAIL_2>, <MASKED_1><<EMAIL_3>", |range, place| found.push((range, place)));
        assert_eq!(found, [(10..19, 0), (21..31, 2), (32..41, 1)]);
        assert_eq!((masks.value(0), masks.value(9)), ("anna@example.com", ""));
        let told = format!("{masks:?}");
        assert!(!told.contains("anna"), "{told}");
    }

    #[test]
    fn a_kind_is_what_can_stand_in_a_name() {
        for (placeholder, expect) in [
            ("[PERSON]", "<PERSON_1>"),
            ("<US_SSN>", "<US_SSN_1>"),
            ("someone", "<MASKED_1>"),
            ("", "<MASKED_1>"),
            ("[A>B]", "<MASKED_1>"),
            (&"A".repeat(LONGEST_KIND + 1), "<MASKED_1>"),
        ] {
            assert_eq!(Masks::beside(&[]).name(placeholder, "x").unwrap(), expect);
        }
        let mut masks = Masks::beside(&[]);
        assert_eq!(
            (masks.name("[A]", "x").unwrap(), masks.name("<A>", "x").unwrap()),
            ("<A_1>".into(), "<A_1>".into())
        );
        assert_eq!(masks.restored("a <A_1>, <A_2><A_1>"), "a x, <A_2>x");
        let longest =
            (0..MOST).filter_map(|n| masks.name(&"A".repeat(LONGEST_KIND), &n.to_string())).map(|name| name.len());
        assert!(longest.max().unwrap() <= LONGEST);
    }

    #[test]
    fn a_name_that_has_begun_waits() {
        for (text, at) in [("a <EMAI", 2), ("<", 0), ("a < b", 5), ("<EMAIL_1>", 9), ("none", 4), ("", 0)] {
            assert_eq!(begun(text), at, "{text}");
        }
        assert_eq!(begun(&format!("<{}", "A".repeat(LONGEST))), LONGEST + 1);
    }

    #[test]
    fn there_are_not_too_many() {
        let mut masks = Masks::beside(&[]);
        assert!((0..MOST).all(|n| masks.name("[EMAIL]", &n.to_string()).is_some()));
        assert_eq!(masks.name("[EMAIL]", "more"), None);
    }
}
