//! Body framing: finds the payload in what arrives, and frames payload that leaves.

use super::head::Framing;
use std::ops::Range;

/// Longest chunk-size line, extensions included.
const MAX_CHUNK_LINE: usize = 1024;
/// Largest trailer section; it is read and dropped (RFC 9110, 6.5.1 allows that).
const MAX_TRAILERS: usize = 16 * 1024;

/// A body that breaks its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFraming;

/// Finds payload in a framed body. Bytes in, ranges out; copies nothing.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    line: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    ChunkSize { value: u64, digits: u8 },
    ChunkExtension { value: u64 },
    ChunkSizeLf { value: u64 },
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// What one step of decoding found.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// How much of the input was used, payload included.
    pub consumed: usize,
    /// Payload inside the consumed part; may be empty.
    pub payload: Range<usize>,
}

impl Decoder {
    /// For a body with this framing.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(n) => State::Length(n),
            Framing::Chunked => State::ChunkSize { value: 0, digits: 0 },
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, line: 0 }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the end of the input may be the end of the body.
    pub fn may_end_here(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }

    /// Looks at `input` from its start. Call again with what is left until nothing is consumed.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, BadFraming> {
        let mut at = 0;
        while at < input.len() {
            match self.state {
                State::Done => break,
                State::UntilClose => return Ok(Step { consumed: input.len(), payload: at..input.len() }),
                State::Length(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                    let left = left - take as u64;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok(Step { consumed: at + take, payload: at..at + take });
                }
                State::Chunk(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                    let (left, end) = (left - take as u64, at + take);
                    // What stands between nearly all chunks, at once.
                    let ended = left == 0 && input[end..].starts_with(b"\r\n");
                    (self.line, self.state) = match left {
                        0 if ended => (0, State::ChunkSize { value: 0, digits: 0 }),
                        0 => (self.line, State::ChunkCr),
                        _ => (self.line, State::Chunk(left)),
                    };
                    return Ok(Step { consumed: end + if ended { 2 } else { 0 }, payload: at..end });
                }
                State::ChunkSize { value: 0, digits: 0 } if let Some((value, used)) = size_line(&input[at..]) => {
                    at += used;
                    (self.line, self.state) = (0, State::Chunk(value));
                }
                _ => {
                    self.framing_byte(input[at])?;
                    at += 1;
                }
            }
        }
        Ok(Step { consumed: at, payload: at..at })
    }

    /// Looks at all of `input` and moves the payload in it together, over the framing that stood between. What came before
    /// a framing that is broken is told as well.
    pub fn gather(&mut self, input: &mut [u8]) -> (Step, Result<(), BadFraming>) {
        let mut gathered = Step { consumed: 0, payload: 0..0 };
        while gathered.consumed < input.len() && !self.is_done() {
            let from = gathered.consumed;
            let step = match self.step(&input[from..]) {
                Ok(step) => step,
                Err(bad) => return (gathered, Err(bad)),
            };
            let piece = from + step.payload.start..from + step.payload.end;
            if gathered.payload.is_empty() {
                gathered.payload = piece;
            } else if !piece.is_empty() {
                let end = gathered.payload.end;
                gathered.payload.end += piece.len();
                input.copy_within(piece, end);
            }
            gathered.consumed += step.consumed;
        }
        (gathered, Ok(()))
    }

    fn framing_byte(&mut self, b: u8) -> Result<(), BadFraming> {
        self.line += 1;
        self.state = match self.state {
            State::ChunkSize { value, digits } => match b {
                b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' if digits < 15 => {
                    let digit = (b as char).to_digit(16).unwrap_or_default();
                    State::ChunkSize { value: value << 4 | u64::from(digit), digits: digits + 1 }
                }
                b'\r' if digits > 0 => State::ChunkSizeLf { value },
                b';' | b' ' | b'\t' if digits > 0 => State::ChunkExtension { value },
                _ => return Err(BadFraming),
            },
            State::ChunkExtension { value } => match b {
                b'\r' => State::ChunkSizeLf { value },
                b'\t' | 0x20..=0x7e | 0x80.. if self.line < MAX_CHUNK_LINE => State::ChunkExtension { value },
                _ => return Err(BadFraming),
            },
            State::ChunkSizeLf { value } if b == b'\n' => {
                self.line = 0;
                if value == 0 { State::TrailerStart } else { State::Chunk(value) }
            }
            State::ChunkCr if b == b'\r' => State::ChunkLf,
            State::ChunkLf if b == b'\n' => {
                self.line = 0;
                State::ChunkSize { value: 0, digits: 0 }
            }
            State::TrailerStart => match b {
                b'\r' => State::EndLf,
                b' ' | b'\t' | b'\n' => return Err(BadFraming),
                _ => State::Trailer,
            },
            State::Trailer => match b {
                b'\r' => State::TrailerLf,
                b'\t' | 0x20..=0x7e | 0x80.. if self.line < MAX_TRAILERS => State::Trailer,
                _ => return Err(BadFraming),
            },
            State::TrailerLf if b == b'\n' => State::TrailerStart,
            State::EndLf if b == b'\n' => State::Done,
            _ => return Err(BadFraming),
        };
        Ok(())
    }
}

/// The size of a chunk and the length of its line, where that is the size and nothing else, and not the last.
fn size_line(input: &[u8]) -> Option<(u64, usize)> {
    const MOST: usize = 8;
    let (mut value, mut digits) = (0, 0);
    for digit in input.iter().take(MOST).map_while(|b| (*b as char).to_digit(16)) {
        (value, digits) = (value << 4 | u64::from(digit), digits + 1);
    }
    (value > 0 && input[digits..].starts_with(b"\r\n")).then_some((value, digits + 2))
}

/// Appends one chunk (RFC 9112, 7.1). Empty payload appends nothing: an empty chunk would end the body.
pub fn push_chunk(out: &mut Vec<u8>, payload: &[u8]) {
    if !payload.is_empty() {
        push_chunk_header(out, payload.len());
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the size line of a chunk.
pub fn push_chunk_header(out: &mut Vec<u8>, len: usize) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let nibbles = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..nibbles).rev().map(|i| HEX[len >> (4 * i) & 15]));
    out.extend_from_slice(b"\r\n");
}

/// The end of a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(framing: Framing, input: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, usize, bool), BadFraming> {
        let mut decoder = Decoder::new(framing);
        let (mut out, mut used, mut start) = (Vec::new(), 0, 0);
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (input.len() + 1)).collect();
        cuts.push(input.len());
        cuts.sort_unstable();
        for cut in cuts {
            while start < cut {
                let step = decoder.step(&input[start..cut])?;
                out.extend_from_slice(&input[start..cut][step.payload]);
                start += step.consumed;
                used += step.consumed;
                if step.consumed == 0 {
                    return Ok((out, used, decoder.is_done()));
                }
            }
        }
        Ok((out, used, decoder.is_done()))
    }

    /// What is gathered of the same.
    fn gathered(framing: Framing, input: &[u8], cuts: &[usize]) -> (Vec<u8>, usize, Result<bool, BadFraming>) {
        let (mut decoder, mut out, mut used, mut kept) = (Decoder::new(framing), Vec::new(), 0, Vec::new());
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (input.len() + 1)).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        for cut in cuts.windows(2) {
            kept.extend_from_slice(&input[cut[0]..cut[1]]);
            let (step, framed) = decoder.gather(&mut kept);
            out.extend_from_slice(&kept[step.payload]);
            kept.drain(..step.consumed);
            used += step.consumed;
            if let Err(bad) = framed {
                return (out, used, Err(bad));
            }
            assert_eq!(&kept, &input[used..cut[1]]);
        }
        (out, used, Ok(decoder.is_done()))
    }

    #[test]
    fn what_came_before_a_broken_chunk_is_gathered() {
        let input = b"5\r\nhello\r\n2\r\n, \r\n5\r\nworldX";
        assert_eq!(
            gathered(Framing::Chunked, input, &[]),
            (b"hello, world".to_vec(), input.len() - 1, Err(BadFraming))
        );
    }

    #[test]
    fn the_line_end_behind_a_chunk_goes_along_where_it_is_there() {
        let mut decoder = Decoder::new(Framing::Chunked);
        assert_eq!(decoder.step(b"5\r\nhello\r\n2\r\nhi"), Ok(Step { consumed: 10, payload: 3..8 }));
        assert_eq!(decoder.step(b"2\r\nhi\r"), Ok(Step { consumed: 5, payload: 3..5 }));
        assert_eq!(decoder.step(b"\r\n0\r\n\r\n"), Ok(Step { consumed: 7, payload: 7..7 }));
        assert!(decoder.is_done());
    }

    #[test]
    fn chunked_with_extensions_and_trailers() {
        let input = b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\nGET /";
        assert_eq!(decode(Framing::Chunked, input, &[]), Ok((b"hello!".to_vec(), input.len() - 5, true)));
    }

    #[test]
    fn broken_chunks_are_refused() {
        for bad in [
            "x",
            "\r\n",
            "5\nhello",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "-1\r\n",
            "0x5\r\n",
            "1000000000000000\r\n",
            "0\r\n x: y\r\n\r\n",
            "0\r\n\n",
            "1;\n",
        ] {
            assert_eq!(decode(Framing::Chunked, bad.as_bytes(), &[]), Err(BadFraming), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_framed_is_found_again(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70), 0..6), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
            let mut framed = Vec::new();
            for chunk in &chunks {
                push_chunk(&mut framed, chunk);
            }
            framed.extend_from_slice(LAST_CHUNK);
            prop_assert_eq!(decode(Framing::Chunked, &framed, &cuts), Ok((chunks.concat(), framed.len(), true)));
            framed.extend_from_slice(b"HTTP/1.1 200");
            let expected = (chunks.concat(), framed.len() - 12, Ok(true));
            prop_assert_eq!(gathered(Framing::Chunked, &framed, &cuts), expected);
        }

        #[test]
        fn any_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..100), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
            match (decode(Framing::Chunked, &input, &cuts), gathered(Framing::Chunked, &input, &cuts)) {
                (Ok(decoded), (out, used, Ok(done))) => prop_assert_eq!(decoded, (out, used, done)),
                (one, (_, _, other)) => prop_assert_eq!(one.is_err(), other.is_err()),
            }
        }

        #[test]
        fn a_length_takes_exactly_its_bytes(input in prop::collection::vec(any::<u8>(), 1..100), n in 1u64..120, cuts in prop::collection::vec(any::<usize>(), 0..8)) {
            let (out, used, done) = decode(Framing::Length(n), &input, &cuts).unwrap();
            let expect = input.len().min(n as usize);
            prop_assert_eq!((out.len(), used, done), (expect, expect, input.len() as u64 >= n));
        }
    }
}
