//! Time limits for what a client of the control listener does: sending a body, taking an answer, and
//! keeping a connection open without asking anything. Knows nothing about what is asked.

use hyper::body::{Body, Frame, SizeHint};
use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// A stream whose other side must take what is written: it fails when nothing can be written for so long.
pub(super) struct PacedStream<S> {
    inner: S,
    stall: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    running: Running,
}

impl<S> PacedStream<S> {
    /// Tells `running` while the other side has yet to take something.
    pub fn new(inner: S, stall: Duration, running: Running) -> Self {
        Self { inner, stall, waiting: None, running }
    }

    fn paced<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.waiting = None;
            self.running.0.untaken.store(false, Relaxed);
            return result;
        }
        self.running.0.untaken.store(true, Relaxed);
        let stall = self.stall;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + stall)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.paced(cx, result)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        self.paced(cx, result)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.paced(cx, result)
    }
}

/// A request's body that must keep coming and come to an end.
pub(super) struct PacedBody<B> {
    inner: B,
    pause: Duration,
    end: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The body did not arrive in time.
#[derive(Debug)]
pub(super) struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's body did not arrive in time")
    }
}

impl std::error::Error for TooSlow {}

impl<B> PacedBody<B> {
    /// With at most `pause` between two pieces and `whole` for all of them.
    pub fn new(inner: B, pause: Duration, whole: Duration) -> Self {
        Self { inner, pause, end: Instant::now() + whole, timer: None }
    }
}

impl<B> Body for PacedBody<B>
where
    B: Body + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = B::Data;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.timer = None;
            if Instant::now() < this.end || frame.is_none() {
                return Poll::Ready(frame.map(|f| f.map_err(Into::into)));
            }
            return Poll::Ready(Some(Err(Box::new(TooSlow))));
        }
        let until = this.end.min(Instant::now() + this.pause);
        ready!(this.timer.get_or_insert_with(|| Box::pin(sleep_until(until))).as_mut().poll(cx));
        Poll::Ready(Some(Err(Box::new(TooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Whether a connection is being used.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<Use>);

#[derive(Default)]
struct Use {
    /// Requests that are being answered. An answer's body is gone once the protocol has it in its own buffer.
    requests: AtomicUsize,
    /// The client has yet to take something of that buffer.
    untaken: AtomicBool,
}

/// A request that is being answered, until it is dropped.
pub(super) struct OneRunning(Running);

impl Running {
    pub fn one(&self) -> OneRunning {
        self.0.requests.fetch_add(1, Relaxed);
        OneRunning(self.clone())
    }

    /// Resolves when nothing has been running, and nothing left to take, for about so long.
    pub async fn idle(self, limit: Duration) {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < limit {
            tokio::time::sleep(limit / 8).await;
            if self.0.requests.load(Relaxed) > 0 || self.0.untaken.load(Relaxed) {
                quiet_since = Instant::now();
            }
        }
    }
}

impl Drop for OneRunning {
    fn drop(&mut self) {
        self.0.0.requests.fetch_sub(1, Relaxed);
    }
}

/// An answer's body; its request runs until it is gone.
pub(super) struct CountedBody<B> {
    pub inner: B,
    pub _running: OneRunning,
}

impl<B: Body + Unpin> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
