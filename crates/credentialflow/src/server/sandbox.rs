//! The built-in sandbox on a loopback socket of its own, so that trying Credentialflow takes the same
//! path as using it.

use bytes::Bytes;
use credentialflow_llm::sandbox::{self, SandboxRequest};
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::SystemTime,
};
use tokio::{net::TcpListener, sync::mpsc};

/// Largest request body it reads.
const MAX_BODY: usize = 32 << 20;

/// Runs once something points to it.
#[derive(Default)]
pub(super) struct Sandbox(Mutex<Option<String>>);

impl Sandbox {
    /// Where it listens, if it runs.
    pub fn address(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts it unless it runs, and gives its address.
    pub async fn start(&self) -> anyhow::Result<String> {
        if let Some(address) = self.address() {
            return Ok(address);
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(address.clone());
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(serve(stream))),
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                }
            }
        });
        Ok(address)
    }
}

async fn serve(stream: tokio::net::TcpStream) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(answer);
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Pieces>, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await.map(http_body_util::Collected::to_bytes) else {
        return Ok(Response::builder().status(413).body(Pieces::none()).unwrap_or_default());
    };
    let headers: Vec<(&str, &[u8])> = parts.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    let answer = sandbox::answer(&SandboxRequest {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &headers,
        body: &body,
        now: SystemTime::now().into(),
        expects: None,
    });
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, &**value);
    }
    let length = (!answer.streamed).then(|| answer.body_len() as u64);
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        for piece in answer.pieces {
            if !piece.delay.is_zero() {
                tokio::time::sleep(piece.delay).await;
            }
            if sender.send(piece.bytes).await.is_err() {
                return;
            }
        }
    });
    Ok(response.body(Pieces { receiver, length }).unwrap_or_default())
}

/// The pieces of an answer, as they become due.
struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    length: Option<u64>,
}

impl Pieces {
    fn none() -> Self {
        Self { receiver: mpsc::channel(1).1, length: Some(0) }
    }
}

impl Default for Pieces {
    fn default() -> Self {
        Self::none()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.receiver.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
