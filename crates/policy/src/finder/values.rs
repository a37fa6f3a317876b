//! Values of credentials, as marks that tell nothing: fingerprints of the last and of the first 16 bytes and a hash of the
//! whole, all under keys of this process.
//!
//! At each place of a text the first eight bytes of the next sixteen are multiplied into a table of bits; where its bit
//! is set, the fingerprint of the sixteen is looked up; where that is the end of a value, the fingerprint of where that
//! would begin is compared, since many values may end alike; then the whole value is hashed and compared in constant
//! time. The table grows with the number of marks, so that a place seldom needs more than the first step.
//! Since a mark is about a value's end, all of a candidate has been seen when its mark is met, and nothing has to be
//! waited for.

use super::{Alike, Hits, LiveSecret, Span};
use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use hashbrown::HashMap;
use std::{fmt, sync::Arc};

/// Bytes of a fingerprint; shorter values are not looked for.
pub const WINDOW: usize = 16;
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

/// Bits of the table for each mark, and the least and most bits in all, as powers of two.
const BITS_EACH: usize = 128;
const LEAST: u32 = 12;
const MOST: u32 = 24;

/// What the marks of one process are made under.
pub struct ValueKey {
    first: u64,
    second: u64,
    factor: u64,
    hmac: hmac::Key,
}

impl ValueKey {
    /// From random bytes, which are used for nothing else.
    pub fn new(random: &[u8; KEY_BYTES]) -> Self {
        let word = |at: usize| random[at..at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Self {
            first: word(0),
            second: word(8),
            factor: word(16) | 1,
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
            place: (self.place(window) >> 32) as u32,
            fingerprint: self.fingerprint(window),
            begin,
            begin_place: (self.place(first) >> 32) as u32,
            lead: self.lead(value.first_chunk()?),
            breaks: first.contains(&b'\n'),
            length: u32::try_from(value.len()).ok()?,
            hash,
        })
    }

    /// The place of a value's first bytes in the table of these.
    fn lead(&self, first: &[u8; LEAD]) -> u16 {
        let word = (u64::from(u32::from_le_bytes(*first)) ^ self.second).wrapping_mul(self.factor);
        (word >> (64 - LEADS)) as u16
    }

    /// What the highest bits of are the place in the table.
    #[inline]
    fn place(&self, window: &[u8; WINDOW]) -> u64 {
        (low(window) ^ self.first).wrapping_mul(self.factor)
    }

    fn fingerprint(&self, window: &[u8; WINDOW]) -> u64 {
        let product = u128::from(low(window) ^ self.first) * u128::from(high(window) ^ self.second);
        (product as u64) ^ (product >> 64) as u64
    }
}

#[inline]
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
    place: u32,
    fingerprint: u64,
    begin: u64,
    begin_place: u32,
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
    /// A power of two of bits.
    table: Box<[u64]>,
    shift: u32,
    by_fingerprint: HashMap<u64, Vec<Marked>>,
    longest: usize,
    begins: Begins,
}

/// How values begin: what must wait of a text in which they are blanked.
struct Begins {
    /// As large as that of the ends.
    table: Box<[u64]>,
    /// Bytes of the longest value that begins so.
    longest: HashMap<u64, usize>,
    leads: Box<[u64]>,
    breaks: bool,
}

impl ValueMarks {
    /// With these marks, made under this key: the credential's name, its version, the mark.
    pub fn new(key: Arc<ValueKey>, marks: impl IntoIterator<Item = (Arc<str>, u32, ValueMark)>) -> Self {
        let mut by_fingerprint: HashMap<u64, Vec<Marked>> = HashMap::new();
        let (mut count, mut longest) = (0, 0);
        for (credential, version, mark) in marks {
            count += 1;
            longest = longest.max(mark.length as usize);
            by_fingerprint.entry(mark.fingerprint).or_default().push(Marked { credential, version, mark });
        }
        // Those of one length share the work of hashing.
        by_fingerprint.values_mut().for_each(|same| same.sort_by_key(|marked| marked.mark.length));
        let bits = (count * BITS_EACH).max(1).next_power_of_two().ilog2().clamp(LEAST, MOST);
        let empty = |bits: u32| vec![0u64; 1 << (bits - 6)].into_boxed_slice();
        let set = |table: &mut [u64], place: u32| table[place as usize >> 6] |= 1 << (place & 63);
        let mut table = empty(bits);
        let mut begins = Begins { table: empty(bits), longest: HashMap::new(), leads: empty(LEADS), breaks: false };
        for Marked { mark, .. } in by_fingerprint.values().flatten() {
            set(&mut table, mark.place >> (32 - bits));
            set(&mut begins.table, mark.begin_place >> (32 - bits));
            set(&mut begins.leads, mark.lead.into());
            begins.breaks |= mark.breaks;
            let longest = begins.longest.entry(mark.begin).or_default();
            *longest = (*longest).max(mark.length as usize);
        }
        Self { key, table, shift: 64 - bits, by_fingerprint, longest, begins }
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
            joined[..border].copy_from_slice(&before[before.len() - border..]);
            joined[border..border + behind].copy_from_slice(&text[..behind]);
            let mut enough = false;
            self.each(&self.table, &joined[..border + behind], |end, window| {
                enough = end > border && take(window, &text[..end - border]);
                enough
            });
            if enough {
                return;
            }
        }
        self.each(&self.table, text, |end, window| take(window, &text[..end]));
    }

    /// Tells where values may begin in a text, and how long they are at most.
    pub(super) fn each_begin(&self, text: &[u8], mut tell: impl FnMut(usize, usize)) {
        if self.is_empty() {
            return;
        }
        self.each(&self.begins.table, text, |end, window| {
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

    /// Tells the end of every window that needs a closer look by this table, until one is taken.
    #[inline]
    fn each<'t>(&self, table: &[u64], text: &'t [u8], mut take: impl FnMut(usize, &'t [u8; WINDOW]) -> bool) {
        for (at, window) in text.windows(WINDOW).enumerate() {
            let Some(window) = window.first_chunk::<WINDOW>() else { continue };
            let place = (self.key.place(window) >> self.shift) as usize;
            let word = table.get(place >> 6).copied().unwrap_or_default();
            if word >> (place & 63) & 1 != 0 && take(at + WINDOW, window) {
                return;
            }
        }
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
