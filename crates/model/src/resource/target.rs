use crate::Name;
use serde::{Deserialize, Serialize};

/// A system that keeps logins of its own: where credentials of the engine `database` live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// Unique name.
    pub name: Name,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is.
    pub system: SystemKind,
    /// A host's name or address. Internal ones are the normal case.
    pub host: String,
    /// TCP port; the system's own when absent (5432, 3306, 6379; 15672 for RabbitMQ's management API).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// PostgreSQL, MariaDB and MySQL: the database that logins are tried with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Who logs in there to change other logins.
    pub username: String,
    /// The credential whose value is that login's password. Of the engine `database` when that
    /// password is rotated as well.
    pub credential: Name,
    /// TLS. Absent, it is talked to in clear, which is for this machine only, or with `plaintext: true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<SystemTls>,
    /// Talk to it in clear over a network that is protected otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plaintext: bool,
}

/// A system in which credentials live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SystemKind {
    /// PostgreSQL 11 or newer.
    Postgresql,
    /// MariaDB 10.4 or newer, MySQL 8.
    Mysql,
    /// Redis 6 or newer, Valkey.
    Redis,
    /// RabbitMQ 3.8 or newer.
    Rabbitmq,
}

impl SystemKind {
    /// The port it listens on as it comes.
    pub const fn port(self) -> u16 {
        match self {
            Self::Postgresql => 5432,
            Self::Mysql => 3306,
            Self::Redis => 6379,
            Self::Rabbitmq => 15672,
        }
    }
}

/// TLS towards a system: its certificate is checked, chain and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SystemTls {
    /// A PEM file with the authorities to believe instead of Mozilla's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}
