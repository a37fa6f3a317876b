//! Any bytes as a call in each dialect and as a provider's answer in each, for each of the others: no panic, what is
//! written is JSON, what is written in a dialect can be read in it, and where a stream is cut changes nothing.
#![no_main]

use credentialflow_llm::{
    ChatCall, StreamUsage,
    anthropic::usage,
    gemini::{
        request::{Frames, GeminiCall},
        usage as gemini_usage,
    },
    openai::responses,
    provider::{Counting, Dialect},
    translate::{self, Translation},
};
use credentialflow_model::{Timestamp, usage::TokenUsage};

const ALL: [Dialect; 4] = [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic, Dialect::Gemini];
/// A right call in the two dialects that have messages.
const CALL: &[u8] = br#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]}"#;
/// A right call in Gemini's dialect.
const CONTENT: &[u8] = br#"{"contents":[{"parts":[{"text":"x"}]}]}"#;

/// A right call in Responses.
const RESPONSES_CALL: &[u8] = br#"{"model":"m","stream":true,"input":"x"}"#;

/// From a caller's dialect into another.
fn request(body: &[u8], from: Dialect, dialect: Dialect) -> Option<(Vec<u8>, Translation)> {
    let to = translate::To { ask_usage: true, ..translate::To::new(dialect, "other") };
    let at = Timestamp::from_secs(0);
    match from {
        Dialect::Gemini => translate::gemini_request(body, Some(Frames::Array), &to, at).ok(),
        _ => translate::request(body, from, &to, at).ok(),
    }
}

/// How the answers to a right call come back.
fn answer(from: Dialect, dialect: Dialect) -> Translation {
    let call = match from {
        Dialect::Responses => RESPONSES_CALL,
        Dialect::Gemini => CONTENT,
        Dialect::OpenAi | Dialect::Anthropic | Dialect::Bedrock | Dialect::Replicate => CALL,
    };
    let Some((_, answer)) = request(call, from, dialect) else { unreachable!("a right call") };
    answer
}

fn relay(pieces: &[&[u8]], answer: &Translation) -> (Vec<u8>, [Option<TokenUsage>; 4]) {
    let (mut stream, mut out) = (answer.clone().stream(), Vec::new());
    let (mut messages, mut chat) = (usage::StreamUsage::new(), StreamUsage::new(false));
    let (mut responses, mut gemini) = (responses::usage::StreamUsage::new(), gemini_usage::StreamUsage::new());
    for piece in pieces {
        stream.feed(piece, &mut out);
        messages.inspect(piece);
        chat.inspect(piece);
        responses.inspect(piece);
        gemini.inspect(piece);
    }
    stream.finish(&mut out);
    messages.finish();
    chat.finish(&mut |_| {});
    responses.finish();
    gemini.finish();
    (out, [messages.usage(), chat.usage(), responses.usage(), gemini.usage()])
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes).is_ok()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for from in ALL {
        // Whom a call is for, or nobody.
        let _ = credentialflow_llm::end_user::of_call(from, bytes);
    }
    for dialect in [Dialect::Anthropic, Dialect::Responses] {
        let mut left = bytes.to_vec();
        translate::without_foreign(&mut left, dialect);
        assert!(left.len() <= bytes.len() && (!is_json(bytes) || is_json(&left)));
    }
    // Deeper than a call may be is refused before it is translated.
    let (is_call, is_content) = (ChatCall::parse(bytes).is_ok(), GeminiCall::parse(bytes, "m").is_ok());
    let (cuts, stream) = bytes.split_at(bytes.len().min(8));
    let (mut pieces, mut rest) = (Vec::new(), stream);
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);

    // Of Bedrock's and Replicate's, what was taken out of its frames.
    let into = || ALL.into_iter().chain([Dialect::Bedrock, Dialect::Replicate]);
    let pairs = ALL.into_iter().flat_map(|from| into().filter(move |to| *to != from).map(move |to| (from, to)));
    for (from, to) in pairs {
        let is_one = if from == Dialect::Gemini { is_content } else { is_call };
        if is_one && let Some((body, _)) = request(bytes, from, to) {
            assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&body).is_ok());
        }
        let answer = answer(from, to);
        assert!(answer.whole(bytes).is_none_or(|body| is_json(&body)));
        if let Some(said) = answer.streamed(bytes) {
            assert!(answer.whole(bytes).is_some());
            let is_event =
                |line: &[u8]| line.strip_prefix(b"data: ").is_none_or(|data| data == b"[DONE]" || is_json(data));
            let is_stream = || said.split(|b| *b == b'\n').all(is_event);
            assert!(if from == Dialect::Gemini { is_json(&said) } else { is_stream() });
        }
        assert!(is_json(&answer.error(500, bytes)));

        let at_once = relay(&[stream], &answer);
        assert_eq!(relay(&pieces, &answer), at_once);
        if from == Dialect::Gemini {
            // However it ended, the array is whole.
            assert!(is_json(&at_once.0));
            continue;
        }
        for event in at_once.0.split(|b| *b == b'\n').filter_map(|line| line.strip_prefix(b"data: ")) {
            assert!(event == b"[DONE]" || is_json(event));
        }
        if matches!(to, Dialect::Bedrock | Dialect::Replicate) {
            continue; // which nobody calls in
        }
        // What is written in a dialect can be read in it. Chats and responses can have parts of calls in each other's midst,
        // which Messages cannot say, and so do those that were Messages.
        if from == Dialect::Anthropic || (from == Dialect::Responses && matches!(to, Dialect::OpenAi | Dialect::Gemini))
        {
            let (mut again, mut out) = (self::answer(to, from).stream(), Vec::new());
            again.feed(&at_once.0, &mut out);
            assert_eq!(again.failure(), None);
        }
    }
    let ways = [Counting::Messages, Counting::Responses, Counting::Gemini, Counting::Vertex, Counting::Converse];
    for (from, call) in [(Dialect::Responses, RESPONSES_CALL), (Dialect::Anthropic, CALL), (Dialect::Gemini, CONTENT)] {
        for by in ways {
            let counted =
                |body: &[u8]| translate::count::request(body, from, &translate::To::new(from, "other"), by).ok();
            let is_one = if from == Dialect::Gemini { is_content } else { is_call };
            if is_one && let Some((body, _)) = counted(bytes) {
                assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&body).is_ok());
            }
            let Some((_, answer)) = counted(call) else { unreachable!("a right call") };
            assert!(answer.whole(bytes).is_none_or(|body| is_json(&body)));
        }
    }
    let mut whole = gemini_usage::AnswerUsage::new();
    whole.feed(bytes);
    whole.finish();
});
