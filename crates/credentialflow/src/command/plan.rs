//! `credentialflow plan`: what `apply` would change. Changes nothing.

use super::{
    Outcome,
    files::{Files, changes_text},
};
use crate::{cli::Connection, client::Client, output::Output};
use serde_json::Value;
use std::path::PathBuf;

/// Show what applying configuration files would change
#[derive(clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    connection: Connection,
    /// Configuration files, together one configuration; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also delete what is stored but not declared
    #[arg(long)]
    prune: bool,
}

pub(super) async fn run(args: PlanArgs, output: Output) -> anyhow::Result<Outcome> {
    let body = match Files::read(&args.files)?.body(args.prune, output)? {
        Ok(body) => body,
        Err(refused) => return Ok(refused),
    };
    let answer = Client::new(&args.connection)?.post("/api/v1/config/plan", &body).await?;
    output.result(&answer, |answer| {
        if answer.get("changes").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            return "Nothing to change: everything is as declared.\n".to_owned();
        }
        format!("{}Make it so with `credentialflow apply`.\n", changes_text(answer))
    })?;
    Ok(Outcome::Done)
}
