//! Where the sixteen bytes of a mark may stand in a text.
//!
//! In the first eight places of every sixteen bytes there is one that is a multiple of eight, counted from the beginning of
//! the text. So of a text only the eight bytes at each such place are multiplied into a table of bits, in which every mark
//! has set eight: one for each distance that the place may have from where its sixteen bytes begin. Where the bit is set,
//! the first eight bytes of the windows around are looked up in a second table, which tells nearly all of those that are
//! not meant. Both tables grow with the number of marks, so that a place seldom needs more than the first step.

/// Bytes of a window.
pub(super) const WINDOW: usize = 16;
/// Bytes that are looked at, and how far the places are apart.
const SAMPLE: usize = 8;
/// Bytes of which the samples are looked up together.
const LINE: usize = 4 * SAMPLE;

/// Bits of a table for each bit that is set, and the least and most bits in all, as powers of two.
const SPARSE: usize = 64;
const LEAST: u32 = 12;
const MOST: u32 = 24;

/// Spreads samples over tables, under two secret numbers.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    secret: u64,
    factor: u64,
}

impl Spread {
    pub fn new(secret: u64, factor: u64) -> Self {
        Self { secret, factor: factor | 1 }
    }

    /// What the highest bits of are the place in a table.
    #[inline]
    pub fn of(self, word: u64) -> u64 {
        (word ^ self.secret).wrapping_mul(self.factor)
    }

    #[inline]
    fn sample(self, bytes: &[u8; SAMPLE]) -> u64 {
        self.of(u64::from_le_bytes(*bytes))
    }

    /// Where a window is met.
    pub fn places(self, window: &[u8; WINDOW]) -> Places {
        let at = |from: usize| window[from..].first_chunk().map_or(0, |bytes| (self.sample(bytes) >> 32) as u32);
        Places(std::array::from_fn(at))
    }
}

/// The places of one window in the tables, from its first sample on.
#[derive(Clone)]
pub(super) struct Places([u32; SAMPLE]);

/// The places of many windows.
pub(super) struct Windows {
    sampled: Table,
    first: Table,
}

impl Windows {
    pub fn of<'p>(all: impl ExactSizeIterator<Item = &'p Places>) -> Self {
        let mut windows = Self { sampled: Table::of(SAMPLE * all.len()), first: Table::of(all.len()) };
        for Places(places) in all {
            places.iter().for_each(|place| windows.sampled.set(*place));
            windows.first.set(places[0]);
        }
        windows
    }

    /// Tells the end of every window of a text that needs a closer look, in order, until one is taken.
    #[inline]
    pub fn each<'t>(&self, spread: Spread, text: &'t [u8], mut take: impl FnMut(usize, &'t [u8; WINDOW]) -> bool) {
        let (lines, rest) = text.as_chunks::<LINE>();
        for (n, line) in lines.iter().enumerate() {
            if self.meets(spread, line) && self.around(spread, text, n * LINE..(n + 1) * LINE, &mut take) {
                return;
            }
        }
        if self.meets(spread, rest) {
            self.around(spread, text, lines.len() * LINE..text.len(), &mut take);
        }
    }

    /// Whether a sample of these bytes is one of those that are met.
    #[inline]
    fn meets(&self, spread: Spread, bytes: &[u8]) -> bool {
        let (samples, _) = bytes.as_chunks();
        samples.iter().fold(0, |met, sample| met | self.sampled.bit(spread.sample(sample))) != 0
    }

    /// Tells the windows that hold one of the samples at these places. Whether one was taken.
    fn around<'t>(
        &self,
        spread: Spread,
        text: &'t [u8],
        places: std::ops::Range<usize>,
        take: &mut impl FnMut(usize, &'t [u8; WINDOW]) -> bool,
    ) -> bool {
        for place in places.step_by(SAMPLE) {
            let Some(sample) = text[place..].first_chunk() else { return false };
            if self.sampled.bit(spread.sample(sample)) == 0 {
                continue;
            }
            for begin in place.saturating_sub(SAMPLE - 1)..=place {
                let Some(window) = text[begin..].first_chunk::<WINDOW>() else { break };
                let first = window.first_chunk().map_or(0, |sample| self.first.bit(spread.sample(sample)));
                if first != 0 && take(begin + WINDOW, window) {
                    return true;
                }
            }
        }
        false
    }
}

/// A power of two of bits.
struct Table {
    bits: Box<[u64]>,
    shift: u32,
}

impl Table {
    /// For so many bits that are set.
    fn of(count: usize) -> Self {
        let bits = (count * SPARSE).max(1).next_power_of_two().ilog2().clamp(LEAST, MOST);
        Self { bits: vec![0; 1 << (bits - 6)].into_boxed_slice(), shift: 64 - bits }
    }

    fn set(&mut self, place: u32) {
        let place = place >> (self.shift - 32);
        self.bits[place as usize >> 6] |= 1 << (place & 63);
    }

    /// 1 where it is set.
    #[inline]
    fn bit(&self, place: u64) -> u64 {
        let place = (place >> self.shift) as usize;
        self.bits.get(place >> 6).map_or(0, |word| word >> (place & 63) & 1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const SPREAD: Spread = Spread { secret: 0x0123_4567_89ab_cdef, factor: 0x9e37_79b9_7f4a_7c15 };

    /// The ends of those of these windows that are met in a text.
    fn met(marks: &[[u8; WINDOW]], text: &[u8]) -> Vec<usize> {
        let places: Vec<_> = marks.iter().map(|mark| SPREAD.places(mark)).collect();
        let (windows, mut ends) = (Windows::of(places.iter()), Vec::new());
        windows.each(SPREAD, text, |end, window| {
            assert_eq!(window, &text[end - WINDOW..end]);
            if marks.contains(window) {
                ends.push(end);
            }
            false
        });
        ends
    }

    #[test]
    fn an_ordinary_text_needs_hardly_any_closer_look() {
        let marks: Vec<_> =
            (0..500u64).map(|i| SPREAD.places(&u128::from(i.wrapping_mul(SPREAD.factor)).to_le_bytes())).collect();
        let windows = Windows::of(marks.iter());
        let text: String = (0..4000).map(|i| format!("{{\"id\":{i},\"name\":\"order number {i}\"}},\n")).collect();
        let mut looks = 0;
        windows.each(SPREAD, text.as_bytes(), |_, _| {
            looks += 1;
            false
        });
        assert!(looks * 500 < text.len(), "{looks} of {}", text.len());
    }

    #[test]
    fn it_ends_where_one_is_taken() {
        let text = [7; 100];
        let windows = Windows::of([SPREAD.places(&[7; WINDOW])].iter());
        let mut ends = Vec::new();
        windows.each(SPREAD, &text, |end, _| {
            ends.push(end);
            end == 40
        });
        assert_eq!(ends, (WINDOW..=40).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn every_window_is_met_in_order(
            mut text in prop::collection::vec(any::<u8>(), 0..200), few in prop::collection::vec(0u8..2, 0..200),
            places in prop::collection::vec(any::<usize>(), 0..6), other: [u8; WINDOW],
        ) {
            // Texts in which much is alike as well.
            for text in [few, std::mem::take(&mut text)] {
                let all: Vec<_> = text.windows(WINDOW).map(|w| *w.first_chunk::<WINDOW>().unwrap()).collect();
                let mut marks: Vec<_> = places.iter().filter_map(|at| all.get(at % all.len().max(1)).copied()).collect();
                marks.push(other);
                let expected: Vec<_> = (0..all.len()).filter(|at| marks.contains(&all[*at])).map(|at| at + WINDOW).collect();
                prop_assert_eq!(met(&marks, &text), expected);
            }
        }
    }
}
