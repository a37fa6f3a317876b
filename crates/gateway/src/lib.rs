//! The data plane: listen, route, authenticate, authorize, inject, forward, record.
//!
//! Knows the shared words, the policies and the model dialects; never the store, the vault, the
//! admin API. What it needs from them it names in [`ports`], and the binary plugs them in.

mod budget;
mod cache;
mod conn;
mod cooling;
pub mod dry_run;
pub mod gateway;
pub mod http1;
mod latency;
pub mod net;
mod pipeline;
pub mod ports;
pub mod preview;
pub mod prompt_tests;
pub mod route;
pub mod snapshot;
mod text;
mod upstream;
mod worker;
pub mod ws;

pub use gateway::Gateway;
pub use pipeline::{InjectedRequest, Permit, scrub::without as without_secret};
pub use snapshot::Snapshot;
pub use worker::{Gauges, Settings, Straggler};
