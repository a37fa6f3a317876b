//! The arithmetic of a limit, the key it counts, and the answer. No state, no clock.

use credentialflow_model::{KeyId, resource::Limit};
use std::{
    hash::{Hash, Hasher},
    time::Duration,
};

/// A rate limit in nanoseconds: a burst of `requests` at once, then one every `window / requests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompiledLimit {
    requests: u32,
    window_ns: u64,
    interval_ns: u64,
}

impl CompiledLimit {
    /// `requests` in every `window`. None at all when `requests` is 0. A window is at most 30 days here.
    pub fn new(requests: u32, window: Duration) -> Self {
        const MOST: u128 = 30 * 86_400 * 1_000_000_000;
        let window_ns = u64::try_from(window.as_nanos().clamp(1, MOST)).unwrap_or(u64::MAX >> 2);
        // Rounded up, so that rounding never lets more through.
        let interval_ns = window_ns.div_ceil(u64::from(requests.max(1)));
        Self { requests, window_ns, interval_ns }
    }
    /// Requests per window, which is also the burst.
    pub const fn requests(&self) -> u32 {
        self.requests
    }
    /// The window.
    pub const fn window(&self) -> Duration {
        Duration::from_nanos(self.window_ns)
    }

    pub(crate) const fn capacity_ns(&self) -> u64 {
        self.interval_ns * self.requests as u64
    }

    /// How long it takes until so many are free again.
    pub(crate) const fn cost_ns(&self, n: u64) -> u64 {
        self.interval_ns.saturating_mul(n)
    }

    /// The time after one more request, or `None` when it would be beyond the burst.
    pub(super) fn next(&self, time: u64, now: u64) -> Option<u64> {
        let next = time.max(now).saturating_add(self.interval_ns);
        (next - now <= self.capacity_ns()).then_some(next)
    }

    pub(crate) fn allowed(&self, ahead: u64) -> Decision {
        let remaining = self.capacity_ns().saturating_sub(ahead) / self.interval_ns;
        Decision {
            allowed: true,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset_after: Duration::from_nanos(ahead),
            retry_after: None,
        }
    }

    pub(super) fn refused(&self, ahead: u64) -> Decision {
        let wait = (ahead + self.interval_ns).saturating_sub(self.capacity_ns());
        Decision {
            allowed: false,
            remaining: 0,
            reset_after: Duration::from_nanos(ahead),
            retry_after: Some(Duration::from_nanos(wait)),
        }
    }
}

impl CompiledLimit {
    /// What a limit says of requests, if it does.
    pub fn of_requests(limit: &Limit) -> Option<Self> {
        limit.requests().map(|(requests, per)| Self::new(requests, per.as_duration()))
    }
}

/// What a limit counts together: 128 bits in which different things differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RateKey {
    domain: u64,
    value: u64,
    made_up: bool,
}

impl RateKey {
    /// A value within a domain, such as an address within the addresses.
    pub const fn new(domain: u64, value: u64) -> Self {
        Self { domain, value, made_up: false }
    }
    /// Something with a name, such as the route `orders`. Stable within the process.
    pub fn named(kind: &str, name: &str) -> Self {
        let mut hash = std::hash::DefaultHasher::new();
        kind.hash(&mut hash);
        let domain = hash.finish();
        name.hash(&mut hash);
        Self { domain, value: hash.finish(), made_up: false }
    }
    /// A key we issued.
    pub const fn of_key(id: KeyId) -> Self {
        Self { domain: 1, value: id.bits(), made_up: false }
    }
    /// `other` counted within this, such as an address within a route.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            domain: fold(self.domain ^ other.domain.rotate_left(32), self.value | 1),
            value: other.value,
            made_up: self.made_up | other.made_up,
        }
    }
    /// The same, marked as something anyone can make up as many of as they like, such as an address.
    /// Whatever is counted within it is so, too.
    #[must_use]
    pub const fn made_up(self) -> Self {
        Self { made_up: true, ..self }
    }

    pub(super) const fn is_made_up(self) -> bool {
        self.made_up
    }

    /// Bucket and tag. The limit's numbers are part of it: a changed limit starts a new state.
    pub(super) fn spread(self, limit: &CompiledLimit, seed: u64) -> (u64, u64) {
        let numbers = limit.window_ns ^ u64::from(limit.requests).rotate_left(40);
        let place =
            fold(self.value ^ seed, fold(self.domain ^ 0x9e37_79b9_7f4a_7c15, numbers ^ seed.rotate_left(17)) | 1);
        let tag = fold(self.value ^ seed.rotate_left(29) ^ place, self.domain ^ numbers ^ 0xd6e8_feb8_6659_fd93);
        (place ^ place >> 32, tag.max(1))
    }
}

/// Multiplies into 128 bits and folds the halves: each input bit reaches every output bit.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0xa076_1d64_78bd_642f) * u128::from(b ^ 0xe703_7ed1_a0b4_28db);
    (product ^ product >> 64) as u64
}

/// The answer of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request passes; it is counted if so.
    pub allowed: bool,
    /// Requests that could pass right now.
    pub remaining: u32,
    /// Until the whole burst is available again.
    pub reset_after: Duration,
    /// Until the next request can pass; only when refused.
    pub retry_after: Option<Duration>,
}
