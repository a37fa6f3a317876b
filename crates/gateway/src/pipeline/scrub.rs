//! Secrets that echo: an upstream may repeat the credential it was sent, the caller must not see it.
//!
//! Every occurrence is replaced by as many asterisks, so that lengths and framing stay as they are.
//! Occurrences cut in two by the arrival of bytes are found too: what may be the beginning of one is
//! held back until the next bytes decide.

use credentialflow_model::SecretValue;

/// Shorter secrets are not searched for: they would blot out text that only happens to be equal.
const SHORTEST: usize = 6;

/// The forms of a secret that must not pass.
#[derive(Default)]
pub(crate) struct Scrub {
    patterns: Vec<Pattern>,
    held: Vec<u8>,
}

/// One form, and the byte of it to look for first. Building a general searcher for every answer would
/// cost more than the search, and keeping one would copy the secret to where it is not wiped.
struct Pattern {
    secret: SecretValue,
    anchor: usize,
}

impl Pattern {
    fn new(secret: &[u8]) -> Self {
        // Texts are mostly lower case: anything else stands out.
        let anchor = secret.iter().position(|b| !b.is_ascii_lowercase()).unwrap_or(secret.len() / 2);
        Self { secret: SecretValue::new(secret.to_vec()), anchor }
    }

    /// The first occurrence at or after `from`.
    fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let secret = self.secret.expose();
        let anchors = bytes.get(from + self.anchor..)?;
        memchr::memchr_iter(secret[self.anchor], anchors)
            .map(|at| from + at)
            .find(|at| bytes.get(*at..*at + secret.len()) == Some(secret))
    }
}

impl Scrub {
    /// Adds a form.
    pub fn add(&mut self, secret: &[u8]) {
        if secret.len() >= SHORTEST {
            self.patterns.push(Pattern::new(secret));
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
            let mut from = 0;
            while let Some(at) = pattern.find(copy.as_deref().unwrap_or(bytes), from) {
                from = at + pattern.secret.len();
                copy.get_or_insert_with(|| bytes.to_vec())[at..from].fill(b'*');
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
            let clean = self.patterns.iter().all(|p| p.find(piece, 0).is_none());
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
        self.patterns.iter().map(|p| longest_prefix_at_end(bytes, p.secret.expose())).max().unwrap_or(0)
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
    use memchr::memmem;
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
