//! Runs the suites of `e2e/` against the built binary: every `e2e/*/run`, three at a time, and then, one after
//! the other, those that judge figures and those that take minutes.
//!
//! A suite is an executable that gets these variables, prints what it does, ends with a line
//! `N passed, M failed` and exits 0 when nothing failed:
//!
//! | Variable | Holds |
//! | --- | --- |
//! | `CREDENTIALFLOW_BIN` | the built binary |
//! | `CREDENTIALFLOW_TESTKIT` | the folder of the testkit's programs |
//! | `CREDENTIALFLOW_ROOT` | the repository |
//! | `E2E_TMP` | a fresh folder, removed when the suite passed |
//! | `E2E_CACHE` | a folder that is kept between runs, for what was downloaded |
//! | `E2E_SLOW` | `1` with `--slow` |
//!
//! With `--slow` the executables `e2e/NN-name/run-slow` run as well: drills that take minutes.

use super::{
    checks::{self, PROFILE},
    context::Context,
    suites::Count,
};
use crate::{need, repo, say};
use anyhow::{Result, bail};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

/// Minutes one suite may take: it only ends what would wait for ever.
const LIMIT: u64 = 30;
/// Suites that run at the same time: much of theirs is waiting.
const AT_ONCE: usize = 3;
/// Suites that take longest. They begin first, so that none is left alone at the end.
const LONGEST: &[&str] = &["40-console", "20-canary", "88-acme", "87-certificates", "drill-kinds", "66-leases"];
/// Suites that judge rates and durations. Each has the machine to itself.
const MEASURING: &[&str] = &["drill-changes", "drill-database", "drill-rotation"];
/// Minutes one drill may take.
const SLOW_LIMIT: u64 = 60;

/// Runs all.
pub fn run(context: &Context) -> Result<Count> {
    let mut suites = executables("run");
    if context.slow {
        suites.extend(executables("run-slow"));
    }
    if suites.is_empty() {
        say::note("    e2e/ holds no suite");
        return Ok(Count::default());
    }
    need::node()?;
    need::all(&[need::POSTGRES, need::CHROMIUM, need::PYTHON_VENV, need::OPENSSL])?;
    crate::web::install()?;
    // Nothing to do where the suite before has built them.
    let built = checks::binary(context)?;
    if built.failed > 0 {
        return Ok(built);
    }
    let cache = repo::target().join("e2e-cache");
    fs::create_dir_all(&cache)?;
    let (measuring, mut others): (Vec<_>, Vec<_>) =
        suites.into_iter().partition(|s| is_one_of(s, MEASURING) || s.ends_with("run-slow"));
    let place = |s: &PathBuf| LONGEST.iter().position(|long| is_one_of(s, &[long]));
    others.sort_by_key(|s| place(s).unwrap_or(LONGEST.len()));
    let waiting = Mutex::new(others.into_iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let lane = || -> Result<Count> {
        std::iter::from_fn(next).try_fold(Count::default(), |sum, s| Ok(sum + suite(context, &s, &cache)?))
    };
    let mut sum = thread::scope(|scope| {
        let lanes: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(lane)).collect();
        lanes
            .into_iter()
            .map(|l| l.join().unwrap_or_else(|_| bail!("a suite's thread panicked")))
            .try_fold(Count::default(), |sum, count| Ok::<_, anyhow::Error>(sum + count?))
    })?;
    for alone in measuring {
        sum = sum + suite(context, &alone, &cache)?;
    }
    Ok(sum)
}

fn is_one_of(suite: &Path, names: &[&str]) -> bool {
    let folder = suite.parent().and_then(Path::file_name);
    folder.is_some_and(|folder| names.iter().any(|name| folder == *name))
}

fn suite(context: &Context, suite: &Path, cache: &Path) -> Result<Count> {
    let started = Instant::now();
    let name = format!("{}", suite.strip_prefix(repo::root()).unwrap_or(suite).display());
    let folder = repo::fresh_dir("e2e")?;
    let mut command = context.command(&suite.to_string_lossy(), &[]);
    let binary = repo::binary(PROFILE);
    command
        .env("CREDENTIALFLOW_TESTKIT", binary.parent().unwrap_or(&binary))
        .env("CREDENTIALFLOW_BIN", &binary)
        .env("CREDENTIALFLOW_ROOT", repo::root())
        .env("E2E_TMP", &folder)
        .env("E2E_CACHE", cache);
    if context.slow {
        command.env("E2E_SLOW", "1");
    }
    let limit = if name.ends_with("-slow") { SLOW_LIMIT } else { LIMIT };
    let count = context.run(&name.replace('/', "-"), command, limit)?;
    if count.failed == 0 {
        fs::remove_dir_all(&folder)?;
    }
    let verdict = if count.failed == 0 { "ok" } else { "FAILED" };
    say::note(&format!("    {name:<32} {:>5}  {verdict}", say::seconds(started.elapsed())));
    Ok(count)
}

fn executables(name: &str) -> Vec<PathBuf> {
    let folders = fs::read_dir(repo::root().join("e2e")).into_iter().flatten().flatten();
    let runs = |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let mut found: Vec<PathBuf> = folders.map(|f| f.path().join(name)).filter(runs).collect();
    found.sort();
    found
}
