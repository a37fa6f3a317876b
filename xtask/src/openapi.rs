//! `cargo xtask openapi`: the committed API document and the console's client, made again from the code.

use crate::{need, product, repo, say, web};
use anyhow::{Context as _, Result, bail};
use std::{fs, process::Command};

/// Flags.
#[derive(clap::Args)]
pub struct Args {
    /// Change nothing; fail where something is out of date.
    #[arg(long)]
    check: bool,
}

/// Writes or checks both. `false`: something is out of date.
pub fn run(args: &Args) -> Result<bool> {
    need::node()?;
    product::build("quick")?;
    web::install()?;
    Ok(document("quick", !args.check)? & client(!args.check)?)
}

/// openapi/admin.json as the binary of this profile tells it. `false`: out of date.
pub fn document(profile: &str, write: bool) -> Result<bool> {
    let output = Command::new(repo::binary(profile)).arg("openapi").output().context("cannot start the binary")?;
    if !output.status.success() {
        bail!("`credentialflow openapi` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    compare("openapi/admin.json", &output.stdout, write)
}

/// web/src/api/schema.d.ts as generated from openapi/admin.json. `false`: out of date.
pub fn client(write: bool) -> Result<bool> {
    let dir = repo::fresh_dir("client")?;
    let fresh = dir.join("schema.d.ts");
    let made = web::npm(&["exec", "--", "openapi-typescript", "../openapi/admin.json", "-o", &fresh.to_string_lossy()])
        .and_then(|()| Ok(fs::read(&fresh)?));
    fs::remove_dir_all(&dir)?;
    compare("web/src/api/schema.d.ts", &made?, write)
}

fn compare(path: &str, fresh: &[u8], write: bool) -> Result<bool> {
    let file = repo::root().join(path);
    let fresh = [fresh.trim_ascii_end(), b"\n"].concat();
    let current = fs::read(&file).unwrap_or_default();
    if [current.trim_ascii_end(), b"\n"].concat() == fresh {
        say::note(&format!("{path} is up to date"));
        return Ok(true);
    }
    if write {
        fs::write(&file, fresh).with_context(|| format!("cannot write {path}"))?;
        say::note(&format!("{path} written"));
        return Ok(true);
    }
    say::note(&format!("{path} is out of date; write it again with: cargo xtask openapi"));
    Ok(false)
}
