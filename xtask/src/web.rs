//! `cargo xtask web`: the console's files, built when their sources are newer.

use crate::{need, repo, say};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::SystemTime,
};

/// Flags.
#[derive(clap::Args)]
pub struct Args {
    /// Build also when nothing changed.
    #[arg(long)]
    force: bool,
}

/// Builds the console.
pub fn run(args: &Args) -> Result<()> {
    need::node()?;
    if build(args.force)? {
        say::note("web/dist is built");
    } else {
        say::note("web/dist is newer than its sources; nothing to do (--force builds anyway)");
    }
    Ok(())
}

/// Builds web/dist where it is older than its sources. Says whether there was something to do.
pub fn build(force: bool) -> Result<bool> {
    let web = repo::root().join("web");
    if !force && is_current(&web) {
        return Ok(false);
    }
    install()?;
    npm(&["run", "build"])?;
    Ok(true)
}

/// Installs the packages of the lock file, unless exactly those are installed.
pub fn install() -> Result<()> {
    let web = repo::root().join("web");
    let mark = web.join("node_modules/.package-lock.json");
    let lock = web.join("package-lock.json");
    if modified(&mark).is_some_and(|m| modified(&lock).is_some_and(|l| m >= l)) {
        return Ok(());
    }
    npm(&["ci", "--no-audit", "--no-fund"])
}

/// Runs npm in web/, its output on stderr.
pub fn npm(args: &[&str]) -> Result<()> {
    let status = Command::new("npm")
        .args(args)
        .current_dir(repo::root().join("web"))
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .context("cannot start npm")?;
    if !status.success() {
        bail!("npm {} failed ({status})", args.join(" "));
    }
    Ok(())
}

fn is_current(web: &Path) -> bool {
    let Some(built) = modified(&web.join("dist/index.html")) else { return false };
    let sources =
        ["src", "public", "index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"];
    sources.iter().all(|s| newest(&web.join(s)).is_none_or(|time| time <= built))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn newest(path: &Path) -> Option<SystemTime> {
    let own = modified(path);
    let inside = fs::read_dir(path).ok().into_iter().flatten().flatten().filter_map(|e| newest(&e.path()));
    own.into_iter().chain(inside).max()
}
