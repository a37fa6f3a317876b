//! The framing guard beside httparse, the parser of hyper: whatever the guard accepts, httparse reads
//! the same way; whatever is framed is found again, however it is cut into pieces.
#![no_main]

use credentialflow_gateway::http1::{
    body::Decoder,
    head::{Framing, HeadLimits, Parsed, RequestHead, ResponseHead, parse_request, parse_response},
};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, target: 512, fields: 64 };

// The first byte says where the rest is cut.
fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    request(bytes, usize::from(*cut));
    response(bytes, usize::from(*cut));
    decode(bytes, usize::from(*cut).max(1));
});

fn request(bytes: &[u8], cut: usize) {
    let mut head = RequestHead::default();
    let whole = parse_request(bytes, 0, &LIMITS, &mut head);
    if whole == Ok(Parsed::Complete) {
        let mut storage = [httparse::EMPTY_HEADER; 64];
        let mut oracle = httparse::Request::new(&mut storage);
        assert_eq!(oracle.parse(bytes), Ok(httparse::Status::Complete(head.len)));
        assert_eq!(oracle.method, Some(head.method.str(bytes)));
        assert!(oracle.path.is_some_and(|p| p.ends_with(head.target.str(bytes))));
        assert_eq!(oracle.version, Some(u8::from(head.http11)));
        same_fields(&head.fields, oracle.headers, bytes);
        // Seen in two pieces it is the same head, or was refused early for the same request.
        let first = &bytes[..cut.min(head.len - 1)];
        let mut again = RequestHead::default();
        assert_eq!(parse_request(first, 0, &LIMITS, &mut again), Ok(Parsed::Partial));
        assert_eq!(parse_request(bytes, first.len(), &LIMITS, &mut again), Ok(Parsed::Complete));
        assert_eq!((again.len, again.framing, again.fields.len()), (head.len, head.framing, head.fields.len()));
    }
}

fn response(bytes: &[u8], cut: usize) {
    let mut head = ResponseHead::default();
    if parse_response(bytes, 0, &LIMITS, &mut head) == Ok(Parsed::Complete) {
        let mut storage = [httparse::EMPTY_HEADER; 64];
        let mut oracle = httparse::Response::new(&mut storage);
        assert_eq!(oracle.parse(bytes), Ok(httparse::Status::Complete(head.len)));
        assert_eq!(oracle.code, Some(head.status));
        same_fields(&head.fields, oracle.headers, bytes);
        let first = &bytes[..cut.min(head.len - 1)];
        let mut again = ResponseHead::default();
        assert_eq!(parse_response(first, 0, &LIMITS, &mut again), Ok(Parsed::Partial));
        assert_eq!(parse_response(bytes, first.len(), &LIMITS, &mut again), Ok(Parsed::Complete));
        assert_eq!(again.framing(false), head.framing(false));
    }
}

fn same_fields(ours: &[credentialflow_gateway::http1::head::Field], theirs: &[httparse::Header<'_>], bytes: &[u8]) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.name.str(bytes), theirs.name);
        assert_eq!(ours.value.of(bytes), theirs.value.trim_ascii());
    }
}

/// Payload, bytes used, whether it is done; `None` when the framing is broken.
fn run(bytes: &[u8], piece: usize) -> Option<(Vec<u8>, usize, bool)> {
    let mut decoder = Decoder::new(Framing::Chunked);
    let (mut out, mut used) = (Vec::new(), 0);
    for piece in bytes.chunks(piece) {
        let mut at = 0;
        while at < piece.len() && !decoder.is_done() {
            let step = decoder.step(&piece[at..]).ok()?;
            out.extend_from_slice(&piece[at..][step.payload]);
            assert!(step.consumed > 0, "no progress");
            at += step.consumed;
        }
        used += at;
    }
    Some((out, used, decoder.is_done()))
}

fn decode(bytes: &[u8], cut: usize) {
    let whole = run(bytes, bytes.len().max(1));
    assert_eq!(whole, run(bytes, cut), "cutting changes nothing");
    if let Some((out, used, _)) = whole {
        assert!(out.len() <= used && used <= bytes.len());
    }
    // A single chunk's size line is read as httparse reads it.
    if let Ok(httparse::Status::Complete((at, size))) = httparse::parse_chunk_size(bytes)
        && let Some((out, _, _)) = run(bytes, bytes.len().max(1))
    {
        let there = (bytes.len() - at) as u64;
        assert!(size > there || out.len() as u64 >= size, "the same size is seen");
    }
}
