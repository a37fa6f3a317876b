//! Answers that are given again: to whom, for how long, in which form, and what is never kept. The provider counts its
//! answers in what it says, so an answer from the cache is known by its words.

use crate::harness::*;
use credentialflow_model::{
    OutcomeReason as R, UsageRecord,
    usage::{CacheUse, Cost},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

const PRICES: &str = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', output: '2' }]";

fn yaml(upstream: &FakeUpstream) -> String {
    let scopes = ["key", "user", "application", "team", "tenant"];
    let model = |name: &str, provider: &str, more: &str| {
        format!("  - {{ name: {name}, targets: [{{ provider: {provider}, model: real, {PRICES} }}], {more} }}\n")
    };
    let mut models: String =
        scopes.iter().map(|scope| model(scope, "chats", &format!("cache: {{ scope: {scope} }}"))).collect();
    models += &model("messages", "messages", "cache: {}");
    models += &model("brief", "chats", "cache: { ttl: 1s }");
    models += &model("small", "chats", "cache: { max_entry: 1KiB }");
    models += &model("varied", "chats", "cache: { headers: [x-tenant] }");
    models += &model("plain", "chats", "description: keeps nothing");
    models += &model(
        "guarded",
        "chats",
        "cache: {}, guardrails: [{ detect: personal_data, action: mask }, { detect: words, action: flag, words: [weather], on: both }]",
    );
    let all = "key, user, application, team, tenant, messages, brief, small, varied, plain, guarded";
    format!(
        "teams: [{{ name: t }}]
applications:
  - {{ name: app, team: t, allow: {{ models: [{all}] }}, users: {{ header: x-user }} }}
  - {{ name: mate, team: t, allow: {{ models: [{all}] }} }}
  - {{ name: poor, allow: {{ models: [{all}] }}, budget: {{ usd: \"1\", per: month, hard: true }} }}
  - {{ name: stranger, allow: {{ models: [plain] }} }}
keys:
  - {{ name: k, application: app }}
  - {{ name: k2, application: app }}
  - {{ name: m, application: mate }}
  - {{ name: p, application: poor }}
  - {{ name: s, application: stranger }}
upstreams:
  - {{ name: chats, endpoints: [\"{0}/v1\"], provider: openai-chat, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: messages, endpoints: [\"{0}/v1\"], provider: anthropic, timeouts: {{ response: 60s, idle: 60s }} }}
models:
{models}",
        upstream.url()
    )
}

/// Says how many calls came before, and does what the last message asks: fail, hang, be cut off, or be long.
async fn counting() -> (FakeUpstream, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let upstream = FakeUpstream::start(move |mut peer| {
        let calls = counted.clone();
        async move {
            while let Some(request) = peer.request().await {
                let n = calls.fetch_add(1, SeqCst);
                let call: Value = serde_json::from_slice(&request.body).unwrap();
                let asked = call["messages"].as_array().unwrap().last().unwrap()["content"].to_string();
                let is_chat = request.target() == "/v1/chat/completions";
                let said = format!("answer {n} {}", if asked.contains("long") { "x".repeat(2000) } else { String::new() });
                let end = if asked.contains("withheld") { "content_filter" } else { "stop" };
                if asked.contains("fail") {
                    peer.send(answer(500, "content-type: application/json\r\n", r#"{"error":{"message":"no"}}"#)).await;
                } else if call["stream"] != true {
                    let body = match is_chat {
                        true => json!({"id": "1", "object": "chat.completion", "model": "real", "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
                            "choices": [{"index": 0, "finish_reason": end, "message": {"role": "assistant", "content": said}}]}),
                        false => json!({"id": "1", "type": "message", "role": "assistant", "model": "real", "stop_reason": "end_turn",
                            "content": [{"type": "text", "text": said}], "usage": {"input_tokens": 1000, "output_tokens": 500}}),
                    };
                    peer.send(answer(200, "content-type: application/json\r\nset-cookie: a=b\r\n", &body.to_string())).await;
                } else {
                    let chunk = |value: Value| format!("data: {value}\n\n");
                    let mut events = chunk(json!({"id": "1", "object": "chat.completion.chunk", "model": "real", "choices": [{"index": 0, "delta": {"role": "assistant", "content": said}, "finish_reason": null}]}));
                    if !asked.contains("cut") {
                        events += &chunk(json!({"id": "1", "object": "chat.completion.chunk", "model": "real", "choices": [{"index": 0, "delta": {}, "finish_reason": end}]}));
                        events += &chunk(json!({"id": "1", "object": "chat.completion.chunk", "model": "real", "choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}}));
                        events += "data: [DONE]\n\n";
                    }
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
                    peer.send(format!("{head}{events}")).await;
                    return;
                }
            }
        }
    })
    .await;
    (upstream, calls)
}

struct Asking<'w> {
    world: &'w World,
    key: &'static str,
    head: &'static str,
}

impl Asking<'_> {
    async fn send(&self, path: &str, body: &str) -> Message {
        let head = format!("POST {path} HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n{}", body.len(), self.head);
        let key = key(self.key);
        self.world
            .ask(format!("{head}authorization: Bearer {key}\r\ncontent-type: application/json\r\n\r\n{body}"))
            .await
    }

    async fn chat(&self, model: &str, text: &str) -> Message {
        let body = json!({"model": model, "messages": [{"role": "user", "content": text}]}).to_string();
        self.send("/v1/chat/completions", &body).await
    }

    async fn stream(&self, model: &str, text: &str) -> Message {
        let body = json!({"model": model, "stream": true, "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": text}]});
        self.send("/v1/chat/completions", &body.to_string()).await
    }
}

fn by<'w>(world: &'w World, key: &'static str) -> Asking<'w> {
    Asking { world, key, head: "" }
}

/// What a call and its record say: the words, and what the cache did.
async fn told(world: &World, message: Message) -> (String, UsageRecord) {
    let text = message.text();
    let at = text.find("answer ").unwrap_or_else(|| panic!("{text}"));
    let word = text[at..].split(['"', '\\']).next().unwrap().trim().to_owned();
    let record = world.outcome(R::Served).await;
    let told = message.field("cache-status").unwrap_or_default().to_owned();
    let expect = match record.model.as_ref().unwrap().cache {
        None => "",
        Some(CacheUse::Hit) => "credentialflow; hit; ttl=",
        Some(CacheUse::Similar) => "credentialflow; hit; detail=similar; ttl=",
        Some(CacheUse::Miss) => "credentialflow; fwd=uri-miss",
        Some(CacheUse::Refresh) => "credentialflow; fwd=request",
        Some(CacheUse::Bypass) => "credentialflow; fwd=bypass",
    };
    assert!(told.starts_with(expect) && told.is_empty() == expect.is_empty(), "{told}: {record:?}");
    (word, record)
}

/// The same, shorter: the words, and what the cache did.
async fn did(world: &World, message: Message) -> (String, Option<CacheUse>) {
    let (word, record) = told(world, message).await;
    (word, record.model.unwrap().cache)
}

fn setup(upstream: &FakeUpstream) -> World {
    let mut setup = Setup::new(yaml(upstream));
    setup.credentials = vec![];
    setup.start()
}

fn is(n: usize, cache: impl Into<Option<CacheUse>>) -> (String, Option<CacheUse>) {
    (format!("answer {n}"), cache.into())
}

#[tokio::test]
async fn the_same_call_is_answered_once_and_costs_once() {
    let (upstream, calls) = counting().await;
    let world = setup(&upstream);
    let app = by(&world, "k");
    let first = app.chat("application", "hi").await;
    let body = first.body.clone();
    let (word, record) = told(&world, first).await;
    let used = record.model.unwrap();
    assert_eq!((word.as_str(), used.cache, used.saved), ("answer 0", Some(CacheUse::Miss), None));
    assert_eq!(used.cost, Some(Cost::Known("0.002".parse().unwrap())));

    let other = r#" { "user": "ada", "messages" : [ { "content":"hi", "role":"user" } ], "model":"application" } "#;
    let again = by(&world, "k2").send("/v1/chat/completions", other).await;
    assert_eq!(again.body, body, "byte for byte");
    assert_eq!((again.field("content-type"), again.field("age")), (Some("application/json"), Some("0")));
    assert_eq!((again.status(), again.field("set-cookie")), (200, None));
    assert!(again.field("x-request-id").is_some());
    let (_, record) = told(&world, again).await;
    assert_eq!((record.upstream, record.endpoint, record.credential), (None, None, None));
    assert_eq!((record.upstream_status, record.attempts, record.status), (0, 0, 200));
    let used = record.model.unwrap();
    assert_eq!((used.cache, used.tokens), (Some(CacheUse::Hit), None));
    assert_eq!((used.cost, used.saved), (Some(Cost::Known(0.into())), Some("0.002".parse().unwrap())));

    // Whoever says anything else is not the same, and neither is who asks in another dialect, or a model without a cache.
    assert_eq!(did(&world, app.chat("application", "hi!").await).await, is(1, CacheUse::Miss));
    let seeded = r#"{"model":"application","seed":7,"messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(did(&world, app.send("/v1/chat/completions", seeded).await).await, is(2, CacheUse::Miss));
    let message = r#"{"model":"application","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(did(&world, app.send("/v1/messages", message).await).await, is(3, CacheUse::Miss));
    assert_eq!(did(&world, app.send("/v1/messages", message).await).await, is(3, CacheUse::Hit));
    assert_eq!(did(&world, app.chat("plain", "hi").await).await, is(4, None));
    assert_eq!(did(&world, app.chat("plain", "hi").await).await, is(5, None));
    assert_eq!(calls.load(SeqCst), 6);
    world.done().await;
}

#[tokio::test]
async fn nobody_gets_an_answer_beyond_the_scope() {
    let (upstream, _) = counting().await;
    let world = setup(&upstream);
    let user = |key, head| Asking { world: &world, key, head };
    let mut n = 0;
    // Who asks in turn, and whose answer is known to whom.
    for (scope, shared) in [
        ("key", [false, false, false]),
        ("application", [true, false, false]),
        ("team", [true, true, false]),
        ("tenant", [true, true, true]),
    ] {
        let first = n;
        assert_eq!(did(&world, by(&world, "k").chat(scope, "hi").await).await, is(n, CacheUse::Miss), "{scope}");
        for (key, shared) in ["k2", "m", "p"].into_iter().zip(shared) {
            let message = by(&world, key).chat(scope, "hi").await;
            if shared {
                assert_eq!(did(&world, message).await, is(first, CacheUse::Hit), "{scope} {key}");
            } else if key == "p" {
                // Its hard budget has nothing to lend: it was asked, as nobody gave the answer.
                assert_eq!(message.status(), 503, "{}", message.text());
                world.record().await;
            } else {
                n += 1;
                assert_eq!(did(&world, message).await, is(n, CacheUse::Miss), "{scope} {key}");
            }
        }
        n += 1;
    }
    let ada = user("k", "x-user: ada\r\n");
    assert_eq!(did(&world, ada.chat("user", "hi").await).await, is(n, CacheUse::Miss));
    assert_eq!(did(&world, user("k2", "x-user: ada\r\n").chat("user", "hi").await).await, is(n, CacheUse::Hit));
    assert_eq!(did(&world, user("k", "x-user: grace\r\n").chat("user", "hi").await).await, is(n + 1, CacheUse::Miss));
    assert_eq!(did(&world, user("k", "").chat("user", "hi").await).await, is(n + 2, CacheUse::Bypass), "nobody's");
    // Names that look like keys are recorded masked, both as the same one.
    for head in ["x-user: acct_acmecorp1234_alicejohnson\r\n", "x-user: acct_acmecorp1234_bobbrowning\r\n"] {
        n += 1;
        assert_eq!(did(&world, user("k", head).chat("user", "hi").await).await, is(n + 2, CacheUse::Bypass), "{head}");
    }
    // Who may not use the model gets nothing of it, whatever the scope.
    assert_eq!(by(&world, "s").chat("tenant", "hi").await.status(), 404);
    world.outcome(R::ModelNotFound).await;
    world.done().await;
}

#[tokio::test]
async fn a_stream_is_given_again_as_it_was() {
    let (upstream, calls) = counting().await;
    let world = setup(&upstream);
    let app = by(&world, "k");
    let first = app.stream("application", "hi").await;
    let body = first.body.clone();
    assert_eq!(told(&world, first).await.1.model.unwrap().cache, Some(CacheUse::Miss));
    let again = app.stream("application", "hi").await;
    assert_eq!(again.body, body);
    assert_eq!(again.field("content-type"), Some("text/event-stream"));
    assert!(again.text().ends_with("data: [DONE]\n\n") && again.text().contains("\"prompt_tokens\":1000"));
    let used = told(&world, again).await.1.model.unwrap();
    assert_eq!((used.cache, used.saved, used.streamed), (Some(CacheUse::Hit), Some("0.002".parse().unwrap()), true));
    assert_eq!(
        did(&world, app.chat("application", "hi").await).await,
        is(1, CacheUse::Miss),
        "a stream is no whole answer"
    );
    // Through translation: what is kept is what the caller got.
    let message = r#"{"model":"application","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    let first = app.send("/v1/messages", message).await;
    let again = app.send("/v1/messages", message).await;
    assert!(again.text().contains("event: message_stop"), "{}", again.text());
    assert_eq!((again.body == first.body, calls.load(SeqCst)), (true, 3));
    world.served(2).await;
    let chat = app.chat("messages", "hi").await;
    assert_eq!(app.chat("messages", "hi").await.body, chat.body);
    world.served(2).await;
    world.done().await;
}

#[tokio::test]
async fn callers_say_what_they_want_of_the_cache() {
    let (upstream, _) = counting().await;
    let world = setup(&upstream);
    let ask = async |head: &'static str| {
        did(&world, Asking { world: &world, key: "k", head }.chat("application", "hi").await).await
    };
    assert_eq!(ask("cache-control: no-store\r\n").await, is(0, CacheUse::Bypass));
    assert_eq!(ask("").await, is(1, CacheUse::Miss), "what was not to be stored is not");
    assert_eq!(ask("cache-control: no-store\r\n").await, is(2, CacheUse::Bypass));
    assert_eq!(ask("").await, is(1, CacheUse::Hit));
    assert_eq!(ask("cache-control: max-age=60\r\n").await, is(1, CacheUse::Hit));
    assert_eq!(ask("cache-control: No-Cache\r\n").await, is(3, CacheUse::Refresh));
    assert_eq!(ask("").await, is(3, CacheUse::Hit), "the new one is kept");
    assert_eq!(ask("cache-control: max-age=0\r\n").await, is(4, CacheUse::Refresh));
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_eq!(ask("cache-control: foo, max-age=1\r\n").await, is(5, CacheUse::Miss), "it is older than that");
    assert_eq!(
        ask("cache-control: max-age=soon\r\n").await,
        is(6, CacheUse::Refresh),
        "what cannot be read is the youngest"
    );
    let varied = async |head: &'static str| {
        did(&world, Asking { world: &world, key: "k", head }.chat("varied", "hi").await).await
    };
    assert_eq!(varied("x-tenant: a\r\n").await, is(7, CacheUse::Miss));
    assert_eq!(varied("x-tenant: b\r\n").await, is(8, CacheUse::Miss));
    assert_eq!(varied("X-Tenant: a\r\nx-other: c\r\n").await, is(7, CacheUse::Hit));
    assert_eq!(varied("openai-beta: x=1\r\nx-tenant: a\r\n").await, is(9, CacheUse::Miss));
    world.done().await;
}

#[tokio::test]
async fn only_whole_and_good_answers_are_kept_and_not_for_ever() {
    let (upstream, calls) = counting().await;
    let world = setup(&upstream);
    let app = by(&world, "k");
    for (model, text, streams) in [
        ("application", "fail", false),
        ("application", "fail", true),
        ("application", "withheld", false),
        ("application", "withheld", true),
        ("application", "cut", true),
        ("small", "long", false),
        ("small", "long", true),
        ("guarded", "mail ada@example.org", false),
        ("guarded", "the weather", false),
        ("guarded", "the weather", true),
    ] {
        let before = calls.load(SeqCst);
        for _ in 0..2 {
            match streams {
                true => app.stream(model, text).await,
                false => app.chat(model, text).await,
            };
            let used = world.record().await.model.unwrap();
            let expect = if model == "guarded" { CacheUse::Bypass } else { CacheUse::Miss };
            assert_eq!(used.cache, Some(expect), "{model} {text}");
        }
        assert_eq!(calls.load(SeqCst), before + 2, "{model} {text}");
    }
    let n = calls.load(SeqCst);
    assert_eq!(did(&world, app.chat("guarded", "hi").await).await, is(n, CacheUse::Miss));
    assert_eq!(did(&world, app.chat("guarded", "hi").await).await, is(n, CacheUse::Hit));
    assert_eq!(did(&world, app.chat("brief", "hi").await).await, is(n + 1, CacheUse::Miss));
    assert_eq!(did(&world, app.chat("brief", "hi").await).await, is(n + 1, CacheUse::Hit));
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_eq!(did(&world, app.chat("brief", "hi").await).await, is(n + 2, CacheUse::Miss));
    world.done().await;
}

#[tokio::test]
async fn another_configuration_and_a_revoked_key_get_nothing() {
    let (upstream, _) = counting().await;
    let world = setup(&upstream);
    let yaml = yaml(&upstream);
    let ask = async |key: &'static str| did(&world, by(&world, key).chat("tenant", "hi").await).await;
    assert_eq!(ask("k").await, is(0, CacheUse::Miss));
    world.install(&yaml, &[], &["k2"]).await;
    assert_eq!(ask("k").await, is(0, CacheUse::Hit), "a change of something else leaves it");
    assert_eq!(by(&world, "k2").chat("tenant", "hi").await.status(), 401);
    world.outcome(R::Unauthenticated).await;
    let other = yaml.replace("cache: { scope: tenant }", "cache: { scope: tenant, ttl: 2h }");
    world.install(&other, &[], &[]).await;
    assert_eq!(ask("k").await, is(1, CacheUse::Miss));
    world.install(&yaml, &[], &[]).await;
    assert_eq!(ask("k").await, is(2, CacheUse::Miss), "what was let go does not come back");
    let elsewhere = yaml.replace("name: chats, endpoints", "name: chats, description: other, endpoints");
    world.install(&elsewhere, &[], &[]).await;
    assert_eq!(ask("k").await, is(3, CacheUse::Miss), "its provider may be another one");
    assert_eq!(world.gateway.answers_kept().0, 1);
    world.done().await;
}

#[tokio::test]
async fn what_a_route_says_of_the_caller_tells_calls_apart_and_hits_have_its_headers() {
    let (upstream, _) = counting().await;
    let route = |name: &str, value: &str| {
        format!(
            "  - {{ name: {name}, match: {{ path: /{name}, hosts: [{name}] }}, prompt: {{ name: ask, version: 1 }}, authenticate: [api_key], key_in_query: key,
      headers: {{ request: {{ set: {{ x-for: '{value}' }} }}, response: {{ set: {{ access-control-allow-origin: '*' }} }} }} }}\n"
        )
    };
    let yaml = yaml(&upstream)
        .replacen("allow: {", "allow: { routes: [of-key, fixed],", 1)
        .replace("name: k, application: app", "name: k, application: app, metadata: { who: ada }")
        .replace("name: k2, application: app", "name: k2, application: app, metadata: { who: bob }")
        + "prompts:
  - name: ask
    model: application
    variables: { text: { type: string, max_length: 50 } }
    versions: [{ version: 1, messages: [{ role: user, content: '{{text}}' }] }]
routes:\n"
        + &route("of-key", "${key.metadata.who}")
        + &route("fixed", "a");
    let mut setup = Setup::new(yaml.clone());
    setup.credentials = vec![];
    let world = setup.start();
    let ask = async |key: &'static str, path: &str| {
        let body = r#"{"text":"hi"}"#;
        // What is the key is no part of what is the same.
        let key = crate::harness::key(key);
        let head = format!("POST /{path}?key={key} HTTP/1.1\r\nhost: {path}\r\ncontent-length: {}\r\n", body.len());
        let answer = world.ask(format!("{head}content-type: application/json\r\n\r\n{body}"));
        let answer = answer.await;
        assert_eq!(answer.field("access-control-allow-origin"), Some("*"), "{}", answer.text());
        assert_eq!(answer.field("content-type"), Some("application/json"));
        did(&world, answer).await
    };
    assert_eq!(ask("k", "of-key").await, is(0, CacheUse::Miss));
    assert_eq!(upstream.last().field("x-for"), Some("ada"));
    assert_eq!(ask("k", "of-key").await, is(0, CacheUse::Hit));
    assert_eq!(ask("k2", "of-key").await, is(1, CacheUse::Miss), "it was made for another");
    assert_eq!(ask("k", "fixed").await, is(2, CacheUse::Miss));
    assert_eq!(ask("k2", "fixed").await, is(2, CacheUse::Hit));
    world.install(&yaml.replace("x-for: 'a'", "x-for: 'b'"), &[], &[]).await;
    assert_eq!(ask("k", "fixed").await, is(3, CacheUse::Miss), "it was told otherwise");
    world.done().await;
}

#[tokio::test]
async fn embeddings_of_gemini_are_kept() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let upstream = FakeUpstream::start(move |mut peer| {
        let calls = counted.clone();
        async move {
            while peer.request().await.is_some() {
                calls.fetch_add(1, SeqCst);
                let body = r#"{"embedding":{"values":[1.0]},"usageMetadata":{"promptTokenCount":3}}"#;
                peer.send(answer(200, "content-type: application/json\r\n", body)).await;
            }
        }
    })
    .await;
    let mut setup = Setup::new(format!(
        "applications: [{{ name: app, allow: {{ models: [vectors] }} }}]
keys: [{{ name: k, application: app }}, {{ name: k2, application: app }}]
credentials: [{{ name: c, engine: static }}]
upstreams: [{{ name: google, endpoints: [\"{}/v1beta\"], provider: gemini, inject: {{ header: {{ name: x-goog-api-key, credential: c }} }} }}]
models: [{{ name: vectors, targets: [{{ provider: google, model: real, {PRICES} }}], cache: {{}} }}]
",
        upstream.url()
    ));
    setup.credentials = vec![("c", 3, SECRET)];
    let world = setup.start();
    let body = r#"{"content":{"parts":[{"text":"x"}]}}"#;
    for (n, key) in ["k", "k2"].into_iter().enumerate() {
        let head = format!("x-goog-api-key: {}\r\n", crate::harness::key(key));
        let path = "/v1beta/models/vectors:embedContent";
        let head = format!("POST {path} HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n{head}", body.len());
        let message = world.ask(format!("{head}content-type: application/json\r\n\r\n{body}")).await;
        assert!(message.text().contains("values"), "{}", message.text());
        let used = world.outcome(R::Served).await.model.unwrap().cache;
        assert_eq!(used, Some(if n == 0 { CacheUse::Miss } else { CacheUse::Hit }));
    }
    assert_eq!(calls.load(SeqCst), 1);
    world.done().await;
}

/// Answers chat completions with how many came before, and embeddings by what is asked: of the weather, in one way or
/// another, or of anything else. Fails, or hangs, where the question says so.
async fn understanding() -> (FakeUpstream, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (chats, embeddings) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (chats.clone(), embeddings.clone());
    let upstream = FakeUpstream::start(move |mut peer| {
        let (chats, embeddings) = counted.clone();
        async move {
            while let Some(request) = peer.request().await {
                let call: Value = serde_json::from_slice(&request.body).unwrap();
                if request.target() == "/v1/embeddings" {
                    assert_eq!((&call["model"], request.field("x-user")), (&json!("embed"), None), "none of the caller's head");
                    embeddings.fetch_add(1, SeqCst);
                    let asked = call["input"].as_str().unwrap();
                    let vector = match asked {
                        _ if asked.contains("fail") => {
                            peer.send(answer(500, "", "{}")).await;
                            continue;
                        }
                        _ if asked.contains("hang") => {
                            peer.wire.drain().await;
                            return;
                        }
                        _ if asked.contains("weather") => [1.0, 0.0],
                        _ if asked.contains("rain") => [0.98, 0.199],
                        _ if asked.contains("climate") => [0.8, 0.6],
                        _ => [0.0, 1.0],
                    };
                    let body = json!({"object": "list", "model": "embed", "data": [{"object": "embedding", "index": 0, "embedding": vector}],
                        "usage": {"prompt_tokens": 1_000_000, "total_tokens": 1_000_000}});
                    peer.send(answer(200, "content-type: application/json\r\n", &body.to_string())).await;
                    continue;
                }
                let said = format!("answer {}", chats.fetch_add(1, SeqCst));
                let body = json!({"id": "1", "object": "chat.completion", "model": "real", "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
                    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}]});
                peer.send(answer(200, "content-type: application/json\r\n", &body.to_string())).await;
            }
        }
    })
    .await;
    (upstream, chats, embeddings)
}

fn semantic_yaml(upstream: &FakeUpstream) -> String {
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [chat] }}, users: {{ header: x-user }} }}
  - {{ name: other, allow: {{ models: [chat] }} }}
keys:
  - {{ name: k, application: app }}
  - {{ name: o, application: other }}
credentials:
  - {{ name: c, engine: static }}
upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1\"], provider: openai, inject: {{ bearer: c }}, timeouts: {{ response: 60s, idle: 60s }} }}
models:
  - {{ name: vectors, targets: [{{ provider: mine, model: embed, prices: [{{ from: 2020-01-01T00:00:00Z, input: '0.5', output: '0' }}] }}] }}
  - {{ name: chat, targets: [{{ provider: mine, model: real, {PRICES} }}], cache: {{ mode: semantic, embedding_model: vectors, threshold: 0.95 }} }}
",
        upstream.url()
    )
}

#[tokio::test]
async fn a_question_in_other_words_is_answered_where_it_is_near_enough() {
    let (upstream, chats, embeddings) = understanding().await;
    let world = Setup::new(semantic_yaml(&upstream)).start();
    let app = Asking { world: &world, key: "k", head: "x-user: ada\r\n" };
    // A call that needed an embedding leaves two records: of the embedding, and its own.
    let ask = async |asking: &Asking<'_>, text: &str| {
        let message = asking.chat("chat", text).await;
        let before = embeddings.load(SeqCst);
        let told = message.field("cache-status").unwrap().to_owned();
        (message, told, before)
    };
    let (message, told, made) = ask(&app, "what is the weather?").await;
    assert_eq!((told.as_str(), made), ("credentialflow; fwd=uri-miss", 1));
    let embedding = world.outcome(R::Served).await;
    let used = embedding.model.unwrap();
    assert_eq!(
        (&*used.model, &*used.provider_model, used.cache, used.user.as_deref()),
        ("vectors", "embed", None, Some("ada"))
    );
    assert_eq!(used.cost, Some(Cost::Known("0.5".parse().unwrap())), "it is priced");
    assert_eq!((embedding.application.as_deref(), embedding.credential.is_some()), (Some("app"), true));
    assert!(message.text().contains("answer 0"));
    world.served(1).await;

    let (message, told, made) = ask(&app, "will there be rain?").await;
    assert!(
        message.text().contains("answer 0") && told.starts_with("credentialflow; hit; detail=similar; ttl="),
        "{told}"
    );
    assert_eq!((made, chats.load(SeqCst)), (2, 1));
    world.served(1).await;
    let used = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((used.cache, used.saved), (Some(CacheUse::Similar), Some("0.002".parse().unwrap())));

    let (message, told, made) = ask(&app, "what is the weather?").await;
    assert!(message.text().contains("answer 0") && told.starts_with("credentialflow; hit; ttl="), "{told}");
    assert_eq!(made, 2, "the same call needs no embedding");
    world.served(1).await;

    // Not near enough, of another application, with another system prompt, or with an embedding that fails or hangs.
    for (asking, text, expect) in [
        (&app, "what of the climate?", "answer 1"),
        (&by(&world, "o"), "will there be rain?", "answer 2"),
        (&app, "fail: will there be rain?", "answer 3"),
        (&app, "hang: will there be rain?", "answer 4"),
    ] {
        let (message, told, _) = ask(asking, text).await;
        assert!(
            message.text().contains(expect) && told == "credentialflow; fwd=uri-miss",
            "{text}: {}",
            message.text()
        );
        let asked = world.record().await;
        let failed = text.contains("fail") || text.contains("hang");
        assert_eq!(asked.outcome != R::Served, failed, "{asked:?}");
        world.served(1).await;
    }
    let system = r#"{"model":"chat","messages":[{"role":"system","content":"x"},{"role":"user","content":"will there be rain?"}]}"#;
    assert!(app.send("/v1/chat/completions", system).await.text().contains("answer 5"));
    world.served(2).await;
    world.done().await;
}
