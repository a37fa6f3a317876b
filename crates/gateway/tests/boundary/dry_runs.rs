//! What is said of a call that nobody makes is what becomes of it when somebody does; and asking leaves no trace.

use crate::{fallback::*, harness::*};
use credentialflow_gateway::dry_run::{CannotAsk, DryRun, WholeCall};
use credentialflow_llm::{provider::Dialect, task::Task};
use credentialflow_model::{OutcomeReason as R, usage::TriedEnd};
use serde_json::{Value, json};

fn body(more: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Of application `app`, in Chat Completions.
fn whole(body: &Value) -> WholeCall {
    WholeCall {
        speaks: Dialect::OpenAi,
        task: Task::Chat,
        streams: false,
        body: body.to_string().into_bytes(),
        headers: Vec::new(),
        application: Some("app".into()),
        key: None,
        user: None,
    }
}

async fn told(world: &World, call: WholeCall) -> DryRun {
    world.gateway.dry_run("m", call).await.unwrap().unwrap()
}

fn percents(told: &DryRun) -> Vec<f64> {
    told.route.as_ref().unwrap().targets.iter().map(|target| target.percent).collect()
}

fn refused(told: &DryRun) -> Option<(R, &str)> {
    told.decision.refused.as_ref().map(|refused| (refused.reason, refused.detail.as_deref().unwrap_or_default()))
}

const TWO: &str = "[{ provider: a, model: m }, { provider: b, model: m, priority: 1, internal: true }]";
const PERSONAL: &str = "Write to anna.smith@example.com, please.";

#[tokio::test]
async fn guardrails_are_judged_and_nobody_is_asked() {
    let vendors = Vendors::start().await;
    let rules =
        ", guardrails: [{ detect: personal_data, action: route }, { detect: words, words: [forbidden], action: block },
        { detect: webhook, upstream: a, path: /judge, action: block }]";
    let world = world_of(&vendors, TWO, rules, STRICT).await;
    let run = told(&world, whole(&body(json!({})))).await;
    assert_eq!((refused(&run), percents(&run), &run.decision.found), (None, vec![100.0, 0.0], &None));
    assert_eq!(run.decision.asks, ["webhook"]);
    let run = told(&world, whole(&body(json!({"messages": [{"role": "user", "content": PERSONAL}]})))).await;
    assert_eq!((refused(&run), percents(&run), run.decision.internal), (None, vec![0.0, 100.0], true));
    assert_eq!(run.decision.found.as_deref(), Some("personal_data/route"));
    assert!(!format!("{run:?}").contains("anna"), "what was found is not told");
    let run = told(&world, whole(&body(json!({"messages": [{"role": "user", "content": "forbidden"}]})))).await;
    assert_eq!(refused(&run), Some((R::PromptBlocked, "it holds a word that is not allowed")));
    assert_eq!((run.decision.found.as_deref(), run.route), (Some("words/block"), None));
    assert!(vendors.upstream.requests().is_empty());
    world.done().await;
}

#[tokio::test]
async fn what_the_caller_may_is_looked_at() {
    let vendors = Vendors::start().await;
    let mut setup = setup_of(&vendors, TWO, "", STRICT, "");
    setup.yaml = setup
        .yaml
        .replace("  - { name: other, allow: { models: [m] } }", "  - { name: other, allow: { models: [] } }")
        .replace("{ name: k2, application: app }", "{ name: k2, application: app, allow: { models: [] } }")
        .replace("models:\n", "models:\n  - { name: n, targets: [{ provider: a, model: m }] }\n");
    let world = setup.start();
    let call = || whole(&body(json!({})));
    assert_eq!(refused(&told(&world, call()).await), None);
    assert_eq!(refused(&told(&world, WholeCall { application: None, ..call() }).await), None);
    let of_key = |name| WholeCall { application: None, key: Some(key_id(name)), ..call() };
    assert_eq!(refused(&told(&world, of_key("k")).await), None);
    for narrow in [of_key("k2"), WholeCall { application: Some("other".into()), ..call() }] {
        assert_eq!(refused(&told(&world, narrow).await).unwrap().0, R::ModelNotFound);
    }
    let cannot = async |call| world.gateway.dry_run("m", call).await.err();
    assert_eq!(cannot(WholeCall { application: Some("nobody".into()), ..call() }).await, Some(CannotAsk::Caller));
    assert_eq!(cannot(of_key("nobody")).await, Some(CannotAsk::Caller));
    let others = WholeCall { application: Some("other".into()), ..of_key("k") };
    assert_eq!(cannot(others).await, Some(CannotAsk::Caller), "that is no key of it");
    assert_eq!(cannot(whole(&body(json!({"model": "n"})))).await, Some(CannotAsk::Names("n".into())));
    assert_eq!(cannot(WholeCall { task: Task::Transcriptions, ..call() }).await, Some(CannotAsk::Form));
    for (name, value) in [("x-a", "b\r\nx: y"), ("x a", "b"), ("content-length", "7")] {
        let call = WholeCall { headers: vec![(name.into(), value.into())], ..call() };
        let told = cannot(call).await;
        assert!(told == Some(CannotAsk::Headers) || (name == "content-length" && told.is_none()), "{name}: {told:?}");
    }
    assert_eq!(world.gateway.dry_run("nothing", call()).await.err(), Some(CannotAsk::Model));
    // What no model reads is refused as a call is.
    let run = told(&world, WholeCall { body: b"[1]".to_vec(), ..call() }).await;
    assert_eq!(refused(&run).unwrap().0, R::InvalidModelCall);
    let secret = json!({"messages": [{"role": "user", "content": format!("use {}", key("k3"))}]});
    assert_eq!(refused(&told(&world, whole(&body(secret))).await).unwrap().0, R::SecretInRequest);
    assert!(world.sent.0.lock().unwrap().is_empty(), "nothing was sent, so nothing has leaked");
    world.done().await;
}

#[tokio::test]
async fn a_target_that_no_budget_can_pay_for_is_passed_over_as_it_is_by_a_call() {
    let prices = |output: &str| format!("prices: [{{ from: 2020-01-01T00:00:00Z, input: '1', output: '{output}' }}]");
    let targets = format!(
        "[{{ provider: a, model: m, {} }}, {{ provider: b, model: m, priority: 1, {} }}]",
        prices("10"),
        prices("0.01")
    );
    let vendors = Vendors::start().await;
    let budget = ", budget: { usd: \"0.01\", per: month, hard: true }";
    let world = setup_of(&vendors, &targets, "", STRICT, budget).start();
    let short = body(json!({"max_tokens": 20}));
    let run = told(&world, whole(&short)).await;
    assert_eq!((refused(&run), percents(&run)), (None, vec![100.0, 0.0]));
    let most = run.decision.targets[0].most.unwrap();
    // A token for each byte that is sent, at a dollar a million, and twenty of the answer.
    let sent = short.to_string().len() as i64;
    assert!((sent..sent + 40).contains(&(most / 1_000_000 - 200)), "{most} of {sent}");
    // As long an answer as it likes: that costs too much at the first.
    let run = told(&world, whole(&body(json!({})))).await;
    assert_eq!((refused(&run), percents(&run)), (None, vec![0.0, 100.0]));
    let why = run.decision.targets[0].refused.as_ref().unwrap();
    assert_eq!(why.reason, R::BudgetExceeded);
    assert!(why.detail.as_ref().unwrap().contains("the application's budget for this month cannot pay"), "{why:?}");
    // And without a caller nobody's budget does.
    let run = told(&world, WholeCall { application: None, ..whole(&body(json!({}))) }).await;
    assert_eq!(percents(&run), [100.0, 0.0]);
    // Nowhere.
    let run = told(&world, whole(&body(json!({"max_tokens": 2_000_000_000})))).await;
    assert_eq!(refused(&run).unwrap().0, R::BudgetExceeded);
    assert_eq!(world.book.live()[0].account(std::time::SystemTime::now().into()).held(), 0);
    world.done().await;
}

#[tokio::test]
async fn limits_without_room_are_told_and_asking_uses_nothing_of_them() {
    let vendors = Vendors::start().await;
    let targets =
        "[{ provider: a, model: m, limit: { requests: 1, per: 1h } }, { provider: b, model: m, priority: 1 }]";
    let mut setup = setup_of(&vendors, targets, "", STRICT, ", limit: { requests: 2, per: 1h }");
    setup.workers = 1;
    let world = setup.start();
    let call = || whole(&body(json!({})));
    for _ in 0..4 {
        let run = told(&world, call()).await;
        assert_eq!((refused(&run), percents(&run)), (None, vec![100.0, 0.0]));
    }
    assert!(world.ask(chat(false)).await.text().contains("hi from a"));
    let run = told(&world, call()).await;
    assert_eq!((refused(&run), percents(&run)), (None, vec![0.0, 100.0]));
    assert!(!run.route.as_ref().unwrap().targets[0].room);
    assert!(world.ask(chat(false)).await.text().contains("hi from b"));
    let run = told(&world, call()).await;
    assert_eq!(refused(&run).unwrap().0, R::RateLimited);
    assert_eq!(world.ask(chat(false)).await.status(), 429);
    world.served(2).await;
    world.outcome(R::RateLimited).await;
    world.done().await;
}

#[tokio::test]
async fn calls_go_where_it_was_said_that_they_go() {
    let targets = "[{ provider: a, model: m }, { provider: b, model: m }, { provider: x, model: m }]";
    let vendors = Vendors::start().await;
    let world = world_of(&vendors, targets, ", sticky: { by: conversation }", STRICT).await;
    let mut met = std::collections::BTreeSet::new();
    for n in 0..8 {
        let body = body(json!({"messages": [{"role": "user", "content": format!("about {n}")}]}));
        let run = told(&world, whole(&body)).await;
        assert!(run.decision.sticky);
        let route = run.route.as_ref().unwrap();
        let expect = route.targets.iter().find(|target| target.percent == 100.0).unwrap();
        let answer = world.ask(post("/v1/chat/completions", "", &body.to_string())).await.text();
        assert!(answer.contains(&format!("hi from {}", expect.provider)), "{n}: {answer}");
        met.insert(expect.provider.clone());
        world.served(1).await;
    }
    assert!(met.len() > 1);
    // What is left alone for one application alone is there for others.
    vendors.set("a", "500");
    vendors.set("b", "500");
    for n in 0..8 {
        let body = body(json!({"messages": [{"role": "user", "content": format!("about {n}")}]}));
        world.ask(post("/v1/chat/completions", "", &body.to_string())).await;
        world.served(1).await;
    }
    let talk = body(json!({}));
    assert_eq!(percents(&told(&world, whole(&talk)).await), [0.0, 0.0, 100.0]);
    let others: Vec<_> = (0..8)
        .map(|n| body(json!({"messages": [{"role": "user", "content": format!("about {n}")}]})))
        .map(|body| WholeCall { application: Some("other".into()), ..whole(&body) })
        .collect();
    let mut elsewhere = false;
    for call in others {
        elsewhere |= percents(&told(&world, call).await)[2] == 0.0;
    }
    assert!(elsewhere);
    world.done().await;
}

#[tokio::test]
async fn a_budget_that_is_used_up_has_another_model_serve_and_every_dialect_is_read() {
    let prices = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }]";
    let vendors = Vendors::start().await;
    let budget = ", budget: { usd: \"0.00005\", per: month, when_used_up: { model: small } }";
    let targets = format!("[{{ provider: a, model: m, {prices} }}]");
    let mut setup = setup_of(&vendors, &targets, "", STRICT, budget);
    setup.yaml = setup
        .yaml
        .replace("allow: { models: [m] }, budget", "allow: { models: [m, small] }, budget")
        .replace("models:\n  - {", "models:\n  - { name: small, targets: [{ provider: b, model: m }] }\n  - {");
    let world = setup.start();
    assert_eq!(&*told(&world, whole(&body(json!({})))).await.decision.serves, "m");
    let account = world.book.live()[0].account(std::time::SystemTime::now().into());
    account.tell_standing(credentialflow_policy::budget::Standing { percent: 120, warns: true });
    let run = told(&world, whole(&body(json!({})))).await;
    assert_eq!((&*run.decision.serves, percents(&run)), ("small", vec![100.0]));
    let messages =
        json!({"model": "m", "max_tokens": 5, "stream": true, "messages": [{"role": "user", "content": "hello"}]});
    let run = told(&world, WholeCall { speaks: Dialect::Anthropic, ..whole(&messages) }).await;
    assert!(refused(&run).is_none() && run.decision.streams, "{run:?}");
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]});
    let run = told(&world, WholeCall { speaks: Dialect::Gemini, streams: true, ..whole(&gemini) }).await;
    assert!(refused(&run).is_none() && run.decision.streams, "{run:?}");
    let responses = json!({"model": "m", "input": "hello"});
    assert_eq!(refused(&told(&world, WholeCall { speaks: Dialect::Responses, ..whole(&responses) }).await), None);
    let embeddings = json!({"model": "m", "input": "hello"});
    assert_eq!(refused(&told(&world, WholeCall { task: Task::Embeddings, ..whole(&embeddings) }).await), None);
    world.done().await;
}

/// A setup whose provider `a` has a budget, at prices that tell what calls cost.
fn with_budget_at_a(vendors: &Vendors, budget: &str, more: &str) -> Setup {
    let prices = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }]";
    let targets =
        format!("[{{ provider: a, model: m, {prices} }}, {{ provider: b, model: m, priority: 1, {prices} }}]");
    let mut setup = setup_of(vendors, &targets, more, STRICT, "");
    setup.yaml = setup.yaml.replace("{ name: a, ", &format!("{{ name: a, budget: {{ {budget} }}, "));
    setup
}

#[tokio::test]
async fn a_provider_whose_budget_is_used_up_is_passed_over_as_long_as_another_serves() {
    let vendors = Vendors::start().await;
    let budget = "usd: 5, per: month, when_used_up: { next_target: true }";
    let world = with_budget_at_a(&vendors, budget, "").start();
    let run = async || told(&world, whole(&body(json!({})))).await;
    let used_up = |run: &DryRun| run.route.as_ref().unwrap().targets.iter().map(|t| t.used_up).collect::<Vec<_>>();
    let ask = async |vendor: &str| {
        let answer = world.ask(chat(false)).await;
        assert!(answer.text().contains(&format!("hi from {vendor}")), "{}", answer.text());
        world.outcome(R::Served).await
    };
    let first = run().await;
    assert_eq!((percents(&first), used_up(&first)), (vec![100.0, 0.0], vec![false, false]));
    ask("a").await;
    let account = world.book.live()[0].account(std::time::SystemTime::now().into());
    let tell = |percent| account.tell_standing(credentialflow_policy::Standing { percent, warns: true });
    tell(99);
    ask("a").await;
    tell(100);
    let then = run().await;
    assert_eq!((refused(&then), percents(&then), used_up(&then)), (None, vec![0.0, 100.0], vec![true, false]));
    assert!(tried(&ask("b").await).is_empty(), "nothing was tried in vain");
    // The other one fails, so it serves all the same; and while that one is left alone it comes first.
    vendors.set("b", "500");
    assert_eq!(tried(&ask("a").await), [("b", TriedEnd::Status(500))]);
    assert!(tried(&ask("a").await).is_empty());
    assert_eq!(percents(&run().await), [100.0, 0.0]);
    world.done().await;
}

#[tokio::test]
async fn a_provider_whose_hard_budget_is_used_up_leaves_calls_to_the_next() {
    let vendors = Vendors::start().await;
    let world = with_budget_at_a(&vendors, "usd: \"0.00001\", per: month, hard: true", "").start();
    let run = told(&world, whole(&body(json!({"max_tokens": 20})))).await;
    assert_eq!((refused(&run), percents(&run)), (None, vec![0.0, 100.0]));
    let why = run.decision.targets[0].refused.as_ref().unwrap();
    assert!(why.detail.as_ref().unwrap().contains("the provider's budget for this month cannot pay"), "{why:?}");
    let answer = world.ask(chat(false)).await;
    assert!(answer.text().contains("hi from b"), "{}", answer.text());
    assert_eq!(tried(&world.outcome(R::Served).await), [("a", TriedEnd::Outcome(R::BudgetExceeded))]);
    world.done().await;
}

#[tokio::test]
async fn nobody_whose_budget_is_used_up_is_asked_beside_another() {
    let vendors = Vendors::start().await;
    vendors.set("b", "slow 400");
    let budget = "usd: 5, per: month, when_used_up: { next_target: true }";
    let world = with_budget_at_a(&vendors, budget, ", hedge: { after: 100ms }").start();
    let account = world.book.live()[0].account(std::time::SystemTime::now().into());
    account.tell_standing(credentialflow_policy::Standing { percent: 300, warns: true });
    let answer = world.ask(chat(false)).await;
    assert!(answer.text().contains("hi from b"), "{}", answer.text());
    world.outcome(R::Served).await;
    assert_eq!(vendors.asked(0), ["b"]);
    world.done().await;
}

#[tokio::test]
async fn the_end_user_is_one_that_a_call_could_have() {
    let vendors = Vendors::start().await;
    let world = setup_of(&vendors, TWO, "", STRICT, ", users: {}").start();
    let of = async |application: &str, user: Option<&str>| {
        let call = whole(&body(json!({"user": "bob"})));
        let call = WholeCall { application: Some(application.into()), user: user.map(Into::into), ..call };
        told(&world, call).await.decision.user.map(|user| user.to_string())
    };
    assert_eq!(of("app", None).await.as_deref(), Some("bob"));
    assert_eq!(of("app", Some(" anna ")).await.as_deref(), Some("anna"));
    for none in ["", "a\nb", &*"x".repeat(257)] {
        assert_eq!(of("app", Some(none)).await, None, "{none:?}");
    }
    let shown = of("app", Some(&key("k3"))).await.unwrap();
    assert!(!shown.contains(&key("k3")), "{shown}");
    assert_eq!(of("other", Some("anna")).await, None, "its users are not told apart");
    world.done().await;
}

#[tokio::test]
async fn a_call_that_is_asked_about_takes_its_place_in_memory() {
    let vendors = Vendors::start().await;
    let mut setup = setup_of(&vendors, TWO, "", STRICT, "");
    setup.settings.memory = 2 << 20;
    let world = setup.start();
    let long = |n: usize| whole(&body(json!({"messages": [{"role": "user", "content": "x".repeat(n)}]})));
    assert_eq!(refused(&told(&world, long(100 << 10)).await), None);
    assert_eq!(refused(&told(&world, long(900 << 10)).await).unwrap().0, R::Overloaded);
    assert_eq!(world.gateway.memory().0, 0, "and gives it back");
    world.done().await;
}
