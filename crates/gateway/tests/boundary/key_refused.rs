//! A key that a provider refuses by another status than 401, as several do: it is one that is refused all the same.

use crate::{fallback::*, harness::*};
use credentialflow_gateway::preview::ModelRoute;
use credentialflow_llm::provider::Dialect;
use credentialflow_model::{OutcomeReason as R, UsageRecord, usage::TriedEnd};
use serde_json::{Value, json};

const SAID: TriedEnd = TriedEnd::Outcome(R::UpstreamCredentialRefused);

/// Who refuses a key in this way, the answer, and how the try ended.
fn refusals() -> Vec<(&'static str, String, TriedEnd)> {
    let google = |message: &str| {
        json!({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT", "details": [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
             "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"}},
            {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": message}]}})
    };
    let xai = json!({"code": "Client specified an invalid argument",
        "error": "Incorrect API key provided: xa***Ju. You can obtain an API key from https://console.x.ai."});
    let anthropic = json!({"type": "error", "request_id": "req_011CZ47RMLnx1JoJXRrzzSde",
        "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API. \
                   Please go to Plans & Billing to upgrade or purchase credits."}});
    let deepseek = json!({"error": {"message": "Insufficient Balance", "type": "unknown_error", "param": null,
        "code": "invalid_request_error"}});
    let openrouter = json!({"error": {"code": 402, "message": "This request requires more credits, or fewer max_tokens. \
                   You requested up to 4096 tokens, but can only afford 12."}});
    let said = |error: Value| (format!("json 400 {error}"), SAID);
    let unpaid = |error: Value| (format!("json 402 {error}"), TriedEnd::Status(402));
    [
        ("goo", said(google("API key not valid. Please pass a valid API key."))),
        ("goo", said(google("API key expired. Please renew the API key."))),
        ("a", said(json!([google("API Key not found. Please pass a valid API key.")]))),
        ("a", said(xai)),
        ("ant", said(anthropic)),
        ("a", unpaid(deepseek)),
        ("a", unpaid(openrouter)),
    ]
    .into_iter()
    .map(|(who, (how, end))| (who, how, end))
    .collect()
}

/// Nothing of what providers say of a key.
fn is_discreet(told: &Message) -> bool {
    let text = told.text();
    !["API", "key prov", "xa***", "redit", "Balance", "afford"].iter().any(|said| text.contains(said))
}

fn key(record: &UsageRecord) -> String {
    record.credential.as_ref().unwrap().credential.to_string()
}

#[tokio::test]
async fn another_key_of_the_pool_serves_and_the_refused_one_is_left_alone() {
    for (who, how, end) in refusals() {
        let targets = format!("[{{ provider: {who}, model: m, credentials: [{{ name: k1 }}, {{ name: k2 }}] }}]");
        let vendors = Vendors::start().await;
        let world = world_of(&vendors, &targets, "", STRICT).await;
        vendors.set(&format!("{who} with K1-of-the-pool"), &how);
        let mut refused = 0;
        for n in 0..4 {
            let told = world.ask(chat(false)).await;
            assert!(told.status() == 200 && told.text().contains(&format!("hi from {who}")), "{how}: {}", told.text());
            let record = world.outcome(R::Served).await;
            assert_eq!(key(&record), "k2", "{how}: call {n}");
            for one in &record.model.as_ref().unwrap().tried {
                assert_eq!((&*one.credential.as_ref().unwrap().credential, one.end), ("k1", end), "{how}");
                refused += 1;
            }
        }
        assert_eq!(refused, 1, "{how}: it is left alone");
        let route: ModelRoute = world.gateway.preview("m", Dialect::OpenAi.into()).await.unwrap();
        let rest = route.targets[0].credentials[0].rest.as_ref().unwrap();
        assert_eq!((rest.end, route.targets[0].rest.is_none()), (Some(end), true), "{how}: the key, not the target");
        // With nobody left it is an error of ours.
        vendors.set(&format!("{who} with K2-of-the-pool"), &how);
        let told = world.ask(chat(false)).await;
        assert_eq!(told.status(), 502, "{how}");
        assert!(is_discreet(&told), "what the provider says of the key stays here: {}", told.text());
        world.outcome(R::UpstreamCredentialRefused).await;
        world.done().await;
    }
}

#[tokio::test]
async fn another_target_serves_and_with_none_left_the_caller_hears_nothing_of_the_key() {
    for (who, how, end) in refusals() {
        let alone = format!("[{{ provider: {who}, model: m }}]");
        let two = format!("[{{ provider: {who}, model: m }}, {{ provider: b, model: m, priority: 1 }}]");
        for (targets, others) in [(alone, false), (two, true)] {
            for stream in [false, true] {
                let vendors = Vendors::start().await;
                let world = world_of(&vendors, &targets, "", LENIENT).await;
                vendors.set(who, &how);
                if others {
                    assert!(world.ask(chat(stream)).await.text().contains("hi from b"), "{how}");
                    assert_eq!(tried(&world.outcome(R::Served).await), [(who, end)], "{how}");
                    vendors.set("b", "401");
                }
                let told = world.ask(chat(stream)).await;
                assert_eq!(told.status(), 502, "{how}: {}", told.text());
                assert!(is_discreet(&told), "{how}: {}", told.text());
                let error: Value = serde_json::from_str(&told.text()).unwrap();
                assert_eq!(error["error"]["code"], "upstream_credential_refused", "{how}");
                let record = world.outcome(R::UpstreamCredentialRefused).await;
                assert!(record.credential.is_some(), "{how}");
                assert!([400, 401, 402].contains(&record.upstream_status), "what it answered with stays told");
                world.done().await;
            }
        }
    }
}

#[tokio::test]
async fn what_refuses_soonest_is_not_taken_for_the_fastest() {
    let vendors = Vendors::start().await;
    let targets = "[{ provider: a, model: m }, { provider: b, model: m }]";
    let world = world_of(&vendors, targets, ", route_by: latency", "health: { failures: 1000, cooldown: 1s },").await;
    let (_, how, _) = refusals().swap_remove(3);
    vendors.set("a", &how);
    vendors.set("b", "slow 60");
    let mut before = 0;
    for _ in 0..4 {
        assert!(world.ask(chat(false)).await.text().contains("hi from b"));
        before += tried(&world.outcome(R::Served).await).len();
    }
    assert!(before <= 1, "it was asked once");
    let route: ModelRoute = world.gateway.preview("m", Dialect::OpenAi.into()).await.unwrap();
    let slow = std::time::Duration::from_secs(10);
    assert!(route.targets[0].latency.unwrap() >= slow, "and is not the fastest for that: {:?}", route.targets[0]);
    world.done().await;
}

#[tokio::test]
async fn what_callers_write_is_not_taken_for_what_is_said_of_a_key() {
    let vendors = Vendors::start().await;
    let targets = "[{ provider: a, model: m, credentials: [{ name: k1 }, { name: k2 }] }]";
    let world = world_of(&vendors, targets, "", STRICT).await;
    let error = json!({"error": {"message": "tools.0.name: 'Incorrect API key provided' is no name", "code": null}});
    vendors.set("a", &format!("json 400 {error}"));
    for _ in 0..4 {
        let told = world.ask(chat(false)).await;
        assert_eq!((told.status(), told.text()), (400, error.to_string()), "it is the caller's to hear");
        assert_eq!(tried(&world.outcome(R::Served).await), []);
    }
    // What we inject nothing for is the provider's own word too.
    drop(world);
    let yaml = format!(
        "applications: [{{ name: app, allow: {{ models: [m] }} }}]
keys: [{{ name: k, application: app }}]
upstreams: [{{ name: a, endpoints: [\"{}/a\"], provider: openai-chat }}]
models: [{{ name: m, targets: [{{ provider: a, model: m }}] }}]
",
        vendors.upstream.url()
    );
    let world = Setup::new(yaml).start();
    let (_, how, _) = refusals().swap_remove(3);
    vendors.set("a", &how);
    assert_eq!(world.ask(chat(false)).await.status(), 400);
    world.outcome(R::Served).await;
    world.done().await;
}
