//! A server's stream of events, each of which carries a message.

use crate::{Rights, Seen, Unreadable, answer::clean};
use credentialflow_llm::sse::{SseEvent, SsePiece, SseReader};
use std::borrow::Cow;

/// Goes over a stream of events as it passes: holds one event at a time.
#[derive(Debug)]
pub struct EventFilter {
    reader: SseReader,
    seen: Seen,
    failed: bool,
}

impl EventFilter {
    /// For one stream, whose events have at most so many bytes.
    pub const fn new(most: usize) -> Self {
        Self { reader: SseReader::new(most), seen: Seen { error: None, tool_failed: false }, failed: false }
    }

    /// What the messages so far told.
    pub const fn seen(&self) -> Seen {
        self.seen
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.reader.held()
    }

    /// Whether an event could not be read. Nothing passes from there on.
    pub const fn has_failed(&self) -> bool {
        self.failed
    }

    /// Takes the next bytes, and gives what of them passes.
    pub fn feed(&mut self, bytes: &[u8], rights: &impl Rights, out: &mut impl FnMut(&[u8])) {
        let Self { reader, seen, failed } = self;
        reader.feed(bytes, |piece| *failed = *failed || pass(&piece, rights, seen, out).is_err());
    }

    /// The stream is over.
    pub fn finish(&mut self, rights: &impl Rights, out: &mut impl FnMut(&[u8])) {
        let Self { reader, seen, failed } = self;
        reader.finish(|piece| *failed = *failed || pass(&piece, rights, seen, out).is_err());
    }
}

fn pass(
    piece: &SsePiece<'_>,
    rights: &impl Rights,
    seen: &mut Seen,
    out: &mut impl FnMut(&[u8]),
) -> Result<(), Unreadable> {
    let SsePiece::Event(event) = piece else { return Err(Unreadable) };
    // Some servers begin with an event that carries nothing but its id.
    let Some(data) = event.data().filter(|data| !data.is_empty()) else {
        out(event.raw);
        return Ok(());
    };
    // Events of other types are no messages to clients; what is one all the same is treated as one.
    let is_message = event.event_type().is_none_or(|kind| kind.is_empty() || kind == b"message");
    match clean(&data, rights, seen) {
        Ok(Cow::Borrowed(_)) => out(event.raw),
        Ok(Cow::Owned(shown)) => out(&rewritten(event, &shown)),
        Err(Unreadable) if !is_message => out(event.raw),
        Err(Unreadable) => return Err(Unreadable),
    }
    Ok(())
}

/// The event with other data.
fn rewritten(event: &SseEvent<'_>, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.raw.len());
    for line in event.raw.split(|b| matches!(b, b'\n' | b'\r')) {
        // A byte order mark stands before the first line only.
        let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        let is_data = line.strip_prefix(b"data").is_some_and(|rest| matches!(rest.first(), None | Some(b':')));
        if !line.is_empty() && !is_data {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
    for line in data.split(|b| matches!(b, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::tests::OnlyA;

    /// What passes of a stream that comes in pieces, and how it ended.
    fn run(stream: &[u8], step: usize) -> (String, Seen, bool) {
        let mut filter = EventFilter::new(1024);
        let mut out = Vec::new();
        for piece in stream.chunks(step) {
            filter.feed(piece, &OnlyA, &mut |b| out.extend_from_slice(b));
        }
        filter.finish(&OnlyA, &mut |b| out.extend_from_slice(b));
        (String::from_utf8(out).unwrap(), filter.seen(), filter.has_failed())
    }

    fn check(stream: &str, expect: &str) -> Seen {
        let mut last = Seen::default();
        for step in [1, 7, 10_000] {
            let (out, seen, failed) = run(stream.as_bytes(), step);
            assert_eq!((out.as_str(), failed), (expect, false), "in steps of {step}");
            last = seen;
        }
        last
    }

    #[test]
    fn events_pass_as_they_are_but_for_lists() {
        let plain = ": hello\n\nid: 1\ndata:\n\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n\
                     data: {\"id\":1,\"result\":{\"isError\":true}}\r\n\r\nevent: endpoint\ndata: /messages\n\n";
        assert!(check(plain, plain).tool_failed);
        check(
            "id: 7\nevent: message\nretry: 5\ndata: {\"result\":{\"tools\":[{\"name\":\"a\"},\ndata: {\"name\":\"b\"}]}}\n\ndata: {}\n\n",
            "id: 7\nevent: message\nretry: 5\ndata: {\"result\":{\"tools\":[{\"name\":\"a\"}]}}\n\ndata: {}\n\n",
        );
        check(
            "event: other\r\ndata: {\"result\":{\"tools\":[{\"name\":\"b\"}]}}\r\n\r\n",
            "event: other\ndata: {\"result\":{\"tools\":[]}}\n\n",
        );
        // A stream may end without a blank line.
        check("data: {\"result\":{\"tools\":[{\"name\":\"b\"}]}}", "data: {\"result\":{\"tools\":[]}}\n\n");
        check("\u{feff}data: {\"result\":{\"tools\":[{\"name\":\"b\"}]}}\n\n", "data: {\"result\":{\"tools\":[]}}\n\n");
    }

    #[test]
    fn nothing_passes_from_an_event_on_that_cannot_be_read() {
        let good = "data: {\"id\":1}\n\n";
        let long = format!("data: {{\"a\":\"{}\"}}\n\n", "x".repeat(2000));
        for bad in ["data: {\n\n", "data: hello\n\n", "event: message\ndata: hello\n\n", &long] {
            for step in [1, 7, 10_000] {
                let (out, _, failed) = run(format!("{good}{bad}{good}").as_bytes(), step);
                assert_eq!((out.as_str(), failed), (good, true), "{bad}");
            }
        }
    }
}
