//! What a webhook answers: a verdict, and what is to stand where.

use super::{Said, Unusable, Verdict};
use crate::guardrail::MOST_FOUND;
use serde::Deserialize;

/// What a webhook wants to stand in the place of something, in bytes.
const LONGEST_WITH: usize = 1024;

/// What a webhook answers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    verdict: Word,
    reason: Option<String>,
    #[serde(default)]
    unit: Unit,
    #[serde(default)]
    replacements: Vec<Replacement>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Allow,
    Block,
    Redact,
}

/// What places are counted in.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    /// Characters: Unicode's code points, as Python counts.
    #[default]
    Characters,
    /// Bytes of UTF-8.
    Bytes,
    /// Units of UTF-16, as JavaScript and Java count.
    Utf16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replacement {
    text: usize,
    start: usize,
    end: usize,
    with: Option<String>,
}

/// What such an answer on these texts says.
pub(super) fn read(said: &[Said], body: &[u8]) -> Result<Verdict, Unusable> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| Unusable("the answer is none in the form of a webhook"))?;
    if (answer.verdict == Word::Redact) == answer.replacements.is_empty() {
        return Err(Unusable("`replacements` come with the verdict `redact`, and with no other"));
    }
    if answer.replacements.len() > MOST_FOUND {
        return Err(Unusable("there are too many replacements"));
    }
    let mut verdict = Verdict { found: answer.verdict != Word::Allow, ..Verdict::default() };
    if let Some(reason) = answer.reason.filter(|reason| verdict.found && !reason.is_empty()) {
        verdict.call(&reason);
    }
    let mut sorted: Vec<Replacement> = answer.replacements;
    sorted.sort_by_key(|one| (one.text, one.start));
    let mut counting: Option<(usize, Counting<'_>)> = None;
    for Replacement { text, start, end, with } in sorted {
        let outside = Unusable("a replacement lies outside of its text, or between the bytes of a character");
        let said = said.get(text).ok_or(outside)?;
        if start >= end {
            return Err(outside);
        }
        let (_, from) = match &mut counting {
            Some(one) if one.0 == text => one,
            other => other.insert((text, Counting { text: &said.text, unit: answer.unit, at: 0, counted: 0 })),
        };
        let first = from.forward(start).ok_or(outside)?;
        // The next may begin before the end of this one.
        let last = Counting { ..*from }.forward(end).ok_or(outside)?;
        let with = with.unwrap_or_else(|| "[REDACTED]".into());
        if with.len() > LONGEST_WITH {
            return Err(Unusable("what is to stand in the place of something is too long"));
        }
        verdict.places.push((text, first..last, with));
    }
    Ok(verdict)
}

/// Counts along a text.
#[derive(Clone, Copy)]
struct Counting<'t> {
    text: &'t str,
    unit: Unit,
    /// Bytes, and units, that are behind.
    at: usize,
    counted: usize,
}

impl Counting<'_> {
    /// Goes on to where so many units are behind; the bytes that are then. `None`: there is no such place.
    fn forward(&mut self, units: usize) -> Option<usize> {
        for c in self.text[self.at..].chars() {
            if self.counted >= units {
                break;
            }
            self.at += c.len_utf8();
            self.counted += match self.unit {
                Unit::Characters => 1,
                Unit::Bytes => c.len_utf8(),
                Unit::Utf16 => c.len_utf16(),
            };
        }
        (self.counted == units).then_some(self.at)
    }
}
