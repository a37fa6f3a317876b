//! Every recorded exchange of embeddings and of ranking, read the way the gateway reads it.
#![allow(clippy::unwrap_used)]
#![expect(clippy::print_stdout, reason = "says what was read, and when the recordings are absent")]

mod exchange;

use credentialflow_llm::{
    provider::Dialect,
    task::{
        Task,
        call::TaskCall,
        units::Size,
        usage::{TaskUsage, Used},
    },
    translate::{To, embeddings},
};
use exchange::Exchange;
use serde_json::{Value, json};

fn used(task: Task, exchange: &Exchange, piece: usize) -> Used {
    let mut usage = TaskUsage::new(task, Size::default());
    usage.fit(false);
    exchange.response.chunks(piece).for_each(|piece| usage.feed(piece));
    usage.total()
}

/// The calls of an API that were served, with what they ask and what they were answered.
fn served(api: &str, path_ends: &str) -> Vec<(Exchange, Value, Value)> {
    let all = exchange::exchanges_at(api, path_ends).into_iter().filter(|exchange| exchange.status == 200);
    let read = |exchange: Exchange| {
        let asked = serde_json::from_slice(exchange.request.as_deref()?).ok()?;
        let told = serde_json::from_slice(&exchange.response).ok()?;
        Some((exchange, asked, told))
    };
    all.filter_map(read).collect()
}

#[test]
fn embeddings_are_read_as_they_were_recorded() {
    let mut counted = 0;
    for (exchange, asked, told) in served("embeddings", "/embeddings") {
        // Ollama's own API has the same name.
        let Some(model) = asked["model"].as_str().filter(|_| asked["input"] != Value::Null) else { continue };
        let body = exchange.request.as_deref().unwrap();
        let call = TaskCall::parse(Task::Embeddings, None, body).unwrap();
        assert_eq!(call.model(), model, "{}", exchange.name);
        let sent: Value = serde_json::from_slice(&call.rewrite(body, "another")).unwrap();
        let mut expect = asked.clone();
        expect["model"] = "another".into();
        assert_eq!(sent, expect, "{}", exchange.name);
        let tokens = told["usage"]["prompt_tokens"].as_u64().or(told["usage"]["total_tokens"].as_u64());
        for piece in [7, 1 << 20] {
            let used = used(Task::Embeddings, &exchange, piece);
            assert_eq!(used.tokens.map(|tokens| tokens.input), tokens, "{}", exchange.name);
            assert_eq!(used.tokens.map_or(0, |tokens| tokens.output), 0, "{}", exchange.name);
        }
        counted += u64::from(tokens.is_some());
    }
    println!("{counted} calls told their tokens");
    assert!(counted >= 2);
}

/// What a provider of Gemini was asked and answered, as a caller of OpenAI's embeddings would have asked and is told.
#[test]
fn embeddings_of_gemini_come_to_callers_of_openai() {
    let mut compared = 0;
    for (exchange, asked, told) in served("embeddings", "") {
        if exchange.path.as_deref().is_none_or(|path| !path.ends_with(":batchEmbedContents")) {
            continue;
        }
        let requests = asked["requests"].as_array().unwrap();
        let parts = |request: &Value| request["content"]["parts"].as_array().unwrap().clone();
        // OpenAI's embeddings are of texts alone, and know no use that they are for.
        if requests.iter().any(|request| parts(request).len() != 1 || !request["taskType"].is_null()) {
            continue;
        }
        let texts: Vec<Value> = requests.iter().map(|request| parts(request)[0]["text"].clone()).collect();
        let model = requests[0]["model"].as_str().unwrap().strip_prefix("models/").unwrap();
        let call = json!({"model": "public", "input": texts, "dimensions": requests[0]["outputDimensionality"]});
        let (body, answer) =
            embeddings::request(call.to_string().as_bytes(), &To::new(Dialect::Gemini, model)).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), asked, "{}", exchange.name);
        let answer: Value = serde_json::from_slice(&answer.whole(&exchange.response).unwrap()).unwrap();
        let floats = |value: &Value| -> Vec<f32> { serde_json::from_value(value.clone()).unwrap() };
        let vectors = |list: &Value, field: &str| -> Vec<Vec<f32>> {
            list.as_array().unwrap().iter().map(|one| floats(&one[field])).collect()
        };
        assert_eq!(vectors(&answer["data"], "embedding"), vectors(&told["embeddings"], "values"), "{}", exchange.name);
        compared += 1;
    }
    println!("{compared} calls for embeddings of Gemini's");
    assert!(compared > 0);
}

#[test]
fn ranking_is_read_as_it_was_recorded() {
    let mut counted = 0;
    for (exchange, asked, told) in served("rerank", "/rerank") {
        let call = TaskCall::parse(Task::Rerank, None, exchange.request.as_deref().unwrap());
        // An older form of Cohere's names no model.
        let Ok(call) = call else {
            assert_eq!(asked["model"], Value::Null, "{}", exchange.name);
            continue;
        };
        assert_eq!(call.size().documents, asked["documents"].as_array().unwrap().len() as u64, "{}", exchange.name);
        let used = used(Task::Rerank, &exchange, 7);
        let searches = told["meta"]["billed_units"]["search_units"].as_u64();
        assert_eq!(used.units.searches, searches.unwrap_or(1), "{}", exchange.name);
        assert_eq!(used.tokens.map(|tokens| tokens.input), told["usage"]["total_tokens"].as_u64(), "{}", exchange.name);
        counted += 1;
    }
    assert!(counted >= 2);
}
