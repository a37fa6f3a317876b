//! Upstreams that fail, in every way they do: the right outcome, nothing leaked, retried only when safe.

use crate::harness::*;
use credentialflow_model::OutcomeReason as R;
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// An upstream that does the same on every connection after reading a request: send, then close or hang.
async fn after_request(bytes: impl Into<Vec<u8>>, hang: bool) -> FakeUpstream {
    let bytes: Vec<u8> = bytes.into();
    FakeUpstream::start(move |mut peer| {
        let bytes = bytes.clone();
        async move {
            if peer.request().await.is_some() {
                peer.send(&bytes).await;
                if hang {
                    peer.wire.drain().await;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn answers_that_cannot_be_used() {
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(80_000));
    let world = Setup::new(usual(&["http://localhost:9".into()], "", "")).hasty().start();
    for (bytes, hang, outcome, status) in [
        ("", false, R::UpstreamReset, 502),
        ("", true, R::UpstreamTimeout, 504),
        ("HTTP/1.1 200 OK\r\ncontent-le", false, R::UpstreamReset, 502),
        ("HTTP/1.1 200 OK\r\ncontent-le", true, R::UpstreamTimeout, 504),
        ("garbage\r\n\r\n", true, R::UpstreamMalformed, 502),
        ("HTTP/1.1 200 OK\ncontent-length: 2\n\nok", true, R::UpstreamMalformed, 502),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", true, R::UpstreamMalformed, 502),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            true,
            R::UpstreamMalformed,
            502,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            true,
            R::UpstreamMalformed,
            502,
        ),
        (&large, true, R::UpstreamMalformed, 502),
        ("HTTP/1.1 100 Continue\r\n\r\n", true, R::UpstreamTimeout, 504),
    ] {
        let upstream = after_request(bytes, hang).await;
        world.install(&hasty(&usual(&[upstream.url()], "", "")), &[("c", 1, SECRET)], &[]).await;
        // A POST is never repeated once the upstream may have read it.
        let answer = world.ask(post("/", "", "x")).await;
        assert_eq!(answer.status(), status, "{bytes:.60}");
        let record = world.outcome(outcome).await;
        assert_eq!((record.status, record.upstream_status, record.attempts), (status, 0, 1), "{bytes:.60}");
        assert_eq!(upstream.counts().requests, 1, "{bytes:.60}");
        upstream.until(|c| c.open == 0).await;
    }
    world.done().await;
}

#[tokio::test]
async fn answers_that_break_off() {
    let world = Setup::new(usual(&["http://localhost:9".into()], "", "")).hasty().start();
    for (bytes, hang, outcome, body) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", false, R::UpstreamTruncated, "short"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", true, R::UpstreamStalled, "short"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n", false, R::UpstreamTruncated, "short"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n", true, R::UpstreamStalled, "short"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\n",
            true,
            R::UpstreamMalformed,
            "short",
        ),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshortXX", true, R::UpstreamMalformed, "short"),
    ] {
        let upstream = after_request(bytes, hang).await;
        world.install(&hasty(&usual(&[upstream.url()], "", "")), &[("c", 1, SECRET)], &[]).await;
        for version in ["1.1", "1.0"] {
            let mut wire = world.connect().await;
            let request = format!("GET / HTTP/{version}\r\nhost: gw\r\nx-api-key: {}\r\n\r\n", key("k"));
            wire.send(request).await.unwrap();
            let answer = within(wire.message()).await.unwrap();
            assert_eq!((answer.status(), answer.complete), (200, false), "{version} {bytes:.99}");
            // A reset, which is all an old caller can be told by, may take what had arrived with it.
            assert!(version == "1.0" || answer.text() == body, "{version} {bytes:.99}");
            assert!(within(wire.ended()).await);
            let record = world.outcome(outcome).await;
            assert_eq!((record.status, record.upstream_status, record.attempts, record.bytes_out), (200, 200, 1, 5));
        }
        upstream.until(|c| c.open == 0).await;
    }
    world.done().await;
}

#[tokio::test]
async fn bytes_beyond_the_answer_never_become_the_next_one() {
    // At once, or a moment after the connection went back to the pool.
    for late in [false, true] {
        let (sent, mut seen) = tokio::sync::watch::channel(0);
        let upstream = FakeUpstream::start(move |mut peer| {
            let sent = sent.clone();
            async move {
                while peer.request().await.is_some() {
                    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
                    if late {
                        peer.send(OK).await;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        peer.send(evil).await;
                    } else {
                        peer.send(format!("{OK}{evil}")).await;
                    }
                    sent.send_modify(|n| *n += 1);
                }
            }
        })
        .await;
        let world = World::before(&upstream);
        let mut wire = world.connect().await;
        for i in 1..=3 {
            wire.send(get("/", "")).await.unwrap();
            assert_eq!(within(wire.message()).await.unwrap().text(), "ok", "late: {late}");
            world.outcome(R::Served).await;
            within(seen.wait_for(|n| *n >= i)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(upstream.counts().accepted, 3);
        world.done().await;
    }
}

#[tokio::test]
async fn nobody_listens_or_nobody_accepts() {
    let gone = Place::take();
    let url = format!("http://{}", gone.address());
    let world = Setup::new(usual(&[url], ", health: { failures: 100 }", "")).start();
    for request in [get("/", ""), post("/", "", "x")] {
        assert_eq!(world.ask(request).await.status(), 502);
        assert_eq!(world.outcome(R::UpstreamConnectFailed).await.attempts, 2, "nothing was sent: safe to repeat");
    }
    // TEST-NET-1 (RFC 5737) answers nobody.
    let nobody = hasty(&usual(&["http://192.0.2.1:9".into()], "", ", retry: { attempts: 1 }"));
    world.install(&nobody, &[("c", 1, SECRET)], &[]).await;
    let answer = world.get("/", "").await;
    let record = world.record().await;
    assert!(matches!(record.outcome, R::UpstreamConnectTimeout | R::UpstreamConnectFailed), "{record:?}");
    assert_eq!(answer.status(), record.outcome.status());
    let unknown = hasty(&usual(&["http://does-not-exist.invalid".into()], "", ""));
    world.install(&unknown, &[("c", 1, SECRET)], &[]).await;
    let status = world.get("/", "").await.status();
    assert!(matches!(status, 502 | 504));
    assert!(matches!(world.record().await.outcome, R::UpstreamConnectFailed | R::UpstreamConnectTimeout));
    world.done().await;
}

#[tokio::test]
async fn a_tls_handshake_that_fails() {
    // Plain text where TLS is expected, and one that hangs.
    for (hang, outcome) in [(false, R::UpstreamTlsFailed), (true, R::UpstreamConnectTimeout)] {
        let upstream = FakeUpstream::start(move |mut peer| async move {
            let _ = peer.wire.fill().await;
            if hang {
                peer.wire.drain().await;
            } else {
                peer.send(OK).await;
            }
        })
        .await;
        let url = upstream.url().replace("http:", "https:");
        let world = Setup::new(usual(&[url], "", ", retry: { attempts: 1 }")).hasty().start();
        assert_eq!(world.get("/", "").await.status(), outcome.status());
        world.outcome(outcome).await;
        world.done().await;
    }
}

#[tokio::test]
async fn connections_closed_while_idle_cost_nobody_a_request() {
    // Serves one request on each connection, says nothing of closing, and closes.
    let upstream = FakeUpstream::start(|mut peer| async move {
        if peer.request().await.is_some() {
            peer.send(OK).await;
        }
    })
    .await;
    let world = Setup::new(usual(&[upstream.url()], "", ", retry: { attempts: 1 }")).start();
    for i in 0..40 {
        let answer = if i % 2 == 0 { world.get("/", "").await } else { world.ask(post("/", "", "x")).await };
        assert_eq!(answer.status(), 200, "request {i}");
        upstream.until(|c| c.open == 0).await;
    }
    world.served(40).await;
    assert_eq!(upstream.counts().requests, 40, "each was seen once");
    world.done().await;
}

#[tokio::test]
async fn retries_only_when_safe() {
    // The first request on every connection is served, the second read and dropped: what a restart does.
    let upstream = FakeUpstream::start(|mut peer| async move {
        if peer.request().await.is_some() {
            peer.send(OK).await;
            peer.request().await;
        }
    })
    .await;
    let mut setup = Setup::new(usual(&[upstream.url()], ", health: { failures: 100 }", ", retry: { attempts: 1 }"));
    setup.workers = 1;
    let world = setup.start();
    assert_eq!(world.get("/", "").await.status(), 200);
    assert_eq!(world.outcome(R::Served).await.attempts, 1);
    assert_eq!(world.get("/", "").await.status(), 200);
    assert_eq!(world.outcome(R::Served).await.attempts, 2, "once more on a new connection");
    assert_eq!(upstream.counts().requests, 3);
    assert_eq!(world.ask(post("/", "", "x")).await.status(), 502);
    assert_eq!(world.outcome(R::UpstreamReset).await.attempts, 1, "the upstream may have acted");
    assert_eq!(upstream.counts().requests, 4);
    // Always dropped: as often as the route says for GET, once for POST.
    let dropping = after_request("", false).await;
    world.install(&usual(&[dropping.url()], "", ", retry: { attempts: 3 }"), &[("c", 1, SECRET)], &[]).await;
    assert_eq!(world.get("/", "").await.status(), 502);
    assert_eq!(world.outcome(R::UpstreamReset).await.attempts, 3);
    assert_eq!(dropping.counts().requests, 3);
    world.done().await;
}

#[tokio::test]
async fn failing_endpoints_are_left_alone_for_a_while() {
    let place = Place::take();
    let good = FakeUpstream::answering(OK).await;
    let bad = FakeUpstream::start_at(place.address(), |mut peer| async move {
        peer.request().await;
    })
    .await;
    let urls = [good.url(), bad.url()];
    // Longer than the requests between two pauses take.
    let cooldown = Duration::from_secs(4);
    let mut setup = Setup::new(usual(&urls, ", health: { failures: 2, cooldown: 4s }", ""));
    setup.workers = 1;
    let world = setup.start();
    for _ in 0..20 {
        assert_eq!(world.get("/", "").await.status(), 200, "a GET goes on to the other endpoint");
    }
    assert_eq!(bad.counts().requests, 2);
    tokio::time::sleep(cooldown + Duration::from_millis(200)).await;
    for _ in 0..6 {
        assert_eq!(world.get("/", "").await.status(), 200);
    }
    assert_eq!(bad.counts().requests, 3, "one try after the pause");
    // It recovers.
    bad.stop().await;
    let well = FakeUpstream::start_at(place.address(), |mut peer| async move {
        while peer.request().await.is_some() {
            peer.send(OK).await;
        }
    })
    .await;
    tokio::time::sleep(cooldown + Duration::from_millis(200)).await;
    for _ in 0..10 {
        world.get("/", "").await;
    }
    world.served(36).await;
    assert_eq!(well.counts().requests, 5, "taken in turn again");
    world.done().await;
}

/// What some requests do to an upstream is no reason to refuse others, when there is nobody else to ask.
#[tokio::test]
async fn the_only_endpoint_is_asked_however_often_it_failed() {
    let fails_on_demand = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            if request.target() == "/bad" {
                return;
            }
            peer.send(OK).await;
        }
    })
    .await;
    let yaml = |urls: &[String]| usual(urls, ", health: { failures: 1, cooldown: 60s }", ", retry: { attempts: 1 }");
    let mut setup = Setup::new(yaml(&[fails_on_demand.url()]));
    setup.workers = 1;
    let world = setup.start();
    for _ in 0..4 {
        assert_eq!(world.get("/bad", "").await.status(), 502);
        assert!(world.outcome(R::UpstreamReset).await.attempts > 0, "it was asked");
        assert_eq!(world.get("/good", "").await.status(), 200, "nobody else suffers");
        world.served(1).await;
    }
    // Of several that all fail it is the one whose failure is longest ago: each has its chance to recover.
    let (one, two) = (after_request("", false).await, after_request("", false).await);
    world.install(&yaml(&[one.url(), two.url()]), &[("c", 1, SECRET)], &[]).await;
    for _ in 0..6 {
        assert_eq!(world.get("/", "").await.status(), 502);
        world.outcome(R::UpstreamReset).await;
    }
    assert_eq!((one.counts().requests, two.counts().requests), (3, 3));
    world.done().await;
}

#[tokio::test]
async fn a_graceful_restart_of_one_of_two_endpoints_fails_no_request() {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    };
    use tokio::net::TcpListener;
    /// A server that, told to stop, refuses new connections, finishes what runs and closes idle ones.
    async fn serve(address: std::net::SocketAddr, stop: tokio::sync::watch::Receiver<bool>, served: Arc<AtomicUsize>) {
        let mut over = stop.clone();
        let listener = TcpListener::bind(address).await.unwrap();
        let mut all = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let mut wire = Wire::new(accepted.unwrap().0);
                    let (mut stop, served) = (stop.clone(), served.clone());
                    all.spawn(async move {
                        loop {
                            let request = tokio::select! {
                                biased;
                                request = wire.message() => request,
                                _ = stop.wait_for(|s| *s) => None,
                            };
                            if request.is_none() || wire.send(OK).await.is_err() {
                                return;
                            }
                            served.fetch_add(1, Relaxed);
                        }
                    });
                }
                _ = over.wait_for(|s| *s) => break,
            }
        }
        drop(listener);
        while all.join_next().await.is_some() {}
    }
    let steady = FakeUpstream::answering(OK).await;
    let place = Place::take();
    let address = place.address();
    let world =
        Setup::new(usual(&[steady.url(), format!("http://{address}")], ", health: { cooldown: 100ms }", "")).start();
    let over = Arc::new(AtomicBool::new(false));
    let gateway = world.gateway.address();
    let mut callers = Vec::new();
    for _ in 0..8 {
        let over = over.clone();
        callers.push(tokio::spawn(async move {
            let mut wire = connect(gateway).await.unwrap();
            let mut n = 0;
            while !over.load(Relaxed) {
                wire.send(get("/", "")).await.unwrap();
                let answer = within(wire.message()).await.unwrap();
                assert_eq!(answer.status(), 200, "{}", answer.text());
                n += 1;
            }
            n
        }));
    }
    let served = Arc::new(AtomicUsize::new(0));
    for _ in 0..4 {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let server = tokio::spawn(serve(address, stopped, served.clone()));
        let before = served.load(Relaxed);
        until(|| served.load(Relaxed) > before + 20).await;
        stop.send(true).unwrap();
        server.await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    over.store(true, Relaxed);
    let mut total = 0;
    for caller in callers {
        total += caller.await.unwrap();
    }
    world.calm().await;
    let records = world.finish().await;
    assert_eq!(records.len(), total);
    assert!(records.iter().all(|r| r.outcome == R::Served));
    let there = address.to_string();
    assert!(records.iter().filter(|r| r.endpoint.as_deref() == Some(&*there)).count() > 10);
}
