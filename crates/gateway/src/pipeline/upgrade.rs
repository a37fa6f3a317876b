//! WebSocket: after the upstream agreed, bytes pass both ways until both sides are done.
//!
//! A side that says no more may still be told something: what it had said is passed on whole, then the
//! other side is told that there is no more, and its bytes go on passing until it ends as well.

use super::{
    Refused, answer, body,
    forward::UpstreamResponse,
    frames::Frames,
    guard::{UploadGuard, answered::AnswerGuard, messages::CallerMessages},
    record::Recording,
};
use crate::{
    conn::{AnswerFraming, Caller},
    http1::{head::ResponseHead, tag::Tag},
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
    (said, mut guard): (Option<UploadGuard>, AnswerGuard<'_>),
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    let UpstreamResponse { head, mut bytes, mut connection, scrub, sent, _in_use, .. } = response;
    let passes = guard.head(&mut bytes, record);
    if passes.is_err() {
        guard.tell(&scrub, record);
    }
    passes?;
    let fields = fields(&head, &bytes, None, record);
    caller.begin(101, &fields, AnswerFraming::Empty);
    record.answered(101);
    answer::flush(control, worker, caller).await?;
    record.first_byte();
    let Some((stream, buffer)) = caller.upgraded() else {
        return Err(Refused::new(OutcomeReason::Internal));
    };
    let (mut said, mut frames) = (said.map(CallerMessages::new), Frames::new(scrub));
    let (mut up, mut down) = (Direction::default(), Direction::default());
    let ended = loop {
        if up.is_over() && down.is_over() {
            break Ok(());
        }
        let half_closed = up.has_ended() || down.has_ended();
        control.set_deadline(worker.tick_in(if half_closed { IDLE_HALF_CLOSED } else { IDLE }));
        let step = control.wait(poll_fn(|cx| {
            let look = &mut FromCaller(&mut said);
            let a = up.poll(cx, stream, buffer, look, &mut connection.stream);
            let look = &mut FromUpstream(&mut frames, &mut guard);
            let b = down.poll(cx, &mut connection.stream, &mut connection.buffer, look, stream);
            if a.is_ready() || b.is_ready() { Poll::Ready(()) } else { Poll::Pending }
        }));
        let step = step.await;
        let refused = said.as_mut().and_then(|said| said.guard().tell(record));
        guard.tell_met(record);
        match step {
            Ok(()) if up.stopped => {
                break Err(refused.unwrap_or_else(|| Refused::new(OutcomeReason::SecretInRequest)));
            }
            Ok(()) if down.stopped => break Err(Refused::new(OutcomeReason::UpstreamMalformed)),
            Ok(()) => {}
            Err(Interrupt::Deadline) => break Ok(()),
            Err(i) => break Err(body::interrupted(i, OutcomeReason::UpstreamStalled)),
        }
    };
    for scrub in frames.scrubs() {
        guard.tell(scrub, record);
    }
    record.bytes_in(up.moved);
    record.bytes_out(down.moved);
    record.upstream_done(sent);
    ended.inspect(|()| record.served())
}

/// The fields of `101` as they go to the caller. `protocol`: what is agreed on, where it is not what the upstream says.
pub(super) fn fields(
    head: &ResponseHead,
    bytes: &[u8],
    protocol: Option<Option<&[u8]>>,
    record: &Recording<'_>,
) -> Vec<u8> {
    let mut fields = Vec::with_capacity(256);
    fields.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    let passes = |tag: Tag| !tag.is_hop_by_hop() && tag != Tag::ContentLength;
    let told = |tag: Tag| protocol.is_none() || tag != Tag::SecWebsocketProtocol;
    let passing = head.fields.iter().filter(|f| passes(f.tag) && told(f.tag));
    let passing = passing.map(|f| (f.name.of(bytes), f.value.of(bytes)));
    for (name, value) in passing.chain(protocol.flatten().map(|agreed| (&b"sec-websocket-protocol"[..], agreed))) {
        fields.extend_from_slice(name);
        fields.extend_from_slice(b": ");
        fields.extend_from_slice(value);
        fields.extend_from_slice(b"\r\n");
    }
    answer::push_own_fields(&mut fields, record);
    fields
}

/// How far one direction has come.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// More may come.
    #[default]
    Open,
    /// Nothing more comes; what is left is written, then the other side is told.
    Ending,
    /// Nothing more can pass.
    Over,
}

/// What happens to bytes before they go on.
trait Look {
    /// Passes bytes on to `out`. False: they must not go on, and nothing does any more.
    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool;

    /// Nothing more comes; what waited is passed on.
    fn finish(&mut self, out: &mut Vec<u8>);
}

/// Live secrets of ours are looked for, where there is somebody who looks.
struct FromCaller<'a>(&'a mut Option<CallerMessages>);

impl Look for FromCaller<'_> {
    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let passes = !self.0.as_mut().is_some_and(|said| said.stops(bytes));
        if passes {
            out.extend_from_slice(bytes);
        }
        passes
    }

    fn finish(&mut self, _: &mut Vec<u8>) {}
}

/// The injected credential is taken out, then live secrets of ours are looked for.
struct FromUpstream<'a, 'v>(&'a mut Frames, &'a mut AnswerGuard<'v>);

impl Look for FromUpstream<'_, '_> {
    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        self.0.feed(bytes, self.1, out).is_ok()
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.0.finish(self.1, out);
    }
}

#[derive(Default)]
struct Direction {
    state: State,
    pending: Vec<u8>,
    written: usize,
    moved: u64,
    /// What came must not go on.
    stopped: bool,
}

impl Direction {
    fn has_ended(&self) -> bool {
        self.state != State::Open
    }

    fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Moves what can be moved. Ready when something has, or the direction is a step closer to its end.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        buffer: &mut Buffer,
        look: &mut impl Look,
        to: &mut Stream,
    ) -> Poll<()> {
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
                        look.finish(&mut self.pending);
                        self.state = State::Ending;
                        progress = true;
                        continue;
                    }
                    Poll::Pending => break,
                }
            }
            if !look.feed(buffer.filled(), &mut self.pending) {
                self.stopped = true;
                self.state = State::Over;
                return Poll::Ready(());
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
