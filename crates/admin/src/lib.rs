//! The control plane's HTTP face: the admin API under `/api/v1`, probes and metrics.
//!
//! A change is one transaction (what is declared, its audit event, its place in the change feed) and is
//! answered only after the data plane, behind [`ports::Dataplane`], enforces it on every worker of every node. This
//! crate knows no gateway, writes no SQL, seals nothing itself and serves no static files.

mod api;
mod audit;
mod auth;
mod budgets;
mod calls;
mod catalogue;
mod certificates;
mod config;
mod credentials;
mod csv;
mod delegation;
mod error;
mod idempotency;
mod inventory;
mod keys;
mod leaks;
mod leases;
mod links;
pub mod ports;
mod prompts;
mod resources;
mod rotations;
mod router;
mod seal;
mod secret;
mod session;
mod spend;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod write;

pub use api::{PUBLIC, openapi};
use credentialflow_vault::seal::throttle;
pub use error::{ApiError, Code, ProblemDetails};
pub use leaks::{LiveSecret, Met, Sender, secret_logged, secret_sent};
pub use ports::{
    Dataplane, DataplaneStatus, ImpairedResource, NodeState, NodeStatus, PublishError, Published, UnavailableCredential,
};
pub use router::router;
pub use state::{AdminSettings, AdminState};
