//! The control listener: console, admin API, probes and metrics.
//!
//! What its clients can hold is bounded: the number of connections by a setting, each wait for a client
//! by a time. A connection beyond the number is closed at once.

mod pace;

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    response::{IntoResponse, Response},
};
use credentialflow_console as console;
use http::{HeaderValue, Method, StatusCode, header};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use pace::{CountedBody, PacedBody, PacedStream, Running};
use serde_json::json;
use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::ServiceExt;

/// What clients may take their time for, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Until a connection's first byte, its TLS handshake, or the end of a request's head.
    pub head: Duration,
    /// Between two pieces of a request's body.
    pub body_pause: Duration,
    /// For a whole body.
    pub body: Duration,
    /// While a client takes nothing of its answer.
    pub stall: Duration,
    /// While a connection has no request running.
    pub idle: Duration,
}

impl Limits {
    /// The usual times.
    pub fn new(connections: usize) -> Self {
        Self {
            connections,
            head: Duration::from_secs(15),
            body_pause: Duration::from_secs(15),
            body: Duration::from_secs(300),
            stall: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        }
    }
}

/// A full listener says so no more often than this.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// What one connection may send of its requests' bodies before they are read.
const WINDOW: u32 = 256 * 1024;

/// Adds the console's pages to the admin API.
pub(super) fn with_console(api: Router) -> Router {
    api.fallback(page)
}

async fn page(request: Request) -> Response {
    if let Some(refusal) = refused_api(request.uri().path()) {
        return refusal;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let Some(asset) = console::resolve(request.uri().path()) else { return StatusCode::NOT_FOUND.into_response() };
    let headers = request.headers();
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == asset.etag.as_bytes());
    let gzip = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("gzip"));
    let mut response = match (known, asset.gzip.clone().filter(|_| gzip)) {
        (true, _) => StatusCode::NOT_MODIFIED.into_response(),
        (false, Some(bytes)) => ([(header::CONTENT_ENCODING, "gzip")], bytes.into_owned()).into_response(),
        (false, None) => asset.bytes.clone().into_owned().into_response(),
    };
    let fields = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, asset.cache_control()),
        (header::ETAG, &asset.etag),
        (header::VARY, "accept-encoding"),
        (header::CONTENT_SECURITY_POLICY, console::CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            fields.insert(name, value);
        }
    }
    response
}

/// Where nobody serves an API, a client that speaks it is told so in its own words: a page with status 200
/// would be taken for an answer. None of the console's own addresses begins so.
fn refused_api(path: &str) -> Option<Response> {
    let first = path.split('/').find(|segment| !segment.is_empty())?;
    let version = first.strip_prefix('v').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let (kind, body) = match first {
        "api" => (
            "application/problem+json",
            json!({
                "type": "about:blank", "title": "There is no such thing", "status": 404, "code": "not_found",
                "detail": "there is no such path", "hint": "GET /api/v1/openapi.json lists every path",
            }),
        ),
        _ if version || first == "vault" => (
            "application/json",
            json!({ "errors": ["nothing is served at this path; the Vault-compatible API is at /vault/v1 of this listener \
                                where the server runs with --vault-api, and at /v1 of its own where it runs with --vault"] }),
        ),
        _ => return None,
    };
    let fields = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Some((StatusCode::NOT_FOUND, fields, body.to_string()).into_response())
}

/// Serves until `stop` resolves, then lets running requests finish.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let acceptor = tls.map(tokio_rustls::TlsAcceptor::from);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut told: Option<Instant> = None;
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match (accepted, places.clone().try_acquire_owned()) {
                (Ok((stream, source)), Ok(place)) => {
                    let (router, acceptor) = (router.clone(), acceptor.clone());
                    let watcher = graceful.watcher();
                    tokio::spawn(connection(stream, source, acceptor, router, watcher, limits, place));
                }
                (Ok((stream, source)), Err(_)) => {
                    drop(stream);
                    if told.is_none_or(|at| at.elapsed() > TELL_AGAIN) {
                        told = Some(Instant::now());
                        let most = limits.connections;
                        tracing::warn!(%source, most, "the control listener has no place for another connection");
                    }
                }
                (Err(_), _) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(Duration::from_secs(10), graceful.shutdown()).await;
}

async fn connection(
    stream: TcpStream,
    source: SocketAddr,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    router: Router,
    watcher: Watcher,
    limits: Limits,
    _place: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    // Until its first byte the server below knows no protocol and so no time limit.
    if tokio::time::timeout(limits.head, stream.readable()).await.is_err() {
        return;
    }
    match acceptor {
        None => requests(stream, source, router, watcher, limits).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(limits.head, acceptor.accept(stream)).await {
                requests(stream, source, router, watcher, limits).await;
            }
        }
    }
}

async fn requests<S>(stream: S, source: SocketAddr, router: Router, watcher: Watcher, limits: Limits)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let running = Running::default();
    let counting = running.clone();
    let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        let one = counting.one();
        request.extensions_mut().insert(ConnectInfo(source));
        let request = request.map(|body| axum::body::Body::new(PacedBody::new(body, limits.body_pause, limits.body)));
        let answer = router.clone().oneshot(request);
        async move { answer.await.map(|a| a.map(|inner| CountedBody { inner, _running: one })) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(32 * 1024)
        .max_pending_accept_reset_streams(32);
    let stream = TokioIo::new(PacedStream::new(stream, limits.stall, running.clone()));
    let connection = builder.serve_connection_with_upgrades(stream, service).into_owned();
    tokio::select! {
        _ = watcher.watch(connection) => {}
        () = running.idle(limits.idle) => {}
    }
}

#[cfg(test)]
mod tests;
