//! The same call again where every target failed, and the next target for what one does not take.

use crate::{fallback::*, harness::*};
use credentialflow_model::{
    OutcomeReason as R,
    resource::budget::usd,
    usage::{Cost, TriedEnd},
};
use serde_json::json;
use std::time::{Duration, Instant};

const ONE: &str = "[{ provider: a, model: real-a }]";
const RETRY: &str = ", retry: { times: 2, wait: 100ms }";

#[tokio::test]
async fn a_model_with_one_target_is_tried_again_where_it_says_so() {
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, ONE, RETRY, STRICT).await;
    for (how, streams) in [("503 | 429", false), ("500 | stream error", true), ("stream error | 529", true)] {
        vendors.set("a", &format!("{how} | "));
        let began = Instant::now();
        assert!(world.ask(chat(streams)).await.text().contains("hi from a"), "{how}");
        // Half of 100 ms, and half of 200 ms.
        assert!(began.elapsed() >= Duration::from_millis(150), "{how}: {:?}", began.elapsed());
        let record = world.outcome(R::Served).await;
        assert_eq!((tried(&record).len(), record.attempts, record.status), (2, 3, 200), "{how}");
    }
    // Not more often than it says, and then the caller sees the last failure as it came.
    let before = vendors.upstream.requests().len();
    vendors.set("a", "503");
    let told = world.ask(chat(false)).await;
    assert_eq!(told.status(), 503);
    assert!(told.text().contains("no from a"));
    let record = world.outcome(R::Served).await;
    assert_eq!(tried(&record), [("a", TriedEnd::Status(503)); 2]);
    assert_eq!(vendors.asked(before).len(), 3);
    // What does not help is not tried again: what is not listed, and what the provider says does not.
    for how in ["501", "400", "401", "429 x-should-retry: false", "stream cut"] {
        vendors.set("a", &format!("{how} | "));
        let before = vendors.upstream.requests().len();
        world.ask(chat(how.starts_with("stream"))).await;
        assert_eq!(vendors.asked(before).len(), 1, "{how}");
        world.record().await;
    }
    world.done().await;

    // Nobody is tried again unless the model says so.
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, ONE, "", STRICT).await;
    vendors.set("a", "429 1 | ");
    assert_eq!(world.ask(chat(false)).await.status(), 429);
    world.served(1).await;
    world.done().await;
}

#[tokio::test]
async fn it_waits_as_long_as_the_provider_asks_and_no_longer_than_there_is_time() {
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, ONE, ", deadline: 4s, retry: { times: 1, wait: 100ms }", LENIENT).await;
    for (asked, least) in [("1", 1000), ("retry-after-ms: 400", 400)] {
        vendors.set("a", &format!("429 {asked} | "));
        let began = Instant::now();
        assert!(world.ask(chat(false)).await.text().contains("hi from a"));
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(least) && took < Duration::from_millis(least + 600), "{asked}: {took:?}");
        world.served(1).await;
    }
    // There would be time for this one, but not before the deadline, and for that nobody waits.
    for asked in ["20", "600"] {
        vendors.set("a", &format!("429 {asked} | "));
        let began = Instant::now();
        let told = world.ask(chat(false)).await;
        assert_eq!((told.status(), told.field("retry-after")), (429, Some(asked)));
        assert!(began.elapsed() < Duration::from_secs(1));
        world.served(1).await;
    }
    world.done().await;
}

#[tokio::test]
async fn others_come_first_and_nobody_waits_while_there_is_one() {
    let targets = "[{ provider: a, model: m, credentials: [{ name: k1 }, { name: k2 }] }, { provider: b, model: m, priority: 1 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, ", retry: { times: 2, wait: 2s }", LENIENT).await;
    vendors.set("a", "429");
    let began = Instant::now();
    assert!(world.ask(chat(false)).await.text().contains("hi from b"));
    assert!(began.elapsed() < Duration::from_millis(900));
    assert_eq!(tried(&world.outcome(R::Served).await).len(), 2, "both credentials");
    world.done().await;

    // All have failed: the one that is ready first is asked again, never one that may be at work on the call.
    let vendors = Vendors::start().await;
    let targets =
        "[{ provider: a, model: m }, { provider: x, model: m, priority: 1 }, { provider: b, model: m, priority: 2 }]";
    let world = world_of(&vendors, targets, ", retry: { times: 2, wait: 100ms }", LENIENT).await;
    vendors.set("a", "drop | ");
    vendors.set("x", "503 30 | ");
    vendors.set("b", "503 1 | 503 | ");
    assert!(world.ask(chat(false)).await.text().contains("hi from b"));
    let record = world.outcome(R::Served).await;
    let vendors_tried: Vec<_> = tried(&record).iter().map(|(vendor, _)| vendor.to_string()).collect();
    assert_eq!(vendors_tried, ["a", "x", "b", "b"]);
    vendors.set("a", "503 | ");
    vendors.set("x", "drop | ");
    vendors.set("b", "503 30 | ");
    let began = Instant::now();
    assert!(world.ask(chat(true)).await.text().contains("hi from a"));
    assert!(began.elapsed() < Duration::from_secs(2));
    let record = world.outcome(R::Served).await;
    assert_eq!((tried(&record).len(), served_by(&record).2), (3, 4));
    world.done().await;

    // Of two models at one provider, the second may be worked on: the first is not asked again either.
    let vendors = Vendors::start().await;
    let targets = "[{ provider: a, model: m }, { provider: a, model: n, priority: 1 }]";
    let world = world_of(&vendors, targets, ", retry: { times: 2, wait: 100ms }", LENIENT).await;
    vendors.set("a", "503 | drop | ");
    assert_eq!(world.ask(chat(false)).await.status(), 502);
    world.outcome(R::UpstreamReset).await;
    assert_eq!(vendors.asked(0), ["a", "a"]);
    world.done().await;
}

#[tokio::test]
async fn a_hedged_call_is_tried_again_at_whichever_may_be() {
    let targets = "[{ provider: a, model: m }, { provider: b, model: m, priority: 1 }]";
    let more = ", hedge: { after: 100ms }, retry: { times: 1, wait: 100ms }";
    // What the second says does not help, or only later.
    for second in ["401", "garbage", "503 30"] {
        let vendors = Vendors::start().await;
        let world = world_of(&vendors, targets, more, LENIENT).await;
        vendors.set("a", "slow-503 400 | ");
        vendors.set("b", second);
        let began = Instant::now();
        assert!(world.ask(chat(false)).await.text().contains("hi from a"), "{second}");
        assert!(began.elapsed() < Duration::from_secs(5), "{second}");
        let record = world.outcome(R::Served).await;
        assert_eq!((tried(&record).len(), served_by(&record)), (2, ("a", "m", 3)), "{second}");
        assert_eq!(vendors.asked(0), ["a", "b", "a"], "{second}");
        world.done().await;
    }
}

#[tokio::test]
async fn a_caller_that_leaves_while_it_waits_ends_it_and_nothing_is_charged() {
    let prices = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }]";
    let targets = format!("[{{ provider: a, model: m, {prices}, limit: {{ concurrent: 1 }} }}]");
    let more = ", retry: { times: 1, wait: 10s }";
    let allowed = ", budget: { usd: 5, per: month }, limit: { tokens: 7000, per: 1h }";
    for how in ["503", "stream error"] {
        let vendors = Vendors::start().await;
        let world = setup_of(&vendors, &targets, more, LENIENT, allowed).start();
        vendors.set("a", &format!("{how} | "));
        let mut wire = world.connect().await;
        wire.send(chat(how == "stream error")).await.unwrap();
        let account = world.book.live()[0].account(std::time::SystemTime::now().into());
        until(|| vendors.upstream.requests().len() == 1).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        // What it reserved is held, and the one place at the target is free for others.
        assert!(account.held() > 0);
        assert!(world.ask(chat(false)).await.text().contains("hi from a"));
        world.served(1).await;
        drop(wire);
        let record = world.outcome(R::CallerClosed).await;
        assert_eq!(record.model.as_ref().unwrap().cost, None, "{how}");
        assert_eq!((account.free(), account.held()), (-60_000_000, 0), "{how}: the other call");
        assert_eq!(vendors.upstream.requests().len(), 2);
        // Nor do its limits: of the two the other one has used 15 tokens, and this one has taken what it may use.
        let told = world.ask(chat(false)).await;
        let left = told.field("ratelimit").unwrap().split("tokens\";r=").nth(1).unwrap().to_owned();
        let left: u64 = left.split(';').next().unwrap().parse().unwrap();
        assert!((6935..6985).contains(&left), "{how}: {left}");
        world.served(1).await;
        world.done().await;
    }
}

#[tokio::test]
async fn a_call_that_is_tried_again_is_paid_once() {
    let prices = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }]";
    let vendors = Vendors::start().await;
    let targets = format!("[{{ provider: a, model: m, {prices} }}]");
    let world = setup_of(&vendors, &targets, RETRY, LENIENT, ", budget: { usd: 5, per: month }").start();
    vendors.set("a", "503 | stream error | ");
    assert!(world.ask(chat(true)).await.text().contains("hi from a"));
    let record = world.outcome(R::Served).await;
    assert_eq!(record.model.as_ref().unwrap().cost, Some(Cost::Known(usd(60_000_000))));
    let account = world.book.live()[0].account(std::time::SystemTime::now().into());
    assert_eq!(account.held(), 0);
    world.done().await;
}

const TOO_LONG: &str =
    r#"json 400 {"error":{"message":"Too much.","type":"invalid_request_error","code":"context_length_exceeded"}}"#;
const FILTERED: &str = r#"json 400 {"error":{"message":"no","code":"content_filter"}}"#;

#[tokio::test]
async fn what_does_not_fit_into_a_model_goes_to_the_next_which_is_left_alone_for_nothing() {
    let targets = "[{ provider: a, model: m, context: 8000 }, { provider: x, model: m, context: 4000, priority: 1 },
        { provider: ant, model: m, context: 200000, priority: 2 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, ", retry: { times: 1, wait: 5s }", STRICT).await;
    for streams in [false, true] {
        let before = vendors.upstream.requests().len();
        vendors.set("a", TOO_LONG);
        assert!(world.ask(chat(streams)).await.text().contains("hi from ant"));
        assert_eq!(tried(&world.outcome(R::Served).await), [("a", TriedEnd::Status(400))]);
        // Not into the one that is known to be smaller, and the next call begins at the first again.
        assert_eq!(vendors.asked(before), ["a", "ant"]);
    }
    vendors.set("a", "");
    assert!(world.ask(chat(false)).await.text().contains("hi from a"));
    world.served(1).await;
    // Where it fits nowhere, the caller is told as it was said.
    vendors.set("a", TOO_LONG);
    vendors.set(
        "ant",
        r#"json 400 {"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#,
    );
    let told = world.ask(chat(false)).await;
    assert_eq!(told.status(), 400);
    assert!(told.text().contains("prompt is too long"), "{}", told.text());
    world.served(1).await;
    // Anything else that is wrong with the call is its answer.
    vendors.set("a", r#"json 400 {"error":{"message":"Unknown parameter: 'x'."}}"#);
    let before = vendors.upstream.requests().len();
    assert!(world.ask(chat(false)).await.text().contains("Unknown parameter"));
    vendors.set("a", FILTERED);
    assert!(world.ask(chat(false)).await.text().contains("content_filter"));
    assert_eq!(vendors.asked(before), ["a", "a"]);
    world.served(2).await;
    world.done().await;
}

#[tokio::test]
async fn a_model_says_what_falls_back() {
    let targets = "[{ provider: a, model: m }, { provider: b, model: m, priority: 1 }]";
    let unknown = r#"json 422 {"error":{"message":"Unknown parameter: 'x'."}}"#;
    for (on, goes_on) in
        [("[]", [false, false, false]), ("[content_policy]", [false, true, false]), ("[invalid]", [true; 3])]
    {
        let vendors = Vendors::start().await;
        let world = world_of(&vendors, targets, &format!(", fall_back_on: {on}"), STRICT).await;
        for (how, goes_on) in [TOO_LONG, FILTERED, unknown].iter().zip(goes_on) {
            vendors.set("a", how);
            let told = world.ask(chat(false)).await;
            assert_eq!(told.text().contains("hi from b"), goes_on, "{on}: {how}");
            world.served(1).await;
        }
        world.done().await;
    }
    // With nobody else, bytes pass as they came, also of an error that ends with its connection.
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, ONE, ", fall_back_on: [context, invalid]", STRICT).await;
    vendors.set("a", unknown);
    let told = world.ask(chat(false)).await;
    assert_eq!(
        (told.status(), serde_json::from_str::<serde_json::Value>(&told.text()).unwrap()),
        (422, json!({"error": {"message": "Unknown parameter: 'x'."}}))
    );
    world.served(1).await;
    world.done().await;
}
