//! Logins at databases, made on demand and withdrawn when their lease ends. For applications that
//! should not share a password that never changes.
//!
//! | Path | Operations |
//! | --- | --- |
//! | `config/NAME` | list, read, write, delete: a database and its administrator's login |
//! | `roles/NAME` | list, read, write, delete: statements and lifetimes |
//! | `creds/NAME` | read: a fresh login with a lease; see [`crate::lease`] |
//!
//! A login's name is stored before the login is made, so a crash leaves nothing behind that is not
//! withdrawn. What withdraws it is kept with the lease: a role or a changed configuration in between
//! does not keep a login alive. An administrator's password is never told back.

mod config;
mod role;

pub(crate) use config::Config;
pub use config::Databases;
pub(crate) use role::Role;

use super::{check_path, list};
use crate::{Call, Operation, Reply, Result, SecretsError, Txn};

pub(super) async fn handle(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    let (kind, name) = call.path.split_once('/').unwrap_or((call.path, ""));
    if !matches!(kind, "config" | "roles") {
        return if kind == "creds" { Err(SecretsError::Unsupported) } else { Err(SecretsError::UnknownPath) };
    }
    if call.operation == Operation::List || (call.operation == Operation::Read && name.is_empty()) {
        return list(call, txn, call.space(), &format!("{kind}/"), name).await;
    }
    let name = check_path(name)?;
    if name.contains('/') {
        return Err(SecretsError::invalid("a name of a database or role has no '/'"));
    }
    match (kind, call.operation) {
        ("config", Operation::Read) => config::read(call, txn, name).await,
        ("config", Operation::Write) => config::write(call, txn, name).await,
        ("roles", Operation::Read) => role::read(call, txn, name).await,
        ("roles", Operation::Write) => role::write(call, txn, name).await,
        (_, Operation::Delete) => {
            txn.entries(call.space()).delete(&format!("{kind}/{name}"));
            Ok(Reply::empty())
        }
        _ => Err(SecretsError::Unsupported),
    }
}

pub(super) async fn exists(call: &Call<'_>, txn: &mut Txn) -> Result<bool> {
    match call.path.split_once('/') {
        Some(("config" | "roles", name)) if !name.is_empty() => txn.entries(call.space()).exists(call.path).await,
        _ => Ok(true),
    }
}
