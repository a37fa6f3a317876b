//! What models sign of what they think goes through callers of every dialect and comes back to the provider that told it,
//! in the form that it told it in: Chat Completions with Google's, Anthropic's and OpenRouter's fields, Responses with
//! what it encrypted, and the Gemini API for callers of other makers' models.
#![allow(clippy::unwrap_used)]
use super::tests_signatures::merge;
use super::tests_thinking::{sent, streamed, whole};
use super::{To, without_foreign};
use crate::provider::{Dialect, Thoughts};
use credentialflow_model::Timestamp;
use serde_json::{Value, json};

const CALLERS: [Dialect; 4] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses, Dialect::Gemini];
const GOOGLES: To<'_> =
    To { keeps_thinking: Some(Thoughts::ExtraContent), ..To::new(Dialect::OpenAi, "gemini-3-pro-preview") };
/// A server of Chat Completions in front of a model of Anthropic's.
const LITELLM: To<'_> = To::new(Dialect::OpenAi, "claude-sonnet-4-5");
const CLAUDE: To<'_> = To::new(Dialect::Anthropic, "claude-sonnet-4-5");
const GPT: To<'_> = To::new(Dialect::OpenAi, "gpt-5");

const fn openrouter(model: &str) -> To<'_> {
    To { keeps_thinking: Some(Thoughts::Details), ..To::new(Dialect::OpenAi, model) }
}

/// The turn of the model as a caller holds it after a whole answer.
fn held(caller: Dialect, answer: &Value) -> Value {
    match caller {
        Dialect::OpenAi => json!([answer["choices"][0]["message"]]),
        Dialect::Anthropic => json!([{"role": "assistant", "content": answer["content"]}]),
        Dialect::Responses => answer["output"].clone(),
        _ => json!([answer["candidates"][0]["content"]]),
    }
}

fn of_whole(from: Dialect, caller: Dialect, answer: &Value) -> Value {
    held(caller, &whole(from, caller, answer))
}

/// The same after a stream, joined as the SDKs of the caller's dialect do.
fn of_stream(from: Dialect, caller: Dialect, raw: &str) -> Value {
    let (events, failure) = streamed(from, caller, raw);
    assert_eq!(failure, None, "{events:?}");
    match caller {
        Dialect::OpenAi => {
            let mut message = json!({"role": "assistant", "content": ""});
            for chunk in &events {
                let delta = &chunk["choices"][0]["delta"];
                if let Some(more) = delta["content"].as_str() {
                    message["content"] = format!("{}{more}", message["content"].as_str().unwrap()).into();
                }
                for list in ["thinking_blocks", "tool_calls"] {
                    for more in delta[list].as_array().into_iter().flatten() {
                        let mut all = message[list].as_array().cloned().unwrap_or_default();
                        let at = more["index"].as_u64().unwrap() as usize;
                        all.resize(all.len().max(at + 1), Value::Null);
                        merge(&mut all[at], more);
                        message[list] = all.into();
                    }
                }
                if let Some(extra) = delta.get("extra_content") {
                    message["extra_content"] = extra.clone();
                }
            }
            json!([message])
        }
        Dialect::Anthropic => {
            let mut blocks: Vec<Value> = Vec::new();
            for event in &events {
                if event["type"] == "content_block_start" {
                    blocks.push(event["content_block"].clone());
                }
                let (delta, Some(block)) = (&event["delta"], blocks.last_mut()) else { continue };
                for (field, of) in
                    [("thinking", "thinking"), ("signature", "signature"), ("text", "text"), ("partial_json", "input")]
                {
                    if let Some(more) = delta[field].as_str() {
                        block[of] = format!("{}{more}", block[of].as_str().unwrap_or_default()).into();
                    }
                }
            }
            for block in &mut blocks {
                if let Some(input) = block["input"].as_str() {
                    block["input"] = serde_json::from_str(input).unwrap();
                }
            }
            json!([{"role": "assistant", "content": blocks}])
        }
        Dialect::Responses => events.last().unwrap()["response"]["output"].clone(),
        // Google's SDKs keep each part of a stream as a content of its own.
        _ => json!(events.iter().map(|event| event["candidates"][0]["content"].clone()).collect::<Vec<_>>()),
    }
}

/// The next call of a caller: the turn of the model, which called `look` with the id `t1`, and what that returned.
fn next(caller: Dialect, turn: &Value) -> Value {
    let with = |first: Value, last: Value| {
        let mut all = vec![first];
        all.extend(turn.as_array().unwrap().iter().cloned());
        all.push(last);
        json!(all)
    };
    let (asks, user) = (json!({"role": "user", "content": "What is there?"}), "a tree");
    match caller {
        Dialect::OpenAi => {
            json!({"model": "m", "messages": with(asks, json!({"role": "tool", "tool_call_id": "t1", "content": user}))})
        }
        Dialect::Anthropic => json!({"model": "m", "max_tokens": 9000, "messages": with(asks,
            json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": user}]}))}),
        Dialect::Responses => json!({"model": "m", "input": with(asks,
            json!({"type": "function_call_output", "call_id": "t1", "output": user}))}),
        _ => json!({"contents": with(json!({"role": "user", "parts": [{"text": "What is there?"}]}),
            json!({"role": "user", "parts": [{"functionResponse": {"id": "t1", "name": "look", "response": {"result": user}}}]}))}),
    }
}

/// What a provider is sent of the turn.
fn back(caller: Dialect, turn: &Value, to: &To<'_>) -> Value {
    let call = next(caller, turn);
    let sent = match caller {
        Dialect::Gemini => {
            let body = call.to_string();
            let (sent, _) = super::gemini_request(body.as_bytes(), None, to, Timestamp::from_secs(0)).unwrap();
            serde_json::from_slice(&sent).unwrap()
        }
        caller => sent(&call, caller, to),
    };
    match to.dialect {
        Dialect::Responses => {
            let input = sent["input"].as_array().unwrap();
            json!(input[1..input.len() - 1])
        }
        Dialect::Gemini => sent["contents"][1]["parts"].clone(),
        _ => sent["messages"][1].clone(),
    }
}

/// Every caller with its turn, of a whole answer and of a stream.
fn turns<'t>(from: Dialect, answer: &'t Value, raw: &'t str, callers: &'t [Dialect]) -> Vec<(Dialect, Value)> {
    let of = |caller: &Dialect| [(*caller, of_whole(from, *caller, answer)), (*caller, of_stream(from, *caller, raw))];
    callers.iter().filter(|caller| **caller != from).flat_map(of).collect()
}

fn completion(message: Value) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
}

/// A stream of Chat Completions of these deltas.
fn chunks(deltas: &[Value]) -> String {
    let chunk = |delta: &Value, reason: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        format!("data: {}\n\n", json!({"id": "c", "model": "m", "choices": [choice]}))
    };
    let all: String = deltas.iter().map(|delta| chunk(delta, Value::Null)).collect();
    format!("{all}{}data: [DONE]\n\n", chunk(&json!({}), "tool_calls".into()))
}

fn call() -> Value {
    json!({"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{\"a\":1}"}})
}

fn with(mut value: Value, name: &str, more: Value) -> Value {
    value[name] = more;
    value
}

fn google(signature: &str) -> Value {
    json!({"google": {"thought_signature": signature}})
}

/// The ids of this test's calls have nothing to do with signatures.
fn is_nowhere(sent: &Value, words: &[&str]) {
    let sent = sent.to_string();
    assert!(words.iter().all(|word| !sent.contains(word)), "{sent}");
}

#[test]
fn gemini_behind_chat_completions_is_sent_back_what_it_signed() {
    let signed = with(call(), "extra_content", google("c2lnMQ=="));
    let answer = completion(json!({"role": "assistant", "content": "I look.", "tool_calls": [signed]}));
    // Google's streams have no numbers of calls.
    let raw = chunks(&[json!({"role": "assistant", "content": "I look."}), json!({"tool_calls": [signed]})]);
    for (caller, turn) in turns(Dialect::OpenAi, &answer, &raw, &CALLERS) {
        let sent = back(caller, &turn, &GOOGLES);
        assert_eq!(sent["tool_calls"][0], signed, "{caller:?}");
        assert_eq!((&sent["content"], sent.get("extra_content")), (&json!("I look."), None));
        // Its own API takes it too, in its own form.
        if caller != Dialect::Gemini {
            let own = back(caller, &turn, &To::new(Dialect::Gemini, "gemini-3-pro-preview"));
            assert_eq!(own[1]["thoughtSignature"], "c2lnMQ==", "{caller:?} {own}");
        } else {
            assert!(turn.to_string().contains(r#""thoughtSignature":"c2lnMQ==""#), "{turn}");
        }
        // Nobody else is sent it.
        for to in [GPT, LITELLM, CLAUDE, To::new(Dialect::Responses, "gpt-5"), openrouter("anthropic/claude-opus-4.5")]
        {
            is_nowhere(&back(caller, &turn, &to), &["c2ln", "extra_content", "signature"]);
        }
        // OpenRouter's Gemini is, in OpenRouter's form.
        let detail = json!([{"type": "reasoning.encrypted", "data": "c2lnMQ==", "id": "t1", "format": "google-gemini-v1", "index": 0}]);
        assert_eq!(back(caller, &turn, &openrouter("google/gemini-3-pro"))["reasoning_details"], detail);
    }
}

#[test]
fn gemini_behind_chat_completions_signs_what_it_says_and_lets_pass_what_it_did_not_sign() {
    let said = with(
        json!({"role": "assistant", "content": "I look.", "tool_calls": [call()]}),
        "extra_content",
        google("c2lnMg=="),
    );
    let vertex = json!({"vertex": {"thought_signature": "c2lnMg=="}});
    let raw = chunks(&[
        json!({"content": "I look."}),
        json!({"content": "", "extra_content": vertex}),
        json!({"tool_calls": [call()]}),
    ]);
    for (caller, turn) in turns(Dialect::OpenAi, &completion(said), &raw, &CALLERS) {
        let sent = back(caller, &turn, &GOOGLES);
        assert_eq!(sent["extra_content"], google("c2lnMg=="), "{caller:?} {turn}");
        // Of a call that it did not sign Google says what to write.
        assert_eq!(sent["tool_calls"][0]["extra_content"], google("skip_thought_signature_validator"));
        let older = To { model: "gemini-2.5-pro", ..GOOGLES };
        assert_eq!(back(caller, &turn, &older)["tool_calls"][0], call());
    }
    // Of two calls at the same time the first alone has one.
    let two = json!([{"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}},
        {"type": "tool_use", "id": "t2", "name": "look", "input": {}}]}]);
    let sent = back(Dialect::Anthropic, &two, &To { model: "models/gemini-3-pro", ..GOOGLES });
    assert_eq!(sent["tool_calls"][0]["extra_content"], google("skip_thought_signature_validator"));
    assert_eq!(sent["tool_calls"][1].get("extra_content"), None);
}

/// The blocks of Messages that these tests' thinking is.
fn thought() -> Value {
    json!([{"type": "thinking", "thinking": "Hm, so.", "signature": "EqQB"}, {"type": "redacted_thinking", "data": "cmVk"}])
}

/// An answer of Claude's behind Chat Completions, and its streams: as LiteLLM has them, and as this gateway does.
fn of_litellm() -> (Value, [String; 2]) {
    let message = json!({"role": "assistant", "content": "I look.", "reasoning_content": "Hm, so.",
        "thinking_blocks": thought(), "tool_calls": [call()]});
    let block = |text: &str, signature: Value| json!({"type": "thinking", "thinking": text, "signature": signature});
    let called = json!({"tool_calls": [with(call(), "index", json!(0))]});
    let litellm = chunks(&[
        json!({"role": "assistant", "reasoning_content": "Hm, ", "thinking_blocks": [block("Hm, ", Value::Null)]}),
        json!({"reasoning_content": "so.", "thinking_blocks": [block("so.", "".into())]}),
        json!({"reasoning_content": "", "thinking_blocks": [block("", "EqQB".into())]}),
        json!({"thinking_blocks": [thought()[1]]}),
        json!({"content": "I look."}),
        called.clone(),
    ]);
    let own = chunks(&[
        json!({"role": "assistant", "reasoning_content": "Hm, "}),
        json!({"reasoning_content": "so."}),
        json!({"thinking_blocks": [with(thought()[0].clone(), "index", json!(0))]}),
        json!({"thinking_blocks": [with(thought()[1].clone(), "index", json!(1))]}),
        json!({"content": "I look."}),
        called,
    ]);
    (completion(message), [litellm, own])
}

#[test]
fn claude_behind_chat_completions_is_sent_back_what_it_signed() {
    let (answer, streams) = of_litellm();
    for raw in &streams {
        for (caller, turn) in turns(Dialect::OpenAi, &answer, raw, &CALLERS) {
            let sent = back(caller, &turn, &LITELLM);
            assert_eq!(
                (&sent["thinking_blocks"], &sent["content"]),
                (&thought(), &json!("I look.")),
                "{caller:?} {turn}"
            );
            assert_eq!(sent["tool_calls"], json!([call()]));
            if caller != Dialect::Anthropic {
                let own = back(caller, &turn, &CLAUDE)["content"].clone();
                assert_eq!(json!([own[0], own[1]]), thought(), "{caller:?} {own}");
            }
            for to in [GPT, GOOGLES, openrouter("google/gemini-3-pro"), openrouter("openai/gpt-5")] {
                is_nowhere(&back(caller, &turn, &to), &["EqQB", "cmVk", "Hm, so."]);
            }
        }
    }
}

#[test]
fn openrouter_is_sent_back_what_each_maker_signed() {
    let details = json!([{"type": "reasoning.text", "text": "Hm, so.", "signature": "EqQB", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "cmVk", "format": "anthropic-claude-v1", "index": 1}]);
    let answer = completion(json!({"role": "assistant", "content": null, "reasoning": "Hm, so.",
        "reasoning_details": details, "tool_calls": [call()]}));
    let text =
        |text: &str| json!([{"type": "reasoning.text", "text": text, "format": "anthropic-claude-v1", "index": 0}]);
    let raw = chunks(&[
        json!({"role": "assistant", "content": "", "reasoning": "Hm, ", "reasoning_details": text("Hm, ")}),
        json!({"content": "", "reasoning": "so.", "reasoning_details": text("so.")}),
        json!({"content": "", "reasoning": null, "reasoning_details": [{"type": "reasoning.text", "signature": "EqQB", "format": "anthropic-claude-v1", "index": 0}]}),
        json!({"reasoning_details": [details[1]]}),
        json!({"tool_calls": [with(call(), "index", json!(0))]}),
    ]);
    let claude = openrouter("anthropic/claude-opus-4.5");
    for (caller, turn) in turns(Dialect::OpenAi, &answer, &raw, &CALLERS) {
        assert_eq!(back(caller, &turn, &claude)["reasoning_details"], details, "{caller:?} {turn}");
        assert_eq!(back(caller, &turn, &LITELLM)["thinking_blocks"], thought());
        is_nowhere(&back(caller, &turn, &openrouter("google/gemini-3-pro")), &["EqQB", "cmVk"]);
    }
    // Where the text stands in no other place, it is taken from there.
    let alone = chunks(&[
        json!({"role": "assistant", "reasoning_details": text("Hm, ")}),
        json!({"reasoning_details": text("so.")}),
        json!({"reasoning_details": [details[0]]}),
        json!({"reasoning_details": [details[1]]}),
        json!({"tool_calls": [with(call(), "index", json!(0))]}),
    ]);
    let answer =
        completion(json!({"role": "assistant", "content": null, "reasoning_details": details, "tool_calls": [call()]}));
    for (caller, turn) in turns(Dialect::OpenAi, &answer, &alone, &CALLERS) {
        assert_eq!(back(caller, &turn, &claude)["reasoning_details"], details, "{caller:?} {turn}");
    }
    // Gemini's stand with the id of the call, and come with it or before it.
    let detail = json!({"type": "reasoning.encrypted", "data": "c2lnMQ==", "id": "t1", "format": "google-gemini-v1", "index": 0});
    let shown = json!({"type": "reasoning.text", "text": "Hm.", "format": "google-gemini-v1", "index": 0});
    let answer = completion(json!({"role": "assistant", "content": null, "reasoning": "Hm.",
        "reasoning_details": [shown, detail], "tool_calls": [call()]}));
    let raw = chunks(&[
        json!({"role": "assistant", "content": "", "reasoning": "Hm.", "reasoning_details": [shown]}),
        json!({"tool_calls": [with(call(), "index", json!(0))], "reasoning_details": [detail]}),
    ]);
    for (caller, turn) in turns(Dialect::OpenAi, &answer, &raw, &CALLERS) {
        let gemini = openrouter("google/gemini-3-pro");
        assert_eq!(back(caller, &turn, &gemini)["reasoning_details"], json!([detail]), "{caller:?} {turn}");
        assert_eq!(back(caller, &turn, &GOOGLES)["tool_calls"][0]["extra_content"], google("c2lnMQ=="));
        is_nowhere(&back(caller, &turn, &claude), &["c2ln"]);
    }
}

/// An answer of a provider that speaks Responses, and the same as a stream.
fn encrypted() -> (Value, String) {
    let item = |told: &str| json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": told});
    let called =
        json!({"type": "function_call", "id": "fc_1", "call_id": "t1", "name": "look", "arguments": "{\"a\":1}"});
    let response = json!({"id": "resp_1", "model": "gpt-5", "status": "completed", "output": [item("gAAAAB"), called]});
    let begun = json!({"id": "resp_1", "model": "gpt-5", "status": "in_progress", "output": []});
    let events = [
        json!({"type": "response.created", "response": begun}),
        // What is told of it at first is not all of it.
        json!({"type": "response.output_item.added", "output_index": 0, "item": item("gAA")}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "Hm."}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item("gAAAAB")}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": with(called.clone(), "arguments", "".into())}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{\"a\":1}"}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": called}),
        json!({"type": "response.completed", "response": response}),
    ];
    let raw = events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()));
    (response, raw.collect())
}

#[test]
fn what_a_provider_of_responses_encrypted_comes_back_to_it_alone() {
    let (answer, raw) = encrypted();
    let gpt = To::new(Dialect::Responses, "gpt-5");
    for (caller, turn) in turns(Dialect::Responses, &answer, &raw, &CALLERS) {
        let sent = back(caller, &turn, &gpt);
        // What was shown of it a caller might have changed.
        let reasoning = json!({"type": "reasoning", "summary": [], "encrypted_content": "gAAAAB"});
        let called = json!({"type": "function_call", "call_id": "t1", "name": "look", "arguments": "{\"a\":1}"});
        assert_eq!(sent, json!([reasoning, called]), "{caller:?} {turn}");
        // Another model, or the same in another account, could not read it, and refuses it.
        for to in [To { place: 7, ..gpt }, GPT, LITELLM, GOOGLES, openrouter("openai/gpt-5")] {
            is_nowhere(&back(caller, &turn, &to), &["gAAAAB", "encrypted"]);
        }
        if caller != Dialect::Anthropic {
            is_nowhere(&back(caller, &turn, &CLAUDE), &["gAAAAB"]);
        }
        if caller != Dialect::Gemini {
            is_nowhere(&back(caller, &turn, &To::new(Dialect::Gemini, "gemini-3-pro")), &["gAAAAB", "openai"]);
        }
    }
}

#[test]
fn what_was_thought_is_sent_with_what_came_of_it() {
    let gpt = To::new(Dialect::Responses, "gpt-5");
    let thinking = |told: &str| json!({"type": "thinking", "thinking": "", "signature": told});
    let own = thinking("openai-encrypted:0000000000000000:gAAAAB");
    let call = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "a"},
        {"role": "assistant", "content": [own, {"type": "text", "text": "b"}, own]}, {"role": "user", "content": "c"},
        {"role": "assistant", "content": [own]}, {"role": "user", "content": "d"},
        {"role": "assistant", "content": [thinking("openai-encrypted:gAAAAB"), thinking("openai-encrypted:x:gAAAAB"), {"type": "text", "text": "e"}]},
        {"role": "user", "content": "f"}]});
    let sent = sent(&call, Dialect::Anthropic, &gpt);
    let kinds = sent["input"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap_or("message"));
    let kinds: Vec<&str> = kinds.collect();
    assert_eq!(kinds, ["message", "reasoning", "message", "message", "message", "message", "message"], "{sent}");
}

#[test]
fn a_provider_of_responses_is_asked_for_what_it_thought_where_the_caller_speaks_of_thinking() {
    let gpt = To::new(Dialect::Responses, "gpt-5");
    let include = |call: Value, caller| sent(&call, caller, &gpt)["include"].clone();
    let asked = json!(["reasoning.encrypted_content"]);
    let chat = |more: Value| {
        let mut call = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        include(call, Dialect::OpenAi)
    };
    // Models that do not think refuse to be asked.
    assert_eq!(chat(json!({})), Value::Null);
    assert_eq!(chat(json!({"reasoning_effort": "none"})), Value::Null);
    assert_eq!(chat(json!({"reasoning_effort": "low"})), asked);
    assert_eq!(chat(json!({"reasoning": {"summary": "auto"}})), asked);
    assert_eq!(chat(json!({"reasoning_effort": "low", "store": false})), asked);
    // What the provider keeps it need not tell, and who says what is to be told is not contradicted.
    assert_eq!(chat(json!({"reasoning_effort": "low", "store": true})), Value::Null);
    assert_eq!(chat(json!({"reasoning_effort": "low", "include": []})), json!([]));
    let both = json!(["message.output_text.logprobs", "reasoning.encrypted_content"]);
    assert_eq!(chat(json!({"reasoning_effort": "low", "logprobs": true})), both);
    let messages = |thinking: Value| {
        let hi = json!([{"role": "user", "content": "hi"}]);
        include(json!({"model": "m", "max_tokens": 9000, "messages": hi, "thinking": thinking}), Dialect::Anthropic)
    };
    assert_eq!(messages(json!({"type": "enabled", "budget_tokens": 2000})), asked);
    assert_eq!(messages(json!({"type": "disabled"})), Value::Null);
    // Nor is it asked where only tokens are counted.
    let counted = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "thinking": {"type": "enabled", "budget_tokens": 2000}});
    let (body, _) = super::count::request(
        counted.to_string().as_bytes(),
        Dialect::Anthropic,
        &gpt,
        crate::provider::Counting::Responses,
    )
    .unwrap();
    assert!(!String::from_utf8(body).unwrap().contains("encrypted"));
}

/// An answer of Claude's, and the same as a stream.
fn of_claude() -> (Value, String) {
    let content = json!([thought()[0], thought()[1], {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}]);
    let answer = json!({"id": "msg_1", "model": "claude", "content": content, "stop_reason": "tool_use"});
    let delta = |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let block =
        |index: u64, block: &Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let stop = |index: u64| json!({"type": "content_block_stop", "index": index});
    let events = [
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude", "content": []}}),
        block(0, &json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "Hm, "})),
        delta(0, json!({"type": "thinking_delta", "thinking": "so."})),
        delta(0, json!({"type": "signature_delta", "signature": "EqQB"})),
        stop(0),
        block(1, &thought()[1]),
        stop(1),
        block(2, &json!({"type": "text", "text": ""})),
        delta(2, json!({"type": "text_delta", "text": "I look."})),
        stop(2),
        block(3, &json!({"type": "tool_use", "id": "t1", "name": "look", "input": {}})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "{\"a\":1}"})),
        stop(3),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ];
    let raw = events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()));
    (answer, raw.collect())
}

#[test]
fn callers_of_gemini_send_claude_back_what_it_signed() {
    let (answer, raw) = of_claude();
    for (caller, turn) in turns(Dialect::Anthropic, &answer, &raw, &[Dialect::Gemini]) {
        assert_eq!(back(caller, &turn, &CLAUDE)["content"], answer["content"], "{turn}");
        // So it thinks on after the tool.
        let mut call = next(caller, &turn);
        call["generationConfig"] = json!({"thinkingConfig": {"thinkingBudget": 2000}});
        let body = call.to_string();
        let (sent, _) = super::gemini_request(body.as_bytes(), None, &CLAUDE, Timestamp::from_secs(0)).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&sent).unwrap()["thinking"]["type"], "enabled");
        // A client may write the bytes anew, in the other alphabet and without what fills it up.
        let anew = turn.to_string().replace('+', "-").replace("=\"", "\"");
        assert_eq!(back(caller, &serde_json::from_str(&anew).unwrap(), &CLAUDE)["content"], answer["content"]);
        // A client that drops what is thought drops its signature too.
        let mut bare = turn.clone();
        for content in bare.as_array_mut().unwrap() {
            content["parts"].as_array_mut().unwrap().retain(|part| part["thought"] != true);
        }
        assert_eq!(back(caller, &bare, &CLAUDE)["content"], json!([answer["content"][2], answer["content"][3]]));
        // No part is empty, as clients take an answer with such a part for a broken one.
        for part in turn.as_array().unwrap().iter().flat_map(|content| content["parts"].as_array().unwrap()) {
            assert_ne!(part["text"], "", "{turn}");
            assert!(part["thoughtSignature"].is_null() || part["thought"] == true);
        }
    }
    let whole = of_whole(Dialect::Anthropic, Dialect::Gemini, &answer);
    // base64 of `anthropic-signature:EqQB` and of `anthropic-redacted:cmVk`.
    assert_eq!(
        json!([whole[0]["parts"][0], whole[0]["parts"][1]]),
        json!([{"text": "Hm, so.", "thought": true, "thoughtSignature": "YW50aHJvcGljLXNpZ25hdHVyZTpFcVFC"},
            {"thought": true, "thoughtSignature": "YW50aHJvcGljLXJlZGFjdGVkOmNtVms="}])
    );
}

#[test]
fn google_is_not_sent_what_others_signed_by_its_own_callers() {
    let cleaned = |call: &Value| {
        let mut body = call.to_string().into_bytes();
        without_foreign(&mut body, Dialect::Gemini);
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let (answer, raw) = of_claude();
    let parts = |turn: &Value| -> Vec<Value> {
        turn.as_array().unwrap().iter().flat_map(|content| content["parts"].as_array().unwrap().clone()).collect()
    };
    for (caller, turn) in turns(Dialect::Anthropic, &answer, &raw, &[Dialect::Gemini]) {
        let got = cleaned(&next(caller, &turn));
        is_nowhere(&got, &["YW50"]);
        let contents = got["contents"].as_array().unwrap();
        let left = parts(&json!(contents[1..contents.len() - 1]));
        let kept = parts(&turn).into_iter().filter(|part| part["thoughtSignature"].is_null());
        assert_eq!(left, kept.collect::<Vec<_>>());
        // A content of which nothing is left is none.
        assert!(contents.iter().all(|content| !content["parts"].as_array().unwrap().is_empty()));
    }
    let (answer, raw) = encrypted();
    for (caller, turn) in turns(Dialect::Responses, &answer, &raw, &[Dialect::Gemini]) {
        is_nowhere(&cleaned(&next(caller, &turn)), &["b3Blb", "thoughtSignature"]);
    }
    // Its own stays, and every byte of a call without.
    let own = json!({"contents": [{"role": "user", "parts": [{"text": "YW50aHJvcGljLXNpZ25hdHVyZT"}]},
        {"role": "model", "parts": [{"text": "Hm.", "thought": true, "thoughtSignature": "c2ln"}, {"functionCall": {"name": "look"}, "thoughtSignature": "c2ln"}]}]});
    assert_eq!(cleaned(&own), own);
}
