//! JWT and OIDC: callers log in with a token that a provider signed.
//!
//! A mount's configuration says where the provider's keys are (given, a key set, or discovery) and which
//! algorithms count; a role says what a token must claim. People are sent to the provider and come back
//! with a code (`oidc/auth_url`, `oidc/callback`); programs present their token (`login`).
//! Groups are read and checked for their form, but lead to no policies yet: there are no groups here.

mod config;
mod keys;
mod login;
mod oidc;
mod role;

use super::Method;
use crate::{
    Call, Core, IdentityError, Mount, Operation, Response, Result, Shelf, Standings, listed, ports::Boxed,
    tokens::Token,
};
pub(crate) use keys::KeyCache;

/// The method, under one of its two names.
#[derive(Clone, Copy, Debug)]
pub struct Jwt {
    kind: &'static str,
}

/// As `jwt`.
pub static JWT: Jwt = Jwt { kind: "jwt" };
/// As `oidc`.
pub static OIDC: Jwt = Jwt { kind: "oidc" };

impl Method for Jwt {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn handle<'a>(&'a self, core: &'a Core, call: &'a Call<'a>) -> Boxed<'a, Result<Response>> {
        Box::pin(handle(self.kind, core, call))
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
            role.value.token.renew_into(token);
            Ok(role.value.token.ttl)
        })
    }

    fn is_open(&self, path: &str) -> bool {
        matches!(path, "login" | "oidc/auth_url" | "oidc/callback")
    }
}

async fn handle(kind: &'static str, core: &Core, call: &Call<'_>) -> Result<Response> {
    let path = call.path.trim_end_matches('/');
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["config"] => config::handle(core, call).await,
        ["role"] if call.operation == Operation::List => Response::keys(core.shelf(call.mount).list("role/").await?),
        ["role", name] => role::handle(core, call, name).await,
        ["login"] if call.operation.is_write() => login::handle(kind, core, call).await,
        ["oidc", "auth_url"] if call.operation.is_write() => oidc::auth_url(core, call).await,
        ["oidc", "callback"] => oidc::callback(kind, core, call).await,
        ["role" | "login"] | ["oidc", "auth_url"] => Err(IdentityError::Unsupported),
        _ => Err(IdentityError::missing()),
    }
}

/// The roles of a mount after one (`role/NAME`).
pub(crate) async fn roles(core: &Core, mount: &Mount, after: &str, most: u32) -> Result<Standings> {
    listed::roles(
        core,
        mount,
        after,
        most,
        ("logs in with a token of an identity provider", "jwt.role.set"),
        |role: &role::Role| &role.token,
    )
    .await
}
