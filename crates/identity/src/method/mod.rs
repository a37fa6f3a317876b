//! The ways to log in: one folder each, all named in [`KINDS`].
//!
//! A method keeps its settings in the part of the store that belongs to its mount, proves who a caller
//! is, and leaves the making of the token to the one place that makes tokens. It must be able to say
//! whether a token it made may live on, so that a renewal after its role is gone is refused.

pub mod approle;
pub mod jwt;
pub mod userpass;

use crate::{
    Call, Core, IdentityError, Response, Result, Shelf,
    ports::Boxed,
    tokens::{Token, TokenParams},
};
use std::collections::BTreeMap;

/// One way to log in.
pub trait Method: Sync {
    /// Its name, as mounts are made with it.
    fn kind(&self) -> &'static str;

    /// Answers a path below a mount.
    fn handle<'a>(&'a self, core: &'a Core, call: &'a Call<'a>) -> Boxed<'a, Result<Response>>;

    /// Whether what a path names is there; `None` where create and update are not told apart.
    fn exists<'a>(&'a self, core: &'a Core, call: &'a Call<'a>) -> Boxed<'a, Result<Option<bool>>>;

    /// Takes the present settings of its role over to a token about to be renewed, and answers the role's
    /// ttl in seconds (0: not said). An error when the token may not live on.
    fn renew<'a>(&'a self, shelf: Shelf, token: &'a mut Token) -> Boxed<'a, Result<i64>>;

    /// Whether a path is for callers who are nobody yet.
    fn is_open(&self, path: &str) -> bool;
}

/// Every kind of method there is. A new one is a folder here and a line in this list.
pub static KINDS: [&dyn Method; 4] = [&approle::AppRole, &userpass::Userpass, &jwt::JWT, &jwt::OIDC];

/// The method of a kind.
pub fn find(kind: &str) -> Result<&'static dyn Method> {
    let found = KINDS.into_iter().find(|m| m.kind() == kind);
    found.ok_or_else(|| IdentityError::invalid(format!("unknown auth method {kind:?}")))
}

/// A fact kept with a token: which kind of method made it.
const KIND: &str = "method";
/// A fact kept with a token: the role or user it was made for.
pub(crate) const ROLE: &str = "role";

/// What a token must carry so that its method can renew it.
fn facts(kind: &str, role: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(KIND.to_owned(), kind.to_owned()), (ROLE.to_owned(), role.to_owned())])
}

/// Asks the method that made a token whether it may live on; `None` when no method did.
pub(crate) async fn renew(core: &Core, token: &mut Token) -> Result<Option<i64>> {
    let (Some(mount), Some(kind)) = (token.mount.clone(), token.internal.get(KIND).cloned()) else {
        return Ok(None);
    };
    find(&kind)?.renew(core.space(mount), token).await.map(Some)
}

/// What a renewal takes from a role, where the role still gives the token what it has.
fn renewed(token: &mut Token, params: &TokenParams, own: &[String]) -> Result<i64> {
    let mut policies = params.policies.clone();
    policies.extend_from_slice(own);
    let given = crate::tokens::with_default(policies, !params.no_default_policy);
    if given != token.policies {
        return Err(IdentityError::invalid("policies have changed, not renewing"));
    }
    params.renew_into(token);
    Ok(params.ttl)
}

fn gone() -> IdentityError {
    IdentityError::invalid("the role or user this token was made for does not exist any more; it cannot be renewed")
}

/// A role's or user's name: nothing that could be taken for a path.
pub(crate) fn name(text: &str) -> Result<&str> {
    let odd = text.is_empty() || text.len() > 512 || text.contains('/') || text.chars().any(char::is_control);
    if odd {
        Err(IdentityError::invalid("a name has no '/', no control characters and at most 512 bytes"))
    } else {
        Ok(text)
    }
}
