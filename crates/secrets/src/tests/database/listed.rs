//! What mounts keep is told for an inventory: how old each password is, never the password.

use super::*;
use crate::{
    engine::kv2,
    listed::{self, Ages, KeptLogin},
};
use credentialflow_model::Timestamp;
use credentialflow_store::{Expect, Op};
use std::time::Instant;

/// Writes what nobody can open.
async fn spoil(world: &World, mount: &str, path: &str) {
    let mut txn = world.txn();
    let space = world.mounts.table(&mut txn).await.unwrap().secret[mount].uuid.clone();
    txn.op(Op::PutEntry {
        space,
        path: path.to_owned(),
        sealed: b"nobody opens this".into(),
        expect: Expect::Anything,
    });
    txn.commit().await.unwrap();
}

impl Database {
    async fn kept(&self) -> Vec<KeptLogin> {
        let mut txn = self.world.txn();
        let table = self.world.mounts.table(&mut txn).await.unwrap();
        let all = listed::logins(&mut txn, &table, "", 1000).await.unwrap();
        assert_eq!(all.next, None);
        // However long a page is, each is told once and in the same order.
        for most in [1, 2] {
            let (mut items, mut after) = (Vec::new(), String::new());
            loop {
                let page = listed::logins(&mut txn, &table, &after, most).await.unwrap();
                assert!(page.items.len() <= most, "{page:?}");
                items.extend(page.items);
                let Some(next) = page.next else { break };
                assert!(next > after, "{next}");
                after = next;
            }
            assert_eq!(items, all.items, "{most} a page");
        }
        all.items
    }
}

#[tokio::test]
async fn passwords_that_a_mount_keeps_are_told_by_their_age() {
    let d = Database::new().await;
    assert_eq!(d.kept().await, [], "let in without a password");
    let name = d.with_administrator().await;
    let kept = d.kept().await;
    let [administrator] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!((administrator.name.as_str(), administrator.administrator), ("db/config/main", true));
    assert!(administrator.system.starts_with("postgresql at ") && administrator.username == name, "{administrator:?}");
    let given = administrator.since.unwrap();
    // What says nothing new of the password leaves its age.
    d.ok(Write, "db/config/main", json!({"allowed_roles": "*"})).await;
    d.ok(Write, "db/config/main", json!({"password": "first-password"})).await;
    assert_eq!(d.kept().await[0].since, Some(given));
    d.ok(Write, "db/rotate-root/main", json!({})).await;
    assert!(d.kept().await[0].since.unwrap() > given);

    let login = d.a_login("kept", "").await;
    let body = json!({"db_name": "main", "username": login, "rotation_period": "1h"});
    d.ok(Write, "db/static-roles/app", body).await;
    let role = |kept: Vec<KeptLogin>| kept.into_iter().find(|one| !one.administrator).unwrap();
    let first = role(d.kept().await);
    assert_eq!((first.name.as_str(), first.username.as_str()), ("db/static-roles/app", login.as_str()));
    assert_eq!((first.every, first.problem.as_deref(), first.fetched), (Some(3600), None, None));
    let set = first.since.unwrap();
    assert_eq!(first.due.unwrap().secs(), set.secs() + 3600);
    let password = d.ok(Read, "db/static-creds/app", json!({})).await["password"].as_str().unwrap().to_owned();
    assert!(!format!("{:?}", d.kept().await).contains(&password));
    d.ok(Write, "db/rotate-role/app", json!({})).await;
    assert!(role(d.kept().await).since.unwrap() > set);
    // What does not read is told as that, and of all else is told what there is.
    let whole = d.kept().await;
    spoil(&d.world, "db/", "config/odd").await;
    spoil(&d.world, "db/", "static-roles/odd").await;
    let (odd, readable): (Vec<_>, Vec<_>) = d.kept().await.into_iter().partition(|one| one.name.ends_with("/odd"));
    assert_eq!(readable, whole);
    let told: Vec<_> = odd.iter().map(|one| (one.name.as_str(), one.administrator, one.problem.as_deref())).collect();
    let why = Some("what is stored of it cannot be read");
    assert_eq!(told, [("db/config/odd", true, why), ("db/static-roles/odd", false, why)]);
    d.ok(Delete, "db/static-roles/app", json!({})).await;
    assert_eq!(d.kept().await.len(), 3);
}

#[tokio::test]
async fn secrets_are_counted_with_the_age_of_the_oldest() {
    let world = World::new().await;
    world.mount("a", "kv-v1").await;
    world.mount("b", "kv-v2").await;
    let counted = async || {
        let mut txn = world.txn();
        let table = world.mounts.table(&mut txn).await.unwrap();
        listed::secrets(&mut txn, &table, &Ages::default())
            .await
            .unwrap()
            .into_iter()
            .map(|one| (one.mount, one.count, one.oldest))
    };
    let write = async |path: &str| world.call(Write, path, json!({"data": {"k": "v"}, "k": "v"})).await.unwrap();
    let none: Vec<(String, u64, Option<Timestamp>)> = counted().await.collect();
    assert_eq!(none.iter().map(|(_, count, oldest)| (*count, *oldest)).collect::<Vec<_>>(), [(0, None), (0, None)]);
    for path in ["a/one", "a/dir/ä b", "b/data/one", "b/data/dir/ä b", "b/data/three"] {
        write(path).await;
    }
    let first: Vec<_> = counted().await.collect();
    assert_eq!((first[0].0.as_str(), first[0].1, first[0].2), ("a/", 2, None));
    assert_eq!((first[1].0.as_str(), first[1].1), ("b/", 3));
    let oldest = first[1].2.unwrap();
    // What is written anew is no longer the oldest; what is deleted has no age.
    write("b/data/one").await;
    let second = counted().await.next_back().unwrap();
    assert!(second.1 == 3 && second.2.unwrap() > oldest, "{second:?}");
    for path in ["b/data/one", "b/data/dir/ä b", "b/data/three"] {
        world.call(Delete, path, json!({})).await.unwrap();
    }
    let last = counted().await.next_back().unwrap();
    assert_eq!((last.1, last.2), (3, None));
}

#[tokio::test]
async fn ages_of_secrets_are_known_for_a_while_and_one_that_does_not_read_hides_no_other() {
    let world = World::new().await;
    world.mount("b", "kv-v2").await;
    let ages = Ages::default();
    let counted = async |ages: &Ages| {
        let mut txn = world.txn();
        let table = world.mounts.table(&mut txn).await.unwrap();
        listed::secrets(&mut txn, &table, ages).await.unwrap().pop().map(|one| (one.count, one.oldest)).unwrap()
    };
    let write = async |path: &str| world.call(Write, path, json!({"data": {"k": "v"}})).await.unwrap();
    write("b/data/one").await;
    write("b/data/two").await;
    let first = counted(&ages).await;
    assert!(first.0 == 2 && first.1.is_some(), "{first:?}");
    // Another number is looked at anew; the same is known.
    write("b/data/one").await;
    assert_eq!(counted(&ages).await, first);
    let second = counted(&Ages::default()).await;
    assert!(second.1 > first.1, "{second:?}");
    spoil(&world, "b/", "m/spoiled").await;
    assert_eq!(counted(&ages).await, (3, second.1));
    let mut txn = world.txn();
    let space = world.mounts.table(&mut txn).await.unwrap().secret["b/"].uuid.clone();
    assert!(matches!(kv2::oldest(&txn, &space, 3, Instant::now()).await, Ok(kv2::Age::NoTime)));
    assert!(matches!(kv2::oldest(&txn, &space, 10_001, Instant::now()).await, Ok(kv2::Age::TooMany)));
}

#[tokio::test]
async fn a_lease_is_told_with_what_it_opens() {
    let d = Database::new().await;
    let (id, username, password) = d.issue("reader").await.unwrap();
    let row = d.leases.store.lease(&id).await.unwrap().unwrap();
    let told = d.leases.describe(&row).unwrap();
    assert_eq!((told.login.as_str(), told.role.as_str(), told.certificate), (username.as_str(), "reader", false));
    assert!(told.system.starts_with("postgresql at ") && told.renewed.is_none(), "{told:?}");
    assert!(told.last_moment > row.expires_at.unwrap());
    assert!(!format!("{told:?}").contains(&password));
}
