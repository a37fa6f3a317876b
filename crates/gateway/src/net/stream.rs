//! A byte stream with or without TLS.

use super::{buffer::Buffer, idle::something_came};
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A connection to a caller or an upstream.
pub enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS, we are the server.
    TlsServer(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// TLS, we are the client.
    TlsClient(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

macro_rules! each {
    ($self:expr, $s:ident => $e:expr) => {
        match $self.get_mut() {
            Self::Plain($s) => $e,
            Self::TlsServer($s) => $e,
            Self::TlsClient($s) => $e,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, s => Pin::new(s).poll_write(cx, buf))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => Pin::new(s).poll_shutdown(cx))
    }
}

impl Stream {
    /// Reads more into `buffer`; 0 means the other side has closed.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(buffer.room());
        ready!(Pin::new(self).poll_read(cx, &mut room))?;
        something_came();
        let n = room.filled().len();
        buffer.filled_more(n);
        Poll::Ready(Ok(n))
    }

    /// As [`Self::poll_fill`], for one that hardly ever has anything: a wait costs less, and holds no buffer.
    pub fn poll_fill_seldom(&mut self, cx: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        if let Self::Plain(stream) = self {
            ready!(stream.poll_read_ready(cx))?;
        }
        self.poll_fill(cx, buffer)
    }

    /// Reads more into `buffer`; 0 means the other side has closed.
    pub async fn fill(&mut self, buffer: &mut Buffer) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx, buffer)).await
    }

    /// Reads what the kernel already has; 0 when there is nothing.
    pub fn fill_now(&mut self, buffer: &mut Buffer) -> io::Result<usize> {
        match self.poll_fill(&mut Context::from_waker(std::task::Waker::noop()), buffer) {
            Poll::Ready(read) => read,
            Poll::Pending => Ok(0),
        }
    }

    /// Writes everything and flushes.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = poll_fn(|cx| Pin::new(&mut *self).poll_write(cx, bytes)).await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[n..];
        }
        self.flush().await
    }

    /// Flushes; free for plain connections.
    pub async fn flush(&mut self) -> io::Result<()> {
        if matches!(self, Self::Plain(_)) {
            return Ok(());
        }
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    /// The TCP connection below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(s) => s,
            Self::TlsServer(s) => s.get_ref().0,
            Self::TlsClient(s) => s.get_ref().0,
        }
    }

    /// Waits until there is something to read, holding no buffer meanwhile.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            // The one reader of the connection: no list of waiters is needed.
            Self::Plain(s) => poll_fn(|cx| s.poll_read_ready(cx)).await,
            // TLS may hold decrypted bytes already; let the read decide.
            Self::TlsServer(_) | Self::TlsClient(_) => Ok(()),
        }
    }

    /// As [`Self::is_stale`], but asks the kernel only when the runtime has heard that something
    /// happened on the connection: free where nothing did.
    pub fn is_known_stale(&self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.tcp().poll_read_ready(&mut cx).is_ready() && self.is_stale()
    }

    /// Makes closing reset the connection, so that the other side cannot take the end for a regular one.
    pub fn reset_on_close(&self) {
        let _ = socket2::SockRef::from(self.tcp()).set_linger(Some(std::time::Duration::ZERO));
    }

    /// Whether the other side of an idle connection has closed it or sent something unasked. Asks
    /// the kernel, as the runtime may not have heard of it yet.
    pub fn is_stale(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit(); 1];
        match socket2::SockRef::from(self.tcp()).peek(&mut byte) {
            Err(e) => e.kind() != io::ErrorKind::WouldBlock,
            Ok(_) => true,
        }
    }
}
