//! Passwords of logins at a target: what is stored as in use is what the target accepts.

use super::world::*;
use credentialflow_model::{Period, lifecycle::RotationStep};

fn plan_for(upstream: Upstream) -> (Plan, RotationStep) {
    let end = if upstream == Upstream::Refuses { RotationStep::RolledBack } else { RotationStep::Done };
    (Plan { upstream, ..plan() }, end)
}

/// Who may log in when everything is over.
async fn check_end(world: &World, alternate: bool, end: RotationStep) {
    world.check_end(end).await;
    let expect = if alternate && end == RotationStep::Done { "app_alt" } else { "app" };
    assert_eq!(world.login_in_use().await, (expect.to_owned(), true));
    let seen = world.outside.seen.lock().unwrap();
    let others: Vec<_> = seen.logins.iter().filter(|(name, _)| *name != expect).collect();
    assert!(others.iter().all(|(_, password)| *password == "random"), "the other login's password is known to nobody");
    assert_eq!(others.len(), usize::from(alternate));
}

#[tokio::test]
async fn logins_end_as_promised() {
    for alternate in [true, false] {
        for upstream in [Upstream::Serves, Upstream::Refuses] {
            let (plan, end) = plan_for(upstream);
            let world = World::of_login(plan, alternate).await;
            check_end(&world, alternate, end).await;
        }
    }
}

/// Before and after the effect of every call to the outside, one death each. With two logins the
/// version in use is accepted at every moment.
#[tokio::test]
async fn however_the_process_dies() {
    for alternate in [true, false] {
        for upstream in [Upstream::Serves, Upstream::Refuses] {
            for after in [false, true] {
                let mut deaths = 0;
                for call in 1.. {
                    let (plan, end) = plan_for(upstream);
                    let world = World::of_login(Plan { die_at: Some((call, after)), ..plan }, alternate).await;
                    let mut died = false;
                    for turn in 0..6 {
                        died |= world.run_and_die(usize::MAX, world.start.plus(Period::from_secs(turn + 1))).await;
                        world.check_always().await;
                        assert!(!alternate || world.login_in_use().await.1, "death at call {call}, after: {after}");
                    }
                    check_end(&world, alternate, end).await;
                    deaths += u32::from(died);
                    if world.outside.seen.lock().unwrap().calls < call {
                        break;
                    }
                }
                assert!(deaths >= 5, "{deaths} deaths");
            }
        }
    }
}
