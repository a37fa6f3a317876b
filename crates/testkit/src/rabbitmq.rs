//! A throwaway RabbitMQ server with its management API on free loopback ports, for one test binary.
//!
//! Erlang's port mapper is a daemon that outlives what started it; here each server has one of its
//! own, in the foreground under the same guard.

use crate::{
    guarded::{Guarded, Plan, output},
    place::Place,
};
use anyhow::Result;
use std::{ffi::OsString, process::Command, time::Duration};

const BINARIES: &str = "/usr/lib/rabbitmq/bin";

/// A running server. Dropped: ended, and its directory removed.
pub struct Rabbitmq {
    server: Guarded,
    management: u16,
    amqp: u16,
    /// All its ports.
    _places: [Place; 4],
    env: Vec<(&'static str, OsString)>,
}

impl Rabbitmq {
    /// The administrator every new server has, and its password.
    pub const ADMIN: (&str, &str) = ("guest", "guest");

    /// Makes and starts a server; that takes some seconds.
    pub fn start() -> Result<Self> {
        let dir = Guarded::dir("rabbitmq")?;
        let path = |name: &str| dir.path().join(name);
        let places = [Place::try_take()?, Place::try_take()?, Place::try_take()?, Place::try_take()?];
        let [management, amqp, distribution, mapper] = [0, 1, 2, 3].map(|at: usize| places[at].port());
        std::fs::write(path("enabled_plugins"), "[rabbitmq_management].\n")?;
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\ncollect_statistics_interval = 500\n"
        );
        std::fs::write(path("rabbitmq.conf"), config)?;
        let env: Vec<(&str, OsString)> = vec![
            ("HOME", dir.path().into()),
            ("RABBITMQ_NODENAME", format!("credentialflow{amqp}@localhost").into()),
            ("RABBITMQ_DIST_PORT", distribution.to_string().into()),
            ("RABBITMQ_MNESIA_BASE", path("mnesia").into()),
            ("RABBITMQ_LOG_BASE", path("logs").into()),
            ("RABBITMQ_LOGS", "-".into()),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins").into()),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq").into()),
            ("RABBITMQ_CONF_ENV_FILE", path("no-such-file").into()),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1".into()),
            ("ERL_EPMD_PORT", mapper.to_string().into()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
            ("LC_ALL", "C.UTF-8".into()),
        ];
        let server = format!("{BINARIES}/rabbitmq-server");
        let plan = Plan {
            program: &server,
            package: "rabbitmq-server",
            args: Vec::new(),
            env: env.clone(),
            beside: format!("epmd -port {mapper} -address 127.0.0.1"),
        };
        let started = Self { server: Guarded::over(dir, &plan)?, management, amqp, _places: places, env };
        started.resume()?;
        Ok(started)
    }

    /// The management API's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.management
    }

    /// The port for AMQP on 127.0.0.1.
    pub fn amqp_port(&self) -> u16 {
        self.amqp
    }

    /// Runs a command of `rabbitmqctl`.
    pub fn ctl(&self, words: &[&str]) -> Result<String> {
        let mut client = Command::new(format!("{BINARIES}/rabbitmqctl"));
        output(client.arg("-q").args(words).envs(self.env.iter().map(|(k, v)| (k, v))))
    }

    /// Whether a login works, as the server itself says.
    pub fn authenticates(&self, username: &str, password: &str) -> bool {
        self.ctl(&["authenticate_user", "--", username, password]).is_ok()
    }

    /// Ends the server.
    pub fn stop(&self) -> Result<()> {
        self.server.say("kill")
    }

    /// Starts it again.
    pub fn resume(&self) -> Result<()> {
        let begin = format!("127.0.0.1:{}", self.management);
        // The log goes on where it ended when the server was stopped.
        let complete = || self.server.log().matches("Server startup complete").count();
        let before = complete();
        self.server
            .start(Duration::from_secs(300), || std::net::TcpStream::connect(&begin).is_ok() && complete() > before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_knows_its_administrator_and_leaves_nothing() {
        let server = Rabbitmq::start().unwrap();
        let (name, password) = Rabbitmq::ADMIN;
        assert!(server.authenticates(name, password));
        assert!(!server.authenticates(name, "wrong"));
        let dir = server.server.path().to_owned();
        drop(server);
        assert!(!dir.exists());
    }
}
