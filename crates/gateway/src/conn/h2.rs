//! A caller's HTTP/2 connection: hyper speaks the protocol, each request is put into the form of an
//! HTTP/1.1 head, so that the same guard and the same pipeline serve it.

use super::{AnswerError, AnswerFraming, BodyError, Caller, Received};
use crate::{
    budget::{Budget, Charge},
    http1::head::{Framing, Parsed, RequestHead, parse_request},
    net::{
        buffer::Buffer,
        control::{Control, Interrupt},
        stream::Stream,
    },
    pipeline::{self, Inbound},
    worker::Worker,
};
use bytes::Buf;
use credentialflow_model::OutcomeReason;
use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    cell::Cell,
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{mpsc, oneshot},
};

/// Pieces of an answer waiting for the caller; the upstream is not read while they are full.
const QUEUE: usize = 4;
/// Requests one connection may have running.
const MAX_STREAMS: u32 = 256;
/// What one connection may send of its requests' bodies before they are read.
const WINDOW: u32 = 256 * 1024;
/// What hyper may have of one answer beyond what the caller's window takes.
const SEND_BUFFER: usize = 128 * 1024;
/// What a running request holds besides its head and bodies: above all the read buffer towards the upstream.
const STREAM: u64 = 32 * 1024;
/// A first piece up to this size passes without a charge, so that a refusal can be told when nothing is left.
const FREE: usize = 2 * 1024;

/// Serves a connection.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    stream: Stream,
    input: Buffer,
    source: SocketAddr,
    secure: bool,
    control: Rc<Control>,
) {
    let settings = &worker.shared.settings;
    let running = Rc::new(Cell::new(0usize));
    let service = {
        let (worker, running) = (worker.clone(), running.clone());
        hyper::service::service_fn(move |request| answer(worker.clone(), running.clone(), request, source.ip(), secure))
    };
    let mut builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(settings.head.bytes as u32)
        .max_pending_accept_reset_streams(32)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    let io = TokioIo::new(Prefixed { stream, input });
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let mut quiet_since = Instant::now();
    loop {
        control.set_idle(running.get() == 0);
        control.set_deadline(worker.tick_in(Duration::from_secs(1)));
        match control.wait(connection.as_mut()).await {
            Ok(_) => return,
            Err(Interrupt::Deadline) => {
                if running.get() > 0 {
                    quiet_since = Instant::now();
                } else if quiet_since.elapsed() > settings.keep_alive {
                    connection.as_mut().graceful_shutdown();
                }
                if worker.draining.get() {
                    connection.as_mut().graceful_shutdown();
                }
            }
            Err(Interrupt::Drained) if running.get() == 0 => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(Duration::from_secs(1), connection.as_mut()).await;
                return;
            }
            Err(Interrupt::Drained) => connection.as_mut().graceful_shutdown(),
            Err(Interrupt::Revoked) => {}
        }
    }
}

#[derive(Clone)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Starts the pipeline for one request and answers as soon as it has a head.
async fn answer(
    worker: Rc<Worker>,
    running: Rc<Cell<usize>>,
    request: Request<Incoming>,
    source: IpAddr,
    secure: bool,
) -> Result<Response<AnswerBody>, Infallible> {
    let began = Instant::now();
    let (head_sender, head) = oneshot::channel();
    let (sender, receiver) = mpsc::channel(QUEUE);
    let cut = Rc::new(Cell::new(false));
    let cutting = cut.clone();
    let task = tokio::task::spawn_local(async move {
        running.set(running.get() + 1);
        let _running = Running(&running);
        let admitted = worker.budget.take(holds(&request));
        let (parts, incoming) = request.into_parts();
        let bytes = if admitted.is_ok() { as_http1(&parts, &incoming) } else { Err(OutcomeReason::Overloaded) };
        drop(parts);
        let mut caller = H2Caller {
            incoming,
            head: Some(head_sender),
            response: None,
            length: None,
            sender: Some(sender),
            cut: cutting,
            budget: worker.budget.clone(),
            pending: Vec::new(),
            first: true,
            ended: false,
        };
        let control = worker.controls.register();
        let mut head = RequestHead::default();
        match bytes.and_then(|b| match parse_request(&b, 0, &worker.shared.settings.head, &mut head) {
            Ok(Parsed::Complete) => Ok(b),
            Ok(Parsed::Partial) => Err(OutcomeReason::MalformedRequest),
            Err(reason) => Err(reason),
        }) {
            Ok(bytes) => {
                if head.framing == Framing::None && !caller.incoming.is_end_stream() {
                    head.framing = Framing::Chunked;
                }
                let inbound = Inbound { bytes: &bytes, head: &head, source, secure, began };
                pipeline::serve(&worker, &control, inbound, &mut caller).await;
            }
            Err(reason) => pipeline::refuse_unread(&worker, &control, &mut caller, source, reason).await,
        }
    });
    let abort = AbortOnDrop(task.abort_handle());
    match head.await {
        Ok((parts, length)) => {
            let body = AnswerBody { receiver, length, cut, _abort: abort };
            let mut response = Response::new(body);
            *response.status_mut() = parts.0;
            *response.headers_mut() = parts.1;
            Ok(response)
        }
        // The pipeline ended without an answer: the caller is gone, or an abort is all it can be told.
        Err(_) => Ok(Response::builder()
            .status(500)
            .body(AnswerBody { receiver, length: None, cut, _abort: abort })
            .unwrap_or_else(|_| unreachable!("a status alone is a valid response"))),
    }
}

/// What a request may hold while it runs.
fn holds(request: &Request<Incoming>) -> u64 {
    let head: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let unread = match request.body().size_hint().exact() {
        Some(n) => n.min(u64::from(WINDOW)),
        None => u64::from(WINDOW),
    };
    STREAM + head as u64 + unread
}

struct Running<'a>(&'a Cell<usize>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Ends the pipeline when hyper drops the answer because the caller reset its stream.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Writes a request as an HTTP/1.1 head (RFC 9113, 8.3).
fn as_http1(parts: &http::request::Parts, incoming: &Incoming) -> Result<Vec<u8>, OutcomeReason> {
    let mut out = Vec::with_capacity(1024);
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let authority = parts.uri.authority().map(|a| a.as_str().as_bytes());
    let host = authority.or_else(|| parts.headers.get(http::header::HOST).map(HeaderValue::as_bytes));
    push(&mut out, b"host", host.unwrap_or(b"unknown"));
    let (mut length, mut cookie) = (None, Vec::new());
    for (name, value) in &parts.headers {
        match *name {
            http::header::HOST => {}
            http::header::CONTENT_LENGTH => length = Some(value),
            // Not allowed in HTTP/2 (RFC 9113, 8.2.2); "te: trailers" is, but ends with us.
            http::header::TRANSFER_ENCODING | http::header::CONNECTION | http::header::UPGRADE => {
                return Err(OutcomeReason::MalformedRequest);
            }
            http::header::TE => {}
            // Several in HTTP/2 are one in HTTP/1.1 (RFC 9113, 8.2.3).
            http::header::COOKIE => cookie.push(value.as_bytes()),
            _ => push(&mut out, name.as_str().as_bytes(), value.as_bytes()),
        }
    }
    if !cookie.is_empty() {
        push(&mut out, b"cookie", &cookie.join(b"; ".as_slice()));
    }
    match length {
        Some(value) => push(&mut out, b"content-length", value.as_bytes()),
        None => {
            if let Some(n) = incoming.size_hint().exact().filter(|n| *n > 0) {
                push(&mut out, b"content-length", n.to_string().as_bytes());
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

fn push(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

type Head = ((http::StatusCode, http::HeaderMap), Option<u64>);

struct H2Caller {
    incoming: Incoming,
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

impl Caller for H2Caller {
    fn poll_body(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>, _: usize) -> Poll<Result<Received, BodyError>> {
        loop {
            match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
                None => return Poll::Ready(Ok(Received::End)),
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
        let mut headers = http::HeaderMap::with_capacity(16);
        for line in fields.split(|b| *b == b'\n') {
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let name = HeaderName::from_bytes(&line[..colon]);
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        // A 304 may say the length (RFC 9110, 8.6), but common clients take it for a broken promise.
        if let AnswerFraming::Length(n) | AnswerFraming::Described(n) = framing
            && status != 304
        {
            headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(n));
        }
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

/// A stream of which some bytes were read already.
struct Prefixed {
    stream: Stream,
    input: Buffer,
}

impl AsyncRead for Prefixed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, input } = &mut *self;
        if !input.is_empty() {
            let n = input.filled().len().min(buf.remaining());
            buf.put_slice(&input.filled()[..n]);
            input.consume(n);
            return Poll::Ready(Ok(()));
        }
        Pin::new(stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
