//! Who has used how much of which limit: one table for all workers, without locks on the way.
//!
//! Each key of a limit has one state, its *theoretical arrival time* (GCRA, ITU-T I.371): a request
//! passes when that time is no more than the burst ahead of now, and moves it one interval further.
//! A state whose time has passed equals no state at all, so its slot is taken over by the next key.
//!
//! The table is an array of buckets of seven slots; a key lives in one bucket. Counting for a known
//! key is a compare-and-swap. A slot's time only ever grows, and while a slot changes hands its time
//! reads [`MOVING`]; so whoever read `time` and then saw its own tag knows that a successful swap from
//! `time` hit its own state. Only a key's first request after a pause claims the bucket (one word,
//! for a few instructions), so that two workers never make two states for one key.
//!
//! When more keys are active than a bucket has slots, the key closest to idle gives way: it may get
//! up to its burst anew, nobody is refused wrongly, and [`RateTable::evictions`] counts it. Apart
//! from that, no key ever passes more than its burst plus its rate.
//!
//! What anyone can make up as many of as they like (source addresses, claimed key ids) is kept in
//! buckets apart, so that a flood of it pushes nothing out that was configured: keys, applications,
//! routes. Both parts have a fixed size, whatever comes.

mod limit;

pub use limit::{CompiledLimit, Decision, RateKey};

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Word 0 claims the bucket, word 1 is spare, then seven slots of tag and time.
type Bucket = [AtomicU64; 16];
const SLOTS: usize = 7;
/// The time of a slot that is changing hands.
const MOVING: u64 = u64::MAX;
/// Bounds on every loop; reaching one refuses the request, so that no count is ever skipped.
const SWAPS: usize = 1024;
const ROUNDS: u32 = 256;
/// From here on a round lets other threads run, and from the second on it sleeps: whoever is in the middle of a change
/// may have lost its processor to somebody else, for milliseconds. All rounds together are some 25 of them.
const YIELDING: u32 = 8;
const SLEEPING: u32 = 32;

/// The states of all limits. Share one among all workers and snapshots of a process.
pub struct RateTable {
    configured: Part,
    /// For what is [`RateKey::made_up`].
    made_up: Part,
    seed: u64,
}

struct Part {
    buckets: Box<[Bucket]>,
    evictions: AtomicU64,
}

enum Taken {
    Decided(Decision),
    Moved,
}

impl RateTable {
    /// Room for at least `slots` active keys, rounded up to a power of two of buckets of 128 bytes, and
    /// as much again for what anyone can make up.
    /// Memory is touched only as keys appear. `seed` is random, so that nobody can aim at a bucket.
    pub fn new(slots: usize, seed: u64) -> Self {
        let buckets = slots.div_ceil(SLOTS).clamp(1, 1 << 28).next_power_of_two();
        let part = || Part { buckets: bytemuck::zeroed_slice_box(buckets), evictions: AtomicU64::new(0) };
        Self { configured: part(), made_up: part(), seed }
    }

    /// Counts one request of `key` against `limit`, or refuses it uncounted. `now_ns` comes from one
    /// monotonic clock for all callers.
    pub fn check(&self, key: RateKey, limit: &CompiledLimit, now_ns: u64) -> Decision {
        let (place, tag) = key.spread(limit, self.seed);
        let part = if key.is_made_up() { &self.made_up } else { &self.configured };
        let bucket = &part.buckets[place as usize & (part.buckets.len() - 1)];
        for round in 0..ROUNDS {
            let taken = match find(bucket, tag) {
                Some(slot) => take(bucket, slot, tag, limit, now_ns),
                None => part.claim(bucket, tag, limit, now_ns),
            };
            if let Taken::Decided(decision) = taken {
                return decision;
            }
            wait(round);
        }
        limit.refused(limit.capacity_ns())
    }

    /// What would be decided of one more request of `key` at this moment; nothing is counted.
    pub fn peek(&self, key: RateKey, limit: &CompiledLimit, now_ns: u64) -> Decision {
        let (place, tag) = key.spread(limit, self.seed);
        let part = if key.is_made_up() { &self.made_up } else { &self.configured };
        let bucket = &part.buckets[place as usize & (part.buckets.len() - 1)];
        let time = find(bucket, tag).map_or(0, |slot| bucket[3 + 2 * slot].load(Acquire));
        // One that moves at this moment is another's.
        let time = if time == MOVING { 0 } else { time };
        match limit.next(time, now_ns) {
            Some(next) => limit.allowed(next - now_ns),
            None => limit.refused(time.saturating_sub(now_ns)),
        }
    }

    /// How often an active key gave way because its bucket was full. Rising means the table is too small.
    pub fn evictions(&self) -> u64 {
        self.configured.evictions.load(Relaxed)
    }

    /// The same for what anyone can make up. Rising means a flood of sources or claimed key ids.
    pub fn made_up_evictions(&self) -> u64 {
        self.made_up.evictions.load(Relaxed)
    }

    /// Bytes reserved; the part in use is what keys have touched.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.configured.buckets) + size_of_val(&*self.made_up.buckets)
    }
}

impl Part {
    /// A first request: takes over the slot closest to idle while holding the bucket's claim.
    fn claim(&self, bucket: &Bucket, tag: u64, limit: &CompiledLimit, now: u64) -> Taken {
        if bucket[0].compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            return Taken::Moved;
        }
        let taken = if find(bucket, tag).is_some() { Taken::Moved } else { self.take_over(bucket, tag, limit, now) };
        bucket[0].store(0, Release);
        taken
    }

    fn take_over(&self, bucket: &Bucket, tag: u64, limit: &CompiledLimit, now: u64) -> Taken {
        let Some(first) = limit.next(0, now) else { return Taken::Decided(limit.refused(0)) };
        for _ in 0..SWAPS {
            let (slot, time) = (0..SLOTS)
                .map(|slot| (slot, bucket[3 + 2 * slot].load(Acquire)))
                .min_by_key(|(_, time)| *time)
                .unwrap_or((0, MOVING));
            if bucket[3 + 2 * slot].compare_exchange(time, MOVING, AcqRel, Acquire).is_ok() {
                if time > now {
                    self.evictions.fetch_add(1, Relaxed);
                }
                bucket[2 + 2 * slot].store(tag, Release);
                bucket[3 + 2 * slot].store(first, Release);
                return Taken::Decided(limit.allowed(first - now));
            }
        }
        Taken::Moved
    }
}

impl std::fmt::Debug for RateTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RateTable({} slots)", self.configured.buckets.len() * SLOTS)
    }
}

/// Until somebody else is done with the bucket.
fn wait(round: u32) {
    match round {
        ..YIELDING => std::hint::spin_loop(),
        YIELDING..SLEEPING => std::thread::yield_now(),
        _ => std::thread::sleep(std::time::Duration::from_micros(50)),
    }
}

fn find(bucket: &Bucket, tag: u64) -> Option<usize> {
    (0..SLOTS).find(|slot| bucket[2 + 2 * slot].load(Acquire) == tag)
}

fn take(bucket: &Bucket, slot: usize, tag: u64, limit: &CompiledLimit, now: u64) -> Taken {
    for _ in 0..SWAPS {
        let time = bucket[3 + 2 * slot].load(Acquire);
        // The tag is read after the time: see the module's first paragraphs.
        if time == MOVING || bucket[2 + 2 * slot].load(Acquire) != tag {
            return Taken::Moved;
        }
        let Some(next) = limit.next(time, now) else {
            return Taken::Decided(limit.refused(time.saturating_sub(now)));
        };
        if bucket[3 + 2 * slot].compare_exchange_weak(time, next, AcqRel, Relaxed).is_ok() {
            return Taken::Decided(limit.allowed(next - now));
        }
    }
    Taken::Decided(limit.refused(limit.capacity_ns()))
}

#[cfg(test)]
mod tests;
