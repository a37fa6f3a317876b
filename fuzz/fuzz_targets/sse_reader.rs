//! Any bytes as an event stream, cut anywhere: no panic, no byte lost, and the cuts change nothing.
#![no_main]

use credentialflow_llm::{AnswerUsage, StreamUsage, produced::Produced, sse::SseReader};

/// The stream in pieces whose lengths the first bytes of the input choose.
fn pieces<'a>(cuts: &'a [u8], mut rest: &'a [u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

fn relay(drop: bool, pieces: &[&[u8]]) -> (Vec<u8>, impl PartialEq + std::fmt::Debug + use<>) {
    let (mut usage, mut out) = (StreamUsage::new(drop), Vec::new());
    pieces.iter().for_each(|piece| usage.feed(piece, &mut |bytes| out.extend_from_slice(bytes)));
    usage.finish(&mut |bytes| out.extend_from_slice(bytes));
    (out, usage.usage())
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (cuts, stream) = bytes.split_at(bytes.len().min(8));
    let cut = pieces(cuts, stream);

    for max in [16, 1 << 20] {
        let (mut reader, mut joined) = (SseReader::new(max), Vec::new());
        for piece in &cut {
            reader.feed(piece, |piece| joined.extend_from_slice(piece.raw()));
            assert!(reader.pending().len() <= max);
        }
        reader.finish(|piece| joined.extend_from_slice(piece.raw()));
        assert_eq!(joined, stream);
    }

    assert_eq!(relay(false, &cut).0, stream);
    for drop in [false, true] {
        assert_eq!(relay(drop, &cut), relay(drop, &[stream]));
    }

    let (mut whole, mut parts) = (AnswerUsage::new(), AnswerUsage::new());
    whole.feed(stream);
    cut.iter().for_each(|piece| parts.feed(piece));
    assert_eq!(whole.finish(), parts.finish());

    let (mut whole, mut parts) = (Produced::default(), Produced::default());
    whole.feed(stream);
    cut.iter().for_each(|piece| parts.feed(piece));
    assert_eq!(whole.tokens(), parts.tokens());
});
