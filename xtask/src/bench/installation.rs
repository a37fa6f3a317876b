//! The server that is measured: one worker, so that one core can be pinned, and every duty on:
//! key check, allow-list, rate limits, injection, metrics and call log.

use crate::{
    guard::Guarded,
    product::{self, Installation},
    repo,
};
use anyhow::Result;
use std::{fs, path::PathBuf};

/// A running server with one application and one key. Its folder goes when it does.
pub struct Measured {
    /// The installation.
    pub installation: Installation,
    /// The key of its one application.
    pub key: String,
    /// The server; dropped, it ends.
    pub server: Guarded,
    folder: PathBuf,
}

impl Drop for Measured {
    fn drop(&mut self) {
        // The server may still write while it ends; what is left is in the system's temporary folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Starts a server, applies this configuration and makes a key of its application `bench`.
pub fn start(profile: &str, configuration: &str) -> Result<Measured> {
    let folder = repo::fresh_dir("bench")?;
    let data = folder.join("data");
    fs::create_dir(&data)?;
    let installation = Installation::init(profile, &data, product::port(0)?, product::port(0)?)?.workers(1);
    let server = installation.start()?;
    let file = folder.join("bench.yaml");
    fs::write(&file, configuration)?;
    installation.apply(&file)?;
    let key = installation.create_key("bench", "bench")?;
    Ok(Measured { installation, key, server, folder })
}

/// The beginning of every measured configuration: a credential to inject, limits that count and never
/// refuse, and an application that may use what is listed.
pub fn head(routes: &str, models: &str) -> String {
    format!(
        "credentials:
  - name: upstream-token
    engine: generated
applications:
  - name: bench
    allow: {{ routes: [{routes}], models: [{models}] }}
    limit: {{ requests: 1000000, per: 1s }}
"
    )
}
