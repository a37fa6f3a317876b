//! A stream of Replicate's as events whose data is JSON, which is what everything that looks at streams reads.
//!
//! The data of its event `output` is the model's text as it is; here it becomes `{"text": …}`. All other events pass.

use crate::{
    openai::request::write_json_string,
    sse::{SsePiece, SseReader},
};

/// Larger events end a stream.
const MAX_EVENT: usize = 4 << 20;

/// Rewrites the events of one stream.
#[derive(Debug)]
pub struct Events(SseReader);

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Events {
    /// For one stream.
    pub const fn new() -> Self {
        Self(SseReader::new(MAX_EVENT))
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.0.held()
    }

    /// Takes the next bytes, and appends the events that they complete. False: one is too large, and nothing behind it is
    /// told.
    pub fn feed(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let mut fits = true;
        self.0.feed(payload, |piece| match piece {
            SsePiece::Event(event) if fits => match (event.event_type(), event.data()) {
                (Some(b"output"), Some(text)) => {
                    out.extend_from_slice(b"event: output\ndata: {\"text\":");
                    write_json_string(out, &String::from_utf8_lossy(&text));
                    out.extend_from_slice(b"}\n\n");
                }
                _ => out.extend_from_slice(event.raw),
            },
            SsePiece::Event(_) => {}
            SsePiece::Oversize(_) => fits = false,
        });
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &str = ": hi\n\nevent: output\nid: 1:0\ndata: {\"error\":\ndata:  \"x\"}\n\nevent: output\r\ndata:\r\n\r\nevent: done\ndata: {}\n\n";
    const OPENED: &str = ": hi\n\nevent: output\ndata: {\"text\":\"{\\\"error\\\":\\n \\\"x\\\"}\"}\n\nevent: output\ndata: {\"text\":\"\"}\n\nevent: done\ndata: {}\n\n";

    fn opened<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, bool) {
        let (mut events, mut out) = (Events::new(), Vec::new());
        let fits = pieces.into_iter().all(|piece| events.feed(piece, &mut out));
        (String::from_utf8(out).unwrap(), fits)
    }

    #[test]
    fn texts_become_json_however_they_are_cut() {
        for size in [1, 2, 7, 4096] {
            assert_eq!(opened(STREAM.as_bytes().chunks(size)), (OPENED.to_owned(), true), "{size}");
        }
    }

    #[test]
    fn an_event_that_is_too_large_is_told() {
        let large = format!("event: output\ndata: {}\n\n", "x".repeat(MAX_EVENT));
        assert!(!opened([large.as_bytes()]).1);
    }

    proptest! {
        #[test]
        fn whatever_comes_becomes_events_that_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,20}") {
            let mut stream = bytes;
            stream.extend_from_slice(format!("\n\nevent: output\ndata: {text}\n\n").as_bytes());
            let (mut events, mut out) = (Events::new(), Vec::new());
            events.feed(&stream, &mut out);
            let end = format!("{{\"text\":{}}}\n\n", serde_json::to_string(&text).unwrap());
            // A line separator of another kind within the text is none here.
            prop_assert!(String::from_utf8_lossy(&out).ends_with(&end) || text.contains(['\n', '\r']));
        }
    }
}
