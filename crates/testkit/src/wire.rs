//! One end of an HTTP/1.1 connection in a test's hands: it sends exactly the bytes it is told to and
//! takes messages apart on its own, so that a mistake in the product's parser cannot hide itself.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Any byte stream.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// One end of a connection.
pub struct Wire {
    io: Box<dyn Io>,
    buffer: Vec<u8>,
}

/// A request or an answer.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The first line.
    pub first: String,
    /// Fields in order, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The head as it came.
    pub head: Vec<u8>,
    /// The body, framing removed.
    pub body: Vec<u8>,
    /// Whether head and body came to their announced end.
    pub complete: bool,
    /// The sizes of the chunks, if it came in chunks.
    pub chunks: Vec<usize>,
}

impl Message {
    /// The status of an answer; 0 for anything else.
    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
    }
    /// The method of a request.
    pub fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }
    /// The target of a request.
    pub fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }
    /// The first field of this lower-case name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// How many fields have this lower-case name.
    pub fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(n, _)| n == name).count()
    }
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// Head and body together, to search in.
    pub fn everything(&self) -> Vec<u8> {
        [self.head.as_slice(), &self.body].concat()
    }
}

impl Wire {
    /// Over this stream.
    pub fn new(io: impl Io + 'static) -> Self {
        Self { io: Box::new(io), buffer: Vec::new() }
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.io.write_all(bytes.as_ref()).await?;
        self.io.flush().await
    }

    /// Ends this side; the other may go on.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }

    /// Waits for more bytes; 0 at the end.
    pub async fn fill(&mut self) -> io::Result<usize> {
        let mut piece = vec![0; 64 * 1024];
        let n = self.io.read(&mut piece).await?;
        self.buffer.extend_from_slice(&piece[..n]);
        Ok(n)
    }

    /// What came and was not taken yet.
    pub fn pending(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether the other side ends the connection, in whatever way, without another byte.
    pub async fn ended(&mut self) -> bool {
        self.buffer.is_empty() && !matches!(self.fill().await, Ok(n) if n > 0)
    }

    /// Waits for the end of the connection and counts the bytes before it. The error is how it ended, if badly.
    pub async fn drain(&mut self) -> (usize, Option<io::ErrorKind>) {
        let mut total = self.buffer.len();
        loop {
            self.buffer.clear();
            match self.fill().await {
                Ok(0) => return (total, None),
                Ok(n) => total += n,
                Err(e) => return (total, Some(e.kind())),
            }
        }
    }

    /// The next head, its body not read; `None` when the connection ends first.
    pub async fn head(&mut self) -> Option<Message> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..at + 4).collect();
                let text = String::from_utf8_lossy(&head).into_owned();
                let mut lines = text.trim_end_matches("\r\n").split("\r\n");
                let first = lines.next().unwrap_or_default().to_owned();
                let fields = lines
                    .filter_map(|l| l.split_once(':'))
                    .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
                    .collect();
                return Some(Message { first, fields, head, ..Message::default() });
            }
            if !matches!(self.fill().await, Ok(n) if n > 0) {
                return None;
            }
        }
    }

    /// The body that belongs to a head.
    pub async fn body(&mut self, message: &mut Message) {
        if message.field("transfer-encoding").is_some() {
            while let Some(line) = self.line().await {
                let Ok(size) = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16) else { return };
                if size == 0 {
                    // Trailers, then an empty line.
                    while self.line().await.is_some_and(|l| !l.is_empty()) {}
                    message.complete = true;
                    return;
                }
                message.chunks.push(size);
                let whole = self.take(size, &mut message.body).await;
                if !whole || self.line().await.is_none() {
                    return;
                }
            }
        } else if let Some(length) = message.field("content-length").and_then(|l| l.parse().ok()) {
            message.complete = self.take(length, &mut message.body).await;
        } else if message.status() > 0 {
            loop {
                message.body.append(&mut self.buffer);
                match self.fill().await {
                    Ok(0) => break message.complete = true,
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        } else {
            message.complete = true;
        }
    }

    /// The next message, whole.
    pub async fn message(&mut self) -> Option<Message> {
        let mut message = self.head().await?;
        self.body(&mut message).await;
        Some(message)
    }

    /// Takes `n` bytes; false when the connection ends before.
    pub async fn take(&mut self, n: usize, into: &mut Vec<u8>) -> bool {
        let mut left = n;
        loop {
            let now = left.min(self.buffer.len());
            into.extend(self.buffer.drain(..now));
            left -= now;
            if left == 0 {
                return true;
            }
            if !matches!(self.fill().await, Ok(n) if n > 0) {
                return false;
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !matches!(self.fill().await, Ok(n) if n > 0) {
                return None;
            }
        }
    }
}

/// Where `needle` first stands in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len().max(1)).position(|w| w == needle)
}
