//! WebSocket: after the upstream agreed, bytes pass both ways until both sides are done.
//!
//! A side that says no more may still be told something: what it had said is passed on whole, then the
//! other side is told that there is no more, and its bytes go on passing until it ends as well.

use super::{Refused, answer, body, forward::UpstreamResponse, frames::Frames, record::Recording};
use crate::{
    conn::{AnswerFraming, Caller},
    http1::tag::Tag,
    net::{
        buffer::Buffer,
        control::{Control, Interrupt},
        stream::Stream,
    },
    worker::Worker,
};
use credentialflow_model::OutcomeReason;
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::AsyncWrite;

/// A connection on which nothing moves for this long is closed.
const IDLE: Duration = Duration::from_secs(600);
/// The same when one side has already ended.
const IDLE_HALF_CLOSED: Duration = Duration::from_secs(10);

/// Passes `101` on and relays until the end.
pub(super) async fn relay<C: Caller>(
    worker: &Worker,
    control: &Control,
    caller: &mut C,
    response: UpstreamResponse,
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    let UpstreamResponse { head, bytes, mut connection, scrub, sent, _in_use, .. } = response;
    let mut fields = Vec::with_capacity(256);
    fields.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    for field in head.fields.iter().filter(|f| !f.tag.is_hop_by_hop() && f.tag != Tag::ContentLength) {
        fields.extend_from_slice(field.name.of(&bytes));
        fields.extend_from_slice(b": ");
        fields.extend_from_slice(field.value.of(&bytes));
        fields.extend_from_slice(b"\r\n");
    }
    answer::push_own_fields(&mut fields, record);
    caller.begin(101, &fields, AnswerFraming::Empty);
    record.answered(101);
    answer::flush(control, worker, caller).await?;
    record.first_byte();
    let Some((stream, buffer)) = caller.upgraded() else {
        return Err(Refused::new(OutcomeReason::Internal));
    };
    let mut up = Direction::new(None);
    let mut down = Direction::new(Some(Frames::new(scrub)));
    let ended = loop {
        if up.is_over() && down.is_over() {
            break Ok(());
        }
        let half_closed = up.has_ended() || down.has_ended();
        control.set_deadline(worker.tick_in(if half_closed { IDLE_HALF_CLOSED } else { IDLE }));
        let step = control.wait(poll_fn(|cx| {
            let a = up.poll(cx, stream, buffer, &mut connection.stream);
            let b = down.poll(cx, &mut connection.stream, &mut connection.buffer, stream);
            if a.is_ready() || b.is_ready() { Poll::Ready(()) } else { Poll::Pending }
        }));
        match step.await {
            Ok(()) if down.broken => break Err(Refused::new(OutcomeReason::UpstreamMalformed)),
            Ok(()) => {}
            Err(Interrupt::Deadline) => break Ok(()),
            Err(i) => break Err(body::interrupted(i, OutcomeReason::UpstreamStalled)),
        }
    };
    record.bytes_in(up.moved);
    record.bytes_out(down.moved);
    record.upstream_done(sent);
    ended.inspect(|()| record.served())
}

/// How far one direction has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// More may come.
    Open,
    /// Nothing more comes; what is left is written, then the other side is told.
    Ending,
    /// Nothing more can pass.
    Over,
}

struct Direction {
    state: State,
    pending: Vec<u8>,
    written: usize,
    moved: u64,
    /// Towards the caller: takes secrets out.
    frames: Option<Frames>,
    /// The frames cannot be followed any more.
    broken: bool,
}

impl Direction {
    fn new(frames: Option<Frames>) -> Self {
        Self { state: State::Open, pending: Vec::new(), written: 0, moved: 0, frames, broken: false }
    }

    fn has_ended(&self) -> bool {
        self.state != State::Open
    }

    fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Moves what can be moved. Ready when something has, or the direction is a step closer to its end.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut Stream, buffer: &mut Buffer, to: &mut Stream) -> Poll<()> {
        let mut progress = false;
        while self.state != State::Over {
            if self.written < self.pending.len() {
                match Pin::new(&mut *to).poll_write(cx, &self.pending[self.written..]) {
                    Poll::Ready(Ok(n)) if n > 0 => {
                        self.written += n;
                        self.moved += n as u64;
                        progress = true;
                        continue;
                    }
                    // Nobody takes it any more. What the other side still says is another direction.
                    Poll::Ready(_) => {
                        self.state = State::Over;
                        return Poll::Ready(());
                    }
                    Poll::Pending => break,
                }
            }
            self.pending.clear();
            self.written = 0;
            if self.state == State::Ending {
                match Pin::new(&mut *to).poll_shutdown(cx) {
                    Poll::Ready(_) => {
                        self.state = State::Over;
                        return Poll::Ready(());
                    }
                    Poll::Pending => break,
                }
            }
            if buffer.is_empty() {
                match from.poll_fill(cx, buffer) {
                    Poll::Ready(Ok(n)) if n > 0 => {}
                    Poll::Ready(_) => {
                        if let Some(frames) = &mut self.frames {
                            frames.finish(&mut self.pending);
                        }
                        self.state = State::Ending;
                        progress = true;
                        continue;
                    }
                    Poll::Pending => break,
                }
            }
            match &mut self.frames {
                None => self.pending.extend_from_slice(buffer.filled()),
                Some(frames) => {
                    if frames.feed(buffer.filled(), &mut self.pending).is_err() {
                        self.broken = true;
                        self.state = State::Over;
                        return Poll::Ready(());
                    }
                }
            }
            let n = buffer.filled().len();
            buffer.consume(n);
        }
        if self.state == State::Open {
            let _ = Pin::new(to).poll_flush(cx);
        }
        if progress { Poll::Ready(()) } else { Poll::Pending }
    }
}
