//! A histogram of durations with log-spaced buckets: four a doubling, so a quantile is at most 19 % off.
//!
//! Fixed size, no allocation, added to with two integer operations. It knows nothing about time or labels.

/// Buckets: 4 below 16 µs, then four a doubling up to 2^28 µs (268 s), and one for everything above.
pub(crate) const BUCKETS: usize = 4 * (28 - 4) + 4 + 1;

/// Counts of durations in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Histogram(pub [u32; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

/// The bucket a duration falls into.
pub(crate) fn bucket(us: u64) -> usize {
    if us < 16 {
        return (us / 4) as usize;
    }
    let octave = 63 - us.leading_zeros() as usize;
    (4 + 4 * (octave - 4) + (us >> (octave - 2) & 3) as usize).min(BUCKETS - 1)
}

/// The smallest duration of a bucket.
fn lower(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64 * 4;
    }
    let (octave, quarter) = (4 + (bucket - 4) / 4, ((bucket - 4) % 4) as u64);
    (4 + quarter) << (octave - 2)
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub fn add(&mut self, us: u64) {
        self.0[bucket(us)] += 1;
    }

    /// The duration that a share `q` (0 to 1) of all stays below, in microseconds; `None` when nothing was counted.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let total: u64 = self.0.iter().map(|n| u64::from(*n)).sum();
        if total == 0 {
            return None;
        }
        let rank = (q * total as f64).ceil().clamp(1.0, total as f64) as u64;
        let mut before = 0u64;
        for (i, n) in self.0.iter().enumerate() {
            let n = u64::from(*n);
            if before + n >= rank {
                let (from, to) = (lower(i), if i + 1 < BUCKETS { lower(i + 1) } else { lower(i) });
                // Within a bucket the durations are taken as evenly spread.
                return Some(from + (to - from) * (rank - before) / n);
            }
            before += n;
        }
        None
    }

    /// The counts above zero, for storing.
    pub fn sparse(&self) -> Vec<(u8, u32)> {
        self.0.iter().enumerate().filter(|(_, n)| **n > 0).map(|(i, n)| (i as u8, *n)).collect()
    }

    /// Adds counts as [`Self::sparse`] gave them; unknown buckets are ignored.
    pub fn add_sparse(&mut self, counts: &[(u8, u32)]) {
        for (i, n) in counts {
            if let Some(slot) = self.0.get_mut(usize::from(*i)) {
                *slot = slot.saturating_add(*n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_duration_lies_between_its_buckets_ends(us in 0u64..1 << 28) {
            let b = bucket(us);
            prop_assert!(lower(b) <= us);
            prop_assert!(us < lower(b + 1), "{us} in {b}, which ends at {}", lower(b + 1));
        }

        #[test]
        fn quantiles_are_at_most_a_bucket_off(mut all in proptest::collection::vec(16u64..1 << 27, 1..200), q in 0.01f64..1.0) {
            let mut h = Histogram::default();
            all.iter().for_each(|us| h.add(*us));
            all.sort_unstable();
            let exact = all[((q * all.len() as f64).ceil() as usize).clamp(1, all.len()) - 1];
            let got = h.quantile(q).unwrap();
            prop_assert!(got as f64 >= exact as f64 * 0.79 && got as f64 <= exact as f64 * 1.26, "{got} for {exact}");
        }
    }

    #[test]
    fn extremes_are_counted() {
        let mut h = Histogram::default();
        h.add(0);
        h.add(u64::MAX);
        assert_eq!(h.sparse(), vec![(0, 1), ((BUCKETS - 1) as u8, 1)]);
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
