//! `credentialflow guardrail`: the declared sets of guardrails, and what they find in a text.

use super::{
    Outcome, Usage,
    files::{Files, read_bounded},
    resource::{self, GUARDRAILS},
};
use crate::{
    cli::Connection,
    client::{Client, escape},
    output::{Output, table},
};
use anyhow::Context;
use credentialflow_llm::guardrail::registry;
use credentialflow_model::resource::{Guardrail, GuardrailSet};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Guardrails: sets of rules that models share
#[derive(clap::Args)]
pub struct GuardrailArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    #[command(flatten)]
    Declared(resource::Verb),
    /// Say what the rules of a set find in a text; nothing is sent to a provider or a webhook
    Test {
        /// Its name
        name: String,
        /// The text; read from standard input where it is -
        #[arg(default_value = "-")]
        file: PathBuf,
        /// Take the set from this configuration file, and ask no server
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Runs the command.
pub async fn run(args: GuardrailArgs, output: Output) -> anyhow::Result<Outcome> {
    match args.verb {
        Verb::Declared(verb) => {
            resource::perform(&Client::new(&args.connection)?, verb, &GUARDRAILS, output).await?;
        }
        Verb::Test { name, file, config } => {
            let set = match config {
                Some(config) => {
                    let files = Files::read(&[config])?;
                    let found = files.set.guardrails.into_iter().find(|set| set.name.as_str() == name);
                    found.ok_or_else(|| Usage(format!("no guardrails of the name {name} are declared there")))?
                }
                None => {
                    let path = format!("/api/v1/guardrails/{}", escape(&name));
                    let mut answer = Client::new(&args.connection)?.get(&path).await?;
                    serde_json::from_value(answer["spec"].take()).context("the set is not as this program knows it")?
                }
            };
            let text = String::from_utf8(read_bounded(&file)?).context("the text is not UTF-8")?;
            output.result(&tested(&set, &text)?, told)?;
        }
    }
    Ok(Outcome::Done)
}

/// What each rule finds: how often, where in characters, and what would stand there.
fn tested(set: &GuardrailSet, text: &str) -> anyhow::Result<Value> {
    let rules = set.rules.iter().map(|rule| tested_rule(rule, text)).collect::<Result<Vec<_>, String>>();
    Ok(json!({ "name": set.name.as_str(), "rules": rules.map_err(anyhow::Error::msg)? }))
}

fn tested_rule(rule: &Guardrail, text: &str) -> Result<Value, String> {
    let said = json!({ "detect": rule.detect.as_str(), "action": rule.action.as_str(), "on": rule.on });
    let with = |field: &str, value: Value| {
        let mut said = said.clone();
        said[field] = value;
        Ok(said)
    };
    if rule.detect.is_remote() {
        return with("asks", json!("others are asked for this: it needs a call to a model that has the rule"));
    }
    let mut found = Vec::new();
    registry::build(rule)?.find(text, &mut found);
    found.sort_by_key(|one| one.range.start);
    let characters = |bytes: usize| text[..bytes].chars().count();
    let places: Vec<Value> = found
        .iter()
        .map(|one| {
            json!({ "start": characters(one.range.start), "end": characters(one.range.end), "instead": one.placeholder })
        })
        .collect();
    with("found", json!(places))
}

fn told(answer: &Value) -> String {
    let rules = answer["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<Vec<String>> = rules
        .iter()
        .map(|rule| {
            let word = |field: &str| rule[field].as_str().unwrap_or("-").to_owned();
            let found = match rule["found"].as_array() {
                None => "not tried: needs a run".to_owned(),
                Some(places) if places.is_empty() => "nothing".to_owned(),
                Some(places) => {
                    let place = |one: &Value| {
                        format!("{} at {} to {}", one["instead"].as_str().unwrap_or_default(), one["start"], one["end"])
                    };
                    places.iter().take(20).map(place).collect::<Vec<_>>().join(", ")
                }
            };
            vec![word("detect"), word("action"), word("on"), found]
        })
        .collect();
    table(&["detect", "action", "on", "found"], &rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_rules_find_is_told_by_its_place() {
        let set: GuardrailSet = serde_json::from_value(json!({ "name": "company", "rules": [
            { "detect": "personal_data", "action": "redact" },
            { "detect": "words", "action": "block", "words": ["falcon"] },
            { "detect": "webhook", "action": "block", "upstream": "judge" },
        ] }))
        .unwrap();
        let answer = tested(&set, "Löw: anna@example.com").unwrap();
        assert_eq!(answer["rules"][0]["found"], json!([{ "start": 5, "end": 21, "instead": "[EMAIL]" }]));
        assert_eq!(answer["rules"][1]["found"], json!([]));
        assert_eq!(answer["rules"][2].get("found"), None);
        let text = told(&answer);
        for part in ["[EMAIL] at 5 to 21", "nothing", "not tried: needs a run"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("anna"), "{text}");
    }
}
