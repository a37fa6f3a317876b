//! The words every other room of Credentialflow speaks.
//!
//! This crate holds plain data and pure functions: resources as people write them, keys as callers
//! present them, the life of a credential, the outcome of a request, the record of a use.
//! It knows nothing about sockets, databases, clocks, randomness or HTTP servers.

pub mod audit;
pub mod calendar;
pub mod config;
pub mod form;
pub mod http;
pub mod key;
pub mod leak;
pub mod ledger;
pub mod lifecycle;
pub mod mask;
pub mod name;
pub mod objects;
pub mod outcome;
pub mod problem;
pub mod reference;
pub mod resource;
pub mod schedule;
pub mod secret;
pub mod template;
pub mod time;
pub mod units;
pub mod usage;

pub use audit::{Actor, ActorKind, AuditEvent};
pub use key::{KeyId, KeyToken};
pub use name::Name;
pub use outcome::{Fault, OutcomeReason};
pub use problem::{Location, Problem, Problems};
pub use reference::{SecretPlace, SecretReference};
pub use resource::ResourceSet;
pub use secret::SecretValue;
pub use time::Timestamp;
pub use units::{ByteSize, InvalidPeriod, Period, Price};
pub use usage::{RequestId, TraceId, UsageRecord};
