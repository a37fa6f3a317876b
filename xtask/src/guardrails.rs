//! `cargo xtask guardrails`: how well the guardrails find what is labelled in public corpora.

use crate::repo;
use anyhow::{Context as _, Result};
use std::{path::PathBuf, process::Command};

/// Flags.
#[derive(clap::Args)]
pub struct Args {
    /// The folder with `guardrails/` and `llm/`.
    corpora: PathBuf,
    /// The half that the detectors were written with, in place of the other.
    #[arg(long)]
    design: bool,
}

/// Prints precision, recall and F1 of each detector. `false`: there are no figures.
pub fn run(args: &Args) -> Result<bool> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(repo::root()).args([
        "run",
        "--quiet",
        "--package",
        "credentialflow-llm",
        "--example",
        "guardrails",
        "--",
    ]);
    cargo.arg(std::path::absolute(&args.corpora)?).args(args.design.then_some("design"));
    Ok(cargo.status().context("cannot start cargo")?.success())
}
