//! The rules a request must pass: who is calling, what that caller may use, and how often.
//!
//! Everything here is synchronous and meant for the request path: no lock is shared between workers,
//! nothing is allocated when a request passes, and time is handed in. This crate knows nothing about
//! sockets, databases, configuration files or the vault; whoever owns the snapshot builds these
//! tables from the shared words in `credentialflow-model`.
//!
//! A request is first identified ([`present()`] finds the credential, [`ApiKey`] checks it against the
//! [`KeyTable`]), then passes its route's [`RoutePolicies`] in the order [`registry`] names.

pub mod allow;
pub mod api_key;
pub mod applications;
pub mod budget;
pub mod decision;
pub mod facts;
pub mod finder;
pub mod gcra;
pub mod headers;
pub mod keys;
pub mod mcp;
pub mod pass;
pub mod policy;
pub mod present;
pub mod principal;
pub mod quota;
pub mod rate_limit;
pub mod registry;
pub mod source_network;
pub mod throttle;

#[cfg(test)]
mod policy_tests;

pub use api_key::{ApiKey, AuthFailure};
pub use applications::{ApplicationRules, Slots, UserRule};
pub use budget::{Account, Book, LiveBudget, Reservation, Short, Standing};
pub use decision::{LimitReport, LimitState, Refusal};
pub use facts::{ModelSlot, RequestFacts, RouteSlot};
pub use finder::{Finder, Found, LiveSecret, ValueKey, ValueMark, ValueMarks};
pub use gcra::{CompiledLimit, Decision, RateKey, RateTable};
pub use headers::CompiledHeaders;
pub use keys::{KeyChange, KeyExtras, KeyRecord, KeySecret, KeyTable, ParentKey, Peppers};
pub use mcp::{McpGrant, McpRules, Patterns, SessionOwner};
pub use policy::Policy;
pub use present::{
    CREDENTIAL_HEADERS, Carriers, Presented, header_carries_key, is_credential_header, present, query_without,
    query_without_keys,
};
pub use principal::{KeyPrincipal, Principal};
pub use quota::{LiveQuota, Quotas, Taken, UserQuotas};
pub use registry::{Phase, RoutePolicies};
pub use throttle::{Counted, FailureThrottle, FailureVerdict, ThrottleSettings};
