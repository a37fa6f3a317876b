//! A server under guard: a program with a directory of its own that ends with the test.
//!
//! A small shell is its guardian: it holds the read end of a pipe whose write end only this process
//! has. However this process ends, also by `kill -9`, the pipe closes, the guardian ends the server
//! with all processes of its group and removes the directory.

use anyhow::{Context, Result, bail, ensure};
use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Words on the pipe: `start`, `stop` (asked to end), `kill` (ended at once). The end of the pipe
/// means: end and clean up. A second program, if any, runs along and ends last.
const GUARDIAN: &str = r#"
dir=$1; beside=$2; shift 2
trap '' INT TERM HUP
pid=; other=
if [ -n "$beside" ]; then setsid $beside >>"$dir/beside.log" 2>&1 </dev/null & other=$!; fi
end() { if [ -n "$pid" ]; then kill -"$1" -"$pid" 2>/dev/null; wait "$pid" 2>/dev/null; kill -KILL -"$pid" 2>/dev/null; pid=; fi; }
while read -r word; do
  case $word in
    start) setsid "$@" >>"$dir/log" 2>&1 </dev/null & pid=$! ;;
    stop) end TERM ;;
    kill) end KILL ;;
  esac
  echo done
done
end KILL
if [ -n "$other" ]; then kill -KILL -"$other" 2>/dev/null; wait "$other" 2>/dev/null; fi
rm -rf "$dir"
"#;

/// What to run.
pub(crate) struct Plan<'a> {
    /// Said when it is missing, with the Debian package that brings it.
    pub(crate) program: &'a str,
    pub(crate) package: &'a str,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(&'static str, OsString)>,
    /// A program that runs along, in words without quoting.
    pub(crate) beside: String,
}

/// A running server. Dropped: ended, and its directory removed.
pub(crate) struct Guarded {
    guardian: Mutex<Guardian>,
    dir: PathBuf,
}

struct Guardian {
    process: Child,
    words: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Guarded {
    /// A fresh directory for a server to be.
    pub(crate) fn dir(name: &str) -> Result<tempfile::TempDir> {
        Ok(tempfile::Builder::new().prefix(&format!("credentialflow-{name}-")).tempdir()?)
    }

    /// Puts a directory under guard; nothing runs yet.
    pub(crate) fn over(dir: tempfile::TempDir, plan: &Plan<'_>) -> Result<Self> {
        installed(plan.program, plan.package)?;
        let mut process = Command::new("/bin/sh")
            .args(["-c", GUARDIAN, "guardian"])
            .arg(dir.path())
            .arg(&plan.beside)
            .arg(plan.program)
            .args(&plan.args)
            .envs(plan.env.iter().map(|(k, v)| (k, v)))
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting /bin/sh")?;
        let words = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("no pipe from the guardian")?);
        // From here on the guardian removes it.
        let dir = dir.keep();
        Ok(Self { guardian: Mutex::new(Guardian { process, words, answers }), dir })
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// What it has written.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Tells the guardian `start`, `stop` or `kill`.
    pub(crate) fn say(&self, word: &str) -> Result<()> {
        let mut guardian = self.guardian.lock().unwrap_or_else(PoisonError::into_inner);
        let words = guardian.words.as_mut().context("the guardian is gone")?;
        writeln!(words, "{word}").context("the guardian ended")?;
        let mut answer = String::new();
        guardian.answers.read_line(&mut answer)?;
        ensure!(answer.trim() == "done", "the guardian ended");
        Ok(())
    }

    /// Starts it and waits until `ready`.
    pub(crate) fn start(&self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        self.say("start")?;
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if ready() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("no start within {limit:?}; it says:\n{}", self.log())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let guardian = self.guardian.get_mut().unwrap_or_else(PoisonError::into_inner);
        guardian.words = None;
        let _ = guardian.process.wait();
    }
}

/// Runs a client to its end and answers what it printed; its error output when it failed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("running {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn installed(program: &str, package: &str) -> Result<()> {
    let found = if program.contains('/') {
        Path::new(program).exists()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(program).exists())
    };
    ensure!(found, "{program} is not installed; install it with: apt-get install --no-install-recommends {package}");
    Ok(())
}
