//! How soon a revoked key is refused on every worker, measured from outside.

use crate::{need, product, repo};
use anyhow::{Context as _, Result, bail};
use std::process::{Command, Stdio};

/// Runs the measurement.
pub fn run(profile: &str) -> Result<()> {
    need::all(need::BENCH)?;
    product::build(profile)?;
    let status = Command::new("python3")
        .arg("benches/revoke.py")
        .env("CREDENTIALFLOW_BIN", repo::binary(profile))
        .current_dir(repo::root())
        .stdin(Stdio::null())
        .status()
        .context("cannot start python3")?;
    if !status.success() {
        bail!("the measurement failed ({status})");
    }
    Ok(())
}
