//! Which of a model's targets takes a call: what it costs, how soon they answer, what they can do, who may have it, and
//! who had its like before.

use crate::{
    fallback::{LENIENT, STRICT, Vendors, chat, served_by, setup_of, tried, whole, world_of},
    harness::*,
};
use credentialflow_gateway::{ports::Lender, preview::AskedCall};
use credentialflow_llm::{
    needs::{Capabilities, Fit, Needs},
    provider::Dialect,
};
use credentialflow_model::{
    OutcomeReason as R, UsageRecord,
    resource::{ModelCapability, RouteBy, budget::usd},
    usage::{Cost, TriedEnd},
};
use credentialflow_policy::Account;
use serde_json::{Value, json};
use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

fn prices(input: &str, output: &str) -> String {
    format!("prices: [{{ from: 2020-01-01T00:00:00Z, input: '{input}', output: '{output}' }}]")
}

/// A call with these further members, with another key or header.
fn call_with(more: Value, head: &str) -> String {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post("/v1/chat/completions", &format!("content-type: application/json\r\n{head}"), &body.to_string())
}

fn call(more: Value) -> String {
    call_with(more, "")
}

fn says(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

fn image() -> Value {
    let part = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}});
    json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "what is this?"}, part]}]})
}

fn of_key(key_name: &str) -> String {
    chat(false).replace(&key("k"), &key(key_name))
}

fn guardrails(record: &UsageRecord) -> Option<&str> {
    record.model.as_ref().and_then(|model| model.guardrails.as_deref())
}

#[tokio::test]
async fn the_cheapest_for_the_call_is_taken_and_the_next_one_after_it() {
    let targets = format!(
        "[{{ provider: x, model: m }}, {{ provider: a, model: reads, {} }}, {{ provider: b, model: writes, {} }}]",
        prices("1", "40"),
        prices("4", "10")
    );
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, &targets, ", route_by: cost", LENIENT).await;
    // Much to read and little to write, and the other way round.
    let reads = call(json!({"max_tokens": 10, "messages": [{"role": "user", "content": "word ".repeat(2000)}]}));
    for (call, expect) in [(&reads, "a"), (&chat(false), "b"), (&reads, "a")] {
        assert_eq!(world.ask(call).await.text(), whole(expect));
        world.served(1).await;
    }
    vendors.set("b", "503");
    assert_eq!(world.ask(chat(false)).await.text(), whole("a"));
    assert_eq!(tried(&world.outcome(R::Served).await), [("b", TriedEnd::Status(503))]);
    vendors.set("a", "503");
    assert_eq!(world.ask(chat(false)).await.text(), whole("x"), "what costs nobody knows what comes last");
    assert_eq!(tried(&world.outcome(R::Served).await).len(), 2);
    let told = world.gateway.preview("m", Dialect::OpenAi.into()).await.unwrap();
    let percents: Vec<f64> = told.targets.iter().map(|t| t.percent).collect();
    assert_eq!((told.route_by, percents), (RouteBy::Cost, vec![0.0, 0.0, 100.0]), "it writes more than it reads");
    world.done().await;
}

#[tokio::test]
async fn who_answers_soonest_is_asked_most_and_others_now_and_then() {
    for (slow, stream) in [("slow 150", false), ("slow 150", true), ("503", false)] {
        let vendors = Vendors::start().await;
        let targets = "[{ provider: a, model: m }, { provider: b, model: m }]";
        let world = world_of(&vendors, targets, ", route_by: latency", LENIENT).await;
        vendors.set("a", slow);
        for _ in 0..60 {
            assert_eq!(world.ask(chat(stream)).await.status(), 200);
        }
        world.served(60).await;
        let asked = vendors.asked(0).iter().filter(|one| *one == "a").count();
        assert!((1..=10).contains(&asked), "{slow}: asked {asked} times of 60");
        let told = world.gateway.preview("m", AskedCall { streams: stream, ..Dialect::OpenAi.into() }).await.unwrap();
        let [a, b] = &told.targets[..] else { panic!("two targets") };
        assert!(a.latency > b.latency && b.latency.is_some(), "{told:?}");
        assert_eq!((a.percent, b.percent), (2.5, 97.5));
        // It is well again and the other one is not: calls move over.
        vendors.set("a", "");
        vendors.set("b", "slow 250");
        let before = vendors.upstream.requests().len();
        let mut calls = 0;
        within(async {
            while slow != "503" && vendors.asked(before).iter().rev().take(5).filter(|one| *one == "a").count() < 5 {
                world.ask(chat(stream)).await;
                calls += 1;
            }
        })
        .await;
        world.served(calls).await;
        world.done().await;
    }
}

#[tokio::test]
async fn a_call_goes_to_who_can_do_what_it_needs() {
    let targets = "[{ provider: a, model: m, capabilities: [] }, { provider: b, model: m, capabilities: [vision], context: 4000 },
        { provider: x, model: m }, { provider: ant, model: m, priority: 1, capabilities: [tools, vision], context: 200 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", LENIENT).await;
    let tool = json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]});
    // By priority, of one priority known before unknown, and never one that cannot, also when all others fail.
    for (more, first) in [(image(), "b"), (tool, "x")] {
        let before = vendors.upstream.requests().len();
        for vendor in ["b", "ant", "x"] {
            vendors.set(vendor, "");
        }
        for _ in 0..4 {
            world.ask(call(more.clone())).await;
        }
        assert_eq!(vendors.asked(before), [first; 4], "{more}");
        for vendor in ["b", "ant", "x"] {
            vendors.set(vendor, "503");
        }
        let before = vendors.upstream.requests().len();
        assert_eq!(world.ask(call(more.clone())).await.status(), 503);
        let asked = vendors.asked(before);
        let expect: &[&str] = if first == "b" { &["b", "x", "ant"] } else { &["x", "ant"] };
        assert_eq!(asked, expect, "{more}");
        world.served(5).await;
    }
    // A text goes to all of the lowest priority.
    for vendor in ["b", "ant", "x"] {
        vendors.set(vendor, "");
    }
    let before = vendors.upstream.requests().len();
    for _ in 0..6 {
        world.ask(chat(false)).await;
    }
    world.served(6).await;
    let asked = vendors.asked(before);
    assert!(["a", "b", "x"].iter().all(|one| asked.iter().filter(|asked| asked == one).count() == 2), "{asked:?}");
    // What the dry run says of an image.
    let needs = Needs::new(Capabilities::of([ModelCapability::Vision]), 10);
    let asked = AskedCall { needs, ..Dialect::OpenAi.into() };
    let told = world.gateway.preview("m", asked).await.unwrap();
    let fits: Vec<(Fit, f64)> = told.targets.iter().map(|t| (t.fit, t.percent)).collect();
    assert_eq!(fits, [(Fit::Unfit, 0.0), (Fit::Known, 100.0), (Fit::Unknown, 0.0), (Fit::Known, 0.0)]);
    world.done().await;
}

#[tokio::test]
async fn what_nobody_can_do_is_refused_with_what_is_missing() {
    let targets = "[{ provider: a, model: m, capabilities: [tools], context: 1000 }, { provider: b, model: m, capabilities: [tools], context: 500 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, "", LENIENT).await;
    for (more, missing) in [(image(), "images in the prompt"), (json!({"reasoning_effort": "high"}), "thinking")] {
        let told = world.ask(call(more)).await;
        assert!(told.status() == 400 && told.text().contains(missing), "{missing}: {}", told.text());
        assert!(world.outcome(R::InvalidModelCall).await.model.is_none());
    }
    // A prompt that only one of them holds goes there.
    for _ in 0..3 {
        assert_eq!(world.ask(call(says(&"word ".repeat(900)))).await.text(), whole("a"));
    }
    world.served(3).await;
    assert_eq!(vendors.asked(0), ["a"; 3]);
    // One that seems too large for both is tried all the same: that is estimated.
    assert_eq!(world.ask(call(says(&"word ".repeat(4000)))).await.status(), 200);
    world.served(1).await;
    // The only target that says what it can is held to it as well.
    world.done().await;
    let world = world_of(&vendors, "[{ provider: a, model: m, capabilities: [] }]", "", LENIENT).await;
    assert_eq!(world.ask(call(image())).await.status(), 400);
    world.outcome(R::InvalidModelCall).await;
    assert_eq!(world.ask(chat(false)).await.status(), 200);
    world.served(1).await;
    world.done().await;
}

#[tokio::test]
async fn what_a_guardrail_finds_goes_to_internal_targets_only() {
    let targets =
        "[{ provider: a, model: m }, { provider: b, model: m, priority: 1, internal: true, capabilities: [] },
        { provider: x, model: m, priority: 2, internal: true, capabilities: [tools] }]";
    let rules = ", guardrails: [{ detect: personal_data, action: route, kinds: [email] }, { detect: words, action: route, words: [falcon] }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, rules, LENIENT).await;
    let personal = call(says("write to anna@example.com"));
    assert_eq!(world.ask(chat(false)).await.text(), whole("a"), "nothing is found");
    assert_eq!(guardrails(&world.outcome(R::Served).await), None);
    assert_eq!(world.ask(&personal).await.text(), whole("b"));
    let record = world.outcome(R::Served).await;
    assert_eq!((guardrails(&record), served_by(&record).0), (Some("personal_data/route"), "b"));
    assert_eq!(world.ask(call(says("the falcon flies"))).await.text(), whole("b"));
    world.served(1).await;
    // The next internal one, and nobody else, however they fail.
    vendors.set("b", "503");
    assert_eq!(world.ask(&personal).await.text(), whole("x"));
    assert_eq!(tried(&world.outcome(R::Served).await), [("b", TriedEnd::Status(503))]);
    for how in ["503", "drop"] {
        vendors.set("b", how);
        vendors.set("x", how);
        let told = world.ask(&personal).await;
        assert!([502, 503].contains(&told.status()), "{}", told.text());
        world.record().await;
    }
    // Who may have it and cannot do it is nobody.
    let mut both = image();
    both["messages"][0]["content"][0]["text"] = "of anna@example.com".into();
    let told = world.ask(call(both)).await;
    assert!(told.status() == 400 && told.text().contains("images in the prompt"), "{}", told.text());
    let record = world.outcome(R::PromptBlocked).await;
    assert_eq!(guardrails(&record), Some("personal_data/route"));
    assert!(!told.text().contains("anna"), "what was found is not told");
    let asked = vendors.asked(0);
    assert_eq!(asked.iter().filter(|one| *one == "a").count(), 1, "{asked:?}");
    let found = AskedCall { internal: true, ..Dialect::OpenAi.into() };
    let told = world.gateway.preview("m", found).await.unwrap();
    assert_eq!(
        told.targets.iter().map(|t| (t.admitted, t.percent)).collect::<Vec<_>>(),
        [(false, 0.0), (true, 100.0), (true, 0.0)]
    );
    world.done().await;
}

#[tokio::test]
async fn what_no_guardrail_can_look_at_goes_to_internal_targets_only() {
    let targets = "[{ provider: a, model: m }, { provider: b, model: m, priority: 1, internal: true }]";
    let route = ", guardrails: [{ detect: words, action: flag, words: [brief] }, { detect: words, action: route, words: [falcon] }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, route, LENIENT).await;
    let file = |file: Value| json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "be brief"}, {"type": "file", "file": file}]}]});
    let data = |data: &str| call(file(json!({ "file_data": data })));
    for (call, served, found) in [
        (call(image()), "b", Some("words.unseen/route")),
        (data("data:application/pdf;base64,AAAA"), "b", Some("words/flag words.unseen/route")),
        // What is a text is looked at.
        (data("data:text/plain;base64,cXVpZXQ="), "a", Some("words/flag")),
        (data("data:text/plain;base64,ZmFsY29u"), "b", Some("words/flag words/route")),
        (chat(false), "a", None),
    ] {
        assert_eq!(world.ask(&call).await.text(), whole(served), "{call}");
        assert_eq!(guardrails(&world.outcome(R::Served).await), found);
    }
    // And nobody else, however they fail.
    vendors.set("b", "503");
    let before = vendors.upstream.requests().len();
    assert_eq!(world.ask(call(image())).await.status(), 503);
    assert_eq!(vendors.asked(before), ["b"]);
    world.record().await;
    world.done().await;
    // Who may have it and cannot do it is nobody.
    let world =
        world_of(&vendors, &targets.replace("internal: true", "internal: true, capabilities: []"), route, LENIENT)
            .await;
    let told = world.ask(call(image())).await;
    assert_eq!(told.status(), 400);
    assert!(
        told.text().contains("images, sound or files") && told.text().contains("images in the prompt"),
        "{}",
        told.text()
    );
    world.outcome(R::PromptBlocked).await;
    world.done().await;
    // Rules that send nothing inside, or only for how long it is, send no image there.
    for rules in
        ["{ detect: words, action: flag, words: [x] }", "{ detect: size, action: route, most_characters: 9000 }"]
    {
        let world = world_of(&vendors, targets, &format!(", guardrails: [{rules}]"), LENIENT).await;
        assert_eq!(world.ask(call(image())).await.text(), whole("a"), "{rules}");
        world.served(1).await;
        world.done().await;
    }
}

#[tokio::test]
async fn what_goes_on_goes_where_it_was() {
    let targets = "[{ provider: a, model: m, credentials: [{ name: k1 }, { name: k2 }] }, { provider: b, model: m }, { provider: x, model: m }]";
    let talk = |n: usize, turns: usize| {
        let mut messages = vec![
            json!({"role": "system", "content": "be brief"}),
            json!({"role": "user", "content": format!("question {n}")}),
        ];
        for turn in 0..turns {
            messages.push(json!({"role": "assistant", "content": format!("answer {turn}")}));
            messages.push(json!({"role": "user", "content": format!("and {turn}?")}));
        }
        json!({"messages": messages})
    };
    type Said = Box<dyn Fn(usize, usize) -> String>;
    let by: [(&str, Said); 3] = [
        ("{ by: conversation }", Box::new(move |n, turns| call(talk(n, turns)))),
        ("{ by: user }", Box::new(|n, _| call(json!({"user": format!("user {n}")})))),
        (
            "{ by: header, header: X-Session }",
            Box::new(|n, _| call_with(json!({}), &format!("x-session: session {n}\r\n"))),
        ),
    ];
    for (sticky, said) in by {
        let vendors = Vendors::start().await;
        let world = world_of(&vendors, targets, &format!(", sticky: {sticky}"), STRICT).await;
        let served = async |n: usize, turns: usize| {
            assert_eq!(world.ask(said(n, turns)).await.status(), 200);
            let record = world.outcome(R::Served).await;
            (served_by(&record).0.to_owned(), record.credential.map(|used| used.credential.to_string()))
        };
        let mut places = BTreeMap::new();
        for n in 0..24 {
            let first = served(n, 0).await;
            for turns in 1..3 {
                assert_eq!(served(n, turns).await, first, "{sticky} {n}");
            }
            places.insert(n, first);
        }
        let at = |vendor: &str| places.values().filter(|(at, _)| at == vendor).count();
        assert!(["a", "b", "x"].iter().all(|vendor| at(vendor) > 1), "{sticky}: {places:?}");
        let keys: Vec<_> = places.values().filter(|(at, _)| at == "a").map(|(_, key)| key.clone()).collect();
        assert!(keys.iter().any(|key| *key != keys[0]), "the pool is shared out too: {keys:?}");
        // One is down: its own go elsewhere, each to one place, and all others stay.
        vendors.set("b", "503 3600");
        for (n, before) in &places {
            let now = served(*n, 1).await;
            assert!(now.0 != "b" && (before.0 == "b" || now == *before), "{sticky} {n}: {before:?} {now:?}");
            assert_eq!(served(*n, 2).await, now);
        }
        world.done().await;
    }
    // And by key.
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, ", sticky: { by: key }", LENIENT).await;
    for name in ["k", "k2", "k3"] {
        let before = vendors.upstream.requests().len();
        for _ in 0..5 {
            world.ask(of_key(name)).await;
        }
        let asked = vendors.asked(before);
        assert!(asked.iter().all(|one| *one == asked[0]), "{name}: {asked:?}");
    }
    world.served(15).await;
    world.done().await;
}

/// Lends whatever is asked for.
struct Generous;

impl Lender for Generous {
    fn borrow(&self, account: &Arc<Account>, amount: i64) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        account.want(amount);
        account.lend(account.wanted().0, 0);
        Box::pin(std::future::ready(true))
    }
    fn running_low(&self) {}
}

#[tokio::test]
async fn what_a_budget_cannot_pay_for_at_one_target_it_may_at_the_next() {
    let targets = format!(
        "[{{ provider: a, model: m, {} }}, {{ provider: x, model: m, priority: 1 }}, {{ provider: b, model: m, priority: 2, {} }}]",
        prices("100", "100000"),
        prices("0.1", "0.1")
    );
    let vendors = Vendors::start().await;
    let budget = ", budget: { usd: 1, per: month, hard: true }";
    let start = |targets: &str| {
        let mut setup = setup_of(&vendors, targets, "", LENIENT, budget);
        setup.lender = Arc::new(Generous);
        setup.start()
    };
    let world = start(&targets);
    assert_eq!(world.ask(chat(false)).await.text(), whole("b"));
    let record = world.outcome(R::Served).await;
    let ends = [("a", TriedEnd::Outcome(R::BudgetExceeded)), ("x", TriedEnd::Outcome(R::PriceUnknown))];
    assert_eq!((tried(&record), record.attempts), (ends.to_vec(), 1));
    assert_eq!(vendors.asked(0), ["b"]);
    // Nothing is said against a target that is too dear: it is asked again by who can pay.
    assert_eq!(world.ask(of_key("k3")).await.text(), whole("a"));
    world.served(1).await;
    let account = world.book.live()[0].account(std::time::SystemTime::now().into());
    assert_eq!(account.held(), 0);
    world.done().await;
    // Where none can be paid, the call ends.
    let world = start(&format!(
        "[{{ provider: a, model: m, {0} }}, {{ provider: b, model: m, {0} }}]",
        prices("100", "100000")
    ));
    assert_eq!(world.ask(chat(false)).await.status(), 429);
    assert_eq!(tried(&world.outcome(R::BudgetExceeded).await).len(), 1);
    world.done().await;
}

#[tokio::test]
async fn bodies_are_let_go_once_the_answer_has_begun() {
    let vendors = Vendors::start().await;
    let targets = "[{ provider: a, model: m }, { provider: b, model: m, priority: 1 }]";
    let world = world_of(&vendors, targets, "", LENIENT).await;
    vendors.set("b", "stream hang");
    vendors.set("a", "503");
    let mut more = says(&"word ".repeat(50_000));
    more["stream"] = true.into();
    let mut wire = world.connect().await;
    wire.send(call(more)).await.unwrap();
    within(async {
        while vendors.upstream.requests().len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    until(|| world.gateway.memory().0 < 50_000).await;
    assert_eq!(world.gateway.load().1, 1, "it still runs");
    drop(wire);
    world.record().await;
    world.done().await;
}

#[tokio::test]
async fn what_one_application_s_calls_provoke_takes_a_target_away_from_no_other() {
    let targets = "[{ provider: a, model: m }, { provider: b, model: m, priority: 1 }]";
    for how in ["429 3600", "503"] {
        let vendors = Vendors::start().await;
        let world = world_of(&vendors, targets, "", STRICT).await;
        vendors.set("a", how);
        assert_eq!(world.ask(chat(false)).await.text(), whole("b"));
        let before = vendors.upstream.requests().len();
        vendors.set("a", "");
        for (name, expect) in [("k", "b"), ("k2", "b"), ("k3", "a"), ("k", "b")] {
            assert_eq!(world.ask(of_key(name)).await.text(), whole(expect), "{how} {name}");
        }
        assert_eq!(vendors.asked(before), ["b", "b", "a", "b"]);
        let told = world.gateway.preview("m", Dialect::OpenAi.into()).await.unwrap();
        assert_eq!(told.targets[0].rest.as_ref().unwrap().whose.as_deref(), Some("app"));
        // Where others fail as well it is left alone by everybody.
        vendors.set("a", how);
        assert_eq!(world.ask(of_key("k3")).await.text(), whole("b"));
        vendors.set("a", "");
        assert_eq!(world.ask(of_key("k3")).await.text(), whole("b"));
        let told = world.gateway.preview("m", Dialect::OpenAi.into()).await.unwrap();
        assert_eq!(told.targets[0].rest.as_ref().unwrap().whose, None);
        world.served(7).await;
        // Both are left alone: the one whose failure is longest ago serves, and is well again.
        vendors.set("b", "429 3600");
        world.ask(chat(false)).await;
        vendors.set("b", "");
        assert_eq!(world.ask(chat(false)).await.text(), whole("a"));
        world.served(2).await;
        world.done().await;
    }
}

const HEDGED: &str = ", hedge: { after: 200ms }";

#[tokio::test]
async fn where_the_first_takes_long_the_one_that_begins_first_answers() {
    let targets = "[{ provider: a, model: m }, { provider: b, model: m, priority: 1 }]";
    for stream in [false, true] {
        let vendors = Vendors::start().await;
        let world = world_of(&vendors, targets, HEDGED, LENIENT).await;
        // In time nobody else is asked, and a failure before that is a failure as ever.
        assert!(world.ask(chat(stream)).await.text().contains("hi from a"));
        assert_eq!(tried(&world.outcome(R::Served).await), []);
        vendors.set("a", "503");
        assert!(world.ask(chat(stream)).await.text().contains("hi from b"));
        assert_eq!(tried(&world.outcome(R::Served).await), [("a", TriedEnd::Status(503))]);
        assert_eq!(vendors.asked(0), ["a", "a", "b"]);
        // The first hangs, with and without the head of a stream: the second serves.
        for how in ["hang", "stream hang", "slow 30000"] {
            vendors.set("a", how);
            let told = world.ask(chat(stream)).await;
            assert!(told.status() == 200 && told.text().contains("hi from b"), "{how}: {}", told.text());
            let record = world.outcome(R::Served).await;
            assert_eq!(
                (served_by(&record), tried(&record)),
                (("b", "m", 2), vec![("a", TriedEnd::Overtaken)]),
                "{how}"
            );
            let used = record.credential.as_ref().unwrap();
            assert_eq!((&*used.credential, record.upstream_status, record.upstream.as_deref()), ("d", 200, Some("b")));
            assert_eq!(record.model.as_ref().unwrap().tokens.map(|t| (t.input, t.output)), Some((10, 5)));
        }
        // The second is slower than the first: the first serves.
        vendors.set("a", "slow 700");
        vendors.set("b", "slow 30000");
        assert!(world.ask(chat(stream)).await.text().contains("hi from a"));
        let record = world.outcome(R::Served).await;
        assert_eq!((served_by(&record).0, tried(&record)), ("a", vec![("b", TriedEnd::Overtaken)]));
        // One fails: the other is waited for.
        for (a, b, serves, fails) in [("slow 900", "503", "a", "b"), ("slow-503 500", "slow 700", "b", "a")] {
            vendors.set("a", a);
            vendors.set("b", b);
            assert!(world.ask(chat(stream)).await.text().contains(&format!("hi from {serves}")), "{a} {b}");
            assert_eq!(tried(&world.outcome(R::Served).await), [(fails, TriedEnd::Status(503))], "{a} {b}");
        }
        world.done().await;
    }
}

#[tokio::test]
async fn who_cannot_even_be_connected_to_is_not_the_fastest() {
    let vendors = Vendors::start().await;
    // It takes connections and never says a word of TLS.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let targets = "[{ provider: away, model: m }, { provider: b, model: m }]";
    let mut setup = setup_of(&vendors, targets, &format!("{HEDGED}, route_by: latency"), LENIENT, "");
    let away = format!("https://{}", silent.local_addr().unwrap());
    setup.yaml = setup.yaml.replace("http://127.0.0.1:1", &away);
    let world = setup.start();
    let mut overtaken = 0;
    for _ in 0..30 {
        assert_eq!(world.ask(chat(false)).await.text(), whole("b"));
        let record = world.outcome(R::Served).await;
        overtaken += usize::from(tried(&record) == [("away", TriedEnd::Overtaken)]);
    }
    assert!((1..=8).contains(&overtaken), "asked {overtaken} times of 30");
    let told = world.gateway.preview("m", AskedCall::from(Dialect::OpenAi)).await.unwrap();
    let [away, b] = &told.targets[..] else { panic!("two targets") };
    assert!(away.latency > Some(std::time::Duration::from_secs(1)) && b.latency < away.latency, "{told:?}");
    assert_eq!((away.percent, b.percent), (2.5, 97.5));
    world.done().await;
}

#[tokio::test]
async fn a_hedged_call_that_fails_twice_goes_on_behind_both_and_nobody_is_asked_twice() {
    let targets = "[{ provider: a, model: m }, { provider: a, model: again, priority: 1 }, { provider: b, model: m, priority: 2 }, { provider: x, model: m, priority: 3 }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, HEDGED, LENIENT).await;
    vendors.set("a", "slow-503 500");
    vendors.set("b", "slow-503 700");
    assert_eq!(world.ask(chat(false)).await.text(), whole("x"));
    let record = world.outcome(R::Served).await;
    assert_eq!(tried(&record), [("a", TriedEnd::Status(503)), ("b", TriedEnd::Status(503))]);
    assert_eq!((vendors.asked(0), record.attempts), (vec!["a".to_owned(), "b".to_owned(), "x".to_owned()], 3));
    // Without anybody at another place the first is waited for.
    drop(world);
    let world =
        world_of(&vendors, "[{ provider: a, model: m }, { provider: a, model: again, priority: 1 }]", HEDGED, LENIENT)
            .await;
    vendors.set("a", "slow 600");
    assert_eq!(world.ask(chat(false)).await.text(), whole("a"));
    assert_eq!(tried(&world.outcome(R::Served).await), []);
    world.done().await;
}

#[tokio::test]
async fn a_caller_that_leaves_a_hedged_call_ends_both_tries_and_both_are_charged() {
    const MICRO: i64 = 1_000_000;
    let vendors = Vendors::start().await;
    let cost = prices("1", "10");
    let targets = format!("[{{ provider: a, model: m, {cost} }}, {{ provider: b, model: m, priority: 1, {cost} }}]");
    let world = setup_of(&vendors, &targets, HEDGED, LENIENT, ", budget: { usd: 5, per: month }").start();
    let account = world.book.live()[0].account(std::time::SystemTime::now().into());
    vendors.set("a", "hang");
    let call = call(json!({"max_tokens": 20}));
    // The second serves: what it cost, and the estimate of the one that was cut off.
    assert_eq!(world.ask(&call).await.text(), whole("b"));
    let record = world.outcome(R::Served).await;
    let most = (record.bytes_in as i64 + 200) * MICRO;
    assert_eq!(record.model.as_ref().unwrap().cost, Some(Cost::Estimated(usd(most + 60 * MICRO))));
    assert_eq!((account.free(), account.held()), (-most - 60 * MICRO, 0));
    // The caller leaves while both are asked.
    vendors.set("b", "hang");
    let before = vendors.upstream.requests().len();
    let mut wire = world.connect().await;
    wire.send(&call).await.unwrap();
    until(|| vendors.upstream.requests().len() == before + 2).await;
    assert_eq!(account.held(), 2 * most, "both are reserved");
    drop(wire);
    let record = world.outcome(R::CallerClosed).await;
    assert_eq!(record.model.as_ref().unwrap().cost, Some(Cost::Estimated(usd(2 * most))));
    assert_eq!((account.free(), account.held()), (-3 * most - 60 * MICRO, 0));
    assert_eq!(tried(&record), [("b", TriedEnd::Overtaken)]);
    world.done().await;
}
