//! WebSocket: after the upstream agreed, bytes pass both ways until one side is done.

use super::{Refused, answer, body, forward::UpstreamResponse, record::Recording, scrub::Scrub};
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

/// Passes `101` on and relays until the end.
pub(super) async fn relay<C: Caller>(
    worker: &Worker,
    control: &Control,
    caller: &mut C,
    response: UpstreamResponse,
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    let UpstreamResponse { head, bytes, mut connection, mut scrub, sent, _in_use, .. } = response;
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
    let mut up = Direction::default();
    let mut down = Direction::default();
    let ended = loop {
        control.set_deadline(worker.tick_in(IDLE));
        let step = control.wait(poll_fn(|cx| {
            let a = up.poll(cx, stream, buffer, &mut connection.stream, None);
            let b = down.poll(cx, &mut connection.stream, &mut connection.buffer, stream, Some(&mut scrub));
            match (a, b) {
                (Poll::Ready(Step::Over), _) | (_, Poll::Ready(Step::Over)) => Poll::Ready(Step::Over),
                (Poll::Ready(Step::Moved), _) | (_, Poll::Ready(Step::Moved)) => Poll::Ready(Step::Moved),
                _ => Poll::Pending,
            }
        }));
        match step.await {
            Ok(Step::Moved) => {}
            Ok(Step::Over) => break Ok(()),
            Err(Interrupt::Deadline) => break Ok(()),
            Err(i) => break Err(body::interrupted(i, OutcomeReason::UpstreamStalled)),
        }
    };
    record.bytes_in(up.moved);
    record.bytes_out(down.moved);
    record.upstream_done(sent);
    ended.inspect(|()| record.served())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Moved,
    Over,
}

#[derive(Default)]
struct Direction {
    pending: Vec<u8>,
    written: usize,
    moved: u64,
}

impl Direction {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        buffer: &mut Buffer,
        to: &mut Stream,
        mut scrub: Option<&mut Scrub>,
    ) -> Poll<Step> {
        let mut progress = false;
        loop {
            if self.written < self.pending.len() {
                match Pin::new(&mut *to).poll_write(cx, &self.pending[self.written..]) {
                    Poll::Ready(Ok(n)) if n > 0 => {
                        self.written += n;
                        self.moved += n as u64;
                        progress = true;
                        continue;
                    }
                    Poll::Ready(_) => return Poll::Ready(Step::Over),
                    Poll::Pending => break,
                }
            }
            self.pending.clear();
            self.written = 0;
            if buffer.is_empty() {
                match from.poll_fill(cx, buffer) {
                    Poll::Ready(Ok(n)) if n > 0 => {}
                    Poll::Ready(_) => {
                        if let Some(scrub) = scrub.as_mut() {
                            scrub.finish(&mut |b| self.pending.extend_from_slice(b));
                        }
                        return Poll::Ready(Step::Over);
                    }
                    Poll::Pending => {
                        // A message may end in what looks like the beginning of a secret: messages are
                        // not held back for longer than it takes to see that nothing follows at once.
                        if let Some(scrub) = scrub.as_mut() {
                            scrub.finish(&mut |b| self.pending.extend_from_slice(b));
                        }
                        if self.pending.is_empty() {
                            break;
                        }
                        continue;
                    }
                }
            }
            match scrub.as_mut() {
                Some(scrub) => scrub.feed(buffer.filled(), &mut |b| self.pending.extend_from_slice(b)),
                None => self.pending.extend_from_slice(buffer.filled()),
            }
            let n = buffer.filled().len();
            buffer.consume(n);
        }
        let _ = Pin::new(to).poll_flush(cx);
        if progress { Poll::Ready(Step::Moved) } else { Poll::Pending }
    }
}
