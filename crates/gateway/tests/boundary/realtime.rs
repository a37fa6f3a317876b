//! Sessions of Realtime: one credential in whatever form, the provider's own in its place, each answer paid for and
//! recorded, and nothing said that may not be.

use crate::harness::*;
use credentialflow_gateway::{
    ports::Lender,
    ws::{self, Message as Frame, Reader, Sender},
};
use credentialflow_model::{OutcomeReason as R, UsageRecord, resource::budget::pico, usage::Cost};
use credentialflow_policy::Account;
use serde_json::{Value, json};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

pub const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
pub const ASKS: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-extensions: permessage-deflate\r\n";
pub const MICRO: i64 = 1_000_000;

/// Lends from one purse exactly what is asked for.
pub struct Purse(pub AtomicI64);

impl Lender for Purse {
    fn borrow(&self, account: &Arc<Account>, amount: i64) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        account.want(amount);
        let (need, _) = account.wanted();
        match self.0.fetch_update(Relaxed, Relaxed, |left| (left >= need).then(|| left - need)) {
            Ok(_) => account.lend(need, 0),
            Err(left) => {
                let always = std::time::Duration::from_secs(3600);
                account.tell_left(left, always);
                account.deny(left, always);
            }
        }
        Box::pin(std::future::ready(true))
    }
    fn running_low(&self) {}
}

/// One side of a WebSocket.
pub struct Side<'w> {
    pub wire: &'w mut Wire,
    reader: Reader,
    pending: Vec<u8>,
    /// Whether the last message came in a binary frame.
    pub binary: bool,
    /// With what reason the other side left.
    pub reason: String,
}

impl<'w> Side<'w> {
    pub fn new(wire: &'w mut Wire, others: Sender) -> Self {
        let reader = Reader::new(others, 1 << 20);
        Self { wire, reader, pending: Vec::new(), binary: false, reason: String::new() }
    }

    fn mask(&self, mine: Sender) -> Option<[u8; 4]> {
        (mine == Sender::Client).then_some([1, 2, 3, 4])
    }

    pub async fn say(&mut self, mine: Sender, event: &Value) {
        self.send(mine, &Frame::Text(&event.to_string())).await;
    }

    pub async fn send(&mut self, mine: Sender, message: &Frame<'_>) {
        let mut bytes = Vec::new();
        ws::write(message, self.mask(mine), &mut bytes);
        let _ = self.wire.send(bytes).await;
    }

    /// The next message: an event, or the code of the end.
    pub async fn next(&mut self) -> Result<Value, u16> {
        loop {
            while !self.pending.is_empty() {
                let (n, message) = self.reader.read(&self.pending).expect("frames as they must be");
                let got = message.map(|message| match message {
                    Frame::Text(text) => {
                        self.binary = false;
                        Some(Ok(serde_json::from_str(text).expect("an event is JSON")))
                    }
                    Frame::Binary(bytes) => {
                        self.binary = true;
                        Some(Ok(serde_json::from_slice(bytes).expect("an event is JSON")))
                    }
                    Frame::Close(payload) => {
                        self.reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                        Some(Err(payload.get(..2).map_or(0, |c| u16::from_be_bytes([c[0], c[1]]))))
                    }
                    _ => None,
                });
                self.pending.drain(..n);
                if let Some(Some(got)) = got {
                    return got;
                }
            }
            let mut one = Vec::new();
            if !within(self.wire.take(1, &mut one)).await {
                return Err(0);
            }
            self.pending.extend(one);
        }
    }
}

/// Speaks enough of Realtime: answers each `response.create` and tells its usage; `hang` is never over until it is
/// cancelled, `late` does not even begin before, `refused` never does, and after `deaf` it says nothing more. Sound begins
/// one of its own accord, unless it is only `heard`.
async fn provider() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        let Some(request) = peer.head().await else { return };
        if request.target().contains("down") {
            peer.send(answer(503, "content-type: application/json\r\n", "{}")).await;
            return;
        }
        peer.send(AGREED).await;
        let mut side = Side::new(&mut peer.wire, Sender::Client);
        side.say(Sender::Server, &json!({"type": "session.created", "session": {"model": "real"}})).await;
        let usage = json!({"total_tokens": 300, "input_tokens": 200, "output_tokens": 100,
            "input_token_details": {"text_tokens": 100, "audio_tokens": 100, "cached_tokens": 50,
                "cached_tokens_details": {"text_tokens": 30, "audio_tokens": 20}},
            "output_token_details": {"text_tokens": 40, "audio_tokens": 60}});
        let done = |id: &str, status: &str| json!({"type": "response.done", "response": {"id": id, "status": status, "conversation_id": "c", "usage": usage}});
        let (mut n, mut late, mut deaf, mut running) = (0, false, false, Vec::new());
        while let Ok(event) = side.next().await {
            let mut tell = Vec::new();
            match event["type"].as_str().unwrap() {
                "response.create" if event["how"] == "late" => late = true,
                "response.create" if event["how"] == "deaf" => deaf = true,
                "response.create" if event["how"] == "refused" => {
                    tell.push(json!({"type": "error", "error": {"code": "x", "event_id": null}}));
                }
                "response.create" => {
                    n += 1;
                    let id = format!("resp_{n}");
                    if event["how"] != "bare" {
                        tell.push(json!({"type": "response.created", "response": {"id": id}}));
                    }
                    if event["how"] == "hang" {
                        running.push(id);
                    } else {
                        tell.push(json!({"type": "response.output_text.delta", "delta": format!("said {SECRET}")}));
                        tell.push(done(&id, "completed"));
                    }
                }
                "response.cancel" if deaf => {}
                "response.cancel" if late => {
                    late = false;
                    tell.push(json!({"type": "response.created", "response": {"id": "late"}}));
                    tell.push(done("late", "cancelled"));
                }
                "response.cancel" => {
                    let at = running.iter().position(|id| event["response_id"] == **id);
                    tell.push(match at.map(|at| running.swap_remove(at)) {
                        Some(id) => done(&id, "cancelled"),
                        None => json!({"type": "error", "error": {"code": "response_cancel_not_active", "event_id": event["event_id"]}}),
                    });
                }
                "input_audio_buffer.append" if event["how"] == "silence" => {}
                "input_audio_buffer.commit" => {
                    tell.push(json!({"type": "input_audio_buffer.committed", "item_id": event["item"]}));
                }
                "write" => {
                    let heard = json!({"type": "tokens", "input_tokens": 4000, "output_tokens": 1000});
                    tell.push(json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": event["item"], "usage": heard}));
                }
                "input_audio_buffer.append" if event["how"] == "heard" => {
                    let heard = json!({"type": "tokens", "input_tokens": 4000, "output_tokens": 1000});
                    tell.push(json!({"type": "conversation.item.input_audio_transcription.completed", "usage": heard}));
                }
                "input_audio_buffer.append" => {
                    n += 1;
                    let id = format!("resp_{n}");
                    let heard = json!({"type": "tokens", "input_tokens": 40, "output_tokens": 10});
                    tell.push(json!({"type": "conversation.item.input_audio_transcription.completed", "usage": heard}));
                    tell.push(json!({"type": "response.created", "response": {"id": id}}));
                    tell.push(done(&id, "completed"));
                }
                _ => tell.push(json!({"type": "echo", "said": event})),
            }
            for event in tell {
                side.say(Sender::Server, &event).await;
            }
        }
    })
    .await
}

pub const PRICES: &str = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', cached_input: '0.5', output: '10', audio_input: '4', cached_audio_input: '2', audio_output: '40' }]";
/// What an answer costs: text and sound, read, read from a cache and written.
pub const COST: i64 = (70 + 15 + 80 * 4 + 20 * 2 + 40 * 10 + 60 * 40) * MICRO;

fn yaml(upstream: &FakeUpstream, model: &str, hard: bool) -> String {
    let budget_of = if hard { ", budget: { usd: 100, per: month, hard: true }" } else { "" };
    format!(
        "applications:
  - {{ name: app, allow: {{ models: [voice, spare, writes] }}{budget_of} }}
keys:
  - {{ name: k, application: app }}
  - {{ name: k2, application: app }}
credentials:
  - {{ name: c, engine: static }}
upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1\"], provider: openai, inject: {{ bearer: c }}, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: down, endpoints: [\"{0}/down\"], provider: openai, inject: {{ bearer: c }}, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: chats, endpoints: [\"{0}/v1\"], provider: cerebras, inject: {{ bearer: c }} }}
models:
  - {{ name: voice, targets: [{{ provider: mine, model: real/1, context: 32000, {PRICES} }}]{model} }}
  - {{ name: spare, targets: [{{ provider: down, model: a, {PRICES} }}, {{ provider: mine, model: real/1, priority: 1, {PRICES} }}] }}
  - {{ name: writes, targets: [{{ provider: mine, model: whisper, {PRICES} }}] }}
  - {{ name: hidden, targets: [{{ provider: mine, model: whisper, {PRICES} }}] }}
",
        upstream.url()
    )
}

/// `purse`: what a hard budget lends.
fn world(upstream: &FakeUpstream, model: &str, purse: Option<i64>) -> World {
    let mut setup = Setup::new(yaml(upstream, model, purse.is_some()));
    if let Some(purse) = purse {
        setup.lender = Arc::new(Purse(AtomicI64::new(purse)));
    }
    setup.start()
}

pub async fn connected(world: &World, target: &str, more: &str) -> Wire {
    let mut wire = world.connect().await;
    wire.send(get(target, &format!("{ASKS}{more}"))).await.unwrap();
    let head = within(wire.head()).await.unwrap();
    assert_eq!(head.status(), 101, "{}", head.text());
    wire
}

/// What the provider heard of an event.
async fn heard(side: &mut Side<'_>, event: Value) -> Value {
    side.say(Sender::Client, &event).await;
    let got = side.next().await.unwrap();
    if got["type"] == "echo" { got["said"].clone() } else { got }
}

pub fn cost(record: &UsageRecord) -> i64 {
    match record.model.as_ref().unwrap().cost {
        Some(Cost::Known(cost)) => pico(cost),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_turn_costs_what_the_provider_tells_and_the_session_is_recorded() {
    let upstream = provider().await;
    let world = world(&upstream, "", None);
    let mut wire = connected(&world, "/v1/realtime?model=voice&api-version=9", "openai-beta: realtime=v1\r\n").await;
    let seen = upstream.last();
    assert_eq!(seen.target(), "/v1/realtime?model=real%2F1");
    assert_eq!(seen.field("authorization"), Some(&*format!("Bearer {SECRET}")));
    assert_eq!(seen.field("openai-beta"), Some("realtime=v1"));
    for gone in ["x-api-key", "sec-websocket-extensions", "sec-websocket-protocol", "content-type", "content-length"] {
        assert_eq!(seen.field(gone), None, "{gone}");
    }
    let mut side = Side::new(&mut wire, Sender::Server);
    assert_eq!(side.next().await.unwrap()["type"], "session.created");
    side.say(Sender::Client, &json!({"type": "response.create"})).await;
    assert_eq!(side.next().await.unwrap()["type"], "response.created");
    let delta = side.next().await.unwrap()["delta"].as_str().unwrap().to_owned();
    assert_eq!(delta, format!("said {}", "*".repeat(SECRET.len())));
    assert_eq!(side.next().await.unwrap()["type"], "response.done");
    let turn = world.outcome(R::Served).await;
    let model = turn.model.as_ref().unwrap();
    assert_eq!((turn.status, &*model.model, &*model.provider_model, model.streamed), (200, "voice", "real/1", true));
    let tokens = model.tokens.unwrap();
    assert_eq!((tokens.input, tokens.cached_input, tokens.output), (200, 50, 100));
    assert_eq!(cost(&turn), COST);
    // Sound, and an answer that nobody asked for; what writes down what was heard is named and allowed.
    let update = json!({"type": "session.update", "session": {"model": "voice", "audio": {"input": {"transcription": {"model": "writes"}}}}});
    let got = heard(&mut side, update).await;
    assert_eq!(got["session"], json!({"model": "real/1", "audio": {"input": {"transcription": {"model": "whisper"}}}}));
    side.say(Sender::Client, &json!({"type": "input_audio_buffer.append", "audio": "AAAA"})).await;
    while side.next().await.unwrap()["type"] != "response.done" {}
    let written = world.outcome(R::Served).await;
    let model = written.model.as_ref().unwrap();
    assert_eq!((&*model.model, &*model.provider_model), ("writes", "whisper"));
    assert_eq!(cost(&written), (40 + 10 * 10) * MICRO);
    assert_eq!(cost(&world.outcome(R::Served).await), COST);
    drop(wire);
    let session = world.outcome(R::Served).await;
    assert_eq!((session.status, session.upstream_status), (101, 101));
    assert!(session.model.as_ref().unwrap().cost.is_none() && session.trace_id == turn.trace_id);
    assert!(session.request_id != turn.request_id && session.bytes_in > 0 && session.bytes_out > 0);
    upstream.until(|c| c.open == 0).await;
    world.done().await;
}

#[tokio::test]
async fn the_key_is_taken_in_every_form_and_goes_no_further() {
    let upstream = provider().await;
    let world = world(&upstream, "", None);
    let (key, other) = (key("k"), key("k2"));
    let ask = |fields: String| format!("GET /v1/realtime?model=voice HTTP/1.1\r\nhost: gw\r\n{ASKS}{fields}\r\n");
    for fields in [
        format!("authorization: Bearer {key}\r\n"),
        format!("api-key: {key}\r\n"),
        format!("sec-websocket-protocol: realtime, openai-insecure-api-key.{key}, openai-beta.realtime-v1\r\n"),
        format!("sec-websocket-protocol: realtime\r\nsec-websocket-protocol: openai-insecure-api-key.{key}\r\n"),
    ] {
        let browser = fields.contains("protocol");
        let mut wire = world.connect().await;
        wire.send(ask(fields)).await.unwrap();
        let head = within(wire.head()).await.unwrap();
        assert_eq!(head.status(), 101);
        assert_eq!(head.field("sec-websocket-protocol"), browser.then_some("realtime"));
        let seen = upstream.last();
        assert!(find(&seen.head, key.as_bytes()).is_none(), "{}", String::from_utf8_lossy(&seen.head));
        let offered = seen.field("sec-websocket-protocol");
        assert!(
            offered.is_none_or(|offer| offer.starts_with("realtime") && !offer.contains("insecure")),
            "{offered:?}"
        );
        drop(wire);
        world.outcome(R::Served).await;
    }
    for (fields, status) in [
        (String::new(), 401),
        ("sec-websocket-protocol: realtime\r\n".into(), 401),
        (format!("sec-websocket-protocol: realtime, openai-insecure-api-key.{}x\r\n", &key[..key.len() - 1]), 401),
        // Two that differ are none.
        (format!("authorization: Bearer {key}\r\nsec-websocket-protocol: openai-insecure-api-key.{other}\r\n"), 401),
    ] {
        let refused = world.ask(ask(fields)).await;
        assert_eq!(refused.status(), status, "{}", refused.text());
        world.outcome(R::Unauthenticated).await;
    }
    for (target, reason) in [
        ("/v1/realtime", R::InvalidModelCall),
        ("/v1/realtime?model=voice&model=voice", R::InvalidModelCall),
        ("/v1/realtime?call_id=rtc_1&model=voice", R::InvalidModelCall),
        ("/v1/realtime?model=absent", R::ModelNotFound),
        ("/v1/realtime?model=hidden", R::ModelNotFound),
    ] {
        let refused = world.get(target, ASKS).await;
        let body: Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!((refused.status(), &body["error"]["code"]), (reason.status(), &reason.code().into()), "{target}");
        world.outcome(reason).await;
    }
    let plain = world.get("/v1/realtime?model=voice", "").await;
    assert!(plain.text().contains("WebSocket"), "{}", plain.text());
    world.outcome(R::InvalidModelCall).await;
    world.done().await;
}

#[tokio::test]
async fn a_session_falls_back_before_it_begins_and_stays_with_its_model() {
    let upstream = provider().await;
    let world = world(&upstream, "", None);
    let mut wire = connected(&world, "/v1/realtime?model=spare", "").await;
    assert_eq!(upstream.last().target(), "/v1/realtime?model=real%2F1");
    let mut side = Side::new(&mut wire, Sender::Server);
    side.next().await.unwrap();
    for (event, code) in [
        (json!({"type": "session.update", "event_id": "e1", "session": {"model": "voice"}}), R::InvalidModelCall),
        (json!({"type": "response.create", "event_id": "e1", "response": {"model": "other"}}), R::InvalidModelCall),
        (
            json!({"type": "session.update", "event_id": "e1", "session": {"input_audio_transcription": {"model": "hidden"}}}),
            R::ModelNotFound,
        ),
        (
            json!({"type": "session.update", "event_id": "e1", "session": {"input_audio_transcription": {"model": "absent"}}}),
            R::ModelNotFound,
        ),
        (
            json!({"type": "session.update", "event_id": "e1", "session": {"input_audio_transcription": {}}}),
            R::InvalidModelCall,
        ),
    ] {
        let refused = heard(&mut side, event.clone()).await;
        let error = &refused["error"];
        assert_eq!(
            (&refused["type"], &error["code"], &error["event_id"]),
            (&"error".into(), &code.code().into(), &"e1".into()),
            "{event}"
        );
    }
    // It goes on all the same.
    let same = json!({"type": "session.update", "session": {"model": "real/1", "instructions": "be brief"}});
    assert_eq!(heard(&mut side, same.clone()).await, same);
    // Not every server tells that an answer begins.
    side.say(Sender::Client, &json!({"type": "response.create", "how": "bare"})).await;
    while side.next().await.unwrap()["type"] != "response.done" {}
    assert_eq!(cost(&world.outcome(R::Served).await), COST);
    drop(wire);
    let session = world.outcome(R::Served).await;
    assert_eq!(session.model.as_ref().unwrap().tried.len(), 1);
    world.done().await;
}

#[tokio::test]
async fn revocation_cuts_a_session_and_its_answer_is_paid() {
    let upstream = provider().await;
    let world = world(&upstream, "", None);
    let mut wire = connected(&world, "/v1/realtime?model=voice", "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.next().await.unwrap();
    side.say(Sender::Client, &json!({"type": "response.create", "how": "hang"})).await;
    assert_eq!(side.next().await.unwrap()["type"], "response.created");
    world.install(&yaml(&upstream, "", false), &[("c", 1, SECRET)], &["k"]).await;
    let told = side.next().await.unwrap();
    assert_eq!((&told["type"], &told["error"]["code"]), (&"error".into(), &"revoked".into()));
    assert_eq!(side.next().await, Err(1008));
    // The answer that ran is cancelled, and what the provider then tells is what it cost.
    assert_eq!(cost(&world.outcome(R::Served).await), COST);
    assert_eq!(world.outcome(R::Revoked).await.status, 101);
    upstream.until(|c| c.open == 0).await;
    world.done().await;
}

#[tokio::test]
async fn a_hard_budget_is_never_overdrawn_and_ends_the_session() {
    let upstream = provider().await;
    // What one answer may cost is held for it and for the next: both fit once.
    let per_answer = ((2048 + 2048 + 100) * 4 + 32_768 * 40) * MICRO;
    let world = world(&upstream, "", Some(2 * per_answer));
    let mut wire = connected(&world, "/v1/realtime?model=voice", "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.next().await.unwrap();
    let mut turns = 0;
    let ended = loop {
        side.say(Sender::Client, &json!({"type": "response.create"})).await;
        let mut over = None;
        loop {
            match side.next().await {
                Ok(event) if event["type"] == "response.done" => break,
                Ok(event) if event["type"] == "error" => over = Some(event["error"]["code"].clone()),
                Ok(_) => {}
                Err(code) => break over = over.map(|why| json!([why, code])),
            }
        }
        if let Some(over) = over {
            break over;
        }
        turns += 1;
        assert!(turns < 1000, "the budget is never used up");
    };
    assert_eq!(ended, json!(["budget_exceeded", 1008]));
    assert!(turns >= 1, "the first one was paid for");
    let mut spent = 0;
    for _ in 0..turns {
        let turn = world.outcome(R::Served).await;
        assert!(turn.model.as_ref().unwrap().budgets.as_ref().unwrap().starts_with("applications/app/month@"));
        spent += cost(&turn);
    }
    assert_eq!(spent, COST * i64::from(turns));
    assert!(spent <= 2 * per_answer, "{spent}");
    assert_eq!(world.outcome(R::BudgetExceeded).await.status, 101);
    assert!(world.book.accounts().iter().all(|(account, _)| account.held() == 0), "nothing stays held");
    world.done().await;
    // Where not even one can be paid, the session does not begin.
    let poor = self::world(&upstream, "", Some(per_answer / 2));
    let refused = poor.get("/v1/realtime?model=voice", ASKS).await;
    assert_eq!(refused.status(), 429, "{}", refused.text());
    poor.outcome(R::BudgetExceeded).await;
    poor.done().await;
}

#[tokio::test]
async fn a_hard_budget_ends_what_is_only_written_down() {
    let upstream = provider().await;
    let purse = ((2048 + 2048) * 4 + 32_768 * 40 + 120_000) * MICRO;
    let world = world(&upstream, "", Some(purse));
    let mut wire = connected(&world, "/v1/realtime?model=voice", "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.next().await.unwrap();
    let update = json!({"type": "session.update", "session": {"input_audio_transcription": {"model": "writes"}}});
    heard(&mut side, update).await;
    let mut turns = 0;
    let over = loop {
        side.say(Sender::Client, &json!({"type": "input_audio_buffer.append", "audio": "AAAA", "how": "heard"})).await;
        match side.next().await.unwrap() {
            event if event["type"] == "error" => break event["error"]["code"].clone(),
            event => assert!(event["type"].as_str().unwrap().ends_with(".completed"), "{event}"),
        }
        turns += 1;
        assert!(turns < 100, "the budget is never used up");
    };
    assert_eq!((over, side.next().await), ("budget_exceeded".into(), Err(1008)));
    let mut spent = 0;
    for _ in 0..turns {
        spent += cost(&world.outcome(R::Served).await);
    }
    assert!(turns >= 1 && spent == i64::from(turns) * 14_000 * MICRO && spent <= purse, "{turns} {spent}");
    assert_eq!(world.outcome(R::BudgetExceeded).await.status, 101);
    assert!(world.book.accounts().iter().all(|(account, _)| account.held() == 0), "nothing stays held");
    world.done().await;
}

#[tokio::test]
async fn a_session_that_only_writes_down_holds_back_for_no_answer() {
    let upstream = provider().await;
    // A tenth of what one answer may cost.
    let purse = 32_768 * 4 * MICRO;
    let world = world(&upstream, "", Some(purse));
    let target = "/v1/realtime?model=writes&intent=transcription";
    let mut wire = connected(&world, target, "").await;
    assert_eq!(upstream.last().target(), "/v1/realtime?intent=transcription");
    let mut side = Side::new(&mut wire, Sender::Server);
    side.next().await.unwrap();
    for event in [
        json!({"type": "response.create", "event_id": "e"}),
        json!({"type": "session.update", "event_id": "e", "session": {"type": "realtime"}}),
    ] {
        let refused = heard(&mut side, event).await;
        assert_eq!(
            (&refused["error"]["code"], &refused["error"]["event_id"]),
            (&"invalid_model_call".into(), &"e".into())
        );
    }
    // Its own model writes, as none was named, and is paid for until nothing is left.
    let mut turns = 0;
    let over = loop {
        side.say(Sender::Client, &json!({"type": "input_audio_buffer.append", "audio": "AAAA", "how": "heard"})).await;
        match side.next().await.unwrap() {
            event if event["type"] == "error" => break event["error"]["code"].clone(),
            event => assert!(event["type"].as_str().unwrap().ends_with(".completed"), "{event}"),
        }
        turns += 1;
        assert!(turns < 100, "the budget is never used up");
    };
    assert_eq!((over, side.next().await), ("budget_exceeded".into(), Err(1008)));
    let mut spent = 0;
    for _ in 0..turns {
        let turn = world.outcome(R::Served).await;
        assert_eq!(&*turn.model.as_ref().unwrap().model, "writes");
        spent += cost(&turn);
    }
    assert!(turns >= 1 && spent == i64::from(turns) * 14_000 * MICRO && spent <= purse, "{turns} {spent}");
    assert_eq!(world.outcome(R::BudgetExceeded).await.status, 101);
    // An answer that nobody may ask for is none; and where not even a transcript can be paid, no session begins.
    let free = self::world(&upstream, "", None);
    let mut wire = connected(&free, target, "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.next().await.unwrap();
    side.say(Sender::Client, &json!({"type": "input_audio_buffer.append", "audio": "AAAA"})).await;
    assert!(side.next().await.unwrap()["type"].as_str().unwrap().ends_with(".completed"));
    assert_eq!(side.next().await.unwrap()["error"]["code"], "upstream_malformed");
    let poor = self::world(&upstream, "", Some(4096));
    let refused = poor.get(target, ASKS).await;
    assert_eq!(refused.status(), 429, "{}", refused.text());
    world.done().await;
}

#[tokio::test]
async fn a_transcript_is_paid_for_however_late_it_comes() {
    let upstream = provider().await;
    let world = world(&upstream, "", Some(50_000_000 * MICRO));
    let mut wire = connected(&world, "/v1/realtime?model=writes&intent=transcription", "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.next().await.unwrap();
    let held = || world.book.accounts().iter().map(|(account, _)| account.held()).sum::<i64>();
    let before = held();
    let sound = "A".repeat(666 * 1_500);
    for item in ["a", "b"] {
        let append = json!({"type": "input_audio_buffer.append", "audio": sound, "how": "silence"});
        side.say(Sender::Client, &append).await;
        side.say(Sender::Client, &json!({"type": "input_audio_buffer.commit", "item": item})).await;
        assert_eq!(side.next().await.unwrap()["type"], "input_audio_buffer.committed");
    }
    assert!(held() >= before + 3_000 * 14 * MICRO, "{} {before}", held());
    // One of two is written down, so the other is still paid for; then its caller leaves.
    side.say(Sender::Client, &json!({"type": "write", "item": "a"})).await;
    assert!(side.next().await.unwrap()["type"].as_str().unwrap().ends_with(".completed"));
    assert!(held() >= before + 3_000 * 14 * MICRO, "{}", held());
    drop(wire);
    assert_eq!(cost(&world.outcome(R::Served).await), 14_000 * MICRO);
    let late = world.outcome(R::CallerClosed).await;
    let Some(Cost::Estimated(most)) = late.model.as_ref().unwrap().cost else { panic!("{late:?}") };
    // As read and as written.
    assert!(pico(most) >= 1_500 * 14 * MICRO, "{most}");
    assert_eq!(world.outcome(R::Served).await.status, 101);
    assert!(world.book.accounts().iter().all(|(account, _)| account.held() == 0), "nothing stays held");
    // One that nobody will write down costs nothing.
    let mut wire = connected(&world, "/v1/realtime?model=writes&intent=transcription", "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.next().await.unwrap();
    side.say(Sender::Client, &json!({"type": "input_audio_buffer.commit", "item": "c"})).await;
    side.next().await.unwrap();
    side.say(Sender::Client, &json!({"type": "write", "item": "c"})).await;
    side.next().await.unwrap();
    drop(wire);
    assert_eq!(cost(&world.outcome(R::Served).await), 14_000 * MICRO);
    assert_eq!(world.outcome(R::Served).await.status, 101);
    world.done().await;
}

#[tokio::test]
async fn who_writes_down_what_is_heard_stays_the_same() {
    let upstream = provider().await;
    let world = world(&upstream, "", None);
    let mut wire = connected(&world, "/v1/realtime?model=voice", "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.next().await.unwrap();
    let by = |name: &str| json!({"type": "session.update", "session": {"input_audio_transcription": {"model": name}}});
    // One in an event that does not go on is none.
    let mut wrong = by("spare");
    wrong["model"] = "wrong".into();
    assert_eq!(heard(&mut side, wrong).await["error"]["code"], "invalid_model_call");
    let mut two = by("writes");
    two["session"]["audio"] = json!({"input": {"transcription": {"model": "spare"}}});
    assert_eq!(heard(&mut side, two).await["error"]["code"], "invalid_model_call");
    assert_eq!(heard(&mut side, by("writes")).await["type"], "session.update");
    assert_eq!(heard(&mut side, by("spare")).await["error"]["code"], "invalid_model_call");
    assert_eq!(heard(&mut side, by("writes")).await["type"], "session.update");
    side.say(Sender::Client, &json!({"type": "input_audio_buffer.append", "audio": "AAAA", "how": "heard"})).await;
    side.next().await.unwrap();
    assert_eq!(&*world.outcome(R::Served).await.model.as_ref().unwrap().model, "writes");
    drop(wire);
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn what_was_asked_for_and_has_not_begun_is_paid() {
    let upstream = provider().await;
    let world = world(&upstream, "", Some(50_000_000 * MICRO));
    // It begins late and is cancelled; nothing is told of it; it was refused, which costs nothing.
    for how in ["late", "deaf", "refused"] {
        let mut wire = connected(&world, "/v1/realtime?model=voice", "").await;
        let mut side = Side::new(&mut wire, Sender::Server);
        side.next().await.unwrap();
        side.say(Sender::Client, &json!({"type": "response.create", "how": how})).await;
        drop(wire);
        match how {
            "late" => assert_eq!(cost(&world.outcome(R::Served).await), COST),
            "deaf" => {
                let turn = world.outcome(R::CallerClosed).await;
                let Some(Cost::Estimated(most)) = turn.model.as_ref().unwrap().cost else { panic!("{turn:?}") };
                assert!(pico(most) >= 32_768 * 40 * MICRO, "{most}");
            }
            _ => {}
        }
        let session = world.outcome(R::Served).await;
        assert!(session.status == 101 && session.model.as_ref().unwrap().cost.is_none(), "{how}: {session:?}");
    }
    assert!(world.book.accounts().iter().all(|(account, _)| account.held() == 0), "nothing stays held");
    world.done().await;
}

#[tokio::test]
async fn an_answer_to_something_else_makes_no_conversation_shorter() {
    let upstream = provider().await;
    let world = world(&upstream, "", Some(50_000_000 * MICRO));
    let mut wire = connected(&world, "/v1/realtime?model=voice", "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.next().await.unwrap();
    let long = "x".repeat(20_000);
    let item = json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": long}]}});
    heard(&mut side, item).await;
    let held = || world.book.accounts().iter().map(|(account, _)| account.held()).sum::<i64>();
    let of_one = held();
    side.say(Sender::Client, &json!({"type": "response.create", "response": {"input": []}})).await;
    while side.next().await.unwrap()["type"] != "response.done" {}
    for _ in 0..2 {
        side.say(Sender::Client, &json!({"type": "response.create", "how": "hang"})).await;
        assert_eq!(side.next().await.unwrap()["type"], "response.created");
    }
    assert!(of_one > 0 && held() >= 3 * of_one, "{} of {of_one}", held());
    drop(wire);
    for _ in 0..4 {
        world.outcome(R::Served).await;
    }
    world.done().await;
}

#[tokio::test]
async fn a_secret_passes_in_nothing_that_controls_the_connection() {
    let upstream = provider().await;
    let world = world(&upstream, "", None);
    let secret = key("k2");
    for frame in [Frame::Ping(secret.as_bytes()), Frame::Close(&ws::close(1000, &secret))] {
        let mut wire = connected(&world, "/v1/realtime?model=voice", "").await;
        let mut side = Side::new(&mut wire, Sender::Server);
        side.next().await.unwrap();
        let mut bytes = Vec::new();
        ws::write(&frame, Some([5; 4]), &mut bytes);
        side.wire.send(bytes).await.unwrap();
        assert_eq!(side.next().await.unwrap()["error"]["code"], "secret_in_request");
        assert_eq!(side.next().await, Err(1008));
        drop(wire);
        world.outcome(R::SecretInRequest).await;
    }
    world.done().await;
}

#[tokio::test]
async fn secrets_and_what_guardrails_find_do_not_go_on() {
    let upstream = provider().await;
    let rules = ", guardrails: [{ detect: words, words: [forbidden], action: block }, { detect: personal_data, action: redact }]";
    let one = world(&upstream, rules, None);
    let mut wire = connected(&one, "/v1/realtime?model=voice", "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.next().await.unwrap();
    let item = |text: &str| json!({"type": "conversation.item.create", "event_id": "e", "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}});
    assert_eq!(heard(&mut side, item("hello")).await, item("hello"));
    let blocked = heard(&mut side, item("a forbidden thing")).await;
    assert_eq!((&blocked["error"]["code"], &blocked["error"]["event_id"]), (&"prompt_blocked".into(), &"e".into()));
    let update = json!({"type": "session.update", "session": {"instructions": "forbidden"}});
    assert_eq!(heard(&mut side, update).await["error"]["code"], "prompt_blocked");
    let redacted = heard(&mut side, item("write to ann@example.com")).await.to_string();
    assert!(!redacted.contains("ann@example.com") && redacted.contains("write to"), "{redacted}");
    let image = json!({"type": "conversation.item.create", "item": {"type": "message", "content": [{"type": "input_image", "image_url": "data:,"}]}});
    assert_eq!(heard(&mut side, image).await["error"]["code"], "prompt_blocked");
    side.say(Sender::Client, &json!({"type": "input_audio_buffer.append", "audio": "AAAA"})).await;
    assert_eq!(side.next().await.unwrap()["error"]["code"], "prompt_blocked");
    assert_eq!(side.next().await, Err(1008));
    drop(wire);
    let session = one.outcome(R::PromptBlocked).await;
    assert_eq!(session.model.as_ref().unwrap().guardrails.as_deref(), Some("words/block personal_data/redact"));
    one.done().await;
    // Where it is allowed, sound passes, and a model whose answers are judged can be talked to.
    let rules =
        ", allow_unjudged_realtime: true, guardrails: [{ detect: words, words: [forbidden], action: block, on: both }]";
    let two = world(&upstream, rules, None);
    let mut wire = connected(&two, "/v1/realtime?model=voice", "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.next().await.unwrap();
    assert_eq!(heard(&mut side, item("forbidden")).await["error"]["code"], "prompt_blocked");
    side.say(Sender::Client, &json!({"type": "input_audio_buffer.append", "audio": "AAAA"})).await;
    while side.next().await.unwrap()["type"] != "response.done" {}
    side.say(Sender::Client, &item(&format!("is it {}", key("k2")))).await;
    assert_eq!(side.next().await.unwrap()["error"]["code"], "secret_in_request");
    assert_eq!(side.next().await, Err(1008));
    drop(wire);
    let (_, _, session) = (two.record().await, two.record().await, two.record().await);
    assert_eq!(session.outcome, R::SecretInRequest);
    assert_eq!(two.sent.0.lock().unwrap().len(), 1);
    two.done().await;
    let three = world(&upstream, ", guardrails: [{ detect: words, words: [x], action: block, on: answer }]", None);
    let refused = three.get("/v1/realtime?model=voice", ASKS).await;
    assert_eq!(refused.status(), 400, "{}", refused.text());
    three.outcome(R::InvalidModelCall).await;
    three.done().await;
}

#[tokio::test]
async fn frames_that_break_the_rules_end_the_session() {
    let upstream = provider().await;
    let world = world(&upstream, "", None);
    let garbage = |bytes: &'static [u8], code| (bytes, code);
    for (bytes, code) in [
        garbage(&[0x81, 2, b'{', b'}'], 1002),
        garbage(&[0xc1, 0x80, 0, 0, 0, 0], 1002),
        garbage(&[0x81, 0xff, 0x7f, 0xff, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], 1009),
        garbage(&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
        garbage(&[0x82, 0x81, 0, 0, 0, 0, 7], 1008),
    ] {
        let mut wire = connected(&world, "/v1/realtime?model=voice", "").await;
        let mut side = Side::new(&mut wire, Sender::Server);
        side.next().await.unwrap();
        side.wire.send(bytes).await.unwrap();
        assert_eq!(side.next().await.unwrap()["type"], "error", "{bytes:?}");
        assert_eq!(side.next().await, Err(code), "{bytes:?}");
        drop(wire);
        let record = world.record().await;
        assert!(matches!(record.outcome, R::MalformedRequest | R::InvalidModelCall), "{record:?}");
    }
    // An end is an end, and a ping is answered by the other side, not by us.
    let mut wire = connected(&world, "/v1/realtime?model=voice", "").await;
    let mut side = Side::new(&mut wire, Sender::Server);
    side.next().await.unwrap();
    let mut bytes = Vec::new();
    ws::write(&Frame::Ping(b"are you there"), Some([5; 4]), &mut bytes);
    ws::write(&Frame::Close(&ws::close(1000, "bye")), Some([6; 4]), &mut bytes);
    side.wire.send(bytes).await.unwrap();
    assert_eq!(side.next().await, Err(1000));
    drop(wire);
    world.outcome(R::Served).await;
    upstream.until(|c| c.open == 0).await;
    world.done().await;
}

#[tokio::test]
async fn sessions_count_for_the_limits_of_their_model() {
    let upstream = provider().await;
    let world = world(&upstream, ", limit: { concurrent: 1, tokens: 1000, per: 1h }", None);
    for _ in 0..3 {
        let wire = connected(&world, "/v1/realtime?model=voice", "").await;
        let mut other = world.connect().await;
        other.send(get("/v1/realtime?model=voice", ASKS)).await.unwrap();
        assert_eq!(within(other.head()).await.unwrap().status(), 429, "one is open");
        world.outcome(R::RateLimited).await;
        drop(wire);
        // Its place is free again, and no tokens are missing.
        world.outcome(R::Served).await;
    }
}
