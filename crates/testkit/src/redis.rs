//! A throwaway Redis server on a free loopback port, for one test binary.

use crate::{
    guarded::{Guarded, Plan, output},
    place::Place,
};
use anyhow::Result;
use std::{path::Path, process::Command, time::Duration};

/// A running server. Dropped: ended, and its directory removed.
pub struct Redis {
    server: Guarded,
    place: Place,
    tls_place: Option<Place>,
}

impl Redis {
    /// The password of the user `default`, who may do everything.
    pub const PASSWORD: &str = "admin-password";

    /// Makes and starts a server that keeps its users in an ACL file.
    pub fn start() -> Result<Self> {
        Self::start_with(None)
    }

    /// The same, with a second port that speaks TLS with this certificate and key (PEM).
    pub fn start_with(tls: Option<(&str, &str)>) -> Result<Self> {
        let dir = Guarded::dir("redis")?;
        let write = |name: &str, text: &str| -> Result<String> {
            let path = dir.path().join(name);
            std::fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let acl = write("users.acl", &format!("user default on >{} ~* &* +@all\n", Self::PASSWORD))?;
        let place = Place::try_take()?;
        let mut args: Vec<String> =
            ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(str::to_owned).to_vec();
        args.extend(["--dir".to_owned(), dir.path().display().to_string()]);
        args.extend(["--port".to_owned(), place.port().to_string(), "--aclfile".to_owned(), acl]);
        let mut tls_place = None;
        if let Some((certificate, key)) = tls {
            let port = tls_place.insert(Place::try_take()?).port();
            args.extend(["--tls-port".to_owned(), port.to_string(), "--tls-auth-clients".to_owned(), "no".to_owned()]);
            let certificate = write("server.crt", certificate)?;
            args.extend([
                "--tls-cert-file".to_owned(),
                certificate.clone(),
                "--tls-ca-cert-file".to_owned(),
                certificate,
            ]);
            args.extend(["--tls-key-file".to_owned(), write("server.key", key)?]);
        }
        let args = args.into_iter().map(Into::into).collect();
        let plan =
            Plan { program: "redis-server", package: "redis-server", args, env: Vec::new(), beside: String::new() };
        let started = Self { server: Guarded::over(dir, &plan)?, place, tls_place };
        started.resume()?;
        Ok(started)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.place.port()
    }

    /// Its port for TLS, where it was started with a certificate.
    pub fn tls_port(&self) -> Option<u16> {
        self.tls_place.as_ref().map(Place::port)
    }

    /// Runs a command through `redis-cli` as somebody. An error answer is an `Err`.
    pub fn cli(&self, username: &str, password: &str, words: &[&str]) -> Result<String> {
        let port = self.port().to_string();
        let mut client = Command::new("redis-cli");
        client.args(["-h", "127.0.0.1", "-p", &port, "-e", "--no-auth-warning", "--user", username]).args(words);
        output(client.env("REDISCLI_AUTH", password))
    }

    /// The ACL file as it is.
    pub fn acl_file(&self) -> String {
        std::fs::read_to_string(Path::new(self.server.path()).join("users.acl")).unwrap_or_default()
    }

    /// Ends the server.
    pub fn stop(&self) -> Result<()> {
        self.server.say("stop")
    }

    /// Starts it again.
    pub fn resume(&self) -> Result<()> {
        self.server.start(Duration::from_secs(120), || self.cli("default", Self::PASSWORD, &["PING"]).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_its_own_client_and_leaves_nothing() {
        let server = Redis::start().unwrap();
        assert_eq!(server.cli("default", Redis::PASSWORD, &["SET", "a", "7"]).unwrap().trim(), "OK");
        assert!(server.cli("default", "wrong", &["GET", "a"]).is_err());
        let dir = server.server.path().to_owned();
        drop(server);
        assert!(!dir.exists());
    }
}
