//! Runs every fuzz target for a while.
//!
//! The targets are built with the pinned stable compiler: coverage feedback is an LLVM pass, and as
//! our crates forbid unsafe code, what the nightly-only address sanitizer would find is not in them.

use super::{context::Context, suites::Count};
use crate::{guard::Guarded, need, repo, say};
use anyhow::{Context as _, Result};
use std::{
    fs::{self, File},
    process::Stdio,
    thread,
    time::Duration,
};

/// What makes a program report its coverage to libFuzzer.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions -Ccodegen-units=16";
/// Most targets that share a core; hundreds of thousands of runs of each are left in a minute.
const PER_CORE: usize = 3;
/// Most memory a target may use, in MiB.
const MEMORY: u64 = 2048;

/// Builds all targets, then runs some at once.
pub fn run(context: &Context) -> Result<Count> {
    need::all(&[need::COMPILER])?;
    let target_dir = repo::target().join("fuzz");
    let triple = host()?;
    let mut build = context.command(
        "cargo",
        &["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target", &triple],
    );
    build.env("CARGO_TARGET_DIR", &target_dir).env("RUSTFLAGS", FLAGS);
    let built = context.run("fuzz-build", build, 15)?;
    if built.failed > 0 {
        return Ok(built);
    }
    let targets = targets()?;
    let programs = target_dir.join(&triple).join("release");
    let most = thread::available_parallelism().map_or(1, |n| n.get()) * PER_CORE;
    let rounds = targets.len().div_ceil(most);
    let mut count = Count::default();
    for group in targets.chunks(targets.len().div_ceil(rounds)) {
        let results: Vec<Result<bool>> = thread::scope(|scope| {
            let programs = &programs;
            let running: Vec<_> =
                group.iter().map(|t| scope.spawn(move || target(context, &programs.join(t), t))).collect();
            running.into_iter().map(|r| r.join().unwrap_or_else(|_| Ok(false))).collect()
        });
        for found in results {
            if found? { count.passed += 1 } else { count.failed += 1 }
        }
    }
    Ok(count)
}

fn targets() -> Result<Vec<String>> {
    let folder = repo::root().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let name = |e: fs::DirEntry| Some(e.file_name().to_str()?.strip_suffix(".rs")?.to_owned());
    let mut names: Vec<String> = files.flatten().filter_map(name).collect();
    names.sort();
    anyhow::ensure!(!names.is_empty(), "there are no fuzz targets in {}", folder.display());
    Ok(names)
}

fn host() -> Result<String> {
    let output = std::process::Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|l| l.strip_prefix("host: ")).map(str::to_owned).context("rustc names no host")
}

fn target(context: &Context, program: &std::path::Path, name: &str) -> Result<bool> {
    let folder = repo::target().join("fuzz-runs").join(name);
    let (corpus, findings) = (folder.join("corpus"), folder.join("findings"));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&findings)?;
    let log = folder.join("log");
    let output = File::create(&log)?;
    let mut command = context.command(&program.to_string_lossy(), &[]);
    // What is written by hand comes after the folder that is written to.
    let seeds = repo::root().join("fuzz/seeds").join(name);
    command
        .arg(&corpus)
        .args(seeds.is_dir().then_some(seeds))
        .arg(format!("-max_total_time={}", context.fuzz_seconds))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg("-timeout=10")
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    let ended = Guarded::start(&mut command)?.wait(Duration::from_secs(context.fuzz_seconds + 120))?;
    let fine = ended.is_some_and(|s| s.success());
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let runs = text.lines().find_map(|l| l.strip_prefix("stat::number_of_executed_units:")).map_or("?", str::trim);
    say::note(&format!("    {name}: {runs} runs, {}", if fine { "no finding" } else { "A FINDING" }));
    if !fine {
        say::note(&crate::product::tail(&log, 30));
        say::note(&format!("    what it was fed is in {}", findings.display()));
    }
    Ok(fine)
}
