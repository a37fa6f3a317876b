//! `credentialflow lease`: logins and certificates that the run-time API handed out, ended by whose they are.

use super::Outcome;
use crate::{
    cli::Connection,
    client::Client,
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
    let Verb::Revoke(whose) = args.verb;
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
    fn what_is_left_is_told() {
        assert_eq!(told(&json!({ "tokens": 1, "leases": 2, "left": 0 })), "Ended: 1 token and 2 leases.\n");
        let away = told(&json!({ "tokens": 0, "leases": 1, "left": 1, "problem": "nobody answers" }));
        assert!(away.contains("1 login is not withdrawn yet") && away.ends_with("nobody answers\n"), "{away}");
    }
}
