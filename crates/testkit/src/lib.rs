//! What tests of Credentialflow stand on: throwaway databases, brokers and counterparts.
//!
//! Nothing here ships, and nothing here knows our other crates, so that each of them can use it.

pub mod acme;
mod guarded;
pub mod mariadb;
pub mod place;
pub mod postgres;
pub mod rabbitmq;
pub mod redis;
pub mod upstream;
pub mod wire;
