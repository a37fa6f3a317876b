//! Logins at databases and other systems: made on demand and withdrawn when their lease ends, or known
//! ones whose password changes by itself. For applications that should not share a password that never
//! changes.
//!
//! | Path | Operations |
//! | --- | --- |
//! | `config/NAME` | list, read, write, delete: a database and its administrator's login |
//! | `roles/NAME` | list, read, write, delete: statements and lifetimes |
//! | `creds/NAME` | read: a fresh login with a lease; see [`crate::lease`] |
//! | `static-roles/NAME` | list, read, write, delete: a login that exists, and how often its password changes |
//! | `static-creds/NAME` | read: its password of now |
//! | `rotate-role/NAME` | write: changes that password now |
//! | `rotate-root/NAME` | write: changes the administrator's password to one nobody else knows |
//! | `reset/NAME` | write: connects anew |
//!
//! What is asked of a database is told by [`deed`] and done by [`Leases`](crate::lease::Leases), in a
//! task of its own; everything else is answered here from what is stored. A login's name, or a new
//! password, is stored before it is set at the target, so that a crash leaves nothing there that is not
//! known here. What withdraws a login is kept with its lease: a role or a changed configuration in
//! between does not keep it alive, and it is withdrawn where it was made. An administrator's password is never told back.

mod config;
mod databases;
mod role;
mod root;
mod static_role;

pub(crate) use config::{Config, write as write_config};
pub use databases::Databases;
pub(crate) use databases::NoTarget;
pub(crate) use role::Role;
pub(crate) use static_role::{HIDDEN, known};

use super::{check_path, list};
use crate::{Call, Operation, Reply, Result, SecretsError, Txn};

/// What is done at a database, decides how it is reached, or takes long: done in a task of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Writes how a database is reached, after trying it.
    Configure(String),
    /// Makes a login by a role.
    Login(String),
    /// Issues a certificate by a role; of [`crate::engine::pki`].
    Certificate(String),
    /// Writes a role of a login that exists, and gives that its first password.
    WriteStatic(String),
    /// Changes the password of such a login.
    RotateStatic(String),
    /// Changes the administrator's password.
    RotateRoot(String),
    /// Closes the connections kept to a database.
    Reset(String),
}

/// Whether a question is a deed. `None`: it is answered from what is stored, or not known.
pub fn deed(operation: Operation, path: &str) -> Option<Deed> {
    let (kind, name) = path.split_once('/').filter(|(_, name)| !name.is_empty())?;
    let name = name.to_owned();
    match (kind, operation) {
        ("config", Operation::Write) => Some(Deed::Configure(name)),
        ("creds", Operation::Read) => Some(Deed::Login(name)),
        ("static-roles", Operation::Write) => Some(Deed::WriteStatic(name)),
        ("rotate-role", Operation::Write) => Some(Deed::RotateStatic(name)),
        ("rotate-root", Operation::Write) => Some(Deed::RotateRoot(name)),
        ("reset", Operation::Write) => Some(Deed::Reset(name)),
        _ => None,
    }
}

pub(super) async fn handle(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    let (kind, name) = call.path.split_once('/').unwrap_or((call.path, ""));
    match kind {
        "config" | "roles" | "static-roles" => {}
        "static-creds" if call.operation == Operation::Read => return static_role::password(call, txn, name).await,
        "creds" | "static-creds" | "rotate-role" | "rotate-root" | "reset" => return Err(SecretsError::Unsupported),
        _ => return Err(SecretsError::UnknownPath),
    }
    if call.operation == Operation::List || (call.operation == Operation::Read && name.is_empty()) {
        return list(call, txn, call.space(), &format!("{kind}/"), name).await;
    }
    let name = plain(name)?;
    match (kind, call.operation) {
        ("config", Operation::Read) => config::read(call, txn, name).await,
        ("roles", Operation::Read) => role::read(call, txn, name).await,
        ("roles", Operation::Write) => role::write(call, txn, name).await,
        ("static-roles", Operation::Read) => static_role::read(call, txn, name).await,
        ("static-roles", Operation::Delete) => static_role::delete(call, txn, name).await,
        (_, Operation::Delete) => {
            if kind == "config" {
                // Nothing of it stays, also of the places it was at before.
                txn.entries(call.space()).delete_prefix(&format!("left/{name}/"));
            }
            txn.entries(call.space()).delete(&format!("{kind}/{name}"));
            Ok(Reply::empty())
        }
        _ => Err(SecretsError::Unsupported),
    }
}

pub(super) async fn exists(call: &Call<'_>, txn: &mut Txn) -> Result<bool> {
    match call.path.split_once('/') {
        Some(("config" | "roles" | "static-roles", name)) if !name.is_empty() => {
            txn.entries(call.space()).exists(call.path).await
        }
        _ => Ok(true),
    }
}

/// A name of a database or role.
pub(crate) fn plain(name: &str) -> Result<&str> {
    if check_path(name)?.contains('/') {
        return Err(SecretsError::invalid("a name of a database or role has no '/'"));
    }
    Ok(name)
}
