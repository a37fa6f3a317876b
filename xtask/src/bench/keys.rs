//! What a key check costs with one key and with a million; measured inside the policy crate, as the
//! check is too small a part of a request to be seen from outside.

use crate::repo;
use anyhow::{Context as _, Result, bail};
use std::process::{Command, Stdio};

/// Runs the crate's own measurement.
pub fn run(profile: &str) -> Result<()> {
    let status = Command::new("cargo")
        .args([
            "run",
            "--quiet",
            "--locked",
            "--profile",
            profile,
            "--package",
            "credentialflow-policy",
            "--example",
            "keys",
        ])
        .current_dir(repo::root())
        .stdin(Stdio::null())
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("the measurement failed ({status})");
    }
    Ok(())
}
