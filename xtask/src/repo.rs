//! Where things are in this repository.

use anyhow::{Context as _, Result};
use std::{
    env,
    path::{Path, PathBuf},
};

/// The root of the repository, wherever the command was started. Checkouts that share a cache of builds may share this
/// program as well, so it is the one that cargo runs it for.
pub fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = Path::new(&here);
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where cargo builds; `CARGO_TARGET_DIR` moves it.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => root().join(dir),
        _ => root().join("target"),
    }
}

/// The product's binary, built with this profile.
pub fn binary(profile: &str) -> PathBuf {
    let folder = if profile == "dev" { "debug" } else { profile };
    target().join(folder).join("credentialflow")
}

/// A new folder that only its owner can enter, in the system's place for temporary files.
pub fn fresh_dir(purpose: &str) -> Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let base = env::temp_dir();
    for n in 0..1000 {
        let dir = base.join(format!("credentialflow-{purpose}-{}-{n}", std::process::id()));
        match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok(dir),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e).with_context(|| format!("cannot create {}", dir.display())),
        }
    }
    anyhow::bail!("no free name for a folder in {}", base.display())
}
