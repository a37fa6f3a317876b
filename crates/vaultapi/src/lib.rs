//! HashiCorp Vault's HTTP API: the face that applications' clients already speak.
//!
//! [`VaultApi::router`] answers below `/v1/`. One request is one function, `serve::answer`: read it,
//! find out who asks, ask the policies, let the room that knows the path answer, record it, and write
//! the answer in Vault's envelope. What the path means is decided by `credentialflow-secrets` and
//! `credentialflow-identity`; this room knows no storage layout and no cryptography.
//!
//! Paths that are not offered are answered as Vault answers them: 404, or 405 for the wrong method.
//! Namespaces are refused by name. Administrators' tokens of the admin API are unknown here, and tokens
//! of this API are unknown there.

mod answer;
mod auth;
mod authorities;
mod body;
mod denials;
mod error;
mod held;
mod id_token;
mod inventory;
mod janitor;
mod origin;
mod parse;
mod public;
mod request;
mod secret;
mod serve;
mod state;
mod sys;
#[cfg(test)]
mod tests;
mod turns;
mod uses;
mod wrap;

pub use authorities::Authority;
pub use credentialflow_identity::{Rights, Sort, Standing, Standings};
pub use credentialflow_secrets::{
    lease::{Described, Held},
    listed::{KeptLogin, KeptLogins, KeptSecrets},
};
pub use held::{NotRevoked, Revoked};
pub use inventory::NotTold;
pub use state::VaultApi;
