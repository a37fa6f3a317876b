//! The room as a whole over a real SQLite store: what policies, tokens and methods promise together.
#![allow(clippy::unwrap_used)]

mod applications;
mod approle;
mod issuer;
mod jwt;
mod leases;
mod listed;
mod policies;
mod secrets_stay;
mod tokens;
mod tree;
mod userpass;
mod world;
