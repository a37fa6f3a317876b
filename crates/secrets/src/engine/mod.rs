//! The secret engines: what a mount does with a path. One file each.
//!
//! # Registry
//!
//! | Kind | File | What it keeps |
//! | --- | --- | --- |
//! | `kv` version 1 | `kv1.rs` | the last value written |
//! | `kv` version 2 | `kv2/` | versions, with soft deletion and check-and-set |
//! | `database` | `database/` | logins made on demand, with leases; logins whose password changes by itself |
//! | `rabbitmq` | `rabbitmq.rs` | users of one broker, made on demand, with leases |
//! | `pki` | `pki/` | an authority; certificates with their keys, made on demand |
//! | `cubbyhole` | `cubbyhole.rs` | what one token keeps for itself |
//!
//! A further engine is a file here, a variant of [`Engine`] and a line in this table.

pub mod cubbyhole;
pub mod database;
mod kv1;
pub(crate) mod kv2;
pub(crate) mod pki;
pub mod rabbitmq;

use crate::{Call, Mount, Operation, Reply, Result, SecretsError, Txn};
pub use kv2::wipe;

/// The engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Key-value, version 1.
    Kv1,
    /// Key-value, version 2.
    Kv2,
    /// What one token keeps for itself.
    Cubbyhole,
    /// Logins at databases.
    Database,
    /// Users of a RabbitMQ broker.
    Rabbitmq,
    /// Certificates.
    Pki,
}

impl Engine {
    /// The engine of a mount; `None`: none of these.
    pub fn of(mount: &Mount) -> Option<Self> {
        match mount.kind.as_str() {
            "kv" if mount.options.get("version").is_some_and(|v| v == "2") => Some(Self::Kv2),
            "kv" => Some(Self::Kv1),
            "cubbyhole" => Some(Self::Cubbyhole),
            "database" => Some(Self::Database),
            "rabbitmq" => Some(Self::Rabbitmq),
            "pki" => Some(Self::Pki),
            _ => None,
        }
    }

    /// Puts a new mount's kind and options into their one spelling; refuses what no engine is.
    pub fn normalize(mount: &mut Mount) -> Result<()> {
        match mount.kind.as_str() {
            "kv-v2" => {
                mount.kind = "kv".to_owned();
                mount.options.insert("version".to_owned(), "2".to_owned());
            }
            "kv-v1" | "generic" => {
                mount.kind = "kv".to_owned();
                mount.options.insert("version".to_owned(), "1".to_owned());
            }
            "kv" => {}
            "database" | "rabbitmq" | "pki" => return Ok(()),
            other => {
                return Err(SecretsError::invalid(format!("unknown backend type: {other:?}")));
            }
        }
        match mount.options.get("version").map(String::as_str) {
            None | Some("1" | "2") => Ok(()),
            Some(_) => Err(SecretsError::invalid("option \"version\" must be 1 or 2")),
        }
    }

    /// Answers a question. What it changes is kept when the transaction is committed.
    pub async fn handle(self, call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
        match self {
            Self::Kv1 => kv1::handle(call, txn).await,
            Self::Kv2 => kv2::handle(call, txn).await,
            Self::Cubbyhole => cubbyhole::handle(call, txn).await,
            Self::Database => database::handle(call, txn).await,
            Self::Rabbitmq => rabbitmq::handle(call, txn).await,
            Self::Pki => pki::handle(call, txn).await,
        }
    }

    /// Whether there is something at a path that is to be written: decides between the capabilities
    /// `create` and `update`. Where that makes no difference: true.
    pub async fn exists(self, call: &Call<'_>, txn: &mut Txn) -> Result<bool> {
        match self {
            Self::Kv1 => kv1::exists(call, txn).await,
            Self::Kv2 => kv2::exists(call, txn).await,
            Self::Cubbyhole => cubbyhole::exists(call, txn).await,
            Self::Database => database::exists(call, txn).await,
            Self::Rabbitmq => rabbitmq::exists(call, txn).await,
            Self::Pki => pki::exists(call, txn).await,
        }
    }

    /// What is to be done at another system, where a question is about that; see
    /// [`Leases::perform`](crate::lease::Leases::perform).
    pub fn deed(self, operation: Operation, path: &str) -> Option<database::Deed> {
        match self {
            Self::Database => database::deed(operation, path),
            Self::Rabbitmq => rabbitmq::deed(operation, path),
            Self::Pki => pki::deed(operation, path),
            _ => None,
        }
    }

    /// Whether it hands out leases, which end before their mount does.
    pub const fn has_leases(self) -> bool {
        matches!(self, Self::Database | Self::Rabbitmq | Self::Pki)
    }

    /// Whether everybody may ask this, also who is nobody: what relying parties need.
    pub fn is_public(self, operation: Operation, path: &str) -> bool {
        self == Self::Pki && pki::is_public(operation, path)
    }

    /// Whether the policies must also give `sudo` for a path.
    pub fn is_for_operators(self, path: &str) -> bool {
        self == Self::Pki && pki::is_for_operators(path)
    }
}

/// Longest path of a secret, in bytes.
const LONGEST_PATH: usize = 4096;
/// Most names in one list; more come by `after`.
const LONGEST_LIST: usize = 100_000;

/// Refuses paths that name nothing, or one thing in two ways.
fn check_path(path: &str) -> Result<&str> {
    let bad = path.is_empty()
        || path.len() > LONGEST_PATH
        || path.ends_with('/')
        || path.chars().any(char::is_control)
        || path.split('/').any(|s| matches!(s, "" | "." | ".."));
    if bad { Err(SecretsError::invalid("the path of a secret is missing or malformed")) } else { Ok(path) }
}

/// The prefix to list: empty, or ending with one slash.
fn list_prefix(path: &str) -> Result<String> {
    let path = path.trim_end_matches('/');
    if path.is_empty() { Ok(String::new()) } else { Ok(format!("{}/", check_path(path)?)) }
}

/// Lists one level of a space below a prefix of its own, honouring `after` and `limit`.
async fn list(call: &Call<'_>, txn: &mut Txn, space: &str, root: &str, path: &str) -> Result<Reply> {
    let prefix = format!("{root}{}", list_prefix(path)?);
    let after = crate::fields::text(call.data, "after")?.unwrap_or_default();
    let limit = crate::fields::integer(call.data, "limit")?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let limit = limit.unwrap_or(LONGEST_LIST).min(LONGEST_LIST);
    Reply::keys(txn.entries(space).list(&prefix, &after, limit).await?)
}
