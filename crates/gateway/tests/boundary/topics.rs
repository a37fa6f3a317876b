//! Topics: what callers say and what models answer is compared with examples by embeddings that the gateway asks for; and
//! what happens where nobody makes them.

use crate::harness::*;
use credentialflow_model::{OutcomeReason as R, UsageRecord, usage::Cost};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

const TOPICS: &str = "topics: [{ name: politics, examples: [whom should I vote for, the parliament] }, { name: medicine, examples: [which pill helps] }]";
const SHOP: &str =
    "topics: [{ name: shop, examples: [where is my order of shoes] }, { name: small-talk, examples: [hello] }]";

fn yaml(upstream: &FakeUpstream, embedder: &str) -> String {
    let rule = format!("detect: topics, embedding_model: e, {TOPICS}");
    let models = [
        ("guarded", format!("{{ {rule}, action: block }}")),
        ("near", format!("{{ {rule}, action: block, threshold: 0.95 }}")),
        ("flagging", format!("{{ {rule}, action: flag, on: both }}")),
        ("routed", format!("{{ {rule}, action: route }}")),
        ("shop", format!("{{ detect: topics, embedding_model: e, {SHOP}, action: block, on: both, only: true }}")),
        ("answers", format!("{{ {rule}, action: block, on: answer }}")),
        ("strict", format!("{{ {rule}, action: block, timeout: 500ms }}")),
        ("lenient", format!("{{ {rule}, action: block, timeout: 500ms, on_error: allow }}")),
        (
            "paying",
            format!("{{ {rule}, action: block, on_error: allow }}")
                .replace("embedding_model: e", "embedding_model: paid"),
        ),
        ("at-gemini", format!("{{ {rule}, action: block }}").replace("embedding_model: e", "embedding_model: g")),
    ];
    let names = models.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let models: String = models
        .iter()
        .map(|(name, rules)| {
            let internal = "{ provider: inside, model: internal, internal: true }";
            format!("  - {{ name: {name}, targets: [{{ provider: chats, model: real }}, {internal}], guardrails: [{rules}] }}\n")
        })
        .collect();
    let price = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', output: '0' }]";
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [{names}], routes: [ask] }} }}
keys:
  - {{ name: k, application: app }}
upstreams:
  - {{ name: chats, endpoints: [\"{0}/v1\"], provider: openai-chat }}
  - {{ name: inside, endpoints: [\"{0}/v1\"], provider: openai-chat }}
  - {{ name: embedders, endpoints: [\"{0}/v1\"], provider: openai }}
  - {{ name: google, endpoints: [\"{0}/v1beta\"], provider: gemini }}
  - {{ name: payers, endpoints: [\"{0}/v1\"], provider: openai, budget: {{ usd: 1, per: month, hard: true }} }}
models:
  - {{ name: e, targets: [{{ provider: embedders, model: {embedder}, {price} }}] }}
  - {{ name: g, targets: [{{ provider: google, model: {embedder} }}] }}
  - {{ name: paid, targets: [{{ provider: payers, model: m, {price} }}] }}
{models}prompts:
  - name: ask
    model: guarded
    variables: {{ about: {{ type: string }}, text: {{ type: string }} }}
    versions:
      - {{ version: 1, system: 'Never speak of an election. Answer about: {{{{about}}}}', messages: [{{ role: user, content: '{{{{text}}}}' }}] }}
    labels: {{ production: 1 }}
routes:
  - {{ name: ask, match: {{ path: /ask }}, prompt: {{ name: ask }}, authenticate: [api_key] }}
",
        upstream.url()
    )
}

/// The embedding of a text: how often words of each field stand in it, or of none.
fn embedding(text: &str) -> Vec<f64> {
    let text = text.to_lowercase();
    let fields = [["vote", "parliament", "election"], ["pill", "doctor", "fever"], ["order", "shoes", "parcel"]];
    let mut vector: Vec<f64> =
        fields.iter().map(|words| words.iter().map(|word| text.matches(word).count() as f64).sum()).collect();
    vector.push(if text.contains("hello") { 1.0 } else { 0.0 });
    vector.push(if vector.iter().all(|n| *n == 0.0) { 1.0 } else { 0.0 });
    if text.contains("wide") {
        vector.push(1.0);
    }
    vector
}

/// What it was asked for.
#[derive(Default)]
struct Asked {
    /// Questions for embeddings, and texts of all of them.
    questions: AtomicUsize,
    texts: AtomicUsize,
    /// The first so many fail.
    fails: AtomicUsize,
}

/// A provider that repeats what it is told, and makes embeddings, in OpenAI's form and in Gemini's.
async fn everybody() -> (FakeUpstream, Arc<Asked>) {
    let asked = Arc::new(Asked::default());
    let counts = asked.clone();
    let upstream = FakeUpstream::start(move |mut peer| {
        let asked = counts.clone();
        async move {
            while let Some(request) = peer.request().await {
                let call: Value = serde_json::from_slice(&request.body).unwrap();
                let json = "content-type: application/json\r\n";
                let path = request.target().to_owned();
                if path == "/v1/embeddings" || path.ends_with(":batchEmbedContents") {
                    let texts: Vec<String> = match call["input"].as_array() {
                        Some(input) => input.iter().map(|text| text.as_str().unwrap().to_owned()).collect(),
                        None => {
                            let requests = call["requests"].as_array().unwrap();
                            let text = |one: &Value| one["content"]["parts"][0]["text"].as_str().unwrap().to_owned();
                            requests.iter().map(text).collect()
                        }
                    };
                    assert!(texts.len() <= 32, "{} texts at once", texts.len());
                    asked.questions.fetch_add(1, SeqCst);
                    asked.texts.fetch_add(texts.len(), SeqCst);
                    if texts.iter().any(|text| text.contains("hang")) {
                        peer.wire.drain().await;
                        return;
                    }
                    if texts.iter().any(|text| text.contains("too rare")) {
                        peer.send(answer(413, json, r#"{"error":"more than 512 tokens"}"#)).await;
                        continue;
                    }
                    if texts.iter().any(|text| text.contains("broken")) {
                        peer.send(answer(200, json, r#"{"data":[]}"#)).await;
                        continue;
                    }
                    if asked.fails.load(SeqCst) > 0 {
                        asked.fails.fetch_sub(1, SeqCst);
                        peer.send(answer(500, json, "{}")).await;
                        continue;
                    }
                    let body = match call["input"].is_array() {
                        true => {
                            // In another order than they were asked for.
                            let data: Vec<Value> = texts.iter().enumerate().rev().map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": embedding(text)})).collect();
                            json!({"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 10, "total_tokens": 10}})
                        }
                        false => json!({"embeddings": texts.iter().map(|text| json!({"values": embedding(text)})).collect::<Vec<_>>()}),
                    };
                    peer.send(answer(200, json, &body.to_string())).await;
                    continue;
                }
                let said = call["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
                let model = &call["model"];
                let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
                if call["stream"] == true {
                    let mut events = String::new();
                    for piece in said.split_inclusive(' ') {
                        let choice = json!({"index": 0, "delta": {"content": piece}, "finish_reason": null});
                        events += &format!("data: {}\n\n", json!({"id": "1", "object": "chat.completion.chunk", "model": model, "choices": [choice]}));
                    }
                    events += &format!("data: {}\n\n", json!({"id": "1", "object": "chat.completion.chunk", "model": model, "choices": [], "usage": usage}));
                    events += "data: [DONE]\n\n";
                    peer.send(answer(200, "content-type: text/event-stream\r\n", &events)).await;
                } else {
                    let choice = json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}});
                    let body = json!({"id": "1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage});
                    peer.send(answer(200, json, &body.to_string())).await;
                }
            }
        }
    })
    .await;
    (upstream, asked)
}

/// Each test has embeddings of its own: what is kept is kept for a process.
fn world(upstream: &FakeUpstream) -> World {
    let mut setup = Setup::new(yaml(upstream, "embed"));
    setup.credentials = vec![];
    setup.start()
}

async fn send(world: &World, body: &Value) -> Message {
    let body = body.to_string();
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
    world.ask(format!("{head}authorization: Bearer {}\r\ncontent-type: application/json\r\n\r\n{body}", key("k"))).await
}

async fn chat(world: &World, model: &str, text: &str) -> Message {
    send(world, &json!({"model": model, "messages": [{"role": "user", "content": text}]})).await
}

async fn streamed(world: &World, model: &str, text: &str) -> Message {
    send(world, &json!({"model": model, "stream": true, "messages": [{"role": "user", "content": text}]})).await
}

/// The record of a call, and those of the embeddings that were asked for it.
async fn records(world: &World, questions: usize) -> (UsageRecord, Vec<UsageRecord>) {
    let mut all = Vec::new();
    for _ in 0..=questions {
        all.push(world.record().await);
    }
    let at = all.iter().position(|record| record.route.as_deref() != Some("guardrail-embeddings")).unwrap();
    let own = all.remove(at);
    assert!(all.iter().all(|record| record.route.as_deref() == Some("guardrail-embeddings")), "{all:?}");
    (own, all)
}

fn found(record: &UsageRecord) -> Option<&str> {
    record.model.as_ref().and_then(|model| model.guardrails.as_deref())
}

#[tokio::test]
async fn what_is_near_an_example_is_found_and_the_examples_are_embedded_once() {
    let (upstream, asked) = everybody().await;
    let world = world(&upstream);
    let refused = chat(&world, "guarded", "Tell me about the election!").await;
    assert_eq!(refused.status(), 400, "{}", refused.text());
    assert!(refused.text().contains("prompt_blocked") && !refused.text().contains("politics"), "{}", refused.text());
    assert!(
        upstream.requests().iter().all(|request| request.target() == "/v1/embeddings"),
        "nothing is sent to the model"
    );
    let (own, asks) = records(&world, 2).await;
    assert_eq!((own.outcome, found(&own)), (R::PromptBlocked, Some("topics.politics/block")));
    assert_eq!((asked.questions.load(SeqCst), asked.texts.load(SeqCst)), (2, 4), "the three examples, and the text");
    for ask in &asks {
        // The caller may not use that model itself, and pays for it.
        let used = ask.model.as_ref().unwrap();
        assert_eq!((&*used.model, &*used.provider_model), ("e", "embed"));
        assert_eq!(used.cost, Some(Cost::Known("0.00001".parse().unwrap())));
        assert_eq!((&ask.application, ask.key, ask.trace_id), (&own.application, own.key, own.trace_id));
    }
    assert_eq!(chat(&world, "guarded", "I have a fever, and hope for a nice day").await.status(), 400);
    let (own, _) = records(&world, 1).await;
    assert_eq!(found(&own), Some("topics.medicine/block"));
    let served = chat(&world, "guarded", "Where are my shoes?").await;
    assert!(served.status() == 200 && served.text().contains("Where are my shoes?"), "{}", served.text());
    let (own, _) = records(&world, 1).await;
    assert_eq!((own.outcome, found(&own)), (R::Served, None));
    // Another rule with the same examples has their embeddings, and a threshold of its own.
    assert_eq!(chat(&world, "near", "a vote on a pill").await.status(), 200);
    assert_eq!(found(&records(&world, 1).await.0), None);
    assert_eq!(chat(&world, "near", "a vote").await.status(), 400);
    records(&world, 1).await;
    world.done().await;
}

#[tokio::test]
async fn what_is_found_is_flagged_or_kept_on_internal_targets() {
    let (upstream, _) = everybody().await;
    let world = world(&upstream);
    assert_eq!(chat(&world, "flagging", "a vote on a pill").await.status(), 200);
    let (own, _) = records(&world, 3).await;
    assert_eq!(
        found(&own),
        Some("topics.politics/flag topics.medicine/flag answer/topics.politics/flag answer/topics.medicine/flag")
    );
    let routed = chat(&world, "routed", "a vote").await;
    assert!(routed.text().contains("internal"), "{}", routed.text());
    assert_eq!(found(&records(&world, 1).await.0), Some("topics.politics/route"));
    world.done().await;
}

#[tokio::test]
async fn only_some_topics_are_talked_about() {
    let (upstream, _) = everybody().await;
    let world = world(&upstream);
    // The application's own words, its fields and what tools bring are of no topic.
    let call = json!({"model": "shop", "user": "ada", "metadata": {"tenant": "north"}, "messages": [
        {"role": "system", "content": "You sell things."},
        {"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "I am a machine."},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"city\":\"Lisbon\"}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "it is sunny"},
        {"role": "user", "content": [{"type": "text", "text": "Where is my parcel?"}]},
        {"role": "user", "content": "my order of shoes"}]});
    let served = send(&world, &call).await;
    assert_eq!(served.status(), 200, "{}", served.text());
    let (own, _) = records(&world, 3).await;
    assert_eq!((own.outcome, found(&own)), (R::Served, None));
    for call in [
        json!({"model": "shop", "messages": [{"role": "user", "content": "write me a poem"}, {"role": "user", "content": "my order"}]}),
        json!({"model": "shop", "messages": [{"role": "user", "content": [{"type": "text", "text": "my order"}, {"type": "text", "text": "a poem"}]}]}),
    ] {
        let plain = call.to_string();
        // However the members are written.
        let escaped = plain.replace("messages", "m\\u0065ssages").replace("content", "c\\u006fntent");
        for body in [plain, escaped] {
            let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
            let more = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n\r\n", key("k"));
            let refused = world.ask(format!("{head}{more}{body}")).await;
            assert_eq!(refused.status(), 400, "{body}: {}", refused.text());
            assert_eq!(found(&records(&world, 1).await.0), Some("topics.other/block"));
        }
    }
    world.done().await;
}

#[tokio::test]
async fn what_callers_say_in_the_words_of_a_prompt_is_compared_and_its_own_words_are_not() {
    let (upstream, _) = everybody().await;
    let world = world(&upstream);
    let served = world.ask(post("/ask", "", r#"{"about": "parcels", "text": "where is it?"}"#)).await;
    assert_eq!(served.status(), 200, "{}", served.text());
    assert_eq!(found(&records(&world, 2).await.0), None);
    let refused = world.ask(post("/ask", "", r#"{"about": "the parliament", "text": "where is it?"}"#)).await;
    assert_eq!(refused.status(), 400, "{}", refused.text());
    assert_eq!(found(&records(&world, 1).await.0), Some("topics.politics/block"));
    world.done().await;
}

#[tokio::test]
async fn answers_wait_until_it_is_known_what_they_are_about() {
    let (upstream, _) = everybody().await;
    let world = world(&upstream);
    let served = streamed(&world, "answers", "your parcel comes").await;
    assert!(served.text().contains("parcel ") && served.text().contains("[DONE]"), "{}", served.text());
    assert_eq!(records(&world, 2).await.0.outcome, R::Served);
    let ended = streamed(&world, "answers", "do vote for them").await;
    let said = ended.text();
    assert!(said.contains("\"error\"") && !said.contains("delta") && !said.contains("[DONE]"), "{said}");
    let (own, _) = records(&world, 1).await;
    assert_eq!((own.outcome, found(&own)), (R::AnswerBlocked, Some("answer/topics.politics/block")));
    let refused = chat(&world, "answers", "do vote for them").await;
    assert!(refused.status() == 400 && !refused.text().contains("vote"), "{}", refused.text());
    assert_eq!(records(&world, 1).await.0.outcome, R::AnswerBlocked);
    world.done().await;
}

#[tokio::test]
async fn long_texts_are_compared_in_pieces_and_have_an_end() {
    let (upstream, asked) = everybody().await;
    let world = world(&upstream);
    let filler =
        |n: usize| (0..n).map(|i| format!("Sentence number {i} is about nothing at all. ")).collect::<String>();
    // One sentence among very many.
    let text = format!("{}\nWhom to vote for in the election?\n{}", filler(1000), filler(200));
    assert_eq!(chat(&world, "guarded", &text).await.status(), 400);
    let questions = asked.questions.load(SeqCst);
    assert!(questions > 3, "{questions}");
    let (own, _) = records(&world, questions).await;
    assert_eq!(found(&own), Some("topics.politics/block"));
    assert_eq!(chat(&world, "guarded", &filler(1000)).await.status(), 200);
    let more = asked.questions.load(SeqCst) - questions;
    assert_eq!(records(&world, more).await.0.outcome, R::Served);
    let before = asked.questions.load(SeqCst);
    let refused = chat(&world, "guarded", &filler(20_000)).await;
    assert!(refused.status() == 400 && refused.text().contains("1024 pieces"), "{}", refused.text());
    let (own, _) = records(&world, 0).await;
    assert_eq!((own.outcome, asked.questions.load(SeqCst)), (R::InvalidModelCall, before));
    world.done().await;
}

#[tokio::test]
async fn what_cannot_be_compared_does_not_pass_unless_it_may() {
    let (upstream, asked) = everybody().await;
    let world = world(&upstream);
    // The examples themselves: they are asked for again.
    asked.fails.store(1, SeqCst);
    let refused = chat(&world, "strict", "my shoes").await;
    assert_eq!(refused.status(), 502, "{}", refused.text());
    let (own, _) = records(&world, 1).await;
    assert_eq!(found(&own), Some("topics.unanswered/block"));
    assert_eq!(chat(&world, "strict", "my shoes").await.status(), 200);
    records(&world, 2).await;
    for (text, status, reason) in [
        ("please hang", 504, R::UpstreamTimeout),
        ("it is broken", 502, R::UpstreamMalformed),
        ("a wide one", 502, R::UpstreamMalformed),
    ] {
        let refused = chat(&world, "strict", text).await;
        assert_eq!(refused.status(), status, "{text}: {}", refused.text());
        let (own, asks) = records(&world, 1).await;
        assert_eq!(
            (own.outcome, asks[0].outcome, found(&own)),
            (reason, reason, Some("topics.unanswered/block")),
            "{text}"
        );
        assert_eq!(chat(&world, "lenient", text).await.status(), 200, "{text}");
        assert_eq!(found(&records(&world, 1).await.0), Some("topics.unanswered/flag"), "{text}");
    }
    assert_eq!(chat(&world, "lenient", "a vote").await.status(), 400, "what is answered holds");
    records(&world, 1).await;
    // What we refuse to ask is no failure of the other side: here a budget without anything in it.
    let refused = chat(&world, "paying", "a vote").await;
    assert_eq!(refused.status(), 503, "{}", refused.text());
    assert_eq!(found(&records(&world, 1).await.0), Some("topics.unanswered/block"));
    world.done().await;
}

#[tokio::test]
async fn what_is_found_holds_although_a_part_of_the_call_is_not_compared() {
    let (upstream, asked) = everybody().await;
    let world = world(&upstream);
    let filler =
        |n: usize| (0..n).map(|i| format!("Sentence number {i} is about nothing at all. ")).collect::<String>();
    let many = |first: &str, last: &str| format!("{first}\n{}\n{last}", filler(6000));
    // However far from each other they are, also where they are not asked for at once.
    let (found_first, found_last) = (many("a vote", "it is broken"), many("it is broken", "a vote"));
    for (text, status, reason, finds) in [
        (&found_first, 400, R::PromptBlocked, "topics.politics/block topics.unanswered/flag"),
        (&found_last, 400, R::PromptBlocked, "topics.politics/block topics.unanswered/flag"),
        (&many("hello", "it is broken"), 200, R::Served, "topics.unanswered/flag"),
    ] {
        let before = asked.questions.load(SeqCst);
        let told = chat(&world, "lenient", text).await;
        assert_eq!(told.status(), status, "{}", told.text());
        let questions = asked.questions.load(SeqCst) - before;
        assert!(questions > 10, "{questions}");
        let (own, _) = records(&world, questions).await;
        assert_eq!((own.outcome, found(&own)), (reason, Some(finds)));
    }
    // What is said to be wrong with the question may be of the caller's making.
    let told = chat(&world, "lenient", "all of it is too rare").await;
    assert_eq!(told.status(), 502, "{}", told.text());
    assert_eq!(found(&records(&world, 1).await.0), Some("topics.unanswered/block"));
    world.done().await;
}

#[tokio::test]
async fn another_model_makes_the_embeddings_of_the_examples_anew_and_nothing_else_does() {
    let (upstream, asked) = everybody().await;
    let world = world(&upstream);
    let ask = async |world: &World, questions: usize| {
        let before = asked.questions.load(SeqCst);
        assert_eq!(chat(world, "guarded", "a vote").await.status(), 400);
        records(world, questions).await;
        assert_eq!(asked.questions.load(SeqCst) - before, questions);
    };
    ask(&world, 2).await;
    ask(&world, 1).await;
    world
        .install(&yaml(&upstream, "embed").replace("name: chats,", "name: chats, description: other,"), &[], &[])
        .await;
    ask(&world, 1).await;
    world.install(&yaml(&upstream, "embed-2"), &[], &[]).await;
    ask(&world, 2).await;
    ask(&world, 1).await;
    world.done().await;
}

#[tokio::test]
async fn a_provider_of_gemini_makes_embeddings_too() {
    let (upstream, _) = everybody().await;
    let world = world(&upstream);
    assert_eq!(chat(&world, "at-gemini", "the election").await.status(), 400);
    let (own, asks) = records(&world, 2).await;
    assert_eq!(found(&own), Some("topics.politics/block"));
    assert_eq!(&*asks[0].model.as_ref().unwrap().model, "g");
    assert_eq!(chat(&world, "at-gemini", "my shoes").await.status(), 200);
    records(&world, 1).await;
    world.done().await;
}

#[tokio::test]
async fn a_model_that_makes_no_embeddings_is_told_of_and_lets_nothing_pass() {
    let (upstream, _) = everybody().await;
    let yaml = yaml(&upstream, "embed")
        .replace("name: embedders, endpoints: [\"", "name: embedders, provider: anthropic, endpoints: [\"");
    let yaml = yaml.replacen("/v1\"], provider: openai }", "/v1\"] }", 1);
    let mut setup = Setup::new(yaml);
    setup.credentials = vec![];
    let world = setup.start();
    assert_eq!(chat(&world, "guarded", "my shoes").await.status(), 503);
    assert_eq!(world.record().await.outcome, R::NoHealthyEndpoint);
    assert!(upstream.requests().is_empty());
    world.done().await;
}
