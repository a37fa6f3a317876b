//! A server's stream of events, each of which carries a message.

use crate::{
    Rights, Seen, Unreadable,
    answer::clean,
    json::{Members, string},
    servers::outward,
};
use credentialflow_llm::sse::{SseEvent, SsePiece, SseReader};
use std::borrow::Cow;

/// Goes over a stream of events as it passes: holds one event at a time.
#[derive(Debug)]
pub struct EventFilter {
    reader: SseReader,
    seen: Seen,
    failed: bool,
    of: Option<OfServer>,
}

/// Which of several servers a stream comes from.
#[derive(Debug)]
struct OfServer {
    name: Box<str>,
    /// Whether its events stand beside those of others: then they have no ids, and nothing in them is an answer.
    beside: bool,
}

impl EventFilter {
    /// For one stream, whose events have at most so many bytes.
    pub const fn new(most: usize) -> Self {
        let seen = Seen { error: None, tool_failed: false };
        Self { reader: SseReader::new(most), seen, failed: false, of: None }
    }

    /// The same for a stream of one of several servers, all of whose names are written as callers know them. `beside`:
    /// among the streams of others, where ids of events are left out, and what answers a request.
    pub fn of_server(most: usize, name: &str, beside: bool) -> Self {
        Self { of: Some(OfServer { name: name.into(), beside }), ..Self::new(most) }
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
        let Self { reader, seen, failed, of } = self;
        reader.feed(bytes, |piece| *failed = *failed || pass(&piece, of.as_ref(), rights, seen, out).is_err());
    }

    /// The stream is over.
    pub fn finish(&mut self, rights: &impl Rights, out: &mut impl FnMut(&[u8])) {
        let Self { reader, seen, failed, of } = self;
        reader.finish(|piece| *failed = *failed || pass(&piece, of.as_ref(), rights, seen, out).is_err());
    }
}

fn pass(
    piece: &SsePiece<'_>,
    of: Option<&OfServer>,
    rights: &impl Rights,
    seen: &mut Seen,
    out: &mut impl FnMut(&[u8]),
) -> Result<(), Unreadable> {
    let SsePiece::Event(event) = piece else { return Err(Unreadable) };
    // What nobody looks at here must not be a message to those who read it in another way.
    if !event.is_plain() {
        return Err(Unreadable);
    }
    // Some servers begin with an event that carries nothing but its id.
    let Some(data) = event.data().filter(|data| !data.is_empty()) else {
        match of {
            None => out(event.raw),
            Some(of) => out(&rewritten(event, of, None)),
        }
        return Ok(());
    };
    // Events of other types are no messages to clients; what is one all the same is treated as one.
    let is_message = event.event_type().is_none_or(|kind| kind.is_empty() || kind == b"message");
    let named = of.map_or(Ok(Cow::Borrowed(&*data)), |of| outward(&data, &of.name));
    let shown = named.and_then(|named| {
        let cut = match clean(&named, rights, seen)? {
            Cow::Owned(cut) => Some(cut),
            Cow::Borrowed(_) => None,
        };
        Ok(cut.map_or(named, Cow::Owned))
    });
    match (shown, of) {
        (Ok(shown), Some(of)) if of.beside && !is_told(&shown) => {}
        (Ok(Cow::Borrowed(_)), None) => out(event.raw),
        (Ok(shown), None) => out(&rewritten_as_it_is(event, &shown)),
        (Ok(shown), Some(of)) => out(&rewritten(event, of, Some(&shown))),
        (Err(Unreadable), None) if !is_message && rights.judges() => {}
        (Err(Unreadable), None) if !is_message => out(event.raw),
        (Err(Unreadable), _) => return Err(Unreadable),
    }
    Ok(())
}

/// Whether a message tells or asks something by itself. What a server says of a subscription that it has taken is none of
/// these among others, as the one subscription is told of once.
fn is_told(message: &[u8]) -> bool {
    let text = std::str::from_utf8(message).unwrap_or_default();
    let method = Members::of(text, &["method"]).ok().and_then(|message| string(message.get("method")?));
    method.is_some_and(|method| method != "notifications/subscriptions/acknowledged")
}

/// The event with other data.
fn rewritten_as_it_is(event: &SseEvent<'_>, data: &[u8]) -> Vec<u8> {
    write(event, Some(data), |line, out| out.extend_from_slice(line))
}

/// The event of one of several servers: its id begins with the server's name, or is left out.
fn rewritten(event: &SseEvent<'_>, of: &OfServer, data: Option<&[u8]>) -> Vec<u8> {
    write(event, data, |line, out| match line.strip_prefix(b"id:") {
        Some(_) if of.beside => {}
        Some(id) => {
            let id = id.strip_prefix(b" ").unwrap_or(id);
            for part in [b"id: ", of.name.as_bytes(), b":", id] {
                out.extend_from_slice(part);
            }
        }
        None if line == b"id" => {}
        None => out.extend_from_slice(line),
    })
}

/// The event's lines, each as `put` writes it, and this data in place of its own.
fn write(event: &SseEvent<'_>, data: Option<&[u8]>, put: impl Fn(&[u8], &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.raw.len() + 64);
    for line in event.raw.split(|b| matches!(b, b'\n' | b'\r')) {
        // A byte order mark stands before the first line only.
        let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        let is_data = line.strip_prefix(b"data").is_some_and(|rest| matches!(rest.first(), None | Some(b':')));
        let is_replaced = is_data && data.is_some();
        if !line.is_empty() && !is_replaced {
            let before = out.len();
            put(line, &mut out);
            if out.len() > before {
                out.push(b'\n');
            }
        }
    }
    for line in data.into_iter().flat_map(|data| data.split(|b| matches!(b, b'\n' | b'\r'))) {
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
    fn events_of_one_of_several_servers_have_its_name() {
        let stream = ": hello\n\nid: 1\ndata:\n\nid:2\nevent: message\ndata: {\"method\":\"notifications/progress\"}\n\n\
                      id: 3\ndata: {\"id\":1,\"result\":{\"tools\":[{\"name\":\"b\"}]}}\n\n\
                      data: {\"method\":\"notifications/subscriptions/acknowledged\"}\n\ndata: {\"id\":4,\"method\":\"ping\"}\n\n";
        let check = |beside, expect: &str| {
            for step in [1, 7, 10_000] {
                let mut filter = EventFilter::of_server(1024, "a", beside);
                let mut out = Vec::new();
                for piece in stream.as_bytes().chunks(step) {
                    filter.feed(piece, &OnlyA, &mut |b| out.extend_from_slice(b));
                }
                filter.finish(&OnlyA, &mut |b| out.extend_from_slice(b));
                assert_eq!((String::from_utf8(out).unwrap().as_str(), filter.has_failed()), (expect, false));
            }
        };
        check(
            false,
            ": hello\n\nid: a:1\ndata:\n\nid: a:2\nevent: message\ndata: {\"method\":\"notifications/progress\"}\n\n\
             id: a:3\ndata: {\"id\":1,\"result\":{\"tools\":[{\"name\":\"a__b\"}]}}\n\n\
             data: {\"method\":\"notifications/subscriptions/acknowledged\"}\n\ndata: {\"id\":\"a:4\",\"method\":\"ping\"}\n\n",
        );
        check(
            true,
            ": hello\n\ndata:\n\nevent: message\ndata: {\"method\":\"notifications/progress\"}\n\n\
             data: {\"id\":\"a:4\",\"method\":\"ping\"}\n\n",
        );
    }

    #[test]
    fn nothing_passes_from_an_event_on_that_cannot_be_read() {
        let good = "data: {\"id\":1}\n\n";
        let long = format!("data: {{\"a\":\"{}\"}}\n\n", "x".repeat(2000));
        let list = r#"{"id":1,"result":{"tools":[{"name":"b"}]}}"#;
        let beside = format!("{list}\ndata: {{}}\n\n");
        for bad in [
            "data: {\n\n",
            "data: hello\n\n",
            "event: message\ndata: hello\n\n",
            &long,
            "hello\n\n",
            "Data: {}\n\n",
            "dataset: {}\n\n",
            " data: {}\n\n",
            "id: 1\nhello: you\n\n",
            "\u{feff}: hello\n\n",
            &format!("{list}\n\n"),
            &beside,
        ] {
            for step in [1, 7, 10_000] {
                let (out, _, failed) = run(format!("{good}{bad}{good}").as_bytes(), step);
                assert_eq!((out.as_str(), failed), (good, true), "{bad}");
            }
        }
    }

    #[test]
    fn what_only_calls_itself_a_stream_of_events_does_not_pass() {
        let list = r#"{"id":1,"result":{"tools":[{"name":"b"}]}}"#;
        for body in [list.to_owned(), format!("{list}\n"), format!("\u{feff}{list}\r\n\r\n"), list.replace(',', ",\n")]
        {
            for step in [1, 7, 10_000] {
                for of in [None, Some(false), Some(true)] {
                    let new = || EventFilter::new(1024);
                    let mut filter = of.map_or_else(new, |beside| EventFilter::of_server(1024, "a", beside));
                    let mut out = Vec::new();
                    for piece in body.as_bytes().chunks(step) {
                        filter.feed(piece, &OnlyA, &mut |b| out.extend_from_slice(b));
                    }
                    filter.finish(&OnlyA, &mut |b| out.extend_from_slice(b));
                    assert!(filter.has_failed() && out.is_empty(), "{body}");
                }
            }
        }
        // What everybody reads as nothing does.
        check("\u{feff}: hello\n\nevent\nid\nretry\ndata\n\n", "\u{feff}: hello\n\nevent\nid\nretry\ndata\n\n");
        check("\r\n\r\n: hello\r\rdata: {}\r\r", "\r\n\r\n: hello\r\rdata: {}\r\r");
    }
}
