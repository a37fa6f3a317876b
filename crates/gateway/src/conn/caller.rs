//! What the pipeline needs of a caller's connection, whichever protocol it speaks.

use std::task::{Context, Poll};

/// How far the caller's body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Some payload was appended.
    Data,
    /// The body is complete.
    End,
}

/// Why a caller's body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It breaks its framing.
    Malformed,
    /// The caller went away before its end.
    Gone,
}

/// Why a caller's answer cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerError {
    /// The caller cannot be written to any more.
    Gone,
    /// What waits for callers to read it has used up the worker's memory budget.
    OverBudget,
}

/// How the answer's end will be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerFraming {
    /// There is no body, and nothing is said about its length.
    Empty,
    /// A body of so many bytes.
    Length(u64),
    /// There was no body, but the head says how long it would be (HEAD, 304).
    Described(u64),
    /// The length is not known beforehand.
    Streamed,
}

/// A caller in the middle of one request.
pub(crate) trait Caller {
    /// Reads payload of the request's body and appends about `most` bytes at the most.
    fn poll_body(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>, most: usize) -> Poll<Result<Received, BodyError>>;

    /// Ready when the caller has gone away while it waits for its answer.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Nobody will read the rest of the request's body. When it has not arrived whole, the connection
    /// cannot serve another request, and the answer will say so.
    fn settle(&mut self);

    /// Begins the answer. `fields` are complete header lines, each ending in CRLF.
    fn begin(&mut self, status: u16, fields: &[u8], framing: AnswerFraming);

    /// Adds payload to the answer; nothing is sent before [`Self::flush`].
    fn payload(&mut self, bytes: &[u8]);

    /// Ends the answer.
    fn end(&mut self);

    /// Sends what was added. Waits while the caller is slower than the upstream.
    async fn flush(&mut self) -> Result<(), AnswerError>;

    /// Makes sure that the connection is not used for another request.
    fn close_after(&mut self);

    /// Ends an answer that cannot be completed so that the caller notices.
    fn abort(&mut self);

    /// Hands over the raw stream after a `101`; only HTTP/1.1 has one.
    fn upgraded(&mut self) -> Option<(&mut crate::net::stream::Stream, &mut crate::net::buffer::Buffer)>;
}
