//! `credentialflow openapi`: the admin API's document, as this binary serves it.

use super::Outcome;
use crate::output::Output;

pub(super) fn run(output: Output) -> anyhow::Result<Outcome> {
    let document = serde_json::to_value(credentialflow_admin::openapi())?;
    output.raw(&format!("{}\n", serde_json::to_string_pretty(&document)?))?;
    Ok(Outcome::Done)
}
