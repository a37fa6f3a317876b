//! Every test of the workspace: built together, then three test programs at a time, because much of theirs is waiting.
//!
//! One process for each program (and not one for each test, as cargo-nextest has it), so that a program's PostgreSQL is
//! started once.

use super::{context::Context, suites::Count};
use crate::need;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::{
    path::PathBuf,
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
};

/// Programs that run at the same time.
const AT_ONCE: usize = 3;
/// Minutes one may take.
const LIMIT: u64 = 15;

/// One test program, as cargo built it.
struct Program {
    name: String,
    executable: PathBuf,
    manifest: PathBuf,
}

/// Builds and runs all.
pub fn run(context: &Context) -> Result<Count> {
    need::all(&[&[need::COMPILER, need::POSTGRES], need::TARGETS].concat())?;
    let build = ["test", "--workspace", "--lib", "--bins", "--tests", "--locked", "--no-run"];
    let built = context.run("tests-build", context.command("cargo", &build), 30)?;
    if built.failed > 0 {
        return Ok(built);
    }
    let listed = context.command("cargo", &build).args(["--message-format", "json"]).output()?;
    let all = programs(&String::from_utf8_lossy(&listed.stdout))?;
    anyhow::ensure!(!all.is_empty(), "cargo names no test program");
    let waiting = Mutex::new(all.into_iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let lane = || std::iter::from_fn(next).try_fold(Count::default(), |sum, p| Ok(sum + program(context, &p)?));
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(lane)).collect();
        lanes
            .into_iter()
            .map(|lane| lane.join().unwrap_or_else(|_| bail!("a lane of test programs panicked")))
            .try_fold(Count::default(), |sum, count| Ok(sum + count?))
    })
}

/// Runs one where cargo would, with what cargo tells of the package.
fn program(context: &Context, program: &Program) -> Result<Count> {
    let folder = program.manifest.parent().context("a manifest lies in a folder")?;
    let mut command: Command = context.command(&program.executable.to_string_lossy(), &[]);
    command.current_dir(folder).env("CARGO_MANIFEST_DIR", folder).env("CARGO_MANIFEST_PATH", &program.manifest);
    context.run(&format!("tests-{}", program.name), command, LIMIT)
}

/// The test programs in cargo's messages.
fn programs(messages: &str) -> Result<Vec<Program>> {
    let mut all = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("cargo's messages are JSON")?;
        let Some(executable) = message["executable"].as_str().filter(|_| message["profile"]["test"] == true) else {
            continue;
        };
        let manifest = PathBuf::from(message["manifest_path"].as_str().context("an artifact has a manifest")?);
        let target = message["target"]["name"].as_str().context("an artifact has a target")?;
        let package = manifest.parent().and_then(|p| p.file_name()).unwrap_or_default().to_string_lossy();
        all.push(Program {
            name: format!("{package}-{target}"),
            executable: executable.into(),
            manifest: manifest.clone(),
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_that_test_are_taken() {
        let messages = [
            r#"{"reason":"compiler-artifact","manifest_path":"/r/crates/a/Cargo.toml","target":{"name":"b"},"profile":{"test":true},"executable":"/t/b-1"}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/r/crates/a/Cargo.toml","target":{"name":"a"},"profile":{"test":false},"executable":"/t/a"}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/r/crates/a/Cargo.toml","target":{"name":"a"},"profile":{"test":true},"executable":null}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        let found = programs(&messages.join("\n")).unwrap();
        assert_eq!(
            found.iter().map(|p| (p.name.as_str(), p.executable.to_str().unwrap())).collect::<Vec<_>>(),
            [("a-b", "/t/b-1")]
        );
        assert!(programs("no JSON").is_err());
    }
}
