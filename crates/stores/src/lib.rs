//! Stores of secrets that are not ours: credentials take their values from them, and are written to
//! them. One file per store, all of them in [`KINDS`], all behind the one trait [`ExternalStore`].
//!
//! [`Links`] is what keeps both sides together: it reads again and again what credentials come from,
//! writes each new version where it is to go, stores how that went, and tries again what failed, each
//! place by itself. A store that cannot be reached never takes away the value a credential has.
//!
//! Knows nothing about HTTP servers, the gateway or the run-time API; only [`Links`] knows our store and
//! vault. Not supported: Vault's login methods other than a token and AppRole, its key-value engine
//! version 1, and AWS credentials from instance metadata or profiles.

mod answer;
mod aws;
mod azure;
mod bearer;
mod error;
mod external;
mod files;
mod google;
mod http_client;
mod json;
mod kubernetes;
mod links;
mod registry;
pub mod vault;

pub use answer::Answer;
pub use error::{ExternalError, Result};
pub use external::{BoxFuture, ExternalStore, Found, Written};
pub use http_client::{Http, read_authorities};
pub use json::Wiped;
pub use links::{LinkReport, Links};
pub use registry::{Declared, KINDS, Opener, open};
