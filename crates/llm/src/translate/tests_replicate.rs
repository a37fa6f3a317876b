#![allow(clippy::unwrap_used)]

use super::*;
use crate::{replicate, unframed::Unframed};
use proptest::prelude::*;
use serde_json::{Value, json};

const AT: Timestamp = Timestamp::from_secs(1_790_000_000);
const LLAMA: &str = "meta/meta-llama-3-70b-instruct";
const GPT: &str = "openai/gpt-5";
const GEMINI: &str = "google/gemini-3-pro";
const R1: &str = "deepseek-ai/deepseek-r1";
const VERSION: &str = "acme/chat:5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa";

fn both(from: Dialect, call: &Value, model: &str) -> Result<(Value, Translation), String> {
    let to = To::new(Dialect::Replicate, model);
    let body = call.to_string();
    let made = match from {
        Dialect::Gemini => gemini_request(body.as_bytes(), call["stream"].as_bool().map(|_| Frames::Events), &to, AT),
        _ => request(body.as_bytes(), from, &to, AT),
    };
    made.map(|(body, answer)| (serde_json::from_slice(&body).unwrap(), answer)).map_err(|e| e.to_string())
}

/// What a call is as a prediction.
fn said(from: Dialect, call: &Value, model: &str) -> Result<Value, String> {
    both(from, call, model).map(|(said, _)| said)
}

fn chat(more: Value) -> Value {
    let mut call = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    more.as_object().unwrap().iter().for_each(|(name, value)| call[name] = value.clone());
    call
}

/// A chat of one question with these fields is this input beside its prompt.
#[track_caller]
fn becomes(more: Value, model: &str, input: Value) {
    let mut expect = json!({"prompt": "Hi"});
    input.as_object().unwrap().iter().for_each(|(name, value)| expect[name] = value.clone());
    assert_eq!(said(Dialect::OpenAi, &chat(more), model), Ok(json!({"input": expect})));
}

#[test]
fn fields_and_their_names_at_each_maker() {
    becomes(json!({}), LLAMA, json!({}));
    becomes(
        json!({"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 4, "presence_penalty": 1,
            "frequency_penalty": -1, "stop": ["END", "<|x|>"], "user": "u", "stream": true, "metadata": {"a": "b"}}),
        LLAMA,
        json!({"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 4, "presence_penalty": 1,
            "frequency_penalty": -1, "stop_sequences": "END,<|x|>"}),
    );
    becomes(
        json!({"max_tokens": 7, "reasoning_effort": "high"}),
        GPT,
        json!({"max_completion_tokens": 7, "reasoning_effort": "high"}),
    );
    becomes(json!({"max_tokens": 7, "reasoning_effort": "high"}), GEMINI, json!({"max_output_tokens": 7}));
    // What the model alone knows passes as it is.
    becomes(
        json!({"top_k": 3, "prompt_template": "{prompt}", "min_tokens": 2}),
        LLAMA,
        json!({"top_k": 3, "prompt_template": "{prompt}", "min_tokens": 2}),
    );
    let said = said(Dialect::OpenAi, &chat(json!({})), VERSION).unwrap();
    assert_eq!(said, json!({"version": VERSION.split_once(':').unwrap().1, "input": {"prompt": "Hi"}}));
}

#[test]
fn a_conversation_is_a_transcript() {
    let turns = |last: Value| {
        let mut all = vec![
            json!({"role": "system", "content": "Be brief."}),
            json!({"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]}),
            json!({"role": "assistant", "content": "Three"}),
            json!({"role": "user", "content": "Four"}),
        ];
        all.extend(last.as_array().unwrap().clone());
        chat(json!({"messages": all}))
    };
    let text = "User: One\n\nTwo\n\nAssistant: Three\n\nUser: Four\n\nAssistant:";
    let of = |call: &Value, model: &str| said(Dialect::OpenAi, call, model).unwrap()["input"].clone();
    assert_eq!(of(&turns(json!([])), LLAMA), json!({"prompt": text, "system_prompt": "Be brief."}));
    assert_eq!(of(&turns(json!([])), GEMINI), json!({"prompt": text, "system_instruction": "Be brief."}));
    // Who reads no system prompt reads it before the rest.
    assert_eq!(of(&turns(json!([])), R1), json!({"prompt": format!("Be brief.\n\n{text}")}));
    let gone_on = turns(json!([{"role": "assistant", "content": "Fi"}]));
    assert_eq!(of(&gone_on, LLAMA)["prompt"], format!("{text} Fi"));
}

#[test]
fn calls_of_every_dialect() {
    let turns = json!([{"role": "user", "content": "Hi"}]);
    let expect = json!({"input": {"prompt": "Hi", "system_prompt": "Be brief.", "max_tokens": 9}});
    for (from, call) in [
        (Dialect::Anthropic, json!({"model": "m", "max_tokens": 9, "system": "Be brief.", "messages": turns})),
        (Dialect::Responses, json!({"model": "m", "max_output_tokens": 9, "instructions": "Be brief.", "input": "Hi"})),
        (
            Dialect::Gemini,
            json!({"systemInstruction": {"parts": [{"text": "Be brief."}]}, "generationConfig": {"maxOutputTokens": 9},
                "contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}),
        ),
    ] {
        assert_eq!(said(from, &call, LLAMA), Ok(expect.clone()), "{from:?}");
    }
}

#[test]
fn images_are_addresses() {
    let image = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    let (data, web) = ("data:image/png;base64,aGk=", "https://x.example/a.png");
    let of = |all: Value, model: &str| {
        let call = chat(json!({"messages": [{"role": "user", "content": all}]}));
        said(Dialect::OpenAi, &call, model).map(|said| said["input"].clone())
    };
    let one = json!([{"type": "text", "text": "What?"}, image(data)]);
    let two = json!([{"type": "text", "text": "What?"}, image(data), image(web)]);
    assert_eq!(of(one, LLAMA), Ok(json!({"prompt": "What?", "image": data})));
    assert_eq!(of(two.clone(), GPT), Ok(json!({"prompt": "What?", "image_input": [data, web]})));
    assert_eq!(of(two.clone(), GEMINI), Ok(json!({"prompt": "What?", "images": [data, web]})));
    assert!(of(two, LLAMA).unwrap_err().starts_with("more than one image has no counterpart in the Predictions API"));
}

#[test]
fn what_has_no_counterpart_is_refused() {
    let tool = json!([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]);
    let called = json!([
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "y"},
    ]);
    let file = json!([{"role": "user", "content": [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}}]}]);
    for (more, why) in [
        (json!({"tools": tool}), "a call with `tools` has no counterpart"),
        (json!({"messages": called}), "a conversation with calls of tools has no counterpart"),
        (json!({"messages": file}), "a document has no counterpart"),
        (json!({"response_format": {"type": "json_object"}}), "a form of the answer (JSON) has no counterpart"),
        (json!({"stop": "a,b"}), "a text to stop at with a comma in it has no counterpart"),
        (json!({"n": 2}), "`n`"),
        (json!({"logprobs": true}), "`logprobs`"),
        (json!({"system_prompt": "x"}), "`system_prompt` is not what"),
        (json!({"max_new_tokens": 100000}), "`max_new_tokens` is not what"),
        (json!({"input": {"prompt": "x"}}), "`input` is not what"),
    ] {
        let refused = said(Dialect::OpenAi, &chat(more.clone()), LLAMA).unwrap_err();
        assert!(refused.contains(why), "{more}: {refused}");
    }
    // Tools of which none may be called are none.
    assert!(said(Dialect::OpenAi, &chat(json!({"tools": tool, "tool_choice": "none"})), LLAMA).is_ok());
}

fn answers() -> [(Dialect, Translation); 4] {
    let streamed = json!({"stream": true, "stream_options": {"include_usage": true}});
    let message =
        json!({"model": "m", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "x"}]});
    let contents = json!({"contents": [{"parts": [{"text": "x"}]}], "stream": true});
    let mut contents_alone = contents;
    let frames = contents_alone.as_object_mut().unwrap().remove("stream").map(|_| Frames::Events);
    let to = To::new(Dialect::Replicate, LLAMA);
    let gemini = gemini_request(contents_alone.to_string().as_bytes(), frames, &to, AT).unwrap().1;
    [
        (Dialect::OpenAi, both(Dialect::OpenAi, &chat(streamed), LLAMA).unwrap().1),
        (Dialect::Anthropic, both(Dialect::Anthropic, &message, LLAMA).unwrap().1),
        (
            Dialect::Responses,
            both(Dialect::Responses, &json!({"model": "m", "input": "x", "stream": true}), LLAMA).unwrap().1,
        ),
        (Dialect::Gemini, gemini),
    ]
}

#[test]
fn a_whole_answer_in_every_dialect() {
    let metrics = json!({"predict_time": 0.5, "input_token_count": 5, "output_token_count": 3});
    for output in [json!(["Hel", "lo", ""]), json!("Hello"), json!({"text": "Hello"})] {
        let body = json!({"id": "gm3q", "status": "succeeded", "output": output, "error": null, "metrics": metrics});
        for ((from, answer), text) in answers().into_iter().zip([
            "/choices/0/message/content",
            "/content/0/text",
            "/output/0/content/0/text",
            "/candidates/0/content/parts/0/text",
        ]) {
            let said: Value = serde_json::from_slice(&answer.whole(body.to_string().as_bytes()).unwrap()).unwrap();
            assert_eq!(said.pointer(text), Some(&json!("Hello")), "{from:?}: {said}");
        }
        let chat: Value = serde_json::from_slice(&answers()[0].1.whole(body.to_string().as_bytes()).unwrap()).unwrap();
        assert_eq!(
            (&chat["id"], &chat["model"], &chat["usage"]["prompt_tokens"], &chat["usage"]["completion_tokens"]),
            (&json!("gm3q"), &json!(LLAMA), &json!(5), &json!(3))
        );
    }
    for none in [
        json!({"id": "a", "status": "processing", "output": ["x"]}),
        json!({"id": "a", "status": "succeeded", "output": 7}),
        json!({"detail": "x"}),
    ] {
        assert_eq!(answers()[0].1.whole(none.to_string().as_bytes()), None, "{none}");
    }
}

#[test]
fn errors_say_what_the_provider_said() {
    let problem = br#"{"detail":"The requested resource does not exist.","title":"Not found","status":404}"#;
    let failed = br#"{"id":"a","status":"failed","output":null,"error":"CUDA out of memory"}"#;
    for (from, answer) in answers() {
        let said = String::from_utf8(answer.error(404, problem)).unwrap();
        assert!(said.contains("The requested resource does not exist."), "{from:?}: {said}");
        let said = String::from_utf8(answer.error(500, failed)).unwrap();
        assert!(said.contains("CUDA out of memory"), "{from:?}: {said}");
    }
}

const STREAM: &str = "event: output\nid: 1\ndata: Hel\n\n: still there\n\nevent: output\ndata: lo\ndata: you\n\nevent: logs\ndata: x\n\nevent: done\ndata: {}\n\n";

fn relay(stream: &str, size: usize, answer: &Translation) -> (String, Option<StreamFailure>) {
    let (mut unframed, mut translator, mut out) =
        (Unframed::of(Dialect::Replicate), answer.clone().stream(), Vec::new());
    for piece in stream.as_bytes().chunks(size) {
        let (events, framed) = unframed.open(piece);
        assert_eq!(framed, Ok(()));
        translator.feed(&events, &mut out);
    }
    translator.finish(&mut out);
    (String::from_utf8(out).unwrap(), translator.failure())
}

#[test]
fn a_stream_in_every_dialect() {
    for (from, answer) in answers() {
        let (said, failure) = relay(STREAM, 4096, &answer);
        assert_eq!(failure, None, "{from:?}: {said}");
        assert!(said.contains("Hel") && said.contains(r"lo\nyou"), "{from:?}: {said}");
        let end = match from {
            Dialect::OpenAi => "data: [DONE]\n\n",
            Dialect::Anthropic => "\"message_stop\"",
            Dialect::Responses => "response.completed",
            _ => "\"STOP\"",
        };
        assert!(said.contains(end), "{from:?}: {said}");
    }
}

#[test]
fn a_stream_that_fails_says_so() {
    let begun = "event: output\ndata: Hel\n\n";
    for (from, answer) in answers() {
        let (said, failure) =
            relay(&format!("{begun}event: error\ndata: {{\"detail\":\"It broke.\"}}\n\n"), 9, &answer);
        assert_eq!(failure, None, "{from:?}: the provider's own error");
        assert!(said.contains("It broke.") && !said.contains("[DONE]"), "{from:?}: {said}");
        for reason in ["canceled", "error"] {
            let done = format!("{begun}event: done\ndata: {{\"reason\":\"{reason}\"}}\n\n");
            let (said, failure) = relay(&done, 9, &answer);
            assert_eq!(failure, None, "{from:?}");
            assert!(said.contains("error") && !said.contains("[DONE]"), "{from:?}: {said}");
        }
        assert_eq!(relay(begun, 9, &answer).1, Some(StreamFailure::Truncated), "{from:?}");
    }
}

proptest! {
    #[test]
    fn how_a_stream_is_cut_changes_nothing(size in 1usize..100) {
        for (_, answer) in answers() {
            prop_assert_eq!(relay(STREAM, size, &answer), relay(STREAM, 1 << 20, &answer));
        }
    }

    /// Whatever a model writes, also where it looks like an event, comes to the caller as its text.
    #[test]
    fn texts_survive_in_both_directions(text in "[a-z\"\\\\{}:\u{e4}\u{1f600} \n]{1,40}") {
        let got = said(Dialect::OpenAi, &chat(json!({"messages": [{"role": "user", "content": text}]})), LLAMA).unwrap();
        prop_assert_eq!(&got["input"]["prompt"], &json!(text));
        let finished = json!({"id": "a", "status": "succeeded", "output": [text]}).to_string();
        let whole: Value = serde_json::from_slice(&answers()[0].1.whole(finished.as_bytes()).unwrap()).unwrap();
        prop_assert_eq!(&whole["choices"][0]["message"]["content"], &json!(text));
        let stream = String::from_utf8(replicate::as_stream(finished.as_bytes())).unwrap();
        let (events, failure) = relay(&stream, 7, &answers()[0].1);
        prop_assert_eq!(failure, None);
        let chunks = events.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
        let heard: String =
            chunks.filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned())).collect();
        prop_assert_eq!(heard, text);
    }

    #[test]
    fn any_bytes_are_taken_for_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for (_, answer) in answers() {
            answer.whole(&bytes);
            let error: Value = serde_json::from_slice(&answer.error(500, &bytes)).unwrap();
            prop_assert!(error["error"]["message"].is_string());
        }
        replicate::Prediction::of(&bytes);
        replicate::told(&bytes);
        replicate::as_stream(&bytes);
    }
}
