//! Clocks that are set: a lease ends by the clock of the day, nothing is lost, and nothing is done twice.

use super::*;
use std::sync::atomic::Ordering::SeqCst;

const DAY: i64 = 86_400;

fn clock_is(ahead: i64) {
    AHEAD.store(ahead, SeqCst);
}

#[tokio::test]
async fn leases_and_passwords_stay_in_order_when_the_clock_is_set() {
    let _clock = CLOCK.lock().await;
    clock_is(0);
    let d = Database::over(a_world_with_a_clock().await).await;
    d.ok(Write, "db/config/main", json!({"allowed_roles": "*"})).await;
    let app = d.a_login("clock", "").await;
    d.ok(Write, "db/static-roles/app", json!({"db_name": "main", "username": app, "rotation_period": "1h"})).await;
    let told = async || d.ok(Read, "db/static-creds/app", json!({})).await;
    let password = async || told().await["password"].as_str().unwrap().to_owned();
    let (id, username, secret) = d.issue("reader").await.unwrap();
    let first = password().await;

    // Set back by a day: what was given is still known and works, nothing is due, and nothing refuses to work.
    clock_is(-DAY);
    worked_off(&d).await;
    assert!(d.logs_in(&username, &secret).await);
    assert_eq!(password().await, first);
    assert!(told().await["ttl"].as_i64().unwrap() > 0);
    let renewed = d.leases.renew(&actor(), &id, 60).await.unwrap().unwrap();
    assert!((59..=60).contains(&renewed.ttl), "a renewal counts from the clock of now: {renewed:?}");
    d.ok(Write, "db/rotate-role/app", json!({})).await;
    let second = password().await;
    assert!(second != first && d.logs_in(&app, &second).await);
    let (early, early_name, early_secret) = d.issue("reader").await.unwrap();
    assert!(d.leases.revoke(&actor(), &early).await.unwrap());
    assert!(!d.logs_in(&early_name, &early_secret).await);

    // Set right again: all that is over by now ends once, and a password that is late changes once.
    clock_is(0);
    worked_off(&d).await;
    assert!(!d.logs_in(&username, &secret).await);
    assert_eq!(d.leases.lookup(&id).await.unwrap(), None);
    let third = password().await;
    assert!(third != second && d.logs_in(&app, &third).await);
    worked_off(&d).await;
    assert_eq!(password().await, third, "it changed once for a whole day");

    // Far ahead: everything given before is over, and what is given now lives by the clock of now.
    let (old, ..) = d.issue("reader").await.unwrap();
    clock_is(400 * DAY);
    worked_off(&d).await;
    assert_eq!(d.leases.lookup(&old).await.unwrap(), None);
    assert_ne!(password().await, third);
    let (id, username, secret) = d.issue("reader").await.unwrap();
    assert!((3590..=3600).contains(&d.leases.lookup(&id).await.unwrap().unwrap().ttl));
    assert!(d.logs_in(&username, &secret).await);

    // And back: nothing is stuck, on demand everything still changes and ends.
    clock_is(0);
    worked_off(&d).await;
    assert!(d.logs_in(&username, &secret).await);
    assert!(d.leases.revoke(&actor(), &id).await.unwrap());
    assert!(!d.logs_in(&username, &secret).await);
    let before = password().await;
    d.ok(Write, "db/rotate-role/app", json!({})).await;
    let after = password().await;
    assert!(after != before && d.logs_in(&app, &after).await);
    // From then on by the clock of now again.
    clock_is(2 * 3600);
    worked_off(&d).await;
    assert_ne!(password().await, after);
}
