//! `credentialflow guardrail`: the declared sets of guardrails, and what they find in a text.

use super::{
    Outcome, Usage,
    files::{Files, read_bounded},
    prompt::key_if_any,
    resource::{self, GUARDRAILS},
};
use crate::{
    cli::Connection,
    client::{Client, NoAnswer, escape},
    output::{Output, table},
};
use anyhow::{Context, bail};
use credentialflow_llm::{
    embedding,
    guardrail::{
        Guardrails, registry,
        remote::{
            Said, To,
            topics::{MOST_INPUTS, Topics},
        },
        text::Origin,
    },
};
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
    /// Say what the rules of a set find in a text; nothing of it is sent to others but to --embeddings
    Test {
        /// Its name
        name: String,
        /// The text; read from standard input where it is -
        #[arg(default_value = "-")]
        file: PathBuf,
        /// Take the set from this configuration file, and ask no server
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Compare with topics by the embeddings of this API in OpenAI's form, such as the gateway's (http://HOST:PORT/v1); it
        /// is asked for the model that the rule names
        #[arg(long, value_name = "URL")]
        embeddings: Option<String>,
        /// File with the key for --embeddings; otherwise the variable CREDENTIALFLOW_KEY, or none
        #[arg(long, value_name = "FILE", requires = "embeddings")]
        key_file: Option<PathBuf>,
    },
}

/// Runs the command.
pub async fn run(args: GuardrailArgs, output: Output) -> anyhow::Result<Outcome> {
    match args.verb {
        Verb::Declared(verb) => {
            resource::perform(&Client::new(&args.connection)?, verb, &GUARDRAILS, output).await?;
        }
        Verb::Test { name, file, config, embeddings, key_file } => {
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
            let embedder = match embeddings {
                Some(url) => {
                    let client = Client::elsewhere(&args.connection, &url, key_if_any(key_file)?)?;
                    Some(Embedder { client, url })
                }
                None => None,
            };
            output.result(&tested(&set, &text, embedder.as_ref()).await?, told)?;
        }
    }
    Ok(Outcome::Done)
}

/// Who makes embeddings.
struct Embedder {
    client: Client,
    url: String,
}

impl Embedder {
    /// The embeddings of these texts.
    async fn of(&self, model: &str, texts: &[&str]) -> anyhow::Result<Vec<Vec<f32>>> {
        let mut all = Vec::with_capacity(texts.len());
        for some in texts.chunks(MOST_INPUTS) {
            let body = String::from_utf8(embedding::call_of_all(model, some))?;
            let (status, answer) = match self.client.exchange("/embeddings", &body).await {
                Err(error) if error.downcast_ref::<NoAnswer>().is_some() => {
                    bail!("{} could not be asked for embeddings: nobody answers there", self.url)
                }
                other => other?,
            };
            if !status.is_success() {
                bail!("{} answered {status} when it was asked for embeddings of the model {model}", self.url);
            }
            let vectors = embedding::vectors(&answer, some.len());
            all.extend(vectors.with_context(|| format!("{} gave not one embedding for each text", self.url))?);
        }
        Ok(all)
    }
}

/// What each rule finds: how often, where in characters, and what would stand there.
async fn tested(set: &GuardrailSet, text: &str, embedder: Option<&Embedder>) -> anyhow::Result<Value> {
    let mut rules = Vec::with_capacity(set.rules.len());
    for rule in &set.rules {
        rules.push(tested_rule(rule, text, embedder).await?);
    }
    Ok(json!({ "name": set.name.as_str(), "rules": rules }))
}

async fn tested_rule(rule: &Guardrail, text: &str, embedder: Option<&Embedder>) -> anyhow::Result<Value> {
    let said = json!({ "detect": rule.detect.as_str(), "action": rule.action.as_str(), "on": rule.on });
    let with = |field: &str, value: Value| {
        let mut said = said.clone();
        said[field] = value;
        Ok(said)
    };
    let built = Guardrails::build([(None, rule)]).map_err(anyhow::Error::msg)?;
    match (built.remotes().first().map(|asked| asked.to()), embedder) {
        (None, _) => {}
        (Some(To::Topics(topics)), Some(embedder)) => return with("topics", compared(topics, text, embedder).await?),
        (Some(To::Topics(_)), None) => {
            return with("asks", json!("it is compared by embeddings: name who makes them with --embeddings URL"));
        }
        (Some(_), _) => {
            return with("asks", json!("others are asked for this: it needs a call to a model that has the rule"));
        }
    }
    let mut found = Vec::new();
    registry::build(rule).map_err(anyhow::Error::msg)?.find(text, &mut found);
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

/// The topic that each piece of a text is nearest to.
async fn compared(topics: &Topics, text: &str, embedder: &Embedder) -> anyhow::Result<Value> {
    let said = [Said { text: text.to_owned(), origin: Origin::Caller, words: true }];
    let pieces = topics.pieces(&said, &[], false)?;
    let model = topics.model().as_str();
    let (examples, vectors) = (embedder.of(model, &topics.examples()).await?, embedder.of(model, &pieces).await?);
    nearest(topics, text, &pieces, (&examples, &vectors))
}

fn nearest(
    topics: &Topics,
    text: &str,
    pieces: &[&str],
    (examples, vectors): (&[Vec<f32>], &[Vec<f32>]),
) -> anyhow::Result<Value> {
    let characters = |bytes: usize| text[..bytes].chars().count();
    let mut places = Vec::with_capacity(pieces.len());
    let mut behind = 0;
    for (piece, vector) in pieces.iter().zip(vectors) {
        let start = behind + text[behind..].find(piece).unwrap_or(0);
        behind = start + piece.len();
        let nearest = topics.nearest(examples, vector)?;
        let cosine = (f64::from(nearest.cosine) * 1000.0).round() / 1000.0;
        places.push(json!({ "start": characters(start), "end": characters(behind), "topic": nearest.topic,
            "cosine": cosine, "near": nearest.near }));
    }
    Ok(json!(places))
}

fn told(answer: &Value) -> String {
    let rules = answer["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<Vec<String>> = rules
        .iter()
        .map(|rule| {
            let word = |field: &str| rule[field].as_str().unwrap_or("-").to_owned();
            let near = |one: &Value| {
                let near = if one["near"] == true { "near" } else { "not near" };
                let topic = one["topic"].as_str().unwrap_or_default();
                format!("{near} {topic} ({}) at {} to {}", one["cosine"], one["start"], one["end"])
            };
            let found = match rule["found"].as_array() {
                None if rule["topics"].is_array() => {
                    let places = rule["topics"].as_array().map_or(&[][..], Vec::as_slice);
                    places.iter().take(20).map(near).collect::<Vec<_>>().join(", ")
                }
                None if rule["detect"] == "topics" => "not tried: needs --embeddings".to_owned(),
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

    fn set(rules: Value) -> GuardrailSet {
        serde_json::from_value(json!({ "name": "company", "rules": rules })).unwrap()
    }

    fn topics() -> Value {
        json!({ "detect": "topics", "action": "block", "embedding_model": "e", "topics": [
            { "name": "politics", "examples": ["whom to vote for"] }, { "name": "shop", "examples": ["my order"] }] })
    }

    #[tokio::test]
    async fn what_rules_find_is_told_by_its_place() {
        let set = set(json!([
            { "detect": "personal_data", "action": "redact" },
            { "detect": "words", "action": "block", "words": ["falcon"] },
            { "detect": "webhook", "action": "block", "upstream": "judge" },
            topics(),
        ]));
        let answer = tested(&set, "Löw: anna@example.com", None).await.unwrap();
        assert_eq!(answer["rules"][0]["found"], json!([{ "start": 5, "end": 21, "instead": "[EMAIL]" }]));
        assert_eq!(answer["rules"][1]["found"], json!([]));
        assert_eq!(answer["rules"][2].get("found"), None);
        assert!(answer["rules"][3]["asks"].as_str().unwrap().contains("--embeddings URL"));
        let text = told(&answer);
        for part in ["[EMAIL] at 5 to 21", "nothing", "not tried: needs a run", "not tried: needs --embeddings"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("anna"), "{text}");
    }

    #[test]
    fn how_near_each_piece_is_to_a_topic_is_told() {
        let rule: Guardrail = serde_json::from_value(topics()).unwrap();
        let built = Guardrails::build([(None, &rule)]).unwrap();
        let To::Topics(topics) = built.remotes()[0].to() else { panic!("topics") };
        let examples = [vec![1.0, 0.0], vec![0.0, 1.0]];
        let vectors = [vec![0.3, 0.2], vec![0.1, 0.9]];
        let places = nearest(topics, "Löw. Where is it?", &["Löw.", "Where is it?"], (&examples, &vectors)).unwrap();
        let expect = json!([
            { "start": 0, "end": 4, "topic": "politics", "cosine": 0.3, "near": false },
            { "start": 5, "end": 17, "topic": "shop", "cosine": 0.9, "near": true },
        ]);
        assert_eq!(places, expect);
        let text =
            told(&json!({ "rules": [{ "detect": "topics", "action": "block", "on": "prompt", "topics": places }] }));
        assert!(text.contains("not near politics (0.3) at 0 to 4, near shop (0.9) at 5 to 17"), "{text}");
    }
}
