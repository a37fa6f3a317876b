//! A throwaway MariaDB server on a free loopback port, for one test binary.

use crate::{
    guarded::{Guarded, Plan, output},
    place::Place,
};
use anyhow::{Context, Result};
use std::{path::PathBuf, process::Command, time::Duration};

/// A running server. Dropped: ended, and its directory removed.
pub struct Mariadb {
    server: Guarded,
    place: Place,
    socket: PathBuf,
}

impl Mariadb {
    /// The administrator that [`Mariadb::start`] makes, and its password.
    pub const ADMIN: (&str, &str) = ("admin", "admin-password");

    /// Makes and starts a server. Its data does not survive the machine, only its processes.
    pub fn start() -> Result<Self> {
        let dir = Guarded::dir("mariadb")?;
        let data = dir.path().join("data");
        // A starting server removes the temporary tables of every other one that shares the directory.
        let temporary = dir.path().join("tmp");
        std::fs::create_dir(&temporary).context("a directory for MariaDB's temporary tables")?;
        let user = if std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0) {
            "--user=root"
        } else {
            "--skip-name-resolve"
        };
        output(
            Command::new("mariadb-install-db")
                .env("TMPDIR", &temporary)
                .arg("--no-defaults")
                .arg(format!("--datadir={}", data.display()))
                .args(["--auth-root-authentication-method=normal", "--skip-test-db", user]),
        )
        .context("making a MariaDB server; it comes with the package mariadb-server")?;
        let (place, socket) = (Place::try_take()?, dir.path().join("socket"));
        let mut args: Vec<_> =
            ["--no-defaults", user, "--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin"]
                .iter()
                .chain(&[
                    "--innodb-flush-log-at-trx-commit=0",
                    "--innodb-buffer-pool-size=16M",
                    "--performance-schema=OFF",
                ])
                .map(Into::into)
                .collect();
        for (name, path) in
            [("datadir", data), ("socket", socket.clone()), ("pid-file", dir.path().join("pid")), ("tmpdir", temporary)]
        {
            args.push(format!("--{name}={}", path.display()).into());
        }
        args.push(format!("--port={}", place.port()).into());
        // Every statement is logged, so that tests can look for secrets in it.
        args.push("--general-log=1".into());
        args.push(format!("--general-log-file={}", dir.path().join("general.log").display()).into());
        let plan =
            Plan { program: "mariadbd", package: "mariadb-server", args, env: Vec::new(), beside: String::new() };
        let started = Self { server: Guarded::over(dir, &plan)?, place, socket };
        started.resume()?;
        let (name, password) = Self::ADMIN;
        started.sql(&format!(
            "CREATE USER '{name}'@'%' IDENTIFIED BY '{password}'; GRANT ALL ON *.* TO '{name}'@'%' WITH GRANT OPTION; CREATE DATABASE shop"
        ))?;
        Ok(started)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.place.port()
    }

    /// Every statement the server was sent, as its general log has them.
    pub fn statements(&self) -> String {
        let bytes = std::fs::read(self.server.path().join("general.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Runs statements as root through the client `mariadb` and answers the printed rows.
    pub fn sql(&self, sql: &str) -> Result<String> {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-u", "root", "-N", "-B"]).arg(format!("--socket={}", self.socket.display()));
        output(client.args(["-e", sql]))
    }

    /// Runs statements as somebody, over TCP.
    pub fn sql_as(&self, username: &str, password: &str, sql: &str) -> Result<String> {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-N", "-B", "-P", &self.port().to_string()]);
        output(client.args(["-u", username, "-e", sql]).env("MYSQL_PWD", password))
    }

    /// Ends the server; the data stays.
    pub fn stop(&self) -> Result<()> {
        self.server.say("stop")
    }

    /// Starts it again.
    pub fn resume(&self) -> Result<()> {
        self.server.start(Duration::from_secs(180), || self.sql("SELECT 1").is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_keeps_its_data_over_a_stop_and_leaves_nothing() {
        let server = Mariadb::start().unwrap();
        let (name, password) = Mariadb::ADMIN;
        server.sql_as(name, password, "CREATE TABLE shop.t (n INT); INSERT INTO shop.t VALUES (7)").unwrap();
        assert!(server.sql_as(name, "wrong", "SELECT 1").is_err());
        server.stop().unwrap();
        assert!(server.sql("SELECT 1").is_err());
        server.resume().unwrap();
        assert_eq!(server.sql("SELECT n FROM shop.t").unwrap().trim(), "7");
        let dir = server.server.path().to_owned();
        drop(server);
        assert!(!dir.exists());
    }
}
