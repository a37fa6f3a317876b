//! `credential blast-radius` and `key blast-radius`: what revoking one would break, counted from recorded requests.

use crate::{
    client::{Client, escape, with_query},
    output::{Output, at, shown, table},
};
use credentialflow_model::Period;
use serde_json::Value;

/// How far back to look.
#[derive(clap::Args)]
pub struct WindowArgs {
    /// Its name
    pub name: String,
    /// How far back the call log is looked at, at most 30d
    #[arg(long, value_name = "DURATION")]
    pub window: Option<Period>,
}

impl WindowArgs {
    /// The path of a report on one thing of a kind.
    pub fn path(&self, kind: &str, report: &str) -> String {
        let window = self.window.map(|window| window.to_string());
        with_query(&format!("/api/v1/{kind}/{}/{report}", escape(&self.name)), &[("window", window)])
    }
}

/// Shows the blast radius of one thing of a kind.
pub async fn show(client: &Client, kind: &str, args: &WindowArgs, output: Output) -> anyhow::Result<()> {
    let answer = client.get(&args.path(kind, "blast-radius")).await?;
    Ok(output.result(&answer, text)?)
}

/// Which part of the call log an answer is about.
pub fn looked_at(observed: &Value) -> String {
    let complete = observed.get("complete").and_then(Value::as_bool).unwrap_or(true);
    let more = if complete { "" } else { "; others were left out" };
    let mut text =
        format!("\nLooked at {} requests since {}{more}.\n", at(observed, "/requests"), at(observed, "/since"));
    let begins = at(observed, "/begins");
    if begins != "-" {
        text.push_str(&format!("The call log begins {begins}.\n"));
    }
    let others = at(observed, "/other_nodes");
    if others != "-" {
        text.push_str(&shown(&format!("The call logs of other nodes were not looked at: {others}.")));
        text.push('\n');
    }
    text
}

fn text(radius: &Value) -> String {
    let mut text = shown(&at(radius, "/verdict"));
    text.push_str("\n\nOpens\n");
    for (label, path) in [
        ("routes", "/opens/routes"),
        ("open to anyone", "/opens/open_routes"),
        ("models", "/opens/models"),
        ("upstreams", "/opens/upstreams"),
        ("targets", "/opens/targets"),
        ("stores", "/opens/stores"),
        ("credentials", "/opens/credentials"),
    ] {
        let names = at(radius, path);
        if names != "-" {
            text.push_str(&shown(&format!("  {label}: {names}")));
            text.push('\n');
        }
    }
    let list = |path: &str| radius.pointer(path).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let section = |text: &mut String, title: &str, headings: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            text.push_str(&format!("\n{title}\n"));
            for line in table(headings, &rows).lines() {
                text.push_str(&format!("  {line}\n"));
            }
        }
    };
    let cells = |row: &Value, paths: &[&str]| paths.iter().map(|path| at(row, path)).collect::<Vec<_>>();
    let holders = list("/holders").iter().map(|h| cells(h, &["/application", "/team", "/keys", "/requests"])).collect();
    section(&mut text, "Who may use it", &["application", "team", "keys", "would break"], holders);
    let caller = ["/application", "/route", "/model", "/source", "/requests", "/last"];
    let callers = list("/replay/callers").iter().take(20).map(|c| cells(c, &caller)).collect();
    let headings = ["application", "route", "model", "source", "requests", "last"];
    section(&mut text, "Requests that would be refused", &headings, callers);
    let survives = list("/replay/survives").iter().map(|s| cells(s, &["/requests", "/because"])).collect();
    section(&mut text, "Requests that would not", &["requests", "because"], survives);
    let consequences = list("/consequences").iter().map(|c| cells(c, &["/subject", "/what"])).collect();
    section(&mut text, "What else stops", &["what", "how"], consequences);
    text.push_str(&looked_at(radius.pointer("/replay/observed").unwrap_or(&Value::Null)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_verdict_comes_first_and_empty_parts_are_left_out() {
        let radius = json!({ "verdict": "2 requests would be refused.", "opens": { "routes": ["orders"] },
            "holders": [{ "application": "checkout", "keys": 1, "requests": 2 }], "consequences": [],
            "replay": { "callers": [], "survives": [], "observed": { "requests": 2, "since": "t", "complete": false } } });
        assert_eq!(
            text(&radius),
            "2 requests would be refused.\n\nOpens\n  routes: orders\n\nWho may use it\n  application  team  keys  would break\n  \
             checkout     -     1     2\n\nLooked at 2 requests since t; others were left out.\n"
        );
    }
}
