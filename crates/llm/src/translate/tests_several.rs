//! Log probabilities of tokens, and several answers to one call, in every dialect that has them.
#![allow(clippy::unwrap_used)]
use super::{To, Translation, Translator};
use crate::{gemini::request::Frames, provider::Dialect};
use credentialflow_model::Timestamp;
use serde_json::{Value, json};

const AT: Timestamp = Timestamp::from_secs(1_790_000_000);

/// A call of this dialect, with more of its fields, for a provider.
fn request(from: Dialect, more: &Value, to: Dialect, stream: bool) -> Result<(Value, Translation), String> {
    let mut call = match from {
        Dialect::Gemini => json!({"contents": [{"parts": [{"text": "hi"}]}]}),
        Dialect::Responses => json!({"model": "m", "input": "hi", "stream": stream}),
        _ => json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream}),
    };
    call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (call, to) = (call.to_string(), To::new(to, "m"));
    let sent = match from {
        Dialect::Gemini => super::gemini_request(call.as_bytes(), stream.then_some(Frames::Events), &to, AT),
        _ => super::request(call.as_bytes(), from, &to, AT),
    };
    let (body, translation) = sent.map_err(|why| why.to_string())?;
    Ok((serde_json::from_slice(&body).unwrap(), translation))
}

fn whole(translation: &Translation, answer: &Value) -> Value {
    serde_json::from_slice(&translation.whole(answer.to_string().as_bytes()).unwrap()).unwrap()
}

/// The data of the events of a stream that came in two pieces.
fn streamed(mut stream: Translator, raw: &str) -> Vec<Value> {
    let mut out = Vec::new();
    let (one, two) = raw.as_bytes().split_at(raw.len() / 2);
    stream.feed(one, &mut out);
    stream.feed(two, &mut out);
    stream.finish(&mut out);
    assert_eq!(stream.failure(), None, "{}", String::from_utf8_lossy(&out));
    let text = String::from_utf8(out).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn events(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

/// What is told of these tokens, in OpenAI's form.
fn tokens(tokens: &[&str]) -> Value {
    let one = |token: &str, logprob: &str| {
        let logprob: Value = serde_json::from_str(logprob).unwrap();
        json!({"token": token, "logprob": logprob, "bytes": token.as_bytes()})
    };
    let told = tokens.iter().map(|token| {
        let mut told = one(token, "-0.25");
        told["top_logprobs"] = json!([one(token, "-0.25"), one("é", "-1.5")]);
        told
    });
    told.collect()
}

/// The same in Gemini's.
fn candidates(tokens: &[&str]) -> Value {
    let one = |token: &str, logprob: f64| json!({"token": token, "logProbability": logprob});
    let top = |token: &&str| json!({"candidates": [one(token, -0.25), one("é", -1.5)]});
    json!({"topCandidates": tokens.iter().map(top).collect::<Vec<_>>(),
        "chosenCandidates": tokens.iter().map(|token| one(token, -0.25)).collect::<Vec<_>>()})
}

/// How callers ask for log probabilities.
const ASKS: [(Dialect, &str); 3] = [
    (Dialect::OpenAi, r#"{"logprobs": true, "top_logprobs": 2}"#),
    (Dialect::Responses, r#"{"include": ["message.output_text.logprobs"], "top_logprobs": 2}"#),
    (Dialect::Gemini, r#"{"generationConfig": {"responseLogprobs": true, "logprobs": 2}}"#),
];

fn asks() -> impl Iterator<Item = (Dialect, Value)> {
    ASKS.into_iter().map(|(dialect, asks)| (dialect, serde_json::from_str(asks).unwrap()))
}

#[test]
fn log_probabilities_are_asked_for_where_they_are_told() {
    for (from, asks) in asks() {
        for (to, asked) in self::asks().filter(|(to, _)| *to != from) {
            let (sent, _) = request(from, &asks, to, false).unwrap();
            for (name, value) in asked.as_object().unwrap() {
                assert_eq!(&sent[name], value, "{from:?} to {to:?}");
            }
        }
        for to in [Dialect::Anthropic, Dialect::Bedrock, Dialect::Replicate] {
            let why = request(from, &asks, to, false).unwrap_err();
            assert!(why.contains("ogprobs` has no counterpart"), "{why}");
        }
    }
    // Without others beside each token, or not at all.
    let (sent, _) = request(Dialect::OpenAi, &json!({"logprobs": true}), Dialect::Gemini, false).unwrap();
    assert_eq!(sent["generationConfig"], json!({"responseLogprobs": true}));
    let include = json!({"include": ["message.output_text.logprobs", "reasoning.encrypted_content"]});
    let (sent, _) = request(Dialect::Responses, &include, Dialect::OpenAi, false).unwrap();
    assert_eq!((&sent["logprobs"], sent.get("top_logprobs")), (&json!(true), None));
    let (sent, _) = request(Dialect::Responses, &json!({"top_logprobs": 2}), Dialect::OpenAi, false).unwrap();
    assert_eq!((&sent["logprobs"], &sent["top_logprobs"]), (&json!(true), &json!(2)));
    for (from, asks) in [
        (Dialect::OpenAi, json!({"logprobs": false, "top_logprobs": 0})),
        (Dialect::Responses, json!({"include": ["reasoning.encrypted_content"], "top_logprobs": 0})),
        (Dialect::Gemini, json!({"generationConfig": {"responseLogprobs": false, "logprobs": 3}})),
    ] {
        for to in [Dialect::OpenAi, Dialect::Responses, Dialect::Gemini].into_iter().filter(|to| *to != from) {
            let (sent, _) = request(from, &asks, to, false).unwrap();
            assert!(!sent.to_string().contains("ogprobs"), "{sent}");
        }
    }
    assert!(request(Dialect::OpenAi, &json!({"top_logprobs": 2}), Dialect::Gemini, false).is_err());
    let both = json!({"logprobs": true, "include": []});
    assert!(request(Dialect::OpenAi, &both, Dialect::Responses, false).is_err());
}

/// An answer of two tokens, whole.
fn answer(dialect: Dialect, words: &[&str]) -> Value {
    let text = words.concat();
    match dialect {
        Dialect::Gemini => json!({"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP",
            "logprobsResult": candidates(words), "avgLogprobs": -0.25}], "responseId": "r", "modelVersion": "g"}),
        Dialect::Responses => json!({"id": "r", "model": "g", "status": "completed", "output": [{"type": "message",
            "role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": tokens(words)}]}]}),
        _ => {
            json!({"id": "r", "model": "g", "choices": [{"index": 0, "message": {"role": "assistant", "content": text},
            "logprobs": {"content": tokens(words), "refusal": null}, "finish_reason": "stop"}]})
        }
    }
}

/// What an answer of this dialect tells of its tokens.
fn told(dialect: Dialect, answer: &Value) -> Value {
    match dialect {
        Dialect::Gemini => answer["candidates"][0]["logprobsResult"].clone(),
        Dialect::Responses => answer["output"][0]["content"][0]["logprobs"].clone(),
        _ => answer["choices"][0]["logprobs"]["content"].clone(),
    }
}

#[test]
fn log_probabilities_are_told_in_the_callers_form() {
    let words = ["Gr", "üß", "\u{1F600}"];
    for (caller, asks) in asks() {
        for (provider, _) in self::asks().filter(|(provider, _)| *provider != caller) {
            let (_, translation) = request(caller, &asks, provider, false).unwrap();
            let got = whole(&translation, &answer(provider, &words));
            let expected = if caller == Dialect::Gemini { candidates(&words) } else { tokens(&words) };
            assert_eq!(told(caller, &got), expected, "{provider:?} to {caller:?}");
            // Nothing is told of what tells nothing, or what is of another form.
            for form in
                [json!(null), json!({"tokens": ["a"], "token_logprobs": [1]}), json!({"chosenCandidates": 7}), json!(7)]
            {
                let mut odd = answer(provider, &words);
                match provider {
                    Dialect::Gemini => odd["candidates"][0]["logprobsResult"] = form,
                    Dialect::Responses => odd["output"][0]["content"][0]["logprobs"] = form,
                    _ => odd["choices"][0]["logprobs"] = form,
                }
                let got = told(caller, &whole(&translation, &odd));
                assert!(got.is_null() || got == json!([]), "{got}");
            }
        }
    }
    // Of a refusal they are those of the text.
    let (_, translation) = request(Dialect::Gemini, &self::asks().last().unwrap().1, Dialect::OpenAi, false).unwrap();
    let mut refused = answer(Dialect::OpenAi, &[]);
    refused["choices"][0]["message"] = json!({"role": "assistant", "content": null, "refusal": "No."});
    refused["choices"][0]["logprobs"] = json!({"content": null, "refusal": tokens(&["No", "."])});
    let got = whole(&translation, &refused);
    assert_eq!(got["candidates"][0]["content"]["parts"][0]["text"], "No.");
    assert_eq!(told(Dialect::Gemini, &got), candidates(&["No", "."]));
    // Bytes are as they were told; of what is no text by itself none are made up. A number may be left out.
    let (_, translation) =
        request(Dialect::Responses, &json!({"include": ["message.output_text.logprobs"]}), Dialect::OpenAi, false)
            .unwrap();
    let mut odd = answer(Dialect::OpenAi, &["a"]);
    odd["choices"][0]["logprobs"]["content"] = json!([{"token": "\u{fffd}", "logprob": -9999.0, "bytes": [240, 159], "top_logprobs": []},
        {"token": "\u{fffd}", "bytes": null}]);
    assert_eq!(
        told(Dialect::Responses, &whole(&translation, &odd)),
        json!([{"token": "\u{fffd}", "logprob": -9999.0, "bytes": [240, 159], "top_logprobs": []},
            {"token": "\u{fffd}", "logprob": 0, "bytes": null, "top_logprobs": []}])
    );
}

/// The same as a stream, a token at a time.
fn stream(dialect: Dialect, words: &[&str]) -> String {
    let mut told: Vec<Value> = words
        .iter()
        .map(|word| match dialect {
            Dialect::Gemini => {
                let mut event = answer(dialect, &[word]);
                event["candidates"][0].as_object_mut().unwrap().remove("finishReason");
                event
            }
            Dialect::Responses => json!({"type": "response.output_text.delta", "output_index": 0, "delta": word,
                "logprobs": tokens(&[word])}),
            _ => json!({"id": "r", "model": "g", "choices": [{"index": 0, "delta": {"content": word},
                "logprobs": {"content": tokens(&[word])}, "finish_reason": null}]}),
        })
        .collect();
    match dialect {
        Dialect::Gemini => told.push(json!({"candidates": [{"finishReason": "STOP"}]})),
        Dialect::Responses => {
            told.insert(0, json!({"type": "response.created", "response": {"id": "r", "model": "g"}}));
            told.push(json!({"type": "response.completed", "response": {"id": "r", "status": "completed"}}));
        }
        _ => told.push(json!({"id": "r", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})),
    }
    events(&told)
}

#[test]
fn streams_tell_log_probabilities_with_the_text_that_they_are_of() {
    let words = ["Gr", "üß"];
    for (caller, asks) in asks() {
        for (provider, _) in self::asks().filter(|(provider, _)| *provider != caller) {
            let (_, translation) = request(caller, &asks, provider, true).unwrap();
            let got = streamed(translation.stream(), &stream(provider, &words));
            let with = |text: &str, place: &str, tokens: &str| -> Value {
                let event = got.iter().find(|event| event.pointer(place).is_some_and(|told| told == text)).unwrap();
                event.pointer(tokens).unwrap().clone()
            };
            for word in words {
                let (got, expected) = match caller {
                    Dialect::Gemini => (
                        with(word, "/candidates/0/content/parts/0/text", "/candidates/0/logprobsResult"),
                        candidates(&[word]),
                    ),
                    Dialect::Responses => (with(word, "/delta", "/logprobs"), tokens(&[word])),
                    _ => (with(word, "/choices/0/delta/content", "/choices/0/logprobs/content"), tokens(&[word])),
                };
                assert_eq!(got, expected, "{provider:?} to {caller:?}");
            }
            if caller == Dialect::Responses {
                let done = got.iter().find(|event| event["type"] == "response.output_text.done").unwrap();
                assert_eq!(done["logprobs"], tokens(&words));
                assert_eq!(told(caller, &got.last().unwrap()["response"]), tokens(&words));
            }
        }
    }
}

#[test]
fn several_answers_are_asked_for_where_they_are_given() {
    let (chat, gemini) = (json!({"n": 3}), json!({"generationConfig": {"candidateCount": 3}}));
    let (sent, _) = request(Dialect::OpenAi, &chat, Dialect::Gemini, false).unwrap();
    assert_eq!(sent["generationConfig"], gemini["generationConfig"]);
    let (sent, _) = request(Dialect::Gemini, &gemini, Dialect::OpenAi, false).unwrap();
    assert_eq!(sent["n"], 3);
    for to in [Dialect::Anthropic, Dialect::Bedrock, Dialect::Replicate, Dialect::Responses] {
        assert!(request(Dialect::OpenAi, &chat, to, false).unwrap_err().contains("`n` has no counterpart"), "{to:?}");
        if to != Dialect::Responses {
            assert!(request(Dialect::OpenAi, &json!({"n": 1}), to, false).is_ok());
        }
        assert!(
            request(Dialect::Gemini, &gemini, to, false).unwrap_err().contains("`candidateCount` has no"),
            "{to:?}"
        );
    }
    let most = |n: u64| request(Dialect::OpenAi, &json!({"n": n}), Dialect::Gemini, false).map(|_| ());
    assert_eq!(most(8), Ok(()));
    assert!(most(9).unwrap_err().contains("too many answers"));
    assert!(most(0).is_err());
    // One array cannot be written by several.
    let call =
        json!({"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"candidateCount": 2}}).to_string();
    let to = To::new(Dialect::OpenAi, "m");
    let why = super::gemini_request(call.as_bytes(), Some(Frames::Array), &to, AT).unwrap_err().to_string();
    assert!(why.contains("one array"), "{why}");
}

/// A candidate of Gemini's.
fn candidate(index: u64, parts: &Value, reason: &str) -> Value {
    json!({"index": index, "content": {"role": "model", "parts": parts}, "finishReason": reason})
}

#[test]
fn each_of_several_answers_has_its_own_number() {
    let call = json!([{"functionCall": {"name": "f", "args": {"a": 1}}}]);
    let generated = json!({"candidates": [candidate(0, &json!([{"text": "A"}]), "STOP"),
            candidate(1, &call, "STOP"), candidate(2, &json!([{"text": "C"}]), "MAX_TOKENS")],
        "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 9}, "responseId": "r", "modelVersion": "g"});
    let (_, translation) = request(Dialect::OpenAi, &json!({"n": 3}), Dialect::Gemini, false).unwrap();
    let chat = whole(&translation, &generated);
    let choices = chat["choices"].as_array().unwrap();
    let of = |at: usize| {
        let message = &choices[at]["message"];
        (choices[at]["index"].as_u64(), message["content"].as_str(), choices[at]["finish_reason"].as_str().unwrap())
    };
    assert_eq!((of(0), of(1)), ((Some(0), Some("A"), "stop"), (Some(1), None, "tool_calls")));
    assert_eq!((of(2), choices.len()), ((Some(2), Some("C"), "length"), 3));
    // Its id is another than that of a call of the first answer would be.
    assert_eq!(choices[1]["message"]["tool_calls"][0]["id"], "call_r_1_0");
    assert_eq!(chat["usage"]["completion_tokens"], 9);
    // And back.
    let (_, translation) =
        request(Dialect::Gemini, &json!({"generationConfig": {"candidateCount": 3}}), Dialect::OpenAi, false).unwrap();
    let back = whole(&translation, &chat);
    let candidates = back["candidates"].as_array().unwrap();
    assert_eq!(candidates.iter().map(|c| c["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(candidates[1]["content"]["parts"][0]["functionCall"]["args"], json!({"a": 1}));
    assert_eq!(
        (&candidates[2]["content"]["parts"][0]["text"], &candidates[2]["finishReason"]),
        (&json!("C"), &json!("MAX_TOKENS"))
    );
}

#[test]
fn streams_of_several_answers_say_whose_each_part_is() {
    let part = |index: u64, text: &str| json!({"index": index, "content": {"parts": [{"text": text}]}});
    let usage = json!({"promptTokenCount": 2, "candidatesTokenCount": 9});
    let raw = events(&[
        json!({"candidates": [part(0, "A"), part(1, "B")], "responseId": "r", "modelVersion": "g"}),
        json!({"candidates": [part(1, "b")]}),
        json!({"candidates": [{"index": 0, "finishReason": "STOP"}, {"index": 1, "finishReason": "MAX_TOKENS"}], "usageMetadata": usage}),
    ]);
    let asked = json!({"n": 3, "stream_options": {"include_usage": true}});
    let (_, translation) = request(Dialect::OpenAi, &asked, Dialect::Gemini, true).unwrap();
    let got = streamed(translation.stream(), &raw);
    let choices: Vec<(u64, String)> = got
        .iter()
        .filter_map(|chunk| chunk["choices"].get(0))
        .map(|choice| {
            let said = choice["delta"]["content"].as_str().or(choice["finish_reason"].as_str()).unwrap_or_default();
            (choice["index"].as_u64().unwrap(), said.to_owned())
        })
        .collect();
    // A third one never came, of which nothing is said.
    let expected = [(0, ""), (0, "A"), (1, ""), (1, "B"), (1, "b"), (0, "stop"), (1, "length")];
    assert_eq!(choices, expected.map(|(index, said)| (index, said.to_owned())));
    // What all of them took is told once, in the end.
    assert_eq!(got.last().unwrap()["usage"]["completion_tokens"], 9);
    assert_eq!(got.iter().filter(|chunk| chunk["usage"].is_object()).count(), 1);

    // The other way, with a call of a tool in the second one.
    let chunk = |index: u64, delta: Value, finish: Option<&str>| json!({"id": "r", "model": "g", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]});
    let call = json!({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{\"a\":1}"}}]});
    let mut raw = events(&[
        chunk(0, json!({"content": "A"}), None),
        chunk(1, call, None),
        chunk(0, json!({"content": "a"}), None),
        chunk(1, json!({}), Some("tool_calls")),
        chunk(0, json!({}), Some("stop")),
        json!({"id": "r", "choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 9}}),
    ]);
    raw.push_str("data: [DONE]\n\n");
    let asked = json!({"generationConfig": {"candidateCount": 2}});
    let (_, translation) = request(Dialect::Gemini, &asked, Dialect::OpenAi, true).unwrap();
    let got = streamed(translation.stream(), &raw);
    let of = |index: u64| got.iter().map(|event| &event["candidates"][0]).filter(move |one| one["index"] == index);
    let text = |index| of(index).filter_map(|one| one["content"]["parts"][0]["text"].as_str()).collect::<String>();
    assert_eq!((text(0), text(1)), ("Aa".to_owned(), String::new()));
    let last = of(1).next_back().unwrap();
    assert_eq!(
        (&last["finishReason"], &last["content"]["parts"][0]["functionCall"]["args"]),
        (&json!("STOP"), &json!({"a": 1}))
    );
    assert_eq!(got.last().unwrap()["candidates"][0]["index"], 0);
    assert_eq!(got.last().unwrap()["usageMetadata"]["candidatesTokenCount"], 9);
    assert_eq!(got.iter().filter(|event| event.get("usageMetadata").is_some()).count(), 1);
}
