//! Who may fetch at run time: policies, tokens and the ways to log in, with HashiCorp Vault's meaning.
//!
//! [`Identity`] is the one handle. [`Identity::authenticate`] turns a presented token into an
//! [`Authenticated`] caller, whose [`Acl`](acl::Acl) decides about each operation;
//! [`Identity::login_method`] and its neighbours answer the paths under `auth/` and
//! `sys/policies/acl/`. Every login, every token made, renewed or revoked is one
//! [`Unit`](credentialflow_store::Unit) of the store: the change and its audit event are kept together
//! or not at all. Of tokens and secret ids only keyed hashes are stored, of passwords Argon2id.
//!
//! This room knows nothing about HTTP servers, SQL, the gateway, or the secrets that callers fetch.
//! What it needs from outside (asking a provider for its keys; what else ends with a token) it names in
//! [`ports`].

pub mod acl;
mod clock;
mod core;
mod error;
mod fields;
mod identity;
mod issuer;
pub mod jose;
pub mod lifetime;
mod listed;
pub mod method;
mod policies;
pub mod ports;
mod request;
mod rights;
mod shelf;
#[cfg(test)]
mod tests;
mod tokens;
pub mod wiped;

pub use clock::{Clock, Reading};
pub use core::Core;
pub use error::{IdentityError, Result};
pub use fields::Cidr;
pub use identity::Identity;
pub use issuer::{Duty, SigningKey, SigningKeyVersion};
pub use listed::{Sort, Standing, Standings};
pub use request::{Auth, Call, Mount, Operation, Response};
pub use rights::Rights;
pub use shelf::{Shelf, entry_place};
pub use tokens::{
    Authenticated, BATCH_PREFIX, NewToken, SERVICE_PREFIX, Token, TokenKind, is_service_token, token_place,
};
