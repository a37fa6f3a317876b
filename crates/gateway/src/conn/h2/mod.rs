//! A caller's HTTP/2 connection: hyper speaks the protocol, each request is put into the form of an
//! HTTP/1.1 head, so that the same guard and the same pipeline serve it.

mod caller;
mod prefixed;
mod translate;
mod windows;

use crate::{
    http1::head::{Framing, Parsed, RequestHead, parse_request},
    net::{
        buffer::Buffer,
        control::{Control, Interrupt},
        stream::Stream,
    },
    pipeline::{self, Inbound},
    worker::Worker,
};
use caller::{AbortOnDrop, AnswerBody, H2Caller};
use credentialflow_model::OutcomeReason;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use prefixed::Prefixed;
use std::{
    cell::Cell,
    convert::Infallible,
    future::Future,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};
use translate::as_http1;
use windows::Windows;

/// Pieces of an answer waiting for the caller; the upstream is not read while they are full.
const QUEUE: usize = 4;
/// Requests one connection may have running.
const MAX_STREAMS: u32 = 256;
/// What hyper may have of one answer beyond what the caller's window takes.
const SEND_BUFFER: usize = 128 * 1024;
/// What a running request holds besides its head and bodies: above all the read buffer towards the upstream.
const STREAM: u64 = 32 * 1024;
/// What an idle connection has left once it was told to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
    let asked = Rc::new(Cell::new(false));
    let service = {
        let asked = asked.clone();
        let connection = Rc::new(Connection {
            worker: worker.clone(),
            running: running.clone(),
            windows: Windows::new(&worker.budget),
            source: source.ip(),
            secure,
        });
        hyper::service::service_fn(move |request| {
            asked.set(true);
            answer(connection.clone(), request)
        })
    };
    let mut builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(windows::STREAM)
        .initial_connection_window_size(windows::CONNECTION)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(settings.head.bytes as u32)
        .max_pending_accept_reset_streams(32)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    let io = TokioIo::new(Prefixed { stream, input });
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let mut quiet_since = Instant::now();
    // When the connection was told to end.
    let mut ending: Option<Instant> = None;
    let look = LAST_WORDS.min(settings.head_timeout);
    loop {
        control.set_idle(running.get() == 0);
        control.set_deadline(worker.tick_in(look));
        match control.wait(connection.as_mut()).await {
            Ok(_) => return,
            Err(Interrupt::Deadline) => {
                // Who has never asked for anything gets as long as for a head of HTTP/1.1.
                let patience = if asked.get() { settings.keep_alive } else { settings.head_timeout };
                if running.get() > 0 {
                    quiet_since = Instant::now();
                    ending = ending.map(|_| quiet_since);
                } else if ending.is_some_and(|since| since.elapsed() >= LAST_WORDS) {
                    // Not left to the peer: hyper ends only once the whole preface has come.
                    return;
                } else if ending.is_none() && quiet_since.elapsed() >= patience {
                    connection.as_mut().graceful_shutdown();
                    ending = Some(Instant::now());
                }
                if worker.draining.get() {
                    connection.as_mut().graceful_shutdown();
                }
            }
            Err(Interrupt::Drained) if running.get() == 0 => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(LAST_WORDS, connection.as_mut()).await;
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

/// What the requests of one connection share.
struct Connection {
    worker: Rc<Worker>,
    running: Rc<Cell<usize>>,
    windows: Rc<Windows>,
    source: IpAddr,
    secure: bool,
}

/// Starts the pipeline for one request and answers as soon as it has a head.
async fn answer(connection: Rc<Connection>, request: Request<Incoming>) -> Result<Response<AnswerBody>, Infallible> {
    let began = Instant::now();
    let (head_sender, head) = oneshot::channel();
    let (sender, receiver) = mpsc::channel(QUEUE);
    let cut = Rc::new(Cell::new(false));
    let cutting = cut.clone();
    let task = tokio::task::spawn_local(async move {
        let Connection { worker, running, windows, source, secure } = &*connection;
        running.set(running.get() + 1);
        let _running = Running(running);
        let admitted = worker.budget.take(holds(&request)).and_then(|held| Ok((held, windows.begin(request.body())?)));
        let (parts, incoming) = request.into_parts();
        let bytes = if admitted.is_ok() { as_http1(&parts, &incoming) } else { Err(OutcomeReason::Overloaded) };
        drop(parts);
        let (_held, unread) = admitted.ok().unzip();
        let mut caller = H2Caller::new(incoming, unread, head_sender, sender, cutting, worker.budget.clone());
        let control = worker.controls.register();
        let mut head = RequestHead::default();
        match bytes.and_then(|b| match parse_request(&b, 0, &worker.shared.settings.head, &mut head) {
            Ok(Parsed::Complete) => Ok(b),
            Ok(Parsed::Partial) => Err(OutcomeReason::MalformedRequest),
            Err(reason) => Err(reason),
        }) {
            Ok(bytes) => {
                if head.framing == Framing::None && !caller.body_ended() {
                    head.framing = Framing::Chunked;
                }
                let inbound = Inbound { bytes: &bytes, head: &head, source: *source, secure: *secure, began };
                pipeline::serve(worker, &control, inbound, &mut caller).await;
            }
            Err(reason) => pipeline::refuse_unread(worker, &control, &mut caller, *source, reason).await,
        }
    });
    let abort = AbortOnDrop(task.abort_handle());
    match head.await {
        Ok((parts, length)) => {
            let body = AnswerBody::new(receiver, length, cut, abort);
            let mut response = Response::new(body);
            *response.status_mut() = parts.0;
            *response.headers_mut() = parts.1;
            Ok(response)
        }
        // The pipeline ended without an answer: the caller is gone, or an abort is all it can be told.
        Err(_) => Ok(Response::builder()
            .status(500)
            .body(AnswerBody::new(receiver, None, cut, abort))
            .unwrap_or_else(|_| unreachable!("a status alone is a valid response"))),
    }
}

/// What a request may hold while it runs, apart from its body, which counts with its connection's.
fn holds(request: &Request<Incoming>) -> u64 {
    let head: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    STREAM + head as u64
}

struct Running<'a>(&'a Cell<usize>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
