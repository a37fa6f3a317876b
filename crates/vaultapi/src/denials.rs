//! Refusals of callers without a good token: told to the audit log once in a while for each source.
//!
//! Anybody can cause them, so they must neither fill the log nor wait for it. What was left out is
//! counted, and told with the next event of the same source.

use credentialflow_vault::seal::throttle::group;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How often refusals of one source are told.
const AGAIN: Duration = Duration::from_secs(600);
/// Most sources remembered. While all of them are fresh, further ones are only counted.
const SOURCES: usize = 10_000;
/// Most events being written.
const WRITING: usize = 32;

/// What was told of whom.
pub(crate) struct Denials {
    seen: Mutex<Sources>,
    writing: Arc<Semaphore>,
    left_out: AtomicU64,
}

#[derive(Default)]
struct Sources {
    seen: HashMap<IpAddr, Seen>,
    /// No place becomes free before this.
    full_until: Option<Instant>,
}

struct Seen {
    told: Instant,
    left_out: u64,
}

impl Default for Denials {
    fn default() -> Self {
        Self { seen: Mutex::default(), writing: Arc::new(Semaphore::new(WRITING)), left_out: AtomicU64::new(0) }
    }
}

impl Denials {
    /// Whether this one is to be told; then a place to write in, and how many of its source were left out.
    pub(crate) fn next(&self, source: Option<IpAddr>, now: Instant) -> Option<(OwnedSemaphorePermit, u64)> {
        let next = self.due(group(source.unwrap_or(Ipv4Addr::UNSPECIFIED.into())), now);
        if next.is_none() {
            self.left_out.fetch_add(1, Relaxed);
        }
        next
    }

    fn due(&self, source: IpAddr, now: Instant) -> Option<(OwnedSemaphorePermit, u64)> {
        let fresh = |told: Instant| now.saturating_duration_since(told) < AGAIN;
        let mut sources = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = sources.seen.get_mut(&source)
            && fresh(seen.told)
        {
            seen.left_out += 1;
            return None;
        }
        if sources.seen.len() >= SOURCES && !sources.seen.contains_key(&source) {
            if sources.full_until.is_some_and(|until| now < until) {
                return None;
            }
            sources.seen.retain(|_, seen| fresh(seen.told));
            let oldest = sources.seen.values().map(|seen| seen.told).min();
            if sources.seen.len() >= SOURCES {
                sources.full_until = oldest.map(|told| told + AGAIN);
                return None;
            }
        }
        let place = self.writing.clone().try_acquire_owned().ok()?;
        let before = sources.seen.insert(source, Seen { told: now, left_out: 0 });
        Some((place, before.map_or(0, |before| before.left_out)))
    }

    /// How many were not told.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_event_for_each_source_in_ten_minutes() {
        let denials = Denials::default();
        let (start, here) = (Instant::now(), Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(denials.next(here, start).unwrap().1, 0);
        for _ in 0..7 {
            assert!(denials.next(here, start + Duration::from_secs(599)).is_none());
        }
        assert_eq!(denials.next(Some(IpAddr::from([192, 0, 2, 2])), start).unwrap().1, 0);
        assert_eq!(denials.next(here, start + AGAIN).unwrap().1, 7);
        assert_eq!(denials.left_out(), 7);
    }

    #[test]
    fn sources_and_writers_are_bounded() {
        let denials = Denials::default();
        let start = Instant::now();
        let from = |n: u32| Some(IpAddr::from(n.to_be_bytes()));
        let writing: Vec<_> = (0..100).filter_map(|n| denials.next(from(n), start)).collect();
        assert_eq!((writing.len(), denials.left_out()), (WRITING, 68));
        drop(writing);
        for n in 0..2 * SOURCES as u32 {
            denials.next(from(n), start);
        }
        assert_eq!(denials.seen.lock().unwrap_or_else(PoisonError::into_inner).seen.len(), SOURCES);
        assert!(denials.next(from(1 << 30), start + AGAIN).is_some(), "those of long ago give way");
    }
}
