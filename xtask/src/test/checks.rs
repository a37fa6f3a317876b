//! The suites that are one or a few commands each.

use super::{context::Context, suites::Count};
use crate::{need, openapi as documents, repo, say};
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::fs;

/// The profile end-to-end suites run; the quickstart's own.
pub const PROFILE: &str = "quick";

/// rustfmt, in both workspaces.
pub fn format(context: &Context) -> Result<Count> {
    let fmt = |manifest: &str| context.command("cargo", &["fmt", "--all", "--check", "--manifest-path", manifest]);
    context.run_all(vec![("format", fmt("Cargo.toml"), 5), ("format-fuzz", fmt("fuzz/Cargo.toml"), 5)])
}

/// Crates that must not be in the tree, with the reason.
const FORBIDDEN: &[(&str, &str)] = &[
    ("ring", "one crypto provider, aws-lc-rs"),
    ("openssl-sys", "one TLS stack, rustls"),
    ("native-tls", "one TLS stack, rustls"),
    ("async-std", "one runtime, tokio"),
    ("serde_yaml", "unmaintained, and knows no positions"),
];

/// The rooms of the control wing.
const CONTROL: &[&str] = &[
    "credentialflow-store",
    "credentialflow-vault",
    "credentialflow-acme",
    "credentialflow-admin",
    "credentialflow-identity",
    "credentialflow-kms",
    "credentialflow-secrets",
    "credentialflow-stores",
    "credentialflow-targets",
    "credentialflow-vaultapi",
];
/// Its room of pure functions.
const CERTIFICATES: &[&str] = &["credentialflow-certificates"];
/// The rooms of the data wing.
const DATA: &[&str] = &["credentialflow-gateway", "credentialflow-policy", "credentialflow-llm", "credentialflow-mcp"];
/// What only words may not need.
const MACHINERY: &[&str] = &["credentialflow-store", "credentialflow-policy", "tokio", "hyper", "sqlx"];

/// Which of our rooms may not import which: the data wing knows nothing of the control wing, nothing
/// knows the roof, and the words know nobody.
const WALLS: &[(&str, &[&[&str]])] = &[
    ("credentialflow-gateway", &[CONTROL, CERTIFICATES]),
    ("credentialflow-policy", &[CONTROL, CERTIFICATES, &["credentialflow-gateway"]]),
    ("credentialflow-llm", &[CONTROL, CERTIFICATES, &["credentialflow-gateway"]]),
    ("credentialflow-mcp", &[CONTROL, CERTIFICATES, &["credentialflow-gateway", "credentialflow-policy"]]),
    ("credentialflow-telemetry", &[CONTROL, CERTIFICATES, &["credentialflow-gateway"]]),
    ("credentialflow-store", &[DATA, &["credentialflow-admin", "credentialflow-vault"]]),
    (
        "credentialflow-certificates",
        &[DATA, MACHINERY, &["credentialflow-vault", "credentialflow-admin", "credentialflow"]],
    ),
    (
        "credentialflow-acme",
        &[DATA, &["credentialflow-store", "credentialflow-vault", "credentialflow-admin", "credentialflow"]],
    ),
    ("credentialflow-vault", &[DATA, &["credentialflow-admin"]]),
    ("credentialflow-admin", &[&["credentialflow-gateway", "credentialflow"]]),
    ("credentialflow-identity", &[DATA, &["credentialflow-secrets", "credentialflow-admin", "credentialflow"]]),
    ("credentialflow-secrets", &[DATA, &["credentialflow-identity", "credentialflow-admin", "credentialflow"]]),
    ("credentialflow-kms", &[DATA, &["credentialflow-admin", "credentialflow-telemetry", "credentialflow"]]),
    ("credentialflow-targets", &[DATA, &["credentialflow-admin", "credentialflow"]]),
    ("credentialflow-stores", &[DATA, &["credentialflow-admin", "credentialflow-identity", "credentialflow"]]),
    ("credentialflow-vaultapi", &[DATA, &["credentialflow-admin", "credentialflow"]]),
    ("credentialflow-egress", &[DATA, CONTROL, CERTIFICATES, &["credentialflow"]]),
    ("credentialflow-sigv4", &[DATA, CONTROL, CERTIFICATES, MACHINERY, &["credentialflow"]]),
    ("credentialflow-notify", &[DATA, CONTROL, CERTIFICATES, &["credentialflow"]]),
    ("credentialflow-governance", &[CONTROL, DATA, MACHINERY, &["credentialflow-telemetry", "credentialflow"]]),
    ("credentialflow-model", &[MACHINERY]),
];

/// Reads the resolved dependency graph of Cargo.lock.
pub fn crates(context: &Context) -> Result<Count> {
    let output = context.command("cargo", &["metadata", "--format-version", "1", "--locked"]).output()?;
    if !output.status.success() {
        say::note(&String::from_utf8_lossy(&output.stderr));
        return Ok(Count { passed: 0, failed: 1 });
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let mut count = Count::default();
    let mut check = |broken: bool, told: String| {
        if broken {
            count.failed += 1;
            say::note(&told);
        } else {
            count.passed += 1;
        }
    };
    // What another system would need (cargo tree shows only this one) is not shipped.
    let tree = context
        .command(
            "cargo",
            &["tree", "--workspace", "--locked", "--prefix", "none", "--format", "{lib}|{p}", "-e", "normal,build"],
        )
        .output()?;
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    anyhow::ensure!(tree.contains("credentialflow-gateway v"), "cargo tree shows no tree");
    for (name, why) in FORBIDDEN {
        let found = tree.lines().any(|l| l.split_once('|').is_some_and(|(_, p)| p.split(' ').next() == Some(*name)));
        check(found, format!("{name} is in the tree; {why}. See: cargo tree --invert {name}"));
    }
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    for (from, forbidden) in WALLS {
        let package =
            packages.iter().find(|p| p["name"] == *from).with_context(|| format!("there is no crate {from}"))?;
        let imports: Vec<&str> = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|d| d["kind"].is_null())
            .filter_map(|d| d["name"].as_str())
            .collect();
        for to in forbidden.iter().copied().flatten() {
            check(imports.contains(to), format!("{from} imports {to}; ARCHITECTURE.md says why it must not"));
        }
    }
    Ok(count)
}

/// Types, unit tests and build of the console.
pub fn console(context: &Context) -> Result<Count> {
    need::node()?;
    let web = repo::root().join("web");
    let npm = |args: &[&str]| {
        let mut command = context.command("npm", args);
        command.current_dir(&web).env("CI", "1");
        command
    };
    let installed = context.run("console-install", npm(&["ci", "--no-audit", "--no-fund"]), 10)?;
    if installed.failed > 0 {
        return Ok(installed);
    }
    let mut commands = vec![("console-types", npm(&["run", "lint"]), 5)];
    if has_unit_tests(&web.join("src")) {
        commands.push(("console-tests", npm(&["test"]), 5));
    }
    commands.push(("console-build", npm(&["run", "build"]), 5));
    context.run_all(commands)
}

fn has_unit_tests(folder: &std::path::Path) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|e| {
        let path = e.path();
        if path.is_dir() { has_unit_tests(&path) } else { path.to_string_lossy().ends_with(".test.ts") }
    })
}

/// clippy, warnings included.
pub fn lint(context: &Context) -> Result<Count> {
    need::all(&[need::COMPILER])?;
    let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    context.run("lint", context.command("cargo", &args), 20)
}

/// Documentation tests; the compile-fail ones prove the walls of the pipeline.
pub fn doctests(context: &Context) -> Result<Count> {
    context.run(
        "doctests",
        context.command("cargo", &["test", "--workspace", "--doc", "--locked", "--no-fail-fast"]),
        15,
    )
}

/// Builds the binary, and beside it what end-to-end suites use of the testkit: together, because apart cargo would build
/// many crates again with fewer features. What is shipped gets no feature by it.
pub fn binary(context: &Context) -> Result<Count> {
    need::all(&[need::COMPILER])?;
    let packages = ["--package", "credentialflow", "--package", "credentialflow-testkit"];
    let args = [&["build", "--locked", "--profile", PROFILE], &packages[..]].concat();
    context.run("binary", context.command("cargo", &args), 20)
}

/// Compares what is committed with what the code says.
pub fn openapi(_: &Context) -> Result<Count> {
    let results = [documents::document(PROFILE, false)?, documents::client(false)?];
    let passed = results.iter().filter(|ok| **ok).count() as u64;
    Ok(Count { passed, failed: results.len() as u64 - passed })
}
