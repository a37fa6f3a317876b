//! Tokens: made, looked up, renewed, revoked with everything they made.
//!
//! A service token is a row of the store, found by its keyed hash; a batch token is sealed and carries
//! everything itself. Tokens form a tree by their makers' accessors; ending one ends its branch in the
//! same transaction. A token whose maker is gone counts as gone, so that no race leaves a live orphan.

mod batch;
mod create;
mod handler;
mod id;
mod issue;
mod params;
mod renew;
mod revoke;
mod roles;
mod sessions;
mod token;

pub(crate) use create::wildcard;
#[cfg(test)]
pub(crate) use handler::accessors;
pub(crate) use handler::handle;
pub(crate) use id::random_text;
pub use id::{BATCH_PREFIX, SERVICE_PREFIX, is_service_token};
pub(crate) use issue::Login;
pub use issue::{NewToken, token_place};
pub(crate) use params::{TokenParams, with_default};
pub(crate) use revoke::PAGE;
pub use sessions::Authenticated;
pub(crate) use sessions::Sessions;
pub(crate) use token::holder_of;
pub use token::{Token, TokenKind};
