//! `credentialflow run -- CMD`: runs a program with secrets in its environment.
//!
//! The secrets are fetched through the run-time API (Vault's), as any application would: with the token in
//! VAULT_TOKEN, by AppRole with VAULT_ROLE_ID and VAULT_SECRET_ID, or with a token that a CI system gave to its job, in
//! VAULT_JWT or VAULT_JWT_FILE. They are in the program's environment
//! and in this process's memory, in no file and in no argument. While the program runs, leases are renewed;
//! when it has ended, they are revoked. What lets us in is not handed on.

mod access;
mod child;
mod fetch;
mod wanted;

use super::{Outcome, Usage};
use anyhow::Context;
use credentialflow_stores::{
    read_authorities,
    vault::{Access, Client},
};
use std::path::{Path, PathBuf};
use wanted::Wanted;

/// Run a program with secrets in its environment
///
/// VAULT_ADDR says where the run-time API is, VAULT_TOKEN (or VAULT_ROLE_ID and VAULT_SECRET_ID, or VAULT_JWT or
/// VAULT_JWT_FILE with VAULT_ROLE) who asks, VAULT_CACERT which authorities are believed. The program's exit code is
/// passed on.
#[derive(clap::Args)]
pub struct RunArgs {
    /// A variable and the secret it holds: NAME=MOUNT/PATH#FIELD
    #[arg(long, value_name = "NAME=PLACE")]
    env: Vec<String>,
    /// A file of lines NAME=TEXT, in which ${vault:MOUNT/PATH#FIELD} stands for a secret
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Send the token without TLS to a server that is not on this machine all the same
    #[arg(long)]
    allow_plaintext_server: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<std::ffi::OsString>,
}

pub(super) async fn run(args: RunArgs) -> anyhow::Result<Outcome> {
    let wanted = wanted(&args)?;
    // Listened for from here on: a signal that comes before the program runs ends us in order, with
    // everything given back.
    let mut signals = child::listen()?;
    let client = client(args.allow_plaintext_server).await?;
    let mut fetched = fetch::Fetched::read(client, &wanted).await?;
    let outcome = match (signals.try_recv(), fetched.environment(&wanted)) {
        (Ok(signal), _) => Ok(child::ended_by(signal)),
        (Err(_), Ok(environment)) => {
            child::run(&args.command, environment, &access::VARIABLES, &mut fetched, &mut signals).await
        }
        (Err(_), Err(error)) => Err(error),
    };
    fetched.give_back().await;
    outcome.map(Outcome::Code)
}

fn wanted(args: &RunArgs) -> anyhow::Result<Vec<Wanted>> {
    let mut all = Vec::new();
    for path in &args.env_file {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let read = wanted::read_file(&text);
        all.extend(read.map_err(|(line, why)| Usage(format!("{}:{line}: {why}", path.display())))?);
    }
    for text in &args.env {
        let read = Wanted::read_flag(text);
        // The text is told only as far as it names the variable: somebody may have put a secret there.
        let name = || text.split('=').next().unwrap_or_default().to_owned();
        all.push(read.map_err(|why| Usage(format!("--env {}: {why}", name())))?);
    }
    let mut names: Vec<&str> = all.iter().map(|w| w.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Usage(format!("the variable {} is given twice", twice[0])).into());
    }
    Ok(all)
}

/// A client with a token, given or logged in for.
async fn client(plaintext: bool) -> anyhow::Result<(Client, bool)> {
    let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let address = get("VAULT_ADDR").or_else(|| get("BAO_ADDR")).unwrap_or_else(|| "http://127.0.0.1:8200".to_owned());
    let authorities = get("VAULT_CACERT").or_else(|| get("BAO_CACERT"));
    let authorities = authorities.map(|path| read_authorities(Path::new(&path))).transpose()?;
    let namespace = get("VAULT_NAMESPACE");
    let open = |access| Client::new(&address, plaintext, authorities.as_deref(), namespace.clone(), access);
    let access = access::access(get)?;
    if matches!(access, Access::Token(_)) {
        return Ok((open(access)?, false));
    }
    let by = access::word(&access);
    // Logged in for once: leases belong to the token, so it is renewed and never exchanged.
    let token = open(access)?.log_in().await.with_context(|| format!("logging in {by}"))?;
    Ok((open(Access::Token(token.duplicate()))?, true))
}
