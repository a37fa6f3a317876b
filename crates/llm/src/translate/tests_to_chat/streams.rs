//! Streams of Chat Completions for callers of Messages.

use super::*;
use crate::translate::tests_chats::{DONE, finished};

const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n";

pub(super) fn relayed(pieces: &[&[u8]]) -> String {
    let (mut stream, mut out) = (answer().stream(), Vec::new());
    pieces.iter().for_each(|piece| stream.feed(piece, &mut out));
    stream.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_stream_is_translated_as_it_comes() {
    let (mut stream, mut out) = (answer().stream(), Vec::new());
    let mut said = |text: &str| {
        out.clear();
        stream.feed(text.as_bytes(), &mut out);
        String::from_utf8(out.clone()).unwrap()
    };
    let event = |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n");
    // What Azure sends first, and what OpenRouter sends while it waits.
    assert_eq!(said("data: {\"choices\":[],\"id\":\"\",\"model\":\"\",\"prompt_filter_results\":[]}\n\n"), "");
    assert_eq!(said(": PROCESSING\n\n"), ": ping\n\n");
    let start = r#","message":{"id":"chatcmpl-1","type":"message","role":"assistant","model":"gpt-x-1","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}"#;
    assert_eq!(
        said(&chunk(&json!({"role": "assistant", "content": "", "refusal": null}))),
        event("message_start", start)
    );
    assert_eq!(said(": PROCESSING\n\n"), event("ping", ""));
    let opened =
        event("content_block_start", r#","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}"#);
    let thought = event("content_block_delta", r#","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}"#);
    assert_eq!(said(&chunk(&json!({"reasoning_content": "Hm"}))), opened + &thought);
    let text = chunk(&json!({"content": "Yes"}));
    let (a, b) = text.split_at(40);
    assert_eq!(said(a), "");
    assert_eq!(
        said(b),
        event("content_block_stop", r#","index":0"#)
            + &event("content_block_start", r#","index":1,"content_block":{"type":"text","text":""}"#)
            + &event("content_block_delta", r#","index":1,"delta":{"type":"text_delta","text":"Yes"}"#)
    );
    let call = json!({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]});
    let started = event(
        "content_block_start",
        r#","index":2,"content_block":{"type":"tool_use","id":"c","name":"f","input":{}}"#,
    );
    assert_eq!(said(&chunk(&call)), event("content_block_stop", r#","index":1"#) + &started);
    assert_eq!(
        said(&chunk(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"a"}}]}))),
        event("content_block_delta", r#","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a"}"#)
    );
    assert_eq!(said(&finished("tool_calls")), event("content_block_stop", r#","index":2"#));
    assert_eq!(said(USAGE), "");
    let usage =
        r#","usage":{"input_tokens":8,"cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":5}"#;
    assert_eq!(
        said(DONE),
        event("message_delta", &(r#","delta":{"stop_reason":"tool_use","stop_sequence":null}"#.to_owned() + usage))
            + &event("message_stop", "")
    );
    assert_eq!(said(&text), "", "after the end nothing counts");
}

/// The message that a stream of events adds up to, as the SDKs add it up.
#[track_caller]
pub(super) fn gathered(stream: &str) -> Value {
    let (mut message, mut open, mut input, mut over) = (Value::Null, None, String::new(), false);
    for event in stream.split("\n\n").filter(|e| !e.is_empty() && !e.starts_with(':')) {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        assert!(!over, "{stream}");
        let at = data["index"].as_u64().map(|n| n as usize);
        match data["type"].as_str().unwrap() {
            "message_start" => {
                assert!(message.is_null());
                message = data["message"].clone();
            }
            "content_block_start" => {
                assert_eq!((open, at), (None, Some(message["content"].as_array().unwrap().len())));
                message["content"].as_array_mut().unwrap().push(data["content_block"].clone());
                (open, input) = (at, String::new());
            }
            "content_block_delta" => {
                assert_eq!(open, at);
                let (delta, block) = (&data["delta"], &mut message["content"][at.unwrap()]);
                let field = match delta["type"].as_str().unwrap() {
                    "text_delta" => "text",
                    "thinking_delta" => "thinking",
                    _ => {
                        assert_eq!((&delta["type"], &block["type"]), (&json!("input_json_delta"), &json!("tool_use")));
                        input += delta["partial_json"].as_str().unwrap();
                        continue;
                    }
                };
                block[field] = (block[field].as_str().unwrap().to_owned() + delta[field].as_str().unwrap()).into();
            }
            "content_block_stop" => {
                assert_eq!(open.take(), at);
                let block = &mut message["content"][at.unwrap()];
                if block["type"] == "tool_use" {
                    block["input"] = serde_json::from_str(&input).unwrap();
                }
            }
            "message_delta" => {
                assert_eq!(open, None);
                message.as_object_mut().unwrap().append(data["delta"].clone().as_object_mut().unwrap());
                message["usage"].as_object_mut().unwrap().append(data["usage"].clone().as_object_mut().unwrap());
            }
            "message_stop" => over = true,
            other => assert_eq!(other, "ping"),
        }
    }
    assert!(over, "{stream}");
    message
}

#[test]
fn streams_of_every_kind_of_provider() {
    let content = |parts: &[&str]| gathered(&relayed(&[parts.concat().as_bytes()]));
    let call = |index: Value, id: Value, name: Value, arguments: &str| {
        chunk(&json!({"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}))
    };
    let tool = |id: &str, name: &str, input: Value| json!({"type": "tool_use", "id": id, "name": name, "input": input});
    let expect = json!([tool("a", "f", json!({"x": 1})), tool("b", "g", json!({}))]);
    let none = Value::Null;
    for stream in [
        // As OpenAI does it.
        vec![
            call(json!(0), json!("a"), json!("f"), ""),
            call(json!(0), none.clone(), none.clone(), "{\"x\":"),
            call(json!(0), none.clone(), none.clone(), "1}"),
            call(json!(1), json!("b"), json!("g"), ""),
        ],
        // Id and name again in each part; all in the same place; without places.
        vec![
            call(json!(0), json!("a"), json!("f"), "{\"x\":"),
            call(json!(0), json!("a"), json!("f"), "1}"),
            call(json!(1), json!("b"), json!("g"), "{}"),
        ],
        vec![call(json!(0), json!("a"), json!("f"), "{\"x\":1}"), call(json!(0), json!("b"), json!("g"), "{}")],
        vec![
            call(none.clone(), json!("a"), json!("f"), "{\"x\":"),
            call(none.clone(), none.clone(), none.clone(), "1}"),
            call(none.clone(), json!("b"), json!("g"), "{}"),
        ],
        // Nothing more of what is over.
        vec![
            call(json!(0), json!("a"), json!("f"), "{\"x\":1}"),
            call(json!(1), json!("b"), json!("g"), "{}"),
            call(json!(0), none.clone(), none.clone(), ""),
        ],
        // By turns, by place and by id; both named before either is filled.
        vec![
            call(json!(0), json!("a"), json!("f"), "{\"x\""),
            call(json!(1), json!("b"), json!("g"), "{"),
            call(json!(0), none.clone(), none.clone(), ":"),
            call(json!(1), none.clone(), none.clone(), "}"),
            call(json!(0), none.clone(), none.clone(), "1}"),
        ],
        vec![
            call(none.clone(), json!("a"), json!("f"), "{\"x\":"),
            call(none.clone(), json!("b"), json!("g"), "{"),
            call(none.clone(), json!("a"), json!("f"), "1}"),
            call(none.clone(), json!("b"), json!("g"), "}"),
        ],
        vec![
            chunk(&json!({"tool_calls": [
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}},
                {"index": 1, "id": "b", "function": {"name": "g", "arguments": ""}},
            ]})),
            call(json!(1), none.clone(), none.clone(), "{}"),
            call(json!(0), none.clone(), none.clone(), "{\"x\":1}"),
        ],
    ] {
        let got = content(&[&stream.concat(), &finished("stop"), DONE]);
        assert_eq!((&got["content"], &got["stop_reason"]), (&expect, &json!("tool_use")));
    }
    // Nothing but a stop at the end, or nothing but the end.
    for end in [finished("length"), finished("length") + DONE] {
        let got = content(&[&chunk(&json!({"content": "x"})), &end]);
        assert_eq!((&got["stop_reason"], &got["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(0)));
    }
    assert_eq!(content(&[&chunk(&json!({"content": "x"})), DONE])["stop_reason"], "end_turn");
    let got =
        content(&[&chunk(&json!({"refusal": "N"})), &chunk(&json!({"refusal": "o."})), &finished("stop"), USAGE, DONE]);
    assert_eq!((&got["content"], &got["stop_reason"]), (&json!([{"type": "text", "text": "No."}]), &json!("refusal")));
    // Usage in each event, and Groq's of its own.
    let each = |n: u64| {
        format!(
            "data: {}\n\n",
            json!({"id": "i", "choices": [{"delta": {"content": "x"}}], "usage": {"prompt_tokens": 3, "completion_tokens": n}})
        )
    };
    let got = content(&[&each(1), &each(2), &finished("stop"), DONE]);
    assert_eq!((&got["usage"]["input_tokens"], &got["usage"]["output_tokens"]), (&json!(3), &json!(2)));
    let groq = format!(
        "data: {}\n\n",
        json!({"choices": [{"delta": {}, "finish_reason": "stop"}], "x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 7}}})
    );
    assert_eq!(content(&[&chunk(&json!({"content": "x"})), &groq, DONE])["usage"]["output_tokens"], 7);
    let parts = json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "Yes"}]});
    assert_eq!(content(&[&chunk(&parts), DONE])["content"].as_array().unwrap().len(), 2);
}

#[test]
fn calls_that_come_by_turns_are_told_one_after_the_other_as_soon_as_they_can_be() {
    let (mut stream, mut out) = (answer().stream(), Vec::new());
    let mut told = |index: u64, id: &str, arguments: &str| {
        let mut call = json!({"index": index, "function": {"arguments": arguments}});
        if !id.is_empty() {
            (call["id"], call["function"]["name"]) = (json!(id), json!("f"));
        }
        stream.feed(chunk(&json!({"tool_calls": [call]})).as_bytes(), &mut out);
        let said = String::from_utf8(std::mem::take(&mut out)).unwrap();
        let data = said.lines().filter_map(|line| line.strip_prefix("data: "));
        let data = data.map(|data| serde_json::from_str::<Value>(data).unwrap());
        let words: Vec<_> = data
            .filter_map(|event| match event["type"].as_str().unwrap() {
                "content_block_start" => event["content_block"]["id"].as_str().map(str::to_owned),
                "content_block_delta" => event["delta"]["partial_json"].as_str().map(str::to_owned),
                _ => None,
            })
            .collect();
        (words.join(" "), stream.held())
    };
    assert_eq!(told(0, "a", r#"{"x":"#).0, r#"a {"x":"#);
    let before = told(1, "b", "").1;
    // What waits is charged to the stream.
    let (said, held) = told(1, "", &format!(r#"{{"long":"{}"#, "y".repeat(5000)));
    assert_eq!((said.as_str(), held > before + 5000), ("", true), "{before} {held}");
    // A text that looks like the end is none.
    assert_eq!(told(0, "", r#""}\"}"#).0, r#""}\"}"#);
    assert_eq!(told(1, "", "z").0, "");
    let (said, held) = told(0, "", "\"}");
    assert!(said.starts_with("\"} b {\"long\":\"yyy") && said.ends_with("yz"), "{said}");
    assert!(held < before + 1000, "{before} {held}");
    // And live from then on, as is the next, for which this one is whole.
    assert_eq!(told(1, "", "\"}").0, "\"}");
    assert_eq!(told(2, "c", "{").0, "c {");
}

#[test]
fn streams_that_do_not_end_well_end_with_an_error() {
    use StreamFailure::{Malformed, Truncated};
    let ends_in_error = |sent: &str, message: &str, kind: &str, failure: Option<StreamFailure>| {
        let (mut stream, mut out) = (answer().stream(), Vec::new());
        stream.feed(sent.as_bytes(), &mut out);
        stream.finish(&mut out);
        let got = String::from_utf8(out).unwrap();
        assert_eq!(stream.failure(), failure, "{sent}");
        let last = got.strip_suffix("\n\n").unwrap().rsplit("\n\n").next().unwrap();
        let last: Value = serde_json::from_str(last.strip_prefix("event: error\ndata: ").unwrap()).unwrap();
        assert_eq!((&last["type"], &last["error"]["type"]), (&json!("error"), &json!(kind)), "{got}");
        assert_eq!(last["error"]["message"], message, "{got}");
        assert!(!got.contains("message_stop") && !got.contains("message_delta"), "{got}");
    };
    const UNUSABLE: &str = "The provider's answer cannot be used.";
    let begun = chunk(&json!({"content": "hello"}));
    ends_in_error(&begun, UNUSABLE, "api_error", Some(Truncated));
    ends_in_error(&(begun.clone() + "data: {\"cho"), UNUSABLE, "api_error", Some(Truncated));
    ends_in_error("", UNUSABLE, "api_error", Some(Truncated));
    ends_in_error("data: <html>\n\n", UNUSABLE, "api_error", Some(Malformed));
    ends_in_error(DONE, UNUSABLE, "api_error", Some(Malformed));
    ends_in_error("data: {\"choices\":7}\n\n", UNUSABLE, "api_error", Some(Malformed));
    ends_in_error(&(begun.clone() + &finished("error")), UNUSABLE, "api_error", Some(Malformed));
    // More of a call that was whole when another began cannot be said any more.
    let call = |i: u64, id: &str, more: &str| {
        chunk(&json!({"tool_calls": [{"index": i, "id": id, "function": {"name": "f", "arguments": more}}]}))
    };
    let late = chunk(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}));
    ends_in_error(&(call(0, "a", "{}") + &call(1, "b", "{") + &late), UNUSABLE, "api_error", Some(Malformed));
    ends_in_error(
        &(call(0, "a", "{}") + &call(1, "b", "{") + &call(0, "a", "}")),
        UNUSABLE,
        "api_error",
        Some(Malformed),
    );
    // Nor are more calls kept than come at the same time, or more of them than an event may be.
    let many: String = (0..=1000).map(|i| call(i, &format!("c{i}"), "{")).collect();
    ends_in_error(&many, UNUSABLE, "api_error", Some(Malformed));
    let long = call(1, "b", &"x".repeat(1 << 20));
    ends_in_error(&(call(0, "a", "{") + &long.repeat(5)), UNUSABLE, "api_error", Some(Malformed));
    // What the provider says itself is passed on.
    for (error, kind) in [
        (json!({"message": "Told", "type": "x", "code": 429}), "rate_limit_error"),
        (json!({"message": "Told", "code": "x"}), "api_error"),
        (json!({"message": "Told", "code": 200}), "api_error"),
        (json!("Told"), "api_error"),
    ] {
        let told =
            format!("data: {}\n\n", json!({"error": error, "choices": [{"delta": {}, "finish_reason": "error"}]}));
        ends_in_error(&(begun.clone() + &told), "Told", kind, None);
    }
    // A stop is not the end of a stream that was cut off.
    let (mut stream, mut out) = (answer().stream(), Vec::new());
    stream.feed((begun.clone() + &finished("stop")).as_bytes(), &mut out);
    stream.cut(&mut out);
    assert_eq!(stream.failure(), Some(Truncated));
    assert!(!String::from_utf8(out).unwrap().contains("message_stop"));
    // Larger than an event may be: an error, and no memory kept.
    let (mut stream, mut out) = (answer().stream(), Vec::new());
    stream.feed(b"data: {\"x\":\"", &mut out);
    for _ in 0..6 {
        stream.feed(&vec![b'x'; 1 << 20], &mut out);
        assert!(stream.held() < 9 << 20);
    }
    assert!(String::from_utf8(out).unwrap().starts_with("event: error\n"));
    assert!(stream.held() < 1 << 20);
}
