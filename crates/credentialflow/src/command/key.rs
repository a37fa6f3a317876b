//! `credentialflow key`: keys issued to applications. A secret is printed once, by `create` and `rotate`.

mod tree;

use super::{Outcome, Usage, biography, blast_radius, resource};
use crate::{
    cli::Connection,
    client::{Client, escape},
    output::{Output, at},
};
use credentialflow_model::{Name, Period, Timestamp, resource::Delegate};
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// Keys issued to applications
#[derive(clap::Args)]
pub struct KeyArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Issue a key; its secret is printed once
    Create(Box<CreateArgs>),
    /// List keys
    List(resource::ListArgs),
    /// Show a key, without its secret
    Show {
        /// Its name
        name: String,
    },
    /// Show where a key comes from and which keys come from it: who uses each, what it may use, what it has left
    Tree {
        /// Its name
        name: String,
    },
    /// Give a key a second secret; both are accepted until the overlap ends
    Rotate {
        /// Its name
        name: String,
        /// How long the old secret stays valid, as in 24h
        #[arg(long, value_name = "DURATION")]
        overlap: Option<Period>,
        /// Brings the same answer again within 24 hours; random unless given
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Revoke a key; done when every worker refuses it
    Revoke {
        /// Its name
        name: String,
    },
    /// Show what revoking it would break, counted from recorded requests; changes nothing
    BlastRadius(blast_radius::WindowArgs),
    /// Show its life: who made it, versions, rotations, uses, its end
    Biography(blast_radius::WindowArgs),
    /// Delete a key; done when every worker refuses it
    Delete {
        /// Its name
        name: String,
    },
}

/// What a new key may do.
#[derive(clap::Args)]
struct CreateArgs {
    /// Its name
    name: Name,
    /// The application it speaks for
    #[arg(long, value_name = "NAME")]
    application: Name,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The environment written into the key, as in live or test
    #[arg(long, value_name = "WORD", default_value = "live")]
    environment: String,
    /// Refused from then on: a time (RFC 3339) or a duration from now, as in 90d
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Refused before then: a time (RFC 3339) or a duration from now
    #[arg(long, value_name = "WHEN")]
    not_before: Option<String>,
    /// Only from this network; may be repeated
    #[arg(long = "network", value_name = "CIDR")]
    networks: Vec<String>,
    /// Rate limit of this key, as in 100/1m
    #[arg(long, value_name = "REQUESTS/DURATION")]
    limit: Option<String>,
    /// Tokens of models with this key, as in 200000/1m; in the same time as --limit
    #[arg(long, value_name = "TOKENS/DURATION")]
    tokens: Option<String>,
    /// Requests of this key that may run at once
    #[arg(long, value_name = "REQUESTS")]
    concurrent: Option<u32>,
    /// Only this route of the application's; may be repeated
    #[arg(long = "route", value_name = "NAME")]
    routes: Vec<Name>,
    /// Only this model of the application's; may be repeated
    #[arg(long = "model", value_name = "NAME")]
    models: Vec<Name>,
    /// Only this prompt of the application's; may be repeated
    #[arg(long = "prompt", value_name = "NAME")]
    prompts: Vec<Name>,
    /// A fact about the key, which header rules may tell upstreams; may be repeated
    #[arg(long = "metadata", value_name = "NAME=VALUE")]
    metadata: Vec<String>,
    /// The key that it comes from: it has no more than that one has, and ends with it
    #[arg(long, value_name = "KEY")]
    parent: Option<Name>,
    /// Who uses it, as in researcher
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// What the actor is to do
    #[arg(long, value_name = "TEXT", requires = "actor")]
    purpose: Option<String>,
    /// Whom its calls are for, as in alice@example.com
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// It may issue keys itself at the token endpoint, which live at most so long, as in 1h
    #[arg(long, value_name = "DURATION")]
    delegate: Option<Period>,
    /// How many of those may be in force at once; 100 unless given
    #[arg(long, value_name = "NUMBER", requires = "delegate")]
    delegate_keys: Option<u32>,
    /// How many generations of them there may be; 1 unless given
    #[arg(long, value_name = "NUMBER", requires = "delegate")]
    delegate_depth: Option<u8>,
    /// Brings the same answer again within 24 hours; random unless given
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

const KEYS: resource::Listing = resource::Listing {
    kind: "keys",
    columns: &[
        ("name", "/spec/name"),
        ("application", "/spec/application"),
        ("parent", "/spec/parent"),
        ("id", "/id"),
        ("expires", "/spec/expires"),
        ("revoked", "/revoked"),
        ("last use", "/last_use/time"),
        ("uses", "/last_use/count"),
    ],
    empty: "Issue one with `credentialflow key create NAME --application APPLICATION`.",
};

pub(super) async fn run(args: KeyArgs, output: Output) -> anyhow::Result<Outcome> {
    let verb = match args.verb {
        // What was typed is looked at before the token is.
        Verb::Create(create) => {
            let body = body(&create, SystemTime::now().into())?;
            let client = Client::new(&args.connection)?;
            let answer = client.create("/api/v1/keys", &body, create.idempotency_key.as_deref()).await?;
            output.result(&answer, |answer| issued(answer, "Issued"))?;
            return Ok(Outcome::Done);
        }
        other => other,
    };
    let client = Client::new(&args.connection)?;
    match verb {
        Verb::Create(_) => {}
        Verb::List(list) => resource::list(&client, &list, &KEYS, output).await?,
        Verb::Show { name } => resource::show(&client, "keys", &name, output).await?,
        Verb::Tree { name } => {
            let answer = client.get(&format!("/api/v1/keys/{}", escape(&name))).await?;
            output.result(&answer, tree::told)?;
        }
        Verb::BlastRadius(args) => blast_radius::show(&client, "keys", &args, output).await?,
        Verb::Biography(args) => biography::show(&client, "keys", &args, output).await?,
        Verb::Rotate { name, overlap, idempotency_key } => {
            let body = overlap.map_or_else(|| json!({}), |overlap| json!({ "overlap": overlap }));
            let path = format!("/api/v1/keys/{}/rotate", escape(&name));
            let answer = client.create(&path, &body, idempotency_key.as_deref()).await?;
            output.result(&answer, |answer| {
                let old = answer.pointer("/key/secrets").and_then(Value::as_array).into_iter().flatten();
                let until = old.filter_map(|secret| secret.get("retires")?.as_str()).max().unwrap_or("its retirement");
                format!("{}The old secret is accepted until {until}.\n", issued(answer, "Rotated"))
            })?;
        }
        Verb::Revoke { name } => {
            let told = |answer: &Value| {
                let below = match answer.get("keys_ended").and_then(Value::as_u64).unwrap_or(0) {
                    0 => String::new(),
                    1 => " and the key that came from it".to_owned(),
                    many => format!(" and the {many} keys that came from it"),
                };
                format!("Revoked {name}{below}; every worker refuses {}.", if below.is_empty() { "it" } else { "them" })
            };
            resource::revoke(&client, ("keys", &name), &json!({}), output, told).await?;
        }
        Verb::Delete { name } => resource::delete(&client, "keys", &name, output).await?,
    }
    Ok(Outcome::Done)
}

fn issued(answer: &Value, what: &str) -> String {
    format!(
        "{what} {} (id {})\nKey, shown this once: {}\n",
        at(answer, "/key/spec/name"),
        at(answer, "/key/id"),
        at(answer, "/secret")
    )
}

/// The declaration of the new key.
fn body(args: &CreateArgs, now: Timestamp) -> Result<Value, Usage> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("name", json!(args.name));
    put("application", json!(args.application));
    put("environment", json!(args.environment));
    if let Some(description) = &args.description {
        put("description", json!(description));
    }
    if let Some(expires) = &args.expires {
        put("expires", json!(moment(expires, now)?));
    }
    if let Some(not_before) = &args.not_before {
        put("not_before", json!(moment(not_before, now)?));
    }
    if !args.networks.is_empty() {
        put("networks", json!(args.networks));
    }
    if let Some(limit) = limit_of(args)? {
        put("limit", limit);
    }
    if !(args.routes.is_empty() && args.models.is_empty() && args.prompts.is_empty()) {
        put("allow", json!({ "routes": args.routes, "models": args.models, "prompts": args.prompts }));
    }
    if let Some(parent) = &args.parent {
        put("parent", json!(parent));
    }
    if let Some(name) = &args.actor {
        put("actor", json!({ "name": name, "purpose": args.purpose }));
    }
    if let Some(subject) = &args.subject {
        put("subject", json!(subject));
    }
    if let Some(lifetime) = &args.delegate {
        let usual = Delegate::default();
        let keys = args.delegate_keys.unwrap_or(usual.keys);
        let depth = args.delegate_depth.unwrap_or(usual.depth);
        put("delegate", json!({ "lifetime": lifetime, "keys": keys, "depth": depth }));
    }
    if !args.metadata.is_empty() {
        let mut metadata = Map::new();
        for pair in &args.metadata {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| Usage("metadata is given as NAME=VALUE".to_owned()))?;
            metadata.insert(name.to_owned(), json!(value));
        }
        put("metadata", Value::Object(metadata));
    }
    Ok(Value::Object(body))
}

fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Usage> {
    text.parse().or_else(|_| text.parse().map(|period| now.plus(period))).map_err(|_| {
        Usage(format!("{text} is neither a time such as 2027-01-01T00:00:00Z nor a duration from now such as 90d"))
    })
}

fn limit_of(args: &CreateArgs) -> Result<Option<Value>, Usage> {
    let mut limit = Map::new();
    for (flag, what, text) in [("requests", "REQUESTS", &args.limit), ("tokens", "TOKENS", &args.tokens)] {
        let Some(text) = text else { continue };
        let wrong = || Usage(format!("{text} is no limit; write {what}/DURATION, as in 100/1m"));
        let (most, per) = text.split_once('/').ok_or_else(wrong)?;
        let most: u32 = most.parse().map_err(|_| wrong())?;
        let per: Period = per.parse().map_err(|_| wrong())?;
        let per = json!(per);
        if limit.get("per").is_some_and(|other| *other != per) {
            return Err(Usage("requests and tokens are counted in the same time; write it the same in both".into()));
        }
        limit.insert("per".into(), per);
        limit.insert(flag.into(), json!(most));
    }
    if let Some(concurrent) = args.concurrent {
        limit.insert("concurrent".into(), json!(concurrent));
    }
    Ok((!limit.is_empty()).then(|| limit.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: CreateArgs,
    }

    fn declared(line: &str) -> Result<Value, Usage> {
        let args = Line::try_parse_from(["create"].into_iter().chain(line.split(' '))).unwrap().args;
        body(&args, Timestamp::from_secs(0))
    }

    #[test]
    fn flags_become_the_declaration_the_server_reads() {
        let body = declared(
            "k --application a --expires 90d --network 10.0.0.0/8 --limit 100/1m --tokens 5000/1m --concurrent 4 --route r --prompt p --metadata tier=gold --parent p --actor bot --subject alice --delegate 15m --delegate-keys 5",
        )
        .unwrap();
        let key: credentialflow_model::resource::Key = serde_json::from_value(body).unwrap();
        assert_eq!(key.expires.unwrap().secs(), 90 * 86_400);
        let limit = key.limit.unwrap();
        assert_eq!((limit.requests, limit.tokens, limit.concurrent), (Some(100), Some(5000), Some(4)));
        assert_eq!((limit.per, key.networks.len()), (Some(Period::from_secs(60)), 1));
        let allow = key.allow.unwrap();
        assert_eq!((allow.routes[0].as_str(), allow.prompts[0].as_str()), ("r", "p"));
        assert_eq!(key.metadata["tier"], "gold");
        assert_eq!(key.parent.unwrap().as_str(), "p");
        assert_eq!((key.actor.unwrap().purpose, key.subject.as_deref()), (None, Some("alice")));
        let delegate = key.delegate.unwrap();
        assert_eq!((delegate.lifetime, delegate.keys, delegate.depth), (Period::from_secs(900), 5, 1));
    }

    #[test]
    fn what_cannot_be_understood_is_wrong_usage() {
        for line in [
            "--limit 100",
            "--limit x/1m",
            "--limit 1/1m --tokens 1/1h",
            "--expires soon",
            "--metadata tier",
            "--not-before 1w",
        ] {
            assert!(declared(&format!("k --application a {line}")).is_err(), "{line}");
        }
    }
}
