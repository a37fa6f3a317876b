//! Keys that a provider makes: however the process dies, the one in use exists there, and no other.

use super::world::*;
use crate::rotation::VerifyOutcome;
use credentialflow_model::{
    Period,
    lifecycle::{RotationStep, VersionState},
};

async fn check_end(world: &World, end: RotationStep) {
    world.check_end(end).await;
    let versions = world.versions().await;
    let current = versions.iter().find(|v| v.state == VersionState::Current).unwrap();
    let keys: Vec<_> = world.outside.seen.lock().unwrap().keys.keys().cloned().collect();
    assert_eq!(keys, [current.handle.clone().unwrap()], "the key in use exists at the provider, and no other");
    let value = world.vault.open_version(current).unwrap();
    assert_eq!(value.expose_str().unwrap(), format!("sk-{}", keys[0]));
}

#[tokio::test]
async fn a_key_is_made_tried_promoted_and_the_old_one_deleted() {
    let world = World::of_provider(plan()).await;
    check_end(&world, RotationStep::Done).await;
    assert_eq!(world.outside.seen.lock().unwrap().verified, [1, 2]);
}

#[tokio::test]
async fn a_key_that_does_not_work_is_deleted_again() {
    let world = World::of_provider(Plan { verify: VerifyOutcome::Refused("401".to_owned()), ..plan() }).await;
    check_end(&world, RotationStep::RolledBack).await;
}

#[tokio::test]
async fn however_the_process_dies() {
    for upstream in [Upstream::Serves, Upstream::Refuses] {
        let end = if upstream == Upstream::Refuses { RotationStep::RolledBack } else { RotationStep::Done };
        for after in [false, true] {
            let mut deaths = 0;
            for call in 1.. {
                let world = World::of_provider(Plan { upstream, die_at: Some((call, after)), ..plan() }).await;
                let mut died = false;
                for turn in 0..8 {
                    died |= world.run_and_die(usize::MAX, world.start.plus(Period::from_secs(turn + 1))).await;
                    world.check_always().await;
                }
                check_end(&world, end).await;
                deaths += u32::from(died);
                if world.outside.seen.lock().unwrap().calls < call {
                    break;
                }
            }
            assert!(deaths >= 5, "{deaths} deaths");
        }
    }
}

#[tokio::test]
async fn a_revoked_key_is_deleted_and_another_one_made() {
    let mut world = World::of_provider(plan()).await;
    world.finish().await;
    let name = world.credential.name.clone();
    world.vault.revoke_credential(&credentialflow_model::Actor::operator(), &name, None).await.unwrap();
    world.rotation = world.store.running_rotations().await.unwrap().remove(0).id;
    assert_eq!(world.finish().await.step, RotationStep::Done);
    let keys: Vec<_> = world.outside.seen.lock().unwrap().keys.keys().cloned().collect();
    assert_eq!(keys, ["key_3"]);
}
