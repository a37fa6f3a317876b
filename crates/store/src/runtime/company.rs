//! Who can be expected to share the next commit.
//!
//! Callers who were answered by one commit mostly come back with their next unit at about the same time. A commit that
//! began with the first of them would take it alone, and all others would wait for the one after: two commits for one
//! round. So a commit waits for most of those who were there, for a moment, as long as that proves right.

use std::time::{Duration, Instant};

/// Who was not there for so long is not waited for.
const LATELY: Duration = Duration::from_millis(5);
/// Fewer are not worth waiting for.
const FEWEST: usize = 4;
/// Commits that wait for nobody after one that waited in vain.
const DISCOURAGED: u32 = 16;

/// How many came lately, and whether waiting for them was worth it.
#[derive(Default)]
pub(super) struct Company {
    /// Those whom the last commit answered and those who waited for the next meanwhile.
    there: usize,
    answered: Option<Instant>,
    /// Commits for which nobody is waited for any more.
    discouraged: u32,
}

impl Company {
    /// A commit answers so many, while others wait for the next one.
    pub(super) fn committed(&mut self, answered: usize, waiting: usize, now: Instant) {
        self.there = answered + waiting;
        self.answered = Some(now);
        self.discouraged = self.discouraged.saturating_sub(1);
    }

    /// How many units the next commit should have before it begins; 0 where it should not wait.
    pub(super) fn expected(&self, now: Instant) -> usize {
        let lately = self.answered.is_some_and(|at| now.saturating_duration_since(at) < LATELY);
        // One in eight may be late or gone.
        if lately && self.discouraged == 0 && self.there >= FEWEST { self.there - self.there.div_ceil(8) } else { 0 }
    }

    /// It was waited for them: whether they came in time.
    pub(super) const fn waited(&mut self, came: bool) {
        if !came {
            self.discouraged = DISCOURAGED;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_those_who_were_there_are_expected_for_a_moment() {
        let (mut company, now) = (Company::default(), Instant::now());
        assert_eq!(company.expected(now), 0);
        company.committed(3, 13, now);
        assert_eq!(company.expected(now), 14);
        company.waited(true);
        assert_eq!(company.expected(now), 14);
        assert_eq!(company.expected(now + LATELY), 0, "they have gone");
        company.committed(14, 2, now + LATELY);
        assert_eq!(company.expected(now + LATELY), 14);
    }

    #[test]
    fn nobody_is_waited_for_where_few_come_or_waiting_was_in_vain() {
        let (mut company, now) = (Company::default(), Instant::now());
        company.committed(1, 0, now);
        assert_eq!(company.expected(now), 0, "a single caller never waits");
        company.committed(2, 1, now);
        assert_eq!(company.expected(now), 0);
        company.committed(8, 8, now);
        company.waited(false);
        for _ in 0..DISCOURAGED {
            assert_eq!(company.expected(now), 0);
            company.committed(8, 8, now);
        }
        assert_eq!(company.expected(now), 14, "it is tried again");
    }
}
