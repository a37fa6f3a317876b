#![allow(clippy::unwrap_used)]
use super::*;
use crate::guardrail::{Detector, registry};
use credentialflow_model::resource::Guardrail;
use proptest::prelude::*;
use serde_json::{Value, json};

fn rules(rules: Value) -> Arc<Guardrails> {
    let rules: Vec<Guardrail> = serde_json::from_value(rules).unwrap();
    Arc::new(Guardrails::build(rules.iter().map(|rule| (None, rule))).unwrap())
}

fn redacting() -> Arc<Guardrails> {
    rules(json!([
        {"detect": "personal_data", "action": "redact", "on": "answer"},
        {"detect": "secrets", "action": "redact", "on": "both"},
        {"detect": "words", "action": "redact", "on": "answer", "words": ["project falcon"]},
        {"detect": "pattern", "action": "redact", "on": "answer", "pattern": r"PRJ-\d{4}"},
    ]))
}

/// The masks of a call in which an address and a name were masked.
fn masks() -> Masks {
    let rules = rules(json!([
        {"detect": "personal_data", "action": "mask"},
        {"detect": "words", "action": "mask", "words": ["Anna Lee"]},
    ]));
    let call = json!({"messages": [{"role": "user", "content": "I am Anna Lee, anna@example.com"}]});
    rules.judge(call.to_string().as_bytes()).unwrap().masks.unwrap()
}

/// A dialect, as far as its streams are written here.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speaks {
    Chat,
    Responses,
    Messages,
    Gemini,
}

use Speaks::{Chat, Gemini, Messages, Responses};

/// The events of a streamed answer with these texts of blocks, in these pieces: `(block, piece)`.
fn stream(speaks: Speaks, pieces: &[(usize, String)]) -> Vec<String> {
    let data = |value: Value| match speaks {
        Responses | Messages => format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap()),
        Chat => format!("data: {value}\n\n"),
        Gemini => format!("data: {value}\r\n\r\n"),
    };
    let blocks = pieces.iter().map(|(block, _)| block + 1).max().unwrap_or(0);
    let whole = |block: usize| pieces.iter().filter(|(b, _)| *b == block).map(|(_, p)| p.as_str()).collect::<String>();
    let mut events = Vec::new();
    if speaks == Messages {
        events.push(data(json!({"type": "message_start", "message": {"id": "m", "content": [], "model": "x"}})));
        for block in 0..blocks {
            let start =
                json!({"type": "content_block_start", "index": block, "content_block": {"type": "text", "text": ""}});
            events.push(data(start));
        }
    }
    for (n, (block, piece)) in pieces.iter().enumerate() {
        events.push(data(match speaks {
            Chat => json!({"id": "c", "choices": [{"index": block, "delta": {"content": piece}, "finish_reason": null}]}),
            Responses => json!({"type": "response.output_text.delta", "sequence_number": n, "output_index": block, "content_index": 0, "item_id": "i", "delta": piece}),
            Messages => json!({"type": "content_block_delta", "index": block, "delta": {"type": "text_delta", "text": piece}}),
            Gemini => json!({"candidates": [{"content": {"parts": [{"text": piece}], "role": "model"}, "index": block}]}),
        }));
    }
    for block in 0..blocks {
        match speaks {
            Chat => events.push(data(json!({"id": "c", "choices": [{"index": block, "delta": {}, "finish_reason": "stop"}]}))),
            Messages => events.push(data(json!({"type": "content_block_stop", "index": block}))),
            Gemini => events.push(data(json!({"candidates": [{"finishReason": "STOP", "index": block}], "usageMetadata": {"totalTokenCount": 1700000000}}))),
            Responses => events.push(data(json!({"type": "response.output_text.done", "output_index": block, "content_index": 0, "text": whole(block)}))),
        }
    }
    match speaks {
        Chat => events.push("data: [DONE]\n\n".into()),
        Messages => events.push(data(json!({"type": "message_stop"}))),
        Responses => {
            let item = |block| json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": whole(block)}]});
            let output: Vec<_> = (0..blocks).map(item).collect();
            events.push(data(
                json!({"type": "response.completed", "response": {"created_at": 1700000000, "output": output}}),
            ));
        }
        Gemini => {}
    }
    events
}

/// What the caller reads of a stream: each block, from its pieces and from where it is told again.
fn read(speaks: Speaks, bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut blocks, mut again) = (vec![String::new(); 8], Vec::new());
    let mut reader = crate::sse::SseReader::default();
    let mut each = |piece: crate::sse::SsePiece<'_>| {
        let crate::sse::SsePiece::Event(event) = piece else { panic!("too large") };
        let data = event.data().unwrap();
        let Ok(event) = serde_json::from_slice::<Value>(&data) else { return assert_eq!(&*data, b"[DONE]") };
        let mut add = |block: &Value, text: &Value| {
            if let Some(text) = text.as_str() {
                blocks[block.as_u64().unwrap_or(0) as usize].push_str(text);
            }
        };
        match speaks {
            Chat => add(&event["choices"][0]["index"], &event["choices"][0]["delta"]["content"]),
            Messages => add(&event["index"], &event["delta"]["text"]),
            Responses => add(&event["output_index"], &event["delta"]),
            Gemini => {
                let candidate = &event["candidates"][0];
                let parts = candidate["content"]["parts"].as_array().into_iter().flatten();
                parts.for_each(|part| add(&candidate["index"], &part["text"]));
            }
        }
        again.extend(event["text"].as_str().map(str::to_owned));
        for item in event["response"]["output"].as_array().into_iter().flatten() {
            again.extend(item["content"][0]["text"].as_str().map(str::to_owned));
        }
    };
    reader.feed(bytes, &mut each);
    reader.finish(&mut each);
    blocks.retain(|block| !block.is_empty());
    (blocks, again)
}

/// Judges a stream whose bytes come in steps of this size.
fn judged(answer: Option<Answer>, events: &[String], step: usize) -> (Vec<u8>, Stream) {
    let mut stream = Stream::new(answer.unwrap(), Frames::Events);
    let mut out = Vec::new();
    events.concat().as_bytes().chunks(step).for_each(|bytes| stream.feed(bytes, &mut out));
    stream.finish(&mut out);
    (out, stream)
}

fn pieces_of(text: &str, step: usize) -> Vec<(usize, String)> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(step).map(|piece| (0, piece.iter().collect())).collect()
}

const TEXT: &str = "Dear Sir, \"write\" to anna.lee@example.com or to\nbo@example.de; the card is 4111 1111 1111 1111, the account \
    DE89 3704 0044 0532 0130 00. Ask for Project  Falcon (PRJ-0042), call +46 8 928 571 38. Password: Xk7#pQ2m9vT1 - Ünïcödé 这是机密。 End.";
const REDACTED: &str = "Dear Sir, \"write\" to [EMAIL] or to\n[EMAIL]; the card is [CARD], the account \
    [IBAN]. Ask for [REDACTED] ([REDACTED]), call [PHONE]. Password: [SECRET] - Ünïcödé 这是机密。 End.";

#[test]
fn a_streamed_text_is_redacted_however_it_is_cut() {
    for speaks in [Chat, Responses, Messages, Gemini] {
        for (piece, step) in [(1, 7), (3, 1), (4, 100_000), (50, 64), (1000, 1000)] {
            let events = stream(speaks, &pieces_of(TEXT, piece));
            let (out, stream) = judged(Answer::of(Some(&redacting()), None), &events, step);
            assert_eq!(stream.stopped(), None);
            let (blocks, again) = read(speaks, &out);
            assert_eq!(blocks, [REDACTED], "{speaks:?} {piece} {step}");
            assert!(again.iter().all(|text| text == REDACTED), "{again:?}");
            assert_eq!(again.len(), if speaks == Responses { 2 } else { 0 });
        }
    }
}

#[test]
fn what_was_found_is_counted_and_told_once() {
    let events = stream(Responses, &pieces_of(TEXT, 5));
    let (_, mut stream) = judged(Answer::of(Some(&redacting()), None), &events, 100);
    let told = |met: &[Met]| met.iter().map(|met| (met.detect.as_str(), met.count)).collect::<Vec<_>>();
    let mut met = told(stream.answer().news().unwrap());
    met.sort_unstable();
    assert_eq!(met, [("pattern", 1), ("personal_data", 5), ("secrets", 1), ("words", 1)]);
    assert_eq!(stream.answer().news(), None);
}

#[test]
fn a_stream_in_which_nothing_is_found_keeps_its_bytes() {
    for speaks in [Chat, Responses, Messages, Gemini] {
        let mut events = stream(speaks, &pieces_of("Nothing \u{e4} is \"here\", 12 times.", 3));
        events.insert(1, ": a comment\n\n".into());
        for step in [1, 50, 10_000] {
            let (out, _) = judged(Answer::of(Some(&redacting()), Some(masks())), &events, step);
            assert_eq!(String::from_utf8(out).unwrap(), events.concat(), "{speaks:?}");
        }
    }
}

/// No byte of what is blocked reaches the caller, and nothing that comes after.
#[test]
fn what_is_blocked_ends_the_stream() {
    let rules = rules(json!([{"detect": "personal_data", "action": "block", "on": "answer"}]));
    let text =
        format!("{} write to anna.lee@example.com, now. {}", "A long story. ".repeat(40), "It goes on. ".repeat(40));
    for speaks in [Chat, Responses, Messages, Gemini] {
        for piece in [1, 5, 2000] {
            let events = stream(speaks, &pieces_of(&text, piece));
            let (out, stream) = judged(Answer::of(Some(&rules), None), &events, 64);
            assert_eq!(stream.stopped(), Some(Stop::Blocked(Detect::PersonalData)));
            let told = String::from_utf8(out).unwrap();
            assert!(!told.contains("anna") && !told.contains("goes on"), "{told}");
            assert_eq!(piece < 100, told.contains('A'), "what was decided before has gone");
        }
    }
}

/// Texts whose pieces come in turn are looked at each for itself.
#[test]
fn blocks_that_come_in_turn_are_told_apart() {
    let (a, b) = ("first: anna.lee@example.com, and more", "other: bo@example.de and PRJ-1234");
    let turns = a.chars().zip(b.chars()).flat_map(|(a, b)| [(0, a.to_string()), (1, b.to_string())]);
    let turns: Vec<_> = turns.chain(a.chars().skip(b.len()).map(|a| (0, a.to_string()))).collect();
    for speaks in [Chat, Responses, Messages, Gemini] {
        let (out, _) = judged(Answer::of(Some(&redacting()), None), &stream(speaks, &turns), 100);
        assert_eq!(read(speaks, &out).0, ["first: [EMAIL], and more", "other: [EMAIL] and [REDACTED]"], "{speaks:?}");
    }
}

#[test]
fn masked_names_become_what_the_caller_had_sent() {
    let said = "To <MASKED_1> <<EMAIL_1>>: <EMAIL_2> is a < b and <EMAIL";
    let expect = "To Anna Lee <anna@example.com>: <EMAIL_2> is a < b and <EMAIL";
    for speaks in [Chat, Responses, Messages, Gemini] {
        for piece in [1, 2, 5, 100] {
            let events = stream(speaks, &pieces_of(said, piece));
            // An address that the caller had sent is theirs: rules for answers do not take it out.
            for rules in [None, Some(redacting())] {
                let (out, _) = judged(Answer::of(rules.as_ref(), Some(masks())), &events, 33);
                let (blocks, again) = read(speaks, &out);
                assert_eq!(blocks, [expect], "{speaks:?} {piece}");
                assert!(again.iter().all(|text| text == expect));
            }
        }
    }
}

#[test]
fn only_what_may_be_a_name_waits() {
    let mut stream = Stream::new(Answer::of(None, Some(masks())).unwrap(), Frames::Events);
    let mut out = Vec::new();
    let event = |text: &str| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]}));
    for (text, goes) in [("hello", true), (" <", false), ("EMAIL", false), ("_1", false), (">!", true)] {
        out.clear();
        stream.feed(event(text).as_bytes(), &mut out);
        assert_eq!(!out.is_empty(), goes, "{text}");
    }
    assert_eq!(read(Chat, &out).0, [" anna@example.com!"]);
}

/// What a tool is called with is JSON in pieces.
#[test]
fn arguments_of_tools_are_judged_whole() {
    let arguments =
        json!({"to": "<EMAIL_1>", "cc": ["bo@example.de", 4_111_111_111_111_111_u64], "text": "\"<MASKED_1>\""})
            .to_string();
    let expect = json!({"to": "anna@example.com", "cc": ["[EMAIL]", "[CARD]"], "text": "\"Anna Lee\""});
    for (n, size) in [(0, 1), (1, 3), (2, 7), (3, 500)] {
        let chars: Vec<char> = arguments.chars().collect();
        let pieces: Vec<String> = chars.chunks(size).map(|piece| piece.iter().collect()).collect();
        let event = |value: Value| format!("data: {value}\n\n");
        let delta = |piece: &String| match n % 3 {
            0 => {
                json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 1, "function": {"arguments": piece}}]}}]})
            }
            1 => {
                json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": piece}})
            }
            _ => json!({"type": "response.function_call_arguments.delta", "output_index": 3, "delta": piece}),
        };
        let mut events: Vec<String> = pieces.iter().map(delta).map(event).collect();
        events.push(event(match n % 3 {
            0 => json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
            1 => json!({"type": "content_block_stop", "index": 2}),
            _ => json!({"type": "response.function_call_arguments.done", "output_index": 3, "arguments": arguments}),
        }));
        let (out, _) = judged(Answer::of(Some(&redacting()), Some(masks())), &events, 90);
        let mut joined = String::new();
        for line in String::from_utf8(out).unwrap().lines().filter_map(|line| line.strip_prefix("data: ")) {
            let event: Value = serde_json::from_str(line).unwrap();
            let piece = match n % 3 {
                0 => &event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"],
                1 => &event["delta"]["partial_json"],
                _ => &event["delta"],
            };
            joined.push_str(piece.as_str().unwrap_or_default());
            if let Some(again) = event["arguments"].as_str() {
                assert_eq!(serde_json::from_str::<Value>(again).unwrap(), expect);
            }
        }
        assert_eq!(serde_json::from_str::<Value>(&joined).unwrap(), expect, "{n}");
    }
}

#[test]
fn a_thought_that_is_signed_keeps_its_names() {
    let event = |kind: &str, field: &str| {
        let delta =
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": kind, field: "<EMAIL_1>, PRJ-0042."}});
        vec![format!("data: {delta}\n\n"), "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n".to_owned()]
    };
    for (kind, field, expect) in [
        ("thinking_delta", "thinking", "<EMAIL_1>, [REDACTED]."),
        ("text_delta", "text", "anna@example.com, [REDACTED]."),
    ] {
        let (out, _) = judged(Answer::of(Some(&redacting()), Some(masks())), &event(kind, field), 10);
        assert!(String::from_utf8(out).unwrap().contains(expect), "{kind}");
    }
}

#[test]
fn what_is_told_of_tokens_goes() {
    let chunk = json!({"choices": [{"index": 0, "delta": {"content": "anna@example.com "}, "logprobs": {"content": [{"token": "anna"}]}}]});
    let delta = json!({"type": "response.output_text.delta", "output_index": 0, "delta": "anna@example.com ", "logprobs": [{"token": "anna"}]});
    for event in [chunk, delta] {
        let (out, _) = judged(Answer::of(Some(&redacting()), None), &[format!("data: {event}\n\n")], 1000);
        let told = String::from_utf8(out).unwrap();
        assert!(!told.contains("anna") && told.contains("[EMAIL]"), "{told}");
        // Where nothing is taken out it stays.
        let flagging = rules(json!([{"detect": "personal_data", "action": "flag", "on": "answer"}]));
        let (out, mut stream) = judged(Answer::of(Some(&flagging), None), &[format!("data: {event}\n\n")], 1000);
        assert!(String::from_utf8(out).unwrap().contains("token"));
        assert_eq!(stream.answer().news().unwrap()[0].count, 1);
    }
}

#[test]
fn what_is_only_flagged_does_not_wait() {
    let flagging = rules(json!([{"detect": "personal_data", "action": "flag", "on": "answer"}]));
    let mut stream_of = Stream::new(Answer::of(Some(&flagging), None).unwrap(), Frames::Events);
    for event in stream(Chat, &pieces_of("write to anna@example.com, now", 2)) {
        let mut out = Vec::new();
        stream_of.feed(event.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), event);
    }
    let met = Met { set: None, label: None, detect: Detect::PersonalData, action: GuardrailAction::Flag, count: 1 };
    assert_eq!(stream_of.answer().news(), Some(&[met][..]));
}

#[test]
fn sizes_add_up() {
    let rules = rules(json!([{"detect": "size", "action": "block", "on": "answer", "most_characters": 20}]));
    for speaks in [Chat, Responses, Messages, Gemini] {
        for (length, stops) in [(20, false), (21, true)] {
            let events = stream(speaks, &pieces_of(&"ä".repeat(length), 3));
            let (_, stream) = judged(Answer::of(Some(&rules), None), &events, 64);
            let stopped = stops.then_some(Stop::Blocked(Detect::Size));
            assert_eq!(stream.stopped(), stopped, "{speaks:?} {length}");
        }
    }
}

#[test]
fn an_answer_fits_its_schema() {
    let rule = |action: &str, hold: bool| {
        let schema = json!({"type": "object", "required": ["city"]});
        rules(json!([{"detect": "json_schema", "action": action, "on": "answer", "schema": schema, "hold": hold}]))
    };
    for speaks in [Chat, Responses, Messages, Gemini] {
        for (said, fits) in [(r#"{"city": "Lisbon"}"#, true), (r#"{"town": "Lisbon"}"#, false), ("Lisbon", false)] {
            let events = stream(speaks, &pieces_of(said, 2));
            for hold in [false, true] {
                let (out, stream) = judged(Answer::of(Some(&rule("block", hold)), None), &events, 64);
                assert_eq!(stream.stopped().is_none(), fits, "{speaks:?} {said}");
                assert_eq!(out.is_empty(), hold && !fits);
                assert_eq!(fits, out == events.concat().as_bytes(), "one that does not fit has no proper end");
            }
            let (out, mut stream) = judged(Answer::of(Some(&rule("flag", false)), None), &events, 64);
            assert_eq!(out, events.concat().as_bytes());
            assert_eq!(stream.answer().news().is_none(), fits);
        }
    }
    // Several answers are each their own; one that calls tools only says nothing that could fit.
    let choice = |said: &str| json!({"index": 0, "message": {"role": "assistant", "content": said}});
    let body = json!({"choices": [choice(r#"{"city":1}"#), {"index": 1, "message": {"content": r#"{"city":2}"#}}]});
    let whole =
        |body: &Value| Answer::of(Some(&rule("block", false)), None).unwrap().whole(body.to_string().into_bytes());
    assert!(whole(&body).is_ok());
    assert_eq!(whole(&json!({"choices": [choice("no")]})), Err(Stop::Blocked(Detect::JsonSchema)));
    let called = json!({"choices": [{"index": 0, "message": {"content": null, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]});
    assert!(whole(&called).is_ok());
    let thought =
        json!({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "{\"city\":1}"}]});
    assert!(whole(&thought).is_ok());
    let reasoned = json!({"output": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "{\"city\":1}"}]}]});
    assert!(whole(&reasoned).is_ok());
    let parts = json!([{"text": "hm", "thought": true}, {"text": "{\"city\":"}, {"text": "1}"}]);
    assert!(whole(&json!({"candidates": [{"content": {"parts": parts}}]})).is_ok());
}

#[test]
fn whole_answers_are_judged_once() {
    let answers = [
        json!({"id": "c", "created": 1700000000, "choices": [{"index": 0, "message": {"role": "assistant", "content": "TEXT",
            "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "{\"a\":\"TEXT\"}"}}]}, "logprobs": null}]}),
        json!({"id": "m", "content": [{"type": "text", "text": "TEXT"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": ["TEXT"]}}]}),
        json!({"id": "r", "created_at": 1700000000, "instructions": "of bo@example.de", "text": {"format": {"type": "text"}},
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "TEXT"}]},
            {"type": "function_call", "arguments": "{\"a\":\"TEXT\"}"}]}),
        json!({"candidates": [{"content": {"parts": [{"text": "TEXT"}, {"functionCall": {"name": "f", "args": {"a": "TEXT"}}}]}}],
            "usageMetadata": {"totalTokenCount": 1700000000}}),
    ];
    for answer in answers {
        let with = |text: &str| answer.to_string().replace("TEXT", text);
        let mut judge = Answer::of(Some(&redacting()), Some(masks())).unwrap();
        let body = judge.whole(with("<MASKED_1>: bo@example.de, PRJ-0042").into_bytes()).unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), with("Anna Lee: [EMAIL], [REDACTED]"));
        let met: Vec<_> = judge.news().unwrap().iter().map(|met| (met.detect.as_str(), met.count)).collect();
        assert_eq!(met, [("personal_data", 2), ("pattern", 2)]);
        let untouched = with("nothing").into_bytes();
        assert_eq!(judge.whole(untouched.clone()).unwrap(), untouched);
        let blocking = rules(json!([{"detect": "words", "words": ["falcon"], "action": "block", "on": "both"}]));
        let blocked = Answer::of(Some(&blocking), None).unwrap().whole(with("a falcon").into_bytes());
        assert_eq!(blocked, Err(Stop::Blocked(Detect::Words)));
    }
}

#[test]
fn an_array_is_a_stream_that_came_whole() {
    let part = |text: &str| json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}}]});
    let body = json!([part("to anna.l"), part("ee@exam"), part("ple.com <EMA"), part("IL_1> end")]).to_string();
    let judge = |body: &str| Answer::of(Some(&redacting()), Some(masks())).unwrap().whole(body.as_bytes().to_vec());
    let told: Value = serde_json::from_slice(&judge(&body).unwrap()).unwrap();
    let read = |n: usize| told[n]["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!((0..4).map(read).collect::<String>(), "to [EMAIL] anna@example.com end");
    assert!(judge("[{}").is_err() && judge("[]").is_ok());
    let mut stream = Stream::new(Answer::of(Some(&redacting()), Some(masks())).unwrap(), Frames::Array);
    let mut out = Vec::new();
    body.as_bytes().chunks(10).for_each(|bytes| stream.feed(bytes, &mut out));
    assert!(out.is_empty());
    stream.finish(&mut out);
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), told);
}

#[test]
fn what_cannot_be_looked_at_does_not_pass() {
    let answer = || Answer::of(Some(&redacting()), None).unwrap();
    for body in ["", "no", "{", "{\"a\":1} 2"] {
        assert_eq!(answer().whole(body.as_bytes().to_vec()), Err(Stop::Unreadable(Unreadable::Json)), "{body}");
    }
    for events in ["data: no\n\n", "data: {\"a\":\n\n"] {
        let (out, stream) = judged(Some(answer()), &[events.to_owned()], 5);
        assert_eq!((out.len(), stream.stopped()), (0, Some(Stop::Unreadable(Unreadable::Json))));
    }
    let long = format!("data: {{\"delta\":\"{}\"}}\n\n", "x".repeat(5 << 20));
    let (out, stream) = judged(Some(answer()), &[long], 1 << 16);
    assert_eq!((out.len(), stream.stopped()), (0, Some(Stop::Unreadable(Unreadable::TooMuch))));
    // More waits than is kept: a call of a tool that never ends.
    let more = json!({"type": "content_block_delta", "index": 0, "delta": {"partial_json": "x".repeat(100_000)}});
    let (out, stream) = judged(Some(answer()), &vec![format!("data: {more}\n\n"); 100], 1 << 16);
    assert_eq!((out.len(), stream.stopped()), (0, Some(Stop::Unreadable(Unreadable::TooMuch))));
    assert!(Answer::of(Some(&rules(json!([{"detect": "secrets", "action": "block"}]))), None).is_none(), "of prompts");
}

/// Events whose data stand in several lines, or that are named, keep what they say.
#[test]
fn events_of_any_form_are_written_anew() {
    let events =
        ["id: 7\nevent: x\ndata: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"bo@example.de \"}}]}\n\n"
            .to_owned()];
    let (out, _) = judged(Answer::of(Some(&redacting()), None), &events, 9);
    let told = String::from_utf8(out).unwrap();
    assert_eq!(told, "id: 7\nevent: x\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"[EMAIL] \"}}]}\n\n");
}

/// Sentences of what is found and what is not.
const WORDS: &[&str] = &[
    "anna.lee@example.com",
    "bo@example.de",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "054-28-6917",
    "203.0.113.77",
    "+46 8 928 571 38",
    "(415) 555-2671",
    "Project Falcon",
    "project",
    "falcon",
    "PRJ-0042",
    "PRJ-12",
    "hello",
    "call",
    "the",
    "1234",
    "ä",
    "\"",
    "\\",
    "\n",
    ".",
    ",",
    "这是。",
    "😀",
    "<EMAIL_1>",
    "<",
    "EMAIL_1>",
    "password: Xk7#pQ2m9vT1",
    "postgres://app:hunter2x@db/x",
];

/// A text without what is found in it, and the values of its names.
fn redacted_whole(text: &str) -> String {
    let body = json!({"choices": [{"index": 0, "message": {"content": text}}]}).to_string().into_bytes();
    let body = Answer::of(Some(&redacting()), Some(masks())).unwrap().whole(body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    body["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// However a stream is cut, its caller reads what the whole text would have become.
    #[test]
    fn a_stream_cut_anywhere_is_as_the_whole(
        words in prop::collection::vec(prop::sample::select(WORDS), 1..60),
        sizes in prop::collection::vec(1usize..30, 1..20),
        speaks in prop::sample::select(vec![Chat, Responses, Messages, Gemini]),
        step in 1usize..300,
    ) {
        let text = words.join(" ");
        let mut pieces = Vec::new();
        let mut chars = text.chars().peekable();
        for size in sizes.iter().cycle() {
            if chars.peek().is_none() {
                break;
            }
            pieces.push((0, chars.by_ref().take(*size).collect::<String>()));
        }
        let events = stream(speaks, &pieces);
        let (out, stream) = judged(Answer::of(Some(&redacting()), Some(masks())), &events, step);
        prop_assert_eq!(stream.stopped(), None);
        let (blocks, again) = read(speaks, &out);
        let whole = redacted_whole(&text);
        prop_assert_eq!(&blocks.concat(), &whole);
        prop_assert!(again.iter().all(|told| *told == whole));
    }

    /// What a detector finds in what a caller reads was not there: nothing that is blocked gets through in pieces.
    #[test]
    fn nothing_that_is_blocked_gets_through(
        pieces in prop::collection::vec((0usize..2, "[a-e@.0-9 :/=\\-]{0,12}|anna@b\\.example|PRJ-[0-9]{4}|4111 1111 1111 1111"), 0..40),
        speaks in prop::sample::select(vec![Chat, Messages, Gemini]),
        step in 1usize..300,
    ) {
        let blocking = json!([
            {"detect": "personal_data", "action": "block", "on": "answer", "kinds": ["email", "card"]},
            {"detect": "pattern", "action": "block", "on": "answer", "pattern": r"PRJ-\d{4}"},
        ]);
        let built: Vec<Guardrail> = serde_json::from_value(blocking.clone()).unwrap();
        let detectors: Vec<Box<dyn Detector>> = built.iter().map(|rule| registry::build(rule).unwrap()).collect();
        let (out, stream) = judged(Answer::of(Some(&rules(blocking)), None), &stream(speaks, &pieces), step);
        for text in read(speaks, &out).0 {
            let mut found = Vec::new();
            // What has not come to its end may look like something that it is not.
            detectors.iter().for_each(|detector| detector.find(&text, &mut found));
            let ends = |found: &crate::guardrail::Found| found.range.end + 2 >= text.len();
            prop_assert!(found.iter().all(|found| stream.stopped().is_some() && ends(found)), "{text}");
        }
    }

    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..300), step in 1usize..50) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (_, mut stream) = judged(Answer::of(Some(&redacting()), Some(masks())), &[text], step);
        stream.feed(b"data: {}\n\n", &mut Vec::new());
        let _ = Answer::of(Some(&redacting()), Some(masks())).unwrap().whole(bytes);
    }
}
