//! What was used, by whom, and how it ended: call log, metrics, traffic figures and last use.
//!
//! Gateway workers hand batches of [`UsageRecord`](credentialflow_model::UsageRecord)s to a [`RecordSender`],
//! which never blocks; one [`Recorder`] thread does everything else. Readers use a [`Telemetry`] handle.
//! This crate knows nothing about the gateway, the store or HTTP, and sees no secret: a record has no field
//! that could carry one.

pub mod calllog;
pub mod charges;
mod histogram;
mod intern;
mod journal;
pub mod last_use;
pub mod metrics;
pub mod recorder;
mod rollup;
mod slots;
pub mod stats;
#[cfg(test)]
mod testing;

pub use calllog::{
    CallFilter, CallLog, CallLogError, CallModel, CallRow, LightCall, Page, SpendPiece, SpendSeries, SpendSums,
    StatusFilter, Walked,
};
pub use charges::{ChargeListener, Charges};
pub use journal::{Journal, Kept, Page as JournalPage};
pub use last_use::{Answers, CredentialUseDelta, KeyNetworkDelta, KeySecretDelta, KeyUseDelta, LastUse, UseDeltas};
pub use metrics::Metrics;
pub use recorder::{RecordSender, Recorder, RecorderSettings, RecorderStatus, Telemetry};
pub use stats::{Stats, StatsFigures, StatsPoint, StatsTop};
