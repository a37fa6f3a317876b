//! What suites run their commands with: a log file each, a limit, and the counts read from the output.

use super::{suites::Count, tally};
use crate::{guard::Guarded, product, repo, say};
use anyhow::{Context as _, Result};
use std::{
    env,
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How a run was asked for.
pub struct Context {
    /// The long drills too.
    pub slow: bool,
    /// Seconds each fuzz target runs.
    pub fuzz_seconds: u64,
    logs: PathBuf,
}

impl Context {
    /// Logs go to `xtask-logs` in the target directory.
    pub fn new(slow: bool, fuzz_seconds: u64) -> Result<Self> {
        let logs = repo::target().join("xtask-logs");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        Ok(Self { slow, fuzz_seconds, logs })
    }

    /// A command in the repository's root, as every suite runs it.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(repo::root()).env("CARGO_TERM_COLOR", "never").env("INSTA_UPDATE", "no");
        // Set by `cargo run` for us, not for what we start.
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_")) {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs a command to its end. Output goes to `LOG.log`; its last lines are shown when it fails.
    pub fn run(&self, log: &str, mut command: Command, minutes: u64) -> Result<Count> {
        let started = Started { path: self.logs.join(format!("{log}.log")), at: Instant::now() };
        let file = File::create(&started.path)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let running = Guarded::start(&mut command)?;
        let ended = running.wait(Duration::from_secs(minutes * 60))?;
        let text = String::from_utf8_lossy(&fs::read(&started.path)?).into_owned();
        let mut count = tally::read(&text);
        let why = match ended {
            Some(status) if status.success() => None,
            Some(status) => Some(status.to_string()),
            None => Some(format!("not finished after {minutes} minutes")),
        };
        match why {
            None if count == Count::default() => count.passed = 1,
            None => {}
            Some(why) => {
                count.failed = count.failed.max(1);
                say::note(&format!(
                    "--- {log}: {why} after {}; the end of {}:",
                    say::seconds(started.at.elapsed()),
                    started.path.display()
                ));
                say::note(&tally::telling(&text).unwrap_or_else(|| product::tail(&started.path, 60)));
                say::note("---");
            }
        }
        Ok(count)
    }

    /// Several commands, one after the other, also after one failed.
    pub fn run_all(&self, commands: Vec<(&str, Command, u64)>) -> Result<Count> {
        commands
            .into_iter()
            .try_fold(Count::default(), |sum, (log, command, minutes)| Ok(sum + self.run(log, command, minutes)?))
    }
}

struct Started {
    path: PathBuf,
    at: Instant,
}

impl std::ops::Add for Count {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}
