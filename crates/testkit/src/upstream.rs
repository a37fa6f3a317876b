//! A fake upstream: plain TCP on a free loopback port, every byte of its answers in the test's hands.
//!
//! It speaks no HTTP of its own and corrects nothing, so it can lie, stall and break off as real ones do.

use crate::wire::{Message, Wire};
use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What an upstream has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub accepted: usize,
    /// Connections open now.
    pub open: usize,
    /// Requests whose head came in.
    pub requests: usize,
}

/// A running fake upstream; it ends when dropped.
pub struct FakeUpstream {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Message>>>,
    counts: watch::Receiver<Counts>,
    task: JoinHandle<()>,
}

/// One connection as the upstream sees it.
pub struct Peer {
    /// To read and write with.
    pub wire: Wire,
    /// The how manieth connection this is, from 0.
    pub number: usize,
    seen: Arc<Mutex<Vec<Message>>>,
    counts: Arc<watch::Sender<Counts>>,
}

impl Peer {
    /// The next request's head; `None` when the connection ends.
    pub async fn head(&mut self) -> Option<Message> {
        let head = self.wire.head().await?;
        lock(&self.seen).push(head.clone());
        self.counts.send_modify(|c| c.requests += 1);
        Some(head)
    }

    /// The next request with its body; `None` when the connection ends.
    pub async fn request(&mut self) -> Option<Message> {
        let mut message = self.head().await?;
        let at = lock(&self.seen).len() - 1;
        self.wire.body(&mut message).await;
        if let Some(kept) = lock(&self.seen).get_mut(at) {
            *kept = message.clone();
        }
        Some(message)
    }

    /// Sends these bytes; a connection that is gone is the test's to notice elsewhere.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.wire.send(bytes).await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.counts.send_modify(|c| c.open -= 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeUpstream {
    /// Serves each connection with `serve`.
    pub async fn start<F, S>(serve: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(Peer) -> F + Send + Sync + 'static,
    {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), serve).await
    }

    /// As [`Self::start`], on an address used before; for restarts.
    ///
    /// # Panics
    /// When the address cannot be had.
    #[expect(clippy::expect_used, reason = "a test without its upstream has failed")]
    pub async fn start_at<F, S>(address: SocketAddr, serve: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(Peer) -> F + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(address).await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (sender, counts) = watch::channel(Counts::default());
        let sender = Arc::new(sender);
        let kept = seen.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let number = sender.borrow().accepted;
                sender.send_modify(|c| {
                    c.accepted += 1;
                    c.open += 1;
                });
                let peer = Peer { wire: Wire::new(stream), number, seen: kept.clone(), counts: sender.clone() };
                connections.spawn(serve(peer));
            }
        });
        Self { address, seen, counts, task }
    }

    /// Answers every request with these bytes and keeps connections open.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<Vec<u8>> = Arc::new(answer.into());
        Self::start(move |mut peer| {
            let answer = answer.clone();
            async move {
                while peer.request().await.is_some() {
                    peer.send(&*answer).await;
                }
            }
        })
        .await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request seen.
    pub fn requests(&self) -> Vec<Message> {
        lock(&self.seen).clone()
    }

    /// The last request seen.
    ///
    /// # Panics
    /// When there was none.
    #[expect(clippy::expect_used, reason = "a test that asks for it expects one")]
    pub fn last(&self) -> Message {
        lock(&self.seen).last().cloned().expect("the upstream saw a request")
    }

    /// Connections and requests so far.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts are as wanted.
    pub async fn until(&self, wanted: impl FnMut(&Counts) -> bool) {
        let _ = self.counts.clone().wait_for(wanted).await;
    }

    /// Stops listening and breaks every connection off.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects to a server under test.
///
/// # Errors
/// When nothing listens there.
pub async fn connect(address: SocketAddr) -> std::io::Result<Wire> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Wire::new(stream))
}
