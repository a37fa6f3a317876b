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

fn stream<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<TokenUsage> {
    let mut reader = StreamUsage::new();
    chunks.into_iter().for_each(|chunk| reader.inspect(chunk));
    reader.finish();
    reader.usage()
}

#[test]
fn every_known_variant_of_a_usage_object() {
    for (object, expect) in [
        (r#"{"input_tokens":9,"output_tokens":3,"total_tokens":12}"#, Some(usage(9, 0, 3, 0))),
        (
            r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":2}}"#,
            Some(usage(9, 4, 3, 2)),
        ),
        (
            r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":10,"cache_write_tokens":1},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":7}}"#,
            Some(usage(9, 9, 3, 3)),
        ),
        (
            r#"{"input_tokens":9,"input_tokens_details":null,"output_tokens":3,"output_tokens_details":[]}"#,
            Some(usage(9, 0, 3, 0)),
        ),
        (r#"{"input_tokens":9,"output_tokens":3,"total_tokens":40}"#, Some(usage(9, 0, 31, 0))),
        (r#"{"input_tokens":9,"output_tokens":3.2}"#, Some(usage(9, 0, 4, 0))),
        (r#"{"input_tokens":-9,"output_tokens":3}"#, None),
        (r#"{"input_tokens":1e300,"output_tokens":99999999999999999999}"#, Some(usage(u64::MAX, 0, u64::MAX, 0))),
        (r#"{"prompt_tokens":9,"completion_tokens":3}"#, None),
        ("{}", None),
        ("null", None),
        ("7", None),
    ] {
        assert_eq!(answer(&format!(r#"{{"object":"response","output":[],"usage":{object}}}"#)), expect, "{object}");
        for kind in ["completed", "incomplete", "failed"] {
            let event = format!(
                "event: response.{kind}\ndata: {{\"type\":\"response.{kind}\",\"response\":{{\"usage\":{object},\"user\":null}}}}\n\n"
            );
            assert_eq!(stream([event.as_bytes()]), expect, "{object}");
            assert_eq!(stream(event.as_bytes().chunks(1)), expect, "{object}");
        }
    }
    for none in ["", "{", "[]", r#"{"a":"\"usage\":{\"input_tokens\":1}"}"#, r#"{"usage":{"input_tokens":1}}"#] {
        assert_eq!(stream([format!("data: {none}\n\n").as_bytes()]), None, "{none}");
    }
}

#[test]
fn what_was_told_is_not_taken_back_by_less() {
    let event = |input: u64| {
        format!("data: {{\"response\":{{\"usage\":{{\"input_tokens\":{input},\"output_tokens\":1}}}}}}\n\n")
    };
    let all = event(10) + &event(0) + "data: {\"response\":{\"usage\":null}}\n\n";
    assert_eq!(stream([all.as_bytes()]), Some(usage(10, 0, 1, 0)));
}

#[test]
fn the_last_event_may_be_larger_than_any_that_is_read() {
    // An image in base64, and tools whose schemas look like usage.
    let image = "A".repeat(2 << 20);
    let forged = r#"{"usage":{"input_tokens":0,"output_tokens":0}}"#;
    let event = format!(
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\"output\":[{{\"result\":\"{image}\"}}],\"usage\":{{\"input_tokens\":9,\"output_tokens\":3}},\"tools\":[{{\"parameters\":{forged}}}],\"metadata\":{{\"a\":\"\\\"usage\\\":{{}}\"}}}},\"sequence_number\":9}}\n\n"
    );
    for rest in ["", "data: [DONE]\n\n"] {
        let all = event.clone() + rest;
        for size in [all.len(), 1 << 20, 4096, 777] {
            assert_eq!(stream(all.as_bytes().chunks(size)), Some(usage(9, 0, 3, 0)), "{size}");
        }
    }
    let mut reader = StreamUsage::new();
    for chunk in event.as_bytes().chunks(4096) {
        reader.inspect(chunk);
        assert!(reader.held() < 3 << 20);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1usize..40) {
        stream(bytes.chunks(size));
        stream([&b"data: {\"response\":{\"usage\":"[..], &bytes, b"}}\n\n"]);
    }
}

#[test]
fn how_it_was_served_is_told_with_what_it_counts() {
    use crate::tier::Tier;
    const USAGE: &str = r#""usage":{"input_tokens":9,"output_tokens":3}"#;
    let mut answer = AnswerUsage::new();
    answer.feed(format!(r#"{{"object":"response","service_tier":"flex",{USAGE}}}"#).as_bytes());
    assert_eq!(answer.finish_served().unwrap().1, Some(Served::Tier(Tier::Flex)));
    let mut stream = StreamUsage::new();
    // What it begins with repeats what was asked for.
    for response in
        [r#""service_tier":"auto","usage":null"#.to_owned(), format!(r#""service_tier":"ultrafast",{USAGE}"#)]
    {
        stream.inspect(format!("data: {{\"type\":\"response\",\"response\":{{{response}}}}}\n\n").as_bytes());
    }
    stream.finish();
    assert_eq!(stream.served(), Some(Served::Tier(Tier::Ultrafast)));
}
