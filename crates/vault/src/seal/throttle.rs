//! Counts failed sign-ins and attempts to unseal per source address and refuses further guesses for a while.
//!
//! A right token is never refused because of others' failures on the bearer path (it has 256 random
//! bits, so guessing is hopeless anyway); throttling keeps guessers from burning our time and from
//! flooding the audit log.

use credentialflow_model::Timestamp;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// Failures one source may have within [`WINDOW_SECS`].
pub const MAX_FAILURES: u32 = 10;
/// Length of the window, in seconds.
pub const WINDOW_SECS: i64 = 300;
/// Most sources remembered; bounds memory when failures come from everywhere.
const MAX_SOURCES: usize = 10_000;

#[derive(Clone, Copy, Debug)]
struct Count {
    since: Timestamp,
    failures: u32,
}

/// Failed sign-ins by source.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<HashMap<IpAddr, Count>>);

impl Throttle {
    /// Seconds this source must wait, if it has failed too often.
    pub fn wait(&self, source: IpAddr, now: Timestamp) -> Option<u64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&group(source))?;
        let left = count.since.secs() + WINDOW_SECS - now.secs();
        (count.failures >= MAX_FAILURES && left > 0).then_some(left.unsigned_abs())
    }

    /// Counts a failure; answers how many there were in this window, this one included.
    pub fn failed(&self, source: IpAddr, now: Timestamp) -> u32 {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_SOURCES {
            counts.retain(|_, count| now.secs() - count.since.secs() < WINDOW_SECS);
        }
        if counts.len() >= MAX_SOURCES
            && let Some(oldest) = counts.iter().min_by_key(|(_, count)| count.since).map(|(source, _)| *source)
        {
            counts.remove(&oldest);
        }
        let count = counts.entry(group(source)).or_insert(Count { since: now, failures: 0 });
        if now.secs() - count.since.secs() >= WINDOW_SECS {
            *count = Count { since: now, failures: 0 };
        }
        count.failures = count.failures.saturating_add(1);
        count.failures
    }
}

/// Who is counted together: an IPv4 address, or an IPv6 /64.
#[must_use]
pub fn group(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) & !u128::from(u64::MAX)).to_be_bytes()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_after_many_failures_and_forgives_later() {
        let throttle = Throttle::default();
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let now = Timestamp::from_secs(1000);
        for n in 1..=MAX_FAILURES {
            assert_eq!(throttle.wait(here, now), None);
            assert_eq!(throttle.failed(here, now), n);
        }
        assert_eq!(throttle.wait(here, now), Some(300));
        assert_eq!(throttle.wait(there, now), None);
        assert_eq!(throttle.wait(here, Timestamp::from_secs(1000 + WINDOW_SECS)), None);
        assert_eq!(throttle.failed(here, Timestamp::from_secs(1000 + WINDOW_SECS)), 1);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together_and_memory_is_bounded() {
        let throttle = Throttle::default();
        let now = Timestamp::from_secs(0);
        for n in 0..MAX_FAILURES {
            throttle.failed(format!("2001:db8::{n:x}").parse().unwrap_or(IpAddr::from([0, 0, 0, 0])), now);
        }
        assert!(throttle.wait(IpAddr::from([0x2001, 0xdb8, 0, 0, 9, 9, 9, 9]), now).is_some());
        for n in 0..2 * MAX_SOURCES as u32 {
            throttle.failed(IpAddr::from(n.to_be_bytes()), now);
        }
        assert!(throttle.0.lock().unwrap_or_else(PoisonError::into_inner).len() <= MAX_SOURCES);
    }
}
