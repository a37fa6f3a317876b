//! What heads are made of, and what limits them.

use crate::http1::tag::Tag;

/// A stretch of the buffer a head was parsed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes, given the buffer the head was parsed from.
    pub fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// The same as text; heads are checked to be ASCII where this is used, so nothing is lost.
    pub fn str(self, buf: &[u8]) -> &str {
        std::str::from_utf8(self.of(buf)).unwrap_or_default()
    }
}

/// One header field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name, if the gateway knows it.
    pub tag: Tag,
    /// Its name as sent.
    pub name: Span,
    /// Its value without surrounding white space.
    pub value: Span,
}

/// How a body's end is found (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Until the sender closes; answers only.
    UntilClose,
}

/// Limits on a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// All bytes of the head.
    pub bytes: usize,
    /// The request target alone.
    pub target: usize,
    /// Number of fields.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes: 32 * 1024, target: 8 * 1024, fields: 128 }
    }
}

/// What the `Connection` field says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// `close`
    pub close: bool,
    /// `keep-alive`
    pub keep_alive: bool,
    /// `upgrade`
    pub upgrade: bool,
    /// Names of other fields that belong to this connection only.
    pub names: bool,
}
