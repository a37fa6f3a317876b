//! Files that callers keep at providers: whose they are, where they go, and which calls may name them.

use crate::{batches::Keeper, harness::*, realtime::Purse};
use credentialflow_model::{OutcomeReason as R, Timestamp, objects::ObjectKind};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, atomic::AtomicI64};

const JSON: &str = "content-type: application/json\r\n";
const FORM: &str = "content-type: multipart/form-data; boundary=b\r\n";
const CLAUDE: &str = "anthropic-version: 2023-06-01\r\nanthropic-beta: files-api-2025-04-14\r\n";
const FOR_CHAT: &str = "x-credentialflow-model: chat\r\n";

/// A provider of either form, which calls each file by what it is itself called; its status for calls is as told, and so is
/// that for everything where it is one that refuses a key.
async fn provider(name: &'static str, status: &Arc<Mutex<u16>>) -> FakeUpstream {
    let status = status.clone();
    FakeUpstream::start(move |mut peer| {
        let status = status.clone();
        async move {
            while let Some(request) = peer.request().await {
                let is_claude = request.field("anthropic-version").is_some();
                let now = *status.lock().unwrap();
                if (400..=402).contains(&now) {
                    peer.send(answer(now, JSON, r#"{"error":{"message":"Incorrect API key provided: sk-****8Qq0"}}"#)).await;
                    continue;
                }
                if now == 502 {
                    peer.send(answer(now, "content-type: text/html\r\n", "<html>Bad gateway</html>")).await;
                    continue;
                }
                let told = match (request.method(), request.target()) {
                    ("POST", "/v1/files") if is_claude => json!({"id": format!("file_{name}"), "type": "file",
                        "filename": "a.pdf", "mime_type": "application/pdf", "size_bytes": 3, "created_at": "2026-11-23T00:00:00Z"}),
                    ("POST", "/v1/files") => json!({"id": format!("file-{name}"), "object": "file", "bytes": 3,
                        "filename": "a.pdf", "purpose": "user_data", "created_at": 1, "expires_at": 4_000_000_000u32}),
                    ("DELETE", _) => json!({"id": format!("file-{name}"), "object": "file", "deleted": true}),
                    ("GET", target) if target.ends_with("/content") => {
                        let told = "HTTP/1.1 200 OK\r\ncontent-type: application/pdf\r\ncontent-length: 5\r\n\r\n";
                        peer.send([told.as_bytes(), b"\xff\x00\r\n."].concat()).await;
                        continue;
                    }
                    ("POST", "/v1/messages") => json!({"id": "m", "type": "message", "role": "assistant", "model": "real",
                        "content": [], "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}),
                    _ => json!({"id": "c", "object": "chat.completion", "model": "real", "choices": [],
                        "usage": {"prompt_tokens": 1, "completion_tokens": 1}}),
                };
                let is_call = request.target().ends_with("completions");
                let code = if is_call { now } else { 200 };
                peer.send(answer(code, JSON, &told.to_string())).await;
            }
        }
    })
    .await
}

struct Providers {
    one: FakeUpstream,
    two: FakeUpstream,
    claude: FakeUpstream,
    /// What the first answers calls with.
    status: Arc<Mutex<u16>>,
}

impl Providers {
    async fn start() -> Self {
        let (status, well) = (Arc::new(Mutex::new(200)), Arc::new(Mutex::new(200)));
        Self {
            one: provider("ONE", &status).await,
            two: provider("TWO", &well).await,
            claude: provider("CLAUDE", &well).await,
            status,
        }
    }

    /// How often each was asked.
    fn asked(&self) -> [usize; 3] {
        [&self.one, &self.two, &self.claude].map(|one| one.requests().len())
    }
}

fn yaml(at: &Providers, allow: &str) -> String {
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [{allow}] }} }}
  - {{ name: other, allow: {{ models: [{allow}] }} }}
keys:
  - {{ name: k, application: app }}
  - {{ name: k2, application: other }}
credentials:
  - {{ name: c, engine: static }}
  - {{ name: d, engine: static }}
upstreams:
  - {{ name: one, endpoints: [\"{}/v1\"], provider: openai, inject: {{ bearer: c }} }}
  - {{ name: two, endpoints: [\"{}/v1\"], provider: openai }}
  - {{ name: claude, endpoints: [\"{}/v1\"], provider: anthropic, inject: {{ header: {{ name: x-api-key, credential: c }} }} }}
models:
  - {{ name: chat, targets: [{{ provider: one, model: real }}] }}
  - name: both
    targets:
      - {{ provider: two, model: real, credentials: [{{ name: c }}, {{ name: d }}] }}
      - {{ provider: one, model: real, priority: 1 }}
  - {{ name: pool, targets: [{{ provider: two, model: real, credentials: [{{ name: d }}, {{ name: c }}] }}] }}
  - {{ name: messages, targets: [{{ provider: claude, model: real }}] }}
  - {{ name: mixed, targets: [{{ provider: one, model: real }}, {{ provider: claude, model: real, priority: 1 }}] }}
",
        at.one.url(),
        at.two.url(),
        at.claude.url()
    )
}

const ALL: &str = "chat, both, pool, messages, mixed";

fn world(yaml: String) -> (World, Arc<Keeper>) {
    let keeper = Arc::<Keeper>::default();
    let mut setup = Setup::new(yaml);
    setup.objects = Some(keeper.clone());
    setup.credentials = vec![("c", 1, SECRET), ("d", 1, "sk-another-Jx81.Qq0")];
    setup.workers = 1;
    (setup.start(), keeper)
}

fn form(purpose: Option<&str>) -> String {
    let purpose = purpose.map_or(String::new(), |purpose| {
        format!("--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n")
    });
    format!(
        "{purpose}--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.pdf\"\r\nContent-Type: application/pdf\r\n\r\n\
         %PDF\n\r\n--x\r\n--b--\r\n"
    )
}

fn parsed(answer: &Message) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", said(answer)))
}

fn said(answer: &Message) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// Uploads a file and gives its id.
async fn upload(world: &World, more: &str) -> String {
    let told = world.ask(post("/v1/files", &format!("{FORM}{more}"), &form(Some("user_data")))).await;
    assert_eq!(told.status(), 200, "{}", said(&told));
    world.outcome(R::Served).await;
    parsed(&told)["id"].as_str().unwrap().to_owned()
}

fn call(model: &str, ids: &[&str]) -> String {
    let files: Vec<Value> = ids.iter().map(|id| json!({"type": "file", "file": {"file_id": id}})).collect();
    // Not as a serializer would write it.
    format!("{{ \"model\":\"{model}\",\"x\": 1.50, \"messages\":[{{\"role\":\"user\",\"content\":{}}}]}}", json!(files))
}

async fn ask(world: &World, body: &str) -> Message {
    world.ask(post("/v1/chat/completions", JSON, body)).await
}

/// As the other application.
fn other(request: String) -> String {
    request.replace(&key("k"), &key("k2"))
}

#[tokio::test]
async fn a_file_is_its_applications_and_goes_on_as_it_came() {
    let at = Providers::start().await;
    let (world, keeper) = world(yaml(&at, ALL));
    let id = upload(&world, FOR_CHAT).await;
    assert!(id.starts_with("file-") && !id.contains("ONE"), "{id}");
    let seen = at.one.last();
    assert_eq!(String::from_utf8_lossy(&seen.body), form(Some("user_data")));
    assert_eq!(seen.field("x-credentialflow-model"), None);
    let kept = keeper.objects.lock().unwrap()[0].clone();
    assert_eq!((kept.kind, &*kept.purpose, &*kept.upstream_id), (ObjectKind::File, "user_data", "file-ONE"));
    assert_eq!(kept.facts.expires, Some(Timestamp::from_secs(4_000_000_000)));

    // In a call, nothing but the id and the model's name is written anew.
    assert_eq!(ask(&world, &call("chat", &[&id, &id])).await.status(), 200);
    world.outcome(R::Served).await;
    let body = String::from_utf8(at.one.last().body).unwrap();
    assert_eq!(body, call("real", &["file-ONE", "file-ONE"]));
    let responses =
        json!({"model": "chat", "input": [{"role": "user", "content": [{"type": "input_file", "file_id": id}]}]});
    assert_eq!(world.ask(post("/v1/responses", JSON, &responses.to_string())).await.status(), 200);
    world.outcome(R::Served).await;
    assert!(String::from_utf8(at.one.last().body).unwrap().contains("\"file_id\":\"file-ONE\""));

    // What is not the caller's is unknown, the provider's own ids among it, and nobody is asked.
    let asked = at.asked();
    let told = world.ask(other(post("/v1/chat/completions", JSON, &call("chat", &[&id])))).await;
    assert_eq!(
        (told.status(), parsed(&told)["error"]["code"].as_str()),
        (400, Some("file_unknown")),
        "{}",
        said(&told)
    );
    for ids in [&["file-ONE"][..], &[&id, "file-ONE"], &["file-0123"], &[""], &[&"x".repeat(129)]] {
        let told = ask(&world, &call("chat", ids)).await;
        assert_eq!((told.status(), parsed(&told)["error"]["code"].as_str()), (400, Some("file_unknown")), "{ids:?}");
    }
    let hidden = call("chat", &["file-ONE"]).replace("file_id", "f\\u0069le_id");
    assert_eq!(ask(&world, &hidden).await.status(), 400);
    for (path, body) in [
        ("/v1/responses", responses.to_string().replace(&id, "file-ONE")),
        (
            "/v1/responses",
            json!({"model": "chat", "input": "x", "tools": [{"type": "code_interpreter",
            "container": {"type": "auto", "file_ids": ["file-ONE"]}}]})
            .to_string(),
        ),
        ("/v1/images/edits", json!({"model": "chat", "prompt": "x", "images": [{"file_id": "file-ONE"}]}).to_string()),
    ] {
        assert_eq!(world.ask(post(path, JSON, &body)).await.status(), 400, "{body}");
    }
    let edits = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nchat\r\n--b\r\nContent-Disposition: form-data; \
                 name=\"images[0][file_id]\"\r\n\r\nfile-ONE\r\n--b--\r\n";
    let told = world.ask(post("/v1/images/edits", FORM, edits)).await;
    assert_eq!(
        (told.status(), parsed(&told)["error"]["code"].as_str()),
        (400, Some("file_unknown")),
        "{}",
        said(&told)
    );
    for _ in 0..11 {
        world.outcome(R::FileUnknown).await;
    }
    assert_eq!(at.asked(), asked, "no provider was asked");

    // Another application neither sees nor reads nor deletes it.
    let path = format!("/v1/files/{id}");
    for path in [path.clone(), format!("{path}/content")] {
        assert_eq!(world.ask(other(get(&path, ""))).await.status(), 404);
    }
    let delete = get(&path, "").replace("GET ", "DELETE ");
    assert_eq!(world.ask(other(delete.clone())).await.status(), 404);
    assert_eq!(at.asked(), asked);
    assert_eq!(parsed(&world.get(&path, "").await)["id"], *id);
    let content = world.get(&format!("{path}/content"), "").await;
    assert_eq!(
        (content.body.as_slice(), content.field("content-type")),
        (&b"\xff\x00\r\n."[..], Some("application/pdf"))
    );
    assert_eq!(at.one.last().target(), "/v1/files/file-ONE/content");
    let told = world.ask(&delete).await;
    assert_eq!(parsed(&told), json!({"id": id, "object": "file", "deleted": true}));
    assert_eq!(at.one.last().first, "DELETE /v1/files/file-ONE HTTP/1.1");
    assert_eq!(world.get(&path, "").await.status(), 404);
    assert_eq!(ask(&world, &call("chat", &[&id])).await.status(), 400, "nor is it known to calls any more");
    for reason in [R::ObjectNotFound, R::ObjectNotFound, R::ObjectNotFound, R::Served, R::Served, R::Served] {
        world.outcome(reason).await;
    }
    world.outcome(R::ObjectNotFound).await;
    world.outcome(R::FileUnknown).await;
    world.done().await;
}

/// A file of a few bytes may be a million tokens.
#[tokio::test]
async fn a_hard_budget_pays_for_no_file_as_nobody_knows_how_much_that_is() {
    let at = Providers::start().await;
    for hard in [true, false] {
        let prices = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }]";
        let yaml = yaml(&at, ALL)
            .replace("- { name: app,", &format!("- {{ name: app, budget: {{ usd: 5, per: month, hard: {hard} }},"))
            .replace("model: real }", &format!("model: real, {prices} }}"));
        let keeper = Arc::<Keeper>::default();
        let mut setup = Setup::new(yaml);
        setup.objects = Some(keeper.clone());
        setup.credentials = vec![("c", 1, SECRET), ("d", 1, "sk-another-Jx81.Qq0")];
        setup.workers = 1;
        setup.lender = Arc::new(Purse(AtomicI64::new(5_000_000_000_000)));
        let world = setup.start();
        let id = upload(&world, FOR_CHAT).await;
        let told = ask(&world, &call("chat", &[&id])).await;
        if hard {
            assert_eq!(told.status(), 400, "{}", said(&told));
            assert!(said(&told).contains("`file_id`") && said(&told).contains("hard limit"), "{}", said(&told));
            world.outcome(R::InvalidModelCall).await;
        } else {
            assert_eq!(told.status(), 200, "{}", said(&told));
            world.outcome(R::Served).await;
        }
        assert_eq!(ask(&world, &call("chat", &[])).await.status(), 200);
        world.outcome(R::Served).await;
        world.done().await;
    }
}

#[tokio::test]
async fn a_file_that_no_guardrail_looks_at_goes_to_internal_targets_only() {
    let at = Providers::start().await;
    let inside = "name: both\n    guardrails: [{ detect: words, action: route, words: [falcon] }]\n";
    let yaml = yaml(&at, ALL)
        .replace("name: both\n", inside)
        .replace("priority: 1 }\n  - { name: pool", "priority: 1, internal: true }\n  - { name: pool");
    let (world, _keeper) = world(yaml);
    let file = upload(&world, "x-credentialflow-model: both\r\n").await;
    assert_eq!(at.asked(), [1, 0, 0]);
    for (ids, asked) in [(vec![&*file], [2, 0, 0]), (vec![], [2, 1, 0])] {
        assert_eq!(ask(&world, &call("both", &ids)).await.status(), 200);
        world.outcome(R::Served).await;
        assert_eq!(at.asked(), asked);
    }
    // What was uploaded for another model is outside.
    let outside = upload(&world, "x-credentialflow-model: pool\r\n").await;
    assert_eq!(ask(&world, &call("pool", &[&outside])).await.status(), 200);
    world.outcome(R::Served).await;
    assert_eq!(ask(&world, &call("both", &[&outside])).await.status(), 400);
    assert_eq!(at.asked(), [2, 3, 0]);
    world.record().await;
    world.done().await;
}

#[tokio::test]
async fn a_call_goes_only_where_its_files_are_with_the_credential_that_uploaded_them() {
    let at = Providers::start().await;
    let (world, keeper) = world(yaml(&at, ALL));
    let at_one = upload(&world, FOR_CHAT).await;
    // The other target comes first, and has no such file.
    assert_eq!(ask(&world, &call("both", &[&at_one])).await.status(), 200);
    world.outcome(R::Served).await;
    assert_eq!(at.asked(), [2, 0, 0]);
    // Nor is it asked where the one that has it fails.
    *at.status.lock().unwrap() = 500;
    assert_eq!(ask(&world, &call("both", &[&at_one])).await.status(), 500);
    world.outcome(R::Served).await;
    assert_eq!(ask(&world, &call("both", &[])).await.status(), 200, "as a call without files is");
    world.outcome(R::Served).await;
    *at.status.lock().unwrap() = 200;
    let before = at.two.requests().len();

    // Of several credentials it is always that one.
    let mut at_two = Vec::new();
    for _ in 0..2 {
        at_two.push(upload(&world, "x-credentialflow-model: pool\r\n").await);
    }
    let of = |message: &Message| message.field("authorization").unwrap().to_owned();
    let uploaded: Vec<String> = at.two.requests()[before..].iter().map(of).collect();
    assert_ne!(uploaded[0], uploaded[1], "in turn");
    for n in [0, 1, 1, 0, 1] {
        for model in ["pool", "both"] {
            assert_eq!(ask(&world, &call(model, &[&at_two[n]])).await.status(), 200);
            world.outcome(R::Served).await;
            assert_eq!(of(&at.two.last()), uploaded[n]);
        }
        assert_eq!(world.get(&format!("/v1/files/{}/content", at_two[n]), "").await.status(), 200);
        world.outcome(R::Served).await;
        assert_eq!(of(&at.two.last()), uploaded[n]);
    }

    // Where no target has them all, the call is refused.
    let asked = at.asked();
    for (model, ids) in
        [("chat", vec![&at_two[0]]), ("both", vec![&at_two[0], &at_two[1]]), ("both", vec![&at_one, &at_two[0]])]
    {
        let ids: Vec<&str> = ids.into_iter().map(String::as_str).collect();
        let told = ask(&world, &call(model, &ids)).await;
        assert_eq!(
            (told.status(), parsed(&told)["error"]["code"].as_str()),
            (400, Some("file_unknown")),
            "{}",
            said(&told)
        );
        world.outcome(R::FileUnknown).await;
    }
    let messages = json!({"model": "messages", "max_tokens": 5, "messages": [{"role": "user", "content": [
        {"type": "document", "source": {"type": "file", "file_id": at_one}}]}]});
    let told = world.ask(post("/v1/messages", &format!("{JSON}{CLAUDE}"), &messages.to_string())).await;
    assert_eq!(told.status(), 400, "a file in OpenAI's form is none in Anthropic's");
    world.outcome(R::FileUnknown).await;
    assert_eq!(at.asked(), asked);

    // A model that is gone takes nothing away from what is at its provider; a provider that is gone does.
    let config = yaml(&at, "mixed").replace("  - { name: chat, targets: [{ provider: one, model: real }] }\n", "");
    world.install(&config, &[("c", 1, SECRET), ("d", 1, "sk-another-Jx81.Qq0")], &[]).await;
    assert_eq!(world.get(&format!("/v1/files/{at_one}/content"), "").await.status(), 200);
    assert_eq!(world.get(&format!("/v1/files/{}/content", at_two[0]), "").await.status(), 503);
    assert_eq!(world.get(&format!("/v1/files/{}", at_two[0]), "").await.status(), 200);
    for reason in [R::Served, R::NoHealthyEndpoint, R::Served] {
        world.outcome(reason).await;
    }
    assert_eq!(keeper.objects.lock().unwrap().len(), 3);
    world.done().await;
}

#[tokio::test]
async fn where_a_file_goes_is_said_unless_there_is_one_place_alone() {
    let at = Providers::start().await;
    let (world, _) = world(yaml(&at, ALL));
    let request = |more: &str| post("/v1/files", &format!("{FORM}{more}"), &form(Some("vision")));
    let told = world.ask(request("")).await;
    assert_eq!(told.status(), 400);
    assert!(
        said(&told).contains("name the model that the file is for in the header `x-credentialflow-model`"),
        "{}",
        said(&told)
    );
    world.outcome(R::InvalidModelCall).await;
    for (more, status, reason) in [
        ("x-credentialflow-model: nothing\r\n", 404, R::ModelNotFound),
        ("x-credentialflow-model: messages\r\n", 400, R::InvalidModelCall),
        ("x-credentialflow-model: chat\r\nx-credentialflow-model: chat\r\n", 400, R::InvalidModelCall),
    ] {
        assert_eq!(world.ask(request(more)).await.status(), status, "{more}");
        world.outcome(reason).await;
    }
    assert_eq!(at.asked(), [0, 0, 0]);
    // One that is the only place for this form needs no name.
    let config = yaml(&at, "chat, mixed, messages");
    world.install(&config, &[("c", 1, SECRET), ("d", 1, "sk-another-Jx81.Qq0")], &[]).await;
    upload(&world, "").await;
    assert_eq!(at.asked(), [1, 0, 0]);
    let told =
        world.ask(post("/v1/files", &format!("{FORM}x-credentialflow-model: pool\r\n"), &form(Some("vision")))).await;
    assert_eq!(told.status(), 404, "a model that it may not use");
    world.outcome(R::ModelNotFound).await;
    world.done().await;
}

#[tokio::test]
async fn anthropics_files_have_a_form_of_their_own() {
    let at = Providers::start().await;
    let (world, keeper) = world(yaml(&at, ALL));
    let told = world.ask(post("/v1/files", &format!("{FORM}{CLAUDE}"), &form(None))).await;
    assert_eq!(told.status(), 200, "{}", said(&told));
    world.outcome(R::Served).await;
    let id = parsed(&told)["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("file_") && !id.contains("CLAUDE"), "{id}");
    let seen = at.claude.last();
    assert_eq!(String::from_utf8_lossy(&seen.body), form(None));
    assert_eq!(seen.field("anthropic-beta"), Some("files-api-2025-04-14"));
    assert_eq!(keeper.objects.lock().unwrap()[0].kind, ObjectKind::MessageFile);
    let messages = |model: &str, id: &str| {
        json!({"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": [
            {"type": "document", "source": {"type": "file", "file_id": id}}]}]})
        .to_string()
    };
    let ask = async |path: &str, body: String| world.ask(post(path, &format!("{JSON}{CLAUDE}"), &body)).await;
    for model in ["messages", "mixed"] {
        let told = ask("/v1/messages", messages(model, &id)).await;
        assert_eq!(told.status(), 200, "{}", said(&told));
        world.outcome(R::Served).await;
        assert_eq!(String::from_utf8(at.claude.last().body).unwrap(), messages("real", "file_CLAUDE"));
    }
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        let told = ask(path, messages("messages", "file_CLAUDE")).await;
        assert_eq!((told.status(), parsed(&told)["type"].as_str()), (400, Some("error")), "{}", said(&told));
        world.outcome(R::FileUnknown).await;
    }
    let told = world.ask(other(post("/v1/messages", &format!("{JSON}{CLAUDE}"), &messages("messages", &id)))).await;
    assert_eq!(told.status(), 400);
    world.outcome(R::FileUnknown).await;
    // It is none of OpenAI's, nor listed among them.
    assert_eq!(world.get(&format!("/v1/files/{id}"), "").await.status(), 404);
    assert_eq!(parsed(&world.get("/v1/files", "").await)["data"], json!([]));
    assert_eq!(parsed(&world.get("/v1/files", CLAUDE).await)["data"][0]["id"], *id);
    assert_eq!(parsed(&world.get(&format!("/v1/files/{id}"), CLAUDE).await)["type"], "file");
    let told = world.ask(get(&format!("/v1/files/{id}"), CLAUDE).replace("GET ", "DELETE ")).await;
    assert_eq!(parsed(&told), json!({"id": id, "type": "file_deleted"}));
    let told = world.get("/v1/files/file_none", CLAUDE).await;
    assert_eq!(parsed(&told)["type"], "error", "in its own form");
    for reason in [R::ObjectNotFound, R::Served, R::Served, R::Served, R::Served, R::ObjectNotFound] {
        world.outcome(reason).await;
    }
    world.done().await;
}

#[tokio::test]
async fn calls_that_nobody_could_look_into_name_no_files() {
    let at = Providers::start().await;
    let (world, _) = world(yaml(&at, ALL));
    let id = upload(&world, FOR_CHAT).await;
    let asked = at.asked();
    let line = json!({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions",
        "body": serde_json::from_str::<Value>(&call("chat", &[&id])).unwrap()});
    let batch = format!(
        "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; \
         name=\"file\"; filename=\"x.jsonl\"\r\n\r\n{line}\n\r\n--b--\r\n"
    );
    let told = world.ask(post("/v1/files", FORM, &batch)).await;
    assert_eq!(told.status(), 400);
    assert!(said(&told).contains("batches and sessions name no files"), "{}", said(&told));
    world.outcome(R::FileUnknown).await;
    let gemini = json!({"contents": [{"parts": [{"fileData":
        {"mimeType": "a/b", "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x"}}]}]});
    let told = world.ask(post("/v1beta/models/chat:generateContent", JSON, &gemini.to_string())).await;
    assert_eq!(told.status(), 400, "{}", said(&told));
    world.outcome(R::FileUnknown).await;
    assert_eq!(at.one.requests().iter().filter(|seen| seen.target().ends_with("completions")).count(), 0);
    assert_eq!(at.asked()[1..], asked[1..]);
    world.done().await;
}

#[tokio::test]
async fn a_credential_of_ours_that_is_refused_is_no_matter_of_the_caller_s() {
    let at = Providers::start().await;
    let (world, keeper) = world(yaml(&at, ALL));
    let id = upload(&world, FOR_CHAT).await;
    let of_file = |method: &str, more: &str| {
        format!("{method} /v1/files/{id}{more} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {}\r\n\r\n", key("k"))
    };
    for status in [400, 401, 402] {
        *at.status.lock().unwrap() = status;
        for request in [
            post("/v1/files", &format!("{FORM}{FOR_CHAT}"), &form(Some("user_data"))),
            of_file("GET", "/content"),
            of_file("DELETE", ""),
        ] {
            let told = world.ask(request.clone()).await;
            assert_eq!(told.status(), 502, "{request}: {}", said(&told));
            assert_eq!(parsed(&told)["error"]["code"], "upstream_credential_refused");
            assert!(!said(&told).contains("Qq0"), "what the provider says of the key stays here: {}", said(&told));
            let record = world.outcome(R::UpstreamCredentialRefused).await;
            assert_eq!((record.upstream_status, record.status), (status, 502));
        }
    }
    assert_eq!(keeper.objects.lock().unwrap().len(), 1, "it is neither gone nor there twice");
    // A page of what stands before a provider is none of its answers.
    *at.status.lock().unwrap() = 502;
    for request in
        [post("/v1/files", &format!("{FORM}{FOR_CHAT}"), &form(Some("user_data"))), of_file("GET", "/content")]
    {
        let told = world.ask(request.clone()).await;
        assert_eq!((told.status(), told.field("content-type")), (502, Some("application/json")), "{request}");
        assert!(parsed(&told)["error"]["message"].is_string() && !said(&told).contains("<html>"), "{}", said(&told));
        world.outcome(R::Served).await;
    }
    world.done().await;
}

#[tokio::test]
async fn an_upload_is_passed_on_piece_by_piece_up_to_its_limit() {
    let at = Providers::start().await;
    let keeper = Arc::<Keeper>::default();
    let mut setup = Setup::new(yaml(&at, "chat"));
    setup.objects = Some(keeper.clone());
    setup.credentials = vec![("c", 1, SECRET), ("d", 1, "sk-another-Jx81.Qq0")];
    (setup.settings.memory, setup.workers) = (2 << 20, 1);
    let world = setup.start();
    let (before, after) =
        form(Some("user_data")).split_once("%PDF").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let body = [before, "x".repeat(12 << 20), after].concat();
    let told = world.ask(post("/v1/files", FORM, &body)).await;
    assert_eq!(told.status(), 200, "{}", said(&told));
    assert!(at.one.last().body == body.as_bytes(), "as it came");
    world.outcome(R::Served).await;
    // What is announced to be larger than any is refused before it comes.
    let head = post("/v1/files", FORM, "").replace("content-length: 0", "content-length: 999999999");
    assert_eq!(world.ask(head).await.status(), 413);
    world.outcome(R::BodyTooLarge).await;
    // What is cut off is kept nowhere: the provider never had its end.
    let cut = form(Some("user_data")).replace("--b--\r\n", "");
    assert_eq!(world.ask(post("/v1/files", FORM, &cut)).await.status(), 400);
    world.outcome(R::InvalidModelCall).await;
    assert_eq!(keeper.objects.lock().unwrap().len(), 1);
    world.done().await;
}
