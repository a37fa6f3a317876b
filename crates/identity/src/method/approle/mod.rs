//! AppRole: machines log in with a role id and a secret id.
//!
//! A role's secret ids are made for it, or brought along (`custom-secret-id`); only their keyed hashes
//! are stored. Each can be bound to networks, a number of logins and a time. Every property of a role
//! is also a path of its own, as clients expect.

mod login;
mod property;
mod role;
mod secret_id;

use super::Method;
use crate::{
    Call, Core, IdentityError, Mount, Operation, Response, Result, Shelf, Standings, listed, ports::Boxed,
    tokens::Token,
};

/// The method.
#[derive(Clone, Copy, Debug)]
pub struct AppRole;

impl Method for AppRole {
    fn kind(&self) -> &'static str {
        "approle"
    }

    fn handle<'a>(&'a self, core: &'a Core, call: &'a Call<'a>) -> Boxed<'a, Result<Response>> {
        Box::pin(handle(core, call))
    }

    fn exists<'a>(&'a self, core: &'a Core, call: &'a Call<'a>) -> Boxed<'a, Result<Option<bool>>> {
        Box::pin(async move {
            match call.path.strip_prefix("role/").filter(|rest| !rest.is_empty() && !rest.contains('/')) {
                Some(name) => Ok(Some(role::get(&core.shelf(call.mount), name).await?.is_some())),
                None => Ok(None),
            }
        })
    }

    fn renew<'a>(&'a self, shelf: Shelf, token: &'a mut Token) -> Boxed<'a, Result<i64>> {
        Box::pin(async move {
            let name = token.internal.get(super::ROLE).cloned().unwrap_or_default();
            let role = role::get(&shelf, &name).await?.ok_or_else(super::gone)?;
            // Policies of a role may change while its tokens live: they keep theirs, as with Vault.
            role.value.token.renew_into(token);
            Ok(role.value.token.ttl)
        })
    }

    fn is_open(&self, path: &str) -> bool {
        path == "login"
    }
}

async fn handle(core: &Core, call: &Call<'_>) -> Result<Response> {
    let path = call.path.trim_end_matches('/');
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["login"] if call.operation.is_write() => login::handle(core, call).await,
        ["tidy", "secret-id"] if call.operation.is_write() => secret_id::tidy(core, call).await,
        ["role"] if call.operation == Operation::List => Response::keys(core.shelf(call.mount).list("role/").await?),
        ["role", name] => role::handle(core, call, name).await,
        ["role", name, "secret-id"] if call.operation == Operation::List => secret_id::list(core, call, name).await,
        ["role", name, "secret-id"] if call.operation.is_write() => secret_id::create(core, call, name, false).await,
        ["role", name, "custom-secret-id"] if call.operation.is_write() => {
            secret_id::create(core, call, name, true).await
        }
        ["role", name, "secret-id", "lookup"] if call.operation.is_write() => {
            secret_id::lookup(core, call, name, secret_id::By::Secret).await
        }
        ["role", name, "secret-id-accessor", "lookup"] if call.operation.is_write() => {
            secret_id::lookup(core, call, name, secret_id::By::Accessor).await
        }
        ["role", name, "secret-id", "destroy"] if ends(call.operation) => {
            secret_id::destroy(core, call, name, secret_id::By::Secret).await
        }
        ["role", name, "secret-id-accessor", "destroy"] if ends(call.operation) => {
            secret_id::destroy(core, call, name, secret_id::By::Accessor).await
        }
        ["role", name, property] => property::handle(core, call, name, property).await,
        ["login" | "role"] | ["role", ..] | ["tidy", "secret-id"] => Err(IdentityError::Unsupported),
        _ => Err(IdentityError::missing()),
    }
}

/// The secret ids of a mount after one, a page of them; see [`crate::Identity::standings`].
pub(crate) async fn standings(core: &Core, mount: &Mount, after: &str, most: u32) -> Result<Standings> {
    secret_id::standings(core, mount, after, most).await
}

/// The roles of a mount after one (`role/NAME`).
pub(crate) async fn roles(core: &Core, mount: &Mount, after: &str, most: u32) -> Result<Standings> {
    listed::roles(core, mount, after, most, ("logs in with a role id", "approle.role.set"), |role: &role::Role| {
        &role.token
    })
    .await
}

fn ends(operation: Operation) -> bool {
    operation.is_write() || operation == Operation::Delete
}
