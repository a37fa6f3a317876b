//! `credentialflow prompt`: the declared prompts, runs of their tests, and what labels stand for.

use super::{
    Outcome, Usage,
    resource::{self, Listing},
};
use crate::{
    cli::Connection,
    client::{Client, escape, with_query},
    input,
    output::{Output, at, items, shown, table},
};
use credentialflow_model::SecretValue;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Where a key is found without `--key-file`.
const KEY_VARIABLE: &str = "CREDENTIALFLOW_KEY";

const PROMPTS: Listing = Listing {
    kind: "prompts",
    columns: &[
        ("name", "/spec/name"),
        ("model", "/spec/model"),
        ("labels", "/spec/labels"),
        ("description", "/spec/description"),
    ],
    empty: "Declare one in a file and run `credentialflow apply FILE`.",
};

/// Prompts: what is said to models, in versions
#[derive(clap::Args)]
pub struct PromptArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    #[command(flatten)]
    Declared(resource::Verb),
    /// Run the tests of a version, each as a real call; exit code 1 where one fails
    Test {
        /// Its name
        name: String,
        /// The version
        #[arg(long, value_name = "NUMBER")]
        version: u32,
        /// File with a key of an application that may use the prompt's model; otherwise the variable CREDENTIALFLOW_KEY
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
    /// Let a label stand for a version; back to an earlier one as well
    Promote {
        /// Its name
        name: String,
        /// The version
        #[arg(long, value_name = "NUMBER")]
        version: u32,
        /// The label
        #[arg(long, default_value = "production")]
        label: String,
        /// Why, for those who read the audit log; one line
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// List the last runs of its tests, the newest first
    Runs {
        /// Its name
        name: String,
        /// Only those of this version
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
        /// Most runs, 1 to 1000
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: Option<u32>,
    },
}

/// Runs the command.
pub async fn run(args: PromptArgs, output: Output) -> anyhow::Result<Outcome> {
    let client = Client::new(&args.connection)?;
    match args.verb {
        Verb::Declared(verb) => resource::perform(&client, verb, &PROMPTS, output).await?,
        Verb::Test { name, version, key_file } => {
            let key = key(key_file)?;
            let key = key.expose_str().ok_or_else(|| Usage("the key is no text".to_owned()))?;
            let path = format!("/api/v1/prompts/{}/versions/{version}/test", escape(&name));
            let run = client.post(&path, &json!({ "key": key })).await?;
            output.result(&run, told)?;
            return Ok(if run["passed"] == true { Outcome::Done } else { Outcome::Refused });
        }
        Verb::Promote { name, version, label, reason } => {
            let path = format!("/api/v1/prompts/{}/promote", escape(&name));
            let body = json!({ "version": version, "label": label, "reason": reason });
            let answer = client.post(&path, &body).await?;
            output.result(&answer, |_| format!("{} of {} is version {version} now.\n", shown(&label), shown(&name)))?;
        }
        Verb::Runs { name, version, limit } => {
            let query = [("version", version.map(|n| n.to_string())), ("limit", limit.map(|n| n.to_string()))];
            let path = with_query(&format!("/api/v1/prompts/{}/runs", escape(&name)), &query);
            output.result(&client.get(&path).await?, listed)?;
        }
    }
    Ok(Outcome::Done)
}

/// The key that the calls are made with.
fn key(file: Option<PathBuf>) -> anyhow::Result<SecretValue> {
    let missing = || Usage(format!("no key: name its file with --key-file, or set {KEY_VARIABLE}"));
    key_if_any(file)?.ok_or_else(|| missing().into())
}

/// The key in this file, or in the variable for it; `None` where neither is there.
pub(super) fn key_if_any(file: Option<PathBuf>) -> anyhow::Result<Option<SecretValue>> {
    if let Some(file) = file {
        return input::first_line(&file).map(Some);
    }
    let set = std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty());
    Ok(set.map(SecretValue::from))
}

fn word(passed: &Value) -> &'static str {
    if passed == true { "passed" } else { "failed" }
}

/// A run, a line for each test.
fn told(run: &Value) -> String {
    let tests = run["tests"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<Vec<_>> = tests
        .iter()
        .map(|test| {
            let why = test["failed"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let why = shown(&why.collect::<Vec<_>>().join("; "));
            vec![at(test, "/name"), word(&test["passed"]).to_owned(), format!("{} ms", at(test, "/millis")), why]
        })
        .collect();
    let mut out = table(&["test", "result", "took", "why"], &rows);
    out.push_str(&format!("Version {} {}.\n", at(run, "/version"), word(&run["passed"])));
    out
}

/// Runs, a line each.
fn listed(answer: &Value) -> String {
    if items(answer).is_empty() {
        return "No runs. `credentialflow prompt test NAME --version NUMBER` makes one.\n".to_owned();
    }
    let of = |run: &Value| {
        let present = if run["present"] == true { "as stored now" } else { "of something else" };
        let failed = run["tests"].as_array().into_iter().flatten().filter(|test| test["passed"] != true);
        let failed: Vec<_> = failed.map(|test| at(test, "/name")).collect();
        let result = word(&run["passed"]).to_owned();
        let tested = present.to_owned();
        vec![
            at(run, "/version"),
            at(run, "/run"),
            at(run, "/time"),
            result,
            failed.join(", "),
            tested,
            at(run, "/actor"),
        ]
    };
    table(
        &["version", "run", "time", "result", "failed", "tested", "by"],
        &items(answer).iter().map(of).collect::<Vec<_>>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_says_of_each_test_how_it_went() {
        let run = json!({ "version": 3, "run": 1, "passed": false, "present": true, "time": "2026-11-23T09:00:00Z", "actor": "admin", "tests": [
            { "name": "good", "passed": true, "millis": 12, "answer": "positive" },
            { "name": "bad", "passed": false, "millis": 7, "failed": ["it does not contain \"negative\"", "it is no JSON"] },
        ] });
        let text = told(&run);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].contains("good") && lines[1].contains("passed") && lines[1].contains("12 ms"), "{text}");
        assert!(lines[2].contains("it does not contain \"negative\"; it is no JSON"), "{text}");
        assert_eq!(lines[3], "Version 3 failed.");
        let text = listed(&json!({ "items": [run] }));
        assert!(text.contains("bad") && !text.contains("good") && text.contains("as stored now"), "{text}");
    }
}
