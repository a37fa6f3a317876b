//! `credentialflow budget`: what may be spent, what is spent, and what is held back for running calls.

use super::Outcome;
use crate::{
    cli::Connection,
    client::{Client, with_query},
    output::{Output, at, items, shown, table},
};
use serde_json::Value;

/// Budgets: what may be spent on models, and what is
#[derive(clap::Args)]
pub struct BudgetArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List budgets in their current windows, by kind and name
    List {
        /// Only of this kind; end users are listed only so
        #[arg(long, value_name = "KIND", value_parser = ["applications", "keys", "models", "teams", "upstreams", "users"])]
        kind: Option<String>,
        /// Only of what has this name; of end users, that of their application
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Only those of which at least so many percent are spent
        #[arg(long, value_name = "NUMBER")]
        min_percent: Option<u32>,
        /// Most budgets, 1 to 1000
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: Option<u32>,
        /// Where the page begins: the `next` of the page before
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
}

/// Runs the command.
pub async fn run(args: BudgetArgs, output: Output) -> anyhow::Result<Outcome> {
    let client = Client::new(&args.connection)?;
    let Verb::List { kind, name, min_percent, limit, cursor } = args.verb;
    let parameters = [
        ("kind", kind),
        ("name", name),
        ("min_percent", min_percent.map(|n| n.to_string())),
        ("limit", limit.map(|n| n.to_string())),
        ("cursor", cursor),
    ];
    let answer = client.get(&with_query("/api/v1/budgets", &parameters)).await?;
    output.result(&answer, listed)?;
    Ok(Outcome::Done)
}

fn listed(answer: &Value) -> String {
    if items(answer).is_empty() {
        return "No budgets. An application gets one with `budget: { usd: 50, per: month }`.\n".to_owned();
    }
    let columns = ["of", "name", "per", "kind", "limit", "spent", "%", "reserved", "left", "lost", "ends", "held by"];
    let row = |item: &Value| {
        let kind = if item["hard"] == true { "hard" } else { "soft" };
        let nodes = item["nodes"].as_array().into_iter().flatten();
        let held: Vec<_> = nodes.map(|node| format!("{} {}", at(node, "/node"), at(node, "/reserved_usd"))).collect();
        let of = |path: &str| at(item, path);
        vec![
            of("/kind"),
            if item["user"].is_string() { format!("{} {}", of("/name"), of("/user")) } else { of("/name") },
            of("/per"),
            kind.to_owned(),
            of("/limit_usd"),
            of("/spent_usd"),
            of("/percent"),
            of("/reserved_usd"),
            of("/left_usd"),
            of("/lost_usd"),
            of("/ends"),
            held.join(", "),
        ]
    };
    let mut text = table(&columns, &items(answer).iter().map(row).collect::<Vec<_>>());
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        text += &format!("More: --cursor {}\n", shown(next));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_budget_is_a_line() {
        let told = listed(&json!({ "items": [{
            "kind": "applications", "name": "checkout", "per": "month", "hard": true, "limit_usd": "50", "spent_usd": "12.5",
            "percent": 25, "reserved_usd": "0.25", "left_usd": "37.25", "lost_usd": "0", "ends": "2026-12-01T00:00:00Z",
            "nodes": [{ "node": "a", "reserved_usd": "0.2" }, { "node": "b", "reserved_usd": "0.05" }],
        }], "next": "checkout" }));
        for part in
            ["applications", "checkout", "hard", "12.5", "37.25", "2026-12-01", "a 0.2, b 0.05", "--cursor checkout"]
        {
            assert!(told.contains(part), "{part} is not in {told}");
        }
        assert!(listed(&json!({ "items": [] })).starts_with("No budgets."));
    }
}
