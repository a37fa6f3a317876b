//! What the control plane needs from the data plane. The binary implements these traits; this
//! crate knows no gateway.

use credentialflow_model::Timestamp;
use serde::Serialize;
use std::{future::Future, pin::Pin};

/// A boxed future, so that the traits below can be held as trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The data plane, as far as the admin API needs it.
pub trait Dataplane: Send + Sync + 'static {
    /// Brings the stored state to every worker and returns when all of them enforce it.
    ///
    /// # Errors
    /// When the state could not be read or compiled, or not every worker acknowledged in time.
    /// What is stored stays stored; the data plane keeps trying.
    fn publish(&self) -> BoxFuture<'_, Result<Published, PublishError>>;

    /// How it is doing now.
    fn status(&self) -> DataplaneStatus;

    /// Requests that use this version of this credential at this moment, over all workers.
    fn in_flight(&self, credential: &str, version: u32) -> u64;
}

/// Proof that every worker enforces the stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Published {
    /// The epoch of the snapshot every worker now runs.
    pub epoch: u64,
    /// Workers that acknowledged.
    pub workers: u32,
}

/// Why the stored state is not enforced everywhere yet. The text names no secret.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The stored state could not be read.
    #[error("the stored state could not be read: {0}")]
    Unreadable(String),
    /// The stored state does not compile to a snapshot.
    #[error("the stored state could not be compiled: {0}")]
    NotCompiled(String),
    /// Some workers did not acknowledge in time.
    #[error("{acknowledged} of {workers} workers acknowledged in time")]
    NotAcknowledged {
        /// How many did.
        acknowledged: u32,
        /// How many there are.
        workers: u32,
    },
}

/// The data plane at this moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DataplaneStatus {
    /// Worker threads that serve traffic; 0 when this process has none.
    pub workers: u32,
    /// Open connections from callers.
    pub connections: u64,
    /// Requests being served.
    pub in_flight: u64,
    /// Routes enforced.
    pub routes: u64,
    /// Keys accepted.
    pub keys: u64,
    /// Epoch of the snapshot every worker runs; grows with each change.
    pub epoch: u64,
    /// Place in the stored change feed up to which every worker enforces everything.
    pub seq: u64,
    /// When that snapshot was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Timestamp>,
    /// Call records dropped because the queue was full, since the start.
    pub records_dropped: u64,
}

/// Wakes the job that drives rotations. The vault stores a rotation before this is called, so a
/// wake that is lost only delays it.
pub trait Rotations: Send + Sync + 'static {
    /// There is a rotation to drive.
    fn wake(&self);
}
