//! Reports of what was spent, over what all nodes added up.

use super::Control;
use credentialflow_model::Timestamp;
use credentialflow_store::SpendRow;
use serde_json::{Value, json};

/// What calls of an application for a user to a model cost, in millionths of dollars, on a day of October 2026.
fn row(day: i64, [application, user, model]: [&str; 3], calls: i64, micros: i128) -> (Timestamp, SpendRow) {
    let names = [application, "", user, model, "openai", "m-1", "", "models"].map(str::to_owned).to_vec();
    let counts = [calls, 0, 0, 10 * calls, calls, 0, 5 * calls, 0, 1];
    // Midnight of the first is 1790812800.
    let started = Timestamp::from_secs(1_790_812_800 + (day - 1) * 86_400 + 12 * 3600);
    (started, SpendRow { names, counts, cost: micros * 1_000_000, saved: 2_000_000 })
}

async fn spent() -> Control {
    let control = Control::start().await;
    let declared = "teams: [{ name: payments }]
applications:
  - { name: shop, team: payments }
  - { name: desk }
";
    control.apply(declared, json!({})).await.expect(200);
    let rows = [
        row(1, ["shop", "ada", "large"], 2, 500),
        row(1, ["shop", "grace", "small"], 1, 20),
        row(2, ["shop", "ada", "large"], 1, 250),
        row(2, ["gone", "", "small"], 1, 7),
    ];
    control.state.store.add_spend("a", ("s-1", 0, 5), &rows).await.unwrap();
    control.state.store.add_spend("b", ("s-2", 0, 1), &[row(2, ["desk", "", "small"], 4, 1000)]).await.unwrap();
    control
}

async fn report(control: &Control, query: &str) -> Value {
    let path = format!("/api/v1/spend?from=2026-10-01&to=2026-11-01&{query}");
    control.get(&path).await.expect(200).json()
}

/// What lines have in common, and what they cost.
fn lines(report: &Value) -> Vec<(Value, String)> {
    let line = |item: &Value| (item["group"].clone(), item["cost_usd"].as_str().unwrap().to_owned());
    report["items"].as_array().unwrap().iter().map(line).collect()
}

#[tokio::test]
async fn calls_are_told_apart_by_what_is_asked() {
    let control = spent().await;
    let of = |group: Value, usd: &str| (group, usd.to_owned());
    let all = report(&control, "").await;
    assert_eq!(lines(&all), [of(json!({}), "0.001777")]);
    let item = &all["items"][0];
    assert_eq!(
        (&item["calls"], &item["input_tokens"], &item["cached_input_tokens"]),
        (&json!(9), &json!(90), &json!(9))
    );
    assert_eq!(all["total"]["cost_usd"], "0.001777");
    assert_eq!(
        all["total"]["saved_usd"].as_str().unwrap().parse::<f64>().unwrap() * 1e6,
        2.0 * all["total"]["calls_from_cache"].as_f64().unwrap()
    );
    let by = report(&control, "by=team").await;
    let none = json!({ "team": null });
    assert_eq!(lines(&by), [of(none, "0.001007"), of(json!({ "team": "payments" }), "0.00077")], "the dearest first");
    let by = report(&control, "by=day,application&application=shop").await;
    assert_eq!(lines(&by).len(), 2);
    assert_eq!(
        (&by["items"][0]["from"], &by["items"][0]["cost_usd"]),
        (&json!("2026-10-01T00:00:00Z"), &json!("0.00052"))
    );
    assert_eq!(
        (&by["items"][1]["to"], &by["items"][1]["cost_usd"]),
        (&json!("2026-10-03T00:00:00Z"), &json!("0.00025"))
    );
    let by = report(&control, "by=user,model&team=payments").await;
    let (ada, grace) = (json!({ "user": "ada", "model": "large" }), json!({ "user": "grace", "model": "small" }));
    assert_eq!(lines(&by), [of(ada, "0.00075"), of(grace, "0.00002")]);
    let by = report(&control, "by=node").await;
    assert_eq!(lines(&by), [of(json!({ "node": "b" }), "0.001"), of(json!({ "node": "a" }), "0.000777")]);
    let nodes: Vec<_> =
        by["nodes"].as_array().unwrap().iter().map(|n| (n["node"].clone(), n["live"].clone())).collect();
    assert_eq!(nodes, [(json!("a"), json!(false)), (json!("b"), json!(false))], "neither of them is there");
    assert_eq!(lines(&report(&control, "by=user&user=nobody").await), []);
}

#[tokio::test]
async fn a_report_comes_in_pages_with_one_total() {
    let control = spent().await;
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = report(&control, &format!("by=day,application,user&limit=2{cursor}")).await;
        assert_eq!(page["total"]["cost_usd"], "0.001777");
        assert!(page["items"].as_array().unwrap().len() <= 2);
        found.extend(lines(&page));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, lines(&report(&control, "by=day,application,user").await));
    assert_eq!(found.len(), 5);
    assert_eq!(lines(&report(&control, "by=day,application,user&limit=50000").await).len(), 5);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let control = spent().await;
    for wrong in [
        "by=colour",
        "by=day,week",
        "from=soon",
        "from=2026-10-01T00:01:00Z",
        "time_zone=Atlantis",
        "limit=0",
        "limit=50001",
        "cursor=eA",
        "colour=red",
    ] {
        let told = control.get(&format!("/api/v1/spend?{wrong}")).await.expect(400);
        assert_eq!(told.code(), "invalid_request", "{wrong}");
    }
    control.get("/api/v1/spend/check").await.expect(404);
}
