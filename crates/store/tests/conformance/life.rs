//! Credentials, rotations, settings and kept answers: what goes in comes out, what may not be is refused.

use crate::{Database, admin, name, on_both};
use credentialflow_model::Timestamp;
use credentialflow_model::lifecycle::{RotationStep, VersionState};
use credentialflow_model::resource::Kind;
use credentialflow_store::{
    ChangeKind, CredentialUse, CredentialVersionRow, Expect, IdempotencyRow, Notification, NotificationState,
    RotationRow, Store, StoreError, Unplanned, Uses,
};
use serde_json::json;
use std::sync::atomic::{AtomicI64, Ordering};

on_both!(
    settings_come_back,
    versions_come_back,
    one_rotation_at_a_time,
    what_waits_is_counted_apart,
    what_is_to_be_told_is_kept_until_it_arrived,
    what_changes_is_planned_anew_and_what_is_due_is_found,
    kept_answers_expire,
    a_promotion_is_one_change
);

fn version(n: u32, state: VersionState) -> CredentialVersionRow {
    CredentialVersionRow {
        credential: name("orders-token"),
        version: n,
        state,
        sealed: Some(vec![0, 255, n as u8]),
        algorithm: "aes-256-gcm".into(),
        keyring_id: 1,
        fingerprint: vec![7; 32],
        created: Timestamp::from_micros(1_793_534_400_123_456),
        promoted: Some(Timestamp::from_secs(1_793_534_401)),
        retired: None,
        handle: (n == 2).then(|| "key_2".to_owned()),
    }
}

async fn settings_come_back(db: Database) {
    let f = db.fresh().await;
    let all_bytes: Vec<u8> = (0..=255).collect();
    let mut tx = f.store.begin(&admin()).await.unwrap();
    tx.put_setting("seal", b"old").await.unwrap();
    tx.put_setting("seal", &all_bytes).await.unwrap();
    tx.put_setting("empty", b"").await.unwrap();
    assert_eq!(tx.setting("seal").await.unwrap().unwrap(), all_bytes);
    tx.audit("seal.configure", "settings/seal", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(f.store.setting("seal").await.unwrap().unwrap(), all_bytes);
    assert_eq!(f.store.setting("empty").await.unwrap().unwrap(), b"");
    assert_eq!(f.store.setting("none").await.unwrap(), None);
    let mut tx = f.store.begin(&admin()).await.unwrap();
    assert!(tx.delete_setting("seal").await.unwrap());
    assert!(!tx.delete_setting("seal").await.unwrap());
    tx.audit("seal.remove", "settings/seal", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(f.store.setting("seal").await.unwrap(), None);
}

async fn versions_come_back(db: Database) {
    let f = db.fresh().await;
    let mut tx = f.store.begin(&admin()).await.unwrap();
    let (one, mut two) = (version(1, VersionState::Current), version(2, VersionState::Pending));
    tx.insert_credential_version(&one).await.unwrap();
    tx.insert_credential_version(&two).await.unwrap();
    two.sealed = None;
    two.state = VersionState::Destroyed;
    two.retired = Some(Timestamp::from_secs(2_000_000_000));
    tx.update_credential_version(&two).await.unwrap();
    let missing = version(3, VersionState::Pending);
    assert!(matches!(tx.update_credential_version(&missing).await, Err(StoreError::NotFound(_))));
    tx.audit("credential.create", "credentials/orders-token", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(f.store.credential_versions("orders-token").await.unwrap(), [one.clone(), two.clone()]);
    assert_eq!(f.store.credential_version("orders-token", 2).await.unwrap(), Some(two.clone()));
    assert_eq!(f.store.live_credential_versions().await.unwrap(), std::slice::from_ref(&one));
    assert_eq!(f.store.credential_versions_after(Some(("orders-token", 1)), 10).await.unwrap(), [two]);
    assert_eq!(f.store.credential_versions_after(None, 1).await.unwrap(), [one]);
    let used = |count| CredentialUse {
        credential: "orders-token".into(),
        version: 1,
        last_time: Timestamp::from_secs(i64::try_from(count).unwrap()),
        count,
    };
    let uses = Uses { credentials: vec![used(5), used(2)], ..Uses::default() };
    f.store.record_uses(&uses).await.unwrap();
    f.store.record_uses(&uses).await.unwrap();
    let read = f.store.credential_uses("orders-token").await.unwrap();
    assert_eq!((read[0].count, read[0].last_time), (14, Timestamp::from_secs(5)));
    assert_eq!(f.store.all_credential_uses().await.unwrap(), read);
    let mut tx = f.store.begin(&admin()).await.unwrap();
    assert_eq!(tx.delete_credential_versions("orders-token").await.unwrap(), 2);
    tx.audit("credential.delete", "credentials/orders-token", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(f.store.credential_uses("orders-token").await.unwrap(), []);
}

async fn a_promotion_is_one_change(db: Database) {
    let f = db.fresh().await;
    let mut tx = f.store.begin(&admin()).await.unwrap();
    let (mut one, mut two) = (version(1, VersionState::Current), version(2, VersionState::Pending));
    tx.insert_credential_version(&one).await.unwrap();
    tx.insert_credential_version(&two).await.unwrap();
    tx.audit("credential.create", "credentials/orders-token", json!({}));
    tx.commit().await.unwrap();
    two.state = VersionState::Current;
    let mut tx = f.store.begin(&admin()).await.unwrap();
    let refused = tx.update_credential_version(&two).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "two current versions: {refused:?}");
    drop(tx);
    let mut tx = f.store.begin(&admin()).await.unwrap();
    one.state = VersionState::Previous;
    tx.update_credential_version(&one).await.unwrap();
    tx.update_credential_version(&two).await.unwrap();
    tx.audit("credential.promote", "credentials/orders-token", json!({ "version": 2 }));
    tx.commit().await.unwrap();
    assert_eq!(f.store.live_credential_versions().await.unwrap(), [one, two]);
    let kinds: Vec<_> = f.store.changes_since(0, 10).await.unwrap().iter().map(|c| c.kind).collect();
    assert_eq!(kinds, [ChangeKind::CredentialVersions; 4]);
}

async fn one_rotation_at_a_time(db: Database) {
    let f = db.fresh().await;
    let mut rotation = RotationRow {
        id: "01HROT".into(),
        credential: name("orders-token"),
        from_version: Some(1),
        to_version: None,
        step: RotationStep::Generate,
        started: Timestamp::from_secs(10),
        updated: Timestamp::from_secs(10),
        deadline: Some(Timestamp::from_secs(99)),
        detail: json!({ "overlap": "until-drained" }),
        error: None,
        waiting: false,
        again: None,
    };
    let mut tx = f.store.begin(&admin()).await.unwrap();
    tx.insert_rotation(&rotation).await.unwrap();
    assert_eq!(tx.unfinished_rotation("orders-token").await.unwrap().unwrap(), rotation);
    tx.audit("credential.rotate", "credentials/orders-token", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(f.store.running_rotations().await.unwrap(), [rotation.clone()]);

    let second = RotationRow { id: "01HSECOND".into(), started: Timestamp::from_secs(20), ..rotation.clone() };
    let mut tx = f.store.begin(&admin()).await.unwrap();
    assert!(matches!(tx.insert_rotation(&second).await, Err(StoreError::Conflict(_))));
    drop(tx);

    rotation.step = RotationStep::RolledBack;
    rotation.to_version = Some(2);
    rotation.error = Some("the upstream answered 401".into());
    let mut tx = f.store.begin(&admin()).await.unwrap();
    tx.update_rotation(&rotation).await.unwrap();
    tx.insert_rotation(&second).await.unwrap();
    tx.audit("credential.rotate", "credentials/orders-token", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(f.store.rotation("01HROT").await.unwrap().unwrap(), rotation);
    assert_eq!(f.store.rotations("orders-token", 9).await.unwrap(), [second.clone(), rotation]);
    assert_eq!(f.store.running_rotations().await.unwrap(), [second]);
}

async fn what_is_to_be_told_is_kept_until_it_arrived(db: Database) {
    let f = db.fresh().await;
    let at = Timestamp::from_secs;
    let told = |id: &str, same: Option<&str>, next: i64| Notification {
        id: id.into(),
        same: same.map(str::to_owned),
        created: at(5),
        owner: "payments".into(),
        body: "{}".into(),
        channel: None,
        state: NotificationState::Waiting,
        attempts: 0,
        next_attempt: at(next),
        error: None,
    };
    let mut tx = f.store.begin(&admin()).await.unwrap();
    for one in [told("b", Some("x"), 7), told("a", None, 6), told("c", Some("x"), 1)] {
        tx.add_notification(&one).await.unwrap();
    }
    tx.audit("test", "test", json!({}));
    tx.commit().await.unwrap();
    assert!(f.store.is_notified("x").await.unwrap() && !f.store.is_notified("y").await.unwrap());
    assert_eq!(f.store.due_notifications(at(6), 9).await.unwrap(), [told("a", None, 6)]);
    assert_eq!(f.store.due_notifications(at(9), 9).await.unwrap(), [told("a", None, 6), told("b", Some("x"), 7)]);
    f.store.notification_failed("a", at(60), "away").await.unwrap();
    assert_eq!(f.store.due_notifications(at(9), 9).await.unwrap(), [told("b", Some("x"), 7)]);
    let later = f.store.due_notifications(at(60), 9).await.unwrap();
    assert_eq!((later[1].attempts, later[1].error.as_deref()), (1, Some("away")));
    let mut tx = f.store.begin(&admin()).await.unwrap();
    assert!(tx.end_notification("b", NotificationState::Done).await.unwrap());
    assert!(!tx.end_notification("b", NotificationState::GivenUp).await.unwrap());
    tx.audit("test", "test", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(f.store.forget_notifications(at(6)).await.unwrap(), 1);
    assert_eq!(f.store.due_notifications(at(99), 9).await.unwrap().len(), 1, "what waits stays");
}

async fn what_waits_is_counted_apart(db: Database) {
    let f = db.fresh().await;
    let row = |id: &str, waiting: bool, started: i64| RotationRow {
        id: id.into(),
        credential: name(&format!("of-{id}")),
        from_version: Some(1),
        to_version: None,
        step: if waiting { RotationStep::Approve } else { RotationStep::Generate },
        started: Timestamp::from_secs(started),
        updated: Timestamp::from_secs(started),
        deadline: None,
        detail: json!({}),
        error: None,
        waiting,
        again: waiting.then(|| Timestamp::from_secs(77)),
    };
    let rows = [row("c", true, 1), row("b", false, 2), row("a", true, 2)];
    let mut tx = f.store.begin(&admin()).await.unwrap();
    for row in &rows {
        tx.insert_rotation(row).await.unwrap();
    }
    tx.audit("test", "test", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(f.store.count_unfinished_rotations().await.unwrap(), (1, 2));
    assert_eq!(f.store.running_rotations().await.unwrap(), [rows[1].clone()]);
    assert_eq!(f.store.running_rotation_steps().await.unwrap(), [("b".to_owned(), RotationStep::Generate)]);
    assert_eq!(f.store.unfinished_rotation("of-c").await.unwrap(), Some(rows[0].clone()));
    let page = f.store.unfinished_rotations_after(None, 2).await.unwrap();
    assert_eq!(page.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["c", "a"]);
    let rest = f.store.unfinished_rotations_after(Some((page[1].started, "a")), 2).await.unwrap();
    assert_eq!(rest, [rows[1].clone()]);
}

async fn what_changes_is_planned_anew_and_what_is_due_is_found(db: Database) {
    let f = db.fresh().await;
    let at = Timestamp::from_secs;
    let mut tx = f.store.begin(&admin()).await.unwrap();
    for n in ["a", "b", "orders-token"] {
        tx.put_resource(Kind::Credentials, &name(n), "{}", Expect::Absent).await.unwrap();
    }
    tx.insert_credential_version(&version(1, VersionState::Current)).await.unwrap();
    tx.audit("test", "test", json!({}));
    tx.commit().await.unwrap();
    assert!(f.store.due_rotations(at(i64::MAX / 1_000_000), 9).await.unwrap().is_empty(), "not planned yet");
    let mut seen = Vec::new();
    let plan = |u: &Unplanned| {
        seen.push(u.clone());
        match u.credential.as_str() {
            "a" => Some(at(30)),
            "b" => None,
            _ => Some(at(20)),
        }
    };
    assert_eq!(f.store.plan_rotations(2, plan).await.unwrap(), 2);
    assert_eq!(f.store.plan_rotations(2, |_| Some(at(20))).await.unwrap(), 1);
    assert_eq!(f.store.plan_rotations(2, |_| panic!("nothing is left")).await.unwrap(), 0);
    let (a, ours) = (name("a"), name("orders-token"));
    assert_eq!((seen[0].since, seen[0].body.as_deref(), seen[0].unfinished), (None, Some("{}"), false));
    let due = |now: i64, limit| {
        let store = f.store.clone();
        async move { store.due_rotations(at(now), limit).await.unwrap() }
    };
    assert_eq!(due(19, 9).await, []);
    assert_eq!(due(30, 9).await, [(ours.clone(), at(20)), (a.clone(), at(30))], "the longest due first");
    assert_eq!(due(30, 1).await, [(ours.clone(), at(20))]);
    assert_eq!(f.store.count_due_rotations(at(29)).await.unwrap(), 1);
    f.store.postpone_rotation("a", at(50)).await.unwrap();
    assert_eq!(f.store.rotation_due("a").await.unwrap(), Some(at(50)));

    // Taken once; and planned anew by a change of the credential, of a version, by the end of a rotation.
    let mut tx = f.store.begin(&admin()).await.unwrap();
    assert!(!tx.take_due_rotation("orders-token", at(19)).await.unwrap());
    assert!(tx.take_due_rotation("orders-token", at(20)).await.unwrap());
    assert!(!tx.take_due_rotation("orders-token", at(20)).await.unwrap());
    tx.audit("test", "test", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(f.store.plan_rotations(9, |_| panic!("nothing has changed")).await.unwrap(), 0);
    let mut tx = f.store.begin(&admin()).await.unwrap();
    tx.update_credential_version(&version(1, VersionState::Previous)).await.unwrap();
    tx.audit("test", "test", json!({}));
    tx.commit().await.unwrap();
    let mut names = Vec::new();
    f.store
        .plan_rotations(9, |u| {
            names.push((u.credential.to_string(), u.since));
            None
        })
        .await
        .unwrap();
    assert_eq!(names, [("orders-token".to_owned(), None)], "no version is current any more");
}

/// Seconds the tests' clock is ahead.
static AHEAD: AtomicI64 = AtomicI64::new(0);

async fn kept_answers_expire(db: Database) {
    // Each database has its own hour, so that both cases can move it.
    let clock: fn() -> Timestamp = match db {
        Database::Sqlite => || Timestamp::from_secs(1_793_534_400 + (AHEAD.load(Ordering::SeqCst) & 0xf_ffff)),
        Database::Postgres => || Timestamp::from_secs(1_793_534_400 + (AHEAD.load(Ordering::SeqCst) >> 20)),
    };
    let forward = |secs: i64| match db {
        Database::Sqlite => AHEAD.fetch_add(secs, Ordering::SeqCst),
        Database::Postgres => AHEAD.fetch_add(secs << 20, Ordering::SeqCst),
    };
    let f = db.fresh().await;
    let store = Store::connect_with_clock(&f.url, clock).await.unwrap();
    let keep = |response: &[u8]| IdempotencyRow {
        key: "k-1".into(),
        actor: "admin".into(),
        request_hash: vec![1, 2],
        response: response.to_vec(),
        created: store.now(),
    };
    let first = keep(b"sealed");
    let mut tx = store.begin(&admin()).await.unwrap();
    tx.put_idempotency(&first).await.unwrap();
    tx.audit("key.create", "keys/a", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(store.idempotency("k-1", "admin").await.unwrap().unwrap(), first);
    assert_eq!(store.idempotency("k-1", "somebody").await.unwrap(), None);
    let mut tx = store.begin(&admin()).await.unwrap();
    assert!(matches!(tx.put_idempotency(&keep(b"other")).await, Err(StoreError::Conflict(_))));
    drop(tx);
    forward(24 * 3600 - 1);
    assert_eq!(store.purge_idempotency().await.unwrap(), 0);
    assert!(store.idempotency("k-1", "admin").await.unwrap().is_some());
    forward(2);
    assert_eq!(store.idempotency("k-1", "admin").await.unwrap(), None);
    let again = keep(b"other");
    let mut tx = store.begin(&admin()).await.unwrap();
    tx.put_idempotency(&again).await.unwrap();
    assert_eq!(tx.idempotency("k-1", "admin").await.unwrap().unwrap(), again);
    tx.audit("key.create", "keys/a", json!({}));
    tx.commit().await.unwrap();
    forward(24 * 3600 + 1);
    assert_eq!(store.purge_idempotency().await.unwrap(), 1);
}
