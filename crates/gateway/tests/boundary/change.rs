//! Changes under way: snapshots, revocation, counting uses of a credential's versions, shutting down.

use crate::harness::*;
use credentialflow_model::OutcomeReason as R;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Streams without end at `/stream`, answers everything else.
async fn streaming() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            if request.target() != "/stream" {
                peer.send(OK).await;
                continue;
            }
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            while peer.wire.send("4\r\ntick\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    })
    .await
}

async fn begin_stream(world: &World, name: &str) -> Wire {
    let mut wire = world.connect().await;
    wire.send(format!("GET /stream HTTP/1.1\r\nhost: gw\r\nx-api-key: {}\r\n\r\n", key(name))).await.unwrap();
    assert_eq!(within(wire.head()).await.unwrap().status(), 200);
    wire
}

#[tokio::test]
async fn a_key_whose_parent_is_gone_is_refused() {
    let upstream = streaming().await;
    let yaml = usual(&[upstream.url()], "", "");
    let below = yaml.replace("name: k,", "name: k, parent: k2,");
    assert_ne!(below, yaml);
    let world = Setup::new(below.clone()).start();
    assert_eq!(world.get("/", "").await.status(), 200);
    world.served(1).await;
    world.install(&below, &[("c", 1, SECRET)], &["k2"]).await;
    assert_eq!(world.get("/", "").await.status(), 401);
    world.outcome(R::Unauthenticated).await;
    world.done().await;
}

#[tokio::test]
async fn a_revoked_key_is_cut_off_and_no_other() {
    let upstream = streaming().await;
    let yaml = usual(&[upstream.url()], "", "");
    let world = Setup::new(yaml.clone()).start();
    let mut cut = begin_stream(&world, "k").await;
    let mut other = begin_stream(&world, "k2").await;
    let mut idle = world.connect().await;
    idle.send(get("/", "")).await.unwrap();
    assert_eq!(within(idle.message()).await.unwrap().status(), 200);
    world.served(1).await;
    world.install(&yaml, &[("c", 1, SECRET)], &["k"]).await;
    // Refused from this moment on, on new connections (whichever worker takes them) and kept ones.
    for _ in 0..8 {
        assert_eq!(world.get("/", "").await.status(), 401);
    }
    idle.send(get("/", "")).await.unwrap();
    assert_eq!(within(idle.message()).await.unwrap().status(), 401);
    within(cut.drain()).await;
    let mut refused = 0;
    let mut records = Vec::new();
    while records.is_empty() || refused < 9 {
        let record = world.record().await;
        match record.outcome {
            R::Unauthenticated => refused += 1,
            _ => records.push(record),
        }
    }
    assert_eq!((records.len(), records[0].outcome, records[0].status), (1, R::Revoked, 200));
    let mut more = Vec::new();
    assert!(within(other.take(1000, &mut more)).await, "the other key's stream goes on");
    drop(other);
    world.outcome(R::CallerClosed).await;
    world.done().await;
}

#[tokio::test]
async fn uses_of_a_version_are_counted_while_they_last() {
    let upstream = streaming().await;
    let yaml = usual(&[upstream.url()], "", "");
    let world = Setup::new(yaml.clone()).start();
    let counts = async || (world.gateway.in_flight("c", 1).await, world.gateway.in_flight("c", 2).await);
    assert_eq!(counts().await, (0, 0));
    let first = begin_stream(&world, "k").await;
    assert_eq!(counts().await, (1, 0));
    world.install(&yaml, &[("c", 2, "another-secret-value")], &[]).await;
    let second = begin_stream(&world, "k2").await;
    assert_eq!(counts().await, (1, 1));
    // Installing again and again loses no count.
    for _ in 0..3 {
        world.install(&yaml, &[("c", 2, "another-secret-value")], &[]).await;
    }
    assert_eq!(counts().await, (1, 1));
    assert_eq!(upstream.last().field("authorization"), Some("Bearer another-secret-value"));
    drop(first);
    let record = world.outcome(R::CallerClosed).await;
    assert_eq!(record.credential.unwrap().version, 1);
    assert_eq!(counts().await, (0, 1));
    drop(second);
    assert_eq!(world.outcome(R::CallerClosed).await.credential.unwrap().version, 2);
    assert_eq!(counts().await, (0, 0));
    world.get("/", "").await;
    world.served(1).await;
    assert_eq!(counts().await, (0, 0));
    world.done().await;
}

#[tokio::test]
async fn snapshots_change_under_load_without_a_failure() {
    let upstream = FakeUpstream::answering(OK).await;
    let yaml = usual(&[upstream.url()], "", "");
    let world = Setup::new(yaml.clone()).start();
    let over = Arc::new(AtomicBool::new(false));
    let gateway = world.gateway.address();
    let callers: Vec<_> = (0..6)
        .map(|i| {
            let over = over.clone();
            tokio::spawn(async move {
                let mut wire = connect(gateway).await.unwrap();
                let mut n = 0;
                while !over.load(Relaxed) {
                    wire.send(if i % 2 == 0 { get("/", "") } else { post("/", "", "x") }).await.unwrap();
                    assert_eq!(within(wire.message()).await.unwrap().status(), 200);
                    n += 1;
                }
                n
            })
        })
        .collect();
    for version in 2..60 {
        // Every other change replaces the upstream's plan, too.
        let more = if version % 2 == 0 { ", health: { failures: 5 }" } else { "" };
        world.install(&usual(&[upstream.url()], more, ""), &[("c", version, SECRET)], &[]).await;
        assert_eq!(world.get("/", "").await.status(), 200);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    over.store(true, Relaxed);
    let mut total = 58;
    for caller in callers {
        total += caller.await.unwrap();
    }
    world.calm().await;
    let records = world.finish().await;
    assert_eq!(records.len(), total);
    assert!(records.iter().all(|r| r.outcome == R::Served && r.attempts == 1));
    assert!(upstream.counts().accepted <= 16, "connections outlive snapshots: {:?}", upstream.counts());
}

#[tokio::test]
async fn shutting_down_lets_requests_finish() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let upstream = FakeUpstream::start(move |mut peer| {
        let mut wait = wait.clone();
        async move {
            while let Some(request) = peer.request().await {
                if request.target() == "/slow" {
                    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsl").await;
                    wait.wait_for(|go| *go).await.unwrap();
                    peer.send("ow").await;
                } else {
                    peer.send(OK).await;
                }
            }
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut idle = world.connect().await;
    idle.send(get("/", "")).await.unwrap();
    assert_eq!(within(idle.message()).await.unwrap().status(), 200);
    let mut slow = world.connect().await;
    slow.send(get("/slow", "")).await.unwrap();
    assert_eq!(within(slow.head()).await.unwrap().status(), 200);
    let address = world.gateway.address();
    // Accepted by the kernel, perhaps not yet by us.
    let mut fresh = Vec::new();
    for _ in 0..40 {
        let mut wire = connect(address).await.unwrap();
        wire.send(get("/", "")).await.unwrap();
        fresh.push(wire);
    }
    let shutdown = tokio::spawn(async move {
        world.gateway.shutdown().await;
        world.records
    });
    for mut wire in fresh {
        let answer = within(wire.message()).await.expect("no accepted connection is reset");
        assert_eq!(answer.status(), 200);
    }
    assert!(within(idle.ended()).await, "an idle connection is closed");
    // Each worker closes its own listener.
    within(async {
        while connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(!shutdown.is_finished(), "one request still runs, though nobody listens any more");
    go.send(true).unwrap();
    let mut rest = Vec::new();
    assert!(within(slow.take(4, &mut rest)).await);
    assert_eq!(rest, b"slow");
    assert!(within(slow.ended()).await);
    let records = within(shutdown).await.unwrap();
    assert_eq!(records.kept.lock().unwrap().len(), 42);
    assert!(records.kept.lock().unwrap().iter().all(|r| r.outcome == R::Served));
}

#[tokio::test]
async fn what_does_not_end_in_time_is_ended() {
    let upstream = streaming().await;
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.settings.drain = Duration::from_millis(200);
    let world = setup.start();
    let mut endless = begin_stream(&world, "k").await;
    let (_, records) = tokio::join!(endless.drain(), async {
        within(world.gateway.shutdown()).await;
        world.records
    });
    let kept = records.kept.lock().unwrap();
    assert_eq!((kept.len(), kept[0].outcome, kept[0].status), (1, R::Overloaded, 200));
}
