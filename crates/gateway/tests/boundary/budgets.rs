//! Money: what a call may cost is held before it is sent, and what it cost is settled however it ends.

use crate::harness::*;
use credentialflow_gateway::ports::Lender;
use credentialflow_model::{OutcomeReason as R, Timestamp, UsageRecord, resource::budget::usd, usage::Cost};
use credentialflow_policy::{Account, Standing};
use serde_json::{Value, json};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

const MICRO: i64 = 1_000_000;

/// Lends from one purse exactly what is asked for, or says that there is no more.
struct Purse(AtomicI64);

impl Purse {
    fn of(amount: i64) -> Arc<dyn Lender> {
        Arc::new(Self(AtomicI64::new(amount)))
    }
}

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

/// Is asked, and never has anything for this caller: others were faster.
struct Taken;

impl Lender for Taken {
    fn borrow(&self, _: &Arc<Account>, _: i64) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        Box::pin(std::future::ready(true))
    }
    fn running_low(&self) {}
}

/// Answers as the call's `how` says. A token read costs a millionth of a dollar, one written ten.
async fn provider() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15});
            let json_type = "content-type: application/json\r\n";
            match call["how"].as_str().unwrap_or("plain") {
                "plain" => {
                    let body = json!({"choices": [], "usage": usage, "service_tier": call["served"]}).to_string();
                    peer.send(answer(200, json_type, &body)).await;
                }
                "untold" => {
                    let body = json!({"choices": [{"message": {"content": "seven b"}}]}).to_string();
                    peer.send(answer(200, json_type, &body)).await;
                }
                "noughts" => {
                    let none = json!({"prompt_tokens": 0, "completion_tokens": 0});
                    let body = json!({"choices": [{"message": {"content": "seven b"}}], "usage": none}).to_string();
                    peer.send(answer(200, json_type, &body)).await;
                }
                "more" => {
                    let body = json!({"usage": {"prompt_tokens": 10, "completion_tokens": 500}}).to_string();
                    peer.send(answer(200, json_type, &body)).await;
                }
                "sound" => {
                    let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"audio_tokens": 4}});
                    peer.send(answer(200, json_type, &json!({"usage": usage}).to_string())).await;
                }
                // Says what only we say.
                "told" => {
                    let head = format!("{json_type}x-credentialflow-budget: \"application/month\";r=1\r\n");
                    peer.send(answer(200, &head, &json!({"usage": usage}).to_string())).await;
                }
                "error" => peer.send(answer(500, json_type, "{}")).await,
                // As if it were compressed; what the caller asked for stands in its place.
                "packed" => {
                    let asked = request.field("accept-encoding").unwrap_or("nothing").to_owned();
                    let head = format!("{json_type}content-encoding: gzip\r\nx-asked: {asked}\r\n");
                    peer.send(answer(200, &head, "\u{1f}none of it is counted")).await;
                }
                "absurd" => {
                    let body = json!({"usage": {"prompt_tokens": u64::MAX, "completion_tokens": u64::MAX}}).to_string();
                    peer.send(answer(200, json_type, &body)).await;
                }
                "garbage" => {
                    peer.send("this is no answer\r\n\r\n").await;
                    return;
                }
                "cut" => {
                    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"choices\":").await;
                    return;
                }
                _ => return,
            }
        }
    })
    .await
}

fn world(upstream: &FakeUpstream, hard: bool, lender: Arc<dyn Lender>) -> World {
    world_with(upstream, hard, "identity", lender)
}

/// Callers may ask for compressed answers.
fn packed_world(upstream: &FakeUpstream) -> World {
    world_with(upstream, true, "passthrough", Purse::of(5_000_000 * MICRO))
}

fn world_with(upstream: &FakeUpstream, hard: bool, encoding: &str, lender: Arc<dyn Lender>) -> World {
    let mut setup = Setup::new(format!(
        "applications:
  - {{ name: app, allow: {{ models: [chat, gem, voice, tiered, unpriced] }}, budget: {{ usd: 5, per: month, hard: {hard} }} }}
keys:
  - {{ name: k, application: app }}
upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1\"], provider: openai, encoding: {encoding}, timeouts: {{ response: 60s, idle: 60s }} }}
  - {{ name: google, endpoints: [\"{0}/v1beta\"], provider: gemini }}
models:
  - {{ name: gem, targets: [{{ provider: google, model: m, prices: [{{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }}] }}] }}
  - {{ name: chat, targets: [{{ provider: mine, model: m, prices: [{{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }}] }}] }}
  - {{ name: voice, targets: [{{ provider: mine, model: v, prices: [{{ from: 2020-01-01T00:00:00Z, input: '1', output: '10', audio_input: '8', audio_output: '64' }}] }}] }}
  - {{ name: tiered, targets: [{{ provider: mine, model: t, prices: [{{ from: 2020-01-01T00:00:00Z, input: '1', output: '10', tiers: {{ priority: {{ input: '2', output: '20' }}, flex: {{ input: '0.5', output: '5' }} }} }}] }}] }}
  - {{ name: unpriced, targets: [{{ provider: mine, model: nobody-knows }}] }}
",
        upstream.url()
    ));
    setup.lender = lender;
    setup.start()
}

async fn call(world: &World, how: &str, more: Value) -> Message {
    let mut body = json!({"model": "chat", "how": how, "max_tokens": 20, "messages": []});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.ask(post("/v1/chat/completions", "", &body.to_string())).await
}

fn account(world: &World) -> Arc<Account> {
    world.book.live()[0].account(std::time::SystemTime::now().into())
}

fn cost(record: &UsageRecord) -> Option<Cost> {
    let model = record.model.as_ref().unwrap();
    let charged = model.budgets.as_deref().is_some_and(|b| b.starts_with("applications/app/month@"));
    assert_eq!(charged, matches!(model.cost, Some(Cost::Known(_) | Cost::Estimated(_))), "{model:?}");
    model.cost
}

#[tokio::test]
async fn what_a_call_may_cost_is_held_and_what_it_cost_is_settled() {
    let upstream = provider().await;
    let world = world(&upstream, true, Purse::of(5_000_000 * MICRO));
    assert_eq!(call(&world, "plain", json!({})).await.status(), 200);
    let record = world.outcome(R::Served).await;
    let reserved = |record: &UsageRecord| {
        // The body as it was sent names the provider's model.
        (record.bytes_in as i64 - 3 + 20 * 10) * MICRO
    };
    assert_eq!(cost(&record), Some(Cost::Known(usd(60 * MICRO))));
    let borrowed = reserved(&record);
    assert_eq!((account(&world).free(), account(&world).held()), (borrowed - 60 * MICRO, 0));
    // An error of the provider costs nothing.
    let free = account(&world).free();
    assert_eq!(call(&world, "error", json!({})).await.status(), 500);
    assert_eq!(cost(&world.outcome(R::Served).await), None);
    assert_eq!(account(&world).held(), 0);
    assert!(account(&world).free() >= free);
    // No count: what was sent and what came, three bytes a token, never more than was reserved.
    assert_eq!(call(&world, "untold", json!({})).await.status(), 200);
    let record = world.outcome(R::Served).await;
    let sent = record.bytes_in as i64 - 3;
    let estimate = (sent.unsigned_abs().div_ceil(3) + 3 * 10) as i64;
    assert_eq!(cost(&record), Some(Cost::Estimated(usd(estimate * MICRO))));
    // An answer that was cut: the provider had worked on all of it.
    call(&world, "cut", json!({})).await;
    let record = world.outcome(R::UpstreamTruncated).await;
    assert_eq!(cost(&record), Some(Cost::Estimated(usd(reserved(&record)))));
    // More than was asked for: charged all the same.
    let free = account(&world).free();
    assert_eq!(call(&world, "more", json!({"max_tokens": 1})).await.status(), 200);
    assert_eq!(cost(&world.outcome(R::Served).await), Some(Cost::Known(usd(5010 * MICRO))));
    assert_eq!(account(&world).held(), 0);
    assert!(account(&world).free() < free - 4000 * MICRO);
    world.done().await;
}

#[tokio::test]
async fn sound_is_held_at_its_own_price() {
    let upstream = provider().await;
    for (more, each) in [
        // The answer may be spoken, whatever the call says.
        (json!({}), 1),
        (json!({"modalities": ["text", "audio"]}), 8),
        (json!({"modalities": ["TEXT", "AUDIO"]}), 8),
    ] {
        let world = world(&upstream, true, Purse::of(5_000_000 * MICRO));
        let mut call = json!({"model": "voice", "max_tokens": 20, "messages": []});
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(world.ask(post("/v1/chat/completions", "", &call.to_string())).await.status(), 200);
        let record = world.outcome(R::Served).await;
        assert_eq!(cost(&record), Some(Cost::Known(usd(60 * MICRO))), "{more}");
        // The body as it was sent names the provider's model.
        let reserved = ((record.bytes_in as i64 - 4) * each + 20 * 64) * MICRO;
        assert_eq!(account(&world).free(), reserved - 60 * MICRO, "{more}");
        world.done().await;
    }
}

#[tokio::test]
async fn a_spoken_answer_whose_caller_leaves_costs_what_was_reserved() {
    let says = Arc::new(Mutex::new(String::new()));
    let upstream = FakeUpstream::start({
        let says = says.clone();
        move |mut peer| {
            let says = says.clone();
            async move {
                while peer.request().await.is_some() {
                    let events = says.lock().unwrap().clone();
                    let head = "content-type: text/event-stream\r\ntransfer-encoding: chunked";
                    let all = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{:x}\r\n{events}\r\n", events.len());
                    peer.send(all).await;
                    // It goes on for as long as anybody listens.
                    peer.wire.drain().await;
                }
            }
        }
    })
    .await;
    let chat = |delta: Value| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta}]}));
    let gemini = |part: Value| format!("data: {}\n\n", json!({"candidates": [{"content": {"parts": [part]}}]}));
    let (sound, end) = (json!({"data": "A".repeat(3000)}), "and so on");
    let chat_end = || chat(json!({"content": end}));
    let gemini_end = || gemini(json!({"text": end}));
    let chat_call = json!({"model": "voice", "max_tokens": 20, "modalities": ["text", "audio"]});
    let message = json!({"model": "voice", "max_tokens": 20});
    let image = json!({"inlineData": {"mimeType": "image/png", "data": "AAAA"}});
    let spoken = json!({"inlineData": {"mimeType": "audio/pcm", "data": "AAAA"}});
    let google = "/v1beta/models/gem:streamGenerateContent?alt=sse";
    let limit = json!({"generationConfig": {"maxOutputTokens": 20}, "contents": []});
    for (name, path, call, events, reserved) in [
        ("sound", "/v1/chat/completions", &chat_call, chat(json!({"audio": sound})) + &chat_end(), Some(20 * 64)),
        (
            "the words of sound",
            "/v1/chat/completions",
            &chat_call,
            chat(json!({"audio": {"transcript": "Good"}})) + &chat_end(),
            Some(20 * 64),
        ),
        ("only text", "/v1/chat/completions", &chat_call, chat_end(), None),
        // Its limit is written in a field that a server of one's own may not keep.
        ("translated", "/v1/messages", &message, chat(json!({"audio": sound})) + &chat_end(), Some(32_768 * 64)),
        ("only text, translated", "/v1/messages", &message, chat_end(), None),
        ("sound of Gemini", google, &limit, gemini(spoken) + &gemini_end(), Some(20 * 10)),
        ("only text of Gemini", google, &limit, gemini_end(), None),
        (
            "a picture of Gemini, translated",
            "/v1/chat/completions",
            &json!({"model": "gem", "max_tokens": 20}),
            gemini(image) + &gemini_end(),
            Some(20 * 10),
        ),
    ] {
        let world = world(&upstream, true, Purse::of(5_000_000 * MICRO));
        let mut body = call.clone();
        let said = json!([{"role": "user", "content": "Speak"}]);
        if body.get("contents").is_none() {
            body["stream"] = json!(true);
            body["messages"] = said;
        }
        *says.lock().unwrap() = events;
        let mut wire = world.connect().await;
        wire.send(post(path, "", &body.to_string())).await.unwrap();
        within(async {
            while find(wire.pending(), end.as_bytes()).is_none() {
                assert!(wire.fill().await.unwrap() > 0, "{name}: {}", String::from_utf8_lossy(wire.pending()));
            }
        })
        .await;
        drop(wire);
        let record = world.outcome(R::CallerClosed).await;
        let sent = upstream.last().body.len() as i64;
        // What may hear is held back for at the price of sound.
        let hears = if body["modalities"].is_array() { 8 } else { 1 };
        let expect = match reserved {
            Some(output) => sent * hears + output,
            // Input and text, three bytes a token.
            None => (sent as u64).div_ceil(3) as i64 + (end.len() as i64 / 3) * 10,
        };
        assert_eq!(cost(&record), Some(Cost::Estimated(usd(expect * MICRO))), "{name}");
        assert_eq!(account(&world).held(), 0, "{name}");
        world.done().await;
    }
}

#[tokio::test]
async fn a_count_before_the_end_and_one_of_nothing_are_no_count_of_all() {
    let says = Arc::new(Mutex::new((String::new(), false)));
    let upstream = FakeUpstream::start({
        let says = says.clone();
        move |mut peer| {
            let says = says.clone();
            async move {
                while peer.request().await.is_some() {
                    let (events, ends) = says.lock().unwrap().clone();
                    let head = "content-type: text/event-stream\r\ntransfer-encoding: chunked";
                    let end = if ends { "0\r\n\r\n" } else { "" };
                    let all = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{:x}\r\n{events}\r\n{end}", events.len());
                    peer.send(all).await;
                    if !ends {
                        peer.wire.drain().await;
                    }
                }
            }
        }
    })
    .await;
    let text = "thirty bytes of what was said.";
    let count = |input: u64, output: u64| json!({"prompt_tokens": input, "completion_tokens": output});
    let says_it = |usage: Value| {
        let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": null});
        format!("data: {}\n\n", json!({"choices": [choice], "usage": usage}))
    };
    let event = |choices: Value, usage: Value| format!("data: {}\n\n", json!({"choices": choices, "usage": usage}));
    let stop = json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]);
    let done = "data: [DONE]\n\n";
    let none = Value::Null;
    // Input told (or `None`: estimated), output, and whether that is known.
    for (name, events, ends, input, output, known) in [
        ("counted at the beginning", says_it(count(10, 1)), false, Some(10), 10, false),
        ("counted with each", says_it(count(10, 14)), false, Some(10), 14, false),
        ("counted at the end", says_it(none.clone()) + &event(json!([]), count(10, 14)), false, Some(10), 14, true),
        ("counted beside the reason", event(stop.clone(), count(10, 14)), false, Some(10), 14, true),
        ("all of it came", says_it(count(10, 14)) + done, true, Some(10), 14, true),
        (
            "noughts at the end",
            says_it(count(10, 14)) + &event(stop.clone(), none.clone()) + &event(json!([]), count(0, 0)) + done,
            true,
            Some(10),
            14,
            true,
        ),
        ("nothing but noughts", says_it(none.clone()) + &event(json!([]), count(0, 0)) + done, true, None, 10, false),
        (
            "no count of what is written",
            says_it(none.clone()) + &event(stop, json!({"prompt_tokens": 10, "completion_tokens": null})) + done,
            true,
            Some(10),
            10,
            false,
        ),
    ] {
        let world = world(&upstream, true, Purse::of(5_000_000 * MICRO));
        *says.lock().unwrap() = (events, ends);
        let asked = json!({"include_usage": true});
        let body = json!({"model": "chat", "max_tokens": 20, "stream": true, "stream_options": asked, "messages": []});
        let call = post("/v1/chat/completions", "", &body.to_string());
        let record = if ends {
            assert_eq!(world.ask(call).await.status(), 200, "{name}");
            world.outcome(R::Served).await
        } else {
            let mut wire = world.connect().await;
            wire.send(call).await.unwrap();
            within(async {
                while find(wire.pending(), b"}\n\n").is_none() {
                    assert!(wire.fill().await.unwrap() > 0, "{name}: {}", String::from_utf8_lossy(wire.pending()));
                }
            })
            .await;
            drop(wire);
            world.outcome(R::CallerClosed).await
        };
        let input = input.unwrap_or_else(|| (upstream.last().body.len() as i64 + 2) / 3);
        let expect = usd((input + output * 10) * MICRO);
        assert_eq!(cost(&record), Some(if known { Cost::Known(expect) } else { Cost::Estimated(expect) }), "{name}");
        assert_eq!(account(&world).held(), 0, "{name}");
        world.done().await;
    }
    // A whole answer, too.
    let upstream = provider().await;
    let world = world(&upstream, true, Purse::of(5_000_000 * MICRO));
    assert_eq!(call(&world, "noughts", json!({})).await.status(), 200);
    let record = world.outcome(R::Served).await;
    let input = (upstream.last().body.len() as i64 + 2) / 3;
    assert_eq!(cost(&record), Some(Cost::Estimated(usd((input + 3 * 10) * MICRO))));
    world.done().await;
}

#[tokio::test]
async fn what_the_provider_had_whole_and_never_answered_costs_what_was_reserved() {
    for (how, outcome) in [("reset", R::UpstreamReset), ("garbage", R::UpstreamMalformed)] {
        let upstream = provider().await;
        let world = world(&upstream, true, Purse::of(5_000_000 * MICRO));
        assert_eq!(call(&world, how, json!({})).await.status(), 502, "{how}");
        let record = world.outcome(outcome).await;
        let most = (record.bytes_in as i64 - 3 + 20 * 10) * MICRO;
        assert_eq!(cost(&record), Some(Cost::Estimated(usd(most))), "{how}");
        assert_eq!((account(&world).free(), account(&world).held()), (0, 0), "{how}");
        world.done().await;
    }
}

#[tokio::test]
async fn a_compressed_answer_is_not_asked_for_and_never_cheap() {
    let upstream = provider().await;
    let world = packed_world(&upstream);
    let body = json!({"model": "chat", "how": "packed", "max_tokens": 20, "messages": []}).to_string();
    let told = world.ask(post("/v1/chat/completions", "accept-encoding: gzip\r\n", &body)).await;
    assert_eq!((told.status(), told.field("x-asked")), (200, Some("identity")));
    let record = world.outcome(R::Served).await;
    let most = (record.bytes_in as i64 - 3 + 20 * 10) * MICRO;
    assert_eq!(cost(&record), Some(Cost::Estimated(usd(most))), "as much as was reserved");
    world.done().await;
}

#[tokio::test]
async fn a_count_that_lies_costs_no_more_than_can_be_added_up() {
    let upstream = provider().await;
    let world = world(&upstream, false, Purse::of(0));
    for _ in 0..3 {
        assert_eq!(call(&world, "absurd", json!({})).await.status(), 200);
        let told = cost(&world.outcome(R::Served).await);
        assert_eq!(told, Some(Cost::Estimated(usd(credentialflow_policy::budget::MOST_COST))));
    }
    assert_eq!((account(&world).free(), account(&world).held()), (i64::MIN, 0));
    world.done().await;
}

#[tokio::test]
async fn a_budget_that_others_are_faster_to_use_is_short_and_not_away() {
    let upstream = provider().await;
    let world = world(&upstream, true, Arc::new(Taken));
    let told = call(&world, "plain", json!({})).await;
    assert_eq!((told.status(), told.field("retry-after")), (429, Some("1")));
    world.outcome(R::BudgetExceeded).await;
    assert!(upstream.requests().is_empty());
    world.done().await;
}

#[tokio::test]
async fn what_cannot_be_paid_is_refused_and_never_sent() {
    let upstream = provider().await;
    let world = world(&upstream, true, Purse::of(1000 * MICRO));
    for (more, status, reason) in [
        (json!({"max_tokens": 100}), 429, R::BudgetExceeded),
        (json!({"max_tokens": null}), 429, R::BudgetExceeded),
        (json!({"max_tokens": -1}), 429, R::BudgetExceeded),
        (json!({"max_tokens": null, "max_output_tokens": 1}), 429, R::BudgetExceeded),
        // Nobody knows whether that server keeps the newer field.
        (json!({"max_tokens": null, "max_completion_tokens": 1}), 429, R::BudgetExceeded),
        // More than the whole budget: refused in the same words, until the window is over.
        (json!({"max_tokens": 1_000_000}), 429, R::BudgetExceeded),
        (json!({"max_tokens": 5, "n": 100}), 429, R::BudgetExceeded),
        (json!({"model": "unpriced"}), 503, R::PriceUnknown),
        // What the price that is known is not for, however it is spelled.
        (json!({"service_tier": "priority"}), 503, R::PriceUnknown),
        (json!({"service_tier": "flex", "speed": "fast"}), 503, R::PriceUnknown),
    ] {
        let told = call(&world, "plain", more.clone()).await;
        assert_eq!(told.status(), status, "{more}");
        let error: Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!(error["error"]["code"], reason.code());
        if reason == R::BudgetExceeded {
            let after: u64 = told.field("retry-after").unwrap().parse().unwrap();
            assert!((1..=31 * 86_400).contains(&after), "{after}");
            assert!(error["error"]["message"].as_str().unwrap().contains("month"), "{error}");
        }
        assert_eq!(cost(&world.outcome(reason).await), None);
    }
    assert!(upstream.requests().is_empty(), "nothing was sent");
    assert_eq!(account(&world).held(), 0);
    world.done().await;
}

#[tokio::test]
async fn what_is_served_faster_has_no_price_and_what_is_served_later_an_estimate() {
    let upstream = provider().await;
    for hard in [false, true] {
        let world = world(&upstream, hard, Purse::of(1000 * MICRO));
        assert_eq!(call(&world, "plain", json!({"service_tier": "default"})).await.status(), 200);
        assert_eq!(cost(&world.outcome(R::Served).await), Some(Cost::Known(usd(60 * MICRO))));
        assert_eq!(call(&world, "plain", json!({"service_tier": "flex"})).await.status(), 200);
        assert_eq!(cost(&world.outcome(R::Served).await), Some(Cost::Estimated(usd(60 * MICRO))));
        // Sound costs more than the text whose price is known.
        assert_eq!(call(&world, "sound", json!({})).await.status(), 200);
        assert_eq!(cost(&world.outcome(R::Served).await), Some(Cost::Estimated(usd(60 * MICRO))));
        if !hard {
            assert_eq!(call(&world, "plain", json!({"service_tier": "priority"})).await.status(), 200);
            assert_eq!(cost(&world.outcome(R::Served).await), Some(Cost::UnknownPrice));
        }
        world.done().await;
    }
}

#[tokio::test]
async fn what_is_served_in_a_tier_is_held_back_and_charged_at_its_price() {
    let upstream = provider().await;
    for hard in [false, true] {
        let world = world(&upstream, hard, Purse::of(100_000 * MICRO));
        let usual = 60 * MICRO;
        for (asked, served, expect) in [
            (json!("priority"), json!("priority"), Cost::Known(usd(2 * usual))),
            // By the name that OpenAI gave it since.
            (json!("fast"), json!("fast"), Cost::Known(usd(2 * usual))),
            // What had no room for it was served as usual, and is told.
            (json!("priority"), json!("default"), Cost::Known(usd(usual))),
            (json!("priority"), json!(null), Cost::Estimated(usd(2 * usual))),
            (json!("flex"), json!("flex"), Cost::Known(usd(usual / 2))),
            (json!("auto"), json!("priority"), Cost::Known(usd(2 * usual))),
            (json!("auto"), json!("default"), Cost::Known(usd(usual))),
            (json!("auto"), json!(null), Cost::Estimated(usd(usual))),
            // As the account is set.
            (json!(null), json!("flex"), Cost::Known(usd(usual / 2))),
            (json!(null), json!("default"), Cost::Known(usd(usual))),
        ] {
            let more = json!({"model": "tiered", "service_tier": asked, "served": served});
            assert_eq!(call(&world, "plain", more.clone()).await.status(), 200, "{more}");
            assert_eq!(cost(&world.outcome(R::Served).await), Some(expect), "{more}, hard: {hard}");
        }
        assert_eq!(account(&world).held(), 0);
        world.done().await;
    }
    // What is held back is the dearest that it may be served at.
    for (tier, times) in [("default", 1), ("flex", 1), ("priority", 2), ("auto", 2)] {
        let world = world(&upstream, true, Purse::of(5000 * MICRO));
        let more = json!({"model": "tiered", "service_tier": tier, "served": "default"});
        assert_eq!(call(&world, "plain", more).await.status(), 200);
        let record = world.outcome(R::Served).await;
        // The body as it was sent names the provider's model.
        let most = (record.bytes_in as i64 - 5 + 20 * 10) * MICRO;
        assert_eq!(account(&world).free(), times * most - 60 * MICRO, "{tier}");
        world.done().await;
    }
}

#[tokio::test]
async fn of_gemini_the_limit_within_counts_and_counting_is_free() {
    let upstream = provider().await;
    let world = world(&upstream, true, Purse::of(1000 * MICRO));
    let ask = async |asked: &str, body: Value| {
        world.ask(post(&format!("/v1beta/models/gem:{asked}"), "", &body.to_string())).await
    };
    for body in [
        json!({"contents": []}),
        json!({"contents": [], "generationConfig": {"maxOutputTokens": 100}}),
        json!({"contents": [], "generationConfig": {"maxOutputTokens": 5, "candidateCount": 20}}),
        json!({"contents": [], "generationConfig": {"maxOutputTokens": "5"}}),
        json!({"contents": [], "max_tokens": 5}),
    ] {
        let told = ask("generateContent", body.clone()).await;
        assert_eq!(told.status(), 429, "{body}");
        let error: Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!(error["error"]["details"][0]["reason"], R::BudgetExceeded.code());
        assert_eq!(cost(&world.outcome(R::BudgetExceeded).await), None);
    }
    assert!(upstream.requests().is_empty(), "nothing was sent");
    assert_eq!(ask("countTokens", json!({"contents": []})).await.status(), 200);
    world.outcome(R::Served).await;
    assert_eq!(account(&world).held(), 0);
    // Nothing counts in this answer: what was sent and what came, three bytes a token.
    let told = ask("generateContent", json!({"contents": [], "generationConfig": {"maxOutputTokens": 20}})).await;
    assert_eq!(told.status(), 200);
    let record = world.outcome(R::Served).await;
    let Some(Cost::Estimated(_)) = cost(&record) else { panic!("{record:?}") };
    assert_eq!(account(&world).held(), 0);
    world.done().await;
}

#[tokio::test]
async fn cached_content_that_a_call_names_has_no_bound() {
    let upstream = provider().await;
    let cached = "cachedContents/abc";
    let limit = json!({"maxOutputTokens": 20});
    let calls = [
        (
            "cachedContent",
            "/v1beta/models/gem:generateContent",
            json!({"contents": [], "cachedContent": cached, "generationConfig": limit}),
        ),
        (
            "cached_content",
            "/v1beta/models/gem:streamGenerateContent?alt=sse",
            json!({"contents": [], "cached_content": cached, "generationConfig": limit}),
        ),
        (
            "cached_content",
            "/v1/chat/completions",
            json!({"model": "chat", "messages": [], "max_tokens": 20,
                "extra_body": {"google": {"cached_content": cached}}}),
        ),
    ];
    let rich = world(&upstream, true, Purse::of(5_000_000 * MICRO));
    for (field, path, body) in &calls {
        let told = rich.ask(post(path, "", &body.to_string())).await;
        let error: Value = serde_json::from_slice(&told.body).unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert_eq!(told.status(), 400, "{error}");
        assert!(message.contains(&format!("`{field}`")) && message.contains("the application's budget"), "{message}");
        assert_eq!(cost(&rich.outcome(R::InvalidModelCall).await), None);
    }
    assert!(upstream.requests().is_empty());
    rich.done().await;
    let watched = world(&upstream, false, Purse::of(0));
    for (_, path, body) in &calls {
        assert_eq!(watched.ask(post(path, "", &body.to_string())).await.status(), 200, "only watched");
        watched.outcome(R::Served).await;
    }
    watched.done().await;
}

#[tokio::test]
async fn what_a_call_of_responses_names_at_its_provider_has_no_bound_and_its_limit_counts_only_there() {
    let upstream = provider().await;
    let respond = async |world: &World, more: Value| {
        let mut body = json!({"model": "chat", "input": "x", "max_output_tokens": 20});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.ask(post("/v1/responses", "", &body.to_string())).await
    };
    let along = [
        ("previous_response_id", json!({"previous_response_id": "resp_1"})),
        ("conversation", json!({"conversation": {"id": "conv_1"}})),
        ("prompt", json!({"prompt": {"id": "pmpt_1"}})),
        ("item_reference", json!({"input": [{"type": "item_reference", "id": "msg_1"}]})),
    ];
    let rich = world(&upstream, true, Purse::of(5_000_000 * MICRO));
    for (field, more) in along.clone() {
        let told = respond(&rich, more).await;
        let error: Value = serde_json::from_slice(&told.body).unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert_eq!((told.status(), &error["error"]["code"]), (400, &json!("invalid_model_call")), "{error}");
        assert!(message.contains(field) && message.contains("the application's budget"), "{message}");
        assert_eq!(cost(&rich.outcome(R::InvalidModelCall).await), None);
    }
    assert!(upstream.requests().is_empty());
    assert_eq!(respond(&rich, json!({})).await.status(), 200);
    rich.outcome(R::Served).await;
    rich.done().await;
    // Whether a server of one's own keeps the limit is not known: twenty tokens are not all that it may write.
    let poor = world(&upstream, true, Purse::of(1000 * MICRO));
    assert_eq!(respond(&poor, json!({})).await.status(), 429);
    poor.outcome(R::BudgetExceeded).await;
    poor.done().await;
    let watched = world(&upstream, false, Purse::of(0));
    for (_, more) in along {
        assert_eq!(respond(&watched, more).await.status(), 200, "only watched");
        watched.outcome(R::Served).await;
    }
    watched.done().await;
}

#[tokio::test]
async fn all_that_have_a_budget_pay_and_one_that_refuses_holds_nothing_of_the_others() {
    let upstream = provider().await;
    let mut setup = Setup::new(format!(
        "teams:
  - {{ name: t, budget: {{ usd: \"0.001\", per: day, hard: true }} }}
applications:
  - {{ name: app, team: t, allow: {{ models: [chat] }}, budget: {{ usd: 5, per: month, hard: true }} }}
keys:
  - {{ name: k, application: app }}
upstreams:
  - {{ name: mine, endpoints: [\"{}/v1\"], provider: openai }}
models:
  - name: chat
    budget: {{ usd: 1, per: hour }}
    targets: [{{ provider: mine, model: m, prices: [{{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }}] }}]
",
        upstream.url()
    ));
    setup.lender = Purse::of(100_000 * MICRO);
    let world = setup.start();
    assert_eq!(call(&world, "plain", json!({})).await.status(), 200);
    let model = world.outcome(R::Served).await.model.unwrap();
    let charged: Vec<_> = model.budgets.as_deref().unwrap().split(' ').map(|b| b.split('@').next().unwrap()).collect();
    assert_eq!(charged, ["applications/app/month", "teams/t/day", "models/chat/hour"]);
    // The team's whole budget is less than the call may cost.
    let told = call(&world, "plain", json!({"max_tokens": 200})).await;
    assert_eq!(told.status(), 429);
    assert!(told.text().contains("the team's budget for this day"), "{}", told.text());
    world.outcome(R::BudgetExceeded).await;
    assert!(world.book.accounts().iter().all(|(account, _)| account.held() == 0));
    assert_eq!(world.book.live().len(), 3);
    world.done().await;
}

#[tokio::test]
async fn all_keys_of_a_chain_pay_and_any_of_them_refuses() {
    let upstream = provider().await;
    let of_key = |name: &str, parent: &str, usd: &str| {
        let parent = if parent.is_empty() { String::new() } else { format!(", parent: {parent}") };
        format!("  - {{ name: {name}, application: app{parent}, budget: {{ usd: '{usd}', per: 24h, hard: true }} }}\n")
    };
    let keys = [of_key("root", "", "0.001"), of_key("k", "root", "0.5"), of_key("j", "k", "0.5")].concat();
    let mut setup = Setup::new(format!(
        "applications:
  - {{ name: app, allow: {{ models: [chat] }} }}
keys:
{keys}upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1\"], provider: openai }}
models:
  - {{ name: chat, targets: [{{ provider: mine, model: m, prices: [{{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }}] }}] }}
",
        upstream.url()
    ));
    setup.lender = Purse::of(5_000_000 * MICRO);
    let world = setup.start();
    assert_eq!(call(&world, "plain", json!({})).await.status(), 200);
    let record = world.outcome(R::Served).await;
    let model = record.model.unwrap();
    let windows: Vec<_> = model.budgets.as_deref().unwrap().split(' ').map(|w| w.split('@').next().unwrap()).collect();
    assert_eq!(windows, ["keys/k/1d", "keys/root/1d"], "its own and its parent's, and nobody's below it");
    // The first key's whole budget is less than the call may cost.
    let told = call(&world, "plain", json!({"max_tokens": 200})).await;
    assert_eq!((told.status(), told.text().contains("the key's budget")), (429, true), "{}", told.text());
    world.outcome(R::BudgetExceeded).await;
    assert!(world.book.accounts().iter().all(|(account, _)| account.held() == 0));
    world.done().await;
}

#[tokio::test]
async fn keys_and_providers_pay_too_each_of_several_windows_and_callers_see_how_they_stand() {
    let upstream = provider().await;
    let mut setup = Setup::new(format!(
        "applications:
  - {{ name: app, allow: {{ models: [chat, free] }}, budget: [{{ usd: 5, per: month, hard: true }}, {{ usd: 1, per: 24h }}] }}
keys:
  - {{ name: k, application: app, budget: {{ usd: \"0.001\", per: 90m, hard: true }} }}
upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1\"], provider: openai, budget: {{ usd: 9, per: week, hard: true }} }}
  - {{ name: other, endpoints: [\"{0}/v1\"], provider: openai }}
models:
  - name: chat
    targets: [{{ provider: mine, model: m, prices: [{{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }}] }}]
  - name: free
    targets: [{{ provider: other, model: m, prices: [{{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }}] }}]
",
        upstream.url()
    ));
    setup.lender = Purse::of(100_000 * MICRO);
    let world = setup.start();
    let told = call(&world, "told", json!({})).await;
    assert_eq!((told.status(), told.field("x-credentialflow-budget")), (200, None), "nobody told this node yet");
    let charged = |record: UsageRecord| {
        let model = record.model.unwrap();
        model
            .budgets
            .as_deref()
            .unwrap()
            .split(' ')
            .map(|b| b.split('@').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let of_all = ["keys/k/90m", "applications/app/month", "applications/app/1d", "upstreams/mine/week"];
    assert_eq!(charged(world.outcome(R::Served).await), of_all);
    assert_eq!(call(&world, "plain", json!({"model": "free"})).await.status(), 200);
    assert_eq!(charged(world.outcome(R::Served).await), of_all[..3], "another provider");
    // How they stand, as turns at the database tell.
    let now = Timestamp::from(std::time::SystemTime::now());
    for (account, _) in world.book.accounts() {
        let key = account.budget().starts_with("keys/");
        account.tell_standing(Standing { percent: if key { 83 } else { 7 }, warns: key });
        if key {
            account.tell_frees(now.plus(credentialflow_model::Period::from_secs(600)));
        }
    }
    let told = call(&world, "told", json!({})).await;
    let field = told.field("x-credentialflow-budget").unwrap();
    let items: Vec<_> = field.split(", ").collect();
    assert!(items[0].starts_with("\"key/90m\";r=17;t=") && items[0].ends_with(";warn"), "{field}");
    assert!(items[1].starts_with("\"application/month\";r=93;t=") && !items[1].contains("warn"), "{field}");
    assert_eq!(items[2], "\"application/1d\";r=93", "nothing of it is known to come back");
    assert!(items[3].starts_with("\"provider/week\";r=93;t="), "{field}");
    world.outcome(R::Served).await;
    // The key's whole budget is less than the call may cost.
    let told = call(&world, "plain", json!({"max_tokens": 200})).await;
    assert_eq!(told.status(), 429);
    assert!(told.text().contains("the key's budget for any 90m cannot pay for this call"), "{}", told.text());
    let after: u64 = told.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=600).contains(&after), "when the first of it is free again: {after}");
    world.outcome(R::BudgetExceeded).await;
    assert!(world.book.accounts().iter().all(|(account, _)| account.held() == 0));
    world.done().await;
}

#[tokio::test]
async fn where_the_budget_cannot_be_asked_hard_ones_refuse_and_watched_ones_go_on() {
    let upstream = provider().await;
    for hard in [true, false] {
        let world = world(&upstream, hard, Arc::new(Nobody));
        let told = call(&world, "plain", json!({})).await;
        if hard {
            assert_eq!((told.status(), told.field("retry-after")), (503, Some("1")));
            world.outcome(R::BudgetUnavailable).await;
        } else {
            assert_eq!(told.status(), 200);
            assert_eq!(cost(&world.outcome(R::Served).await), Some(Cost::Known(usd(60 * MICRO))));
            assert_eq!((account(&world).free(), account(&world).held()), (-60 * MICRO, 0));
            assert_eq!(call(&world, "plain", json!({"model": "unpriced"})).await.status(), 200);
            assert_eq!(cost(&world.outcome(R::Served).await), Some(Cost::UnknownPrice));
        }
        world.done().await;
    }
}
