//! What applications fetch at run time: mounts, key-value secrets, cubbyholes,
//! response wrapping, database logins with leases.
//!
//! A request is one [`Txn`]: an engine reads and writes through [`Entries`], which seal and open by
//! themselves and are bound to the engine's mount; [`Txn::commit`] makes the changes and the audit
//! event permanent together, in one transaction shared with whoever commits at the same moment. When
//! another request was first, nothing is done and the caller runs its engine again on what is there now.
//!
//! This crate knows nothing about HTTP, tokens or policies, and no engine sees SQL or another engine.

pub mod call;
pub mod engine;
mod error;
pub mod fields;
pub mod lease;
pub mod listed;
pub mod mounts;
mod random;
#[cfg(test)]
mod tests;
mod txn;
pub mod wrapping;

pub use call::{Call, Client, File, Operation, Payload, Reply};
pub use error::{Result, SecretsError};
pub use mounts::{Mount, Mounts, Table};
pub use random::{identifier, uuid};
pub use txn::{Entries, Txn, entry_place};
