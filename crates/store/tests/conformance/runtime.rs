//! Entries, tokens and leases: written by many at once, each whole or not at all, read from memory.

use crate::{Database, admin, on_both};
use credentialflow_model::{Actor, Timestamp};
use credentialflow_store::{
    AuditFilter, Expect, LeaseCount, LeaseRow, LeaseState, Op, Store, StoreError, TokenRow, Unit, audit,
};
use serde_json::json;

on_both!(
    what_is_put_is_read_and_listed_by_level,
    a_deep_folder_is_skipped_and_names_come_by_pages,
    a_unit_is_done_whole_or_not_at_all,
    many_at_once_keep_the_chain_whole_and_lose_nothing,
    one_bad_unit_does_not_spoil_the_others,
    another_node_never_serves_what_was_replaced,
    a_transaction_by_hand_is_seen_at_once,
    emptying_a_prefix_leaves_its_neighbours,
    tokens_are_found_by_every_way,
    what_rests_on_a_token_is_not_done_after_it_ended,
    leases_are_found_by_every_way,
    leases_are_due_place_by_place,
    leases_end_with_their_token_whoever_is_first,
);

fn put(space: &str, path: &str, sealed: &[u8], expect: Expect) -> Op {
    Op::PutEntry { space: space.into(), path: path.into(), sealed: sealed.into(), expect }
}

fn unit(ops: Vec<Op>) -> Unit {
    let mut unit = Unit::new(admin());
    unit.audit("kv.write", "vault/secret", json!({}));
    unit.ops = ops;
    unit
}

async fn value(store: &Store, path: &str) -> Option<Vec<u8>> {
    store.entry("s", path).await.unwrap().map(|row| row.sealed.to_vec())
}

async fn what_is_put_is_read_and_listed_by_level(db: Database) {
    let f = db.fresh().await;
    let ops = ["a", "b/c", "b/d/e", "bb", "b", "ä/ö", "b0"].map(|p| put("s", p, p.as_bytes(), Expect::Absent));
    let revision = f.store.submit(unit(ops.into())).await.unwrap();
    f.store.submit(unit(vec![put("t", "other", b"1", Expect::Absent)])).await.unwrap();
    // Once from the cache, once from the database by a node that has none.
    for store in [f.store.clone(), Store::connect(&f.url).await.unwrap()] {
        let row = store.entry("s", "b/d/e").await.unwrap().unwrap();
        assert_eq!((&row.sealed[..], row.revision), (b"b/d/e".as_slice(), revision));
        assert_eq!(value(&store, "b/d").await, None);
        assert_eq!(store.entry_children("s", "", "", 100).await.unwrap(), ["a", "b", "b/", "b0", "bb", "ä/"]);
        assert_eq!(store.entry_children("s", "b/", "", 100).await.unwrap(), ["c", "d/"]);
        assert_eq!(store.entry_children("s", "", "b/", 2).await.unwrap(), ["b0", "bb"]);
        assert_eq!(store.entry_children("s", "nothing/", "", 100).await.unwrap(), [""; 0]);
        assert_eq!(store.entry_paths("s", "b/", "", 100).await.unwrap(), ["b/c", "b/d/e"]);
        assert_eq!(store.entry_paths("s", "b/", "b/c", 100).await.unwrap(), ["b/d/e"]);
    }
    assert_eq!(f.store.entries_after("s", "bb", 9).await.unwrap().len(), 2);
    let below = async |prefix: &str, after: &str, limit| -> Vec<String> {
        let rows = f.store.entries_below("s", prefix, after, limit).await.unwrap();
        rows.into_iter().map(|(path, row)| if *row.sealed == *path.as_bytes() { path } else { String::new() }).collect()
    };
    assert_eq!(below("", "", 9).await, ["a", "b", "b/c", "b/d/e", "b0", "bb", "ä/ö"]);
    assert_eq!(below("b/", "", 9).await, ["b/c", "b/d/e"]);
    assert_eq!(below("b/", "b/c", 9).await, ["b/d/e"]);
    assert_eq!(below("", "b/d/e", 2).await, ["b0", "bb"]);
    let mut counts = Vec::new();
    for prefix in ["", "b", "b/", "ä/", "nothing/"] {
        counts.push(f.store.entry_count("s", prefix).await.unwrap());
    }
    assert_eq!(counts, [7, 5, 2, 1, 0]);
}

async fn a_deep_folder_is_skipped_and_names_come_by_pages(db: Database) {
    let f = db.fresh().await;
    let mut ops: Vec<Op> = (0..1500).map(|i| put("s", &format!("folder/{i:04}"), b"x", Expect::Anything)).collect();
    ops.extend((0..1200).map(|i| put("s", &format!("leaf{i:04}"), b"x", Expect::Anything)));
    ops.push(put("s", "folder0", b"x", Expect::Anything));
    f.store.submit(unit(ops)).await.unwrap();
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = f.store.entry_children("s", "", &after, 700).await.unwrap();
        names.extend(page.iter().cloned());
        let Some(last) = page.last() else { break };
        after = last.clone();
    }
    assert_eq!(names.len(), 1202);
    assert_eq!(names[..3], ["folder/", "folder0", "leaf0000"]);
}

async fn a_unit_is_done_whole_or_not_at_all(db: Database) {
    let f = db.fresh().await;
    let first = f.store.submit(unit(vec![put("s", "a", b"1", Expect::Absent)])).await.unwrap();
    let refused =
        f.store.submit(unit(vec![put("s", "b", b"1", Expect::Absent), put("s", "a", b"2", Expect::Absent)])).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))));
    assert_eq!(value(&f.store, "b").await, None);
    let check = Op::CheckEntry { space: "s".into(), path: "a".into(), expect: Expect::Revision(first + 1) };
    assert!(f.store.submit(unit(vec![check, put("s", "b", b"1", Expect::Anything)])).await.is_err());
    let second = f.store.submit(unit(vec![put("s", "a", b"2", Expect::Revision(first))])).await.unwrap();
    assert!(second > first);
    assert_eq!(value(&f.store, "a").await, Some(b"2".to_vec()));
    let mut unaudited = unit(Vec::new());
    unaudited.events.clear();
    assert!(matches!(f.store.submit(unaudited).await, Err(StoreError::NotAudited)));
    assert_eq!(f.store.audit_head().await.unwrap().0, 2);
    // Deleted and made again, it never shows an old revision.
    let gone = Op::DeleteEntry { space: "s".into(), path: "a".into(), expect: Expect::Revision(second) };
    f.store.submit(unit(vec![gone])).await.unwrap();
    assert_eq!(value(&f.store, "a").await, None);
    assert!(f.store.submit(unit(vec![put("s", "a", b"3", Expect::Absent)])).await.unwrap() > second);
}

async fn many_at_once_keep_the_chain_whole_and_lose_nothing(db: Database) {
    let f = db.fresh().await;
    f.store.submit(unit(vec![put("s", "counter", b"0", Expect::Absent)])).await.unwrap();
    let tasks: Vec<_> = (0..40)
        .map(|i| {
            let store = f.store.clone();
            tokio::spawn(async move {
                store.submit(unit(vec![put("s", &format!("own/{i}"), b"x", Expect::Absent)])).await.unwrap();
                loop {
                    let row = store.entry("s", "counter").await.unwrap().unwrap();
                    let next = std::str::from_utf8(&row.sealed).unwrap().parse::<u32>().unwrap() + 1;
                    let op = put("s", "counter", next.to_string().as_bytes(), Expect::Revision(row.revision));
                    match store.submit(unit(vec![op])).await {
                        Ok(_) => break,
                        Err(StoreError::Conflict(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(value(&f.store, "counter").await, Some(b"40".to_vec()));
    assert_eq!(f.store.entry_children("s", "own/", "", 100).await.unwrap().len(), 40);
    assert_eq!(audit::verify(&f.store, None).await.unwrap().events, 81);
}

async fn one_bad_unit_does_not_spoil_the_others(db: Database) {
    let f = db.fresh().await;
    let token = |hash: u8| {
        Op::PutToken(TokenRow { id_hash: vec![hash; 32], accessor: "same".into(), ..token(hash) }, Expect::Absent)
    };
    let submits = [
        f.store.submit(unit(vec![put("s", "a", b"1", Expect::Absent), token(1)])),
        f.store.submit(unit(vec![put("s", "b", b"1", Expect::Absent), token(2)])),
        f.store.submit(unit(vec![put("s", "c", b"1", Expect::Absent)])),
    ];
    let [a, b, c] = submits;
    let (a, b, c) = tokio::join!(a, b, c);
    assert!(c.is_ok());
    assert!(a.is_ok() != b.is_ok(), "two tokens of one accessor");
    assert_eq!(value(&f.store, "a").await.is_some(), a.is_ok());
    assert_eq!(value(&f.store, "b").await.is_some(), b.is_ok());
}

async fn another_node_never_serves_what_was_replaced(db: Database) {
    let f = db.fresh().await;
    let other = Store::connect(&f.url).await.unwrap();
    f.store.submit(unit(vec![put("s", "a", b"1", Expect::Absent)])).await.unwrap();
    // A first unit tells the other node where it stands.
    let mut look = unit(Vec::new());
    look.read_entry("s", "a");
    let _ = other.submit(look.clone()).await;
    assert_eq!(value(&other, "a").await, Some(b"1".to_vec()));
    other.submit(look.clone()).await.unwrap();
    f.store.submit(unit(vec![put("s", "z", b"1", Expect::Absent)])).await.unwrap();
    other.submit(look.clone()).await.expect("what it did not read may change");
    f.store
        .submit(unit(vec![Op::DeleteEntry { space: "s".into(), path: "a".into(), expect: Expect::Anything }]))
        .await
        .unwrap();
    assert!(matches!(other.submit(look.clone()).await, Err(StoreError::Conflict(_))));
    assert_eq!(value(&other, "a").await, None);
    other.submit(look.clone()).await.unwrap();
    f.store.submit(unit(vec![Op::DeleteEntries { space: "s".into(), prefix: String::new() }])).await.unwrap();
    assert!(matches!(other.submit(look).await, Err(StoreError::Conflict(_))));
    assert_eq!(value(&other, "z").await, None);
}

async fn a_transaction_by_hand_is_seen_at_once(db: Database) {
    let f = db.fresh().await;
    f.store.submit(unit(vec![put("s", "a", b"1", Expect::Absent)])).await.unwrap();
    assert_eq!(value(&f.store, "a").await, Some(b"1".to_vec()));
    let mut tx = f.store.begin(&admin()).await.unwrap();
    let revision = tx.entry("s", "a").await.unwrap().unwrap().revision;
    assert!(tx.apply(vec![put("s", "a", b"2", Expect::Absent)]).await.is_err());
    tx.apply(vec![put("s", "a", b"2", Expect::Revision(revision))]).await.unwrap();
    assert_eq!(tx.entry("s", "a").await.unwrap().unwrap().sealed[..], *b"2");
    tx.audit("kv.write", "vault/secret", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(value(&f.store, "a").await, Some(b"2".to_vec()));
    let mut look = unit(Vec::new());
    look.read_entry("s", "a");
    let _ = f.store.submit(look.clone()).await;
    f.store.submit(look).await.unwrap();
    // Dropped, nothing of it is seen.
    let mut tx = f.store.begin(&admin()).await.unwrap();
    tx.apply(vec![put("s", "a", b"3", Expect::Anything)]).await.unwrap();
    drop(tx);
    assert_eq!(value(&f.store, "a").await, Some(b"2".to_vec()));
}

async fn emptying_a_prefix_leaves_its_neighbours(db: Database) {
    let f = db.fresh().await;
    let ops = ["a/1", "a/2", "a", "a0", "b/1"].map(|p| put("s", p, b"x", Expect::Absent));
    f.store.submit(unit(ops.into())).await.unwrap();
    let ops = vec![
        put("s", "a/3", b"x", Expect::Absent),
        Op::DeleteEntries { space: "s".into(), prefix: "a/".into() },
        put("s", "a/4", b"x", Expect::Anything),
    ];
    f.store.submit(unit(ops)).await.unwrap();
    assert_eq!(f.store.entry_paths("s", "", "", 100).await.unwrap(), ["a", "a/4", "a0", "b/1"]);
    assert_eq!(value(&f.store, "a/1").await, None);
}

fn token(hash: u8) -> TokenRow {
    TokenRow {
        id_hash: vec![hash; 32],
        accessor: format!("accessor-{hash}"),
        parent: (hash > 1).then(|| "accessor-1".to_owned()),
        path: "auth/approle/login".into(),
        entity: Some(format!("entity-{}", hash % 2)),
        application: (hash > 3).then(|| "checkout".to_owned()),
        expires_at: (hash > 1).then(|| Timestamp::from_secs(i64::from(hash))),
        sealed: vec![hash],
        revision: 0,
    }
}

async fn tokens_are_found_by_every_way(db: Database) {
    let f = db.fresh().await;
    let ops = (1..=5).map(|i| Op::PutToken(token(i), Expect::Absent)).collect();
    let revision = f.store.submit(unit(ops)).await.unwrap();
    let s = &f.store;
    let found = s.token(&[3; 32]).await.unwrap().unwrap();
    assert_eq!(*found, TokenRow { revision, ..token(3) });
    assert_eq!(s.token_by_accessor("accessor-3").await.unwrap().unwrap(), *found);
    assert_eq!(s.tokens_of_parent("accessor-1").await.unwrap().len(), 4);
    assert_eq!(s.tokens_by_path("auth/approle/", 10).await.unwrap().len(), 5);
    assert_eq!(s.tokens_by_path("auth/approle2/", 10).await.unwrap().len(), 0);
    assert_eq!(s.tokens_by_path("auth/approle/login", 10).await.unwrap().len(), 5);
    assert_eq!(s.tokens_by_path("auth/approle/log", 10).await.unwrap().len(), 0);
    assert_eq!(s.tokens_of_entity("entity-0", 10).await.unwrap().len(), 2);
    assert_eq!(s.tokens_of_entity("entity-0", 1).await.unwrap().len(), 1);
    let of_checkout = s.tokens_of_application("checkout", 10).await.unwrap();
    assert_eq!(of_checkout.iter().map(|t| t.id_hash[0]).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(s.tokens_of_application("checkout", 1).await.unwrap().len(), 1);
    assert!(s.tokens_of_application("check", 10).await.unwrap().is_empty());
    assert_eq!(s.tokens_page("accessor-3", 10).await.unwrap().len(), 2);
    let expired = s.tokens_expired(Timestamp::from_secs(4), 2).await.unwrap();
    assert_eq!(expired.iter().map(|t| t.id_hash[0]).collect::<Vec<_>>(), [2, 3]);
    let changed = TokenRow { sealed: vec![9], expires_at: None, ..token(3) };
    s.submit(unit(vec![Op::PutToken(changed, Expect::Revision(revision))])).await.unwrap();
    assert_eq!(s.token(&[3; 32]).await.unwrap().unwrap().sealed, [9]);
    assert_eq!(s.token_counts().await.unwrap(), (5, 2));
    assert!(s.submit(unit(vec![Op::PutToken(token(3), Expect::Revision(revision))])).await.is_err());
    s.submit(unit(vec![Op::DeleteToken(vec![3; 32], Expect::Anything)])).await.unwrap();
    assert_eq!(s.token(&[3; 32]).await.unwrap(), None);
    assert!(s.submit(unit(vec![Op::PutToken(token(3), Expect::Revision(revision))])).await.is_err());
}

async fn what_rests_on_a_token_is_not_done_after_it_ended(db: Database) {
    let f = db.fresh().await;
    let s = &f.store;
    let there = |hash: u8| Op::CheckToken(vec![hash; 32], Expect::Present);
    let made = |path: &str| put("s", path, b"x", Expect::Absent);
    s.submit(unit(vec![Op::PutToken(token(1), Expect::Absent)])).await.unwrap();
    s.submit(unit(vec![there(1), made("a")])).await.unwrap();
    assert!(matches!(s.submit(unit(vec![there(2), made("b")])).await, Err(StoreError::Conflict(_))));
    // Others write it at the same moment: what rests on it minds its end alone. Units are done in the order in which
    // they are handed in, in one transaction or in several.
    let renewed = TokenRow { sealed: vec![9], ..token(1) };
    let (renewed, beside) = tokio::join!(
        s.submit(unit(vec![Op::PutToken(renewed, Expect::Anything)])),
        s.submit(unit(vec![there(1), made("c")])),
    );
    assert!(renewed.is_ok() && beside.is_ok());
    let (first, ended, last) = tokio::join!(
        s.submit(unit(vec![there(1), made("d")])),
        s.submit(unit(vec![Op::DeleteToken(vec![1; 32], Expect::Anything)])),
        s.submit(unit(vec![there(1), made("e")])),
    );
    assert!(first.is_ok() && ended.is_ok() && matches!(last, Err(StoreError::Conflict(_))));
    // The same in a transaction by hand.
    let mut tx = s.begin(&admin()).await.unwrap();
    assert!(matches!(tx.apply(vec![there(1), made("f")]).await, Err(StoreError::Conflict(_))));
    drop(tx);
    assert_eq!(s.entry_paths("s", "", "", 100).await.unwrap(), ["a", "c", "d"]);
}

fn lease(id: &str, due: i64) -> LeaseRow {
    LeaseRow {
        id: id.into(),
        mount: "database/".into(),
        token: Some("accessor-1".into()),
        entity: Some("entity-1".into()),
        application: Some("checkout".into()),
        place: "here".into(),
        issued: Timestamp::from_secs(1),
        expires_at: Some(Timestamp::from_secs(due)),
        state: LeaseState::Active,
        attempts: 0,
        next_attempt: Some(Timestamp::from_secs(due)),
        sealed: b"sealed".to_vec(),
        revision: 0,
    }
}

async fn leases_are_found_by_every_way(db: Database) {
    let f = db.fresh().await;
    let s = &f.store;
    let ids = ["database/creds/a/1", "database/creds/a/2", "database/creds/b/1", "rabbitmq/creds/c/1"];
    let ops = ids.iter().zip([30, 20, 10, 40]).map(|(id, due)| Op::PutLease(lease(id, due), Expect::Absent)).collect();
    let revision = s.submit(unit(ops)).await.unwrap();
    assert_eq!(s.lease(ids[1]).await.unwrap().unwrap(), LeaseRow { revision, ..lease(ids[1], 20) });
    let of = |rows: Vec<LeaseRow>| rows.into_iter().map(|r| r.id).collect::<Vec<_>>();
    assert_eq!(of(s.leases_by_prefix("database/creds/a/", "", 10).await.unwrap()), ids[..2]);
    assert_eq!(of(s.leases_by_prefix("database/", ids[0], 10).await.unwrap()), ids[1..3]);
    assert_eq!(s.lease_children("database/creds/", "", 10).await.unwrap(), ["a/", "b/"]);
    assert_eq!(s.lease_children("", "", 10).await.unwrap(), ["database/", "rabbitmq/"]);
    assert_eq!(of(s.leases_due("here", Timestamp::from_secs(20), 10).await.unwrap()), [ids[2], ids[1]]);
    assert_eq!(of(s.leases_due("here", Timestamp::from_secs(20), 1).await.unwrap()), [ids[2]]);
    assert_eq!(s.next_lease_due().await.unwrap(), Some(Timestamp::from_secs(10)));
    assert_eq!(s.leases_of_token("accessor-1").await.unwrap().len(), 4);
    assert_eq!(of(s.leases_of_entity("entity-1", "", 10).await.unwrap()), ids);
    assert_eq!(of(s.leases_of_entity("entity-1", ids[0], 2).await.unwrap()), ids[1..3]);
    assert_eq!(of(s.leases_of_application("checkout", "", 10).await.unwrap()), ids);
    assert_eq!(of(s.leases_of_application("checkout", ids[0], 2).await.unwrap()), ids[1..3]);
    let counts = (s.lease_count_of_token("accessor-1").await, s.lease_count_of_token("nobody").await);
    assert_eq!((counts.0.unwrap(), counts.1.unwrap()), (4, 0));
    assert!(s.leases_of_application("billing", "", 10).await.unwrap().is_empty());
    let failed = LeaseRow { state: LeaseState::Revoking, attempts: 3, next_attempt: None, ..lease(ids[0], 30) };
    s.submit(unit(vec![Op::PutLease(failed.clone(), Expect::Revision(revision))])).await.unwrap();
    let read = s.lease(ids[0]).await.unwrap().unwrap();
    assert_eq!((read.state, read.attempts, read.next_attempt), (LeaseState::Revoking, 3, None));
    let stuck = LeaseRow { state: LeaseState::Stuck, attempts: 8, ..lease(ids[3], 40) };
    s.submit(unit(vec![Op::PutLease(stuck, Expect::Revision(revision))])).await.unwrap();
    let failing = s.leases_failing().await.unwrap();
    let told: Vec<_> = failing.iter().map(|f| (f.state, f.count)).collect();
    assert_eq!(told, [(LeaseState::Revoking, 1), (LeaseState::Stuck, 1)]);
    assert_eq!(of(s.leases_stuck("", 10).await.unwrap()), ids[3..]);
    assert!(s.leases_stuck(ids[3], 10).await.unwrap().is_empty());
    let oldest = Some(Timestamp::from_secs(1));
    let counted = |mount: &str, state, count| LeaseCount { mount: mount.into(), state, count, oldest };
    let expected = [(LeaseState::Active, 2), (LeaseState::Revoking, 1), (LeaseState::Stuck, 1)];
    let expected = expected.map(|(state, count)| counted("database/", state, count));
    assert_eq!(s.lease_counts().await.unwrap(), expected);
    s.submit(unit(vec![Op::DeleteLease(ids[0].into(), Expect::Revision(read.revision))])).await.unwrap();
    assert_eq!(s.lease(ids[0]).await.unwrap(), None);
    let told = s.audit_events(0, 10, &AuditFilter::default()).await.unwrap();
    assert!(told.iter().all(|e| e.actor == Actor { ..admin() }));
}

async fn leases_are_due_place_by_place(db: Database) {
    let f = db.fresh().await;
    let s = &f.store;
    let at = Timestamp::from_secs(100);
    assert!(s.lease_places_due(at).await.unwrap().is_empty());
    let due =
        |place: &str, name: &str, due: i64| LeaseRow { place: place.into(), ..lease(&format!("{place}/{name}"), due) };
    // What nobody knows the place of, and one whose due moment is not there yet.
    let mut rows = vec![due("", "old", 90), due("later", "1", 101), due("quick", "1", 99)];
    let idle = LeaseRow { next_attempt: None, ..due("idle", "1", 1) };
    rows.push(idle);
    rows.extend((0..300).map(|i| due("slow", &format!("{i:03}"), i % 50)));
    s.submit(unit(rows.into_iter().map(|row| Op::PutLease(row, Expect::Absent)).collect())).await.unwrap();
    assert_eq!(s.lease_places_due(at).await.unwrap(), ["", "quick", "slow"]);
    assert_eq!(s.lease_places_due(Timestamp::from_secs(101)).await.unwrap(), ["", "later", "quick", "slow"]);
    let of = |rows: Vec<LeaseRow>| rows.into_iter().map(|r| r.id).collect::<Vec<_>>();
    assert_eq!(of(s.leases_due("quick", at, 10).await.unwrap()), ["quick/1"]);
    assert_eq!(of(s.leases_due("", at, 10).await.unwrap()), ["/old"]);
    assert!(s.leases_due("later", at, 10).await.unwrap().is_empty());
    let first = s.leases_due("slow", at, 20).await.unwrap();
    assert_eq!(first.len(), 20);
    assert!(first.windows(2).all(|pair| pair[0].next_attempt <= pair[1].next_attempt));
    // One that has failed goes first: it finds out, and it is the one that a person is asked for in the end.
    let mut failed = [due("slow", "007", 60), due("slow", "008", 60), due("slow", "009", 200)];
    for (row, attempts) in failed.iter_mut().zip([2, 5, 9]) {
        row.attempts = attempts;
    }
    s.submit(unit(failed.map(|row| Op::PutLease(row, Expect::Present)).into())).await.unwrap();
    let first = of(s.leases_due("slow", at, 3).await.unwrap());
    assert_eq!(first[0], "slow/008");
    assert_eq!(first.len(), 3);
    assert!(!first[1..].contains(&first[0]));
    assert_eq!(of(s.leases_due("slow", at, 1).await.unwrap()), ["slow/008"]);
    assert_eq!(s.leases_due("slow", at, 1000).await.unwrap().len(), 299, "one is not due yet");
}

async fn leases_end_with_their_token_whoever_is_first(db: Database) {
    let f = db.fresh().await;
    let s = &f.store;
    let other = LeaseRow { token: Some("accessor-2".into()), ..lease("other", 50) };
    let stuck = LeaseRow { state: LeaseState::Stuck, ..lease("stuck", 50) };
    let pending = LeaseRow { state: LeaseState::Pending, ..lease("pending", 50) };
    let rows = [lease("active", 50), pending, stuck, other];
    let revision = s.submit(unit(rows.map(|row| Op::PutLease(row, Expect::Absent)).into())).await.unwrap();
    // Alone, as for a token that made nothing else, and with one that is written in the same transaction.
    let at = Timestamp::from_secs(7);
    let end = Op::EndLeases { token: "accessor-1".into(), at };
    let ended = s.submit(unit(vec![end.clone(), Op::PutLease(lease("late", 50), Expect::Absent)])).await.unwrap();
    for id in ["active", "pending", "late"] {
        let row = s.lease(id).await.unwrap().unwrap();
        assert_eq!((row.state, row.next_attempt, row.revision), (LeaseState::Revoking, Some(at), ended), "{id}");
    }
    assert_eq!(s.lease("stuck").await.unwrap().unwrap().state, LeaseState::Stuck);
    assert_eq!(s.lease("other").await.unwrap().unwrap().revision, revision);
    // Whoever saw one before it ended does not bring it back.
    let renewed = s.submit(unit(vec![Op::PutLease(lease("active", 90), Expect::Revision(revision))])).await;
    assert!(matches!(renewed, Err(StoreError::Conflict(_))));
    s.submit(unit(vec![Op::PutLease(lease("active", 50), Expect::Anything)])).await.unwrap();
    s.submit(unit(vec![end])).await.unwrap();
    assert_eq!(s.lease("active").await.unwrap().unwrap().state, LeaseState::Revoking);
}
