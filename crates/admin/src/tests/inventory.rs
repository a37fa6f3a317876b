//! The inventory: one list of everything, findings, blast radius, biography, scanners' reports.

mod run_time;

use super::{Control, value};
use credentialflow_model::{
    Actor, KeyId, OutcomeReason, RequestId, Timestamp, TraceId, UsageRecord, usage::CredentialUse,
};
use credentialflow_store::{Expect, LeaseRow, LeaseState, Op, Unit};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::Ipv4Addr, time::SystemTime};

const WORLD: &str = r#"
teams:
  - name: payments
credentials:
  - name: orders-token
    engine: static
    owner: payments
    value: ${env:A}
  - name: billing-token
    engine: static
    value: ${env:B}
  - name: pin
    engine: generated
    owner: payments
    generate: { length: 16, alphabet: digits, entropy: 40 }
upstreams:
  - name: orders
    endpoints: ["http://127.0.0.1:9001"]
    inject: { bearer: orders-token }
  - name: billing
    endpoints: ["http://127.0.0.1:9002"]
    inject: { bearer: billing-token }
routes:
  - name: orders
    match: { path: "/orders/*" }
    upstream: orders
    authenticate: [api_key]
  - name: billing
    match: { path: "/billing/*" }
    upstream: billing
    authenticate: [api_key]
applications:
  - name: checkout
    team: payments
    allow: { routes: [orders, billing] }
  - name: idle
    allow: { routes: [orders] }
keys:
  - name: checkout-live
    application: checkout
    metadata: { cost-center: "4711" }
  - name: idle-live
    application: idle
"#;
const SECRET: &str = "up-9f81c2d7e6b5";

/// Sets the world up; answers the id and the secret of `checkout-live`.
pub(super) async fn world(control: &Control) -> (KeyId, String) {
    let values = json!({ "orders-token": SECRET, "billing-token": SECRET });
    let applied = control.apply(WORLD, values).await.expect(200).json();
    let key = &applied["keys"][0];
    assert_eq!(key["key"]["spec"]["name"], "checkout-live");
    (key["key"]["id"].as_str().unwrap().parse().unwrap(), key["secret"].as_str().unwrap().to_owned())
}

/// Records requests of `checkout-live` over the route `orders`.
pub(super) fn record(control: &Control, key: KeyId, count: u64, served: bool) {
    let now: Timestamp = SystemTime::now().into();
    let one = |n: u64| UsageRecord {
        mcp: None,
        time: Timestamp::from_micros(now.micros() - i64::try_from(n).unwrap() - 1),
        request_id: RequestId(u128::from(n) + 1),
        trace_id: TraceId(1),
        source: Ipv4Addr::new(10, 0, 0, (n % 3) as u8).into(),
        application: Some("checkout".into()),
        key: Some(key),
        secret: None,
        route: Some("orders".into()),
        method: "GET".into(),
        path: "/orders/1".into(),
        upstream: Some("orders".into()),
        endpoint: None,
        credential: Some(CredentialUse { credential: "orders-token".into(), version: 1 }),
        outcome: if served { OutcomeReason::Served } else { OutcomeReason::RateLimited },
        status: 200,
        upstream_status: 200,
        attempts: 1,
        bytes_in: 0,
        bytes_out: 0,
        total_us: 1,
        upstream_us: 1,
        ttfb_us: 1,
        model: None,
    };
    control.recorder.sender().send((0..count).map(one).collect());
    assert!(control.recorder.flush());
}

async fn get(control: &Control, path: &str) -> Value {
    let answer = control.get(path).await.expect(200);
    assert!(!answer.text.contains(SECRET), "{path} tells a value: {}", answer.text);
    answer.json()
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| format!("{} {}", item["kind"].as_str().unwrap(), item["name"].as_str().unwrap())).collect()
}

/// The findings asked for, as `name: finding`.
async fn found(control: &Control, query: &str) -> BTreeSet<String> {
    let list = get(control, &format!("/api/v1/inventory/findings{query}")).await;
    let items = list["items"].as_array().unwrap().iter();
    items.map(|f| format!("{}: {}", f["name"].as_str().unwrap(), f["finding"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn everything_is_in_one_list_and_filters_narrow_it() {
    let control = Control::start().await;
    let (key, _) = world(&control).await;
    record(&control, key, 4, true);
    let all = get(&control, "/api/v1/inventory").await;
    let mut told = names(&all);
    let keys = told.split_off(4);
    assert_eq!(
        told,
        ["credential billing-token", "credential orders-token", "credential pin", "signing_key audit-checkpoints"]
    );
    assert_eq!(keys.len(), 2);
    let here = &control;
    let of = |query: &'static str| async move { names(&get(here, &format!("/api/v1/inventory{query}")).await) };
    assert_eq!(of("?kind=key&owner=checkout").await, ["key checkout-live"]);
    assert_eq!(of("?team=payments&kind=credential").await, ["credential orders-token", "credential pin"]);
    assert_eq!(of("?finding=shared").await, ["credential billing-token", "credential orders-token"]);
    assert_eq!(of("?finding=over-privileged&settle=1ms").await, ["key checkout-live"]);
    assert_eq!(of("?unused_since=2000-01-01T00:00:00Z").await, [""; 0]);
    assert_eq!(of("?q=ORDERS").await, ["credential orders-token"]);
    let used = get(&control, "/api/v1/inventory?q=orders-token").await["items"][0].clone();
    assert_eq!(
        used["used"],
        json!({ "requests": 4, "routes": ["orders"], "applications": ["checkout"], "sources": 3 })
    );
    assert_eq!(used["reach"]["applications"], json!(["checkout", "idle"]));
    assert_eq!((&used["issued_by"]["name"], &used["algorithm"]), (&json!("admin"), &json!("aes-256-gcm")));
    assert_eq!((&used["state"], &used["versions"][0]["state"]), (&json!("active"), &json!("current")));
    for bad in ["?kind=x", "?finding=x", "?limit=0", "?cursor=x", "?window=1s", "?unknown=1"] {
        assert_eq!(control.get(&format!("/api/v1/inventory{bad}")).await.expect(400).code(), "invalid_request");
    }
}

#[tokio::test]
async fn pages_show_everything_once() {
    let control = Control::start().await;
    world(&control).await;
    let whole = names(&get(&control, "/api/v1/inventory").await);
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&control, &format!("/api/v1/inventory?limit=1{cursor}")).await;
        paged.extend(names(&page));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, whole);
}

#[tokio::test]
async fn findings_name_what_is_wrong_and_the_narrower_grant_mends_it() {
    let control = Control::start().await;
    let (key, _) = world(&control).await;
    record(&control, key, 4, true);
    let all = found(&control, "?settle=1ms").await;
    for expected in [
        "orders-token: shared",
        "billing-token: shared",
        "billing-token: orphaned",
        "billing-token: never_used",
        "pin: weak",
        "idle-live: orphaned",
        "idle-live: never_used",
        "checkout-live: over_privileged",
        "audit-checkpoints: weak",
    ] {
        assert!(all.contains(expected), "{expected} is not among {all:?}");
    }
    assert!(!all.contains("checkout-live: never_used") && !all.contains("orders-token: never_used"), "{all:?}");
    assert_eq!(found(&control, "?severity=high").await.len(), 3);
    let path = "/api/v1/inventory/findings?settle=1ms&finding=over_privileged";
    let grant = get(&control, path).await["items"][0]["grant"].clone();
    assert_eq!(grant["removes"], json!({ "routes": ["billing"] }));
    control.apply(grant["yaml"].as_str().unwrap(), json!({})).await.expect(200);
    assert_eq!(found(&control, "?settle=1ms&finding=over_privileged").await, BTreeSet::new());
    let key = control.get("/api/v1/keys/checkout-live").await.json();
    assert_eq!(key["spec"]["allow"], json!({ "routes": ["orders"] }));
    let summary = get(&control, "/api/v1/inventory/summary?settle=1ms").await;
    let keys = summary["kinds"].as_array().unwrap().iter().find(|k| k["kind"] == "key").unwrap().clone();
    assert_eq!(keys, json!({ "kind": "key", "count": 2, "active": 2, "with_findings": 1 }));
}

#[tokio::test]
async fn a_blast_radius_is_counted_from_real_requests() {
    let control = Control::start().await;
    let (key, _) = world(&control).await;
    record(&control, key, 6, true);
    record(&control, key, 2, false);
    let radius = get(&control, "/api/v1/credentials/orders-token/blast-radius?window=1h").await;
    assert_eq!(radius["replay"]["breaks"], 6);
    assert_eq!(radius["replay"]["failing_already"], 2);
    assert_eq!(radius["replay"]["applications"][0]["name"], "checkout");
    assert_eq!(radius["replay"]["sources"].as_array().unwrap().len(), 3);
    assert_eq!((&radius["quiet"], &radius["opens"]["routes"]), (&json!(false), &json!(["orders"])));
    assert_eq!(
        radius["verdict"],
        "6 requests of the last 1h would be refused (6 an hour), of 1 application from 3 addresses over 1 route or model."
    );
    let holders = radius["holders"].as_array().unwrap();
    let told: Vec<_> = holders.iter().map(|h| (h["application"].as_str().unwrap(), h["requests"].clone())).collect();
    assert_eq!(told, [("checkout", json!(6)), ("idle", json!(0))]);
    assert_eq!((&holders[0]["keys"], &holders[0]["key_names"]), (&json!(1), &json!(["checkout-live"])));
    let mine = get(&control, "/api/v1/keys/checkout-live/blast-radius").await;
    assert_eq!((&mine["replay"]["breaks"], &mine["kind"]), (&json!(6), &json!("key")));
    assert_eq!(get(&control, "/api/v1/keys/idle-live/blast-radius").await["quiet"], true);
    assert_eq!(get(&control, "/api/v1/credentials/billing-token/blast-radius").await["replay"]["breaks"], 0);
    for missing in ["credentials", "keys"] {
        control.get(&format!("/api/v1/{missing}/nothing/blast-radius")).await.expect(404);
    }
    // Once its route uses something else, the same requests survive.
    control.apply(&WORLD.replace("bearer: orders-token", "bearer: pin"), value("x")).await;
    let body = json!({ "name": "orders", "endpoints": ["http://127.0.0.1:9001"], "inject": { "bearer": "pin" } });
    control.put("/api/v1/upstreams/orders", body).await.expect(200);
    let radius = get(&control, "/api/v1/credentials/orders-token/blast-radius").await;
    let expected = json!([{ "because": "its route uses another credential now", "requests": 6 }]);
    assert_eq!((&radius["replay"]["breaks"], &radius["replay"]["survives"]), (&json!(0), &expected));
}

#[tokio::test]
async fn a_biography_tells_a_life_also_when_it_is_over() {
    let control = Control::start().await;
    let (key, _) = world(&control).await;
    record(&control, key, 5, true);
    control.post("/api/v1/keys/checkout-live/rotate", json!({})).await.expect(200);
    control.post("/api/v1/keys/checkout-live/revoke", json!({})).await.expect(200);
    let told = |life: &Value| -> Vec<String> {
        life["moments"].as_array().unwrap().iter().map(|m| m["what"].as_str().unwrap().to_owned()).collect()
    };
    let life = get(&control, "/api/v1/keys/checkout-live/biography").await;
    let mut kinds = told(&life);
    kinds.sort();
    assert_eq!(kinds, ["declared", "ended", "issued", "issued", "used"], "{life}");
    assert_eq!((&life["issued_by"]["name"], &life["declared"]), (&json!("admin"), &json!(true)));
    let used = life["moments"].as_array().unwrap().iter().find(|m| m["what"] == "used").unwrap().clone();
    assert_eq!(used["requests"], 5);
    control.call(http::Method::DELETE, "/api/v1/keys/checkout-live", None, &[]).await.expect(204);
    let life = get(&control, "/api/v1/keys/checkout-live/biography").await;
    assert_eq!((&life["declared"], told(&life).len()), (&json!(false), 6));
    let held = get(&control, "/api/v1/credentials/orders-token/biography").await;
    assert_eq!(told(&held), ["issued", "declared", "used"]);
    assert_eq!(held["versions"][0]["version"], 1);
    control.get("/api/v1/credentials/nothing/biography").await.expect(404);
}

#[tokio::test]
async fn a_scanner_s_report_is_compared_and_forgotten() {
    let control = Control::start().await;
    let (_, key) = world(&control).await;
    let report = json!([
        { "RuleID": "generic", "Secret": SECRET, "Match": format!("T={SECRET}"), "File": format!("a/{SECRET}.env"), "StartLine": 3, "Commit": "c1" },
        { "RuleID": "generic", "Secret": "somebody-else-s-secret", "File": "b", "StartLine": 1 },
        { "RuleID": "cf", "Secret": format!("curl -H 'authorization: Bearer {key}'"), "File": "run.sh", "StartLine": 9 },
        { "RuleID": "cf", "Secret": "REDACTED", "File": "c", "StartLine": 1 },
    ]);
    let body = json!({ "report": report.to_string() });
    let answer = control.post("/api/v1/inventory/reports", body.clone()).await.expect(200);
    let secret_half = &key[key.len() - 38..];
    assert!(!answer.text.contains(SECRET) && !answer.text.contains(secret_half), "{}", answer.text);
    let told = answer.json();
    let counts = ["findings", "redacted", "unmatched", "recorded"].map(|name| told[name].as_u64().unwrap());
    assert_eq!(counts, [4, 1, 1, 3]);
    let matched: Vec<_> = told["matches"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(matched, ["billing-token", "orders-token", "checkout-live"]);
    assert_eq!(told["matches"][1]["places"][0]["file"], "a/***.env");
    assert_eq!(control.post("/api/v1/inventory/reports", body).await.expect(200).json()["recorded"], 0);
    let hard_coded = found(&control, "?finding=hard_coded").await;
    let expected = ["billing-token: hard_coded", "orders-token: hard_coded", "checkout-live: hard_coded"];
    assert_eq!(hard_coded, expected.map(str::to_owned).into());
    // A second secret beside it changes nothing; an overlap that is over does.
    control.post("/api/v1/keys/checkout-live/rotate", json!({ "overlap": "1ms" })).await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert!(!found(&control, "?finding=hard_coded").await.contains("checkout-live: hard_coded"));
    let again = control.post("/api/v1/inventory/reports", json!({ "report": report.to_string() })).await.expect(200);
    let key_again = again.json()["matches"].as_array().unwrap().iter().find(|m| m["kind"] == "key").unwrap().clone();
    assert_eq!((&key_again["state"], &key_again["works"]), (&json!("expired"), &json!(false)));
    // What leaked is revoked, and the finding is gone with it.
    control.post("/api/v1/keys/checkout-live/revoke", json!({})).await.expect(200);
    control.post("/api/v1/credentials/orders-token/revoke", json!({})).await.expect(200);
    assert_eq!(found(&control, "?finding=hard_coded").await.len(), 1);
    let life = get(&control, "/api/v1/credentials/orders-token/biography").await;
    assert!(life["moments"].as_array().unwrap().iter().any(|m| m["what"] == "exposed"), "{life}");
    // Nothing of the secrets is on disk.
    for file in std::fs::read_dir(control.dir.path()).unwrap().flatten().filter(|f| f.path().is_file()) {
        let bytes = std::fs::read(file.path()).unwrap();
        for secret in [SECRET, secret_half, "somebody-else-s-secret"] {
            let there = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!there, "{} holds a secret of the report", file.path().display());
        }
    }
    let bad = control.post("/api/v1/inventory/reports", json!({ "report": format!("[{{\"Secret\": {SECRET}") })).await;
    assert!(!bad.text.contains(SECRET));
    assert_eq!(bad.expect(400).code(), "invalid_request");
}

#[tokio::test]
async fn rows_that_are_no_leases_are_not_in_the_inventory() {
    let control = Control::start().await;
    let lease = |id: &str, mount: &str| LeaseRow {
        id: id.to_owned(),
        mount: mount.to_owned(),
        token: None,
        entity: None,
        application: None,
        place: String::new(),
        issued: Timestamp::from_secs(1),
        expires_at: None,
        state: LeaseState::Active,
        attempts: 0,
        next_attempt: None,
        sealed: Vec::new(),
        revision: 0,
    };
    let mut unit = Unit::new(Actor::operator());
    unit.audit("test.lease", "vault/database", json!({}));
    for row in [lease("\u{1}s/app", "\u{1}"), lease("database/creds/app/1", "database/")] {
        unit.ops.push(Op::PutLease(row, Expect::Absent));
    }
    control.store.submit(unit).await.unwrap();
    assert_eq!(names(&get(&control, "/api/v1/inventory?kind=leases").await), ["leases database/"]);
}
