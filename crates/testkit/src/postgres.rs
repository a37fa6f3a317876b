//! A throwaway PostgreSQL 15 server on a free loopback port, for one test binary.
//!
//! A small shell is the server's guardian: it holds the read end of a pipe whose write end only
//! this process has. However this process ends, also by `kill -9`, the pipe closes, the guardian
//! stops the server and removes its directory. As root, the server runs as the user `postgres`,
//! because PostgreSQL refuses to run as root.

use crate::place::Place;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const BINARIES: &str = "/usr/lib/postgresql/15/bin";
const START_LIMIT: Duration = Duration::from_secs(180);

/// Words on the pipe: `start`, `stop` (fast shutdown), `kill` (as a power cut for the processes).
/// The end of the pipe means: stop and clean up.
const GUARDIAN: &str = r#"
dir=$1; shift
trap '' INT TERM HUP
pid=
end() { if [ -n "$pid" ]; then kill -"$1" "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; pid=; fi; }
while read -r word; do
  case $word in
    start) "$@" >>"$dir/log" 2>&1 </dev/null & pid=$! ;;
    stop) end INT ;;
    kill) end QUIT ;;
  esac
  echo done
done
end QUIT
rm -rf "$dir"
"#;

/// A running server. Dropped: stopped, and its directory removed.
pub struct Cluster {
    guardian: Mutex<Guardian>,
    place: Place,
    data: PathBuf,
    log: PathBuf,
    databases: AtomicU32,
}

struct Guardian {
    process: Child,
    words: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Guardian {
    fn say(&mut self, word: &str) -> Result<()> {
        let words = self.words.as_mut().context("the guardian is gone")?;
        writeln!(words, "{word}").context("the guardian of PostgreSQL ended")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer.trim() == "done", "the guardian of PostgreSQL ended");
        Ok(())
    }
}

impl Cluster {
    /// Makes and starts a server with its data on disk but without waiting for the disk (`fsync`
    /// off): it survives the death of its processes, not of the machine.
    pub fn start() -> Result<Self> {
        let server = Path::new(BINARIES).join("postgres");
        if !server.exists() {
            bail!(
                "PostgreSQL 15 is not installed (no {}); install it with: apt-get install --no-install-recommends postgresql-15",
                server.display()
            );
        }
        let as_root = is_root()?;
        let dir = tempfile::Builder::new().prefix("credentialflow-postgres-").tempdir()?;
        if as_root {
            run(Command::new("chown").arg("postgres:").arg(dir.path()))
                .context("giving the directory to the user postgres, whom the package postgresql-15 makes")?;
        }
        let data = dir.path().join("data");
        run(command(as_root, "initdb").arg("-D").arg(&data).args(
            "--auth=trust --username=postgres --encoding=UTF8 --no-locale --no-sync --no-instructions".split(' '),
        ))
        .context("making a PostgreSQL cluster")?;
        let cluster = Self::launch(dir.path(), &data, as_root, Place::try_take()?)?;
        // From here on the guardian removes it.
        let _ = dir.keep();
        match cluster.resume() {
            Ok(()) => Ok(cluster),
            Err(e) => Err(e.context(cluster.log())),
        }
    }

    fn launch(dir: &Path, data: &Path, as_root: bool, place: Place) -> Result<Self> {
        let server = command(as_root, "postgres");
        let mut guardian = Command::new("/bin/sh");
        guardian.args(["-c", GUARDIAN, "guardian"]).arg(dir).arg(server.get_program()).args(server.get_args());
        guardian.arg("-D").arg(data).args(["-p", &place.port().to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "full_page_writes=off",
            "shared_buffers=32MB",
            "max_connections=80",
            "log_min_messages=warning",
        ] {
            guardian.args(["-c", setting]);
        }
        let mut process = guardian
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting /bin/sh")?;
        let words = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("no pipe from the guardian")?);
        Ok(Self {
            guardian: Mutex::new(Guardian { process, words, answers }),
            place,
            data: data.to_owned(),
            log: dir.join("log"),
            databases: AtomicU32::new(0),
        })
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port())
    }

    /// Makes an empty database with a name of its own and answers its URL.
    pub fn create_database(&self) -> Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"))?;
        Ok(self.url(&name))
    }

    /// Runs statements in a database through `psql` and answers the printed rows.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let port = self.port().to_string();
        run(Command::new(Path::new(BINARIES).join("psql"))
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-d", database])
            .args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-c", sql]))
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.place.port()
    }

    /// Asks everybody but the user `postgres` for a password from now on (SCRAM-SHA-256), and logs
    /// every statement, so that tests can look for secrets in [`Cluster::log`].
    pub fn ask_for_passwords(&self) -> Result<()> {
        let rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(self.data.join("pg_hba.conf"), rules)?;
        self.set("log_statement", "all")
    }

    /// Changes a setting, and waits until new connections have it: with it, all files are read anew.
    fn set(&self, name: &str, value: &str) -> Result<()> {
        self.sql("postgres", &format!("ALTER SYSTEM SET {name} = '{value}'"))?;
        // Only asks the server to read its files.
        self.sql("postgres", "SELECT pg_reload_conf()")?;
        let deadline = Instant::now() + START_LIMIT;
        while self.sql("postgres", &format!("SHOW {name}"))?.trim() != value {
            ensure!(Instant::now() < deadline, "PostgreSQL did not take {name} = {value} within {START_LIMIT:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Speaks TLS from now on, with this certificate and key (PEM).
    pub fn speak_tls(&self, certificate: &str, key: &str) -> Result<()> {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
        let owner = std::fs::metadata(&self.data)?;
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.data.join(name);
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            chown(&path, Some(owner.uid()), Some(owner.gid()))?;
        }
        self.set("ssl", "on")
    }

    /// Runs statements as somebody with a password, through `psql`.
    pub fn sql_as(&self, username: &str, password: &str, database: &str, sql: &str) -> Result<String> {
        let port = self.port().to_string();
        run(Command::new(Path::new(BINARIES).join("psql"))
            .args(["-h", "127.0.0.1", "-p", &port, "-U", username, "-d", database])
            .args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .env("PGPASSWORD", password))
    }

    /// Stops the server; open connections are closed. The data stays.
    pub fn stop(&self) -> Result<()> {
        self.guardian().say("stop")
    }

    /// Ends the server at once, without a shutdown. The data stays, to be recovered.
    pub fn kill(&self) -> Result<()> {
        self.guardian().say("kill")
    }

    /// Starts the server again on the same port after [`Cluster::stop`] or [`Cluster::kill`], and
    /// waits until it answers.
    pub fn resume(&self) -> Result<()> {
        self.guardian().say("start")?;
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            // The eighth line of this file is the server's own word for its state.
            let state = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
            if state.lines().nth(7).is_some_and(|l| l.trim() == "ready") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
            if self.log().contains("FATAL:  could not create any TCP/IP sockets") {
                bail!("PostgreSQL found its port taken");
            }
        }
        bail!("PostgreSQL did not start within {START_LIMIT:?}")
    }

    /// Stops and starts again, on the same port.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.resume()
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn guardian(&self) -> MutexGuard<'_, Guardian> {
        self.guardian.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let guardian = self.guardian.get_mut().unwrap_or_else(PoisonError::into_inner);
        guardian.words = None;
        let _ = guardian.process.wait();
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("port", &self.port()).finish_non_exhaustive()
    }
}

/// Who owns our own process tells who we are, without a system call of our own.
fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata("/proc/self").context("reading /proc/self")?.uid() == 0)
}

fn command(as_root: bool, program: &str) -> Command {
    let path = Path::new(BINARIES).join(program);
    if !as_root {
        return Command::new(path);
    }
    // setpriv replaces itself with the program: its process id is the server's. It is part of util-linux.
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(path).current_dir("/");
    command
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_keeps_its_data_over_stops_and_kills_and_leaves_nothing() {
        let cluster = Cluster::start().unwrap();
        let url = cluster.create_database().unwrap();
        let name = url.rsplit('/').next().unwrap().to_owned();
        cluster.sql(&name, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)").unwrap();
        cluster.restart().unwrap();
        cluster.stop().unwrap();
        assert!(cluster.sql(&name, "SELECT 1").is_err());
        cluster.resume().unwrap();
        cluster.kill().unwrap();
        cluster.resume().unwrap();
        assert_eq!(cluster.sql(&name, "SELECT n FROM t").unwrap().trim(), "7");
        let dir = cluster.data.parent().unwrap().to_owned();
        drop(cluster);
        assert!(!dir.exists());
    }
}
