//! What is true about credentials: who owns them, what they open, who uses them, what is wrong with them.
//!
//! Facts in, findings out. Whoever calls brings the facts (what is declared, what is stored, what was recorded, the
//! time); this crate answers with an [`Entry`] for each credential, [`Finding`]s about it, the [`BlastRadius`] of
//! revoking it and its [`Biography`]. It knows nothing of databases, sockets, files and clocks, and opens no value: of
//! secrets it sees only those of a scanner's report that is being read, and hands them on as
//! [`SecretValue`](credentialflow_model::SecretValue).

mod biography;
mod blast;
mod entry;
mod graph;
pub mod report;
pub mod rules;
#[cfg(test)]
mod testing;
mod traffic;

pub use biography::{Biography, DayOfUse, Moment, Told, VersionFacts, biography};
pub use blast::{BlastRadius, Caller, Consequence, Holder, Replay, Replayed, Share, Surviving};
pub use entry::{CredentialKind, Direction, Entry, EntryState, EntryVersion, Issuer, Observed, Used};
pub use graph::{Graph, Reach};
pub use rules::{
    Exposure, Facts, Finding, Grant, NarrowerPolicy, Rights, Rule, Severity, Surroundings, Thresholds, findings,
};
pub use traffic::{Seen, Tally, Traffic, TrafficOf};
