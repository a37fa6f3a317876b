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
    frames: Frames,
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
                        // Inside a frame more is to come, so what may be the beginning of a secret waits
                        // for it. A whole frame that ends like one is not held back.
                        if !self.frames.inside()
                            && let Some(scrub) = scrub.as_mut()
                        {
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
                Some(scrub) => {
                    self.frames.feed(buffer.filled());
                    scrub.feed(buffer.filled(), &mut |b| self.pending.extend_from_slice(b));
                }
                None => self.pending.extend_from_slice(buffer.filled()),
            }
            let n = buffer.filled().len();
            buffer.consume(n);
        }
        let _ = Pin::new(to).poll_flush(cx);
        if progress { Poll::Ready(Step::Moved) } else { Poll::Pending }
    }
}

/// Follows the frames of a WebSocket by their lengths (RFC 6455, 5.2), without looking into them.
#[derive(Default)]
struct Frames {
    head: [u8; 14],
    got: usize,
    left: u64,
}

impl Frames {
    /// Whether a frame has begun that is not complete.
    fn inside(&self) -> bool {
        self.got > 0 || self.left > 0
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= n as u64;
                bytes = &bytes[n..];
                continue;
            }
            self.head[self.got] = *first;
            self.got += 1;
            bytes = rest;
            if self.got < 2 {
                continue;
            }
            let short = self.head[1] & 0x7f;
            let long = match short {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
            if self.got == 2 + long + mask {
                let length = self.head[2..2 + long].iter().fold(0, |n, b| n << 8 | u64::from(*b));
                self.left = if long == 0 { u64::from(short) } else { length };
                self.got = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;

    #[test]
    fn frames_end_where_their_lengths_say_however_they_arrive() {
        let check = |frame: &[u8]| {
            for step in [1, 3, 1000] {
                let mut frames = Frames::default();
                let mut sent = 0;
                for piece in frame.chunks(step) {
                    frames.feed(piece);
                    sent += piece.len();
                    assert_eq!(frames.inside(), sent < frame.len(), "after {sent} of {}", frame.len());
                }
            }
        };
        check(&[0x81, 0]);
        check(&[[0x81, 5].as_slice(), b"hello"].concat());
        check(&[[0x81, 126, 1, 4].as_slice(), &[7; 260]].concat());
        check(&[[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 200].as_slice(), &[7; 200]].concat());
        check(&[[0x81, 0x83, 1, 2, 3, 4].as_slice(), b"abc"].concat());
    }
}
