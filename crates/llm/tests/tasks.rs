//! Every recorded exchange of embeddings and of ranking, read the way the gateway reads it.
#![allow(clippy::unwrap_used)]
#![expect(clippy::print_stdout, reason = "says what was read, and when the recordings are absent")]

mod exchange;

use credentialflow_llm::task::{
    Task,
    call::TaskCall,
    units::Size,
    usage::{TaskUsage, Used},
};
use exchange::Exchange;
use serde_json::Value;

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
