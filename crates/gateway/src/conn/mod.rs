//! Connections of callers: HTTP/1.1 on our own relay, HTTP/2 on hyper, one pipeline behind both.

mod caller;
mod h1;
mod h2;

pub(crate) use caller::{AnswerError, AnswerFraming, BodyError, Caller, Received};

use crate::{
    net::{buffer::Buffer, stream::Stream},
    worker::Worker,
};
use std::{net::SocketAddr, rc::Rc, sync::atomic::Ordering::Relaxed};
use tokio::net::TcpStream;

/// Starts serving a connection.
pub(crate) fn start(worker: &Rc<Worker>, tcp: TcpStream, source: SocketAddr, tls: Option<tokio_rustls::TlsAcceptor>) {
    let gauges = worker.gauges.clone();
    if gauges.connections.load(Relaxed) >= worker.shared.settings.max_connections as u64 {
        gauges.refused_connections.fetch_add(1, Relaxed);
        return;
    }
    gauges.connections.fetch_add(1, Relaxed);
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        let _counted = Counted(&worker);
        serve(&worker, tcp, source, tls).await;
    });
}

struct Counted<'a>(&'a Worker);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.gauges.connections.fetch_sub(1, Relaxed);
    }
}

/// The first bytes of an HTTP/2 connection (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn serve(worker: &Rc<Worker>, tcp: TcpStream, source: SocketAddr, tls: Option<tokio_rustls::TlsAcceptor>) {
    let _ = tcp.set_nodelay(true);
    let control = worker.controls.register();
    control.set_deadline(worker.tick_in(worker.shared.settings.head_timeout));
    let (mut stream, secure) = match tls {
        None => (Stream::Plain(tcp), false),
        Some(acceptor) => match control.wait(acceptor.accept(tcp)).await {
            Ok(Ok(stream)) => (Stream::TlsServer(Box::new(stream)), true),
            // A failed or slow handshake: nothing to answer, nobody to answer to.
            _ => return,
        },
    };
    if let Stream::TlsServer(s) = &stream
        && s.get_ref().1.alpn_protocol() == Some(b"h2")
    {
        control.clear_deadline();
        return h2::serve(worker, stream, Buffer::default(), source, secure, control).await;
    }
    let mut buffer = Buffer::default();
    loop {
        let seen = buffer.filled();
        if seen.len() >= PREFACE.len() || !PREFACE.starts_with(seen) {
            break;
        }
        // A connection that sends nothing holds no buffer.
        if !matches!(control.wait(stream.readable()).await, Ok(Ok(()))) {
            return;
        }
        match control.wait(stream.fill(&mut buffer)).await {
            Ok(Ok(n)) if n > 0 => {}
            _ => return,
        }
    }
    control.clear_deadline();
    if buffer.filled().starts_with(PREFACE) {
        h2::serve(worker, stream, buffer, source, secure, control).await;
    } else {
        h1::serve(worker, stream, buffer, source, secure, control).await;
    }
}
