//! The time by which tokens live: it follows the system's clock, but never goes back.
//!
//! When the system's clock is set back, time goes on at the pace of the monotonic clock, so that what
//! has ended stays ended and nothing lives longer than it was given. Nothing else here reads a clock.

use credentialflow_model::Timestamp;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime},
};

/// A clock to be handed around; clones show the same time.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    source: Box<dyn Fn() -> Reading + Send + Sync>,
    last: Mutex<Reading>,
}

/// What both clocks of the system show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock, which people and time servers may set.
    pub wall: Timestamp,
    /// Microseconds on a clock that only goes forward, from any beginning.
    pub steady: i64,
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

impl Clock {
    /// The system's clock. `floor` is the newest time known from before the start, as that of the last
    /// audit event: time does not fall behind it.
    pub fn system(floor: Timestamp) -> Self {
        let start = Instant::now();
        Self::with(floor, move || Reading {
            wall: SystemTime::now().into(),
            steady: i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX),
        })
    }

    /// A clock from any source, for tests of what time does.
    pub fn with(floor: Timestamp, source: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        let last = Reading { wall: floor, steady: source().steady };
        Self(Arc::new(Inner { source: Box::new(source), last: Mutex::new(last) }))
    }

    /// Now; never earlier than an answer before.
    pub fn now(&self) -> Timestamp {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = advance(*last, (self.0.source)());
        last.wall
    }

    /// Now, in whole seconds since 1970: lifetimes are counted in seconds.
    pub fn secs(&self) -> i64 {
        self.now().secs()
    }
}

/// The later of what the wall shows, and what was known plus the time that has passed since.
fn advance(last: Reading, read: Reading) -> Reading {
    let passed = read.steady.saturating_sub(last.steady).max(0);
    let carried = Timestamp::from_micros(last.wall.micros().saturating_add(passed));
    Reading { wall: read.wall.max(carried), steady: read.steady.max(last.steady) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn time_never_goes_back_and_never_stands_still(
            steps in proptest::collection::vec((0i64..10_000_000, -100_000_000i64..100_000_000), 1..50)
        ) {
            let mut last = Reading { wall: Timestamp::from_secs(1_000), steady: 0 };
            let mut wall = 1_000_000_000i64;
            let mut steady = 0;
            for (passed, jump) in steps {
                steady += passed;
                wall += passed + jump;
                let next = advance(last, Reading { wall: Timestamp::from_micros(wall), steady });
                prop_assert!(next.wall.micros() - last.wall.micros() >= passed);
                prop_assert!(next.wall.micros() >= wall);
                last = next;
            }
        }
    }
}
