//! Runs the built binary, with nothing of this process's own settings.

use credentialflow_testkit::place::Place;
use serde_json::Value;
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// What a run left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {}\n{}", self.out, self.err))
    }
}

/// A command of the binary with an empty environment.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_credentialflow"));
    command.current_dir(dir).args(args).env_clear().stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn finish(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the binary in a directory.
pub fn run(dir: &Path, args: &[&str]) -> Ran {
    finish(command(dir, args))
}

/// Runs a command with this on its standard input.
pub fn with_input(mut command: Command, input: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A server in a directory of its own. Ends with this value.
pub struct Server {
    pub dir: tempfile::TempDir,
    pub gateway: u16,
    pub control: u16,
    _places: [Place; 2],
    pub token: String,
    child: Option<Child>,
}

impl Server {
    /// Initialises with these arguments and starts.
    pub fn start(init: &[&str]) -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), init, &[])
    }

    /// As [`Server::start`], in this directory and with these further flags of the server.
    pub fn start_with(dir: tempfile::TempDir, init: &[&str], flags: &[&str]) -> Self {
        let mut args = vec!["init", "--data-dir", "data", "--output", "json"];
        args.extend(init);
        let made = run(dir.path(), &args).expect(0).json();
        let token = made["admin_token"].as_str().unwrap().to_owned();
        let places = [Place::take(), Place::take()];
        let [gateway, control] = [places[0].port(), places[1].port()];
        let mut server = Self { dir, gateway, control, _places: places, token, child: None };
        server.spawn(flags);
        server
    }

    /// Starts the process and waits until the control plane answers.
    fn spawn(&mut self, flags: &[&str]) {
        let log = std::fs::File::create(self.log()).unwrap();
        let (gateway, control) = (format!("127.0.0.1:{}", self.gateway), format!("127.0.0.1:{}", self.control));
        let args = ["server", "--data-dir", "data", "--workers", "2", "--gateway", &gateway, "--control", &control];
        let child =
            command(self.dir.path(), &[&args[..], flags].concat()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        self.wait("the control listener", || std::net::TcpStream::connect(&control).is_ok());
    }

    pub fn log(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    /// Waits for something, at most two minutes.
    #[track_caller]
    pub fn wait(&self, what: &str, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            let log = || std::fs::read_to_string(self.log()).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(120), "{what} did not come\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A command that talks to this server.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = command(self.dir.path(), args);
        command
            .env("CREDENTIALFLOW_SERVER", format!("http://127.0.0.1:{}", self.control))
            .env("CREDENTIALFLOW_TOKEN", &self.token);
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        finish(self.command(args))
    }

    /// Waits until the gateway takes connections.
    pub fn wait_for_gateway(&self) {
        self.wait("the gateway", || std::net::TcpStream::connect(("127.0.0.1", self.gateway)).is_ok());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
