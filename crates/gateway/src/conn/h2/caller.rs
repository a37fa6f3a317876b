//! One request of an HTTP/2 connection as the pipeline sees it: its body, and an answer whose pieces
//! count against the worker's memory until they have left. Knows nothing of the connection.

use super::{translate::from_http1, windows::Unread};
use crate::{
    budget::{Budget, Charge},
    conn::{AnswerError, AnswerFraming, BodyError, Caller, Received},
    net::{buffer::Buffer, stream::Stream},
};
use bytes::Buf;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::sync::{mpsc, oneshot};

/// A first piece up to this size passes without a charge, so that a refusal can be told when nothing is left.
const FREE: usize = 2 * 1024;

/// An answer's status, fields and length, if it is known.
type Head = ((http::StatusCode, http::HeaderMap), Option<u64>);

/// A caller in the middle of one request.
pub(super) struct H2Caller {
    incoming: Incoming,
    /// Until the body is at its end.
    unread: Option<Unread>,
    head: Option<oneshot::Sender<Head>>,
    response: Option<(http::StatusCode, http::HeaderMap)>,
    length: Option<u64>,
    sender: Option<mpsc::Sender<Piece>>,
    budget: Rc<Budget>,
    cut: Rc<Cell<bool>>,
    pending: Vec<u8>,
    /// Whether the next piece is the answer's first.
    first: bool,
    ended: bool,
}

/// The answer ends before its end; hyper resets the stream.
#[derive(Debug)]
pub(super) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer was cut")
    }
}

impl std::error::Error for Cut {}

impl H2Caller {
    /// At the beginning of a request. The answer's head goes to `head`, its body to `sender`.
    pub fn new(
        incoming: Incoming,
        unread: Option<Unread>,
        head: oneshot::Sender<Head>,
        sender: mpsc::Sender<Piece>,
        cut: Rc<Cell<bool>>,
        budget: Rc<Budget>,
    ) -> Self {
        Self {
            incoming,
            unread,
            head: Some(head),
            response: None,
            length: None,
            sender: Some(sender),
            budget,
            cut,
            pending: Vec::new(),
            first: true,
            ended: false,
        }
    }

    /// Whether it is known that nothing of the body is to come.
    pub fn body_ended(&self) -> bool {
        self.incoming.is_end_stream()
    }
}

impl Caller for H2Caller {
    fn poll_body(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>, _: usize) -> Poll<Result<Received, BodyError>> {
        loop {
            match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
                None => {
                    self.unread = None;
                    return Poll::Ready(Ok(Received::End));
                }
                Some(Err(_)) => return Poll::Ready(Err(BodyError::Gone)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref().filter(|d| !d.is_empty()) {
                        out.extend_from_slice(data);
                        return Poll::Ready(Ok(Received::Data));
                    }
                }
            }
        }
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // hyper drops the answer when the stream is reset, which ends this task.
        Poll::Pending
    }

    fn settle(&mut self) {}

    fn begin(&mut self, status: u16, fields: &[u8], framing: AnswerFraming) {
        let headers = from_http1(status, fields, framing);
        self.length = if let AnswerFraming::Length(n) = framing { Some(n) } else { None };
        let status = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_GATEWAY);
        self.response = Some((status, headers));
    }

    fn payload(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        self.ended = true;
    }

    async fn flush(&mut self) -> Result<(), AnswerError> {
        if let (Some(head), Some(response)) = (self.head.take(), self.response.take()) {
            head.send((response, self.length)).map_err(|_| AnswerError::Gone)?;
        }
        if !self.pending.is_empty() {
            let bytes = std::mem::take(&mut self.pending);
            let first = std::mem::take(&mut self.first);
            let counted = if first && bytes.len() <= FREE { 0 } else { bytes.capacity() as u64 };
            let charge = self.budget.take(counted).map_err(|_| AnswerError::OverBudget)?;
            let sender = self.sender.as_ref().ok_or(AnswerError::Gone)?;
            sender.send(Piece { bytes, sent: 0, _charge: charge }).await.map_err(|_| AnswerError::Gone)?;
        }
        if self.ended {
            self.sender = None;
        }
        Ok(())
    }

    fn close_after(&mut self) {}

    fn abort(&mut self) {
        self.cut.set(true);
        self.sender = None;
    }

    fn upgraded(&mut self) -> Option<(&mut Stream, &mut Buffer)> {
        None
    }
}

/// A piece of an answer. Its bytes count until they have left.
pub(super) struct Piece {
    bytes: Vec<u8>,
    sent: usize,
    _charge: Charge,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.sent
    }
    fn chunk(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }
    fn advance(&mut self, n: usize) {
        self.sent += n;
    }
}

/// The body hyper reads.
pub(super) struct AnswerBody {
    receiver: mpsc::Receiver<Piece>,
    length: Option<u64>,
    /// Whether the end of the pieces is not the end of the answer.
    cut: Rc<Cell<bool>>,
    _abort: AbortOnDrop,
}

impl AnswerBody {
    /// Of the pieces that come from `receiver`; of this length, if it is known.
    pub fn new(receiver: mpsc::Receiver<Piece>, length: Option<u64>, cut: Rc<Cell<bool>>, abort: AbortOnDrop) -> Self {
        Self { receiver, length, cut, _abort: abort }
    }
}

impl Body for AnswerBody {
    type Data = Piece;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, Cut>>> {
        let piece = ready!(self.receiver.poll_recv(cx));
        if let (Some(piece), Some(left)) = (&piece, &mut self.length) {
            *left = left.saturating_sub(piece.remaining() as u64);
        }
        // An answer that ends early must not look complete.
        Poll::Ready(match piece {
            None if self.cut.get() || self.length.is_some_and(|left| left > 0) => Some(Err(Cut)),
            piece => piece.map(|piece| Ok(Frame::data(piece))),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Ends the pipeline when hyper drops the answer because the caller reset its stream.
pub(super) struct AbortOnDrop(pub tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
