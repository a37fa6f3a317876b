//! `credentialflow lease`: logins and certificates that the run-time API handed out, listed and ended by whose they are.

use super::{Outcome, resource};
use crate::{
    cli::Connection,
    client::{Client, with_query},
    output::{Output, at, shown},
};
use serde_json::{Value, json};

/// Leases: logins and certificates handed out for a time
#[derive(clap::Args)]
pub struct LeaseArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Take away at once everything that an application or an entity holds; exit code 1 where a login is not withdrawn yet
    Revoke(Whose),
    /// List leases: all, or those of an application, an entity or a path; never a password
    List(Listed),
    /// Show one: who fetched it and when, what it opens, what ends when it is revoked, and what happened to it
    Show {
        /// Its id, as in database/creds/orders/x8…
        id: String,
    },
}

/// Which leases are listed.
#[derive(clap::Args)]
pub(super) struct Listed {
    /// Only those of an application
    #[arg(long, value_name = "NAME", group = "whose")]
    application: Option<String>,
    /// Only those of an entity: the `entity_id` that a login tells
    #[arg(long, value_name = "ID", group = "whose")]
    entity: Option<String>,
    /// Only those below a path: of a mount, as in database/ (`--mount` is the same), or of a role, as in database/creds/orders
    #[arg(long, value_name = "PATH", group = "whose", visible_alias = "mount")]
    prefix: Option<String>,
    /// Most items on the page, 1 to 1000
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
    /// Where the page begins: the `next` of the page before
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

const COLUMNS: [(&str, &str); 6] = [
    ("id", "/id"),
    ("state", "/state"),
    ("application", "/application"),
    ("entity", "/entity"),
    ("issued", "/issued"),
    ("expires", "/expires"),
];

/// `lease list`, and `inventory leases`, which is the same.
pub(super) async fn list(client: &Client, listed: &Listed, output: Output) -> anyhow::Result<Outcome> {
    let parameters = [
        ("application", listed.application.clone()),
        ("entity", listed.entity.clone()),
        ("prefix", listed.prefix.clone()),
        ("limit", listed.limit.map(|n| n.to_string())),
        ("cursor", listed.cursor.clone()),
    ];
    let answer = client.get(&with_query("/api/v1/leases", &parameters)).await?;
    output.result(&answer, |answer| {
        resource::page(answer, "leases match", &COLUMNS, "Ask without filters for all of them.")
    })?;
    Ok(Outcome::Done)
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// All tokens and leases of an application
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// All tokens and leases of an entity: the `entity_id` that a login tells
    #[arg(long, value_name = "ID")]
    entity: Option<String>,
    /// All leases below a path, as in database/creds/orders; below auth/ the tokens made there
    #[arg(long, value_name = "PATH")]
    prefix: Option<String>,
}

pub(super) async fn run(args: LeaseArgs, output: Output) -> anyhow::Result<Outcome> {
    let client = Client::new(&args.connection)?;
    let whose = match args.verb {
        Verb::Revoke(whose) => whose,
        Verb::List(listed) => return list(&client, &listed, output).await,
        Verb::Show { id } => {
            let answer = client.get(&with_query("/api/v1/leases/lookup", &[("id", Some(id))])).await?;
            output.result(&answer, life)?;
            return Ok(Outcome::Done);
        }
    };
    let answer = client.post("/api/v1/leases/revoke", &whose.body()).await?;
    output.result(&answer, told)?;
    Ok(if at(&answer, "/left") == "0" { Outcome::Done } else { Outcome::Refused })
}

impl Whose {
    fn body(&self) -> Value {
        let given = [("application", &self.application), ("entity", &self.entity), ("prefix", &self.prefix)];
        let given = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))));
        Value::Object(given.collect())
    }
}

fn told(answer: &Value) -> String {
    let count = |path: &str, one: &str, many: &str| match at(answer, path).as_str() {
        "1" => format!("1 {one}"),
        n => format!("{n} {many}"),
    };
    let mut text =
        format!("Ended: {} and {}.\n", count("/tokens", "token", "tokens"), count("/leases", "lease", "leases"));
    if at(answer, "/left") != "0" {
        let left = count("/left", "login is", "logins are");
        text.push_str(&format!("{left} not withdrawn yet; it is tried again until it is done.\n"));
        if let Some(problem) = answer.get("problem").and_then(Value::as_str) {
            text.push_str(&format!("{}\n", shown(problem)));
        }
    }
    text
}

fn life(answer: &Value) -> String {
    let said = |path: &str| answer.pointer(path).and_then(Value::as_str);
    let mut text = match said("/lease/state") {
        Some(state) => format!("{}: {state}\n", shown(&at(answer, "/lease/id"))),
        None => "It is over; this is what the audit log tells.\n".to_owned(),
    };
    for (what, path) in [
        ("opens", "/opens/login"),
        ("at", "/opens/system"),
        ("role", "/opens/role"),
        ("application", "/lease/application"),
        ("entity", "/lease/entity"),
        ("token", "/lease/token"),
        ("issued", "/lease/issued"),
        ("renewed", "/opens/renewed"),
        ("expires", "/lease/expires"),
        ("at the latest", "/opens/last_moment"),
        ("problem", "/opens/problem"),
        ("fetched by", "/fetched_by/actor/name"),
        ("from", "/fetched_by/actor/source"),
    ] {
        if let Some(value) = said(path) {
            text.push_str(&format!("  {what:<14} {}\n", shown(value)));
        }
    }
    let lines = |list: &str| answer.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
    let ends = lines("ends");
    if !ends.is_empty() {
        text.push_str("\nWhen it is revoked\n");
        for line in ends.iter().filter_map(Value::as_str) {
            text.push_str(&format!("  {}\n", shown(line)));
        }
    }
    text.push_str("\nWhat happened\n");
    for moment in lines("moments") {
        let (time, what, who) = (at(&moment, "/time"), at(&moment, "/text"), at(&moment, "/actor/name"));
        text.push_str(&shown(&format!("  {time:<28} {what} ({who})")));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Of {
        #[command(flatten)]
        whose: Whose,
    }

    #[test]
    fn exactly_one_is_named() {
        let body = |line: &str| Of::try_parse_from(line.split(' ')).map(|of| of.whose.body()).map_err(|e| e.kind());
        assert_eq!(body("x --application checkout"), Ok(json!({ "application": "checkout" })));
        assert_eq!(body("x --entity 1-2"), Ok(json!({ "entity": "1-2" })));
        assert_eq!(body("x --prefix auth/approle"), Ok(json!({ "prefix": "auth/approle" })));
        for wrong in ["x", "x --entity a --application b", "x --prefix a --entity b"] {
            assert!(body(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_life_is_told_in_lines() {
        let told = life(&json!({
            "lease": { "id": "database/creds/a/1", "state": "active", "application": "checkout" },
            "opens": { "login": "v-a", "system": "postgresql at db:5432/orders", "role": "a" },
            "fetched_by": { "time": "t", "text": "x", "seq": 1, "actor": { "name": "approle a", "source": "10.0.0.7" } },
            "ends": ["the login v-a at postgresql at db:5432/orders is taken away"],
            "moments": [{ "time": "2026-11-02T09:14:05Z", "text": "handed out", "actor": { "name": "approle a" } }],
        }));
        for line in [
            "database/creds/a/1: active\n",
            "  application    checkout\n",
            "  from           10.0.0.7\n",
            "When it is revoked\n  the login v-a at",
            "  2026-11-02T09:14:05Z         handed out (approle a)\n",
        ] {
            assert!(told.contains(line), "{line:?} is not in {told}");
        }
        assert!(life(&json!({ "ends": [], "moments": [] })).starts_with("It is over"));
    }

    #[test]
    fn what_is_left_is_told() {
        assert_eq!(told(&json!({ "tokens": 1, "leases": 2, "left": 0 })), "Ended: 1 token and 2 leases.\n");
        let away = told(&json!({ "tokens": 0, "leases": 1, "left": 1, "problem": "nobody answers" }));
        assert!(away.contains("1 login is not withdrawn yet") && away.ends_with("nobody answers\n"), "{away}");
    }
}
