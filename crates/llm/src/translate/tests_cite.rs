//! Citations between dialects: each counts in its own unit, and what is read here with serde_json's tree knows nothing of
//! the translation.
#![allow(clippy::unwrap_used)]

use super::{StreamFailure, To, Translation, cite::MAX_CITATIONS};
use crate::{bedrock::frames::tests::message, gemini::request::Frames, provider::Dialect, unframed::Unframed};
use credentialflow_model::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

const AT: Timestamp = Timestamp::from_secs(1_790_000_000);
const CLAUDE: &str = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";
const CALLERS: [Dialect; 4] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses, Dialect::Gemini];
const PROVIDERS: [Dialect; 5] =
    [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses, Dialect::Gemini, Dialect::Bedrock];

/// Some words, and where they come from: addresses and titles.
type Block = (&'static str, &'static [(&'static str, &'static str)]);

/// An answer that is cited in the middle and at its end, of characters of every length.
const ANSWER: &[Block] = &[
    ("Gr\u{fc}\u{df}e: ", &[]),
    ("\u{65e5}\u{672c} ist weit.", &[("https://a.example/1", "A \u{1F600}")]),
    (" Und ", &[]),
    ("\u{1F600} nah.", &[("https://b.example/?q=\"x\"", "B"), ("https://a.example/1", "A \u{1F600}")]),
];

/// What is told: words, address, title.
type Told = Vec<(String, String, String)>;

fn expected() -> Told {
    let one = |(text, all): &Block| -> Told {
        all.iter().map(|(url, title)| ((*text).to_owned(), (*url).to_owned(), (*title).to_owned())).collect()
    };
    ANSWER.iter().flat_map(one).collect()
}

fn words() -> String {
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

fn characters(text: &str) -> usize {
    text.chars().count()
}

fn grounding() -> Value {
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

fn of_chat(start: usize, end: usize, url: &str, title: &str) -> Value {
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

fn provided(from: Dialect) -> Value {
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

fn lines(events: &[Value]) -> Vec<u8> {
    let line = |event: &Value| match event["type"].as_str() {
        Some(kind) => format!("event: {kind}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    events.iter().map(line).collect::<String>().into_bytes()
}

fn frames(events: &[(&str, Value)]) -> Vec<u8> {
    let frame = |(name, said): &(&str, Value)| {
        let headers = [(":event-type", *name), (":content-type", "application/json"), (":message-type", "event")];
        message(&headers, said.to_string().as_bytes())
    };
    events.iter().flat_map(frame).collect()
}

/// The same as a stream, its words character by character.
fn provided_in_pieces(from: Dialect) -> Vec<u8> {
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

fn answers(from: Dialect, caller: Dialect, stream: bool) -> Translation {
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

fn whole(from: Dialect, caller: Dialect, answer: &Value) -> Value {
    let body = answers(from, caller, false).whole(answer.to_string().as_bytes()).unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// The events of a translated stream.
fn streamed(from: Dialect, caller: Dialect, raw: &[u8], size: usize) -> Vec<Value> {
    let (mut unframed, mut stream, mut out) = (Unframed::of(from), answers(from, caller, true).stream(), Vec::new());
    for piece in raw.chunks(size) {
        let (events, framed) = unframed.open(piece);
        assert_eq!(framed, Ok(()));
        stream.feed(&events, &mut out);
    }
    stream.finish(&mut out);
    assert_eq!(stream.failure(), None::<StreamFailure>, "{from:?} in {caller:?}");
    let text = String::from_utf8(out).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The whole answer that a client makes of a stream.
fn joined(caller: Dialect, events: &[Value]) -> Value {
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
fn told(caller: Dialect, answer: &Value) -> (Told, String) {
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

fn sorted(mut told: Told) -> Told {
    told.sort();
    told
}

#[test]
fn whole_answers_cite_the_same_words_in_every_dialect() {
    for from in PROVIDERS {
        for caller in CALLERS.into_iter().filter(|caller| *caller != from) {
            let answer = whole(from, caller, &provided(from));
            let (found, all) = told(caller, &answer);
            assert_eq!((sorted(found), all), (sorted(expected()), words()), "{from:?} in {caller:?}: {answer}");
        }
    }
}

#[test]
fn streams_cite_the_same_words_in_every_dialect() {
    for from in PROVIDERS {
        let raw = provided_in_pieces(from);
        for caller in CALLERS.into_iter().filter(|caller| *caller != from) {
            let events = streamed(from, caller, &raw, 4096);
            assert_eq!(streamed(from, caller, &raw, 7), events, "{from:?} in {caller:?}");
            let answer = joined(caller, &events);
            let (found, all) = told(caller, &answer);
            assert_eq!(all, words(), "{from:?} in {caller:?}");
            if caller == Dialect::Anthropic && from != Dialect::Bedrock {
                // Told when the words are out: it stands on the block that is open.
                let sources = |told: &Told| {
                    let mut sources: Vec<_> = told.iter().map(|(_, url, title)| (url.clone(), title.clone())).collect();
                    sources.sort();
                    sources
                };
                assert_eq!(sources(&found), sources(&expected()), "{from:?}");
                assert!(found.iter().all(|(text, ..)| *text == words()), "{from:?}: {answer}");
            } else {
                assert_eq!(sorted(found), sorted(expected()), "{from:?} in {caller:?}: {answer}");
            }
        }
    }
}

#[test]
fn marks_of_perplexity_are_citations() {
    let text = "Gr\u{fc}\u{df}e[1]. Und \u{1F600}[2][7] nah, `a[1]`.";
    let (citations, results) = (
        json!(["https://a.example/1", "https://b.example/2"]),
        json!([{"url": "https://a.example/1", "title": "A", "snippet": "x"}, {"url": "https://other.example", "title": "B"}]),
    );
    let provider = json!({"id": "i", "model": "sonar", "citations": citations, "search_results": results,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}]});
    let expect = sorted(vec![
        ("[1]".to_owned(), "https://a.example/1".to_owned(), "A".to_owned()),
        ("[2]".to_owned(), "https://b.example/2".to_owned(), String::new()),
    ]);
    let chunk = |delta: Value, finish: Value| {
        json!({"id": "i", "model": "sonar", "citations": citations, "search_results": results,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    };
    let mut events: Vec<Value> = text.chars().map(|c| chunk(json!({"content": c.to_string()}), Value::Null)).collect();
    events.push(chunk(json!({}), json!("stop")));
    let raw = lines(&events);
    for caller in [Dialect::Anthropic, Dialect::Responses, Dialect::Gemini] {
        let (found, words) = told(caller, &whole(Dialect::OpenAi, caller, &provider));
        assert_eq!((sorted(found), &*words), (expect.clone(), text), "{caller:?}");
        let (found, words) = told(caller, &joined(caller, &streamed(Dialect::OpenAi, caller, &raw, 999)));
        assert_eq!(words, text, "{caller:?}");
        if caller == Dialect::Anthropic {
            // Each block ends with its mark.
            let texts: Vec<&str> = found.iter().map(|(text, ..)| &**text).collect();
            assert_eq!(texts, ["Gr\u{fc}\u{df}e[1]", ". Und \u{1F600}[2]"]);
        } else {
            assert_eq!(sorted(found), expect, "{caller:?}");
        }
    }
}

#[test]
fn a_citation_of_messages_is_such_as_its_clients_read() {
    let answer = whole(Dialect::Bedrock, Dialect::Anthropic, &provided(Dialect::Bedrock));
    let web = json!({"type": "web_search_result_location", "cited_text": "q", "title": "A \u{1F600}",
        "url": "https://a.example/1", "encrypted_index": "not-searched-by-anthropic"});
    assert_eq!(answer["content"][1], json!({"type": "text", "text": ANSWER[1].0, "citations": [web]}));
    assert_eq!(answer["content"][0], json!({"type": "text", "text": ANSWER[0].0}));

    let at = |name: &str, start: u64, end: u64| {
        json!({"location": {name: {"documentIndex": 1, "start": start, "end": end}},
        "sourceContent": [{"text": "so "}, {"text": "it is"}], "title": "facts"})
    };
    let citations = json!([at("documentChar", 0, 73), at("documentPage", 1, 3), at("documentChunk", 2, 3),
        {"location": {"searchResultLocation": {"searchResultIndex": 0, "start": 0, "end": 1}}, "source": "kb-7", "title": "T"},
        {"title": "nowhere"}, {"location": {"web": {}}}]);
    let content =
        json!([{"citationsContent": {"citations": citations, "content": [{"text": "So "}, {"text": "it is."}]}}]);
    let provider = json!({"output": {"message": {"content": content}}, "stopReason": "end_turn"});
    let in_document = |kind: &str, start: &str, end: &str, from: u64, to: u64| json!({"type": kind, "cited_text": "so it is", "document_title": "facts", "document_index": 1, start: from, end: to, "file_id": null});
    let expect = json!([
        in_document("char_location", "start_char_index", "end_char_index", 0, 73),
        in_document("page_location", "start_page_number", "end_page_number", 1, 3),
        in_document("content_block_location", "start_block_index", "end_block_index", 2, 3),
        {"type": "search_result_location", "cited_text": "", "title": "T", "source": "kb-7", "search_result_index": 0,
            "start_block_index": 0, "end_block_index": 1},
    ]);
    let answer = whole(Dialect::Bedrock, Dialect::Anthropic, &provider);
    assert_eq!(answer["content"], json!([{"type": "text", "text": "So it is.", "citations": expect}]));
    // Who has no documents there is told none, and no source that is no address.
    for caller in [Dialect::OpenAi, Dialect::Responses, Dialect::Gemini] {
        let answer = whole(Dialect::Bedrock, caller, &provider);
        assert_eq!(told(caller, &answer), (Vec::new(), "So it is.".to_owned()), "{caller:?}");
    }
    let mut events = vec![("messageStart", json!({"role": "assistant"}))];
    for citation in citations.as_array().unwrap() {
        events.push(("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"citation": citation}})));
    }
    events.push(("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "So it is."}})));
    events.push(("contentBlockStop", json!({"contentBlockIndex": 0})));
    events.push(("contentBlockDelta", json!({"contentBlockIndex": 1, "delta": {"text": " Yes."}})));
    events.push(("contentBlockStop", json!({"contentBlockIndex": 1})));
    events.push(("messageStop", json!({"stopReason": "end_turn"})));
    let answer = joined(Dialect::Anthropic, &streamed(Dialect::Bedrock, Dialect::Anthropic, &frames(&events), 99));
    let blocks = json!([{"type": "text", "text": "So it is.", "citations": expect}, {"type": "text", "text": " Yes."}]);
    assert_eq!(answer["content"], blocks);
    assert_eq!(
        whole(
            Dialect::Anthropic,
            Dialect::OpenAi,
            &json!({"id": "i", "type": "message", "content": [
        {"type": "text", "text": "Yes", "citations": [{"type": "search_result_location", "source": "https://s.example", "cited_text": "y"}, expect[0]]}]})
        )["choices"][0]["message"]["annotations"],
        json!([{"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 3, "url": "https://s.example", "title": ""}}])
    );
}

#[test]
fn places_that_are_none_are_left_out() {
    let support = |segment: Value| json!({"segment": segment, "groundingChunkIndices": [0]});
    let good = json!({"startIndex": 3, "endIndex": 4, "text": "a"});
    let supports = json!([
        support(json!({"startIndex": 1, "endIndex": 4, "text": "a"})), // within a character
        support(json!({"endIndex": 99, "text": "Za"})),                // past the end
        support(json!({"startIndex": 4, "endIndex": 3})),              // backwards
        support(json!({"startIndex": 3, "endIndex": 4, "text": "Z"})), // other words
        support(json!({"partIndex": 1, "endIndex": 1})),               // in a part that nobody can look at
        support(good.clone()),
        support(good),
        {"groundingChunkIndices": [0]},
        {"segment": {"endIndex": 1}, "groundingChunkIndices": "x"},
        7,
    ]);
    let metadata = json!({"groundingChunks": [{"web": {"uri": "https://a.example"}}], "groundingSupports": supports});
    let answer = json!({"candidates": [{"content": {"parts": [{"text": "\u{65e5}a"}]}, "finishReason": "STOP", "groundingMetadata": metadata}]});
    let (found, _) = told(Dialect::OpenAi, &whole(Dialect::Gemini, Dialect::OpenAi, &answer));
    assert_eq!(found, [("a".to_owned(), "https://a.example".to_owned(), String::new())]);
    // Two texts, in which each place is looked for by its words.
    let metadata = json!({"groundingChunks": [{"web": {"uri": "https://a.example"}}], "groundingSupports": [
        support(json!({"partIndex": 2, "startIndex": 2, "endIndex": 3, "text": "c"})), support(json!({"endIndex": 1}))]});
    let call = json!({"functionCall": {"name": "f", "args": {}}});
    let answer = json!({"candidates": [{"content": {"parts": [{"text": "\u{e9}a"}, call, {"text": "\u{e9}c"}]}, "finishReason": "STOP", "groundingMetadata": metadata}]});
    let got = whole(Dialect::Gemini, Dialect::OpenAi, &answer);
    assert_eq!(told(Dialect::OpenAi, &got).0, [("c".to_owned(), "https://a.example".to_owned(), String::new())]);
    // Nor does one say a place in a block that it is not in.
    let annotation = |start: u64, end: u64| of_chat(start as usize, end as usize, "https://a.example", "A");
    let message = json!({"content": "ab", "annotations": [annotation(0, 0), annotation(2, 1), annotation(5, 9), annotation(1, 2),
        {"type": "url_citation", "url_citation": {"url": "javascript:x", "start_index": 0, "end_index": 1}}, 7, null]});
    let answer = json!({"id": "i", "choices": [{"message": message}]});
    for caller in [Dialect::Anthropic, Dialect::Responses, Dialect::Gemini] {
        let (found, words) = told(caller, &whole(Dialect::OpenAi, caller, &answer));
        assert_eq!(
            (found, &*words),
            (vec![("b".to_owned(), "https://a.example".to_owned(), "A".to_owned())], "ab"),
            "{caller:?}"
        );
    }
}

#[test]
fn a_block_is_cited_before_something_else_is_said() {
    // Gemini signs its words behind them, in the event that tells where they come from; others call a tool.
    let last = json!({"content": {"parts": [{"text": "", "thoughtSignature": "c2ln"}]}, "finishReason": "STOP", "groundingMetadata": grounding()});
    let said = json!({"content": {"parts": [{"text": words()}]}});
    let raw = lines(&[json!({"candidates": [said]}), json!({"candidates": [last]})]);
    let events = streamed(Dialect::Gemini, Dialect::Anthropic, &raw, 4096);
    let (found, _) = told(Dialect::Anthropic, &joined(Dialect::Anthropic, &events));
    assert_eq!(found.len(), expected().len(), "{events:?}");
    let chunk = |delta: Value, finish: Value| json!({"id": "i", "model": "m", "citations": ["https://a.example"], "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    let call = json!({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let raw = lines(&[
        chunk(json!({"content": "So[1]"}), Value::Null),
        chunk(call, Value::Null),
        chunk(json!({}), json!("tool_calls")),
    ]);
    let events = streamed(Dialect::OpenAi, Dialect::Anthropic, &raw, 4096);
    let (found, _) = told(Dialect::Anthropic, &joined(Dialect::Anthropic, &events));
    assert_eq!(found, [("So[1]".to_owned(), "https://a.example".to_owned(), String::new())]);
}

#[test]
fn what_bedrock_cites_behind_a_text_is_of_that_text() {
    let web = |url: &str| json!({"location": {"web": {"url": url, "domain": "d"}}});
    let by_itself = json!({"citationsContent": {"citations": [web("https://a.example"), web("https://b.example")]}});
    let empty = json!({"citationsContent": {"citations": [web("https://c.example")], "content": []}});
    let content = json!([empty, {"text": "Gr\u{fc}\u{df}e"}, by_itself, {"text": " dir"}, empty, {"text": "."}]);
    let answer = json!({"output": {"message": {"content": content}}, "stopReason": "end_turn"});
    let at = |index: u64, delta: Value| ("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}));
    let stop = |index: u64| ("contentBlockStop", json!({"contentBlockIndex": index}));
    let cites = |index: u64, url: &str| at(index, json!({"citation": web(url)}));
    let events = frames(&[
        ("messageStart", json!({"role": "assistant"})),
        cites(0, "https://c.example"),
        stop(0),
        at(1, json!({"text": "Gr\u{fc}"})),
        at(1, json!({"text": "\u{df}e"})),
        stop(1),
        cites(2, "https://a.example"),
        cites(2, "https://b.example"),
        stop(2),
        at(3, json!({"text": " dir"})),
        stop(3),
        cites(4, "https://c.example"),
        stop(4),
        at(5, json!({"text": "."})),
        stop(5),
        ("messageStop", json!({"stopReason": "end_turn"})),
    ]);
    let one = |words: &str, url: &str| (words.to_owned(), url.to_owned(), String::new());
    let expect = vec![
        one(" dir", "https://c.example"),
        one("Gr\u{fc}\u{df}e", "https://a.example"),
        one("Gr\u{fc}\u{df}e", "https://b.example"),
    ];
    for caller in CALLERS {
        let (found, all) = told(caller, &whole(Dialect::Bedrock, caller, &answer));
        assert_eq!((sorted(found), &*all), (expect.clone(), "Gr\u{fc}\u{df}e dir."), "{caller:?}");
        let (found, all) = told(caller, &joined(caller, &streamed(Dialect::Bedrock, caller, &events, 64)));
        assert_eq!((sorted(found), &*all), (expect.clone(), "Gr\u{fc}\u{df}e dir."), "{caller:?} streamed");
    }
}

#[test]
fn very_many_citations_are_not_written() {
    let url = format!("https://{}", "a".repeat(4000));
    let annotations: Vec<Value> = (0..9000).map(|n| of_chat(n, n + 1, "https://a", "A")).collect();
    let text = "ab".repeat(5000);
    let answer = json!({"id": "i", "choices": [{"message": {"content": text, "annotations": annotations}}]});
    for caller in [Dialect::Anthropic, Dialect::Responses, Dialect::Gemini] {
        assert_eq!(told(caller, &whole(Dialect::OpenAi, caller, &answer)).0.len(), MAX_CITATIONS, "{caller:?}");
    }
    // In a stream too, of all its chunks together.
    let chunk = |delta: Value, finish: Value| json!({"id": "i", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    let mut chunks = vec![chunk(json!({"role": "assistant", "content": text}), Value::Null)];
    let cited = annotations.chunks(300).map(|some| chunk(json!({"annotations": some}), Value::Null));
    chunks.extend(cited);
    chunks.push(chunk(json!({}), json!("stop")));
    let events = lines(&chunks);
    for caller in [Dialect::Anthropic, Dialect::Responses, Dialect::Gemini] {
        let joined = joined(caller, &streamed(Dialect::OpenAi, caller, &events, 4096));
        assert_eq!(told(caller, &joined).0.len(), MAX_CITATIONS, "{caller:?} streamed");
    }
    // One address for each of very many words.
    let chunks: Vec<usize> = vec![0; 50];
    let supports: Vec<Value> = (0..9000)
        .map(|n| json!({"segment": {"startIndex": n, "endIndex": n + 1}, "groundingChunkIndices": chunks}))
        .collect();
    let metadata = json!({"groundingChunks": [{"web": {"uri": url}}], "groundingSupports": supports});
    let answer = json!({"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP", "groundingMetadata": metadata}]});
    for caller in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses] {
        let out = whole(Dialect::Gemini, caller, &answer).to_string().len();
        assert!(out < 6 << 20, "{caller:?}: {out}");
    }
}

proptest! {
    #[test]
    fn any_words_that_are_cited_come_back(
        words in "[a-z\u{e9}\u{65e5}\u{1F600} \\[\\]1`]{1,60}",
        spans in proptest::collection::vec((0usize..60, 1usize..20, 0usize..3), 0..8),
        size in 1usize..300,
    ) {
        let length = characters(&words);
        let spans: Vec<(usize, usize, String)> = spans
            .into_iter()
            .map(|(start, length, n)| (start, start + length, format!("https://{n}.example")))
            .filter(|(_, end, _)| *end <= length)
            .collect();
        let mut expect: Told = spans
            .iter()
            .map(|(start, end, url)| (words.chars().skip(*start).take(end - start).collect(), url.clone(), "T".to_owned()))
            .collect();
        expect.sort();
        expect.dedup();
        let annotations: Vec<Value> = spans.iter().map(|(start, end, url)| of_chat(*start, *end, url, "T")).collect();
        let answer = json!({"id": "i", "choices": [{"message": {"content": words, "annotations": annotations}}]});
        let set = |(found, words): (Told, String)| {
            let mut found = sorted(found);
            found.dedup();
            (found, words)
        };
        let chunk = |delta: Value, finish: Value| json!({"id": "i", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        let mut events: Vec<Value> = words.chars().map(|c| chunk(json!({"content": c.to_string()}), Value::Null)).collect();
        events.push(chunk(json!({"annotations": annotations}), json!("stop")));
        for caller in [Dialect::Responses, Dialect::Gemini] {
            let there = whole(Dialect::OpenAi, caller, &answer);
            prop_assert_eq!(set(told(caller, &there)), (expect.clone(), words.clone()), "{:?}", caller);
            let back = whole(caller, Dialect::OpenAi, &there);
            prop_assert_eq!(set(told(Dialect::OpenAi, &back)), (expect.clone(), words.clone()), "{:?} and back", caller);
            let streamed = joined(caller, &streamed(Dialect::OpenAi, caller, &lines(&events), size));
            prop_assert_eq!(set(told(caller, &streamed)), (expect.clone(), words.clone()), "{:?} streamed", caller);
        }
        // A block of Messages may be of more words, and is of all that is cited.
        let (found, all) = told(Dialect::Anthropic, &whole(Dialect::OpenAi, Dialect::Anthropic, &answer));
        prop_assert_eq!((all, found.len()), (words, spans.len()));
        for (text, url, _) in &expect {
            prop_assert!(found.iter().any(|(block, of, _)| of == url && block.contains(text)), "{} {:?}", text, found);
        }
    }
}

fn sent(call: &Value, to: &To<'_>) -> Result<Value, String> {
    let sent = super::request(call.to_string().as_bytes(), Dialect::Anthropic, to, AT);
    sent.map(|(body, _)| serde_json::from_slice(&body).unwrap()).map_err(|why| why.to_string())
}

#[test]
fn documents_are_to_be_cited_where_the_model_can() {
    let on = json!({"enabled": true});
    let text = |data: &str, citations: &Value| {
        json!({"type": "document", "title": "facts", "citations": citations,
        "source": {"type": "text", "media_type": "text/plain", "data": data}})
    };
    let mut first = text("Facts.", &on);
    first["cache_control"] = json!({"type": "ephemeral"});
    let blocks = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    let content = json!({"type": "document", "citations": on, "source": {"type": "content", "content": blocks}});
    let file = json!({"type": "document", "title": "p", "citations": on, "context": "c",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}});
    let call = json!({"model": "m", "max_tokens": 99, "messages": [
        {"role": "user", "content": [first, content, file, text("Plain.", &json!({"enabled": false})), text("Null.", &Value::Null)]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [text("Found.", &on)]}]}],
        "tools": [{"name": "look", "input_schema": {"type": "object"}}]});
    let got = sent(&call, &To::new(Dialect::Bedrock, CLAUDE)).unwrap();
    assert_eq!(
        got["messages"][0]["content"],
        json!([
            {"document": {"format": "txt", "name": "facts", "source": {"text": "Facts."}, "citations": on}},
            {"cachePoint": {"type": "default"}},
            {"document": {"format": "txt", "name": "document", "source": {"content": [{"text": "a"}, {"text": "b"}]}, "citations": on}},
            {"document": {"format": "pdf", "name": "p", "source": {"bytes": "JVBE"}, "citations": on}},
            {"text": "Plain."}, {"text": "Null."},
        ])
    );
    let result = &got["messages"][2]["content"][0]["toolResult"]["content"];
    let found = json!({"format": "txt", "name": "facts 2", "source": {"text": "Found."}, "citations": on});
    assert_eq!(*result, json!([{"document": found}]));
    // Others are told nothing of it, and text is text.
    let got = sent(&call, &To::new(Dialect::Bedrock, "meta.llama3-3-70b-instruct-v1:0")).unwrap();
    let file = json!({"document": {"format": "pdf", "name": "p", "source": {"bytes": "JVBE"}}});
    assert_eq!(
        got["messages"][0]["content"],
        json!([{"text": "Facts."}, {"text": "a"}, {"text": "b"}, file, {"text": "Plain."}, {"text": "Null."}])
    );
    assert_eq!(got["messages"][2]["content"][0]["toolResult"]["content"], json!([{"text": "Found."}]));
    for dialect in [Dialect::OpenAi, Dialect::Responses, Dialect::Gemini] {
        let got = sent(&call, &To::new(dialect, "m")).unwrap().to_string();
        assert!(["Facts.", "Plain.", "Found."].iter().all(|text| got.contains(text)), "{dialect:?}: {got}");
        assert!(!got.contains("citations"), "{dialect:?}: {got}");
    }
    let with =
        |document: Value| json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [document]}]});
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}});
    let content = json!({"type": "document", "citations": on, "source": {"type": "content", "content": [image]}});
    let why = sent(&with(content.clone()), &To::new(Dialect::Bedrock, CLAUDE)).unwrap_err();
    assert!(why.contains("a document to be cited that holds more than text"), "{why}");
    assert!(sent(&with(content), &To::new(Dialect::OpenAi, "m")).is_ok());
    for odd in [json!({"enabled": "yes"}), json!(7)] {
        let why = sent(&with(text("x", &odd)), &To::new(Dialect::OpenAi, "m")).unwrap_err();
        assert!(why.contains("a block of `messages[0]`"), "{odd}: {why}");
    }
    // Of one that says nothing nothing is left.
    assert_eq!(sent(&with(text("", &on)), &To::new(Dialect::OpenAi, "m")).unwrap()["messages"], json!([]));
}
