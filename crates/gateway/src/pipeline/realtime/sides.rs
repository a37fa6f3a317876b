//! Both connections of a session: what is read from them, and what waits to be written.

use super::State;
use crate::{
    budget::Charge,
    net::{buffer::Buffer, stream::Stream},
    worker::Worker,
};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;

/// What waits until a side reads it.
#[derive(Default)]
pub(super) struct Out {
    pub bytes: Vec<u8>,
    written: usize,
    pub moved: u64,
}

impl Out {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes what can be written. Ready with an error when nobody takes it any more.
    pub fn poll(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            match ready!(Pin::new(&mut *to).poll_write(cx, &self.bytes[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => {
                    self.written += n;
                    self.moved += n as u64;
                }
            }
        }
        self.bytes.clear();
        self.written = 0;
        if self.bytes.capacity() > 64 * 1024 {
            self.bytes = Vec::new();
        }
        Pin::new(to).poll_flush(cx)
    }
}

/// Where something has happened.
pub(super) enum Step {
    Moved,
    CallerGone,
    UpstreamGone,
}

/// Both connections.
pub(super) struct Sides<'c> {
    pub caller: (&'c mut Stream, &'c mut Buffer),
    pub upstream: (&'c mut Stream, &'c mut Buffer),
    pub held: Charge,
}

impl Sides<'_> {
    /// Writes what waits and reads more where there is room for what it becomes.
    pub fn poll(&mut self, cx: &mut Context<'_>, worker: &Worker, state: &mut State<'_>) -> Poll<Step> {
        let mut moved = false;
        for (out, to, gone) in [
            (&mut state.up, &mut *self.upstream.0, Step::UpstreamGone),
            (&mut state.down, &mut *self.caller.0, Step::CallerGone),
        ] {
            let waited = !out.is_empty();
            match out.poll(cx, to) {
                Poll::Ready(Err(_)) => return Poll::Ready(gone),
                Poll::Ready(Ok(())) => moved |= waited,
                Poll::Pending => {}
            }
        }
        for (reads, (from, buffer), gone) in [
            (state.listens(), &mut self.caller, Step::CallerGone),
            (state.down.is_empty(), &mut self.upstream, Step::UpstreamGone),
        ] {
            if reads {
                match fill(cx, worker, from, buffer) {
                    Poll::Ready(Ok(n)) if n > 0 => moved = true,
                    Poll::Ready(_) => return Poll::Ready(gone),
                    Poll::Pending => {}
                }
            }
        }
        if moved { Poll::Ready(Step::Moved) } else { Poll::Pending }
    }
}

/// Reads more, holding no buffer while there is nothing.
pub(super) fn fill(
    cx: &mut Context<'_>,
    worker: &Worker,
    from: &mut Stream,
    buffer: &mut Buffer,
) -> Poll<io::Result<usize>> {
    if !buffer.has_memory() {
        if let Stream::Plain(tcp) = &*from {
            ready!(tcp.poll_read_ready(cx))?;
        }
        buffer.adopt(worker.take_buffer());
    }
    let read = from.poll_fill(cx, buffer);
    if read.is_pending() && buffer.is_empty() {
        worker.give_buffer(buffer.release());
    }
    read
}
