//! End users: whose call it is, what each of them may spend and use, and the model that serves when a budget is used up.

use crate::{
    fallback::{STRICT, Vendors, setup_of},
    harness::*,
};
use credentialflow_gateway::{dry_run::WholeCall, ports::Lender};
use credentialflow_llm::{provider::Dialect, task::Task};
use credentialflow_model::{OutcomeReason as R, UsageRecord};
use credentialflow_policy::{Account, Standing};
use serde_json::{Value, json};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// Lends whatever is asked for, and tells how much is used: nothing, unless a test tells otherwise.
#[derive(Default)]
struct Rich(AtomicUsize);

impl Lender for Rich {
    fn borrow(&self, account: &Arc<Account>, amount: i64) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        self.0.fetch_add(1, Relaxed);
        account.want(amount);
        account.lend(account.wanted().0, 0);
        account.tell_standing(Standing { percent: 0, warns: false });
        Box::pin(std::future::ready(true))
    }
    fn running_low(&self) {}
}

async fn provider() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let call: Value = serde_json::from_slice(&request.body).unwrap();
            let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15});
            let body = json!({"model": call["model"], "choices": [], "usage": usage}).to_string();
            // Says what only we say.
            let head = "content-type: application/json\r\nx-credentialflow-model: forged\r\n";
            peer.send(answer(200, head, &body)).await;
        }
    })
    .await
}

fn world(upstream: &FakeUpstream, application: &str, lender: Arc<dyn Lender>) -> World {
    let price = "prices: [{ from: 2020-01-01T00:00:00Z, input: '1', output: '10' }]";
    let mut setup = Setup::new(format!(
        "applications:
  - {{ name: app, allow: {{ models: [large, small] }}, {application} }}
keys:
  - {{ name: k, application: app }}
upstreams:
  - {{ name: mine, endpoints: [\"{0}/v1\"], provider: openai }}
models:
  - {{ name: large, targets: [{{ provider: mine, model: large-1, {price} }}] }}
  - {{ name: small, targets: [{{ provider: mine, model: small-1, {price} }}] }}
  - {{ name: secret, targets: [{{ provider: mine, model: secret-1, {price} }}] }}
",
        upstream.url()
    ));
    setup.lender = lender;
    // Each worker asks for itself, and which one takes a connection is the kernel's choice.
    setup.workers = 1;
    setup.start()
}

async fn call(world: &World, head: &str, more: Value) -> Message {
    let mut body = json!({"model": "large", "max_tokens": 20, "messages": []});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.ask(post("/v1/chat/completions", head, &body.to_string())).await
}

fn user(record: &UsageRecord) -> Option<&str> {
    record.model.as_ref().unwrap().user.as_deref()
}

fn charged(record: &UsageRecord) -> Vec<String> {
    let budgets = record.model.as_ref().unwrap().budgets.clone().unwrap_or_default();
    budgets.split_whitespace().map(|window| window.split('@').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_call_names_its_user_only_where_the_application_has_that_read() {
    let upstream = provider().await;
    let plain = world(&upstream, "description: none", Arc::<Rich>::default());
    assert_eq!(call(&plain, "", json!({"user": "ada"})).await.status(), 200);
    assert_eq!(user(&plain.outcome(R::Served).await), None);
    plain.done().await;

    let told = world(&upstream, "users: {}", Arc::<Rich>::default());
    for (more, expect) in [
        (json!({"user": " ada "}), Some("ada")),
        (json!({"user": "ada", "safety_identifier": "s-1"}), Some("s-1")),
        (json!({"user": "a\nb"}), None),
        (json!({"user": "x".repeat(257)}), None),
        (json!({"user": ""}), None),
        (json!({}), None),
    ] {
        assert_eq!(call(&told, "x-end-user: grace\r\n", more.clone()).await.status(), 200, "{more}");
        assert_eq!(user(&told.outcome(R::Served).await), expect, "{more}");
    }
    told.done().await;

    let by_header = world(&upstream, "users: { header: X-End-User }", Arc::<Rich>::default());
    assert_eq!(call(&by_header, "x-end-user: grace\r\n", json!({"user": "ada"})).await.status(), 200);
    assert_eq!(user(&by_header.outcome(R::Served).await), Some("grace"));
    assert_eq!(call(&by_header, "", json!({"user": "ada"})).await.status(), 200);
    assert_eq!(user(&by_header.outcome(R::Served).await), None, "what the call says does not count");
    by_header.done().await;
}

#[tokio::test]
async fn each_user_pays_from_a_budget_of_its_own() {
    let upstream = provider().await;
    let of_app = "budget: { usd: 9, per: day, hard: true }";
    let users = "users: { budget: { usd: \"0.001\", per: month, hard: true } }";
    let world = world(&upstream, &format!("{of_app}, {users}"), Arc::<Rich>::default());
    for name in ["ada", "grace@example.com", "ada"] {
        let told = call(&world, "", json!({"user": name})).await;
        assert_eq!(told.status(), 200, "{}", told.text());
        let own = format!("users/app/{}/month", name.replace('@', "%40"));
        assert_eq!(charged(&world.outcome(R::Served).await), [own, "applications/app/day".to_owned()]);
    }
    assert_eq!(world.book.live().len(), 3, "one of the application and one of each user");
    let told = call(&world, "", json!({"user": "ada", "max_tokens": 500})).await;
    assert_eq!(told.status(), 429);
    assert!(told.text().contains("the user's budget for this month cannot pay"), "{}", told.text());
    world.outcome(R::BudgetExceeded).await;
    let told = call(&world, "", json!({})).await;
    assert_eq!(told.status(), 400);
    assert!(told.text().contains("name the one it is for"), "{}", told.text());
    world.outcome(R::InvalidModelCall).await;
    assert!(world.book.accounts().iter().all(|(account, _)| account.held() == 0), "nothing stays held");
    world.done().await;
}

#[tokio::test]
async fn where_users_are_only_watched_nobody_has_to_be_named() {
    let upstream = provider().await;
    let world = world(&upstream, "users: { budget: { usd: 1, per: 24h } }", Arc::<Rich>::default());
    assert_eq!(call(&world, "", json!({})).await.status(), 200);
    assert_eq!(charged(&world.outcome(R::Served).await), Vec::<String>::new());
    assert_eq!(call(&world, "", json!({"user": "ada"})).await.status(), 200);
    assert_eq!(charged(&world.outcome(R::Served).await), ["users/app/ada/1d"]);
    world.done().await;
}

#[tokio::test]
async fn a_budget_that_is_used_up_has_the_other_model_serve() {
    let upstream = provider().await;
    let lender = Arc::<Rich>::default();
    let budget = "budget: { usd: 5, per: month, when_used_up: { model: small } }";
    let world = world(&upstream, budget, lender.clone());
    let told = call(&world, "", json!({})).await;
    assert_eq!((told.status(), told.field("x-credentialflow-model")), (200, None));
    assert_eq!(&*world.outcome(R::Served).await.model.unwrap().model, "large");
    assert_eq!(lender.0.load(Relaxed), 1, "nobody knew how it stands, so that was asked");
    let account = world.book.live()[0].account(std::time::SystemTime::now().into());
    account.tell_standing(Standing { percent: 100, warns: true });
    let told = call(&world, "", json!({})).await;
    assert_eq!((told.status(), told.field("x-credentialflow-model")), (200, Some("small")));
    assert!(told.text().contains("small-1"), "{}", told.text());
    let model = world.outcome(R::Served).await.model.unwrap();
    assert_eq!((&*model.model, model.asked.as_deref(), &*model.provider_model), ("small", Some("large"), "small-1"));
    let told = call(&world, "", json!({"model": "small"})).await;
    assert_eq!((told.status(), told.field("x-credentialflow-model")), (200, None), "it was asked for");
    assert_eq!(world.outcome(R::Served).await.model.unwrap().asked, None);
    assert_eq!(lender.0.load(Relaxed), 1, "and it is known from then on");
    world.done().await;
}

#[tokio::test]
async fn the_allow_list_holds_for_the_model_that_serves_instead() {
    let upstream = provider().await;
    let users = "users: { budget: { usd: 5, per: month, when_used_up: { model: secret } } }";
    let world = world(&upstream, users, Arc::<Rich>::default());
    assert_eq!(call(&world, "", json!({"user": "ada"})).await.status(), 200);
    world.outcome(R::Served).await;
    let account = world.book.live()[0].account(std::time::SystemTime::now().into());
    account.tell_standing(Standing { percent: 120, warns: true });
    assert_eq!(call(&world, "", json!({"user": "ada"})).await.status(), 404);
    world.outcome(R::ModelNotFound).await;
    let told = call(&world, "", json!({"user": "grace"})).await;
    assert_eq!(
        (told.status(), told.field("x-credentialflow-model")),
        (200, None),
        "that of another user is not used up"
    );
    world.outcome(R::Served).await;
    world.done().await;
}

/// Is asked, and never answers.
#[derive(Default)]
struct Silent(AtomicUsize);

impl Lender for Silent {
    fn borrow(&self, _: &Arc<Account>, _: i64) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        self.0.fetch_add(1, Relaxed);
        Box::pin(std::future::pending())
    }
    fn running_low(&self) {}
}

#[tokio::test]
async fn a_database_that_hangs_holds_up_one_call() {
    let upstream = provider().await;
    let lender = Arc::<Silent>::default();
    let users = "users: { budget: { usd: 5, per: month, when_used_up: { model: small } } }";
    let world = world(&upstream, users, lender.clone());
    let body = json!({"model": "large", "input": "x", "user": "ada"}).to_string();
    assert_eq!(world.ask(post("/v1/embeddings", "", &body)).await.status(), 200);
    world.outcome(R::Served).await;
    assert_eq!(lender.0.load(Relaxed), 0, "no other model serves that");
    for name in ["ada", "ada", "grace"] {
        let told = call(&world, "", json!({"user": name})).await;
        assert_eq!((told.status(), told.field("x-credentialflow-model")), (200, None));
        world.outcome(R::Served).await;
        assert_eq!(lender.0.load(Relaxed), 1, "who comes after the first does not wait, for whomever it is");
    }
    world.done().await;
}

#[tokio::test]
async fn each_user_has_a_limit_of_its_own() {
    let upstream = provider().await;
    let limits = "limit: { requests: 50, per: 1h }, users: { limit: { requests: 2, per: 1h } }";
    let world = world(&upstream, limits, Arc::<Rich>::default());
    let told = call(&world, "", json!({"user": "ada"})).await;
    assert_eq!(told.status(), 200, "{}", told.text());
    let (policy, left) = (told.field("ratelimit-policy").unwrap(), told.field("ratelimit").unwrap());
    assert!(policy.contains("\"user\";q=2;w=3600") && left.contains("\"user\";r=1;"), "{policy} {left}");
    world.outcome(R::Served).await;
    for (name, status) in [("ada", 200), ("ada", 429), ("grace", 200), ("ada", 429)] {
        let told = call(&world, "", json!({"user": name})).await;
        assert_eq!(told.status(), status, "{name}: {}", told.text());
        if status == 429 {
            assert!(told.text().contains("the user has used up its calls for this time"), "{}", told.text());
            let wait: u64 = told.field("retry-after").unwrap().parse().unwrap();
            assert!((1..=1800).contains(&wait), "{wait}");
        }
        world.outcome(if status == 200 { R::Served } else { R::RateLimited }).await;
    }
    assert_eq!(upstream.requests().len(), 3, "who has to wait is not asked about");
    let told = call(&world, "", json!({})).await;
    assert_eq!(told.status(), 400);
    assert!(told.text().contains("has a limit: name the one it is for in `user`"), "{}", told.text());
    world.outcome(R::InvalidModelCall).await;
    world.done().await;
}

#[tokio::test]
async fn each_user_has_so_many_tokens() {
    let upstream = provider().await;
    let world = world(&upstream, "users: { limit: { tokens: 60, per: 1h } }", Arc::<Rich>::default());
    // A call's body is guessed to be some 20 tokens, and counted as 15.
    for (name, status) in [("ada", 200), ("ada", 200), ("ada", 200), ("ada", 429), ("bob", 200)] {
        let told = call(&world, "", json!({"user": name})).await;
        assert_eq!(told.status(), status, "{name}: {}", told.text());
        let used_up = told.text().contains("the user has used up its tokens for this time");
        assert_eq!(used_up, status == 429, "{}", told.text());
        world.outcome(if status == 200 { R::Served } else { R::RateLimited }).await;
    }
    world.done().await;
}

#[tokio::test]
async fn each_user_has_so_many_calls_at_once_and_a_dry_run_tells() {
    let vendors = Vendors::start().await;
    vendors.set("a", "slow 400");
    let users = ", users: { header: X-End-User, limit: { requests: 4, per: 1h, concurrent: 1 } }";
    let world = setup_of(&vendors, "[{ provider: a, model: real-a }]", "", STRICT, users).start();
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).to_string();
    let ask = |name: &str| world.ask(post("/v1/chat/completions", &format!("x-end-user: {name}\r\n"), &body));
    for (other, expect) in [("ada", [200, 429]), ("grace", [200, 200])] {
        let (one, two) = tokio::join!(ask("ada"), ask(other));
        let mut both = [one.status(), two.status()];
        both.sort_unstable();
        assert_eq!(both, expect, "{} {}", one.text(), two.text());
        let _both = (world.record().await, world.record().await);
    }
    vendors.set("a", "");
    let dry = async |name: &str| {
        let whole = WholeCall {
            speaks: Dialect::OpenAi,
            task: Task::Chat,
            streams: false,
            body: body.clone().into_bytes(),
            headers: vec![("x-end-user".into(), name.into())],
            application: Some("app".into()),
            key: None,
            user: None,
        };
        let refused = world.gateway.dry_run("m", whole).await.unwrap().unwrap().decision.refused;
        refused.map(|refused| (refused.reason, refused.detail.unwrap_or_default()))
    };
    assert_eq!(dry("ada").await, None);
    for _ in 0..2 {
        assert_eq!(ask("ada").await.status(), 200);
        world.outcome(R::Served).await;
    }
    let full = (R::RateLimited, "the user has no room for another call at present".to_owned());
    assert_eq!((dry("ada").await, dry("grace").await), (Some(full), None));
    assert_eq!(ask("ada").await.status(), 429);
    world.outcome(R::RateLimited).await;
    world.done().await;
}
