//! The summary of a block of rows: enough to know that a search need not read the block.
//!
//! A Bloom filter over every value that can be searched for, tagged with its column, and the extremes of times
//! and durations. It can say "perhaps" for a block without a match (about 1 % in the worst case), never "no" for
//! one with a match. Its bits are stored, so the hashing may not change.

use super::filter::{CallFilter, StatusFilter};
use crate::intern::{mix, stable_hash};
use credentialflow_model::OutcomeReason;
use std::net::IpAddr;

/// Rows of a block.
pub(crate) const BLOCK_ROWS: i64 = 4096;
const BITS: u32 = 1 << 17;
const WORDS: usize = BITS as usize / 64;
/// Bytes of a stored filter.
pub(crate) const BYTES: usize = WORDS * 8;

/// A column that can be searched.
#[derive(Clone, Copy)]
#[repr(u64)]
pub(crate) enum Column {
    Application = 1,
    Key = 2,
    Route = 3,
    Upstream = 4,
    Credential = 5,
    Model = 6,
    Outcome = 7,
    Status = 8,
    StatusClass = 9,
    Source = 10,
    Request = 11,
    /// The name of a prompt, without its version. In segments since the eighth form.
    Prompt = 12,
}

/// Most keys of which a block is asked whether it may hold one; with more, most blocks do.
const MOST_KEYS: usize = 256;

/// The hash of a value in a column.
#[inline]
pub(crate) fn hash(column: Column, value: u64) -> u64 {
    mix(value ^ (column as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A source address as a number; only for hashing.
#[inline]
pub(crate) fn source_value(source: IpAddr) -> u64 {
    match source {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() as u64 ^ mix((v6.to_bits() >> 64) as u64),
    }
}

/// A request id as a number; only for hashing.
#[inline]
pub(crate) fn request_value(id: u128) -> u64 {
    id as u64 ^ mix((id >> 64) as u64)
}

#[inline]
fn bits(hash: u64) -> [u32; 4] {
    let (a, b) = (hash as u32, (hash >> 32) as u32 | 1);
    [0, 1, 2, 3].map(|i| a.wrapping_add(b.wrapping_mul(i)) >> 15)
}

/// Whether a stored filter may hold a value.
pub(crate) fn may_hold(filter: &[u8], hash: u64) -> bool {
    filter.len() != BYTES || bits(hash).iter().all(|bit| filter[*bit as usize / 8] >> (bit % 8) & 1 == 1)
}

/// The name of a prompt, of what calls tell of it: `sentiment` of `sentiment/3`.
pub(crate) fn prompt_name(told: &str) -> &str {
    told.rsplit_once('/').map_or(told, |(name, _)| name)
}

/// The hashes of which a block must hold one to have a match; none where that says nothing.
pub(crate) fn either(f: &CallFilter) -> Vec<u64> {
    let keys = f.keys.as_deref().filter(|keys| keys.len() <= MOST_KEYS).unwrap_or_default();
    keys.iter().map(|key| hash(Column::Key, key.bits())).collect()
}

/// The hashes that a block must hold to have a match, beside those of [`needed`], where blocks tell of prompts.
pub(crate) fn needed_of_prompt(f: &CallFilter) -> Option<u64> {
    f.prompt.as_ref().map(|name| hash(Column::Prompt, stable_hash(name.as_bytes())))
}

/// The hashes that a block must hold to have a match.
pub(crate) fn needed(f: &CallFilter) -> Vec<u64> {
    let named = [
        (Column::Application, &f.application),
        (Column::Route, &f.route),
        (Column::Upstream, &f.upstream),
        (Column::Credential, &f.credential),
        (Column::Model, &f.model),
    ];
    let mut all: Vec<u64> =
        named.into_iter().filter_map(|(c, v)| v.as_ref().map(|v| hash(c, stable_hash(v.as_bytes())))).collect();
    all.extend(f.key.map(|key| hash(Column::Key, key.bits())));
    all.extend(f.outcome.map(|outcome| hash(Column::Outcome, outcome as u64)));
    all.extend(f.source.map(|source| hash(Column::Source, source_value(source))));
    all.extend(f.status.map(|status| match status {
        StatusFilter::Exact(status) => hash(Column::Status, u64::from(status)),
        StatusFilter::Class(class) => hash(Column::StatusClass, u64::from(class)),
    }));
    all
}

/// The summary of the block being written.
pub(crate) struct Summary {
    words: Box<[u64; WORDS]>,
    /// First row of the block.
    pub first_row: i64,
    pub rows: i64,
    pub min_time: i64,
    pub max_time: i64,
    pub max_total_us: i64,
    /// Outcome and status of the row before: most are alike.
    last: Option<(OutcomeReason, u16)>,
}

impl Summary {
    pub fn new(first_row: i64) -> Self {
        let words = Box::new([0; WORDS]);
        Self { words, first_row, rows: 0, min_time: i64::MAX, max_time: i64::MIN, max_total_us: 0, last: None }
    }

    /// Begins the next block.
    pub fn reset(&mut self, first_row: i64) {
        self.words.fill(0);
        (self.first_row, self.rows, self.last) = (first_row, 0, None);
        (self.min_time, self.max_time, self.max_total_us) = (i64::MAX, i64::MIN, 0);
    }

    #[inline]
    pub fn row(&mut self, time: i64, total_us: i64) {
        self.rows += 1;
        self.min_time = self.min_time.min(time);
        self.max_time = self.max_time.max(time);
        self.max_total_us = self.max_total_us.max(total_us);
    }

    #[inline]
    pub fn add(&mut self, hash: u64) {
        for bit in bits(hash) {
            self.words[bit as usize / 64] |= 1 << (bit % 64);
        }
    }

    #[inline]
    pub fn ending(&mut self, outcome: OutcomeReason, status: u16) {
        if self.last != Some((outcome, status)) {
            self.last = Some((outcome, status));
            self.add(hash(Column::Outcome, outcome as u64));
            self.add(hash(Column::Status, u64::from(status)));
            self.add(hash(Column::StatusClass, u64::from(status / 100)));
        }
    }

    /// The filter as stored.
    pub fn bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_and_little_else() {
        let mut summary = Summary::new(1);
        // The worst block: every row has its own key, source and request.
        for i in 0..3 * BLOCK_ROWS as u64 {
            summary.add(hash(Column::Key, i));
        }
        let bytes = summary.bytes();
        assert!((0..3 * BLOCK_ROWS as u64).all(|i| may_hold(&bytes, hash(Column::Key, i))));
        let wrong = (0..10_000).filter(|i| may_hold(&bytes, hash(Column::Source, *i))).count();
        assert!(wrong < 200, "{wrong} of 10,000 look present");
    }

    #[test]
    fn a_value_counts_only_in_its_column() {
        let mut summary = Summary::new(1);
        summary.add(hash(Column::Route, stable_hash(b"orders")));
        let of = |f: &CallFilter| needed(f).iter().all(|h| may_hold(&summary.bytes(), *h));
        assert!(of(&CallFilter { route: Some("orders".into()), ..CallFilter::default() }));
        assert!(!of(&CallFilter { application: Some("orders".into()), ..CallFilter::default() }));
    }
}
