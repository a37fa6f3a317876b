//! Nodes on a real PostgreSQL: who waits for whom, and who does what one does for all.
#![allow(clippy::unwrap_used)]

use super::*;
use credentialflow_admin::ports::NodeState;
use credentialflow_model::{Actor, lifecycle::RotationStep};
use credentialflow_store::{NodeTraffic, RotationRow};
use credentialflow_testkit::postgres::Cluster;
use std::sync::Arc;
use tokio::task::JoinHandle;

struct World {
    url: String,
    database: String,
    cluster: Cluster,
    /// An event of the database's history.
    mark: Option<Mark>,
}

impl World {
    async fn new() -> Self {
        let cluster = Cluster::start().unwrap();
        let url = cluster.create_database().unwrap();
        let database = url.rsplit('/').next().unwrap().to_owned();
        let store = Store::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        let mut tx = store.begin(&Actor::operator()).await.unwrap();
        tx.audit("test", "nodes", serde_json::json!({}));
        tx.commit().await.unwrap();
        let mark = Some(store.audit_head().await.unwrap());
        Self { url, database, cluster, mark }
    }

    async fn node(&self, name: &str) -> Arc<Nodes> {
        let store = Store::connect(&self.url).await.unwrap();
        let random = name.bytes().fold(7, |n, b| n * 31 + u64::from(b));
        let identity = Identity { name: name.into(), serves: true, controls: true, ended: vec![] };
        let node = Arc::new(Nodes::new(store, identity, random));
        node.enter(0, None, true).await;
        node
    }

    /// As if a node had been silent for so long.
    fn silence(&self, node: &Nodes, seconds: u32) {
        let sql = format!("UPDATE nodes SET heartbeat = heartbeat - {seconds}000000 WHERE id = '{}'", node.id);
        self.cluster.sql(&self.database, &sql).unwrap();
    }
}

fn alive(node: &Arc<Nodes>) -> JoinHandle<()> {
    let node = node.clone();
    tokio::spawn(async move { node.run().await })
}

/// As if its process were killed. What it had already asked the database is done.
async fn die(run: JoinHandle<()>) {
    run.abort();
    let _ = run.await;
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Waits for something that comes by itself, for at most a minute.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_for_those_who_are_there_and_names_those_who_are_not() {
    let world = World::new().await;
    let (a, b, c) = (world.node("a").await, world.node("b").await, world.node("c").await);
    a.enforces(5, world.mark, 2);
    b.enforces(4, world.mark, 3);
    let _runs = [alive(&a), alive(&b)];
    world.silence(&c, 6);
    let waiting = tokio::spawn({
        let a = a.clone();
        async move { a.wait_for(5).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "b has not confirmed");
    b.enforces(5, world.mark, 3);
    // It would be an error after [`WAIT`].
    let confirmed = waiting.await.unwrap().unwrap();
    assert_eq!(
        (confirmed.workers, confirmed.nodes, confirmed.lost),
        (3, vec!["a".into(), "b".into()], vec!["c".into()])
    );
    eventually("a sees both", || a.count_others() == (1, 1)).await;
    let states: Vec<_> = a.list().into_iter().map(|n| (n.name, n.state, n.answering)).collect();
    let expected = [("a", NodeState::Live, true), ("b", NodeState::Live, false), ("c", NodeState::Lost, false)];
    assert_eq!(states, expected.map(|(n, s, me)| (n.to_owned(), s, me)));
    assert!(a.in_company() && a.pause() == LOOK.0);

    // One that is there and does not confirm is an error, not a silence.
    let Err(PublishError::NodesBehind { acknowledged, behind }) = a.wait_for(6).await else { panic!("b is behind") };
    assert_eq!((acknowledged, behind), (1, vec!["b".to_owned()]));
    b.leave().await;
    assert_eq!(a.wait_for(6).await.unwrap().nodes, ["a"], "nobody waits for one that leaves");
    b.end().await;
    eventually("b is gone", || a.count_others() == (0, 1)).await;
    // A new process of a lost one's name takes its place.
    let _again = alive(&world.node("c").await);
    eventually("the lost one is forgotten", || a.count_others() == (1, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_in_a_history_that_is_over_confirms_nothing() {
    let world = World::new().await;
    let (a, b) = (world.node("a").await, world.node("b").await);
    let _runs = [alive(&a), alive(&b)];
    a.enforces(901, world.mark, 1);
    // The database went back from 1000 to 900, and 901 is another change now.
    for over in [world.mark.map(|(event, _)| (event, [9; 32])), world.mark.map(|(event, hash)| (event + 7, hash)), None]
    {
        b.enforces(1000, over, 1);
        eventually("b is heard", || a.list().iter().any(|n| n.name == "b" && n.seq == 1000)).await;
        let waiting = tokio::time::timeout(Duration::from_millis(300), a.wait_for(901));
        assert!(waiting.await.is_err(), "{over:?} is taken for a confirmation");
    }
    b.enforces(901, world.mark, 1);
    assert_eq!(a.wait_for(901).await.unwrap().nodes, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_does_what_one_does_for_all_and_another_when_it_dies() {
    let world = World::new().await;
    let (a, b) = (world.node("a").await, world.node("b").await);
    let run_a = alive(&a);
    let (jobs_a, jobs_b) = (a.jobs(), b.jobs());
    eventually("a has the lease", || *jobs_a.borrow()).await;
    let _run_b = alive(&b);
    let runs_jobs = || b.list().iter().map(|n| n.runs_jobs).collect::<Vec<_>>();
    eventually("b knows who has it", || runs_jobs() == [true, false]).await;
    tokio::time::sleep(BEAT * 3 / 2).await;
    assert!(!*jobs_b.borrow());
    assert_eq!(runs_jobs(), [true, false]);
    run_a.abort();
    eventually("b takes over", || *jobs_b.borrow()).await;
    // Given back, it changes hands at once.
    let _run_a = alive(&a);
    b.leave().await;
    assert!(!*jobs_b.borrow());
    assert_ne!(a.store.lease_holder(JOBS).await.unwrap().as_ref(), Some(&b.id), "nobody waits for it to end");
    eventually("a takes over", || *jobs_a.borrow()).await;
    // Without its database it stops before another can begin, and knows that nobody waits for it.
    world.cluster.stop().unwrap();
    eventually("a steps down", || !*jobs_a.borrow()).await;
    eventually("a is stale", || a.is_stale()).await;
    world.cluster.resume().unwrap();
    eventually("a is heard again", || !a.is_stale() && *jobs_a.borrow()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_process_that_its_successor_knows_to_have_ended() {
    let world = World::new().await;
    let (a, b) = (world.node("a").await, world.node("b").await);
    let killed = alive(&b);
    eventually("b has the lease", || *b.jobs().borrow()).await;
    die(killed).await;
    let again = Identity { name: "b".into(), serves: true, controls: true, ended: vec![b.id.clone()] };
    let again = Arc::new(Nodes::new(Store::connect(&world.url).await.unwrap(), again, 77));
    again.enter(5, world.mark, true).await;
    assert_eq!(a.store.lease_holder(JOBS).await.unwrap(), None, "its lease is free at once");
    let _run = alive(&again);
    // Were its end not known, it would be an error now, or a lost node later.
    let confirmed = a.wait_for(5).await.unwrap();
    assert_eq!((confirmed.nodes, confirmed.lost), (vec!["a".to_owned(), "b".into()], vec![]));
    eventually("the new process has the lease", || *again.jobs().borrow()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_soon_after_its_predecessor_died_takes_its_place_later() {
    let world = World::new().await;
    let (a, b) = (world.node("a").await, world.node("b").await);
    let again = Identity { name: "b".into(), serves: true, controls: true, ended: vec![] };
    let again = Arc::new(Nodes::new(Store::connect(&world.url).await.unwrap(), again, 77));
    again.enter(0, world.mark, true).await;
    let (run_a, run_b, _run) = (alive(&a), alive(&b), alive(&again));
    eventually("a sees all three", || a.list().len() == 3).await;
    // It may only be slow, as one that is being replaced without an interruption.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(a.list().len(), 3);
    die(run_b).await;
    world.silence(&b, 600);
    eventually("b is replaced", || a.list().len() == 2).await;
    // Another name is another node.
    die(run_a).await;
    world.silence(&a, 600);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(again.list().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_about_running_requests_is_not_none() {
    let world = World::new().await;
    let (a, b) = (world.node("a").await, world.node("b").await);
    let (_run_a, run_b) = (alive(&a), alive(&b));
    let mut tx = a.store.begin(&Actor::operator()).await.unwrap();
    let row = RotationRow {
        id: "r".into(),
        credential: "token".parse().unwrap(),
        from_version: Some(1),
        to_version: Some(2),
        step: RotationStep::Drain,
        started: tx.now(),
        updated: tx.now(),
        deadline: None,
        detail: serde_json::json!({}),
        error: None,
        waiting: false,
        again: None,
    };
    tx.insert_rotation(&row).await.unwrap();
    tx.audit("test", "credentials/token", serde_json::json!({}));
    tx.commit().await.unwrap();
    let held = || async { a.others_in_flight("token", 1).await.unwrap() };
    assert_eq!(held().await, 1, "b has not said");
    let seen =
        NodeTraffic { version: 1, in_force: true, in_flight: 0, refused: 2, served: 5, stragglers: String::new() };
    b.store.report_traffic(&b.id, "r", &seen).await.unwrap();
    assert_eq!(held().await, 1, "requests that begin on b still get it");
    let other = NodeTraffic { version: 7, in_force: false, ..seen.clone() };
    b.store.report_traffic(&b.id, "r", &other).await.unwrap();
    assert_eq!(held().await, 1, "b speaks of another version");
    b.store.report_traffic(&b.id, "r", &NodeTraffic { in_force: false, in_flight: 4, ..seen.clone() }).await.unwrap();
    assert_eq!(held().await, 4);
    eventually("a sees b", || a.in_company()).await;
    assert_eq!(a.others_told("token", Some(1)).await, (4, (2, 5)));
    b.store.report_traffic(&b.id, "r", &NodeTraffic { in_force: false, ..seen }).await.unwrap();
    assert_eq!(held().await, 0);
    let lost = || async { a.lost_holders("token", 1).await.unwrap() };
    assert!(lost().await.is_empty());
    die(run_b).await;
    world.silence(&b, 60);
    assert_eq!((held().await, lost().await.len()), (0, 0), "what it said of version 1 stays true");
    assert_eq!(a.others_in_flight("token", 7).await.unwrap(), 1, "a lost node serves on");
    assert_eq!(a.lost_holders("token", 7).await.unwrap(), ["b"]);
    world.silence(&b, 4000);
    a.tidy().await.unwrap();
    assert_eq!(a.others_in_flight("token", 7).await.unwrap(), 1, "and is not forgotten while a rotation runs");
    b.leave().await;
    assert_eq!(held().await, 1, "nobody counts the last requests of one that leaves");
    b.end().await;
    assert_eq!(held().await, 0);
}

#[tokio::test]
async fn on_sqlite_nobody_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::connect(&format!("sqlite:{}", dir.path().join("s.db").display())).await.unwrap();
    store.migrate().await.unwrap();
    let one = Identity { name: "one".into(), serves: true, controls: true, ended: vec![] };
    let node = Nodes::new(store.clone(), one, 3);
    node.enter(4, None, true).await;
    assert!(*node.jobs().borrow() && !node.in_company() && !node.is_stale());
    assert_eq!(node.wait_for(99).await.unwrap().nodes, ["one"]);
    assert_eq!(node.others_in_flight("token", 1).await.unwrap(), 0);
    let list = node.list();
    assert!(matches!(&list[..], [one] if one.answering && one.runs_jobs && one.state == NodeState::Live));
    node.leave().await;
    node.end().await;
    assert!(store.nodes().await.unwrap().is_empty(), "nothing is written");
}
