//! Streams of others for callers of Responses.

use super::*;
use crate::translate::tests_chats::{DONE, chunk, finished};

#[test]
fn a_stream_event_by_event() {
    let answer = answer(Dialect::Anthropic, Dialect::Responses);
    let sent = [
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": {"input_tokens": 5, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "ping"}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "He"}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "llo"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t1", "name": "f", "input": {}}}),
        // The parts of two tools' input may come in each other's midst.
        json!({"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "t2", "name": "g", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"a\":"}}),
        json!({"type": "content_block_stop", "index": 3}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "1}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}}),
        json!({"type": "message_stop"}),
    ];
    let sent: String = sent.iter().map(|data| format!("data: {data}\n\n")).collect();
    let (out, failure) = relayed(&answer, &[sent.as_bytes()]);
    assert_eq!(failure, None);
    assert!(out.contains("\n\n: ping\n\n"));
    let events = events(&out);
    let kinds: Vec<&str> =
        events.iter().map(|event| event["type"].as_str().unwrap().strip_prefix("response.").unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    let items = gathered(&events);
    let last = &events.last().unwrap()["response"];
    assert_eq!(last["output"], json!(items));
    assert_eq!(
        items,
        [
            json!({"id": "rs_msg_1_0", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}),
            json!({"id": "msg_msg_1_1", "type": "message", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}]}),
            json!({"id": "fc_msg_1_2", "type": "function_call", "status": "completed", "call_id": "t1", "name": "f", "arguments": "{\"a\":1}"}),
            json!({"id": "fc_msg_1_3", "type": "function_call", "status": "completed", "call_id": "t2", "name": "g", "arguments": "{}"}),
        ]
    );
    assert_eq!(
        (&last["id"], &last["model"], &last["status"]),
        (&json!("msg_1"), &json!("claude"), &json!("completed"))
    );
    assert_eq!((&last["usage"]["input_tokens"], &last["usage"]["output_tokens"]), (&json!(5), &json!(7)));
    assert_eq!(
        (&events[0]["response"]["status"], &events[0]["response"]["output"]),
        (&json!("in_progress"), &json!([]))
    );
}

#[test]
fn streams_that_stop_early_fail_or_are_cut() {
    let answer = answer(Dialect::OpenAi, Dialect::Responses);
    let begun = chunk(&json!({"content": "He"}));
    let ended = |rest: &str| {
        let (out, failure) = relayed(&answer, &[begun.as_bytes(), rest.as_bytes()]);
        let events = events(&out);
        gathered(&events);
        (events.last().unwrap().clone(), failure)
    };
    for (reason, why) in [("length", "max_output_tokens"), ("content_filter", "content_filter")] {
        let (last, failure) = ended(&(finished(reason) + DONE));
        assert_eq!((last["type"].as_str(), failure), (Some("response.incomplete"), None));
        assert_eq!(last["response"]["status"], "incomplete");
        assert_eq!(last["response"]["incomplete_details"], json!({"reason": why}));
        assert_eq!(last["response"]["output"][0]["status"], "incomplete");
    }
    let told = "data: {\"error\":{\"message\":\"Told so.\",\"type\":\"overloaded\"}}\n\n";
    for (rest, failure, error) in [
        (
            "",
            Some(StreamFailure::Truncated),
            json!({"code": "server_error", "message": "The provider's answer cannot be used."}),
        ),
        (
            "data: {x}\n\n",
            Some(StreamFailure::Malformed),
            json!({"code": "server_error", "message": "The provider's answer cannot be used."}),
        ),
        (told, None, json!({"code": "overloaded", "message": "Told so."})),
    ] {
        let (last, got) = ended(rest);
        assert_eq!((last["type"].as_str(), got), (Some("response.failed"), failure), "{rest}");
        assert_eq!((&last["response"]["status"], &last["response"]["error"]), (&json!("failed"), &error));
        assert_eq!(last["response"]["output"][0]["content"][0]["text"], "He");
    }
    // Before there is a response, there is none to say it of.
    let (out, _) = relayed(&answer, &[told.as_bytes()]);
    let expect =
        json!({"type": "error", "sequence_number": 0, "code": "overloaded", "message": "Told so.", "param": null});
    assert_eq!(events(&out), [expect]);
}

#[test]
fn no_more_is_kept_of_a_stream_than_of_a_whole_answer() {
    let answer = answer(Dialect::OpenAi, Dialect::Responses);
    let (mut stream, mut out) = (answer.stream(), Vec::new());
    let piece = chunk(&json!({"content": "x".repeat(1 << 20)}));
    for i in 0..40 {
        out.clear();
        stream.feed(piece.as_bytes(), &mut out);
        assert!(stream.held() < 160 << 20, "{i}");
    }
    assert_eq!(stream.failure(), Some(StreamFailure::Malformed));
    assert!(out.is_empty(), "it went on");
    // Nor are there more items.
    let answer = self::answer(Dialect::OpenAi, Dialect::Responses);
    let both = chunk(&json!({"content": "x"})) + &chunk(&json!({"reasoning_content": "y"}));
    let (_, failure) = relayed(&answer, &[both.repeat(5001).as_bytes()]);
    assert_eq!(failure, Some(StreamFailure::Malformed));
}
