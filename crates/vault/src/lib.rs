//! The life of a credential: generate, store, verify, rotate, revoke; and the keys we issue.
//!
//! What is stored is always sealed; what leaves is a `SecretValue`. The chain of keys:
//! something held outside (passphrase, key file) wraps the root key; the root key wraps the keyring,
//! the peppers and the audit key; the keyring gives each tenant a data key; data keys seal values.
//!
//! This crate knows nothing about HTTP, routes or upstreams. What a rotation needs from the gateway
//! it names in [`rotation::ports`].

pub mod engine;
pub mod envelope;
mod error;
pub mod keyring;
pub mod rotation;
pub mod seal;

pub use envelope::{Algorithm, DEFAULT_TENANT, SealContext, Sealed};
pub use error::{Result, VaultError};
pub use seal::SealInput;
