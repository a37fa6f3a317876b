//! `credentialflow reference`: the text of `docs/reference/cli.md` and `docs/reference/settings.md`.

use super::Outcome;
use crate::{output::Output, reference};
use clap::ValueEnum;

/// Print a reference as Markdown
#[derive(clap::Args)]
pub struct ReferenceArgs {
    /// Which one
    #[arg(value_enum)]
    which: Which,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Cli,
    Settings,
}

pub(super) fn run(args: &ReferenceArgs, output: Output) -> anyhow::Result<Outcome> {
    output.raw(&match args.which {
        Which::Cli => reference::command_line(),
        Which::Settings => reference::settings(),
    })?;
    Ok(Outcome::Done)
}
