//! Bodies in both directions: streamed, framed anew, limited, and never further ahead than the slower side.

use crate::harness::*;
use credentialflow_model::OutcomeReason as R;
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn keyed(first: &str, more: &str) -> String {
    format!("{first} HTTP/1.1\r\nhost: gw\r\nx-api-key: {}\r\n{more}\r\n", key("k"))
}

#[tokio::test]
async fn chunks_both_ways() {
    let upstream = FakeUpstream::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\ntrailer: x\r\n\r\n",
    )
    .await;
    let world = World::before(&upstream);
    let mut wire = world.connect().await;
    for _ in 0..2 {
        wire.send(keyed("POST /", "transfer-encoding: chunked\r\n")).await.unwrap();
        for piece in ["1\r", "\nh\r\n4;ext=1\r\nel", "lo\r\n0\r\nx: y\r", "\n\r\n"] {
            wire.send(piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let answer = within(wire.message()).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.complete), ("abcde", true));
        let seen = upstream.last();
        assert_eq!((seen.text().as_str(), seen.complete), ("hello", true));
        assert_eq!(seen.count("transfer-encoding") + seen.count("content-length"), 1);
        let record = world.outcome(R::Served).await;
        assert_eq!((record.bytes_in, record.bytes_out), (5, 5));
    }
    world.done().await;
}

#[tokio::test]
async fn events_pass_as_they_come() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while peer.request().await.is_some() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await;
            for _ in 0..3 {
                peer.send("9\r\ndata: 1\n\n\r\n").await;
                // The next event only after the test has said that it saw this one.
                if !matches!(peer.wire.fill().await, Ok(n) if n > 0) {
                    return;
                }
            }
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut wire = world.connect().await;
    wire.send(get("/", "")).await.unwrap();
    let head = within(wire.head()).await.unwrap();
    assert_eq!(head.status(), 200);
    let mut event = Vec::new();
    assert!(within(wire.take(b"00000009\r\ndata: 1\n\n\r\n".len(), &mut event)).await, "the event came alone");
    assert_eq!(event, b"00000009\r\ndata: 1\n\n\r\n");
    drop(wire);
    upstream.until(|c| c.open == 0).await;
    world.outcome(R::CallerClosed).await;
    world.done().await;
}

#[tokio::test]
async fn continue_is_asked_for_when_the_body_is_wanted() {
    let upstream = FakeUpstream::answering(OK).await;
    let world = World::before(&upstream);
    let mut wire = world.connect().await;
    wire.send(keyed("POST /", "content-length: 5\r\nexpect: 100-continue\r\n")).await.unwrap();
    let interim = within(wire.head()).await.unwrap();
    assert_eq!(interim.status(), 100);
    wire.send("hello").await.unwrap();
    assert_eq!(within(wire.message()).await.unwrap().status(), 200);
    assert_eq!(upstream.last().field("expect"), None);
    world.outcome(R::Served).await;
    // A refusal comes without asking for the body, and the connection ends as nobody knows whether it follows.
    wire.send("POST / HTTP/1.1\r\nhost: gw\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n").await.unwrap();
    let refused = within(wire.message()).await.unwrap();
    assert_eq!((refused.status(), refused.field("connection")), (401, Some("close")));
    assert!(within(wire.ended()).await);
    world.outcome(R::Unauthenticated).await;
    world.done().await;
}

#[tokio::test]
async fn a_refused_body_that_has_arrived_does_not_cost_the_connection() {
    let upstream = FakeUpstream::answering(OK).await;
    let world = World::before(&upstream);
    let mut wire = world.connect().await;
    for _ in 0..2 {
        wire.send("POST / HTTP/1.1\r\nhost: gw\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
        let refused = within(wire.message()).await.unwrap();
        assert_eq!((refused.status(), refused.field("connection")), (401, None));
        world.outcome(R::Unauthenticated).await;
    }
    wire.send(get("/", "")).await.unwrap();
    assert_eq!(within(wire.message()).await.unwrap().status(), 200);
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn bodies_over_the_limit() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while peer.request().await.is_some_and(|r| r.complete) {
            peer.send(OK).await;
        }
    })
    .await;
    let world = Setup::new(usual(&[upstream.url()], "", ", max_body: 1KiB")).start();
    let announced = world.ask(keyed("POST /", "content-length: 1025\r\n")).await;
    assert_eq!((announced.status(), announced.field("connection")), (413, Some("close")));
    assert_eq!(world.outcome(R::BodyTooLarge).await.attempts, 0);
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let whole = format!("{}{chunk}0\r\n\r\n", keyed("POST /", "transfer-encoding: chunked\r\n"));
    assert_eq!(world.ask(whole).await.status(), 200, "exactly the limit");
    assert_eq!(world.outcome(R::Served).await.bytes_in, 1024);
    let more = format!("{}{chunk}1\r\nx\r\n0\r\n\r\n", keyed("POST /", "transfer-encoding: chunked\r\n"));
    assert_eq!(world.ask(more).await.status(), 413);
    world.outcome(R::BodyTooLarge).await;
    upstream.until(|c| c.requests == 2).await;
    assert!(!upstream.last().complete, "the upstream must not take a part for the whole");
    world.done().await;
}

#[tokio::test]
async fn answers_without_a_body() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            peer.send(match request.target() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\netag: x\r\n\r\n",
                "/103" => "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                "/head-chunked" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n",
            })
            .await;
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut wire = world.connect().await;
    for (first, status, length) in [
        ("GET /204", 204, None),
        ("GET /304", 304, Some("7")),
        ("HEAD /head", 200, Some("7")),
        ("HEAD /head-chunked", 200, None),
        ("GET /103", 200, Some("0")),
        ("DELETE /204", 204, None),
    ] {
        wire.send(keyed(first, "")).await.unwrap();
        let head = within(wire.head()).await.unwrap();
        assert_eq!((head.status(), head.field("content-length")), (status, length), "{first}");
        assert_eq!(world.outcome(R::Served).await.bytes_out, 0);
    }
    assert!(wire.pending().is_empty());
    wire.send("HEAD / HTTP/1.1\r\nhost: gw\r\n\r\n").await.unwrap();
    assert_eq!(within(wire.head()).await.unwrap().status(), 401);
    world.outcome(R::Unauthenticated).await;
    wire.send(keyed("GET /204", "")).await.unwrap();
    assert_eq!(within(wire.head()).await.unwrap().status(), 204, "no body followed the answer to HEAD");
    world.outcome(R::Served).await;
    assert_eq!(upstream.counts().accepted, 1);
    world.done().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let body = format!("{} {}", request.target(), request.text());
            peer.send(answer(200, "", &body)).await;
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut wire = world.connect().await;
    let all: String = (0..20)
        .map(|i| if i % 3 == 0 { post(&format!("/{i}"), "", "body") } else { get(&format!("/{i}"), "") })
        .collect();
    wire.send(all).await.unwrap();
    for i in 0..20 {
        let answer = within(wire.message()).await.unwrap();
        assert_eq!(answer.text(), format!("/{i} {}", if i % 3 == 0 { "body" } else { "" }));
    }
    world.served(20).await;
    world.done().await;
}

#[tokio::test]
async fn old_callers_and_closing() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            if request.target() == "/until-close" {
                peer.send("HTTP/1.0 200 OK\r\n\r\nall of it").await;
                return;
            }
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
        }
    })
    .await;
    let world = World::before(&upstream);
    let key = key("k");
    for (request, body, chunked) in [
        (format!("GET / HTTP/1.0\r\nx-api-key: {key}\r\n\r\n"), "ok", false),
        (format!("GET / HTTP/1.0\r\nhost: gw\r\nconnection: keep-alive\r\nx-api-key: {key}\r\n\r\n"), "ok", false),
        (get("/", "connection: close\r\n"), "ok", true),
        (format!("GET /until-close HTTP/1.0\r\nx-api-key: {key}\r\n\r\n"), "all of it", false),
    ] {
        let mut wire = world.connect().await;
        wire.send(&request).await.unwrap();
        let answer = within(wire.message()).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.complete), (body, true), "{request}");
        assert_eq!(answer.field("transfer-encoding").is_some(), chunked, "{request}");
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(within(wire.ended()).await);
        world.outcome(R::Served).await;
    }
    let answer = world.get("/until-close", "").await;
    assert_eq!((answer.text().as_str(), answer.complete, answer.field("connection")), ("all of it", true, None));
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn an_early_answer_ends_the_upload() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        if peer.head().await.is_some() {
            peer.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            let mut some = Vec::new();
            peer.wire.take(3, &mut some).await;
            peer.send(answer(403, "", "enough")).await;
            peer.wire.drain().await;
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut wire = world.connect().await;
    wire.send(keyed("POST /", "content-length: 1000000\r\n")).await.unwrap();
    wire.send("abc").await.unwrap();
    let answer = within(wire.message()).await.unwrap();
    assert_eq!((answer.status(), answer.text().as_str(), answer.field("connection")), (403, "enough", Some("close")));
    assert_eq!(world.outcome(R::Served).await.bytes_in, 3);
    upstream.until(|c| c.open == 0).await;
    drop(wire);
    world.done().await;
}

#[tokio::test]
async fn interim_answers_do_not_end_an_upload() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        if let Some(mut request) = peer.head().await {
            peer.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Pro").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            peer.send("cessing\r\n\r\n").await;
            peer.wire.body(&mut request).await;
            peer.send(answer(200, "", &request.text())).await;
            peer.head().await;
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut wire = world.connect().await;
    wire.send(keyed("POST /", "content-length: 6\r\n")).await.unwrap();
    for piece in ["ab", "cd", "ef"] {
        tokio::time::sleep(Duration::from_millis(30)).await;
        wire.send(piece).await.unwrap();
    }
    assert_eq!(within(wire.message()).await.unwrap().text(), "abcdef");
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn an_upstream_may_answer_while_it_still_reads() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(head) = peer.head().await {
            let length: usize = head.field("content-length").unwrap().parse().unwrap();
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")).await;
            for _ in 0..length {
                let mut byte = Vec::new();
                if !peer.wire.take(1, &mut byte).await {
                    return;
                }
                peer.send(byte.to_ascii_uppercase()).await;
            }
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut wire = world.connect().await;
    wire.send(keyed("POST /", "content-length: 5\r\n")).await.unwrap();
    // Each byte comes back before the next is sent.
    for (i, byte) in ["h", "e", "l", "l", "o"].into_iter().enumerate() {
        wire.send(byte).await.unwrap();
        if i == 0 {
            let head = within(wire.head()).await.unwrap();
            assert_eq!((head.status(), head.field("connection")), (200, Some("close")));
        }
        let mut back = Vec::new();
        assert!(within(wire.take(1, &mut back)).await);
        assert_eq!(back, byte.to_ascii_uppercase().as_bytes());
    }
    assert!(within(wire.ended()).await);
    let record = world.outcome(R::Served).await;
    assert_eq!((record.bytes_in, record.bytes_out), (5, 5));
    world.done().await;
}

const LARGE: usize = 50 << 20;

#[tokio::test]
async fn a_large_upload_waits_for_a_slow_upstream() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let upstream = FakeUpstream::start(move |mut peer| {
        let mut wait = wait.clone();
        async move {
            let mut request = peer.head().await.unwrap();
            wait.wait_for(|go| *go).await.unwrap();
            peer.wire.body(&mut request).await;
            peer.send(answer(200, "", &request.body.len().to_string())).await;
        }
    })
    .await;
    let world = Setup::new(usual(&[upstream.url()], "", ", max_body: 64MiB")).start();
    let mut wire = world.connect().await;
    wire.send(keyed("POST /", &format!("content-length: {LARGE}\r\n"))).await.unwrap();
    let piece = vec![b'x'; 1 << 16];
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_millis(200), wire.send(&piece)).await.is_ok() {
        sent += piece.len();
        assert!(sent < 40 << 20, "nobody holds the caller back");
    }
    drop(wire);
    world.gateway.load();
    // What was half sent above is lost with its connection; the whole is sent on a new one.
    go.send(true).unwrap();
    let mut wire = world.connect().await;
    wire.send(keyed("POST /", &format!("content-length: {LARGE}\r\n"))).await.unwrap();
    for _ in 0..LARGE >> 16 {
        within(wire.send(&piece)).await.unwrap();
    }
    assert_eq!(within(wire.message()).await.unwrap().text(), LARGE.to_string());
    world.calm().await;
    let records = world.finish().await;
    assert_eq!(records.len(), 2);
    assert!(records.iter().any(|r| r.outcome == R::Served && r.bytes_in == LARGE as u64));
    assert!(records.iter().any(|r| r.outcome == R::CallerClosed && r.bytes_in <= sent as u64 + (1 << 16)));
}

#[tokio::test]
async fn a_large_answer_waits_for_a_slow_caller() {
    let (written, seen) = tokio::sync::watch::channel(0usize);
    let upstream = FakeUpstream::start(move |mut peer| {
        let written = written.clone();
        async move {
            while peer.request().await.is_some() {
                peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n")).await;
                let piece = vec![b'y'; 1 << 16];
                for _ in 0..LARGE >> 16 {
                    peer.send(&piece).await;
                    written.send_modify(|n| *n += piece.len());
                }
            }
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut wire = world.connect().await;
    wire.send(get("/", "")).await.unwrap();
    assert_eq!(within(wire.head()).await.unwrap().status(), 200);
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = *seen.borrow();
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before < 40 << 20, "the upstream is held back, but {before} bytes went through");
    let mut body = Vec::with_capacity(LARGE);
    assert!(within(wire.take(LARGE, &mut body)).await);
    assert!(body.iter().all(|b| *b == b'y'));
    assert_eq!(world.outcome(R::Served).await.bytes_out, LARGE as u64);
    world.done().await;
}
