#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn usage(input: u64, cached_input: u64, output: u64, reasoning: u64) -> TokenUsage {
    TokenUsage { input, cached_input, output, reasoning, ..TokenUsage::default() }
}

fn answer(body: &str) -> Option<TokenUsage> {
    let mut answer = AnswerUsage::new();
    answer.feed(body.as_bytes());
    answer.finish()
}

fn stream(drop: bool, chunks: &[&[u8]]) -> (Vec<u8>, Option<TokenUsage>) {
    let (mut reader, mut out) = (StreamUsage::new(drop), Vec::new());
    for chunk in chunks {
        reader.feed(chunk, &mut |b| out.extend_from_slice(b));
    }
    reader.finish(&mut |b| out.extend_from_slice(b));
    (out, reader.usage())
}

#[test]
fn every_known_variant_of_a_usage_object() {
    for (object, expect) in [
        (r#"{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}"#, Some(usage(9, 0, 3, 0))),
        (
            r#"{"prompt_tokens":9,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}"#,
            Some(usage(9, 4, 3, 2)),
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":3,"prompt_tokens_details":null,"completion_tokens_details":null}"#,
            Some(usage(9, 0, 3, 0)),
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":3,"prompt_tokens_details":[],"completion_tokens_details":"x"}"#,
            Some(usage(9, 0, 3, 0)),
        ),
        (r#"{"prompt_tokens":9.0,"completion_tokens":3.2,"cached_tokens":1e0}"#, Some(usage(9, 1, 4, 0))),
        (
            r#"{"prompt_tokens":9,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":10}}"#,
            Some(usage(9, 9, 3, 0)),
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":-1}}"#,
            Some(usage(9, 0, 3, 0)),
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":3,"prompt_cache_hit_tokens":8,"prompt_cache_miss_tokens":1}"#,
            Some(usage(9, 8, 3, 0)),
        ),
        // xAI: reasoning beside completion_tokens, visible in the total.
        (
            r#"{"prompt_tokens":12,"completion_tokens":1,"total_tokens":241,"completion_tokens_details":{"reasoning_tokens":228}}"#,
            Some(usage(12, 0, 229, 228)),
        ),
        // Gemini's compatible API: thinking only in the total.
        (r#"{"prompt_tokens":35,"completion_tokens":12,"total_tokens":109}"#, Some(usage(35, 0, 74, 0))),
        (r#"{"prompt_tokens":5}"#, Some(usage(5, 0, 0, 0))),
        (r#"{"prompt_tokens":-9,"completion_tokens":3}"#, None),
        (r#"{"prompt_tokens":9,"completion_tokens":-0.5}"#, None),
        (r#"{"prompt_tokens":9,"completion_tokens":3,"total_tokens":-1e300}"#, None),
        (r#"{"prompt_tokens":1e300,"completion_tokens":99999999999999999999}"#, Some(usage(u64::MAX, 0, u64::MAX, 0))),
        (r#"{"prompt_tokens":"9","completion_tokens":null}"#, None),
        ("{}", None),
        ("null", None),
        ("7", None),
        (r#""text""#, None),
    ] {
        assert_eq!(answer(&format!(r#"{{"choices":[],"usage":{object}}}"#)), expect, "{object}");
        let event = format!("data: {{\"choices\":[{{}}],\"usage\": {object}}}\n\n");
        assert_eq!(stream(false, &[event.as_bytes()]), (event.clone().into_bytes(), expect), "{object}");
    }
    let groq = r#"{"x_groq":{"id":"r","usage":{"prompt_tokens":2,"completion_tokens":1}},"choices":[{}]}"#;
    assert_eq!(answer(groq), Some(usage(2, 0, 1, 0)));
    assert_eq!(stream(false, &[b"data: ", groq.as_bytes(), b"\n\n"]).1, Some(usage(2, 0, 1, 0)));
    for none in
        ["", "{", "[]", r#"{"error":{"usage":{"prompt_tokens":1}}}"#, r#"{"a":"\"usage\":{\"prompt_tokens\":1}"}"#]
    {
        assert_eq!(answer(none), None, "{none}");
    }
}

const CONTENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\n";
const USAGE: &str = "data: {\"choices\": [ ],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[test]
fn the_event_we_asked_for_is_dropped_whole() {
    let all = [CONTENT, USAGE, DONE].concat();
    assert_eq!(stream(true, &[all.as_bytes()]), ([CONTENT, DONE].concat().into_bytes(), Some(usage(7, 0, 2, 0))));
    assert_eq!(stream(false, &[all.as_bytes()]), (all.clone().into_bytes(), Some(usage(7, 0, 2, 0))));
    // Also without a blank line at the end of the stream.
    let cut = [CONTENT, USAGE.trim_end()].concat();
    assert_eq!(stream(true, &[cut.as_bytes()]).0, CONTENT.as_bytes());
}

#[test]
fn events_that_carry_more_are_kept() {
    for event in [
        "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n",
        "data: {\"choices\":[],\"usage\":null}\n\n",
        "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n",
        "data: {\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7\n\n",
        ": {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n",
        "data: {\"choices\":null,\"x_groq\":{\"usage\":{\"prompt_tokens\":7}}}\n\n",
    ] {
        assert_eq!(stream(true, &[event.as_bytes()]).0, event.as_bytes());
    }
}

#[test]
fn holds_back_only_what_may_be_dropped() {
    let (mut reader, mut out) = (StreamUsage::new(true), Vec::new());
    reader.feed(b"data: {\"choices\":", &mut |b| out.extend_from_slice(b));
    assert_eq!(out, b"", "may still be the usage event");
    reader.feed(b"[{\"delta\"", &mut |b| out.extend_from_slice(b));
    assert_eq!(out, b"data: {\"choices\":[{\"delta\"", "a choice: it is not");
    reader.feed(b":1}]}", &mut |b| out.extend_from_slice(b));
    assert_eq!(out, b"data: {\"choices\":[{\"delta\":1}]}");
    reader.feed(b"\n\ndata: {", &mut |b| out.extend_from_slice(b));
    assert_eq!(out, b"data: {\"choices\":[{\"delta\":1}]}\n\n");
    reader.finish(&mut |b| out.extend_from_slice(b));
    assert_eq!(out, b"data: {\"choices\":[{\"delta\":1}]}\n\ndata: {");

    let (mut reader, mut out) = (StreamUsage::new(false), Vec::new());
    reader.feed(b"data: {\"cho", &mut |b| out.extend_from_slice(b));
    assert_eq!(out, b"data: {\"cho", "without dropping nothing waits");
}

#[test]
fn of_several_counts_the_largest_holds() {
    let event = |n: u64| {
        format!("data: {{\"choices\":[{{}}],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":{n}}}}}\n\n")
    };
    let all: String = (1..=6).chain([0]).map(event).collect();
    assert_eq!(stream(true, &[all.as_bytes()]), (all.clone().into_bytes(), Some(usage(7, 0, 6, 0))));
}

#[test]
fn a_count_is_of_the_whole_answer_only_with_its_end() {
    let count = |n: &str| format!(r#""usage":{{"prompt_tokens":7,"completion_tokens":{n}}}"#);
    let (early, none, null) = (count("2"), count("0"), count("null"));
    for (events, is_all) in [
        (vec![format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":null}}],{early}}}"#)], false),
        (vec![format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":""}}],{early}}}"#)], false),
        (vec![format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"stop"}}],{early}}}"#)], true),
        (vec![format!(r#"{{"choices":[],{early}}}"#)], true),
        (vec![format!(r#"{{"choices":[],{none}}}"#)], false),
        (vec![format!(r#"{{"choices":[],{null}}}"#)], false),
        // What counts nothing written takes nothing back.
        (vec![format!(r#"{{"choices":[{{"delta":{{}}}}],{early}}}"#), format!(r#"{{"choices":[],{none}}}"#)], true),
        // It goes on.
        (vec![format!(r#"{{"choices":[],{early}}}"#), format!(r#"{{"choices":[{{"delta":{{}}}}],{early}}}"#)], false),
    ] {
        let mut stream = StreamUsage::new(false);
        events.iter().for_each(|event| stream.inspect(format!("data: {event}\n\n").as_bytes()));
        assert_eq!((stream.used().is_some(), stream.begun().is_some()), (is_all, !is_all), "{events:?}");
        // Once all of it has come, only what counts nothing written is no count.
        stream.ended();
        let counts = stream.usage().unwrap().output > 0;
        assert_eq!((stream.used().is_some(), stream.begun().is_some()), (counts, !counts), "{events:?}");
    }
}

#[test]
fn large_answers_are_read_from_their_end() {
    let filler = "x".repeat(ANSWER_LIMIT);
    let nested = r#""tool":{"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let body = format!(
        r#"{{"data":"{filler}",{nested},"usage":{{"prompt_tokens":5,"completion_tokens":0}},"after":{{"usage":{{"prompt_tokens":2}}}}}}"#
    );
    for size in [1000, 70_000, body.len()] {
        let mut answer = AnswerUsage::new();
        for chunk in body.as_bytes().chunks(size) {
            answer.feed(chunk);
            assert!(answer.kept.len() <= ANSWER_LIMIT);
        }
        assert!(answer.kept.len() <= 2 * TAIL);
        assert_eq!(answer.finish(), Some(usage(5, 0, 0, 0)), "in chunks of {size}");
    }
    assert_eq!(answer(&format!(r#"{{"data":"{filler}",{nested}}}"#)), None, "only nested ones");
}

fn streams() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        CONTENT,
        USAGE,
        DONE,
        "\n",
        "\r\n\r\n",
        "data: ",
        ": keep-alive\n\n",
        "{\"choices\":[",
        "{}",
        "]",
        "\"usage\"",
        ":",
        " null",
        ",\"usage\":{\"prompt_tokens\":1}}",
        "data: {\"usage\":{\"prompt_tokens\":3},\"choices\":[]}\r\n\r\n",
        "{",
        "}",
    ]);
    prop::collection::vec(token, 0..24).prop_map(|t| t.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same(stream_text in streams(), mut cuts in prop::collection::vec(any::<usize>(), 0..10), drop: bool) {
        let bytes = stream_text.as_bytes();
        cuts.iter_mut().for_each(|c| *c %= bytes.len() + 1);
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<_> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        let whole = stream(drop, &[bytes]);
        if !drop {
            prop_assert_eq!(&whole.0, bytes);
        }
        prop_assert_eq!(&stream(drop, &chunks), &whole);
        prop_assert_eq!(&stream(drop, &bytes.chunks(1).collect::<Vec<_>>()), &whole);
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), drop: bool) {
        stream(drop, &bytes.chunks(5).collect::<Vec<_>>());
        let mut answer = AnswerUsage::new();
        answer.feed(&bytes);
        answer.finish();
    }
}

#[test]
fn sound_is_told_apart() {
    let used = |usage: &str| {
        let mut answer = AnswerUsage::new();
        answer.feed(format!(r#"{{"choices":[],"usage":{usage}}}"#).as_bytes());
        let used = answer.finish_used().unwrap();
        let units = used.units;
        (used.tokens.unwrap().input, units.audio_tokens, units.cached_audio_tokens, units.audio_output_tokens)
    };
    assert_eq!(used(r#"{"prompt_tokens":10,"completion_tokens":5}"#), (10, 0, 0, 0));
    let told = r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"audio_tokens":7,"cached_tokens":4},
        "completion_tokens_details":{"audio_tokens":3}}"#;
    assert_eq!(used(told), (10, 6, 1, 3));
    // Never more than there is of all.
    let told = r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"audio_tokens":70},
        "completion_tokens_details":{"audio_tokens":30}}"#;
    assert_eq!(used(told), (10, 10, 0, 5));
    let mut stream = StreamUsage::new(false);
    let event = r#"data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"audio_tokens":7}}}"#;
    stream.inspect(format!("{event}\n\n").as_bytes());
    assert_eq!(stream.used().unwrap().units.audio_tokens, 7);
}

#[test]
fn only_the_usage_of_the_answer_itself_counts() {
    const USAGE: &str = r#""usage":{"prompt_tokens":5,"completion_tokens":2}"#;
    const INNER: &str = r#"{"usage":{"prompt_tokens":99,"completion_tokens":99}}"#;
    let told = Some(usage(5, 0, 2, 0));
    for body in [
        format!(r#"{{{USAGE},"choices":[{INNER}]}}"#),
        format!(r#"{{"choices":[{INNER}],{USAGE}}}"#),
        format!(r#"{{"choices":[{{"message":{{"content":"\"usage\":{{"}}}}],{USAGE}}}"#),
        format!(r#"{{"x_groq":{INNER},{USAGE}}}"#),
    ] {
        assert_eq!(answer(&body), told, "{body}");
    }
    assert_eq!(answer(&format!(r#"{{"choices":[{INNER}]}}"#)), None);
    assert_eq!(answer(&format!(r#"{{"x_groq":{INNER}}}"#)), Some(usage(99, 0, 99, 0)));
}

#[test]
fn how_it_was_served_is_told_with_what_it_counts() {
    use crate::tier::Tier;
    const USAGE: &str = r#""usage":{"prompt_tokens":10,"completion_tokens":5}"#;
    let whole = |body: &str| {
        let mut answer = AnswerUsage::new();
        answer.feed(body.as_bytes());
        answer.finish_used().unwrap().served
    };
    let served = Some(Served::Tier(Tier::Priority));
    assert_eq!(whole(&format!(r#"{{"choices":[],{USAGE},"service_tier":"priority"}}"#)), served);
    assert_eq!(whole(&format!(r#"{{"service_tier":"default","choices":[],{USAGE}}}"#)), Some(Served::Usual));
    assert_eq!(whole(&format!(r#"{{"choices":[{{"service_tier":"priority"}}],{USAGE}}}"#)), None, "of something else");
    assert_eq!(whole(&format!(r#"{{"choices":[],{USAGE},"service_tier":null}}"#)), None);
    // Of a large answer, where it stands behind.
    let long = "x".repeat(ANSWER_LIMIT);
    assert_eq!(whole(&format!(r#"{{"choices":["{long}"],{USAGE},"service_tier":"fast"}}"#)), served);
    assert_eq!(whole(&format!(r#"{{"service_tier":"fast","choices":["{long}"],{USAGE}}}"#)), None);
    for drops in [false, true] {
        let mut stream = StreamUsage::new(drops);
        let events = [
            r#"{"choices":[{"delta":{}}],"service_tier":"default"}"#.to_owned(),
            format!(r#"{{"choices":[],"service_tier":"priority",{USAGE}}}"#),
        ];
        for event in events {
            stream.feed(format!("data: {event}\n\n").as_bytes(), &mut |_| {});
        }
        assert_eq!(stream.used().unwrap().served, served);
    }
}
