//! What comes in place of a model's answer: pages of proxies, errors that call themselves a success, wrong types, streams
//! that end within an event.

use crate::{fallback::*, harness::*, models};
use credentialflow_model::{
    OutcomeReason as R,
    usage::{Cost, TriedEnd},
};
use serde_json::{Value, json};

const PAGE: &str = "<html>Bad gateway, your key is the-real-secret</html>";
const WHOLE: &str =
    r#"{"id":"1","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;

/// Answers as the call's `how` says.
async fn proxy() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            let of = |kind: &str| format!("content-type: {kind}\r\n");
            let (status, kind, body) = match call["how"].as_str().unwrap() {
                "page" => (502, of("text/html"), PAGE.replace("the-real-secret", SECRET)),
                "empty" => (503, String::new(), String::new()),
                "elsewhere" => (307, "location: http://127.0.0.1:1/v1/chat/completions\r\n".to_owned(), String::new()),
                "moved" => (302, "location: /login\r\n".to_owned() + &of("text/html"), PAGE.to_owned()),
                "own" => (400, of("application/problem+json; charset=utf-8"), r#"{"title":"its own"}"#.to_owned()),
                "page-200" => (200, of("application/json"), PAGE.to_owned()),
                "error-200" => (200, of("application/json"), r#"{"error":{"message":"no"}}"#.to_owned()),
                "empty-200" => (200, of("application/json"), String::new()),
                "as-text" => (200, of("text/plain"), WHOLE.to_owned()),
                "untyped" => (200, String::new(), WHOLE.to_owned()),
                "events-as-text" => (200, of("text/plain"), "data: {\"choices\":[]}\n\ndata: [DONE]\n\n".to_owned()),
                "within" => (200, of("text/event-stream"), "data: {\"choices\":[]}\n\ndata: {\"choi".to_owned()),
                "no-blank-line" => {
                    (200, of("text/event-stream"), "data: {\"choices\":[]}\n\ndata: [DONE]\n".to_owned())
                }
                how => panic!("{how}"),
            };
            peer.send(answer(status, &kind, &body)).await;
        }
    })
    .await
}

async fn ask(world: &World, how: &str) -> Message {
    let body = format!(
        r#"{{"model":"chat","how":"{how}","stream":true,"stream_options":{{"include_usage":true}},"messages":[]}}"#
    );
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
    world.ask(format!("{head}authorization: Bearer {}\r\n\r\n{body}", key("k"))).await
}

#[tokio::test]
async fn callers_get_an_error_of_their_dialect_or_an_answer_that_is_called_what_it_is() {
    let upstream = proxy().await;
    let mut setup = Setup::new(models::yaml(&upstream));
    setup.credentials = vec![("c", 3, SECRET), ("d", 9, "the-other-secret")];
    let world = setup.start();
    for (how, status, outcome) in [
        ("page", 502, R::Served),
        ("empty", 503, R::Served),
        ("page-200", 502, R::UpstreamMalformed),
        ("error-200", 502, R::UpstreamMalformed),
        ("empty-200", 502, R::UpstreamMalformed),
        // SDKs would follow, with the caller's key and all of the prompt.
        ("elsewhere", 502, R::UpstreamMalformed),
        ("moved", 502, R::UpstreamMalformed),
    ] {
        let got = ask(&world, how).await;
        assert_eq!(got.field("location"), None, "{how}");
        assert_eq!((got.status(), got.field("content-type")), (status, Some("application/json")), "{how}");
        let told: Value = serde_json::from_slice(&got.body).unwrap();
        assert!(told["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{how}: {told}");
        assert!(!got.body.windows(6).any(|part| part == b"<html>"), "{how}: {told}");
        world.outcome(outcome).await;
    }
    let got = ask(&world, "own").await;
    assert_eq!((got.status(), &got.body[..]), (400, &br#"{"title":"its own"}"#[..]), "what a provider says passes");
    world.outcome(R::Served).await;
    for (how, kind) in [
        ("as-text", "application/json"),
        ("untyped", "application/json"),
        ("events-as-text", "text/event-stream"),
        ("no-blank-line", "text/event-stream"),
    ] {
        let got = ask(&world, how).await;
        assert_eq!((got.status(), got.field("content-type")), (200, Some(kind)), "{how}");
        assert!(!got.body.is_empty(), "{how}");
        world.outcome(R::Served).await;
    }
    world.done().await;
}

#[tokio::test]
async fn a_stream_that_ends_within_an_event_has_no_end_for_its_caller() {
    let upstream = proxy().await;
    let mut setup = Setup::new(models::yaml(&upstream));
    setup.credentials = vec![("c", 3, SECRET), ("d", 9, "the-other-secret")];
    let world = setup.start();
    let body = r#"{"model":"chat","how":"within","stream":true,"messages":[]}"#;
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-length: {}\r\n", body.len());
    let mut wire = world.connect().await;
    wire.send(format!("{head}authorization: Bearer {}\r\n\r\n{body}", key("k"))).await.unwrap();
    within(async { while wire.fill().await.is_ok_and(|n| n > 0) {} }).await;
    let got = String::from_utf8_lossy(wire.pending()).into_owned();
    assert!(got.starts_with("HTTP/1.1 200") && got.contains("{\"choi"), "{got}");
    assert!(!got.ends_with("0\r\n\r\n"), "{got}");
    world.outcome(R::UpstreamTruncated).await;
    world.done().await;
}

const MALFORMED: TriedEnd = TriedEnd::Outcome(R::UpstreamMalformed);
/// Successes that are none.
const NONE: [&str; 4] = ["page 200", r#"json 200 {"error":{"message":"no","code":503}}"#, "json 200 ", "late-page 40"];

#[tokio::test]
async fn what_is_no_answer_is_looked_for_elsewhere_and_held_against_its_target() {
    for how in NONE {
        for (who, stream) in [("a", false), ("a", true), ("ant", false), ("ant", true), ("goo", false), ("goo", true)] {
            let targets = format!("[{{ provider: {who}, model: m }}, {{ provider: b, model: m, priority: 1 }}]");
            let vendors = Vendors::start().await;
            let world = world_of(&vendors, &targets, "", STRICT).await;
            vendors.set(who, how);
            for before in [vec![(who, MALFORMED)], vec![]] {
                let told = world.ask(chat(stream)).await;
                assert!(told.status() == 200 && told.text().contains("hi from b"), "{who} {how}: {}", told.text());
                assert_eq!(tried(&world.outcome(R::Served).await), before, "{who} {how}");
            }
            // Where nobody else is left the caller gets an error of its dialect.
            vendors.set("b", how);
            let told = world.ask(chat(stream)).await;
            assert_eq!(told.status(), 502, "{who} {how}");
            let error: Value = serde_json::from_str(&told.text()).unwrap();
            assert_eq!(error["error"]["code"], "upstream_malformed", "{who} {how}");
            world.outcome(R::UpstreamMalformed).await;
            world.done().await;
        }
    }
}

#[tokio::test]
async fn an_answer_of_which_only_the_head_comes_is_looked_for_elsewhere_in_the_time_of_its_target() {
    let (cut, late) = (TriedEnd::Outcome(R::UpstreamTruncated), TriedEnd::Outcome(R::UpstreamTimeout));
    let targets = "[{ provider: a, model: m }, { provider: x, model: m, priority: 1, timeout: 1s }, \
                   { provider: b, model: m, priority: 2, timeout: 1s }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", LENIENT).await;
    vendors.set("a", "begun cut");
    vendors.set("x", "begun hang");
    let told = world.ask(chat(false)).await;
    assert_eq!((told.status(), told.text()), (200, whole("b")));
    assert_eq!(tried(&world.outcome(R::Served).await), [("a", cut), ("x", late)]);
    // Where nobody else is left, the caller is told in that time.
    for (how, status, outcome) in [("begun cut", 502, R::UpstreamTruncated), ("begun hang", 504, R::UpstreamTimeout)] {
        vendors.set("b", how);
        assert_eq!(world.ask(chat(false)).await.status(), status, "{how}");
        assert_eq!(tried(&world.outcome(outcome).await), [("a", cut), ("x", late)], "{how}");
    }
    world.done().await;

    // The deadline of the model ends the call, though there would be another target.
    let targets = "[{ provider: a, model: m }, { provider: b, model: m, priority: 1 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, ", deadline: 1s", LENIENT).await;
    vendors.set("a", "begun hang");
    assert_eq!(world.ask(chat(false)).await.status(), 504);
    assert_eq!(tried(&world.outcome(R::UpstreamTimeout).await), []);
    assert_eq!(vendors.asked(0), ["a"]);
    world.done().await;
}

#[tokio::test]
async fn what_is_no_answer_counts_among_failures_in_a_row() {
    let targets = "[{ provider: a, model: m }, { provider: b, model: m, priority: 1 }]";
    for how in NONE {
        let vendors = Vendors::start().await;
        let world = world_of(&vendors, targets, "", "health: { failures: 2, cooldown: 1h },").await;
        vendors.set("a", &format!("503 | {how}"));
        for end in [Some(TriedEnd::Status(503)), Some(MALFORMED), None] {
            assert!(world.ask(chat(false)).await.text().contains("hi from b"), "{how}");
            let before: Vec<_> = end.into_iter().map(|end| ("a", end)).collect();
            assert_eq!(tried(&world.outcome(R::Served).await), before, "{how}");
        }
        world.done().await;
    }
}

#[tokio::test]
async fn what_may_have_been_paid_for_is_not_asked_for_again_at_the_same_provider() {
    let price = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }]";
    let targets = format!(
        "[{{ provider: a, model: one, {price} }}, {{ provider: a, model: two, priority: 1, {price} }}, \
         {{ provider: b, model: m, priority: 2, {price} }}]"
    );
    let budget = ", budget: { usd: 5, per: month }";
    let vendors = Vendors::start().await;
    let world = setup_of(&vendors, &targets, ", retry: { times: 2, wait: 100ms }", LENIENT, budget).start();
    vendors.set("a", NONE[0]);
    assert_eq!(world.ask(chat(false)).await.text(), whole("b"));
    let record = world.outcome(R::Served).await;
    assert_eq!((vendors.asked(0), tried(&record)), (vec!["a".to_owned(), "b".to_owned()], vec![("a", MALFORMED)]));
    assert!(matches!(record.model.as_ref().unwrap().cost, Some(Cost::Estimated(_))), "{record:?}");
    vendors.set("b", NONE[1]);
    let before = vendors.upstream.requests().len();
    assert_eq!(world.ask(chat(false)).await.status(), 502);
    world.outcome(R::UpstreamMalformed).await;
    assert_eq!(vendors.asked(before), ["a", "b"], "nor is it tried again after a while");
    world.done().await;
}

/// What others than conversations ask, with the model and what stands where the call may say something.
fn tasks(how: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("/v1/embeddings", json!({"model": "m", "input": how})),
        ("/v1/moderations", json!({"model": "m", "input": how})),
        ("/v1/images/generations", json!({"model": "m", "prompt": how})),
        ("/v1/rerank", json!({"model": "ranks", "query": how, "documents": ["one"]})),
        ("/v1/audio/speech", json!({"model": "m", "input": how, "voice": "alloy"})),
    ]
}

#[tokio::test]
async fn what_is_no_conversation_has_errors_of_its_form_too() {
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let of = |kind: &str| format!("content-type: {kind}\r\n");
            let (status, kind, said) = match () {
                () if body.contains("do-page") => (502, of("text/html"), PAGE.replace("the-real-secret", SECRET)),
                () if body.contains("do-empty") => (503, String::new(), String::new()),
                () if body.contains("its-own") => (400, of("application/json"), r#"{"error":"its own"}"#.to_owned()),
                () if body.contains("200-page") => (200, of("text/html"), PAGE.to_owned()),
                () if body.contains("200-error") => {
                    (200, of("application/json"), r#"{"error":{"message":"no"}}"#.to_owned())
                }
                () if body.contains("200-empty") => (200, of("application/json"), String::new()),
                () if body.contains("as-text") => (200, of("text/plain"), r#"{"object":"list"}"#.to_owned()),
                () => (200, of("audio/mpeg"), "<ID3 not a page".to_owned()),
            };
            peer.send(answer(status, &kind, &said)).await;
        }
    })
    .await;
    let mut setup = Setup::new(format!(
        "applications: [{{ name: app, allow: {{ models: [m, ranks] }} }}]
keys: [{{ name: k, application: app }}]
credentials: [{{ name: c, engine: static }}]
upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1\"], provider: openai, inject: {{ bearer: c }} }}
  - {{ name: cohere, endpoints: [\"{0}/v2\"], provider: cohere-rerank, inject: {{ bearer: c }} }}
models:
  - {{ name: m, targets: [{{ provider: mine, model: real }}] }}
  - {{ name: ranks, targets: [{{ provider: cohere, model: real }}] }}
",
        upstream.url()
    ));
    setup.credentials = vec![("c", 1, SECRET)];
    let world = setup.start();
    let asked = async |how: &str| {
        let mut told = Vec::new();
        for (path, body) in tasks(how) {
            let got = world.ask(post(path, "content-type: application/json\r\n", &body.to_string())).await;
            told.push((path, got, world.record().await.outcome));
        }
        told
    };
    for (how, status) in [("do-page", 502), ("do-empty", 503)] {
        for (path, got, outcome) in asked(how).await {
            let kind = got.field("content-type");
            assert_eq!((got.status(), kind, outcome), (status, Some("application/json"), R::Served), "{path} {how}");
            let told: Value = serde_json::from_slice(&got.body).unwrap();
            assert!(told["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{path} {how}: {told}");
            assert!(!got.text().contains("<html>") && !got.text().contains(SECRET), "{path} {how}: {told}");
        }
    }
    for (path, got, _) in asked("its-own").await {
        assert_eq!((got.status(), got.text().as_str()), (400, r#"{"error":"its own"}"#), "{path}");
    }
    for how in ["200-page", "200-error", "200-empty"] {
        for (path, got, outcome) in asked(how).await {
            // What is sound may begin as anything.
            let expect = if path.ends_with("speech") { (200, R::Served) } else { (502, R::UpstreamMalformed) };
            assert_eq!((got.status(), outcome), expect, "{path} {how}: {}", got.text());
        }
    }
    for (path, got, _) in asked("as-text").await {
        let kind = if path.ends_with("speech") { "text/plain" } else { "application/json" };
        assert_eq!((got.status(), got.field("content-type")), (200, Some(kind)), "{path}");
        assert_eq!(got.text(), r#"{"object":"list"}"#, "{path}");
    }
    let (path, body) = tasks("sound").pop().unwrap();
    let sound = world.ask(post(path, "content-type: application/json\r\n", &body.to_string())).await;
    world.outcome(R::Served).await;
    assert_eq!((sound.status(), sound.text().as_str()), (200, "<ID3 not a page"));
    world.done().await;
}
