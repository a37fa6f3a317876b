//! `credentialflow migrate`: brings the database's tables to this version. Safe to run again.

use super::Outcome;
use crate::{cli::Local, output::Output};
use anyhow::{Context, bail};
use credentialflow_store::Store;
use serde_json::json;
use std::path::Path;

/// Bring the database's tables to this version
#[derive(clap::Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    local: Local,
}

pub(super) async fn run(args: MigrateArgs, output: Output) -> anyhow::Result<Outcome> {
    let store = open(args.local).await?;
    let report = store.migrate().await.context("the database cannot be migrated")?;
    store.close().await;
    output.result(&json!({ "version": report.version, "applied": report.applied }), |_| match report.applied {
        0 => format!("The database is at version {} already.\n", report.version),
        applied => format!("Applied {applied} migrations; the database is at version {}.\n", report.version),
    })?;
    Ok(Outcome::Done)
}

/// Opens the database of a local installation; an SQLite file that does not exist is not made.
pub(super) async fn open(local: Local) -> anyhow::Result<Store> {
    let settings = local.settings()?;
    if let Some(path) = settings.database.strip_prefix("sqlite:")
        && !Path::new(path.trim_start_matches("//")).exists()
    {
        bail!(
            "there is no database at {path}\nmake one with `credentialflow init`, or name another with --data-dir or --database"
        );
    }
    Store::connect(&settings.database).await.context("the database cannot be opened")
}
