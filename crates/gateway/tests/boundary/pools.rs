//! Credentials that are declared once, at an upstream, and serve all targets that have none of their own.

use crate::{
    fallback::{LENIENT, STRICT, Vendors, chat, served_by, setup_of, tried, whole},
    harness::*,
};
use credentialflow_llm::provider::Dialect;
use credentialflow_model::{
    OutcomeReason as R,
    usage::{TriedEnd, UsageRecord},
};

/// The vendor `a` as an upstream with these credentials for its models; `m` and `n` have different ones of them.
fn setup(vendors: &Vendors, pool: &str, health: &str) -> Setup {
    let targets = "[{ provider: a, model: large }, { provider: b, model: other, priority: 1 }]";
    let mut setup = setup_of(vendors, targets, "", health, "");
    setup.yaml = setup
        .yaml
        .replacen("inject: { bearer: c }", &format!("credentials: {pool}"), 1)
        .replace("models: [m]", "models: [m, n, own]")
        .replace(
            "models:\n",
            "models:
  - { name: n, targets: [{ provider: a, model: small-embedding }] }
  - { name: own, targets: [{ provider: a, model: unheard-of, credential: d }] }
",
        );
    setup
}

fn key(record: &UsageRecord) -> String {
    record.credential.as_ref().unwrap().credential.to_string()
}

fn of(model: &str) -> String {
    // The same length.
    chat(false).replace(r#""model":"m""#, &format!(r#""model":"{model}""#))
}

#[tokio::test]
async fn each_model_has_the_credentials_that_may_be_used_for_it() {
    let pool = "[{ name: k1, models: [large] }, { name: k2, weight: 3 }, { name: c, models: ['small-*', nothing] }]";
    let vendors = Vendors::start().await;
    let world = setup(&vendors, pool, LENIENT).start();
    for (model, expected) in [("m", [("k1", 2), ("k2", 6)]), ("n", [("c", 2), ("k2", 6)])] {
        let mut used = Vec::new();
        for _ in 0..8 {
            assert_eq!(world.ask(of(model)).await.text(), whole("a"));
            used.push(key(&world.outcome(R::Served).await));
        }
        let count = |name| used.iter().filter(|other| *other == name).count();
        assert_eq!(expected.map(|(name, _)| (name, count(name))), expected, "{model}: {used:?}");
        let route = world.gateway.preview(model, Dialect::OpenAi.into()).await.unwrap();
        let mut shown: Vec<_> = route.targets[0].credentials.iter().map(|c| c.name.as_deref().unwrap()).collect();
        shown.sort_unstable();
        assert_eq!(shown, expected.map(|(name, _)| name), "{model}");
    }
    // It goes where the upstream's credentials go, though no list has its model.
    let told = world.ask(chat(false).replace(r#""model":"m""#, r#""model":"own""#).replace("hello", "hel")).await;
    assert_eq!(told.status(), 200, "{}", told.text());
    assert_eq!(key(&world.outcome(R::Served).await), "d");
    let sent = vendors.upstream.requests().last().unwrap().field("authorization").unwrap().to_owned();
    assert_eq!(sent, "Bearer key-of-d-4444");
    world.done().await;
}

#[tokio::test]
async fn a_limit_is_of_the_credential_whatever_the_model() {
    let pool = "[{ name: k1, weight: 1000, limit: { requests: 3, per: 1h } }, { name: k2 }]";
    let vendors = Vendors::start().await;
    let world = setup(&vendors, pool, LENIENT).start();
    let mut used = Vec::new();
    for model in ["m", "n", "m", "n", "m", "n"] {
        assert_eq!(world.ask(of(model)).await.status(), 200);
        used.push(key(&world.outcome(R::Served).await));
    }
    assert_eq!(used, ["k1", "k1", "k1", "k2", "k2", "k2"], "three of both models together");
    world.done().await;
}

#[tokio::test]
async fn they_stand_in_for_each_other_and_come_back() {
    let vendors = Vendors::start().await;
    let setup = setup(&vendors, "[{ name: k1, weight: 1000 }, { name: k2, models: [large] }]", STRICT);
    let yaml = setup.yaml.clone();
    let mut credentials = setup.credentials.clone();
    let world = setup.start();
    vendors.set("a with K1-of-the-pool", "401");
    assert_eq!(world.ask(of("m")).await.text(), whole("a"));
    let record = world.outcome(R::Served).await;
    assert_eq!((served_by(&record), key(&record)), (("a", "large", 2), "k2".into()));
    assert_eq!(tried(&record), [("a", TriedEnd::Status(401))]);
    // It is left alone; where it is the only one, its caller hears nothing of whose it was.
    assert_eq!(world.ask(of("m")).await.status(), 200);
    assert_eq!(tried(&world.outcome(R::Served).await), []);
    assert_eq!(world.ask(of("n")).await.status(), 502);
    world.outcome(R::UpstreamCredentialRefused).await;
    // A new version of it has not failed.
    let rotated = credentials.iter_mut().find(|c| c.0 == "k1").unwrap();
    (rotated.1, rotated.2) = (50, "K1-rotated");
    world.install(&yaml, &credentials, &[]).await;
    for model in ["m", "n"] {
        assert_eq!(world.ask(of(model)).await.status(), 200);
        assert_eq!(key(&world.outcome(R::Served).await), "k1", "{model}");
    }
    assert!(vendors.upstream.requests().last().unwrap().field("authorization").unwrap().contains("K1-rotated"));
    world.done().await;
}

#[tokio::test]
async fn an_upstream_by_the_name_of_a_built_in_provider_stands_in_its_place() {
    let vendors = Vendors::start().await;
    let mut setup = setup_of(&vendors, "[{ provider: groq, model: llama }]", "", LENIENT, "");
    let groq = format!(
        "upstreams:\n  - {{ name: groq, endpoints: [\"{}/a\"], provider: groq, credentials: [{{ name: k2 }}] }}\n",
        vendors.upstream.url()
    );
    setup.yaml = setup.yaml.replace("upstreams:\n", &groq);
    let world = setup.start();
    assert_eq!(world.ask(chat(false)).await.text(), whole("a"));
    assert_eq!(key(&world.outcome(R::Served).await), "k2");
    world.done().await;
}

#[tokio::test]
async fn they_go_where_inject_says() {
    let vendors = Vendors::start().await;
    let mut setup = setup(&vendors, "[{ name: k1 }]", LENIENT);
    let named = "inject: { header: { name: x-own-key, credential: c, prefix: 'Own ' } }, credentials: [{ name: k1 }]";
    setup.yaml = setup.yaml.replacen("credentials: [{ name: k1 }]", named, 1);
    let world = setup.start();
    assert_eq!(world.ask(of("m")).await.status(), 200);
    assert_eq!(key(&world.outcome(R::Served).await), "k1");
    let sent = vendors.upstream.requests().pop().unwrap();
    assert_eq!((sent.field("x-own-key"), sent.field("authorization")), (Some("Own K1-of-the-pool"), None));
    world.done().await;
}
