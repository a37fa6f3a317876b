//! What recorded answers cite, for callers of every other dialect: the words and where they come from, read with
//! serde_json's tree in the unit of each dialect.

use crate::{
    CALLERS, answer, answers,
    exchange::Exchange,
    recorded::{APIS, answered, is_stream},
    relayed,
};
use credentialflow_llm::provider::Dialect;
use serde_json::Value;
use std::collections::BTreeSet;

/// Words and addresses.
type Cited = BTreeSet<(String, String)>;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap_or(0) as usize
}

/// So many characters of a text.
fn characters(text: &str, from: &Value, to: &Value) -> String {
    text.chars().skip(number(from)).take(number(to) - number(from)).collect()
}

/// The marks of Perplexity's, which are the only brackets with a number in them that are recorded of it.
fn marks(words: &str, found: &Value) -> Cited {
    let number = |mark: &str| mark.split(']').next().and_then(|number| number.parse::<usize>().ok());
    let numbers = words.split('[').skip(1).filter_map(number);
    numbers.filter_map(|n| Some((format!("[{n}]"), found.get(n.checked_sub(1)?)?.as_str()?.to_owned()))).collect()
}

fn cited(dialect: Dialect, answer: &Value) -> Cited {
    let mut all = Cited::new();
    match dialect {
        Dialect::OpenAi => {
            let message = &answer["choices"][0]["message"];
            let words = match &message["content"] {
                Value::String(words) => words.clone(),
                parts => items(parts).map(|part| text(&part["text"])).collect(),
            };
            for one in items(&message["annotations"]).map(|one| &one["url_citation"]) {
                all.insert((characters(&words, &one["start_index"], &one["end_index"]), text(&one["url"])));
            }
            if all.is_empty() {
                all = marks(&words, &answer["citations"]);
            }
        }
        Dialect::Responses => {
            for part in items(&answer["output"]).flat_map(|item| items(&item["content"])) {
                for one in items(&part["annotations"]).filter(|one| one["type"] == "url_citation") {
                    let words = characters(&text(&part["text"]), &one["start_index"], &one["end_index"]);
                    all.insert((words, text(&one["url"])));
                }
            }
        }
        Dialect::Anthropic => {
            for block in items(&answer["content"]) {
                let urls = items(&block["citations"]).filter_map(|one| one["url"].as_str().or(one["source"].as_str()));
                all.extend(urls.map(|url| (text(&block["text"]), url.to_owned())));
            }
        }
        Dialect::Gemini => {
            let candidate = &answer["candidates"][0];
            let parts: Vec<&Value> =
                items(&candidate["content"]["parts"]).filter(|part| part["thought"] != true).collect();
            let words: String = parts.iter().map(|part| text(&part["text"])).collect();
            let grounding = &candidate["groundingMetadata"];
            for support in items(&grounding["groundingSupports"]) {
                let segment = &support["segment"];
                let there = &words[number(&segment["startIndex"])..number(&segment["endIndex"])];
                for at in items(&support["groundingChunkIndices"]) {
                    let url = &grounding["groundingChunks"][number(at)]["web"]["uri"];
                    all.insert((there.to_owned(), text(url)));
                }
            }
        }
        _ => {
            // What is cited by itself is what was said before.
            let mut words = String::new();
            for block in items(&answer["output"]["message"]["content"]) {
                let cites = &block["citationsContent"];
                let said = items(&cites["content"]).chain([block]).map(|part| text(&part["text"])).collect::<String>();
                words = if said.is_empty() { words } else { said };
                let url =
                    |one: &Value| one["location"]["web"]["url"].as_str().or(one["source"].as_str()).map(str::to_owned);
                all.extend(items(&cites["citations"]).filter_map(url).map(|url| (words.clone(), url)));
            }
        }
    }
    all
}

fn whole(dialect: Dialect, e: &Exchange) -> Value {
    match is_stream(e) {
        true => answer::joined(dialect, &e.response),
        false => serde_json::from_slice(&e.response).unwrap_or_default(),
    }
}

#[test]
fn what_is_cited_is_the_same_in_every_other_dialect() {
    for (from, api, path) in APIS {
        let (mut whole_answers, mut streams, mut places) = (0, 0, 0);
        for e in answered(api, path) {
            let expect = cited(from, &whole(from, &e));
            if expect.is_empty() {
                continue;
            }
            for to in CALLERS.into_iter().filter(|to| *to != from) {
                let at = format!("{} in {to:?}", e.name);
                let got = match is_stream(&e) {
                    true => {
                        let (out, failure) = relayed(&e.response, from, to, 997);
                        assert_eq!(failure, None, "{at}");
                        cited(to, &answer::joined(to, &out))
                    }
                    false => {
                        let out = answers(from, to).whole(&e.response).unwrap();
                        let got = cited(to, &serde_json::from_slice(&out).unwrap());
                        let at_once = answers(from, to).streamed(&e.response).unwrap();
                        let urls = |cited: &Cited| cited.iter().map(|(_, url)| url.clone()).collect::<BTreeSet<_>>();
                        let streamed = cited(to, &answer::joined(to, &at_once));
                        assert_eq!(urls(&streamed), urls(&got), "{at}, said at once");
                        assert!(to == Dialect::Anthropic || streamed == got, "{at}, said at once: {streamed:?}");
                        got
                    }
                };
                if is_stream(&e) && to == Dialect::Anthropic && from != Dialect::Bedrock {
                    // Which words it is of is told when they are out, so that a whole block is cited.
                    let urls = |cited: &Cited| cited.iter().map(|(_, url)| url.clone()).collect::<BTreeSet<_>>();
                    assert_eq!(urls(&got), urls(&expect), "{at}");
                    let is_in = |(words, url): &(String, String)| {
                        got.iter().any(|(block, of)| of == url && block.contains(&**words))
                    };
                    assert!(expect.iter().all(is_in), "{at}: {got:?}");
                } else {
                    assert_eq!(got, expect, "{at}");
                }
            }
            places += expect.len();
            *if is_stream(&e) { &mut streams } else { &mut whole_answers } += 1;
        }
        println!("{api}: {whole_answers} answers and {streams} streams with {places} citations");
        // Of responses with citations there is but the fixture of our own.
        assert!(places > 0 || from == Dialect::Responses, "{api}");
    }
}
