//! Answers of a provider that speaks Responses alone, for callers of other dialects.

use super::*;
use crate::translate::tests_chats::DONE;

/// The events of Responses, as a provider sends them.
fn sent(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect()
}

#[test]
fn answers_of_a_provider_of_responses() {
    let response = json!({"id": "resp_1", "object": "response", "model": "gpt", "status": "completed", "output": [
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "x", "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}]},
        {"type": "tool_search_call", "id": "ts_1", "arguments": {"q": 1}, "call_id": null, "name": 7},
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Hi", "annotations": []}, {"type": "output_text", "text": " you"}]},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}"},
    ], "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 2}}});
    let chat = whole(&answer(Dialect::Responses, Dialect::OpenAi), &response);
    let choice = &chat["choices"][0];
    assert_eq!(
        (&chat["id"], &chat["model"], &choice["finish_reason"]),
        (&json!("resp_1"), &json!("gpt"), &json!("tool_calls"))
    );
    assert_eq!(choice["message"]["content"], "Hi you");
    assert_eq!(choice["message"]["reasoning_content"], "One.\n\nTwo.");
    assert_eq!(
        choice["message"]["tool_calls"],
        json!([{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}])
    );
    assert_eq!(
        (&chat["usage"]["prompt_tokens"], &chat["usage"]["completion_tokens_details"]["reasoning_tokens"]),
        (&json!(10), &json!(2))
    );
    let message = whole(&answer(Dialect::Responses, Dialect::Anthropic), &response);
    assert_eq!(
        message["content"],
        json!([{"type": "thinking", "thinking": "One.\n\nTwo.", "signature": "openai-encrypted:0000000000000000:x"}, {"type": "text", "text": "Hi you"},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}}])
    );
    let stop = |fields: Value| {
        whole(&answer(Dialect::Responses, Dialect::Anthropic), &with(response.clone(), &fields))["stop_reason"].clone()
    };
    assert_eq!(stop(json!({})), "tool_use");
    assert_eq!(
        stop(json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}})),
        "max_tokens"
    );
    assert_eq!(stop(json!({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}})), "refusal");
    let refusal = json!([{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]);
    assert_eq!(stop(json!({"output": refusal})), "refusal");
    let reasoning =
        json!([{"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Raw."}]}]);
    let raw =
        whole(&answer(Dialect::Responses, Dialect::OpenAi), &with(response.clone(), &json!({"output": reasoning})));
    assert_eq!(raw["choices"][0]["message"]["reasoning_content"], "Raw.");
    for status in ["failed", "cancelled", "queued", "in_progress"] {
        let body = with(response.clone(), &json!({"status": status})).to_string();
        assert_eq!(answer(Dialect::Responses, Dialect::OpenAi).whole(body.as_bytes()), None, "{status}");
    }
    let error = answer(Dialect::Responses, Dialect::Anthropic)
        .error(429, br#"{"error":{"message":"Slow down.","type":"rate_limit_error"}}"#);
    assert!(String::from_utf8(error).unwrap().contains("Slow down."));
}

#[test]
fn streams_of_a_provider_of_responses() {
    let begun =
        json!({"type": "response.created", "response": {"id": "resp_1", "model": "gpt", "status": "in_progress"}});
    let completed = json!({"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": [], "usage": {"input_tokens": 3, "output_tokens": 2}}});
    let tool = |at: u64, done: bool, arguments: &str| {
        let kind = if done { "response.output_item.done" } else { "response.output_item.added" };
        json!({"type": kind, "output_index": at, "item": {"type": "function_call", "call_id": format!("c{at}"), "name": "f", "arguments": arguments}})
    };
    let delta = |kind: &str, at: u64, delta: &str| json!({"type": format!("response.{kind}.delta"), "output_index": at, "delta": delta});
    let all = [
        begun.clone(),
        delta("reasoning_summary_text", 0, "One."),
        json!({"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 1}),
        delta("reasoning_summary_text", 0, "Two."),
        // The same once more, in full.
        delta("reasoning_text", 0, "Raw."),
        delta("output_text", 1, "Hi"),
        tool(2, false, ""),
        delta("function_call_arguments", 2, "{\"a\":"),
        delta("function_call_arguments", 2, "1}"),
        json!({"type": "response.function_call_arguments.done", "output_index": 2, "arguments": "{\"a\":1}"}),
        tool(2, true, "{\"a\":1}"),
        // Not in pieces, and without any.
        tool(3, false, ""),
        json!({"type": "response.function_call_arguments.done", "output_index": 3, "arguments": "{\"b\":2}"}),
        tool(3, true, "{\"b\":2}"),
        tool(4, false, ""),
        tool(4, true, ""),
        tool(5, false, "{\"c\":3}"),
        tool(5, true, "{\"c\":3}"),
        completed.clone(),
    ];
    let all = sent(&all);
    let into_messages = answer(Dialect::Responses, Dialect::Anthropic);
    let (message, failure) = relayed(&into_messages, &[all.as_bytes()]);
    assert_eq!(failure, None, "{message}");
    for said in [
        "One.",
        "Two.",
        "\\n\\n",
        "\"text\":\"Hi\"",
        "{\\\"a\\\":",
        "{\\\"b\\\":2}",
        "\"partial_json\":\"{}\"",
        "{\\\"c\\\":3}",
        "\"stop_reason\":\"tool_use\"",
        "message_stop",
    ] {
        assert_eq!(message.matches(said).count(), if said == "message_stop" { 2 } else { 1 }, "{said}: {message}");
    }
    assert!(!message.contains("Raw."));
    let (chat, failure) = relayed(&answer(Dialect::Responses, Dialect::OpenAi), &[all.as_bytes()]);
    assert_eq!((failure, chat.ends_with(DONE)), (None, true));
    // Arguments of a tool after another has begun cannot be said in Messages, and are not lost in silence.
    let broken =
        sent(&[begun.clone(), tool(0, false, ""), tool(1, false, ""), delta("function_call_arguments", 0, "{}")]);
    assert_eq!(relayed(&into_messages, &[broken.as_bytes()]).1, Some(StreamFailure::Malformed));
    let cut = sent(&[begun.clone(), delta("output_text", 0, "Hi")]);
    assert_eq!(relayed(&into_messages, &[cut.as_bytes()]).1, Some(StreamFailure::Truncated));
    for failed in [
        json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error", "message": "Told so."}}}),
        json!({"type": "error", "code": "server_error", "message": "Told so.", "param": null}),
        json!({"type": "error", "error": {"type": "server_error", "message": "Told so."}}),
    ] {
        let (out, failure) = relayed(&into_messages, &[sent(&[begun.clone(), failed]).as_bytes()]);
        assert!(failure.is_none() && out.contains("Told so.") && !out.contains("message_stop"), "{out}");
    }
    let incomplete = json!({"type": "response.incomplete", "response": {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}});
    let (out, _) = relayed(&into_messages, &[sent(&[begun, delta("output_text", 0, "Hi"), incomplete]).as_bytes()]);
    assert!(out.contains("\"stop_reason\":\"max_tokens\""));
    let long = json!({"type": "response.created", "response": {"id": "x".repeat(257), "model": "gpt"}});
    assert_eq!(relayed(&into_messages, &[sent(&[long]).as_bytes()]).1, Some(StreamFailure::Malformed));
}

#[test]
fn the_code_of_an_error_is_told_in_every_dialect() {
    let told = |kind: &str, code: &str| {
        json!({"error": {"message": "No.", "type": kind, "param": "messages", "code": code}}).to_string()
    };
    let error = |provider, caller, status, body: &str| -> Value {
        serde_json::from_slice::<Value>(&answer(provider, caller).error(status, body.as_bytes())).unwrap()["error"]
            .take()
    };
    let long = told("invalid_request_error", "context_length_exceeded");
    for (provider, other) in [(Dialect::OpenAi, Dialect::Responses), (Dialect::Responses, Dialect::OpenAi)] {
        let expect = json!({"message": "No.", "type": "invalid_request_error", "param": null, "code": "context_length_exceeded"});
        assert_eq!(error(provider, other, 400, &long), expect);
        // A kind that is the provider's own follows the status.
        let got = error(provider, other, 429, &told("tokens", "rate_limit_exceeded"));
        assert_eq!((&got["type"], &got["code"]), (&json!("rate_limit_error"), &json!("rate_limit_exceeded")));
        let got = error(provider, Dialect::Anthropic, 400, &long);
        let expect = json!({"type": "invalid_request_error", "message": "No.", "code": "context_length_exceeded"});
        assert_eq!(got, expect);
        assert_eq!(error(provider, Dialect::Gemini, 400, &long)["details"][0]["reason"], "context_length_exceeded");
        // Where there is none, the kind says most.
        let got = error(provider, Dialect::Anthropic, 400, &told("too_long", ""));
        assert_eq!(got["code"], "too_long");
    }
    for failed in [
        json!({"type": "error", "code": "rate_limit_exceeded", "message": "Slow.", "param": null}),
        json!({"type": "error", "error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "Slow."}}),
        json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Slow."}}}),
    ] {
        for (caller, expect) in [
            (Dialect::Anthropic, r#""type":"rate_limit_error","message":"Slow.","code":"rate_limit_exceeded""#),
            (Dialect::OpenAi, r#""type":"rate_limit_error","param":null,"code":"rate_limit_exceeded""#),
            (Dialect::Gemini, r#""reason":"rate_limit_exceeded""#),
        ] {
            let (out, failure) =
                relayed(&answer(Dialect::Responses, caller), &[sent(std::slice::from_ref(&failed)).as_bytes()]);
            assert!(failure.is_none() && out.contains(expect), "{failed}: {out}");
        }
    }
    // The type of an event says nothing of the error.
    let failed = sent(&[json!({"type": "error", "message": "No.", "param": null})]);
    let (out, _) = relayed(&answer(Dialect::Responses, Dialect::OpenAi), &[failed.as_bytes()]);
    assert!(out.contains(r#""type":"server_error","param":null,"code":null"#), "{out}");
}
