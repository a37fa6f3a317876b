//! Values of credentials, as marks that tell nothing: fingerprints of the last and of the first 16 bytes and a hash of the
//! whole, all under keys of this process.
//!
//! Where sixteen bytes may be the end of a value is told by [`windows`]; there the fingerprint of the sixteen is looked up;
//! where that is the end of a value, the fingerprint of where that would begin is compared, since many values may end
//! alike; then the whole value is hashed and compared in constant time.
//! Since a mark is about a value's end, all of a candidate has been seen when its mark is met, and nothing has to be
//! waited for.

use super::{
    Alike, Hits, LiveSecret, Span,
    windows::{Places, Spread, Windows},
};
use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use hashbrown::HashMap;
use std::{fmt, sync::Arc};

/// Bytes of a fingerprint; shorter values are not looked for.
pub const WINDOW: usize = super::windows::WINDOW;
/// Longer values are not looked for: as much of an upload is remembered.
pub const LONGEST: usize = 16 * 1024;
/// Random bytes that a [`ValueKey`] is made of.
pub const KEY_BYTES: usize = 64;

/// Hashes in one search at most, and candidates that are looked at. Beyond that no more values are looked for in it; where
/// they are blanked, whatever ends like one counts as the longest that ends so.
const MOST_HASHED: u32 = 1000;
const MOST_VISITED: u32 = 50_000;

/// So many of a value's first bytes tell, before there are sixteen, that a text may end within one.
pub(super) const LEAD: usize = 4;
/// Bits of the table of these, as a power of two.
const LEADS: u32 = 16;

/// What the marks of one process are made under.
pub struct ValueKey {
    spread: Spread,
    first: u64,
    second: u64,
    hmac: hmac::Key,
}

impl ValueKey {
    /// From random bytes, which are used for nothing else.
    pub fn new(random: &[u8; KEY_BYTES]) -> Self {
        let word = |at: usize| random[at..at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Self {
            spread: Spread::new(word(0), word(16)),
            first: word(0),
            second: word(8),
            hmac: hmac::Key::new(hmac::HMAC_SHA256, &random[24..]),
        }
    }

    /// The mark of a value; `None` where it is too short or too long to be looked for.
    pub fn mark(&self, value: &[u8]) -> Option<ValueMark> {
        let window = value.last_chunk().filter(|_| value.len() <= LONGEST)?;
        let first = value.first_chunk()?;
        let begin = self.fingerprint(first);
        let mut hash = [0; 32];
        hash.copy_from_slice(hmac::sign(&self.hmac, value).as_ref());
        Some(ValueMark {
            places: self.spread.places(window),
            fingerprint: self.fingerprint(window),
            begin,
            begin_places: self.spread.places(first),
            lead: self.lead(value.first_chunk()?),
            breaks: first.contains(&b'\n'),
            length: u32::try_from(value.len()).ok()?,
            hash,
        })
    }

    /// The place of a value's first bytes in the table of these.
    fn lead(&self, first: &[u8; LEAD]) -> u16 {
        let word = self.spread.of(u64::from(u32::from_le_bytes(*first)) ^ self.second);
        (word >> (64 - LEADS)) as u16
    }

    fn fingerprint(&self, window: &[u8; WINDOW]) -> u64 {
        let product = u128::from(low(window) ^ self.first) * u128::from(high(window) ^ self.second);
        (product as u64) ^ (product >> 64) as u64
    }
}

fn low(window: &[u8; WINDOW]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *window;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn high(window: &[u8; WINDOW]) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = *window;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

impl fmt::Debug for ValueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValueKey(redacted)")
    }
}

/// What is kept of a value, so that it can be recognised.
#[derive(Clone)]
pub struct ValueMark {
    places: Places,
    fingerprint: u64,
    begin: u64,
    begin_places: Places,
    lead: u16,
    /// Whether a line ends within its first bytes.
    breaks: bool,
    length: u32,
    hash: [u8; 32],
}

impl fmt::Debug for ValueMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValueMark(redacted)")
    }
}

/// What has been spent on one search.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    hashed: u32,
    visited: u32,
}

struct Marked {
    credential: Arc<str>,
    version: u32,
    mark: ValueMark,
}

/// The marks of all values that are looked for. Made where snapshots are made, shared by all workers.
pub struct ValueMarks {
    key: Arc<ValueKey>,
    ends: Windows,
    by_fingerprint: HashMap<u64, Vec<Marked>>,
    longest: usize,
    begins: Begins,
}

/// How values begin: what must wait of a text in which they are blanked.
struct Begins {
    windows: Windows,
    /// Bytes of the longest value that begins so.
    longest: HashMap<u64, usize>,
    leads: Box<[u64]>,
    breaks: bool,
}

impl ValueMarks {
    /// With these marks, made under this key: the credential's name, its version, the mark.
    pub fn new(key: Arc<ValueKey>, marks: impl IntoIterator<Item = (Arc<str>, u32, ValueMark)>) -> Self {
        let mut by_fingerprint: HashMap<u64, Vec<Marked>> = HashMap::new();
        let mut longest = 0;
        for (credential, version, mark) in marks {
            longest = longest.max(mark.length as usize);
            by_fingerprint.entry(mark.fingerprint).or_default().push(Marked { credential, version, mark });
        }
        // Those of one length share the work of hashing.
        by_fingerprint.values_mut().for_each(|same| same.sort_by_key(|marked| marked.mark.length));
        let all: Vec<_> = by_fingerprint.values().flatten().map(|marked| &marked.mark).collect();
        let mut begins = Begins {
            windows: Windows::of(all.iter().map(|mark| &mark.begin_places)),
            longest: HashMap::new(),
            leads: vec![0u64; 1 << (LEADS - 6)].into_boxed_slice(),
            breaks: false,
        };
        for mark in &all {
            begins.leads[usize::from(mark.lead >> 6)] |= 1 << (mark.lead & 63);
            begins.breaks |= mark.breaks;
            let longest = begins.longest.entry(mark.begin).or_default();
            *longest = (*longest).max(mark.length as usize);
        }
        let ends = Windows::of(all.iter().map(|mark| &mark.places));
        Self { key, ends, by_fingerprint, longest, begins }
    }

    /// With none.
    pub fn none() -> Self {
        Self::new(Arc::new(ValueKey::new(&[0; KEY_BYTES])), [])
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_fingerprint.is_empty()
    }

    /// Bytes of the longest value.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Adds the values that end in `text`, which may begin in what came `before`, until there are enough.
    pub(super) fn find(&self, before: &[u8], text: &[u8], spent: &mut Spent, hits: &mut Hits) {
        if self.is_empty() || hits.enough() {
            return;
        }
        let to_the_end = hits.alike.is_some();
        if spent.is_over() {
            hits.gave_up = true;
            if !to_the_end {
                return;
            }
        }
        let mut take = |window: &[u8; WINDOW], ended: &[u8]| {
            self.compare(window, before, ended, spent, hits);
            hits.gave_up |= spent.is_over();
            hits.enough() || spent.is_over() && !to_the_end
        };
        if !before.is_empty() {
            const MOST: usize = WINDOW - 1;
            let (border, behind) = (before.len().min(MOST), text.len().min(MOST));
            let mut joined = [0; 2 * MOST];
            match (before.last_chunk::<MOST>(), text.first_chunk::<MOST>()) {
                // Nearly always, and cheaper than so many as there are.
                (Some(before), Some(text)) => {
                    joined[..MOST].copy_from_slice(before);
                    joined[MOST..].copy_from_slice(text);
                }
                _ => {
                    joined[..border].copy_from_slice(&before[before.len() - border..]);
                    joined[border..border + behind].copy_from_slice(&text[..behind]);
                }
            }
            let mut enough = false;
            self.ends.each(self.key.spread, &joined[..border + behind], |end, window| {
                enough = end > border && take(window, &text[..end - border]);
                enough
            });
            if enough {
                return;
            }
        }
        self.ends.each(self.key.spread, text, |end, window| take(window, &text[..end]));
    }

    /// Tells where values may begin in a text, and how long they are at most.
    pub(super) fn each_begin(&self, text: &[u8], mut tell: impl FnMut(usize, usize)) {
        if self.is_empty() {
            return;
        }
        self.begins.windows.each(self.key.spread, text, |end, window| {
            if let Some(longest) = self.begins.longest.get(&self.key.fingerprint(window)) {
                tell(end - WINDOW, *longest);
            }
            false
        });
    }

    /// Whether a value may begin with this end of a text, of 4 to 15 bytes.
    pub(super) fn may_begin(&self, end: &[u8]) -> bool {
        let Some(lead) = end.first_chunk().map(|first| self.key.lead(first)) else { return false };
        let known = self.begins.leads[usize::from(lead >> 6)] >> (lead & 63) & 1 != 0;
        known && !self.is_empty() && (self.begins.breaks || !end.contains(&b'\n'))
    }

    /// Adds those whose value ends where `text` does.
    #[cold]
    fn compare(&self, window: &[u8; WINDOW], before: &[u8], text: &[u8], spent: &mut Spent, hits: &mut Hits) {
        let candidates = self.by_fingerprint.get(&self.key.fingerprint(window));
        let mut hashed: Option<(usize, hmac::Tag)> = None;
        for Marked { credential, version, mark } in candidates.into_iter().flatten() {
            if spent.is_over() {
                // They are in order of their lengths.
                let longest = candidates.and_then(|all| all.last()).map_or(WINDOW, |last| last.mark.length as usize);
                let hidden = longest.min(before.len() + text.len());
                hits.meet_alike(Alike { key: None, end: text.len(), hidden });
                return;
            }
            spent.visited += 1;
            let length = mark.length as usize;
            let earlier = length.saturating_sub(text.len());
            if earlier > before.len() {
                continue;
            }
            let (first, rest) = (&before[before.len() - earlier..], &text[text.len() - (length - earlier)..]);
            if self.key.fingerprint(&beginning(first, rest)) != mark.begin {
                continue;
            }
            if hashed.as_ref().is_none_or(|(of, _)| *of != length) {
                spent.hashed += 1;
                let mut context = hmac::Context::with_key(&self.key.hmac);
                context.update(first);
                context.update(rest);
                hashed = Some((length, context.sign()));
            }
            let same = |(_, hash): &(usize, hmac::Tag)| verify_slices_are_equal(hash.as_ref(), &mark.hash).is_ok();
            if hashed.as_ref().is_some_and(same) {
                let secret = LiveSecret::Value { credential: credential.clone(), version: *version };
                hits.add(Span { secret, end: text.len(), length, hidden: length });
            }
        }
    }
}

/// The first bytes of both together, which have as many.
fn beginning(first: &[u8], rest: &[u8]) -> [u8; WINDOW] {
    let mut window = [0; WINDOW];
    for (to, from) in window.iter_mut().zip(first.iter().chain(rest)) {
        *to = *from;
    }
    window
}

impl Spent {
    pub(super) fn is_over(&self) -> bool {
        self.hashed >= MOST_HASHED || self.visited >= MOST_VISITED
    }
}

impl Default for ValueMarks {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for ValueMarks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValueMarks({} fingerprints)", self.by_fingerprint.len())
    }
}
