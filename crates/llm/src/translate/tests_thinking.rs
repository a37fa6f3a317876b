//! What models think, images that they make and ids of tools' calls, as they go to and fro between dialects.
#![allow(clippy::unwrap_used)]
use super::{StreamFailure, To, Translation};
use crate::{
    gemini::request::Frames,
    provider::{CallIds, Dialect, Thoughts},
};
use credentialflow_model::Timestamp;
use serde_json::{Value, json};

const AT: Timestamp = Timestamp::from_secs(1_790_000_000);
const CLAUDE: &str = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";
const BEDROCK: To<'_> = To::new(Dialect::Bedrock, CLAUDE);

pub(super) fn sent(call: &Value, from: Dialect, to: &To<'_>) -> Value {
    let (body, _) = super::request(call.to_string().as_bytes(), from, to, AT).unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// How an answer of this dialect comes to a caller of that.
fn answered(from: Dialect, caller: Dialect, stream: bool) -> Translation {
    let to = To::new(from, CLAUDE);
    let hi = json!([{"role": "user", "content": "hi"}]);
    let call = match caller {
        Dialect::Gemini => {
            let body = json!({"contents": [{"parts": [{"text": "hi"}]}]}).to_string();
            return super::gemini_request(body.as_bytes(), stream.then_some(Frames::Events), &to, AT).unwrap().1;
        }
        Dialect::Responses => json!({"model": "m", "input": "hi", "stream": stream}),
        _ => json!({"model": "m", "max_tokens": 99, "messages": hi, "stream": stream}),
    };
    super::request(call.to_string().as_bytes(), caller, &to, AT).unwrap().1
}

pub(super) fn whole(from: Dialect, caller: Dialect, answer: &Value) -> Value {
    let body = answered(from, caller, false).whole(answer.to_string().as_bytes()).unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// The events of a translated stream, and why it failed if it did.
pub(super) fn streamed(from: Dialect, caller: Dialect, raw: &str) -> (Vec<Value>, Option<StreamFailure>) {
    let (mut stream, mut out) = (answered(from, caller, true).stream(), Vec::new());
    // In two pieces, cut anywhere.
    let (one, two) = raw.as_bytes().split_at(raw.len() / 2);
    stream.feed(one, &mut out);
    stream.feed(two, &mut out);
    stream.finish(&mut out);
    let text = String::from_utf8(out).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    (data.map(|data| serde_json::from_str(data).unwrap()).collect(), stream.failure())
}

pub(super) fn events(events: &[(&str, Value)]) -> String {
    events.iter().map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")).collect()
}

fn converse() -> Value {
    json!({"output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "sig1"}}},
            {"reasoningContent": {"redactedContent": "cmVk"}},
            {"text": "I look."},
            {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"a": 1}}},
        ]}}, "stopReason": "tool_use", "usage": {"inputTokens": 5, "outputTokens": 7}})
}

/// The same as a message of Anthropic's.
fn message() -> Value {
    json!([{"type": "thinking", "thinking": "Hm.", "signature": "sig1"}, {"type": "redacted_thinking", "data": "cmVk"},
        {"type": "text", "text": "I look."}, {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}])
}

/// Its second turn, after the tool has answered.
fn goes_on(content: &Value) -> Value {
    json!({"model": "m", "max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 2000},
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "messages": [{"role": "user", "content": "What is there?"}, {"role": "assistant", "content": content},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a tree"}]}]})
}

#[test]
fn claude_at_bedrock_is_sent_back_what_it_thought() {
    let got = whole(Dialect::Bedrock, Dialect::Anthropic, &converse());
    assert_eq!(got["content"], message());
    let back = sent(&goes_on(&got["content"]), Dialect::Anthropic, &BEDROCK);
    let content = converse()["output"]["message"]["content"].clone();
    assert_eq!(back["messages"][1]["content"], content);
    // So it thinks on.
    assert_eq!(back["additionalModelRequestFields"], json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}));
    // Others are not sent what they could not read, and a turn of which nothing is left is none.
    let nova = sent(&goes_on(&message()), Dialect::Anthropic, &To::new(Dialect::Bedrock, "amazon.nova-lite-v1:0"));
    assert_eq!(nova["messages"][1]["content"], json!([content[2], content[3]]));
    let alone = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""}]},
        {"role": "user", "content": "b"}]});
    for (to, place) in [
        (BEDROCK, "messages"),
        (To::new(Dialect::OpenAi, "gpt"), "messages"),
        (To::new(Dialect::Gemini, "g"), "contents"),
    ] {
        assert_eq!(sent(&alone, Dialect::Anthropic, &to)[place].as_array().unwrap().len(), 1, "{to:?}");
    }
}

#[test]
fn a_stream_of_bedrock_is_signed_too() {
    let raw = events(&[
        ("messageStart", json!({"role": "assistant"})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm."}}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "sig1"}}})),
        ("contentBlockStop", json!({"contentBlockIndex": 0})),
        (
            "contentBlockDelta",
            json!({"contentBlockIndex": 1, "delta": {"reasoningContent": {"redactedContent": "cmVk"}}}),
        ),
        // Thinking of which nothing is shown.
        ("contentBlockDelta", json!({"contentBlockIndex": 2, "delta": {"reasoningContent": {"signature": "sig2"}}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 3, "delta": {"text": "Yes."}})),
        ("messageStop", json!({"stopReason": "end_turn"})),
        ("metadata", json!({"usage": {"inputTokens": 5, "outputTokens": 7}})),
    ]);
    let (got, failure) = streamed(Dialect::Bedrock, Dialect::Anthropic, &raw);
    assert_eq!(failure, None);
    let mut blocks: Vec<Value> = Vec::new();
    for event in &got {
        match event["type"].as_str().unwrap() {
            "content_block_start" => blocks.push(event["content_block"].clone()),
            "content_block_delta" => {
                let (delta, block) = (&event["delta"], blocks.last_mut().unwrap());
                for field in ["thinking", "signature", "text"] {
                    if let Some(more) = delta[field].as_str() {
                        block[field] = format!("{}{more}", block[field].as_str().unwrap()).into();
                    }
                }
            }
            _ => {}
        }
    }
    assert_eq!(
        json!(blocks),
        json!([{"type": "thinking", "thinking": "Hm.", "signature": "sig1"}, {"type": "redacted_thinking", "data": "cmVk"},
            {"type": "thinking", "thinking": "", "signature": "sig2"}, {"type": "text", "text": "Yes."}])
    );
    let (got, _) = streamed(Dialect::Bedrock, Dialect::OpenAi, &raw);
    let deltas: Vec<&Value> = got.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
    assert_eq!(deltas[1], &json!({"reasoning_content": "Hm."}));
    let signed = |index: u64, thinking: &str, signature: &str| {
        let block = json!({"index": index, "type": "thinking", "thinking": thinking, "signature": signature});
        json!({"thinking_blocks": [block]})
    };
    assert_eq!((deltas[2], deltas[4]), (&signed(0, "Hm.", "sig1"), &signed(2, "", "sig2")));
    let redacted = json!({"index": 1, "type": "redacted_thinking", "data": "cmVk"});
    assert_eq!(deltas[3], &json!({"thinking_blocks": [redacted]}));
    // As the SDKs join them they can be sent back: to the model they are what it said.
    let mut joined = Vec::new();
    for delta in &deltas {
        super::tests::join(&mut joined, delta["thinking_blocks"].as_array().map_or(&[][..], Vec::as_slice));
    }
    assert_eq!(joined.len(), 3);
    let tool = json!({"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}});
    let back = sent(
        &json!({"model": "m", "reasoning_effort": "low", "messages": [{"role": "user", "content": "a"},
            {"role": "assistant", "content": null, "thinking_blocks": joined, "tool_calls": [tool]},
            {"role": "tool", "tool_call_id": "t1", "content": "b"}]}),
        Dialect::OpenAi,
        &To::new(Dialect::Anthropic, "claude-sonnet-4-5"),
    );
    assert_eq!(back["messages"][1]["content"].as_array().unwrap()[..3], blocks[..3]);
    assert_eq!(back["thinking"]["type"], "enabled");
    let (got, _) = streamed(Dialect::Bedrock, Dialect::Responses, &raw);
    let output = &got.last().unwrap()["response"]["output"];
    let thoughts: Vec<_> =
        output.as_array().unwrap().iter().map(|item| (&item["encrypted_content"], &item["summary"])).collect();
    assert_eq!(thoughts[0], (&json!("anthropic-signature:sig1"), &json!([{"type": "summary_text", "text": "Hm."}])));
    assert_eq!(thoughts[1], (&json!("anthropic-redacted:cmVk"), &json!([])));
    assert_eq!(thoughts[2], (&json!("anthropic-signature:sig2"), &json!([])));
    assert_eq!(output[3]["content"][0]["text"], "Yes.");
}

#[test]
fn callers_of_openais_dialects_can_send_back_what_claude_thought() {
    let answer = json!({"id": "msg_1", "model": "claude", "content": message(), "stop_reason": "tool_use"});
    let to = To::new(Dialect::Anthropic, "claude-sonnet-4-5");
    let chat = whole(Dialect::Anthropic, Dialect::OpenAi, &answer)["choices"][0]["message"].clone();
    assert_eq!(
        chat["thinking_blocks"],
        json!([{"type": "thinking", "thinking": "Hm.", "signature": "sig1"}, {"type": "redacted_thinking", "data": "cmVk"}])
    );
    assert_eq!(chat["reasoning_content"], "Hm.");
    let back = sent(
        &json!({"model": "m", "reasoning_effort": "low", "messages": [{"role": "user", "content": "What is there?"}, chat,
            {"role": "tool", "tool_call_id": "t1", "content": "a tree"}]}),
        Dialect::OpenAi,
        &to,
    );
    assert_eq!(back["messages"][1]["content"], message());
    assert_eq!(back["thinking"]["type"], "enabled");
    let output = whole(Dialect::Anthropic, Dialect::Responses, &answer)["output"].clone();
    let mut input = vec![json!({"role": "user", "content": "What is there?"})];
    input.extend(output.as_array().unwrap().iter().cloned());
    // That of others is not sent to Claude.
    input.push(json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "x"}], "encrypted_content": "gAAAA"}));
    input.push(json!({"type": "function_call_output", "call_id": "t1", "output": "a tree"}));
    let back = sent(&json!({"model": "m", "reasoning": {"effort": "low"}, "input": input}), Dialect::Responses, &to);
    assert_eq!(back["messages"][1]["content"], message());
    assert_eq!(back["thinking"]["type"], "enabled");
}

#[test]
fn who_wants_back_what_was_thought_before_tools_is_sent_it() {
    let deepseek = To { keeps_thinking: Some(Thoughts::Text), ..To::new(Dialect::OpenAi, "deepseek-flash") };
    let call = goes_on(&message());
    let got = sent(&call, Dialect::Anthropic, &deepseek)["messages"][1].clone();
    assert_eq!((&got["reasoning_content"], &got["content"]), (&json!("Hm."), &json!("I look.")));
    // Its own has no signature; and where nothing was thought that is said.
    let bare = |thinking: &str| {
        let content = json!([{"type": "thinking", "thinking": thinking, "signature": ""},
            {"type": "tool_use", "id": "t1", "name": "look", "input": {}}]);
        sent(&goes_on(&content), Dialect::Anthropic, &deepseek)["messages"][1].clone()
    };
    assert_eq!((&bare("So.")["reasoning_content"], &bare("So.")["content"]), (&json!("So."), &Value::Null));
    assert_eq!(bare("")["reasoning_content"], " ");
    // Nobody else is, and not without a tool.
    let others = sent(&call, Dialect::Anthropic, &To::new(Dialect::OpenAi, "gpt"));
    assert_eq!(others["messages"][1].get("reasoning_content"), None);
    let said = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"}]});
    let got = sent(&said, Dialect::Anthropic, &deepseek)["messages"][1].clone();
    assert_eq!(got, json!({"role": "assistant", "content": "b"}));
}

#[test]
fn ids_of_calls_are_what_the_provider_takes() {
    let call = |id: &str, other: &str| {
        let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
        json!({"model": "m", "tools": [{"type": "function", "function": {"name": "f"}}], "messages": [
            {"role": "user", "content": "a"}, {"role": "assistant", "content": null, "tool_calls": [call(id), call(other)]},
            {"role": "tool", "tool_call_id": other, "content": "2"}, {"role": "tool", "tool_call_id": id, "content": "1"}]})
    };
    let ids = |id: &str, to: &To<'_>| {
        let got = sent(&call(id, "c2_-"), Dialect::OpenAi, to);
        let (calls, results) = match to.dialect {
            Dialect::Anthropic => ("/messages/1/content/0/id", "/messages/2/content/1/tool_use_id"),
            _ => ("/messages/1/content/0/toolUse/toolUseId", "/messages/2/content/1/toolResult/toolUseId"),
        };
        let of = |place: &str| got.pointer(place).unwrap().as_str().unwrap().to_owned();
        assert_eq!(of(calls), of(results));
        of(calls)
    };
    for to in [To::new(Dialect::Anthropic, "claude-sonnet-4-5"), BEDROCK] {
        let long = "x".repeat(64);
        assert_eq!((ids("toolu_01-a", &to), ids(&long, &to)), ("toolu_01-a".to_owned(), long.clone()));
        for other in ["functions.look:0", &format!("{long}x"), "é", ""] {
            let made = ids(other, &to);
            assert!(made.len() == 9 && made != other && made == ids(other, &to), "{made}");
        }
        assert_ne!(ids("functions.look:0", &to), ids("functions.look:1", &to));
    }
    // From Messages, where ids are longer than Mistral's.
    let mistral = To { call_ids: CallIds::NineCharacters, ..To::new(Dialect::OpenAi, "mistral-large-latest") };
    let got = sent(&goes_on(&message()), Dialect::Anthropic, &mistral);
    let (id, answers) = (&got["messages"][1]["tool_calls"][0]["id"], &got["messages"][2]["tool_call_id"]);
    assert!(id == answers && id.as_str().unwrap().len() == 9, "{got}");
    let fits = json!([{"type": "tool_use", "id": "abcDEF123", "name": "look", "input": {}}]);
    let got = sent(&goes_on(&fits), Dialect::Anthropic, &mistral);
    assert_eq!(got["messages"][1]["tool_calls"][0]["id"], "abcDEF123");
    // OpenAI takes forty characters.
    let chat = |id: String| {
        let content = json!([{"type": "tool_use", "id": id, "name": "look", "input": {}}]);
        let got = sent(&goes_on(&content), Dialect::Anthropic, &To::new(Dialect::OpenAi, "gpt"));
        got["messages"][1]["tool_calls"][0]["id"].as_str().unwrap().len()
    };
    assert_eq!((chat("x".repeat(40)), chat("x".repeat(41))), (40, 9));
}

#[test]
fn sound_is_heard_where_it_can_be() {
    let audio = |format: &str| json!({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": format}});
    let call = |format: &str| json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hear."}, audio(format)]}]});
    let got = sent(&call("mp3"), Dialect::OpenAi, &To::new(Dialect::Gemini, "gemini-2.5-flash"));
    assert_eq!(
        got["contents"][0]["parts"],
        json!([{"text": "Hear."}, {"inlineData": {"mimeType": "audio/mp3", "data": "UklGRg=="}}])
    );
    let why = |format: &str, dialect| {
        super::request(call(format).to_string().as_bytes(), Dialect::OpenAi, &To::new(dialect, CLAUDE), AT)
            .unwrap_err()
            .to_string()
    };
    for dialect in [Dialect::Anthropic, Dialect::Responses, Dialect::Bedrock, Dialect::Replicate] {
        assert!(why("wav", dialect).contains("sound in a message"), "{dialect:?}");
    }
    assert!(why("pcm16", Dialect::Gemini).contains("in this format"));
    // And the other way.
    let said = |media_type: &str| {
        let body = json!({"contents": [{"parts": [{"inlineData": {"mimeType": media_type, "data": "UklGRg=="}}]}]})
            .to_string();
        let sent = super::gemini_request(body.as_bytes(), None, &To::new(Dialect::OpenAi, "gpt-audio"), AT);
        sent.map(|(body, _)| serde_json::from_slice::<Value>(&body).unwrap()["messages"][0]["content"].clone())
    };
    assert_eq!(said("audio/wav").unwrap(), json!([audio("wav")]));
    assert_eq!(said("audio/mpeg").unwrap(), json!([audio("mp3")]));
    assert!(said("audio/L16").unwrap_err().to_string().contains("sound that is no WAV"));
}

/// An answer of Gemini's with a text and an image.
fn drawn() -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": [
            {"inlineData": {"mimeType": "image/png", "data": "ZHJhZnQ="}, "thought": true},
            {"text": "Here."}, {"inlineData": {"mimeType": "image/png", "data": "aW1hZ2U="}}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1290}, "responseId": "r", "modelVersion": "g"})
}

#[test]
fn an_image_that_was_made_is_where_callers_look_for_it() {
    let url = json!({"url": "data:image/png;base64,aW1hZ2U="});
    let images = json!([{"type": "image_url", "index": 0, "image_url": url}]);
    let chat = whole(Dialect::Gemini, Dialect::OpenAi, &drawn())["choices"][0]["message"].clone();
    assert_eq!((&chat["content"], &chat["images"]), (&json!("Here."), &images));
    let output = whole(Dialect::Gemini, Dialect::Responses, &drawn())["output"].clone();
    assert_eq!(output[0]["content"][0]["text"], "Here.");
    let image = json!({"id": "ig_r_1", "type": "image_generation_call", "status": "completed", "output_format": "png",
        "result": "aW1hZ2U="});
    assert_eq!(output[1], image);
    let raw = format!("data: {}\n\n", drawn());
    let (got, failure) = streamed(Dialect::Gemini, Dialect::OpenAi, &raw);
    assert_eq!(failure, None);
    assert!(got.iter().any(|chunk| chunk["choices"][0]["delta"]["images"] == images), "{got:?}");
    let (got, failure) = streamed(Dialect::Gemini, Dialect::Responses, &raw);
    assert_eq!((failure, &got.last().unwrap()["response"]["output"][1]), (None, &image));
    // OpenRouter's images, for callers of Gemini.
    let answer = json!({"id": "i", "model": "m", "choices": [{"message": {"content": "", "images": images}, "finish_reason": "stop"}]});
    let parts = whole(Dialect::OpenAi, Dialect::Gemini, &answer)["candidates"][0]["content"]["parts"].clone();
    assert_eq!(parts, json!([{"inlineData": {"mimeType": "image/png", "data": "aW1hZ2U="}}]));
}

#[test]
fn an_image_for_which_there_is_no_place_is_no_empty_answer() {
    let to_messages = answered(Dialect::Gemini, Dialect::Anthropic, false);
    assert_eq!(to_messages.whole(drawn().to_string().as_bytes()), None);
    assert!(to_messages.without_place(drawn().to_string().as_bytes()).is_some_and(|why| why.contains("no place")));
    assert_eq!(to_messages.without_place(b"{}"), None);
    let (got, failure) = streamed(Dialect::Gemini, Dialect::Anthropic, &format!("data: {}\n\n", drawn()));
    assert_eq!(failure, Some(StreamFailure::Malformed));
    let last = got.last().unwrap();
    assert_eq!(last["type"], "error");
    assert!(last["error"]["message"].as_str().unwrap().contains("no place"), "{last}");
    // Sound has none anywhere.
    let mut spoken = drawn();
    spoken["candidates"][0]["content"]["parts"] = json!([{"inlineData": {"mimeType": "audio/L16", "data": "AAAA"}}]);
    assert_eq!(answered(Dialect::Gemini, Dialect::OpenAi, false).whole(spoken.to_string().as_bytes()), None);
    let (_, failure) = streamed(Dialect::Gemini, Dialect::OpenAi, &format!("data: {spoken}\n\n"));
    assert_eq!(failure, Some(StreamFailure::Malformed));
}

#[test]
fn images_are_asked_for_where_they_can_be() {
    let chat = |modalities: Value, to: &To<'_>| {
        let call = json!({"model": "m", "modalities": modalities, "messages": [{"role": "user", "content": "a cat"}]});
        let sent = super::request(call.to_string().as_bytes(), Dialect::OpenAi, to, AT).map_err(|why| why.to_string());
        sent.map(|(body, _)| serde_json::from_slice::<Value>(&body).unwrap()["generationConfig"].clone())
    };
    let gemini = To::new(Dialect::Gemini, "gemini-3-pro-image");
    assert_eq!(chat(json!(["image", "text"]), &gemini), Ok(json!({"responseModalities": ["TEXT", "IMAGE"]})));
    assert_eq!(chat(json!(["image"]), &gemini), Ok(json!({"responseModalities": ["IMAGE"]})));
    assert_eq!(chat(json!(["text"]), &gemini), Ok(json!({})));
    assert!(chat(json!(["text", "audio"]), &gemini).unwrap_err().contains("`modalities`"));
    let claude = To::new(Dialect::Anthropic, "claude-sonnet-4-5");
    assert!(chat(json!(["image"]), &claude).unwrap_err().contains("an image as an answer"));
    let call = json!({"contents": [{"parts": [{"text": "a cat"}]}], "generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}});
    let to = To::new(Dialect::OpenAi, "google/gemini-3-pro-image");
    let (body, _) = super::gemini_request(call.to_string().as_bytes(), None, &to, AT).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["modalities"], json!(["image", "text"]));
}
