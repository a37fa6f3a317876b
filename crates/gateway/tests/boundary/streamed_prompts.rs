//! Published prompts whose callers ask for events: with every dialect that a provider speaks, whatever breaks on the way, and
//! with all that holds of streamed calls.

use crate::{bedrock, harness::*, http2};
use credentialflow_model::{
    OutcomeReason as R, UsageRecord,
    usage::{CacheUse, Cost},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};

/// What the models of this test are, and where their routes are.
const MODELS: [(&str, &str); 8] = [
    ("chats", "provider: chats"),
    ("messages", "provider: messages"),
    ("gemini", "provider: goo"),
    ("bedrock", "provider: aws, credential: api-key"),
    ("redact", "provider: chats"),
    ("block", "provider: messages"),
    ("kept", "provider: chats"),
    ("second", "provider: messages"),
];

fn yaml(upstream: &FakeUpstream) -> String {
    let url = upstream.url();
    let more = |name: &str| match name {
        "redact" => "guardrails: [{ detect: personal_data, action: redact, on: answer }]",
        "block" => "guardrails: [{ detect: personal_data, action: block, on: answer }]",
        "kept" => "cache: { scope: application }",
        "chats" => "secrets_in_answers: blank",
        _ => "description: plain",
    };
    let price = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', output: '2' }]";
    let after = |name: &str| match name {
        "second" => format!(", {{ provider: chats, model: other, priority: 1, {price} }}"),
        _ => String::new(),
    };
    let models: String = MODELS
        .iter()
        .map(|(name, target)| {
            let (more, after) = (more(name), after(name));
            format!("  - {{ name: {name}, targets: [{{ {target}, model: amazon.nova-lite-v1, {price} }}{after}], {more} }}\n")
        })
        .collect();
    let numbered = || MODELS.iter().zip(1..);
    let versions: String = numbered()
        .map(|((name, _), n)| {
            format!(
                "      - {{ version: {n}, model: {name}, messages: [{{ role: user, content: '{{{{text}}}}' }}] }}\n"
            )
        })
        .collect();
    let routes: String = numbered()
        .map(|((name, _), n)| {
            format!("  - {{ name: {name}, match: {{ path: /{name} }}, prompt: {{ name: p, version: {n} }}, authenticate: [api_key] }}\n")
        })
        .collect();
    let allowed: Vec<&str> = MODELS.iter().map(|(name, _)| *name).collect();
    format!(
        "applications:
  - {{ name: app, allow: {{ routes: [strict, limited, full, {}] }}, budget: {{ usd: '100', per: month }} }}
  - {{ name: other, allow: {{ routes: [limited] }} }}
keys:
  - {{ name: k, application: app }}
  - {{ name: o, application: other }}
credentials:
  - {{ name: c, engine: static }}
  - {{ name: api-key, engine: static }}
upstreams:
  - {{ name: chats, endpoints: ['{url}/v1'], provider: openai-chat, inject: {{ bearer: c }}, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: messages, endpoints: ['{url}/v1'], provider: anthropic, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: goo, endpoints: ['{url}/v1beta'], provider: gemini, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: aws, endpoints: ['{url}/aws'], provider: bedrock, timeouts: {{ response: 60s, idle: 60s }} }}
models:
{models}prompts:
  - name: p
    model: chats
    variables: {{ text: {{ type: string }} }}
    versions:
{versions}      - {{ version: 90, messages: [{{ role: user, content: '{{{{text}}}}' }}], answer_schema: {{ type: object }} }}
routes:
{routes}  - {{ name: strict, match: {{ path: /strict }}, prompt: {{ name: p, version: 90 }}, authenticate: [api_key] }}
  - {{ name: limited, match: {{ path: /limited }}, prompt: {{ name: p, version: 1 }}, authenticate: [api_key], limit: {{ requests: 2, per: 1h, by: application }} }}
  - name: full
    match: {{ path: /full, hosts: [gw], headers: {{ x-kind: a }} }}
    prompt: {{ name: p, version: 1 }}
    authenticate: [api_key]
    key_in_query: key
    max_body: 1KiB
    headers: {{ request: {{ set: {{ x-told: ours }} }}, response: {{ set: {{ x-ours: set }}, remove: [x-theirs] }} }}
",
        allowed.join(", ")
    )
}

/// Writes a piece of a stream's text.
type Piece = Box<dyn Fn(&str) -> Vec<u8>>;

/// The events in which a provider says these pieces.
fn said(path: &str, pieces: &[&str], ends: bool) -> Vec<Vec<u8>> {
    let named = |value: Value| format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap()).into_bytes();
    let plain = |value: Value| format!("data: {value}\n\n").into_bytes();
    let (before, piece, after): (Vec<Vec<u8>>, Piece, Vec<Vec<u8>>) = match path {
        "/v1/messages" => (
            vec![
                named(
                    json!({"type": "message_start", "message": {"id": "1", "type": "message", "role": "assistant", "model": "real", "content": [], "usage": {"input_tokens": 5, "output_tokens": 1}}}),
                ),
                named(
                    json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
                ),
            ],
            Box::new(move |text: &str| {
                named(json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}))
            }),
            vec![
                named(json!({"type": "content_block_stop", "index": 0})),
                named(
                    json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}),
                ),
                named(json!({"type": "message_stop"})),
            ],
        ),
        "/v1/chat/completions" => {
            let chunk = move |delta: Value, finish: Value| {
                plain(
                    json!({"id": "1", "object": "chat.completion.chunk", "model": "real", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}),
                )
            };
            (
                vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)],
                Box::new(move |text: &str| chunk(json!({ "content": text }), Value::Null)),
                vec![
                    chunk(json!({}), json!("stop")),
                    plain(
                        json!({"id": "1", "object": "chat.completion.chunk", "model": "real", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}}),
                    ),
                    b"data: [DONE]\n\n".to_vec(),
                ],
            )
        }
        path if path.starts_with("/v1beta/") => (
            Vec::new(),
            Box::new(move |text: &str| {
                plain(json!({"candidates": [{"content": {"role": "model", "parts": [{ "text": text }]}}]}))
            }),
            vec![plain(
                json!({"candidates": [{"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7, "totalTokenCount": 12}}),
            )],
        ),
        _ => (
            vec![bedrock::event("messageStart", json!({"role": "assistant"}))],
            Box::new(|text: &str| {
                bedrock::event("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": { "text": text }}))
            }),
            vec![
                bedrock::event("messageStop", json!({"stopReason": "end_turn"})),
                bedrock::event(
                    "metadata",
                    json!({"metrics": {}, "usage": {"inputTokens": 5, "outputTokens": 7, "totalTokens": 12}}),
                ),
            ],
        ),
    };
    let pieces = pieces.iter().map(|text| piece(text));
    before.into_iter().chain(pieces).chain(after.into_iter().filter(|_| ends)).collect()
}

/// A provider that does what the last words of a call are.
async fn provider() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            let place = ["/messages/0/content/0/text", "/messages/0/content", "/contents/0/parts/0/text"];
            let how = place.iter().find_map(|place| call.pointer(place)?.as_str()).unwrap().to_owned();
            let path = request.target().split('?').next().unwrap().to_owned();
            let chat = path == "/v1/chat/completions";
            let how = match &*how {
                "first breaks" if chat => "fine".to_owned(),
                "first breaks" => "error first".to_owned(),
                _ => how,
            };
            if how == "busy" {
                peer.send(answer(429, "content-type: application/json\r\n", r#"{"error":{"message":"slow down"}}"#)).await;
                continue;
            }
            if how == "whole" || (chat && call["stream"] != true) {
                let body = json!({"id": "1", "object": "chat.completion", "model": "real", "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
                    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello, \"world\""}}]});
                peer.send(answer(200, "content-type: application/json\r\n", &body.to_string())).await;
                continue;
            }
            let (first, second) = SECRET.split_at(9);
            let pieces: Vec<&str> = match &*how {
                "error first" => Vec::new(),
                "echo" => vec!["it is ", first, second],
                "mail" => vec!["Write to anna", "@example.com"],
                "mail later" => [["A fine day. "; 40].as_slice(), &["Write to anna", "@example.com. That is all."]].concat(),
                _ => vec!["Hel", "lo, ", "\"world\""],
            };
            let breaks = how.starts_with("error") || matches!(&*how, "cut" | "unended" | "hangs");
            let mut events = said(&path, &pieces, !breaks);
            if how.starts_with("error") {
                let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
                events.push(format!("event: error\ndata: {error}\n\n").into_bytes());
            }
            let kind = if path.starts_with("/aws") { "application/vnd.amazon.eventstream" } else { "text/event-stream" };
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nx-theirs: a\r\ntransfer-encoding: chunked\r\n\r\n")).await;
            for event in events {
                for piece in event.chunks(61) {
                    peer.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
                }
                // So that each is passed on before the next one comes.
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            match &*how {
                "cut" => return,
                "hangs" => {
                    peer.wire.drain().await;
                    return;
                }
                _ => peer.send("0\r\n\r\n").await,
            }
        }
    })
    .await
}

async fn world() -> (FakeUpstream, World) {
    let upstream = provider().await;
    let mut setup = Setup::new(yaml(&upstream));
    setup.credentials = vec![("c", 3, SECRET), ("api-key", 1, "the-other-secret")];
    (upstream, setup.start())
}

async fn ask(world: &World, path: &str, accept: &str, how: &str) -> Message {
    let more = format!("content-type: application/json\r\naccept: {accept}\r\n");
    world.ask(post(path, &more, &json!({ "text": how }).to_string())).await
}

const EVENTS: &str = "text/event-stream";

/// Types and data of the events of an answer, which is complete.
fn events(answer: &Message) -> Vec<(String, Value)> {
    let text = answer.text();
    assert_eq!((answer.status(), answer.field("content-type")), (200, Some(EVENTS)), "{text}");
    assert!(answer.complete, "{text}");
    let each = text.split_terminator("\n\n").map(|event| {
        let (kind, data) = event.split_once("\ndata: ").unwrap_or_else(|| panic!("{text}"));
        (kind.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data).unwrap())
    });
    each.collect()
}

/// The pieces together, and the last event.
fn read(answer: &Message) -> (String, String, Value) {
    let mut events = events(answer);
    let (kind, last) = events.pop().unwrap();
    let piece = |(kind, data): (String, Value)| {
        assert_eq!((&*kind, data.as_object().unwrap().len()), ("delta", 1));
        data["output"].as_str().unwrap().to_owned()
    };
    (events.into_iter().map(piece).collect(), kind, last)
}

fn problem(answer: &Message) -> Value {
    assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn check_paid(record: &UsageRecord) {
    let model = record.model.as_ref().unwrap();
    assert!(model.streamed && model.budgets.is_some(), "{model:?}");
    assert_eq!(model.tokens.map(|tokens| (tokens.input, tokens.output)), Some((5, 7)));
    // 5 × 1 + 7 × 2, per million.
    assert_eq!(model.cost, Some(Cost::Known("0.000019".parse().unwrap())));
}

#[tokio::test]
async fn a_prompt_answers_in_events_with_every_provider() {
    let (upstream, world) = world().await;
    for (name, version) in [("chats", 1), ("messages", 2), ("gemini", 3), ("bedrock", 4), ("redact", 5)] {
        let answer = ask(&world, &format!("/{name}"), EVENTS, "fine").await;
        let told = events(&answer);
        assert!(told.len() >= 3 || name == "redact", "in pieces: {told:?}");
        let (words, kind, done) = read(&answer);
        assert_eq!((&*words, &*kind), ("Hello, \"world\"", "done"), "{name}");
        assert_eq!(
            done,
            json!({ "output": "Hello, \"world\"", "finish_reason": "stop", "prompt": { "name": "p", "version": version },
                "usage": { "input_tokens": 5, "output_tokens": 7 } }),
            "{name}"
        );
        assert!(answer.field("x-request-id").is_some());
        let record = world.outcome(R::Served).await;
        check_paid(&record);
        assert_eq!(record.model.as_ref().unwrap().prompt.as_deref(), Some(&*format!("p/{version}")));
        assert_eq!((record.bytes_out, record.status), (answer.body.len() as u64, 200), "as the caller got it");
    }
    // What it ends with is what it is else.
    let whole = ask(&world, "/chats", "application/json", "fine").await;
    let (_, _, done) = read(&ask(&world, "/chats", EVENTS, "fine").await);
    assert_eq!(serde_json::from_slice::<Value>(&whole.body).unwrap(), done);
    let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
    assert_eq!((&sent["stream"], &sent["stream_options"]["include_usage"]), (&json!(true), &json!(true)));
    world.served(2).await;
    // Over HTTP/2, and one that came whole all the same.
    let mut sender = http2::caller(&world).await;
    let mut request = http2::request("POST", "/chats", json!({ "text": "whole" }).to_string());
    request.headers_mut().insert("accept", EVENTS.parse().unwrap());
    let answer = within(sender.send_request(request)).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (200, &EVENTS.parse().unwrap()));
    let body = within(answer.into_body().collect()).await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.starts_with("event: delta\ndata: {\"output\":\"Hello, \\\"world\\\"\"}\n\nevent: done\n"), "{text}");
    check_paid(&world.outcome(R::Served).await);
    drop(sender);
    world.done().await;
}

#[tokio::test]
async fn who_asks_for_events_gets_them_and_nobody_else() {
    let (upstream, world) = world().await;
    for (accept, streams) in [
        (EVENTS, true),
        ("Text/Event-Stream", true),
        ("text/event-stream, */*", true),
        ("application/json;q=0.5, text/event-stream;q=0.9", true),
        ("application/json;q=0, text/event-stream", true),
        ("*/*", false),
        ("application/json", false),
        ("application/json, text/event-stream", false),
        ("text/event-stream;q=0.3, application/json; q=0.4", false),
        ("text/event-stream;q=0", false),
        ("text/event-stream;q=x", false),
        ("text/event-stream-of-another-kind", false),
    ] {
        let answer = ask(&world, "/chats", accept, "fine").await;
        let kind = if streams { EVENTS } else { "application/json" };
        assert_eq!((answer.status(), answer.field("content-type")), (200, Some(kind)), "{accept}");
        assert_eq!(world.outcome(R::Served).await.model.unwrap().streamed, streams, "{accept}");
    }
    // What is checked when all of it is there is not given before, and nobody is asked.
    let before = upstream.counts().requests;
    let refused = problem(&ask(&world, "/strict", EVENTS, "fine").await);
    assert_eq!((&refused["code"], &refused["status"]), (&json!("invalid_model_call"), &json!(400)));
    assert!(refused["detail"].as_str().unwrap().contains("application/json"), "{refused}");
    world.outcome(R::InvalidModelCall).await;
    assert_eq!(upstream.counts().requests, before);
    world.done().await;
}

#[tokio::test]
async fn what_breaks_is_a_refusal_before_the_first_piece_and_the_last_event_after_it() {
    let (_upstream, world) = world().await;
    for (path, how, status, reason, detail) in [
        ("/chats", "busy", 503, R::NoHealthyEndpoint, "slow down"),
        ("/messages", "busy", 503, R::NoHealthyEndpoint, "slow down"),
        ("/chats", "error first", 502, R::UpstreamMalformed, "Overloaded"),
        ("/messages", "error first", 502, R::UpstreamMalformed, "Overloaded"),
    ] {
        let answer = ask(&world, path, EVENTS, how).await;
        let told = problem(&answer);
        assert_eq!((answer.status(), &told["code"]), (status, &json!(reason.code())), "{path} {how}: {told}");
        assert!(told["detail"].as_str().unwrap().contains(detail), "{told}");
        let record = world.outcome(reason).await;
        assert_eq!(record.status, status);
    }
    for (path, how, reason) in [
        ("/chats", "error later", R::UpstreamMalformed),
        ("/messages", "error later", R::UpstreamMalformed),
        ("/chats", "cut", R::UpstreamTruncated),
        ("/messages", "cut", R::UpstreamTruncated),
        ("/chats", "unended", R::UpstreamTruncated),
        ("/gemini", "unended", R::UpstreamTruncated),
        ("/bedrock", "cut", R::UpstreamTruncated),
    ] {
        let (words, kind, told) = read(&ask(&world, path, EVENTS, how).await);
        assert_eq!((&*words, &*kind), ("Hello, \"world\"", "error"), "{path} {how}: {told}");
        assert_eq!((&told["code"], &told["retry"]), (&json!(reason.code()), &json!(true)), "{path} {how}");
        assert_eq!(told["detail"].as_str().unwrap_or_default().contains("Overloaded"), how == "error later", "{told}");
        let record = world.outcome(reason).await;
        assert_eq!(told["request_id"], record.request_id.to_string());
        // What was written is paid for.
        let model = record.model.unwrap();
        assert!(
            matches!(model.cost, Some(Cost::Estimated(usd)) if usd > Default::default()),
            "{path} {how}: {model:?}"
        );
    }
    // Where another target can serve, nobody hears of what broke before the first piece.
    let (words, kind, _) = read(&ask(&world, "/second", EVENTS, "first breaks").await);
    assert_eq!((&*words, &*kind), ("Hello, \"world\"", "done"));
    assert_eq!(world.outcome(R::Served).await.model.unwrap().tried.len(), 1);
    world.done().await;
}

#[tokio::test]
async fn guardrails_and_secrets_hold_in_events() {
    let (_upstream, world) = world().await;
    let (words, kind, done) = read(&ask(&world, "/redact", EVENTS, "mail").await);
    assert_eq!((&*words, &*kind, &done["output"]), ("Write to [EMAIL]", "done", &json!("Write to [EMAIL]")));
    world.outcome(R::Served).await;
    let answer = ask(&world, "/block", EVENTS, "mail").await;
    let told = problem(&answer);
    assert_eq!((answer.status(), &told["detail"]), (400, &json!("it holds personal data")), "{told}");
    assert_eq!(world.outcome(R::AnswerBlocked).await.status, 400);
    let answer = ask(&world, "/block", EVENTS, "mail later").await;
    let (words, kind, told) = read(&answer);
    assert!(words.starts_with("A fine day. ") && !answer.text().contains("anna"), "{}", answer.text());
    assert_eq!((&*kind, &told["code"]), ("error", &json!("answer_blocked")));
    assert_eq!(told["detail"], "it holds personal data");
    world.outcome(R::AnswerBlocked).await;
    // A credential that the provider says in two pieces does not stand in the whole.
    let (_, kind, done) = read(&ask(&world, "/chats", EVENTS, "echo").await);
    let hidden = "*".repeat(SECRET.len());
    assert_eq!((&*kind, &done["output"]), ("done", &json!(format!("it is {hidden}"))));
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn events_are_kept_as_the_caller_got_them() {
    let (upstream, world) = world().await;
    let first = ask(&world, "/kept", EVENTS, "fine").await;
    assert_eq!(world.outcome(R::Served).await.model.unwrap().cache, Some(CacheUse::Miss));
    let again = ask(&world, "/kept", EVENTS, "fine").await;
    assert_eq!((read(&again), &again.body), (read(&first), &first.body));
    let model = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((model.cache, model.cost), (Some(CacheUse::Hit), Some(Cost::Known(0.into()))));
    assert_eq!(upstream.counts().requests, 1);
    // A whole answer is another one, and one that broke is none.
    let whole = ask(&world, "/kept", "application/json", "fine").await;
    assert_eq!(whole.field("content-type"), Some("application/json"));
    assert_eq!(world.outcome(R::Served).await.model.unwrap().cache, Some(CacheUse::Miss));
    for how in ["unended", "unended", "error first", "error first"] {
        let answer = ask(&world, "/kept", EVENTS, how).await;
        assert!(answer.text().contains("upstream_"), "{}", answer.text());
        assert_eq!(world.record().await.model.unwrap().cache, Some(CacheUse::Miss), "{how}");
    }
    world.done().await;
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_and_pays_for_what_was_written() {
    let (upstream, world) = world().await;
    let body = json!({ "text": "hangs" }).to_string();
    let more = "content-type: application/json\r\naccept: text/event-stream\r\n";
    for path in ["/chats", "/messages"] {
        let mut wire = world.connect().await;
        wire.send(post(path, more, &body)).await.unwrap();
        within(async {
            while find(wire.pending(), b"world").is_none() {
                assert!(wire.fill().await.unwrap() > 0);
            }
        })
        .await;
        // It came while the model was still at it, and the head with it.
        assert!(find(wire.pending(), b"event: delta").is_some() && find(wire.pending(), b"event: done").is_none());
        drop(wire);
        let model = world.outcome(R::CallerClosed).await.model.unwrap();
        assert!(matches!(model.cost, Some(Cost::Estimated(usd)) if usd > Default::default()), "{model:?}");
        assert!(model.budgets.is_some(), "the application's budget pays");
    }
    within(upstream.until(|counts| counts.open == 0)).await;
    // A key that is taken away while its stream runs.
    let mut wire = world.connect().await;
    wire.send(post("/chats", more, &body)).await.unwrap();
    within(async {
        while find(wire.pending(), b"world").is_none() {
            assert!(wire.fill().await.unwrap() > 0);
        }
    })
    .await;
    world.install(&yaml(&upstream), &[("c", 3, SECRET), ("api-key", 1, "the-other-secret")], &["k"]).await;
    let (_, error) = within(wire.drain()).await;
    assert!(error.is_none() || find(wire.pending(), b"done").is_none());
    world.outcome(R::Revoked).await;
    world.done().await;
}

#[tokio::test]
async fn its_route_has_limits_of_its_own_for_each_application() {
    let (_upstream, world) = world().await;
    let ask = async |name: &str| {
        let body = post("/limited", "content-type: application/json\r\n", r#"{"text":"fine"}"#);
        world.ask(body.replace(&key("k"), &key(name))).await
    };
    for (name, status) in [("k", 200), ("k", 200), ("k", 429), ("o", 200)] {
        let answer = ask(name).await;
        assert_eq!(answer.status(), status, "{name}: {}", answer.text());
        assert!(answer.field("ratelimit-policy").is_some());
        world.outcome(if status == 200 { R::Served } else { R::RateLimited }).await;
    }
    world.done().await;
}

#[tokio::test]
async fn its_route_does_what_other_routes_do() {
    let (upstream, world) = world().await;
    let ask = async |path: &str, more: &str, text: &str| {
        let body = json!({ "text": text }).to_string();
        let head = format!("POST {path}?key={} HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", key("k"), body.len());
        world.ask(format!("{head}content-type: application/json\r\n{more}\r\n{body}")).await
    };
    for (accept, kind) in [(EVENTS, EVENTS), ("*/*", "application/json")] {
        let answer = ask("/full", &format!("x-kind: a\r\naccept: {accept}\r\n"), "fine").await;
        assert_eq!((answer.status(), answer.field("content-type")), (200, Some(kind)), "{}", answer.text());
        assert_eq!((answer.field("x-ours"), answer.field("x-theirs")), (Some("set"), None));
        let sent = upstream.last();
        assert_eq!((sent.field("x-told"), sent.target()), (Some("ours"), "/v1/chat/completions"));
        let record = world.outcome(R::Served).await;
        assert_eq!((record.route.as_deref(), record.application.as_deref()), (Some("full"), Some("app")));
    }
    assert_eq!(ask("/full", "x-kind: b\r\n", "fine").await.status(), 404);
    world.outcome(R::NoRoute).await;
    assert_eq!(ask("/full", "x-kind: a\r\n", &"x".repeat(1025)).await.status(), 413);
    world.outcome(R::BodyTooLarge).await;
    world.done().await;
}
