//! Tokens in some time and requests at once: of applications, models, targets and credentials of a pool.

use crate::{
    fallback::{LENIENT, Vendors, chat, served_by, setup_of, tried, whole},
    harness::*,
};
use credentialflow_model::OutcomeReason as R;
use serde_json::Value;

const ONE: &str = "[{ provider: a, model: real-a }]";

/// The same as a stream, which ends with what the provider counted: 10 tokens in, 5 out.
async fn asked(world: &World, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for n in 0..times {
        statuses.push(world.ask(chat(n % 2 == 1)).await.status());
        world.record().await;
    }
    statuses
}

#[tokio::test]
async fn an_application_has_so_many_tokens() {
    let vendors = Vendors::start().await;
    let limit = ", limit: { tokens: 70, per: 1h }";
    let world = setup_of(&vendors, ONE, "", LENIENT, limit).start();
    // A call's body is guessed to be some 30 tokens, and counted as 15.
    let statuses = asked(&world, 3).await;
    assert_eq!(statuses, [200, 200, 200]);
    let told = world.ask(chat(false)).await;
    assert_eq!(told.status(), 429, "{}", told.text());
    let error: Value = serde_json::from_str(&told.text()).unwrap();
    assert_eq!(error["error"]["code"], "rate_limited", "{error}");
    assert!(told.text().contains("the application has used up its tokens for this time"), "{}", told.text());
    let wait: u64 = told.field("retry-after").unwrap().parse().unwrap();
    assert!((1..3600).contains(&wait), "{wait}");
    let record = world.outcome(R::RateLimited).await;
    assert_eq!(record.upstream_status, 0);
    assert_eq!(vendors.asked(0).len(), 3);
    world.done().await;
}

#[tokio::test]
async fn answers_say_how_many_tokens_are_left() {
    let vendors = Vendors::start().await;
    let limit = ", limit: { tokens: 7000, requests: 9, per: 1h }";
    let world = setup_of(&vendors, ONE, "", LENIENT, limit).start();
    let told = world.ask(chat(false)).await;
    let policy = told.field("ratelimit-policy").unwrap().to_owned();
    assert_eq!(policy, "\"application\";q=9;w=3600, \"application-tokens\";q=7000;w=3600");
    world.record().await;
    let told = world.ask(chat(false)).await;
    let left = told.field("ratelimit").unwrap().split("\"application-tokens\";r=").nth(1).unwrap().to_owned();
    let left: u64 = left.split(';').next().unwrap().parse().unwrap();
    // The first one is settled; of the second one what it may use is taken.
    assert!((6900..6985).contains(&left), "{left}");
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn so_many_requests_run_at_once() {
    let vendors = Vendors::start().await;
    vendors.set("a", "slow 400");
    let limit = ", limit: { concurrent: 1 }";
    let world = setup_of(&vendors, ONE, "", LENIENT, limit).start();
    for stream in [false, true] {
        let (one, two) = tokio::join!(world.ask(chat(stream)), world.ask(chat(stream)));
        let mut both = [one.status(), two.status()];
        both.sort_unstable();
        assert_eq!(both, [200, 429]);
        let refused = if one.status() == 429 { one } else { two };
        assert!(refused.text().contains("as many requests running as it may have"), "{}", refused.text());
        assert_eq!(refused.field("retry-after"), Some("1"));
        let (first, second) = (world.record().await, world.record().await);
        assert_ne!(first.outcome, second.outcome);
    }
    assert_eq!(world.ask(chat(false)).await.status(), 200, "it is over, and its place is free");
    assert_eq!(vendors.asked(0).len(), 3);
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn who_leaves_gives_its_place_back() {
    let vendors = Vendors::start().await;
    vendors.set("a", "hang");
    let limit = ", limit: { concurrent: 1, tokens: 1000, per: 1h }";
    let world = setup_of(&vendors, ONE, "", LENIENT, limit).start();
    for _ in 0..3 {
        let left = tokio::time::timeout(std::time::Duration::from_millis(200), world.ask(chat(false))).await;
        assert!(left.is_err());
        world.outcome(R::CallerClosed).await;
    }
    vendors.set("a", "");
    assert_eq!(world.ask(chat(false)).await.status(), 200);
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn a_model_counts_the_calls_of_all() {
    let vendors = Vendors::start().await;
    let world = setup_of(&vendors, ONE, ", limit: { requests: 2, per: 1h }", LENIENT, "").start();
    assert_eq!(asked(&world, 3).await, [200, 200, 429]);
    let other = world.ask(chat(false)).await;
    assert!(other.text().contains("the model has used up its calls for this time"), "{}", other.text());
    world.outcome(R::RateLimited).await;
    world.done().await;
}

#[tokio::test]
async fn a_target_that_takes_no_more_is_passed_over() {
    let vendors = Vendors::start().await;
    let two = "[{ provider: a, model: real-a, limit: { requests: 2, per: 1h } }, { provider: b, model: real-b, priority: 1 }]";
    let world = setup_of(&vendors, two, "", LENIENT, "").start();
    for vendor in ["a", "a", "b", "b"] {
        assert_eq!(world.ask(chat(false)).await.text(), whole(vendor));
        let record = world.outcome(R::Served).await;
        assert_eq!((served_by(&record).0, tried(&record)), (vendor, vec![]), "nothing was tried in vain");
    }
    assert_eq!(vendors.asked(0), ["a", "a", "b", "b"]);
    world.done().await;
}

#[tokio::test]
async fn a_credential_that_takes_no_more_leaves_calls_to_the_next() {
    let vendors = Vendors::start().await;
    let pool = "[{ provider: a, model: m, credentials: [{ name: k1, weight: 1000, limit: { requests: 2, per: 1h } },
        { name: k2, limit: { concurrent: 1 } }] }]";
    let world = setup_of(&vendors, pool, "", LENIENT, "").start();
    assert_eq!(asked(&world, 4).await, [200; 4]);
    let with = |n: usize| vendors.upstream.requests()[n].field("authorization").unwrap().to_owned();
    let mut keys: Vec<String> = (0..4).map(with).collect();
    keys.sort();
    assert_eq!(keys.iter().filter(|key| key.contains("K1")).count(), 2, "{keys:?}");
    // Now the second one takes one at a time, and nothing of whose limits they are is told.
    vendors.set("a", "slow 300");
    let (one, two) = tokio::join!(world.ask(chat(false)), world.ask(chat(false)));
    let mut both = [one.status(), two.status()];
    both.sort_unstable();
    assert_eq!(both, [200, 429]);
    let refused = if one.status() == 429 { one } else { two };
    assert!(refused.text().contains("the providers of this model take no more calls at present"), "{}", refused.text());
    assert!(!refused.text().contains("k2") && refused.field("ratelimit").is_none());
    let _both = (world.record().await, world.record().await);
    world.done().await;
}

#[tokio::test]
async fn what_fails_uses_no_tokens() {
    let vendors = Vendors::start().await;
    let two =
        "[{ provider: a, model: real-a, limit: { tokens: 40, per: 1h } }, { provider: b, model: real-b, priority: 1 }]";
    let limit = ", limit: { tokens: 70, per: 1h }";
    let world = setup_of(&vendors, two, "", LENIENT, limit).start();
    vendors.set("a", "500");
    vendors.set("b", "500");
    assert_eq!(asked(&world, 5).await, [500; 5], "each gives back what it took");
    vendors.set("a", "");
    assert_eq!(asked(&world, 1).await, [200]);
    world.done().await;
}

#[tokio::test]
async fn a_stream_that_is_left_uses_what_came_of_it() {
    let vendors = Vendors::start().await;
    // It begins, and nothing follows.
    vendors.set("a", "stream hang");
    let world = setup_of(&vendors, ONE, "", LENIENT, ", limit: { tokens: 130, per: 1h }").start();
    for _ in 0..3 {
        let mut wire = world.connect().await;
        wire.send(chat(true)).await.unwrap();
        within(async {
            while wire.pending().is_empty() {
                assert!(wire.fill().await.unwrap() > 0);
            }
        })
        .await;
        drop(wire);
        world.outcome(R::CallerClosed).await;
    }
    // Its provider counted nothing of any: each has used its input at least.
    assert_eq!(world.ask(chat(false)).await.status(), 429);
    world.outcome(R::RateLimited).await;
    world.done().await;
}

#[tokio::test]
async fn a_credential_without_room_for_this_call_leaves_it_to_one_that_has() {
    let vendors = Vendors::start().await;
    let pool = "[{ provider: a, model: m, credentials: [{ name: k1, weight: 1000, limit: { tokens: 60, per: 1h } },
        { name: k2, limit: { tokens: 6000, per: 1h } }] }]";
    let world = setup_of(&vendors, pool, "", LENIENT, "").start();
    // Two calls of 15 tokens fit into the first one's 60 and leave 30; a longer one is for the second.
    assert_eq!(asked(&world, 2).await, [200, 200]);
    let long = chat(false).replace("hello", &"hello ".repeat(40));
    let (head, body) = long.split_once("\r\n\r\n").unwrap();
    let head = head.lines().filter(|line| !line.starts_with("content-length")).collect::<Vec<_>>().join("\r\n");
    let told = world.ask(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    assert_eq!(told.status(), 200, "{}", told.text());
    world.outcome(R::Served).await;
    let last = vendors.upstream.requests().last().unwrap().field("authorization").unwrap().to_owned();
    assert!(last.contains("K2"), "{last}");
    world.done().await;
}
