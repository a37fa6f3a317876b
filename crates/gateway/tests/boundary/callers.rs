//! Callers that are slow, leave, or send what could be read in two ways.

use crate::{harness::*, tls};
use credentialflow_gateway::net::tls::{Certificate, server_config};
use credentialflow_model::OutcomeReason as R;
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn what_can_be_read_in_two_ways_never_reaches_the_upstream() {
    let upstream = FakeUpstream::answering(OK).await;
    let world = World::before(&upstream);
    let key = key("k");
    let lines = [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 6",
        "content-length: -1",
        "content-length: 1_0",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: \x0bchunked",
        "transfer-encoding : chunked",
        "x: a\r\n folded",
        "x: a\nsmuggled: b",
        "x: a\rsmuggled: b",
        "x: a\0b",
        "x y: a",
        "host: other",
    ];
    let mut requests: Vec<String> = lines
        .iter()
        .map(|l| format!("POST / HTTP/1.1\r\nhost: gw\r\nx-api-key: {key}\r\n{l}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
        .collect();
    requests.push(format!("GET / HTTP/1.1\nhost: gw\nx-api-key: {key}\n\n"));
    requests.push(format!("GET /\r\nx-api-key: {key}\r\n\r\n"));
    requests.push(format!("GET  / HTTP/1.1\r\nhost: gw\r\nx-api-key: {key}\r\n\r\n"));
    requests.push(format!("GET / HTTP/1.1\rx: y\r\nhost: gw\r\nx-api-key: {key}\r\n\r\n"));
    requests.push(format!("CONNECT gw:443 HTTP/1.1\r\nhost: gw\r\nx-api-key: {key}\r\n\r\n"));
    requests.push(format!("GET / HTTP/1.1\r\nx-api-key: {key}\r\n\r\n"));
    for request in &requests {
        let mut wire = world.connect().await;
        // What follows in the same breath must not be taken for a request of its own.
        wire.send(format!("{request}{}", get("/smuggled", ""))).await.unwrap();
        let answer = within(wire.message()).await.unwrap();
        assert_eq!((answer.status(), answer.field("connection")), (400, Some("close")), "{request:?}");
        assert!(within(wire.ended()).await, "{request:?}");
        world.outcome(R::MalformedRequest).await;
    }
    assert_eq!(upstream.counts().requests, 0);
    // A body that breaks its framing ends the upstream's request unfinished.
    for body in ["5\r\nhelloXX", "zz\r\n", "5\nhello\n0\n\n", "0\r\n bad: trailer\r\n\r\n"] {
        let head = format!("POST / HTTP/1.1\r\nhost: gw\r\nx-api-key: {key}\r\ntransfer-encoding: chunked\r\n\r\n");
        let answer = world.ask(format!("{head}{body}")).await;
        assert_eq!((answer.status(), answer.field("connection")), (400, Some("close")), "{body:?}");
        world.outcome(R::MalformedRequest).await;
        upstream.until(|c| c.open == 0).await;
        assert!(!upstream.last().complete, "{body:?}");
    }
    world.done().await;
}

#[tokio::test]
async fn heads_that_are_too_large() {
    let upstream = FakeUpstream::answering(OK).await;
    let world = World::before(&upstream);
    let many = "x: y\r\n".repeat(200);
    for (request, status, outcome) in [
        (get(&format!("/{}", "a".repeat(9000)), ""), 414, R::UriTooLong),
        (get("/", &format!("x: {}\r\n", "a".repeat(40_000))), 431, R::HeadersTooLarge),
        (get("/", &many), 431, R::HeadersTooLarge),
        (format!("GET /{}", "a".repeat(40_000)), 414, R::UriTooLong),
    ] {
        let answer = world.ask(&request).await;
        assert_eq!((answer.status(), answer.field("connection")), (status, Some("close")), "{request:.40}");
        world.outcome(outcome).await;
    }
    assert_eq!(upstream.counts().requests, 0);
    world.done().await;
}

#[tokio::test]
async fn slow_callers() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        peer.request().await;
    })
    .await;
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    (setup.settings.head_timeout, setup.settings.body_timeout) = (HASTE, HASTE);
    let world = setup.start();
    let slow_head = world.ask("GET / HTTP/1.1\r\nhost: g").await;
    assert_eq!((slow_head.status(), slow_head.field("connection")), (408, Some("close")));
    world.outcome(R::RequestTimeout).await;
    let key = key("k");
    for framing in ["content-length: 10\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let slow = world.ask(format!("POST / HTTP/1.1\r\nhost: gw\r\nx-api-key: {key}\r\n{framing}")).await;
        assert_eq!((slow.status(), slow.field("connection")), (408, Some("close")));
        let record = world.outcome(R::RequestTimeout).await;
        assert_eq!(record.bytes_in, 3);
        upstream.until(|c| c.open == 0).await;
        assert!(!upstream.last().complete);
    }
    // A connection that says nothing at all is closed without a word, and without a record.
    let mut silent = world.connect().await;
    assert!(within(silent.ended()).await);
    world.done().await;
}

#[tokio::test]
async fn callers_of_http2_that_ask_for_nothing() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    /// A head that never ends: HEADERS without END_HEADERS.
    const HALF_A_HEAD: &[u8] = &[0, 0, 1, 1, 1, 0, 0, 0, 1, 0x82];
    let said = [vec![], PREFACE[..12].to_vec(), PREFACE.to_vec(), [PREFACE, SETTINGS, HALF_A_HEAD].concat()];
    let upstream = FakeUpstream::answering(OK).await;
    let files = tls::Files::new();
    let start = |tls| {
        let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
        // A handshake must fit into it as well.
        setup.settings.head_timeout = Duration::from_secs(3);
        setup.tls = tls;
        setup.start()
    };
    let secure = start(Some(server_config(Certificate::load(&files.chain, &files.key).unwrap()).unwrap()));
    let plain = start(None);
    let mut wires = Vec::new();
    for said in &said {
        let stream = tls::dial(&secure, files.client(&["h2"])).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        for mut wire in [Wire::new(stream), plain.connect().await] {
            wire.send(said).await.unwrap();
            wires.push(wire);
        }
    }
    for wire in &mut wires {
        // It stays open on this side: the gateway must be the one that ends it.
        within(wire.drain()).await;
    }
    until(|| secure.gateway.load().0 + plain.gateway.load().0 == 0).await;
    secure.done().await;
    plain.done().await;
}

#[tokio::test]
async fn a_caller_that_does_not_read() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while peer.request().await.is_some() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await;
            while peer.wire.send(vec![b'x'; 1 << 20]).await.is_ok() {}
        }
    })
    .await;
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.settings.body_timeout = HASTE;
    let world = setup.start();
    let mut wire = world.connect().await;
    wire.send(get("/", "")).await.unwrap();
    let record = world.outcome(R::CallerClosed).await;
    assert!(record.bytes_out < 50_000_000);
    upstream.until(|c| c.open == 0).await;
    let (read, _) = within(wire.drain()).await;
    assert!(read < 50_000_000);
    world.done().await;
}

#[tokio::test]
async fn callers_that_leave() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.head().await {
            if request.target() == "/stream" {
                peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").await;
            }
            peer.wire.drain().await;
        }
    })
    .await;
    let world = World::before(&upstream);
    let key = key("k");
    let upload = format!("POST /up HTTP/1.1\r\nhost: gw\r\nx-api-key: {key}\r\ncontent-length: 9\r\n\r\nabc");
    for (request, status, wait_for_head) in
        [(get("/wait", ""), 0, false), (get("/stream", ""), 200, true), (upload, 0, false)]
    {
        let before = upstream.counts().requests;
        let mut wire = world.connect().await;
        wire.send(&request).await.unwrap();
        upstream.until(|c| c.requests > before).await;
        if wait_for_head {
            within(wire.head()).await.unwrap();
        }
        drop(wire);
        let record = world.outcome(R::CallerClosed).await;
        assert_eq!(record.status, status, "{request:.20}");
        upstream.until(|c| c.open == 0).await;
        world.calm().await;
        assert_eq!(world.gateway.in_flight("c", 1).await, 0);
    }
    // A caller that ends its side while it waits counts as gone, as nginx sees it.
    let mut wire = world.connect().await;
    wire.send(get("/wait", "")).await.unwrap();
    upstream.until(|c| c.requests == 4).await;
    wire.finish().await.unwrap();
    assert!(within(wire.ended()).await);
    world.outcome(R::CallerClosed).await;
    world.done().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_end() {
    let upstream = FakeUpstream::answering(OK).await;
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.settings.keep_alive = Duration::from_millis(200);
    let world = setup.start();
    let mut wire = world.connect().await;
    wire.send(get("/", "")).await.unwrap();
    assert_eq!(within(wire.message()).await.unwrap().status(), 200);
    assert!(within(wire.ended()).await);
    world.outcome(R::Served).await;
    until(|| world.gateway.load().0 == 0).await;
    world.done().await;
}

#[tokio::test]
async fn one_empty_line_between_requests_is_overlooked() {
    let upstream = FakeUpstream::answering(OK).await;
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.settings.head_timeout = HASTE;
    let world = setup.start();
    let mut wire = world.connect().await;
    wire.send(post("/", "", "hello")).await.unwrap();
    assert_eq!(within(wire.message()).await.unwrap().status(), 200);
    wire.send("\r\n").await.unwrap();
    // Longer than a head may take: the line began none.
    tokio::time::sleep(HASTE * 2).await;
    wire.send(get("/", "")).await.unwrap();
    assert_eq!(within(wire.message()).await.unwrap().status(), 200);
    wire.send(format!("\r\n{}", get("/", ""))).await.unwrap();
    assert_eq!(within(wire.message()).await.unwrap().status(), 200);
    world.served(3).await;
    wire.send(format!("\r\n\r\n{}", get("/", ""))).await.unwrap();
    assert_eq!(within(wire.message()).await.unwrap().status(), 400);
    world.outcome(R::MalformedRequest).await;
    world.done().await;
}

#[tokio::test]
async fn too_many_connections() {
    let upstream = FakeUpstream::answering(OK).await;
    let mut setup = Setup::new(usual(&[upstream.url()], "", ""));
    setup.settings.max_connections = 2;
    setup.workers = 1;
    let world = setup.start();
    let (first, second) = (world.connect().await, world.connect().await);
    until(|| world.gateway.load().0 == 2).await;
    let mut third = world.connect().await;
    assert!(within(third.ended()).await);
    drop((first, second));
    until(|| world.gateway.load().0 == 0).await;
    assert_eq!(world.get("/", "").await.status(), 200);
    world.outcome(R::Served).await;
    world.done().await;
}
