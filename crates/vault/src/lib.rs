//! The life of a credential: generate, store, verify, rotate, revoke; and the keys we issue.
//!
//! What is stored is always sealed; what leaves is a `SecretValue`. The chain of keys:
//! something held outside (passphrase, shares, key file, a key service) wraps the root key; the root key wraps the keyring,
//! the peppers and the audit key; the keyring gives each tenant a data key; data keys seal values.
//!
//! This crate knows nothing about HTTP, routes or upstreams. What a rotation needs from the gateway
//! it names in [`rotation::ports`].

pub mod access_token;
mod admin_token;
mod credentials;
mod delegation;
pub mod engine;
pub mod envelope;
mod error;
mod held_key;
pub mod keyring;
mod keys;
pub mod leak;
mod pepper;
mod rekey;
pub mod reseal;
mod rotate;
pub mod rotation;
pub mod seal;
mod settings;
mod tell;
#[cfg(test)]
mod tests;
mod unseal;
mod unsealed;
mod vault;
#[cfg(test)]
mod vectors;

pub use admin_token::PREFIX as ADMIN_TOKEN_PREFIX;
pub use credentials::{Guarded, Put};
pub use delegation::{DelegatedKey, NotDelegated, ShownKey, WantedKey};
pub use envelope::{Algorithm, DEFAULT_TENANT, SealContext, Sealed};
pub use error::{Result, VaultError};
pub use keys::{DEFAULT_OVERLAP, Idempotency, IssuedKey};
pub use pepper::Pepper;
pub use rekey::{Rekey, RekeyAnswer, RekeyStage, RekeyStatus};
pub use reseal::ResealStatus;
pub use rotate::{KeyStatus, PepperStatus};
pub use rotation::RotationRunner;
pub use seal::{NewSeal, SealInput};
pub use unseal::SealStatus;
pub use vault::{Initialized, Vault, verify_checkpoint};
