//! Blanks secrets in a text that passes piece by piece: asterisks in their place, so that its length stays as it is.
//!
//! What may be the beginning of a secret waits for what follows. Of a key that is what follows its id, where there is a
//! key of that id. Of a value the first four bytes tell, then the first sixteen, then it waits until the longest value
//! that begins so would have ended. Hardly any other text waits. Fewer than four bytes at an end do not wait: cut there, a
//! value gives these away.
//!
//! Where more looks like secrets than is compared, what looks like one is blanked unseen: nobody floods a text so that a
//! secret passes behind the flood.

use super::{Alike, Finder, Found, Hits, LiveSecret, Span, add, keys, passing::Measure, values};
use credentialflow_model::KeyId;
use std::ops::Range;

/// Beginnings that are told apart; more count as one.
const MOST_OPEN: usize = 64;
/// So much more than is needed of what has passed is kept before it is dropped.
const SLACK: usize = 4096;

/// A text in which secrets are blanked.
pub struct Blanking {
    /// A key that may pass.
    own: Option<KeyId>,
    /// The end of what has passed, then what waits, as it came.
    window: Vec<u8>,
    /// So much of it has passed.
    passed: usize,
    /// What of it is to be blanked.
    blanks: Vec<Range<usize>>,
    /// Where values may begin whose end has not come, and where that would be.
    open: Vec<Range<usize>>,
    measure: Measure,
}

impl Blanking {
    /// Of a text without end, for somebody who may see this key.
    pub fn endless(own: Option<KeyId>) -> Self {
        Self { own, window: Vec::new(), passed: 0, blanks: Vec::new(), open: Vec::new(), measure: Measure::endless() }
    }

    /// Passes a piece on to `out`, as far as it need not wait, and tells the secrets that end in it.
    pub fn feed(&mut self, finder: &Finder<'_>, piece: &[u8], out: &mut impl FnMut(&[u8])) -> Found {
        let seen = self.window.len();
        self.window.extend_from_slice(piece);
        let mut hits = Hits::to_blank();
        let (before, text) = self.window.split_at(seen);
        finder.within(before, text, self.measure.next(piece.len()), &mut hits);
        let mut found = Found { secrets: Vec::new(), gave_up: hits.gave_up };
        for Span { secret, end, hidden, .. } in hits.spans.into_iter().flatten() {
            if matches!(secret, LiveSecret::Key { id, .. } if Some(id) == self.own) {
                continue;
            }
            self.blanks.push((seen + end - hidden).max(self.passed)..seen + end);
            add(&mut found.secrets, secret);
        }
        for Alike { key, end, hidden } in hits.alike.into_iter().flatten() {
            let begin = (seen + end).saturating_sub(hidden).max(self.passed);
            match self.blanks.last_mut().filter(|last| last.start <= begin && begin <= last.end) {
                _ if key.is_some() && key == self.own => {}
                Some(last) => last.end = last.end.max(seen + end),
                None => self.blanks.push(begin..seen + end),
            }
        }
        let until = self.waits_from(finder, seen);
        self.pass(until, out);
        self.shorten(keys::LONGEST.max(finder.values.longest()));
        found
    }

    /// The text is over: what waited is no secret.
    pub fn finish(&mut self, out: &mut impl FnMut(&[u8])) {
        self.pass(self.window.len(), out);
    }

    /// From where on the text waits, of which all from `seen` on is new.
    fn waits_from(&mut self, finder: &Finder<'_>, seen: usize) -> usize {
        let (text, open, length) = (&self.window, &mut self.open, self.window.len());
        let fresh = seen.saturating_sub(values::WINDOW - 1);
        finder.values.each_begin(&text[fresh..], |at, longest| {
            let range = fresh + at..fresh + at + longest;
            let full = open.len() >= MOST_OPEN;
            match open.last_mut().filter(|_| full) {
                Some(last) => last.end = last.end.max(range.end),
                None => open.push(range),
            }
        });
        open.retain(|range| range.end > length);
        let value = open.iter().map(|range| range.start).min().unwrap_or(length);
        let key = keys::at_the_end(text).filter(|(id, _)| Some(*id) != self.own && finder.keys.contains(*id));
        let first = length.saturating_sub(values::WINDOW - 1).max(self.passed.saturating_sub(values::LEAD - 1));
        let begun = (first..length.saturating_sub(values::LEAD - 1)).find(|at| finder.values.may_begin(&text[*at..]));
        value.min(key.map_or(length, |(_, secret)| secret)).min(begun.unwrap_or(length)).max(self.passed)
    }

    /// Passes on what comes before `until`.
    fn pass(&mut self, until: usize, out: &mut impl FnMut(&[u8])) {
        const ASTERISKS: [u8; 256] = [b'*'; 256];
        self.blanks.sort_unstable_by_key(|blank| blank.start);
        for blank in &self.blanks {
            let (start, end) = (blank.start.clamp(self.passed, until), blank.end.clamp(self.passed, until));
            if start > self.passed && start < end {
                out(&self.window[self.passed..start]);
                self.passed = start;
            }
            while self.passed < end && start < end {
                let more = (end - self.passed).min(ASTERISKS.len());
                out(&ASTERISKS[..more]);
                self.passed += more;
            }
        }
        if until > self.passed {
            out(&self.window[self.passed..until]);
            self.passed = until;
        }
        let passed = self.passed;
        self.blanks.retain(|blank| blank.end > passed);
    }

    /// Forgets what is not needed any more of what has passed.
    fn shorten(&mut self, needed: usize) {
        let over = self.passed.saturating_sub(needed);
        if over > needed + SLACK {
            self.window.drain(..over);
            self.passed -= over;
            let back = |range: &mut Range<usize>| *range = range.start.saturating_sub(over)..range.end - over;
            self.blanks.iter_mut().chain(&mut self.open).for_each(back);
        }
    }
}
