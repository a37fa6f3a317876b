//! Resources one by one: revisions, conflicts, idempotent creation, acknowledged changes.

use super::{
    Control, FILE,
    inventory::{record, world},
    value,
};
use credentialflow_model::KeyId;
use http::Method;
use serde_json::{Value, json};
use std::{future::Future, sync::atomic::Ordering::SeqCst};

fn team(description: &str) -> Value {
    json!({ "name": "payments", "description": description })
}

#[tokio::test]
async fn a_resource_is_created_read_changed_listed_and_deleted() {
    let control = Control::start().await;
    let created = control.post("/api/v1/teams", team("a")).await.expect(201);
    let etag = created.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(control.post("/api/v1/teams", team("b")).await.expect(409).code(), "already_exists");
    let read = control.get("/api/v1/teams/payments").await.expect(200);
    assert_eq!(read.headers["etag"], etag.as_str());
    assert_eq!(read.json()["spec"], team("a"));
    let changed = control.put("/api/v1/teams/payments", team("b")).await.expect(200);
    assert_ne!(changed.headers["etag"], etag.as_str());
    control.put("/api/v1/teams/other", team("b")).await.expect(422);
    for n in 0..5 {
        control.put(&format!("/api/v1/teams/t{n}"), json!({ "name": format!("t{n}") })).await.expect(201);
    }
    let first = control.get("/api/v1/teams?limit=4&q=t").await.expect(200).json();
    assert_eq!(first["items"].as_array().unwrap().len(), 4);
    let next = first["next"].as_str().unwrap();
    let rest = control.get(&format!("/api/v1/teams?limit=4&q=t&cursor={next}")).await.expect(200).json();
    assert_eq!((rest["items"].as_array().unwrap().len(), rest.get("next")), (2, None));
    for bad in ["?limit=0", "?limit=1001", "?cursor=%21", "?unknown=1"] {
        assert_eq!(control.get(&format!("/api/v1/teams{bad}")).await.expect(400).code(), "invalid_request");
    }
    control.call(Method::DELETE, "/api/v1/teams/payments", None, &[]).await.expect(204);
    control.get("/api/v1/teams/payments").await.expect(404);
    assert!(control.dataplane.published.load(SeqCst) >= 8, "every change was published");
}

#[tokio::test]
async fn budgets_are_listed_with_what_is_spent_of_them() {
    use credentialflow_model::{Timestamp, ledger::Turn, resource::Budget};
    let control = Control::start().await;
    let budget = json!({ "usd": "2.5", "per": "month", "hard": true });
    for n in 0..3 {
        let name = format!("a{n}");
        let body = json!({ "name": name, "budget": if n == 1 { Value::Null } else { budget.clone() } });
        control.put(&format!("/api/v1/applications/{name}"), body).await.expect(201);
    }
    control.put("/api/v1/teams/t", json!({ "name": "t", "budget": budget.clone() })).await.expect(201);
    let spent: Budget = serde_json::from_value(budget).unwrap();
    let window = spent.window(Timestamp::from(std::time::SystemTime::now()));
    let turn = Turn { limit: Some(spent.pico()), charge: 1_250_000_000_001, need: 10_000_000_000, ..Turn::default() };
    let (started, ends) = (window.start, window.end);
    let item = credentialflow_store::BudgetItem {
        budget: "applications/a2/month".into(),
        started,
        ends,
        turn,
        unlogged: 1_000_000,
    };
    control.store.enter_budget_node("n1", "one", 1, "0.0").await.unwrap();
    control.store.budget_turn("n1", 1, None, &[item]).await.unwrap();
    let listed = control.get("/api/v1/budgets").await.expect(200).json();
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|b| b["budget"].clone()).collect();
    assert_eq!(names, ["applications/a0/month", "applications/a2/month", "teams/t/month"]);
    let of = &listed["items"][1];
    for (field, value) in [
        ("limit_usd", json!("2.5")),
        ("spent_usd", json!("1.250000000001")),
        ("reserved_usd", json!("0.01")),
        ("left_usd", json!("1.239999999999")),
        ("unlogged_usd", json!("0.000001")),
        ("lost_usd", json!("0")),
        ("percent", json!(50)),
        ("warn_at", json!(80)),
        ("time_zone", json!("UTC")),
        ("nodes", json!([{ "node": "one", "reserved_usd": "0.01" }])),
    ] {
        assert_eq!(of[field], value, "{field}");
    }
    assert_eq!(listed["items"][0]["left_usd"], "2.5");
    let page = control.get("/api/v1/budgets?limit=1").await.expect(200).json();
    let next = page["next"].as_str().unwrap();
    let rest = control.get(&format!("/api/v1/budgets?limit=1&cursor={next}")).await.expect(200).json();
    assert_eq!(rest["items"][0]["name"], "a2");
    let next = rest["next"].as_str().unwrap();
    let rest = control.get(&format!("/api/v1/budgets?limit=1&cursor={next}")).await.expect(200).json();
    assert_eq!((&rest["items"][0]["kind"], rest.get("next")), (&json!("teams"), None));
    for (query, count) in [
        ("min_percent=50", 1),
        ("min_percent=51", 0),
        ("name=a0", 1),
        ("name=a", 0),
        ("kind=teams", 1),
        ("kind=models", 0),
    ] {
        let found = control.get(&format!("/api/v1/budgets?{query}")).await.expect(200).json();
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{query}");
    }
    for bad in ["limit=0", "cursor=%21", "min_percent=-1", "kind=routes"] {
        assert_eq!(control.get(&format!("/api/v1/budgets?{bad}")).await.expect(400).code(), "invalid_request");
    }
}

#[tokio::test]
async fn several_budgets_of_keys_and_providers_are_listed_page_by_page() {
    use credentialflow_model::{Timestamp, ledger::Turn, resource::budget::BudgetWindow};
    let control = Control::start().await;
    let both = json!([{ "usd": "5", "per": "24h", "hard": true }, { "usd": "50", "per": "month" }]);
    control.put("/api/v1/applications/a", json!({ "name": "a", "budget": both.clone() })).await.expect(201);
    assert_eq!(control.get("/api/v1/applications/a").await.expect(200).json()["spec"]["budget"][0]["per"], "1d");
    let key = json!({ "name": "k", "application": "a", "budget": { "usd": 1, "per": "week" } });
    control.call(Method::POST, "/api/v1/keys", Some(key), &[]).await.expect(201);
    let plain = json!({ "name": "l", "application": "a", "metadata": { "budget": "none" } });
    control.call(Method::POST, "/api/v1/keys", Some(plain), &[]).await.expect(201);
    let mine = json!({ "name": "mine", "endpoints": ["http://127.0.0.1:1"], "provider": "openai", "budget": both });
    control.put("/api/v1/upstreams/mine", mine).await.expect(201);
    let all = ["applications/a/1d", "applications/a/month", "keys/k/week", "upstreams/mine/1d", "upstreams/mine/month"];
    for limit in 1..=6 {
        let (mut told, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = control.get(&format!("/api/v1/budgets?limit={limit}{cursor}")).await.expect(200).json();
            let items = page["items"].as_array().unwrap();
            assert!(!items.is_empty() && items.len() <= limit, "{page}");
            told.extend(items.iter().map(|b| b["budget"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(told, all, "{limit} on a page");
    }
    for (query, count) in [("kind=keys", 1), ("kind=upstreams", 2), ("name=a", 2), ("name=a&limit=1", 1)] {
        let found = control.get(&format!("/api/v1/budgets?{query}")).await.expect(200).json();
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{query}");
    }
    // What rolls tells from when on more is there, once anything counts.
    let rolling =
        async || control.get("/api/v1/budgets?kind=applications&limit=1").await.expect(200).json()["items"][0].clone();
    let before = rolling().await;
    assert_eq!((&before["per"], before.get("ends"), before.get("time_zone")), (&json!("1d"), None, None));
    let BudgetWindow { start: started, end: ends } = BudgetWindow::ALWAYS;
    let turn =
        Turn { limit: Some(5_000_000_000_000), charge: 1_250_000_000_000, need: 10_000_000_000, ..Turn::default() };
    let item = credentialflow_store::BudgetItem {
        budget: "applications/a/1d".into(),
        started,
        ends,
        turn,
        unlogged: 1_000_000,
    };
    control.store.enter_budget_node("n1", "one", 1, "0.0").await.unwrap();
    control.store.budget_turn("n1", 1, None, &[item]).await.unwrap();
    let of = rolling().await;
    for (field, value) in [
        ("spent_usd", "1.25"),
        ("reserved_usd", "0.01"),
        ("left_usd", "3.74"),
        ("unlogged_usd", "0.000001"),
        ("lost_usd", "0"),
    ] {
        assert_eq!(of[field], value, "{field}");
    }
    let ends: Timestamp = of["ends"].as_str().unwrap().parse().unwrap();
    let hours = (ends.secs() - Timestamp::from(std::time::SystemTime::now()).secs()) / 3600;
    assert!((22..=26).contains(&hours), "a day and at most an hour from then: {hours}");
}

#[tokio::test]
async fn of_concurrent_edits_with_if_match_exactly_one_wins() {
    let control = Control::start().await;
    let etag = control.post("/api/v1/teams", team("0")).await.headers["etag"].to_str().unwrap().to_owned();
    let edit = |text: &'static str| {
        let (control, etag) = (&control, etag.as_str());
        async move { control.call(Method::PUT, "/api/v1/teams/payments", Some(team(text)), &[("if-match", etag)]).await }
    };
    let (a, b, c) = tokio::join!(edit("a"), edit("b"), edit("c"));
    let mut statuses = [a.status.as_u16(), b.status.as_u16(), c.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412]);
    let stale = [("if-match", etag.as_str())];
    let answer = control.call(Method::DELETE, "/api/v1/teams/payments", None, &stale).await.expect(412);
    assert_eq!(answer.code(), "revision_mismatch");
}

#[tokio::test]
async fn a_change_that_leaves_a_name_dangling_is_refused_whole() {
    let control = Control::start().await;
    control.apply(FILE, value("v1")).await.expect(200);
    let before = control.seq().await;
    for used in
        ["upstreams/orders", "routes/orders", "applications/checkout", "teams/payments", "credentials/orders-token"]
    {
        let answer = control.call(Method::DELETE, &format!("/api/v1/{used}"), None, &[]).await.expect(422);
        assert!(!answer.json()["problems"].as_array().unwrap().is_empty(), "{used}");
    }
    // Every problem of a body at once, each with its place in the body.
    let bad = json!({ "name": "bad", "match": { "path": "no-slash" }, "upstream": "nowhere", "authenticate": [] });
    let answer = control.post("/api/v1/routes", bad).await.expect(422).json();
    let paths: Vec<_> = answer["problems"].as_array().unwrap().iter().map(|p| p["path"].as_str().unwrap()).collect();
    for path in ["match.path", "upstream", "authenticate"] {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
    let unknown = json!({ "name": "t", "descriptoin": "x", "more": 1 });
    let answer = control.post("/api/v1/teams", unknown).await.expect(422).json();
    assert_eq!(answer["problems"].as_array().unwrap().len(), 2);
    assert_eq!(control.seq().await, before);
}

#[tokio::test]
async fn a_key_is_issued_once_and_the_same_answer_comes_back_for_the_same_wish() {
    let control = Control::start().await;
    control.post("/api/v1/applications", json!({ "name": "checkout" })).await.expect(201);
    let key = |name: &str| Some(json!({ "name": name, "application": "checkout" }));
    let wish = [("idempotency-key", "abc")];
    let first = control.call(Method::POST, "/api/v1/keys", key("k"), &wish).await.expect(201);
    let again = control.call(Method::POST, "/api/v1/keys", key("k"), &wish).await.expect(201);
    assert_eq!(first.json(), again.json());
    assert_eq!(first.headers["etag"], again.headers["etag"]);
    assert!(first.json()["secret"].as_str().unwrap().starts_with("cfk_live_"));
    let other = control.call(Method::POST, "/api/v1/keys", key("other"), &wish).await.expect(409);
    assert_eq!(other.code(), "idempotency_mismatch");
    assert_eq!(control.call(Method::POST, "/api/v1/keys", key("k"), &[]).await.expect(409).code(), "already_exists");
    // Two secrets while a rotation overlaps, none after revocation.
    let rotated = control.post("/api/v1/keys/k/rotate", json!({ "overlap": "1h" })).await.expect(200).json();
    assert_ne!(rotated["secret"], first.json()["secret"]);
    assert_eq!(rotated["key"]["id"], first.json()["key"]["id"]);
    let states = |item: &Value| -> Vec<String> {
        item["secrets"].as_array().unwrap().iter().map(|s| s["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&rotated["key"]), ["previous", "current"]);
    let revoked = control.call(Method::POST, "/api/v1/keys/k/revoke", None, &[]).await.expect(200).json();
    assert_eq!(states(&revoked), ["revoked", "revoked"]);
    assert!(revoked["revoked"].is_string());
    assert_eq!((&revoked["published"]["nodes"], &revoked["published"]["lost"]), (&json!(["one"]), &json!([])));
    assert_eq!(control.post("/api/v1/keys/k/rotate", json!({})).await.expect(409).code(), "conflict");
    assert_eq!(control.get("/api/v1/keys").await.expect(200).json()["items"].as_array().unwrap().len(), 1);
    control.call(Method::DELETE, "/api/v1/keys/k", None, &[]).await.expect(204);
    control.get("/api/v1/keys/k").await.expect(404);
}

#[tokio::test]
async fn equal_creations_at_once_make_one_key() {
    let control = Control::start().await;
    control.post("/api/v1/applications", json!({ "name": "checkout" })).await.expect(201);
    let body = || Some(json!({ "name": "k", "application": "checkout" }));
    let wish = [("idempotency-key", "at-once")];
    let create = || control.call(Method::POST, "/api/v1/keys", body(), &wish);
    let (a, b, c) = tokio::join!(create(), create(), create());
    assert_eq!(a.expect(201).json(), b.expect(201).json());
    c.expect(201);
}

#[tokio::test]
async fn a_credential_is_rotated_and_revoked() {
    let control = Control::start().await;
    let body = json!({ "name": "token", "engine": "static", "secret": "s3cret-one" });
    let created = control.post("/api/v1/credentials", body).await.expect(201).json();
    assert_eq!(created["current_version"], 1);
    control.post("/api/v1/credentials", json!({ "name": "empty", "engine": "static" })).await.expect(422);
    control.get("/api/v1/credentials/empty").await.expect(404);
    let rotation =
        control.post("/api/v1/credentials/token/rotate", json!({ "secret": "s3cret-two" })).await.expect(202);
    let id = rotation.json()["id"].as_str().unwrap().to_owned();
    let followed = control.get(&format!("/api/v1/rotations/{id}")).await.expect(200).json();
    assert_eq!(
        (&followed["from_version"], &followed["to_version"], &followed["in_flight"]),
        (&json!(1), &json!(2), &json!(3))
    );
    let busy = control.post("/api/v1/credentials/token/rotate", json!({ "secret": "s3cret-three" })).await;
    assert_eq!(busy.expect(409).code(), "conflict");
    assert_eq!(control.get("/api/v1/status").await.json()["rotations"].as_array().unwrap().len(), 1);
    let versions = control.get("/api/v1/credentials/token/versions").await.expect(200).json();
    assert_eq!(versions["items"][0]["version"], 2);
    let revoked = control.post("/api/v1/credentials/token/revoke", json!({})).await.expect(200).json();
    assert_eq!(revoked["versions"], json!([1, 2]));
    assert_eq!(control.get("/api/v1/credentials/token").await.json()["current_version"], Value::Null);
    control.call(Method::DELETE, "/api/v1/credentials/token", None, &[]).await.expect(204);
    control.get("/api/v1/credentials/token/versions").await.expect(200);
}

#[tokio::test]
async fn what_is_stored_but_not_enforced_is_said_to_be_stored() {
    let control = Control::start().await;
    control.dataplane.stuck.store(true, SeqCst);
    let answer = control.post("/api/v1/teams", team("a")).await.expect(503);
    assert_eq!(answer.code(), "not_yet_enforced");
    assert_eq!(answer.json()["applied"], true);
    control.get("/api/v1/teams/payments").await.expect(200);
}

#[tokio::test]
async fn bodies_are_bounded_and_must_be_json() {
    let control = Control::start().await;
    let huge = json!({ "name": "t", "description": "x".repeat(2 << 20) });
    assert_eq!(control.post("/api/v1/teams", huge).await.expect(413).code(), "body_too_large");
    let request = http::Request::post("/api/v1/teams")
        .header("authorization", format!("Bearer {}", control.token))
        .body(axum::body::Body::from("name=t"))
        .unwrap();
    assert_eq!(control.send(request).await.expect(415).code(), "unsupported_media_type");
    let answer = control.call(Method::PUT, "/api/v1/teams", None, &[]).await.expect(405);
    assert_eq!(answer.code(), "method_not_allowed");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn calls_are_found_by_filter_and_by_id_and_the_rest_is_said_to_be_wrong() {
    let control = Control::start().await;
    assert_eq!(control.get("/api/v1/calls").await.expect(200).json()["items"], json!([]));
    for bad in ["status=9", "cursor=..%2F..", "outcome=nothing", "key=short", "since=yesterday", "limit=5000"] {
        assert_eq!(control.get(&format!("/api/v1/calls?{bad}")).await.expect(400).code(), "invalid_request");
    }
    control
        .get("/api/v1/calls?status=5xx&outcome=served&min_duration_ms=5&since=2026-11-01T00:00:00Z")
        .await
        .expect(200);
    control.get("/api/v1/calls/01JCQ6Z5V9W3T1Y8K2M4N6P8R0").await.expect(404);
    control.get("/api/v1/calls/nonsense").await.expect(404);
    let stats = control.get("/api/v1/stats?window=1h").await.expect(200).json();
    assert_eq!(stats["total"]["requests"], 0);
    assert!(stats["series"].as_array().unwrap().len() > 10);
    control.get("/api/v1/stats?window=9d").await.expect(400);
    assert!(control.get("/metrics").await.expect(200).text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn calls_tell_what_is_declared_of_their_key() {
    let control = Control::start().await;
    let (key, _) = world(&control).await;
    record(&control, key, 2, true);
    let calls = control.get("/api/v1/calls").await.expect(200).json();
    let [first, second] = &calls["items"].as_array().unwrap()[..] else { panic!("{calls}") };
    assert_eq!(
        (&first["key_metadata"], &second["key_metadata"]),
        (&json!({ "cost-center": "4711" }), &first["key_metadata"])
    );
    let id = first["request_id"].as_str().unwrap();
    assert_eq!(control.get(&format!("/api/v1/calls/{id}")).await.expect(200).json(), *first);
    // What is gone is told no more; the call stays.
    record(&control, KeyId::from_bits(77), 1, true);
    let calls = control.get("/api/v1/calls").await.expect(200).json();
    assert_eq!(calls["items"].as_array().unwrap().iter().filter(|c| c.get("key_metadata").is_none()).count(), 1);
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_in_order_and_pages_both_ways() {
    let control = Control::start().await;
    control.apply(FILE, value("v1")).await.expect(200);
    control.post("/api/v1/teams", json!({ "name": "later" })).await.expect(201);
    let all = control.get("/api/v1/audit?after=0").await.expect(200).json();
    let events = all["items"].as_array().unwrap();
    let actions: Vec<_> = events.iter().map(|e| e["action"].as_str().unwrap()).collect();
    for action in ["vault.init", "key.create", "credential.create", "config.apply", "team.create"] {
        assert!(actions.contains(&action), "{action} in {actions:?}");
    }
    assert!(events.windows(2).all(|w| w[0]["hash"] == w[1]["previous_hash"]));
    let last = events.last().unwrap();
    assert_eq!((&last["subject"], &last["actor"]["source"]), (&json!("teams/later"), &json!("127.0.0.1")));
    let newest = control.get("/api/v1/audit?limit=2").await.expect(200).json();
    assert_eq!(newest["items"][0], *last);
    let before = newest["items"][1]["seq"].as_u64().unwrap();
    let older = control.get(&format!("/api/v1/audit?limit=1&before={before}")).await.expect(200).json();
    assert_eq!(older["items"][0]["seq"], before - 1);
    control.get("/api/v1/audit?after=1&before=2").await.expect(400);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_keep_its_change_from_being_enforced() {
    let control = Control::start().await;
    let request = http::Request::post("/api/v1/teams")
        .header("authorization", format!("Bearer {}", control.token))
        .header("content-type", "application/json")
        .body(axum::body::Body::from(team("a").to_string()))
        .unwrap();
    let mut answer = Box::pin(control.send(request));
    // Begun and dropped at once, as when the connection closes.
    let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(answer.as_mut().poll(cx).is_pending())).await;
    assert!(begun);
    drop(answer);
    for _ in 0..6000 {
        if control.dataplane.published.load(SeqCst) == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the change was not published");
}

#[tokio::test]
async fn the_catalogue_tells_what_is_known_of_models() {
    let control = Control::start().await;
    let of = async |query: &str| control.get(&format!("/api/v1/catalogue/models{query}")).await.expect(200).json();
    let found = of("?provider=openai-responses&q=gpt-5-mini-2025").await;
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    let model = &found["items"][0];
    for (path, value) in [
        ("/provider", json!("openai")),
        ("/model", json!("gpt-5-mini")),
        ("/also/0", json!("gpt-5-mini-2025-08-07")),
        ("/context", json!(400_000)),
        ("/capabilities/0", json!("vision")),
        ("/prices/0/price/from", json!("2025-08-07T00:00:00Z")),
        ("/prices/0/price/cached_input", json!("0.025")),
        ("/prices/0/batch/output", json!("1")),
        ("/prices/0/source/by", json!("tables")),
    ] {
        assert_eq!(model.pointer(path), Some(&value), "{path}");
    }
    // What is told of a price is what a target takes.
    let long = of("?provider=gemini&q=3.1-pro").await;
    let price = &long["items"][0]["prices"][0]["price"];
    assert_eq!(price["long_context"]["above"], 200_000);
    let target = json!({ "provider": "gemini", "model": "gemini-3.1-pro-preview", "prices": [price] });
    control.put("/api/v1/models/m", json!({ "name": "m", "targets": [target] })).await.expect(201);

    let all = of("?limit=1000").await;
    assert!(all["items"].as_array().unwrap().len() > 100 && all.get("next").is_none());
    let (mut paged, mut next) = (Vec::new(), String::new());
    loop {
        let page = of(&format!("?limit=60{next}")).await;
        paged.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(Value::Array(paged), all["items"]);
    assert!(of("?provider=nobody").await["items"].as_array().unwrap().is_empty());
    for bad in ["limit=0", "cursor=%21", "cursor=bm90aGluZw", "models=1"] {
        let refused = control.get(&format!("/api/v1/catalogue/models?{bad}")).await;
        assert_eq!(refused.expect(400).code(), "invalid_request", "{bad}");
    }
}
