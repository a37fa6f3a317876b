//! `credentialflow credential`: credentials held for upstreams. Values go in, never out.

use super::{Outcome, Usage, biography, blast_radius, resource, rotation};
use crate::{
    cli::Connection,
    client::{Client, Refused, escape},
    input,
    output::{Output, at, items, table},
};
use anyhow::{Context, bail};
use credentialflow_model::{Name, SecretReference, SecretValue, resource::Overlap};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// Credentials held for upstreams
#[derive(clap::Args)]
pub struct CredentialArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List credentials
    List(resource::ListArgs),
    /// Show a credential, without its value
    Show {
        /// Its name
        name: String,
    },
    /// Give a credential a value: made (engine static) if it does not exist, otherwise rotated to it
    Set {
        /// Its name
        name: Name,
        #[command(flatten)]
        value: ValueArgs,
        #[command(flatten)]
        wait: Wait,
    },
    /// Bring a new version into use while the old one drains; followed until done or rolled back
    Rotate {
        /// Its name
        name: Name,
        #[command(flatten)]
        value: ValueArgs,
        /// Read the new value from standard input
        #[arg(long, conflicts_with = "value_from")]
        stdin: bool,
        /// How long the old version stays valid: until-drained, only-when-drained, or a duration such as 24h
        #[arg(long, value_name = "OVERLAP")]
        overlap: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// List the rotations that are not finished, or all of one credential
    Rotations {
        /// The credential's name
        name: Option<String>,
    },
    /// Let a rotation that is due and waits for an approval go on; followed until done or rolled back
    Approve {
        /// The credential's name
        name: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// End a rotation that waits, for an approval or for a value
    Decline {
        /// The credential's name
        name: String,
        /// Why, for those who read the audit log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Deliver the value that a rotation waits for (from standard input unless said otherwise)
    Deliver {
        /// The credential's name
        name: Name,
        #[command(flatten)]
        value: ValueArgs,
        #[command(flatten)]
        wait: Wait,
    },
    /// Read the value from its store and write it to the stores it is synced to, now
    Refresh {
        /// Its name
        name: String,
    },
    /// Withdraw a credential's versions at once; done when no worker injects them
    Revoke {
        /// Its name
        name: String,
        /// Only this version
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
    },
    /// List a credential's versions
    Versions {
        /// Its name
        name: String,
    },
    /// List every live version of every credential with the algorithm and key that guard it
    Inventory,
    /// Show what revoking it would break, counted from recorded requests; changes nothing
    BlastRadius(blast_radius::WindowArgs),
    /// Show its life: who made it, versions, rotations, uses, its end
    Biography(blast_radius::WindowArgs),
    /// Delete a credential; refused while something injects it
    Delete {
        /// Its name
        name: String,
    },
}

#[derive(clap::Args)]
struct ValueArgs {
    /// Read the value from ${env:NAME} or ${file:PATH}
    #[arg(long, value_name = "REFERENCE")]
    value_from: Option<String>,
}

#[derive(clap::Args)]
struct Wait {
    /// Return when the rotation is started, and do not follow it
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
    /// Follow to the very end, also while the old version stays valid for a fixed time
    #[arg(long)]
    wait: bool,
}

impl ValueArgs {
    fn read(&self) -> anyhow::Result<Option<SecretValue>> {
        let Some(text) = &self.value_from else { return Ok(None) };
        let reference: SecretReference = text
            .parse()
            .map_err(|error: credentialflow_model::reference::InvalidReference| Usage(error.to_string()))?;
        match input::value_from(&reference) {
            Ok(value) => Ok(Some(value)),
            Err(why) => bail!("{reference} cannot be resolved: {why}"),
        }
    }
}

const CREDENTIALS: resource::Listing = resource::Listing {
    kind: "credentials",
    columns: &[
        ("name", "/spec/name"),
        ("engine", "/spec/engine"),
        ("owner", "/spec/owner"),
        ("version", "/current_version"),
        ("last used", "/last_used"),
        ("rotation", "/rotation/step"),
        ("rotation due", "/rotation_due"),
    ],
    empty: "Make one with `credentialflow credential set NAME`, its value on standard input.",
};

pub(super) async fn run(args: CredentialArgs, output: Output) -> anyhow::Result<Outcome> {
    let client = Client::new(&args.connection)?;
    match args.verb {
        Verb::List(list) => resource::list(&client, &list, &CREDENTIALS, output).await?,
        Verb::Show { name } => resource::show(&client, "credentials", &name, output).await?,
        Verb::Set { name, value, wait } => {
            let value = match value.read()? {
                Some(value) => value,
                None => input::value_from_stdin()?,
            };
            return set(&client, &name, &value, &wait, output).await;
        }
        Verb::Rotate { name, value, stdin, overlap, wait } => {
            let value = if stdin { Some(input::value_from_stdin()?) } else { value.read()? };
            let mut body = Map::new();
            if let Some(overlap) = overlap {
                let overlap = Overlap::try_from(overlap).map_err(|error| Usage(error.to_string()))?;
                body.insert("overlap".to_owned(), json!(overlap));
            }
            return rotate(&client, &name, value.as_ref(), body, &wait, output).await;
        }
        Verb::Rotations { name } => rotation::list(&client, name.as_deref(), output).await?,
        Verb::Approve { name, wait } => {
            let id = rotation::unfinished(&client, &name).await?;
            let started = client.post(&format!("/api/v1/rotations/{}/approve", escape(&id)), &json!({})).await?;
            return followed(&client, started, &name, None, &wait, output).await;
        }
        Verb::Decline { name, reason } => {
            let id = rotation::unfinished(&client, &name).await?;
            let body = json!({ "reason": reason });
            let answer = client.post(&format!("/api/v1/rotations/{}/decline", escape(&id)), &body).await?;
            output.result(&answer, |_| format!("Declined: {name} stays as it is.\n"))?;
        }
        Verb::Deliver { name, value, wait } => {
            let value = match value.read()? {
                Some(value) => value,
                None => input::value_from_stdin()?,
            };
            let path = format!("/api/v1/credentials/{}/deliver", escape(name.as_str()));
            let started = client.post(&path, &json!({ "secret": text(&value)? })).await?;
            return followed(&client, started, name.as_str(), None, &wait, output).await;
        }
        Verb::Refresh { name } => return refresh(&client, &name, output).await,
        Verb::Revoke { name, version } => {
            let body = version.map_or_else(|| json!({}), |version| json!({ "version": version }));
            let told = |answer: &Value| {
                format!("Revoked {name}: versions {}; no worker injects them.", at(answer, "/versions"))
            };
            resource::revoke(&client, ("credentials", &name), &body, output, told).await?;
        }
        Verb::Versions { name } => {
            let answer = client.get(&format!("/api/v1/credentials/{}/versions", escape(&name))).await?;
            let columns = [
                ("version", "/version"),
                ("state", "/state"),
                ("created", "/created"),
                ("promoted", "/promoted"),
                ("last used", "/last_used"),
                ("uses", "/uses"),
                ("in flight", "/in_flight"),
            ];
            let empty = "Give it a value with `credentialflow credential set`.";
            output.result(&answer, |answer| resource::page(answer, "versions", &columns, empty))?;
        }
        Verb::Inventory => inventory(&client, output).await?,
        Verb::BlastRadius(args) => blast_radius::show(&client, "credentials", &args, output).await?,
        Verb::Biography(args) => biography::show(&client, "credentials", &args, output).await?,
        Verb::Delete { name } => resource::delete(&client, "credentials", &name, output).await?,
    }
    Ok(Outcome::Done)
}

async fn set(
    client: &Client,
    name: &Name,
    value: &SecretValue,
    wait: &Wait,
    output: Output,
) -> anyhow::Result<Outcome> {
    let there = client.get(&format!("/api/v1/credentials/{}", escape(name.as_str()))).await;
    match there {
        Ok(_) => rotate(client, name, Some(value), Map::new(), wait, output).await,
        Err(error) if error.downcast_ref::<Refused>().is_some_and(|no| no.status == StatusCode::NOT_FOUND) => {
            let body = json!({ "name": name, "engine": "static", "secret": text(value)? });
            let answer = client.create("/api/v1/credentials", &body, None).await?;
            output.result(&answer, |_| format!("Made credential {name}; version 1 is current.\n"))?;
            Ok(Outcome::Done)
        }
        Err(error) => Err(error),
    }
}

async fn rotate(
    client: &Client,
    name: &Name,
    value: Option<&SecretValue>,
    mut body: Map<String, Value>,
    wait: &Wait,
    output: Output,
) -> anyhow::Result<Outcome> {
    if let Some(value) = value {
        body.insert("secret".to_owned(), json!(text(value)?));
    }
    let path = format!("/api/v1/credentials/{}/rotate", escape(name.as_str()));
    let wanted = body.get("overlap").cloned();
    let started = client.post(&path, &Value::Object(body)).await?;
    followed(client, started, name.as_str(), wanted.as_ref(), wait, output).await
}

/// Follows a rotation that goes on, unless it was asked not to.
async fn followed(
    client: &Client,
    started: Value,
    name: &str,
    wanted: Option<&Value>,
    wait: &Wait,
    output: Output,
) -> anyhow::Result<Outcome> {
    if wait.no_wait {
        output.result(&started, |started| format!("Started: {}\n", rotation::text(started)))?;
        return Ok(Outcome::Done);
    }
    let overlap = match wanted {
        Some(wanted) => at(wanted, ""),
        None => {
            let credential = client.get(&format!("/api/v1/credentials/{}", escape(name))).await?;
            at(&credential, "/spec/rotate/overlap")
        }
    };
    let fixed = !matches!(overlap.as_str(), "-" | "until-drained" | "only-when-drained");
    rotation::follow(client, started, fixed && !wait.wait, output).await
}

/// Tells how each link went; one that failed is a refusal.
async fn refresh(client: &Client, name: &str, output: Output) -> anyhow::Result<Outcome> {
    let answer = client.post(&format!("/api/v1/credentials/{}/refresh", escape(name)), &json!({})).await?;
    let failed = items(&answer).iter().any(|link| link.get("error").is_some());
    output.result(&answer, |answer| {
        let columns = [
            ("direction", "/direction"),
            ("place", "/place"),
            ("version", "/version"),
            ("at the store", "/remote"),
            ("error", "/error"),
        ];
        resource::page(answer, "links", &columns, "Give it `value: ${store:…}` or `sync` in its declaration.")
    })?;
    Ok(if failed { Outcome::Refused } else { Outcome::Done })
}

fn text(value: &SecretValue) -> anyhow::Result<&str> {
    value.expose_str().context("the value is not UTF-8 text")
}

/// Walks every page of credentials, and each one's live versions.
async fn inventory(client: &Client, output: Output) -> anyhow::Result<()> {
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let parameters = [("limit", Some("1000".to_owned())), ("cursor", cursor)];
        let page = client.get(&crate::client::with_query("/api/v1/credentials", &parameters)).await?;
        for credential in items(&page) {
            let name = at(credential, "/spec/name");
            let versions = client.get(&format!("/api/v1/credentials/{}/versions", escape(&name))).await?;
            for version in items(&versions) {
                if matches!(at(version, "/state").as_str(), "pending" | "current" | "previous") {
                    found.push(json!({
                        "credential": name, "engine": credential.pointer("/spec/engine"),
                        "version": version.get("version"), "state": version.get("state"),
                        "algorithm": version.get("algorithm"), "keyring_id": version.get("keyring_id"),
                        "created": version.get("created"),
                    }));
                }
            }
        }
        cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    output.result(&json!({ "items": found }), |answer| {
        if items(answer).is_empty() {
            return "No credential has a live version. Make one with `credentialflow credential set NAME`.\n"
                .to_owned();
        }
        let columns = ["credential", "version", "state", "engine", "algorithm", "keyring_id", "created"];
        let rows: Vec<Vec<_>> = items(answer)
            .iter()
            .map(|item| columns.iter().map(|name| at(item, &format!("/{name}"))).collect())
            .collect();
        table(&columns, &rows)
    })?;
    Ok(())
}
