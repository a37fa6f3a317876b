//! `credentialflow model`: the declared models, and the catalogue of those that built-in providers offer.

use super::{
    Outcome, model_route,
    resource::{self, MODELS},
};
use crate::{
    cli::Connection,
    client::{Client, escape, with_query},
    output::{Output, at, items, shown, table},
};
use serde_json::Value;
use std::path::PathBuf;

/// Models: public names and what serves them
#[derive(clap::Args)]
pub struct ModelArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

const ENDPOINTS: [&str; 13] = [
    "chat",
    "responses",
    "messages",
    "gemini",
    "embeddings",
    "gemini_embeddings",
    "moderations",
    "image_generations",
    "image_edits",
    "speech",
    "transcriptions",
    "translations",
    "rerank",
];

#[derive(clap::Subcommand)]
enum Verb {
    #[command(flatten)]
    Declared(resource::Verb),
    /// Say which target a call would take, and why; nothing is sent
    Route {
        /// Its name
        name: String,
        /// What the caller speaks, or what it asks beside a conversation, as in `embeddings`
        #[arg(long, value_name = "DIALECT", default_value = "chat", value_parser = ENDPOINTS)]
        dialect: String,
        /// What the call needs beside reading and writing text, as in `vision,tools`
        #[arg(long, value_name = "CAPABILITIES")]
        needs: Option<String>,
        /// How many tokens its prompt has, about
        #[arg(long, value_name = "NUMBER")]
        tokens: Option<u64>,
        /// Its answer is to be a stream
        #[arg(long)]
        stream: bool,
        /// A guardrail with the action `route` has found something in it
        #[arg(long)]
        internal: bool,
        /// All of the call, as JSON in a file (`-` for standard input): decides about it as about one that is sent
        #[arg(long, value_name = "FILE", conflicts_with_all = ["needs", "tokens", "internal"])]
        body: Option<PathBuf>,
        #[command(flatten)]
        caller: model_route::Caller,
    },
    /// The answers that it keeps to give them again
    #[command(subcommand)]
    Cache(CacheVerb),
    /// List the models that built-in providers offer, with what is known of each
    Catalogue {
        /// Only of this provider, as in `openai`
        provider: Option<String>,
        /// Only names that contain this text
        #[arg(long, value_name = "TEXT")]
        q: Option<String>,
        /// Most models, 1 to 1000
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000), default_value_t = 1000)]
        limit: u32,
        /// Where the page begins: the `next` of the page before
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
}

#[derive(clap::Subcommand)]
enum CacheVerb {
    /// Let go of all answers to calls of this model, on every node
    Clear {
        /// Its name
        name: String,
    },
}

/// Runs the command.
pub async fn run(args: ModelArgs, output: Output) -> anyhow::Result<Outcome> {
    let client = Client::new(&args.connection)?;
    match args.verb {
        Verb::Declared(verb) => resource::perform(&client, verb, &MODELS, output).await?,
        Verb::Route { name, dialect, stream, body: Some(body), caller, .. } => {
            model_route::dry_run(&client, &name, (&dialect, stream), &body, caller, output).await?;
        }
        Verb::Route { name, dialect, needs, tokens, stream, internal, .. } => {
            let yes = |set: bool| set.then(|| "true".to_owned());
            let call = [
                ("dialect", Some(dialect)),
                ("needs", needs),
                ("tokens", tokens.map(|n| n.to_string())),
                ("stream", yes(stream)),
                ("internal", yes(internal)),
            ];
            model_route::show(&client, &name, &call, output).await?;
        }
        Verb::Cache(CacheVerb::Clear { name }) => {
            client.delete(&format!("/api/v1/models/{}/cache", escape(&name))).await?;
            let told = serde_json::json!({ "model": name, "cleared": true });
            output.result(&told, |told| {
                format!("The cache of {} is empty on every node.\n", shown(&at(told, "/model")))
            })?;
        }
        Verb::Catalogue { provider, q, limit, cursor } => {
            let parameters = [("provider", provider), ("q", q), ("limit", Some(limit.to_string())), ("cursor", cursor)];
            let answer = client.get(&with_query("/api/v1/catalogue/models", &parameters)).await?;
            output.result(&answer, listed)?;
        }
    }
    Ok(Outcome::Done)
}

fn listed(answer: &Value) -> String {
    if items(answer).is_empty() {
        return "None is known. A target of a model may name any that its provider offers; give it `prices`.\n"
            .to_owned();
    }
    let columns =
        ["provider", "model", "context", "output", "can", "from", "input", "cached", "written", "output price", "more"];
    let mut rows = Vec::new();
    for model in items(answer) {
        let of = |path: &str| at(model, path);
        let can = of("/capabilities");
        let prices = model["prices"].as_array().map_or(&[][..], Vec::as_slice);
        let note = model["note"].as_str().unwrap_or_default();
        // A model without a price has a line all the same.
        for (nth, price) in prices.iter().map(Some).chain(prices.is_empty().then_some(None)).enumerate() {
            let price = price.unwrap_or(&Value::Null);
            let cost = |path: &str| at(price, path);
            let from = cost("/price/from");
            let long = price.pointer("/price/long_context/above").map(|above| format!("dearer above {above} tokens"));
            let tiers = price.pointer("/price/tiers").and_then(Value::as_object);
            let tiers =
                tiers.map(|tiers| format!("others for {}", tiers.keys().cloned().collect::<Vec<_>>().join(", ")));
            let more = [long.as_deref(), tiers.as_deref(), Some(note)];
            let more: Vec<_> = more.into_iter().flatten().filter(|s| !s.is_empty()).collect();
            let first = |text: String| if nth == 0 { text } else { String::new() };
            rows.push(vec![
                first(of("/provider")),
                first(of("/model")),
                first(of("/context")),
                first(of("/max_output")),
                first(can.clone()),
                from.split('T').next().unwrap_or_default().to_owned(),
                cost("/price/input"),
                cost("/price/cached_input"),
                cost("/price/cache_write"),
                cost("/price/output"),
                more.join("; "),
            ]);
        }
    }
    let mut text = table(&columns, &rows);
    text += "Prices are US dollars per million tokens. Where each figure stands is told by --output json.\n";
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
    fn each_price_of_a_model_is_a_line() {
        let told = listed(&json!({ "items": [
            { "provider": "gemini", "model": "gemini-x", "context": 1048576, "max_output": 65536,
              "capabilities": ["vision", "tools"], "prices": [
                { "price": { "from": "2026-09-02T00:00:00Z", "input": "0.75", "cached_input": "0.075", "output": "3.75",
                    "long_context": { "above": 200000, "input": "1.5", "output": "5" },
                    "tiers": { "flex": { "input": "0.4", "output": "2" }, "priority": { "input": "1.5", "output": "7" } } } },
                { "price": { "from": "2027-01-01T00:00:00Z", "input": "1.5", "output": "7.5" } }] },
            { "provider": "deepseek", "model": "deepseek-x", "capabilities": [], "prices": [], "note": "by the hour" },
        ], "next": "here" }));
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), 6, "{told}");
        for (line, parts) in [
            (
                1,
                [
                    "gemini-x",
                    "1048576",
                    "vision, tools",
                    "2026-09-02",
                    "0.75",
                    "dearer above 200000 tokens; others for flex, priority",
                ],
            ),
            (2, ["", "", "2027-01-01", "1.5", "7.5", ""]),
            (3, ["deepseek", "deepseek-x", "-", "by the hour", "", ""]),
            (5, ["--cursor here", "", "", "", "", ""]),
        ] {
            for part in parts {
                assert!(lines[line].contains(part), "{part} is not in {}", lines[line]);
            }
        }
        assert!(!lines[2].contains("gemini"), "{told}");
        assert!(listed(&json!({ "items": [] })).starts_with("None is known."));
    }
}
