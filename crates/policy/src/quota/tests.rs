#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

fn limit(limit: serde_json::Value) -> Limit {
    serde_json::from_value(limit).unwrap()
}

fn quota(of: serde_json::Value) -> Arc<LiveQuota> {
    Quotas::default().live(Owner::APPLICATION, "checkout", Some(&limit(of)), true).unwrap()
}

/// What a call of so many tokens of input takes, or how long it has to wait.
fn call(quota: &Arc<LiveQuota>, input: u64, now: u64) -> Result<Taken, Duration> {
    let mut taken = quota.enter().unwrap();
    taken.call(Some(input), now).map_err(|refusal| refusal.retry_after.unwrap())?;
    Ok(taken)
}

#[test]
fn so_many_at_once_and_no_more() {
    let quota = quota(serde_json::json!({ "concurrent": 2 }));
    let (first, _second) = (quota.enter().unwrap(), quota.enter().unwrap());
    assert!(!quota.has_room(0, 0));
    let refusal = quota.enter().unwrap_err();
    assert_eq!((refusal.reason, refusal.retry_after_secs()), (OutcomeReason::RateLimited, Some(1)));
    drop(first);
    assert!(quota.has_room(0, 0) && quota.enter().is_ok());
}

#[test]
fn tokens_are_taken_before_and_corrected_after() {
    let quota = quota(serde_json::json!({ "tokens": 600, "per": "1m" }));
    let now = 7 * SECOND;
    let first = call(&quota, 100, now).unwrap();
    assert_eq!(quota.states(now).next().unwrap().remaining, 500);
    // It read less than was guessed, and wrote.
    first.settle(Used::Tokens { input: 80, output: 320 }, now);
    assert_eq!(quota.states(now).next().unwrap().remaining, 200);
    // Now answers are expected to be an eighth as long as that one was.
    let second = call(&quota, 100, now).unwrap();
    assert_eq!(quota.states(now).next().unwrap().remaining, 60);
    // What it used beyond is a debt: 10 tokens come back in a second.
    second.settle(Used::Tokens { input: 100, output: 400 }, now);
    assert!(!quota.has_room(0, now));
    let wait = call(&quota, 0, now).unwrap_err();
    assert!((Duration::from_secs(30)..Duration::from_secs(45)).contains(&wait), "{wait:?}");
    assert!(call(&quota, 0, now + wait.as_nanos() as u64).is_ok());
}

#[test]
fn what_was_not_sent_gives_everything_back() {
    let quota = quota(serde_json::json!({ "tokens": 100, "requests": 5, "per": "1m" }));
    call(&quota, 90, SECOND).unwrap().settle(Used::Nothing, SECOND);
    assert_eq!(quota.states(SECOND).map(|state| state.remaining).collect::<Vec<_>>(), [4, 100], "it was answered");
    call(&quota, 90, SECOND).unwrap().settle(Used::Unsent, SECOND);
    assert_eq!(quota.states(SECOND).map(|state| state.remaining).collect::<Vec<_>>(), [4, 100], "it was not");
    call(&quota, 90, SECOND).unwrap().settle(Used::Unknown, SECOND);
    assert_eq!(quota.states(SECOND).map(|state| state.remaining).collect::<Vec<_>>(), [3, 10]);
    // One that finds no tokens is no request either.
    assert!(call(&quota, 90, SECOND).is_err());
    assert_eq!(quota.states(SECOND).map(|state| state.remaining).collect::<Vec<_>>(), [3, 10]);
}

#[test]
fn one_that_is_larger_than_the_limit_takes_all_of_it() {
    let quota = quota(serde_json::json!({ "tokens": 100, "per": "1m" }));
    let huge = call(&quota, 5000, SECOND).unwrap();
    assert!(call(&quota, 1, SECOND).is_err());
    huge.settle(Used::Tokens { input: 5000, output: 0 }, SECOND);
    // Its debt is the whole: fifty minutes.
    let wait = call(&quota, 1, SECOND).unwrap_err();
    assert!((Duration::from_secs(48 * 60)..Duration::from_secs(51 * 60)).contains(&wait), "{wait:?}");
}

#[test]
fn what_its_provider_did_not_count_to_the_end_gives_nothing_back_and_is_learned_from() {
    let quota = quota(serde_json::json!({ "tokens": 10_000, "per": "10000s" }));
    let left = |now| quota.states(now).next().unwrap().remaining;
    // It was left when 4000 tokens had been written, of which nobody told.
    call(&quota, 1000, SECOND).unwrap().settle(Used::AtLeast { input: 1000, output: 4000 }, SECOND);
    assert_eq!(left(SECOND), 5000);
    assert!(call(&quota, 4600, SECOND).is_err(), "answers are expected to be long now");
    // One that was left at once gives nothing back, and says nothing of how long answers are.
    call(&quota, 1000, SECOND).unwrap().settle(Used::AtLeast { input: 100, output: 0 }, SECOND);
    assert_eq!(left(SECOND), 3500);
    assert!(call(&quota, 3001, SECOND).is_err());
}

#[test]
fn a_provider_that_counts_wrong_closes_nothing_for_good() {
    let quota = quota(serde_json::json!({ "tokens": 100, "per": "1m" }));
    call(&quota, 10, SECOND).unwrap().settle(Used::Tokens { input: u64::MAX, output: 7 }, SECOND);
    let wait = call(&quota, 1, SECOND).unwrap_err();
    assert!((Duration::from_secs(99 * 60)..Duration::from_secs(101 * 60)).contains(&wait), "{wait:?}");
    assert!(call(&quota, 1, SECOND + wait.as_nanos() as u64).is_ok());
}

#[test]
fn what_came_back_by_itself_is_not_given_back_again() {
    let quota = quota(serde_json::json!({ "tokens": 100, "per": "100s" }));
    // A guess that was far too large, a hundred seconds long: all of it has come back when the call ends.
    let slow = call(&quota, 100, 0).unwrap();
    let now = 100 * SECOND;
    let other = call(&quota, 80, now).unwrap();
    slow.settle(Used::Tokens { input: 1, output: 0 }, now);
    assert_eq!(quota.states(now).next().unwrap().remaining, 20, "what the other one took stays taken");
    other.settle(Used::Tokens { input: 30, output: 0 }, now + 10 * SECOND);
    assert_eq!(quota.states(now + 10 * SECOND).next().unwrap().remaining, 70);
}

#[test]
fn a_new_configuration_forgets_no_count_unless_its_numbers_are_others() {
    let quotas = Quotas::default();
    let of = |most: u32, name: &str| {
        let limit = limit(serde_json::json!({ "concurrent": most }));
        quotas.live(Owner::TEAM, name, Some(&limit), true).unwrap()
    };
    let first = of(1, "a");
    let _running = first.enter().unwrap();
    assert!(of(1, "a").enter().is_err() && of(1, "b").enter().is_ok() && of(2, "a").enter().is_ok());
    assert!(quotas.live(Owner::TEAM, "a", None, true).is_none());
    let requests = limit(serde_json::json!({ "requests": 1, "per": "1s" }));
    assert!(quotas.live(Owner::KEY, "k", Some(&requests), false).is_none(), "those are counted elsewhere");
}

#[test]
fn quotas_that_nobody_has_any_more_are_forgotten() {
    let quotas = Quotas::default();
    for n in 0..10_000 {
        let limit = limit(serde_json::json!({ "concurrent": 1 }));
        drop(quotas.live(Owner::KEY, &format!("key-{n}"), Some(&limit), false));
    }
    assert!(quotas.all.lock().unwrap().len() < 100);
}

proptest! {
    /// Whatever calls use and in whatever order they end, what is left is the limit less what was used, with what came back
    /// in time.
    #[test]
    fn nothing_is_lost(calls in prop::collection::vec((0u64..400, 0u64..400, 0u64..300), 1..60)) {
        let quota = quota(serde_json::json!({ "tokens": 1_000_000, "per": "1000000s" }));
        // A token a second: while nothing is idle, all that was used is what the counter is ahead by, less the time.
        let (now, mut used, mut open) = (SECOND, 0, Vec::new());
        for (guess, input, output) in calls {
            open.push((call(&quota, guess, now).unwrap(), input, output));
            if guess % 3 == 0 {
                let (taken, input, output) = open.swap_remove(open.len() / 2);
                taken.settle(Used::Tokens { input, output }, now);
                used += input + output;
            }
        }
        for (taken, input, output) in open {
            taken.settle(Used::Tokens { input, output }, now);
            used += input + output;
        }
        let state = quota.states(now).next().unwrap();
        prop_assert_eq!(u64::from(state.remaining), 1_000_000 - used);
    }
}

#[test]
fn many_threads_never_have_more_than_may() {
    let quota = quota(serde_json::json!({ "concurrent": 3 }));
    let most = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    if let Ok(taken) = quota.enter() {
                        most.fetch_max(quota.running.load(Relaxed), Relaxed);
                        drop(taken);
                    }
                }
            });
        }
    });
    assert!(most.into_inner() <= 3);
    assert_eq!(quota.running.load(Relaxed), 0);
}
