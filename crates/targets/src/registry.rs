//! The list of systems, readable top to bottom.

use crate::{Result, Target, http_api, mysql, postgresql, rabbitmq, redis};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A system in which credentials live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// PostgreSQL 11 or newer: roles.
    Postgresql,
    /// MariaDB 10.4 or newer, MySQL 8 or newer: users.
    Mysql,
    /// Redis 6 or newer, Valkey: ACL users.
    Redis,
    /// RabbitMQ 3.8 or newer, through its management API: users.
    Rabbitmq,
    /// An HTTP API described by templates: whatever it calls keys, users or tokens.
    Http,
}

/// Every kind.
pub const KINDS: &[Kind] = &[Kind::Postgresql, Kind::Mysql, Kind::Redis, Kind::Rabbitmq, Kind::Http];

impl Kind {
    /// Its word in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgresql => "postgresql",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Rabbitmq => "rabbitmq",
            Self::Http => "http",
        }
    }

    /// The kind of a word, also of the names Vault's database plugins have: `postgresql-database-plugin`,
    /// `mysql-database-plugin`, `mysql-legacy-database-plugin`, `redis-database-plugin`,
    /// `valkey-database-plugin`.
    pub fn parse(word: &str) -> Option<Self> {
        match word.strip_suffix("-database-plugin").unwrap_or(word) {
            "postgresql" => Some(Self::Postgresql),
            "mysql" | "mysql-legacy" | "mysql-rds" | "mysql-aurora" | "mariadb" => Some(Self::Mysql),
            "redis" | "valkey" => Some(Self::Redis),
            "rabbitmq" => Some(Self::Rabbitmq),
            "http" => Some(Self::Http),
            _ => None,
        }
    }

    /// The longest name of a login there, in bytes.
    pub const fn longest_name(self) -> usize {
        match self {
            Self::Postgresql => 63,
            // MySQL's 32 characters; MariaDB takes 80. Counted in bytes, which is never longer.
            Self::Mysql => 32,
            Self::Redis | Self::Http => 128,
            Self::Rabbitmq => 255,
        }
    }
}

/// How a target is reached, by kind.
#[derive(Debug)]
pub enum Settings {
    /// PostgreSQL.
    Postgresql(postgresql::Settings),
    /// MariaDB or MySQL.
    Mysql(mysql::Settings),
    /// Redis or Valkey.
    Redis(redis::Settings),
    /// RabbitMQ.
    Rabbitmq(rabbitmq::Settings),
    /// A described HTTP API.
    Http(Box<http_api::Settings>),
}

/// A target over its settings. Connects to nothing yet; see [`Target::check`].
pub fn open(settings: Settings) -> Result<Arc<dyn Target>> {
    Ok(match settings {
        Settings::Postgresql(settings) => Arc::new(postgresql::Postgresql::new(settings)?),
        Settings::Mysql(settings) => Arc::new(mysql::Mysql::new(settings)?),
        Settings::Redis(settings) => Arc::new(redis::Redis::new(settings)?),
        Settings::Rabbitmq(settings) => Arc::new(rabbitmq::Rabbitmq::new(settings)?),
        Settings::Http(settings) => Arc::new(http_api::HttpApi::new(*settings)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_kinds_agree() {
        for kind in KINDS {
            assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!(Kind::parse("postgresql-database-plugin"), Some(Kind::Postgresql));
        assert_eq!(Kind::parse("mysql-rds-database-plugin"), Some(Kind::Mysql));
        assert_eq!(Kind::parse("mongodb-database-plugin"), None);
    }
}
