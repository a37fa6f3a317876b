//! The table against a plain reference, and under many threads.

use super::*;
use proptest::prelude::*;
use std::{collections::HashMap, sync::atomic::AtomicUsize, time::Duration};

/// GCRA as a textbook writes it.
#[derive(Default)]
struct Reference(HashMap<u64, u64>);

impl Reference {
    fn check(&mut self, key: u64, requests: u64, window_ns: u64, now: u64) -> bool {
        let interval = window_ns.div_ceil(requests);
        let arrival = self.0.entry(key).or_default();
        let start = (*arrival).max(now);
        let passes = start + interval - now <= interval * requests;
        if passes {
            *arrival = start + interval;
        }
        passes
    }
}

proptest! {
    #[test]
    fn decides_like_the_reference(
        requests in 1u32..20,
        window_ms in 1u64..5000,
        steps in proptest::collection::vec((0u64..4, 0u64..2_000_000_000), 1..200),
        seed in any::<u64>(),
    ) {
        let limit = CompiledLimit::new(requests, Duration::from_millis(window_ms));
        let (table, mut reference, mut now) = (RateTable::new(64, seed), Reference::default(), 0);
        for (key, step) in steps {
            // Half of the steps stay at the same moment, so that bursts happen.
            now += if step % 2 == 0 { 0 } else { step % (window_ms * 1_000_000) };
            let foretold = table.peek(RateKey::new(1, key), &limit, now);
            prop_assert_eq!(&foretold, &table.peek(RateKey::new(1, key), &limit, now));
            let decision = table.check(RateKey::new(1, key), &limit, now);
            prop_assert_eq!(&foretold, &decision);
            let expected = reference.check(key, u64::from(requests), window_ms * 1_000_000, now);
            prop_assert_eq!(decision.allowed, expected);
            prop_assert_eq!(decision.retry_after.is_none(), expected);
            if let Some(wait) = decision.retry_after {
                let wait = u64::try_from(wait.as_nanos()).unwrap();
                let mut early = Reference(reference.0.clone());
                prop_assert!(!early.check(key, u64::from(requests), window_ms * 1_000_000, now + wait - 1));
                prop_assert!(early.check(key, u64::from(requests), window_ms * 1_000_000, now + wait));
            }
        }
        prop_assert_eq!(table.evictions(), 0);
    }
}

#[test]
fn remaining_counts_down_and_recovers() {
    let (table, limit) = (RateTable::new(8, 7), CompiledLimit::new(3, Duration::from_secs(3)));
    let check = |now| table.check(RateKey::new(1, 1), &limit, now);
    assert_eq!([check(0).remaining, check(0).remaining, check(0).remaining], [2, 1, 0]);
    assert_eq!(check(0).retry_after, Some(Duration::from_secs(1)));
    assert!(check(1_000_000_000).allowed);
    assert!(!check(1_000_000_000).allowed);
    assert_eq!(check(60_000_000_000).remaining, 2);
}

#[test]
fn nothing_passes_a_limit_of_none() {
    let (table, limit) = (RateTable::new(8, 7), CompiledLimit::new(0, Duration::from_secs(1)));
    assert!((0..5).all(|now| !table.check(RateKey::new(1, 1), &limit, now).allowed));
}

#[test]
fn extreme_limits_do_not_overflow() {
    for (requests, window) in [(u32::MAX, Duration::MAX), (1, Duration::MAX), (u32::MAX, Duration::ZERO)] {
        let (table, limit) = (RateTable::new(8, 7), CompiledLimit::new(requests, window));
        assert!(table.check(RateKey::new(1, 1), &limit, 1 << 62).allowed);
    }
}

#[test]
fn never_more_than_the_burst_whatever_the_threads_do() {
    const THREADS: usize = 8;
    // A tiny table, so that keys come and go in the same buckets while others are counted.
    let table = RateTable::new(28, 3);
    let limit = CompiledLimit::new(100, Duration::from_secs(1));
    let short = CompiledLimit::new(1, Duration::from_nanos(1));
    let passed: Vec<AtomicUsize> = (0..4).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (table, passed) = (&table, &passed);
            scope.spawn(move || {
                for i in 0..20_000u64 {
                    let key = i % 4;
                    if table.check(RateKey::new(1, key), &limit, 5).allowed {
                        passed[key as usize].fetch_add(1, Relaxed);
                    }
                    // Idle at once: takes over idle slots only, as long as there are some.
                    table.check(RateKey::new(2, (i * 8 + thread as u64) % 3), &short, 1);
                }
            });
        }
    });
    assert_eq!(table.evictions(), 0);
    for passed in passed {
        assert_eq!(passed.into_inner(), 100);
    }
}

#[test]
fn slots_change_hands_under_load_without_extra_passes() {
    // Time moves; each key's passes stay within burst + rate × elapsed although its slot is taken
    // over by others whenever it is idle.
    const STEPS: u64 = 2_000;
    let table = RateTable::new(7, 11);
    let limit = CompiledLimit::new(2, Duration::from_nanos(2_000));
    let passed: Vec<AtomicUsize> = (0..6).map(|_| AtomicUsize::new(0)).collect();
    let clock = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..STEPS * 6 {
                    let now = clock.fetch_add(1, AcqRel) * 50;
                    let key = i % 6;
                    if table.check(RateKey::new(1, key), &limit, now).allowed {
                        passed[key as usize].fetch_add(1, Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(table.evictions(), 0);
    let elapsed = clock.into_inner() * 50;
    for passed in passed {
        let most = 2 + elapsed / 1_000;
        assert!(passed.load(Relaxed) as u64 <= most, "{} > {most}", passed.load(Relaxed));
        assert!(passed.load(Relaxed) > 0);
    }
}

#[test]
fn a_full_bucket_refuses_nobody_wrongly() {
    let (table, limit) = (RateTable::new(7, 5), CompiledLimit::new(5, Duration::from_secs(5)));
    let heavy = RateKey::new(1, 0);
    assert_eq!((0..9).filter(|_| table.check(heavy, &limit, 0).allowed).count(), 5);
    for key in 1..100 {
        assert!(table.check(RateKey::new(1, key), &limit, 0).allowed);
    }
    assert_eq!(table.evictions(), 93);
    assert!(!table.check(heavy, &limit, 0).allowed, "the heaviest user is the last to be forgotten");
}

/// Whoever is in the middle of a change may lose its processor for milliseconds: that refuses nobody.
#[test]
fn a_change_that_takes_long_is_waited_for() {
    let limit = CompiledLimit::new(3, Duration::from_secs(3));
    let long = Duration::from_millis(5);
    let claimed = RateTable::new(1, 7);
    claimed.configured.buckets[0][0].store(1, Release);
    let moving = RateTable::new(1, 7);
    moving.check(RateKey::new(1, 1), &limit, 1);
    let time = moving.configured.buckets[0][3].swap(MOVING, AcqRel);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(long);
            claimed.configured.buckets[0][0].store(0, Release);
            moving.configured.buckets[0][3].store(time, Release);
        });
        for table in [&claimed, &moving] {
            assert!(table.check(RateKey::new(1, 1), &limit, 1).allowed);
        }
    });
}

/// One that never ends refuses, and does so in the end.
#[test]
fn a_change_that_never_ends_refuses() {
    let limit = CompiledLimit::new(3, Duration::from_secs(3));
    let table = RateTable::new(1, 7);
    table.configured.buckets[0][0].store(1, Release);
    assert!(!table.check(RateKey::new(1, 1), &limit, 1).allowed);
}
