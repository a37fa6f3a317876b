//! What Gemini signed in every recorded answer comes back to it: by callers of Chat Completions, of Messages and of
//! Responses, from answers that came whole and as streams.
//!
//! The recordings are found as in `recordings.rs`; where they are absent, the small fixtures of this folder are read.
#![allow(clippy::unwrap_used)]
#![expect(clippy::print_stdout, reason = "says what was read, and when the recordings are absent")]

mod exchange;

use credentialflow_llm::{
    provider::Dialect,
    translate::{self, Translation},
};
use credentialflow_model::Timestamp;
use exchange::Exchange;
use serde_json::{Value, json};

const CALLERS: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses];

/// A call of a caller's dialect whose last turns are what the model answered and a question, and how it is answered.
fn call(caller: Dialect, answered: &[Value]) -> (Value, Translation) {
    let (field, mut turns) = match caller {
        Dialect::Responses => ("input", answered.to_vec()),
        Dialect::Anthropic => ("messages", vec![json!({"role": "assistant", "content": answered})]),
        _ => ("messages", answered.to_vec()),
    };
    turns.push(json!({"role": "user", "content": "And then?"}));
    let body = json!({"model": "m", "max_tokens": 9, field: turns});
    let body = match caller {
        Dialect::Responses => json!({"model": "m", "input": body["input"], "stream": true}),
        _ => body,
    };
    // Of this generation none is let pass without.
    let to = translate::To::new(Dialect::Gemini, "gemini-2.5-pro");
    let (sent, translation) =
        translate::request(body.to_string().as_bytes(), caller, &to, Timestamp::from_secs(0)).unwrap();
    (serde_json::from_slice(&sent).unwrap(), translation)
}

/// What a caller holds of a whole answer.
fn held(caller: Dialect, answer: &Value) -> Vec<Value> {
    let list = |value: &Value| value.as_array().unwrap().clone();
    match caller {
        Dialect::Responses => list(&answer["output"]),
        Dialect::Anthropic => list(&answer["content"]),
        _ => vec![answer["choices"][0]["message"].clone()],
    }
}

/// The parts of an answer that its caller can send back: what was said, joined as callers hold it, and calls, each with its
/// signature.
fn signed(parts: &[Value]) -> (Option<String>, Vec<(String, Option<String>)>) {
    let word = |value: &Value| value.as_str().filter(|word| !word.is_empty()).map(str::to_owned);
    let (mut of_text, mut calls) = (None, Vec::new());
    for part in parts {
        let signature = word(&part["thoughtSignature"]);
        match part["functionCall"]["name"].as_str() {
            Some(name) => calls.push((name.to_owned(), signature)),
            None => of_text = signature.or(of_text),
        }
    }
    (of_text, calls)
}

/// The parts of the first candidate, of all events of a stream.
fn parts(exchange: &Exchange) -> Vec<Value> {
    let text = std::str::from_utf8(&exchange.response).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data:")).map(|data| serde_json::from_str(data.trim()));
    let events: Vec<Value> = match exchange.sse {
        true => data.collect::<Result<_, _>>().unwrap(),
        false => vec![serde_json::from_str(text).unwrap()],
    };
    let of = |event: &Value| event["candidates"][0]["content"]["parts"].as_array().cloned().unwrap_or_default();
    events.iter().flat_map(of).collect()
}

#[test]
fn what_gemini_signed_comes_back_to_it() {
    let (mut calls, mut texts, mut streams) = (0, 0, 0);
    for exchange in exchange::exchanges("generateContent").iter().filter(|exchange| exchange.status == 200) {
        if exchange.response.trim_ascii_start().starts_with(b"[") {
            continue; // a stream that is one array, for which nobody but Gemini's callers ask
        }
        let recorded = parts(exchange);
        let (of_text, of_calls) = signed(&recorded);
        let plain = |part: &Value| {
            let known = ["text", "thought", "thoughtSignature", "functionCall"];
            part.as_object().unwrap().keys().all(|name| known.contains(&&**name))
        };
        if !recorded.iter().all(plain) || (of_text.is_none() && of_calls.iter().all(|(_, one)| one.is_none())) {
            continue;
        }
        for caller in CALLERS {
            let (_, translation) = call(caller, &[]);
            let answer: Value = if exchange.sse {
                if caller != Dialect::Responses {
                    continue; // whose streams say in the end what they said
                }
                let (mut stream, mut out) = (translation.stream(), Vec::new());
                exchange.response.chunks(100).for_each(|piece| stream.feed(piece, &mut out));
                stream.finish(&mut out);
                let text = String::from_utf8(out).unwrap();
                let last = text.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap();
                serde_json::from_str::<Value>(last).unwrap()["response"].clone()
            } else {
                serde_json::from_slice(&translation.whole(&exchange.response).unwrap()).unwrap()
            };
            let (sent, _) = call(caller, &held(caller, &answer));
            let back = signed(sent["contents"][0]["parts"].as_array().unwrap());
            assert_eq!(back, (of_text.clone(), of_calls.clone()), "{} by {caller:?}", exchange.name);
            calls += of_calls.iter().filter(|(_, one)| one.is_some()).count();
            texts += usize::from(of_text.is_some());
            streams += usize::from(exchange.sse);
        }
    }
    println!(
        "gemini: {calls} signatures of calls and {texts} of texts came back, of them {streams} answers in streams"
    );
    assert!(exchange::public().is_empty() || (calls > 0 && texts > 0 && streams > 0));
}
