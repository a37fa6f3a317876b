//! Answers of Gemini for callers of other dialects, and of others for callers of Gemini: whole, as streams, and errors.

use super::*;

#[test]
fn answers_between_gemini_and_responses() {
    let parts = json!([{"text": "hm", "thought": true}, {"text": "Hel"}, {"text": "lo"},
        {"functionCall": {"id": "own", "name": "f", "args": {"b": 1, "a": 2}}}]);
    let response = whole(Dialect::Gemini, Dialect::Responses, &generated(parts, "STOP")).unwrap();
    assert_eq!(
        (&response["id"], &response["model"], &response["status"]),
        (&json!("r-1/"), &json!("gemini-x"), &json!("completed"))
    );
    let output = response["output"].as_array().unwrap();
    assert_eq!(output[0]["summary"], json!([{"type": "summary_text", "text": "hm"}]));
    assert_eq!(output[1]["content"][0]["text"], "Hello");
    assert_eq!((&output[2]["call_id"], &output[2]["arguments"]), (&json!("own"), &json!("{\"b\":1,\"a\":2}")));
    assert_eq!((&response["usage"]["input_tokens"], &response["usage"]["output_tokens"]), (&json!(9), &json!(5)));
    let back = whole(Dialect::Responses, Dialect::Gemini, &response).unwrap();
    let said = json!([{"text": "hm", "thought": true}, {"text": "Hello"},
        {"functionCall": {"id": "own", "name": "f", "args": {"b": 1, "a": 2}}}]);
    assert_eq!(back, generated(said, "STOP"));
    for (reason, status) in [("MAX_TOKENS", "max_output_tokens"), ("SAFETY", "content_filter")] {
        let response = whole(Dialect::Gemini, Dialect::Responses, &generated(json!([{"text": "a"}]), reason)).unwrap();
        assert_eq!(response["incomplete_details"], json!({"reason": status}));
        assert_eq!(
            whole(Dialect::Responses, Dialect::Gemini, &response).unwrap()["candidates"][0]["finishReason"],
            reason
        );
    }
    let google = r#"{"error":{"code":429,"message":"Too many.","status":"RESOURCE_EXHAUSTED"}}"#;
    let error = answering(Dialect::Gemini, Dialect::Responses, None).error(429, google.as_bytes());
    let expect = json!({"error": {"message": "Too many.", "type": "rate_limit_error", "param": null, "code": "RESOURCE_EXHAUSTED"}});
    assert_eq!(serde_json::from_slice::<Value>(&error).unwrap(), expect);

    let begun = json!({"candidates": [{"content": {"parts": [{"text": "Hi"}], "role": "model"}, "index": 0}], "modelVersion": "g", "responseId": "r"});
    let call = generated(json!([{"functionCall": {"id": "t", "name": "f", "args": {"a": 1}}}]), "STOP");
    let all = sse(&[begun.clone(), call]);
    for size in [1, 60, 10_000] {
        let (events, failure) = stream(answering(Dialect::Gemini, Dialect::Responses, None), all.as_bytes(), size);
        assert_eq!(failure, None);
        assert_eq!(events.matches("event: response.completed").count(), 1, "{events}");
        let (array, failure) =
            stream(answering(Dialect::Responses, Dialect::Gemini, Some(Frames::Array)), events.as_bytes(), size);
        assert_eq!(failure, None);
        let array: Vec<Value> = serde_json::from_str(&array).unwrap();
        assert_eq!((array.len(), &array[0]["candidates"][0]["content"]["parts"]), (2, &json!([{"text": "Hi"}])));
        assert_eq!(
            array[1]["candidates"][0]["content"]["parts"],
            json!([{"functionCall": {"id": "t", "name": "f", "args": {"a": 1}}}])
        );
        assert_eq!(array[1]["usageMetadata"]["totalTokenCount"], 14);
    }
    let failed = sse(&[begun.clone(), json!({"error": {"code": 503, "message": "Busy.", "status": "UNAVAILABLE"}})]);
    let (events, failure) = stream(answering(Dialect::Gemini, Dialect::Responses, None), failed.as_bytes(), 50);
    assert_eq!(failure, None);
    assert!(events.contains("event: response.failed") && events.contains("Busy."), "{events}");
    let cut = sse(&[begun]);
    let (events, failure) = stream(answering(Dialect::Gemini, Dialect::Responses, None), cut.as_bytes(), 50);
    assert_eq!(failure, Some(StreamFailure::Truncated));
    let (array, failure) =
        stream(answering(Dialect::Responses, Dialect::Gemini, Some(Frames::Array)), events.as_bytes(), 50);
    assert_eq!(failure, None);
    let array: Vec<Value> = serde_json::from_str(&array).unwrap();
    assert!(array.last().unwrap()["error"]["message"].is_string());
}

/// What translates an answer of this provider for a caller of this dialect.
pub(super) fn answering(provider: Dialect, caller: Dialect, frames: Option<Frames>) -> Translation {
    let of = to(provider, "m");
    match caller {
        Dialect::Gemini => gemini_request(br#"{"contents":[]}"#, frames, &of, AT),
        Dialect::OpenAi => request(
            br#"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
            Dialect::OpenAi,
            &of,
            AT,
        ),
        Dialect::Responses => request(br#"{"input":"x","stream":true}"#, Dialect::Responses, &of, AT),
        Dialect::Anthropic => request(br#"{"messages":[],"max_tokens":1,"stream":true}"#, Dialect::Anthropic, &of, AT),
        Dialect::Bedrock | Dialect::Replicate => unreachable!("nobody calls in it"),
    }
    .unwrap()
    .1
}

fn whole(provider: Dialect, caller: Dialect, answer: &Value) -> Option<Value> {
    let body = answering(provider, caller, None).whole(answer.to_string().as_bytes())?;
    Some(serde_json::from_slice(&body).unwrap())
}

fn generated(parts: Value, reason: &str) -> Value {
    json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": reason, "index": 0}],
        "usageMetadata": {"promptTokenCount": 9, "cachedContentTokenCount": 4, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 14},
        "modelVersion": "gemini-x", "responseId": "r-1/"})
}

#[test]
fn an_answer_of_every_kind_for_callers_of_other_dialects() {
    let parts = json!([{"text": "hm", "thought": true, "thoughtSignature": "s"}, {"text": "Hel"}, {"text": "lo"},
        {"functionCall": {"name": "f", "args": {"b": 1, "a": 2}}}, {"functionCall": {"id": "own", "name": "g"}},
        {"inlineData": {"mimeType": "image/png", "data": ""}}, {"text": ""}]);
    let chat = whole(Dialect::Gemini, Dialect::OpenAi, &generated(parts.clone(), "STOP")).unwrap();
    assert_eq!(
        chat,
        json!({"id": "r-1/", "object": "chat.completion", "created": 1_790_000_000, "model": "gemini-x",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello", "refusal": null, "reasoning_content": "hm",
                "extra_content": {"google": {"thought_signature": "s"}},
                "tool_calls": [{"id": "call_r-1_0", "type": "function", "function": {"name": "f", "arguments": "{\"b\":1,\"a\":2}"}},
                    {"id": "own", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
                "logprobs": null, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 2}}})
    );
    let message = whole(Dialect::Gemini, Dialect::Anthropic, &generated(parts, "STOP")).unwrap();
    let thought = json!({"type": "thinking", "thinking": "hm", "signature": "google-signature:s"});
    assert_eq!(message["content"][0], thought);
    assert_eq!(message["content"][1], json!({"type": "text", "text": "Hello"}));
    assert_eq!(
        message["content"][2],
        json!({"type": "tool_use", "id": "call_r-1_0", "name": "f", "input": {"b": 1, "a": 2}})
    );
    assert_eq!(
        message["usage"],
        json!({"input_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 4, "output_tokens": 5})
    );
    for (reason, finish) in [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("OTHER", "stop"),
    ] {
        let got = whole(Dialect::Gemini, Dialect::OpenAi, &generated(json!([{"text": "a"}]), reason)).unwrap();
        assert_eq!(got["choices"][0]["finish_reason"], finish, "{reason}");
    }
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}});
    let got = whole(Dialect::Gemini, Dialect::OpenAi, &blocked).unwrap();
    assert_eq!(
        (&got["choices"][0]["finish_reason"], &got["choices"][0]["message"]["content"]),
        (&json!("content_filter"), &json!(""))
    );
    for none in [
        json!({}),
        json!([]),
        json!({"candidates": []}),
        json!({"candidates": {}}),
        generated(json!([]), "MALFORMED_FUNCTION_CALL"),
        generated(json!([{"functionCall": {"name": "f", "args": [1]}}]), "STOP"),
        json!({"candidates": [{"finishReason": "STOP"}], "responseId": "x".repeat(257)}),
    ] {
        assert_eq!(whole(Dialect::Gemini, Dialect::OpenAi, &none), None, "{none}");
    }
}

#[test]
fn answers_of_others_for_a_caller_who_speaks_gemini() {
    let chat = json!({"id": "c", "model": "gpt", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
            "content": "Hi", "reasoning_content": "hm", "tool_calls": [
                {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"b\": 1}"}}]}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}});
    assert_eq!(
        whole(Dialect::OpenAi, Dialect::Gemini, &chat).unwrap(),
        json!({"candidates": [{"content": {"parts": [{"text": "hm", "thought": true}, {"text": "Hi"},
                {"functionCall": {"id": "t", "name": "f", "args": {"b": 1}}}], "role": "model"}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 9, "cachedContentTokenCount": 4, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 14},
            "modelVersion": "gpt", "responseId": "c"})
    );
    let message = json!({"id": "m", "model": "claude", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "stop_reason": "refusal", "usage": {"input_tokens": 3, "output_tokens": 2}});
    assert_eq!(
        whole(Dialect::Anthropic, Dialect::Gemini, &message).unwrap(),
        json!({"candidates": [{"content": {"parts": [{"text": "ab"}], "role": "model"}, "finishReason": "SAFETY", "index": 0}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
            "modelVersion": "claude", "responseId": "m"})
    );
}

#[test]
fn errors_keep_their_status_and_their_message() {
    let error = |provider, caller, status, body: &str| {
        let out = answering(provider, caller, None).error(status, body.as_bytes());
        serde_json::from_slice::<Value>(&out).unwrap()
    };
    let google = r#"{"error":{"code":429,"message":"Too many.","status":"RESOURCE_EXHAUSTED","details":[{}]}}"#;
    let expect = json!({"error": {"message": "Too many.", "type": "rate_limit_error", "param": null, "code": "RESOURCE_EXHAUSTED"}});
    assert_eq!(error(Dialect::Gemini, Dialect::OpenAi, 429, google), expect);
    assert_eq!(error(Dialect::Gemini, Dialect::OpenAi, 429, &format!("[{google}\n]\n")), expect);
    let message =
        error(Dialect::Gemini, Dialect::Anthropic, 400, r#"{"error":{"message":"Bad.","status":"INVALID_ARGUMENT"}}"#);
    assert_eq!(
        message["error"],
        json!({"type": "invalid_request_error", "message": "Bad.", "code": "INVALID_ARGUMENT"})
    );
    let got =
        error(Dialect::OpenAi, Dialect::Gemini, 401, r#"{"error":{"message":"No.","type":"authentication_error"}}"#);
    let details = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "authentication_error", "domain": "provider"}]);
    assert_eq!(got, json!({"error": {"code": 401, "message": "No.", "status": "UNAUTHENTICATED", "details": details}}));
    let unusable = error(Dialect::Gemini, Dialect::OpenAi, 502, "<html>");
    assert_eq!(unusable["error"]["type"], "server_error");
}

/// A stream in pieces of this size, and why it failed.
pub(super) fn stream(translation: Translation, bytes: &[u8], size: usize) -> (String, Option<StreamFailure>) {
    let (mut translator, mut out) = (translation.stream(), Vec::new());
    bytes.chunks(size.max(1)).for_each(|piece| translator.feed(piece, &mut out));
    translator.finish(&mut out);
    (String::from_utf8(out).unwrap(), translator.failure())
}

fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect()
}

#[test]
fn a_stream_of_gemini_for_others() {
    let part = |parts: Value| json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}], "usageMetadata": {"promptTokenCount": 9}, "modelVersion": "g", "responseId": "r"});
    let end = generated(json!([{"text": ""}]), "STOP");
    let all = sse(&[
        part(json!([{"text": "hm", "thought": true}])),
        part(json!([{"text": "Hi"}])),
        part(json!([{"functionCall": {"name": "f", "args": {"a": 1}}}, {"functionCall": {"name": "f"}}])),
        end,
        json!({"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 30}}),
    ]);
    let (chunks, failure) = stream(answering(Dialect::Gemini, Dialect::OpenAi, None), all.as_bytes(), 7);
    assert_eq!(failure, None);
    let chunks: Vec<&str> = chunks.split_terminator("\n\n").collect();
    assert_eq!(chunks.last(), Some(&"data: [DONE]"));
    let of = |i: usize| serde_json::from_str::<Value>(&chunks[i][6..]).unwrap();
    let delta = |i| of(i)["choices"][0]["delta"].clone();
    assert_eq!(of(0)["id"], "r");
    assert_eq!((delta(1), delta(2)), (json!({"reasoning_content": "hm"}), json!({"content": "Hi"})));
    assert_eq!(delta(3)["tool_calls"][0]["id"], "call_r_0");
    assert_eq!(delta(4)["tool_calls"][0]["function"]["arguments"], "{\"a\":1}");
    assert_eq!(
        (&delta(5)["tool_calls"][0]["index"], &delta(5)["tool_calls"][0]["id"]),
        (&json!(1), &json!("call_r_1"))
    );
    assert_eq!(of(7)["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(of(8)["usage"]["completion_tokens"], 32);
    assert_eq!(chunks.len(), 10);

    let (events, failure) = stream(answering(Dialect::Gemini, Dialect::Anthropic, None), all.as_bytes(), 1000);
    assert_eq!(failure, None);
    assert!(events.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{events}");
    assert_eq!(events.matches("content_block_stop").count(), 2 * 4);

    let (blocked, failure) = stream(
        answering(Dialect::Gemini, Dialect::OpenAi, None),
        b"data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n",
        99,
    );
    assert!(
        blocked.contains("\"content_filter\"") && blocked.ends_with("[DONE]\n\n") && failure.is_none(),
        "{blocked}"
    );
    for (bytes, why) in [
        (sse(&[part(json!([{"text": "Hi"}]))]), Some(StreamFailure::Truncated)),
        (String::new(), Some(StreamFailure::Truncated)),
        ("data: <html>\n\n".to_owned(), Some(StreamFailure::Malformed)),
        (sse(&[generated(json!([]), "MALFORMED_FUNCTION_CALL")]), Some(StreamFailure::Malformed)),
        (sse(&[json!({"error": {"code": 503, "message": "Busy.", "status": "UNAVAILABLE"}})]), None),
    ] {
        let (out, failure) = stream(answering(Dialect::Gemini, Dialect::OpenAi, None), bytes.as_bytes(), 50);
        assert_eq!(failure, why, "{bytes}");
        assert!(out.contains("\"error\":{") && !out.contains("[DONE]"), "{out}");
    }
}

const CHAT: &str = concat!(
    ": hello\n\n",
    "data: {\"id\":\"c\",\"model\":\"gpt\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\"\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5}}\n\n",
    "data: [DONE]\n\n",
);

#[test]
fn a_stream_of_others_for_gemini() {
    let part = |parts: Value| json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}], "modelVersion": "gpt", "responseId": "c"});
    let mut last = part(json!([{"functionCall": {"id": "t", "name": "f", "args": {"a": 1}}}]));
    last["candidates"][0]["finishReason"] = "STOP".into();
    last["usageMetadata"] = json!({"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14});
    let expect = vec![part(json!([{"text": "Hi"}])), last];
    for size in [1, 50, 10_000] {
        let events = answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Events));
        assert!(events.streams_events());
        let (out, failure) = stream(events, CHAT.as_bytes(), size);
        assert_eq!(failure, None);
        let got: Vec<Value> =
            out.split_terminator("\r\n\r\n").map(|event| serde_json::from_str(&event[6..]).unwrap()).collect();
        assert_eq!(got, expect);
        let array = answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Array));
        assert!(!array.streams_events());
        let (out, _) = stream(array, CHAT.as_bytes(), size);
        assert_eq!(serde_json::from_str::<Vec<Value>>(&out).unwrap(), expect);
    }
    // Arguments over several lines are one event all the same.
    let lines = CHAT.replace(":1}", ":\\n\\r1}");
    assert_ne!(lines, CHAT);
    let (out, _) = stream(answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Events)), lines.as_bytes(), 99);
    let got: Vec<Value> =
        out.split_terminator("\r\n\r\n").map(|event| serde_json::from_str(&event[6..]).unwrap()).collect();
    assert_eq!(got, expect);
    assert_eq!(out.matches(['\n', '\r']).count(), 4 * expect.len(), "{out:?}");
    // Cut off: an element that says so, and the array is whole.
    let (cut, failure) =
        stream(answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Array)), &CHAT.as_bytes()[..120], 7);
    assert_eq!(failure, Some(StreamFailure::Truncated));
    let elements: Vec<Value> = serde_json::from_str(&cut).unwrap();
    assert_eq!(elements.last().unwrap()["error"]["status"], "UNAVAILABLE");
    // Arguments that are not JSON are no call.
    let broken = CHAT.replace(":1}", ":");
    let (out, _) = stream(answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Events)), broken.as_bytes(), 99);
    assert!(out.contains("MALFORMED_FUNCTION_CALL") && !out.contains("functionCall\""), "{out}");
    let limited = broken.replace("\"finish_reason\":\"tool_calls\"", "\"finish_reason\":\"length\"");
    let (out, _) = stream(answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Events)), limited.as_bytes(), 99);
    assert!(out.contains("\"finishReason\":\"MAX_TOKENS\"") && !out.contains("functionCall\""), "{out}");
    // Nor are more than can be kept.
    let piece = format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":0,\"function\":{{\"arguments\":\"{}\"}}}}]}}}}]}}\n\n",
        " ".repeat(1 << 20)
    );
    let at = CHAT.find("data: {\"choices\":[{\"index\":0,\"delta\":{},").unwrap();
    let large = [&CHAT[..at], &piece.repeat(5), &CHAT[at..]].concat();
    let mut translator = answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Events)).stream();
    let mut out = Vec::new();
    translator.feed(large.as_bytes(), &mut out);
    translator.finish(&mut out);
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("MALFORMED_FUNCTION_CALL") && out.len() < 4096, "{}", out.len());
}

#[test]
fn tokens_of_sound_are_told_to_callers_of_other_dialects() {
    let mut google = generated(json!([{"text": "Hi"}]), "STOP");
    google["usageMetadata"]["promptTokensDetails"] =
        json!([{"modality": "TEXT", "tokenCount": 3}, {"modality": "AUDIO", "tokenCount": 6}]);
    google["usageMetadata"]["cacheTokensDetails"] = json!([{"modality": "AUDIO", "tokenCount": 4}]);
    google["usageMetadata"]["candidatesTokensDetails"] = json!([{"modality": "AUDIO", "tokenCount": 2}]);
    let completion = json!({"id": "c", "model": "gpt",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Hi"}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 6},
            "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 2}}});
    let chunks = tests_chats::streamed(&completion, 3);
    let prompt = json!({"cached_tokens": 4, "cache_write_tokens": 0, "audio_tokens": 6});
    let written = json!({"reasoning_tokens": 2, "audio_tokens": 2});
    let heard = json!([{"modality": "TEXT", "tokenCount": 3}, {"modality": "AUDIO", "tokenCount": 6}]);
    let spoken = json!([{"modality": "TEXT", "tokenCount": 1}, {"modality": "AUDIO", "tokenCount": 2}]);

    let chat = whole(Dialect::Gemini, Dialect::OpenAi, &google).unwrap();
    let (events, failure) =
        stream(answering(Dialect::Gemini, Dialect::OpenAi, None), sse(std::slice::from_ref(&google)).as_bytes(), 9);
    assert_eq!(failure, None);
    let told = events.split("\n\n").filter_map(|event| serde_json::from_str::<Value>(event.get(6..)?).ok());
    let last = told.filter(|chunk| chunk["usage"].is_object()).last().unwrap();
    for usage in [&chat["usage"], &last["usage"]] {
        assert_eq!((&usage["prompt_tokens_details"], &usage["completion_tokens_details"]), (&prompt, &written));
    }

    let gemini = whole(Dialect::OpenAi, Dialect::Gemini, &completion).unwrap();
    let translation = answering(Dialect::OpenAi, Dialect::Gemini, Some(Frames::Array));
    let (array, failure) = stream(translation, chunks.as_bytes(), 9);
    assert_eq!(failure, None);
    let array: Vec<Value> = serde_json::from_str(&array).unwrap();
    for usage in [&gemini["usageMetadata"], &array.last().unwrap()["usageMetadata"]] {
        assert_eq!((&usage["promptTokensDetails"], &usage["candidatesTokensDetails"]), (&heard, &spoken));
    }

    // The other two have no field for them.
    for caller in [Dialect::Anthropic, Dialect::Responses] {
        for (provider, answer) in [(Dialect::Gemini, &google), (Dialect::OpenAi, &completion)] {
            assert!(!whole(provider, caller, answer).unwrap()["usage"].to_string().contains("audio"));
        }
    }
}
