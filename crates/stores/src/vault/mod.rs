//! HashiCorp Vault and OpenBao: a client of their HTTP API, and their key-value engine version 2 as a store.

mod client;
mod kv;

pub use client::{Access, Client};
pub(crate) use kv::open;
