//! Reports of what was spent, over what all nodes added up.

use super::Control;
use credentialflow_model::Timestamp;
use credentialflow_store::SpendRow;
use http::Method;
use serde_json::{Value, json};

/// What calls of an application for a user to a model cost, in millionths of dollars, on a day of October 2026.
fn row(day: i64, [application, user, model]: [&str; 3], calls: i64, micros: i128) -> (Timestamp, SpendRow) {
    // The large model serves calls made of a prompt.
    let [prompt, version] = if model == "large" { ["sentiment", "3"] } else { [""; 2] };
    let names = [application, "", user, model, "openai", "m-1", "", "models", prompt, version, "served"];
    let names = names.map(str::to_owned).to_vec();
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
    let by = report(&control, "by=prompt,prompt_version,outcome").await;
    let none = json!({ "prompt": null, "prompt_version": null, "outcome": "served" });
    let third = json!({ "prompt": "sentiment", "prompt_version": "3", "outcome": "served" });
    assert_eq!(lines(&by), [of(none, "0.001027"), of(third, "0.00075")]);
    let by = report(&control, "by=model&prompt=sentiment&outcome=served").await;
    assert_eq!(lines(&by), [of(json!({ "model": "large" }), "0.00075")]);
    assert_eq!(lines(&report(&control, "by=model&outcome=rate_limited").await), []);
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
async fn a_report_comes_as_lines_for_spreadsheets() {
    let control = spent().await;
    let formula = row(3, ["shop", "=cmd|'/C calc'!A0", "small"], 1, 1);
    control.state.store.add_spend("a", ("s-1", 5, 6), &[formula]).await.unwrap();
    let path = "/api/v1/spend?from=2026-10-01&to=2026-11-01&by=day,user,prompt,application";
    let told = control.call(Method::GET, path, None, &[("accept", "text/csv")]).await.expect(200);
    let lines: Vec<_> = told.text.split("\r\n").map(str::to_owned).collect();
    let figures = "calls,calls_of_unknown_cost,calls_of_estimated_cost,input_tokens,cached_input_tokens,cache_write_tokens,\
        output_tokens,reasoning_tokens,cost_usd,calls_from_cache,saved_usd";
    assert_eq!(lines[0], format!("from,to,user,prompt,application,{figures}"), "in the order of `by`");
    let first = "2026-10-01T00:00:00Z,2026-10-02T00:00:00Z,ada,sentiment,shop,2,0,0,20,2,0,10,0,0.0005,1,0.000002";
    assert_eq!(lines[1], first);
    let third =
        "2026-10-03T00:00:00Z,2026-10-04T00:00:00Z,'=cmd|'/C calc'!A0,,shop,1,0,0,10,1,0,5,0,0.000001,1,0.000002";
    assert_eq!(lines[6], third, "no formula");
    assert_eq!((lines.len(), lines[7].as_str()), (8, ""), "all of them");
    assert_eq!(told.headers["content-type"], "text/csv; charset=utf-8; header=present");
    assert_eq!(told.headers["vary"], "accept");
    let none = "/api/v1/spend?from=2020-01-01&to=2020-02-01&by=model";
    let none = control.call(Method::GET, none, None, &[("accept", "text/csv")]).await.expect(200);
    assert_eq!(none.text, format!("from,to,model,{figures}\r\n"));
    for wrong in ["by=colour", "cursor=eA"] {
        let path = format!("/api/v1/spend?{wrong}");
        let told = control.call(Method::GET, &path, None, &[("accept", "text/csv")]).await.expect(400);
        assert_eq!(told.code(), "invalid_request", "{wrong}");
    }
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
