//! Orders certificates for our own listeners from an ACME server (RFC 8555), by HTTP-01.
//!
//! [`obtain`] takes an order from wherever it stands to its certificate: what it needs to go on after a crash it hands
//! to a [`Ledger`] before it is needed, and what a challenge is to be answered with, too. When the next order is due
//! and how long to wait after a failure is said by [`plan`], which is told the time. This crate knows no database, no
//! listener and no vault; it connects only where [`credentialflow_egress`] lets it. No other challenge than HTTP-01 is
//! there, and so no wildcard names.

mod http;
mod ledger;
mod order;
pub mod plan;
mod rule;

pub use http::Http;
pub use ledger::{Answer, Kept, Ledger, NotKept};
pub use order::{Failure, Suggestion, obtain, suggestion};
pub use rule::{BadRule, ExternalAccount, Rule};
