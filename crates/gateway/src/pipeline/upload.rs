//! The caller's body on its way to the upstream, which may begin to answer before it has all of it.

use super::{Refused, forward::RESPONSE_HEAD, guard::UploadGuard, record::Recording};
use crate::{
    conn::{BodyError, Caller, Received},
    http1::{
        body::{LAST_CHUNK, push_chunk},
        head::{Parsed, ResponseHead, parse_response},
    },
    net::{buffer::Buffer, stream::Stream},
    upstream::Connection,
    worker::Worker,
};
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::AsyncWrite;

/// Body bytes read from the caller at once.
const PIECE: usize = 64 * 1024;

/// A body on its way up, watched for an early answer.
pub(crate) struct Upload {
    chunked: bool,
    left: u64,
    pending: Vec<u8>,
    written: usize,
    raw: Vec<u8>,
    guard: Option<UploadGuard>,
    ended: bool,
    /// Whether it is the caller who is waited for, and not the upstream.
    pub waiting_for_caller: bool,
    /// Whether the last poll moved anything.
    pub progress: bool,
    /// Payload received so far.
    pub received: u64,
}

/// How far an upload came.
pub(super) enum UploadStep {
    /// Something moved.
    Progress,
    /// The whole body has gone.
    Complete,
    /// The upstream began its answer before it had the whole body.
    Answered,
    /// The upstream takes no more.
    UpstreamLost,
    /// The body is larger than the route allows.
    TooLarge,
    /// A secret of ours stands in it. What came before the piece in which it ends has gone.
    Secret,
    /// The caller's body cannot be read.
    Caller(BodyError),
}

impl Upload {
    /// At its beginning. At most `most` bytes of payload may come.
    pub fn new(worker: &Worker, chunked: bool, most: u64, guard: Option<UploadGuard>) -> Self {
        Self {
            chunked,
            left: most,
            pending: worker.take_scratch(),
            written: 0,
            raw: worker.take_scratch(),
            guard,
            ended: false,
            waiting_for_caller: false,
            progress: false,
            received: 0,
        }
    }

    /// Gives its buffers back.
    pub fn give_back(self, worker: &Worker) {
        worker.give_scratch(self.pending);
        worker.give_scratch(self.raw);
    }

    /// Tells of secrets that were met, once, and what the request is refused with.
    pub fn tell(&mut self, record: &Recording<'_>) -> Option<Refused> {
        self.guard.as_mut().and_then(|guard| guard.tell(record))
    }

    /// Moves what can be moved and watches for an answer.
    pub fn poll<C: Caller>(
        &mut self,
        cx: &mut Context<'_>,
        caller: &mut C,
        connection: &mut Connection,
    ) -> Poll<UploadStep> {
        match self.push(cx, caller, &mut connection.stream) {
            Poll::Ready(UploadStep::UpstreamLost) => return Poll::Ready(last_words(cx, connection)),
            Poll::Ready(step) => return Poll::Ready(step),
            Poll::Pending => {}
        }
        loop {
            match connection.stream.poll_fill(cx, &mut connection.buffer) {
                Poll::Ready(Ok(n)) if n > 0 && only_interim(&mut connection.buffer) => {}
                Poll::Ready(Ok(n)) if n > 0 => return Poll::Ready(UploadStep::Answered),
                Poll::Ready(_) => return Poll::Ready(UploadStep::UpstreamLost),
                Poll::Pending if self.progress => return Poll::Ready(UploadStep::Progress),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Moves what can be moved. Ready only when the upload is over, one way or another.
    pub fn push<C: Caller>(&mut self, cx: &mut Context<'_>, caller: &mut C, to: &mut Stream) -> Poll<UploadStep> {
        self.progress = false;
        loop {
            if self.written < self.pending.len() {
                self.waiting_for_caller = false;
                match Pin::new(&mut *to).poll_write(cx, &self.pending[self.written..]) {
                    Poll::Ready(Ok(n)) if n > 0 => {
                        self.written += n;
                        self.progress = true;
                        continue;
                    }
                    Poll::Ready(_) => return Poll::Ready(UploadStep::UpstreamLost),
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.ended {
                return match Pin::new(to).poll_flush(cx) {
                    Poll::Ready(Ok(())) => Poll::Ready(UploadStep::Complete),
                    Poll::Ready(Err(_)) => Poll::Ready(UploadStep::UpstreamLost),
                    Poll::Pending => Poll::Pending,
                };
            }
            self.pending.clear();
            self.raw.clear();
            self.written = 0;
            self.waiting_for_caller = true;
            match caller.poll_body(cx, &mut self.raw, PIECE) {
                Poll::Ready(Ok(Received::Data)) => {
                    let n = self.raw.len() as u64;
                    self.received += n;
                    match self.left.checked_sub(n) {
                        Some(left) => self.left = left,
                        None => return Poll::Ready(UploadStep::TooLarge),
                    }
                    if self.guard.as_mut().is_some_and(|guard| guard.stops(&self.raw)) {
                        return Poll::Ready(UploadStep::Secret);
                    }
                    if self.chunked {
                        push_chunk(&mut self.pending, &self.raw);
                    } else {
                        std::mem::swap(&mut self.pending, &mut self.raw);
                    }
                }
                Poll::Ready(Ok(Received::End)) => {
                    self.ended = true;
                    if self.chunked {
                        self.pending.extend_from_slice(LAST_CHUNK);
                    }
                }
                Poll::Ready(Err(e)) => return Poll::Ready(UploadStep::Caller(e)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// The upstream takes no more. It may have answered before it closed.
fn last_words(cx: &mut Context<'_>, connection: &mut Connection) -> UploadStep {
    match connection.stream.poll_fill(cx, &mut connection.buffer) {
        Poll::Ready(Ok(n)) if n > 0 => UploadStep::Answered,
        _ => UploadStep::UpstreamLost,
    }
}

/// Takes interim answers away; whether nothing else has come so far (RFC 9110, 15.2).
fn only_interim(buffer: &mut Buffer) -> bool {
    let mut head = ResponseHead::default();
    loop {
        match parse_response(buffer.filled(), 0, &RESPONSE_HEAD, &mut head) {
            Ok(Parsed::Complete) if head.status < 200 && head.status != 101 => buffer.consume(head.len),
            Ok(Parsed::Complete) | Err(_) => return false,
            Ok(Parsed::Partial) => return true,
        }
    }
}
