#![allow(clippy::unwrap_used)]
use super::*;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

const GEMINI: To<'_> = To::new(Dialect::Gemini, "gemini-embedding-001");

fn vertex(model: &str) -> To<'_> {
    To { at_vertex: true, ..To::new(Dialect::Gemini, model) }
}

fn bedrock(model: &str) -> To<'_> {
    To::new(Dialect::Bedrock, model)
}

/// The calls that become of one, and what translates their answers.
fn asked(task: Task, to: &To<'_>, body: &Value) -> Result<(Vec<Value>, Translation), String> {
    let (out, translation) = request(task, body.to_string().as_bytes(), to).map_err(|why| why.to_string())?;
    let calls = out.split(|b| *b == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect();
    Ok((calls, translation))
}

fn embedded(to: &To<'_>, body: &Value) -> Result<(Vec<Value>, Translation), String> {
    asked(Task::Embeddings, to, body)
}

/// What the caller gets, and what is counted, when the calls are answered so, each with what its head counts.
fn gathered(translation: &Translation, answers: &[(Value, Option<u64>)]) -> Option<(Value, Option<Used>)> {
    let mut gathering = translation.gathering().unwrap();
    assert_eq!(gathering.calls(), answers.len());
    for (at, (answer, counted)) in answers.iter().enumerate().rev() {
        if !gathering.take(at, answer.to_string().as_bytes(), *counted) {
            return None;
        }
    }
    let answer = gathering.answer()?;
    assert_eq!(translation.whole(&answer).unwrap(), answer);
    Some((serde_json::from_slice(&answer).unwrap(), gathering.used()))
}

fn input(used: Option<Used>) -> Option<u64> {
    used.unwrap().tokens.map(|tokens| tokens.input)
}

#[test]
fn each_provider_and_model_has_its_form() {
    for (task, dialect, vertex, model, form) in [
        (Task::Embeddings, Dialect::Gemini, false, "gemini-embedding-2", Some(Form::GeminiBatch)),
        (Task::Embeddings, Dialect::Gemini, true, "gemini-embedding-2", Some(Form::VertexContent)),
        (Task::Embeddings, Dialect::Gemini, true, "gemini-embedding-001", Some(Form::VertexPredict)),
        (Task::Embeddings, Dialect::Gemini, true, "text-embedding-005", Some(Form::VertexPredict)),
        (Task::Embeddings, Dialect::Bedrock, false, "amazon.titan-embed-text-v2:0", Some(Form::Titan)),
        (Task::Embeddings, Dialect::Bedrock, false, "amazon.titan-embed-image-v1", None),
        (Task::Embeddings, Dialect::Bedrock, false, "us.cohere.embed-v4:0", Some(Form::Cohere)),
        (Task::Embeddings, Dialect::Bedrock, false, "amazon.nova-2-multimodal-embeddings-v1:0", Some(Form::Nova)),
        (Task::Embeddings, Dialect::Bedrock, false, "amazon.nova-lite-v1:0", None),
        (Task::Embeddings, Dialect::Bedrock, false, "cohere.rerank-v3-5:0", None),
        (
            Task::Rerank,
            Dialect::Bedrock,
            false,
            "arn:aws:bedrock:us-west-2::foundation-model/amazon.rerank-v1:0",
            Some(Form::BedrockRank),
        ),
        (Task::Rerank, Dialect::Gemini, false, "semantic-ranker-default@latest", Some(Form::VertexRank)),
        (Task::Rerank, Dialect::Bedrock, false, "cohere.embed-v4:0", None),
        (Task::Moderations, Dialect::Bedrock, false, "cohere.embed-v4:0", None),
        (Task::Embeddings, Dialect::OpenAi, false, "cohere.embed-v4:0", None),
    ] {
        assert_eq!(Form::of(task, dialect, vertex, model), form, "{task} {model}");
    }
    let place = |to: &To<'_>, task, body: &Value| asked(task, to, body).unwrap().1.task_path().unwrap();
    let text = json!({"model": "m", "input": "a"});
    for (to, path) in [
        (GEMINI, "/models/gemini-embedding-001:batchEmbedContents"),
        (vertex("gemini-embedding-001"), "/models/gemini-embedding-001:predict"),
        (vertex("gemini-embedding-2"), "/models/gemini-embedding-2:embedContent"),
        (bedrock("amazon.titan-embed-text-v2:0"), "/model/amazon.titan-embed-text-v2%3A0/invoke"),
    ] {
        assert_eq!(place(&to, Task::Embeddings, &text), path);
    }
    let ranking = json!({"model": "m", "query": "q", "documents": ["a"]});
    assert_eq!(
        place(&To::new(Dialect::Gemini, "semantic-ranker-512@latest"), Task::Rerank, &ranking),
        "/default_ranking_config:rank"
    );
}

#[test]
fn at_gemini_each_text_is_a_call_of_a_batch() {
    let one = |text: &str| json!({"model": "models/gemini-embedding-001", "content": {"parts": [{"text": text}]}});
    let (said, _) = embedded(&GEMINI, &json!({"model": "m", "input": "a \"b\"", "user": "u"})).unwrap();
    assert_eq!(said, [json!({"requests": [one("a \"b\"")]})]);
    let body = json!({"model": "m", "input": ["a", "b"], "dimensions": 256, "task_type": "CLUSTERING", "x": null});
    let (said, _) = embedded(&GEMINI, &body).unwrap();
    let sized = |text: &str| {
        let mut one = one(text);
        (one["outputDimensionality"], one["taskType"]) = (256.into(), "CLUSTERING".into());
        one
    };
    assert_eq!(said, [json!({"requests": [sized("a"), sized("b")]})]);
    for (body, why) in [
        (json!({"model": "m"}), "`input` is not what"),
        (json!({"model": "m", "input": []}), "`input` is not what"),
        (json!({"model": "m", "input": 7}), "`input` is not what"),
        (json!({"model": "m", "input": [1, 2]}), "in tokens has no counterpart"),
        (json!({"model": "m", "input": [[1], [2]]}), "in tokens has no counterpart"),
        (json!({"model": "m", "input": "a", "encoding_format": "hex"}), "`encoding_format` is not what"),
        (json!({"model": "m", "input": "a", "dimensions": -1}), "`dimensions` is not what"),
        (json!({"model": "m", "input": "a", "input_type": "query"}), "`input_type` has no counterpart"),
        (json!({"model": "m", "input": "a", "truncate": "END"}), "a field of the call has no counterpart"),
        (json!({"model": "m", "input": vec!["a"; 2049]}), "too many texts"),
    ] {
        let told = embedded(&GEMINI, &body).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn vectors_come_back_as_numbers_and_in_base64() {
    let answer = json!({"embeddings": [{"values": [0.5, -1.25]}, {"values": [3.0]}],
        "usageMetadata": {"promptTokenCount": 4}});
    let back = |format: &str| -> Value {
        let body = json!({"model": "m", "input": ["a", "b"], "encoding_format": format});
        let (_, translation) = embedded(&GEMINI, &body).unwrap();
        assert!(translation.gathering().is_none());
        serde_json::from_slice(&translation.whole(answer.to_string().as_bytes()).unwrap()).unwrap()
    };
    let told = back("float");
    assert_eq!(told["data"][0], json!({"object": "embedding", "index": 0, "embedding": [0.5, -1.25]}));
    assert_eq!((&told["data"][1]["index"], &told["object"]), (&json!(1), &json!("list")));
    assert_eq!(told["usage"], json!({"prompt_tokens": 4, "total_tokens": 4}));
    let told = back("base64");
    let bytes = BASE64_STANDARD.decode(told["data"][0]["embedding"].as_str().unwrap()).unwrap();
    assert_eq!(bytes, [0.5f32.to_le_bytes(), (-1.25f32).to_le_bytes()].concat());
    let (_, translation) = embedded(&GEMINI, &json!({"model": "m", "input": "a"})).unwrap();
    for none in [
        "",
        "{}",
        r#"{"embeddings":[]}"#,
        r#"{"embeddings":[{"values":["x"]}]}"#,
        r#"{"embeddings":[{"values":[1e99]}]}"#,
    ] {
        assert_eq!(translation.whole(none.as_bytes()), None, "{none}");
    }
    let error = translation.error(400, br#"{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}"#);
    let error: Value = serde_json::from_slice(&error).unwrap();
    assert_eq!(error["error"]["message"], "no");
}

#[test]
fn titan_is_asked_for_one_text_at_a_time() {
    let to = bedrock("eu.amazon.titan-embed-text-v2:0");
    let body = json!({"model": "m", "input": ["a", "b\n"], "dimensions": 256, "encoding_format": "base64"});
    let (calls, translation) = embedded(&to, &body).unwrap();
    assert_eq!(calls, [json!({"inputText": "a", "dimensions": 256}), json!({"inputText": "b\n", "dimensions": 256})]);
    let answer = |value: f32, tokens: Value| json!({"embedding": [value], "inputTextTokenCount": tokens, "embeddingsByType": {"float": [value]}});
    // What the body tells goes before the head.
    let answers = [(answer(0.5, 3.into()), Some(9)), (answer(-1.0, 4.into()), None)];
    let (told, used) = gathered(&translation, &answers).unwrap();
    let vector = |value: f32| BASE64_STANDARD.encode(value.to_le_bytes());
    assert_eq!(
        told,
        json!({"object": "list", "model": "eu.amazon.titan-embed-text-v2:0", "data": [
            {"object": "embedding", "index": 0, "embedding": vector(0.5)},
            {"object": "embedding", "index": 1, "embedding": vector(-1.0)}],
            "usage": {"prompt_tokens": 7, "total_tokens": 7}})
    );
    assert_eq!(input(used), Some(7));
    // Where one does not count, nobody knows.
    let answers = [(answer(0.5, 3.into()), None), (answer(1.0, "many".into()), None)];
    assert_eq!(gathered(&translation, &answers).unwrap().1, None);
    for none in [json!({}), json!({"embedding": ["x"]}), json!({"message": "no"})] {
        assert_eq!(gathered(&translation, &[(none.clone(), None), (answer(1.0, 1.into()), None)]), None, "{none}");
    }
    let many = |count: usize| json!({"model": "m", "input": vec!["a"; count]});
    assert_eq!(embedded(&to, &many(MOST_CALLS)).unwrap().0.len(), MOST_CALLS);
    assert!(embedded(&to, &many(MOST_CALLS + 1)).unwrap_err().contains("too many texts"));
    let first = embedded(&bedrock("amazon.titan-embed-text-v1"), &body).unwrap_err();
    assert!(first.contains("`dimensions` has no counterpart"), "{first}");
}

#[test]
fn what_was_answered_before_one_failed_is_counted() {
    let to = bedrock("amazon.titan-embed-text-v2:0");
    let (_, translation) = embedded(&to, &json!({"model": "m", "input": ["a", "b", "c"]})).unwrap();
    let mut gathering = translation.gathering().unwrap();
    assert_eq!((gathering.used(), gathering.held(), gathering.answer()), (None, 0, None));
    for at in [0, 2] {
        assert!(gathering.take(at, br#"{"embedding":[1.0,2.0],"inputTextTokenCount":5}"#, None));
    }
    assert!(!gathering.take(3, br#"{"embedding":[1.0,2.0],"inputTextTokenCount":5}"#, None));
    assert_eq!((input(gathering.used()), gathering.held(), gathering.answer()), (Some(10), 16, None));
}

#[test]
fn cohere_at_bedrock_takes_96_texts_and_tells_tokens_in_the_head() {
    let to = bedrock("global.cohere.embed-v4:0");
    let body = json!({"model": "m", "input": vec!["a"; 100], "dimensions": 512, "input_type": "search_query"});
    let (calls, translation) = embedded(&to, &body).unwrap();
    let counts: Vec<usize> = calls.iter().map(|call| call["texts"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [96, 4]);
    let mut last = calls[1].clone();
    last["texts"] = json!([]);
    assert_eq!(
        last,
        json!({"input_type": "search_query", "texts": [], "embedding_types": ["float"], "output_dimension": 512})
    );
    let answer = |count: usize| json!({"id": "x", "embeddings": {"float": vec![[0.25f32]; count]}});
    let (told, used) = gathered(&translation, &[(answer(96), Some(96)), (answer(4), Some(7))]).unwrap();
    assert_eq!((told["data"].as_array().unwrap().len(), &told["data"][99]["index"]), (100, &json!(99)));
    assert_eq!(input(used), Some(103));
    // Not as many vectors as texts.
    assert_eq!(gathered(&translation, &[(answer(96), None), (answer(3), None)]), None);
    let older = bedrock("cohere.embed-english-v3");
    assert!(embedded(&older, &body).unwrap_err().contains("`dimensions`"));
    let (calls, translation) = embedded(&older, &json!({"model": "m", "input": "a"})).unwrap();
    assert_eq!(calls[0]["input_type"], "search_document");
    let (told, used) = gathered(&translation, &[(json!({"embeddings": [[1.5]]}), None)]).unwrap();
    assert_eq!((&told["data"][0]["embedding"], used), (&json!([1.5]), None));
}

#[test]
fn nova_is_asked_for_one_text_at_a_time() {
    let to = bedrock("amazon.nova-2-multimodal-embeddings-v1:0");
    let (calls, translation) = embedded(&to, &json!({"model": "m", "input": ["a"], "dimensions": 384})).unwrap();
    assert_eq!(
        calls,
        [json!({"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {"embeddingPurpose": "GENERIC_INDEX",
            "embeddingDimension": 384, "text": {"truncationMode": "NONE", "value": "a"}}})]
    );
    let answer = json!({"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5]}]});
    let (told, used) = gathered(&translation, &[(answer, Some(1))]).unwrap();
    assert_eq!((&told["data"][0]["embedding"], input(used)), (&json!([0.5]), Some(1)));
}

#[test]
fn vertex_is_asked_as_its_model_takes_it() {
    let body = json!({"model": "m", "input": ["a", "b"], "dimensions": 256, "task_type": "RETRIEVAL_QUERY"});
    let instance = |text: &str| json!({"content": text, "task_type": "RETRIEVAL_QUERY"});
    let parameters = json!({"outputDimensionality": 256});
    let (calls, translation) = embedded(&vertex("text-embedding-005"), &body).unwrap();
    assert_eq!(calls, [json!({"instances": [instance("a"), instance("b")], "parameters": parameters})]);
    let one = |value: f32, tokens: u64| {
        json!({"embeddings": {"values": [value],
        "statistics": {"token_count": tokens, "truncated": false}}})
    };
    let answer = json!({"predictions": [one(0.5, 2), one(1.0, 3)], "metadata": {"billableCharacterCount": 2}});
    let (told, used) = gathered(&translation, &[(answer, None)]).unwrap();
    assert_eq!((&told["data"][1]["embedding"], input(used)), (&json!([1.0]), Some(5)));
    // One text a call.
    let (calls, translation) = embedded(&vertex("gemini-embedding-001"), &body).unwrap();
    assert_eq!(calls[1], json!({"instances": [instance("b")], "parameters": parameters}));
    let answers = [(json!({"predictions": [one(0.5, 2)]}), None), (json!({"predictions": [one(1.0, 3)]}), None)];
    assert_eq!(input(gathered(&translation, &answers).unwrap().1), Some(5));
    let (calls, translation) = embedded(&vertex("gemini-embedding-2"), &body).unwrap();
    let content = |text: &str| {
        json!({"content": {"parts": [{"text": text}]}, "taskType": "RETRIEVAL_QUERY",
        "outputDimensionality": 256})
    };
    assert_eq!(calls, [content("a"), content("b")]);
    let answer = json!({"embedding": {"values": [0.5]}, "usageMetadata": {"promptTokenCount": 3}});
    let (told, used) = gathered(&translation, &[(answer.clone(), None), (answer, None)]).unwrap();
    assert_eq!((&told["usage"]["prompt_tokens"], input(used)), (&json!(6), Some(6)));
    // As many as fit.
    let long = json!({"model": "m", "input": vec!["x".repeat(15_000); 3]});
    let (calls, _) = embedded(&vertex("text-embedding-005"), &long).unwrap();
    let counts: Vec<usize> = calls.iter().map(|call| call["instances"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [2, 1]);
    let (calls, _) =
        embedded(&vertex("text-embedding-005"), &json!({"model": "m", "input": vec!["x".repeat(60_000); 2]})).unwrap();
    assert_eq!(calls.len(), 2);
}

#[test]
fn ranking_at_bedrock() {
    let body =
        json!({"model": "m", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1, "return_documents": false});
    let (calls, translation) = asked(Task::Rerank, &bedrock("cohere.rerank-v3-5:0"), &body).unwrap();
    assert_eq!(calls, [json!({"query": "q", "documents": ["a", "b"], "top_n": 1, "api_version": 2})]);
    let answer = json!({"results": [{"index": 1, "relevance_score": 0.75}]});
    let (told, used) = gathered(&translation, &[(answer, Some(12))]).unwrap();
    assert_eq!(
        told,
        json!({"results": [{"index": 1, "relevance_score": 0.75}], "meta": {"billed_units": {"search_units": 1}}})
    );
    assert_eq!((used.unwrap().units.searches, input(used)), (1, Some(12)));
    for none in [json!({}), json!({"results": [{"index": 2, "relevance_score": 0.5}]})] {
        assert_eq!(gathered(&translation, &[(none, None)]), None);
    }
    let all = json!({"model": "m", "query": "q", "documents": vec!["a"; 101]});
    let (calls, translation) = asked(Task::Rerank, &bedrock("amazon.rerank-v1:0"), &all).unwrap();
    assert_eq!((&calls[0]["top_n"], &calls[0]["api_version"]), (&json!(101), &Value::Null));
    let none = json!({"results": []});
    assert_eq!(gathered(&translation, &[(none.clone(), None)]).unwrap().1.unwrap().units.searches, 2);
    // Long documents count as several.
    let long = json!({"model": "m", "query": "q", "documents": vec!["x".repeat(5_999); 50]});
    let (_, translation) = asked(Task::Rerank, &bedrock("amazon.rerank-v1:0"), &long).unwrap();
    assert_eq!(gathered(&translation, &[(none, None)]).unwrap().1.unwrap().units.searches, 2);
    for (more, why) in [
        (json!({"documents": []}), "`documents` is not what"),
        (json!({"documents": [7]}), "`documents` is not what"),
        (json!({"documents": [{"text": "a", "title": "b"}]}), "more than a text"),
        (json!({"documents": vec!["a"; 1001]}), "too many documents"),
        (json!({"query": null}), "`query` is not what"),
        (json!({"return_documents": true}), "`return_documents` has no counterpart"),
        (json!({"max_tokens_per_doc": 9}), "a field of the call has no counterpart"),
    ] {
        let mut body = body.clone();
        more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
        let told = asked(Task::Rerank, &bedrock("amazon.rerank-v1:0"), &body).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn ranking_at_google() {
    let to = To::new(Dialect::Gemini, "semantic-ranker-default@latest");
    let body = json!({"model": "m", "query": "q", "documents": ["a", "b"], "top_n": 2});
    let (calls, translation) = asked(Task::Rerank, &to, &body).unwrap();
    assert_eq!(
        calls,
        [json!({"model": "semantic-ranker-default@latest", "query": "q", "topN": 2,
            "ignoreRecordDetailsInResponse": true,
            "records": [{"id": "0", "content": "a"}, {"id": "1", "content": "b"}]})]
    );
    let answer = json!({"records": [{"id": "1", "score": 0.9}, {"id": "0", "score": 0.1}]});
    let (told, _) = gathered(&translation, &[(answer, None)]).unwrap();
    assert_eq!(told["results"][0], json!({"index": 1, "relevance_score": 0.9}));
    assert_eq!(gathered(&translation, &[(json!({"records": [{"id": "x", "score": 1}]}), None)]), None);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_taken(body in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200), numbers in "[\\[\\]{}\":,.0-9a-z]{0,60}") {
        let ranking = json!({"model": "m", "query": "q", "documents": ["a"]});
        for (task, to) in [
            (Task::Embeddings, GEMINI),
            (Task::Embeddings, vertex("text-embedding-005")),
            (Task::Embeddings, vertex("gemini-embedding-2")),
            (Task::Embeddings, bedrock("amazon.titan-embed-text-v2:0")),
            (Task::Embeddings, bedrock("amazon.nova-2-multimodal-embeddings-v1:0")),
            (Task::Embeddings, bedrock("cohere.embed-v4:0")),
            (Task::Rerank, bedrock("cohere.rerank-v3-5:0")),
            (Task::Rerank, GEMINI),
        ] {
            let _ = request(task, &body, &to);
            let call = if task == Task::Rerank { ranking.clone() } else { json!({"model": "m", "input": "a"}) };
            let (_, translation) = asked(task, &to, &call).unwrap();
            for answer in [&body[..], numbers.as_bytes()] {
                match translation.gathering() {
                    Some(mut gathering) => {
                        let taken = gathering.take(0, answer, Some(u64::MAX));
                        proptest::prop_assert_eq!(gathering.used().is_some(), taken);
                        let told = gathering.answer();
                        proptest::prop_assert!(told.is_none_or(|told| serde_json::from_slice::<Value>(&told).is_ok()));
                    }
                    None => drop(translation.whole(answer)),
                }
            }
        }
    }
}
