//! `credentialflow audit`: reads, copies and verifies the audit log.
//!
//! `verify` needs no server: it walks the database, or a copy made by `export`, and names the first
//! event that is not as it was written. Checkpoints' signatures are checked with the installation's
//! public key, which `export` prints and a copy's verifier can be given.

use super::{Outcome, Usage, migrate, resource};
use crate::{
    cli::{Connection, Local},
    client::{Client, with_query},
    output::{Output, at},
};
use anyhow::Context;
use credentialflow_store::{AuditReport, BrokenAt, Store, VerifyError, audit};
use credentialflow_vault::{Vault, verify_checkpoint};
use serde_json::json;
use std::{io::Write, path::PathBuf};

/// The audit log
#[derive(clap::Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List events of a running server
    List {
        #[command(flatten)]
        connection: Connection,
        /// Only events after this place in the chain, oldest first; unless set, the newest first
        #[arg(long, value_name = "SEQ", conflicts_with = "before")]
        after: Option<u64>,
        /// Only events before this place in the chain, newest first
        #[arg(long, value_name = "SEQ")]
        before: Option<u64>,
        /// Most events, 1 to 1000
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: Option<u32>,
        /// Only this action, as in key.create
        #[arg(long, value_name = "ACTION")]
        action: Option<String>,
        /// Only this subject, as in credentials/orders-token
        #[arg(long, value_name = "KIND/NAME")]
        subject: Option<String>,
    },
    /// Check that no event was changed, removed or inserted; names the first that was
    Verify {
        #[command(flatten)]
        local: Local,
        /// Check this copy, made by `audit export`, instead of a database; needs neither server nor vault
        #[arg(long, value_name = "FILE", conflicts_with_all = ["database", "data_dir", "config"])]
        file: Option<PathBuf>,
        /// Public key (hexadecimal, as `audit export` tells it) to check a copy's signatures with
        #[arg(long, value_name = "HEX", requires = "file")]
        public_key: Option<String>,
    },
    /// Copy the whole log from the database as JSON lines, with its checkpoints
    Export {
        #[command(flatten)]
        local: Local,
        /// Write into this new file instead of standard output
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

pub(super) async fn run(args: AuditArgs, output: Output) -> anyhow::Result<Outcome> {
    match args.verb {
        Verb::List { connection, after, before, limit, action, subject } => {
            let number = |n: Option<u64>| n.map(|n| n.to_string());
            let parameters = [
                ("after", number(after)),
                ("before", number(before)),
                ("limit", number(limit.map(u64::from))),
                ("action", action),
                ("subject", subject),
            ];
            let answer = Client::new(&connection)?.get(&with_query("/api/v1/audit", &parameters)).await?;
            let columns = [
                ("seq", "/seq"),
                ("time", "/time"),
                ("actor", "/actor/name"),
                ("source", "/actor/source"),
                ("action", "/action"),
                ("subject", "/subject"),
            ];
            output.result(&answer, |answer| resource::page(answer, "events", &columns, "Nothing matches."))?;
            Ok(Outcome::Done)
        }
        Verb::Verify { file: Some(path), public_key, .. } => {
            let key =
                public_key.map(|text| unhex(&text).ok_or_else(|| Usage("a public key is hexadecimal".to_owned())));
            let key = key.transpose()?;
            let file = std::fs::File::open(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            let reader = std::io::BufReader::new(file);
            let verified = match &key {
                Some(key) => {
                    audit::verify_lines(reader, Some(&|message, signature| verify_checkpoint(key, message, signature)))
                }
                None => audit::verify_lines(reader, None),
            };
            verdict(verified, output)
        }
        Verb::Verify { local, .. } => {
            let store = migrate::open(local).await?;
            let verified = match public_key(&store).await {
                Some(key) => {
                    audit::verify(&store, Some(&|message, signature| verify_checkpoint(&key, message, signature))).await
                }
                None => audit::verify(&store, None).await,
            };
            store.close().await;
            verdict(verified, output)
        }
        Verb::Export { local, file } => export(&migrate::open(local).await?, file, output).await,
    }
}

async fn public_key(store: &Store) -> Option<Vec<u8>> {
    Vault::open_sealed(store).await.ok()?.audit_public_key().ok()
}

fn verdict(verified: Result<AuditReport, VerifyError>, output: Output) -> anyhow::Result<Outcome> {
    match verified {
        Ok(report) => {
            let mut value = serde_json::to_value(&report)?;
            value["intact"] = json!(true);
            output.result(&value, |value| {
                let signed = match (report.checkpoints, report.signatures_checked) {
                    (0, _) => "nothing is signed yet",
                    (_, true) => "their signatures are right",
                    (_, false) => "signatures not checked",
                };
                format!(
                    "Intact: {} events, {} checkpoints ({signed}).\nLast hash: {}\n",
                    report.events,
                    report.checkpoints,
                    at(value, "/last_hash")
                )
            })?;
            Ok(Outcome::Done)
        }
        Err(VerifyError::Broken(BrokenAt { seq, what })) => {
            output.result(&json!({ "intact": false, "broken_at": seq, "what": what }), |_| {
                format!("Broken at event {seq}: {what}\n")
            })?;
            Ok(Outcome::Refused)
        }
        Err(other) => Err(other.into()),
    }
}

async fn export(store: &Store, file: Option<PathBuf>, output: Output) -> anyhow::Result<Outcome> {
    let key = public_key(store).await.map(|key| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let events = match &file {
        Some(path) => {
            let failed = || format!("{} cannot be written", path.display());
            let mut to = std::io::BufWriter::new(std::fs::File::create_new(path).with_context(failed)?);
            let events = store.export_audit(&mut to).await.with_context(failed)?;
            to.into_inner().with_context(failed)?.sync_all().with_context(failed)?;
            let told = json!({ "events": events, "file": path, "public_key": key });
            output.result(&told, |told| {
                format!("Copied {events} events to {}.\nPublic key: {}\n", path.display(), at(told, "/public_key"))
            })?;
            events
        }
        None => {
            let mut to = std::io::BufWriter::new(std::io::stdout());
            let events = store.export_audit(&mut to).await.context("the copy cannot be written")?;
            to.flush().context("the copy cannot be written")?;
            events
        }
    };
    if file.is_none() {
        output.progress(&format!("{events} events; public key {}", key.as_deref().unwrap_or("unknown")));
    }
    store.close().await;
    Ok(Outcome::Done)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<_>> = text.trim().chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_strictly() {
        assert_eq!(unhex("0aFF"), Some(vec![10, 255]));
        assert!(unhex("0").is_none() && unhex("zz").is_none());
    }
}
