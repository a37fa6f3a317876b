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
    translate::{To, Translation, task},
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
        let to = To::new(Dialect::Gemini, model);
        let (body, answer) = task::request(Task::Embeddings, call.to_string().as_bytes(), &to).unwrap();
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

/// What a caller of OpenAI's embeddings is told when its one call is answered so.
fn gathered(translation: &Translation, answer: &[u8]) -> (Vec<Vec<f32>>, Option<u64>) {
    let mut gathering = translation.gathering().unwrap();
    assert_eq!(gathering.calls(), 1);
    assert!(gathering.take(0, answer, None));
    let told: Value = serde_json::from_slice(&gathering.answer().unwrap()).unwrap();
    let vectors = told["data"].as_array().unwrap().iter().map(|one| floats(&one["embedding"])).collect();
    (vectors, gathering.used().and_then(|used| used.tokens).map(|tokens| tokens.input))
}

fn floats(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// As above, of Vertex AI.
#[test]
fn embeddings_of_vertex_come_to_callers_of_openai() {
    let mut compared = 0;
    for (exchange, asked, told) in served("embeddings", ":predict") {
        let path = exchange.path.as_deref().unwrap();
        let model = path.rsplit('/').next().unwrap().strip_suffix(":predict").unwrap();
        let instances = asked["instances"].as_array().unwrap();
        let texts: Vec<&Value> = instances.iter().map(|one| &one["content"]).collect();
        let call = json!({"model": "public", "input": texts, "task_type": instances[0]["task_type"],
            "dimensions": asked["parameters"]["outputDimensionality"]});
        let to = To { at_vertex: true, ..To::new(Dialect::Gemini, model) };
        let (body, translation) = task::request(Task::Embeddings, call.to_string().as_bytes(), &to).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), asked, "{}", exchange.name);
        assert!(path.ends_with(&translation.task_path().unwrap()), "{path}");
        let predictions = told["predictions"].as_array().unwrap().iter().map(|one| &one["embeddings"]);
        let tokens = predictions.clone().map(|one| one["statistics"]["token_count"].as_u64().unwrap()).sum();
        let vectors: Vec<Vec<f32>> = predictions.map(|one| floats(&one["values"])).collect();
        assert_eq!(gathered(&translation, &exchange.response), (vectors, Some(tokens)), "{}", exchange.name);
        compared += 1;
    }
    println!("{compared} calls for embeddings of Vertex AI's");
    assert!(compared > 0);
}

/// As above, of the models of several makers at Bedrock.
#[test]
fn embeddings_of_bedrock_come_to_callers_of_openai() {
    let mut models = std::collections::BTreeSet::new();
    for (exchange, mut asked, told) in served("invoke", "/invoke") {
        let model = exchange.path.as_deref().and_then(|path| path.split('/').nth(2)).unwrap().to_owned();
        if !model.contains("embed") {
            continue;
        }
        let params = &asked["singleEmbeddingParams"];
        let texts = [&asked["texts"], &asked["inputText"], &params["text"]["value"]];
        let texts = texts.into_iter().find(|texts| !texts.is_null()).unwrap();
        let lengths = [&asked["dimensions"], &params["embeddingDimension"]];
        let length = lengths.into_iter().find(|length| !length.is_null());
        let call = json!({"model": "public", "input": texts, "dimensions": length});
        let to = To::new(Dialect::Bedrock, &model);
        let (body, translation) = task::request(Task::Embeddings, call.to_string().as_bytes(), &to).unwrap();
        let mut sent: Value = serde_json::from_slice(&body).unwrap();
        // What is usual is not said, what is to come back is, and one that is too long is an error.
        asked.as_object_mut().unwrap().remove("normalize");
        sent.as_object_mut().unwrap().remove("embedding_types");
        for said in [&mut asked, &mut sent] {
            said["singleEmbeddingParams"]["text"]["truncationMode"] = Value::Null;
        }
        assert_eq!(sent, asked, "{}", exchange.name);
        let (vectors, tokens) = gathered(&translation, &exchange.response);
        let one = [&told["embedding"], &told["embeddings"][0]["embedding"]].into_iter().find(|one| one.is_array());
        let expect = match one {
            Some(one) => vec![floats(one)],
            None => told["embeddings"].as_array().unwrap().iter().map(floats).collect(),
        };
        assert_eq!(vectors, expect, "{}", exchange.name);
        assert_eq!(tokens, told["inputTextTokenCount"].as_u64(), "{}", exchange.name);
        models.insert(model);
    }
    println!("embeddings of {models:?}");
    assert!(!models.is_empty());
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
