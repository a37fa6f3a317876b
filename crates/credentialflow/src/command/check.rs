//! `credentialflow check`: every problem of configuration files at once, without a server.
//!
//! The files must stand by themselves: every name leads to something in them, and every `${env:}` and
//! `${file:}` can be read here. `plan` and `apply` let the server see the files together with what is stored.

use super::{Outcome, files::Files};
use crate::output::Output;
use serde_json::json;
use std::path::PathBuf;

/// Check configuration files without a server
#[derive(clap::Args)]
pub struct CheckArgs {
    /// Configuration files, together one configuration; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Leave references to variables and files unread
    #[arg(long)]
    no_references: bool,
}

pub(super) fn run(args: CheckArgs, output: Output) -> anyhow::Result<Outcome> {
    let mut files = Files::read(&args.files)?;
    files.check();
    if !args.no_references {
        files.resolve();
    }
    let valid = files.problems.0.is_empty();
    let counts = files.counts();
    output.result(&json!({ "valid": valid, "problems": files.problems.0, "counts": counts }), |_| {
        if !valid {
            return format!("{}{}\n", files.problems_text(), files.verdict().replace("; nothing was changed", ""));
        }
        let kinds: Vec<_> = counts.iter().filter(|(_, n)| **n > 0).map(|(kind, n)| format!("{n} {kind}")).collect();
        match kinds.len() {
            0 => "Valid, and empty.\n".to_owned(),
            _ => format!("Valid: {}.\n", kinds.join(", ")),
        }
    })?;
    Ok(if valid { Outcome::Done } else { Outcome::Refused })
}
