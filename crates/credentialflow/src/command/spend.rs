//! `credentialflow spend`: what model calls cost, by who called what and when, and whether that is what the call log says.

use super::Outcome;
use crate::{
    cli::Connection,
    client::{Client, with_query},
    output::{Output, at, items, shown, table},
};
use serde_json::Value;

/// What model calls cost, by who called what and when
#[derive(clap::Args)]
pub struct SpendArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Report what was spent, by time and within it the dearest first
    Report(Box<ReportArgs>),
    /// Add up the call log of the node that answers once more, call by call, and compare that with what reports say of it and
    /// with what budgets have charged
    Check(WindowArgs),
}

#[derive(clap::Args)]
struct WindowArgs {
    /// Calls that began at this moment or later: a time on a quarter of an hour, or a date, which means its midnight
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Calls that began before this moment; now unless set
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// The time zone of dates, days, weeks and months, as in Europe/Berlin; UTC unless set
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
}

#[derive(clap::Args)]
struct ReportArgs {
    #[command(flatten)]
    window: WindowArgs,
    /// What calls are told apart by: one of hour, day, week and month, and any of team, application, key, root_key, agent, user,
    /// model, provider, provider_model, credential, route, prompt, prompt_version, outcome and node, with commas between
    #[arg(long, value_name = "LIST")]
    by: Option<String>,
    /// Only of this team's applications
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// Only of this application
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Only with the key of this id
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Only for this end user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only to the model of this public name
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only to this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Only to what the provider calls so
    #[arg(long, value_name = "NAME")]
    provider_model: Option<String>,
    /// Only with this credential
    #[arg(long, value_name = "NAME")]
    credential: Option<String>,
    /// Only over this route
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Only those that were made of the prompt of this name
    #[arg(long, value_name = "NAME")]
    prompt: Option<String>,
    /// Only those that ended so, as in served
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Only those that this node recorded
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Write all lines as CSV
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    csv: bool,
    /// Most lines, 1 to 50000; 100 unless set
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_LINES)))]
    limit: Option<u32>,
    /// Where the page begins: the `next` of the page before
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Lines of a report at most.
const MOST_LINES: u32 = 50_000;

/// Figures of a line, with the headings of tables.
const FIGURES: [(&str, &str); 11] = [
    ("calls", "calls"),
    ("calls_of_unknown_cost", "unknown"),
    ("calls_of_estimated_cost", "estimated"),
    ("input_tokens", "input"),
    ("cached_input_tokens", "cached"),
    ("cache_write_tokens", "written"),
    ("output_tokens", "output"),
    ("reasoning_tokens", "reasoning"),
    ("cost_usd", "usd"),
    ("calls_from_cache", "from cache"),
    ("saved_usd", "saved"),
];

/// Runs the command.
pub async fn run(args: SpendArgs, output: Output) -> anyhow::Result<Outcome> {
    let client = Client::new(&args.connection)?;
    match args.verb {
        Verb::Report(args) if args.csv => {
            // The whole report comes in one answer: between pages lines change their places.
            output.raw(&client.get_text(&path(*args), "text/csv").await?)?;
            Ok(Outcome::Done)
        }
        Verb::Report(args) => {
            let answer = client.get(&path(*args)).await?;
            output.result(&answer, reported)?;
            Ok(Outcome::Done)
        }
        Verb::Check(WindowArgs { from, to, time_zone }) => {
            let parameters = [("from", from), ("to", to), ("time_zone", time_zone)];
            let answer = client.get(&with_query("/api/v1/spend/check", &parameters)).await?;
            output.result(&answer, checked)?;
            let agrees = answer["agrees"] == true && answer["budgets"]["agrees"] == true;
            Ok(if agrees { Outcome::Done } else { Outcome::Refused })
        }
    }
}

fn path(args: ReportArgs) -> String {
    let WindowArgs { from, to, time_zone } = args.window;
    let parameters = [
        ("by", args.by),
        ("from", from),
        ("to", to),
        ("time_zone", time_zone),
        ("team", args.team),
        ("application", args.application),
        ("key", args.key),
        ("user", args.user),
        ("model", args.model),
        ("provider", args.provider),
        ("provider_model", args.provider_model),
        ("credential", args.credential),
        ("route", args.route),
        ("prompt", args.prompt),
        ("outcome", args.outcome),
        ("node", args.node),
        ("limit", args.limit.map(|n| n.to_string())),
        ("cursor", args.cursor),
    ];
    with_query("/api/v1/spend", &parameters)
}

/// The words of `group`, in the order of the answer.
fn groups(answer: &Value) -> Vec<String> {
    let first = items(answer).first().and_then(|item| item["group"].as_object());
    first.map(|group| group.keys().cloned().collect()).unwrap_or_default()
}

fn reported(answer: &Value) -> String {
    if items(answer).is_empty() {
        return format!("No model call from {} to {}.\n", at(answer, "/from"), at(answer, "/to"));
    }
    let groups = groups(answer);
    let figures = FIGURES.iter().map(|(_, heading)| *heading);
    let columns: Vec<&str> = ["from"].into_iter().chain(groups.iter().map(String::as_str)).chain(figures).collect();
    let of = |item: &Value| FIGURES.map(|(field, _)| at(item, &format!("/{field}")));
    let line = |item: &Value| {
        let name = |group: &String| match group.as_str() {
            "key" if item["key_name"].is_string() => at(item, "/key_name"),
            group => at(item, &format!("/group/{group}")),
        };
        [at(item, "/from")].into_iter().chain(groups.iter().map(name)).chain(of(item)).collect()
    };
    let mut lines: Vec<Vec<String>> = items(answer).iter().map(line).collect();
    let all = ["all".to_owned()].into_iter().chain(groups.iter().map(|_| String::new()));
    lines.push(all.chain(of(&answer["total"])).collect());
    let mut text = table(&columns, &lines);
    for node in answer["nodes"].as_array().into_iter().flatten().filter(|node| node["live"] != true) {
        let told = at(node, "/told");
        text += &format!(
            "Node {} is not there; its calls are in as far as it told of them, last at {told}.\n",
            shown(&at(node, "/node"))
        );
    }
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        text += &format!("More: --cursor {}\n", shown(next));
    }
    text
}

fn checked(answer: &Value) -> String {
    let mut text =
        format!("Node {}, calls from {} to {}\n", shown(&at(answer, "/node")), at(answer, "/from"), at(answer, "/to"));
    let line = |name: &str, path: &str| {
        let figures = FIGURES.map(|(field, _)| at(answer, &format!("/{path}/{field}")));
        [name.to_owned()].into_iter().chain(figures).collect::<Vec<_>>()
    };
    let columns: Vec<&str> = [""].into_iter().chain(FIGURES.iter().map(|(_, heading)| *heading)).collect();
    text += &table(&columns, &[line("call log", "call_log"), line("reports", "report")]);
    let verdict = if answer["agrees"] == true { "Both agree" } else { "They differ" };
    text += &format!("{verdict}: the difference is {} US dollars.\n", at(answer, "/difference_usd"));
    if answer["complete"] == false {
        text += "The call log does not go back so far, or could not be read to its end in time.\n";
    }
    text += &budgets(&answer["budgets"]);
    text
}

/// What budgets have charged beside what calls say.
fn budgets(told: &Value) -> String {
    let mut text = match told["agreeing"].as_u64() {
        Some(0) | None => String::new(),
        Some(1) => "1 budget has charged what its calls say.\n".to_owned(),
        Some(many) => format!("{many} budgets have charged what their calls say.\n"),
    };
    let items = items(told);
    if items.is_empty() {
        return text;
    }
    let cell = |item: &Value, field: &str| at(item, &format!("/{field}"));
    let line = |item: &Value| {
        let what = if item["certain"] == true { "differs" } else { "not all calls are here" };
        let figures = ["budget", "charged_usd", "call_log_usd", "difference_usd"].map(|field| cell(item, field));
        figures.into_iter().chain([what.to_owned()]).collect()
    };
    let lines: Vec<Vec<String>> = items.iter().map(line).collect();
    text += &table(&["budget", "charged usd", "call log usd", "difference", ""], &lines);
    if told["more"] == true {
        text += "There are more.\n";
    }
    let others = told["other_nodes"].as_array().into_iter().flatten().filter_map(Value::as_str).map(shown);
    let others: Vec<_> = others.collect();
    if !others.is_empty() {
        text +=
            &format!("Not read: the call logs of {}. Ask each node, and add up what they say.\n", others.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer() -> Value {
        let figures = json!({ "calls": 3, "calls_of_unknown_cost": 1, "calls_of_estimated_cost": 0, "input_tokens": 100,
            "cached_input_tokens": 20, "cache_write_tokens": 0, "output_tokens": 50, "reasoning_tokens": 5,
            "cost_usd": "0.000135", "calls_from_cache": 2, "saved_usd": "0.00027" });
        let mut item = json!({ "from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z",
            "group": { "application": "checkout", "key": "0123", "user": null }, "key_name": "checkout-live" });
        item.as_object_mut().unwrap().extend(figures.as_object().unwrap().clone());
        json!({ "from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z", "items": [item], "total": figures,
            "nodes": [{ "node": "a", "live": true }, { "node": "gone", "live": false, "told": "2026-11-22T00:00:00Z" }],
            "next": "Mg" })
    }

    #[test]
    fn a_report_is_a_table_with_its_sum_and_whose_calls_are_missing() {
        let told = reported(&answer());
        for part in ["application", "checkout-live", "0.000135", "all", "Node gone is not there", "--cursor Mg"] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
        assert!(!told.contains("Node a "), "{told}");
        assert!(reported(&json!({ "items": [], "from": "x", "to": "y" })).starts_with("No model call from x to y"));
    }

    #[test]
    fn a_check_tells_both_sums() {
        let figures = answer()["total"].clone();
        let told = checked(&json!({ "node": "a", "from": "x", "to": "y", "call_log": figures, "report": figures,
            "difference_usd": "0", "agrees": true, "complete": true, "budgets": { "agrees": false, "agreeing": 2, "more": false,
            "other_nodes": ["b"], "items": [
                { "budget": "applications/a/month", "charged_usd": "1", "call_log_usd": "3", "difference_usd": "-2", "certain": true },
                { "budget": "keys/k/day", "charged_usd": "2", "call_log_usd": "1", "difference_usd": "1", "certain": false }] } }));
        assert!(told.contains("Both agree: the difference is 0") && !told.contains("could not be read"), "{told}");
        for part in ["2 budgets have charged what", "applications/a/month  1", "differs", "not all calls", "logs of b."]
        {
            assert!(told.contains(part), "{part} is not in {told}");
        }
        assert_eq!(budgets(&json!({ "agreeing": 0, "items": [] })), "");
    }
}
