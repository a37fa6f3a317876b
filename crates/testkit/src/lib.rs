//! What tests of Credentialflow stand on: throwaway databases and counterparts.
//!
//! Nothing here ships, and nothing here knows our other crates, so that each of them can use it.

pub mod postgres;
pub mod upstream;
pub mod wire;
