//! `credentialflow version`.

use super::Outcome;
use crate::output::Output;
use serde_json::json;

pub(super) fn run(output: Output) -> anyhow::Result<Outcome> {
    let version = env!("CARGO_PKG_VERSION");
    output
        .result(&json!({ "name": "credentialflow", "version": version }), |_| format!("credentialflow {version}\n"))?;
    Ok(Outcome::Done)
}
