//! The process dies anywhere; a fresh one brings the rotation to the same end.

use super::world::*;
use credentialflow_model::{Period, lifecycle::RotationStep};
use proptest::{prelude::*, test_runner::TestRunner};

fn plan_for(upstream: Upstream) -> (Plan, RotationStep) {
    let end = if upstream == Upstream::Refuses { RotationStep::RolledBack } else { RotationStep::Done };
    (Plan { upstream, ..plan() }, end)
}

/// Before and after the effect of every call to the outside, one death each.
#[tokio::test]
async fn at_every_call_to_the_outside() {
    for upstream in [Upstream::Serves, Upstream::Refuses] {
        for after in [false, true] {
            let mut deaths = 0;
            for call in 1.. {
                let (plan, end) = plan_for(upstream);
                let world = World::new(Plan { die_at: Some((call, after)), ..plan }).await;
                let mut died = false;
                for turn in 0..6 {
                    died |= world.run_and_die(usize::MAX, world.start.plus(Period::from_secs(turn + 1))).await;
                    world.check_always().await;
                }
                world.check_end(end).await;
                deaths += u32::from(died);
                if world.outside.seen.lock().unwrap().calls < call {
                    break;
                }
            }
            assert!(deaths >= 3, "{deaths} deaths");
        }
    }
}

/// At every await of the whole rotation, also in the middle of a transaction.
#[tokio::test]
async fn at_every_point_where_the_runner_waits() {
    for upstream in [Upstream::Serves, Upstream::Refuses] {
        let mut points = 0;
        // The number of polls a step takes varies, and is small where the store answers before it is polled: the points
        // are not always the same, and it is gone through again until there were enough.
        for first in [1, 2].into_iter().cycle().take(40) {
            for polls in (first..).step_by(2) {
                let (plan, end) = plan_for(upstream);
                let world = World::new(Plan { held: 0, ..plan }).await;
                let died = world.run_and_die(polls, world.start).await;
                world.check_always().await;
                world.check_end(end).await;
                if !died {
                    break;
                }
                points += 1;
            }
            if points > 10 {
                break;
            }
        }
        assert!(points > 10, "only {points} points");
    }
}

/// The same world dies ever later.
#[tokio::test]
async fn again_and_again() {
    for upstream in [Upstream::Serves, Upstream::Refuses] {
        let (plan, end) = plan_for(upstream);
        let world = World::new(Plan { held: 0, ..plan }).await;
        let mut polls = 1;
        while world.run_and_die(polls, world.start).await {
            world.check_always().await;
            polls += 1;
        }
        world.check_end(end).await;
    }
}

/// Many deaths in a row, publishes that fail, and requests that hold the old version.
#[test]
fn in_any_order_of_misfortunes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let deaths = prop::collection::vec((1usize..150, 0u64..10), 0..6);
    let upstream = prop::sample::select(vec![Upstream::Serves, Upstream::Refuses, Upstream::Silent]);
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    let outcome =
        TestRunner::new(config).run(&(deaths, upstream, 0u32..4, 0u64..4), |(deaths, upstream, failing, held)| {
            runtime.block_on(async {
                let (plan, end) = plan_for(upstream);
                let world = World::new(Plan { failing_publishes: failing, held, ..plan }).await;
                let mut now = world.start;
                for (polls, seconds) in deaths {
                    now = now.plus(Period::from_secs(seconds + 1));
                    world.run_and_die(polls, now).await;
                    world.check_always().await;
                }
                world.check_end(end).await;
            });
            Ok(())
        });
    outcome.unwrap();
}
