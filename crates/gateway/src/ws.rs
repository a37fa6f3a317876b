//! WebSocket messages (RFC 6455): taken out of their frames, and put into frames again. Bytes in, bytes out.
//!
//! Strict: what could be read in two ways, or costs more than it says, is [`Broken`] and the connection with it. Nothing is
//! compressed here, as the gateway does not let that be agreed on, so a frame with reserved bits is broken too. A message
//! that came in fragments leaves in one frame.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine, prelude::BASE64_STANDARD};

/// Payload of a control frame at most (RFC 6455, 5.5).
pub const LONGEST_CONTROL: usize = 125;
/// Fragments of a message at most; more small ones are sent only to cost something.
const MOST_FRAGMENTS: u32 = 4096;

/// Who sends the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A client, which masks all it sends.
    Client,
    /// A server, which masks nothing.
    Server,
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'r> {
    /// A text, which is UTF-8.
    Text(&'r str),
    /// Anything else.
    Binary(&'r [u8]),
    /// A ping and what it holds.
    Ping(&'r [u8]),
    /// The answer to one.
    Pong(&'r [u8]),
    /// The end: its code and reason where it tells them. Nothing comes after it.
    Close(&'r [u8]),
}

/// Why frames cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A reserved bit is set, and nothing was agreed on that would use it.
    #[error("a frame with reserved bits")]
    Reserved,
    /// No such kind of frame.
    #[error("a frame of no known kind")]
    Opcode,
    /// A client did not mask, or a server did.
    #[error("a frame that is masked where it must not be, or not masked where it must")]
    Mask,
    /// A length that is not written in the shortest way, or is none.
    #[error("a length that is not written as it must be")]
    Length,
    /// A control frame in fragments or with too much in it.
    #[error("a control frame that is too long or in fragments")]
    Control,
    /// A fragment of nothing, a message within another one, or too many fragments.
    #[error("fragments that make no message")]
    Fragments,
    /// The message is larger than may be.
    #[error("a message that is too large")]
    TooLarge,
    /// A text or a reason that is not UTF-8.
    #[error("a text that is not UTF-8")]
    Utf8,
    /// An end with a code that nobody may send.
    #[error("a close frame that says nothing that may be said")]
    Close,
}

impl Broken {
    /// What the connection is closed with (RFC 6455, 7.4.1).
    pub const fn code(self) -> u16 {
        match self {
            Self::TooLarge => 1009,
            Self::Utf8 => 1007,
            _ => 1002,
        }
    }
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Takes messages out of the frames of one side.
#[derive(Debug)]
pub struct Reader {
    sender: Sender,
    most: usize,
    head: [u8; 14],
    /// Bytes of the head so far.
    held: usize,
    /// The frame whose payload comes next.
    frame: Option<Frame>,
    /// What kind of message its fragments are of; 0 between two messages.
    kind: u8,
    fragments: u32,
    message: Vec<u8>,
    control: Vec<u8>,
    closed: bool,
    /// Whether what is in `message` or `control` was given out and goes before the next.
    given: Option<bool>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    last: bool,
    left: usize,
    mask: [u8; 4],
    /// Where in the mask the next byte stands.
    at: usize,
}

impl Reader {
    /// For the frames of this side, of messages of so many bytes at most.
    pub const fn new(sender: Sender, most: usize) -> Self {
        Self {
            sender,
            most,
            head: [0; 14],
            held: 0,
            frame: None,
            kind: 0,
            fragments: 0,
            message: Vec::new(),
            control: Vec::new(),
            closed: false,
            given: None,
        }
    }

    /// Bytes of memory in use.
    pub const fn memory(&self) -> usize {
        self.message.capacity()
    }

    /// Whether nothing of a message that is not over is held.
    pub const fn is_between_messages(&self) -> bool {
        self.kind == 0 && self.frame.is_none() && self.held == 0
    }

    /// Takes the next bytes, up to the end of a message or a control frame. How many were taken, and what they end.
    ///
    /// # Errors
    /// [`Broken`]; nothing can be read after it.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(usize, Option<Message<'_>>), Broken> {
        self.forget_given();
        let mut taken = 0;
        while !self.closed {
            let Some(mut frame) = self.frame else {
                let Some(byte) = bytes.get(taken) else { break };
                taken += 1;
                self.head[self.held] = *byte;
                self.held += 1;
                if let Some(frame) = self.begun()? {
                    self.held = 0;
                    self.frame = Some(frame);
                }
                continue;
            };
            let n = frame.left.min(bytes.len() - taken);
            let payload = &bytes[taken..taken + n];
            let to = if is_control(frame.opcode) { &mut self.control } else { &mut self.message };
            let from = to.len();
            to.extend_from_slice(payload);
            if frame.mask != [0; 4] {
                let mask = frame.mask;
                to[from..].iter_mut().enumerate().for_each(|(i, byte)| *byte ^= mask[(frame.at + i) % 4]);
            }
            frame.at = (frame.at + n) % 4;
            frame.left -= n;
            taken += n;
            self.frame = (frame.left > 0).then_some(frame);
            if frame.left > 0 {
                break;
            }
            if is_control(frame.opcode) || frame.last {
                return self.over(frame.opcode).map(|message| (taken, Some(message)));
            }
        }
        Ok((taken, None))
    }

    fn forget_given(&mut self) {
        match self.given.take() {
            Some(true) => self.control.clear(),
            Some(false) => {
                self.message.clear();
                if self.message.capacity() > 64 * 1024 {
                    self.message = Vec::new();
                }
            }
            None => {}
        }
    }

    /// The frame whose head is complete, if it is.
    fn begun(&mut self) -> Result<Option<Frame>, Broken> {
        let head = &self.head[..self.held];
        let (first, Some(second)) = (head[0], head.get(1).copied()) else {
            return match head[0] & 0x70 {
                0 => Ok(None),
                _ => Err(Broken::Reserved),
            };
        };
        let (opcode, last) = (first & 0x0f, first & 0x80 != 0);
        if (second & 0x80 != 0) != (self.sender == Sender::Client) {
            return Err(Broken::Mask);
        }
        let short = usize::from(second & 0x7f);
        let long = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if is_control(opcode) && (!last || short > LONGEST_CONTROL) {
            return Err(Broken::Control);
        }
        let mask = if self.sender == Sender::Client { 4 } else { 0 };
        if head.len() < 2 + long + mask {
            return Ok(None);
        }
        let told = head[2..2 + long].iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        let length = match long {
            0 => short as u64,
            2 if told >= 126 => told,
            8 if (65_536..1 << 63).contains(&told) => told,
            _ => return Err(Broken::Length),
        };
        let mut key = [0; 4];
        key[..mask].copy_from_slice(&head[2 + long..]);
        match (opcode, self.kind) {
            (0, 0) | (TEXT | BINARY, 1..) => return Err(Broken::Fragments),
            (0, _) => {
                self.fragments += 1;
                if self.fragments > MOST_FRAGMENTS {
                    return Err(Broken::Fragments);
                }
            }
            (TEXT | BINARY, 0) => (self.kind, self.fragments) = (opcode, 1),
            (CLOSE | PING | PONG, _) => {}
            _ => return Err(Broken::Opcode),
        }
        let room = if is_control(opcode) { LONGEST_CONTROL } else { self.most.saturating_sub(self.message.len()) };
        let left = usize::try_from(length).ok().filter(|length| *length <= room).ok_or(Broken::TooLarge)?;
        Ok(Some(Frame { opcode, last, left, mask: key, at: 0 }))
    }

    fn over(&mut self, opcode: u8) -> Result<Message<'_>, Broken> {
        self.given = Some(is_control(opcode));
        match opcode {
            PING => Ok(Message::Ping(&self.control)),
            PONG => Ok(Message::Pong(&self.control)),
            CLOSE => {
                self.closed = true;
                check_close(&self.control)?;
                Ok(Message::Close(&self.control))
            }
            _ => match std::mem::take(&mut self.kind) {
                TEXT => std::str::from_utf8(&self.message).map(Message::Text).map_err(|_| Broken::Utf8),
                _ => Ok(Message::Binary(&self.message)),
            },
        }
    }
}

const fn is_control(opcode: u8) -> bool {
    opcode & 8 != 0
}

/// Nothing, or a code that may be sent (RFC 6455, 7.4) and a reason.
fn check_close(payload: &[u8]) -> Result<(), Broken> {
    let (code, reason) = match payload {
        [] => return Ok(()),
        [a, b, reason @ ..] => (u16::from_be_bytes([*a, *b]), reason),
        [_] => return Err(Broken::Close),
    };
    let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if std::str::from_utf8(reason).is_err() {
        return Err(Broken::Utf8);
    }
    if may_be_sent { Ok(()) } else { Err(Broken::Close) }
}

/// Writes a message as one frame. `mask`: the key of a client's frame, which nobody must be able to foretell; `None` for a
/// server's.
pub fn write(message: &Message<'_>, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let (opcode, payload) = match message {
        Message::Text(text) => (TEXT, text.as_bytes()),
        Message::Binary(bytes) => (BINARY, *bytes),
        Message::Ping(bytes) => (PING, *bytes),
        Message::Pong(bytes) => (PONG, *bytes),
        Message::Close(bytes) => (CLOSE, *bytes),
    };
    out.reserve(payload.len() + 14);
    out.push(0x80 | opcode);
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        n @ 0..126 => out.push(masked | n as u8),
        n @ 126..65_536 => {
            out.push(masked | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(masked | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    match mask {
        None => out.extend_from_slice(payload),
        Some(mask) => {
            out.extend_from_slice(&mask);
            out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
    }
}

/// What a server answers a client's `Sec-WebSocket-Key` with (RFC 6455, 4.2.2); `None` where that is no 16 bytes in base64.
pub fn accept(key: &[u8]) -> Option<String> {
    const OF_PROTOCOL: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let key = key.trim_ascii();
    BASE64_STANDARD.decode(key).ok().filter(|bytes| bytes.len() == 16)?;
    // As the handshake is defined. It tells that a server speaks WebSocket, and keeps nothing secret.
    Some(BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, OF_PROTOCOL].concat())))
}

/// The payload of a close frame: a code, and as much of a reason as fits.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let end = (0..=reason.len().min(LONGEST_CONTROL - 2)).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
    [&code.to_be_bytes(), &reason.as_bytes()[..end]].concat()
}

#[cfg(test)]
mod tests;
