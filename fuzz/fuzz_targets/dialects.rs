//! Any bytes as a call in Chat Completions and as an Anthropic provider's answer: no panic, what is written is JSON,
//! and where a stream is cut changes nothing.
#![no_main]

use credentialflow_llm::{ChatCall, anthropic::usage, translate};
use credentialflow_model::Timestamp;

const CALL: &[u8] = br#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;

fn relay(pieces: &[&[u8]]) -> (Vec<u8>, Option<credentialflow_model::usage::TokenUsage>) {
    let Ok((_, answer)) = translate::request(CALL, "m", Timestamp::from_secs(0)) else { unreachable!("a right call") };
    let (mut stream, mut usage, mut out) = (answer.stream(), usage::StreamUsage::new(), Vec::new());
    for piece in pieces {
        stream.feed(piece, &mut out);
        usage.inspect(piece);
    }
    stream.finish(&mut out);
    usage.finish();
    (out, usage.usage())
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes).is_ok()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Deeper than a call may be is refused before it is translated.
    if ChatCall::parse(bytes).is_ok()
        && let Ok((body, _)) = translate::request(bytes, "other", Timestamp::from_secs(0))
    {
        assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&body).is_ok());
    }
    if let Ok((_, answer)) = translate::request(CALL, "m", Timestamp::from_secs(0)) {
        assert!(answer.whole(bytes).is_none_or(|body| is_json(&body)));
        assert!(is_json(&answer.error(500, bytes)));
    }

    let (cuts, stream) = bytes.split_at(bytes.len().min(8));
    let (mut pieces, mut rest) = (Vec::new(), stream);
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    let at_once = relay(&[stream]);
    assert_eq!(relay(&pieces), at_once);
    for event in at_once.0.split(|b| *b == b'\n').filter_map(|line| line.strip_prefix(b"data: ")) {
        assert!(event == b"[DONE]" || is_json(event));
    }
});
