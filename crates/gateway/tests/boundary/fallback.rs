//! A target that fails before its answer has begun: the next one serves the call, in whatever dialect, and what fails is
//! left alone for a while.

use crate::harness::*;
use credentialflow_gateway::preview::ModelRoute;
use credentialflow_llm::provider::Dialect;
use credentialflow_model::{
    OutcomeReason as R, UsageRecord,
    resource::budget::usd,
    usage::{Cost, TriedEnd},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// Providers on one address, told apart by the first part of their paths; `ant` speaks Messages, `goo` Gemini.
pub struct Vendors {
    pub upstream: FakeUpstream,
    /// What each does, or what it does for one of its keys (`a with K1`), and after ` | ` what it does then; nothing but
    /// serve unless told.
    how: Arc<Mutex<BTreeMap<String, String>>>,
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
const OVERLOADED: &str = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;

pub fn greeting(vendor: &str) -> String {
    match vendor {
        "ant" => {
            let message = json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
                "usage": {"input_tokens": 10, "output_tokens": 1}});
            let start = json!({"type": "message_start", "message": message});
            format!("event: message_start\ndata: {start}\n\nevent: ping\ndata: {{\"type\": \"ping\"}}\n\n")
        }
        _ => format!(
            "data: {}\n\n",
            json!({"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        ),
    }
}

pub fn words(vendor: &str) -> String {
    match vendor {
        "ant" => [
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi from ant"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}),
            json!({"type": "message_stop"}),
        ]
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
        .collect(),
        _ => {
            let chunk = |delta: Value, finish: Value| json!({"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
            let usage = json!({"id": "1", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}});
            let said = chunk(json!({"content": format!("hi from {vendor}")}), Value::Null);
            format!("data: {said}\n\ndata: {}\n\ndata: {usage}\n\ndata: [DONE]\n\n", chunk(json!({}), json!("stop")))
        }
    }
}

pub fn whole(vendor: &str) -> String {
    let text = format!("hi from {vendor}");
    match vendor {
        "ant" => json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": text}], "usage": {"input_tokens": 10, "output_tokens": 5}}),
        "goo" => {
            json!({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}})
        }
        _ => json!({"id": "1", "object": "chat.completion", "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5}}),
    }
    .to_string()
}

impl Vendors {
    pub async fn start() -> Self {
        let how: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
        let told = how.clone();
        let upstream = FakeUpstream::start(move |mut peer| {
            let told = told.clone();
            async move {
                while let Some(request) = peer.request().await {
                    let vendor = request.target().split('/').nth(1).unwrap_or_default().to_owned();
                    let key = request.field("authorization").or(request.field("x-api-key"));
                    let key = key.or(request.field("x-goog-api-key")).unwrap_or_default();
                    let key = key.trim_start_matches("Bearer ").to_owned();
                    let how = {
                        let mut told = told.lock().unwrap();
                        let of_key = format!("{vendor} with {key}");
                        let whose = if told.contains_key(&of_key) { &of_key } else { &vendor };
                        let how = told.get(whose).cloned().unwrap_or_default();
                        match how.split_once(" | ") {
                            Some((now, then)) => {
                                told.insert(whose.clone(), then.to_owned());
                                now.to_owned()
                            }
                            None => how,
                        }
                    };
                    let streams = serde_json::from_slice::<Value>(&request.body).unwrap()["stream"] == true;
                    let json_type = "content-type: application/json\r\n";
                    match how.split_once(' ').unwrap_or((&how, "")) {
                        ("drop", _) => return,
                        ("garbage", _) => {
                            peer.send("this is no answer\r\n\r\n").await;
                            return;
                        }
                        ("hang", _) => {
                            peer.wire.drain().await;
                            return;
                        }
                        ("stream", how) => {
                            let error = format!("event: error\ndata: {OVERLOADED}\n\n");
                            peer.send(format!("{EVENTS}{}", greeting(&vendor))).await;
                            match how {
                                "error" => peer.send(error).await,
                                "cut" => {}
                                "hang" => {
                                    peer.wire.drain().await;
                                }
                                "late error" => {
                                    peer.send(
                                        words(&vendor).split_inclusive("\n\n").take(2).collect::<String>() + &error,
                                    )
                                    .await
                                }
                                other => panic!("{other}"),
                            }
                            return;
                        }
                        ("slow-503", ms) => {
                            tokio::time::sleep(std::time::Duration::from_millis(ms.parse().unwrap())).await;
                            peer.send(answer(503, json_type, r#"{"error":{"message":"no"}}"#)).await;
                        }
                        ("slow", ms) => {
                            let body = match streams {
                                true => greeting(&vendor) + &words(&vendor),
                                false => whole(&vendor),
                            };
                            if streams {
                                peer.send(EVENTS).await;
                            }
                            tokio::time::sleep(std::time::Duration::from_millis(ms.parse().unwrap())).await;
                            let framed = if streams { body } else { answer(200, json_type, &body) };
                            peer.send(framed).await;
                            if streams {
                                return;
                            }
                        }
                        ("", _) if streams => {
                            // In pieces, as they come in the world.
                            peer.send(EVENTS).await;
                            peer.send(greeting(&vendor)).await;
                            peer.send(words(&vendor)).await;
                            return;
                        }
                        ("", _) => peer.send(answer(200, json_type, &whole(&vendor))).await,
                        ("json", said) => {
                            let (status, body) = said.split_once(' ').unwrap();
                            peer.send(answer(status.parse().unwrap(), json_type, body)).await;
                        }
                        ("page", status) => {
                            let page =
                                answer(status.parse().unwrap(), "content-type: text/html\r\n", "<html>busy</html>");
                            peer.send(page).await;
                        }
                        ("late-page", ms) => {
                            peer.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 6\r\n\r\n")
                                .await;
                            tokio::time::sleep(std::time::Duration::from_millis(ms.parse().unwrap())).await;
                            peer.send("<html>").await;
                        }
                        ("begun", how) => {
                            peer.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 6\r\n\r\n")
                                .await;
                            match how {
                                "cut" => {}
                                "hang" => {
                                    peer.wire.drain().await;
                                }
                                other => panic!("{other}"),
                            }
                            return;
                        }
                        (status, after) => {
                            let after = match after {
                                "" => String::new(),
                                field if field.contains(':') => format!("{field}\r\n"),
                                after => format!("retry-after: {after}\r\n"),
                            };
                            let body = json!({"error": {"message": format!("no from {vendor}")}}).to_string();
                            peer.send(answer(status.parse().unwrap(), &(json_type.to_owned() + &after), &body)).await;
                        }
                    }
                }
            }
        })
        .await;
        Self { upstream, how }
    }

    pub fn set(&self, vendor: &str, how: &str) {
        self.how.lock().unwrap().insert(vendor.to_owned(), how.to_owned());
    }

    /// The vendors that were asked, in order, since the last time.
    pub fn asked(&self, from: usize) -> Vec<String> {
        let seen = self.upstream.requests();
        seen[from..].iter().map(|r| r.target().split('/').nth(1).unwrap().to_owned()).collect()
    }
}

/// A model with these targets, in YAML; `more` stands in the model.
pub async fn world_of(vendors: &Vendors, targets: &str, more: &str, health: &str) -> World {
    world_with(vendors, targets, more, health, "").await
}

async fn world_with(vendors: &Vendors, targets: &str, more: &str, health: &str, budget: &str) -> World {
    setup_of(vendors, targets, more, health, budget).start()
}

/// The same before it is started.
pub fn setup_of(vendors: &Vendors, targets: &str, more: &str, health: &str, budget: &str) -> Setup {
    let url = vendors.upstream.url();
    let upstream = |name: &str, provider: &str, inject: &str| {
        format!(
            "  - {{ name: {name}, endpoints: [\"{url}/{name}\"], provider: {provider}, {inject}, {health} timeouts: {{ connect: 20s, response: 60s, idle: 60s }} }}\n"
        )
    };
    let bearer = "inject: { bearer: c }";
    let upstreams = upstream("a", "openai-chat", bearer)
        + &upstream("b", "openai-chat", "inject: { bearer: d }")
        + &upstream("x", "openai-chat", bearer)
        + &upstream("ant", "anthropic", "inject: { header: { name: x-api-key, credential: d } }")
        + &upstream("goo", "gemini", "inject: { header: { name: x-goog-api-key, credential: d } }");
    let mut setup = Setup::new(format!(
        "applications:
  - {{ name: app, allow: {{ models: [m] }}{budget} }}
  - {{ name: other, allow: {{ models: [m] }} }}
keys:
  - {{ name: k3, application: other }}
  - {{ name: k, application: app }}
  - {{ name: k2, application: app }}
credentials:
  - {{ name: c, engine: static }}
  - {{ name: d, engine: static }}
  - {{ name: k1, engine: static }}
  - {{ name: k2, engine: static }}
  - {{ name: none, engine: static }}
upstreams:
{upstreams}  - {{ name: away, endpoints: [\"http://{away}\"], provider: openai-chat }}
models:
  - {{ name: m, targets: {targets}{more} }}
",
        away = "127.0.0.1:1",
    ));
    setup.credentials = vec![
        ("c", 3, "key-of-c-3333"),
        ("d", 4, "key-of-d-4444"),
        ("k1", 5, "K1-of-the-pool"),
        ("k2", 6, "K2-of-the-pool"),
        ("none", 7, ""),
    ];
    // What fails is remembered by each worker.
    setup.workers = 1;
    setup
}

const TWO: &str = "[{ provider: a, model: real-a }, { provider: b, model: real-b, priority: 1 }]";
/// Failures that count are too few to be left alone for.
pub const LENIENT: &str = "health: { failures: 1000, cooldown: 1h },";
/// One failure is enough, and for long.
pub const STRICT: &str = "health: { failures: 1, cooldown: 1h },";

pub fn chat(stream: bool) -> String {
    let mut body = json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hello"}]});
    if stream {
        body["stream_options"] = json!({"include_usage": true});
    }
    post("/v1/chat/completions", "content-type: application/json\r\n", &body.to_string())
}

/// The vendors and ends of the tries before the last.
pub fn tried(record: &UsageRecord) -> Vec<(&str, TriedEnd)> {
    record.model.as_ref().unwrap().tried.iter().map(|t| (&*t.provider, t.end)).collect()
}

pub fn served_by(record: &UsageRecord) -> (&str, &str, u8) {
    let model = record.model.as_ref().unwrap();
    (&model.provider, &model.provider_model, record.attempts)
}

#[tokio::test]
async fn another_target_serves_what_one_cannot() {
    for (how, end) in [
        ("500", TriedEnd::Status(500)),
        ("503", TriedEnd::Status(503)),
        ("529", TriedEnd::Status(529)),
        ("307", TriedEnd::Status(307)),
        ("404", TriedEnd::Status(404)),
        ("408", TriedEnd::Status(408)),
        ("429", TriedEnd::Status(429)),
        ("401", TriedEnd::Status(401)),
        ("403", TriedEnd::Status(403)),
        ("drop", TriedEnd::Outcome(R::UpstreamReset)),
        ("garbage", TriedEnd::Outcome(R::UpstreamMalformed)),
    ] {
        let vendors = Vendors::start().await;
        let world = world_of(&vendors, TWO, "", LENIENT).await;
        vendors.set("a", how);
        let told = world.ask(chat(false)).await;
        assert_eq!((told.status(), told.text()), (200, whole("b")), "{how}");
        let record = world.outcome(R::Served).await;
        assert_eq!(served_by(&record), ("b", "real-b", 2), "{how}");
        assert_eq!(tried(&record), [("a", end)], "{how}");
        let first = &record.model.as_ref().unwrap().tried[0];
        let of = |used: &Option<credentialflow_model::usage::CredentialUse>| {
            used.as_ref().map(|used| (used.credential.to_string(), used.version))
        };
        assert_eq!(of(&first.credential), Some(("c".to_owned(), 3)), "{how}");
        assert_eq!(of(&record.credential), Some(("d".to_owned(), 4)), "{how}");
        assert_eq!((record.upstream.as_deref(), record.upstream_status), (Some("b"), 200), "{how}");
        assert_eq!(&*first.provider_model, "real-a");
        // Each was sent its own name of the model, with its own credential.
        let seen = vendors.upstream.requests();
        let sent: Vec<Value> = seen.iter().map(|r| serde_json::from_slice(&r.body).unwrap()).collect();
        assert_eq!((&sent[0]["model"], &sent[1]["model"]), (&json!("real-a"), &json!("real-b")), "{how}");
        assert_eq!(seen[0].field("authorization"), Some("Bearer key-of-c-3333"));
        assert_eq!(seen[1].field("authorization"), Some("Bearer key-of-d-4444"));
        world.done().await;
    }
}

#[tokio::test]
async fn what_is_the_caller_s_fault_is_the_caller_s_to_hear() {
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, TWO, "", STRICT).await;
    for how in ["400", "413", "422"] {
        vendors.set("a", how);
        let told = world.ask(chat(false)).await;
        assert_eq!(told.status().to_string(), how);
        assert!(told.text().contains("no from a"));
        let record = world.outcome(R::Served).await;
        assert_eq!((served_by(&record).2, tried(&record)), (1, vec![]));
    }
    assert_eq!(vendors.asked(0), ["a"; 3]);
    world.done().await;
}

#[tokio::test]
async fn a_credential_of_ours_that_is_refused_is_no_matter_of_the_caller_s() {
    for targets in
        ["[{ provider: a, model: m }]", "[{ provider: a, model: m }, { provider: b, model: m, priority: 1 }]"]
    {
        let vendors = Vendors::start().await;
        let world = world_of(&vendors, targets, "", LENIENT).await;
        vendors.set("a", "401");
        vendors.set("b", "401");
        for stream in [false, true] {
            let told = world.ask(chat(stream)).await;
            assert_eq!(told.status(), 502, "{targets}");
            let error: Value = serde_json::from_str(&told.text()).unwrap();
            assert_eq!(error["error"]["code"], "upstream_credential_refused");
            assert!(!told.text().contains("no from"), "what the provider says of the credential stays here: {error}");
            let record = world.outcome(R::UpstreamCredentialRefused).await;
            assert_eq!((record.upstream_status, record.status), (401, 502));
            assert!(record.credential.is_some());
        }
        world.done().await;
    }
}

#[tokio::test]
async fn nothing_is_sent_where_nothing_can_be() {
    let targets = "[{ provider: a, model: m, credential: none }, { provider: away, model: m, priority: 1 },
        { provider: b, model: m, priority: 2 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", LENIENT).await;
    let told = world.ask(chat(false)).await;
    assert_eq!((told.status(), told.text()), (200, whole("b")));
    let record = world.outcome(R::Served).await;
    let ends =
        [("a", TriedEnd::Outcome(R::CredentialUnavailable)), ("away", TriedEnd::Outcome(R::UpstreamConnectFailed))];
    assert_eq!(tried(&record), ends);
    assert_eq!(vendors.asked(0), ["b"]);
    // With nobody to turn to the failure is the answer.
    drop(world);
    let world =
        world_of(&vendors, "[{ provider: a, model: m, credential: none }, { provider: away, model: m }]", "", LENIENT)
            .await;
    assert!([502, 503].contains(&world.ask(chat(false)).await.status()));
    let record = world.record().await;
    assert!([R::CredentialUnavailable, R::UpstreamConnectFailed].contains(&record.outcome), "{record:?}");
    assert_eq!(tried(&record).len(), 1);
    world.done().await;
}

#[tokio::test]
async fn providers_of_other_dialects_take_over_whole_and_streamed() {
    for (other, streams) in [("ant", false), ("ant", true), ("goo", false), ("b", true)] {
        let targets =
            format!("[{{ provider: a, model: real-a }}, {{ provider: {other}, model: real-b, priority: 1 }}]");
        let vendors = Vendors::start().await;
        let world = world_of(&vendors, &targets, "", LENIENT).await;
        vendors.set("a", "503");
        let told = world.ask(chat(streams)).await;
        assert_eq!(told.status(), 200, "{}", told.text());
        let said = match streams {
            false => serde_json::from_slice::<Value>(&told.body).unwrap()["choices"][0]["message"]["content"].clone(),
            true => {
                assert!(told.text().ends_with("data: [DONE]\n\n"), "{}", told.text());
                let chunks = told.text();
                let chunks =
                    chunks.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
                let said = chunks.filter_map(|c| c["choices"][0]["delta"]["content"].as_str().map(str::to_owned));
                said.collect::<String>().into()
            }
        };
        assert_eq!(said, format!("hi from {other}"));
        let record = world.outcome(R::Served).await;
        assert_eq!((served_by(&record).0, tried(&record)), (other, vec![("a", TriedEnd::Status(503))]));
        assert_eq!(record.model.as_ref().unwrap().tokens.map(|t| (t.input, t.output)), Some((10, 5)), "{other}");
        world.done().await;
    }
    // And the other way round: from Messages to Chat Completions and back.
    let vendors = Vendors::start().await;
    let targets = "[{ provider: ant, model: m }, { provider: a, model: m, priority: 1 }]";
    let world = world_of(&vendors, targets, "", LENIENT).await;
    vendors.set("ant", "stream error");
    let body =
        json!({"model": "m", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "hello"}]});
    let told = world.ask(post("/v1/messages", "", &body.to_string())).await;
    assert!(told.text().contains("hi from a") && told.text().contains("message_stop"), "{}", told.text());
    assert!(!told.text().contains("verloaded"));
    assert_eq!(tried(&world.outcome(R::Served).await), [("ant", TriedEnd::StreamError)]);
    world.done().await;
}

#[tokio::test]
async fn a_stream_that_fails_before_its_first_token_begins_anew_elsewhere() {
    for (how, end) in [("stream error", TriedEnd::StreamError), ("stream cut", TriedEnd::Outcome(R::UpstreamTruncated))]
    {
        for vendor in ["a", "ant"] {
            let targets = format!("[{{ provider: {vendor}, model: m }}, {{ provider: b, model: m, priority: 1 }}]");
            let vendors = Vendors::start().await;
            let world = world_of(&vendors, &targets, "", LENIENT).await;
            vendors.set(vendor, how);
            let told = world.ask(chat(true)).await;
            assert_eq!((told.status(), told.text()), (200, greeting("b") + &words("b")));
            assert_eq!(tried(&world.outcome(R::Served).await), [(vendor, end)], "{how}");
            world.done().await;
        }
    }
}

#[tokio::test]
async fn nothing_begins_anew_once_something_was_said() {
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, TWO, "", LENIENT).await;
    vendors.set("a", "stream late error");
    let told = world.ask(chat(true)).await;
    assert!(told.text().contains("hi from a") && told.text().contains("Overloaded"), "{}", told.text());
    assert_eq!(tried(&world.record().await), []);
    // And a whole answer that is cut.
    assert_eq!(vendors.asked(0), ["a"]);
    // With the last target there is nothing to wait for either: what comes passes as it comes.
    vendors.set("a", "503");
    vendors.set("b", "stream error");
    let told = world.ask(chat(true)).await;
    assert_eq!(told.text(), greeting("b") + &format!("event: error\ndata: {OVERLOADED}\n\n"));
    assert_eq!(tried(&world.record().await), [("a", TriedEnd::Status(503))]);
    world.done().await;
}

#[tokio::test]
async fn the_last_failure_is_the_answer_and_all_are_in_the_record() {
    let targets =
        "[{ provider: a, model: m }, { provider: x, model: m, priority: 1 }, { provider: b, model: m, priority: 7 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", LENIENT).await;
    for (vendor, how) in [("a", "500"), ("x", "drop"), ("b", "429 9")] {
        vendors.set(vendor, how);
    }
    let told = world.ask(chat(false)).await;
    assert_eq!((told.status(), told.field("retry-after")), (429, Some("9")));
    assert!(told.text().contains("no from b"));
    let record = world.outcome(R::Served).await;
    assert_eq!(tried(&record), [("a", TriedEnd::Status(500)), ("x", TriedEnd::Outcome(R::UpstreamReset))]);
    assert_eq!((served_by(&record), record.upstream_status), (("b", "m", 3), 429));
    world.done().await;
}

#[tokio::test]
async fn a_target_that_could_not_say_the_same_is_passed_over() {
    let targets =
        "[{ provider: a, model: m }, { provider: ant, model: m, priority: 1 }, { provider: b, model: m, priority: 2 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", LENIENT).await;
    vendors.set("a", "503");
    // Two choices are nothing that Messages have.
    let body = json!({"model": "m", "n": 2, "messages": [{"role": "user", "content": "hello"}]}).to_string();
    let ask = || world.ask(post("/v1/chat/completions", "", &body));
    assert_eq!(ask().await.text(), whole("b"));
    assert_eq!(tried(&world.outcome(R::Served).await), [("a", TriedEnd::Status(503))]);
    vendors.set("b", "503");
    let told = ask().await;
    assert!(told.status() == 503 && told.text().contains("no from b"));
    world.served(1).await;
    assert_eq!(vendors.asked(0), ["a", "b", "a", "b"]);
    world.done().await;
}

#[tokio::test]
async fn a_provider_that_may_be_at_work_on_a_call_is_not_sent_it_again() {
    let targets = "[{ provider: a, model: one }, { provider: a, model: two, priority: 1 }, { provider: b, model: m, priority: 2 }]";
    for (how, asked) in [("503", &["a", "a", "b"][..]), ("garbage", &["a", "b"]), ("drop", &["a", "b"])] {
        let vendors = Vendors::start().await;
        let world = world_of(&vendors, targets, "", LENIENT).await;
        vendors.set("a", how);
        assert_eq!(world.ask(chat(false)).await.text(), whole("b"), "{how}");
        world.served(1).await;
        assert_eq!(vendors.asked(0), asked, "{how}");
        world.done().await;
    }
}

#[tokio::test]
async fn what_only_another_target_is_sent_is_looked_at_for_secrets_too() {
    // A translated call leaves its metadata behind; one that is not takes them along.
    let targets = "[{ provider: ant, model: m }, { provider: b, model: m, priority: 1 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", LENIENT).await;
    let body =
        json!({"model": "m", "metadata": {"note": key("k2")}, "messages": [{"role": "user", "content": "hello"}]});
    let call = post("/v1/chat/completions", "content-type: application/json\r\n", &body.to_string());
    assert_eq!(world.ask(&call).await.status(), 200);
    world.served(1).await;
    vendors.set("ant", "503");
    let told = world.ask(&call).await;
    assert_eq!(told.status(), 400, "{}", told.text());
    let record = world.outcome(R::SecretInRequest).await;
    assert_eq!(tried(&record), [("ant", TriedEnd::Status(503))]);
    assert_eq!(vendors.asked(0), ["ant", "ant"], "it did not go on");
    world.done().await;
}

#[tokio::test]
async fn tokens_are_counted_only_where_they_are_counted_exactly() {
    let targets = "[{ provider: ant, model: m }, { provider: a, model: m, priority: 1 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", LENIENT).await;
    vendors.set("ant", "529");
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).to_string();
    assert_eq!(world.ask(post("/v1/messages/count_tokens", "", &body)).await.status(), 529);
    assert_eq!(tried(&world.outcome(R::Served).await), []);
    assert_eq!(vendors.asked(0), ["ant"]);
    world.done().await;
}

#[tokio::test]
async fn equals_share_by_weight_and_others_wait_for_their_failure() {
    let targets =
        "[{ provider: b, model: m, priority: 5 }, { provider: a, model: m, weight: 3 }, { provider: x, model: m }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", LENIENT).await;
    for _ in 0..8 {
        world.ask(chat(false)).await;
    }
    world.served(8).await;
    let asked = vendors.asked(0);
    let of = |vendor: &str| asked.iter().filter(|one| *one == vendor).count();
    assert_eq!((of("a"), of("x"), of("b")), (6, 2, 0), "{asked:?}");
    // The equal one comes before the one behind both.
    vendors.set("a", "500");
    for _ in 0..4 {
        assert!(world.ask(chat(false)).await.text().contains("hi from x"));
        world.served(1).await;
    }
    vendors.set("x", "500");
    assert!(world.ask(chat(false)).await.text().contains("hi from b"));
    assert_eq!(tried(&world.outcome(R::Served).await).len(), 2);
    world.done().await;
}

#[tokio::test]
async fn what_fails_is_left_alone_and_one_call_finds_out_when_it_is_well() {
    // As long as the provider asks, at once; failures of no length after so many.
    for (how, health, fails) in
        [("503", "health: { failures: 3, cooldown: 1h },", 3), ("429 3600", LENIENT, 1), ("401", STRICT, 1)]
    {
        let vendors = Vendors::start().await;
        let world = world_of(&vendors, TWO, "", health).await;
        vendors.set("a", how);
        for n in 0..5 {
            assert!(world.ask(chat(false)).await.text().contains("hi from b"), "{how}");
            let record = world.outcome(R::Served).await;
            assert_eq!(tried(&record).len(), usize::from(n < fails), "{how}: call {n}");
            assert_eq!(record.attempts, if n < fails { 2 } else { 1 });
        }
        // Nobody is refused untried: where everybody else has failed, one that rests is asked, and where all do, the one
        // whose failure is longest ago comes first.
        vendors.set("b", "429 3600");
        let before = vendors.upstream.requests().len();
        world.ask(chat(false)).await;
        assert_eq!(vendors.asked(before), ["b", "a"], "{how}");
        let record = world.outcome(if how == "401" { R::UpstreamCredentialRefused } else { R::Served }).await;
        assert_eq!(tried(&record).len(), 1, "{how}");
        let before = vendors.upstream.requests().len();
        vendors.set("a", "");
        assert!(world.ask(chat(false)).await.text().contains("hi from a"), "{how}");
        assert_eq!(vendors.asked(before), ["b", "a"], "{how}");
        world.served(1).await;
        // It served: it is well again, and first.
        assert!(world.ask(chat(false)).await.text().contains("hi from a"), "{how}");
        world.served(1).await;
        world.done().await;
    }
    // And it comes back by itself.
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, TWO, "", "health: { failures: 1, cooldown: 1s },").await;
    vendors.set("a", "503");
    assert!(world.ask(chat(false)).await.text().contains("hi from b"));
    vendors.set("a", "");
    let mut calls = 1;
    within(async {
        loop {
            calls += 1;
            if world.ask(chat(false)).await.text().contains("hi from a") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    world.served(calls).await;
    world.done().await;
}

/// Another configuration of the same upstreams, of which only `b` injects.
fn yaml_of(vendors: &Vendors, targets: &str) -> String {
    format!(
        "applications: [{{ name: app, allow: {{ models: [m] }} }}]
keys: [{{ name: k, application: app }}]
credentials: [{{ name: k1, engine: static }}, {{ name: d, engine: static }}]
upstreams:
  - {{ name: a, endpoints: [\"{0}/a\"], provider: openai-chat }}
  - {{ name: b, endpoints: [\"{0}/b\"], provider: openai-chat, inject: {{ bearer: d }} }}
models: [{{ name: m, targets: {targets} }}]
",
        vendors.upstream.url()
    )
}

#[tokio::test]
async fn a_new_version_of_a_credential_and_another_configuration_of_the_rest_keep_what_is_known() {
    let targets = "[{ provider: a, model: m, credential: k1 }, { provider: b, model: m, priority: 1 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", STRICT).await;
    vendors.set("a", "401");
    world.ask(chat(false)).await;
    assert_eq!(tried(&world.outcome(R::Served).await), [("a", TriedEnd::Status(401))]);
    vendors.set("a", "");
    let yaml = |targets: &str| yaml_of(&vendors, targets);
    world.install(&yaml(targets), &[("k1", 5, "K1-of-the-pool"), ("d", 4, "key-of-d-4444")], &[]).await;
    assert!(world.ask(chat(false)).await.text().contains("hi from b"), "it was refused, and still is the same");
    world.served(1).await;
    world.install(&yaml(targets), &[("k1", 6, "K1-anew-anew"), ("d", 4, "key-of-d-4444")], &[]).await;
    assert!(world.ask(chat(false)).await.text().contains("hi from a"), "nobody has refused the new one");
    world.served(1).await;
    world.done().await;

    // The same where the upstream injects it.
    let targets = "[{ provider: b, model: m }, { provider: a, model: m, priority: 1 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", STRICT).await;
    vendors.set("b", "401");
    world.ask(chat(false)).await;
    assert_eq!(tried(&world.outcome(R::Served).await), [("b", TriedEnd::Status(401))]);
    vendors.set("b", "");
    let yaml = yaml_of(&vendors, targets);
    for (version, served_by) in [(4, "a"), (5, "b")] {
        world.install(&yaml, &[("k1", 5, "K1-of-the-pool"), ("d", version, "key-of-d-4444")], &[]).await;
        assert_eq!(world.ask(chat(false)).await.text(), whole(served_by), "version {version}");
        world.served(1).await;
    }
    world.done().await;
}

#[tokio::test]
async fn the_keys_of_a_pool_take_turns_and_stand_in_for_each_other() {
    let targets = "[{ provider: a, model: m, credentials: [{ name: k1, weight: 2 }, { name: k2 }] }, { provider: b, model: m, priority: 1 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", STRICT).await;
    let key = |record: &UsageRecord| record.credential.as_ref().unwrap().credential.to_string();
    let mut used = Vec::new();
    for _ in 0..6 {
        world.ask(chat(false)).await;
        used.push(key(&world.outcome(R::Served).await));
    }
    assert_eq!(used.iter().filter(|name| *name == "k1").count(), 4, "{used:?}");
    // One is refused: the other serves, and goes on serving alone.
    vendors.set("a with K1-of-the-pool", "401");
    let mut refused = 0;
    for _ in 0..6 {
        assert!(world.ask(chat(false)).await.text().contains("hi from a"));
        let record = world.outcome(R::Served).await;
        assert_eq!(key(&record), "k2");
        for one in &record.model.as_ref().unwrap().tried {
            assert_eq!((&*one.credential.as_ref().unwrap().credential, one.end), ("k1", TriedEnd::Status(401)));
            refused += 1;
        }
    }
    assert_eq!(refused, 1, "it is left alone");
    // Both have had enough: the next target.
    vendors.set("a with K2-of-the-pool", "429 3600");
    assert!(world.ask(chat(false)).await.text().contains("hi from b"));
    let record = world.outcome(R::Served).await;
    assert_eq!((tried(&record), record.attempts), (vec![("a", TriedEnd::Status(429))], 2));
    let before = vendors.upstream.requests().len();
    world.ask(chat(false)).await;
    world.served(1).await;
    assert_eq!(vendors.asked(before), ["b"]);
    world.done().await;

    // One target is enough for a pool, and a failure that is not the key's is not tried with another.
    let vendors = Vendors::start().await;
    let world = world_of(
        &vendors,
        "[{ provider: a, model: m, credentials: [{ name: none }, { name: k1 }, { name: k2 }] }]",
        "",
        LENIENT,
    )
    .await;
    vendors.set("a with K1-of-the-pool", "403");
    for _ in 0..3 {
        assert!(world.ask(chat(true)).await.text().contains("hi from a"));
        assert_eq!(key(&world.outcome(R::Served).await), "k2");
    }
    vendors.set("a", "500");
    vendors.set("a with K1-of-the-pool", "500");
    let before = vendors.upstream.requests().len();
    assert_eq!(world.ask(chat(false)).await.status(), 500);
    world.served(1).await;
    assert_eq!(vendors.asked(before), ["a"]);
    world.done().await;
}

#[tokio::test]
async fn a_dry_run_says_where_calls_go_and_what_is_left_alone() {
    let targets = "[{ provider: a, model: m, weight: 2, credentials: [{ name: k1 }, { name: k2 }] },
        { provider: x, model: m }, { provider: ant, model: m, priority: 1 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", STRICT).await;
    let route = || async { world.gateway.preview("m", Dialect::OpenAi.into()).await.unwrap() };
    let shares = |route: &ModelRoute| route.targets.iter().map(|t| t.percent.round() as u32).collect::<Vec<_>>();
    let found = route().await;
    assert_eq!((found.workers, shares(&found)), (1, vec![67, 33, 0]));
    assert_eq!(found.targets.iter().map(|t| t.translates).collect::<Vec<_>>(), [false, false, true]);
    assert!(found.targets.iter().all(|t| t.rest.is_none()));
    vendors.set("a with K1-of-the-pool", "401");
    for _ in 0..6 {
        world.ask(chat(false)).await;
    }
    let found = route().await;
    let [first, second] = &found.targets[0].credentials[..] else { panic!("two credentials") };
    assert_eq!((first.name.as_deref(), first.rest.as_ref().unwrap().end), (Some("k1"), Some(TriedEnd::Status(401))));
    assert_eq!((second.name.as_deref(), &second.rest), (Some("k2"), &None));
    assert_eq!(shares(&found), [67, 33, 0], "the other one is left");
    vendors.set("a with K2-of-the-pool", "429 3600");
    vendors.set("x", "500");
    for _ in 0..6 {
        assert_eq!(world.ask(chat(false)).await.status(), 200);
    }
    let found = route().await;
    assert_eq!(shares(&found), [0, 0, 100]);
    let rest = found.targets[1].rest.as_ref().unwrap();
    assert_eq!((rest.workers, rest.end), (1, Some(TriedEnd::Status(500))));
    assert!(world.gateway.preview("nobody", Dialect::OpenAi.into()).await.is_none());
    world.served(12).await;
    world.done().await;
}

#[tokio::test]
async fn time_for_one_target_and_for_all_of_them() {
    let targets = "[{ provider: a, model: m, timeout: 1s }, { provider: x, model: m, priority: 1, timeout: 1s }, { provider: b, model: m, priority: 2 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", LENIENT).await;
    vendors.set("a", "hang");
    vendors.set("x", "stream hang");
    assert!(world.ask(chat(true)).await.text().contains("hi from b"));
    let late = TriedEnd::Outcome(R::UpstreamTimeout);
    assert_eq!(tried(&world.outcome(R::Served).await), [("a", late), ("x", late)]);
    world.done().await;

    // The deadline of the model ends the call, though there would be another target.
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, TWO, ", deadline: 1s", LENIENT).await;
    vendors.set("a", "hang");
    assert_eq!(world.ask(chat(false)).await.status(), 504);
    let record = world.outcome(R::UpstreamTimeout).await;
    assert_eq!((served_by(&record).0, tried(&record)), ("a", vec![]));
    vendors.set("a", "stream hang");
    assert_eq!(world.ask(chat(true)).await.status(), 504);
    world.outcome(R::UpstreamTimeout).await;
    assert_eq!(vendors.asked(0), ["a", "a"]);
    world.done().await;
}

#[tokio::test]
async fn budgets_pay_for_what_was_served_and_for_what_may_have_been() {
    const MICRO: i64 = 1_000_000;
    let prices = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }]";
    let targets =
        format!("[{{ provider: a, model: m, {prices} }}, {{ provider: b, model: m, priority: 1, {prices} }}]");
    let budget = ", budget: { usd: 5, per: month }";
    let said = r#"json 400 {"error":"Incorrect API key provided: xa***Ju."}"#;
    for (how, streams) in [("503", false), ("429", false), ("stream error", true), ("401", true), (said, false)] {
        let vendors = Vendors::start().await;
        let world = world_with(&vendors, &targets, "", LENIENT, budget).await;
        vendors.set("a", how);
        assert_eq!(world.ask(chat(streams)).await.status(), 200);
        let record = world.outcome(R::Served).await;
        assert_eq!(tried(&record).len(), 1);
        // What was answered with an error costs nothing.
        assert_eq!(record.model.as_ref().unwrap().cost, Some(Cost::Known(usd(60 * MICRO))), "{how}");
        let account = world.book.live()[0].account(std::time::SystemTime::now().into());
        assert_eq!((account.free(), account.held()), (-60 * MICRO, 0), "{how}");
        world.done().await;
    }
    // It had the call whole and may have worked on it: all that was reserved for it is charged too.
    let vendors = Vendors::start().await;
    let world = world_with(&vendors, &targets, "", LENIENT, budget).await;
    vendors.set("a", "garbage");
    let body = json!({"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}).to_string();
    assert_eq!(world.ask(post("/v1/chat/completions", "", &body)).await.status(), 200);
    let record = world.outcome(R::Served).await;
    let most = (record.bytes_in as i64 + 20 * 10) * MICRO;
    let model = record.model.as_ref().unwrap();
    assert_eq!(model.cost, Some(Cost::Estimated(usd(most + 60 * MICRO))));
    assert!(model.budgets.as_deref().is_some_and(|b| b.starts_with("applications/app/month@")));
    let account = world.book.live()[0].account(std::time::SystemTime::now().into());
    assert_eq!((account.free(), account.held()), (-most - 60 * MICRO, 0));
    // Also where nobody serves it in the end.
    vendors.set("b", "500");
    let told = world.ask(post("/v1/chat/completions", "", &body)).await;
    assert_eq!(told.status(), 500);
    let record = world.outcome(R::Served).await;
    assert_eq!(record.model.as_ref().unwrap().cost, Some(Cost::Estimated(usd(most))));
    assert_eq!((account.free(), account.held()), (-2 * most - 60 * MICRO, 0));
    let kept = world.records.journaled(&record).unwrap();
    assert_eq!((kept.status, kept.ttfb_us), (500, 0), "kept before anything of the answer went");
    vendors.set("b", "garbage");
    let told = world.ask(post("/v1/chat/completions", "", &body)).await;
    assert_eq!(told.status(), 502);
    let record = world.outcome(R::UpstreamMalformed).await;
    assert_eq!(record.model.as_ref().unwrap().cost, Some(Cost::Estimated(usd(2 * most))));
    let kept = world.records.journaled(&record).unwrap();
    assert_eq!((kept.status, kept.outcome, kept.ttfb_us), (502, R::UpstreamMalformed, 0));
    world.done().await;
}
