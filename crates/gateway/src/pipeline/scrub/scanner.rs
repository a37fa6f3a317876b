//! Finds one secret in bytes, in every form it is likely to come back in. Made once for each version
//! of a credential and worker, wiped when dropped.
//!
//! Forms: as it is; in base64 (RFC 4648, either alphabet), also inside a longer text such as
//! `Bearer …` or `user:…`, at each of the three places it can begin at; in hexadecimal of either case;
//! and each of these with any of its characters written as an escape (see [`super::escape`]). In base64
//! the up to two characters that the secret shares with its neighbours stay.
//!
//! Normal answers cost next to nothing. The search for unescaped forms looks at the end of a window and
//! skips as far as the two bytes there allow (Wu and Manber), which is nearly the secret's length; that
//! for escaped ones goes from one escape to the next.
//!
//! Not found: escapes within escapes, base64 broken into lines, and whatever else an upstream may
//! think of that means to give its own credential away.

use super::escape::{self, Escape};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use credentialflow_model::SecretValue;
use std::ops::Range;
use zeroize::{Zeroize, Zeroizing};

/// Shorter secrets are not searched for: they would blot out text that only happens to be equal.
pub(super) const SHORTEST: usize = 6;
/// The window needs no more to skip far, and a skip has to leave a bit free.
const WIDEST: usize = 127;
/// Places of the table of pairs.
const PAIRS: usize = 1024;
/// Readings tried at most where a byte may be itself or the beginning of an escape.
const READINGS: u8 = 32;

/// Two bytes stand next to each other in some pattern; the rest is how far the window may go on.
const NEIGHBOURS: u8 = 1 << 7;
/// A byte may stand inside an occurrence.
const INSIDE: u8 = 1 << 7;
/// The bits of the patterns that may begin with a byte.
const BEGINS: u8 = INSIDE - 1;

/// The forms of one secret, ready to be looked for.
pub(crate) struct Scanner {
    patterns: Vec<Pattern>,
    /// Length of the shortest pattern, within bounds: what the search for unescaped forms looks at.
    window: usize,
    /// The most bytes an occurrence takes, less one.
    overlap: usize,
    /// What is known of two bytes of this hash: [`NEIGHBOURS`], and how far a window that ends in them may go on.
    pairs: Zeroizing<Vec<u8>>,
    /// What each byte may be within an occurrence.
    bytes: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Exact,
    /// `+` and `-` are the same, and so are `/` and `_`.
    Base64,
    /// Letters of either case.
    Hex,
}

impl Spelling {
    fn same(self, pattern: u8, found: u8) -> bool {
        pattern == found || self.other(pattern) == found
    }

    /// The other way to write this character; itself, if there is none.
    fn other(self, pattern: u8) -> u8 {
        match (self, pattern) {
            (Self::Base64, b'+') => b'-',
            (Self::Base64, b'/') => b'_',
            (Self::Hex, b) => b.to_ascii_uppercase(),
            (_, b) => b,
        }
    }
}

struct Pattern {
    text: SecretValue,
    spelling: Spelling,
}

/// Whether a pattern, or the rest of one, stands somewhere. In the order of what is preferred.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    No,
    /// The bytes end before the pattern does.
    Partial,
    /// Up to here.
    Whole(usize),
}

impl Scanner {
    /// For this secret; `None` when it is too short to be searched for.
    pub fn new(secret: &[u8]) -> Option<Self> {
        if secret.len() < SHORTEST {
            return None;
        }
        let mut patterns = vec![Pattern { text: SecretValue::new(secret.to_vec()), spelling: Spelling::Exact }];
        patterns.extend((0..3).map(|before| Pattern { text: base64(secret, before), spelling: Spelling::Base64 }));
        patterns.push(Pattern { text: hex(secret), spelling: Spelling::Hex });
        let window = patterns.iter().map(|p| p.text.len()).min().unwrap_or(SHORTEST).min(WIDEST);
        let mut scanner = Self {
            overlap: patterns.iter().map(|p| p.text.len()).max().unwrap_or(1) * escape::LONGEST - 1,
            pairs: Zeroizing::new(vec![(window - 1) as u8; PAIRS]),
            bytes: Zeroizing::new(vec![0; 256]),
            patterns,
            window,
        };
        scanner.fill_tables();
        Some(scanner)
    }

    fn fill_tables(&mut self) {
        for (n, pattern) in self.patterns.iter().enumerate() {
            let text = pattern.text.expose();
            let both = |b: u8| [b, pattern.spelling.other(b)];
            for b in text.iter().flat_map(|b| both(*b)) {
                self.bytes[usize::from(b)] |= INSIDE;
            }
            for b in both(text[0]).into_iter().chain(escape::LEADS) {
                self.bytes[usize::from(b)] |= 1 << n;
            }
            for (i, pair) in text.windows(2).enumerate() {
                // Behind the window only that they are neighbours counts.
                let skip = (self.window - 1).min(self.window.wrapping_sub(2 + i)) as u8;
                for (a, b) in both(pair[0]).into_iter().flat_map(|a| both(pair[1]).map(|b| (a, b))) {
                    let pair = &mut self.pairs[place(a, b)];
                    *pair = NEIGHBOURS | skip.min(*pair & !NEIGHBOURS);
                }
            }
        }
        for b in escape::LEADS.iter().chain(escape::INSIDE) {
            self.bytes[usize::from(*b)] |= INSIDE;
        }
    }

    /// Whether it was made for this secret.
    pub fn is_for(&self, secret: &[u8]) -> bool {
        let own = self.patterns[0].text.expose();
        // In constant time, like every comparison of secrets.
        own.len() == secret.len() && own.iter().zip(secret).fold(0, |d, (a, b)| d | (a ^ b)) == 0
    }

    /// What it was made for.
    pub fn secret(&self) -> &[u8] {
        self.patterns.first().map_or(&[], |pattern| pattern.text.expose())
    }

    /// Tells where the secret stands; occurrences may overlap.
    pub fn each(&self, bytes: &[u8], found: &mut impl FnMut(Range<usize>)) {
        self.unescaped(bytes, found);
        self.escaped(bytes, found);
    }

    /// How many bytes at the end may be the beginning of an occurrence.
    pub fn undecided(&self, bytes: &[u8]) -> usize {
        let inside = |b: &u8| self.bytes[usize::from(*b)] & INSIDE != 0;
        if !bytes.last().is_some_and(inside) {
            return 0;
        }
        let tail = &bytes[bytes.len().saturating_sub(self.overlap)..];
        let [a, b, c] = escape::LEADS;
        let possible = match memchr::memchr3(a, b, c, tail) {
            None => 1 + tail.windows(2).rev().take_while(|p| self.pairs[place(p[0], p[1])] & NEIGHBOURS != 0).count(),
            Some(_) => tail.iter().rev().take_while(|b| inside(b)).count(),
        };
        (bytes.len() - possible..bytes.len()).find(|at| self.may_begin(bytes, *at)).map_or(0, |at| bytes.len() - at)
    }

    fn may_begin(&self, bytes: &[u8], at: usize) -> bool {
        let begins = self.bytes[usize::from(bytes[at])] & BEGINS;
        begins != 0
            && self.patterns.iter().enumerate().any(|(n, p)| begins & 1 << n != 0 && p.at(bytes, at) == Match::Partial)
    }

    /// Occurrences that begin without an escape. Says how many places it looked at.
    fn unescaped(&self, bytes: &[u8], found: &mut impl FnMut(Range<usize>)) -> usize {
        let mut looked = 0;
        let mut end = self.window - 1;
        while end < bytes.len() {
            looked += 1;
            let skip = self.pairs[place(bytes[end - 1], bytes[end])] & !NEIGHBOURS;
            if skip == 0 {
                let start = end + 1 - self.window;
                for pattern in &self.patterns {
                    if let Match::Whole(end) = pattern.at(bytes, start) {
                        found(start..end);
                    }
                }
            }
            end += usize::from(skip.max(1));
        }
        looked
    }

    /// Occurrences with an escape in them. What stands before the first escape stands there as it is.
    fn escaped(&self, bytes: &[u8], found: &mut impl FnMut(Range<usize>)) {
        let [a, b, c] = escape::LEADS;
        for at in memchr::memchr3_iter(a, b, c, bytes) {
            let Escape::Byte(byte, _) = escape::read(&bytes[at..]) else { continue };
            if self.bytes[usize::from(byte)] & INSIDE == 0 {
                continue;
            }
            for pattern in &self.patterns {
                pattern.around(bytes, at, byte, found);
            }
        }
    }
}

impl Pattern {
    /// Whether the pattern stands at `at`.
    fn at(&self, bytes: &[u8], at: usize) -> Match {
        self.rest(0, bytes, at, &mut { READINGS })
    }

    /// Whether the pattern from its `i`-th character on stands at `at`.
    fn rest(&self, mut i: usize, bytes: &[u8], mut at: usize, readings: &mut u8) -> Match {
        let text = self.text.expose();
        while let Some(want) = text.get(i) {
            let Some(b) = bytes.get(at) else { return Match::Partial };
            let plain = self.spelling.same(*want, *b);
            let escape = if escape::LEADS.contains(b) { escape::read(&bytes[at..]) } else { Escape::None };
            let as_escape = match escape {
                Escape::Byte(byte, length) if self.spelling.same(*want, byte) => {
                    if !plain {
                        (i, at) = (i + 1, at + length);
                        continue;
                    }
                    match readings.checked_sub(1) {
                        None => Match::No,
                        Some(left) => {
                            *readings = left;
                            self.rest(i + 1, bytes, at + length, readings)
                        }
                    }
                }
                Escape::Partial => Match::Partial,
                _ => Match::No,
            };
            if as_escape != Match::No {
                let as_itself = if plain { self.rest(i + 1, bytes, at + 1, readings) } else { Match::No };
                return as_escape.max(as_itself);
            }
            if !plain {
                return Match::No;
            }
            (i, at) = (i + 1, at + 1);
        }
        Match::Whole(at)
    }

    /// Occurrences whose first escape stands at `at` for `byte`.
    fn around(&self, bytes: &[u8], at: usize, byte: u8, found: &mut impl FnMut(Range<usize>)) {
        let text = self.text.expose();
        for i in 0..text.len().min(at + 1) {
            if !self.spelling.same(text[i], byte) {
                continue;
            }
            let before = bytes[at - i..at].iter().rev().zip(text[..i].iter().rev());
            if !before.into_iter().all(|(b, want)| self.spelling.same(*want, *b)) {
                continue;
            }
            if let Match::Whole(end) = self.rest(i, bytes, at, &mut { READINGS }) {
                found(at - i..end);
            }
        }
    }
}

fn place(a: u8, b: u8) -> usize {
    ((usize::from(a) * 251) ^ (usize::from(b) * 31)) & (PAIRS - 1)
}

/// The characters of base64 that the secret alone decides, with `before` bytes before it.
fn base64(secret: &[u8], before: usize) -> SecretValue {
    let mut plain = vec![0; before];
    plain.reserve_exact(secret.len());
    plain.extend_from_slice(secret);
    let mut text = vec![0; plain.len().div_ceil(3) * 4];
    let length = BASE64_STANDARD_NO_PAD.encode_slice(&plain, &mut text).unwrap_or_default();
    let own = (8 * before).div_ceil(6)..(8 * plain.len() / 6).min(length);
    let pattern = SecretValue::new(text[own].to_vec());
    plain.zeroize();
    text.zeroize();
    pattern
}

fn hex(secret: &[u8]) -> SecretValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Vec::with_capacity(2 * secret.len());
    text.extend(secret.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]));
    SecretValue::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_answer_is_hardly_looked_at() {
        let scanner = Scanner::new(b"sk-upstream-Zq7+/W4e1r9T=mNb3vCx8").unwrap();
        let text: String = (0..2000)
            .map(|i| {
                format!(
                    "{{\"id\":{i},\"name\":\"order number {i}\",\"price\":\"{}.50\",\"note\":\"to be sent\"}},\n",
                    i * 7
                )
            })
            .collect();
        let looked = scanner.unescaped(text.as_bytes(), &mut |_| panic!("nothing is there"));
        assert!(looked * 8 < text.len(), "looked at {looked} of {}", text.len());
        // What ends where no secret goes on is not held back, and not even looked at.
        assert_eq!(scanner.undecided(text.as_bytes()), 0);
        assert_eq!(scanner.undecided(b"data: {\"a\":\"sk-upstream\"}\n\n"), 0);
        assert_eq!(scanner.undecided(b"data: {\"a\":\"sk-upstream"), 11);
    }

    #[test]
    fn it_knows_what_it_was_made_for() {
        let scanner = Scanner::new(b"hunter22").unwrap();
        assert!(scanner.is_for(b"hunter22"));
        assert!(!scanner.is_for(b"hunter23") && !scanner.is_for(b"hunter2"));
        assert!(Scanner::new(b"short").is_none());
    }
}
