//! Secrets that echo: an upstream may repeat the credential it was sent, the caller must not see it.
//!
//! Every occurrence is replaced by as many asterisks, so that lengths and framing stay as they are.
//! Occurrences cut in two by the arrival of bytes are found too: what may be the beginning of one is
//! held back until the next bytes decide.

use credentialflow_model::SecretValue;
use memchr::memmem;

/// Shorter secrets are not searched for: they would blot out text that only happens to be equal.
const SHORTEST: usize = 6;

/// The forms of a secret that must not pass.
#[derive(Default)]
pub(crate) struct Scrub {
    patterns: Vec<SecretValue>,
    held: Vec<u8>,
}

impl Scrub {
    /// Adds a form.
    pub fn add(&mut self, secret: &[u8]) {
        if secret.len() >= SHORTEST {
            self.patterns.push(SecretValue::new(secret.to_vec()));
        }
    }

    /// Whether there is nothing to look for.
    pub fn is_idle(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Replaces every occurrence in a piece that is complete in itself, as in a head. `None`: there is none.
    pub fn whole(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut copy: Option<Vec<u8>> = None;
        for pattern in &self.patterns {
            let found: Vec<usize> = memmem::find_iter(copy.as_deref().unwrap_or(bytes), pattern.expose()).collect();
            for at in found {
                copy.get_or_insert_with(|| bytes.to_vec())[at..at + pattern.len()].fill(b'*');
            }
        }
        copy
    }

    /// Passes a piece of a body on to `out`.
    pub fn feed(&mut self, piece: &[u8], out: &mut impl FnMut(&[u8])) {
        if self.patterns.is_empty() {
            return out(piece);
        }
        if self.held.is_empty() {
            let clean = self.patterns.iter().all(|p| memmem::find(piece, p.expose()).is_none());
            let keep = self.undecided(piece);
            if clean {
                let (pass, hold) = piece.split_at(piece.len() - keep);
                self.held.extend_from_slice(hold);
                if !pass.is_empty() {
                    out(pass);
                }
                return;
            }
        }
        let mut joined = std::mem::take(&mut self.held);
        joined.extend_from_slice(piece);
        if let Some(scrubbed) = self.whole(&joined) {
            joined = scrubbed;
        }
        let keep = self.undecided(&joined);
        let pass = joined.len() - keep;
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

    /// How many bytes at the end may be the beginning of a secret.
    fn undecided(&self, bytes: &[u8]) -> usize {
        self.patterns.iter().map(|p| longest_prefix_at_end(bytes, p.expose())).max().unwrap_or(0)
    }
}

fn longest_prefix_at_end(bytes: &[u8], pattern: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(pattern.len() - 1);
    let tail = &bytes[from..];
    memchr::memchr_iter(pattern[0], tail).map(|at| &tail[at..]).find(|t| pattern.starts_with(t)).map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(secrets: &[&[u8]], pieces: &[&[u8]]) -> Vec<u8> {
        let mut scrub = Scrub::default();
        secrets.iter().for_each(|s| scrub.add(s));
        let mut got = Vec::new();
        for piece in pieces {
            scrub.feed(piece, &mut |b| got.extend_from_slice(b));
        }
        scrub.finish(&mut |b| got.extend_from_slice(b));
        got
    }

    #[test]
    fn echoes_are_blotted_out_with_the_same_length() {
        assert_eq!(run(&[b"hunter22"], &[b"a hunter22 b"]), b"a ******** b");
        assert_eq!(run(&[b"hunter22"], &[b"a hun", b"ter2", b"2 b"]), b"a ******** b");
        assert_eq!(run(&[b"hunter22"], &[b"a hun", b"ting"]), b"a hunting");
        assert_eq!(run(&[b"aaaaaab"], &[b"aaaaaaaaaaab"]), b"aaaaa*******");
        assert_eq!(run(&[b"hunter22", b"aHVudGVyMjI="], &[b"hunter22 aHVudGVyMjI="]), b"******** ************");
    }

    proptest! {
        #[test]
        fn no_split_lets_a_secret_through(
            before in "[abx]{0,12}", after in "[abx]{0,12}", secret in "[ab]{6,9}", cuts in prop::collection::vec(0usize..40, 0..6),
        ) {
            let text = format!("{before}{secret}{after}").into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
            let got = run(&[secret.as_bytes()], &pieces);
            prop_assert_eq!(got.len(), text.len());
            prop_assert!(memmem::find(&got, secret.as_bytes()).is_none());
        }
    }
}
