//! Rotations that are due: planned once, begun where there is room, approved and delivered by people.

use super::world::*;
use crate::{
    VaultError,
    rotation::{RotationRunner, VerifyOutcome},
    tests::credential,
};
use credentialflow_model::{
    Actor, Name, Period, SecretValue, Timestamp,
    lifecycle::{RotationStep, VersionState},
    resource::{CertificateRule, Credential, DeliverRule, Engine, Kind, RotateRule},
};
use credentialflow_store::{Expect, RotationRow, Store};
use credentialflow_testkit::postgres::Cluster;
use std::time::Duration;

const HOUR: Period = Period::from_secs(3600);

fn administrator() -> Actor {
    Actor { kind: credentialflow_model::ActorKind::Administrator, name: "ada".to_owned(), source: None }
}

/// A world in which one credential with this rule has a first version, and no rotation runs.
async fn with_rule(engine: Engine, rule: RotateRule) -> World {
    let mut ours = credential("orders-token", engine);
    ours.rotate = Some(RotateRule { every: Some(HOUR), ..rule });
    let world = World::with(plan(), ours).await;
    world.check_end(RotationStep::Done).await;
    declare(&world, std::slice::from_ref(&world.credential)).await;
    world
}

async fn declare(world: &World, credentials: &[Credential]) {
    let mut tx = world.store.begin(&Actor::operator()).await.unwrap();
    for resource in credentials {
        let body = serde_json::to_string(resource).unwrap();
        tx.put_resource(Kind::Credentials, &resource.name, &body, Expect::Anything).await.unwrap();
    }
    tx.audit("test", "test", serde_json::json!({}));
    tx.commit().await.unwrap();
}

async fn begun(world: &World, runner: &RotationRunner, now: Timestamp) -> RotationRow {
    let begun = runner.start_due(now).await.unwrap();
    assert_eq!(begun.len(), 1, "{begun:?}");
    world.store.rotation(&begun[0].id).await.unwrap().unwrap()
}

/// Lets time pass until the rotation is finished.
async fn end(world: &World, runner: &RotationRunner, id: &str, mut now: Timestamp) -> RotationRow {
    for _ in 0..100 {
        now = now.plus(Period::from_secs(3));
        for advanced in runner.run_once(now).await.unwrap() {
            advanced.step.unwrap();
        }
        let row = world.store.rotation(id).await.unwrap().unwrap();
        if row.step.is_finished() {
            return row;
        }
    }
    panic!("it does not end");
}

async fn audited(world: &World, action: &str) -> Vec<(String, serde_json::Value)> {
    let filter = credentialflow_store::AuditFilter { action: Some(action.to_owned()), ..Default::default() };
    let events = world.store.audit_events(0, 100, &filter).await.unwrap();
    events.into_iter().map(|e| (e.actor.name, e.detail)).collect()
}

#[tokio::test]
async fn a_due_rotation_waits_for_its_approval_and_tells_who_gave_it() {
    let world = with_rule(Engine::Generated, RotateRule { approval: true, ..RotateRule::default() }).await;
    let runner = world.fresh_runner().await;
    let later = world.store.now().plus(Period::from_secs(2 * 3600));
    let row = begun(&world, &runner, later).await;
    assert_eq!((row.step, row.waiting, row.to_version), (RotationStep::Approve, true, None));
    assert!(runner.run_once(later).await.unwrap().is_empty(), "nothing moves by itself");
    assert!(runner.start_due(later.plus(HOUR)).await.unwrap().is_empty(), "and it is not begun twice");
    assert_eq!(world.store.count_unfinished_rotations().await.unwrap(), (0, 1));
    world.vault.approve_rotation(&administrator(), &row.id).await.unwrap();
    let again = world.vault.approve_rotation(&administrator(), &row.id).await;
    assert!(matches!(again, Err(VaultError::RotationNotWaiting(_))));
    let row = end(&world, &runner, &row.id, later).await;
    assert_eq!(row.step, RotationStep::Done);
    assert_eq!(row.detail["approved_by"], "ada");
    assert_eq!(audited(&world, "rotation.approve").await[0].0, "ada");
    assert_eq!(*world.states().await.last().unwrap(), VersionState::Current);
}

#[tokio::test]
async fn the_owner_is_told_that_a_rotation_waits_and_how_it_ended() {
    for (verify, last) in [
        (VerifyOutcome::Accepted, "rotation.finished"),
        (VerifyOutcome::Refused("401".to_owned()), "rotation.rolled_back"),
    ] {
        let mut world = with_rule(Engine::Generated, RotateRule { approval: true, ..RotateRule::default() }).await;
        world.credential.owner = Some("payments".parse().unwrap());
        declare(&world, &[world.credential.clone()]).await;
        world.outside.plan.lock().unwrap().verify = verify;
        let runner = world.fresh_runner().await;
        let later = world.store.now().plus(Period::from_secs(2 * 3600));
        let row = begun(&world, &runner, later).await;
        world.vault.approve_rotation(&administrator(), &row.id).await.unwrap();
        end(&world, &runner, &row.id, later).await;
        let told = world.store.due_notifications(later.plus(HOUR), 99).await.unwrap();
        let events: Vec<serde_json::Value> = told.iter().map(|n| serde_json::from_str(&n.body).unwrap()).collect();
        let types: Vec<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
        assert!(types.contains(&"rotation.waiting") && types.contains(&last), "{types:?}");
        assert!(told.iter().all(|n| n.owner == "payments" && n.channel.is_none()));
        assert!(events.iter().all(|e| e["data"]["credential"] == "orders-token" && e["data"]["rotation"] == *row.id));
    }
}

#[tokio::test]
async fn an_expiry_is_told_once() {
    let mut world = with_rule(Engine::Generated, RotateRule::default()).await;
    world.credential.owner = Some("payments".parse().unwrap());
    declare(&world, &[world.credential.clone()]).await;
    let soon = world.store.now().plus(HOUR);
    for _ in 0..3 {
        world.vault.tell_expiring(&world.credential, soon).await.unwrap();
    }
    assert_eq!(world.store.due_notifications(soon, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_declined_rotation_changes_nothing_and_comes_back_later() {
    let world = with_rule(Engine::Generated, RotateRule { approval: true, ..RotateRule::default() }).await;
    let runner = world.fresh_runner().await;
    let before = world.states().await;
    let later = world.store.now().plus(Period::from_secs(2 * 3600));
    let row = begun(&world, &runner, later).await;
    world.vault.decline_rotation(&administrator(), &row.id, Some("a release is under way")).await.unwrap();
    let row = world.store.rotation(&row.id).await.unwrap().unwrap();
    assert_eq!((row.step, row.waiting), (RotationStep::RolledBack, false));
    assert!(row.error.unwrap().contains("declined by ada: a release is under way"));
    assert_eq!(world.states().await, before);
    let due = row.again.unwrap();
    assert!(runner.start_due(Timestamp::from_micros(due.micros() - 1)).await.unwrap().is_empty());
    assert_eq!(runner.start_due(due.plus(HOUR)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_due_static_credential_waits_for_its_value() {
    for approval in [false, true] {
        let world = with_rule(Engine::Static, RotateRule { approval, ..RotateRule::default() }).await;
        let runner = world.fresh_runner().await;
        let later = world.store.now().plus(Period::from_secs(2 * 3600));
        let row = begun(&world, &runner, later).await;
        let value = || SecretValue::from("the-next-value");
        let ada = administrator();
        let deliver = || world.vault.deliver_value(&ada, &world.credential, value());
        if approval {
            assert!(matches!(deliver().await, Err(VaultError::RotationNotWaiting(_))), "not before it is approved");
            world.vault.approve_rotation(&administrator(), &row.id).await.unwrap();
        }
        let stored = world.store.rotation(&row.id).await.unwrap().unwrap();
        assert_eq!((stored.step, stored.waiting), (RotationStep::Deliver, true));
        deliver().await.unwrap();
        assert_eq!(end(&world, &runner, &row.id, later).await.step, RotationStep::Done);
        assert_eq!(world.vault.current_value(&world.credential.name).await.unwrap().expose(), b"the-next-value");
        assert_eq!(audited(&world, "rotation.deliver").await[0].0, "ada");
    }
}

#[tokio::test]
async fn a_webhook_is_asked_for_the_value_until_it_answers() {
    let deliver = DeliverRule { url: "https://example.com/".to_owned(), secret: "hook".parse().unwrap() };
    let rule = RotateRule { deliver: Some(deliver), ..RotateRule::default() };
    for later in [false, true] {
        let world = with_rule(Engine::Static, rule.clone()).await;
        let runner = world.fresh_runner().await;
        world.outside.plan.lock().unwrap().supplies = Some(false);
        let now = world.store.now().plus(Period::from_secs(2 * 3600));
        let row = begun(&world, &runner, now).await;
        assert!(!row.waiting);
        runner.run_once(now).await.unwrap();
        let stored = world.store.rotation(&row.id).await.unwrap().unwrap();
        assert_eq!(stored.step, RotationStep::Deliver);
        assert!(stored.detail["message"].as_str().unwrap().contains("502"));
        world.outside.plan.lock().unwrap().supplies = (!later).then_some(true);
        let now = now.plus(Period::from_secs(60));
        runner.run_once(now).await.unwrap();
        if later {
            assert!(world.store.rotation(&row.id).await.unwrap().unwrap().waiting, "somebody delivers it");
            let value = SecretValue::from(format!("supplied-for-{}", row.id));
            world.vault.deliver_value(&administrator(), &world.credential, value).await.unwrap();
        }
        assert_eq!(end(&world, &runner, &row.id, now).await.step, RotationStep::Done);
        let value = world.vault.current_value(&world.credential.name).await.unwrap();
        assert_eq!(value.expose_str().unwrap(), format!("supplied-for-{}", row.id));
    }
}

#[tokio::test]
async fn a_value_handed_in_by_hand_is_taken_by_the_rotation_that_waits_for_one() {
    let world = with_rule(Engine::Static, RotateRule::default()).await;
    let runner = world.fresh_runner().await;
    let later = world.store.now().plus(Period::from_secs(2 * 3600));
    let row = begun(&world, &runner, later).await;
    let value = Some(SecretValue::from("by-hand"));
    let begun = world.vault.start_rotation(&administrator(), &world.credential, value, None).await.unwrap();
    assert_eq!(begun.id, row.id);
    assert_eq!(end(&world, &runner, &row.id, later).await.step, RotationStep::Done);
}

#[tokio::test]
async fn a_waiting_rotation_ends_with_its_credential() {
    let world = with_rule(Engine::Static, RotateRule::default()).await;
    let runner = world.fresh_runner().await;
    let row = begun(&world, &runner, world.store.now().plus(Period::from_secs(2 * 3600))).await;
    let mut tx = world.store.begin(&Actor::operator()).await.unwrap();
    world.vault.destroy_credential_in(&mut tx, &world.credential.name).await.unwrap();
    tx.commit().await.unwrap();
    let row = world.store.rotation(&row.id).await.unwrap().unwrap();
    assert_eq!((row.step, row.waiting), (RotationStep::RolledBack, false));
}

#[tokio::test]
async fn what_ends_only_when_drained_outlives_every_limit() {
    let mut held = credential("orders-token", Engine::Static);
    held.rotate =
        Some(RotateRule { overlap: "only-when-drained".to_owned().try_into().unwrap(), ..Default::default() });
    let world = World::with(Plan { held: u64::MAX, ..plan() }, held).await;
    let runner = world.fresh_runner().await;
    runner.run_once(world.start).await.unwrap();
    runner.run_once(world.start.plus(Period::from_secs(400 * 24 * 3600))).await.unwrap();
    assert_eq!(world.row().await.step, RotationStep::Drain);
    assert_eq!(world.states().await, [VersionState::Previous, VersionState::Current]);
    world.outside.plan.lock().unwrap().held = 0;
    runner.run_once(world.start.plus(Period::from_secs(401 * 24 * 3600))).await.unwrap();
    assert_eq!(world.row().await.step, RotationStep::Done);
}

#[tokio::test]
async fn a_node_that_never_returns_is_told_with_what_ends_the_wait_for_it() {
    let mut held = credential("orders-token", Engine::Static);
    held.rotate =
        Some(RotateRule { overlap: "only-when-drained".to_owned().try_into().unwrap(), ..Default::default() });
    let world = World::with(Plan { held: u64::MAX, lost: vec!["b".to_owned()], ..plan() }, held).await;
    let runner = world.fresh_runner().await;
    let late = |days: u64| world.start.plus(Period::from_secs(days * 24 * 3600));
    runner.run_once(world.start).await.unwrap();
    runner.run_once(late(1)).await.unwrap();
    assert_eq!(world.row().await.step, RotationStep::Drain);
    let told = world.progress().await.message.unwrap();
    let command = "if they never return: credentialflow credential revoke orders-token --version 1";
    assert!(told.contains("until they are heard: b; ") && told.ends_with(command), "{told}");
    let name = world.credential.name.clone();
    assert_eq!(world.vault.revoke_credential(&Actor::operator(), &name, Some(1)).await.unwrap(), [1]);
    runner.run_once(late(2)).await.unwrap();
    assert_eq!(world.row().await.step, RotationStep::Done);
    assert_eq!(world.states().await[1], VersionState::Current);
}

#[tokio::test]
async fn one_that_hangs_keeps_none_of_fifty_others_waiting() {
    let world = World::new(plan()).await;
    world.finish().await;
    let names: Vec<Name> = (0..51).map(|i| format!("token-{i}").parse().unwrap()).collect();
    let mut all = Vec::new();
    let mut tx = world.store.begin(&Actor::operator()).await.unwrap();
    for name in &names {
        let mut one = credential(name.as_str(), Engine::Generated);
        one.rotate = Some(RotateRule { every: Some(HOUR), ..RotateRule::default() });
        world.vault.create_credential_in(&mut tx, &one, None).await.unwrap();
        all.push(one);
    }
    tx.commit().await.unwrap();
    declare(&world, &all).await;
    world.outside.plan.lock().unwrap().stuck = Some(names[0].clone());
    world.outside.plan.lock().unwrap().held = 0;
    let runner = world.fresh_runner().await;
    let began = runner.start_due(world.store.now().plus(Period::from_secs(2 * 3600))).await.unwrap();
    assert_eq!(began.len(), 51);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = runner.clone();
    let task = tokio::spawn(async move { running.run(async { drop(stopped.await) }).await });
    for _ in 0..12_000 {
        if world.store.running_rotation_steps().await.unwrap().len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = world.store.running_rotations().await.unwrap();
    assert_eq!(left.len(), 1, "fifty are through");
    assert_eq!((left[0].credential.clone(), left[0].step), (names[0].clone(), RotationStep::Verify));
    stop.send(()).unwrap();
    task.await.unwrap();
}

/// 100,000 credentials, every one due: planned within a second by a shipped build, memory steady, and a look at what is
/// due costs what it answers.
/// `cargo test --release -p credentialflow-vault planned_in_time -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement"]
async fn a_hundred_thousand_due_rotations_are_planned_in_time() {
    many_are_planned_in_time(World::new(plan()).await).await;
}

/// The same on PostgreSQL.
#[tokio::test]
#[ignore = "a measurement"]
async fn a_hundred_thousand_due_rotations_are_planned_in_time_on_postgresql() {
    let server = Cluster::start().unwrap();
    let store = Store::connect(&server.create_database().unwrap()).await.unwrap();
    store.migrate().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    many_are_planned_in_time(World::on((dir, store), plan(), credential("orders-token", Engine::Static)).await).await;
}

async fn many_are_planned_in_time(world: World) {
    const MANY: usize = 100_000;
    world.finish().await;
    let credentials: Vec<_> = (0..MANY)
        .map(|i| {
            let mut one = credential(&format!("token-{i:06}"), Engine::Generated);
            let window = r#"{ "from": "00:00", "to": "23:59", "zone": "Europe/Berlin" }"#;
            one.rotate = Some(RotateRule {
                every: Some(HOUR),
                jitter: Some(Period::from_secs(600)),
                window: Some(serde_json::from_str(window).unwrap()),
                ..RotateRule::default()
            });
            one
        })
        .collect();
    for some in credentials.chunks(5000) {
        let mut tx = world.store.begin(&Actor::operator()).await.unwrap();
        for one in some {
            world.vault.create_credential_in(&mut tx, one, None).await.unwrap();
        }
        tx.commit().await.unwrap();
        declare(&world, some).await;
    }
    let runner = world.fresh_runner().await;
    let before = resident();
    let begin = std::time::Instant::now();
    assert!(runner.plan().await.unwrap() >= MANY);
    let planned = begin.elapsed();
    let grown = resident().saturating_sub(before);
    let later = world.store.now().plus(Period::from_secs(30 * 3600));
    let begin = std::time::Instant::now();
    let due = world.store.due_rotations(later, 64).await.unwrap();
    let look = begin.elapsed();
    assert_eq!(due.len(), 64);
    println!("planned {MANY} in {planned:?}, memory grew by {grown} KiB; a look at what is due: {look:?}");
    assert!(grown < 32 * 1024, "memory grew by {grown} KiB");
    // What is not optimised is not what is measured.
    assert!(cfg!(debug_assertions) || planned < Duration::from_secs(1), "planned in {planned:?}");
    let begin = std::time::Instant::now();
    assert_eq!(runner.start_due(later).await.unwrap().len(), 64);
    println!(
        "64 begun in {:?}; {} stand in line",
        begin.elapsed(),
        world.store.count_due_rotations(later).await.unwrap()
    );
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Two renewals, each when two thirds of the lifetime are over, without a word about rotation.
#[tokio::test]
async fn certificates_are_renewed_by_themselves() {
    let world = with_rule(Engine::Generated, RotateRule::default()).await;
    let authority = credential("house-ca", Engine::CertificateAuthority);
    let rule = CertificateRule { authority: Some(authority.name.clone()), ..CertificateRule::default() };
    let ours = Credential { certificate: Some(rule), ..credential("billing", Engine::Certificate) };
    let mut tx = world.store.begin(&Actor::operator()).await.unwrap();
    for credential in [&authority, &ours] {
        world.vault.create_credential_in(&mut tx, credential, None).await.unwrap();
    }
    tx.commit().await.unwrap();
    declare(&world, &[authority.clone(), ours.clone(), Credential { rotate: None, ..world.credential.clone() }]).await;
    let runner = world.fresh_runner().await;
    let said = || async {
        let value = world.vault.current_value(&ours.name).await.unwrap();
        credentialflow_certificates::Certificate::parse(
            credentialflow_certificates::Bundle::read(&value).unwrap().leaf(),
        )
        .unwrap()
    };
    let (mut now, mut serials) = (world.store.now(), vec![said().await.serial]);
    for _ in 0..2 {
        let due = now.plus(Period::from_secs(16 * 3600 + 60));
        assert!(runner.start_due(now.plus(Period::from_secs(15 * 3600))).await.unwrap().is_empty());
        let row = begun(&world, &runner, due).await;
        assert_eq!(row.credential, ours.name);
        assert_eq!(end(&world, &runner, &row.id, due).await.step, RotationStep::Done);
        serials.push(said().await.serial);
        now = due.plus(Period::from_secs(300));
    }
    serials.dedup();
    assert_eq!(serials.len(), 3);
    assert_eq!(said().await.issuer, "CN=house-ca");
    // Without its authority it goes on as it is; with it again, the next try makes a new one.
    world.vault.revoke_credential(&Actor::operator(), &authority.name, None).await.unwrap();
    let refused = world.vault.start_rotation(&Actor::operator(), &ours, None, None).await;
    assert!(matches!(refused, Err(VaultError::NoCurrentVersion(name)) if name == authority.name));
    assert_eq!(said().await.serial, serials[2]);
    let handed_in = Some(SecretValue::from("a key of somebody else"));
    assert!(world.vault.start_rotation(&Actor::operator(), &ours, handed_in, None).await.is_err());
}
