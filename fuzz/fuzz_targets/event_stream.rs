//! Any bytes as an AWS event stream: no panic, no more held than the largest message, where it is cut changes nothing,
//! what comes out are server-sent events, and a stream that is right comes back as it was made.
#![no_main]

use credentialflow_llm::{
    bedrock::{
        frames::{FrameReader, MalformedFrame},
        usage::StreamUsage,
    },
    provider::Dialect,
    sse::{SsePiece, SseReader},
    translate,
    unframed::Unframed,
};
use credentialflow_model::Timestamp;

const MOST: usize = 4096;
const CALL: &[u8] = br#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]}"#;

/// A message with one header, as AWS frames it.
fn message(kind: &str, name: &str, payload: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    let named = if kind == "event" { ":event-type" } else { ":exception-type" };
    for (header, value) in [(":message-type", kind), (named, name)] {
        headers.push(header.len() as u8);
        headers.extend_from_slice(header.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let mut out = Vec::from(((16 + headers.len() + payload.len()) as u32).to_be_bytes());
    out.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out.extend_from_slice(&headers);
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out
}

fn read(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Result<(), MalformedFrame>) {
    let (mut reader, mut told) = (FrameReader::new(MOST), Vec::new());
    for piece in pieces {
        let fed = reader.feed(piece, |frame| {
            told.push(frame.payload.to_vec());
            Ok(())
        });
        if fed.is_err() {
            return (told, fed);
        }
        assert!(reader.held() <= 2 * MOST);
    }
    (told, Ok(()))
}

fn relay(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let to = translate::To::new(Dialect::Bedrock, "m");
    let Ok((_, answer)) = translate::request(CALL, Dialect::Anthropic, &to, Timestamp::from_secs(0)) else {
        unreachable!("a right call")
    };
    let (mut unframed, mut stream, mut out) = (Unframed::of(Dialect::Bedrock), answer.stream(), Vec::new());
    let (mut usage, mut events) = (StreamUsage::new(), SseReader::new(1 << 20));
    for piece in pieces {
        let (opened, framed) = unframed.open(piece);
        usage.inspect(&opened);
        events.feed(&opened, |piece| match piece {
            SsePiece::Event(event) => assert!(event.complete && event.data().is_some() && event.event_type().is_some()),
            SsePiece::Oversize(_) => {}
        });
        stream.feed(&opened, &mut out);
        if framed.is_err() {
            return (out, false);
        }
    }
    assert!(events.pending().is_empty(), "events come whole");
    stream.finish(&mut out);
    (out, true)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (cuts, stream) = bytes.split_at(bytes.len().min(8));
    let (mut pieces, mut rest) = (Vec::new(), stream);
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    assert_eq!(read(&pieces).0, read(&[stream]).0);
    relay(&pieces);

    // The same bytes as what right messages carry.
    let payload = stream.get(..MOST - 200).unwrap_or(stream);
    const NAMES: [&str; 8] = [
        "messageStart",
        "contentBlockStart",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
        "throttlingException",
        "other",
    ];
    let messages: Vec<Vec<u8>> = payload
        .split(|b| *b == b'\n')
        .map(|line| {
            let (first, rest) = line.split_first().unwrap_or((&0, &[]));
            let kind = if first & 8 == 0 { "event" } else { "exception" };
            message(kind, NAMES[usize::from(first & 7)], rest)
        })
        .collect();
    let all = messages.concat();
    let whole: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let (told, fine) = read(&[&all]);
    assert!(fine.is_ok() && told.len() == messages.len());
    let at_once = relay(&[&all]);
    assert!(at_once.1);
    assert_eq!(relay(&whole), at_once);
    let small: Vec<&[u8]> = all.chunks(3).collect();
    assert_eq!(relay(&small), at_once);
});
