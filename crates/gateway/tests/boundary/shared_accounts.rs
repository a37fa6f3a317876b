//! Accounts at providers that several applications use: what lasts there by a name is nobody's to name, unless somebody said
//! so; where one application alone uses an account, it names what it likes.

use crate::{
    batches::Keeper,
    harness::*,
    realtime::{Side, connected},
};
use credentialflow_gateway::{
    dry_run::WholeCall,
    ws::{Message as Frame, Sender},
};
use credentialflow_llm::{provider::Dialect, task::Task};
use credentialflow_model::OutcomeReason as R;
use serde_json::{Value, json};
use std::sync::Arc;

const JSON: &str = "content-type: application/json\r\n";

/// A provider of every form.
async fn provider() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let told = match request.target() {
                "/v1/files" => json!({"id": "file-X", "object": "file", "purpose": "batch", "expires_at": 4_000_000_000u32}),
                "/v1/messages" => json!({"id": "m", "type": "message", "role": "assistant", "model": "real", "content": [],
                    "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}),
                target if target.contains(":generateContent") => json!({"candidates": [], "usageMetadata": {"promptTokenCount": 1}}),
                target if target.ends_with(":countTokens") => json!({"totalTokens": 1}),
                "/v1/responses" => json!({"id": "resp_1", "object": "response", "status": "completed", "output": [],
                    "usage": {"input_tokens": 1, "output_tokens": 1}}),
                "/v1/audio/speech" => json!("sound"),
                _ => json!({"id": "c", "object": "chat.completion", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}),
            };
            peer.send(answer(200, JSON, &told.to_string())).await;
        }
    })
    .await
}

/// Models of an account that two applications use (`gpt`, `claude`, `gem`), of the same where somebody allowed it (`open-…`),
/// and of one that the first has for itself (`own-…`).
fn yaml(upstream: &FakeUpstream) -> String {
    let mut models = String::new();
    for (name, provider) in [("gpt", "openai"), ("claude", "anthropic"), ("gem", "gemini")] {
        for (prefix, credential, more) in
            [("", "shared", ""), ("open-", "shared", ", allow_shared_state: true"), ("own-", "own", "")]
        {
            models += &format!(
                "  - {{ name: {prefix}{name}, targets: [{{ provider: my-{provider}, model: real, credential: {credential} }}]{more} }}\n"
            );
        }
    }
    let all = "gpt, claude, gem, open-gpt, open-claude, open-gem";
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [{all}, own-gpt, own-claude, own-gem] }} }}
  - {{ name: other, allow: {{ models: [{all}] }} }}
keys:
  - {{ name: k, application: app }}
  - {{ name: k2, application: other }}
credentials:
  - {{ name: shared, engine: static }}
  - {{ name: own, engine: static }}
upstreams:
  - {{ name: my-openai, endpoints: [\"{0}/v1\"], provider: openai }}
  - {{ name: my-anthropic, endpoints: [\"{0}/v1\"], provider: anthropic }}
  - {{ name: my-gemini, endpoints: [\"{0}/v1beta\"], provider: gemini }}
models:
{models}",
        upstream.url()
    )
}

fn world(yaml: String) -> World {
    let mut setup = Setup::new(yaml);
    setup.objects = Some(Arc::<Keeper>::default());
    setup.credentials = vec![("shared", 1, SECRET), ("own", 1, "sk-another-Jx81.Qq0")];
    setup.workers = 1;
    setup.start()
}

fn said(answer: &Message) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// Where a model of this dialect is asked, and the body with its name.
fn request(kind: &str, model: &str, more: &Value) -> (String, String) {
    let (path, body) = match kind {
        "responses" => ("/v1/responses".into(), json!({"model": model, "input": "x"})),
        "input_tokens" => ("/v1/responses/input_tokens".into(), json!({"model": model, "input": "x"})),
        "chat" => ("/v1/chat/completions".into(), json!({"model": model, "messages": []})),
        "speech" => ("/v1/audio/speech".into(), json!({"model": model, "input": "x"})),
        "messages" => ("/v1/messages".into(), json!({"model": model, "max_tokens": 1, "messages": []})),
        "gemini" => (format!("/v1beta/models/{model}:generateContent"), json!({"contents": []})),
        _ => (format!("/v1beta/models/{model}:countTokens"), json!({"contents": []})),
    };
    let mut body = body;
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    (path, body.to_string())
}

const fn family(kind: &str) -> &'static str {
    match kind.as_bytes() {
        b"messages" => "claude",
        b"gemini" | b"gemini_tokens" => "gem",
        _ => "gpt",
    }
}

#[tokio::test]
async fn what_lasts_in_a_shared_account_is_named_only_where_somebody_allowed_it() {
    let upstream = provider().await;
    let world = world(yaml(&upstream));
    let stores = json!({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]});
    for (kind, more, field) in [
        ("responses", stores.clone(), "vector_store_ids"),
        ("input_tokens", stores, "vector_store_ids"),
        ("responses", json!({"prompt": {"id": "pmpt_1"}}), "prompt"),
        ("responses", json!({"tools": [{"type": "mcp", "server_label": "s", "tunnel_id": "tunnel_1"}]}), "tunnel_id"),
        ("chat", json!({"extra_body": {"google": {"cached_content": "cachedContents/1"}}}), "cached_content"),
        ("chat", json!({"data_sources": [{"type": "azure_search"}]}), "data_sources"),
        ("speech", json!({"voice": {"id": "voice_1"}}), "voice"),
        ("messages", json!({"container": {"skills": [{"type": "custom", "skill_id": "skill_1"}]}}), "skill_id"),
        ("gemini", json!({"cachedContent": "cachedContents/1"}), "cachedContent"),
        ("gemini_tokens", json!({"generateContentRequest": {"cachedContent": "cachedContents/1"}}), "cachedContent"),
        (
            "gemini",
            json!({"tools": [{"file_search": {"file_search_store_names": ["fileSearchStores/a-1"]}}]}),
            "file_search_store_names",
        ),
        ("gemini", json!({"contents": [{"parts": [{"fileData": {"fileUri": "gs://b/a.pdf"}}]}]}), "fileUri"),
    ] {
        let family = family(kind);
        let asked = upstream.requests().len();
        let (path, body) = request(kind, family, &more);
        let told = world.ask(post(&path, JSON, &body)).await;
        assert_eq!(told.status(), 400, "{body}: {}", said(&told));
        let why = said(&told);
        assert!(why.contains(&format!("`{field}`")) && why.contains("allow_shared_state"), "{why}");
        world.outcome(R::InvalidModelCall).await;
        assert_eq!(upstream.requests().len(), asked, "nobody is asked");
        for prefix in ["open-", "own-"] {
            let (path, body) = request(kind, &format!("{prefix}{family}"), &more);
            let told = world.ask(post(&path, JSON, &body)).await;
            assert_eq!(told.status(), 200, "{body}: {}", said(&told));
            world.outcome(R::Served).await;
            let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
            for (name, value) in more.as_object().unwrap() {
                assert_eq!(&sent[name], value, "it goes on as it came");
            }
        }
    }
    world.done().await;
}

/// Ids that a provider makes up for one answer, and tells nobody else, are as good as a secret.
#[tokio::test]
async fn what_was_given_to_one_caller_alone_goes_on() {
    let upstream = provider().await;
    let world = world(yaml(&upstream));
    for (kind, more) in [
        ("responses", json!({"previous_response_id": "resp_1"})),
        ("responses", json!({"conversation": {"id": "conv_1"}})),
        ("responses", json!({"input": [{"type": "item_reference", "id": "msg_1"}]})),
        ("responses", json!({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]})),
        ("messages", json!({"container": "container_1"})),
        (
            "messages",
            json!({"container": {"id": "container_1", "skills": [{"type": "anthropic", "skill_id": "pptx"}]}}),
        ),
        ("speech", json!({"voice": "alloy"})),
        ("gemini", json!({"contents": [{"parts": [{"fileData": {"fileUri": "https://a.example/b.pdf"}}]}]})),
    ] {
        let (path, body) = request(kind, family(kind), &more);
        let told = world.ask(post(&path, JSON, &body)).await;
        assert_eq!(told.status(), 200, "{body}: {}", said(&told));
        world.outcome(R::Served).await;
    }
    world.done().await;
}

/// Who else uses an account is decided with the configuration, not with the call.
#[tokio::test]
async fn another_application_that_reaches_the_account_closes_it() {
    let upstream = provider().await;
    let yaml = yaml(&upstream);
    let credentials = [("shared", 1, SECRET), ("own", 1, "sk-another-Jx81.Qq0")];
    let world = world(yaml.clone());
    let (path, body) = request("responses", "own-gpt", &json!({"prompt": {"id": "pmpt_1"}}));
    assert_eq!(world.ask(post(&path, JSON, &body)).await.status(), 200);
    world.outcome(R::Served).await;
    let route = "routes:
  - { name: files, match: { path: /openai/* }, upstream: plain, authenticate: [api_key] }
models:
";
    let more = yaml
        .replace("{ name: other, allow: {", "{ name: other, allow: { routes: [files],")
        .replace("models:\n", route)
        .replace(
            "upstreams:\n",
            &format!(
                "upstreams:\n  - {{ name: plain, endpoints: [\"{}\"], inject: {{ bearer: own }} }}\n",
                upstream.url()
            ),
        );
    assert_ne!(more, yaml);
    world.install(&more, &credentials, &[]).await;
    assert_eq!(world.ask(post(&path, JSON, &body)).await.status(), 400, "the other one reaches it by a route");
    world.outcome(R::InvalidModelCall).await;
    world.install(&yaml, &credentials, &[]).await;
    assert_eq!(world.ask(post(&path, JSON, &body)).await.status(), 200);
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn calls_of_batches_and_dry_runs_are_held_to_the_same() {
    let upstream = provider().await;
    let world = world(yaml(&upstream));
    let upload = |model: &str| {
        let body =
            json!({"model": model, "input": "x", "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]});
        let line = json!({"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body});
        let form = format!(
            "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; \
             name=\"file\"; filename=\"x.jsonl\"\r\n\r\n{line}\n\r\n--b--\r\n"
        );
        post("/v1/files", "content-type: multipart/form-data; boundary=b\r\n", &form)
    };
    let told = world.ask(upload("gpt")).await;
    assert!(told.status() == 400 && said(&told).contains("`vector_store_ids`"), "{}", said(&told));
    world.outcome(R::InvalidModelCall).await;
    let told = world.ask(upload("own-gpt")).await;
    assert_eq!(told.status(), 200, "{}", said(&told));
    world.outcome(R::Served).await;
    let container = json!({"skills": [{"type": "custom", "skill_id": "skill_1"}]});
    let batch = json!({"requests": [{"custom_id": "a", "params": {"model": "claude", "max_tokens": 1, "messages": [],
        "container": container}}]});
    let told = world.ask(post("/v1/messages/batches", JSON, &batch.to_string())).await;
    assert!(told.status() == 400 && said(&told).contains("`skill_id`"), "{}", said(&told));
    world.outcome(R::InvalidModelCall).await;

    for (model, expect) in [("gpt", Some(R::InvalidModelCall)), ("own-gpt", None)] {
        let call = WholeCall {
            speaks: Dialect::Responses,
            task: Task::Chat,
            streams: false,
            body: json!({"model": model, "input": "x", "prompt": {"id": "pmpt_1"}}).to_string().into_bytes(),
            headers: Vec::new(),
            application: Some("app".into()),
            key: None,
            user: None,
        };
        let run = world.gateway.dry_run(model, call).await.unwrap().unwrap();
        assert_eq!(run.decision.refused.map(|refused| refused.reason), expect, "{model}");
    }
    world.done().await;
}

/// A provider of sessions of both kinds, which tells what it heard.
async fn speaker() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        let Some(_) = peer.head().await else { return };
        peer.send(crate::realtime::AGREED).await;
        let mut side = Side::new(&mut peer.wire, Sender::Client);
        while let Ok(event) = side.next().await {
            side.send(Sender::Server, &Frame::Text(&json!({"type": "echo", "said": event}).to_string())).await;
        }
    })
    .await
}

#[tokio::test]
async fn sessions_are_held_to_the_same() {
    let upstream = speaker().await;
    let world = world(yaml(&upstream));
    let event = json!({"type": "session.update", "session": {"type": "realtime", "prompt": {"id": "pmpt_1"}}});
    let live = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
    for (prefix, passes) in [("", false), ("own-", true), ("open-", true)] {
        let mut wire = connected(&world, &format!("/v1/realtime?model={prefix}gpt"), "").await;
        let mut side = Side::new(&mut wire, Sender::Server);
        side.say(Sender::Client, &event).await;
        let told = side.next().await.unwrap();
        assert_eq!(told["type"], if passes { "echo" } else { "error" }, "{told}");
        assert_eq!(told.to_string().contains("allow_shared_state"), !passes, "{told}");
        drop(wire);
        world.outcome(R::Served).await;

        let mut wire = connected(&world, live, "").await;
        let mut side = Side::new(&mut wire, Sender::Server);
        let setup = json!({"setup": {"model": format!("models/{prefix}gem"), "cachedContent": "cachedContents/1"}});
        side.say(Sender::Client, &setup).await;
        if passes {
            assert_eq!(side.next().await.unwrap()["said"]["setup"]["cachedContent"], "cachedContents/1");
        } else {
            assert_eq!(side.next().await, Err(1008));
            assert!(side.reason.contains("cachedContent"), "{}", side.reason);
        }
        drop(wire);
        world.outcome(if passes { R::Served } else { R::InvalidModelCall }).await;
    }
    world.done().await;
}
