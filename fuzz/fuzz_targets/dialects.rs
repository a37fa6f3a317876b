//! Any bytes as a call in each dialect and as a provider's answer in each: no panic, what is written is JSON, what is
//! written in a dialect can be read in it, and where a stream is cut changes nothing.
#![no_main]

use credentialflow_llm::{
    ChatCall, StreamUsage,
    anthropic::usage,
    provider::{Dialect, LimitField},
    translate::{self, Translation},
};
use credentialflow_model::{Timestamp, usage::TokenUsage};

const BOTH: [Dialect; 2] = [Dialect::OpenAi, Dialect::Anthropic];
/// A right call in either dialect.
const CALL: &[u8] = br#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]}"#;

/// From a caller's dialect into the other.
fn request(body: &[u8], from: Dialect) -> Option<(Vec<u8>, Translation)> {
    let dialect = if from == Dialect::OpenAi { Dialect::Anthropic } else { Dialect::OpenAi };
    let to = translate::To { dialect, model: "other", limit: LimitField::MaxTokens, ask_usage: true };
    translate::request(body, from, &to, Timestamp::from_secs(0)).ok()
}

fn relay(pieces: &[&[u8]], answer: Translation) -> (Vec<u8>, Option<TokenUsage>, Option<TokenUsage>) {
    let (mut stream, mut out) = (answer.stream(), Vec::new());
    let (mut messages, mut chat) = (usage::StreamUsage::new(), StreamUsage::new(false));
    for piece in pieces {
        stream.feed(piece, &mut out);
        messages.inspect(piece);
        chat.inspect(piece);
    }
    stream.finish(&mut out);
    messages.finish();
    chat.finish(&mut Vec::new());
    (out, messages.usage(), chat.usage())
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes).is_ok()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Deeper than a call may be is refused before it is translated.
    let is_call = ChatCall::parse(bytes).is_ok();
    let (cuts, stream) = bytes.split_at(bytes.len().min(8));
    let (mut pieces, mut rest) = (Vec::new(), stream);
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);

    for from in BOTH {
        if is_call && let Some((body, _)) = request(bytes, from) {
            assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&body).is_ok());
        }
        let Some((_, answer)) = request(CALL, from) else { unreachable!("a right call") };
        assert!(answer.whole(bytes).is_none_or(|body| is_json(&body)));
        assert!(is_json(&answer.error(500, bytes)));

        let at_once = relay(&[stream], answer);
        assert_eq!(relay(&pieces, answer), at_once);
        for event in at_once.0.split(|b| *b == b'\n').filter_map(|line| line.strip_prefix(b"data: ")) {
            assert!(event == b"[DONE]" || is_json(event));
        }
        // What is written as Messages can be read as Messages. Chats can have parts of calls in each other's midst, which
        // Messages cannot say.
        if from == Dialect::Anthropic
            && let Some((_, back)) = request(CALL, Dialect::OpenAi)
        {
            let (mut again, mut out) = (back.stream(), Vec::new());
            again.feed(&at_once.0, &mut out);
            assert_eq!(again.failure(), None);
        }
    }
});
