//! An incremental reader of AWS's event stream (`application/vnd.amazon.eventstream`): feed it bytes as they come, it
//! hands back each message, whose checksums are right.
//!
//! A message is its length, the length of its headers and a checksum (CRC-32) of both, the headers, the payload, and a
//! checksum of all that. Lengths are held to bounds before anything is kept.
//! Reference: <https://smithy.io/2.0/aws/amazon-eventstream.html>.

/// Lengths and their checksum.
const PRELUDE: usize = 12;
/// The checksum at the end.
const TRAILER: usize = 4;
/// The most headers of one message, by the reference in bytes, and here by their number.
const MAX_HEADER_BYTES: usize = 128 * 1024;
const MAX_HEADERS: usize = 64;

/// A message.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    headers: &'a [u8],
    /// What it carries.
    pub payload: &'a [u8],
}

/// What came is no event stream, or its checksums are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no event stream of AWS")]
pub struct MalformedFrame;

impl<'a> Frame<'a> {
    /// The text under a header's name. `None` where there is none, or something else.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        let value = Headers(self.headers).flatten().find(|header| header.name == name.as_bytes())?;
        std::str::from_utf8(value.text?).ok()
    }

    /// Of a message whose lengths are right.
    fn decode(message: &'a [u8], headers: usize) -> Result<Self, MalformedFrame> {
        let (body, checksum) = message.split_last_chunk().ok_or(MalformedFrame)?;
        if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
            return Err(MalformedFrame);
        }
        let (headers, payload) =
            body.get(PRELUDE..).and_then(|rest| rest.split_at_checked(headers)).ok_or(MalformedFrame)?;
        let mut names: Vec<&[u8]> = Vec::with_capacity(4);
        for header in Headers(headers) {
            let Header { name, .. } = header?;
            if names.len() == MAX_HEADERS || names.contains(&name) {
                return Err(MalformedFrame);
            }
            names.push(name);
        }
        Ok(Self { headers, payload })
    }
}

struct Header<'a> {
    name: &'a [u8],
    /// Its value, where it is a text.
    text: Option<&'a [u8]>,
}

/// The headers of a message, one after the other.
struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], MalformedFrame> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(MalformedFrame)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, MalformedFrame> {
        self.take(1)?.first().copied().ok_or(MalformedFrame)
    }

    fn header(&mut self) -> Result<Header<'a>, MalformedFrame> {
        let length = self.byte()?;
        if length == 0 {
            return Err(MalformedFrame);
        }
        let name = self.take(usize::from(length))?;
        let kind = self.byte()?;
        let length = match kind {
            0 | 1 => 0, // true, false
            2 => 1,     // numbers
            3 => 2,
            4 => 4,
            5 | 8 => 8,                                                             // and a time
            6 | 7 => usize::from(u16::from_be_bytes([self.byte()?, self.byte()?])), // bytes, a text
            9 => 16,                                                                // a UUID
            _ => return Err(MalformedFrame),
        };
        let value = self.take(length)?;
        Ok(Header { name, text: (kind == 7).then_some(value) })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<Header<'a>, MalformedFrame>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let header = self.header();
        if header.is_err() {
            self.0 = &[];
        }
        Some(header)
    }
}

/// The reader. Holds at most one unfinished message, up to the limit.
#[derive(Debug)]
pub struct FrameReader {
    pending: Vec<u8>,
    max_message: usize,
    broken: bool,
}

impl FrameReader {
    /// For one stream. Messages of more than `max_message` bytes, all told, are an error.
    pub const fn new(max_message: usize) -> Self {
        Self { pending: Vec::new(), max_message, broken: false }
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.pending.capacity()
    }

    /// Takes the next bytes of the stream and hands out the messages that they complete.
    ///
    /// # Errors
    /// [`MalformedFrame`], and from then on nothing else: where the next message begins cannot be known.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Frame<'_>) -> Result<(), MalformedFrame>,
    ) -> Result<(), MalformedFrame> {
        if self.broken {
            return Err(MalformedFrame);
        }
        let read = self.read(bytes, &mut each);
        self.broken = read.is_err();
        read
    }

    fn read(
        &mut self,
        mut bytes: &[u8],
        each: &mut impl FnMut(Frame<'_>) -> Result<(), MalformedFrame>,
    ) -> Result<(), MalformedFrame> {
        while !bytes.is_empty() {
            if self.pending.is_empty()
                && let Some((length, headers)) = self.lengths(bytes)?
                && let Some((message, rest)) = bytes.split_at_checked(length)
            {
                // Nearly always messages come whole, and nothing is copied.
                each(Frame::decode(message, headers)?)?;
                bytes = rest;
                continue;
            }
            let wanted = self.lengths(&self.pending)?.map_or(PRELUDE, |(length, _)| length);
            let (more, rest) = bytes.split_at(bytes.len().min(wanted - self.pending.len()));
            self.pending.extend_from_slice(more);
            bytes = rest;
            if let Some((length, headers)) = self.lengths(&self.pending)?
                && length == self.pending.len()
            {
                each(Frame::decode(&self.pending, headers)?)?;
                self.pending.clear();
            }
        }
        Ok(())
    }

    /// The length of a message and that of its headers, once its beginning is there.
    fn lengths(&self, message: &[u8]) -> Result<Option<(usize, usize)>, MalformedFrame> {
        let Some(prelude) = message.first_chunk::<PRELUDE>() else { return Ok(None) };
        let [a, b, c, d, e, f, g, h, checksum @ ..] = *prelude;
        if crc32fast::hash(&prelude[..8]) != u32::from_be_bytes(checksum) {
            return Err(MalformedFrame);
        }
        let (length, headers) = (u32::from_be_bytes([a, b, c, d]) as usize, u32::from_be_bytes([e, f, g, h]) as usize);
        let fits = headers <= MAX_HEADER_BYTES && length <= self.max_message && length >= PRELUDE + headers + TRAILER;
        if fits { Ok(Some((length, headers))) } else { Err(MalformedFrame) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// A message with these texts as headers.
    pub(crate) fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in headers {
            block.push(name.len() as u8);
            block.extend_from_slice(name.as_bytes());
            block.push(7);
            block.extend_from_slice(&(value.len() as u16).to_be_bytes());
            block.extend_from_slice(value.as_bytes());
        }
        framed(&block, payload)
    }

    fn framed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let length = PRELUDE + headers.len() + payload.len() + TRAILER;
        let mut out = Vec::from((length as u32).to_be_bytes());
        out.extend_from_slice(&(headers.len() as u32).to_be_bytes());
        out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
        out.extend_from_slice(headers);
        out.extend_from_slice(payload);
        out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
        out
    }

    type Told = (Option<String>, Vec<u8>);

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, most: usize) -> (Vec<Told>, bool) {
        let (mut reader, mut told) = (FrameReader::new(most), Vec::new());
        let fine = pieces.into_iter().all(|piece| {
            let each = |frame: Frame<'_>| {
                told.push((frame.text(":event-type").map(str::to_owned), frame.payload.to_vec()));
                Ok(())
            };
            reader.feed(piece, each).is_ok() && reader.held() <= 2 * most
        });
        (told, fine)
    }

    fn stream() -> Vec<u8> {
        [
            message(&[(":event-type", "messageStart"), (":message-type", "event")], b"{\"role\":\"assistant\"}"),
            message(&[], b""),
            message(&[(":event-type", "é")], &[0xff; 300]),
        ]
        .concat()
    }

    #[test]
    fn messages_come_back() {
        let (told, fine) = read([stream().as_slice()], 1000);
        assert!(fine);
        assert_eq!(told[0], (Some("messageStart".to_owned()), b"{\"role\":\"assistant\"}".to_vec()));
        assert_eq!(told[1], (None, vec![]));
        assert_eq!(told[2], (Some("é".to_owned()), vec![0xff; 300]));
    }

    /// The vectors of the reference: no headers, and an integer among them.
    #[test]
    fn messages_of_the_reference_come_back() {
        let empty = [0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
        assert_eq!(read([&empty[..]], 1000), (vec![(None, vec![])], true));
        let number = [
            0, 0, 0, 0x2d, 0, 0, 0, 0x10, 0x41, 0xc4, 0x24, 0xb8, 0x0a, b'e', b'v', b'e', b'n', b't', b'-', b't', b'y',
            b'p', b'e', 4, 0, 0, 0xa0, 0x0c, b'{', b'\'', b'f', b'o', b'o', b'\'', b':', b'\'', b'b', b'a', b'r',
            b'\'', b'}', 0x36, 0xf4, 0x80, 0xa0,
        ];
        assert_eq!(read([&number[..]], 1000), (vec![(None, b"{'foo':'bar'}".to_vec())], true));
    }

    #[test]
    fn every_kind_of_header_is_passed_over_and_none_twice() {
        let values: [&[u8]; 10] = [
            &[0],
            &[1],
            &[2, 1],
            &[3, 1, 2],
            &[4, 1, 2, 3, 4],
            &[5, 1, 2, 3, 4, 5, 6, 7, 8],
            &[6, 0, 2, 1, 2],
            &[7, 0, 1, b'x'],
            &[8, 1, 2, 3, 4, 5, 6, 7, 8],
            &[9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
        ];
        let one = |name: u8, value: &[u8]| [&[1, name], value].concat();
        let mut block: Vec<u8> = values.iter().zip(b'a'..).flat_map(|(value, name)| one(name, value)).collect();
        block.extend(b"\x0b:event-type\x07\x00\x02ok");
        assert_eq!(read([framed(&block, b"p").as_slice()], 1000), (vec![(Some("ok".to_owned()), b"p".to_vec())], true));
        for bad in [&b"\x01a\x0a"[..], b"\x00\x00", b"\x01a\x07\x00\x09x", b"\x05a", b"\x01a\x00\x01a\x01"] {
            assert_eq!(read([framed(bad, b"p").as_slice()], 1000), (vec![], false), "{bad:?}");
        }
        let many: Vec<u8> = (0..=MAX_HEADERS as u8).flat_map(|n| one(n, &[0])).collect();
        assert!(!read([framed(&many, b"").as_slice()], 1000).1);
    }

    #[test]
    fn lengths_are_held_to_their_bounds_before_anything_is_kept() {
        let long = message(&[], &[0; 100]);
        assert!(read([long.as_slice()], 116).1 && !read([&long[..12]], 115).1);
        for (length, headers) in [(15u32, 0u32), (16, 1), (u32::MAX, 0), (300_000, 200_000)] {
            let mut prelude = [length.to_be_bytes(), headers.to_be_bytes()].concat();
            prelude.extend_from_slice(&crc32fast::hash(&prelude).to_be_bytes());
            assert!(!read([prelude.as_slice()], 1 << 20).1, "{length} {headers}");
        }
    }

    #[test]
    fn nothing_is_read_behind_an_error() {
        let mut reader = FrameReader::new(1000);
        assert!(reader.feed(&[0; 12], |_| Ok(())).is_err());
        assert!(reader.feed(&stream(), |_| panic!("a message")).is_err());
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_changes_nothing(cuts in proptest::collection::vec(1usize..60, 0..40)) {
            let stream = stream();
            let (mut rest, mut pieces) = (stream.as_slice(), Vec::new());
            for cut in cuts {
                let (piece, left) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = left;
            }
            pieces.push(rest);
            prop_assert_eq!(read(pieces, 1000), read([stream.as_slice()], 1000));
        }

        #[test]
        fn a_changed_byte_is_seen(at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let mut stream = stream();
            let at = at.index(stream.len());
            prop_assume!(stream[at] != to);
            stream[at] = to;
            let (told, fine) = read([stream.as_slice()], 1000);
            // A length that grew may want more than there is.
            prop_assert!(!fine || told.len() < 3);
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(bytes.chunks(7), 64);
        }
    }
}
