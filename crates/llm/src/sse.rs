//! An incremental reader of server-sent events (WHATWG HTML, section 9.2.6): feed it bytes as they come,
//! it hands back each event with its raw bytes.
//!
//! Lines end with LF, CRLF or CR; a byte order mark at the start is skipped. The raw bytes of all pieces,
//! joined, are the input, so a relay can forward, hold or drop whole events. Unlike a browser it also
//! hands out an event the stream ends in without a blank line, marked as incomplete. It never connects,
//! reconnects or keeps `id` and `retry`.

use std::{borrow::Cow, ops::Range};

/// Events larger than this are passed but not inspected, unless set otherwise.
pub const DEFAULT_MAX_EVENT: usize = 1 << 20;

/// What the reader hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SsePiece<'a> {
    /// One whole event.
    Event(SseEvent<'a>),
    /// A part of an event that is larger than the limit.
    Oversize(&'a [u8]),
}

impl<'a> SsePiece<'a> {
    /// The bytes as they came.
    pub const fn raw(&self) -> &'a [u8] {
        match self {
            Self::Event(event) => event.raw,
            Self::Oversize(bytes) => bytes,
        }
    }
}

/// One event: its lines up to and including the blank line that ends it. May hold only comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// The bytes as they came, line ends included.
    pub raw: &'a [u8],
    /// False for the rest of a stream that ended without a blank line.
    pub complete: bool,
    first: bool,
}

impl<'a> SseEvent<'a> {
    /// The values of its `data` lines joined with LF; `None` when it has none. Copies only when there are several.
    pub fn data(&self) -> Option<Cow<'a, [u8]>> {
        let mut values = self.values(b"data");
        let first = values.next()?;
        let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
        let mut joined = Vec::with_capacity(self.raw.len());
        for value in [first, second].into_iter().chain(values) {
            joined.extend_from_slice(value);
            joined.push(b'\n');
        }
        joined.pop();
        Some(Cow::Owned(joined))
    }

    /// Its type: the value of the last `event` line, if any.
    pub fn event_type(&self) -> Option<&'a [u8]> {
        self.values(b"event").last()
    }

    /// Whether all of its lines are comments and fields of the format. Readers of events pass over others, which may be an
    /// answer that only calls itself a stream of them.
    pub fn is_plain(&self) -> bool {
        let name = |line: &'a [u8]| line.split(|b| *b == b':').next().unwrap_or_default();
        self.lines().all(|line| matches!(name(line), b"" | b"data" | b"event" | b"id" | b"retry"))
    }

    fn lines(&self) -> Lines<'a> {
        Lines(if self.first { self.raw.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(self.raw) } else { self.raw })
    }

    /// The values of the lines with this field name.
    fn values(&self, field: &'static [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.lines().filter_map(move |line| {
            let value = line.strip_prefix(field)?;
            match value.split_first() {
                None => Some(value),
                Some((b':', value)) => Some(value.strip_prefix(b" ").unwrap_or(value)),
                Some(_) => None,
            }
        })
    }
}

struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = memchr::memchr2(b'\n', b'\r', self.0).unwrap_or(self.0.len());
        let (line, rest) = self.0.split_at(end);
        self.0 = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
        Some(line)
    }
}

/// The reader. Holds at most one unfinished event, up to the limit.
#[derive(Debug)]
pub struct SseReader {
    pending: Vec<u8>,
    max_event: usize,
    /// Nothing was handed out yet.
    first: bool,
    /// The current line has no bytes yet.
    line_empty: bool,
    /// The last byte was CR: an LF now belongs to the same line end.
    after_cr: bool,
    /// The blank line was seen, ended by CR; the event waits for an LF that may belong to it.
    closed: bool,
    /// The current event passed the limit; its bytes are handed out as they come.
    oversize: bool,
}

impl Default for SseReader {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_EVENT)
    }
}

impl SseReader {
    /// A reader for one stream; events of more than `max_event` bytes are passed, not inspected.
    pub const fn new(max_event: usize) -> Self {
        Self {
            pending: Vec::new(),
            max_event,
            first: true,
            line_empty: true,
            after_cr: false,
            closed: false,
            oversize: false,
        }
    }

    /// The bytes of the unfinished event held so far.
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.pending.capacity()
    }

    /// Whether a stream that ends here is not all of one: nothing came at all, or it was cut off within an event, so that
    /// what came since the last whole one is neither a comment nor data that is whole, which some senders leave without
    /// the blank line behind it.
    pub fn lacks_its_end(&self) -> bool {
        let event = SseEvent { raw: &self.pending, complete: self.closed, first: self.first };
        if self.oversize || self.closed {
            return self.oversize;
        }
        if self.first && self.pending.is_empty() {
            return true;
        }
        match event.data().as_deref().map(<[u8]>::trim_ascii) {
            Some(data) => data != b"[DONE]" && serde_json::from_slice::<serde::de::IgnoredAny>(data).is_err(),
            None => Lines(&self.pending).any(|line| !line.is_empty() && !line.starts_with(b":")),
        }
    }

    /// Whether the next byte begins an event.
    const fn is_between(&self) -> bool {
        self.pending.is_empty() && self.line_empty && !self.after_cr && !self.closed && !self.oversize
    }

    /// Passes over a chunk of whole events without looking at them. Does nothing and says false when
    /// the chunk does not both begin and (as far as seen without reading it) end between events.
    pub fn skip(&mut self, chunk: &[u8]) -> bool {
        let skipped = self.is_between() && (chunk.ends_with(b"\n\n") || chunk.ends_with(b"\r\n\r\n"));
        self.first &= !skipped;
        skipped
    }

    /// Which of the next bytes are whole events that end before `until`, so that they may be skipped once what comes
    /// before them was fed.
    pub fn whole_events(&self, chunk: &[u8], until: usize) -> Range<usize> {
        let is_blank = |end: &usize| chunk[..*end].ends_with(b"\n\n") || chunk[..*end].ends_with(b"\r\n\r\n");
        let begin = match self.is_between() {
            true => 0,
            false => memchr::memchr_iter(b'\n', chunk).map(|at| at + 1).find(is_blank).unwrap_or(chunk.len()),
        };
        let end = memchr::memrchr_iter(b'\n', &chunk[..until]).map(|at| at + 1).find(is_blank).unwrap_or(0);
        begin..end.max(begin)
    }

    /// Takes the next bytes of the stream and hands out what they complete.
    pub fn feed(&mut self, chunk: &[u8], mut each: impl FnMut(SsePiece<'_>)) {
        let (mut start, mut pos) = (0, 0);
        while let Some(next) = chunk.get(pos) {
            if self.after_cr {
                self.after_cr = false;
                if *next == b'\n' {
                    pos += 1;
                    if !self.closed {
                        continue;
                    }
                }
            }
            if self.closed {
                self.closed = false;
                self.emit(&chunk[start..pos], &mut each);
                start = pos;
                continue;
            }
            let Some(length) = memchr::memchr2(b'\n', b'\r', &chunk[pos..]) else {
                self.line_empty = false;
                break;
            };
            let blank = self.line_empty && length == 0;
            let cr = chunk[pos + length] == b'\r';
            pos += length + 1;
            self.line_empty = true;
            self.after_cr = cr;
            if blank && cr {
                self.closed = true;
            } else if blank {
                self.emit(&chunk[start..pos], &mut each);
                start = pos;
            }
        }
        self.hold(&chunk[start..], &mut each);
    }

    /// Ends the stream and hands out what is left.
    pub fn finish(&mut self, mut each: impl FnMut(SsePiece<'_>)) {
        if !self.pending.is_empty() {
            let event = SseEvent { raw: &self.pending, complete: self.closed, first: self.first };
            each(SsePiece::Event(event));
        }
        *self = Self::new(self.max_event);
    }

    /// Hands out the event that ends with `end`.
    fn emit(&mut self, end: &[u8], each: &mut impl FnMut(SsePiece<'_>)) {
        let first = std::mem::replace(&mut self.first, false);
        if self.oversize || self.pending.len() + end.len() > self.max_event {
            self.oversize = false;
            self.pass(end, each);
        } else if self.pending.is_empty() {
            each(SsePiece::Event(SseEvent { raw: end, complete: true, first }));
        } else {
            self.pending.extend_from_slice(end);
            each(SsePiece::Event(SseEvent { raw: &self.pending, complete: true, first }));
            self.pending.clear();
        }
    }

    /// Keeps the beginning of an event, or passes it on when it is too large.
    fn hold(&mut self, part: &[u8], each: &mut impl FnMut(SsePiece<'_>)) {
        if self.oversize || self.pending.len() + part.len() > self.max_event {
            self.oversize = true;
            self.pass(part, each);
        } else {
            self.pending.extend_from_slice(part);
        }
    }

    fn pass(&mut self, part: &[u8], each: &mut impl FnMut(SsePiece<'_>)) {
        for bytes in [self.pending.as_slice(), part] {
            if !bytes.is_empty() {
                each(SsePiece::Oversize(bytes));
            }
        }
        self.pending = Vec::new();
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
