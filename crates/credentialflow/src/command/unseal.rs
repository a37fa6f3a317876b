//! `credentialflow unseal`: hands a running, sealed server what opens its vault.

use super::Outcome;
use crate::{cli::Connection, client::Client, input, output::Output};
use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use std::path::PathBuf;

/// Unseal the vault of a running server
#[derive(clap::Args)]
pub struct UnsealArgs {
    #[command(flatten)]
    connection: Connection,
    /// The passphrase is the first line of this file; otherwise it is read from standard input or asked for
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    passphrase_file: Option<PathBuf>,
    /// The vault is sealed by a key file: send this one's content
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

pub(super) async fn run(args: UnsealArgs, output: Output) -> anyhow::Result<Outcome> {
    let client = Client::anonymous(&args.connection)?;
    let body = if let Some(path) = &args.key_file {
        json!({ "key": STANDARD.encode(input::bytes(path)?.expose()) })
    } else {
        let passphrase = match &args.passphrase_file {
            Some(path) => input::first_line(path)?,
            None => input::line_or_prompt("passphrase", false)?,
        };
        json!({ "passphrase": passphrase.expose_str().context("a passphrase is UTF-8 text")? })
    };
    let answer = client.post("/api/v1/unseal", &body).await?;
    output.result(&answer, |_| "The vault is unsealed.\n".to_owned())?;
    Ok(Outcome::Done)
}
