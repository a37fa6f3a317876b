//! Streamed answers with texts from any bytes, cut anywhere, in any order of blocks: no panic, what the caller gets is events
//! of the same form, and nothing of what is taken out stands in what they say together.
#![no_main]

use credentialflow_llm::guardrail::{
    Detector, Guardrails,
    answer::{Answer, Frames, Stream},
    registry,
};
use credentialflow_model::resource::Guardrail;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

fn rules() -> &'static (Arc<Guardrails>, Vec<Box<dyn Detector>>) {
    static RULES: OnceLock<(Arc<Guardrails>, Vec<Box<dyn Detector>>)> = OnceLock::new();
    RULES.get_or_init(|| {
        // Each is told by its own characters alone, so that what is left over is none by what stands beside it.
        let rules: Vec<Guardrail> = serde_json::from_value(json!([
            { "detect": "words", "action": "redact", "on": "answer", "words": ["falcon", "aurora"] },
            { "detect": "pattern", "action": "redact", "on": "answer", "pattern": "PRJ-[0-9]{4}" },
        ]))
        .expect("they are rules");
        let detectors = rules.iter().map(|rule| registry::build(rule).expect("it can be built")).collect();
        (Arc::new(Guardrails::build(rules.iter().map(|rule| (None, rule))).expect("they can be built")), detectors)
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (guardrails, detectors) = rules();
    // Any bytes as a stream.
    let mut stream = Stream::new(Answer::of(Some(guardrails), None).expect("it looks at answers"), Frames::Events);
    let mut out = Vec::new();
    bytes.chunks(7).for_each(|piece| stream.feed(piece, &mut out));
    stream.finish(&mut out);
    // Any texts in a stream: a byte says how long the next piece is and of which block.
    let mut stream = Stream::new(Answer::of(Some(guardrails), None).expect("it looks at answers"), Frames::Events);
    let (mut out, mut rest, mut pieces) = (Vec::new(), bytes, 0);
    while let Some((head, after)) = rest.split_first() {
        let length = usize::from(head & 31).min(after.len());
        let (piece, after) = after.split_at(length);
        let delta = json!({ "type": "text_delta", "text": String::from_utf8_lossy(piece) });
        let event = json!({ "type": "content_block_delta", "index": head >> 6, "delta": delta });
        let event = format!("data: {event}\n\n");
        event.as_bytes().chunks(usize::from(*head) + 1).for_each(|bytes| stream.feed(bytes, &mut out));
        (rest, pieces) = (after, pieces + 1);
    }
    stream.finish(&mut out);
    assert_eq!(stream.stopped(), None);
    let mut blocks = vec![String::new(); 4];
    let mut events = 0;
    for line in String::from_utf8(out).expect("it is text").lines().filter_map(|line| line.strip_prefix("data: ")) {
        let event: Value = serde_json::from_str(line).expect("it is JSON");
        let index = event["index"].as_u64().and_then(|n| usize::try_from(n).ok()).expect("a block");
        blocks[index].push_str(event["delta"]["text"].as_str().expect("a text"));
        events += 1;
    }
    assert_eq!(events, pieces);
    for block in blocks {
        let mut found = Vec::new();
        detectors.iter().for_each(|detector| detector.find(&block, &mut found));
        assert!(found.is_empty(), "{block}");
    }
});
