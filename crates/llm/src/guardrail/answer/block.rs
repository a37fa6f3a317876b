//! One text of a streamed answer: what of it waits, and what is found in it.

use super::{Answer, Stop, event::Queue};
use crate::guardrail::{
    Met, Reach, boundary,
    cut::{Cut, Place, merged},
    mask, takes_out,
    text::{self, Of, Part},
};
use credentialflow_model::resource::GuardrailAction;
use std::{borrow::Cow, collections::VecDeque};

/// So much of what has gone is still seen by what looks back, in bytes.
const BEFORE: usize = 256;
/// A text is looked at again when so much more of it came; of what waits long, an eighth more.
const STEP: usize = 32;
/// More of a text than this does not wait for the end of a finding: what came of it is taken out as it is.
const MOST: usize = 24 << 10;

/// A text that comes in pieces.
pub(super) struct Block {
    part: Part,
    /// The end of what was decided.
    before: String,
    /// What is not decided yet.
    text: String,
    /// How long that was when it was last looked at.
    looked: usize,
    /// The pieces that it came in, and how many bytes of each are in it.
    pieces: VecDeque<((u64, usize), usize)>,
}

impl Block {
    pub const fn new(part: Part) -> Self {
        Self { part, before: String::new(), text: String::new(), looked: 0, pieces: VecDeque::new() }
    }

    /// What tells it apart.
    pub const fn part(&self) -> &Part {
        &self.part
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        self.before.len() + self.text.len() + self.pieces.len() * size_of::<((u64, usize), usize)>()
    }

    /// Adds a piece; `place` is where it waits, if it does.
    pub fn push(&mut self, text: &str, place: Option<(u64, usize)>) {
        self.text.push_str(text);
        self.pieces.extend(place.map(|place| (place, text.len())));
    }

    /// Looks at it where enough came since the last time.
    pub fn look(&mut self, answer: &mut Answer, queue: &mut Queue) -> Result<(), Stop> {
        let more = self.text.len() - self.looked;
        if self.part.json || more < STEP.max(self.text.len() / 8) {
            // Without rules that look back only names wait.
            if self.part.json || answer.reach().is_some() || answer.masks.is_none() {
                return Ok(());
            }
        }
        self.decide(false, answer, queue)
    }

    /// It is complete: nothing of it waits any more.
    pub fn end(&mut self, answer: &mut Answer, queue: &mut Queue) -> Result<(), Stop> {
        match self.part.json && text::texts_of(self.text.as_bytes(), Of::Json).is_ok() {
            true => self.end_json(answer, queue),
            false => self.decide(true, answer, queue),
        }
    }

    /// What a tool is called with: all of it is put into the first piece where it was changed.
    fn end_json(&mut self, answer: &mut Answer, queue: &mut Queue) -> Result<(), Stop> {
        let text = std::mem::take(&mut self.text);
        let (mut texts, _) = text::texts_of(text.as_bytes(), Of::Json)?;
        texts.iter_mut().for_each(|text| text.part = self.part);
        let edits = answer.texts(text.as_bytes(), &texts, true)?;
        let mut new = (!edits.is_empty()).then(|| text::edited(text.as_bytes(), &edits));
        let is_changed = new.is_some();
        for (place, _) in self.pieces.drain(..) {
            if let Some(piece) = queue.piece(place) {
                (piece.left, piece.changed) = (0, is_changed);
                piece.out = new.take().and_then(|new| String::from_utf8(new).ok()).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Finds what is in it, and lets go what nothing can be found in any more.
    fn decide(&mut self, ended: bool, answer: &mut Answer, queue: &mut Queue) -> Result<(), Stop> {
        let off = self.before.len();
        let seen = std::mem::take(&mut self.before) + &self.text;
        let (mut found, mut all) = (Vec::new(), Vec::new());
        for (number, rule) in answer.of_texts().enumerate() {
            rule.detector.find(&seen, &mut found);
            let place = |found: crate::guardrail::Found| (number, found);
            // What lies in what has gone was met before.
            all.extend(found.drain(..).filter(|found| found.range.end > off).map(place));
        }
        let mut names = Vec::new();
        if let Some(masks) = answer.masks.as_ref().filter(|_| !self.part.signed) {
            masks.find(&seen, |range, name| {
                if range.start >= off {
                    names.push(Place { range, cut: Cut::Restore(name) });
                }
            });
        }
        let waits = match answer.reach() {
            _ if ended => seen.len(),
            Some(reach) => waits_from(&seen, reach),
            None => seen.len(),
        };
        let waits = if ended || answer.masks.is_none() { waits } else { waits.min(mask::begun(&seen)) };
        let mut decided = waits.max(off);
        // What begins in what is decided and does not end there waits, with all behind it.
        while let Some(start) = all
            .iter()
            .map(|(_, found)| &found.range)
            .chain(names.iter().map(|name| &name.range))
            .filter(|range| range.start < decided && range.end > decided)
            .map(|range| range.start.max(off))
            .min()
            .filter(|start| *start < decided)
        {
            decided = start;
        }
        if seen.len() - decided > MOST {
            decided = seen.len();
        }
        let mut places = names;
        let rules: Vec<_> =
            answer.of_texts().map(|rule| Met::of(rule, u32::from(rule.action != GuardrailAction::Block))).collect();
        for (number, found) in all {
            let met = &rules[number];
            if found.range.end <= decided {
                answer.left = answer.left.checked_sub(1).ok_or(text::Unreadable::TooMany)?;
                answer.meet(met.clone())?;
                if takes_out(met.action) {
                    let range = found.range.start.max(off)..found.range.end;
                    places.push(Place { range, cut: Cut::Redact(found.placeholder) });
                }
            }
        }
        places.retain(|place| place.range.end <= decided);
        self.give(&seen[off..decided], &merged(places), off, answer, queue);
        let text = seen[decided..].to_owned();
        self.before = seen[boundary(&seen, decided.saturating_sub(BEFORE))..decided].to_owned();
        self.looked = text.len();
        self.text = text;
        Ok(())
    }

    /// Gives what is decided to the pieces that it came in; `places` are counted from `off` before it.
    fn give(&mut self, text: &str, places: &[Place], off: usize, answer: &Answer, queue: &mut Queue) {
        let instead = |cut: &Cut| match cut {
            Cut::Redact(placeholder) | Cut::Mask(placeholder) => Cow::Borrowed(*placeholder),
            Cut::Restore(name) => Cow::Borrowed(answer.masks.as_ref().map_or("", |masks| masks.value(*name))),
        };
        let mut places =
            places.iter().map(|place| (place.range.start - off..place.range.end - off, &place.cut)).peekable();
        let mut at = 0;
        while at < text.len() {
            let Some((place, left)) = self.pieces.front_mut() else { return };
            let end = text.len().min(at + *left);
            *left -= end - at;
            let piece = queue.piece(*place);
            let mut nobody = String::new();
            let (out, changed) = match piece {
                Some(piece) => {
                    piece.left -= end - at;
                    (&mut piece.out, &mut piece.changed)
                }
                None => (&mut nobody, &mut false),
            };
            while at < end {
                match places.peek() {
                    Some((range, cut)) if range.start <= at => {
                        if range.start == at {
                            out.push_str(&instead(cut));
                        }
                        *changed = true;
                        at = end.min(range.end);
                        if at == range.end {
                            places.next();
                        }
                    }
                    Some((range, _)) if range.start < end => {
                        out.push_str(&text[at..range.start]);
                        at = range.start;
                    }
                    _ => {
                        out.push_str(&text[at..end]);
                        at = end;
                    }
                }
            }
            if self.pieces.front().is_some_and(|(_, left)| *left == 0) {
                self.pieces.pop_front();
            }
        }
    }
}

/// From where on a text that is not complete waits: so many bytes from its end, and back to the last blank before them.
fn waits_from(text: &str, reach: Reach) -> usize {
    let at = boundary(text, text.len().saturating_sub(reach.bytes));
    let least = text.len().saturating_sub(reach.row.max(reach.bytes));
    let is_blank = |c: char| c.is_whitespace() || (!c.is_ascii() && !c.is_alphanumeric());
    let row = text[..at].char_indices().rev().take_while(|(i, c)| *i >= least && !is_blank(*c)).last();
    row.map_or(at, |(start, _)| start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits() {
        let reach = Reach { bytes: 4, row: 12 };
        for (text, at) in
            [("", 0), ("abc", 0), ("ab cdefgh", 3), ("ab cde gh", 3), ("ab cd  fgh", 6), ("这是。机密", 9)]
        {
            assert_eq!(waits_from(text, reach), at, "{text}");
        }
        assert_eq!(waits_from(&"a".repeat(50), reach), 38);
        assert_eq!(waits_from("a b c d", Reach { bytes: 0, row: 0 }), 7);
    }
}
