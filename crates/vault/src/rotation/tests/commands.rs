//! Whatever people do in whatever order, and however often the process dies meanwhile: one version is in use at most, what
//! is made outside belongs to a version, what requests carry is not destroyed, and everything comes to an end.

use super::world::*;
use crate::{VaultError, tests::credential};
use credentialflow_model::{
    Actor, Period, SecretValue, Timestamp,
    lifecycle::{RotationStep, VersionState},
    resource::{CanaryRule, Engine, RotateRule},
};
use credentialflow_store::CredentialVersionRow;
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use std::{
    cell::RefCell,
    collections::{BTreeSet, HashSet},
};

#[derive(Clone, Debug)]
enum Command {
    /// Somebody begins a rotation.
    Rotate,
    /// Somebody revokes the newest version, or all.
    Revoke { all: bool },
    /// Time passes, and the runner dies after so many polls.
    Run { seconds: u64, polls: usize },
    /// What the upstream says to the new version from now on.
    Upstream(Upstream),
    /// Whether requests go on that carry the old version.
    Hold(bool),
    /// The workers do not answer so many times.
    Silence(u32),
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let upstream = prop::sample::select(vec![Upstream::Serves, Upstream::Refuses, Upstream::Silent]);
    let polls = prop_oneof![3 => Just(usize::MAX), 2 => 1usize..200];
    let one = prop_oneof![
        3 => Just(Command::Rotate),
        1 => any::<bool>().prop_map(|all| Command::Revoke { all }),
        8 => (0u64..20, polls).prop_map(|(seconds, polls)| Command::Run { seconds, polls }),
        2 => upstream.prop_map(Command::Upstream),
        1 => any::<bool>().prop_map(Command::Hold),
        1 => (0u32..3).prop_map(Command::Silence),
    ];
    prop::collection::vec(one, 1..14)
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Value,
    Canary,
    Provider,
    Login,
    Key,
}

async fn world(of: Of) -> World {
    match of {
        Of::Value => World::with(plan(), credential("orders-token", Engine::Static)).await,
        Of::Canary => {
            let canary = Some(CanaryRule { percent: 5, answers: 20, within: Period::from_secs(60) });
            let rotate = Some(RotateRule { canary, ..RotateRule::default() });
            let credential = credential("orders-token", Engine::Generated);
            World::with(plan(), credentialflow_model::resource::Credential { rotate, ..credential }).await
        }
        Of::Provider => World::of_provider(plan()).await,
        Of::Login => World::of_login(plan(), true).await,
        Of::Key => World::of_key(plan()).await,
    }
}

async fn check(world: &World, of: Of) {
    let versions = world.versions().await;
    let current: Vec<_> = versions.iter().filter(|v| v.state == VersionState::Current).collect();
    assert!(current.len() <= 1, "at most one version is in use: {versions:?}");
    for version in &versions {
        let opens = version.sealed.is_some();
        assert!(opens || !version.state.is_live(), "what lives can be opened");
        assert!(!opens || version.state != VersionState::Destroyed, "what is destroyed cannot");
    }
    assert!(!world.outside.seen.lock().unwrap().destroyed_in_use, "what the workers enforce is never destroyed");
    if matches!(of, Of::Provider) {
        let keys = world.outside.seen.lock().unwrap().keys.clone();
        let carried = |v: &&CredentialVersionRow| matches!(v.state, VersionState::Current | VersionState::Canary);
        let exists = |v: &CredentialVersionRow| keys.contains_key(v.handle.as_ref().unwrap());
        assert!(versions.iter().filter(carried).all(exists), "what new requests carry exists outside");
    }
    if matches!(of, Of::Key) {
        let live: Vec<_> = versions.iter().filter(|v| v.state.is_live() || v.state == VersionState::Pending).collect();
        let live: Vec<_> = live.iter().map(|v| v.version).collect();
        assert_eq!(world.accepted().await, live, "callers may show what a version holds, and nothing else");
    }
}

/// Nothing is left outside that no version in use holds.
async fn check_end(world: &World, of: Of) {
    check(world, of).await;
    let versions = world.versions().await;
    let current: Vec<_> = versions.iter().filter(|v| v.state.is_live()).collect();
    assert!(current.len() <= 1, "the old one is gone: {versions:?}");
    if matches!(of, Of::Provider) {
        let keys: Vec<_> = world.outside.seen.lock().unwrap().keys.keys().cloned().collect();
        let held: Vec<_> = current.iter().map(|v| v.handle.clone().unwrap()).collect();
        assert_eq!(keys, held, "no key is left behind at the provider");
    }
    if matches!(of, Of::Login) && !current.is_empty() {
        assert!(world.login_in_use().await.1, "the login in use is let in");
    }
}

async fn settle(world: &mut World, mut now: Timestamp) -> HashSet<RotationStep> {
    let mut ends = HashSet::new();
    while let Some(running) = world.store.running_rotations().await.unwrap().into_iter().next() {
        world.rotation = running.id;
        world.start = now;
        ends.insert(world.finish().await.step);
        now = now.plus(Period::from_secs(3600));
    }
    ends
}

type Seen = RefCell<(HashSet<RotationStep>, BTreeSet<VersionState>)>;

async fn play(of: Of, commands: Vec<Command>, seen: &Seen) {
    let mut world = world(of).await;
    let (operator, name) = (Actor::operator(), world.credential.name.clone());
    let (mut now, mut holding, mut values) = (world.start, false, 0);
    for command in commands {
        let before = world.versions().await;
        match command {
            Command::Rotate => {
                values += 1;
                let given = || SecretValue::from(format!("value-{values}"));
                let value = (world.credential.engine == Engine::Static).then(given);
                match world.vault.start_rotation(&operator, &world.credential, value, None).await {
                    Ok(begun) => world.rotation = begun.id,
                    Err(VaultError::RotationUnfinished(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            Command::Revoke { all } => {
                let newest = before.iter().map(|v| v.version).max().filter(|_| !all);
                world.vault.revoke_credential(&operator, &name, newest).await.unwrap();
                // It may have begun one itself.
                if let Some(running) = world.store.running_rotations().await.unwrap().into_iter().next() {
                    world.rotation = running.id;
                }
            }
            Command::Run { seconds, polls } => {
                now = now.plus(Period::from_secs(seconds));
                world.run_and_die(polls, now).await;
                let held = before.iter().filter(|v| holding && v.state == VersionState::Previous);
                for kept in held.map(|v| v.version) {
                    let after = world.versions().await;
                    let row = after.iter().find(|v| v.version == kept).unwrap();
                    assert!(row.state != VersionState::Destroyed, "a running request carries it");
                }
            }
            Command::Upstream(upstream) => world.outside.plan.lock().unwrap().upstream = upstream,
            Command::Hold(hold) => {
                holding = hold;
                world.outside.plan.lock().unwrap().held = if hold { u64::MAX } else { 0 };
            }
            Command::Silence(times) => world.outside.plan.lock().unwrap().failing_publishes = times,
        }
        check(&world, of).await;
    }
    let upstream = world.outside.plan.lock().unwrap().upstream;
    *world.outside.plan.lock().unwrap() = Plan { held: 0, upstream, ..plan() };
    let ends = settle(&mut world, now).await;
    check_end(&world, of).await;
    let states = world.states().await;
    let mut seen = seen.borrow_mut();
    seen.0.extend(ends);
    seen.1.extend(states);
}

#[test]
fn in_any_order() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for of in [Of::Value, Of::Canary, Of::Provider, Of::Login, Of::Key] {
        // The same orders each time, so that all ends are among them.
        let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let seen = Seen::default();
        let outcome = runner.run(&commands(), |commands| {
            runtime.block_on(play(of, commands, &seen));
            Ok(())
        });
        outcome.unwrap();
        let (ends, states) = seen.into_inner();
        assert_eq!(ends, HashSet::from([RotationStep::Done, RotationStep::RolledBack]), "{of:?}");
        let reached = [VersionState::Current, VersionState::Destroyed, VersionState::Failed, VersionState::Revoked];
        assert!(reached.iter().all(|state| states.contains(state)), "{of:?}: {states:?}");
    }
}
