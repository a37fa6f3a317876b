use crate::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A system that keeps logins or keys of its own: where credentials of the engines `database` and
/// `provider` live.
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
    /// TCP port; the system's own when absent (5432, 3306, 6379; 15672 for RabbitMQ's management API; for
    /// `http` 443, or 80 in clear).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// PostgreSQL, MariaDB and MySQL: the database that logins are tried with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// `http`: what is called there, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<SystemApi>,
    /// Who logs in there to change other logins. For `http` only a name, for `{{admin_basic}}`.
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
    /// An HTTP API that makes and deletes keys, described in `api`.
    Http,
}

impl SystemKind {
    /// The port it listens on as it comes.
    pub const fn port(self) -> u16 {
        match self {
            Self::Postgresql => 5432,
            Self::Mysql => 3306,
            Self::Redis => 6379,
            Self::Rabbitmq => 15672,
            Self::Http => 443,
        }
    }
}

/// How an HTTP API makes, tries, lists and deletes keys.
///
/// Templates: `{{name}}` (what a key is called there; ours to choose), `{{handle}}` (the API's own id of
/// it), `{{password}}` (the key itself), `{{admin}}` (the value of the target's `credential`) and
/// `{{admin_basic}}` (user name and value as HTTP basic authentication). Secrets stand in no path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemApi {
    /// What stands before every path, as in `/v1`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub base_path: String,
    /// Headers of every call, such as `authorization: "Bearer {{admin}}"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Makes a key called `{{name}}`.
    pub create: ApiCall,
    /// What is read from the answer to `create`.
    #[serde(default)]
    pub take: ApiTake,
    /// Deletes a key. 404 and 410 mean that it is gone already.
    pub delete: ApiCall,
    /// Tries a key: an expected answer means that it works. Absent, the credential's `verify` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<ApiCall>,
    /// Lists keys, so that one is found again whose making was cut short. Needed where `take.handle` is
    /// set: without the list, such a key would stay behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ApiList>,
}

/// One call of an API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiCall {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers of this call, over those of every call; an empty one takes that away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A JSON body, written as text, as in `'{"name": "{{name}}"}'`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// A form, instead of a JSON body.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub form: BTreeMap<String, String>,
    /// The statuses that mean success; any of 200 to 299 when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<u16>,
}

/// Where things stand in the answer to `create`, as JSON pointers (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiTake {
    /// The API's own id of what it made; the name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// The key, where the API makes it; a random one that was sent as `{{password}}` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// A call whose answer lists keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiList {
    /// Path and query of a `GET`.
    pub path: String,
    /// Where the list stands in the answer; the answer itself when absent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub items: String,
    /// Where an item's name stands.
    pub name: String,
    /// Where an item's id stands; the name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// Where the answer says how the list goes on, for an API that answers page by page: with the address
    /// of the next page, or with a cursor. Absent, the header `Link` (RFC 8288) may say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The query parameter that takes the cursor found at `next`. Absent, an address is found there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// TLS towards a system: its certificate is checked, chain and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SystemTls {
    /// A PEM file with the authorities to believe instead of Mozilla's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}
