//! HTTP/2 towards callers, with prior knowledge and over TLS.

use crate::harness::*;
use bytes::Bytes;
use credentialflow_model::OutcomeReason as R;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

pub type Sender = hyper::client::conn::http2::SendRequest<BoxBody<Bytes, Infallible>>;

pub async fn handshake(io: impl Io + 'static) -> Sender {
    let (sender, connection) =
        within(hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io))).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub async fn caller(world: &World) -> Sender {
    handshake(tokio::net::TcpStream::connect(world.gateway.address()).await.unwrap()).await
}

pub fn request(method: &str, path: &str, body: impl Into<Bytes>) -> Request<BoxBody<Bytes, Infallible>> {
    let uri = format!("http://gw{path}");
    let request = Request::builder().method(method).uri(uri).header("x-api-key", key("k"));
    request.body(Full::new(body.into()).boxed()).unwrap()
}

/// `count` pieces of 64 KiB.
struct Pieces(usize);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'z'; 1 << 16])))))
    }
}

/// A body of which nothing ever comes.
pub struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn the_usual_request() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            peer.send(answer(200, "x-y: z\r\n", &format!("{} {}", request.target(), request.text()))).await;
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut sender = caller(&world).await;
    for i in 0..3 {
        let mut asked = request("POST", &format!("/a?i={i}"), "hello");
        asked.headers_mut().append("cookie", "a=1".parse().unwrap());
        asked.headers_mut().append("cookie", "b=2".parse().unwrap());
        let answer = within(sender.send_request(asked)).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-y"], "z");
        assert!(answer.headers().contains_key("x-request-id"));
        assert_eq!(text(answer).await, format!("/a?i={i} hello"));
        let seen = upstream.last();
        assert_eq!(seen.field("authorization"), Some(format!("Bearer {SECRET}").as_str()));
        assert_eq!((seen.field("cookie"), seen.count("cookie")), (Some("a=1; b=2"), 1));
        assert_eq!((seen.field("content-length"), seen.field("x-forwarded-host")), (Some("5"), Some("gw")));
        assert!(find(&seen.everything(), key("k").as_bytes()).is_none());
        let record = world.outcome(R::Served).await;
        assert_eq!((record.bytes_in, record.bytes_out > 5, record.status), (5, true, 200));
    }
    drop(sender);
    world.done().await;
}

#[tokio::test]
async fn refusals_and_answers_without_a_body() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            peer.send(match request.target() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n",
            })
            .await;
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut sender = caller(&world).await;
    for (method, path, status, length) in
        [("GET", "/204", 204, None), ("GET", "/304", 304, None), ("HEAD", "/x", 200, Some("7"))]
    {
        let answer = within(sender.send_request(request(method, path, ""))).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers().get("content-length").map(|v| v.to_str().unwrap()), length, "{path}");
        assert_eq!(text(answer).await, "");
        world.outcome(R::Served).await;
    }
    for method in ["GET", "HEAD", "POST"] {
        let mut asked = request(method, "/", "body");
        asked.headers_mut().remove("x-api-key");
        let answer = within(sender.send_request(asked)).await.unwrap();
        assert_eq!(answer.status(), 401, "{method}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(text(answer).await.is_empty(), method == "HEAD");
        world.outcome(R::Unauthenticated).await;
    }
    let dots = within(sender.send_request(request("GET", "/a/%2e%2e/b", ""))).await.unwrap();
    assert_eq!(dots.status(), 400);
    world.outcome(R::MalformedRequest).await;
    drop(sender);
    world.done().await;
}

#[tokio::test]
async fn many_streams_at_once() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let body = request.target().repeat(500);
            peer.send(format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            ))
            .await;
        }
    })
    .await;
    let world = World::before(&upstream);
    let sender = caller(&world).await;
    let tasks: Vec<_> = (0..300)
        .map(|i| {
            let mut sender = sender.clone();
            tokio::spawn(async move {
                let answer = sender.send_request(request("GET", &format!("/{i}"), "")).await.unwrap();
                assert_eq!(text(answer).await, format!("/{i}").repeat(500));
            })
        })
        .collect();
    for task in tasks {
        within(task).await.unwrap();
    }
    drop(sender);
    world.served(300).await;
    world.done().await;
}

#[tokio::test]
async fn cancelled_streams_free_the_upstream() {
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
    let mut sender = caller(&world).await;
    let waiting = tokio::spawn(sender.send_request(request("GET", "/wait", "")));
    upstream.until(|c| c.requests == 1).await;
    waiting.abort();
    assert_eq!(world.outcome(R::CallerClosed).await.status, 0);
    upstream.until(|c| c.open == 0).await;
    let streaming = within(sender.send_request(request("GET", "/stream", ""))).await.unwrap();
    drop(streaming);
    assert_eq!(world.outcome(R::CallerClosed).await.status, 200);
    upstream.until(|c| c.open == 0).await;
    assert_eq!(world.gateway.in_flight("c", 1).await, 0);
    drop(sender);
    world.done().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_complete() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ] {
        let upstream = FakeUpstream::start(move |mut peer| async move {
            if peer.request().await.is_some() {
                peer.send(bytes).await;
            }
        })
        .await;
        let world = World::before(&upstream);
        let mut sender = caller(&world).await;
        // The reset may overtake the head, which has been on its way for no time at all.
        if let Ok(answer) = within(sender.send_request(request("GET", "/", ""))).await {
            assert_eq!(answer.status(), 200);
            assert!(within(answer.into_body().collect()).await.is_err());
        }
        world.outcome(R::UpstreamTruncated).await;
        drop(sender);
        world.done().await;
    }
}

#[tokio::test]
async fn large_bodies_keep_to_flow_control() {
    const LARGE: usize = 20 << 20;
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let length = if request.method() == "POST" { request.body.len() } else { 0 };
            if length > 0 {
                peer.send(answer(200, "", &length.to_string())).await;
                continue;
            }
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n")).await;
            peer.send(vec![b'y'; LARGE]).await;
        }
    })
    .await;
    let world = Setup::new(usual(&[upstream.url()], "", ", max_body: 64MiB")).start();
    let mut sender = caller(&world).await;
    let mut upload = request("POST", "/", "");
    *upload.body_mut() = Pieces(LARGE >> 16).boxed();
    let answer = within(sender.send_request(upload)).await.unwrap();
    assert_eq!(text(answer).await, LARGE.to_string());
    assert_eq!(world.outcome(R::Served).await.bytes_in, LARGE as u64);
    // Two downloads on one connection: the one that is not read holds only itself back.
    let unread = within(sender.send_request(request("GET", "/", ""))).await.unwrap();
    let read = within(sender.send_request(request("GET", "/", ""))).await.unwrap();
    let body = within(read.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(body.len(), LARGE);
    assert_eq!(world.outcome(R::Served).await.bytes_out, LARGE as u64);
    assert_eq!(world.gateway.load().1, 1);
    drop(unread);
    world.outcome(R::CallerClosed).await;
    drop(sender);
    world.done().await;
}

/// Pieces of 64 KiB without end, counted.
struct Endless(Arc<AtomicUsize>);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.fetch_add(1, Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'z'; 1 << 16])))))
    }
}

#[tokio::test]
async fn uploads_that_stall_do_not_stop_another() {
    const STALLED: usize = 8;
    const LARGE: usize = 10 << 20;
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(mut request) = peer.head().await {
            if request.target() == "/stalled" {
                return std::future::pending().await;
            }
            peer.wire.body(&mut request).await;
            peer.send(answer(200, "", &request.body.len().to_string())).await;
        }
    })
    .await;
    let world = Setup::new(usual(&[upstream.url()], "", ", max_body: 1GiB")).start();
    let mut sender = caller(&world).await;
    let pieces = Arc::new(AtomicUsize::new(0));
    let stalled: Vec<_> = (0..STALLED)
        .map(|_| {
            let mut upload = request("POST", "/stalled", "");
            *upload.body_mut() = Endless(pieces.clone()).boxed();
            tokio::spawn(sender.send_request(upload))
        })
        .collect();
    upstream.until(|c| c.requests == STALLED).await;
    // Until all of them have filled what lies between them and their upstream.
    let mut seen = 0;
    while seen == 0 || seen != pieces.load(Relaxed) {
        seen = pieces.load(Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let mut upload = request("POST", "/", "");
    *upload.body_mut() = Pieces(LARGE >> 16).boxed();
    let answer = within(sender.send_request(upload)).await.unwrap();
    assert_eq!(text(answer).await, LARGE.to_string());
    world.outcome(R::Served).await;
    assert_eq!(world.gateway.load().1, STALLED as u64, "the others still wait");
    stalled.iter().for_each(|s| s.abort());
    for _ in 0..STALLED {
        world.outcome(R::CallerClosed).await;
    }
    drop(sender);
    world.done().await;
}

#[tokio::test]
async fn a_body_over_the_limit_and_a_revoked_key() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            if request.target() == "/stream" {
                peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").await;
                peer.wire.drain().await;
            } else {
                peer.send(OK).await;
            }
        }
    })
    .await;
    let yaml = usual(&[upstream.url()], "", ", max_body: 1KiB");
    let world = Setup::new(yaml.clone()).start();
    let mut sender = caller(&world).await;
    let mut upload = request("POST", "/", "");
    *upload.body_mut() = Pieces(100).boxed();
    let answer = within(sender.send_request(upload)).await.unwrap();
    assert_eq!(answer.status(), 413);
    world.outcome(R::BodyTooLarge).await;
    let streaming = within(sender.send_request(request("GET", "/stream", ""))).await.unwrap();
    world.install(&yaml, &[("c", 1, SECRET)], &["k"]).await;
    assert!(within(streaming.into_body().collect()).await.is_err(), "cut, not complete");
    world.outcome(R::Revoked).await;
    let refused = within(sender.send_request(request("GET", "/", ""))).await.unwrap();
    assert_eq!(refused.status(), 401);
    world.outcome(R::Unauthenticated).await;
    drop(sender);
    world.done().await;
}

#[tokio::test]
async fn shutting_down_lets_streams_finish() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let upstream = FakeUpstream::start(move |mut peer| {
        let mut wait = wait.clone();
        async move {
            while peer.request().await.is_some() {
                wait.wait_for(|go| *go).await.unwrap();
                peer.send(OK).await;
            }
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut sender = caller(&world).await;
    let idle = caller(&world).await;
    let running = tokio::spawn(sender.send_request(request("GET", "/", "")));
    upstream.until(|c| c.requests == 1).await;
    let shutdown = tokio::spawn(async move {
        world.gateway.shutdown().await;
        world.records
    });
    until(|| idle.is_closed()).await;
    go.send(true).unwrap();
    assert_eq!(text(within(running).await.unwrap().unwrap()).await, "ok");
    let records = within(shutdown).await.unwrap();
    assert_eq!(records.kept.lock().unwrap()[0].outcome, R::Served);
}
