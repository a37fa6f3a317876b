//! Embeddings and ranking at clouds, which take few texts at once: what becomes several calls is one to its caller, to
//! budgets and to the record.

use crate::{bedrock::signed, harness::*};
use base64::{Engine, prelude::BASE64_STANDARD};
use credentialflow_gateway::ports::Lender;
use credentialflow_model::{
    OutcomeReason as R, UsageRecord,
    usage::{Cost, ModelUse, TriedEnd},
};
use credentialflow_policy::Account;
use credentialflow_sigv4::Payload;
use serde_json::{Value, json};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

const FIRST: &str = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SECOND: &str = "AKIDSECOND:aJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn yaml(upstream: &FakeUpstream) -> String {
    let url = upstream.url();
    let price = "prices: [{ from: 2020-01-01T00:00:00Z, input: '2', output: '0' }]";
    let search = "prices: [{ from: 2020-01-01T00:00:00Z, input: '0', output: '0', per_search: '0.002' }]";
    let models = [
        ("titan", format!("- {{ provider: aws, model: 'amazon.titan-embed-text-v2:0', {price} }}")),
        ("cohere", format!("- {{ provider: aws, model: 'eu.cohere.embed-v4:0', {price} }}")),
        ("late", format!("- {{ provider: aws, model: 'amazon.titan-embed-text-v2:0', timeout: 50ms, {price} }}")),
        (
            "pool",
            format!(
                "- {{ provider: aws, model: 'amazon.titan-embed-text-v2:0', credentials: [{{ name: c }}, {{ name: d, weight: 1 }}], {price} }}"
            ),
        ),
        (
            "spare",
            format!(
                "- {{ provider: aws, model: 'amazon.titan-embed-text-v2:0', {price} }}\n      - {{ provider: google, model: text-embedding-005, priority: 1, {price} }}"
            ),
        ),
        (
            "cohere-spare",
            format!(
                "- {{ provider: aws, model: 'eu.cohere.embed-v4:0', {price} }}\n      - {{ provider: google, model: text-embedding-005, priority: 1, {price} }}"
            ),
        ),
        ("google", format!("- {{ provider: google, model: gemini-embedding-001, {price} }}")),
        ("content", format!("- {{ provider: google, model: gemini-embedding-2, {price} }}")),
        ("ranks", format!("- {{ provider: aws, model: 'cohere.rerank-v3-5:0', {search} }}")),
        ("google-ranks", format!("- {{ provider: discovery, model: semantic-ranker-default@latest, {search} }}")),
        ("chats", "- { provider: aws, model: 'amazon.nova-lite-v1:0' }".to_owned()),
    ];
    let names: Vec<&str> = models.iter().map(|(name, _)| *name).collect();
    let models: String =
        models.iter().map(|(name, targets)| format!("  - name: {name}\n    targets:\n      {targets}\n")).collect();
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [{}] }}, budget: {{ usd: 5, per: month, hard: true }} }}
keys:
  - {{ name: k, application: app }}
credentials:
  - {{ name: c, engine: static }}
  - {{ name: d, engine: static }}
  - {{ name: g, engine: static }}
upstreams:
  - {{ name: aws, endpoints: [\"{url}\"], provider: bedrock, inject: {{ aws_sigv4: {{ credential: c, region: eu-central-1, service: bedrock }} }} }}
  - {{ name: google, endpoints: [\"{url}/v1/projects/p/locations/global/publishers/google\"], provider: vertex, inject: {{ bearer: g }} }}
  - {{ name: discovery, endpoints: [\"{url}/v1/projects/p/locations/global/rankingConfigs\"], provider: vertex-ranking, inject: {{ bearer: g }} }}
models:
{models}",
        names.join(", ")
    )
}

/// Lends whatever is asked for.
struct Rich;

impl Lender for Rich {
    fn borrow(&self, account: &Arc<Account>, amount: i64) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        account.want(amount);
        account.lend(account.wanted().0, 0);
        Box::pin(std::future::ready(true))
    }
    fn running_low(&self) {}
}

/// A vector that tells how long the text was; a token for each letter.
fn vector(text: &Value) -> Value {
    json!([text.as_str().unwrap().len(), -0.5])
}

fn letters(text: &Value) -> usize {
    text.as_str().unwrap().len()
}

/// The clouds, which answer as a text says, and how many calls were there at the same time.
async fn clouds() -> (FakeUpstream, Arc<AtomicUsize>) {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let upstream = FakeUpstream::start(move |mut peer| {
        let (now, most) = (now.clone(), seen.clone());
        async move {
            while let Some(request) = peer.request().await {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                let json_type = "content-type: application/json\r\n";
                let call: Value = serde_json::from_slice(&request.body).unwrap();
                let first_key = request.field("authorization").unwrap().contains("AKIDEXAMPLE");
                let told = match call["inputText"].as_str() {
                    Some("throttled") if first_key => {
                        let named = format!("{json_type}x-amzn-errortype: ThrottlingException\r\n");
                        Some(answer(429, &named, r#"{"message":"Too many requests."}"#))
                    }
                    Some("long") => {
                        let vector = vec!["-0.123456789"; 1_500_000].join(",");
                        Some(answer(200, json_type, &format!(r#"{{"embedding":[{vector}],"inputTextTokenCount":4}}"#)))
                    }
                    Some("strange") => Some(answer(200, json_type, r#"{"embedding":"none"}"#)),
                    Some("never") => {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                        None
                    }
                    Some(text @ ("reset" | "reset late")) => {
                        let late = if text == "reset" { 0 } else { 100 };
                        tokio::time::sleep(Duration::from_millis(late)).await;
                        now.fetch_sub(1, SeqCst);
                        return;
                    }
                    Some(_) => {
                        let text = &call["inputText"];
                        let body = json!({"embedding": vector(text), "inputTextTokenCount": letters(text)});
                        Some(answer(200, json_type, &body.to_string()))
                    }
                    None if call["texts"] == json!(["refused"]) || call["texts"] == json!(["gone"]) => {
                        // Behind the others.
                        tokio::time::sleep(Duration::from_millis(300)).await;
                        let status = if call["texts"][0] == "gone" { 429 } else { 400 };
                        Some(answer(status, json_type, r#"{"message":"No."}"#))
                    }
                    None => None,
                };
                let target = request.target().to_owned();
                let told = told.unwrap_or_else(|| match &target {
                    _ if call["texts"].is_array() => {
                        let texts = call["texts"].as_array().unwrap();
                        let vectors: Vec<Value> = texts.iter().map(vector).collect();
                        let counted = match texts[0] == "uncounted" {
                            true => json_type.to_owned(),
                            false => format!("{json_type}x-amzn-bedrock-input-token-count: {}\r\n", 2 * texts.len()),
                        };
                        answer(200, &counted, &json!({"embeddings": {"float": vectors}}).to_string())
                    }
                    _ if target.ends_with(":predict") => {
                        let texts = call["instances"].as_array().unwrap().iter().map(|one| &one["content"]);
                        let one = |text: &Value| {
                            json!({"embeddings": {"values": vector(text), "statistics": {"token_count": letters(text)}}})
                        };
                        answer(200, json_type, &json!({"predictions": texts.map(one).collect::<Vec<_>>()}).to_string())
                    }
                    _ if target.ends_with(":embedContent") => {
                        let text = &call["content"]["parts"][0]["text"];
                        let usage = json!({"promptTokenCount": letters(text)});
                        let body = json!({"embedding": {"values": vector(text)}, "usageMetadata": usage});
                        answer(200, json_type, &body.to_string())
                    }
                    _ if target.ends_with("rerank-v3-5%3A0/invoke") => {
                        answer(200, json_type, r#"{"results":[{"index":1,"relevance_score":0.75},{"index":0,"relevance_score":0.25}]}"#)
                    }
                    _ if target.ends_with("/default_ranking_config:rank") => {
                        answer(200, json_type, r#"{"records":[{"id":"1","score":0.75},{"id":"0","score":0.25}]}"#)
                    }
                    _ => answer(404, json_type, r#"{"error":{"code":404,"message":"no such model","status":"NOT_FOUND"}}"#),
                });
                now.fetch_sub(1, SeqCst);
                peer.send(told).await;
            }
        }
    })
    .await;
    (upstream, most)
}

fn setup(upstream: &FakeUpstream) -> World {
    planned(upstream).start()
}

fn planned(upstream: &FakeUpstream) -> Setup {
    let mut setup = Setup::new(yaml(upstream));
    setup.credentials = vec![("c", 1, FIRST), ("d", 1, SECOND), ("g", 1, SECRET)];
    setup.lender = Arc::new(Rich);
    setup.workers = 1;
    setup
}

async fn ask(world: &World, path: &str, body: Value) -> Message {
    world.ask(post(path, "content-type: application/json\r\nopenai-beta: x\r\n", &body.to_string())).await
}

async fn embed(world: &World, model: &str, input: &[&str]) -> Message {
    ask(world, "/v1/embeddings", json!({"model": model, "input": input})).await
}

fn parsed(answer: &Message) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// How long the texts were of which an answer has the vectors.
fn lengths(answer: &Message) -> Vec<u64> {
    let told = parsed(answer);
    told["data"].as_array().unwrap().iter().map(|one| one["embedding"][0].as_f64().unwrap() as u64).collect()
}

/// The model call of a record that ended so, when nothing is held any more.
async fn used(world: &World, outcome: R) -> ModelUse {
    let record: UsageRecord = world.outcome(outcome).await;
    assert!(record.credential.is_some() || !record.model.as_ref().unwrap().tried.is_empty(), "{record:?}");
    assert!(world.book.accounts().iter().all(|(account, _)| account.held() == 0));
    *record.model.unwrap()
}

fn usd(cost: &Option<Cost>) -> (bool, String) {
    match cost {
        Some(Cost::Known(usd)) => (true, usd.to_string()),
        Some(Cost::Estimated(usd)) => (false, usd.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn several_texts_at_titan_are_signed_each_and_come_back_as_one() {
    let (upstream, most) = clouds().await;
    let world = setup(&upstream);
    let texts: Vec<String> = (1..=30).map(|n| "x".repeat(n)).collect();
    let body = json!({"model": "titan", "input": texts, "dimensions": 256});
    let answered = ask(&world, "/v1/embeddings", body).await;
    assert_eq!(answered.status(), 200, "{}", answered.text());
    assert_eq!(lengths(&answered), (1..=30).collect::<Vec<u64>>());
    let told = parsed(&answered);
    assert_eq!((&told["usage"]["prompt_tokens"], &told["data"][29]["index"]), (&json!(465), &json!(29)));
    let sent = upstream.requests();
    assert_eq!(sent.len(), 30);
    for request in &sent {
        assert_eq!(request.first, "POST /model/amazon.titan-embed-text-v2%3A0/invoke HTTP/1.1");
        assert_eq!(request.field("authorization").unwrap(), signed(request, "bedrock", Payload::Bytes(&request.body)));
        assert_eq!((request.field("openai-beta"), request.field("content-type")), (None, Some("application/json")));
        let call: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(call["dimensions"], 256);
    }
    let most = most.load(SeqCst);
    assert!((2..=8).contains(&most), "{most} at the same time");
    let model = used(&world, R::Served).await;
    assert_eq!((model.tokens.unwrap().input, usd(&model.cost)), (465, (true, "0.00093".to_owned())));
    // As OpenAI's SDKs ask for them.
    let body = json!({"model": "titan", "input": "abc", "encoding_format": "base64"});
    let told = parsed(&ask(&world, "/v1/embeddings", body).await);
    let bytes = BASE64_STANDARD.decode(told["data"][0]["embedding"].as_str().unwrap()).unwrap();
    assert_eq!(bytes, [3f32.to_le_bytes(), (-0.5f32).to_le_bytes()].concat());
    used(&world, R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn what_heads_and_bodies_count_is_paid() {
    let (upstream, _) = clouds().await;
    let world = setup(&upstream);
    let texts = vec!["ab"; 100];
    for (model, calls, tokens, cost) in
        [("cohere", 2, 200, "0.0004"), ("google", 100, 200, "0.0004"), ("content", 100, 200, "0.0004")]
    {
        let before = upstream.requests().len();
        let answered = embed(&world, model, &texts).await;
        assert_eq!(answered.status(), 200, "{model}: {}", answered.text());
        assert_eq!(lengths(&answered), vec![2; 100], "{model}");
        let used = used(&world, R::Served).await;
        assert_eq!((used.tokens.unwrap().input, usd(&used.cost)), (tokens, (true, cost.to_owned())), "{model}");
        assert_eq!(upstream.requests().len() - before, calls, "{model}");
    }
    let sent = upstream.last();
    assert_eq!(
        sent.first,
        "POST /v1/projects/p/locations/global/publishers/google/models/gemini-embedding-2:embedContent HTTP/1.1"
    );
    assert_eq!(sent.field("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    world.done().await;
}

#[tokio::test]
async fn one_that_is_refused_refuses_all_and_what_was_answered_is_paid() {
    let (upstream, _) = clouds().await;
    let world = setup(&upstream);
    let answered = embed(&world, "titan", &["throttled"]).await;
    let error = &parsed(&answered)["error"];
    assert_eq!(
        (answered.status(), &error["message"], &error["code"]),
        (429, &json!("Too many requests."), &json!("ThrottlingException"))
    );
    let model = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((model.tokens, model.cost), (None, None));
    // Whatever was answered beside it is paid, and no more is asked for than was under way.
    let mut texts = vec!["throttled"];
    texts.extend(["abcd"; 40]);
    let before = upstream.requests().len();
    assert_eq!(embed(&world, "titan", &texts).await.status(), 429);
    let asked = upstream.requests().len() - before;
    let model = used(&world, R::Served).await;
    let (known, cost) = usd(&model.cost);
    assert!(asked < 41 && known, "{asked}");
    let paid = cost.parse::<f64>().unwrap() * 1e6;
    assert!((paid - 8.0 * (asked - 1) as f64).abs() < 1e-6, "{asked} {cost}");
    // One that is none, or never comes, may have been worked on.
    for (name, text, status, outcome) in [
        ("titan", "strange", 502, R::UpstreamMalformed),
        ("titan", "reset", 502, R::UpstreamReset),
        ("late", "never", 504, R::UpstreamTimeout),
    ] {
        let answered = embed(&world, name, &["a", text]).await;
        assert_eq!(answered.status(), status, "{text}: {}", answered.text());
        let (known, cost) = usd(&used(&world, outcome).await.cost);
        // All that was held: two dollars for a million bytes.
        assert!(!known && cost.parse::<f64>().unwrap() > 0.00005, "{text}: {cost}");
    }
    world.done().await;
}

/// The first that fails tells how the call ended, and others that failed behind it may be paid all the same.
#[tokio::test]
async fn each_that_may_have_been_worked_on_is_paid_where_several_fail() {
    let (upstream, _) = clouds().await;
    let world = setup(&upstream);
    let line = |text: &str| json!({"inputText": text}).to_string().len() as f64;
    for (texts, counted) in [(vec!["throttled", "reset late"], 0.0), (vec!["abcd", "throttled", "reset late"], 4.0)] {
        let answered = embed(&world, "titan", &texts).await;
        assert_eq!(answered.status(), 429, "{}", answered.text());
        let (known, cost) = usd(&used(&world, R::Served).await.cost);
        let tokens = cost.parse::<f64>().unwrap() * 5e5;
        // A token for each byte of it, as was reserved, beside what was counted; with room for what the line holds besides.
        let reset = tokens - counted;
        assert!(!known && (line("reset late")..line("reset late") + 60.0).contains(&reset), "{texts:?}: {tokens}");
    }
    world.done().await;
}

#[tokio::test]
async fn what_was_answered_and_not_counted_is_paid_as_an_estimate() {
    let (upstream, _) = clouds().await;
    let world = setup(&upstream);
    let mut texts = vec!["uncounted"; 96];
    for (model, last, status) in [("cohere", "refused", 400), ("cohere", "gone", 429), ("cohere-spare", "gone", 200)] {
        texts.push(last);
        let before = upstream.requests().len();
        let answered = embed(&world, model, &texts).await;
        assert_eq!(answered.status(), status, "{}", answered.text());
        let sent = upstream.requests();
        let first = sent[before..].iter().find(|r| !r.text().contains(last)).unwrap();
        // A token for three bytes of the first call, and where another cloud served one for each letter there.
        let served = if status == 200 { 96 * 9 + 4 } else { 0 };
        let expected = (first.body.len() as u64).div_ceil(3) + served;
        let model = used(&world, R::Served).await;
        let (known, cost) = usd(&model.cost);
        assert!(!known, "{last}");
        assert_eq!((cost.parse::<f64>().unwrap() * 5e5).round() as u64, expected, "{last}: {cost}");
        texts.pop();
    }
    world.done().await;
}

#[tokio::test]
async fn what_was_put_together_may_be_larger_than_one_answer() {
    let (upstream, _) = clouds().await;
    let world = setup(&upstream);
    let answered = embed(&world, "titan", &["long", "long"]).await;
    assert_eq!(answered.status(), 200, "{}", answered.text());
    assert!(answered.body.len() > 33 << 20, "{}", answered.body.len());
    used(&world, R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn who_reads_slowly_has_all_of_a_large_answer_and_its_memory_counts_until_then() {
    let (upstream, _) = clouds().await;
    let mut setup = planned(&upstream);
    setup.settings.body_timeout = Duration::from_secs(2);
    let world = setup.start();
    let body = json!({"model": "titan", "input": ["long", "long"]}).to_string();
    let asked = post("/v1/embeddings", "content-type: application/json\r\n", &body);
    let mut wire = world.connect().await;
    wire.send(&asked).await.unwrap();
    let head = within(wire.head()).await.unwrap();
    let length: usize = head.field("content-length").unwrap().parse().unwrap();
    assert!(head.status() == 200 && length > 33 << 20, "{length}");
    // More than twice the time that a caller may refuse to read.
    let mut read = 0;
    while read < length {
        let now = (length - read).min(1 << 20);
        assert!(within(wire.take(now, &mut Vec::new())).await, "cut off after {read} of {length}");
        read += now;
        if read < length / 2 {
            assert!(world.gateway.memory().0 >= length as u64, "{} held", world.gateway.memory().0);
        }
        tokio::time::sleep(Duration::from_millis(140)).await;
    }
    assert_eq!(world.outcome(R::Served).await.bytes_out, length as u64);
    until(|| world.gateway.memory().0 == 0).await;
    // Who reads nothing is given up.
    wire.send(&asked).await.unwrap();
    let record = world.outcome(R::CallerClosed).await;
    assert!(record.bytes_out < length as u64, "{}", record.bytes_out);
    until(|| world.gateway.memory().0 == 0).await;
    world.done().await;
}

#[tokio::test]
async fn who_reads_a_large_answer_for_too_long_is_given_up() {
    let (upstream, _) = clouds().await;
    let mut setup = planned(&upstream);
    // Six seconds for all of it: five times 8 MiB are begun.
    setup.settings.body_timeout = Duration::from_secs(1);
    let world = setup.start();
    let body = json!({"model": "titan", "input": ["long", "long"]}).to_string();
    let mut wire = world.connect().await;
    wire.send(&post("/v1/embeddings", "content-type: application/json\r\n", &body)).await.unwrap();
    let head = within(wire.head()).await.unwrap();
    let length: usize = head.field("content-length").unwrap().parse().unwrap();
    // More than thirteen seconds, and each piece is read in a tenth of one.
    let mut read = 0;
    while read < length && within(wire.take((length - read).min(1 << 20), &mut Vec::new())).await {
        read += 1 << 20;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert!(read < length, "all of it was read");
    let record = world.outcome(R::CallerClosed).await;
    assert!(record.bytes_out > 4 << 20 && record.bytes_out < length as u64, "{}", record.bytes_out);
    until(|| world.gateway.memory().0 == 0).await;
    world.done().await;
}

#[tokio::test]
async fn another_credential_is_asked_only_for_what_is_missing() {
    let (upstream, _) = clouds().await;
    let world = setup(&upstream);
    let mut texts = vec!["ab"; 11];
    texts.push("throttled");
    // Until the first of the pool has its turn.
    for _ in 0..20 {
        let before = upstream.requests().len();
        let answered = embed(&world, "pool", &texts).await;
        assert_eq!(answered.status(), 200, "{}", answered.text());
        let model = used(&world, R::Served).await;
        assert_eq!((model.tokens.unwrap().input, usd(&model.cost)), (31, (true, "0.000062".to_owned())));
        if let [tried] = &model.tried[..] {
            assert_eq!(tried.end, TriedEnd::Status(429));
            assert_eq!(upstream.requests().len() - before, 13);
            return world.done().await;
        }
    }
    panic!("the first credential had no turn");
}

#[tokio::test]
async fn another_cloud_serves_and_what_the_first_answered_is_paid_too() {
    let (upstream, _) = clouds().await;
    let world = setup(&upstream);
    let answered = embed(&world, "spare", &["throttled", "abcd"]).await;
    assert_eq!((answered.status(), lengths(&answered)), (200, vec![9, 4]));
    let model = used(&world, R::Served).await;
    assert_eq!((&*model.provider, model.tokens.unwrap().input, model.tried.len()), ("google", 13, 1));
    // Four tokens there, thirteen here.
    assert_eq!(usd(&model.cost), (false, "0.000034".to_owned()));
    world.done().await;
}

#[tokio::test]
async fn ranking_comes_in_coheres_form() {
    let (upstream, _) = clouds().await;
    let world = setup(&upstream);
    for model in ["ranks", "google-ranks"] {
        let body = json!({"model": model, "query": "q", "documents": ["a", {"text": "b"}], "top_n": 2});
        let answered = ask(&world, "/v2/rerank", body).await;
        assert_eq!(answered.status(), 200, "{}", answered.text());
        assert_eq!(
            parsed(&answered),
            json!({"results": [{"index": 1, "relevance_score": 0.75}, {"index": 0, "relevance_score": 0.25}],
                "meta": {"billed_units": {"search_units": 1}}})
        );
        let used = used(&world, R::Served).await;
        assert_eq!(usd(&used.cost), (true, "0.002".to_owned()));
    }
    let sent = upstream.last();
    assert_eq!(sent.target(), "/v1/projects/p/locations/global/rankingConfigs/default_ranking_config:rank");
    let call: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(call["records"][1], json!({"id": "1", "content": "b"}));
    world.done().await;
}

#[tokio::test]
async fn what_they_do_not_offer_is_refused() {
    let (upstream, _) = clouds().await;
    let world = setup(&upstream);
    let google = json!({"content": {"parts": [{"text": "a"}]}});
    for (path, body, why) in [
        ("/v1/embeddings", json!({"model": "chats", "input": "a"}), "offers embeddings"),
        ("/v1/embeddings", json!({"model": "ranks", "input": "a"}), "offers embeddings"),
        ("/v1/rerank", json!({"model": "titan", "query": "q", "documents": ["a"]}), "offers rerank"),
        ("/v1/embeddings", json!({"model": "titan", "input": [1, 2]}), "in tokens has no counterpart"),
        ("/v1/embeddings", json!({"model": "titan", "input": vec!["a"; 600]}), "too many texts"),
        ("/v1beta/models/google:embedContent", google, "offers embeddings"),
    ] {
        let answered = ask(&world, path, body).await;
        assert_eq!(answered.status(), 400, "{}", answered.text());
        assert!(answered.text().contains(why), "{}", answered.text());
        world.outcome(R::InvalidModelCall).await;
    }
    assert!(upstream.requests().is_empty());
    world.done().await;
}
