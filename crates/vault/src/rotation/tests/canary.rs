//! A share of the traffic first: promoted after enough good answers, taken back by itself otherwise.

use super::world::*;
use crate::tests::credential;
use credentialflow_model::{
    Period,
    lifecycle::{RotationStep, VersionState},
    resource::{CanaryRule, Engine, RotateRule},
};

async fn world(plan: Plan, answers: u64) -> World {
    let mut ours = credential("orders-token", Engine::Static);
    let canary = Some(CanaryRule { percent: 5, answers, within: Period::from_secs(300) });
    ours.rotate = Some(RotateRule { canary, ..RotateRule::default() });
    World::with(plan, ours).await
}

#[tokio::test]
async fn enough_good_answers_promote_it() {
    let world = world(Plan { held: u64::MAX, ..plan() }, 25).await;
    world.fresh_runner().await.run_once(world.start).await.unwrap();
    assert_eq!(world.row().await.step, RotationStep::Drain);
    assert_eq!(world.outside.seen.lock().unwrap().enforced, [Some(1), Some(1), Some(2)], "shared, then promoted");
}

#[tokio::test]
async fn with_fewer_answers_it_stays_a_share_until_its_time_is_over() {
    let world = world(plan(), 26).await;
    let runner = world.fresh_runner().await;
    runner.run_once(world.start).await.unwrap();
    runner.run_once(world.start.plus(Period::from_secs(299))).await.unwrap();
    assert_eq!(world.row().await.step, RotationStep::Canary);
    assert_eq!(world.states().await, [VersionState::Current, VersionState::Canary]);
    world.check_end(RotationStep::Done).await;
}

#[tokio::test]
async fn a_version_refused_in_its_share_never_gets_all_of_the_traffic() {
    let world = world(Plan { upstream: Upstream::Refuses, ..plan() }, 100).await;
    world.check_end(RotationStep::RolledBack).await;
    assert!(world.outside.seen.lock().unwrap().enforced.iter().all(|v| *v == Some(1)));
}

#[tokio::test]
async fn however_the_process_dies() {
    for upstream in [Upstream::Serves, Upstream::Refuses] {
        let end = if upstream == Upstream::Refuses { RotationStep::RolledBack } else { RotationStep::Done };
        for after in [false, true] {
            for call in 1.. {
                let world = world(Plan { upstream, die_at: Some((call, after)), ..plan() }, 25).await;
                for turn in 0..6 {
                    world.run_and_die(usize::MAX, world.start.plus(Period::from_secs(turn + 1))).await;
                    world.check_always().await;
                }
                world.check_end(end).await;
                if world.outside.seen.lock().unwrap().calls < call {
                    break;
                }
            }
        }
    }
}
