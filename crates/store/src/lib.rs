//! Keeps the model in SQLite or PostgreSQL: one file per aggregate, one door for every write.
//!
//! The door is [`Store::begin`]: a [`WriteTx`] carries the actor, and its commit refuses unless an
//! audit event was recorded, so that a change, its audit event and its change-feed rows are one
//! transaction. Writers stand in line at one locked row, which keeps the audit chain whole and makes
//! the order of the change feed the order of the commits. What applications do at run time goes through
//! [`Store::submit`], which passes the same door for many callers at once. The exceptions are
//! observations, which change nothing that anybody decides: [`Store::record_uses`], [`Store::record_rule_uses`],
//! [`Store::record_certificates`], what budgets spend ([`Store::budget_turn`]), what calls cost ([`Store::add_spend`]), what callers have at providers ([`Store::add_model_object`]), and what processes tell of themselves ([`Store::report_node`] and its neighbours).
//!
//! SQL is written once in the dialect both databases share; every branch between them is in
//! `driver.rs`. This crate knows nothing about sealing, HTTP or the gateway, and holds no clear secret:
//! the blobs it keeps are sealed, or keyed hashes, before they come here.

mod acme;
pub mod audit;
mod budgets;
mod certificates;
mod changes;
mod credentials;
mod delegations;
mod driver;
mod error;
mod former;
mod idempotency;
mod keys;
mod leaks;
mod links;
mod migrate;
mod networks;
mod nodes;
mod notifications;
mod objects;
mod plan;
mod prompts;
mod reserve;
mod resources;
mod rotations;
mod row;
mod rule_uses;
mod runtime;
pub mod sealed;
mod settings;
mod spend;
mod store;
mod uses;

pub use acme::AcmeRow;
pub use audit::{AuditFilter, AuditReport, BrokenAt, Checkpoint, VerifyError};
pub use budgets::{BudgetEnd, BudgetItem, BudgetNode, BudgetNodeState, BudgetSettled, BudgetState, BudgetWindowRow};
pub use certificates::CertificateSeen;
pub use changes::{Change, ChangeKind, Followed};
pub use credentials::CredentialVersionRow;
pub use delegations::{DelegationRow, Parent};
pub use error::StoreError;
pub use idempotency::{IDEMPOTENCY_LIFETIME, IdempotencyRow};
pub use keys::{KeyRecord, KeyRow, KeySecretRow};
pub use leaks::LeakRow;
pub use links::{LinkDirection, LinkRow};
pub use migrate::MigrateReport;
pub use networks::{KeyNetwork, KeyNetworks, MOST_NETWORKS};
pub use nodes::{NodeReport, NodeRow, NodeTraffic};
pub use notifications::{Notification, NotificationState};
pub use objects::ModelObjectPage;
pub use plan::Unplanned;
pub use prompts::PromptRunRow;
pub use reserve::reserve_log;
pub use resources::{Expect, ResourceRow};
pub use rotations::RotationRow;
pub use rule_uses::{FORGOTTEN, RuleUse};
pub use runtime::{EntryRow, Event, FailingLeases, LeaseCount, LeaseRow, LeaseState, Op, TokenRow, Unit};
pub use spend::{SpendColumn, SpendCounts, SpendNode, SpendRow};
pub use store::{Store, WriteTx};
pub use uses::{CredentialUse, KeySecretUse, KeyUse, MOST_PLACES, Uses};

/// What every function here answers with.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
