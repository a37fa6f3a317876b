//! How often leaks may be reported by those who prove nothing: each source so often, all together so often.
//!
//! Counts every report, whatever it holds, so that an answer tells nothing but how many were sent.

use credentialflow_model::Timestamp;
use credentialflow_vault::seal::throttle::group;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// Reports a minute of one source, and of all.
pub(crate) const PER_SOURCE: u32 = 20;
pub(crate) const IN_ALL: u32 = 240;
const WINDOW_SECS: i64 = 60;
/// Most sources remembered at a time; each window begins with none.
const SOURCES: usize = 10_000;

#[derive(Default)]
struct Window {
    begun: i64,
    all: u32,
    sources: HashMap<IpAddr, u32>,
}

/// Reports counted by source, in windows of a minute.
#[derive(Default)]
pub(super) struct Limit(Mutex<Window>);

impl Limit {
    /// Counts a report. The seconds to wait when it is one too many.
    pub(super) fn count(&self, source: IpAddr, now: Timestamp) -> Result<(), u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = now.secs().div_euclid(WINDOW_SECS);
        if window.begun != begun {
            *window = Window { begun, ..Window::default() };
        }
        let left = ((begun + 1) * WINDOW_SECS - now.secs()).unsigned_abs().max(1);
        let source = group(source);
        let full = window.sources.len() >= SOURCES && !window.sources.contains_key(&source);
        if window.all >= IN_ALL || full {
            return Err(left);
        }
        let of_source = window.sources.entry(source).or_insert(0);
        if *of_source >= PER_SOURCE {
            return Err(left);
        }
        *of_source += 1;
        window.all += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_and_all_together_have_so_many_and_then_wait() {
        let (limit, now) = (Limit::default(), Timestamp::from_secs(60_010));
        let source = |n: u32| IpAddr::from((n + 0x0a00_0000).to_be_bytes());
        for _ in 0..PER_SOURCE {
            assert_eq!(limit.count(source(1), now), Ok(()));
        }
        assert_eq!(limit.count(source(1), now), Err(50));
        for n in 0..IN_ALL - PER_SOURCE {
            assert_eq!(limit.count(source(2 + n), now), Ok(()));
        }
        assert_eq!(limit.count(source(9999), now), Err(50), "all together");
        assert_eq!(limit.count(source(1), Timestamp::from_secs(60_060)), Ok(()), "a new minute");
    }
}
