//! A caller's HTTP/1.1 connection.

use super::{AnswerError, AnswerFraming, BodyError, Caller, Received};
use crate::{
    http1::{
        body::{Decoder, LAST_CHUNK},
        head::{Framing, Parsed, RequestHead, parse_request},
    },
    net::{
        buffer::Buffer,
        control::{Control, Interrupt},
        stream::Stream,
    },
    pipeline::{self, Inbound},
    text::push_decimal,
    worker::Worker,
};
use credentialflow_model::OutcomeReason;
use std::{
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};
use tokio::io::AsyncWrite;

/// Pipelined requests are read ahead at most this far while an answer is on its way.
const READ_AHEAD: usize = 64 * 1024;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Room for the size line of a chunk whose length is not known yet; leading zeros are allowed.
const CHUNK_HEADER: &[u8] = b"00000000\r\n";

/// Serves the requests of a connection one after the other.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    stream: Stream,
    input: Buffer,
    source: SocketAddr,
    secure: bool,
    control: Rc<Control>,
) {
    let mut caller = H1Caller {
        stream,
        input,
        decoder: Decoder::new(Framing::None),
        out: Vec::new(),
        continue_left: 0,
        http11: true,
        keep_alive: true,
        streamed: false,
        until_close: false,
        reset: false,
        chunk_at: None,
    };
    let mut head = RequestHead::default();
    let mut bytes = Vec::with_capacity(1024);
    loop {
        let began = match read_head(worker, &control, &mut caller, &mut head).await {
            Ok(began) => began,
            Err(None) => return,
            Err(Some(reason)) => {
                caller.close_after();
                pipeline::refuse_unread(worker, &control, &mut caller, source.ip(), reason).await;
                return linger(&control, &mut caller, worker).await;
            }
        };
        bytes.clear();
        bytes.extend_from_slice(&caller.input.filled()[..head.len]);
        caller.input.consume(head.len);
        caller.decoder = Decoder::new(head.framing);
        caller.http11 = head.http11;
        caller.continue_left = if head.expects_continue && caller.input.is_empty() { CONTINUE.len() } else { 0 };
        caller.keep_alive =
            !head.connection.close && (head.http11 || head.connection.keep_alive) && !worker.draining.get();
        let inbound = Inbound { bytes: &bytes, head: &head, source: source.ip(), secure, began };
        let upgraded = pipeline::serve(worker, &control, inbound, &mut caller).await;
        if upgraded {
            return;
        }
        if caller.reset {
            return caller.stream.reset_on_close();
        }
        if !caller.keep_alive || !caller.decoder.is_done() || worker.draining.get() {
            return linger(&control, &mut caller, worker).await;
        }
    }
}

/// Reads until a head is complete. `Err(None)`: the connection ended between requests.
async fn read_head(
    worker: &Worker,
    control: &Control,
    caller: &mut H1Caller,
    head: &mut RequestHead,
) -> Result<Instant, Option<OutcomeReason>> {
    let settings = &worker.shared.settings;
    let mut skipped = false;
    loop {
        // One empty line before a request is ignored (RFC 9112, 2.2): some callers end bodies with one.
        if !skipped && caller.input.filled().starts_with(b"\r\n") {
            caller.input.consume(2);
            skipped = true;
        }
        if !caller.input.is_empty() {
            break;
        }
        wait_idle(worker, control, caller).await.ok_or(None)?;
    }
    let began = Instant::now();
    let mut scanned = 0;
    let mut waiting = false;
    loop {
        match parse_request(caller.input.filled(), scanned, &settings.head, head) {
            Ok(Parsed::Complete) => {
                if waiting {
                    control.clear_deadline();
                }
                return Ok(began);
            }
            Ok(Parsed::Partial) => {}
            Err(reason) => return Err(Some(reason)),
        }
        scanned = caller.input.filled().len();
        if !waiting {
            control.set_deadline(worker.tick_in(settings.head_timeout));
            waiting = true;
        }
        match control.wait(caller.stream.fill(&mut caller.input)).await {
            Ok(Ok(n)) if n > 0 => {}
            Ok(_) => return Err(None),
            Err(Interrupt::Deadline) => return Err(Some(OutcomeReason::RequestTimeout)),
            Err(_) => return Err(None),
        }
    }
}

/// Waits for the first bytes of the next request, holding no buffer meanwhile.
async fn wait_idle(worker: &Worker, control: &Control, caller: &mut H1Caller) -> Option<()> {
    control.set_idle(true);
    control.set_deadline(worker.tick_in(worker.shared.settings.keep_alive));
    if caller.input.has_memory() {
        worker.give_buffer(caller.input.release());
    }
    let readable = control.wait(caller.stream.readable()).await;
    caller.input.adopt(worker.take_buffer());
    let filled = match readable {
        Ok(Ok(())) => control.wait(caller.stream.fill(&mut caller.input)).await,
        Ok(Err(_)) => return None,
        Err(interrupt) => Err(interrupt),
    };
    control.set_idle(false);
    let filled = match filled {
        // A request may have arrived in this very moment; it is still served.
        Err(Interrupt::Drained) => caller.stream.fill_now(&mut caller.input),
        Err(_) => return None,
        Ok(filled) => filled,
    };
    filled.ok().filter(|n| *n > 0).map(|_| ())
}

/// Closes so that the caller can still read the answer: first our side, then, after reading away
/// what it had already sent, the rest. Closing at once would reset the connection.
async fn linger(control: &Control, caller: &mut H1Caller, worker: &Worker) {
    control.set_deadline(worker.tick_in(std::time::Duration::from_secs(1)));
    let farewell = async {
        let _ = std::future::poll_fn(|cx| Pin::new(&mut caller.stream).poll_shutdown(cx)).await;
        loop {
            let n = caller.input.filled().len();
            caller.input.consume(n);
            if !matches!(caller.stream.fill(&mut caller.input).await, Ok(n) if n > 0) {
                return;
            }
        }
    };
    let _ = control.wait(farewell).await;
}

struct H1Caller {
    stream: Stream,
    input: Buffer,
    decoder: Decoder,
    out: Vec<u8>,
    /// Bytes of `100 Continue` still to be written before the body is read.
    continue_left: usize,
    http11: bool,
    keep_alive: bool,
    streamed: bool,
    /// Whether closing the connection is what ends the answer.
    until_close: bool,
    /// Whether the connection is to be reset instead of closed.
    reset: bool,
    /// Where in `out` the open chunk begins.
    chunk_at: Option<usize>,
}

impl H1Caller {
    fn close_chunk(&mut self) {
        if let Some(at) = self.chunk_at.take() {
            // Eight digits always fit: flushing happens long before four GiB.
            let len = self.out.len() - at - CHUNK_HEADER.len();
            for (i, digit) in self.out[at..at + 8].iter_mut().enumerate() {
                *digit = b"0123456789abcdef"[len >> (28 - 4 * i) & 15];
            }
            self.out.extend_from_slice(b"\r\n");
        }
    }
}

impl Caller for H1Caller {
    fn poll_body(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>, most: usize) -> Poll<Result<Received, BodyError>> {
        while self.continue_left > 0 {
            let rest = &CONTINUE[CONTINUE.len() - self.continue_left..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(n) if n > 0 => self.continue_left -= n,
                _ => return Poll::Ready(Err(BodyError::Gone)),
            }
        }
        let before = out.len();
        loop {
            while !self.input.is_empty() && !self.decoder.is_done() && out.len() - before < most {
                let step = self.decoder.step(self.input.filled()).map_err(|_| BodyError::Malformed)?;
                out.extend_from_slice(&self.input.filled()[step.payload]);
                self.input.consume(step.consumed);
            }
            if out.len() > before {
                return Poll::Ready(Ok(Received::Data));
            }
            if self.decoder.is_done() {
                return Poll::Ready(Ok(Received::End));
            }
            match ready!(self.stream.poll_fill(cx, &mut self.input)) {
                Ok(n) if n > 0 => {}
                _ => return Poll::Ready(Err(BodyError::Gone)),
            }
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.input.filled().len() >= READ_AHEAD {
            return Poll::Pending;
        }
        match self.stream.poll_fill_seldom(cx, &mut self.input) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(n)) if n > 0 => {
                // A pipelined request; wait for more of it until the read ahead is full.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(()),
        }
    }

    fn settle(&mut self) {
        while !self.input.is_empty() && !self.decoder.is_done() {
            match self.decoder.step(self.input.filled()) {
                Ok(step) => self.input.consume(step.consumed),
                Err(_) => break,
            }
        }
        self.keep_alive &= self.decoder.is_done();
    }

    fn begin(&mut self, status: u16, fields: &[u8], framing: AnswerFraming) {
        let out = &mut self.out;
        out.clear();
        if (1..CONTINUE.len()).contains(&self.continue_left) {
            out.extend_from_slice(&CONTINUE[CONTINUE.len() - self.continue_left..]);
        }
        self.continue_left = 0;
        out.extend_from_slice(b"HTTP/1.1 ");
        push_status(out, status);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(fields);
        self.streamed = false;
        match framing {
            AnswerFraming::Empty => {}
            AnswerFraming::Length(n) | AnswerFraming::Described(n) => {
                out.extend_from_slice(b"content-length: ");
                push_decimal(out, n);
                out.extend_from_slice(b"\r\n");
            }
            AnswerFraming::Streamed if self.http11 => {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                self.streamed = true;
            }
            AnswerFraming::Streamed => {
                self.keep_alive = false;
                self.until_close = true;
            }
        }
        if status != 101 {
            if !self.keep_alive {
                out.extend_from_slice(b"connection: close\r\n");
            } else if !self.http11 {
                out.extend_from_slice(b"connection: keep-alive\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn payload(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.streamed && self.chunk_at.is_none() {
            self.chunk_at = Some(self.out.len());
            self.out.extend_from_slice(CHUNK_HEADER);
        }
        self.out.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        self.close_chunk();
        if self.streamed {
            self.out.extend_from_slice(LAST_CHUNK);
        }
    }

    async fn flush(&mut self) -> Result<(), AnswerError> {
        self.close_chunk();
        let sent = self.stream.write_all(&self.out).await;
        self.out.clear();
        if self.out.capacity() > 256 * 1024 {
            self.out = Vec::new();
        }
        sent.map_err(|_| AnswerError::Gone)
    }

    fn close_after(&mut self) {
        self.keep_alive = false;
    }

    fn abort(&mut self) {
        self.keep_alive = false;
        self.out.clear();
        self.chunk_at = None;
        // Where closing is the regular end, only a reset can tell.
        self.reset |= self.until_close;
    }

    fn upgraded(&mut self) -> Option<(&mut Stream, &mut Buffer)> {
        Some((&mut self.stream, &mut self.input))
    }
}

fn push_status(out: &mut Vec<u8>, status: u16) {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Unknown");
    push_decimal(out, status);
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
}
