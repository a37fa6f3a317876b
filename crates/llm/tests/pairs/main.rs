//! Every pair of dialects: what a caller of one asks is what a provider of another is asked, and what that provider says is
//! what the caller is told. Of every recorded exchange, and, as properties, of conversations and answers of any content,
//! there and back, whole and in streams that are cut anywhere.
//!
//! The recordings are found as in `recordings.rs`; where they are absent, the small fixtures of this folder are read.
#![allow(clippy::unwrap_used)]
#![expect(clippy::print_stdout, reason = "says what was read, and when the recordings are absent")]

mod answer;
mod answer_write;
mod call;
mod call_write;
mod cited;
#[path = "../exchange/mod.rs"]
mod exchange;
mod left_out;
mod properties;
mod recorded;
mod unknown;

use credentialflow_llm::{
    gemini::request::Frames,
    provider::{Counting, Dialect, LimitField},
    translate::{self, StreamFailure, To, Translation, Untranslatable},
    unframed::Unframed,
};
use credentialflow_model::Timestamp;

/// The dialects that callers speak; providers speak these and Converse.
const CALLERS: [Dialect; 4] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses, Dialect::Gemini];
const PROVIDERS: [Dialect; 5] =
    [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses, Dialect::Gemini, Dialect::Bedrock];

/// A call of a caller's dialect, for a provider's.
fn request(body: &[u8], from: Dialect, to: Dialect) -> Result<(Vec<u8>, Translation), Untranslatable> {
    // Of a maker that knows marks for its cache and `tool_choice`.
    let model = if to == Dialect::Bedrock { "anthropic.claude-v1" } else { "m" };
    let to = To { limit: LimitField::MaxCompletionTokens, ask_usage: true, ..To::new(to, model) };
    match from {
        Dialect::Gemini => translate::gemini_request(body, Some(Frames::Events), &to, Timestamp::from_secs(1)),
        _ => translate::request(body, from, &to, Timestamp::from_secs(1)),
    }
}

/// A call of a caller's dialect, of which a provider counts the tokens.
fn counted(body: &[u8], from: Dialect, by: Counting) -> Option<Vec<u8>> {
    let model = if by == Counting::Converse { "anthropic.claude-v1" } else { "m" };
    translate::count::request(body, from, &To::new(from, model), by).ok().map(|(body, _)| body)
}

/// How the answers of a provider come to callers, who asked for a stream with its tokens.
fn answers(from: Dialect, to: Dialect) -> Translation {
    let call: &[u8] = match to {
        Dialect::OpenAi => br#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"x"}]}"#,
        Dialect::Anthropic => br#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#,
        Dialect::Responses => br#"{"model":"m","stream":true,"input":"x"}"#,
        _ => br#"{"contents":[{"parts":[{"text":"x"}]}]}"#,
    };
    request(call, to, from).unwrap().1
}

/// A provider's stream as its caller gets it, when it arrives in pieces of so many bytes.
fn relayed(stream: &[u8], from: Dialect, to: Dialect, piece: usize) -> (Vec<u8>, Option<StreamFailure>) {
    let (mut unframed, mut translator, mut out) = (Unframed::of(from), answers(from, to).stream(), Vec::new());
    for piece in stream.chunks(piece.max(1)) {
        let (events, framed) = unframed.open(piece);
        assert_eq!(framed, Ok(()), "frames");
        translator.feed(&events, &mut out);
    }
    translator.finish(&mut out);
    (out, translator.failure())
}
