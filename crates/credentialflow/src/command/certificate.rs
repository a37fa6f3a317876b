//! `credentialflow certificate`: certificates that pass through, and those that our own authorities sign. What is issued
//! here is a credential of the engines `certificate` and `certificate_authority`; private keys stay in the vault.

use super::{Outcome, resource, rotation};
use crate::{
    cli::Connection,
    client::{Client, escape},
    output::{Output, at, items, table},
};
use clap::ValueEnum;
use credentialflow_model::{Name, Period};
use serde_json::{Map, Value, json};

/// Certificates: those that pass through, and those of our own authorities
#[derive(clap::Args)]
pub struct CertificateArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List the certificates of listeners, credentials and upstreams; the one that ends next comes first
    List {
        /// Only those that end soon or have ended
        #[arg(long)]
        ending: bool,
    },
    /// Show a credential's certificate
    Show {
        /// The credential's name
        name: String,
        /// Print certificate and chain as PEM, and nothing else
        #[arg(long)]
        pem: bool,
    },
    /// Make a certificate authority, or a certificate that one signs and that is renewed by itself from then on
    Issue(Issue),
    /// Make the next certificate now and bring it into use; followed until done or rolled back
    Renew {
        /// The credential's name
        name: String,
        /// Return when it is begun, and do not follow it
        #[arg(long)]
        no_wait: bool,
    },
    /// Withdraw a certificate at once; done when no worker shows it
    Revoke {
        /// The credential's name
        name: String,
        /// Only this version
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
    },
}

#[derive(clap::Args)]
struct Issue {
    /// Name of the credential that holds it
    name: Name,
    /// The authority that signs it
    #[arg(long, value_name = "NAME", required_unless_present = "root")]
    authority: Option<Name>,
    /// Make an authority
    #[arg(long, conflicts_with_all = ["authority", "host", "usage"])]
    root: bool,
    /// Whom it names; the credential's name unless set
    #[arg(long, value_name = "TEXT")]
    common_name: Option<String>,
    /// A host name, address or URI it is for; may be repeated
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// What it may be used for
    #[arg(long, value_enum)]
    usage: Option<Usage>,
    /// How long it is valid, as in 24h
    #[arg(long, value_name = "DURATION")]
    lifetime: Option<Period>,
    /// A domain or network that an authority may sign for; may be repeated
    #[arg(long, value_name = "NAME", requires = "root", conflicts_with = "authority")]
    permit: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Usage {
    /// To prove who calls
    Client,
    /// To prove who answers
    Server,
    /// Both
    Both,
}

pub(super) async fn run(args: CertificateArgs, output: Output) -> anyhow::Result<Outcome> {
    let client = Client::new(&args.connection)?;
    match args.verb {
        Verb::List { ending } => {
            let mut answer = client.get("/api/v1/certificates").await?;
            if let Some(items) = answer.get_mut("items").and_then(Value::as_array_mut) {
                items.retain(|item| !ending || at(item, "/state") != "valid");
            }
            output.result(&answer, |answer| listed(answer) + &answer.get("order").map(order).unwrap_or_default())?;
        }
        Verb::Show { name, pem } => {
            let answer = client.get(&format!("/api/v1/certificates/{}", escape(&name))).await?;
            if pem {
                output.raw(answer.get("pem").and_then(Value::as_str).unwrap_or_default())?;
            } else {
                output.result(&answer, told)?;
            }
        }
        Verb::Issue(issue) => {
            let answer = client.create("/api/v1/credentials", &issue.body(), None).await?;
            output.result(&answer, |_| format!("Made {}; version 1 is current.\n", issue.name))?;
        }
        Verb::Renew { name, no_wait } => {
            let path = format!("/api/v1/credentials/{}/rotate", escape(&name));
            let started = client.post(&path, &json!({})).await?;
            if !no_wait {
                return rotation::follow(&client, started, false, output).await;
            }
            output.result(&started, |started| format!("Started: {}\n", rotation::text(started)))?;
        }
        Verb::Revoke { name, version } => {
            let body = version.map_or_else(|| json!({}), |version| json!({ "version": version }));
            let told = |answer: &Value| {
                let versions = at(answer, "/versions");
                format!(
                    "Revoked {name}: versions {versions}; no worker shows them. Others may believe what got away until it ends."
                )
            };
            resource::revoke(&client, ("credentials", &name), &body, output, told).await?;
        }
    }
    Ok(Outcome::Done)
}

impl Issue {
    fn body(&self) -> Value {
        let mut rule = Map::new();
        let mut put = |name: &str, value: Value| drop(rule.insert(name.to_owned(), value));
        if let Some(authority) = &self.authority {
            put("authority", json!(authority));
        }
        if let Some(name) = &self.common_name {
            put("common_name", json!(name));
        }
        if !self.host.is_empty() {
            put("names", json!(self.host));
        }
        match self.usage {
            None | Some(Usage::Client) => {}
            Some(Usage::Server) => put("usage", json!("server")),
            Some(Usage::Both) => put("usage", json!("both")),
        }
        if let Some(lifetime) = self.lifetime {
            put("lifetime", json!(lifetime));
        }
        if !self.permit.is_empty() {
            put("permitted", json!(self.permit));
        }
        let engine = if self.root { "certificate_authority" } else { "certificate" };
        json!({ "name": self.name, "engine": engine, "certificate": rule })
    }
}

fn listed(answer: &Value) -> String {
    if items(answer).is_empty() {
        return "No certificates. Make one with `credentialflow certificate issue`.\n".to_owned();
    }
    let columns = ["place", "name", "state", "ends", "subject", "issuer", "key"];
    let paths = ["/place", "/name", "/state", "/not_after", "/subject", "/issuer", "/algorithm"];
    let rows: Vec<Vec<_>> =
        items(answer).iter().map(|item| paths.iter().map(|path| at(item, path)).collect()).collect();
    table(&columns, &rows)
}

/// How ordering the listeners' certificate stands, in a line.
pub(super) fn order(order: &Value) -> String {
    let names = items_of(order, "/names");
    let stands = match at(order, "/state").as_str() {
        "waiting" => format!("the next order is due {}", at(order, "/renews")),
        "failing" => format!(
            "{} failed, tried again {}: {}",
            match at(order, "/failures").as_str() {
                "1" => "one attempt".to_owned(),
                n => format!("{n} attempts"),
            },
            at(order, "/next_attempt"),
            at(order, "/problem")
        ),
        _ => "it is being ordered".to_owned(),
    };
    let line = format!("order for {names} at {}: {stands}", at(order, "/directory"));
    crate::output::shown(&line) + "\n"
}

fn items_of(value: &Value, path: &str) -> String {
    let items = value.pointer(path).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

fn told(answer: &Value) -> String {
    let lines = [
        ("name", "/name"),
        ("version", "/version"),
        ("state", "/state"),
        ("subject", "/subject"),
        ("issuer", "/issuer"),
        ("names", "/names"),
        ("key", "/algorithm"),
        ("serial", "/serial"),
        ("begins", "/not_before"),
        ("ends", "/not_after"),
    ];
    lines.iter().map(|(name, path)| format!("{name:<9}{}\n", crate::output::shown(&at(answer, path)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Of {
        #[command(flatten)]
        issue: Issue,
    }

    #[test]
    fn what_is_asked_for_is_declared() {
        let body = |line: &str| Of::try_parse_from(line.split(' ')).map(|of| of.issue.body()).map_err(|e| e.kind());
        let root = json!({ "name": "ca", "engine": "certificate_authority", "certificate": { "permitted": ["a.example", "10.0.0.0/8"] } });
        assert_eq!(body("x ca --root --permit a.example --permit 10.0.0.0/8"), Ok(root));
        let leaf = json!({ "name": "b", "engine": "certificate", "certificate": {
            "authority": "ca", "names": ["b.a.example"], "usage": "server", "lifetime": "12h" } });
        assert_eq!(body("x b --authority ca --host b.a.example --usage server --lifetime 12h"), Ok(leaf));
        for wrong in ["x b", "x b --root --authority ca", "x b --authority ca --permit a"] {
            assert!(body(wrong).is_err(), "{wrong}");
        }
    }
}
