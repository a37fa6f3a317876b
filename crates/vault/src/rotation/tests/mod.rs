//! Rotations end as promised: one by one, and after a death at every point.
#![allow(clippy::unwrap_used)]

mod canary;
mod commands;
mod crashes;
mod keys;
mod logins;
mod providers;
mod schedule;
mod world;

use super::{RotationRunner, VerifyOutcome};
use crate::{VaultError, tests::credential};
use credentialflow_model::{
    Actor, Period, SecretValue,
    lifecycle::{RotationStep, VersionState},
    resource::{Engine, Kind, RotateRule},
};
use credentialflow_store::Expect;
use std::time::Duration;
use world::*;

#[tokio::test]
async fn a_good_version_replaces_the_old_one() {
    for verify in [VerifyOutcome::Accepted, VerifyOutcome::NotConfigured] {
        let world = World::new(Plan { verify, ..plan() }).await;
        world.check_end(RotationStep::Done).await;
        assert_eq!(world.outside.seen.lock().unwrap().verified, [2]);
        assert_eq!(world.vault.current_value(&world.credential.name).await.unwrap().expose(), b"new-value");
    }
}

#[tokio::test]
async fn a_generated_credential_makes_its_own_value() {
    let world = World::with(plan(), credential("internal", Engine::Generated)).await;
    let before = world.versions().await;
    let values: Vec<_> = before.iter().map(|v| world.vault.open_version(v).unwrap()).collect();
    assert_ne!(values[0].expose(), values[1].expose());
    world.check_end(RotationStep::Done).await;
}

#[tokio::test]
async fn a_version_the_target_refuses_is_never_used() {
    let world = World::new(Plan { verify: VerifyOutcome::Refused("401".to_owned()), ..plan() }).await;
    world.check_end(RotationStep::RolledBack).await;
    assert!(world.outside.seen.lock().unwrap().enforced.iter().all(|v| *v == Some(1)));
}

#[tokio::test]
async fn a_version_that_real_traffic_refuses_is_taken_back() {
    let world = World::new(Plan { upstream: Upstream::Refuses, ..plan() }).await;
    world.check_end(RotationStep::RolledBack).await;
    assert_eq!(world.outside.seen.lock().unwrap().enforced, [Some(1), Some(2), Some(1)]);
    assert!(world.row().await.error.unwrap().contains("30 of 30"));
}

#[tokio::test]
async fn without_traffic_the_rotation_goes_on() {
    World::new(Plan { upstream: Upstream::Silent, ..plan() }).await.check_end(RotationStep::Done).await;
}

#[tokio::test]
async fn an_unreachable_target_is_asked_again_and_given_up_in_the_end() {
    let world = World::new(Plan { verify: VerifyOutcome::Unreachable("timeout".to_owned()), ..plan() }).await;
    let runner = world.fresh_runner().await;
    runner.run_once(world.start).await.unwrap();
    let row = world.row().await;
    assert_eq!(row.step, RotationStep::Verify);
    assert!(world.progress().await.message.unwrap().contains("timeout"));
    world.check_end(RotationStep::RolledBack).await;
    assert!(world.outside.seen.lock().unwrap().verified.len() > 5);
}

#[tokio::test]
async fn a_failed_publish_is_repeated_and_never_skipped() {
    let world = World::new(Plan { failing_publishes: 3, ..plan() }).await;
    let runner = world.fresh_runner().await;
    runner.run_once(world.start).await.unwrap();
    assert_eq!(world.row().await.step, RotationStep::Promote);
    assert!(world.progress().await.message.unwrap().contains("worker 3"));
    assert_eq!(world.states().await, [VersionState::Previous, VersionState::Current]);
    world.check_end(RotationStep::Done).await;
}

#[tokio::test]
async fn the_old_version_stays_until_its_requests_have_ended_or_the_limit() {
    let world = World::new(Plan { held: u64::MAX, ..plan() }).await;
    let runner = world.fresh_runner().await;
    let almost = world.start.plus(Period::from_secs(24 * 3600 - 60));
    runner.run_once(world.start).await.unwrap();
    runner.run_once(almost).await.unwrap();
    assert_eq!(world.row().await.step, RotationStep::Drain);
    assert_eq!(world.states().await, [VersionState::Previous, VersionState::Current]);
    runner.run_once(almost.plus(Period::from_secs(120))).await.unwrap();
    world.check_end(RotationStep::Done).await;
}

#[tokio::test]
async fn the_old_version_stays_until_every_place_outside_has_the_new_one_or_the_limit() {
    let lacking = vec!["team-vault/apps/orders (it is away)".to_owned()];
    let mut fixed = credential("orders-token", Engine::Static);
    fixed.rotate = Some(RotateRule { overlap: "1h".to_owned().try_into().unwrap(), ..RotateRule::default() });
    for credential in [credential("orders-token", Engine::Static), fixed] {
        let world = World::with(Plan { held: 0, lacking: lacking.clone(), ..plan() }, credential).await;
        let runner = world.fresh_runner().await;
        runner.run_once(world.start).await.unwrap();
        let later = world.start.plus(Period::from_secs(2 * 3600));
        runner.run_once(later).await.unwrap();
        assert_eq!(world.row().await.step, RotationStep::Drain);
        assert_eq!(world.states().await, [VersionState::Previous, VersionState::Current]);
        let told = world.progress().await.message.unwrap();
        assert_eq!(told, "the new version is not yet written to team-vault/apps/orders (it is away)");
        world.outside.plan.lock().unwrap().lacking.clear();
        runner.run_once(later.plus(Period::from_secs(60))).await.unwrap();
        world.check_end(RotationStep::Done).await;
    }
    let world = World::new(Plan { held: 0, lacking, ..plan() }).await;
    let runner = world.fresh_runner().await;
    runner.run_once(world.start).await.unwrap();
    runner.run_once(world.start.plus(Period::from_secs(24 * 3600 + 60))).await.unwrap();
    world.check_end(RotationStep::Done).await;
}

#[tokio::test]
async fn a_fixed_overlap_is_kept_drained_or_not() {
    let mut held = credential("orders-token", Engine::Static);
    held.rotate = Some(RotateRule { overlap: "1h".to_owned().try_into().unwrap(), ..RotateRule::default() });
    let world = World::with(Plan { held: 0, ..plan() }, held).await;
    let runner = world.fresh_runner().await;
    runner.run_once(world.start).await.unwrap();
    runner.run_once(world.start.plus(Period::from_secs(3599))).await.unwrap();
    assert_eq!(world.row().await.step, RotationStep::Drain);
    runner.run_once(world.start.plus(Period::from_secs(3600))).await.unwrap();
    assert_eq!(world.row().await.step, RotationStep::Done);
}

#[tokio::test]
async fn a_version_that_turns_bad_while_draining_is_taken_back() {
    let world = World::new(Plan { held: u64::MAX, ..plan() }).await;
    world.fresh_runner().await.run_once(world.start).await.unwrap();
    assert_eq!(world.row().await.step, RotationStep::Drain);
    world.outside.plan.lock().unwrap().upstream = Upstream::Refuses;
    world.check_end(RotationStep::RolledBack).await;
}

#[tokio::test]
async fn revoking_ends_a_rotation_and_nothing_comes_back_to_life() {
    let name = "orders-token".parse().unwrap();
    let world = World::new(Plan { held: u64::MAX, ..plan() }).await;
    world.vault.revoke_credential(&Actor::operator(), &name, Some(2)).await.unwrap();
    assert_eq!(world.finish().await.step, RotationStep::RolledBack);
    assert_eq!(world.states().await, [VersionState::Current, VersionState::Revoked]);

    let world = World::new(Plan { upstream: Upstream::Silent, ..plan() }).await;
    world.fresh_runner().await.run_once(world.start).await.unwrap();
    assert_eq!(world.row().await.step, RotationStep::Watch);
    world.vault.revoke_credential(&Actor::operator(), &name, None).await.unwrap();
    assert_eq!(world.finish().await.step, RotationStep::RolledBack);
    assert_eq!(world.states().await, [VersionState::Revoked, VersionState::Revoked]);
}

#[tokio::test]
async fn a_removed_credential_ends_its_rotation() {
    for wipe in [true, false] {
        let world = World::new(plan()).await;
        let mut tx = world.store.begin(&Actor::operator()).await.unwrap();
        world.vault.destroy_credential_in(&mut tx, &world.credential.name).await.unwrap();
        if wipe {
            tx.delete_credential_versions("orders-token").await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(world.finish().await.step, RotationStep::RolledBack);
        assert!(world.versions().await.iter().all(|v| v.state == VersionState::Destroyed && v.sealed.is_none()));
    }
}

#[tokio::test]
async fn one_rotation_at_a_time() {
    let world = World::new(plan()).await;
    let value = || Some(SecretValue::from("third"));
    let refused = world.vault.start_rotation(&Actor::operator(), &world.credential, value(), None).await;
    assert!(matches!(refused, Err(VaultError::RotationUnfinished(_))));
    world.finish().await;
    let begun = world.vault.start_rotation(&Actor::operator(), &world.credential, value(), None).await.unwrap();
    assert_eq!((begun.from_version, begun.to_version), (Some(2), 3));
}

#[tokio::test]
async fn two_nodes_may_run_the_same_rotation() {
    for (upstream, end) in [(Upstream::Serves, RotationStep::Done), (Upstream::Refuses, RotationStep::RolledBack)] {
        let world = World::new(Plan { upstream, ..plan() }).await;
        let (one, other) = (world.fresh_runner().await, world.fresh_runner().await);
        for turn in 1..4 {
            let now = world.start.plus(Period::from_secs(turn));
            let (a, b) = tokio::join!(one.run_once(now), other.run_once(now));
            for advanced in a.unwrap().into_iter().chain(b.unwrap()) {
                advanced.step.unwrap();
            }
            world.check_always().await;
        }
        world.check_end(end).await;
    }
}

#[tokio::test]
async fn a_stuck_rotation_delays_no_other() {
    let world = World::new(plan()).await;
    let stuck = credential("stuck", Engine::Generated);
    let held = world.vault.start_rotation(&Actor::operator(), &stuck, None, None).await.unwrap();
    world.outside.plan.lock().unwrap().stuck = Some(stuck.name.clone());
    let runner = world.fresh_runner().await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running: RotationRunner = runner.clone();
    let task = tokio::spawn(async move { running.run(async { drop(stopped.await) }).await });
    for _ in 0..6000 {
        if world.row().await.step.is_finished() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.row().await.step, RotationStep::Done);
    let stored = world.store.rotation(&held.id).await.unwrap().unwrap();
    assert_eq!(stored.step, RotationStep::Verify, "still asking its target");
    stop.send(()).unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn a_credential_asks_for_its_own_rotation() {
    let mut internal = credential("internal", Engine::Generated);
    internal.rotate = Some(RotateRule { every: Some(Period::from_secs(3600)), ..RotateRule::default() });
    let world = World::with(plan(), internal.clone()).await;
    let by_hand = credential("by-hand", Engine::Static);
    let mut tx = world.store.begin(&Actor::operator()).await.unwrap();
    for resource in [&internal, &by_hand] {
        let body = serde_json::to_string(resource).unwrap();
        tx.put_resource(Kind::Credentials, &resource.name, &body, Expect::Anything).await.unwrap();
    }
    tx.audit("test", "test", serde_json::json!({}));
    tx.commit().await.unwrap();
    let runner = world.fresh_runner().await;
    let later = world.start.plus(Period::from_secs(2 * 3600));
    assert_eq!(runner.start_due(later).await.unwrap(), [], "one is running");
    world.finish().await;
    assert_eq!(runner.start_due(world.start.plus(Period::from_secs(1800))).await.unwrap(), [], "not yet");
    let begun = runner.start_due(later).await.unwrap();
    assert_eq!((begun.len(), begun[0].to_version), (1, 3));
}
