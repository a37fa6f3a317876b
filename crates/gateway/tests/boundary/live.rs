//! Sessions of Gemini's Live API: the caller is answered first, its first message names the model, and each answer is paid
//! for and recorded, as those of OpenAI's Realtime are.

use crate::{
    harness::*,
    realtime::{AGREED, ASKS, MICRO, Purse, Side, connected, cost},
};
use credentialflow_gateway::ws::{self, Message as Frame, Sender};
use credentialflow_model::{OutcomeReason as R, resource::budget::pico, usage::Cost};
use serde_json::{Value, json};
use std::sync::{Arc, atomic::AtomicI64};

const LIVE: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
const ALPHA: &str = "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContent";
const PRICES: &str = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', cached_input: '0.5', output: '10', audio_input: '4', cached_audio_input: '2', audio_output: '40' }]";
/// What an answer costs.
const COST: i64 = (70 + 15 + 80 * 4 + 20 * 2 + 40 * 10 + 60 * 40) * MICRO;

fn usage() -> Value {
    json!({"promptTokenCount": 200, "cachedContentTokenCount": 50, "responseTokenCount": 90, "thoughtsTokenCount": 10, "totalTokenCount": 300,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 100}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 30}, {"modality": "AUDIO", "tokenCount": 20}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 60}, {"modality": "TEXT", "tokenCount": 30}]})
}

/// Speaks enough of Live, in binary frames as Google's servers do: answers what asks for an answer, and sound of its own
/// accord; tells all that it heard as `echo`. `hang` is begun and never over, `late` is counted when the caller leaves.
async fn provider() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        let Some(request) = peer.head().await else { return };
        if request.target().starts_with("/down") {
            peer.send(answer(503, "content-type: application/json\r\n", "{}")).await;
            return;
        }
        if request.target().starts_with("/wrong") {
            peer.send(AGREED.replace("s3pP", "XXXX")).await;
            return;
        }
        peer.send(AGREED).await;
        let mut side = Side::new(&mut peer.wire, Sender::Client);
        let text = |text: &str| json!({"serverContent": {"modelTurn": {"parts": [{"text": text}]}}});
        let end = || json!({"serverContent": {"turnComplete": true}, "usageMetadata": usage()});
        let mut late = false;
        loop {
            let event = match side.next().await {
                Ok(event) => event,
                Err(_) => break,
            };
            let mut tell = vec![json!({"echo": event})];
            let said = event.to_string();
            if event.get("setup").is_some() {
                tell.push(json!({"setupComplete": {}}));
                tell.push(json!({"sessionResumptionUpdate": {"newHandle": "handle-1", "resumable": true}}));
            } else if said.contains("hang") || said.contains("late") {
                tell.push(text("it begins"));
                late = said.contains("late");
            } else if said.contains("tool") && event.get("toolResponse").is_none() {
                tell.push(json!({"toolCall": {"functionCalls": [{"id": "1", "name": "f", "args": {}}]}, "usageMetadata": usage()}));
            } else if said.contains("turnComplete\":true") || said.contains("turn_complete\":true") || said.contains("audio") || event.get("toolResponse").is_some() {
                tell.push(text(&format!("said {SECRET}")));
                tell.push(end());
            }
            if late {
                tell.push(end());
            }
            for event in tell {
                if late && event.get("usageMetadata").is_some() {
                    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                }
                side.send(Sender::Server, &Frame::Binary(event.to_string().as_bytes())).await;
            }
        }
    })
    .await
}

fn yaml(upstream: &FakeUpstream, model: &str, hard: bool) -> String {
    let budget_of = if hard { ", budget: { usd: 100, per: month, hard: true }" } else { "" };
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [voice, spare, wrong, chat] }}{budget_of} }}
  - {{ name: other, allow: {{ models: [voice, spare] }} }}
keys:
  - {{ name: k, application: app }}
  - {{ name: k2, application: other }}
credentials:
  - {{ name: c, engine: static }}
upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1beta\"], provider: gemini, inject: {{ header: {{ name: x-goog-api-key, credential: c }} }}, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: down, endpoints: [\"{0}/down/v1beta\"], provider: gemini, inject: {{ header: {{ name: x-goog-api-key, credential: c }} }}, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: wrong, endpoints: [\"{0}/wrong\"], provider: gemini, inject: {{ header: {{ name: x-goog-api-key, credential: c }} }}, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: openai, endpoints: [\"{0}/v1\"], provider: openai, inject: {{ bearer: c }} }}
models:
  - {{ name: voice, targets: [{{ provider: mine, model: gemini-real, context: 32000, {PRICES} }}]{model} }}
  - {{ name: spare, targets: [{{ provider: down, model: a, {PRICES} }}, {{ provider: mine, model: gemini-real, priority: 1, {PRICES} }}] }}
  - {{ name: wrong, targets: [{{ provider: wrong, model: a, {PRICES} }}] }}
  - {{ name: chat, targets: [{{ provider: openai, model: a, {PRICES} }}] }}
  - {{ name: hidden, targets: [{{ provider: mine, model: gemini-real, {PRICES} }}] }}
",
        upstream.url()
    )
}

fn world(upstream: &FakeUpstream, model: &str, purse: Option<i64>) -> World {
    let mut setup = Setup::new(yaml(upstream, model, purse.is_some()));
    if let Some(purse) = purse {
        setup.lender = Arc::new(Purse(AtomicI64::new(purse)));
    }
    setup.start()
}

fn setup(model: &str) -> Value {
    json!({"setup": {"model": format!("models/{model}"), "generationConfig": {"responseModalities": ["AUDIO"]}}})
}

fn turn(text: &str) -> Value {
    json!({"client_content": {"turns": [{"role": "user", "parts": [{"text": text}]}], "turn_complete": true}})
}

/// What the provider heard.
async fn heard(side: &mut Side<'_>, event: &Value) -> Value {
    side.say(Sender::Client, event).await;
    loop {
        let told = side.next().await.unwrap();
        if let Some(echo) = told.get("echo") {
            return echo.clone();
        }
    }
}

/// Sets a session up; the handle by which it can be taken up again.
async fn begun(side: &mut Side<'_>, setup: &Value) -> String {
    side.say(Sender::Client, setup).await;
    loop {
        if let Some(handle) = side.next().await.unwrap()["sessionResumptionUpdate"]["newHandle"].as_str() {
            return handle.to_owned();
        }
    }
}

#[tokio::test]
async fn a_turn_costs_what_the_provider_tells_and_messages_pass_as_they_are() {
    let upstream = provider().await;
    let world = world(&upstream, "", None);
    let mut wire = connected(&world, LIVE, "x-goog-api-client: sdk/1\r\n").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    // Nobody is asked before the model is known.
    assert_eq!(upstream.counts().requests, 0);
    let mut expect = setup("voice");
    expect["setup"]["model"] = "models/gemini-real".into();
    assert_eq!(heard(&mut side, &setup("voice")).await, expect);
    assert!(side.binary);
    let seen = upstream.last();
    assert_eq!((seen.target(), seen.field("x-goog-api-key")), (LIVE, Some(SECRET)));
    assert_eq!(seen.field("x-goog-api-client"), Some("sdk/1"));
    for gone in ["x-api-key", "authorization", "sec-websocket-extensions", "sec-websocket-protocol"] {
        assert_eq!(seen.field(gone), None, "{gone}");
    }
    assert_eq!(side.next().await.unwrap(), json!({"setupComplete": {}}));
    side.next().await.unwrap();
    assert_eq!(heard(&mut side, &turn("hello")).await, turn("hello"));
    let told = side.next().await.unwrap();
    assert_eq!(told["serverContent"]["modelTurn"]["parts"][0]["text"], format!("said {}", "*".repeat(SECRET.len())));
    assert_eq!(side.next().await.unwrap()["usageMetadata"], usage());
    let one = world.outcome(R::Served).await;
    let model = one.model.as_ref().unwrap();
    assert_eq!((one.status, &*model.model, &*model.provider_model), (200, "voice", "gemini-real"));
    let tokens = model.tokens.unwrap();
    assert_eq!((tokens.input, tokens.cached_input, tokens.output, tokens.reasoning), (200, 50, 100, 10));
    assert_eq!(cost(&one), COST);
    // Sound that is answered of the provider's own accord, in a binary frame; the call of a tool, and what it gave back.
    let sound = json!({"realtimeInput": {"audio": {"mimeType": "audio/pcm;rate=16000", "data": "AAAA"}}}).to_string();
    side.send(Sender::Client, &Frame::Binary(sound.as_bytes())).await;
    while side.next().await.unwrap().get("usageMetadata").is_none() {}
    assert_eq!(cost(&world.outcome(R::Served).await), COST);
    side.say(Sender::Client, &turn("use a tool")).await;
    while side.next().await.unwrap().get("toolCall").is_none() {}
    assert_eq!(cost(&world.outcome(R::Served).await), COST);
    let back = json!({"toolResponse": {"functionResponses": [{"id": "1", "name": "f", "response": {"ok": true}}]}});
    assert_eq!(heard(&mut side, &back).await, back);
    while side.next().await.unwrap().get("usageMetadata").is_none() {}
    assert_eq!(cost(&world.outcome(R::Served).await), COST);
    drop(wire);
    let session = world.outcome(R::Served).await;
    assert_eq!((session.status, session.upstream_status), (101, 101));
    assert!(session.model.as_ref().unwrap().cost.is_none() && session.trace_id == one.trace_id);
    upstream.until(|c| c.open == 0).await;
    world.done().await;
}

#[tokio::test]
async fn the_key_is_taken_in_every_form_and_goes_no_further() {
    let upstream = provider().await;
    let world = world(&upstream, "", None);
    let (key, other) = (key("k"), key("k2"));
    let ask = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nhost: gw\r\n{ASKS}{fields}\r\n");
    for (target, fields) in [
        (LIVE.to_owned(), format!("x-goog-api-key: {key}\r\n")),
        // As some of Google's SDKs join their address.
        (format!("/{LIVE}"), format!("authorization: Bearer {key}\r\n")),
        (format!("{LIVE}?key={key}&x=1"), String::new()),
        (format!("{ALPHA}?key={key}"), String::new()),
        (LIVE.replace("v1beta", "v1"), format!("x-goog-api-key: {key}\r\n")),
    ] {
        let mut wire = world.connect().await;
        wire.send(ask(&target, &fields)).await.unwrap();
        let head = within(wire.head()).await.unwrap();
        assert_eq!(head.status(), 101, "{}", head.text());
        assert_eq!(head.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let mut side = Side::new(&mut wire, Sender::Server);
        begun(&mut side, &setup("voice")).await;
        let seen = upstream.last();
        let asked = target.split('?').next().unwrap();
        assert_eq!(seen.target(), asked.strip_prefix("//").map_or(asked.to_owned(), |rest| format!("/{rest}")));
        assert!(find(&seen.head, key.as_bytes()).is_none(), "{}", String::from_utf8_lossy(&seen.head));
        drop(wire);
        let record = world.outcome(R::Served).await;
        assert!(!format!("{record:?}").contains(&key) && &*record.path == target.split('?').next().unwrap());
    }
    for (target, fields) in [
        (LIVE.to_owned(), String::new()),
        (format!("{LIVE}?key={}x", &key[..key.len() - 1]), String::new()),
        (format!("{LIVE}?key={key}"), format!("x-goog-api-key: {other}\r\n")),
    ] {
        let refused = world.ask(ask(&target, &fields)).await;
        let body: Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!((refused.status(), &body["error"]["status"]), (401, &"UNAUTHENTICATED".into()));
        world.outcome(R::Unauthenticated).await;
    }
    // No session without a handshake, which is refused as Gemini's callers know it.
    for (fields, says) in [
        (String::new(), "WebSocket"),
        (ASKS.replace("dGhl", "x"), "16 bytes"),
        (ASKS.replace("version: 13", "version: 8"), "must be 13"),
    ] {
        let refused = world.get(LIVE, &fields).await;
        assert_eq!(refused.status(), 400);
        assert!(refused.text().contains(says), "{}", refused.text());
        world.outcome(R::InvalidModelCall).await;
    }
    world.done().await;
}

#[tokio::test]
async fn what_cannot_begin_is_told_why() {
    let upstream = provider().await;
    let world = world(&upstream, "", None);
    let text = |value: Value| Frame::Text(Box::leak(value.to_string().into_boxed_str()));
    for (first, code, reason) in [
        (text(setup("absent")), 1008, R::ModelNotFound),
        (text(setup("hidden")), 1008, R::ModelNotFound),
        (text(setup("chat")), 1008, R::InvalidModelCall),
        (text(json!({"setup": {}})), 1008, R::InvalidModelCall),
        (text(turn("hello")), 1008, R::InvalidModelCall),
        (Frame::Text("no json"), 1008, R::InvalidModelCall),
        (Frame::Binary(&[0xff]), 1008, R::InvalidModelCall),
        (text(setup("wrong")), 1011, R::UpstreamMalformed),
        (
            text(json!({"setup": {"model": "models/voice", "sessionResumption": {"handle": "handle-1"}}})),
            1008,
            R::InvalidModelCall,
        ),
    ] {
        let mut wire = connected(&world, LIVE, "").await;
        let mut side = Side::new(&mut wire, Sender::Server);
        side.send(Sender::Client, &first).await;
        assert_eq!(side.next().await, Err(code), "{first:?}");
        assert!(side.reason.starts_with(reason.code()), "{first:?}: {}", side.reason);
        drop(wire);
        assert_eq!(world.outcome(reason).await.status, 101);
    }
    // Frames that break the rules, one that is too large, an end and nobody before the first message.
    for (bytes, code) in
        [(&[0x81, 2, b'{', b'}'][..], 1002), (&[0x81, 0xff, 0, 0, 0, 0, 0, 0x50, 0, 0, 1, 2, 3, 4][..], 1009)]
    {
        let mut wire = connected(&world, LIVE, "").await;
        let mut side = Side::new(&mut wire, Sender::Server);
        side.wire.send(bytes).await.unwrap();
        assert_eq!(side.next().await, Err(code));
        drop(wire);
        world.outcome(R::MalformedRequest).await;
    }
    let mut wire = connected(&world, LIVE, "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.send(Sender::Client, &Frame::Ping(b"x")).await;
    side.send(Sender::Client, &Frame::Close(&ws::close(1000, ""))).await;
    assert_eq!(side.next().await, Err(1000));
    drop(wire);
    world.outcome(R::CallerClosed).await;
    drop(connected(&world, LIVE, "").await);
    world.outcome(R::CallerClosed).await;
    // What comes later ends the session, as there is no event that could tell; so does another model.
    for later in [setup("voice"), json!({"clientContent": {}, "toolResponse": {}}), json!([])] {
        let mut wire = connected(&world, LIVE, "").await;
        let mut side = Side::new(&mut wire, Sender::Server);
        begun(&mut side, &setup("voice")).await;
        side.say(Sender::Client, &later).await;
        assert_eq!(side.next().await, Err(1008), "{later}");
        assert!(side.reason.starts_with("invalid_model_call: "), "{}", side.reason);
        drop(wire);
        world.outcome(R::InvalidModelCall).await;
    }
    // Before a session began, another target may give one.
    let mut wire = connected(&world, LIVE, "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    begun(&mut side, &setup("spare")).await;
    drop(wire);
    assert_eq!(world.outcome(R::Served).await.model.as_ref().unwrap().tried.len(), 1);
    world.done().await;
}

#[tokio::test]
async fn revocation_cuts_a_session_and_what_is_not_counted_is_paid() {
    let upstream = provider().await;
    let world = world(&upstream, "", Some(50_000_000 * MICRO));
    for how in ["late", "hang"] {
        let mut wire = connected(&world, LIVE, "").await;
        let mut side = Side::new(&mut wire, Sender::Server);
        begun(&mut side, &setup("voice")).await;
        side.say(Sender::Client, &turn(how)).await;
        while side.next().await.unwrap().get("serverContent").is_none() {}
        if how == "hang" {
            world.install(&yaml(&upstream, "", true), &[("c", 1, SECRET)], &["k"]).await;
            assert_eq!(side.next().await, Err(1008));
            assert!(side.reason.starts_with("revoked: "), "{}", side.reason);
        }
        drop(wire);
        if how == "late" {
            // What it cost is told after its caller left.
            assert_eq!(cost(&world.outcome(R::Served).await), COST);
            assert_eq!(world.outcome(R::Served).await.status, 101);
        } else {
            let turn = world.outcome(R::Revoked).await;
            let Some(Cost::Estimated(most)) = turn.model.as_ref().unwrap().cost else { panic!("{turn:?}") };
            assert!(pico(most) >= 32_768 * 40 * MICRO, "{most}");
            assert_eq!(world.outcome(R::Revoked).await.status, 101);
        }
    }
    upstream.until(|c| c.open == 0).await;
    world.done().await;
}

#[tokio::test]
async fn a_hard_budget_is_never_overdrawn_and_ends_the_session() {
    let upstream = provider().await;
    // What one answer may cost is held for it and for the next: both fit once.
    let per_answer = ((2048 + 2048 + 200) * 4 + 32_768 * 40) * MICRO;
    let world = world(&upstream, ", allow_shared_state: true", Some(2 * per_answer));
    let mut wire = connected(&world, LIVE, "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    begun(&mut side, &setup("voice")).await;
    let mut turns = 0;
    let ended = loop {
        side.say(Sender::Client, &turn("hello")).await;
        let over = loop {
            match side.next().await {
                Ok(event) if event.get("usageMetadata").is_some() => break None,
                Ok(_) => {}
                Err(code) => break Some(code),
            }
        };
        if let Some(code) = over {
            break code;
        }
        turns += 1;
        assert!(turns < 1000, "the budget is never used up");
    };
    assert_eq!(ended, 1008);
    assert!(side.reason.starts_with("budget_exceeded: ") && turns >= 1, "{} {turns}", side.reason);
    let mut spent = 0;
    for _ in 0..turns {
        spent += cost(&world.outcome(R::Served).await);
    }
    assert!(spent == COST * i64::from(turns) && spent <= 2 * per_answer, "{spent}");
    assert_eq!(world.outcome(R::BudgetExceeded).await.status, 101);
    assert!(world.book.accounts().iter().all(|(account, _)| account.held() == 0), "nothing stays held");
    // What the provider keeps could be of any length.
    let mut wire = connected(&world, LIVE, "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.say(Sender::Client, &json!({"setup": {"model": "voice", "cachedContent": "cachedContents/1"}})).await;
    assert_eq!(side.next().await, Err(1008));
    assert!(side.reason.contains("cachedContent"), "{}", side.reason);
    drop(wire);
    world.outcome(R::InvalidModelCall).await;
    let file = json!({"fileData": {"fileUri": "https://a.example/b.pdf", "mimeType": "application/pdf"}});
    for (turns, named) in [(json!([{"parts": file}]), "fileData"), (json!([[{"parts": [file]}]]), "not documented")] {
        let mut wire = connected(&world, LIVE, "").await;
        let mut side = Side::new(&mut wire, Sender::Server);
        side.say(Sender::Client, &setup("voice")).await;
        side.say(Sender::Client, &json!({"clientContent": {"turns": turns, "turnComplete": true}})).await;
        while side.next().await.is_ok() {}
        assert!(side.reason.contains(named), "{}", side.reason);
        drop(wire);
        world.outcome(R::InvalidModelCall).await;
    }
    // Where not even one can be paid, nothing is said to the provider.
    let poor = self::world(&upstream, "", Some(per_answer / 2));
    let mut wire = connected(&poor, LIVE, "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.say(Sender::Client, &setup("voice")).await;
    assert_eq!(side.next().await, Err(1008));
    drop(wire);
    poor.outcome(R::BudgetExceeded).await;
    poor.done().await;
    world.done().await;
}

#[tokio::test]
async fn files_of_the_account_are_nobodys_in_a_session() {
    let upstream = provider().await;
    let world = world(&upstream, "", None);
    let file =
        json!({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x", "mimeType": "a/b"}});
    let mut wire = connected(&world, LIVE, "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.say(Sender::Client, &setup("voice")).await;
    side.say(Sender::Client, &json!({"clientContent": {"turns": [{"parts": [file]}], "turnComplete": true}})).await;
    while side.next().await.is_ok() {}
    assert!(side.reason.starts_with("file_unknown"), "{}", side.reason);
    drop(wire);
    world.outcome(R::FileUnknown).await;
    world.done().await;
}

#[tokio::test]
async fn a_session_goes_on_for_the_application_that_began_it_alone() {
    let upstream = provider().await;
    let world = world(&upstream, "", None);
    let resumed =
        |model: &str, handle: &str| json!({"setup": {"model": model, "sessionResumption": {"handle": handle}}});
    let mut wire = connected(&world, LIVE, "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    let handle = begun(&mut side, &setup("spare")).await;
    assert!(handle.starts_with("handle-1.") && handle.len() > 20, "{handle}");
    drop(wire);
    world.outcome(R::Served).await;
    // The provider gets its own, at the target that keeps the session.
    let mut wire = connected(&world, LIVE, "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    assert_eq!(heard(&mut side, &resumed("spare", &handle)).await, resumed("models/gemini-real", "handle-1"));
    drop(wire);
    let session = world.outcome(R::Served).await;
    assert!(session.model.as_ref().unwrap().tried.is_empty());
    for (key, model, handle) in [
        ("k2", "spare", handle.as_str()),
        ("k", "voice", &handle),
        ("k", "spare", "handle-1"),
        ("k", "spare", &handle.replace("handle-1", "handle-2")),
    ] {
        let before = upstream.counts().requests;
        let mut wire = world.connect().await;
        let target = format!("{LIVE}?key={}", self::key(key));
        wire.send(format!("GET {target} HTTP/1.1\r\nhost: gw\r\n{ASKS}\r\n")).await.unwrap();
        assert_eq!(within(wire.head()).await.unwrap().status(), 101);
        let mut side = Side::new(&mut wire, Sender::Server);
        side.say(Sender::Client, &resumed(model, handle)).await;
        assert_eq!(side.next().await, Err(1008), "{key} {model}");
        assert!(side.reason.contains("no session of this handle"), "{}", side.reason);
        drop(wire);
        world.outcome(R::InvalidModelCall).await;
        assert_eq!(upstream.counts().requests, before);
    }
    world.done().await;
}

#[tokio::test]
async fn secrets_and_what_guardrails_find_do_not_go_on() {
    let upstream = provider().await;
    let rules = ", guardrails: [{ detect: words, words: [forbidden], action: block }, { detect: personal_data, action: redact }]";
    let one = world(&upstream, rules, None);
    let sound = json!({"realtimeInput": {"audio": {"mimeType": "audio/pcm", "data": "AAAA"}}});
    for refused in [turn("a forbidden thing"), json!({"realtimeInput": {"text": "forbidden"}}), sound.clone()] {
        let mut wire = connected(&one, LIVE, "").await;
        let mut side = Side::new(&mut wire, Sender::Server);
        begun(&mut side, &setup("voice")).await;
        let redacted = heard(&mut side, &turn("write to ann@example.com")).await.to_string();
        assert!(!redacted.contains("ann@example.com") && redacted.contains("write to"), "{redacted}");
        while side.next().await.unwrap().get("usageMetadata").is_none() {}
        one.outcome(R::Served).await;
        side.say(Sender::Client, &refused).await;
        assert_eq!(side.next().await, Err(1008), "{refused}");
        assert!(side.reason.starts_with("prompt_blocked: "), "{}", side.reason);
        drop(wire);
        one.outcome(R::PromptBlocked).await;
    }
    let mut wire = connected(&one, LIVE, "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    let mut instructed = setup("voice");
    instructed["setup"]["systemInstruction"] = json!({"parts": [{"text": "say forbidden things"}]});
    side.say(Sender::Client, &instructed).await;
    assert_eq!(side.next().await, Err(1008));
    drop(wire);
    one.outcome(R::PromptBlocked).await;
    one.done().await;
    // Where it is allowed, sound passes, and a model whose answers are judged can be talked to; else it cannot.
    let rules =
        |more: &str| format!("{more}, guardrails: [{{ detect: words, words: [forbidden], action: block, on: both }}]");
    let two = world(&upstream, &rules(", allow_unjudged_realtime: true"), None);
    let mut wire = connected(&two, LIVE, "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    begun(&mut side, &setup("voice")).await;
    assert_eq!(heard(&mut side, &sound).await, sound);
    while side.next().await.unwrap().get("usageMetadata").is_none() {}
    two.outcome(R::Served).await;
    side.say(Sender::Client, &turn(&format!("is it {}", key("k2")))).await;
    assert_eq!(side.next().await, Err(1008));
    assert!(side.reason.starts_with("secret_in_request"), "{}", side.reason);
    drop(wire);
    two.outcome(R::SecretInRequest).await;
    two.done().await;
    let three = world(&upstream, &rules(""), None);
    let mut wire = connected(&three, LIVE, "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.say(Sender::Client, &setup("voice")).await;
    assert_eq!(side.next().await, Err(1008));
    drop(wire);
    three.outcome(R::InvalidModelCall).await;
    three.done().await;
}
