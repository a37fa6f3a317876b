//! Rotations.
pub mod ports;
mod watch;
pub use watch::{Verdict, WatchRules};
