//! `cargo xtask test`: everything that must stay green, suite by suite, with one summary.

mod checks;
mod context;
mod e2e;
mod fuzz;
mod programs;
mod suites;
mod tally;

use crate::say;
use anyhow::{Result, bail};
use context::Context;
use std::time::Instant;
use suites::{Count, SUITES, Suite, When};

/// Flags.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out what takes long: console, binary, fuzzing, end-to-end suites.
    #[arg(long, conflicts_with = "slow")]
    fast: bool,
    /// Run the long drills of the end-to-end suites too.
    #[arg(long)]
    slow: bool,
    /// Run only these suites (see --list).
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Seconds each fuzz target runs.
    #[arg(long, default_value_t = 60)]
    fuzz_seconds: u64,
    /// Name the suites and what they show, and run none.
    #[arg(long)]
    list: bool,
}

/// Runs the suites. `false`: something failed.
pub fn run(args: &Args) -> Result<bool> {
    if args.list {
        for suite in SUITES {
            say::result(&format!(
                "{:<9} {}{}",
                suite.name,
                suite.shows,
                if suite.when == When::Full { " (not with --fast)" } else { "" }
            ));
        }
        return Ok(true);
    }
    if let Some(unknown) = args.only.iter().find(|o| SUITES.iter().all(|s| s.name != o.as_str())) {
        bail!("there is no suite {unknown}; see: cargo xtask test --list");
    }
    let wanted = |s: &&Suite| match args.only.is_empty() {
        true => s.when == When::Fast || !args.fast,
        false => args.only.iter().any(|o| o == s.name),
    };
    let suites: Vec<&Suite> = SUITES.iter().filter(wanted).collect();
    let context = Context::new(args.slow, args.fuzz_seconds)?;
    let started = Instant::now();
    let mut lines = Vec::new();
    let mut sum = Count::default();
    for (i, suite) in suites.iter().enumerate() {
        say::note(&format!("[{}/{}] {}: {}", i + 1, suites.len(), suite.name, suite.shows));
        let began = Instant::now();
        let count = (suite.run)(&context).unwrap_or_else(|error| {
            say::note(&format!("    {error:#}"));
            Count { passed: 0, failed: 1 }
        });
        let verdict = if count.failed == 0 { "ok" } else { "FAILED" };
        let line = format!(
            "{:<9} {:>6}  {verdict:<6}  {} passed, {} failed",
            suite.name,
            say::seconds(began.elapsed()),
            count.passed,
            count.failed
        );
        say::note(&format!("[{}/{}] {line}", i + 1, suites.len()));
        lines.push(line);
        sum = sum + count;
    }
    say::result("");
    lines.iter().for_each(|line| say::result(line));
    say::result(&format!("{} suites in {}", suites.len(), say::seconds(started.elapsed())));
    say::result(&format!("{} passed, {} failed", sum.passed, sum.failed));
    Ok(sum.failed == 0)
}
