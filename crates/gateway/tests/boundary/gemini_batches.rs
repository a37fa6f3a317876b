//! Batches in Google's form: what is checked of their calls, whose they are, and what comes back of them.

use crate::{batches::Keeper, harness::*};
use credentialflow_model::{OutcomeReason as R, objects::ObjectKind};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const JSON: &str = "content-type: application/json\r\n";
const CREATE: &str = "/v1beta/models/small:batchGenerateContent";

/// What Google tells of its one batch, which is in this state.
fn told(state: &str) -> Value {
    let mut told = json!({"name": "batches/There1", "metadata": {"@type": "b", "name": "batches/There1",
        "model": "models/gemini-real", "displayName": "nightly", "createTime": "2026-11-23T00:00:00Z", "state": state}});
    if state == "BATCH_STATE_SUCCEEDED" {
        let answer = |text: &str| {
            json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}})
        };
        let list = json!({"inlinedResponses": {"inlinedResponses": [
            {"response": answer("a red tulip"), "metadata": {"key": "a"}},
            {"response": answer("write to ada@example.com")},
            {"error": {"code": 13, "message": "no"}}]}});
        told["metadata"]["output"] = list.clone();
        (told["done"], told["response"]) = (true.into(), list);
    }
    told
}

async fn google(state: &Arc<Mutex<&'static str>>) -> FakeUpstream {
    let state = state.clone();
    FakeUpstream::start(move |mut peer| {
        let state = state.clone();
        async move {
            while let Some(request) = peer.request().await {
                let told = match (request.method(), request.target()) {
                    _ if request.field("x-goog-api-key") != Some(SECRET) => answer(403, JSON, "{}"),
                    ("POST", "/v1beta/models/gemini-real:batchGenerateContent") | ("GET", "/v1beta/batches/There1") => {
                        answer(200, JSON, &told(*state.lock().unwrap()).to_string())
                    }
                    ("POST", "/v1beta/batches/There1:cancel") | ("DELETE", "/v1beta/batches/There1") => {
                        answer(200, JSON, "{}")
                    }
                    _ => answer(404, JSON, "{}"),
                };
                peer.send(told).await;
            }
        }
    })
    .await
}

fn yaml(at: &FakeUpstream, guardrails: &str) -> String {
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [small, chat] }} }}
  - {{ name: other, allow: {{ models: [small] }} }}
keys:
  - {{ name: k, application: app }}
  - {{ name: k2, application: other }}
credentials:
  - {{ name: c, engine: static }}
upstreams:
  - {{ name: google, endpoints: [\"{0}/v1beta\"], provider: gemini }}
  - {{ name: openai, endpoints: [\"{0}/v1\"], provider: openai, inject: {{ bearer: c }} }}
models:
  - {{ name: small, targets: [{{ provider: google, model: gemini-real, credential: c }}], guardrails: [{guardrails}] }}
  - {{ name: secret, targets: [{{ provider: google, model: gemini-real, credential: c }}] }}
  - {{ name: chat, targets: [{{ provider: openai, model: real }}] }}
",
        at.url()
    )
}

fn world(yaml: String) -> (World, Arc<Keeper>) {
    let keeper = Arc::<Keeper>::default();
    let mut setup = Setup::new(yaml);
    setup.objects = Some(keeper.clone());
    setup.workers = 1;
    (setup.start(), keeper)
}

fn parsed(answer: &Message) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", said(answer)))
}

fn said(answer: &Message) -> String {
    format!("{} {}", answer.first, String::from_utf8_lossy(&answer.body))
}

fn batch(texts: &[&str]) -> String {
    let one = |text: &&str| json!({"request": {"contents": [{"parts": [{"text": text}]}], "model": "models/small"}, "metadata": {"key": text}});
    let all: Vec<Value> = texts.iter().map(one).collect();
    json!({"batch": {"displayName": "nightly", "inputConfig": {"requests": {"requests": all}}}}).to_string()
}

fn request(method: &str, path: &str, who: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: gw\r\nx-goog-api-key: {}\r\ncontent-length: 0\r\n\r\n", key(who))
}

#[tokio::test]
async fn a_batch_is_made_followed_and_its_answers_are_judged() {
    let state = Arc::new(Mutex::new("BATCH_STATE_PENDING"));
    let upstream = google(&state).await;
    let rules = "{ detect: words, action: block, words: [tulip], on: answer }, \
                 { detect: personal_data, action: redact, kinds: [email], on: answer }";
    let (world, keeper) = world(yaml(&upstream, rules));
    let made = world.ask(post(CREATE, JSON, &batch(&["one", "two"]))).await;
    assert_eq!(made.status(), 200, "{}", said(&made));
    let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
    let expect = batch(&["one", "two"]).replace("models/small", "models/gemini-real");
    assert_eq!(sent, serde_json::from_str::<Value>(&expect).unwrap(), "the provider's name of the model");
    let made = parsed(&made);
    let name = made["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("batches/") && !made.to_string().contains("There1"), "{made}");
    assert_eq!(made["metadata"]["model"], "models/small");
    let path = format!("/v1beta/{name}");
    assert_eq!(parsed(&world.get(&path, "").await), made);
    let kept = keeper.objects.lock().unwrap()[0].clone();
    assert_eq!((kept.kind, kept.facts.calls, kept.upstream_id.as_str()), (ObjectKind::GeminiBatch, 2, "There1"));

    let listed = parsed(&world.get("/v1beta/batches?pageSize=5", "").await);
    assert_eq!(listed["operations"][0]["name"], *name);
    // Where Google's SDK for Python asks.
    assert_eq!(parsed(&world.ask(request("GET", "/v1/batches", "k")).await), listed);
    assert_eq!(parsed(&world.ask(request("GET", &format!("/v1/{name}"), "k")).await), made);
    let cancelled = world.ask(request("POST", &format!("{path}:cancel"), "k")).await;
    assert_eq!((cancelled.status(), &*cancelled.body), (200, &b"{}"[..]), "{}", said(&cancelled));

    *state.lock().unwrap() = "BATCH_STATE_SUCCEEDED";
    let over = parsed(&world.get(&path, "").await);
    for place in [&over["metadata"]["output"], &over["response"]] {
        let all = &place["inlinedResponses"]["inlinedResponses"];
        assert_eq!((&all[0]["response"], &all[0]["metadata"]["key"]), (&Value::Null, &json!("a")), "{over}");
        assert_eq!(all[0]["error"]["message"], "it holds a word that is not allowed");
        let text = all[1]["response"]["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("write to [") && !text.contains("ada@"), "{text}");
        assert_eq!(all[2]["error"]["code"], 13);
    }
    assert!(!over.to_string().contains("tulip\"") && !over.to_string().contains("There1"), "{over}");
    let kept = keeper.objects.lock().unwrap().iter().find(|one| one.id == name).unwrap().clone();
    assert!(!kept.body.contains("write to") && kept.body.contains("SUCCEEDED"), "{}", kept.body);
    for _ in 0..6 {
        world.outcome(R::Served).await;
    }
    let found = world.outcome(R::Served).await.model.unwrap().guardrails.unwrap();
    assert!(found.contains("answer/words/block") && found.contains("answer/personal_data/redact"), "{found}");
    world.done().await;
}

#[tokio::test]
async fn nobody_elses_batch_and_nothing_unseen() {
    let upstream = google(&Arc::new(Mutex::new("BATCH_STATE_RUNNING"))).await;
    let (world, _) = world(yaml(&upstream, "{ detect: words, action: block, words: [tulip] }"));
    let made = parsed(&world.ask(post(CREATE, JSON, &batch(&["one"]))).await);
    world.outcome(R::Served).await;
    let path = format!("/v1beta/{}", made["name"].as_str().unwrap());
    let cancel = format!("{path}:cancel");
    for (method, path) in [("GET", &path), ("DELETE", &path), ("POST", &cancel)] {
        let told = world.ask(request(method, path, "k2")).await;
        assert_eq!(told.status(), 404, "{method} {}", said(&told));
        world.outcome(R::ObjectNotFound).await;
    }
    for (method, path) in [("GET", "/v1beta/batches/There1"), ("POST", &path), ("GET", &cancel)] {
        assert_eq!(world.ask(request(method, path, "k")).await.status(), 404, "{method} {path}");
        world.outcome(R::ObjectNotFound).await;
    }
    let waits = world.ask(request("DELETE", &path, "k")).await;
    assert!(waits.status() == 400 && said(&waits).contains("not settled"), "{}", said(&waits));
    world.outcome(R::InvalidModelCall).await;

    let asked = upstream.last().first;
    let file = r#"{"batch":{"inputConfig":{"fileName":"files/a"}}}"#.to_owned();
    let hook = batch(&["one"]).replace("\"displayName\"", "\"webhookConfig\":{},\"displayName\"");
    let named = batch(&["one"]).replace("\"contents\"", "\"cachedContent\":\"cachedContents/x\",\"contents\"");
    for (path, body, words, reason) in [
        (CREATE, file, "not in a file", R::InvalidModelCall),
        (CREATE, hook, "nothing else", R::InvalidModelCall),
        (CREATE, batch(&[]), "no requests", R::InvalidModelCall),
        (CREATE, batch(&["one", "a tulip"]), "call 2 of the batch", R::PromptBlocked),
        (CREATE, batch(&["one"]).replace("models/small", "models/secret"), "another model", R::InvalidModelCall),
        (CREATE, batch(&["one"]).replace("\"metadata\"", "\"other\""), "call 1 of the batch", R::InvalidModelCall),
        (
            "/v1beta/models/chat:batchGenerateContent",
            batch(&["one"]).replace("small", "chat"),
            "no provider of this model takes batches",
            R::InvalidModelCall,
        ),
        (
            "/v1beta/models/nothing:batchGenerateContent",
            batch(&["one"]).replace("small", "nothing"),
            "no such model",
            R::ModelNotFound,
        ),
        (
            "/v1beta/models/secret:batchGenerateContent",
            batch(&["one"]).replace("small", "secret"),
            "no such model",
            R::ModelNotFound,
        ),
    ] {
        let told = world.ask(post(path, JSON, &body)).await;
        assert!(told.status() >= 400 && said(&told).contains(words), "{words}: {}", said(&told));
        world.outcome(reason).await;
    }
    let told = world.ask(post(CREATE, JSON, &named)).await;
    assert_eq!(told.status(), 400, "what lasts in a shared account: {}", said(&told));
    world.record().await;
    assert_eq!(upstream.last().first, asked, "the provider was not asked");
    world.done().await;
}
