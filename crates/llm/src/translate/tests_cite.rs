//! Citations between dialects: each counts in its own unit, and what is read here with serde_json's tree knows nothing of
//! the translation.
#![allow(clippy::unwrap_used)]

mod sides;

use super::{StreamFailure, To, Translation, cite::MAX_CITATIONS};
use crate::{gemini::request::Frames, provider::Dialect, unframed::Unframed};
use credentialflow_model::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use sides::{
    ANSWER, Told, characters, expected, frames, grounding, joined, lines, of_chat, provided, provided_in_pieces,
    sorted, told, words,
};

const AT: Timestamp = Timestamp::from_secs(1_790_000_000);
const CLAUDE: &str = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";
const CALLERS: [Dialect; 4] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses, Dialect::Gemini];
const PROVIDERS: [Dialect; 5] =
    [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses, Dialect::Gemini, Dialect::Bedrock];

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
