//! How soon a target of a model has begun to answer lately, as one worker saw it.
//!
//! Cells of one thread, like [`crate::cooling`].

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// How much the newest answer counts in the mean, at the least.
const SHARE: f64 = 0.2;
/// After so long without any, the newest counts for most: what is asked seldom is not judged by what it once was.
const FADES: Duration = Duration::from_secs(10);
/// What a failure counts as, at the least: as long as one waits for a slow answer.
const FAILED: Duration = Duration::from_secs(10);

/// What is remembered of one target, of streams and of whole answers apart: the one begins with a token, the other when all
/// is written.
#[derive(Default)]
pub(crate) struct Latency {
    whole: Pace,
    streamed: Pace,
}

impl Latency {
    /// Of streams, or of whole answers.
    pub const fn of(&self, streams: bool) -> &Pace {
        if streams { &self.streamed } else { &self.whole }
    }
}

/// How soon answers of one kind began.
#[derive(Default)]
pub(crate) struct Pace {
    mean: Cell<Option<(Instant, Duration)>>,
    /// Whether it was asked at all.
    asked: Cell<bool>,
}

impl Pace {
    /// It is asked now.
    pub fn asked(&self) {
        self.asked.set(true);
    }

    /// An answer began now, after so long.
    pub fn took(&self, now: Instant, time: Duration) {
        let mean = self.mean.get().map_or(time, |(at, mean)| {
            let past = now.saturating_duration_since(at).as_secs_f64() / FADES.as_secs_f64();
            let share = SHARE.max(1.0 - (-past).exp());
            mean.mul_f64(1.0 - share) + time.mul_f64(share)
        });
        self.mean.set(Some((now, mean)));
    }

    /// None had begun after so long, when nobody waited any longer: it is as slow as that at least, and no faster than it
    /// was known to be.
    pub fn overtaken(&self, now: Instant, time: Duration) {
        self.took(now, self.mean().map_or(time, |mean| mean.max(time)));
    }

    /// There was none after so long: it counts as slow.
    pub fn failed(&self, now: Instant, time: Duration) {
        self.took(now, time.max(FAILED));
    }

    /// The mean, newer answers counting more; `None` before the first.
    pub fn mean(&self) -> Option<Duration> {
        self.mean.get().map(|(_, mean)| mean)
    }

    /// What a call would wait there. One that was never asked is tried at once, and until it has answered nobody follows.
    pub fn expected(&self) -> Duration {
        self.mean().unwrap_or(if self.asked.get() { Duration::MAX } else { Duration::ZERO })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_is_overtaken_becomes_no_faster() {
        let (pace, now) = (Pace::default(), Instant::now());
        pace.overtaken(now, 200 * MS);
        assert_eq!(pace.mean(), Some(200 * MS));
        pace.overtaken(now, MS);
        assert_eq!(pace.mean(), Some(200 * MS));
        pace.overtaken(now, 700 * MS);
        assert_eq!(pace.mean(), Some(300 * MS));
    }

    #[test]
    fn newer_answers_count_more_and_failures_are_slow() {
        let (pace, now) = (Pace::default(), Instant::now());
        assert_eq!((pace.mean(), pace.expected()), (None, Duration::ZERO), "it is to be tried");
        pace.asked();
        assert_eq!(pace.expected(), Duration::MAX, "one call finds out");
        pace.took(now, 100 * MS);
        assert_eq!(pace.expected(), 100 * MS);
        pace.took(now, 200 * MS);
        assert_eq!(pace.expected(), 120 * MS);
        pace.failed(now, MS);
        assert!(pace.expected() > 2000 * MS, "{:?}", pace.expected());
        (0..40).for_each(|_| pace.took(now, 100 * MS));
        assert!(pace.expected() < 110 * MS, "it is forgiven");
        pace.failed(now, MS);
        pace.took(now + 5 * FADES, 100 * MS);
        assert!(pace.expected() < 120 * MS, "and forgotten: {:?}", pace.expected());
    }
}
