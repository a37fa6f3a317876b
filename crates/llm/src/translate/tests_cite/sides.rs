//! An answer that is cited, as each provider says it, and what the clients of each dialect find in what they get.

use crate::{bedrock::frames::tests::message, provider::Dialect};
use serde_json::{Value, json};

/// Some words, and where they come from: addresses and titles.
pub(super) type Block = (&'static str, &'static [(&'static str, &'static str)]);

/// An answer that is cited in the middle and at its end, of characters of every length.
pub(super) const ANSWER: &[Block] = &[
    ("Gr\u{fc}\u{df}e: ", &[]),
    ("\u{65e5}\u{672c} ist weit.", &[("https://a.example/1", "A \u{1F600}")]),
    (" Und ", &[]),
    ("\u{1F600} nah.", &[("https://b.example/?q=\"x\"", "B"), ("https://a.example/1", "A \u{1F600}")]),
];

/// What is told: words, address, title.
pub(super) type Told = Vec<(String, String, String)>;

pub(super) fn expected() -> Told {
    let one = |(text, all): &Block| -> Told {
        all.iter().map(|(url, title)| ((*text).to_owned(), (*url).to_owned(), (*title).to_owned())).collect()
    };
    ANSWER.iter().flat_map(one).collect()
}

pub(super) fn words() -> String {
    ANSWER.iter().map(|(text, _)| *text).collect()
}

/// Where each citation is, counted so, with its address and its title.
fn placed(count: fn(&str) -> usize) -> Vec<(usize, usize, &'static str, &'static str)> {
    let (mut at, mut all) = (0, Vec::new());
    for (text, cited) in ANSWER {
        let end = at + count(text);
        all.extend(cited.iter().map(|(url, title)| (at, end, *url, *title)));
        at = end;
    }
    all
}

pub(super) fn characters(text: &str) -> usize {
    text.chars().count()
}

pub(super) fn grounding() -> Value {
    let chunks = json!([{"web": {"uri": "https://b.example/?q=\"x\"", "title": "B"}}, {"retrievedContext": {"uri": "gs://none"}},
        {"web": {"uri": "https://a.example/1", "title": "A \u{1F600}", "domain": "a"}}]);
    let number = |url: &str| if url.starts_with("https://a") { 2 } else { 0 };
    let support = |(start, end, url, _): (usize, usize, &str, &str)| {
        let text = &words()[start..end];
        json!({"segment": {"startIndex": start, "endIndex": end, "text": text}, "groundingChunkIndices": [1, number(url), 99]})
    };
    let supports: Vec<Value> = placed(str::len).into_iter().map(support).collect();
    json!({"webSearchQueries": ["q"], "groundingChunks": chunks, "groundingSupports": supports})
}

fn annotations(of: fn(usize, usize, &str, &str) -> Value) -> Vec<Value> {
    placed(characters).into_iter().map(|(start, end, url, title)| of(start, end, url, title)).collect()
}

pub(super) fn of_chat(start: usize, end: usize, url: &str, title: &str) -> Value {
    json!({"type": "url_citation", "url_citation": {"start_index": start, "end_index": end, "url": url, "title": title, "content": "x"}})
}

fn of_responses(start: usize, end: usize, url: &str, title: &str) -> Value {
    json!({"type": "url_citation", "start_index": start, "end_index": end, "url": url, "title": title})
}

fn in_messages((url, title): &(&str, &str)) -> Value {
    json!({"type": "web_search_result_location", "cited_text": "q", "url": url, "title": title, "encrypted_index": "e"})
}

fn in_converse((url, title): &(&str, &str)) -> Value {
    json!({"location": {"web": {"url": url, "domain": "d"}}, "sourceContent": [{"text": "q"}], "title": title})
}

pub(super) fn provided(from: Dialect) -> Value {
    match from {
        Dialect::OpenAi => {
            let message = json!({"role": "assistant", "content": words(), "annotations": annotations(of_chat)});
            json!({"id": "i", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]})
        }
        Dialect::Anthropic => {
            let block = |(text, cited): &Block| match cited.is_empty() {
                true => json!({"type": "text", "text": text}),
                false => {
                    json!({"type": "text", "text": text, "citations": cited.iter().map(in_messages).collect::<Vec<_>>()})
                }
            };
            let content: Vec<Value> = ANSWER.iter().map(block).collect();
            json!({"id": "i", "type": "message", "model": "m", "content": content, "stop_reason": "end_turn"})
        }
        Dialect::Responses => {
            // The first words stand in a part of their own.
            let first = characters(ANSWER[0].0);
            let rest: String = words().chars().skip(first).collect();
            let mut annotations = annotations(of_responses);
            for annotation in &mut annotations {
                for name in ["start_index", "end_index"] {
                    annotation[name] = json!(annotation[name].as_u64().unwrap() - first as u64);
                }
            }
            annotations.push(json!({"type": "file_citation", "file_id": "f", "filename": "n", "index": 1}));
            let content = json!([{"type": "output_text", "text": ANSWER[0].0, "annotations": []},
                {"type": "output_text", "text": rest, "annotations": annotations}]);
            json!({"id": "i", "model": "m", "status": "completed", "output": [{"type": "message", "content": content}]})
        }
        Dialect::Gemini => {
            let content = json!({"role": "model", "parts": [{"text": "Hm.", "thought": true}, {"text": words()}]});
            let candidate =
                json!({"index": 0, "content": content, "finishReason": "STOP", "groundingMetadata": grounding()});
            json!({"candidates": [candidate], "modelVersion": "m", "responseId": "i"})
        }
        _ => {
            let block = |(text, cited): &Block| match cited.is_empty() {
                true => json!({"text": text}),
                false => {
                    let citations: Vec<Value> = cited.iter().map(in_converse).collect();
                    json!({"citationsContent": {"citations": citations, "content": [{"text": text}]}})
                }
            };
            let content: Vec<Value> = ANSWER.iter().map(block).collect();
            json!({"output": {"message": {"content": content}}, "stopReason": "end_turn"})
        }
    }
}

pub(super) fn lines(events: &[Value]) -> Vec<u8> {
    let line = |event: &Value| match event["type"].as_str() {
        Some(kind) => format!("event: {kind}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    events.iter().map(line).collect::<String>().into_bytes()
}

pub(super) fn frames(events: &[(&str, Value)]) -> Vec<u8> {
    let frame = |(name, said): &(&str, Value)| {
        let headers = [(":event-type", *name), (":content-type", "application/json"), (":message-type", "event")];
        message(&headers, said.to_string().as_bytes())
    };
    events.iter().flat_map(frame).collect()
}

/// The same as a stream, its words character by character.
pub(super) fn provided_in_pieces(from: Dialect) -> Vec<u8> {
    let letters = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
    match from {
        Dialect::OpenAi => {
            let chunk = |delta: Value, finish: Value| json!({"id": "i", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
            let mut all: Vec<Value> =
                letters(&words()).into_iter().map(|c| chunk(json!({"content": c}), Value::Null)).collect();
            all.push(chunk(json!({"annotations": annotations(of_chat)}), Value::Null));
            all.push(chunk(json!({}), json!("stop")));
            [lines(&all), b"data: [DONE]\n\n".to_vec()].concat()
        }
        Dialect::Anthropic => {
            let mut all = vec![json!({"type": "message_start", "message": {"id": "i", "model": "m"}})];
            for (index, (text, cited)) in ANSWER.iter().enumerate() {
                let delta = |delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
                all.push(json!({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": "", "citations": []}}));
                // Before the text, as it is recorded, and behind.
                let citation = |one| delta(json!({"type": "citations_delta", "citation": in_messages(one)}));
                all.extend(cited.iter().take(1).map(citation));
                all.extend(letters(text).into_iter().map(|c| delta(json!({"type": "text_delta", "text": c}))));
                all.extend(cited.iter().skip(1).map(citation));
                all.push(json!({"type": "content_block_stop", "index": index}));
            }
            all.push(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}));
            all.push(json!({"type": "message_stop"}));
            lines(&all)
        }
        Dialect::Responses => {
            let whole = provided(from);
            let mut all = vec![json!({"type": "response.created", "response": {"id": "i", "model": "m"}})];
            for (index, part) in whole["output"][0]["content"].as_array().unwrap().iter().enumerate() {
                let at = |kind: &str, name: &str, what: Value| {
                    let mut event = json!({"type": kind, "output_index": 0, "content_index": index});
                    event[name] = what;
                    event
                };
                let text = letters(part["text"].as_str().unwrap());
                all.extend(text.into_iter().map(|c| at("response.output_text.delta", "delta", json!(c))));
                let annotations = part["annotations"].as_array().unwrap().iter();
                all.extend(
                    annotations.map(|one| at("response.output_text.annotation.added", "annotation", one.clone())),
                );
            }
            all.push(json!({"type": "response.completed", "response": whole}));
            lines(&all)
        }
        Dialect::Gemini => {
            let part = |parts: Value| json!({"candidates": [{"content": {"parts": parts}, "index": 0, "groundingMetadata": {}}], "responseId": "i"});
            let mut all = vec![part(json!([{"text": "Hm.", "thought": true}]))];
            all.extend(letters(&words()).into_iter().map(|c| part(json!([{"text": c}]))));
            let last =
                json!({"content": {"parts": [{"text": ""}]}, "finishReason": "STOP", "groundingMetadata": grounding()});
            // Told twice, and once with what is still to be written of it missing.
            let early = json!({"groundingChunks": grounding()["groundingChunks"], "groundingSupports": [grounding()["groundingSupports"][0]]});
            all.insert(2, json!({"candidates": [{"groundingMetadata": early}]}));
            all.push(json!({"candidates": [last]}));
            lines(&all)
        }
        _ => {
            let mut all = vec![("messageStart", json!({"role": "assistant"}))];
            for (index, (text, cited)) in ANSWER.iter().enumerate() {
                let delta = |delta: Value| ("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}));
                let citation = |one| delta(json!({"citation": in_converse(one)}));
                all.extend(cited.iter().take(1).map(citation));
                all.extend(letters(text).into_iter().map(|c| delta(json!({"text": c}))));
                all.extend(cited.iter().skip(1).map(citation));
                all.push(("contentBlockStop", json!({"contentBlockIndex": index})));
            }
            all.push(("messageStop", json!({"stopReason": "end_turn"})));
            frames(&all)
        }
    }
}

/// The whole answer that a client makes of a stream.
pub(super) fn joined(caller: Dialect, events: &[Value]) -> Value {
    match caller {
        Dialect::OpenAi => {
            let (mut text, mut cited) = (String::new(), Vec::new());
            for delta in events.iter().map(|event| &event["choices"][0]["delta"]) {
                text += delta["content"].as_str().unwrap_or_default();
                for one in delta["annotations"].as_array().into_iter().flatten() {
                    // OpenAI's SDKs join lists by it.
                    assert_eq!(one["index"], cited.len());
                    cited.push(one.clone());
                }
            }
            json!({"choices": [{"message": {"content": text, "annotations": cited}}]})
        }
        Dialect::Anthropic => {
            let mut content: Vec<Value> = Vec::new();
            for event in events {
                let (at, delta) = (event["index"].as_u64().unwrap_or(0) as usize, &event["delta"]);
                match event["type"].as_str().unwrap() {
                    "content_block_start" => {
                        assert_eq!(at, content.len());
                        content.push(event["content_block"].clone());
                    }
                    "content_block_delta" if delta["type"] == "citations_delta" => {
                        let citations = &mut content[at]["citations"];
                        let mut all = citations.as_array().cloned().unwrap_or_default();
                        all.push(delta["citation"].clone());
                        *citations = all.into();
                    }
                    "content_block_delta" if delta["type"] == "text_delta" => {
                        let text = content[at]["text"].as_str().unwrap().to_owned() + delta["text"].as_str().unwrap();
                        content[at]["text"] = text.into();
                    }
                    _ => {}
                }
            }
            json!({"content": content})
        }
        Dialect::Responses => {
            let last = events.last().unwrap();
            assert_eq!(last["type"], "response.completed");
            let added = events.iter().filter(|event| event["type"] == "response.output_text.annotation.added");
            let mut count = 0;
            for event in added {
                let item = &last["response"]["output"][event["output_index"].as_u64().unwrap() as usize];
                let annotation =
                    &item["content"][0]["annotations"][event["annotation_index"].as_u64().unwrap() as usize];
                assert_eq!((&event["annotation"], &event["item_id"]), (annotation, &item["id"]));
                count += 1;
            }
            let all = last["response"]["output"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|item| item["content"][0]["annotations"].as_array());
            assert_eq!(all.flatten().count(), count);
            last["response"].clone()
        }
        _ => {
            let parts = || {
                events
                    .iter()
                    .flat_map(|event| event["candidates"][0]["content"]["parts"].as_array().into_iter().flatten())
            };
            let text: String =
                parts().filter(|part| part["thought"] != true).filter_map(|part| part["text"].as_str()).collect();
            let metadata = events.last().unwrap()["candidates"][0]["groundingMetadata"].clone();
            json!({"candidates": [{"content": {"parts": [{"text": text}]}, "groundingMetadata": metadata}]})
        }
    }
}

/// What a client of this dialect finds cited, counted in its own unit, and all words.
pub(super) fn told(caller: Dialect, answer: &Value) -> (Told, String) {
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let number = |value: &Value| value.as_u64().unwrap() as usize;
    let of_openai = |text: &str, one: &Value| {
        let (start, end) = (number(&one["start_index"]), number(&one["end_index"]));
        let there: String = text.chars().skip(start).take(end - start).collect();
        assert_eq!(characters(&there), end - start, "past the end");
        (there, string(&one["url"]), string(&one["title"]))
    };
    let (mut found, mut words) = (Told::new(), String::new());
    match caller {
        Dialect::OpenAi => {
            let message = &answer["choices"][0]["message"];
            words = string(&message["content"]);
            found.extend(list(&message["annotations"]).iter().map(|one| of_openai(&words, &one["url_citation"])));
        }
        Dialect::Responses => {
            for item in list(&answer["output"]).iter().filter(|item| item["type"] == "message") {
                let text = string(&item["content"][0]["text"]);
                found.extend(list(&item["content"][0]["annotations"]).iter().map(|one| of_openai(&text, one)));
                words += &text;
            }
        }
        Dialect::Anthropic => {
            for block in list(&answer["content"]).iter().filter(|block| block["type"] == "text") {
                let text = string(&block["text"]);
                let citations = list(&block["citations"]);
                found.extend(citations.iter().map(|one| (text.clone(), string(&one["url"]), string(&one["title"]))));
                words += &text;
            }
        }
        _ => {
            let candidate = &answer["candidates"][0];
            let parts = list(&candidate["content"]["parts"]);
            let grounding = &candidate["groundingMetadata"];
            for support in list(&grounding["groundingSupports"]) {
                let segment = &support["segment"];
                let text = string(&parts[segment["partIndex"].as_u64().unwrap_or(0) as usize]["text"]);
                let there = &text[number(&segment["startIndex"])..number(&segment["endIndex"])];
                assert_eq!(segment["text"], there);
                for at in list(&support["groundingChunkIndices"]) {
                    let web = &grounding["groundingChunks"][number(&at)]["web"];
                    found.push((there.to_owned(), string(&web["uri"]), string(&web["title"])));
                }
            }
            words = parts.iter().filter(|part| part["thought"] != true).map(|part| string(&part["text"])).collect();
        }
    }
    (found, words)
}

pub(super) fn sorted(mut told: Told) -> Told {
    told.sort();
    told
}
