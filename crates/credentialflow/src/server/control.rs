//! The control listener: console, admin API, probes and metrics.

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    response::{IntoResponse, Response},
};
use credentialflow_console as console;
use http::{HeaderValue, Method, StatusCode, header};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

/// A connection that has not said anything for this long is closed.
const FIRST_BYTE: Duration = Duration::from_secs(15);

/// Adds the console's pages to the admin API.
pub(super) fn with_console(api: Router) -> Router {
    api.fallback(page)
}

async fn page(request: Request) -> Response {
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

/// Serves until `stop` resolves, then lets running requests finish.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let acceptor = tls.map(tokio_rustls::TlsAcceptor::from);
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, source)) => {
                    let (router, acceptor) = (router.clone(), acceptor.clone());
                    tokio::spawn(connection(stream, source, acceptor, router, graceful.watcher()));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
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
    watcher: hyper_util::server::graceful::Watcher,
) {
    let _ = stream.set_nodelay(true);
    // Until its first byte the server below knows no protocol and so no time limit.
    if tokio::time::timeout(FIRST_BYTE, stream.readable()).await.is_err() {
        return;
    }
    let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(source));
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(15));
    builder.http2().timer(TokioTimer::new());
    match acceptor {
        None => {
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
            let _ = watcher.watch(connection).await;
        }
        Some(acceptor) => {
            let handshake = tokio::time::timeout(Duration::from_secs(15), acceptor.accept(stream)).await;
            if let Ok(Ok(stream)) = handshake {
                let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
                let _ = watcher.watch(connection).await;
            }
        }
    }
}
