//! Measurements from outside, which are Python: each runs against the binary of a profile.

use crate::{need, product, repo};
use anyhow::{Context as _, Result, bail};
use std::{
    ffi::OsStr,
    process::{Command, Stdio},
};

/// Builds the binary and runs `benches/NAME.py` with these arguments.
pub fn run<A: AsRef<OsStr>>(name: &str, arguments: &[A], profile: &str) -> Result<()> {
    need::all(need::BENCH)?;
    product::build(profile)?;
    let status = Command::new("python3")
        .arg(format!("benches/{name}.py"))
        .args(arguments)
        .env("CREDENTIALFLOW_BIN", repo::binary(profile))
        .current_dir(repo::root())
        .stdin(Stdio::null())
        .status()
        .context("cannot start python3")?;
    if !status.success() {
        bail!("the measurement of benches/{name}.py failed ({status})");
    }
    Ok(())
}
