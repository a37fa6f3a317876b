//! Conversations and answers of any content, there and back.

use crate::{
    CALLERS, PROVIDERS,
    answer::{self, Said, Stop},
    answer_write, answers,
    call::{self, Asked, Choice, Part, Tool},
    call_write, counted, relayed, request,
};
use credentialflow_llm::provider::{Counting, Dialect};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

/// A text of any characters, of which at least one is no white space: not every provider takes other texts.
fn words() -> impl Strategy<Value = String> {
    let odd = "[ \t\r\na-zé日\u{1F600}\"\\\\{}\\[\\]:]{0,20}";
    let odd = (odd, "[a-z日{\"]", odd).prop_map(|(before, word, after)| before + &word + &after);
    prop_oneof!["\\PC{0,10}[a-z\"]\\PC{0,10}", odd]
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z_][a-zA-Z0-9_-]{0,12}"
}

/// Any JSON.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1000i32..1000).prop_map(|n| json!(f64::from(n) / 8.0)),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![vec(inner.clone(), 0..3).prop_map(Value::from), members(inner).boxed()]
    })
}

fn members(of: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    vec(("\\PC{0,6}", of), 0..3).prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn input() -> impl Strategy<Value = Value> {
    members(any_json())
}

fn said() -> impl Strategy<Value = Said> {
    let stop = prop_oneof![Just(Stop::End), Just(Stop::Limit), Just(Stop::Refused)];
    let (thinking, calls) = (prop::option::of(words()), vec((name(), input()), 0..4));
    (thinking, words(), calls, stop, any::<bool>(), (0u64..1 << 40, 0u64..1 << 30, 1u64..1 << 30)).prop_map(
        |(thinking, words, calls, stop, silent, (fresh, cached, written))| {
            let calls = if stop == Stop::End { calls } else { Vec::new() };
            Said {
                thinking: thinking.unwrap_or_default(),
                words: if silent && !calls.is_empty() { String::new() } else { words },
                stop: if calls.is_empty() { stop } else { Stop::Calls },
                calls,
                tokens: Some((fresh + cached, cached, written)),
            }
        },
    )
}

fn tool() -> impl Strategy<Value = Tool> {
    let schema = vec((name(), prop_oneof!["string", "integer", "boolean"]), 0..3).prop_map(|fields| {
        let fields: serde_json::Map<_, _> =
            fields.into_iter().map(|(name, kind)| (name, json!({"type": kind}))).collect();
        json!({"type": "object", "properties": fields})
    });
    (name(), words(), schema).prop_map(|(name, description, schema)| Tool { name, description, schema })
}

fn image() -> impl Strategy<Value = Part> {
    let media = prop_oneof![Just("image/png"), Just("image/jpeg"), Just("image/gif"), Just("image/webp")];
    (media, "([A-Za-z0-9+/]{4}){1,8}").prop_map(|(media, data)| Part::Image(media.to_owned(), data))
}

/// What the assistant said and called, what each call came to, and what the user said next.
type Exchange = (Option<String>, Vec<(usize, Value, String)>, Vec<Part>);

fn conversation() -> impl Strategy<Value = Asked> {
    // Texts one beside the other are one text in some dialects.
    let user = || {
        (words(), vec((image(), prop::option::of(words())), 0..3)).prop_map(|(text, more)| {
            let after =
                |(image, text): (Part, Option<String>)| [Some(image), text.map(Part::Text)].into_iter().flatten();
            [Part::Text(text)].into_iter().chain(more.into_iter().flat_map(after)).collect::<Vec<_>>()
        })
    };
    let result = prop_oneof![
        words().prop_map(|text| format!("It is {text}")),
        (0..40).prop_map(|n| json!({"degrees": n}).to_string())
    ];
    let exchange = (prop::option::of(words()), vec((0usize..8, input(), result), 0..3), user());
    let numbers = (prop::option::of(0u8..3), 1u64..10_000, 0u8..=4, vec("[a-z]{1,5}", 0..3));
    (words(), user(), vec(exchange, 0..4), vec(tool(), 1..3), numbers).prop_map(
        |(system, first, exchanges, mut tools, (choice, limit, temperature, stop))| {
            tools.dedup_by(|one, other| one.name == other.name);
            let (mut turns, mut calls) = (vec![(true, first)], 0);
            for (text, called, next) in exchanges as Vec<Exchange> {
                let text = text.or(called.is_empty().then(|| "So it is.".to_owned()));
                let mut said: Vec<Part> = text.map(Part::Text).into_iter().collect();
                let mut heard = Vec::new();
                for (of, input, result) in called {
                    said.push(Part::Call(tools[of % tools.len()].name.clone(), input));
                    heard.push(Part::Result(calls, result));
                    calls += 1;
                }
                heard.extend(next);
                turns.extend([(false, said), (true, heard)]);
            }
            let choice = match choice {
                None => Choice::Auto,
                Some(0) => Choice::Any,
                Some(1) => Choice::Never,
                Some(_) => Choice::One(tools[0].name.clone()),
            };
            let temperature = Some(f64::from(temperature) / 4.0);
            Asked { system, turns, tools, choice, limit: Some(limit), temperature, stop }
        },
    )
}

/// As a dialect without texts to stop at can say it.
fn sayable(asked: &Asked, dialects: [Dialect; 2]) -> Asked {
    let mut asked = asked.clone();
    if dialects.contains(&Dialect::Responses) {
        asked.stop.clear();
    }
    asked
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn calls_say_the_same_in_every_dialect_and_come_back(asked in conversation()) {
        for from in CALLERS {
            for to in PROVIDERS.into_iter().filter(|to| *to != from) {
                let asked = sayable(&asked, [from, to]);
                let body = call_write::write(from, &asked);
                prop_assert_eq!(call::read(from, &body), Some(asked.clone()), "{:?} as it was written", from);
                let (there, told) = (request(&body, from, to).ok().map(|(there, _)| there), asked.told_to(to));
                prop_assert_eq!(there.as_deref().map(|there| call::read(to, there)), told.map(Some), "{:?} in {:?}", from, to);
                let Some(there) = there else { continue };
                if to == Dialect::Bedrock {
                    continue; // no caller speaks it
                }
                let (back, _) = request(&there, to, from).unwrap();
                prop_assert_eq!(call::read(from, &back), Some(asked), "{:?} in {:?} and back", from, to);
            }
        }
    }

    #[test]
    fn what_is_counted_is_what_would_be_sent(asked in conversation()) {
        for from in [Dialect::Anthropic, Dialect::Responses, Dialect::Gemini] {
            for (by, within, fields) in [
                (Counting::Messages, "", ["system", "messages", "tools", "tool_choice"]),
                (Counting::Responses, "", ["input", "tools", "tool_choice", "text"]),
                (Counting::Gemini, "/generateContentRequest", ["systemInstruction", "contents", "tools", "toolConfig"]),
                (Counting::Vertex, "", ["systemInstruction", "contents", "tools", ""]),
                (Counting::Converse, "/input/converse", ["system", "messages", "toolConfig", ""]),
            ] {
                let body = call_write::write(from, &sayable(&asked, [from, by.dialect()]));
                let told = request(&body, from, by.dialect()).ok().map(|(body, _)| body);
                let counted = counted(&body, from, by);
                prop_assert_eq!(counted.is_some(), told.is_some(), "{:?} {:?}", from, by);
                let Some((counted, told)) = counted.zip(told) else { continue };
                let (counted, told): (Value, Value) =
                    (serde_json::from_slice(&counted).unwrap(), serde_json::from_slice(&told).unwrap());
                let counted = counted.pointer(within).unwrap();
                for field in fields.into_iter().filter(|field| !field.is_empty()) {
                    prop_assert_eq!(counted.get(field), told.get(field), "{:?} {:?} {}", from, by, field);
                }
            }
        }
    }

    #[test]
    fn answers_say_the_same_in_every_dialect_and_come_back(said in said(), piece in 1usize..30, bytes in 1usize..400) {
        for from in PROVIDERS {
            let (whole, stream) = (answer_write::whole(from, &said), answer_write::streamed(from, &said, piece));
            prop_assert_eq!(&answer::whole(from, &whole), &said, "{:?} as it was written", from);
            prop_assert_eq!(&answer::streamed(from, &stream), &said, "{:?} as it was streamed", from);
            for to in CALLERS.into_iter().filter(|to| *to != from) {
                let there = answers(from, to).whole(&whole).unwrap();
                prop_assert_eq!(&answer::whole(to, &there), &said, "{:?} in {:?}", from, to);
                let at_once = answers(from, to).streamed(&whole).unwrap();
                prop_assert_eq!(&answer::streamed(to, &at_once), &said, "{:?} said at once in {:?}", from, to);
                let (streamed, failure) = relayed(&stream, from, to, bytes);
                prop_assert_eq!(failure, None, "{:?} in {:?}", from, to);
                prop_assert_eq!(&answer::streamed(to, &streamed), &said, "{:?} streamed in {:?}", from, to);
                prop_assert_eq!(&relayed(&stream, from, to, stream.len()).0, &streamed, "{:?} in {:?}, cut otherwise", from, to);
                // And from there into each of the others.
                for last in CALLERS.into_iter().filter(|last| *last != to) {
                    let again = answers(to, last).whole(&there).unwrap();
                    prop_assert_eq!(&answer::whole(last, &again), &said, "{:?} in {:?} in {:?}", from, to, last);
                    let (again, failure) = relayed(&streamed, to, last, bytes);
                    prop_assert_eq!(failure, None, "{:?} in {:?} in {:?}", from, to, last);
                    prop_assert_eq!(&answer::streamed(last, &again), &said, "{:?} streamed in {:?} in {:?}", from, to, last);
                }
            }
        }
    }
}
