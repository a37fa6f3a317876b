//! What is asked of models beside a conversation: embeddings, moderation, images, speech, transcripts, ranking.

use crate::harness::*;
use base64::{Engine, prelude::BASE64_STANDARD};
use credentialflow_gateway::ports::Lender;
use credentialflow_model::{OutcomeReason as R, UsageRecord, resource::budget::pico, usage::Cost};
use credentialflow_policy::Account;
use serde_json::{Value, json};
use std::{future::Future, pin::Pin, sync::Arc};

fn yaml(upstream: &FakeUpstream, more: &str) -> String {
    let per_token =
        "prices: [{ from: 2020-01-01T00:00:00Z, input: '2', output: '10', audio_input: '6', image_input: '8' }]";
    let paid = |what: &str| format!("prices: [{{ from: 2020-01-01T00:00:00Z, input: '0', output: '0', {what} }}]");
    let models = [
        ("tokens", format!("provider: mine, model: real-tokens, {per_token}")),
        ("second", format!("provider: mine, model: real-second, {}", paid("per_second: '0.0001'"))),
        ("image", format!("provider: mine, model: real-image, {}", paid("per_image: '0.04'"))),
        ("search", format!("provider: ranks, model: real-search, {}", paid("per_search: '0.002'"))),
        ("spoken", format!("provider: mine, model: real-spoken, {}", paid("per_million_characters: '15'"))),
        ("free", format!("provider: mine, model: real-free, {}", paid(""))),
        ("claude", "provider: messages, model: real".to_owned()),
        ("chat", "provider: chats, model: real".to_owned()),
        ("google", format!("provider: google, model: gem-real, {per_token}")),
    ];
    let names: Vec<&str> = models.iter().map(|(name, _)| *name).chain(["twice", "guarded"]).collect();
    let models: String =
        models.iter().map(|(name, target)| format!("  - {{ name: {name}, targets: [{{ {target} }}] }}\n")).collect();
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [{}] }}{more} }}
keys:
  - {{ name: k, application: app }}
credentials:
  - {{ name: c, engine: static }}
upstreams:
  - {{ name: mine, endpoints: [\"{1}/v1\"], provider: openai, inject: {{ bearer: c }}, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: down, endpoints: [\"{1}/down\"], provider: openai, inject: {{ bearer: c }} }}
  - {{ name: ranks, endpoints: [\"{1}/v2\"], provider: cohere-rerank, inject: {{ bearer: c }} }}
  - {{ name: messages, endpoints: [\"{1}/v1\"], provider: anthropic }}
  - {{ name: chats, endpoints: [\"{1}/v1\"], provider: cerebras }}
  - {{ name: google, endpoints: [\"{1}/v1beta\"], provider: gemini, inject: {{ header: {{ name: x-goog-api-key, credential: c }} }} }}
models:
{models}  - {{ name: twice, targets: [{{ provider: down, model: first }}, {{ provider: mine, model: second, priority: 1, {per_token} }}] }}
  - name: guarded
    targets: [{{ provider: mine, model: real }}]
    guardrails: [{{ detect: personal_data, action: redact, kinds: [email] }}, {{ detect: words, action: block, words: [falcon] }}]
",
        names.join(", "),
        upstream.url()
    )
}

const SOUND: &str = "ID3\u{4}\u{0}not \"usage\" of tokens\r\n--";

/// Answers each endpoint in its form; a text of the call may ask for another one.
async fn provider() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let json_type = "content-type: application/json\r\n";
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let json = |value: Value| answer(200, json_type, &value.to_string());
            let target = request.target().to_owned();
            let answered = match target.as_str() {
                _ if target.starts_with("/down") => answer(500, json_type, "{}"),
                _ if body.contains("echo") => json(json!({"data": [format!("your key is {SECRET}")]})),
                "/v1/embeddings" => json(json!({"object": "list", "data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}})),
                "/v1/moderations" => json(json!({"id": "modr-1", "results": [{"flagged": false}]})),
                "/v1/images/generations" if body.contains("\"stream\"") => {
                    let done = json!({"type": "image_generation.completed", "b64_json": "AAAA",
                        "usage": {"input_tokens": 5, "output_tokens": 100, "total_tokens": 105}});
                    answer(200, "content-type: text/event-stream\r\n", &format!("event: image_generation.completed\ndata: {done}\n\n"))
                }
                "/v1/images/generations" => json(json!({"created": 1, "data": [{"b64_json": "AAAA"}]})),
                "/v1/images/edits" => json(json!({"data": [], "usage": {"input_tokens": 50, "output_tokens": 100,
                    "total_tokens": 150, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}}})),
                "/v1/audio/speech" if body.contains("\"sse\"") => {
                    let done = json!({"type": "speech.audio.done", "usage": {"input_tokens": 5, "output_tokens": 9, "total_tokens": 14}});
                    answer(200, "content-type: text/event-stream\r\n", &format!("data: {done}\n\n"))
                }
                "/v1/audio/speech" => answer(200, "content-type: audio/mpeg\r\n", SOUND),
                "/v1/audio/transcriptions" if body.contains("in text") => answer(200, "content-type: text/plain\r\n", "hello"),
                "/v1/audio/transcriptions" if body.contains("by length") => {
                    json(json!({"text": "hello", "usage": {"type": "duration", "seconds": 9}}))
                }
                "/v1/audio/transcriptions" => json(json!({"text": "hello", "usage": {"type": "tokens", "input_tokens": 14,
                    "output_tokens": 45, "total_tokens": 59, "input_token_details": {"text_tokens": 4, "audio_tokens": 10}}})),
                "/v1/audio/translations" => json(json!({"task": "translate", "duration": 8.5, "text": "hello"})),
                "/v1/rerank" => json(json!({"results": [], "usage": {"total_tokens": 15}})),
                "/v2/rerank" => json(json!({"results": [], "meta": {"billed_units": {"search_units": 3}}})),
                _ if target.ends_with("gem-real:embedContent") => {
                    json(json!({"embedding": {"values": [1.0]}, "usageMetadata": {"promptTokenCount": 3}}))
                }
                _ if target.ends_with("gem-real:batchEmbedContents") => {
                    json(json!({"embeddings": [{"values": [0.5, -2.0]}, {"values": [1.0]}], "usageMetadata": {"promptTokenCount": 7}}))
                }
                _ => answer(404, json_type, "{}"),
            };
            peer.send(answered).await;
        }
    })
    .await
}

fn setup(upstream: &FakeUpstream) -> World {
    let mut setup = Setup::new(yaml(upstream, ""));
    setup.credentials = vec![("c", 3, SECRET)];
    setup.start()
}

async fn send(world: &World, path: &str, content_type: &str, body: impl AsRef<[u8]>) -> Message {
    let body = body.as_ref();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        key("k"),
        body.len()
    );
    world.ask([head.as_bytes(), body].concat()).await
}

async fn ask(world: &World, path: &str, body: Value) -> Message {
    send(world, path, "application/json", body.to_string()).await
}

const FORM: &str = "multipart/form-data; boundary=----WebKitFormBoundary7MA4";

fn form(parts: &[(&str, &str)]) -> String {
    let part = |(name, content): &(&str, &str)| {
        let file = if ["file", "image[]"].contains(name) {
            "; filename=\"a.wav\"\r\nContent-Type: application/octet-stream"
        } else {
            ""
        };
        format!(
            "------WebKitFormBoundary7MA4\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{content}\r\n"
        )
    };
    parts.iter().map(part).collect::<String>() + "------WebKitFormBoundary7MA4--\r\n"
}

fn parsed(answer: &Message) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// The tokens read and written, and the cost in dollars, of a call that was served.
async fn used(world: &World) -> (Option<(u64, u64)>, Option<String>) {
    let record: UsageRecord = world.outcome(R::Served).await;
    assert!(record.credential.is_some(), "{record:?}");
    let model = record.model.unwrap();
    let cost = match model.cost {
        Some(Cost::Known(cost)) => Some(cost.to_string()),
        Some(Cost::UnknownUsage) => None,
        other => panic!("{other:?}"),
    };
    (model.tokens.map(|tokens| (tokens.input, tokens.output)), cost)
}

fn known(tokens: Option<(u64, u64)>, cost: &str) -> (Option<(u64, u64)>, Option<String>) {
    (tokens, Some(cost.to_owned()))
}

#[tokio::test]
async fn json_passes_but_for_the_model_and_is_paid_by_what_the_answer_counts() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let body = r#"{ "input":["a",  "b"], "model" : "tokens" , "encoding_format":"base64","extra":1.50 }"#;
    let answer = send(&world, "/v1/embeddings?api-version=1", "application/json", body).await;
    assert_eq!((answer.status(), parsed(&answer)["usage"]["prompt_tokens"].as_u64()), (200, Some(8)));
    let seen = upstream.last();
    assert_eq!(seen.first, "POST /v1/embeddings HTTP/1.1");
    assert_eq!(seen.field("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    assert_eq!(String::from_utf8(seen.body).unwrap(), body.replace("tokens", "real-tokens"));
    assert_eq!(used(&world).await, known(Some((8, 0)), "0.000016"));

    let text = "x".repeat(1000);
    for (path, body, to, expect) in [
        ("/v1/moderations", json!({"model": "tokens", "input": "x"}), "/v1/moderations", (None, None)),
        ("/v1/moderations", json!({"model": "free", "input": "x"}), "/v1/moderations", known(None, "0")),
        (
            "/v1/images/generations",
            json!({"model": "image", "prompt": "x", "n": 3}),
            "/v1/images/generations",
            known(None, "0.12"),
        ),
        (
            "/v1/images/generations",
            json!({"model": "tokens", "prompt": "x", "stream": true}),
            "/v1/images/generations",
            known(Some((5, 100)), "0.00101"),
        ),
        (
            "/v1/audio/speech",
            json!({"model": "spoken", "input": text, "voice": "a"}),
            "/v1/audio/speech",
            known(None, "0.015"),
        ),
        ("/v1/audio/speech", json!({"model": "tokens", "input": text, "voice": "a"}), "/v1/audio/speech", (None, None)),
        (
            "/v1/audio/speech",
            json!({"model": "tokens", "input": text, "stream_format": "sse"}),
            "/v1/audio/speech",
            known(Some((5, 9)), "0.0001"),
        ),
        (
            "/v1/rerank",
            json!({"model": "tokens", "query": "q", "documents": ["a"]}),
            "/v1/rerank",
            known(Some((15, 0)), "0.00003"),
        ),
        (
            "/v1/rerank",
            json!({"model": "search", "query": "q", "documents": ["a"]}),
            "/v2/rerank",
            known(None, "0.006"),
        ),
        (
            "/v2/rerank",
            json!({"model": "search", "query": "q", "documents": ["a"]}),
            "/v2/rerank",
            known(None, "0.006"),
        ),
    ] {
        let answer = ask(&world, path, body.clone()).await;
        assert_eq!(answer.status(), 200, "{body}");
        let seen = upstream.last();
        assert_eq!(seen.first, format!("POST {to} HTTP/1.1"));
        let sent: Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(sent["model"], format!("real-{}", body["model"].as_str().unwrap()));
        assert_eq!(used(&world).await, expect, "{body}");
        if answer.field("content-type") == Some("audio/mpeg") {
            assert_eq!(answer.body, SOUND.as_bytes());
        }
    }
    world.done().await;
}

#[tokio::test]
async fn a_form_passes_but_for_the_model() {
    let upstream = provider().await;
    let world = setup(&upstream);
    for (path, model, parts, expect) in [
        ("/v1/audio/transcriptions", "tokens", &[][..], known(Some((14, 45)), "0.000518")),
        ("/v1/audio/transcriptions", "second", &[("prompt", "by length")][..], known(None, "0.0009")),
        ("/v1/audio/transcriptions", "second", &[("prompt", "in text")][..], (None, None)),
        ("/v1/audio/translations", "second", &[][..], known(None, "0.0009")),
        ("/v1/images/edits", "tokens", &[("image[]", "\u{1}PNG"), ("n", "2")][..], known(Some((50, 100)), "0.00134")),
    ] {
        let with = |model: &str| form(&[&[("file", "RIFF\u{0}\r\n\r\nmodel"), ("model", model)][..], parts].concat());
        let answer = send(&world, path, FORM, with(model)).await;
        assert_eq!(answer.status(), 200, "{path}");
        let seen = upstream.last();
        assert_eq!((seen.field("content-type"), seen.target()), (Some(FORM), path));
        assert_eq!(String::from_utf8(seen.body).unwrap(), with(&format!("real-{model}")));
        assert_eq!(used(&world).await, expect, "{path} {parts:?}");
    }
    world.done().await;
}

#[tokio::test]
async fn bodies_are_sent_as_what_they_were_read_as() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let file = form(&[("file", "x"), ("model", "tokens")]);
    for told in [FORM.replace("=", "=\"") + "\"; charset=utf-8", FORM.replace("; ", ";Charset=\"UTF-8\" ;")] {
        assert_eq!(send(&world, "/v1/audio/transcriptions", &told, &file).await.status(), 200, "{told}");
        let seen = upstream.last();
        assert_eq!((seen.field("content-type"), seen.count("content-type")), (Some(FORM), 1), "{told}");
        world.outcome(R::Served).await;
    }
    let json = json!({"model": "tokens", "input": "x", "messages": []}).to_string();
    for path in ["/v1/embeddings", "/v1/chat/completions"] {
        for told in ["application/json; charset=utf-7", "application/json\r\ncontent_type: text/plain"] {
            send(&world, path, told, &json).await;
            let seen = upstream.last();
            assert_eq!((seen.target(), seen.field("content-type")), (path, Some("application/json")), "{told}");
            assert_eq!((seen.count("content-type"), seen.count("content_type")), (1, 0), "{told}");
            world.outcome(R::Served).await;
        }
    }
    world.done().await;
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_in_openais_form() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let embed = |model: &str| json!({"model": model, "input": "x"}).to_string();
    let file = form(&[("file", "x"), ("model", "tokens")]);
    let more = |more: &str| format!("{FORM}; {more}");
    for (path, kind, body, reason, why) in [
        ("/v1/embeddings", "application/json", embed("claude"), R::InvalidModelCall, "offers embeddings"),
        ("/v1/embeddings", "application/json", embed("chat"), R::InvalidModelCall, "offers embeddings"),
        ("/v1/embeddings", "application/json", embed("search"), R::InvalidModelCall, "offers embeddings"),
        ("/v1/moderations", "application/json", embed("google"), R::InvalidModelCall, "offers moderations"),
        ("/v1/rerank", "application/json", embed("nobody"), R::ModelNotFound, ""),
        ("/v1/embeddings", "text/plain", embed("tokens"), R::InvalidModelCall, "as `application/json`"),
        ("/v1/embeddings", FORM, file.clone(), R::InvalidModelCall, "as `application/json`"),
        ("/v1/audio/transcriptions", "audio/wav", file.clone(), R::InvalidModelCall, "as `multipart/form-data`"),
        (
            "/v1/audio/transcriptions",
            FORM,
            file.replace("tokens", "claude"),
            R::InvalidModelCall,
            "offers transcriptions",
        ),
        ("/v1/audio/transcriptions", FORM, file.replace("4--\r\n", "4\r\n"), R::InvalidModelCall, "cut off"),
        ("/v1/audio/transcriptions", "multipart/form-data", file.clone(), R::InvalidModelCall, "no boundary"),
        ("/v1/audio/transcriptions", &more("boundary*=utf-8''x"), file.clone(), R::InvalidModelCall, "at the most"),
        ("/v1/audio/transcriptions", &more("charset=utf-7"), file.clone(), R::InvalidModelCall, "at the most"),
        (
            "/v1/audio/transcriptions",
            FORM,
            form(&[("file", "x"), ("prompt", "y"), ("model", "tokens")])
                .replace("\"prompt\"", "\"prompt\"; filename*=utf-8''x"),
            R::InvalidModelCall,
            "in two ways",
        ),
        ("/v1/images/edits", FORM, form(&[("model", "tokens"), ("n", "3.5")]), R::InvalidModelCall, "whole number"),
        ("/v1/audio/transcriptions", FORM, form(&[("file", "x")]), R::InvalidModelCall, "`model` is missing"),
        ("/v1/embeddings", "application/json", "[]".into(), R::InvalidModelCall, "not a JSON object"),
        (
            "/v1/chat/completions",
            "application/json",
            json!({"model": "search", "messages": []}).to_string(),
            R::InvalidModelCall,
            "offers chat",
        ),
    ] {
        let answer = send(&world, path, kind, &body).await;
        assert_eq!(answer.status(), reason.status(), "{path} {body}");
        let error = parsed(&answer)["error"].clone();
        assert_eq!(error["code"], reason.code(), "{path} {body}");
        assert!(error["message"].as_str().unwrap().contains(why), "{error}");
        world.outcome(reason).await;
    }
    // Whichever of two content types the provider reads, it is not sent.
    let twice = format!("application/json\r\ncontent-type: {FORM}");
    let refused = send(&world, "/v1/images/edits", &twice, embed("tokens")).await;
    assert!(refused.text().contains("as `multipart/form-data` or `application/json`"), "{}", refused.text());
    world.outcome(R::InvalidModelCall).await;
    let refused = world.get("/v1/embeddings", "").await;
    assert_eq!((refused.status(), refused.field("allow")), (405, Some("POST")));
    world.outcome(R::MethodNotAllowed).await;
    assert_eq!(upstream.requests().len(), 0, "nothing of this reached the provider");
    world.done().await;
}

#[tokio::test]
async fn a_target_that_fails_is_followed_by_the_next() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let body = form(&[("file", "RIFF"), ("model", "twice")]);
    let answer = send(&world, "/v1/audio/transcriptions", FORM, &body).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(String::from_utf8(upstream.last().body).unwrap(), body.replace("twice", "second"));
    let model = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((model.tried.len(), &*model.tried[0].provider_model, &*model.provider_model), (1, "first", "second"));
    assert_eq!(ask(&world, "/v1/embeddings", json!({"model": "twice", "input": "x"})).await.status(), 200);
    assert_eq!(world.outcome(R::Served).await.model.unwrap().tokens.unwrap().input, 8);
    world.done().await;
}

#[tokio::test]
async fn secrets_neither_leave_nor_come_back() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let body = form(&[("file", SECRET), ("model", "tokens")]);
    let refused = send(&world, "/v1/audio/transcriptions", FORM, body).await;
    assert_eq!(parsed(&refused)["error"]["code"], "secret_in_request");
    world.outcome(R::SecretInRequest).await;
    let echoed = ask(&world, "/v1/embeddings", json!({"model": "tokens", "input": "echo"})).await;
    assert_eq!(echoed.status(), 200);
    assert!(!echoed.text().contains(SECRET) && echoed.text().contains("your key is"), "{}", echoed.text());
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn guardrails_look_at_texts_in_json_and_in_forms() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let sent = || String::from_utf8(upstream.last().body).unwrap();
    ask(&world, "/v1/embeddings", json!({"model": "guarded", "input": ["I am ada@example.org", "x"]})).await;
    assert!(!sent().contains("ada@") && sent().contains("\"x\""), "{}", sent());
    let record = world.outcome(R::Served).await;
    assert_eq!(record.model.unwrap().guardrails.as_deref(), Some("personal_data/redact"));
    let parts =
        [("file", "ada@example.org"), ("model", "guarded"), ("prompt", "by ada@example.org"), ("language", "en")];
    send(&world, "/v1/audio/transcriptions", FORM, form(&parts)).await;
    let passed = sent();
    assert!(passed.contains("\r\n\r\nada@example.org\r\n") && !passed.contains("by ada@"), "{passed}");
    assert!(passed.contains("\r\n\r\nreal\r\n") && passed.contains("\r\n\r\nen\r\n"), "{passed}");
    world.outcome(R::Served).await;
    for (path, body) in [
        ("/v1/images/generations", json!({"model": "guarded", "prompt": "a falcon"})),
        ("/v1/audio/speech", json!({"model": "guarded", "input": "a falcon"})),
        ("/v1/moderations", json!({"model": "guarded", "input": [{"type": "text", "text": "a falcon"}]})),
        ("/v1/rerank", json!({"model": "guarded", "query": "x", "documents": ["y", {"text": "a falcon"}]})),
    ] {
        let refused = ask(&world, path, body).await;
        assert_eq!(parsed(&refused)["error"]["code"], "prompt_blocked", "{path}");
        world.outcome(R::PromptBlocked).await;
    }
    let refused = ask(&world, "/v1/embeddings", json!({"model": "guarded", "input": [[1, 2], [3]]})).await;
    assert!(refused.text().contains("send texts"), "{}", refused.text());
    world.outcome(R::InvalidModelCall).await;
    world.done().await;
}

#[tokio::test]
async fn embeddings_of_gemini_pass_and_are_translated() {
    let upstream = provider().await;
    let world = setup(&upstream);
    let body = r#"{"content": {"parts": [{"text": "x"}]}, "model":"models/google"}"#;
    for path in ["/v1beta/models/google:embedContent", "/v1/models/google:embedContent"] {
        let answer = send(&world, path, "application/json", body).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let seen = upstream.last();
        assert_eq!(seen.target(), "/v1beta/models/gem-real:embedContent");
        assert_eq!(String::from_utf8(seen.body).unwrap(), body.replace("models/google", "models/gem-real"));
        assert_eq!(used(&world).await, known(Some((3, 0)), "0.000006"));
    }
    let batch = json!({"requests": [{"model": "models/google", "content": {}}, {"content": {}}]});
    assert_eq!(ask(&world, "/v1beta/models/google:batchEmbedContents", batch).await.status(), 200);
    let seen: Value = serde_json::from_slice(&upstream.last().body).unwrap();
    assert_eq!(seen["requests"][0]["model"], "models/gem-real");
    assert_eq!(used(&world).await, known(Some((7, 0)), "0.000014"));
    let other = json!({"requests": [{"model": "models/google"}, {"model": "models/other"}]});
    let refused = ask(&world, "/v1beta/models/google:batchEmbedContents", other).await;
    assert_eq!((refused.status(), parsed(&refused)["error"]["status"].as_str()), (400, Some("INVALID_ARGUMENT")));
    world.outcome(R::InvalidModelCall).await;
    let refused = ask(&world, "/v1beta/models/tokens:embedContent", json!({"content": {}})).await;
    assert!(refused.text().contains("offers embeddings in this form"), "{}", refused.text());
    world.outcome(R::InvalidModelCall).await;

    for format in ["float", "base64"] {
        let call = json!({"model": "google", "input": ["a", "b"], "encoding_format": format, "dimensions": 2});
        let answer = ask(&world, "/v1/embeddings", call).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
        assert_eq!(sent["requests"][1]["content"]["parts"][0]["text"], "b");
        let vector = parsed(&answer)["data"][0]["embedding"].clone();
        let expect = match format {
            "float" => json!([0.5, -2.0]),
            _ => BASE64_STANDARD.encode([0.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat()).into(),
        };
        assert_eq!(vector, expect);
        assert_eq!(used(&world).await, known(Some((7, 0)), "0.000014"));
    }
    let refused = ask(&world, "/v1/embeddings", json!({"model": "google", "input": [1, 2]})).await;
    assert!(refused.text().contains("no counterpart"), "{}", refused.text());
    world.outcome(R::InvalidModelCall).await;
    world.done().await;
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

#[tokio::test]
async fn budgets_hold_what_a_call_may_cost_and_are_charged_what_it_did() {
    let upstream = provider().await;
    let mut setup = Setup::new(yaml(&upstream, ", budget: { usd: 1, per: month, hard: true }"));
    setup.credentials = vec![("c", 3, SECRET)];
    setup.lender = Arc::new(Rich);
    let world = setup.start();
    let sound = "x".repeat(10_000);
    let small = form(&[("file", &sound), ("model", "tokens")]);
    assert_eq!(send(&world, "/v1/audio/transcriptions", FORM, small).await.status(), 200);
    let model = world.outcome(R::Served).await.model.unwrap();
    let Some(Cost::Known(cost)) = model.cost else { panic!("{:?}", model.cost) };
    assert_eq!((pico(cost), model.budgets.is_some()), (518_000_000, true));
    // What no answer counts is charged as it was held: 8 tokens for each byte at ten, and each byte at two.
    let body = json!({"model": "tokens", "input": "hello", "voice": "a"}).to_string();
    let length = i64::try_from(body.len()).unwrap();
    send(&world, "/v1/audio/speech", "application/json", &body).await;
    let model = world.outcome(R::Served).await.model.unwrap();
    let Some(Cost::Estimated(cost)) = model.cost else { panic!("{:?}", model.cost) };
    // The body is held as it was sent, with the name of the provider's model.
    assert_eq!(pico(cost), (length + 5) * (2 + 80) * 1_000_000);
    // Nobody knows how long sound is that the provider fetches.
    let elsewhere = form(&[("url", "https://a.example/long.wav"), ("model", "tokens")]);
    let refused = send(&world, "/v1/audio/transcriptions", FORM, elsewhere).await;
    assert_eq!(parsed(&refused)["error"]["code"], "invalid_model_call");
    assert!(refused.text().contains("is a hard limit; send the file"), "{}", refused.text());
    world.outcome(R::InvalidModelCall).await;
    // Thirty images are dearer than the budget ever is; a model without a price is not tried.
    let refused = ask(&world, "/v1/images/generations", json!({"model": "image", "prompt": "x", "n": 30})).await;
    assert_eq!(parsed(&refused)["error"]["code"], "budget_exceeded");
    world.outcome(R::BudgetExceeded).await;
    let refused = ask(&world, "/v1/embeddings", json!({"model": "guarded", "input": "x"})).await;
    assert_eq!(parsed(&refused)["error"]["code"], "price_unknown");
    world.outcome(R::PriceUnknown).await;
    world.done().await;
}
