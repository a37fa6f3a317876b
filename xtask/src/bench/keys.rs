//! What a key costs: checked with one key and with a million and walked over at a start, measured inside the crates;
//! and a whole request with one key and with a million, from outside.

use super::script;
use crate::repo;
use anyhow::{Context as _, Result, bail};
use std::process::{Command, Stdio};

/// Runs the crates' own measurements.
pub fn run(profile: &str) -> Result<()> {
    for active in ["1000", "1000000"] {
        script::run("keys", &["--active", active], profile)?;
    }
    for package in ["credentialflow-policy", "credentialflow-store"] {
        let status = Command::new("cargo")
            .args(["run", "--quiet", "--locked", "--profile", profile, "--package", package, "--example", "keys"])
            .current_dir(repo::root())
            .stdin(Stdio::null())
            .status()
            .context("cannot start cargo")?;
        if !status.success() {
            bail!("the measurement of {package} failed ({status})");
        }
    }
    Ok(())
}
