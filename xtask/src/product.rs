//! The product as its users have it: the built binary with its commands, and its admin API.
//!
//! The only file here that knows how the binary is called.

use crate::{guard::Guarded, http, repo, say};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a server may take until it is ready.
const READY: Duration = Duration::from_secs(60);

/// Builds the binary with this profile; cargo's progress goes to stderr.
pub fn build(profile: &str) -> Result<()> {
    let status = Command::new("cargo")
        .args(["build", "--locked", "--profile", profile, "--package", "credentialflow"])
        .current_dir(repo::root())
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("the build failed ({status})");
    }
    Ok(())
}

/// One installation: a data directory and where its listeners are.
pub struct Installation {
    binary: PathBuf,
    /// Everything it keeps, the key file that unseals it included.
    pub data_dir: PathBuf,
    /// Where callers connect.
    pub gateway: SocketAddr,
    /// Where the console and the admin API are.
    pub control: SocketAddr,
    /// The administrator's token, known since `init`.
    pub admin_token: String,
    workers: Option<usize>,
}

impl Installation {
    /// Initialises a data directory; unsealed by a key file inside it, so that nothing is asked.
    pub fn init(profile: &str, data_dir: &Path, gateway: SocketAddr, control: SocketAddr) -> Result<Self> {
        let mut new = Self {
            binary: repo::binary(profile),
            data_dir: data_dir.to_path_buf(),
            gateway,
            control,
            admin_token: String::new(),
            workers: None,
        };
        let answer = new.json(&["init", "--key-file", &new.key_file().to_string_lossy()])?;
        new.admin_token = text(&answer, "admin_token")?;
        Ok(new)
    }

    /// The number of gateway workers from the next start on.
    pub fn workers(mut self, number: usize) -> Self {
        self.workers = Some(number);
        self
    }

    /// The file that unseals the vault.
    pub fn key_file(&self) -> PathBuf {
        self.data_dir.join("unseal.key")
    }

    /// Where the server's output goes.
    pub fn log(&self) -> PathBuf {
        self.data_dir.join("server.log")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        // Settings of the shell that happen to be there are not meant for this installation.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|n| n.starts_with("CREDENTIALFLOW_")) {
                command.env_remove(name);
            }
        }
        command
            .env("CREDENTIALFLOW_DATA_DIR", &self.data_dir)
            .env("CREDENTIALFLOW_KEY_FILE", self.key_file())
            .env("CREDENTIALFLOW_SERVER", format!("http://{}", self.control))
            .env("CREDENTIALFLOW_TOKEN", &self.admin_token)
            .current_dir(repo::root())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the binary and reads its JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let name = args.iter().take_while(|a| !a.starts_with('-')).copied().collect::<Vec<_>>().join(" ");
        let output = self
            .command()
            .args(args)
            .args(["--output", "json"])
            .output()
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        if !output.status.success() {
            let told = [&output.stderr[..], &output.stdout[..]].concat();
            bail!("`credentialflow {name}` failed ({}): {}", output.status, String::from_utf8_lossy(&told).trim());
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("`credentialflow {name}` did not print JSON"))
    }

    /// Starts the server in the background and waits until it is ready.
    pub fn start(&self) -> Result<Guarded> {
        let log = File::create(self.log()).with_context(|| format!("cannot write {}", self.log().display()))?;
        let mut command = self.command();
        command
            .arg("server")
            .env("CREDENTIALFLOW_GATEWAY", self.gateway.to_string())
            .env("CREDENTIALFLOW_CONTROL", self.control.to_string())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(workers) = self.workers {
            command.env("CREDENTIALFLOW_WORKERS", workers.to_string());
        }
        let mut server = Guarded::start(&mut command)?;
        let end = Instant::now() + READY;
        while Instant::now() < end {
            if let Some(status) = server.ended()? {
                bail!("the server ended at once ({status}):\n{}", tail(&self.log(), 20));
            }
            if http::send(self.control, "/readyz", None, None).is_ok_and(|a| a.status == 200) {
                return Ok(server);
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("the server was not ready after {}:\n{}", say::seconds(READY), tail(&self.log(), 20))
    }

    /// Applies a configuration file.
    pub fn apply(&self, file: &Path) -> Result<()> {
        self.json(&["apply", &file.to_string_lossy()]).map(drop)
    }

    /// Creates a key of an application and returns it; it is not shown again.
    pub fn create_key(&self, name: &str, application: &str) -> Result<String> {
        let answer = self.json(&["key", "create", name, "--application", application])?;
        text(&answer, "secret")
    }

    /// Asks the admin API.
    pub fn api(&self, path: &str) -> Result<Value> {
        let answer = http::send(self.control, path, Some(&self.admin_token), None)?.success(path)?;
        serde_json::from_slice(&answer.body).with_context(|| format!("{path} did not answer with JSON"))
    }

    /// The binary's path as people would type it.
    pub fn binary_shown(&self) -> String {
        let path = self.binary.strip_prefix(repo::root()).unwrap_or(&self.binary);
        path.display().to_string()
    }
}

fn text(answer: &Value, field: &str) -> Result<String> {
    // The answer may hold a secret, so it is not repeated here.
    answer[field].as_str().map(str::to_owned).with_context(|| format!("the answer has no field `{field}`"))
}

/// This loopback port if it is free, otherwise any free one.
pub fn port(wanted: u16) -> Result<SocketAddr> {
    let bound =
        TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    Ok(bound.context("no free port on 127.0.0.1")?.local_addr()?)
}

/// The last lines of a file.
pub fn tail(file: &Path, lines: usize) -> String {
    let text = String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
