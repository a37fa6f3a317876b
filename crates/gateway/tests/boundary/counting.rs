//! Counting tokens: a caller of any dialect is told by whatever provider counts, for nothing, and elsewhere where one does
//! not.

use crate::harness::*;
use credentialflow_model::{
    OutcomeReason as R,
    usage::{Cost, TriedEnd},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// The models, each with the one provider that serves it.
const MODELS: [&str; 8] = ["claude", "vertex-claude", "gpt", "azure", "gem", "vertex-gem", "aws", "chats"];
const PROFILE: &str = "eu.anthropic.claude-x-v1:0";

/// Providers on one address, told apart by the first part of their paths.
struct Vendors {
    upstream: FakeUpstream,
    /// The status with which each answers; 200 unless told.
    how: Arc<Mutex<BTreeMap<String, u16>>>,
}

impl Vendors {
    async fn start() -> Self {
        let how: Arc<Mutex<BTreeMap<String, u16>>> = Arc::default();
        let told = how.clone();
        let upstream = FakeUpstream::start(move |mut peer| {
            let told = told.clone();
            async move {
                while let Some(request) = peer.request().await {
                    let vendor = request.target().split('/').nth(1).unwrap_or_default().to_owned();
                    let status = told.lock().unwrap().get(&vendor).copied().unwrap_or(200);
                    let body = match vendor.as_str() {
                        _ if status != 200 => json!({"error": {"message": format!("no from {vendor}")}}),
                        "ant" | "vertex-ant" => json!({"input_tokens": 41}),
                        "oai" | "azure" => json!({"object": "response.input_tokens", "input_tokens": 42}),
                        "goo" | "vertex-goo" => json!({"totalTokens": 43, "promptTokensDetails": []}),
                        "aws" => json!({"inputTokens": 44}),
                        other => panic!("{other}"),
                    };
                    peer.send(answer(status, "content-type: application/json\r\n", &body.to_string())).await;
                }
            }
        })
        .await;
        Self { upstream, how }
    }

    fn set(&self, vendor: &str, status: u16) {
        self.how.lock().unwrap().insert(vendor.to_owned(), status);
    }

    fn asked(&self) -> Vec<String> {
        self.upstream.requests().iter().map(|r| r.target().split('/').nth(1).unwrap().to_owned()).collect()
    }

    /// `app` stands in the application, `model` in each model; `more` are more models.
    fn world(&self, app: &str, model: &str, more: &str) -> World {
        let url = self.upstream.url();
        let served = [
            ("ant", "anthropic", "claude-real"),
            ("vertex-ant", "vertex-anthropic", "claude-real@1"),
            ("oai", "openai", "gpt-real"),
            ("azure", "azure-openai", "deployment"),
            ("goo", "gemini", "gem-real"),
            ("vertex-goo", "vertex", "gem-real"),
            ("aws", "bedrock", PROFILE),
            ("chats", "openai-chat", "real"),
        ];
        let health = "health: { failures: 1, cooldown: 1h }";
        let upstreams: String = served
            .iter()
            .map(|(name, provider, _)| {
                format!("  - {{ name: {name}, endpoints: [\"{url}/{name}/v1\"], provider: {provider}, {health} }}\n")
            })
            .collect();
        let models: String = MODELS
            .iter()
            .zip(served)
            .map(|(model_name, (upstream, _, real))| {
                let target = format!("{{ provider: {upstream}, model: \"{real}\", credential: c }}");
                format!("  - {{ name: {model_name}, targets: [{target}]{model} }}\n")
            })
            .collect();
        let names = MODELS.join(", ");
        let mut setup = Setup::new(format!(
            "applications:
  - {{ name: app, allow: {{ models: [{names}, pair] }}{app} }}
keys:
  - {{ name: k, application: app }}
credentials:
  - {{ name: c, engine: static }}
upstreams:
{upstreams}models:
{models}  - {{ name: hidden, targets: [{{ provider: ant, model: m, credential: c }}] }}
{more}"
        ));
        // What fails is remembered by each worker.
        setup.workers = 1;
        setup.start()
    }
}

/// The same call as callers of each dialect have it counted: where, and its body.
fn callers(model: &str) -> [(&'static str, String, Value); 4] {
    let contents = json!([{"role": "user", "parts": [{"text": "Hello"}]}]);
    let system = json!({"parts": [{"text": "Be brief."}]});
    let whole = json!({"model": format!("models/{model}"), "contents": contents, "systemInstruction": system});
    let gemini = format!("/v1beta/models/{model}:countTokens");
    [
        (
            "messages",
            "/v1/messages/count_tokens".into(),
            json!({"model": model, "system": "Be brief.", "messages": [{"role": "user", "content": "Hello"}]}),
        ),
        (
            "responses",
            "/v1/responses/input_tokens".into(),
            json!({"model": model, "instructions": "Be brief.", "input": "Hello"}),
        ),
        ("gemini", gemini.clone(), json!({"contents": contents, "systemInstruction": system})),
        ("gemini", gemini, json!({ "generateContentRequest": whole })),
    ]
}

fn told(dialect: &str, tokens: u64) -> Value {
    match dialect {
        "messages" => json!({ "input_tokens": tokens }),
        "responses" => json!({"object": "response.input_tokens", "input_tokens": tokens}),
        _ => json!({ "totalTokens": tokens }),
    }
}

async fn ask(world: &World, path: &str, body: &Value) -> Message {
    world.ask(post(path, "content-type: application/json\r\n", &body.to_string())).await
}

fn read(message: &Message) -> Value {
    serde_json::from_slice(&message.body).unwrap()
}

#[tokio::test]
async fn every_caller_is_told_by_every_provider_that_counts_and_pays_nothing() {
    let vendors = Vendors::start().await;
    // Nobody lends anything: a call that costs could not be made.
    let world = vendors.world(", budget: { usd: 1, per: month, hard: true }", "", "");
    for (model, dialect, path, tokens) in [
        ("claude", "messages", "/ant/v1/messages/count_tokens", 41),
        ("vertex-claude", "messages", "/vertex-ant/v1/models/count-tokens:rawPredict", 41),
        ("gpt", "responses", "/oai/v1/responses/input_tokens", 42),
        ("azure", "responses", "/azure/v1/responses/input_tokens", 42),
        ("gem", "gemini", "/goo/v1/models/gem-real:countTokens", 43),
        ("vertex-gem", "gemini", "/vertex-goo/v1/models/gem-real:countTokens", 43),
        ("aws", "", "/aws/v1/model/anthropic.claude-x-v1%3A0/count-tokens", 44),
    ] {
        for (caller, at, body) in callers(model) {
            let answered = ask(&world, &at, &body).await;
            assert_eq!(answered.status(), 200, "{caller} at {model}: {}", answered.text());
            let passes = caller == dialect;
            match (passes, caller) {
                // As it came.
                (true, "gemini") => assert_eq!(read(&answered), json!({"totalTokens": 43, "promptTokensDetails": []})),
                _ => assert_eq!(read(&answered), told(caller, tokens), "{caller} at {model}"),
            }
            let sent = vendors.upstream.last();
            assert_eq!(sent.target(), path, "{caller}");
            let said: Value = serde_json::from_slice(&sent.body).unwrap();
            let text = sent.body.windows(5).filter(|w| w == b"Hello").count();
            assert!(text == 1 && said.to_string().contains("Be brief."), "{said}");
            assert!(!said.to_string().contains("max_tokens") && !said.to_string().contains(&format!("\"{model}\"")));
            assert_eq!(said.get("anthropic_version").is_some(), model == "vertex-claude", "{said}");
            let record = world.outcome(R::Served).await;
            let used = record.model.as_ref().unwrap();
            assert_eq!((used.tokens, used.cost), (None, Some(Cost::Known(Default::default()))), "{caller} at {model}");
            assert_eq!(used.budgets, None);
        }
    }
    for account in world.book.live() {
        assert_eq!(account.account(std::time::SystemTime::now().into()).held(), 0);
    }
    let chat = json!({"model": "gpt", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]});
    assert_ne!(ask(&world, "/v1/chat/completions", &chat).await.status(), 200, "the budget cannot pay");
    world.record().await;
    world.done().await;
}

#[tokio::test]
async fn who_cannot_count_says_so_in_the_callers_dialect() {
    let vendors = Vendors::start().await;
    let world = vendors.world("", "", "");
    for (caller, at, body) in callers("chats") {
        let refused = ask(&world, &at, &body).await;
        assert_eq!(refused.status(), 400);
        let error = read(&refused);
        let (message, of_dialect) = match caller {
            "messages" => (&error["error"]["message"], error["type"] == "error"),
            "responses" => (&error["error"]["message"], error["error"]["code"] == R::InvalidModelCall.code()),
            _ => (&error["error"]["message"], error["error"]["status"] == "INVALID_ARGUMENT"),
        };
        assert!(of_dialect && message.as_str().unwrap().contains("counts tokens"), "{error}");
        world.outcome(R::InvalidModelCall).await;
    }
    // What cannot be said there cannot be counted there.
    let body = json!({"model": "aws", "messages": [{"role": "user", "content": [
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]}]});
    let refused = ask(&world, "/v1/messages/count_tokens", &body).await;
    assert!(refused.status() == 400 && refused.text().contains("Converse API"), "{}", refused.text());
    world.outcome(R::InvalidModelCall).await;
    // And what somebody else keeps is not known to all of them.
    let kept = json!({"model": "claude", "previous_response_id": "resp_1", "input": "Hello"});
    assert_eq!(ask(&world, "/v1/responses/input_tokens", &kept).await.status(), 400);
    world.outcome(R::InvalidModelCall).await;
    assert!(vendors.upstream.requests().is_empty());
    // The provider's own error, in the caller's form.
    vendors.set("aws", 429);
    for (caller, at, body) in callers("aws") {
        let busy = ask(&world, &at, &body).await;
        assert_eq!(busy.status(), 429, "{}", busy.text());
        let word = match caller {
            "messages" => json!("rate_limit_error"),
            "gemini" => json!("RESOURCE_EXHAUSTED"),
            _ => Value::Null,
        };
        let error = read(&busy);
        let told = [&error["error"]["type"], &error["error"]["status"]];
        assert!(word.is_null() || told.contains(&&word), "{error}");
        world.outcome(R::Served).await;
    }
    world.done().await;
}

#[tokio::test]
async fn lists_limits_and_guardrails_hold_for_it() {
    let vendors = Vendors::start().await;
    let rules = ", guardrails: [{ detect: words, action: block, words: [project falcon] }, { detect: personal_data, action: redact, kinds: [email] }]";
    let world = vendors.world(", limit: { requests: 10, per: 1h }", rules, "");
    for (caller, at, body) in callers("hidden") {
        assert_eq!(ask(&world, &at, &body).await.status(), 404, "{caller}");
        world.outcome(R::ModelNotFound).await;
    }
    // Each of these counts as a request, refused or not.
    let mut outcomes = Vec::new();
    for says in ["tell of project falcon", "write to jo@example.com"] {
        for (caller, at, body) in callers("aws") {
            let body: Value = serde_json::from_str(&body.to_string().replace("Hello", says)).unwrap();
            let answered = ask(&world, &at, &body).await;
            let record = world.record().await;
            if record.outcome == R::Served {
                let sent = String::from_utf8(vendors.upstream.last().body).unwrap();
                assert!(!sent.contains("jo@example.com") && sent.contains("write to"), "{caller}: {sent}");
            }
            outcomes.push((answered.status(), record.outcome));
        }
    }
    assert_eq!(outcomes[..4], [(400, R::PromptBlocked); 4]);
    let (served, limited) = ((200, R::Served), (429, R::RateLimited));
    assert_eq!(outcomes[4..], [served, served, limited, limited]);
    world.done().await;
}

#[tokio::test]
async fn the_next_that_counts_is_asked_where_one_does_not() {
    let vendors = Vendors::start().await;
    let target = |provider: &str, model: &str, priority: u8| {
        format!("{{ provider: {provider}, model: \"{model}\", credential: c, priority: {priority} }}")
    };
    let pair =
        [target("chats", "real", 0), target("oai", "gpt-real", 1), target("aws", PROFILE, 2), target("ant", "m", 3)];
    let more = format!("  - {{ name: pair, targets: [{}] }}\n", pair.join(", "));
    let world = vendors.world("", "", &more);
    vendors.set("oai", 404);
    vendors.set("aws", 400);
    for (round, (caller, at, body)) in callers("pair").into_iter().enumerate() {
        let answered = ask(&world, &at, &body).await;
        assert_eq!((answered.status(), read(&answered)), (200, told(caller, 41)), "{caller}");
        let record = world.outcome(R::Served).await;
        let tried: Vec<_> = record.model.as_ref().unwrap().tried.iter().map(|one| one.end).collect();
        assert_eq!(tried, [TriedEnd::Status(404), TriedEnd::Status(400)]);
        // One failure would be enough to leave a target alone: not to be able to count is none.
        assert_eq!(vendors.asked()[round * 3..], ["oai", "aws", "ant"]);
    }
    // Who is the last is told as it is.
    vendors.set("ant", 404);
    for (caller, at, body) in callers("pair") {
        let answered = ask(&world, &at, &body).await;
        assert!(answered.status() == 404 && answered.text().contains("no from ant"), "{caller}: {}", answered.text());
        world.outcome(R::Served).await;
    }
    // A call that is wrong in itself is told at once, and only Bedrock's may mean the model.
    vendors.set("oai", 400);
    let before = vendors.asked().len();
    let (_, at, body) = &callers("pair")[0];
    assert_eq!(ask(&world, at, body).await.status(), 400);
    world.outcome(R::Served).await;
    assert_eq!(vendors.asked()[before..], ["oai"]);
    // What fails otherwise is remembered, as ever.
    vendors.set("oai", 503);
    vendors.set("ant", 200);
    for _ in 0..2 {
        assert_eq!(ask(&world, at, body).await.status(), 200);
        world.outcome(R::Served).await;
    }
    assert_eq!(vendors.asked()[before + 1..], ["oai", "aws", "ant", "aws", "ant"]);
    world.done().await;
}

#[tokio::test]
async fn only_an_answer_with_a_count_is_one() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let body = if request.target().starts_with("/page") { "<html>" } else { r#"{"totalTokens":7}"# };
            peer.send(answer(200, "content-type: application/json\r\n", body)).await;
        }
    })
    .await;
    let url = upstream.url();
    let world = Setup::new(format!(
        "applications:
  - {{ name: app, allow: {{ models: [page, other] }} }}
keys:
  - {{ name: k, application: app }}
upstreams:
  - {{ name: pages, endpoints: [\"{url}/page\"], provider: openai }}
  - {{ name: others, endpoints: [\"{url}/other\"], provider: bedrock }}
models:
  - {{ name: page, targets: [{{ provider: pages, model: m }}] }}
  - {{ name: other, targets: [{{ provider: others, model: m }}] }}
"
    ))
    .start();
    for model in ["page", "other"] {
        let (_, at, body) = &callers(model)[0];
        let answered = ask(&world, at, body).await;
        assert_eq!(answered.status(), 502, "{}", answered.text());
        world.outcome(R::UpstreamMalformed).await;
    }
    world.done().await;
}
