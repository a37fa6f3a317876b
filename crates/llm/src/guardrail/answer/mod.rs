//! Answers: the same rules for what a model says, and the caller's own data back in the places of the names that stood for
//! it.
//!
//! They are judged as the caller gets them, in the caller's dialect: a whole one ([`Answer::whole`]) once, a streamed one
//! ([`Stream`]) while it passes. A streamed text waits until it is known that nothing is found in it, so no byte of what is
//! blocked or taken out reaches the caller; how much waits is told by [`super::Reach`]. What a tool is called with is JSON
//! in pieces, and waits until the call is complete. What cannot be looked at does not pass.

mod block;
mod event;
mod stream;

#[cfg(test)]
mod tests;

pub use stream::{Frames, Stream};

use super::{
    Guardrails, Masks, Met, Reach, Rule, Taking, takes_out,
    text::{self, Of, Text, Unreadable},
};
use credentialflow_model::resource::{Detect, GuardrailAction};
use serde_json::value::RawValue;
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// This was found in it.
    Blocked(Detect),
    /// It cannot be looked at.
    Unreadable(Unreadable),
}

impl From<Unreadable> for Stop {
    fn from(why: Unreadable) -> Self {
        Self::Unreadable(why)
    }
}

/// How one answer is judged: by the rules of its model, and with what was masked in its call.
pub struct Answer {
    rules: Option<Arc<Guardrails>>,
    masks: Option<Masks>,
    met: Vec<Met>,
    /// Whether more was met since it was last asked for.
    news: bool,
    /// Findings that may still be taken out.
    left: usize,
}

impl Answer {
    /// For one answer; `None` where nothing is looked for in it.
    pub fn of(rules: Option<&Arc<Guardrails>>, masks: Option<Masks>) -> Option<Self> {
        let rules = rules.filter(|rules| rules.reads_answers()).cloned();
        let any = rules.is_some() || masks.is_some();
        any.then_some(Self { rules, masks, met: Vec::new(), news: false, left: super::MOST_FOUND })
    }

    /// What was found so far, if that is more than when it was last asked.
    pub fn news(&mut self) -> Option<&[Met]> {
        std::mem::take(&mut self.news).then_some(&self.met)
    }

    /// Judges an answer that came whole, also a stream that came as one array. What to send in its place.
    ///
    /// # Errors
    /// It ends here.
    pub fn whole(&mut self, body: Vec<u8>) -> Result<Vec<u8>, Stop> {
        if body.trim_ascii_start().starts_with(b"[") {
            return stream::array(self, &body);
        }
        let body = self.without_tokens(&body)?.unwrap_or(body);
        let (texts, _) = text::texts_of(&body, Of::Answer)?;
        self.size(text::flattened(&texts)?.iter().map(|text| text.text.chars().count() as u64).sum())?;
        let mut said: BTreeMap<Option<u64>, String> = BTreeMap::new();
        for text in texts.iter().filter(|text| text.part.words) {
            said.entry(text.part.index).or_default().push_str(&text.text);
        }
        said.values().try_for_each(|said| self.words(said))?;
        let edits = self.texts(&body, &texts, true)?;
        Ok(if edits.is_empty() { body } else { text::edited(&body, &edits) })
    }

    /// The rules that look at answers.
    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().flat_map(|rules| &rules.rules).filter(|rule| rule.on.answers())
    }

    /// Those of them that look at each text alone.
    fn of_texts(&self) -> impl Iterator<Item = &Rule> {
        self.rules().filter(|rule| rule.detect != Detect::JsonSchema && rule.detector.most_characters().is_none())
    }

    /// Whether anything may be taken out or blocked, so that texts wait; names that become values again wait too.
    fn changes(&self) -> bool {
        self.masks.is_some() || self.of_texts().any(|rule| rule.action != GuardrailAction::Flag)
    }

    /// Whether a streamed answer waits for its end.
    fn holds(&self) -> bool {
        self.rules().any(|rule| rule.hold) || self.asks()
    }

    /// Whether others are asked about it before any of it goes.
    pub fn asks(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.asks_about_answers())
    }

    /// Notes what others found.
    pub fn note(&mut self, met: Vec<Met>) {
        self.news |= !met.is_empty();
        met.into_iter().for_each(|met| met.add(&mut self.met));
    }

    /// Whether all that is said has to fit somewhere.
    fn fits_words(&self) -> bool {
        self.rules().any(|rule| rule.detect == Detect::JsonSchema)
    }

    /// How much of a streamed text waits; `None` where nothing is looked for in texts.
    fn reach(&self) -> Option<Reach> {
        self.of_texts().map(|rule| rule.detector.reach()).reduce(Reach::with)
    }

    /// Notes what was found. Where it is blocked, the answer ends.
    fn meet(&mut self, met: Met) -> Result<(), Stop> {
        let (detect, action) = (met.detect, met.action);
        met.add(&mut self.met);
        self.news = true;
        if action == GuardrailAction::Block { Err(Stop::Blocked(detect)) } else { Ok(()) }
    }

    /// Whether so many characters are too many.
    fn size(&mut self, characters: u64) -> Result<(), Stop> {
        let is_met = |rule: &&Rule| rule.detector.most_characters().is_some_and(|most| characters > most);
        let found: Vec<_> = self.rules().filter(is_met).map(|rule| Met::of(rule, 0)).collect();
        for found in found {
            // Once: it does not become shorter.
            if !self.met.iter().any(|met| met.is_as(&found)) {
                self.meet(found)?;
            }
        }
        Ok(())
    }

    /// Whether all that a model said fits where it has to fit.
    fn words(&mut self, said: &str) -> Result<(), Stop> {
        let mut found = Vec::new();
        let mut met = Vec::new();
        for rule in self.rules().filter(|rule| rule.detect == Detect::JsonSchema) {
            rule.detector.find(said, &mut found);
            if !found.is_empty() {
                met.push(Met::of(rule, 0));
                found.clear();
            }
        }
        met.into_iter().try_for_each(|met| self.meet(met))
    }

    /// Judges texts that are whole; what is to stand in their places. `counts`: they were not told of before.
    fn texts(&mut self, body: &[u8], texts: &[Text<'_>], counts: bool) -> Result<Vec<(Range<usize>, String)>, Stop> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let flat = text::flattened(texts)?;
        let found: Vec<_> =
            self.of_texts().filter(|rule| rule.detector.is_in(&flat)).map(|rule| Met::of(rule, 0)).collect();
        for met in &found {
            if !takes_out(met.action) {
                self.meet(met.clone())?;
            }
        }
        let takes = found.iter().any(|met| takes_out(met.action));
        if !takes && self.masks.is_none() {
            return Ok(Vec::new());
        }
        let rules = self.rules.clone();
        let rules: Vec<&Rule> = rules.iter().flat_map(|rules| &rules.rules).filter(|rule| rule.on.answers()).collect();
        let mut taking = Taking {
            rules: &rules,
            left: Some(self.left),
            took: vec![0; rules.len()],
            masks: None,
            restore: self.masks.as_ref(),
        };
        let edits = text::edits(body, texts, &mut |text| taking.changed(text));
        let Taking { left, took, .. } = taking;
        let stays = rules
            .iter()
            .zip(&took)
            .any(|(rule, took)| takes_out(rule.action) && *took == 0 && rule.detector.is_in(&flat));
        self.left = left.filter(|_| !stays).ok_or(Unreadable::TooMany)?;
        for (rule, count) in rules.iter().zip(took).filter(|(_, count)| *count > 0) {
            self.meet(Met::of(rule, if counts { count } else { 0 }))?;
        }
        Ok(edits)
    }

    /// An answer without what tells of each of its tokens what it is, where texts may be taken out of it; `None` where
    /// nothing does.
    fn without_tokens(&self, body: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
        let takes_out = self.rules().any(|rule| rule.action != GuardrailAction::Flag);
        // What the names of such fields have in common.
        if !takes_out || memchr::memmem::find(body, b"logprobs").is_none() {
            return Ok(None);
        }
        let (_, tokens) = text::texts_of(body, Of::Answer)?;
        let empty = |range: Range<usize>| {
            let new = if body[range.start] == b'[' { "[]" } else { "null" };
            (range, new.to_owned())
        };
        let edits: Vec<_> = tokens.into_iter().map(empty).collect();
        Ok((!edits.is_empty()).then(|| text::edited(body, &edits)))
    }
}

/// The elements of an array.
fn elements(body: &[u8]) -> Result<Vec<&RawValue>, Unreadable> {
    serde_json::from_slice(body).map_err(|_| Unreadable::Json)
}
