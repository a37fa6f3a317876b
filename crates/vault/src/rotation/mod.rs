//! Rotation: a stored plan that replaces one version of a credential by the next.
//!
//! ```text
//! (approve → deliver →) generate → verify → (canary →) promote → watch → drain → destroy → done
//!                                     └─────────┴──────────┴────────┴───────┴──▶ taken back: the old version is current again
//! ```
//!
//! *Generate* has a provider make the value where the credential's engine says so; *canary* gives the new
//! version a share of the traffic first.
//!
//! A rotation that is due by itself may first have to wait: until somebody approves it, and until somebody
//! delivers the value, where the credential's values come from outside.
//!
//! Where the credential lives at a target of ours, *verify* first makes the target accept the new
//! version, *destroy* first makes it refuse the old one, and taking back makes it accept the old
//! version again.
//!
//! A key that we issue to callers of our own lives at our workers: *verify* waits until each of them accepts the new
//! secret, *drain* until callers are seen to have left the old one.
//!
//! Each step is stored before it is taken and is safe to repeat, so a rotation can be interrupted
//! anywhere and is resumed by the next runner. Rotations do not wait for one another. A failed
//! publish is tried again, never skipped: the next step begins only when every worker enforces the
//! stored state.

pub(crate) mod decide;
pub mod ports;
mod progress;
mod runner;
mod schedule;
mod start;
mod steps;
#[cfg(test)]
mod tests;
mod watch;

pub use ports::{Held, MakeOutcome, Publisher, RefusalCounts, SupplyOutcome, Target, Traffic, VerifyOutcome};
pub use progress::{DEFAULT_DRAIN_LIMIT, DEFAULT_QUIET, Progress};
pub use runner::{Advanced, RotationRunner, RunnerRules};
pub use start::{Begun, start_in};
pub use watch::{Known, Verdict, WatchRules};
