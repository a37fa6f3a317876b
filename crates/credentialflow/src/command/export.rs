//! `credentialflow export`: everything declared, as one file that `apply` reads back without a
//! difference. Contains no secret.

use super::Outcome;
use crate::{cli::Connection, client::Client, output::Output};
use anyhow::bail;
use credentialflow_model::config;

/// Write everything declared as one configuration file
#[derive(clap::Args)]
pub struct ExportArgs {
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: ExportArgs, output: Output) -> anyhow::Result<Outcome> {
    let text = Client::new(&args.connection)?.get_text("/api/v1/config/export", "application/yaml").await?;
    if !output.is_json() {
        output.raw(&text)?;
        return Ok(Outcome::Done);
    }
    let (set, _, problems) = config::read("export", &text);
    if !problems.0.is_empty() {
        bail!("the server's export cannot be read by this version\n{problems}");
    }
    output.result(&serde_json::to_value(set)?, |_| text)?;
    Ok(Outcome::Done)
}
