//! Secrets that echo: an upstream may repeat the credential it was sent, the caller must not see it.
//!
//! Every occurrence is replaced by as many asterisks, so that lengths and framing stay as they are.
//! Occurrences cut in two by the arrival of bytes are found too: what may be the beginning of one is
//! held back until the next bytes decide. Which forms are found is told in [`scanner`].

mod escape;
mod scanner;

use crate::{ports::CredentialSlot, worker::View};
use credentialflow_model::SecretValue;
use scanner::Scanner;
use std::{cell::Cell, rc::Rc};

/// The scanners of a view's credentials, each made when its credential is first used.
pub(crate) type Scanners = Vec<std::cell::RefCell<Option<Rc<Scanner>>>>;

/// Takes one credential out of one answer.
#[derive(Default)]
pub(crate) struct Scrub {
    scanner: Option<Rc<Scanner>>,
    held: Vec<u8>,
    found: Cell<bool>,
}

impl Scrub {
    /// For this value of a credential. Its scanner is kept beside the view, for as long as the value
    /// stays the same.
    pub fn of(view: &View, slot: CredentialSlot, value: &SecretValue) -> Self {
        let Some(place) = view.scanners.get(slot as usize) else { return Self::new(value.expose()) };
        let mut kept = place.borrow_mut();
        match &*kept {
            Some(scanner) if scanner.is_for(value.expose()) => {}
            _ => *kept = Scanner::new(value.expose()).map(Rc::new),
        }
        Self { scanner: kept.clone(), ..Self::default() }
    }

    /// With a scanner of its own.
    pub fn new(value: &[u8]) -> Self {
        Self { scanner: Scanner::new(value).map(Rc::new), ..Self::default() }
    }

    /// For another stream of bytes and the same credential.
    pub fn another(&self) -> Self {
        Self { scanner: self.scanner.clone(), ..Self::default() }
    }

    /// Whether it has found any occurrence.
    pub fn has_found(&self) -> bool {
        self.found.get()
    }

    /// Whether what it looks for is such a secret.
    pub fn is_of(&self, kind: impl FnOnce(&[u8]) -> bool) -> bool {
        self.scanner.as_ref().is_some_and(|scanner| kind(scanner.secret()))
    }

    /// Whether there is nothing to look for.
    pub fn is_idle(&self) -> bool {
        self.scanner.is_none()
    }

    /// Replaces every occurrence in a piece that is complete in itself, as in a head. `None`: there is none.
    pub fn whole(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut copy: Option<Vec<u8>> = None;
        if let Some(scanner) = &self.scanner {
            scanner.each(bytes, &mut |found| copy.get_or_insert_with(|| bytes.to_vec())[found].fill(b'*'));
            if copy.is_some() {
                self.found.set(true);
            }
        }
        copy
    }

    /// Passes a piece of a body on to `out`.
    pub fn feed(&mut self, piece: &[u8], out: &mut impl FnMut(&[u8])) {
        let Some(scanner) = &self.scanner else { return out(piece) };
        if self.held.is_empty() {
            // Nearly always nothing is found, nothing is held back and nothing is copied.
            let scrubbed = self.whole(piece);
            let clean = scrubbed.as_deref().unwrap_or(piece);
            let (pass, hold) = clean.split_at(clean.len() - scanner.undecided(clean));
            if !pass.is_empty() {
                out(pass);
            }
            self.held.extend_from_slice(hold);
            return;
        }
        let mut joined = std::mem::take(&mut self.held);
        joined.extend_from_slice(piece);
        if let Some(scrubbed) = self.whole(&joined) {
            joined = scrubbed;
        }
        let pass = joined.len() - scanner.undecided(&joined);
        if pass > 0 {
            out(&joined[..pass]);
        }
        joined.drain(..pass);
        self.held = joined;
    }

    /// The body is over: what was held back was no secret.
    pub fn finish(&mut self, out: &mut impl FnMut(&[u8])) {
        if !self.held.is_empty() {
            out(&std::mem::take(&mut self.held));
        }
    }
}

/// The bytes of a whole answer without a credential's value, in any form in which answers are cleaned of it.
pub fn without(value: &SecretValue, answer: Vec<u8>) -> Vec<u8> {
    Scrub::new(value.expose()).whole(&answer).unwrap_or(answer)
}

#[cfg(test)]
mod tests;
