//! Files and batches of callers: what is checked of them now and later, and what asking for them costs.

use crate::harness::*;
use credentialflow_gateway::ports::{Kept, ObjectKeeper, ObjectList, ObjectPage};
use credentialflow_model::{
    OutcomeReason as R,
    objects::{ModelObject, ObjectFacts, ObjectKind, ObjectState},
};
use serde_json::{Value, json};
use std::{
    future::{pending, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

/// Keeps objects in memory, as the roof does in a database.
#[derive(Default)]
pub struct Keeper {
    pub objects: Mutex<Vec<ModelObject>>,
    saw: AtomicUsize,
    asked: Mutex<Vec<ObjectPage>>,
    /// Holds nothing back, and does not answer.
    hangs: AtomicBool,
}

impl Keeper {
    fn change(&self, object: ModelObject) -> Kept<()> {
        let mut objects = self.objects.lock().unwrap();
        objects.retain(|other| other.id != object.id);
        objects.push(object);
        Box::pin(ready(Ok(())))
    }
}

impl ObjectKeeper for Keeper {
    fn find(&self, application: &str, id: &str) -> Kept<Option<ModelObject>> {
        let objects = self.objects.lock().unwrap();
        let found = objects.iter().find(|object| object.id == id && object.application == application);
        Box::pin(ready(Ok(found.cloned())))
    }
    fn find_all(&self, application: &str, ids: Vec<String>) -> Kept<Vec<ModelObject>> {
        let objects = self.objects.lock().unwrap();
        let found = objects.iter().filter(|object| object.application == application && ids.contains(&object.id));
        Box::pin(ready(Ok(found.cloned().collect())))
    }
    fn list(&self, _: &str, kind: ObjectKind, page: ObjectPage) -> Kept<ObjectList> {
        let objects = self.objects.lock().unwrap().iter().filter(|object| object.kind == kind).cloned().collect();
        self.asked.lock().unwrap().push(page);
        Box::pin(ready(Ok(ObjectList { objects, more: true })))
    }
    fn add(&self, file: ModelObject) -> Kept<()> {
        self.change(file)
    }
    fn hold(&self, batch: ModelObject) -> Kept<Option<String>> {
        if self.hangs.load(Relaxed) {
            return Box::pin(pending());
        }
        let kept = self.change(batch);
        Box::pin(async { kept.await.map(|()| None) })
    }
    fn began(&self, batch: ModelObject) -> Kept<()> {
        self.change(batch)
    }
    fn refused(&self, batch: ModelObject) -> Kept<()> {
        self.forget(&batch.id)
    }
    fn saw(&self, batch: ModelObject, files: Vec<ModelObject>, _: bool) -> Kept<()> {
        self.saw.fetch_add(1, Relaxed);
        for object in files.into_iter().chain([batch]) {
            drop(self.change(object));
        }
        Box::pin(ready(Ok(())))
    }
    fn forget(&self, id: &str) -> Kept<()> {
        self.objects.lock().unwrap().retain(|object| object.id != id);
        Box::pin(ready(Ok(())))
    }
}

fn yaml(upstream: &FakeUpstream, guardrails: &str) -> String {
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [small] }} }}
keys:
  - {{ name: k, application: app }}
credentials:
  - {{ name: c, engine: static }}
upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1\"], provider: openai, inject: {{ bearer: c }} }}
  - {{ name: asks, endpoints: [\"{0}/asks\"] }}
models:
  - {{ name: small, targets: [{{ provider: mine, model: real }}], guardrails: [{guardrails}] }}
",
        upstream.url()
    )
}

/// A provider with one file and one batch, whose status and whose answers are as told.
async fn provider(status: &Arc<Mutex<Value>>, lines: &'static str) -> FakeUpstream {
    let status = status.clone();
    FakeUpstream::start(move |mut peer| {
        let status = status.clone();
        async move {
            while let Some(request) = peer.request().await {
                let json_type = "content-type: application/json\r\n";
                let batch = || {
                    let mut told = json!({"id": "batch_X", "object": "batch", "input_file_id": "file-X"});
                    let more = status.lock().unwrap().clone();
                    told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                    answer(200, json_type, &told.to_string())
                };
                let told = match (request.method(), request.target()) {
                    ("POST", "/v1/files") => {
                        let mut file =
                            json!({"id": "file-X", "object": "file", "purpose": "batch", "expires_at": 4_000_000_000u64});
                        file["status"] = status.lock().unwrap()["file"].clone();
                        answer(200, json_type, &file.to_string())
                    }
                    ("GET", "/v1/files/file-X") => {
                        answer(200, json_type, r#"{"id":"file-X","object":"file","status":"processed"}"#)
                    }
                    ("POST", "/v1/batches") if status.lock().unwrap().get("answers").is_some() => {
                        let code = status.lock().unwrap()["answers"].as_u64().unwrap();
                        answer(u16::try_from(code).unwrap(), json_type, "{}")
                    }
                    ("POST", "/v1/batches") | ("GET", "/v1/batches/batch_X") => batch(),
                    ("GET", "/v1/files/file-OUT/content") => {
                        answer(200, "content-type: application/x-jsonlines\r\n", lines)
                    }
                    _ => answer(404, json_type, "{}"),
                };
                peer.send(told).await;
            }
        }
    })
    .await
}

fn world(upstream: &FakeUpstream, guardrails: &str) -> (World, Arc<Keeper>) {
    world_of(yaml(upstream, guardrails))
}

fn world_of(yaml: String) -> (World, Arc<Keeper>) {
    let keeper = Arc::<Keeper>::default();
    let mut setup = Setup::new(yaml);
    setup.objects = Some(keeper.clone());
    setup.workers = 1;
    (setup.start(), keeper)
}

async fn upload(world: &World, text: &str) -> Message {
    upload_call(world, &json!({"model": "small", "messages": [{"role": "user", "content": text}]})).await
}

async fn upload_call(world: &World, body: &Value) -> Message {
    let line = json!({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body});
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; \
         name=\"file\"; filename=\"x.jsonl\"\r\n\r\n{line}\n\r\n--b--\r\n"
    );
    world.ask(post("/v1/files", "content-type: multipart/form-data; boundary=b\r\n", &form)).await
}

fn parsed(answer: &Message) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

async fn make(world: &World, file: &Message) -> Message {
    let file = parsed(file)["id"].clone();
    let body = json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    world.ask(post("/v1/batches", "content-type: application/json\r\n", &body.to_string())).await
}

fn said(answer: &Message) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

const WORDS: &str = "{ detect: words, action: block, words: [tulip] }";

#[tokio::test]
async fn a_file_that_other_guardrails_judged_makes_no_batch() {
    let runs = Arc::new(Mutex::new(json!({"status": "in_progress"})));
    let upstream = provider(&runs, "").await;
    let (world, _) = world(&upstream, "");
    let file = upload(&world, "a tulip").await;
    assert_eq!(file.status(), 200, "{}", said(&file));
    world.install(&yaml(&upstream, WORDS), &[("c", 1, SECRET)], &[]).await;
    let refused = make(&world, &file).await;
    assert_eq!(refused.status(), 400);
    assert!(said(&refused).contains("guardrails have changed"), "{}", said(&refused));
    let blocked = upload(&world, "a tulip").await;
    assert_eq!(blocked.status(), 400, "{}", said(&blocked));
    let judged = upload(&world, "a rose").await;
    assert_eq!(make(&world, &judged).await.status(), 200);
    // Others, and then none.
    world.install(&yaml(&upstream, &WORDS.replace("tulip", "rose")), &[("c", 1, SECRET)], &[]).await;
    assert_eq!(make(&world, &judged).await.status(), 400);
    world.install(&yaml(&upstream, ""), &[("c", 1, SECRET)], &[]).await;
    assert_eq!(make(&world, &judged).await.status(), 200);
    for reason in
        [R::Served, R::InvalidModelCall, R::PromptBlocked, R::Served, R::Served, R::InvalidModelCall, R::Served]
    {
        world.outcome(reason).await;
    }
    world.done().await;
}

#[tokio::test]
async fn a_batch_with_what_no_guardrail_can_look_at_goes_to_internal_targets_only() {
    let upstream = provider(&Arc::new(Mutex::new(json!({"status": "in_progress"}))), "").await;
    let route = "{ detect: words, action: route, words: [tulip] }";
    // Batches stay where they go: where calls go first.
    let two = "{ provider: mine, model: real }, { provider: mine, model: real, priority: 1, internal: true }";
    let (world, _) = world_of(yaml(&upstream, route).replace("{ provider: mine, model: real }", two));
    let image = json!({"type": "image_url", "image_url": {"url": "https://images.example/1.png"}});
    let image = json!({"model": "small", "messages": [{"role": "user", "content": [image]}]});
    let refused = upload_call(&world, &image).await;
    assert!(refused.status() == 400 && said(&refused).contains("images, sound or files"), "{}", said(&refused));
    world.outcome(R::PromptBlocked).await;
    assert_eq!(upload(&world, "a rose").await.status(), 200);
    world.outcome(R::Served).await;
    let internal = yaml(&upstream, route).replace("model: real", "model: real, internal: true");
    world.install(&internal, &[("c", 1, SECRET)], &[]).await;
    let file = upload_call(&world, &image).await;
    assert_eq!(make(&world, &file).await.status(), 200, "{}", said(&file));
    world.served(2).await;
    world.done().await;
}

const LINES: &str = concat!(
    r#"{"id":"r1","custom_id":"a","response":{"status_code":200,"body":{"model":"real","choices":[{"index":0,"message":{"role":"assistant","content":"a red tulip"}}]}},"error":null}"#,
    "\n",
    r#"{"id":"r2","custom_id":"b","response":{"status_code":200,"body":{"model":"real","choices":[{"index":0,"message":{"role":"assistant","content":"write to ada@example.com"}}]}},"error":null}"#,
    "\n",
    r#"{"id":"r3","custom_id":"c","response":null,"error":{"code":"server_error","message":"no"}}"#,
    "\n",
    r#"{"id":"r4","custom_id":"d","response":{"status_code":200,"body":{"model":"real","choices":[{"index":0,"message":{"role":"assistant","content":"another tulip"}}]}},"error":null}"#,
    "\n",
    "no line of any batch\n"
);

#[tokio::test]
async fn answers_of_a_batch_are_judged_when_they_are_fetched() {
    let over = Arc::new(Mutex::new(json!({"status": "completed", "output_file_id": "file-OUT"})));
    let upstream = provider(&over, LINES).await;
    let both = "{ detect: words, action: block, words: [tulip], on: answer }, \
                { detect: personal_data, action: redact, kinds: [email], on: answer }";
    let (world, _) = world(&upstream, both);
    let made = make(&world, &upload(&world, "hello").await).await;
    assert_eq!(made.status(), 200, "{}", said(&made));
    let batch = parsed(&made)["id"].as_str().unwrap().to_owned();
    let told = world.get(&format!("/v1/batches/{batch}"), "").await;
    let output = parsed(&told)["output_file_id"].as_str().unwrap().to_owned();
    world.served(3).await;
    let content = world.get(&format!("/v1/files/{output}/content"), "").await;
    let text = said(&content);
    assert!(!text.contains("tulip\"") && !text.contains("ada@"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let blocked = json!({"code": "answer_blocked", "message": "it holds a word that is not allowed"});
    assert_eq!(
        (&lines[0]["custom_id"], &lines[0]["response"], &lines[0]["error"]),
        (&json!("a"), &Value::Null, &blocked)
    );
    assert_eq!(lines[1]["response"]["body"]["model"], "small");
    assert!(
        lines[1]["response"]["body"]["choices"][0]["message"]["content"].as_str().unwrap().starts_with("write to [")
    );
    assert_eq!(lines[2]["error"]["code"], "server_error");
    assert_eq!(lines[3]["error"], blocked);
    assert!(lines[4]["error"]["message"].as_str().unwrap().contains("cannot look at"), "{text}");
    let record = world.outcome(R::Served).await;
    let found = record.model.unwrap().guardrails.unwrap();
    assert!(found.contains("answer/words/block") && found.contains("answer/personal_data/redact"), "{found}");

    // Without rules lines pass, and those that ask others let none pass.
    world.install(&yaml(&upstream, ""), &[("c", 1, SECRET)], &[]).await;
    let content = world.get(&format!("/v1/files/{output}/content"), "").await;
    assert_eq!(said(&content), LINES.replace("\"real\"", "\"small\""));
    let asks = "{ detect: webhook, action: block, upstream: asks, on: answer }";
    world.install(&yaml(&upstream, asks), &[("c", 1, SECRET)], &[]).await;
    let content = world.get(&format!("/v1/files/{output}/content"), "").await;
    assert_eq!(content.status(), 400, "{}", said(&content));
    let refused = upload(&world, "hello").await;
    assert!(said(&refused).contains("ask others"), "{}", said(&refused));
    world.install(&yaml(&upstream, "{ detect: personal_data, action: mask }"), &[("c", 1, SECRET)], &[]).await;
    assert!(said(&upload(&world, "hello").await).contains("mask what is sent"));
    for reason in [R::Served, R::InvalidModelCall, R::InvalidModelCall, R::InvalidModelCall] {
        world.outcome(reason).await;
    }
    world.done().await;
}

#[tokio::test]
async fn what_is_known_already_is_not_written_again() {
    let status = Arc::new(Mutex::new(json!({"status": "in_progress"})));
    let upstream = provider(&status, "").await;
    let (world, keeper) = world(&upstream, "");
    let made = make(&world, &upload(&world, "hello").await).await;
    let path = format!("/v1/batches/{}", parsed(&made)["id"].as_str().unwrap());
    for _ in 0..5 {
        assert_eq!(world.get(&path, "").await.status(), 200);
    }
    assert_eq!(keeper.saw.load(Relaxed), 0, "told when it was made");
    *status.lock().unwrap() = json!({"status": "completed", "output_file_id": "file-OUT"});
    for _ in 0..5 {
        assert_eq!(parsed(&world.get(&path, "").await)["status"], "completed");
    }
    assert_eq!(keeper.saw.load(Relaxed), 1);
    world.served(12).await;
    world.done().await;
}

#[tokio::test]
async fn a_batch_stays_when_the_file_with_its_calls_is_forgotten() {
    let over = Arc::new(Mutex::new(json!({"status": "completed", "output_file_id": "file-OUT"})));
    let upstream = provider(&over, "").await;
    let (world, keeper) = world(&upstream, "");
    let made = make(&world, &upload(&world, "hello").await).await;
    assert_eq!(made.status(), 200, "{}", said(&made));
    let ends: Vec<_> = keeper.objects.lock().unwrap().iter().map(|one| (one.kind, one.facts.expires)).collect();
    let of_file = Some(credentialflow_model::Timestamp::from_secs(4_000_000_000));
    assert_eq!(ends, [(ObjectKind::File, of_file), (ObjectKind::File, None), (ObjectKind::Batch, None)]);
    world.served(2).await;
    world.done().await;
}

#[tokio::test]
async fn a_file_that_was_not_ready_is_told_of_as_its_provider_does_now() {
    let status = Arc::new(Mutex::new(json!({"status": "in_progress", "file": "pending"})));
    let upstream = provider(&status, "").await;
    let (world, _) = world(&upstream, "");
    for (told, now, asked) in [("pending", "processed", "GET /v1/files/file-X"), ("error", "error", "POST /v1/files")] {
        status.lock().unwrap()["file"] = told.into();
        let file = parsed(&upload(&world, "hello").await);
        assert_eq!(file["status"], told);
        let told = parsed(&world.get(&format!("/v1/files/{}", file["id"].as_str().unwrap()), "").await);
        assert_eq!((&told["status"], &told["id"]), (&json!(now), &file["id"]));
        assert!(upstream.last().first.starts_with(asked), "{}", upstream.last().first);
    }
    world.served(4).await;
    world.done().await;
}

#[tokio::test]
async fn what_calls_ask_is_named_with_and_without_the_version() {
    let upstream = provider(&Arc::new(Mutex::new(json!({"status": "validating"}))), "").await;
    let (world, _) = world(&upstream, "");
    let file = parsed(&upload(&world, "hello").await)["id"].clone();
    for (endpoint, status) in [
        (json!("/chat/completions"), 200),
        (json!("/v1/chat/completions"), 200),
        (json!("/responses"), 400),
        (json!(null), 400),
    ] {
        let body = json!({"input_file_id": file, "endpoint": endpoint, "completion_window": "24h"}).to_string();
        let made = world.ask(post("/v1/batches", "content-type: application/json\r\n", &body)).await;
        assert_eq!(made.status(), status, "{endpoint}: {}", said(&made));
        let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
        assert_eq!(sent["endpoint"], "/v1/chat/completions");
    }
    for reason in [R::Served, R::Served, R::Served, R::InvalidModelCall, R::InvalidModelCall] {
        world.outcome(reason).await;
    }
    for field in ["input_blob", "output_folder"] {
        let mut body = json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
        body[field] = "https://x.blob.core.windows.net/y".into();
        let made = world.ask(post("/v1/batches", "content-type: application/json\r\n", &body.to_string())).await;
        assert!(made.status() == 400 && said(&made).contains(field), "{}", said(&made));
        world.outcome(R::InvalidModelCall).await;
    }
    world.done().await;
}

#[tokio::test]
async fn pages_of_lists_are_bounded_and_counted() {
    let upstream = provider(&Arc::default(), "").await;
    let (world_of_plenty, keeper) = world(&upstream, "");
    let file = |n: usize, bytes: usize| ModelObject {
        id: format!("file-{n}"),
        kind: ObjectKind::File,
        application: "app".into(),
        made: credentialflow_model::Timestamp::from_secs(1),
        state: ObjectState::There,
        purpose: "batch".into(),
        upstream_id: "there".into(),
        body: json!({"id": format!("file-{n}"), "x": "x".repeat(bytes)}).to_string(),
        facts: ObjectFacts { model: "small".into(), ..ObjectFacts::default() },
    };
    keeper.objects.lock().unwrap().extend([file(1, 10), file(2, 200_000)]);
    let listed = world_of_plenty.get("/v1/files?purpose=batch&limit=5", "").await;
    assert_eq!((listed.status(), parsed(&listed)["has_more"].as_bool()), (200, Some(true)));
    let asked = keeper.asked.lock().unwrap()[0].clone();
    assert_eq!((asked.most, asked.purpose.as_deref(), asked.bytes), (5, Some("batch"), 1 << 20));
    world_of_plenty.served(1).await;
    world_of_plenty.done().await;

    let keeper = Arc::<Keeper>::default();
    let mut setup = Setup::new(yaml(&upstream, ""));
    setup.objects = Some(keeper.clone());
    (setup.settings.memory, setup.workers) = (2 << 20, 1);
    let world = setup.start();
    keeper.objects.lock().unwrap().push(file(1, 10));
    assert_eq!(world.get("/v1/files", "").await.status(), 200);
    keeper.objects.lock().unwrap().push(file(2, 2 << 20));
    assert_eq!(world.get("/v1/files", "").await.status(), 503, "more than a worker may hold");
    assert_eq!(world.get("/v1/files/file-2", "").await.status(), 503, "nor of one alone");
    for reason in [R::Served, R::Overloaded, R::Overloaded] {
        world.outcome(reason).await;
    }
    world.done().await;
}

#[tokio::test]
async fn a_batch_that_nobody_could_hold_back_for_is_not_asked_for() {
    let upstream = provider(&Arc::new(Mutex::new(json!({"status": "in_progress"}))), "").await;
    let (world, keeper) = world(&upstream, "");
    let file = upload(&world, "hello").await;
    keeper.hangs.store(true, Relaxed);
    let refused = make(&world, &file).await;
    assert_eq!(refused.status(), 503, "{}", said(&refused));
    assert_eq!(upstream.last().first, "POST /v1/files HTTP/1.1", "its provider was not asked");
    world.outcome(R::Served).await;
    world.outcome(R::Overloaded).await;
    world.done().await;
}

#[tokio::test]
async fn a_hard_budget_pays_for_no_batch_with_a_call_for_a_dearer_tier() {
    let upstream = provider(&Arc::new(Mutex::new(json!({"status": "in_progress"}))), "").await;
    let prices = "model: real, prices: [{ from: 2020-01-01T00:00:00Z, input: '1', output: '10', \
        tiers: { priority: { input: '2', output: '20' } } }]";
    let budget = "budget: { usd: 5, per: month, hard: true }";
    let yaml = yaml(&upstream, "").replace("model: real", prices).replace("guardrails: []", budget);
    let mut setup = Setup::new(yaml);
    setup.objects = Some(Arc::<Keeper>::default());
    setup.workers = 1;
    let world = setup.start();
    for (tier, status) in [("default", 200), ("flex", 200), ("priority", 503), ("ultrafast", 503)] {
        let call = json!({"model": "small", "messages": [], "max_tokens": 5, "service_tier": tier});
        let file = upload_call(&world, &call).await;
        let made = make(&world, &file).await;
        assert_eq!(made.status(), status, "{tier}: {}", said(&made));
        world.outcome(R::Served).await;
        world.outcome(if status == 200 { R::Served } else { R::PriceUnknown }).await;
    }
    world.done().await;
}

#[tokio::test]
async fn a_batch_that_may_have_been_made_behind_an_error_is_found_out_about() {
    let status = Arc::new(Mutex::new(json!({})));
    let upstream = provider(&status, "").await;
    let (world, keeper) = world(&upstream, "");
    let file = upload(&world, "hello").await;
    world.outcome(R::Served).await;
    for (code, waits) in [(400, 0), (429, 0), (500, 0), (504, 1)] {
        *status.lock().unwrap() = json!({"answers": code});
        let told = make(&world, &file).await;
        assert_eq!(told.status(), code, "{}", said(&told));
        let asked = keeper.objects.lock().unwrap().iter().filter(|o| o.state == ObjectState::Asked).count();
        assert_eq!(asked, waits, "{code}");
        world.outcome(R::Served).await;
    }
    world.done().await;
}
