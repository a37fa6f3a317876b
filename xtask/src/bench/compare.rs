//! The sets that are measured beside nginx and HAProxy, by the harness in `shared/bench`.

use super::{Args, installation};
use crate::{guard::Guarded, need, product, repo, say};
use anyhow::{Context as _, Result, bail};
use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

/// The harness's upstreams: a fixed document, and an OpenAI-compatible mock.
const CONFIGURATION: &str = r#"upstreams:
  - name: plain
    endpoints: ["http://127.0.0.1:19000"]
    inject: { bearer: upstream-token }
  - name: mock
    endpoints: ["http://127.0.0.1:19100/v1"]
    provider: openai
    inject: { bearer: upstream-token }
routes:
  - name: bench
    match: { path: /bench/* }
    upstream: plain
    authenticate: [api_key]
    limit: { requests: 1000000, per: 1s }
models:
  - name: mock-model
    targets:
      - provider: mock
        model: mock-model
        prices: [{ from: 2026-01-01T00:00:00Z, input: "0.25", output: "2.00" }]
"#;

/// Runs these sets one after the other, against one server.
pub fn run(sets: &[&str], args: &Args) -> Result<()> {
    let harness = harness("bench.py")?;
    need::all(need::BENCH)?;
    product::build(&args.profile)?;
    let configuration = installation::head("bench", "mock-model") + CONFIGURATION;
    let measured = installation::start(&args.profile, &configuration)?;
    for set in sets {
        say::result(&format!("\n## {set}\n"));
        let mut command = Command::new("python3");
        command
            .arg(&harness)
            .arg(set)
            .args(["--product-pid", &measured.server.id().to_string()])
            .args(["--product-port", &measured.installation.gateway.port().to_string()])
            .args(["--header", &format!("authorization: Bearer {}", measured.key)])
            .args(["--rounds", &args.rounds.to_string(), "--secs", &args.secs.to_string()])
            // Not into our own target directory: the harness builds its load generator by itself.
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::null());
        let targets = 6;
        let limit = Duration::from_secs(u64::from(args.rounds * (args.secs + 5) * targets) + 900);
        match Guarded::start(&mut command)?.wait(limit)? {
            Some(status) if status.success() => {}
            Some(status) => bail!("the harness failed for {set} ({status})"),
            None => bail!("the harness did not finish {set} within {}", say::seconds(limit)),
        }
    }
    Ok(())
}

/// A script of the comparison harness.
pub fn harness(script: &str) -> Result<PathBuf> {
    let folder = match env::var_os("CREDENTIALFLOW_BENCH") {
        Some(folder) => PathBuf::from(folder),
        None => repo::root().join("../shared/bench"),
    };
    folder.join(script).canonicalize().with_context(|| {
        format!(
            "the comparison harness {script} is not in {}; name its folder in CREDENTIALFLOW_BENCH. \
             `cargo xtask bench routes`, `keys` and `revoke` need no harness",
            folder.display()
        )
    })
}
