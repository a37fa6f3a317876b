//! Keys of our own: the old secret works until its last caller was seen to leave it, and however the process dies, no
//! secret works that nobody holds.

use super::world::*;
use crate::{VaultError, rotation::RotationRunner};
use credentialflow_model::{
    Actor, KeyToken, Period,
    lifecycle::{RotationStep, VersionState},
    resource::Kind,
};
use credentialflow_store::Expect;

fn plan_for(upstream: Upstream) -> (Plan, RotationStep) {
    let end = if upstream == Upstream::Refuses { RotationStep::RolledBack } else { RotationStep::Done };
    (Plan { upstream, ..plan() }, end)
}

/// What must hold at every moment: what is in use is accepted, and what is accepted is held here.
async fn check_always(world: &World) {
    world.check_always().await;
    let accepted = world.accepted().await;
    let versions = world.versions().await;
    let current = versions.iter().find(|v| v.state == VersionState::Current).unwrap();
    assert!(accepted.contains(&current.version), "{accepted:?} and {}", current.version);
    assert!(accepted.len() <= 2);
    let id = world.store.key_by_name("orders-token").await.unwrap().unwrap().id;
    for secret in world.store.key_secrets(id).await.unwrap().iter().filter(|s| accepted.contains(&s.version)) {
        let row = versions.iter().find(|v| v.version == secret.version).expect("no secret without its version");
        let value = world.vault.open_version(row).unwrap();
        let token = KeyToken::parse(value.expose()).unwrap();
        let pepper = world.vault.pepper().unwrap();
        assert_eq!((token.id, pepper.hash(token.expose_secret())), (id, secret.hash));
    }
}

async fn check_end(world: &World, end: RotationStep) {
    assert_eq!(world.finish().await.step, end);
    check_always(world).await;
    let (in_use, states) = match end {
        RotationStep::Done => (3, [VersionState::Destroyed, VersionState::Current]),
        _ => (2, [VersionState::Current, VersionState::Failed]),
    };
    assert_eq!(world.accepted().await, [in_use], "one secret works");
    assert_eq!(world.states().await, states);
    assert_eq!(world.outside.seen.lock().unwrap().enforced.last(), Some(&Some(in_use)));
}

/// The step at which a runner leaves the rotation, so many seconds after it began.
async fn step_at(world: &World, after: u64) -> RotationStep {
    let now = world.start.plus(Period::from_secs(after));
    for advanced in world.fresh_runner().await.run_once(now).await.unwrap() {
        advanced.step.unwrap();
    }
    world.row().await.step
}

/// One runner that goes on without a pause.
struct Walk<'w> {
    world: &'w World,
    runner: RotationRunner,
    at: u64,
}

impl<'w> Walk<'w> {
    /// Begins, so many seconds after the rotation.
    async fn from(world: &'w World, at: u64) -> Self {
        let walk = Self { world, runner: world.fresh_runner().await, at };
        walk.look().await;
        walk
    }

    async fn look(&self) {
        let now = self.world.start.plus(Period::from_secs(self.at));
        for advanced in self.runner.run_once(now).await.unwrap() {
            advanced.step.unwrap();
        }
    }

    /// Looks every few seconds until then; answers the step.
    async fn to(&mut self, at: u64) -> RotationStep {
        while self.at < at {
            self.at = at.min(self.at + 3);
            self.look().await;
        }
        self.world.row().await.step
    }
}

#[tokio::test]
async fn both_secrets_work_before_anybody_is_told_of_the_new_one() {
    let world = World::of_key(Plan { failing_publishes: 1, ..plan() }).await;
    assert_eq!(world.accepted().await, [2, 3]);
    assert_eq!(step_at(&world, 1).await, RotationStep::Verify, "not every worker accepts it");
    assert_eq!(world.states().await, [VersionState::Current, VersionState::Pending]);
    check_end(&world, RotationStep::Done).await;
}

#[tokio::test]
async fn the_old_secret_goes_when_its_last_caller_has_moved() {
    let world = World::of_key(Plan { held: 0, ..plan() }).await;
    let mut walk = Walk::from(&world, 1).await;
    assert_eq!(world.row().await.step, RotationStep::Drain);
    world.used(2, 5).await;
    assert_eq!(walk.to(50).await, RotationStep::Drain, "nobody has used the new one");
    assert_eq!(world.progress().await.message.unwrap(), "nobody has used the new secret yet");
    world.used(3, 55).await;
    world.used(2, 60).await;
    assert_eq!(walk.to(89).await, RotationStep::Drain, "one caller was there 29 seconds ago");
    assert_eq!(walk.to(104).await, RotationStep::Drain, "a use may be on its way to the store");
    assert_eq!(world.accepted().await, [2, 3]);
    assert_eq!(walk.to(106).await, RotationStep::Done);
    assert_eq!(world.accepted().await, [3]);
    let id = world.store.key_by_name("orders-token").await.unwrap().unwrap().id;
    assert_eq!(world.store.last_key_secret_uses(id).await.unwrap(), [], "the next rotation begins with nothing");
}

#[tokio::test]
async fn a_time_in_which_nobody_looked_is_no_sign_that_callers_have_moved() {
    let world = World::of_key(Plan { held: 0, ..plan() }).await;
    // In one case the servers were down, in the other the store could not be read.
    let mut walk = Walk::from(&world, 1).await;
    world.used(3, 55).await;
    world.used(2, 60).await;
    assert_eq!(walk.to(62).await, RotationStep::Drain);
    let mut fresh = Walk::from(&world, 150).await;
    assert_eq!(fresh.to(165).await, RotationStep::Drain, "they were down");
    walk.at = 165;
    assert_eq!(walk.to(168).await, RotationStep::Drain, "it was away");
    world.used(2, 170).await;
    assert_eq!(walk.to(213).await, RotationStep::Drain);
    assert_eq!(world.accepted().await, [2, 3]);
    assert_eq!(walk.to(216).await, RotationStep::Done);
}

#[tokio::test]
async fn a_node_that_nobody_hears_keeps_the_old_secret() {
    let world = World::of_key(Plan { held: 0, unheard: vec!["b".to_owned()], ..plan() }).await;
    let mut walk = Walk::from(&world, 1).await;
    world.used(3, 2).await;
    world.used(2, 3).await;
    assert_eq!(walk.to(120).await, RotationStep::Drain);
    assert_eq!(world.progress().await.message.unwrap(), "lost nodes may still let callers in with the old secret: b");
    world.outside.plan.lock().unwrap().unheard.clear();
    assert_eq!(walk.to(149).await, RotationStep::Drain, "what it saw meanwhile is on its way");
    assert_eq!(walk.to(155).await, RotationStep::Done);
}

#[tokio::test]
async fn a_rotation_that_a_former_server_has_stored_is_still_of_a_key() {
    let world = World::of_key(Plan { held: 0, ..plan() }).await;
    let mut walk = Walk::from(&world, 1).await;
    let mut row = world.row().await;
    assert!(row.detail.as_object_mut().unwrap().remove("quiet").is_some());
    let mut tx = world.store.begin(&Actor::operator()).await.unwrap();
    tx.update_rotation(&row).await.unwrap();
    tx.audit("test", "test", serde_json::json!({}));
    tx.commit().await.unwrap();
    world.used(3, 2).await;
    world.used(2, 40).await;
    assert_eq!(walk.to(60).await, RotationStep::Drain, "somebody uses the old one");
    assert_eq!(walk.to(90).await, RotationStep::Done);
    check_end(&world, RotationStep::Done).await;
}

#[tokio::test]
async fn who_stays_behind_is_named() {
    let world = World::of_key(plan()).await;
    let mut walk = Walk::from(&world, 1).await;
    world.used(3, 2).await;
    world.used(2, 40).await;
    assert_eq!(walk.to(45).await, RotationStep::Drain);
    let told = world.progress().await.message.unwrap();
    assert_eq!(told, "checkout still uses the old secret: route orders from 10.0.0.7/32");
    check_end(&world, RotationStep::Done).await;
}

#[tokio::test]
async fn at_the_limit_the_old_secret_goes_all_the_same() {
    let world = World::of_key(plan()).await;
    step_at(&world, 1).await;
    assert_eq!(step_at(&world, 299).await, RotationStep::Drain, "nobody was seen with the new one");
    assert_eq!(step_at(&world, 303).await, RotationStep::Done);
    check_end(&world, RotationStep::Done).await;
}

#[tokio::test]
async fn a_place_that_lacks_the_new_secret_keeps_the_old_one() {
    let lacking = vec!["team-vault/apps/orders".to_owned()];
    let world = World::of_key(Plan { held: 0, lacking, ..plan() }).await;
    let mut walk = Walk::from(&world, 1).await;
    world.used(3, 2).await;
    assert_eq!(walk.to(100).await, RotationStep::Drain);
    world.outside.plan.lock().unwrap().lacking.clear();
    assert_eq!(walk.to(140).await, RotationStep::Done);
}

/// Before and after the effect of every call to the outside, one death each.
#[tokio::test]
async fn however_the_process_dies() {
    for upstream in [Upstream::Serves, Upstream::Refuses] {
        for after in [false, true] {
            let mut deaths = 0;
            for call in 1.. {
                let (plan, end) = plan_for(upstream);
                let world = World::of_key(Plan { die_at: Some((call, after)), ..plan }).await;
                let mut died = false;
                for turn in 0..8 {
                    let now = world.start.plus(Period::from_secs(60 * turn + 1));
                    died |= world.run_and_die(usize::MAX, now).await;
                    check_always(&world).await;
                }
                check_end(&world, end).await;
                deaths += u32::from(died);
                if world.outside.seen.lock().unwrap().calls < call {
                    break;
                }
            }
            assert!(deaths >= 3, "{deaths} deaths");
        }
    }
}

/// Ever later, also in the middle of a transaction.
#[tokio::test]
async fn wherever_the_process_dies() {
    for upstream in [Upstream::Serves, Upstream::Refuses] {
        let (plan, end) = plan_for(upstream);
        let world = World::of_key(Plan { held: 0, ..plan }).await;
        let mut polls = 1;
        while world.run_and_die(polls, world.start).await {
            check_always(&world).await;
            polls += 1;
        }
        check_end(&world, end).await;
    }
}

#[tokio::test]
async fn a_revoked_secret_is_over_at_once_and_another_one_is_made() {
    let mut world = World::of_key(plan()).await;
    world.finish().await;
    let name = world.credential.name.clone();
    world.vault.revoke_credential(&Actor::operator(), &name, None).await.unwrap();
    assert_eq!(world.accepted().await, [4], "the new one alone");
    let next = world.store.running_rotations().await.unwrap().remove(0);
    assert_eq!(next.to_version, Some(4));
    world.rotation = next.id;
    assert_eq!(world.finish().await.step, RotationStep::Done);
    check_always(&world).await;
}

#[tokio::test]
async fn revoked_while_it_rotates_a_key_gets_its_next_secret_at_once() {
    // Before callers are told of the new secret, and while they move to it.
    for failing_publishes in [1, 0] {
        let mut world = World::of_key(Plan { failing_publishes, ..plan() }).await;
        step_at(&world, 1).await;
        let name = world.credential.name.clone();
        world.vault.revoke_credential(&Actor::operator(), &name, None).await.unwrap();
        assert_eq!(world.accepted().await, [4], "the next one alone");
        assert_eq!(world.row().await.step, RotationStep::RolledBack);
        let next = world.store.running_rotations().await.unwrap().remove(0);
        assert_eq!(next.to_version, Some(4));
        world.rotation = next.id;
        assert_eq!(world.finish().await.step, RotationStep::Done);
        assert_eq!(world.accepted().await, [4]);
        check_always(&world).await;
    }
}

#[tokio::test]
async fn revoking_the_new_secret_while_callers_move_leaves_them_the_old_one() {
    let world = World::of_key(plan()).await;
    assert_eq!(step_at(&world, 1).await, RotationStep::Drain);
    world.vault.revoke_credential(&Actor::operator(), &world.credential.name, Some(3)).await.unwrap();
    assert_eq!(world.accepted().await, [2]);
    assert_eq!(world.finish().await.step, RotationStep::RolledBack);
    assert_eq!(world.accepted().await, [2]);
    check_always(&world).await;
}

#[tokio::test]
async fn revoking_the_new_secret_takes_the_rotation_back() {
    let world = World::of_key(plan()).await;
    step_at(&world, 1).await;
    world.vault.revoke_credential(&Actor::operator(), &world.credential.name, Some(2)).await.unwrap();
    assert_eq!(world.accepted().await, [3], "the old one can be revoked without the new one");
    assert_eq!(world.finish().await.step, RotationStep::Done);

    let world = World::of_key(Plan { failing_publishes: 1, ..plan() }).await;
    step_at(&world, 1).await;
    world.vault.revoke_credential(&Actor::operator(), &world.credential.name, Some(3)).await.unwrap();
    assert_eq!(world.finish().await.step, RotationStep::RolledBack);
    assert_eq!(world.accepted().await, [2]);
    check_always(&world).await;
}

#[tokio::test]
async fn a_key_that_a_credential_holds_is_rotated_by_that_one_only() {
    let world = World::of_key(plan()).await;
    let (operator, name) = (Actor::operator(), world.credential.name.clone());
    let refused = world.vault.rotate_key(&operator, &name, "cfk", None, None).await;
    assert!(matches!(refused, Err(VaultError::KeyHeld(_))));
    world.vault.revoke_key(&operator, &name).await.unwrap();
    assert_eq!(world.finish().await.step, RotationStep::RolledBack);
    assert_eq!(world.states().await, [VersionState::Revoked, VersionState::Revoked]);
    let refused = world.vault.start_rotation(&operator, &world.credential, None, None).await;
    assert!(matches!(refused, Err(VaultError::KeyRevoked(_))), "nothing comes back to life");
}

#[tokio::test]
async fn without_its_credential_a_key_goes_on_with_what_callers_have() {
    for (failing, accepted, end) in [(1, 2, RotationStep::RolledBack), (0, 3, RotationStep::Done)] {
        let world = World::of_key(Plan { failing_publishes: failing, ..plan() }).await;
        step_at(&world, 1).await;
        let mut tx = world.store.begin(&Actor::operator()).await.unwrap();
        world.vault.destroy_credential_in(&mut tx, &world.credential.name).await.unwrap();
        tx.delete_resource(Kind::Credentials, "orders-token", Expect::Anything).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.finish().await.step, end);
        assert_eq!(world.accepted().await, [accepted], "the other one is over, now or after an overlap");
        world.vault.rotate_key(&Actor::operator(), &world.credential.name, "cfk", None, None).await.unwrap();
    }
}
