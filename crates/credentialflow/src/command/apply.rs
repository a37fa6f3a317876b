//! `credentialflow apply`: makes a running server be as the files declare, all of it or nothing.

use super::{
    Outcome,
    files::{Files, changes_text},
    resource,
};
use crate::{
    cli::Connection,
    client::Client,
    output::{Output, at},
};
use serde_json::Value;
use std::path::PathBuf;

/// Make a running server be as configuration files declare
#[derive(clap::Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    connection: Connection,
    /// Configuration files, together one configuration; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also delete what is stored but not declared
    #[arg(long)]
    prune: bool,
    /// Brings the same answer, with the keys issued, again within 24 hours; random unless given
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

pub(super) async fn run(args: ApplyArgs, output: Output) -> anyhow::Result<Outcome> {
    let body = match Files::read(&args.files)?.body(args.prune, output)? {
        Ok(body) => body,
        Err(refused) => return Ok(refused),
    };
    let client = Client::new(&args.connection)?;
    output.progress("Applying, and waiting until every worker enforces it …");
    let answer = client.create("/api/v1/config/apply", &body, args.idempotency_key.as_deref()).await?;
    output.result(&answer, text)?;
    Ok(Outcome::Done)
}

fn text(answer: &Value) -> String {
    let list = |name: &str| answer.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if list("changes").is_empty() {
        return "Nothing changed: everything was as declared.\n".to_owned();
    }
    let mut out = changes_text(answer);
    if let Some(published) = answer.get("published") {
        out.push_str(&format!("Done; enforced by {} workers.\n", at(published, "/workers")));
        out.push_str(&resource::lost(answer));
    }
    for rotation in list("rotations") {
        out.push_str(&format!("Rotation of {} started: {}\n", at(rotation, "/credential"), at(rotation, "/message")));
    }
    if !list("keys").is_empty() {
        out.push_str("\nNew keys, shown this once:\n");
    }
    for issued in list("keys") {
        out.push_str(&format!("  {}: {}\n", at(issued, "/key/spec/name"), at(issued, "/secret")));
    }
    out
}
