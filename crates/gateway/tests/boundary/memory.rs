//! What callers can make a worker hold is bounded, whoever reads slowly or sends halves of bodies.

use crate::{
    harness::*,
    http2::{Never, caller, request},
    models,
};
use credentialflow_model::OutcomeReason as R;
use http_body_util::BodyExt;

const MEMORY: u64 = 4 << 20;

fn patient(mut setup: Setup) -> World {
    setup.settings.memory = MEMORY;
    setup.workers = 1;
    setup.start()
}

/// All of it is free again.
async fn free(world: &World) {
    until(|| world.gateway.memory().0 == 0).await;
}

#[tokio::test]
async fn many_streams_that_nobody_reads() {
    const LARGE: usize = 20 << 20;
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            if request.target() == "/small" {
                peer.send(answer(200, "", "ok")).await;
                continue;
            }
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n")).await;
            peer.send(vec![b'y'; LARGE]).await;
        }
    })
    .await;
    let world = patient(Setup::new(usual(&[upstream.url()], "", "")));
    let (mut senders, mut unread, mut refused, mut cut) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..4 {
        let mut sender = caller(&world).await;
        for _ in 0..60 {
            let answer = within(sender.send_request(request("GET", "/large", ""))).await;
            assert!(world.gateway.memory().0 <= MEMORY, "{} held", world.gateway.memory().0);
            match answer {
                Ok(answer) if answer.status() == 200 => unread.push(answer),
                Ok(answer) => {
                    assert_eq!(answer.status(), 503);
                    refused += 1;
                }
                // Cut before its head was out: a piece of the answer did not fit.
                Err(_) => cut += 1,
            }
        }
        senders.push(sender);
    }
    assert!(refused + cut > 0, "{} unread", unread.len());
    assert!(world.gateway.memory().1 > 0);
    drop((unread, senders));
    free(&world).await;
    world.calm().await;
    // Everybody is served again.
    let mut sender = caller(&world).await;
    let answer = within(sender.send_request(request("GET", "/small", ""))).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    drop(sender);
    free(&world).await;
    world.calm().await;
    let records = world.finish().await;
    assert!(records.iter().all(|r| matches!(r.outcome, R::Served | R::CallerClosed | R::Overloaded)));
    let overloaded = records.iter().filter(|r| r.outcome == R::Overloaded).count();
    assert!(overloaded >= refused, "{overloaded} records of {refused} refusals: {records:#?}");
}

#[tokio::test]
async fn bodies_announced_over_http2_count_before_they_are_sent() {
    let upstream = FakeUpstream::answering(answer(200, "", "ok")).await;
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.settings.memory = 1 << 16;
    let world = setup.start();
    let mut sender = caller(&world).await;
    for (length, status) in [(10, 200), (100_000, 503), (10, 200)] {
        let answer = within(sender.send_request(request("POST", "/", vec![b'x'; length]))).await.unwrap();
        assert_eq!(answer.status(), status, "{length}");
        let told = within(answer.into_body().collect()).await.unwrap().to_bytes();
        let expect = if status == 200 { "ok" } else { r#""code":"overloaded""# };
        assert!(String::from_utf8_lossy(&told).contains(expect), "{told:?}");
        world.outcome(if status == 200 { R::Served } else { R::Overloaded }).await;
        free(&world).await;
    }
    drop(sender);
    world.done().await;
}

#[tokio::test]
async fn bodies_that_never_come_share_their_connections_window() {
    const STREAMS: usize = 100;
    /// The connection's window, and what each request holds besides.
    const WINDOW: u64 = 2 << 20;
    const BUFFER: u64 = 32 << 10;
    const HEAD: u64 = 1 << 10;
    let upstream = FakeUpstream::start(|mut peer| async move {
        while peer.head().await.is_some() {
            peer.wire.drain().await;
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut sender = caller(&world).await;
    let waiting: Vec<_> = (0..STREAMS)
        .map(|_| {
            let mut upload = request("POST", "/", "");
            *upload.body_mut() = Never.boxed();
            tokio::spawn(sender.send_request(upload))
        })
        .collect();
    upstream.until(|c| c.requests == STREAMS).await;
    let held = world.gateway.memory().0;
    let least = WINDOW + STREAMS as u64 * BUFFER;
    assert!((least..least + STREAMS as u64 * HEAD).contains(&held), "{held}");
    waiting.iter().for_each(|w| w.abort());
    for _ in 0..STREAMS {
        world.outcome(R::CallerClosed).await;
    }
    drop(sender);
    free(&world).await;
    world.done().await;
}

#[tokio::test]
async fn events_that_never_end() {
    const EVENT: usize = 900_000;
    let upstream = FakeUpstream::start(|mut peer| async move {
        if peer.request().await.is_some() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ").await;
            peer.send(vec![b'x'; EVENT]).await;
            peer.wire.drain().await;
        }
    })
    .await;
    let mut setup = Setup::new(models::yaml(&upstream));
    setup.credentials = vec![("c", 3, SECRET), ("d", 9, "the-other-secret")];
    let world = patient(setup);
    let body = r#"{"model":"chat","stream":true,"messages":[]}"#;
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\nx-api-key: {}\r\n", key("k"));
    let mut wires = Vec::new();
    for n in 0..8 {
        let mut wire = world.connect().await;
        wire.send(format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await.unwrap();
        wires.push(wire);
        if n == 0 {
            until(|| world.gateway.memory().0 > EVENT as u64).await;
        }
    }
    until(|| world.gateway.memory().1 > 0).await;
    assert!(world.gateway.memory().0 <= MEMORY, "{} held", world.gateway.memory().0);
    drop(wires);
    free(&world).await;
    world.calm().await;
    let records = world.finish().await;
    assert!(records.iter().all(|r| matches!(r.outcome, R::CallerClosed | R::Overloaded)), "{records:#?}");
    assert!(records.iter().any(|r| r.outcome == R::Overloaded));
}

#[tokio::test]
async fn many_halves_of_model_calls() {
    const LENGTH: usize = 900_000;
    let upstream = models::provider().await;
    let mut setup = Setup::new(models::yaml(&upstream));
    setup.credentials = vec![("c", 3, SECRET), ("d", 9, "the-other-secret")];
    let world = patient(setup);
    let body = format!("{{\"model\":\"chat\",\"pad\":\"{}\"}}", "p".repeat(LENGTH - 25));
    assert_eq!(body.len(), LENGTH);
    let (half, rest) = body.split_at(700_000);
    let key = key("k");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\nx-api-key: {key}\r\ncontent-length: {LENGTH}\r\n\r\n"
    );
    let mut waiting = Vec::new();
    // Each holds one MiB; four fit.
    for n in 1..=4 {
        let mut wire = world.connect().await;
        wire.send(format!("{head}{half}")).await.unwrap();
        until(|| world.gateway.memory().0 >= n << 20).await;
        waiting.push(wire);
    }
    assert_eq!(world.gateway.memory().0, MEMORY);
    let refused = world.ask(format!("{head}{half}")).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.text().contains("overloaded"), "{}", refused.text());
    world.outcome(R::Overloaded).await;
    // Two of them leave; there is room to rewrite the first.
    waiting.truncate(2);
    until(|| world.gateway.memory().0 == 2 << 20).await;
    for _ in 0..2 {
        world.outcome(R::CallerClosed).await;
    }
    let mut first = waiting.swap_remove(0);
    first.send(rest).await.unwrap();
    let answer = within(first.message()).await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text());
    world.outcome(R::Served).await;
    drop((first, waiting));
    world.outcome(R::CallerClosed).await;
    free(&world).await;
    world.done().await;
}
