//! `credentialflow seal`: makes a running server forget every opened key. Traffic that runs from the
//! snapshot goes on; nothing can be issued, opened or changed until `unseal`.

use super::Outcome;
use crate::{cli::Connection, client::Client, output::Output};
use serde_json::json;

/// Seal the vault of a running server
#[derive(clap::Args)]
pub struct SealArgs {
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: SealArgs, output: Output) -> anyhow::Result<Outcome> {
    let answer = Client::new(&args.connection)?.post("/api/v1/seal", &json!({})).await?;
    output.result(&answer, |_| "The vault is sealed. Open it again with `credentialflow unseal`.\n".to_owned())?;
    Ok(Outcome::Done)
}
