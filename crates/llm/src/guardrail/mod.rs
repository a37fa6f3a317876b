//! Guardrails: what is looked for in the texts of model calls, and what becomes of them.
//!
//! Bytes in, bytes out: the rules of a model are built once ([`Guardrails::build`]) and judge the body of a call in whatever
//! dialect it is ([`Guardrails::judge`]). Every detector is a file of its own, says there what it is good for, and is one
//! line in [`registry`]; its figures are in the guide on guardrails. How much is looked at and taken out has a bound, and what
//! is past it is refused, so that no call takes a thread for long.

pub mod jailbreak;
pub mod personal;
pub mod registry;
mod secrets;
mod size;
pub mod text;
mod words;

#[cfg(test)]
mod tests;

use credentialflow_model::resource::{Detect, Guardrail, GuardrailAction};
use std::ops::Range;
use text::{Origin, Text, Unreadable};

/// So many findings are taken out of a body.
pub const MOST_FOUND: usize = 20_000;

/// Something that was found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where, in bytes; the whole text where nothing in particular is meant.
    pub range: Range<usize>,
    /// What stands in its place where it is taken out.
    pub placeholder: &'static str,
}

/// Finds one kind of thing in texts.
pub trait Detector: Send + Sync {
    /// Whether it looks at what comes from there.
    fn reads(&self, _origin: Origin) -> bool {
        true
    }

    /// What is in a text, in any order; places may overlap.
    fn find(&self, text: &str, found: &mut Vec<Found>);

    /// Whether it is in all texts together. Asked instead of [`Self::find`] where no place is meant.
    fn is_in(&self, texts: &[Text<'_>]) -> bool {
        let mut found = Vec::new();
        texts.iter().filter(|text| self.reads(text.origin)).any(|text| {
            self.find(&text.text, &mut found);
            !found.is_empty()
        })
    }
}

/// The rules of a model, built.
pub struct Guardrails {
    rules: Vec<Rule>,
}

struct Rule {
    detect: Detect,
    action: GuardrailAction,
    detector: Box<dyn Detector>,
}

/// Whether a rule can be built.
///
/// # Errors
/// A sentence on why it cannot.
pub fn check(rule: &Guardrail) -> Result<(), String> {
    registry::build(rule).map(|_| ())
}

/// What became of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// What it is refused for.
    pub blocked: Option<Detect>,
    /// The body to take instead.
    pub body: Option<Vec<u8>>,
    /// What was found, and what happened; each once, in the order of the rules.
    pub met: Vec<(Detect, GuardrailAction)>,
}

impl Guardrails {
    /// Builds rules that passed the check of the configuration.
    ///
    /// # Errors
    /// A sentence on the first rule that cannot be built.
    pub fn build(rules: &[Guardrail]) -> Result<Self, String> {
        let rule = |rule: &Guardrail| {
            let detector = registry::build(rule)?;
            Ok(Rule { detect: rule.detect, action: rule.action, detector })
        };
        rules.iter().map(rule).collect::<Result<_, String>>().map(|rules| Self { rules })
    }

    /// Judges the body of a call.
    ///
    /// # Errors
    /// The body cannot be read, or it is more than is looked at or taken out.
    pub fn judge(&self, body: &[u8]) -> Result<Judged, Unreadable> {
        let mut judged = Judged::default();
        let texts = text::texts(body)?;
        let flat = text::flattened(&texts)?;
        for rule in &self.rules {
            if rule.detector.is_in(&flat) {
                if !judged.met.contains(&(rule.detect, rule.action)) {
                    judged.met.push((rule.detect, rule.action));
                }
                if rule.action == GuardrailAction::Block {
                    judged.blocked = Some(rule.detect);
                    return Ok(judged);
                }
            }
        }
        if judged.met.iter().any(|(_, action)| *action == GuardrailAction::Redact) {
            let mut taking = Taking { left: Some(MOST_FOUND), took: vec![false; self.rules.len()] };
            judged.body = text::rewritten(body, &texts, &mut |text| self.redacted(text, &mut taking));
            // What was found and did not go must not pass either.
            let stays = self
                .rules
                .iter()
                .zip(&taking.took)
                .any(|(rule, took)| rule.action == GuardrailAction::Redact && !took && rule.detector.is_in(&flat));
            if taking.left.is_none() || stays {
                return Err(Unreadable::TooMany);
            }
        }
        Ok(judged)
    }

    /// A text without what is to be taken out; `None` where nothing is.
    fn redacted(&self, text: &Text<'_>, taking: &mut Taking) -> Option<String> {
        let mut found = Vec::new();
        for (rule, took) in self.rules.iter().zip(&mut taking.took) {
            let before = found.len();
            if rule.action == GuardrailAction::Redact && rule.detector.reads(text.origin) && taking.left.is_some() {
                rule.detector.find(&text.text, &mut found);
                *took |= found.len() > before;
                taking.left = taking.left.and_then(|left| left.checked_sub(found.len() - before));
            }
        }
        taking.left.and_then(|_| without(&text.text, found))
    }
}

/// What is taken out of a body.
struct Taking {
    /// How much more may be; `None` where it was too much.
    left: Option<usize>,
    /// Which rules took something.
    took: Vec<bool>,
}

/// A text with placeholders for what was found; what overlaps becomes one.
pub fn without(text: &str, mut found: Vec<Found>) -> Option<String> {
    if found.is_empty() {
        return None;
    }
    found.sort_by_key(|one| (one.range.start, std::cmp::Reverse(one.range.end)));
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for Found { range, placeholder } in found {
        if range.end <= copied {
            continue;
        }
        if range.start >= copied {
            out.push_str(&text[copied..range.start]);
            out.push_str(placeholder);
        }
        copied = range.end;
    }
    out.push_str(&text[copied..]);
    Some(out)
}

/// The last place up to here where a character begins.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The character before a place.
fn before(text: &str, at: usize) -> Option<char> {
    text[..at].chars().next_back()
}

/// The character at a place.
fn after(text: &str, at: usize) -> Option<char> {
    text[at..].chars().next()
}
