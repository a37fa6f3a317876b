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

#[test]
fn every_known_variant_of_a_count() {
    for (object, expect) in [
        (r#"{"promptTokenCount":9,"candidatesTokenCount":3,"totalTokenCount":12}"#, Some(usage(9, 0, 3, 0))),
        (
            r#"{"promptTokenCount":9,"cachedContentTokenCount":4,"toolUsePromptTokenCount":100,"candidatesTokenCount":3,"thoughtsTokenCount":20,"promptTokensDetails":[{"modality":"TEXT","tokenCount":9}]}"#,
            Some(usage(109, 4, 23, 20)),
        ),
        // Nothing was written, or only thought.
        (r#"{"promptTokenCount":9}"#, Some(usage(9, 0, 0, 0))),
        (r#"{"promptTokenCount":9,"thoughtsTokenCount":5}"#, Some(usage(9, 0, 5, 5))),
        // No part is larger than what it is part of.
        (r#"{"promptTokenCount":2,"cachedContentTokenCount":4,"candidatesTokenCount":1}"#, Some(usage(2, 2, 1, 0))),
        (r#"{"promptTokenCount":2,"candidatesTokenCount":1.2}"#, Some(usage(2, 0, 2, 0))),
        (r#"{"promptTokenCount":-2,"candidatesTokenCount":1}"#, None),
        (r#"{"promptTokenCount":2,"candidatesTokenCount":-1}"#, None),
        (
            r#"{"promptTokenCount":18446744073709551615,"toolUsePromptTokenCount":9,"candidatesTokenCount":99999999999999999999}"#,
            Some(usage(u64::MAX, 0, u64::MAX, 0)),
        ),
        (r#"{"promptTokenCount":"9"}"#, None),
        ("{}", None),
        ("null", None),
        ("7", None),
    ] {
        assert_eq!(answer(&format!(r#"{{"candidates":[],"usageMetadata":{object}}}"#)), expect, "{object}");
        assert_eq!(answer(&format!(r#"[{{"usageMetadata":{object}}},{{}}]"#)), expect, "{object}");
    }
    assert_eq!(answer(r#"{"totalTokens":14}"#), None, "a count of tokens is no usage");
    assert_eq!(answer(r#"[{"usageMetadata":{"promptTokenCount":9}},"#), None);
}

#[test]
fn the_end_of_a_large_answer_is_enough() {
    let text = "x".repeat(5 << 20);
    let usage_of_all = r#""usageMetadata": {"promptTokenCount":9,"candidatesTokenCount":3},"modelVersion":"m"}"#;
    let whole = format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}}}],{usage_of_all}"#);
    assert_eq!(answer(&whole), Some(usage(9, 0, 3, 0)));
    let quoted = r#""usageMetadata":{\"promptTokenCount\":1}"#;
    let elements = format!(r#"[{{"text":"{text}"}},{{{usage_of_all},{{"text":{quoted:?}}}]"#);
    assert_eq!(answer(&elements), Some(usage(9, 0, 3, 0)));
}

const FIRST: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"usageMetadata\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":7,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":30}}\r\n\r\n";
const LAST: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":7,\"cachedContentTokenCount\":3,\"candidatesTokenCount\":9,\"thoughtsTokenCount\":30}}\r\n\r\n";
const BLOCKED: &str =
    "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":{\"promptTokenCount\":7}}\n\n";

fn stream(pieces: &[&[u8]]) -> (Option<TokenUsage>, Option<TokenUsage>) {
    let mut reader = StreamUsage::new();
    pieces.iter().for_each(|piece| reader.inspect(piece));
    reader.finish();
    (reader.begun(), reader.usage())
}

#[test]
fn a_stream_counts_up_until_it_stops() {
    let of = |events: &[&str]| stream(&[events.concat().as_bytes()]);
    assert_eq!(of(&[FIRST]), (Some(usage(7, 0, 0, 0)), None), "without its end nobody knows how much was written");
    assert_eq!(of(&[FIRST, LAST]), (None, Some(usage(7, 3, 39, 30))));
    // What comes after the end takes nothing back.
    assert_eq!(of(&[LAST, FIRST]), (None, Some(usage(7, 3, 39, 30))));
    assert_eq!(of(&[BLOCKED]), (None, Some(usage(7, 0, 0, 0))));
    assert_eq!(of(&[FIRST, LAST.trim_end()]), (None, Some(usage(7, 3, 39, 30))));
    assert_eq!(of(&["data: {\"error\":{\"code\":503}}\n\n"]), (None, None));
}

proptest! {
    #[test]
    fn any_split_gives_the_same(size in 1usize..60) {
        let all = [FIRST, "\r\n", LAST].concat();
        prop_assert_eq!(stream(&all.as_bytes().chunks(size).collect::<Vec<_>>()), stream(&[all.as_bytes()]));
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        stream(&bytes.chunks(5).collect::<Vec<_>>());
        let mut answer = AnswerUsage::new();
        answer.feed(&bytes);
        answer.finish();
    }
}

#[test]
fn sound_and_images_are_told_apart() {
    let mut answer = AnswerUsage::new();
    answer.feed(
        br#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":50,"cachedContentTokenCount":30,
            "promptTokensDetails":[{"modality":"TEXT","tokenCount":20},{"modality":"AUDIO","tokenCount":80}],
            "cacheTokensDetails":[{"modality":"AUDIO","tokenCount":30}],
            "candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":40},{"modality":"AUDIO","tokenCount":900}]}}"#,
    );
    let units = answer.finish_used().unwrap().units;
    assert_eq!((units.audio_tokens, units.cached_audio_tokens), (50, 30));
    // Never more than there is of all.
    assert_eq!((units.image_output_tokens, units.audio_output_tokens), (40, 50));
    let mut plain = AnswerUsage::new();
    plain.feed(br#"{"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":50,"promptTokensDetails":"none"}}"#);
    assert_eq!(plain.finish_used().unwrap().units, Units::default());
}
