#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn usage(
    input: u64,
    cached_input: u64,
    cache_write: u64,
    cache_write_1h: u64,
    output: u64,
    reasoning: u64,
) -> TokenUsage {
    TokenUsage { input, cached_input, cache_write, cache_write_1h, output, reasoning }
}

fn answer(object: &str) -> Option<TokenUsage> {
    let mut answer = AnswerUsage::new();
    answer.feed(format!(r#"{{"type":"message","content":[],"usage":{object}}}"#).as_bytes());
    answer.finish()
}

fn stream(pieces: &[&[u8]]) -> Option<TokenUsage> {
    let mut reader = StreamUsage::new();
    pieces.iter().for_each(|piece| reader.inspect(piece));
    reader.finish();
    reader.usage()
}

#[test]
fn every_known_variant_of_a_usage_object() {
    for (object, expect) in [
        (r#"{"input_tokens":9,"output_tokens":3}"#, Some(usage(9, 0, 0, 0, 3, 0))),
        (
            r#"{"input_tokens":9,"cache_creation_input_tokens":20,"cache_read_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":5,"ephemeral_1h_input_tokens":15},"output_tokens":3,"output_tokens_details":{"thinking_tokens":2}}"#,
            Some(usage(129, 100, 20, 15, 3, 2)),
        ),
        (
            r#"{"input_tokens":9,"cache_creation_input_tokens":null,"cache_read_input_tokens":null,"cache_creation":null,"output_tokens":3,"iterations":null}"#,
            Some(usage(9, 0, 0, 0, 3, 0)),
        ),
        // No part is larger than what it is part of.
        (
            r#"{"input_tokens":0,"cache_creation_input_tokens":1,"cache_creation":{"ephemeral_1h_input_tokens":15},"output_tokens":3,"output_tokens_details":{"thinking_tokens":9}}"#,
            Some(usage(1, 0, 1, 1, 3, 3)),
        ),
        (r#"{"input_tokens":4,"output_tokens":2.2}"#, Some(usage(4, 0, 0, 0, 3, 0))),
        (r#"{"input_tokens":-4,"output_tokens":2}"#, None),
        (r#"{"input_tokens":4,"output_tokens":-2}"#, None),
        // Compaction: its turn is billed and is not in the figures above it; an advisor is another model.
        (
            r#"{"input_tokens":682,"output_tokens":1320,"iterations":[{"type":"compaction","input_tokens":60385,"output_tokens":592},{"type":"advisor_message","input_tokens":5,"output_tokens":5},{"type":"message","input_tokens":682,"cache_read_input_tokens":1,"output_tokens":1320}]}"#,
            Some(usage(61068, 1, 0, 0, 1912, 0)),
        ),
        (r#"{"input_tokens":1,"output_tokens":2,"iterations":[]}"#, Some(usage(1, 0, 0, 0, 2, 0))),
        (
            r#"{"input_tokens":18446744073709551615,"cache_read_input_tokens":9,"output_tokens":99999999999999999999}"#,
            Some(usage(u64::MAX, 9, 0, 0, u64::MAX, 0)),
        ),
        (r#"{"input_tokens":"9"}"#, None),
        ("{}", None),
        ("null", None),
    ] {
        assert_eq!(answer(object), expect, "{object}");
    }
    let mut count = AnswerUsage::new();
    count.feed(br#"{"input_tokens":14}"#);
    assert_eq!(count.finish(), None, "a count of tokens is no usage");
}

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[],\"usage\":{\"input_tokens\":7,\"cache_read_input_tokens\":3,\"cache_creation_input_tokens\":2,\"cache_creation\":{\"ephemeral_1h_input_tokens\":2},\"output_tokens\":1}}}\n\n";
const TEXT: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\\\"usage\\\":{}\"}}\n\n";
const DELTA: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n";
const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

#[test]
fn a_stream_tells_it_in_parts() {
    let all = [START, TEXT, DELTA, STOP].concat();
    assert_eq!(stream(&[all.as_bytes()]), Some(usage(12, 3, 2, 2, 15, 0)));
    // Without its end nobody knows how much was written.
    assert_eq!(stream(&[START.as_bytes(), TEXT.as_bytes()]), None);
    let mut reader = StreamUsage::new();
    let mut then = |text: &str| {
        reader.inspect(text.as_bytes());
        (reader.begun(), reader.usage())
    };
    assert_eq!(then(TEXT), (None, None));
    assert_eq!(then(START), (Some(usage(12, 3, 2, 2, 0, 0)), None));
    assert_eq!(then(DELTA), (None, Some(usage(12, 3, 2, 2, 15, 0))));
    // The end counts all there was, so what it tells less of was not less.
    let end = |usage: &str| DELTA.replace("{\"output_tokens\":15}", usage);
    let told = |ends: &[String]| stream(&[START.as_bytes(), ends.concat().as_bytes()]);
    for less in [
        r#"{"input_tokens":0,"cache_read_input_tokens":0,"output_tokens":2}"#,
        r#"{"input_tokens":null,"output_tokens":2}"#,
    ] {
        assert_eq!(told(&[end(less)]), Some(usage(12, 3, 2, 2, 2, 0)), "{less}");
    }
    assert_eq!(told(&[end(r#"{"input_tokens":-7,"output_tokens":2}"#)]), None, "nobody counts so");
    assert_eq!(told(&[end(r#"{"output_tokens":0}"#)]), Some(usage(12, 3, 2, 2, 0, 0)), "it began with 1");
    let more = end(r#"{"input_tokens":70,"cache_read_input_tokens":9,"output_tokens":2}"#);
    assert_eq!(told(std::slice::from_ref(&more)), Some(usage(81, 9, 2, 2, 2, 0)));
    assert_eq!(told(&[more, DELTA.to_owned()]), Some(usage(81, 9, 2, 2, 15, 0)));
    // Turns hold until something later is told that has none.
    let turns = end(
        r#"{"output_tokens":15,"iterations":[{"input_tokens":100,"output_tokens":40},{"input_tokens":7,"output_tokens":15}]}"#,
    );
    assert_eq!(told(std::slice::from_ref(&turns)), Some(usage(107, 0, 0, 0, 55, 0)));
    assert_eq!(told(&[turns.clone(), end(r#"{"input_tokens":7}"#)]), Some(usage(107, 0, 0, 0, 55, 0)));
    assert_eq!(told(&[turns, end(r#"{"output_tokens":99}"#)]), Some(usage(12, 3, 2, 2, 99, 0)));
    assert_eq!(stream(&[START.as_bytes(), DELTA.trim_end().as_bytes()]), Some(usage(12, 3, 2, 2, 15, 0)));
    let elsewhere = DELTA.replace("message_delta", "other");
    assert_eq!(stream(&[START.as_bytes(), elsewhere.as_bytes()]), None);
}

fn streams() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        START,
        TEXT,
        DELTA,
        STOP,
        "\n",
        "\r\n\r\n",
        "data: ",
        "{\"type\":\"message_delta\",",
        "\"usage\"",
        ":",
        "{\"output_tokens\":4}",
        "}",
        "{",
        "event: ping\r\ndata: {}\r\n\r\n",
    ]);
    prop::collection::vec(token, 0..24).prop_map(|t| t.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same(text in streams(), mut cuts in prop::collection::vec(any::<usize>(), 0..10)) {
        let bytes = text.as_bytes();
        cuts.iter_mut().for_each(|c| *c %= bytes.len() + 1);
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        let whole = stream(&[bytes]);
        prop_assert_eq!(stream(&pieces), whole);
        prop_assert_eq!(stream(&bytes.chunks(1).collect::<Vec<_>>()), whole);
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
fn how_it_was_served_is_told_with_what_it_counts() {
    use crate::tier::Tier;
    let whole = |more: &str| {
        let mut answer = AnswerUsage::new();
        answer.feed(format!(r#"{{"type":"message","usage":{{"input_tokens":7,"output_tokens":2{more}}}}}"#).as_bytes());
        answer.finish_served().unwrap().1
    };
    assert_eq!(whole(r#","speed":"fast","inference_geo":"global""#), Some(Served::Tier(Tier::Fast)));
    assert_eq!(whole(r#","speed":"standard","inference_geo":"us""#), Some(Served::Tier(Tier::Us)));
    assert_eq!(whole(r#","speed":"standard","inference_geo":"not_available""#), Some(Served::UsualSpeedAndPlace));
    assert_eq!(whole(r#","speed":"fast","inference_geo":"us""#), Some(Served::Dearer));
    assert_eq!(whole(r#","inference_geo":"mars""#), Some(Served::Dearer));
    assert_eq!(whole(r#","speed":7,"inference_geo":null,"service_tier":"standard""#), None);
    // A stream tells it when it begins.
    let start = START.replace("\"output_tokens\":1}", "\"output_tokens\":1,\"speed\":\"fast\"}");
    let mut reader = StreamUsage::new();
    reader.inspect([&start, TEXT, DELTA, STOP].concat().as_bytes());
    assert_eq!((reader.usage().unwrap().output, reader.served()), (15, Some(Served::Tier(Tier::Fast))));
}
